//! What all pages look like. Whatever is put into a page is escaped by `maud`. It must not know what
//! any page says.

use crate::page::Page;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --quiet: #888; --strong: #2a6fdb; --bad: #c2332b; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 46rem; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 1rem; }
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
input[type=text], input[type=number], select { font: inherit; padding: .35rem .5rem; width: 100%; max-width: 24rem; }
input[type=text], input[type=number], select { display: block; }
button { font: inherit; padding: .35rem .9rem; border: 1px solid var(--line); border-radius: .4rem; cursor: pointer; }
a.button { display: inline-block; padding: .35rem .9rem; border: 1px solid var(--line); border-radius: .4rem; }
a.button { text-decoration: none; color: inherit; }
button.main { background: var(--strong); border-color: var(--strong); color: #fff; }
button.bad { color: var(--bad); }
code { font-size: .9em; overflow-wrap: anywhere; }
.quiet { color: var(--quiet); }
.box { border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; margin: 1rem 0; }
.bad { color: var(--bad); }
";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_into_a_page_is_escaped() {
        let page = trouble(400, "<script>", "a & \"b\" <i>");
        assert!(!page.body.contains("<script>") && !page.body.contains("<i>"), "{}", page.body);
        assert!(page.body.contains("a &amp; &quot;b&quot; &lt;i&gt;"), "{}", page.body);
    }
}
