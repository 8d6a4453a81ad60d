//! Calls that talk: streams, questions in both eras, words for running calls, and what is left of
//! all that when the object goes. With the fixture toolset, on a platform where time stands still.
//! It must not know how a hop travels.

mod skills;
mod tasks;

use super::super::*;
use crate::{reply::Body, toolset::tests::Still};
use futures_executor::block_on;
use futures_util::{FutureExt as _, future::LocalBoxFuture};
use proptest::prelude::*;
use serde_json::{json, value::to_raw_value};
use shared::{
    Scope, UserId,
    config::{Toolset, ToolsetKind},
    database::native::Embedded,
    hop::{Change, Holder, Line, Stop, Word},
    limits,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
};

const NO_TIMERS: [u32; 0] = [];

/// An Agent, and the world around it.
struct World {
    context: Context,
    still: Rc<Still>,
    database: Rc<Embedded>,
    user: &'static str,
    revision: &'static str,
    is_heard: bool,
    is_read_only: bool,
    holder: Holder,
    mirrors: Vec<(String, String)>,
    capabilities: Value,
}

fn context_over(database: &Rc<Embedded>, still: &Rc<Still>) -> Context {
    let toolsets = vec![Toolset::new(ToolsetKind::Fixture), Toolset::new(ToolsetKind::Memory)];
    let config = Config { toolsets, ..Config::default() };
    let platform = Rc::clone(still) as Rc<dyn Platform>;
    Context::new(Rc::new(config), Rc::clone(database) as Rc<dyn Database>, platform)
}

fn world() -> World {
    let (still, database) = (Rc::new(Still::default()), Rc::new(Embedded::in_memory()));
    World {
        context: context_over(&database, &still),
        still,
        database,
        user: "u",
        revision: "2025-11-25",
        is_heard: false,
        is_read_only: false,
        holder: Holder::default(),
        mirrors: vec![],
        capabilities: json!({ "elicitation": {}, "sampling": {}, "roots": {} }),
    }
}

fn modern() -> World {
    World { revision: hop::MODERN_REVISION, ..world() }
}

fn call_id() -> CallId {
    CallId::from_random([7; 8])
}

impl World {
    fn key(&self) -> AgentKey {
        let scope = Scope::parse_path("/mcp/acme", &Config::default().levels).unwrap();
        AgentKey { user: UserId::parse(self.user).unwrap(), scope }
    }

    /// Serves a request with `params`; its id is `id`.
    fn serve(
        &self,
        id: u32,
        method: &str,
        mut params: Value,
    ) -> LocalBoxFuture<'_, Result<Reply, Error>> {
        let is_modern = self.revision == hop::MODERN_REVISION;
        if is_modern {
            let mut meta = params.get("_meta").cloned().unwrap_or_else(|| json!({}));
            meta["io.modelcontextprotocol/protocolVersion"] = self.revision.into();
            meta["io.modelcontextprotocol/clientCapabilities"] = self.capabilities.clone();
            params["_meta"] = meta;
        }
        let client = to_raw_value(&json!({
            "protocolVersion": self.revision, "capabilities": self.capabilities,
            "clientInfo": { "name": "test", "version": "1" },
        }));
        let client = client.unwrap();
        let peer = match is_modern {
            true => Peer::Modern,
            false => Peer::Handshake {
                call: call_id(),
                session: None,
                revision: self.revision.into(),
                client: Cow::Borrowed(&client),
                level: Some("debug".into()),
            },
        };
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let hop = serde_json::to_string(&Hop {
            key: self.key(),
            peer,
            shared_notes: false,
            is_heard: self.is_heard,
            prefers_stream: false,
            is_part: false,
            options: Cow::default(),
            is_read_only: self.is_read_only,
            holder: self.holder.clone(),
            mirrors: self.mirrors.clone(),
            depth: 0,
            message: &to_raw_value(&message).unwrap(),
        });
        let hop = hop.unwrap();
        Box::pin(async move { self.context.serve(&hop).await })
    }

    fn call(&self, tool: &str) -> LocalBoxFuture<'_, Result<Reply, Error>> {
        self.serve(1, "tools/call", json!({ "name": tool, "arguments": {} }))
    }

    fn word(&self, word: Word<'_>) -> bool {
        let hop = WordHop { key: self.key(), call: call_id(), word };
        self.context.word(&serde_json::to_string(&hop).unwrap()).unwrap()
    }

    fn answer(&self, n: u32, response: &Value) -> bool {
        self.word(Word::Answer { n, response: &to_raw_value(response).unwrap() })
    }

    /// Status and body of a request that is answered at once.
    fn json(&self, id: u32, method: &str, params: Value) -> (u16, Value) {
        match self.serve(id, method, params).now_or_never().unwrap().unwrap() {
            Reply::Json { status, body } => (status, serde_json::from_str(&body).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    /// A round of a tool call of the modern era.
    fn round(&self, id: u32, tool: &str, answers: &Value, state: Option<&Value>) -> Value {
        let mut params = json!({ "name": tool, "arguments": {}, "inputResponses": answers });
        if let Some(state) = state {
            params["requestState"] = state.clone();
        }
        let (status, body) = self.json(id, "tools/call", params);
        assert_eq!((status, &body["id"]), (200, &json!(id)), "{body}");
        body
    }

    /// The same object after an eviction: nothing is left but its database.
    fn evict(&mut self) {
        self.context = context_over(&self.database, &self.still);
    }
}

fn lines(reply: Reply) -> Body {
    match reply {
        Reply::Lines(body) => body,
        other => panic!("{other:?}"),
    }
}

fn events(reply: Reply) -> Body {
    match reply {
        Reply::Events(body) => body,
        other => panic!("{other:?}"),
    }
}

/// What a stream says now; `None` where it says nothing yet.
fn now(body: &mut Body) -> Option<Option<String>> {
    body.next().now_or_never()
}

fn line(body: &mut Body) -> Value {
    let line = now(body).expect("a line").expect("not the end");
    match Line::read(line.strip_suffix('\n').unwrap()) {
        Line::Message(message) => serde_json::from_str(message).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn accept(content: Value) -> Value {
    json!({ "action": "accept", "content": content })
}

fn user() -> Value {
    json!({ "jsonrpc": "2.0", "id": "x", "result":
        accept(json!({ "username": "u", "email": "u@x.test" })) })
}

fn text(reply: &Value) -> &str {
    reply["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{reply}"))
}

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn the_client_answers_a_running_call_by_a_word() {
    let world = world();
    let mut body = lines(world.call("test_elicitation").now_or_never().unwrap().unwrap());
    let asked = line(&mut body);
    assert_eq!(asked["method"], "elicitation/create");
    assert_eq!(asked["id"], json!(call_id().request_id(0)));
    assert!(asked["params"].get("_meta").is_none(), "{asked}");
    assert_eq!(asked["params"]["requestedSchema"]["required"], json!(["username", "email"]));
    // Whoever waits for the stream is woken, and only by what is for this call.
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(Arc::clone(&counter));
    let mut polled = std::task::Context::from_waker(&waker);
    assert!(body.poll_next_unpin(&mut polled).is_pending());
    assert!(!world.answer(1, &user()), "nothing has that number");
    assert_eq!(counter.0.load(Ordering::Relaxed), 0);
    assert!(world.answer(0, &user()));
    assert!(counter.0.load(Ordering::Relaxed) > 0);
    assert!(!world.answer(0, &user()), "it has been answered");
    let reply = line(&mut body);
    assert_eq!(reply["id"], 1);
    assert!(text(&reply).contains("action: accept"), "{reply}");
    assert_eq!(now(&mut body), Some(None));
    assert!(!world.answer(0, &user()) && !world.word(Word::Cancel), "it is over");
}

#[test]
fn a_call_ends_well_whatever_the_client_answers() {
    for (response, part) in [
        (json!({ "result": 5 }), "does not fit"),
        (json!({ "result": { "action": "accept" } }), "does not fit"),
        (json!({ "result": { "action": "accept", "content": { "username": 5 } } }), "does not fit"),
        (json!({ "result": { "action": "decline" } }), "action: decline"),
        (json!({ "error": { "code": -1, "message": "no screen" } }), "no screen"),
        (json!({ "error": 5 }), "the response is none"),
        (json!({}), "no result and no error"),
        (json!(7), "the response is none"),
    ] {
        let world = world();
        let mut body = lines(world.call("test_elicitation").now_or_never().unwrap().unwrap());
        line(&mut body);
        assert!(world.answer(0, &response), "{response}");
        let reply = line(&mut body);
        assert!(text(&reply).contains(part), "{response}: {reply}");
        assert_eq!(now(&mut body), Some(None));
    }
}

#[test]
fn a_client_that_does_not_answer_is_not_waited_for_for_ever() {
    let world = world();
    let mut body = lines(world.call("test_sampling").now_or_never().unwrap().unwrap());
    assert_eq!(line(&mut body)["method"], "sampling/createMessage");
    assert_eq!(now(&mut body), None);
    world.still.pass(limits::ASK_MS_MAX);
    let cancelled = line(&mut body);
    assert_eq!(cancelled["method"], "notifications/cancelled");
    assert_eq!(cancelled["params"]["requestId"], json!(call_id().request_id(0)));
    assert!(text(&line(&mut body)).contains("in time"));
}

#[test]
fn a_client_is_not_asked_for_what_it_did_not_declare() {
    let world = World { capabilities: json!({}), ..world() };
    let (_, body) = world.json(1, "tools/call", json!({ "name": "test_elicitation" }));
    assert_eq!(body["result"]["isError"], true, "{body}");
    assert!(text(&body).contains("lacks the capability"));
    let modern = World { capabilities: json!({ "elicitation": {} }), ..modern() };
    let (status, body) = modern.json(1, "tools/call", json!({ "name": "test_missing_capability" }));
    assert_eq!((status, &body["error"]["code"]), (400, &json!(-32021)));
    assert_eq!(body["error"]["data"], json!({ "requiredCapabilities": { "sampling": {} } }));
}

#[test]
fn a_cancelled_call_stops_and_says_nothing_more() {
    // Before anything was said.
    let world = World { revision: "2025-06-18", ..world() };
    let mut served = world.call("test_reconnection");
    assert!(served.as_mut().now_or_never().is_none());
    assert_eq!(world.still.waiting(), [200, limits::SILENCE_MS]);
    assert!(world.word(Word::Cancel));
    assert_eq!(world.still.waiting(), [limits::SILENCE_MS], "the handler is gone");
    let mut body = lines(served.now_or_never().unwrap().unwrap());
    assert_eq!(now(&mut body), Some(None));
    assert!(!world.word(Word::Cancel));
    // In the middle.
    let mut body = lines(world.call("test_tool_with_logging").now_or_never().unwrap().unwrap());
    assert_eq!(line(&mut body)["method"], "notifications/message");
    assert_eq!(now(&mut body), None);
    assert!(world.word(Word::Cancel));
    assert_eq!(now(&mut body), Some(None));
    // While it waits for an answer.
    let mut body = lines(world.call("test_elicitation").now_or_never().unwrap().unwrap());
    line(&mut body);
    assert!(world.word(Word::Cancel));
    assert_eq!(now(&mut body), Some(None));
    drop(body);
    assert_eq!(world.still.waiting(), NO_TIMERS);
}

fn stop(world: &World, stop: Stop) {
    let hop = StopHop { key: world.key(), stop };
    world.context.stop(&serde_json::to_string(&hop).unwrap()).unwrap();
}

#[test]
fn what_a_user_ends_is_answered_and_stops() {
    let held = |mut world: World, client: &str| {
        world.holder = Holder { client: client.to_owned(), credential: "key k".to_owned() };
        world
    };
    let client = |name: &str| Stop::Client(name.to_owned());
    for world in [held(world(), "c"), held(modern(), "c")] {
        for ends in [
            client("c"),
            Stop::Credential("key k".to_owned()),
            Stop::Toolset("fixture".to_owned()),
            Stop::Everything,
        ] {
            let mut serving = world.call("test_wait");
            assert!((&mut serving).now_or_never().is_none());
            for others in
                [client("d"), Stop::Credential(String::new()), Stop::Toolset(String::new())]
            {
                stop(&world, others);
                assert!((&mut serving).now_or_never().is_none());
            }
            stop(&world, ends.clone());
            let Reply::Json { body, .. } = (&mut serving).now_or_never().unwrap().unwrap() else {
                panic!("no answer");
            };
            assert!(body.contains("this call was ended by its user"), "{ends:?}: {body}");
        }
    }
    // One that its client is asked in the middle of runs no more either.
    let world = held(modern(), "c");
    let asked = world.round(1, "test_elicitation", &json!({}), None);
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    assert!(world.context.parking.latest().is_some());
    stop(&world, client("c"));
    assert!(world.context.parking.latest().is_none());
}

#[test]
fn who_goes_on_with_a_call_holds_it_and_it_is_where_it_was() {
    let by =
        |credential: &str| Holder { client: "c".to_owned(), credential: credential.to_owned() };
    for (stopped, is_over) in [
        (Stop::Credential("key first".to_owned()), false),
        (Stop::Credential("key second".to_owned()), true),
        (Stop::Toolset("fixture".to_owned()), true),
        (Stop::Toolset("memory".to_owned()), false),
    ] {
        let mut world = World { holder: by("key first"), ..modern() };
        let asked = world.round(1, "test_input_required_result_multi_round", &json!({}), None);
        world.holder = by("key second");
        let answers = json!({ "step1": accept(json!({ "name": "Ann" })) });
        let state = &asked["result"]["requestState"];
        let again = world.round(2, "test_input_required_result_multi_round", &answers, Some(state));
        assert_eq!(again["result"]["resultType"], "input_required", "{again}");
        stop(&world, stopped.clone());
        assert_eq!(world.context.parking.latest().is_none(), is_over, "{stopped:?}");
    }
}

#[test]
fn a_credential_that_only_reads_calls_nothing_that_changes_things() {
    let seen = |world: &World| {
        let (_, body) = world.json(1, "tools/list", json!({}));
        body["result"]["tools"].as_array().unwrap().len()
    };
    for make in [world, modern] {
        let mut world = make();
        let all = seen(&world);
        world.is_read_only = true;
        assert!(seen(&world) < all);
        let call = json!({ "name": "test_simple_text", "arguments": {} });
        let (status, body) = world.json(2, "tools/call", call);
        assert_eq!((status, &body["error"]["code"]), (403, &json!(hop::INSUFFICIENT_SCOPE)));
        let (_, unknown) = world.json(3, "tools/call", json!({ "name": "none", "arguments": {} }));
        assert_eq!(unknown["error"]["code"], -32602);
    }
}

#[test]
fn a_call_is_known_as_long_as_somebody_listens() {
    let world = world();
    let body = lines(world.call("test_elicitation").now_or_never().unwrap().unwrap());
    let second = world.call("test_simple_text").now_or_never().unwrap();
    assert_eq!(second.unwrap_err().kind, Kind::Conflict);
    assert_eq!(world.context.calls.borrow().len(), 1);
    drop(body);
    assert!(world.context.calls.borrow().is_empty());
    assert!(!world.word(Word::Cancel));
    block_on(world.call("test_simple_text")).unwrap();
    assert!(world.context.calls.borrow().is_empty());
    // A word for another context is refused.
    let foreign = WordHop {
        key: World { user: "v", ..self::world() }.key(),
        call: call_id(),
        word: Word::Cancel,
    };
    let refused = world.context.word(&serde_json::to_string(&foreign).unwrap());
    assert_eq!(refused.unwrap_err().kind, Kind::Conflict);
    assert_eq!(world.context.word("nonsense").unwrap_err().kind, Kind::Invalid);
}

#[test]
fn a_call_that_answers_at_once_makes_no_timer() {
    for world in [world(), modern()] {
        let params = json!({ "name": "test_simple_text" });
        assert_eq!(world.json(1, "tools/call", params).0, 200);
        assert_eq!(world.still.made(), 0);
    }
}

#[test]
fn a_silent_call_becomes_a_stream_that_shows_that_it_is_alive() {
    for (world, alive) in [(World { revision: "2025-06-18", ..world() }, "\n"), (modern(), ":\n\n")]
    {
        let mut served = world.call("test_reconnection");
        assert!(served.as_mut().now_or_never().is_none());
        world.still.pass(limits::SILENCE_MS);
        let mut body = match served.now_or_never().unwrap().unwrap() {
            Reply::Events(body) | Reply::Lines(body) => body,
            other => panic!("{other:?}"),
        };
        for _ in 0..3 {
            assert_eq!(now(&mut body), None);
            assert_eq!(world.still.waiting(), [200, limits::KEEP_ALIVE_MS]);
            world.still.pass(limits::KEEP_ALIVE_MS);
            assert_eq!(now(&mut body).unwrap().unwrap(), alive);
        }
        assert_eq!(now(&mut body), None);
        world.still.pass(200);
        assert!(now(&mut body).unwrap().unwrap().contains("Reconnection test completed"));
        assert_eq!(now(&mut body), Some(None));
        assert_eq!(world.still.waiting(), NO_TIMERS);
    }
}

#[test]
fn dropping_a_modern_stream_stops_the_call() {
    let world = modern();
    let mut served = world.call("test_reconnection");
    assert!(served.as_mut().now_or_never().is_none());
    world.still.pass(limits::SILENCE_MS);
    let body = events(served.now_or_never().unwrap().unwrap());
    assert_eq!(world.still.waiting(), [200]);
    drop(body);
    assert_eq!(world.still.waiting(), NO_TIMERS);
}

#[test]
fn a_stream_may_pause_where_the_client_can_come_back() {
    let world = world();
    let mut body = lines(world.call("test_reconnection").now_or_never().unwrap().unwrap());
    assert_eq!(now(&mut body).unwrap().unwrap(), "pause\n");
    assert_eq!(now(&mut body), None);
    world.still.pass(200);
    assert!(text(&line(&mut body)).contains("completed"));
    assert_eq!(now(&mut body), Some(None));
}

#[test]
fn progress_and_logs_come_in_order_before_the_result() {
    for world in [world(), modern()] {
        let meta = json!({ "progressToken": "p" });
        let params = json!({ "name": "test_tool_with_progress", "_meta": meta });
        let mut served = world.serve(1, "tools/call", params);
        let mut body = match served.as_mut().now_or_never().unwrap().unwrap() {
            Reply::Events(body) | Reply::Lines(body) => body,
            other => panic!("{other:?}"),
        };
        let mut all = String::new();
        loop {
            match now(&mut body) {
                Some(Some(part)) => all.push_str(&part),
                Some(None) => break,
                None => world.still.pass(50),
            }
        }
        let said: Vec<Value> = all
            .lines()
            .filter_map(|line| serde_json::from_str(line.trim_start_matches("data: ")).ok())
            .collect();
        let progress: Vec<_> =
            said.iter().filter_map(|m| m["params"]["progress"].as_f64()).collect();
        assert_eq!((progress, said.len()), (vec![0.0, 50.0, 100.0], 4), "{all}");
        assert_eq!(said[0]["params"]["progressToken"], "p");
        assert!(said[3]["result"].is_object());
    }
}

#[test]
fn a_modern_call_asks_by_ending_its_request_and_goes_on_with_the_next() {
    let world = modern();
    let tool = "test_input_required_result_elicitation";
    let first = world.round(1, tool, &json!(null), None);
    let result = &first["result"];
    assert_eq!(result["resultType"], "input_required");
    assert_eq!(result["inputRequests"]["user_name"]["method"], "elicitation/create");
    assert!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"].is_string());
    assert_eq!(world.still.waiting(), [limits::PARK_MS_MAX]);
    let answers = json!({ "user_name": accept(json!({ "name": "Alice" })), "more": 1 });
    let second = world.round(2, tool, &answers, Some(&result["requestState"]));
    assert_eq!(text(&second), "Hello, Alice!");
    assert_eq!(second["result"]["resultType"], "complete");
    assert_eq!(world.still.waiting(), NO_TIMERS, "nothing is parked any more");
    // The same again finds nothing parked, and gets the same from a run of its own.
    let again = world.round(3, tool, &answers, Some(&result["requestState"]));
    assert_eq!(text(&again), "Hello, Alice!");
    // Answers that come before they are asked for are as good.
    assert_eq!(text(&world.round(4, tool, &answers, None)), "Hello, Alice!");
}

#[test]
fn what_does_not_answer_is_asked_again() {
    let tool = "test_input_required_result_elicitation";
    for answers in [
        json!(null),
        json!({}),
        json!({ "wrong_key": accept(json!({ "name": "A" })) }),
        json!({ "user_name": 12345 }),
        json!({ "user_name": null }),
        json!({ "user_name": accept(json!({ "name": 5 })) }),
        json!({ "user_name": accept(json!({})) }),
    ] {
        let world = modern();
        let fresh = world.round(1, tool, &answers, None);
        assert_eq!(fresh["result"]["resultType"], "input_required", "{answers}");
        let state = &fresh["result"]["requestState"];
        let parked = world.round(2, tool, &answers, Some(state));
        assert_eq!(parked["result"]["resultType"], "input_required", "{answers}");
        assert!(parked["result"]["inputRequests"]["user_name"].is_object());
        assert_ne!(&parked["result"]["requestState"], state, "a new state every round");
    }
}

#[test]
fn a_call_of_many_rounds_survives_the_loss_of_its_object() {
    let tool = "test_input_required_result_multi_round";
    let name = json!({ "step1": accept(json!({ "name": "Alice" })) });
    let color = json!({ "step2": accept(json!({ "color": "blue" })) });
    for evict in [[false, false], [true, false], [false, true], [true, true]] {
        let mut world = modern();
        let first = world.round(1, tool, &json!({}), None);
        if evict[0] {
            world.evict();
        }
        let second = world.round(2, tool, &name, Some(&first["result"]["requestState"]));
        let asked = second["result"]["inputRequests"].as_object().unwrap();
        assert_eq!(asked.keys().collect::<Vec<_>>(), ["step2"]);
        assert_ne!(first["result"]["requestState"], second["result"]["requestState"]);
        if evict[1] {
            world.evict();
        }
        let third = world.round(3, tool, &color, Some(&second["result"]["requestState"]));
        assert_eq!(text(&third), "Alice likes blue", "{evict:?}");
    }
}

#[test]
fn several_questions_at_once_are_one_round() {
    let world = modern();
    let tool = "test_input_required_result_multiple_inputs";
    let first = world.round(1, tool, &json!({}), None);
    let asked = first["result"]["inputRequests"].as_object().unwrap();
    let methods: Vec<_> = asked.values().map(|one| one["method"].as_str().unwrap()).collect();
    // By key: client_roots, greeting, user_name.
    assert_eq!(methods, ["roots/list", "sampling/createMessage", "elicitation/create"]);
    let said = json!({ "role": "assistant", "model": "m",
        "content": { "type": "text", "text": "Hi" } });
    let some = json!({ "greeting": said, "client_roots": { "roots": [{ "uri": "file:///r" }] } });
    let second = world.round(2, tool, &some, Some(&first["result"]["requestState"]));
    let asked = second["result"]["inputRequests"].as_object().unwrap();
    assert_eq!(asked.keys().collect::<Vec<_>>(), ["user_name"], "only what is not answered");
    let rest = json!({ "user_name": accept(json!({ "name": "Alice" })) });
    let third = world.round(3, tool, &rest, Some(&second["result"]["requestState"]));
    assert!(text(&third).contains("Alice") && text(&third).contains("Hi"), "{third}");
}

#[test]
fn a_state_is_good_for_its_own_request_only() {
    let tool = "test_input_required_result_request_state";
    let answers = json!({ "confirm": accept(json!({ "ok": true })) });
    let mut world = modern();
    let refused = |world: &World, tool: &str, arguments: Value, state: &Value| {
        let params = json!({ "name": tool, "arguments": arguments,
            "inputResponses": answers, "requestState": state });
        let (status, body) = world.json(9, "tools/call", params);
        assert_eq!((status, &body["id"]), (200, &json!(9)));
        body["error"]["code"] == -32602
    };
    let first = world.round(1, tool, &json!({}), None);
    let state = first["result"]["requestState"].clone();
    let sealed = state.as_str().unwrap();
    assert!(refused(&world, tool, json!({}), &json!(format!("{sealed}-TAMPERED"))));
    assert!(refused(&world, tool, json!({}), &json!(sealed.replacen('.', ".A", 1))));
    assert!(refused(&world, tool, json!({}), &json!("")));
    assert!(refused(&world, tool, json!({ "x": 1 }), &state), "other arguments");
    let other = "test_input_required_result_tampered_state";
    assert!(refused(&world, other, json!({}), &state), "another tool");
    // Somebody else's, even with the very same key.
    let foreign = World { user: "v", ..modern() };
    foreign.round(1, tool, &json!({}), None);
    assert!(refused(&foreign, tool, json!({}), &state), "another user");
    // In time it is good, whether or not the call is still parked; then it is not.
    world.still.now.set(limits::STATE_MS_MAX);
    world.evict();
    assert!(text(&world.round(2, tool, &answers, Some(&state))).contains("state-ok"));
    world.still.now.set(limits::STATE_MS_MAX + 2);
    assert!(refused(&world, tool, json!({}), &state), "too old");
}

#[test]
fn answers_too_long_to_travel_are_asked_for_again() {
    let tool = "test_input_required_result_multi_round";
    let long = "x".repeat(limits::STATE_BYTES_MAX);
    let name = json!({ "step1": accept(json!({ "name": long })) });
    let color = json!({ "step2": accept(json!({ "color": "blue" })) });
    for evicted in [false, true] {
        let mut world = modern();
        let first = world.round(1, tool, &json!({}), None);
        let second = world.round(2, tool, &name, Some(&first["result"]["requestState"]));
        let state = &second["result"]["requestState"];
        assert!(state.as_str().unwrap().len() < 1_000);
        if evicted {
            world.evict();
        }
        let third = world.round(3, tool, &color, Some(state));
        if evicted {
            assert!(third["result"]["inputRequests"]["step1"].is_object(), "{third}");
        } else {
            assert!(text(&third).ends_with("likes blue"));
        }
    }
}

#[test]
fn prompts_and_resources_ask_the_same_way() {
    let world = modern();
    for (method, mut params, key, content, part) in [
        (
            "prompts/get",
            json!({ "name": "test_input_required_result_prompt" }),
            "user_context",
            json!({ "context": "a test" }),
            "a test",
        ),
        (
            "resources/read",
            json!({ "uri": "test://input-required" }),
            "user_name",
            json!({ "name": "Alice" }),
            "For Alice",
        ),
    ] {
        let (_, first) = world.json(1, method, params.clone());
        assert!(first["result"]["inputRequests"][key].is_object(), "{first}");
        params["requestState"] = first["result"]["requestState"].clone();
        params["inputResponses"] = json!({ key: accept(content) });
        let (_, second) = world.json(2, method, params);
        assert!(second["result"].to_string().contains(part), "{second}");
    }
    // In the handshake era, too.
    let world = self::world();
    let asked = world.serve(1, "resources/read", json!({ "uri": "test://input-required" }));
    let mut body = lines(asked.now_or_never().unwrap().unwrap());
    assert_eq!(line(&mut body)["method"], "elicitation/create");
    assert!(world.answer(0, &json!({ "result": accept(json!({ "name": "Bob" })) })));
    assert!(line(&mut body)["result"].to_string().contains("For Bob"));
}

#[test]
fn only_what_the_client_can_answer_is_asked() {
    let world = World { capabilities: json!({ "sampling": {} }), ..modern() };
    let asked =
        world.round(1, "test_input_required_result_capabilities", &json!({}), None)["result"]
            ["inputRequests"]
            .take();
    assert_eq!(asked.as_object().unwrap().len(), 1);
    assert_eq!(asked["greeting"]["method"], "sampling/createMessage");
}

#[test]
fn questions_after_progress_end_the_stream() {
    let world = modern();
    let params = json!({ "name": "test_streaming_elicitation", "_meta": { "progressToken": 1 } });
    let reply = world.serve(1, "tools/call", params).now_or_never().unwrap().unwrap();
    let all = block_on(events(reply).collect::<Vec<_>>());
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all[0].contains("notifications/progress") && all[1].contains("input_required"));
}

#[test]
fn parked_calls_are_bounded_and_the_oldest_runs_again() {
    let world = modern();
    let tool = "test_input_required_result_elicitation";
    let first = world.round(1, tool, &json!({}), None);
    for id in 0..limits::PARKED_MAX {
        world.round(u32::try_from(id).unwrap() + 2, tool, &json!({}), None);
    }
    assert_eq!(world.still.waiting().len(), limits::PARKED_MAX);
    let answers = json!({ "user_name": accept(json!({ "name": "Alice" })) });
    let reply = world.round(99, tool, &answers, Some(&first["result"]["requestState"]));
    assert_eq!(text(&reply), "Hello, Alice!");
    // Those whose time is over go with the next request.
    world.still.now.set(u64::from(limits::PARK_MS_MAX) + 2);
    world.json(100, "tools/list", json!({}));
    assert_eq!(world.still.waiting(), NO_TIMERS);
}

#[test]
fn changes_are_told_before_the_reply_where_somebody_hears() {
    let mut world = modern();
    world.json(1, "tools/call", json!({ "name": "test_trigger_tool_change" }));
    assert!(world.still.told.borrow().is_empty(), "nobody hears");
    world.is_heard = true;
    let told = |world: &World, name: &str, arguments: Value| {
        let params = json!({ "name": name, "arguments": arguments });
        let (_, body) = world.json(1, "tools/call", params);
        let told = world.still.told.borrow_mut().pop().map(|(scope, changes)| {
            assert_eq!(scope, world.key().scope);
            changes
        });
        (told.unwrap_or_default(), body["result"]["structuredContent"].clone())
    };
    assert_eq!(told(&world, "test_trigger_tool_change", json!({})).0, [Change::Tools]);
    assert_eq!(told(&world, "test_trigger_prompt_change", json!({})).0, [Change::Prompts]);
    assert_eq!(told(&world, "test_simple_text", json!({})).0, []);
    let (changes, note) = told(&world, "remember", json!({ "text": "x" }));
    assert_eq!(changes, [Change::Resources]);
    let updated = Change::Resource(note["uri"].as_str().unwrap().to_owned());
    let replaced = told(&world, "remember", json!({ "text": "y", "id": note["id"] }));
    assert_eq!(replaced.0, [Change::Resources, updated.clone()]);
    let gone = told(&world, "forget", json!({ "id": note["id"] }));
    assert_eq!(gone.0, [Change::Resources, updated]);
}

#[test]
fn who_hears_is_what_the_latest_request_says() {
    // A call that begins where nobody hears, and asks before it acts.
    let mut world = modern();
    let tool = "test_input_required_result_elicitation";
    let first = world.round(1, tool, &json!({}), None);
    let caller = {
        let state = first["result"]["requestState"].as_str().unwrap().to_owned();
        world.is_heard = true;
        let params = json!({ "name": tool, "arguments": {}, "requestState": state,
            "_meta": { "progressToken": "new", "io.modelcontextprotocol/logLevel": "error" } });
        world.json(2, "tools/call", params);
        world.context.parking.latest().unwrap().borrow().clone()
    };
    assert!(caller.is_heard);
    assert_eq!(serde_json::to_value(caller.token).unwrap(), json!("new"));
    assert_eq!(caller.level, Some(LoggingLevel::Error));
}

#[test]
fn a_session_is_what_it_said_at_its_beginning() {
    let world = world();
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {} });
    let (_, body) = world.json(1, "tools/list", json!({ "_meta": meta }));
    assert!(body["result"]["tools"].is_array());
    for key in ["resultType", "ttlMs", "cacheScope"] {
        assert!(body["result"].get(key).is_none(), "{key}");
    }
}

#[test]
fn headers_that_mirror_arguments_are_checked_in_the_modern_era() {
    let arguments = json!({ "region": "eu" });
    let params = json!({ "name": "test_header_parameters", "arguments": arguments });
    let mut world = modern();
    let (status, body) = world.json(1, "tools/call", params.clone());
    assert_eq!((status, &body["error"]["code"], &body["id"]), (400, &json!(-32020), &json!(1)));
    world.mirrors = vec![("region".to_owned(), "=?base64?ZXU=?=".to_owned())];
    let (status, body) = world.json(1, "tools/call", params.clone());
    assert_eq!((status, text(&body)), (200, r#"{"region":"eu"}"#));
    let world = self::world();
    assert_eq!(world.json(1, "tools/call", params).0, 200, "no header in a session");
}

#[test]
fn whatever_comes_back_as_a_state_or_an_answer_is_no_panic() {
    let world = modern();
    for state in ["rs1", "rs1.", "rs1..", "rs1.!.!", "rs2.a.b.c", "é", "rs1.AAAA.AAAA"] {
        let params = json!({ "name": "test_input_required_result_elicitation",
            "inputResponses": {}, "requestState": state });
        assert_eq!(world.json(1, "tools/call", params).1["error"]["code"], -32602, "{state}");
    }
    for answers in [json!(5), json!([]), json!("x")] {
        let params = json!({ "name": "test_simple_text", "inputResponses": answers });
        assert_eq!(world.json(1, "tools/call", params).1["error"]["code"], -32602, "{answers}");
    }
}

/// What may happen to an Agent between two polls of what it is doing.
#[derive(Debug, Clone, Copy)]
enum Event {
    Begin(u8),
    Poll,
    Answer(u8, u8),
    Cancel,
    Pass(u8),
    Later,
    Drop,
    Evict,
    Retry(u8, u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..24_u8).prop_map(Event::Begin),
        6 => Just(Event::Poll),
        3 => (0..3_u8, 0..6_u8).prop_map(|(n, answer)| Event::Answer(n, answer)),
        1 => Just(Event::Cancel),
        3 => (0..5_u8).prop_map(Event::Pass),
        1 => Just(Event::Later),
        1 => Just(Event::Drop),
        1 => Just(Event::Evict),
        3 => (0..24_u8, 0..6_u8).prop_map(|(tool, answer)| Event::Retry(tool, answer)),
    ]
}

fn some_answer(which: u8) -> Value {
    match which {
        0 => json!({ "result": accept(json!({ "username": "u", "email": "e", "name": "n" })) }),
        1 => json!({ "result": { "action": "decline" } }),
        2 => json!({ "error": { "code": -1, "message": "no" } }),
        3 => json!({ "result": { "roots": [] } }),
        4 => json!({ "result": { "role": "assistant", "model": "m",
            "content": { "type": "text", "text": "t" } } }),
        _ => json!({ "result": null }),
    }
}

/// The replies among what a body said, each of which ends it.
fn replies(said: &[String]) -> usize {
    said.iter().filter(|part| part.contains(r#""id":1,"#) || part.contains(r#""id":1}"#)).count()
}

fn tools(world: &World) -> Vec<String> {
    let (_, list) = world.json(1, "tools/list", json!({}));
    let tools = list["result"]["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

/// The parameters of a call that goes on with an earlier one, or does as if.
fn retry(tool: &str, state: &Value, answer: u8) -> Value {
    let answer = some_answer(answer)["result"].take();
    let keys = ["user_name", "confirm", "step1", "step2", "client_roots"];
    let answers: serde_json::Map<_, _> =
        keys.into_iter().map(|key| (key.to_owned(), answer.clone())).collect();
    json!({ "name": tool, "requestState": state, "inputResponses": answers })
}

fn play(is_modern: bool, happenings: &[Event]) -> Result<(), TestCaseError> {
    let mut world = if is_modern { modern() } else { world() };
    let tools = tools(&world);
    let mut streams: Vec<(Body, Vec<String>)> = Vec::new();
    let mut state = Value::Null;
    for happening in happenings {
        match *happening {
            Event::Begin(tool) | Event::Retry(tool, _) => {
                let tool = tools.iter().cycle().nth(tool.into()).unwrap();
                let params = match *happening {
                    Event::Retry(_, answer) => retry(tool, &state, answer),
                    _ => json!({ "name": tool, "_meta": { "progressToken": 1 } }),
                };
                let served = world.serve(1, "tools/call", params).now_or_never();
                match served {
                    // It waits; whoever began it goes away.
                    None => {}
                    Some(Err(error)) => prop_assert_eq!(error.kind, Kind::Conflict),
                    Some(Ok(Reply::Json { body, .. })) => {
                        let body: Value = serde_json::from_str(&body).unwrap();
                        prop_assert_eq!(&body["id"], &json!(1));
                        let result = &body["result"];
                        if let Some(sealed) = result.get("requestState") {
                            prop_assert!(is_modern && *sealed != state);
                            state = sealed.clone();
                        }
                    }
                    Some(Ok(Reply::Events(body) | Reply::Lines(body))) => {
                        streams.push((body, Vec::new()));
                    }
                }
            }
            Event::Poll => {
                for (body, said) in &mut streams {
                    while let Some(Some(part)) = now(body) {
                        prop_assert_eq!(replies(said), 0, "something after the reply");
                        said.push(part);
                    }
                }
            }
            Event::Answer(n, answer) => {
                world.answer(n.into(), &some_answer(answer));
            }
            Event::Cancel => {
                world.word(Word::Cancel);
                prop_assert!(!world.answer(0, &some_answer(0)), "nobody is there");
            }
            Event::Pass(which) => {
                let lengths = [50, 200, limits::SILENCE_MS, limits::KEEP_ALIVE_MS];
                let length = lengths.get(usize::from(which)).copied();
                world.still.pass(length.unwrap_or(limits::ASK_MS_MAX));
            }
            Event::Later => {
                world.still.now.update(|now| now.saturating_add(limits::STATE_MS_MAX / 2))
            }
            Event::Drop => streams.clear(),
            Event::Evict => {
                streams.clear();
                world.evict();
            }
        }
    }
    streams.clear();
    prop_assert!(world.context.calls.borrow().is_empty());
    world.evict();
    prop_assert_eq!(world.still.waiting(), NO_TIMERS, "something is left running");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(600),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_a_reply_is_the_last_word(
        is_modern: bool,
        happenings in prop::collection::vec(event(), 1..40),
    ) {
        play(is_modern, &happenings)?;
    }
}
