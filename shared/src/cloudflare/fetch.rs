//! Requests and responses as the platform has them. The wrappers of `worker` read and rebuild all
//! that passes through them, which takes longer than what either tier does with it; here it passes
//! as it is. It must not know what anything means.

use futures_util::StreamExt as _;
use worker::{
    Result,
    js_sys::{Object, Promise, Reflect, Uint8Array, futures::JsFuture},
    wasm_bindgen::{JsCast as _, JsValue, prelude::wasm_bindgen},
    web_sys::{Headers, RequestInit, Response, ResponseInit},
};

#[wasm_bindgen(wasm_bindgen = worker::wasm_bindgen)]
extern "C" {
    /// An object, to whoever knows its name.
    #[derive(Debug)]
    pub type Stub;

    // With the address and the options apart no request is made here, only for the platform to
    // make it again.
    #[wasm_bindgen(method, catch, js_name = fetch)]
    fn fetch(this: &Stub, url: &str, init: &RequestInit) -> std::result::Result<Promise, JsValue>;
}

/// Posts a text to an object and waits for the response.
///
/// # Errors
/// The platform's own.
pub async fn post(object: &Stub, url: &str, body: &str) -> Result<Response> {
    let init = RequestInit::new();
    init.set_method("POST");
    init.set_body(&JsValue::from_str(body));
    send(object, url, &init).await
}

/// Sends a request to an object and waits for the response.
///
/// # Errors
/// The platform's own.
pub async fn send(object: &Stub, url: &str, init: &RequestInit) -> Result<Response> {
    let response = JsFuture::from(object.fetch(url, init)?).await?;
    Ok(response.dyn_into()?)
}

/// What the method `text` of a request or a response promises.
///
/// # Errors
/// The platform's own.
pub async fn text(promise: std::result::Result<Promise, JsValue>) -> Result<String> {
    let text = JsFuture::from(promise?).await?;
    Ok(text.as_string().unwrap_or_default())
}

/// What the method `array_buffer` of a request or a response promises.
///
/// # Errors
/// The platform's own.
pub async fn bytes(promise: std::result::Result<Promise, JsValue>) -> Result<Vec<u8>> {
    Ok(Uint8Array::new(&JsFuture::from(promise?).await?).to_vec())
}

/// A response of JSON with status 200.
///
/// # Errors
/// The platform's own.
pub fn json(body: &str) -> Result<Response> {
    thread_local! {
        // Nothing changes it, so it need not be made again.
        static INIT: Result<ResponseInit> = init(200, &[("content-type", "application/json")]);
    }
    INIT.with(|init| match init {
        Ok(init) => Ok(Response::new_with_opt_str_and_init(Some(body), init)?),
        Err(_) => respond(200, &[("content-type", "application/json")], Some(body)),
    })
}

/// A response.
///
/// # Errors
/// The platform's own.
pub fn respond(status: u16, headers: &[(&str, &str)], body: Option<&str>) -> Result<Response> {
    Ok(Response::new_with_opt_str_and_init(body, &init(status, headers)?)?)
}

/// A response with some headers more; what a fetch returned cannot be changed. The body goes on as
/// it is.
///
/// # Errors
/// The platform's own.
pub fn with_headers(response: &Response, more: &[(&str, &str)]) -> Result<Response> {
    let headers = Headers::new_with_headers(&response.headers())?;
    more.iter().try_for_each(|(name, value)| headers.set(name, value))?;
    let init = ResponseInit::new();
    init.set_status(response.status());
    init.set_headers(&headers);
    let body = response.body();
    Ok(Response::new_with_opt_readable_stream_and_init(body.as_ref(), &init)?)
}

/// Headers of a stream of server-sent events. Nothing on the way may hold it back.
pub const EVENT_STREAM: [(&str, &str); 3] = [
    ("content-type", "text/event-stream"),
    ("cache-control", "no-cache, no-transform"),
    ("x-accel-buffering", "no"),
];

/// A stream with status 200, piece by piece as it comes.
///
/// # Errors
/// The platform's own.
pub fn stream(
    headers: &[(&str, &str)],
    pieces: impl futures_util::Stream<Item = String> + 'static,
) -> Result<Response> {
    let all = worker::Headers::new();
    headers.iter().try_for_each(|(name, value)| all.set(name, value))?;
    let bytes = pieces.map(|piece| Ok::<_, worker::Error>(piece.into_bytes()));
    Ok(worker::ResponseBuilder::new().with_headers(all).from_stream(bytes)?.into())
}

fn init(status: u16, headers: &[(&str, &str)]) -> Result<ResponseInit> {
    let object = Object::new();
    for (name, value) in headers {
        Reflect::set(&object, &JsValue::from_str(name), &JsValue::from_str(value))?;
    }
    let init = ResponseInit::new();
    init.set_status(status);
    init.set_headers(&object);
    Ok(init)
}
