//! The official conformance suite, through both tiers on workerd, with no failure and no warning:
//! held against a list of expected failures, the suite counts a warning as a failure, too. The list
//! is empty. What is served passes as well from behind another Signalbox, which has it upstream.
//! What lets clients in passes what the suite asks of an authorization server.
//! It must not know what a scenario asks for.

#![allow(
    missing_docs,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test code: what fails is a failing test"
)]

use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
};
use tests::{Bundle, Server, root, send, setting};

/// The list of what may fail.
const NONE: &str = "expected-failures.yml";

fn script(path: &str) -> Command {
    let mut command = Command::new(setting("SIGNALBOX_NODE"));
    command.arg(root().join(path));
    command
}

/// The suite, in a folder that it may write into.
fn conformance(folder: &Path) -> Command {
    let mut command = script("node_modules/@modelcontextprotocol/conformance/dist/index.js");
    command.current_dir(folder);
    command
}

/// Runs one selection of the suite and returns how many checks passed.
fn suite(selection: &[&str]) -> usize {
    let state = tempfile::tempdir().unwrap();
    let server = Server::start(Bundle::Fixture, state.path(), "", Some("suite"));
    check(&server, NONE, selection)
}

/// The same where the suite's tools are behind a second Signalbox, which talks to the first in one
/// era. `expected` is a list in `tests/conformance`.
fn suite_behind(era: &str, expected: &str, selection: &[&str]) -> usize {
    let (near, far) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let upstream = Server::start(Bundle::Fixture, far.path(), "", Some("signalbox"));
    let url = upstream.url("/mcp");
    let toolsets = json!([{ "kind": "mcp", "name": "far", "url": url, "era": era }]);
    let user = [("DEV_USER", "suite")];
    let server = Server::start_with_toolsets(Bundle::Release, near.path(), "", &toolsets, &user);
    check(&server, expected, selection)
}

fn check(server: &Server, expected: &str, selection: &[&str]) -> usize {
    let folder = tempfile::tempdir().unwrap();
    // The suite's check of the Host header wants a name.
    let url = server.url("/mcp").replace("127.0.0.1", "localhost");
    let output = conformance(folder.path())
        .args(["server", "--url", &url, "--expected-failures"])
        .arg(root().join("tests/conformance").join(expected))
        .args(selection)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, summary) = text.split_once("=== SUMMARY ===").unwrap_or(("", &text));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{selection:?}\n{summary}\n{errors}");
    let total = summary.lines().find_map(|line| line.strip_prefix("Total: ")).unwrap();
    total.split(' ').next().unwrap().parse().unwrap()
}

/// Registers a client that is sent back to a port of this machine. The suite does not do it itself.
fn registered(server: &Server) -> String {
    let client = json!({ "client_name": "suite", "redirect_uris": ["http://127.0.0.1/callback"],
        "token_endpoint_auth_method": "none" });
    let headers = [("content-type", "application/json")];
    let body = client.to_string().into_bytes();
    let answer = send("POST", &server.url("/oauth/register"), &headers, Some(body));
    answer.json()["client_id"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

/// Lets a client in as its user would, and goes back to it.
fn let_in(page: &str, callback: &str) {
    let browser = script("tests/clients/browser.mjs").args([page, callback]).output().unwrap();
    assert!(browser.status.success(), "{}", String::from_utf8_lossy(&browser.stderr));
    let address = String::from_utf8(browser.stdout).unwrap();
    assert_eq!(send("GET", address.trim(), &[], None).status, 200);
}

/// Runs what a revision asks of an authorization server, at one scope, and returns how many checks
/// passed. None may do anything else.
fn authorization(server: &Server, revision: &str) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut suite = conformance(folder.path())
        .args(["authorization", "--url", &server.origin, "--resource", &server.url("/mcp/acme")])
        .args(["--client-id", &registered(server), "--port", &free.to_string()])
        .args(["--spec-version", revision, "--output-dir", "results"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(suite.stdout.take().unwrap()).lines().map(Result::unwrap);
    let page = lines.find(|line| line.starts_with(&server.url("/authorize?")));
    let_in(&page.expect("where to go"), &format!("http://127.0.0.1:{free}/callback"));
    let said: Vec<_> = lines.collect();
    assert!(suite.wait().unwrap().success(), "{revision}: {said:#?}");
    let results = fs::read_dir(folder.path().join("results")).unwrap();
    let checks = results.flat_map(|scenario| {
        let text = fs::read_to_string(scenario.unwrap().path().join("checks.json")).unwrap();
        serde_json::from_str::<Vec<Value>>(&text).unwrap()
    });
    // The suite does not say how many it has skipped, or only warned of.
    checks.inspect(|check| assert_eq!(check["status"], "SUCCESS", "{check:#}")).count()
}

/// The list of what may fail. It is empty and stays so.
#[test]
fn nothing_is_expected_to_fail() {
    let list = include_str!("../conformance/expected-failures.yml");
    assert!(list.ends_with("server: []\n"), "{list}");
}

#[test]
fn revision_2025_11_25() {
    assert!(suite(&["--requirements", "2025-11-25"]) >= 84);
}

#[test]
fn revision_2026_07_28() {
    assert!(suite(&["--requirements", "2026-07-28"]) >= 197);
}

#[test]
fn older_revisions() {
    assert!(suite(&["--spec-version", "2025-03-26"]) >= 3);
    assert!(suite(&["--spec-version", "2025-06-18"]) >= 56);
}

#[test]
fn everything() {
    assert!(suite(&["--suite", "all"]) >= 276);
}

#[test]
fn revision_2025_11_25_behind_another() {
    assert!(suite_behind("handshake", NONE, &["--requirements", "2025-11-25"]) >= 84);
}

#[test]
fn revision_2026_07_28_behind_another() {
    assert!(suite_behind("modern", NONE, &["--requirements", "2026-07-28"]) >= 197);
}

#[test]
fn an_older_revision_behind_another() {
    assert!(suite_behind("handshake", NONE, &["--spec-version", "2025-06-18"]) >= 56);
}

/// Three checks of the disconnect in the middle of a call need an upstream that does it, and none of
/// 2026-07-28 does: all others pass.
#[test]
fn everything_behind_another() {
    assert!(suite_behind("modern", "behind-modern.yml", &["--suite", "all"]) >= 273);
}

#[test]
fn authorization_server() {
    let state = tempfile::tempdir().unwrap();
    let server = Server::start_with(Bundle::Release, state.path(), "", &[("DEV_LOGIN", "1")]);
    let revisions = ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"];
    let passed = revisions.map(|revision| authorization(&server, revision));
    assert!(passed.iter().zip([2, 2, 3, 3]).all(|(passed, least)| *passed >= least), "{passed:?}");
}
