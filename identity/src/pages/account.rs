//! A user's own page: who and what may act for them, and the forms that end it. It must not know who
//! answers a form.

use crate::{
    account::{Client, Connection, ConnectionState, Key, NewKey, Overview, Request, Target},
    caller::Access,
    html,
    login::LOGOUT,
    page::{Page, Visit},
    signed::{SignedIn, form_token},
};
use maud::{Markup, html};
use shared::{Millis, Scope, config::Level, limits};

/// Where it is.
pub const PATH: &str = "/account";

/// Where a credential is connected: followed by `/` and its name.
pub const CONNECT: &str = "/connect";

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// What is said at the top of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A new key, which is shown this once.
    Key(String),
    /// What is wrong with a form, or why nothing came of it.
    Mistake(String),
}

/// What a form wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Something of the user's McpRouter.
    Ask(Request),
    /// The end of all of a client's grants. Their tokens must end, too.
    EndGrants(Vec<String>),
}

/// Reads a form of the page.
///
/// # Errors
/// What is wrong with it, for the one who filled it in.
pub fn wanted(visit: &Visit, levels: &[Level], now: Millis) -> Result<Wanted, String> {
    let field = |name: &str| visit.field(name).unwrap_or_default();
    let request = match field("action").as_str() {
        "mint" => Request::Mint(new_key(visit, levels, now)?),
        "revoke" => Request::Revoke { key: field("key") },
        "block" => Request::Block(target(visit)?),
        "unblock" => Request::Unblock(target(visit)?),
        "disconnect" => Request::Disconnect { credential: field("credential") },
        "end" => {
            let mut grants = visit.fields("grant");
            grants.truncate(limits::PAGE_ROWS_MAX);
            return Ok(Wanted::EndGrants(grants));
        }
        _ => return Err("This form is none of this page: reload it and try again.".to_owned()),
    };
    Ok(Wanted::Ask(request))
}

/// Where a form leads once it is done.
#[must_use]
pub fn place(visit: &Visit) -> String {
    let section = match visit.field("action").as_deref() {
        Some("mint" | "revoke") => "#keys",
        Some("end") => "#clients",
        Some("disconnect") => "#connections",
        Some("block" | "unblock") => match visit.field("kind").as_deref() {
            Some("context") => "#contexts",
            Some("client") => "#clients",
            Some("upstream") => "#connections",
            _ => "#blocks",
        },
        _ => "",
    };
    format!("{PATH}{section}")
}

fn new_key(visit: &Visit, levels: &[Level], now: Millis) -> Result<NewKey, String> {
    let field = |name: &str| visit.field(name).unwrap_or_default().trim().to_owned();
    let name = field("name");
    let most = limits::KEY_NAME_CHARS_MAX;
    if name.is_empty() || name.chars().count() > most || name.chars().any(char::is_control) {
        return Err(format!("Give the key a name of 1 to {most} characters."));
    }
    let scope = Scope::parse_path(&field("scope"), levels).map_err(|error| {
        format!("The key's address: {error}. It is good there and for everything inside of it.")
    })?;
    let days = field("days").parse::<u64>().ok();
    let days = days.filter(|days| (1..=limits::KEY_DAYS_MAX).contains(days));
    let days =
        days.ok_or_else(|| format!("A key is good for 1 to {} days.", limits::KEY_DAYS_MAX))?;
    let access = if visit.field("read_only").is_some() { Access::Read } else { Access::Write };
    let expires = Some(now.after(days.saturating_mul(DAY_MS)));
    Ok(NewKey { name, scope: scope.to_string(), access, expires })
}

fn target(visit: &Visit) -> Result<Target, String> {
    let value = visit.field("value").unwrap_or_default();
    match visit.field("kind").as_deref() {
        Some("user") => Ok(Target::User),
        Some("context") => Ok(Target::Context(value)),
        Some("client") => Ok(Target::Client(value)),
        Some("upstream") => Ok(Target::Upstream(value)),
        _ => Err("Nothing of this kind can be blocked: reload the page and try again.".to_owned()),
    }
}

/// The kind and the value that a form names a target by.
const fn named(target: &Target) -> (&'static str, &str) {
    match target {
        Target::User => ("user", ""),
        Target::Context(path) => ("context", path.as_str()),
        Target::Client(id) => ("client", id.as_str()),
        Target::Upstream(name) => ("upstream", name.as_str()),
    }
}

/// What a page of forms is made of.
struct Forms<'a> {
    token: String,
    blocks: &'a [Target],
}

impl Forms<'_> {
    /// A form of one button. There are many that are called alike, so each says to those who do not see
    /// its row what it is for.
    fn button(&self, label: &str, of: &str, class: &str, fields: &[(&str, &str)]) -> Markup {
        html! {
            form method="post" action=(PATH) {
                input type="hidden" name="token" value=(self.token);
                @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
                button class=(class) aria-label=[(!of.is_empty()).then(|| format!("{label} {of}"))] { (label) }
            }
        }
    }

    fn is_blocked(&self, target: &Target) -> bool {
        self.blocks.contains(target)
    }

    /// The button that blocks something, or ends that.
    fn block(&self, target: &Target, of: &str) -> Markup {
        let (kind, value) = named(target);
        let (label, class, action) = match self.is_blocked(target) {
            true => ("Unblock", "", "unblock"),
            false => ("Block", "bad", "block"),
        };
        self.button(label, of, class, &[("action", action), ("kind", kind), ("value", value)])
    }
}

/// The page.
#[must_use]
pub fn page(
    visit: &Visit,
    signed: &SignedIn,
    overview: &Overview,
    now: Millis,
    notice: Option<&Notice>,
) -> Page {
    let forms = Forms { token: form_token(visit), blocks: &overview.blocks };
    let name = if overview.name.is_empty() { signed.called() } else { &overview.name };
    let content = html! {
        h1 { (name) }
        p.quiet {
            "You are known here as " code { (signed.user) } ". "
            a href=(LOGOUT) { "Sign out" }
        }
        @if forms.is_blocked(&Target::User) {
            p.box.bad { "Everything of yours is blocked: no client and no key is answered." }
        }
        @match notice {
            None => {}
            Some(Notice::Mistake(text)) => p.box.bad role="alert" { (text) },
            Some(Notice::Key(key)) => div.box role="status" {
                p { strong { "Your new key." } " Copy it now: it is not shown again, to anybody." }
                p { code { (key) } }
            },
        }
        (clients(&forms, &overview.clients))
        (keys(&forms, &overview.keys, visit, now, matches!(notice, Some(Notice::Mistake(_)))))
        @if !overview.connections.is_empty() { (connections(&forms, &overview.connections)) }
        (contexts(&forms, &overview.contexts))
        (blocks(&forms))
        p.quiet { "Times are UTC." }
    };
    let status = if matches!(notice, Some(Notice::Mistake(_))) { 400 } else { 200 };
    html::page(status, "Your account", &content)
}

/// An instant, to the minute.
fn time(at: Millis) -> Markup {
    let text = at.to_rfc3339();
    let (day, minute) = (text.get(..10).unwrap_or_default(), text.get(11..16).unwrap_or_default());
    html! { time datetime=(text) { (day) " " (minute) } }
}

/// The items that are shown, and what is said of the others.
fn rows<T>(all: &[T]) -> (&[T], Markup) {
    let shown = all.get(..limits::PAGE_ROWS_MAX).unwrap_or(all);
    let others = all.len().saturating_sub(shown.len());
    (shown, html! { @if others > 0 { p.quiet { "And " (others) " more." } } })
}

fn clients(forms: &Forms<'_>, all: &[Client]) -> Markup {
    let (shown, others) = rows(all);
    html! {
        h2 #clients { "Clients" }
        @if all.is_empty() { p.quiet { "None was here yet." } }
        @else {
            table {
                tr.head { th { "Client" } th { "Here" } th { "Requests" } td {} }
                @for client in shown { (one_client(forms, client)) }
            }
            (others)
        }
    }
}

fn one_client(forms: &Forms<'_>, client: &Client) -> Markup {
    let name = if client.name.is_empty() { &client.id } else { &client.name };
    let mut ending = vec![("action", "end")];
    ending.extend(client.grants.iter().map(|grant| ("grant", grant.as_str())));
    html! {
        tr {
            td {
                strong { (name) } " " (client.version)
                @if client.id != client.name { br; code.quiet { (client.id) } }
                @if !client.revision.is_empty() { br; span.quiet { "MCP " (client.revision) } }
            }
            td data-label="Here" { (time(client.last)) br; span.quiet { "since " (time(client.first)) } }
            td data-label="Requests" { (client.calls) }
            td {
                @if !client.grants.is_empty() {
                    (forms.button("End access", &format!("of {name}"), "", &ending))
                }
                (forms.block(&Target::Client(client.id.clone()), name))
            }
        }
    }
}

/// What a key allows.
const fn allowed(access: Access) -> &'static str {
    match access {
        Access::Read => "read only",
        Access::Write => "read and write",
    }
}

fn keys(forms: &Forms<'_>, all: &[Key], visit: &Visit, now: Millis, is_mistaken: bool) -> Markup {
    let (shown, others) = rows(all);
    html! {
        h2 #keys { "Personal keys" }
        p.quiet { "For scripts, and for clients that cannot ask you. Whoever has one may act for you "
            "at its address and inside of it." }
        @if !all.is_empty() {
            table {
                tr.head { th { "Key" } th { "Address" } th { "Used" } td {} }
                @for key in shown { (one_key(forms, key, now)) }
            }
            (others)
        }
        (new_key_form(forms, visit, is_mistaken))
    }
}

fn one_key(forms: &Forms<'_>, key: &Key, now: Millis) -> Markup {
    let is_over = key.expires.is_some_and(|expires| expires <= now);
    html! {
        tr {
            td {
                strong { (key.name) }
                br; span.quiet { "made " (time(key.made)) }
                @if let Some(expires) = key.expires {
                    br;
                    span class=(if is_over { "bad" } else { "quiet" }) {
                        @if is_over { "over since " } @else { "good until " } (time(expires))
                    }
                }
            }
            td { code { (key.scope) } br; span.quiet { (allowed(key.access)) } }
            td data-label="Used" { @match key.used { Some(used) => (time(used)), None => "never" } }
            td { (forms.button("Revoke", &key.name, "bad", &[("action", "revoke"), ("key", &key.id)])) }
        }
    }
}

/// The form for a new key. A mistaken one keeps what was filled in.
fn new_key_form(forms: &Forms<'_>, visit: &Visit, is_mistaken: bool) -> Markup {
    let kept = |name: &str, usual: &str| {
        let is_kept = is_mistaken && visit.field("action").as_deref() == Some("mint");
        let said = visit.field(name).filter(|_| is_kept);
        said.unwrap_or_else(|| usual.to_owned())
    };
    html! {
        details.box open[is_mistaken && !kept("name", "").is_empty()] {
            summary { "Make a key" }
            form method="post" action=(PATH) {
                input type="hidden" name="token" value=(forms.token);
                input type="hidden" name="action" value="mint";
                label { "What it is for"
                    input type="text" name="name" required maxlength=(limits::KEY_NAME_CHARS_MAX)
                        value=(kept("name", ""));
                }
                label { "Address"
                    input type="text" name="scope" required value=(kept("scope", "/mcp"));
                }
                label { "Days that it is good for"
                    input type="number" name="days" required min="1" max=(limits::KEY_DAYS_MAX)
                        value=(kept("days", "90"));
                }
                label.choice {
                    input type="checkbox" name="read_only" checked[!kept("read_only", "").is_empty()];
                    "Only tools that read"
                }
                button.main { "Make a key" }
            }
        }
    }
}

fn connections(forms: &Forms<'_>, all: &[Connection]) -> Markup {
    html! {
        h2 #connections { "Connections" }
        p.quiet { "What tools need of you elsewhere." }
        table {
            tr.head { th { "Connection" } th { "State" } td {} }
            @for connection in all { (one_connection(forms, connection)) }
        }
    }
}

fn one_connection(forms: &Forms<'_>, connection: &Connection) -> Markup {
    let Connection { credential, toolsets, state } = connection;
    let label = match state {
        ConnectionState::Missing => "Connect",
        ConnectionState::Connected { .. } | ConnectionState::Expired => "Connect again",
    };
    html! {
        tr {
            td {
                strong { (credential) }
                @for name in toolsets {
                    br; span.quiet { "for " (name) " " }
                    (forms.block(&Target::Upstream(name.clone()), name))
                }
            }
            td {
                @match state {
                    ConnectionState::Missing => span.quiet { "not connected" },
                    ConnectionState::Expired => span.bad { "needs to be connected again" },
                    ConnectionState::Connected { since, expires } => {
                        "connected " (time(*since))
                        @if let Some(expires) = expires {
                            br; span.quiet { "renewed before " (time(*expires)) }
                        }
                    }
                }
            }
            td {
                form method="post" action={ (CONNECT) "/" (credential) } {
                    input type="hidden" name="token" value=(forms.token);
                    button aria-label={ (label) " " (credential) } { (label) }
                }
                @if *state != ConnectionState::Missing {
                    (forms.button("Disconnect", credential, "bad", &[("action", "disconnect"), ("credential", credential)]))
                }
            }
        }
    }
}

fn contexts(forms: &Forms<'_>, all: &[String]) -> Markup {
    let (shown, others) = rows(all);
    html! {
        h2 #contexts { "Contexts" }
        @if all.is_empty() { p.quiet { "You have entered none yet." } }
        @else {
            table {
                @for path in shown {
                    tr { td { code { (path) } } td { (forms.block(&Target::Context(path.clone()), path)) } }
                }
            }
            (others)
        }
    }
}

fn blocks(forms: &Forms<'_>) -> Markup {
    html! {
        h2 #blocks { "Blocks" }
        p.quiet { "What is blocked is refused from the next moment on, and ends where it runs." }
        @if !forms.blocks.is_empty() {
            table {
                @for target in forms.blocks {
                    @let (kind, value) = named(target);
                    tr {
                        td { @if *target == Target::User { "everything" }
                            @else { (kind) " " code { (value) } } }
                        td { (forms.block(target, &format!("{kind} {value}"))) }
                    }
                }
            }
        }
        @if !forms.is_blocked(&Target::User) {
            p { (forms.button("Block everything", "", "bad", &[("action", "block"), ("kind", "user")])) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::query;
    use shared::{UserId, config::default_levels};

    const NOW: Millis = Millis(1_795_000_000_000);

    fn visit(fields: &[(&str, &str)]) -> Visit {
        Visit {
            is_form: true,
            origin: "https://x.test".to_owned(),
            path: PATH.to_owned(),
            form: query(fields),
            cookie: "__Host-signalbox=a.b".to_owned(),
            ..Visit::default()
        }
    }

    fn read(fields: &[(&str, &str)]) -> Result<Wanted, String> {
        wanted(&visit(fields), &default_levels(), NOW)
    }

    fn mint(change: (&str, &str)) -> Result<NewKey, String> {
        let right = [("action", "mint"), ("name", " ci "), ("scope", "/mcp/Acme/"), ("days", "2")];
        let changed = right.map(|field| if field.0 == change.0 { change } else { field });
        match read(&[&changed[..], &[change]].concat())? {
            Wanted::Ask(Request::Mint(key)) => Ok(key),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_form_for_a_key_is_read_or_says_what_to_do() {
        let key = NewKey {
            name: "ci".to_owned(),
            scope: "/mcp/acme".to_owned(),
            access: Access::Write,
            expires: Some(Millis(NOW.0 + 2 * DAY_MS)),
        };
        assert_eq!(mint(("", "")), Ok(key.clone()));
        assert_eq!(mint(("read_only", "on")), Ok(NewKey { access: Access::Read, ..key }));
        for (change, text) in [
            (("name", " "), "Give the key a name"),
            (("name", "a\nb"), "Give the key a name"),
            (("scope", "/other"), "The key's address: there is nothing at this path"),
            (("scope", "/mcp/a b"), "The key's address: the org is made of"),
            (("days", "0"), "A key is good for 1 to"),
            (("days", "400"), "A key is good for 1 to"),
            (("days", ""), "A key is good for 1 to"),
        ] {
            let mistake = mint(change).unwrap_err();
            assert!(mistake.starts_with(text), "{mistake}");
        }
    }

    #[test]
    fn every_form_is_read_as_what_it_wants() {
        let ask = |fields: &[(&str, &str)]| match read(fields) {
            Ok(Wanted::Ask(request)) => request,
            other => panic!("{other:?}"),
        };
        for target in [
            Target::User,
            Target::Context("/mcp/a".to_owned()),
            Target::Client("c".to_owned()),
            Target::Upstream("u".to_owned()),
        ] {
            let (kind, value) = named(&target);
            let fields = |action| [("action", action), ("kind", kind), ("value", value)];
            assert_eq!(ask(&fields("block")), Request::Block(target.clone()));
            assert_eq!(ask(&fields("unblock")), Request::Unblock(target));
        }
        let revoke = [("action", "revoke"), ("key", "k")];
        assert_eq!(ask(&revoke), Request::Revoke { key: "k".to_owned() });
        assert_eq!(place(&visit(&revoke)), "/account#keys");
        let grants = [("action", "end"), ("grant", "1"), ("grant", "2")];
        let both = vec!["1".to_owned(), "2".to_owned()];
        assert_eq!(read(&grants), Ok(Wanted::EndGrants(both)));
        assert!(read(&[("action", "erase")]).is_err() && read(&[]).is_err());
        assert!(read(&[("action", "block"), ("kind", "x")]).is_err());
    }

    fn overview() -> Overview {
        Overview {
            name: "Ann <b>".to_owned(),
            clients: vec![Client {
                id: "https://c.test/<i>".to_owned(),
                name: "Editor".to_owned(),
                version: "1.2".to_owned(),
                revision: "2026-07-28".to_owned(),
                first: Millis(0),
                last: NOW,
                calls: 17,
                grants: vec!["g1".to_owned(), "g2".to_owned()],
            }],
            keys: vec![Key {
                id: "k1".to_owned(),
                name: "ci".to_owned(),
                scope: "/mcp/acme".to_owned(),
                access: Access::Read,
                made: Millis(0),
                used: None,
                expires: Some(NOW),
            }],
            contexts: vec!["/mcp/acme".to_owned(), "/mcp/b".to_owned()],
            connections: vec![Connection {
                credential: "git".to_owned(),
                toolsets: vec!["github".to_owned()],
                state: ConnectionState::Expired,
            }],
            blocks: vec![Target::Context("/mcp/b".to_owned())],
        }
    }

    fn shown(overview: &Overview, visit: &Visit, notice: Option<&Notice>) -> Page {
        let user = UserId::parse("https://i.test#1").unwrap();
        let signed = SignedIn { user, name: "Ann".to_owned(), since: Millis(0) };
        page(visit, &signed, overview, NOW, notice)
    }

    #[test]
    fn the_page_shows_all_there_is_and_escapes_it() {
        let page = shown(&overview(), &visit(&[]), None);
        for part in [
            "Ann &lt;b&gt;",
            "https://i.test#1",
            "https://c.test/&lt;i&gt;",
            "MCP 2026-07-28",
            "name=\"grant\" value=\"g2\"",
            "over since",
            "read only",
            "never",
            "needs to be connected again",
            "action=\"/connect/git\"",
            "2026-11-18 11:06",
            "Block everything",
        ] {
            assert!(page.body.contains(part), "{part}: {}", page.body);
        }
        assert!(!page.body.contains("<i>"), "{}", page.body);
        // Each form that changes something carries the text of this page.
        let token = format!("name=\"token\" value=\"{}\"", form_token(&visit(&[])));
        let forms = page.body.matches("<form").count();
        assert_eq!(
            (page.body.matches(&token).count(), page.body.matches("method=\"post\"").count()),
            (forms, forms)
        );
        // One context is blocked, and so is listed twice.
        assert_eq!(page.body.matches(">Unblock<").count(), 2);
        // What a button is for is said to those who do not see its row.
        assert!(page.body.contains("aria-label=\"Unblock context /mcp/b\""), "{}", page.body);
    }

    #[test]
    fn a_mistaken_form_keeps_what_was_filled_in() {
        let visit =
            visit(&[("action", "mint"), ("name", "\"ci\""), ("scope", "/x"), ("read_only", "on")]);
        let page = shown(&overview(), &visit, Some(&Notice::Mistake("Not <so>.".to_owned())));
        assert_eq!(page.status, 400);
        for part in [
            "Not &lt;so&gt;.",
            "value=\"&quot;ci&quot;\"",
            "value=\"/x\"",
            "checked",
            "<details class=\"box\" open",
        ] {
            assert!(page.body.contains(part), "{part}: {}", page.body);
        }
        let key = shown(&overview(), &visit, Some(&Notice::Key("sbx_a.b".to_owned())));
        assert!(key.status == 200 && key.body.contains("<code>sbx_a.b</code>"));
        assert!(!key.body.contains("value=\"/x\""));
    }

    #[test]
    fn what_is_long_is_cut() {
        let contexts = (0..limits::PAGE_ROWS_MAX + 3).map(|n| format!("/mcp/{n}")).collect();
        let page = shown(&Overview { contexts, ..Overview::default() }, &visit(&[]), None);
        assert!(page.body.contains("And 3 more."), "{}", page.body);
    }
}
