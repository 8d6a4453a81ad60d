//! The Worker's side of the platform: the entry, and the McpRouter as a Durable Object. The only
//! place in this crate that names `worker`.

mod crypto;
mod edge;
mod entry;
mod external;
mod issuers;
mod oauth;
mod object;
mod pages;
mod proven;
mod world;

pub use object::McpRouter;

use crate::http::Reply;
use shared::cloudflare::fetch;
use worker::web_sys::Response;

/// Writes a reply of ours.
fn write(reply: &Reply) -> worker::Result<Response> {
    let headers = reply.headers.iter().map(|(name, value)| (*name, value.as_str()));
    fetch::respond(reply.status, &headers.collect::<Vec<_>>(), reply.body.as_deref())
}
