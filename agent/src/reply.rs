//! What the loop says, as HTTP: one JSON body where the reply comes first, an event stream where
//! something precedes it. It must not know who sends it or through how many tiers.

use crate::{
    driver::{Driver, Message, is_reply},
    handler::{Handler, implementation},
};
use futures_util::{Stream, StreamExt as _, stream};
use rmcp::model::{JsonRpcMessage, MetaObject, ServerResult};
use shared::{Error, hop};
use std::pin::Pin;

/// A stream of server-sent events, each whole.
pub type Events = Pin<Box<dyn Stream<Item = String>>>;

/// An Agent's answer to one hop.
pub enum Reply {
    /// A body of JSON.
    Json {
        /// HTTP status.
        status: u16,
        /// One JSON-RPC message.
        body: String,
    },
    /// Server-sent events, the last of which is the reply.
    Events(Events),
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Json { status, body } => {
                f.debug_struct("Json").field("status", status).field("body", body).finish()
            }
            Self::Events(_) => f.write_str("Events"),
        }
    }
}

/// Waits for the first message of a request and lets it decide the form of the answer.
///
/// # Errors
/// An internal error if the loop ends without a word.
pub async fn reply(mut driver: Driver<Handler>, modern: bool) -> Result<Reply, Error> {
    let Some(first) = driver.next().await else {
        return Err(Error::internal("the serve loop ended without a reply"));
    };
    if is_reply(&first) {
        let status = status(&first, modern);
        return Ok(Reply::Json { status, body: write(first, modern)? });
    }
    let messages = stream::once(std::future::ready(first)).chain(driver);
    // A message that cannot be written is skipped; it has been built by us, so there is none.
    let events = messages.filter_map(move |message| {
        std::future::ready(write(message, modern).ok().map(|json| event(&json)))
    });
    Ok(Reply::Events(Box::pin(events)))
}

/// One server-sent event. JSON has no raw line break, so one `data` line holds it.
fn event(json: &str) -> String {
    format!("event: message\ndata: {json}\n\n")
}

/// HTTP status of a reply that is not streamed.
fn status(message: &Message, modern: bool) -> u16 {
    match message {
        JsonRpcMessage::Error(error) if modern => hop::modern_status(error.error.code.0.into()),
        _ => 200,
    }
}

fn write(mut message: Message, modern: bool) -> Result<String, Error> {
    if modern && let JsonRpcMessage::Response(response) = &mut message {
        stamp(&mut response.result);
    }
    serde_json::to_string(&message).map_err(|error| Error::internal(error.to_string()))
}

/// Says in a result which server it came from (2026-07-28: every result should).
fn stamp(result: &mut ServerResult) {
    let meta: &mut Option<MetaObject> = match result {
        ServerResult::CallToolResult(r) => &mut r.meta,
        ServerResult::ListToolsResult(r) => &mut r.meta,
        ServerResult::ListResourcesResult(r) => &mut r.meta,
        ServerResult::ListResourceTemplatesResult(r) => &mut r.meta,
        ServerResult::ReadResourceResult(r) => &mut r.meta,
        ServerResult::ListPromptsResult(r) => &mut r.meta,
        ServerResult::GetPromptResult(r) => &mut r.meta,
        ServerResult::CompleteResult(r) => &mut r.meta,
        // These carry it already, or have no place for it.
        _ => return,
    };
    if let Ok(info) = serde_json::to_value(implementation()) {
        let meta = meta.get_or_insert_default();
        meta.insert("io.modelcontextprotocol/serverInfo".to_owned(), info);
    }
}
