//! HTTP to the world outside, as values: a request, the head of a response and the rest of it, and a
//! short answer read whole. It must not know who is asked, nor which platform sends it.

use crate::limits;
use futures_util::{StreamExt as _, stream::LocalBoxStream};

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

/// An answer that was read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case, and values, of [`HEADERS`].
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Reads a response to its end. Who calls bounds how long that takes.
    ///
    /// # Errors
    /// What went wrong, for the log: it broke off, it is longer than
    /// [`limits::ANSWER_BYTES_MAX`], it is no text.
    pub async fn read(response: Response) -> Result<Self, String> {
        let Response { status, headers, mut body } = response;
        let mut bytes = Vec::new();
        while let Some(piece) = body.next().await {
            bytes.extend(piece?);
            if bytes.len() > limits::ANSWER_BYTES_MAX {
                return Err(format!("it says more than {} bytes", limits::ANSWER_BYTES_MAX));
            }
        }
        let body = String::from_utf8(bytes).map_err(|_| "what it says is not UTF-8".to_owned())?;
        Ok(Self { status, headers, body })
    }
}
