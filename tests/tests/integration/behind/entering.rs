//! Who may enter a scope, where an upstream says who.

use super::{Asks, Front, far};
use serde_json::{Value, json};
use std::thread;
use tests::{
    Response, Session, message, post,
    scripted::{Era, Scripted},
};

/// A front that asks for organizations and projects.
fn verified(upstream: &Scripted) -> Front {
    let verify = json!({ "org": upstream.url("/orgs/{org}"),
        "project": upstream.url("/orgs/{org}/projects/{project}") });
    let more = json!({ "verify": verify, "auth": { "secret": "FAR_TOKEN" } });
    let toolsets = json!([{ "kind": "memory" }, far(&upstream.url("/mcp"), &more)]);
    Front::start_with(&toolsets, &[("FAR_TOKEN", "token-of-ours")])
}

fn says(upstream: &Scripted, path: &str, status: u16) {
    upstream.set(|script| {
        script.pages.insert(path.to_owned(), status);
    });
}

/// How often a path was asked for.
fn visits(upstream: &Scripted, path: &str) -> usize {
    let asked = upstream.asked();
    asked.iter().filter(|asked| asked.method == "GET" && asked.path == path).count()
}

/// All of a response that a client sees.
fn seen(response: &Response) -> (u16, Vec<(String, String)>, String) {
    (response.status, response.headers.clone(), response.body.clone())
}

fn knocks(front: &Front, path: &str) -> Response {
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "plain", "version": "1" } });
    post(&front.url(path), "key-a", &[], &message("initialize", &params))
}

#[test]
fn a_yes_is_asked_for_once() {
    let upstream = Scripted::start(Era::Modern);
    says(&upstream, "/orgs/acme", 200);
    says(&upstream, "/orgs/acme/projects/web", 204);
    let front = verified(&upstream);
    let modern = front.modern("/mcp/acme");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| modern.tools());
        }
    });
    let session = Session::begin(&front.url("/mcp/acme"), "key-a");
    assert!(session.tools().contains(&"echo".to_owned()));
    assert_eq!(visits(&upstream, "/orgs/acme"), 1);
    assert_eq!(visits(&upstream, "/orgs/acme/projects/web"), 0);
    let _ = front.modern("/mcp/acme/web").tools();
    assert_eq!(visits(&upstream, "/orgs/acme/projects/web"), 1);
    for asked in upstream.asked() {
        assert_eq!(asked.header("authorization"), Some("Bearer token-of-ours"));
    }
    // The router has kept it; another user is another question.
    let front = front.restart_with(&[("FAR_TOKEN", "token-of-ours")]);
    let _ = front.modern("/mcp/acme").tools();
    assert_eq!(visits(&upstream, "/orgs/acme"), 1);
    let _ = Session::begin(&front.url("/mcp/acme"), "key-b").tools();
    assert_eq!(visits(&upstream, "/orgs/acme"), 2);
    // Nothing is pinned, nobody is asked.
    let before = visits(&upstream, "/orgs/acme");
    let _ = front.modern("/mcp").tools();
    assert_eq!(visits(&upstream, "/orgs/acme"), before);
}

#[test]
fn a_no_looks_like_a_path_where_nothing_is() {
    let upstream = Scripted::start(Era::Handshake);
    let front = verified(&upstream);
    for (n, status) in (0..).zip([403, 404, 410]) {
        let org = format!("org-{n}");
        let page = format!("/orgs/{org}");
        says(&upstream, &page, status);
        let refused = seen(&knocks(&front, &format!("/mcp/{org}")));
        assert_eq!(refused, seen(&knocks(&front, "/mcp/a/b/c")), "{status}");
        assert_eq!(refused.0, 404);
        let _ = knocks(&front, &format!("/mcp/{org}"));
        assert_eq!(visits(&upstream, &page), 1, "a no is kept, too");
    }
    // Nothing but the question went there.
    assert!(upstream.asked().iter().all(|asked| asked.method == "GET"));
}

#[test]
fn a_narrower_scope_that_is_none_is_an_error_of_the_request() {
    let upstream = Scripted::start(Era::Modern);
    says(&upstream, "/orgs/acme", 200);
    says(&upstream, "/orgs/other", 404);
    let front = verified(&upstream);
    let session = Session::begin(&front.url("/mcp"), "key-a");
    let named = |org: &str| {
        let arguments = json!({ "organizationSlug": org, "text": "t" });
        session.request("tools/call", &json!({ "name": "remember", "arguments": arguments }))
    };
    assert_eq!(named("acme").json()["result"]["isError"], false);
    let refused = named("other");
    // 404 would be the end of the session.
    assert_ne!(refused.status, 404);
    assert!(refused.json()["error"]["code"].is_i64(), "{refused:?}");
    assert_eq!(named("acme").json()["result"]["isError"], false);
}

#[test]
fn a_check_that_fails_lets_nobody_new_in() {
    let upstream = Scripted::start(Era::Modern);
    says(&upstream, "/orgs/known", 200);
    let front = verified(&upstream);
    let known = front.modern("/mcp/known");
    let _: Vec<String> = known.tools();
    for status in [500, 302, 401, 429] {
        says(&upstream, "/orgs/acme", status);
        let refused = knocks(&front, "/mcp/acme");
        assert_eq!(refused.status, 503, "{refused:?}");
        let again: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!(again > 0);
        let said: Value = refused.json();
        assert!(!said.to_string().contains("acme"), "{said}");
    }
    // Whoever was let in before is let in.
    assert!(known.tools().contains(&"echo".to_owned()));
    says(&upstream, "/orgs/acme", 200);
    assert_eq!(knocks(&front, "/mcp/acme").status, 200, "what is not known is not kept");
}
