//! A code for tokens, tokens for newer ones (RFC 6749, 4.1.3 and 6), and tokens given back (RFC
//! 7009). It must not know where tokens are kept, nor when they are refreshed.

use super::{Attempt, object, registration::Client, text};
use serde_json::Value;
use shared::{
    limits,
    outside::{Answer, Request},
};

/// Tokens that were granted.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The access token.
    pub access: String,
    /// The refresh token. Where there is none in a refresh, the one before goes on being good.
    pub refresh: Option<String>,
    /// How long the access token is good, where that is said.
    pub lifetime_ms: Option<u64>,
    /// What was granted, where that is other than what was asked for.
    pub scope: Option<String>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("lifetime_ms", &self.lifetime_ms).finish_non_exhaustive()
    }
}

/// What a token endpoint answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Granted {
    /// Tokens.
    Tokens(Tokens),
    /// The grant is no good any more: its user has to let this program in again.
    Over,
    /// This program is not known there any more, or not by this secret.
    Stranger,
    /// No, for another reason, which is for the log.
    No(String),
    /// It cannot be told now: the same may be asked again.
    Later(String),
}

/// Asks for the tokens of a code.
#[must_use]
pub fn for_code(attempt: &Attempt, code: &str) -> Request {
    let fields = vec![
        ("grant_type", "authorization_code".to_owned()),
        ("code", code.to_owned()),
        ("redirect_uri", attempt.redirect.clone()),
        ("code_verifier", attempt.verifier.clone()),
        ("resource", attempt.resource.clone()),
    ];
    request(&attempt.token_endpoint, &attempt.client, fields)
}

/// Asks for newer tokens.
#[must_use]
pub fn for_refresh(endpoint: &str, client: &Client, refresh: &str, resource: &str) -> Request {
    let fields = vec![
        ("grant_type", "refresh_token".to_owned()),
        ("refresh_token", refresh.to_owned()),
        ("resource", resource.to_owned()),
    ];
    request(endpoint, client, fields)
}

/// Gives a token back (RFC 7009, 2.1). With a refresh token the access tokens go that came by it.
#[must_use]
pub fn for_revocation(endpoint: &str, client: &Client, token: &str, is_refresh: bool) -> Request {
    let kind = if is_refresh { "refresh_token" } else { "access_token" };
    let fields = vec![("token", token.to_owned()), ("token_type_hint", kind.to_owned())];
    request(endpoint, client, fields)
}

fn request(endpoint: &str, client: &Client, fields: Vec<(&'static str, String)>) -> Request {
    let mut fields = fields;
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut headers = vec![
        // Some would answer with a form.
        header("accept", "application/json"),
        header("content-type", "application/x-www-form-urlencoded"),
    ];
    client.sign(&mut fields, &mut headers);
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    Request { method: "POST", url: endpoint.to_owned(), headers, body: Some(body) }
}

/// Errors that say that a grant is over: the specification's word, and GitHub's.
const OVER: [&str; 2] = ["invalid_grant", "bad_refresh_token"];

/// Reads an answer (RFC 6749, 5.1 and 5.2). Some say what went wrong beside status 200.
#[must_use]
pub fn read(answer: &Answer) -> Granted {
    let status = answer.status;
    if matches!(status, 408 | 425 | 429 | 500..) {
        return Granted::Later(format!("HTTP status {status}"));
    }
    let Some(said) = object(answer) else {
        let why = format!("HTTP status {status}, and no JSON object");
        // Whatever it did, it cannot be heard.
        return if status < 400 { Granted::Later(why) } else { Granted::No(why) };
    };
    match text(&said, "error").as_deref() {
        Some(error) if OVER.contains(&error) => return Granted::Over,
        Some("invalid_client" | "unauthorized_client") => return Granted::Stranger,
        Some(error @ ("temporarily_unavailable" | "server_error" | "slow_down")) => {
            return Granted::Later(error.to_owned());
        }
        Some(error) => return Granted::No(shared::error::shown(error)),
        None if status == 200 => {}
        None => return Granted::No(format!("HTTP status {status}")),
    }
    let is_bearer = text(&said, "token_type").is_none_or(|of| of.eq_ignore_ascii_case("bearer"));
    let access = text(&said, "access_token").filter(|token| is_token(token));
    let Some(access) = access.filter(|_| is_bearer) else {
        return Granted::No("no bearer token that can be sent".to_owned());
    };
    let seconds = match said.get("expires_in") {
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64().or_else(|| value.as_f64().map(|seconds| seconds as u64)),
        None => None,
    };
    let lifetime_ms =
        seconds.map(|seconds: u64| seconds.saturating_mul(1000).min(limits::TOKEN_MS_MAX));
    let refresh = text(&said, "refresh_token");
    let refresh =
        refresh.filter(|token| !token.is_empty() && token.len() <= limits::GRANTED_BYTES_MAX);
    let scope = text(&said, "scope").map(|scope| shared::error::shown(&scope));
    Granted::Tokens(Tokens { access, refresh, lifetime_ms, scope })
}

/// Whether a header can carry it (RFC 6750, 2.1 allows less).
fn is_token(token: &str) -> bool {
    let is_visible = token.bytes().all(|byte| byte.is_ascii_graphic());
    is_visible && !token.is_empty() && token.len() <= limits::GRANTED_BYTES_MAX
}
