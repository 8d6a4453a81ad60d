//! What the operator configures: the levels of a scope and the toolsets behind it. Read once,
//! validated at start; every mistake names the key and the rule. It must not know where the
//! values came from, and it holds no secret.
//!
//! # Layout, in reading order
//! - this file: the configuration as values, valid
//! - [`template`]: texts with levels in them
//! - `web`: where a URI leads, however it is written
//! - [`address`]: where an upstream may be
//! - `credential`: what users connect at upstreams, and every rule of it
//! - [`people`]: who lets people in
//! - `written`: the configuration as it is written, and every rule of it

mod address;
mod credential;
pub mod people;
mod template;
mod web;
mod written;

pub use address::{Address, AddressError};
pub use credential::{Client, Credential, Endpoints};
pub use people::People;
pub use template::{Piece, Template, climbs, is_member, key, members, strip};
pub use web::{Form, decoded};
pub use written::Written;

use crate::hop::Options;
use serde::{Deserialize, Serialize};
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

/// The toolsets there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolsetKind {
    /// Durable notes of one context.
    Memory,
    /// What the conformance suite expects; in test builds only.
    Fixture,
    /// A remote MCP server.
    Mcp(Box<Upstream>),
}

/// Tools of the `memory` toolset: whose a tool is must be known before any toolset is asked.
pub const MEMORY_TOOLS: [&str; 4] = ["remember", "recall", "list_memories", "forget"];

impl ToolsetKind {
    /// Its name in the configuration.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Fixture => "fixture",
            Self::Mcp(_) => "mcp",
        }
    }
}

/// A remote MCP server: where it is, what it is told of who calls, and how long it may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Where it is. A level that it names must be pinned for the server to be there.
    pub url: Template,
    /// Its era, where the operator knows it: it is found out otherwise.
    pub era: Option<Era>,
    /// What is sent as `Authorization: Bearer`.
    pub auth: Option<Source>,
    /// Headers besides.
    pub headers: Vec<(String, Source)>,
    /// What is asked whether a user may enter a scope, by the index of the level that it pins last.
    pub verify: BTreeMap<usize, Template>,
    /// How long it may take, and how much it gets.
    pub bounds: Bounds,
}

/// The two ways to talk MCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Era {
    /// Sessions that begin with `initialize`.
    Handshake,
    /// Requests that say everything themselves (2026-07-28).
    Modern,
}

/// Where a value comes from that is sent to an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Written in the configuration: nothing secret.
    Text(String),
    /// A secret binding, by its name.
    Secret(String),
    /// The user's own credential in the vault, by its name.
    Credential(String),
}

/// How long an upstream may take, and how much it gets at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Until it answers where nothing is to be done: when it is met, and for its lists.
    pub connect_ms: u32,
    /// Until it says anything of a call: a message.
    pub first_byte_ms: u32,
    /// Until it has answered a call. Time that the client takes to answer a question is not its.
    pub total_ms: u32,
    /// Calls of one context at once; others wait their turn.
    pub concurrency: u32,
    /// How often a call that may be repeated is, after a failure.
    pub retries: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connect_ms: 5_000,
            first_byte_ms: 60_000,
            total_ms: 10 * 60 * 1000,
            // The platform has six connections at once.
            concurrency: 4,
            retries: 2,
        }
    }
}

/// One configured toolset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolset {
    /// Which family of tools.
    pub kind: ToolsetKind,
    /// What it is called in messages; no other has this name.
    pub name: String,
    /// What its tools and prompts are called after, if anything: `github` for `github_search`.
    pub prefix: Option<String>,
    /// Parameters of its tools that mean a level, besides the level's own, by the level's index.
    pub pins: BTreeMap<usize, Vec<String>>,
    /// URIs and URLs that name levels: in arguments, and of its resources.
    pub uris: Vec<Template>,
    /// Members inside of its arguments that are called like a level and mean none, by their paths:
    /// `contact.org`. Items of lists have no name in them.
    pub free: BTreeSet<String>,
    /// Tools that make no sense once a level is pinned, by the index of that level.
    pub hide: BTreeMap<usize, BTreeSet<String>>,
    /// The only tools that are served, if not all, by their own names.
    pub allow: Option<BTreeSet<String>>,
    /// What tools are like that somebody has looked at, by their own names: their fingerprints.
    pub approved: BTreeMap<String, String>,
}

impl Toolset {
    /// A toolset that hides nothing, named after its kind.
    #[must_use]
    pub fn new(kind: ToolsetKind) -> Self {
        Self {
            name: kind.name().to_owned(),
            kind,
            prefix: None,
            pins: BTreeMap::new(),
            uris: Vec::new(),
            free: BTreeSet::new(),
            hide: BTreeMap::new(),
            allow: None,
            approved: BTreeMap::new(),
        }
    }

    /// Whether a tool, by its own name, is hidden once `depth` levels are pinned.
    #[must_use]
    pub fn hides(&self, tool: &str, depth: usize) -> bool {
        self.hide.range(..depth).any(|(_, tools)| tools.contains(tool))
    }

    /// Whether a tool, by its own name, is served at all.
    #[must_use]
    pub fn allows(&self, tool: &str) -> bool {
        self.allow.as_ref().is_none_or(|allowed| allowed.contains(tool))
    }

    /// A tool's or a prompt's name as clients see it.
    #[must_use]
    pub fn outer(&self, name: &str) -> String {
        match &self.prefix {
            Some(prefix) => format!("{prefix}_{name}"),
            None => name.to_owned(),
        }
    }

    /// A tool's or a prompt's own name; `None` if clients see none of this name here.
    #[must_use]
    pub fn inner<'a>(&self, name: &'a str) -> Option<&'a str> {
        match &self.prefix {
            Some(prefix) => name.strip_prefix(prefix.as_str())?.strip_prefix('_'),
            None => Some(name),
        }
    }

    /// Whether it has names for its tools that nobody here gave it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.prefix.is_none() && self.allow.is_none() && matches!(self.kind, ToolsetKind::Mcp(_))
    }

    /// Whether it may have a tool that clients see under this name.
    fn may_own(&self, name: &str) -> bool {
        let inner = self.inner(name);
        inner.is_some_and(|inner| match self.kind {
            ToolsetKind::Memory => MEMORY_TOOLS.contains(&inner),
            ToolsetKind::Fixture | ToolsetKind::Mcp(_) => self.allows(inner),
        })
    }

    /// The parameters of its tools that mean a level.
    pub fn parameters<'a>(
        &'a self,
        index: usize,
        level: &'a Level,
    ) -> impl Iterator<Item = &'a str> {
        let own = self.pins.get(&index).into_iter().flatten();
        level.parameters.iter().chain(own).map(String::as_str)
    }
}

/// The whole configuration, valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Levels of a scope, widest first.
    pub levels: Vec<Level>,
    /// Toolsets, in the order in which their tools are listed.
    pub toolsets: Vec<Toolset>,
    /// Credentials of users that toolsets name, configured or found out.
    pub credentials: Vec<Credential>,
    /// Whether this is somebody's own machine: upstreams may be on private addresses, without TLS.
    pub is_development: bool,
    /// Who lets people in.
    pub people: People,
}

impl Default for Config {
    /// Organization and project, and the memory toolset.
    fn default() -> Self {
        let toolsets = vec![Toolset::new(ToolsetKind::Memory)];
        Self {
            levels: default_levels(),
            toolsets,
            credentials: Vec::new(),
            is_development: false,
            people: People::default(),
        }
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

impl Config {
    /// A credential by its name.
    #[must_use]
    pub fn credential(&self, name: &str) -> Option<&Credential> {
        self.credentials.iter().find(|credential| credential.name == name)
    }

    /// The toolsets that send a credential, by name.
    #[must_use]
    pub fn toolsets_with(&self, credential: &str) -> Vec<String> {
        let needing = self.toolsets.iter().filter(|toolset| credential::needs(toolset, credential));
        needing.map(|toolset| toolset.name.clone()).collect()
    }

    /// The secrets that upstreams, authorization servers and logins need, each with the key that
    /// names it.
    pub fn secrets(&self) -> impl Iterator<Item = (String, String)> {
        let clients = self.credentials.iter().enumerate().filter_map(|(index, credential)| {
            let secret = credential.client.as_ref()?.secret.clone()?;
            Some((format!("credentials[{index}].client_secret"), secret))
        });
        let of_toolsets = self.toolsets.iter().enumerate().flat_map(|(index, toolset)| {
            let ToolsetKind::Mcp(upstream) = &toolset.kind else {
                return Vec::new();
            };
            let auth = upstream.auth.iter().map(|source| ("auth".to_owned(), source));
            let headers = upstream.headers.iter();
            let headers = headers.map(|(name, source)| (format!("headers.{name}"), source));
            let named = |(field, source): (String, &'_ Source)| match source {
                Source::Secret(name) => Some((format!("toolsets[{index}].{field}"), name.clone())),
                Source::Text(_) | Source::Credential(_) => None,
            };
            auth.chain(headers).filter_map(named).collect()
        });
        clients.chain(of_toolsets).chain(self.people.secrets())
    }

    /// The toolset that a tool of this name belongs to, as clients see the name, if that can be
    /// known without asking: its parameters are the ones that count. Those that a request excludes
    /// own nothing in it.
    #[must_use]
    pub fn owner(&self, tool: &str, options: &Options) -> Option<&Toolset> {
        let named = |toolset: &&Toolset| toolset.prefix.is_some() && toolset.may_own(tool);
        let fixed = |toolset: &&Toolset| {
            toolset.prefix.is_none()
                && (toolset.kind == ToolsetKind::Memory || toolset.allow.is_some())
                && toolset.may_own(tool)
        };
        let open = |toolset: &&Toolset| {
            toolset.prefix.is_none() && toolset.allow.is_none() && toolset.may_own(tool)
        };
        let left = |toolset: &&Toolset| options.leave_toolset(&toolset.name);
        let all = || self.toolsets.iter().filter(left);
        all().find(named).or_else(|| all().find(fixed)).or_else(|| all().find(open))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(scope: Option<&str>, toolsets: Option<&str>) -> Result<Config, ConfigError> {
        Config::parse(Written { scope, toolsets, ..Written::default() })
    }

    fn check(scope: Option<&str>, toolsets: Option<&str>, expected: &str) {
        let error = parse(scope, toolsets).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn nothing_configured_is_the_default() {
        assert_eq!(parse(None, None), Ok(Config::default()));
    }

    #[test]
    fn reads_levels_and_toolsets() {
        let config = parse(
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
    fn reads_an_upstream() {
        let toolsets = r#"[{"kind":"mcp","name":"github","prefix":"gh","url":"https://mcp.test/{org}/mcp",
                "auth":{"secret":"TOKEN"},"headers":{"X-Api":"1","X-Key":{"credential":"k"}},
                "pins":{"org":["owner"],"project":["repo"]},"allow":["get_issue"],
                "uris":["https://github.com/{org}/{project}"],
                "verify":{"org":"https://api.test/{org}"},"bounds":{"concurrency":2}}]"#;
        let credentials = r#"[{"name":"k","resource":"https://mcp.test/"}]"#;
        let config = Config::parse(Written {
            toolsets: Some(toolsets),
            credentials: Some(credentials),
            ..Written::default()
        })
        .unwrap();
        let github = &config.toolsets[0];
        let ToolsetKind::Mcp(upstream) = &github.kind else { panic!("{github:?}") };
        assert_eq!(upstream.auth, Some(Source::Secret("TOKEN".to_owned())));
        assert_eq!(upstream.bounds, Bounds { concurrency: 2, ..Bounds::default() });
        assert_eq!(github.outer("get_issue"), "gh_get_issue");
        assert_eq!(github.inner("gh_get_issue"), Some("get_issue"));
        assert_eq!(github.inner("get_issue"), None);
        assert!(github.allows("get_issue") && !github.allows("list_issues"));
        let parameters: Vec<_> = github.parameters(1, &config.levels[1]).collect();
        assert_eq!(parameters, ["projectSlug", "project_slug", "projectSlugOrId", "repo"]);
        let all = Options::default();
        assert_eq!(config.owner("gh_get_issue", &all).map(|t| t.name.as_str()), Some("github"));
        assert_eq!(config.owner("gh_other", &all), None);
    }

    #[test]
    fn a_tool_is_owned_by_whom_its_name_says() {
        let toolsets = r#"[
            {"kind":"mcp","name":"open","url":"https://a.test/"},
            {"kind":"mcp","name":"few","url":"https://b.test/","allow":["search"]},
            {"kind":"mcp","name":"named","url":"https://c.test/","prefix":"c"},
            {"kind":"memory"}]"#;
        let config = parse(None, Some(toolsets)).unwrap();
        let all = Options::default();
        let owner = |tool: &str| config.owner(tool, &all).map(|toolset| toolset.name.as_str());
        assert_eq!(owner("anything"), Some("open"));
        assert_eq!(owner("search"), Some("few"));
        assert_eq!(owner("c_search"), Some("named"));
        assert_eq!(owner("recall"), Some("memory"));
        let some = Options { toolsets: Some(["open".to_owned()].into()), ..Options::default() };
        let owner = |tool: &str| config.owner(tool, &some).map(|toolset| toolset.name.as_str());
        assert_eq!((owner("search"), owner("recall")), (Some("open"), Some("open")));
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
        check(None, Some(r#"[{"kind":"memory","url":"x"}]"#), "toolsets[0].url: a toolset of kind");
        let approved = r#"[{"kind":"memory","approved":{"recall":"0123456789abcdef"}}]"#;
        check(None, Some(approved), "toolsets[0].approved: a toolset of kind");
        let development = Written { development: Some("yes"), ..Written::default() };
        assert_eq!(Config::parse(development).unwrap_err().key, "DEVELOPMENT");
    }

    #[test]
    fn mistakes_of_an_upstream_name_the_key_and_the_rule() {
        let upstream = |more: &str| {
            format!(r#"[{{"kind":"mcp","name":"a","url":"https://a.test/mcp"{more}}}]"#)
        };
        for (more, expected) in [
            (r#","prefix":"a b""#, "[0].prefix: a prefix has"),
            (r#","prefix":"a_""#, "[0].prefix: a prefix has"),
            (r#","auth":"abc""#, "[0].auth: a token is a secret"),
            (r#","auth":{"secret":"x"}"#, "[0].auth: a secret's name"),
            (r#","auth":{"secret":"API_KEYS"}"#, "[0].auth: API_KEYS is a variable"),
            (r#","auth":{"credential":"X"}"#, "[0].auth: a name is made of"),
            (r#","auth":{"token":"X"}"#, "toolsets: a text, { secret"),
            (r#","headers":{"Authorization":"x"}"#, "headers.Authorization: write it as `auth`"),
            (r#","headers":{"Mcp-Session-Id":"x"}"#, "headers.Mcp-Session-Id: this header is"),
            (r#","headers":{"x y":"x"}"#, "headers.x y: a header's name"),
            (r#","headers":{"x":"a\nb"}"#, "headers.x: it has characters"),
            (r#","pins":{"org":["project_slug"]}"#, "pins.org: project_slug already means"),
            (r#","pins":{"org":["o"],"project":["o"]}"#, "pins.project: o already means"),
            (r#","pins":{"planet":["o"]}"#, "pins.planet: there is no such level"),
            (r#","uris":["{org}"]"#, "uris[0]: it begins with a scheme"),
            (r#","uris":["https://x.test/"]"#, "uris[0]: it begins with a scheme"),
            (r#","free":["org"]"#, "free: org is no member inside of an argument"),
            (r#","verify":{"org":"https://x.test/{project}"}"#, "verify.org: it names a level"),
            (r#","bounds":{"concurrency":0}"#, "bounds.concurrency: it is 1 to 64"),
            (r#","approved":{"echo":"yes"}"#, "approved.echo: a fingerprint is what"),
            // What no tool could ever be.
            (r#","approved":{"echo":"0123456789abcdef"}"#, "prints: 32 characters of 0-9 and a-f"),
            (
                r#","allow":["x"],"approved":{"echo":"0123456789abcdef0123456789abcdef"}"#,
                "approved.echo: it is not among",
            ),
            (r#","bounds":{"speed":0}"#, "unknown field `speed`"),
        ] {
            check(None, Some(&upstream(more)), expected);
        }
        for (url, expected) in [
            ("http://a.test/", "[0].url: an upstream is asked over https"),
            ("https://10.0.0.1/", "[0].url: private addresses"),
            ("https://{org}/", "[0].url: a host ends in a domain"),
            ("https://a.{org}/", "[0].url: a host ends in a domain"),
            ("https://a{org}.com/", "[0].url: a host ends in a domain"),
            ("https://a.test/{planet}", "[0].url: {planet} is no level"),
        ] {
            let toolsets = format!(r#"[{{"kind":"mcp","url":"{url}"}}]"#);
            check(None, Some(&toolsets), expected);
        }
        check(None, Some(r#"[{"kind":"mcp"}]"#), "[0].url: a toolset of kind mcp needs one");
        let two = |one: &str, other: &str| {
            format!(
                r#"[{{"kind":"mcp","name":"a","url":"https://a.test/"{one}}},
                {{"kind":"mcp","name":"b","url":"https://b.test/"{other}}}]"#
            )
        };
        for (one, other, expected) in [
            (r#","prefix":"x""#, r#","prefix":"x""#, "[1].prefix: it cannot be told"),
            (r#","prefix":"x""#, r#","prefix":"x_y""#, "[1].prefix: it cannot be told"),
            (r#","allow":["s"]"#, r#","allow":["s"]"#, "[1].prefix: s would be a tool of a too"),
            (r#","pins":{"org":["o"]}"#, "", "[1].prefix: a has no prefix either"),
            ("", r#","name":"a""#, "duplicate field"),
        ] {
            check(None, Some(&two(one, other)), expected);
        }
        assert!(parse(None, Some(&two("", ""))).is_ok());
        let forget = r#"[{"kind":"memory"},
            {"kind":"mcp","url":"https://a.test/","allow":["forget"]}]"#;
        check(None, Some(forget), "[1].prefix: forget would be a tool of memory too");
    }
}
