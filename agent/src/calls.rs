//! A running call as its Agent sees it: what it says, in order and in words for the client, and
//! the way in for what is said to it meanwhile. It must not know HTTP, nor what a call does.

use crate::{
    caller::SharedCaller,
    client::Rounds,
    driver::{Driver, Inbox, Message, is_reply},
    handler::Handler,
    parking::Parking,
    report::PAUSE,
    tasks::QUESTIONS,
    value::to_value,
    verbatim::{SERVER_INFO, Verbatim, server},
};
use futures_util::Stream;
use rmcp::model::{
    ClientResult, CustomResult, ErrorData, GetExtensions as _, JsonRpcMessage, MetaObject,
    NumberOrString, RequestId, RequestMetaObject, ServerNotification, ServerResult,
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use shared::{
    AgentKey, Error,
    hop::{CallId, Stop, Word},
};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    fmt,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
};

/// A call's work, and what of it outlives one request.
#[derive(Debug)]
pub struct Work {
    /// The call itself.
    pub driver: Driver<Handler>,
    /// What it asked its client and knows (modern era).
    pub rounds: Rc<Rounds>,
    /// Who listens.
    pub caller: SharedCaller,
    /// Its result, where that is no type of `rmcp`'s.
    pub verbatim: Verbatim,
}

/// What a call says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A notification or a request: more follows.
    Message(String),
    /// The reply: nothing follows.
    Reply {
        /// A JSON-RPC message.
        text: String,
        /// The code of its error, if it is one.
        error: Option<i64>,
    },
    /// The client's stream may end here for now.
    Pause,
}

/// Where the calls of one Agent that a [`Word`] can reach are found.
pub type Calls = Rc<RefCell<BTreeMap<CallId, Rc<Running>>>>;

/// A call that runs.
#[derive(Debug)]
pub struct Running {
    work: RefCell<Option<Work>>,
    inbox: Inbox,
    /// Numbers of the requests that the client has not answered.
    open: RefCell<BTreeSet<u32>>,
    waker: RefCell<Option<Waker>>,
    is_cancelled: Cell<bool>,
    /// What it is answered with, once somebody else than its client has ended it.
    ended: RefCell<Option<Error>>,
}

/// Every call that runs, whether or not a word can reach it.
#[derive(Debug, Default)]
pub struct Live(RefCell<Vec<Weak<Running>>>);

impl Live {
    /// Notes that a call runs.
    pub fn add(&self, talk: &Talk) {
        let mut all = self.0.borrow_mut();
        if all.len() == all.capacity() {
            all.retain(|running| running.strong_count() > 0);
        }
        all.push(Rc::downgrade(&talk.running));
    }

    /// Ends calls: their work stops here, and their clients are told.
    pub fn stop(&self, stop: &Stop, error: &Error) {
        let all: Vec<_> = self.0.borrow().iter().filter_map(Weak::upgrade).collect();
        let is_of = |running: &Rc<Running>| {
            let work = running.work.borrow();
            work.as_ref().is_some_and(|work| work.caller.borrow().is_of(stop))
        };
        for running in all.into_iter().filter(is_of) {
            *running.ended.borrow_mut() = Some(error.clone());
            running.leave();
        }
    }
}

impl Running {
    /// Brings a word. False if there is nothing that it could be for.
    pub fn hear(&self, word: Word<'_>) -> bool {
        match word {
            Word::Cancel => self.cancel(),
            Word::Answer { n, response } => self.answer(n, response),
        }
    }

    fn cancel(&self) -> bool {
        self.is_cancelled.set(true);
        self.leave()
    }

    /// Lets the work go, which stops it, and has whoever waits for it look again. Whether there was
    /// any.
    fn leave(&self) -> bool {
        let work = self.work.borrow_mut().take();
        let was_running = work.is_some();
        drop(work);
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
        was_running
    }

    fn answer(&self, n: u32, response: &RawValue) -> bool {
        let is_running = self.work.borrow().is_some();
        if !is_running || !self.open.borrow_mut().remove(&n) {
            return false;
        }
        self.inbox.send(read_response(n, response));
        true
    }
}

#[derive(Deserialize)]
struct Written {
    result: Option<Value>,
    error: Option<ErrorData>,
}

/// A client's response as the loop knows it. The result stays as it came: what it must be, whoever
/// asked knows.
fn read_response(n: u32, response: &RawValue) -> rmcp::service::RxJsonRpcMessage<rmcp::RoleServer> {
    let id = NumberOrString::Number(n.into());
    let none = || ErrorData::invalid_request("the response has no result and no error", None);
    match serde_json::from_str(response.get()) {
        Ok(Written { error: Some(error), .. }) => JsonRpcMessage::error(error, Some(id)),
        Ok(Written { result: Some(result), .. }) => {
            JsonRpcMessage::response(ClientResult::CustomResult(CustomResult(result)), id)
        }
        Ok(_) => JsonRpcMessage::error(none(), Some(id)),
        Err(error) => {
            let text = format!("the response is none: {error}");
            JsonRpcMessage::error(ErrorData::invalid_request(text, None), Some(id))
        }
    }
}

/// How a call's client is talked to.
enum Era {
    Handshake { call: CallId, calls: Calls },
    Modern { request: Option<Asking> },
}

/// A request whose call may end with questions.
#[derive(Debug)]
pub struct Asking {
    /// In which context.
    pub key: Rc<AgentKey>,
    /// The request as it came.
    pub message: Box<RawValue>,
    /// Whether the credential is good for what only reads: a call that another one began is none of it.
    pub is_read_only: bool,
    /// Where the call waits meanwhile.
    pub parking: Rc<Parking>,
}

impl Asking {
    /// What a state is bound to: user, scope, whether it may write, and everything that is asked for
    /// but for the answers.
    ///
    /// # Errors
    /// An internal error for what is no request.
    pub fn bound(&self) -> Result<Vec<u8>, Error> {
        #[derive(Deserialize)]
        struct Request {
            method: String,
            #[serde(default)]
            params: Value,
        }
        let internal = |error: serde_json::Error| Error::internal(error.to_string());
        let mut request: Request = serde_json::from_str(self.message.get()).map_err(internal)?;
        if let Some(params) = request.params.as_object_mut() {
            for name in ["_meta", "inputResponses", "requestState"] {
                params.remove(name);
            }
        }
        request.params.sort_all_objects();
        let bound = json!([&*self.key, self.is_read_only, request.method, request.params]);
        serde_json::to_vec(&bound).map_err(internal)
    }
}

/// Everything that one request's call says, up to its reply or a failure. Dropping it stops the
/// call, unless it is parked.
pub struct Talk {
    running: Rc<Running>,
    id: RequestId,
    era: Era,
}

impl fmt::Debug for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Talk").field("running", &self.running).finish_non_exhaustive()
    }
}

impl Talk {
    fn new(work: Work, id: RequestId, era: Era) -> Self {
        let running = Running {
            inbox: work.driver.inbox(),
            work: RefCell::new(Some(work)),
            open: RefCell::default(),
            waker: RefCell::default(),
            is_cancelled: Cell::new(false),
            ended: RefCell::default(),
        };
        Self { running: Rc::new(running), id, era }
    }

    /// A call of the handshake era: it can be reached among `calls` while it runs.
    pub fn handshake(work: Work, id: RequestId, call: CallId, calls: Calls) -> Self {
        let era = Era::Handshake { call: call.clone(), calls: Rc::clone(&calls) };
        let talk = Self::new(work, id, era);
        calls.borrow_mut().insert(call, Rc::clone(&talk.running));
        talk
    }

    /// A request of the modern era. What may ask can be parked and go on under another id.
    #[must_use]
    pub fn modern(work: Work, id: RequestId, request: Option<Asking>) -> Self {
        Self::new(work, id, Era::Modern { request })
    }

    /// Whether this is a call of the modern era.
    #[must_use]
    pub const fn is_modern(&self) -> bool {
        matches!(self.era, Era::Modern { .. })
    }

    /// Whether the client wants no reply any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.running.is_cancelled.get()
    }

    /// The call's message in words for its client.
    fn write(&self, mut message: Message) -> Result<Said, Error> {
        if is_pause(&message) {
            return Ok(Said::Pause);
        }
        match &self.era {
            Era::Handshake { call, .. } => number(&mut message, call, &self.running.open),
            Era::Modern { .. } => {
                if let JsonRpcMessage::Response(response) = &mut message {
                    stamp(&mut response.result);
                    place_questions(&mut response.result);
                }
                address(&mut message, &self.id);
            }
        }
        if let JsonRpcMessage::Response(response) = &message
            && let Some(result) = self.verbatim()
        {
            let id = &response.id;
            let id =
                serde_json::to_string(id).map_err(|error| Error::internal(error.to_string()))?;
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
            return Ok(Said::Reply { text, error: None });
        }
        let text =
            serde_json::to_string(&message).map_err(|error| Error::internal(error.to_string()))?;
        Ok(match &message {
            JsonRpcMessage::Error(error) => {
                Said::Reply { text, error: Some(error.error.code.0.into()) }
            }
            message if is_reply(message) => Said::Reply { text, error: None },
            _ => Said::Message(text),
        })
    }

    /// The call's result, if it was put where `rmcp` does not see it.
    fn verbatim(&self) -> Option<String> {
        self.running.work.borrow().as_ref().and_then(|work| work.verbatim.take())
    }

    /// Ends the request with what the call asks, if that is all it waits for.
    fn ask(&self) -> Option<Result<Said, Error>> {
        let Era::Modern { request: Some(request) } = &self.era else {
            return None;
        };
        let is_asking = self
            .running
            .work
            .borrow()
            .as_ref()
            .is_some_and(|work| work.driver.is_idle() && work.rounds.is_waiting());
        let work = is_asking.then(|| self.running.work.borrow_mut().take()).flatten()?;
        let inputs = work.rounds.inputs();
        let park = || {
            let state = request.parking.park(work, &request.bound()?)?;
            let text = json!({
                "jsonrpc": "2.0",
                "id": self.id,
                "result": {
                    "resultType": "input_required",
                    "inputRequests": inputs,
                    "requestState": state,
                    "_meta": { SERVER_INFO: server() },
                },
            });
            Ok(Said::Reply { text: text.to_string(), error: None })
        };
        Some(park())
    }

    /// The reply of a call that we failed.
    #[must_use]
    pub fn failed(&self, error: &Error) -> Said {
        let code = error.kind.row().code;
        let text = json!({
            "jsonrpc": "2.0",
            "id": self.id,
            "error": { "code": code, "message": error.public },
        });
        Said::Reply { text: text.to_string(), error: Some(code) }
    }

    /// Stops the call: it says nothing more.
    pub fn stop(&self) {
        self.end();
    }

    /// Nothing more can be said to this call.
    fn end(&self) {
        let work = self.running.work.borrow_mut().take();
        drop(work);
        if let Era::Handshake { call, calls } = &self.era {
            let mut calls = calls.borrow_mut();
            // A later call of the same id is none of ours.
            if calls.get(call).is_some_and(|running| Rc::ptr_eq(running, &self.running)) {
                calls.remove(call);
            }
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.end();
    }
}

impl Stream for Talk {
    type Item = Result<Said, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = match self.running.work.borrow_mut().as_mut() {
            None => Poll::Ready(None),
            Some(work) => Pin::new(&mut work.driver).poll_next(context),
        };
        let said = match polled {
            Poll::Ready(Some(message)) => Some(self.write(message)),
            Poll::Ready(None) => {
                let ended = self.running.ended.borrow_mut().take();
                ended.map(|error| Ok(self.failed(&error)))
            }
            Poll::Pending => match self.ask() {
                Some(asked) => Some(asked),
                None => {
                    *self.running.waker.borrow_mut() = Some(context.waker().clone());
                    return Poll::Pending;
                }
            },
        };
        if matches!(said, None | Some(Ok(Said::Reply { .. }) | Err(_))) {
            self.end();
        }
        Poll::Ready(said)
    }
}

fn is_pause(message: &Message) -> bool {
    matches!(
        message,
        JsonRpcMessage::Notification(notification) if matches!(
            &notification.notification,
            ServerNotification::CustomNotification(custom) if custom.method == PAUSE
        )
    )
}

/// Gives the call's own requests ids that are unique in the session.
fn number(message: &mut Message, call: &CallId, open: &RefCell<BTreeSet<u32>>) {
    let named = |id: &RequestId| match id {
        NumberOrString::Number(n) => u32::try_from(*n).ok(),
        NumberOrString::String(_) => None,
    };
    match message {
        JsonRpcMessage::Request(request) => {
            // A progress token would be one of every call's; and nobody would hear the progress.
            request.request.extensions_mut().remove::<RequestMetaObject>();
            if let Some(n) = named(&request.id) {
                open.borrow_mut().insert(n);
                request.id = NumberOrString::String(call.request_id(n).into());
            }
        }
        JsonRpcMessage::Notification(notification) => {
            if let ServerNotification::CancelledNotification(cancelled) =
                &mut notification.notification
                && let Some(n) = cancelled.params.request_id.as_ref().and_then(named)
            {
                open.borrow_mut().remove(&n);
                let id = NumberOrString::String(call.request_id(n).into());
                cancelled.params.request_id = Some(id);
            }
        }
        JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => {}
    }
}

/// A call that was parked answers the request that brought it on.
fn address(message: &mut Message, id: &RequestId) {
    match message {
        JsonRpcMessage::Response(response) => response.id = id.clone(),
        JsonRpcMessage::Error(error) => error.id = Some(id.clone()),
        JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => {}
    }
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
        ServerResult::CreateTaskResult(r) => &mut r.meta,
        ServerResult::GetTaskResult(r) => &mut r.meta,
        ServerResult::TaskAckResult(r) => &mut r.meta,
        ServerResult::ListSkillsResult(r) => &mut r.meta,
        ServerResult::GetSkillResult(r) => &mut r.meta,
        // These carry it already, or have no place for it.
        _ => return,
    };
    meta.get_or_insert_default().insert(SERVER_INFO.to_owned(), server());
}

/// Puts a task's questions where they belong, as they were asked: `rmcp`'s types want what
/// 2026-07-28 does not know.
fn place_questions(result: &mut ServerResult) {
    let ServerResult::GetTaskResult(task) = result else {
        return;
    };
    let Some(asked) = task.meta.as_mut().and_then(|meta| meta.remove(QUESTIONS)) else {
        return;
    };
    if let Ok(Value::Object(mut task)) = to_value(task) {
        task.insert("inputRequests".to_owned(), asked);
        *result = ServerResult::CustomResult(CustomResult(task.into()));
    }
}
