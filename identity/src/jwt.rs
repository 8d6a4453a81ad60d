//! Signed tokens of others (RFC 7519): read, held against what is expected of them, and the key that
//! must have signed one. Whether it did is for whoever has the cryptography. It must not know where
//! keys come from, nor what a token is for besides its kind.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use shared::{Millis, config::people::Algorithm, limits};

/// What is wrong with a token, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Not three parts, or one that is not what it must be.
    #[error("it is no signed token")]
    Form,
    /// `alg`.
    #[error("it is signed with an algorithm that is not accepted")]
    Algorithm,
    /// `typ`.
    #[error("it is a token of another kind")]
    Kind,
    /// `crit` (RFC 7515, 4.1.11).
    #[error("its header demands what is not understood")]
    Critical,
    /// `iss`.
    #[error("it is of another issuer")]
    Issuer,
    /// `aud`.
    #[error("it is for another audience")]
    Audience,
    /// `azp`.
    #[error("it was given to another client")]
    Party,
    /// `exp`.
    #[error("it has no end, or is past it")]
    Expired,
    /// `nbf`.
    #[error("it is not good yet")]
    Early,
    /// `iat`.
    #[error("it says of no time, or of one to come, that it was made then")]
    Made,
    /// `nonce`.
    #[error("it answers another login")]
    Nonce,
    /// No key of the issuer fits.
    #[error("no key of its issuer fits it")]
    Key,
    /// The signature.
    #[error("its signature is wrong")]
    Signature,
    /// The claim that says whose it is.
    #[error("it does not say whose it is, or so that nobody here can be called")]
    Subject,
}

/// What a token is for, as its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Who has signed in (OpenID Connect Core 1.0, 2).
    Id,
    /// Access (RFC 9068).
    Access,
}

/// A token that was read. Nothing of it is true before its signature was found right.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// How it is signed.
    pub algorithm: Algorithm,
    key: Option<String>,
    kind: Option<String>,
    claims: Map<String, Value>,
    /// What is signed.
    pub signed: String,
    /// The signature.
    pub signature: Vec<u8>,
}

/// Whether a text is one, as far as its form says.
#[must_use]
pub fn is_like(text: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    text.len() <= limits::TOKEN_BYTES_MAX
        // `{"` in base64: how every header begins.
        && text.starts_with("ey")
        && text.bytes().filter(|b| *b == b'.').count() == 2
        && text.bytes().all(is_part)
}

impl Token {
    /// Reads a token.
    ///
    /// # Errors
    /// [`Wrong`], of what its header says.
    pub fn read(text: &str) -> Result<Self, Wrong> {
        if !is_like(text) {
            return Err(Wrong::Form);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Wrong::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(Wrong::Form)?;
        let header = object(header).ok_or(Wrong::Form)?;
        // What must be understood is nothing that anybody here understands.
        if header.contains_key("crit") {
            return Err(Wrong::Critical);
        }
        let text = |name: &str| header.get(name).and_then(Value::as_str);
        let algorithm = text("alg").and_then(Algorithm::named).ok_or(Wrong::Algorithm)?;
        Ok(Self {
            algorithm,
            key: text("kid").map(ToOwned::to_owned),
            kind: match header.get("typ") {
                None => None,
                Some(kind) => Some(kind.as_str().ok_or(Wrong::Kind)?.to_ascii_lowercase()),
            },
            claims: object(claims).ok_or(Wrong::Form)?,
            signed: signed.to_owned(),
            signature: decoded(signature).ok_or(Wrong::Form)?,
        })
    }

    /// A claim that is a text.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }

    /// A claim that is a time.
    fn time(&self, name: &str) -> Option<Millis> {
        let value = self.claims.get(name)?;
        let parts = || value.as_f64().filter(|s| (0.0..1e12).contains(s));
        let millis = || parts().map(|s| (s * 1000.0) as u64);
        let whole = value.as_u64().map(|s| s.saturating_mul(1000));
        whole.or_else(millis).map(Millis)
    }

    /// From when on it is good no more.
    #[must_use]
    pub fn expires(&self) -> Option<Millis> {
        self.time("exp")
    }

    /// The audiences: one text, or several (RFC 7519, 4.1.3).
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        let audience = self.claims.get("aud");
        let several = audience.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        audience.and_then(Value::as_str).into_iter().chain(several.iter().filter_map(Value::as_str))
    }

    /// The scopes, one text or several: `scope` (RFC 9068, 2.2.3), or `scp` as some say.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        let said = self.claims.get("scope").or_else(|| self.claims.get("scp"));
        let several = said.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let one = said.and_then(Value::as_str).unwrap_or_default();
        one.split(' ')
            .filter(|scope| !scope.is_empty())
            .chain(several.iter().filter_map(Value::as_str))
    }

    /// Whether it is of this issuer, of this kind, and good now.
    fn check(&self, kind: Kind, issuer: &str, now: Millis) -> Result<(), Wrong> {
        let is_kind = match (kind, self.kind.as_deref()) {
            (_, Some("jwt")) | (Kind::Id, None) => true,
            (Kind::Access, Some(said)) => matches!(said, "at+jwt" | "application/at+jwt"),
            _ => false,
        };
        if !is_kind {
            return Err(Wrong::Kind);
        }
        if self.claim("iss") != Some(issuer) {
            return Err(Wrong::Issuer);
        }
        let soon = now.after(limits::CLOCK_SKEW_MS);
        let is_over = |end: Millis| end.after(limits::CLOCK_SKEW_MS) <= now;
        if self.expires().is_none_or(is_over) {
            return Err(Wrong::Expired);
        }
        let has = |name: &str| self.claims.contains_key(name);
        if has("nbf") && self.time("nbf").is_none_or(|start| start > soon) {
            return Err(Wrong::Early);
        }
        if has("iat") && self.time("iat").is_none_or(|made| made > soon) {
            return Err(Wrong::Made);
        }
        Ok(())
    }

    /// Holds an ID token against the login that it answers (OpenID Connect Core 1.0, 3.1.3.7).
    ///
    /// # Errors
    /// [`Wrong`].
    pub fn check_id(
        &self,
        issuer: &str,
        client: &str,
        nonce: &str,
        now: Millis,
    ) -> Result<(), Wrong> {
        self.check(Kind::Id, issuer, now)?;
        if !self.audiences().any(|audience| audience == client) {
            return Err(Wrong::Audience);
        }
        match self.claims.get("azp") {
            None if self.audiences().count() > 1 => return Err(Wrong::Party),
            Some(party) if party.as_str() != Some(client) => return Err(Wrong::Party),
            _ => {}
        }
        if self.claim("nonce") != Some(nonce) {
            return Err(Wrong::Nonce);
        }
        self.time("iat").map(|_| ()).ok_or(Wrong::Made)
    }

    /// Holds an access token against who made it and whom it is for (RFC 9068, 4). Answers the
    /// audience, the first of those wanted that it has.
    ///
    /// # Errors
    /// [`Wrong`].
    pub fn check_access<'a>(
        &self,
        issuer: &str,
        audiences: &'a [String],
        now: Millis,
    ) -> Result<&'a str, Wrong> {
        self.check(Kind::Access, issuer, now)?;
        let is_said = |wanted: &&String| self.audiences().any(|said| said == wanted.as_str());
        audiences.iter().find(is_said).map(String::as_str).ok_or(Wrong::Audience)
    }

    /// The key of a set (RFC 7517) that must have signed it. Without a `kid` only one may fit
    /// (OpenID Connect Core 1.0, 10.1).
    #[must_use]
    pub fn key(&self, keys: &Value) -> Option<Key> {
        let keys = keys.get("keys").and_then(Value::as_array)?;
        let keys = keys.iter().take(limits::KEY_SET_MAX);
        let is_named = |key: &&Value| match &self.key {
            Some(name) => key.get("kid").and_then(Value::as_str) == Some(name),
            None => true,
        };
        let mut fitting = keys.filter(is_named).filter_map(|key| Key::read(key, self.algorithm));
        let first = fitting.next()?;
        match self.key.is_none() && fitting.next().is_some() {
            true => None,
            false => Some(first),
        }
    }
}

fn decoded(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&decoded(part)?).ok()
}

/// A public key that signatures are checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// What it signs with.
    pub algorithm: Algorithm,
    /// The key, as JSON with nothing but what makes it one: equal keys are equal texts.
    pub text: String,
}

impl Key {
    /// Reads a key of a set, if it may sign with this algorithm and is strong enough for it
    /// (RFC 7518, 3.3 and 3.4).
    fn read(key: &Value, algorithm: Algorithm) -> Option<Self> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let is_free = |name: &str, value: &str| key.get(name).is_none_or(|said| said == value);
        let (name, kind) = match algorithm {
            Algorithm::Rs256 => ("RS256", "RSA"),
            Algorithm::Es256 => ("ES256", "EC"),
        };
        let may_verify = key.get("key_ops").is_none_or(|operations| {
            operations.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"))
        });
        if text("kty") != Some(kind)
            || !may_verify
            || !is_free("use", "sig")
            || !is_free("alg", name)
        {
            return None;
        }
        let sized = |name: &str, least: usize, most: usize| {
            let value = text(name)?;
            let bytes = decoded(value)?.len();
            (least..=most).contains(&bytes).then_some(value)
        };
        let plain = match algorithm {
            Algorithm::Rs256 => {
                json!({ "kty": kind, "n": sized("n", 256, 1024)?, "e": sized("e", 1, 8)? })
            }
            Algorithm::Es256 if text("crv") == Some("P-256") => {
                let (x, y) = (sized("x", 32, 32)?, sized("y", 32, 32)?);
                json!({ "kty": kind, "crv": "P-256", "x": x, "y": y })
            }
            Algorithm::Es256 => return None,
        };
        Some(Self { algorithm, text: plain.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Millis = Millis(1_000_000_000);

    fn token(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", part(header), part(claims))
    }

    fn read(header: &Value, claims: &Value) -> Result<Token, Wrong> {
        Token::read(&token(header, claims))
    }

    /// What is right, with some members changed; null takes one away.
    fn with(right: &Value, change: &Value) -> Value {
        let mut all = right.as_object().unwrap().clone();
        for (name, value) in change.as_object().unwrap() {
            match value.is_null() {
                true => all.remove(name),
                false => all.insert(name.clone(), value.clone()),
            };
        }
        Value::Object(all)
    }

    #[test]
    fn only_what_is_signed_as_expected_is_read() {
        let claims = json!({});
        assert!(read(&json!({ "alg": "RS256" }), &claims).is_ok());
        for (header, wrong) in [
            (json!({}), Wrong::Form),
            (json!({ "typ": "JWT" }), Wrong::Algorithm),
            (json!({ "alg": "none" }), Wrong::Algorithm),
            (json!({ "alg": "HS256" }), Wrong::Algorithm),
            (json!({ "alg": "rs256" }), Wrong::Algorithm),
            (json!({ "alg": ["RS256"] }), Wrong::Algorithm),
            (json!({ "alg": "RS256", "typ": 1 }), Wrong::Kind),
            (json!({ "alg": "RS256", "crit": ["exp"] }), Wrong::Critical),
            (json!({ "alg": "RS256", "crit": [] }), Wrong::Critical),
        ] {
            assert_eq!(read(&header, &claims), Err(wrong), "{header}");
        }
        let good = token(&json!({ "alg": "RS256" }), &claims);
        let (head, _) = good.split_once('.').unwrap();
        for text in [
            "",
            "ey",
            "sbx_a.b",
            "a.b.c",
            "ey..",
            &format!("{good}.x"),
            &format!("{good}="),
            &format!(" {good}"),
            &format!("{head}.e30"),
            &format!("{head}.W10.c2ln"),
            &format!("{head}.{}.c2ln", "A".repeat(limits::TOKEN_BYTES_MAX)),
        ] {
            assert_eq!(Token::read(text), Err(Wrong::Form), "{text}");
        }
    }

    #[test]
    fn an_id_token_answers_one_login() {
        let right = json!({ "iss": "https://i.test", "aud": "c", "nonce": "n", "sub": "s",
            "exp": 1_000_100, "iat": 999_990 });
        let check = |header: Value, change: Value| {
            let token = read(&with(&json!({ "alg": "ES256" }), &header), &with(&right, &change));
            token.and_then(|token| token.check_id("https://i.test", "c", "n", NOW))
        };
        for (header, change) in [
            (json!({}), json!({})),
            (json!({ "typ": "JWT" }), json!({ "aud": ["c"] })),
            (json!({}), json!({ "aud": ["c", "d"], "azp": "c" })),
            (json!({}), json!({ "exp": 999_940.5 })),
            (json!({}), json!({ "iat": 1_000_060, "nbf": 1_000_060 })),
        ] {
            assert_eq!(check(header.clone(), change.clone()), Ok(()), "{header} {change}");
        }
        for (header, change, wrong) in [
            (json!({ "typ": "at+jwt" }), json!({}), Wrong::Kind),
            (json!({ "typ": "logout+jwt" }), json!({}), Wrong::Kind),
            (json!({}), json!({ "iss": "https://i.test/" }), Wrong::Issuer),
            (json!({}), json!({ "iss": null }), Wrong::Issuer),
            (json!({}), json!({ "aud": "d" }), Wrong::Audience),
            (json!({}), json!({ "aud": [] }), Wrong::Audience),
            (json!({}), json!({ "aud": null }), Wrong::Audience),
            (json!({}), json!({ "aud": ["c", "d"] }), Wrong::Party),
            (json!({}), json!({ "azp": "d" }), Wrong::Party),
            (json!({}), json!({ "exp": 999_940 }), Wrong::Expired),
            (json!({}), json!({ "exp": null }), Wrong::Expired),
            (json!({}), json!({ "exp": "1000100" }), Wrong::Expired),
            (json!({}), json!({ "exp": -1 }), Wrong::Expired),
            (json!({}), json!({ "nbf": 1_000_061 }), Wrong::Early),
            (json!({}), json!({ "nbf": "x" }), Wrong::Early),
            (json!({}), json!({ "iat": 1_000_061 }), Wrong::Made),
            (json!({}), json!({ "iat": null }), Wrong::Made),
            (json!({}), json!({ "nonce": "m" }), Wrong::Nonce),
            (json!({}), json!({ "nonce": null }), Wrong::Nonce),
        ] {
            assert_eq!(check(header.clone(), change.clone()), Err(wrong), "{header} {change}");
        }
    }

    #[test]
    fn an_access_token_is_for_an_audience() {
        let right = json!({ "iss": "i", "aud": ["x", "https://h/mcp"], "exp": 1_000_100 });
        let wanted = ["https://h/mcp/acme".to_owned(), "https://h/mcp".to_owned()];
        let check = |kind: Value, change: Value| {
            let header = with(&json!({ "alg": "RS256", "typ": "at+jwt" }), &kind);
            let token = read(&header, &with(&right, &change)).unwrap();
            token.check_access("i", &wanted, NOW).map(ToOwned::to_owned)
        };
        for kind in ["at+jwt", "AT+JWT", "application/at+jwt", "JWT"] {
            let found = check(json!({ "typ": kind }), json!({}));
            assert_eq!(found.as_deref(), Ok("https://h/mcp"), "{kind}");
        }
        assert_eq!(check(json!({ "typ": null }), json!({})), Err(Wrong::Kind));
        assert_eq!(check(json!({}), json!({ "aud": "https://h/mcp/" })), Err(Wrong::Audience));
        assert_eq!(check(json!({}), json!({ "exp": 1 })), Err(Wrong::Expired));
    }

    #[test]
    fn scopes_are_said_in_three_ways() {
        let scopes = |claims: Value| {
            let token = read(&json!({ "alg": "RS256" }), &claims).unwrap();
            token.scopes().map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(scopes(json!({ "scope": "a  b" })), ["a", "b"]);
        assert_eq!(scopes(json!({ "scp": "a" })), ["a"]);
        assert_eq!(scopes(json!({ "scp": ["a", 1, "b"] })), ["a", "b"]);
        assert!(scopes(json!({ "scope": 1 })).is_empty());
    }

    fn rsa(change: &Value) -> Value {
        let n = URL_SAFE_NO_PAD.encode([9; 256]);
        with(&json!({ "kty": "RSA", "kid": "k", "n": n, "e": "AQAB", "d": "secret" }), change)
    }

    #[test]
    fn the_key_is_the_one_that_fits() {
        let named = read(&json!({ "alg": "RS256", "kid": "k" }), &json!({})).unwrap();
        let any = read(&json!({ "alg": "RS256" }), &json!({})).unwrap();
        let key = |token: &Token, keys: &[Value]| token.key(&json!({ "keys": keys }));
        let found = key(&named, &[json!(1), rsa(&json!({ "kid": "j" })), rsa(&json!({}))]).unwrap();
        assert!(!found.text.contains("secret") && found.text.contains("AQAB"), "{}", found.text);
        assert_eq!(key(&any, &[rsa(&json!({}))]), Some(found));
        assert_eq!(key(&any, &[rsa(&json!({})), rsa(&json!({ "kid": "j" }))]), None);
        for change in [
            json!({ "kid": "j" }),
            json!({ "kid": null }),
            json!({ "kty": "EC" }),
            json!({ "use": "enc" }),
            json!({ "alg": "PS256" }),
            json!({ "key_ops": ["sign"] }),
            json!({ "n": URL_SAFE_NO_PAD.encode([9; 128]) }),
            json!({ "n": URL_SAFE_NO_PAD.encode([9; 2048]) }),
            json!({ "n": "!" }),
            json!({ "e": null }),
        ] {
            assert_eq!(key(&named, &[rsa(&change)]), None, "{change}");
        }
        let ec = read(&json!({ "alg": "ES256", "kid": "k" }), &json!({})).unwrap();
        let point = URL_SAFE_NO_PAD.encode([9; 32]);
        let right = json!({ "kty": "EC", "crv": "P-256", "kid": "k", "x": point, "y": point });
        assert!(key(&ec, std::slice::from_ref(&right)).is_some());
        assert_eq!(key(&ec, &[with(&right, &json!({ "crv": "P-384" }))]), None);
        assert_eq!(key(&ec, &[with(&right, &json!({ "x": "AQAB" }))]), None);
        // A key is for one algorithm: whoever signs cannot choose another for it.
        assert_eq!(key(&named, &[right]), None);
        assert_eq!(ec.key(&json!([])), None);
    }

    proptest! {
        #[test]
        fn nothing_is_a_panic(text in any::<String>(), part in "ey[A-Za-z0-9_-]{0,9}[.][a-zA-Z]*[.]a*") {
            let _ = (Token::read(&text), Token::read(&part));
        }
    }
}
