//! The McpRouter as a Durable Object: reads a request, lets the user's state serve it, writes what
//! goes back. Thin: nothing is decided here.

#![allow(missing_docs, reason = "the macro of Durable Objects writes methods without any")]

use super::write;
use crate::{
    http::{self, Incoming, Method},
    refusal::Refusal,
    user::{Agents, Moment, Outgoing, User},
};
use futures_util::TryStreamExt as _;
use shared::{
    AgentKey, Error, Kind, Scope, UserId,
    cloudflare::{Sqlite, config, failure, log, now, random},
    config::Config,
    hop::{self, AGENT_URL, ROUTER_URL},
    limits,
};
use std::{rc::Rc, time::Duration};
use worker::{
    DurableObject, Env, Headers, ObjectNamespace, Request, RequestInit, Response, ResponseBuilder,
    State, durable_object, wasm_bindgen,
};

/// One user.
#[durable_object(alarm)]
#[derive(Debug)]
pub struct McpRouter {
    state: State,
    opened: Result<Opened, Error>,
}

#[derive(Debug)]
struct Opened {
    config: Rc<Config>,
    user: User<Sqlite>,
    agents: Stubs,
}

impl DurableObject for McpRouter {
    fn new(state: State, env: Env) -> Self {
        let opened = open(&state, &env);
        Self { state, opened }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        let answer = match &self.opened {
            Ok(opened) if request.inner().url() == ROUTER_URL => notes(opened, request).await,
            Ok(opened) => self.serve(opened, request).await,
            Err(error) => Err(Refusal::Below(error.clone())),
        };
        Ok(answer.unwrap_or_else(|refusal| {
            if let Refusal::Below(error) = &refusal {
                log("router", error);
            }
            write(refusal.reply(None, false))
        }))
    }

    async fn alarm(&self) -> worker::Result<Response> {
        let expired = self.opened.as_ref().map_err(Clone::clone);
        match expired.and_then(|opened| opened.user.expire(now())) {
            Ok(Some(next)) => self.set_alarm(next).await?,
            Ok(None) => {}
            // The platform calls again after an error.
            Err(error) => return Err(worker::Error::RustError(error.to_string())),
        }
        Response::empty()
    }
}

impl McpRouter {
    async fn serve(&self, opened: &Opened, mut request: Request) -> Result<Response, Refusal> {
        let url = request.inner().url();
        let scope = Scope::parse_path(http::path(&url), &opened.config.levels)
            .map_err(|error| Refusal::BadScope(error.to_string()))?;
        let method = Method::parse(&request.inner().method())?;
        let incoming = read(&mut request, method).await?;
        let moment = Moment { now: now(), random: random()? };
        match opened.user.serve(&opened.agents, method, &scope, &incoming, moment).await {
            Outgoing::Own(reply) => Ok(write(reply)),
            Outgoing::Failed(reply, error) => {
                log("router", &error);
                Ok(write(reply))
            }
            Outgoing::Piped(response) => Ok(response),
            Outgoing::Begun(response, id) => {
                self.wake_to_expire().await?;
                let failed = |error: worker::Error| failure("the session header", &error);
                with_header(response, "mcp-session-id", id.as_str())
                    .map_err(|error| Refusal::Below(failed(error)))
            }
        }
    }

    /// Makes sure that idle sessions end although nobody calls any more.
    async fn wake_to_expire(&self) -> Result<(), Error> {
        let failed = |error: worker::Error| failure("the alarm", &error);
        if self.state.storage().get_alarm().await.map_err(failed)?.is_none() {
            let next = self.opened.as_ref().map_err(Clone::clone)?.user.expire(now())?;
            if let Some(next) = next {
                self.set_alarm(next).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    async fn set_alarm(&self, at: shared::Millis) -> worker::Result<()> {
        // A distance from now: that is how the crate takes a number, too.
        self.state.storage().set_alarm(Duration::from_millis(at.since(now()))).await
    }
}

fn open(state: &State, env: &Env) -> Result<Opened, Error> {
    let name = state.id().name().unwrap_or_default();
    let user = UserId::from_object_name(&name)
        .ok_or_else(|| Error::internal("this McpRouter has no user's name"))?;
    let agents =
        env.durable_object("AGENT").map_err(|error| failure("the binding AGENT", &error))?;
    let config = Rc::new(config(env)?);
    let database = Rc::new(Sqlite(state.storage().sql()));
    let user = User::new(Rc::clone(&config), user, database);
    Ok(Opened { config, user, agents: Stubs(agents) })
}

/// Reads what a McpRouter looks at.
async fn read(request: &mut Request, method: Method) -> Result<Incoming, Refusal> {
    let body = match method {
        Method::Post => body(request).await?,
        Method::Get | Method::Delete => String::new(),
    };
    let headers = request.headers();
    let header = |name| headers.get(name).ok().flatten();
    Ok(Incoming {
        accept: header("accept"),
        content_type: header("content-type"),
        session: header("mcp-session-id"),
        revision: header("mcp-protocol-version"),
        mcp_method: header("mcp-method"),
        mcp_name: header("mcp-name"),
        body,
    })
}

/// The body, bounded whether or not the client said how long it is.
async fn body(request: &mut Request) -> Result<String, Refusal> {
    let failed =
        |error: worker::Error| Refusal::InvalidRequest(format!("the body broke off: {error}"));
    let told = request.headers().get("content-length").ok().flatten();
    let bytes = if told.is_some() {
        request.bytes().await.map_err(failed)?
    } else if let Ok(mut chunks) = request.stream() {
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.try_next().await.map_err(failed)? {
            if bytes.len().saturating_add(chunk.len()) > limits::BODY_BYTES_MAX {
                return Err(Refusal::TooLarge);
            }
            bytes.extend(chunk);
        }
        bytes
    } else {
        Vec::new()
    };
    if bytes.len() > limits::BODY_BYTES_MAX {
        return Err(Refusal::TooLarge);
    }
    String::from_utf8(bytes).map_err(|_| Refusal::Parse("it is not UTF-8".to_owned()))
}

/// Answers an Agent. Only Agents can ask: the entry passes nothing on whose path begins so.
async fn notes(opened: &Opened, mut request: Request) -> Result<Response, Refusal> {
    let internal = |error: String| Refusal::Below(Error::internal(error));
    let text = request.text().await.map_err(|error| internal(error.to_string()))?;
    let hop = serde_json::from_str(&text).map_err(|error| internal(error.to_string()))?;
    let answer = serde_json::to_vec(&opened.user.shared_notes(&hop));
    let body = answer.map_err(|error| internal(error.to_string()))?;
    Ok(ResponseBuilder::new().fixed(body))
}

/// A response with one header more; what a fetch returned cannot be changed.
fn with_header(response: Response, name: &str, value: &str) -> worker::Result<Response> {
    let (builder, body) = response.into_parts();
    let response = builder.body(body);
    let headers = Headers::new();
    for (name, value) in response.headers().entries() {
        headers.append(&name, &value)?;
    }
    headers.set(name, value)?;
    Ok(response.with_headers(headers))
}

/// The Agents, by name.
#[derive(Debug)]
struct Stubs(ObjectNamespace);

impl Agents for Stubs {
    type Response = Response;

    async fn forward(&self, key: &AgentKey, hop: String) -> Result<Response, Error> {
        let failed = |error: worker::Error| {
            Error::new(Kind::Unavailable, "this context cannot be reached now; try again")
                .with_detail(error.to_string())
        };
        let mut init = RequestInit::new();
        init.with_method(worker::Method::Post).with_body(Some(hop.into()));
        let request = Request::new_with_init(AGENT_URL, &init).map_err(failed)?;
        let stub = self.0.get_by_name(&key.object_name()).map_err(failed)?;
        let mut response = stub.fetch_with_request(request).await.map_err(failed)?;
        // Only a failure is read here; everything else is the client's.
        if response.status_code() == 500
            && response.headers().has(hop::FAILED_HEADER).unwrap_or(false)
        {
            let text = response.text().await.map_err(failed)?;
            let error = serde_json::from_str::<Error>(&text);
            return Err(error.unwrap_or_else(|error| Error::internal(error.to_string())));
        }
        Ok(response)
    }

    fn is_ok(response: &Response) -> bool {
        response.status_code() == 200
    }
}
