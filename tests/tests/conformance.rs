//! The official conformance suite, through both tiers on workerd, with no failure and no warning:
//! held against a list of expected failures, the suite counts a warning as a failure, too. The list
//! is empty. What is served passes as well from behind another Signalbox, which has it upstream.
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

use serde_json::json;
use std::process::Command;
use tests::{Bundle, Server, root, setting};

/// The list of what may fail.
const NONE: &str = "expected-failures.yml";

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
    let output = Command::new(setting("SIGNALBOX_NODE"))
        .arg(root().join("node_modules/@modelcontextprotocol/conformance/dist/index.js"))
        .args(["server", "--url", &url, "--expected-failures"])
        .arg(root().join("tests/conformance").join(expected))
        .args(selection)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, summary) = text.split_once("=== SUMMARY ===").unwrap_or(("", &text));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{selection:?}\n{summary}\n{errors}");
    let total = summary.lines().find_map(|line| line.strip_prefix("Total: ")).unwrap();
    total.split(' ').next().unwrap().parse().unwrap()
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
