//! Personal keys. A key says itself whose it is and what it is good for, sealed under the
//! deployment's keys: what it may not do is known before any object is chosen, and a key that
//! nobody here made reaches none. Whether it was revoked is its user's McpRouter's to know. It must
//! not know requests.

use crate::{
    caller::Access,
    keyring::{Fresh, KeyRing},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shared::{Millis, UserId};

/// What every personal key begins with: so that scanners for leaked secrets find it.
pub const PREFIX: &str = "sbx_";

const PURPOSE: &str = "personal key";

/// What a personal key is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its id: what its user knows it by.
    #[serde(rename = "i")]
    pub id: String,
    /// Whose it is.
    #[serde(rename = "u")]
    pub user: UserId,
    /// The path of the scope at and below which it is good: `/mcp/acme`.
    #[serde(rename = "s")]
    pub scope: String,
    /// How much it allows.
    #[serde(rename = "a")]
    pub access: Access,
    /// From when on it is good no more.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Millis>,
}

impl Grant {
    /// Whether it is good at this time.
    #[must_use]
    pub fn is_good(&self, now: Millis) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

/// Makes a key. It is shown once; [`digest`] is what is kept. `None` as [`KeyRing::seal`].
#[must_use]
pub fn mint(ring: &KeyRing, grant: &Grant, fresh: Fresh) -> Option<String> {
    let plain = serde_json::to_vec(grant).ok()?;
    Some(format!("{PREFIX}{}", ring.seal(PURPOSE, &plain, fresh)?))
}

/// What a key is good for; `None` if it was not made here.
#[must_use]
pub fn read(ring: &KeyRing, key: &str) -> Option<Grant> {
    let plain = ring.open(PURPOSE, key.strip_prefix(PREFIX)?)?;
    serde_json::from_slice(&plain).ok()
}

/// What is kept of a key.
#[must_use]
pub fn digest(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(key.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(byte: u8) -> KeyRing {
        let key = base64::engine::general_purpose::STANDARD.encode([byte; 32]);
        KeyRing::parse(&format!("a={key}")).unwrap()
    }

    #[test]
    fn a_key_says_what_it_is_good_for_to_whoever_made_it() {
        let grant = Grant {
            id: "k1".to_owned(),
            user: UserId::parse("https://idp.test#ü:1").unwrap(),
            scope: "/mcp/acme".to_owned(),
            access: Access::Read,
            expires: Some(Millis(7)),
        };
        let key = mint(&ring(1), &grant, [9; 12]).unwrap();
        assert!(key.starts_with("sbx_a.") && !key.contains("acme"), "{key}");
        assert_eq!(read(&ring(1), &key), Some(grant.clone()));
        assert_eq!(read(&ring(2), &key), None);
        assert_eq!(read(&ring(1), key.strip_prefix(PREFIX).unwrap()), None);
        assert!(grant.is_good(Millis(6)) && !grant.is_good(Millis(7)));
    }
}
