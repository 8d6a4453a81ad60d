//! The `fixture` toolset: the tools, resources and prompts that the official conformance suite
//! expects of a server, under the names it expects. Compiled for tests only. It must not do
//! anything that a toolset of the product cannot do.

mod asking;
mod content;
mod jobs;
mod schema;
mod skill;
mod waiting;

use super::memory::completion;
use crate::{
    platform::Platform,
    skills::Bundle,
    toolset::{
        Answer, Answered, Call, Completion, Current, Listed, Need, Offers, Page, Subject,
        ToolError, Toolset, Visit, listed, object,
    },
};
use content::TEMPLATE;
use futures_util::future::LocalBoxFuture;
use rmcp::model::{
    CallToolResult, CompleteResult, ContentBlock, GetPromptResult, JsonObject, LoggingLevel,
    ReadResourceResult, ResourceTemplate, TASKS_EXTENSION_ID, Tool,
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
    tools: Current<Offers>,
    prompts: Current<Listed>,
    templates: Current<Listed>,
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
        let tools = Offers::of(&tools.collect::<Vec<Tool>>(), jobs::support);
        let template = ResourceTemplate::new(TEMPLATE, "template")
            .with_description("Repeats its id")
            .with_mime_type("application/json");
        let (prompts, templates) = (listed(&schema::prompts()), listed(&[template]));
        Self {
            tools,
            prompts,
            templates,
            skills: skill::skills(),
            waiting: Rc::default(),
            platform,
        }
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
                call.visit.changed.announce(Change::Tools);
                "The list of tools has changed".to_owned()
            }
            "test_trigger_prompt_change" => {
                call.visit.changed.announce(Change::Prompts);
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
            call.visit.reporter.progress(progress, 100.0, message).await;
            self.platform.sleep(STEP_MS).await;
        }
        "Tool with progress executed successfully".to_owned()
    }

    async fn with_logging(&self, call: &Call) -> String {
        let texts = ["Tool execution started", "Tool processing data", "Tool execution completed"];
        for text in texts {
            call.visit.reporter.log(LoggingLevel::Info, json!(text)).await;
            self.platform.sleep(STEP_MS).await;
        }
        "Tool with logging executed successfully".to_owned()
    }

    async fn away(&self, call: &Call) -> String {
        call.visit.reporter.pause_stream().await;
        self.platform.sleep(AWAY_MS).await;
        "Reconnection test completed successfully".to_owned()
    }
}

impl Toolset for Fixture {
    fn tools<'a>(&'a self, _visit: &'a Visit, _need: Need) -> Answer<'a, Current<Offers>> {
        Box::pin(std::future::ready(Ok(self.tools.clone())))
    }

    fn call(&self, call: Call) -> Answer<'_, Answered<CallToolResult>> {
        Box::pin(async move { self.dispatch(call).await.map(Answered::Made) })
    }

    fn may_have(&self) -> &'static [&'static str] {
        &[TASKS_EXTENSION_ID]
    }

    fn extensions<'a>(
        &'a self,
        _visit: &'a Visit,
    ) -> LocalBoxFuture<'a, Option<Vec<&'static str>>> {
        Box::pin(std::future::ready(Some(vec![TASKS_EXTENSION_ID])))
    }

    fn skills(&self) -> &[Bundle] {
        &self.skills
    }

    fn resources<'a>(&'a self, _offset: u32, _visit: &'a Visit) -> Answer<'a, Page> {
        let items = schema::resources().iter().map(object).collect();
        Box::pin(std::future::ready(Ok(Page { items, ..Page::default() })))
    }

    fn templates<'a>(&'a self, _visit: &'a Visit, _need: Need) -> Answer<'a, Current<Listed>> {
        Box::pin(std::future::ready(Ok(self.templates.clone())))
    }

    fn read<'a>(
        &'a self,
        uri: &'a str,
        visit: &'a Visit,
    ) -> Answer<'a, Option<Answered<ReadResourceResult>>> {
        Box::pin(async move {
            let contents = match content::contents(uri) {
                None => asking::resource(uri, &visit.client).await?,
                contents => contents,
            };
            Ok(contents.map(|contents| ReadResourceResult::new(vec![contents]).into()))
        })
    }

    fn prompts<'a>(&'a self, _visit: &'a Visit, _need: Need) -> Answer<'a, Current<Listed>> {
        Box::pin(std::future::ready(Ok(self.prompts.clone())))
    }

    fn prompt<'a>(
        &'a self,
        name: &'a str,
        arguments: JsonObject,
        visit: &'a Visit,
    ) -> Answer<'a, Answered<GetPromptResult>> {
        Box::pin(async move {
            let messages = match asking::prompt(name, &visit.client).await? {
                Some(messages) => messages,
                None => content::messages(name, &arguments),
            };
            Ok(GetPromptResult::new(messages).into())
        })
    }

    fn complete<'a>(
        &'a self,
        question: Completion<'a>,
        _visit: &'a Visit,
    ) -> Answer<'a, Option<Answered<CompleteResult>>> {
        let known = matches!(
            (question.subject, question.argument),
            (Subject::Prompt("test_prompt_with_arguments"), "arg1" | "arg2")
                | (Subject::Template(TEMPLATE), "id")
        );
        let values = ["paris", "park", "party"].into_iter();
        let values = values.filter(|v| v.starts_with(question.text)).map(ToOwned::to_owned);
        let values = known.then(|| completion(values.collect()).map(Into::into)).transpose();
        Box::pin(std::future::ready(values))
    }
}
