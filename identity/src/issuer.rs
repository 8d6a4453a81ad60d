//! What an issuer says of itself: where it is asked for what, and how (RFC 8414, OpenID Connect
//! Discovery 1.0). Nothing is believed that it says of another, and no address that may not be
//! asked. It must not know who asks.

use serde_json::Value;
use shared::config::Address;

/// The path of OpenID Connect's metadata, after the issuer.
const OPENID: &str = "/.well-known/openid-configuration";

/// Where an OpenID provider says it (OpenID Connect Discovery 1.0, 4).
#[must_use]
pub fn openid_address(issuer: &str) -> String {
    format!("{}{OPENID}", issuer.trim_end_matches('/'))
}

/// Where an authorization server says it: RFC 8414, 3, and what OpenID providers have.
#[must_use]
pub fn addresses(issuer: &str) -> Vec<String> {
    let plain = issuer.trim_end_matches('/');
    let own = Address::parse(plain, true).ok().map(|Address { origin, path }| {
        let path = path.trim_end_matches('/');
        format!("{origin}/.well-known/oauth-authorization-server{path}")
    });
    own.into_iter().chain([openid_address(issuer)]).collect()
}

/// What is wrong with what an issuer says, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// `issuer`.
    #[error("its metadata are of another issuer")]
    Issuer,
    /// An address.
    #[error("its metadata lack {0}, or it may not be asked")]
    Address(&'static str),
}

/// How a client proves itself to a token endpoint (RFC 6749, 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
}

/// What an issuer says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// `authorization_endpoint`.
    pub authorization: Option<String>,
    /// `token_endpoint`.
    pub token: Option<String>,
    /// `userinfo_endpoint`.
    pub userinfo: Option<String>,
    /// `jwks_uri`.
    pub keys: Option<String>,
    /// Whether it says in every answer that it is its own (RFC 9207, 3).
    pub names_itself: bool,
    /// How a client with a secret proves itself.
    pub proof: Proof,
}

impl Metadata {
    /// Reads what an issuer said of itself.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub fn read(
        document: &Value,
        issuer: &str,
        is_development: bool,
    ) -> Result<Self, MetadataError> {
        let text = |name: &str| document.get(name).and_then(Value::as_str);
        if text("issuer") != Some(issuer) {
            return Err(MetadataError::Issuer);
        }
        let address = |name: &'static str| match text(name) {
            None => Ok(None),
            Some(text) => match Address::parse(text, is_development) {
                Ok(_) => Ok(Some(text.to_owned())),
                Err(_) => Err(MetadataError::Address(name)),
            },
        };
        let methods = document.get("token_endpoint_auth_methods_supported");
        let methods = methods.and_then(Value::as_array);
        let has = |method: &str| {
            methods.is_some_and(|methods| methods.iter().any(|known| known == method))
        };
        let flag = |name: &str| document.get(name).and_then(Value::as_bool).unwrap_or_default();
        Ok(Self {
            authorization: address("authorization_endpoint")?,
            token: address("token_endpoint")?,
            userinfo: address("userinfo_endpoint")?,
            keys: address("jwks_uri")?,
            names_itself: flag("authorization_response_iss_parameter_supported"),
            // What nothing is said of is the first (RFC 8414, 2).
            proof: match has("client_secret_post") && !has("client_secret_basic") {
                true => Proof::Post,
                false => Proof::Basic,
            },
        })
    }

    /// An address that is needed.
    ///
    /// # Errors
    /// [`MetadataError::Address`] without it.
    pub fn needed<'a>(
        address: Option<&'a String>,
        name: &'static str,
    ) -> Result<&'a str, MetadataError> {
        address.map(String::as_str).ok_or(MetadataError::Address(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metadata_are_asked_for_where_they_belong() {
        assert_eq!(
            addresses("https://a.test/tenant/"),
            [
                "https://a.test/.well-known/oauth-authorization-server/tenant",
                "https://a.test/tenant/.well-known/openid-configuration",
            ]
        );
        assert_eq!(
            addresses("https://a.test"),
            [
                "https://a.test/.well-known/oauth-authorization-server",
                "https://a.test/.well-known/openid-configuration",
            ]
        );
    }

    #[test]
    fn an_issuer_speaks_for_itself_alone() {
        let read = |document: Value| Metadata::read(&document, "https://a.test", false);
        let right = json!({ "issuer": "https://a.test", "token_endpoint": "https://a.test/t" });
        let metadata = read(right).unwrap();
        assert_eq!(metadata.token.as_deref(), Some("https://a.test/t"));
        assert_eq!((metadata.proof, metadata.names_itself), (Proof::Basic, false));
        assert!(Metadata::needed(metadata.keys.as_ref(), "jwks_uri").is_err());
        let post = read(json!({ "issuer": "https://a.test",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            "authorization_response_iss_parameter_supported": true }));
        assert_eq!(post.as_ref().map(|m| (m.proof, m.names_itself)), Ok((Proof::Post, true)));
        for (document, wrong) in [
            (json!({}), MetadataError::Issuer),
            (json!([]), MetadataError::Issuer),
            (json!({ "issuer": "https://a.test/" }), MetadataError::Issuer),
            (
                json!({ "issuer": "https://a.test", "jwks_uri": "http://a.test/" }),
                MetadataError::Address("jwks_uri"),
            ),
            (
                json!({ "issuer": "https://a.test", "token_endpoint": "https://169.254.169.254/" }),
                MetadataError::Address("token_endpoint"),
            ),
            (
                json!({ "issuer": "https://a.test", "authorization_endpoint": "javascript:x" }),
                MetadataError::Address("authorization_endpoint"),
            ),
        ] {
            assert_eq!(read(document.clone()), Err(wrong), "{document}");
        }
    }
}
