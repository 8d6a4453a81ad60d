//! What a running call may say before its result: progress and log messages, gated as the client
//! asked. A toolset does not know which era it serves. It must not know any tool.

use crate::{caller::SharedCaller, value::to_value};
use rmcp::{
    Peer, RoleServer,
    model::{
        CustomNotification, JsonObject, LoggingLevel, LoggingMessageNotificationParam,
        ProgressNotificationParam, ServerNotification,
    },
};
use serde_json::Value;

/// What stands for a pause among the messages of a call, so that it keeps its place. It never
/// reaches a client.
pub const PAUSE: &str = "signalbox/pause";

/// The way out for one call.
#[derive(Debug, Clone)]
pub struct Reporter {
    peer: Peer<RoleServer>,
    caller: SharedCaller,
}

impl Reporter {
    /// For a call of this caller.
    #[must_use]
    pub const fn new(peer: Peer<RoleServer>, caller: SharedCaller) -> Self {
        Self { peer, caller }
    }

    /// Says how far the call is. A client that reads too slowly misses some of it.
    pub async fn progress(&self, progress: f64, total: f64, message: &str) {
        let token = self.caller.borrow().token.clone();
        if let Some(token) = token {
            let param = ProgressNotificationParam::new(token, progress)
                .with_total(total)
                .with_message(message);
            let _ = self.peer.notify_progress(param).await;
        }
    }

    /// Passes on what somebody else says of the call: progress, where the client wants to hear of
    /// it, logs as severe as it wants them, and what belongs to neither.
    pub async fn relay(&self, method: &str, mut params: JsonObject) {
        match method {
            "notifications/progress" => {
                let Some(token) = self.caller.borrow().token.clone() else {
                    return;
                };
                params.insert("progressToken".to_owned(), to_value(&token).unwrap_or_default());
            }
            "notifications/message" => {
                let least = self.caller.borrow().level;
                let level = params.get("level").and_then(Value::as_str).unwrap_or_default();
                let level = upstream::talk::severity(level);
                if level == u8::MAX || least.is_none_or(|least| level < severity(least)) {
                    return;
                }
            }
            // Told by an upstream of itself, or of what the client knows by another name.
            "notifications/cancelled"
            | "notifications/initialized"
            | "notifications/tasks"
            | "notifications/tasks/status"
            | "notifications/subscriptions/acknowledged" => return,
            // What has another name is none: it might be one of ours.
            _ if !method.starts_with("notifications/") => return,
            _ => {}
        }
        let said = CustomNotification::new(method, Some(Value::Object(params)));
        let said = ServerNotification::CustomNotification(said);
        let _ = self.peer.send_notification(said).await;
    }

    /// The least severe log level that the client wants, as MCP words it.
    #[must_use]
    pub fn level(&self) -> Option<String> {
        let level = self.caller.borrow().level?;
        match to_value(&level) {
            Ok(Value::String(level)) => Some(level),
            _ => None,
        }
    }

    /// Whether the client wants to hear how far the call is.
    #[must_use]
    pub fn wants_progress(&self) -> bool {
        self.caller.borrow().token.is_some()
    }

    /// Logs for the client, if it wants messages this severe.
    pub async fn log(&self, level: LoggingLevel, data: Value) {
        let least = self.caller.borrow().level;
        if least.is_some_and(|least| severity(level) >= severity(least)) {
            let param = LoggingMessageNotificationParam::new(level, data);
            let _ = self.peer.notify_logging_message(param).await;
        }
    }

    /// Lets the client's stream end for now, where the client can come back for the rest: a call
    /// that will take long need not hold a connection (SEP-1699). Elsewhere this does nothing.
    pub async fn pause_stream(&self) {
        let is_resumable = self.caller.borrow().is_resumable;
        if is_resumable {
            let pause = CustomNotification::new(PAUSE, None);
            let pause = ServerNotification::CustomNotification(pause);
            let _ = self.peer.send_notification(pause).await;
        }
    }
}

/// The order of levels (RFC 5424), least severe first: the order in which they are declared.
const fn severity(level: LoggingLevel) -> u8 {
    level as u8
}
