//! HTTP as values: what a request is, what a reply is, and what is refused before a credential or
//! a body is looked at. It must not know MCP messages, nor the platform's requests.

use crate::{query::Query, refusal::Refusal};
use identity::caller::Caller;
use shared::{Scope, config::Level, hop::Options, limits, scope::ScopeError};
use std::borrow::Cow;

/// The methods that mean something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A message.
    Post,
    /// The stream of a session.
    Get,
    /// The end of a session.
    Delete,
}

impl Method {
    /// Reads a method.
    ///
    /// # Errors
    /// [`Refusal::MethodNotAllowed`] for any other.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        match text {
            "POST" => Ok(Self::Post),
            "GET" => Ok(Self::Get),
            "DELETE" => Ok(Self::Delete),
            _ => Err(Refusal::MethodNotAllowed(Door::Mcp.methods())),
        }
    }
}

/// Which transport an address belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Door {
    /// Streamable HTTP, all revisions since 2025-03-26.
    Mcp,
    /// The stream of 2024-11-05.
    Sse,
    /// Where its messages go.
    Messages {
        /// The session that the query names.
        session: Option<String>,
    },
}

impl Door {
    /// The methods that mean something at it.
    #[must_use]
    pub const fn methods(&self) -> &'static str {
        match self {
            Self::Mcp => "GET, POST, DELETE",
            Self::Sse => "GET",
            Self::Messages { .. } => "POST",
        }
    }
}

/// Where a request goes: `/mcp`, `/sse` or `/messages`, the scope after it, and what its query
/// leaves of the tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The transport.
    pub door: Door,
    /// The scope.
    pub scope: Scope,
    /// What the query leaves of the tools.
    pub options: Options,
}

impl Address {
    /// Reads the path and query of an absolute URL.
    ///
    /// # Errors
    /// [`Refusal::NoSuchPath`], [`Refusal::BadScope`], [`Refusal::BadQuery`].
    pub fn parse(url: &str, levels: &[Level]) -> Result<Self, Refusal> {
        let path = path(url);
        let after = |root: &str| {
            path.strip_prefix(root).filter(|tail| tail.is_empty() || tail.starts_with('/'))
        };
        let (door, scope) = if let Some(tail) = after("/sse") {
            (Some(Door::Sse), Cow::Owned(format!("/mcp{tail}")))
        } else if let Some(tail) = after("/messages") {
            (None, Cow::Owned(format!("/mcp{tail}")))
        } else {
            (Some(Door::Mcp), Cow::Borrowed(path))
        };
        let scope = Scope::parse_path(&scope, levels).map_err(|error| match error {
            ScopeError::Unknown { .. } => Refusal::NoSuchPath(error.to_string()),
            ScopeError::Slug(_) => Refusal::BadScope(error.to_string()),
        })?;
        let Query { options, session } = Query::parse(url)?;
        let door = door.unwrap_or(Door::Messages { session });
        Ok(Self { door, scope, options })
    }
}

impl Address {
    /// The address as a credential is good for it: one that was narrowed works as if it had come to
    /// the narrower address. What is no place inside of this one is none.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] for a credential that is good elsewhere only.
    pub fn narrowed(self, caller: &Caller, levels: &[Level]) -> Result<Self, Refusal> {
        let Some(path) = &caller.narrowed else {
            return Ok(self);
        };
        let bound = Scope::parse_path(path, levels).map_err(|_| Refusal::Unauthenticated)?;
        if self.scope.is_within(&bound) {
            Ok(self)
        } else if bound.is_within(&self.scope) {
            Ok(Self { scope: bound, ..self })
        } else {
            Err(Refusal::Unauthenticated)
        }
    }
}

/// What the entry looks at: everything that needs no body and no state.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The whole URL, as the platform normalised it.
    pub url: &'a str,
    /// HTTP method.
    pub method: &'a str,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Content-Length`.
    pub content_length: Option<&'a str>,
}

/// What a deployment admits, from its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    /// Hosts served, without port; empty for every host that is routed here.
    pub hosts: Vec<String>,
    /// Origins of browser pages allowed besides the endpoint's own.
    pub origins: Vec<String>,
}

/// An arrival that may go on to be authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The method.
    pub method: Method,
    /// Where it goes.
    pub address: Address,
    /// Whether the endpoint was addressed on this machine's own loopback interface. Development
    /// credentials are good there and nowhere else.
    pub loopback: bool,
}

/// A comma-separated list, without its blanks and empty items.
#[must_use]
pub fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(ToOwned::to_owned).collect()
}

/// The parts of an absolute URL that matter here: (scheme and authority, authority, path).
fn split(url: &str) -> Option<(&str, &str, &str)> {
    let authority_at = url.find("://")?.checked_add(3)?;
    let rest = url.get(authority_at..)?;
    let length = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at_checked(length)?;
    let path = tail.split(['?', '#']).next().unwrap_or_default();
    Some((url.get(..authority_at.checked_add(length)?)?, authority, path))
}

/// The path of an absolute URL.
#[must_use]
pub fn path(url: &str) -> &str {
    split(url).map_or("", |(_, _, path)| path)
}

/// A host without its port. What follows a colon and is no port belongs to the host, which is none
/// that anybody serves: `Host` comes as the client wrote it.
fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.is_empty() || is_port(port) => host,
        _ => authority,
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|c| c.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn is_loopback(host: &str) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|own| host.eq_ignore_ascii_case(own))
}

/// Scheme and authority of a URL, if it addresses this machine's own loopback interface.
#[must_use]
pub fn loopback_origin(url: &str) -> Option<&str> {
    let (base, authority, _) = split(url)?;
    is_loopback(host(authority)).then_some(base)
}

/// Whether a URL's host is one that is served.
///
/// # Errors
/// [`Refusal::ForeignHost`].
pub fn check_host(url: &str, admission: &Admission) -> Result<(), Refusal> {
    let (_, authority, _) = split(url).ok_or(Refusal::ForeignHost)?;
    let host = host(authority);
    // Hosts have no case (RFC 9110, 4.2.3).
    let is_host = |served: &String| served.eq_ignore_ascii_case(host);
    match admission.hosts.is_empty() || admission.hosts.iter().any(is_host) {
        true => Ok(()),
        false => Err(Refusal::ForeignHost),
    }
}

/// Decides whether an arrival may go on.
///
/// # Errors
/// The refusal, in this order: host, origin, path, scope, query, method, size. A page of an origin
/// that is not allowed learns nothing else.
pub fn admit(
    arrival: &Arrival<'_>,
    admission: &Admission,
    levels: &[Level],
) -> Result<Admitted, Refusal> {
    let nothing = || Refusal::NoSuchPath("there is nothing at this address".to_owned());
    let (base, authority, _) = split(arrival.url).ok_or_else(nothing)?;
    check_host(arrival.url, admission)?;
    if let Some(origin) = arrival.origin {
        let own = origin.eq_ignore_ascii_case(base);
        if !own && !admission.origins.iter().any(|allowed| allowed == origin) {
            return Err(Refusal::ForeignOrigin);
        }
    }
    let address = Address::parse(arrival.url, levels)?;
    let method = Method::parse(arrival.method)
        .map_err(|_| Refusal::MethodNotAllowed(address.door.methods()))?;
    let length = arrival.content_length.map_or(Some(0), |length| length.parse::<u64>().ok());
    if length.is_none_or(|length| length > limits::BODY_BYTES_MAX as u64) {
        return Err(Refusal::TooLarge(limits::BODY_BYTES_MAX));
    }
    Ok(Admitted { method, address, loopback: is_loopback(host(authority)) })
}

/// What a McpRouter looks at. The values of headers as they came; absent ones are `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Incoming {
    /// `Accept`.
    pub accept: Option<String>,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Mcp-Session-Id`.
    pub session: Option<String>,
    /// `MCP-Protocol-Version`.
    pub revision: Option<String>,
    /// `Mcp-Method`.
    pub mcp_method: Option<String>,
    /// `Mcp-Name`.
    pub mcp_name: Option<String>,
    /// `Last-Event-ID`.
    pub last_event: Option<String>,
    /// `Mcp-Param-*`: the name's tail in lower case, and the value.
    pub mirrors: Vec<(String, String)>,
    /// The body; empty where there is none.
    pub body: String,
}

impl Incoming {
    /// Whether the revision header is the modern era's.
    #[must_use]
    pub fn is_modern(&self) -> bool {
        self.revision.as_deref() == Some(shared::hop::MODERN_REVISION)
    }

    /// Checks that a stream may be answered.
    ///
    /// # Errors
    /// [`Refusal::StreamNotAcceptable`].
    pub fn check_stream(&self) -> Result<(), Refusal> {
        let accept = self.accept.as_deref().unwrap_or_default();
        let fits = accepts(accept, "text", "event-stream");
        if fits { Ok(()) } else { Err(Refusal::StreamNotAcceptable) }
    }

    /// Whether the client would rather have a stream than one body of JSON.
    #[must_use]
    pub fn prefers_stream(&self) -> bool {
        let accept = self.accept.as_deref().unwrap_or_default();
        let stream = wants(accept, "text/event-stream");
        stream.is_some() && stream > wants(accept, "application/json")
    }

    /// Checks that a message may be read at all.
    ///
    /// # Errors
    /// [`Refusal::NotAcceptable`], [`Refusal::UnsupportedMediaType`].
    pub fn check_message(&self) -> Result<(), Refusal> {
        let accept = self.accept.as_deref().unwrap_or_default();
        if !accepts(accept, "application", "json") || !accepts(accept, "text", "event-stream") {
            return Err(Refusal::NotAcceptable);
        }
        self.check_content()
    }

    /// Checks that the body is said to be JSON.
    ///
    /// # Errors
    /// [`Refusal::UnsupportedMediaType`].
    pub fn check_content(&self) -> Result<(), Refusal> {
        let content_type = self.content_type.as_deref().unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/json") {
            Ok(())
        } else {
            Err(Refusal::UnsupportedMediaType)
        }
    }
}

/// How much an `Accept` header wants a media type that it names: its weight in thousandths, and
/// how early it comes (RFC 9110, 12.5.1 has weights only; among equals we take the first for the dearest).
fn wants(header: &str, wanted: &str) -> Option<(u32, std::cmp::Reverse<usize>)> {
    header.split(',').enumerate().find_map(|(place, range)| {
        let named = essence(range).eq_ignore_ascii_case(wanted);
        named.then_some(((weight(range) * 1000.0) as u32, std::cmp::Reverse(place)))
    })
}

/// What a range of media types is called, without its parameters.
fn essence(range: &str) -> &str {
    range.split(';').next().unwrap_or_default().trim()
}

/// The weight of a range of media types. One that cannot be read is none.
fn weight(range: &str) -> f32 {
    let mut parameters = range.split(';').skip(1).map(str::trim);
    let weight = parameters
        .find_map(|part| part.strip_prefix(['q', 'Q'])?.strip_prefix('=')?.parse::<f32>().ok());
    weight.filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(1.0)
}

/// Whether an `Accept` header allows a media type, by name or by wildcard. The closest range that
/// fits it says so, and a weight of zero says no (RFC 9110, 12.4.2 and 12.5.1).
fn accepts(header: &str, kind: &str, subtype: &str) -> bool {
    let closeness = |range: &str| {
        let (k, s) = essence(range).split_once('/')?;
        match (k.eq_ignore_ascii_case(kind), s.eq_ignore_ascii_case(subtype)) {
            (true, true) => Some(2),
            (true, false) if s == "*" => Some(1),
            _ if k == "*" && s == "*" => Some(0),
            _ => None,
        }
    };
    let fitting = header.split(',').filter_map(|range| Some((closeness(range)?, weight(range))));
    let closest = fitting
        .max_by(|(one, of_one), (other, of_other)| one.cmp(other).then(of_one.total_cmp(of_other)));
    closest.is_some_and(|(_, weight)| weight > 0.0)
}

/// A reply that is ours from beginning to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers, in order.
    pub headers: Vec<(&'static str, String)>,
    /// The body, if there is one.
    pub body: Option<String>,
}

impl Reply {
    /// A body of JSON.
    #[must_use]
    pub fn json(status: u16, body: String) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status, headers, body: Some(body) }
    }

    /// No body.
    #[must_use]
    pub const fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: None }
    }

    /// The same reply with one header more.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shared::config::default_levels;

    fn admission() -> Admission {
        Admission {
            hosts: list("localhost, 127.0.0.1,[::1],mcp.example.com"),
            origins: list("https://app.example.com"),
        }
    }

    fn check(arrival: Arrival<'_>, expected: Result<(&str, bool), u16>) {
        let got = admit(&arrival, &admission(), &default_levels());
        let got = match &got {
            Ok(admitted) => Ok((admitted.address.scope.to_string(), admitted.loopback)),
            Err(refusal) => Err(refusal.row(false).0),
        };
        let expected = expected.map(|(scope, loopback)| (scope.to_owned(), loopback));
        assert_eq!(got, expected, "{arrival:?}");
    }

    fn post(url: &str) -> Arrival<'_> {
        Arrival { url, method: "POST", origin: None, content_length: None }
    }

    #[test]
    fn admits_by_path_host_origin_and_size() {
        check(post("http://localhost:8787/mcp"), Ok(("/mcp", true)));
        check(post("http://[::1]:8787/mcp/acme?x=/y"), Ok(("/mcp/acme", true)));
        check(post("https://mcp.example.com/mcp/acme/web#z"), Ok(("/mcp/acme/web", false)));
        check(post("http://localhost/mcp?read_only=true&tools=a"), Ok(("/mcp", true)));
        check(post("http://localhost/mcp?read_only=maybe"), Err(400));
        check(post("http://localhost/messages?read_only=maybe"), Err(400));
        check(post("http://localhost"), Err(404));
        check(post("http://localhost/other"), Err(404));
        check(post("http://localhost/mcp/a%20b"), Err(400));
        check(post("http://evil.example/mcp"), Err(403));
        check(post("http://localhost.evil.example/mcp"), Err(403));
        // What is no port is no way around the host.
        check(post("http://localhost:80.evil.example/mcp"), Err(403));
        check(post("http://localhost:80, evil.example/mcp"), Err(403));
        check(post("http://localhost:65536/mcp"), Err(403));
        check(post("http://localhost:+80/mcp"), Err(403));
        check(post("http://[::1]:80:80/mcp"), Err(403));
        check(post("http://[::1]/mcp"), Ok(("/mcp", true)));
        check(post("http://localhost:/mcp"), Ok(("/mcp", true)));
        check(post("http://LocalHost:80/mcp"), Ok(("/mcp", true)));
        check(post("https://MCP.Example.com/mcp"), Ok(("/mcp", false)));
        check(post("nonsense"), Err(404));
        check(Arrival { method: "PUT", ..post("http://localhost/mcp") }, Err(405));
        let origin = |origin| Arrival { origin: Some(origin), ..post("http://localhost:1/mcp") };
        check(origin("http://localhost:1"), Ok(("/mcp", true)));
        check(origin("https://app.example.com"), Ok(("/mcp", true)));
        check(origin("http://localhost:2"), Err(403));
        check(origin("null"), Err(403));
        let length = |n| Arrival { content_length: Some(n), ..post("http://localhost/mcp") };
        check(length("4194304"), Ok(("/mcp", true)));
        check(length("4194305"), Err(413));
        check(length("99999999999999999999999"), Err(413));
    }

    #[test]
    fn a_message_needs_its_media_types() {
        let check = |accept: Option<&str>, content_type: Option<&str>, expected: u16| {
            let incoming = Incoming {
                accept: accept.map(ToOwned::to_owned),
                content_type: content_type.map(ToOwned::to_owned),
                ..Incoming::default()
            };
            let status = incoming.check_message().map_or_else(|r| r.row(false).0, |()| 200);
            assert_eq!(status, expected, "{accept:?} {content_type:?}");
        };
        let json = Some("application/json");
        check(Some("application/json, text/event-stream"), json, 200);
        check(Some("text/event-stream;q=0.5,APPLICATION/JSON"), json, 200);
        check(Some("*/*"), json, 200);
        check(Some("application/json, text/*"), json, 200);
        // A weight of zero is a refusal; the closest range decides, not the first.
        check(Some("application/json, text/event-stream;q=0"), json, 406);
        check(Some("application/json; q=0.0, text/event-stream"), json, 406);
        check(Some("*/*;q=0"), json, 406);
        check(Some("*/*;Q=0"), json, 406);
        check(Some("*/*, text/event-stream;q=0"), json, 406);
        check(Some("*/*;q=0, application/json, text/*;q=0.001"), json, 200);
        check(Some("*/*;q=none"), json, 200);
        check(Some("application/json"), json, 406);
        check(Some("text/event-stream"), json, 406);
        check(Some("application/jsonp, text/event-stream"), json, 406);
        check(None, json, 406);
        check(Some("*/*"), Some("application/json; charset=utf-8"), 200);
        check(Some("*/*"), Some("text/plain"), 415);
        check(Some("*/*"), None, 415);
    }

    proptest! {
        #[test]
        fn never_panics(url in "\\PC*", origin in "\\PC*", length in "\\PC*") {
            for url in [url.clone(), format!("http://{url}"), format!("http://localhost/{url}")] {
                let arrival = Arrival {
                    url: &url,
                    method: "POST",
                    origin: Some(&origin),
                    content_length: Some(&length),
                };
                let _ = admit(&arrival, &admission(), &default_levels());
            }
        }
    }

    #[test]
    fn a_client_says_which_form_it_would_rather_have() {
        for (accept, expected) in [
            ("application/json, text/event-stream", false),
            ("text/event-stream, application/json", true),
            ("text/event-stream;q=0.5, application/json", false),
            ("application/json;q=0.9, Text/Event-Stream ; q=1", true),
            ("application/json;q=x, text/event-stream;q=7", false),
            ("*/*", false),
            ("", false),
        ] {
            let incoming = Incoming { accept: Some(accept.to_owned()), ..Incoming::default() };
            assert_eq!(incoming.prefers_stream(), expected, "{accept}");
        }
    }
}
