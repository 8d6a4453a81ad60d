//! The hop: the contract between the tiers, in both directions. Nothing else crosses. It must not
//! know how a hop travels or what a tier does with it.

use crate::{AgentKey, Error, Millis, Scope, SessionId, UserId, gathered, notes};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeSet};

/// The handshake revisions served here, oldest first.
pub const HANDSHAKE_REVISIONS: [&str; 4] =
    [OLDEST_REVISION, "2025-03-26", "2025-06-18", "2025-11-25"];

/// The oldest revision served here. It has a transport of its own, which newer clients fall back
/// to; its messages are good on the newer transport too.
pub const OLDEST_REVISION: &str = "2024-11-05";

/// The modern revision served here.
pub const MODERN_REVISION: &str = "2026-07-28";

/// Path of a client's request, on an Agent. The host means nothing.
pub const AGENT_URL: &str = "https://agent/hop";

/// Path of a [`Word`] to a running call, on an Agent. 204 if the call took it, 404 if it is gone.
pub const WORD_URL: &str = "https://agent/hop/word";

/// Path of a [`VerifyHop`], on an Agent. 200 with an [`Access`], or [`FAILED_HEADER`].
pub const VERIFY_URL: &str = "https://agent/hop/verify";

/// Path of an [`InterestHop`], on an Agent. 204 once it is known.
pub const INTEREST_URL: &str = "https://agent/hop/interest";

/// Path of a [`StopHop`], on an Agent. 204 once what it names has ended.
pub const STOP_URL: &str = "https://agent/hop/stop";

/// Path of an `AgentKey`, on an Agent: 200 with everything that it serves and does not serve, and
/// why, for the operator. No object asks for it.
pub const EFFECTIVE_URL: &str = "https://agent/hop/effective";

/// Path of a client's request, on a McpRouter.
pub const REQUEST_URL: &str = "https://router/hop";

/// Path of a [`NotesHop`], on a McpRouter.
pub const NOTES_URL: &str = "https://router/hop/notes";

/// Path of a [`CredentialHop`], on a McpRouter.
pub const CREDENTIAL_URL: &str = "https://router/hop/credential";

/// Path of [`Changes`], on a McpRouter. 204 once every listener has them.
pub const CHANGES_URL: &str = "https://router/hop/changes";

/// Path on a McpRouter where the entry connects a socket for a stream that it holds.
pub const LISTEN_URL: &str = "https://router/hop/listen";

/// Set on a McpRouter's response when the entry is to hold a stream: the id of the event that the
/// client has. The entry says it back when it connects.
pub const LISTEN_HEADER: &str = "x-hop-listen";

/// Set on an Agent's response whose body is an [`Error`] and not for the client.
pub const FAILED_HEADER: &str = "x-hop-failed";

/// Content type of an Agent's response that is a sequence of [`Line`]s: what it says in the
/// handshake era, when it says something before its reply or takes its time. The router keeps
/// what must be resumable. In the modern era a client gets its stream from the Agent as it is.
pub const LINES: &str = "application/x-ndjson";

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
    /// Whether anybody would hear of [`Changes`]; an Agent need not tell where nobody would.
    pub is_heard: bool,
    /// Whether the client would rather have a stream than one body of JSON, where both will do.
    #[serde(default)]
    pub prefers_stream: bool,
    /// Whether this is a part of something, and the answer is wanted as one body of JSON.
    #[serde(default)]
    pub is_part: bool,
    /// What the URL's query leaves of the tools.
    #[serde(default, skip_serializing_if = "Options::are_none")]
    pub options: Cow<'a, Options>,
    /// Whether the credential is good for tools only that say they only read.
    #[serde(default)]
    pub is_read_only: bool,
    /// Who asks, for whoever ends what runs.
    #[serde(default, skip_serializing_if = "Holder::is_nobody")]
    pub holder: Holder,
    /// The `Mcp-Param-*` headers of a modern tool call: the name's tail in lower case, and the
    /// value as it came. Only the Agent knows which parameters are to be mirrored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<(String, String)>,
    /// How many levels the client's URL pins. What is pinned beyond it the client said itself.
    pub depth: usize,
    /// The client's JSON-RPC request, as it came.
    #[serde(borrow)]
    pub message: &'a RawValue,
}

/// What the query of the URL leaves of the tools: it narrows and never widens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// `?tools=a,b`: these only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<BTreeSet<String>>,
    /// `?toolsets=x`: those of these toolsets only, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toolsets: Option<BTreeSet<String>>,
    /// `?read_only=true`: those that say they only read.
    #[serde(default)]
    pub read_only: bool,
    /// None of these toolsets, by name: their user has blocked them. No query says this.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub blocked: BTreeSet<String>,
}

impl Options {
    /// Whether they leave everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    #[allow(clippy::ptr_arg, reason = "it is what serde brings")]
    fn are_none(options: &Cow<'_, Self>) -> bool {
        options.is_empty()
    }

    /// What both leave.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let both =
            |one: &Option<BTreeSet<String>>, other: &Option<BTreeSet<String>>| match (one, other) {
                (Some(one), Some(other)) => Some(gathered(one.intersection(other).cloned())),
                (one, other) => one.as_ref().or(other.as_ref()).cloned(),
            };
        Self {
            tools: both(&self.tools, &other.tools),
            toolsets: both(&self.toolsets, &other.toolsets),
            read_only: self.read_only || other.read_only,
            blocked: gathered(self.blocked.union(&other.blocked).cloned()),
        }
    }

    /// Whether they leave this tool, by the name that clients see.
    #[must_use]
    pub fn leave_tool(&self, name: &str, toolset: &str, is_read_only: bool) -> bool {
        self.tools.as_ref().is_none_or(|tools| tools.contains(name))
            && self.leave_toolset(toolset)
            && (is_read_only || !self.read_only)
    }

    /// Whether they leave anything of a toolset.
    #[must_use]
    pub fn leave_toolset(&self, toolset: &str) -> bool {
        self.toolsets.as_ref().is_none_or(|toolsets| toolsets.contains(toolset))
            && !self.blocked.contains(toolset)
    }
}

/// Who asks: what a user ends is named by these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The client program, by the id that its user knows it by.
    pub client: String,
    /// The personal key or the grant that let it in, by a name that no other of either kind has.
    pub credential: String,
}

impl Holder {
    /// Whether nothing is known of it.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        *self == Self::default()
    }
}

/// Router → Agent: something ends now, with what it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopHop {
    /// Which Agent this is meant for.
    pub key: AgentKey,
    /// What ends.
    pub stop: Stop,
}

/// What can be ended in an Agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Everything that runs, tasks too.
    Everything,
    /// What a client asked for.
    Client(String),
    /// What a personal key or a grant let in.
    Credential(String),
    /// What runs at a toolset.
    Toolset(String),
}

impl Stop {
    /// Whether it ends what `holder` asked for, which is at this toolset now, if at any.
    #[must_use]
    pub fn ends(&self, holder: &Holder, toolset: Option<&str>) -> bool {
        match self {
            Self::Everything => true,
            Self::Client(client) => holder.client == *client,
            Self::Credential(credential) => holder.credential == *credential,
            Self::Toolset(name) => toolset == Some(name),
        }
    }
}

/// The code of a JSON-RPC error that is answered with HTTP 403 in every era: the credential does not
/// allow this call, and one with more scopes would (all revisions, authorization: insufficient scope).
pub const INSUFFICIENT_SCOPE: i32 = -32003;

/// Router → Agent: may this user enter this context?
#[derive(Debug, Serialize, Deserialize)]
pub struct VerifyHop {
    /// Which Agent this is meant for.
    pub key: AgentKey,
}

/// The answer to a [`VerifyHop`]. A check that fails is an [`Error`] instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// The user may enter.
    Yes,
    /// It does not exist, or not for this user.
    No,
}

/// Router → Agent: what anybody wants to hear of, of this context. It holds until the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterestHop {
    /// Which Agent this is meant for.
    pub key: AgentKey,
    /// Whether anybody listens for changes of lists.
    pub lists: bool,
    /// The resources whose changes anybody listens for.
    pub uris: BTreeSet<String>,
    /// Toolsets of which nobody wants to hear, by name: their user has blocked them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub blocked: BTreeSet<String>,
}

impl InterestHop {
    /// Whether nobody wants to hear of anything.
    #[must_use]
    pub fn is_none(&self) -> bool {
        !self.lists && self.uris.is_empty()
    }
}

/// One line of an Agent's answer in the handshake era (see [`LINES`]), without its line break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// A JSON-RPC message for the client. The reply is the last line.
    Message(&'a str),
    /// The client's stream may end here for now; the client comes back for the rest (2025-11-25).
    Pause,
    /// Nothing: it shows that the Agent is there, and whether the router is.
    Alive,
}

impl<'a> Line<'a> {
    /// Reads a line.
    #[must_use]
    pub fn read(line: &'a str) -> Self {
        match line {
            "" => Self::Alive,
            "pause" => Self::Pause,
            message => Self::Message(message),
        }
    }

    /// The line, as it is written. JSON has no raw line break, so a message is one line.
    #[must_use]
    pub const fn text(self) -> &'a str {
        match self {
            Self::Message(message) => message,
            Self::Pause => "pause",
            Self::Alive => "",
        }
    }
}

/// Which running call of an Agent: 64 random bits in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(String);

impl CallId {
    /// A fresh one from fresh randomness.
    #[must_use]
    pub fn from_random(random: [u8; 8]) -> Self {
        Self(format!("{:016x}", u64::from_be_bytes(random)))
    }

    /// The id of the `n`th request that this call sends to the client: unique in every session,
    /// and enough to find the call again.
    #[must_use]
    pub fn request_id(&self, n: u32) -> String {
        format!("{}.{n}", self.0)
    }

    /// The call and the number of its request, from the id of a client's response.
    #[must_use]
    pub fn parse_request_id(text: &str) -> Option<(Self, u32)> {
        let (call, n) = text.split_once('.')?;
        let plain = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        let is_call = call.len() == 16 && call.bytes().all(plain);
        let n = n.parse::<u32>().ok()?;
        is_call.then(|| (Self(call.to_owned()), n))
    }
}

/// Router → Agent: something for a running call.
#[derive(Debug, Serialize, Deserialize)]
pub struct WordHop<'a> {
    /// Which Agent this is meant for. One that is another refuses it.
    pub key: AgentKey,
    /// Which call.
    pub call: CallId,
    /// What is said to it.
    #[serde(borrow)]
    pub word: Word<'a>,
}

/// What may be said to a running call.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word<'a> {
    /// The client answers its `n`th request with this JSON-RPC response.
    Answer {
        /// See [`CallId::request_id`].
        n: u32,
        /// The response as it came.
        #[serde(borrow)]
        response: &'a RawValue,
    },
    /// The client wants no answer any more: the work stops, and no reply follows.
    Cancel,
}

/// Agent → Router: something that clients keep a copy of has changed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Changes {
    /// Whose. A router of another user refuses it.
    pub user: UserId,
    /// In which context.
    pub scope: Scope,
    /// What, each once.
    pub changes: Vec<Change>,
}

/// What may change.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The list of tools.
    Tools,
    /// The list of prompts.
    Prompts,
    /// The list of resources, or of their templates.
    Resources,
    /// The list of resources in every context of the user.
    ResourcesEverywhere,
    /// The contents of a resource.
    Resource(String),
    /// The contents of a resource that every context of the user has.
    ResourceEverywhere(String),
}

/// The client, as its era describes it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer<'a> {
    /// A session of the handshake era.
    Handshake {
        /// What the call is known by while it runs.
        call: CallId,
        /// Which session it is of; none where it has yet to begin.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<SessionId>,
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

/// Agent → Router: a token of a credential, for the next request to an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialHop {
    /// Whose. A router of another user refuses it.
    pub user: UserId,
    /// The credential's name in the configuration.
    pub credential: String,
    /// The token that the upstream refused just now, by its [`CredentialReply::Token::id`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
}

/// What an Agent is told of a credential.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialReply {
    /// A token that is good now, as far as is known.
    Token {
        /// It. Nobody keeps it for longer than a request.
        token: String,
        /// What it is known by, and cannot be made from.
        id: String,
    },
    /// There is none, and its user can change that.
    Connect {
        /// Where, if it is known under which address people see this deployment.
        url: Option<String>,
        /// Whether there was one, which is good no more.
        is_over: bool,
    },
}

impl std::fmt::Debug for CredentialReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Token { id, .. } => {
                f.debug_struct("Token").field("id", id).finish_non_exhaustive()
            }
            Self::Connect { url, is_over } => {
                f.debug_struct("Connect").field("url", url).field("is_over", is_over).finish()
            }
        }
    }
}

/// The answer to a [`CredentialHop`].
pub type CredentialAnswer = Result<CredentialReply, Error>;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_answer_finds_the_call_it_is_for() {
        let call = CallId::from_random([0, 1, 2, 3, 4, 5, 6, 255]);
        assert_eq!(call.request_id(7), "00010203040506ff.7");
        assert_eq!(CallId::parse_request_id(&call.request_id(7)), Some((call, 7)));
        for text in ["", ".", "7", "0001.7", "00010203040506FF.7", "00010203040506ff.x", "é.1"] {
            assert_eq!(CallId::parse_request_id(text), None, "{text}");
        }
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        for line in [Line::Alive, Line::Pause, Line::Message("{}")] {
            assert_eq!(Line::read(line.text()), line);
        }
    }
}
