//! The schemas that narrowing makes: of others, by `allOf`, `anyOf` and `not`, and what one schema
//! gains from what its keywords turn into. It must not know why, nor any pin.

use super::{JsonObject, read::texts};
use serde_json::Value;
use shared::gathered;
use std::collections::BTreeSet;

/// What other keywords of the same schema turn into.
#[derive(Debug, Default)]
pub(super) struct Extra {
    /// More that is required.
    pub(super) required: Vec<String>,
    /// More that applies.
    pub(super) all_of: Vec<Value>,
    /// Properties that must not be there.
    pub(super) never: Vec<String>,
}

impl Extra {
    pub(super) fn join(self, node: &mut JsonObject) {
        if !self.required.is_empty() {
            // The standard wants every name once.
            let listed = node.get("required").into_iter().flat_map(texts);
            let mut seen: BTreeSet<_> = gathered(listed.map(str::to_owned));
            let more = self.required.into_iter();
            let more = more.filter(|name| seen.insert(name.clone()));
            let more = more.map(Value::String);
            match node.get_mut("required") {
                Some(Value::Array(list)) => list.extend(more),
                _ => drop(node.insert("required".to_owned(), more.collect())),
            }
        }
        if !self.all_of.is_empty() {
            match node.get_mut("allOf") {
                Some(Value::Array(list)) => list.extend(self.all_of),
                _ => drop(node.insert("allOf".to_owned(), Value::Array(self.all_of))),
            }
        }
        if !self.never.is_empty() {
            let never = self.never.into_iter().map(|name| (name, Value::Bool(false)));
            match node.get_mut("dependentSchemas") {
                Some(Value::Object(map)) => map.extend(never),
                _ => {
                    node.insert("dependentSchemas".to_owned(), Value::Object(gathered(never)));
                }
            }
        }
    }
}

/// A schema of one keyword: one of the few that are made of others.
pub(super) fn single(keyword: &str, value: Value) -> Value {
    Value::Object(gathered([(keyword.to_owned(), value)]))
}

/// The schema that asks for all of these, or for any of them.
pub(super) fn joined(keyword: &str, mut members: Vec<Value>) -> Value {
    let neutral = Value::Bool(keyword == "allOf");
    let absorbing = Value::Bool(keyword != "allOf");
    if members.contains(&absorbing) {
        return absorbing;
    }
    members.retain(|member| *member != neutral);
    match members.pop() {
        None => neutral,
        Some(only) if members.is_empty() => only,
        Some(last) => {
            members.push(last);
            single(keyword, Value::Array(members))
        }
    }
}

/// The schema that asks for the opposite.
pub(super) fn negated(schema: Value) -> Value {
    match schema {
        Value::Bool(all) => Value::Bool(!all),
        other => single("not", other),
    }
}

/// What a schema becomes that no arguments can satisfy: clients expect an object even then.
pub(super) fn nothing(schema: &JsonObject) -> JsonObject {
    let kept = ["$schema", "title", "description"].iter().filter_map(|&key| {
        let value = schema.get(key)?;
        Some((key.to_owned(), value.clone()))
    });
    let never = [
        ("type".to_owned(), Value::String("object".to_owned())),
        ("not".to_owned(), Value::Object(JsonObject::new())),
    ];
    gathered(kept.chain(never))
}
