//! The real bundle on real workerd, driven from outside.
//!
//! - `account`: a user's own page, personal keys, and the end of what runs
//! - `attacks`: hundreds of attacks on what lets people and clients in, and that they get nothing
//! - `honest`: what people and clients do that attack nobody
//! - `issuers`: tokens of an authorization server that the operator trusts
//! - `storm`: a thousand calls at the moment when a credential of their user expires
//! - `browser`: people and pages in a real Chromium
//! - `edge`: what is refused, with its exact status and code
//! - `probes`: hundreds of malformed and hostile requests, and that nothing is lost by them
//! - `memory`: the toolset through two tiers, and routing by argument
//! - `isolation`: users, scopes and names that must not meet
//! - `oauth`: a client that gets in by OAuth, from beginning to end
//! - `restart`: a server that is killed in the middle of a conversation
//! - `storage`: what a call writes
//! - `streaming`: progress and logs before the result
//! - `clients`: the SDKs, the Inspector and mcp-remote, each doing the whole job or talking
//! - `settings`: what a server is told besides its bundle, and `make effective`
//! - `upstreams`: servers that nobody here wrote, as they are
//! - `behind`: the `mcp` toolset, with real and scripted servers upstream
//! - `golden`: what clients read of tools at each scope
//! - `bundle`: what the bundle exports, imports and weighs

#![allow(
    missing_docs,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test code: what fails is a failing test"
)]

mod account;
mod attacks;
mod behind;
mod browser;
mod bundle;
mod clients;
mod cuts;
mod edge;
mod golden;
mod honest;
mod isolation;
mod issuers;
mod letter;
mod memory;
mod oauth;
mod probes;
mod restart;
mod settings;
mod sleep;
mod storage;
mod storm;
mod streaming;
mod streams;
mod tasks;
mod upstreams;

use tests::{Bundle, Server};

/// Keys of the users that most tests need.
const KEYS: &str = "alice=key-a,bob=key-b";

/// A server with a fresh state, which lives as long as the second value.
fn fresh(bundle: Bundle) -> (Server, tempfile::TempDir) {
    let state = tempfile::tempdir().expect("a folder");
    (Server::start(bundle, state.path(), KEYS, None), state)
}
