//! Properties that nothing else evaluates: whether `unevaluatedProperties` meets an inserted one,
//! and on what that depends. It must not know what is done about it.

use super::{Narrower, Place};
use crate::{
    JsonObject, NarrowError,
    build::{Extra, joined, negated, single},
    known::Known,
    read::{Schema, entries, items},
};
use serde_json::Value;

impl<'a> Narrower<'a> {
    /// Whether `unevaluatedProperties` refuses an inserted property, and, where that depends on
    /// the others, what they must be for it not to.
    pub(super) fn leaves_unevaluated(
        &mut self,
        node: &'a JsonObject,
        at: Place,
        extra: &mut Extra,
    ) -> Result<bool, NarrowError> {
        let Some(rest) = node.get("unevaluatedProperties") else {
            return Ok(false);
        };
        for (name, value) in self.inserted {
            if self.verdict(rest, value, at.fresh())? != Some(false) {
                continue;
            }
            match self.evaluated(node, name, at, true)? {
                Value::Bool(true) => {}
                Value::Bool(false) => return Ok(true),
                depends => extra.all_of.push(depends),
            }
        }
        Ok(false)
    }

    /// The condition on the other properties under which a schema that holds has evaluated this
    /// one; `outer` for the schema whose `unevaluatedProperties` asks.
    fn evaluated(
        &mut self,
        node: &'a JsonObject,
        name: &str,
        at: Place,
        outer: bool,
    ) -> Result<Value, NarrowError> {
        const OPEN: [&str; 3] = ["additionalProperties", "$dynamicRef", "$recursiveRef"];
        let at = self.enter(node, at)?;
        if entries(node, "properties").any(|(listed, _)| listed == name)
            || entries(node, "patternProperties").next().is_some()
            || OPEN.iter().any(|key| node.contains_key(*key))
            || (!outer && node.contains_key("unevaluatedProperties"))
        {
            return Ok(Value::Bool(true));
        }
        let mut ways = Vec::new();
        if let Some(reference) = node.get("$ref").and_then(Value::as_str) {
            ways.push(match self.resolve(reference, at) {
                Some(Schema::Object(target)) => {
                    self.evaluated(target, name, at.referred(), false)?
                }
                Some(Schema::Boolean(_)) => Value::Bool(false),
                None => Value::Bool(true),
            });
        }
        for member in items(node, "allOf") {
            ways.push(self.evaluated_by(member, name, at)?);
        }
        for member in items(node, "anyOf").chain(items(node, "oneOf")) {
            ways.push(self.evaluated_if(member, member, name, at)?);
        }
        if let Some(condition) = node.get("if") {
            ways.push(self.evaluated_if(condition, condition, name, at)?);
            if let Some(then) = node.get("then") {
                ways.push(self.evaluated_if(condition, then, name, at)?);
            }
            if let Some(otherwise) = node.get("else") {
                let fails = negated(self.schema(condition, at)?);
                let inner = self.evaluated_by(otherwise, name, at)?;
                ways.push(joined("allOf", vec![fails, inner]));
            }
        }
        for (key, schema) in entries(node, "dependentSchemas") {
            let present = match self.known.get(key.as_str()) {
                Some(Known::Absent) => Value::Bool(false),
                Some(Known::Inserted(_)) => Value::Bool(true),
                None => single("required", Value::Array(vec![Value::String(key.clone())])),
            };
            let inner = self.evaluated_by(schema, name, at)?;
            ways.push(joined("allOf", vec![present, inner]));
        }
        Ok(joined("anyOf", ways))
    }

    /// [`Narrower::evaluated`] by a schema that always holds.
    fn evaluated_by(
        &mut self,
        schema: &'a Value,
        name: &str,
        at: Place,
    ) -> Result<Value, NarrowError> {
        match schema {
            Value::Object(node) => self.evaluated(node, name, at, false),
            _ => Ok(Value::Bool(false)),
        }
    }

    /// [`Narrower::evaluated`] by a schema that counts only where the condition holds.
    fn evaluated_if(
        &mut self,
        condition: &'a Value,
        schema: &'a Value,
        name: &str,
        at: Place,
    ) -> Result<Value, NarrowError> {
        let inner = self.evaluated_by(schema, name, at)?;
        if inner == false {
            return Ok(inner);
        }
        let condition = self.schema(condition, at)?;
        Ok(joined("allOf", vec![condition, inner]))
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::check_below;
    use serde_json::{Value, json};

    #[test]
    fn a_property_that_only_some_branch_evaluates_asks_for_that_branch() {
        let declared = json!({"properties": {"org": {}}, "required": ["a"]});
        let left = json!({"properties": {}, "required": ["a"]});
        let closed = |mut node: Value| {
            node["unevaluatedProperties"] = json!(false);
            node
        };
        check_below(
            closed(json!({"anyOf": [declared, {"required": ["b"]}]})),
            closed(json!({"anyOf": [left, {"required": ["b"]}], "allOf": [left]})),
        );
        check_below(
            closed(json!({"if": {"required": ["b"]}, "else": declared})),
            closed(json!({
                "if": {"required": ["b"]}, "else": left, "allOf": [{"not": {"required": ["b"]}}],
            })),
        );
        check_below(
            closed(json!({"dependentSchemas": {"b": declared}})),
            closed(json!({"dependentSchemas": {"b": left}, "allOf": [{"required": ["b"]}]})),
        );
        check_below(closed(json!({"not": declared})), json!(false));
        let open = closed(json!({"anyOf": [{"patternProperties": {"x": {}}}, true]}));
        let mut left = open.clone();
        left["allOf"] = json!([{"patternProperties": {"x": {}}}]);
        check_below(open, left);
    }
}
