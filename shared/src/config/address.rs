//! Where an upstream may be: plain addresses in the open, so that nothing which an operator or an
//! upstream writes leads into a private network. Names that resolve there are refused by the
//! platform. It must not know what is asked of an upstream.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address that may be asked: `http` or `https`, a host, a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Scheme, host and port, in lower case, as in `https://example.com:8443`.
    pub origin: String,
    /// From the first `/` on.
    pub path: String,
}

/// Why an address may not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not of the form that is understood here.
    #[error("an address is `https://`, a host, perhaps a port, and a path, without a user or `#`")]
    Form,
    /// Neither `https` nor development.
    #[error("an upstream is asked over https")]
    Plain,
    /// A private network.
    #[error("private addresses are not asked")]
    Private,
}

impl Address {
    /// Reads an address that may be asked. In development it may be private, and without TLS.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn parse(text: &str, is_development: bool) -> Result<Self, AddressError> {
        let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '\\' | '#' | '<' | '>' | '"');
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Form)?;
        let scheme = scheme.to_ascii_lowercase();
        if !text.chars().all(is_plain) || !matches!(scheme.as_str(), "http" | "https") {
            return Err(AddressError::Form);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).ok_or(AddressError::Form)?;
        let authority = authority.to_ascii_lowercase();
        let host = host(&authority).ok_or(AddressError::Form)?;
        if !is_development {
            if scheme != "https" {
                return Err(AddressError::Plain);
            }
            if is_private(host) {
                return Err(AddressError::Private);
            }
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { origin: format!("{scheme}://{authority}"), path })
    }

    /// The address as a text.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }

    /// Where a redirect leads, if it stays at this origin.
    #[must_use]
    pub fn redirected(&self, location: &str) -> Option<Self> {
        if location.starts_with('/') && !location.starts_with("//") && !location.contains('\\') {
            return Self::parse(&format!("{}{location}", self.origin), true).ok();
        }
        let there = Self::parse(location, true).ok()?;
        (there.origin == self.origin).then_some(there)
    }
}

/// The host of an authority, if it has nothing but a host and a port.
fn host(authority: &str) -> Option<&str> {
    let port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return (after.is_empty() || after.strip_prefix(':').is_some_and(port)).then_some(host);
    }
    let host = match authority.split_once(':') {
        Some((host, after)) if port(after) => host,
        Some(_) => return None,
        None => authority,
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let labels = || host.strip_suffix('.').unwrap_or(host).split('.');
    let is_plain = labels().all(|label| !label.is_empty() && label.bytes().all(plain));
    // What ends in a number is an IPv4 address to every URL parser, however it is written.
    let is_number =
        labels().next_back().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()));
    (is_plain && (!is_number || host.parse::<Ipv4Addr>().is_ok())).then_some(host)
}

fn is_private(host: &str) -> bool {
    if let Ok(address) = host.parse::<IpAddr>() {
        return match address {
            IpAddr::V4(address) => is_private_v4(address),
            IpAddr::V6(address) => is_private_v6(address),
        };
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let within =
        |zone: &str| host == zone || host.strip_suffix(zone).is_some_and(|h| h.ends_with('.'));
    // A name without a dot is one of the network that it is asked in.
    !host.contains('.')
        || ["localhost", "local", "internal", "intranet", "lan", "home", "corp"]
            .into_iter()
            .any(within)
        || within("home.arpa")
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        // This network, shared address space, benchmarks, protocol assignments, reserved.
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (b == 18 || b == 19))
        || (a == 192 && b == 0)
        || a >= 240
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4() {
        return is_private_v4(mapped);
    }
    // Only global unicast is public, and of that neither documentation nor what tunnels IPv4.
    let [a, b, ..] = address.segments();
    (a & 0xe000) != 0x2000 || (a == 0x2001 && (b == 0xdb8 || b == 0)) || a == 0x2002
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_open_network_is_asked() {
        for ok in [
            "https://mcp.example.com/mcp",
            "https://mcp.example.com",
            "HTTPS://MCP.example.com:8443/x?y=1",
            "https://8.8.8.8/mcp",
            "https://[2606:4700::1111]/mcp",
            "https://local.example.com/",
        ] {
            assert!(Address::parse(ok, false).is_ok(), "{ok}");
        }
        let private = [
            "https://localhost/",
            "https://a.localhost/",
            "https://127.0.0.1/",
            "https://10.1.2.3/",
            "https://172.16.0.1/",
            "https://192.168.1.1/",
            "https://169.254.169.254/latest",
            "https://100.64.0.1/",
            "https://0.0.0.0/",
            "https://[::1]/",
            "https://[fe80::1]/",
            "https://[fd00::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://[::127.0.0.1]/",
            "https://[2002:7f00:1::]/",
            "https://metadata.google.internal/",
            "https://router.local/",
            "https://intranet/",
            "https://localhost./",
            "https://192.0.0.8/",
            "https://255.255.255.255/",
        ];
        for address in private {
            assert_eq!(Address::parse(address, false), Err(AddressError::Private), "{address}");
            assert!(Address::parse(address, true).is_ok(), "{address} in development");
        }
        assert_eq!(Address::parse("http://example.com/", false), Err(AddressError::Plain));
        for wrong in [
            "",
            "example.com",
            "ftp://example.com/",
            "https://",
            "https:///x",
            "https://a@b.com/",
            "https://u:p@b.com/",
            "https://b.com:0/",
            "https://b.com:x/",
            "https://b.com:99999/",
            "https://b.com/#x",
            "https://b.com\\@evil.com/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://127.1/",
            "https://b..com/",
            "https://b.com/ x",
            "https://é.com/",
            "https://[::1/",
            "https://[::1]x/",
            "https://%31.com/",
        ] {
            assert_eq!(Address::parse(wrong, true), Err(AddressError::Form), "{wrong}");
        }
    }

    #[test]
    fn a_redirect_stays_where_it_is() {
        let here = Address::parse("https://example.com/mcp", false).unwrap();
        let to = |location: &str| here.redirected(location).map(|there| there.text());
        assert_eq!(to("/mcp/"), Some("https://example.com/mcp/".to_owned()));
        assert_eq!(to("https://EXAMPLE.com/x"), Some("https://example.com/x".to_owned()));
        for other in [
            "https://example.com:444/",
            "http://example.com/",
            "https://example.com.evil/",
            "//evil.com/",
            "/\\evil.com",
            "mcp2",
            "https://example.com@evil.com/",
            "",
        ] {
            assert_eq!(to(other), None, "{other}");
        }
    }
}
