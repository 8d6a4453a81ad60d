//! The letter of the revisions, where widely used servers leave it: a test for each point. What is
//! tested at length elsewhere is named there.

use crate::fresh;
use serde_json::{Value, json};
use tests::{Bundle, Session, message, modern, post, send};

fn code(response: &tests::Response) -> (u16, i64) {
    let code = response.json()["error"]["code"].as_i64();
    (response.status, code.unwrap_or_else(|| panic!("no error: {response:?}")))
}

/// 2025-03-26, basic: servers must take batches. (At length: `streams`.)
#[test]
fn batches_are_taken_in_the_revision_that_has_them() {
    let (server, _state) = fresh(Bundle::Release);
    let url = server.url("/mcp");
    let batch = format!("[{}]", message("ping", &json!({})));
    let status =
        |revision| Session::begin_as(&url, "key-a", revision, &json!({})).post(&batch).status;
    assert_eq!(status("2025-03-26"), 200);
    assert_eq!(status("2025-06-18"), 400);
    assert_eq!(status("2025-11-25"), 400);
}

/// JSON-RPC 2.0 and MCP, basic: what is no message is an error of JSON-RPC, not of HTTP alone.
#[test]
fn what_is_no_message_is_answered_in_json_rpc() {
    let (server, _state) = fresh(Bundle::Release);
    let session = Session::begin(&server.url("/mcp"), "key-a");
    for (body, expected) in [
        ("{", -32700),
        ("", -32700),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, -32600),
    ] {
        let response = session.post(body);
        assert_eq!(code(&response), (400, expected), "{body}");
        assert_eq!(response.header("content-type"), Some("application/json"));
    }
}

/// A known method with parameters that do not fit is not an unknown method.
#[test]
fn parameters_that_do_not_fit_are_invalid_parameters() {
    let (server, _state) = fresh(Bundle::Release);
    let url = server.url("/mcp");
    let session = Session::begin(&url, "key-a");
    for (method, params) in [
        ("tools/call", json!({ "name": 5 })),
        ("tools/call", json!({})),
        ("resources/read", json!({ "uri": [] })),
        ("prompts/get", json!({ "name": "briefing", "arguments": 7 })),
        ("completion/complete", json!({ "ref": {}, "argument": {} })),
        ("resources/subscribe", json!({ "uri": 5 })),
    ] {
        assert_eq!(code(&session.request(method, &params)), (200, -32602), "{method} {params}");
    }
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {} });
    let body = message("tools/call", &json!({ "name": 5, "_meta": meta }));
    let headers =
        [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "5")];
    assert_eq!(code(&post(&url, "key-a", &headers, &body)).1, -32602);
}

/// All revisions, transports: servers must validate `Origin`, whatever `Host` says.
#[test]
fn a_foreign_origin_is_refused_whatever_the_host() {
    let (server, _state) = fresh(Bundle::Release);
    let url = server.url("/mcp");
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost.evil"] {
        let ping = message("ping", &json!({}));
        let response = post(&url, "key-a", &[("origin", origin)], &ping);
        assert_eq!(response.status, 403, "{origin}");
    }
}

/// All revisions since 2025-03-26, session management: an ended or unknown session is 404.
#[test]
fn an_unknown_session_cannot_be_ended() {
    let (server, _state) = fresh(Bundle::Release);
    let session = Session::begin(&server.url("/mcp"), "key-a");
    assert_eq!(session.with_id("unknown").end().status, 404);
    assert_eq!(session.end().status, 204);
    assert_eq!(session.end().status, 404);
    let listen = [
        ("authorization", "Bearer key-a"),
        ("accept", "text/event-stream"),
        ("mcp-session-id", session.id.as_str()),
    ];
    assert_eq!(send("GET", &server.url("/mcp"), &listen, None).status, 404);
    assert_eq!(send("GET", &server.url("/mcp"), &listen[..2], None).status, 400);
}

/// All revisions since 2025-03-26, resumability: ids are unique in a session, over all streams.
#[test]
fn no_two_streams_of_a_session_begin_with_the_same_id() {
    let (server, _state) = fresh(Bundle::Fixture);
    let session = Session::begin(&server.url("/mcp"), "key-a");
    let call = json!({ "name": "test_tool_with_progress", "_meta": { "progressToken": 1 } });
    let first = |mut events: tests::Events| events.next().and_then(|event| event.id).unwrap();
    let ids = [
        first(session.listen(None)),
        first(session.listen(None)),
        first(session.stream(1, "tools/call", &call)),
        first(session.stream(2, "tools/call", &call)),
    ];
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "{ids:?}");
}

/// Lifecycle: a session is initialized once. JSON-RPC: an id that is in use is not used again.
#[test]
fn a_session_begins_once_and_an_id_is_used_once_at_a_time() {
    let (server, _state) = fresh(Bundle::Fixture);
    let url = server.url("/mcp");
    let session = Session::begin_as(&url, "key-a", "2025-11-25", &json!({ "elicitation": {} }));
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "c", "version": "1" } });
    assert_eq!(code(&session.request("initialize", &params)), (400, -32600));
    let asks = json!({ "name": "test_elicitation", "arguments": { "message": "?" } });
    let mut events = session.stream(1, "tools/call", &asks);
    let _ = events.message();
    assert_eq!(code(&session.request("tools/list", &json!({}))), (400, -32600));
}

/// 2026-07-28, transports: integers of `Mcp-Param-*` are compared as numbers.
#[test]
fn mirrored_parameters_are_compared_by_value() {
    let (server, _state) = fresh(Bundle::Fixture);
    let url = server.url("/mcp");
    let tools = modern(&url, "key-a", "tools/list", json!({})).json();
    let tools = tools["result"]["tools"].as_array().unwrap().clone();
    let mirrored = |kind: &str| {
        tools.iter().find_map(|tool| {
            let properties = tool["inputSchema"]["properties"].as_object()?;
            let found = properties.iter().find(|(_, property)| {
                property["x-mcp-header"].is_string() && property["type"] == kind
            });
            let (name, property) = found?;
            let header = property["x-mcp-header"].as_str()?.to_lowercase();
            Some((tool["name"].as_str()?.to_owned(), name.clone(), format!("mcp-param-{header}")))
        })
    };
    let (tool, parameter, header) = mirrored("integer").expect("a tool that mirrors an integer");
    let call = |value: &Value, headers: &[(&str, &str)]| {
        let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {} });
        let arguments = json!({ &parameter: value });
        let params = json!({ "name": tool, "arguments": arguments, "_meta": meta });
        let mut all = vec![
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", tool.as_str()),
        ];
        all.extend_from_slice(headers);
        post(&url, "key-a", &all, &message("tools/call", &params))
    };
    assert_eq!(call(&json!(42), &[(&header, "42")]).status, 200);
    assert_eq!(call(&json!(42), &[(&header, "42.0")]).status, 200);
    assert_eq!(call(&json!(42.0), &[(&header, "42")]).status, 200);
    assert_eq!(code(&call(&json!(42), &[(&header, "43")])), (400, -32020));
    assert_eq!(code(&call(&json!(42), &[(&header, "x")])), (400, -32020));
    assert_eq!(code(&call(&json!(42), &[])), (400, -32020));
    assert_eq!(code(&call(&json!(42), &[(&header, "42"), (&header, "42")])), (400, -32020));
}

/// 2026-07-28: the header rules are those of requests. A notification without them is taken.
#[test]
fn a_notification_of_the_modern_era_needs_no_method_header() {
    let (server, _state) = fresh(Bundle::Release);
    let url = server.url("/mcp");
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled" }).to_string();
    let modern = [("mcp-protocol-version", "2026-07-28")];
    assert_eq!(post(&url, "key-a", &modern, &note).status, 202);
}

/// A request that says 2025-11-25 is of the handshake era, however much of the modern `_meta` it
/// carries: without a session it is refused, and nothing modern leaks into an answer.
#[test]
fn the_revision_decides_the_era_and_not_the_form() {
    let (server, _state) = fresh(Bundle::Release);
    let url = server.url("/mcp");
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2025-11-25",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "c", "version": "1" } });
    let list = message("tools/list", &json!({ "_meta": meta }));
    let headers = [("mcp-protocol-version", "2025-11-25"), ("mcp-method", "tools/list")];
    assert_eq!(code(&post(&url, "key-a", &headers, &list)), (400, -32600));
    let answer = Session::begin(&url, "key-a").post(&list).json();
    for modern in ["ttlMs", "cacheScope", "resultType"] {
        assert!(answer["result"].get(modern).is_none(), "{modern} in {answer}");
    }
}

/// Browsers ask first, and read only what they are allowed to. (At length: `streams`.)
#[test]
fn the_endpoints_own_pages_may_use_it() {
    let (server, _state) = fresh(Bundle::Release);
    let url = server.url("/mcp");
    let own = server.origin.clone();
    let ask = [("origin", own.as_str()), ("access-control-request-method", "POST")];
    assert_eq!(send("OPTIONS", &url, &ask, None).status, 204);
    assert_eq!(send("OPTIONS", &url, &ask[1..], None).status, 405);
}

/// 2025-11-25, transports: a server may end a stream before its reply. (At length: `streams`.)
#[test]
fn a_handler_can_end_its_stream_and_go_on() {
    let (server, _state) = fresh(Bundle::Fixture);
    let session = Session::begin(&server.url("/mcp"), "key-a");
    let call = json!({ "name": "test_reconnection" });
    let events: Vec<_> = session.stream(1, "tools/call", &call).collect();
    assert!(events.iter().all(|event| event.data.is_empty()), "the reply comes later: {events:?}");
    let last = events.iter().rev().find_map(|event| event.id.clone()).expect("an id");
    assert_eq!(session.listen(Some(&last)).message().1["id"], 1);
}
