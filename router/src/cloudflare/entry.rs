//! The Worker's entry: admits a request, asks whose it is, and hands it to that user's McpRouter
//! as it came. Holds nothing but what it read of the configuration. It must not know messages or
//! sessions.

use super::write;
use crate::{
    auth::Keys,
    http::{Admission, Admitted, Arrival, admit, list},
    refusal::Refusal,
};
use shared::{
    Error, Kind,
    cloudflare::{config, log, queue_by_promise, variable},
    config::Config,
};
use std::{cell::OnceCell, rc::Rc};
use worker::{
    Context, Env, event,
    js_sys::futures::JsFuture,
    wasm_bindgen::{JsCast as _, JsValue},
    web_sys,
    worker_sys::DurableObject,
};

/// What the entry knows: read once per isolate, because nothing of it changes in one.
#[derive(Debug)]
struct Deployment {
    config: Config,
    keys: Keys,
    admission: Admission,
}

thread_local! {
    static DEPLOYMENT: OnceCell<Result<Rc<Deployment>, Error>> = const { OnceCell::new() };
}

impl Deployment {
    fn read(env: &Env) -> Result<Self, Error> {
        queue_by_promise();
        let text = |name| variable(env, name).unwrap_or_default();
        let keys = Keys::parse(&text("API_KEYS"), &text("DEV_KEYS"), &text("DEV_USER"))
            .map_err(|error| Error::internal(error.to_string()))?;
        let admission = Admission {
            hosts: list(&text("ALLOWED_HOSTS")),
            origins: list(&text("ALLOWED_ORIGINS")),
        };
        Ok(Self { config: config(env)?, keys, admission })
    }

    fn of(env: &Env) -> Result<Rc<Self>, Error> {
        DEPLOYMENT.with(|cell| cell.get_or_init(|| Self::read(env).map(Rc::new)).clone())
    }
}

#[event(fetch, respond_with_errors)]
async fn fetch(
    request: web_sys::Request,
    env: Env,
    _context: Context,
) -> worker::Result<web_sys::Response> {
    match route(&request, &env) {
        Ok(router) => match send(&router, &request).await {
            Ok(response) => Ok(response),
            Err(error) => refuse(&unavailable(&error)),
        },
        Err(refusal) => refuse(&refusal),
    }
}

/// Decides whose request this is and finds their McpRouter.
fn route(request: &web_sys::Request, env: &Env) -> Result<DurableObject, Refusal> {
    let deployment = Deployment::of(env)?;
    let headers = request.headers();
    let header = |name| headers.get(name).ok().flatten();
    let (url, method) = (request.url(), request.method());
    let (origin, length) = (header("origin"), header("content-length"));
    let arrival = Arrival {
        url: &url,
        method: &method,
        origin: origin.as_deref(),
        content_length: length.as_deref(),
    };
    let Admitted { loopback, .. } =
        admit(&arrival, &deployment.admission, &deployment.config.levels)?;
    let identity = deployment.keys.identify(header("authorization").as_deref(), loopback)?;
    let stub = env
        .durable_object("ROUTER")
        .and_then(|routers| routers.get_by_name(&identity.user.object_name()));
    Ok(stub.map_err(|error| unavailable(&error.into()))?.into_rpc())
}

/// Hands the request on as it came, and the response back as it came.
async fn send(
    router: &DurableObject,
    request: &web_sys::Request,
) -> Result<web_sys::Response, JsValue> {
    let response = JsFuture::from(router.fetch_with_request(request)?).await?;
    response.dyn_into()
}

fn unavailable(error: &JsValue) -> Refusal {
    let text = "this user's router cannot be reached now; try again";
    Refusal::Below(Error::new(Kind::Unavailable, text).with_detail(format!("{error:?}")))
}

fn refuse(refusal: &Refusal) -> worker::Result<web_sys::Response> {
    if let Refusal::Below(error) = refusal {
        log("entry", error);
    }
    write(&refusal.reply(None, false))
}
