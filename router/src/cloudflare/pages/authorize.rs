//! Whether a client may act for a user, as the platform brings and takes it. Nothing is decided here:
//! `identity::consent` says what is shown and what an answer means, the library what is valid. It must not
//! know what is on the page.

use super::Visited;
use crate::{
    cloudflare::oauth::{Library, Step, read},
    refusal::Refusal,
};
use identity::{
    consent::{self, Answer, Asked, Shown},
    html,
    page::Page,
    signed::{self, SignedIn},
};
use shared::{Error, cloudflare::failure, scope::ROOT};
use worker::{
    js_sys::Reflect,
    wasm_bindgen::JsValue,
    web_sys::{Request, RequestInit},
};

/// Answers a visit.
///
/// # Errors
/// What failed.
pub(super) async fn serve(visited: &Visited<'_>) -> Result<Page, Refusal> {
    if visited.visit.path != "/authorize" {
        return Err(Refusal::NoSuchPath("there is nothing at this address".to_owned()));
    }
    let signed = visited.signed_in();
    let page = match (visited.visit.is_form, signed) {
        // Before anything is looked at: a stranger makes this site fetch nothing, and keep nothing.
        (false, None) => Ok(Page::go(&consent::sign_in(&visited.visit))),
        (false, Some(signed)) => ask(visited, &signed).await,
        (true, Some(signed)) if signed::is_genuine(&visited.visit) => take(visited, &signed).await,
        (true, _) => {
            Ok(again(403, "You are not signed in any more, or this was not sent from here."))
        }
    };
    Ok(page?)
}

/// The library for a resource, by its path.
fn library(visited: &Visited<'_>, path: &str) -> Result<Library, Error> {
    let origin = &visited.visit.origin;
    Library::of(visited.env, origin, &format!("{origin}{path}"))
}

/// The question.
async fn ask(visited: &Visited<'_>, signed: &SignedIn) -> Result<Page, Error> {
    let levels = &visited.deployment.config.levels;
    let asked = Asked::read(&visited.visit, levels);
    if asked.is_unanswerable() {
        return Ok(again(400, "This request says twice where it comes from or where it goes."));
    }
    let library = library(visited, &asked.scope.to_string())?;
    // The library compares the address with the one that it is known by.
    let request = at(visited.request, &asked.address)
        .map_err(|error| failure("an authorization request", &error.into()))?;
    let begin = async {
        let found = library.asked(&request).await?;
        if let Some(name) = &asked.repeated {
            return Ok(Err(consent::refusal(&read(&found)?, name)));
        }
        // First: where this fails, nothing is kept.
        let described = library.described(&found).await?;
        Ok(Ok((described, library.begin(&found).await?)))
    };
    let (described, step) = match begin.await {
        Ok(Ok(begun)) => begun,
        Ok(Err(address)) => return Ok(Page::go(&address)),
        Err(thrown) => return refused(&thrown),
    };
    let shown = Shown { described: &described, scope: &asked.scope, handle: &step.handle };
    Ok(tied(consent::page(&visited.visit, signed, levels, &shown), &step))
}

/// The same request, without its body, at another address.
fn at(request: &Request, address: &str) -> Result<Request, JsValue> {
    let init = RequestInit::new();
    init.set_headers(&request.headers());
    Request::new_with_str_and_init(address, &init)
}

/// The answer.
async fn take(visited: &Visited<'_>, signed: &SignedIn) -> Result<Page, Error> {
    let (visit, levels) = (&visited.visit, &visited.deployment.config.levels);
    let answer = match Answer::read(visit, levels) {
        Ok(answer) => answer,
        Err(text) => return Ok(html::trouble(400, "Go back and correct it", &text)),
    };
    let Some(allowed) = answer.allowed else {
        return Ok(match library(visited, ROOT)?.deny(visited.request, &answer.handle).await {
            Ok(step) => tied(html::away(&step.redirect), &step),
            Err(thrown) => return refused(&thrown),
        });
    };
    let library = library(visited, &allowed.shown.to_string())?;
    let complete = async {
        let step = library.approve(visited.request, &answer.handle).await?;
        let described = library.described(&step.request).await?;
        let request = read(&step.request)?;
        Ok(match allowed.grant(signed, &visit.origin, &request, &described) {
            Some(grant) => Some((library.complete(&grant).await?, step)),
            None => None,
        })
    };
    match complete.await {
        Ok(Some((done, step))) => Ok(tied(html::away(&done.redirect), &step)),
        Ok(None) => Ok(again(400, "The page was shown for another resource.")),
        Err(thrown) => refused(&thrown),
    }
}

/// The page with the cookie of a step.
fn tied(mut page: Page, step: &Step) -> Page {
    if !step.cookie.is_empty() {
        page.headers.push(("set-cookie", step.cookie.clone()));
    }
    page
}

fn again(status: u16, text: &str) -> Page {
    html::trouble(status, "Start again", &format!("{text} Start again from your client."))
}

/// What the library threw. The client hears of it where it is known whose address is redirected to, and
/// the user otherwise; what is neither's doing is a failure.
fn refused(thrown: &JsValue) -> Result<Page, Error> {
    let member = |name| Reflect::get(thrown, &JsValue::from_str(name)).ok()?.as_string();
    match (member("name").as_deref(), member("redirectTo")) {
        // Perhaps after the form by which somebody has signed in.
        (Some("AuthorizationError"), Some(address)) => Ok(html::away(&address)),
        (Some("AuthorizationError"), None) => {
            let text = member("description").unwrap_or_default();
            Ok(again(400, &format!("This request cannot be answered: {text}.")))
        }
        (Some("CimdFetchError"), _) => {
            Ok(again(400, "The client's description of itself cannot be read."))
        }
        _ => Err(failure("the authorization server", &thrown.clone().into())),
    }
}
