//! What all pages look like. Whatever is put into a page is escaped by `maud`. It must not know what
//! any page says.

use crate::page::Page;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use shared::config::Address;

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8886; --quiet: #5f6368; --strong: #2a6fdb; --bad: #b3261e; }
html { background: Canvas; color: CanvasText; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 46rem; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.5rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .45rem .5rem .45rem 0; text-align: left; vertical-align: top; }
th { color: var(--quiet); font-weight: 500; }
form { display: inline; }
form.box { display: block; }
time { white-space: nowrap; }
td:last-child { text-align: right; }
td form { display: inline-block; margin: 0 0 .25rem .25rem; }
label { display: block; margin: .6rem 0; }
label.choice { display: flex; gap: .6rem; align-items: baseline; }
input[type=text], input[type=number], select { font: inherit; padding: .35rem .5rem; width: 100%; max-width: 24rem; }
input[type=text], input[type=number], select { display: block; }
button { font: inherit; padding: .35rem .9rem; border: 1px solid var(--line); border-radius: .4rem; cursor: pointer; }
button { background: transparent; color: inherit; white-space: nowrap; }
a.button { display: inline-block; padding: .35rem .9rem; border: 1px solid var(--line); border-radius: .4rem; }
a.button { text-decoration: none; color: inherit; }
button.main { background: var(--strong); border-color: var(--strong); color: #fff; }
button.bad { color: var(--bad); }
code, td { overflow-wrap: anywhere; }
code { font-size: .9em; }
.quiet { color: var(--quiet); }
.box { border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; margin: 1rem 0; }
.box > :first-child { margin-top: 0; }
.box > :last-child { margin-bottom: 0; }
.bad { color: var(--bad); }
@media (prefers-color-scheme: dark) { :root { --quiet: #a8adb3; --bad: #ff8a80; } }
@media (max-width: 38rem) {
table, tbody, tr, td { display: block; }
tr { border-bottom: 1px solid var(--line); padding: .45rem 0; }
tr.head { display: none; }
td { border: 0; padding: .1rem 0; }
td:last-child { text-align: left; }
td[data-label]::before { content: attr(data-label) ': '; color: var(--quiet); }
td form { margin: .25rem .25rem 0 0; }
}
";

/// The site's sign, which browsers would ask for by themselves at an address of MCP.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
    %3Crect width='16' height='16' rx='4' fill='%232a6fdb'/%3E\
    %3Ccircle cx='8' cy='8' r='3.5' fill='%23fff'/%3E%3C/svg%3E";

/// A whole page with this title and content.
#[must_use]
pub fn page(status: u16, title: &str, content: &Markup) -> Page {
    let whole = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Signalbox" }
                link rel="icon" href=(ICON);
                style { (PreEscaped(STYLE)) }
            }
            body { main { (content) } }
        }
    };
    Page::html(status, whole.into_string())
}

/// A page that says what went wrong and what can be done, and no more.
#[must_use]
pub fn trouble(status: u16, title: &str, text: &str) -> Page {
    page(
        status,
        title,
        &html! { h1 { (title) } p { (text) } p { a href="/account" { "Your account" } } },
    )
}

/// On to an address elsewhere, after a form. It is a page that goes on by itself: browsers hold every
/// address that a form leads to against the policy of the page it was on, also the ones that those
/// addresses redirect to, which nobody here knows.
#[must_use]
pub fn away(address: &str) -> Page {
    let content = html! {
        h1 { "On to " (host(address)) }
        p { a href=(address) { "Go on" } " if your browser does not go there by itself." }
    };
    let mut page = page(200, "On to another site", &content);
    page.headers.push(("refresh", format!("0; url={address}")));
    page
}

/// The host of an address, for people.
#[must_use]
pub fn host(address: &str) -> String {
    let address = Address::parse(address, true).ok();
    let host = address.and_then(|at| at.origin.split_once("://").map(|(_, host)| host.to_owned()));
    host.unwrap_or_else(|| "another site".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_into_a_page_is_escaped() {
        let page = trouble(400, "<script>", "a & \"b\" <i>");
        assert!(!page.body.contains("<script>") && !page.body.contains("<i>"), "{}", page.body);
        assert!(page.body.contains("a &amp; &quot;b&quot; &lt;i&gt;"), "{}", page.body);
    }

    #[test]
    fn what_leads_away_goes_there_by_itself_and_by_hand() {
        let page = away("https://as.test/authorize?a=1&b=2");
        assert!(page.body.contains("On to as.test") && page.body.contains("a=1&amp;b=2"));
        let refresh = ("refresh", "0; url=https://as.test/authorize?a=1&b=2".to_owned());
        assert!(page.headers.contains(&refresh));
        assert_eq!(host("https://a.test:8443/cb?x=1"), "a.test:8443");
        assert_eq!(host("http://127.0.0.1:5/cb?x=1"), "127.0.0.1:5");
        assert_eq!(host("?"), "another site");
    }
}
