//! The query of an address: what it leaves of the tools, and which session a message of the oldest
//! transport is for. What it says narrows and never widens, so what cannot be understood is refused
//! and said twice holds both times; names that mean nothing here are passed over. It must not know
//! what a tool is.

use crate::refusal::Refusal;
use shared::{config::Config, error::shown, gathered, hop::Options, limits};
use std::{borrow::Cow, collections::BTreeSet, fmt::Write as _};

/// A query, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// What it leaves of the tools.
    pub options: Options,
    /// The session it names.
    pub session: Option<String>,
}

impl Query {
    /// Reads the query of a URL.
    ///
    /// # Errors
    /// [`Refusal::BadQuery`] for a value that none of ours can have.
    pub fn parse(url: &str) -> Result<Self, Refusal> {
        let mut read = Self::default();
        let url = url.split('#').next().unwrap_or_default();
        let Some((_, query)) = url.split_once('?') else {
            return Ok(read);
        };
        for member in query.split('&') {
            let (name, value) = member.split_once('=').unwrap_or((member, ""));
            // A name that cannot be read is none of ours.
            let Some(name) = decode(name) else { continue };
            let bad = |rule: &str| Refusal::BadQuery(format!("`{}` {rule}", shown(&name)));
            let read_value = || decode(value).ok_or_else(|| bad("is not percent-encoded UTF-8"));
            let mut more = Options::default();
            match name.as_ref() {
                "tools" => more.tools = Some(names(&read_value()?).map_err(|rule| bad(&rule))?),
                "toolsets" => {
                    more.toolsets = Some(names(&read_value()?).map_err(|rule| bad(&rule))?)
                }
                "read_only" => {
                    more.read_only = match read_value()?.as_ref() {
                        "true" => true,
                        "false" => false,
                        _ => return Err(bad("is `true` or `false`")),
                    }
                }
                "sessionId" if read.session.is_none() => {
                    // One that cannot be read is as unknown as any other.
                    read.session = Some(decode(value).unwrap_or_default().into_owned());
                }
                _ => {}
            }
            read.options = read.options.and(&more);
        }
        Ok(read)
    }
}

/// Checks that there is every toolset that options name. Whoever asks is known by now: what there
/// is, is nobody else's business.
///
/// # Errors
/// [`Refusal::BadQuery`] for one that is not.
pub fn check(options: &Options, config: &Config) -> Result<(), Refusal> {
    let is_toolset = |name: &String| config.toolsets.iter().any(|toolset| toolset.name == *name);
    match options.toolsets.iter().flatten().find(|name| !is_toolset(name)) {
        None => Ok(()),
        Some(unknown) => {
            let text =
                format!("`toolsets` names `{}`, and there is no such toolset", shown(unknown));
            Err(Refusal::BadQuery(text))
        }
    }
}

/// A list of names.
fn names(value: &str) -> Result<BTreeSet<String>, String> {
    let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
    let names: BTreeSet<String> = gathered(names.map(ToOwned::to_owned));
    if names.len() > limits::OPTION_NAMES_MAX {
        return Err(format!("has at most {} names", limits::OPTION_NAMES_MAX));
    }
    let is_long = |name: &String| name.chars().count() > limits::OPTION_NAME_CHARS_MAX;
    match names.iter().any(is_long) {
        true => Err(format!("has names of at most {} characters", limits::OPTION_NAME_CHARS_MAX)),
        false => Ok(names),
    }
}

/// A name or a value, as it was before it became part of a URL (URL standard, 5.1).
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let code = digit()?.checked_mul(16)?.checked_add(digit()?)?;
                u8::try_from(code).ok()?
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// Options, as the tail of a query that has something before them.
#[must_use]
pub fn tail(options: &Options) -> String {
    let mut tail = String::new();
    for (name, names) in [("tools", &options.tools), ("toolsets", &options.toolsets)] {
        if let Some(names) = names {
            let names: Vec<_> = names.iter().map(|name| encode(name)).collect();
            let _ = write!(tail, "&{name}={}", names.join(","));
        }
    }
    if options.read_only {
        tail.push_str("&read_only=true");
    }
    tail
}

fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            byte => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(query: &str) -> Result<Query, Refusal> {
        Query::parse(&format!("https://host/mcp{query}"))
    }

    fn check(query: &str, expected: Result<&str, &str>) {
        let got = parse(query).map(|query| tail(&query.options)).map_err(|refusal| {
            assert_eq!(refusal.row(true), (400, -32600));
            refusal.to_string()
        });
        assert_eq!(got.as_deref().map_err(String::as_str), expected, "{query}");
    }

    #[test]
    fn options_narrow_and_what_is_not_ours_is_passed_over() {
        for (query, expected) in [
            ("", ""),
            ("?", ""),
            ("?a=b&c&%zz=1&=", ""),
            ("?tools=b,a", "&tools=a,b"),
            ("?tools=a%2C+b,,", "&tools=a,b"),
            ("?tools=%C3%A4", "&tools=%C3%A4"),
            ("?tools=", "&tools="),
            ("?tools=a,b&x=1&tools=b,c", "&tools=b"),
            ("?tools=a&tools=b", "&tools="),
            ("?toolsets=memory,x&toolsets=x", "&toolsets=x"),
            ("?read_only=true&read_only=false", "&read_only=true"),
            ("?read%5Fonly=tr%75e#?read_only=false", "&read_only=true"),
            ("?read_only=false", ""),
            ("?READ_ONLY=maybe", ""),
            ("?read_only=true&tools=a&toolsets=x", "&tools=a&toolsets=x&read_only=true"),
        ] {
            check(query, Ok(expected));
        }
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        check("?read_only=maybe", Err("`read_only` is `true` or `false`"));
        check("?read_only", Err("`read_only` is `true` or `false`"));
        check("?tools=%f", Err("`tools` is not percent-encoded UTF-8"));
        check("?tools=%ff", Err("`tools` is not percent-encoded UTF-8"));
        check("?tools=%+1", Err("`tools` is not percent-encoded UTF-8"));
        let options = parse("?toolsets=memory,y").unwrap().options;
        let refusal = super::check(&options, &Config::default()).unwrap_err();
        assert_eq!(refusal.to_string(), "`toolsets` names `y`, and there is no such toolset");
        let options = parse("?toolsets=memory&tools=y").unwrap().options;
        assert_eq!(super::check(&options, &Config::default()), Ok(()));
        let long = "a".repeat(limits::OPTION_NAME_CHARS_MAX);
        check(&format!("?tools={long}"), Ok(&format!("&tools={long}")));
        let rule = format!("`tools` has names of at most {} characters", long.len());
        check(&format!("?tools={long}a"), Err(&rule));
        let many: Vec<_> = (0..=limits::OPTION_NAMES_MAX).map(|n| n.to_string()).collect();
        let rule = format!("`tools` has at most {} names", limits::OPTION_NAMES_MAX);
        check(&format!("?tools={}", many.join(",")), Err(&rule));
    }

    #[test]
    fn the_first_session_is_the_one() {
        let session = |query: &str| parse(query).unwrap().session;
        assert_eq!(session("?a&sessionId=x&sessionId=y").as_deref(), Some("x"));
        assert_eq!(session("?sessionid=x"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            tools in proptest::option::of(proptest::collection::btree_set("[^, ]{1,9}", 0..4)),
            read_only: bool,
        ) {
            let trimmed = |name: &String| name.trim() == name;
            prop_assume!(tools.iter().flatten().all(trimmed));
            let options = Options { tools, read_only, ..Options::default() };
            prop_assert_eq!(parse(&format!("?x{}", tail(&options))).unwrap().options, options);
        }

        #[test]
        fn nothing_is_a_panic(query in "\\PC*", value in "\\PC*") {
            let _ = parse(&query);
            let _ = parse(&format!("?tools={value}&read_only={value}&toolsets={value}"));
        }
    }
}
