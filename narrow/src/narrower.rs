//! One run of narrowing: what it may spend, where it stands, and the result put together from the
//! root, its definitions and the copies. It must not know what any keyword means; its parts do.

mod copy;
mod keyword;
mod unevaluated;
mod verdict;

use super::{
    JsonObject, NarrowError,
    build::nothing,
    known::{Known, Names, is_touched},
    read::{DEFINITIONS, Schema, breadth, entries, is_resource},
    reference::resolve,
    walk::{Below, Position, in_place, measure},
};
use serde_json::Value;
use shared::{gathered, limits};
use std::{
    collections::{BTreeMap, BTreeSet},
    ptr,
};

/// Where the narrower stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// How many schemas are around this one.
    depth: usize,
    /// Whether one of them is a resource of its own.
    foreign: bool,
}

impl Place {
    const TOP: Self = Self { depth: 0, foreign: false };

    /// The same place for schemas of a value, which are around nothing yet.
    const fn fresh(self) -> Self {
        Self { depth: 0, foreign: self.foreign }
    }

    /// The place of what a reference from here means.
    const fn referred(self) -> Self {
        Self { depth: self.depth, foreign: false }
    }
}

/// Which version of a schema a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    /// Specialised, for the root instance.
    Pinned,
    /// As it was, for a nested instance, where narrowing changed the original.
    Whole,
}

/// A copy of a schema that is yet to be made.
#[derive(Debug)]
struct Job<'a> {
    name: String,
    schema: Schema<'a>,
    version: Version,
}

/// Definitions by the keyword that holds them.
type Definitions = BTreeMap<&'static str, JsonObject>;

/// One run of [`super::narrow`].
#[derive(Debug)]
pub(super) struct Narrower<'a> {
    root: &'a JsonObject,
    known: &'a Names<'a>,
    inserted: &'a [(&'a str, &'a str)],
    /// Schemas for the root instance whose own keywords change.
    touched: BTreeSet<*const JsonObject>,
    /// JSON values looked at so far.
    visits: usize,
    /// Names of the copies, by the reference that asked for one.
    copies: BTreeMap<(String, Version), String>,
    /// Names that a definition has.
    taken: BTreeSet<String>,
    /// The last number given to a copy whose name was taken. It never goes back, so that many
    /// names that are taken do not make many tries for each.
    number: u64,
    /// Copies to make. A queue rather than recursion: definitions refer to each other in circles.
    queue: Vec<Job<'a>>,
    /// The keyword that holds the copies.
    container: &'static str,
}

impl<'a> Narrower<'a> {
    pub(super) fn new(
        root: &'a JsonObject,
        known: &'a Names<'a>,
        inserted: &'a [(&'a str, &'a str)],
    ) -> Result<Self, NarrowError> {
        measure(root)?;
        let nodes = in_place(root, root, Below::All).filter(|node| is_touched(node, known));
        let [modern, legacy] = DEFINITIONS;
        let has = |key| root.get(key).is_some_and(Value::is_object);
        let names = DEFINITIONS.iter().flat_map(|key| entries(root, key));
        Ok(Self {
            root,
            known,
            inserted,
            touched: gathered(nodes.map(ptr::from_ref)),
            visits: 0,
            copies: BTreeMap::new(),
            taken: gathered(names.map(|(name, _)| name.clone())),
            number: 1,
            queue: Vec::new(),
            container: if has(legacy) && !has(modern) { legacy } else { modern },
        })
    }

    /// The narrowed root with its definitions.
    pub(super) fn finish(mut self) -> Result<JsonObject, NarrowError> {
        if self.touched.is_empty() {
            let keep = |(key, value): (&String, &Value)| (key.clone(), self.sample(key, value));
            return Ok(gathered(self.root.iter().map(keep)));
        }
        let Some(mut out) = self.node(self.root, Place::TOP)? else {
            return Ok(nothing(self.root));
        };
        let mut definitions = Definitions::new();
        for container in DEFINITIONS {
            for (name, schema) in entries(self.root, container) {
                let schema = self.nested(schema.clone(), Position::Schema, Place::TOP)?;
                definitions.entry(container).or_default().insert(name.clone(), schema);
            }
        }
        while let Some(job) = self.queue.pop() {
            let schema = self.copied(&job)?;
            definitions.entry(self.container).or_default().insert(job.name, schema);
        }
        self.sweep(&out, &mut definitions);
        for (container, held) in definitions {
            if held.is_empty() {
                out.retain(|key, _| key != container);
            } else {
                out.insert(container.to_owned(), Value::Object(held));
            }
        }
        Ok(out)
    }

    fn spend(&mut self, visits: usize) -> Result<(), NarrowError> {
        self.visits = self.visits.saturating_add(visits);
        if self.visits > limits::SCHEMA_VISITS_MAX { Err(NarrowError::Large) } else { Ok(()) }
    }

    fn enter(&mut self, node: &JsonObject, at: Place) -> Result<Place, NarrowError> {
        self.spend(breadth(node))?;
        let depth = at.depth.saturating_add(1);
        if depth > limits::SCHEMA_DEPTH_MAX {
            return Err(NarrowError::Deep);
        }
        Ok(Place { depth, foreign: at.foreign || self.is_foreign(node) })
    }

    fn is_foreign(&self, node: &JsonObject) -> bool {
        is_resource(node) && !ptr::eq(node, self.root)
    }

    fn is_known(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    fn is_absent(&self, name: &str) -> bool {
        self.known.get(name) == Some(&Known::Absent)
    }

    fn resolve(&self, reference: &str, at: Place) -> Option<Schema<'a>> {
        if at.foreign { None } else { resolve(self.root, reference) }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        JsonObject, NarrowError, narrow,
        tests::{check, object, pins},
    };
    use serde_json::{Value, json};
    use shared::limits;

    #[test]
    fn what_has_nothing_to_do_with_the_pins_stays() {
        let schema = json!({
            "type": "object",
            "description": "Finds things of an org.",
            "properties": {
                "where": {"properties": {"org": {"$ref": "#"}}, "required": ["org"]},
                "page": {"$ref": "#/$defs/page"},
                "same": {"$ref": "#/anyOf/0"},
            },
            "allOf": [{"$ref": "#/$defs/page"}, true, 7],
            "anyOf": [{"minProperties": 1}, {"enum": [{"where": "org"}, 1]}],
            "additionalProperties": false,
            "required": [],
            "$defs": {"page": {"properties": {"cursor": {"type": "string"}}}},
        });
        check(schema.clone(), schema);
        check(json!({}), json!({}));
    }

    #[test]
    fn bounds() {
        let nested = |depth: usize, inside: fn(Value) -> Value| {
            let schema = (1..depth).fold(json!({"required": ["org"]}), |inner, _| inside(inner));
            narrow(&object(schema), &pins()).map(|_| ())
        };
        let all_of = |inner| json!({"allOf": [inner]});
        assert_eq!(nested(limits::SCHEMA_DEPTH_MAX, all_of), Ok(()));
        assert_eq!(nested(limits::SCHEMA_DEPTH_MAX + 1, all_of), Err(NarrowError::Deep));
        assert_eq!(
            nested(limits::SCHEMA_DEPTH_MAX + 1, |i| json!({"not": i})),
            Err(NarrowError::Deep)
        );
        assert_eq!(nested(100, |i| json!({"items": [i]})), Err(NarrowError::Deep));
        let wide = |n: usize| object(json!({"required": ["org"], "enum": vec![1; n]}));
        assert!(narrow(&wide(limits::SCHEMA_VISITS_MAX / 2), &pins()).is_ok());
        assert_eq!(narrow(&wide(limits::SCHEMA_VISITS_MAX), &pins()), Err(NarrowError::Large));
        // A value is judged in the innermost schema as in the outermost.
        let around =
            |inner| (1..limits::SCHEMA_DEPTH_MAX).fold(inner, |inner, _| json!({"then": inner}));
        let deep = around(json!({"properties": {"org": {"const": "x"}}}));
        let left = around(json!(false));
        check(deep, left);
        // Twice as much with every definition.
        let mut definitions = JsonObject::new();
        for n in 0..60 {
            let next = json!({"$ref": format!("#/$defs/{}", n + 1)});
            definitions.insert(n.to_string(), json!({"anyOf": [next, next]}));
        }
        definitions.insert("60".to_owned(), json!({"pattern": "x"}));
        let org = json!({"$ref": "#/$defs/0"});
        let schema = json!({"properties": {"org": org}, "$defs": definitions});
        assert_eq!(narrow(&object(schema), &pins()), Err(NarrowError::Large));
        // A chain of definitions is no depth.
        let mut definitions = JsonObject::new();
        for n in 0..5000 {
            definitions.insert(n.to_string(), json!({"$ref": format!("#/$defs/{}", n + 1)}));
        }
        let schema = object(json!({"$ref": "#/$defs/0", "$defs": definitions}));
        assert_eq!(narrow(&schema, &pins()), Ok(schema.clone()));
    }
}
