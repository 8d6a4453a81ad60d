//! Progress and logs before the result, as an event stream; one JSON body where nothing precedes it.

use crate::fresh;
use serde_json::json;
use tests::{Bundle, Response, Session, message, modern, post};

fn methods(response: &Response) -> Vec<String> {
    assert_eq!(response.header("content-type"), Some("text/event-stream"), "{response:?}");
    assert_eq!(response.header("x-accel-buffering"), Some("no"));
    let kind = |event: &serde_json::Value| match event["method"].as_str() {
        Some(method) => method.to_owned(),
        None => format!("result {}", event["id"]),
    };
    response.events().iter().map(kind).collect()
}

const PROGRESS: &str = "notifications/progress";
const LOG: &str = "notifications/message";

#[test]
fn what_is_said_first_comes_first() {
    let (server, _state) = fresh(Bundle::Fixture);
    let url = server.url("/mcp/acme");
    let session = Session::begin(&url, "key-a");
    // Without a token there is no progress, and so no stream.
    let plain = session.request("tools/call", &json!({ "name": "test_tool_with_progress" }));
    assert_eq!(plain.header("content-type"), Some("application/json"));
    let params = json!({ "name": "test_tool_with_progress", "_meta": { "progressToken": "p1" } });
    let progress = session.request("tools/call", &params);
    assert_eq!(methods(&progress), [PROGRESS, PROGRESS, PROGRESS, "result 1"]);
    let events = progress.events();
    let values: Vec<_> = events.iter().map(|e| e["params"]["progress"].as_f64()).collect();
    assert_eq!(values, [Some(0.0), Some(50.0), Some(100.0), None]);
    assert_eq!(events[0]["params"]["progressToken"], "p1");
}

#[test]
fn logs_are_gated_by_level_in_both_eras() {
    let (server, _state) = fresh(Bundle::Fixture);
    let url = server.url("/mcp/acme");
    let session = Session::begin(&url, "key-a");
    let call = json!({ "name": "test_tool_with_logging" });
    let log = || session.request("tools/call", &call);
    assert_eq!(methods(&log()), [LOG, LOG, LOG, "result 1"]);
    let set = |level: &str| {
        let answer = session.request("logging/setLevel", &json!({ "level": level }));
        assert_eq!(answer.json()["result"], json!({}));
    };
    set("error");
    assert_eq!(log().header("content-type"), Some("application/json"));
    set("debug");
    assert_eq!(methods(&log()).len(), 4);
    // The modern era logs only for a request that asks for it.
    let quiet = modern(&url, "key-a", "tools/call", call.clone());
    assert_eq!(quiet.header("content-type"), Some("application/json"));
    let mut params = call;
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/logLevel": "info",
    });
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "test_tool_with_logging"),
    ];
    let loud = post(&url, "key-a", &headers, &message("tools/call", &params));
    assert_eq!(methods(&loud), [LOG, LOG, LOG, "result 1"]);
}
