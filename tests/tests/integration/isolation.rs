//! Users, scopes and names that must not meet.

use serde_json::{Value, json};
use std::thread;
use tests::{Bundle, Server, Session};

/// Everything that a context shows: notes, resources and what a search finds.
fn everything(session: &Session) -> String {
    let list = session.call("list_memories", &json!({ "limit": 50 }));
    let found = session.call("recall", &json!({ "query": "secret", "limit": 50 }));
    let resources = session.request("resources/list", &json!({})).body;
    let briefing = session.request("prompts/get", &json!({ "name": "briefing" })).body;
    format!("{list}{found}{resources}{briefing}")
}

#[test]
fn no_note_is_ever_seen_elsewhere() {
    const PATHS: [&str; 4] = ["/mcp", "/mcp/acme", "/mcp/acme/web", "/mcp/acme/api"];
    const NOTES: usize = 16;
    let state = tempfile::tempdir().unwrap();
    let server = Server::start(Bundle::Release, state.path(), crate::KEYS, None);
    // Two users with the same names, each in every scope; every context is written to by
    // several at once while all the others are, and read all the time.
    let contexts: Vec<(&str, &str)> =
        ["key-a", "key-b"].iter().flat_map(|key| PATHS.map(|path| (*key, path))).collect();
    let mark = |key: &str, path: &str| format!("secret <{key}{path}>");
    thread::scope(|scope| {
        // Two threads for each of eight contexts: 16 calls in parallel.
        for (key, path) in contexts.iter().flat_map(|context| [context, context]) {
            let url = server.url(path);
            scope.spawn(move || {
                let session = Session::begin(&url, key);
                let own = mark(key, path);
                for n in 0..NOTES / 2 {
                    let _ = session.call("remember", &json!({ "text": format!("{own} {n}") }));
                    let seen = everything(&session);
                    assert_eq!(seen.matches("secret <").count(), seen.matches(&own).count());
                    assert!(seen.contains(&own));
                }
            });
        }
    });
    for (key, path) in contexts {
        let session = Session::begin(&server.url(path), key);
        let list = session.call("list_memories", &json!({ "limit": 50 }));
        let notes = list["notes"].as_array().unwrap();
        assert_eq!(notes.len(), NOTES);
        let own = mark(key, path);
        assert!(notes.iter().all(|note| note["text"].as_str().unwrap().starts_with(&own)));
    }
}

#[test]
fn names_that_look_alike_stay_apart() {
    let long = "ü".repeat(200);
    let users = ["a", "a:b", "a%3Ab", "a%253Ab", "a b", "a=b", "ä", "用户 🚦", "a/b", "..", &long];
    let keys: Vec<String> =
        users.iter().enumerate().map(|(n, user)| format!("{user}=k{n}")).collect();
    let state = tempfile::tempdir().unwrap();
    let server = Server::start(Bundle::Release, state.path(), &keys.join(","), None);
    let slug = "a".repeat(100);
    let paths =
        ["/mcp", "/mcp/b", "/mcp/b/c", "/mcp/0", "/mcp/a.b_c-d", &format!("/mcp/{slug}/{slug}")];
    for n in 0..users.len() {
        for path in paths {
            let session = Session::begin(&server.url(path), &format!("k{n}"));
            assert_eq!(session.call("list_memories", &json!({}))["notes"], json!([]), "{n} {path}");
            let _ = session.call("remember", &json!({ "text": format!("{n} {path}") }));
        }
    }
    for n in 0..users.len() {
        for path in paths {
            let session = Session::begin(&server.url(path), &format!("k{n}"));
            let notes: Value = session.call("list_memories", &json!({}))["notes"].take();
            assert_eq!(notes.as_array().unwrap().len(), 1, "{n} {path}");
            assert_eq!(notes[0]["text"], format!("{n} {path}"));
        }
    }
}

#[test]
fn slugs_are_one_name_in_every_case() {
    let state = tempfile::tempdir().unwrap();
    let server = Server::start(Bundle::Release, state.path(), crate::KEYS, None);
    let upper = Session::begin(&server.url("/mcp/ACME/Web"), "key-a");
    let _ = upper.call("remember", &json!({ "text": "one context" }));
    let lower = Session::begin(&server.url("/mcp/acme/web/"), "key-a");
    assert_eq!(lower.call("list_memories", &json!({}))["notes"][0]["text"], "one context");
    // One session, too: it is the same scope.
    assert_eq!(upper.at(&server.url("/mcp/acme/web")).request("ping", &json!({})).status, 200);
}
