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
use std::{cell::Cell, pin::pin, time::Duration};
use worker::{
    js_sys::{Array, ArrayBuffer, Promise, Reflect, Uint8Array, futures::JsFuture},
    wasm_bindgen::{JsCast as _, JsValue, prelude::wasm_bindgen},
    web_sys::{AbortController, AbortSignal, ReadableStreamDefaultReader},
};

#[wasm_bindgen(wasm_bindgen = worker::wasm_bindgen, module = "/src/cloudflare/outside.js")]
extern "C" {
    #[wasm_bindgen(js_name = send)]
    fn fetch(
        url: &str,
        init: &str,
        body: Option<&str>,
        signal: &AbortSignal,
        names: &str,
        small: u32,
    ) -> Promise;
}

/// Ends a connection when it is dropped before its end.
struct Connection {
    controller: AbortController,
    is_over: Cell<bool>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // After the end this changes nothing, and what the platform makes to say so costs.
        if !self.is_over.get() {
            self.controller.abort();
        }
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
    let Request { method, url, headers, body } = request;
    let init = serde_json::json!({ "method": method, "headers": headers }).to_string();
    let controller = AbortController::new().map_err(failed)?;
    let connection = Connection { controller, is_over: Cell::new(false) };
    let (signal, names) = (connection.controller.signal(), HEADERS.join("\n"));
    let small = limits::SMALL_ANSWER_BYTES_MAX;
    let answer = fetch(&url, &init, body.as_deref(), &signal, &names, small);
    let answer: Array = JsFuture::from(answer).await.map_err(failed)?.into();
    let status = answer.get(0).as_f64().unwrap_or_default();
    let values = answer.get(1).as_string().unwrap_or_default();
    let named = HEADERS.into_iter().zip(values.split('\n')).filter(|(_, value)| !value.is_empty());
    Ok(Response {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is a status"
        )]
        status: status as u16,
        headers: named.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        body: pieces(answer.get(2), connection),
    })
}

/// The rest of a response: all of it, or as it comes.
fn pieces(rest: JsValue, connection: Connection) -> Body {
    let reader = match rest.dyn_into::<ArrayBuffer>() {
        Ok(whole) => {
            connection.is_over.set(true);
            let bytes = Uint8Array::new(&whole).to_vec();
            return stream::iter([Ok(bytes)]).boxed_local();
        }
        Err(rest) => rest.dyn_into::<ReadableStreamDefaultReader>(),
    };
    // One without a body has no reader.
    let Ok(reader) = reader else {
        return stream::empty().boxed_local();
    };
    let pieces = stream::unfold(Some((reader, connection)), |state| async move {
        let (reader, connection) = state?;
        let read = JsFuture::from(reader.read()).await;
        let read = match read {
            Ok(read) => read,
            Err(error) => return Some((Err(failed(error)), None)),
        };
        let member = |name: &str| Reflect::get(&read, &JsValue::from_str(name)).ok();
        if member("done").is_none_or(|done| done.is_truthy()) {
            connection.is_over.set(true);
            return None;
        }
        let bytes = member("value").map(|value| Uint8Array::new(&value).to_vec());
        Some((Ok(bytes.unwrap_or_default()), Some((reader, connection))))
    });
    pieces.boxed_local()
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
