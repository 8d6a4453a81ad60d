//! The pages that people see, as the platform brings and takes them: reads a visit, finds whoever
//! answers it, writes the page. It must not know what is on a page.

mod account;
mod authorize;
mod connect;
mod login;

use super::entry::Deployment;
use crate::{
    auth::{METADATA, metadata},
    refusal::Refusal,
};
use identity::{
    account::{ACCOUNT_URL, Hop, Reply, Request, read_answer},
    keyring::{Fresh, KeyRing},
    page::{From, Page, Visit},
    signed::SignedIn,
};
use shared::{
    Error, Kind, Millis, Scope, UserId,
    cloudflare::{failure, fetch, log, now, random},
    limits,
};
use worker::{Env, web_sys};

/// A visit, and everything that answering it needs.
#[derive(Debug)]
pub(super) struct Visited<'a> {
    /// What the browser asks.
    pub(super) visit: Visit,
    /// The same as the platform has it, without its body.
    pub(super) request: &'a web_sys::Request,
    /// When.
    pub(super) now: Millis,
    /// The deployment's keys.
    pub(super) ring: &'a KeyRing,
    /// What the deployment is.
    pub(super) deployment: &'a Deployment,
    /// Its bindings.
    pub(super) env: &'a Env,
}

impl Visited<'_> {
    /// Whoever is signed in.
    pub(super) fn signed_in(&self) -> Option<SignedIn> {
        SignedIn::read(self.ring, &self.visit, self.now)
    }

    /// Fresh randomness.
    pub(super) fn fresh() -> Result<Fresh, Error> {
        random()
    }

    /// Asks a user's McpRouter. It is there once this was asked: ask it for nobody who has not
    /// proven to be that user.
    pub(super) async fn account(&self, user: &UserId, request: Request) -> Result<Reply, Error> {
        let hop = Hop { user: user.clone(), request };
        let body = hop.written()?;
        let failed = |error: worker::Error| failure("asking for an account", &error);
        let routers = &self.deployment.routers;
        let router = routers.get_by_name(&user.object_name()).map_err(failed)?.into_rpc();
        let response = fetch::post(&router, ACCOUNT_URL, &body).await.map_err(failed)?;
        let text = fetch::text(response.text()).await.map_err(failed)?;
        read_answer(&text)
    }
}

/// Whether a page is at this path, and not a transport of MCP.
pub(super) fn is_page(path: &str) -> bool {
    let at = |root: &str| {
        path.strip_prefix(root).is_some_and(|tail| tail.is_empty() || tail.starts_with('/'))
    };
    [METADATA, "/account", "/authorize", "/connect", "/login", "/logout"].into_iter().any(at)
}

/// Answers a visit.
///
/// # Errors
/// What kept it from being read.
pub(super) async fn serve(
    request: &web_sys::Request,
    deployment: &Deployment,
    env: &Env,
) -> Result<web_sys::Response, Refusal> {
    let page = match answer(request, deployment, env).await {
        Ok(page) => page,
        Err(Refusal::Below(error)) => {
            log("pages", &error);
            failed(&error)
        }
        Err(refusal) => return Err(refusal),
    };
    write(&page).map_err(|error| Refusal::Below(failure("writing a page", &error)))
}

async fn answer(
    request: &web_sys::Request,
    deployment: &Deployment,
    env: &Env,
) -> Result<Page, Refusal> {
    let url = request.url();
    if let Some(path) = crate::http::path(&url).strip_prefix(METADATA) {
        return resource(&url, path, request, deployment);
    }
    let nothing = || Refusal::NoSuchPath("there is nothing at this address".to_owned());
    // Without keys nobody can be signed in, and without an address of its own there is no site.
    let (Some(ring), Some(origin)) = (&deployment.ring, deployment.origin_of(&url)) else {
        return Err(nothing());
    };
    let visit = read(request, &url, origin).await?;
    let root = visit.path.split('/').nth(1).unwrap_or_default().to_owned();
    let visited = Visited { visit, request, now: now(), ring, deployment, env };
    match root.as_str() {
        "account" => account::serve(&visited).await,
        "authorize" => authorize::serve(&visited).await,
        "connect" => connect::serve(&visited).await,
        "login" | "logout" => login::serve(&visited).await,
        _ => Err(nothing()),
    }
}

/// The metadata of a resource. What is no scope is no resource.
fn resource(
    url: &str,
    path: &str,
    request: &web_sys::Request,
    deployment: &Deployment,
) -> Result<Page, Refusal> {
    let nothing = || Refusal::NoSuchPath("there is no resource at this address".to_owned());
    let origin = deployment.origin_of(url).filter(|_| deployment.ring.is_some());
    // Clients that look at the root look for what is at the root.
    let path = if path.is_empty() { "/mcp" } else { path };
    let scope = Scope::parse_path(path, &deployment.config.levels).map_err(|_| nothing())?;
    match request.method().as_str() {
        "GET" | "HEAD" => {}
        _ => return Err(Refusal::MethodNotAllowed("GET")),
    }
    let issuers = deployment.config.people.issuers.iter().map(|issuer| issuer.issuer.clone());
    let issuers: Vec<_> = issuers.collect();
    Ok(Page::document(metadata(&origin.ok_or_else(nothing)?, &scope, &issuers)))
}

async fn read(request: &web_sys::Request, url: &str, origin: String) -> Result<Visit, Refusal> {
    let headers = request.headers();
    let header = |name: &str| headers.get(name).ok().flatten();
    let is_form = match request.method().as_str() {
        "GET" | "HEAD" => false,
        "POST" => true,
        _ => return Err(Refusal::MethodNotAllowed("GET, POST")),
    };
    let length = header("content-length").and_then(|length| length.parse::<usize>().ok());
    let form = match is_form {
        // Browsers say how long a form is.
        true if length.is_none_or(|length| length > limits::FORM_BYTES_MAX) => {
            return Err(Refusal::TooLarge(limits::FORM_BYTES_MAX));
        }
        true => {
            let copy = request.clone().map_err(|error| failure("a form", &error.into()))?;
            let text = fetch::text(copy.text()).await;
            text.map_err(|error| failure("reading a form", &error))?
        }
        false => String::new(),
    };
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    Ok(Visit {
        is_form,
        origin,
        path: crate::http::path(address).to_owned(),
        query: query.split('#').next().unwrap_or_default().to_owned(),
        form,
        cookie: header("cookie").unwrap_or_default(),
        from: From { origin: header("origin"), site: header("sec-fetch-site") },
    })
}

/// What is shown where something failed.
fn failed(error: &Error) -> Page {
    let row = error.kind.row();
    let status = if error.kind == Kind::Internal { 500 } else { row.status };
    Page {
        status,
        headers: vec![
            ("content-type", "text/plain; charset=utf-8".to_owned()),
            ("cache-control", "no-store".to_owned()),
        ],
        body: error.public.clone().into(),
    }
}

/// Writes a page. A cookie has a header of its own.
pub(super) fn write(page: &Page) -> worker::Result<web_sys::Response> {
    let headers = web_sys::Headers::new()?;
    page.headers.iter().try_for_each(|(name, value)| headers.append(name, value))?;
    let init = web_sys::ResponseInit::new();
    init.set_status(page.status);
    init.set_headers(&headers);
    let body = (!page.body.is_empty()).then_some(page.body.as_ref());
    Ok(web_sys::Response::new_with_opt_str_and_init(body, &init)?)
}
