//! Every way in which the edge refuses a request, and the one table to what the client is told:
//! HTTP status, JSON-RPC code, text, data. It must not know how a rule was checked.

use crate::{auth::challenge, http::Reply};
use serde_json::{Value, json, value::RawValue};
use shared::{Error, error::shown, hop};

/// A request that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing is at this path.
    #[error("{0}")]
    NoSuchPath(String),
    /// What a message names is nowhere: the same, but the path it came to is there, and so is its
    /// session, which a client takes 404 for the end of.
    #[error("{0}")]
    NoSuchContext(String),
    /// The path is no scope.
    #[error("{0}")]
    BadScope(String),
    /// The query has a value that means nothing.
    #[error("{0}")]
    BadQuery(String),
    /// The HTTP method does nothing here.
    #[error("this address takes {0}")]
    MethodNotAllowed(&'static str),
    /// A browser page of another origin (all revisions: Origin must be validated).
    #[error("requests from pages of this origin are not allowed")]
    ForeignOrigin,
    /// A host this deployment does not serve.
    #[error("this host is not served here")]
    ForeignHost,
    /// No credential, or none that is valid.
    #[error("send a valid key as `Authorization: Bearer <key>`")]
    Unauthenticated,
    /// A credential that allows nothing here.
    #[error("this credential allows nothing here: it needs the scope mcp:read or mcp:write")]
    InsufficientScope,
    /// The user, or whoever may, has blocked it.
    #[error("{0}; on your account's page you can end that")]
    Blocked(String),
    /// The body is too large.
    #[error("a request body has at most {0} bytes here")]
    TooLarge(usize),
    /// `Accept` does not list what may come back.
    #[error("`Accept` must list application/json and text/event-stream")]
    NotAcceptable,
    /// `Accept` does not list a stream.
    #[error("`Accept` must list text/event-stream")]
    StreamNotAcceptable,
    /// What a client missed of a stream is kept no more, or never was there.
    #[error("this stream cannot be resumed from there; send the request again")]
    StreamGone,
    /// `Content-Type` is not JSON.
    #[error("`Content-Type` must be application/json")]
    UnsupportedMediaType,
    /// The body is no JSON.
    #[error("the body is not JSON: {0}")]
    Parse(String),
    /// The body is JSON, but no message.
    #[error("not a JSON-RPC message: {0}")]
    InvalidRequest(String),
    /// Nothing is called so (in this era).
    #[error("there is no method {}", shown(.0))]
    MethodNotFound(String),
    /// The parameters do not fit, in a way that is an error of the request alone.
    #[error("{0}")]
    InvalidParams(String),
    /// `_meta` lacks what every modern request must say.
    #[error("{0}")]
    InvalidMeta(String),
    /// A header contradicts the body, or is missing.
    #[error("{0}")]
    HeaderMismatch(String),
    /// A revision that is not served.
    #[error("protocol revision {} is not served here", shown(.0))]
    UnsupportedRevision(String),
    /// A request of the handshake era without a session.
    #[error("`Mcp-Session-Id` is missing; begin with `initialize`")]
    SessionRequired,
    /// Unknown, ended, of another user or of another scope: all alike.
    #[error("there is no such session; begin again with `initialize`")]
    SessionUnknown,
    /// `initialize` inside a session.
    #[error("this session is initialized already; leave `Mcp-Session-Id` out to begin another")]
    SessionExists,
    /// Something below failed.
    #[error("{}", .0.public)]
    Below(Error),
}

impl Refusal {
    /// The one table: HTTP status and JSON-RPC code. `modern` is the era of the request.
    #[must_use]
    pub const fn row(&self, modern: bool) -> (u16, i64) {
        match self {
            Self::NoSuchPath(_) => (404, -32001),
            Self::NoSuchContext(_) => (if modern { 404 } else { 200 }, -32001),
            Self::BadScope(_) | Self::BadQuery(_) => (400, -32600),
            Self::MethodNotAllowed(_) => (405, -32600),
            Self::ForeignOrigin | Self::ForeignHost | Self::Blocked(_) => (403, -32001),
            Self::InsufficientScope => (403, hop::INSUFFICIENT_SCOPE as i64),
            Self::Unauthenticated => (401, -32001),
            Self::TooLarge(_) => (413, -32600),
            Self::NotAcceptable | Self::StreamNotAcceptable => (406, -32600),
            Self::StreamGone => (400, -32600),
            Self::UnsupportedMediaType => (415, -32600),
            Self::Parse(_) => (400, -32700),
            Self::InvalidRequest(_) | Self::SessionRequired | Self::SessionExists => (400, -32600),
            Self::MethodNotFound(_) => (if modern { 404 } else { 200 }, -32601),
            Self::InvalidParams(_) => (200, -32602),
            Self::InvalidMeta(_) => (400, -32602),
            Self::HeaderMismatch(_) => (400, -32020),
            Self::UnsupportedRevision(_) => (400, -32022),
            Self::SessionUnknown => (404, -32001),
            Self::Below(error) => {
                let row = error.kind.row();
                (row.status, row.code)
            }
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::UnsupportedRevision(requested) => {
                let mut supported = hop::HANDSHAKE_REVISIONS.to_vec();
                supported.push(hop::MODERN_REVISION);
                Some(json!({ "supported": supported, "requested": shown(requested) }))
            }
            _ => None,
        }
    }

    /// The response, with the id of the request where it is known. Where it is not, there is none
    /// (2025-11-25, basic: an id that could not be read is left out).
    #[must_use]
    pub fn reply(&self, id: Option<&RawValue>, modern: bool) -> Reply {
        let (status, code) = self.row(modern);
        let mut error = json!({ "code": code, "message": self.to_string() });
        if let (Some(data), Some(error)) = (self.data(), error.as_object_mut()) {
            error.insert("data".to_owned(), data);
        }
        let id = id.map(|id| format!("\"id\":{},", id.get())).unwrap_or_default();
        let reply = Reply::json(status, format!("{{\"jsonrpc\":\"2.0\",{id}\"error\":{error}}}"));
        match self {
            // The entry says where a credential is had, where it knows.
            Self::Unauthenticated => reply.with_header("www-authenticate", "Bearer"),
            Self::InsufficientScope => {
                reply.with_header("www-authenticate", &challenge(Some("insufficient_scope"), None))
            }
            Self::MethodNotAllowed(methods) => reply.with_header("allow", methods),
            Self::Below(error) if error.kind.row().retry => reply.with_header("retry-after", "1"),
            _ => reply,
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Below(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echoes_the_id_as_it_was_written() {
        let id: &RawValue = serde_json::from_str("\"a\\u0041\"").unwrap();
        let reply = Refusal::SessionUnknown.reply(Some(id), false);
        assert_eq!(reply.status, 404);
        let body = reply.body.unwrap();
        assert!(body.starts_with(r#"{"jsonrpc":"2.0","id":"a\u0041","error":{"#), "{body}");
        let body = Refusal::Parse("x".to_owned()).reply(None, false).body.unwrap();
        assert!(!body.contains("\"id\""), "{body}");
    }

    #[test]
    fn an_unknown_method_is_404_in_the_modern_era_only() {
        assert_eq!(Refusal::MethodNotFound(String::new()).row(true), (404, -32601));
        assert_eq!(Refusal::MethodNotFound(String::new()).row(false), (200, -32601));
    }

    #[test]
    fn a_challenge_and_the_allowed_methods_are_headers() {
        let header = |refusal: Refusal| refusal.reply(None, false).headers;
        assert_eq!(header(Refusal::Unauthenticated)[1], ("www-authenticate", "Bearer".to_owned()));
        assert_eq!(header(Refusal::MethodNotAllowed("GET"))[1], ("allow", "GET".to_owned()));
    }
}
