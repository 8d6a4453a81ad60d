//! The requests that run in a session, and what was said of them elsewhere than on their own
//! streams: it waits, bounded, until they take it. It must not know what is asked, nor by whom.

use crate::wire::{JsonObject, Message, Of};
use futures_util::future::{AbortHandle, abortable};
use serde_json::{Value, value::RawValue};
use shared::limits;
use std::{
    cell::RefCell,
    collections::VecDeque,
    future::Future,
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// The requests that are running in a session, latest last: what an upstream says by itself, and
/// without a word on what it is about, is for the latest. A question is for nobody if it may be
/// another client's.
#[derive(Debug, Default, Clone)]
pub(crate) struct Running(Rc<RefCell<Vec<Rc<Inbox>>>>);

/// The way to a request, by its number.
#[derive(Debug)]
struct Inbox {
    id: u64,
    asker: Asker,
    waiting: RefCell<Waiting>,
    /// What its client is being asked, by the upstream's ids: its caller bounds how much.
    open: RefCell<Vec<(Value, AbortHandle)>>,
}

/// Who sent a request, as far as they may be asked something that names no request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asker {
    /// Nobody who could be asked.
    Nobody,
    /// One client, which may be another one's or not.
    Somebody,
    /// The client that is known by this.
    Client(String),
}

/// Why a message was brought to no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// None that runs is concerned.
    Nobody,
    /// Several clients may be.
    Anybody,
    /// There is no room for it.
    Full,
}

/// What waits for a request, and its bytes. The reply counts for none: there is one.
#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<(Message, usize)>,
    bytes: usize,
    has_reply: bool,
    waker: Option<Waker>,
}

impl Waiting {
    /// Takes a message in, if there is room. The reply always finds some: without it the request
    /// would wait for nothing.
    fn push(&mut self, message: Message) -> bool {
        let is_reply = matches!(message, Message::Reply { .. });
        let bytes = if is_reply { 0 } else { bytes(&message) };
        let sum = self.bytes.saturating_add(bytes);
        let fits = self.messages.len() < limits::UPSTREAM_INBOX_MAX
            && sum <= limits::UPSTREAM_INBOX_BYTES_MAX;
        let is_taken = if is_reply { !self.has_reply } else { fits };
        if is_taken {
            self.has_reply |= is_reply;
            self.bytes = sum;
            self.messages.push_back((message, bytes));
            self.waker.take().into_iter().for_each(Waker::wake);
        }
        is_taken
    }

    fn pop(&mut self) -> Option<Message> {
        let (message, bytes) = self.messages.pop_front()?;
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(message)
    }

    fn remove_question(&mut self, id: &Value) {
        let is_it = |message: &Message| match message {
            Message::Request { id: own, .. } => value(own) == *id,
            _ => false,
        };
        let gone = self.messages.iter().position(|(message, _)| is_it(message));
        if let Some((_, bytes)) = gone.and_then(|index| self.messages.remove(index)) {
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }
}

/// An id as a value, so that it is the same however it is written.
fn value(id: &RawValue) -> Value {
    serde_json::from_str(id.get()).unwrap_or_default()
}

/// About how many bytes a message has.
fn bytes(message: &Message) -> usize {
    match message {
        Message::Reply { .. } => 0,
        Message::Request { method, params, .. } | Message::Notification { method, params } => {
            let params = serde_json::to_string(params).map_or(0, |text| text.len());
            method.len().saturating_add(params)
        }
    }
}

impl Running {
    /// An upstream wants no answer any more to a question of its own: nobody is asked any longer.
    pub(crate) fn withdraw(&self, params: &JsonObject) {
        if let Some(id) = params.get("requestId") {
            self.0.borrow().iter().for_each(|inbox| inbox.withdraw(id));
        }
    }

    /// Brings a message to the request that it is about.
    pub(crate) fn hear(&self, message: Message) -> Result<(), Lost> {
        let running = self.0.borrow();
        let about = match &message {
            Message::Notification { params, .. } => token(params),
            // An error of nobody's is none of these, which have streams of their own for theirs.
            Message::Reply { of: Of::Nobody, .. } => Of::Stranger,
            Message::Reply { of, .. } => *of,
            Message::Request { .. } => return asked(&running)?.take(message),
        };
        let found = match about {
            Of::Number(about) => running.iter().find(|inbox| inbox.id == about),
            // A list has nobody to tell.
            Of::Nobody => running.iter().rfind(|inbox| inbox.asker != Asker::Nobody),
            Of::Stranger => None,
        };
        found.ok_or(Lost::Nobody)?.take(message)
    }

    /// Whether any request runs.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// A request runs from now on.
    pub(crate) fn enter(&self, id: u64, asker: Asker) -> Present {
        let (waiting, open) = (RefCell::default(), RefCell::default());
        let inbox = Rc::new(Inbox { id, asker, waiting, open });
        self.0.borrow_mut().push(Rc::clone(&inbox));
        Present { running: self.clone(), inbox }
    }
}

impl Inbox {
    fn take(&self, message: Message) -> Result<(), Lost> {
        self.waiting.borrow_mut().push(message).then_some(()).ok_or(Lost::Full)
    }

    fn withdraw(&self, id: &Value) {
        self.waiting.borrow_mut().remove_question(id);
        let open = self.open.borrow();
        open.iter().filter(|(open, _)| open == id).for_each(|(_, asking)| asking.abort());
    }
}

/// The request whose client is asked what names no request: the latest, if all are of one client.
fn asked(running: &[Rc<Inbox>]) -> Result<&Rc<Inbox>, Lost> {
    let mut askable = running.iter().filter(|inbox| inbox.asker != Asker::Nobody);
    let last = askable.next_back().ok_or(Lost::Nobody)?;
    let is_same =
        |other: &Rc<Inbox>| matches!(last.asker, Asker::Client(_)) && other.asker == last.asker;
    askable.all(is_same).then_some(last).ok_or(Lost::Anybody)
}

/// A request that runs; it does not any more when this is dropped.
#[derive(Debug)]
pub(crate) struct Present {
    running: Running,
    inbox: Rc<Inbox>,
}

impl Present {
    /// The next message that waits for it.
    pub(crate) fn poll_next(&self, context: &Context<'_>) -> Poll<Message> {
        let mut waiting = self.inbox.waiting.borrow_mut();
        match waiting.pop() {
            Some(message) => Poll::Ready(message),
            None => {
                waiting.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Present {
    /// Whether anything is being asked.
    pub(crate) fn is_asking(&self) -> bool {
        !self.inbox.open.borrow().is_empty()
    }

    /// Has something asked for the upstream's question of this id. `None` where the upstream
    /// withdrew it meanwhile.
    pub(crate) async fn ask<T>(&self, id: &RawValue, asking: impl Future<Output = T>) -> Option<T> {
        let (asking, handle) = abortable(asking);
        let open = Open { inbox: &self.inbox, id: value(id) };
        self.inbox.open.borrow_mut().push((open.id.clone(), handle));
        asking.await.ok()
    }
}

/// A question that is open until this is dropped.
struct Open<'a> {
    inbox: &'a Inbox,
    id: Value,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.inbox.open.borrow_mut().retain(|(id, _)| *id != self.id);
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.running.0.borrow_mut().retain(|inbox| !Rc::ptr_eq(inbox, &self.inbox));
    }
}

/// The request that a notification says it is about.
pub(crate) fn token(params: &JsonObject) -> Of {
    let number = match params.get("progressToken") {
        None => return Of::Nobody,
        Some(Value::String(text)) => text.parse().ok(),
        Some(token) => token.as_u64(),
    };
    number.map_or(Of::Stranger, Of::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker;
    use serde_json::json;

    fn note(bytes: usize) -> Message {
        let params = json!({ "a": "x".repeat(bytes) }).as_object().unwrap().clone();
        Message::Notification { method: "notifications/x".to_owned(), params }
    }

    fn reply() -> Message {
        Message::Reply { of: Of::Number(1), outcome: Ok([].into()) }
    }

    fn count(present: &Present) -> usize {
        let waker = noop_waker();
        let context = Context::from_waker(&waker);
        std::iter::from_fn(|| present.poll_next(&context).is_ready().then_some(())).count()
    }

    #[test]
    fn what_waits_is_bounded_in_messages_and_in_bytes_and_a_reply_always_fits() {
        for (bytes, most) in [
            (1, limits::UPSTREAM_INBOX_MAX),
            (1024 * 1024, limits::UPSTREAM_INBOX_BYTES_MAX / (1024 * 1024) - 1),
            (limits::UPSTREAM_INBOX_BYTES_MAX, 0),
        ] {
            let running = Running::default();
            let present = running.enter(1, Asker::Somebody);
            for round in 0..2 {
                let taken = (0..limits::UPSTREAM_INBOX_MAX + 1)
                    .take_while(|_| running.hear(note(bytes)).is_ok())
                    .count();
                assert_eq!(taken, most, "{bytes}, {round}");
                let is_first = round == 0;
                assert_eq!(running.hear(reply()).is_ok(), is_first, "one reply");
                assert_eq!(count(&present), taken + usize::from(is_first), "what is taken is room");
            }
        }
    }

    #[test]
    fn what_names_no_request_is_for_the_latest_that_has_somebody_to_tell() {
        let running = Running::default();
        let list = running.enter(1, Asker::Nobody);
        assert_eq!(running.hear(note(1)), Err(Lost::Nobody));
        let calls = [2, 3].map(|id| running.enter(id, Asker::Somebody));
        let other = running.enter(4, Asker::Nobody);
        assert_eq!(running.hear(note(1)), Ok(()));
        assert_eq!([&list, &calls[0], &calls[1], &other].map(count), [0, 0, 1, 0]);
    }

    #[test]
    fn a_question_that_waits_is_withdrawn_and_no_other() {
        let running = Running::default();
        let present = running.enter(1, Asker::Somebody);
        let question = |id: &str| {
            let id = RawValue::from_string(id.to_owned()).unwrap();
            Message::Request { id, method: "m".to_owned(), params: JsonObject::new() }
        };
        for id in ["1", "\"1\"", "2"] {
            assert_eq!(running.hear(question(id)), Ok(()));
        }
        for params in [json!({}), json!({ "requestId": 3 }), json!({ "requestId": "\u{31}" })] {
            running.withdraw(params.as_object().unwrap());
        }
        assert_eq!(count(&present), 2);
        assert_eq!(present.inbox.waiting.borrow().bytes, 0);
    }

    #[test]
    fn nothing_waits_for_a_request_that_is_over() {
        let running = Running::default();
        drop(running.enter(1, Asker::Somebody));
        assert!(running.is_empty());
        assert_eq!(running.hear(note(1)), Err(Lost::Nobody));
        assert_eq!(running.hear(reply()), Err(Lost::Nobody));
    }

    #[test]
    fn a_question_is_brought_to_nobody_whose_it_may_not_be() {
        use Asker::{Nobody, Somebody};
        let client = |name: &str| Asker::Client(name.to_owned());
        for (askers, expected) in [
            (vec![], Err(Lost::Nobody)),
            (vec![Nobody, Nobody], Err(Lost::Nobody)),
            (vec![Somebody], Ok(0)),
            (vec![client("a")], Ok(0)),
            (vec![client("a"), client("a")], Ok(1)),
            (vec![client("a"), Nobody], Ok(0)),
            (vec![client("a"), Nobody, client("a"), Nobody], Ok(2)),
            (vec![client("a"), client("b")], Err(Lost::Anybody)),
            (vec![client("b"), client("a"), client("a")], Err(Lost::Anybody)),
            (vec![Somebody, Somebody], Err(Lost::Anybody)),
            (vec![Somebody, client("a")], Err(Lost::Anybody)),
            (vec![client("a"), Somebody], Err(Lost::Anybody)),
        ] {
            let running = Running::default();
            let name = format!("{askers:?}");
            let present: Vec<_> =
                (0..).zip(askers).map(|(id, asker)| running.enter(id, asker)).collect();
            let id = RawValue::from_string("1".to_owned()).unwrap();
            let question =
                Message::Request { id, method: "m".to_owned(), params: JsonObject::new() };
            let outcome = running.hear(question);
            let asked: Vec<_> = present.iter().map(count).collect();
            let found = outcome.map(|()| asked.iter().position(|count| *count == 1).unwrap());
            assert_eq!(found, expected, "{name}");
            assert_eq!(asked.iter().sum::<usize>(), usize::from(expected.is_ok()), "{name}");
        }
    }
}
