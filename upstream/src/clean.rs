//! Names and descriptions that nobody here wrote, before a model reads them: bounded, without
//! characters that people do not see, and with a fingerprint by which a change is noticed. It must
//! not know what a tool does.

use crate::wire::JsonObject;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use shared::limits;

/// Whether a tool or a prompt may have this name (2025-11-25: 1 to 128 characters of letters,
/// digits, `_`, `-` and `.`; `/` is accepted because there are servers that use it).
#[must_use]
pub fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    !name.is_empty() && name.len() <= limits::UPSTREAM_NAME_CHARS_MAX && name.chars().all(plain)
}

/// Whether a name is one that people see all of: one that is sent back as it is, and so cannot be
/// cleaned.
#[must_use]
pub fn is_seen(name: &str) -> bool {
    name.chars().all(|c| is_visible(c) && !c.is_control())
}

/// Whether people see all of every member's name in a schema, wherever it is.
#[must_use]
pub fn are_members_seen(schema: &Value) -> bool {
    // No JSON is deeper than its reader goes.
    match schema {
        Value::Object(object) => {
            object.iter().all(|(name, value)| is_seen(name) && are_members_seen(value))
        }
        Value::Array(items) => items.iter().all(are_members_seen),
        _ => true,
    }
}

/// A text as a model may read it: without control characters, marks that turn the direction of
/// writing, and characters without a width, which hide what is said; and not too long.
#[must_use]
pub fn text(text: &str, most: usize) -> String {
    text.chars().filter(|c| is_visible(*c)).take(most).collect()
}

fn is_visible(c: char) -> bool {
    match c {
        '\n' | '\t' => true,
        // Soft hyphens, marks of direction, joiners and their like, fillers, tags, variation
        // selectors beyond those of emoji, and what is reserved for no character.
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'
        | '\u{200e}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fe00}'..='\u{fe0d}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{3164}'
        | '\u{ffa0}' => false,
        other => !other.is_control(),
    }
}

/// Cleans what a model reads of an offer: titles and descriptions, its own and those of its
/// arguments. Names stay, because they are what is sent, and so do values.
pub fn clean(offer: &mut JsonObject) {
    clean_object(offer, 0, false);
}

/// Cleans a text of an offer, where it is one.
pub fn clean_text(text: Option<&mut Value>, most: usize) {
    if let Some(Value::String(said)) = text
        && (said.chars().count() > most || !said.chars().all(is_visible))
    {
        *said = self::text(said, most);
    }
}

/// `is_named`: its members are schemas, by names that are nobody's words.
fn clean_object(object: &mut JsonObject, depth: usize, is_named: bool) {
    for (name, value) in object.iter_mut() {
        match (name.as_str(), &value) {
            ("description" | "$comment", Value::String(_)) => {
                clean_text(Some(value), limits::UPSTREAM_DESCRIPTION_CHARS_MAX);
            }
            ("title", Value::String(_)) => {
                clean_text(Some(value), limits::UPSTREAM_TITLE_CHARS_MAX);
            }
            ("const" | "default" | "enum" | "examples", _) if !is_named => {}
            (name, _) => clean_value(value, depth, !is_named && NAMED.contains(&name)),
        }
    }
}

/// Keywords of JSON Schema whose members are schemas by names.
pub const NAMED: [&str; 5] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];

fn clean_value(value: &mut Value, depth: usize, is_named: bool) {
    if depth >= limits::SCHEMA_JSON_DEPTH_MAX {
        return;
    }
    match value {
        Value::Object(object) => clean_object(object, depth.saturating_add(1), is_named),
        Value::Array(items) => {
            items.iter_mut().for_each(|item| clean_value(item, depth.saturating_add(1), false));
        }
        _ => {}
    }
}

/// What an offer is known by: it is another if anything of it is that a model reads or that says
/// what it does. Who writes an offer may look for two that are known by the same, so it is long
/// enough that nobody finds them.
#[must_use]
pub fn fingerprint(offer: &JsonObject) -> String {
    // Members are in the order of their names, whatever order they came in.
    let written = Value::Object(offer.clone()).to_string();
    let digest = Sha256::digest(written.as_bytes());
    digest.iter().take(limits::FINGERPRINT_CHARS / 2).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a fingerprint that was kept is this one: what was kept once had half of its length.
#[must_use]
pub fn is_fingerprint(kept: &str, fingerprint: &str) -> bool {
    kept == fingerprint || (kept.len() == 16 && fingerprint.starts_with(kept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> JsonObject {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn names_are_plain() {
        for name in ["a", "get_issue", "a.b-c", "a/b", &"x".repeat(128)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a b", "a\u{7}", "é", "a\u{202e}b", &"x".repeat(129)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn what_is_sent_back_is_seen_or_refused() {
        for name in ["", "a", "with blanks", "ünïcödé", "日本語", "👩\u{200d}🚀"] {
            assert!(is_seen(name), "{name}");
            assert!(are_members_seen(&json!({ "properties": { (name): [{ (name): "\u{7}" }] } })));
        }
        for name in ["a\n", "\t", "a\u{0}", "\u{202e}b", "\u{200b}", "\u{e0041}", "\u{85}"] {
            assert!(!is_seen(name), "{name:?}");
            assert!(!are_members_seen(&json!({ "anyOf": [{ "properties": { (name): {} } }] })));
        }
    }

    #[test]
    fn what_a_model_reads_is_what_people_see() {
        let mut offer = object(json!({
            "name": "t",
            "description": "safe\u{0}\u{202e}\u{200b}\u{e0041} text\n",
            "inputSchema": { "properties": {
                "description": { "type": "string", "description": "a\u{feff}b" },
                "x": { "enum": ["\u{200b}"], "anyOf": [{ "title": "t\u{7}" }],
                    "$comment": "c\u{7}", "default": { "title": "v\u{7}" } },
                "default": { "description": "d\u{7}", "const": { "description": "v\u{7}" } },
                "properties": { "default": { "description": "v\u{7}" } },
            } },
        }));
        clean(&mut offer);
        assert_eq!(offer["description"], "safe text\n");
        let properties = &offer["inputSchema"]["properties"];
        assert_eq!(properties["description"]["description"], "ab");
        assert_eq!(properties["x"]["anyOf"][0]["title"], "t");
        assert_eq!(properties["x"]["enum"][0], "\u{200b}", "a value is no text for people");
        assert_eq!(properties["x"]["$comment"], "c");
        assert_eq!(properties["default"]["description"], "d", "a property may be called so");
        for value in [
            &properties["x"]["default"]["title"],
            &properties["default"]["const"]["description"],
            &properties["properties"]["default"]["description"],
        ] {
            assert_eq!(value, "v\u{7}", "it would be another value");
        }
        let mut long = object(json!({ "description": "x".repeat(100_000) }));
        clean(&mut long);
        let left = long["description"].as_str().unwrap().len();
        assert_eq!(left, limits::UPSTREAM_DESCRIPTION_CHARS_MAX);
        let plain = object(json!({ "description": "Emoji 👩‍🚀 ✔️ and ünïcödé stay." }));
        let mut cleaned = plain.clone();
        clean(&mut cleaned);
        assert_eq!(cleaned, plain);
    }

    #[test]
    fn a_fingerprint_tells_one_from_another() {
        let one = object(json!({ "name": "t", "description": "reads" }));
        let same = object(serde_json::from_str(r#"{"description":"reads","name":"t"}"#).unwrap());
        let other = object(json!({ "name": "t", "description": "reads, and deletes" }));
        assert_eq!(fingerprint(&one), fingerprint(&same));
        assert_ne!(fingerprint(&one), fingerprint(&other));
        assert_eq!(fingerprint(&one).len(), limits::FINGERPRINT_CHARS);
        let known = |kept: &str| is_fingerprint(kept, &fingerprint(&one));
        let cut = |of: &JsonObject, n: usize| fingerprint(of).chars().take(n).collect::<String>();
        assert!(known(&fingerprint(&one)) && known(&cut(&one, 16)));
        assert!(!known(&fingerprint(&other)) && !known(&cut(&other, 16)));
        assert!(!known("") && !known(&cut(&one, 8)) && !known(&cut(&one, 31)));
    }
}
