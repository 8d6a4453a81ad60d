//! The fence: which part of a user's world a URL opens, its grammar and its order. It must not
//! know users, tools, or where a scope came from.

use crate::{config::Level, limits};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The path all scopes begin with.
pub const ROOT: &str = "/mcp";

/// One step of a scope: 1–100 characters of `[A-Za-z0-9._-]`, first and last alphanumeric, no
/// `..`, in the case its level keeps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Slug(String);

/// Why a text is no slug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlugError {
    /// Nothing there.
    #[error("the {level} must not be empty")]
    Empty {
        /// The level's name.
        level: String,
    },
    /// Too long.
    #[error("the {level} has at most {} characters", limits::SLUG_CHARS_MAX)]
    Long {
        /// The level's name.
        level: String,
    },
    /// A character outside the alphabet.
    #[error(
        "the {level} is made of letters, digits, '.', '_' and '-' only, and is not percent-encoded"
    )]
    Alphabet {
        /// The level's name.
        level: String,
    },
    /// Wrong first or last character.
    #[error("the {level} begins and ends with a letter or a digit")]
    Edge {
        /// The level's name.
        level: String,
    },
    /// Dots in a row.
    #[error("the {level} must not contain '..'")]
    Dots {
        /// The level's name.
        level: String,
    },
}

impl Slug {
    /// Reads a slug of one level.
    ///
    /// # Errors
    /// [`SlugError`] names the rule that the text breaks.
    pub fn parse(text: &str, level: &Level) -> Result<Self, SlugError> {
        let name = || level.name.clone();
        if text.is_empty() {
            return Err(SlugError::Empty { level: name() });
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
            return Err(SlugError::Alphabet { level: name() });
        }
        if text.len() > limits::SLUG_CHARS_MAX {
            return Err(SlugError::Long { level: name() });
        }
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        if !edge(text.bytes().next()) || !edge(text.bytes().next_back()) {
            return Err(SlugError::Edge { level: name() });
        }
        if text.contains("..") {
            return Err(SlugError::Dots { level: name() });
        }
        let text = if level.preserve_case { text.to_owned() } else { text.to_ascii_lowercase() };
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The pinned path: one slug per level, from the widest (none) to the narrowest.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Scope(Vec<Slug>);

/// Why a path is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Not below [`ROOT`], or more segments than there are levels: nothing is there.
    #[error("there is nothing at this path; the endpoint is {ROOT}{}", template(.levels))]
    Unknown {
        /// Names of the levels, widest first.
        levels: Vec<String>,
    },
    /// A segment breaks the grammar.
    #[error(transparent)]
    Slug(#[from] SlugError),
}

fn template(levels: &[String]) -> String {
    levels.iter().rev().fold(String::new(), |inner, level| format!("[/{{{level}}}{inner}]"))
}

impl Scope {
    /// Reads a URL path: `/mcp`, `/mcp/acme`, `/mcp/acme/web`. One trailing slash is allowed.
    ///
    /// # Errors
    /// [`ScopeError::Unknown`] for a path that can never be a scope (HTTP 404),
    /// [`ScopeError::Slug`] for a segment that breaks the grammar (HTTP 400).
    pub fn parse_path(path: &str, levels: &[Level]) -> Result<Self, ScopeError> {
        let unknown =
            || ScopeError::Unknown { levels: levels.iter().map(|l| l.name.clone()).collect() };
        let rest = path.strip_prefix(ROOT).ok_or_else(unknown)?;
        if rest.is_empty() || rest == "/" {
            return Ok(Self::default());
        }
        let rest = rest.strip_prefix('/').ok_or_else(unknown)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let mut slugs = Vec::new();
        for segment in rest.split('/') {
            let level = levels.get(slugs.len()).ok_or_else(unknown)?;
            slugs.push(Slug::parse(segment, level)?);
        }
        Ok(Self(slugs))
    }

    /// Reads the slugs of a scope as an object stores them.
    ///
    /// # Errors
    /// As [`Scope::parse_path`].
    pub fn parse_slugs<'a>(
        slugs: impl IntoIterator<Item = &'a str>,
        levels: &[Level],
    ) -> Result<Self, ScopeError> {
        slugs.into_iter().try_fold(Self::default(), |scope, slug| match levels.get(scope.depth()) {
            Some(level) => Ok(scope.with(Slug::parse(slug, level)?)),
            None => Err(ScopeError::Unknown { levels: Vec::new() }),
        })
    }

    /// How many levels are pinned.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.len()
    }

    /// The pinned slugs, widest first.
    #[must_use]
    pub fn slugs(&self) -> &[Slug] {
        &self.0
    }

    /// The slug of one level, if it is pinned.
    #[must_use]
    pub fn slug(&self, level: usize) -> Option<&Slug> {
        self.0.get(level)
    }

    /// This scope with the next level pinned too.
    #[must_use]
    pub fn with(mut self, slug: Slug) -> Self {
        self.0.push(slug);
        self
    }

    /// Whether everything inside this scope is inside `other` too: the partial order of the
    /// fence. Every scope is within itself.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for Scope {
    /// As the URL path that opens it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ROOT)?;
        self.0.iter().try_for_each(|slug| write!(f, "/{slug}"))
    }
}

// A scope read back from a hop was validated when it was made; reading it again must not need the
// levels. The grammar itself is checked all the same: no level allows anything outside it.
impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let slugs = Vec::<String>::deserialize(deserializer)?;
        if slugs.len() > limits::SCOPE_LEVELS_MAX {
            return Err(serde::de::Error::custom("a scope has too many levels"));
        }
        let any = Level::named("slug").preserving_case();
        slugs
            .iter()
            .map(|slug| Slug::parse(slug, &any).map_err(serde::de::Error::custom))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::default_levels;
    use proptest::prelude::*;

    fn check(path: &str, expected: Result<&str, &str>) {
        let got = Scope::parse_path(path, &default_levels());
        let got = got.as_ref().map(ToString::to_string).map_err(ToString::to_string);
        assert_eq!(got.as_deref().map_err(String::as_str), expected, "{path}");
    }

    #[test]
    fn grammar() {
        let nothing =
            Err("there is nothing at this path; the endpoint is /mcp[/{org}[/{project}]]");
        check("/mcp", Ok("/mcp"));
        check("/mcp/", Ok("/mcp"));
        check("/mcp/acme", Ok("/mcp/acme"));
        check("/mcp/Acme/Web.2", Ok("/mcp/acme/web.2"));
        check("/mcp/acme/web/", Ok("/mcp/acme/web"));
        check("/mcp/acme/web/more", nothing);
        check("/mcpx", nothing);
        check("/", nothing);
        check("", nothing);
        check("/mcp//web", Err("the org must not be empty"));
        check("/mcp/acme//", Err("the project must not be empty"));
        check("/mcp/a..b", Err("the org must not contain '..'"));
        check("/mcp/.a", Err("the org begins and ends with a letter or a digit"));
        check("/mcp/acme/web-", Err("the project begins and ends with a letter or a digit"));
        let alphabet = "the org is made of letters, digits, '.', '_' and '-' only, \
                        and is not percent-encoded";
        check("/mcp/a%2fb", Err(alphabet));
        check("/mcp/a:b", Err(alphabet));
        check("/mcp/ä", Err(alphabet));
        let longest = format!("/mcp/{}", "a".repeat(100));
        check(&longest, Ok(&longest));
        check(&format!("{longest}a"), Err("the org has at most 100 characters"));
    }

    fn scope() -> impl Strategy<Value = Scope> {
        let slug = "[a-z0-9]([a-z0-9._-]{0,6}[a-z0-9])?";
        prop::collection::vec(slug.prop_filter("dots", |s| !s.contains("..")), 0..=2).prop_map(
            |slugs| {
                Scope::parse_slugs(slugs.iter().map(String::as_str), &default_levels()).unwrap()
            },
        )
    }

    proptest! {
        #[test]
        fn parses_what_it_displays(scope in scope()) {
            let parsed = Scope::parse_path(&scope.to_string(), &default_levels()).unwrap();
            prop_assert_eq!(&parsed, &scope);
            let json = serde_json::to_string(&scope).unwrap();
            prop_assert_eq!(serde_json::from_str::<Scope>(&json).unwrap(), scope);
        }

        #[test]
        fn never_panics(path in "\\PC*") {
            let _ = Scope::parse_path(&path, &default_levels());
            let _ = Scope::parse_path(&format!("/mcp/{path}"), &default_levels());
        }

        #[test]
        fn is_within_is_a_partial_order(a in scope(), b in scope(), c in scope()) {
            prop_assert!(a.is_within(&a));
            prop_assert!(a.is_within(&Scope::default()));
            if a.is_within(&b) && b.is_within(&a) { prop_assert_eq!(&a, &b); }
            if a.is_within(&b) && b.is_within(&c) { prop_assert!(a.is_within(&c)); }
        }
    }
}
