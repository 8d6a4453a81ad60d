//! `make bench`: what two tiers cost. Serves the product and its rivals on plain workerd, calls
//! each in turn, and writes a table that ends with the bars. It must not know how any of them
//! works: it sees HTTP, a process and a folder.
//!
//! - [`variants`]: what is measured, and the call that each is sent
//! - [`server`]: one workerd process
//! - [`load`]: many connections that call as fast as they are answered
//! - [`storage`]: what changed in a state folder
//! - [`bundle`]: how large the release is, and how fast it starts
//! - [`report`]: the table and the bars
//! - [`behind`]: what a server behind the fence costs, and what broken ones cost the others
//! - [`far`]: that server
//! - [`auth`]: what it costs to know who calls
//! - [`kill`]: how long what a user ends goes on
//! - [`browser`]: somebody who signs in
//!
//! With the word `behind`, `auth` or `kill` it measures that, and else everything before.
//!
//! `BENCH_SECONDS` (5): how long each variant is called in each round. `BENCH_BEFORE`: the folder of
//! a fixture bundle of another commit, to be held against.

mod auth;
mod behind;
mod browser;
mod bundle;
mod far;
mod kill;
mod load;
mod report;
mod server;
mod storage;
mod variants;

use load::Sample;
use report::{Report, Row, Writes};
use server::{Cpus, Server};
use std::{path::Path, process::ExitCode, time::Duration};
use variants::{Call, Variant};

/// What goes wrong here is told to a person, in words.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const ROUNDS: u32 = 5;

/// As many as the bars are about.
const CONNECTIONS: usize = 16;

/// Calls during which nothing may be written.
const STORAGE_CALLS: u64 = 10_000;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures everything. Whether all bars hold.
fn run() -> Result<bool> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    std::env::set_current_dir(root.ok_or("this crate has no parent folder")?)?;
    let seconds = match std::env::var("BENCH_SECONDS") {
        Ok(text) => text.parse()?,
        Err(_) => 5.0,
    };
    let cpus = Cpus::share()?;
    let word = std::env::args().nth(1).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let duration = Duration::try_from_secs_f64(seconds)?;
    // What is measured alone, and where that is written.
    let alone = match word.as_str() {
        "behind" => Some(("build/behind.md", runtime.block_on(behind::measure(&cpus, duration))?)),
        "auth" => {
            let ready = auth::Ready::start(&cpus)?;
            Some(("build/auth.md", runtime.block_on(auth::measure(&ready, duration))?))
        }
        "kill" => Some(("build/kill.md", kill::measure(&cpus)?)),
        _ => None,
    };
    if let Some((file, text)) = alone {
        std::fs::write(file, &text)?;
        std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes())?;
        return Ok(true);
    }
    let report = runtime.block_on(measure(&cpus, duration))?;
    let text = report.to_string();
    std::fs::write("build/bench.md", &text)?;
    std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes())?;
    Ok(report.passes())
}

/// One variant, served.
struct Running {
    variant: Variant,
    server: Server,
    call: Call,
    samples: Vec<(Sample, Sample)>,
}

async fn measure(cpus: &Cpus, duration: Duration) -> Result<Report> {
    variants::check_dates()?;
    let bundle = bundle::Bundle::measure(cpus).await?;
    let mut all = Vec::new();
    let before = std::env::var("BENCH_BEFORE").ok().filter(|folder| !folder.is_empty());
    for variant in variants::all(before) {
        let server = Server::start(&variant.bundle, cpus)?;
        let call = variant.call(&server).await?;
        all.push(Running { variant, server, call, samples: Vec::new() });
    }
    let mut writes = Vec::new();
    for running in &all {
        eprintln!("bench: warming {}", running.variant.name);
        load::run(&running.server, &running.call, CONNECTIONS, duration).await?;
        if running.variant.is_ours {
            writes.push((running.variant.name, count(running).await?));
        }
    }
    for round in 1..=ROUNDS {
        eprintln!("bench: round {round} of {ROUNDS}");
        // There and back, so that nobody always follows the same one.
        all.reverse();
        for running in &mut all {
            let sample = sample(running, duration).await?;
            running.samples.push(sample);
        }
    }
    // The order of the table, after an odd number of turns.
    all.reverse();
    Ok(Report {
        bundle,
        pinned: cpus.is_pinned(),
        seconds: duration.as_secs_f64(),
        rows: all.into_iter().map(row).collect(),
        writes,
    })
}

/// What one variant does in one round: at many connections, and at one.
async fn sample(running: &Running, duration: Duration) -> Result<(Sample, Sample)> {
    let Running { server, call, .. } = running;
    // Objects fall asleep while the others are called.
    load::run(server, call, CONNECTIONS, duration.div_f64(10.0)).await?;
    let many = load::run(server, call, CONNECTIONS, duration).await?;
    let one = load::run(server, call, 1, duration.div_f64(5.0)).await?;
    Ok((many, one))
}

/// Calls, and looks at what that wrote.
async fn count(running: &Running) -> Result<Writes> {
    let Running { server, call, .. } = running;
    let before = storage::Snapshot::take(server.state())?;
    let mut calls: u64 = 0;
    while calls < STORAGE_CALLS {
        let sample = load::run(server, call, CONNECTIONS, Duration::from_secs(1)).await?;
        calls = calls.saturating_add(sample.calls());
    }
    let after = storage::Snapshot::take(server.state())?;
    Ok(Writes { calls, changes: before.changes(&after) })
}

fn row(running: Running) -> Row {
    let (many, one) = running.samples.into_iter().unzip();
    Row { variant: running.variant, many, one }
}
