//! Access tokens of authorization servers that the operator trusts, as the platform checks them.
//! Nothing is decided here. It must not know requests.

use super::{entry::Deployment, issuers};
use identity::{
    external::{External, proven},
    jwt::{Token, is_like},
};
use shared::{Error, cloudflare::now};

/// What a bearer token proves, if it is one of a server that the operator trusts, and good at this
/// path of a scope (`/mcp/acme`). `None` for any other text.
///
/// # Errors
/// Its server's keys cannot be had, so nobody knows.
pub(super) async fn token(
    deployment: &Deployment,
    token: &str,
    resource_origin: &str,
    path: &str,
) -> Result<Option<External>, Error> {
    let config = &deployment.config;
    let issuers = &config.people.issuers;
    if issuers.is_empty() || !is_like(token) {
        return Ok(None);
    }
    let Ok(token) = Token::read(token) else {
        return Ok(None);
    };
    // All that costs nothing is looked at first, so that nobody makes us ask for keys who could not
    // be let in by them.
    let Ok((issuer, external)) = proven(issuers, &token, resource_origin, path, now()) else {
        return Ok(None);
    };
    let keys = issuers::keys_of(issuer, config.is_development).await?;
    Ok(issuers::check(&token, &keys).await?.ok().map(|()| external))
}
