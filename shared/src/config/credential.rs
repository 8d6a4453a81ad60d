//! Credentials of users at upstreams: which there are, whose tokens they hold, and where a user
//! connects them. What is written of them, and every rule of it. It must not know how one is
//! connected.

use super::{
    Address, ConfigError, Source, Toolset, ToolsetKind,
    written::{WrittenSecret, check_name, check_secret, mistake},
};
use crate::{Scope, limits};
use serde::Deserialize;

/// A credential that each user connects for themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// What toolsets call it.
    pub name: String,
    /// What its tokens are good for (RFC 8707): the address of a server.
    pub resource: String,
    /// The authorization server, where it is not asked for at the resource.
    pub issuer: Option<String>,
    /// Its endpoints, where it says nothing of itself.
    pub endpoints: Option<Endpoints>,
    /// Who this program is there; it registers itself otherwise (RFC 7591).
    pub client: Option<Client>,
    /// What is asked for, where it is not what the server asks for.
    pub scopes: Vec<String>,
}

/// The endpoints of an authorization server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Where a browser is sent.
    pub authorization: String,
    /// Where tokens are had.
    pub token: String,
    /// Where a client registers itself.
    pub registration: Option<String>,
}

/// Who this program is at an authorization server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its id.
    pub id: String,
    /// The name of the secret binding with its secret, if it has one.
    pub secret: Option<String>,
}

/// One `[[vars.credentials]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    resource: Option<String>,
    issuer: Option<String>,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    registration_endpoint: Option<String>,
    client_id: Option<String>,
    client_secret: Option<WrittenSecret>,
    #[serde(default)]
    scopes: Vec<String>,
}

impl Credential {
    /// What a stored token must have been got for to be sent as this credential: another resource,
    /// another authorization server or another client is another credential.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let endpoints = self.endpoints.as_ref();
        let part = |text: Option<&String>| text.cloned().unwrap_or_default();
        let parts = [
            self.resource.clone(),
            part(self.issuer.as_ref()),
            part(endpoints.map(|e| &e.authorization)),
            part(endpoints.map(|e| &e.token)),
            part(self.client.as_ref().map(|client| &client.id)),
        ];
        parts.join(" ")
    }
}

/// The names of credentials that a toolset sends, each with the key that names it.
fn named(toolset: &Toolset) -> Vec<(String, &str)> {
    let ToolsetKind::Mcp(upstream) = &toolset.kind else {
        return Vec::new();
    };
    let auth = upstream.auth.iter().map(|source| ("auth".to_owned(), source));
    let headers = upstream.headers.iter();
    let headers = headers.map(|(name, source)| (format!("headers.{name}"), source));
    let credential = |(key, source): (String, &'_ Source)| match source {
        Source::Credential(_) => Some(key),
        Source::Text(_) | Source::Secret(_) => None,
    };
    let keys = auth.chain(headers).filter_map(credential);
    let names = upstream.auth.iter().chain(upstream.headers.iter().map(|(_, source)| source));
    let names = names.filter_map(|source| match source {
        Source::Credential(name) => Some(name.as_str()),
        Source::Text(_) | Source::Secret(_) => None,
    });
    keys.zip(names).collect()
}

/// Whether a toolset sends a credential.
#[must_use]
pub(super) fn needs(toolset: &Toolset, credential: &str) -> bool {
    named(toolset).iter().any(|(_, name)| *name == credential)
}

/// Reads the credentials: those that are written, and for every other name that a toolset gives
/// one that is found out at that toolset's own address.
///
/// # Errors
/// The first mistake, by key and rule.
pub(super) fn read(
    text: Option<&str>,
    toolsets: &[Toolset],
    is_development: bool,
) -> Result<Vec<Credential>, ConfigError> {
    let written: Vec<Written> = match text {
        Some(text) => {
            serde_json::from_str(text).map_err(|e| mistake("credentials", e.to_string()))?
        }
        None => Vec::new(),
    };
    if written.len() > limits::TOOLSETS_MAX {
        let rule = format!("there are at most {}", limits::TOOLSETS_MAX);
        return Err(mistake("credentials", rule));
    }
    let mut credentials: Vec<Credential> = Vec::new();
    for (index, written) in written.into_iter().enumerate() {
        let place = format!("credentials[{index}]");
        if credentials.iter().any(|other| other.name == written.name) {
            let rule = format!("{} is another credential's name", written.name);
            return Err(mistake(format!("{place}.name"), rule));
        }
        credentials.push(one(&place, written, toolsets, is_development)?);
    }
    let configured = credentials.len();
    for (index, toolset) in toolsets.iter().enumerate() {
        for (field, name) in named(toolset) {
            let key = format!("toolsets[{index}].{field}");
            let known = credentials.iter().position(|credential| credential.name == name);
            let Some(resource) = own_address(toolset) else {
                if known.is_some_and(|at| at < configured) {
                    continue;
                }
                let rule = format!(
                    "its address names a level: say the resource of {name} in [[vars.credentials]]"
                );
                return Err(mistake(key, rule));
            };
            match known.and_then(|at| credentials.get(at).map(|known| (at, known))) {
                None => credentials.push(found_out(name, resource)),
                // One user's token for one server is none for another, unless it is written so.
                Some((at, known)) if at >= configured && known.resource != resource => {
                    let rule = format!(
                        "{name} is the credential of another server, too: say the resource of {name} \
                         in [[vars.credentials]]"
                    );
                    return Err(mistake(key, rule));
                }
                Some(_) => {}
            }
        }
    }
    Ok(credentials)
}

/// A credential of which nothing is written.
fn found_out(name: &str, resource: String) -> Credential {
    Credential {
        name: name.to_owned(),
        resource,
        issuer: None,
        endpoints: None,
        client: None,
        scopes: Vec::new(),
    }
}

/// The address of a toolset, where it is the same in every scope.
fn own_address(toolset: &Toolset) -> Option<String> {
    match &toolset.kind {
        ToolsetKind::Mcp(upstream) if upstream.url.depth() == 0 => {
            upstream.url.fill(&Scope::default())
        }
        _ => None,
    }
}

fn one(
    place: &str,
    written: Written,
    toolsets: &[Toolset],
    is_development: bool,
) -> Result<Credential, ConfigError> {
    let key = |field: &str| format!("{place}.{field}");
    check_name(&written.name).map_err(|rule| mistake(key("name"), rule))?;
    if written.name == CALLBACK {
        return Err(mistake(key("name"), "this name is taken: it is where browsers come back to"));
    }
    let address = |field: &str, text: Option<String>| {
        let checked = text.map(|text| Address::parse(&text, is_development).map(|_| text));
        checked.transpose().map_err(|error| mistake(key(field), error.to_string()))
    };
    let resource = match address("resource", written.resource)? {
        Some(resource) => resource,
        None => resource_of(&written.name, toolsets).map_err(|r| mistake(key("resource"), r))?,
    };
    let issuer = address("issuer", written.issuer)?;
    let authorization = address("authorization_endpoint", written.authorization_endpoint)?;
    let token = address("token_endpoint", written.token_endpoint)?;
    let registration = address("registration_endpoint", written.registration_endpoint)?;
    let endpoints = match (authorization, token, registration) {
        (Some(authorization), Some(token), registration) => {
            Some(Endpoints { authorization, token, registration })
        }
        (None, None, None) => None,
        (None, ..) => return Err(mistake(key("authorization_endpoint"), "it is needed, too")),
        (_, None, _) => return Err(mistake(key("token_endpoint"), "it is needed, too")),
    };
    let secret = written.client_secret.as_ref().map(|WrittenSecret { secret }| secret.clone());
    if let Some(secret) = &secret {
        check_secret(secret).map_err(|rule| mistake(key("client_secret"), rule))?;
    }
    let is_text = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    let client = match (written.client_id, secret) {
        (Some(id), secret) if is_text(&id) => Some(Client { id, secret }),
        (Some(_), _) => return Err(mistake(key("client_id"), "it has characters that no id has")),
        (None, Some(_)) => return Err(mistake(key("client_id"), "a secret needs one")),
        (None, None) => None,
    };
    if client.is_none() && endpoints.as_ref().is_some_and(|e| e.registration.is_none()) {
        let rule = "without a registration_endpoint one is needed";
        return Err(mistake(key("client_id"), rule));
    }
    if written.scopes.len() > limits::CREDENTIAL_SCOPES_MAX
        || !written.scopes.iter().all(|scope| is_text(scope))
    {
        let rule = format!(
            "there are at most {}, each of visible ASCII characters",
            limits::CREDENTIAL_SCOPES_MAX
        );
        return Err(mistake(key("scopes"), rule));
    }
    Ok(Credential {
        name: written.name,
        resource,
        issuer,
        endpoints,
        client,
        scopes: written.scopes,
    })
}

/// The last part of the address that browsers come back to, which is no credential's name.
const CALLBACK: &str = "callback";

/// The address of the one toolset that needs a credential.
fn resource_of(name: &str, toolsets: &[Toolset]) -> Result<String, String> {
    let mut needing = toolsets.iter().filter(|toolset| needs(toolset, name));
    match (needing.next(), needing.next()) {
        (Some(toolset), None) => own_address(toolset).ok_or_else(|| {
            format!("the address of {} names a level: it must be written", toolset.name)
        }),
        (None, _) => Err("no toolset needs this credential: it must be written".to_owned()),
        (Some(_), Some(_)) => Err("several toolsets need it: it must be written".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Written};

    fn parse(credentials: Option<&str>, toolsets: &str) -> Result<Vec<Credential>, String> {
        let written = Written { toolsets: Some(toolsets), credentials, ..Written::default() };
        let config = Config::parse(written).map_err(|error| error.to_string())?;
        Ok(config.credentials)
    }

    const ONE: &str = r#"[{"kind":"mcp","name":"a","prefix":"a","url":"https://a.test/mcp",
        "auth":{"credential":"c"}}]"#;

    #[test]
    fn a_name_that_is_not_configured_is_found_out_at_its_toolset() {
        let found = parse(None, ONE).unwrap();
        assert_eq!(found, [found_out("c", "https://a.test/mcp".to_owned())]);
    }

    #[test]
    fn a_credential_is_read() {
        let text = r#"[{"name":"c","authorization_endpoint":"https://g.test/authorize",
            "token_endpoint":"https://g.test/token","client_id":"id",
            "client_secret":{"secret":"G_SECRET"},"scopes":["repo"]}]"#;
        let toolsets =
            Written { toolsets: Some(ONE), credentials: Some(text), ..Written::default() };
        let config = Config::parse(toolsets).unwrap();
        let credential = config.credential("c").unwrap();
        assert_eq!(credential.resource, "https://a.test/mcp");
        assert_eq!(credential.endpoints.as_ref().unwrap().token, "https://g.test/token");
        assert_eq!(credential.scopes, ["repo"]);
        let secrets: Vec<_> = config.secrets().collect();
        let expected = ("credentials[0].client_secret".to_owned(), "G_SECRET".to_owned());
        assert_eq!(secrets, [expected]);
        assert_eq!(config.toolsets_with("c"), ["a"]);
        assert_eq!(config.toolsets_with("d"), [""; 0]);
    }

    #[test]
    fn mistakes_name_the_key_and_the_rule() {
        let two = r#"[{"kind":"mcp","name":"a","prefix":"a","url":"https://a.test/",
            "auth":{"credential":"c"}},{"kind":"mcp","name":"b","prefix":"b",
            "url":"https://b.test/","headers":{"X":{"credential":"c"}}}]"#;
        let level = r#"[{"kind":"mcp","name":"a","url":"https://a.test/{org}",
            "auth":{"credential":"c"}}]"#;
        let one = |more: &str| format!(r#"[{{"name":"c",{more}}}]"#);
        for (credentials, toolsets, expected) in [
            (None, two, "toolsets[1].headers.x: c is the credential of another server"),
            (None, level, "toolsets[0].auth: its address names a level"),
            (Some("{".to_owned()), ONE, "credentials: "),
            (Some(one(r#""resource":"http://a.test/""#)), ONE, "credentials[0].resource: "),
            (Some(one(r#""issuer":"https://10.0.0.1/""#)), ONE, "credentials[0].issuer: "),
            (Some(one(r#""token_endpoint":"https://a.test/""#)), ONE, "authorization_endpoint: it"),
            (
                Some(one(r#""token_endpoint":"https://a.test/",
                    "authorization_endpoint":"https://a.test/""#)),
                ONE,
                "credentials[0].client_id: without a registration_endpoint",
            ),
            (Some(one(r#""client_secret":{"secret":"X"}"#)), ONE, "client_id: a secret needs one"),
            (
                Some(one(r#""client_id":"i","client_secret":{"secret":"API_KEYS"}"#)),
                ONE,
                "credentials[0].client_secret: API_KEYS is a variable of this program",
            ),
            (Some(one(r#""scopes":["a b"]"#)), ONE, "credentials[0].scopes: "),
            (Some(one(r#""scope":"a""#)), ONE, "unknown field"),
            (Some(r#"[{"name":"C"}]"#.to_owned()), ONE, "credentials[0].name: "),
            (Some(r#"[{"name":"callback"}]"#.to_owned()), ONE, "credentials[0].name: this name"),
            (Some(r#"[{"name":"d"}]"#.to_owned()), ONE, "credentials[0].resource: no toolset"),
            (Some(r#"[{"name":"c"}]"#.to_owned()), two, "credentials[0].resource: several"),
            (Some(r#"[{"name":"c"},{"name":"c"}]"#.to_owned()), ONE, "credentials[1].name: c is"),
        ] {
            let error = parse(credentials.as_deref(), toolsets).unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
        }
        // What is written serves both.
        let both = one(r#""resource":"https://a.test/""#);
        assert_eq!(parse(Some(&both), two).unwrap().len(), 1);
        assert_eq!(parse(Some(&both), level).unwrap().len(), 1);
    }
}
