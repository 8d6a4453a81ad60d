//! What is fresh of an upstream and is not asked for again, and what is heard when it is fresh no
//! longer: list changes and resource updates, in both eras on either side.

use super::{Asks, Front, far, got};
use serde_json::{Value, json};
use std::thread;
use tests::{
    Events, Session,
    remote::Upstream,
    scripted::{Asked, Era, Scripted, tool},
};

const ERAS: [Era; 2] = [Era::Handshake, Era::Modern];

fn note(what: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": format!("notifications/{what}"), "params": params })
}

/// The next method that a stream says.
fn next(events: &mut Events) -> String {
    events.message().1["method"].as_str().unwrap().to_owned()
}

#[test]
fn lists_that_are_fresh_are_not_asked_for_again() {
    for era in ERAS {
        let upstream = Scripted::start(era);
        upstream.set(|script| script.ttl_ms = Some(60_000));
        let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
        let session = Session::begin(&front.url("/mcp/acme"), "key-a");
        let modern = front.modern("/mcp/acme");
        for n in 0..5 {
            for client in [&session as &dyn Asks, &modern] {
                assert_eq!(client.tools(), ["echo"]);
                assert_eq!(got(&client.calls("echo", &json!({ "n": n }))), json!({ "n": n }));
            }
        }
        assert_eq!(upstream.count("tools/call"), 10);
        assert_eq!(upstream.count("tools/list"), 1);
        // What is said of it is what is left, and that becomes less.
        let ttl = || modern.result("tools/list", &json!({}))["ttlMs"].as_u64().unwrap();
        let first = ttl();
        assert!(0 < first && first <= 60_000, "{first}");
        assert!((0..10_000).any(|_| ttl() < first), "it stays {first}");
        // A copy in which the tool is will do for a call of it; who lists wants to see what is.
        upstream.set(|script| script.ttl_ms = Some(0));
        let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
        let modern = front.modern("/mcp/acme");
        upstream.forget_requests();
        for _ in 0..3 {
            assert_eq!(modern.tools(), ["echo"]);
            let _ = modern.calls("echo", &json!({}));
        }
        assert_eq!(upstream.count("tools/list"), 3);
        assert_eq!(modern.result("tools/list", &json!({}))["ttlMs"], 0);
    }
}

#[test]
fn a_tool_that_is_not_in_the_copy_is_looked_for() {
    let upstream = Scripted::start(Era::Modern);
    upstream.set(|script| script.ttl_ms = Some(0));
    let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
    let modern = front.modern("/mcp/acme");
    assert_eq!(modern.tools(), ["echo"]);
    upstream.set(|script| script.tools.push(tool("fresh")));
    assert_eq!(got(&modern.calls("fresh", &json!({ "n": 1 }))), json!({ "n": 1 }));
    assert_eq!(modern.refused("none", &json!({}))["code"], -32602);
}

#[test]
fn whoever_listens_hears_of_a_change_and_finds_it() {
    for era in ERAS {
        let upstream = Scripted::start(era);
        let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
        let session = Session::begin(&front.url("/mcp/acme"), "key-a");
        let modern = front.modern("/mcp/acme");
        for client in [&session as &dyn Asks, &modern] {
            assert_eq!(client.tools(), ["echo"]);
            assert_eq!(client.names("prompts/list", "prompts", "name"), [""; 0]);
            assert_eq!(client.names("resources/list", "resources", "uri"), [""; 0]);
        }
        let mut one = session.listen(None);
        assert_eq!(one.next().unwrap().data, "");
        let filter = json!({ "toolsListChanged": true, "promptsListChanged": true,
            "resourcesListChanged": true });
        let mut two = modern.listen(&filter);
        upstream.wait_for_streams(1);
        upstream.set(|script| {
            script.tools.push(tool("fresh"));
            script.prompts.push(json!({ "name": "fresh" }));
            script.resources.push(json!({ "uri": "test://fresh", "name": "fresh" }));
        });
        for what in ["tools", "prompts", "resources"] {
            let method = format!("{what}/list_changed");
            assert_eq!(upstream.say(&note(&method, &json!({}))), 1, "{era:?}");
            let method = format!("notifications/{method}");
            assert_eq!([next(&mut one), next(&mut two)], [method.clone(), method]);
        }
        for client in [&session as &dyn Asks, &modern] {
            assert_eq!(client.tools(), ["echo", "fresh"]);
            assert_eq!(client.names("prompts/list", "prompts", "name"), ["fresh"]);
            assert_eq!(client.names("resources/list", "resources", "uri"), ["test://fresh"]);
        }
        assert_eq!(upstream.count("tools/list"), 2, "{era:?}");
    }
}

#[test]
fn a_change_is_told_once() {
    for era in ERAS {
        let upstream = Scripted::start(era);
        let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
        let modern = front.modern("/mcp/acme");
        assert_eq!(modern.tools(), ["echo"]);
        let mut events =
            modern.listen(&json!({ "toolsListChanged": true, "promptsListChanged": true }));
        upstream.wait_for_streams(1);
        upstream.set(|script| script.tools.push(tool("fresh")));
        assert_eq!(upstream.say(&note("tools/list_changed", &json!({}))), 1);
        assert_eq!(next(&mut events), "notifications/tools/list_changed");
        assert_eq!(modern.tools(), ["echo", "fresh"]);
        // That it was found to be so is no other change.
        assert_eq!(upstream.say(&note("prompts/list_changed", &json!({}))), 1);
        assert_eq!(next(&mut events), "notifications/prompts/list_changed");
        // It was listened to once, and with everything.
        let listens = upstream.count("subscriptions/listen");
        assert_eq!(listens, usize::from(era == Era::Modern));
    }
}

#[test]
fn a_change_while_a_list_is_on_its_way_is_not_lost() {
    for era in ERAS {
        let upstream = Scripted::start(era);
        let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
        let modern = front.modern("/mcp/acme");
        let mut events = modern.listen(&json!({ "toolsListChanged": true }));
        upstream.wait_for_streams(1);
        upstream.set(|script| {
            script.held.insert("tools/list");
        });
        thread::scope(|scope| {
            let listing = scope.spawn(|| modern.tools());
            upstream.wait_for_held("tools/list");
            // Its answer is made, and not sent.
            upstream.set(|script| script.tools.push(tool("fresh")));
            assert_eq!(upstream.say(&note("tools/list_changed", &json!({}))), 1);
            assert_eq!(next(&mut events), "notifications/tools/list_changed");
            upstream.set(|script| script.held.clear());
            assert_eq!(listing.join().unwrap(), ["echo"]);
        });
        assert_eq!(modern.tools(), ["echo", "fresh"], "{era:?}");
    }
}

#[test]
fn a_change_after_a_restart_is_not_lost() {
    for era in ERAS {
        let upstream = Scripted::start(era);
        let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
        assert_eq!(front.modern("/mcp/acme").tools(), ["echo"]);
        let front = front.restart();
        let modern = front.modern("/mcp/acme");
        let mut events = modern.listen(&json!({ "toolsListChanged": true }));
        upstream.wait_for_streams(1);
        upstream.set(|script| script.tools.push(tool("fresh")));
        assert_eq!(upstream.say(&note("tools/list_changed", &json!({}))), 1);
        assert_eq!(next(&mut events), "notifications/tools/list_changed");
        // What was kept is not what there is.
        assert_eq!(modern.tools(), ["echo", "fresh"], "{era:?}");
        // The same where it was heard before.
        upstream.set(|script| script.tools.push(tool("fresher")));
        assert_eq!(upstream.say(&note("tools/list_changed", &json!({}))), 1);
        assert_eq!(next(&mut events), "notifications/tools/list_changed");
        let front = front.restart();
        assert_eq!(front.modern("/mcp/acme").tools(), ["echo", "fresh", "fresher"], "{era:?}");
    }
}

#[test]
fn whoever_subscribed_hears_of_a_resource() {
    for era in ERAS {
        let upstream = Scripted::start(era);
        let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
        let session = Session::begin(&front.url("/mcp/acme"), "key-a");
        let modern = front.modern("/mcp/acme");
        let mut one = session.listen(None);
        assert_eq!(one.next().unwrap().data, "");
        for uri in ["test://a", "test://b"] {
            let _ = session.result("resources/subscribe", &json!({ "uri": uri }));
        }
        let mut two = modern.listen(&json!({ "resourceSubscriptions": ["test://b"] }));
        is_subscribed(&upstream, era, &["test://a", "test://b"]);
        let updated = |uri: &str| upstream.say(&note("resources/updated", &json!({ "uri": uri })));
        for uri in ["test://other", "test://a", "test://b"] {
            assert_eq!(updated(uri), 1, "{era:?}");
        }
        let uri = |events: &mut Events| {
            let (_, message) = events.message();
            assert_eq!(message["method"], "notifications/resources/updated");
            message["params"]["uri"].clone()
        };
        assert_eq!([uri(&mut one), uri(&mut one)], ["test://a", "test://b"]);
        assert_eq!(uri(&mut two), "test://b");
        // Nobody wants to hear of the first any more.
        let _ = session.result("resources/unsubscribe", &json!({ "uri": "test://a" }));
        match era {
            Era::Handshake => {
                let ended = upstream.wait_for("resources/unsubscribe", 1).pop().unwrap();
                assert_eq!(ended.body["params"]["uri"], "test://a");
            }
            Era::Modern => is_subscribed(&upstream, era, &["test://b"]),
        }
    }
}

/// Waits until an upstream knows of which resources it is to tell, and whoever told it listens.
fn is_subscribed(upstream: &Scripted, era: Era, uris: &[&str]) {
    match era {
        Era::Handshake => {
            let told = upstream.wait_for("resources/subscribe", uris.len());
            let mut told: Vec<_> = told.iter().map(|a| a.body["params"]["uri"].clone()).collect();
            told.sort_by_key(Value::to_string);
            assert_eq!(told, uris);
            upstream.wait_for_streams(1);
        }
        Era::Modern => upstream.wait_for_stream_of(|request| {
            request["params"]["notifications"]["resourceSubscriptions"] == json!(uris)
        }),
    }
}

#[test]
fn a_resource_of_a_narrower_context_is_heard_of_through_a_wider_url() {
    for era in ERAS {
        let upstream = Scripted::start(era);
        let more = json!({ "uris": ["repo://{org}/{project}"] });
        let front = Front::start(&json!([far(&upstream.url("/up/{org}/{project}"), &more)]));
        let uri = "repo://acme/web/readme";
        let session = Session::begin(&front.url("/mcp"), "key-a");
        let beside = Session::begin(&front.url("/mcp/acme/web"), "key-a");
        let (mut wide, mut narrow) = (session.listen(None), beside.listen(None));
        for events in [&mut wide, &mut narrow] {
            assert_eq!(events.next().unwrap().data, "");
        }
        let _ = session.result("resources/subscribe", &json!({ "uri": uri }));
        is_subscribed(&upstream, era, &[uri]);
        assert_eq!(upstream.say(&note("resources/updated", &json!({ "uri": uri }))), 1);
        let (_, message) = wide.message();
        assert_eq!(message["method"], "notifications/resources/updated", "{era:?}");
        assert_eq!(message["params"]["uri"], uri);
        // Whoever did not subscribe hears of the next thing only.
        assert_eq!(upstream.say(&note("tools/list_changed", &json!({}))), 1);
        assert_eq!(next(&mut narrow), "notifications/tools/list_changed", "{era:?}");
        assert!(upstream.asked().iter().all(|asked| asked.path == "/up/acme/web"));
    }
}

#[test]
fn listening_goes_on_where_an_upstream_forgot_the_session() {
    let upstream = Scripted::start(Era::Handshake);
    let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
    let session = Session::begin(&front.url("/mcp/acme"), "key-a");
    let mut events = session.listen(None);
    assert_eq!(events.next().unwrap().data, "");
    let _ = session.result("resources/subscribe", &json!({ "uri": "test://a" }));
    is_subscribed(&upstream, Era::Handshake, &["test://a"]);
    upstream.forget_sessions();
    let is_new = |asked: &Asked| asked.header("mcp-session-id") == Some("session-2");
    let again = upstream.wait_for_such("resources/subscribe", is_new);
    assert_eq!(again.body["params"]["uri"], "test://a");
    upstream.wait_for_streams(1);
    assert_eq!(upstream.say(&note("resources/updated", &json!({ "uri": "test://a" }))), 1);
    loop {
        let (_, message) = events.message();
        if message["method"] == "notifications/resources/updated" {
            assert_eq!(message["params"]["uri"], "test://a");
            break;
        }
    }
}

#[test]
fn nobody_is_listened_to_for_nobody() {
    for era in ERAS {
        let upstream = Scripted::start(era);
        let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
        let session = Session::begin(&front.url("/mcp/acme"), "key-a");
        let mut events = session.listen(None);
        assert_eq!(events.next().unwrap().data, "");
        upstream.wait_for_streams(1);
        assert_eq!(session.end().status, 204);
        let what = if era == Era::Modern { "subscriptions/listen" } else { "GET" };
        upstream.wait_for_leave(what);
        upstream.forget_requests();
        assert_eq!(front.modern("/mcp/acme").tools(), ["echo"]);
        assert_eq!(upstream.count(what), 0, "{era:?}");
    }
}

#[test]
fn a_server_that_nobody_here_wrote_tells_of_a_resource() {
    let upstream = Upstream::everything();
    let front = Front::start(&json!([far(&upstream.url, &json!({}))]));
    let session = Session::begin(&front.url("/mcp/acme"), "key-a");
    let mut events = session.listen(None);
    assert_eq!(events.next().unwrap().data, "");
    let uri = "demo://resource/dynamic/text/7";
    let _ = session.result("resources/subscribe", &json!({ "uri": uri }));
    // It tells at once, and every few seconds from then on.
    let _ = session.calls("toggle-subscriber-updates", &json!({}));
    let (_, message) = events.message();
    assert_eq!(message["method"], "notifications/resources/updated");
    assert_eq!(message["params"]["uri"], uri);
}
