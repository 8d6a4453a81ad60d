//! Signing in, step by step: which identity provider, where the browser is sent, what it comes back
//! with, who that is. What is begun in a browser is sealed in a cookie of that browser, so nothing is
//! stored for anybody who has proven nothing. It must not know how a provider is asked.
//!
//! # Layout, in reading order
//! - this file: a login that was begun, and its end
//! - [`provider`]: what is said to providers, and what they answer
//! - [`pages`]: what is shown meanwhile

pub mod pages;
pub mod provider;

use crate::{
    keyring::{Fresh, KeyRing},
    page::{Page, Visit},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shared::{
    Millis,
    config::people::{Login, People, is_loopback},
    limits,
};

/// Where a user signs in.
pub const PATH: &str = "/login";

/// Where a provider sends the browser back to, followed by `/` and the login's name: an address for
/// each, so that no provider's answer is taken for another's (RFC 9700, 4.4.2).
pub const CALLBACK: &str = "/login/callback";

/// Where a user signs out.
pub const LOGOUT: &str = "/logout";

const COOKIE: &str = "__Host-signalbox-login-";
const PURPOSE: &str = "login";

/// Characters of the state that the cookie is called after. The others are known to its seal only.
const COOKIE_CHARS: usize = 12;

/// What a visit at one of these addresses is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// A choice of providers.
    Choose,
    /// A name that a user of this machine gives themselves.
    Named,
    /// The way to a provider.
    Begin(&'a Login),
    /// The way back from one.
    Return(&'a Login),
    /// The question whether to sign out.
    AskOut,
    /// The end of being signed in.
    Out,
    /// Nothing that there is.
    Nothing,
}

/// Whether anybody may sign in under any name here: on this machine alone.
#[must_use]
pub fn is_dev_login(visit: &Visit, people: &People) -> bool {
    people.is_dev_login && is_loopback(&visit.origin)
}

/// What a visit is.
#[must_use]
pub fn step<'a>(visit: &Visit, people: &'a People) -> Step<'a> {
    let is_dev_login = is_dev_login(visit, people);
    let named = |name: &str| people.logins.iter().find(|login| login.name == name);
    let found = |step: fn(&'a Login) -> Step<'a>, name| named(name).map_or(Step::Nothing, step);
    let path = visit.path.strip_suffix('/').unwrap_or(&visit.path);
    match (path.strip_prefix(PATH), visit.is_form) {
        _ if path == LOGOUT => {
            if visit.is_form {
                Step::Out
            } else {
                Step::AskOut
            }
        }
        (Some(""), true) if is_dev_login => Step::Named,
        (Some(""), false) => match people.logins.as_slice() {
            [only] if !is_dev_login => Step::Begin(only),
            _ => Step::Choose,
        },
        (Some(rest), false) => match rest.strip_prefix("/callback/") {
            Some(name) => found(Step::Return, name),
            None => found(Step::Begin, rest.strip_prefix('/').unwrap_or_default()),
        },
        _ => Step::Nothing,
    }
}

/// Whether an address is a path of this site, to every reader of it.
#[must_use]
pub fn is_ours(address: &str) -> bool {
    address.starts_with('/')
        && !address.starts_with("//")
        && address.len() <= limits::LOGIN_THEN_BYTES_MAX
        && address.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
}

/// Where a visit wants to go once its user is signed in.
#[must_use]
pub fn then(visit: &Visit) -> String {
    let said = visit.field("then").or_else(|| visit.asked("then"));
    said.filter(|address| is_ours(address)).unwrap_or_else(|| "/account".to_owned())
}

/// Where the provider sends the browser back to.
#[must_use]
pub fn redirect(origin: &str, login: &Login) -> String {
    format!("{origin}{CALLBACK}/{}", login.name)
}

/// A login that was begun in a browser.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// `state`: what the answer must bring (RFC 6749, 10.12).
    state: String,
    /// `nonce`: what the ID token must bring.
    nonce: String,
    /// What the code is redeemed with (RFC 7636).
    verifier: String,
    /// Which login, by its name.
    login: String,
    /// Where to go then.
    then: String,
    /// Since when.
    since: Millis,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("login", &self.login).finish_non_exhaustive()
    }
}

impl Pending {
    /// Begins a login, with fresh randomness.
    #[must_use]
    pub fn begin(login: &Login, then: String, random: &[[u8; 32]; 3], now: Millis) -> Self {
        let [state, nonce, verifier] = random.map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        Self { state, nonce, verifier, login: login.name.clone(), then, since: now }
    }

    /// Where to go once it is done.
    #[must_use]
    pub fn then(&self) -> &str {
        &self.then
    }

    fn cookie(state: &str) -> Option<String> {
        let (name, _) = state.split_at_checked(COOKIE_CHARS)?;
        Some(format!("{COOKIE}{name}"))
    }

    /// The page with a cookie that holds it. Every login has a cookie of its own, so that one can
    /// be begun in several tabs; where there are too many, those before are given up.
    #[must_use]
    pub fn keep(&self, ring: &KeyRing, visit: &Visit, page: Page, fresh: Fresh) -> Page {
        let plain = serde_json::to_vec(self).unwrap_or_default();
        let sealed = ring.seal(PURPOSE, &plain, fresh).unwrap_or_default();
        let names = visit.cookie.split(';').filter_map(|pair| pair.trim().split_once('='));
        let names = || names.clone().map(|(name, _)| name).filter(|name| name.starts_with(COOKIE));
        let page = match names().count() < limits::LOGINS_MAX {
            true => page,
            false => names().fold(page, |page, name| page.with_cookie(name, "", 0)),
        };
        let name = Self::cookie(&self.state).unwrap_or_default();
        page.with_cookie(&name, &sealed, limits::LOGIN_S_MAX)
    }

    /// The login that a visit comes back from, if it was begun in this browser, at this provider,
    /// and not too long ago.
    #[must_use]
    pub fn read(ring: &KeyRing, visit: &Visit, login: &Login, now: Millis) -> Option<Self> {
        let state = visit.asked("state")?;
        let plain = ring.open(PURPOSE, visit.cookie(&Self::cookie(&state)?)?)?;
        let pending: Self = serde_json::from_slice(&plain).ok()?;
        let is_good = pending.state == state
            && pending.login == login.name
            && now.since(pending.since) < limits::LOGIN_S_MAX.saturating_mul(1000);
        is_good.then_some(pending)
    }

    /// The page without the cookie: a login comes back once.
    #[must_use]
    pub fn forget(&self, page: Page) -> Page {
        let name = Self::cookie(&self.state).unwrap_or_default();
        page.with_cookie(&name, "", 0)
    }

    /// What the provider is told of the verifier (RFC 7636, 4.2).
    fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(&self.verifier))
    }
}

#[cfg(test)]
mod tests;
