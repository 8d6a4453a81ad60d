//! What is outside in the tests of the fence: a platform that writes down every request, and a
//! scripted server of each era behind it, whose offers put pinned parameters wherever a schema can
//! have them. It must not know scopes, nor what may be asked of it.

use crate::{platform::Platform, toolset::tests::Still};
use futures_util::{
    future::{LocalBoxFuture, ready},
    stream,
};
use serde_json::{Value, json};
use shared::{
    Error, Millis, Scope,
    hop::{Change, NotesAnswer},
    notes,
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Poll, Waker},
};
use upstream::{Request, Response};

/// The session that the server of the handshake era gives.
pub(super) const SESSION: &str = "session-of-the-server";

/// The task that the server of the modern era makes.
pub(super) const TASK: &str = "task-of-the-server";

/// A stream on which one thing is said at a time.
#[derive(Debug)]
struct Line {
    said: Vec<Vec<u8>>,
    waker: Option<Waker>,
}

/// A world in which everything that is sent is written down.
#[derive(Debug, Default)]
pub(super) struct Outside {
    pub(super) still: Still,
    pub(super) sent: RefCell<Vec<Request>>,
    /// Whether no server can be reached.
    pub(super) is_away: Cell<bool>,
    /// Whether its tasks ask something.
    pub(super) is_asking: Cell<bool>,
    random: Cell<u64>,
    /// A call that waits for an answer: its id, and its stream.
    open: RefCell<Option<(Value, Rc<RefCell<Line>>)>>,
    /// Tools that are listed besides.
    pub(super) tools: RefCell<Vec<Value>>,
}

impl Platform for Outside {
    fn now(&self) -> Millis {
        self.still.now()
    }

    fn random(&self) -> [u8; 12] {
        let next = self.random.get().wrapping_add(1);
        self.random.set(next);
        let mut random = [0; 12];
        random[..8].copy_from_slice(&next.to_be_bytes());
        random
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
        if self.is_away.get() {
            return Box::pin(ready(Err("nobody is there".to_owned())));
        }
        let response = self.answer(&request);
        self.sent.borrow_mut().push(request);
        Box::pin(ready(Ok(response)))
    }

    fn secret(&self, name: &str) -> Option<String> {
        Some(format!("the-{name}"))
    }

    fn log(&self, error: &Error) {
        // Shown where a test fails.
        println!("logged: {error:?}");
    }

    fn shared_notes(&self, request: notes::Request) -> LocalBoxFuture<'static, NotesAnswer> {
        self.still.shared_notes(request)
    }

    fn credential(
        &self,
        _name: &str,
        _rejected: Option<String>,
    ) -> LocalBoxFuture<'static, shared::hop::CredentialAnswer> {
        Box::pin(std::future::ready(Err(Error::new(shared::Kind::Unavailable, "not here"))))
    }

    fn changed(
        &self,
        scope: &Scope,
        changes: Vec<Change>,
    ) -> LocalBoxFuture<'static, Result<(), Error>> {
        self.still.changed(scope, changes)
    }
}

impl Outside {
    fn answer(&self, request: &Request) -> Response {
        let Some(body) = &request.body else {
            // A check answers yes; there are no streams.
            return response(if request.url.contains("check.test") { 200 } else { 405 }, None);
        };
        let message: Value = serde_json::from_str(body).unwrap();
        let (method, params) = (message["method"].as_str().unwrap_or(""), &message["params"]);
        let is_old = request.url.contains("old.test");
        if message.get("id").is_none() {
            return response(202, None);
        }
        if message.get("method").is_none() {
            // An answer on the session's way ends the call.
            if let Some((id, open)) = self.open.borrow_mut().take() {
                let result = json!({ "content": [], "structuredContent": {
                    "q": message.get("result"), "error": message.get("error") } });
                let reply = json!({ "jsonrpc": "2.0", "id": id, "result": result });
                let mut line = open.borrow_mut();
                line.said.push(event(&reply));
                line.waker.take().into_iter().for_each(Waker::wake);
            }
            return response(202, None);
        }
        let capabilities = json!({
            "tools": {}, "prompts": {}, "resources": { "subscribe": true }, "completions": {},
            "extensions": { "io.modelcontextprotocol/tasks": {},
                "io.modelcontextprotocol/skills": { "directoryRead": true } },
        });
        let result = match method {
            "server/discover" if is_old => return response(404, None),
            "server/discover" => json!({ "supportedVersions": ["2026-07-28"],
                "capabilities": capabilities, "serverInfo": { "name": "s", "version": "1" } }),
            "initialize" => json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities,
                "serverInfo": { "name": "s", "version": "1" } }),
            "tools/list" => {
                let tools = [tools(), self.tools.borrow().clone()].concat();
                json!({ "tools": tools })
            }
            "prompts/list" => json!({ "prompts": prompts() }),
            "resources/list" => json!({ "resources": resources() }),
            "resources/templates/list" => json!({ "resourceTemplates": templates() }),
            "skills/list" => json!({ "skills": SKILLS.map(skill) }),
            "skills/get" => json!({ "skill": skill(params["uri"].as_str().unwrap_or_default()) }),
            "resources/directory/read" => json!({ "resources": [] }),
            "resources/read" => json!({ "contents": [{ "uri": params["uri"], "text": "text" }] }),
            "prompts/get" => json!({ "messages": [] }),
            "completion/complete" => json!({ "completion": { "values": ["x"] } }),
            // What a client of the other era does with it is another test's.
            "tools/call" if params["name"] == "asks" && !is_old => {
                match params.get("inputResponses") {
                    None => asks(),
                    Some(answers) => json!({ "content": [], "structuredContent": answers }),
                }
            }
            "tools/call" if params["name"] == "asks" => return self.ask(&message),
            "tools/call" if params["name"] == "long" && !is_old => task(),
            "tools/call" => json!({ "content": [{ "type": "text", "text": "done" }] }),
            "resources/subscribe" | "resources/unsubscribe" => json!({}),
            "subscriptions/listen" => return response(405, None),
            "tasks/get" if self.is_asking.get() => {
                let mut task = task();
                task["status"] = "input_required".into();
                task["inputRequests"] = asks()["inputRequests"].take();
                task
            }
            "tasks/get" | "tasks/update" | "tasks/cancel" => task(),
            other => panic!("a request that no server expects: {other}"),
        };
        let reply = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
        response(200, Some(reply.to_string()))
    }

    /// Asks in the middle of a call, on its stream.
    fn ask(&self, call: &Value) -> Response {
        let mut question = asks()["inputRequests"]["q"].take();
        question["jsonrpc"] = "2.0".into();
        question["id"] = 77.into();
        let line = Rc::new(RefCell::new(Line { said: vec![event(&question)], waker: None }));
        *self.open.borrow_mut() = Some((call["id"].clone(), Rc::clone(&line)));
        let mut response = response(200, None);
        response.headers[0].1 = "text/event-stream".to_owned();
        response.body = Box::pin(stream::poll_fn(move |context| {
            let mut line = line.borrow_mut();
            match line.said.pop() {
                Some(event) => Poll::Ready(Some(Ok(event))),
                None => {
                    line.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        }));
        response
    }

    /// What was sent since this was asked last.
    pub(super) fn take(&self) -> Vec<Request> {
        self.sent.take()
    }
}

fn response(status: u16, body: Option<String>) -> Response {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Response {
        status,
        headers: vec![
            header("content-type", "application/json"),
            header("mcp-session-id", SESSION),
        ],
        body: Box::pin(stream::iter(body.map(|body| Ok(body.into_bytes())))),
    }
}

fn event(message: &Value) -> Vec<u8> {
    format!("data: {message}\n\n").into_bytes()
}

/// A question about what is fixed, and more.
pub(super) fn asks() -> Value {
    let schema = json!({ "type": "object", "required": ["owner", "why"],
        "properties": { "owner": text(), "repo": text(), "why": text() } });
    let params = json!({ "mode": "form", "message": "which?", "requestedSchema": schema });
    json!({ "resultType": "input_required", "requestState": "s",
        "inputRequests": { "q": { "method": "elicitation/create", "params": params } } })
}

fn task() -> Value {
    json!({ "resultType": "task", "taskId": TASK, "status": "working", "ttlMs": 60_000,
        "createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z" })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn owner() -> Value {
    json!({ "owner": text(), "repo": text() })
}

fn tool(name: &str, schema: Value) -> Value {
    json!({ "name": name, "inputSchema": schema })
}

/// Tools that have pinned parameters in every place that a schema has.
fn tools() -> Vec<Value> {
    [of_one_schema(), of_several()].concat()
}

fn of_one_schema() -> Vec<Value> {
    vec![
        tool(
            "plain",
            json!({ "type": "object", "required": ["owner", "repo"], "properties": {
                "owner": text(), "repo": text(), "url": text(), "n": { "type": "integer" },
                "tags": { "type": "array", "items": text() } } }),
        ),
        tool(
            "by_reference",
            json!({ "type": "object", "$ref": "#/$defs/Args", "$defs": { "Args": {
                "properties": owner(), "required": ["owner"], "allOf": [{ "$ref": "#/$defs/More" }] },
                "More": { "properties": { "organizationSlug": text(), "query": text() } } } }),
        ),
        tool(
            "by_cycle",
            json!({ "type": "object", "$ref": "#/$defs/A", "$defs": {
                "A": { "properties": { "owner": text(), "next": { "$ref": "#/$defs/A" } },
                    "anyOf": [{ "$ref": "#/$defs/B" }, true] },
                "B": { "properties": { "repo": text() }, "allOf": [{ "$ref": "#/$defs/A" }] } } }),
        ),
        tool(
            "open",
            json!({ "type": "object", "properties": { "owner": text() },
                "additionalProperties": text(), "patternProperties": { "^(o|r)": text() } }),
        ),
        tool("anything", json!({ "type": "object" })),
        tool(
            "nested",
            json!({ "type": "object", "properties": {
                "target": { "type": "object", "properties": owner(), "required": ["owner"] },
                "items": { "type": "array", "items": { "type": "object", "properties": {
                    "owner": text(), "links": { "type": "array", "items": text() } } } } } }),
        ),
        tool(
            "dependent",
            json!({ "type": "object", "properties": { "query": text(), "owner": text() },
                "dependentRequired": { "query": ["owner", "projectSlug"] },
                "dependentSchemas": { "owner": { "properties": { "repo": text() } } } }),
        ),
        tool(
            "headed",
            json!({ "type": "object", "properties": {
                "owner": { "type": "string", "x-mcp-header": "Owner" },
                "q": { "type": "string", "x-mcp-header": "Q" } } }),
        ),
        tool("asks", json!({ "type": "object" })),
        tool("hidden", json!({ "type": "object", "properties": owner() })),
        tool("long", json!({ "type": "object", "properties": owner() })),
    ]
}

/// Tools whose schemas are made of others.
fn of_several() -> Vec<Value> {
    let named = |owner: &str, repo: &str| {
        json!({ "properties": { (owner): text(), (repo): text() },
        "required": [owner] })
    };
    vec![
        tool(
            "all_of",
            json!({ "type": "object", "allOf": [named("owner", "repo"),
                named("organization_slug", "project_slug"),
                { "properties": { "query": text() } }] }),
        ),
        tool(
            "one_of",
            json!({ "type": "object", "oneOf": [named("owner", "repo"),
                { "required": ["id"], "properties": { "id": { "type": "integer" } } }] }),
        ),
        tool(
            "any_of",
            json!({ "type": "object", "anyOf": [named("org", "repo"),
                named("organizationSlug", "projectSlugOrId"), { "required": ["url"] }] }),
        ),
        tool(
            "if_then",
            json!({ "type": "object", "properties": { "owner": text(), "query": text() },
                "if": { "properties": { "owner": { "const": "acme" } }, "required": ["owner"] },
                "then": { "properties": { "repo": text() } }, "else": { "required": ["query"] } }),
        ),
    ]
}

fn prompts() -> Vec<Value> {
    vec![
        json!({ "name": "review", "arguments": [{ "name": "owner", "required": true },
            { "name": "repo" }, { "name": "about" }] }),
        json!({ "name": "bare" }),
    ]
}

/// Resources that are inside, outside, and about no context at all.
fn resources() -> Vec<Value> {
    [
        "repo://acme/web/readme",
        "repo://evil/web/readme",
        "repo://acme/other/readme",
        "host://h/acme/x",
        "host://h/evil/x",
        "find://x?owner=acme&text=y",
        "find://x?owner=evil&text=y",
        "plain://x",
    ]
    .map(|uri| json!({ "uri": uri, "name": uri }))
    .into()
}

/// Templates that have a level first, behind something else, in a query, and in every other way
/// that RFC 6570 knows.
pub(super) const TEMPLATES: [&str; 12] = [
    "repo://{owner}/{repo}/{+path}",
    "host://{host}/{owner}/{name}",
    "find://x{?owner,text}",
    "tree://{+owner}/{name}",
    "list://x{/owner,repo}",
    "part://x{#owner}",
    "deep://h/data/{owner}/{name}",
    "file:///data/{owner}/{name}",
    "https://y.test/{owner}/{name}",
    "case://{Owner}/{name}",
    "res://x/orgs/{owner}/file",
    "res://q/find{?owner}",
];

fn templates() -> Vec<Value> {
    TEMPLATES.map(|template| json!({ "uriTemplate": template, "name": template })).into()
}

const SKILLS: [&str; 3] =
    ["skill://all/SKILL.md", "repo://acme/web/SKILL.md", "repo://evil/web/SKILL.md"];

fn skill(uri: &str) -> Value {
    json!({ "uri": uri, "frontmatter": { "name": "s", "description": "d" },
        "resources": [{ "uri": uri, "digest": "sha256:0", "size": 0 }] })
}
