//! The `fixture` toolset: the tools, resources and prompts that the official conformance suite
//! expects of a server, under the names it expects. Compiled for tests only. It must not do
//! anything that a toolset of the product cannot do.

use crate::{
    platform::Platform,
    toolset::{Answer, Call, Page, Subject, ToolError, Toolset},
};
use rmcp::model::{
    CallToolResult, ContentBlock, GetPromptResult, JsonObject, LoggingLevel, Prompt,
    PromptArgument, PromptMessage, ReadResourceResult, Resource, ResourceContents,
    ResourceTemplate, Role, Tool,
};
use serde_json::{Value, json};
use std::rc::Rc;

/// One pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// A header and no samples.
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";

/// What lies between two notifications of one call.
const STEP_MS: u32 = 50;

const STATIC_TEXT: &str = "test://static-text";
const STATIC_BINARY: &str = "test://static-binary";
const TEMPLATE: &str = "test://template/{id}/data";

/// What the conformance suite expects.
pub struct Fixture {
    tools: Vec<Tool>,
    prompts: Vec<Prompt>,
    platform: Rc<dyn Platform>,
}

impl std::fmt::Debug for Fixture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fixture").finish_non_exhaustive()
    }
}

impl Fixture {
    /// The fixture, with a clock to wait by.
    #[must_use]
    pub fn new(platform: Rc<dyn Platform>) -> Self {
        Self { tools: tools(), prompts: prompts(), platform }
    }

    async fn dispatch(&self, call: Call) -> Result<CallToolResult, ToolError> {
        let content = match call.name.as_str() {
            "test_simple_text" => {
                vec![ContentBlock::text("This is a simple text response for testing.")]
            }
            "test_image_content" => vec![ContentBlock::image(PNG, "image/png")],
            "test_audio_content" => vec![ContentBlock::audio(WAV, "audio/wav")],
            "test_embedded_resource" => vec![ContentBlock::resource(
                ResourceContents::text(
                    "This is an embedded resource content.",
                    "test://embedded-resource",
                )
                .with_mime_type("text/plain"),
            )],
            "test_multiple_content_types" => multiple(),
            "test_error_handling" => {
                let text = "This tool intentionally returns an error for testing";
                return Err(ToolError::Failed(text.to_owned()));
            }
            "test_tool_with_progress" => self.with_progress(&call).await,
            "test_tool_with_logging" | "test_logging_tool" => self.with_logging(&call).await,
            "json_schema_2020_12_tool" => {
                vec![ContentBlock::text(Value::Object(call.arguments).to_string())]
            }
            other => return Err(ToolError::Failed(format!("there is no tool {other}"))),
        };
        Ok(CallToolResult::success(content))
    }

    async fn with_progress(&self, call: &Call) -> Vec<ContentBlock> {
        for (progress, message) in [(0.0, "begun"), (50.0, "half done"), (100.0, "done")] {
            call.reporter.progress(progress, 100.0, message).await;
            self.platform.sleep(STEP_MS).await;
        }
        vec![ContentBlock::text("Tool with progress executed successfully")]
    }

    async fn with_logging(&self, call: &Call) -> Vec<ContentBlock> {
        let texts = ["Tool execution started", "Tool processing data", "Tool execution completed"];
        for text in texts {
            call.reporter.log(LoggingLevel::Info, json!(text)).await;
            self.platform.sleep(STEP_MS).await;
        }
        vec![ContentBlock::text("Tool with logging executed successfully")]
    }
}

fn multiple() -> Vec<ContentBlock> {
    let resource = ResourceContents::text(
        json!({ "test": "data", "value": 123 }).to_string(),
        "test://mixed-content-resource",
    );
    vec![
        ContentBlock::text("Multiple content types test:"),
        ContentBlock::image(PNG, "image/png"),
        ContentBlock::resource(resource.with_mime_type("application/json")),
    ]
}

impl Toolset for Fixture {
    fn tools(&self) -> &[Tool] {
        &self.tools
    }

    fn call(&self, call: Call) -> Answer<'_, CallToolResult> {
        Box::pin(self.dispatch(call))
    }

    fn resources(&self, _offset: u32, _shared_notes: bool) -> Answer<'_, Page<Resource>> {
        let items = vec![
            Resource::new(STATIC_TEXT, "static-text")
                .with_description("A text that never changes")
                .with_mime_type("text/plain"),
            Resource::new(STATIC_BINARY, "static-binary")
                .with_description("A picture that never changes")
                .with_mime_type("image/png"),
        ];
        Box::pin(std::future::ready(Ok(Page { items, next: None })))
    }

    fn templates(&self) -> Vec<ResourceTemplate> {
        vec![
            ResourceTemplate::new(TEMPLATE, "template")
                .with_description("Repeats its id")
                .with_mime_type("application/json"),
        ]
    }

    fn read<'a>(&'a self, uri: &'a str) -> Answer<'a, Option<ReadResourceResult>> {
        Box::pin(std::future::ready(Ok(contents(uri).map(|c| ReadResourceResult::new(vec![c])))))
    }

    fn prompts(&self) -> &[Prompt] {
        &self.prompts
    }

    fn prompt<'a>(
        &'a self,
        name: &'a str,
        arguments: &'a JsonObject,
        _shared_notes: bool,
    ) -> Answer<'a, GetPromptResult> {
        let messages = messages(name, arguments);
        Box::pin(std::future::ready(Ok(GetPromptResult::new(messages))))
    }

    fn complete<'a>(
        &'a self,
        subject: Subject<'a>,
        argument: &'a str,
        text: &'a str,
        _shared_notes: bool,
    ) -> Answer<'a, Option<Vec<String>>> {
        let known = matches!(
            (subject, argument),
            (Subject::Prompt("test_prompt_with_arguments"), "arg1" | "arg2")
                | (Subject::Template(TEMPLATE), "id")
        );
        let values = ["paris", "park", "party"].into_iter().filter(|v| v.starts_with(text));
        let values = known.then(|| values.map(ToOwned::to_owned).collect());
        Box::pin(std::future::ready(Ok(values)))
    }
}

fn contents(uri: &str) -> Option<ResourceContents> {
    match uri {
        STATIC_TEXT => Some(
            ResourceContents::text("This is the content of the static text resource.", uri)
                .with_mime_type("text/plain"),
        ),
        STATIC_BINARY => Some(ResourceContents::blob(PNG, uri).with_mime_type("image/png")),
        _ => {
            let id = uri.strip_prefix("test://template/")?.strip_suffix("/data")?;
            let text = json!({ "id": id, "templateTest": true, "data": format!("Data for {id}") });
            let contents = ResourceContents::text(text.to_string(), uri);
            Some(contents.with_mime_type("application/json"))
        }
    }
}

fn messages(name: &str, arguments: &JsonObject) -> Vec<PromptMessage> {
    let argument = |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or_default();
    let user = |content| PromptMessage::new(Role::User, content);
    match name {
        "test_prompt_with_arguments" => vec![user(ContentBlock::text(format!(
            "Prompt with arguments: arg1='{}', arg2='{}'",
            argument("arg1"),
            argument("arg2")
        )))],
        "test_prompt_with_embedded_resource" => {
            let resource = ResourceContents::text(
                "Embedded resource content for testing.",
                argument("resourceUri"),
            );
            vec![
                user(ContentBlock::resource(resource.with_mime_type("text/plain"))),
                user(ContentBlock::text("Please process the embedded resource above.")),
            ]
        }
        "test_prompt_with_image" => vec![
            user(ContentBlock::image(PNG, "image/png")),
            user(ContentBlock::text("Please analyze the image above.")),
        ],
        _ => vec![user(ContentBlock::text("This is a simple prompt for testing."))],
    }
}

fn tools() -> Vec<Tool> {
    let object = |value: Value| match value {
        Value::Object(object) => std::sync::Arc::new(object),
        _ => std::sync::Arc::default(),
    };
    let plain = |name: &'static str, description: &'static str| {
        Tool::new(name, description, object(json!({ "type": "object", "properties": {} })))
    };
    vec![
        plain("test_simple_text", "Answers with a text"),
        plain("test_image_content", "Answers with a picture"),
        plain("test_audio_content", "Answers with a sound"),
        plain("test_embedded_resource", "Answers with a resource"),
        plain("test_multiple_content_types", "Answers with a text, a picture and a resource"),
        plain("test_tool_with_logging", "Logs three times before it answers"),
        plain("test_logging_tool", "Logs three times before it answers"),
        plain("test_error_handling", "Fails"),
        plain("test_tool_with_progress", "Reports progress three times before it answers"),
        Tool::new(
            "json_schema_2020_12_tool",
            "Has a schema with everything of JSON Schema 2020-12",
            object(json_schema_2020_12()),
        ),
    ]
}

fn json_schema_2020_12() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
            },
        },
        "properties": {
            "name": { "type": "string" },
            "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": { "type": "string" },
            "email": { "type": "string" },
        },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": { "properties": { "contactMethod": { "const": "phone" } },
            "required": ["contactMethod"] },
        "then": { "required": ["phone"] },
        "else": { "required": ["email"] },
        "additionalProperties": false,
    })
}

fn prompts() -> Vec<Prompt> {
    let required =
        |name: &str| PromptArgument::new(name).with_description("A text").with_required(true);
    vec![
        Prompt::new("test_simple_prompt", Some("A prompt without arguments"), None),
        Prompt::new(
            "test_prompt_with_arguments",
            Some("A prompt that repeats its arguments"),
            Some(vec![required("arg1"), required("arg2")]),
        ),
        Prompt::new(
            "test_prompt_with_embedded_resource",
            Some("A prompt that embeds a resource"),
            Some(vec![required("resourceUri")]),
        ),
        Prompt::new("test_prompt_with_image", Some("A prompt with a picture"), None),
    ]
}
