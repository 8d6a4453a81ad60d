//! The Worker's entry: which rival is called, and what goes back. It must not know the rules.

use crate::{edge::Edge, plain};
use router::{http::Reply, refusal::Refusal};
use serde_json::value::RawValue;
use shared::{
    AgentKey, Error, Kind,
    hop::{AGENT_URL, Hop, Peer},
};
use std::{cell::OnceCell, rc::Rc};
use worker::{
    Context, Env, Headers, ResponseBuilder, event,
    js_sys::futures::JsFuture,
    wasm_bindgen::{JsCast as _, JsValue},
    web_sys,
    worker_sys::DurableObject,
};

thread_local! {
    static EDGE: OnceCell<Result<Rc<Edge>, Error>> = const { OnceCell::new() };
}

fn edge(env: &Env) -> Result<Rc<Edge>, Error> {
    EDGE.with(|cell| cell.get_or_init(|| Edge::read(env).map(Rc::new)).clone())
}

#[event(fetch, respond_with_errors)]
async fn fetch(
    request: web_sys::Request,
    env: Env,
    _context: Context,
) -> worker::Result<web_sys::Response> {
    serve(&request, &env).await.or_else(|reply| write(reply).map(Into::into))
}

async fn serve(request: &web_sys::Request, env: &Env) -> Result<web_sys::Response, Reply> {
    let refuse = |refusal: Refusal| refusal.reply(None, true);
    let below = |error: Error| refuse(Refusal::Below(error));
    let edge = edge(env).map_err(below)?;
    let whole = request.url();
    let (plain, url) = match whole.split_once("/plain/") {
        Some((host, path)) => (true, format!("{host}/{path}")),
        None => (false, whole.replacen("/one/", "/", 1)),
    };
    let call = edge.admit(&url, request).await.map_err(refuse)?;
    let message = call.request()?;
    let (key, peer) = call.plan(&edge.config, &message)?;
    let body = &call.incoming.body;
    let response = if plain {
        plain::serve(&edge.config, key, body).await.map_err(below)?
    } else {
        return one(env, key, peer, body).await.map_err(below);
    };
    let written = agent::cloudflare::write(response).map(Into::into);
    written.map_err(|error| below(Error::internal(error.to_string())))
}

/// Sends the hop that a router would send, and hands the response back as it came.
async fn one(
    env: &Env,
    key: AgentKey,
    peer: Peer<'_>,
    body: &str,
) -> Result<web_sys::Response, Error> {
    let internal = |error: serde_json::Error| Error::internal(error.to_string());
    let failed = |error: JsValue| {
        Error::new(Kind::Unavailable, "unreachable").with_detail(format!("{error:?}"))
    };
    let name = key.object_name();
    let hop = Hop {
        key,
        peer,
        shared_notes: false,
        message: serde_json::from_str::<&RawValue>(body).map_err(internal)?,
    };
    let hop = serde_json::to_string(&hop).map_err(internal)?;
    let init = web_sys::RequestInit::new();
    init.set_method("POST");
    init.set_body(&JsValue::from_str(&hop));
    let request = web_sys::Request::new_with_str_and_init(AGENT_URL, &init).map_err(failed)?;
    let agent: DurableObject = env
        .durable_object("AGENT")
        .and_then(|agents| agents.get_by_name(&name))
        .map_err(|error| failed(error.into()))?
        .into_rpc();
    let response = agent.fetch_with_request(&request).map_err(failed)?;
    let response = JsFuture::from(response).await.map_err(failed)?;
    response.dyn_into().map_err(failed)
}

fn write(reply: Reply) -> worker::Result<worker::Response> {
    let headers = Headers::new();
    for (name, value) in &reply.headers {
        headers.set(name, value)?;
    }
    let body = reply.body.unwrap_or_default().into_bytes();
    let response = ResponseBuilder::new().with_headers(headers);
    Ok(response.with_status(reply.status).fixed(body))
}
