//! Who lets people in: identity providers that users sign in with, and authorization servers whose
//! tokens are good here. Read from the variables as they are written; a mistake names the key and
//! the rule. It must not know how anybody signs in, nor what a token says.

use super::{Address, ConfigError};
use crate::limits;
use serde_json::{Map, Value};

/// Who lets people in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct People {
    /// Identity providers, in the order in which they are offered.
    pub logins: Vec<Login>,
    /// Authorization servers whose tokens are good here.
    pub issuers: Vec<Issuer>,
    /// Whether anybody on this machine signs in under any name.
    pub is_dev_login: bool,
}

/// An identity provider that users sign in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// What addresses call it; no other has this name.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// How it is talked to.
    pub kind: LoginKind,
    /// The id that it knows this deployment by.
    pub client_id: String,
    /// The secret binding that holds what proves it, if it needs any.
    pub client_secret: Option<String>,
    /// What is asked for.
    pub scopes: Vec<String>,
}

/// How an identity provider is talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginKind {
    /// OpenID Connect: this issuer says the rest itself (OpenID Connect Discovery 1.0).
    Oidc {
        /// The issuer, to the letter.
        issuer: String,
    },
    /// GitHub, or a server of GitHub Enterprise.
    Github {
        /// Where it is, without a `/` at the end.
        url: String,
    },
    /// Sentry.
    Sentry {
        /// Where it is, without a `/` at the end.
        url: String,
    },
}

impl Login {
    /// Whoever vouches for a user: half of the user's id.
    #[must_use]
    pub fn authority(&self) -> &str {
        match &self.kind {
            LoginKind::Oidc { issuer } => issuer,
            LoginKind::Github { url } | LoginKind::Sentry { url } => url,
        }
    }
}

/// An authorization server whose tokens are good here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The issuer, to the letter.
    pub issuer: String,
    /// Audiences that mean this deployment. Without any it is the address that is asked.
    pub audience: Vec<String>,
    /// Where its keys are, where it does not say so itself.
    pub jwks: Option<String>,
    /// What it may sign with.
    pub algorithms: Vec<Algorithm>,
    /// The claim that says who the user is.
    pub user: String,
}

/// How a token is signed (RFC 7518, 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA over P-256 with SHA-256.
    Es256,
}

/// Every one that is understood.
pub const ALGORITHMS: [Algorithm; 2] = [Algorithm::Rs256, Algorithm::Es256];

impl Algorithm {
    /// The algorithm of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            _ => None,
        }
    }
}

/// The variables that this is read from, each absent where the operator set nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct WrittenPeople<'a> {
    /// `logins`, as JSON.
    pub logins: Option<&'a str>,
    /// `issuers`, as JSON.
    pub issuers: Option<&'a str>,
    /// `DEV_LOGIN`.
    pub dev_login: Option<&'a str>,
    /// `ORIGIN`.
    pub origin: Option<&'a str>,
}

impl People {
    /// Reads who lets people in. `is_own` says which variables are this program's own.
    ///
    /// # Errors
    /// The first mistake, by key and rule.
    pub fn parse(
        written: WrittenPeople<'_>,
        is_development: bool,
        is_own: impl Fn(&str) -> bool,
    ) -> Result<Self, ConfigError> {
        let is_dev_login = match written.dev_login {
            None | Some("" | "0") => false,
            Some("1") => true,
            Some(_) => return Err(mistake("DEV_LOGIN", "it is 1, or not set")),
        };
        let origin = written.origin.filter(|origin| !origin.is_empty());
        if is_dev_login && origin.is_some_and(|origin| !is_loopback(origin)) {
            let rule = "anybody would be let in under any name: it is for this machine alone, and \
                        ORIGIN is another";
            return Err(mistake("DEV_LOGIN", rule));
        }
        let mut people = Self { is_dev_login, ..Self::default() };
        for (place, item) in items("logins", written.logins)? {
            let login = read_login(Table::new(&place, item)?, is_development, &is_own)?;
            if people.logins.iter().any(|other| other.name == login.name) {
                let rule = format!("{} is another login's name", login.name);
                return Err(mistake(format!("{place}.name"), rule));
            }
            people.logins.push(login);
        }
        for (place, item) in items("issuers", written.issuers)? {
            let issuer = read_issuer(Table::new(&place, item)?, is_development)?;
            if people.issuers.iter().any(|other| other.issuer == issuer.issuer) {
                let rule = "this issuer is configured twice";
                return Err(mistake(format!("{place}.issuer"), rule));
            }
            people.issuers.push(issuer);
        }
        Ok(people)
    }

    /// The secrets that are needed, each with the key that names it.
    pub fn secrets(&self) -> impl Iterator<Item = (String, String)> {
        self.logins.iter().enumerate().filter_map(|(index, login)| {
            let name = login.client_secret.clone()?;
            Some((format!("logins[{index}].client_secret"), name))
        })
    }

    /// Whether anybody can sign in at all.
    #[must_use]
    pub fn has_login(&self) -> bool {
        self.is_dev_login || !self.logins.is_empty()
    }
}

/// Whether an origin is this machine's own, as nobody else reaches it.
#[must_use]
pub fn is_loopback(origin: &str) -> bool {
    let authority = origin.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    matches!(host.to_ascii_lowercase().as_str(), "localhost" | "127.0.0.1" | "[::1]")
}

fn mistake(key: impl Into<String>, rule: impl Into<String>) -> ConfigError {
    ConfigError { key: key.into(), rule: rule.into() }
}

/// The items of a list, each with its place.
fn items(key: &str, text: Option<&str>) -> Result<Vec<(String, Value)>, ConfigError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(Vec::new());
    };
    let value: Value = serde_json::from_str(text).map_err(|e| mistake(key, e.to_string()))?;
    let Value::Array(items) = value else {
        return Err(mistake(key, format!("it is a list of tables: [[vars.{key}]]")));
    };
    if items.len() > limits::ISSUERS_MAX {
        return Err(mistake(key, format!("there are at most {}", limits::ISSUERS_MAX)));
    }
    let place = |index| format!("{key}[{index}]");
    Ok(items.into_iter().enumerate().map(|(index, item)| (place(index), item)).collect())
}

/// One table of the configuration. What was not taken in the end is a mistake.
struct Table<'a> {
    place: &'a str,
    entries: Map<String, Value>,
}

impl<'a> Table<'a> {
    fn new(place: &'a str, value: Value) -> Result<Self, ConfigError> {
        match value {
            Value::Object(entries) => Ok(Self { place, entries }),
            _ => Err(mistake(place, "it is a table")),
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.place)
    }

    fn mistake<T>(&self, name: &str, rule: impl Into<String>) -> Result<T, ConfigError> {
        Err(mistake(self.key(name), rule))
    }

    /// A text, if one is there.
    fn text(&mut self, name: &str) -> Result<Option<String>, ConfigError> {
        match self.entries.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) if is_text(&text) => Ok(Some(text)),
            Some(_) => {
                let rule = format!("it is a text of 1 to {} characters", limits::SETTING_CHARS_MAX);
                self.mistake(name, rule)
            }
        }
    }

    /// A text that must be there.
    fn needed(&mut self, name: &str) -> Result<String, ConfigError> {
        match self.text(name)? {
            Some(text) => Ok(text),
            None => self.mistake(name, "it is missing"),
        }
    }

    /// A list of texts, if one is there.
    fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, ConfigError> {
        let Some(value) = self.entries.remove(name) else {
            return Ok(None);
        };
        let texts = value.as_array().and_then(|items| {
            let text = |item: &Value| item.as_str().filter(|text| is_text(text)).map(str::to_owned);
            items.iter().map(text).collect::<Option<Vec<_>>>()
        });
        match texts.filter(|texts| texts.len() <= limits::SETTING_TEXTS_MAX) {
            Some(texts) => Ok(Some(texts)),
            None => {
                let rule = format!("it is a list of at most {} texts", limits::SETTING_TEXTS_MAX);
                self.mistake(name, rule)
            }
        }
    }

    /// Where something is asked, if that is said.
    fn address(&mut self, name: &str, is_development: bool) -> Result<Option<String>, ConfigError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match Address::parse(&text, is_development) {
            Ok(_) => Ok(Some(text)),
            Err(error) => self.mistake(name, error.to_string()),
        }
    }

    /// An issuer: an address without a query (RFC 8414, 2), so that what follows it in a user's id
    /// is no part of it.
    fn issuer(&mut self, is_development: bool) -> Result<String, ConfigError> {
        match self.address("issuer", is_development)? {
            None => self.mistake("issuer", "it is missing"),
            Some(issuer) if issuer.contains('?') => {
                self.mistake("issuer", "an issuer has no query")
            }
            Some(issuer) => Ok(issuer),
        }
    }

    /// `{ secret = "NAME" }`, if it is there.
    fn secret(&mut self, is_own: impl Fn(&str) -> bool) -> Result<Option<String>, ConfigError> {
        let key = "client_secret";
        let Some(value) = self.entries.remove(key) else {
            return Ok(None);
        };
        let named = value.as_object().filter(|table| table.len() == 1);
        let Some(name) = named.and_then(|table| table.get("secret")).and_then(Value::as_str) else {
            let rule = "it is a secret: write { secret = \"NAME\" } and set the secret NAME";
            return self.mistake(key, rule);
        };
        let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            return self.mistake(key, "a secret's name is made of A-Z, 0-9 and '_'");
        }
        match is_own(name) {
            true => self.mistake(key, format!("{name} is a variable of this program")),
            false => Ok(Some(name.to_owned())),
        }
    }

    /// The end: nothing is left.
    fn finish(self) -> Result<(), ConfigError> {
        match self.entries.keys().next() {
            Some(name) => self.mistake(name, "there is no such key here"),
            None => Ok(()),
        }
    }
}

fn is_text(text: &str) -> bool {
    let is_bounded = !text.is_empty() && text.chars().count() <= limits::SETTING_CHARS_MAX;
    is_bounded && !text.chars().any(char::is_control)
}

fn read_login(
    mut table: Table<'_>,
    is_development: bool,
    is_own: impl Fn(&str) -> bool,
) -> Result<Login, ConfigError> {
    let kind = read_kind(&mut table, is_development)?;
    let usual = match &kind {
        LoginKind::Oidc { .. } => "oidc",
        LoginKind::Github { .. } => "github",
        LoginKind::Sentry { .. } => "sentry",
    };
    let name = table.text("name")?.unwrap_or_else(|| usual.to_owned());
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.chars().all(is_plain) || name.len() > limits::NAME_CHARS_MAX {
        return table.mistake("name", "a name is made of a-z, 0-9 and '_', at most 64 of them");
    }
    if name == "callback" {
        return table.mistake("name", "callback has a meaning of its own");
    }
    let title = table.text("title")?.unwrap_or_else(|| match &kind {
        LoginKind::Oidc { issuer } => {
            issuer.split_once("://").map_or("", |(_, rest)| rest).trim_end_matches('/').to_owned()
        }
        LoginKind::Github { .. } => "GitHub".to_owned(),
        LoginKind::Sentry { .. } => "Sentry".to_owned(),
    });
    let client_id = table.needed("client_id")?;
    let client_secret = table.secret(is_own)?;
    let scopes = read_scopes(&mut table, &kind)?;
    table.finish()?;
    Ok(Login { name, title, kind, client_id, client_secret, scopes })
}

fn read_kind(table: &mut Table<'_>, is_development: bool) -> Result<LoginKind, ConfigError> {
    let kind = table.needed("kind")?;
    let usual = match kind.as_str() {
        "oidc" => return Ok(LoginKind::Oidc { issuer: table.issuer(is_development)? }),
        "github" => "https://github.com",
        "sentry" => "https://sentry.io",
        _ => return table.mistake("kind", "it is oidc, github or sentry"),
    };
    let own = table.address("url", is_development)?;
    if own.as_ref().is_some_and(|own| own.ends_with('/') || own.contains('?')) {
        return table.mistake("url", "it has no query, and no / at its end");
    }
    let url = own.unwrap_or_else(|| usual.to_owned());
    Ok(if kind == "github" { LoginKind::Github { url } } else { LoginKind::Sentry { url } })
}

fn read_scopes(table: &mut Table<'_>, kind: &LoginKind) -> Result<Vec<String>, ConfigError> {
    let usual: &[&str] = match kind {
        LoginKind::Oidc { .. } => &["openid", "profile"],
        LoginKind::Github { .. } => &[],
        // Sentry gives no token for nothing.
        LoginKind::Sentry { .. } => &["org:read"],
    };
    let scopes = table.texts("scopes")?;
    let scopes = scopes.unwrap_or_else(|| usual.iter().map(|&scope| scope.to_owned()).collect());
    if !scopes.iter().all(|scope| scope.bytes().all(|b| b.is_ascii_graphic())) {
        return table.mistake("scopes", "a scope is plain ASCII without blanks");
    }
    match kind {
        LoginKind::Oidc { .. } if !scopes.iter().any(|scope| scope == "openid") => {
            table.mistake("scopes", "without openid nobody says who has signed in")
        }
        _ => Ok(scopes),
    }
}

fn read_issuer(mut table: Table<'_>, is_development: bool) -> Result<Issuer, ConfigError> {
    let issuer = table.issuer(is_development)?;
    let audience = table.texts("audience")?;
    if audience.as_ref().is_some_and(Vec::is_empty) {
        return table.mistake("audience", "it names at least one, or is not there");
    }
    let jwks = table.address("jwks", is_development)?;
    let algorithms = match table.texts("algorithms")? {
        None => ALGORITHMS.to_vec(),
        Some(names) => {
            let known = names.iter().map(|name| Algorithm::named(name));
            match known.collect::<Option<Vec<_>>>() {
                Some(algorithms) if !algorithms.is_empty() => algorithms,
                _ => return table.mistake("algorithms", "RS256 and ES256 are understood"),
            }
        }
    };
    let user = table.text("user")?.unwrap_or_else(|| "sub".to_owned());
    table.finish()?;
    Ok(Issuer { issuer, audience: audience.unwrap_or_default(), jwks, algorithms, user })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(written: WrittenPeople<'_>) -> Result<People, ConfigError> {
        People::parse(written, false, |name| name == "KEYRING")
    }

    #[test]
    fn nothing_configured_lets_nobody_in() {
        let people = parse(WrittenPeople::default()).unwrap();
        assert_eq!(people, People::default());
        assert!(!people.has_login());
    }

    #[test]
    fn reads_logins_and_issuers() {
        let logins = r#"[
            {"kind":"oidc","name":"acme","title":"Acme","issuer":"https://idp.test/","client_id":"c",
             "client_secret":{"secret":"S"}},
            {"kind":"github","client_id":"g","client_secret":{"secret":"G"}},
            {"kind":"sentry","client_id":"s","url":"https://sentry.acme.test"}]"#;
        let issuers = r#"[{"issuer":"https://as.test"},
            {"issuer":"https://two.test/x","audience":["a"],"jwks":"https://two.test/keys",
             "algorithms":["ES256"],"user":"uid"}]"#;
        let people = parse(WrittenPeople {
            logins: Some(logins),
            issuers: Some(issuers),
            dev_login: Some(""),
            origin: Some("https://mcp.test"),
        })
        .unwrap();
        let [acme, github, sentry] = people.logins.as_slice() else { panic!("{people:?}") };
        assert_eq!((acme.title.as_str(), acme.authority()), ("Acme", "https://idp.test/"));
        assert_eq!(acme.scopes, ["openid", "profile"]);
        assert_eq!((github.name.as_str(), github.authority()), ("github", "https://github.com"));
        assert_eq!((github.title.as_str(), github.scopes.len()), ("GitHub", 0));
        assert_eq!(sentry.authority(), "https://sentry.acme.test");
        assert_eq!(sentry.client_secret, None);
        let [one, two] = people.issuers.as_slice() else { panic!("{people:?}") };
        assert_eq!((one.user.as_str(), one.audience.len()), ("sub", 0));
        assert_eq!(one.algorithms, ALGORITHMS);
        assert_eq!(two.algorithms, [Algorithm::Es256]);
        assert_eq!(two.jwks.as_deref(), Some("https://two.test/keys"));
        let secrets: Vec<_> = people.secrets().map(|(key, name)| format!("{key} {name}")).collect();
        assert_eq!(secrets, ["logins[0].client_secret S", "logins[1].client_secret G"]);
    }

    #[test]
    fn anybody_is_let_in_on_this_machine_alone() {
        let with = |origin| WrittenPeople {
            dev_login: Some("1"),
            origin: Some(origin),
            ..WrittenPeople::default()
        };
        for own in
            ["", "http://localhost:8787", "http://127.0.0.1", "http://[::1]:1", "http://LOCALHOST"]
        {
            assert!(parse(with(own)).is_ok_and(|people| people.is_dev_login), "{own}");
        }
        for other in [
            "https://mcp.test",
            "http://127.0.0.1.evil.test",
            "http://localhost.evil.test:80",
            "http://evil.test:localhost",
            "http://localhost@evil.test",
            "http://0.0.0.0",
            "localhost",
        ] {
            assert_eq!(parse(with(other)).unwrap_err().key, "DEV_LOGIN", "{other}");
        }
        let wrong = WrittenPeople { dev_login: Some("yes"), ..WrittenPeople::default() };
        assert_eq!(parse(wrong).unwrap_err().rule, "it is 1, or not set");
    }

    #[test]
    fn mistakes_of_a_login_name_the_key_and_the_rule() {
        let oidc = |more: &str| {
            format!(r#"[{{"kind":"oidc","issuer":"https://i.test","client_id":"c"{more}}}]"#)
        };
        for (text, expected) in [
            ("{".to_owned(), "logins: EOF"),
            ("{}".to_owned(), "logins: it is a list of tables"),
            ("[1]".to_owned(), "logins[0]: it is a table"),
            (r#"[{}]"#.to_owned(), "logins[0].kind: it is missing"),
            (r#"[{"kind":"saml"}]"#.to_owned(), "logins[0].kind: it is oidc, github or sentry"),
            (r#"[{"kind":"oidc"}]"#.to_owned(), "logins[0].issuer: it is missing"),
            (r#"[{"kind":"github"}]"#.to_owned(), "logins[0].client_id: it is missing"),
            (
                r#"[{"kind":"github","url":"https://g.test/"}]"#.to_owned(),
                "logins[0].url: it has no query",
            ),
            (
                r#"[{"kind":"oidc","issuer":"http://i.test"}]"#.to_owned(),
                "logins[0].issuer: an upstream is asked over https",
            ),
            (
                r#"[{"kind":"oidc","issuer":"https://i.test/?a"}]"#.to_owned(),
                "logins[0].issuer: an issuer has no query",
            ),
            (oidc(r#","client_secret":"abc""#), "client_secret: it is a secret: write"),
            (oidc(r#","client_secret":{"secret":"a"}"#), "client_secret: a secret's name"),
            (oidc(r#","client_secret":{"secret":"KEYRING"}"#), "KEYRING is a variable"),
            (oidc(r#","name":"A b""#), "logins[0].name: a name is made of"),
            (oidc(r#","name":"callback""#), "logins[0].name: callback has"),
            (oidc(r#","scopes":["profile"]"#), "logins[0].scopes: without openid"),
            (oidc(r#","scopes":["openid a"]"#), "logins[0].scopes: a scope is plain"),
            (oidc(r#","scopes":"openid""#), "logins[0].scopes: it is a list"),
            (oidc(r#","title":"""#), "logins[0].title: it is a text"),
            (oidc(r#","url":"https://x.test""#), "logins[0].url: there is no such key"),
            (
                oidc(r#"},{"kind":"oidc","issuer":"https://j.test","client_id":"c""#),
                "[1].name: oidc is",
            ),
        ] {
            let written = WrittenPeople { logins: Some(&text), ..WrittenPeople::default() };
            let error = parse(written).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn mistakes_of_an_issuer_name_the_key_and_the_rule() {
        for (text, expected) in [
            (r#"[{}]"#, "issuers[0].issuer: it is missing"),
            (r#"[{"issuer":"https://a.test","audience":[]}]"#, "[0].audience: it names at least"),
            (r#"[{"issuer":"https://a.test","audience":"x"}]"#, "[0].audience: it is a list"),
            (r#"[{"issuer":"https://a.test","jwks":"https://10.0.0.1/"}]"#, "[0].jwks: private"),
            (r#"[{"issuer":"https://a.test","algorithms":["none"]}]"#, "[0].algorithms: RS256"),
            (r#"[{"issuer":"https://a.test","algorithms":[]}]"#, "[0].algorithms: RS256"),
            (r#"[{"issuer":"https://a.test","key":1}]"#, "[0].key: there is no such key"),
            (r#"[{"issuer":"https://a.test"},{"issuer":"https://a.test"}]"#, "[1].issuer: this"),
        ] {
            let written = WrittenPeople { issuers: Some(text), ..WrittenPeople::default() };
            let error = parse(written).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
