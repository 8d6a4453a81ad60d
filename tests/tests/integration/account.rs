//! A user's own page in a browser without scripts, and what comes of it for clients: personal keys,
//! and the end of what runs.

use crate::tasks::{begin_by, until};
use serde_json::{Value, json};
use std::{fs, path::Path};
use tests::{Bundle, Events, Response, Server, Session, message, modern, modern_call, post};

/// 32 bytes that only these tests know.
const KEYRING: &str = "k1=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// A Signalbox where people sign in under any name. A key of the configuration is alice's, too.
fn served(bundle: Bundle) -> (Server, tempfile::TempDir) {
    let state = tempfile::tempdir().unwrap();
    let settings = [("KEYRING", KEYRING), ("DEV_LOGIN", "1")];
    (Server::start_with(bundle, state.path(), crate::KEYS, &settings), state)
}

/// A browser: it keeps cookies, and follows nothing by itself.
struct Browser {
    client: reqwest::blocking::Client,
    origin: String,
    cookie: String,
}

impl Browser {
    fn new(server: &Server) -> Self {
        let client = reqwest::blocking::Client::builder();
        let client = client.redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { client, origin: server.origin.clone(), cookie: String::new() }
    }

    fn signed_in(server: &Server, name: &str) -> Self {
        let mut browser = Self::new(server);
        let form = [("name", name), ("then", "/account")];
        let (status, headers, _) = browser.send("/login", Some(&form), Some(&server.origin));
        assert_eq!((status, header(&headers, "location")), (303, Some("/account")));
        let cookie = header(&headers, "set-cookie").unwrap();
        for word in ["__Host-signalbox=", "Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(cookie.contains(word), "{cookie}");
        }
        cookie.split(';').next().unwrap().clone_into(&mut browser.cookie);
        browser
    }

    fn send(
        &self,
        path: &str,
        form: Option<&[(&str, &str)]>,
        from: Option<&str>,
    ) -> (u16, Vec<(String, String)>, String) {
        let url = format!("{}{path}", self.origin);
        let mut request = match form {
            None => self.client.get(url),
            Some(form) => {
                let body: Vec<_> =
                    form.iter().map(|(n, v)| format!("{n}={}", encoded(v))).collect();
                let kind = "application/x-www-form-urlencoded";
                self.client.post(url).header("content-type", kind).body(body.join("&"))
            }
        };
        if !self.cookie.is_empty() {
            request = request.header("cookie", &self.cookie);
        }
        if let Some(from) = from {
            request = request.header("origin", from);
        }
        let response = request.send().unwrap();
        let headers = response.headers().iter();
        let headers = headers.map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned()));
        (response.status().as_u16(), headers.collect(), response.text().unwrap())
    }

    fn page(&self) -> String {
        let (status, headers, page) = self.send("/account", None, None);
        assert_eq!(status, 200, "{page}");
        let policy = header(&headers, "content-security-policy").unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        page
    }

    /// Sends a form of the page, as it is there.
    fn does(&self, fields: &[(&str, &str)]) -> (u16, String) {
        let page = self.page();
        let (_, rest) = page.split_once("name=\"token\" value=\"").unwrap();
        let token = rest.split('"').next().unwrap();
        let mut all = vec![("token", token)];
        all.extend_from_slice(fields);
        let (status, _, page) = self.send("/account", Some(&all), Some(&self.origin));
        (status, page)
    }

    fn is_done(&self, fields: &[(&str, &str)]) {
        let (status, page) = self.does(fields);
        assert_eq!(status, 303, "{page}");
    }

    /// Makes a key, which is shown once.
    fn mints(&self, scope: &str, more: &[(&str, &str)]) -> String {
        let mut fields = vec![("action", "mint"), ("name", "ci"), ("scope", scope), ("days", "1")];
        fields.extend_from_slice(more);
        let (status, page) = self.does(&fields);
        assert_eq!(status, 200, "{page}");
        let (_, rest) = page.split_once("sbx_").unwrap_or_else(|| panic!("no key: {page}"));
        let is_over = |c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c);
        assert!(!self.page().contains("sbx_"), "a key is shown once");
        format!("sbx_{}", rest.split(is_over).next().unwrap())
    }

    /// The value of the first hidden field of a name.
    fn field(&self, name: &str) -> String {
        let page = self.page();
        let marked = format!("name=\"{name}\" value=\"");
        let (_, rest) = page.split_once(&marked).unwrap_or_else(|| panic!("{name}: {page}"));
        rest.split('"').next().unwrap().to_owned()
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn lists(server: &Server, path: &str, key: &str) -> Response {
    modern(&server.url(path), key, "tools/list", json!({}))
}

fn tools(response: &Response) -> Vec<String> {
    let json = response.json();
    let tools = json["result"]["tools"].as_array().unwrap_or_else(|| panic!("{response:?}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_key_from_the_page_is_good_at_its_scope_until_it_is_revoked() {
    let (server, _state) = served(Bundle::Release);
    let alice = Browser::signed_in(&server, "alice");
    let key = alice.mints("/mcp/acme", &[]);
    for (path, status) in
        [("/mcp/acme", 200), ("/mcp/acme/web", 200), ("/mcp", 401), ("/mcp/other", 401)]
    {
        assert_eq!(lists(&server, path, &key).status, status, "{path}");
    }
    // It is alice's: what a key of the configuration keeps it finds.
    let note = json!({ "name": "remember", "arguments": { "text": "the key is blue" } });
    assert_eq!(modern(&server.url("/mcp/acme"), "key-a", "tools/call", note).status, 200);
    let recall = json!({ "name": "recall", "arguments": { "query": "blue" } });
    let found = modern(&server.url("/mcp/acme"), &key, "tools/call", recall);
    assert!(found.body.contains("the key is blue"), "{found:?}");
    // Changed in one place, it is none; and it says nothing of what it is good for.
    let changed = key.replacen("sbx_k1.", "sbx_k2.", 1);
    assert_eq!(lists(&server, "/mcp/acme", &changed).status, 401);
    assert!(!key.contains("acme") && !key.contains("alice"), "{key}");
    alice.is_done(&[("action", "revoke"), ("key", &alice.field("key"))]);
    assert_eq!(lists(&server, "/mcp/acme", &key).status, 401);
}

#[test]
fn a_key_that_only_reads_says_where_more_is_had() {
    let (server, _state) = served(Bundle::Release);
    let key = Browser::signed_in(&server, "alice").mints("/mcp", &[("read_only", "on")]);
    let shown = tools(&lists(&server, "/mcp/acme", &key));
    assert!(shown.contains(&"recall".to_owned()) && !shown.contains(&"remember".to_owned()));
    let note = json!({ "name": "remember", "arguments": { "text": "x" } });
    let url = server.url("/mcp/acme");
    let metadata = server.url("/.well-known/oauth-protected-resource/mcp/acme");
    let expected = format!(
        "Bearer error=\"insufficient_scope\", scope=\"mcp:read mcp:write\", \
         resource_metadata=\"{metadata}\""
    );
    let session = Session::begin(&url, &key);
    for refused in
        [modern(&url, &key, "tools/call", note.clone()), session.request("tools/call", &note)]
    {
        assert_eq!(refused.status, 403, "{refused:?}");
        assert_eq!(refused.header("www-authenticate"), Some(expected.as_str()));
    }
    let document = tests::send("GET", &metadata, &[], None).json();
    assert_eq!(document["resource"], url);
}

/// A call that never ends by itself.
fn waits(server: &Server, era: &str) -> Events {
    let url = server.url("/mcp/acme");
    match era {
        "session" => {
            let call = json!({ "name": "test_wait", "arguments": {} });
            Session::begin(&url, "key-a").stream(7, "tools/call", &call)
        }
        _ => modern_call(&url, "key-a", "plain", "test_wait"),
    }
}

#[test]
fn what_a_user_blocks_ends_in_the_middle_of_a_call() {
    let (server, _state) = served(Bundle::Fixture);
    let alice = Browser::signed_in(&server, "alice");
    for era in ["session", "modern"] {
        for target in [
            [("kind", "client"), ("value", "plain")],
            [("kind", "context"), ("value", "/mcp/acme")],
            [("kind", "user"), ("value", "")],
        ] {
            let mut running = waits(&server, era);
            let block = [[("action", "block")].as_slice(), &target].concat();
            alice.is_done(&block);
            let (_, said) = running.message();
            assert_eq!(said["error"]["message"], "this call was ended by its user", "{said}");
            assert_eq!(running.next(), None);
            let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
                "clientInfo": { "name": "plain", "version": "1" } });
            let refused =
                post(&server.url("/mcp/acme"), "key-a", &[], &message("initialize", &hello));
            assert_eq!(refused.status, 403, "{target:?}: {refused:?}");
            let unblock = [[("action", "unblock")].as_slice(), &target].concat();
            alice.is_done(&unblock);
            assert_eq!(lists(&server, "/mcp/acme", "key-a").status, 200);
        }
    }
}

#[test]
fn a_task_ends_with_its_client_its_key_and_where_it_runs() {
    let (server, _state) = served(Bundle::Fixture);
    let alice = Browser::signed_in(&server, "alice");
    let url = server.url("/mcp/acme");
    let key = alice.mints("/mcp/acme", &[]);
    let begins =
        |key: &str| begin_by(&url, key, "slow_compute", json!({ "seconds": 60, "label": "x" }));
    let (with_key, other) = (begins(&key), begins("key-a"));
    alice.is_done(&[("action", "revoke"), ("key", &alice.field("key"))]);
    until(&url, &with_key, "cancelled");
    until(&url, &other, "working");
    let client = [("kind", "client"), ("value", "plain")];
    let toolset = [("kind", "upstream"), ("value", "fixture")];
    alice.is_done(&[[("action", "block")].as_slice(), &client].concat());
    alice.is_done(&[[("action", "unblock")].as_slice(), &client].concat());
    until(&url, &other, "cancelled");
    let other = begins("key-a");
    alice.is_done(&[[("action", "block")].as_slice(), &toolset].concat());
    alice.is_done(&[[("action", "unblock")].as_slice(), &toolset].concat());
    until(&url, &other, "cancelled");
}

#[test]
fn a_stream_that_waits_ends_with_its_client() {
    let (server, _state) = served(Bundle::Release);
    let alice = Browser::signed_in(&server, "alice");
    let session = Session::begin(&server.url("/mcp"), "key-a");
    let mut waiting = session.listen(None);
    alice.is_done(&[("action", "block"), ("kind", "client"), ("value", "plain")]);
    assert_eq!(waiting.find(|event| !event.data.is_empty()), None);
    assert_eq!(session.request("tools/list", &json!({})).status, 403);
}

#[test]
fn the_page_shows_who_was_here() {
    let (server, _state) = served(Bundle::Release);
    let alice = Browser::signed_in(&server, "alice");
    let session = Session::begin(&server.url("/mcp/acme/web"), "key-a");
    assert_eq!(session.request("tools/list", &json!({})).status, 200);
    let page = alice.page();
    for part in ["alice", "plain", "2025-11-25", "/mcp/acme/web"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    // Another user's page has nothing of it.
    let bob = Browser::signed_in(&server, "bob").page();
    assert!(!bob.contains("/mcp/acme/web") && !bob.contains("plain"), "{bob}");
}

#[test]
fn a_form_from_elsewhere_does_nothing() {
    let (server, _state) = served(Bundle::Release);
    let alice = Browser::signed_in(&server, "alice");
    let token = alice.field("token");
    let bob = Browser::signed_in(&server, "bob").field("token");
    let block = |token: &str, from: Option<&str>| {
        let form = [("token", token), ("action", "block"), ("kind", "user"), ("value", "")];
        alice.send("/account", Some(&form), from).0
    };
    let own = Some(server.origin.as_str());
    for (token, from) in [
        (token.as_str(), Some("https://evil.test")),
        (token.as_str(), Some("null")),
        (token.as_str(), None),
        (bob.as_str(), own),
        ("", own),
    ] {
        assert_eq!(block(token, from), 403, "{from:?}");
        assert_eq!(lists(&server, "/mcp", "key-a").status, 200);
    }
    assert_eq!(block(&token, own), 303);
    assert_eq!(lists(&server, "/mcp", "key-a").status, 403);
}

fn holds(folder: &Path, needle: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => holds(&path, needle),
            false => fs::read(&path).unwrap().windows(needle.len()).any(|part| part == needle),
        }
    })
}

#[test]
fn no_key_is_kept_in_clear() {
    let (server, state) = served(Bundle::Release);
    let alice = Browser::signed_in(&server, "alice");
    let key = alice.mints("/mcp", &[]);
    assert_eq!(lists(&server, "/mcp", &key).status, 200);
    drop(server);
    let secret = key.split_once('.').unwrap().1;
    assert!(!holds(state.path(), secret.as_bytes()));
    let cookie = alice.cookie.split_once('.').unwrap().1;
    assert!(!holds(state.path(), cookie.as_bytes()));
    let ring = KEYRING.split_once('=').unwrap().1;
    assert!(!holds(state.path(), ring.as_bytes()));
}

#[test]
fn strangers_make_nothing() {
    let (server, state) = served(Bundle::Release);
    let before = objects(state.path());
    let junk = ["sbx_k1.AAAA", "sbx_", "a:b:c", "YWxpY2U:grant:secret", "e30.e30.e30", "x"];
    for key in junk {
        for path in ["/mcp", "/mcp/acme", "/mcp/acme/web"] {
            let refused = lists(&server, path, key);
            assert_eq!(refused.status, 401, "{key}");
            let challenge = refused.header("www-authenticate").unwrap();
            assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        }
    }
    let browser =
        Browser { cookie: "__Host-signalbox=k1.AAAA".to_owned(), ..Browser::new(&server) };
    assert_eq!(browser.send("/account", None, None).0, 303);
    assert_eq!(objects(state.path()), before);
}

/// The users and contexts that have storage.
fn objects(state: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for class in ["McpRouter", "Agent"] {
        if let Ok(files) = fs::read_dir(state.join(format!("signalbox-{class}"))) {
            found.extend(files.map(|file| file.unwrap().path().display().to_string()));
        }
    }
    found.sort();
    found
}

#[test]
fn a_request_without_a_credential_is_told_where_one_is_had() {
    let (server, _state) = served(Bundle::Release);
    let asked = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string().into_bytes();
    let headers = [("content-type", "application/json"), ("accept", "application/json")];
    for path in ["/mcp", "/mcp/acme", "/mcp/acme/web"] {
        let refused = tests::send("POST", &server.url(path), &headers, Some(asked.clone()));
        let metadata = server.url(&format!("/.well-known/oauth-protected-resource{path}"));
        let expected =
            format!("Bearer scope=\"mcp:read mcp:write\", resource_metadata=\"{metadata}\"");
        assert_eq!(refused.status, 401);
        assert_eq!(refused.header("www-authenticate"), Some(expected.as_str()));
        let document: Value = tests::send("GET", &metadata, &[], None).json();
        assert_eq!(document["resource"], server.url(path));
        assert_eq!(document["authorization_servers"], json!([server.origin]));
    }
    for path in ["/mcp/a/b/c", "/mcp/..", "/other", "/mcp/acme%2f"] {
        let metadata = server.url(&format!("/.well-known/oauth-protected-resource{path}"));
        assert_eq!(tests::send("GET", &metadata, &[], None).status, 404, "{path}");
    }
}
