//! What a client can be asked, and which answers fit: whatever does not fit what was asked for is
//! no answer. It must not know how a question travels.

use crate::toolset::object;
use rmcp::model::{
    ClientCapabilities, CreateMessageRequestParams, CustomRequest, ElicitRequestParams, JsonObject,
    ServerRequest,
};
use serde_json::{Map, Value, json};

/// A question to a client, in MCP's words: a toolset may pass on what somebody else asks.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    method: String,
    params: JsonObject,
}

const ELICIT: &str = "elicitation/create";
const SAMPLE: &str = "sampling/createMessage";
const ROOTS: &str = "roots/list";

impl Question {
    /// The user fills in a form, or opens a URL.
    #[must_use]
    pub fn elicit(params: &ElicitRequestParams) -> Self {
        Self::of(ELICIT, object(params))
    }

    /// The client's model continues a conversation.
    #[must_use]
    pub fn sample(params: &CreateMessageRequestParams) -> Self {
        Self::of(SAMPLE, object(params))
    }

    /// Which directories the client works in.
    #[must_use]
    pub fn roots() -> Self {
        Self::of(ROOTS, JsonObject::new())
    }

    /// Whatever this method asks. One that is no question is one that no client can answer.
    pub fn of(method: impl Into<String>, params: JsonObject) -> Self {
        Self { method: method.into(), params }
    }

    /// Its method.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    fn is_url(&self) -> bool {
        self.method == ELICIT && self.params.get("mode").and_then(Value::as_str) == Some("url")
    }

    fn has_tools(&self) -> bool {
        let has = |name: &str| self.params.get(name).is_some_and(|value| !value.is_null());
        self.method == SAMPLE && (has("tools") || has("toolChoice"))
    }

    /// Whether a client with these capabilities can be asked.
    pub(super) fn is_possible(&self, client: &ClientCapabilities) -> bool {
        match self.method.as_str() {
            // A client that names no mode has the form.
            ELICIT => client.elicitation.as_ref().is_some_and(|modes| {
                if self.is_url() {
                    modes.url.is_some()
                } else {
                    modes.form.is_some() || modes.url.is_none()
                }
            }),
            SAMPLE => {
                let sampling = client.sampling.as_ref();
                sampling.is_some_and(|sampling| !self.has_tools() || sampling.tools.is_some())
            }
            ROOTS => client.roots.is_some(),
            _ => false,
        }
    }

    /// Adds what a client needs to be asked.
    pub(super) fn require(&self, capabilities: &mut Map<String, Value>) {
        let (name, part) = match self.method.as_str() {
            ELICIT if self.is_url() => ("elicitation", Some("url")),
            ELICIT => ("elicitation", None),
            SAMPLE if self.has_tools() => ("sampling", Some("tools")),
            SAMPLE => ("sampling", None),
            ROOTS => ("roots", None),
            _ => return,
        };
        let entry = capabilities.entry(name).or_insert_with(|| json!({}));
        if let (Some(part), Some(entry)) = (part, entry.as_object_mut()) {
            entry.insert(part.to_owned(), json!({}));
        }
    }

    /// As a request of the handshake era.
    pub(super) fn request(&self) -> ServerRequest {
        // Without parameters they would be written as null.
        let params = Some(Value::Object(self.params.clone()));
        ServerRequest::CustomRequest(CustomRequest::new(self.method.clone(), params))
    }

    /// As one of the `inputRequests` of the modern era.
    pub(super) fn input(&self) -> Value {
        let mut params = self.params.clone();
        // 2026-07-28 knows none.
        params.remove("elicitationId");
        json!({ "method": self.method, "params": params })
    }

    /// Whether this is an answer.
    pub(super) fn admits(&self, value: &Value) -> bool {
        let Some(answer) = value.as_object() else {
            return false;
        };
        match self.method.as_str() {
            ELICIT => match answer.get("action").and_then(Value::as_str) {
                Some("accept") if !self.is_url() => {
                    let empty = json!({});
                    let schema = self.params.get("requestedSchema").unwrap_or(&empty);
                    fits(schema, answer.get("content").unwrap_or(&empty))
                }
                Some("accept" | "decline" | "cancel") => true,
                _ => false,
            },
            SAMPLE => is_said(answer),
            ROOTS => answer.get("roots").is_some_and(|roots| {
                roots.as_array().is_some_and(|roots| {
                    roots.iter().all(|root| root.get("uri").is_some_and(Value::is_string))
                })
            }),
            _ => false,
        }
    }
}

/// Whether this is what a model said: a role, a model and content, of which each part has a type.
fn is_said(said: &JsonObject) -> bool {
    let text = |key| said.get(key).and_then(Value::as_str);
    let is_content = |part: &Value| part.get("type").is_some_and(Value::is_string);
    matches!(text("role"), Some("user" | "assistant"))
        && text("model").is_some()
        && said.get("content").is_some_and(|content| match content {
            Value::Array(parts) => parts.iter().all(is_content),
            part => is_content(part),
        })
}

/// Whether a form's content has what the form requires, and each field in its type.
fn fits(schema: &Value, content: &Value) -> bool {
    let Some(content) = content.as_object() else {
        return false;
    };
    let required = schema.get("required").and_then(Value::as_array);
    let has_required = required
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .all(|name| content.contains_key(name));
    let fields = schema.get("properties").and_then(Value::as_object);
    has_required
        && content.iter().all(|(name, value)| {
            // Fields that nobody asked for are ignored.
            fields.and_then(|fields| fields.get(name)).is_none_or(|field| field_fits(field, value))
        })
}

fn field_fits(field: &Value, value: &Value) -> bool {
    let is_typed = match field.get("type").and_then(Value::as_str) {
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("number") => value.is_number(),
        // To JSON Schema 1.0 is an integer too.
        Some("integer") => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        Some("array") => value.as_array().is_some_and(|items| {
            let item = field.get("items");
            items.iter().all(|one| one.is_string() && item.is_none_or(|item| is_offered(item, one)))
        }),
        _ => true,
    };
    is_typed && is_offered(field, value)
}

/// Whether a value is among those that a field offers, if it offers any.
fn is_offered(field: &Value, value: &Value) -> bool {
    let list = |key: &str| field.get(key).and_then(Value::as_array);
    let among = list("enum").is_none_or(|values| values.contains(value));
    let titled = list("oneOf").or_else(|| list("anyOf"));
    among
        && titled
            .is_none_or(|choices| choices.iter().any(|choice| choice.get("const") == Some(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> Question {
        let schema = json!({
            "type": "object",
            "properties": {
                "name": { "type": "string" }, "age": { "type": "integer" },
                "colour": { "type": "string", "enum": ["red", "blue"] },
            },
            "required": ["name"],
        });
        let params = json!({ "mode": "form", "message": "?", "requestedSchema": schema });
        Question::of(ELICIT, params.as_object().unwrap().clone())
    }

    #[test]
    fn only_what_fits_is_an_answer() {
        let accept = |content: Value| json!({ "action": "accept", "content": content });
        for (answer, fits) in [
            (json!({ "action": "decline" }), true),
            (json!({ "action": "cancel" }), true),
            (json!({ "action": "agree" }), false),
            (json!(12345), false),
            (json!(null), false),
            (json!({ "action": "accept" }), false),
            (accept(json!({ "name": "A" })), true),
            (accept(json!({ "name": "A", "more": 1 })), true),
            (accept(json!({ "name": 1 })), false),
            (accept(json!({ "age": 1 })), false),
            (accept(json!({ "name": "A", "age": 1.0 })), true),
            (accept(json!({ "name": "A", "age": 1.5 })), false),
            (accept(json!({ "name": "A", "colour": "red" })), true),
            (accept(json!({ "name": "A", "colour": "green" })), false),
            (accept(json!([])), false),
        ] {
            assert_eq!(form().admits(&answer), fits, "{answer}");
        }
        let said = json!({ "role": "assistant", "model": "m",
            "content": { "type": "text", "text": "Paris" } });
        let sample = Question::sample(&CreateMessageRequestParams::new(vec![], 1));
        assert!(sample.admits(&said));
        let mut several = said.clone();
        several["content"] = json!([{ "type": "text", "text": "Paris" }, { "type": "x-unknown" }]);
        assert!(sample.admits(&several));
        assert!(!sample.admits(&json!({ "action": "accept" })));
        for (key, wrong) in [
            ("role", json!("system")),
            ("model", json!(null)),
            ("content", json!("Paris")),
            ("content", json!([{ "text": "Paris" }])),
            ("content", json!({ "type": 1 })),
        ] {
            let mut wrongly = said.clone();
            wrongly[key] = wrong;
            assert!(!sample.admits(&wrongly), "{wrongly}");
        }
        assert!(Question::roots().admits(&json!({ "roots": [] })));
        assert!(!Question::roots().admits(&json!({})));
    }

    #[test]
    fn a_client_is_asked_what_it_says_it_can() {
        let url = json!({ "mode": "url", "message": "?", "url": "https://x.test",
            "elicitationId": "e" });
        let url = Question::of(ELICIT, url.as_object().unwrap().clone());
        assert!(url.input()["params"].get("elicitationId").is_none());
        let can = |question: &Question, capabilities: Value| {
            question.is_possible(&serde_json::from_value(capabilities).unwrap())
        };
        assert!(can(&form(), json!({ "elicitation": {} })));
        assert!(can(&form(), json!({ "elicitation": { "form": {} } })));
        assert!(!can(&form(), json!({ "elicitation": { "url": {} } })));
        assert!(!can(&form(), json!({ "sampling": {} })));
        assert!(!can(&url, json!({ "elicitation": {} })));
        assert!(can(&url, json!({ "elicitation": { "url": {} } })));
        assert!(can(&Question::roots(), json!({ "roots": {} })));
        let mut required = Map::new();
        form().require(&mut required);
        url.require(&mut required);
        Question::roots().require(&mut required);
        assert_eq!(Value::Object(required), json!({ "elicitation": { "url": {} }, "roots": {} }));
    }
}
