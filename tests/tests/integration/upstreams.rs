//! The servers that nobody here wrote, as they are before Signalbox is put in front of them: what
//! they do differently is what an upstream may do.

use serde_json::{Value, json};
use tests::{Response, Session, message, modern, post, remote::Upstream};

/// What a server does in a way of its own.
#[derive(Debug, PartialEq, Eq)]
struct Ways {
    /// Content type of its answers to a session.
    answers: &'static str,
    /// Whether the events of a stream have ids.
    has_ids: bool,
    /// Status of a request in a session that it does not know.
    unknown_session: u16,
    /// Status of the probe of a client that would speak 2026-07-28.
    discover: u16,
}

/// The message that answers a request, in either form.
fn answer(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{response:?}");
    match response.header("content-type") {
        Some("text/event-stream") => response.events().pop().expect("a message"),
        _ => response.json(),
    }
}

fn check(upstream: &Upstream, tool: &str, arguments: &Value, ways: &Ways) {
    let url = &upstream.url;
    let session = Session::begin(url, "none");
    let listed = session.request("tools/list", &json!({}));
    let tools = answer(&listed)["result"]["tools"].clone();
    assert!(tools.as_array().unwrap().iter().any(|t| t["name"] == tool), "{tools}");
    let called = session.request("tools/call", &json!({ "name": tool, "arguments": arguments }));
    let result = &answer(&called)["result"];
    assert!(result["content"][0]["text"].is_string() && result["isError"] != true, "{result}");
    let stranger = session.with_id("00000000-0000-0000-0000-000000000000");
    let probe = modern(url, "none", "server/discover", json!({}));
    let found = Ways {
        answers: match listed.header("content-type") {
            Some("text/event-stream") => "text/event-stream",
            _ => "application/json",
        },
        has_ids: listed.body.lines().any(|line| line.starts_with("id: ")),
        unknown_session: stranger.request("tools/list", &json!({})).status,
        discover: probe.status,
    };
    assert_eq!(&found, ways, "{}", upstream.log());
    // All of them listen, too.
    drop(session.listen(None));
}

#[test]
fn everything_answers_with_resumable_streams() {
    let upstream = Upstream::everything();
    let ways =
        Ways { answers: "text/event-stream", has_ids: true, unknown_session: 400, discover: 400 };
    check(&upstream, "echo", &json!({ "message": "hi" }), &ways);
}

#[test]
fn memory_answers_with_plain_streams() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::memory(folder.path());
    let ways =
        Ways { answers: "text/event-stream", has_ids: false, unknown_session: 404, discover: 404 };
    check(&upstream, "search_nodes", &json!({ "query": "nothing" }), &ways);
}

#[test]
fn memory_has_no_sessions_where_it_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::memory_without_sessions(folder.path());
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "plain", "version": "1" } });
    let begun = post(&upstream.url, "none", &[], &message("initialize", &params));
    assert_eq!(answer(&begun)["result"]["serverInfo"]["name"], "memory-server");
    assert_eq!(begun.header("mcp-session-id"), None);
    let call = json!({ "name": "read_graph", "arguments": {} });
    let called = post(&upstream.url, "none", &[], &message("tools/call", &call));
    assert_eq!(answer(&called)["result"]["structuredContent"]["entities"], json!([]));
    let listen = [("accept", "text/event-stream")];
    assert_eq!(tests::send("GET", &upstream.url, &listen, None).status, 405);
}

#[test]
fn time_answers_with_json() {
    let upstream = Upstream::time();
    let ways =
        Ways { answers: "application/json", has_ids: false, unknown_session: 404, discover: 400 };
    check(&upstream, "get_current_time", &json!({ "timezone": "UTC" }), &ways);
}

#[test]
fn modern_time_speaks_both_eras() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::modern_time(folder.path());
    let ways =
        Ways { answers: "text/event-stream", has_ids: false, unknown_session: 404, discover: 200 };
    check(&upstream, "get_current_time", &json!({ "timezone": "UTC" }), &ways);
    let call = json!({ "name": "get_current_time", "arguments": { "timezone": "UTC" } });
    let called = answer(&modern(&upstream.url, "none", "tools/call", call));
    assert_eq!(called["result"]["resultType"], "complete");
    assert_eq!(called["result"]["structuredContent"]["timezone"], "UTC");
}
