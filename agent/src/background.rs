//! The way of a call into the background: a tool says where its work may go on without its caller,
//! and whoever runs the call sees to it. It must not know what a task is, or how one is kept.

use crate::toolset::{Answer, ToolError};
use std::{cell::Cell, future::poll_fn, rc::Rc, task::Poll};

/// A call's way into the background.
#[derive(Debug, Clone, Default)]
pub struct Background {
    /// `None` where there is no way: the call is there already, or its client could not follow.
    begun: Option<Rc<Cell<bool>>>,
}

impl Background {
    /// A way, or none.
    #[must_use]
    pub fn new(is_possible: bool) -> Self {
        Self { begun: is_possible.then(Rc::default) }
    }

    /// Goes on in the background from here, if the client can follow: it is given a task at once
    /// and comes back for the result. Otherwise this does nothing.
    ///
    /// The call begins anew there, with the answers that it has. So until here it only asks.
    pub async fn begin(&self) {
        if let Some(begun) = &self.begun {
            begun.set(true);
            // Nobody polls this call any more.
            std::future::pending().await
        }
    }

    /// Runs a call until it is done. `None` if it wants to go on in the background.
    ///
    /// # Errors
    /// The call's.
    pub async fn run<T>(&self, mut call: Answer<'_, T>) -> Option<Result<T, ToolError>> {
        poll_fn(|context| match call.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending if self.begun.as_ref().is_some_and(|begun| begun.get()) => {
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}
