//! How large the release is, and how fast it starts. It must not know what is in it.

use crate::{
    Result,
    load::Connection,
    report::Spread,
    server::{Cpus, Server, State},
    variants,
};
use flate2::{Compression, write::GzEncoder};
use std::{fs, io::Write as _};
use tokio::time::Instant;

const RELEASE: &str = "build/release";

/// Starts that are timed.
const STARTS: u32 = 5;

/// The release, measured. Times are in milliseconds.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Name, bytes, and bytes once compressed.
    pub(crate) files: Vec<(&'static str, usize, usize)>,
    /// From starting workerd until it listens.
    pub(crate) listening: Spread,
    /// From starting workerd to the end of the first answer.
    pub(crate) answered: Spread,
    /// The first request alone: it makes both objects and opens their databases.
    pub(crate) first: Spread,
    /// The next one.
    pub(crate) second: Spread,
}

impl Bundle {
    pub(crate) async fn measure(cpus: &Cpus) -> Result<Self> {
        eprintln!("bench: starting the release {STARTS} times");
        let mut files = Vec::new();
        for name in ["index_bg.wasm", "worker.js"] {
            let content = fs::read(format!("{RELEASE}/{name}"))?;
            // What a deployment counts: gzip as it comes.
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&content)?;
            files.push((name, content.len(), encoder.finish()?.len()));
        }
        let state = State::fresh()?;
        // Makes the state.
        start(cpus, &state).await?;
        let mut starts = Vec::new();
        for _ in 0..STARTS {
            starts.push(start(cpus, &state).await?);
        }
        let spread = |part: fn(&Start) -> f64| Spread::of(starts.iter().map(part));
        Ok(Self {
            files,
            listening: spread(|start| start.listening),
            answered: spread(|start| start.answered),
            first: spread(|start| start.first),
            second: spread(|start| start.second),
        })
    }

    /// Compressed bytes, all files together.
    pub(crate) fn compressed(&self) -> usize {
        self.files.iter().map(|(_, _, compressed)| compressed).sum()
    }

    /// Bytes, all files together.
    pub(crate) fn raw(&self) -> usize {
        self.files.iter().map(|(_, raw, _)| raw).sum()
    }
}

struct Start {
    listening: f64,
    answered: f64,
    first: f64,
    second: f64,
}

async fn start(cpus: &Cpus, state: &State) -> Result<Start> {
    let call = variants::list();
    let server = Server::start_over(RELEASE, state.path(), cpus)?;
    let ready = Instant::now();
    let mut connection = Connection::open(&server.address).await?;
    let asked = Instant::now();
    connection.call(&call).await?;
    let answered = Instant::now();
    connection.call(&call).await?;
    let milliseconds = |from: Instant, to: Instant| to.duration_since(from).as_secs_f64() * 1e3;
    Ok(Start {
        listening: milliseconds(server.started, ready),
        answered: milliseconds(server.started, answered),
        first: milliseconds(asked, answered),
        second: milliseconds(answered, Instant::now()),
    })
}
