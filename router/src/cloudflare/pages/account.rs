//! A user's own page, as the platform brings and takes it. It must not know what is on it.

use super::Visited;
use crate::{cloudflare::oauth, refusal::Refusal};
use identity::{
    account::{Reply, Request},
    grant::join,
    html,
    login::PATH as LOGIN,
    page::{Page, query},
    pages::account::{Notice, PATH, Wanted, page, place, wanted},
    signed::{SignedIn, is_genuine},
};
use shared::{Error, Kind, cloudflare::log};

/// Answers a visit.
///
/// # Errors
/// What failed.
pub(super) async fn serve(visited: &Visited<'_>) -> Result<Page, Refusal> {
    let visit = &visited.visit;
    if visit.path.trim_end_matches('/') != PATH {
        return Err(Refusal::NoSuchPath("there is nothing at this address".to_owned()));
    }
    let Some(signed) = visited.signed_in() else {
        return Ok(Page::go(&format!("{LOGIN}?{}", query(&[("then", PATH)]))));
    };
    if !visit.is_form {
        return show(visited, &signed, None).await;
    }
    if !is_genuine(visit) {
        let text = "This form is not from your page, or older than your login. Open your account \
                    and try again.";
        return Ok(html::trouble(403, "Nothing was done", text));
    }
    let levels = &visited.deployment.config.levels;
    let done = match wanted(visit, levels, visited.now) {
        Ok(wanted) => carried_out(visited, &signed, wanted).await,
        Err(mistake) => Err(Error::new(Kind::Invalid, mistake)),
    };
    match done {
        Ok(Reply::Key(key)) => show(visited, &signed, Some(Notice::Key(key))).await,
        Ok(Reply::Go(address)) => Ok(Page::go(&address)),
        Ok(Reply::Done | Reply::Overview(_)) => Ok(Page::go(&place(visit))),
        Err(error) => {
            if error.kind != Kind::Invalid {
                log("account", &error);
            }
            show(visited, &signed, Some(Notice::Mistake(error.public))).await
        }
    }
}

async fn carried_out(
    visited: &Visited<'_>,
    signed: &SignedIn,
    wanted: Wanted,
) -> Result<Reply, Error> {
    let grants = match wanted {
        Wanted::Ask(request) => return visited.account(&signed.user, request).await,
        Wanted::EndGrants(grants) => grants,
    };
    for grant in grants {
        // What runs by it first: from here on its tokens are refused, whoever still knows them.
        visited.account(&signed.user, Request::EndGrant { grant: grant.clone() }).await?;
        grant_ended(visited, signed, &grant).await?;
    }
    Ok(Reply::Done)
}

/// Where the authorization server is to be told that a grant of this user has ended, so that its
/// tokens are forgotten there, too.
async fn grant_ended(visited: &Visited<'_>, signed: &SignedIn, grant: &str) -> Result<(), Error> {
    oauth::revoke(visited.env, &visited.visit.origin, &signed.user, grant).await
}

async fn show(
    visited: &Visited<'_>,
    signed: &SignedIn,
    notice: Option<Notice>,
) -> Result<Page, Refusal> {
    match visited.account(&signed.user, Request::Overview).await? {
        Reply::Overview(mut overview) => {
            let origin = &visited.visit.origin;
            join(&mut overview, &oauth::grants(visited.env, origin, &signed.user).await?);
            Ok(page(&visited.visit, signed, &overview, visited.now, notice.as_ref()))
        }
        other => Err(Error::internal(format!("no overview, but {other:?}")).into()),
    }
}
