//! What is measured, and the call that each variant is sent. It must not know how it is sent.

use crate::{
    Result,
    load::Connection,
    server::{KEY, Server},
};
use http_body_util::BodyExt as _;
use std::{
    borrow::Cow,
    fs,
    sync::atomic::{AtomicU64, Ordering},
};

/// The product, with the conformance suite's tools: it has a trivial one.
const PRODUCT: &str = "build/fixture";
const PEERS: &str = "build/peers";
const FLOOR: &str = "tests/peers/floor";

const MODERN: &str = "2026-07-28";
const HANDSHAKE: &str = "2025-11-25";

/// Something that is measured.
#[derive(Debug)]
pub(crate) struct Variant {
    /// In the table.
    pub(crate) name: &'static str,
    /// What is served.
    pub(crate) bundle: Cow<'static, str>,
    path: &'static str,
    protocol: Protocol,
    /// Whether it is the product: then its storage is watched.
    pub(crate) is_ours: bool,
    /// What the bars are about, where they are about this one.
    pub(crate) role: Option<Role>,
}

/// A place in the bars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Held against the others.
    TwoTiers,
    OneTier,
    Floor,
    /// Two tiers as they were at another commit.
    Before,
}

#[derive(Debug)]
enum Protocol {
    /// The tool's answer.
    Modern,
    /// The tool's answer, in a session.
    Session,
    /// The call itself comes back.
    Echo,
}

/// In the order of the table. `before` is the folder of a fixture bundle of another commit.
pub(crate) fn all(before: Option<String>) -> Vec<Variant> {
    let variant = |name, bundle, path, protocol| Variant {
        name,
        bundle: Cow::Borrowed(bundle),
        path,
        protocol,
        is_ours: false,
        role: None,
    };
    let plain = variant("plain Worker", PEERS, "/plain/mcp", Protocol::Modern);
    let one = variant("one tier: Worker → Agent", PEERS, "/one/mcp", Protocol::Modern);
    let name = "two tiers: Worker → McpRouter → Agent";
    let two = Variant { is_ours: true, ..variant(name, PRODUCT, "/mcp", Protocol::Modern) };
    let name = "two tiers, in a session of 2025-11-25";
    let session = Variant { is_ours: true, ..variant(name, PRODUCT, "/mcp", Protocol::Session) };
    let name = "floor: JavaScript Worker → object → object";
    let floor = variant(name, FLOOR, "/mcp", Protocol::Echo);
    let before = before.map(|bundle| Variant {
        bundle: Cow::Owned(bundle),
        role: Some(Role::Before),
        ..variant("two tiers, the other commit", "", "/mcp", Protocol::Modern)
    });
    let measured = [
        plain,
        Variant { role: Some(Role::OneTier), ..one },
        Variant { role: Some(Role::TwoTiers), ..two },
        session,
        Variant { role: Some(Role::Floor), ..floor },
    ];
    measured.into_iter().chain(before).collect()
}

/// What is sent again and again, and a part of what must come back with status 200.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) path: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    body: String,
    pub(crate) expected: &'static str,
}

impl Variant {
    /// The call that this variant is sent. Begins a session where it needs one.
    pub(crate) async fn call(&self, server: &Server) -> Result<Call> {
        Ok(match self.protocol {
            Protocol::Modern => modern(self.path),
            Protocol::Session => session(self.path, server).await?,
            Protocol::Echo => Call { expected: "clientCapabilities", ..modern(self.path) },
        })
    }
}

impl Call {
    fn new(path: &'static str, revision: &str, body: String, expected: &'static str) -> Self {
        let headers = vec![
            ("authorization", format!("Bearer {KEY}")),
            ("content-type", "application/json".to_owned()),
            ("accept", "application/json, text/event-stream".to_owned()),
            ("mcp-protocol-version", revision.to_owned()),
        ];
        Self { path, headers, body, expected }
    }

    /// The body, with an id that no other request has: a session refuses one that is in use.
    pub(crate) fn body(&self) -> String {
        static IDS: AtomicU64 = AtomicU64::new(1_000_000);
        let id = format!(r#""id":{},"#, IDS.fetch_add(1, Ordering::Relaxed));
        self.body.replacen(r#""id":1,"#, &id, 1)
    }

    /// The same by another credential.
    pub(crate) fn with_credential(mut self, credential: &str) -> Self {
        self.headers.retain(|(name, _)| *name != "authorization");
        self.with_header("authorization", &format!("Bearer {credential}"))
    }

    fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// A JSON-RPC message; its `params` are without their brackets.
fn message(id: &str, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0",{id}"method":"{method}","params":{{{params}}}}}"#)
}

const SIMPLE: &str = r#""name":"test_simple_text","arguments":{}"#;
pub(crate) const SIMPLE_ANSWER: &str = "This is a simple text response for testing.";
const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",
    "io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},
    "io.modelcontextprotocol/clientCapabilities":{}}"#;

fn modern(path: &'static str) -> Call {
    modern_of(path, "test_simple_text")
}

/// The same, of a tool that goes by another name.
pub(crate) fn modern_of(path: &'static str, tool: &str) -> Call {
    let params = format!(r#""name":"{tool}","arguments":{{}},{META}"#);
    let body = message(r#""id":1,"#, "tools/call", &params);
    Call::new(path, MODERN, body, SIMPLE_ANSWER)
        .with_header("mcp-method", "tools/call")
        .with_header("mcp-name", tool)
}

/// A stream that waits for changes.
pub(crate) fn waiting() -> Call {
    let params = format!(r#""notifications":{{"toolsListChanged":true}},{META}"#);
    let body = message(r#""id":1,"#, "subscriptions/listen", &params);
    Call::new("/mcp", MODERN, body, "").with_header("mcp-method", "subscriptions/listen")
}

/// A call that every bundle answers, whichever tools it has.
pub(crate) fn list() -> Call {
    let body = message(r#""id":1,"#, "tools/list", META);
    Call::new("/mcp", MODERN, body, "inputSchema").with_header("mcp-method", "tools/list")
}

async fn session(path: &'static str, server: &Server) -> Result<Call> {
    let mut connection = Connection::open(&server.address).await?;
    let client = r#""protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}"#;
    let begin = message(r#""id":0,"#, "initialize", client);
    let response = connection.send(&Call::new(path, HANDSHAKE, begin, "serverInfo")).await?;
    let id = response.headers().get("mcp-session-id");
    let id = id.ok_or("no session began")?.to_str()?.to_owned();
    response.into_body().collect().await?;
    let ready = message("", "notifications/initialized", "");
    let ready = Call::new(path, HANDSHAKE, ready, "").with_header("mcp-session-id", &id);
    connection.send(&ready).await?.into_body().collect().await?;
    let body = message(r#""id":1,"#, "tools/call", SIMPLE);
    Ok(Call::new(path, HANDSHAKE, body, SIMPLE_ANSWER).with_header("mcp-session-id", &id))
}

/// Makes sure that all of them run with the same behaviour of the runtime.
pub(crate) fn check_dates() -> Result<()> {
    let date = |bundle: &str| -> Result<String> {
        let path = format!("{bundle}/workerd.capnp");
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let line = text.lines().find(|line| line.contains("compatibilityDate"));
        Ok(line.unwrap_or_default().to_owned())
    };
    let own = date(PRODUCT)?;
    for bundle in [PEERS, FLOOR] {
        if date(bundle)? != own {
            return Err(format!("{bundle} has another date than the product:{own}").into());
        }
    }
    Ok(())
}
