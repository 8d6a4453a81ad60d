//! The project's own rules, as tests: a rule that is not one drifts.

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

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const COLUMNS_MAX: usize = 140;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file that git knows or would take, with its text; what is no text is left out.
fn files() -> Vec<(String, String)> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success());
    let names = String::from_utf8(output.stdout).unwrap();
    let files = names
        .split('\0')
        .filter(|name| !name.is_empty())
        .filter_map(|name| Some((name.to_owned(), fs::read_to_string(root().join(name)).ok()?)));
    let files: Vec<_> = files.collect();
    assert!(files.len() > 50, "this does not look like the whole project");
    files
}

fn rust() -> impl Iterator<Item = (String, String)> {
    files().into_iter().filter(|(name, _)| name.ends_with(".rs"))
}

/// A file without its tests.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

#[test]
fn every_file_says_what_it_owns_and_what_it_must_not_know() {
    for (name, text) in rust() {
        assert!(text.starts_with("//! "), "{name} opens with no doc comment");
        let doc: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).collect();
        if !name.starts_with("tests/") {
            let doc = doc.concat();
            assert!(
                doc.contains("must not") || doc.contains("Thin") || doc.contains("only place"),
                "{name} does not say what it must not know"
            );
        }
    }
    for (name, text) in files() {
        let script = [".mjs", ".ts", ".py", ".sh"].iter().any(|ending| name.ends_with(ending))
            || name.starts_with("scripts/");
        if script {
            let line = text.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
            let comment = ["// ", "# ", "/* ", "\"\"\""].iter().any(|sign| line.starts_with(sign));
            assert!(comment, "{name} does not say what it owns");
        }
    }
}

#[test]
fn the_platform_is_named_in_its_modules_only() {
    for (name, text) in rust() {
        let shell = name.contains("/cloudflare") || name.starts_with("tests/");
        let names = ["worker::", "use worker", "wasm_bindgen", "js_sys"];
        if !shell {
            for platform in names {
                assert!(!text.contains(platform), "{name} names {platform}");
            }
        }
    }
}

#[test]
fn nothing_is_skipped_and_nothing_is_left_open() {
    // Written in halves, so that this file does not name them.
    let banned = [
        ("#[ign", "ore"),
        ("should_", "panic"),
        ("FIX", "ME"),
        ("TO", "DO:"),
        ("thread::", "sleep"),
        ("tokio::time::", "sleep("),
    ];
    for (name, text) in rust() {
        for (one, two) in banned {
            assert!(!text.contains(&format!("{one}{two}")), "{name} has {one}{two}");
        }
    }
}

#[test]
fn lines_are_short_enough_to_read() {
    for (name, text) in files() {
        let prose_or_data = [".lock", ".json", ".md", ".toml", "LICENSE", ".capnp"];
        if prose_or_data.iter().any(|ending| name.ends_with(ending)) {
            continue;
        }
        for (number, line) in (1..).zip(text.lines()) {
            assert!(line.chars().count() <= COLUMNS_MAX, "{name}:{number} is too long");
        }
    }
}

#[test]
fn time_and_bounds_have_one_place_each() {
    for (name, text) in rust() {
        let text = product(&text);
        let pure =
            ["shared/", "narrow/", "router/", "agent/"].iter().any(|part| name.starts_with(part));
        if !pure || name.contains("/cloudflare") {
            continue;
        }
        for clock in ["SystemTime", "Instant::now", "Utc::now"] {
            assert!(!text.contains(clock), "{name} reads a clock");
        }
        if name != "shared/src/limits.rs" {
            assert!(!text.contains("_MAX: "), "{name} has a bound of its own");
        }
    }
}

#[test]
fn a_markdown_file_has_one_title() {
    for (name, text) in files().into_iter().filter(|(name, _)| name.ends_with(".md")) {
        let mut code = false;
        let mut titles = 0;
        for line in text.lines() {
            code ^= line.starts_with("```");
            titles += usize::from(!code && line.starts_with("# "));
        }
        assert_eq!(titles, 1, "{name}");
    }
}

#[test]
fn the_project_speaks_of_itself_alone() {
    let banned = [
        ("/wo", "rk/"),
        ("/ro", "ot/"),
        ("registry.", "npmjs"),
        ("crates", ".io/api"),
        ("pypi", ".org"),
        ("as an A", "I"),
        ("Cla", "ude wrote"),
    ];
    for (name, text) in files() {
        for (one, two) in banned {
            assert!(!text.contains(&format!("{one}{two}")), "{name} has {one}{two}");
        }
    }
}

#[test]
fn every_file_is_reached_by_its_crate() {
    // A module that nobody declares compiles in no build.
    let declared: String = rust().map(|(_, text)| text).collect();
    for (name, _) in rust() {
        let path = Path::new(&name);
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let folder = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let root = ["lib", "main"].contains(&stem) || folder == "tests" || folder == "bin";
        assert!(root || declared.contains(&format!("mod {stem};")), "{name} is no module");
    }
}
