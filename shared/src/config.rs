//! What the operator configures: the levels of a scope and the toolsets behind it. Read once,
//! validated at start; every mistake names the key and the rule. It must not know where the
//! values came from, and it holds no secret.

use crate::limits;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// One step of a scope: its name, and the parameters of tools that mean it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// For people and for configuration: `org`.
    pub name: String,
    /// Parameters of tools that name this level; the first is the preferred one.
    pub parameters: Vec<String>,
    /// Whether slugs keep their case. They are lower-cased otherwise.
    pub preserve_case: bool,
}

impl Level {
    /// A level with no parameters.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), parameters: Vec::new(), preserve_case: false }
    }

    /// The same level, keeping the case of its slugs.
    #[must_use]
    pub fn preserving_case(mut self) -> Self {
        self.preserve_case = true;
        self
    }

    /// The same level, known by these parameters of tools.
    #[must_use]
    pub fn with_parameters(mut self, parameters: &[&str]) -> Self {
        self.parameters = parameters.iter().map(|&p| p.to_owned()).collect();
        self
    }
}

/// Organization and project: what a deployment has that configures nothing.
#[must_use]
pub fn default_levels() -> Vec<Level> {
    vec![
        Level::named("org").with_parameters(&["organizationSlug", "organization_slug", "org"]),
        Level::named("project").with_parameters(&[
            "projectSlug",
            "project_slug",
            "projectSlugOrId",
        ]),
    ]
}

/// The toolsets this build can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ToolsetKind {
    /// Durable notes of one context.
    Memory,
    /// What the conformance suite expects; in test builds only.
    Fixture,
}

/// One configured toolset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolset {
    /// Which family of tools.
    pub kind: ToolsetKind,
    /// Tools that make no sense once a level is pinned, by the index of that level.
    pub hide: BTreeMap<usize, BTreeSet<String>>,
}

impl Toolset {
    /// A toolset that hides nothing.
    #[must_use]
    pub const fn new(kind: ToolsetKind) -> Self {
        Self { kind, hide: BTreeMap::new() }
    }

    /// Whether a tool is hidden once `depth` levels are pinned.
    #[must_use]
    pub fn hides(&self, tool: &str, depth: usize) -> bool {
        self.hide.range(..depth).any(|(_, tools)| tools.contains(tool))
    }
}

/// The whole configuration, valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Levels of a scope, widest first.
    pub levels: Vec<Level>,
    /// Toolsets, in the order in which their tools are listed.
    pub toolsets: Vec<Toolset>,
}

impl Default for Config {
    /// Organization and project, and the memory toolset.
    fn default() -> Self {
        Self { levels: default_levels(), toolsets: vec![Toolset::new(ToolsetKind::Memory)] }
    }
}

/// A mistake in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("configuration: {key}: {rule}")]
pub struct ConfigError {
    /// Which key, as it is written in the file: `scope.levels[1].name`.
    pub key: String,
    /// The rule it breaks.
    pub rule: String,
}

fn mistake(key: impl Into<String>, rule: impl Into<String>) -> ConfigError {
    ConfigError { key: key.into(), rule: rule.into() }
}

/// `[vars.scope]` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenScope {
    levels: Vec<WrittenLevel>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLevel {
    name: String,
    #[serde(default)]
    parameters: Vec<String>,
    #[serde(default)]
    case: Case,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Case {
    #[default]
    Lower,
    Preserve,
}

/// One `[[vars.toolsets]]` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenToolset {
    kind: ToolsetKind,
    #[serde(default)]
    hide: BTreeMap<String, BTreeSet<String>>,
}

impl Config {
    /// Reads `scope` and `toolsets` as JSON texts, each absent where the operator set nothing.
    ///
    /// # Errors
    /// The first mistake, by key and rule.
    pub fn parse(scope: Option<&str>, toolsets: Option<&str>) -> Result<Self, ConfigError> {
        let default = Self::default();
        let levels = match scope {
            Some(text) => read_levels(text)?,
            None => default.levels,
        };
        let toolsets = match toolsets {
            Some(text) => read_toolsets(text, &levels)?,
            None => default.toolsets,
        };
        Ok(Self { levels, toolsets })
    }
}

fn read_levels(text: &str) -> Result<Vec<Level>, ConfigError> {
    let written: WrittenScope =
        serde_json::from_str(text).map_err(|e| mistake("scope", e.to_string()))?;
    if written.levels.is_empty() || written.levels.len() > limits::SCOPE_LEVELS_MAX {
        let rule = format!("there are 1 to {} levels", limits::SCOPE_LEVELS_MAX);
        return Err(mistake("scope.levels", rule));
    }
    let mut names = BTreeSet::new();
    let mut parameters = BTreeSet::new();
    for (index, level) in written.levels.iter().enumerate() {
        let key = |field: &str| format!("scope.levels[{index}].{field}");
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if level.name.is_empty() || !level.name.chars().all(plain) {
            return Err(mistake(key("name"), "a name is made of a-z, 0-9 and '_'"));
        }
        if !names.insert(&level.name) {
            return Err(mistake(key("name"), format!("{} is named twice", level.name)));
        }
        if level.parameters.len() > limits::LEVEL_PARAMETERS_MAX {
            let rule = format!("at most {} parameters", limits::LEVEL_PARAMETERS_MAX);
            return Err(mistake(key("parameters"), rule));
        }
        for parameter in &level.parameters {
            if parameter.is_empty() {
                return Err(mistake(key("parameters"), "a parameter must not be empty"));
            }
            if !parameters.insert(parameter) {
                let rule = format!("{parameter} already means a level");
                return Err(mistake(key("parameters"), rule));
            }
        }
    }
    let level = |w: WrittenLevel| Level {
        name: w.name,
        parameters: w.parameters,
        preserve_case: w.case == Case::Preserve,
    };
    Ok(written.levels.into_iter().map(level).collect())
}

fn read_toolsets(text: &str, levels: &[Level]) -> Result<Vec<Toolset>, ConfigError> {
    let written: Vec<WrittenToolset> =
        serde_json::from_str(text).map_err(|e| mistake("toolsets", e.to_string()))?;
    if written.is_empty() || written.len() > limits::TOOLSETS_MAX {
        let rule = format!("there are 1 to {} toolsets", limits::TOOLSETS_MAX);
        return Err(mistake("toolsets", rule));
    }
    let mut kinds = BTreeSet::new();
    let mut toolsets = Vec::new();
    for (index, toolset) in written.into_iter().enumerate() {
        if !kinds.insert(toolset.kind) {
            let rule = format!("{:?} is configured twice", toolset.kind).to_lowercase();
            return Err(mistake(format!("toolsets[{index}].kind"), rule));
        }
        let mut hide = BTreeMap::new();
        for (name, tools) in toolset.hide {
            let level = levels.iter().position(|level| level.name == name).ok_or_else(|| {
                mistake(format!("toolsets[{index}].hide.{name}"), "there is no such level")
            })?;
            hide.insert(level, tools);
        }
        toolsets.push(Toolset { kind: toolset.kind, hide });
    }
    Ok(toolsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(scope: Option<&str>, toolsets: Option<&str>, expected: &str) {
        let error = Config::parse(scope, toolsets).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn nothing_configured_is_the_default() {
        assert_eq!(Config::parse(None, None), Ok(Config::default()));
    }

    #[test]
    fn reads_levels_and_toolsets() {
        let config = Config::parse(
            Some(r#"{"levels":[{"name":"team","parameters":["team"],"case":"preserve"}]}"#),
            Some(r#"[{"kind":"memory","hide":{"team":["forget"]}}]"#),
        )
        .unwrap();
        assert!(config.levels[0].preserve_case);
        assert!(!config.toolsets[0].hides("forget", 0));
        assert!(config.toolsets[0].hides("forget", 1));
        assert!(!config.toolsets[0].hides("recall", 1));
    }

    #[test]
    fn mistakes_name_the_key_and_the_rule() {
        let level = |l: &str| format!(r#"{{"levels":[{l}]}}"#);
        check(Some("{"), None, "scope: EOF");
        check(Some(r#"{"levels":[]}"#), None, "scope.levels: there are 1 to 4 levels");
        check(Some(&level(r#"{"name":"Org"}"#)), None, "scope.levels[0].name: a name is made of");
        check(
            Some(&level(r#"{"name":"a"},{"name":"a"}"#)),
            None,
            "scope.levels[1].name: a is named twice",
        );
        check(
            Some(&level(r#"{"name":"a","parameters":["x"]},{"name":"b","parameters":["x"]}"#)),
            None,
            "scope.levels[1].parameters: x already means a level",
        );
        check(Some(&level(r#"{"name":"a","colour":1}"#)), None, "unknown field `colour`");
        check(None, Some("[]"), "toolsets: there are 1 to 32 toolsets");
        check(None, Some(r#"[{"kind":"nothing"}]"#), "unknown variant `nothing`");
        check(None, Some(r#"[{"kind":"memory"},{"kind":"memory"}]"#), "memory is configured twice");
        check(
            None,
            Some(r#"[{"kind":"memory","hide":{"planet":["x"]}}]"#),
            "toolsets[0].hide.planet: there is no such level",
        );
    }
}
