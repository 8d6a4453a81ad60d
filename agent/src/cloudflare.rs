//! The Agent as a Durable Object: reads a hop, lets the context serve it, writes the reply. Thin:
//! nothing is decided here.

use crate::{
    context::{Context, stored},
    platform::Platform,
    reply::Reply,
};
use futures_util::future::LocalBoxFuture;
use serde::Serialize;
use shared::{
    Error, Kind, Millis, Scope, UserId,
    cloudflare::{
        Sqlite, config, failure, fetch, log, now, outside, queue_by_promise, random, set_alarm,
        variable,
    },
    hop::{
        CHANGES_URL, CREDENTIAL_URL, Change, Changes, CredentialAnswer, CredentialHop,
        EFFECTIVE_URL, FAILED_HEADER, INTEREST_URL, LINES, NOTES_URL, NotesAnswer, NotesHop,
        STOP_URL, VERIFY_URL, WORD_URL,
    },
    notes,
};
use std::{rc::Rc, time::Duration};
use upstream::{Request, Response};
use worker::{
    Env, ObjectNamespace, State, Storage,
    wasm_bindgen::{self, JsValue, prelude::wasm_bindgen},
    wasm_bindgen_futures, web_sys,
    worker_sys::DurableObjectState,
};

/// One (user, scope).
#[wasm_bindgen(wasm_bindgen = worker::wasm_bindgen)]
#[derive(Debug)]
pub struct Agent {
    context: Result<Context, Error>,
    storage: Storage,
}

// What `#[durable_object(alarm)]` would write, but for its wrappers: see `shared::cloudflare::fetch`.
#[wasm_bindgen(
    wasm_bindgen = worker::wasm_bindgen,
    wasm_bindgen_futures = worker::wasm_bindgen_futures,
    js_sys = worker::js_sys
)]
impl Agent {
    /// The platform wakes the object.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new(state: DurableObjectState, env: Env) -> Self {
        queue_by_promise();
        let state = State::from(state);
        Self { context: open(&state, &env), storage: state.storage() }
    }

    /// The platform says that it is time, and again after an error.
    ///
    /// # Errors
    /// What failed.
    pub async fn alarm(&self) -> Result<(), JsValue> {
        let context = self.context.as_ref().map_err(Clone::clone);
        match context.and_then(Context::alarm) {
            Ok(Some(next)) => Ok(set_alarm(&self.storage, next).await?),
            Ok(None) => Ok(()),
            Err(error) => {
                log("agent", &error);
                Err(worker::Error::RustError(error.public).into())
            }
        }
    }

    /// The platform brings a hop.
    ///
    /// # Errors
    /// Only what the platform does not let be written.
    pub async fn fetch(&self, request: web_sys::Request) -> Result<web_sys::Response, JsValue> {
        let written = match self.serve(&request).await {
            Ok(written) => written,
            Err(error) => {
                log("agent", &error);
                refuse(&error)
            }
        };
        Ok(written?)
    }
}

impl Agent {
    async fn serve(
        &self,
        request: &web_sys::Request,
    ) -> Result<worker::Result<web_sys::Response>, Error> {
        let context = self.context.as_ref().map_err(Clone::clone)?;
        let hop = fetch::text(request.text()).await;
        let hop = hop.map_err(|error| failure("reading a hop", &error))?;
        match request.url().as_str() {
            WORD_URL => {
                let status = if context.word(&hop)? { 204 } else { 404 };
                Ok(fetch::respond(status, &[], None))
            }
            VERIFY_URL => Ok(fetch::json(&context.verify(&hop).await?)),
            STOP_URL => {
                context.stop(&hop)?;
                Ok(fetch::respond(204, &[], None))
            }
            INTEREST_URL => {
                context.interest(&hop).await?;
                Ok(fetch::respond(204, &[], None))
            }
            EFFECTIVE_URL => Ok(fetch::json(&context.effective(&hop).await?)),
            _ => Ok(write(context.serve(&hop).await?)),
        }
    }
}

fn open(state: &State, env: &Env) -> Result<Context, Error> {
    let routers =
        env.durable_object("ROUTER").map_err(|error| failure("the binding ROUTER", &error))?;
    let database = Rc::new(Sqlite(state.storage().sql()));
    // The name begins with the user's own; it is the only thing an Agent needs of it.
    let router = match state.id().name() {
        Some(name) => name.split(':').next().unwrap_or_default().to_owned(),
        // An object that its alarm woke may not be told its name.
        None => stored(&*database)?.map(|key| key.user.object_name()).unwrap_or_default(),
    };
    let world = World { storage: Rc::new(state.storage()), routers, router, env: env.clone() };
    Ok(Context::new(Rc::new(config(env)?), database, Rc::new(world)))
}

/// Writes a reply.
///
/// # Errors
/// What the platform does not take.
pub fn write(reply: Reply) -> worker::Result<web_sys::Response> {
    match reply {
        Reply::Json { status: 200, body } => fetch::json(&body),
        // The entry says where such a credential is had.
        Reply::Json { status: 403, body } => {
            let headers = [
                ("content-type", "application/json"),
                ("www-authenticate", "Bearer error=\"insufficient_scope\""),
            ];
            fetch::respond(403, &headers, Some(&body))
        }
        Reply::Json { status, body } => {
            fetch::respond(status, &[("content-type", "application/json")], Some(&body))
        }
        Reply::Events(events) => fetch::stream(&fetch::EVENT_STREAM, events),
        Reply::Lines(lines) => fetch::stream(&[("content-type", LINES)], lines),
    }
}

/// A refused or failed hop. The router reads the error; no client does.
fn refuse(error: &Error) -> worker::Result<web_sys::Response> {
    let body = serde_json::to_string(error).unwrap_or_default();
    fetch::respond(500, &[(FAILED_HEADER, "1")], Some(&body))
}

/// The platform, as an Agent sees it.
#[derive(Debug)]
struct World {
    storage: Rc<Storage>,
    routers: ObjectNamespace,
    /// Name of the user's McpRouter.
    router: String,
    env: Env,
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

    fn spawn(&self, work: LocalBoxFuture<'static, ()>) {
        wasm_bindgen_futures::spawn_local(work);
    }

    fn wake(&self, at: Millis) -> LocalBoxFuture<'static, Result<(), Error>> {
        let storage = Rc::clone(&self.storage);
        Box::pin(async move {
            set_alarm(&storage, at).await.map_err(|error| failure("the alarm", &error))
        })
    }

    fn send(&self, request: Request) -> LocalBoxFuture<'static, Result<Response, String>> {
        Box::pin(outside::send(request))
    }

    fn secret(&self, name: &str) -> Option<String> {
        // It must be one: a variable in clear is none.
        variable(&self.env, name).filter(|secret| !secret.is_empty())
    }

    fn log(&self, error: &Error) {
        log("agent", error);
    }

    fn shared_notes(&self, request: notes::Request) -> LocalBoxFuture<'static, NotesAnswer> {
        let (routers, router) = (self.routers.clone(), self.router.clone());
        Box::pin(async move {
            let hop = NotesHop { user: user(&router)?, request, now: now() };
            let response = post(&routers, &router, NOTES_URL, &hop).await.map_err(no_notes)?;
            let text = fetch::text(response.text()).await.map_err(no_notes)?;
            serde_json::from_str::<NotesAnswer>(&text)
                .map_err(|error| Error::internal(format!("the router's answer: {error}")))?
        })
    }

    fn credential(
        &self,
        name: &str,
        rejected: Option<String>,
    ) -> LocalBoxFuture<'static, CredentialAnswer> {
        let (routers, router) = (self.routers.clone(), self.router.clone());
        let credential = name.to_owned();
        Box::pin(async move {
            let failed = |error: worker::Error| {
                let text = "your credentials cannot be reached now; try again";
                Error::new(Kind::Unavailable, text).with_detail(error.to_string())
            };
            let hop = CredentialHop { user: user(&router)?, credential, rejected };
            let response = post(&routers, &router, CREDENTIAL_URL, &hop).await.map_err(failed)?;
            let text = fetch::text(response.text()).await.map_err(failed)?;
            // What was said may hold a token: it is in no log.
            serde_json::from_str::<CredentialAnswer>(&text)
                .map_err(|error| Error::internal(format!("a credential: {:?}", error.classify())))?
        })
    }

    fn changed(
        &self,
        scope: &Scope,
        changes: Vec<Change>,
    ) -> LocalBoxFuture<'static, Result<(), Error>> {
        let (routers, router) = (self.routers.clone(), self.router.clone());
        let scope = scope.clone();
        Box::pin(async move {
            let hop = Changes { user: user(&router)?, scope, changes };
            let response = post(&routers, &router, CHANGES_URL, &hop).await;
            let response = response.map_err(|error| failure("telling changes", &error))?;
            match response.status() {
                204 => Ok(()),
                other => Err(Error::internal(format!("changes were refused with {other}"))),
            }
        })
    }
}

/// The user that a McpRouter is named after.
fn user(router: &str) -> Result<UserId, Error> {
    UserId::from_object_name(router)
        .ok_or_else(|| Error::internal("this Agent's name does not begin with a user"))
}

fn no_notes(error: worker::Error) -> Error {
    Error::new(Kind::Unavailable, "the shared notes cannot be reached now; try again")
        .with_detail(error.to_string())
}

/// Says something to the user's McpRouter.
async fn post(
    routers: &ObjectNamespace,
    router: &str,
    url: &str,
    hop: &impl Serialize,
) -> worker::Result<web_sys::Response> {
    let body = serde_json::to_string(hop)?;
    let router = routers.get_by_name(router)?.into_rpc();
    fetch::post(&router, url, &body).await
}
