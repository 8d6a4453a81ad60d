//! What clients read of the `memory` toolset: its tools, templates and prompt. It must not know
//! what any of them does.

use super::library::Place;
use rmcp::model::{JsonObject, Prompt, PromptArgument, ResourceTemplate, Tool, ToolAnnotations};
use serde_json::{Value, json};
use shared::{config::Level, gathered, limits};
use std::sync::Arc;

fn object(value: Value) -> Arc<JsonObject> {
    match value {
        Value::Object(object) => Arc::new(object),
        // Only objects are written below.
        _ => Arc::default(),
    }
}

/// A tool's arguments, and the parameters that name another context.
fn input(levels: &[Level], mut properties: Value, required: &[&str]) -> Arc<JsonObject> {
    let mut narrower: Vec<(String, String)> = Vec::new();
    let mut wider: Option<String> = None;
    for level in levels {
        let Some(parameter) = level.parameters.first() else {
            continue;
        };
        if let Some(properties) = properties.as_object_mut() {
            let description = format!(
                "Work in the context of this {} instead of the one this connection is at.",
                level.name
            );
            let schema = json!({ "type": "string", "minLength": 1,
                "maxLength": limits::SLUG_CHARS_MAX, "description": description });
            properties.insert(parameter.clone(), schema);
        }
        if let Some(wider) = wider.replace(parameter.clone()) {
            narrower.push((parameter.clone(), wider));
        }
    }
    let mut schema = json!({
        "type": "object", "properties": properties, "additionalProperties": false,
    });
    if let Some(schema) = schema.as_object_mut() {
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        if !narrower.is_empty() {
            let dependent =
                gathered(narrower.into_iter().map(|(inner, outer)| (inner, json!([outer]))));
            schema.insert("dependentRequired".to_owned(), Value::Object(dependent));
        }
    }
    object(schema)
}

/// What is written once and never changes, read at run time: built by code each member of it would
/// be some of the bundle.
fn written(text: &str) -> Arc<JsonObject> {
    Arc::new(serde_json::from_str(text).unwrap_or_default())
}

const NOTES: &str = r#"{
    "type": "object",
    "properties": {
        "notes": { "type": "array", "items": {
            "type": "object",
            "properties": {
                "id": { "type": "string" },
                "uri": { "type": "string", "description": "Read this resource for the whole note." },
                "title": { "type": "string" },
                "text": { "type": "string" },
                "truncated": { "type": "boolean", "description": "Whether `text` is only a part." },
                "tags": { "type": "array", "items": { "type": "string" } },
                "shared": { "type": "boolean", "description": "Whether every context sees it." },
                "scope": { "type": "string", "description": "Where it is, in a search across." },
                "createdAt": { "type": "string", "format": "date-time" },
                "updatedAt": { "type": "string", "format": "date-time" }
            },
            "required": ["id", "uri", "title", "text", "truncated", "tags", "shared", "createdAt",
                "updatedAt"]
        } },
        "nextCursor": { "type": "string", "description": "There is more: pass as `cursor`." },
        "more": { "type": "boolean", "description": "There is more than `limit` allows." },
        "missing": { "type": "array", "description": "Contexts that did not answer, and why.",
            "items": { "type": "object", "properties": {
                "scope": { "type": "string" }, "reason": { "type": "string" } },
                "required": ["scope", "reason"] } }
    },
    "required": ["notes"]
}"#;

const REMEMBERED: &str = r#"{
    "type": "object",
    "properties": {
        "id": { "type": "string" },
        "uri": { "type": "string" },
        "shared": { "type": "boolean" },
        "createdAt": { "type": "string", "format": "date-time" },
        "updatedAt": { "type": "string", "format": "date-time" }
    },
    "required": ["id", "uri", "shared", "createdAt", "updatedAt"]
}"#;

const FORGOTTEN: &str = r#"{
    "type": "object",
    "properties": {
        "id": { "type": "string" },
        "title": { "type": "string" },
        "shared": { "type": "boolean" }
    },
    "required": ["id", "title", "shared"]
}"#;

fn paging(properties: Value) -> Value {
    let mut properties = properties;
    if let Some(object) = properties.as_object_mut() {
        object.insert(
            "limit".to_owned(),
            json!({ "type": "integer", "minimum": 1, "maximum": limits::NOTES_PAGE_MAX,
                "description": format!("Notes per page; {} if absent.",
                    limits::NOTES_PAGE_DEFAULT) }),
        );
        object.insert(
            "cursor".to_owned(),
            json!({ "type": "string", "description": "The `nextCursor` of the page before." }),
        );
    }
    properties
}

/// The parameter that spreads a search, where there may be contexts inside of this one.
fn across(mut properties: Value, has_narrower: bool) -> Value {
    if let Some(properties) = properties.as_object_mut().filter(|_| has_narrower) {
        properties.insert(
            "across".to_owned(),
            json!({ "type": "boolean", "description":
                "Search the contexts inside of this one too, and say which did not answer." }),
        );
    }
    properties
}

fn tool(
    name: &'static str,
    title: &str,
    description: &'static str,
    schemas: (Arc<JsonObject>, Arc<JsonObject>),
    annotations: ToolAnnotations,
) -> Tool {
    Tool::new(name, description, schemas.0)
        .with_title(title)
        .with_raw_output_schema(schemas.1)
        .with_annotations(annotations.open_world(false))
}

/// The four tools.
pub(super) fn tools(levels: &[Level], depth: usize) -> Vec<Tool> {
    let has_narrower = depth < levels.len();
    let reads = || ToolAnnotations::new().read_only(true);
    let writes = || ToolAnnotations::new().read_only(false);
    vec![
        tool(
            "remember",
            "Remember a note",
            "Keep a note for later sessions in this context: a decision, a fact, an open \
             question. Give an `id` to replace an earlier note.",
            (input(levels, remember(), &["text"]), written(REMEMBERED)),
            writes().destructive(false).idempotent(false),
        ),
        tool(
            "recall",
            "Recall notes",
            "Find notes by words, best match first. A note need not have all of them, and a word \
             matches its inflections.",
            (input(levels, across(paging(query()), has_narrower), &["query"]), written(NOTES)),
            reads(),
        ),
        tool(
            "list_memories",
            "List notes",
            "List notes, most recently changed first.",
            (input(levels, across(paging(tag()), has_narrower), &[]), written(NOTES)),
            reads(),
        ),
        tool(
            "forget",
            "Forget a note",
            "Remove one note for good.",
            (input(levels, id(), &["id"]), written(FORGOTTEN)),
            writes().destructive(true).idempotent(true),
        ),
    ]
}

fn remember() -> Value {
    json!({
        "text": { "type": "string", "minLength": 1,
            "description": format!("The note, in Markdown; at most {} bytes.",
                limits::NOTE_TEXT_BYTES_MAX) },
        "title": { "type": "string", "maxLength": limits::NOTE_TITLE_CHARS_MAX,
            "description": "One line that says what it is about. A replaced note keeps its own \
                title and tags unless you give new ones." },
        "tags": { "type": "array", "maxItems": limits::NOTE_TAGS_MAX,
            "items": { "type": "string", "minLength": 1,
                "maxLength": limits::NOTE_TAG_CHARS_MAX, "pattern": "^\\S+$" },
            "description": "Words to list it by; no spaces." },
        "shared": { "type": "boolean",
            "description": "Keep it with the user, visible in every context, not only here." },
        "id": { "type": "string", "description": "Replace the note with this id." },
    })
}

fn query() -> Value {
    json!({ "query": { "type": "string", "minLength": 1, "maxLength": limits::QUERY_CHARS_MAX,
        "description": "Words to look for." } })
}

fn tag() -> Value {
    json!({ "tag": { "type": "string", "description": "Only notes with this tag." } })
}

fn id() -> Value {
    json!({ "id": { "type": "string", "description": "The note's id." } })
}

/// Notes as resources.
pub(super) fn templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new(Place::OWN_TEMPLATE, "note")
            .with_title("A note")
            .with_description("One note of this context, whole.")
            .with_mime_type("text/markdown"),
        ResourceTemplate::new(Place::SHARED_TEMPLATE, "shared-note")
            .with_title("A shared note")
            .with_description("One note that the user shares between contexts, whole.")
            .with_mime_type("text/markdown"),
    ]
}

/// The prompt that briefs a new session.
pub(super) fn prompts() -> Vec<Prompt> {
    let topic = PromptArgument::new("topic")
        .with_title("Topic")
        .with_description("Only what is remembered about this; everything recent if absent.")
        .with_required(false);
    let description = "Brief a new session with what earlier ones remembered in this context.";
    vec![Prompt::new("briefing", Some(description), Some(vec![topic])).with_title("Briefing")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        for text in [NOTES, REMEMBERED, FORGOTTEN] {
            assert!(written(text).contains_key("properties"), "{text}");
        }
    }
}
