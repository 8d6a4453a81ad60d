//! One schema and its keywords, read as the standard gives them: what is of another form holds
//! nothing. It must not know what a reference means, nor any pin.

use super::JsonObject;
use serde_json::Value;

/// Keywords whose schemas, in a list, apply to the same instance as the schema that holds them.
pub(super) const LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords whose schema applies to the same instance; `not` is apart, for it only forbids.
pub(super) const BRANCHES: [&str; 3] = ["if", "then", "else"];
/// Keywords that hold, by the name of a property, what its presence asks of the same instance.
pub(super) const DEPENDENTS: [&str; 3] = ["dependentRequired", "dependentSchemas", "dependencies"];
/// Keywords that hold schemas for others to refer to.
pub(super) const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// A schema: the value of a keyword that holds one, or the target of a reference.
#[derive(Debug, Clone, Copy)]
pub(super) enum Schema<'a> {
    Boolean(bool),
    Object(&'a JsonObject),
}

impl<'a> Schema<'a> {
    /// Nothing else is a schema.
    pub(super) fn of(value: &'a Value) -> Option<Self> {
        match value {
            Value::Bool(all) => Some(Self::Boolean(*all)),
            Value::Object(node) => Some(Self::Object(node)),
            _ => None,
        }
    }
}

/// The entries of a keyword that holds a map; none, if it does not.
pub(super) fn entries<'a>(
    node: &'a JsonObject,
    key: &str,
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    node.get(key).and_then(Value::as_object).into_iter().flatten()
}

/// The items of a keyword that holds a list; none, if it does not.
pub(super) fn items<'a>(node: &'a JsonObject, key: &str) -> impl Iterator<Item = &'a Value> {
    node.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// The texts in a list; none, if it is no list.
pub(super) fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// A number of things, however it is written.
pub(super) fn count(value: &Value) -> Option<u64> {
    let whole = |n: &f64| n.fract() == 0.0 && (0.0..9e15).contains(n);
    value.as_u64().or_else(|| value.as_f64().filter(whole).map(|n| n as u64))
}

/// What it costs to look at the keywords of a schema, though not into them.
pub(super) fn breadth(node: &JsonObject) -> usize {
    let within = node.values().map(|value| match value {
        Value::Array(list) => list.len(),
        Value::Object(map) => map.len(),
        _ => 0,
    });
    within.fold(1, usize::saturating_add)
}

/// Whether a schema is a resource of its own, so that references in it do not mean this one.
pub(super) fn is_resource(node: &JsonObject) -> bool {
    node.get("$id").is_some_and(Value::is_string)
}
