//! Streams that outlive a connection, requests that a call makes of its client, and changes that
//! others hear of: the bundle on workerd, with connections that really break.

use crate::fresh;
use serde_json::{Value, json};
use tests::{Bundle, Events, Server, Session, message, modern, modern_call, open, post, send};

const PROGRESS: &str = "test_tool_with_progress";

fn with_token(tool: &str) -> Value {
    json!({ "name": tool, "_meta": { "progressToken": "p" } })
}

/// What a stream has still to say, each message in one word: its progress or the id it answers.
fn words(events: Events) -> Vec<String> {
    let messages = events.filter(|event| !event.data.is_empty()).map(|event| event.json());
    messages.map(|message| word(&message)).collect()
}

fn word(message: &Value) -> String {
    match message["params"]["progress"].as_f64() {
        Some(progress) => progress.to_string(),
        None => format!("id {}", message["id"]),
    }
}

#[test]
fn a_client_that_lost_its_connection_has_every_message_once() {
    let (server, _state) = fresh(Bundle::Fixture);
    for revision in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let url = server.url("/mcp/acme");
        let session = Session::begin_as(&url, "key-a", revision, &json!({}));
        let mut first = session.stream(7, "tools/call", &with_token(PROGRESS));
        let (id, message) = first.message();
        assert_eq!(word(&message), "0");
        // The call goes on: a disconnect is no cancellation.
        drop(first);
        let rest = words(session.listen(id.as_deref()));
        assert_eq!(rest, ["50", "100", "id 7"], "{revision}");
        // It can be asked for again, from any place.
        assert_eq!(words(session.listen(id.as_deref())), rest);
    }
}

#[test]
fn a_stream_is_there_after_the_server_was_killed() {
    let state = tempfile::tempdir().unwrap();
    let server = Server::start(Bundle::Fixture, state.path(), crate::KEYS, None);
    let elicits = json!({ "elicitation": {} });
    let url = server.url("/mcp/acme");
    let session = Session::begin_as(&url, "key-a", "2025-11-25", &elicits);
    let mut done = session.stream(7, "tools/call", &with_token(PROGRESS));
    let (id, _) = done.message();
    assert_eq!(words(done).last().map(String::as_str), Some("id 7"));
    let asks = json!({ "name": "test_elicitation", "arguments": { "message": "who?" } });
    let mut open = session.stream(8, "tools/call", &asks);
    let (asked, _) = open.message();
    server.kill();
    drop(open);
    let server = Server::start(Bundle::Fixture, state.path(), crate::KEYS, None);
    let session = session.at(&server.url("/mcp/acme"));
    assert_eq!(words(session.listen(id.as_deref())), ["50", "100", "id 7"]);
    // What was running is lost, and says so.
    let (_, lost) = session.listen(asked.as_deref()).message();
    assert_eq!(lost["id"], 8);
    assert!(lost["error"]["message"].as_str().unwrap().contains("interrupted"), "{lost}");
}

#[test]
fn every_event_names_its_stream_and_no_other_session_reads_it() {
    let (server, _state) = fresh(Bundle::Fixture);
    let url = server.url("/mcp/acme");
    let session = Session::begin(&url, "key-a");
    let mut ids = std::collections::BTreeSet::new();
    let mut last = String::new();
    for n in 0..3 {
        let events = session.stream(n, "tools/call", &with_token(PROGRESS));
        for event in events {
            let id = event.id.expect("an id");
            assert!(ids.insert(id.clone()), "{id} twice");
            last = id;
        }
    }
    assert_eq!(ids.len(), 3 * 5, "a priming event, three of progress and the reply of each");
    let others = [Session::begin(&url, "key-a"), Session::begin(&url, "key-b")];
    for other in &others {
        let headers = [
            (
                "authorization",
                if other.id == others[0].id { "Bearer key-a" } else { "Bearer key-b" },
            ),
            ("accept", "text/event-stream"),
            ("mcp-session-id", other.id.as_str()),
            ("last-event-id", last.as_str()),
        ];
        assert_eq!(send("GET", &url, &headers, None).status, 400);
    }
}

#[test]
fn a_stream_that_the_server_ends_goes_on_where_the_client_comes_back() {
    let (server, _state) = fresh(Bundle::Fixture);
    let session = Session::begin(&server.url("/mcp/acme"), "key-a");
    let call = json!({ "name": "test_reconnection" });
    let events: Vec<_> = session.stream(7, "tools/call", &call).collect();
    assert_eq!(events[0].data, "", "a priming event comes first");
    let retry = events.iter().find_map(|event| event.retry);
    assert!(retry.is_some_and(|ms| ms <= 1000), "{events:?}");
    let last = events.iter().rev().find_map(|event| event.id.clone());
    assert_eq!(words(session.listen(last.as_deref())), ["id 7"]);
}

#[test]
fn a_client_is_asked_in_the_middle_of_a_call() {
    let (server, _state) = fresh(Bundle::Fixture);
    let url = server.url("/mcp/acme");
    let capabilities = json!({ "elicitation": {}, "sampling": {} });
    let session = Session::begin_as(&url, "key-a", "2025-11-25", &capabilities);
    let other = Session::begin_as(&url, "key-a", "2025-11-25", &capabilities);
    let asks = json!({ "name": "test_elicitation", "arguments": { "message": "who?" } });
    // Two at once: their questions have ids of their own.
    let mut one = session.stream(7, "tools/call", &asks);
    let mut two = session.stream(8, "tools/call", &asks);
    let (question, again) = (one.message().1, two.message().1);
    assert_eq!(question["method"], "elicitation/create");
    assert_ne!(question["id"], again["id"]);
    let answer = |id: &Value, name: &str| {
        let content = json!({ "username": name, "email": "a@b.example" });
        json!({ "jsonrpc": "2.0", "id": id, "result": { "action": "accept", "content": content } })
            .to_string()
    };
    // An answer from another session reaches nobody.
    assert_eq!(other.post(&answer(&question["id"], "mallory")).status, 202);
    assert_eq!(session.post(&answer(&again["id"], "bob")).status, 202);
    assert_eq!(session.post(&answer(&question["id"], "alice")).status, 202);
    for (events, id, name) in [(&mut one, 7, "alice"), (&mut two, 8, "bob")] {
        let (_, reply) = events.message();
        assert_eq!(reply["id"], id);
        assert!(reply["result"].to_string().contains(name), "{reply}");
        assert!(events.next().is_none());
    }
    // One that comes too late is no mistake.
    assert_eq!(session.post(&answer(&question["id"], "late")).status, 202);
}

#[test]
fn a_client_that_cannot_be_asked_is_told_so() {
    let (server, _state) = fresh(Bundle::Fixture);
    let session = Session::begin(&server.url("/mcp/acme"), "key-a");
    let asks = json!({ "name": "test_elicitation", "arguments": { "message": "who?" } });
    let reply = session.request("tools/call", &asks).json();
    assert!(reply["error"].is_object() || reply["result"]["isError"] == true, "{reply}");
}

#[test]
fn a_cancelled_call_stops_and_its_stream_ends_without_a_reply() {
    let (server, _state) = fresh(Bundle::Fixture);
    let elicits = json!({ "elicitation": {} });
    let url = server.url("/mcp/acme");
    let session = Session::begin_as(&url, "key-a", "2025-11-25", &elicits);
    let asks = json!({ "name": "test_elicitation", "arguments": { "message": "who?" } });
    let mut events = session.stream(7, "tools/call", &asks);
    let _ = events.message();
    // Its id is in use as long as it runs.
    let again = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/list" }).to_string();
    assert_eq!(session.post(&again).status, 400);
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": { "requestId": 7, "reason": "enough" } });
    assert_eq!(session.post(&cancel.to_string()).status, 202);
    assert!(events.all(|event| event.data.is_empty()), "nothing follows");
    assert_eq!(session.post(&again).status, 200);
    // The end of a session is the end of its calls.
    let mut events = session.stream(8, "tools/call", &asks);
    let _ = events.message();
    let mut listening = session.listen(None);
    assert_eq!(session.end().status, 204);
    assert!(events.all(|event| event.data.is_empty()));
    assert!(listening.all(|event| event.data.is_empty()));
}

#[test]
fn a_change_reaches_every_client_that_may_see_it_once() {
    let (server, _state) = fresh(Bundle::Release);
    let (acme, web) = (server.url("/mcp/acme"), server.url("/mcp/acme/web"));
    let changer = Session::begin(&acme, "key-a");
    let hearer = Session::begin(&acme, "key-a");
    let narrower = Session::begin(&web, "key-a");
    let stranger = Session::begin(&acme, "key-b");
    let listen = |session: &Session| {
        let mut events = session.listen(None);
        // It is open once it has said something.
        assert_eq!(events.next().expect("a priming event").data, "");
        events
    };
    let _dead = listen(&hearer);
    let (mut heard, mut below, mut strange) =
        (listen(&hearer), listen(&narrower), listen(&stranger));
    let method = |events: &mut Events| events.message().1["method"].clone();
    let _ = changer.call("remember", &json!({ "text": "one" }));
    assert_eq!(method(&mut heard), "notifications/resources/list_changed");
    // What every context has changed is told in every context.
    let _ = narrower.call("remember", &json!({ "text": "two", "shared": true }));
    assert_eq!(method(&mut heard), "notifications/resources/list_changed");
    assert_eq!(method(&mut below), "notifications/resources/list_changed");
    let _ = stranger.call("remember", &json!({ "text": "three" }));
    let (_, first) = strange.message();
    assert_eq!(first["method"], "notifications/resources/list_changed");
    // Nobody heard anything else: what comes next is the next change of each.
    let _ = changer.call("remember", &json!({ "text": "four" }));
    assert_eq!(method(&mut heard), "notifications/resources/list_changed");
    assert_eq!(changer.end().status, 204);
    for (session, mut events) in [(hearer, heard), (narrower, below), (stranger, strange)] {
        assert_eq!(session.end().status, 204);
        assert_eq!(events.find(|event| !event.data.is_empty()), None);
    }
}

#[test]
fn a_session_hears_of_the_resources_that_it_subscribed_to() {
    let (server, _state) = fresh(Bundle::Release);
    let session = Session::begin(&server.url("/mcp/acme"), "key-a");
    let note = session.call("remember", &json!({ "text": "one" }));
    let uri = note["uri"].clone();
    let id = note["id"].clone();
    let subscribed = session.request("resources/subscribe", &json!({ "uri": uri }));
    assert_eq!(subscribed.json()["result"], json!({}));
    let mut events = session.listen(None);
    assert_eq!(events.next().unwrap().data, "");
    let _ = session.call("remember", &json!({ "id": id, "text": "two" }));
    let mut methods = Vec::new();
    while methods.last() != Some(&json!("notifications/resources/updated")) {
        let (_, message) = events.message();
        methods.push(message["method"].clone());
        if message["method"] == "notifications/resources/updated" {
            assert_eq!(message["params"]["uri"], uri);
        }
    }
}

#[test]
fn a_stream_of_the_modern_era_hears_what_it_asked_for() {
    let (server, _state) = fresh(Bundle::Fixture);
    let url = server.url("/mcp/acme");
    let listen = |filter: &Value| {
        let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {} });
        let params = json!({ "_meta": meta, "notifications": filter });
        let headers = [
            ("authorization", "Bearer key-a"),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "subscriptions/listen"),
        ];
        let body = message("subscriptions/listen", &params).into_bytes();
        let mut events = open("POST", &url, &headers, Some(body));
        let (id, first) = events.message();
        assert_eq!(
            (id, &first["method"]),
            (None, &json!("notifications/subscriptions/acknowledged"))
        );
        assert_eq!(&first["params"]["notifications"], filter);
        events
    };
    let mut tools = listen(&json!({ "toolsListChanged": true }));
    let mut prompts = listen(&json!({ "promptsListChanged": true }));
    let call = |tool| modern(&url, "key-a", "tools/call", json!({ "name": tool }));
    assert_eq!(call("test_trigger_tool_change").status, 200);
    assert_eq!(call("test_trigger_prompt_change").status, 200);
    assert_eq!(call("test_trigger_tool_change").status, 200);
    for (events, expected) in [(&mut tools, ["tools", "tools"]), (&mut prompts, ["prompts", ""])] {
        for what in expected.into_iter().filter(|what| !what.is_empty()) {
            let (_, message) = events.message();
            assert_eq!(message["method"], format!("notifications/{what}/list_changed"));
            let id = &message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"];
            assert_eq!(id, &json!(1));
        }
    }
}

#[test]
fn a_batch_is_answered_together() {
    let (server, _state) = fresh(Bundle::Fixture);
    let url = server.url("/mcp/acme");
    let session = Session::begin_as(&url, "key-a", "2025-03-26", &json!({}));
    let item = |id: u64, method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    let batch = json!([
        item(1, "ping", json!({})),
        item(2, "tools/call", json!({ "name": "test_simple_text" })),
        item(3, "no/such", json!({})),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "id": 1.5, "method": "ping" }),
    ]);
    let response = session.post(&batch.to_string());
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
    let answers = response.json();
    let ids: Vec<_> = answers.as_array().unwrap().iter().map(|a| a["id"].clone()).collect();
    assert_eq!(ids, [json!(1), json!(2), json!(3), Value::Null]);
    assert_eq!(answers[1]["result"]["isError"], false);
    assert_eq!(answers[2]["error"]["code"], -32601);
    assert_eq!(answers[3]["error"]["code"], -32600);
    let quiet = json!([{ "jsonrpc": "2.0", "method": "notifications/initialized" }]);
    assert_eq!(session.post(&quiet.to_string()).status, 202);
    // With something to say before a result it is a stream.
    let batch = json!([
        item(4, "ping", json!({})),
        item(5, "tools/call", with_token(PROGRESS)),
        item(6, "tools/call", with_token(PROGRESS)),
    ]);
    let response = session.post(&batch.to_string());
    let mut said: Vec<_> = response.events().iter().map(word).collect();
    said.sort();
    assert_eq!(said, ["0", "0", "100", "100", "50", "50", "id 4", "id 5", "id 6"]);
    // Newer revisions have none.
    let newer = Session::begin(&url, "key-a");
    assert_eq!(newer.post(&json!([item(7, "ping", json!({}))]).to_string()).status, 400);
}

#[test]
fn the_oldest_transport_is_fenced_like_the_rest() {
    let (server, _state) = fresh(Bundle::Fixture);
    let headers = [("authorization", "Bearer key-a"), ("accept", "text/event-stream")];
    let mut events = open("GET", &server.url("/sse/acme/web"), &headers, None);
    let endpoint = events.next().expect("the endpoint");
    assert_eq!(endpoint.name, "endpoint");
    assert!(endpoint.data.starts_with("/messages/acme/web?sessionId="), "{endpoint:?}");
    let say = |path: &str, key: &str, body: &Value| {
        post(&server.url(path), key, &[], &body.to_string()).status
    };
    let at = endpoint.data.as_str();
    let request = |id: u64, method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    let client = json!({ "protocolVersion": "2024-11-05", "capabilities": {},
        "clientInfo": { "name": "c", "version": "1" } });
    assert_eq!(say(at, "key-a", &request(0, "initialize", client)), 202);
    let (id, reply) = events.message();
    assert_eq!((id, &reply["result"]["protocolVersion"]), (None, &json!("2024-11-05")));
    assert_eq!(say(at, "key-a", &request(1, "tools/list", json!({}))), 202);
    let list = events.message().1["result"]["tools"].to_string();
    assert!(list.contains("test_simple_text") && !list.contains("organizationSlug"), "{list}");
    assert_eq!(say(at, "key-a", &request(2, "tools/call", with_token(PROGRESS))), 202);
    let said: Vec<_> = (0..4).map(|_| word(&events.message().1)).collect();
    assert_eq!(said, ["0", "50", "100", "id 2"]);
    // Of another user, and at another scope.
    let ping = request(3, "ping", json!({}));
    assert_eq!(say(at, "key-b", &ping), 404);
    assert_eq!(say(&at.replace("/web", ""), "key-a", &ping), 404);
    assert_eq!(send("POST", &server.url("/sse/acme"), &headers, None).status, 405);
    assert_eq!(say(at, "key-a", &ping), 202);
    assert_eq!(word(&events.message().1), "id 3");
}

#[test]
fn pages_of_allowed_origins_may_use_it() {
    let state = tempfile::tempdir().unwrap();
    let page = "https://page.example";
    let server = Server::start_with(
        Bundle::Release,
        state.path(),
        crate::KEYS,
        &[("ALLOWED_ORIGINS", page)],
    );
    let url = server.url("/mcp/acme");
    let ask = |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type,mcp-session-id,x-no"),
        ];
        send("OPTIONS", &url, &headers, None)
    };
    let allowed = ask(page);
    assert_eq!(allowed.status, 204);
    assert_eq!(allowed.header("access-control-allow-origin"), Some(page));
    assert_eq!(
        allowed.header("access-control-allow-headers"),
        Some("authorization, content-type, mcp-session-id")
    );
    assert_eq!(ask("https://evil.example").status, 403);
    assert_eq!(ask("https://evil.example").header("access-control-allow-origin"), None);
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "page", "version": "1" } });
    let begun = post(&url, "key-a", &[("origin", page)], &message("initialize", &params));
    assert_eq!(begun.header("access-control-allow-origin"), Some(page));
    let exposed = begun.header("access-control-expose-headers").unwrap();
    assert!(
        exposed.contains("Mcp-Session-Id") && exposed.contains("WWW-Authenticate"),
        "{exposed}"
    );
    assert!(begun.header("mcp-session-id").is_some());
    // A page learns why it is refused, too.
    let refused = post(&url, "wrong", &[("origin", page)], &message("initialize", &params));
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("access-control-allow-origin"), Some(page));
}

/// How many calls of `test_wait` are at work in a context, once it is what is expected. A call
/// that is noticed to be gone is so within two signs of life.
#[track_caller]
fn waits_for(url: &str, expected: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(12);
    loop {
        let answer = modern(url, "key-a", "tools/call", json!({ "name": "test_waiting" })).json();
        let count = answer["result"]["content"][0]["text"].clone();
        if count == expected {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{count} at work, not {expected}");
    }
}

#[test]
fn a_call_of_the_modern_era_stops_when_its_client_goes() {
    let (server, _state) = fresh(Bundle::Fixture);
    let url = server.url("/mcp/acme");
    let call = || modern_call(&url, "key-a", "plain", "test_wait");
    // Silent for a second, it is answered with a stream: only so can the client be seen to go.
    let (one, two) = (call(), call());
    waits_for(&url, "2");
    drop(one);
    waits_for(&url, "1");
    drop(two);
    waits_for(&url, "0");
}

#[test]
fn a_call_of_a_session_stops_when_it_is_cancelled_and_not_before() {
    let (server, _state) = fresh(Bundle::Fixture);
    let url = server.url("/mcp/acme");
    let session = Session::begin(&url, "key-a");
    let mut events = session.stream(7, "tools/call", &json!({ "name": "test_wait" }));
    let primed = events.next().and_then(|event| event.id).expect("a priming event");
    waits_for(&url, "1");
    drop(events);
    // The client is away and comes back; the work has gone on.
    let resumed = session.listen(Some(&primed));
    waits_for(&url, "1");
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": { "requestId": 7 } });
    assert_eq!(session.post(&cancel.to_string()).status, 202);
    waits_for(&url, "0");
    assert!(words(resumed).is_empty(), "no reply follows a cancellation");
}
