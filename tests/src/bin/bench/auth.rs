//! What it costs to know who calls: the same call with every kind of credential, side by side, and what the
//! isolate saves by remembering for some seconds what a token was found to be. It must not know how that
//! is found out.

use crate::{
    CONNECTIONS, ROUNDS, Result,
    browser::{Browser, member},
    load::{self, Connection, Sample},
    server::{Cpus, KEY, Server},
    variants::{Call, modern_of},
};
use serde_json::json;
use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};
use tokio::task::JoinSet;

/// Grants whose tokens are used once in a while, and tokens of each: a grant has no more that are good.
const GRANTS: usize = 8;
const TOKENS: usize = 62;

/// When JWTs end, in seconds: in 2100.
const END: u64 = 4_102_444_800;

/// An authorization server that the operator trusts. Ends with this value.
struct Issuer {
    process: Child,
    url: String,
    _output: BufReader<ChildStdout>,
}

impl Issuer {
    fn start() -> Result<Self> {
        let mut command = Command::new("node");
        command.arg("tests/clients/issuer.mjs").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let mut output = BufReader::new(process.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let url = line.trim().strip_prefix("ready ").ok_or("no issuer")?.to_owned();
        Ok(Self { process, url, _output: output })
    }

    fn token(&self, key: &str, algorithm: &str, audience: &str) -> Result<String> {
        let what = json!({ "key": key,
            "header": { "alg": algorithm, "typ": "at+jwt", "kid": key },
            "claims": { "iss": self.url, "aud": audience, "sub": "alice", "exp": END } });
        let client = reqwest::blocking::Client::new();
        Ok(client.post(format!("{}/sign", self.url)).body(what.to_string()).send()?.text()?)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Tokens that are all good, and all different.
fn many(browser: &mut Browser) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for _ in 0..GRANTS {
        let (id, mut tokens) = browser.grants()?;
        for _ in 0..TOKENS {
            all.push(member(&tokens, "access_token")?);
            let refresh = member(&tokens, "refresh_token")?;
            tokens = browser.tokens(&[
                ("grant_type", "refresh_token"),
                ("client_id", &id),
                ("refresh_token", &refresh),
            ])?;
        }
    }
    Ok(all)
}

/// The server, and everything that it lets in.
pub(crate) struct Ready {
    server: Server,
    ways: Vec<(&'static str, Call)>,
    many: Vec<Call>,
    _issuer: Issuer,
}

fn call(credential: &str) -> Call {
    modern_of("/mcp", "test_simple_text").with_credential(credential)
}

impl Ready {
    /// Serves, signs somebody in, and gets credentials of every kind.
    pub(crate) fn start(cpus: &Cpus) -> Result<Self> {
        let issuer = Issuer::start()?;
        let settings = format!("[[vars.issuers]]\nissuer = \"{}\"\n", issuer.url);
        let server = Server::start_with("build/fixture", &settings, cpus)?;
        let mut browser = Browser::signed_in(&server)?;
        let audience = format!("http://{}/mcp", server.address);
        let (_, tokens) = browser.grants()?;
        let access = member(&tokens, "access_token")?;
        eprintln!("bench: getting {} tokens", GRANTS.saturating_mul(TOKENS));
        let ways = vec![
            ("a key of the configuration", call(KEY)),
            ("a personal key", call(&browser.mints()?.0)),
            ("an OAuth token", call(&access)),
            ("a JWT, RS256", call(&issuer.token("rsa", "RS256", &audience)?)),
            ("a JWT, ES256", call(&issuer.token("ec", "ES256", &audience)?)),
        ];
        let many = many(&mut browser)?.iter().map(|token| call(token)).collect();
        Ok(Self { server, ways, many, _issuer: issuer })
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Each of these calls once, over many connections: calls per second, and microseconds of processor time.
#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
async fn once_each(server: &Server, calls: &[Call]) -> Result<(f64, f64)> {
    let mut open = Vec::new();
    for part in calls.chunks(calls.len().div_ceil(CONNECTIONS)) {
        open.push((Connection::open(&server.address).await?, part.to_vec()));
    }
    let (before, start) = (server.cpu()?, tokio::time::Instant::now());
    let mut tasks = JoinSet::new();
    for (mut connection, calls) in open {
        tasks.spawn(async move {
            for call in &calls {
                connection.call(call).await.map_err(|error| error.to_string())?;
            }
            Ok::<(), String>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let (seconds, count) = (start.elapsed().as_secs_f64(), calls.len() as f64);
    Ok((count / seconds, (server.cpu()? - before) * 1e6 / count))
}

/// Measures everything and says what was seen.
pub(crate) async fn measure(ready: &Ready, duration: Duration) -> Result<String> {
    let Ready { server, ways, many, .. } = ready;
    let mut seen: Vec<Vec<Sample>> = ways.iter().map(|_| Vec::new()).collect();
    let (mut first, mut again) = (Vec::new(), Vec::new());
    for (_, call) in ways {
        load::run(server, call, CONNECTIONS, duration).await?;
    }
    for round in 1..=ROUNDS {
        eprintln!("bench: round {round} of {ROUNDS}");
        let forwards = round % 2 == 0;
        for at in 0..ways.len() {
            let at = if forwards { at } else { ways.len().saturating_sub(at.saturating_add(1)) };
            let (Some((_, call)), Some(seen)) = (ways.get(at), seen.get_mut(at)) else { continue };
            seen.push(load::run(server, call, CONNECTIONS, duration).await?);
        }
        // What was found of them is forgotten by now: the others took longer than it is kept.
        first.push(once_each(server, many).await?);
        again.push(once_each(server, many).await?);
    }
    let mut text = format!(
        "# Knowing who calls\n\nThe same call over {CONNECTIONS} connections, {ROUNDS} alternating rounds of \
         {duration:?}, medians.\n\n| with | req/s | ratio | CPU µs per call |\n|---|---|---|---|\n"
    );
    let rate = |samples: &[Sample]| median(samples.iter().map(Sample::rate));
    let base = seen.first().map_or(1.0, |samples| rate(samples));
    for ((name, _), samples) in ways.iter().zip(&seen) {
        let (rate, cpu) = (rate(samples), median(samples.iter().map(Sample::cpu_us)));
        writeln!(text, "| {name} | {rate:.0} | {:.2} | {cpu:.0} |", rate / base)?;
    }
    writeln!(
        text,
        "\n{} different OAuth tokens, each used once and then at once again: what an isolate remembers.\n\n\
         | use | req/s | CPU µs per call |\n|---|---|---|",
        many.len()
    )?;
    for (name, seen) in [("first", &first), ("again", &again)] {
        let (rate, cpu) = (median(seen.iter().map(|s| s.0)), median(seen.iter().map(|s| s.1)));
        writeln!(text, "| {name} | {rate:.0} | {cpu:.0} |")?;
    }
    Ok(text)
}
