//! Probes of the era without sessions (2026-07-28): `_meta`, the headers that mirror a body, what
//! goes back and forth in rounds, tasks, subscriptions.

use super::{
    Is::{Empty, Error, Result, Stream},
    PING, Place, Row, nested, request,
    wire::Ask,
};

const REVISION: &str = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;
const CAPABILITIES: &str = r#""io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}"#;

const TASKS: &str = r#""io.modelcontextprotocol/clientCapabilities":{"extensions":{
    "io.modelcontextprotocol/tasks":{}}}"#;

pub(super) fn rows(place: &Place) -> Vec<Row> {
    let mut rows = [metas(), revisions(), methods(), names(), values(), subscriptions()].concat();
    rows.extend(tasks(place));
    if let Some(ids) = &place.tasks {
        rows.extend([mirrors(), rounds(), real_tasks(ids)].concat());
    }
    if let Some(state) = &place.state {
        rows.extend(stolen(state));
    }
    rows
}

/// A task that somebody has.
pub(super) fn begin_task(origin: &str, key: &str, path: &str) -> String {
    let host = origin.trim_start_matches("http://");
    let call = with_tasks("tools/call", r#""name":"slow_compute","arguments":{"seconds":1}"#)
        .with("Mcp-Name", "slow_compute")
        .set("Authorization", format!("Bearer {key}"));
    let answer = call.to(path).send(host);
    answer.json()["result"]["taskId"].as_str().expect(&answer.body).to_owned()
}

/// What a tool that asks wants to have back.
pub(super) fn begin_round(origin: &str) -> String {
    let answer = call(ASKS, "").send(origin.trim_start_matches("http://"));
    answer.json()["result"]["requestState"].as_str().expect(&answer.body).to_owned()
}

const ASKS: &str = "test_input_required_result_request_state";

/// A request with the headers that it needs, and `_meta` of one's own.
fn with_meta(method: &str, params: &str, meta: &str) -> Ask {
    let comma = if params.is_empty() { "" } else { "," };
    Ask::post(request(method, &format!(r#"{{{params}{comma}"_meta":{meta}}}"#)))
        .with("MCP-Protocol-Version", "2026-07-28")
        .with("Mcp-Method", method)
}

/// A request as it should be.
fn modern(method: &str, params: &str) -> Ask {
    with_meta(method, params, &format!("{{{REVISION},{CAPABILITIES}}}"))
}

/// A request of a client that knows tasks.
fn with_tasks(method: &str, params: &str) -> Ask {
    with_meta(method, params, &format!("{{{REVISION},{TASKS}}}"))
}

fn call(name: &str, more: &str) -> Ask {
    modern("tools/call", &format!(r#""name":"{name}"{more}"#)).with("Mcp-Name", name)
}

fn unfit() -> super::Is {
    Error(400, -32602)
}

fn invalid() -> super::Is {
    Error(200, -32602)
}

fn mismatch() -> super::Is {
    Error(400, -32020)
}

/// `_meta` of every wrong type.
fn metas() -> Vec<Row> {
    let meta = |meta: &str| with_meta("tools/list", "", meta);
    let revision = |value: &str| meta(&format!(r#"{{"{KEY}protocolVersion":{value}}}"#));
    let capabilities =
        |value: &str| meta(&format!(r#"{{{REVISION},"{KEY}clientCapabilities":{value}}}"#));
    let more = |more: &str| meta(&format!("{{{REVISION},{CAPABILITIES},{more}}}"));
    let level = |value: &str| more(&format!(r#""{KEY}logLevel":{value}"#));
    let deep = nested(100_000);
    vec![
        ("modern: as it should be", modern("tools/list", ""), Result),
        ("modern: _meta of nothing", meta("null"), unfit()),
        ("modern: _meta of a list", meta("[]"), unfit()),
        ("modern: _meta of its values", meta(r#"["2026-07-28",{}]"#), unfit()),
        ("modern: _meta of a text", meta("\"2026-07-28\""), unfit()),
        ("modern: _meta of a number", meta("5"), unfit()),
        ("modern: _meta that is empty", meta("{}"), unfit()),
        ("modern: a revision that is a number", revision("20260728"), unfit()),
        ("modern: a revision that is nothing", revision("null"), unfit()),
        ("modern: a revision that is a list", revision("[]"), unfit()),
        ("modern: a revision of half a sign", revision(r#""\ud800""#), unfit()),
        ("modern: a revision twice", revision(&format!("\"2026-07-28\",{REVISION}")), unfit()),
        ("modern: no capabilities", meta(&format!("{{{REVISION}}}")), unfit()),
        ("modern: capabilities of nothing", capabilities("null"), unfit()),
        ("modern: capabilities in a list", capabilities("[]"), unfit()),
        ("modern: capabilities in a text", capabilities("\"all\""), unfit()),
        ("modern: capabilities in a number", capabilities("0"), unfit()),
        ("modern: a level that is a number", level("5"), unfit()),
        ("modern: a level nobody knows", level("\"loud\""), unfit()),
        ("modern: a level in a list", level("[\"info\"]"), unfit()),
        ("modern: a token that is an object", more(r#""progressToken":{}"#), invalid()),
        ("modern: something deep in _meta", more(&format!("\"x\":{deep}")), invalid()),
        ("modern: 1 MB of _meta", more(&format!("\"x\":\"{}\"", "x".repeat(1_000_000))), Result),
        ("modern: discovery of nothing", Ask::post(request("server/discover", "{}")), unfit()),
    ]
}

const KEY: &str = "io.modelcontextprotocol/";

/// The revision of the header and of the body.
fn revisions() -> Vec<Row> {
    let named = "MCP-Protocol-Version";
    let list = || modern("tools/list", "");
    let future = with_meta("tools/list", "", &format!(r#"{{"{KEY}protocolVersion":"v9"}}"#));
    let note = r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#;
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    vec![
        ("modern: no revision in the header", list().without(named), mismatch()),
        ("modern: an empty revision in the header", list().set(named, ""), mismatch()),
        ("modern: another in the header", list().set(named, "2025-11-25"), mismatch()),
        ("modern: a revision twice in headers", list().with(named, "2026-07-28"), mismatch()),
        ("modern: two revisions in headers", list().with(named, "2025-11-25"), mismatch()),
        ("modern: another in the body", future.clone(), mismatch()),
        ("modern: an unknown one in both", future.set(named, "v9"), Error(400, -32022)),
        ("modern: a session", list().with("Mcp-Session-Id", "nonsense"), Result),
        ("modern: an event", list().with("Last-Event-ID", "nonsense"), Result),
        ("modern: a batch", modern("", "").body(format!("[{PING}]")), Error(400, -32600)),
        ("modern: a notification", modern("", "").body(note), Empty(202)),
        ("modern: an answer", modern("", "").body(answer), Error(400, -32600)),
        ("modern: no JSON", modern("", "").body("{"), Error(400, -32700)),
        ("modern: no message", modern("", "").body("7"), Error(400, -32600)),
    ]
}

/// Methods, and the header that mirrors them.
fn methods() -> Vec<Row> {
    let named = "Mcp-Method";
    let list = || modern("tools/list", "");
    let header = |value: &str| list().set(named, value);
    let unknown = || Error(404, -32601);
    vec![
        ("modern: no method in the header", list().without(named), mismatch()),
        ("modern: an empty method in the header", header(""), mismatch()),
        ("modern: another method in the header", header("tools/call"), mismatch()),
        ("modern: a method in other case", header("Tools/List"), mismatch()),
        ("modern: a method twice in headers", list().with(named, "tools/list"), mismatch()),
        ("modern: a method in base64", header("=?base64?dG9vbHMvbGlzdA==?="), Result),
        ("modern: a method in bad base64", header("=?base64?dG9vbHMvbGlzdA?="), mismatch()),
        ("modern: a method in half a mark", header("=?base64?dG9vbHMvbGlzdA=="), mismatch()),
        ("modern: a method of 30000 letters", header(&"m".repeat(30_000)), mismatch()),
        ("modern: a beginning", modern("initialize", ""), unknown()),
        ("modern: a ping", modern("ping", ""), unknown()),
        ("modern: a level", modern("logging/setLevel", ""), unknown()),
        ("modern: a subscription", modern("resources/subscribe", ""), unknown()),
        ("modern: the list of tasks", modern("tasks/list", ""), unknown()),
        ("modern: the result of a task", modern("tasks/result", ""), unknown()),
        ("modern: an unknown method", modern("no/such", ""), unknown()),
        ("modern: a method of JavaScript", modern("__proto__", ""), unknown()),
        ("modern: an empty method", modern("", ""), unknown()),
    ]
}

/// Names, and the header that mirrors them.
fn names() -> Vec<Row> {
    let named = "Mcp-Name";
    let bare = || modern("tools/call", r#""name":"no-such""#);
    let header = |value: &str| bare().with(named, value);
    let odd = |name: &str| modern("tools/call", &format!("\"name\":{name}"));
    vec![
        ("modern: an unknown tool", header("no-such"), invalid()),
        ("modern: no name in the header", bare(), mismatch()),
        ("modern: an empty name in the header", header(""), mismatch()),
        ("modern: another name in the header", header("recall"), mismatch()),
        ("modern: a name in other case", header("No-Such"), mismatch()),
        ("modern: a name twice in headers", header("no-such").with(named, "no-such"), mismatch()),
        ("modern: a name in base64", header("=?base64?bm8tc3VjaA==?="), invalid()),
        ("modern: a name in base64 without padding", header("=?base64?bm8tc3VjaA?="), mismatch()),
        ("modern: a name in no base64", header("=?base64?!!!!?="), mismatch()),
        ("modern: a name in base64 of no text", header("=?base64?//79?="), mismatch()),
        ("modern: a name in empty base64", header("=?base64??="), mismatch()),
        ("modern: a mark in other case", header("=?BASE64?bm8tc3VjaA==?="), mismatch()),
        ("modern: half a mark before", header("=?base64?bm8tc3VjaA=="), mismatch()),
        ("modern: half a mark after", header("bm8tc3VjaA==?="), mismatch()),
        (
            "modern: half a mark that is the name",
            odd("\"=?base64?\"").with(named, "=?base64?"),
            invalid(),
        ),
        ("modern: a name that is a number", odd("5").with(named, "5"), invalid()),
        ("modern: a name that is nothing", odd("null").with(named, "null"), invalid()),
        ("modern: a name of half a sign", odd(r#""\ud800""#).with(named, "x"), invalid()),
        (
            "modern: a name twice in the body",
            modern("tools/call", r#""name":"a","name":"b""#).with(named, "a"),
            Error(400, -32600),
        ),
        (
            "modern: another URI in the header",
            modern("resources/read", r#""uri":"a:b""#).with(named, "a:c"),
            mismatch(),
        ),
        (
            "modern: another prompt in the header",
            modern("prompts/get", r#""name":"briefing""#).with(named, "x"),
            mismatch(),
        ),
        ("modern: a name nobody mirrors", modern("tools/list", "").with(named, "x"), Result),
    ]
}

/// What a request is given.
fn values() -> Vec<Row> {
    let read =
        |uri: &str| modern("resources/read", &format!(r#""uri":"{uri}""#)).with("Mcp-Name", uri);
    let recall = |arguments: &str| call("recall", &format!(r#","arguments":{arguments}"#));
    vec![
        ("modern: a URI of a file", read("file:///etc/passwd"), invalid()),
        ("modern: a note of dots", read("memory://notes/../../x"), invalid()),
        ("modern: arguments in a list", recall("[]"), invalid()),
        ("modern: deep arguments", recall(&nested(100_000)), invalid()),
        ("modern: an org of dots", recall(r#"{"query":"x","org":"../bob"}"#), invalid()),
        ("modern: an org twice", recall(r#"{"query":"x","org":"a","org":"b"}"#), invalid()),
        ("modern: a number past all bounds", recall(r#"{"query":"x","limit":1e999}"#), invalid()),
        ("modern: a cursor of a letter", modern("tools/list", r#""cursor":"x""#), invalid()),
        ("modern: a cursor in a number", modern("tools/list", r#""cursor":5"#), invalid()),
        ("modern: an id of minus zero", minus_zero(), Result),
        ("modern: a state for a list", modern("tools/list", r#""requestState":"x""#), Result),
    ]
}

fn minus_zero() -> Ask {
    let meta = format!("{{{REVISION},{CAPABILITIES}}}");
    let params = format!(r#"{{"_meta":{meta}}}"#);
    modern("tools/list", "").body(request("tools/list", &params).replacen('1', "-0", 1))
}

/// Tasks that are not there.
fn tasks(place: &Place) -> Vec<Row> {
    let task = |method: &str, id: &str, more: &str| {
        with_tasks(method, &format!(r#""taskId":"{id}"{more}"#)).with("Mcp-Name", id)
    };
    let get = |id: &str| task("tasks/get", id, "");
    // Where no tool goes on as a task there are no such methods.
    let unknown = || if place.tasks.is_some() { invalid() } else { Error(404, -32601) };
    let random = "00112233445566778899aabbccddeeff";
    let odd = |value: &str| {
        with_tasks("tasks/get", &format!(r#""taskId":{value}"#)).with("Mcp-Name", "x")
    };
    let answers =
        |value: &str| task("tasks/update", random, &format!(r#","inputResponses":{value}"#));
    let long = "a".repeat(1_000_000);
    vec![
        ("modern: no task", with_tasks("tasks/get", "").with("Mcp-Name", "x"), invalid()),
        ("modern: a task that is a number", odd("5"), invalid()),
        ("modern: a task that is a list", odd("[]"), invalid()),
        ("modern: an unknown task", get(random), unknown()),
        ("modern: an unknown task elsewhere", get(&format!("acme:web:{random}")), unknown()),
        (
            "modern: a task outside of the scope",
            get(&format!("other:{random}")).to("/mcp/acme"),
            unknown(),
        ),
        ("modern: a task of dots", get("../../x"), unknown()),
        ("modern: a task of too many levels", get(&format!("a:b:c:{random}")), unknown()),
        ("modern: a task in other case", get(&random.to_uppercase()), unknown()),
        ("modern: a task of SQL", get("' OR 1=1 --"), unknown()),
        ("modern: a task of nothing", get(":"), unknown()),
        (
            "modern: a task of 1 MB",
            get("x").body(request("tasks/get", &meta_with(&long))),
            mismatch(),
        ),
        ("modern: another task in the header", get("a").set("Mcp-Name", "b"), mismatch()),
        ("modern: no task in the header", get("a").without("Mcp-Name"), mismatch()),
        ("modern: the end of no task", task("tasks/cancel", random, ""), unknown()),
        ("modern: an answer to no task", answers("{}"), unknown()),
        ("modern: no answer to a task", task("tasks/update", random, ""), invalid()),
        ("modern: a list of answers to a task", answers("[]"), invalid()),
        ("modern: a text of answers to a task", answers("\"x\""), invalid()),
    ]
}

fn meta_with(task: &str) -> String {
    format!(r#"{{"taskId":"{task}","_meta":{{{REVISION},{TASKS}}}}}"#)
}

/// What a client may ask to hear of.
fn subscriptions() -> Vec<Row> {
    let listen =
        |filter: &str| modern("subscriptions/listen", &format!("\"notifications\":{filter}"));
    let uris = |value: &str| listen(&format!(r#"{{"resourceSubscriptions":{value}}}"#));
    let many = format!("[{}\"a:b\"]", "\"a:b\",".repeat(256));
    vec![
        ("modern: a stream of nothing", modern("subscriptions/listen", ""), invalid()),
        ("modern: a stream of null", listen("null"), invalid()),
        ("modern: a stream of a text", listen("\"all\""), invalid()),
        ("modern: a stream of a number", listen("1"), invalid()),
        ("modern: a stream of a list", listen("[]"), invalid()),
        ("modern: a stream of values", listen("[true,true,true,[]]"), invalid()),
        ("modern: a stream that is deep", listen(&nested(100_000)), invalid()),
        ("modern: a wish that is a text", listen(r#"{"toolsListChanged":"yes"}"#), invalid()),
        ("modern: a wish that is a number", listen(r#"{"toolsListChanged":1}"#), invalid()),
        (
            "modern: a wish twice",
            listen(r#"{"toolsListChanged":true,"toolsListChanged":false}"#),
            invalid(),
        ),
        ("modern: resources in a text", uris("\"a:b\""), invalid()),
        ("modern: resources in numbers", uris("[5]"), invalid()),
        ("modern: resources of nothing", uris("[null]"), invalid()),
        ("modern: a resource of half a sign", uris(r#"["\ud800"]"#), invalid()),
        ("modern: 257 resources", uris(&many), invalid()),
        (
            "modern: a resource of 2049 letters",
            uris(&format!("[\"{}\"]", "a".repeat(2049))),
            invalid(),
        ),
        ("modern: a wish nobody knows", listen(r#"{"weatherChanged":true}"#), Stream),
        (
            "modern: a stream without a revision",
            listen("{}").without("MCP-Protocol-Version"),
            mismatch(),
        ),
    ]
}

/// Headers that mirror arguments.
fn mirrors() -> Vec<Row> {
    let with =
        |arguments: &str| call("test_header_parameters", &format!(r#","arguments":{arguments}"#));
    let region = || with(r#"{"region":"ü"}"#);
    let count = |value: &str| with(&format!(r#"{{"count":{value}}}"#));
    let (at, of) = ("Mcp-Param-Region", "Mcp-Param-Count");
    vec![
        ("mirrored: as it should be", region().with(at, "=?base64?w7w=?="), Result),
        (
            "mirrored: with a method in base64",
            region().with(at, "=?base64?w7w=?=").set("Mcp-Method", "=?base64?dG9vbHMvY2FsbA==?="),
            Result,
        ),
        ("mirrored: no header", region(), mismatch()),
        ("mirrored: an empty header", region().with(at, ""), mismatch()),
        ("mirrored: another value", region().with(at, "u"), mismatch()),
        ("mirrored: twice", region().with(at, "=?base64?w7w=?=").with(at, "x"), mismatch()),
        ("mirrored: base64 without padding", region().with(at, "=?base64?w7w?="), mismatch()),
        ("mirrored: no base64", region().with(at, "=?base64?ü?="), mismatch()),
        ("mirrored: base64 of no text", region().with(at, "=?base64?/w==?="), mismatch()),
        ("mirrored: half a mark", region().with(at, "=?base64?w7w="), mismatch()),
        ("mirrored: a header for nothing", with("{}").with(at, "x"), mismatch()),
        ("mirrored: a header for null", with(r#"{"region":null}"#).with(at, "null"), mismatch()),
        ("mirrored: an integer with a point", count("42").with(of, "42.0"), Result),
        ("mirrored: an integer past 53 bits", count(BIG).with(of, BIG), mismatch()),
        ("mirrored: an integer in hexadecimal", count("42").with(of, "0x2a"), mismatch()),
        ("mirrored: an integer that is none", count("42").with(of, "NaN"), mismatch()),
        ("mirrored: an endless integer", count("42").with(of, "1e999"), mismatch()),
        ("mirrored: an integer in a text", count("\"42\"").with(of, "42"), mismatch()),
        (
            "mirrored: truth in other case",
            with(r#"{"dry":true}"#).with("Mcp-Param-Dry", "True"),
            mismatch(),
        ),
        ("mirrored: a header nobody knows", with("{}").with("Mcp-Param-No-Such", "x"), Result),
        ("mirrored: a header of no name", with("{}").with("Mcp-Param-", "x"), Result),
    ]
}

const BIG: &str = "9007199254740993";

/// What a client brings back from one request to the next.
fn rounds() -> Vec<Row> {
    let tool = |more: &str| call(ASKS, more);
    let state = |value: &str| tool(&format!(r#","requestState":{value}"#));
    let answers = |value: &str| tool(&format!(r#","inputResponses":{value}"#));
    let long = format!("\"{}\"", "A".repeat(1_000_000));
    let deep = nested(100_000);
    vec![
        ("rounds: the first", tool(""), Result),
        ("rounds: a state of a letter", state("\"x\""), invalid()),
        ("rounds: an empty state", state("\"\""), invalid()),
        ("rounds: a state of 1 MB", state(&long), invalid()),
        ("rounds: a state that is a number", state("5"), invalid()),
        ("rounds: a state that is an object", state("{}"), invalid()),
        ("rounds: a state that is deep", state(&deep), invalid()),
        ("rounds: a state of half a sign", state(r#""\ud800""#), invalid()),
        ("rounds: a state of dots and nothings", state(r#""a.b.c\u0000""#), invalid()),
        ("rounds: a state twice", state(r#""a","requestState":"b""#), invalid()),
        ("rounds: answers in a list", answers("[]"), invalid()),
        ("rounds: answers in a text", answers("\"x\""), invalid()),
        ("rounds: answers in a number", answers("1"), invalid()),
        ("rounds: answers that are deep", answers(&format!(r#"{{"x":{deep}}}"#)), invalid()),
        // An answer that does not fit is none, and the question is asked again.
        ("rounds: answers that are nothing", answers("null"), Result),
        ("rounds: an answer that is a text", answers(r#"{"confirm":"yes"}"#), Result),
        ("rounds: an answer that is null", answers(r#"{"confirm":null}"#), Result),
        ("rounds: an answer nobody asked for", answers(r#"{"../x":{"action":"accept"}}"#), Result),
        ("rounds: an answer of 1 MB", answers(&format!(r#"{{"confirm":{long}}}"#)), Result),
        (
            "rounds: a client that cannot be asked",
            with_meta(
                "tools/call",
                r#""name":"test_missing_capability""#,
                &format!("{{{REVISION},{CAPABILITIES}}}"),
            )
            .with("Mcp-Name", "test_missing_capability"),
            Error(400, -32021),
        ),
    ]
}

/// A state that is good, for another request than the one that it is of. The right one is the
/// last: nothing before has used it up.
fn stolen(state: &str) -> Vec<Row> {
    let rest = |state: &str, more: &str| {
        let accept = r#"{"action":"accept","content":{"ok":true}}"#;
        format!(r#"{more},"inputResponses":{{"confirm":{accept}}},"requestState":"{state}""#)
    };
    let with = |state: &str, more: &str| call(ASKS, &rest(state, more));
    let own = || with(state, "");
    let other = "test_input_required_result_tampered_state";
    let (first, second) = state.split_at(state.len() / 2);
    let swapped = state.chars().rev().collect::<String>();
    vec![
        ("stolen: by bob", own().set("Authorization", "Bearer key-b"), invalid()),
        ("stolen: at a scope", own().to("/mcp/acme"), invalid()),
        ("stolen: for another tool", call(other, &rest(state, "")), invalid()),
        ("stolen: with other arguments", with(state, r#","arguments":{"x":1}"#), invalid()),
        ("stolen: with a letter more", with(&format!("{state}A"), ""), invalid()),
        ("stolen: with a sign more", with(&format!("{state}="), ""), invalid()),
        ("stolen: one half", with(first, ""), invalid()),
        ("stolen: the other half", with(second, ""), invalid()),
        ("stolen: twice in one", with(&format!("{state}{state}"), ""), invalid()),
        ("stolen: backwards", with(&swapped, ""), invalid()),
        ("stolen: in other case", with(&state.to_lowercase(), ""), invalid()),
        ("stolen: by nobody", own(), Result),
    ]
}

/// Tasks that are there, and whom they are nothing to.
fn real_tasks([of_bob, of_acme]: &[String; 2]) -> Vec<Row> {
    let get =
        |id: &str| with_tasks("tasks/get", &format!(r#""taskId":"{id}""#)).with("Mcp-Name", id);
    let failing = || call("failing_job", r#","arguments":{}"#);
    let ending = |id: &str| get(id).body(request("tasks/cancel", &meta_with(id)));
    let lacking = modern("tasks/get", &format!(r#""taskId":"{of_acme}""#));
    vec![
        ("tasks: one of bob", get(of_bob), invalid()),
        ("tasks: one of bob at a scope", get(of_bob).to("/mcp/acme"), invalid()),
        ("tasks: one of another scope", get(of_acme).to("/mcp/other"), invalid()),
        ("tasks: one of a wider scope", get(of_acme).to("/mcp/acme/web"), invalid()),
        ("tasks: one of a narrower scope", get(of_acme), Result),
        (
            "tasks: the end of one of bob",
            ending(of_bob).set("Mcp-Method", "tasks/cancel"),
            invalid(),
        ),
        (
            "tasks: one of alice for bob",
            get(of_acme).set("Authorization", "Bearer key-b"),
            invalid(),
        ),
        ("tasks: a client that does not know them", failing(), Error(400, -32021)),
        ("tasks: a question of one", lacking.with("Mcp-Name", of_acme), Error(400, -32021)),
        (
            "tasks: a task of old that nobody begins",
            call("test_simple_text", r#","task":{"ttl":"x"}"#),
            Result,
        ),
    ]
}
