//! The configuration as it is written, and every rule of it: a mistake names the key and the rule.
//! It must not know what a value is used for once it is valid.

use super::{
    Address, Bounds, Config, ConfigError, Era, Level, MEMORY_TOOLS, People, Piece, Source,
    Template, Toolset, ToolsetKind, Upstream, credential, people::WrittenPeople,
};
use crate::gathered;
use crate::limits;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn mistake(key: impl Into<String>, rule: impl Into<String>) -> ConfigError {
    ConfigError { key: key.into(), rule: rule.into() }
}

/// Variables that have a meaning of their own.
const OWN_VARIABLES: [&str; 11] = [
    "AGENT",
    "ALLOWED_HOSTS",
    "ALLOWED_ORIGINS",
    "API_KEYS",
    "DEVELOPMENT",
    "DEV_KEYS",
    "DEV_LOGIN",
    "DEV_USER",
    "KEYRING",
    "ORIGIN",
    "ROUTER",
];

/// `[vars.scope]`.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Memory,
    Mcp,
    Fixture,
}

/// One `[[vars.toolsets]]`. What is not said is absent, so that it is known what was said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenToolset {
    kind: Kind,
    name: Option<String>,
    prefix: Option<String>,
    #[serde(default)]
    pins: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    uris: Vec<String>,
    #[serde(default)]
    free: BTreeSet<String>,
    #[serde(default)]
    hide: BTreeMap<String, BTreeSet<String>>,
    allow: Option<BTreeSet<String>>,
    #[serde(default)]
    approved: BTreeMap<String, String>,
    url: Option<String>,
    era: Option<Era>,
    auth: Option<WrittenSource>,
    headers: Option<BTreeMap<String, WrittenSource>>,
    verify: Option<BTreeMap<String, String>>,
    bounds: Option<WrittenBounds>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a text, { secret = \"NAME\" } or { credential = \"name\" }")]
enum WrittenSource {
    Text(String),
    Secret(WrittenSecret),
    Credential(WrittenCredential),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenSecret {
    pub(super) secret: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCredential {
    credential: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenBounds {
    connect_ms: Option<u32>,
    first_byte_ms: Option<u32>,
    total_ms: Option<u32>,
    concurrency: Option<u32>,
    retries: Option<u32>,
}

/// The variables that the configuration is read from, each absent where the operator set nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Written<'a> {
    /// `scope`, as JSON.
    pub scope: Option<&'a str>,
    /// `toolsets`, as JSON.
    pub toolsets: Option<&'a str>,
    /// `credentials`, as JSON.
    pub credentials: Option<&'a str>,
    /// `DEVELOPMENT`.
    pub development: Option<&'a str>,
    /// Who lets people in.
    pub people: WrittenPeople<'a>,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// The first mistake, by key and rule.
    pub fn parse(written: Written<'_>) -> Result<Self, ConfigError> {
        let default = Self::default();
        let is_development = match written.development {
            None | Some("" | "0") => false,
            Some("1") => true,
            Some(_) => return Err(mistake("DEVELOPMENT", "it is 1, or not set")),
        };
        let levels = match written.scope {
            Some(text) => read_levels(text)?,
            None => default.levels,
        };
        let toolsets = match written.toolsets {
            Some(text) => Reader { levels: &levels, is_development }.toolsets(text)?,
            None => default.toolsets,
        };
        let credentials = credential::read(written.credentials, &toolsets, is_development)?;
        let is_own = |name: &str| OWN_VARIABLES.contains(&name);
        let people = People::parse(written.people, is_development, is_own)?;
        Ok(Self { levels, toolsets, credentials, is_development, people })
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
        check_name(&level.name).map_err(|rule| mistake(key("name"), rule))?;
        if !names.insert(&level.name) {
            return Err(mistake(key("name"), format!("{} is named twice", level.name)));
        }
        check_parameters(&level.parameters, &mut parameters)
            .map_err(|rule| mistake(key("parameters"), rule))?;
    }
    let level = |w: WrittenLevel| Level {
        name: w.name,
        parameters: w.parameters,
        preserve_case: w.case == Case::Preserve,
    };
    Ok(written.levels.into_iter().map(level).collect())
}

pub(super) fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return Err("a name is made of a-z, 0-9 and '_'".to_owned());
    }
    match name.len() > limits::NAME_CHARS_MAX {
        true => Err(format!("a name has at most {} characters", limits::NAME_CHARS_MAX)),
        false => Ok(()),
    }
}

/// Checks parameters that mean a level, none of which means one already.
fn check_parameters<'a>(
    parameters: &'a [String],
    taken: &mut BTreeSet<&'a String>,
) -> Result<(), String> {
    if parameters.len() > limits::LEVEL_PARAMETERS_MAX {
        return Err(format!("at most {} parameters", limits::LEVEL_PARAMETERS_MAX));
    }
    for parameter in parameters {
        if parameter.is_empty() {
            return Err("a parameter must not be empty".to_owned());
        }
        if !taken.insert(parameter) {
            return Err(format!("{parameter} already means a level"));
        }
    }
    Ok(())
}

/// What the rules of a toolset depend on.
struct Reader<'a> {
    levels: &'a [Level],
    is_development: bool,
}

impl Reader<'_> {
    fn toolsets(&self, text: &str) -> Result<Vec<Toolset>, ConfigError> {
        let written: Vec<WrittenToolset> =
            serde_json::from_str(text).map_err(|e| mistake("toolsets", e.to_string()))?;
        if written.is_empty() || written.len() > limits::TOOLSETS_MAX {
            let rule = format!("there are 1 to {} toolsets", limits::TOOLSETS_MAX);
            return Err(mistake("toolsets", rule));
        }
        let mut toolsets: Vec<Toolset> = Vec::new();
        for (index, written) in written.into_iter().enumerate() {
            let toolset = self.toolset(&format!("toolsets[{index}]"), written)?;
            let key = |field: &str| format!("toolsets[{index}].{field}");
            for other in &toolsets {
                if !matches!(toolset.kind, ToolsetKind::Mcp(_)) && other.kind == toolset.kind {
                    let rule = format!("{} is configured twice", toolset.kind.name());
                    return Err(mistake(key("kind"), rule));
                }
                if other.name == toolset.name {
                    let rule = format!("{} is another toolset's name", toolset.name);
                    return Err(mistake(key("name"), rule));
                }
                apart(other, &toolset).map_err(|rule| mistake(key("prefix"), rule))?;
            }
            toolsets.push(toolset);
        }
        Ok(toolsets)
    }

    fn toolset(&self, place: &str, written: WrittenToolset) -> Result<Toolset, ConfigError> {
        let key = |field: &str| format!("{place}.{field}");
        let kind = self.kind(place, &written)?;
        let name = written.name.unwrap_or_else(|| kind.name().to_owned());
        check_name(&name).map_err(|rule| mistake(key("name"), rule))?;
        if let Some(prefix) = &written.prefix {
            check_prefix(prefix).map_err(|rule| mistake(key("prefix"), rule))?;
        }
        let all = self.levels.iter().flat_map(|level| &level.parameters);
        let mut taken: BTreeSet<&String> = gathered(all);
        let mut pins = BTreeMap::new();
        for (level, parameters) in &written.pins {
            let at = key(&format!("pins.{level}"));
            check_parameters(parameters, &mut taken).map_err(|rule| mistake(&at, rule))?;
            pins.insert(self.level(&at, level)?, parameters.clone());
        }
        let mut hide = BTreeMap::new();
        for (level, tools) in written.hide {
            hide.insert(self.level(&key(&format!("hide.{level}")), &level)?, tools);
        }
        let uris = written.uris.iter().enumerate().map(|(n, text)| {
            self.uri(text).map_err(|rule| mistake(key(&format!("uris[{n}]")), rule))
        });
        let uris = uris.collect::<Result<_, _>>()?;
        if let Some(path) = written.free.iter().find(|path| !path.contains('.')) {
            let rule = format!("{path} is no member inside of an argument: write argument.member");
            return Err(mistake(key("free"), rule));
        }
        for (tool, fingerprint) in &written.approved {
            let at = key(&format!("approved.{tool}"));
            check_fingerprint(fingerprint).map_err(|rule| mistake(&at, rule))?;
            if written.allow.as_ref().is_some_and(|allowed| !allowed.contains(tool)) {
                return Err(mistake(&at, "it is not among the tools of `allow`"));
            }
        }
        let WrittenToolset { prefix, free, allow, approved, .. } = written;
        Ok(Toolset { kind, name, prefix, pins, uris, free, hide, allow, approved })
    }

    fn kind(&self, place: &str, written: &WrittenToolset) -> Result<ToolsetKind, ConfigError> {
        let key = |field: &str| format!("{place}.{field}");
        let kind = match written.kind {
            Kind::Memory => ToolsetKind::Memory,
            Kind::Fixture => ToolsetKind::Fixture,
            Kind::Mcp => return self.upstream(place, written).map(Box::new).map(ToolsetKind::Mcp),
        };
        let said = [
            ("url", written.url.is_some()),
            ("era", written.era.is_some()),
            ("auth", written.auth.is_some()),
            ("headers", written.headers.is_some()),
            ("verify", written.verify.is_some()),
            ("bounds", written.bounds.is_some()),
            // Its tools are written for the levels as they are.
            ("pins", !written.pins.is_empty()),
            ("uris", !written.uris.is_empty()),
            ("free", !written.free.is_empty()),
            ("allow", written.allow.is_some()),
            ("approved", !written.approved.is_empty()),
            ("prefix", written.prefix.is_some()),
        ];
        match said.into_iter().find(|(_, is_said)| *is_said) {
            None => Ok(kind),
            Some((field, _)) => {
                let rule = format!("a toolset of kind {} has none", kind.name());
                Err(mistake(key(field), rule))
            }
        }
    }

    fn upstream(&self, place: &str, written: &WrittenToolset) -> Result<Upstream, ConfigError> {
        let key = |field: &str| format!("{place}.{field}");
        let url = written.url.as_deref();
        let url = url.ok_or_else(|| mistake(key("url"), "a toolset of kind mcp needs one"))?;
        let url = self.address(url).map_err(|rule| mistake(key("url"), rule))?;
        let auth = written.auth.as_ref().map(|auth| self.source(&key("auth"), auth)).transpose()?;
        if let Some(Source::Text(_)) = auth {
            let rule = "a token is a secret: write { secret = \"NAME\" } and set the secret NAME";
            return Err(mistake(key("auth"), rule));
        }
        let mut headers = Vec::new();
        for (name, source) in written.headers.iter().flatten() {
            let at = key(&format!("headers.{name}"));
            check_header(name).map_err(|rule| mistake(&at, rule))?;
            headers.push((name.to_ascii_lowercase(), self.source(&at, source)?));
        }
        let mut verify = BTreeMap::new();
        for (level, text) in written.verify.iter().flatten() {
            let at = key(&format!("verify.{level}"));
            let index = self.level(&at, level)?;
            let address = self.address(text).map_err(|rule| mistake(&at, rule))?;
            if address.depth() > index.saturating_add(1) {
                return Err(mistake(&at, "it names a level that is not pinned yet"));
            }
            verify.insert(index, address);
        }
        let bounds = match &written.bounds {
            None => Bounds::default(),
            Some(bounds) => read_bounds(&key("bounds"), bounds)?,
        };
        Ok(Upstream { url, era: written.era, auth, headers, verify, bounds })
    }

    fn level(&self, key: &str, name: &str) -> Result<usize, ConfigError> {
        let found = self.levels.iter().position(|level| level.name == name);
        found.ok_or_else(|| mistake(key, "there is no such level"))
    }

    /// An address whose host an organization's name may be a part of, but never the whole.
    fn address(&self, text: &str) -> Result<Template, String> {
        let template = Template::parse(text, self.levels)?;
        let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
        let authority = authority.split(['/', '?']).next().unwrap_or_default();
        let own = authority.rsplit('}').next().unwrap_or_default();
        if authority.contains('{') && own.trim_matches('.').split('.').count() < 2 {
            return Err("a host ends in a domain that is written here".to_owned());
        }
        let example = template.pieces().iter().fold(String::new(), |text, piece| match piece {
            Piece::Text(piece) => text + piece,
            Piece::Level(_) => text + "x",
        });
        Address::parse(&example, self.is_development).map_err(|error| error.to_string())?;
        Ok(template)
    }

    /// A URI that can be told from others, and names a level.
    fn uri(&self, text: &str) -> Result<Template, String> {
        let template = Template::parse(text, self.levels)?;
        template.check_readable()?;
        let is_scheme = |first: &str| first.contains(':');
        match template.pieces().first() {
            Some(Piece::Text(first)) if is_scheme(first) && template.depth() > 0 => Ok(template),
            _ => Err("it begins with a scheme and names a level: https://x.test/{org}".to_owned()),
        }
    }

    fn source(&self, key: &str, written: &WrittenSource) -> Result<Source, ConfigError> {
        match written {
            WrittenSource::Text(text) if is_header_value(text) => Ok(Source::Text(text.clone())),
            WrittenSource::Text(_) => Err(mistake(key, "it has characters that no header has")),
            WrittenSource::Secret(WrittenSecret { secret }) => {
                check_secret(secret).map_err(|rule| mistake(key, rule))?;
                Ok(Source::Secret(secret.clone()))
            }
            WrittenSource::Credential(WrittenCredential { credential }) => {
                check_name(credential).map_err(|rule| mistake(key, rule))?;
                Ok(Source::Credential(credential.clone()))
            }
        }
    }
}

/// Checks the name of a secret that is sent to somebody else.
pub(super) fn check_secret(secret: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if secret.is_empty() || !secret.chars().all(plain) {
        return Err("a secret's name is made of A-Z, 0-9 and '_'".to_owned());
    }
    match OWN_VARIABLES.contains(&secret) {
        // What lets people in here is no other server's business.
        true => Err(format!("{secret} is a variable of this program")),
        false => Ok(()),
    }
}

fn read_bounds(key: &str, written: &WrittenBounds) -> Result<Bounds, ConfigError> {
    let within = |name: &str, said: Option<u32>, default: u32, least: u32, most: u32| {
        let value = said.unwrap_or(default);
        match (least..=most).contains(&value) {
            true => Ok(value),
            false => Err(mistake(format!("{key}.{name}"), format!("it is {least} to {most}"))),
        }
    };
    let default = Bounds::default();
    let most = limits::UPSTREAM_MS_MAX;
    Ok(Bounds {
        connect_ms: within("connect_ms", written.connect_ms, default.connect_ms, 100, 60_000)?,
        first_byte_ms: within(
            "first_byte_ms",
            written.first_byte_ms,
            default.first_byte_ms,
            100,
            most,
        )?,
        total_ms: within("total_ms", written.total_ms, default.total_ms, 100, most)?,
        concurrency: within("concurrency", written.concurrency, default.concurrency, 1, 64)?,
        retries: within("retries", written.retries, default.retries, 0, 5)?,
    })
}

fn check_prefix(prefix: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let is_plain = prefix.chars().all(plain) && !prefix.ends_with('_');
    match is_plain && !prefix.is_empty() && prefix.len() <= limits::NAME_CHARS_MAX {
        true => Ok(()),
        false => Err(format!(
            "a prefix has 1 to {} letters, digits, '_' and '-', and does not end in '_'",
            limits::NAME_CHARS_MAX
        )),
    }
}

fn check_fingerprint(fingerprint: &str) -> Result<(), String> {
    let plain = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    let length = limits::FINGERPRINT_CHARS;
    // One of another length is no tool's: it would be marked for ever.
    match fingerprint.len() == length && fingerprint.bytes().all(plain) {
        true => Ok(()),
        false => Err(format!(
            "a fingerprint is what `make effective` prints: {length} characters of 0-9 and a-f"
        )),
    }
}

fn check_header(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > limits::NAME_CHARS_MAX || !name.chars().all(plain) {
        return Err("a header's name is made of letters, digits, '-' and '_'".to_owned());
    }
    let lower = name.to_ascii_lowercase();
    let is_ours = lower.starts_with("mcp-")
        || [
            "accept",
            "authorization",
            "connection",
            "content-length",
            "content-type",
            "cookie",
            "host",
            "last-event-id",
            "transfer-encoding",
            "upgrade",
        ]
        .contains(&lower.as_str());
    match is_ours {
        true if lower == "authorization" => Err("write it as `auth`".to_owned()),
        true => Err("this header is the protocol's own".to_owned()),
        false => Ok(()),
    }
}

fn is_header_value(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
        && text.trim() == text
}

/// Whether no tool can have one name in both toolsets, as far as that can be known at start.
fn apart(one: &Toolset, other: &Toolset) -> Result<(), String> {
    let shared =
        |name: &str| format!("{name} would be a tool of {} too: give one a prefix", one.name);
    match (&one.prefix, &other.prefix) {
        (Some(a), Some(b)) => {
            let (a, b) = (format!("{a}_"), format!("{b}_"));
            match a.starts_with(&b) || b.starts_with(&a) {
                true => Err(format!("it cannot be told from the prefix of {}", one.name)),
                false => Ok(()),
            }
        }
        (None, None) => {
            let names = |toolset: &Toolset| match &toolset.kind {
                ToolsetKind::Memory => Some(MEMORY_TOOLS.map(ToOwned::to_owned).into()),
                ToolsetKind::Mcp(_) => toolset.allow.clone(),
                ToolsetKind::Fixture => Some(BTreeSet::new()),
            };
            match (names(one), names(other)) {
                (Some(a), Some(b)) => {
                    a.intersection(&b).next().map_or(Ok(()), |name| Err(shared(name)))
                }
                // Whose a tool is must be known where that decides where it runs.
                (None, None)
                    if !one.pins.is_empty()
                        || !other.pins.is_empty()
                        || !one.uris.is_empty()
                        || !other.uris.is_empty() =>
                {
                    Err(format!(
                        "{} has no prefix either, and one of them has `pins` or `uris`: give one a \
                         prefix or say what they `allow`",
                        one.name
                    ))
                }
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}
