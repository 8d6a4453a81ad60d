//! The functions of `edge.js`. It must not know streams or messages.

use crate::{handover::HEADERS, refusal::Refusal, sse};
use shared::{Error, Kind, cloudflare::fetch::Stub, hop::REQUEST_URL, limits};
use worker::{
    js_sys::{Array, Promise, futures::JsFuture},
    wasm_bindgen::{JsCast as _, JsValue, prelude::wasm_bindgen},
    web_sys::{ReadableStream, Request, Response, WebSocket},
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

    #[wasm_bindgen(js_name = handOver, catch)]
    fn hand_over_with(
        router: &Stub,
        url: &str,
        request: &Request,
        caller: &str,
        names: &Array,
        is_length_known: bool,
        bytes_max: f64,
    ) -> Result<Promise, JsValue>;
}

thread_local! {
    static NAMES: Array = HEADERS.iter().map(|name| JsValue::from_str(name)).collect();
}

/// Hands a request over to its McpRouter (see [`crate::handover`]) and waits for the response.
///
/// # Errors
/// [`Refusal::TooLarge`], [`Refusal::InvalidRequest`] for a body that broke off, and
/// [`Refusal::Below`] where the router cannot be reached.
pub(super) async fn hand_over(
    router: &Stub,
    request: &Request,
    caller: &str,
    is_length_known: bool,
) -> Result<Response, Refusal> {
    let most = limits::BODY_BYTES_MAX as f64;
    let answer = NAMES.with(|names| {
        hand_over_with(router, REQUEST_URL, request, caller, names, is_length_known, most)
    });
    let answer = JsFuture::from(answer.map_err(unavailable)?).await.map_err(unavailable)?;
    if answer.is_null() {
        return Err(Refusal::TooLarge(limits::BODY_BYTES_MAX));
    }
    if let Some(why) = answer.as_string() {
        return Err(Refusal::InvalidRequest(format!("the body broke off: {why}")));
    }
    answer.dyn_into().map_err(unavailable)
}

/// Why there is no response of a router.
pub(super) fn unavailable(error: impl Into<worker::Error>) -> Refusal {
    let text = "this user's router cannot be reached now; try again";
    Refusal::Below(Error::new(Kind::Unavailable, text).with_detail(error.into().to_string()))
}

/// The body of a response that says what a socket says.
///
/// # Errors
/// The platform's own.
pub(super) fn body(socket: &WebSocket) -> Result<ReadableStream, JsValue> {
    let keep_alive = limits::LISTEN_KEEP_ALIVE_MS as f64;
    hold(socket, keep_alive, sse::COMMENT, limits::STREAM_BACKLOG_BYTES_MAX as f64)
}
