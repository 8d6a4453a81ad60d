//! The values of headers that mirror a body (2026-07-28, transports: what is no plain ASCII is sent
//! as base64 between marks). It must not know which header it is.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::borrow::Cow;

/// What a header's value says: what stands between the marks `=?base64?` and `?=`, or else the
/// text as it is. `None` where it is not the base64 that it says it is.
#[must_use]
pub fn decode(value: &str) -> Option<Cow<'_, str>> {
    let marked = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
    match marked {
        None => Some(Cow::Borrowed(value)),
        Some(encoded) => STANDARD
            .decode(encoded)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .map(Cow::Owned),
    }
}

/// A text as a header's value: as it is where every reader sees it so, and else between the marks.
#[must_use]
pub fn encode(text: &str) -> String {
    let is_visible = |b: u8| b == b' ' || b.is_ascii_graphic();
    let is_plain = !text.is_empty()
        && text.bytes().all(is_visible)
        && text.trim() == text
        && !(text.starts_with("=?base64?") && text.ends_with("?="));
    if is_plain { text.to_owned() } else { format!("=?base64?{}?=", STANDARD.encode(text)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_both_marks_is_decoded() {
        for (value, expected) in [
            ("plain", Some("plain")),
            ("", Some("")),
            ("=?base64?w7xiZXI=?=", Some("über")),
            ("=?base64??=", Some("")),
            ("=?base64?w7xiZXI?=", None),
            ("=?base64?!!?=", None),
            ("=?base64?/w==?=", None),
            ("=?base64?w7xiZXI=", Some("=?base64?w7xiZXI=")),
            ("w7xiZXI=?=", Some("w7xiZXI=?=")),
        ] {
            assert_eq!(decode(value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for text in ["plain", "", " a", "a b", "über", "=?base64?YQ==?=", "a\nb", "=?base64?"] {
            let header = encode(text);
            assert_eq!(decode(&header).as_deref(), Some(text), "{header}");
            assert!(header.bytes().all(|b| (b' '..=b'~').contains(&b)), "{header}");
        }
        assert_eq!(encode("plain"), "plain");
    }
}
