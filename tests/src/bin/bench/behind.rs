//! What a server behind the fence costs: the same call to it directly, through a native gateway if
//! one is given, and through both tiers; and whether broken servers in some contexts of a user cost
//! the others anything. It must not know how any of them works.
//!
//! `GATEWAY`: the program `mcp-proxy` 0.6.0 of crates.io, if it is to be held against (`cargo install
//! mcp-proxy --version =0.6.0 --locked --no-default-features --features protocol-2026-07-28`).

use crate::{
    Result, far,
    load::Connection,
    server::{Cpus, Server, State},
    variants::{Call, modern_of},
};
use http_body_util::BodyExt as _;
use std::{
    fmt::Write as _,
    fs,
    process::{Child, Stdio},
    time::Duration,
};
use tokio::{task::JoinSet, time::Instant};

const ROUNDS: usize = 5;

/// How long a server is called before it is measured.
const WARM: Duration = Duration::from_secs(8);

/// Contexts of one user at once, and how the servers of some of them are broken.
const CONTEXTS: usize = 50;
const BROKEN: [&str; 3] = ["hang", "fail", "garbage"];

/// Measures everything and says what was seen.
pub(crate) async fn measure(cpus: &Cpus, duration: Duration) -> Result<String> {
    let far = far::start()?;
    let mut text = String::from("# A server behind the fence\n\n");
    hops(cpus, duration, &far, &mut text).await?;
    contexts(cpus, duration, &far, &mut text).await?;
    Ok(text)
}

fn settings(far: &str, path: &str) -> String {
    format!(
        "[[vars.toolsets]]\nkind = \"mcp\"\nname = \"far\"\nurl = \"http://{far}{path}\"\n\
         bounds = {{ connect_ms = 1000, first_byte_ms = 1000, total_ms = 2000, concurrency = 16 }}\n"
    )
}

/// One way to the server.
struct Way {
    name: &'static str,
    address: String,
    call: Call,
    /// Median and 99th of a hundred, in milliseconds, of each round.
    seen: Vec<(f64, f64)>,
}

impl Way {
    fn new(name: &'static str, address: &str, call: Call) -> Self {
        Self { name, address: address.to_owned(), call, seen: Vec::new() }
    }
}

async fn hops(cpus: &Cpus, duration: Duration, far: &str, text: &mut String) -> Result<()> {
    let server = Server::start_with("build/release", &settings(far, "/mcp"), cpus)?;
    let gateway = Gateway::start(cpus, far)?;
    let mut ways = vec![
        Way::new("direct", far, modern_of("/mcp", "test_simple_text")),
        Way::new("Signalbox", &server.address, modern_of("/mcp/acme", "test_simple_text")),
    ];
    if let Some(gateway) = &gateway {
        let call = modern_of("/", "far/test_simple_text");
        ways.push(Way::new("mcp-proxy 0.6.0", &gateway.address, call));
    }
    for way in &ways {
        until_it_answers(way).await?;
        // A server that has run for a while is compared, and not one that still compiles itself.
        at_one_connection(&way.address, &way.call, WARM).await?;
    }
    for _ in 0..ROUNDS {
        ways.reverse();
        for way in &mut ways {
            let latencies = at_one_connection(&way.address, &way.call, duration).await?;
            way.seen.push((percentile(&latencies, 50), percentile(&latencies, 99)));
        }
    }
    ways.reverse();
    writeln!(
        text,
        "One connection, {WARM:?} of calls before, {ROUNDS} alternating rounds of {duration:?}, medians, ms.\n"
    )?;
    writeln!(text, "| through | p50 | p99 | added p50 | added p99 |\n|---|---|---|---|---|")?;
    let figures = |way: &Way| {
        let p50 = median(way.seen.iter().map(|seen| seen.0));
        (p50, median(way.seen.iter().map(|seen| seen.1)))
    };
    let direct = ways.first().map_or((0.0, 0.0), figures);
    for way in &ways {
        let ((p50, p99), name) = (figures(way), way.name);
        let (more50, more99) = (p50 - direct.0, p99 - direct.1);
        writeln!(text, "| {name} | {p50:.3} | {p99:.3} | {more50:.3} | {more99:.3} |")?;
    }
    Ok(())
}

/// Waits for a way to be up.
async fn until_it_answers(way: &Way) -> Result<()> {
    let mut last = String::new();
    // The gateway does not say when it listens.
    let mut tries = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..200 {
        tries.tick().await;
        let answered = match Connection::open(&way.address).await {
            Ok(mut connection) => connection.call(&way.call).await,
            Err(error) => Err(error),
        };
        match answered {
            Ok(()) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(format!("{} does not answer: {last}", way.name).into())
}

async fn at_one_connection(
    address: &str,
    call: &Call,
    duration: Duration,
) -> Result<Vec<Duration>> {
    let mut connection = Connection::open(address).await?;
    let end = Instant::now().checked_add(duration).ok_or("too long")?;
    let mut latencies = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        connection.call(call).await?;
        latencies.push(start.elapsed());
    }
    latencies.sort_unstable();
    Ok(latencies)
}

fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let index = sorted.len().saturating_mul(percent) / 100;
    sorted.get(index).or(sorted.last()).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A native gateway in front of the server. Ends with this value.
struct Gateway {
    process: Child,
    address: String,
    _state: State,
}

impl Gateway {
    fn start(cpus: &Cpus, far: &str) -> Result<Option<Self>> {
        let program = std::env::var("GATEWAY").ok().filter(|program| !program.is_empty());
        let Some(program) = program else {
            return Ok(None);
        };
        let state = State::fresh()?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let file = state.path().join("proxy.toml");
        let settings = format!(
            "[proxy]\nname = \"gateway\"\n[proxy.listen]\nhost = \"127.0.0.1\"\nport = {port}\n\
             [[backends]]\nname = \"far\"\ntransport = \"http\"\nurl = \"http://{far}/mcp\"\n\
             [observability]\nlog_level = \"warn\"\n"
        );
        fs::write(&file, settings)?;
        let mut command = cpus.command(&program);
        command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let process = command.stderr(Stdio::null()).spawn()?;
        Ok(Some(Self { process, address: format!("127.0.0.1:{port}"), _state: state }))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Calls in many contexts of one user at once, with all servers well and with some broken in
/// different ways.
async fn contexts(cpus: &Cpus, duration: Duration, far: &str, text: &mut String) -> Result<()> {
    let server = Server::start_with("build/release", &settings(far, "/{org}/mcp"), cpus)?;
    let well = CONTEXTS.saturating_sub(BROKEN.len());
    let healthy: Vec<Call> = (0..well).map(|n| in_context(&format!("well{n}"))).collect();
    let others: Vec<Call> = (0..BROKEN.len()).map(|n| in_context(&format!("other{n}"))).collect();
    let broken: Vec<Call> = BROKEN.iter().map(|name| in_context(name)).collect();
    let mut connection = Connection::open(&server.address).await?;
    for call in healthy.iter().chain(&others) {
        connection.call(call).await?;
    }
    let mut seen = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (seen, rest) in seen.iter_mut().zip([&others, &broken]) {
            seen.push(all_at_once(&server.address, &healthy, rest, duration).await?);
        }
    }
    writeln!(
        text,
        "\n{CONTEXTS} contexts of one user at once, each with a connection that calls as fast as it is \
         answered; figures of the {well} whose servers are well. {ROUNDS} alternating rounds of \
         {duration:?}, medians.\n"
    )?;
    writeln!(
        text,
        "| the other {} servers | req/s | p50 ms | p99 ms | their answers/s |",
        BROKEN.len()
    )?;
    writeln!(text, "|---|---|---|---|---|")?;
    for (name, rounds) in ["are well", "hang, fail with 500, and babble"].into_iter().zip(&seen) {
        let of = |pick: fn(&Load) -> f64| median(rounds.iter().map(pick));
        let (rate, p50, p99) = (of(|load| load.rate), of(|load| load.p50), of(|load| load.p99));
        let answered = of(|load| load.answered);
        writeln!(text, "| {name} | {rate:.0} | {p50:.2} | {p99:.2} | {answered:.0} |")?;
    }
    Ok(())
}

fn in_context(org: &str) -> Call {
    // As long as the measurement.
    let path: &'static str = Box::leak(format!("/mcp/{org}").into_boxed_str());
    modern_of(path, "test_simple_text")
}

/// What was seen of the contexts whose servers are well.
struct Load {
    rate: f64,
    p50: f64,
    p99: f64,
    /// Answers per second of the others, whatever they say.
    answered: f64,
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
async fn all_at_once(
    address: &str,
    healthy: &[Call],
    rest: &[Call],
    duration: Duration,
) -> Result<Load> {
    let end = Instant::now().checked_add(duration).ok_or("too long")?;
    let (mut calling, mut others) = (JoinSet::new(), JoinSet::new());
    for call in healthy {
        calling.spawn(repeat(Connection::open(address).await?, call.clone(), end, true));
    }
    for call in rest {
        others.spawn(repeat(Connection::open(address).await?, call.clone(), end, false));
    }
    let (mut latencies, mut answered) = (Vec::new(), 0_usize);
    while let Some(ended) = calling.join_next().await {
        latencies.extend(ended??);
    }
    while let Some(ended) = others.join_next().await {
        answered = answered.saturating_add(ended??.len());
    }
    latencies.sort_unstable();
    let seconds = duration.as_secs_f64();
    Ok(Load {
        rate: latencies.len() as f64 / seconds,
        p50: percentile(&latencies, 50),
        p99: percentile(&latencies, 99),
        answered: answered as f64 / seconds,
    })
}

/// Calls until the end; `is_checked` where every answer must be the one that is wanted.
async fn repeat(
    mut connection: Connection,
    call: Call,
    end: Instant,
    is_checked: bool,
) -> std::result::Result<Vec<Duration>, String> {
    let mut latencies = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        if is_checked {
            connection.call(&call).await.map_err(|error| error.to_string())?;
        } else {
            let response = connection.send(&call).await.map_err(|error| error.to_string())?;
            response.into_body().collect().await.map_err(|error| error.to_string())?;
        }
        latencies.push(start.elapsed());
    }
    Ok(latencies)
}
