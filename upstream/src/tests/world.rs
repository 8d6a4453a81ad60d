//! The world of a test: a clock that moves when nothing else can, a server that answers as the test
//! says, a place to keep things, and whoever asks. It must not know which rule is tested.

use crate::{
    Ask, Body, Failure, Fault, Fields, JsonObject, Link, Met, Question, Relay, Request, Response,
    World,
    guard::Guard,
    link::{Keeper, Target},
    listen::{Ear, Heard, Hearing},
    wire::ErrorObject,
};
use futures_channel::mpsc;
use futures_executor::{LocalPool, LocalSpawner};
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{AbortHandle, LocalBoxFuture, abortable, pending, ready},
    stream,
    task::LocalSpawnExt as _,
};
use serde_json::{Value, json};
use shared::{
    Error, Millis,
    config::{Address, Bounds, Era},
    hop::MODERN_REVISION,
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Poll, Waker},
};

/// When every test begins.
pub(super) const BEGIN: u64 = 1_000_000;

/// A request, as a server sees it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: &'static str,
    pub(super) url: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Value,
    /// When it came, after [`BEGIN`].
    pub(super) at: u64,
}

impl Seen {
    /// Its JSON-RPC method; `GET`, `DELETE` and `reply` for what has none.
    pub(super) fn rpc(&self) -> &str {
        match (self.method, self.body["method"].as_str()) {
            (method @ ("GET" | "DELETE"), _) => method,
            (_, Some(method)) => method,
            _ => "reply",
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What happens to a body.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    Bytes(Vec<u8>),
    Wait(u32),
    Break,
    Hang,
}

/// An event with a message.
pub(super) fn event(message: &Value) -> Piece {
    raw(&format!("data: {message}\n\n"))
}

/// Bytes as they are.
pub(super) fn raw(text: &str) -> Piece {
    Piece::Bytes(text.as_bytes().to_vec())
}

/// How a server answers.
pub(super) enum Plan {
    Answer { status: u16, headers: Vec<(String, String)>, body: Body, after: u32 },
    Refuse,
    Never,
}

impl Plan {
    /// A body of some kind.
    pub(super) fn of(status: u16, kind: &str, body: &str) -> Self {
        let body = body.as_bytes().to_vec();
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        Self::Answer { status, headers, body: stream::iter([Ok(body)]).boxed_local(), after: 0 }
    }

    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::of(status, "application/json", &body.to_string())
    }

    /// A result.
    pub(super) fn result(seen: &Seen, result: Value) -> Self {
        Self::json(200, &reply(seen, result))
    }

    /// A status and nothing else.
    pub(super) fn status(status: u16) -> Self {
        Self::of(status, "text/plain", "")
    }

    /// A body that comes over time.
    pub(super) fn stream(stage: &Stage, kind: &str, pieces: Vec<Piece>) -> Self {
        let world = Rc::clone(&stage.world);
        let body = stream::iter(pieces).then(move |piece| {
            let sleep = match piece {
                Piece::Wait(wait) => Some(world.sleep(wait)),
                _ => None,
            };
            async move {
                match piece {
                    Piece::Bytes(bytes) => Ok(bytes),
                    Piece::Wait(_) => {
                        sleep.unwrap().await;
                        Ok(Vec::new())
                    }
                    Piece::Break => Err("10.0.0.7 reset the connection".to_owned()),
                    Piece::Hang => pending().await,
                }
            }
        });
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        Self::Answer { status: 200, headers, body: body.boxed_local(), after: 0 }
    }

    /// A stream of events.
    pub(super) fn sse(stage: &Stage, pieces: Vec<Piece>) -> Self {
        Self::stream(stage, "text/event-stream; charset=utf-8", pieces)
    }

    /// A stream of events into which the test speaks.
    pub(super) fn spoken() -> (Mouth, Self) {
        let (sender, receiver) = mpsc::unbounded::<Result<Vec<u8>, String>>();
        let headers = vec![("content-type".to_owned(), "text/event-stream".to_owned())];
        let body = receiver.boxed_local();
        (Mouth(sender), Self::Answer { status: 200, headers, body, after: 0 })
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// The same, some time later.
    pub(super) fn later(mut self, milliseconds: u32) -> Self {
        if let Self::Answer { after, .. } = &mut self {
            *after = milliseconds;
        }
        self
    }
}

/// The test's end of a stream.
#[derive(Clone)]
pub(super) struct Mouth(mpsc::UnboundedSender<Result<Vec<u8>, String>>);

impl Mouth {
    pub(super) fn say(&self, message: &Value) {
        self.raw(&format!("data: {message}\n\n"));
    }

    pub(super) fn raw(&self, text: &str) {
        let _ = self.0.unbounded_send(Ok(text.as_bytes().to_vec()));
    }

    pub(super) fn fail(&self) {
        let _ = self.0.unbounded_send(Err("10.0.0.7 reset the connection".to_owned()));
    }

    pub(super) fn end(&self) {
        self.0.close_channel();
    }

    /// Whether nobody listens any more.
    pub(super) fn is_left(&self) -> bool {
        self.0.is_closed()
    }
}

/// The reply to a request.
pub(super) fn reply(seen: &Seen, result: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": seen.body["id"], "result": result })
}

/// An error as the reply to a request.
pub(super) fn error(seen: &Seen, code: i64, message: &str) -> Value {
    let error = json!({ "code": code, "message": message });
    json!({ "jsonrpc": "2.0", "id": seen.body["id"], "error": error })
}

/// A notification.
pub(super) fn note(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

type Server = Rc<dyn Fn(&Seen) -> Plan>;

struct Timer {
    due: u64,
    order: u64,
    state: Rc<RefCell<(bool, Option<Waker>)>>,
}

/// The world of a test.
pub(super) struct Outside {
    now: Cell<u64>,
    order: Cell<u64>,
    timers: RefCell<Vec<Timer>>,
    server: RefCell<Server>,
    seen: RefCell<Vec<Seen>>,
    spawner: LocalSpawner,
    /// What chance is made of.
    pub(super) random: Cell<u8>,
}

impl World for Outside {
    fn now(&self) -> Millis {
        Millis(self.now.get())
    }

    fn random(&self) -> [u8; 12] {
        [self.random.get(); 12]
    }

    fn sleep(&self, milliseconds: u32) -> LocalBoxFuture<'static, ()> {
        let state = Rc::new(RefCell::new((false, None)));
        let due = self.now.get() + u64::from(milliseconds);
        let order = self.order.replace(self.order.get() + 1);
        self.timers.borrow_mut().push(Timer { due, order, state: Rc::clone(&state) });
        Box::pin(poll_fn(move |context| {
            let mut state = state.borrow_mut();
            if state.0 {
                return Poll::Ready(());
            }
            state.1 = Some(context.waker().clone());
            Poll::Pending
        }))
    }

    fn spawn(&self, work: LocalBoxFuture<'static, ()>) {
        self.spawner.spawn_local(work).unwrap();
    }

    fn send(&self, request: Request) -> LocalBoxFuture<'static, Result<Response, Fault>> {
        let Request { method, url, headers, body } = request;
        let body = body.map_or(Value::Null, |body| serde_json::from_str(&body).unwrap());
        let count = headers.len();
        let headers: BTreeMap<_, _> = headers.into_iter().collect();
        assert_eq!(headers.len(), count, "no header is sent twice");
        let seen = Seen { method, url, headers, body, at: self.now.get() - BEGIN };
        self.seen.borrow_mut().push(seen.clone());
        let server = Rc::clone(&self.server.borrow());
        match server(&seen) {
            Plan::Never => Box::pin(pending()),
            Plan::Refuse => {
                let why = "10.0.0.7 refused the connection".to_owned();
                Box::pin(ready(Err(Fault::Unreachable(why))))
            }
            Plan::Answer { status, headers, body, after } => {
                let wait = (after > 0).then(|| self.sleep(after));
                Box::pin(async move {
                    if let Some(wait) = wait {
                        wait.await;
                    }
                    Ok(Response { status, headers, body })
                })
            }
        }
    }

    fn log(&self, _error: &Error) {}
}

impl Outside {
    /// Moves the time to the next timer that anybody waits for, if it is not later than `until`.
    fn advance(&self, until: u64) -> bool {
        let mut timers = self.timers.borrow_mut();
        timers.retain(|timer| Rc::strong_count(&timer.state) > 1);
        let next = timers.iter().filter(|timer| timer.due <= until);
        let Some((due, order)) = next.map(|timer| (timer.due, timer.order)).min() else {
            return false;
        };
        let index = timers.iter().position(|timer| timer.order == order).unwrap();
        let timer = timers.remove(index);
        drop(timers);
        self.now.set(self.now.get().max(due));
        let waker = {
            let mut state = timer.state.borrow_mut();
            state.0 = true;
            state.1.take()
        };
        waker.into_iter().for_each(Waker::wake);
        true
    }
}

/// A test's world, and what goes on in it.
pub(super) struct Stage {
    pub(super) world: Rc<Outside>,
    pool: RefCell<LocalPool>,
    pub(super) kept: Rc<RefCell<Option<Met>>>,
}

/// Something that goes on.
pub(super) struct Task<T> {
    outcome: Rc<RefCell<Option<T>>>,
    abort: AbortHandle,
}

impl<T> Task<T> {
    /// Drops it.
    pub(super) fn stop(&self) {
        self.abort.abort();
    }

    pub(super) fn is_over(&self) -> bool {
        self.outcome.borrow().is_some()
    }

    /// What came of it.
    pub(super) fn outcome(&self) -> T {
        self.outcome.borrow_mut().take().expect("it goes on")
    }
}

impl Stage {
    /// A world with a server.
    pub(super) fn new(server: impl Fn(&Seen) -> Plan + 'static) -> Rc<Self> {
        let pool = LocalPool::new();
        let world = Outside {
            now: Cell::new(BEGIN),
            order: Cell::default(),
            timers: RefCell::default(),
            server: RefCell::new(Rc::new(server)),
            seen: RefCell::default(),
            spawner: pool.spawner(),
            random: Cell::default(),
        };
        let (world, pool) = (Rc::new(world), RefCell::new(pool));
        Rc::new(Self { world, pool, kept: Rc::default() })
    }

    /// A world with a server that has to know it.
    pub(super) fn with(server: impl Fn(&Self, &Seen) -> Plan + 'static) -> Rc<Self> {
        let stage = Self::new(|_| Plan::Never);
        let weak = Rc::downgrade(&stage);
        stage.serve(move |seen| server(&weak.upgrade().unwrap(), seen));
        stage
    }

    /// Another server from now on.
    pub(super) fn serve(&self, server: impl Fn(&Seen) -> Plan + 'static) {
        *self.world.server.borrow_mut() = Rc::new(server);
    }

    /// The same server, after this one had nothing to say.
    pub(super) fn serve_before(&self, first: impl Fn(&Seen) -> Option<Plan> + 'static) {
        let server = Rc::clone(&self.world.server.borrow());
        self.serve(move |seen| first(seen).unwrap_or_else(|| server(seen)));
    }

    /// Time since the test began.
    pub(super) fn now(&self) -> u64 {
        self.world.now.get() - BEGIN
    }

    /// Everything that the server saw.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.world.seen.borrow().clone()
    }

    /// How much that was.
    pub(super) fn seen_count(&self) -> usize {
        self.world.seen.borrow().len()
    }

    /// The methods of it, in order.
    pub(super) fn methods(&self) -> Vec<String> {
        self.seen().iter().map(|seen| seen.rpc().to_owned()).collect()
    }

    /// What it saw of one method.
    pub(super) fn seen_of(&self, method: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.rpc() == method).collect()
    }

    pub(super) fn count(&self, method: &str) -> usize {
        self.seen_of(method).len()
    }

    /// Begins something, and does what can be done of it without time.
    pub(super) fn start<T: 'static>(&self, work: impl Future<Output = T> + 'static) -> Task<T> {
        let outcome = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&outcome);
        let (work, abort) = abortable(work);
        let work = work.map(move |done| *slot.borrow_mut() = done.ok());
        self.world.spawner.spawn_local(work).unwrap();
        self.settle();
        Task { outcome, abort }
    }

    /// Does what can be done without time.
    pub(super) fn settle(&self) {
        self.pool.borrow_mut().run_until_stalled();
    }

    /// Lets time pass.
    pub(super) fn pass(&self, milliseconds: u64) {
        let until = self.world.now.get() + milliseconds;
        self.settle();
        while self.world.advance(until) {
            self.settle();
        }
        self.world.now.set(until);
    }

    /// Lets as much time pass as something takes.
    pub(super) fn finish<T>(&self, task: &Task<T>) -> T {
        self.settle();
        while !task.is_over() {
            let day = self.world.now.get() + 24 * 60 * 60 * 1000;
            assert!(self.world.advance(day), "it hangs: {:?}", self.methods());
            self.settle();
        }
        task.outcome()
    }

    /// Whether anything waits for the time.
    pub(super) fn is_waiting(&self) -> bool {
        let timers = self.world.timers.borrow();
        timers.iter().any(|timer| Rc::strong_count(&timer.state) > 1)
    }

    /// Does something to its end.
    pub(super) fn run<T: 'static>(&self, work: impl Future<Output = T> + 'static) -> T {
        let task = self.start(work);
        self.finish(&task)
    }

    pub(super) fn guard(&self, bounds: Bounds) -> Rc<Guard> {
        let world: Rc<dyn World> = Rc::<Outside>::clone(&self.world);
        Rc::new(Guard::new("github".to_owned(), world, bounds))
    }

    /// A client of the server, which keeps what it learns in `kept`.
    pub(super) fn link(&self) -> Rc<Link> {
        self.link_of(Bounds::default(), None)
    }

    pub(super) fn link_of(&self, bounds: Bounds, era: Option<Era>) -> Rc<Link> {
        self.link_behind(self.guard(bounds), era)
    }

    pub(super) fn link_behind(&self, guard: Rc<Guard>, era: Option<Era>) -> Rc<Link> {
        let address = Address::parse("https://mcp.test/mcp", false).unwrap();
        let headers = vec![("authorization".to_owned(), "Bearer secret".to_owned())];
        self.link_to(guard, Ok(Target { address, era, headers }))
    }

    pub(super) fn link_to(&self, guard: Rc<Guard>, target: Result<Target, Error>) -> Rc<Link> {
        let world: Rc<dyn World> = Rc::<Outside>::clone(&self.world);
        let can = json!({ "elicitation": {}, "extensions": { "x": {} } });
        let can = can.as_object().unwrap().clone();
        let keeper = Box::new(Kept(Rc::clone(&self.kept)));
        Rc::new(Link::new(world, guard, target, can, keeper))
    }

    /// Asks, to the end.
    pub(super) fn ask(&self, link: &Rc<Link>, ask: Ask) -> Result<Fields, Failure> {
        let asking = self.asking(link, ask, &Rc::default());
        self.finish(&asking)
    }

    /// Begins to ask.
    pub(super) fn asking(
        &self,
        link: &Rc<Link>,
        ask: Ask,
        asker: &Rc<Asker>,
    ) -> Task<Result<Fields, Failure>> {
        let (link, asker) = (Rc::clone(link), Rc::clone(asker));
        self.start(async move { link.ask(ask, &*asker).await })
    }

    /// Listens, and collects what is heard.
    pub(super) fn hear(&self, link: &Rc<Link>, ear: &Rc<Ear>) -> Rc<RefCell<Vec<Heard>>> {
        let heard = Rc::new(RefCell::new(Vec::new()));
        let hearing: Hearing = {
            let heard = Rc::clone(&heard);
            Rc::new(move |one| heard.borrow_mut().push(one))
        };
        link.hear(ear, &hearing);
        self.settle();
        heard
    }
}

struct Kept(Rc<RefCell<Option<Met>>>);

impl Keeper for Kept {
    fn load(&self) -> Option<Met> {
        // As it comes out of a database.
        let met = self.0.borrow();
        met.as_ref().map(|met| serde_json::from_value(json!(met)).unwrap())
    }

    fn keep(&self, met: Option<&Met>) {
        *self.0.borrow_mut() = met.cloned();
    }
}

/// A tool call, which is asked once.
pub(super) fn call() -> Ask {
    let params = json!({ "name": "t", "arguments": {} });
    Ask {
        method: "tools/call",
        params: params.as_object().unwrap().clone(),
        name: Some("t".to_owned()),
        ..Ask::default()
    }
}

/// A request that may be repeated.
pub(super) fn read() -> Ask {
    Ask { may_repeat: true, ..call() }
}

/// A server of the handshake era: sessions `s1`, `s2` and so on, and whatever the test says.
pub(super) fn handshake(
    stage: &Stage,
    seen: &Seen,
    rest: impl FnOnce(&Stage, &Seen) -> Plan,
) -> Plan {
    let can = json!({ "logging": {}, "tools": {}, "resources": { "subscribe": true } });
    match seen.rpc() {
        "server/discover" => Plan::status(400),
        "initialize" => {
            let result = json!({ "protocolVersion": "2025-11-25", "capabilities": can,
                "serverInfo": { "name": "n", "version": "1" } });
            let session = format!("s{}", stage.count("initialize"));
            Plan::result(seen, result).with("mcp-session-id", &session)
        }
        "notifications/initialized" | "notifications/cancelled" | "reply" => Plan::status(202),
        _ => rest(stage, seen),
    }
}

/// A server of the modern era.
pub(super) fn modern(stage: &Stage, seen: &Seen, rest: impl FnOnce(&Stage, &Seen) -> Plan) -> Plan {
    match seen.rpc() {
        "server/discover" => {
            let result = json!({ "resultType": "complete", "capabilities": { "tools": {} },
                "supportedVersions": ["2025-11-25", MODERN_REVISION] });
            Plan::result(seen, result)
        }
        _ => rest(stage, seen),
    }
}

type Answers = Pin<Box<dyn Future<Output = Result<Vec<Value>, ErrorObject>>>>;

/// Whoever asks.
#[derive(Default)]
pub(super) struct Asker {
    pub(super) said: RefCell<Vec<(String, JsonObject)>>,
    pub(super) questions: RefCell<Vec<Vec<Question>>>,
    pub(super) pauses: Cell<u32>,
    pub(super) state: RefCell<Option<Value>>,
    pub(super) client: Option<String>,
    answer: RefCell<Option<Box<dyn Fn(Vec<Question>) -> Answers>>>,
}

impl Asker {
    /// One who answers so.
    pub(super) fn answering<F>(answer: impl Fn(Vec<Question>) -> F + 'static) -> Rc<Self>
    where
        F: Future<Output = Result<Vec<Value>, ErrorObject>> + 'static,
    {
        let asker = Self::default();
        *asker.answer.borrow_mut() = Some(Box::new(move |asked| Box::pin(answer(asked))));
        Rc::new(asker)
    }

    /// A client that is known by this.
    pub(super) fn of(client: &str) -> Rc<Self> {
        Rc::new(Self { client: Some(client.to_owned()), ..Self::default() })
    }

    /// What was said, as texts.
    pub(super) fn said(&self) -> Vec<String> {
        let said = self.said.borrow();
        said.iter().map(|(method, params)| format!("{method} {}", json!(params))).collect()
    }

    /// The keys of what was asked.
    pub(super) fn keys(&self) -> Vec<Vec<String>> {
        let keys = |asked: &Vec<Question>| asked.iter().map(|asked| asked.key.clone()).collect();
        self.questions.borrow().iter().map(keys).collect()
    }
}

impl Relay for Asker {
    fn notified<'a>(&'a self, method: &'a str, params: JsonObject) -> LocalBoxFuture<'a, ()> {
        self.said.borrow_mut().push((method.to_owned(), params));
        Box::pin(ready(()))
    }

    fn asked<'a>(
        &'a self,
        questions: Vec<Question>,
    ) -> LocalBoxFuture<'a, Result<Vec<Value>, ErrorObject>> {
        self.questions.borrow_mut().push(questions.clone());
        match &*self.answer.borrow() {
            Some(answer) => answer(questions),
            None => Box::pin(pending()),
        }
    }

    fn client(&self) -> Option<String> {
        self.client.clone()
    }

    fn paused(&self) -> LocalBoxFuture<'_, ()> {
        self.pauses.set(self.pauses.get() + 1);
        Box::pin(ready(()))
    }

    fn kept(&self) -> Option<Value> {
        self.state.borrow().clone()
    }

    fn keep(&self, state: Value) {
        *self.state.borrow_mut() = Some(state);
    }
}

/// The public text of a failure that is not the upstream's own.
pub(super) fn told(outcome: Result<Fields, Failure>) -> String {
    match outcome {
        Err(Failure::Below(error)) => error.public,
        other => panic!("{other:?}"),
    }
}

/// The upstream's own error.
pub(super) fn own(outcome: Result<Fields, Failure>) -> ErrorObject {
    match outcome {
        Err(Failure::Error(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// The result as a value.
pub(super) fn value(outcome: Result<Fields, Failure>) -> Value {
    json!(outcome.unwrap())
}
