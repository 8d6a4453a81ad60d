//! A server that wants to see its user's own token: had for each request, replaced once where it is
//! refused, asked for where there is none. It must not know how the router finds it.

use super::world::{Agent, tool};
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use shared::{database::Database as _, limits};

const LINK: &str = "https://here.test/connect/mine";

/// An Agent before a server that wants this token.
fn agent(wanted: &str) -> Agent {
    let agent = Agent::new(&[("far", json!({ "auth": { "credential": "mine" } }))]);
    agent.world.set("far", |far| {
        far.tools = vec![tool("echo")];
        far.wants = Some(wanted.to_owned());
    });
    agent
}

fn token(agent: &Agent, token: &str) {
    *agent.world.token.borrow_mut() = Some(token.to_owned());
}

fn call() -> Value {
    json!({ "name": "echo", "arguments": {} })
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{result}"))
}

/// Everything that the database holds, as one text.
fn stored(agent: &Agent) -> String {
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table'";
    let tables = agent.database.run(tables, &[]).unwrap();
    let rows = |table: &str| agent.database.run(&format!("SELECT * FROM {table}"), &[]).unwrap();
    tables.iter().map(|table| format!("{:?}", rows(table.text(0).unwrap()))).collect()
}

#[test]
fn each_request_carries_the_token_that_is_good_then() {
    let mut agent = agent("ONE");
    token(&agent, "ONE");
    agent.result("tools/call", call());
    token(&agent, "TWO");
    agent.world.set("far", |far| far.wants = Some("TWO".to_owned()));
    agent.result("tools/call", call());
    assert!(agent.world.asked.borrow().iter().all(Option::is_none), "nothing was refused");
    let text = stored(&agent);
    assert!(text.contains("echo") && !text.contains("ONE") && !text.contains("TWO"), "{text}");
    agent.evict();
    agent.result("tools/call", call());
}

#[test]
fn a_token_that_is_refused_is_replaced_once() {
    let agent = agent("ONE");
    token(&agent, "ONE");
    agent.result("tools/call", call());
    agent.world.take();
    agent.world.asked.borrow_mut().clear();
    // From here on it wants the next one.
    agent.world.set("far", |far| far.wants = Some("TWO".to_owned()));
    *agent.world.renewed.borrow_mut() = Some("TWO".to_owned());
    agent.result("tools/call", call());
    assert_eq!(agent.world.take(), ["far tools/call echo", "far tools/call echo"]);
    assert_eq!(*agent.world.asked.borrow(), [None, Some("id of ONE".to_owned())]);
    // One that refuses that as well is not asked a third time.
    agent.world.asked.borrow_mut().clear();
    agent.world.set("far", |far| far.wants = Some("FOUR".to_owned()));
    *agent.world.renewed.borrow_mut() = Some("THREE".to_owned());
    let result = agent.result("tools/call", call());
    assert_eq!(result["isError"], true, "{result}");
    assert!(text(&result).contains("refuses the credential"), "{result}");
    assert_eq!(agent.world.take(), ["far tools/call echo", "far tools/call echo"]);
    // Where there is no other, nothing is sent again.
    let result = agent.result("tools/call", call());
    assert_eq!(result["isError"], true, "{result}");
    assert_eq!(agent.world.take(), ["far tools/call echo"]);
}

#[test]
fn what_is_not_connected_is_said_with_a_link() {
    let agent = agent("ONE");
    let result = agent.result("tools/call", call());
    assert_eq!(result["isError"], true, "{result}");
    assert!(text(&result).contains(LINK) && text(&result).contains("`mine`"), "{result}");
    for method in ["tools/list", "prompts/list", "resources/list", "resources/templates/list"] {
        let listed = agent.result(method, json!({}));
        let missing = &listed["_meta"]["signalbox/missing"][0];
        assert_eq!(missing["toolset"], "far", "{method}: {listed}");
        assert!(missing["reason"].as_str().unwrap().contains(LINK), "{method}: {listed}");
    }
    assert_eq!(agent.world.take(), [""; 0], "nothing is sent without it");
    // Its tools are there as soon as it is, and nobody has given the server up meanwhile.
    token(&agent, "ONE");
    assert!(agent.names("tools/list", "tools", "name").contains(&"echo".to_owned()));
    // What is good no more is said to be.
    agent.world.set("far", |far| far.wants = Some("TWO".to_owned()));
    *agent.world.token.borrow_mut() = None;
    let result = agent.result("tools/call", call());
    assert!(text(&result).contains(LINK), "{result}");
}

/// Begins a call of a client that can open pages: the state with which it goes on.
fn asked(agent: &Agent) -> (Value, Value) {
    let mut result = agent.result("tools/call", call());
    assert_eq!(result["resultType"], "input_required", "{result}");
    let asked = &result["inputRequests"]["connect.mine"];
    assert_eq!(asked["method"], "elicitation/create", "{result}");
    assert_eq!((&asked["params"]["mode"], &asked["params"]["url"]), (&json!("url"), &json!(LINK)));
    (result["requestState"].take(), result)
}

fn answered(state: &Value, action: &str) -> Value {
    let mut params = call();
    params["requestState"] = state.clone();
    params["inputResponses"] = json!({ "connect.mine": { "action": action } });
    params
}

#[test]
fn a_client_that_can_open_pages_is_asked_in_the_middle_of_a_call() {
    let mut agent = agent("ONE");
    agent.capabilities = json!({ "elicitation": { "url": {} } });
    let (state, _) = asked(&agent);
    let mut call = agent.begin("tools/call", answered(&state, "accept"));
    assert!(call.as_mut().now_or_never().is_none(), "it waits for the user");
    agent.world.still.pass(limits::CONNECT_POLL_MS);
    assert!(call.as_mut().now_or_never().is_none());
    assert_eq!(agent.world.take(), [""; 0]);
    token(&agent, "ONE");
    agent.world.still.pass(limits::CONNECT_POLL_MS);
    let reply = call.now_or_never().expect("an answer");
    assert_eq!(reply["result"]["content"], json!([]), "{reply}");
    assert_eq!(agent.world.take().last().map(String::as_str), Some("far tools/call echo"));
}

#[test]
fn a_user_who_does_not_want_to_or_takes_too_long_is_told_where_to() {
    for action in ["decline", "cancel"] {
        let mut agent = agent("ONE");
        agent.capabilities = json!({ "elicitation": { "url": {} } });
        let (state, _) = asked(&agent);
        let result = agent.result("tools/call", answered(&state, action));
        assert_eq!(result["isError"], true, "{result}");
        assert!(text(&result).contains(LINK), "{result}");
    }
    let mut agent = agent("ONE");
    agent.capabilities = json!({ "elicitation": { "url": {} } });
    let (state, _) = asked(&agent);
    let mut call = agent.begin("tools/call", answered(&state, "accept"));
    assert!(call.as_mut().now_or_never().is_none());
    agent.world.pass(limits::CONNECT_WAIT_MS);
    agent.world.still.pass(limits::CONNECT_POLL_MS);
    let reply = call.now_or_never().expect("an answer");
    assert!(text(&reply["result"]).contains(LINK), "{reply}");
    // One that can only fill in forms is not asked to open a page.
    let mut plain = self::agent("ONE");
    plain.capabilities = json!({ "elicitation": {} });
    assert_eq!(plain.result("tools/call", self::call())["isError"], true);
}
