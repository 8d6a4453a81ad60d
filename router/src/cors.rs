//! What browsers ask for before and after they let a page talk to this endpoint (Fetch standard,
//! CORS protocol). Which origins may is decided where a request is admitted. It must not know MCP.

use crate::http::Reply;

/// How long a browser may remember the answer to a preflight, in seconds.
const MAX_AGE_S: u32 = 7200;

/// What a page may read of a response, besides what every page may.
const EXPOSED: &str = "Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate, Retry-After";

/// Headers of every response to a page of another origin.
#[must_use]
pub fn headers(origin: &str) -> Vec<(&'static str, String)> {
    vec![
        ("access-control-allow-origin", origin.to_owned()),
        ("access-control-expose-headers", EXPOSED.to_owned()),
        ("vary", "Origin".to_owned()),
    ]
}

/// The answer to a preflight: what a page of this origin may send.
#[must_use]
pub fn preflight(origin: &str, requested: &str) -> Reply {
    let mut reply = Reply::empty(204);
    reply.headers = headers(origin);
    let allowed: Vec<&str> =
        requested.split(',').map(str::trim).filter(|name| may_send(name)).collect();
    reply
        .with_header("access-control-allow-methods", "GET, POST, DELETE")
        .with_header("access-control-allow-headers", &allowed.join(", "))
        .with_header("access-control-max-age", &MAX_AGE_S.to_string())
}

/// Whether a header means something here. Parameters are mirrored under names of their own.
fn may_send(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let own = ["accept", "authorization", "content-type", "last-event-id"];
    let token = name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_');
    token && (own.contains(&name.as_str()) || name.starts_with("mcp-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_may_send_what_means_something_here() {
        let asked = "Authorization, content-type,mcp-protocol-version, x-other, mcp-param-region";
        let reply = preflight("https://page.example", asked);
        let header = |name: &str| {
            reply.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
        };
        assert_eq!(reply.status, 204);
        assert_eq!(header("access-control-allow-origin"), Some("https://page.example"));
        assert_eq!(header("vary"), Some("Origin"));
        assert_eq!(
            header("access-control-allow-headers"),
            Some("Authorization, content-type, mcp-protocol-version, mcp-param-region")
        );
        let none = preflight("https://page.example", "mcp-\r\nx: y");
        assert!(none.headers.contains(&("access-control-allow-headers", String::new())));
    }
}
