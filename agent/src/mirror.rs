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

/// The parameters of a tool that have headers: those that are reached through `properties` alone
/// and are texts, integers or truth values. Any other annotation is none.
#[must_use]
pub fn mirrored(schema: &JsonObject) -> Vec<Mirrored> {
    let mut found = Vec::new();
    collect(schema, &mut Vec::new(), &mut found);
    found
}

fn collect(schema: &JsonObject, path: &mut Vec<String>, found: &mut Vec<Mirrored>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let Some(property) = property.as_object() else {
            continue;
        };
        if path.len() >= limits::SCHEMA_DEPTH_MAX {
            return;
        }
        path.push(name.clone());
        let header = property.get("x-mcp-header").and_then(Value::as_str);
        let kind = match property.get("type").and_then(Value::as_str) {
            Some("string") => Some(Type::String),
            Some("integer") => Some(Type::Integer),
            Some("boolean") => Some(Type::Boolean),
            _ => None,
        };
        if let (Some(header), Some(kind)) = (header.filter(|header| !header.is_empty()), kind) {
            let header = header.to_ascii_lowercase();
            found.push(Mirrored { path: path.clone(), header, kind });
        }
        collect(property, path, found);
        path.pop();
    }
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
