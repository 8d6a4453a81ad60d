//! Whether a client may act for a user: what they are shown, and what their form says. Nothing of it
//! is remembered: the question comes each time. It must not know how a request was validated, nor
//! where it is kept.

use crate::{
    grant, html,
    page::{Page, Visit, query},
    signed::{SignedIn, form_token},
};
use maud::{Markup, html};
use serde_json::{Value, json};
use shared::{Scope, config::Level, error::shown as text_of, scope::Slug};

/// The scopes that there are (RFC 6749, 3.3).
const READ: &str = "mcp:read";
const WRITE: &str = "mcp:write";
const OFFLINE: &str = "offline_access";

/// An authorization request as it goes to the authorization server of its resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The scope that its resource opens; all of the user's where it names none.
    pub scope: Scope,
    /// The whole address.
    pub address: String,
    /// A parameter that is there more than once, and must not be (RFC 6749, 3.1): which of them the
    /// client means, nobody knows.
    pub repeated: Option<String>,
}

impl Asked {
    /// Reads the address that a client sent a browser to. A resource is known in any case that its
    /// levels allow (RFC 8707, 2: one URI). What is none of ours is left as it is, for the authorization
    /// server to refuse.
    #[must_use]
    pub fn read(visit: &Visit, levels: &[Level]) -> Self {
        let mut pairs: Vec<(String, String)> =
            form_urlencoded::parse(visit.query.as_bytes()).into_owned().collect();
        let repeated = repeated(&pairs);
        let mut resources: Vec<_> = pairs.iter_mut().filter(|(key, _)| key == "resource").collect();
        let mut scope = Scope::default();
        if let [(_, resource)] = resources.as_mut_slice()
            && let Some(known) = scope_of(resource, &visit.origin, levels)
        {
            *resource = format!("{}{known}", visit.origin);
            scope = known;
        }
        let pairs: Vec<_> =
            pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        Self { scope, address: format!("{}/authorize?{}", visit.origin, query(&pairs)), repeated }
    }

    /// Whether it is said twice who asks, or where the answer goes: then nobody can be told but the user.
    #[must_use]
    pub fn is_unanswerable(&self) -> bool {
        self.repeated.as_deref().is_some_and(|name| ADDRESSED.contains(&name))
    }
}

/// What says who asks, and where the answer goes.
const ADDRESSED: [&str; 2] = ["client_id", "redirect_uri"];

/// A parameter that is there more than once, of those that say where the answer goes first. There may be
/// several resources (RFC 8707, 2).
fn repeated(pairs: &[(String, String)]) -> Option<String> {
    let count = |name: &str| pairs.iter().filter(|(key, _)| key == name).count();
    let names = ADDRESSED.into_iter().chain(pairs.iter().map(|(key, _)| key.as_str()));
    let mut names = names.filter(|name| *name != "resource" && count(name) > 1);
    names.next().map(ToOwned::to_owned)
}

/// Where the client hears that a parameter is there more than once (RFC 6749, 4.1.2.1; RFC 9207).
/// `request` is what the authorization server made of the rest, and found right.
#[must_use]
pub fn refusal(request: &Value, repeated: &str) -> String {
    let text = |key: &str| request.get(key).and_then(Value::as_str).unwrap_or_default();
    let description = format!("{} is there more than once", text_of(repeated));
    let mut pairs = vec![("error", "invalid_request"), ("error_description", &description)];
    pairs.extend([("state", text("state")), ("iss", text("issuer"))]);
    pairs.retain(|(_, value)| !value.is_empty());
    let redirect = text("redirectUri");
    let joint = if redirect.contains('?') { '&' } else { '?' };
    format!("{redirect}{joint}{}", query(&pairs))
}

/// The scope that a resource opens, if it is one of ours.
#[must_use]
pub fn scope_of(resource: &str, origin: &str, levels: &[Level]) -> Option<Scope> {
    let (base, path) = resource.split_at_checked(origin.len())?;
    let path = path.split('?').next().unwrap_or_default();
    base.eq_ignore_ascii_case(origin).then(|| Scope::parse_path(path, levels).ok())?
}

/// Where somebody signs in who wants to answer, or another one.
#[must_use]
pub fn sign_in(visit: &Visit) -> String {
    let then = format!("/authorize?{}", visit.query);
    format!("/login?{}", query(&[("then", &then)]))
}

/// Everything that the page shows of a request.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// What the library says of it: `clientName`, `clientDomain`, `redirectHost`, `redirectIsLoopback`,
    /// `scope`.
    pub described: &'a Value,
    /// The scope that its resource opens.
    pub scope: &'a Scope,
    /// What the form brings back, for the library to find the request again.
    pub handle: &'a str,
}

/// The question (MCP 2026-07-28, authorization, security considerations).
#[must_use]
pub fn page(visit: &Visit, signed: &SignedIn, levels: &[Level], shown: &Shown<'_>) -> Page {
    let said = |key: &str| shown.described.get(key).and_then(Value::as_str).unwrap_or_default();
    let title = format!("Let {} in?", text_of(said("clientName")));
    let below = levels.get(shown.scope.depth()..).unwrap_or_default();
    let content = html! {
        h1 { (title) }
        (about(shown.described))
        p {
            "It would act as " strong { (signed.name) } " at " code { (shown.scope) } ". "
            a href=(sign_in(visit)) { "Somebody else?" }
        }
        form method="post" action="/authorize" {
            input type="hidden" name="token" value=(form_token(visit));
            input type="hidden" name="handle" value=(shown.handle);
            input type="hidden" name="scope" value=(shown.scope);
            (allows(shown.described))
            @if !below.is_empty() {
                p { "You may let it into a part only. What is empty is not narrowed." }
                @for level in below {
                    label {
                        (level.name)
                        input type="text" name=(field(level)) autocomplete="off" autocapitalize="none"
                            spellcheck="false";
                    }
                }
            }
            p {
                button.main name="decision" value="allow" { "Allow" } " "
                button name="decision" value="deny" { "Deny" }
            }
        }
    };
    html::page(200, &title, &content)
}

/// Who asks, and where what it gets goes to.
fn about(described: &Value) -> Markup {
    let said = |key: &str| described.get(key).and_then(Value::as_str);
    let is_local = described.get("redirectIsLoopback").and_then(Value::as_bool) != Some(false);
    html! {
        div.box {
            @match said("clientDomain") {
                Some(domain) => p { "This client is published by " strong { (domain) } "." },
                None => p { "This client registered itself: nobody has verified its name." },
            }
            p { "Access is sent to " strong { (said("redirectHost").unwrap_or_default()) } "." }
            @if is_local {
                p.bad {
                    "That is a program on your own computer. Whichever it is, it gets the access: go on only if "
                    "you have just started to sign in from it."
                }
            }
        }
    }
}

fn allows(described: &Value) -> Markup {
    let wants_write = granted(&asked(described), false).iter().any(|scope| scope == WRITE);
    html! {
        @if wants_write {
            label.choice {
                input type="radio" name="access" value="write" checked;
                span { "Read and write: it may call every tool, and change what those change." }
            }
        }
        label.choice {
            input type="radio" name="access" value="read" checked[!wants_write];
            span { "Read only: it may look at everything there, and call the tools that say they only read." }
        }
    }
}

fn asked(described: &Value) -> Vec<&str> {
    let scopes = described.get("scope").and_then(Value::as_array);
    scopes.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn field(level: &Level) -> String {
    format!("level-{}", level.name)
}

/// The scopes that are granted to a client that asked for these. One that asks for none of ours is
/// offered all; whoever may write may read.
#[must_use]
pub fn granted(asked: &[&str], is_read_only: bool) -> Vec<String> {
    let asks = |scope: &str| asked.contains(&scope);
    let write = !is_read_only && (asks(WRITE) || !asks(READ));
    let all = [(READ, true), (WRITE, write), (OFFLINE, asks(OFFLINE))];
    all.into_iter().filter(|(_, is)| *is).map(|(scope, _)| scope.to_owned()).collect()
}

/// What a form says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What the library finds the request by.
    pub handle: String,
    /// What is allowed; nothing where it is denied.
    pub allowed: Option<Allowed>,
}

/// What a form allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// The scope that the page showed.
    pub shown: Scope,
    /// The scope that the client is let into: that one, or one within.
    pub scope: Scope,
    /// Whether only what reads is allowed.
    pub is_read_only: bool,
}

impl Answer {
    /// Reads a form.
    ///
    /// # Errors
    /// What is wrong with it, for whoever filled it in.
    pub fn read(visit: &Visit, levels: &[Level]) -> Result<Self, String> {
        let field_of = |name: &str| visit.field(name).unwrap_or_default();
        let handle = field_of("handle");
        match field_of("decision").as_str() {
            "deny" => return Ok(Self { handle, allowed: None }),
            "allow" => {}
            _ => return Err("Choose whether to allow it.".to_owned()),
        }
        let is_read_only = match field_of("access").as_str() {
            "read" => true,
            "write" => false,
            _ => return Err("Choose what it may do.".to_owned()),
        };
        let shown = Scope::parse_path(&field_of("scope"), levels);
        let shown = shown.map_err(|error| error.to_string())?;
        let mut scope = shown.clone();
        let mut empty: Option<&Level> = None;
        for level in levels.get(shown.depth()..).unwrap_or_default() {
            let text = field_of(&field(level));
            match (text.trim(), empty) {
                ("", _) => empty = empty.or(Some(level)),
                (_, Some(wider)) => {
                    return Err(format!("Name the {} that this {} is in.", wider.name, level.name));
                }
                (text, None) => {
                    let slug = Slug::parse(text, level).map_err(|error| error.to_string())?;
                    scope = scope.with(slug);
                }
            }
        }
        Ok(Self { handle, allowed: Some(Allowed { shown, scope, is_read_only }) })
    }
}

impl Allowed {
    /// What the library makes a grant of: the request that it kept, and what it says of that. Nothing
    /// if the request is for another resource than the page showed.
    #[must_use]
    pub fn grant(
        &self,
        signed: &SignedIn,
        origin: &str,
        request: &Value,
        described: &Value,
    ) -> Option<Value> {
        let resource = format!("{origin}{}", self.shown);
        if request.get("resource").and_then(Value::as_str) != Some(&resource) {
            return None;
        }
        let client = described.get("clientName").and_then(Value::as_str).unwrap_or_default();
        let narrowed = (self.scope != self.shown).then(|| self.scope.to_string());
        Some(json!({
            "request": request,
            "userId": grant::name(&signed.user),
            "scope": granted(&asked(request), self.is_read_only),
            "props": { "scope": narrowed },
            "metadata": { "name": text_of(client), "resource": resource, "scope": self.scope.to_string() },
            // Another client of this user, or the same on another machine, stays signed in.
            "revokeExistingGrants": false,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shared::{Millis, UserId, config::default_levels};

    fn visit(query: &str) -> Visit {
        let origin = "https://x.test".to_owned();
        Visit { origin, query: query.to_owned(), ..Visit::default() }
    }

    fn signed() -> SignedIn {
        let user = UserId::parse("idp:1").unwrap();
        SignedIn { user, name: "Alice <a@x.test>".to_owned(), since: Millis(0) }
    }

    fn described() -> Value {
        json!({
            "clientName": "<b>Tool</b>", "redirectUri": "https://client.test:8443/cb?x=1",
            "redirectHost": "client.test", "redirectIsLoopback": false, "scope": ["mcp:write"],
        })
    }

    fn shown(described: &Value, path: &str) -> Page {
        let scope = Scope::parse_path(path, &default_levels()).unwrap();
        let shown = Shown { described, scope: &scope, handle: "h\"1" };
        page(&visit("client_id=c&state=1"), &signed(), &default_levels(), &shown)
    }

    #[test]
    fn a_resource_is_known_however_it_is_written() {
        let asked = |query: &str| Asked::read(&visit(query), &default_levels());
        let check = |resource: &str, path: &str, sent: &str| {
            let read = asked(&query(&[("client_id", "c"), ("resource", resource)]));
            let expected = query(&[("client_id", "c"), ("resource", sent)]);
            assert_eq!(read.scope.to_string(), path, "{resource}");
            assert_eq!(read.address, format!("https://x.test/authorize?{expected}"));
        };
        check("https://x.test/mcp/acme", "/mcp/acme", "https://x.test/mcp/acme");
        check("HTTPS://X.test/mcp/Acme/", "/mcp/acme", "https://x.test/mcp/acme");
        check("https://x.test/mcp?tools=a", "/mcp", "https://x.test/mcp");
        check("https://y.test/mcp/acme", "/mcp", "https://y.test/mcp/acme");
        check("https://x.test.evil/mcp", "/mcp", "https://x.test.evil/mcp");
        check("https://x.test/mcp/a/b/c", "/mcp", "https://x.test/mcp/a/b/c");
        check("", "/mcp", "");
        let two = "resource=https%3A%2F%2Fx.test%2Fmcp%2Fa&resource=https%3A%2F%2Fx.test%2Fmcp%2Fb";
        assert_eq!(asked(two).scope, Scope::default());
        assert!(asked(two).address.ends_with(two));
        assert_eq!(asked("a=1").address, "https://x.test/authorize?a=1");
    }

    #[test]
    fn what_is_there_twice_is_refused_and_the_client_told_where_it_is_known() {
        let asked = |query: &str| Asked::read(&visit(query), &default_levels());
        let repeated = |query: &str| asked(query).repeated;
        assert_eq!(repeated("a=1&b=1&resource=x&resource=y"), None);
        assert_eq!(repeated("a=1&scope=&a=1").as_deref(), Some("a"));
        assert!(!asked("state=1&state=1").is_unanswerable());
        for name in ADDRESSED {
            assert!(asked(&format!("a=1&a=1&{name}=x&{name}=x")).is_unanswerable());
        }
        let request = |redirect: &str, state: &str| json!({ "redirectUri": redirect, "state": state, "issuer": "https://x.test" });
        assert_eq!(
            refusal(&request("https://c.test/cb", "s 1"), "scope"),
            "https://c.test/cb?error=invalid_request&error_description=scope+is+there+more+than+once\
             &state=s+1&iss=https%3A%2F%2Fx.test"
        );
        let without = refusal(&request("https://c.test/cb?a=b", ""), "scope");
        assert!(without.starts_with("https://c.test/cb?a=b&error=") && !without.contains("state"));
    }

    #[test]
    fn whoever_is_not_signed_in_comes_back_to_the_same_question() {
        assert_eq!(sign_in(&visit("a=1&b=%2F")), "/login?then=%2Fauthorize%3Fa%3D1%26b%3D%252F");
    }

    #[test]
    fn the_page_says_who_asks_for_what_and_escapes_it() {
        let page = shown(&described(), "/mcp/acme");
        for part in [
            "&lt;b&gt;Tool&lt;/b&gt;",
            "Alice &lt;a@x.test&gt;",
            "client.test",
            "/mcp/acme",
            "nobody has verified",
            "level-project",
            "value=\"h&quot;1\"",
            "/login?then=",
        ] {
            assert!(page.body.contains(part), "{part}: {}", page.body);
        }
        for part in ["<b>", "own computer", "level-org"] {
            assert!(!page.body.contains(part), "{part}: {}", page.body);
        }
    }

    #[test]
    fn a_client_of_a_domain_names_it_and_a_local_one_is_warned_of() {
        let mut local = described();
        local["clientDomain"] = json!("tool.test");
        local["redirectUri"] = json!("http://[::1]:5/cb");
        local["redirectIsLoopback"] = json!(true);
        let page = shown(&local, "/mcp");
        assert!(page.body.contains("<strong>tool.test</strong>"));
        assert!(page.body.contains("own computer") && page.body.contains("level-org"));
        // What is not known to be elsewhere is warned of too.
        local.as_object_mut().unwrap().remove("redirectIsLoopback");
        assert!(shown(&local, "/mcp").body.contains("own computer"));
    }

    #[test]
    fn who_asks_for_reading_is_not_offered_more() {
        let mut reads = described();
        reads["scope"] = json!(["mcp:read"]);
        assert!(!shown(&reads, "/mcp").body.contains("value=\"write\""));
        assert!(shown(&described(), "/mcp").body.contains("value=\"write\" checked"));
    }

    #[test]
    fn what_is_granted_is_what_was_asked_for_and_allowed() {
        let check = |asked: &[&str], is_read_only, expected: &[&str]| {
            assert_eq!(granted(asked, is_read_only), expected, "{asked:?}");
        };
        check(&[], false, &["mcp:read", "mcp:write"]);
        check(&["other"], false, &["mcp:read", "mcp:write"]);
        check(&["mcp:read"], false, &["mcp:read"]);
        check(&["mcp:write"], false, &["mcp:read", "mcp:write"]);
        check(&["mcp:write", "offline_access"], true, &["mcp:read", "offline_access"]);
    }

    fn answer(form: &str) -> Result<Answer, String> {
        let visit = Visit { form: form.to_owned(), ..visit("") };
        Answer::read(&visit, &default_levels())
    }

    #[test]
    fn a_form_allows_what_it_shows_or_less() {
        let scope = |form: &str| {
            let form = format!("handle=h&decision=allow&access=read&{form}");
            answer(&form).map(|answer| answer.allowed.unwrap().scope.to_string())
        };
        assert_eq!(scope("scope=/mcp").as_deref(), Ok("/mcp"));
        assert_eq!(scope("scope=/mcp&level-org=+Acme+&level-project=").as_deref(), Ok("/mcp/acme"));
        assert_eq!(scope("scope=/mcp/acme&level-project=web").as_deref(), Ok("/mcp/acme/web"));
        // A field of a level that is given already means nothing.
        assert_eq!(scope("scope=/mcp/acme&level-org=other").as_deref(), Ok("/mcp/acme"));
        assert_eq!(
            scope("scope=/mcp&level-project=web"),
            Err("Name the org that this project is in.".to_owned())
        );
        assert!(scope("scope=/mcp&level-org=a/b").is_err());
        assert!(scope("scope=/other").is_err());
        assert!(scope("").is_err());
    }

    #[test]
    fn a_form_that_does_not_choose_is_none() {
        assert_eq!(
            answer("handle=h&decision=deny"),
            Ok(Answer { handle: "h".to_owned(), allowed: None })
        );
        assert!(answer("handle=h&scope=/mcp&access=read").is_err());
        assert!(answer("handle=h&scope=/mcp&decision=allow").is_err());
        assert!(
            !answer("scope=/mcp&decision=allow&access=write")
                .unwrap()
                .allowed
                .unwrap()
                .is_read_only
        );
    }

    #[test]
    fn a_grant_is_for_the_resource_that_was_shown() {
        let form = "decision=allow&access=write&scope=/mcp/acme&level-project=web";
        let allowed = answer(form).unwrap().allowed.unwrap();
        let request = |resource: &str| json!({ "resource": resource, "scope": ["mcp:write"] });
        let grant = |resource: &str| {
            allowed.grant(&signed(), "https://x.test", &request(resource), &described())
        };
        let made = grant("https://x.test/mcp/acme").unwrap();
        assert_eq!(made["props"], json!({ "scope": "/mcp/acme/web" }));
        assert_eq!(made["scope"], json!(["mcp:read", "mcp:write"]));
        assert_eq!(made["revokeExistingGrants"], json!(false));
        assert_eq!(made["userId"], json!("aWRwOjE"));
        assert_eq!(made["metadata"]["name"], json!("<b>Tool</b>"));
        assert_eq!(grant("https://x.test/mcp"), None);
        assert_eq!(grant("https://x.test/mcp/acme/web"), None);
        let whole = answer("decision=allow&access=read&scope=/mcp").unwrap().allowed.unwrap();
        let made =
            whole.grant(&signed(), "https://x.test", &request("https://x.test/mcp"), &described());
        assert_eq!(made.unwrap()["props"], json!({ "scope": null }));
    }

    proptest! {
        #[test]
        fn nothing_is_a_panic(query in any::<String>(), form in any::<String>(), text in any::<String>()) {
            let _ = Asked::read(&visit(&query), &default_levels());
            let _ = answer(&form);
            let _ = scope_of(&text, "https://x.test", &default_levels());
        }
    }
}
