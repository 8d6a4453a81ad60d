//! A real Chromium in front of the bundle, driven by tests/clients/browser: what people see of the pages
//! and do there, what other sites cannot do to them, and pages as clients. Each script has a server of its
//! own. Screenshots are kept where `SCREENSHOTS` names a folder.

use crate::oauth::{provider, script, settings};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
};
use tests::{Bundle, Server, setting};

/// Runs a script to its end.
fn run(name: &str, arguments: &[&str]) {
    let mut command = script(["SIGNALBOX_NODE", &format!("browser/{name}.mjs")]);
    command.env("SIGNALBOX_CHROMIUM", setting("SIGNALBOX_CHROMIUM")).args(arguments);
    assert!(command.status().unwrap().success(), "{name}");
}

/// A server where people sign in under any name.
fn open(bundle: Bundle) -> (Server, tempfile::TempDir) {
    let state = tempfile::tempdir().unwrap();
    (Server::start_with(bundle, state.path(), crate::KEYS, &[("DEV_LOGIN", "1")]), state)
}

#[test]
fn a_person_lets_clients_in() {
    let (provider, state) = (provider(), tempfile::tempdir().unwrap());
    let settings = settings(&provider, state.path());
    let settings = [("SETTINGS", settings.as_str()), ("DEVELOPMENT", "1"), ("DEV_LOGIN", "1")];
    let server = Server::start_with(Bundle::Release, state.path(), "", &settings);
    run("consent", &[&server.origin]);
}

#[test]
fn other_sites_are_kept_out() {
    let (server, _state) = open(Bundle::Release);
    run("guards", &[&server.origin]);
}

#[test]
fn a_person_keeps_their_account() {
    let (server, _state) = open(Bundle::Fixture);
    run("account", &[&server.origin, "key-a"]);
}

#[test]
fn a_person_connects_another_server() {
    let (other, _other_state) = open(Bundle::Release);
    // Cookies are a host's, whatever its port: the two are two sites only under two names.
    let elsewhere = other.origin.replace("127.0.0.1", "localhost");
    let far: Value = json!({ "kind": "mcp", "name": "far", "prefix": "far",
        "url": format!("{elsewhere}/mcp"), "auth": { "credential": "mine" } });
    let state = tempfile::tempdir().unwrap();
    let settings = [("DEV_LOGIN", "1")];
    let toolsets = json!([far]);
    let server = Server::start_with_toolsets(
        Bundle::Release,
        state.path(),
        crate::KEYS,
        &toolsets,
        &settings,
    );
    run("connect", &[&server.origin, "key-a", &elsewhere]);
}

#[test]
fn pages_of_other_origins_are_clients_where_they_may() {
    let mut command = script(["SIGNALBOX_NODE", "browser/origins.mjs"]);
    command.env("SIGNALBOX_CHROMIUM", setting("SIGNALBOX_CHROMIUM")).arg("key-a");
    let mut job = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(job.stdout.take().unwrap()).lines().map_while(Result::ok);
    // Which origin may call is known before the server is.
    let ready = said.find_map(|line| line.strip_prefix("ready ").map(ToOwned::to_owned));
    let page = ready.expect("the page is ready");
    let state = tempfile::tempdir().unwrap();
    let settings = [("ALLOWED_ORIGINS", page.as_str())];
    let server = Server::start_with(Bundle::Fixture, state.path(), crate::KEYS, &settings);
    writeln!(job.stdin.take().unwrap(), "{}", server.origin).unwrap();
    said.for_each(drop);
    assert!(job.wait().unwrap().success());
}
