//! Pages as values: what a browser asks, and what it is shown. Every page says that nothing frames
//! it, nothing keeps it, and no script runs in it. It must not know what is on a page.

use shared::limits;
use std::borrow::Cow;

/// A browser's request for a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Visit {
    /// Whether a form is sent. A page is asked for otherwise.
    pub is_form: bool,
    /// Scheme and authority under which this deployment is known: what every address begins with.
    pub origin: String,
    /// The path, as the platform normalised it.
    pub path: String,
    /// The query as it came, without `?`.
    pub query: String,
    /// The body of a form as it came, with its fields.
    pub form: String,
    /// `Cookie`.
    pub cookie: String,
    /// `Origin` and `Sec-Fetch-Site` of a form: where it was sent from.
    pub from: From,
}

/// Where a form was sent from, as the browser says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct From {
    /// `Origin`.
    pub origin: Option<String>,
    /// `Sec-Fetch-Site`.
    pub site: Option<String>,
}

impl Visit {
    /// The first value that the query has under a name.
    #[must_use]
    pub fn asked(&self, name: &str) -> Option<String> {
        first(&self.query, name)
    }

    /// The first value that the form has under a name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        first(&self.form, name)
    }

    /// Every value that the form has under a name.
    #[must_use]
    pub fn fields(&self, name: &str) -> Vec<String> {
        let pairs = form_urlencoded::parse(self.form.as_bytes());
        pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect()
    }

    /// A cookie's value.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let pairs = self.cookie.split(';').filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value);
        values.next()
    }

    /// Whether a form was sent from a page of ours: browsers say so, and no page can say it for
    /// them (Fetch, forbidden request-headers). One that says nothing of it is none that is known.
    #[must_use]
    pub fn is_own_form(&self) -> bool {
        let is_own = self.from.origin.as_deref().is_some_and(|origin| origin == self.origin);
        let is_same = self.from.site.as_deref().is_none_or(|site| site == "same-origin");
        self.is_form && is_own && is_same
    }
}

fn first(pairs: &str, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(pairs.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// A query, from names and values.
#[must_use]
pub fn query(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// What a browser is shown, or sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// HTTP status.
    pub status: u16,
    /// Headers; `set-cookie` may be there several times.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Cow<'static, str>,
}

/// A form ends on this site: browsers hold redirects against it too.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; \
                      frame-ancestors 'none'; form-action 'self'";

impl Page {
    /// A page of HTML, whole.
    #[must_use]
    pub fn html(status: u16, body: String) -> Self {
        Self {
            status,
            headers: vec![
                ("content-type", "text/html; charset=utf-8".to_owned()),
                ("content-security-policy", POLICY.to_owned()),
                ("x-frame-options", "DENY".to_owned()),
                ("x-content-type-options", "nosniff".to_owned()),
                ("referrer-policy", "same-origin".to_owned()),
                ("cache-control", "no-store".to_owned()),
            ],
            body: body.into(),
        }
    }

    /// A document of JSON for anybody, whatever page they are on.
    #[must_use]
    pub fn document(body: String) -> Self {
        Self {
            status: 200,
            headers: vec![
                ("content-type", "application/json".to_owned()),
                ("access-control-allow-origin", "*".to_owned()),
                ("cache-control", "max-age=300".to_owned()),
            ],
            body: body.into(),
        }
    }

    /// On to another address (RFC 9700, 4.12: 303, so that no form is sent on).
    #[must_use]
    pub fn go(address: &str) -> Self {
        let headers =
            vec![("location", address.to_owned()), ("cache-control", "no-store".to_owned())];
        Self { status: 303, headers, body: Cow::Borrowed("") }
    }

    /// The same, with a cookie that this site alone gets back, and no script sees. Without a value
    /// it is forgotten.
    #[must_use]
    pub fn with_cookie(mut self, name: &str, value: &str, seconds: u64) -> Self {
        let age = if value.is_empty() { 0 } else { seconds.min(limits::COOKIE_S_MAX) };
        let cookie =
            format!("{name}={value}; Path=/; Max-Age={age}; Secure; HttpOnly; SameSite=Lax");
        self.headers.push(("set-cookie", cookie));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(origin: Option<&str>, site: Option<&str>) -> Visit {
        Visit {
            is_form: true,
            origin: "https://x.test".to_owned(),
            from: From { origin: origin.map(ToOwned::to_owned), site: site.map(ToOwned::to_owned) },
            ..Visit::default()
        }
    }

    #[test]
    fn a_form_is_ours_if_the_browser_says_so() {
        assert!(form(Some("https://x.test"), None).is_own_form());
        assert!(form(Some("https://x.test"), Some("same-origin")).is_own_form());
        assert!(!form(Some("https://x.test"), Some("cross-site")).is_own_form());
        assert!(!form(Some("https://evil.test"), None).is_own_form());
        assert!(!form(Some("null"), None).is_own_form());
        assert!(!form(None, None).is_own_form());
        assert!(!Visit { is_form: false, ..form(Some("https://x.test"), None) }.is_own_form());
    }

    #[test]
    fn what_a_browser_sends_is_read() {
        let visit = Visit {
            query: "a=1&b=x%20y&a=2".to_owned(),
            form: "s=one&s=two+%C3%BC&t".to_owned(),
            cookie: "x=1; __Host-y=a=b ;z=".to_owned(),
            ..Visit::default()
        };
        assert_eq!(visit.asked("a").as_deref(), Some("1"));
        assert_eq!(visit.asked("b").as_deref(), Some("x y"));
        assert_eq!(visit.asked("c"), None);
        assert_eq!(visit.fields("s"), ["one", "two ü"]);
        assert_eq!(visit.field("t").as_deref(), Some(""));
        assert_eq!(visit.cookie("__Host-y"), Some("a=b"));
        assert_eq!(visit.cookie("z"), Some(""));
        assert_eq!(visit.cookie("Host-y"), None);
        assert_eq!(query(&[("a b", "ü&=")]), "a+b=%C3%BC%26%3D");
    }

    #[test]
    fn a_page_says_what_may_be_done_with_it() {
        let page = Page::html(200, "x".to_owned());
        let header = |name| page.headers.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str());
        let policy = header("content-security-policy").unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(policy.ends_with("form-action 'self'"), "{policy}");
        let gone = Page::go("/").with_cookie("__Host-a", "", 60);
        let cookie = &gone.headers[2].1;
        assert_eq!(cookie, "__Host-a=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax");
    }
}
