//! What is known of the root instance before any call: which pinned names are inserted, and with
//! which values. It must not know what becomes of a keyword.

use super::{
    JsonObject, Pin,
    read::{DEPENDENTS, entries, items, texts},
    walk::{Below, in_place},
};
use serde_json::Value;
use std::collections::BTreeMap;

/// What is known of a property of the root instance before any call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known<'a> {
    /// [`super::pin`] inserts it with this value.
    Inserted(&'a str),
    /// The complete schema does not declare it, so [`super::pin`] leaves it out.
    Absent,
}

/// Every name that is pinned, declared or not.
pub(super) type Names<'a> = BTreeMap<&'a str, Known<'a>>;

pub(super) fn inserted<'a>(known: &Names<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    known.iter().filter_map(|(&name, known)| match known {
        Known::Inserted(value) => Some((name, *value)),
        Known::Absent => None,
    })
}

/// Both halves of the pair ask this one function what gets inserted: this is why they agree.
pub(super) fn known<'a>(schema: &JsonObject, pins: &'a [Pin]) -> Names<'a> {
    let mut known = Names::new();
    let mut values = BTreeMap::new();
    for pin in pins {
        for name in &pin.parameters {
            known.insert(name.as_str(), Known::Absent);
            values.entry(name.as_str()).or_insert(pin.value.as_str());
        }
    }
    if known.is_empty() {
        return known;
    }
    // What stands below `not` forbids; it declares nothing.
    for node in in_place(schema, schema, Below::Asserted) {
        let properties = entries(node, "properties").filter(|&(_, schema)| *schema != false);
        let dependent = DEPENDENTS.iter().flat_map(|key| entries(node, key));
        let lists = dependent.map(|(_, list)| list).chain(node.get("required"));
        for name in properties.map(|(name, _)| name.as_str()).chain(lists.flat_map(texts)) {
            if let Some((&name, &value)) = values.get_key_value(name) {
                known.insert(name, Known::Inserted(value));
            }
        }
    }
    known
}

/// Whether a node's own keywords mean something else once the pinned names are known.
pub(super) fn is_touched(node: &JsonObject, known: &Names<'_>) -> bool {
    const BY_ANY_INSERTED: [&str; 5] =
        ["unevaluatedProperties", "propertyNames", "minProperties", "maxProperties", "const"];
    let is_known = |name: &str| known.contains_key(name);
    let mentions = |value: &Value| value.as_object().is_some_and(|o| o.keys().any(|k| is_known(k)));
    let mut dependent = DEPENDENTS.iter().flat_map(|key| entries(node, key));
    let inserts = inserted(known).next().is_some();
    let counts = BY_ANY_INSERTED.iter().any(|key| node.contains_key(*key))
        || node.contains_key("enum")
        || node.get("additionalProperties").is_some_and(|rest| *rest != true);
    node.get("properties").is_some_and(mentions)
        || node.get("required").is_some_and(|list| texts(list).any(is_known))
        || dependent.any(|(name, list)| is_known(name) || texts(list).any(is_known))
        || node.get("const").is_some_and(mentions)
        || items(node, "enum").any(mentions)
        || (inserts && counts)
}

#[cfg(test)]
mod tests {
    use crate::tests::check_pin;
    use serde_json::{Value, json};

    #[test]
    fn pins_what_is_declared_anywhere_for_the_root() {
        let given =
            |schema: Value| check_pin(schema, json!({"a": 1}), Ok(json!({"a": 1, "org": "acme"})));
        let declared = json!({"properties": {"org": {}}});
        given(declared.clone());
        given(json!({"required": ["org"]}));
        given(json!({"dependentRequired": {"a": ["org"]}}));
        given(json!({"dependencies": {"a": ["org"]}}));
        for key in ["allOf", "anyOf", "oneOf"] {
            given(json!({(key): [true, {"if": declared}]}));
        }
        for key in ["if", "then", "else"] {
            given(json!({(key): declared}));
        }
        given(json!({"dependentSchemas": {"a": declared}}));
        given(json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/definitions/b"}},
            "definitions": {"b": declared}}));
        let none = |schema: Value| check_pin(schema, json!({"a": 1}), Ok(json!({"a": 1})));
        none(json!({"properties": {"a": declared}, "$defs": {"org": declared}}));
        none(json!({"not": declared, "dependentRequired": {"org": ["a"]}}));
        none(json!({"properties": {"org": false}}));
        none(json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}));
        check_pin(
            json!({"properties": {"org": {}, "organizationSlug": {}, "project_slug": {}}}),
            json!({"organization_slug": "acme", "a": {"org": "x"}}),
            Ok(json!({
                "org": "acme", "organizationSlug": "acme", "project_slug": "web", "a": {"org": "x"},
            })),
        );
    }
}
