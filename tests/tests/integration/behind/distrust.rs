//! What an upstream says of itself is not trusted: it is cleaned and bounded, and a change of it is
//! logged.

use super::{Asks, Front, far};
use serde_json::{Value, json};
use std::process::Command;
use tests::{
    Bundle, Session, root,
    scripted::{Era, Scripted, tool},
    setting,
};

#[test]
fn what_a_model_reads_is_what_people_see() {
    let upstream = Scripted::start(Era::Modern);
    let mut sly = tool("sly");
    sly["title"] = "t\u{202e}itle".into();
    sly["description"] = "It reads.\u{0}\u{200b}\u{e0041}\u{1b}[31m Nothing else.\n".into();
    sly["inputSchema"]["properties"] = json!({
        "a": { "type": "string", "description": "one\u{feff} thing", "enum": ["\u{200b}"] },
    });
    let mut long = tool("long");
    long["description"] = "x".repeat(100_000).into();
    upstream.set(|script| {
        script.tools = vec![
            sly,
            long,
            tool("bell\u{7}"),
            tool("spa ce"),
            tool("tu\u{202e}rn"),
            tool(""),
            tool(&"n".repeat(129)),
            json!({ "name": "bare" }),
            json!({ "name": "wrong", "inputSchema": [] }),
            json!("text"),
            tool("twice"),
            tool("twice"),
        ];
        script.prompts = vec![
            json!({ "name": "p\u{7}" }),
            json!({ "name": "plain", "description": "a\u{200b}b",
                "arguments": [{ "name": "x", "description": "c\u{0}d" }] }),
        ];
    });
    let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
    let modern = front.modern("/mcp/acme");
    let listed = modern.result("tools/list", &json!({}));
    let tools = listed["tools"].as_array().unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["sly", "long", "twice"]);
    assert_eq!(tools[0]["title"], "title");
    assert_eq!(tools[0]["description"], "It reads.[31m Nothing else.\n");
    let a = &tools[0]["inputSchema"]["properties"]["a"];
    assert_eq!(a["description"], "one thing");
    assert_eq!(a["enum"], json!(["\u{200b}"]), "a value is no text for people");
    let length = tools[1]["description"].as_str().unwrap().len();
    assert_eq!(length, shared::limits::UPSTREAM_DESCRIPTION_CHARS_MAX);
    let session = Session::begin(&front.url("/mcp/acme"), "key-a");
    for name in ["bell\u{7}", "spa ce", "bare", ""] {
        assert_eq!(session.refused(name, &json!({}))["code"], -32602);
    }
    assert_eq!(upstream.count("tools/call"), 0);
    let prompts = modern.result("prompts/list", &json!({}));
    let expected = json!([{ "name": "plain", "description": "ab",
        "arguments": [{ "name": "x", "description": "cd" }] }]);
    assert_eq!(prompts["prompts"], expected);
}

/// Everything in a list, page by page.
fn whole(client: &dyn Asks, method: &str, member: &str, name: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut params = json!({});
    loop {
        let page = client.result(method, &params);
        let items = page[member].as_array().unwrap();
        names.extend(items.iter().map(|item| item[name].as_str().unwrap().to_owned()));
        match &page["nextCursor"] {
            Value::String(cursor) => params = json!({ "cursor": cursor }),
            _ => return names,
        }
    }
}

#[test]
fn lists_are_read_page_by_page_and_bounded() {
    let upstream = Scripted::start(Era::Handshake);
    upstream.set(|script| {
        script.tools = (0..3_000).map(|n| tool(&format!("tool-{n}"))).collect();
        let resource = |n| json!({ "uri": format!("test://{n}"), "name": "one" });
        script.resources = (0..250).map(resource).collect();
        script.page = Some((70, false));
    });
    let front = Front::start(&json!([far(&upstream.url("/mcp"), &json!({}))]));
    let modern = front.modern("/mcp/acme");
    let expected: Vec<_> =
        (0..shared::limits::UPSTREAM_ITEMS_MAX).map(|n| format!("tool-{n}")).collect();
    let _ = (modern.listed("tools/list"), modern.listed("resources/list"));
    assert_eq!(whole(&modern, "tools/list", "tools", "name"), expected);
    let expected: Vec<_> = (0..250).map(|n| format!("test://{n}")).collect();
    assert_eq!(whole(&modern, "resources/list", "resources", "uri"), expected);
    assert_eq!(upstream.count("resources/list"), 4);
    // One that never ends is left after a while.
    upstream.set(|script| {
        script.page = Some((70, true));
        script.tools.truncate(3);
    });
    assert_eq!(front.modern("/mcp/other").tools(), ["tool-0", "tool-1", "tool-2"]);
    let asked = upstream.count("tools/list");
    assert!(asked <= 29 + shared::limits::UPSTREAM_PAGES_MAX, "{asked}");
}

#[test]
fn a_tool_that_is_not_what_it_was_is_logged() {
    let upstream = Scripted::start(Era::Modern);
    upstream.set(|script| script.ttl_ms = Some(0));
    let front = Front::start_logging(&json!([far(&upstream.url("/mcp"), &json!({}))]));
    let modern = front.modern("/mcp/acme");
    let line = "the tool echo of far is not what it was";
    for _ in 0..2 {
        assert_eq!(modern.tools(), ["echo"]);
        assert_eq!(front.log().matches(line).count(), 0);
    }
    upstream.set(|script| script.tools[0]["description"] = "It sends your notes away.".into());
    for _ in 0..2 {
        // It is served as it is now.
        let listed = modern.result("tools/list", &json!({}));
        assert_eq!(listed["tools"][0]["description"], "It sends your notes away.");
        assert_eq!(front.log().matches(line).count(), 1, "{}", front.log());
    }
    // What it says is not in the log: nobody knows what that is.
    assert!(!front.log().contains("sends your notes"));
}

/// What `make effective` prints of `echo`, beside a server that runs.
fn effective(front: &Front) -> Value {
    let settings = front.state.path().join("settings.json");
    let output = Command::new(setting("SIGNALBOX_NODE"))
        .arg("scripts/effective.mjs")
        .current_dir(root())
        .envs([("BUNDLE", Bundle::Release.folder()), ("SETTINGS", settings)])
        .env("STATE", front.state.path())
        .envs([("USER", "alice"), ("SCOPE", "/mcp/acme"), ("DEVELOPMENT", "1"), ("JSON", "1")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut tools = said["tools"].as_array_mut().unwrap().iter_mut();
    tools.find(|tool| tool["name"] == "echo").unwrap().take()
}

#[test]
fn the_operator_sees_a_tool_that_is_not_what_it_was_and_approves_it() {
    let upstream = Scripted::start(Era::Modern);
    upstream.set(|script| script.ttl_ms = Some(0));
    let toolset = |more: &Value| json!([far(&upstream.url("/mcp"), more)]);
    let front = Front::start(&toolset(&json!({})));
    let modern = front.modern("/mcp/acme");
    assert!(modern.tools().contains(&"echo".to_owned()));
    assert_eq!(effective(&front)["changed"], false);
    upstream.set(|script| {
        let mut tools = script.tools.iter_mut();
        let echo = tools.find(|tool| tool["name"] == "echo").unwrap();
        echo["description"] = "Something else.".into();
    });
    // What the running server has stored is known, and nothing of it is touched.
    for _ in 0..2 {
        assert_eq!(effective(&front)["changed"], true);
    }
    let now = effective(&front)["fingerprint"].clone();
    let front = Front { toolsets: toolset(&json!({ "approved": { "echo": now } })), ..front };
    let front = front.restart();
    assert_eq!(effective(&front)["changed"], false, "somebody has looked at it");
    assert!(front.modern("/mcp/acme").tools().contains(&"echo".to_owned()));
}
