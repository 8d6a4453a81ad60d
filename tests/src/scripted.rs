//! An MCP server of the tests' own, for Signalbox to have upstream: it does what a test tells it, in
//! either era, and keeps every request as it came. It must not know what any test expects.

use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which way of talking MCP a server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// Sessions that begin with `initialize`.
    Handshake,
    /// 2026-07-28.
    Modern,
}

/// What is wrong with a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// It reads the request and says nothing.
    Hangs,
    /// It begins a stream and says nothing more.
    Stalls,
    /// It ends the connection.
    Closes,
    /// It answers with this: status, headers, body.
    Says(u16, Vec<(&'static str, String)>, String),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers, by lower-case name.
    pub headers: Vec<(String, String)>,
    /// The body as JSON; null where it is none.
    pub body: Value,
}

impl Asked {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// What it is: the method of its message, `reply` of an answer, else the HTTP method.
    #[must_use]
    pub fn what(&self) -> &str {
        match &self.body {
            Value::Object(body) => body.get("method").and_then(Value::as_str).unwrap_or("reply"),
            _ => &self.method,
        }
    }
}

/// What a server has and does.
#[derive(Debug)]
pub struct Script {
    /// Its era.
    pub era: Era,
    /// The revision that it speaks with a session.
    pub revision: &'static str,
    /// Items on one page of a list, and whether the last page says that there is another.
    pub page: Option<(usize, bool)>,
    /// `tools/list`.
    pub tools: Vec<Value>,
    /// `prompts/list`.
    pub prompts: Vec<Value>,
    /// `resources/list`.
    pub resources: Vec<Value>,
    /// `resources/templates/list`.
    pub templates: Vec<Value>,
    /// How long its lists are fresh.
    pub ttl_ms: Option<u64>,
    /// What is wrong with it, by what is asked; `*` for everything.
    pub wrong: BTreeMap<&'static str, Wrong>,
    /// What it has an answer to, and keeps that until this is not said any more.
    pub held: BTreeSet<&'static str>,
    /// What it says of a call before its result, by the tool. A progress gets the call's token.
    pub says: BTreeMap<String, Vec<Value>>,
    /// What it says to a session that it does not know.
    pub unknown_session: u16,
    /// What it says to a `GET` that is none of a stream, by the path.
    pub pages: BTreeMap<String, u16>,
    /// Whether sessions have a stream.
    pub has_stream: bool,
}

struct State {
    script: Script,
    asked: Vec<Asked>,
    sessions: BTreeSet<String>,
    /// How many it has begun.
    begun: usize,
    /// Streams that wait for what is said, with the request that opened each.
    open: Vec<(u64, TcpStream, Value)>,
    /// Connections that were ended by the other side before the answer, by what was asked.
    left: Vec<String>,
    /// Answers that are held, by what was asked.
    holding: Vec<String>,
    streams: u64,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    is_over: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let outcome = change(&mut self.lock());
        self.changed.notify_all();
        outcome
    }
}

/// A running server. It ends when it is dropped.
pub struct Scripted {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// `http://127.0.0.1:PORT`, without a path.
    pub origin: String,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scripted").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.shared.change(|state| state.open.clear());
        // The listener looks up when somebody comes.
        let _ = TcpStream::connect(self.address);
    }
}

/// A tool that takes anything and says what it got.
#[must_use]
pub fn tool(name: &str) -> Value {
    tool_of(name, &json!({}))
}

/// The same with these properties in its schema.
#[must_use]
pub fn tool_of(name: &str, properties: &Value) -> Value {
    json!({ "name": name, "description": format!("It is called {name}."),
        "inputSchema": { "type": "object", "properties": properties } })
}

impl Scripted {
    /// A server with the tool `echo`.
    ///
    /// # Panics
    /// Where no port is free.
    #[must_use]
    pub fn start(era: Era) -> Self {
        let script = Script {
            era,
            revision: "2025-11-25",
            page: None,
            tools: vec![tool("echo")],
            prompts: Vec::new(),
            resources: Vec::new(),
            templates: Vec::new(),
            ttl_ms: None,
            wrong: BTreeMap::new(),
            held: BTreeSet::new(),
            says: BTreeMap::new(),
            unknown_session: 404,
            pages: BTreeMap::new(),
            has_stream: true,
        };
        let state = State {
            script,
            asked: Vec::new(),
            sessions: BTreeSet::new(),
            begun: 0,
            open: Vec::new(),
            left: Vec::new(),
            holding: Vec::new(),
            streams: 0,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            is_over: AtomicBool::new(false),
        });
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let kept = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if kept.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&kept);
                thread::spawn(move || {
                    // A connection that breaks is whoever's on the other side.
                    let _ = serve(&shared, stream);
                });
            }
        });
        Self { shared, address, origin: format!("http://{address}") }
    }

    /// Its address at a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// Tells it what to do from now on.
    pub fn set(&self, change: impl FnOnce(&mut Script)) {
        self.shared.change(|state| change(&mut state.script));
    }

    /// Every request so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.lock().asked.clone()
    }

    /// The requests so far that are this (see [`Asked::what`]).
    #[must_use]
    pub fn all(&self, what: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.what() == what).collect()
    }

    /// How many of them there are.
    #[must_use]
    pub fn count(&self, what: &str) -> usize {
        self.all(what).len()
    }

    /// Forgets what was asked, and no session.
    pub fn forget_requests(&self) {
        self.shared.change(|state| state.asked.clear());
    }

    /// Forgets every session, as after a restart.
    pub fn forget_sessions(&self) {
        self.shared.change(|state| {
            state.sessions.clear();
            for (_, stream, _) in state.open.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }

    /// Says something on every stream that waits, and to how many.
    pub fn say(&self, message: &Value) -> usize {
        self.shared.change(|state| {
            for (_, stream, request) in &mut state.open {
                let mut message = message.clone();
                if !request.is_null() {
                    message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] =
                        request["id"].clone();
                }
                // Whoever has gone does not hear it.
                let _ = event(stream, &message);
            }
            state.open.len()
        })
    }

    /// Waits until that many requests have been this, and returns them.
    ///
    /// # Panics
    /// Where there are not so many in half a minute.
    #[must_use]
    pub fn wait_for(&self, what: &str, count: usize) -> Vec<Asked> {
        self.wait(&format!("{count} of {what}"), |state| {
            let all: Vec<Asked> =
                state.asked.iter().filter(|asked| asked.what() == what).cloned().collect();
            (all.len() >= count).then_some(all)
        })
    }

    /// Waits until a request has been this, and such a one.
    #[must_use]
    pub fn wait_for_such(&self, what: &str, is_it: impl Fn(&Asked) -> bool) -> Asked {
        self.wait(&format!("such {what}"), |state| {
            state.asked.iter().find(|asked| asked.what() == what && is_it(asked)).cloned()
        })
    }

    /// Waits until an answer to this is held.
    pub fn wait_for_held(&self, what: &str) {
        self.wait(&format!("an answer to {what}"), |state| {
            state.holding.iter().any(|held| held == what).then_some(())
        });
    }

    /// Waits until that many streams wait for what is said.
    pub fn wait_for_streams(&self, count: usize) {
        self.wait(&format!("{count} streams"), |state| (state.open.len() >= count).then_some(()));
    }

    /// Waits until a stream waits for what is said that was opened by such a request, and no other
    /// does.
    pub fn wait_for_stream_of(&self, is_it: impl Fn(&Value) -> bool) {
        self.wait("a certain stream", |state| match state.open.as_slice() {
            [(_, _, request)] if is_it(request) => Some(()),
            _ => None,
        });
    }

    /// Waits until a connection was ended by the other side before the answer to this.
    pub fn wait_for_leave(&self, what: &str) {
        self.wait(&format!("nobody to wait for {what}"), |state| {
            state.left.iter().any(|left| left == what).then_some(())
        });
    }

    fn wait<T>(&self, what: &str, mut found: impl FnMut(&State) -> Option<T>) -> T {
        let mut state = self.shared.lock();
        loop {
            if let Some(found) = found(&state) {
                return found;
            }
            let (next, waited) = self
                .shared
                .changed
                .wait_timeout(state, PATIENCE)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            if waited.timed_out() {
                let asked: Vec<_> = state.asked.iter().map(Asked::what).collect();
                panic!("waited for {what}; it was asked {asked:?}, left {:?}", state.left);
            }
        }
    }
}

fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Asked>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let mut words = lines.first().map(String::as_str).unwrap_or_default().split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (method, path) = (word(), word());
    let headers = lines.iter().skip(1).filter_map(|line| line.split_once(':'));
    let headers: Vec<(String, String)> =
        headers.map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned())).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Ok(Some(Asked { method, path, headers, body }))
}

fn serve(shared: &Arc<Shared>, stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let Some(asked) = read(&mut reader)? else {
        return Ok(());
    };
    let wrong = shared.change(|state| {
        state.asked.push(asked.clone());
        let wrong = &state.script.wrong;
        wrong.get(asked.what()).or_else(|| wrong.get("*")).cloned()
    });
    let mut connection = Connection { shared, reader, stream, asked };
    match wrong {
        None => connection.answer(),
        Some(Wrong::Closes) => Ok(()),
        Some(Wrong::Says(status, headers, body)) => connection.say(status, &headers, &body),
        Some(Wrong::Hangs) => {
            connection.wait_for_leave();
            Ok(())
        }
        Some(Wrong::Stalls) => {
            connection.begin()?;
            connection.wait_for_leave();
            Ok(())
        }
    }
}

fn event(stream: &mut TcpStream, message: &Value) -> io::Result<()> {
    stream.write_all(format!("data: {message}\n\n").as_bytes())?;
    stream.flush()
}

struct Connection<'a> {
    shared: &'a Arc<Shared>,
    reader: BufReader<TcpStream>,
    stream: TcpStream,
    asked: Asked,
}

impl Connection<'_> {
    fn say(&mut self, status: u16, headers: &[(&str, String)], body: &str) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {status} -\r\nconnection: close\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", body.len());
        self.stream.write_all(head.as_bytes())?;
        self.stream.write_all(body.as_bytes())?;
        self.stream.flush()
    }

    fn json(&mut self, status: u16, headers: &[(&str, String)], body: &Value) -> io::Result<()> {
        let mut all = vec![("content-type", "application/json".to_owned())];
        all.extend_from_slice(headers);
        self.say(status, &all, &body.to_string())
    }

    fn begin(&mut self) -> io::Result<()> {
        let head = "HTTP/1.1 200 -\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n";
        self.stream.write_all(head.as_bytes())?;
        self.stream.flush()
    }

    /// Waits until the other side ends the connection.
    fn wait(&mut self) {
        let mut byte = [0];
        while matches!(self.reader.read(&mut byte), Ok(1..)) {}
    }

    /// The same, and keeps that it did.
    fn wait_for_leave(&mut self) {
        self.wait();
        let what = self.asked.what().to_owned();
        self.shared.change(|state| state.left.push(what));
    }

    /// A stream on which is said what a test says, until the other side ends it.
    fn hold(&mut self) -> io::Result<()> {
        let stream = self.stream.try_clone()?;
        let request = self.asked.body.clone();
        let number = self.shared.change(|state| {
            state.streams = state.streams.saturating_add(1);
            state.open.push((state.streams, stream, request));
            state.streams
        });
        self.wait();
        let what = self.asked.what().to_owned();
        self.shared.change(|state| {
            // One that this server ended is not there any more.
            if let Some(at) = state.open.iter().position(|(n, _, _)| *n == number) {
                state.open.remove(at);
                state.left.push(what);
            }
        });
        Ok(())
    }

    fn answer(&mut self) -> io::Result<()> {
        let what = self.asked.what().to_owned();
        let (era, page) = {
            let state = self.shared.lock();
            (state.script.era, state.script.pages.get(&self.asked.path).copied())
        };
        if let Some(status) = page {
            return self.say(status, &[], "");
        }
        let id = self.asked.body["id"].clone();
        let is_old = era == Era::Handshake;
        if what == "initialize" && is_old {
            return self.initialize(&id);
        }
        if is_old && !self.is_known() {
            let status = self.shared.lock().script.unknown_session;
            let error = json!({ "code": -32000, "message": "Bad Request: no such session" });
            let body = json!({ "jsonrpc": "2.0", "id": null, "error": error });
            return self.json(status, &[], &body);
        }
        match what.as_str() {
            "GET" if is_old && self.shared.lock().script.has_stream => {
                self.begin()?;
                self.hold()
            }
            "GET" | "DELETE" => self.say(405, &[], ""),
            "subscriptions/listen" if !is_old => {
                self.begin()?;
                let filter = self.asked.body["params"]["notifications"].clone();
                let ack = json!({ "jsonrpc": "2.0",
                    "method": "notifications/subscriptions/acknowledged",
                    "params": { "notifications": filter,
                        "_meta": { "io.modelcontextprotocol/subscriptionId": id } } });
                event(&mut self.stream, &ack)?;
                self.hold()
            }
            _ if id.is_null() || what == "reply" => self.say(202, &[], ""),
            _ => self.reply(&what, &id, is_old),
        }
    }

    fn is_known(&self) -> bool {
        let session = self.asked.header("mcp-session-id").unwrap_or_default();
        self.shared.lock().sessions.contains(session)
    }

    fn initialize(&mut self, id: &Value) -> io::Result<()> {
        let session = self.shared.change(|state| {
            state.begun = state.begun.saturating_add(1);
            let session = format!("session-{}", state.begun);
            state.sessions.insert(session.clone());
            session
        });
        let revision = self.shared.lock().script.revision;
        let result = json!({ "protocolVersion": revision, "capabilities": capabilities(),
            "serverInfo": { "name": "scripted", "version": "1" } });
        let body = json!({ "jsonrpc": "2.0", "id": id, "result": result });
        self.json(200, &[("mcp-session-id", session)], &body)
    }

    fn reply(&mut self, what: &str, id: &Value, is_old: bool) -> io::Result<()> {
        let mut state = self.shared.lock();
        let outcome = result(&state.script, what, &self.asked.body["params"]);
        if state.script.held.contains(what) {
            state.holding.push(what.to_owned());
            self.shared.changed.notify_all();
        }
        while state.script.held.contains(what) && !self.shared.is_over.load(Ordering::SeqCst) {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        let mut body = json!({ "jsonrpc": "2.0", "id": id });
        let mut status = 200;
        match outcome {
            Some(Value::Object(result)) => body["result"] = finished(result, is_old),
            Some(_) | None => {
                let error = json!({ "code": -32601, "message": format!("no method {what}") });
                body["error"] = error;
                status = if is_old { 200 } else { 404 };
            }
        }
        let tool = self.asked.body["params"]["name"].as_str().unwrap_or_default();
        let before = self.shared.lock().script.says.get(tool).cloned();
        if let Some(before) = before.filter(|_| what == "tools/call") {
            self.begin()?;
            for mut message in before {
                if message["method"] == "notifications/progress" {
                    message["params"]["progressToken"] =
                        self.asked.body["params"]["_meta"]["progressToken"].clone();
                }
                event(&mut self.stream, &message)?;
            }
            return event(&mut self.stream, &body);
        }
        self.json(status, &[], &body)
    }
}

fn capabilities() -> Value {
    json!({ "tools": { "listChanged": true }, "prompts": { "listChanged": true },
        "resources": { "listChanged": true, "subscribe": true }, "logging": {},
        "completions": {} })
}

fn finished(mut result: Map<String, Value>, is_old: bool) -> Value {
    if !is_old {
        result.insert("resultType".to_owned(), "complete".into());
    }
    result.into()
}

/// The result of what asks for nothing but a result.
fn result(script: &Script, what: &str, params: &Value) -> Option<Value> {
    let list = |member: &str, items: &[Value]| {
        let (size, is_endless) = script.page.unwrap_or((usize::MAX, false));
        let start = params["cursor"].as_str().and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
        let page: Vec<&Value> = items.iter().skip(start).take(size).collect();
        let end = start.saturating_add(page.len());
        let mut list = json!({ member: page });
        if is_endless || end < items.len() {
            list["nextCursor"] = end.to_string().into();
        }
        if let Some(ttl) = script.ttl_ms {
            list["ttlMs"] = ttl.into();
            list["cacheScope"] = "private".into();
        }
        list
    };
    let text = |value: &Value| json!([{ "type": "text", "text": value.to_string() }]);
    Some(match what {
        "server/discover" if script.era == Era::Modern => json!({
            "supportedVersions": ["2026-07-28"], "capabilities": capabilities(),
            "ttlMs": 0, "cacheScope": "private",
            "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "s", "version": "1" } },
        }),
        "tools/list" => list("tools", &script.tools),
        "prompts/list" => list("prompts", &script.prompts),
        "resources/list" => list("resources", &script.resources),
        "resources/templates/list" => list("resourceTemplates", &script.templates),
        "tools/call" => json!({ "content": text(&params["arguments"]),
            "isError": params["name"] == "fails" }),
        "prompts/get" => json!({ "messages": [{ "role": "user", "content":
            { "type": "text", "text": params["arguments"].to_string() } }] }),
        "resources/read" => json!({ "contents": [{ "uri": params["uri"], "text": "it is read" }],
            "ttlMs": 0, "cacheScope": "private" }),
        "completion/complete" => {
            json!({ "completion": { "values": [params["argument"]["value"]] } })
        }
        "resources/subscribe" | "resources/unsubscribe" | "logging/setLevel" | "ping" => json!({}),
        _ => return None,
    })
}
