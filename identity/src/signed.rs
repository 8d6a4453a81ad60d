//! Who is signed in at this site, as their browser shows it: a sealed cookie, good for some hours. It
//! must not know how anybody signed in.

use crate::{
    keyring::{Fresh, KeyRing},
    page::{Page, Visit},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shared::{Millis, UserId, limits};

/// The cookie: this site's alone, over TLS or on loopback (RFC 6265bis, `__Host-`).
pub const COOKIE: &str = "__Host-signalbox";

const PURPOSE: &str = "signed in";

/// Somebody who is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIn {
    /// Who.
    pub user: UserId,
    /// What they are called, for people.
    pub name: String,
    /// Since when.
    pub since: Millis,
}

impl SignedIn {
    /// What they are called on a page: by their name, or whatever they are known by.
    #[must_use]
    pub fn called(&self) -> &str {
        if self.name.is_empty() { self.user.as_str() } else { &self.name }
    }

    /// Whoever a visit's cookie says.
    #[must_use]
    pub fn read(ring: &KeyRing, visit: &Visit, now: Millis) -> Option<Self> {
        let plain = ring.open(PURPOSE, visit.cookie(COOKIE)?)?;
        let signed: Self = serde_json::from_slice(&plain).ok()?;
        let is_good = now.since(signed.since) < limits::SIGNED_IN_S.saturating_mul(1000);
        is_good.then_some(signed)
    }

    /// The page with a cookie that says who is signed in.
    #[must_use]
    pub fn keep(&self, ring: &KeyRing, page: Page, fresh: Fresh) -> Page {
        let plain = serde_json::to_vec(self).unwrap_or_default();
        let sealed = ring.seal(PURPOSE, &plain, fresh).unwrap_or_default();
        page.with_cookie(COOKIE, &sealed, limits::SIGNED_IN_S)
    }

    /// The page with a cookie that says that nobody is.
    #[must_use]
    pub fn forget(page: Page) -> Page {
        page.with_cookie(COOKIE, "", 0)
    }
}

/// What each form of a signed-in user carries, besides coming from a page of ours: a text that only
/// a page shown to them has.
#[must_use]
pub fn form_token(visit: &Visit) -> String {
    let cookie = visit.cookie(COOKIE).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!("form {cookie}").as_bytes()))
}

/// Whether a form is one that this user was shown, and sent from there.
#[must_use]
pub fn is_genuine(visit: &Visit) -> bool {
    visit.is_own_form()
        && visit.cookie(COOKIE).is_some_and(|cookie| !cookie.is_empty())
        && visit.field("token").is_some_and(|token| token == form_token(visit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::From;

    fn ring() -> KeyRing {
        let key = base64::engine::general_purpose::STANDARD.encode([1; 32]);
        KeyRing::parse(&format!("a={key}")).unwrap()
    }

    fn visit() -> (SignedIn, Visit) {
        let signed = SignedIn {
            user: UserId::parse("alice").unwrap(),
            name: "Alice".to_owned(),
            since: Millis(1000),
        };
        let page = signed.keep(&ring(), Page::go("/"), [5; 12]);
        let cookie = page.headers.last().unwrap().1.split(';').next().unwrap().to_owned();
        let origin = "https://x.test".to_owned();
        let from = From { origin: Some(origin.clone()), site: None };
        (signed, Visit { is_form: true, origin, cookie, from, ..Visit::default() })
    }

    #[test]
    fn who_is_signed_in_is_known_for_some_hours() {
        let (signed, visit) = visit();
        let read = |now| SignedIn::read(&ring(), &visit, Millis(now));
        assert_eq!(read(1000), Some(signed.clone()));
        assert_eq!(read(1000 + limits::SIGNED_IN_S * 1000 - 1), Some(signed));
        assert_eq!(read(1000 + limits::SIGNED_IN_S * 1000), None);
        assert_eq!(SignedIn::read(&ring(), &Visit::default(), Millis(1000)), None);
    }

    #[test]
    fn a_form_needs_the_text_of_its_page() {
        let (_, visit) = visit();
        let with = |token: &str| Visit { form: format!("token={token}"), ..visit.clone() };
        assert!(is_genuine(&with(&form_token(&visit))));
        assert!(!is_genuine(&visit));
        assert!(!is_genuine(&with("x")));
        let stranger = Visit::default();
        assert!(!is_genuine(&with(&form_token(&stranger))));
        let nobody = Visit { cookie: String::new(), ..with(&form_token(&stranger)) };
        assert!(!is_genuine(&nobody));
        let elsewhere = Visit { from: From::default(), ..with(&form_token(&visit)) };
        assert!(!is_genuine(&elsewhere));
    }
}
