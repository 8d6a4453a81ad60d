//! Calls of the modern era that wait for their client between two of its requests, and the state
//! that the client carries meanwhile. A call waits in memory; if that is lost, the state holds the
//! answers to run it again. The client cannot read a meaning into the state, change it, use it
//! later than it may, or use it for anything else. It must not know what a call does.

use crate::{calls::Work, platform::Platform};
use futures_util::future::LocalBoxFuture;
use rmcp::model::{RequestStateCodec, SealOptions};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::{Error, Millis, database::Database, hop::Stop, limits};
use std::{
    cell::{OnceCell, RefCell},
    collections::{BTreeMap, VecDeque},
    fmt,
    rc::Rc,
    task::{Context, Waker},
};

/// The calls that wait, and the key that seals their state.
pub struct Parking {
    database: Rc<dyn Database>,
    platform: Rc<dyn Platform>,
    codec: OnceCell<RequestStateCodec>,
    parked: RefCell<VecDeque<Parked>>,
}

struct Parked {
    handle: String,
    until: Millis,
    work: Work,
    /// A pending timer keeps the object in memory.
    _alive: LocalBoxFuture<'static, ()>,
}

/// What a client carries.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Which parked call.
    pub handle: String,
    /// Until when the state is good.
    pub until: Millis,
    /// What the client answered so far.
    pub answers: BTreeMap<String, Value>,
}

impl fmt::Debug for Parking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parking")
            .field("parked", &self.parked.borrow().len())
            .finish_non_exhaustive()
    }
}

impl Parking {
    /// With nothing parked.
    pub fn new(database: Rc<dyn Database>, platform: Rc<dyn Platform>) -> Self {
        Self { database, platform, codec: OnceCell::new(), parked: RefCell::default() }
    }

    /// Parks a call and writes the state that finds it again, bound to `bound`.
    ///
    /// # Errors
    /// Internal ones.
    pub fn park(&self, work: Work, bound: &[u8]) -> Result<String, Error> {
        let now = self.platform.now();
        let handle: String = self.platform.random().iter().map(|b| format!("{b:02x}")).collect();
        let mut state = State {
            handle: handle.clone(),
            until: now.after(limits::STATE_MS_MAX),
            answers: work.rounds.accepted(),
        };
        let internal = |error: serde_json::Error| Error::internal(error.to_string());
        let mut payload = serde_json::to_vec(&state).map_err(internal)?;
        if payload.len() > limits::STATE_BYTES_MAX {
            state.answers.clear();
            payload = serde_json::to_vec(&state).map_err(internal)?;
        }
        let options = SealOptions::new().associated_data(bound);
        let sealed = self.codec()?.seal_with(&payload, &options);
        let mut alive = self.platform.sleep(limits::PARK_MS_MAX);
        // Nobody waits for it: that it is pending is enough.
        let _ = alive.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let until = now.after(limits::PARK_MS_MAX.into());
        let mut parked = self.parked.borrow_mut();
        parked.push_back(Parked { handle, until, work, _alive: alive });
        let oldest = (parked.len() > limits::PARKED_MAX).then(|| parked.pop_front());
        drop(parked);
        drop(oldest);
        Ok(sealed)
    }

    /// Reads what a client carried, if it is ours, bound to `bound`, and in time.
    ///
    /// # Errors
    /// Internal ones.
    pub fn open(&self, sealed: &str, bound: &[u8]) -> Result<Option<State>, Error> {
        let now = self.platform.now();
        let opened = self.codec()?.open_json_with::<State>(sealed, bound).ok();
        Ok(opened.filter(|state| now <= state.until))
    }

    /// The parked call of this handle, to go on with.
    pub fn take(&self, handle: &str) -> Option<Work> {
        let mut parked = self.parked.borrow_mut();
        let place = parked.iter().position(|one| one.handle == handle)?;
        parked.remove(place).map(|one| one.work)
    }

    /// Lets go of the calls whose time is over.
    pub fn sweep(&self) {
        if self.parked.borrow().is_empty() {
            return;
        }
        let now = self.platform.now();
        let mut parked = self.parked.borrow_mut();
        let (over, good) = std::mem::take(&mut *parked).into_iter().partition(|p| p.until < now);
        *parked = good;
        drop(parked);
        let over: VecDeque<Parked> = over;
        drop(over);
    }

    /// Lets go of calls that end.
    pub fn stop(&self, stop: &Stop) {
        let mut parked = self.parked.borrow_mut();
        let all = std::mem::take(&mut *parked);
        let (over, good) =
            all.into_iter().partition(|parked| parked.work.caller.borrow().is_of(stop));
        *parked = good;
        drop(parked);
        let over: VecDeque<Parked> = over;
        drop(over);
    }

    /// Who listens to the call that was parked last.
    #[cfg(all(test, feature = "fixture"))]
    pub(crate) fn latest(&self) -> Option<crate::caller::SharedCaller> {
        self.parked.borrow().back().map(|parked| Rc::clone(&parked.work.caller))
    }

    fn codec(&self) -> Result<&RequestStateCodec, Error> {
        if let Some(codec) = self.codec.get() {
            return Ok(codec);
        }
        let codec = RequestStateCodec::try_new(self.key()?)
            .map_err(|error| Error::internal(error.to_string()))?;
        Ok(self.codec.get_or_init(|| codec))
    }

    /// The Agent's own key, made when it is first needed.
    fn key(&self) -> Result<Vec<u8>, Error> {
        let table = "CREATE TABLE IF NOT EXISTS seal (
            one INTEGER PRIMARY KEY CHECK (one = 1), key TEXT NOT NULL)";
        self.database.run(table, &[])?;
        let rows = self.database.run("SELECT key FROM seal", &[])?;
        let stored = match rows.first() {
            Some(row) => row.text(0)?.to_owned(),
            None => {
                let fresh = self.fresh_key()?;
                let insert = "INSERT INTO seal (one, key) VALUES (1, ?)";
                self.database.run(insert, &[fresh.as_str().into()])?;
                fresh
            }
        };
        // The text itself is the key: it has all the randomness that it was made from.
        Ok(stored.into_bytes())
    }

    /// 32 random bytes in hexadecimal.
    fn fresh_key(&self) -> Result<String, Error> {
        let mut bytes: Vec<u8> = Vec::new();
        for _ in 0..3 {
            let random = self.platform.random();
            if random == [0; 12] {
                return Err(Error::internal("no randomness for a key"));
            }
            bytes.extend(random);
        }
        Ok(bytes.iter().take(32).map(|byte| format!("{byte:02x}")).collect())
    }
}
