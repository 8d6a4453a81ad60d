//! The pages by which a user connects a credential at an upstream. It must not know how one is
//! connected.

use crate::{
    html,
    page::{Page, Visit, query},
    signed::form_token,
};
use maud::html;
use shared::config::Credential;

/// Where every authorization server sends browsers back to, below the origin.
pub const CALLBACK: &str = "/connect/callback";

/// What a visit to these pages is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A browser comes back.
    Callback {
        /// `state`.
        state: String,
        /// `code`.
        code: Option<String>,
        /// `iss`.
        issuer: Option<String>,
        /// `error`.
        error: Option<String>,
    },
    /// Somebody wants to connect a credential, by its name, or to see what that is.
    Credential(String),
    /// Nothing.
    Nothing,
}

/// What a visit is for.
#[must_use]
pub fn asked(visit: &Visit) -> Asked {
    match visit.path.strip_prefix("/connect/") {
        _ if visit.path == CALLBACK && !visit.is_form => Asked::Callback {
            state: visit.asked("state").unwrap_or_default(),
            code: visit.asked("code"),
            issuer: visit.asked("iss"),
            error: visit.asked("error"),
        },
        Some(name) if !name.is_empty() && !name.contains('/') => Asked::Credential(name.to_owned()),
        _ => Asked::Nothing,
    }
}

/// To the page where somebody signs in, and back here. What a browser brought back from elsewhere is
/// in no address of ours: that is begun again.
#[must_use]
pub fn sign_in(visit: &Visit) -> Page {
    let then = if visit.path == CALLBACK { "/account" } else { visit.path.as_str() };
    Page::go(&format!("/login?{}", query(&[("then", then)])))
}

/// What is connected, and a button that does so.
#[must_use]
pub fn offer(visit: &Visit, user: &str, credential: &Credential, toolsets: &[String]) -> Page {
    let title = format!("Connect {}", credential.name);
    let content = html! {
        h1 { (title) }
        p {
            "You are signed in as " strong { (user) } ". Tools of "
            @for (n, toolset) in toolsets.iter().enumerate() {
                @if n > 0 { ", " }
                strong { (toolset) }
            }
            " use your own account at " code { (html::host(&credential.resource)) }
            ". You are sent there to allow it, and can end it on your account page."
        }
        form method="post" action={ "/connect/" (credential.name) } {
            input type="hidden" name="token" value=(form_token(visit));
            button.main { "Connect" }
            " "
            a href="/account" { "Not now" }
        }
    };
    html::page(200, &title, &content)
}

/// It is connected.
#[must_use]
pub fn done() -> Page {
    let content = html! {
        h1 { "Connected" }
        p { "What waited for this goes on now. You can close this page." }
        p { a href="/account" { "Your account" } }
    };
    html::page(200, "Connected", &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(path: &str, query: &str) -> Visit {
        Visit { path: path.to_owned(), query: query.to_owned(), ..Visit::default() }
    }

    #[test]
    fn a_visit_is_for_one_thing() {
        let asked = |path, query| asked(&visit(path, query));
        assert_eq!(asked("/connect/far", ""), Asked::Credential("far".to_owned()));
        for nothing in ["/connect", "/connect/", "/connect/a/b", "/connect/callback/x"] {
            assert_eq!(asked(nothing, ""), Asked::Nothing, "{nothing}");
        }
        let back = Asked::Callback {
            state: "s".to_owned(),
            code: Some("c".to_owned()),
            issuer: Some("https://as.test".to_owned()),
            error: None,
        };
        assert_eq!(asked(CALLBACK, "code=c&state=s&iss=https%3A%2F%2Fas.test"), back);
        let form = Visit { is_form: true, ..visit(CALLBACK, "code=c&state=s") };
        assert_eq!(super::asked(&form), Asked::Credential("callback".to_owned()));
    }

    #[test]
    fn who_signs_in_first_comes_back_without_what_was_brought() {
        let to = |path, query| sign_in(&visit(path, query)).headers[0].1.clone();
        assert_eq!(to("/connect/far", ""), "/login?then=%2Fconnect%2Ffar");
        assert_eq!(to(CALLBACK, "code=c&state=s"), "/login?then=%2Faccount");
    }

    #[test]
    fn a_page_says_what_is_connected_and_where() {
        let credential = Credential {
            name: "far".to_owned(),
            resource: "https://mcp.test/x".to_owned(),
            issuer: None,
            endpoints: None,
            client: None,
            scopes: Vec::new(),
        };
        let toolsets = ["one".to_owned(), "two".to_owned()];
        let page = offer(&visit("/connect/far", ""), "<b>", &credential, &toolsets);
        for part in ["mcp.test", "<strong>one</strong>, <strong>two</strong>", "&lt;b&gt;"] {
            assert!(page.body.contains(part), "{part}: {}", page.body);
        }
    }
}
