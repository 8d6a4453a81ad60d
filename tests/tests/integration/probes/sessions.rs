//! Probes of sessions: their ids, the ids of events, revisions, the order of things, and the
//! oldest transport.

use super::{
    Is::{Empty, Error, Result},
    PING, Place, Row, nested, request,
    wire::Ask,
};

pub(super) fn rows(place: &Place) -> Vec<Row> {
    let parts: [fn(&Place) -> Vec<Row>; 6] = [ids, ends, events, revisions, beginnings, oldest];
    parts.iter().flat_map(|rows| rows(place)).collect()
}

/// Unknown, ended, of another user, of another scope, of another transport: all alike.
fn ids(place: &Place) -> Vec<Row> {
    let with = |id: &[u8]| place.post(PING).set("Mcp-Session-Id", id);
    let id = place.session.as_str();
    let gone = || Error(404, -32001);
    vec![
        ("no session", Ask::post(PING), Error(400, -32600)),
        ("an empty session", with(b""), gone()),
        ("a session nobody began", with(&[b'x'; 43]), gone()),
        ("a session that ended", with(place.ended.as_bytes()), gone()),
        ("a session of bob", with(place.foreign.as_bytes()), gone()),
        ("a session of another scope", with(place.narrow.as_bytes()), gone()),
        ("a session of another transport", with(place.old.as_bytes()), gone()),
        ("a session at another scope", place.post(PING).to("/mcp/acme"), gone()),
        ("a session in other case", with(swapped(id).as_bytes()), gone()),
        ("a session and a letter", with(format!("{id}x").as_bytes()), gone()),
        ("half a session", with(&id.as_bytes()[..20]), gone()),
        ("a session in quotes", with(format!("\"{id}\"").as_bytes()), gone()),
        ("a session of 128 letters", with(&[b'a'; 128]), gone()),
        ("a session of 129 letters", with(&[b'a'; 129]), gone()),
        ("a session of 30000 letters", with(&[b'a'; 30_000]), gone()),
        ("a session in other letters", with("sitzung-ü-\u{1F600}".as_bytes()), gone()),
        ("a session of other bytes", with(b"\xff\xfe"), gone()),
        ("a session with a blank", with(b"a b"), gone()),
        ("a session of SQL", with(b"'/**/OR/**/1=1--"), gone()),
        ("a session of dots", with(b"../../../etc/passwd"), gone()),
        ("a session twice", place.post(PING).with("Mcp-Session-Id", id), gone()),
        ("two sessions", place.post(PING).with("Mcp-Session-Id", &place.ended), gone()),
        ("a notification of no session", Ask::post(NOTE), Error(400, -32600)),
        ("a notification of an ended one", note(&place.ended), gone()),
        ("an answer in no session", Ask::post(ANSWER), Error(400, -32600)),
        ("a session in other header case", Ask::post(PING).with("mCP-sESSION-iD", id), Result),
    ]
}

const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":"0011223344556677.0","result":{}}"#;

fn note(session: &str) -> Ask {
    Ask::post(NOTE).with("Mcp-Session-Id", session)
}

fn swapped(text: &str) -> String {
    let swap = |c: char| match c.is_ascii_lowercase() {
        true => c.to_ascii_uppercase(),
        false => c.to_ascii_lowercase(),
    };
    text.chars().map(swap).collect()
}

/// Sessions that cannot be ended, because they are not there.
fn ends(place: &Place) -> Vec<Row> {
    let end = |id: &str| Ask::new("DELETE", "/mcp").with("Mcp-Session-Id", id);
    vec![
        ("the end of an unknown session", end("unknown"), Error(404, -32001)),
        ("the end of an ended session", end(&place.ended), Error(404, -32001)),
        ("the end of a session of bob", end(&place.foreign), Error(404, -32001)),
        ("the end of one elsewhere", end(&place.session).to("/mcp/acme"), Error(404, -32001)),
        ("the end of one of the old", end(&place.old), Error(404, -32001)),
        (
            "the end in an unknown revision",
            end(&place.session).with("MCP-Protocol-Version", "x"),
            Error(400, -32022),
        ),
        (
            "the end in the modern era",
            end(&place.session).with("MCP-Protocol-Version", "2026-07-28"),
            Error(405, -32600),
        ),
        ("the end without a key", end(&place.session).without("Authorization"), Error(401, -32001)),
    ]
}

/// Where a stream cannot be resumed from.
fn events(place: &Place) -> Vec<Row> {
    let listen = |session: &str| Ask::new("GET", "/mcp").with("Mcp-Session-Id", session);
    let last = |id: &[u8]| listen(&place.session).with("Last-Event-ID", id);
    let gone = || Error(400, -32600);
    vec![
        ("a stream of an unknown session", listen("unknown"), Error(404, -32001)),
        ("a stream of an ended session", listen(&place.ended), Error(404, -32001)),
        ("a stream of bob's", listen(&place.foreign), Error(404, -32001)),
        ("no event", last(b""), gone()),
        ("an event of letters", last(b"abc"), gone()),
        ("an event of one number", last(b"1"), gone()),
        ("an event of three numbers", last(b"1-1-1"), gone()),
        ("an event of no numbers", last(b"-"), gone()),
        ("an event before all", last(b"0-0"), gone()),
        ("a negative event", last(b"-1-0"), gone()),
        ("a negative number of one", last(b"1--1"), gone()),
        ("an event with a sign", last(b"+1-0"), gone()),
        ("an event in hexadecimal", last(b"0x1-0x1"), gone()),
        ("an event far ahead", last(b"9223372036854775807-9223372036854775807"), gone()),
        ("an event past 64 bits", last(b"9223372036854775808-0"), gone()),
        ("an event of 30000 digits", last(&[b'9'; 30_000]), gone()),
        ("an event in other digits", last("١-٢".as_bytes()), gone()),
        ("an event of other bytes", last(b"\xff-\xfe"), gone()),
        ("an event of SQL", last(b"1-1;DROP TABLE sessions"), gone()),
        ("an event of another session", last(place.event.as_bytes()), gone()),
        ("an event of bob's", last(place.foreign_event.as_bytes()), gone()),
        ("two events", last(b"1-0").with("Last-Event-ID", "1-0"), gone()),
        (
            "an event in an unknown revision",
            last(b"1-0").with("MCP-Protocol-Version", "x"),
            Error(400, -32022),
        ),
    ]
}

fn revisions(place: &Place) -> Vec<Row> {
    let with = |value: &[u8]| place.post(PING).set("MCP-Protocol-Version", value);
    let unknown = || Error(400, -32022);
    vec![
        ("an unknown revision", with(b"1999-01-01"), unknown()),
        ("an empty revision", with(b""), unknown()),
        ("a revision that is no date", with(b"latest"), unknown()),
        ("a revision in other letters", with("2025-11-25ü".as_bytes()), unknown()),
        ("a revision of 30000 letters", with(&[b'2'; 30_000]), unknown()),
        ("two revisions in one", with(b"2025-06-18, 2025-11-25"), unknown()),
        (
            "a revision twice",
            with(b"2025-11-25").with("MCP-Protocol-Version", "2025-11-25"),
            unknown(),
        ),
        (
            "two revisions",
            with(b"2025-11-25").with("MCP-Protocol-Version", "2026-07-28"),
            unknown(),
        ),
        ("no revision", place.post(PING).without("MCP-Protocol-Version"), Result),
        ("blanks around a revision", with(b"  2025-11-25\t"), Result),
        // The session knows its own; any that is served is taken.
        ("an older revision than the session's", with(b"2025-03-26"), Result),
        // The header alone makes it modern, and then `_meta` is demanded.
        ("a modern revision alone", with(b"2026-07-28"), Error(400, -32602)),
        (
            "a notification of an unknown one",
            note(&place.session).with("MCP-Protocol-Version", "x"),
            unknown(),
        ),
        (
            "an answer of an unknown one",
            place.post(ANSWER).set("MCP-Protocol-Version", "x"),
            unknown(),
        ),
        (
            "a batch of an unknown one",
            place.post(format!("[{PING}]")).set("MCP-Protocol-Version", "x"),
            unknown(),
        ),
    ]
}

/// What `initialize` may not be.
fn beginnings(place: &Place) -> Vec<Row> {
    let begin = |params: &str| Ask::post(request("initialize", params));
    let client = r#""clientInfo":{"name":"c","version":"1"}"#;
    let fits = format!(r#"{{"protocolVersion":"2025-11-25","capabilities":{{}},{client}}}"#);
    let version = |value: &str| begin(&fits.replace(r#""2025-11-25""#, value));
    let capabilities = |value: &str| begin(&fits.replace("{}", value));
    let info = |value: &str| begin(&fits.replace(r#"{"name":"c","version":"1"}"#, value));
    let unfit = || Error(400, -32602);
    let deep = format!(r#"{{"experimental":{{"x":{}}}}}"#, nested(200));
    let long = format!(r#"{{"name":"{}","version":"1"}}"#, "c".repeat(70_000));
    vec![
        ("a request before a session", Ask::post(request("tools/list", "{}")), Error(400, -32600)),
        ("a call before a session", Ask::post(request("tools/call", "{}")), Error(400, -32600)),
        ("an unknown method before", Ask::post(request("no/such", "{}")), Error(400, -32600)),
        ("a second beginning", place.ask("initialize", &fits), Error(400, -32600)),
        (
            "a beginning in an ended session",
            begin(&fits).with("Mcp-Session-Id", &place.ended),
            Error(404, -32001),
        ),
        (
            "a beginning that wants no answer",
            Ask::post(r#"{"jsonrpc":"2.0","method":"initialize"}"#),
            Error(400, -32600),
        ),
        ("a beginning of nothing", begin("{}"), unfit()),
        ("a beginning of null", begin("null"), unfit()),
        ("a beginning of a list", begin("[]"), Error(400, -32600)),
        ("a beginning without params", Ask::post(PING.replace("ping", "initialize")), unfit()),
        ("a version that is a number", version("20251125"), unfit()),
        ("a version that is nothing", version("null"), unfit()),
        ("a version that is a list", version(r#"["2025-11-25"]"#), unfit()),
        ("a version twice", version(r#""2025-11-25","protocolVersion":"x""#), unfit()),
        ("capabilities that are a list", capabilities("[]"), unfit()),
        ("capabilities that are a text", capabilities(r#""all""#), unfit()),
        ("capabilities that are nothing", capabilities("null"), unfit()),
        ("a capability that is a number", capabilities(r#"{"roots":5}"#), unfit()),
        ("capabilities 200 deep", capabilities(&deep), unfit()),
        ("a client that is a text", info(r#""c""#), unfit()),
        ("a client that is a list", info(r#"["c","1"]"#), unfit()),
        ("a client without a version", info(r#"{"name":"c"}"#), unfit()),
        ("a client whose name is half a sign", info(r#"{"name":"\ud800","version":"1"}"#), unfit()),
        ("a client of 70000 letters", info(&long), unfit()),
        ("a level that is none", place.ask("logging/setLevel", r#"{"level":"loud"}"#), late()),
        ("a level that is a number", place.ask("logging/setLevel", r#"{"level":7}"#), late()),
        ("a level in other case", place.ask("logging/setLevel", r#"{"level":"INFO"}"#), late()),
        ("no level", place.ask("logging/setLevel", "{}"), late()),
        ("a method of another era", place.ask("server/discover", "{}"), Error(400, -32602)),
    ]
}

/// An error of a request in a session.
fn late() -> super::Is {
    Error(200, -32602)
}

/// The oldest transport: what is refused is refused at once and not on the stream.
fn oldest(place: &Place) -> Vec<Row> {
    let at =
        |session: &str, body: &str| Ask::post(body).to(&format!("/messages?sessionId={session}"));
    let say = |body: &str| at(&place.old, body);
    let gone = || Error(404, -32001);
    vec![
        ("old: no session", Ask::post(PING).to("/messages"), gone()),
        ("old: an empty session", at("", PING), gone()),
        ("old: an unknown session", at("unknown", PING), gone()),
        ("old: a session of the new", at(&place.session, PING), gone()),
        (
            "old: a session of bob",
            at(&place.old, PING).set("Authorization", "Bearer key-b"),
            gone(),
        ),
        ("old: a session in a header", note(&place.old).to("/messages"), gone()),
        ("old: two sessions", at(&format!("x&sessionId={}", place.old), NOTE), gone()),
        ("old: another name", Ask::post(NOTE).to(&format!("/messages?id={}", place.old)), gone()),
        ("old: an encoded session", at("%00%ff%zz", NOTE), gone()),
        ("old: a session of 30000 letters", at(&"a".repeat(30_000), NOTE), gone()),
        (
            "old: another scope",
            Ask::post(NOTE).to(&format!("/messages/acme?sessionId={}", place.old)),
            gone(),
        ),
        ("old: no JSON", say("{"), Error(400, -32700)),
        ("old: nothing", say(""), Error(400, -32700)),
        ("old: no message", say("5"), Error(400, -32600)),
        ("old: half an id", say(&PING.replace('1', "1.5")), Error(400, -32600)),
        ("old: a batch", say(&format!("[{PING}]")), Error(400, -32600)),
        ("old: a text", say(PING).set("Content-Type", "text/plain"), Error(415, -32600)),
        ("old: a notification", say(NOTE), Empty(202)),
        ("old: an answer nobody asked for", say(ANSWER), Empty(202)),
        ("old: bytes that are no text", say("").body(b"\xff"), Error(400, -32700)),
    ]
}
