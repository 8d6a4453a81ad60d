//! How much one upstream gets at once, and when it is left alone: a bounded queue in front of it,
//! and a breaker that opens when it fails again and again. It must not know what is asked.

use crate::{fault::Fault, world::World};
use futures_util::{
    FutureExt as _,
    future::{Either, LocalBoxFuture, select},
};
use shared::{Error, Kind, Millis, config::Bounds, limits};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A breaker: closed, open until a time, or letting one try through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Breaker {
    failures: u32,
    /// How often it has opened without a success since.
    openings: u32,
    until: Option<Millis>,
    is_trying: bool,
}

impl Breaker {
    /// Whether a request may go, and as what. Where it may not: how long it is left alone.
    ///
    /// # Errors
    /// Milliseconds until the next try.
    pub fn admit(&mut self, now: Millis) -> Result<Pass, u64> {
        match self.left_ms(now) {
            Some(wait) => Err(wait),
            None if self.until.is_none() => Ok(Pass::Free),
            None => {
                self.is_trying = true;
                Ok(Pass::Try)
            }
        }
    }

    /// How long the upstream is left alone; `None` where it may be asked.
    #[must_use]
    pub fn left_ms(&self, now: Millis) -> Option<u64> {
        match self.until? {
            until if now < until => Some(until.since(now)),
            // Somebody is trying already.
            _ => self.is_trying.then_some(limits::BREAKER_MS_MIN),
        }
    }

    /// The upstream has begun to answer: others may ask it too, though one more failure is enough.
    pub const fn begin(&mut self) {
        if self.is_trying {
            self.until = None;
            self.is_trying = false;
        }
    }

    /// A request has an answer, whatever it says.
    pub fn succeed(&mut self) {
        *self = Self::default();
    }

    /// A request failed by the upstream's doing.
    pub fn fail(&mut self, now: Millis, pass: Pass) {
        self.failures = self.failures.saturating_add(1);
        let is_try = pass == Pass::Try && self.is_trying;
        // What had gone before it was left alone says nothing new when it fails too.
        let is_enough = self.until.is_none() && self.failures >= limits::BREAKER_FAILURES;
        if is_try || is_enough {
            let wait = limits::BREAKER_MS_MIN.saturating_mul(1 << self.openings.min(16));
            self.until = Some(now.after(wait.min(limits::BREAKER_MS_MAX)));
            self.openings = self.openings.saturating_add(1);
            self.is_trying = false;
        }
    }

    /// A request came to nothing, either way: it was given up.
    pub fn give_up(&mut self, pass: Pass) {
        if pass == Pass::Try {
            self.is_trying = false;
        }
    }
}

/// As what a request was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// One of many.
    Free,
    /// The one by which it is found out whether the upstream is well again.
    Try,
}

/// What stands before one upstream of one context.
pub struct Guard {
    name: String,
    world: Rc<dyn World>,
    bounds: Bounds,
    breaker: RefCell<Breaker>,
    calls: Queue,
    brief: Queue,
}

/// How a request waits for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// It takes as long as it takes: a call.
    #[default]
    Call,
    /// It takes no time, and waits for nothing that does: a list, a look at a task.
    Brief,
    /// It waits for nothing: it ends what others may wait for.
    Urgent,
}

/// Requests of one pace: so many at once, and so many that wait.
struct Queue {
    turns: Arc<Semaphore>,
    waiting: Cell<usize>,
    wait_ms: u32,
}

impl Queue {
    fn new(at_once: usize, wait_ms: u32) -> Self {
        Self { turns: Arc::new(Semaphore::new(at_once)), waiting: Cell::default(), wait_ms }
    }

    /// Waits for a turn; `None` where too many wait already, or for too long.
    async fn turn(&self, world: &dyn World) -> Option<Turn> {
        if let Ok(permit) = Arc::clone(&self.turns).try_acquire_owned() {
            return Some(Turn { _permit: permit });
        }
        if self.waiting.get() >= limits::UPSTREAM_QUEUE_MAX {
            return None;
        }
        self.waiting.set(self.waiting.get().saturating_add(1));
        let _waiting = Waiting(&self.waiting);
        let turn = Box::pin(Arc::clone(&self.turns).acquire_owned());
        match select(turn, world.sleep(self.wait_ms)).await {
            Either::Left((Ok(permit), _)) => Some(Turn { _permit: permit }),
            Either::Left((Err(_), _)) | Either::Right(_) => None,
        }
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The right to ask. It ends when it is dropped.
#[derive(Debug)]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// The turn of one request. It is given back while its client is asked, and wanted again once all
/// is answered. The answers wait for no turn: what has the last one might wait for just that. So
/// more may run at once than are configured, until one of them ends and its turn is taken; whoever
/// waits already is before.
#[derive(Default)]
pub(crate) struct Hold {
    turn: Option<Turn>,
    coming: Option<LocalBoxFuture<'static, Option<Turn>>>,
}

impl Hold {
    pub(crate) const fn is_held(&self) -> bool {
        self.turn.is_some()
    }

    pub(crate) fn keep(&mut self, turn: Option<Turn>) {
        *self = Self { turn, coming: None };
    }

    /// Wants the turn again, if it was given back. It comes while this is polled.
    pub(crate) fn regain(&mut self, guard: &Guard, pace: Pace) {
        if self.turn.is_none() && self.coming.is_none() {
            self.coming = guard.queue(pace).map(|(queue, _)| {
                let turn = Arc::clone(&queue.turns).acquire_owned();
                turn.map(|permit| permit.ok().map(|permit| Turn { _permit: permit })).boxed_local()
            });
        }
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) {
        let coming = self.coming.as_mut().map(|coming| coming.poll_unpin(context));
        if let Some(Poll::Ready(turn)) = coming {
            self.keep(turn);
        }
    }
}

struct Waiting<'a>(&'a Cell<usize>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// One exchange that the breaker let go. Dropped without a word it was given up.
#[derive(Debug)]
pub struct Attempt<'a> {
    guard: &'a Guard,
    pass: Pass,
}

impl Attempt<'_> {
    /// It had an answer.
    pub fn succeed(self) {
        self.guard.breaker.borrow_mut().succeed();
    }

    /// It had a fault: what is not the upstream's doing is an answer.
    pub fn fail_by(self, fault: &Fault) {
        match fault {
            // It was not tried.
            Fault::Credential(_) => {}
            fault if fault.is_serious() => self.fail(),
            _ => self.succeed(),
        }
    }

    /// It failed by the upstream's doing.
    pub fn fail(self) {
        self.guard.breaker.borrow_mut().fail(self.guard.world.now(), self.pass);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.guard.breaker.borrow_mut().give_up(self.pass);
    }
}

impl Guard {
    /// Before the upstream that people know as `name`.
    pub fn new(name: String, world: Rc<dyn World>, bounds: Bounds) -> Self {
        let at_once = usize::try_from(bounds.concurrency).unwrap_or(1);
        let calls = Queue::new(at_once, bounds.first_byte_ms);
        let brief = Queue::new(limits::UPSTREAM_BRIEF_MAX, bounds.connect_ms);
        Self { name, world, bounds, breaker: RefCell::default(), calls, brief }
    }

    /// The upstream's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its bounds.
    #[must_use]
    pub const fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Waits for a turn, where there are turns.
    ///
    /// # Errors
    /// [`Kind::Limit`] where too many wait already, or for too long.
    pub async fn turn(&self, pace: Pace) -> Result<Option<Turn>, Error> {
        let Some((queue, what)) = self.queue(pace) else {
            return Ok(None);
        };
        let turn = queue.turn(&*self.world).await;
        turn.map(Some).ok_or_else(|| {
            let text = format!("too many {what} of {} are running here; try again", self.name);
            Error::new(Kind::Limit, text)
        })
    }

    /// Where requests of a pace wait, and what they are called.
    const fn queue(&self, pace: Pace) -> Option<(&Queue, &'static str)> {
        match pace {
            Pace::Call => Some((&self.calls, "calls")),
            Pace::Brief => Some((&self.brief, "requests")),
            Pace::Urgent => None,
        }
    }

    /// The upstream has begun to answer.
    pub(crate) fn begin(&self) {
        self.breaker.borrow_mut().begin();
    }

    /// How long the upstream is left alone, for whoever would not count as a try.
    #[must_use]
    pub fn left_ms(&self) -> Option<u64> {
        self.breaker.borrow().left_ms(self.world.now())
    }

    /// Asks the breaker.
    ///
    /// # Errors
    /// [`Kind::Upstream`] while the upstream is left alone.
    pub fn attempt(&self) -> Result<Attempt<'_>, Error> {
        match self.breaker.borrow_mut().admit(self.world.now()) {
            Ok(pass) => Ok(Attempt { guard: self, pass }),
            Err(wait) => {
                let seconds = wait.div_ceil(1000);
                let name = &self.name;
                let text = format!(
                    "{name} has failed several times and is left alone; try again in {seconds} s"
                );
                Err(Error::new(Kind::Upstream, text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breaker_opens_tries_once_and_closes() {
        let mut breaker = Breaker::default();
        let mut now = Millis(0);
        for _ in 0..limits::BREAKER_FAILURES {
            assert_eq!(breaker.admit(now), Ok(Pass::Free));
            assert_eq!(breaker.left_ms(now), None);
            breaker.fail(now, Pass::Free);
        }
        assert_eq!(breaker.left_ms(now), Some(limits::BREAKER_MS_MIN));
        assert_eq!(breaker.admit(now), Err(limits::BREAKER_MS_MIN));
        breaker.fail(now, Pass::Free);
        assert_eq!(breaker.admit(now), Err(limits::BREAKER_MS_MIN), "an old one changes nothing");
        now = now.after(limits::BREAKER_MS_MIN);
        assert_eq!(breaker.left_ms(now), None, "looking is no try");
        assert_eq!(breaker.admit(now), Ok(Pass::Try), "one try");
        assert_eq!(breaker.left_ms(now), Some(limits::BREAKER_MS_MIN));
        breaker.give_up(Pass::Free);
        assert!(breaker.admit(now).is_err(), "and no other");
        breaker.fail(now, Pass::Try);
        assert_eq!(breaker.admit(now), Err(limits::BREAKER_MS_MIN * 2), "for longer");
        now = now.after(limits::BREAKER_MS_MIN * 2);
        assert_eq!(breaker.admit(now), Ok(Pass::Try));
        breaker.give_up(Pass::Try);
        assert_eq!(breaker.admit(now), Ok(Pass::Try), "a try that was given up says nothing");
        breaker.begin();
        assert_eq!(breaker.admit(now), Ok(Pass::Free), "it answers");
        breaker.fail(now, Pass::Try);
        assert_eq!(breaker.admit(now), Err(limits::BREAKER_MS_MIN * 4), "but not to the end");
        breaker.succeed();
        assert_eq!(breaker, Breaker::default());
        for _ in 0..100 {
            if let Ok(pass) = breaker.admit(now) {
                breaker.fail(now, pass);
            }
            now = now.after(limits::BREAKER_MS_MAX);
            assert!(breaker.until.is_none_or(|until| until <= now), "it never waits for longer");
        }
        assert_eq!(breaker.openings, 96);
    }
}
