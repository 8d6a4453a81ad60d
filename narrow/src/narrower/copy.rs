//! References and copies: which references keep their meaning, which need a copy of what they
//! mean, and which definitions are left. It must not know what specialising a schema makes of it.

use super::{Definitions, Job, Narrower, Place, Version};
use crate::{
    JsonObject, NarrowError,
    read::{BRANCHES, DEPENDENTS, LISTS, Schema, breadth},
    reference::{definition, local, resolve},
    walk::{Below, Position, each_schema, gather, in_place},
};
use serde_json::Value;
use shared::gathered;
use std::{collections::BTreeSet, ptr};

impl<'a> Narrower<'a> {
    /// A reference from a schema of the root instance.
    pub(super) fn reference(&mut self, reference: &str, at: Place) -> Result<String, NarrowError> {
        // The root specialised is the root itself.
        if matches!(reference, "" | "#") {
            return Ok(reference.to_owned());
        }
        let Some(target) = self.resolve(reference, at) else {
            return Ok(reference.to_owned());
        };
        if !self.is_shifting(reference) && !self.is_concerned(target)? {
            return Ok(reference.to_owned());
        }
        Ok(self.copy(reference, target, Version::Pinned))
    }

    /// Whether narrowing changes a schema of the root instance, or what it refers to.
    fn is_concerned(&mut self, schema: Schema<'a>) -> Result<bool, NarrowError> {
        if let Schema::Object(schema) = schema {
            for node in in_place(self.root, schema, Below::All) {
                self.spend(breadth(node))?;
                if self.touched.contains(&ptr::from_ref(node)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Whether a pointer leads to the root or through what narrowing may change or remove.
    fn is_shifting(&self, reference: &str) -> bool {
        let Some(steps) = local(reference) else {
            return false;
        };
        match steps.first().map(String::as_str) {
            None => true,
            Some("properties") => steps.get(1).is_some_and(|name| self.is_known(name)),
            Some("not") => true,
            Some(first) => [LISTS, BRANCHES, DEPENDENTS].iter().flatten().any(|key| *key == first),
        }
    }

    /// The reference to a copy of a schema, which is made later.
    fn copy(&mut self, reference: &str, schema: Schema<'a>, version: Version) -> String {
        let key = (reference.to_owned(), version);
        if let Some(name) = self.copies.get(&key) {
            return format!("#/{}/{name}", self.container);
        }
        let last = local(reference).and_then(|mut steps| steps.pop());
        let last = last.unwrap_or_else(|| "root".to_owned());
        // Of this alphabet a name needs no escapes, neither of a pointer nor of a URL.
        let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let last: String = last.chars().filter(plain).collect();
        let suffix = if version == Version::Pinned { "pinned" } else { "whole" };
        let mut name = format!("{last}.{suffix}");
        while !self.taken.insert(name.clone()) {
            self.number = self.number.saturating_add(1);
            name = format!("{last}.{suffix}{}", self.number);
        }
        let reference = format!("#/{}/{name}", self.container);
        self.copies.insert(key, name.clone());
        self.queue.push(Job { name, schema, version });
        reference
    }

    /// Makes a copy.
    pub(super) fn copied(&mut self, job: &Job<'a>) -> Result<Value, NarrowError> {
        let node = match job.schema {
            Schema::Boolean(all) => return Ok(Value::Bool(all)),
            Schema::Object(node) => node,
        };
        let mut out = match job.version {
            Version::Pinned => {
                self.node(node, Place::TOP)?.map_or(Value::Bool(false), Value::Object)
            }
            Version::Whole => {
                let mut whole = node.clone();
                if ptr::eq(node, self.root) {
                    let own = ["$schema", "$id", "$vocabulary", "$defs", "definitions"];
                    whole.retain(|key, _| !own.contains(&key.as_str()));
                }
                self.nested(Value::Object(whole), Position::Schema, Place::TOP)?
            }
        };
        // What an anchor names must be one place: the original.
        let walked = each_schema(&mut out, Position::Schema, &mut |node| {
            let anchor = |key: &str| matches!(key, "$anchor" | "$dynamicAnchor");
            node.retain(|key, value| !(anchor(key) && value.is_string()));
        });
        self.spend(walked)?;
        Ok(out)
    }

    /// Something that does not speak of the root instance. It is kept as it is, except that a
    /// reference to what narrowing changes goes to a copy of what was there.
    pub(super) fn nested(
        &mut self,
        mut value: Value,
        position: Position,
        at: Place,
    ) -> Result<Value, NarrowError> {
        let position = if at.foreign { Position::Data } else { position };
        let walked = each_schema(&mut value, position, &mut |node| {
            if let Some(Value::String(reference)) = node.get_mut("$ref")
                && self.is_shifting(reference)
                && let Some(target) = resolve(self.root, reference)
            {
                *reference = self.copy(reference, target, Version::Whole);
            }
        });
        self.spend(walked)?;
        Ok(value)
    }

    /// Removes the copies that turned out not to be needed, and the originals that nothing refers
    /// to now that a specialised copy is referred to instead.
    pub(super) fn sweep(&self, out: &JsonObject, definitions: &mut Definitions) {
        let copies = self.copies.values().map(|name| (self.container, name.clone()));
        let pinned = self.copies.keys().filter(|(_, version)| *version == Version::Pinned);
        let originals = pinned.filter_map(|(reference, _)| definition(reference));
        let mut spare: BTreeSet<_> = gathered(copies.chain(originals));
        let mut found = Vec::new();
        gather(out.iter(), &mut found);
        for (container, held) in definitions.iter() {
            for (name, schema) in held {
                let key = (*container, name.clone());
                let mut inner = Vec::new();
                // A name of its own may be referred to from anywhere.
                if gather([(name, schema)], &mut inner) {
                    spare.remove(&key);
                }
                if !spare.contains(&key) {
                    found.append(&mut inner);
                }
            }
        }
        while let Some(key) = found.pop() {
            if spare.remove(&key)
                && let Some(schema) = definitions.get(key.0).and_then(|held| held.get(&key.1))
            {
                gather([(&key.1, schema)], &mut found);
            }
        }
        for (container, held) in definitions {
            held.retain(|name, _| !spare.contains(&(*container, name.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::{check, check_pin};
    use serde_json::json;

    #[test]
    fn a_definition_for_the_root_is_specialised_once() {
        check(
            json!({
                "allOf": [{"$ref": "#/$defs/where"}, {"$ref": "#/$defs/where"}],
                "$defs": {"where": {"properties": {"org": {}}}, "where.pinned": {}, "other": {}},
            }),
            json!({
                "allOf": [{"$ref": "#/$defs/where.pinned2"}, {"$ref": "#/$defs/where.pinned2"}],
                "$defs": {"where.pinned2": {"properties": {}}, "where.pinned": {}, "other": {}},
            }),
        );
        // What mentions no pinned name may still count it; a pointer may lead into a definition.
        check(
            json!({
                "properties": {"org": {}},
                "allOf": [{"$ref": "#/$defs/two"}, {"$ref": "#/$defs/more/anyOf/0"}],
                "$defs": {"two": {"minProperties": 2}, "more": {"anyOf": [{"required": ["org"]}]}},
            }),
            json!({
                "properties": {},
                "allOf": [{"$ref": "#/$defs/two.pinned"}, {"$ref": "#/$defs/0.pinned"}],
                "$defs": {"two.pinned": {"minProperties": 1}, "0.pinned": {}},
            }),
        );
        // Also for nested values: the original stays, and so does what has an anchor.
        check(
            json!({
                "$ref": "#/definitions/a~1b",
                "definitions": {
                    "a/b": {"properties": {"org": {}, "child": {"$ref": "#/definitions/a~1b"}}},
                    "c": {"$anchor": "c", "$ref": "#/definitions/a~1b"},
                },
                "anyOf": [{"$ref": "#/definitions/c"}],
            }),
            json!({
                "$ref": "#/definitions/ab.pinned",
                "definitions": {
                    "a/b": {"properties": {"org": {}, "child": {"$ref": "#/definitions/a~1b"}}},
                    "ab.pinned": {"properties": {"child": {"$ref": "#/definitions/a~1b"}}},
                    "c": {"$anchor": "c", "$ref": "#/definitions/a~1b"},
                    "c.pinned": {"$ref": "#/definitions/ab.pinned"},
                },
                "anyOf": [{"$ref": "#/definitions/c.pinned"}],
            }),
        );
    }

    #[test]
    fn definitions_in_circles() {
        check(
            json!({
                "$ref": "#/$defs/a",
                "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a", "required": ["org"]}},
            }),
            json!({
                "$ref": "#/$defs/a.pinned",
                "$defs": {"a.pinned": {"$ref": "#/$defs/b.pinned"}, "b.pinned": {"$ref": "#/$defs/a.pinned"}},
            }),
        );
        check(
            json!({"$ref": "#", "properties": {"org": {"$ref": "#"}}}),
            json!({"$ref": "#", "properties": {}}),
        );
    }

    #[test]
    fn a_nested_reference_to_the_root_means_what_it_meant() {
        check(
            json!({
                "$id": "https://example.com/tool",
                "properties": {"org": {}, "child": {"$ref": "#"}, "data": {"const": {"$ref": "#"}}},
                "$defs": {"tree": {"items": {"$ref": "#"}}},
            }),
            json!({
                "$id": "https://example.com/tool",
                "properties": {"child": {"$ref": "#/$defs/root.whole"}, "data": {"const": {"$ref": "#"}}},
                "$defs": {
                    "tree": {"items": {"$ref": "#/$defs/root.whole"}},
                    "root.whole": {"properties": {
                        "org": {}, "child": {"$ref": "#/$defs/root.whole"},
                        "data": {"const": {"$ref": "#"}},
                    }},
                },
            }),
        );
    }

    #[test]
    fn a_nested_reference_to_what_is_removed_finds_a_copy() {
        check(
            json!({"properties": {
                "org": {"type": "string", "$anchor": "slug"},
                "team": {"$ref": "#/properties/org"},
                "more": {"items": {"$ref": "#/properties/team"}},
                "rest": {"$ref": "#/anyOf/0"},
            }, "anyOf": [{"required": ["org"]}]}),
            json!({
                "anyOf": [{}],
                "properties": {
                    "team": {"$ref": "#/$defs/org.whole"},
                    "more": {"items": {"$ref": "#/properties/team"}},
                    "rest": {"$ref": "#/$defs/0.whole"},
                },
                "$defs": {"org.whole": {"type": "string"}, "0.whole": {"required": ["org"]}},
            }),
        );
    }

    #[test]
    fn other_references_stay() {
        let schema = json!({
            "properties": {"org": {}, "a": {"$id": "https://example.com/a", "$ref": "#"}},
            "allOf": [
                {"$ref": "#where"}, {"$ref": "https://example.com/#/$defs/x"}, {"$ref": "#/%zz"},
                {"$ref": "#/$defs/none"}, {"$dynamicRef": "#meta"}, {"$ref": 7},
                {"$id": "https://example.com/b", "$ref": "#/$defs/c", "required": ["org"]},
                {"$ref": "#/$defs/b"}, {"$ref": "#/$defs/b/not"},
            ],
            "$defs": {
                "b": {"$id": "https://example.com/c", "required": ["org"], "not": {"maxProperties": 0}},
                "c": {"required": ["org"]},
            },
            "anyOf": [{"$ref": "#/$defs/c"}],
        });
        let mut left = schema.clone();
        left["properties"] = json!({"a": {"$id": "https://example.com/a", "$ref": "#"}});
        left["allOf"][6] = json!({"$id": "https://example.com/b", "$ref": "#/$defs/c"});
        left["$defs"]["c.pinned"] = json!({});
        left["anyOf"] = json!([{"$ref": "#/$defs/c.pinned"}]);
        check(schema, left);
        // What such a part refers to is not ours to read.
        check_pin(
            json!({
                "$ref": "#/$defs/b", "allOf": [{"$id": "https://example.com/b", "$ref": "#/$defs/c"}],
                "$defs": {"b": {"$id": "https://example.com/c", "required": ["org"]}, "c": {"required": ["org"]}},
            }),
            json!({}),
            Ok(json!({})),
        );
    }
}
