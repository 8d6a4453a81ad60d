//! The second tier: one Agent per (user, scope), an `rmcp` server that serves one context and
//! knows of no other. It must not know the router, other than through `shared::hop`.
//!
//! # Layout, in reading order
//! - [`context`]: one hop in, one reply out; the Agent's scope, stored when it is created
//! - [`decode`]: a client's message as a typed request
//! - [`driver`]: that request through `rmcp`'s serve loop
//! - [`calls`]: a running call: what it says, and what is said to it
//! - [`parking`]: calls that wait for their client between two requests
//! - [`reply`]: what a call says, as JSON or as a stream
//! - [`handler`]: the `rmcp` server, always under a scope
//! - [`tasks`]: calls that go on without their caller
//! - [`alarm`], [`listening`]: what wakes the object, and what it listens to
//! - [`registry`]: the tools of all toolsets, narrowed to the scope
//! - [`fence`]: what of a toolset a scope fixes
//! - [`verbatim`]: results that go to a client as text
//! - [`mirror`]: parameters that headers repeat
//! - [`toolset`], [`toolsets`]: what a family of tools is, and the families
//! - [`background`], [`skills`]: more of what toolsets may do and have
//! - [`caller`], [`report`], [`client`]: who listens to a running call, what it says on the way,
//!   and what it asks
//! - [`value`]: JSON values of `rmcp`'s types
//! - [`platform`]: what an Agent needs from the world, as values and futures
//! - [`cloudflare`]: the Durable Object (wasm only)

#![allow(deprecated, reason = "deprecated in 2026-07-28 is still part of every revision here")]

pub mod context;

pub mod decode;

pub mod driver;

pub mod calls;

pub mod parking;

pub mod reply;

pub mod handler;

pub mod tasks;

pub mod alarm;

pub mod listening;

pub mod registry;

pub mod fence;

pub mod verbatim;

pub mod mirror;

pub mod toolset;

pub mod toolsets;

pub mod background;

pub mod skills;

pub mod caller;

pub mod report;

pub mod client;

pub mod value;

pub mod platform;

#[cfg(target_arch = "wasm32")]
pub mod cloudflare;

#[cfg(target_arch = "wasm32")]
pub use cloudflare::Agent;
