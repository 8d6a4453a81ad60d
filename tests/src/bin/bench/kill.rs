//! How long what a user ends goes on: from the click on the account page to the last byte that its client
//! gets. It must not know how anything is ended.

use crate::{
    Result,
    browser::Browser,
    server::{Cpus, KEY, Server},
    variants::{Call, modern_of, waiting},
};
use std::{fmt::Write as _, io::Read as _, thread, time::Duration};
use tokio::time::Instant;

/// How often each thing is ended.
const RUNS: usize = 20;

/// What is ended, what runs by it, and the form that ends it.
struct Way {
    name: &'static str,
    /// Whether a stream waits for changes, instead of a call that runs.
    is_stream: bool,
    form: [(&'static str, &'static str); 3],
}

const fn block(
    name: &'static str,
    is_stream: bool,
    kind: &'static str,
    value: &'static str,
) -> Way {
    Way { name, is_stream, form: [("action", "block"), ("kind", kind), ("value", value)] }
}

const WAYS: [Way; 6] = [
    block("a user is blocked, a call runs", false, "user", ""),
    block("a context is blocked, a call runs", false, "context", "/mcp"),
    block("a client is blocked, a call runs", false, "client", "bench"),
    block("an upstream is blocked, a call runs there", false, "upstream", "fixture"),
    block("a client is blocked, a stream waits", true, "client", "bench"),
    Way { name: "a key is revoked, a call runs", is_stream: false, form: KEY_FORM },
];

/// The key is another one each time.
const KEY_FORM: [(&str, &str); 3] = [("action", "revoke"), ("", ""), ("", "")];

/// Sends a call that does not end by itself, and returns once its answer has begun.
fn begin(server: &Server, call: &Call) -> Result<reqwest::blocking::Response> {
    let client = reqwest::blocking::Client::builder().timeout(Duration::from_secs(60)).build()?;
    let mut request = client.post(format!("http://{}{}", server.address, call.path));
    for (name, value) in &call.headers {
        request = request.header(*name, value);
    }
    let response = request.body(call.body()).send()?;
    match response.status().as_u16() {
        200 => Ok(response),
        status => Err(format!("status {status}: {}", response.text()?).into()),
    }
}

/// From the click to the last byte, in milliseconds.
fn run(server: &Server, browser: &mut Browser, way: &Way) -> Result<f64> {
    let (key, id) = match way.form {
        KEY_FORM => browser.mints()?,
        _ => (KEY.to_owned(), String::new()),
    };
    let call = if way.is_stream { waiting() } else { modern_of("/mcp", "test_wait") };
    let mut response = begin(server, &call.with_credential(&key))?;
    let reading = thread::spawn(move || {
        let read = response.read_to_string(&mut String::new());
        read.map(|_| Instant::now()).map_err(|error| error.to_string())
    });
    let token = browser.token()?;
    let mut form = vec![("token", token.as_str()), ("key", id.as_str())];
    form.extend(way.form);
    let click = Instant::now();
    browser.send("/account", Some(&form))?;
    let last = reading.join().map_err(|_| "the reader is gone")??;
    if let [("action", "block"), kind, value] = way.form {
        let undo = [("token", token.as_str()), ("action", "unblock"), kind, value];
        browser.send("/account", Some(&undo))?;
    }
    Ok(last.saturating_duration_since(click).as_secs_f64() * 1e3)
}

/// The value that this part of all are no larger than.
fn percentile(sorted: &[f64], part: usize) -> f64 {
    let at = sorted.len().saturating_mul(part).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// Measures everything and says what was seen.
pub(crate) fn measure(cpus: &Cpus) -> Result<String> {
    let server = Server::start_with("build/fixture", "", cpus)?;
    let mut browser = Browser::signed_in(&server)?;
    let mut text = format!(
        "# The kill switch\n\nFrom the click on the account page to the last byte that a client gets, {RUNS} \
         runs each, milliseconds.\n\n| what | p50 | p99 | longest |\n|---|---|---|---|\n"
    );
    let mut all = Vec::new();
    let mut row = |name: &str, mut seen: Vec<f64>| {
        seen.sort_by(f64::total_cmp);
        let [p50, p99, most] = [50, 99, 100].map(|part| percentile(&seen, part));
        writeln!(text, "| {name} | {p50:.1} | {p99:.1} | {most:.1} |")
    };
    for way in &WAYS {
        eprintln!("bench: {}", way.name);
        let mut seen = Vec::new();
        for _ in 0..RUNS {
            seen.push(run(&server, &mut browser, way)?);
        }
        all.extend_from_slice(&seen);
        row(way.name, seen)?;
    }
    row(&format!("all {}", all.len()), all)?;
    Ok(text)
}
