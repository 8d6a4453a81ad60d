//! Which scope a request works in: the URL's, or a narrower one that its arguments, its URI or its
//! task's id name. Pure. What the URL has pinned already is the Agent's to compare, unless
//! something narrower hangs on it. It must not know what happens to the request then.

use crate::{
    message::{Params, Request, text},
    refusal::Refusal,
};
use serde::{
    Deserialize,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use shared::{
    Scope, TaskId,
    config::{Config, Level, Template, Toolset},
    error::shown,
    hop::Options,
    limits,
    scope::Slug,
};
use std::{borrow::Cow, collections::HashMap, fmt};

/// The scope that a request works in.
///
/// # Errors
/// [`Refusal::InvalidParams`] for a request that names no one scope.
pub fn target(
    config: &Config,
    options: &Options,
    scope: &Scope,
    request: &Request<'_>,
) -> Result<Scope, Refusal> {
    let params = &request.params;
    match request.method.as_ref() {
        "tools/call" => {
            of_arguments(Words::of_tool(config, options, params), scope, params.arguments)
        }
        "prompts/get" => {
            let words = Words::of_prompt(config, text(params.name).as_deref());
            of_arguments(words, scope, params.arguments)
        }
        "resources/read" | "resources/directory/read" | "skills/get" => match text(params.uri) {
            Some(uri) => of_uri(config, scope, &uri),
            None => Ok(scope.clone()),
        },
        "completion/complete" => of_completion(config, scope, params),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Ok(of_task(config, scope, params)),
        _ => Ok(scope.clone()),
    }
}

/// The scope that a task runs in. An id that is none, or of a place outside of the URL's scope,
/// is as unknown as any other: the Agent at the URL says so.
fn of_task(config: &Config, scope: &Scope, params: &Params<'_>) -> Scope {
    let named = text(params.task).and_then(|id| TaskId::parse(&id, &config.levels));
    let named = named.map(|id| id.scope().clone());
    named.filter(|named| named.is_within(scope)).unwrap_or_else(|| scope.clone())
}

/// The scope that a resource is in.
///
/// # Errors
/// [`Refusal::InvalidParams`] for one that is in no one scope, or outside of this one.
pub fn of_uri(config: &Config, scope: &Scope, uri: &str) -> Result<Scope, Refusal> {
    let words = Words { config, toolsets: config.toolsets.iter().filter(has_uris).collect() };
    let mut said = Said::default();
    words.read_uri("uri", uri, &mut said.by_uri)?;
    narrower(&words, scope, &said, Gap::Refused)
}

fn has_uris(toolset: &&Toolset) -> bool {
    !toolset.uris.is_empty()
}

fn of_arguments(
    words: Words<'_>,
    scope: &Scope,
    arguments: Option<&RawValue>,
) -> Result<Scope, Refusal> {
    // Arguments that are no object are told so by the Agent, with everything else about them.
    match arguments.map(|raw| serde_json::from_str::<Named<'_>>(raw.get())) {
        Some(Ok(named)) => {
            let mut said = Said { named, by_uri: Vec::new() };
            said.read_arguments(&words)?;
            narrower(&words, scope, &said, Gap::Refused)
        }
        None | Some(Err(_)) => Ok(scope.clone()),
    }
}

/// What a completion is about, and what has been filled in before it.
#[derive(Default, Deserialize)]
struct About<'a> {
    #[serde(borrow)]
    uri: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Filled<'a> {
    #[serde(borrow)]
    arguments: Option<Named<'a>>,
}

fn of_completion(config: &Config, scope: &Scope, params: &Params<'_>) -> Result<Scope, Refusal> {
    let about: About<'_> = object(params.reference);
    let filled: Filled<'_> = object(params.context);
    let named = filled.arguments.unwrap_or_else(|| Named(HashMap::new()));
    let mut said = Said { named, by_uri: Vec::new() };
    let words = match text(about.uri) {
        Some(uri) => {
            let uri = fixed(&uri);
            let begins = |toolset: &&Toolset| {
                let mut found = toolset.uris.iter().map(|uris| uris.find(uri, &config.levels));
                found.any(|found| !matches!(found, Ok(None)))
            };
            let words = Words { config, toolsets: config.toolsets.iter().filter(begins).collect() };
            words.read_uri("ref", uri, &mut said.by_uri)?;
            words
        }
        None => Words::of_prompt(config, text(about.name).as_deref()),
    };
    said.read_arguments(&words)?;
    // A wider level may be just what is being completed.
    narrower(&words, scope, &said, Gap::Left)
}

/// A value that must be an object, or nothing.
fn object<'a, T: Default + Deserialize<'a>>(raw: Option<&'a RawValue>) -> T {
    let raw = raw.filter(|raw| raw.get().starts_with('{'));
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// As much of the template of a resource as is the same for all of its resources, in whole steps.
fn fixed(template: &str) -> &str {
    let Some((before, _)) = template.split_once('{') else {
        return template;
    };
    let end = before.rfind(['/', '?', '#', ':', '&']).map_or(0, |at| at.saturating_add(1));
    before.get(..end).unwrap_or_default()
}

/// What names a level in a request: the levels' own parameters, and what these toolsets add.
struct Words<'a> {
    config: &'a Config,
    toolsets: Vec<&'a Toolset>,
}

impl<'a> Words<'a> {
    fn of_tool(config: &'a Config, options: &Options, params: &Params<'_>) -> Self {
        let mut toolsets = Vec::new();
        // Where nobody adds anything it does not matter whose the tool is.
        if config.toolsets.iter().any(adds)
            && let Some(name) = text(params.name)
        {
            toolsets.extend(config.owner(&name, options));
        }
        Self { config, toolsets }
    }

    /// A prompt without a prefix may be anybody's who has none.
    fn of_prompt(config: &'a Config, name: Option<&str>) -> Self {
        let adding = config.toolsets.iter().filter(|toolset| adds(toolset));
        let owns = |toolset: &&Toolset| {
            toolset.prefix.is_some() && name.is_some_and(|name| toolset.inner(name).is_some())
        };
        let toolsets = match config.toolsets.iter().find(owns) {
            Some(owner) => vec![owner],
            None => adding.filter(|toolset| toolset.prefix.is_none()).collect(),
        };
        Self { config, toolsets }
    }

    fn parameters(&self, index: usize, level: &'a Level) -> impl Iterator<Item = &'a str> {
        let added = self.toolsets.iter().filter_map(move |toolset| toolset.pins.get(&index));
        level.parameters.iter().chain(added.flatten()).map(String::as_str)
    }

    /// The parameter that whoever names no level should have named it by: what the toolset itself
    /// calls it, where that is known.
    fn preferred(&self, index: usize, level: &'a Level) -> Option<&'a str> {
        let own = match *self.toolsets.as_slice() {
            [owner] => owner.pins.get(&index).and_then(|parameters| parameters.first()),
            _ => None,
        };
        own.or_else(|| level.parameters.first()).map(String::as_str)
    }

    fn uris(&self) -> impl Iterator<Item = &'a Template> {
        self.toolsets.iter().flat_map(|toolset| &toolset.uris)
    }

    /// Finds the levels that a URI names.
    fn read_uri(&self, parameter: &str, uri: &str, found: &mut Vec<ByUri>) -> Result<(), Refusal> {
        for template in self.uris() {
            let slugs = template.find(uri, &self.config.levels);
            let slugs = slugs.map_err(|rule| invalid(parameter, &rule))?.into_iter().flatten();
            found.extend(slugs.map(|(index, slug)| (index, slug, shown(parameter))));
        }
        Ok(())
    }
}

/// Whether a toolset has words of its own for levels.
fn adds(toolset: &Toolset) -> bool {
    !toolset.pins.is_empty() || !toolset.uris.is_empty()
}

/// Arguments, as far as they may name a scope. A member that appears twice keeps both values, so
/// that no reader after this one can see another than was decided by.
#[derive(Default)]
struct Named<'a>(HashMap<Cow<'a, str>, Vec<&'a RawValue>>);

impl<'de: 'a, 'a> Deserialize<'de> for Named<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = HashMap<Cow<'de, str>, Vec<&'de RawValue>>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut members: Self::Value = HashMap::new();
                while let Some((name, value)) = access.next_entry::<Name<'de>, &RawValue>()? {
                    members.entry(name.0).or_default().push(value);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members).map(Self)
    }
}

#[derive(Deserialize, PartialEq, Eq, Hash)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Collects every string in a value, however deep. Names of members are none.
struct Strings<'a> {
    found: &'a mut Vec<String>,
    depth: usize,
}

impl Strings<'_> {
    fn deeper<E: serde::de::Error>(&mut self) -> Result<Strings<'_>, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Strings { found: self.found, depth }),
            None => Err(E::custom("it is nested too deep")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strings<'_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strings<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.found.push(text.to_owned());
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<(), A::Error> {
        while access.next_element_seed(self.deeper()?)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<(), A::Error> {
        while access.next_key::<serde::de::IgnoredAny>()?.is_some() {
            access.next_value_seed(self.deeper()?)?;
        }
        Ok(())
    }
}

/// What a request says about its scope.
#[derive(Default)]
struct Said<'a> {
    named: Named<'a>,
    by_uri: Vec<ByUri>,
}

/// A level that a URI names, by its index, and the parameter that the URI is in.
type ByUri = (usize, Slug, String);

impl Said<'_> {
    /// Looks for URIs in every argument.
    fn read_arguments(&mut self, words: &Words<'_>) -> Result<(), Refusal> {
        if words.uris().next().is_none() {
            return Ok(());
        }
        let mut strings = Vec::new();
        for (parameter, values) in &self.named.0 {
            for value in values {
                let mut found = Vec::new();
                let seed = Strings { found: &mut found, depth: limits::ARGUMENT_DEPTH_MAX };
                let mut reader = serde_json::Deserializer::from_str(value.get());
                seed.deserialize(&mut reader).map_err(|error| invalid(parameter, &error))?;
                strings.extend(found.into_iter().map(|text| (parameter.as_ref(), text)));
            }
        }
        // Of several mistakes it is always the same one that is told.
        strings.sort_unstable();
        let by_uri = &mut self.by_uri;
        strings.iter().try_for_each(|(parameter, uri)| words.read_uri(parameter, uri, by_uri))
    }
}

fn invalid(parameter: &str, rule: &impl fmt::Display) -> Refusal {
    Refusal::InvalidParams(format!("`{}`: {rule}", shown(parameter)))
}

/// What becomes of a narrower level whose wider one is not named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    /// The request is refused.
    Refused,
    /// It names nothing.
    Left,
}

/// The scope of the URL, narrowed level by level as is said.
fn narrower(words: &Words<'_>, scope: &Scope, said: &Said<'_>, gap: Gap) -> Result<Scope, Refusal> {
    once(words, &said.named)?;
    let mut narrowed = scope.clone();
    let mut missing: Option<(usize, &Level)> = None;
    for (index, level) in words.config.levels.iter().enumerate().skip(scope.depth()) {
        match (slug(words, said, index, level)?, missing) {
            (None, _) => missing = missing.or(Some((index, level))),
            (Some((slug, _)), None) => narrowed = narrowed.with(slug),
            (Some(_), Some(_)) if gap == Gap::Left => {}
            (Some((_, parameter)), Some((at, wider))) => {
                return Err(Refusal::InvalidParams(format!(
                    "`{parameter}` needs {} too: which {} is it in?",
                    words.preferred(at, wider).unwrap_or("a wider level"),
                    wider.name
                )));
            }
        }
    }
    if narrowed.depth() > scope.depth() {
        within(words, scope, said)?;
    }
    Ok(narrowed)
}

/// Checks that no parameter that means a level is given twice: readers differ in which one counts.
fn once(words: &Words<'_>, named: &Named<'_>) -> Result<(), Refusal> {
    let levels = words.config.levels.iter().enumerate();
    let mut parameters = levels.flat_map(|(index, level)| words.parameters(index, level));
    let given = |parameter: &str| named.0.get(parameter).map_or(0, Vec::len);
    match parameters.find(|parameter| given(parameter) > 1) {
        None => Ok(()),
        Some(parameter) => {
            Err(Refusal::InvalidParams(format!("`{parameter}` is given twice; give it once")))
        }
    }
}

/// What is said about one level: its slug, and the parameter that says so. An explicit null says
/// nothing.
fn slug<'a>(
    words: &Words<'a>,
    said: &'a Said<'_>,
    index: usize,
    level: &'a Level,
) -> Result<Option<(Slug, &'a str)>, Refusal> {
    let mut found: Option<(Slug, &'a str)> = None;
    let mut agree = |slug: Slug, parameter: &'a str| match &found {
        Some((other, by)) if *other != slug => Err(Refusal::InvalidParams(format!(
            "`{by}` says `{other}` and `{}` says `{slug}`; name one {}",
            shown(parameter),
            level.name
        ))),
        Some(_) => Ok(()),
        None => {
            found = Some((slug, parameter));
            Ok(())
        }
    };
    for parameter in words.parameters(index, level) {
        let values = said.named.0.get(parameter).into_iter().flatten();
        for value in values.filter(|value| value.get() != "null") {
            let written = text(Some(value)).ok_or_else(|| {
                invalid(parameter, &format!("the {} must be a string", level.name))
            })?;
            let slug = Slug::parse(&written, level).map_err(|error| invalid(parameter, &error))?;
            agree(slug, parameter)?;
        }
    }
    for (_, slug, parameter) in said.by_uri.iter().filter(|(at, ..)| *at == index) {
        agree(slug.clone(), parameter)?;
    }
    Ok(found)
}

/// Checks that what is said about the levels that the URL has pinned is what it has pinned: what
/// is narrower was meant inside of that.
fn within(words: &Words<'_>, scope: &Scope, said: &Said<'_>) -> Result<(), Refusal> {
    for (index, level) in words.config.levels.iter().enumerate().take(scope.depth()) {
        let Some(pinned) = scope.slug(index) else { break };
        let conflict = |parameter: &str, got: &str| {
            Err(Refusal::InvalidParams(format!(
                "`{}` is fixed to `{pinned}` by this URL; got `{}`",
                shown(parameter),
                shown(got)
            )))
        };
        for parameter in words.parameters(index, level) {
            let values = said.named.0.get(parameter).into_iter().flatten();
            for value in values.filter(|value| value.get() != "null") {
                let got = text(Some(value)).unwrap_or(Cow::Borrowed(value.get()));
                if Slug::parse(&got, level).ok().as_ref() != Some(pinned) {
                    return conflict(parameter, &got);
                }
            }
        }
        for (_, slug, parameter) in said.by_uri.iter().filter(|(at, ..)| *at == index) {
            if slug != pinned {
                return conflict(parameter, slug.as_str());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;
    use proptest::prelude::*;
    use shared::config::Written;

    /// The scope that a request works in, or why there is none.
    fn found(config: &Config, path: &str, method: &str, params: &str) -> String {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let body = RawValue::from_string(body).unwrap();
        let Ok(Message::Request(request)) = Message::parse(&body) else { panic!("{body}") };
        let scope = Scope::parse_path(path, &config.levels).unwrap();
        match target(config, &Options::default(), &scope, &request) {
            Ok(scope) => scope.to_string(),
            Err(refusal) => {
                assert_eq!(refusal.row(true).1, -32602, "{refusal}");
                refusal.to_string()
            }
        }
    }

    fn check_call(path: &str, arguments: &str, expected: &str) {
        let params = format!(r#"{{"name":"recall","arguments":{arguments}}}"#);
        let found = found(&Config::default(), path, "tools/call", &params);
        assert_eq!(found, expected, "{arguments}");
    }

    #[test]
    fn a_call_is_routed_by_its_arguments() {
        let web = r#"{"organizationSlug":"acme","projectSlug":"web","query":"x"}"#;
        check_call("/mcp", web, "/mcp/acme/web");
        check_call("/mcp/acme", web, "/mcp/acme/web");
        check_call("/mcp/acme/web", web, "/mcp/acme/web");
        check_call("/mcp", r#"{"org":"ACME"}"#, "/mcp/acme");
        check_call("/mcp/acme", r#"{"project_slug":"web"}"#, "/mcp/acme/web");
        check_call("/mcp", "{}", "/mcp");
        check_call("/mcp", r#"{"organizationSlug":null}"#, "/mcp");
        check_call("/mcp", "[]", "/mcp");
        // A contradiction to the URL is the Agent's to name.
        check_call("/mcp/acme", r#"{"org":"other"}"#, "/mcp/acme");
        check_call("/mcp/acme/web", r#"{"org":"other"}"#, "/mcp/acme/web");
    }

    #[test]
    fn arguments_that_name_no_one_context_are_refused() {
        check_call(
            "/mcp",
            r#"{"projectSlug":"web"}"#,
            "`projectSlug` needs organizationSlug too: which org is it in?",
        );
        check_call(
            "/mcp",
            r#"{"org":"a","organizationSlug":"b"}"#,
            "`organizationSlug` says `b` and `org` says `a`; name one org",
        );
        check_call("/mcp", r#"{"org":"a","org":"b"}"#, "`org` is given twice; give it once");
        let twice = r#"{"org":"other","org":"acme"}"#;
        check_call("/mcp/acme", twice, "`org` is given twice; give it once");
        check_call("/mcp", r#"{"org":5}"#, "`org`: the org must be a string");
        check_call(
            "/mcp",
            r#"{"org":"../x"}"#,
            "`org`: the org is made of letters, digits, '.', '_' and '-' only, \
             and is not percent-encoded",
        );
        // An escaped name is the same name.
        check_call("/mcp", "{\"o\\u0072g\":\"acme\"}", "/mcp/acme");
    }

    #[test]
    fn a_task_is_found_from_every_wider_url_and_no_other() {
        let scope = Scope::parse_path("/mcp/acme/web", &Config::default().levels).unwrap();
        let id = TaskId::from_random(scope, [7; 16]).to_string();
        let get = |path: &str, id: &str| {
            let params = format!(r#"{{"taskId":"{id}"}}"#);
            found(&Config::default(), path, "tasks/get", &params)
        };
        for path in ["/mcp", "/mcp/acme", "/mcp/acme/web"] {
            assert_eq!(get(path, &id), "/mcp/acme/web");
        }
        assert_eq!(get("/mcp/other", &id), "/mcp/other");
        assert_eq!(get("/mcp/acme/other", &id), "/mcp/acme/other");
        assert_eq!(get("/mcp/acme", "nonsense"), "/mcp/acme");
    }

    /// One toolset that is known by its prefix and one that is known by what it allows.
    fn config() -> Config {
        let toolsets = r#"[{"kind":"memory"},
            {"kind":"mcp","name":"github","prefix":"gh","url":"https://a.test/",
             "pins":{"org":["owner"],"project":["repo"]},
             "uris":["https://github.com/{org}/{project}","repo://{org}/{project}/"]},
            {"kind":"mcp","name":"desk","allow":["ticket"],"url":"https://b.test/",
             "pins":{"org":["customer"]},"uris":["desk://{org}/"]}]"#;
        Config::parse(Written { toolsets: Some(toolsets), ..Written::default() }).unwrap()
    }

    fn check_tool(path: &str, tool: &str, arguments: &str, expected: &str) {
        let params = format!(r#"{{"name":"{tool}","arguments":{arguments}}}"#);
        assert_eq!(found(&config(), path, "tools/call", &params), expected, "{tool} {arguments}");
    }

    #[test]
    fn a_parameter_is_its_toolsets_own() {
        for (tool, arguments, expected) in [
            ("gh_issue", r#"{"owner":"acme","repo":"web"}"#, "/mcp/acme/web"),
            ("gh_issue", r#"{"owner":"acme","projectSlug":"web"}"#, "/mcp/acme/web"),
            ("gh_issue", r#"{"owner":"acme","org":"ACME"}"#, "/mcp/acme"),
            ("gh_issue", r#"{"owner":null}"#, "/mcp"),
            ("gh_issue", r#"{"customer":"acme"}"#, "/mcp"),
            ("ticket", r#"{"customer":"acme"}"#, "/mcp/acme"),
            ("ticket", r#"{"owner":"acme"}"#, "/mcp"),
            ("recall", r#"{"owner":"acme","customer":"acme"}"#, "/mcp"),
            ("recall", r#"{"org":"acme"}"#, "/mcp/acme"),
            ("nobodys", r#"{"owner":"acme","org":"other"}"#, "/mcp/other"),
            (
                "gh_issue",
                r#"{"owner":"acme","org":"other"}"#,
                "`org` says `other` and `owner` says `acme`; name one org",
            ),
            ("gh_issue", r#"{"owner":"a","owner":"a"}"#, "`owner` is given twice; give it once"),
            ("gh_issue", r#"{"owner":5}"#, "`owner`: the org must be a string"),
            ("gh_issue", r#"{"repo":"web"}"#, "`repo` needs owner too: which org is it in?"),
        ] {
            check_tool("/mcp", tool, arguments, expected);
        }
    }

    #[test]
    fn a_uri_in_an_argument_names_levels_too() {
        for (path, tool, arguments, expected) in [
            (
                "/mcp",
                "gh_issue",
                r#"{"url":"https://github.com/acme/web/issues/1"}"#,
                "/mcp/acme/web",
            ),
            ("/mcp", "gh_issue", r#"{"url":"HTTPS://GitHub.com/acme"}"#, "/mcp/acme"),
            ("/mcp", "gh_issue", r#"{"a":[{"b":["repo://acme/web/x"]}]}"#, "/mcp/acme/web"),
            // Whatever a server may read is read here, too.
            ("/mcp", "gh_issue", r#"{"u":"github.com/acme/web"}"#, "/mcp/acme/web"),
            ("/mcp", "gh_issue", r#"{"u":"git@github.com:acme/web"}"#, "/mcp/acme/web"),
            ("/mcp", "gh_issue", r#"{"u":"rep%6f://acme/web/x"}"#, "/mcp/acme/web"),
            (
                "/mcp",
                "gh_issue",
                r#"{"owner":"acme","u":"rep%6f://other/web/x"}"#,
                "`owner` says `acme` and `u` says `other`; name one org",
            ),
            (
                "/mcp",
                "gh_issue",
                r#"{"u":"https://github.com//acme"}"#,
                "`u`: the org must not be empty",
            ),
            ("/mcp", "gh_issue", r#"{"url":"https://example.com/acme"}"#, "/mcp"),
            ("/mcp", "gh_issue", r#"{"url":"desk://acme/1","n":[1,-1,1.5,true,null]}"#, "/mcp"),
            ("/mcp", "recall", r#"{"query":"https://github.com/acme/web"}"#, "/mcp"),
            ("/mcp", "nobodys", r#"{"query":"https://github.com/acme/web"}"#, "/mcp"),
            ("/mcp/acme", "gh_issue", r#"{"u":"https://github.com/acme/web"}"#, "/mcp/acme/web"),
            ("/mcp/acme", "gh_issue", r#"{"repo":"web","u":"repo://acme/web/"}"#, "/mcp/acme/web"),
            (
                "/mcp",
                "gh_issue",
                r#"{"owner":"acme","u":"https://github.com/other"}"#,
                "`owner` says `acme` and `u` says `other`; name one org",
            ),
            (
                "/mcp",
                "gh_issue",
                r#"{"u":["https://github.com/acme/web","repo://acme/other/"]}"#,
                "`u` says `web` and `u` says `other`; name one project",
            ),
            (
                "/mcp",
                "gh_issue",
                r#"{"u":"https://github.com/acme/../other"}"#,
                "`u`: the project begins and ends with a letter or a digit",
            ),
            // A member that is written twice is read twice.
            (
                "/mcp",
                "gh_issue",
                r#"{"x":{"u":"repo://acme/web/","u":"repo://other/web/"}}"#,
                "`x` says `acme` and `x` says `other`; name one org",
            ),
        ] {
            check_tool(path, tool, arguments, expected);
        }
        let deep =
            |depth: usize| format!(r#"{{"u":{}"x"{}}}"#, "[".repeat(depth), "]".repeat(depth));
        check_tool("/mcp", "gh_issue", &deep(limits::ARGUMENT_DEPTH_MAX), "/mcp");
        let error = "`u`: it is nested too deep at line 1 column 65";
        check_tool("/mcp", "gh_issue", &deep(limits::ARGUMENT_DEPTH_MAX + 1), error);
    }

    #[test]
    fn what_is_narrower_is_inside_of_what_the_url_has_pinned() {
        for (arguments, expected) in [
            (
                r#"{"u":"https://github.com/other/web"}"#,
                "`u` is fixed to `acme` by this URL; got `other`",
            ),
            (
                r#"{"owner":"other","repo":"web"}"#,
                "`owner` is fixed to `acme` by this URL; got `other`",
            ),
            (
                r#"{"owner":["acme"],"repo":"web"}"#,
                r#"`owner` is fixed to `acme` by this URL; got `["acme"]`"#,
            ),
            (r#"{"owner":"ACME","repo":"web"}"#, "/mcp/acme/web"),
            // With nothing narrower it is the Agent's to name.
            (r#"{"u":"https://github.com/other"}"#, "/mcp/acme"),
            (r#"{"owner":["acme"]}"#, "/mcp/acme"),
        ] {
            check_tool("/mcp/acme", "gh_issue", arguments, expected);
        }
        let elsewhere = r#"{"u":"https://github.com/other/x"}"#;
        check_tool("/mcp/acme/web", "gh_issue", elsewhere, "/mcp/acme/web");
    }

    #[test]
    fn a_prompt_is_routed_as_a_tool_is() {
        for (name, arguments, expected) in [
            ("briefing", r#"{"org":"acme"}"#, "/mcp/acme"),
            // Whose it is cannot be known: anybody's without a prefix.
            ("briefing", r#"{"customer":"acme"}"#, "/mcp/acme"),
            ("briefing", r#"{"owner":"acme"}"#, "/mcp"),
            ("gh_review", r#"{"owner":"acme","repo":"web"}"#, "/mcp/acme/web"),
            ("gh_review", r#"{"customer":"acme"}"#, "/mcp"),
            ("gh_review", r#"{"of":"https://github.com/acme/web"}"#, "/mcp/acme/web"),
        ] {
            let params = format!(r#"{{"name":"{name}","arguments":{arguments}}}"#);
            assert_eq!(found(&config(), "/mcp", "prompts/get", &params), expected, "{params}");
            let params = format!(
                r#"{{"ref":{{"type":"ref/prompt","name":"{name}"}},
                    "argument":{{"name":"org","value":"x"}},"context":{{"arguments":{arguments}}}}}"#
            );
            let completed = found(&config(), "/mcp", "completion/complete", &params);
            assert_eq!(completed, expected, "{params}");
        }
    }

    #[test]
    fn a_resource_is_where_its_uri_says() {
        for (path, uri, expected) in [
            ("/mcp", "repo://acme/web/readme", "/mcp/acme/web"),
            ("/mcp", "desk://acme/1", "/mcp/acme"),
            ("/mcp", "desk://acme", "/mcp/acme"),
            ("/mcp", "memory://note/1", "/mcp"),
            ("/mcp", "skill://acme/web", "/mcp"),
            ("/mcp/acme", "repo://acme/web/", "/mcp/acme/web"),
            ("/mcp/acme", "desk://other/1", "/mcp/acme"),
            ("/mcp/acme", "repo://other/web/", "`uri` is fixed to `acme` by this URL; got `other`"),
            ("/mcp", "desk://../1", "`uri`: the org begins and ends with a letter or a digit"),
        ] {
            let params = format!(r#"{{"uri":"{uri}"}}"#);
            for method in ["resources/read", "resources/directory/read", "skills/get"] {
                assert_eq!(found(&config(), path, method, &params), expected, "{method} {uri}");
            }
        }
        assert_eq!(found(&config(), "/mcp", "resources/read", r#"{"uri":5}"#), "/mcp");
        assert_eq!(found(&config(), "/mcp", "resources/list", r#"{"uri":"desk://acme/"}"#), "/mcp");
    }

    #[test]
    fn a_completion_is_where_what_is_filled_in_says() {
        for (reference, filled, expected) in [
            ("repo://acme/{repo}/x", "{}", "/mcp/acme"),
            ("repo://ac{owner}/x", "{}", "/mcp"),
            ("repo://{owner}/{repo}", r#"{"owner":"acme","repo":"web"}"#, "/mcp/acme/web"),
            ("repo://{owner}/{repo}", r#"{"repo":"web"}"#, "/mcp"),
            ("repo://{owner}/{repo}", r#"{"customer":"acme"}"#, "/mcp"),
            ("memory://{note}", r#"{"owner":"acme","org":"other"}"#, "/mcp/other"),
        ] {
            let params = format!(
                r#"{{"ref":{{"type":"ref/resource","uri":"{reference}"}},
                    "argument":{{"name":"owner","value":"evil"}},"context":{{"arguments":{filled}}}}}"#
            );
            let completed = found(&config(), "/mcp", "completion/complete", &params);
            assert_eq!(completed, expected, "{reference} {filled}");
        }
        for params in ["{}", r#"{"ref":[],"context":5}"#, r#"{"ref":{"uri":5},"context":{}}"#] {
            assert_eq!(found(&config(), "/mcp", "completion/complete", params), "/mcp");
        }
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let text = prop_oneof![
            "[a-z/.%]{0,9}",
            "(repo|desk|https)://[a-z./%{}]{0,12}",
            "https://github.com/[a-z./%]{0,12}",
        ];
        let leaf = prop_oneof![
            text.prop_map(serde_json::Value::from),
            Just(serde_json::Value::Null),
            any::<f64>().prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
                prop::collection::btree_map("[a-z]{1,3}", inner, 0..3)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_target_is_inside_of_the_url_whatever_is_said(
            method in prop_oneof![
                Just("tools/call"), Just("prompts/get"), Just("resources/read"),
                Just("completion/complete"), Just("tasks/get"), Just("skills/get"),
            ],
            path in prop_oneof![Just("/mcp"), Just("/mcp/a"), Just("/mcp/a/b")],
            name in prop_oneof![Just("gh_x"), Just("ticket"), Just("recall"), Just("x")],
            arguments in prop::collection::btree_map(
                prop_oneof![Just("org"), Just("owner"), Just("repo"), Just("customer"), Just("u")],
                value(),
                0..4,
            ),
            uri in value(),
        ) {
            let params = serde_json::json!({
                "name": name, "arguments": arguments, "uri": uri, "taskId": uri,
                "ref": { "uri": uri, "name": name }, "context": { "arguments": arguments },
            });
            let config = config();
            let body = serde_json::json!({
                "jsonrpc": "2.0", "id": 1, "method": method, "params": params,
            });
            let body = RawValue::from_string(body.to_string()).unwrap();
            let Ok(Message::Request(request)) = Message::parse(&body) else { panic!("{body}") };
            let scope = Scope::parse_path(path, &config.levels).unwrap();
            if let Ok(target) = target(&config, &Options::default(), &scope, &request) {
                prop_assert!(target.is_within(&scope));
            }
        }
    }
}
