//! Lists of servers as they age, and whose a name or a URI is, over a whole Agent with scripted
//! servers behind it and a clock that stands still. It must not know how any of it is kept.

mod credentials;

mod world;

use super::kind;
use futures_util::FutureExt as _;
use serde_json::json;
use shared::{
    AgentKey, UserId,
    database::Database as _,
    hop::{Change, Holder, Stop},
    limits,
};
use world::{Agent, key, tool};

const HOUR: u64 = 60 * 60 * 1000;

#[test]
fn a_list_that_is_read_again_is_as_young_as_it_is() {
    let mut agent = Agent::new(&[("far", json!({}))]);
    agent.world.set("far", |far| far.tools = vec![tool("echo")]);
    let tools = |agent: &Agent| agent.names("tools/list", "tools", "name").concat();
    // It never changes in two days, and is read again and again.
    for _ in 0..48 {
        assert!(tools(&agent).contains("echo"));
        agent.world.pass(HOUR);
    }
    agent.evict();
    let call = json!({ "name": "echo", "arguments": {} });
    agent.world.take();
    agent.result("tools/call", call.clone());
    let met = "far server/discover";
    assert_eq!(agent.world.take(), [met, "far tools/call echo"], "its list is known");
    agent.world.pass(25 * HOUR);
    agent.result("tools/call", call);
    let asked = [met, "far tools/list", "far tools/call echo"];
    assert_eq!(agent.world.take(), asked, "a day later it is not");
}

#[test]
fn a_list_that_is_as_it_was_is_seldom_written() {
    let agent = Agent::new(&[("far", json!({}))]);
    agent.world.set("far", |far| far.tools = vec![tool("echo")]);
    let list = || agent.names("tools/list", "tools", "name");
    list();
    let writes = || agent.number("SELECT total_changes()");
    let before = writes();
    for _ in 0..50 {
        agent.world.pass(60_000);
        list();
    }
    assert_eq!(writes(), before);
    agent.world.pass(limits::UPSTREAM_KEPT_STEP_MS);
    list();
    assert_eq!(writes(), before + 2, "the old row is replaced, and the meeting's");
}

#[test]
fn what_is_remembered_of_servers_is_bounded() {
    let mut agent = Agent::new(&[("far", json!({}))]);
    agent.world.set("far", |far| far.tools = vec![tool("echo")]);
    for n in 0..limits::UPSTREAM_ROWS_MAX + 9 {
        let tasks = json!({ "io.modelcontextprotocol/tasks": { "kind": n } });
        agent.capabilities = json!({ "extensions": tasks });
        agent.names("tools/list", "tools", "name");
    }
    let count = |what: &str| {
        let count = agent.number(&format!("SELECT COUNT(*) FROM upstream WHERE part {what} 'met'"));
        usize::try_from(count).unwrap()
    };
    assert_eq!(count("="), limits::UPSTREAM_MEETINGS_MAX);
    assert_eq!(count("<>"), limits::UPSTREAM_ROWS_MAX, "lists have room of their own");
    // Places where its tools were once.
    for n in 0..limits::UPSTREAM_PLACES_MAX {
        let statement = "INSERT INTO upstream_tool VALUES (?, 'x', 'y', 'y')";
        agent.database.run(statement, &[format!("gone {n}").into()]).unwrap();
    }
    agent.database.run("DELETE FROM upstream_tool WHERE place LIKE 'far%'", &[]).unwrap();
    agent.capabilities = json!({ "roots": {} });
    agent.names("tools/list", "tools", "name");
    let places = agent.number("SELECT COUNT(DISTINCT place) FROM upstream_tool");
    assert_eq!(usize::try_from(places).unwrap(), limits::UPSTREAM_PLACES_MAX);
    let own = agent.number("SELECT COUNT(*) FROM upstream_tool WHERE place LIKE 'far%'");
    assert_eq!(own, 1, "what is there now is remembered");
}

#[test]
fn what_a_client_says_that_it_can_do_names_rows_of_a_bounded_size() {
    let kind = |capabilities: serde_json::Value| kind(capabilities.as_object().unwrap());
    let small = json!({ "elicitation": { "form": {} }, "roots": {} });
    assert_eq!(kind(small.clone()), small.to_string());
    let long = json!({ "elicitation": { "x": "y".repeat(2_000) }, "roots": {},
        "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let names = json!({ "elicitation": {}, "roots": {},
        "extensions": { "io.modelcontextprotocol/tasks": {} } });
    assert_eq!(kind(long), names.to_string());
}

#[test]
fn a_server_that_is_slow_holds_up_nobody_elses_calls() {
    let agent = Agent::new(&[("slow", json!({})), ("far", json!({}))]);
    agent.world.set("slow", |slow| slow.is_silent = true);
    agent.world.set("far", |far| {
        far.tools = vec![tool("echo")];
        far.prompts = vec![json!({ "name": "greet" })];
    });
    let call = |name: &str| agent.ask("tools/call", json!({ "name": name, "arguments": {} }));
    let prompt = |name: &str| agent.ask("prompts/get", json!({ "name": name }));
    assert!(call("list_memories").unwrap().get("result").is_some());
    assert!(prompt("briefing").unwrap().get("result").is_some());
    assert_eq!(agent.world.take(), [""; 0], "nobody is asked");
    // Nobody known has these, and the slow one may.
    assert!(call("echo").is_none() && prompt("greet").is_none());
    // What was seen is known, even as it was long ago.
    agent.world.pass(2 * HOUR);
    assert!(call("echo").unwrap().get("result").is_some());
    assert!(prompt("greet").unwrap().get("result").is_some());
    agent.world.take();
    assert!(call("none").is_none() && prompt("none").is_none());
}

fn soon() -> u32 {
    u32::try_from(limits::UPSTREAM_SOON_MS).unwrap()
}

#[test]
fn a_list_goes_on_without_who_does_not_answer_soon_and_it_is_told_when_it_has() {
    const TAKES_MS: u32 = 3_000;
    let agent = Agent::new(&[("slow", json!({})), ("far", json!({}))]);
    agent.world.set("slow", |slow| {
        (slow.tools, slow.takes_ms) = (vec![tool("late")], Some(TAKES_MS));
        slow.ttl_ms = HOUR;
    });
    agent.world.set("far", |far| (far.tools, far.ttl_ms) = (vec![tool("echo")], HOUR));
    let shown = |said: &serde_json::Value| {
        let tools = said["result"]["tools"].as_array().unwrap().iter();
        tools.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut listing = agent.begin("tools/list", json!({}));
    assert!((&mut listing).now_or_never().is_none());
    agent.world.still.pass(soon());
    agent.world.pass(limits::UPSTREAM_SOON_MS);
    let said = (&mut listing).now_or_never().expect("it waits no longer");
    let others = ["echo", "remember", "recall", "list_memories", "forget"];
    assert_eq!(shown(&said), others);
    let missing = &said["result"]["_meta"]["signalbox/missing"];
    let reason = "slow has not answered yet; ask again";
    assert_eq!(*missing, json!([{ "toolset": "slow", "reason": reason }]));
    assert_eq!(said["result"]["ttlMs"], limits::LACKING_TTL_MS);
    // The next waits for the same, and that has had its second.
    let again = agent.ask("tools/list", json!({})).expect("an answer at once");
    assert_eq!(shown(&again), others);
    // What is not listed yet is looked for.
    let mut call = agent.begin("tools/call", json!({ "name": "late", "arguments": {} }));
    assert!((&mut call).now_or_never().is_none());
    assert!(agent.world.still.told.borrow().is_empty());
    // It is met, and lists.
    for _ in 0..2 {
        agent.world.still.turn();
        agent.world.still.pass(TAKES_MS);
    }
    agent.world.still.turn();
    let told: Vec<_> = agent.world.still.told.take().into_iter().flat_map(|(_, all)| all).collect();
    assert_eq!(told, [Change::Tools], "whoever hears is told, once");
    let whole = agent.ask("tools/list", json!({})).expect("an answer at once");
    assert_eq!(shown(&whole), ["late", "echo", "remember", "recall", "list_memories", "forget"]);
    assert!(whole["result"]["_meta"].get("signalbox/missing").is_none(), "{whole}");
    assert!((&mut call).now_or_never().is_none());
    agent.world.still.pass(TAKES_MS);
    assert!((&mut call).now_or_never().expect("its answer").get("result").is_some());
}

/// A list that is answered at the last moment without a slow server, which then has its time.
fn listed_without_waiting(agent: &Agent, takes_ms: u32) -> serde_json::Value {
    let told = || agent.world.still.told.take();
    agent.world.still.pass(limits::UPSTREAM_TELL_MS);
    told();
    agent.world.set("far", |far| far.takes_ms = Some(takes_ms));
    let mut listing = agent.begin("tools/list", json!({}));
    assert!((&mut listing).now_or_never().is_none());
    agent.world.still.pass(soon());
    let said = (&mut listing).now_or_never().expect("it waits no longer");
    assert!(!said["result"]["_meta"]["signalbox/missing"].is_null(), "{said}");
    assert!(told().is_empty());
    // It is met, where that is long ago, and lists.
    for _ in 0..2 {
        agent.world.still.turn();
        agent.world.still.pass(takes_ms);
    }
    agent.world.still.turn();
    agent.world.set("far", |far| far.takes_ms = None);
    said
}

/// What whoever listens was told.
fn told(agent: &Agent) -> Vec<Change> {
    agent.world.still.told.take().into_iter().flat_map(|(_, all)| all).collect()
}

#[test]
fn whoever_got_a_list_as_it_was_is_told_when_it_is_another() {
    let agent = Agent::new(&[("far", json!({}))]);
    agent.world.set("far", |far| {
        (far.tools, far.ttl_ms, far.changes) = (vec![tool("one")], HOUR, true);
    });
    agent.names("tools/list", "tools", "name");
    for (after, is_another) in [("two", true), ("two", false)] {
        // It says that its list has changed, and is slow when it is asked for it.
        agent.world.still.pass(limits::UPSTREAM_TELL_MS);
        agent.world.still.turn();
        agent.result("tools/call", json!({ "name": "one", "arguments": {} }));
        agent.world.still.turn();
        assert_eq!(told(&agent), [Change::Tools]);
        agent.world.set("far", |far| far.tools = vec![tool("one"), tool(after)]);
        let said = listed_without_waiting(&agent, 3_000);
        assert!(said.to_string().contains("this is what it was before"), "{said}");
        assert_eq!(told(&agent).is_empty(), !is_another, "{is_another}");
        assert!(agent.names("tools/list", "tools", "name").contains(&after.to_owned()));
    }
}

#[test]
fn whoever_got_no_list_is_told_when_there_is_one_whatever_it_was_before() {
    let agent = Agent::new(&[("far", json!({}))]);
    agent.world.set("far", |far| (far.tools, far.ttl_ms) = (vec![tool("one")], HOUR));
    agent.names("tools/list", "tools", "name");
    agent.world.pass(limits::UPSTREAM_STALE_MS);
    let said = listed_without_waiting(&agent, 3_000);
    assert!(!said.to_string().contains(r#""one""#), "{said}");
    assert_eq!(told(&agent), [Change::Tools]);
    assert!(agent.names("tools/list", "tools", "name").contains(&"one".to_owned()));
}

#[test]
fn a_list_that_is_told_inside_from_outside_takes_no_longer_than_another() {
    let pins = json!({ "pins": { "org": ["owner"] }, "uris": ["repo://{org}"] });
    let skills = json!({ "io.modelcontextprotocol/skills": {} });
    for (method, member) in [("resources/list", "resources"), ("skills/list", "skills")] {
        let mut agent = Agent::new(&[("far", pins.clone())]);
        agent.options.toolsets = Some(["far".to_owned()].into());
        agent.world.set("far", |far| {
            far.tools = vec![tool("echo")];
            far.resources = vec![json!({ "uri": "repo://acme/1", "name": "one" })];
            far.templates = vec![json!({ "uriTemplate": "repo://{org}/{n}", "name": "r" })];
            let can = json!({ "resources": {}, "extensions": skills });
            let met = json!({ "supportedVersions": ["2026-07-28"], "capabilities": can });
            far.answers.insert("server/discover", met);
            let all = json!({ "skills": [{ "uri": "repo://acme/1", "frontmatter": {} }] });
            far.answers.insert("skills/list", all);
        });
        agent.names("tools/list", "tools", "name");
        agent.world.set("far", |far| far.takes_ms = Some(soon() - 1));
        let mut listing = agent.begin(method, json!({}));
        assert!((&mut listing).now_or_never().is_none());
        agent.world.still.pass(soon() - 1);
        let said = (&mut listing).now_or_never().expect("both were asked at once");
        assert_eq!(said["result"][member][0]["uri"], "repo://acme/1", "{said}");
    }
}

#[test]
fn a_member_that_an_era_does_not_know_makes_no_task_of_a_result() {
    let agent = Agent::new(&[("far", json!({ "era": "handshake" }))]);
    for more in [json!({}), json!({ "taskId": "t1" })] {
        agent.world.set("far", |far| {
            far.tools = vec![tool("echo")];
            let mut result = json!({ "content": [], "resultType": "task" });
            result.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            far.result = Some(result.to_string());
        });
        let result = agent.result("tools/call", json!({ "name": "echo", "arguments": {} }));
        assert_eq!(result["resultType"], "complete", "{result}");
        assert_eq!((&result["content"], &result["taskId"]), (&json!([]), &more["taskId"]));
    }
}

#[test]
fn what_the_url_excludes_is_not_even_asked() {
    let mut agent = Agent::new(&[("slow", json!({})), ("far", json!({}))]);
    agent.world.set("slow", |slow| slow.is_silent = true);
    agent.world.set("far", |far| far.tools = vec![tool("echo"), tool("remember")]);
    let only = |name: &str| shared::hop::Options {
        toolsets: Some([name.to_owned()].into()),
        ..shared::hop::Options::default()
    };
    agent.options = only("memory");
    for method in ["tools/list", "prompts/list", "resources/list", "resources/templates/list"] {
        let listed = agent.result(method, json!({}));
        assert!(listed["_meta"].get("signalbox/missing").is_none(), "{listed}");
    }
    assert!(agent.result("server/discover", json!({}))["capabilities"].get("extensions").is_none());
    for (method, params) in [
        ("skills/list", json!({})),
        ("skills/get", json!({ "uri": "skill://x" })),
        ("tasks/get", json!({ "taskId": "acme.x" })),
        ("tools/call", json!({ "name": "echo", "arguments": {} })),
        ("resources/read", json!({ "uri": "other://x" })),
        ("prompts/get", json!({ "name": "other" })),
    ] {
        let said = agent.ask(method, params).expect("an answer at once");
        assert!(said.get("error").is_some(), "{method}: {said}");
    }
    assert_eq!(agent.world.take(), [""; 0], "nobody is asked");
    // Whose a tool is hangs on nothing but what is left, in a list and in a call.
    agent.options = only("far");
    assert_eq!(agent.names("tools/list", "tools", "name"), ["echo", "remember"]);
    agent.result("tools/call", json!({ "name": "remember", "arguments": {} }));
    assert_eq!(agent.world.take().last().unwrap(), "far tools/call remember");
}

#[test]
fn changes_are_told_at_once_and_then_once_a_second() {
    let agent = Agent::new(&[("far", json!({}))]);
    agent.world.set("far", |far| far.tools = vec![tool("echo")]);
    agent.names("tools/list", "tools", "name");
    let told = || -> Vec<_> {
        agent.world.still.turn();
        agent.world.still.told.take().into_iter().map(|(_, changes)| changes).collect()
    };
    let change = |n: u64| {
        agent.world.set("far", |far| far.tools = vec![tool(&format!("echo{n}"))]);
        agent.world.pass(HOUR);
        agent.names("tools/list", "tools", "name");
    };
    change(0);
    assert_eq!(told(), [vec![Change::Tools]], "the first at once");
    for n in 1..100 {
        change(n);
    }
    assert!(told().is_empty());
    agent.world.still.pass(limits::UPSTREAM_TELL_MS);
    assert_eq!(told(), [vec![Change::Tools]], "and the last is not lost");
    agent.world.still.pass(limits::UPSTREAM_TELL_MS);
    assert!(told().is_empty());
    change(100);
    assert_eq!(told(), [vec![Change::Tools]]);
}

#[test]
fn a_check_that_fails_is_not_a_failure_of_the_tools() {
    let agent = Agent::new(&[("far", json!({ "verify": { "org": "https://door.test/{org}" } }))]);
    agent.world.set("far", |far| far.tools = vec![tool("echo")]);
    agent.names("tools/list", "tools", "name");
    // Who is asked there answers nothing that means yes or no.
    let mut outcomes = std::collections::BTreeSet::new();
    for _ in 0..2 * limits::BREAKER_FAILURES {
        outcomes.insert(agent.verify());
    }
    assert!(outcomes.iter().any(|detail| detail.contains("left alone")), "{outcomes:?}");
    agent.result("tools/call", json!({ "name": "echo", "arguments": {} }));
}

#[test]
fn a_task_that_cannot_be_kept_is_ended_where_it_runs() {
    let agent = Agent::new(&[("far", json!({}))]);
    agent.world.set("far", |far| {
        far.tools = vec![tool("slow")];
        let begun = json!({ "resultType": "task", "taskId": "t1", "status": "working" });
        far.result = Some(begun.to_string());
    });
    let call = || agent.ask("tools/call", json!({ "name": "slow", "arguments": {} })).unwrap();
    assert_eq!(call()["result"]["resultType"], "task");
    agent.world.still.turn();
    assert!(!agent.world.take().concat().contains("tasks/cancel"));
    let statement = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?)
        INSERT INTO upstream_task SELECT 'x' || i, 'p', 'k', 'r', 1, '', '' FROM n";
    agent.database.run(statement, &[limits::TASKS_MAX.into()]).unwrap();
    let said = call();
    assert!(said["result"]["content"][0]["text"].to_string().contains("too many tasks"), "{said}");
    agent.world.still.turn();
    assert_eq!(agent.world.take(), ["far tools/call slow", "far tasks/cancel"]);
}

#[test]
fn a_task_that_a_server_runs_ends_with_what_let_it_in() {
    let holder =
        |client: &str| Holder { client: client.to_owned(), credential: format!("key {client}") };
    for (stop, ended) in [
        (Stop::Client("c".to_owned()), [true, false]),
        (Stop::Credential("key d".to_owned()), [false, true]),
        (Stop::Credential(String::new()), [false, false]),
        (Stop::Toolset("far".to_owned()), [true, true]),
        (Stop::Toolset("memory".to_owned()), [false, false]),
        (Stop::Everything, [true, true]),
    ] {
        for is_lost in [false, true] {
            let mut agent = Agent::new(&[("far", json!({}))]);
            agent.capabilities = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
            let mut begun = Vec::new();
            for (client, remote) in [("c", "t1"), ("d", "t2")] {
                agent.holder = holder(client);
                agent.world.set("far", |far| {
                    far.tools = vec![tool("slow")];
                    let task =
                        json!({ "resultType": "task", "taskId": remote, "status": "working" });
                    far.result = Some(task.to_string());
                    far.answers
                        .insert("tasks/get", json!({ "taskId": remote, "status": "working" }));
                });
                let call = json!({ "name": "slow", "arguments": {} });
                let task = agent.result("tools/call", call);
                begun.push(task["taskId"].as_str().unwrap().to_owned());
            }
            if is_lost {
                agent.evict();
            }
            agent.world.take();
            agent.stop(key(), stop.clone()).unwrap();
            agent.world.still.turn();
            let told = agent.world.take();
            let cancels = told.iter().filter(|asked| *asked == "far tasks/cancel").count();
            let count = ended.iter().filter(|is| **is).count();
            assert_eq!(cancels, count, "{stop:?} {is_lost}: {told:?}");
            for (id, is_ended) in begun.iter().zip(ended) {
                let said = agent.ask("tasks/get", json!({ "taskId": id })).unwrap();
                assert_eq!(said["error"]["code"] == -32602, is_ended, "{stop:?}: {said}");
            }
        }
    }
}

#[test]
fn a_tasks_row_of_an_earlier_version_is_nobodys() {
    let mut agent = Agent::new(&[("far", json!({}))]);
    agent.world.set("far", |far| far.tools = vec![tool("slow")]);
    agent.names("tools/list", "tools", "name");
    for column in ["client", "credential"] {
        let text = format!("ALTER TABLE upstream_task DROP COLUMN {column}");
        agent.database.run(&text, &[]).unwrap();
    }
    let old = "INSERT INTO upstream_task (id, place, kind, remote, created)
        SELECT 'acme:x', place, kind, 'r', 1 FROM upstream LIMIT 1";
    agent.database.run(old, &[]).unwrap();
    // Another version is another object.
    agent.evict();
    agent.world.take();
    agent.stop(key(), Stop::Client("c".to_owned())).unwrap();
    agent.world.still.turn();
    assert!(agent.world.take().is_empty());
    agent.stop(key(), Stop::Everything).unwrap();
    agent.world.still.turn();
    assert_eq!(agent.world.take(), ["far tasks/cancel"]);
}

#[test]
fn a_stop_for_another_context_is_refused_whether_or_not_it_is_open() {
    let mut agent = Agent::new(&[("far", json!({}))]);
    let foreign = AgentKey { user: UserId::parse("v").unwrap(), ..key() };
    // One that has never served anything has nothing to end.
    agent.stop(foreign.clone(), Stop::Everything).unwrap();
    agent.world.set("far", |far| far.tools = vec![tool("slow")]);
    agent.names("tools/list", "tools", "name");
    for is_lost in [false, true] {
        if is_lost {
            agent.evict();
        }
        let refused = agent.stop(foreign.clone(), Stop::Everything).unwrap_err();
        assert_eq!(refused.kind, shared::Kind::Conflict);
    }
}

#[test]
fn resources_are_as_fresh_as_their_server_says() {
    let mut agent = Agent::new(&[("far", json!({}))]);
    agent.options.toolsets = Some(["far".to_owned()].into());
    let read = json!({ "contents": [], "ttlMs": 7_000, "cacheScope": "private" });
    agent.world.set("far", |far| {
        far.ttl_ms = 5_000;
        far.answers.insert("resources/read", read);
    });
    let ttl = |method: &str, params| agent.result(method, params)["ttlMs"].as_u64();
    assert_eq!(ttl("resources/list", json!({})), Some(5_000));
    agent.world.pass(1_000);
    assert_eq!(ttl("resources/list", json!({})), Some(4_000), "a copy is as old as it is");
    assert_eq!(ttl("resources/read", json!({ "uri": "doc://1" })), Some(7_000));
}

#[test]
fn what_was_approved_is_what_a_tool_must_be() {
    let approved = |fingerprint: &str| json!({ "approved": { "echo": fingerprint } });
    let is_changed = |agent: &Agent| {
        agent.world.set("far", |far| far.tools = vec![tool("echo")]);
        let echo = agent.effective()["tools"][0].take();
        (echo["changed"].as_bool().unwrap(), echo["fingerprint"].as_str().unwrap().to_owned())
    };
    let warnings = |agent: &Agent| {
        let logged = agent.world.logged.borrow();
        logged.iter().filter(|line| *line == "the tool echo of far is not what it was").count()
    };
    let (_, now) = is_changed(&Agent::new(&[("far", json!({}))]));
    let other = Agent::new(&[("far", approved(&"0123456789abcdef".repeat(2)))]);
    assert_eq!((is_changed(&other).0, warnings(&other)), (true, 1), "also when it is first seen");
    let same = Agent::new(&[("far", approved(&now))]);
    assert_eq!((is_changed(&same).0, warnings(&same)), (false, 0));
}

#[test]
fn a_name_that_the_configuration_gives_is_nobody_elses() {
    let agent = Agent::new(&[("open", json!({})), ("given", json!({ "allow": ["echo"] }))]);
    for name in ["open", "given"] {
        agent.world.set(name, |server| server.tools = vec![tool("echo"), tool("other")]);
    }
    let call = |name: &str| {
        agent.result("tools/call", json!({ "name": name, "arguments": {} }));
        agent.world.take().pop().unwrap()
    };
    // The open server's list is known, the other's is not.
    assert_eq!(call("other"), "open tools/call other");
    assert_eq!(call("echo"), "given tools/call echo");
    // What is newer than what is known is found.
    agent.world.set("given", |given| given.tools.clear());
    agent.world.set("open", |open| open.tools.push(tool("new")));
    agent.world.pass(HOUR);
    assert_eq!(call("new"), "open tools/call new");
}

#[test]
fn a_list_has_one_bound_for_all_its_pages() {
    const PAGE_MS: u32 = 800;
    let agent = Agent::new(&[("far", json!({}))]);
    let lists = [
        ("tools/list", "tools"),
        ("prompts/list", "prompts"),
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
    ];
    for (method, member) in lists {
        agent.world.set("far", |far| (far.takes_ms, far.is_endless) = (Some(PAGE_MS), true));
        let mut listing = agent.begin(method, json!({}));
        for _ in 0..9 {
            assert!((&mut listing).now_or_never().is_none(), "{method}");
            agent.world.still.pass(PAGE_MS);
        }
        assert!((&mut listing).now_or_never().is_none(), "{method}");
        agent.world.still.pass(limits::UPSTREAM_LIST_MS);
        let listed = (&mut listing).now_or_never().expect("it has had its time");
        assert!(listed["result"][member].is_array(), "{listed}");
        let text = "far did not answer in time; try again";
        let missing = &listed["result"]["_meta"]["signalbox/missing"];
        let reason = missing[0]["reason"].as_str().unwrap();
        // Of templates it is known what they were: resources are told inside from outside by them.
        assert!(reason.starts_with(text), "{method}: {reason}");
        let asked = agent.world.take();
        assert!((9..=10).contains(&asked.iter().filter(|line| line.contains(method)).count()));
        // It is well again, and one bound was not the next one's.
        agent.world.set("far", |far| (far.takes_ms, far.is_endless) = (None, false));
        let listed = agent.result(method, json!({}));
        assert!(listed["_meta"].get("signalbox/missing").is_none(), "{listed}");
        agent.world.take();
    }
}

/// Two servers with resources, one that only reads, and one that never answers.
fn with_resources() -> Agent {
    let names = ["slow", "docs", "repos", "blind"];
    let agent = Agent::new(&names.map(|name| (name, json!({}))));
    agent.world.set("docs", |docs| {
        docs.resources = vec![json!({ "uri": "doc://one", "name": "one" })];
        docs.templates = vec![json!({ "uriTemplate": "repo://{any}", "name": "any" })];
        docs.ttl_ms = HOUR;
    });
    agent.world.set("repos", |repos| {
        repos.templates = vec![json!({ "uriTemplate": "repo://{owner}/issues/{n}", "name": "r" })];
        repos.resources = vec![json!({ "uri": "repo://all", "name": "all" })];
        repos.ttl_ms = HOUR;
    });
    agent.world.set("blind", |blind| blind.ttl_ms = HOUR);
    for (method, member) in
        [("resources/list", "resources"), ("resources/templates/list", "resourceTemplates")]
    {
        agent.result(method, json!({}))[member].take();
    }
    agent.result("skills/list", json!({}));
    agent.world.set("slow", |slow| slow.is_silent = true);
    // Its list is not fresh any more.
    agent.world.pass(limits::UPSTREAM_TTL_MS);
    agent.world.take();
    agent
}

#[test]
fn a_uri_is_told_to_its_owner_alone() {
    let agent = with_resources();
    let read = |uri: &str| {
        let said = agent.ask("resources/read", json!({ "uri": uri }));
        (said.map(|said| said.get("result").is_some()), agent.world.take())
    };
    let told = |names: &[&str], uri: &str| -> Vec<String> {
        names.iter().map(|name| format!("{name} resources/read {uri}")).collect()
    };
    for (uri, owner) in [
        ("doc://one", "docs"),
        ("repo://all", "repos"),
        ("repo://acme/issues/3", "repos"),
        ("repo://acme", "docs"),
    ] {
        assert_eq!(read(uri), (Some(true), told(&[owner], uri)), "{uri}");
    }
    assert_eq!(read("memory://notes/none"), (Some(false), vec![]), "it is ours");
    // What its owner does not have, nobody has; a plainer owner comes before another.
    for name in ["docs", "repos"] {
        agent.world.set(name, |server| server.has_nothing = true);
    }
    assert_eq!(read("doc://one"), (Some(false), told(&["docs"], "doc://one")));
    let uri = "repo://acme/issues/3";
    assert_eq!(read(uri), (Some(false), told(&["repos", "docs"], uri)));
    // Nobody has it in a list, and some servers read what they do not list. Who does not say soon
    // whether it lists it is asked last.
    let (said, asked) = read("other://x");
    assert!(said.is_none() && asked.iter().all(|line| line.starts_with("slow ")), "{asked:?}");
    let mut reading = agent.begin("resources/read", json!({ "uri": "other://x" }));
    assert!((&mut reading).now_or_never().is_none());
    agent.world.take();
    agent.world.still.pass(soon());
    assert!((&mut reading).now_or_never().expect("an answer").get("result").is_some());
    let mut asked = agent.world.take();
    asked.retain(|line| line.contains("/read"));
    assert_eq!(asked, told(&["docs", "repos", "blind"], "other://x"));
    agent.world.still.evict();
    agent.world.set("slow", |slow| (slow.is_silent, slow.has_nothing) = (false, true));
    let (said, asked) = read("other://x");
    let mut asked = asked;
    asked.retain(|line| line.contains("/read"));
    assert_eq!((said, asked), (Some(true), told(&["slow", "docs", "repos", "blind"], "other://x")));
}

#[test]
fn a_template_is_completed_by_its_owner() {
    let agent = with_resources();
    let complete = |template: &str| {
        let params = json!({ "ref": { "type": "ref/resource", "uri": template },
            "argument": { "name": "any", "value": "a" } });
        let said = agent.ask("completion/complete", params);
        (said.map(|said| said.get("result").is_some()), agent.world.take())
    };
    let template = "repo://{any}";
    let told = vec![format!("docs completion/complete {template}")];
    assert_eq!(complete(template), (Some(true), told), "and nobody waits for the slow one");
    let (said, asked) = complete("repo://{none}");
    assert!(said.is_none() && asked == ["slow resources/templates/list"], "{asked:?}");
}

#[test]
fn a_wish_to_hear_goes_to_the_owner() {
    let mut agent = with_resources();
    let uris = ["doc://one", "repo://acme/issues/3", "memory://notes/x", "other://x"];
    for _ in 0..2 {
        agent.wish(&uris);
        let mut told = agent.world.take();
        told.retain(|line| line.contains("subscriptions/listen"));
        told.sort();
        assert_eq!(
            told,
            [
                r#"blind subscriptions/listen ["other://x"]"#,
                r#"docs subscriptions/listen ["doc://one","other://x"]"#,
                r#"repos subscriptions/listen ["other://x","repo://acme/issues/3"]"#,
                r#"slow subscriptions/listen ["other://x"]"#,
            ]
        );
        agent.wish(&[]);
        // What is known of the lists is known after an eviction, too.
        agent.evict();
        agent.world.take();
    }
}

#[test]
fn one_listens_for_all_kinds_of_clients() {
    let mut agent = Agent::new(&[("far", json!({}))]);
    agent.world.set("far", |far| far.tools = vec![tool("echo")]);
    let listening = |agent: &Agent| {
        let sent = agent.world.take();
        sent.iter().filter(|line| line.contains("subscriptions/listen")).count()
    };
    // Nothing is told inside from outside before that is known.
    agent.names("resources/templates/list", "resourceTemplates", "uriTemplate");
    agent.evict();
    // Before anybody asked for anything, and after many have.
    for is_first in [true, false] {
        if is_first {
            agent.wish(&["doc://one"]);
            assert_eq!(listening(&agent), 1);
        }
        for n in 0..limits::UPSTREAM_LINKS_MAX + 2 {
            agent.capabilities = json!({ "roots": {}, "elicitation": { "n": n } });
            agent.names("tools/list", "tools", "name");
        }
        assert_eq!(listening(&agent), 0);
        if !is_first {
            agent.wish(&["doc://one"]);
            assert_eq!(listening(&agent), 1);
        }
        agent.wish(&[]);
        agent.evict();
    }
}

#[test]
fn names_that_are_shown_are_cleaned_and_names_that_are_sent_are_not() {
    let agent = Agent::new(&[("far", json!({}))]);
    let argument = |name: &str| json!([{ "name": name, "description": "a\u{202e}b" }]);
    let odd = |name: &str| {
        json!({ "type": "object", "properties": { "o": { "anyOf": [
        { "properties": { (name): { "type": "string" } } }] } } })
    };
    agent.world.set("far", |far| {
        far.tools = vec![
            tool("echo"),
            json!({ "name": "bell", "inputSchema": odd("a\u{7}") }),
            json!({ "name": "hides", "inputSchema": odd("a\u{200b}") }),
            json!({ "name": "spaced", "inputSchema": odd("an argument, ünïcödé") }),
        ];
        far.prompts = vec![
            json!({ "name": "p", "arguments": argument("an argument") }),
            json!({ "name": "q", "arguments": argument("a\u{7}") }),
        ];
        far.resources = vec![
            json!({ "uri": "doc://1", "name": "o\u{7}n\u{200b}e", "title": "t\u{0}", "description": "d\u{0}" }),
            json!({ "uri": "doc://2", "name": "n".repeat(5_000) }),
            json!({ "uri": "doc://\u{202e}3", "name": "three" }),
        ];
        far.templates = vec![
            json!({ "uriTemplate": "doc://{n}", "name": "o\u{7}ne", "description": "d\u{0}" }),
            json!({ "uriTemplate": "doc://\u{200b}{n}", "name": "two" }),
        ];
    });
    let left = "1 of the prompts of far are left out";
    for _ in 0..2 {
        let tools = agent.result("tools/list", json!({}))["tools"].take();
        let names: Vec<_> = tools.as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
        assert!(names.contains(&&json!("echo")) && names.contains(&&json!("spaced")));
        assert!(!names.contains(&&json!("bell")) && !names.contains(&&json!("hides")));
        let prompts = agent.result("prompts/list", json!({}))["prompts"].take();
        let expected = json!({ "name": "p",
            "arguments": [{ "name": "an argument", "description": "ab" }] });
        assert!(prompts.as_array().unwrap().contains(&expected), "{prompts}");
        assert!(!prompts.to_string().contains(r#""q""#));
        let resources = agent.result("resources/list", json!({}))["resources"].take();
        let expected = json!([{ "uri": "doc://1", "name": "one", "title": "t", "description": "d" },
            { "uri": "doc://2", "name": "n".repeat(limits::UPSTREAM_TITLE_CHARS_MAX) }]);
        assert_eq!(resources, expected);
        let templates = agent.result("resources/templates/list", json!({}));
        let expected = json!({ "uriTemplate": "doc://{n}", "name": "one", "description": "d" });
        assert_eq!(templates["resourceTemplates"][0], expected);
        let logged = agent.world.logged.borrow();
        assert_eq!(logged.iter().filter(|line| *line == left).count(), 1, "{logged:?}");
    }
    let hidden = agent.effective()["hidden"].to_string();
    assert!(hidden.contains("bell") && hidden.contains("people do not see"), "{hidden}");
}

#[test]
fn what_a_call_is_answered_with_is_nobodys_to_clean() {
    let agent = Agent::new(&[("far", json!({}))]);
    let content = r#""content": [ {"type":"text","text":"a\u0007\u202e\u200bb","title":"t\u0000"}],
        "structuredContent":{"description":"x\u0000","n":1.0,"big":123456789012345678901234567890}"#;
    let one_line = content.split('\n').map(str::trim).collect::<Vec<_>>().concat();
    agent.world.set("far", |far| {
        far.tools = vec![tool("echo")];
        far.result = Some(format!("{{{one_line}}}"));
    });
    let call = json!({ "name": "echo", "arguments": { "a\u{7}": "b\u{200b}" } });
    let text = agent.begin_text("tools/call", call).now_or_never().unwrap();
    for part in one_line.split(r#""structuredContent":"#) {
        let part = part.trim_start_matches(r#""content": "#).trim_end_matches(',');
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_change_of_a_tool_is_told_once_and_only_if_it_is_one() {
    let mut agent = Agent::new(&[("far", json!({}))]);
    let said = |text: &str| {
        let mut tool = tool("echo");
        tool["description"] = text.into();
        vec![tool]
    };
    agent.world.set("far", |far| far.tools = said("first"));
    let line = "the tool echo of far is not what it was";
    // Every kind of clients looks, twice, and an eviction later.
    let warnings = |agent: &mut Agent| {
        for _ in 0..2 {
            for kind in [json!({}), json!({ "roots": {} }), json!({ "sampling": {} })] {
                agent.capabilities = kind;
                agent.world.pass(HOUR);
                agent.names("tools/list", "tools", "name");
            }
            agent.evict();
        }
        agent.world.logged.take().iter().filter(|logged| *logged == line).count()
    };
    let is_changed = |agent: &Agent| {
        let tools = agent.effective()["tools"].take();
        let mut tools = tools.as_array().unwrap().iter();
        let echo = tools.find(|tool| tool["name"] == "echo").unwrap();
        echo["changed"].as_bool().unwrap()
    };
    assert_eq!((warnings(&mut agent), is_changed(&agent)), (0, false));
    agent.world.set("far", |far| far.tools = Vec::new());
    assert_eq!(warnings(&mut agent), 0, "it is away");
    agent.world.set("far", |far| far.tools = said("first"));
    assert_eq!((warnings(&mut agent), is_changed(&agent)), (0, false), "and back");
    // Some see another tool of this name, and it is said once that there is such a one.
    agent.world.set("far", |far| far.tools_with_roots = Some(said("with roots")));
    assert_eq!(warnings(&mut agent), 1);
    assert_eq!(warnings(&mut agent), 0);
    agent.world.set("far", |far| (far.tools, far.tools_with_roots) = (said("second"), None));
    assert_eq!((warnings(&mut agent), is_changed(&agent)), (1, true), "for all kinds together");
    assert_eq!(warnings(&mut agent), 0);
    agent.world.set("far", |far| far.tools = said("first"));
    assert_eq!((warnings(&mut agent), is_changed(&agent)), (0, false), "it is what it was");
    // One that is another each time is remembered in so many ways only.
    for n in 0..3 * limits::UPSTREAM_SEEN_MAX {
        agent.world.set("far", |far| far.tools = said(&n.to_string()));
        agent.world.pass(HOUR);
        agent.names("tools/list", "tools", "name");
    }
    let bytes = agent.number("SELECT MAX(LENGTH(last)) FROM upstream_tool");
    assert_eq!(usize::try_from(bytes).unwrap(), limits::UPSTREAM_SEEN_MAX * 33 - 1);
}

/// What is said of a task in this state.
fn task(status: &str) -> serde_json::Value {
    json!({ "taskId": "t1", "status": status, "pollInterval": 2_000 })
}

/// A server of the handshake era with a tool that runs only as a task, and a call of it that has
/// begun.
fn with_task() -> (Agent, futures_util::future::LocalBoxFuture<'static, serde_json::Value>) {
    let agent = Agent::new(&[("far", json!({ "era": "handshake" }))]);
    agent.world.set("far", |far| {
        let mut slow = tool("slow");
        slow["execution"] = json!({ "taskSupport": "required" });
        far.tools = vec![slow];
        far.answers.insert("tools/call", json!({ "task": task("working") }));
        far.answers.insert("tasks/get", task("working"));
        far.answers.insert("tasks/result", json!({ "content": [], "isError": false }));
    });
    agent.names("tools/list", "tools", "name");
    agent.world.take();
    let mut call = agent.begin("tools/call", json!({ "name": "slow", "arguments": {} }));
    assert!((&mut call).now_or_never().is_none());
    assert_eq!(agent.world.take(), ["far tools/call slow"]);
    (agent, call)
}

#[test]
fn a_task_is_looked_at_until_it_is_over() {
    let (agent, mut call) = with_task();
    for _ in 0..100 {
        agent.world.still.pass(2_000);
        assert!((&mut call).now_or_never().is_none());
        assert_eq!(agent.world.take(), ["far tasks/get"], "and nothing is waited for in silence");
    }
    for (status, answer, member) in [
        ("completed", json!({ "content": [] }), "result"),
        ("failed", json!({ "error": { "code": -32603, "message": "no" } }), "error"),
    ] {
        let (agent, mut call) = with_task();
        agent.world.set("far", |far| {
            far.answers.insert("tasks/get", task(status));
            far.answers.insert("tasks/result", answer);
        });
        agent.world.still.pass(2_000);
        let said = (&mut call).now_or_never().expect("it is over");
        assert!(said.get(member).is_some(), "{said}");
        agent.world.still.turn();
        assert_eq!(agent.world.take(), ["far tasks/get", "far tasks/result"], "nothing is ended");
    }
}

#[test]
fn a_task_that_asks_or_cannot_be_looked_at_is_waited_for_as_long_as_the_call_may_take() {
    let first_byte_ms = shared::config::Bounds::default().first_byte_ms;
    for look in [task("input_required"), json!({ "error": { "code": -32601, "message": "no" } })] {
        let (agent, mut call) = with_task();
        agent.world.set("far", |far| {
            far.answers.insert("tasks/get", look);
            far.answers.insert("tasks/result", json!(null));
        });
        agent.world.still.pass(2_000);
        assert!((&mut call).now_or_never().is_none());
        assert_eq!(agent.world.take(), ["far tasks/get", "far tasks/result"]);
        agent.world.still.pass(first_byte_ms);
        assert!((&mut call).now_or_never().is_none(), "the call has longer");
        agent.world.still.pass(shared::config::Bounds::default().total_ms);
        let said = (&mut call).now_or_never().expect("it has had its time");
        assert!(said.to_string().contains("did not answer in time"), "{said}");
        agent.world.still.turn();
        let ended = ["far notifications/cancelled", "far tasks/cancel"];
        let mut asked = agent.world.take();
        asked.sort();
        assert_eq!(asked, ended, "it is ended there, too");
    }
}

#[test]
fn a_task_whose_call_has_had_its_time_is_ended() {
    let (agent, mut call) = with_task();
    agent.world.pass(shared::config::Bounds::default().total_ms.into());
    agent.world.still.pass(2_000);
    let said = (&mut call).now_or_never().expect("it has had its time");
    assert!(said.to_string().contains("did not answer in time"), "{said}");
    agent.world.still.turn();
    assert_eq!(agent.world.take(), ["far tasks/get", "far tasks/cancel"]);
    let (agent, call) = with_task();
    drop(call);
    agent.world.still.turn();
    assert_eq!(agent.world.take(), ["far tasks/cancel"], "nobody waits");
}

#[test]
fn a_tool_whose_headers_are_not_allowed_is_left_out() {
    let agent = Agent::new(&[("far", json!({}))]);
    let named = |tool: &str, headers: [&str; 2]| {
        let property = |header: &str| json!({ "type": "string", "x-mcp-header": header });
        let properties = json!({ "a": property(headers[0]), "b": property(headers[1]) });
        json!({ "name": tool, "inputSchema": { "type": "object", "properties": properties } })
    };
    agent.world.set("far", |far| {
        far.tools = vec![
            named("good", ["A", "B"]),
            named("odd", ["My Header", "B"]),
            named("twice", ["Region", "region"]),
        ];
    });
    let names = agent.names("tools/list", "tools", "name");
    let is_there = |name: &str| names.iter().any(|one| one == name);
    assert!(is_there("good") && !is_there("odd") && !is_there("twice"), "{names:?}");
    let logged = agent.world.logged.borrow();
    assert!(logged.contains(&"2 of the tools of far are left out".to_owned()), "{logged:?}");
}

#[test]
fn what_a_server_says_of_its_own_connection_is_not_said_of_the_clients() {
    let agent = Agent::new(&[("far", json!({}))]);
    agent.world.set("far", |far| {
        far.tools = vec![tool("echo")];
        far.prompts = vec![json!({ "name": "greet" })];
    });
    let complete = json!({ "ref": { "type": "ref/prompt", "name": "greet" },
        "argument": { "name": "a", "value": "b" } });
    agent.names("tools/list", "tools", "name");
    agent.names("prompts/list", "prompts", "name");
    for (code, passes) in [(-32601, false), (-32020, false), (-32022, false), (-32021, true)] {
        let error = json!({ "error": { "code": code, "message": "its own words" } });
        agent.world.set("far", |far| {
            for method in ["tools/call", "prompts/get", "completion/complete"] {
                far.answers.insert(method, error.clone());
            }
        });
        let call = json!({ "name": "echo", "arguments": {} });
        let said = agent.ask("tools/call", call).unwrap();
        assert!(said.to_string().contains("its own words"), "{said}");
        assert_eq!(said["result"]["isError"] == true, !passes, "{said}");
        let said = agent.ask("prompts/get", json!({ "name": "greet" })).unwrap();
        assert_eq!(said["error"]["message"], "its own words");
        assert_eq!(said["error"]["code"] == code, passes, "{said}");
        let said = agent.ask("completion/complete", complete.clone()).unwrap();
        assert_eq!(said["error"]["code"] == code, passes || code == -32601, "{said}");
    }
}
