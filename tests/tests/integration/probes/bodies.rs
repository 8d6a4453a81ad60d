//! Probes of bodies: what is no JSON, what is no message, what is too large or too deep, ids,
//! answers that nobody asked for, batches.

use super::{
    Is::{Batch, Empty, Error, Result},
    PING, Place, Row, nested, request,
    wire::Ask,
};
use std::iter::repeat_n;

pub(super) fn rows(place: &Place) -> Vec<Row> {
    let parts: [fn(&Place) -> Vec<Row>; 9] =
        [texts, sizes, depths, twice, shapes, ids, silent, strangers, batches];
    parts.iter().flat_map(|rows| rows(place)).collect()
}

const DEEP: usize = 100_000;
const MOST: usize = 4 * 1024 * 1024;

/// What is no JSON.
fn texts(place: &Place) -> Vec<Row> {
    let say = |body: &[u8]| place.post(body);
    let none = || Error(400, -32700);
    vec![
        ("nothing at all", say(b""), none()),
        ("blanks", say(b" \t\r\n "), none()),
        ("a brace", say(b"{"), none()),
        ("a message cut off", say(&PING.as_bytes()[..PING.len() - 1]), none()),
        ("a message and more", say(format!("{PING} x").as_bytes()), none()),
        ("two messages", say(format!("{PING}\n{PING}").as_bytes()), none()),
        ("a comma too many", say(PING.replace('}', ",}").as_bytes()), none()),
        ("quotes of another kind", say(PING.replace('"', "'").as_bytes()), none()),
        ("a comment", say(format!("/* */{PING}").as_bytes()), none()),
        ("names without quotes", say(b"{jsonrpc:\"2.0\"}"), none()),
        ("not a number", say(PING.replace('1', "NaN").as_bytes()), none()),
        ("an endless number", say(PING.replace('1', "Infinity").as_bytes()), none()),
        ("a number with a zero before", say(PING.replace('1', "01").as_bytes()), none()),
        ("a number with a sign", say(PING.replace('1', "+1").as_bytes()), none()),
        ("a mark of byte order", say(format!("\u{feff}{PING}").as_bytes()), none()),
        ("16 bits a letter", say(&wide(PING)), none()),
        ("bytes that are no text", say(b"\"\xff\xfe\""), none()),
        ("a letter too long", say(b"\"\xc0\x80\""), none()),
        ("half a letter", say(b"\"\xed\xa0\x80\""), none()),
        ("a nothing", say(b"\0"), none()),
        ("a nothing in a text", say(PING.replace("ping", "pi\0ng").as_bytes()), none()),
        ("a line break in a text", say(PING.replace("ping", "pi\nng").as_bytes()), none()),
        ("an escape that is none", say(PING.replace("ping", "\\x41").as_bytes()), none()),
        ("half an escape of a letter", say(PING.replace("ping", "\\u00").as_bytes()), none()),
        ("a form's fields", say(b"jsonrpc=2.0&id=1&method=ping"), none()),
        ("markup", say(b"<?xml version=\"1.0\"?><methodCall/>"), none()),
    ]
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Bodies of every size.
fn sizes(place: &Place) -> Vec<Row> {
    let padded = |size: usize| format!("{PING}{}", " ".repeat(size - PING.len()));
    let named = |name: &str| PING.replace("ping", name);
    let zeros = format!("1{}", "0".repeat(1_000_000));
    let extra = |value: &str| request("ping", &format!(r#"{{"x":{value}}}"#));
    vec![
        ("a body of 4 MiB", place.post(padded(MOST)), Result),
        ("a body of 4 MiB of text", place.post(extra(&quoted(MOST - 100))), Result),
        (
            "a body of 4 MiB and a byte",
            // The answer comes before the body would have been read.
            place.post("").framed("Content-Length", &(MOST + 1).to_string()),
            Error(413, -32600),
        ),
        ("a method of 1 MB", place.post(named(&"m".repeat(1_000_000))), Error(200, -32601)),
        ("a million digits", place.post(extra(&zeros)), Result),
        (
            "a million members",
            place.post(request("ping", &format!("{{{}\"x\":1}}", "\"a\":1,".repeat(600_000)))),
            Result,
        ),
    ]
}

fn quoted(length: usize) -> String {
    format!("\"{}\"", "x".repeat(length))
}

/// Depth is bounded, whoever meets it first.
fn depths(place: &Place) -> Vec<Row> {
    let objects = format!("{}1{}", "{\"a\":".repeat(DEEP), "}".repeat(DEEP));
    let call = |params: &str| place.ask("tools/call", params);
    let deep = nested(DEEP);
    let answer = |member: &str| format!(r#"{{"jsonrpc":"2.0","id":"x","{member}":{deep}}}"#);
    let listed = |params: String| place.ask("tools/list", &params);
    vec![
        ("a body that is deep", place.post(&deep), Error(400, -32600)),
        ("a body that is deep and open", place.post("[".repeat(DEEP)), Error(400, -32700)),
        ("a message that is deep", place.post(&objects), Error(400, -32600)),
        ("an id that is deep", place.post(PING.replace('1', &deep)), Error(400, -32600)),
        (
            "a method that is deep",
            place.post(PING.replace(r#""ping""#, &deep)),
            Error(400, -32600),
        ),
        ("params that are deep", place.ask("ping", &deep), Error(400, -32600)),
        ("a member that is deep", place.ask("ping", &objects), Result),
        (
            "arguments that are deep",
            call(&format!(r#"{{"name":"recall","arguments":{deep}}}"#)),
            Error(200, -32602),
        ),
        (
            "an argument that is deep",
            call(&format!(r#"{{"name":"recall","arguments":{{"query":{deep}}}}}"#)),
            Error(200, -32602),
        ),
        (
            "a scope that is deep",
            call(&format!(r#"{{"name":"recall","arguments":{{"query":"x","org":{deep}}}}}"#)),
            Error(200, -32602),
        ),
        ("a name that is deep", call(&format!(r#"{{"name":{deep}}}"#)), Error(200, -32602)),
        ("_meta that is deep", listed(format!(r#"{{"_meta":{deep}}}"#)), Error(200, -32602)),
        (
            "_meta that has something deep",
            listed(format!(r#"{{"_meta":{{"x":{objects}}}}}"#)),
            Error(200, -32602),
        ),
        ("a cursor that is deep", listed(format!(r#"{{"cursor":{deep}}}"#)), Error(200, -32602)),
        ("a result that is deep", place.post(answer("result")), Empty(202)),
        ("an error that is deep", place.post(answer("error")), Empty(202)),
        (
            "a cancellation that is deep",
            place.post(format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{deep}}}}}"#
            )),
            Empty(202),
        ),
    ]
}

/// Members that are there twice: no two readers may see different ones.
fn twice(place: &Place) -> Vec<Row> {
    let with = |more: &str| place.post(PING.replace('}', &format!(",{more}}}")));
    let call = |params: &str| place.ask("tools/call", params);
    vec![
        ("a version twice in a message", with(r#""jsonrpc":"2.0""#), Error(400, -32600)),
        ("an id twice", with(r#""id":2"#), Error(400, -32600)),
        ("a method twice", with(r#""method":"tools/list""#), Error(400, -32600)),
        ("a method twice, once escaped", with(r#""m\u0065thod":"x""#), Error(400, -32600)),
        ("params twice", with(r#""params":{},"params":{}"#), Error(400, -32600)),
        ("a name twice", call(r#"{"name":"recall","name":"remember"}"#), Error(400, -32600)),
        (
            "arguments twice",
            call(r#"{"name":"recall","arguments":{},"arguments":{}}"#),
            Error(400, -32600),
        ),
        ("_meta twice", place.ask("ping", r#"{"_meta":{},"_meta":{}}"#), Error(400, -32600)),
        (
            "a scope twice",
            call(r#"{"name":"recall","arguments":{"query":"x","org":"a","org":"b"}}"#),
            Error(200, -32602),
        ),
        (
            "a scope twice, once escaped",
            call(r#"{"name":"recall","arguments":{"query":"x","org":"a","\u006frg":"b"}}"#),
            Error(200, -32602),
        ),
        (
            "a scope by two names",
            call(r#"{"name":"recall","arguments":{"query":"x","org":"a","organizationSlug":"b"}}"#),
            Error(200, -32602),
        ),
        // What means nothing here may be there as often as it likes.
        ("a stranger twice", with(r#""x":1,"x":2"#), Result),
    ]
}

/// What is JSON and no message of JSON-RPC.
fn shapes(place: &Place) -> Vec<Row> {
    let say = |body: &str| place.post(body);
    let version = |value: &str| say(&PING.replace(r#""2.0""#, value));
    let method = |value: &str| say(&PING.replace(r#""ping""#, value));
    let none = || Error(400, -32600);
    let unknown = || Error(200, -32601);
    vec![
        ("a number", say("5"), none()),
        ("a text alone", say("\"ping\""), none()),
        ("null", say("null"), none()),
        ("an object of nothing", say("{}"), none()),
        ("no version of JSON-RPC", say(r#"{"id":1,"method":"ping"}"#), none()),
        ("another version of JSON-RPC", version("\"1.0\""), none()),
        ("a version with a blank", version("\"2.0 \""), none()),
        ("a version of JSON-RPC in a number", version("2.0"), none()),
        ("a version of JSON-RPC of nothing", version("null"), none()),
        // The same text, written otherwise (RFC 8259, 8.3).
        ("a version in escapes", version(r#""\u0032.0""#), Result),
        ("a method in escapes", method(r#""p\u0069ng""#), Result),
        ("no method", say(r#"{"jsonrpc":"2.0","id":1}"#), none()),
        ("a method of nothing", method("null"), none()),
        ("a method that is a number", method("5"), none()),
        ("a method that is a list", method("[\"ping\"]"), none()),
        ("a method of half a sign", method(r#""\ud800""#), none()),
        ("an empty method", method("\"\""), unknown()),
        ("a method in other case", method("\"PING\""), unknown()),
        ("a method with a blank", method("\" ping\""), unknown()),
        ("a method with a nothing", method(r#""ping\u0000""#), unknown()),
        ("a method with a line break", method(r#""ping\r\nx""#), unknown()),
        ("a method of dots", method("\"../tools/list\""), unknown()),
        ("a method of JavaScript", method("\"__proto__\""), unknown()),
        ("a method of JSON-RPC", method("\"rpc.discover\""), unknown()),
        ("params that are a list", place.ask("ping", "[]"), none()),
        ("params that are a text", place.ask("ping", "\"x\""), none()),
        ("params that are a number", place.ask("ping", "0"), none()),
        ("params that are true", place.ask("ping", "true"), none()),
        ("a request with a result", say(&PING.replace('}', r#","result":{}}"#)), none()),
        ("a request with an error", say(&PING.replace('}', r#","error":{}}"#)), none()),
        ("a result and an error", say(r#"{"jsonrpc":"2.0","id":1,"result":1,"error":1}"#), none()),
        ("a result without an id", say(r#"{"jsonrpc":"2.0","result":{}}"#), none()),
        ("a result for nobody", say(r#"{"jsonrpc":"2.0","id":null,"result":{}}"#), none()),
        ("an error of nothing", say(r#"{"jsonrpc":"2.0","id":1,"error":null}"#), none()),
        ("numbers past all bounds", place.ask("ping", r#"{"x":1e999,"y":-1e-999}"#), Result),
        (
            "a number past all bounds",
            place.ask("tools/call", r#"{"name":"recall","arguments":{"query":1e999}}"#),
            Error(200, -32602),
        ),
    ]
}

/// Ids are texts or integers (MCP, basic), and come back as they were.
fn ids(place: &Place) -> Vec<Row> {
    let id = |value: &str| place.post(PING.replace('1', value));
    let served = |value: &str| place.post(request("tools/list", "{}").replacen('1', value, 1));
    let none = || Error(400, -32600);
    let long = quoted(1_000_000);
    vec![
        ("an id of nothing", id("null"), none()),
        ("an id with a point", id("1.5"), none()),
        ("an id with a zero after the point", id("1.0"), none()),
        ("an id with an exponent", id("1e2"), none()),
        ("an id past all bounds", id("1e999"), none()),
        ("an id that is true", id("true"), none()),
        ("an id that is an object", id("{}"), none()),
        ("an id that is a list", id("[1]"), none()),
        ("an id past 64 bits", id("9223372036854775808"), none()),
        ("an id of 400 digits", id(&"9".repeat(400)), none()),
        ("an id of half a sign", id(r#""\ud800""#), none()),
        ("an id of minus zero", id("-0"), Result),
        ("an id of minus zero, served", served("-0"), Result),
        ("the largest id", id("9223372036854775807"), Result),
        ("the smallest id, served", served("-9223372036854775808"), Result),
        ("an empty id", id("\"\""), Result),
        ("an empty id, served", served("\"\""), Result),
        ("an id of 1 MB", id(&long), Result),
        ("an id of 1 MB, served", served(&long), Result),
        ("an id of markup", id(r#""<script>\u0000\n""#), Result),
        ("an id of markup, served", served(r#""</script>\u2028\ud83d\ude00""#), Result),
    ]
}

/// What wants no answer has none, however strange it is.
fn silent(place: &Place) -> Vec<Row> {
    let note = |method: &str, params: &str| {
        place.post(format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#))
    };
    let cancel = |params: &str| note("notifications/cancelled", params);
    let answer = |rest: &str| place.post(format!(r#"{{"jsonrpc":"2.0",{rest}}}"#));
    vec![
        ("a notification with an id of nothing", place.post(NULL), Error(400, -32600)),
        ("a notification nobody knows", note("no/such", "{}"), Empty(202)),
        ("a request without an id", note("tools/call", "{}"), Empty(202)),
        ("a notification of a list", note("notifications/initialized", "[]"), Error(400, -32600)),
        ("a cancellation of nothing", cancel("{}"), Empty(202)),
        ("a cancellation of an unknown call", cancel(r#"{"requestId":4711}"#), Empty(202)),
        ("a cancellation of a call that is half", cancel(r#"{"requestId":777.5}"#), Empty(202)),
        // The call that runs is 777, and no other way to write that is its id.
        ("a cancellation of a text", cancel(r#"{"requestId":"777"}"#), Empty(202)),
        ("a cancellation of an object", cancel(r#"{"requestId":{"id":777}}"#), Empty(202)),
        ("a cancellation of null", cancel(r#"{"requestId":null}"#), Empty(202)),
        ("a cancellation of two", cancel(r#"{"requestId":1,"requestId":2}"#), Error(400, -32600)),
        ("progress of nothing", note("notifications/progress", r#"{"progress":"x"}"#), Empty(202)),
        ("an answer to nothing", answer(r#""id":1,"result":{}"#), Empty(202)),
        ("an answer to a text", answer(r#""id":"x","result":{}"#), Empty(202)),
        (
            "an answer to an unknown call",
            answer(r#""id":"0123456789abcdef.0","result":{}"#),
            Empty(202),
        ),
        (
            "an answer to a question past 32 bits",
            answer(r#""id":"0123456789abcdef.99999999999","result":{}"#),
            Empty(202),
        ),
        ("an error that nobody asked for", answer(r#""id":7,"error":{"code":"x"}"#), Empty(202)),
        ("an answer to half", answer(r#""id":1.5,"result":{}"#), Error(400, -32600)),
    ]
}

/// What others say to the call that runs, and what it is not asked: it must not hear any of it.
fn strangers(place: &Place) -> Vec<Row> {
    let Some(question) = &place.question else { return Vec::new() };
    let with = |id: &str, result: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},{result}}}"#);
    let (question, asked) = (format!("\"{question}\""), question.split('.').next().unwrap());
    let decline = r#""result":{"action":"decline"}"#;
    let answer = with(&question, decline);
    let cancel =
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":777}}"#;
    let narrow =
        |body: &str| Ask::post(body).to("/mcp/acme/web").with("Mcp-Session-Id", &place.narrow);
    let bob = |body: &str| {
        let ask = Ask::post(body).set("Authorization", "Bearer key-b");
        ask.with("Mcp-Session-Id", &place.foreign)
    };
    let other = |body: &str| Ask::post(body).with("Mcp-Session-Id", &place.batch);
    let modern = |body: &str| place.post(body).set("MCP-Protocol-Version", "2026-07-28");
    vec![
        ("bob's answer", bob(&answer), Empty(202)),
        ("bob's cancellation", bob(cancel), Empty(202)),
        ("an answer of another scope", narrow(&answer), Empty(202)),
        ("a cancellation of another scope", narrow(cancel), Empty(202)),
        ("an answer of another session", other(&answer), Empty(202)),
        ("an answer of another session in a batch", other(&format!("[{answer}]")), Empty(202)),
        ("a cancellation of another session", other(cancel), Empty(202)),
        ("an answer of no session", Ask::post(&answer), Error(400, -32600)),
        ("an answer of the modern era", modern(&answer), Error(400, -32600)),
        // Without a session nothing can be named that runs.
        ("a cancellation of the modern era", modern(cancel), Empty(202)),
        (
            "an answer to what the call has not asked",
            place.post(with(&format!("\"{asked}.4294967295\""), decline)),
            Empty(202),
        ),
        (
            "an answer to the question in other case",
            place.post(with(&question.to_uppercase().replace(".0", ".00000000000"), decline)),
            Empty(202),
        ),
        (
            "an answer that is an answer and an error",
            place.post(with(&question, r#""result":{},"error":{"code":1,"message":"x"}"#)),
            Error(400, -32600),
        ),
        ("an answer that is neither", place.post(with(&question, r#""x":1"#)), Error(400, -32600)),
        (
            "a request of the id that is in use",
            place.post(request("tools/list", "{}").replacen('1', "777", 1)),
            Error(400, -32600),
        ),
    ]
}

const NULL: &str = r#"{"jsonrpc":"2.0","id":null,"method":"notifications/initialized"}"#;

/// Several messages at once, which one revision has.
fn batches(place: &Place) -> Vec<Row> {
    let batch = |body: &str| {
        let revision = ("MCP-Protocol-Version", "2025-03-26");
        Ask::post(body).with("Mcp-Session-Id", &place.batch).with(revision.0, revision.1)
    };
    let of = |items: &[&str]| batch(&format!("[{}]", items.join(",")));
    let pings = |count: usize| format!("[{}]", repeat_n(PING, count).collect::<Vec<_>>().join(","));
    let list = request("tools/list", "{}");
    let begin = request("initialize", r#"{"protocolVersion":"2025-03-26"}"#);
    let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let none = || Error(400, -32600);
    let modern = place.post(pings(1)).set("MCP-Protocol-Version", "2026-07-28");
    vec![
        ("a batch of nothing", batch("[]"), none()),
        ("a batch of 65", batch(&pings(65)), none()),
        ("a batch of 64", batch(&pings(64)), Batch(&[0; 64])),
        ("a batch with a comma too many", batch(&format!("[{PING},]")), Error(400, -32700)),
        ("a batch that is open", batch(&format!("[{PING}")), Error(400, -32700)),
        ("a batch in a later revision", place.post(pings(1)), none()),
        ("a batch in no session", Ask::post(pings(1)), none()),
        ("a batch in the modern era", modern, none()),
        (
            "a batch in an ended session",
            batch(&pings(1)).set("Mcp-Session-Id", &place.ended),
            Error(404, -32001),
        ),
        ("a batch in a batch", of(&[&pings(1)]), Batch(&[-32600])),
        ("a batch of what is none", of(&["1", "null", "\"x\"", "{}", "[]"]), Batch(&[-32600; 5])),
        ("a batch of all kinds", of(&[PING, note, "1", &list]), Batch(&[0, -32600, 0])),
        ("a batch of notes", of(&[note, note]), Empty(202)),
        ("a batch that begins", of(&[&begin, PING]), Batch(&[-32600, 0])),
        ("a batch of unknown methods", of(&[&request("no/such", "{}"), PING]), Batch(&[-32601, 0])),
        // An id that is in use is not used again (JSON-RPC 2.0, 4).
        ("a batch of one id", of(&[&list, &list]), Batch(&[0, -32600])),
        ("a batch with something deep", of(&[&nested(DEEP), PING]), Batch(&[-32600, 0])),
        (
            "a batch that calls what fails",
            of(&[&request("tools/call", r#"{"name":5}"#), PING]),
            Batch(&[-32602, 0]),
        ),
    ]
}
