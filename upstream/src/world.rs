//! What a client of upstreams needs of the world: HTTP, the time, work that goes on, and a place to
//! keep what it learned. It must not know which world it is.

use futures_util::{future::LocalBoxFuture, stream::LocalBoxStream};
use shared::{Error, Millis};

/// The bytes of a response as they come. Dropping them ends the connection.
pub type Body = LocalBoxStream<'static, Result<Vec<u8>, String>>;

/// An HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// Where to.
    pub url: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// A text, or nothing.
    pub body: Option<String>,
}

/// The head of an HTTP response, and the rest of it.
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case, and values; those that are asked for in [`HEADERS`] suffice.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
}

/// The headers of a response that are looked at.
pub const HEADERS: [&str; 5] =
    ["content-type", "mcp-session-id", "retry-after", "location", "www-authenticate"];

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Response {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// The world, as a client of upstreams sees it.
pub trait World {
    /// The time.
    fn now(&self) -> Millis;

    /// Fresh randomness.
    fn random(&self) -> [u8; 12];

    /// Resolves after a while.
    fn sleep(&self, milliseconds: u32) -> LocalBoxFuture<'static, ()>;

    /// Goes on with something whether or not anybody waits for it.
    fn spawn(&self, work: LocalBoxFuture<'static, ()>);

    /// Sends a request and waits for the head of the response. A redirect is a response like any
    /// other. Dropping the future ends the connection. The error is for the log.
    fn send(&self, request: Request) -> LocalBoxFuture<'static, Result<Response, String>>;

    /// Keeps what nobody is told.
    fn log(&self, error: &Error);
}
