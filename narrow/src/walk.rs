//! Every schema that applies to one instance, and everything in a value, without recursion: what
//! is walked may be of any depth. It must not know pins, nor what is done with what it finds.

use super::{
    JsonObject, NarrowError,
    read::{BRANCHES, DEPENDENTS, LISTS, Schema, entries, is_resource, items},
    reference::{definition, resolve},
};
use serde_json::Value;
use shared::limits;
use std::{collections::BTreeSet, ptr};

/// Which schemas below another are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Below {
    /// All but what only `not` applies.
    Asserted,
    /// All.
    All,
}

/// Every schema that applies to the very instance that `start` applies to, itself first. Linear
/// in the size of the schema, whatever refers to what: each is visited once.
pub(super) fn in_place<'a>(
    root: &'a JsonObject,
    start: &'a JsonObject,
    below: Below,
) -> impl Iterator<Item = &'a JsonObject> {
    let mut seen = BTreeSet::new();
    let mut open = vec![(start, false)];
    std::iter::from_fn(move || {
        loop {
            let (node, foreign) = open.pop()?;
            if !seen.insert(ptr::from_ref(node)) {
                continue;
            }
            let foreign = foreign || (is_resource(node) && !ptr::eq(node, root));
            let lists = LISTS.iter().flat_map(|key| items(node, key));
            let branches = BRANCHES.iter().filter_map(|key| node.get(*key));
            let dependent = DEPENDENTS.iter().flat_map(|key| entries(node, key).map(|(_, v)| v));
            let not = node.get("not").filter(|_| below == Below::All);
            let inner = lists.chain(branches).chain(dependent).chain(not);
            open.extend(inner.filter_map(Value::as_object).map(|inner| (inner, foreign)));
            let reference = node.get("$ref").and_then(Value::as_str).filter(|_| !foreign);
            if let Some(Schema::Object(target)) = reference.and_then(|r| resolve(root, r)) {
                open.push((target, false));
            }
            return Some(node);
        }
    })
}

/// What stands somewhere in a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// A schema, or a list of them.
    Schema,
    /// A map whose values are schemas: its keys are names, not keywords.
    Map,
    /// Somebody's values, in which nothing is a keyword.
    Data,
}

impl Position {
    /// What a keyword holds. An unknown one may hold schemas: references can point into it.
    pub(super) fn under(keyword: &str) -> Self {
        match keyword {
            "properties" | "patternProperties" | "dependentSchemas" | "dependencies" | "$defs"
            | "definitions" => Self::Map,
            "const" | "enum" | "default" | "examples" => Self::Data,
            _ => Self::Schema,
        }
    }
}

/// Calls `visit` with every schema object in a value, outer ones first, except in a resource of
/// its own. Returns how many JSON values it walked over.
pub(super) fn each_schema(
    value: &mut Value,
    position: Position,
    visit: &mut dyn FnMut(&mut JsonObject),
) -> usize {
    let mut open = vec![(value, position)];
    let mut walked: usize = 0;
    while let Some((value, position)) = open.pop() {
        walked = walked.saturating_add(1);
        match value {
            Value::Array(list) => {
                let inner = if position == Position::Map { Position::Data } else { position };
                open.extend(list.iter_mut().map(|value| (value, inner)));
            }
            Value::Object(node) => {
                let schema = position == Position::Schema && !is_resource(node);
                if schema {
                    visit(node);
                }
                open.extend(node.iter_mut().map(|(key, value)| match position {
                    Position::Map => (value, Position::Schema),
                    _ if schema => (value, Position::under(key)),
                    _ => (value, Position::Data),
                }));
            }
            _ => {}
        }
    }
    walked
}

/// Finds the definitions that anything in here refers to, and tells whether a part of it has a name
/// of its own. What is no schema is read as one too: it keeps a definition, at worst.
pub(super) fn gather<'a>(
    entries: impl IntoIterator<Item = (&'a String, &'a Value)>,
    found: &mut Vec<(&'static str, String)>,
) -> bool {
    let mut open: Vec<(&str, &Value)> = Vec::new();
    open.extend(entries.into_iter().map(|(key, value)| (key.as_str(), value)));
    let mut named = false;
    while let Some((key, value)) = open.pop() {
        match (key, value) {
            ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(reference)) => {
                found.extend(definition(reference));
            }
            ("$id" | "$anchor" | "$dynamicAnchor", Value::String(_)) => named = true,
            (_, Value::Array(list)) => open.extend(list.iter().map(|value| ("", value))),
            (_, Value::Object(node)) => {
                open.extend(node.iter().map(|(key, value)| (key.as_str(), value)));
            }
            _ => {}
        }
    }
    named
}

/// Refuses what is too deep to recurse into, here or in what clones and drops it, or too large.
pub(super) fn measure(schema: &JsonObject) -> Result<(), NarrowError> {
    let mut open: Vec<_> = schema.values().map(|value| (value, 2_usize)).collect();
    let mut walked: usize = 0;
    while let Some((value, depth)) = open.pop() {
        walked = walked.saturating_add(1);
        if walked > limits::SCHEMA_VISITS_MAX {
            return Err(NarrowError::Large);
        }
        let inner = depth.saturating_add(1);
        match value {
            Value::Array(_) | Value::Object(_) if depth > limits::SCHEMA_JSON_DEPTH_MAX => {
                return Err(NarrowError::Deep);
            }
            Value::Array(list) => open.extend(list.iter().map(|value| (value, inner))),
            Value::Object(node) => open.extend(node.values().map(|value| (value, inner))),
            _ => {}
        }
    }
    Ok(())
}
