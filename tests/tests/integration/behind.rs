//! The `mcp` toolset on real workerd, with a server upstream:
//!
//! - `real`: what nobody here wrote, through Signalbox as it is without
//! - `sessions`: the session that an upstream gave, over restarts of either side
//! - `privacy`: what an upstream is told of whoever asks
//! - `calls`: what is said while a call runs, and calls that nobody waits for any more
//! - `changes`: what is fresh, and what is heard when it is not any more
//! - `failures`: upstreams that fail, each in a way of its own
//! - `fences`: what a scope leaves of an upstream
//! - `entering`: who may enter a scope where an upstream says who
//! - `distrust`: what an upstream says of itself

mod calls;
mod changes;
mod distrust;
mod entering;
mod failures;
mod fences;
mod privacy;
mod real;
mod sessions;

use crate::KEYS;
use serde_json::{Map, Value, json};
use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tests::{Bundle, Events, Response, Server, Session, message, open, post};

/// A Signalbox with these toolsets, and a state of its own.
struct Front {
    server: Server,
    state: TempDir,
    toolsets: Value,
}

impl Front {
    fn start(toolsets: &Value) -> Self {
        Self::start_with(toolsets, &[])
    }

    /// The same with settings more: secrets too.
    fn start_with(toolsets: &Value, settings: &[(&str, &str)]) -> Self {
        let state = tempfile::tempdir().unwrap();
        let toolsets = toolsets.clone();
        let bundle = Bundle::Release;
        let server = Server::start_with_toolsets(bundle, state.path(), KEYS, &toolsets, settings);
        Self { server, state, toolsets }
    }

    /// The same with its log in a file.
    fn start_logging(toolsets: &Value) -> Self {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("settings.json");
        fs::write(&file, json!({ "vars": { "toolsets": toolsets } }).to_string()).unwrap();
        let log = Stdio::from(fs::File::create(state.path().join("log")).unwrap());
        let settings = [("SETTINGS", file.to_str().unwrap()), ("DEVELOPMENT", "1")];
        let folder = Bundle::Release.folder();
        let server = Server::start_from(&folder, state.path(), KEYS, &settings, log);
        Self { server, state, toolsets: toolsets.clone() }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.state.path().join("log")).unwrap()
    }

    /// Kills it as a power cut would, and starts it again with what it has kept.
    fn restart(self) -> Self {
        self.restart_with(&[])
    }

    fn restart_with(self, settings: &[(&str, &str)]) -> Self {
        let Self { server, state, toolsets } = self;
        server.kill();
        let bundle = Bundle::Release;
        let server = Server::start_with_toolsets(bundle, state.path(), KEYS, &toolsets, settings);
        Self { server, state, toolsets }
    }

    fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    fn modern(&self, path: &str) -> Modern {
        Modern::at(&self.url(path))
    }
}

/// A toolset with a server at an address, and more members.
fn far(url: &str, more: &Value) -> Value {
    let mut toolset = json!({ "kind": "mcp", "name": "far", "url": url });
    for (name, value) in more.as_object().unwrap() {
        toolset[name] = value.clone();
    }
    toolset
}

/// A client of 2026-07-28.
#[derive(Debug, Clone)]
struct Modern {
    url: String,
    capabilities: Value,
    /// Members of `_meta` besides.
    meta: Value,
}

impl Modern {
    fn at(url: &str) -> Self {
        Self { url: url.to_owned(), capabilities: json!({}), meta: json!({}) }
    }

    fn written(&self, method: &str, params: &Value) -> (String, Vec<(&'static str, String)>) {
        let mut params = params.clone();
        let mut meta = self.meta.clone();
        meta["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
        meta["io.modelcontextprotocol/clientCapabilities"] = self.capabilities.clone();
        params["_meta"] = meta;
        let mut headers = vec![
            ("mcp-protocol-version", "2026-07-28".to_owned()),
            ("mcp-method", method.to_owned()),
        ];
        let name = params["name"].as_str().or(params["uri"].as_str());
        headers.extend(name.map(|name| ("mcp-name", name.to_owned())));
        (message(method, &params), headers)
    }

    fn request(&self, method: &str, params: &Value) -> Response {
        let (body, headers) = self.written(method, params);
        let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        post(&self.url, "key-a", &headers, &body)
    }

    fn stream(&self, method: &str, params: &Value) -> Events {
        let (body, headers) = self.written(method, params);
        let mut all = vec![
            ("authorization", "Bearer key-a"),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
        ];
        all.extend(headers.iter().map(|(n, v)| (*n, v.as_str())));
        open("POST", &self.url, &all, Some(body.into_bytes()))
    }

    /// Opens a stream of changes, and waits until it is acknowledged.
    fn listen(&self, filter: &Value) -> Events {
        let mut events = self.stream("subscriptions/listen", &json!({ "notifications": filter }));
        let (_, first) = events.message();
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
        events
    }
}

/// A client of any era, which asks and reads the whole answer.
trait Asks {
    fn asks(&self, method: &str, params: &Value) -> Response;

    /// The message that answers, in either form.
    #[track_caller]
    fn answer(&self, method: &str, params: &Value) -> Value {
        reply(&self.asks(method, params))
    }

    /// Its result.
    #[track_caller]
    fn result(&self, method: &str, params: &Value) -> Value {
        let mut answer = self.answer(method, params);
        assert!(answer["result"].is_object(), "{method} {params}: {answer}");
        answer["result"].take()
    }

    /// What a tool returns.
    #[track_caller]
    fn calls(&self, tool: &str, arguments: &Value) -> Value {
        self.result("tools/call", &json!({ "name": tool, "arguments": arguments }))
    }

    /// The same where it is a protocol error.
    #[track_caller]
    fn refused(&self, tool: &str, arguments: &Value) -> Value {
        let params = json!({ "name": tool, "arguments": arguments });
        let mut answer = self.answer("tools/call", &params);
        assert!(answer["error"].is_object(), "{tool} {arguments}: {answer}");
        answer["error"].take()
    }

    /// A list to which every server has had its say, be it on a busy machine: one that has not yet is
    /// named, and asked for again.
    #[track_caller]
    fn listed(&self, method: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let listed = self.result(method, &json!({}));
            let missing = &listed["_meta"]["signalbox/missing"];
            if !missing.to_string().contains("has not answered yet") {
                return listed;
            }
            assert!(Instant::now() < deadline, "{method}: {missing}");
        }
    }

    /// The names in a list.
    #[track_caller]
    fn names(&self, method: &str, member: &str, name: &str) -> Vec<String> {
        let result = self.listed(method);
        let items = result[member].as_array().unwrap_or_else(|| panic!("no list: {result}"));
        items.iter().map(|item| item[name].as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    fn tools(&self) -> Vec<String> {
        self.names("tools/list", "tools", "name")
    }
}

impl Asks for Session {
    fn asks(&self, method: &str, params: &Value) -> Response {
        self.request(method, params)
    }
}

impl Asks for Modern {
    fn asks(&self, method: &str, params: &Value) -> Response {
        self.request(method, params)
    }
}

/// The message that answers a request, in either form.
#[track_caller]
fn reply(response: &Response) -> Value {
    match response.header("content-type") {
        Some("text/event-stream") => response.events().pop().expect("a message"),
        _ => response.json(),
    }
}

/// A result without what the eras and two servers differ in: how fresh it is, whose it is, and
/// whether a tool runs as a task.
fn plain(mut result: Value) -> Value {
    let members = result.as_object_mut().unwrap();
    for own in ["resultType", "ttlMs", "cacheScope"] {
        members.remove(own);
    }
    if let Some(meta) = members.get_mut("_meta").and_then(Value::as_object_mut) {
        meta.remove("io.modelcontextprotocol/serverInfo");
        if meta.is_empty() {
            members.remove("_meta");
        }
    }
    for tool in members.get_mut("tools").and_then(Value::as_array_mut).into_iter().flatten() {
        tool.as_object_mut().unwrap_or(&mut Map::new()).remove("execution");
    }
    result
}

/// What a tool of the scripted server got, and nothing else.
#[track_caller]
fn got(result: &Value) -> Value {
    let text = result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{result}"));
    serde_json::from_str(text).unwrap()
}
