//! The Worker's entry: admits a request, asks whose it is, and hands it over to that user's
//! McpRouter. Holds nothing but what it read of the configuration. It must not know messages or
//! sessions.

use super::{edge, pages, proven::proven, write};
use crate::{
    auth::{Keys, METADATA, bearer, challenge},
    cors,
    http::{
        self, Address, Admission, Admitted, Arrival, Reply, admit, check_host, list,
        loopback_origin,
    },
    refusal::Refusal,
};
use identity::keyring::KeyRing;
use shared::{
    Error,
    cloudflare::{
        config as read_config, failure,
        fetch::{self, Stub},
        log, queue_by_promise, variable,
    },
    config::{self, Config},
    hop::{LISTEN_HEADER, LISTEN_URL},
};
use std::{cell::OnceCell, rc::Rc};
use worker::{Context, Env, ObjectNamespace, event, web_sys, worker_sys::ext::ResponseExt as _};

/// What the entry knows: read once per isolate, because nothing of it changes in one.
#[derive(Debug)]
pub(super) struct Deployment {
    pub(super) config: Config,
    keys: Keys,
    admission: Admission,
    pub(super) routers: ObjectNamespace,
    /// The deployment's own keys; without them there are no pages and no tokens.
    pub(super) ring: Option<KeyRing>,
    /// Scheme and authority that clients and browsers know it by.
    origin: Option<String>,
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
        let routers =
            env.durable_object("ROUTER").map_err(|error| failure("the binding ROUTER", &error))?;
        let ring = match text("KEYRING").as_str() {
            "" => None,
            text => Some(KeyRing::parse(text).map_err(|e| Error::internal(e.to_string()))?),
        };
        let origin = match text("ORIGIN").as_str() {
            "" => None,
            text => Some(read_origin(text)?),
        };
        Ok(Self { config: read_config(env)?, keys, admission, routers, ring, origin })
    }

    /// Scheme and authority that this deployment is known by, for a request to this URL: what the
    /// operator says, or on this machine's loopback interface whatever was asked.
    pub(super) fn origin_of(&self, url: &str) -> Option<String> {
        self.origin.clone().or_else(|| loopback_origin(url).map(ToOwned::to_owned))
    }

    fn of(env: &Env) -> Result<Rc<Self>, Error> {
        DEPLOYMENT.with(|cell| cell.get_or_init(|| Self::read(env).map(Rc::new)).clone())
    }
}

/// `ORIGIN`: `https://` and a host, perhaps a port.
fn read_origin(text: &str) -> Result<String, Error> {
    let address = config::Address::parse(text, false);
    match address.ok().filter(|address| address.origin == text) {
        Some(address) => Ok(address.origin),
        None => Err(Error::internal("ORIGIN: it is https:// and a host in lower case, no more")),
    }
}

#[event(fetch, respond_with_errors)]
async fn fetch(
    request: web_sys::Request,
    env: Env,
    _context: Context,
) -> worker::Result<web_sys::Response> {
    let deployment = match Deployment::of(&env) {
        Ok(deployment) => deployment,
        Err(error) => return refuse(&Refusal::Below(error)),
    };
    if pages::is_page(http::path(&request.url())) {
        return match visit(&request, &deployment, &env).await {
            Ok(response) => Ok(response),
            Err(refusal) => refuse(&refusal),
        };
    }
    let origin = request.headers().get("origin")?;
    let response = match route(&request, origin.as_deref(), &deployment, &env).await {
        Ok(Way::Router { router, caller, is_length_known }) => {
            match send(&router, &request, &caller, is_length_known).await {
                Ok(response) => response,
                Err(refusal) => refuse(&refusal)?,
            }
        }
        Ok(Way::Preflight(reply)) => return write(&reply),
        Err(refusal @ (Refusal::ForeignOrigin | Refusal::ForeignHost)) => return refuse(&refusal),
        Err(refusal) => refuse(&refusal)?,
    };
    let response = match response.status() {
        401 | 403 => challenged(&request, response, &deployment)?,
        _ => response,
    };
    let Some(origin) = origin else {
        return Ok(response);
    };
    let headers = cors::headers(&origin);
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    fetch::with_headers(&response, &headers)
}

/// A browser asks for a page.
async fn visit(
    request: &web_sys::Request,
    deployment: &Deployment,
    env: &Env,
) -> Result<web_sys::Response, Refusal> {
    check_host(&request.url(), &deployment.admission)?;
    pages::serve(request, deployment, env).await
}

/// Says in a refusal where a credential is had that would be good.
fn challenged(
    request: &web_sys::Request,
    response: web_sys::Response,
    deployment: &Deployment,
) -> worker::Result<web_sys::Response> {
    let url = request.url();
    let origin = deployment.origin_of(&url).filter(|_| deployment.ring.is_some());
    let address = Address::parse(&url, &deployment.config.levels);
    // Other refusals have no such header.
    let (Some(origin), Ok(address), Some(_)) =
        (origin, address, response.headers().get("www-authenticate")?)
    else {
        return Ok(response);
    };
    let metadata = format!("{origin}{METADATA}{}", address.scope);
    let error = match response.status() {
        403 => Some("insufficient_scope"),
        _ => request.headers().get("authorization")?.map(|_| "invalid_token"),
    };
    let challenge = challenge(error, Some(&metadata));
    fetch::with_headers(&response, &[("www-authenticate", &challenge)])
}

/// Where a request goes.
enum Way {
    /// To its user's McpRouter.
    Router {
        /// It.
        router: Stub,
        /// What the request proved, as a line.
        caller: String,
        /// Whether the client says how long the body is.
        is_length_known: bool,
    },
    /// Back: a browser asks what a page may send.
    Preflight(Reply),
}

/// Decides whose request this is and finds their McpRouter.
async fn route(
    request: &web_sys::Request,
    origin: Option<&str>,
    deployment: &Deployment,
    env: &Env,
) -> Result<Way, Refusal> {
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
    let Admitted { loopback, address, .. } =
        admit(&arrival, &deployment.admission, &deployment.config.levels)?;
    if let (Some(_), Some(origin)) = (announced, origin) {
        let requested = header("access-control-request-headers").unwrap_or_default();
        return Ok(Way::Preflight(cors::preflight(origin, &requested)));
    }
    let authorization = header("authorization");
    let identity = match deployment.keys.identify(authorization.as_deref(), loopback) {
        Ok(identity) => identity,
        Err(refusal) => {
            let token = authorization.as_deref().and_then(bearer).ok_or(refusal)?;
            proven(token, &url, &address.scope, deployment, env).await?
        }
    };
    let stub = deployment.routers.get_by_name(&identity.user.object_name());
    let router = stub.map_err(edge::unavailable)?.into_rpc();
    let caller = identity.caller.line();
    Ok(Way::Router { router, caller, is_length_known: length.is_some() })
}

/// Hands the request over, and the response back as it came, or holds the stream that the router
/// asks for.
async fn send(
    router: &Stub,
    request: &web_sys::Request,
    caller: &str,
    is_length_known: bool,
) -> Result<web_sys::Response, Refusal> {
    let response = edge::hand_over(router, request, caller, is_length_known).await?;
    if response.status() == 204
        && let Ok(Some(event)) = response.headers().get(LISTEN_HEADER)
    {
        return listen(router, &event).await.map_err(edge::unavailable);
    }
    Ok(response)
}

/// Holds a client's stream: a router that held it itself could never sleep.
async fn listen(router: &Stub, event: &str) -> worker::Result<web_sys::Response> {
    let headers = web_sys::Headers::new()?;
    headers.set("upgrade", "websocket")?;
    headers.set(LISTEN_HEADER, event)?;
    let init = web_sys::RequestInit::new();
    init.set_headers(&headers);
    let response = fetch::send(router, LISTEN_URL, &init).await?;
    let Some(socket) = response.websocket() else {
        return Ok(response);
    };
    let headers = web_sys::Headers::new()?;
    fetch::EVENT_STREAM.iter().try_for_each(|(name, value)| headers.set(name, value))?;
    let init = web_sys::ResponseInit::new();
    init.set_headers(&headers);
    let body = edge::body(&socket)?;
    Ok(web_sys::Response::new_with_opt_readable_stream_and_init(Some(&body), &init)?)
}

fn refuse(refusal: &Refusal) -> worker::Result<web_sys::Response> {
    if let Refusal::Below(error) = refusal {
        log("entry", error);
    }
    write(&refusal.reply(None, false))
}
