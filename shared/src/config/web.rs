//! A URI as lenient readers take it, by the URL standard of browsers (WHATWG URL) and by the habits
//! of servers: what it reads as in the end, however it is written. It must not know what any part
//! of it means.
//!
//! Each reading is written in one way: `scheme:/host/path?query#fragment`, with one slash where
//! there are several, without user and default port, and with nothing encoded that need not be.
//! A template is written in the same way ([`Form::piece`]) and compared with that.

use super::template::{climbs, strip};
use std::borrow::Cow;

/// How URIs are read that may be like one template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// The scheme of the template.
    own: Option<String>,
    /// Its scheme and host, as far as they are no variables.
    origin: String,
    /// Whether parameters of steps (`;v=1`) mean something in it.
    keeps_parameters: bool,
    /// Whether users, or ports, do.
    keeps_user: bool,
    keeps_port: bool,
    /// Whether it is about what is behind a `#`, so that a query before that means nothing.
    is_fragment: bool,
    /// What its host ends with, of a template of the web, so that an address may leave its scheme out.
    host_end: String,
}

/// Which steps up are taken: servers take them before they decode a path, after, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Steps {
    Stay,
    Before,
    Both,
    After,
}

impl Form {
    /// The form of a template's URIs.
    #[must_use]
    pub fn of(template: &str) -> Self {
        let first = template.split('{').next().unwrap_or_default();
        let own = schemed(first).map(|(own, _)| own);
        let authority = template.split_once("://").map_or("", |(_, rest)| rest);
        let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
        let authority = authority.get(..end).unwrap_or_default();
        let mut form = Self {
            host_end: match own.as_deref() {
                Some(own) if is_web(own) => host_end(authority).to_ascii_lowercase(),
                _ => String::new(),
            },
            own,
            origin: String::new(),
            keeps_parameters: template.contains(';'),
            keeps_user: authority.contains('@'),
            keeps_port: authority.contains(':'),
            is_fragment: template.contains('#') && !template.contains('?'),
        };
        let plain = form.piece(first, true);
        let host = plain.split_once(":/").map_or(0, |(scheme, rest)| {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            scheme.len().saturating_add(2).saturating_add(end)
        });
        form.origin = plain.get(..host).unwrap_or_default().to_owned();
        form
    }

    /// A piece of the template that is no variable, as readings are written.
    #[must_use]
    pub fn piece(&self, text: &str, is_first: bool) -> String {
        let plain = match is_first {
            true => self.plain(text, Steps::Stay, true).unwrap_or_default(),
            false => Some(self.local(text, Steps::Stay)),
        };
        plain.unwrap_or_else(|| text.to_owned())
    }

    /// Everything that readers may take a text for that is like the template. None for a text that
    /// leads nowhere.
    ///
    /// # Errors
    /// A text that may lead where the template does, and is written so that it cannot be compared.
    pub fn readings(&self, text: &str) -> Result<Vec<String>, String> {
        let text = &*seen(text);
        let plain = decoded(text);
        let plain = seen(&plain);
        let mut readings = Vec::new();
        for written in [Some(text), (plain != text).then_some(&*plain)].into_iter().flatten() {
            let all = [Some(written.into()), inside(written), cloned(written)];
            for written in all.into_iter().flatten() {
                self.read(text, &written, &mut readings)?;
            }
        }
        readings.sort_unstable();
        readings.dedup();
        Ok(readings)
    }

    /// Reads a text as it is written in one way.
    fn read(&self, text: &str, written: &str, readings: &mut Vec<String>) -> Result<(), String> {
        // Most texts lead nowhere, whatever their steps.
        let Some(reading) = self.plain(written, Steps::Stay, false)? else {
            return Ok(());
        };
        self.check(text, &reading)?;
        readings.push(reading);
        if climbs(written) {
            for steps in [Steps::Before, Steps::Both, Steps::After] {
                readings.extend(self.plain(written, steps, false)?);
            }
        }
        Ok(())
    }

    /// Refuses what can be read in no one way at the template's own place.
    fn check(&self, text: &str, reading: &str) -> Result<(), String> {
        let is_own = !self.origin.is_empty()
            && strip(reading, &self.origin)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']));
        // What follows a blank is prose.
        let word = text.split_whitespace().next().unwrap_or_default();
        let path = word.split(['?', '#']).next().unwrap_or_default();
        match is_own && (is_broken(path) || decoded(path).contains('\u{fffd}')) {
            true => Err("its percent-encoding must be that of UTF-8".to_owned()),
            false => Ok(()),
        }
    }

    fn plain(&self, text: &str, steps: Steps, is_piece: bool) -> Result<Option<String>, String> {
        let found = schemed(text);
        if let Some((_, rest)) = found.as_ref().filter(|_| !is_piece) {
            check_user(rest)?;
        }
        let Some(own) = self.own.as_deref() else {
            // Of a template without a scheme nothing is known but its form.
            return Ok(Some(match found {
                Some((scheme, rest)) => self.of_other(&scheme, rest, steps, is_piece),
                None => self.local(text, steps),
            }));
        };
        let found = found.as_ref().map(|(scheme, rest)| (scheme.as_str(), *rest));
        match found {
            Some(("file", rest)) if own == "file" => Ok(Some(self.of_file(rest, steps))),
            Some((scheme, rest)) if scheme == own && !is_web(own) => {
                Ok(Some(self.of_other(own, rest, steps, is_piece)))
            }
            _ if !is_web(own) => Ok(None),
            // Addresses of the web are alike, with and without TLS.
            Some((scheme, rest)) if is_web(scheme) => {
                self.of_host(own, rest, steps, is_piece, is_usual)
            }
            Some(("file", _)) => Ok(None),
            _ if text.chars().take(2).filter(|c| is_slash(*c)).count() == 2 => {
                self.of_host(own, text, steps, is_piece, is_usual)
            }
            // Tools take an address without its scheme, too, and one by which the same is cloned.
            // Where that is no address it is a text like any other.
            Some((_, rest)) if rest.starts_with("//") => {
                // At which port such a one is cloned says nothing of where it is read.
                Ok(self.of_host(own, rest, steps, is_piece, |_| true).unwrap_or_default())
            }
            _ if self.is_at_host(text) => {
                Ok(self.of_host(own, text, steps, is_piece, is_usual).unwrap_or_default())
            }
            _ => Ok(None),
        }
    }

    /// Whether an address without its scheme begins with the host of the template.
    fn is_at_host(&self, text: &str) -> bool {
        let authority = text.get(..end_of(text, is_slash)).unwrap_or_default();
        // What follows a colon is a port, or a path.
        let own = authority.rsplit('@').next().unwrap_or(authority);
        let own = own.split(':').next().unwrap_or(own).trim_end_matches('.').to_ascii_lowercase();
        !self.host_end.is_empty() && own.ends_with(&self.host_end)
    }

    /// A URI of which a reader knows no more than its form.
    fn of_other(&self, scheme: &str, rest: &str, steps: Steps, is_piece: bool) -> String {
        let begun = rest.trim_start_matches(is_slash);
        let has_host = rest.len().saturating_sub(begun.len()) == 2;
        if !has_host {
            return format!("{scheme}:/{}", self.local(begun, steps));
        }
        let (authority, path) =
            begun.split_at_checked(end_of(begun, is_slash)).unwrap_or((begun, ""));
        let is_open = is_piece && path.is_empty();
        let mut host = authority;
        if !self.keeps_user {
            host = host.rsplit('@').next().unwrap_or(host);
        }
        let port = host.rsplit_once(':').filter(|(_, port)| port.chars().all(is_digit));
        if let Some((name, _)) = port.filter(|_| !self.keeps_port) {
            host = name;
        }
        let host = host.strip_suffix('.').filter(|_| !is_open).unwrap_or(host);
        format!("{scheme}:/{}{}", like(&decoded(host)), self.local(path, steps))
    }

    /// A file, by what follows `file:`. This machine is nowhere else.
    fn of_file(&self, rest: &str, steps: Steps) -> String {
        let (path, _) = rest.split_at_checked(end_of(rest, |_| false)).unwrap_or((rest, ""));
        let path = path.replace('\\', "/");
        let begun = path.strip_prefix("//").unwrap_or(&path);
        let is_local = begun.split('/').next().is_some_and(|h| h.eq_ignore_ascii_case("localhost"));
        let host = if is_local && path.starts_with("//") { "//localhost".len() } else { 0 };
        let rest = rest.get(host..).unwrap_or_default();
        format!("file:/{}", self.local(rest.trim_start_matches(is_slash), steps))
    }

    /// An address at a host, by what follows its scheme.
    fn of_host(
        &self,
        own: &str,
        rest: &str,
        steps: Steps,
        is_piece: bool,
        is_left_out: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, String> {
        let rest = rest.trim_start_matches(is_slash);
        let (authority, path) = rest.split_at_checked(end_of(rest, is_slash)).unwrap_or((rest, ""));
        let host = authority.rsplit('@').next().unwrap_or(authority);
        // The other way to write an address, that of `scp`, has a path behind the colon.
        let (host, port, first) = match host.rsplit_once(':') {
            Some((host, port)) if port.chars().all(is_digit) => {
                (host, port.trim_start_matches('0'), "")
            }
            Some((host, first)) if !is_piece => (host, "", first),
            _ => (host, "", ""),
        };
        let port = Some(port).filter(|port| !port.is_empty() && !is_left_out(port));
        let is_open = is_piece && path.is_empty();
        let host = host.strip_suffix('.').filter(|_| !is_open).unwrap_or(host);
        let is_none = host.is_empty() && !is_piece;
        if is_none || host.contains(' ') || host.chars().any(is_foreign) {
            return Ok(None);
        }
        if host.contains('%') || !host.is_ascii() {
            return Err("its host must be plain ASCII".to_owned());
        }
        let path = match (first, path.starts_with(is_slash) || is_open) {
            ("", true) => path.to_owned(),
            ("", false) => format!("/{path}"),
            (first, _) => format!("/{first}{path}"),
        };
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Some(format!("{own}:/{host}{port}{}", self.local(&path, steps))))
    }

    /// What is at a host: a path, and what follows it.
    fn local(&self, text: &str, steps: Steps) -> String {
        let (path, rest) = text.split_at_checked(end_of(text, |_| false)).unwrap_or((text, ""));
        let path = self.path(path, steps);
        match rest.split_once('#') {
            Some((_, fragment)) if self.is_fragment => {
                format!("{path}#{}", self.path(fragment, steps))
            }
            _ => path + rest,
        }
    }

    fn path(&self, path: &str, steps: Steps) -> String {
        let taken = |path: &str| self.stepped(path, true);
        match steps {
            Steps::Stay => self.stepped(&like(&decoded(path)), false),
            Steps::Before => self.stepped(&like(&decoded(&taken(path))), false),
            Steps::Both => taken(&like(&decoded(&taken(path)))),
            Steps::After => taken(&like(&decoded(path))),
        }
    }

    /// A path of steps that are not empty, with those up taken or not.
    fn stepped(&self, path: &str, is_taken: bool) -> String {
        let all = path.split(is_slash).map(|step| match self.keeps_parameters {
            true => step,
            false => step.split(';').next().unwrap_or(step),
        });
        let mut steps: Vec<&str> = Vec::new();
        let mut is_open = path.ends_with(is_slash);
        for step in all {
            let plain = if is_taken { decoded(step) } else { "".into() };
            let is_up = plain == "..";
            if is_up {
                steps.pop();
            } else if !step.is_empty() && plain != "." {
                steps.push(step);
                is_open = path.ends_with(is_slash);
                continue;
            }
            is_open |= is_up || plain == ".";
        }
        let first = if path.starts_with(is_slash) { "/" } else { "" };
        let last = if is_open && !steps.is_empty() { "/" } else { "" };
        format!("{first}{}{last}", steps.join("/"))
    }
}

/// What people and parsers see of a text.
pub(super) fn seen(text: &str) -> Cow<'_, str> {
    let text = text.trim_matches(|c: char| c <= ' ' || c.is_whitespace() || c == '\u{feff}');
    let is_hidden = |c: char| {
        c.is_control() || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
    };
    match text.contains(is_hidden) {
        true => text.chars().filter(|c| !is_hidden(*c)).collect(),
        false => text.into(),
    }
}

/// A text with the letters of ASCII that others are taken for.
fn like(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return text.into();
    }
    let letter = |c: char| match c {
        'ſ' => 's',
        '\u{212a}' => 'k',
        'ı' | 'İ' => 'i',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c).saturating_sub(0xfee0)).unwrap_or(c),
        other => other,
    };
    text.chars().map(letter).collect()
}

fn schemed(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_one = !scheme.is_empty() && scheme.chars().all(is_scheme);
    is_one.then(|| (scheme.to_ascii_lowercase(), rest))
}

/// What every host of a template ends with, whatever its levels are: `.x.test` of `{org}.x.test`.
fn host_end(authority: &str) -> &str {
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let host = host.rsplit('}').next().unwrap_or(host);
    host.split(':').next().unwrap_or(host)
}

/// Ports that addresses leave out: of the web, and of what is cloned.
fn is_usual(port: &str) -> bool {
    matches!(port, "21" | "22" | "80" | "443" | "9418")
}

/// Readers differ in where a host begins that has both before it.
fn check_user(rest: &str) -> Result<(), String> {
    let begun = rest.trim_start_matches(is_slash);
    let has_host = rest.len().saturating_sub(begun.len()) >= 2;
    let authority = begun.get(..end_of(begun, |c| c == '/')).unwrap_or_default();
    match has_host && authority.contains('\\') && authority.contains('@') {
        true => Err("its host must have no backslash before it".to_owned()),
        false => Ok(()),
    }
}

/// The address in a text that has something around it: `<https://x>`, `view-source:https://x`.
fn inside(text: &str) -> Option<Cow<'_, str>> {
    let at = text.find("://")?;
    let before = text.get(..at)?;
    let around = before.trim_end_matches(is_scheme);
    let is_around = |c: char| is_scheme(c) || matches!(c, ':' | '<' | '(' | '[' | '"' | '\'' | '`');
    let own = text.get(around.len()..)?;
    let own = own.trim_end_matches(['>', ')', ']', '"', '\'', '`']);
    (!around.is_empty() && around.chars().all(is_around)).then(|| own.into())
}

/// What `git` clones by a text like `x.test:1/web`, whose digits are no port to it.
fn cloned(text: &str) -> Option<Cow<'_, str>> {
    let authority = text.get(..end_of(text, is_slash))?;
    let (host, first) = authority.rsplit_once(':')?;
    let is_number = !first.is_empty() && first.chars().all(is_digit);
    let rest = text.get(host.len().saturating_add(1)..)?;
    (is_number && !host.is_empty()).then(|| format!("{host}/{rest}").into())
}

/// Whether a scheme may have this letter (RFC 3986, 3.1).
fn is_scheme(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
}

/// Whether addresses of a scheme are those of the web.
fn is_web(scheme: &str) -> bool {
    matches!(scheme, "http" | "https" | "ws" | "wss" | "ftp")
}

fn is_slash(c: char) -> bool {
    matches!(c, '/' | '\\')
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

/// Whether a letter is no other way to write one of ASCII (Unicode's UTS 46 maps none of these to
/// ASCII), so that a host with it is not one that a template names. It is not all such letters.
fn is_foreign(c: char) -> bool {
    matches!(c,
        'à'..='ö' | 'Ͱ'..='ͳ' | 'Ά' | 'Έ'..='Ͽ' | 'Ѐ'..='ԯ' | 'א'..='ת' | 'ء'..='ي'
        | 'ก'..='ฮ' | 'ぁ'..='ゖ' | 'ァ'..='ヺ' | '一'..='鿿' | '가'..='힣')
}

/// Where a part of a URI ends: at one of these, or where the query or the fragment begins.
fn end_of(text: &str, is_end: impl Fn(char) -> bool) -> usize {
    text.find(|c| matches!(c, '?' | '#') || is_end(c)).unwrap_or(text.len())
}

/// Whether a `%` begins nothing that is encoded.
fn is_broken(text: &str) -> bool {
    text.split('%').skip(1).any(|after| {
        let digits = after.bytes().take(2).filter(u8::is_ascii_hexdigit);
        digits.count() != 2
    })
}

/// A text without percent-encoding, however often it was encoded (RFC 3986, 6.2.2.2: what need not
/// be encoded is the same encoded). A blank stays encoded, because a plain one ends a URI, and so
/// do braces, because they are those of templates.
#[must_use]
pub fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let mut bytes = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        bytes.push(byte);
        // What is decoded may be the end of what is encoded.
        while let Some(byte) = encoded(&bytes) {
            bytes.truncate(bytes.len().saturating_sub(3));
            bytes.push(byte);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned().into()
}

/// The byte that is encoded at the end.
fn encoded(bytes: &[u8]) -> Option<u8> {
    let [.., b'%', high, low] = bytes else {
        return None;
    };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let value = digit(high)?.saturating_mul(16).saturating_add(digit(low)?);
    u8::try_from(value).ok().filter(|byte| !matches!(byte, b' ' | b'{' | b'}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_however_often() {
        for (text, expected) in [
            ("%6frgs", "orgs"),
            ("%256Frgs", "orgs"),
            ("%25%36frgs", "orgs"),
            ("%%36frgs", "orgs"),
            ("%2525252566", "f"),
            ("a%2fb%5Cc%3f", "a/b\\c?"),
            ("%20%7b%7D", "%20%7b%7D"),
            ("100% %e", "100% %e"),
            ("%c3%a9", "é"),
            ("%c1%af", "\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(decoded(text), expected, "{text}");
        }
        let often = format!("%{}66", "25".repeat(200_000));
        assert_eq!(decoded(&often), "f");
    }

    #[test]
    fn a_uri_is_read_as_each_reader_does() {
        let web = "https://x.test/orgs/{org}";
        for (template, text, expected) in [
            (web, "https://x.test/%6frgs/evil", "https:/x.test/orgs/evil"),
            (web, "https://x.test//orgs///evil/", "https:/x.test/orgs/evil/"),
            (web, "https://x.test/orgs;v=1/evil;x", "https:/x.test/orgs/evil"),
            (web, "https://x.test:80", "https:/x.test/"),
            (web, "https%3a//x.test/orgs/evil", "https:/x.test/orgs/evil"),
            (web, "x.test/orgs/evil", "https:/x.test/orgs/evil"),
            (web, "git@x.test:orgs/evil", "https:/x.test/orgs/evil"),
            (web, "ssh://git@x.test/orgs/evil", "https:/x.test/orgs/evil"),
            (web, "https://x.test/..;/orgs/evil", "https:/x.test/orgs/evil"),
            (web, "https://x.test/a%2fb/../orgs/evil", "https:/x.test/orgs/evil"),
            (web, "https://x.test/a%2f../orgs/evil", "https:/x.test/orgs/evil"),
            (web, "https://x.test/%6frgs/evil/%2e%2e/x", "https:/x.test/orgs/evil/../x"),
            (web, "https://x.test/%3f/../orgs/evil", "https:/x.test/orgs/evil"),
            (web, "https://x.test/a/.\t./orgs/evil", "https:/x.test/orgs/evil"),
            (web, "\u{a0}https://x.test/or\tgs/evil", "https:/x.test/orgs/evil"),
            (web, "https://x.test:0443/orgs/evil", "https:/x.test/orgs/evil"),
            (web, "ssh://git@x.test:2222/orgs/evil", "https:/x.test/orgs/evil"),
            (web, "git://x.test:9418/orgs/evil", "https:/x.test/orgs/evil"),
            (web, "<https://x.test/orgs/evil>", "https:/x.test/orgs/evil"),
            (web, "URL:https://x.test/orgs/evil", "https:/x.test/orgs/evil"),
            (web, "scm:git:https://x.test/orgs/evil", "https:/x.test/orgs/evil"),
            ("https://x.test/{org}", "git@x.test:2600/web", "https:/x.test/2600/web"),
            ("https://{org}.x.test/", "evil.x.test/a", "https:/evil.x.test/a"),
            ("https://{org}.x.test/", "evil.X.test.", "https:/evil.X.test/"),
            ("https://x.test:8443/{org}", "https://x.test:08443/evil", "https:/x.test:8443/evil"),
            ("res://x/{org}", "<res://x/evil>", "res:/x/evil"),
            (web, "https://x.test/org\u{17f}/evil", "https:/x.test/orgs/evil"),
            (web, "https://x.test/o\u{200b}r\u{0}gs/evil", "https:/x.test/orgs/evil"),
            (web, "https://x.test/orgs%00/evil", "https:/x.test/orgs/evil"),
            ("https://a.test/#/o/{org}", "https://a.test/?x=1#//o/evil", "https:/a.test/#/o/evil"),
            ("https://a.test/x;o={org}", "https://a.test/x;o=evil", "https:/a.test/x;o=evil"),
            ("res://x/{org}", "RES://u@%78.:1//evil?a#b", "res:/x/evil?a#b"),
            ("res://x/{org}", "res:/x/evil", "res:/x/evil"),
            ("file:///d/{org}", "file:\\\\localhost\\d\\evil", "file:/d/evil"),
            ("urn:o:{org}", "URN:%6f:evil", "urn:/o:evil"),
        ] {
            let readings = Form::of(template).readings(text).unwrap();
            assert!(readings.iter().any(|reading| reading == expected), "{text}: {readings:?}");
        }
        for (template, text) in [
            ("repo://{org}/{project}", "repo://acme\\@evil/web"),
            ("repo://{org}/{project}", "repo://acme:x\\@evil/web"),
            (web, "https://o.test\\@x.test/orgs/evil"),
        ] {
            assert!(Form::of(template).readings(text).is_err(), "{text}");
        }
        for text in ["https:%2f%2fx.test%2forgs", "https://x.te%73t/orgs/evil"] {
            assert!(Form::of(web).readings(text).is_err(), "{text}");
        }
        for text in ["https://x.test/%c1%afrgs/evil", "https://x.test/%zz", "https://x.test/a%"] {
            assert!(Form::of(web).readings(text).is_err(), "{text}");
            let other = text.replace("x.test", "y.test");
            assert!(Form::of(web).readings(&other).is_ok(), "{other}");
        }
    }
}
