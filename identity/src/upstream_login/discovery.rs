//! Which authorization server an MCP server has, and where its endpoints are (RFC 9728, RFC 8414,
//! OpenID Connect Discovery, in the order that MCP says). Whatever anybody says is an address that
//! may be asked, or nothing. It must not know who asks.

use super::{address, object, text, texts};
use serde_json::Value;
use shared::{
    Error, Kind,
    config::{Address, Endpoints},
    error::shown,
    outside::{Answer, Request},
};

/// An authorization server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// What it calls itself, where it says so.
    pub issuer: Option<String>,
    /// Where a browser is sent.
    pub authorization: String,
    /// Where tokens are had.
    pub token: String,
    /// Where a client registers itself.
    pub registration: Option<String>,
    /// Where tokens are given back (RFC 7009).
    pub revocation: Option<String>,
    /// Whether it names itself when it sends a browser back (RFC 9207).
    pub names_itself: bool,
    /// How clients may prove at the token endpoint who they are; `None` where it does not say.
    pub methods: Option<Vec<String>>,
    /// Scopes that it names.
    pub scopes: Vec<String>,
}

impl From<&Endpoints> for Server {
    fn from(endpoints: &Endpoints) -> Self {
        Self {
            authorization: endpoints.authorization.clone(),
            token: endpoints.token.clone(),
            registration: endpoints.registration.clone(),
            ..Self::default()
        }
    }
}

/// What a server says to somebody without a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Challenge {
    /// Where it describes itself.
    pub metadata: Option<String>,
    /// What must be asked for.
    pub scope: Option<String>,
}

/// A resource, as it describes itself (RFC 9728).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// What it calls itself.
    pub resource: String,
    /// The issuer of the authorization server that it names first.
    pub issuer: String,
    /// Scopes that it names.
    pub scopes: Vec<String>,
}

/// A request that a server refuses with its challenge, and that does nothing.
#[must_use]
pub fn probe(resource: &str) -> Request {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Request {
        method: "POST",
        url: resource.to_owned(),
        headers: vec![
            header("accept", "application/json, text/event-stream"),
            header("content-type", "application/json"),
        ],
        body: Some(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#.to_owned()),
    }
}

/// A request for a document.
#[must_use]
pub fn document(url: String) -> Request {
    let headers = vec![("accept".to_owned(), "application/json".to_owned())];
    Request { method: "GET", url, headers, body: None }
}

/// What the challenge says (RFC 9728, 5.1).
#[must_use]
pub fn challenge(answer: &Answer, is_development: bool) -> Challenge {
    let mut headers = answer.headers.iter().filter(|(name, _)| name == "www-authenticate");
    let Some((_, header)) = headers.next().filter(|_| answer.status == 401) else {
        return Challenge::default();
    };
    let metadata = parameter(header, "resource_metadata");
    Challenge {
        metadata: metadata.filter(|url| Address::parse(url, is_development).is_ok()),
        scope: parameter(header, "scope").filter(|scope| !scope.trim().is_empty()),
    }
}

/// The value of a parameter in a `WWW-Authenticate` header (RFC 9110, 11.6.1), whoever's it is.
fn parameter(header: &str, name: &str) -> Option<String> {
    let mut rest = header.chars();
    loop {
        let mut word = String::new();
        let is_value = loop {
            match rest.next() {
                None => return None,
                Some('=') => break true,
                Some(c) if c == ',' || c.is_ascii_whitespace() => break false,
                Some(c) => word.push(c),
            }
        };
        if is_value {
            let value = value(&mut rest);
            if word.eq_ignore_ascii_case(name) {
                return Some(value);
            }
        }
    }
}

/// A token or a quoted string, up to its end.
fn value(rest: &mut std::str::Chars<'_>) -> String {
    let mut value = String::new();
    let mut is_quoted = false;
    while let Some(c) = rest.next() {
        match c {
            '"' if is_quoted => break,
            '"' if value.is_empty() => is_quoted = true,
            '\\' if is_quoted => value.extend(rest.next()),
            ',' | ' ' | '\t' if !is_quoted => break,
            c => value.push(c),
        }
    }
    value
}

/// Where a resource describes itself: where it says, else at the well-known places of its path and
/// of its origin (MCP 2025-11-25, authorization: protected resource metadata discovery).
#[must_use]
pub fn resource_addresses(resource: &Address, challenge: &Challenge) -> Vec<String> {
    const PLACE: &str = "/.well-known/oauth-protected-resource";
    if let Some(said) = &challenge.metadata {
        return vec![said.clone()];
    }
    let (origin, path) = (&resource.origin, path_of(resource));
    let mut addresses = vec![format!("{origin}{PLACE}{path}"), format!("{origin}{PLACE}")];
    addresses.dedup();
    addresses
}

/// A path without a query and without a slash at its end.
fn path_of(address: &Address) -> &str {
    address.path.split('?').next().unwrap_or_default().trim_end_matches('/')
}

/// What a document says of the resource at `at`.
///
/// # Errors
/// Why it is none of that resource.
pub fn resource(answer: &Answer, at: &Address, is_development: bool) -> Result<Resource, Error> {
    let said = document_of(answer, "the metadata of the server")?;
    let named = address(&said, "resource", is_development);
    let named = named.ok_or_else(|| wrong("the metadata of the server", "no resource"))?;
    // The whole origin, a part of it, or the server itself: a document about anything else is
    // somebody else's (RFC 9728, 3.3).
    let is_ours = Address::parse(&named, is_development).is_ok_and(|resource| {
        let tail = path_of(at).strip_prefix(path_of(&resource));
        resource.origin == at.origin
            && tail.is_some_and(|tail| tail.is_empty() || tail.starts_with('/'))
    });
    if !is_ours {
        return Err(wrong("the metadata of the server", &format!("it is of {}", shown(&named))));
    }
    let issuers = texts(&said, "authorization_servers");
    let issuer = issuers.into_iter().find(|url| Address::parse(url, is_development).is_ok());
    let issuer = issuer.ok_or_else(|| {
        wrong("the metadata of the server", "no authorization server that may be asked")
    })?;
    Ok(Resource { resource: named, issuer, scopes: texts(&said, "scopes_supported") })
}

/// Where an authorization server describes itself, in the order in which to ask (MCP 2025-11-25,
/// authorization: authorization server metadata discovery).
#[must_use]
pub fn server_addresses(issuer: &Address) -> Vec<String> {
    const OAUTH: &str = "/.well-known/oauth-authorization-server";
    const OPENID: &str = "/.well-known/openid-configuration";
    let (origin, path) = (&issuer.origin, path_of(issuer));
    match path {
        "" => vec![format!("{origin}{OAUTH}"), format!("{origin}{OPENID}")],
        path => vec![
            format!("{origin}{OAUTH}{path}"),
            format!("{origin}{OPENID}{path}"),
            format!("{origin}{path}{OPENID}"),
        ],
    }
}

/// Whether two texts name one issuer. A slash at the end of an origin is no difference: what writes
/// addresses adds one.
#[must_use]
pub fn is_same_issuer(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

/// What a document says of the authorization server `issuer`.
///
/// # Errors
/// Why it is none of that server, or of one that no code can be had from safely: it must know S256
/// (MCP, authorization code protection).
pub fn server(answer: &Answer, issuer: &str, is_development: bool) -> Result<Server, Error> {
    const WHAT: &str = "the metadata of the authorization server";
    let said = document_of(answer, WHAT)?;
    let named = text(&said, "issuer").filter(|named| is_same_issuer(named, issuer));
    let issuer = named.ok_or_else(|| wrong(WHAT, "it is of another issuer (RFC 8414, 3.3)"))?;
    let endpoint = |name: &str| {
        address(&said, name, is_development)
            .ok_or_else(|| wrong(WHAT, &format!("no {name} that may be asked")))
    };
    if !texts(&said, "code_challenge_methods_supported").iter().any(|method| method == "S256") {
        return Err(wrong(WHAT, "it does not say that it knows PKCE with S256"));
    }
    let methods = said.get("token_endpoint_auth_methods_supported").and_then(Value::as_array);
    Ok(Server {
        issuer: Some(issuer),
        authorization: endpoint("authorization_endpoint")?,
        token: endpoint("token_endpoint")?,
        registration: address(&said, "registration_endpoint", is_development),
        revocation: address(&said, "revocation_endpoint", is_development),
        names_itself: said.get("authorization_response_iss_parameter_supported")
            == Some(&Value::Bool(true)),
        methods: methods.map(|_| texts(&said, "token_endpoint_auth_methods_supported")),
        scopes: texts(&said, "scopes_supported"),
    })
}

fn document_of(answer: &Answer, what: &str) -> Result<Value, Error> {
    match answer.status {
        200 => object(answer).ok_or_else(|| wrong(what, "it is no JSON object")),
        status => Err(wrong(what, &format!("HTTP status {status}"))),
    }
}

fn wrong(what: &str, why: &str) -> Error {
    let text = format!("{what} cannot be used: {why}");
    Error::new(Kind::Upstream, text)
}
