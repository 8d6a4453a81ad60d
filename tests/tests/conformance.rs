//! The official conformance suite, through both tiers on workerd, with no failure and no warning:
//! held against a list of expected failures, the suite counts a warning as a failure, too. The list
//! is empty. It must not know what a scenario asks for.

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

use std::process::Command;
use tests::{Bundle, Server, root, setting};

/// Runs one selection of the suite and returns how many checks passed.
fn suite(selection: &[&str]) -> usize {
    let state = tempfile::tempdir().unwrap();
    let server = Server::start(Bundle::Fixture, state.path(), "", Some("suite"));
    let folder = tempfile::tempdir().unwrap();
    // The suite's check of the Host header wants a name.
    let url = server.url("/mcp").replace("127.0.0.1", "localhost");
    let output = Command::new(setting("SIGNALBOX_NODE"))
        .arg(root().join("node_modules/@modelcontextprotocol/conformance/dist/index.js"))
        .args(["server", "--url", &url, "--expected-failures"])
        .arg(root().join("tests/conformance/expected-failures.yml"))
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
