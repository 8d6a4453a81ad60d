//! The Worker's entry: which rival is called, and what goes back. It must not know the rules.

use crate::{edge::Edge, plain};
use router::{http::Reply, refusal::Refusal};
use serde_json::value::RawValue;
use shared::{
    AgentKey, Error, Kind,
    cloudflare::fetch,
    hop::{AGENT_URL, Hop, Peer},
};
use std::{cell::OnceCell, rc::Rc};
use worker::{
    Context, Env, event,
    web_sys::{Request, Response},
};

thread_local! {
    static EDGE: OnceCell<Result<Rc<Edge>, Error>> = const { OnceCell::new() };
}

fn edge(env: &Env) -> Result<Rc<Edge>, Error> {
    EDGE.with(|cell| cell.get_or_init(|| Edge::read(env).map(Rc::new)).clone())
}

#[event(fetch, respond_with_errors)]
async fn answer(request: Request, env: Env, _context: Context) -> worker::Result<Response> {
    serve(&request, &env).await.or_else(|reply| write(&reply))
}

async fn serve(request: &Request, env: &Env) -> Result<Response, Reply> {
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
    if plain {
        let reply = plain::serve(&edge.config, key, body).await.map_err(below)?;
        let written = agent::cloudflare::write(reply);
        written.map_err(|error| below(Error::internal(error.to_string())))
    } else {
        one(env, key, peer, body).await.map_err(below)
    }
}

/// Sends the hop that a router would send, and hands the response back as it came.
async fn one(env: &Env, key: AgentKey, peer: Peer<'_>, body: &str) -> Result<Response, Error> {
    let internal = |error: serde_json::Error| Error::internal(error.to_string());
    let failed = |error: worker::Error| {
        Error::new(Kind::Unavailable, "unreachable").with_detail(error.to_string())
    };
    let (name, depth) = (key.object_name(), key.scope.depth());
    let message = serde_json::from_str::<&RawValue>(body).map_err(internal)?;
    let hop = Hop {
        key,
        peer,
        shared_notes: false,
        is_heard: false,
        prefers_stream: false,
        is_part: false,
        options: std::borrow::Cow::default(),
        is_read_only: false,
        holder: shared::hop::Holder::default(),
        mirrors: Vec::new(),
        depth,
        message,
    };
    let hop = serde_json::to_string(&hop).map_err(internal)?;
    let agents = env.durable_object("AGENT").map_err(failed)?;
    let agent = agents.get_by_name(&name).map_err(failed)?.into_rpc();
    fetch::post(&agent, AGENT_URL, &hop).await.map_err(failed)
}

fn write(reply: &Reply) -> worker::Result<Response> {
    let headers = reply.headers.iter().map(|(name, value)| (*name, value.as_str()));
    fetch::respond(reply.status, &headers.collect::<Vec<_>>(), reply.body.as_deref())
}
