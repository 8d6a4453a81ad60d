//! What is shown while somebody signs in or out. It must not know how that is done.

use super::{LOGOUT, PATH, provider::Failed};
use crate::{
    html,
    page::{Page, Visit, query},
    signed::{SignedIn, form_token},
};
use maud::html;
use shared::{config::people::Login, limits};

/// The choice of providers, and a name to give oneself where that is allowed. `mistake` says what
/// is wrong with the one given.
#[must_use]
pub fn choose(logins: &[Login], then: &str, is_dev_login: bool, mistake: Option<&str>) -> Page {
    let status = if mistake.is_some() { 400 } else { 200 };
    let then_query = query(&[("then", then)]);
    html::page(
        status,
        "Sign in",
        &html! {
            h1 { "Sign in" }
            @if logins.is_empty() && !is_dev_login {
                p { "Nobody can sign in here yet: whoever runs this site has to say with whom, in "
                    code { "[[vars.logins]]" } "." }
            }
            @for login in logins {
                p { a.button href={ (PATH) "/" (login.name) "?" (then_query) } {
                    "Sign in with " (login.title)
                } }
            }
            @if is_dev_login {
                form.box method="post" action=(PATH) {
                    input type="hidden" name="then" value=(then);
                    label { "Your name on this machine"
                        input type="text" name="name" required autofocus autocomplete="username"
                            maxlength=(limits::USER_CHARS_MAX);
                    }
                    @if let Some(mistake) = mistake { p.bad { (mistake) } }
                    button.main { "Sign in" }
                    p.quiet { "Anybody on this machine may take any name. There is no such page "
                        "anywhere else." }
                }
            }
        },
    )
}

/// A login that came to nothing.
#[must_use]
pub fn failed(login: &Login, then: &str, failed: &Failed) -> Page {
    let (status, text) = match failed {
        Failed::Declined => {
            (403, format!("{} did not let you in, or you did not want to.", login.title))
        }
        Failed::Provider(_) => (
            502,
            format!(
                "{} could not tell who you are. Whoever runs this site finds in its log why.",
                login.title
            ),
        ),
        Failed::Mixed => (400, format!("This answer is not from {}.", login.title)),
    };
    retry(status, "You are not signed in", &text, then)
}

/// An answer to a login that nobody knows of.
#[must_use]
pub fn unknown(then: &str) -> Page {
    let text = "This login was not begun in this browser, it is over, or it was too long ago.";
    retry(400, "You are not signed in", text, then)
}

fn retry(status: u16, title: &str, text: &str, then: &str) -> Page {
    let again = format!("{PATH}?{}", query(&[("then", then)]));
    html::page(
        status,
        title,
        &html! { h1 { (title) } p { (text) } p { a.button href=(again) { "Sign in again" } } },
    )
}

/// The question whether to sign out, or that it is done.
#[must_use]
pub fn out(visit: &Visit, signed: Option<&SignedIn>) -> Page {
    let Some(signed) = signed else {
        return html::page(
            200,
            "Signed out",
            &html! {
                h1 { "You are signed out" }
                p { "Clients and keys that you have let in stay so until you end them." }
                p { a.button href=(PATH) { "Sign in" } }
            },
        );
    };
    html::page(
        200,
        "Sign out",
        &html! {
            h1 { "Sign out" }
            p { "You are signed in as " strong { (signed.called()) } "." }
            form method="post" action=(LOGOUT) {
                input type="hidden" name="token" value=(form_token(visit));
                button.main { "Sign out" }
            }
            p { a href="/account" { "Your account" } }
        },
    )
}
