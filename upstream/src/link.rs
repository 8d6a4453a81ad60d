//! An upstream as one kind of client sees it: which era it is of, and in the handshake era the
//! session that it gave. Both are found out when they are first needed and kept by whoever can keep
//! them; a session that the upstream forgot is begun again and nobody notices. It must not know
//! what is asked, nor who asks.

use crate::{
    exchange::{Answer, Messages, exchange, exchange_unbounded, within},
    fault::{Failure, Fault},
    guard::Guard,
    running::Running,
    wire::{self, Fields, JsonObject, Message},
    world::{Request, World},
};
use futures_util::{
    FutureExt as _,
    future::{LocalBoxFuture, Shared, WeakShared},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::{
    Error, Millis,
    config::{Address, Era},
    gathered,
    hop::{HANDSHAKE_REVISIONS, MODERN_REVISION},
    limits,
};
use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
};

/// What is known of an upstream once it was met.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Met {
    /// Which era.
    pub era: Era,
    /// The revision that is spoken.
    pub revision: String,
    /// Its session, where it gives one.
    pub session: Option<String>,
    /// What it can do.
    pub capabilities: JsonObject,
    /// The least severe log level that it was asked for.
    pub level: Option<String>,
    /// When it was found to have no stream for what it says by itself.
    #[serde(default)]
    pub mute_since: Option<Millis>,
    /// When it was met.
    #[serde(default)]
    pub since: Millis,
}

impl Met {
    /// Whether it is long ago that it was met, and no session says that it is still the same.
    #[must_use]
    pub fn is_old(&self, now: Millis) -> bool {
        self.session.is_none() && now.since(self.since) >= limits::UPSTREAM_MET_MS
    }

    /// Whether it has no stream for what it says by itself, as far as is known.
    #[must_use]
    pub fn is_mute(&self, now: Millis) -> bool {
        self.mute_since.is_some_and(|since| now.since(since) < limits::UPSTREAM_MET_MS)
    }

    /// Whether this says something else of the upstream than `other` does. Another session of the
    /// same kind does not.
    pub(crate) fn is_other(&self, other: &Self) -> bool {
        self.era != other.era
            || self.revision != other.revision
            || self.session.is_some() != other.session.is_some()
    }

    /// Whether it says that it can do something: `["tools", "listChanged"]`.
    #[must_use]
    pub fn can(&self, path: &[&str]) -> bool {
        let mut steps = path.iter();
        let first = steps.next().and_then(|step| self.capabilities.get(*step));
        let found = steps.try_fold(first, |at, step| at.map(|at| at.get(step)));
        match found.flatten() {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(_) => true,
        }
    }
}

/// Where what was learned of an upstream is kept.
pub trait Keeper {
    /// What was kept last.
    fn load(&self) -> Option<Met>;

    /// Keeps it, or forgets it.
    fn keep(&self, met: Option<&Met>);
}

/// Where an upstream is, and what every request to it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its address.
    pub address: Address,
    /// Its era, if that is known.
    pub era: Option<Era>,
    /// Headers of ours: credentials and the like.
    pub headers: Vec<(String, String)>,
}

type Meeting = LocalBoxFuture<'static, Result<Rc<Met>, Failure>>;

/// An upstream, as clients of one kind see it.
pub struct Link {
    pub(crate) world: Rc<dyn World>,
    pub(crate) guard: Rc<Guard>,
    pub(crate) target: Result<Target, Error>,
    /// What these clients can be asked for, as MCP words it.
    pub(crate) capabilities: JsonObject,
    keeper: Box<dyn Keeper>,
    met: RefCell<Option<Rc<Met>>>,
    /// The meeting that goes on, for as long as anybody waits for it.
    meeting: RefCell<Option<WeakShared<Meeting>>>,
    ids: Cell<u64>,
    pub(crate) running: Running,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("met", &self.met).finish_non_exhaustive()
    }
}

/// What this program says of itself.
#[must_use]
pub fn client_info() -> Value {
    json!({ "name": "signalbox", "title": "Signalbox", "version": env!("CARGO_PKG_VERSION") })
}

impl Link {
    /// An upstream that may have been met before. `target` may be an error, which is then every
    /// answer.
    pub fn new(
        world: Rc<dyn World>,
        guard: Rc<Guard>,
        target: Result<Target, Error>,
        capabilities: JsonObject,
        keeper: Box<dyn Keeper>,
    ) -> Self {
        let met = RefCell::new(keeper.load().map(Rc::new));
        // Numbers that no earlier life of this object has used in the same session.
        let ids = Cell::new(world.now().0.saturating_mul(1024));
        let (meeting, running) = (RefCell::default(), Running::default());
        let link = Self { world, guard, target, capabilities, keeper, met, meeting, ids, running };
        link.check_era();
        link
    }

    /// An upstream that was met in another era than is configured now is met anew.
    fn check_era(&self) {
        let era = self.target.as_ref().ok().and_then(|target| target.era);
        let former = self.known().filter(|met| era.is_some_and(|era| era != met.era));
        if let Some(met) = former {
            self.forget(&met);
            self.end(&met);
        }
    }

    /// Nobody will come back to this link: its session ends, unless something runs in it.
    pub fn retire(&self) {
        let met = self.known().filter(|met| met.session.is_some() && self.running.is_empty());
        if let Some(met) = met {
            self.forget(&met);
            self.end(&met);
        }
    }

    /// Ends a session that nobody will use again. There is one try, for which nobody waits: an
    /// upstream that does not hear of it forgets it in its own time.
    pub(crate) fn end(&self, met: &Met) {
        let (Some(_), Ok(target)) = (&met.session, self.target()) else {
            return;
        };
        if let Ok(request) = self.request("DELETE", Some(met), &[], None) {
            let (world, address) = (Rc::clone(&self.world), target.address.clone());
            let bound = self.guard.bounds().connect_ms;
            self.world.spawn(Box::pin(async move {
                let _ = exchange(&*world, &address, request, bound).await;
            }));
        }
    }

    /// A number for a request.
    pub(crate) fn next_id(&self) -> u64 {
        self.ids.replace(self.ids.get().wrapping_add(1))
    }

    /// The upstream's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.guard.name()
    }

    /// What is known of the upstream, if it was met.
    #[must_use]
    pub fn known(&self) -> Option<Rc<Met>> {
        self.met.borrow().clone()
    }

    /// Meets the upstream, unless it was met lately. Everybody who comes meanwhile waits for the same.
    ///
    /// # Errors
    /// Why it cannot be met.
    pub async fn meet(self: &Rc<Self>) -> Result<Rc<Met>, Failure> {
        self.check_target()?;
        // What is old goes on to be known until it is met anew: what runs is none the worse.
        if let Some(met) = self.known().filter(|met| !met.is_old(self.world.now())) {
            return Ok(met);
        }
        let meeting = self.meeting();
        meeting.await
    }

    /// The meeting that goes on. One that was given up by all who waited is gone, and one that
    /// failed is over: they are begun again.
    fn meeting(self: &Rc<Self>) -> Shared<Meeting> {
        let mut kept = self.meeting.borrow_mut();
        let going = kept.as_ref().and_then(WeakShared::upgrade);
        if let Some(going) = going.filter(|going| going.peek().is_none()) {
            return going;
        }
        let this = Rc::clone(self);
        let meeting = async move { this.try_introduce().await }.boxed_local().shared();
        *kept = meeting.downgrade();
        meeting
    }

    /// Meets the upstream, and again after a fault that passes: nothing is done yet that could be
    /// done twice. However many wait for it, the breaker hears of each try once.
    async fn try_introduce(self: Rc<Self>) -> Result<Rc<Met>, Failure> {
        let mut tries = 0;
        loop {
            let attempt = self.guard.attempt()?;
            let fault = match self.introduce().await {
                Ok(met) => {
                    attempt.succeed();
                    return Ok(met);
                }
                Err(fault) => fault,
            };
            attempt.fail_by(&fault);
            match self.pause_ms(&fault, tries) {
                None => return Err(fault.told(self.guard.name())),
                Some(wait) => self.world.sleep(wait).await,
            }
            tries = tries.saturating_add(1);
        }
    }

    /// How long to wait before another try, after so many; `None` where none makes sense.
    pub(crate) fn pause_ms(&self, fault: &Fault, tries: u32) -> Option<u32> {
        let wait = wait_ms(tries, fault.retry_after_ms(), self.world.random());
        let is_left = self.guard.left_ms().is_some();
        wait.filter(|_| fault.is_passing() && !is_left && tries < self.guard.bounds().retries)
    }

    /// Keeps what was learned since.
    pub(crate) fn learn(&self, change: impl FnOnce(&mut Met)) {
        let Some(known) = self.known() else {
            return;
        };
        let mut met = Met::clone(&known);
        change(&mut met);
        if met != *known {
            self.keeper.keep(Some(&met));
            *self.met.borrow_mut() = Some(Rc::new(met));
        }
    }

    /// Forgets the upstream as it was met: the next who asks meets it again.
    pub(crate) fn forget(&self, met: &Rc<Met>) {
        let is_current = self.known().is_some_and(|known| {
            let is_same = |known: &Met| (known.era, known.since) == (met.era, met.since);
            Rc::ptr_eq(&known, met) || (known.session == met.session && is_same(&known))
        });
        if is_current {
            *self.met.borrow_mut() = None;
            *self.meeting.borrow_mut() = None;
            self.keeper.keep(None);
        }
    }

    /// Finds out the era and begins a session where there are sessions.
    async fn introduce(&self) -> Result<Rc<Met>, Fault> {
        let met = match self.target()?.era {
            Some(Era::Handshake) => None,
            Some(Era::Modern) | None => self.discover().await?,
        };
        let met = match met {
            Some(met) => met,
            None if self.target()?.era == Some(Era::Modern) => {
                return Err(Fault::Garbage("it is not of the era that is configured".to_owned()));
            }
            None => self.initialize().await?,
        };
        self.keeper.keep(Some(&met));
        let met = Rc::new(met);
        *self.met.borrow_mut() = Some(Rc::clone(&met));
        Ok(met)
    }

    /// Asks as the modern era does. `None` from one that is not of it.
    async fn discover(&self) -> Result<Option<Met>, Fault> {
        let params = gathered([("_meta".to_owned(), self.meta())]);
        let headers = modern_headers("server/discover", None);
        let answer = match self.simple(None, "server/discover", params, &headers).await {
            Ok(answer) => answer,
            // The statuses and errors of those who do not know the method, or want a session first.
            Err(Fault::Status { status, .. })
                if status >= 400 && !matches!(status, 401 | 403 | 408 | 429 | 502..=504) =>
            {
                return Ok(None);
            }
            // A server of the handshake era may not know what to say to this at all.
            Err(Fault::Garbage(_) | Fault::Ended) => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let Ok(fields) = answer.1 else {
            return Ok(None);
        };
        let versions: Vec<String> = wire::field(&fields, "supportedVersions")
            .and_then(|value| serde_json::from_value(value).ok())
            .unwrap_or_default();
        if !versions.iter().any(|version| version == MODERN_REVISION) {
            return Ok(None);
        }
        Ok(Some(Met {
            era: Era::Modern,
            revision: MODERN_REVISION.to_owned(),
            session: None,
            capabilities: object(&fields, "capabilities"),
            level: None,
            mute_since: None,
            since: self.world.now(),
        }))
    }

    async fn initialize(&self) -> Result<Met, Fault> {
        let newest = HANDSHAKE_REVISIONS.last().copied().unwrap_or_default();
        let mut capabilities = self.capabilities.clone();
        // Extensions are of the other era.
        capabilities.remove("extensions");
        let params = json!({
            "protocolVersion": newest,
            "capabilities": capabilities,
            "clientInfo": client_info(),
        });
        let params = params.as_object().cloned().unwrap_or_default();
        let (session, outcome) = self.simple(None, "initialize", params, &[]).await?;
        let fields = outcome.map_err(|error| Fault::Status {
            status: 200,
            retry_after_ms: None,
            error: Some(error),
        })?;
        let mut met = Met {
            era: Era::Handshake,
            revision: newest.to_owned(),
            session,
            capabilities: object(&fields, "capabilities"),
            level: None,
            mute_since: None,
            since: self.world.now(),
        };
        let revision = wire::text(&fields, "protocolVersion").unwrap_or_default();
        let begun = match HANDSHAKE_REVISIONS.contains(&revision.as_str()) {
            true => {
                met.revision = revision;
                let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
                let bound = self.guard.bounds().connect_ms;
                self.post(&met, note.to_string(), &[], bound).await.map(|_| ())
            }
            false => {
                Err(Fault::Garbage(format!("the revision {}", shared::error::shown(&revision))))
            }
        };
        // What cannot be begun is not left behind.
        begun.inspect_err(|_| self.end(&met)).map(|()| met)
    }

    /// A request to which nothing is said but the reply: its session and its outcome.
    pub(crate) async fn simple(
        &self,
        met: Option<&Met>,
        method: &str,
        params: JsonObject,
        headers: &[(String, String)],
    ) -> Result<(Option<String>, Result<Fields, wire::ErrorObject>), Fault> {
        let id = self.next_id();
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let bound = self.guard.bounds().connect_ms;
        let work = async {
            let request = self.request("POST", met, headers, Some(body.to_string()))?;
            let target = self.target()?;
            let answer = exchange(&*self.world, &target.address, request, bound).await?;
            let Answer { session, mut messages } = answer;
            while let Some(message) = messages.next().await? {
                if let Message::Reply { of, outcome } = message
                    && of.may_be(id)
                {
                    return Ok((session, outcome));
                }
            }
            Err(Fault::Ended)
        };
        within(&*self.world, bound, "the first words", work).await
    }

    fn target(&self) -> Result<&Target, Fault> {
        let refused = |error: &Error| Fault::Unreachable(error.to_string());
        self.target.as_ref().map_err(refused)
    }

    /// The address and our own headers are known, or everything is answered with why not.
    pub(crate) fn check_target(&self) -> Result<(), Error> {
        self.target.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    /// A request as every one is: in the session, in the revision, with what is ours.
    fn request(
        &self,
        method: &'static str,
        met: Option<&Met>,
        more: &[(String, String)],
        body: Option<String>,
    ) -> Result<Request, Fault> {
        let target = self.target()?;
        let accept = match method {
            "GET" => "text/event-stream",
            _ => "application/json, text/event-stream",
        };
        let mut headers = target.headers.clone();
        headers.push(("accept".to_owned(), accept.to_owned()));
        if body.is_some() {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        if let Some(met) = met
            && met.era == Era::Handshake
        {
            headers.push(("mcp-protocol-version".to_owned(), met.revision.clone()));
            let session = met.session.iter();
            headers.extend(session.map(|id| ("mcp-session-id".to_owned(), id.clone())));
        }
        headers.extend(more.iter().cloned());
        Ok(Request { method, url: target.address.text(), headers, body })
    }

    /// Posts a message.
    pub(crate) async fn post(
        &self,
        met: &Met,
        body: String,
        more: &[(String, String)],
        first_byte_ms: u32,
    ) -> Result<Messages, Fault> {
        let request = self.request("POST", Some(met), more, Some(body))?;
        let target = self.target()?;
        exchange(&*self.world, &target.address, request, first_byte_ms)
            .await
            .map(|answer| answer.messages)
    }

    /// Posts a request for which whoever asks bounds every wait.
    pub(crate) async fn post_unbounded(
        &self,
        met: &Met,
        body: String,
        more: Vec<(String, String)>,
    ) -> Result<Messages, Fault> {
        let request = self.request("POST", Some(met), &more, Some(body))?;
        let target = self.target()?;
        let bound = self.guard.bounds().connect_ms;
        let answer = exchange_unbounded(&*self.world, &target.address, request, bound).await?;
        Ok(answer.messages)
    }

    /// Opens the stream of a session, or asks for the rest of one.
    pub(crate) async fn listen(&self, met: &Met, after: Option<&str>) -> Result<Messages, Fault> {
        let more: Vec<_> =
            after.map(|id| ("last-event-id".to_owned(), id.to_owned())).into_iter().collect();
        let request = self.request("GET", Some(met), &more, None)?;
        let target = self.target()?;
        let bound = self.guard.bounds().first_byte_ms;
        let answer = exchange(&*self.world, &target.address, request, bound).await?;
        match answer.messages.is_stream() {
            true => Ok(answer.messages),
            false => Err(Fault::Garbage("a stream that is none".to_owned())),
        }
    }

    /// `_meta` of every request of the modern era.
    pub(crate) fn meta(&self) -> Value {
        json!({
            "io.modelcontextprotocol/protocolVersion": MODERN_REVISION,
            "io.modelcontextprotocol/clientInfo": client_info(),
            "io.modelcontextprotocol/clientCapabilities": self.capabilities,
        })
    }
}

/// How long to wait before another try; `None` if that is longer than anybody waits.
fn wait_ms(tries: u32, asked: Option<u64>, random: [u8; 12]) -> Option<u32> {
    let step = limits::RETRY_MS_MIN.saturating_mul(1 << tries.min(10));
    // So that those who failed together do not come back together.
    let jitter = u64::from(random.first().copied().unwrap_or(0)).saturating_mul(step) / 512;
    let wait = asked.unwrap_or(0).max(step.saturating_add(jitter));
    u32::try_from(wait).ok().filter(|_| wait <= limits::RETRY_MS_MAX)
}

fn object(fields: &Fields, name: &str) -> JsonObject {
    match wire::field(fields, name) {
        Some(Value::Object(object))
            if fields
                .get(name)
                .is_some_and(|raw| raw.get().len() <= limits::UPSTREAM_CAPABILITIES_BYTES_MAX) =>
        {
            object
        }
        _ => JsonObject::new(),
    }
}

/// Headers of a request of the modern era.
pub(crate) fn modern_headers(method: &str, name: Option<&str>) -> Vec<(String, String)> {
    let mut headers = vec![
        ("mcp-protocol-version".to_owned(), MODERN_REVISION.to_owned()),
        ("mcp-method".to_owned(), method.to_owned()),
    ];
    headers.extend(name.map(|name| ("mcp-name".to_owned(), shared::header::encode(name))));
    headers
}
