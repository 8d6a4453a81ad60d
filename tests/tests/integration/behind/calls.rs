//! What is said while a call runs, both ways: progress, logs, and that nobody waits for the result
//! any more.

use super::{Asks, Front, far};
use serde_json::{Value, json};
use std::thread;
use tests::{
    Events, Session,
    scripted::{Era, Scripted, Wrong, tool},
};

const ERAS: [Era; 2] = [Era::Handshake, Era::Modern];

fn said(events: Events) -> Vec<Value> {
    events.filter(|event| !event.data.is_empty()).map(|event| event.json()).collect()
}

#[test]
fn logs_come_at_the_level_that_was_asked_for() {
    for era in ERAS {
        let upstream = Scripted::start(era);
        let logs = ["debug", "info", "error"].map(|level| {
            json!({ "jsonrpc": "2.0", "method": "notifications/message",
                "params": { "level": level, "data": { "said at": level }, "logger": "far" } })
        });
        // It says more than it is asked for.
        upstream.set(|script| {
            script.tools = vec![tool("logs")];
            script.says.insert("logs".to_owned(), logs.to_vec());
        });
        let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
        let session = Session::begin(&front.url("/mcp/acme"), "key-a");
        let _ = session.result("logging/setLevel", &json!({ "level": "info" }));
        let mut modern = front.modern("/mcp/acme");
        modern.meta = json!({ "io.modelcontextprotocol/logLevel": "info" });
        let call = json!({ "name": "logs" });
        let streams = [session.stream(7, "tools/call", &call), modern.stream("tools/call", &call)];
        for events in streams {
            let said = said(events);
            let levels: Vec<_> = said.iter().map(|m| m["params"]["level"].as_str()).collect();
            assert_eq!(levels, [Some("info"), Some("error"), None], "{said:?}");
            assert_eq!(said[0]["params"]["data"], json!({ "said at": "info" }));
            assert_eq!(said[0]["params"]["logger"], "far");
        }
        let set = upstream.all("logging/setLevel");
        match era {
            Era::Handshake => {
                // Once: both want the same, and have the same session.
                assert_eq!(set.len(), 1);
                assert_eq!(set[0].body["params"]["level"], "info");
            }
            Era::Modern => {
                assert_eq!(set.len(), 0);
                for call in upstream.all("tools/call") {
                    let meta = &call.body["params"]["_meta"];
                    assert_eq!(meta["io.modelcontextprotocol/logLevel"], "info");
                }
            }
        }
    }
}

#[test]
fn progress_comes_before_the_result_to_those_who_want_it() {
    for era in ERAS {
        let upstream = Scripted::start(era);
        let progress = [1, 2].map(|progress| {
            json!({ "jsonrpc": "2.0", "method": "notifications/progress",
                "params": { "progress": progress, "total": 2, "message": "on it" } })
        });
        upstream.set(|script| {
            script.tools = vec![tool("works")];
            script.says.insert("works".to_owned(), progress.to_vec());
        });
        let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
        let session = Session::begin(&front.url("/mcp/acme"), "key-a");
        let mut modern = front.modern("/mcp/acme");
        modern.meta = json!({ "progressToken": 9 });
        let call = json!({ "name": "works", "_meta": { "progressToken": 9 } });
        let streams = [session.stream(7, "tools/call", &call), modern.stream("tools/call", &call)];
        for events in streams {
            let said = said(events);
            assert_eq!(said.len(), 3, "{said:?}");
            for (n, message) in (1..).zip(&said[..2]) {
                let params = json!({ "progressToken": 9, "progress": n, "total": 2,
                    "message": "on it" });
                assert_eq!(message["params"], params);
            }
            assert!(said[2]["result"].is_object());
        }
        let silent = session.result("tools/call", &json!({ "name": "works" }));
        assert!(silent["content"].is_array(), "{silent}");
        let last = upstream.all("tools/call").pop().unwrap();
        assert_eq!(last.body["params"]["_meta"]["progressToken"], Value::Null, "{last:?}");
    }
}

/// The upstream hears that nobody waits: by a word of its era, and by the connection's end.
fn is_withdrawn(upstream: &Scripted, era: Era) {
    upstream.wait_for_leave("tools/call");
    let call = upstream.all("tools/call").pop().unwrap();
    if era == Era::Handshake {
        let cancelled = upstream.wait_for("notifications/cancelled", 1).pop().unwrap();
        assert_eq!(cancelled.body["params"]["requestId"], call.body["id"]);
        assert_eq!(cancelled.header("mcp-session-id"), call.header("mcp-session-id"));
    } else {
        assert_eq!(upstream.count("notifications/cancelled"), 0);
    }
}

fn hanging(era: Era, wrong: Wrong) -> (Scripted, Front) {
    let upstream = Scripted::start(era);
    upstream.set(|script| {
        script.wrong.insert("tools/call", wrong);
    });
    let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
    (upstream, front)
}

#[test]
fn a_cancellation_is_passed_on() {
    for era in ERAS {
        for wrong in [Wrong::Hangs, Wrong::Stalls] {
            let (upstream, front) = hanging(era, wrong);
            let session = Session::begin(&front.url("/mcp/acme"), "key-a");
            let events = session.stream(7, "tools/call", &json!({ "name": "echo" }));
            let _ = upstream.wait_for("tools/call", 1);
            let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
                "params": { "requestId": 7, "reason": "enough" } });
            assert_eq!(session.post(&cancel.to_string()).status, 202);
            is_withdrawn(&upstream, era);
            assert_eq!(said(events), [] as [Value; 0]);
        }
    }
}

#[test]
fn a_modern_client_that_goes_takes_its_call_along() {
    let goes = |era: Era| {
        let (upstream, front) = hanging(era, Wrong::Hangs);
        let events = front.modern("/mcp/acme").stream("tools/call", &json!({ "name": "echo" }));
        let _ = upstream.wait_for("tools/call", 1);
        drop(events);
        is_withdrawn(&upstream, era);
    };
    // That a client has gone is noticed within two signs of life.
    thread::scope(|scope| {
        for era in ERAS {
            scope.spawn(move || goes(era));
        }
    });
}

#[test]
fn a_session_that_ends_takes_its_calls_along() {
    let (upstream, front) = hanging(Era::Handshake, Wrong::Stalls);
    let session = Session::begin(&front.url("/mcp/acme"), "key-a");
    let events = session.stream(7, "tools/call", &json!({ "name": "echo" }));
    let _ = upstream.wait_for("tools/call", 1);
    assert_eq!(session.end().status, 204);
    is_withdrawn(&upstream, Era::Handshake);
    drop(events);
    // A call that takes too long is withdrawn by Signalbox itself.
    let upstream = Scripted::start(Era::Handshake);
    upstream.set(|script| {
        script.wrong.insert("tools/call", Wrong::Stalls);
    });
    let more = json!({ "bounds": { "total_ms": 300 } });
    let front = Front::start(&json!([far(&upstream.url("/mcp"), &more)]));
    let session = Session::begin(&front.url("/mcp/acme"), "key-a");
    let late = session.calls("echo", &json!({}));
    assert_eq!(late["isError"], true, "{late}");
    is_withdrawn(&upstream, Era::Handshake);
}

#[test]
fn an_upstream_that_asks_when_nobody_calls_is_answered() {
    let upstream = Scripted::start(Era::Handshake);
    let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
    let session = Session::begin(&front.url("/mcp/acme"), "key-a");
    let mut events = session.listen(None);
    assert_eq!(events.next().unwrap().data, "");
    upstream.wait_for_streams(1);
    let ask = |id: &str, method: &str| {
        upstream.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method }));
        upstream.wait_for_such("reply", |asked| asked.body["id"] == id).body
    };
    assert_eq!(ask("a", "ping")["result"], json!({}));
    assert_eq!(ask("b", "roots/list")["error"]["code"], -32601);
    // Nobody has heard of either.
    upstream.say(&json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" }));
    assert_eq!(events.message().1["method"], "notifications/tools/list_changed");
}
