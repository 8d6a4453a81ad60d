//! The Worker and its first tier: an entry that holds nothing, and one McpRouter per user that
//! owns the user's state and decides where each request goes. It must not know what any tool
//! does; it meets an Agent only through `shared::hop`.
//!
//! # Layout, in reading order
//! - [`http`]: a request and a reply as values; what is refused before anything is looked at
//! - [`query`]: what an address leaves of the tools
//! - [`handover`]: what the entry tells a McpRouter of a request
//! - [`cors`]: what browsers ask for
//! - [`auth`]: a credential → a user, or a challenge
//! - [`refusal`]: every way in which a request is refused, and what the client is told
//! - [`message`]: one JSON-RPC message, as far as a router reads it
//! - [`protocol`]: revisions, eras, and the rules that a message and its headers must meet
//! - [`session`]: sessions of the handshake era, in SQLite
//! - [`streams`]: streams that outlive a request, and the log of what was said on them
//! - [`sse`], [`lines`]: what goes out to clients, and what comes in from Agents, as text
//! - [`notify`]: changes, as notifications of either era
//! - [`configured`]: which configuration a user's clients know
//! - [`interest`]: what anybody wants to hear of, context by context
//! - [`calls`]: the requests of sessions that are running now
//! - [`access`]: whether a user may enter a scope, as far as it is known
//! - [`contexts`]: which contexts a user has entered
//! - [`barred`]: what is not answered any more
//! - [`keys`]: personal keys, as they are kept
//! - [`clients`]: the client programs of a user
//! - [`holders`]: who holds the streams that only wait
//! - [`vault`]: the user's credentials at upstreams, sealed
//! - [`target`]: which scope a request works in
//! - [`plan`]: (user, scope, session, message) → what to do. The heart
//! - [`world`]: what a user's state needs of the world
//! - [`user`]: one user: a request in, a reply out, by that plan
//! - [`cloudflare`]: the entry and the Durable Object (wasm only, feature `entry`)

pub mod http;

pub mod query;

pub mod handover;

pub mod cors;

pub mod auth;

pub mod refusal;

pub mod message;

pub mod protocol;

pub mod session;

pub mod streams;

pub mod sse;

pub mod lines;

pub mod notify;

pub mod configured;

pub mod interest;

pub mod calls;

pub mod access;

pub mod contexts;

pub mod barred;

pub mod keys;

pub mod clients;

pub mod holders;

pub mod spread;

pub mod target;

pub mod plan;

pub mod vault;

pub mod world;

pub mod user;

#[cfg(all(target_arch = "wasm32", feature = "entry"))]
pub mod cloudflare;

// The bundle exports the classes of every crate it links, and links `agent` because it is named.
#[cfg(all(target_arch = "wasm32", feature = "entry"))]
pub use agent::Agent;
#[cfg(all(target_arch = "wasm32", feature = "entry"))]
pub use cloudflare::McpRouter;
