//! The functions of `edge.js`. It must not know streams or messages.

use crate::sse;
use shared::limits;
use worker::{
    wasm_bindgen::{JsValue, prelude::wasm_bindgen},
    web_sys::{Headers, ReadableStream, WebSocket},
};

#[wasm_bindgen(wasm_bindgen = worker::wasm_bindgen, module = "/src/cloudflare/edge.js")]
extern "C" {
    #[wasm_bindgen(catch)]
    fn hold(
        socket: &WebSocket,
        keep_alive_ms: f64,
        comment: &str,
        backlog: f64,
    ) -> Result<ReadableStream, JsValue>;

    fn mirrors(headers: &Headers) -> Vec<String>;
}

/// The body of a response that says what a socket says.
///
/// # Errors
/// The platform's own.
pub(super) fn body(socket: &WebSocket) -> Result<ReadableStream, JsValue> {
    let keep_alive = limits::LISTEN_KEEP_ALIVE_MS as f64;
    hold(socket, keep_alive, sse::COMMENT, limits::STREAM_BACKLOG_BYTES_MAX as f64)
}

/// The `Mcp-Param-*` headers: the name's tail in lower case, and the value.
pub(super) fn read_mirrors(headers: &Headers) -> Vec<(String, String)> {
    let mut all = mirrors(headers).into_iter();
    let mut pairs = Vec::new();
    while let (Some(name), Some(value)) = (all.next(), all.next()) {
        pairs.push((name, value));
    }
    pairs
}
