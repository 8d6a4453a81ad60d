//! Parameters of a tool that its caller mirrors into headers (`x-mcp-header`, 2026-07-28), so that
//! whoever routes by a header routes by what the tool gets. It must not know where headers or
//! schemas come from.

use rmcp::model::{ErrorData, JsonObject};
use serde_json::Value;
use shared::{
    error::shown,
    header::{decode, encode},
    limits,
};
use std::collections::BTreeSet;
use upstream::clean::NAMED;

/// A parameter that has a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrored {
    /// The names that lead to it from the arguments.
    path: Vec<String>,
    /// The header's name after `Mcp-Param-`, in lower case.
    header: String,
    kind: Type,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    String,
    Integer,
    Boolean,
}

/// What says that a parameter has a header.
const ANNOTATION: &str = "x-mcp-header";

/// The parameters of a tool that have headers: those that are reached through `properties` alone
/// and are texts, integers or truth values, by names that a header may have. Any other annotation
/// is none.
#[must_use]
pub fn mirrored(schema: &JsonObject) -> Vec<Mirrored> {
    let mut found = Vec::new();
    each(schema, &mut Vec::new(), &mut |path, annotation, property| {
        let kind = match property.get("type").and_then(Value::as_str) {
            Some("string") => Some(Type::String),
            Some("integer") => Some(Type::Integer),
            Some("boolean") => Some(Type::Boolean),
            _ => None,
        };
        if let (Some(header), Some(kind)) = (header_name(annotation), kind) {
            found.push(Mirrored { path: path.to_vec(), header, kind });
        }
    });
    found
}

/// Why a tool must not be offered by who calls it for others, if so: one of its annotations is none
/// that the specification allows. (It allows none for numbers, either. But there are such, and they
/// do no harm without a header.)
#[must_use]
pub fn flaw(schema: &JsonObject) -> Option<&'static str> {
    let (mut names, mut count, mut flaw) = (BTreeSet::new(), 0_usize, None);
    each(schema, &mut Vec::new(), &mut |_, annotation, property| {
        count = count.saturating_add(1);
        let kind = property.get("type").and_then(Value::as_str);
        let found = match header_name(annotation) {
            None => Some("the header of one of its parameters has a name that HTTP does not allow"),
            Some(_) if !kind.is_some_and(|kind| PLAIN.contains(&kind)) => {
                Some("one of its parameters has a header and is no plain value")
            }
            Some(name) => (!names.insert(name)).then_some("two of its parameters have one header"),
        };
        flaw = flaw.or(found);
    });
    let elsewhere = annotations(schema, false) > count;
    flaw.or(elsewhere.then_some("something in its schema has a header and is no parameter"))
}

/// Types whose values are one text.
const PLAIN: [&str; 4] = ["string", "integer", "boolean", "number"];

/// A header's name after `Mcp-Param-`, in lower case, if it is a token (RFC 9110).
fn header_name(annotation: &Value) -> Option<String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let name = annotation.as_str().filter(|name| {
        let fits = name.len() <= limits::MIRRORED_NAME_BYTES_MAX;
        !name.is_empty() && fits && name.bytes().all(is_plain)
    });
    name.map(str::to_ascii_lowercase)
}

/// Every parameter that is reached through `properties` alone and has an annotation: where it is,
/// the annotation, and its schema.
fn each(
    schema: &JsonObject,
    path: &mut Vec<String>,
    take: &mut impl FnMut(&[String], &Value, &JsonObject),
) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let Some(property) = property.as_object() else {
            continue;
        };
        if path.len() >= limits::SCHEMA_DEPTH_MAX {
            return;
        }
        path.push(name.clone());
        if let Some(annotation) = property.get(ANNOTATION) {
            take(path, annotation, property);
        }
        each(property, path, take);
        path.pop();
    }
}

/// How many annotations there are anywhere. `is_named`: its members are schemas, by names that are
/// no keywords. (No JSON is deeper than its reader goes.)
fn annotations(schema: &JsonObject, is_named: bool) -> usize {
    let count = |(name, value): (&String, &Value)| match (name.as_str(), value) {
        (ANNOTATION, _) if !is_named => 1,
        ("const" | "default" | "enum" | "examples", _) if !is_named => 0,
        (name, Value::Object(inner)) => annotations(inner, !is_named && NAMED.contains(&name)),
        (_, Value::Array(items)) => {
            let items = items.iter().filter_map(Value::as_object);
            items.map(|item| annotations(item, false)).sum()
        }
        _ => 0,
    };
    schema.iter().map(count).sum()
}

/// Checks the headers of a call against its arguments, as the client sent both. Headers that
/// mirror none of the parameters are nobody's.
///
/// # Errors
/// -32020 for a header that is missing, unexpected, repeated, ill-written, or says something else.
pub fn check(
    mirrored: &[Mirrored],
    arguments: Option<&JsonObject>,
    headers: &[(String, String)],
) -> Result<(), ErrorData> {
    for parameter in mirrored {
        parameter.check(arguments, headers).map_err(|reason| {
            let header = shown(&parameter.header);
            ErrorData::header_mismatch(format!("the header Mcp-Param-{header} {reason}"), None)
        })?;
    }
    Ok(())
}

/// The headers that a client of a tool sends with these arguments: names, and values.
#[must_use]
pub fn headers(schema: &JsonObject, arguments: &JsonObject) -> Vec<(String, String)> {
    let header = |parameter: &Mirrored| {
        let text = match parameter.value(Some(arguments))? {
            Value::String(text) => text.clone(),
            Value::Bool(truth) => truth.to_string(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        Some((format!("mcp-param-{}", parameter.header), encode(&text)))
    };
    mirrored(schema).iter().filter_map(header).collect()
}

impl Mirrored {
    /// The argument that it is, or is in.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.first().map(String::as_str).unwrap_or_default()
    }

    /// Whether any of these headers is its own.
    #[must_use]
    pub fn is_in(&self, headers: &[(String, String)]) -> bool {
        headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(&self.header))
    }

    fn check(
        &self,
        arguments: Option<&JsonObject>,
        headers: &[(String, String)],
    ) -> Result<(), &'static str> {
        let mut named = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(&self.header));
        let header = named.next().map(|(_, value)| value.as_str());
        if named.next().is_some() {
            return Err("is there more than once");
        }
        match (header, self.value(arguments)) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err("is missing: the argument that it mirrors is there"),
            (Some(_), None) => Err("mirrors an argument that is not there"),
            (Some(header), Some(value)) => {
                let header = decode(header).ok_or("is not the base64 that it says it is")?;
                match self.equals(&header, value) {
                    true => Ok(()),
                    false => Err("is not what the argument says"),
                }
            }
        }
    }

    /// The argument, if it is there and not null.
    fn value<'a>(&self, arguments: Option<&'a JsonObject>) -> Option<&'a Value> {
        let (first, rest) = self.path.split_first()?;
        let value = arguments?.get(first)?;
        let value = rest.iter().try_fold(value, |value, name| value.get(name))?;
        Some(value).filter(|value| !value.is_null())
    }

    fn equals(&self, header: &str, value: &Value) -> bool {
        match (self.kind, value) {
            (Type::String, Value::String(text)) => header == text,
            (Type::Boolean, Value::Bool(truth)) => header == if *truth { "true" } else { "false" },
            (Type::Integer, Value::Number(number)) => {
                let number = integer(&number.to_string());
                number.is_some() && number == integer(header)
            }
            _ => false,
        }
    }
}

/// The integer that a decimal number is, however it is written: 42, 42.0 and 4.2e1 are one.
fn integer(text: &str) -> Option<i64> {
    let plain = |c: u8| c.is_ascii_digit() || b"+-.eE".contains(&c);
    if text.is_empty() || text.starts_with('+') || !text.bytes().all(plain) {
        return None;
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(number).filter(|n| n.unsigned_abs() <= limits::MIRRORED_INTEGER_MAX);
    }
    let number: f64 = text.parse().ok()?;
    #[allow(clippy::cast_precision_loss, reason = "the bound is one that a double has exactly")]
    let max = limits::MIRRORED_INTEGER_MAX as f64;
    #[allow(clippy::cast_possible_truncation, reason = "it is whole and within the bound")]
    let whole = (number.fract() == 0.0 && number.abs() <= max).then_some(number as i64);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> JsonObject {
        let schema = json!({
            "type": "object",
            "properties": {
                "region": { "type": "string", "x-mcp-header": "Region" },
                "count": { "type": "integer", "x-mcp-header": "Count" },
                "dry": { "type": "boolean", "x-mcp-header": "Dry" },
                "ratio": { "type": "number", "x-mcp-header": "Ratio" },
                "plain": { "type": "string" },
                "at": { "type": "object", "x-mcp-header": "At", "properties": {
                    "zone": { "type": "string", "x-mcp-header": "Zone" } } },
                "list": { "type": "array", "items": { "type": "string", "x-mcp-header": "Item" } },
            },
            "anyOf": [{ "properties": { "x": { "type": "string", "x-mcp-header": "X" } } }],
        });
        schema.as_object().unwrap().clone()
    }

    #[test]
    fn only_plain_parameters_along_properties_have_headers() {
        let found = mirrored(&schema());
        let mut headers: Vec<_> = found.iter().map(|m| m.header.as_str()).collect();
        headers.sort_unstable();
        assert_eq!(headers, ["count", "dry", "region", "zone"]);
    }

    #[test]
    fn a_header_has_a_name_that_http_allows() {
        for (name, is_there) in [
            ("Region", true),
            ("x-1_2.3!~", true),
            ("", false),
            ("My Header", false),
            ("a:b", false),
            ("a\r\nb", false),
            ("é", false),
            (&"x".repeat(limits::MIRRORED_NAME_BYTES_MAX), true),
            (&"x".repeat(limits::MIRRORED_NAME_BYTES_MAX + 1), false),
        ] {
            let property = json!({ "type": "string", "x-mcp-header": name });
            let schema = json!({ "properties": { "p": property } });
            let schema = schema.as_object().unwrap();
            assert_eq!(mirrored(schema).len(), usize::from(is_there), "{name:?}");
            assert_eq!(flaw(schema).is_none(), is_there, "{name:?}");
        }
    }

    #[test]
    fn an_annotation_that_is_not_allowed_is_a_flaw() {
        let has = |kind: Value, header: Value| json!({ "type": kind, "x-mcp-header": header });
        let text = |header: &str| has("string".into(), header.into());
        for (schema, is_good) in [
            (json!({ "properties": { "a": text("A"), "b": text("B") } }), true),
            (json!({ "properties": { "a": text("A"), "b": text("a") } }), false),
            (
                json!({ "properties": { "a": text("A"), "b": {
                "type": "object", "properties": { "c": text("A") } } } }),
                false,
            ),
            (json!({ "properties": { "a": has("number".into(), "A".into()) } }), true),
            (json!({ "properties": { "a": has("object".into(), "A".into()) } }), false),
            (json!({ "properties": { "a": has("array".into(), "A".into()) } }), false),
            (json!({ "properties": { "a": has(json!(["string", "null"]), "A".into()) } }), false),
            (json!({ "properties": { "a": has(json!(null), "A".into()) } }), false),
            (json!({ "properties": { "a": has("string".into(), json!(5)) } }), false),
            (json!({ "properties": { "a": { "type": "array", "items": text("A") } } }), false),
            (
                json!({ "properties": { "a": { "$ref": "#/$defs/a" } }, "$defs": { "a": text("A") } }),
                false,
            ),
            (json!({ "anyOf": [{ "properties": { "a": text("A") } }] }), false),
            (json!({ "properties": { "x-mcp-header": { "type": "string" } } }), true),
            (json!({ "properties": { "a": { "default": { "x-mcp-header": 5 } } } }), true),
            (json!({}), true),
        ] {
            assert_eq!(flaw(schema.as_object().unwrap()).is_none(), is_good, "{schema}");
        }
    }

    #[test]
    fn header_and_argument_say_the_same() {
        let mirrored = mirrored(&schema());
        let ok = |arguments: Value, headers: &[(&str, &str)]| {
            let headers: Vec<_> =
                headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            let outcome = check(&mirrored, arguments.as_object(), &headers);
            if let Err(error) = &outcome {
                assert_eq!(error.code.0, -32020);
            }
            outcome.is_ok()
        };
        for (arguments, headers, expected) in [
            (json!({}), vec![], true),
            (json!(null), vec![], true),
            (json!({ "region": null }), vec![], true),
            (json!({ "region": null }), vec![("region", "eu")], false),
            (json!({}), vec![("region", "eu")], false),
            (json!({}), vec![("unknown", "eu")], true),
            (json!({ "plain": "x" }), vec![], true),
            (json!({ "region": "eu" }), vec![], false),
            (json!({ "region": "eu" }), vec![("region", "eu")], true),
            (json!({ "region": "eu" }), vec![("Region", "eu")], true),
            (json!({ "region": "eu" }), vec![("region", "EU")], false),
            (json!({ "region": "eu" }), vec![("region", "eu"), ("region", "eu")], false),
            (json!({ "region": "" }), vec![("region", "")], true),
            (json!({ "region": 5 }), vec![("region", "5")], false),
            (json!({ "region": "Hello" }), vec![("region", "=?base64?SGVsbG8=?=")], true),
            (json!({ "region": "Hello" }), vec![("region", "=?base64?SGVsbG8?=")], false),
            (json!({ "region": "Hello" }), vec![("region", "=?base64?SGVs!!!bG8=?=")], false),
            (json!({ "region": "SGVsbG8=" }), vec![("region", "SGVsbG8=")], true),
            (json!({ "region": "=?base64?SGVsbG8=" }), vec![("region", "=?base64?SGVsbG8=")], true),
            (json!({ "region": "SGVsbG8=?=" }), vec![("region", "SGVsbG8=?=")], true),
            (json!({ "region": "é" }), vec![("region", "=?base64?w6k=?=")], true),
            (json!({ "region": "x" }), vec![("region", "=?base64?/w==?=")], false),
            (json!({ "count": 42 }), vec![("count", "42")], true),
            (json!({ "count": 42 }), vec![("count", "42.0")], true),
            (json!({ "count": 42.0 }), vec![("count", "42")], true),
            (json!({ "count": 42 }), vec![("count", "4.2e1")], true),
            (json!({ "count": -1 }), vec![("count", "-1")], true),
            (json!({ "count": 42 }), vec![("count", "43")], false),
            (json!({ "count": 42 }), vec![("count", "inf")], false),
            (json!({ "count": 42 }), vec![("count", " 42")], false),
            (json!({ "count": 42 }), vec![("count", "+42")], false),
            (json!({ "count": 42 }), vec![("count", "")], false),
            (json!({ "count": 1.5 }), vec![("count", "1.5")], false),
            (
                json!({ "count": 9_007_199_254_740_991_i64 }),
                vec![("count", "9007199254740991")],
                true,
            ),
            (
                json!({ "count": 9_007_199_254_740_992_i64 }),
                vec![("count", "9007199254740992")],
                false,
            ),
            (json!({ "dry": true }), vec![("dry", "true")], true),
            (json!({ "dry": true }), vec![("dry", "True")], false),
            (json!({ "dry": false }), vec![("dry", "0")], false),
            (json!({ "at": { "zone": "a" } }), vec![("zone", "a")], true),
            (json!({ "at": { "zone": "a" } }), vec![], false),
            (json!({ "at": 5 }), vec![], true),
        ] {
            assert_eq!(ok(arguments.clone(), &headers), expected, "{arguments} {headers:?}");
        }
    }
}
