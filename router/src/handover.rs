//! What the entry hands over to a McpRouter: as much of a client's request as a router looks at, as
//! one text. A request that went on as it came would cost more than all that either tier does with
//! it. It must not know what any of it means.
//!
//! A line each, none of which can have a line break in it: the method, the address, then for each
//! of [`HEADERS`] `=value`, or nothing where it is absent, then how many `Mcp-Param-*` headers
//! follow (of requests that name their method in a header), and each of them as `name=value`,
//! without the prefix. What comes after is the body. `cloudflare/edge.js` writes it.

use crate::http::Incoming;
use identity::caller::Caller;

/// The headers that a router looks at, in order.
pub const HEADERS: [&str; 7] = [
    "accept",
    "content-type",
    "mcp-session-id",
    "mcp-protocol-version",
    "mcp-method",
    "mcp-name",
    "last-event-id",
];

/// A request, handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its address.
    pub url: &'a str,
    /// What it proved.
    pub caller: Caller,
    /// The rest.
    pub incoming: Incoming,
}

impl<'a> Handover<'a> {
    /// Reads what the entry wrote; `None` for anything else.
    #[must_use]
    pub fn read(text: &'a str) -> Option<Self> {
        let mut rest = text;
        let mut line = || {
            let (line, after) = rest.split_once('\n')?;
            rest = after;
            Some(line)
        };
        let (method, url) = (line()?, line()?);
        let caller = Caller::read(line()?)?;
        let mut header = || line().map(|line| line.strip_prefix('=').map(ToOwned::to_owned));
        let incoming = Incoming {
            accept: header()?,
            content_type: header()?,
            session: header()?,
            revision: header()?,
            mcp_method: header()?,
            mcp_name: header()?,
            last_event: header()?,
            ..Incoming::default()
        };
        let mut mirrors = Vec::new();
        let count: usize = line()?.parse().ok()?;
        for _ in 0..count {
            let (name, value) = line()?.split_once('=')?;
            mirrors.push((name.to_owned(), value.to_owned()));
        }
        let incoming = Incoming { mirrors, body: rest.to_owned(), ..incoming };
        Some(Self { method, url, caller, incoming })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use identity::caller::Credential;
    use proptest::prelude::*;

    /// As `edge.js` does.
    fn write(handover: &Handover<'_>) -> String {
        let incoming = &handover.incoming;
        let headers = [
            &incoming.accept,
            &incoming.content_type,
            &incoming.session,
            &incoming.revision,
            &incoming.mcp_method,
            &incoming.mcp_name,
            &incoming.last_event,
        ];
        assert_eq!(headers.len(), HEADERS.len());
        let header = |value: &Option<String>| match value {
            Some(value) => format!("={value}"),
            None => String::new(),
        };
        let mut lines = vec![handover.method.to_owned(), handover.url.to_owned()];
        lines.push(handover.caller.line());
        lines.extend(headers.map(header));
        lines.push(incoming.mirrors.len().to_string());
        lines.extend(incoming.mirrors.iter().map(|(name, value)| format!("{name}={value}")));
        lines.push(incoming.body.clone());
        lines.join("\n")
    }

    #[test]
    fn each_header_is_where_its_name_is() {
        let headers = HEADERS.map(|name| format!("={name}\n")).concat();
        let text = format!("GET\nhttps://x.test/mcp\n\n{headers}0\n");
        let incoming = Handover::read(&text).unwrap().incoming;
        for (value, name) in [
            (incoming.accept, "accept"),
            (incoming.content_type, "content-type"),
            (incoming.session, "mcp-session-id"),
            (incoming.revision, "mcp-protocol-version"),
            (incoming.mcp_method, "mcp-method"),
            (incoming.mcp_name, "mcp-name"),
            (incoming.last_event, "last-event-id"),
        ] {
            assert_eq!(value.as_deref(), Some(name));
        }
    }

    fn value() -> impl Strategy<Value = Option<String>> {
        proptest::option::of("[^\r\n]{0,20}")
    }

    proptest! {
        #[test]
        fn what_is_handed_over_arrives(
            url in "[^\r\n]{0,20}",
            values in proptest::collection::vec(value(), 7),
            caller in prop_oneof![
                Just(Caller::fixed()),
                any::<String>().prop_map(|id| Caller { credential: Credential::Key(id), ..Caller::fixed() }),
            ],
            mirrors in proptest::collection::vec(("[^=\r\n]{0,9}", "[^\r\n]{0,9}"), 0..4),
            body in any::<String>(),
        ) {
            let [accept, content_type, session, revision, mcp_method, mcp_name, last_event] =
                <[Option<String>; 7]>::try_from(values).unwrap();
            let incoming = Incoming {
                accept, content_type, session, revision, mcp_method, mcp_name, last_event,
                mirrors, body,
            };
            let handover = Handover { method: "POST", url: &url, caller, incoming };
            let text = write(&handover);
            prop_assert_eq!(Handover::read(&text), Some(handover));
        }

        #[test]
        fn nothing_else_is_a_panic(text in any::<String>(), lines in "(=?.?\n){0,12}.*") {
            let _ = Handover::read(&text);
            let _ = Handover::read(&lines);
        }
    }
}
