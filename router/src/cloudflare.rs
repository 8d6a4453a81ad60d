//! The Worker's side of the platform: the entry, and the McpRouter as a Durable Object. The only
//! place in this crate that names `worker`.

mod entry;
mod object;

pub use object::McpRouter;

use crate::http::Reply;
use worker::{Headers, Response, ResponseBuilder};

/// Writes a reply of ours. What cannot be written is a plain 500.
fn write(reply: Reply) -> Response {
    let build = || {
        let headers = Headers::new();
        for (name, value) in &reply.headers {
            headers.set(name, value)?;
        }
        let response = ResponseBuilder::new().with_headers(headers).with_status(reply.status);
        Ok::<_, worker::Error>(match reply.body {
            Some(body) => response.fixed(body.into_bytes()),
            None => response.empty(),
        })
    };
    build().unwrap_or_else(|_| ResponseBuilder::new().with_status(500).empty())
}
