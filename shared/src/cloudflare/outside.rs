//! HTTP to the world outside, as the platform has it: redirects come back as they are, and whoever
//! drops a request or a body ends the connection. It must not know what is asked.

use crate::{
    limits,
    outside::{Answer, Body, HEADERS, Request, Response},
};
use futures_util::{
    StreamExt as _,
    future::{Either, select},
    stream,
};
use std::{pin::pin, time::Duration};
use worker::{
    js_sys::{self, Object, Reflect, Uint8Array, futures::JsFuture},
    wasm_bindgen::{JsCast as _, JsValue, prelude::wasm_bindgen},
    web_sys::{
        self, AbortController, ReadableStreamDefaultReader, RequestCache, RequestInit,
        RequestRedirect,
    },
};

#[wasm_bindgen(wasm_bindgen = worker::wasm_bindgen)]
extern "C" {
    #[wasm_bindgen(catch, js_name = fetch)]
    fn fetch(url: &str, init: &RequestInit) -> Result<js_sys::Promise, JsValue>;
}

/// Ends a connection when it is dropped.
struct Connection(AbortController);

impl Drop for Connection {
    fn drop(&mut self) {
        // After the end this changes nothing.
        self.0.abort();
    }
}

fn failed(error: impl Into<JsValue>) -> String {
    let error: JsValue = error.into();
    let message = Reflect::get(&error, &JsValue::from_str("message")).ok();
    message.and_then(|text| text.as_string()).unwrap_or_else(|| format!("{error:?}"))
}

/// Sends a request and waits for the head of the response.
///
/// # Errors
/// What the platform says, for the log.
pub async fn send(request: Request) -> Result<Response, String> {
    let headers = Object::new();
    for (name, value) in &request.headers {
        Reflect::set(&headers, &JsValue::from_str(name), &JsValue::from_str(value))
            .map_err(failed)?;
    }
    let connection = Connection(AbortController::new().map_err(failed)?);
    let init = RequestInit::new();
    init.set_method(request.method);
    init.set_headers(&headers);
    init.set_redirect(RequestRedirect::Manual);
    // Nothing of what one user's context asks is kept for another's.
    init.set_cache(RequestCache::NoStore);
    init.set_signal(Some(&connection.0.signal()));
    if let Some(body) = &request.body {
        init.set_body(&JsValue::from_str(body));
    }
    let response = JsFuture::from(fetch(&request.url, &init).map_err(failed)?).await;
    let response: web_sys::Response =
        response.map_err(failed)?.dyn_into().map_err(|_| "no response".to_owned())?;
    let all = response.headers();
    let header = |name: &str| Some((name.to_owned(), all.get(name).ok().flatten()?));
    Ok(Response {
        status: response.status(),
        headers: HEADERS.into_iter().filter_map(header).collect(),
        body: body(&response, connection)?,
    })
}

/// The pieces of a body as they come.
fn body(response: &web_sys::Response, connection: Connection) -> Result<Body, String> {
    let Some(stream) = response.body() else {
        return Ok(stream::empty().boxed_local());
    };
    let reader: ReadableStreamDefaultReader =
        stream.get_reader().dyn_into().map_err(|_| "no reader".to_owned())?;
    let pieces = stream::unfold(Some((reader, connection)), |state| async move {
        let (reader, connection) = state?;
        let read = JsFuture::from(reader.read()).await;
        let read = match read {
            Ok(read) => read,
            Err(error) => return Some((Err(failed(error)), None)),
        };
        let member = |name: &str| Reflect::get(&read, &JsValue::from_str(name)).ok();
        if member("done").is_none_or(|done| done.is_truthy()) {
            return None;
        }
        let bytes = member("value").map(|value| Uint8Array::new(&value).to_vec());
        Some((Ok(bytes.unwrap_or_default()), Some((reader, connection))))
    });
    Ok(pieces.boxed_local())
}

/// Sends a request and reads the whole answer, which may take [`limits::ANSWER_MS_MAX`].
///
/// # Errors
/// What went wrong, for the log.
pub async fn ask(request: Request) -> Result<Answer, String> {
    let answer = async { Answer::read(send(request).await?).await };
    let late = worker::Delay::from(Duration::from_millis(limits::ANSWER_MS_MAX));
    match select(pin!(answer), late).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => Err("it does not answer in time".to_owned()),
    }
}
