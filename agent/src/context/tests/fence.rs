//! The fence over the whole registry: every tool, prompt, resource, template and completion, with
//! every attack of a table in every place that a text can be in; and why a tool is not shown. It
//! must not know how anything is refused, only that nothing gets out.

mod attacks;
mod outside;

use super::super::*;
use attacks::{BY_TEMPLATE, NAMES, OTHER_PROJECT, OUTSIDE, likenesses, slugs, strange};
use futures_executor::block_on;
use futures_util::FutureExt as _;
use outside::{Outside, SESSION, TASK, TEMPLATES};
use serde_json::json;
use shared::{Scope, UserId, config::Written, database::native::Embedded, header};
use std::collections::BTreeSet;
use upstream::Request as Sent;

/// What is in the notes of other contexts, and in no answer.
const CANARY: &str = "canary-7f3a";

/// The places in which everything is tried.
const PATHS: [&str; 3] = ["/mcp", "/mcp/acme", "/mcp/acme/web"];

/// The servers: one everywhere, one where an organization is pinned, one where a project is.
const PREFIXES: [(&str, usize); 3] = [("w", 0), ("o", 1), ("d", 2)];

fn config() -> Config {
    let server = |prefix: &str, url: &str| {
        json!({
            "kind": "mcp", "name": prefix, "prefix": prefix, "url": url,
            "pins": { "org": ["owner"], "project": ["repo"] },
            "uris": ["https://x.test/{org}/{project}", "repo://{org}/{project}/",
                "https://s.test/orgs/{org}/projects/{project}", "https://q.test/issues?org={org}"],
            "hide": { "org": ["hidden"] },
            "headers": { "x-own": { "secret": "OWN" } }, "auth": { "secret": "TOKEN" },
            "verify": { "org": "https://check.test/{org}",
                "project": "https://check.test/{org}/{project}" },
        })
    };
    let toolsets = json!([{ "kind": "memory" }, { "kind": "fixture" },
        server("w", "https://old.test/mcp"), server("o", "https://{org}.new.test/mcp"),
        server("d", "https://new.test/{org}/{project}/mcp")]);
    let toolsets = toolsets.to_string();
    Config::parse(Written { toolsets: Some(&toolsets), ..Written::default() }).unwrap()
}

/// An Agent at a scope, and what it sends.
struct Place {
    context: Context,
    outside: Rc<Outside>,
    key: AgentKey,
}

fn place_of(config: &Config, path: &str) -> Place {
    let outside = Rc::new(Outside::default());
    let platform = Rc::clone(&outside) as Rc<dyn Platform>;
    let database = Rc::new(Embedded::in_memory()) as Rc<dyn Database>;
    let scope = Scope::parse_path(path, &config.levels).unwrap();
    let key = AgentKey { user: UserId::parse("u").unwrap(), scope };
    Place { context: Context::new(Rc::new(config.clone()), database, platform), outside, key }
}

fn place(path: &str) -> Place {
    place_of(&config(), path)
}

/// An answer: a result, or an error by code and text.
#[derive(Debug, Clone, PartialEq)]
enum Said {
    Result(Value),
    Error(i64, String),
    /// It waits for something that never comes.
    Nothing,
}

impl Said {
    fn error(&self) -> Option<(i64, &str)> {
        match self {
            Self::Error(code, text) => Some((*code, text)),
            _ => None,
        }
    }
}

/// A request of the modern era, with its parameters as they are written.
struct Try<'a> {
    method: &'a str,
    /// Members of the parameters, as JSON and without braces.
    params: &'a str,
    mirrors: &'a [(String, String)],
    /// How many levels the client's URL pins, where that is not all of the context's.
    depth: Option<usize>,
    is_modern: bool,
}

impl<'a> Try<'a> {
    fn new(method: &'a str, params: &'a str) -> Self {
        Self { method, params, mirrors: &[], depth: None, is_modern: true }
    }
}

impl Place {
    fn serve(&self, one: &Try<'_>) -> Said {
        let Try { method, params, mirrors, is_modern, .. } = one;
        let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",
            "io.modelcontextprotocol/clientCapabilities":
                {"extensions":{"io.modelcontextprotocol/tasks":{}}}}"#;
        let params = match (params.contains(r#""_meta""#) || !is_modern, params.is_empty()) {
            (true, _) => (*params).to_owned(),
            (false, true) => meta.to_owned(),
            (false, false) => format!("{params},{meta}"),
        };
        let message =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}}}}}"#);
        let message = RawValue::from_string(message).unwrap();
        let client = RawValue::from_string("{}".to_owned()).unwrap();
        let peer = match is_modern {
            true => Peer::Modern,
            false => Peer::Handshake {
                call: CallId::from_random([1; 8]),
                session: None,
                revision: "2025-11-25".into(),
                client: Cow::Borrowed(&client),
                level: None,
            },
        };
        let hop = Hop {
            key: self.key.clone(),
            peer,
            shared_notes: false,
            is_heard: false,
            prefers_stream: false,
            is_part: true,
            options: Cow::default(),
            is_read_only: false,
            holder: hop::Holder::default(),
            mirrors: mirrors.to_vec(),
            depth: one.depth.unwrap_or(self.key.scope.depth()),
            message: &message,
        };
        let hop = serde_json::to_string(&hop).unwrap();
        let text = match self.context.serve(&hop).now_or_never() {
            None => return Said::Nothing,
            Some(Ok(Reply::Json { body, .. })) => body,
            Some(other) => panic!("{method} {params}: {other:?}"),
        };
        assert!(!text.contains(CANARY), "{method} {params}: {text}");
        let mut reply: Value = serde_json::from_str(&text).unwrap();
        match reply.get("result") {
            Some(_) => Said::Result(reply["result"].take()),
            None => {
                let text = reply["error"]["message"].as_str().unwrap().to_owned();
                Said::Error(reply["error"]["code"].as_i64().unwrap(), text)
            }
        }
    }

    /// Tries something and checks everything that was sent for it. `forbidden` is in none of that.
    fn attack(&self, one: &Try<'_>, forbidden: Option<&str>) -> (Said, Vec<Sent>) {
        let said = self.serve(one);
        let what = || {
            let params: String = one.params.chars().take(300).collect();
            format!("{} at {}: {params}", one.method, self.key.scope)
        };
        if let Some((code, text)) = said.error() {
            let is_meant = text == "this job ends with a protocol error"
                || text.contains("lacks the capability");
            assert!(code != -32603 || is_meant, "{}: {text}", what());
            assert!(text.chars().count() < 1_000, "{}: {text}", what());
        }
        let sent = self.outside.take();
        for request in &sent {
            self.check_sent(request, forbidden, &what);
        }
        (said, sent)
    }

    fn check_sent(&self, request: &Sent, forbidden: Option<&str>, what: &dyn Fn() -> String) {
        // Written out, not made by what is tested.
        let address = match self.key.scope.to_string().as_str() {
            "/mcp" => vec!["https://old.test/mcp"],
            "/mcp/acme" => vec!["https://old.test/mcp", "https://acme.new.test/mcp"],
            _ => vec![
                "https://old.test/mcp",
                "https://acme.new.test/mcp",
                "https://new.test/acme/web/mcp",
            ],
        };
        assert!(address.contains(&request.url.as_str()), "{}: {}", what(), request.url);
        let Some(body) = &request.body else {
            return;
        };
        let message: Value = serde_json::from_str(body).unwrap();
        let params = &message["params"];
        for (name, value) in &request.headers {
            let said = || header::decode(value).unwrap();
            let mirrors = |argument: &Value| match argument {
                Value::String(text) => *text == *said(),
                other => said() == other.to_string(),
            };
            let is_good = match name.as_str() {
                "accept" => value == "application/json, text/event-stream",
                "content-type" => value == "application/json",
                "mcp-protocol-version" => ["2025-11-25", "2026-07-28"].contains(&value.as_str()),
                "mcp-session-id" => value == SESSION,
                "mcp-method" => message["method"] == value.as_str(),
                "mcp-name" => [&params["name"], &params["uri"], &params["taskId"]]
                    .into_iter()
                    .any(|name| *name == *said()),
                "mcp-param-owner" => mirrors(&params["arguments"]["owner"]),
                "mcp-param-q" => mirrors(&params["arguments"]["q"]),
                "x-own" => value == "the-OWN",
                "authorization" => value == "Bearer the-TOKEN",
                _ => false,
            };
            assert!(is_good, "{}: {name}: {value}", what());
        }
        let arguments =
            [&params["arguments"], &params["context"]["arguments"]].into_iter().cloned();
        let filled: Value = arguments.collect();
        self.check_pinned(&filled, what);
        if let Some(forbidden) = forbidden {
            let mut params = params.clone();
            if let Some(params) = params.as_object_mut() {
                params.remove("_meta");
            }
            let text = params.to_string();
            let forbidden = Value::from(forbidden).to_string();
            assert!(!text.contains(forbidden.trim_matches('"')), "{}: {text}", what());
        }
    }

    /// No member that means a pinned level has any other value, however deep it is.
    fn check_pinned(&self, value: &Value, what: &dyn Fn() -> String) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.check_pinned(item, what)),
            Value::Object(members) => {
                for (name, value) in members {
                    for (slug, names) in self.key.scope.slugs().iter().zip(NAMES) {
                        let means = |of: &&&str| fold(of) == fold(name);
                        if names.iter().any(|of| means(&of)) && !value.is_null() {
                            assert_eq!(value, slug.as_str(), "{}: {name}", what());
                        }
                    }
                    self.check_pinned(value, what);
                }
            }
            _ => {}
        }
    }

    fn list(&self, method: &str, member: &str) -> Vec<Value> {
        let (mut items, mut params) = (Vec::new(), String::new());
        loop {
            let Said::Result(mut page) = self.attack(&Try::new(method, &params), None).0 else {
                panic!("{method} at {}", self.key.scope);
            };
            let Value::Array(more) = page[member].take() else { panic!("{method}: {page}") };
            assert!(page["_meta"].get("signalbox/missing").is_none(), "{page}");
            items.extend(more);
            match page["nextCursor"].as_str() {
                None => return items,
                Some(cursor) => params = format!(r#""cursor":"{cursor}""#),
            }
        }
    }

    /// The pinned names, each with what it is pinned to.
    fn pinned(&self) -> Vec<(&'static str, String)> {
        let levels = self.key.scope.slugs().iter().zip(NAMES);
        levels
            .flat_map(|(slug, names)| names.iter().map(|name| (*name, slug.as_str().to_owned())))
            .collect()
    }
}

/// What a name is to a reader for whom letters have no case (Unicode folds more than ASCII).
fn fold(name: &str) -> String {
    name.to_lowercase().to_uppercase()
}

/// Every name under `properties` anywhere in a schema.
fn properties(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            if let Some(properties) = members.get("properties").and_then(Value::as_object) {
                found.extend(properties.keys().cloned());
            }
            members.values().for_each(|value| properties(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| properties(item, found)),
        _ => {}
    }
}

/// Whether the toolset behind a tool or prompt adds `owner` and `repo`, and has URIs.
fn is_remote(name: &str) -> bool {
    PREFIXES.iter().any(|(prefix, _)| name.starts_with(&format!("{prefix}_")))
}

/// The names that a tool's or prompt's toolset knows the pinned levels by.
fn names_of(place: &Place, name: &str) -> Vec<(&'static str, String)> {
    let mut pinned = place.pinned();
    if !is_remote(name) {
        pinned.retain(|(name, _)| !["owner", "repo"].contains(name));
    }
    pinned
}

/// Every place that a text can be in: what is declared, what is not, deeper, in lists, as a name.
fn spots(names: &BTreeSet<String>, payload: &Value) -> Vec<Value> {
    let mut all: Vec<Value> = names.iter().map(|name| json!({ (name): payload })).collect();
    all.push(json!({ "undeclared": payload }));
    all.push(json!({ "undeclared": [[payload], { "deep": [{ "deeper": payload }] }] }));
    all.push(json!({ "target": { "url": payload }, "items": [{ "links": [payload] }] }));
    if let Some(text) = payload.as_str() {
        all.push(json!({ (text): "x" }));
        all.push(json!({ "undeclared": [{ (text): 1 }] }));
    }
    all
}

fn call<'a>(method: &'a str, name: &str, arguments: &Value) -> (&'a str, String) {
    (method, format!(r#""name":{},"arguments":{arguments}"#, Value::from(name)))
}

/// Tools and prompts of a place: method, name, and the names of their arguments.
fn callables(place: &Place) -> Vec<(&'static str, String, BTreeSet<String>)> {
    let mut all = Vec::new();
    for tool in place.list("tools/list", "tools") {
        let mut names = BTreeSet::new();
        properties(&tool["inputSchema"], &mut names);
        all.push(("tools/call", tool["name"].as_str().unwrap().to_owned(), names));
    }
    for prompt in place.list("prompts/list", "prompts") {
        let listed = prompt["arguments"].as_array().cloned().unwrap_or_default();
        let names = listed.iter().map(|argument| argument["name"].as_str().unwrap().to_owned());
        all.push(("prompts/get", prompt["name"].as_str().unwrap().to_owned(), names.collect()));
    }
    all
}

#[test]
fn the_servers_are_where_their_levels_are_pinned() {
    for path in PATHS {
        let place = place(path);
        let all = callables(&place);
        for (prefix, depth) in PREFIXES {
            let is_there = all.iter().any(|(_, name, _)| *name == format!("{prefix}_plain"));
            assert_eq!(is_there, depth <= place.key.scope.depth(), "{prefix} at {path}");
        }
        let verify = serde_json::to_string(&VerifyHop { key: place.key.clone() }).unwrap();
        place.outside.take();
        block_on(place.context.verify(&verify)).unwrap();
        for sent in place.outside.take() {
            assert_eq!(sent.url, path.replace("/mcp", "https://check.test"));
        }
    }
}

#[test]
fn no_argument_contradicts_the_scope() {
    for path in PATHS {
        let place = place(path);
        for (method, name, _) in callables(&place) {
            let pinned = names_of(&place, &name);
            for (n, (parameter, value)) in pinned.iter().enumerate() {
                let slugs = slugs();
                // Every value by the first name, some by every name.
                let some = if n == 0 { slugs.as_slice() } else { &slugs[..6] };
                for payload in some {
                    let own = |got: &str| got.eq_ignore_ascii_case(value);
                    if payload.as_str().is_some_and(own) {
                        continue;
                    }
                    let arguments = json!({ (*parameter): payload });
                    let (method, params) = call(method, &name, &arguments);
                    let (said, sent) = place.attack(&Try::new(method, &params), None);
                    let (code, text) = said.error().unwrap_or_else(|| panic!("{params}: {said:?}"));
                    let got = payload.as_str().map_or(payload.to_string(), ToOwned::to_owned);
                    let named = format!(
                        "`{parameter}` is fixed to `{value}` by this URL; got `{}`",
                        shared::error::shown(&got)
                    );
                    assert_eq!((code, text), (-32602, named.as_str()), "{params}");
                    assert_eq!(sent, [], "{params}");
                }
                // The value itself, in any case, and nothing, are no contradiction.
                for payload in [json!(value), json!(value.to_uppercase()), Value::Null] {
                    let (method, params) = call(method, &name, &json!({ (*parameter): payload }));
                    let (said, _) = place.attack(&Try::new(method, &params), None);
                    let refused = said.error().map_or("", |(_, text)| text);
                    assert!(!refused.contains("fixed to"), "{params}: {refused}");
                }
            }
        }
    }
}

#[test]
fn no_likeness_of_a_pinned_name_has_another_value() {
    for path in PATHS {
        let place = place(path);
        for (method, name, _) in callables(&place) {
            for (parameter, value) in names_of(&place, &name) {
                let mut tries = vec![
                    json!({ "target": { (parameter): "evil" } }),
                    json!({ "items": [{ (parameter): "evil" }, { "deep": [{ (parameter): 7 }] }] }),
                    json!({ "__proto__": { (parameter): ["evil"] } }),
                    json!({ "target": { (parameter): { "slug": "evil" } } }),
                ];
                for likeness in likenesses(parameter) {
                    tries.push(json!({ (&likeness): "evil" }));
                    tries.push(json!({ (&likeness): "evil", (parameter): &value }));
                    tries.push(json!({ "target": { (&likeness): "evil" } }));
                }
                for arguments in tries {
                    let (method, params) = call(method, &name, &arguments);
                    let (said, sent) = place.attack(&Try::new(method, &params), None);
                    let (code, text) = said.error().unwrap_or_else(|| panic!("{params}: {said:?}"));
                    assert!(code == -32602 && text.contains(&value), "{params}: {text}");
                    assert_eq!(sent, [], "{params}");
                }
            }
        }
    }
}

#[test]
fn a_parameter_that_is_given_twice_does_not_get_by() {
    for path in &PATHS[1..] {
        let place = place(path);
        for (method, name, _) in callables(&place) {
            for (parameter, value) in names_of(&place, &name) {
                for (first, second) in [("evil", value.as_str()), (value.as_str(), "evil")] {
                    let params = format!(
                        r#""name":"{name}","arguments":{{"{parameter}":"{first}",
                            "{parameter}":"{second}","a":{{"{parameter}":"{first}",
                            "{parameter}":"{second}"}}}}"#
                    );
                    place.attack(&Try::new(method, &params), Some("evil"));
                }
            }
        }
    }
}

#[test]
fn no_uri_in_an_argument_leads_outside() {
    for path in PATHS {
        let place = place(path);
        for (method, name, names) in callables(&place) {
            // Where no project is pinned, the router would have found another place for these.
            for payload in OUTSIDE.iter().chain(OTHER_PROJECT) {
                for arguments in spots(&names, &Value::from(*payload)) {
                    let (method, params) = call(method, &name, &arguments);
                    // Who has no URIs has nowhere to reach.
                    let forbidden = is_remote(&name).then_some(*payload);
                    let (said, sent) = place.attack(&Try::new(method, &params), forbidden);
                    if is_remote(&name) {
                        let (code, text) =
                            said.error().unwrap_or_else(|| panic!("{params}: {said:?}"));
                        // What a header must repeat is missed there first.
                        let is_refused = code == -32602 || text.contains("header");
                        assert!(is_refused, "{params}: {code} {text}");
                        assert_eq!(sent, [], "{params}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_member_inside_of_an_argument_means_a_level_unless_it_is_said_not_to() {
    let written = r#"[{ "kind": "mcp", "url": "https://old.test/mcp",
        "free": ["contact.org", "items.owner.org"] }]"#;
    let config = Config::parse(Written { toolsets: Some(written), ..Written::default() }).unwrap();
    let place = place_of(&config, "/mcp/acme");
    for (arguments, is_good) in [
        (json!({ "contact": { "org": "Contoso" } }), true),
        (json!({ "contact": [{ "org": 42 }] }), true),
        (json!({ "items": [{ "owner": { "org": "evil" } }] }), true),
        (json!({ "contact": { "org": "acme" }, "target": { "org": "acme" } }), true),
        (json!({ "target": { "org": "evil" } }), false),
        (json!({ "contact": { "x": { "org": "evil" } } }), false),
        (json!({ "org": "evil" }), false),
    ] {
        let (method, params) = call("tools/call", "plain", &arguments);
        let said = place.serve(&Try::new(method, &params));
        match said.error() {
            None => assert!(is_good, "{arguments}"),
            Some((code, text)) => {
                assert_eq!((code, is_good), (-32602, false), "{arguments}: {text}");
                assert!(text.contains("org` is fixed to `acme` by this URL"), "{text}");
            }
        }
    }
}

#[test]
fn strange_texts_are_nobodys_end() {
    for path in PATHS {
        let place = place(path);
        for (method, name, names) in callables(&place) {
            for payload in strange() {
                for arguments in spots(&names, &payload) {
                    for is_modern in [true, false] {
                        let (method, params) = call(method, &name, &arguments);
                        let one = Try { is_modern, ..Try::new(method, &params) };
                        place.attack(&one, None);
                    }
                }
            }
            place.outside.still.evict();
        }
    }
}

#[test]
fn what_is_inside_gets_through() {
    let place = place("/mcp/acme/web");
    for (prefix, _) in PREFIXES {
        for url in [
            "https://x.test/acme/web",
            "https://x.test/ACME/Web/issues/1?x=/y",
            "see https://x.test/evil/web",
            "https://x.test/acme/web is down,\nsee ../x",
            "https://example.com/evil/web",
            "repo://acme/web/a/b",
            "x.test",
        ] {
            let arguments = json!({ "url": url });
            let (method, params) = call("tools/call", &format!("{prefix}_plain"), &arguments);
            let (said, sent) = place.attack(&Try::new(method, &params), None);
            assert!(matches!(said, Said::Result(_)), "{url}: {said:?}");
            let body: Value =
                serde_json::from_str(sent.last().unwrap().body.as_ref().unwrap()).unwrap();
            let expected = json!({ "owner": "acme", "repo": "web", "url": url });
            assert_eq!(body["params"]["arguments"], expected);
        }
    }
}

#[test]
fn a_hidden_name_is_as_unknown_as_any_other() {
    for path in PATHS {
        let place = place(path);
        let prefixes: Vec<&str> = PREFIXES
            .iter()
            .filter(|(_, depth)| *depth <= place.key.scope.depth())
            .map(|(prefix, _)| *prefix)
            .collect();
        let mut names: Vec<String> = OUTSIDE.iter().map(|name| (*name).to_owned()).collect();
        names.extend(strange().iter().filter_map(Value::as_str).map(ToOwned::to_owned));
        for prefix in &prefixes {
            names.extend(
                ["_plain ", "_", "__plain", "_PLAIN", "_plain\u{0}", "plain", "_../plain", "_*"]
                    .map(|name| format!("{prefix}{name}")),
            );
            if place.key.scope.depth() > 0 {
                names.push(format!("{prefix}_hidden"));
            }
        }
        names.extend(
            ["plain", "hidden", "review", "D_plain", "", "memory", "x_plain"].map(Into::into),
        );
        for name in &names {
            for method in ["tools/call", "prompts/get"] {
                for arguments in [json!({}), json!({ "owner": "evil", "url": OUTSIDE[0] })] {
                    let (method, params) = call(method, name, &arguments);
                    let (said, sent) = place.attack(&Try::new(method, &params), None);
                    let kind = if method == "tools/call" { "tool" } else { "prompt" };
                    let unknown = format!("there is no {kind} {}", shared::error::shown(name));
                    assert_eq!(said.error(), Some((-32602, unknown.as_str())), "{params}");
                    let asked = sent.iter().any(|sent| {
                        let body = sent.body.as_deref().unwrap_or_default();
                        body.contains("tools/call") || body.contains("prompts/get")
                    });
                    assert!(!asked, "{params}");
                }
            }
        }
    }
}

#[test]
fn no_resource_outside_is_read_or_listed() {
    for path in PATHS {
        let place = place(path);
        let is_pinned = place.key.scope.depth() > 0;
        for uri in OUTSIDE.iter().chain(BY_TEMPLATE.iter().filter(|_| is_pinned)) {
            for method in ["resources/read", "skills/get", "resources/directory/read"] {
                let params = format!(r#""uri":{}"#, Value::from(*uri));
                for is_modern in [true, false] {
                    let one = Try { is_modern, ..Try::new(method, &params) };
                    let (said, _) = place.attack(&one, Some(uri));
                    let error = said.error();
                    let code = error.map(|(code, _)| code);
                    assert!(matches!(code, Some(-32602 | -32002)), "{method} {uri}: {said:?}");
                }
            }
        }
        if !is_pinned {
            continue;
        }
        for (method, member) in [("resources/list", "resources"), ("skills/list", "skills")] {
            let listed = place.list(method, member);
            assert!(!listed.is_empty());
            for item in listed {
                assert!(!item.to_string().contains("evil"), "{method} at {path}: {item}");
            }
        }
        for template in place.list("resources/templates/list", "resourceTemplates") {
            let uri = template["uriTemplate"].as_str().unwrap();
            let left = narrow::template::variables(uri);
            for (name, _) in place.pinned() {
                assert!(!left.contains(&name), "{uri} at {path}");
            }
        }
    }
}

#[test]
fn what_is_inside_is_read_and_listed() {
    let place = place("/mcp/acme/web");
    for uri in [
        "repo://acme/web/readme",
        "REPO://ACME/web/readme",
        "host://h/acme/x",
        "find://x?owner=acme&text=y",
        "list://x/acme/web",
        "plain://x/evil",
        "repo://acme/web/contents/src%2Fmain.rs",
        "file:///data/acme/y",
        "file:/data/acme/y",
        "https://y.test/acme/y",
        "case://acme/y",
        "res://x/orgs/acme/file",
        "res://x/docs/evil%20%C3%A9",
        "res://q/find?owner=acme",
    ] {
        let params = format!(r#""uri":"{uri}""#);
        let (said, sent) = place.attack(&Try::new("resources/read", &params), None);
        assert!(matches!(said, Said::Result(_)), "{uri}: {said:?}");
        assert!(sent.last().unwrap().body.as_ref().unwrap().contains(uri));
    }
    let listed = json!(place.list("resources/list", "resources")).to_string();
    for uri in ["repo://acme/web/readme", "host://h/acme/x", "owner=acme", "plain://x"] {
        assert!(listed.contains(uri), "{uri}");
    }
    let skills = json!(place.list("skills/list", "skills")).to_string();
    assert!(skills.contains("skill://all/") && skills.contains("repo://acme/web/SKILL.md"));
    let templates = place.list("resources/templates/list", "resourceTemplates");
    let templates: BTreeSet<&str> =
        templates.iter().map(|template| template["uriTemplate"].as_str().unwrap()).collect();
    for expected in ["repo://acme/web/{+path}", "host://{host}/acme/{name}", "tree://acme/{name}"] {
        assert!(templates.contains(expected), "{templates:?}");
    }
}

#[test]
fn a_completion_stays_inside() {
    for path in PATHS {
        let place = place(path);
        let is_pinned = place.key.scope.depth() > 0;
        let mut references: Vec<Value> = Vec::new();
        for prompt in place.list("prompts/list", "prompts") {
            references.push(json!({ "type": "ref/prompt", "name": prompt["name"] }));
        }
        let shown = place.list("resources/templates/list", "resourceTemplates");
        let shown = shown.iter().map(|template| template["uriTemplate"].clone());
        // Templates as their server has them are none of a client's business.
        for uri in shown.chain(TEMPLATES.map(Value::from)) {
            references.push(json!({ "type": "ref/resource", "uri": uri }));
        }
        let complete = |reference: &Value, argument: &str, value: &str, filled: &Value| {
            let argument = json!({ "name": argument, "value": value });
            let context = json!({ "arguments": filled });
            let params = format!(r#""ref":{reference},"argument":{argument},"context":{context}"#);
            place.attack(&Try::new("completion/complete", &params), None)
        };
        for reference in &references {
            for (name, value) in place.pinned() {
                for payload in slugs().iter().filter_map(Value::as_str) {
                    if payload.eq_ignore_ascii_case(&value) {
                        continue;
                    }
                    complete(reference, "text", "x", &json!({ (name): payload }));
                    complete(reference, name, payload, &json!({}));
                }
                let (said, sent) = complete(reference, name, "", &json!({}));
                assert!(said.error().is_some(), "{reference} {name}: {said:?}");
                assert_eq!(sent, []);
            }
            for payload in OUTSIDE {
                let filled = json!({ "about": payload, "path": payload });
                let (said, sent) = complete(reference, "text", "x", &filled);
                let is_remotes = sent.iter().all(|sent| {
                    !sent.body.as_deref().unwrap_or_default().contains("completion/complete")
                });
                assert!(is_remotes, "{reference} {payload:?}: {said:?}");
            }
            for payload in strange().iter().filter_map(Value::as_str) {
                complete(reference, payload, payload, &json!({ (payload): payload }));
            }
            // What is fixed goes along, so that what is suggested is inside.
            let (_, sent) = complete(reference, "text", "x", &json!({}));
            let asked = sent.iter().filter_map(|sent| {
                let body: Value = serde_json::from_str(sent.body.as_ref()?).ok()?;
                (body["method"] == "completion/complete").then(|| body["params"].clone())
            });
            for params in asked.filter(|_| is_pinned) {
                let about = params["ref"].to_string();
                if about.contains("owner") || about.contains("review") {
                    assert_eq!(params["context"]["arguments"]["owner"], "acme", "{params}");
                }
            }
        }
        for payload in OUTSIDE {
            for reference in [
                json!({ "type": "ref/prompt", "name": payload }),
                json!({ "type": "ref/resource", "uri": payload }),
            ] {
                let (said, _) = complete(&reference, "owner", "x", &json!({}));
                assert_eq!(said.error().map(|(code, _)| code), Some(-32602), "{reference}");
            }
        }
    }
}

#[test]
fn cursors_tasks_headers_and_what_is_said_beside_reach_nothing() {
    for path in PATHS {
        let place = place(path);
        let texts = OUTSIDE.iter().map(|text| (*text).to_owned()).chain(
            ["MC4w", "OTkuMA", "LTEuMA", "MC40Mjk0OTY3Mjk1", "MC45OTk5OTk5OTk5OTk", TASK, "", "0"]
                .map(ToOwned::to_owned),
        );
        for text in texts.chain(strange().iter().filter_map(|v| v.as_str().map(str::to_owned))) {
            let quoted = Value::from(text.as_str());
            for method in [
                "tools/list",
                "prompts/list",
                "resources/list",
                "resources/templates/list",
                "skills/list",
            ] {
                let params = format!(r#""cursor":{quoted}"#);
                // An empty text and small numbers are in everything.
                let forbidden = Some(text.as_str()).filter(|text| text.len() > 3);
                let (said, _) = place.attack(&Try::new(method, &params), forbidden);
                let code = said.error().map(|(code, _)| code);
                assert!(matches!(code, None | Some(-32602)), "{method} {text:?}: {said:?}");
            }
            for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
                let params = format!(r#""taskId":{quoted},"inputResponses":{{}}"#);
                let (said, sent) = place.attack(&Try::new(method, &params), None);
                let unknown = format!("there is no task {}", shared::error::shown(&text));
                assert_eq!(said.error(), Some((-32602, unknown.as_str())), "{method} {text:?}");
                assert_eq!(sent, [], "{method} {text:?}");
            }
            let mirrors = [
                ("owner".to_owned(), text.clone()),
                ("region".to_owned(), text.clone()),
                (text.clone(), "x".to_owned()),
            ];
            let meta = format!(
                r#"{{"io.modelcontextprotocol/protocolVersion":"2026-07-28",
                "io.modelcontextprotocol/clientCapabilities":{{}},"authorization":{quoted},
                "Mcp-Session-Id":{quoted},"mcp-param-owner":{quoted},"x":{{{quoted}:{quoted}}}}}"#
            );
            for tool in ["w_headed", "o_headed", "d_headed", "test_header_parameters"] {
                let params = format!(r#""name":"{tool}","arguments":{{}},"_meta":{meta}"#);
                let one = Try { mirrors: &mirrors, ..Try::new("tools/call", &params) };
                let (_, sent) = place.attack(&one, None);
                let asked = sent.iter().filter_map(|sent| sent.body.as_deref());
                for body in asked.filter(|body| body.contains("tools/call")) {
                    let body: Value = serde_json::from_str(body).unwrap();
                    let meta = &body["params"]["_meta"];
                    for name in ["authorization", "Mcp-Session-Id", "mcp-param-owner"] {
                        assert!(meta.get(name).is_none(), "{meta}");
                    }
                    // What means nothing here goes on as it came.
                    assert_eq!(meta["x"], json!({ (&text): text }), "{meta}");
                }
            }
        }
    }
}

#[test]
fn what_is_said_beside_a_request_contradicts_nothing() {
    let meta = |more: &Value| {
        let mut meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {}, "traceparent": "00-a-b-01",
            "tracestate": "x=y", "baggage": "a=b" });
        let all = meta.as_object_mut().unwrap();
        all.extend(more.as_object().unwrap().clone());
        meta
    };
    let place = place("/mcp/acme");
    let tries = [
        ("tools/call", r#""name":"w_plain","arguments":{}"#),
        ("prompts/get", r#""name":"w_review","arguments":{}"#),
        ("resources/read", r#""uri":"plain://x""#),
    ];
    for (method, params) in tries {
        for more in [
            json!({ "org": "evil" }),
            json!({ "OWNER": "evil" }),
            json!({ "com.x/owner": "evil" }),
            json!({ "x": [{ "organization_slug": "evil" }] }),
            json!({ "x": "https://x.test/evil/web" }),
            json!({ "x": "https://s.test/%6frgs/evil" }),
        ] {
            let params = format!(r#"{params},"_meta":{}"#, meta(&more));
            let (said, sent) = place.attack(&Try::new(method, &params), None);
            let (code, text) = said.error().unwrap_or_else(|| panic!("{params}: {said:?}"));
            assert_eq!(code, -32602, "{params}");
            assert!(text.contains("fixed to `acme` by this URL; got `evil`"), "{params}: {text}");
            let is_asked = |sent: &Sent| {
                sent.body.as_deref().unwrap_or_default().contains(&format!(r#""{method}""#))
            };
            assert!(!sent.iter().any(is_asked), "{params}");
        }
        let more = json!({ "org": "acme", "com.x/tenant": "t", "authorization": "s",
            "x": { "Cookie": "s", "kept": 1 }, "com.x/mcp-y": 1, "access_token": "s" });
        let params = format!(r#"{params},"_meta":{}"#, meta(&more));
        let (said, sent) = place.attack(&Try::new(method, &params), None);
        assert!(matches!(said, Said::Result(_)), "{params}: {said:?}");
        let body: Value =
            serde_json::from_str(sent.last().unwrap().body.as_ref().unwrap()).unwrap();
        let mut passed = body["params"]["_meta"].as_object().unwrap().clone();
        passed.retain(|name, _| !name.starts_with("io.modelcontextprotocol/"));
        let expected = json!({ "traceparent": "00-a-b-01", "tracestate": "x=y", "baggage": "a=b",
            "org": "acme", "com.x/tenant": "t", "x": { "kept": 1 } });
        assert_eq!(Value::Object(passed), expected, "{method}");
    }
}

/// Calls a tool that asks, up to its question, and says what the client is asked.
fn question(place: &Place, tool: &str) -> (String, Value) {
    let (said, _) = place.attack(&Try::new("tools/call", &asking(tool, "")), None);
    let Said::Result(asked) = said else { panic!("{tool}: {said:?}") };
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let questions = asked["inputRequests"].as_object().unwrap();
    let (key, question) = questions.iter().next().unwrap();
    let state = asked["requestState"].clone();
    let more = format!(r#","requestState":{state},"inputResponses":{{"{key}":ANSWER}}"#);
    (asking(tool, &more), question["params"]["requestedSchema"].clone())
}

fn asking(tool: &str, more: &str) -> String {
    format!(
        r#""name":"{tool}","arguments":{{}}{more},"_meta":{{
            "io.modelcontextprotocol/protocolVersion":"2026-07-28",
            "io.modelcontextprotocol/clientCapabilities":{{"elicitation":{{"form":{{}}}}}}}}"#
    )
}

#[test]
fn an_answer_stays_inside() {
    // A server of either era.
    for tool in ["w_asks", "o_asks"] {
        for (content, expected) in [
            (json!({ "why": "x" }), Some(json!({ "owner": "acme", "why": "x" }))),
            (
                json!({ "why": "x", "repo": "web" }),
                Some(json!({ "owner": "acme", "repo": "web", "why": "x" })),
            ),
            (json!({ "why": "x", "owner": "evil" }), None),
            (json!({ "why": "x", "Org": "evil" }), None),
            (json!({ "why": "https://x.test/evil/web" }), None),
            (json!({ "why": "https://s.test//orgs/evil" }), None),
        ] {
            let place = place("/mcp/acme");
            let (again, form) = question(&place, tool);
            assert_eq!(form["required"], json!(["why"]), "{form}");
            assert!(form["properties"].get("owner").is_none(), "{form}");
            let answer = json!({ "action": "accept", "content": content });
            let params = again.replace("ANSWER", &answer.to_string());
            let (said, sent) = place.attack(&Try::new("tools/call", &params), None);
            match (&said, expected) {
                (Said::Result(result), Some(expected)) => {
                    assert_eq!(result["structuredContent"]["q"]["content"], expected, "{result}");
                }
                // A server of the handshake era is told, and says what it likes.
                (Said::Result(result), None) => {
                    let told = &result["structuredContent"];
                    assert_eq!(told["q"], Value::Null, "{told}");
                    assert!(told["error"].to_string().contains("got `evil`"), "{told}");
                }
                (_, Some(_)) | (Said::Nothing, _) => panic!("{tool} {content}: {said:?}"),
                (Said::Error(code, text), None) => {
                    assert_eq!(*code, -32602, "{text}");
                    assert!(text.contains("is fixed to `acme` by this URL; got `evil`"), "{text}");
                    assert_eq!(sent, []);
                }
            }
        }
    }
}

#[test]
fn an_answer_to_a_task_stays_inside() {
    let place = place("/mcp/acme");
    let (said, _) =
        place.attack(&Try::new("tools/call", r#""name":"o_long","arguments":{}"#), None);
    let Said::Result(made) = said else { panic!("{said:?}") };
    let id = made["taskId"].as_str().unwrap();
    place.outside.is_asking.set(true);
    let (said, _) = place.attack(&Try::new("tasks/get", &format!(r#""taskId":"{id}""#)), None);
    let Said::Result(looked) = said else { panic!("{said:?}") };
    let form = &looked["inputRequests"]["q"]["params"]["requestedSchema"];
    assert_eq!(form["required"], json!(["why"]), "{looked}");
    assert!(form["properties"].get("owner").is_none(), "{looked}");
    for (content, is_good) in [
        (json!({ "why": "x" }), true),
        (json!({ "why": "x", "owner": "evil" }), false),
        (json!({ "why": "https://x.test/evil" }), false),
    ] {
        let answer = json!({ "q": { "action": "accept", "content": content } });
        let params = format!(r#""taskId":"{id}","inputResponses":{answer}"#);
        let (said, sent) = place.attack(&Try::new("tasks/update", &params), None);
        let body =
            |sent: &Sent| -> Option<Value> { serde_json::from_str(sent.body.as_ref()?).ok() };
        let updates = sent.iter().filter_map(body).filter(|body| body["method"] == "tasks/update");
        let updates: Vec<Value> = updates.collect();
        match is_good {
            true => {
                let content = &updates[0]["params"]["inputResponses"]["q"]["content"];
                assert_eq!(*content, json!({ "owner": "acme", "why": "x" }), "{said:?}");
            }
            false => {
                let (code, text) = said.error().unwrap_or_else(|| panic!("{said:?}"));
                assert!(code == -32602 && text.contains("got `evil`"), "{text}");
                assert_eq!(updates, Vec::<Value>::new());
            }
        }
    }
}

#[test]
fn a_header_says_what_the_scope_and_the_arguments_say() {
    let place = place("/mcp/acme/web");
    for (depth, owner, header, is_good) in [
        (2, None, None, true),
        (2, None, Some("acme"), true),
        (2, None, Some("evil"), false),
        (2, Some("acme"), None, true),
        (2, Some("acme"), Some("evil"), false),
        (1, Some("acme"), None, true),
        // Whoever came by a wider URL was told of the parameter.
        (0, Some("acme"), None, false),
        (0, Some("acme"), Some("evil"), false),
        (0, Some("acme"), Some("acme"), true),
    ] {
        let arguments = owner.map_or(json!({}), |owner| json!({ "owner": owner }));
        let mirrors: Vec<_> =
            header.iter().map(|value| ("owner".to_owned(), (*value).to_owned())).collect();
        for tool in ["w_headed", "o_headed", "d_headed"] {
            let (method, params) = call("tools/call", tool, &arguments);
            let one = Try { mirrors: &mirrors, depth: Some(depth), ..Try::new(method, &params) };
            let (said, _) = place.attack(&one, None);
            let code = said.error().map(|(code, _)| code);
            let expected = if is_good { None } else { Some(-32020) };
            assert_eq!(code, expected, "{depth} {owner:?} {header:?}: {said:?}");
        }
    }
}

#[test]
fn a_task_of_a_server_is_known_by_its_own_id_alone() {
    let place = place("/mcp/acme/web");
    let elsewhere = self::place("/mcp/acme");
    for prefix in ["o", "d"] {
        let params = format!(r#""name":"{prefix}_long","arguments":{{}}"#);
        let (said, _) = place.attack(&Try::new("tools/call", &params), None);
        let Said::Result(made) = said else { panic!("{said:?}") };
        let id = made["taskId"].as_str().unwrap();
        assert!(!made.to_string().contains(TASK), "{made}");
        for (at, is_there) in [(&place, true), (&elsewhere, false)] {
            let params = format!(r#""taskId":"{id}""#);
            let (said, sent) = at.attack(&Try::new("tasks/get", &params), None);
            assert_eq!(matches!(said, Said::Result(_)), is_there, "{said:?}");
            assert_eq!(sent.is_empty(), !is_there);
        }
    }
}

#[test]
fn nobody_is_listened_to_outside() {
    for path in PATHS {
        let place = place(path);
        place.list("resources/list", "resources");
        let by_template = BY_TEMPLATE.iter().filter(|_| place.key.scope.depth() > 0);
        let uris: BTreeSet<String> =
            OUTSIDE.iter().chain(by_template).map(|uri| (*uri).to_owned()).collect();
        let mut all = uris.clone();
        all.insert("plain://x".to_owned());
        let interest = InterestHop {
            key: place.key.clone(),
            lists: true,
            uris: all,
            blocked: BTreeSet::new(),
        };
        place.outside.take();
        block_on(place.context.interest(&serde_json::to_string(&interest).unwrap())).unwrap();
        place.outside.still.turn();
        let mut told = BTreeSet::new();
        for sent in place.outside.take() {
            let body: Value = serde_json::from_str(sent.body.as_deref().unwrap_or("{}")).unwrap();
            let listed = body["params"]["notifications"]["resourceSubscriptions"].as_array();
            let listed = listed.cloned().unwrap_or_default();
            let one = std::iter::once(body["params"]["uri"].clone());
            told.extend(
                listed.into_iter().chain(one).filter_map(|uri| uri.as_str().map(str::to_owned)),
            );
        }
        for uri in &uris {
            assert!(!told.contains(uri), "{uri:?} at {path}");
        }
    }
}

#[test]
fn no_note_of_another_context_is_found() {
    let config = config();
    let others = ["/mcp/evil", "/mcp/evil/web", "/mcp/acme/other"].map(place);
    for place in &others {
        let arguments = json!({ "text": CANARY, "title": CANARY, "tags": [CANARY] });
        let (method, params) = call("tools/call", "remember", &arguments);
        assert!(matches!(place.serve(&Try::new(method, &params)), Said::Result(_)));
    }
    for path in PATHS {
        let place = place_of(&config, path);
        for arguments in [
            json!({ "query": "canary" }),
            json!({ "query": "canary", "across": true }),
            json!({ "query": "* OR canary", "organizationSlug": "evil" }),
            json!({ "query": "canary", "limit": 50, "cursor": "evil" }),
        ] {
            let (method, params) = call("tools/call", "recall", &arguments);
            // Nothing is in any answer: see `serve`.
            place.attack(&Try::new(method, &params), None);
        }
        for method in ["list_memories", "forget"] {
            let (method, params) = call("tools/call", method, &json!({ "id": "evil" }));
            place.attack(&Try::new(method, &params), None);
        }
    }
}
