//! What a task of a server asks its client, and the answers: both are members of what is said of the
//! task (io.modelcontextprotocol/tasks), and pass the fence as those of a call do. It must not know
//! what is asked.

use super::{
    Mcp, Peer, params,
    passing::{Nobody, failed},
};
use crate::toolset::ToolError;
use rmcp::model::JsonObject;
use serde_json::{Value, value::to_raw_value};
use shared::Error;
use upstream::{Ask, Fields, guard::Pace, wire};

/// The questions of a task, by their keys.
const QUESTIONS: &str = "inputRequests";

impl Mcp {
    /// Takes what is fixed out of what a task asks.
    pub(super) fn narrow_questions(&self, task: &mut Fields) -> Result<(), ToolError> {
        let Some(Value::Object(mut questions)) = wire::field(task, QUESTIONS) else {
            return Ok(());
        };
        for question in questions.values_mut() {
            if let Some(Value::Object(params)) = question.get_mut("params") {
                self.fence.ask(params).map_err(ToolError::Protocol)?;
            }
        }
        let written = to_raw_value(&questions);
        let written = written.map_err(|error| Error::internal(error.to_string()))?;
        task.insert(QUESTIONS.to_owned(), written);
        Ok(())
    }

    /// Puts what is fixed back into the answers to a task.
    pub(super) async fn answered(
        &self,
        peer: &Peer,
        task: &str,
        answers: &mut JsonObject,
    ) -> Result<(), ToolError> {
        if self.fence.is_open() || answers.is_empty() {
            return Ok(());
        }
        // What it asked passed through here, and is not kept.
        let ask = Ask {
            method: "tasks/get",
            params: params([("taskId", task.into())]),
            name: Some(task.to_owned()),
            may_repeat: true,
            pace: Pace::Brief,
            ..Ask::default()
        };
        let look = peer.link.ask(ask, &Nobody).await.map_err(failed)?;
        let questions = wire::field(&look, QUESTIONS).unwrap_or_default();
        for (key, answer) in answers {
            let question = questions.get(key).and_then(|question| question.get("params"));
            let form = question.and_then(|params| params.get("requestedSchema")?.as_object());
            let answered = self.fence.answer(form, answer.take());
            *answer = answered.map_err(ToolError::Protocol)?;
        }
        Ok(())
    }
}
