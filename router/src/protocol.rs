//! Revisions and eras, and the rules that a message and its headers must meet before anything is
//! done with it. From the specifications: 2025-03-26, 2025-06-18 and 2025-11-25 (basic/transports),
//! 2026-07-28 (basic/transports, basic/versioning). It must not know sessions' contents or scopes.

use crate::{
    http::Incoming,
    message::{Params, Request, text},
    refusal::Refusal,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::{
    header::decode,
    hop::{HANDSHAKE_REVISIONS, MODERN_REVISION},
};
use std::borrow::Cow;

/// Which half of MCP's history a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// `initialize` and sessions.
    Handshake,
    /// Every request says everything.
    Modern,
}

/// What this project does with a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The router knows the answer.
    Ping,
    /// Begins a session.
    Initialize,
    /// Changes the session.
    SetLevel,
    /// Adds a resource to what the session hears of.
    Subscribe,
    /// Takes one away.
    Unsubscribe,
    /// Opens a stream of what the client asks to hear of.
    Hear,
    /// An Agent serves it.
    Serve,
    /// Nothing does.
    Unknown,
}

/// What a method is in an era. A method of the other era is unknown.
#[must_use]
pub fn class(method: &str, era: Era) -> Class {
    match (method, era) {
        (
            "tools/list"
            | "tools/call"
            | "resources/list"
            | "resources/templates/list"
            | "resources/read"
            | "prompts/list"
            | "prompts/get"
            | "completion/complete"
            | "skills/list"
            | "skills/get"
            | "resources/directory/read",
            _,
        )
        | ("server/discover" | "tasks/get" | "tasks/update" | "tasks/cancel", Era::Modern) => {
            Class::Serve
        }
        ("subscriptions/listen", Era::Modern) => Class::Hear,
        ("resources/subscribe", Era::Handshake) => Class::Subscribe,
        ("resources/unsubscribe", Era::Handshake) => Class::Unsubscribe,
        ("initialize", Era::Handshake) => Class::Initialize,
        ("ping", Era::Handshake) => Class::Ping,
        ("logging/setLevel", Era::Handshake) => Class::SetLevel,
        _ => Class::Unknown,
    }
}

/// The parts of `_meta` that every modern request must carry.
#[derive(Debug, Default, Deserialize)]
struct Meta<'a> {
    #[serde(rename = "io.modelcontextprotocol/protocolVersion", borrow)]
    revision: Option<&'a RawValue>,
    #[serde(rename = "io.modelcontextprotocol/clientCapabilities", borrow)]
    capabilities: Option<&'a RawValue>,
    #[serde(rename = "io.modelcontextprotocol/logLevel", borrow)]
    level: Option<&'a RawValue>,
    #[serde(rename = "io.modelcontextprotocol/clientInfo", borrow)]
    client: Option<&'a RawValue>,
}

fn meta<'a>(params: &Params<'a>) -> Option<Meta<'a>> {
    let object = params.meta.filter(|raw| raw.get().starts_with('{'))?;
    serde_json::from_str(object.get()).ok()
}

/// Whether a revision has the handshake.
#[must_use]
pub fn is_handshake(revision: &str) -> bool {
    HANDSHAKE_REVISIONS.contains(&revision)
}

/// Which era a request is of. The body says so; the header only where the body says nothing.
#[must_use]
pub fn era(incoming: &Incoming, method: &str, params: &Params<'_>) -> Era {
    let stated = meta(params).and_then(|meta| text(meta.revision).map(Cow::into_owned));
    let modern = match (stated, incoming.revision.as_deref()) {
        (Some(revision), _) if !is_handshake(&revision) => true,
        // A handshake may announce a revision that has none: it is negotiated down.
        (_, Some(MODERN_REVISION)) => method != "initialize",
        _ => method == "server/discover",
    };
    if modern { Era::Modern } else { Era::Handshake }
}

/// Checks a modern request: `_meta`, then the headers against the body. Returns what the client says
/// of itself, where it says anything.
///
/// # Errors
/// -32602 for `_meta`, -32020 for a header that is missing or contradicts the body, -32022 for a
/// revision that is not served; all with HTTP 400.
pub fn check_modern<'a>(
    incoming: &Incoming,
    request: &Request<'a>,
) -> Result<Option<&'a RawValue>, Refusal> {
    let meta = meta(&request.params).unwrap_or_default();
    let lacking = |key: &str| {
        Refusal::InvalidMeta(format!("params._meta must have io.modelcontextprotocol/{key}"))
    };
    let stated = text(meta.revision).ok_or_else(|| lacking("protocolVersion (a string)"))?;
    check_revision_header(incoming.revision.as_deref(), &stated)?;
    if stated != MODERN_REVISION {
        return Err(Refusal::UnsupportedRevision(stated.into_owned()));
    }
    if meta.capabilities.is_none_or(|capabilities| !capabilities.get().starts_with('{')) {
        return Err(lacking("clientCapabilities (an object)"));
    }
    if meta.level.is_some() && text(meta.level).is_none_or(|level| !is_log_level(&level)) {
        return Err(Refusal::InvalidMeta(format!("logLevel {}", one_of_log_levels())));
    }
    check_mirror("Mcp-Method", incoming.mcp_method.as_deref(), Some(&request.method))?;
    let params = &request.params;
    let name = match request.method.as_ref() {
        "tools/call" | "prompts/get" => params.name,
        "resources/read" => params.uri,
        "tasks/get" | "tasks/update" | "tasks/cancel" => params.task,
        _ => return Ok(meta.client),
    };
    check_mirror("Mcp-Name", incoming.mcp_name.as_deref(), text(name).as_deref())?;
    Ok(meta.client)
}

fn check_revision_header(header: Option<&str>, stated: &str) -> Result<(), Refusal> {
    match header {
        None => Err(Refusal::HeaderMismatch("`MCP-Protocol-Version` is missing".to_owned())),
        Some(header) if header == stated => Ok(()),
        Some(_) => Err(Refusal::HeaderMismatch(
            "`MCP-Protocol-Version` is not the revision that params._meta names".to_owned(),
        )),
    }
}

/// Checks that a header repeats a value of the body, letter by letter once decoded.
fn check_mirror(name: &str, header: Option<&str>, body: Option<&str>) -> Result<(), Refusal> {
    let mismatch = |text: String| Err(Refusal::HeaderMismatch(text));
    match (header.map(decode), body) {
        (None, _) => mismatch(format!("`{name}` is missing")),
        (Some(None), _) => mismatch(format!("`{name}` is no valid base64")),
        (Some(Some(header)), Some(body)) if header == body => Ok(()),
        // Where the body has no such value the Agent says what is wrong with the body.
        (Some(Some(_)), None) => Ok(()),
        (Some(Some(_)), Some(_)) => mismatch(format!("`{name}` is not what the body says")),
    }
}

/// Checks the revision header of a request in the handshake era. Absent is allowed: the session
/// knows its revision, and 2025-03-26 has no such header. The modern one is seen here only where
/// `initialize` announces it.
///
/// # Errors
/// HTTP 400 for a revision that is not served.
pub fn check_handshake(incoming: &Incoming) -> Result<(), Refusal> {
    match incoming.revision.as_deref() {
        Some(revision) if !is_handshake(revision) && revision != MODERN_REVISION => {
            Err(Refusal::UnsupportedRevision(revision.to_owned()))
        }
        _ => Ok(()),
    }
}

/// What a client says of itself in `initialize`, as far as every revision demands it.
#[derive(Debug, Deserialize)]
struct Initialize<'a> {
    #[serde(rename = "protocolVersion", borrow)]
    revision: Cow<'a, str>,
    #[serde(rename = "capabilities")]
    _capabilities: std::collections::BTreeMap<String, serde::de::IgnoredAny>,
    #[serde(rename = "clientInfo", borrow)]
    _client: Client<'a>,
}

#[derive(Debug, Deserialize)]
struct Client<'a> {
    #[serde(rename = "name", borrow)]
    _name: Cow<'a, str>,
    #[serde(rename = "version", borrow)]
    _version: Cow<'a, str>,
}

/// Negotiates the revision of a new session: the client's own if it is served, else our newest
/// (lifecycle, version negotiation).
///
/// # Errors
/// -32602 for parameters that no revision allows.
pub fn negotiate(params: Option<&RawValue>) -> Result<&'static str, Refusal> {
    let written = params.map_or("{}", RawValue::get);
    let initialize: Initialize<'_> = serde_json::from_str(written).map_err(|error| {
        Refusal::InvalidMeta(format!("the params of initialize do not fit: {error}"))
    })?;
    let own = HANDSHAKE_REVISIONS.iter().find(|revision| **revision == initialize.revision);
    let newest = HANDSHAKE_REVISIONS.last();
    Ok(own.or(newest).copied().unwrap_or("2025-11-25"))
}

const LOG_LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// Whether a client may ask for logs from this level on (RFC 5424).
#[must_use]
pub fn is_log_level(text: &str) -> bool {
    LOG_LEVELS.contains(&text)
}

/// The rule, for a client that broke it.
#[must_use]
pub fn one_of_log_levels() -> String {
    format!("must be one of {}", LOG_LEVELS.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",
        "io.modelcontextprotocol/clientCapabilities":{}}"#;

    fn headers(revision: &str, method: &str, name: &str) -> Incoming {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Incoming {
            revision: some(revision),
            mcp_method: some(method),
            mcp_name: some(name),
            ..Incoming::default()
        }
    }

    fn check(incoming: &Incoming, method: &str, params: &str, expected: Result<Era, i64>) {
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}}}}}"#);
        let body = RawValue::from_string(body).unwrap();
        let Ok(Message::Request(request)) = Message::parse(&body) else { panic!("{body}") };
        let era = era(incoming, &request.method, &request.params);
        let checked = match era {
            Era::Modern => check_modern(incoming, &request).map(drop),
            Era::Handshake => check_handshake(incoming),
        };
        let got = checked.map(|()| era).map_err(|refusal| {
            let (status, code) = refusal.row(true);
            assert_eq!(status, 400, "{body}");
            code
        });
        assert_eq!(got, expected, "{incoming:?} {body}");
    }

    #[test]
    fn the_body_says_the_era_and_the_header_must_agree() {
        let modern = |method: &str| headers("2026-07-28", method, "");
        check(&modern("tools/list"), "tools/list", META, Ok(Era::Modern));
        check(&headers("", "", ""), "tools/list", "", Ok(Era::Handshake));
        check(&headers("2025-11-25", "", ""), "tools/list", "", Ok(Era::Handshake));
        check(&headers("2024-01-01", "", ""), "tools/list", "", Err(-32022));
        check(&modern("initialize"), "initialize", "", Ok(Era::Handshake));
        check(&modern("tools/list"), "tools/list", r#""_meta":["2026-07-28",{}]"#, Err(-32602));
        // Modern by header or by method, and then `_meta` is demanded.
        check(&modern("tools/list"), "tools/list", "", Err(-32602));
        check(&headers("", "", ""), "server/discover", "", Err(-32602));
        check(&modern("tools/list"), "tools/list", r#""_meta":5"#, Err(-32602));
        let bare = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
        check(&modern("tools/list"), "tools/list", bare, Err(-32602));
        let level = r#""io.modelcontextprotocol/clientCapabilities":{},
            "io.modelcontextprotocol/logLevel":"loud""#;
        let loud = META.replace(r#""io.modelcontextprotocol/clientCapabilities":{}"#, level);
        check(&modern("tools/list"), "tools/list", &loud, Err(-32602));
        // Modern by body, and then the header is demanded.
        check(&headers("", "tools/list", ""), "tools/list", META, Err(-32020));
        check(&headers("2025-11-25", "tools/list", ""), "tools/list", META, Err(-32020));
        let future = META.replace("2026-07-28", "v999.0.0");
        check(&modern("tools/list"), "tools/list", &future, Err(-32020));
        check(&headers("v999.0.0", "tools/list", ""), "tools/list", &future, Err(-32022));
    }

    #[test]
    fn method_and_name_headers_repeat_the_body() {
        let call = format!(r#""name":"über",{META}"#);
        let named = |name: &str| headers("2026-07-28", "tools/call", name);
        check(&named("=?base64?w7xiZXI=?="), "tools/call", &call, Ok(Era::Modern));
        check(&named("über"), "tools/call", &call, Ok(Era::Modern));
        check(&named("=?base64?w7xiZXI?="), "tools/call", &call, Err(-32020));
        check(&named("=?base64?!!!!?="), "tools/call", &call, Err(-32020));
        check(&named("uber"), "tools/call", &call, Err(-32020));
        check(&named(""), "tools/call", &call, Err(-32020));
        check(&headers("2026-07-28", "Tools/Call", "über"), "tools/call", &call, Err(-32020));
        check(&headers("2026-07-28", "", "über"), "tools/call", &call, Err(-32020));
        let half = format!(r#""name":"=?base64?YQ==",{META}"#);
        check(&named("=?base64?YQ=="), "tools/call", &half, Ok(Era::Modern));
        let read = format!(r#""uri":"a:b",{META}"#);
        let reading = |uri| headers("2026-07-28", "resources/read", uri);
        check(&reading("a:b"), "resources/read", &read, Ok(Era::Modern));
        check(&reading("a:c"), "resources/read", &read, Err(-32020));
    }

    #[test]
    fn negotiates_the_clients_revision_or_our_newest() {
        let ask = |revision: &str| {
            let params = format!(
                r#"{{"protocolVersion":"{revision}","capabilities":{{}},
                    "clientInfo":{{"name":"c","version":"1"}}}}"#
            );
            let raw = RawValue::from_string(params).unwrap();
            negotiate(Some(&raw)).unwrap()
        };
        assert_eq!(ask("2025-03-26"), "2025-03-26");
        assert_eq!(ask("2025-06-18"), "2025-06-18");
        assert_eq!(ask("2024-11-05"), "2024-11-05");
        assert_eq!(ask("2024-10-07"), "2025-11-25");
        assert_eq!(ask("2026-07-28"), "2025-11-25");
        assert!(negotiate(None).is_err());
    }

    #[test]
    fn a_method_of_the_other_era_is_unknown() {
        for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe"] {
            assert_eq!(class(method, Era::Modern), Class::Unknown, "{method}");
        }
        assert_eq!(class("server/discover", Era::Handshake), Class::Unknown);
        assert_eq!(class("tools/call", Era::Handshake), class("tools/call", Era::Modern));
    }
}
