//! The `fixture` toolset: the tools, resources and prompts that the official conformance suite
//! expects of a server, under the names it expects. Compiled for tests only. It must not do
//! anything that a toolset of the product cannot do.

mod asking;
mod content;
mod jobs;
mod schema;
mod skill;
mod waiting;

use crate::{
    client::Client,
    platform::Platform,
    skills::Bundle,
    toolset::{Answer, Call, Page, Subject, TaskSupport, ToolError, Toolset},
};
use content::TEMPLATE;
use rmcp::model::{
    CallToolResult, ContentBlock, GetPromptResult, JsonObject, LoggingLevel, Prompt,
    ReadResourceResult, Resource, ResourceTemplate, Tool,
};
use serde_json::{Value, json};
use shared::hop::Change;
use std::{cell::Cell, rc::Rc};

/// What lies between two notifications of one call.
const STEP_MS: u32 = 50;

/// How long a call goes on after it let its stream end.
const AWAY_MS: u32 = 200;

/// What the conformance suite expects.
pub struct Fixture {
    tools: Vec<Tool>,
    prompts: Vec<Prompt>,
    skills: Vec<Bundle>,
    waiting: Rc<Cell<u32>>,
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
        let tools = schema::tools().into_iter().chain(jobs::tools()).chain(waiting::tools());
        let (tools, prompts, skills) = (tools.collect(), schema::prompts(), skill::skills());
        Self { tools, prompts, skills, waiting: Rc::default(), platform }
    }

    async fn dispatch(&self, call: Call) -> Result<CallToolResult, ToolError> {
        if let Some(content) = content::of_tool(&call.name) {
            return Ok(CallToolResult::success(content));
        }
        if let Some(text) = waiting::call(&call, &self.waiting, &*self.platform).await {
            return Ok(CallToolResult::success(vec![ContentBlock::text(text)]));
        }
        if let Some(text) = jobs::call(&call, self.platform.as_ref()).await? {
            return Ok(CallToolResult::success(vec![ContentBlock::text(text)]));
        }
        let text = match call.name.as_str() {
            "test_error_handling" => {
                let text = "This tool intentionally returns an error for testing";
                return Err(ToolError::Failed(text.to_owned()));
            }
            "test_tool_with_progress" => self.with_progress(&call).await,
            "test_tool_with_logging" | "test_logging_tool" => self.with_logging(&call).await,
            "test_reconnection" => self.away(&call).await,
            "test_trigger_tool_change" => {
                call.changed.announce(Change::Tools);
                "The list of tools has changed".to_owned()
            }
            "test_trigger_prompt_change" => {
                call.changed.announce(Change::Prompts);
                "The list of prompts has changed".to_owned()
            }
            "json_schema_2020_12_tool" | "test_header_parameters" => {
                Value::Object(call.arguments).to_string()
            }
            _ => asking::tool(&call).await?,
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]))
    }

    async fn with_progress(&self, call: &Call) -> String {
        for (progress, message) in [(0.0, "begun"), (50.0, "half done"), (100.0, "done")] {
            call.reporter.progress(progress, 100.0, message).await;
            self.platform.sleep(STEP_MS).await;
        }
        "Tool with progress executed successfully".to_owned()
    }

    async fn with_logging(&self, call: &Call) -> String {
        let texts = ["Tool execution started", "Tool processing data", "Tool execution completed"];
        for text in texts {
            call.reporter.log(LoggingLevel::Info, json!(text)).await;
            self.platform.sleep(STEP_MS).await;
        }
        "Tool with logging executed successfully".to_owned()
    }

    async fn away(&self, call: &Call) -> String {
        call.reporter.pause_stream().await;
        self.platform.sleep(AWAY_MS).await;
        "Reconnection test completed successfully".to_owned()
    }
}

impl Toolset for Fixture {
    fn tools(&self) -> &[Tool] {
        &self.tools
    }

    fn call(&self, call: Call) -> Answer<'_, CallToolResult> {
        Box::pin(self.dispatch(call))
    }

    fn tasks(&self, tool: &str) -> TaskSupport {
        jobs::support(tool)
    }

    fn skills(&self) -> &[Bundle] {
        &self.skills
    }

    fn resources(&self, _offset: u32, _shared_notes: bool) -> Answer<'_, Page<Resource>> {
        let items = schema::resources();
        Box::pin(std::future::ready(Ok(Page { items, next: None })))
    }

    fn templates(&self) -> Vec<ResourceTemplate> {
        vec![
            ResourceTemplate::new(TEMPLATE, "template")
                .with_description("Repeats its id")
                .with_mime_type("application/json"),
        ]
    }

    fn read<'a>(
        &'a self,
        uri: &'a str,
        client: &'a Client,
    ) -> Answer<'a, Option<ReadResourceResult>> {
        Box::pin(async move {
            let contents = match content::contents(uri) {
                None => asking::resource(uri, client).await?,
                contents => contents,
            };
            Ok(contents.map(|contents| ReadResourceResult::new(vec![contents])))
        })
    }

    fn prompts(&self) -> &[Prompt] {
        &self.prompts
    }

    fn prompt<'a>(
        &'a self,
        name: &'a str,
        arguments: &'a JsonObject,
        client: &'a Client,
        _shared_notes: bool,
    ) -> Answer<'a, GetPromptResult> {
        Box::pin(async move {
            let messages = match asking::prompt(name, client).await? {
                Some(messages) => messages,
                None => content::messages(name, arguments),
            };
            Ok(GetPromptResult::new(messages))
        })
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
