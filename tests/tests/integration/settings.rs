//! What a server is told besides its bundle: toolsets of one's own, secrets by name, what `fetch`
//! may reach; and `make effective`, which asks an Agent. In place of the product there is a Worker
//! that says what it got.

use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;
use tests::{Bundle, Server, root, send, setting};

const WORKER: &str = r#"
export class McpRouter {}
export class OAuthStore {}
export class Agent {
  constructor(state, env) {
    Object.assign(this, { state, env });
  }
  async fetch(request) {
    if (this.env.toolsets[0].kind === "wrong") {
      const error = { kind: "internal", public: "it failed", detail: "configuration: key: rule" };
      return Response.json(error, { status: 500, headers: { "x-hop-failed": "1" } });
    }
    const lacking = this.env.toolsets.filter((toolset) => toolset.auth?.credential).map(({ name }) => name);
    const connect = "needs your credential `x`, and you have not connected it; connect it at /connect/x and try again";
    const inputSchema = { type: "object", required: [request.url, JSON.stringify(await request.json())] };
    return Response.json({
      scope: "/mcp/acme/web",
      tools: [{ name: "remember", toolset: "memory", fingerprint: "f1", changed: true, inputSchema }],
      hidden: [{ name: "forget", toolset: "memory", reason: this.state.id.name }],
      missing: [
        { toolset: "issues", reason: `TOKEN is ${this.env.TOKEN}` },
        ...lacking.map((toolset) => ({ toolset, reason: `${toolset} ${connect}` })),
        ...lacking.map((toolset) => ({ toolset, reason: `${toolset} ${connect} (this is what it was before)` })),
      ],
    });
  }
}
export default {
  async fetch(request, env) {
    const at = new URL(request.url).searchParams.get("at");
    const status = at && (await fetch(at).then((response) => response.status, () => 0));
    return Response.json({ status, env });
  },
};
"#;

/// A bundle of that Worker, and settings with these toolsets.
fn prepare(toolsets: &Value) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("worker.js"), WORKER).unwrap();
    let made = Command::new(setting("SIGNALBOX_NODE"))
        .args(["scripts/workerd-config.mjs".as_ref(), folder.path()])
        .current_dir(root())
        .status();
    assert!(made.unwrap().success());
    let settings = folder.path().join("settings.json");
    fs::write(&settings, json!({ "vars": { "toolsets": toolsets } }).to_string()).unwrap();
    (folder, settings)
}

fn upstream() -> Value {
    json!([{ "kind": "mcp", "url": "https://a.test/", "auth": { "secret": "TOKEN" },
        "headers": { "x-key": { "secret": "KEY" }, "x-text": "TEXT" } }])
}

fn start(folder: &Path, settings: &[(&str, &str)]) -> (Server, TempDir) {
    let state = tempfile::tempdir().unwrap();
    let server = Server::start_from(folder, state.path(), "", settings, Stdio::null());
    (server, state)
}

#[test]
fn this_machine_is_reached_in_development_only() {
    let (folder, _) = prepare(&json!([]));
    for (settings, status) in [(&[][..], 0), (&[("DEVELOPMENT", "1")], 200)] {
        let (server, _state) = start(folder.path(), settings);
        let answer = send("GET", &server.url(&format!("/?at={}/", server.origin)), &[], None);
        assert_eq!(answer.json()["status"], status, "{settings:?}");
    }
}

#[test]
fn what_the_settings_say_counts_and_what_they_do_not_say_is_as_it_was() {
    let (folder, settings) = prepare(&upstream());
    let settings = ("SETTINGS", settings.to_str().unwrap());
    let more = [settings, ("TOKEN", "a\"b\\c"), ("TEXT", "no secret"), ("OTHER", "unnamed")];
    let (server, _state) = start(folder.path(), &more);
    let env = send("GET", &server.url("/"), &[], None).json()["env"].clone();
    assert_eq!(env["toolsets"], upstream());
    assert_eq!(env["scope"]["levels"][0]["name"], "org");
    assert_eq!(env["TOKEN"], "a\"b\\c");
    // It is named, and not set.
    assert_eq!(env.get("KEY"), Some(&Value::Null));
    assert_eq!((env.get("TEXT"), env.get("OTHER")), (None, None));
}

fn effective(folder: &Path, settings: &Path, scope: &str, more: &[(&str, &str)]) -> Output {
    Command::new(setting("SIGNALBOX_NODE"))
        .arg("scripts/effective.mjs")
        .current_dir(root())
        .envs([("BUNDLE", folder), ("SETTINGS", settings)])
        .envs([("USER", "al:ice"), ("SCOPE", scope), ("TOKEN", "set")])
        .envs(more.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn effective_asks_the_agent_of_that_user_and_scope() {
    let (folder, settings) = prepare(&upstream());
    let output = effective(folder.path(), &settings, "/mcp/Acme/web", &[("JSON", "1")]);
    assert!(output.status.success(), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let asked = &answer["tools"][0]["inputSchema"]["required"];
    assert_eq!(asked[0], shared::hop::EFFECTIVE_URL);
    let key: shared::AgentKey = serde_json::from_str(asked[1].as_str().unwrap()).unwrap();
    assert_eq!(answer["hidden"][0]["reason"], key.object_name());
    assert_eq!(key.object_name(), "al%3Aice:acme:web");

    let output = effective(folder.path(), &settings, "/mcp/acme/web", &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "al:ice at /mcp/acme/web has 1 tool.",
        "remember  memory   f1           changed",
        "forget  memory   al%3Aice:acme:web",
        "issues           TOKEN is set",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}

#[test]
fn effective_says_that_it_uses_no_credentials() {
    let toolset = json!({ "kind": "mcp", "name": "own", "url": "https://a.test/",
        "auth": { "credential": "x" }, "headers": { "x-more": { "credential": "y" } } });
    let (folder, settings) = prepare(&json!([toolset]));
    let output = effective(folder.path(), &settings, "/mcp/acme/web", &[("JSON", "1")]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    // Whether the user has connected it is not known there.
    let reason = "needs the user's credential x and y, which `make effective` does not use";
    let before = format!("{reason} (this is what it was before)");
    assert_eq!(answer["missing"][1], json!({ "toolset": "own", "reason": reason }));
    assert_eq!(answer["missing"][2], json!({ "toolset": "own", "reason": before }));
    assert_eq!(answer["missing"][0]["toolset"], "issues");
}

#[test]
fn effective_says_what_is_wrong() {
    let check = |toolsets: &Value, scope: &str, expected: &str| {
        let (folder, settings) = prepare(toolsets);
        let output = effective(folder.path(), &settings, scope, &[]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap().trim_end(), expected);
    };
    check(&json!([{ "kind": "wrong" }]), "/mcp", "configuration: key: rule");
    let deep = "signalbox: SCOPE=/mcp/a/b/c: a scope is /mcp[/{org}[/{project}]]";
    check(&upstream(), "/mcp/a/b/c", deep);
}

#[test]
fn effective_prints_what_the_product_serves_by_itself() {
    let output = Command::new(setting("SIGNALBOX_NODE"))
        .arg("scripts/effective.mjs")
        .current_dir(root())
        .env("BUNDLE", Bundle::Release.folder())
        .env_remove("SETTINGS")
        .envs([("USER", "alice"), ("SCOPE", "/mcp/acme")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for line in ["alice at /mcp/acme has 4 tools.", "remember       memory"] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}

/// Settings that the product does not accept, and what it says of them.
const REFUSED: [(&str, &str); 2] = [
    (r#""bounds":{"concurrency":0}"#, "toolsets[0].bounds.concurrency: it is 1 to 64"),
    (r#""auth":{"secret":"TOKEN"}"#, "toolsets[0].auth: the secret TOKEN is not set"),
];

fn settings_of(folder: &Path, more: &str) -> PathBuf {
    let settings = folder.join("settings.json");
    let toolsets = format!(r#"[{{"kind":"mcp","url":"https://a.test/mcp",{more}}}]"#);
    fs::write(&settings, format!(r#"{{"vars":{{"toolsets":{toolsets}}}}}"#)).unwrap();
    settings
}

#[test]
fn a_server_is_not_ready_before_its_configuration_is_accepted() {
    for (more, expected) in REFUSED {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(root().join("scripts/serve"))
            .env("SETTINGS", settings_of(folder.path(), more))
            .envs([("BUNDLE", Bundle::Release.folder()), ("STATE", folder.path().join("state"))])
            .env("PORT", "0")
            .env_remove("TOKEN")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(!String::from_utf8(output.stdout).unwrap().contains("ready"));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
}

#[test]
fn what_is_not_accepted_is_not_uploaded() {
    // Secrets are set where it is uploaded to, and not here.
    for ((more, expected), is_accepted) in REFUSED.into_iter().zip([false, true]) {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(setting("SIGNALBOX_NODE"))
            .arg("scripts/accepted.mjs")
            .arg(settings_of(folder.path(), more))
            .current_dir(root())
            .env("BUNDLE", Bundle::Release.folder())
            .env_remove("TOKEN")
            // Nor does it matter what this shell has for a server here.
            .envs([("ORIGIN", "no origin"), ("KEYRING", "no key"), ("DEV_LOGIN", "1")])
            .output()
            .unwrap();
        assert_eq!(output.status.success(), is_accepted, "{output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.contains(expected), !is_accepted, "{text}");
    }
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    assert!(makefile.contains("node scripts/accepted.mjs\n\twrangler deploy"), "and deploy asks");
}
