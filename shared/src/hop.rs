//! The hop: the contract between the tiers, in both directions. Nothing else crosses. It must not
//! know how a hop travels or what a tier does with it.

use crate::{AgentKey, Error, Millis, UserId, notes};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The handshake revisions served here, oldest first.
pub const HANDSHAKE_REVISIONS: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];

/// The modern revision served here.
pub const MODERN_REVISION: &str = "2026-07-28";

/// Path of a forward hop, on an Agent. The host means nothing.
pub const AGENT_URL: &str = "https://agent/hop";

/// Path of a hop back, on a McpRouter. No client's path begins like it.
pub const ROUTER_URL: &str = "https://router/hop/notes";

/// Set on an Agent's response whose body is an [`Error`] and not for the client.
pub const FAILED_HEADER: &str = "x-hop-failed";

/// Router → Agent: one client request, for one context. Everything that the Agent has to know of
/// the session travels here, because either object may have vanished since the last request.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hop<'a> {
    /// Which Agent this is meant for. One that is another refuses it.
    pub key: AgentKey,
    /// Who asks, in MCP's words.
    #[serde(borrow)]
    pub peer: Peer<'a>,
    /// Whether the user has shared notes; an Agent need not ask where there are none.
    pub shared_notes: bool,
    /// The client's JSON-RPC request, as it came.
    #[serde(borrow)]
    pub message: &'a RawValue,
}

/// The client, as its era describes it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer<'a> {
    /// A session of the handshake era.
    Handshake {
        /// The revision that was negotiated.
        #[serde(borrow)]
        revision: Cow<'a, str>,
        /// The parameters of its `initialize`.
        #[serde(borrow)]
        client: Cow<'a, RawValue>,
        /// The least severe log level it wants, once it said one.
        #[serde(borrow)]
        level: Option<Cow<'a, str>>,
    },
    /// A request of the modern era: its `_meta` says everything.
    Modern,
}

/// Agent → Router: something about the notes that a user shares between contexts.
#[derive(Debug, Serialize, Deserialize)]
pub struct NotesHop {
    /// Whose notes. A router of another user refuses it.
    pub user: UserId,
    /// What is wanted.
    pub request: notes::Request,
    /// When, by the Agent's clock.
    pub now: Millis,
}

/// The answer to a [`NotesHop`].
pub type NotesAnswer = Result<notes::Reply, Error>;

/// HTTP status of a JSON-RPC reply that carries an error, in the modern era (2026-07-28,
/// transports: protocol errors have statuses of their own; errors of the request itself are 200).
#[must_use]
pub const fn modern_status(code: i64) -> u16 {
    match code {
        -32700 | -32600 | -32020 | -32021 | -32022 => 400,
        -32601 => 404,
        _ => 200,
    }
}
