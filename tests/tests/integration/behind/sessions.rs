//! The session that an upstream gave: one for all clients of a kind, kept over a restart of
//! Signalbox, and begun again where the upstream has forgotten it.

use super::{Asks, Front, far, got};
use serde_json::json;
use std::thread;
use tests::{
    Session,
    remote::Upstream,
    scripted::{Asked, Era, Scripted},
};

fn session_of(asked: &Asked) -> Option<&str> {
    asked.header("mcp-session-id")
}

#[test]
fn a_session_of_an_upstream_survives_a_restart() {
    let upstream = Scripted::start(Era::Handshake);
    let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
    let session = Session::begin(&front.url("/mcp/acme"), "key-a");
    assert_eq!(got(&session.calls("echo", &json!({ "n": 1 }))), json!({ "n": 1 }));
    let front = front.restart();
    let session = session.at(&front.url("/mcp/acme"));
    assert_eq!(got(&session.calls("echo", &json!({ "n": 2 }))), json!({ "n": 2 }));
    let calls = upstream.all("tools/call");
    assert_eq!(calls.iter().map(session_of).collect::<Vec<_>>(), [Some("session-1"); 2]);
    // Their numbers are as if it had never been away: no two are the same.
    assert_ne!(calls[0].body["id"], calls[1].body["id"]);
    assert_eq!(upstream.count("initialize"), 1);
    assert_eq!(upstream.count("server/discover"), 1);
    assert_eq!(upstream.count("tools/list"), 1, "what is fresh is kept, too");
}

#[test]
fn what_was_learned_of_a_modern_upstream_survives_a_restart() {
    let upstream = Scripted::start(Era::Modern);
    let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
    assert_eq!(got(&front.modern("/mcp/acme").calls("echo", &json!({}))), json!({}));
    let front = front.restart();
    assert_eq!(got(&front.modern("/mcp/acme").calls("echo", &json!({}))), json!({}));
    assert_eq!(upstream.count("tools/call"), 2);
    assert_eq!(upstream.count("server/discover"), 1);
    assert_eq!(upstream.count("initialize"), 0);
    assert!(upstream.asked().iter().all(|asked| session_of(asked).is_none()));
}

#[test]
fn a_session_that_an_upstream_forgot_is_begun_again() {
    for status in [404, 400] {
        let upstream = Scripted::start(Era::Handshake);
        upstream.set(|script| script.unknown_session = status);
        let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
        let session = Session::begin(&front.url("/mcp/acme"), "key-a");
        let modern = front.modern("/mcp/acme");
        for n in [1, 2, 3] {
            for client in [&session as &dyn Asks, &modern] {
                let arguments = json!({ "n": n });
                assert_eq!(got(&client.calls("echo", &arguments)), arguments);
            }
            assert_eq!(upstream.count("initialize"), n, "{status}");
            upstream.forget_sessions();
        }
        // Nothing was done twice: a call that met no session did nothing.
        let calls = upstream.all("tools/call");
        let done: Vec<_> = calls.iter().map(session_of).collect();
        let (one, two, three) = (Some("session-1"), Some("session-2"), Some("session-3"));
        assert_eq!(done, [one, one, one, two, two, two, three, three], "{status}");
    }
}

#[test]
fn a_server_that_was_restarted_is_met_again() {
    // It says 400, and that it knows no such session.
    let mut upstream = Upstream::everything();
    let front = Front::start(&json!([far(&upstream.url, &json!({}))]));
    let session = Session::begin(&front.url("/mcp/acme"), "key-a");
    let echo = json!({ "message": "hi" });
    let before = session.calls("echo", &echo);
    let begun = "Session initialized with ID";
    assert_eq!(upstream.log().matches(begun).count(), 1);
    upstream.restart();
    assert_eq!(session.calls("echo", &echo), before);
    assert_eq!(upstream.log().matches(begun).count(), 1);
}

#[test]
fn those_who_come_first_wait_for_one_meeting() {
    for era in [Era::Handshake, Era::Modern] {
        let upstream = Scripted::start(era);
        let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
        let modern = front.modern("/mcp/acme");
        thread::scope(|scope| {
            for n in 0..16 {
                let modern = &modern;
                scope.spawn(move || {
                    let arguments = json!({ "n": n });
                    assert_eq!(got(&modern.calls("echo", &arguments)), arguments);
                });
            }
        });
        assert_eq!(upstream.count("tools/call"), 16);
        assert_eq!(upstream.count("server/discover"), 1, "{era:?}");
        assert_eq!(upstream.count("initialize"), usize::from(era == Era::Handshake));
        assert_eq!(upstream.count("tools/list"), 1, "{era:?}");
    }
}

#[test]
fn clients_that_can_do_other_things_have_another_session() {
    let upstream = Scripted::start(Era::Handshake);
    let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
    let url = front.url("/mcp/acme");
    let begin = |capabilities| Session::begin_as(&url, "key-a", "2025-11-25", &capabilities);
    let capabilities = [
        json!({}),
        json!({ "sampling": {} }),
        // What is between a client and Signalbox is nothing to the upstream.
        json!({ "experimental": { "x": {} } }),
        json!({ "sampling": {} }),
    ];
    for capabilities in capabilities {
        let _ = begin(capabilities).calls("echo", &json!({}));
    }
    let met: Vec<_> = upstream.all("initialize").iter().map(|a| a.body["params"].clone()).collect();
    let told: Vec<_> = met.iter().map(|params| &params["capabilities"]).collect();
    assert_eq!(told, [&json!({}), &json!({ "sampling": {} })]);
    assert!(met.iter().all(|params| params["clientInfo"]["name"] == "signalbox"));
}

#[test]
fn contexts_and_users_have_sessions_of_their_own() {
    let upstream = Scripted::start(Era::Handshake);
    let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
    for (path, key) in [("/mcp/a", "key-a"), ("/mcp/b", "key-a"), ("/mcp/a", "key-b")] {
        let _ = Session::begin(&front.url(path), key).calls("echo", &json!({}));
    }
    let calls = upstream.all("tools/call");
    let sessions: Vec<_> = calls.iter().filter_map(session_of).collect();
    assert_eq!(sessions, ["session-1", "session-2", "session-3"]);
}

#[test]
fn an_upstream_without_a_stream_is_asked_for_it_once() {
    let upstream = Scripted::start(Era::Handshake);
    upstream.set(|script| script.has_stream = false);
    let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
    let session = Session::begin(&front.url("/mcp/acme"), "key-a");
    let calls = |session: &Session| {
        for _ in 0..5 {
            let _ = session.calls("echo", &json!({}));
        }
    };
    calls(&session);
    let _ = upstream.wait_for("GET", 1);
    calls(&session);
    let front = front.restart();
    calls(&session.at(&front.url("/mcp/acme")));
    assert_eq!(upstream.count("GET"), 1);
}

#[test]
fn older_revisions_are_spoken_and_others_are_not() {
    for revision in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let upstream = Scripted::start(Era::Handshake);
        upstream.set(|script| script.revision = revision);
        let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
        let _ = front.modern("/mcp/acme").calls("echo", &json!({}));
        let call = upstream.all("tools/call").pop().unwrap();
        assert_eq!(call.header("mcp-protocol-version"), Some(revision));
    }
    let upstream = Scripted::start(Era::Handshake);
    upstream.set(|script| script.revision = "1999-01-01");
    let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
    let failed = front.modern("/mcp/acme").calls("echo", &json!({}));
    assert_eq!(failed["content"][0]["text"], "far answered with what is no MCP");
    assert_eq!(upstream.count("tools/call"), 0);
}

#[test]
fn an_era_that_is_configured_is_not_asked_for() {
    let upstream = Scripted::start(Era::Handshake);
    let toolset = |era: &str| far(&upstream.url("/mcp"), &json!({ "era": era }));
    let front = Front::start(&json!([toolset("handshake")]));
    assert_eq!(front.modern("/mcp/acme").tools(), ["echo"]);
    assert_eq!(upstream.count("server/discover"), 0);
    let front = Front::start(&json!([toolset("modern")]));
    let listed = front.modern("/mcp/acme").result("tools/list", &json!({}));
    let reason = &listed["_meta"]["signalbox/missing"][0]["reason"];
    assert_eq!(reason, "far answered with what is no MCP");
    assert_eq!(upstream.count("initialize"), 1);
}
