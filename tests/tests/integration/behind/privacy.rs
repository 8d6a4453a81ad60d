//! What an upstream is told of whoever asks: what is asked, and nothing that is between the client
//! and Signalbox.

use super::{Asks, Front, far};
use serde_json::json;
use tests::{
    Session, message, post,
    scripted::{Era, Scripted, Wrong},
};

/// Everything that may be said to an upstream, besides the headers that are configured.
const HEADERS: [&str; 10] = [
    "accept",
    "accept-encoding",
    "authorization",
    "content-length",
    "content-type",
    "host",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
];

/// What a client, or a proxy before it, may say that is nothing to an upstream.
const PRIVATE: [(&str, &str); 9] = [
    ("cookie", "private=1"),
    ("x-forwarded-for", "203.0.113.7"),
    ("x-real-ip", "203.0.113.7"),
    ("cf-connecting-ip", "203.0.113.7"),
    ("forwarded", "for=203.0.113.7"),
    ("user-agent", "private/1"),
    ("referer", "http://private.example/"),
    ("x-key", "private"),
    ("x-team", "private"),
];

fn check(era: Era, is_session: bool) {
    let upstream = Scripted::start(era);
    let more = json!({ "auth": { "secret": "FAR_TOKEN" },
        "headers": { "X-Team": "blue", "x-key": { "secret": "FAR_KEY" } } });
    let toolsets = json!([far(&upstream.url("/mcp"), &more)]);
    let secrets = [("FAR_TOKEN", "token-of-ours"), ("FAR_KEY", "key-of-ours")];
    let front = Front::start_with(&toolsets, &secrets);
    let url = front.url("/mcp/acme");
    let mut meta = json!({ "progressToken": "private-token", "trace.example/id": "t1",
        "io.modelcontextprotocol/clientInfo": { "name": "private", "version": "1" },
        "io.modelcontextprotocol/private": "private" });
    if !is_session {
        meta["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
        meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
    }
    let params = json!({ "name": "echo", "arguments": { "a": 1 }, "_meta": meta });
    let body = message("tools/call", &params);
    let session = is_session.then(|| Session::begin(&url, "key-a"));
    let mut headers = PRIVATE.to_vec();
    match &session {
        Some(session) => headers.extend([
            ("mcp-session-id", session.id.as_str()),
            ("mcp-protocol-version", "2025-11-25"),
        ]),
        None => headers.extend([
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "echo"),
        ]),
    }
    let answered = post(&url, "key-a", &headers, &body);
    assert_eq!(answered.status, 200, "{answered:?}");
    let asked = upstream.asked();
    for asked in &asked {
        for (name, value) in &asked.headers {
            // The last two are the platform's own, of a request that no cache may answer.
            let is_own = [
                ("x-team", "blue"),
                ("x-key", "key-of-ours"),
                ("cache-control", "no-cache"),
                ("pragma", "no-cache"),
            ];
            let is_own = is_own.contains(&(name.as_str(), value.as_str()));
            assert!(is_own || HEADERS.contains(&name.as_str()), "{name}: {value}");
        }
        assert_eq!(asked.header("authorization"), Some("Bearer token-of-ours"));
        assert_eq!(asked.header("x-team"), Some("blue"));
        assert_eq!(asked.header("x-key"), Some("key-of-ours"));
        let whole = format!("{asked:?}");
        let id = session.as_ref().map_or("key-a", |session| session.id.as_str());
        for secret in ["private", "203.0.113.7", "key-a", "alice", id] {
            assert!(!whole.contains(secret), "{secret} in {whole}");
        }
    }
    let call = upstream.all("tools/call").pop().unwrap();
    let meta = call.body["params"]["_meta"].as_object().unwrap();
    // What others may have agreed on is theirs.
    assert_eq!(meta["trace.example/id"], "t1");
    let rest: Vec<_> = meta.keys().filter(|key| *key != "trace.example/id").collect();
    assert_eq!(meta["progressToken"], call.body["id"]);
    match era {
        Era::Handshake => assert_eq!(rest, ["progressToken"]),
        Era::Modern => {
            let known = ["clientCapabilities", "clientInfo", "logLevel", "protocolVersion"];
            let known = known.map(|name| format!("io.modelcontextprotocol/{name}"));
            assert!(rest.iter().all(|key| *key == "progressToken" || known.contains(key)));
            let info = &meta["io.modelcontextprotocol/clientInfo"];
            assert_eq!(info["name"], "signalbox");
        }
    }
}

#[test]
fn a_session_upstream_is_told_nothing_of_the_client() {
    check(Era::Handshake, true);
    check(Era::Handshake, false);
}

#[test]
fn a_modern_upstream_is_told_nothing_of_the_client() {
    check(Era::Modern, true);
    check(Era::Modern, false);
}

#[test]
fn without_its_credential_an_upstream_is_not_asked() {
    // A secret that is not set is a mistake of the configuration, which serves nobody.
    let auths = [(json!({ "credential": "mine" }), "far needs your credential `mine`")];
    for (auth, reason) in auths {
        let upstream = Scripted::start(Era::Modern);
        let toolset = far(&upstream.url("/mcp"), &json!({ "auth": auth }));
        let front = Front::start(&json!([{ "kind": "memory" }, toolset]));
        let modern = front.modern("/mcp/acme");
        for _ in 0..7 {
            let listed = modern.result("tools/list", &json!({}));
            let missing = &listed["_meta"]["signalbox/missing"];
            assert_eq!(missing[0]["toolset"], "far", "{listed}");
            assert!(missing[0]["reason"].as_str().unwrap().contains(reason), "{missing}");
            assert!(!listed.to_string().contains("FAR_TOKEN"), "{listed}");
        }
        assert_eq!(upstream.asked().len(), 0);
        let _ = modern.calls("remember", &json!({ "text": "the others work" }));
    }
}

#[test]
fn what_an_upstream_is_trusted_with_is_told_to_no_other() {
    let (upstream, other) = (Scripted::start(Era::Modern), Scripted::start(Era::Modern));
    let more = json!({ "auth": { "secret": "FAR_TOKEN" }, "bounds": { "retries": 0 } });
    let toolsets = json!([far(&upstream.url("/mcp"), &more)]);
    let front = Front::start_with(&toolsets, &[("FAR_TOKEN", "token-of-ours")]);
    let modern = front.modern("/mcp/acme");
    let _ = modern.tools();
    for status in [301, 302, 303, 307, 308] {
        let headers = vec![("location", other.url("/mcp"))];
        upstream.set(|script| {
            let wrong = Wrong::Says(status, headers, String::new());
            script.wrong.insert("tools/call", wrong);
        });
        assert_eq!(modern.calls("echo", &json!({}))["isError"], true, "{status}");
    }
    assert_eq!(upstream.count("tools/call"), 5);
    assert_eq!(other.asked().len(), 0);
}
