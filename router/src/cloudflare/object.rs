//! The McpRouter as a Durable Object: reads a request, lets the user's state serve it, writes what
//! goes back. Thin: nothing is decided here.

use super::write;
use crate::{
    http::{self, Incoming, Method},
    refusal::Refusal,
    user::{Agents, Moment, Outgoing, User},
};
use futures_util::TryStreamExt as _;
use shared::{
    AgentKey, Error, Kind, Scope, UserId,
    cloudflare::{Sqlite, config, failure, fetch, log, now, queue_by_promise, random},
    config::Config,
    hop::{self, AGENT_URL, CallId, NOTES_URL},
    limits,
};
use std::{rc::Rc, time::Duration};
use worker::{
    Env, ObjectNamespace, State,
    wasm_bindgen::{self, JsValue, prelude::wasm_bindgen},
    web_sys::{Headers, Request, Response, ResponseInit},
    worker_sys::DurableObjectState,
};

/// One user.
#[wasm_bindgen(wasm_bindgen = worker::wasm_bindgen)]
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

// What `#[durable_object(alarm)]` would write, but for its wrappers: see `shared::cloudflare::fetch`.
#[wasm_bindgen(
    wasm_bindgen = worker::wasm_bindgen,
    wasm_bindgen_futures = worker::wasm_bindgen_futures,
    js_sys = worker::js_sys
)]
impl McpRouter {
    /// The platform wakes the object.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new(state: DurableObjectState, env: Env) -> Self {
        queue_by_promise();
        let state = State::from(state);
        let opened = open(&state, &env);
        Self { state, opened }
    }

    /// The platform brings a request.
    ///
    /// # Errors
    /// Only what the platform does not let be written.
    pub async fn fetch(&self, request: Request) -> Result<Response, JsValue> {
        let url = request.url();
        let answer = match &self.opened {
            Ok(opened) if url == NOTES_URL => notes(opened, &request).await,
            Ok(opened) => self.serve(opened, &url, &request).await,
            Err(error) => Err(Refusal::Below(error.clone())),
        };
        answer.or_else(|refusal| {
            if let Refusal::Below(error) = &refusal {
                log("router", error);
            }
            Ok(write(&refusal.reply(None, false))?)
        })
    }

    /// The platform says that it is time, and again after an error.
    ///
    /// # Errors
    /// What failed.
    pub async fn alarm(&self) -> Result<(), JsValue> {
        let opened = self.opened.as_ref().map_err(Clone::clone);
        match opened.and_then(|opened| opened.user.expire(now())) {
            Ok(Some(next)) => Ok(self.set_alarm(next).await?),
            Ok(None) => Ok(()),
            Err(error) => Err(worker::Error::RustError(error.to_string()).into()),
        }
    }
}

impl McpRouter {
    async fn serve(
        &self,
        opened: &Opened,
        url: &str,
        request: &Request,
    ) -> Result<Response, Refusal> {
        let scope = Scope::parse_path(http::path(url), &opened.config.levels)
            .map_err(|error| Refusal::BadScope(error.to_string()))?;
        let method = Method::parse(&request.method())?;
        let incoming = read(request, method).await?;
        let moment = Moment { now: now(), random: random()?, call: CallId::from_random(random()?) };
        let written =
            match opened.user.serve(&opened.agents, method, &scope, &incoming, moment).await {
                Outgoing::Own(reply) => write(&reply),
                Outgoing::Failed(reply, error) => {
                    log("router", &error);
                    write(&reply)
                }
                Outgoing::Piped(response) => Ok(response),
                Outgoing::Begun(response, id) => {
                    self.wake_to_expire().await?;
                    with_header(&response, "mcp-session-id", id.as_str())
                }
            };
        written.map_err(|error| Refusal::Below(failure("writing a reply", &error)))
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
async fn read(request: &Request, method: Method) -> Result<Incoming, Refusal> {
    let headers = request.headers();
    let header = |name| headers.get(name).ok().flatten();
    let body = match method {
        Method::Post => body(request, header("content-length").is_some()).await?,
        Method::Get | Method::Delete => String::new(),
    };
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

/// The body, bounded whether or not the client told how long it is.
async fn body(request: &Request, told: bool) -> Result<String, Refusal> {
    let failed =
        |error: worker::Error| Refusal::InvalidRequest(format!("the body broke off: {error}"));
    let bytes = if told {
        fetch::bytes(request.array_buffer()).await.map_err(failed)?
    } else if let Ok(mut chunks) = worker::Request::from(request.to_owned()).stream() {
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
async fn notes(opened: &Opened, request: &Request) -> Result<Response, Refusal> {
    let internal = |error: String| Refusal::Below(Error::internal(error));
    let text = fetch::text(request.text()).await.map_err(|error| internal(error.to_string()))?;
    let hop = serde_json::from_str(&text).map_err(|error| internal(error.to_string()))?;
    let answer = serde_json::to_string(&opened.user.shared_notes(&hop));
    let body = answer.map_err(|error| internal(error.to_string()))?;
    fetch::json(&body).map_err(|error| internal(error.to_string()))
}

/// A response with one header more; what a fetch returned cannot be changed.
fn with_header(response: &Response, name: &str, value: &str) -> worker::Result<Response> {
    let headers = Headers::new_with_headers(&response.headers())?;
    headers.set(name, value)?;
    let init = ResponseInit::new();
    init.set_status(response.status());
    init.set_headers(&headers);
    let body = response.body();
    Ok(Response::new_with_opt_readable_stream_and_init(body.as_ref(), &init)?)
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
        let agent = self.0.get_by_name(&key.object_name()).map_err(failed)?.into_rpc();
        let response = fetch::post(&agent, AGENT_URL, &hop).await.map_err(failed)?;
        // Only a failure is read here; everything else is the client's.
        if response.status() == 500 && response.headers().has(hop::FAILED_HEADER).unwrap_or(false) {
            let text = fetch::text(response.text()).await.map_err(failed)?;
            let error = serde_json::from_str::<Error>(&text);
            return Err(error.unwrap_or_else(|error| Error::internal(error.to_string())));
        }
        Ok(response)
    }

    fn is_ok(response: &Response) -> bool {
        response.status() == 200
    }
}
