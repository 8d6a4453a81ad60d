//! Texts with the names of levels in them: `https://{org}.example.com/{project}`. Filled in they
//! are an upstream's address; read backwards they find the scope that a URI names. It must not know
//! what either is for.

use super::{
    Level,
    web::{Form, decoded, seen},
};
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
pub struct Template {
    pieces: Vec<Piece>,
    /// How URIs like it are read.
    form: Form,
    /// Itself as it is written, and as readings are.
    likes: [Like; 2],
}

/// A template, to be compared with URIs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Like {
    path: Vec<Piece>,
    members: Vec<Member>,
}

/// A member of a template's query. Servers find it by its name, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Member {
    name: String,
    value: Vec<Piece>,
}

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
        let form = Form::of(text);
        let written = Like::new(&pieces);
        let mut plain = written.clone();
        for (n, piece) in plain.path.iter_mut().enumerate() {
            if let Piece::Text(text) = piece {
                *text = form.piece(text, n == 0);
            }
        }
        Ok(Self { pieces, form, likes: [written, plain] })
    }

    /// Checks that the levels can be told apart in every URI that is read by it.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn check_readable(&self) -> Result<(), String> {
        let is_slug = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let between = self.pieces.windows(3).filter_map(|pieces| match pieces {
            [Piece::Level(_), Piece::Text(text), Piece::Level(_)] => Some(text),
            _ => None,
        });
        match between.into_iter().find(|text| text.chars().all(is_slug)) {
            None => Ok(()),
            Some(text) => {
                Err(format!("{text:?} between two levels may be a part of either: put a `/` there"))
            }
        }
    }

    /// Its parts.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// How many levels must be pinned for it to be filled in.
    #[must_use]
    pub fn depth(&self) -> usize {
        let depth = |piece: &Piece| match piece {
            Piece::Text(_) => 0,
            Piece::Level(level) => level.saturating_add(1),
        };
        self.pieces.iter().map(depth).max().unwrap_or(0)
    }

    /// The text for a scope; `None` where it does not pin enough.
    #[must_use]
    pub fn fill(&self, scope: &Scope) -> Option<String> {
        self.pieces.iter().try_fold(String::new(), |mut text, piece| {
            text.push_str(match piece {
                Piece::Text(piece) => piece,
                Piece::Level(level) => scope.slug(*level)?.as_str(),
            });
            Some(text)
        })
    }

    /// The slugs that a URI names by this template, with their levels; `None` for one that does
    /// not begin like it. Letters compare without case. Servers differ in how they read what is
    /// not written plainly: what any of them would read is named.
    ///
    /// # Errors
    /// What is wrong with a URI that begins like it: no slug where one must be, or a way out.
    pub fn find(&self, uri: &str, levels: &[Level]) -> Result<Option<Vec<(usize, Slug)>>, String> {
        // A URI has no blanks; what follows one is prose.
        let word = first_word(uri);
        let [written, plain] = &self.likes;
        let mut found = written.read(word, levels)?;
        let texts = [Some(word), (word != uri).then_some(uri)];
        for text in texts.into_iter().flatten() {
            for reading in self.form.readings(text)? {
                if let Some(more) = plain.read(&reading, levels)? {
                    found.get_or_insert_default().extend(more);
                }
            }
        }
        if let Some(found) = &mut found {
            if climbs(word) || climbs(first_word(&seen(uri))) {
                return Err("it must not have `.` or `..` as a step".to_owned());
            }
            found.sort_unstable();
            found.dedup();
        }
        Ok(found)
    }
}

/// The first word of a text, without what ends a part of a sentence. All of a text that is one word.
fn first_word(text: &str) -> &str {
    let word = text.split_whitespace().next().unwrap_or_default();
    match word.len() == text.trim().len() {
        true => word,
        false => word.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', '>', ']', '"', '\'']),
    }
}

/// What ends a slug in a path.
const ENDS: &[char] = &['/', '?', '#', ':', '&'];

impl Like {
    fn new(pieces: &[Piece]) -> Self {
        let mut like = Self { path: Vec::new(), members: Vec::new() };
        let mut is_named = false;
        for piece in pieces {
            match piece {
                Piece::Level(level) => like.put(Piece::Level(*level)),
                Piece::Text(text) => {
                    let (path, mut query) = match like.members.is_empty() {
                        true => {
                            text.split_once('?').map_or((text.as_str(), None), |(path, query)| {
                                like.members.push(Member::default());
                                (path, Some(query))
                            })
                        }
                        false => ("", Some(text.as_str())),
                    };
                    if !path.is_empty() {
                        like.path.push(Piece::Text(path.to_owned()));
                    }
                    while let Some(text) = query {
                        let (member, more) = match text.split_once(SEPARATORS) {
                            Some((member, more)) => (member, Some(more)),
                            None => (text, None),
                        };
                        like.say(member, &mut is_named);
                        if more.is_some() {
                            like.members.push(Member::default());
                            is_named = false;
                        }
                        query = more;
                    }
                }
            }
        }
        like.members.retain(|member| member.value.iter().any(|p| matches!(p, Piece::Level(_))));
        like
    }

    /// Goes on with the last member, or with the path where there is none.
    fn put(&mut self, piece: Piece) {
        match self.members.last_mut() {
            Some(member) => member.value.push(piece),
            None => self.path.push(piece),
        }
    }

    fn say(&mut self, text: &str, is_named: &mut bool) {
        let (name, value) = match (*is_named, text.split_once('=')) {
            (false, Some((name, value))) => (name, value),
            _ => ("", text),
        };
        if !name.is_empty() {
            *is_named = true;
            if let Some(member) = self.members.last_mut() {
                member.name = key(name);
            }
        }
        if !value.is_empty() {
            self.put(Piece::Text(value.to_owned()));
        }
    }

    fn read(&self, uri: &str, levels: &[Level]) -> Result<Option<Vec<(usize, Slug)>>, String> {
        let mut found = Vec::new();
        if !walk(&self.path, uri, ENDS, levels, &mut found)? {
            return Ok(None);
        }
        if !self.members.is_empty() {
            for (name, value) in members(uri) {
                for member in self.members.iter().filter(|member| is_member(&name, &member.name)) {
                    walk(&member.value, &value, &[], levels, &mut found)?;
                }
            }
        }
        Ok(Some(found))
    }
}

/// What separates members of a query, to one reader or another.
const SEPARATORS: &[char] = &['&', ';', '?', '#'];

/// The members of a URI's query, by their names as [`key`] has them, and with plain values.
pub fn members(uri: &str) -> impl Iterator<Item = (String, String)> {
    uri.split(SEPARATORS).skip(1).map(|member| {
        let (name, value) = member.split_once('=').unwrap_or((member, ""));
        (key(name), decoded(value).into_owned())
    })
}

/// The name of a member as servers compare it that are generous: in any case of its letters, and
/// without blanks.
#[must_use]
pub fn key(name: &str) -> String {
    let name = decoded(name).replace("%20", " ");
    let is_blank = |c: char| c == '+' || c.is_whitespace();
    let (own, part) =
        name.split_at_checked(name.find('[').unwrap_or(name.len())).unwrap_or_default();
    let name = format!("{}{}", own.trim_matches(is_blank), part.trim_end_matches(is_blank));
    name.to_lowercase().to_uppercase()
}

/// Whether a member is one of this name, or of a list or an object that has it (`org[]`, `org[x]`).
/// Both are as [`key`] has them.
#[must_use]
pub fn is_member(own: &str, name: &str) -> bool {
    own.strip_prefix(name).is_some_and(|tail| tail.is_empty() || tail.starts_with('['))
}

/// Reads the slugs of a text along some pieces, and says whether it begins like them.
fn walk(
    pieces: &[Piece],
    text: &str,
    ends: &[char],
    levels: &[Level],
    found: &mut Vec<(usize, Slug)>,
) -> Result<bool, String> {
    let mut rest = text;
    let mut left = pieces;
    let mut is_first = true;
    while let Some((piece, after)) = left.split_first() {
        match piece {
            Piece::Text(text) => match strip(rest, text) {
                Some(more) => rest = more,
                // Only the beginning tells whose it is; it may be about something wider.
                None => return Ok(!is_first),
            },
            Piece::Level(index) => {
                let Some(level) = levels.get(*index) else { break };
                let end = rest.find(ends).unwrap_or(rest.len());
                let (whole, more) = rest.split_at_checked(end).unwrap_or((rest, ""));
                // What has a blank in it is prose, and nobody's name.
                if (whole.is_empty() && more.is_empty()) || whole.contains(' ') {
                    break;
                }
                let Some(slug) = before(whole, after, ends) else {
                    return Ok(!found.is_empty());
                };
                rest = rest.get(slug.len()..).unwrap_or_default();
                let slug = Slug::parse(slug, level).map_err(|error| error.to_string())?;
                found.push((*index, slug));
            }
        }
        is_first = false;
        left = after;
    }
    Ok(true)
}

/// What of a step is before the piece that follows in it: in `{org}.x.test`, the name alone.
fn before<'t>(step: &'t str, after: &[Piece], ends: &[char]) -> Option<&'t str> {
    let Some(Piece::Text(next)) = after.first() else {
        return Some(step);
    };
    let end = next.find(ends);
    let tail = next.get(..end.unwrap_or(next.len())).unwrap_or_default();
    // Letters of ASCII are as long in either case.
    let (lower, tail) = (step.to_ascii_lowercase(), tail.to_ascii_lowercase());
    let at = match end.is_some() || after.len() == 1 {
        true => lower.strip_suffix(&tail)?.len(),
        false => lower.find(&tail)?,
    };
    step.get(..at)
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
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    // An encoded separator is one to many a server, and parameters of a step are none of it.
    decoded(path).split(['/', '\\']).any(|step| {
        let step = step.split(';').next().unwrap_or(step);
        matches!(step, "." | "..")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::default_levels;

    fn template(text: &str) -> Template {
        Template::parse(text, &default_levels()).unwrap()
    }

    #[test]
    fn levels_can_be_told_apart() {
        for text in ["https://x.test/{org}-{project}", "https://x.test/{org}.{project}/a"] {
            assert!(template(text).check_readable().is_err(), "{text}");
        }
        for text in ["https://x.test/{org}/{project}", "res:{org}@{project}", "res:{org}.x"] {
            template(text).check_readable().unwrap();
        }
    }

    #[test]
    fn a_member_of_a_list_is_one_of_its_name() {
        let find = |template: &Template, uri: &str| {
            let found = template.find(uri, &default_levels()).unwrap().unwrap_or_default();
            found.into_iter().map(|(_, slug)| slug.as_str().to_owned()).collect::<Vec<_>>()
        };
        let part = template("https://x.test/?filter[org]={org}");
        assert_eq!(find(&part, "https://x.test/?filter[status]=open"), [""; 0]);
        assert_eq!(find(&part, "https://x.test/?filter[ORG]=evil"), ["evil"]);
        assert_eq!(find(&part, "https://x.test/?filter%5Borg%5D[]=evil"), ["evil"]);
        let whole = template("https://x.test/?org={org}");
        assert_eq!(find(&whole, "https://x.test/?+org [0]=evil&org[]=two"), ["evil", "two"]);
    }

    #[test]
    fn what_follows_an_address_in_a_sentence_is_none_of_it() {
        let address = template("https://x.test/{org}");
        for text in
            ["https://x.test/acme, see", "https://x.test/acme. It", "https://x.test/acme) x"]
        {
            let found = address.find(text, &default_levels()).unwrap().unwrap();
            assert_eq!(found.len(), 1, "{text}");
        }
        let climbing = "https://x.test/acme/x\t/.\t./.\t./evil";
        assert!(address.find(climbing, &default_levels()).is_err());
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

    /// What URIs name by a template, in the order of the levels.
    fn named(text: &str, uri: &str) -> Result<Option<String>, String> {
        let found = template(text).find(uri, &default_levels())?;
        Ok(found.map(|found| {
            found.iter().map(|(_, slug)| slug.to_string()).collect::<Vec<_>>().join(" ")
        }))
    }

    #[test]
    fn what_a_template_says_plainly_is_found_however_it_is_written() {
        let steps = "https://x.test/orgs/{org}/projects/{project}";
        for uri in [
            "https://x.test/orgs/evil/projects/p",
            "https://x.test/%6frgs/evil/projects/p",
            "https://x.test/%6Frgs/evil",
            "https://x.test/%256frgs/evil",
            "https://x.test/%25%36frgs/evil",
            "https://x.test//orgs/evil/x",
            "https://x.test/./orgs/evil",
            "https://x.test/orgs//evil",
            "https://x.test/orgs/;/evil",
            "https://x.test/orgs;v=1/evil",
            "https://x.test/;v=1/orgs/evil",
            "https://x.test/orgs%3bv=1/evil",
            "https://x.test/orgs%2fevil",
            "https://x.test/orgs%5cevil",
            "https://x.test\\orgs\\evil",
            "https://x.test/ORGS/evil",
            "https://x.test/org\u{17f}/evil",
            "https://x.test/ｏrgs/evil",
            "https://x.test/or\tgs/evil",
            "https://x.test/or%09gs/evil",
            "https://x.test/or\u{200b}gs/evil",
            "https://x.test/a/../orgs/evil",
            "https://x.test/a/..;/orgs/evil",
            "https://x.test/a%2fb/../orgs/evil",
            "https://x.test/%3f/../orgs/evil",
            "https://X.TEST.:443//orgs/evil",
            "https%3A%2F%2Fx.test%2Forgs%2Fevil",
            "ssh://git@x.test/orgs/evil",
            "git@x.test:orgs/evil",
            "x.test/orgs/evil",
            "X.test:443/orgs/evil",
            "https://x.test/orgs/evil%20",
            "https://x.test/%6frgs/evil%20",
            "https://x.test/%6frgs/evil%20 x",
            "https://x.test/%c1%afrgs/evil",
            "https://x.test/%zzorgs/evil",
        ] {
            // Where it cannot be told that is an error.
            if let Ok(found) = named(steps, uri) {
                assert!(found.is_some_and(|found| found.contains("evil")), "{uri:?}");
            }
        }
        for uri in [
            "https://x.test/orgs/acme/%70rojects/evil",
            "https://x.test/orgs/acme//projects/evil",
            "https://x.test/orgs/acme/projects;v=1/evil",
            "https://x.test/orgs/acme/projects/./evil",
            "https://x.test/orgs/acme/%2570rojects/evil",
            "https://x.test/orgs/acme/projects%2fevil",
        ] {
            if let Ok(found) = named(steps, uri) {
                assert_eq!(found.as_deref(), Some("acme evil"), "{uri}");
            }
        }
        for (uri, expected) in [
            ("https://x.test/docs/100%25?a=5%", None),
            ("https://x.test/docs/%C3%A9", None),
            ("https://x.test/orgs/acme is at 100%, see %zz", Some("acme")),
            ("https://x.test/orgs/acme/wiki/a%2Fb?q=%20x", Some("acme")),
            ("https://x.test/other/../docs", None),
            ("https://x.testy/orgs/evil", None),
            ("not an address", None),
            ("naïve: ünïcödé", None),
            ("note: x.test/orgs/evil", None),
            ("orgs/evil", None),
        ] {
            assert_eq!(named(steps, uri), Ok(expected.map(ToOwned::to_owned)), "{uri}");
        }
    }

    #[test]
    fn members_of_a_query_are_in_no_order_and_all_count() {
        let query = "https://y.test/issues?org={org}&tab=x&at=project:{project}";
        for (uri, expected) in [
            ("https://y.test/issues?org=evil", "evil"),
            ("https://y.test/issues?a=1&org=evil", "evil"),
            ("https://y.test/issues?org=acme&org=evil", "acme evil"),
            ("https://y.test/issues?%6frg=evil", "evil"),
            ("https://y.test/issues?%256frg=%2565vil", "evil"),
            ("https://y.test/issues?ORG=evil", "evil"),
            ("https://y.test/issues?+org=evil", "evil"),
            ("https://y.test/issues?%20org=evil", "evil"),
            ("https://y.test/issues?org[]=evil&org%5B1%5D=acme", "acme evil"),
            ("https://y.test/issues?a=1;org=evil", "evil"),
            ("https://y.test/issues?a=1%26org=evil", "evil"),
            ("https://y.test/issues?a=1#&org=evil", "evil"),
            ("https://y.test/issues#?org=evil", "evil"),
            ("https://y.test/issues%3forg=evil", "evil"),
            ("https://y.test//%69ssues/?org=evil", "evil"),
            ("https://y.test/issues/7?org=evil", "evil"),
            ("y.test/issues?org=evil", "evil"),
            ("https://y.test/issues?at=project:web&org=acme", "acme web"),
            ("https://y.test/issues?at=user:web&org=acme", "acme"),
            ("https://y.test/issues?org=", ""),
            ("https://y.test/issues?organization=evil", ""),
            ("https://y.test/issues", ""),
        ] {
            assert_eq!(named(query, uri), Ok(Some(expected.to_owned())), "{uri}");
        }
        for value in ["acme/evil", "acme%26", "acme,evil", "%20acme", "acme%00"] {
            let uri = format!("https://y.test/issues?org={value}");
            assert!(named(query, &uri).is_err(), "{uri}: {:?}", named(query, &uri));
        }
        assert_eq!(named(query, "https://y.test/other?org=evil"), Ok(None));
    }

    #[test]
    fn a_level_may_be_a_part_of_a_step() {
        for (text, uri, expected) in [
            ("https://{org}.x.test/", "https://evil.x.test/a", Some("evil")),
            ("https://{org}.x.test/", "https://EVIL.X.test.:443/a", Some("evil")),
            ("https://{org}.x.test/", "https://a.evil.x.test/a", Some("a.evil")),
            ("https://{org}.x.test", "https://evil.x.test", Some("evil")),
            ("https://{org}.x.test/", "https://evil.y.test/a", None),
            ("https://{org}.x.test/", "evil", None),
            ("https://{project}.{org}.x.test/", "https://web.evil.x.test/", Some("evil web")),
            ("https://api.{org}.x.test/", "https://api.evil.x.test/", Some("evil")),
            ("https://x.test/#/orgs/{org}", "https://x.test/?a=1#//%6frgs/evil", Some("evil")),
            ("https://x.test/o;org={org}", "https://x.test//o;org=evil", Some("evil")),
            ("https://x.test:8443/{org}", "https://x.test:8443/evil", Some("evil")),
            ("https://x.test/%6frgs//{org}", "https://x.test/orgs/evil", Some("evil")),
            ("git@x.test:{org}/{project}", "git@x.test:evil/web", Some("evil web")),
            ("urn:x:{org}", "URN:%78:evil", Some("evil")),
            ("res://x/{org}", "res://u@%78:1//evil", Some("evil")),
            ("res://x/{org}", "other://x/evil", None),
        ] {
            assert_eq!(named(text, uri), Ok(expected.map(ToOwned::to_owned)), "{text} {uri}");
        }
    }
}
