//! What a family of tools is, to an Agent. Schemas are complete here; the handler narrows them to
//! the scope. It must not know scopes or which families there are.

use crate::report::Reporter;
use futures_util::future::LocalBoxFuture;
use rmcp::model::{
    CallToolResult, ErrorData, GetPromptResult, JsonObject, Prompt, ReadResourceResult, Resource,
    ResourceTemplate, Tool,
};
use shared::{Error, Kind};

/// An answer that may take a while.
pub type Answer<'a, T> = LocalBoxFuture<'a, Result<T, ToolError>>;

/// One call of one tool.
#[derive(Debug)]
pub struct Call {
    /// The tool's name.
    pub name: String,
    /// Its arguments, with the pinned ones put back.
    pub arguments: JsonObject,
    /// The way to say something before the result.
    pub reporter: Reporter,
    /// Whether the user has shared notes (see `shared::hop::Hop`).
    pub shared_notes: bool,
}

/// Why a toolset did not answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ToolError {
    /// The tool itself failed: a result that the model reads and acts on.
    #[error("{0}")]
    Failed(String),
    /// The request was wrong: a JSON-RPC error.
    #[error("{}", .0.message)]
    Protocol(ErrorData),
    /// Something below failed.
    #[error(transparent)]
    Below(#[from] Error),
}

impl ToolError {
    /// As the error of a request that is not a tool call.
    #[must_use]
    pub fn into_protocol(self) -> ErrorData {
        match self {
            Self::Failed(text) => ErrorData::internal_error(text, None),
            Self::Protocol(error) => error,
            Self::Below(error) => {
                let code = i32::try_from(error.kind.row().code).unwrap_or(-32603);
                ErrorData::new(rmcp::model::ErrorCode(code), error.public, None)
            }
        }
    }

    /// As the outcome of a tool call: what the model can act on is a result.
    ///
    /// # Errors
    /// The protocol error, where it is one.
    pub fn into_result(self) -> Result<CallToolResult, ErrorData> {
        use rmcp::model::ContentBlock;
        match self {
            Self::Failed(text) => Ok(CallToolResult::error(vec![ContentBlock::text(text)])),
            Self::Below(error) if error.kind != Kind::Internal => {
                Ok(CallToolResult::error(vec![ContentBlock::text(error.public)]))
            }
            other => Err(other.into_protocol()),
        }
    }
}

/// A page of a list: which items, and where the next page begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The offset of the next page; `None` after the last item.
    pub next: Option<u32>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { items: Vec::new(), next: None }
    }
}

/// A family of tools that an Agent serves, with whatever else it offers.
pub trait Toolset {
    /// Its tools, with complete schemas, always in the same order.
    fn tools(&self) -> &[Tool];

    /// Calls one of [`Self::tools`].
    fn call(&self, call: Call) -> Answer<'_, CallToolResult>;

    /// Resources from an offset on.
    fn resources(&self, _offset: u32, _shared_notes: bool) -> Answer<'_, Page<Resource>> {
        Box::pin(std::future::ready(Ok(Page::default())))
    }

    /// Templates of resources.
    fn templates(&self) -> Vec<ResourceTemplate> {
        Vec::new()
    }

    /// Reads a resource; `None` where this toolset has none of that URI.
    fn read<'a>(&'a self, _uri: &'a str) -> Answer<'a, Option<ReadResourceResult>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Its prompts, always in the same order.
    fn prompts(&self) -> &[Prompt] {
        &[]
    }

    /// Makes one of [`Self::prompts`].
    fn prompt<'a>(
        &'a self,
        name: &'a str,
        _arguments: &'a JsonObject,
        _shared_notes: bool,
    ) -> Answer<'a, GetPromptResult> {
        let error = ErrorData::invalid_params(format!("there is no prompt {name}"), None);
        Box::pin(std::future::ready(Err(ToolError::Protocol(error))))
    }

    /// Values for an argument of one of its prompts or templates; `None` if it is not one of its.
    fn complete<'a>(
        &'a self,
        _subject: Subject<'a>,
        _argument: &'a str,
        _text: &'a str,
        _shared_notes: bool,
    ) -> Answer<'a, Option<Vec<String>>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// What an argument belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A prompt, by name.
    Prompt(&'a str),
    /// A resource template, by its text.
    Template(&'a str),
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::platform::Platform;
    use futures_util::future::LocalBoxFuture;
    use shared::{Error, Kind, Millis, hop::NotesAnswer, notes};
    use std::cell::Cell;

    /// A platform where nothing moves but what asks for randomness.
    #[derive(Debug, Default)]
    pub(crate) struct Still(Cell<u8>);

    impl Platform for Still {
        fn now(&self) -> Millis {
            Millis(1)
        }

        fn random(&self) -> [u8; 12] {
            self.0.set(self.0.get().wrapping_add(1));
            [self.0.get(); 12]
        }

        fn sleep(&self, _milliseconds: u32) -> LocalBoxFuture<'static, ()> {
            Box::pin(std::future::ready(()))
        }

        fn log(&self, _error: &Error) {}

        fn shared_notes(&self, _request: notes::Request) -> LocalBoxFuture<'static, NotesAnswer> {
            Box::pin(std::future::ready(Err(Error::new(Kind::Unavailable, "not here"))))
        }
    }
}
