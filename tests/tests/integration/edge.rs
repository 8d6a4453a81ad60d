//! What the edge refuses: the exact HTTP status and JSON-RPC code of each, and that the server
//! serves on afterwards.

use crate::fresh;
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
};
use tests::{Bundle, Response, Server, Session, message, modern, post, send};

fn code(response: &Response) -> Value {
    response.json()["error"]["code"].clone()
}

#[track_caller]
fn check(response: &Response, status: u16, expected: i64) {
    assert_eq!((response.status, code(response)), (status, json!(expected)), "{response:?}");
}

const JSON: (&str, &str) = ("content-type", "application/json");
const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");
const ALICE: (&str, &str) = ("authorization", "Bearer key-a");

#[test]
fn http_rules() {
    let (server, _state) = fresh(Bundle::Release);
    let url = server.url("/mcp");
    let ping = message("ping", &json!({})).into_bytes();
    let ask = |method, path: &str, headers: &[(&str, &str)]| {
        send(method, &server.url(path), headers, Some(ping.clone()))
    };
    let all = [JSON, ACCEPT, ALICE];
    // Paths.
    check(&ask("POST", "/", &all), 404, -32001);
    check(&ask("POST", "/other", &all), 404, -32001);
    check(&ask("POST", "/hop/notes", &all), 404, -32001);
    check(&ask("POST", "/mcp/a/b/c", &all), 404, -32001);
    check(&ask("POST", "/mcp/a%20b", &all), 400, -32600);
    check(&ask("POST", "/mcp/-a", &all), 400, -32600);
    check(&ask("POST", &format!("/mcp/{}", "a".repeat(101)), &all), 400, -32600);
    // Methods.
    for method in ["PUT", "PATCH", "OPTIONS"] {
        let response = ask(method, "/mcp", &all);
        check(&response, 405, -32600);
        assert_eq!(response.header("allow"), Some("GET, POST, DELETE"));
    }
    assert_eq!(send("HEAD", &url, &all, None).status, 405);
    // Origin and Host.
    let origin = |value| ask("POST", "/mcp", &[JSON, ACCEPT, ALICE, ("origin", value)]);
    check(&origin("https://evil.example"), 403, -32001);
    check(&origin("null"), 403, -32001);
    check(&origin(&server.origin), 400, -32600);
    check(&ask("POST", "/mcp", &[JSON, ACCEPT, ALICE, ("host", "evil.example")]), 403, -32001);
    // Credentials.
    let where_it_is_had = format!(
        "scope=\"mcp:read mcp:write\", \
         resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\"",
        server.origin
    );
    for credential in ["Bearer wrong", "Bearer", "Basic key-a", "key-a"] {
        let response = ask("POST", "/mcp", &[JSON, ACCEPT, ("authorization", credential)]);
        check(&response, 401, -32001);
        let challenge = format!("Bearer error=\"invalid_token\", {where_it_is_had}");
        assert_eq!(response.header("www-authenticate"), Some(challenge.as_str()), "{credential}");
    }
    let response = ask("POST", "/mcp", &[JSON, ACCEPT]);
    check(&response, 401, -32001);
    let challenge = format!("Bearer {where_it_is_had}");
    assert_eq!(response.header("www-authenticate"), Some(challenge.as_str()));
    // Media types.
    check(&ask("POST", "/mcp", &[JSON, ALICE, ("accept", "application/json")]), 406, -32600);
    check(&ask("POST", "/mcp", &[ACCEPT, ALICE, ("content-type", "text/plain")]), 415, -32600);
    // A session is needed.
    check(&ask("POST", "/mcp", &all), 400, -32600);
}

#[test]
fn bodies() {
    let (server, _state) = fresh(Bundle::Release);
    let session = Session::begin(&server.url("/mcp"), "key-a");
    let body = |text: &str| session.post(text);
    check(&body(""), 400, -32700);
    check(&body("{"), 400, -32700);
    check(&body("[]"), 400, -32600);
    check(&body("null"), 400, -32600);
    check(&body(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#), 400, -32600);
    check(&body(r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#), 400, -32600);
    check(&body(r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#), 400, -32600);
    let duplicate = body(r#"{"jsonrpc":"2.0","id":7,"method":"ping","method":"x"}"#);
    check(&duplicate, 400, -32600);
    assert_eq!(duplicate.json()["id"], 7);
    // Known methods with bad parameters, unknown methods: errors of the request alone.
    check(&session.request("tools/call", &json!({ "name": 5 })), 200, -32602);
    check(&session.request("tools/call", &json!({})), 200, -32602);
    check(&session.request("resources/read", &json!({ "uri": "memory://notes/x" })), 200, -32002);
    check(&session.request("tools/list", &json!({ "cursor": "x" })), 200, -32602);
    // What was given twice, or in another way to each reader, is one thing or refused.
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"recall",
        "arguments":{"query":"x","org":"other","org":"acme"}}}"#;
    check(&body(twice), 200, -32602);
    check(&body(r#"{"jsonrpc":"2.0","id":"\ud800","method":"ping"}"#), 400, -32600);
    let null = json!({ "name": "recall",
        "arguments": { "query": "x", "org": null, "organizationSlug": "acme" } });
    assert_eq!(session.request("tools/call", &null).json()["result"]["isError"], false);
    check(&session.request("no/such", &json!({})), 200, -32601);
    check(&session.request("server/discover", &json!({})), 400, -32602);
    check(&session.request("initialize", &json!({})), 400, -32600);
    check(&session.request("logging/setLevel", &json!({ "level": "loud" })), 200, -32602);
    // Deep nesting is bounded, whoever meets it first.
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"recall","arguments":{}{}}}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert_eq!(code(&body(&deep)), -32602);
    // Sizes, told and not told. The answer comes before the body would have been read.
    let told = format!("Content-Length: {}", 4 * 1024 * 1024 + 1);
    assert_eq!(status_of_upload(&server, &session.id, &told, 0), 413);
    let chunked = "Transfer-Encoding: chunked";
    assert_eq!(status_of_upload(&server, &session.id, chunked, 4 * 1024 * 1024 + 1), 413);
    let headers = [JSON, ACCEPT, ALICE, ("mcp-session-id", session.id.as_str())];
    check(&send("POST", &server.url("/mcp"), &headers, Some(b"\"\xff\"".to_vec())), 400, -32700);
    assert_eq!(session.request("ping", &json!({})).json()["result"], json!({}));
}

/// Status of the answer to a body that is announced by a header, so many bytes of which are sent
/// as one chunk. Bytes by hand, because a client that is answered early gives up.
fn status_of_upload(server: &Server, session: &str, header: &str, bytes: usize) -> u16 {
    let address = server.origin.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    let (accept, alice) = (ACCEPT.1, ALICE.1);
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nAccept: {accept}\r\n\
         Authorization: {alice}\r\nMcp-Session-Id: {session}\r\n{header}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    if bytes > 0 {
        // The answer may come, and the connection go, before everything is written.
        let _ = write!(stream, "{bytes:x}\r\n{}\r\n", " ".repeat(bytes));
    }
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn sessions() {
    let (server, _state) = fresh(Bundle::Release);
    let session = Session::begin(&server.url("/mcp/acme"), "key-a");
    let list = |session: &Session| session.request("tools/list", &json!({}));
    assert_eq!(list(&session).status, 200);
    // Unknown, of another user, of another scope: all alike.
    let unknown = session.with_id(&"x".repeat(43));
    let answers = [
        list(&unknown),
        list(&session.with_key("key-b")),
        list(&session.at(&server.url("/mcp"))),
        list(&session.at(&server.url("/mcp/acme/web"))),
        list(&session.at(&server.url("/mcp/other"))),
    ];
    for answer in &answers {
        check(answer, 404, -32001);
        assert_eq!(answer.body, answers[0].body);
    }
    check(&session.with_key("key-b").end(), 404, -32001);
    assert_eq!(session.end().status, 204);
    check(&list(&session), 404, -32001);
    check(&session.end(), 404, -32001);
    // A revision that is not served.
    let headers = [("mcp-session-id", session.id.as_str()), ("mcp-protocol-version", "1999-01-01")];
    let response = post(&server.url("/mcp/acme"), "key-a", &headers, &message("ping", &json!({})));
    check(&response, 400, -32022);
}

#[test]
fn revisions_are_negotiated() {
    let (server, _state) = fresh(Bundle::Release);
    for (asked, given) in [
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2024-11-05", "2024-11-05"),
        ("2024-10-07", "2025-11-25"),
        ("2099-01-01", "2025-11-25"),
    ] {
        let params = json!({ "protocolVersion": asked, "capabilities": {},
            "clientInfo": { "name": "c", "version": "1" } });
        let response = post(&server.url("/mcp"), "key-a", &[], &message("initialize", &params));
        assert_eq!(response.json()["result"]["protocolVersion"], given);
    }
    let response = post(&server.url("/mcp"), "key-a", &[], &message("initialize", &json!({})));
    check(&response, 400, -32602);
    assert_eq!(response.header("mcp-session-id"), None);
}

#[test]
fn the_modern_era_has_no_session() {
    let (server, _state) = fresh(Bundle::Release);
    let url = server.url("/mcp/acme");
    let discover = modern(&url, "key-a", "server/discover", json!({}));
    let result = &discover.json()["result"];
    assert_eq!(
        result["supportedVersions"],
        json!(["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"])
    );
    assert_eq!(result["resultType"], "complete");
    assert_eq!(discover.header("mcp-session-id"), None);
    let list = modern(&url, "key-a", "tools/list", json!({})).json()["result"].clone();
    assert_eq!((&list["cacheScope"], &list["resultType"]), (&json!("private"), &json!("complete")));
    assert!(list["ttlMs"].as_u64().is_some_and(|ttl| ttl > 0));
    assert_eq!(list["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "signalbox");
    for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe", "x/y"] {
        check(&modern(&url, "key-a", method, json!({})), 404, -32601);
    }
    check(&modern(&url, "key-a", "resources/read", json!({ "uri": "no:such" })), 200, -32602);
    // A session id means nothing here, and DELETE has nothing to end.
    let headers = [ALICE, ("mcp-protocol-version", "2026-07-28"), ("mcp-session-id", "x")];
    check(&send("DELETE", &url, &headers, None), 405, -32600);
    // What `_meta` lacks or headers contradict.
    let bare = message("tools/list", &json!({}));
    let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list")];
    check(&post(&url, "key-a", &headers, &bare), 400, -32602);
    let meta = json!({ "_meta": { "io.modelcontextprotocol/protocolVersion": "v9",
        "io.modelcontextprotocol/clientCapabilities": {} } });
    let future = message("tools/list", &meta);
    check(&post(&url, "key-a", &headers, &future), 400, -32020);
    let same = [("mcp-protocol-version", "v9"), ("mcp-method", "tools/list")];
    let response = post(&url, "key-a", &same, &future);
    check(&response, 400, -32022);
    assert_eq!(response.json()["error"]["data"]["requested"], "v9");
    // Notifications are taken, responses are not.
    let notification = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled" }).to_string();
    assert_eq!(post(&url, "key-a", &headers[..1], &notification).status, 202);
    let answer = json!({ "jsonrpc": "2.0", "id": 1, "result": {} }).to_string();
    check(&post(&url, "key-a", &headers[..1], &answer), 400, -32600);
}
