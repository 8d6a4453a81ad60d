//! The fence around one toolset at one scope: which parameters the scope fixes, and which URIs lie
//! inside of it. It must not know tools or who asks.
//!
//! - this file: arguments and URIs
//! - `answer`: questions to a client, its answers, and what it says beside a request

mod answer;

use narrow::{Conflict, Pin, pin};
use rmcp::model::{ErrorData, JsonObject};
use serde_json::{Value, json};
use shared::{
    Scope,
    config::{self, Level, Template, climbs},
    error::shown,
    gathered, limits,
    scope::Slug,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a scope fixes of a toolset.
#[derive(Debug, Clone)]
pub struct Fence {
    /// The scope, as pins on parameters.
    pub pins: Vec<Pin>,
    /// Parameters that name a narrower context than this one.
    unpinned: Vec<String>,
    /// Parameters that are fixed, as somebody reads them who does not tell letters by their case,
    /// with the index of the pin.
    likenesses: BTreeMap<String, usize>,
    /// URIs that name levels.
    uris: Vec<Template>,
    /// Members of arguments that are called like a level and mean none, by their paths.
    free: BTreeSet<String>,
    scope: Scope,
    levels: Vec<Level>,
}

impl Fence {
    /// The fence of a toolset at a scope.
    #[must_use]
    pub fn new(toolset: &config::Toolset, scope: &Scope, levels: &[Level]) -> Self {
        let parameters = |(index, level): (usize, &Level)| {
            toolset.parameters(index, level).map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        let all: Vec<Vec<String>> = levels.iter().enumerate().map(parameters).collect();
        let pinned = all.iter().zip(levels).zip(scope.slugs());
        let pins = pinned.map(|((parameters, level), slug)| Pin {
            parameters: parameters.clone(),
            value: slug.as_str().to_owned(),
            preserve_case: level.preserve_case,
        });
        let pins: Vec<Pin> = pins.collect();
        let fixed = pins.iter().enumerate();
        let fixed = fixed.flat_map(|(n, pin)| pin.parameters.iter().map(move |p| (fold(p), n)));
        Self {
            likenesses: gathered(fixed),
            pins,
            unpinned: all.iter().skip(scope.depth()).flatten().cloned().collect(),
            uris: toolset.uris.clone(),
            free: toolset.free.clone(),
            scope: scope.clone(),
            levels: levels.to_vec(),
        }
    }

    /// How many levels are pinned.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.scope.depth()
    }

    /// The arguments as the tool gets them: the pinned ones put back, and nothing in them from
    /// outside.
    ///
    /// # Errors
    /// -32602 for an argument that contradicts the scope, or that names a narrower one: the router
    /// sent it here, so it read the arguments in another way. Better no answer than one from
    /// elsewhere.
    pub fn pin(&self, schema: &JsonObject, arguments: JsonObject) -> Result<JsonObject, ErrorData> {
        let arguments = pin(schema, arguments, &self.pins).map_err(contradiction)?;
        let named = |parameter: &&String| arguments.get(*parameter).is_some_and(|v| !v.is_null());
        if let Some(parameter) = self.unpinned.iter().find(named) {
            return Err(unreached(parameter));
        }
        let whole = |(name, value): (&String, &Value)| {
            self.check_member(&Member { name, above: None, may_narrow: false }, value, 0)
        };
        arguments.iter().try_for_each(whole)?;
        Ok(arguments)
    }

    /// Checks a member of the arguments, however deep: what is called like a fixed parameter means
    /// it, in any case of its letters, unless the configuration says that it does not. A URI may
    /// be a name, too.
    fn check_member(
        &self,
        member: &Member<'_>,
        value: &Value,
        depth: usize,
    ) -> Result<(), ErrorData> {
        if let Some(pin) = self.pin_like(member.name) {
            let path = member.path();
            if !self.free.contains(&path) {
                pin.check(&path, value).map_err(contradiction)?;
            }
        }
        self.check_text(member, member.name)?;
        self.check_value(member, value, depth)
    }

    fn check_value(
        &self,
        member: &Member<'_>,
        value: &Value,
        depth: usize,
    ) -> Result<(), ErrorData> {
        if self.uris.is_empty() && self.pins.is_empty() {
            return Ok(());
        }
        if depth > limits::SCHEMA_JSON_DEPTH_MAX {
            let text = format!("`{}` is nested too deep", shown(member.name));
            return Err(ErrorData::invalid_params(text, None));
        }
        let below = depth.saturating_add(1);
        match value {
            Value::String(text) => self.check_text(member, text),
            Value::Array(items) => {
                items.iter().try_for_each(|item| self.check_value(member, item, below))
            }
            Value::Object(object) => object.iter().try_for_each(|(name, item)| {
                let may_narrow = member.may_narrow;
                self.check_member(&Member { name, above: Some(member), may_narrow }, item, below)
            }),
            _ => Ok(()),
        }
    }

    fn check_text(&self, member: &Member<'_>, text: &str) -> Result<(), ErrorData> {
        match member.may_narrow {
            true => self.check_uri_inside(member.name, text),
            false => self.check_uri(member.name, text),
        }
    }

    /// Checks a URI that `name` has for its value.
    ///
    /// # Errors
    /// -32602 for one that leads outside, or that names a narrower context.
    pub fn check_uri(&self, name: &str, uri: &str) -> Result<(), ErrorData> {
        match self.check_levels(name, uri)? {
            true => Err(unreached(name)),
            false => Ok(()),
        }
    }

    /// The same where what is narrower is inside.
    fn check_uri_inside(&self, name: &str, uri: &str) -> Result<(), ErrorData> {
        self.check_levels(name, uri).map(|_| ())
    }

    /// Checks the levels that a URI names, and says whether any is narrower.
    fn check_levels(&self, name: &str, uri: &str) -> Result<bool, ErrorData> {
        let mut is_narrower = false;
        for (level, slug) in self.levels_of(name, uri)? {
            match self.scope.slug(level) {
                Some(fixed) if *fixed != slug => {
                    return Err(elsewhere(name, fixed.as_str(), slug.as_str()));
                }
                Some(_) => {}
                None => is_narrower = true,
            }
        }
        Ok(is_narrower)
    }

    /// Checks a text that is being written: it may become a URI inside, and be of somewhere
    /// narrower.
    fn check_beginning(&self, name: &str, text: &str) -> Result<(), ErrorData> {
        // A slug that is being written may end in what no slug ends in.
        let written = text.trim_end_matches(['-', '_']);
        let mut named =
            self.levels_of(name, text).or_else(|_| self.levels_of(name, written))?.into_iter();
        let outside = named.find_map(|(level, slug)| {
            let fixed = self.scope.slug(level)?;
            let (fixed, slug) = (fixed.as_str().to_owned(), slug.as_str().to_owned());
            let is_begun = fixed.starts_with(&slug) && text.to_ascii_lowercase().ends_with(&slug);
            (fixed != slug && !is_begun).then(|| elsewhere(name, &fixed, &slug))
        });
        outside.map_or(Ok(()), Err)
    }

    fn levels_of(&self, name: &str, uri: &str) -> Result<Vec<(usize, Slug)>, ErrorData> {
        let mut all = Vec::new();
        for template in &self.uris {
            let found = template.find(uri, &self.levels).map_err(|rule| {
                ErrorData::invalid_params(format!("`{}`: {rule}", shown(name)), None)
            })?;
            all.extend(found.into_iter().flatten());
        }
        Ok(all)
    }

    /// Checks the URI of a resource, by the configuration and by the templates that its toolset
    /// has for its resources.
    ///
    /// # Errors
    /// As for [`Self::check_uri`].
    pub fn check_resource(&self, uri: &str, templates: &[String]) -> Result<(), ErrorData> {
        self.check_uri("uri", uri)?;
        if self.pins.is_empty() {
            return Ok(());
        }
        if uri.contains(char::is_control) || uri.trim() != uri {
            let text = "`uri`: a URI has no control characters, and no blanks around it";
            return Err(ErrorData::invalid_params(text, None));
        }
        if climbs(uri) {
            let text = "`uri`: it must not have `.` or `..` as a step";
            return Err(ErrorData::invalid_params(text, None));
        }
        templates.iter().try_for_each(|template| self.check_said(template, uri))
    }

    /// Checks what a URI says for the variables of a template that mean what is fixed.
    fn check_said(&self, template: &str, uri: &str) -> Result<(), ErrorData> {
        let said = narrow::template::said(template, uri, &|name| self.pin_like(name).is_some());
        let said =
            said.map_err(|rule| ErrorData::invalid_params(format!("`uri`: {rule}"), None))?;
        said.into_iter().try_for_each(|(name, got)| match self.pin_like(name) {
            Some(pin) => pin.check(name, &Value::String(got)).map_err(contradiction),
            None => Ok(()),
        })
    }

    /// Whether the configuration says of a URI which levels it names.
    #[must_use]
    pub fn names(&self, uri: &str) -> bool {
        self.levels_of("uri", uri).is_ok_and(|levels| !levels.is_empty())
    }

    /// Whether a URI that is listed lies inside.
    #[must_use]
    pub fn has(&self, uri: &str) -> bool {
        self.check_uri("uri", uri).is_ok()
    }

    /// A prompt as clients see it: without the arguments that are fixed.
    #[must_use]
    pub fn prompt(&self, mut prompt: JsonObject) -> JsonObject {
        if let Some(Value::Array(arguments)) = prompt.get_mut("arguments") {
            arguments.retain(|argument| {
                let name = argument.get("name").and_then(Value::as_str).unwrap_or_default();
                !self.is_pinned(name)
            });
        }
        prompt
    }

    /// The arguments of a prompt as its toolset gets them.
    ///
    /// # Errors
    /// As for [`Self::pin`].
    pub fn pin_prompt(
        &self,
        prompt: &JsonObject,
        arguments: JsonObject,
    ) -> Result<JsonObject, ErrorData> {
        let listed = prompt.get("arguments").and_then(Value::as_array);
        let names = listed.into_iter().flatten().filter_map(|argument| argument.get("name"));
        let names = names.filter_map(Value::as_str);
        let properties: JsonObject = gathered(names.map(|name| (name.to_owned(), json!({}))));
        let schema = json!({ "type": "object", "properties": properties });
        self.pin(schema.as_object().unwrap_or(&JsonObject::new()), arguments)
    }

    /// The arguments that are known where one of them is completed, whose value begins with
    /// `text`. Those of `declared` that are fixed are known.
    ///
    /// # Errors
    /// As for [`Self::pin`].
    pub fn known(
        &self,
        known: JsonObject,
        declared: &[String],
        argument: &str,
        text: &str,
    ) -> Result<JsonObject, ErrorData> {
        if self.pin_like(argument).is_some() {
            // Its value is fixed, and no other is anybody's business here.
            let text = format!("`{}` is fixed by this URL", shown(argument));
            return Err(ErrorData::invalid_params(text, None));
        }
        self.check_beginning(argument, text)?;
        let properties: JsonObject =
            gathered(declared.iter().map(|name| (name.clone(), json!({}))));
        self.pin(&gathered([("properties".to_owned(), properties.into())]), known)
    }

    /// The level that a parameter means and what it is fixed to, if it is fixed here.
    #[must_use]
    pub fn level(&self, parameter: &str) -> Option<(usize, &str)> {
        let means = |pin: &Pin| pin.parameters.iter().any(|p| p == parameter);
        let level = self.pins.iter().position(means)?;
        self.pins.get(level).map(|pin| (level, pin.value.as_str()))
    }

    fn is_pinned(&self, parameter: &str) -> bool {
        self.pin_of(parameter).is_some()
    }

    fn pin_of(&self, parameter: &str) -> Option<&Pin> {
        self.pins.iter().find(|pin| pin.parameters.iter().any(|p| p == parameter))
    }

    fn pin_like(&self, parameter: &str) -> Option<&Pin> {
        // Most contexts fix something, and most names are none of theirs.
        let index = self.likenesses.get(&fold(parameter))?;
        self.pins.get(*index)
    }

    /// A template of resources as clients see it: what is fixed is filled in.
    #[must_use]
    pub fn template(&self, template: &str) -> String {
        narrow::template::filled(template, &|name| {
            self.pin_like(name).map(|pin| pin.value.as_str())
        })
    }
}

/// A member of the arguments, and what it is in.
struct Member<'a> {
    name: &'a str,
    above: Option<&'a Self>,
    /// Whether a URI in it may name what is narrower than the scope.
    may_narrow: bool,
}

impl<'a> Member<'a> {
    /// One of something that routes nothing.
    const fn inside(name: &'a str) -> Self {
        Self { name, above: None, may_narrow: true }
    }

    /// Its name, behind the names of what it is in.
    fn path(&self) -> String {
        match self.above {
            Some(above) => format!("{}.{}", above.path(), self.name),
            None => self.name.to_owned(),
        }
    }
}

/// A name as those read it who do not tell letters by their case, which are more in Unicode than in
/// ASCII.
fn fold(name: &str) -> String {
    name.to_lowercase().to_uppercase()
}

fn contradiction(conflict: Conflict) -> ErrorData {
    ErrorData::invalid_params(conflict.to_string(), None)
}

fn elsewhere(name: &str, fixed: &str, got: &str) -> ErrorData {
    let text = format!("`{}` is fixed to `{fixed}` by this URL; got `{got}`", shown(name));
    ErrorData::invalid_params(text, None)
}

fn unreached(parameter: &str) -> ErrorData {
    let text = format!("`{}` names a context that this call did not reach", shown(parameter));
    ErrorData::invalid_params(text, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::config::{ToolsetKind, default_levels};

    pub(super) fn fence(path: &str) -> Fence {
        let levels = default_levels();
        let mut toolset = config::Toolset::new(ToolsetKind::Memory);
        toolset.pins.insert(0, vec!["owner".to_owned()]);
        toolset.pins.insert(1, vec!["repo".to_owned()]);
        let uri = Template::parse("https://x.test/{org}/{project}", &levels).unwrap();
        toolset.uris.push(uri);
        Fence::new(&toolset, &Scope::parse_path(path, &levels).unwrap(), &levels)
    }

    pub(super) fn object(value: Value) -> JsonObject {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn nothing_in_the_arguments_is_from_outside() {
        let schema = object(json!({ "properties": { "owner": {}, "repo": {}, "url": {} } }));
        let pinned = |path: &str, arguments: Value| {
            let pinned = fence(path).pin(&schema, object(arguments));
            pinned.map(Value::Object).map_err(|error| error.message.into_owned())
        };
        let inside = json!({ "owner": "acme", "repo": "web", "url": "https://x.test/acme/web/1" });
        let url = json!({ "url": "https://x.test/acme/web/1" });
        assert_eq!(pinned("/mcp/acme/web", url.clone()), Ok(inside));
        for (path, arguments, expected) in [
            (
                "/mcp/acme/web",
                json!({ "owner": "evil" }),
                "fixed to `acme` by this URL; got `evil`",
            ),
            ("/mcp/acme/web", json!({ "org": "evil" }), "fixed to `acme` by this URL; got `evil`"),
            ("/mcp/acme", json!({ "repo": "web" }), "did not reach"),
            ("/mcp/acme", url.clone(), "`url` names a context that this call did not reach"),
            ("/mcp", url, "did not reach"),
            ("/mcp/acme/web", json!({ "url": "https://x.test/evil/web" }), "got `evil`"),
            ("/mcp/acme/web", json!({ "x": [{ "y": "HTTPS://X.test/acme/api" }] }), "got `api`"),
            ("/mcp/acme/web", json!({ "url": "https://x.test/acme/web/../../evil" }), "`..`"),
        ] {
            let error = pinned(path, arguments.clone()).unwrap_err();
            assert!(error.contains(expected), "{path} {arguments}: {error}");
        }
    }

    #[test]
    fn prompts_and_templates_lose_what_is_fixed() {
        let fence = fence("/mcp/acme");
        let prompt =
            object(json!({ "name": "p", "arguments": [{ "name": "owner" }, { "name": "n" }] }));
        assert_eq!(fence.prompt(prompt.clone())["arguments"], json!([{ "name": "n" }]));
        let pinned = fence.pin_prompt(&prompt, object(json!({ "n": "1" }))).unwrap();
        assert_eq!(Value::Object(pinned), json!({ "n": "1", "owner": "acme" }));
        assert_eq!(fence.template("repo://{owner}/{repo}/{+path}"), "repo://acme/{repo}/{+path}");
        let check =
            |uri: &str| fence.check_resource(uri, &["repo://{owner}/{path}".to_owned()]).is_ok();
        assert!(check("repo://acme/x") && check("other://evil/x"));
        assert!(
            !check("repo://evil/x") && !check("repo://acme/../evil") && !check("REPO://evil/x")
        );
    }
}
