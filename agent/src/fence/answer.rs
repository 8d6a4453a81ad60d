//! What a client is asked in the middle of a call and what it answers, and what it says beside a
//! request: the fence around both. Neither routes anything, so what is narrower than the scope is
//! inside. It must not know who asks, nor how an answer comes.

use super::{Fence, Member, contradiction};
use narrow::{narrow, pin};
use rmcp::model::{ErrorData, JsonObject};
use serde_json::{Value, json};

impl Fence {
    /// Whether there is nothing that anybody could contradict.
    pub(crate) fn is_open(&self) -> bool {
        self.pins.is_empty() && self.uris.is_empty()
    }

    /// Takes what is fixed out of the form of a question, and gives back the form as it was.
    ///
    /// # Errors
    /// -32602 for a form that is past a bound.
    pub(crate) fn ask(&self, params: &mut JsonObject) -> Result<Option<JsonObject>, ErrorData> {
        let Some(Value::Object(schema)) = params.get("requestedSchema") else {
            return Ok(None);
        };
        let schema = schema.clone();
        if !self.pins.is_empty() {
            let narrowed = narrow(&schema, &self.pins);
            let mut form = narrowed.map_err(|e| ErrorData::invalid_params(e.to_string(), None))?;
            // A form has both (2025-11-25 and 2026-07-28, elicitation), empty or not.
            form.entry("type").or_insert_with(|| "object".into());
            form.entry("properties").or_insert_with(|| json!({}));
            params.insert("requestedSchema".to_owned(), form.into());
        }
        Ok(Some(schema))
    }

    /// An answer as whoever asked gets it: what is fixed of the form put back, and nothing in it
    /// from outside.
    ///
    /// # Errors
    /// -32602 for what contradicts the scope.
    pub(crate) fn answer(
        &self,
        form: Option<&JsonObject>,
        mut answer: Value,
    ) -> Result<Value, ErrorData> {
        let Some(said) = answer.as_object_mut().filter(|_| !self.is_open()) else {
            return Ok(answer);
        };
        if let Some(form) = form
            && said.get("action").is_some_and(|action| action == "accept")
        {
            let content = match said.remove("content") {
                Some(Value::Object(content)) => content,
                _ => JsonObject::new(),
            };
            let content = pin(form, content, &self.pins).map_err(contradiction)?;
            said.insert("content".to_owned(), content.into());
        }
        for (name, value) in said {
            match value {
                // Its members are what a call's arguments are.
                Value::Object(members) if name == "content" => self.check_members(members)?,
                value => self.check_member(&Member::inside(name), value, 0)?,
            }
        }
        Ok(answer)
    }

    /// Checks what is said beside a request, in its `_meta`. A name there has a prefix, or none.
    ///
    /// # Errors
    /// -32602 for what contradicts the scope.
    pub(crate) fn check_beside(&self, meta: &JsonObject) -> Result<(), ErrorData> {
        meta.iter().try_for_each(|(name, value)| {
            self.check_uri_inside(name, name)?;
            let name = name.rsplit('/').next().unwrap_or(name);
            self.check_member(&Member::inside(name), value, 0)
        })
    }

    fn check_members(&self, members: &JsonObject) -> Result<(), ErrorData> {
        members
            .iter()
            .try_for_each(|(name, value)| self.check_member(&Member::inside(name), value, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{fence, object};
    use super::*;

    fn form() -> JsonObject {
        object(json!({ "type": "object", "required": ["owner", "why"], "properties": {
            "owner": { "type": "string" }, "repo": { "type": "string" },
            "why": { "type": "string" } } }))
    }

    #[test]
    fn a_form_loses_what_is_fixed() {
        let mut params = object(json!({ "message": "which?", "requestedSchema": form() }));
        assert_eq!(fence("/mcp/acme").ask(&mut params), Ok(Some(form())));
        let shown = &params["requestedSchema"];
        assert_eq!(shown["required"], json!(["why"]));
        assert!(shown["properties"].get("owner").is_none());
        assert!(shown["properties"].get("repo").is_some());
        let only = object(json!({ "properties": { "owner": {} }, "required": ["owner"] }));
        let mut params = object(json!({ "requestedSchema": only }));
        fence("/mcp/acme").ask(&mut params).unwrap();
        let shown = &params["requestedSchema"];
        assert_eq!((&shown["type"], &shown["properties"]), (&json!("object"), &json!({})));
        let mut other = object(json!({ "messages": [] }));
        assert_eq!(fence("/mcp/acme").ask(&mut other), Ok(None));
        assert_eq!(other, object(json!({ "messages": [] })));
    }

    #[test]
    fn an_answer_gets_what_is_fixed_and_contradicts_nothing() {
        let form = form();
        let accept = |content: Value| json!({ "action": "accept", "content": content });
        let answer = |answer: Value| {
            let answer = fence("/mcp/acme").answer(Some(&form), answer);
            answer.map_err(|error| error.message.into_owned())
        };
        let whole = accept(json!({ "owner": "acme", "why": "x" }));
        assert_eq!(answer(accept(json!({ "why": "x" }))), Ok(whole.clone()));
        assert_eq!(answer(whole.clone()), Ok(whole));
        let owner = accept(json!({ "owner": "acme" }));
        assert_eq!(answer(json!({ "action": "accept" })), Ok(owner));
        // What is narrower is inside.
        let narrower = accept(json!({ "owner": "acme", "repo": "web" }));
        assert_eq!(answer(narrower.clone()), Ok(narrower));
        assert_eq!(answer(json!({ "action": "decline" })), Ok(json!({ "action": "decline" })));
        let fixed = "is fixed to `acme` by this URL; got `evil`";
        for wrong in [
            accept(json!({ "owner": "evil" })),
            accept(json!({ "org": "evil", "owner": "acme" })),
            accept(json!({ "OWNER": "evil" })),
            accept(json!({ "why": "https://x.test/evil/web" })),
            accept(json!({ "why": ["https://x.test/%65vil"] })),
            json!({ "action": "decline", "content": { "owner": "evil" } }),
            json!({ "action": "accept", "owner": "evil" }),
            json!({ "action": "accept", "_meta": { "owner": "evil" } }),
            json!({ "role": "user", "content": { "type": "text", "text": "https://x.test/evil" } }),
            json!({ "role": "user", "content": [{ "input": { "owner": "evil" } }] }),
            json!({ "roots": [{ "uri": "https://x.test/evil" }] }),
        ] {
            let error = answer(wrong.clone()).unwrap_err();
            assert!(error.contains(fixed) || error.contains("percent-encoded"), "{wrong}: {error}");
        }
        let open = json!({ "action": "accept", "content": { "owner": "evil" } });
        assert_eq!(fence("/mcp").answer(None, open.clone()), Ok(open));
    }

    #[test]
    fn what_is_said_beside_contradicts_nothing() {
        let beside = |meta: Value| fence("/mcp/acme").check_beside(&object(meta));
        for meta in [
            json!({}),
            json!({ "traceparent": "00-a-b-01", "baggage": "a=b", "com.x/tenant": "evil" }),
            json!({ "org": "acme", "com.x/repo": "web", "x": { "owner": "ACME" } }),
        ] {
            assert_eq!(beside(meta.clone()), Ok(()), "{meta}");
        }
        for meta in [
            json!({ "org": "evil" }),
            json!({ "Owner": "evil" }),
            json!({ "com.x/owner": "evil" }),
            json!({ "x": [{ "owner": "evil" }] }),
            json!({ "x": "https://x.test/evil" }),
            json!({ "https://x.test/evil": 1 }),
        ] {
            let error = beside(meta.clone()).unwrap_err().message;
            assert!(
                error.contains("is fixed to `acme` by this URL; got `evil`"),
                "{meta}: {error}"
            );
        }
    }
}
