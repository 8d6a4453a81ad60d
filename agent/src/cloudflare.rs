//! The Agent as a Durable Object: reads a hop, lets the context serve it, writes the reply. Thin:
//! nothing is decided here.

#![allow(missing_docs, reason = "the macro of Durable Objects writes methods without any")]

use crate::{context::Context, platform::Platform, reply::Reply};
use futures_util::{StreamExt as _, future::LocalBoxFuture};
use shared::{
    Error, Kind, Millis, UserId,
    cloudflare::{Sqlite, config, failure, log, now, random},
    hop::{NotesAnswer, NotesHop, ROUTER_URL},
    notes,
};
use std::{rc::Rc, time::Duration};
use worker::{
    DurableObject, Env, Headers, Method, ObjectNamespace, Request, RequestInit, Response,
    ResponseBuilder, State, durable_object, wasm_bindgen,
};

/// One (user, scope).
#[durable_object(fetch)]
#[derive(Debug)]
pub struct Agent {
    context: Result<Context, Error>,
}

impl DurableObject for Agent {
    fn new(state: State, env: Env) -> Self {
        Self { context: open(&state, &env) }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        let reply = match self.serve(request).await {
            Ok(reply) => write(reply),
            Err(error) => {
                log("agent", &error);
                refuse(&error)
            }
        };
        reply.or_else(|_| Response::error("the reply could not be written", 500))
    }
}

impl Agent {
    async fn serve(&self, mut request: Request) -> Result<Reply, Error> {
        let context = self.context.as_ref().map_err(Clone::clone)?;
        let hop = request.text().await.map_err(|error| failure("reading a hop", &error))?;
        context.serve(&hop).await
    }
}

fn open(state: &State, env: &Env) -> Result<Context, Error> {
    let routers =
        env.durable_object("ROUTER").map_err(|error| failure("the binding ROUTER", &error))?;
    // The name begins with the user's own; it is the only thing an Agent needs of it.
    let name = state.id().name().unwrap_or_default();
    let router = name.split(':').next().unwrap_or_default().to_owned();
    let world = World { routers, router };
    let database = Rc::new(Sqlite(state.storage().sql()));
    Ok(Context::new(Rc::new(config(env)?), database, Rc::new(world)))
}

/// Writes a reply.
///
/// # Errors
/// What the platform does not take.
pub fn write(reply: Reply) -> worker::Result<Response> {
    let headers = Headers::new();
    match reply {
        Reply::Json { status, body } => {
            headers.set("content-type", "application/json")?;
            let response = ResponseBuilder::new().with_headers(headers).with_status(status);
            Ok(response.fixed(body.into_bytes()))
        }
        Reply::Events(events) => {
            headers.set("content-type", "text/event-stream")?;
            headers.set("cache-control", "no-cache, no-transform")?;
            headers.set("x-accel-buffering", "no")?;
            let bytes = events.map(|event| Ok::<_, worker::Error>(event.into_bytes()));
            ResponseBuilder::new().with_headers(headers).from_stream(bytes)
        }
    }
}

/// A refused or failed hop. The router reads the error; no client does.
fn refuse(error: &Error) -> worker::Result<Response> {
    let headers = Headers::new();
    headers.set(shared::hop::FAILED_HEADER, "1")?;
    let body = serde_json::to_vec(error).unwrap_or_default();
    Ok(ResponseBuilder::new().with_headers(headers).with_status(500).fixed(body))
}

/// The platform, as an Agent sees it.
#[derive(Debug)]
struct World {
    routers: ObjectNamespace,
    /// Name of the user's McpRouter.
    router: String,
}

impl Platform for World {
    fn now(&self) -> Millis {
        now()
    }

    fn random(&self) -> [u8; 12] {
        // Without randomness ids would collide; the notes refuse a fresh id that is taken.
        random().unwrap_or_default()
    }

    fn sleep(&self, milliseconds: u32) -> LocalBoxFuture<'static, ()> {
        Box::pin(worker::Delay::from(Duration::from_millis(milliseconds.into())))
    }

    fn log(&self, error: &Error) {
        log("agent", error);
    }

    fn shared_notes(&self, request: notes::Request) -> LocalBoxFuture<'static, NotesAnswer> {
        let (routers, router) = (self.routers.clone(), self.router.clone());
        Box::pin(async move { ask(&routers, &router, request).await })
    }
}

async fn ask(routers: &ObjectNamespace, router: &str, request: notes::Request) -> NotesAnswer {
    let failed = |error: worker::Error| {
        Error::new(Kind::Unavailable, "the shared notes cannot be reached now; try again")
            .with_detail(error.to_string())
    };
    let user = UserId::from_object_name(router)
        .ok_or_else(|| Error::internal("this Agent's name does not begin with a user"))?;
    let hop = NotesHop { user, request, now: now() };
    let body = serde_json::to_string(&hop).map_err(|error| Error::internal(error.to_string()))?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(body.into()));
    let request = Request::new_with_init(ROUTER_URL, &init).map_err(failed)?;
    let stub = routers.get_by_name(router).map_err(failed)?;
    let mut response = stub.fetch_with_request(request).await.map_err(failed)?;
    let text = response.text().await.map_err(failed)?;
    serde_json::from_str::<NotesAnswer>(&text)
        .map_err(|error| Error::internal(format!("the router's answer: {error}")))?
}
