//! Calls that go on without their caller: their life, what they ask, and what becomes of them when
//! the object goes. It must not know skills.

use super::*;
use proptest::prelude::*;

const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// A client that knows tasks, and can be asked.
fn world_of_tasks() -> World {
    let capabilities = json!({
        "elicitation": {}, "sampling": {}, "roots": {}, "extensions": { EXTENSION: {} },
    });
    World { capabilities, ..modern() }
}

impl World {
    fn result(&self, method: &str, params: Value) -> Value {
        let (status, mut body) = self.json(1, method, params);
        assert_eq!(status, 200, "{body}");
        assert!(body.get("result").is_some(), "{body}");
        body["result"].take()
    }

    fn refused(&self, method: &str, params: Value) -> (u16, Value) {
        let (status, mut body) = self.json(1, method, params);
        assert!(body.get("error").is_some(), "{body}");
        (status, body["error"].take())
    }

    /// Begins a task and returns its id.
    fn begin(&self, tool: &str, arguments: Value) -> String {
        let task = self.result("tools/call", json!({ "name": tool, "arguments": arguments }));
        assert_eq!((&task["resultType"], &task["status"]), (&json!("task"), &json!("working")));
        task["taskId"].as_str().unwrap_or_else(|| panic!("{task}")).to_owned()
    }

    fn get(&self, id: &str) -> Value {
        let task = self.result("tasks/get", json!({ "taskId": id }));
        assert_eq!((&task["taskId"], &task["resultType"]), (&json!(id), &json!("complete")));
        assert!(task.get("requestState").is_none());
        task
    }

    fn status(&self, id: &str) -> String {
        self.get(id)["status"].as_str().unwrap().to_owned()
    }

    fn asked(&self, id: &str) -> Vec<String> {
        let task = self.get(id);
        task["inputRequests"].as_object().map(|m| m.keys().cloned().collect()).unwrap_or_default()
    }

    fn update(&self, id: &str, answers: Value) {
        let ack = self.result("tasks/update", json!({ "taskId": id, "inputResponses": answers }));
        let mut keys: Vec<_> = ack.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["_meta", "resultType"], "{ack}");
    }

    fn cancel(&self, id: &str) {
        let ack = self.result("tasks/cancel", json!({ "taskId": id }));
        assert_eq!(ack["resultType"], "complete");
        assert!(ack.get("status").is_none() && ack.get("taskId").is_none());
    }

    /// The same object after an eviction, its work gone.
    fn lose(&mut self) {
        self.still.evict();
        self.evict();
    }

    /// The alarm, at its time.
    fn ring(&self) -> Option<u64> {
        if let Some(at) = self.still.alarm.take() {
            self.still.now.set(at.0.max(self.still.now.get()));
        }
        let next = self.context.alarm().unwrap();
        self.still.alarm.set(next);
        next.map(|next| next.0)
    }
}

fn slow(seconds: u32) -> Value {
    json!({ "seconds": seconds, "label": "x" })
}

fn task_text(task: &Value) -> &str {
    task["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{task}"))
}

#[test]
fn a_call_goes_on_without_its_caller() {
    let world = world_of_tasks();
    let created =
        world.result("tools/call", json!({ "name": "slow_compute", "arguments": slow(2) }));
    for key in ["task", "result", "error", "inputRequests", "requestState", "ttl", "pollInterval"] {
        assert!(created.get(key).is_none(), "{key} in {created}");
    }
    assert_eq!(created["ttlMs"], limits::TASK_TTL_MS);
    assert_eq!(created["pollIntervalMs"], limits::TASK_POLL_MS);
    assert_eq!(created["createdAt"], "1970-01-01T00:00:00.001Z");
    assert_eq!(created["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "signalbox");
    let id = created["taskId"].as_str().unwrap();
    let levels = Config::default().levels;
    assert_eq!(*shared::TaskId::parse(id, &levels).unwrap().scope(), world.key().scope);
    // At once, before anything ran.
    assert_eq!(world.status(id), "working");
    assert_eq!(world.still.turn(), 1);
    assert_eq!(world.status(id), "working");
    world.still.now.set(2_001);
    world.still.pass(2_000);
    assert_eq!(world.still.turn(), 0);
    let task = world.get(id);
    assert_eq!(task["status"], "completed");
    assert_eq!(task_text(&task), "x: done after 2 s");
    assert_eq!(task["lastUpdatedAt"], "1970-01-01T00:00:02.001Z");
    assert!(task["result"].get("_meta").is_none());
    // It is over: neither a word nor an answer changes that.
    world.cancel(id);
    world.update(id, json!({ "x": 1 }));
    assert_eq!(world.get(id), task);
}

#[test]
fn a_quick_call_and_a_plain_one_are_no_tasks() {
    let world = world_of_tasks();
    let quick = world.result("tools/call", json!({ "name": "slow_compute", "arguments": slow(0) }));
    assert_eq!((&quick["resultType"], quick.get("taskId")), (&json!("complete"), None));
    let greet = json!({ "name": "greet", "arguments": { "name": "sep-2243" },
        "task": { "ttl": 60_000, "pollInterval": 100 } });
    let greet = world.result("tools/call", greet);
    assert_eq!((&greet["resultType"], greet.get("taskId")), (&json!("complete"), None));
    assert_eq!(greet["content"][0]["text"], "Hello, sep-2243!");
}

#[test]
fn a_failure_of_the_tool_is_a_result_and_one_of_the_protocol_is_not() {
    let world = world_of_tasks();
    let (failing, broken) =
        (world.begin("failing_job", json!({})), world.begin("protocol_error_job", json!({})));
    world.still.turn();
    world.still.pass(1_000);
    assert_eq!(world.still.turn(), 0);
    let task = world.get(&failing);
    assert_eq!((&task["status"], &task["result"]["isError"]), (&json!("completed"), &json!(true)));
    let task = world.get(&broken);
    assert_eq!((&task["status"], &task["error"]["code"]), (&json!("failed"), &json!(-32603)));
    assert!(task["error"]["message"].is_string() && task.get("result").is_none());
}

#[test]
fn cancelling_a_task_stops_its_work() {
    let world = world_of_tasks();
    let id = world.begin("slow_compute", slow(60));
    world.still.turn();
    assert_eq!(world.still.waiting(), [60_000]);
    world.cancel(&id);
    assert_eq!(world.still.turn(), 0);
    assert_eq!(world.still.waiting(), NO_TIMERS);
    assert_eq!(world.status(&id), "cancelled");
    world.cancel(&id);
    // Also before it began.
    let id = world.begin("slow_compute", slow(60));
    world.cancel(&id);
    assert_eq!(world.still.turn(), 0);
    assert_eq!(world.status(&id), "cancelled");
    assert_eq!(world.still.waiting(), NO_TIMERS);
}

/// Tasks that work and wait, each for another holder.
fn held() -> (World, Vec<(&'static str, String)>) {
    let mut world = world_of_tasks();
    let mut begun = Vec::new();
    for (client, tool) in [("c", "slow_compute"), ("d", "slow_compute"), ("c", "confirm_delete")] {
        let credential = format!("grant {client}");
        world.holder = Holder { client: client.to_owned(), credential };
        let arguments = match tool {
            "slow_compute" => slow(60),
            _ => json!({ "filename": "a.txt" }),
        };
        begun.push((client, world.begin(tool, arguments)));
    }
    world.still.turn();
    (world, begun)
}

#[test]
fn what_a_user_ends_takes_its_tasks_along_at_work_or_not() {
    for ended in [
        Stop::Client("c".to_owned()),
        Stop::Credential("grant c".to_owned()),
        Stop::Toolset("fixture".to_owned()),
        Stop::Everything,
    ] {
        for is_lost in [false, true] {
            let (mut world, begun) = held();
            if is_lost {
                world.lose();
            }
            for other in ["", "x"].map(str::to_owned) {
                stop(&world, Stop::Client(other.clone()));
                stop(&world, Stop::Credential(other.clone()));
                stop(&world, Stop::Toolset(other));
            }
            assert!(begun.iter().all(|(_, id)| world.status(id) != "cancelled"), "{ended:?}");
            stop(&world, ended.clone());
            for (client, id) in &begun {
                let goes_on =
                    *client == "d" && matches!(ended, Stop::Client(_) | Stop::Credential(_));
                assert_eq!(world.status(id) != "cancelled", goes_on, "{ended:?} {is_lost}");
            }
            // And nothing begins again what was ended.
            world.ring();
            world.still.turn();
            let left = world.still.waiting().iter().filter(|ms| **ms == 60_000).count();
            let is_all = matches!(ended, Stop::Toolset(_) | Stop::Everything);
            assert_eq!(left, usize::from(!is_all), "{ended:?} {is_lost}");
        }
    }
}

#[test]
fn work_that_began_again_is_ended_as_what_it_was_begun_as() {
    let (mut world, begun) = held();
    world.lose();
    world.ring();
    world.still.turn();
    stop(&world, Stop::Client("d".to_owned()));
    world.still.turn();
    assert_eq!(world.still.waiting().iter().filter(|ms| **ms == 60_000).count(), 1);
    assert_eq!(world.status(&begun[1].1), "cancelled");
}

#[test]
fn who_ends_something_makes_no_tables() {
    let world = world();
    world.result("tools/list", json!({}));
    stop(&world, Stop::Client("c".to_owned()));
    assert!(!has_table(&*world.database, "task").unwrap());
}

#[test]
fn tasks_of_an_earlier_version_go_on_and_are_nobodys() {
    let mut world = world_of_tasks();
    let id = world.begin("slow_compute", slow(1));
    for column in ["client", "credential", "toolset"] {
        let text = format!("ALTER TABLE task DROP COLUMN {column}");
        world.database.run(&text, &[]).unwrap();
    }
    world.lose();
    stop(&world, Stop::Client("c".to_owned()));
    world.ring();
    world.still.turn();
    world.still.pass(1_000);
    assert_eq!(world.still.turn(), 0);
    assert_eq!(world.status(&id), "completed");
    world.holder = Holder { client: "c".to_owned(), credential: String::new() };
    let id = world.begin("slow_compute", slow(1));
    stop(&world, Stop::Client("c".to_owned()));
    assert_eq!(world.status(&id), "cancelled");
}

#[test]
fn a_task_asks_and_goes_on_with_the_answer() {
    let world = world_of_tasks();
    let id = world.begin("confirm_delete", json!({ "filename": "a.txt" }));
    world.still.turn();
    let task = world.get(&id);
    assert_eq!(task["status"], "input_required");
    assert_eq!(task["inputRequests"]["confirm"]["method"], "elicitation/create");
    // What was not asked, and what does not fit, changes nothing.
    world.update(&id, json!({ "other": accept(json!({ "confirm": true })), "confirm": 5 }));
    world.still.turn();
    assert_eq!(world.get(&id), task);
    world.update(&id, json!({ "confirm": accept(json!({ "confirm": true })) }));
    // Answered is answered, before anything ran.
    assert_eq!(world.status(&id), "working");
    assert_eq!(world.still.turn(), 0);
    assert_eq!(task_text(&world.get(&id)), "deleted a.txt");
}

#[test]
fn answers_may_come_one_by_one() {
    let world = world_of_tasks();
    let id = world.begin("multi_input", json!({}));
    world.still.turn();
    assert_eq!(world.asked(&id), ["first", "second"]);
    world.update(&id, json!({ "first": accept(json!({ "name": "A", "confirm": true })) }));
    assert_eq!(
        (world.asked(&id), world.status(&id).as_str()),
        (vec!["second".to_owned()], "input_required")
    );
    world.still.turn();
    assert_eq!(world.asked(&id), ["second"]);
    // An answer is final.
    world.update(&id, json!({ "first": accept(json!({ "name": "X" })) }));
    world.update(&id, json!({ "second": accept(json!({ "name": "B" })) }));
    assert_eq!(world.still.turn(), 0);
    assert_eq!(task_text(&world.get(&id)), "A and B");
}

#[test]
fn a_call_may_ask_first_and_become_a_task_then() {
    let mut world = world_of_tasks();
    for is_lost in [false, true] {
        let by = |client: &str| Holder { client: client.to_owned(), credential: String::new() };
        world.holder = by("first");
        let first = world.round(1, "test_tool_with_task", &json!({}), None);
        let first = &first["result"];
        assert_eq!(first["resultType"], "input_required");
        assert!(first.get("taskId").is_none());
        if is_lost {
            world.lose();
        }
        world.holder = by("second");
        let answers = json!({ "user_name": accept(json!({ "name": "Alice" })) });
        let second = world.round(2, "test_tool_with_task", &answers, Some(&first["requestState"]));
        let second = &second["result"];
        assert_eq!(second["resultType"], "task");
        for key in ["requestState", "inputRequests"] {
            assert!(second.get(key).is_none(), "{second}");
        }
        let id = second["taskId"].as_str().unwrap();
        world.still.turn();
        // It is whose the request was that it came of.
        stop(&world, Stop::Client("first".to_owned()));
        assert_eq!(world.status(id), "working");
        world.still.pass(50);
        assert_eq!(world.still.turn(), 0);
        assert_eq!(task_text(&world.get(id)), "Hello, Alice!");
    }
}

#[test]
fn a_client_that_knows_no_tasks_gets_none() {
    let world = modern();
    let quick = world.result("tools/call", json!({ "name": "slow_compute", "arguments": slow(0) }));
    assert_eq!(quick["resultType"], "complete");
    let waits =
        world.serve(1, "tools/call", json!({ "name": "slow_compute", "arguments": slow(1) }));
    assert!(waits.now_or_never().is_none());
    let needed = json!({ "extensions": { EXTENSION: {} } });
    for (method, params) in [
        ("tools/call", json!({ "name": "failing_job", "arguments": {} })),
        ("tools/call", json!({ "name": "test_tool_with_task", "arguments": {} })),
        ("tasks/get", json!({ "taskId": "x" })),
        ("tasks/update", json!({ "taskId": "x", "inputResponses": {} })),
        ("tasks/cancel", json!({ "taskId": "x" })),
    ] {
        let (status, error) = world.refused(method, params);
        assert_eq!((status, &error["code"]), (400, &json!(-32021)), "{method}");
        assert_eq!(error["data"]["requiredCapabilities"], needed);
    }
}

#[test]
fn the_handshake_era_has_no_tasks() {
    let world = World { revision: "2025-11-25", ..world_of_tasks() };
    let quick = world.result("tools/call", json!({ "name": "slow_compute", "arguments": slow(0) }));
    assert!(quick.get("resultType").is_none());
    let waits =
        world.serve(1, "tools/call", json!({ "name": "slow_compute", "arguments": slow(1) }));
    assert!(waits.now_or_never().is_none());
    for method in ["tasks/get", "tasks/cancel"] {
        assert_eq!(world.refused(method, json!({ "taskId": "x" })).1["code"], -32601);
    }
    let (_, error) = world.refused("tools/call", json!({ "name": "failing_job" }));
    assert_eq!(error["code"], -32021);
    let asked = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "t", "version": "1" } });
    let initialized = world.result("initialize", asked);
    assert!(initialized["capabilities"]["extensions"].get(EXTENSION).is_none());
}

#[test]
fn the_extension_is_declared_and_what_it_replaced_is_gone() {
    let world = world_of_tasks();
    let discovered = world.result("server/discover", json!({}));
    let capabilities = &discovered["capabilities"];
    assert_eq!(capabilities["extensions"][EXTENSION], json!({}));
    assert!(capabilities.get("tasks").is_none());
    for method in ["tasks/list", "tasks/result"] {
        let (status, error) = world.refused(method, json!({ "taskId": "x" }));
        assert_eq!((status, &error["code"]), (404, &json!(-32601)));
    }
    for (method, params) in [
        ("tasks/get", json!({ "taskId": "tasks-conformance-nonexistent-12345" })),
        ("tasks/get", json!({ "taskId": 5 })),
        ("tasks/get", json!({})),
        ("tasks/cancel", json!({ "taskId": "x" })),
        ("tasks/update", json!({ "taskId": "x", "inputResponses": {} })),
        ("tasks/update", json!({ "taskId": "x" })),
        ("tasks/update", json!({ "taskId": "x", "inputResponses": null })),
    ] {
        assert_eq!(world.refused(method, params).1["code"], -32602, "{method}");
    }
}

#[test]
fn a_task_is_deleted_when_its_time_is_over() {
    let world = world_of_tasks();
    assert_eq!(world.context.alarm().unwrap(), None);
    let done = world.begin("protocol_error_job", json!({}));
    let slow = world.begin("slow_compute", slow(60));
    world.still.turn();
    assert_eq!(world.still.alarm.get(), Some(Millis(1 + limits::TASK_CHECK_MS)));
    // While something works, the object is woken again and again.
    assert_eq!(world.ring(), Some(1 + 2 * limits::TASK_CHECK_MS));
    world.still.now.set(limits::TASK_TTL_MS);
    assert_eq!(world.status(&done), "failed");
    assert_eq!(world.status(&slow), "working");
    world.still.now.set(limits::TASK_TTL_MS + 1);
    // Over is over, whether or not the alarm has come.
    assert_eq!(world.refused("tasks/get", json!({ "taskId": slow })).1["code"], -32602);
    assert_eq!(world.ring(), None);
    assert_eq!(world.still.turn(), 0);
    let rows = world.database.run("SELECT count(*) FROM task", &[]).unwrap();
    assert_eq!(rows[0].integer(0), Ok(0));
    assert_eq!(world.still.waiting(), NO_TIMERS);
}

#[test]
fn what_is_over_is_woken_for_once_more_and_no_earlier() {
    let world = world_of_tasks();
    let id = world.begin("slow_compute", slow(60));
    world.still.turn();
    world.cancel(&id);
    assert_eq!(world.ring(), Some(1 + limits::TASK_TTL_MS));
    // Work that begins now is looked after before that.
    let now = world.still.now.get();
    world.begin("slow_compute", slow(60));
    assert_eq!(world.still.alarm.get(), Some(Millis(now + limits::TASK_CHECK_MS)));
}

#[test]
fn lost_work_begins_again_at_the_alarm() {
    let mut world = world_of_tasks();
    let id = world.begin("slow_compute", slow(60));
    world.still.turn();
    world.lose();
    // The client sees no difference.
    assert_eq!(world.status(&id), "working");
    assert_eq!(world.still.turn(), 0);
    world.ring();
    assert_eq!(world.still.turn(), 1);
    world.still.pass(60_000);
    assert_eq!(world.still.turn(), 0);
    assert_eq!(task_text(&world.get(&id)), "x: done after 60 s");
}

#[test]
fn an_alarm_in_a_fresh_object_knows_whose_it_is() {
    let mut world = world_of_tasks();
    let id = world.begin("slow_compute", slow(60));
    // Lost before it did anything, and nobody asks: only the alarm comes.
    world.lose();
    world.ring();
    world.still.turn();
    world.still.pass(60_000);
    world.still.turn();
    assert_eq!(world.status(&id), "completed");
}

#[test]
fn work_that_is_lost_too_often_is_not_tried_again() {
    let mut world = world_of_tasks();
    let id = world.begin("slow_compute", slow(60));
    for _ in 0..limits::TASK_RUNS_MAX {
        assert_eq!(world.status(&id), "working");
        world.still.turn();
        world.lose();
        world.ring();
    }
    assert_eq!(world.still.turn(), 0);
    let task = world.get(&id);
    assert_eq!(task["status"], "failed");
    let text = task["error"]["message"].as_str().unwrap();
    assert!(text.contains("was lost 4 times"), "{text}");
}

#[test]
fn a_row_that_cannot_be_read_fails_alone() {
    let mut world = world_of_tasks();
    let broken = ["answers", "call"].map(|column| {
        let id = world.begin("slow_compute", slow(60));
        let statement = format!("UPDATE task SET {column} = 'x' WHERE id = ?");
        world.database.run(&statement, &[id.as_str().into()]).unwrap();
        id
    });
    let good = world.begin("slow_compute", slow(60));
    world.lose();
    world.ring();
    world.still.turn();
    for id in broken {
        assert_eq!(world.status(&id), "failed");
    }
    world.still.pass(60_000);
    world.still.turn();
    assert_eq!(world.status(&good), "completed");
}

#[test]
fn a_task_that_waits_for_its_client_needs_no_object() {
    let mut world = world_of_tasks();
    let id = world.begin("multi_input", json!({}));
    world.still.turn();
    let before = world.get(&id);
    for _ in 0..=limits::TASK_RUNS_MAX {
        world.lose();
        let next = world.context.alarm().unwrap();
        assert_eq!(next, Some(Millis(1 + limits::TASK_TTL_MS)));
        assert_eq!(world.still.turn(), 0);
        assert_eq!(world.get(&id), before);
    }
    world.update(&id, json!({ "first": accept(json!({ "name": "A" })) }));
    assert_eq!(world.asked(&id), ["second"]);
    world.lose();
    // This one does not fit, which nobody can tell until the work runs again.
    world.update(&id, json!({ "second": 5 }));
    assert_eq!(world.still.turn(), 1);
    assert_eq!(world.asked(&id), ["second"]);
    world.lose();
    world.update(&id, json!({ "second": accept(json!({ "name": "B" })) }));
    assert_eq!(world.still.turn(), 0);
    assert_eq!(task_text(&world.get(&id)), "A and B");
}

#[test]
fn what_a_task_takes_is_bounded() {
    let world = world_of_tasks();
    let large = "x".repeat(limits::TASK_CALL_BYTES_MAX);
    let call = |label: &str| {
        let arguments = json!({ "seconds": 60, "label": label });
        world.result("tools/call", json!({ "name": "slow_compute", "arguments": arguments }))
    };
    assert_eq!(call(&large)["isError"], true);
    let asks = world.begin("confirm_delete", json!({}));
    world.still.turn();
    let large = "x".repeat(limits::TASK_ANSWERS_BYTES_MAX);
    let answer = json!({ "confirm": accept(json!({ "confirm": true, "more": large })) });
    let params = json!({ "taskId": asks, "inputResponses": answer });
    assert_eq!(world.refused("tasks/update", params).1["code"], -32602);
    assert_eq!(world.status(&asks), "input_required");
    let large = json!({ "filename": "x".repeat(limits::TASK_ASKED_BYTES_MAX) });
    let large = world.begin("confirm_delete", large);
    world.still.turn();
    assert_eq!(world.status(&large), "failed");
    let mut ids = vec![asks];
    while i64::try_from(ids.len()).unwrap() < limits::TASKS_OPEN_MAX {
        ids.push(world.begin("slow_compute", slow(60)));
    }
    let refused = call("one more");
    assert_eq!((&refused["isError"], refused.get("taskId")), (&json!(true), None));
    world.cancel(&ids[7]);
    assert_eq!(call("now")["resultType"], "task");
}

#[test]
fn no_two_tasks_have_one_id_and_each_is_its_contexts_own() {
    let world = world_of_tasks();
    let (a, b) = (world.begin("slow_compute", slow(60)), world.begin("slow_compute", slow(60)));
    assert_ne!(a, b);
    let other = world_of_tasks();
    assert_eq!(other.refused("tasks/get", json!({ "taskId": a })).1["code"], -32602);
    let upper = a.to_uppercase();
    assert_eq!(world.refused("tasks/get", json!({ "taskId": upper })).1["code"], -32602);
}

#[test]
fn a_url_is_asked_for_in_the_words_of_its_revision() {
    let world = world_of_tasks();
    let id = world.begin("confirm_delete", json!({}));
    world.still.turn();
    let asked = json!({ "go": { "method": "elicitation/create",
        "params": { "mode": "url", "message": "?", "url": "https://x.test/" } } });
    let arguments = [asked.to_string().into(), id.as_str().into()];
    world.database.run("UPDATE task SET asked = ? WHERE id = ?", &arguments).unwrap();
    assert_eq!(world.get(&id)["inputRequests"], asked);
}

/// What may happen to an Agent that has tasks.
#[derive(Debug, Clone)]
enum Happening {
    Begin(usize),
    Answer(usize, bool, bool),
    Cancel(usize),
    Turn,
    Pass,
    Lose,
    Ring,
}

const JOBS: [&str; 4] = ["slow_compute", "failing_job", "protocol_error_job", "multi_input"];

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => (0..JOBS.len()).prop_map(Happening::Begin),
        3 => (0..8_usize, any::<bool>(), any::<bool>())
            .prop_map(|(task, first, fits)| Happening::Answer(task, first, fits)),
        1 => (0..8_usize).prop_map(Happening::Cancel),
        3 => Just(Happening::Turn),
        2 => Just(Happening::Pass),
        2 => Just(Happening::Lose),
        2 => Just(Happening::Ring),
    ]
}

impl World {
    fn happens(&mut self, happening: &Happening, ids: &mut Vec<String>) {
        match happening {
            Happening::Begin(job) => {
                let name = JOBS[*job];
                ids.push(self.begin(name, slow(60)));
            }
            Happening::Answer(task, is_first, fits) => {
                let (key, name) = if *is_first { ("first", "A") } else { ("second", "B") };
                let content = if *fits { json!({ "name": name }) } else { json!({}) };
                if let Some(id) = ids.get(*task) {
                    self.update(id, json!({ key: accept(content) }));
                }
            }
            Happening::Cancel(task) => {
                if let Some(id) = ids.get(*task) {
                    self.cancel(id);
                    assert!(["cancelled", "completed", "failed"].contains(&&*self.status(id)));
                }
            }
            Happening::Turn => {
                self.still.turn();
            }
            Happening::Pass => [1_000, 60_000].into_iter().for_each(|ms| self.still.pass(ms)),
            Happening::Lose => self.lose(),
            // Time goes on, and the alarm comes if it was set for then.
            Happening::Ring => {
                let now = Millis(self.still.now.get()).after(limits::TASK_CHECK_MS);
                self.still.now.set(now.0);
                if self.still.alarm.get().is_some_and(|at| at <= now) {
                    self.still.alarm.set(self.context.alarm().unwrap());
                }
            }
        }
    }

    /// Every task is there, and what is over stays as it is.
    fn check(&self, ids: &[String], over: &mut BTreeMap<String, Value>) {
        for id in ids {
            let task = self.get(id);
            if ["cancelled", "completed", "failed"].contains(&task["status"].as_str().unwrap()) {
                assert_eq!(*over.entry(id.clone()).or_insert_with(|| task.clone()), task);
            } else {
                assert!(!over.contains_key(id), "{task}");
            }
            let text = task["result"]["content"][0]["text"].as_str().unwrap_or("A and B");
            assert!(["A and B", "x: done after 60 s", "this job always fails"].contains(&text));
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_every_task_ends_and_ends_once(
        happenings in proptest::collection::vec(happening(), 0..60),
    ) {
        let mut world = world_of_tasks();
        let (mut ids, mut over) = (Vec::new(), BTreeMap::new());
        for happening in &happenings {
            world.happens(happening, &mut ids);
            world.check(&ids, &mut over);
        }
        // From here on nothing is lost, and every question has its answer.
        for _ in 0..4 {
            for happening in [Happening::Ring, Happening::Turn, Happening::Pass, Happening::Turn] {
                world.happens(&happening, &mut ids);
            }
            for task in 0..ids.len() {
                world.happens(&Happening::Answer(task, true, true), &mut ids);
                world.happens(&Happening::Answer(task, false, true), &mut ids);
            }
            world.check(&ids, &mut over);
        }
        prop_assert_eq!(over.len(), ids.len());
        prop_assert_eq!(world.still.turn(), 0);
    }
}
