//! What can go wrong with an upstream, whether it is worth another try, and what whoever asked is
//! told. It must not know what was asked.

use crate::wire::ErrorObject;
use shared::{Error, Kind, Millis, error::shown, limits};

/// Why one HTTP exchange did not end with a reply. Texts are for the log.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// It could not be reached, or the connection broke.
    Unreachable(String),
    /// It took longer than it may.
    Late(&'static str),
    /// An HTTP status that is none of success.
    Status {
        /// It.
        status: u16,
        /// How long to wait before another try, where it says so.
        retry_after_ms: Option<u64>,
        /// A JSON-RPC error in the body, where there is one.
        error: Option<ErrorObject>,
    },
    /// It says what is no MCP.
    Garbage(String),
    /// More than is read.
    Large,
    /// It leads elsewhere.
    Redirect,
    /// It ended before the reply.
    Ended,
    /// It asks and asks, and does not come to an end.
    Endless,
    /// It says more at once than can be passed on.
    Flood,
    /// It was not asked: what it has to be told of who asks is not there. This is for whoever asked.
    Credential(Error),
}

impl Fault {
    /// Whether the upstream is to blame: enough of these in a row and it is left alone for a while.
    #[must_use]
    pub const fn is_serious(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Late(_) | Self::Garbage(_) => true,
            Self::Ended | Self::Endless | Self::Flood => true,
            Self::Status { status, .. } => *status >= 500,
            Self::Large | Self::Redirect | Self::Credential(_) => false,
        }
    }

    /// Whether it certainly did nothing of what was asked.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Status { status: 429, .. })
    }

    /// Whether another try may have another outcome.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Ended => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 502 | 503 | 504),
            Self::Late(_) | Self::Garbage(_) | Self::Large | Self::Redirect => false,
            Self::Endless | Self::Flood | Self::Credential(_) => false,
        }
    }

    /// How long it asks to be left alone.
    #[must_use]
    pub const fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Status { retry_after_ms, .. } => *retry_after_ms,
            _ => None,
        }
    }

    /// What whoever asked is told of the upstream `name`.
    #[must_use]
    pub fn told(self, name: &str) -> Failure {
        let upstream = |text: String, detail: String| {
            Failure::Below(Error::new(Kind::Upstream, text).with_detail(detail))
        };
        match self {
            Self::Unreachable(why) => {
                upstream(format!("{name} cannot be reached now; try again"), why)
            }
            Self::Late(what) => {
                upstream(format!("{name} did not answer in time; try again"), what.to_owned())
            }
            Self::Status { error: Some(error), .. } => Failure::Error(error),
            Self::Status { status: status @ (401 | 403), .. } => {
                let text = format!("{name} refuses the credential that it was given ({status})");
                Failure::Below(Error::new(Kind::Unauthenticated, text))
            }
            Self::Status { status, retry_after_ms: Some(wait), .. } => {
                let seconds = wait.div_ceil(1000);
                upstream(
                    format!("{name} is busy ({status}); try again in {seconds} s"),
                    String::new(),
                )
            }
            Self::Status { status, .. } => {
                upstream(format!("{name} failed with HTTP status {status}"), String::new())
            }
            Self::Garbage(why) => {
                upstream(format!("{name} answered with what is no MCP"), shown(&why))
            }
            Self::Large => upstream(
                format!("{name} answered with more than {} bytes", limits::UPSTREAM_BYTES_MAX),
                String::new(),
            ),
            Self::Redirect => upstream(
                format!("{name} has moved to another address, which is not followed"),
                String::new(),
            ),
            Self::Credential(error) => Failure::Below(error),
            Self::Endless => {
                upstream(format!("{name} asked too many questions in one call"), String::new())
            }
            Self::Flood => {
                let text = "said more in one call than can be passed on; it may have taken effect";
                upstream(format!("{name} {text}"), String::new())
            }
            Self::Ended => upstream(
                format!("{name} ended the call without a result; it may have taken effect"),
                String::new(),
            ),
        }
    }
}

/// Why a request to an upstream has no result.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// The upstream's own error, as it came.
    Error(ErrorObject),
    /// Everything else.
    Below(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Below(error)
    }
}

/// Milliseconds that a `Retry-After` header asks for: a number of seconds, or a date (RFC 9110).
#[must_use]
pub fn retry_after(header: &str, now: Millis) -> Option<u64> {
    let header = header.trim();
    if let Ok(seconds) = header.parse::<u64>() {
        return Some(seconds.saturating_mul(1000));
    }
    let date = httpdate::parse_http_date(header).ok()?;
    let date = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    // One that is over asks for nothing.
    Some(u64::try_from(date.as_millis()).ok()?.saturating_sub(now.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_number_of_seconds_or_a_date() {
        let now = Millis(784_111_777_000 - 5_000);
        for (header, expected) in [
            ("0", Some(0)),
            (" 3 ", Some(3_000)),
            ("18446744073709551615", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(5_000)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(5_000)),
            ("Sun Nov  6 08:49:37 1994", Some(5_000)),
            ("Sun, 06 Nov 1994 08:49:31 GMT", Some(0)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799_000 - now.0)),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun, 66 Nov 1994 08:49:37 GMT", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(header, now), expected, "{header}");
        }
    }
}
