//! Logging in at an upstream on a user's behalf: OAuth as its client, one step at a time. Each step
//! is a request, or what an answer says; whoever takes them sends the requests between. It must not
//! know where tokens are kept.
//!
//! # Layout, in reading order
//! - [`discovery`]: which authorization server an MCP server has, and where its endpoints are
//! - [`registration`]: who this program is there
//! - this file: sending a browser there, and what it comes back with
//! - [`tokens`]: a code for tokens, and tokens for newer ones

pub mod discovery;

pub mod registration;

pub mod tokens;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use discovery::Server;
use registration::Client;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use shared::{Error, Kind, config::Address, error::shown, outside::Answer};

/// A connection that was begun: what is needed when the browser comes back. The verifier in it is
/// a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The credential's name.
    pub credential: String,
    /// What that credential was when it was begun (`config::Credential::fingerprint`).
    pub fingerprint: String,
    /// The code verifier (RFC 7636).
    pub verifier: String,
    /// Where the browser comes back to.
    pub redirect: String,
    /// What tokens are to be good for (RFC 8707).
    pub resource: String,
    /// The issuer, where it is known.
    pub issuer: Option<String>,
    /// Whether the server says that it names itself when it sends a browser back (RFC 9207).
    pub names_itself: bool,
    /// Where tokens are had.
    pub token_endpoint: String,
    /// Where they are given back, where that is known.
    #[serde(default)]
    pub revocation_endpoint: Option<String>,
    /// Who this program is there.
    pub client: Client,
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt").field("credential", &self.credential).finish_non_exhaustive()
    }
}

/// What a browser came back with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Returned {
    /// `code`.
    pub code: Option<String>,
    /// `iss` (RFC 9207).
    pub issuer: Option<String>,
    /// `error`.
    pub error: Option<String>,
}

/// A text that nobody guesses, from fresh randomness: a state, or a verifier (RFC 7636, 4.1).
#[must_use]
pub fn unguessable(fresh: [u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(fresh)
}

/// What is kept or sent in the place of such a text (RFC 7636, 4.2: S256).
#[must_use]
pub fn digest(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes()))
}

/// Where a browser goes to let this program in (RFC 6749, 4.1.1; RFC 7636, 4.3; RFC 8707, 2.1).
#[must_use]
pub fn authorization_address(
    server: &Server,
    attempt: &Attempt,
    state: &str,
    scopes: &[String],
) -> String {
    let scope = scopes.join(" ");
    let challenge = digest(&attempt.verifier);
    let mut pairs = vec![
        ("response_type", "code"),
        ("client_id", &attempt.client.id),
        ("redirect_uri", &attempt.redirect),
        ("state", state),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("resource", &attempt.resource),
    ];
    if !scope.is_empty() {
        pairs.push(("scope", &scope));
    }
    // Only then is it given where it is not given always (OpenID Connect Core, 11).
    if scopes.iter().any(|scope| scope == OFFLINE) {
        pairs.push(("prompt", "consent"));
    }
    let joint = if server.authorization.contains('?') { '&' } else { '?' };
    format!("{}{joint}{}", server.authorization, crate::page::query(&pairs))
}

/// The scope by which refresh tokens are asked for where they are not given always.
const OFFLINE: &str = "offline_access";

/// What is asked for: what the operator says, else what the server's challenge says, else all that
/// its metadata names (MCP, authorization: scope selection strategy). Refresh tokens, too, where
/// that is a matter of scope.
#[must_use]
pub fn scopes(
    configured: &[String],
    challenged: Option<&str>,
    resource: &[String],
    server: &Server,
) -> Vec<String> {
    if !configured.is_empty() {
        return configured.to_vec();
    }
    let mut scopes = match challenged {
        Some(scope) => scope.split_ascii_whitespace().map(ToOwned::to_owned).collect(),
        None => resource.to_vec(),
    };
    let offers = server.scopes.iter().any(|scope| scope == OFFLINE);
    if offers && !scopes.is_empty() && !scopes.iter().any(|scope| scope == OFFLINE) {
        scopes.push(OFFLINE.to_owned());
    }
    scopes.truncate(shared::limits::CREDENTIAL_SCOPES_MAX);
    scopes
}

/// The code that a browser came back with, if it comes from the server that it was sent to.
///
/// # Errors
/// Why there is none, for the user. Whoever else sent the browser learns nothing (RFC 9207, 2.4).
pub fn code(attempt: &Attempt, returned: &Returned) -> Result<String, Error> {
    let foreign = || {
        let text = "another authorization server sent you back than the one that you were sent to; \
                    nothing was connected";
        Error::new(Kind::Forbidden, text)
    };
    match (&returned.issuer, &attempt.issuer) {
        (Some(said), Some(known)) if !discovery::is_same_issuer(said, known) => {
            return Err(foreign());
        }
        (None, Some(_)) if attempt.names_itself => return Err(foreign()),
        _ => {}
    }
    if let Some(error) = &returned.error {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let error: String = shown(error).chars().filter(|c| is_plain(*c)).collect();
        let text = format!("the authorization server did not let this site in ({error})");
        return Err(Error::new(Kind::Forbidden, text));
    }
    let code = returned.code.clone().filter(|code| !code.is_empty());
    let code = code.filter(|code| code.len() <= shared::limits::GRANTED_BYTES_MAX);
    code.ok_or_else(|| Error::new(Kind::Invalid, "the authorization server sent no code"))
}

/// What an answer says, where it is a JSON object.
fn object(answer: &Answer) -> Option<Value> {
    serde_json::from_str(&answer.body).ok().filter(Value::is_object)
}

/// A member that is a text.
fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(ToOwned::to_owned)
}

/// Members of a member that are texts.
fn texts(value: &Value, name: &str) -> Vec<String> {
    let items = value.get(name).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}

/// A member that is an address which may be asked.
fn address(value: &Value, name: &str, is_development: bool) -> Option<String> {
    text(value, name).filter(|text| Address::parse(text, is_development).is_ok())
}

#[cfg(test)]
mod tests;
