//! Schemas of the root instance: what is left of each keyword, and whether the known properties
//! alone make a schema refuse. It must not know how a text is judged or a copy is made.

use super::{Narrower, Place};
use crate::{
    JsonObject, NarrowError,
    build::Extra,
    known::Known,
    read::{DEPENDENTS, count, entries, texts},
    walk::Position,
};
use serde_json::Value;
use shared::gathered;
use std::ptr;

impl<'a> Narrower<'a> {
    pub(super) fn schema(&mut self, schema: &'a Value, at: Place) -> Result<Value, NarrowError> {
        match schema {
            Value::Object(node) => {
                Ok(self.node(node, at)?.map_or(Value::Bool(false), Value::Object))
            }
            other => self.nested(other.clone(), Position::Data, at),
        }
    }

    /// A schema of the root instance, specialised; nothing, if it accepts nothing any more.
    pub(super) fn node(
        &mut self,
        node: &'a JsonObject,
        at: Place,
    ) -> Result<Option<JsonObject>, NarrowError> {
        let at = self.enter(node, at)?;
        let mut extra = Extra::default();
        if self.refuses(node, at)? || self.leaves_unevaluated(node, at, &mut extra)? {
            return Ok(None);
        }
        let mut out = JsonObject::new();
        for (key, value) in node {
            if let Some(value) = self.keyword(node, key, value, at, &mut extra)? {
                out.insert(key.clone(), value);
            }
        }
        extra.join(&mut out);
        Ok(Some(out))
    }

    /// What is left of one keyword.
    fn keyword(
        &mut self,
        node: &'a JsonObject,
        key: &str,
        value: &'a Value,
        at: Place,
        extra: &mut Extra,
    ) -> Result<Option<Value>, NarrowError> {
        let is_root = ptr::eq(node, self.root);
        let nested = || (value.clone(), Position::under(key));
        let (left, position) = match (key, value) {
            ("properties", Value::Object(map)) => {
                let free = map.iter().filter(|(name, _)| !self.is_known(name));
                let free = free.map(|(name, schema)| (name.clone(), schema.clone()));
                (Value::Object(gathered(free)), Position::Map)
            }
            ("required", Value::Array(list)) => match self.unknown(list) {
                Some(list) => (Value::Array(list), Position::Data),
                None => return Ok(None),
            },
            ("const", _) => match self.remainder(value) {
                Some(rest) => (rest, Position::Data),
                None => nested(),
            },
            ("enum", Value::Array(list)) => {
                let rest = list.iter().filter_map(|candidate| self.remainder(candidate));
                (rest.collect(), Position::Data)
            }
            ("minProperties" | "maxProperties", _) => return Ok(self.remaining(key, value)),
            ("default" | "examples", _) if is_root => (self.sample(key, value), Position::Data),
            // The definitions are put together last, when it is known which are needed. What is
            // here keeps their place.
            ("$defs" | "definitions", Value::Object(_)) if is_root => {
                (Value::Object(JsonObject::new()), Position::Data)
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(list)) => {
                let list = list.iter().map(|member| self.schema(member, at));
                return list.collect::<Result<_, _>>().map(Value::Array).map(Some);
            }
            ("not" | "if" | "then" | "else", _) => return self.schema(value, at).map(Some),
            ("dependentRequired" | "dependentSchemas" | "dependencies", Value::Object(map)) => {
                return self.dependent(map, at, extra);
            }
            ("$ref", Value::String(reference)) => {
                return self.reference(reference, at).map(Value::String).map(Some);
            }
            _ => nested(),
        };
        self.nested(left, position, at).map(Some)
    }

    /// The names in a list that are not known; nothing, if none is left of some.
    fn unknown(&self, list: &[Value]) -> Option<Vec<Value>> {
        let is_known = |name: &Value| name.as_str().is_some_and(|name| self.is_known(name));
        let left: Vec<_> = list.iter().filter(|name| !is_known(name)).cloned().collect();
        if left.is_empty() && !list.is_empty() { None } else { Some(left) }
    }

    /// What the other properties must be for the whole instance to be this candidate; nothing, if
    /// the known ones make that impossible.
    fn remainder(&self, candidate: &Value) -> Option<Value> {
        let candidate = candidate.as_object()?;
        let agrees = self.known.iter().all(|(name, known)| match known {
            Known::Inserted(value) => candidate.get(*name).is_some_and(|got| got == value),
            Known::Absent => !candidate.contains_key(*name),
        });
        let rest = candidate.iter().filter(|(name, _)| !self.is_known(name));
        let rest = rest.map(|(name, value)| (name.clone(), value.clone()));
        agrees.then(|| Value::Object(gathered(rest)))
    }

    /// A bound on the number of properties, less those that are inserted.
    fn remaining(&self, key: &str, value: &Value) -> Option<Value> {
        let inserted = self.inserted.len() as u64;
        let Some(bound) = count(value).filter(|_| inserted > 0) else {
            return Some(value.clone());
        };
        let left = bound.saturating_sub(inserted);
        (left > 0 || key == "maxProperties").then(|| Value::from(left))
    }

    /// Sample arguments of the root, without what a client cannot give.
    pub(super) fn sample(&self, key: &str, value: &Value) -> Value {
        let strip = |value: &Value| match value {
            Value::Object(sample) => {
                let free = sample.iter().filter(|(name, _)| !self.is_known(name));
                let free = free.map(|(name, value)| (name.clone(), value.clone()));
                Value::Object(gathered(free))
            }
            other => other.clone(),
        };
        match (key, value) {
            ("default", sample) => strip(sample),
            ("examples", Value::Array(samples)) => samples.iter().map(strip).collect(),
            _ => value.clone(),
        }
    }

    /// What the presence of a property asks, be it names or a schema.
    fn dependent(
        &mut self,
        map: &'a JsonObject,
        at: Place,
        extra: &mut Extra,
    ) -> Result<Option<Value>, NarrowError> {
        let mut left = JsonObject::new();
        for (name, asked) in map {
            self.spend(asked.as_array().map_or(1, Vec::len))?;
            match (self.known.get(name.as_str()), asked) {
                (Some(Known::Absent), _) => {}
                (Some(Known::Inserted(_)), Value::Array(list)) => {
                    let list = self.unknown(list).unwrap_or_default();
                    extra.required.extend(list.iter().filter_map(Value::as_str).map(str::to_owned));
                }
                (Some(Known::Inserted(_)), schema) => extra.all_of.push(self.schema(schema, at)?),
                (None, Value::Array(_)) if texts(asked).any(|name| self.is_absent(name)) => {
                    extra.never.push(name.clone());
                }
                (None, Value::Array(list)) => {
                    if let Some(list) = self.unknown(list) {
                        left.insert(name.clone(), Value::Array(list));
                    }
                }
                (None, schema) => {
                    left.insert(name.clone(), self.schema(schema, at)?);
                }
            }
        }
        Ok((!left.is_empty() || map.is_empty()).then_some(Value::Object(left)))
    }

    /// Whether the known properties alone make this schema refuse every instance.
    fn refuses(&mut self, node: &'a JsonObject, at: Place) -> Result<bool, NarrowError> {
        let mut asked: Vec<_> = node.get("required").into_iter().collect();
        for (name, list) in DEPENDENTS.iter().flat_map(|key| entries(node, key)) {
            if matches!(self.known.get(name.as_str()), Some(Known::Inserted(_))) {
                self.spend(list.as_array().map_or(0, Vec::len))?;
                asked.push(list);
            }
        }
        if asked.into_iter().flat_map(texts).any(|name| self.is_absent(name)) {
            return Ok(true);
        }
        let most = node.get("maxProperties").and_then(count);
        if most.is_some_and(|most| most < self.inserted.len() as u64)
            || node.get("const").is_some_and(|only| self.remainder(only).is_none())
            || node.get("enum").is_some_and(|of| {
                of.as_array().is_some_and(|of| !of.iter().any(|c| self.remainder(c).is_some()))
            })
        {
            return Ok(true);
        }
        let patterned = entries(node, "patternProperties").next().is_some();
        for (name, value) in self.inserted {
            let listed = node.get("properties").and_then(|properties| properties.get(name));
            let rest = node.get("additionalProperties").filter(|_| !patterned);
            if let Some(schema) = listed.or(rest)
                && self.verdict(schema, value, at.fresh())? == Some(false)
            {
                return Ok(true);
            }
            if let Some(schema) = node.get("propertyNames")
                && self.verdict(schema, name, at.fresh())? == Some(false)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::{check, check_below};
    use serde_json::json;

    #[test]
    fn properties_and_required() {
        check(
            json!({
                "type": "object",
                "properties": {"org": {"type": "string"}, "query": {"type": "string"}},
                "required": ["query", "org"],
            }),
            json!({
                "type": "object",
                "properties": {"query": {"type": "string"}},
                "required": ["query"],
            }),
        );
        check(
            json!({"properties": {"projectSlug": true}, "required": ["projectSlug"]}),
            json!({"properties": {}}),
        );
        check(json!({"required": ["org", "org", 7]}), json!({"required": [7]}));
        check_below(json!({"not": {"required": ["org"]}}), json!({"not": {}}));
        // Nobody inserts a parameter that nobody declares.
        check(json!({"not": {"required": ["org"]}}), json!({"not": false}));
        check(json!({"not": {"properties": {"org": false}}}), json!({"not": {"properties": {}}}));
    }

    #[test]
    fn other_properties() {
        let declared = json!({"properties": {"org": {}}});
        check_below(json!({"additionalProperties": false}), json!(false));
        check_below(json!({"additionalProperties": {"type": "null"}}), json!(false));
        let fits = json!({"additionalProperties": {"type": "string"}});
        check_below(fits.clone(), fits);
        check_below(
            json!({"properties": {"org": {}}, "additionalProperties": false}),
            json!({"properties": {}, "additionalProperties": false}),
        );
        let patterned = json!({"patternProperties": {"^o": {}}, "additionalProperties": false});
        check_below(patterned.clone(), patterned);
        check_below(json!({"propertyNames": {"maxLength": 2}}), json!(false));
        let names = json!({"propertyNames": {"maxLength": 3, "pattern": "x"}});
        check_below(names.clone(), names);
        check_below(json!({"unevaluatedProperties": false}), json!(false));
        check_below(json!({"unevaluatedProperties": {"type": "null"}}), json!(false));
        let strings = json!({"unevaluatedProperties": {"type": "string"}});
        check_below(strings.clone(), strings);
        for evaluating in ["additionalProperties", "unevaluatedProperties"] {
            let inner = json!({"allOf": [{(evaluating): true}], "unevaluatedProperties": false});
            check_below(inner.clone(), inner);
        }
        check_below(
            json!({"allOf": [declared], "unevaluatedProperties": false}),
            json!({"allOf": [{"properties": {}}], "unevaluatedProperties": false}),
        );
    }

    #[test]
    fn numbers_of_properties() {
        check_below(json!({"minProperties": 3, "maxProperties": 3.0}), {
            json!({"minProperties": 2, "maxProperties": 2})
        });
        check_below(json!({"minProperties": 1, "maxProperties": 1}), json!({"maxProperties": 0}));
        check_below(json!({"maxProperties": 0}), json!(false));
        check_below(json!({"minProperties": "x", "maxProperties": -1}), {
            json!({"minProperties": "x", "maxProperties": -1})
        });
    }

    #[test]
    fn dependents() {
        check_below(
            json!({"dependentRequired": {"org": ["a", "org"], "a": ["org"], "b": ["org", "c"]}}),
            json!({"dependentRequired": {"b": ["c"]}, "required": ["a"]}),
        );
        check_below(
            json!({"required": ["a"], "dependentRequired": {"org": ["a", "b"]}}),
            json!({"required": ["a", "b"]}),
        );
        check_below(
            json!({"allOf": [{}], "dependentSchemas": {"org": {"required": ["org", "a"]}}}),
            json!({"allOf": [{}, {"required": ["a"]}]}),
        );
        check_below(
            json!({"dependentSchemas": {"a": {"required": ["org"]}, "project_slug": false}}),
            json!({"dependentSchemas": {"a": {}}}),
        );
        check_below(
            json!({"dependencies": {"a": ["org", "b"], "org": {"minProperties": 2}, "b": true}}),
            json!({"dependencies": {"a": ["b"], "b": true}, "allOf": [{"minProperties": 1}]}),
        );
        check(
            json!({"not": {"dependentRequired": {"a": ["org"]}, "dependentSchemas": {"b": {}}}}),
            json!({"not": {"dependentSchemas": {"a": false, "b": {}}}}),
        );
        check(
            json!({"properties": {"org": {}}, "not": {"dependentRequired": {"org": ["project_slug"]}}}),
            json!({"properties": {}, "not": false}),
        );
    }

    #[test]
    fn applicators() {
        let node = json!({"properties": {"org": {"const": "acme"}}, "required": ["org"]});
        let left = json!({"properties": {}});
        check(
            json!({
                "allOf": [node, true], "anyOf": [node, {"properties": {"org": {"const": "x"}}}],
                "oneOf": [node, 7], "not": node, "if": node, "then": node, "else": node,
            }),
            json!({
                "allOf": [left, true], "anyOf": [left, false],
                "oneOf": [left, 7], "not": left, "if": left, "then": left, "else": left,
            }),
        );
    }

    #[test]
    fn whole_instances() {
        check_below(json!({"const": {"org": "acme", "a": 1}}), json!({"const": {"a": 1}}));
        check_below(json!({"const": {"org": "other", "a": 1}}), json!(false));
        check_below(json!({"const": {"a": 1}}), json!(false));
        check_below(
            json!({"enum": [{"org": "acme"}, {"org": "x"}, 7, {"org": "acme", "project_slug": "web"}]}),
            json!({"enum": [{}]}),
        );
        check_below(json!({"enum": [{"org": "x"}]}), json!(false));
    }

    #[test]
    fn samples() {
        check(
            json!({
                "default": {"org": "x", "a": {"org": 1}},
                "examples": [{"org": "x"}, 7],
                "properties": {"a": {"default": {"org": 1}, "examples": [{"org": 1}]}},
            }),
            json!({
                "default": {"a": {"org": 1}},
                "examples": [{}, 7],
                "properties": {"a": {"default": {"org": 1}, "examples": [{"org": 1}]}},
            }),
        );
    }
}
