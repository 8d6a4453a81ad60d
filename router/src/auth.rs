//! A credential → a user, or a challenge. Static keys for now, each known by its SHA-256 only.
//! It must not know scopes or messages; whoever calls it names the object by what it answers.

use crate::refusal::Refusal;
use sha2::{Digest as _, Sha256};
use shared::{UserId, limits};
use std::collections::HashMap;

/// Who is calling, proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user, and so the McpRouter.
    pub user: UserId,
}

/// The credentials a deployment knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// Good anywhere.
    issued: HashMap<Hash, UserId>,
    /// Good on loopback only.
    development: HashMap<Hash, UserId>,
    /// The user of a request without a credential, on loopback only.
    development_user: Option<UserId>,
}

type Hash = [u8; 32];

/// A mistake in the configured keys. Says which entry, never what it holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: entry {entry}: {rule}")]
pub struct KeysError {
    /// The variable or secret.
    pub variable: &'static str,
    /// Which entry, from 1.
    pub entry: usize,
    /// The rule it breaks.
    pub rule: String,
}

fn hash(key: &str) -> Hash {
    Sha256::digest(key.as_bytes()).into()
}

impl Keys {
    /// Reads the three sources, each empty where nothing is set:
    /// - `API_KEYS`: `user=sha256:<hex of the key's SHA-256>`, by comma or line;
    /// - `DEV_KEYS`: `user=key`, by comma or line;
    /// - `DEV_USER`: a user.
    ///
    /// A user's name may contain `=`; a key may not.
    ///
    /// # Errors
    /// [`KeysError`] for the first entry that is none.
    pub fn parse(api_keys: &str, dev_keys: &str, dev_user: &str) -> Result<Self, KeysError> {
        let issued = entries("API_KEYS", api_keys, |secret| {
            let hex = secret.strip_prefix("sha256:").ok_or("it must be user=sha256:<hex>")?;
            unhex(hex).ok_or("sha256: is followed by 64 hexadecimal digits")
        })?;
        let development = entries("DEV_KEYS", dev_keys, |key| match key {
            "" => Err("a key must not be empty"),
            key => Ok(hash(key)),
        })?;
        let user = |text: &str| {
            UserId::parse(text).map_err(|error| KeysError {
                variable: "DEV_USER",
                entry: 1,
                rule: error.to_string(),
            })
        };
        let development_user = match dev_user {
            "" => None,
            text => Some(user(text)?),
        };
        Ok(Self { issued, development, development_user })
    }

    /// Whose credential an `Authorization` header carries. `loopback` says that the endpoint was
    /// addressed on this machine's own interface.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`], whatever was wrong with it.
    pub fn identify(
        &self,
        authorization: Option<&str>,
        loopback: bool,
    ) -> Result<Identity, Refusal> {
        let user = match authorization {
            None if loopback => self.development_user.as_ref(),
            None => None,
            Some(value) => bearer(value).map(hash).and_then(|hash| {
                let development = || self.development.get(&hash).filter(|_| loopback);
                self.issued.get(&hash).or_else(development)
            }),
        };
        user.map(|user| Identity { user: user.clone() }).ok_or(Refusal::Unauthenticated)
    }
}

/// The token of a bearer credential (RFC 6750; the scheme is case-insensitive).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start())
}

fn entries(
    variable: &'static str,
    text: &str,
    read: impl Fn(&str) -> Result<Hash, &'static str>,
) -> Result<HashMap<Hash, UserId>, KeysError> {
    let mut map = HashMap::new();
    let entries = text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
    for (entry, text) in (1_usize..).zip(entries) {
        let mistake = |rule: String| KeysError { variable, entry, rule };
        if entry > limits::KEYS_MAX {
            return Err(mistake(format!("there are at most {} keys", limits::KEYS_MAX)));
        }
        let (user, secret) =
            text.rsplit_once('=').ok_or_else(|| mistake("it must be user=…".to_owned()))?;
        let user = UserId::parse(user).map_err(|error| mistake(error.to_string()))?;
        let hash = read(secret).map_err(|rule| mistake(rule.to_owned()))?;
        if map.insert(hash, user).is_some() {
            return Err(mistake("the same key is given twice".to_owned()));
        }
    }
    Ok(map)
}

fn unhex(text: &str) -> Option<Hash> {
    let mut bytes = [0; 32];
    let digits = text.as_bytes().chunks_exact(2);
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    // printf %s secret | sha256sum
    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    fn keys() -> Keys {
        let api = format!("carol@x=sha256:{SECRET}");
        Keys::parse(&api, "alice=key1,b=o=b=key2\n ü ö=key3", "dev").unwrap()
    }

    fn check(authorization: Option<&str>, loopback: bool, expected: Option<&str>) {
        let got = keys().identify(authorization, loopback).ok();
        assert_eq!(got.as_ref().map(|i| i.user.as_str()), expected, "{authorization:?}");
    }

    #[test]
    fn a_key_is_its_user() {
        check(Some("Bearer key1"), true, Some("alice"));
        check(Some("bearer  key2"), true, Some("b=o=b"));
        check(Some("Bearer key3"), true, Some("ü ö"));
        check(Some("Bearer secret"), true, Some("carol@x"));
        check(Some("Bearer secret"), false, Some("carol@x"));
        check(None, true, Some("dev"));
    }

    #[test]
    fn anything_else_is_nobody() {
        // Development credentials are nothing off loopback.
        check(Some("Bearer key1"), false, None);
        check(None, false, None);
        // A bad credential does not fall back to the development user.
        check(Some("Bearer wrong"), true, None);
        check(Some("Bearer "), true, None);
        check(Some("Bearer"), true, None);
        check(Some("Basic key1"), true, None);
        check(Some(""), true, None);
        // A hash is no key.
        check(Some(&format!("Bearer {SECRET}")), true, None);
        let nothing = Keys::default();
        assert!(nothing.identify(None, true).is_err());
        assert!(nothing.identify(Some("Bearer "), true).is_err());
    }

    #[test]
    fn mistakes_name_the_entry_and_never_the_key() {
        let check = |api: &str, dev: &str, user: &str, expected: &str| {
            assert_eq!(Keys::parse(api, dev, user).unwrap_err().to_string(), expected);
        };
        check("a", "", "", "API_KEYS: entry 1: it must be user=…");
        check("a=b", "", "", "API_KEYS: entry 1: it must be user=sha256:<hex>");
        let digits = "API_KEYS: entry 1: sha256: is followed by 64 hexadecimal digits";
        check("a=sha256:12", "", "", digits);
        check(&format!("a=sha256:+{}", SECRET.replacen('2', "", 1)), "", "", digits);
        check("", "a=k,a=k", "", "DEV_KEYS: entry 2: the same key is given twice");
        check("", "=k", "", "DEV_KEYS: entry 1: a user's name must not be empty");
        check("", "a=", "", "DEV_KEYS: entry 1: a key must not be empty");
        check(
            "",
            "",
            "a\u{7}",
            "DEV_USER: entry 1: a user's name must not contain control characters",
        );
    }
}
