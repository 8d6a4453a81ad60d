//! What is outside in the tests of lists and owners: scripted servers of the modern era by their
//! hosts, some of which never answer, and an Agent that can be evicted. It must not know what is
//! tested.

use crate::{context::Context, platform::Platform, reply::Reply, toolset::tests::Still};
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{LocalBoxFuture, ready},
    stream,
};
use serde_json::{Value, json, value::to_raw_value};
use shared::{
    AgentKey, Error, Millis, Scope, UserId,
    config::{Config, Written},
    database::{Database, native::Embedded},
    hop::{self, Change, CredentialAnswer, CredentialReply, Hop, InterestHop, NotesAnswer, Peer},
    notes,
};
use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};
use upstream::{Request, Response};

/// One server, as it is at a time.
#[derive(Debug, Clone, Default)]
pub(super) struct Server {
    pub(super) tools: Vec<Value>,
    /// The tools of clients that can be asked for roots, where those are others.
    pub(super) tools_with_roots: Option<Vec<Value>>,
    pub(super) prompts: Vec<Value>,
    pub(super) resources: Vec<Value>,
    pub(super) templates: Vec<Value>,
    pub(super) ttl_ms: u64,
    /// Whether it never answers.
    pub(super) is_silent: bool,
    /// Whether it has none of the resources that it is asked for.
    pub(super) has_nothing: bool,
    /// How long it takes for each answer.
    pub(super) takes_ms: Option<u32>,
    /// Whether it says that there is one page more, each time.
    pub(super) is_endless: bool,
    /// The token that it wants to see, where it wants one.
    pub(super) wants: Option<String>,
    /// Whether it says in each call that its tools have changed.
    pub(super) changes: bool,
    /// Answers to calls, whole.
    pub(super) result: Option<String>,
    /// Answers to other methods; null where there is never any.
    pub(super) answers: BTreeMap<&'static str, Value>,
}

/// Scripted servers, and what was sent to them.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) still: Still,
    servers: RefCell<BTreeMap<String, Server>>,
    sent: RefCell<Vec<(String, Value)>>,
    pub(super) logged: RefCell<Vec<String>>,
    /// What the router says of a credential: the token that is good, `None` where one has to be
    /// connected; whether it gives another for one that is refused; and what it was asked.
    pub(super) token: RefCell<Option<String>>,
    pub(super) renewed: RefCell<Option<String>>,
    pub(super) asked: RefCell<Vec<Option<String>>>,
    random: Cell<u8>,
}

impl World {
    pub(super) fn set(&self, name: &str, change: impl FnOnce(&mut Server)) {
        change(self.servers.borrow_mut().entry(name.to_owned()).or_default());
    }

    pub(super) fn pass(&self, milliseconds: u64) {
        self.still.now.set(self.still.now.get().saturating_add(milliseconds));
    }

    /// What was sent since this was asked last: the server, the method, and what it is about.
    pub(super) fn take(&self) -> Vec<String> {
        let about = |params: &Value| {
            let about = [&params["uri"], &params["name"], &params["ref"]["uri"]];
            let named = about.into_iter().find_map(Value::as_str).map(ToOwned::to_owned);
            let heard = &params["notifications"]["resourceSubscriptions"];
            named.or_else(|| heard.as_array().map(|_| heard.to_string())).unwrap_or_default()
        };
        let line = |(server, message): (String, Value)| {
            let (method, about) = (message["method"].as_str().unwrap(), about(&message["params"]));
            format!("{server} {method} {about}").trim_end().to_owned()
        };
        self.sent.take().into_iter().map(line).collect()
    }

    fn response(server: &Server, message: &Value) -> Response {
        if message["method"] == "subscriptions/listen" {
            // It is heard of nothing for now.
            let headers = vec![("content-type".to_owned(), "text/event-stream".to_owned())];
            return Response { status: 200, headers, body: Box::pin(stream::pending()) };
        }
        let result = match (&server.result, message["method"].as_str()) {
            (Some(result), Some("tools/call")) => result.clone(),
            _ => Self::answer(server, message).to_string(),
        };
        let outcome = match result.strip_prefix(r#"{"error":"#).and_then(|e| e.strip_suffix('}')) {
            Some(error) => format!(r#""error":{error}"#),
            None => format!(r#""result":{result}"#),
        };
        let mut body = format!(r#"{{"jsonrpc":"2.0","id":{},{outcome}}}"#, message["id"]);
        let mut kind = "application/json";
        if server.changes && message["method"] == "tools/call" {
            let note = json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" });
            (body, kind) = (format!("data: {note}\n\ndata: {body}\n\n"), "text/event-stream");
        }
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        let body = stream::iter([Ok(body.into_bytes())]).boxed_local();
        Response { status: 200, headers, body }
    }

    fn answer(server: &Server, message: &Value) -> Value {
        let meta = &message["params"]["_meta"];
        let can_roots = !meta["io.modelcontextprotocol/clientCapabilities"]["roots"].is_null();
        let list = |member: &str, items: &[Value]| {
            let next = server.is_endless.then_some("more");
            json!({ (member): items, "ttlMs": server.ttl_ms, "nextCursor": next })
        };
        let method = message["method"].as_str().unwrap();
        if let Some(answer) = server.answers.get(method) {
            return answer.clone();
        }
        match method {
            "initialize" => {
                json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} } })
            }
            "notifications/initialized" | "tasks/cancel" => json!({}),
            "server/discover" => json!({ "supportedVersions": ["2026-07-28"], "capabilities": {
                "tools": {}, "prompts": {}, "resources": { "subscribe": true }, "completions": {} } }),
            "tools/list" => {
                let other = server.tools_with_roots.as_ref().filter(|_| can_roots);
                list("tools", other.unwrap_or(&server.tools))
            }
            "prompts/list" => list("prompts", &server.prompts),
            "resources/list" => list("resources", &server.resources),
            "resources/templates/list" => list("resourceTemplates", &server.templates),
            "resources/read" if server.has_nothing => {
                json!({ "error": { "code": -32002, "message": "not found" } })
            }
            "resources/read" => json!({ "contents": [{ "uri": "x", "text": "text" }] }),
            "prompts/get" => json!({ "messages": [] }),
            "completion/complete" => json!({ "completion": { "values": ["x"] } }),
            "tools/call" => json!({ "content": [] }),
            "notifications/cancelled" => json!({}),
            other => panic!("a request that no server expects: {other}"),
        }
    }
}

impl Platform for World {
    fn now(&self) -> Millis {
        self.still.now()
    }

    fn random(&self) -> [u8; 12] {
        self.random.set(self.random.get().wrapping_add(1));
        [self.random.get(); 12]
    }

    fn sleep(&self, milliseconds: u32) -> LocalBoxFuture<'static, ()> {
        self.still.sleep(milliseconds)
    }

    fn spawn(&self, work: LocalBoxFuture<'static, ()>) {
        self.still.spawn(work);
    }

    fn wake(&self, at: Millis) -> LocalBoxFuture<'static, Result<(), Error>> {
        self.still.wake(at)
    }

    fn send(&self, request: Request) -> LocalBoxFuture<'static, Result<Response, String>> {
        let name = request.url.trim_start_matches("https://").split('.').next().unwrap().to_owned();
        let Some(body) = &request.body else {
            let body = stream::empty().boxed_local();
            // Whoever says who may enter is not well; the others have no stream of their own.
            let status = if name == "door" { 503 } else { 405 };
            return Box::pin(ready(Ok(Response { status, headers: Vec::new(), body })));
        };
        let message: Value = serde_json::from_str(body).unwrap();
        let server = self.servers.borrow().get(&name).cloned().unwrap_or_default();
        self.sent.borrow_mut().push((name, message.clone()));
        let method = message["method"].as_str().unwrap();
        let authorization = request.headers.iter().filter(|(name, _)| name == "authorization");
        let shown: Vec<_> = authorization.map(|(_, value)| value.clone()).collect();
        if let Some(wanted) = &server.wants
            && shown != [format!("Bearer {wanted}")]
        {
            let body = stream::empty().boxed_local();
            return Box::pin(ready(Ok(Response { status: 401, headers: Vec::new(), body })));
        }
        if server.is_silent || server.answers.get(method).is_some_and(Value::is_null) {
            return Box::pin(std::future::pending());
        }
        let response = Self::response(&server, &message);
        match server.takes_ms {
            Some(takes) => Box::pin(self.sleep(takes).map(|()| Ok(response))),
            None => Box::pin(ready(Ok(response))),
        }
    }

    fn secret(&self, _name: &str) -> Option<String> {
        None
    }

    fn log(&self, error: &Error) {
        self.logged.borrow_mut().push(error.public.clone());
    }

    fn shared_notes(&self, request: notes::Request) -> LocalBoxFuture<'static, NotesAnswer> {
        self.still.shared_notes(request)
    }

    fn credential(
        &self,
        name: &str,
        rejected: Option<String>,
    ) -> LocalBoxFuture<'static, CredentialAnswer> {
        self.asked.borrow_mut().push(rejected.clone());
        if rejected.is_some()
            && let Some(renewed) = self.renewed.borrow_mut().take()
        {
            *self.token.borrow_mut() = Some(renewed);
        }
        let url = Some(format!("https://here.test/connect/{name}"));
        Box::pin(ready(Ok(match self.token.borrow().clone() {
            Some(token) => CredentialReply::Token { id: format!("id of {token}"), token },
            None => CredentialReply::Connect { url, is_over: rejected.is_some() },
        })))
    }

    fn changed(
        &self,
        scope: &Scope,
        changes: Vec<Change>,
    ) -> LocalBoxFuture<'static, Result<(), Error>> {
        self.still.changed(scope, changes)
    }
}

/// An Agent with servers behind it.
pub(super) struct Agent {
    pub(super) world: Rc<World>,
    pub(super) database: Rc<Embedded>,
    config: Rc<Config>,
    context: Rc<Context>,
    /// What its client can be asked for.
    pub(super) capabilities: Value,
    /// What its URL leaves.
    pub(super) options: hop::Options,
    /// By what requests are let in.
    pub(super) holder: hop::Holder,
}

impl Agent {
    /// One with the memory toolset, and a server for each of these toolsets: what is written of it
    /// besides its name and address, which is its name's.
    pub(super) fn new(servers: &[(&str, Value)]) -> Self {
        let mut toolsets = Vec::new();
        for (name, more) in servers {
            let mut toolset = json!({ "kind": "mcp", "name": name, "era": "modern",
                "url": format!("https://{name}.test/mcp") });
            toolset.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            toolsets.push(toolset);
        }
        toolsets.push(json!({ "kind": "memory" }));
        let toolsets = json!(toolsets).to_string();
        let written = Written { toolsets: Some(&toolsets), ..Written::default() };
        let config = Rc::new(Config::parse(written).unwrap());
        let (world, database) = (Rc::new(World::default()), Rc::new(Embedded::in_memory()));
        let context = Rc::new(open(&config, &database, &world));
        let (capabilities, options) = (json!({}), hop::Options::default());
        let holder = hop::Holder::default();
        Self { world, database, config, context, capabilities, options, holder }
    }

    /// The object goes from memory.
    pub(super) fn evict(&mut self) {
        self.world.still.evict();
        self.context = Rc::new(open(&self.config, &self.database, &self.world));
    }

    /// Begins a request: it is answered when what this returns is ready.
    pub(super) fn begin(&self, method: &str, params: Value) -> LocalBoxFuture<'static, Value> {
        let text = self.begin_text(method, params);
        Box::pin(text.map(|text| serde_json::from_str(&text).unwrap()))
    }

    /// The same, answered as the client gets it.
    pub(super) fn begin_text(
        &self,
        method: &str,
        params: Value,
    ) -> LocalBoxFuture<'static, String> {
        let mut params = params;
        params["_meta"] = json!({ "io.modelcontextprotocol/protocolVersion": hop::MODERN_REVISION,
            "io.modelcontextprotocol/clientCapabilities": self.capabilities });
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let hop = Hop {
            key: key(),
            peer: Peer::Modern,
            shared_notes: false,
            is_heard: false,
            prefers_stream: false,
            is_part: true,
            depth: 1,
            options: Cow::Borrowed(&self.options),
            is_read_only: false,
            holder: self.holder.clone(),
            mirrors: Vec::new(),
            message: &to_raw_value(&message).unwrap(),
        };
        let hop = serde_json::to_string(&hop).unwrap();
        let context = Rc::clone(&self.context);
        Box::pin(async move {
            match context.serve(&hop).await {
                Ok(Reply::Json { body, .. }) => body,
                other => panic!("{other:?}"),
            }
        })
    }

    /// What a request is answered with; nothing for one that waits.
    pub(super) fn ask(&self, method: &str, params: Value) -> Option<Value> {
        self.begin(method, params).now_or_never()
    }

    pub(super) fn result(&self, method: &str, params: Value) -> Value {
        let mut said = self.ask(method, params).expect("an answer");
        assert!(said.get("error").is_none(), "{method}: {said}");
        said["result"].take()
    }

    /// The names of a list.
    pub(super) fn names(&self, method: &str, member: &str, name: &str) -> Vec<String> {
        let listed = self.result(method, json!({}))[member].take();
        let items = listed.as_array().unwrap().iter();
        items.map(|item| item[name].as_str().unwrap().to_owned()).collect()
    }

    /// Somebody ends something, in this context or in what is taken for it.
    pub(super) fn stop(&self, key: AgentKey, stop: hop::Stop) -> Result<(), Error> {
        let hop = serde_json::to_string(&hop::StopHop { key, stop }).unwrap();
        self.context.stop(&hop)
    }

    /// Somebody wants to hear of these resources, and of no others.
    pub(super) fn wish(&self, uris: &[&str]) {
        let uris: BTreeSet<String> = uris.iter().map(|uri| (*uri).to_owned()).collect();
        let hop = InterestHop { key: key(), lists: false, uris, blocked: BTreeSet::new() };
        let hop = serde_json::to_string(&hop).unwrap();
        self.context.interest(&hop).now_or_never().expect("an answer").unwrap();
        self.world.still.turn();
    }

    /// Why it is not known whether the user may enter.
    pub(super) fn verify(&self) -> String {
        let hop = serde_json::to_string(&hop::VerifyHop { key: key() }).unwrap();
        let checked = self.context.verify(&hop).now_or_never().expect("an answer");
        checked.expect_err("nobody knows").detail
    }

    pub(super) fn effective(&self) -> Value {
        let key = serde_json::to_string(&key()).unwrap();
        let text = self.context.effective(&key).now_or_never().expect("an answer").unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// A number that the database has.
    pub(super) fn number(&self, statement: &str) -> i64 {
        self.database.run(statement, &[]).unwrap()[0].integer(0).unwrap()
    }
}

fn open(config: &Rc<Config>, database: &Rc<Embedded>, world: &Rc<World>) -> Context {
    let database = Rc::clone(database) as Rc<dyn Database>;
    Context::new(Rc::clone(config), database, Rc::clone(world) as Rc<dyn Platform>)
}

pub(super) fn key() -> AgentKey {
    let scope = Scope::parse_path("/mcp/acme", &Config::default().levels).unwrap();
    AgentKey { user: UserId::parse("u").unwrap(), scope }
}

pub(super) fn tool(name: &str) -> Value {
    json!({ "name": name, "description": name, "inputSchema": { "type": "object" } })
}
