//! One request to an upstream, up to its result, with everything that is said meanwhile: progress
//! and logs on the way out, questions to whoever asked and their answers on the way back, in both
//! eras. It must not know what is asked for, nor who hears.

use crate::{
    exchange::Messages,
    fault::{Failure, Fault},
    guard::{Hold, Pace},
    link::{Link, Met, modern_headers},
    running::{Asker, Present, token},
    wire::{self, ErrorObject, Fields, JsonObject, Message},
    world::World,
};
use futures_util::{
    FutureExt as _, StreamExt as _, future::LocalBoxFuture, stream::FuturesUnordered,
};
use serde_json::{Value, json, value::RawValue};
use shared::{Millis, config::Era, gathered, limits};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::poll_fn,
    rc::Rc,
    task::Poll,
};

/// A request for an upstream.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// Its method.
    pub method: &'static str,
    /// Its parameters, without `_meta`.
    pub params: JsonObject,
    /// What the request is about: the name of a tool or prompt, the URI of a resource.
    pub name: Option<String>,
    /// Parameters that are mirrored into headers (2026-07-28): whole names, and values.
    pub mirrors: Vec<(String, String)>,
    /// Whether it may be asked twice where it is not known whether it was heard.
    pub may_repeat: bool,
    /// How it waits for its turn. One that takes no time has another bound, and asks nobody.
    pub pace: Pace,
    /// How long it has in all, where it goes on with a call whose time runs already.
    pub left_ms: Option<u32>,
    /// Whether anybody wants to hear how far it is.
    pub wants_progress: bool,
    /// The least severe log level that anybody wants to hear.
    pub level: Option<String>,
    /// Members of `_meta` besides: what whoever asked said for the upstream.
    pub meta: JsonObject,
}

/// A question of an upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What it is known by, the same in every run of the same call.
    pub key: String,
    /// Its method.
    pub method: String,
    /// Its parameters.
    pub params: JsonObject,
}

/// Whoever asked, to whom everything is passed on.
pub trait Relay {
    /// The upstream says something. A progress has no token: it is this request's.
    fn notified<'a>(&'a self, method: &'a str, params: JsonObject) -> LocalBoxFuture<'a, ()>;

    /// The upstream asks, several things at once; the answers come in the same order.
    fn asked<'a>(
        &'a self,
        questions: Vec<Question>,
    ) -> LocalBoxFuture<'a, Result<Vec<Value>, ErrorObject>>;

    /// What the client is known by, the same in all of its requests; `None` where that is not
    /// known. What is asked of one is never asked of another.
    fn client(&self) -> Option<String>;

    /// The upstream ended its stream for now and wants to be asked for the rest.
    fn paused(&self) -> LocalBoxFuture<'_, ()>;

    /// What was kept of an earlier run of this request.
    fn kept(&self) -> Option<Value>;

    /// Keeps what another run of this request should know.
    fn keep(&self, state: Value);
}

/// Tells an upstream that nobody wants the answer any more, if this is dropped before it is there.
/// (In the modern era the connection's end says so.)
struct Withdrawal {
    link: Rc<Link>,
    met: Rc<Met>,
    id: u64,
    is_over: Cell<bool>,
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        if self.is_over.get() || self.met.era == Era::Modern {
            return;
        }
        let note = json!({
            "jsonrpc": "2.0", "method": "notifications/cancelled",
            "params": { "requestId": self.id, "reason": "the client wants no answer any more" },
        });
        let (link, met) = (Rc::clone(&self.link), Rc::clone(&self.met));
        self.link.world.spawn(Box::pin(async move {
            let bound = link.guard.bounds().connect_ms;
            let _ = link.post(&met, note.to_string(), &[], bound).await;
        }));
    }
}

/// How long an upstream has still time for one call.
struct Clock {
    left_ms: u64,
    timer: Option<LocalBoxFuture<'static, ()>>,
    since: u64,
    /// What it had before the timer was set.
    spent_ms: u64,
}

impl Clock {
    const fn new(milliseconds: u32) -> Self {
        Self { left_ms: milliseconds as u64, timer: None, since: 0, spent_ms: 0 }
    }

    /// So much time in all, counted from the same beginning.
    fn extended(mut self, world: &dyn World, milliseconds: u32) -> Self {
        self.stop(world);
        let left_ms = u64::from(milliseconds).saturating_sub(self.spent_ms);
        Self { left_ms, ..self }
    }

    /// Goes on.
    fn poll(&mut self, world: &dyn World, context: &mut std::task::Context<'_>) -> Poll<()> {
        let left = u32::try_from(self.left_ms).unwrap_or(u32::MAX);
        let since = &mut self.since;
        let timer = self.timer.get_or_insert_with(|| {
            *since = world.now().0;
            world.sleep(left)
        });
        timer.poll_unpin(context)
    }

    /// Stands still: the upstream waits for the client.
    fn stop(&mut self, world: &dyn World) {
        if self.timer.take().is_some() {
            let spent = world.now().0.saturating_sub(self.since);
            self.left_ms = self.left_ms.saturating_sub(spent);
            self.spent_ms = self.spent_ms.saturating_add(spent);
        }
    }
}

enum Event {
    Heard(Result<Option<Message>, Fault>),
    Come(Result<Messages, Fault>),
    Answered,
    Late,
    /// Progress that was held back may be told.
    Due,
}

impl Event {
    /// Whether the upstream has said anything of the request by this.
    const fn says_anything(&self, source: &Source<'_>) -> bool {
        match (self, source) {
            (Self::Heard(Ok(Some(_))), _) => true,
            // It ends a stream and says when to ask for the rest.
            (Self::Heard(Ok(None)), Source::Open(messages)) => {
                messages.last_event.is_some() && messages.retry_ms.is_some()
            }
            _ => false,
        }
    }
}

/// Progress of a request.
const PROGRESS: &str = "notifications/progress";

/// A line of a log.
const LOG: &str = "notifications/message";

/// How much of what is said beside one call is passed on: so much in a second. MCP lets a server
/// tell progress as often as it likes or not at all, asks both sides to keep it from flooding, and
/// has each message say all of how far it is; so the newest says what those left out said. Logs are
/// to be limited by whoever writes them, and those beyond the bound are left out; those that nobody
/// wants to hear take no other's place. What has changed is never left out: it is told less often
/// elsewhere. Nor is anything else, which may be said once only: too much of it ends the call.
#[derive(Default)]
struct Flow {
    since: Millis,
    progress: u32,
    notes: u32,
    others: u32,
    /// The progress that was held back last.
    newest: Option<JsonObject>,
    timer: Option<LocalBoxFuture<'static, ()>>,
}

impl Flow {
    const WINDOW_MS: u64 = 1_000;

    /// What is passed on of a message now.
    fn take(
        &mut self,
        method: &str,
        params: JsonObject,
        now: Millis,
    ) -> Result<Option<JsonObject>, Fault> {
        if now.since(self.since) >= Self::WINDOW_MS {
            (self.since, self.progress, self.notes, self.others) = (now, 0, 0, 0);
        }
        if crate::listen::change(method, &params).is_some() {
            return Ok(Some(params));
        }
        let (count, most) = match method {
            PROGRESS => (&mut self.progress, limits::UPSTREAM_PROGRESS_MAX),
            LOG => (&mut self.notes, limits::UPSTREAM_NOTES_MAX),
            _ => (&mut self.others, limits::UPSTREAM_OTHERS_MAX),
        };
        *count = count.saturating_add(1);
        let is_passed = *count <= most;
        match method {
            PROGRESS => {
                self.newest = None;
                if !is_passed {
                    self.newest = Some(params);
                    return Ok(None);
                }
            }
            LOG => {}
            _ if !is_passed => return Err(Fault::Flood),
            _ => {}
        }
        Ok(is_passed.then_some(params))
    }

    /// Ready when what was held back may be told.
    fn poll(&mut self, world: &dyn World, context: &mut std::task::Context<'_>) -> Poll<()> {
        if self.newest.is_none() {
            self.timer = None;
            return Poll::Pending;
        }
        let left = Self::WINDOW_MS.saturating_sub(world.now().since(self.since));
        let left = u32::try_from(left).unwrap_or(0);
        let timer = self.timer.get_or_insert_with(|| world.sleep(left));
        let is_due = timer.poll_unpin(context);
        if is_due.is_ready() {
            self.timer = None;
        }
        is_due
    }
}

/// Where what is said in one exchange comes from.
enum Source<'a> {
    Open(Messages),
    /// It was asked for. Meanwhile something may be said elsewhere: an upstream that answers with
    /// no stream asks on the session's own.
    Coming(LocalBoxFuture<'a, Result<Messages, Fault>>),
}

/// Answers on their way to an upstream.
type Answering<'a> = FuturesUnordered<LocalBoxFuture<'a, ()>>;

/// What is said in one exchange, and to whom it is passed on.
struct Conversation<'a> {
    link: &'a Rc<Link>,
    met: &'a Rc<Met>,
    id: u64,
    present: &'a Present,
    relay: &'a dyn Relay,
    pace: Pace,
    /// The least severe log level that is wanted.
    level: Option<&'a str>,
    /// Its turn, unless it asks.
    hold: &'a RefCell<Hold>,
    /// Questions of this request so far.
    asked: u32,
    /// How often the rest of a stream was asked for, after which event.
    resumes: Rc<Cell<u32>>,
    /// How much of what is said is passed on.
    flow: RefCell<Flow>,
    last: RefCell<Option<String>>,
}

impl Link {
    /// Asks, and passes on what is said meanwhile. Dropping the future tells the upstream.
    ///
    /// # Errors
    /// The upstream's own error, or why it did not answer.
    pub async fn ask(self: &Rc<Self>, ask: Ask, relay: &dyn Relay) -> Result<Fields, Failure> {
        self.check_target()?;
        let mut round = Round::restored(relay.kept());
        loop {
            // Others have their turn while the client is asked.
            let hold = RefCell::default();
            let (era, mut fields) = self.ask_once(&ask, &round, relay, &hold).await?;
            drop(hold);
            if era == Era::Handshake {
                // A member that this era does not know: whoever reads on must not take it for word
                // of a question, or of a task.
                fields.remove("resultType");
                return Ok(fields);
            }
            if wire::text(&fields, "resultType").as_deref() != Some("input_required") {
                return Ok(fields);
            }
            round = round.next(&fields, relay, self.guard.name()).await?;
        }
    }

    /// Asks until there is a result or another try makes no sense. Tells of which era it is.
    async fn ask_once(
        self: &Rc<Self>,
        ask: &Ask,
        round: &Round,
        relay: &dyn Relay,
        hold: &RefCell<Hold>,
    ) -> Result<(Era, Fields), Failure> {
        let (mut tries, mut renewals) = (0, 0);
        let mut doubted: Option<(Rc<Met>, Fault)> = None;
        loop {
            if !hold.borrow().is_held() {
                // One that is on its way would be waited for in vain.
                hold.borrow_mut().keep(None);
                let turn = self.guard.turn(ask.pace).await?;
                hold.borrow_mut().keep(turn);
            }
            let met = self.meet().await?;
            if let Some((before, fault)) = doubted.take()
                && !(ask.may_repeat || met.is_other(&before))
            {
                // It is what it was, and meant what it said.
                return Err(fault.told(self.guard.name()));
            }
            let attempt = self.guard.attempt()?;
            let outcome = self.exchange(&met, ask, round, relay, hold).await;
            let fault = match outcome {
                Ok(Err(error)) if error.code == UNSUPPORTED => {
                    Fault::Status { status: 200, retry_after_ms: None, error: Some(error) }
                }
                Ok(outcome) => {
                    attempt.succeed();
                    return outcome.map(|fields| (met.era, fields)).map_err(Failure::Error);
                }
                Err(fault) => fault,
            };
            attempt.fail_by(&fault);
            if renewals == 0
                && let Some(doubt) = self.doubt(&met, &fault)
            {
                self.forget(&met);
                renewals = 1;
                if doubt == Doubt::Perhaps {
                    self.end(&met);
                    doubted = Some((met, fault));
                }
                // One that surely does not know who asks did nothing.
                continue;
            }
            let is_safe = ask.may_repeat || fault.is_refusal();
            match self.pause_ms(&fault, tries).filter(|_| is_safe) {
                None => return Err(fault.told(self.guard.name())),
                Some(wait) => self.world.sleep(wait).await,
            }
            tries = tries.saturating_add(1);
        }
    }

    /// Whether to meet the upstream again after a fault. A session in which anything else runs is
    /// not given up because it may be gone.
    fn doubt(&self, met: &Met, fault: &Fault) -> Option<Doubt> {
        let is_free = met.session.is_none() || self.running.is_empty();
        doubt(met, fault).filter(|doubt| *doubt == Doubt::Sure || is_free)
    }

    /// One exchange. The inner error is the upstream's own.
    async fn exchange(
        self: &Rc<Self>,
        met: &Rc<Met>,
        ask: &Ask,
        round: &Round,
        relay: &dyn Relay,
        hold: &RefCell<Hold>,
    ) -> Result<Result<Fields, ErrorObject>, Fault> {
        let id = self.next_id();
        let (body, headers) = self.written(met, ask, round, id);
        self.set_level(met, ask.level.as_deref()).await;
        let withdrawal = Withdrawal {
            link: Rc::clone(self),
            met: Rc::clone(met),
            id,
            is_over: Cell::new(false),
        };
        let asker = match ask.pace {
            Pace::Call => relay.client().map_or(Asker::Somebody, Asker::Client),
            Pace::Brief | Pace::Urgent => Asker::Nobody,
        };
        let present = self.running.enter(id, asker);
        let bounds = self.guard.bounds();
        let (first_byte_ms, total_ms) = match (ask.left_ms, ask.pace) {
            (Some(left), _) => (left, None),
            (None, Pace::Call) => {
                (bounds.first_byte_ms.min(bounds.total_ms), Some(bounds.total_ms))
            }
            (None, Pace::Brief | Pace::Urgent) => (bounds.connect_ms, Some(bounds.connect_ms)),
        };
        let mut conversation = Conversation {
            link: self,
            met,
            id,
            present: &present,
            relay,
            pace: ask.pace,
            level: ask.level.as_deref(),
            hold,
            asked: 0,
            resumes: Rc::default(),
            flow: RefCell::default(),
            last: RefCell::default(),
        };
        let answer = Box::pin(self.post_unbounded(met, body, headers));
        let clock = Clock::new(first_byte_ms);
        let outcome = conversation.follow(Source::Coming(answer), clock, total_ms).await;
        // One that would go on is told that nobody waits any more.
        let goes_on = matches!(outcome, Err(Fault::Late(_) | Fault::Endless | Fault::Flood));
        withdrawal.is_over.set(!goes_on);
        outcome
    }

    fn written(
        &self,
        met: &Met,
        ask: &Ask,
        round: &Round,
        id: u64,
    ) -> (String, Vec<(String, String)>) {
        let mut params = ask.params.clone();
        let mut meta = ask.meta.clone();
        if ask.wants_progress {
            meta.insert("progressToken".to_owned(), id.into());
        }
        let mut headers = Vec::new();
        if met.era == Era::Modern {
            if let Value::Object(own) = self.meta() {
                meta.extend(own);
            }
            if let Some(level) = &ask.level {
                meta.insert("io.modelcontextprotocol/logLevel".to_owned(), level.clone().into());
            }
            round.write(&mut params);
            headers = modern_headers(ask.method, ask.name.as_deref());
            headers.extend(ask.mirrors.iter().cloned());
        }
        if !meta.is_empty() {
            params.insert("_meta".to_owned(), meta.into());
        }
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": ask.method, "params": params });
        (body.to_string(), headers)
    }

    /// Asks a session for logs, once for each level that is wanted: whoever wants less hears less.
    async fn set_level(self: &Rc<Self>, met: &Rc<Met>, wanted: Option<&str>) {
        let Some(wanted) = wanted.filter(|_| met.era == Era::Handshake && met.can(&["logging"]))
        else {
            return;
        };
        let is_set = met.level.as_deref().is_some_and(|set| severity(set) <= severity(wanted));
        if is_set {
            return;
        }
        let params = gathered([("level".to_owned(), wanted.into())]);
        // Where it fails there are fewer logs; the call that follows says more of the matter.
        let is_settled = match self.simple(Some(met), "logging/setLevel", params, &[]).await {
            Ok((_, Ok(_))) => true,
            // It has no such thing, whatever it says of itself: asking again changes nothing.
            Ok((_, Err(error))) => error.code == -32601,
            Err(_) => false,
        };
        if is_settled {
            self.learn(|met| met.level = Some(wanted.to_owned()));
        }
    }

    /// Answers a question of the upstream. In the modern era nothing is answered so.
    pub(crate) async fn respond(
        &self,
        met: &Met,
        id: &RawValue,
        outcome: Result<Value, ErrorObject>,
    ) {
        if met.era == Era::Modern {
            return;
        }
        let body = match outcome {
            Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
            Err(error) => json!({ "jsonrpc": "2.0", "id": id, "error": error }),
        };
        // An upstream that cannot be told notices that it is not.
        let _ = self.post(met, body.to_string(), &[], self.guard.bounds().connect_ms).await;
    }
}

/// The order of log levels (RFC 5424), least severe first.
#[must_use]
pub fn severity(level: &str) -> u8 {
    let order = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
    let found = order.into_iter().position(|one| one == level);
    found.and_then(|n| u8::try_from(n).ok()).unwrap_or(u8::MAX)
}

/// What a refusal says of how the upstream was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// It does not know the session, or the revision any more.
    Sure,
    /// It may be of the other era by now.
    Perhaps,
}

/// The revision is none that is known (2026-07-28).
const UNSUPPORTED: i64 = -32022;

/// Errors by which servers refuse a message before they read what it asks for: their own of any
/// kind, sessions, no valid request, and headers that do not fit (2026-07-28).
const OF_TRANSPORT: [i64; 4] = [-32000, -32001, -32600, -32020];

pub(crate) fn doubt(met: &Met, fault: &Fault) -> Option<Doubt> {
    let Fault::Status { status, error, .. } = fault else {
        return None;
    };
    let names_session =
        error.as_ref().is_some_and(|error| error.message.to_ascii_lowercase().contains("session"));
    // The specification says 404; some say 400 and why.
    let is_gone = met.session.is_some() && (*status == 404 || (*status == 400 && names_session));
    let code = error.as_ref().map(|error| error.code);
    if is_gone || code == Some(UNSUPPORTED) {
        return Some(Doubt::Sure);
    }
    let is_of_transport = matches!(status, 400 | 404 | 405 | 422)
        && code.is_none_or(|code| OF_TRANSPORT.contains(&code));
    is_of_transport.then_some(Doubt::Perhaps)
}

impl<'c> Conversation<'c> {
    /// Follows a request to its reply, across streams that broke. `clock` is for the first that is
    /// said of it: any message, or that the rest is to be asked for later. The head of a response,
    /// or a comment in it, says nothing. With all that comes then there are `total_ms`, or no more
    /// than the same.
    async fn follow(
        &mut self,
        mut source: Source<'c>,
        mut clock: Clock,
        total_ms: Option<u32>,
    ) -> Result<Result<Fields, ErrorObject>, Fault> {
        let (link, present, hold) = (self.link, self.present, self.hold);
        let mut answering = Answering::new();
        let mut what = "its first message";
        loop {
            let waits = Waits { hold, clock: &mut clock, flow: &self.flow };
            let event = next(&*link.world, &mut source, present, &mut answering, waits).await;
            if what != "the result" && event.says_anything(&source) {
                link.guard.begin();
                what = "the result";
                if let Some(total_ms) = total_ms {
                    clock = clock.extended(&*link.world, total_ms);
                }
            }
            match event {
                Event::Answered if answering.is_empty() => {
                    hold.borrow_mut().regain(&link.guard, self.pace);
                }
                Event::Answered => {}
                Event::Late => return Err(Fault::Late(what)),
                Event::Due => self.tell_newest().await,
                Event::Come(messages) => source = Source::Open(messages?),
                Event::Heard(Ok(Some(Message::Reply { of, outcome }))) => {
                    // An error may come without an id; what is another's is nobody's here.
                    if of.may_be(self.id) {
                        self.tell_newest().await;
                        return Ok(outcome);
                    }
                }
                Event::Heard(Ok(Some(Message::Notification { method, params }))) => {
                    self.notified(&method, params).await?;
                }
                Event::Heard(Ok(Some(Message::Request { id, method, params }))) => {
                    answering.extend(self.asked(id, method, params)?);
                }
                Event::Heard(Ok(None)) => source = self.resume(source, Fault::Ended).await?,
                Event::Heard(Err(fault @ Fault::Unreachable(_))) => {
                    source = self.resume(source, fault).await?;
                }
                Event::Heard(Err(fault)) => return Err(fault),
            }
        }
    }

    /// Asks for the rest of a stream, or says why it cannot be had.
    async fn resume(&self, source: Source<'c>, fault: Fault) -> Result<Source<'c>, Fault> {
        let Source::Open(Messages { last_event: Some(last), retry_ms, .. }) = source else {
            return Err(fault);
        };
        if self.met.era == Era::Modern {
            return Err(fault);
        }
        if fault == Fault::Ended && retry_ms.is_some() {
            self.relay.paused().await;
        }
        let (tries, before) = (&self.resumes, &self.last);
        let is_further = before.replace(Some(last.clone())).as_ref() != Some(&last);
        if is_further && retry_ms.is_some() {
            // It wants to be asked again and again, and has come further since.
            tries.set(0);
        }
        let tries = Rc::clone(tries);
        Ok(Source::Coming(Box::pin(rest(self.link, self.met, last, retry_ms, tries))))
    }

    async fn notified(&self, method: &str, mut params: JsonObject) -> Result<(), Fault> {
        match method {
            // Progress of another request is none of this one's.
            PROGRESS if !token(&params).may_be(self.id) => return Ok(()),
            PROGRESS => {
                params.remove("progressToken");
            }
            // The level of a session is that of whoever wants to hear most.
            LOG if !self.wants_log(&params) => return Ok(()),
            // It is about a question, by a number that nobody else knows.
            "notifications/cancelled" => {
                self.link.running.withdraw(&params);
                return Ok(());
            }
            _ => {}
        }
        let now = self.link.world.now();
        let passed = self.flow.borrow_mut().take(method, params, now)?;
        if let Some(params) = passed {
            self.relay.notified(method, params).await;
        }
        Ok(())
    }

    /// Whether a line of a log is as severe as is wanted, where that is known.
    fn wants_log(&self, params: &JsonObject) -> bool {
        let level = severity(params.get("level").and_then(Value::as_str).unwrap_or_default());
        // One that has no order is none.
        self.level.is_none_or(|least| level != u8::MAX && level >= severity(least))
    }

    /// Passes on the progress that was held back last.
    async fn tell_newest(&self) {
        let newest = self.flow.borrow_mut().newest.take();
        if let Some(params) = newest {
            self.relay.notified(PROGRESS, params).await;
        }
    }

    /// Answers a question, or asks whoever asked, so many times.
    fn asked<'f>(
        &mut self,
        id: Box<RawValue>,
        method: String,
        params: JsonObject,
    ) -> Result<Option<LocalBoxFuture<'f, ()>>, Fault>
    where
        Self: 'f,
    {
        let Self { link, met, relay, present, .. } = *self;
        // In the modern era an upstream asks in its result.
        if met.era == Era::Modern {
            return Ok(None);
        }
        if method == "ping" {
            return Ok(Some(Box::pin(async move {
                link.respond(met, &id, Ok(json!({}))).await;
            })));
        }
        self.asked = self.asked.saturating_add(1);
        if self.asked > limits::UPSTREAM_ASKED_MAX {
            return Err(Fault::Endless);
        }
        self.hold.borrow_mut().keep(None);
        // The same question has the same key in every run.
        let key = format!("{}.{}", method.replace('/', "_"), self.asked);
        Ok(Some(Box::pin(async move {
            let asked = relay.asked(vec![Question { key, method, params }]);
            // What is withdrawn is not answered.
            if let Some(outcome) = present.ask(&id, asked).await {
                let outcome = outcome.map(|mut answers| answers.pop().unwrap_or_default());
                link.respond(met, &id, outcome).await;
            }
        })))
    }
}

/// The rest of a stream after the event `last`, as often as it may be asked for.
async fn rest(
    link: &Link,
    met: &Met,
    last: String,
    retry_ms: Option<u64>,
    tries: Rc<Cell<u32>>,
) -> Result<Messages, Fault> {
    while tries.get() < limits::UPSTREAM_RESUMES_MAX {
        let step = limits::RETRY_MS_MIN.saturating_mul(1 << tries.get().min(10));
        tries.set(tries.get().saturating_add(1));
        let wait = retry_ms.unwrap_or(step).clamp(limits::RETRY_MS_MIN, limits::RETRY_MS_MAX);
        link.world.sleep(u32::try_from(wait).unwrap_or(0)).await;
        match link.listen(met, Some(&last)).await {
            Ok(mut messages) => {
                (messages.last_event, messages.retry_ms) = (Some(last), retry_ms);
                return Ok(messages);
            }
            Err(fault) if fault.is_passing() => {}
            Err(_) => break,
        }
    }
    Err(Fault::Ended)
}

/// What goes on while something is waited for.
struct Waits<'a> {
    hold: &'a RefCell<Hold>,
    clock: &'a mut Clock,
    flow: &'a RefCell<Flow>,
}

/// The next that happens. An upstream that never falls silent has no more time than another, and
/// while it waits for many answers it is not heard.
async fn next(
    world: &dyn World,
    source: &mut Source<'_>,
    present: &Present,
    answering: &mut Answering<'_>,
    Waits { hold, clock, flow }: Waits<'_>,
) -> Event {
    let mut heard = match source {
        Source::Open(messages) => messages.next().map(Event::Heard).boxed_local(),
        Source::Coming(messages) => messages.map(Event::Come).boxed_local(),
    };
    poll_fn(|context| {
        if let Poll::Ready(Some(())) = answering.poll_next_unpin(context) {
            return Poll::Ready(Event::Answered);
        }
        if flow.borrow_mut().poll(world, context).is_ready() {
            return Poll::Ready(Event::Due);
        }
        hold.borrow_mut().poll(context);
        if present.is_asking() {
            // The client may take its time.
            clock.stop(world);
        } else if clock.poll(world, context).is_ready() {
            return Poll::Ready(Event::Late);
        }
        if answering.len() >= limits::UPSTREAM_QUESTIONS_MAX {
            return Poll::Pending;
        }
        // What has come by the session's own stream may be the reply: then the end of this one is
        // none of the request's.
        if let Poll::Ready(message) = present.poll_next(context) {
            return Poll::Ready(Event::Heard(Ok(Some(message))));
        }
        heard.poll_unpin(context)
    })
    .await
}

/// What one round of questions leaves for the next (2026-07-28).
#[derive(Debug, Default, PartialEq)]
struct Round {
    number: u32,
    state: Option<Value>,
    answers: BTreeMap<String, Value>,
}

impl Round {
    /// Where an earlier run of the same request had come to.
    fn restored(kept: Option<Value>) -> Self {
        let Some(Value::Object(mut kept)) = kept else {
            return Self::default();
        };
        let number = kept.get("round").and_then(Value::as_u64);
        Self {
            number: number.and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            state: kept.remove("state").filter(|state| !state.is_null()),
            answers: kept
                .remove("answers")
                .and_then(|answers| serde_json::from_value(answers).ok())
                .unwrap_or_default(),
        }
    }

    fn write(&self, params: &mut JsonObject) {
        if let Some(state) = &self.state {
            params.insert("requestState".to_owned(), state.clone());
        }
        if !self.answers.is_empty() {
            let answers = self.answers.iter().map(|(key, value)| (key.clone(), value.clone()));
            params.insert("inputResponses".to_owned(), Value::Object(gathered(answers)));
        }
    }

    /// Has the questions of a result answered.
    async fn next(self, fields: &Fields, relay: &dyn Relay, name: &str) -> Result<Self, Failure> {
        let number = self.number.saturating_add(1);
        let garbage = |what: &str| Fault::Garbage(what.to_owned()).told(name);
        if number > limits::UPSTREAM_ROUNDS_MAX {
            return Err(Fault::Endless.told(name));
        }
        let state = wire::field(fields, "requestState");
        let inputs = match wire::field(fields, "inputRequests") {
            None | Some(Value::Null) => JsonObject::new(),
            Some(Value::Object(inputs)) => inputs,
            Some(_) => return Err(garbage("inputRequests that are no object")),
        };
        let mut keys = Vec::new();
        let mut questions = Vec::new();
        for (key, input) in inputs {
            let Value::Object(mut input) = input else {
                return Err(garbage("a question that is no object"));
            };
            let method = input.get("method").and_then(Value::as_str).unwrap_or_default().to_owned();
            let params = match input.remove("params") {
                Some(Value::Object(params)) => params,
                _ => JsonObject::new(),
            };
            // A later round may ask something else by the same name.
            let asked = if number == 1 { key.clone() } else { format!("{key}.{number}") };
            keys.push(key);
            questions.push(Question { key: asked, method, params });
        }
        // Where it is asked from the start again, the upstream is at this point too.
        relay.keep(json!({ "round": self.number, "state": self.state, "answers": self.answers }));
        let answers = match questions.is_empty() {
            true => Vec::new(),
            false => relay.asked(questions).await.map_err(Failure::Error)?,
        };
        Ok(Self { number, state, answers: gathered(keys.into_iter().zip(answers)) })
    }
}
