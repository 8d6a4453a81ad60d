//! What can go wrong, as a closed set, and the one table from it to HTTP, JSON-RPC and retrying.
//! It must not know where an error came from; whoever raises one writes both of its texts.

use crate::limits;
use serde::{Deserialize, Serialize};

/// The kinds of failure. Closed: a new kind is a decision about what clients see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// No credential, or one that is not valid.
    Unauthenticated,
    /// Refused whoever asks (a foreign origin or host).
    Forbidden,
    /// It does not exist, or the caller may not know that it does.
    NotFound,
    /// The request is not what it must be.
    Invalid,
    /// Two things that must agree do not.
    Conflict,
    /// A bound was reached.
    Limit,
    /// The caller or an operator ended it.
    Cancelled,
    /// A service behind an agent failed.
    Upstream,
    /// This cannot be served now, but may be later.
    Unavailable,
    /// Our own mistake.
    Internal,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// HTTP status of the response.
    pub status: u16,
    /// JSON-RPC error code of the body.
    pub code: i64,
    /// Whether the same request may succeed later.
    pub retry: bool,
}

impl Kind {
    /// The one table from kind to what a client sees.
    #[must_use]
    pub const fn row(self) -> Row {
        let (status, code, retry) = match self {
            Self::Unauthenticated => (401, -32001, false),
            Self::Forbidden => (403, -32001, false),
            Self::NotFound => (404, -32001, false),
            Self::Invalid => (400, -32600, false),
            Self::Conflict => (400, -32602, false),
            Self::Limit => (429, -32005, true),
            Self::Cancelled => (499, -32800, false),
            Self::Upstream => (502, -32603, true),
            Self::Unavailable => (503, -32603, true),
            Self::Internal => (500, -32603, false),
        };
        Row { status, code, retry }
    }
}

/// A failure with a text for the caller, which says what to do, and a detail for the log only.
/// Neither text carries a secret; the public one carries no other user's data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{kind:?}: {public} ({detail})")]
pub struct Error {
    /// What kind of failure.
    pub kind: Kind,
    /// For the caller.
    pub public: String,
    /// For the log. Empty where the public text says it all.
    pub detail: String,
}

impl Error {
    /// An error whose public text says it all.
    #[must_use]
    pub fn new(kind: Kind, public: impl Into<String>) -> Self {
        Self { kind, public: public.into(), detail: String::new() }
    }

    /// Our own mistake: the caller is told only that it is one.
    #[must_use]
    pub fn internal(detail: impl Into<String>) -> Self {
        Self {
            kind: Kind::Internal,
            public: "the server failed to answer this request; it has been logged".to_owned(),
            detail: detail.into(),
        }
    }

    /// Adds what the log should know.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

/// A caller's value as an error repeats it: bounded, however long it was.
#[must_use]
pub fn shown(text: &str) -> String {
    text.chars().take(limits::SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_an_http_error_and_a_json_rpc_error() {
        for kind in [
            Kind::Unauthenticated,
            Kind::Forbidden,
            Kind::NotFound,
            Kind::Invalid,
            Kind::Conflict,
            Kind::Limit,
            Kind::Cancelled,
            Kind::Upstream,
            Kind::Unavailable,
            Kind::Internal,
        ] {
            let row = kind.row();
            assert!((400..600).contains(&row.status), "{kind:?}");
            assert!((-32900..=-32000).contains(&row.code), "{kind:?}");
        }
    }
}
