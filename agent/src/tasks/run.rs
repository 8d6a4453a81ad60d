//! The work of one task, without a client: the same call through the same loop, on its own. It must
//! not know rows, other tasks, or why it runs.

use crate::{
    caller::Caller,
    calls::Work,
    client::Rounds,
    decode,
    driver::{Driver, Message},
    handler::Handler,
    verbatim::Verbatim,
};
use futures_util::Stream as _;
use rmcp::model::{
    ErrorData, GetMeta as _, InitializeRequestParams, JsonRpcMessage, ProtocolVersion,
};
use serde_json::{Map, Value, value::RawValue};
use shared::{Error, hop::Holder, limits};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Poll, Waker},
};

/// Work that is in memory.
#[derive(Debug)]
pub(super) struct Running {
    /// What it asked and was answered.
    pub(super) rounds: Rc<Rounds>,
    /// What was last written of what it asks.
    pub(super) asked: RefCell<Map<String, Value>>,
    is_stopped: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Running {
    pub(super) fn new(rounds: Rounds) -> Self {
        Self {
            rounds: Rc::new(rounds),
            asked: RefCell::default(),
            is_stopped: Cell::new(false),
            waker: RefCell::default(),
        }
    }

    /// Stops the work: it is not polled again, and what it holds is let go.
    pub(super) fn stop(&self) {
        self.is_stopped.set(true);
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// What a task ended with, as JSON.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    /// The call's result, whatever it says.
    Result(String),
    /// The call's protocol error.
    Error(String),
}

impl Outcome {
    /// A failure of ours, in words for the client.
    pub(super) fn failed(text: &str) -> Self {
        let error = ErrorData::internal_error(text.to_owned(), None);
        Self::Error(serde_json::to_string(&error).unwrap_or_else(|_| FAILED.to_owned()))
    }

    /// The outcome in a reply; `None` for what is no reply.
    fn of(message: &Message, verbatim: &Verbatim) -> Option<Self> {
        let (text, is_result) = match message {
            JsonRpcMessage::Response(response) => match verbatim.take() {
                Some(text) => (Ok(text), true),
                None => (serde_json::to_string(&response.result), true),
            },
            JsonRpcMessage::Error(error) => (serde_json::to_string(&error.error), false),
            JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => return None,
        };
        Some(match text {
            Ok(text) if text.len() > limits::TASK_RESULT_BYTES_MAX => Self::failed(&format!(
                "the task's result has more than {} bytes; ask for less",
                limits::TASK_RESULT_BYTES_MAX
            )),
            Ok(text) if is_result => Self::Result(text),
            Ok(text) => Self::Error(text),
            Err(error) => Self::failed(&format!("the task's result cannot be written: {error}")),
        })
    }
}

const FAILED: &str = r#"{"code":-32603,"message":"the task failed"}"#;

/// Starts the call with these parameters for `handler`, which is completed with its caller: what
/// `holder` was let in by.
///
/// # Errors
/// An internal error if they are none.
pub(super) fn start(mut handler: Handler, call: &str, holder: Holder) -> Result<Work, Error> {
    let call: Box<RawValue> = RawValue::from_string(call.to_owned())
        .map_err(|error| Error::internal(format!("the stored call: {error}")))?;
    let message =
        format!(r#"{{"jsonrpc":"2.0","id":0,"method":"tools/call","params":{}}}"#, call.get());
    let request = decode::decode(&message, true)
        .map_err(|error| Error::internal(format!("the stored call: {}", error.error.message)))?;
    // Nobody hears what it says on the way; what it changes may concern anybody.
    let caller = Caller::of_meta(request.request.get_meta(), true, holder);
    let caller = Caller { token: None, level: None, ..caller };
    handler.caller = caller.shared();
    let mut client = InitializeRequestParams::default();
    client.protocol_version = ProtocolVersion::V_2026_07_28;
    let (rounds, caller) = (Rc::clone(&handler.rounds), Rc::clone(&handler.caller));
    let verbatim = handler.verbatim.clone();
    let driver = Driver::start(handler, Some(client), request)?;
    Ok(Work { driver, rounds, caller, verbatim })
}

/// Runs work to its end; `None` if it was stopped. Whenever it can only wait, `waits` is told.
pub(super) async fn run(
    mut work: Work,
    running: &Running,
    waits: impl Fn(&Running),
) -> Option<Outcome> {
    poll_fn(|context| {
        if running.is_stopped.get() {
            return Poll::Ready(None);
        }
        *running.waker.borrow_mut() = Some(context.waker().clone());
        loop {
            match Pin::new(&mut work.driver).poll_next(context) {
                Poll::Ready(Some(message)) => {
                    if let Some(outcome) = Outcome::of(&message, &work.verbatim) {
                        return Poll::Ready(Some(outcome));
                    }
                }
                Poll::Ready(None) => {
                    return Poll::Ready(Some(Outcome::failed("the task ended without a result")));
                }
                Poll::Pending => {
                    if work.driver.is_idle() {
                        waits(running);
                    }
                    return Poll::Pending;
                }
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use rmcp::model::{CallToolResult, ContentBlock, NumberOrString, ServerResult};

    #[test]
    fn a_result_has_a_bound() {
        let outcome = |length: usize| {
            let result = CallToolResult::success(vec![ContentBlock::text("x".repeat(length))]);
            let result = ServerResult::CallToolResult(result);
            Outcome::of(
                &JsonRpcMessage::response(result, NumberOrString::Number(0)),
                &Verbatim::default(),
            )
            .unwrap()
        };
        assert!(matches!(outcome(limits::TASK_RESULT_BYTES_MAX / 2), Outcome::Result(_)));
        let Outcome::Error(text) = outcome(limits::TASK_RESULT_BYTES_MAX) else {
            panic!("too large for a result");
        };
        assert!(text.contains("ask for less"), "{text}");
    }

    #[test]
    fn a_failure_is_an_error_of_json_rpc() {
        for text in [FAILED, r#"{"code":-32603,"message":"why"}"#] {
            let error: ErrorData = serde_json::from_str(text).unwrap();
            assert_eq!(error.code.0, -32603);
        }
        let expected = Outcome::Error(r#"{"code":-32603,"message":"why"}"#.to_owned());
        assert_eq!(Outcome::failed("why"), expected);
    }
}
