//! What is passed on between an upstream and whoever asked, in the words of either. It must not
//! know what is asked.

use crate::{
    client::Question,
    context::OWN_KEYS,
    fence::Fence,
    toolset::{ToolError, Visit},
};
use futures_util::future::LocalBoxFuture;
use rmcp::model::{ErrorCode, ErrorData, JsonObject};
use serde_json::Value;
use shared::{Error, Kind};
use upstream::{
    Failure, Relay,
    listen::{Heard, Hearing},
    talk::Question as Asked,
    wire::ErrorObject,
};

/// A client that asked something.
pub(super) struct Passing<'a> {
    /// Whose questions these are: two toolsets may ask within one request.
    pub(super) toolset: &'a str,
    pub(super) visit: &'a Visit,
    pub(super) hearing: &'a Hearing,
    /// What the client may answer.
    pub(super) fence: &'a Fence,
}

impl Passing<'_> {
    /// Where what another run should know is kept.
    fn kept_key(&self) -> String {
        format!("{OWN_KEYS}{}", self.toolset)
    }
}

impl Relay for Passing<'_> {
    fn notified<'a>(&'a self, method: &'a str, params: JsonObject) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            match upstream::listen::change(method, &params) {
                // Everybody who listens hears of these, and not only whoever asked.
                Some(heard) => self.heard(heard),
                None => self.visit.reporter.relay(method, params).await,
            }
        })
    }

    fn asked<'a>(
        &'a self,
        questions: Vec<Asked>,
    ) -> LocalBoxFuture<'a, Result<Vec<Value>, ErrorObject>> {
        Box::pin(async move {
            let (mut asked, mut forms) = (Vec::new(), Vec::new());
            for Asked { key, method, mut params } in questions {
                forms.push(self.fence.ask(&mut params).map_err(object_of)?);
                // Where others may ask, too, the same name is not the same question.
                let key = match self.visit.is_shared {
                    true => format!("{}.{key}", self.toolset),
                    false => key,
                };
                asked.push((key, Question::of(method, params)));
            }
            let answers = self.visit.client.ask_all(asked).await;
            let answers = answers.map_err(|error| object_of(error.into_protocol()))?;
            let answers = answers.into_iter().zip(forms);
            let answers = answers.map(|(answer, form)| self.fence.answer(form.as_ref(), answer));
            answers.collect::<Result<_, _>>().map_err(object_of)
        })
    }

    fn client(&self) -> Option<String> {
        self.visit.client.session().map(|session| session.as_str().to_owned())
    }

    fn paused(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(self.visit.reporter.pause_stream())
    }

    fn kept(&self) -> Option<Value> {
        self.visit.client.kept(&self.kept_key())
    }

    fn keep(&self, state: Value) {
        self.visit.client.keep(&self.kept_key(), state);
    }
}

impl Passing<'_> {
    fn heard(&self, heard: Heard) {
        (self.hearing)(heard);
    }
}

/// An error as upstreams are told it.
pub(super) fn object_of(error: ErrorData) -> ErrorObject {
    let ErrorData { code, message, data, .. } = error;
    ErrorObject { code: code.0.into(), message: message.into_owned(), data }
}

/// Nobody: what is asked for is a list.
pub(super) struct Nobody;

impl Relay for Nobody {
    fn notified<'a>(&'a self, _method: &'a str, _params: JsonObject) -> LocalBoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    fn asked<'a>(
        &'a self,
        _questions: Vec<Asked>,
    ) -> LocalBoxFuture<'a, Result<Vec<Value>, ErrorObject>> {
        let message = "a list is asked for, and nobody can be asked".to_owned();
        let error = ErrorObject { code: -32601, message, data: None };
        Box::pin(std::future::ready(Err(error)))
    }

    fn client(&self) -> Option<String> {
        None
    }

    fn paused(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn kept(&self) -> Option<Value> {
        None
    }

    fn keep(&self, _state: Value) {}
}

/// That there is no such method.
const NO_METHOD: i64 = -32601;

/// Errors that speak of what is between this program and an upstream: no such method, headers that
/// do not fit, an unknown revision. A client would take them for words on its own connection, and
/// go on in another era.
const BETWEEN: [i64; 3] = [NO_METHOD, -32020, -32022];

/// Why an upstream did not answer, as a toolset says it.
pub(super) fn failed(failure: Failure) -> ToolError {
    match failure {
        Failure::Below(error) => ToolError::Below(error),
        Failure::Error(error) if BETWEEN.contains(&error.code) => {
            let detail = error.code.to_string();
            Error::new(Kind::Upstream, error.message).with_detail(detail).into()
        }
        Failure::Error(error) => own(error),
    }
}

/// The same of a method that an upstream need not have.
pub(super) fn failed_if_there(failure: Failure) -> ToolError {
    match failure {
        Failure::Error(error) if error.code == NO_METHOD => own(error),
        other => failed(other),
    }
}

/// An upstream's own error, as it came.
fn own(error: ErrorObject) -> ToolError {
    let ErrorObject { code, message, data } = error;
    let code = ErrorCode(i32::try_from(code).unwrap_or(-32603));
    ToolError::Protocol(ErrorData::new(code, message, data))
}
