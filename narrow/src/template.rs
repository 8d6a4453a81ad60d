//! Templates of resources (RFC 6570): with some variables filled in, and read backwards, as far as
//! it must be known what a URI says for those. It must not know which variables are fixed, nor why.

use shared::{
    config::{Form, is_member, key, members, strip},
    limits,
};
use std::{borrow::Cow, collections::BTreeSet};

/// One part of a template.
#[derive(Debug, PartialEq)]
enum Part<'a> {
    Text(Cow<'a, str>),
    /// `{?a,b}`: an operator, if there is one, and variables as they are written.
    Variables(Option<char>, Vec<&'a str>),
}

impl<'a> Part<'a> {
    /// The names of its variables.
    fn names<'s>(&'s self) -> impl Iterator<Item = &'a str> + use<'s, 'a> {
        let variables: &[&str] = match self {
            Self::Variables(_, variables) => variables,
            Self::Text(_) => &[],
        };
        variables.iter().map(|variable| name(variable))
    }
}

/// The parts of a template; `None` for a text that is none.
fn parts(template: &str) -> Option<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (expression, after) = after.split_once('}')?;
        if !before.is_empty() {
            parts.push(Part::Text(before.into()));
        }
        let operator = expression.chars().next().filter(|c| "+#./;?&".contains(*c));
        let variables = expression.trim_start_matches(|c| Some(c) == operator);
        parts.push(Part::Variables(operator, variables.split(',').collect()));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.into()));
    }
    Some(parts)
}

/// The name of a variable, without what says how much of it is meant.
fn name(variable: &str) -> &str {
    variable.split([':', '*']).next().unwrap_or(variable)
}

/// The variables of a template.
pub fn variables(template: &str) -> Vec<&str> {
    parts(template).unwrap_or_default().iter().flat_map(Part::names).collect()
}

/// A template with some variables filled in. Their values need no encoding.
pub fn filled<'v>(template: &str, value: &dyn Fn(&str) -> Option<&'v str>) -> String {
    let Some(parts) = parts(template) else {
        return template.to_owned();
    };
    parts.into_iter().fold(String::new(), |text, part| match part {
        Part::Text(part) => text + part.as_ref(),
        Part::Variables(operator, mut variables) => {
            if variables.iter().all(|variable| value(name(variable)).is_none()) {
                let operator = operator.map(String::from).unwrap_or_default();
                return text + &format!("{{{operator}{}}}", variables.join(","));
            }
            // Members of a query are in no order, and what is known begins it.
            if operator == Some('?') {
                let (known, unknown): (Vec<_>, Vec<_>) =
                    variables.into_iter().partition(|variable| value(name(variable)).is_some());
                variables = [known, unknown].concat();
            }
            let written = variables.iter().enumerate().map(|(n, variable)| {
                let name = name(variable);
                let before = before(operator, n);
                let is_named = matches!(operator, Some(';' | '?' | '&'));
                match value(name) {
                    Some(value) if is_named => format!("{before}{name}={value}"),
                    Some(value) => format!("{before}{value}"),
                    None => match operator {
                        // These begin themselves.
                        Some(own @ ('.' | '/' | ';' | '&')) => format!("{{{own}{variable}}}"),
                        Some('?') if n == 0 => format!("{{?{variable}}}"),
                        Some('?') => format!("{{&{variable}}}"),
                        Some(_) => format!("{before}{{+{variable}}}"),
                        None => format!("{before}{{{variable}}}"),
                    },
                }
            });
            text + &written.collect::<String>()
        }
    })
}

/// What a URI says for some variables of a template, with an empty text where it says nothing, as
/// it is written and as anybody reads it; nothing for one that does not begin like the template.
///
/// # Errors
/// That it may be one of the template's, and cannot be compared.
pub fn said<'t>(
    template: &'t str,
    uri: &str,
    is_wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<(&'t str, String)>, String> {
    let Some(mut parts) = parts(template) else {
        return Ok(Vec::new());
    };
    if !parts.iter().flat_map(Part::names).any(is_wanted) {
        return Ok(Vec::new());
    }
    if uri.len() > limits::URI_BYTES_MAX {
        return Err(format!("a URI has at most {} bytes", limits::URI_BYTES_MAX));
    }
    let mut all = along(&parts, uri, is_wanted).unwrap_or_default();
    all.extend(matched(&parts, uri, is_wanted)?);
    let form = Form::of(template);
    for (n, part) in parts.iter_mut().enumerate() {
        if let Part::Text(text) = part {
            *text = form.piece(text, n == 0).into();
        }
    }
    for reading in form.readings(uri)? {
        all.extend(along(&parts, &reading, is_wanted).unwrap_or_default());
        all.extend(matched(&parts, &reading, is_wanted)?);
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// What one reading of a URI says along the parts of a template.
fn along<'t>(
    parts: &[Part<'t>],
    uri: &str,
    is_wanted: &dyn Fn(&str) -> bool,
) -> Option<Vec<(&'t str, String)>> {
    let begins = matches!(parts.first(), Some(Part::Text(_)));
    let path_end = uri.find('?').unwrap_or(uri.len());
    let (rest, query) = uri.split_at_checked(path_end)?;
    let mut reading = Reading { rest, query, is_wanted, found: Vec::new() };
    let mut left = parts;
    while let Some((part, after)) = left.split_first() {
        match reading.part(part, after)? {
            Read::On => left = after,
            // It is about something wider.
            Read::Other => return (begins && !reading.found.is_empty()).then_some(reading.found),
            Read::Anything => return Some(reading.found),
            Read::Members => break,
        }
    }
    match reading.members(left) {
        Read::Other => (begins && !reading.found.is_empty()).then_some(reading.found),
        _ => Some(reading.found),
    }
}

/// A step of a pattern that a URI matches as a whole.
enum Atom<'p, 't> {
    Text(&'p str),
    /// A variable, by its name, and what is written before it: a step, or all the rest too.
    Value(&'t str, &'p str, bool),
    /// What a template's query is compared with elsewhere.
    Query,
}

/// The pattern that servers make of a template, and which parts may be left out: a variable is
/// `[^/]+`, or anything after `+` and `#`.
fn atoms<'p, 't>(parts: &'p [Part<'t>]) -> Vec<(Atom<'p, 't>, bool)> {
    let mut atoms = Vec::new();
    for part in parts {
        match part {
            Part::Text(text) if text.contains('?') => {
                atoms.push((Atom::Text(text.split('?').next().unwrap_or_default()), false));
                atoms.push((Atom::Query, false));
                break;
            }
            Part::Text(text) => atoms.push((Atom::Text(text), false)),
            Part::Variables(Some(';' | '?' | '&'), _) => {
                atoms.push((Atom::Query, false));
                break;
            }
            Part::Variables(operator, variables) => {
                for (n, variable) in variables.iter().enumerate() {
                    let before = before(*operator, n);
                    let is_rest = matches!(operator, Some('+' | '#'));
                    let value = Atom::Value(name(variable), before, is_rest);
                    atoms.push((value, !before.is_empty()));
                }
            }
        }
    }
    atoms
}

/// What a URI says where a server matches all of it with the template, in every way in which that may
/// come out: matchers differ in how much a variable takes.
///
/// # Errors
/// That there are too many ways.
fn matched<'t>(
    parts: &[Part<'t>],
    uri: &str,
    is_wanted: &dyn Fn(&str) -> bool,
) -> Result<BTreeSet<(&'t str, String)>, String> {
    let atoms = atoms(parts);
    let has = |mark: char| {
        parts.iter().any(|part| match part {
            Part::Text(text) => text.contains(mark),
            Part::Variables(operator, _) => *operator == Some(mark),
        })
    };
    // Where the template has no such mark it is a letter like any other.
    let marks = ['?', '#'].map(|mark| has(mark).then_some(mark));
    let mut found = BTreeSet::new();
    let cut = |mark| uri.split(mark).next().unwrap_or(uri);
    let mut texts = vec![uri, cut('?'), cut('#')];
    texts.dedup();
    for text in texts {
        let matcher = Matcher { text, marks };
        let ends = matcher.ends(&atoms);
        let mut begins = matcher.none();
        begins.iter_mut().take(1).for_each(|first| *first = true);
        for ((atom, may_lack), end) in atoms.iter().zip(&ends) {
            if let Atom::Value(name, before, is_rest) = atom
                && is_wanted(name)
            {
                let begins = matcher.after(&Atom::Text(before), &begins, false);
                let mut tries = 0_usize;
                matcher.values(&begins, end, *is_rest, |value| {
                    tries = tries.saturating_add(1);
                    // What follows such a mark is no part of a name, only of what is asked of it.
                    let value = value.split(['?', '#']).next().unwrap_or(value);
                    found.insert((*name, value.to_owned()));
                    tries <= limits::URI_READINGS_MAX
                });
                if tries > limits::URI_READINGS_MAX {
                    return Err("it can be read in too many ways".to_owned());
                }
            }
            begins = matcher.after(atom, &begins, *may_lack);
        }
    }
    Ok(found)
}

/// A text that is matched. Places in it are marked, one for each byte and one for the end.
struct Matcher<'u> {
    text: &'u str,
    /// What ends a value, besides a slash.
    marks: [Option<char>; 2],
}

impl Matcher<'_> {
    fn none(&self) -> Vec<bool> {
        vec![false; self.text.len().saturating_add(1)]
    }

    /// Where each atom must end so that those behind it fit to the end of the text.
    fn ends(&self, atoms: &[(Atom<'_, '_>, bool)]) -> Vec<Vec<bool>> {
        let mut behind = self.none();
        behind.iter_mut().rev().take(1).for_each(|last| *last = true);
        let mut ends = Vec::with_capacity(atoms.len());
        for (atom, may_lack) in atoms.iter().rev() {
            let before = self.before(atom, &behind, *may_lack);
            ends.push(std::mem::replace(&mut behind, before));
        }
        ends.reverse();
        ends
    }

    fn is_end(&self, byte: u8) -> bool {
        byte == b'/' || self.marks.iter().flatten().any(|mark| char::from(byte) == *mark)
    }

    fn is_text(&self, at: usize, text: &str) -> bool {
        self.text.get(at..).is_some_and(|rest| strip(rest, text).is_some())
    }

    fn is_query(&self, at: usize) -> bool {
        let rest = self.text.get(at..).unwrap_or_default();
        rest.is_empty() || rest.starts_with(['?', '&', ';', '#'])
    }

    /// Where the text may be once an atom was read from one of these places.
    fn after(&self, atom: &Atom<'_, '_>, begins: &[bool], may_lack: bool) -> Vec<bool> {
        let mut all = if may_lack { begins.to_vec() } else { self.none() };
        let mut mark = |at: usize| {
            if let Some(place) = all.get_mut(at) {
                *place = true;
            }
        };
        let places = begins.iter().enumerate().filter_map(|(at, is_one)| is_one.then_some(at));
        match atom {
            Atom::Text(text) => {
                let fit = places.filter(|at| self.is_text(*at, text));
                fit.for_each(|at| mark(at.saturating_add(text.len())));
            }
            Atom::Query => {
                if places.into_iter().any(|at| self.is_query(at)) {
                    mark(self.text.len());
                }
            }
            Atom::Value(_, before, is_rest) => {
                let begins = self.after(&Atom::Text(before), begins, false);
                let mut is_open = false;
                for (at, (byte, begins)) in self.text.bytes().zip(&begins).enumerate() {
                    is_open = (is_open || *begins) && (*is_rest || !self.is_end(byte));
                    if is_open {
                        mark(at.saturating_add(1));
                    }
                }
            }
        }
        all
    }

    /// Where the text may be so that an atom is read up to one of these places.
    fn before(&self, atom: &Atom<'_, '_>, ends: &[bool], may_lack: bool) -> Vec<bool> {
        let mut all = if may_lack { ends.to_vec() } else { self.none() };
        let is_end = |at: usize| ends.get(at).copied().unwrap_or(false);
        match atom {
            Atom::Text(text) => {
                for (at, place) in all.iter_mut().enumerate() {
                    *place |= is_end(at.saturating_add(text.len())) && self.is_text(at, text);
                }
            }
            Atom::Query => {
                for (at, place) in all.iter_mut().enumerate() {
                    *place |= is_end(self.text.len()) && self.is_query(at);
                }
            }
            Atom::Value(_, before, is_rest) => {
                let mut opens = self.none();
                let mut is_open = false;
                for (at, byte) in self.text.bytes().enumerate().rev() {
                    is_open |= is_end(at.saturating_add(1));
                    is_open &= *is_rest || !self.is_end(byte);
                    if let Some(place) = opens.get_mut(at) {
                        *place = is_open;
                    }
                }
                let begins = self.before(&Atom::Text(before), &opens, false);
                all.iter_mut().zip(begins).for_each(|(place, begins)| *place |= begins);
            }
        }
        all
    }

    /// The values that a variable may have between these places, as long as they are taken.
    fn values(
        &self,
        begins: &[bool],
        ends: &[bool],
        is_rest: bool,
        mut take: impl FnMut(&str) -> bool,
    ) {
        let places = |marks: &[bool]| -> Vec<usize> {
            marks.iter().enumerate().filter_map(|(at, is_one)| is_one.then_some(at)).collect()
        };
        // Each pair that is looked at is a value that is taken: who takes them bounds the work.
        let ends = places(ends);
        let mut left = ends.as_slice();
        let mut limit = 0;
        for begin in places(begins) {
            let behind = left.partition_point(|end| *end <= begin);
            left = left.get(behind..).unwrap_or_default();
            if left.is_empty() {
                return;
            }
            if limit <= begin {
                let rest = self.text.get(begin..).unwrap_or_default();
                let step = rest.bytes().position(|byte| !is_rest && self.is_end(byte));
                limit = begin.saturating_add(step.unwrap_or(rest.len()));
            }
            for end in left.iter().take_while(|end| **end <= limit) {
                if self.text.get(begin..*end).is_some_and(|value| !take(value)) {
                    return;
                }
            }
        }
    }
}

/// Whether a URI may be one of a template's, as generous readers have it: the bytes of the template
/// that are no variable. `None` also for a template that says not even the scheme.
pub fn likeness(template: &str, uri: &str) -> Option<usize> {
    let parts = parts(template)?;
    let mut texts = Vec::new();
    let mut is_open = false;
    for part in &parts {
        match part {
            Part::Variables(..) => is_open = true,
            Part::Text(text) => {
                // Members of a query are in no order.
                let (path, has_query) =
                    text.split_once('?').map_or((&**text, false), |t| (t.0, true));
                is_open = has_query;
                texts.push(path);
                if has_query {
                    break;
                }
            }
        }
    }
    let begins = matches!(parts.first(), Some(Part::Text(text)) if text.contains(':'));
    let (first, between) = texts.split_first().filter(|_| begins)?;
    let mut rest = strip(uri, first)?.to_ascii_lowercase();
    for (n, text) in between.iter().enumerate() {
        let text = text.to_ascii_lowercase();
        let is_end = !is_open && n.saturating_add(1) == between.len();
        let at = if is_end { rest.strip_suffix(&text)?.len() } else { rest.find(&text)? };
        rest = rest.get(at.saturating_add(text.len())..)?.to_owned();
    }
    (is_open || rest.is_empty()).then(|| texts.iter().map(|text| text.len()).sum())
}

/// How a URI goes on, compared with its template.
enum Read {
    /// Like it.
    On,
    /// In another way.
    Other,
    /// Like anything: what is behind cannot be told.
    Anything,
    /// With named members, which are in no order.
    Members,
}

/// A URI that is read along a template.
struct Reading<'t, 'u> {
    /// What is left of it before the query.
    rest: &'u str,
    query: &'u str,
    is_wanted: &'u dyn Fn(&str) -> bool,
    found: Vec<(&'t str, String)>,
}

impl<'t, 'u> Reading<'t, 'u> {
    /// Reads one part; `None` only for a split inside a character, which there is not.
    fn part(&mut self, part: &Part<'t>, after: &[Part<'t>]) -> Option<Read> {
        match part {
            Part::Text(text) if text.contains('?') => return Some(Read::Members),
            Part::Variables(Some(';' | '?' | '&'), _) => return Some(Read::Members),
            Part::Text(text) => match strip(self.rest, text) {
                Some(more) => self.rest = more,
                None => return Some(Read::Other),
            },
            Part::Variables(operator, variables) => {
                for (n, variable) in variables.iter().enumerate() {
                    let name = name(variable);
                    let Some(value) = self.rest.strip_prefix(before(*operator, n)) else {
                        self.find(name, "");
                        continue;
                    };
                    if matches!(operator, Some('+' | '#')) && !(self.is_wanted)(name) {
                        let left = variables.iter().skip(n).map(|variable| self::name(variable));
                        let mut behind = left.chain(after.iter().flat_map(Part::names));
                        let unknown = behind.find(|name| (self.is_wanted)(name));
                        unknown.into_iter().for_each(|name| self.find(name, value));
                        return Some(Read::Anything);
                    }
                    let next = match after.first() {
                        Some(Part::Text(text)) => text.chars().next(),
                        _ => None,
                    };
                    let ends =
                        |c: char| matches!(c, '/' | '\\' | '?' | '#' | ',') || Some(c) == next;
                    let end = value.find(ends).unwrap_or(value.len());
                    let (value, more) = value.split_at_checked(end)?;
                    self.find(name, value);
                    self.rest = more;
                }
            }
        }
        Some(Read::On)
    }

    /// Reads the rest of a template, whose variables are members with a name each.
    fn members(&mut self, parts: &[Part<'t>]) -> Read {
        let mut named = "";
        for part in parts {
            match part {
                Part::Text(text) => {
                    let last = text.rsplit(['?', '&', ';']).next().unwrap_or_default();
                    named = last.split('=').next().unwrap_or_default();
                    // What is before the query belongs to the path.
                    let path = text.split('?').next().unwrap_or_default();
                    if text.contains('?') && strip(self.rest, path).is_none() {
                        return Read::Other;
                    }
                }
                Part::Variables(operator, variables) => {
                    for name in variables.iter().map(|variable| name(variable)) {
                        self.member(name, if operator.is_some() { name } else { named });
                    }
                }
            }
        }
        Read::On
    }

    /// Finds the values of a member, wherever it is.
    fn member(&mut self, name: &'t str, named: &str) {
        let named = key(named);
        let text = format!("{}{}", self.rest, self.query);
        let values: Vec<String> = members(&text)
            .filter_map(|(own, value)| is_member(&own, &named).then_some(value))
            .collect();
        values.iter().for_each(|value| self.find(name, value));
        let is_whole = self.rest.is_empty() || self.rest.starts_with([';', '#']);
        if values.is_empty() && is_whole {
            self.find(name, "");
        }
    }

    fn find(&mut self, name: &'t str, value: &str) {
        if (self.is_wanted)(name) {
            self.found.push((name, value.to_owned()));
        }
    }
}

/// What is written before a variable of an expression, by its place in it.
fn before(operator: Option<char>, n: usize) -> &'static str {
    match (operator, n) {
        (Some('.'), _) => ".",
        (Some('/'), _) => "/",
        (Some(';'), _) => ";",
        (Some('#'), 0) => "#",
        (Some('?'), 0) => "?",
        (Some('?' | '&'), _) => "&",
        (_, 0) => "",
        _ => ",",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fixed_is_filled_in() {
        let value = |name: &str| (name == "owner").then_some("acme");
        for (template, expected) in [
            ("repo://{owner}/{repo}/{+path}", "repo://acme/{repo}/{+path}"),
            ("x:{+owner}", "x:acme"),
            ("x:{owner,repo}", "x:acme,{repo}"),
            ("x:{repo,owner}", "x:{repo},acme"),
            ("x{#owner,repo}", "x#acme,{+repo}"),
            ("x{/repo,owner}", "x{/repo}/acme"),
            ("x{.owner}", "x.acme"),
            ("x{;owner,n}", "x;owner=acme{;n}"),
            ("x{?text*,owner:3}", "x?owner=acme{&text*}"),
            ("x?a=1{&owner}", "x?a=1&owner=acme"),
            ("x{?a,b}{/c*}", "x{?a,b}{/c*}"),
            ("x{owner", "x{owner"),
        ] {
            assert_eq!(filled(template, &value), expected, "{template}");
        }
        assert_eq!(variables("x{?a*,b:3}/{c}"), ["a", "b", "c"]);
    }

    #[test]
    fn a_uri_is_like_a_template_or_not() {
        for (template, uri, expected) in [
            ("repo://{owner}/{x}", "repo://acme/x", Some(8)),
            ("repo://{owner}/{x}", "REPO://acme/x/y", Some(8)),
            ("repo://{owner}/{x}", "repo://acme", None),
            ("repo://{owner}/{x}/n/{n}", "repo://acme/x/N/3", Some(11)),
            ("repo://{owner}/{x}/n/{n}", "repo://acme/x/m/3", None),
            ("doc:{name}.md", "doc:a.md.md", Some(7)),
            ("doc:{name}.md", "doc:a.mdx", None),
            ("doc:{name}.md", "doc:.m", None),
            ("doc:{+path}", "doc:a/b?c", Some(4)),
            ("find://x{?owner}", "find://x?n=1&owner=o", Some(8)),
            ("find://x?owner={owner}&n={n}", "find://x?n=1&owner=o", Some(8)),
            ("find://x{?owner}", "find://y", None),
            ("plain:x", "plain:x", Some(7)),
            ("plain:x", "plain:xy", None),
            ("{+uri}", "doc:a", None),
            ("{scheme}://x", "doc://x", None),
            ("doc:{", "doc:a", None),
            ("é:{x}é", "é:aé", Some(5)),
            ("", "", None),
        ] {
            assert_eq!(likeness(template, uri), expected, "{template} {uri}");
        }
    }

    #[test]
    fn a_uri_says_what_its_variables_are() {
        for (template, uri, expected) in [
            ("repo://{owner}/{x}", "REPO://evil/x", Some("evil")),
            ("repo://{owner}/{x}", "repo://evil", Some("evil")),
            ("repo://{owner}/{x}", "other://evil", None),
            ("host://{host}/{owner}/{x}", "host://h/evil/x/y", Some("evil")),
            ("host://{host}/{owner}/{x}", "host://h", None),
            ("x:{+path}/{owner}", "x:a/b/evil", Some("a/b/evil")),
            ("doc:{owner}.md", "doc:evil.md", Some("evil")),
            ("x{/owner}", "x", Some("")),
            ("x{?owner}", "x?%6fwner=%65vil&Owner=two", Some("evil two")),
            ("x{?owner}", "x", Some("")),
            ("x{?owner}", "xyz", Some("")),
            ("x?owner={owner}&n={n}", "x?n=1&owner=evil", Some("evil")),
            ("x{;owner}", "x;owner=evil", Some("evil")),
            ("{owner}/readme", "evil/readme", Some("evil")),
            ("{owner}/readme", "https://x.test/", None),
        ] {
            let found = parts(template).and_then(|parts| along(&parts, uri, &|n| n == "owner"));
            let found = found.map(|found| {
                found.into_iter().map(|(_, value)| value).collect::<Vec<_>>().join(" ")
            });
            assert_eq!(found.as_deref(), expected, "{template} {uri}");
        }
        assert_eq!(said("x:{n}", "x:1", &|name| name == "owner"), Ok(vec![]));
    }

    #[test]
    fn a_uri_says_what_any_matcher_takes() {
        let said = |template, uri| {
            let found = said(template, uri, &|name| name == "owner")?;
            Ok::<_, String>(found.into_iter().map(|(_, value)| value).collect::<Vec<_>>().join(" "))
        };
        for (template, uri, expected) in [
            ("host://{host}/{owner}/{x}", "host://h?x/evil/y", "evil"),
            ("host://{host}/{owner}/{x}", "host://h#x/evil/y", "evil"),
            ("host://{host}/{owner}/{x}", "host://h,x/evil/y", "evil"),
            ("issues://{state}/{owner}", "issues://open,closed/evil", "evil"),
            ("res://x/{owner}.json", "res://x/acme.evil.json", "acme acme.evil"),
            ("res://x/{owner}-{n}", "res://x/acme-corp-5", "acme acme-corp"),
            ("res://x/{owner}", "res://x/acme,evil", "acme acme,evil"),
            ("res://x/{owner}", "res://x/acme?lang=en", "acme"),
            ("res://x{/owner,n}", "res://x/evil", "evil"),
            ("res://x/{owner}/{+path}", "res://x/acme/a/b?c", "acme"),
            ("res://x/{owner}{?lang}", "res://x/acme?lang=a/b", "acme"),
            ("res://{n}/{owner}?lang={lang}", "res://a,b/evil?lang=x", "evil"),
        ] {
            assert_eq!(said(template, uri).as_deref(), Ok(expected), "{template} {uri}");
        }
        let many = format!("res://x/a{}", "-a".repeat(2_000));
        assert!(said("res://x/{owner}-{n}", &many).is_err());
        // Where nothing fits nothing is tried.
        let none = format!("res://x/{}?a#b", "-".repeat(8_000));
        assert!(said("res://x/{n}-{owner}/file", &none).is_ok());
        assert!(said("res://x/{owner}", &"x".repeat(limits::URI_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn a_uri_says_what_anybody_reads() {
        for (template, uri) in [
            ("res://x/orgs/{owner}/file", "res://x/%6frgs/evil/file"),
            ("res://x/orgs/{owner}/file", "res://x/%256frgs/evil/file"),
            ("res://x/orgs/{owner}/file", "res://x//orgs/evil/file"),
            ("res://x/orgs/{owner}/file", "res://x/orgs//evil/file"),
            ("res://x/orgs/{owner}/file", "res:/x/orgs/evil/file"),
            ("res://x/orgs/{owner}/file", "res://%78/orgs/evil/file"),
            ("res://x/orgs/{owner}/file", "res://u@x:1/orgs/evil/file"),
            ("res://x/orgs/{owner}/file", "res://x./orgs;v=1/evil;w/file"),
            ("res://x/orgs/{owner}/file", "res://x\\orgs\\evil"),
            ("res://x/orgs/{owner}/file", "res%3a//x/orgs/evil"),
            ("res://x/orgs/{owner}/file", "res://x/orgs%2fevil%2ffile"),
            ("res://x/%6frgs//{owner}/file", "res://x/orgs/evil/file"),
            ("res://q/find{?owner}", "res://q/%66ind?owner=evil"),
            ("res://q/find{?owner}", "res://q/find%3fowner=evil"),
            ("res://q/find{?owner}", "res://q//find?a=1%26owner=evil"),
            ("res://q/find{?owner}", "res://q/find?%256fwner[]=evil"),
            ("res://q/find?owner={owner}", "res://q/find;x?a=1&OWNER=evil"),
            ("res://q{;owner}", "res://%71;owner=evil"),
            ("res://q{#owner}", "res://%71?x#evil"),
        ] {
            let found = said(template, uri, &|name| name == "owner").unwrap();
            assert!(found.iter().any(|(_, value)| value == "evil"), "{template} {uri}: {found:?}");
        }
        for uri in ["res://x/orgs/%ff", "res://x/%c1%af", "res://x/%zz"] {
            let found = said("res://x/orgs/{owner}", uri, &|name| name == "owner");
            assert!(found.is_err(), "{uri}: {found:?}");
        }
        let found = said("res://x/orgs/{owner}", "res://y/%ff", &|name| name == "owner");
        assert_eq!(found, Ok(vec![]));
    }
}
