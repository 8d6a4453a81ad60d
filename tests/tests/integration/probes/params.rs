//! Probes of what a known method is given in a session: names, URIs, cursors, references,
//! arguments. Each is an error of the request alone, or a result that says what to do.

use super::{
    Is::{Error, Failed, Result},
    Place, Row,
    wire::Ask,
};

pub(super) fn rows(place: &Place) -> Vec<Row> {
    let parts: [fn(&Place) -> Vec<Row>; 7] =
        [tools, arguments, scopes, resources, prompts, cursors, others];
    parts.iter().flat_map(|rows| rows(place)).collect()
}

fn invalid() -> super::Is {
    Error(200, -32602)
}

/// Names of tools that are none.
fn tools(place: &Place) -> Vec<Row> {
    let call = |name: &str| place.ask("tools/call", &format!(r#"{{"name":{name}}}"#));
    let long = format!("\"{}\"", "n".repeat(1_000_000));
    vec![
        ("no tool", place.ask("tools/call", "{}"), invalid()),
        ("an unknown tool", call("\"no-such\""), invalid()),
        ("a tool that is a number", call("5"), invalid()),
        ("a tool that is nothing", call("null"), invalid()),
        ("a tool that is a list", call("[\"recall\"]"), invalid()),
        ("an empty tool", call("\"\""), invalid()),
        ("a tool of dots", call("\"../../recall\""), invalid()),
        ("a tool in other case", call("\"RECALL\""), invalid()),
        ("a tool with a nothing", call(r#""recall\u0000""#), invalid()),
        ("a tool with a line break", call(r#""recall\r\nx: y""#), invalid()),
        ("a tool of half a sign", call(r#""\ud800""#), invalid()),
        ("a tool of letters that look alike", call("\"r\u{435}call\""), invalid()),
        ("a tool of JavaScript", call("\"constructor\""), invalid()),
        ("a tool of 1 MB", call(&long), invalid()),
    ]
}

fn recall(place: &Place, arguments: &str) -> Ask {
    place.ask("tools/call", &format!(r#"{{"name":"recall","arguments":{arguments}}}"#))
}

/// Arguments of a tool. One that is known and is given what it cannot use says so in its result,
/// where a model reads it (2025-11-25, server/tools).
fn arguments(place: &Place) -> Vec<Row> {
    let recall = |arguments: &str| recall(place, arguments);
    let query = |value: &str| recall(&format!(r#"{{"query":{value}}}"#));
    let long = format!("\"{}\"", "q ".repeat(500_000));
    vec![
        ("arguments that are a list", recall("[]"), invalid()),
        ("arguments that are a text", recall("\"x\""), invalid()),
        ("arguments that are a number", recall("1"), invalid()),
        ("arguments that are nothing", recall("null"), Failed),
        ("no argument", recall("{}"), Failed),
        ("a query that is a number", query("7"), Failed),
        ("a query that is an object", query("{}"), Failed),
        ("a query that is nothing", query("null"), Failed),
        ("a query of half a sign", query(r#""\ud800""#), invalid()),
        ("a query of signs", query(r#""\"'*():^-~{}[]\\ AND OR NOT NEAR(""#), Result),
        ("a query of SQL", query(r#""'; DROP TABLE notes; --""#), Result),
        ("a query of nothings", query(r#""\u0000\u0000 x""#), Result),
        ("a limit that is negative", recall(r#"{"query":"x","limit":-1}"#), Failed),
        ("a limit that is a fraction", recall(r#"{"query":"x","limit":1.5}"#), Failed),
        ("a limit past all bounds", recall(r#"{"query":"x","limit":1e308}"#), Failed),
        ("a limit that is a text", recall(r#"{"query":"x","limit":"5"}"#), Failed),
        ("a cursor in arguments", recall(r#"{"query":"x","cursor":"../x"}"#), Failed),
        ("an argument nobody knows", recall(r#"{"query":"x","__proto__":{"a":1}}"#), Failed),
        ("a query of 1 MB", query(&long), Result),
    ]
}

/// Arguments that would lead to another context.
fn scopes(place: &Place) -> Vec<Row> {
    let in_org = |more: &str| recall(place, &format!(r#"{{"query":"x",{more}}}"#));
    let org = |value: &str| in_org(&format!(r#""org":{value}"#));
    let long = format!("\"{}\"", "o".repeat(1_000_000));
    vec![
        ("an org of dots", org("\"../bob\""), invalid()),
        ("an org of another user", org("\"bob:acme\""), invalid()),
        ("an org with a slash", org("\"acme/web\""), invalid()),
        ("an org with a blank", org("\"a b\""), invalid()),
        ("an org with a nothing", org(r#""acme\u0000""#), invalid()),
        ("an org of half a sign", org(r#""\udfff""#), invalid()),
        ("an empty org", org("\"\""), invalid()),
        ("an org in encoded letters", org("\"%61cme\""), invalid()),
        ("an org in other letters", org("\"ümläut\""), invalid()),
        ("an org that is a number", org("5"), invalid()),
        ("an org that is a list", org("[\"acme\"]"), invalid()),
        ("an org that is an object", org("{\"slug\":\"acme\"}"), invalid()),
        ("an org that is true", org("true"), invalid()),
        ("an org of 1 MB", org(&long), invalid()),
        ("a project of no org", in_org(r#""projectSlug":"web""#), invalid()),
        ("a project of dots", in_org(r#""org":"acme","projectSlug":"..""#), invalid()),
        ("an org of nothing", org("null"), Result),
    ]
}

/// URIs that are no resource.
fn resources(place: &Place) -> Vec<Row> {
    let read = |uri: &str| place.ask("resources/read", &format!(r#"{{"uri":{uri}}}"#));
    let subscribe = |uri: &str| place.ask("resources/subscribe", &format!(r#"{{"uri":{uri}}}"#));
    let unsubscribe =
        |uri: &str| place.ask("resources/unsubscribe", &format!(r#"{{"uri":{uri}}}"#));
    let none = || Error(200, -32002);
    let long = format!("\"memory://notes/{}\"", "a".repeat(1_000_000));
    let over = format!("\"{}\"", "a".repeat(2049));
    vec![
        ("no URI", place.ask("resources/read", "{}"), invalid()),
        ("a URI that is a number", read("5"), invalid()),
        ("a URI that is a list", read("[]"), invalid()),
        ("a URI of half a sign", read(r#""memory://notes/\ud800""#), invalid()),
        ("an empty URI", read("\"\""), none()),
        ("a URI of a file", read("\"file:///etc/passwd\""), none()),
        ("a URI of the web", read("\"http://169.254.169.254/latest\""), none()),
        ("a note of dots", read("\"memory://notes/../shared/x\""), none()),
        ("a note of encoded dots", read("\"memory://notes/%2e%2e/shared/x\""), none()),
        ("a note of nothing", read("\"memory://notes/\""), none()),
        ("a note with a nothing", read(r#""memory://notes/\u0000""#), none()),
        ("a note with a line break", read(r#""memory://notes/a\r\nb""#), none()),
        ("a note of SQL", read("\"memory://notes/' OR 1=1 --\""), none()),
        ("a note of all", read("\"memory://notes/%\""), none()),
        ("a note of the template", read("\"memory://notes/{id}\""), none()),
        ("a note in other case", read("\"MEMORY://NOTES/x\""), none()),
        ("a URI of 1 MB", read(&long), none()),
        ("a subscription to nothing", place.ask("resources/subscribe", "{}"), invalid()),
        ("a subscription to a number", subscribe("5"), invalid()),
        ("a subscription to half a sign", subscribe(r#""\ud800""#), invalid()),
        ("a subscription of 2049 letters", subscribe(&over), invalid()),
        ("a subscription to no resource", subscribe("\"no:such\""), Result),
        ("the end of no subscription", unsubscribe("\"no:subscription\""), Result),
        ("the end of one to a list", unsubscribe("[]"), invalid()),
        ("the end of one of 2049 letters", unsubscribe(&over), invalid()),
    ]
}

/// Prompts and completions.
fn prompts(place: &Place) -> Vec<Row> {
    let get = |params: &str| place.ask("prompts/get", params);
    let complete = |reference: &str, argument: &str| {
        let params = format!(r#"{{"ref":{reference},"argument":{argument}}}"#);
        place.ask("completion/complete", &params)
    };
    let prompt = r#"{"type":"ref/prompt","name":"briefing"}"#;
    let topic = r#"{"name":"topic","value":""}"#;
    let long = format!(r#"{{"name":"topic","value":"{}"}}"#, "v".repeat(1_000_000));
    vec![
        ("no prompt", get("{}"), invalid()),
        ("an unknown prompt", get(r#"{"name":"no-such"}"#), invalid()),
        ("a prompt that is a number", get(r#"{"name":5}"#), invalid()),
        ("a prompt of dots", get(r#"{"name":"../briefing"}"#), invalid()),
        ("a prompt with a nothing", get(r#"{"name":"briefing\u0000"}"#), invalid()),
        (
            "arguments of a prompt in a list",
            get(r#"{"name":"briefing","arguments":[]}"#),
            invalid(),
        ),
        (
            "an argument of a prompt in a number",
            get(r#"{"name":"briefing","arguments":{"topic":5}}"#),
            invalid(),
        ),
        (
            "an argument of a prompt of 1 MB",
            get(&format!(
                r#"{{"name":"briefing","arguments":{{"topic":"{}"}}}}"#,
                "t".repeat(1_000_000)
            )),
            Result,
        ),
        ("a completion of nothing", place.ask("completion/complete", "{}"), invalid()),
        ("a completion of null", complete("null", topic), invalid()),
        ("a completion of a text", complete("\"ref/prompt\"", topic), invalid()),
        ("a completion of a list", complete(r#"["ref/prompt","briefing"]"#, topic), invalid()),
        ("a completion of another kind", complete(r#"{"type":"ref/tool"}"#, topic), invalid()),
        ("a completion of no kind", complete(r#"{"name":"briefing"}"#, topic), invalid()),
        (
            "a completion of an unknown prompt",
            complete(r#"{"type":"ref/prompt","name":"x"}"#, topic),
            invalid(),
        ),
        (
            "a completion of no template",
            complete(r#"{"type":"ref/resource","uri":"../{id}"}"#, topic),
            invalid(),
        ),
        ("a completion of no argument", complete(prompt, "{}"), invalid()),
        ("a completion of a number", complete(prompt, r#"{"name":"topic","value":5}"#), invalid()),
        (
            "a completion of an unknown argument",
            complete(prompt, r#"{"name":"no-such","value":""}"#),
            invalid(),
        ),
        ("a completion of 1 MB", complete(prompt, &long), Result),
    ]
}

/// Cursors that are none of ours.
fn cursors(place: &Place) -> Vec<Row> {
    let list = |cursor: &str| place.ask("tools/list", &format!(r#"{{"cursor":{cursor}}}"#));
    let resources =
        |cursor: &str| place.ask("resources/list", &format!(r#"{{"cursor":{cursor}}}"#));
    let long = format!("\"{}\"", "A".repeat(1_000_000));
    vec![
        ("a cursor of a letter", list("\"x\""), invalid()),
        ("an empty cursor", list("\"\""), invalid()),
        ("a cursor that is a number", list("0"), invalid()),
        ("a cursor that is an object", list("{}"), invalid()),
        ("a cursor of half a sign", list(r#""\ud800""#), invalid()),
        ("a cursor with padding", list("\"MC4w=\""), invalid()),
        ("a cursor of no number", list("\"YS5i\""), invalid()),
        // -1.-1
        ("a cursor before all", list("\"LTEuLTE\""), invalid()),
        // 0.4294967296
        ("a cursor past 32 bits", list("\"MC40Mjk0OTY3Mjk2\""), invalid()),
        // 0.4294967295: a list that became shorter ends with an empty page.
        ("a cursor far ahead", list("\"MC40Mjk0OTY3Mjk1\""), Result),
        // 1.0: this list has no second part.
        ("a cursor of another list", list("\"MS4w\""), invalid()),
        ("a cursor of 1 MB", list(&long), invalid()),
        ("a cursor of dots", resources("\"../..\""), invalid()),
        // 99999999999999999999.0
        (
            "a cursor of resources past 64 bits",
            resources("\"OTk5OTk5OTk5OTk5OTk5OTk5OTkuMA\""),
            invalid(),
        ),
        ("a cursor of templates", place.ask("resources/templates/list", CURSOR), invalid()),
        ("a cursor of prompts", place.ask("prompts/list", CURSOR), invalid()),
        ("a cursor of nothing", list("null"), Result),
    ]
}

const CURSOR: &str = r#"{"cursor":"%00"}"#;

/// Whatever else a request carries.
fn others(place: &Place) -> Vec<Row> {
    let listed = |meta: &str| place.ask("tools/list", &format!(r#"{{"_meta":{meta}}}"#));
    let directory =
        |uri: &str| place.ask("resources/directory/read", &format!(r#"{{"uri":"{uri}"}}"#));
    // Methods of an extension that only one of the bundles has.
    let lacks = || if place.tasks.is_some() { invalid() } else { Error(200, -32601) };
    vec![
        ("_meta that is a list", listed("[]"), invalid()),
        ("_meta that is a text", listed("\"x\""), invalid()),
        ("_meta that is a number", listed("5"), invalid()),
        ("a token that is an object", listed(r#"{"progressToken":{}}"#), invalid()),
        ("a token that is a list", listed(r#"{"progressToken":[1]}"#), invalid()),
        ("a token that is a fraction", listed(r#"{"progressToken":1.5}"#), invalid()),
        ("a token that is true", listed(r#"{"progressToken":true}"#), invalid()),
        ("a token past 64 bits", listed(r#"{"progressToken":1e300}"#), invalid()),
        ("_meta of JavaScript", listed(r#"{"__proto__":{"a":1},"constructor":1}"#), Result),
        ("a task in a session", place.ask("tasks/get", r#"{"taskId":"x"}"#), Error(200, -32601)),
        ("a stream in a session", place.ask("subscriptions/listen", "{}"), Error(200, -32601)),
        ("a skill of dots", place.ask("skills/get", r#"{"uri":"skill://../x"}"#), lacks()),
        ("a directory of dots", directory("skill://x/../../etc"), lacks()),
        ("a directory of files", directory("file:///"), lacks()),
    ]
}
