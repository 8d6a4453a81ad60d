//! Whose a credential is that is no key of the configuration: a personal key, a token of ours, or one of
//! an authorization server that is trusted. What was found is good for some seconds in this isolate;
//! that it was revoked meanwhile its user's McpRouter knows. It must not know requests.

use super::{entry::Deployment, external, oauth};
use crate::{
    auth::{Identity, Shown, Token},
    refusal::Refusal,
};
use identity::{caller::Credential, external::External, grant, key};
use sha2::{Digest as _, Sha256};
use shared::{Error, Millis, Scope, cloudflare::now, limits};
use std::{cell::RefCell, collections::HashMap};
use worker::Env;

/// What a credential was found to be, wherever it is good.
#[derive(Debug, Clone)]
enum Found {
    Key(key::Grant),
    Token(Token),
}

type Cache = HashMap<[u8; 32], (Found, Millis)>;

thread_local! {
    /// By the digest of the credential, and until when.
    static FOUND: RefCell<Cache> = RefCell::default();
}

/// Whose a credential is, if it is good at this scope.
///
/// # Errors
/// [`Refusal::Unauthenticated`], [`Refusal::InsufficientScope`], and what could not be found out.
pub(super) async fn proven(
    text: &str,
    url: &str,
    scope: &Scope,
    deployment: &Deployment,
    env: &Env,
) -> Result<Identity, Refusal> {
    if text.len() > limits::CREDENTIAL_BYTES_MAX {
        return Err(Refusal::Unauthenticated);
    }
    let origin = deployment.origin_of(url).ok_or(Refusal::Unauthenticated)?;
    let now = now();
    // A token may be for several resources, and is looked at as one for this.
    let digest: [u8; 32] = Sha256::digest(format!("{text}\n{scope}").as_bytes()).into();
    let kept = FOUND.with_borrow(|all| all.get(&digest).cloned());
    let found = match kept {
        Some((found, until)) if now < until => found,
        _ => {
            let found = find(text, &origin, scope, deployment, env).await?;
            let found = found.ok_or(Refusal::Unauthenticated)?;
            FOUND.with_borrow_mut(|all| keep(all, digest, &found, now));
            found
        }
    };
    let shown = Shown { origin: &origin, scope, levels: &deployment.config.levels, now };
    match found {
        Found::Key(grant) => Identity::of_key(&grant, shown),
        Found::Token(token) => Identity::of_token(token, shown),
    }
}

fn keep(all: &mut Cache, digest: [u8; 32], found: &Found, now: Millis) {
    if all.len() >= limits::CREDENTIALS_CACHED_MAX {
        all.retain(|_, (_, until)| now < *until);
    }
    if all.len() < limits::CREDENTIALS_CACHED_MAX {
        all.insert(digest, (found.clone(), now.after(limits::CREDENTIAL_CACHED_MS)));
    }
}

/// Finds out what a credential is; `None` for what is none.
async fn find(
    text: &str,
    origin: &str,
    scope: &Scope,
    deployment: &Deployment,
    env: &Env,
) -> Result<Option<Found>, Error> {
    if let Some(ring) = &deployment.ring {
        if text.starts_with(key::PREFIX) {
            return Ok(key::read(ring, text).map(Found::Key));
        }
        if let Some(token) = oauth::token(env, origin, text).await? {
            let grant::Token { user, client, grant, audience, narrowed, scopes, expires } = token;
            let credential = Credential::Grant { client, grant };
            let audience = Some(audience);
            let token = Token { user, credential, audience, narrowed, scopes, expires };
            return Ok(Some(Found::Token(token)));
        }
    }
    let token = external::token(deployment, text, origin, &scope.to_string()).await?;
    Ok(token.map(|External { user, client, audience, scopes, expires }| {
        let credential = Credential::External { client };
        // What is no address here is what the operator says this deployment is called.
        let path = audience.strip_prefix(origin).unwrap_or_default();
        let is_address = Scope::parse_path(path, &deployment.config.levels)
            .is_ok_and(|scope| scope.to_string() == path);
        let audience = Some(audience).filter(|_| is_address);
        Found::Token(Token { user, credential, audience, narrowed: None, scopes, expires })
    }))
}
