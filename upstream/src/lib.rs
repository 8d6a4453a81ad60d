//! A client of remote MCP servers over Streamable HTTP, in both eras. It passes on what a server
//! says as it came: results keep every byte, whatever they hold, so nothing here has a type for
//! them. It must not know scopes, toolsets, Durable Objects, or who asks.
//!
//! # Layout, in reading order
//! - [`world`]: what it needs: HTTP, the time, somewhere to keep what it learned
//! - [`wire`]: JSON-RPC messages as they come
//! - [`exchange`]: one HTTP exchange, as messages or as a fault
//! - [`fault`]: what can go wrong, and whether it is worth another try
//! - [`guard`]: how much one upstream gets at once, and when it is left alone
//! - [`link`]: an upstream as one kind of client sees it: its era, its session
//! - `running`: the requests that run, and what waits for them
//! - [`talk`]: one request, with everything that is said meanwhile
//! - [`listen`]: what an upstream says by itself
//! - [`clean`]: names and descriptions that nobody here wrote

pub mod clean;

pub mod exchange;

pub mod fault;

pub mod guard;

pub mod link;

pub mod listen;

mod running;

pub mod talk;

pub mod wire;

pub mod world;

#[cfg(test)]
mod tests;

pub use fault::{Failure, Fault};
pub use link::{Link, Met};
pub use talk::{Ask, Question, Relay};
pub use wire::{Fields, JsonObject};
pub use world::{Body, Request, Response, World};
