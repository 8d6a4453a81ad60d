//! What the tests share: the bundle on real workerd, with its state in a folder of its own, and a
//! plain HTTP client that sends exactly what it is told. It must not know what any test expects.
//!
//! - [`remote`]: servers that nobody here wrote
//! - [`scripted`]: one that does what a test tells it

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a harness that fails is a test that fails"
)]

pub mod remote;
pub mod scripted;

use serde_json::{Value, json};
use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// The folder that holds the workspace.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the workspace's folder").to_owned()
}

/// A setting that `make test` gives.
#[must_use]
pub fn setting(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make test`"))
}

/// Which bundle is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bundle {
    /// What is deployed.
    Release,
    /// The same with the conformance suite's tools.
    Fixture,
}

impl Bundle {
    /// Its folder.
    #[must_use]
    pub fn folder(self) -> PathBuf {
        PathBuf::from(setting(match self {
            Self::Release => "SIGNALBOX_BUNDLE",
            Self::Fixture => "SIGNALBOX_FIXTURE_BUNDLE",
        }))
    }
}

/// A running server. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    script: Child,
    workerd: u32,
    /// `http://127.0.0.1:PORT`, without a path.
    pub origin: String,
}

impl Server {
    /// Serves a bundle with its state in a folder. `keys` is `user=key,…`, `user` the one of a
    /// request without a credential.
    #[must_use]
    pub fn start(bundle: Bundle, state: &Path, keys: &str, user: Option<&str>) -> Self {
        let user: Vec<_> = user.map(|user| ("DEV_USER", user)).into_iter().collect();
        Self::start_with(bundle, state, keys, &user)
    }

    /// Serves a bundle with some settings more (see scripts/serve).
    #[must_use]
    pub fn start_with(bundle: Bundle, state: &Path, keys: &str, settings: &[(&str, &str)]) -> Self {
        Self::start_from(&bundle.folder(), state, keys, settings, Stdio::inherit())
    }

    /// Serves a bundle with these toolsets, which may be on this machine, and some settings more:
    /// secrets too, by name.
    ///
    /// # Panics
    /// Where the state folder cannot be written.
    #[must_use]
    pub fn start_with_toolsets(
        bundle: Bundle,
        state: &Path,
        keys: &str,
        toolsets: &Value,
        settings: &[(&str, &str)],
    ) -> Self {
        let file = state.join("settings.json");
        let written = json!({ "vars": { "toolsets": toolsets } });
        fs::write(&file, written.to_string()).expect("the state folder can be written");
        let mut all =
            vec![("SETTINGS", file.to_str().expect("a text as path")), ("DEVELOPMENT", "1")];
        all.extend_from_slice(settings);
        Self::start_with(bundle, state, keys, &all)
    }

    /// Serves the bundle in a folder, and has its log go somewhere.
    #[must_use]
    pub fn start_from(
        folder: &Path,
        state: &Path,
        keys: &str,
        settings: &[(&str, &str)],
        log: Stdio,
    ) -> Self {
        let mut command = Command::new(root().join("scripts/serve"));
        command
            .env("BUNDLE", folder)
            .env("STATE", state)
            .env("PORT", "0")
            .env("DEV_KEYS", keys)
            .env_remove("DEV_USER")
            .env_remove("SETTINGS")
            .env_remove("CONFIG")
            .env_remove("DEVELOPMENT")
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut script = command.spawn().expect("scripts/serve starts");
        let output = script.stdout.take().expect("its output");
        let mut lines = BufReader::new(output).lines().map(|line| line.expect("a line"));
        let mut word = |beginning: &str| {
            let line = lines.find(|line| line.starts_with(beginning));
            let line = line.unwrap_or_else(|| panic!("the server ended before `{beginning}`"));
            line.trim_start_matches(beginning).trim().to_owned()
        };
        let workerd = word("pid ").parse().expect("a process id");
        let origin = word("ready ").trim_end_matches("/mcp").to_owned();
        Self { script, workerd, origin }
    }

    /// The endpoint at a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// Whether the process that was started still runs: its script ends with it and starts no other.
    pub fn is_running(&mut self) -> bool {
        matches!(self.script.try_wait(), Ok(None))
    }

    /// Kills the server as a power cut would.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // The script notices and ends by itself.
        let _ = Command::new("kill").args(["-KILL", &self.workerd.to_string()]).status();
        let _ = self.script.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.script.try_wait() {
            self.end();
        }
    }
}

/// A response, whole.
#[derive(Debug, Clone)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers, by lower-case name.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Response {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The messages of an event stream, in order.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data: "));
        // A priming event has none.
        let data = data.filter(|json| !json.is_empty());
        data.map(|json| serde_json::from_str(json).expect("JSON in an event")).collect()
    }
}

/// One server-sent event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// `id`, if it has one.
    pub id: Option<String>,
    /// `event`; empty where it is not named.
    pub name: String,
    /// `data`.
    pub data: String,
    /// `retry`, if it has one.
    pub retry: Option<u64>,
}

impl Event {
    /// The message in it.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|_| panic!("JSON in {self:?}"))
    }
}

/// A stream of events that is still open. It is disconnected when it is dropped.
#[derive(Debug)]
pub struct Events(BufReader<reqwest::blocking::Response>);

impl Iterator for Events {
    type Item = Event;

    /// Waits for an event; `None` after the last. Comments are no events.
    fn next(&mut self) -> Option<Event> {
        let (mut event, mut is_any) = (Event::default(), false);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end_matches('\n');
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" if line.is_empty() && is_any => return Some(event),
                "id" => event.id = Some(value.to_owned()),
                "event" => value.clone_into(&mut event.name),
                "data" => value.clone_into(&mut event.data),
                "retry" => event.retry = value.parse().ok(),
                _ => continue,
            }
            is_any = true;
        }
    }
}

impl Events {
    /// Waits for a comment: the sign of life of a stream that has nothing to say.
    ///
    /// # Panics
    /// Where something is said before, or the stream ends.
    pub fn comment(&mut self) {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).expect("a line");
        assert!(read > 0 && line.starts_with(':'), "no comment: {line:?}");
        let mut end = String::new();
        let _ = self.0.read_line(&mut end);
    }

    /// Waits for the next message.
    ///
    /// # Panics
    /// Where the stream ends before there is one.
    pub fn message(&mut self) -> (Option<String>, Value) {
        let event = self.find(|event| !event.data.is_empty()).expect("a message");
        (event.id.clone(), event.json())
    }
}

/// Opens a stream.
///
/// # Panics
/// Where the answer is none.
#[must_use]
pub fn open(method: &str, url: &str, headers: &[(&str, &str)], body: Option<Vec<u8>>) -> Events {
    try_open(method, url, headers, body).expect("a response")
}

/// Opens a stream; `None` where the server is not there.
///
/// # Panics
/// Where the answer is no stream.
#[must_use]
pub fn try_open(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<Vec<u8>>,
) -> Option<Events> {
    let response = request(method, url, headers, body).send().ok()?;
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    assert_eq!(kind, Some("text/event-stream"), "{response:?}");
    Some(Events(BufReader::new(response)))
}

/// Sends one request, exactly as it is given.
#[must_use]
pub fn send(method: &str, url: &str, headers: &[(&str, &str)], body: Option<Vec<u8>>) -> Response {
    let response = request(method, url, headers, body).send().expect("a response");
    let headers = response.headers().iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    Response {
        status: response.status().as_u16(),
        headers: headers.collect(),
        body: response.text().expect("a body"),
    }
}

fn request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<Vec<u8>>,
) -> reqwest::blocking::RequestBuilder {
    let method = method.parse().expect("a method");
    let mut request = reqwest::blocking::Client::new().request(method, url);
    for (name, value) in headers {
        let value = reqwest::header::HeaderValue::from_bytes(value.as_bytes()).expect("a value");
        request = request.header(*name, value);
    }
    if let Some(body) = body {
        request = request.body(body);
    }
    request
}

/// A client of the handshake era that speaks plain HTTP.
#[derive(Debug, Clone)]
pub struct Session {
    url: String,
    key: String,
    revision: String,
    /// `Mcp-Session-Id`.
    pub id: String,
}

impl Session {
    /// Begins a session of the newest revision that has any.
    #[must_use]
    pub fn begin(url: &str, key: &str) -> Self {
        Self::begin_as(url, key, "2025-11-25", &json!({}))
    }

    /// Begins a session.
    #[must_use]
    pub fn begin_as(url: &str, key: &str, revision: &str, capabilities: &Value) -> Self {
        let params = json!({ "protocolVersion": revision, "capabilities": capabilities,
            "clientInfo": { "name": "plain", "version": "1" } });
        let response = post(url, key, &[], &message("initialize", &params));
        assert_eq!(response.status, 200, "{response:?}");
        let id = response.header("mcp-session-id").expect("a session id").to_owned();
        let (url, key, revision) = (url.to_owned(), key.to_owned(), revision.to_owned());
        let session = Self { url, key, revision, id };
        let notification = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(session.post(&notification.to_string()).status, 202);
        session
    }

    /// The same session on another server, or at another path.
    #[must_use]
    pub fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }

    /// The same session with another user's key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// Another id, at the same place with the same key.
    #[must_use]
    pub fn with_id(&self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self.clone() }
    }

    /// Posts a body.
    #[must_use]
    pub fn post(&self, body: &str) -> Response {
        let revision = ("mcp-protocol-version", self.revision.as_str());
        post(&self.url, &self.key, &[("mcp-session-id", &self.id), revision], body)
    }

    /// Sends a request with an id, and reads its answer as it comes.
    #[must_use]
    pub fn stream(&self, id: u64, method: &str, params: &Value) -> Events {
        self.try_stream(id, method, params).expect("a response")
    }

    /// Listens to the session, or for what it missed of a stream.
    #[must_use]
    pub fn listen(&self, last_event: Option<&str>) -> Events {
        let last = last_event.map(|last| ("last-event-id", last));
        self.open("GET", &last.into_iter().collect::<Vec<_>>(), None)
    }

    fn open(&self, method: &str, more: &[(&str, &str)], body: Option<Vec<u8>>) -> Events {
        self.try_open(method, more, body).expect("a response")
    }

    /// The same as [`Self::stream`], where the server may not be there.
    #[must_use]
    pub fn try_stream(&self, id: u64, method: &str, params: &Value) -> Option<Events> {
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let headers = [("content-type", "application/json")];
        self.try_open("POST", &headers, Some(body.to_string().into_bytes()))
    }

    /// The same as [`Self::listen`], where the server may not be there.
    #[must_use]
    pub fn try_listen(&self, last_event: &str) -> Option<Events> {
        self.try_open("GET", &[("last-event-id", last_event)], None)
    }

    fn try_open(
        &self,
        method: &str,
        more: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Option<Events> {
        let authorization = format!("Bearer {}", self.key);
        let mut headers = vec![
            ("authorization", authorization.as_str()),
            ("accept", "application/json, text/event-stream"),
            ("mcp-session-id", &self.id),
            ("mcp-protocol-version", &self.revision),
        ];
        headers.extend_from_slice(more);
        try_open(method, &self.url, &headers, body)
    }

    /// Sends a request.
    #[must_use]
    pub fn request(&self, method: &str, params: &Value) -> Response {
        self.post(&message(method, params))
    }

    /// Calls a tool and returns its structured content.
    #[must_use]
    pub fn call(&self, tool: &str, arguments: &Value) -> Value {
        let params = json!({ "name": tool, "arguments": arguments });
        let response = self.request("tools/call", &params);
        let mut json = response.json();
        assert_eq!(json["result"]["isError"], json!(false), "{tool} {arguments}: {response:?}");
        json["result"]["structuredContent"].take()
    }

    /// Ends the session.
    #[must_use]
    pub fn end(&self) -> Response {
        let authorization = format!("Bearer {}", self.key);
        let headers =
            [("authorization", authorization.as_str()), ("mcp-session-id", self.id.as_str())];
        send("DELETE", &self.url, &headers, None)
    }
}

/// A request's text.
#[must_use]
pub fn message(method: &str, params: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
}

/// Posts a body as a well-behaved client does, with some headers more.
#[must_use]
pub fn post(url: &str, key: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let authorization = format!("Bearer {key}");
    send("POST", url, &usual(&authorization, headers), Some(body.as_bytes().to_vec()))
}

fn usual<'a>(authorization: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![
        ("authorization", authorization),
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
    ];
    all.extend_from_slice(more);
    all
}

/// The headers that the modern era demands.
fn modern_headers<'a>(method: &'a str, name: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut headers = vec![("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)];
    if !name.is_empty() {
        headers.push(("mcp-name", name));
    }
    headers
}

/// Sends a request of the modern era, with the headers that it demands.
#[must_use]
pub fn modern(url: &str, key: &str, method: &str, mut params: Value) -> Response {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let name = params["name"].as_str().or(params["uri"].as_str()).unwrap_or_default().to_owned();
    post(url, key, &modern_headers(method, &name), &message(method, &params))
}

/// Calls a tool in the modern era, as a client of this name, where a stream is the answer.
#[must_use]
pub fn modern_call(url: &str, key: &str, client: &str, tool: &str) -> Events {
    let params = json!({ "name": tool, "arguments": {}, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": client, "version": "1" },
    } });
    let authorization = format!("Bearer {key}");
    let headers = usual(&authorization, &modern_headers("tools/call", tool));
    open("POST", url, &headers, Some(message("tools/call", &params).into_bytes()))
}
