//! Upstreams that fail, each in a way of its own: whoever asked is told what it is, the others of
//! the same context answer meanwhile, and one that fails again and again is left alone.

use super::{Asks, Front, Modern, far, got};
use serde_json::{Value, json};
use std::{
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};
use tests::{
    Session,
    scripted::{Era, Scripted, Wrong},
};

const ERAS: [Era; 2] = [Era::Handshake, Era::Modern];

/// Asked once.
fn once() -> Value {
    json!({ "bounds": { "retries": 0 } })
}

/// With bounds that no test has to wait for long for.
fn short() -> Value {
    json!({ "bounds": { "connect_ms": 300, "first_byte_ms": 300, "total_ms": 300, "retries": 0 } })
}

/// Whether something is noticed by the time that it takes.
fn is_slow(wrong: &Wrong) -> bool {
    matches!(wrong, Wrong::Hangs | Wrong::Stalls)
}

fn front(upstream: &Scripted, more: &Value) -> Front {
    Front::start(&json!([{ "kind": "memory" }, far(&upstream.url("/mcp"), more)]))
}

fn json_of(body: &str) -> Wrong {
    Wrong::Says(200, vec![("content-type", "application/json".to_owned())], body.to_owned())
}

fn ways() -> Vec<(Wrong, &'static str)> {
    let status = |status| Wrong::Says(status, Vec::new(), String::new());
    let html = vec![("content-type", "text/html".to_owned())];
    let garbage = "far answered with what is no MCP";
    let moved = "far has moved to another address, which is not followed";
    let to = |to: &str| vec![("location", to.to_owned())];
    let stream = vec![("content-type", "text/event-stream".to_owned())];
    let again = vec![("retry-after", "7".to_owned())];
    vec![
        (Wrong::Hangs, "far did not answer in time; try again"),
        (Wrong::Stalls, "far did not answer in time; try again"),
        (Wrong::Closes, "far cannot be reached now; try again"),
        (status(500), "far failed with HTTP status 500"),
        (status(418), "far failed with HTTP status 418"),
        (status(401), "far refuses the credential that it was given (401)"),
        (Wrong::Says(503, again, String::new()), "far is busy (503); try again in 7 s"),
        (json_of("{\"jsonrpc\":\"2.0\",\"id\":1,"), garbage),
        (json_of("[[[[[]]]]]"), garbage),
        (Wrong::Says(200, html, "<p>It works!</p>".to_owned()), garbage),
        (Wrong::Says(200, stream.clone(), "data: {\n\n".to_owned()), garbage),
        (
            Wrong::Says(200, stream, String::new()),
            "far ended the call without a result; it may have taken effect",
        ),
        (json_of(&"x".repeat(9 * 1024 * 1024)), "far answered with more than 8388608 bytes"),
        (Wrong::Says(302, to("http://127.0.0.1:1/"), String::new()), moved),
        (Wrong::Says(307, to("http://127.0.0.1:1/mcp"), String::new()), moved),
        (Wrong::Says(308, to("https://elsewhere.test/"), String::new()), moved),
    ]
}

#[test]
fn whoever_asked_is_told_what_it_is() {
    for (era, is_patient) in [(ERAS[0], true), (ERAS[1], true), (ERAS[0], false), (ERAS[1], false)]
    {
        let upstream = Scripted::start(era);
        let front = front(&upstream, &if is_patient { once() } else { short() });
        let modern = front.modern("/mcp/acme");
        let session = Session::begin(&front.url("/mcp/acme"), "key-a");
        for (wrong, expected) in
            ways().into_iter().filter(|(wrong, _)| is_slow(wrong) != is_patient)
        {
            for client in [&session as &dyn Asks, &modern] {
                // Nothing is wrong until it is.
                let _ = client.calls("echo", &json!({}));
                upstream.set(|script| {
                    script.wrong.insert("tools/call", wrong.clone());
                });
                let failed = client.calls("echo", &json!({}));
                assert_eq!(failed["isError"], true, "{failed}");
                assert_eq!(failed["content"][0]["text"], expected, "{era:?}");
                upstream.set(|script| script.wrong.clear());
            }
        }
    }
}

/// Toolsets that lack something in a list.
fn missing(listed: &Value) -> (&Value, &str) {
    let missing = listed["_meta"]["signalbox/missing"].as_array().unwrap();
    assert_eq!(missing.len(), 1, "{listed}");
    (&missing[0]["toolset"], missing[0]["reason"].as_str().unwrap())
}

#[test]
fn a_list_says_what_is_missing_of_it() {
    let upstream = Scripted::start(Era::Handshake);
    let (patient, hasty) = (front(&upstream, &once()), front(&upstream, &short()));
    for (n, (wrong, expected)) in (0..).zip(ways()) {
        let front = if is_slow(&wrong) { &hasty } else { &patient };
        upstream.set(|script| {
            script.wrong.insert("initialize", wrong);
        });
        // A context that has not met it.
        let path = format!("/mcp/org-{n}");
        let modern = front.modern(&path);
        for (method, member, name) in [
            ("tools/list", "tools", "name"),
            ("prompts/list", "prompts", "name"),
            ("resources/templates/list", "resourceTemplates", "name"),
        ] {
            let listed = modern.listed(method);
            assert_eq!(missing(&listed), (&json!("far"), expected), "{method}");
            assert!(!modern.names(method, member, name).is_empty(), "{listed}");
        }
        // Those that know of no `_meta` of this kind pass over it.
        let session = Session::begin(&front.url(&path), "key-a");
        let listed = session.result("tools/list", &json!({}));
        assert_eq!(missing(&listed).0, "far");
        let _ = session.calls("remember", &json!({ "text": "the others work" }));
    }
}

#[test]
fn nobody_is_there() {
    // Whoever had the port is gone.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    drop(listener);
    let front = Front::start(&json!([{ "kind": "memory" }, far(&url, &once())]));
    let modern = front.modern("/mcp/acme");
    let listed = modern.result("tools/list", &json!({}));
    assert_eq!(missing(&listed).1, "far cannot be reached now; try again");
    let failed = modern.calls("echo", &json!({}));
    assert_eq!(failed["content"][0]["text"], "far cannot be reached now; try again");
    let _ = modern.calls("remember", &json!({ "text": "the others work" }));
}

#[test]
fn what_was_listed_before_is_listed_with_a_word_on_it() {
    let upstream = Scripted::start(Era::Modern);
    upstream.set(|script| script.ttl_ms = Some(0));
    let front = front(&upstream, &once());
    let modern = front.modern("/mcp/acme");
    let before = modern.tools();
    upstream.set(|script| {
        script.wrong.insert("tools/list", Wrong::Closes);
    });
    let listed = modern.result("tools/list", &json!({}));
    let reason = "far cannot be reached now; try again (this is what it was before)";
    assert_eq!(missing(&listed), (&json!("far"), reason));
    assert_eq!(modern.tools(), before);
    // Its tools work as long as they do.
    assert_eq!(got(&modern.calls("echo", &json!({ "n": 1 }))), json!({ "n": 1 }));
}

#[test]
fn the_others_answer_while_one_hangs() {
    let upstream = Scripted::start(Era::Modern);
    let front = front(&upstream, &json!({}));
    let modern = front.modern("/mcp/acme");
    let _ = modern.tools();
    upstream.set(|script| {
        script.held.insert("tools/call");
    });
    thread::scope(|scope| {
        let hanging = scope.spawn(|| modern.calls("echo", &json!({ "n": 1 })));
        let _ = upstream.wait_for("tools/call", 1);
        let _ = modern.calls("remember", &json!({ "text": "meanwhile" }));
        assert!(modern.tools().contains(&"recall".to_owned()));
        upstream.set(|script| script.held.clear());
        assert_eq!(got(&hanging.join().unwrap()), json!({ "n": 1 }));
    });
}

#[test]
fn more_calls_than_it_gets_at_once_wait_for_their_turn() {
    let upstream = Scripted::start(Era::Modern);
    let front = front(&upstream, &json!({ "bounds": { "concurrency": 2 } }));
    let modern = front.modern("/mcp/acme");
    let _ = modern.tools();
    upstream.set(|script| {
        script.held.insert("tools/call");
    });
    thread::scope(|scope| {
        let modern = &modern;
        let call = |n: usize| scope.spawn(move || modern.calls("echo", &json!({ "n": n })));
        let calls: Vec<_> = (0..5).map(call).collect();
        let _ = upstream.wait_for("tools/call", 2);
        // Another toolset's do not.
        let _ = modern.calls("remember", &json!({ "text": "meanwhile" }));
        assert_eq!(upstream.count("tools/call"), 2);
        upstream.set(|script| script.held.clear());
        for (n, call) in (0..).zip(calls) {
            assert_eq!(got(&call.join().unwrap()), json!({ "n": n }));
        }
    });
    assert_eq!(upstream.count("tools/call"), 5);
}

#[test]
fn what_may_be_repeated_is_and_nothing_else() {
    let upstream = Scripted::start(Era::Modern);
    let mut reads = tests::scripted::tool("reads");
    reads["annotations"] = json!({ "readOnlyHint": true });
    upstream.set(|script| script.tools.push(reads));
    let front = front(&upstream, &json!({ "bounds": { "retries": 2 } }));
    let modern = front.modern("/mcp/acme");
    let _ = modern.tools();
    upstream.set(|script| {
        script.wrong.insert("tools/call", Wrong::Closes);
    });
    assert_eq!(modern.calls("echo", &json!({}))["isError"], true);
    assert_eq!(upstream.count("tools/call"), 1);
    assert_eq!(modern.calls("reads", &json!({}))["isError"], true);
    assert_eq!(upstream.count("tools/call"), 1 + 3);
}

#[test]
fn what_is_asked_to_come_back_later_does() {
    let upstream = Scripted::start(Era::Modern);
    let mut reads = tests::scripted::tool("reads");
    reads["annotations"] = json!({ "readOnlyHint": true });
    upstream.set(|script| script.tools.push(reads));
    let front = front(&upstream, &json!({}));
    let modern = front.modern("/mcp/acme");
    let _ = modern.tools();
    let busy = |seconds: &str| {
        let again = vec![("retry-after", seconds.to_owned())];
        upstream.set(|script| {
            script.wrong.insert("tools/call", Wrong::Says(503, again, String::new()));
        });
    };
    busy("2");
    let began = Instant::now();
    thread::scope(|scope| {
        let calling = scope.spawn(|| modern.calls("reads", &json!({ "n": 1 })));
        let _ = upstream.wait_for("tools/call", 1);
        upstream.set(|script| script.wrong.clear());
        assert_ne!(calling.join().unwrap()["isError"], true);
    });
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(upstream.count("tools/call"), 2);
    // Nobody waits for as long as this.
    busy("60");
    let said = modern.calls("reads", &json!({}));
    assert_eq!(said["content"][0]["text"], "far is busy (503); try again in 60 s");
    assert_eq!(upstream.count("tools/call"), 3);
}

#[test]
fn a_list_does_not_wait_for_one_that_hangs_and_it_is_told_when_it_answers() {
    let upstream = Scripted::start(Era::Modern);
    let front = front(&upstream, &once());
    let session = Session::begin(&front.url("/mcp/acme"), "key-a");
    let mut events = session.listen(None);
    upstream.set(|script| {
        script.held.insert("tools/list");
    });
    let modern = front.modern("/mcp/acme");
    let listed = modern.result("tools/list", &json!({}));
    assert_eq!(missing(&listed), (&json!("far"), "far has not answered yet; ask again"));
    assert_eq!(listed["ttlMs"], shared::limits::LACKING_TTL_MS);
    upstream.wait_for_held("tools/list");
    // Who is excluded is not missed.
    let mine = front.modern("/mcp/acme?toolsets=memory").result("tools/list", &json!({}));
    assert!(mine["_meta"].get("signalbox/missing").is_none(), "{mine}");
    upstream.set(|script| script.held.clear());
    assert_eq!(events.message().1["method"], "notifications/tools/list_changed");
    assert!(modern.tools().contains(&"echo".to_owned()));
    assert_eq!(upstream.count("tools/list"), 1);
}

/// Asks until it is answered, which a breaker puts off for some seconds.
fn recovers(modern: &Modern) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while modern.calls("echo", &json!({}))["isError"] == true {
        assert!(Instant::now() < deadline, "it does not recover");
    }
}

#[test]
fn one_that_fails_again_and_again_is_left_alone_and_recovers() {
    let upstream = Scripted::start(Era::Modern);
    // Its log has a line for every try.
    let toolset = far(&upstream.url("/mcp"), &once());
    let front = Front::start_logging(&json!([{ "kind": "memory" }, toolset]));
    let modern = front.modern("/mcp/acme");
    let _ = modern.tools();
    upstream.set(|script| {
        script.wrong.insert("tools/call", Wrong::Says(500, Vec::new(), String::new()));
    });
    for _ in 0..5 {
        let failed = modern.calls("echo", &json!({}));
        assert_eq!(failed["content"][0]["text"], "far failed with HTTP status 500");
    }
    assert_eq!(upstream.count("tools/call"), 5);
    let alone = modern.calls("echo", &json!({}));
    let text = alone["content"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("far has failed several times and is left alone; try"), "{text}");
    assert_eq!(upstream.count("tools/call"), 5);
    // In another context nothing has failed.
    let elsewhere = front.modern("/mcp/other").calls("echo", &json!({}));
    assert_eq!(elsewhere["content"][0]["text"], "far failed with HTTP status 500");
    let _ = modern.calls("remember", &json!({ "text": "the others work" }));
    upstream.set(|script| script.wrong.clear());
    upstream.forget_requests();
    recovers(&modern);
    assert_eq!(upstream.count("tools/call"), 1, "the first that goes is answered");
    assert_eq!(got(&modern.calls("echo", &json!({ "n": 1 }))), json!({ "n": 1 }));
}
