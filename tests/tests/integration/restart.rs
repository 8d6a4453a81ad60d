//! A server that is killed in the middle of a conversation.

use serde_json::json;
use tests::{Bundle, Server, Session};

#[test]
fn the_same_session_goes_on_and_notes_are_there() {
    let state = tempfile::tempdir().unwrap();
    let server = Server::start(Bundle::Release, state.path(), crate::KEYS, None);
    let session = Session::begin(&server.url("/mcp/acme"), "key-a");
    let ended = Session::begin(&server.url("/mcp/acme"), "key-a");
    assert_eq!(ended.end().status, 204);
    let _ = session.call("remember", &json!({ "text": "before the cut" }));
    let _ = session.call("remember", &json!({ "text": "shared before", "shared": true }));
    let level = json!({ "level": "error" });
    assert_eq!(session.request("logging/setLevel", &level).json()["result"], json!({}));
    server.kill();
    let server = Server::start(Bundle::Release, state.path(), crate::KEYS, None);
    let session = session.at(&server.url("/mcp/acme"));
    let notes = session.call("list_memories", &json!({}))["notes"].clone();
    let texts: Vec<_> = notes.as_array().unwrap().iter().map(|n| n["text"].clone()).collect();
    assert_eq!(texts, [json!("shared before"), json!("before the cut")]);
    let _ = session.call("remember", &json!({ "text": "after the cut" }));
    assert_eq!(
        session.call("recall", &json!({ "query": "cut" }))["notes"].as_array().unwrap().len(),
        2
    );
    // What was refused before is refused now.
    let list = |session: &Session| session.request("tools/list", &json!({})).status;
    assert_eq!(list(&ended.at(&server.url("/mcp/acme"))), 404);
    assert_eq!(list(&session.with_key("key-b")), 404);
    assert_eq!(list(&session.at(&server.url("/mcp"))), 404);
    assert_eq!(session.end().status, 204);
}
