//! What a client can be asked, and which answers fit: whatever does not fit what was asked for is
//! no answer. It must not know how a question travels.

use crate::value::to_value;
use rmcp::model::{
    ClientCapabilities, CreateMessageRequest, CreateMessageRequestParams, ElicitRequest,
    ElicitRequestParams, ElicitResult, ElicitationAction, JsonObject, ListRootsRequest,
    ListRootsResult, ServerRequest,
};
use serde_json::{Map, Value, json};

/// A question to a client.
#[derive(Debug, Clone)]
pub enum Question {
    /// The user fills in a form, or opens a URL.
    Elicit(ElicitRequestParams),
    /// The client's model continues a conversation.
    Sample(Box<CreateMessageRequestParams>),
    /// Which directories the client works in.
    Roots,
}

/// The answer to a [`Question`] of the same kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// What the user did.
    Elicited(ElicitResult),
    /// What the model said, as it came: a toolset may know kinds of content that nobody here does.
    Sampled(JsonObject),
    /// The directories.
    Rooted(ListRootsResult),
}

impl Question {
    /// Its method.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Elicit(_) => "elicitation/create",
            Self::Sample(_) => "sampling/createMessage",
            Self::Roots => "roots/list",
        }
    }

    const fn is_url(&self) -> bool {
        matches!(self, Self::Elicit(ElicitRequestParams::UrlElicitationParams { .. }))
    }

    const fn has_tools(&self) -> bool {
        matches!(self, Self::Sample(params) if params.tools.is_some() || params.tool_choice.is_some())
    }

    /// Whether a client with these capabilities can be asked.
    pub(super) fn is_possible(&self, client: &ClientCapabilities) -> bool {
        match self {
            // A client that names no mode has the form.
            Self::Elicit(_) => client.elicitation.as_ref().is_some_and(|modes| {
                if self.is_url() {
                    modes.url.is_some()
                } else {
                    modes.form.is_some() || modes.url.is_none()
                }
            }),
            Self::Sample(_) => {
                let sampling = client.sampling.as_ref();
                sampling.is_some_and(|sampling| !self.has_tools() || sampling.tools.is_some())
            }
            Self::Roots => client.roots.is_some(),
        }
    }

    /// Adds what a client needs to be asked.
    pub(super) fn require(&self, capabilities: &mut Map<String, Value>) {
        let (name, part) = match self {
            Self::Elicit(_) if self.is_url() => ("elicitation", Some("url")),
            Self::Elicit(_) => ("elicitation", None),
            Self::Sample(_) if self.has_tools() => ("sampling", Some("tools")),
            Self::Sample(_) => ("sampling", None),
            Self::Roots => ("roots", None),
        };
        let entry = capabilities.entry(name).or_insert_with(|| json!({}));
        if let (Some(part), Some(entry)) = (part, entry.as_object_mut()) {
            entry.insert(part.to_owned(), json!({}));
        }
    }

    /// As a request of the handshake era.
    pub(super) fn request(&self) -> ServerRequest {
        match self.clone() {
            Self::Elicit(params) => ServerRequest::ElicitRequest(ElicitRequest::new(params)),
            Self::Sample(params) => {
                ServerRequest::CreateMessageRequest(CreateMessageRequest::new(*params))
            }
            Self::Roots => ServerRequest::ListRootsRequest(ListRootsRequest::default()),
        }
    }

    /// As one of the `inputRequests` of the modern era.
    pub(super) fn input(&self) -> Value {
        let params = match self {
            Self::Elicit(params) => to_value(params),
            Self::Sample(params) => to_value(params),
            Self::Roots => Ok(json!({})),
        };
        let mut params = params.unwrap_or_default();
        if let Some(params) = params.as_object_mut() {
            // 2026-07-28 knows none.
            params.remove("elicitationId");
        }
        json!({ "method": self.method(), "params": params })
    }

    /// The answer, if it is one.
    pub(super) fn read(&self, value: &Value) -> Option<Response> {
        match self {
            Self::Elicit(params) => {
                let result: ElicitResult = serde_json::from_value(value.clone()).ok()?;
                let is_filled = result.action == ElicitationAction::Accept;
                if let ElicitRequestParams::FormElicitationParams { requested_schema, .. } = params
                    && is_filled
                {
                    let schema = to_value(requested_schema).ok()?;
                    let empty = json!({});
                    let content = result.content.as_ref().unwrap_or(&empty);
                    return fits(&schema, content).then_some(Response::Elicited(result));
                }
                Some(Response::Elicited(result))
            }
            Self::Sample(_) => {
                let said = value.as_object().filter(|said| is_said(said))?;
                Some(Response::Sampled(said.clone()))
            }
            Self::Roots => serde_json::from_value(value.clone()).ok().map(Response::Rooted),
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
        Question::Elicit(serde_json::from_value(params).unwrap())
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
            assert_eq!(form().read(&answer).is_some(), fits, "{answer}");
        }
        let said = json!({ "role": "assistant", "model": "m",
            "content": { "type": "text", "text": "Paris" } });
        let sample = Question::Sample(Box::new(CreateMessageRequestParams::new(vec![], 1)));
        assert!(sample.read(&said).is_some());
        let mut several = said.clone();
        several["content"] = json!([{ "type": "text", "text": "Paris" }, { "type": "x-unknown" }]);
        assert!(sample.read(&several).is_some());
        assert!(sample.read(&json!({ "action": "accept" })).is_none());
        for (key, wrong) in [
            ("role", json!("system")),
            ("model", json!(null)),
            ("content", json!("Paris")),
            ("content", json!([{ "text": "Paris" }])),
            ("content", json!({ "type": 1 })),
        ] {
            let mut wrongly = said.clone();
            wrongly[key] = wrong;
            assert!(sample.read(&wrongly).is_none(), "{wrongly}");
        }
        assert!(Question::Roots.read(&json!({ "roots": [] })).is_some());
        assert!(Question::Roots.read(&json!({})).is_none());
    }

    #[test]
    fn a_client_is_asked_what_it_says_it_can() {
        let url = json!({ "mode": "url", "message": "?", "url": "https://x.test",
            "elicitationId": "e" });
        let url = Question::Elicit(serde_json::from_value(url).unwrap());
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
        assert!(can(&Question::Roots, json!({ "roots": {} })));
        let mut required = Map::new();
        form().require(&mut required);
        url.require(&mut required);
        Question::Roots.require(&mut required);
        assert_eq!(Value::Object(required), json!({ "elicitation": { "url": {} }, "roots": {} }));
    }
}
