//! Who this program is at an authorization server: configured, or registered by itself (RFC 7591).
//! It must not know where a registration is kept.

use super::{discovery::Server, object, text};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::{
    Error, Kind, Millis,
    outside::{Answer, Request},
};

/// How a client proves at the token endpoint who it is (RFC 7591, 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// `none`: PKCE is all there is.
    None,
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
}

impl Method {
    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Basic => "client_secret_basic",
            Self::Post => "client_secret_post",
        }
    }

    /// How to, where there is a secret. Who says nothing of it knows the first (RFC 8414, 2); of one
    /// whose endpoints an operator wrote down nothing is known, and the body is what most read.
    fn of(server: &Server) -> Self {
        match &server.methods {
            None if server.issuer.is_none() => Self::Post,
            None => Self::Basic,
            Some(methods) => {
                let all = [Self::Basic, Self::Post, Self::None];
                let known = |method: &Self| methods.iter().any(|name| name == method.name());
                all.into_iter().find(known).unwrap_or(Self::Basic)
            }
        }
    }
}

/// A client of an authorization server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its id.
    pub id: String,
    /// Its secret, if it has one.
    pub secret: Option<String>,
    /// How it proves who it is.
    pub method: Method,
    /// From when on the registration is good no more (RFC 7591, 3.2.1).
    pub expires: Option<Millis>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Client {
    /// One that the operator configured.
    #[must_use]
    pub fn configured(server: &Server, id: &str, secret: Option<String>) -> Self {
        let method = if secret.is_some() { Method::of(server) } else { Method::None };
        Self { id: id.to_owned(), secret, method, expires: None }
    }

    /// Whether it is good at this time.
    #[must_use]
    pub fn is_good(&self, now: Millis) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// Adds who it is to a request to the token endpoint (RFC 6749, 2.3.1).
    pub(super) fn sign(
        &self,
        fields: &mut Vec<(&'static str, String)>,
        headers: &mut Vec<(String, String)>,
    ) {
        match (&self.secret, self.method) {
            (Some(secret), Method::Basic) => {
                let encoded = |text: &str| {
                    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>()
                };
                let pair = format!("{}:{}", encoded(&self.id), encoded(secret));
                let value = format!("Basic {}", STANDARD.encode(pair));
                headers.push(("authorization".to_owned(), value));
            }
            (Some(secret), Method::Post) => {
                fields.push(("client_id", self.id.clone()));
                fields.push(("client_secret", secret.clone()));
            }
            (_, Method::None) | (None, _) => fields.push(("client_id", self.id.clone())),
        }
    }
}

/// Registers this program (RFC 7591, 3.1).
#[must_use]
pub fn request(server: &Server, endpoint: &str, redirect: &str, scopes: &[String]) -> Request {
    let mut metadata = json!({
        "client_name": "Signalbox",
        "redirect_uris": [redirect],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": Method::of(server).name(),
    });
    if !scopes.is_empty()
        && let Some(metadata) = metadata.as_object_mut()
    {
        metadata.insert("scope".to_owned(), scopes.join(" ").into());
    }
    let header = |name: &str| (name.to_owned(), "application/json".to_owned());
    let headers = vec![header("accept"), header("content-type")];
    Request { method: "POST", url: endpoint.to_owned(), headers, body: Some(metadata.to_string()) }
}

/// Who this program is from here on.
///
/// # Errors
/// Why it is nobody.
pub fn read(answer: &Answer, server: &Server) -> Result<Client, Error> {
    let refused = |why: String| {
        let text = "the authorization server does not let this site register itself; its operator \
                    has to configure a client_id";
        Error::new(Kind::Upstream, text).with_detail(why)
    };
    let said = object(answer).filter(|_| matches!(answer.status, 200 | 201));
    let said = said.ok_or_else(|| refused(format!("HTTP status {}", answer.status)))?;
    let id = text(&said, "client_id").filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| refused("there is no client_id".to_owned()))?;
    let secret = text(&said, "client_secret").filter(|secret| !secret.is_empty());
    let method = match text(&said, "token_endpoint_auth_method").as_deref() {
        _ if secret.is_none() => Method::None,
        Some("none") => Method::None,
        Some("client_secret_post") => Method::Post,
        Some("client_secret_basic") => Method::Basic,
        _ => Method::of(server),
    };
    let expires = said.get("client_secret_expires_at").and_then(serde_json::Value::as_u64);
    // Zero is never.
    let expires = expires.filter(|seconds| *seconds > 0 && secret.is_some());
    let expires = expires.map(|seconds| Millis(seconds.saturating_mul(1000)));
    Ok(Client { id, secret, method, expires })
}
