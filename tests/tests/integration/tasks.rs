//! Calls that go on without their caller (io.modelcontextprotocol/tasks): found from every wider
//! URL, and finished although the server was killed in the middle.

use crate::fresh;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tests::{Bundle, Server, message, post};

fn ask(url: &str, method: &str, params: Value) -> Value {
    ask_by(url, "key-a", method, params)
}

/// Sends a request of a client that knows tasks, and says that it is `plain`.
fn ask_by(url: &str, key: &str, method: &str, mut params: Value) -> Value {
    let extension = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} },
        "elicitation": {} });
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": extension,
        "io.modelcontextprotocol/clientInfo": { "name": "plain", "version": "1" },
    });
    let name = params["name"].as_str().or(params["taskId"].as_str()).unwrap_or_default().to_owned();
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", method),
        ("mcp-name", name.as_str()),
    ];
    post(url, key, &headers, &message(method, &params)).json()
}

fn begin(url: &str, tool: &str, arguments: Value) -> String {
    begin_by(url, "key-a", tool, arguments)
}

/// Begins a task and returns its id.
pub(crate) fn begin_by(url: &str, key: &str, tool: &str, arguments: Value) -> String {
    let answer = ask_by(url, key, "tools/call", json!({ "name": tool, "arguments": arguments }));
    assert_eq!(answer["result"]["resultType"], "task", "{answer}");
    answer["result"]["taskId"].as_str().expect("a task id").to_owned()
}

/// Waits until a task has a status, and returns the task.
#[track_caller]
pub(crate) fn until(url: &str, id: &str, status: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let task = ask(url, "tasks/get", json!({ "taskId": id }))["result"].clone();
        if task["status"] == status {
            return task;
        }
        assert!(Instant::now() < deadline, "not {status}: {task}");
    }
}

#[test]
fn a_task_is_found_from_every_wider_url_and_nowhere_else() {
    let (server, _state) = fresh(Bundle::Fixture);
    let web = server.url("/mcp/acme/web");
    let id = begin(&web, "slow_compute", json!({ "seconds": 1, "label": "web" }));
    assert!(id.starts_with("acme:web:"), "{id}");
    for path in ["/mcp", "/mcp/acme", "/mcp/acme/web"] {
        let task = until(&server.url(path), &id, "completed");
        assert!(task["result"].to_string().contains("web"), "{task}");
    }
    for path in ["/mcp/other", "/mcp/acme/other"] {
        let answer = ask(&server.url(path), "tasks/get", json!({ "taskId": id }));
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
    assert_eq!(ask(&web, "tasks/list", json!({}))["error"]["code"], -32601);
}

#[test]
fn a_task_that_asks_goes_on_with_the_answer() {
    let (server, _state) = fresh(Bundle::Fixture);
    let url = server.url("/mcp/acme");
    let id = begin(&url, "confirm_delete", json!({ "filename": "a.txt" }));
    let task = until(&url, &id, "input_required");
    let asked = task["inputRequests"].as_object().expect("questions");
    let (key, question) = asked.iter().next().expect("a question");
    assert_eq!(question["method"], "elicitation/create");
    let answer = json!({ "action": "accept", "content": { "confirm": true } });
    let update = json!({ "taskId": id, "inputResponses": { key: answer } });
    assert_eq!(ask(&url, "tasks/update", update)["result"]["resultType"], "complete");
    until(&url, &id, "completed");
}

#[test]
fn a_task_that_is_cancelled_stays_so() {
    let (server, _state) = fresh(Bundle::Fixture);
    let url = server.url("/mcp/acme");
    let id = begin(&url, "slow_compute", json!({ "seconds": 60, "label": "x" }));
    let cancelled = ask(&url, "tasks/cancel", json!({ "taskId": id }));
    assert_eq!(cancelled["result"]["resultType"], "complete");
    until(&url, &id, "cancelled");
}

fn databases(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => databases(&path, found),
            false if path.extension().is_some_and(|e| e == "sqlite") => found.push(path),
            false => {}
        }
    }
}

#[test]
fn a_task_is_finished_although_the_server_was_killed() {
    let state = tempfile::tempdir().unwrap();
    let server = Server::start(Bundle::Fixture, state.path(), crate::KEYS, None);
    let arguments = json!({ "seconds": 2, "label": "after all" });
    let id = begin(&server.url("/mcp/acme"), "slow_compute", arguments);
    server.kill();
    // The alarm that looks after it rings at once instead of within half a minute.
    // The platform keeps the time twice.
    let mut found = Vec::new();
    databases(state.path(), &mut found);
    let of_agents = found.iter().filter(|path| path.to_string_lossy().contains("Agent/"));
    for path in of_agents {
        let statement = match path.ends_with("metadata.sqlite") {
            true => "UPDATE _cf_ALARM SET scheduled_time = 1000000000",
            false => "UPDATE _cf_METADATA SET value = 1000000000",
        };
        let database = rusqlite::Connection::open(path).unwrap();
        assert_eq!(database.execute(statement, []).unwrap(), 1, "{}", path.display());
    }
    let server = Server::start(Bundle::Fixture, state.path(), crate::KEYS, None);
    let task = until(&server.url("/mcp"), &id, "completed");
    assert!(task["result"].to_string().contains("after all"), "{task}");
}
