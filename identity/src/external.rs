//! Access tokens of authorization servers that the operator trusts: which server one is of, whether
//! it is for what is asked, and what it allows. It must not know how a signature is checked, nor
//! requests.

use crate::{
    caller::Access,
    jwt::{Token, Wrong},
    person,
};
use shared::{Millis, UserId, config::people::Issuer, limits};

/// What a token of another authorization server proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// Whose it is.
    pub user: UserId,
    /// The client that it was given to, where it says so.
    pub client: Option<String>,
    /// The audience that makes it good here: the address that was asked, a wider one, or one that
    /// the operator configured.
    pub audience: String,
    /// What it allows, of what means anything here.
    pub scopes: Vec<String>,
    /// From when on it is good no more.
    pub expires: Millis,
}

/// The scope that allows to read.
pub const READ: &str = "mcp:read";

/// The scope that allows everything.
pub const WRITE: &str = "mcp:write";

impl External {
    /// How much it allows.
    #[must_use]
    pub fn access(&self) -> Access {
        match self.scopes.iter().any(|scope| scope == WRITE) {
            true => Access::Write,
            false => Access::Read,
        }
    }
}

/// The addresses that a token may be for, where a path is asked: its own, and every wider one.
#[must_use]
pub fn resources(origin: &str, path: &str) -> Vec<String> {
    let ends = path.char_indices().skip(1).filter(|(_, c)| *c == '/').map(|(at, _)| at);
    let wider = ends.filter_map(|end| path.get(..end));
    let mut all: Vec<String> = wider.chain([path]).map(|path| format!("{origin}{path}")).collect();
    all.reverse();
    all
}

/// The server that a token says it is of, if the operator trusts it, and what the token proves once
/// its signature is found right. `path` is that of a scope: `/mcp/acme`.
///
/// # Errors
/// [`Wrong`].
pub fn proven<'a>(
    issuers: &'a [Issuer],
    token: &Token,
    origin: &str,
    path: &str,
    now: Millis,
) -> Result<(&'a Issuer, External), Wrong> {
    let said = token.claim("iss").ok_or(Wrong::Issuer)?;
    let issuer = issuers.iter().find(|issuer| issuer.issuer == said).ok_or(Wrong::Issuer)?;
    if !issuer.algorithms.contains(&token.algorithm) {
        return Err(Wrong::Algorithm);
    }
    let own = resources(origin, path);
    let wanted = if issuer.audience.is_empty() { &own } else { &issuer.audience };
    let audience = token.check_access(said, wanted, now)?.to_owned();
    let subject = token.claim(&issuer.user).unwrap_or_default();
    let user = person::user(said, &issuer.user, subject).ok_or(Wrong::Subject)?;
    let client = ["client_id", "azp"].into_iter().find_map(|name| token.claim(name));
    let ours = token.scopes().filter(|scope| [READ, WRITE].contains(scope));
    let mut scopes: Vec<String> = ours.map(ToOwned::to_owned).collect();
    // A server that knows nothing of our scopes says nothing against either.
    if scopes.is_empty() {
        scopes = vec![READ.to_owned(), WRITE.to_owned()];
    }
    // Clocks differ, of whoever remembers it too.
    let expires = token.expires().ok_or(Wrong::Expired)?.after(limits::CLOCK_SKEW_MS);
    Ok((
        issuer,
        External { user, client: client.map(ToOwned::to_owned), audience, scopes, expires },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use serde_json::{Value, json};
    use shared::config::{People, people::WrittenPeople};

    const NOW: Millis = Millis(1_000_000_000);

    fn issuers(text: &str) -> Vec<Issuer> {
        let written = WrittenPeople { issuers: Some(text), ..WrittenPeople::default() };
        People::parse(written, false, |_| false).unwrap().issuers
    }

    fn check(issuers: &[Issuer], change: &Value, path: &str) -> Result<External, Wrong> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({ "alg": "RS256", "typ": "at+jwt" });
        let mut claims = json!({ "iss": "https://a.test", "aud": "https://x.test/mcp/acme",
            "sub": "1", "uid": "u", "exp": 1_000_100 });
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let token = Token::read(&format!("{}.{}.c2ln", part(&header), part(&claims))).unwrap();
        proven(issuers, &token, "https://x.test", path, NOW).map(|(_, external)| external)
    }

    #[test]
    fn a_token_is_good_at_its_address_and_below() {
        let all = issuers(r#"[{"issuer":"https://b.test"},{"issuer":"https://a.test"}]"#);
        let here = |path| check(&all, &json!({}), path);
        let found = here("/mcp/acme").unwrap();
        assert_eq!(found.user.as_str(), "https://a.test#1");
        assert_eq!(found.audience, "https://x.test/mcp/acme");
        assert_eq!(found.expires, Millis(1_000_100_000 + limits::CLOCK_SKEW_MS));
        assert_eq!(here("/mcp/acme/web").as_ref(), Ok(&found));
        for outside in ["/mcp", "/mcp/acme2", "/mcp/other", "/mcp/other/acme", ""] {
            assert_eq!(here(outside), Err(Wrong::Audience), "{outside}");
        }
        let other = check(&all, &json!({ "iss": "https://c.test" }), "/mcp/acme");
        assert_eq!(other, Err(Wrong::Issuer));
        let mixed = check(&all, &json!({ "iss": ["https://a.test"] }), "/mcp/acme");
        assert_eq!(mixed, Err(Wrong::Issuer));
    }

    #[test]
    fn the_operator_says_who_it_is_for_and_of_and_how_it_is_signed() {
        let text = |more: &str| format!(r#"[{{"issuer":"https://a.test"{more}}}]"#);
        let named = issuers(&text(r#","audience":["api"],"user":"uid""#));
        let found = check(&named, &json!({ "aud": ["api", "x"] }), "/mcp/acme").unwrap();
        assert_eq!((found.user.as_str(), found.audience.as_str()), ("https://a.test?uid#u", "api"));
        assert_eq!(check(&named, &json!({}), "/mcp/acme"), Err(Wrong::Audience));
        assert_eq!(check(&named, &json!({ "aud": "api", "uid": 1 }), "/mcp"), Err(Wrong::Subject));
        let signed = issuers(&text(r#","algorithms":["ES256"]"#));
        assert_eq!(check(&signed, &json!({}), "/mcp/acme"), Err(Wrong::Algorithm));
    }

    #[test]
    fn it_allows_what_it_says_in_our_words() {
        let all = issuers(r#"[{"issuer":"https://a.test"}]"#);
        let found = |change: Value| check(&all, &change, "/mcp/acme").unwrap();
        assert_eq!(found(json!({})).access(), Access::Write);
        assert_eq!(found(json!({ "scope": "openid email" })).access(), Access::Write);
        assert_eq!(found(json!({ "scope": "openid mcp:read" })).access(), Access::Read);
        assert_eq!(found(json!({ "scp": ["mcp:write"] })).scopes, ["mcp:write"]);
        assert_eq!(found(json!({ "azp": "z" })).client.as_deref(), Some("z"));
        assert_eq!(found(json!({ "azp": "z", "client_id": "c" })).client.as_deref(), Some("c"));
    }
}
