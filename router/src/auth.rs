//! A credential → a user and what it allows, or a challenge. Whether it is good where it came is known
//! before any object is chosen. Static keys are known by their SHA-256 only. It must not know messages,
//! nor how a token's signature or storage is looked at.

use crate::refusal::Refusal;
use identity::{
    caller::{Access, Caller, Credential},
    key,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use shared::{Millis, Scope, UserId, config::Level, limits};
use std::collections::HashMap;

/// Who is calling, proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user, and so the McpRouter.
    pub user: UserId,
    /// What let them in.
    pub caller: Caller,
}

/// Scopes of tokens, by what they allow.
pub const SCOPES: [(&str, Access); 2] = [("mcp:read", Access::Read), ("mcp:write", Access::Write)];

/// What a token was found to say: one of ours, or of an authorization server that is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Whose it is.
    pub user: UserId,
    /// What it is, for its user.
    pub credential: Credential,
    /// The resource that it was issued for (RFC 8707): the address of a scope. None where the operator
    /// trusts its issuer with the whole deployment.
    pub audience: Option<String>,
    /// The path of a narrower scope that its user left of that.
    pub narrowed: Option<String>,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// From when on it is good no more.
    pub expires: Millis,
}

/// Where and when a credential is shown.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Scheme and authority that the deployment is known by.
    pub origin: &'a str,
    /// The scope of the address.
    pub scope: &'a Scope,
    /// The levels of a scope.
    pub levels: &'a [Level],
    /// The time.
    pub now: Millis,
}

impl Shown<'_> {
    /// Whether a path is that of this scope or of a wider one, letter by letter.
    fn is_covered_by(&self, path: &str) -> bool {
        let wider = Scope::parse_path(path, self.levels);
        wider.is_ok_and(|wider| self.scope.is_within(&wider) && wider.to_string() == path)
    }
}

impl Identity {
    /// Who holds a personal key, if it is good here and now. Elsewhere it is as good as unknown.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`].
    pub fn of_key(grant: &key::Grant, shown: Shown<'_>) -> Result<Self, Refusal> {
        if !grant.is_good(shown.now) || !shown.is_covered_by(&grant.scope) {
            return Err(Refusal::Unauthenticated);
        }
        let credential = Credential::Key(grant.id.clone());
        let (access, until) = (grant.access, grant.expires.filter(is_ever));
        let caller = Caller { credential, access, narrowed: None, until };
        Ok(Self { user: grant.user.clone(), caller })
    }

    /// Who holds a token, if it is good here and now: the audience is this address or a wider one
    /// (RFC 8707, 2; MCP authorization: tokens for other resources must be rejected).
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`], and [`Refusal::InsufficientScope`] where it allows nothing.
    pub fn of_token(token: Token, shown: Shown<'_>) -> Result<Self, Refusal> {
        let is_for_this = token.audience.as_ref().is_none_or(|audience| {
            audience.strip_prefix(shown.origin).is_some_and(|path| shown.is_covered_by(path))
        });
        if token.expires <= shown.now || !is_for_this {
            return Err(Refusal::Unauthenticated);
        }
        let of = |scope: &String| SCOPES.iter().find(|(name, _)| name == scope);
        let access = token.scopes.iter().filter_map(of).map(|(_, access)| *access).max();
        let access = access.ok_or(Refusal::InsufficientScope)?;
        // A token of ours is renewed; its grant is what ends.
        let is_renewed = matches!(token.credential, Credential::Grant { .. });
        let until = Some(token.expires).filter(|until| !is_renewed && is_ever(until));
        let Token { user, credential, narrowed, .. } = token;
        let caller = Caller { credential, access, narrowed, until };
        Ok(Self { user, caller })
    }
}

fn is_ever(end: &Millis) -> bool {
    end.0 < limits::NEVER_MS
}

/// The challenge to whoever shows no credential, a bad one, or one of too little (RFC 6750, 3; RFC 9728,
/// 5.1). `metadata` is where the resource says how to get one.
#[must_use]
pub fn challenge(error: Option<&str>, metadata: Option<&str>) -> String {
    let mut parts = Vec::new();
    if let Some(error) = error {
        parts.push(format!("error=\"{error}\""));
    }
    if let Some(metadata) = metadata {
        let scopes = SCOPES.map(|(name, _)| name).join(" ");
        parts.push(format!("scope=\"{scopes}\""));
        parts.push(format!("resource_metadata=\"{metadata}\""));
    }
    match parts.is_empty() {
        true => "Bearer".to_owned(),
        false => format!("Bearer {}", parts.join(", ")),
    }
}

/// Where the metadata of a resource is, after the origin (RFC 9728, 3.1).
pub const METADATA: &str = "/.well-known/oauth-protected-resource";

/// The metadata of the resource at a scope (RFC 9728, 2).
#[must_use]
pub fn metadata(origin: &str, scope: &Scope, issuers: &[String]) -> String {
    let mut servers = vec![origin.to_owned()];
    servers.extend(issuers.iter().cloned());
    json!({
        "resource": format!("{origin}{scope}"),
        "resource_name": "Signalbox",
        "authorization_servers": servers,
        "scopes_supported": SCOPES.map(|(name, _)| name),
        "bearer_methods_supported": ["header"],
    })
    .to_string()
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
        let user = user.ok_or(Refusal::Unauthenticated)?;
        Ok(Identity { user: user.clone(), caller: Caller::fixed() })
    }
}

/// The token of a bearer credential (RFC 6750; the scheme is case-insensitive).
#[must_use]
pub fn bearer(value: &str) -> Option<&str> {
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

    fn shown<'a>(scope: &'a Scope, levels: &'a [Level]) -> Shown<'a> {
        Shown { origin: "https://x.test", scope, levels, now: Millis(10) }
    }

    #[test]
    fn a_token_is_good_at_its_audience_and_below() {
        let levels = shared::config::default_levels();
        let token = |audience: &str, scopes: &[&str], expires| Token {
            user: UserId::parse("u").unwrap(),
            credential: Credential::External { client: None },
            audience: Some(audience.to_owned()),
            narrowed: None,
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            expires: Millis(expires),
        };
        let check = |path: &str, token: Token| {
            let scope = Scope::parse_path(path, &levels).unwrap();
            Identity::of_token(token, shown(&scope, &levels)).map(|found| found.caller.access)
        };
        let write = ["mcp:read", "mcp:write"];
        let acme = "https://x.test/mcp/acme";
        assert_eq!(check("/mcp/acme", token(acme, &write, 11)), Ok(Access::Write));
        assert_eq!(check("/mcp/acme/web", token(acme, &["mcp:read"], 11)), Ok(Access::Read));
        assert_eq!(check("/mcp/acme", token("https://x.test/mcp", &write, 11)), Ok(Access::Write));
        let nobody = Err(Refusal::Unauthenticated);
        assert_eq!(check("/mcp/acme", token(acme, &write, 10)), nobody);
        for path in ["/mcp", "/mcp/other", "/mcp/acme-2", "/mcp/other/acme"] {
            assert_eq!(check(path, token(acme, &write, 11)), nobody, "{path}");
        }
        for audience in [
            "https://y.test/mcp/acme",
            "https://x.test",
            "https://x.test/",
            "https://x.test/mcp/acme/",
            "https://x.test/mcp/acme?a=b",
            "https://x.test:443/mcp/acme",
            "http://x.test/mcp/acme",
            "https://x.testmcp/acme",
            "",
        ] {
            assert_eq!(check("/mcp/acme", token(audience, &write, 11)), nobody, "{audience}");
        }
        // What it opens stays open until then, unless that is as good as never, or it is renewed.
        let until = |token: Token| {
            let scope = Scope::parse_path("/mcp/acme", &levels).unwrap();
            Identity::of_token(token, shown(&scope, &levels)).unwrap().caller.until
        };
        assert_eq!(until(token(acme, &write, 11)), Some(Millis(11)));
        for never in [limits::NEVER_MS, u64::MAX] {
            assert_eq!(until(token(acme, &write, never)), None);
        }
        let credential = Credential::Grant { client: String::new(), grant: String::new() };
        assert_eq!(until(Token { credential, ..token(acme, &write, 11) }), None);
        let little = token(acme, &["openid"], 11);
        assert_eq!(check("/mcp/acme", little), Err(Refusal::InsufficientScope));
    }

    #[test]
    fn a_key_is_good_at_its_scope_and_below() {
        let levels = shared::config::default_levels();
        let grant = |expires| key::Grant {
            id: "k".to_owned(),
            user: UserId::parse("u").unwrap(),
            scope: "/mcp/acme".to_owned(),
            access: Access::Read,
            expires,
        };
        let check = |path: &str, expires| {
            let scope = Scope::parse_path(path, &levels).unwrap();
            Identity::of_key(&grant(expires), shown(&scope, &levels)).is_ok()
        };
        assert!(check("/mcp/acme", None) && check("/mcp/acme/web", Some(Millis(11))));
        assert!(!check("/mcp", None) && !check("/mcp/b", None));
        assert!(!check("/mcp/acme", Some(Millis(10))));
    }

    #[test]
    fn a_challenge_says_where_a_credential_is_had() {
        assert_eq!(challenge(None, None), "Bearer");
        assert_eq!(challenge(Some("invalid_token"), None), "Bearer error=\"invalid_token\"");
        assert_eq!(
            challenge(None, Some("https://x.test/m")),
            "Bearer scope=\"mcp:read mcp:write\", resource_metadata=\"https://x.test/m\""
        );
        let levels = shared::config::default_levels();
        let scope = Scope::parse_path("/mcp/acme", &levels).unwrap();
        let document = metadata("https://x.test", &scope, &["https://idp.test".to_owned()]);
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["resource"], "https://x.test/mcp/acme");
        assert_eq!(document["authorization_servers"][1], "https://idp.test");
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
