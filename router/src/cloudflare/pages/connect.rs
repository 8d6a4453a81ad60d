//! Connecting a user's credentials at upstreams, as the platform brings and takes it. Nothing is
//! decided here. It must not know what is on a page, nor how anything is kept.

use super::Visited;
use crate::refusal::Refusal;
use identity::{
    account::{Reply, Request},
    connect::{self, Asked, CALLBACK},
    html,
    page::Page,
    signed::{SignedIn, is_genuine},
};
use shared::{Error, Kind, config::Credential};

/// Answers a visit.
///
/// # Errors
/// What failed.
pub(super) async fn serve(visited: &Visited<'_>) -> Result<Page, Refusal> {
    let asked = connect::asked(&visited.visit);
    if asked == Asked::Nothing {
        return Err(nothing());
    }
    let Some(signed) = visited.signed_in() else {
        return Ok(connect::sign_in(&visited.visit));
    };
    match asked {
        Asked::Callback { state, code, issuer, error } => {
            let request = Request::Connected { state, code, issuer, error };
            Ok(match visited.account(&signed.user, request).await {
                Ok(_) => connect::done(),
                Err(error) => trouble(&error),
            })
        }
        Asked::Credential(name) => {
            let credential = visited.deployment.config.credential(&name).ok_or_else(nothing)?;
            offer(visited, &signed, credential).await
        }
        Asked::Nothing => Err(nothing()),
    }
}

/// What is to be connected, or where a browser goes for it.
async fn offer(
    visited: &Visited<'_>,
    signed: &SignedIn,
    credential: &Credential,
) -> Result<Page, Refusal> {
    let visit = &visited.visit;
    if !visit.is_form {
        let toolsets = visited.deployment.config.toolsets_with(&credential.name);
        return Ok(connect::offer(visit, &signed.name, credential, &toolsets));
    }
    if !is_genuine(visit) {
        let text = "This form was not sent from a page of this site. Open the page and try again.";
        return Ok(html::trouble(403, "Not connected", text));
    }
    let redirect = format!("{}{CALLBACK}", visit.origin);
    let request = Request::Connect { credential: credential.name.clone(), redirect };
    Ok(match visited.account(&signed.user, request).await {
        Ok(Reply::Go(address)) => html::away(&address),
        Ok(_) => trouble(&Error::internal("a connection that leads nowhere")),
        Err(error) => trouble(&error),
    })
}

fn trouble(error: &Error) -> Page {
    let status = if error.kind == Kind::Internal { 500 } else { error.kind.row().status };
    html::trouble(status, "Not connected", &error.public)
}

fn nothing() -> Refusal {
    Refusal::NoSuchPath("there is nothing at this address".to_owned())
}
