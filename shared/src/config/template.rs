//! Texts with the names of levels in them: `https://{org}.example.com/{project}`. Filled in they
//! are an upstream's address; read backwards they find the scope that a URI names. It must not know
//! what either is for.

use super::{Level, web};
use crate::{Scope, scope::Slug};

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// The slug of a level, by its index.
    Level(usize),
}

/// A text with levels in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

impl Template {
    /// Reads `text/{level}`.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(text: &str, levels: &[Level]) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("a '{' has no '}'")?;
            let level = levels.iter().position(|level| level.name == name);
            let level = level.ok_or_else(|| format!("{{{name}}} is no level"))?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            } else if matches!(pieces.last(), Some(Piece::Level(_))) {
                return Err("there is something between two levels".to_owned());
            }
            pieces.push(Piece::Level(level));
            rest = after;
        }
        if rest.contains('}') {
            return Err("a '}' has no '{'".to_owned());
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// Its parts.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// How many levels must be pinned for it to be filled in.
    #[must_use]
    pub fn depth(&self) -> usize {
        let depth = |piece: &Piece| match piece {
            Piece::Text(_) => 0,
            Piece::Level(level) => level.saturating_add(1),
        };
        self.0.iter().map(depth).max().unwrap_or(0)
    }

    /// The text for a scope; `None` where it does not pin enough.
    #[must_use]
    pub fn fill(&self, scope: &Scope) -> Option<String> {
        self.0.iter().try_fold(String::new(), |mut text, piece| {
            text.push_str(match piece {
                Piece::Text(piece) => piece,
                Piece::Level(level) => scope.slug(*level)?.as_str(),
            });
            Some(text)
        })
    }

    /// The slugs that a URI names by this template, with their levels; `None` for one that does
    /// not begin like it. Letters compare without case. Servers differ in how they read what is
    /// not written plainly: where they would read something else, that is named too.
    ///
    /// # Errors
    /// What is wrong with a URI that begins like it: no slug where one must be, or a way out.
    pub fn find(&self, uri: &str, levels: &[Level]) -> Result<Option<Vec<(usize, Slug)>>, String> {
        // A URI has no blanks; what follows one is prose.
        let word = uri.split_whitespace().next().unwrap_or_default();
        let mut found = self.read(word, levels)?;
        if found.is_some() && climbs(word) {
            return Err("it must not have `.` or `..` as a step".to_owned());
        }
        let resolved = match self.0.first() {
            Some(Piece::Text(first)) => web::resolved(uri, first)?,
            Some(Piece::Level(_)) | None => None,
        };
        if let Some(resolved) = resolved.filter(|resolved| resolved != word)
            && let Some(more) = self.read(&resolved, levels)?
        {
            let found = found.get_or_insert_default();
            found.extend(more);
            found.sort_unstable();
            found.dedup();
        }
        Ok(found)
    }

    fn read(&self, uri: &str, levels: &[Level]) -> Result<Option<Vec<(usize, Slug)>>, String> {
        let mut found = Vec::new();
        let mut rest = uri;
        for (n, piece) in self.0.iter().enumerate() {
            match piece {
                Piece::Text(text) => match strip(rest, text) {
                    Some(after) => rest = after,
                    // Only the beginning tells whose it is; it may be about something wider.
                    None if n == 0 => return Ok(None),
                    None => break,
                },
                Piece::Level(index) => {
                    let end = rest.find(['/', '?', '#', ':', '&']).unwrap_or(rest.len());
                    let (slug, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
                    let Some(level) = levels.get(*index) else { break };
                    // What has a blank in it is prose, and nobody's name.
                    if (slug.is_empty() && after.is_empty()) || slug.contains(' ') {
                        break;
                    }
                    let slug = Slug::parse(slug, level).map_err(|error| error.to_string())?;
                    found.push((*index, slug));
                    rest = after;
                }
            }
        }
        Ok(Some(found))
    }
}

/// What follows a beginning, whatever its case.
#[must_use]
pub fn strip<'a>(text: &'a str, beginning: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(beginning.len())?;
    start.eq_ignore_ascii_case(beginning).then_some(rest)
}

/// Whether a step of a URI leads up, however it is written.
#[must_use]
pub fn climbs(uri: &str) -> bool {
    let path = uri.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    // An encoded separator is one to many a server.
    let path = path.replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    path.split(['/', '\\']).any(|step| matches!(step, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::default_levels;

    fn template(text: &str) -> Template {
        Template::parse(text, &default_levels()).unwrap()
    }

    #[test]
    fn it_is_filled_in_where_enough_is_pinned() {
        let levels = default_levels();
        let scope = |path: &str| Scope::parse_path(path, &levels).unwrap();
        let address = template("https://{org}.example.com/a/{project}/mcp");
        assert_eq!(address.depth(), 2);
        assert_eq!(address.fill(&scope("/mcp/acme")), None);
        assert_eq!(
            address.fill(&scope("/mcp/acme/web")).unwrap(),
            "https://acme.example.com/a/web/mcp"
        );
        assert_eq!(template("https://x").depth(), 0);
        for (wrong, rule) in [
            ("{org", "no '}'"),
            ("org}", "no '{'"),
            ("{planet}", "is no level"),
            ("{org}{project}", "between two levels"),
        ] {
            let error = Template::parse(wrong, &levels).unwrap_err();
            assert!(error.contains(rule), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_uri_names_a_scope_or_nothing() {
        let levels = default_levels();
        let found = |uri: &str| {
            let found = template("https://github.com/{org}/{project}").find(uri, &levels);
            found.map(|found| {
                found.map(|slugs| {
                    slugs.iter().map(|(_, slug)| slug.to_string()).collect::<Vec<_>>().join(" ")
                })
            })
        };
        for (uri, expected) in [
            ("https://github.com/acme/web/issues/1", Some("acme web")),
            ("HTTPS://GitHub.com/ACME/Web?x=/y/z", Some("acme web")),
            ("https://github.com/acme", Some("acme")),
            ("https://github.com/acme/", Some("acme")),
            ("https://github.com/", Some("")),
            ("https://github.comevil/acme", None),
            ("https://example.com/acme", None),
            ("", None),
            (" https://github.com/acme is down, see ../x", Some("acme")),
            ("https://github.com/acme/web/issues/1\nuses ../../a", Some("acme web")),
            ("https://github.com/acme is\n/../evil", Some("acme evil")),
            ("https://github.com/acme\nevil", Some("acme acmeevil")),
            ("https://github.com/ac\tme", Some("ac acme")),
            ("\u{1}ht\ntps:\\\\github.com\\acme", Some("acme")),
            ("//u:p@github.com.:443/acme/web", Some("acme web")),
            ("http:github.com/acme", Some("acme")),
            ("https://github.com:8443/acme", None),
            ("https://é.com/acme", None),
            ("https://例え.jp/acme", None),
            ("https: é, see github.com/acme", None),
            ("https: see github.com/acme", None),
        ] {
            assert_eq!(found(uri), Ok(expected.map(ToOwned::to_owned)), "{uri}");
        }
        for uri in [
            "https://github.com/acme/../evil",
            "https://github.com/acme/web/../../evil/x",
            "https://github.com/acme/web/%2e%2E/x",
            "https://github.com/acme/web/.%2e/x",
            "https://github.com/acme/web/..%2fx",
            "https://github.com/acme/web\\..\\x",
            "https://github.com/%61cme/web",
            "https://github.com//web",
            "https://github.com/acme@evil/web",
            "https://github.c%6fm/acme",
            "https://ｇithub.com/acme",
        ] {
            assert!(found(uri).is_err(), "{uri}: {:?}", found(uri));
        }
    }
}
