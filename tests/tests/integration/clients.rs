//! Real clients, each doing the whole job at every width of scope: the Rust SDK here, the
//! TypeScript and Python SDKs and the Inspector as programs of their own (tests/clients). Each then
//! holds a conversation: what a server asks and tells, as far as the client can hear it.

mod talk;

use rmcp::{
    RoleClient,
    model::{
        ArgumentInfo, CallToolRequestParams, ClientConfig, CompleteRequestParams,
        GetPromptRequestParams, Implementation, ProtocolVersion, ReadResourceRequestParams,
        Reference, ResourceContents,
    },
    service::{ClientLifecycleMode, ClientServiceExt as _, RunningService},
    transport::{
        StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::{Value, json};
use std::process::Command;
use tests::{Bundle, Server, root, setting};

const PATHS: [&str; 3] = ["/mcp", "/mcp/acme", "/mcp/acme/web"];

/// Runs a client's program at every scope, for two users at once.
fn run(program: &str, script: &str, era: &str) {
    run_at(&PATHS, program, script, era);
}

fn run_at(paths: &[&str], program: &str, script: &str, era: &str) {
    let state = tempfile::tempdir().unwrap();
    let server = Server::start(Bundle::Fixture, state.path(), crate::KEYS, None);
    for path in paths {
        let start = |key: &str| {
            Command::new(program)
                .arg(root().join("tests/clients").join(script))
                .args([&server.url(path), key, era])
                .spawn()
                .unwrap()
        };
        let mut jobs = ["key-a", "key-b"].map(start);
        for job in &mut jobs {
            assert!(job.wait().unwrap().success(), "{script} {era} at {path}");
        }
    }
}

#[test]
fn typescript_sdk_1() {
    run(&setting("SIGNALBOX_NODE"), "typescript-1.mjs", "handshake");
}

#[test]
fn typescript_sdk_2_handshake() {
    run(&setting("SIGNALBOX_NODE"), "typescript-2.mjs", "handshake");
}

#[test]
fn typescript_sdk_2_modern() {
    run(&setting("SIGNALBOX_NODE"), "typescript-2.mjs", "modern");
}

#[test]
fn python_sdk_handshake() {
    run(&setting("SIGNALBOX_PYTHON"), "python.py", "handshake");
}

#[test]
fn python_sdk_modern() {
    run(&setting("SIGNALBOX_PYTHON"), "python.py", "modern");
}

#[test]
fn inspector_handshake() {
    run(&setting("SIGNALBOX_NODE"), "inspector.mjs", "handshake");
}

#[test]
fn inspector_modern() {
    run(&setting("SIGNALBOX_NODE"), "inspector.mjs", "modern");
}

/// The server asks, pauses and tells; the oldest transport does, too.
const OLD_PATHS: [&str; 3] = ["/sse", "/sse/acme", "/sse/acme/web"];

#[test]
fn typescript_sdk_2_talks() {
    run(&setting("SIGNALBOX_NODE"), "talk.mjs", "handshake");
    run(&setting("SIGNALBOX_NODE"), "talk.mjs", "modern");
}

#[test]
fn python_sdk_talks() {
    run(&setting("SIGNALBOX_PYTHON"), "talk.py", "handshake");
    run(&setting("SIGNALBOX_PYTHON"), "talk.py", "modern");
}

#[test]
fn the_oldest_transport_talks() {
    run_at(&OLD_PATHS, &setting("SIGNALBOX_NODE"), "old.mjs", "old");
    run_at(&OLD_PATHS, &setting("SIGNALBOX_PYTHON"), "talk.py", "old");
}

/// At one scope: it is a process for every step, and its steps do not depend on the scope.
#[test]
fn inspector_talks() {
    run_at(&PATHS[1..2], &setting("SIGNALBOX_NODE"), "mcpdo.mjs", "handshake");
    run_at(&PATHS[1..2], &setting("SIGNALBOX_NODE"), "mcpdo.mjs", "modern");
}

#[test]
fn mcp_remote_talks() {
    run(&setting("SIGNALBOX_NODE"), "remote.mjs", "http-only");
    run(&setting("SIGNALBOX_NODE"), "remote.mjs", "modern");
    run_at(&OLD_PATHS, &setting("SIGNALBOX_NODE"), "remote.mjs", "sse-only");
}

type Client = RunningService<RoleClient, ClientConfig>;

async fn connect(url: &str, lifecycle: ClientLifecycleMode) -> Client {
    let config = StreamableHttpClientTransportConfig::with_uri(url).auth_header("key-a");
    let transport = StreamableHttpClientTransport::from_config(config);
    let client = ClientConfig::new(Default::default(), Implementation::new("rust", "1"));
    client.serve_with_lifecycle(transport, lifecycle).await.unwrap()
}

async fn call(client: &Client, tool: &'static str, arguments: Value) -> Value {
    let Value::Object(arguments) = arguments else { panic!("an object") };
    let params = CallToolRequestParams::new(tool).with_arguments(arguments);
    let result = client.call_tool(params).await.unwrap();
    assert_eq!(result.is_error, Some(false), "{result:?}");
    result.structured_content.unwrap()
}

async fn whole_job(server: &Server, path: &str, lifecycle: ClientLifecycleMode) {
    let client = connect(&server.url(path), lifecycle).await;
    let tools = client.list_all_tools().await.unwrap();
    let recall = tools.iter().find(|tool| tool.name == "recall").unwrap();
    let schema = serde_json::to_string(&recall.input_schema).unwrap();
    let depth = path.matches('/').count() - 1;
    assert_eq!(schema.contains("organizationSlug"), depth < 1);
    assert_eq!(schema.contains("projectSlug"), depth < 2);
    assert!(recall.output_schema.is_some() && recall.annotations.is_some());
    let text = format!("the zephyr blows at {path}");
    let note = call(&client, "remember", json!({ "text": text, "tags": ["wind"] })).await;
    let (id, uri) = (note["id"].as_str().unwrap(), note["uri"].as_str().unwrap());
    let found = call(&client, "recall", json!({ "query": "zephyr" })).await;
    assert_eq!(found["notes"][0]["text"], text);
    assert_eq!(call(&client, "list_memories", json!({ "tag": "wind" })).await, found);
    let resources = client.list_all_resources().await.unwrap();
    assert!(resources.iter().any(|resource| resource.uri == uri));
    let read = client.read_resource(ReadResourceRequestParams::new(uri)).await.unwrap();
    assert!(matches!(&read.contents[0],
        ResourceContents::TextResourceContents { text: read, .. } if *read == text));
    let templates = client.list_all_resource_templates().await.unwrap();
    let template = &templates.iter().find(|t| t.uri_template.starts_with("memory")).unwrap();
    let argument: ArgumentInfo = serde_json::from_value(
        json!({ "name": "id", "value": id.chars().take(3).collect::<String>() }),
    )
    .unwrap();
    let complete =
        CompleteRequestParams::new(Reference::for_resource(&template.uri_template), argument);
    assert_eq!(client.complete(complete).await.unwrap().completion.values, [id]);
    let prompts = client.list_all_prompts().await.unwrap();
    assert!(prompts.iter().any(|prompt| prompt.name == "briefing"));
    let briefing = client.get_prompt(GetPromptRequestParams::new("briefing")).await.unwrap();
    assert!(serde_json::to_string(&briefing.messages).unwrap().contains("zephyr"));
    let _ = call(&client, "forget", json!({ "id": id })).await;
    assert_eq!(call(&client, "list_memories", json!({})).await["notes"], json!([]));
    client.cancel().await.unwrap();
}

/// Runs the whole job at every scope. The SDK's tasks stay on one thread in this build.
fn rust_sdk(lifecycle: &ClientLifecycleMode) {
    let state = tempfile::tempdir().unwrap();
    let server = Server::start(Bundle::Fixture, state.path(), crate::KEYS, None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let jobs = async {
        for path in PATHS {
            whole_job(&server, path, lifecycle.clone()).await;
        }
    };
    tokio::task::LocalSet::new().block_on(&runtime, jobs);
}

#[test]
fn rust_sdk_handshake() {
    rust_sdk(&ClientLifecycleMode::Initialize);
}

#[test]
fn rust_sdk_modern() {
    rust_sdk(&modern());
}

fn modern() -> ClientLifecycleMode {
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    ClientLifecycleMode::Discover { preferred_versions }
}
