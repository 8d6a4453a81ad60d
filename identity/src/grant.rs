//! What the authorization server keeps, as the rest of the product knows it: tokens, grants, and a
//! user's name inside of it. It must not know how they are asked for.

use crate::account::{Client, Overview};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use shared::{Millis, UserId};

/// An access token that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Whose it is.
    pub user: UserId,
    /// The client it was given to: its id, or the address of its metadata document.
    pub client: String,
    /// The grant behind it.
    pub grant: String,
    /// The resource that it is for (RFC 8707), with scheme and authority.
    pub audience: String,
    /// The path of the scope that its user narrowed it to, if they did.
    pub narrowed: Option<String>,
    /// What it allows, in OAuth's words.
    pub scopes: Vec<String>,
    /// From when on it is good no more.
    pub expires: Millis,
}

/// A grant whose client has its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its id.
    pub id: String,
    /// The client it was given to, as in [`Token::client`].
    pub client: String,
    /// What that client calls itself.
    pub client_name: String,
    /// What it allows, in OAuth's words.
    pub scopes: Vec<String>,
    /// The path of the scope that it opens.
    pub scope: String,
    /// When it was given.
    pub created: Millis,
    /// From when on it is good no more.
    pub expires: Millis,
}

/// A user's name inside of the authorization server: it has no `:`, which separates there.
#[must_use]
pub fn name(user: &UserId) -> String {
    URL_SAFE_NO_PAD.encode(user.as_str())
}

fn user(name: &str) -> Option<UserId> {
    let bytes = URL_SAFE_NO_PAD.decode(name).ok()?;
    UserId::parse(std::str::from_utf8(&bytes).ok()?).ok()
}

/// Whose a token would be if it were one; `None` if it is none of ours. What has another form
/// reaches no store.
#[must_use]
pub fn holder(token: &str) -> Option<UserId> {
    let is = |part: &str, length| {
        part.len() == length
            && part.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
    };
    let (name, rest) = token.split_once(':')?;
    let (grant, secret) = rest.split_once(':')?;
    (is(grant, 16) && is(secret, 32)).then(|| user(name))?
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(ToOwned::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(text).collect()
}

fn seconds(value: &Value) -> Option<Millis> {
    value.as_u64().map(|seconds| Millis(seconds.saturating_mul(1000)))
}

impl Token {
    /// Reads what the library says of a token.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        let grant = value.get("grant")?;
        // A grant without these was not made by the consent page.
        let narrowed = match grant.get("props")?.get("scope")? {
            Value::Null => None,
            Value::String(path) => Some(path.clone()),
            _ => return None,
        };
        Some(Self {
            user: user(value.get("userId")?.as_str()?)?,
            client: text(grant.get("clientId")?)?,
            grant: text(value.get("grantId")?)?,
            audience: text(value.get("audience")?)?,
            narrowed,
            scopes: texts(value.get("scope")?),
            expires: seconds(value.get("expiresAt")?)?,
        })
    }
}

impl Grant {
    /// Reads what the library lists of a user's grants. One whose code nobody has redeemed yet has
    /// no end, and is none.
    #[must_use]
    pub fn read_all(value: &Value) -> Vec<Self> {
        let items = value.get("items").and_then(Value::as_array);
        items.into_iter().flatten().filter_map(Self::read).collect()
    }

    fn read(value: &Value) -> Option<Self> {
        let metadata = value.get("metadata")?;
        Some(Self {
            id: text(value.get("id")?)?,
            client: text(value.get("clientId")?)?,
            client_name: text(metadata.get("name")?)?,
            scopes: texts(value.get("scope")?),
            scope: text(metadata.get("scope")?)?,
            created: seconds(value.get("createdAt")?)?,
            expires: seconds(value.get("expiresAt")?)?,
        })
    }
}

/// Shows grants with the clients that have them: one that has never been used, too. A grant that the
/// authorization server does not know any more is none.
pub fn join(overview: &mut Overview, grants: &[Grant]) {
    for client in &mut overview.clients {
        client.grants.retain(|id| grants.iter().any(|grant| grant.id == *id));
    }
    for grant in grants {
        let known = overview.clients.iter_mut().find(|client| client.id == grant.client);
        match known {
            Some(client) if client.grants.contains(&grant.id) => {}
            Some(client) => client.grants.push(grant.id.clone()),
            None => overview.clients.push(Client {
                id: grant.client.clone(),
                name: grant.client_name.clone(),
                version: String::new(),
                revision: String::new(),
                first: grant.created,
                last: grant.created,
                calls: 0,
                grants: vec![grant.id.clone()],
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn token() -> Value {
        json!({
            "id": "hash", "grantId": "g", "userId": name(&UserId::parse("a:b").unwrap()),
            "createdAt": 1, "expiresAt": 7, "audience": "https://x.test/mcp/acme",
            "scope": ["mcp:read"],
            "grant": { "clientId": "c", "scope": ["mcp:read", "mcp:write"], "props": { "scope": null } },
        })
    }

    #[test]
    fn a_token_is_read() {
        let read = Token::read(&token()).unwrap();
        assert_eq!(
            (read.user.as_str(), read.grant.as_str(), read.client.as_str()),
            ("a:b", "g", "c")
        );
        assert_eq!((read.narrowed, read.scopes), (None, vec!["mcp:read".to_owned()]));
        assert_eq!(
            (read.audience.as_str(), read.expires),
            ("https://x.test/mcp/acme", Millis(7000))
        );
        let mut narrowed = token();
        narrowed["grant"]["props"]["scope"] = json!("/mcp/acme/web");
        assert_eq!(Token::read(&narrowed).unwrap().narrowed.as_deref(), Some("/mcp/acme/web"));
    }

    #[test]
    fn a_token_that_lacks_anything_is_none() {
        for key in ["grantId", "userId", "expiresAt", "audience", "scope", "grant"] {
            let mut token = token();
            token.as_object_mut().unwrap().remove(key);
            assert_eq!(Token::read(&token), None, "{key}");
        }
        for props in [json!({}), json!({ "scope": 1 }), json!(null)] {
            let mut token = token();
            token["grant"]["props"] = props;
            assert_eq!(Token::read(&token), None);
        }
    }

    #[test]
    fn a_grant_is_listed_once_its_code_was_redeemed() {
        let grant = json!({
            "id": "g", "clientId": "c", "userId": "u", "scope": ["mcp:read"], "createdAt": 1,
            "metadata": { "name": "Inspector", "scope": "/mcp/acme" }, "expiresAt": 9,
        });
        let mut fresh = grant.clone();
        fresh.as_object_mut().unwrap().remove("expiresAt");
        let all = Grant::read_all(&json!({ "items": [fresh, grant] }));
        assert_eq!(all.len(), 1);
        assert_eq!(
            (all[0].client_name.as_str(), all[0].scope.as_str()),
            ("Inspector", "/mcp/acme")
        );
        assert_eq!((all[0].created, all[0].expires), (Millis(1000), Millis(9000)));
        assert!(Grant::read_all(&json!(null)).is_empty());
    }

    #[test]
    fn what_has_another_form_is_no_token() {
        let (grant, secret) = ("g".repeat(16), "s".repeat(32));
        assert_eq!(holder(&format!("YWxpY2U:{grant}:{secret}")).unwrap().as_str(), "alice");
        for other in [
            format!("alice:{grant}:{secret}"),
            format!("YWxpY2V:{grant}:{secret}"),
            format!(":{grant}:{secret}"),
            format!("YWxpY2U:{grant}:{secret}s"),
            format!("YWxpY2U:{grant}g:{secret}"),
            format!("YWxpY2U:{grant}:{secret}:"),
            format!("YWxpY2U:{grant}"),
            "sbx_a.b".to_owned(),
        ] {
            assert_eq!(holder(&other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_users_name_is_one_users(text in "\\PC{1,200}") {
            let who = UserId::parse(&text).unwrap();
            prop_assert!(!name(&who).contains(':'));
            prop_assert_eq!(user(&name(&who)), Some(who));
        }

        #[test]
        fn nothing_is_a_panic(text in any::<String>()) {
            let _ = holder(&text);
        }
    }

    #[test]
    fn grants_are_shown_with_the_clients_that_have_them() {
        let grant = |id: &str, client: &str| Grant {
            id: id.to_owned(),
            client: client.to_owned(),
            client_name: format!("The {client}"),
            scopes: Vec::new(),
            scope: "/mcp".to_owned(),
            created: Millis(5),
            expires: Millis(9),
        };
        let mut overview = Overview::default();
        join(&mut overview, &[grant("g1", "a")]);
        let a = &overview.clients[0];
        assert_eq!(
            (a.name.as_str(), a.first, &a.grants),
            ("The a", Millis(5), &vec!["g1".to_owned()])
        );
        join(&mut overview, &[grant("g2", "a"), grant("g3", "b"), grant("g4", "b")]);
        let of = |n: usize| overview.clients[n].grants.join(" ");
        assert_eq!((of(0).as_str(), of(1).as_str(), overview.clients.len()), ("g2", "g3 g4", 2));
    }
}
