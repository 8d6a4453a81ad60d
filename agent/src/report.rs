//! What a running call may say before its result: progress and log messages, gated as the client
//! asked. A toolset does not know which era it serves. It must not know any tool.

use rmcp::{
    Peer, RoleServer,
    model::{
        LoggingLevel, LoggingMessageNotificationParam, ProgressNotificationParam, ProgressToken,
    },
};
use serde_json::Value;

/// The way out for one call.
#[derive(Debug, Clone)]
pub struct Reporter {
    peer: Peer<RoleServer>,
    token: Option<ProgressToken>,
    level: Option<LoggingLevel>,
}

impl Reporter {
    /// For a call whose client gave this progress token and wants logs from this level on.
    /// Without a token there is no progress, without a level there are no logs.
    #[must_use]
    pub const fn new(
        peer: Peer<RoleServer>,
        token: Option<ProgressToken>,
        level: Option<LoggingLevel>,
    ) -> Self {
        Self { peer, token, level }
    }

    /// Says how far the call is. A client that reads too slowly misses some of it.
    pub async fn progress(&self, progress: f64, total: f64, message: &str) {
        if let Some(token) = self.token.clone() {
            let param = ProgressNotificationParam::new(token, progress)
                .with_total(total)
                .with_message(message);
            let _ = self.peer.notify_progress(param).await;
        }
    }

    /// Logs for the client, if it wants messages this severe.
    pub async fn log(&self, level: LoggingLevel, data: Value) {
        if self.level.is_some_and(|least| severity(level) >= severity(least)) {
            let param = LoggingMessageNotificationParam::new(level, data);
            let _ = self.peer.notify_logging_message(param).await;
        }
    }
}

/// The order of levels (RFC 5424), least severe first: the order in which they are declared.
const fn severity(level: LoggingLevel) -> u8 {
    level as u8
}
