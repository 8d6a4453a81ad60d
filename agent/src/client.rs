//! The way from a running call to its client: questions and their answers. A toolset asks the
//! same in both eras. In the handshake era a question is a request on the call's stream; in the
//! modern era it is the end of an HTTP request, and the next one brings the answer. It must not
//! know who carries either, nor any tool.

mod question;

pub use question::Question;

use crate::{
    caller::SharedCaller,
    platform::Platform,
    toolset::{ToolError, object},
};
use futures_util::{
    FutureExt as _,
    future::{Either, select, try_join_all},
};
use rmcp::{
    Peer, RoleServer,
    model::{
        CancelledNotificationParam, ClientResult, CreateMessageRequestParams, CustomResult,
        ElicitRequestParams, ElicitResult, ErrorCode, ErrorData, JsonObject, ListRootsResult,
        RequestId,
    },
    service::{PeerRequestOptions, RequestHandle},
};
use serde_json::{Map, Value, json};
use shared::{SessionId, gathered, hop::Holder, limits};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

/// What a client may be asked, by one call.
///
/// Ask before you act. In the modern era a call may run again from its start, with the answers it
/// already has: what it did before it asked, it does again. A question is known by its key, a name
/// that the tool chooses and that means the same in every run; asking again under the same key
/// gives the same answer.
#[derive(Clone)]
pub struct Client {
    way: Way,
    caller: SharedCaller,
    platform: Rc<dyn Platform>,
}

/// How a question travels.
#[derive(Clone)]
enum Way {
    Session(Peer<RoleServer>),
    Rounds(Rc<Rounds>),
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("caller", &self.caller).finish_non_exhaustive()
    }
}

impl Client {
    /// The client of a session: it is asked at once.
    pub fn of_session(
        peer: Peer<RoleServer>,
        caller: SharedCaller,
        platform: Rc<dyn Platform>,
    ) -> Self {
        Self { way: Way::Session(peer), caller, platform }
    }

    /// The client of single requests: it is asked between them.
    pub fn of_rounds(rounds: Rc<Rounds>, caller: SharedCaller, platform: Rc<dyn Platform>) -> Self {
        Self { way: Way::Rounds(rounds), caller, platform }
    }

    /// What the client says that it can be asked for.
    #[must_use]
    pub fn capabilities(&self) -> JsonObject {
        object(&self.caller.borrow().capabilities)
    }

    /// What all of its requests have in common, if that is known.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.caller.borrow().session.clone()
    }

    /// By what it was let in: whoever goes on with a call, once somebody has.
    #[must_use]
    pub fn holder(&self) -> Holder {
        self.caller.borrow().holder.clone()
    }

    /// What an earlier run of this call kept, across its requests (modern era).
    #[must_use]
    pub fn kept(&self, key: &str) -> Option<Value> {
        match &self.way {
            Way::Rounds(rounds) => rounds.kept(key),
            Way::Session(_) => None,
        }
    }

    /// Keeps something for another run of this call, under a key that no question has.
    pub fn keep(&self, key: &str, value: Value) {
        if let Way::Rounds(rounds) = &self.way {
            rounds.keep(key, value);
        }
    }

    /// Whether the client says that it can answer this.
    #[must_use]
    pub fn can(&self, question: &Question) -> bool {
        question.is_possible(&self.caller.borrow().capabilities)
    }

    /// Asks the user to fill in a form, or to open a URL.
    ///
    /// # Errors
    /// As for [`Self::ask_all`]. That the user declines is an answer.
    pub async fn elicit(
        &self,
        key: &str,
        params: ElicitRequestParams,
    ) -> Result<ElicitResult, ToolError> {
        let answer = self.ask(key, Question::elicit(&params)).await?;
        serde_json::from_value(answer).map_err(|_| unfit())
    }

    /// Asks the client's model. What it says is a `CreateMessageResult`, as it came.
    ///
    /// # Errors
    /// As for [`Self::ask_all`].
    pub async fn sample(
        &self,
        key: &str,
        params: CreateMessageRequestParams,
    ) -> Result<JsonObject, ToolError> {
        match self.ask(key, Question::sample(&params)).await? {
            Value::Object(said) => Ok(said),
            _ => Err(unfit()),
        }
    }

    /// Asks for the directories that the client works in.
    ///
    /// # Errors
    /// As for [`Self::ask_all`].
    pub async fn roots(&self, key: &str) -> Result<ListRootsResult, ToolError> {
        let answer = self.ask(key, Question::roots()).await?;
        serde_json::from_value(answer).map_err(|_| unfit())
    }

    async fn ask(&self, key: &str, question: Question) -> Result<Value, ToolError> {
        let mut answers = self.ask_all(vec![(key.to_owned(), question)]).await?;
        answers.pop().ok_or_else(unfit)
    }

    /// Asks several questions at once and waits for all the answers, which come in their order.
    ///
    /// # Errors
    /// If the client cannot be asked one of them, answers with an error or in another form, or
    /// does not answer in time.
    pub async fn ask_all(
        &self,
        questions: Vec<(String, Question)>,
    ) -> Result<Vec<Value>, ToolError> {
        if questions.len() > limits::QUESTIONS_MAX {
            let text = format!("more than {} questions at once", limits::QUESTIONS_MAX);
            return Err(ToolError::Failed(text));
        }
        self.check(&questions)?;
        match &self.way {
            Way::Rounds(rounds) => rounds.ask(questions).await,
            Way::Session(peer) => {
                let asked = questions.iter().map(|(_, question)| self.send(peer, question));
                try_join_all(asked).await
            }
        }
    }

    /// A client is asked only for what it says it can do.
    fn check(&self, questions: &[(String, Question)]) -> Result<(), ToolError> {
        let lacking: Vec<&Question> =
            questions.iter().map(|(_, q)| q).filter(|q| !self.can(q)).collect();
        let Some(first) = lacking.first() else {
            return Ok(());
        };
        let text = format!("this client cannot answer {}: it lacks the capability", first.method());
        match self.way {
            Way::Session(_) => Err(ToolError::Failed(text)),
            Way::Rounds(_) => {
                let mut required = Map::new();
                lacking.iter().for_each(|question| question.require(&mut required));
                let data = json!({ "requiredCapabilities": required });
                let code = ErrorCode::MISSING_REQUIRED_CLIENT_CAPABILITY;
                Err(ToolError::Protocol(ErrorData::new(code, text, Some(data))))
            }
        }
    }

    /// Asks on the call's stream.
    async fn send(&self, peer: &Peer<RoleServer>, question: &Question) -> Result<Value, ToolError> {
        let gone = |_| ToolError::Failed("the client cannot be asked now".to_owned());
        let options = PeerRequestOptions::no_options();
        let sent = peer.send_cancellable_request(question.request(), options).await;
        let RequestHandle { rx, id, .. } = sent.map_err(gone)?;
        let mut open = Open { peer, id: Some(id) };
        let end = select(rx, self.platform.sleep(limits::ASK_MS_MAX)).await;
        let id = open.id.take();
        match end {
            Either::Left((Ok(Ok(ClientResult::CustomResult(CustomResult(value)))), _)) => {
                question.admits(&value).then_some(value).ok_or_else(unfit)
            }
            Either::Left((Ok(Ok(_)), _)) => Err(unfit()),
            Either::Left((Ok(Err(error)), _)) => {
                let text = format!("the client did not answer {}: {error}", question.method());
                Err(ToolError::Failed(text))
            }
            Either::Left((Err(_), _)) => {
                Err(ToolError::Failed("the client cannot be asked any more".to_owned()))
            }
            Either::Right(_) => {
                let reason = "no answer in time".to_owned();
                let param = CancelledNotificationParam::new(id, Some(reason));
                let _ = peer.notify_cancelled(param).await;
                let text = format!("the client did not answer {} in time", question.method());
                Err(ToolError::Failed(text))
            }
        }
    }
}

/// A question to the client of a session. Dropped while it is open, nobody waits for the answer any
/// more: the client need not go on asking its user.
struct Open<'a> {
    peer: &'a Peer<RoleServer>,
    id: Option<RequestId>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let reason = "the answer is not wanted any more".to_owned();
            let param = CancelledNotificationParam::new(Some(id), Some(reason));
            // It is on its way at once. Where there is no room the client asks in vain.
            let _ = self.peer.notify_cancelled(param).now_or_never();
        }
    }
}

fn unfit() -> ToolError {
    ToolError::Failed("the client's answer does not fit what it was asked".to_owned())
}

/// The questions and answers of one call of the modern era, across its requests.
#[derive(Debug, Default)]
pub struct Rounds(RefCell<Table>);

#[derive(Debug, Default)]
struct Table {
    /// Answers to what has not been asked yet.
    early: BTreeMap<String, Value>,
    /// Answers that were asked for and fit.
    accepted: BTreeMap<String, Value>,
    open: BTreeMap<String, Question>,
    wakers: Vec<Waker>,
}

impl Table {
    /// The answer, or else the question is open.
    fn answer(&mut self, key: &str, question: &Question) -> Option<Value> {
        if let Some(value) = self.accepted.get(key).filter(|value| question.admits(value)) {
            return Some(value.clone());
        }
        if let Some(value) = self.early.remove(key)
            && question.admits(&value)
        {
            self.accepted.insert(key.to_owned(), value.clone());
            self.open.remove(key);
            return Some(value);
        }
        self.open.insert(key.to_owned(), question.clone());
        None
    }
}

/// Whoever no longer waits for an answer does not want it asked either.
struct Asking<'a> {
    rounds: &'a Rounds,
    questions: Vec<(String, Question)>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut table = self.rounds.0.borrow_mut();
        for (key, _) in &self.questions {
            table.open.remove(key);
        }
    }
}

impl Rounds {
    /// For a call that already has these answers, whatever it will ask.
    #[must_use]
    pub fn with(answers: BTreeMap<String, Value>) -> Self {
        Self(RefCell::new(Table { early: answers, ..Table::default() }))
    }

    async fn ask(&self, questions: Vec<(String, Question)>) -> Result<Vec<Value>, ToolError> {
        let asking = Asking { rounds: self, questions };
        poll_fn(|context| {
            let mut table = self.0.borrow_mut();
            let answers: Vec<Option<Value>> =
                asking.questions.iter().map(|(key, q)| table.answer(key, q)).collect();
            if table.open.len() > limits::QUESTIONS_MAX {
                let text = format!("more than {} questions at once", limits::QUESTIONS_MAX);
                return Poll::Ready(Err(ToolError::Failed(text)));
            }
            match answers.into_iter().collect::<Option<Vec<_>>>() {
                Some(answers) => Poll::Ready(Ok(answers)),
                None => {
                    let waker = context.waker();
                    if !table.wakers.iter().any(|kept| kept.will_wake(waker)) {
                        table.wakers.push(waker.clone());
                    }
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// What was kept under a key.
    #[must_use]
    pub fn kept(&self, key: &str) -> Option<Value> {
        let table = self.0.borrow();
        table.accepted.get(key).or_else(|| table.early.get(key)).cloned()
    }

    /// Keeps something that a run from the start would need, as the answers are kept.
    pub fn keep(&self, key: &str, value: Value) {
        self.0.borrow_mut().accepted.insert(key.to_owned(), value);
    }

    /// Whether this is asked, and this an answer to it.
    #[must_use]
    pub fn admits(&self, key: &str, value: &Value) -> bool {
        self.0.borrow().open.get(key).is_some_and(|question| question.admits(value))
    }

    /// Brings answers to what is open, which at once is so no more; whatever else the client says
    /// is ignored. What does not fit stays open.
    pub fn give(&self, mut answers: BTreeMap<String, Value>) {
        answers.retain(|key, value| self.admits(key, value));
        let mut table = self.0.borrow_mut();
        for (key, value) in answers {
            table.open.remove(&key);
            table.accepted.insert(key, value);
        }
        let wakers = std::mem::take(&mut table.wakers);
        drop(table);
        wakers.iter().for_each(Waker::wake_by_ref);
    }

    /// Whether anything is asked and not answered.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.0.borrow().open.is_empty()
    }

    /// What is asked and not answered, as `inputRequests`.
    #[must_use]
    pub fn inputs(&self) -> Map<String, Value> {
        let table = self.0.borrow();
        gathered(table.open.iter().map(|(key, question)| (key.clone(), question.input())))
    }

    /// The answers that a run from the start would need.
    #[must_use]
    pub fn accepted(&self) -> BTreeMap<String, Value> {
        self.0.borrow().accepted.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        caller::Caller,
        decode::decode,
        driver::{Driver, Message, is_reply},
        toolset::tests::Still,
    };
    use futures_executor::block_on;
    use futures_util::StreamExt as _;
    use rmcp::{
        ServerHandler,
        model::{CallToolRequestParams, CallToolResponse, CallToolResult},
        service::RequestContext,
    };

    /// Asks, and then wants no answer.
    struct Fickle;

    impl ServerHandler for Fickle {
        async fn call_tool(
            &self,
            _request: CallToolRequestParams,
            context: RequestContext<RoleServer>,
        ) -> Result<CallToolResponse, ErrorData> {
            let capabilities = serde_json::from_value(json!({ "roots": {} })).unwrap();
            let caller = Caller { capabilities, ..Caller::default() }.shared();
            let client = Client::of_session(context.peer, caller, Rc::new(Still::default()));
            let turns = Box::pin(async {
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
            });
            assert!(matches!(select(Box::pin(client.roots("k")), turns).await, Either::Right(_)));
            // Time to be heard.
            tokio::task::yield_now().await;
            Ok(CallToolResult::success(vec![]).into())
        }
    }

    #[test]
    fn a_question_that_nobody_waits_for_any_more_is_withdrawn() {
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#;
        let driver = Driver::start(Fickle, None, decode(call, false).unwrap()).unwrap();
        let messages: Vec<Message> = block_on(driver.collect());
        let [asked, cancelled, reply] = &messages[..] else { panic!("{messages:?}") };
        let [asked, cancelled] = [asked, cancelled].map(|said| serde_json::to_value(said).unwrap());
        assert_eq!(asked["method"], "roots/list");
        assert_eq!(cancelled["method"], "notifications/cancelled");
        assert_eq!(cancelled["params"]["requestId"], asked["id"]);
        assert!(is_reply(reply));
    }
}
