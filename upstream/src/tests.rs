//! Tests of the client, against servers that a test writes and a time that a test moves. They must
//! not know what stands behind the trait [`World`](crate::World).
//!
//! # Layout, in reading order
//! - `world`: the world of a test: its time, its server, whoever asks
//! - `meeting`, `sessions`, `changing`: how an upstream is met, its sessions, and how it is met again
//! - `replies`, `relaying`, `rounds`: what is answered, and what is said and asked meanwhile
//! - `withdrawing`, `resuming`, `faults`, `turns`: what goes wrong
//! - `listening`: what an upstream says by itself
//! - `bytes`: whatever bytes a server may send

#![allow(
    clippy::arithmetic_side_effects,
    clippy::type_complexity,
    reason = "test code: what overflows is a failing test, and a table says what it is made of"
)]

mod bytes;
mod changing;
mod faults;
mod listening;
mod meeting;
mod relaying;
mod replies;
mod resuming;
mod rounds;
mod sessions;
mod turns;
mod withdrawing;
mod world;
