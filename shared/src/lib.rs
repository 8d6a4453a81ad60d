//! The vocabulary both tiers speak. Pure: no I/O, no clock, no randomness; time and fresh ids are
//! arguments. It must not know HTTP servers, `rmcp`, or which tier uses a word.
//!
//! # Layout, in reading order
//! - [`limits`]: every bound of the product
//! - [`time`]: instants as values
//! - [`error`]: what can go wrong, and what the caller is told
//! - [`scope`]: the fence, its grammar and its order
//! - [`id`]: users, sessions, and the names of objects
//! - [`config`]: levels and toolsets, validated at start
//! - [`header`]: values of headers that mirror a body
//! - [`hop`]: the contract between the tiers
//! - [`outside`]: HTTP to the world outside, as values
//! - [`gathered()`]: maps and sets, made without sorting
//! - [`database`]: the little of SQL that both tiers need
//! - [`notes`]: durable notes, kept by an Agent for its context and by a McpRouter for its user
//! - [`cloudflare`]: the adapters to the platform that both tiers need (wasm only)

pub mod limits;

pub mod time;

pub mod error;

pub mod scope;

pub mod id;

pub mod config;

pub mod header;

pub mod hop;

pub mod outside;

mod gathered;

pub mod database;

pub mod notes;

#[cfg(target_arch = "wasm32")]
pub mod cloudflare;

pub use error::{Error, Kind};
pub use gathered::gathered;
pub use id::{AgentKey, SessionId, TaskId, UserId};
pub use scope::Scope;
pub use time::Millis;
