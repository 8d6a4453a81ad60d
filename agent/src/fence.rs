//! The fence around one toolset at one scope: which parameters the scope fixes, and which URIs lie
//! inside of it. It must not know tools or who asks.

use narrow::{Pin, pin};
use rmcp::model::{ErrorData, JsonObject};
use serde_json::{Value, json};
use shared::{
    Scope,
    config::{self, Level, Piece, Template},
    error::shown,
    limits,
};
use std::collections::BTreeMap;

/// What a scope fixes of a toolset.
#[derive(Debug, Clone)]
pub struct Fence {
    /// The scope, as pins on parameters.
    pub pins: Vec<Pin>,
    /// Parameters that name a narrower context than this one.
    unpinned: Vec<String>,
    /// URIs that name levels.
    uris: Vec<Template>,
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
        Self {
            pins: pins.collect(),
            unpinned: all.iter().skip(scope.depth()).flatten().cloned().collect(),
            uris: toolset.uris.clone(),
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
        let arguments = pin(schema, arguments, &self.pins)
            .map_err(|conflict| ErrorData::invalid_params(conflict.to_string(), None))?;
        let named = |parameter: &&String| arguments.get(*parameter).is_some_and(|v| !v.is_null());
        if let Some(parameter) = self.unpinned.iter().find(named) {
            return Err(unreached(parameter));
        }
        for (name, value) in &arguments {
            self.check_value(name, value, 0)?;
        }
        Ok(arguments)
    }

    fn check_value(&self, name: &str, value: &Value, depth: usize) -> Result<(), ErrorData> {
        if self.uris.is_empty() {
            return Ok(());
        }
        if depth > limits::SCHEMA_JSON_DEPTH_MAX {
            let text = format!("`{}` is nested too deep", shown(name));
            return Err(ErrorData::invalid_params(text, None));
        }
        let below = depth.saturating_add(1);
        match value {
            Value::String(text) => self.check_uri(name, text),
            Value::Array(items) => {
                items.iter().try_for_each(|item| self.check_value(name, item, below))
            }
            Value::Object(object) => {
                object.iter().try_for_each(|(name, item)| self.check_value(name, item, below))
            }
            _ => Ok(()),
        }
    }

    /// Checks a URI that `name` has for its value.
    ///
    /// # Errors
    /// -32602 for one that leads outside, or that names a narrower context.
    pub fn check_uri(&self, name: &str, uri: &str) -> Result<(), ErrorData> {
        self.check_uri_by(&self.uris, name, uri)
    }

    fn check_uri_by(&self, templates: &[Template], name: &str, uri: &str) -> Result<(), ErrorData> {
        for template in templates {
            let found = template.find(uri, &self.levels).map_err(|rule| {
                ErrorData::invalid_params(format!("`{}`: {rule}", shown(name)), None)
            })?;
            for (level, slug) in found.into_iter().flatten() {
                match self.scope.slug(level) {
                    Some(fixed) if *fixed != slug => {
                        let text = format!(
                            "`{}` is fixed to `{fixed}` by this URL; got `{slug}`",
                            shown(name)
                        );
                        return Err(ErrorData::invalid_params(text, None));
                    }
                    Some(_) => {}
                    None => return Err(unreached(name)),
                }
            }
        }
        Ok(())
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
        let properties: BTreeMap<_, _> =
            names.filter_map(Value::as_str).map(|name| (name.to_owned(), json!({}))).collect();
        let schema = json!({ "type": "object", "properties": properties });
        self.pin(schema.as_object().unwrap_or(&JsonObject::new()), arguments)
    }

    /// The arguments that are known where one of them is completed.
    ///
    /// # Errors
    /// As for [`Self::pin`].
    pub fn known(&self, known: JsonObject, argument: &str) -> Result<JsonObject, ErrorData> {
        let known = self.pin(&JsonObject::new(), known)?;
        match self.is_pinned(argument) {
            // Its value is fixed, and no other is anybody's business here.
            true => Err(ErrorData::invalid_params(
                format!("`{}` is fixed by this URL", shown(argument)),
                None,
            )),
            false => Ok(known),
        }
    }

    fn is_pinned(&self, parameter: &str) -> bool {
        self.value(parameter).is_some()
    }

    fn value(&self, parameter: &str) -> Option<&str> {
        let pinned = self.pins.iter().find(|pin| pin.parameters.iter().any(|p| p == parameter));
        pinned.map(|pin| pin.value.as_str())
    }

    /// A template of resources as clients see it: what is fixed is filled in.
    #[must_use]
    pub fn template(&self, template: &str) -> String {
        self.pins.iter().fold(template.to_owned(), |text, pin| {
            pin.parameters
                .iter()
                .fold(text, |text, parameter| text.replace(&format!("{{{parameter}}}"), &pin.value))
        })
    }

    /// Checks a URI against a template whose variables mean levels.
    ///
    /// # Errors
    /// As for [`Self::check_uri`].
    pub fn check_by_template(&self, template: &str, uri: &str) -> Result<(), ErrorData> {
        match self.of_levels(template) {
            Some(template) => self.check_uri_by(&[template], "uri", uri),
            None => Ok(()),
        }
    }

    /// The beginning of a template up to the first variable that means no level, by level names.
    fn of_levels(&self, template: &str) -> Option<Template> {
        let mut written = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (variable, after) = after.split_once('}')?;
            let level = self.level(variable);
            written.push_str(before);
            let Some(level) = level else { break };
            written.push_str(&format!("{{{}}}", level.name));
            rest = after;
        }
        let template = Template::parse(&written, &self.levels).ok()?;
        let begins = matches!(template.pieces().first(), Some(Piece::Text(_)));
        (begins && template.depth() > 0).then_some(template)
    }

    fn level(&self, variable: &str) -> Option<&Level> {
        let pinned = self.pins.iter().position(|pin| pin.parameters.iter().any(|p| p == variable));
        pinned.and_then(|index| self.levels.get(index))
    }
}

fn unreached(parameter: &str) -> ErrorData {
    let text = format!("`{}` names a context that this call did not reach", shown(parameter));
    ErrorData::invalid_params(text, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::config::{ToolsetKind, default_levels};

    fn fence(path: &str) -> Fence {
        let levels = default_levels();
        let mut toolset = config::Toolset::new(ToolsetKind::Memory);
        toolset.pins.insert(0, vec!["owner".to_owned()]);
        toolset.pins.insert(1, vec!["repo".to_owned()]);
        let uri = Template::parse("https://x.test/{org}/{project}", &levels).unwrap();
        toolset.uris.push(uri);
        Fence::new(&toolset, &Scope::parse_path(path, &levels).unwrap(), &levels)
    }

    fn object(value: Value) -> JsonObject {
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
        let check = |uri: &str| fence.check_by_template("repo://{owner}/{path}", uri).is_ok();
        assert!(check("repo://acme/x") && check("other://evil/x"));
        assert!(
            !check("repo://evil/x") && !check("repo://acme/../evil") && !check("REPO://evil/x")
        );
    }
}
