//! What it costs to know who calls: the same call with every kind of credential, side by side, and what the
//! isolate saves by remembering for some seconds what a token was found to be. It must not know how that
//! is found out.

use crate::{
    CONNECTIONS, ROUNDS, Result,
    load::{self, Connection, Sample},
    server::{Cpus, KEY, Server},
    variants::{Call, modern_of},
};
use serde_json::{Value, json};
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

/// The verifier to every challenge here, and its S256.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const REDIRECT: &str = "https://client.test/callback";

/// When JWTs end, in seconds: in 2100.
const END: u64 = 4_102_444_800;

/// A member of an object that is a text.
fn member(value: &Value, name: &str) -> Result<String> {
    let text = value.get(name).and_then(Value::as_str);
    Ok(text.ok_or_else(|| format!("no {name}: {value}"))?.to_owned())
}

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

/// A user's browser, and a client that they let in.
struct Browser {
    client: reqwest::blocking::Client,
    origin: String,
    cookies: Vec<String>,
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn pairs(all: &[(&str, &str)]) -> String {
    let all = all.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
    all.collect::<Vec<_>>().join("&")
}

/// What stands between two texts.
fn between(text: &str, before: &str, after: char) -> Result<String> {
    let found = text.split_once(before).and_then(|(_, rest)| rest.split(after).next());
    Ok(found.ok_or_else(|| format!("no {before}: {text}"))?.to_owned())
}

impl Browser {
    fn new(origin: &str) -> Result<Self> {
        let client = reqwest::blocking::Client::builder();
        let client = client.redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { client, origin: origin.to_owned(), cookies: Vec::new() })
    }

    /// What a page says, or where it leads.
    fn send(&mut self, path: &str, form: Option<&[(&str, &str)]>) -> Result<String> {
        let url = format!("{}{path}", self.origin);
        let request = match form {
            None => self.client.get(url),
            Some(form) => self
                .client
                .post(url)
                .header("content-type", "application/x-www-form-urlencoded")
                .header("origin", &self.origin)
                .body(pairs(form)),
        };
        let response = request.header("cookie", self.cookies.join("; ")).send()?;
        for cookie in response.headers().get_all("set-cookie") {
            let pair = cookie.to_str()?.split(';').next().unwrap_or_default().to_owned();
            if !pair.ends_with('=') {
                self.cookies.push(pair);
            }
        }
        // A page may go on by itself, too.
        let headers = response.headers();
        match headers.get("location").or_else(|| headers.get("refresh")) {
            Some(location) => Ok(location.to_str()?.trim_start_matches("0; url=").to_owned()),
            None => Ok(response.text()?),
        }
    }

    fn mints(&mut self) -> Result<String> {
        let page = self.send("/account", None)?;
        let token = between(&page, "name=\"token\" value=\"", '"')?;
        let fields = [
            ("token", token.as_str()),
            ("action", "mint"),
            ("name", "bench"),
            ("scope", "/mcp"),
            ("days", "1"),
        ];
        let page = self.send("/account", Some(&fields))?;
        Ok(format!("sbx_{}", between(&page, "sbx_", '<')?.trim()))
    }

    /// Registers a client, lets it in, and says what it got.
    fn grants(&mut self) -> Result<(String, Value)> {
        let asked = json!({ "client_name": "bench", "redirect_uris": [REDIRECT],
            "token_endpoint_auth_method": "none" });
        let request = self.client.post(format!("{}/oauth/register", self.origin));
        let request = request.header("content-type", "application/json").body(asked.to_string());
        let registered: Value = serde_json::from_str(&request.send()?.text()?)?;
        let id = member(&registered, "client_id")?;
        let resource = format!("{}/mcp", self.origin);
        let query = pairs(&[
            ("response_type", "code"),
            ("client_id", &id),
            ("redirect_uri", REDIRECT),
            ("state", "s"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("resource", &resource),
        ]);
        let page = self.send(&format!("/authorize?{query}"), None)?;
        let hidden = |name: &str| between(&page, &format!("name=\"{name}\" value=\""), '"');
        let (token, handle) = (hidden("token")?, hidden("handle")?);
        let address = self.send(
            "/authorize",
            Some(&[
                ("token", &token),
                ("handle", &handle),
                ("scope", "/mcp"),
                ("access", "write"),
                ("decision", "allow"),
            ]),
        )?;
        let code = between(&address, "code=", '&')?.replace("%3A", ":");
        let tokens = self.tokens(&[
            ("grant_type", "authorization_code"),
            ("client_id", &id),
            ("code", &code),
            ("code_verifier", VERIFIER),
        ])?;
        Ok((id, tokens))
    }

    fn tokens(&self, form: &[(&str, &str)]) -> Result<Value> {
        let request = self.client.post(format!("{}/oauth/token", self.origin));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        Ok(serde_json::from_str(&request.body(pairs(form)).send()?.text()?)?)
    }

    /// Tokens that are all good, and all different.
    fn many(&mut self) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for _ in 0..GRANTS {
            let (id, mut tokens) = self.grants()?;
            for _ in 0..TOKENS {
                all.push(member(&tokens, "access_token")?);
                let refresh = member(&tokens, "refresh_token")?;
                tokens = self.tokens(&[
                    ("grant_type", "refresh_token"),
                    ("client_id", &id),
                    ("refresh_token", &refresh),
                ])?;
            }
        }
        Ok(all)
    }
}

/// The server, and everything that it lets in.
pub(crate) struct Ready {
    server: Server,
    ways: Vec<(&'static str, Call)>,
    many: Vec<Call>,
    _issuer: Issuer,
}

fn call(credential: &str) -> Call {
    let mut call = modern_of("/mcp", "test_simple_text");
    call.headers.retain(|(name, _)| *name != "authorization");
    call.headers.push(("authorization", format!("Bearer {credential}")));
    call
}

impl Ready {
    /// Serves, signs somebody in, and gets credentials of every kind.
    pub(crate) fn start(cpus: &Cpus) -> Result<Self> {
        let issuer = Issuer::start()?;
        let settings = format!("[[vars.issuers]]\nissuer = \"{}\"\n", issuer.url);
        let server = Server::start_with("build/fixture", &settings, cpus)?;
        let mut browser = Browser::new(&format!("http://{}", server.address))?;
        browser.send("/login", Some(&[("name", "alice"), ("then", "/account")]))?;
        let audience = format!("{}/mcp", browser.origin);
        let (_, tokens) = browser.grants()?;
        let access = member(&tokens, "access_token")?;
        eprintln!("bench: getting {} tokens", GRANTS.saturating_mul(TOKENS));
        let ways = vec![
            ("a key of the configuration", call(KEY)),
            ("a personal key", call(&browser.mints()?)),
            ("an OAuth token", call(&access)),
            ("a JWT, RS256", call(&issuer.token("rsa", "RS256", &audience)?)),
            ("a JWT, ES256", call(&issuer.token("ec", "ES256", &audience)?)),
        ];
        let many = browser.many()?.iter().map(|token| call(token)).collect();
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
