//! Schemas of a text that is known: whether one accepts it, as far as that can be told. It must
//! not know whose text it is, nor what follows from the verdict.

use super::{Narrower, Place};
use crate::{
    JsonObject, NarrowError,
    read::{Schema, count, items, texts},
};
use serde_json::Value;
use shared::limits;

impl<'a> Narrower<'a> {
    /// Whether a schema accepts a text; nothing, if it cannot be told.
    pub(super) fn verdict(
        &mut self,
        schema: &'a Value,
        text: &str,
        at: Place,
    ) -> Result<Option<bool>, NarrowError> {
        match Schema::of(schema) {
            Some(schema) => self.judge(schema, text, at),
            None => Ok(None),
        }
    }

    fn judge(
        &mut self,
        schema: Schema<'a>,
        text: &str,
        at: Place,
    ) -> Result<Option<bool>, NarrowError> {
        let node = match schema {
            Schema::Boolean(all) => return Ok(Some(all)),
            Schema::Object(node) => node,
        };
        // References may go in circles here, which ends as what cannot be told.
        if at.depth >= limits::SCHEMA_DEPTH_MAX {
            return Ok(None);
        }
        let at = self.enter(node, at)?;
        let mut all = Some(true);
        for (key, value) in node {
            let one = self.assertion(node, key, value, text, at)?;
            all = match (all, one) {
                (_, Some(false)) => return Ok(Some(false)),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            };
        }
        Ok(all)
    }

    /// Whether one keyword accepts a text.
    fn assertion(
        &mut self,
        node: &'a JsonObject,
        key: &str,
        value: &'a Value,
        text: &str,
        at: Place,
    ) -> Result<Option<bool>, NarrowError> {
        let length = text.chars().count() as u64;
        Ok(match (key, value) {
            ("type", Value::String(only)) => Some(only == "string"),
            ("type", Value::Array(_)) => Some(texts(value).any(|of| of == "string")),
            ("const", _) => Some(value == text),
            ("enum", Value::Array(_)) => Some(items(node, "enum").any(|value| value == text)),
            ("minLength", _) => count(value).map(|least| length >= least),
            ("maxLength", _) => count(value).map(|most| length <= most),
            ("allOf" | "anyOf" | "oneOf", Value::Array(members)) => {
                let verdicts = members.iter().map(|member| self.verdict(member, text, at));
                tally(key, &verdicts.collect::<Result<Vec<_>, _>>()?)
            }
            ("not", _) => self.verdict(value, text, at)?.map(|accepts| !accepts),
            ("if", _) => {
                let mut branch = |key| match node.get(key) {
                    Some(branch) => self.verdict(branch, text, at),
                    None => Ok(Some(true)),
                };
                let (then, otherwise) = (branch("then")?, branch("else")?);
                match self.verdict(value, text, at)? {
                    Some(true) => then,
                    Some(false) => otherwise,
                    None => then.filter(|_| then == otherwise),
                }
            }
            ("$ref", Value::String(reference)) => match self.resolve(reference, at) {
                Some(target) => self.judge(target, text, at.referred())?,
                None => None,
            },
            ("type" | "enum" | "allOf" | "anyOf" | "oneOf" | "$ref" | "pattern" | "format", _)
            | ("$dynamicRef" | "$recursiveRef", _) => None,
            _ => Some(true),
        })
    }
}

/// What `allOf`, `anyOf` or `oneOf` makes of the verdicts of its members.
fn tally(keyword: &str, verdicts: &[Option<bool>]) -> Option<bool> {
    let accepting = verdicts.iter().filter(|verdict| **verdict == Some(true)).count();
    let refusing = verdicts.iter().filter(|verdict| **verdict == Some(false)).count();
    let all = verdicts.len();
    match keyword {
        "allOf" if refusing > 0 => Some(false),
        "allOf" => (accepting == all).then_some(true),
        "anyOf" if accepting > 0 => Some(true),
        "oneOf" if accepting > 1 => Some(false),
        "oneOf" if accepting == 1 => (refusing.saturating_add(1) == all).then_some(true),
        _ => (refusing == all).then_some(false),
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::check;
    use serde_json::{Value, json};

    #[test]
    fn a_value_that_does_not_fit_leaves_nothing() {
        let nothing = |org: Value| {
            let none = json!({"type": "object", "description": "d", "not": {}});
            check(json!({"description": "d", "properties": {"org": org}, "required": ["a"]}), none);
        };
        let fine =
            |org: Value| check(json!({"properties": {"org": org}}), json!({"properties": {}}));
        nothing(json!({"type": "integer"}));
        nothing(json!({"type": ["integer", "null"]}));
        nothing(json!({"const": "ACME"}));
        nothing(json!({"enum": ["other", 7]}));
        nothing(json!({"minLength": 5}));
        nothing(json!({"maxLength": 3.0}));
        nothing(json!({"allOf": [{"type": "string"}, {"const": "x"}]}));
        nothing(json!({"anyOf": [{"type": "null"}, false]}));
        nothing(json!({"oneOf": [{"type": "string"}, {"minLength": 1}]}));
        nothing(json!({"oneOf": [{"pattern": "x"}, {"minLength": 1}, true]}));
        nothing(json!({"not": {"const": "acme"}}));
        nothing(json!({"if": {"minLength": 1}, "then": {"const": "x"}}));
        nothing(json!({"if": {"minLength": 9}, "else": {"const": "x"}}));
        nothing(json!({"if": {"pattern": "x"}, "then": false, "else": false}));
        nothing(json!({"pattern": "x", "type": "null"}));
        fine(json!({"type": "string", "minLength": 4, "maxLength": 4, "enum": ["acme"]}));
        fine(json!({"type": ["string", "null"], "minimum": 7, "required": ["x"], "title": "t"}));
        fine(json!({"anyOf": [{"type": "null"}, {"const": "acme"}]}));
        fine(json!({"oneOf": [{"type": "null"}, {"type": "string"}]}));
        // What cannot be told accepts, also where it is turned around.
        fine(json!({"pattern": "^x"}));
        fine(json!({"not": {"pattern": "^a"}}));
        fine(json!({"oneOf": [{"format": "uuid"}, {"minLength": 1}]}));
        fine(json!({"$ref": "https://example.com/slug"}));
        fine(json!({"$id": "https://example.com/slug", "$ref": "#/x"}));
        fine(json!({"$ref": "#/properties/org"}));
        fine(json!({"$ref": "#"}));
        fine(json!({"type": 7, "enum": 7, "minLength": "x", "anyOf": 7, "not": 7}));
    }

    #[test]
    fn a_value_is_judged_through_references() {
        let schema = |slug: Value| {
            json!({
                "properties": {"org": {"$ref": "#/$defs/a%20slug"}, "n": {"$ref": "#/$defs/a slug"}},
                "$defs": {"a slug": slug},
            })
        };
        let fine = json!({
            "properties": {"n": {"$ref": "#/$defs/a slug"}},
            "$defs": {"a slug": {"type": "string"}},
        });
        check(schema(json!({"type": "string"})), fine);
        check(schema(json!({"type": "integer"})), json!({"type": "object", "not": {}}));
        check(schema(json!(false)), json!({"type": "object", "not": {}}));
    }
}
