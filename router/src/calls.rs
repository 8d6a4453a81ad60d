//! The requests of sessions that are running now, in memory only: a call does not outlive its
//! router. It finds the call that a client cancels or answers. It must not know how to reach one.

use crate::{message::text, refusal::Refusal};
use serde_json::value::RawValue;
use shared::{AgentKey, Error, Kind, SessionId, hop::CallId, limits};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

/// A request's id, comparable: `"a"` and `"\u0061"` are the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestId {
    /// A string.
    Text(String),
    /// An integer.
    Number(i64),
}

impl RequestId {
    /// Reads an id.
    #[must_use]
    pub fn read(raw: &RawValue) -> Self {
        match (text(Some(raw)), raw.get().parse()) {
            (None, Ok(number)) => Self::Number(number),
            // No id is anything else than a string or such an integer.
            (text, _) => Self::Text(text.unwrap_or_default().into_owned()),
        }
    }
}

/// One running call.
#[derive(Debug)]
pub struct Call {
    /// What its Agent knows it by.
    pub id: CallId,
    /// Its session.
    pub session: SessionId,
    /// Its Agent.
    pub key: AgentKey,
    /// Whether the client wants no answer any more.
    pub is_cancelled: Cell<bool>,
    /// The request's id.
    pub request: RequestId,
    /// The request's id, as it was written.
    pub raw: Box<RawValue>,
}

/// The running calls of one user.
#[derive(Debug, Default)]
pub struct Calls(RefCell<BTreeMap<(SessionId, RequestId), Rc<Call>>>);

/// A call that is running as long as this lives.
#[derive(Debug)]
pub struct Running {
    /// The call.
    pub call: Rc<Call>,
    calls: Rc<Calls>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let key = (self.call.session.clone(), self.call.request.clone());
        self.calls.0.borrow_mut().remove(&key);
    }
}

impl Calls {
    /// Notes that a call begins.
    ///
    /// # Errors
    /// [`Refusal::InvalidRequest`] for a request whose id another running one of its session has
    /// (all revisions: the id must not have been used before), [`Kind::Limit`] for one too many.
    pub fn begin(
        self: &Rc<Self>,
        id: &CallId,
        session: &SessionId,
        request: &RawValue,
        key: &AgentKey,
    ) -> Result<Running, Refusal> {
        let mut running = self.0.borrow_mut();
        if running.len() >= limits::CALLS_MAX {
            let text = format!("{} calls are running already; wait for one", limits::CALLS_MAX);
            return Err(Refusal::Below(Error::new(Kind::Limit, text)));
        }
        let raw = request.to_owned();
        let request = RequestId::read(request);
        let place = (session.clone(), request.clone());
        if running.contains_key(&place) {
            let text = "a request with this id is running already".to_owned();
            return Err(Refusal::InvalidRequest(text));
        }
        let call = Rc::new(Call {
            id: id.clone(),
            session: session.clone(),
            key: key.clone(),
            is_cancelled: Cell::new(false),
            request,
            raw,
        });
        running.insert(place, Rc::clone(&call));
        Ok(Running { call, calls: Rc::clone(self) })
    }

    /// The call that a session knows by a request's id.
    #[must_use]
    pub fn by_request(&self, session: &SessionId, request: &RawValue) -> Option<Rc<Call>> {
        self.0.borrow().get(&(session.clone(), RequestId::read(request))).cloned()
    }

    /// The call of a session that an Agent knows by its id.
    #[must_use]
    pub fn by_id(&self, session: &SessionId, id: &CallId) -> Option<Rc<Call>> {
        self.of(session).into_iter().find(|call| call.id == *id)
    }

    /// Every running call of a session.
    #[must_use]
    pub fn of(&self, session: &SessionId) -> Vec<Rc<Call>> {
        self.0.borrow().values().filter(|call| call.session == *session).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::{Scope, UserId};

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn key() -> AgentKey {
        AgentKey { user: UserId::parse("u").unwrap(), scope: Scope::default() }
    }

    #[test]
    fn an_id_is_in_use_in_its_session_while_its_call_runs() {
        let calls = Rc::new(Calls::default());
        let (one, other) = (SessionId::from_random([1; 32]), SessionId::from_random([2; 32]));
        let id = |n| CallId::from_random([n; 8]);
        let begin = |n, session: &SessionId, request: &str| {
            calls.begin(&id(n), session, &raw(request), &key())
        };
        let running = begin(1, &one, "\"a\"").unwrap();
        assert!(matches!(begin(2, &one, r#""\u0061""#), Err(Refusal::InvalidRequest(_))));
        let _number = begin(3, &one, "0").unwrap();
        assert!(begin(3, &one, "-0").is_err());
        let _elsewhere = begin(4, &other, "\"a\"").unwrap();
        let _text = begin(5, &one, "\"1\"").unwrap();
        assert_eq!(calls.by_request(&one, &raw("\"a\"")).unwrap().id, id(1));
        assert_eq!(calls.by_request(&other, &raw("\"a\"")).unwrap().id, id(4));
        assert!(calls.by_id(&other, &id(1)).is_none());
        assert_eq!(calls.of(&one).len(), 3);
        drop(running);
        assert!(calls.by_request(&one, &raw("\"a\"")).is_none());
        begin(6, &one, "\"a\"").unwrap();
    }

    #[test]
    fn there_are_only_so_many() {
        let calls = Rc::new(Calls::default());
        let session = SessionId::from_random([1; 32]);
        let begin = |n: usize| {
            calls.begin(&CallId::from_random([0; 8]), &session, &raw(&n.to_string()), &key())
        };
        let all: Vec<_> = (0..limits::CALLS_MAX).map(|n| begin(n).unwrap()).collect();
        assert!(matches!(begin(1000), Err(Refusal::Below(error)) if error.kind == Kind::Limit));
        drop(all);
        begin(1000).unwrap();
    }
}
