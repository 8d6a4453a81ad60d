//! What the benchmark holds the two tiers against, behind one entry, by path prefix:
//! - `/one/mcp`: Worker → Agent, one tier
//! - `/plain/mcp`: the same `rmcp` server right in the Worker, no object at all
//!
//! Each is written as one would write it who wanted only that: the same rules at the edge, the
//! modern era alone, no sessions. It must not be faster than it could honestly be, nor slower.

#[cfg(target_arch = "wasm32")]
mod edge;

#[cfg(target_arch = "wasm32")]
mod entry;

#[cfg(target_arch = "wasm32")]
mod plain;

// The bundle exports the classes of every crate it links, and links `agent` because it is named.
#[cfg(target_arch = "wasm32")]
pub use agent::Agent;
