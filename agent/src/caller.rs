//! Who a call talks to, as its latest request says it: what it wants to hear on the way, and what
//! it can be asked for. It must not know how anything reaches the client.

use rmcp::model::{ClientCapabilities, LoggingLevel, ProgressToken, RequestMetaObject};
use shared::{
    SessionId,
    hop::{Holder, Stop},
};
use std::{cell::RefCell, rc::Rc};

/// What a request says of its sender.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// Whatever names the request in reports of progress; without it there are none.
    pub token: Option<ProgressToken>,
    /// The least severe log level that is wanted; without it there are no logs.
    pub level: Option<LoggingLevel>,
    /// What the client can be asked for.
    pub capabilities: ClientCapabilities,
    /// Whether its stream may be interrupted (2025-11-25).
    pub is_resumable: bool,
    /// Whether anybody would hear of changes.
    pub is_heard: bool,
    /// Its session, by which its requests are known for those of one client. The modern era has
    /// none.
    pub session: Option<SessionId>,
    /// By what it was let in.
    pub holder: Holder,
    /// The toolset that its call is at now.
    pub toolset: Option<String>,
}

/// The caller of a call that may be continued by a later request, which then says it anew.
pub type SharedCaller = Rc<RefCell<Caller>>;

impl Caller {
    /// The sender of a request of the modern era: its `_meta` says everything that it says itself.
    #[must_use]
    pub fn of_meta(meta: &RequestMetaObject, is_heard: bool, holder: Holder) -> Self {
        Self {
            token: meta.get_progress_token(),
            level: meta.log_level(),
            capabilities: meta.client_capabilities().unwrap_or_default(),
            is_resumable: false,
            is_heard,
            session: None,
            holder,
            toolset: None,
        }
    }

    /// Whether its call is among what ends.
    #[must_use]
    pub fn is_of(&self, stop: &Stop) -> bool {
        stop.ends(&self.holder, self.toolset.as_deref())
    }

    /// For a call.
    #[must_use]
    pub fn shared(self) -> SharedCaller {
        Rc::new(RefCell::new(self))
    }
}
