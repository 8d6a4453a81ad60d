//! What a call writes: nothing, unless it is what the call is for.

use crate::fresh;
use serde_json::json;
use shared::limits;
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, SystemTime},
};
use tests::{Bundle, Server, Session, modern};

/// Every file below a folder, with its content. The shared memory beside a database is no storage:
/// it is rebuilt when the database is opened, and reading takes locks in it.
fn files(folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path
            .extension()
            .is_none_or(|extension| !extension.to_string_lossy().ends_with("-shm"))
        {
            found.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
}

#[test]
fn the_end_of_an_idle_session_is_scheduled() {
    let (server, state) = fresh(Bundle::Release);
    let before = SystemTime::now();
    let _ = Session::begin(&server.url("/mcp/acme"), "key-a");
    let mut found = BTreeMap::new();
    files(state.path(), &mut found);
    let metadata = |path: &&String| path.ends_with("McpRouter/metadata.sqlite");
    let database = rusqlite::Connection::open(found.keys().find(metadata).unwrap()).unwrap();
    let read = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    let alarm = database.query_row("SELECT scheduled_time FROM _cf_ALARM", [], read).unwrap();
    let alarm = SystemTime::UNIX_EPOCH + Duration::from_nanos(alarm.try_into().unwrap());
    // A day after its last use, and a step of what is stored of that.
    let idle = Duration::from_millis(limits::SESSION_IDLE_MS + limits::SESSION_SEEN_STEP_MS);
    let after = alarm.duration_since(before).unwrap();
    assert!(after >= idle && after < idle + Duration::from_secs(3600), "{after:?}");
}

#[test]
fn an_idle_session_ends_when_its_alarm_rings() {
    let (server, state) = fresh(Bundle::Release);
    let session = Session::begin(&server.url("/mcp/acme"), "key-a");
    server.kill();
    // A day passes: everything that is stored as a time moves into the past.
    let mut found = BTreeMap::new();
    files(state.path(), &mut found);
    let router = |name: &str| {
        let path = found.keys().find(|path| {
            path.contains("McpRouter/")
                && path.ends_with(".sqlite")
                && path.contains("metadata") == (name == "metadata")
        });
        rusqlite::Connection::open(path.unwrap()).unwrap()
    };
    let changed = |database: &rusqlite::Connection, statement| {
        assert_eq!(database.execute(statement, []).unwrap(), 1);
    };
    changed(&router("metadata"), "UPDATE _cf_ALARM SET scheduled_time = 1000000000");
    let object = router("object");
    changed(&object, "UPDATE _cf_METADATA SET value = 1000000000");
    changed(&object, "UPDATE sessions SET seen = 1");
    drop(object);
    let server = Server::start(Bundle::Release, state.path(), crate::KEYS, None);
    // The alarm rings by itself; that it has is seen from outside only, in what is stored.
    let object = router("object");
    let left = || object.query_row("SELECT count(*) FROM sessions", [], |row| row.get::<_, i64>(0));
    let gone = (0..600).any(|_| {
        std::thread::park_timeout(Duration::from_millis(50));
        left().is_ok_and(|left| left == 0)
    });
    assert!(gone, "the alarm has not ended the session");
    let answer = session.at(&server.url("/mcp/acme")).request("ping", &json!({}));
    assert_eq!(answer.status, 404);
}

#[test]
fn a_plain_call_writes_nothing() {
    let (server, state) = fresh(Bundle::Fixture);
    let url = server.url("/mcp/acme");
    let session = Session::begin(&url, "key-a");
    let calls = || {
        let simple = json!({ "name": "test_simple_text" });
        assert_eq!(session.request("tools/call", &simple).status, 200);
        assert_eq!(modern(&url, "key-a", "tools/call", simple).status, 200);
        let _ = session.call("recall", &json!({ "query": "x" }));
        let _ = session.call("list_memories", &json!({}));
        for method in ["tools/list", "resources/list", "prompts/list", "ping"] {
            assert_eq!(session.request(method, &json!({})).status, 200);
        }
    };
    // The first contact stores which context an Agent is, and nothing after it does.
    let _ = session.call("remember", &json!({ "text": "something to find" }));
    calls();
    let mut before = BTreeMap::new();
    files(state.path(), &mut before);
    assert!(before.len() >= 2, "one database per object: {:?}", before.keys());
    for _ in 0..50 {
        calls();
    }
    let mut after = BTreeMap::new();
    files(state.path(), &mut after);
    assert!(before == after, "a call that only reads has written");
    // The measure measures: a note is written.
    let _ = session.call("remember", &json!({ "text": "y" }));
    let mut written = BTreeMap::new();
    files(state.path(), &mut written);
    assert!(written != after);
}
