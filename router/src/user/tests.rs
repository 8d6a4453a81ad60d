//! One user's state in a world that does as it is told: what is said on streams, who hears it, and
//! what is left of it after the router has gone. It must not know the platform.

mod account;

mod entering;

mod listening;

mod reconfigured;

mod spreading;

mod vaulting;

use super::*;
use crate::{http::Address, streams::StreamId};
use futures_channel::{
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded},
    oneshot,
};
use futures_util::{FutureExt as _, StreamExt as _, future::LocalBoxFuture};
use identity::keyring::KeyRing;
use serde_json::{Value, json};
use shared::{
    config::Written,
    database::native::Embedded,
    hop::{Access, Change, Changes, InterestHop},
    outside::{Answer, Request as Asked},
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    future::Future,
};

/// Whoever asks has a key of the configuration.
static FIXED: Caller = Caller::fixed();

/// What an Agent answers with.
enum Response {
    Whole(String),
    Lines(UnboundedReceiver<String>),
}

/// Whoever is asked outside.
trait Outside {
    fn ask(&self, request: Asked) -> LocalBoxFuture<'static, Result<Answer, String>>;
}

/// A world where nothing moves by itself.
#[derive(Default)]
struct Fake {
    now: Cell<u64>,
    answers: RefCell<VecDeque<Response>>,
    hops: RefCell<Vec<Value>>,
    words: RefCell<Vec<Value>>,
    /// What checks of who may enter say, and the contexts that were asked.
    checks: RefCell<VecDeque<oneshot::Receiver<Result<Access, Error>>>>,
    checked: RefCell<Vec<String>>,
    /// What Agents were told of who listens, and whether they take it.
    interests: RefCell<Vec<String>>,
    is_deaf: Cell<bool>,
    /// What the next ones wait for before they take it.
    slow: RefCell<VecDeque<oneshot::Receiver<()>>>,
    /// What Agents were told to stop, and how many of the next words are lost.
    stops: RefCell<Vec<String>>,
    lost_stops: Cell<usize>,
    timers: RefCell<Vec<(u64, oneshot::Sender<()>)>>,
    tasks: RefCell<Vec<LocalBoxFuture<'static, ()>>>,
    sockets: RefCell<BTreeMap<StreamId, String>>,
    /// What is outside, where anything is; the deployment's keys, where it has any; and how often
    /// randomness was asked for.
    outside: RefCell<Option<Rc<dyn Outside>>>,
    ring: RefCell<Option<Rc<KeyRing>>>,
    random: Cell<u64>,
    /// Happens while a hop is on its way.
    meanwhile: RefCell<Option<Box<dyn FnOnce()>>>,
}

impl Fake {
    /// Lets whatever goes on go on as far as it gets.
    fn run(&self) {
        let mut tasks = self.tasks.take();
        tasks.retain_mut(|task| task.now_or_never().is_none());
        self.tasks.borrow_mut().append(&mut tasks);
    }

    /// Lets the timers of this length go off.
    fn pass(&self, milliseconds: u64) {
        let timers = self.timers.take();
        let (over, left) = timers.into_iter().partition(|(length, _)| *length == milliseconds);
        *self.timers.borrow_mut() = left;
        let over: Vec<(u64, oneshot::Sender<()>)> = over;
        over.into_iter().for_each(|(_, timer)| timer.send(()).unwrap_or_default());
    }

    fn answer(&self, body: &Value) {
        self.answers.borrow_mut().push_back(Response::Whole(body.to_string()));
    }

    /// An answer that is a stream, and the way to say something on it.
    fn stream(&self) -> UnboundedSender<String> {
        let (sender, lines) = unbounded();
        self.answers.borrow_mut().push_back(Response::Lines(lines));
        sender
    }

    fn last_hop(&self) -> Value {
        self.hops.borrow().last().unwrap().clone()
    }

    /// What a socket was told since the last time.
    fn heard(&self, event: EventId) -> String {
        self.sockets.borrow_mut().get_mut(&event.stream).map(std::mem::take).unwrap_or_default()
    }
}

impl World for Fake {
    type Response = Response;

    fn now(&self) -> Millis {
        Millis(self.now.get())
    }

    fn log(&self, error: &Error) {
        assert_ne!(error.kind, Kind::Internal, "{error}");
    }

    async fn forward(&self, _key: &AgentKey, hop: String) -> Result<Response, Error> {
        self.hops.borrow_mut().push(serde_json::from_str(&hop).unwrap());
        if let Some(meanwhile) = self.meanwhile.take() {
            meanwhile();
        }
        Ok(self.answers.borrow_mut().pop_front().expect("nothing was to be forwarded"))
    }

    async fn part(&self, key: &AgentKey, hop: String) -> Result<String, Error> {
        let hop: Value = serde_json::from_str(&hop).unwrap();
        assert_eq!(hop["is_part"], true);
        match key.scope.depth() {
            2 => Err(Error::new(Kind::Unavailable, "this context does not answer")),
            _ => {
                let notes = json!([{ "id": key.object_name(), "shared": false }]);
                let result = json!({ "structuredContent": { "notes": notes } });
                Ok(json!({ "jsonrpc": "2.0", "id": 1, "result": result }).to_string())
            }
        }
    }

    async fn word(&self, _key: &AgentKey, word: String) -> Result<bool, Error> {
        self.words.borrow_mut().push(serde_json::from_str(&word).unwrap());
        Ok(true)
    }

    async fn verify(&self, key: &AgentKey, hop: String) -> Result<Access, Error> {
        let hop: Value = serde_json::from_str(&hop).unwrap();
        assert_eq!(hop, json!({ "key": key }));
        self.checked.borrow_mut().push(key.object_name());
        let check = self.checks.borrow_mut().pop_front().expect("nothing was to be checked");
        check.await.unwrap()
    }

    async fn interest(&self, key: &AgentKey, hop: String) -> Result<(), Error> {
        let hop: InterestHop = serde_json::from_str(&hop).unwrap();
        assert_eq!(*key, hop.key);
        let uris = hop.uris.into_iter().collect::<Vec<_>>().join(" ");
        self.interests.borrow_mut().push(format!("{} {} {uris}", key.object_name(), hop.lists));
        let slow = self.slow.borrow_mut().pop_front();
        if let Some(slow) = slow {
            let _ = slow.await;
        }
        match self.is_deaf.get() {
            true => Err(Error::new(Kind::Unavailable, "lost")),
            false => Ok(()),
        }
    }

    async fn stop(&self, _key: &AgentKey, hop: String) -> Result<(), Error> {
        self.stops.borrow_mut().push(hop);
        match self.lost_stops.get().checked_sub(1) {
            Some(left) => {
                self.lost_stops.set(left);
                Err(Error::new(Kind::Unavailable, "lost"))
            }
            None => Ok(()),
        }
    }

    fn is_ok(_response: &Response) -> bool {
        true
    }

    fn form(response: &Response) -> Form {
        match response {
            Response::Whole(_) => Form::Whole,
            Response::Lines(_) => Form::Lines,
        }
    }

    fn pieces(
        response: Response,
    ) -> Result<impl futures_util::Stream<Item = Result<Vec<u8>, Error>> + Unpin + 'static, Error>
    {
        let pieces = match response {
            Response::Whole(body) => {
                let (sender, pieces) = unbounded();
                sender.unbounded_send(body).unwrap();
                pieces
            }
            Response::Lines(lines) => lines,
        };
        Ok(pieces.map(|piece| Ok(piece.into_bytes())))
    }

    fn sleep(&self, milliseconds: u64) -> LocalBoxFuture<'static, ()> {
        let (sender, receiver) = oneshot::channel();
        self.timers.borrow_mut().push((milliseconds, sender));
        Box::pin(receiver.map(drop))
    }

    fn spawn(&self, work: LocalBoxFuture<'static, ()>) {
        self.tasks.borrow_mut().push(work);
    }

    fn send(&self, stream: StreamId, events: &str) {
        if let Some(heard) = self.sockets.borrow_mut().get_mut(&stream) {
            heard.push_str(events);
        }
    }

    fn hang_up(&self, stream: StreamId) {
        self.sockets.borrow_mut().remove(&stream);
    }

    fn is_connected(&self, stream: StreamId) -> bool {
        self.sockets.borrow().contains_key(&stream)
    }

    async fn ask(&self, request: Asked) -> Result<Answer, String> {
        let outside = self.outside.borrow().clone().expect("nothing is outside");
        outside.ask(request).await
    }

    fn random(&self) -> Result<[u8; 32], Error> {
        let count = self.random.get().wrapping_add(1);
        self.random.set(count);
        let mut random = [7; 32];
        random.iter_mut().zip(count.to_be_bytes()).for_each(|(byte, of)| *byte = of);
        Ok(random)
    }

    fn ring(&self) -> Option<Rc<KeyRing>> {
        self.ring.borrow().clone()
    }

    fn origin(&self) -> Option<String> {
        Some("https://here.test".to_owned())
    }

    fn secret(&self, name: &str) -> Option<String> {
        (name == "AS_SECRET").then(|| "as-secret".to_owned())
    }
}

/// A user whose router can be restarted.
struct Home {
    database: Rc<Embedded>,
    config: Rc<Config>,
    world: Rc<Fake>,
    user: Rc<User<Embedded>>,
    count: Cell<u64>,
}

/// What came back.
type Back = Outgoing<Response>;

impl Home {
    fn new() -> Self {
        Self::with(Config::default())
    }

    /// With these toolsets, as they are written.
    fn with_toolsets(toolsets: &str) -> Self {
        let written = Written { toolsets: Some(toolsets), ..Written::default() };
        Self::with(Config::parse(written).unwrap())
    }

    fn with(config: Config) -> Self {
        let (database, config) = (Rc::new(Embedded::in_memory()), Rc::new(config));
        let user = Self::wake(&config, &database);
        Self { database, config, world: Rc::default(), user, count: Cell::new(0) }
    }

    fn wake(config: &Rc<Config>, database: &Rc<Embedded>) -> Rc<User<Embedded>> {
        let id = UserId::parse("u").unwrap();
        Rc::new(User::new(Rc::clone(config), id, Rc::clone(database)))
    }

    /// Everything in memory is lost, and every connection.
    fn restart(&mut self) {
        self.world.tasks.borrow_mut().clear();
        self.world.sockets.borrow_mut().clear();
        self.user = Self::wake(&self.config, &self.database);
    }

    fn send(&self, method: Method, url: &str, incoming: Incoming) -> Back {
        let count = self.count.get().wrapping_add(1);
        self.count.set(count);
        let now = self.world.now();
        let moment = Moment { now, random: [count as u8; 32], call: count << 32 };
        let url = format!("http://host{url}");
        let address = Address::parse(&url, &self.config.levels).unwrap();
        now_of(self.user.serve(&self.world, method, &address, &incoming, &FIXED, moment))
    }

    fn post(&self, session: &str, body: &Value) -> Back {
        let session = Some(session.to_owned()).filter(|session| !session.is_empty());
        let body = body.to_string();
        self.send(Method::Post, "/mcp/acme", Incoming { session, body, ..incoming() })
    }

    fn get(&self, session: &str, last_event: Option<&str>) -> Back {
        let session = Some(session.to_owned());
        let last_event = last_event.map(ToOwned::to_owned);
        self.send(Method::Get, "/mcp/acme", Incoming { session, last_event, ..incoming() })
    }

    fn begin(&self, revision: &str) -> String {
        self.world.answer(&json!({ "result": {} }));
        let client = json!({ "name": "c", "version": "1" });
        let params =
            json!({ "protocolVersion": revision, "capabilities": {}, "clientInfo": client });
        match self.post("", &request(0, "initialize", &params)) {
            Outgoing::Begun(_, id) => id.as_str().to_owned(),
            other => panic!("{}", show(other)),
        }
    }

    /// Asks to hear of changes, as the modern era does.
    fn hear(&self, filter: &Value) -> EventId {
        let params = json!({ "notifications": filter });
        let incoming = modern_incoming("subscriptions/listen", &params);
        listening(self.send(Method::Post, "/mcp/acme", incoming))
    }

    /// Connects to a stream as the entry does.
    fn attach(&self, event: EventId) -> Attached {
        let attached = self.user.attach(&self.world, event).unwrap();
        if !attached.is_done {
            self.world.sockets.borrow_mut().insert(event.stream, String::new());
        }
        attached
    }

    fn changed(&self, path: &str, changes: &[Change]) {
        let scope = Scope::parse_path(path, &Config::default().levels).unwrap();
        let user = UserId::parse("u").unwrap();
        let changes = Changes { user, scope, changes: changes.to_vec() };
        self.user.changed(&*self.world, &changes).unwrap();
    }
}

fn now_of<T>(future: impl Future<Output = T>) -> T {
    Box::pin(future).as_mut().now_or_never().expect("nothing here waits")
}

fn incoming() -> Incoming {
    Incoming {
        accept: Some("application/json, text/event-stream".to_owned()),
        content_type: Some("application/json".to_owned()),
        ..Incoming::default()
    }
}

fn request(id: u64, method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// A request of the modern era: its status and its body.
fn modern(home: &Home, url: &str, method: &str, params: &Value) -> (u16, String) {
    answered(home.send(Method::Post, url, modern_incoming(method, params)))
}

fn modern_incoming(method: &str, params: &Value) -> Incoming {
    let mut params = params.clone();
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    Incoming {
        revision: Some("2026-07-28".to_owned()),
        mcp_method: Some(method.to_owned()),
        mcp_name: params["name"].as_str().map(ToOwned::to_owned),
        body: request(5, method, &params).to_string(),
        ..incoming()
    }
}

fn answered(back: Back) -> (u16, String) {
    match back {
        Outgoing::Own(reply) | Outgoing::Failed(reply, _) => {
            (reply.status, reply.body.unwrap_or_default())
        }
        Outgoing::Piped(Response::Whole(body)) => (200, body),
        other => panic!("{}", show(other)),
    }
}

fn call(id: u64) -> Value {
    request(id, "tools/call", &json!({ "name": "t" }))
}

fn reply(id: u64) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "result": {} }).to_string()
}

fn progress(n: u64) -> String {
    json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progress": n } })
        .to_string()
}

fn show(back: Back) -> String {
    match back {
        Outgoing::Own(reply) | Outgoing::Failed(reply, _) => {
            format!("{} {}", reply.status, reply.body.unwrap_or_default())
        }
        Outgoing::Piped(Response::Whole(body)) => format!("piped {body}"),
        Outgoing::Piped(Response::Lines(_)) => "piped lines".to_owned(),
        Outgoing::Begun(..) => "begun".to_owned(),
        Outgoing::Stream(_) => "stream".to_owned(),
        Outgoing::Listen(event) => format!("listen {event}"),
    }
}

fn events(back: Back) -> Events {
    match back {
        Outgoing::Stream(events) => events,
        other => panic!("{}", show(other)),
    }
}

fn listening(back: Back) -> EventId {
    match back {
        Outgoing::Listen(event) => event,
        other => panic!("{}", show(other)),
    }
}

/// What has come so far, and whether it has ended.
fn drain(events: &mut Events) -> (String, bool) {
    let mut text = String::new();
    loop {
        match events.next().now_or_never() {
            Some(Some(event)) => text.push_str(&event),
            Some(None) => return (text, true),
            None => return (text, false),
        }
    }
}

/// The numbers of the messages in a text of events, and the last id in it.
fn numbers(text: &str) -> Vec<u64> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: {"));
    let read = |data: &str| -> Option<u64> {
        let value: Value = serde_json::from_str(&format!("{{{data}")).unwrap();
        value["params"]["progress"]
            .as_u64()
            .or_else(|| value["id"].as_u64().map(|id| id.wrapping_add(1000)))
    };
    data.filter_map(read).collect()
}

fn last_id(text: &str) -> String {
    text.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap().to_owned()
}

#[test]
fn a_database_knows_whose_it_is_once_something_happens_by_itself() {
    let home = Home::new();
    assert_eq!(owner(&home.database).unwrap(), None);
    home.user.keep_owner().unwrap();
    home.user.keep_owner().unwrap();
    assert_eq!(owner(&home.database).unwrap(), Some(home.user.id.clone()));
}

#[test]
fn a_stream_names_itself_in_every_event_and_ends_after_the_reply() {
    let home = Home::new();
    let session = home.begin("2025-11-25");
    let agent = home.world.stream();
    let mut response = events(home.post(&session, &call(7)));
    agent.unbounded_send(format!("{}\n\n{}\n", progress(1), reply(7))).unwrap();
    home.world.run();
    let (text, is_over) = drain(&mut response);
    let expected = format!(
        "id: 1-0\ndata: \n\nid: 1-1\nevent: message\ndata: {}\n\n:\n\n\
         id: 1-2\nevent: message\ndata: {}\n\n",
        progress(1),
        reply(7)
    );
    assert_eq!(text, expected);
    assert!(is_over);
    // The id is free again, and an answer that is whole leaves nothing behind.
    home.world.answer(&json!({ "id": 7 }));
    assert_eq!(show(home.post(&session, &call(7))), r#"piped {"id":7}"#);
}

#[test]
fn a_disconnect_is_no_cancellation_and_the_rest_is_there_once() {
    for restart in [false, true] {
        let mut home = Home::new();
        let session = home.begin("2025-11-25");
        let agent = home.world.stream();
        let mut response = events(home.post(&session, &call(7)));
        agent.unbounded_send(format!("{}\n{}\n", progress(1), progress(2))).unwrap();
        home.world.run();
        let (text, _) = drain(&mut response);
        assert_eq!(numbers(&text), [1, 2]);
        let first = last_id(text.split("\n\n").nth(1).unwrap());
        drop(response);
        agent.unbounded_send(format!("{}\n", progress(3))).unwrap();
        home.world.run();
        if !restart {
            let event = listening(home.get(&session, Some(&first)));
            assert_eq!(numbers(&home.attach(event).events), [2, 3]);
            agent.unbounded_send(format!("{}\n", progress(4))).unwrap();
            home.world.run();
            assert_eq!(numbers(&home.world.heard(event)), [4]);
            // Another connection takes over from the one that may be dead.
            let event = listening(home.get(&session, Some(&first)));
            assert_eq!(numbers(&home.attach(event).events), [2, 3, 4]);
        }
        agent.unbounded_send(format!("{}\n", reply(7))).unwrap();
        home.world.run();
        home.restart();
        // After the reply the stream is still there to be read.
        let event = listening(home.get(&session, Some(&first)));
        let attached = home.attach(event);
        assert!(attached.is_done);
        assert_eq!(numbers(&attached.events).last(), Some(&1007));
        // Once it has everything, there is no stream to be had: it comes back no more.
        let back = show(home.get(&session, Some(&last_id(&attached.events))));
        assert!(back.starts_with("405 "), "{back}");
    }
}

#[test]
fn a_call_that_its_router_does_not_survive_is_answered_with_an_error_once() {
    let mut home = Home::new();
    let session = home.begin("2025-11-25");
    let agent = home.world.stream();
    let mut response = events(home.post(&session, &call(7)));
    agent.unbounded_send(format!("{}\n", progress(1))).unwrap();
    home.world.run();
    let first = last_id(&drain(&mut response).0);
    home.restart();
    for _ in 0..2 {
        let event = listening(home.get(&session, Some(&first)));
        let attached = home.attach(event);
        assert!(attached.is_done);
        assert_eq!(numbers(&attached.events), [1007]);
        assert!(attached.events.contains("interrupted"), "{}", attached.events);
    }
}

#[test]
fn an_agent_that_goes_away_is_told_to_the_client() {
    let home = Home::new();
    let session = home.begin("2025-06-18");
    let agent = home.world.stream();
    let mut response = events(home.post(&session, &call(7)));
    drop(agent);
    home.world.run();
    let (text, is_over) = drain(&mut response);
    assert!(is_over && text.contains("interrupted") && numbers(&text) == [1007], "{text}");
}

#[test]
fn a_stream_may_pause_where_clients_come_back() {
    for (revision, pauses) in [("2025-11-25", true), ("2025-06-18", false)] {
        let home = Home::new();
        let session = home.begin(revision);
        let agent = home.world.stream();
        let mut response = events(home.post(&session, &call(7)));
        agent.unbounded_send(format!("{}\npause\n", progress(1))).unwrap();
        home.world.run();
        let (text, is_over) = drain(&mut response);
        assert_eq!((is_over, text.contains("retry: 500")), (pauses, pauses), "{text}");
        let last = last_id(&text);
        agent.unbounded_send(format!("{}\n", reply(7))).unwrap();
        home.world.run();
        if pauses {
            let event = listening(home.get(&session, Some(&last)));
            assert_eq!(numbers(&home.attach(event).events), [1007]);
        }
    }
}

#[test]
fn nobody_resumes_a_stream_of_another_session() {
    let home = Home::new();
    let (one, other) = (home.begin("2025-11-25"), home.begin("2025-11-25"));
    let _agent = home.world.stream();
    let _response = events(home.post(&one, &call(7)));
    for last in ["1-0", "2-0", "1", "x-1", "", "-1-0"] {
        assert!(show(home.get(&other, Some(last))).starts_with("400 "), "{last}");
    }
    assert_eq!(show(home.get(&one, Some("1-0"))), "listen 1-0");
}

#[test]
fn a_word_finds_its_call() {
    let home = Home::new();
    let (one, other) = (home.begin("2025-11-25"), home.begin("2025-11-25"));
    let _agent = home.world.stream();
    let _response = events(home.post(&one, &call(7)));
    let known = home.world.last_hop()["peer"]["handshake"]["call"].as_str().unwrap().to_owned();
    let answer = json!({ "jsonrpc": "2.0", "id": format!("{known}.3"), "result": {} });
    let cancel = cancellation(7);
    for (session, expected) in [(&other, 0), (&one, 2)] {
        assert_eq!(show(home.post(session, &answer)), "202 ");
        assert_eq!(show(home.post(session, &cancel)), "202 ");
        assert_eq!(home.world.words.borrow().len(), expected);
    }
    let words = home.world.words.borrow();
    assert_eq!(words[0]["word"], json!({ "answer": { "n": 3, "response": answer } }));
    assert_eq!(words[1]["word"], json!("cancel"));
    assert!(words.iter().all(|word| word["call"] == json!(known)));
}

fn cancellation(id: u64) -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } })
}

#[test]
fn a_cancelled_call_ends_without_a_reply() {
    let home = Home::new();
    let session = home.begin("2025-11-25");
    let agent = home.world.stream();
    let mut response = events(home.post(&session, &call(7)));
    home.post(&session, &cancellation(7));
    drop(agent);
    home.world.run();
    let (text, is_over) = drain(&mut response);
    assert!(is_over && numbers(&text).is_empty(), "{text}");
    // Nor does it get one by coming back.
    assert!(show(home.get(&session, Some("1-0"))).starts_with("400 "));
    let agent = home.world.stream();
    let mut response = events(home.post(&session, &call(8)));
    agent.unbounded_send(format!("{}\n", progress(1))).unwrap();
    home.world.run();
    let first = last_id(&drain(&mut response).0);
    home.post(&session, &cancellation(8));
    drop(agent);
    home.world.run();
    assert!(show(home.get(&session, Some(&first))).starts_with("405 "));
}

#[test]
fn a_busy_session_loses_nothing_that_is_in_use() {
    let home = Home::new();
    let session = home.begin("2025-11-25");
    let event = listening(home.get(&session, None));
    home.attach(event);
    let waiting = home.world.stream();
    let mut long = events(home.post(&session, &call(7)));
    for id in 100..100 + shared::limits::STREAMS_MAX as u64 {
        let agent = home.world.stream();
        let mut short = events(home.post(&session, &call(id)));
        agent.unbounded_send(format!("{}\n{}\n", progress(1), reply(id))).unwrap();
        home.world.run();
        assert!(drain(&mut short).1);
    }
    home.changed("/mcp/acme", &[Change::Tools]);
    assert!(home.world.heard(event).contains("tools/list_changed"));
    waiting.unbounded_send(format!("{}\n", reply(7))).unwrap();
    home.world.run();
    assert_eq!(numbers(&drain(&mut long).0), [1007]);
}

#[test]
fn a_call_is_lost_with_its_router_however_much_of_it_is_kept() {
    let mut home = Home::new();
    let session = home.begin("2025-11-25");
    let agent = home.world.stream();
    let mut response = events(home.post(&session, &call(7)));
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(shared::limits::EVENT_BYTES_MAX));
    agent.unbounded_send(format!("{large}\n{}\n", progress(1))).unwrap();
    home.world.run();
    let last = last_id(&drain(&mut response).0);
    home.restart();
    let event = listening(home.get(&session, Some(&last)));
    let attached = home.attach(event);
    assert!(attached.is_done && numbers(&attached.events) == [1007], "{}", attached.events);
}

#[test]
fn only_clients_that_know_it_get_an_event_without_data() {
    for (revision, is_primed) in
        [("2025-03-26", false), ("2025-06-18", false), ("2025-11-25", true)]
    {
        let home = Home::new();
        let session = home.begin(revision);
        let event = listening(home.get(&session, None));
        assert_eq!(home.attach(event).events.contains("data: \n"), is_primed, "{revision}");
    }
}

#[test]
fn a_session_that_was_away_for_long_looks_at_everything_once() {
    let home = Home::new();
    let session = home.begin("2025-11-25");
    let event = listening(home.get(&session, None));
    home.attach(event);
    home.changed("/mcp/acme", &[Change::Tools]);
    let last = EventId::start(event.stream).to_string();
    home.world.hang_up(event.stream);
    home.user.expire(&home.world, Millis(shared::limits::EVENT_AGE_MS + 1)).unwrap();
    home.changed("/mcp/acme", &[Change::Prompts]);
    let event = listening(home.get(&session, Some(&last)));
    let events = home.attach(event).events;
    for what in ["tools", "prompts", "resources"] {
        assert!(events.contains(&format!("{what}/list_changed")), "{events}");
    }
    assert_eq!(events.matches("prompts/list_changed").count(), 2, "{events}");
}

#[test]
fn a_session_that_somebody_listens_to_does_not_end() {
    let home = Home::new();
    let (one, other) = (home.begin("2025-11-25"), home.begin("2025-11-25"));
    let event = listening(home.get(&one, None));
    home.attach(event);
    let day = shared::limits::SESSION_IDLE_MS;
    for hours in 1..60 {
        home.user.expire(&home.world, Millis(hours * day / 24)).unwrap();
    }
    home.world.now.set(59 * day / 24);
    assert!(home.world.is_connected(event.stream));
    let ping = request(1, "ping", &json!({}));
    assert!(show(home.post(&one, &ping)).starts_with("200 "));
    assert!(show(home.post(&other, &ping)).starts_with("404 "));
}

#[test]
fn a_cancellation_that_overtakes_its_call_is_said_again() {
    let home = Home::new();
    let session = home.begin("2025-11-25");
    let _agent = home.world.stream();
    *home.world.meanwhile.borrow_mut() = Some(Box::new({
        let (user, session) = (Rc::clone(&home.user), SessionId::parse(&session).unwrap());
        move || user.calls.of(&session).iter().for_each(|call| call.is_cancelled.set(true))
    }));
    let _response = events(home.post(&session, &call(7)));
    assert_eq!(home.world.words.borrow().len(), 1);
}

#[test]
fn an_id_that_is_in_use_is_refused() {
    let home = Home::new();
    let session = home.begin("2025-11-25");
    let _agent = home.world.stream();
    let _response = events(home.post(&session, &call(7)));
    assert!(show(home.post(&session, &call(7))).starts_with("400 "));
    home.world.answer(&json!({}));
    assert!(show(home.post(&session, &call(8))).starts_with("piped "));
}

#[test]
fn changes_reach_each_session_once_and_only_where_they_are_seen() {
    let mut home = Home::new();
    let session = home.begin("2025-11-25");
    home.changed("/mcp/acme", &[Change::Tools]);
    let old = listening(home.get(&session, None));
    home.attach(old);
    let event = listening(home.get(&session, None));
    home.attach(event);
    home.changed("/mcp/acme", &[Change::Tools, Change::Resource("a:b".to_owned())]);
    home.changed("/mcp/other", &[Change::Tools]);
    let text = home.world.heard(event);
    assert!(text.contains("tools/list_changed") && !text.contains("updated"), "{text}");
    assert_eq!(text.matches("data: {").count(), 1, "{text}");
    assert_eq!(home.world.heard(old), "");
    home.post(&session, &request(3, "resources/subscribe", &json!({ "uri": "a:b" })));
    home.changed("/mcp/acme", &[Change::Resource("a:b".to_owned())]);
    home.changed("/mcp/other", &[Change::ResourceEverywhere("a:b".to_owned())]);
    let text = home.world.heard(event);
    assert_eq!(text.matches("resources/updated").count(), 2, "{text}");
    // What a session misses while it is away waits for it, a restart notwithstanding.
    home.restart();
    home.changed("/mcp", &[Change::ResourcesEverywhere]);
    let event = listening(home.get(&session, Some(&last_id(&text))));
    let missed = home.attach(event).events;
    assert_eq!(missed.matches("resources/list_changed").count(), 1, "{missed}");
}

#[test]
fn an_agent_tells_of_changes_only_where_somebody_hears() {
    let home = Home::new();
    let session = home.begin("2025-11-25");
    let heard = |home: &Home| {
        home.world.answer(&json!({}));
        home.post(&session, &call(home.count.get()));
        home.world.last_hop()["is_heard"].as_bool().unwrap()
    };
    assert!(!heard(&home));
    home.get(&session, None);
    assert!(heard(&home));
    home.send(
        Method::Delete,
        "/mcp/acme",
        Incoming { session: Some(session.clone()), ..incoming() },
    );
    assert!(!home.user.streams.is_heard().unwrap());
}

#[test]
fn a_stream_of_the_modern_era_says_only_what_was_asked_for() {
    let home = Home::new();
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let filter = json!({ "promptsListChanged": true, "resourceSubscriptions": ["a:b"] });
    let params = json!({ "_meta": meta, "notifications": filter });
    let modern = Incoming {
        revision: Some("2026-07-28".to_owned()),
        mcp_method: Some("subscriptions/listen".to_owned()),
        body: request(5, "subscriptions/listen", &params).to_string(),
        ..incoming()
    };
    let event = listening(home.send(Method::Post, "/mcp/acme", modern));
    // There has never been a session.
    home.user.expire(&home.world, Millis(1)).unwrap();
    let first = home.attach(event).events;
    assert!(first.contains("subscriptions/acknowledged") && !first.contains("id: "), "{first}");
    assert!(first.contains(r#""io.modelcontextprotocol/subscriptionId":5"#), "{first}");
    assert!(first.contains(&filter.to_string()), "{first}");
    home.changed("/mcp/acme", &[Change::Tools, Change::Prompts]);
    home.changed("/mcp/acme", &[Change::Resource("a:c".to_owned())]);
    home.changed("/mcp/acme/web", &[Change::Prompts, Change::Resource("a:b".to_owned())]);
    let text = home.world.heard(event);
    assert_eq!(text.matches("data: {").count(), 1, "{text}");
    assert!(text.contains("prompts/list_changed") && text.contains("subscriptionId\":5"), "{text}");
    // Nothing of it is kept, and it is gone with its connection.
    assert_eq!(home.database.run("SELECT * FROM events", &[]).unwrap(), []);
    home.world.hang_up(event.stream);
    now_of(home.user.detach(&home.world, event.stream)).unwrap();
    assert!(home.user.attach(&home.world, event).is_err());
}

#[test]
fn a_batch_is_answered_together() {
    let home = Home::new();
    let session = home.begin("2025-03-26");
    let ping = request(1, "ping", &json!({}));
    let unknown = request(2, "no/such", &json!({}));
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    home.world.answer(&json!({ "id": 3 }));
    let batch = json!([ping, unknown, note, call(3), 5]);
    let back = show(home.post(&session, &batch));
    let (status, body) = back.split_once(' ').unwrap();
    assert_eq!(status, "200");
    let answers: Vec<Value> = serde_json::from_str(body).unwrap();
    let ids: Vec<_> = answers.iter().map(|answer| answer["id"].clone()).collect();
    assert_eq!(ids, [json!(1), json!(2), json!(3), Value::Null]);
    assert_eq!(answers[1]["error"]["code"], json!(-32601));
    assert_eq!(answers[3]["error"]["code"], json!(-32600));
    assert_eq!(show(home.post(&session, &json!([note, note]))), "202 ");
    let initialize = request(4, "initialize", &json!({}));
    assert!(show(home.post(&session, &json!([initialize]))).contains("-32600"));
    let newer = home.begin("2025-06-18");
    assert!(show(home.post(&newer, &json!([ping]))).starts_with("400 "));
    assert!(show(home.post("", &json!([ping]))).starts_with("400 "));
}

#[test]
fn a_batch_with_something_to_say_is_one_stream() {
    let home = Home::new();
    let session = home.begin("2025-03-26");
    let (one, other) = (home.world.stream(), home.world.stream());
    let batch = json!([request(1, "ping", &json!({})), call(2), call(3)]);
    let mut response = events(home.post(&session, &batch));
    other.unbounded_send(format!("{}\n{}\n", progress(1), reply(3))).unwrap();
    home.world.run();
    one.unbounded_send(format!("{}\n", reply(2))).unwrap();
    home.world.run();
    let (text, is_over) = drain(&mut response);
    assert!(is_over);
    assert_eq!(numbers(&text), [1001, 1, 1003, 1002]);
    // An id that is used twice is an error of the second, and the first has its reply.
    let one = home.world.stream();
    let mut response = events(home.post(&session, &json!([call(4), call(4)])));
    one.unbounded_send(format!("{}\n", reply(4))).unwrap();
    home.world.run();
    let (text, _) = drain(&mut response);
    assert_eq!(numbers(&text), [1004, 1004]);
    assert!(text.contains("-32600") && text.contains("\"result\""), "{text}");
}

#[test]
fn the_oldest_transport_answers_on_its_stream() {
    let home = Home::new();
    let event = listening(home.send(Method::Get, "/sse/acme", incoming()));
    let first = home.attach(event).events;
    let at = first.strip_prefix("event: endpoint\ndata: ").unwrap().trim_end().to_owned();
    assert!(at.starts_with("/messages/acme?sessionId=sse."), "{at}");
    let post = |url: &str, body: &Value| {
        let body = body.to_string();
        let back = show(home.send(Method::Post, url, Incoming { body, ..incoming() }));
        home.world.run();
        back
    };
    let client = json!({ "name": "c", "version": "1" });
    let params =
        json!({ "protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": client });
    home.world.answer(&json!({ "id": 0 }));
    assert_eq!(post(&at, &request(0, "initialize", &params)), "202 ");
    assert_eq!(numbers(&home.world.heard(event)), [1000]);
    assert_eq!(home.world.last_hop()["peer"]["handshake"]["revision"], json!("2024-11-05"));
    assert_eq!(post(&at, &request(1, "ping", &json!({}))), "202 ");
    assert_eq!(post(&at, &request(2, "no/such", &json!({}))), "202 ");
    assert_eq!(numbers(&home.world.heard(event)), [1001, 1002]);
    let agent = home.world.stream();
    assert_eq!(post(&at, &call(3)), "202 ");
    agent.unbounded_send(format!("{}\n\n{}\n", progress(9), reply(3))).unwrap();
    home.world.run();
    assert_eq!(numbers(&home.world.heard(event)), [9, 1003]);
    home.changed("/mcp/acme", &[Change::Tools]);
    assert!(home.world.heard(event).contains("tools/list_changed"));
    // It is no session of the newer transport, and of no other scope.
    let id = at.split('=').next_back().unwrap();
    assert!(show(home.post(id, &call(4))).starts_with("404 "));
    assert!(post(&at.replace("acme", "other"), &call(5)).starts_with("404 "));
    assert_eq!(home.database.run("SELECT * FROM events", &[]).unwrap(), []);
    // It ends with its stream.
    home.world.hang_up(event.stream);
    now_of(home.user.detach(&home.world, event.stream)).unwrap();
    assert!(post(&at, &call(6)).starts_with("404 "));
}

#[test]
fn what_a_url_leaves_of_the_tools_is_in_every_hop_and_a_session_never_gets_more() {
    let home = Home::new();
    let client = json!({ "name": "c", "version": "1" });
    let params =
        json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
    let send = |home: &Home, url: &str, session: Option<&str>, body: &Value| {
        home.world.answer(&json!({ "result": {} }));
        let session = session.map(ToOwned::to_owned);
        let back = home.send(
            Method::Post,
            url,
            Incoming { session, body: body.to_string(), ..incoming() },
        );
        (back, home.world.last_hop()["options"].clone())
    };
    let begin = request(0, "initialize", &params);
    let (back, options) = send(&home, "/mcp/acme?tools=a,b&read_only=true", None, &begin);
    assert_eq!(options, json!({ "tools": ["a", "b"], "read_only": true }));
    let Outgoing::Begun(_, id) = back else { panic!("{}", show(back)) };
    let (mut home, session) = (home, Some(id.as_str()));
    for _ in 0..2 {
        let (_, options) = send(&home, "/mcp/acme", session, &call(1));
        assert_eq!(options, json!({ "tools": ["a", "b"], "read_only": true }));
        let (_, options) = send(&home, "/mcp/acme?tools=b,c&toolsets=memory", session, &call(2));
        let both = json!({ "tools": ["b"], "toolsets": ["memory"], "read_only": true });
        assert_eq!(options, both);
        home.restart();
    }
    let (back, _) = send(&home, "/mcp/acme?toolsets=memory,none", session, &call(1));
    let back = show(back);
    assert!(back.starts_with("400 ") && back.contains("no such toolset"), "{back}");
    home.world.answers.borrow_mut().clear();
    let plain = home.begin("2025-11-25");
    let (_, options) = send(&home, "/mcp/acme", Some(&plain), &call(3));
    assert_eq!(options, Value::Null);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    home.world.answer(&json!({}));
    let body = request(5, "tools/list", &json!({ "_meta": meta })).to_string();
    let modern = Incoming {
        revision: Some("2026-07-28".to_owned()),
        mcp_method: Some("tools/list".to_owned()),
        body,
        ..incoming()
    };
    home.send(Method::Post, "/mcp/acme?toolsets=memory", modern);
    let options = home.world.last_hop()["options"].clone();
    assert_eq!(options, json!({ "toolsets": ["memory"], "read_only": false }));
}

#[test]
fn the_oldest_transport_keeps_what_its_url_leaves_of_the_tools() {
    let home = Home::new();
    let event = listening(home.send(Method::Get, "/sse/acme?tools=a%2Fb,c", incoming()));
    let first = home.attach(event).events;
    let at = first.strip_prefix("event: endpoint\ndata: ").unwrap().trim_end().to_owned();
    assert!(at.ends_with("&tools=a%2Fb,c"), "{at}");
    // Whoever leaves them out gets no more.
    for url in [at.as_str(), at.split('&').next().unwrap()] {
        let client = json!({ "name": "c", "version": "1" });
        let params =
            json!({ "protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": client });
        for body in [request(0, "initialize", &params), call(1)] {
            home.world.answer(&json!({ "id": 0 }));
            let body = body.to_string();
            home.send(Method::Post, url, Incoming { body, ..incoming() });
            home.world.run();
            let options = json!({ "tools": ["a/b", "c"], "read_only": false });
            assert_eq!(home.world.last_hop()["options"], options);
        }
    }
}

#[test]
fn the_contexts_of_a_user_are_those_that_were_entered() {
    let home = Home::new();
    let params = json!({ "name": "t", "arguments": { "projectSlug": "web" } });
    for _ in 0..2 {
        home.world.answer(&json!({}));
        modern(&home, "/mcp/acme", "tools/call", &params);
    }
    home.begin("2025-11-25");
    // What is answered here enters nothing.
    modern(&home, "/mcp/other", "no/such", &json!({}));
    let within = home.user.contexts_within(&Scope::default()).unwrap();
    let within: Vec<_> = within.iter().map(ToString::to_string).collect();
    assert_eq!(within, ["/mcp/acme", "/mcp/acme/web"]);
}

#[test]
fn what_is_kept_goes_when_its_time_has_come() {
    let home = Home::new();
    let session = home.begin("2025-11-25");
    let agent = home.world.stream();
    let mut response = events(home.post(&session, &call(7)));
    agent.unbounded_send(format!("{}\n{}\n", progress(1), reply(7))).unwrap();
    home.world.run();
    let text = drain(&mut response).0;
    let age = shared::limits::EVENT_AGE_MS;
    let next = home.user.expire(&home.world, Millis(age)).unwrap();
    assert!(next.is_some());
    assert_eq!(show(home.get(&session, Some("1-0"))), "listen 1-0");
    home.user.expire(&home.world, Millis(age + 1)).unwrap();
    assert!(show(home.get(&session, Some("1-0"))).starts_with("400 "));
    assert!(show(home.get(&session, Some(&last_id(&text)))).starts_with("400 "));
    let left = home.database.run("SELECT * FROM streams", &[]).unwrap();
    assert_eq!(left, []);
}
