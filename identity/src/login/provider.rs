//! What is said to identity providers, and what they answer: OpenID Connect, and GitHub and Sentry,
//! which have ways of their own. Their tokens say once who somebody is and are dropped; connecting
//! an upstream is another matter. It must not know how anything is sent.

use super::{Pending, redirect};
use crate::{
    issuer::{Metadata, MetadataError, Proof},
    jwt::{Token, Wrong},
    page::{Visit, query},
    person::{self, Person},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use shared::{
    Millis,
    config::people::{Login, LoginKind},
    outside::{Answer, Request},
};

/// Why a login failed: a text for the one who tries, and a detail for the log, with nothing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// The user said no there.
    Declined,
    /// The provider gives an error, or what it says is not what it must be.
    Provider(String),
    /// Somebody else's answer, or one that was changed.
    Mixed,
}

impl From<MetadataError> for Failed {
    fn from(error: MetadataError) -> Self {
        Self::Provider(error.to_string())
    }
}

impl From<Wrong> for Failed {
    fn from(wrong: Wrong) -> Self {
        Self::Provider(format!("its ID token: {wrong}"))
    }
}

/// Where a provider is asked for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    authorization: String,
    token: String,
    /// Where it says who has a token, if not with the token.
    user: Option<String>,
    /// Where its keys are, if it signs.
    pub keys: Option<String>,
    /// What it may call itself in an answer.
    issuers: Vec<String>,
    names_itself: bool,
    proof: Proof,
}

impl Endpoints {
    /// Of an OpenID provider, by what it says of itself.
    ///
    /// # Errors
    /// It lacks what is needed.
    pub fn openid(issuer: &str, metadata: Metadata) -> Result<Self, Failed> {
        let Metadata { authorization, token, userinfo, keys, names_itself, proof } = metadata;
        let needed = |address: Option<String>, name| {
            Metadata::needed(address.as_ref(), name).map(ToOwned::to_owned)
        };
        Ok(Self {
            authorization: needed(authorization, "authorization_endpoint")?,
            token: needed(token, "token_endpoint")?,
            user: userinfo,
            keys: Some(needed(keys, "jwks_uri")?),
            issuers: vec![issuer.to_owned()],
            names_itself,
            proof,
        })
    }

    /// Of a provider that does not say; `None` for one that does.
    #[must_use]
    pub fn known(kind: &LoginKind) -> Option<Self> {
        let (url, authorization, token, user) = match kind {
            LoginKind::Oidc { .. } => return None,
            LoginKind::Github { url } => {
                let user = match url.as_str() {
                    "https://github.com" => "https://api.github.com/user".to_owned(),
                    // GitHub Enterprise Server has its API under its own name.
                    url => format!("{url}/api/v3/user"),
                };
                (url, "/login/oauth/authorize", "/login/oauth/access_token", Some(user))
            }
            LoginKind::Sentry { url } => (url, "/oauth/authorize/", "/oauth/token/", None),
        };
        Some(Self {
            authorization: format!("{url}{authorization}"),
            token: format!("{url}{token}"),
            user,
            keys: None,
            // GitHub's metadata call it so.
            issuers: vec![url.clone(), format!("{url}/login/oauth")],
            names_itself: false,
            proof: Proof::Post,
        })
    }

    /// Where the browser is sent.
    #[must_use]
    pub fn authorize(&self, login: &Login, pending: &Pending, origin: &str) -> String {
        let (redirect, scope) = (redirect(origin, login), login.scopes.join(" "));
        let challenge = pending.challenge();
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", &login.client_id),
            ("redirect_uri", &redirect),
            ("state", &pending.state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        if !scope.is_empty() {
            pairs.push(("scope", &scope));
        }
        if matches!(login.kind, LoginKind::Oidc { .. }) {
            pairs.push(("nonce", &pending.nonce));
        }
        let sign = if self.authorization.contains('?') { '&' } else { '?' };
        format!("{}{sign}{}", self.authorization, query(&pairs))
    }

    /// The code that a browser comes back with.
    ///
    /// # Errors
    /// There is none, or it is not this provider's (RFC 9207, 2.4).
    pub fn code(&self, visit: &Visit) -> Result<String, Failed> {
        let is_own = match visit.asked("iss") {
            Some(said) => self.issuers.contains(&said),
            None => !self.names_itself,
        };
        if !is_own {
            return Err(Failed::Mixed);
        }
        match (visit.asked("error").as_deref(), visit.asked("code")) {
            (Some("access_denied" | "login_required" | "interaction_required"), _) => {
                Err(Failed::Declined)
            }
            (Some(error), _) => Err(Failed::Provider(format!("it answers {}", code(error)))),
            (None, Some(code)) if !code.is_empty() => Ok(code),
            _ => Err(Failed::Provider("it answers without a code".to_owned())),
        }
    }

    /// The request for what a code is worth (RFC 6749, 4.1.3).
    #[must_use]
    pub fn exchange(
        &self,
        login: &Login,
        secret: Option<&str>,
        code: &str,
        pending: &Pending,
        origin: &str,
    ) -> Request {
        let redirect = redirect(origin, login);
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &redirect),
            ("code_verifier", &pending.verifier),
        ];
        let mut headers = headers();
        headers.push(("content-type", "application/x-www-form-urlencoded".to_owned()));
        match (secret, self.proof) {
            (Some(secret), Proof::Basic) => {
                let id = encoded(&login.client_id);
                let both = STANDARD.encode(format!("{id}:{}", encoded(secret)));
                headers.push(("authorization", format!("Basic {both}")));
            }
            (Some(secret), Proof::Post) => {
                pairs.extend([("client_id", login.client_id.as_str()), ("client_secret", secret)]);
            }
            (None, _) => pairs.push(("client_id", &login.client_id)),
        }
        request("POST", &self.token, headers, Some(query(&pairs)))
    }

    /// The request for who has a token, where that is said there.
    #[must_use]
    pub fn who(&self, given: &Given) -> Option<Request> {
        let mut headers = headers();
        headers.push(("authorization", format!("Bearer {}", given.text("access_token")?)));
        Some(request("GET", self.user.as_ref()?, headers, None))
    }
}

fn headers() -> Vec<(&'static str, String)> {
    // GitHub refuses whoever says no name.
    vec![("accept", "application/json".to_owned()), ("user-agent", "signalbox".to_owned())]
}

fn request(
    method: &'static str,
    url: &str,
    headers: Vec<(&'static str, String)>,
    body: Option<String>,
) -> Request {
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Request { method, url: url.to_owned(), headers, body }
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// An error code as it may be logged: a provider, or whoever made up the address, chose it.
fn code(error: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    error.chars().filter(is_plain).take(64).collect()
}

/// What a provider gave for a code.
#[derive(Clone, PartialEq)]
pub struct Given(Value);

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Given")
    }
}

impl Given {
    /// Reads what a provider answered.
    ///
    /// # Errors
    /// It is an error. Some say so with status 200.
    pub fn read(answer: &Answer) -> Result<Self, Failed> {
        let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        if let Some(error) = said.get("error").and_then(Value::as_str) {
            let text = format!("it redeems no code: {} ({})", code(error), answer.status);
            return Err(Failed::Provider(text));
        }
        match answer.status == 200 && said.is_object() {
            true => Ok(Self(said)),
            false => Err(Failed::Provider(format!("it redeems no code ({})", answer.status))),
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// The ID token. Its signature is for whoever has the cryptography.
    ///
    /// # Errors
    /// There is none, or it answers something else.
    pub fn id_token(&self, login: &Login, pending: &Pending, now: Millis) -> Result<Token, Failed> {
        let text = self.text("id_token");
        let text = text.ok_or_else(|| Failed::Provider("it gives no ID token".to_owned()))?;
        let token = Token::read(text)?;
        token.check_id(login.authority(), &login.client_id, &pending.nonce, now)?;
        Ok(token)
    }

    /// Who it was given for, where that is said with it (Sentry).
    ///
    /// # Errors
    /// It is not said.
    pub fn person(&self, login: &Login) -> Result<Person, Failed> {
        let user = self.0.get("user");
        numbered(login, user).ok_or_else(|| Failed::Provider("it does not say for whom".to_owned()))
    }
}

/// Who an ID token is of.
///
/// # Errors
/// It does not say so.
pub fn of_token(login: &Login, token: &Token) -> Result<Person, Failed> {
    let subject = token.claim("sub").unwrap_or_default();
    let user = person::user(login.authority(), "sub", subject).ok_or(Wrong::Subject)?;
    let names = ["name", "preferred_username"].iter().filter_map(|name| token.claim(name));
    Ok(Person { user, name: named(names) })
}

/// The same person, with the name that the provider says when it is asked for more. What it says of
/// another subject is not theirs (OpenID Connect Core 1.0, 5.3.2).
#[must_use]
pub fn with_userinfo(person: Person, token: &Token, answer: &Answer) -> Person {
    let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let text = |name: &str| said.get(name).and_then(Value::as_str);
    match answer.status == 200 && text("sub").is_some() && text("sub") == token.claim("sub") {
        true => {
            let names = ["name", "preferred_username", "nickname"].iter();
            Person { name: named(names.filter_map(|name| text(name))), ..person }
        }
        false => person,
    }
}

/// Who a provider with numbers for its users says has a token (GitHub).
///
/// # Errors
/// It does not say so.
pub fn of_answer(login: &Login, answer: &Answer) -> Result<Person, Failed> {
    let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let person = if answer.status == 200 { numbered(login, Some(&said)) } else { None };
    let wrong = || Failed::Provider(format!("it does not say who that is ({})", answer.status));
    person.ok_or_else(wrong)
}

/// A person by `id`, a number, perhaps written as a text: logins and e-mail addresses change hands.
fn numbered(login: &Login, user: Option<&Value>) -> Option<Person> {
    let user = user?;
    let subject = match user.get("id")? {
        Value::Number(number) => number.as_u64()?.to_string(),
        Value::String(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.clone(),
        _ => return None,
    };
    let names = ["name", "login", "username"].iter();
    let names = names.filter_map(|name| user.get(*name).and_then(Value::as_str));
    Some(Person { user: person::user(login.authority(), "sub", &subject)?, name: named(names) })
}

/// The first name that is one.
fn named<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(person::shown).find(|name| !name.is_empty()).unwrap_or_default()
}
