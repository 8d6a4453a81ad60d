//! The Worker's entry: admits a request, asks whose it is, and hands it to that user's McpRouter
//! as it came. Holds nothing but what it read of the configuration. It must not know messages or
//! sessions.

use super::{edge, write};
use crate::{
    auth::Keys,
    cors,
    http::{Admission, Admitted, Arrival, Reply, admit, list},
    refusal::Refusal,
};
use shared::{
    Error, Kind,
    cloudflare::{config, fetch, log, queue_by_promise, variable},
    config::Config,
    hop::{LISTEN_HEADER, LISTEN_URL},
};
use std::{cell::OnceCell, rc::Rc};
use worker::{
    Context, Env, event,
    js_sys::futures::JsFuture,
    wasm_bindgen::{JsCast as _, JsValue},
    web_sys,
    worker_sys::{DurableObject, ext::ResponseExt as _},
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
    let origin = request.headers().get("origin")?;
    let response = match route(&request, origin.as_deref(), &env) {
        Ok(Way::Router(router)) => match send(&router, &request).await {
            Ok(response) => response,
            Err(error) => refuse(&unavailable(&error))?,
        },
        Ok(Way::Preflight(reply)) => return write(&reply),
        Err(refusal @ (Refusal::ForeignOrigin | Refusal::ForeignHost)) => return refuse(&refusal),
        Err(refusal) => refuse(&refusal)?,
    };
    let Some(origin) = origin else {
        return Ok(response);
    };
    let headers = cors::headers(&origin);
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    fetch::with_headers(&response, &headers)
}

/// Where a request goes.
enum Way {
    /// To its user's McpRouter.
    Router(DurableObject),
    /// Back: a browser asks what a page may send.
    Preflight(Reply),
}

/// Decides whose request this is and finds their McpRouter.
fn route(request: &web_sys::Request, origin: Option<&str>, env: &Env) -> Result<Way, Refusal> {
    let deployment = Deployment::of(env)?;
    let headers = request.headers();
    let header = |name| headers.get(name).ok().flatten();
    let (url, method) = (request.url(), request.method());
    let length = header("content-length");
    // A preflight is admitted as what it announces. It carries no credential.
    let announced = match method.as_str() {
        "OPTIONS" if origin.is_some() => header("access-control-request-method"),
        _ => None,
    };
    let arrival = Arrival {
        url: &url,
        method: announced.as_deref().unwrap_or(&method),
        origin,
        content_length: length.as_deref(),
    };
    let Admitted { loopback, .. } =
        admit(&arrival, &deployment.admission, &deployment.config.levels)?;
    if let (Some(_), Some(origin)) = (announced, origin) {
        let requested = header("access-control-request-headers").unwrap_or_default();
        return Ok(Way::Preflight(cors::preflight(origin, &requested)));
    }
    let identity = deployment.keys.identify(header("authorization").as_deref(), loopback)?;
    let stub = env
        .durable_object("ROUTER")
        .and_then(|routers| routers.get_by_name(&identity.user.object_name()));
    Ok(Way::Router(stub.map_err(|error| unavailable(&error.into()))?.into_rpc()))
}

/// Hands the request on as it came, and the response back as it came, or holds the stream that the
/// router asks for.
async fn send(
    router: &DurableObject,
    request: &web_sys::Request,
) -> Result<web_sys::Response, JsValue> {
    let response = JsFuture::from(router.fetch_with_request(request)?).await?;
    let response: web_sys::Response = response.dyn_into()?;
    if response.status() == 204
        && let Some(event) = response.headers().get(LISTEN_HEADER)?
    {
        return listen(router, &event).await;
    }
    Ok(response)
}

/// Holds a client's stream: a router that held it itself could never sleep.
async fn listen(router: &DurableObject, event: &str) -> Result<web_sys::Response, JsValue> {
    let headers = web_sys::Headers::new()?;
    headers.set("upgrade", "websocket")?;
    headers.set(LISTEN_HEADER, event)?;
    let init = web_sys::RequestInit::new();
    init.set_headers(&headers);
    let request = web_sys::Request::new_with_str_and_init(LISTEN_URL, &init)?;
    let response = JsFuture::from(router.fetch_with_request(&request)?).await?;
    let response: web_sys::Response = response.dyn_into()?;
    let Some(socket) = response.websocket() else {
        return Ok(response);
    };
    let headers = web_sys::Headers::new()?;
    fetch::EVENT_STREAM.iter().try_for_each(|(name, value)| headers.set(name, value))?;
    let init = web_sys::ResponseInit::new();
    init.set_headers(&headers);
    let body = edge::body(&socket)?;
    web_sys::Response::new_with_opt_readable_stream_and_init(Some(&body), &init)
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
