//! Who is calling, and with whose credentials: pure, like everything that decides. Time, randomness
//! and what others answered are arguments. It must not know MCP messages, `worker`, or which tier
//! asks.
//!
//! # Layout, in reading order
//! - [`keyring`]: what is sealed under the deployment's own keys
//! - [`caller`]: what a request proved, as the entry tells a McpRouter
//! - [`key`]: personal keys, which say themselves what they are good for
//! - [`account`]: what a user sees and ends on their own page, as the entry asks a McpRouter
//! - [`page`]: what a browser asks and is shown
//! - [`html`]: what all pages look like
//! - [`signed`]: who is signed in at this site
//! - [`grant`]: what the authorization server keeps
//! - [`consent`]: whether a client may act for a user
//! - [`person`]: a person, as whoever vouches for them says
//! - [`jwt`]: signed tokens of others
//! - [`issuer`]: what an issuer says of itself
//! - [`login`]: signing in
//! - [`external`]: access tokens of authorization servers that the operator trusts
//! - [`pages`]: pages with something on them
//! - [`documents`]: what others publish about themselves, kept for a while
//! - [`upstream_login`]: logging in at upstreams on a user's behalf
//! - [`connect`]: the pages for that

pub mod keyring;

pub mod caller;

pub mod key;

pub mod account;

pub mod page;

pub mod html;

pub mod signed;

pub mod grant;

pub mod consent;
pub mod person;

pub mod jwt;

pub mod documents;

pub mod issuer;

pub mod login;

pub mod external;

pub mod pages;
pub mod upstream_login;

pub mod connect;
