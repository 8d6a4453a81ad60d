//! One user: a request in, a reply out, by the plan. Owns the user's state; everything in memory
//! can be made again from the database. It must not know the platform: whoever holds it brings
//! the way to the Agents, the time and randomness.

use crate::{
    http::{Incoming, Method, Reply},
    message::{Message, Request, Unreadable},
    plan::{Opening, Place, Plan, plan},
    protocol::{self, Era},
    refusal::Refusal,
    session::{Session, Sessions},
};
use serde_json::value::RawValue;
use shared::{
    AgentKey, Error, Kind, Millis, Scope, SessionId, UserId,
    config::Config,
    database::Database,
    hop::{CallId, Hop, NotesAnswer, NotesHop, Peer},
    notes,
};
use std::{borrow::Cow, cell::Cell, future::Future, rc::Rc};

/// The way to the Agents.
pub trait Agents {
    /// An Agent's response, which is piped back without being read.
    type Response;

    /// Sends a hop.
    fn forward(
        &self,
        key: &AgentKey,
        hop: String,
    ) -> impl Future<Output = Result<Self::Response, Error>>;

    /// Whether a response has HTTP status 200.
    fn is_ok(response: &Self::Response) -> bool;
}

/// What goes back to the client.
#[derive(Debug)]
pub enum Outgoing<R> {
    /// Ours.
    Own(Reply),
    /// Ours, for something that failed below: the log should know it.
    Failed(Reply, Error),
    /// An Agent's, untouched.
    Piped(R),
    /// An Agent's, with the id of the session that began.
    Begun(R, SessionId),
}

impl<R> Outgoing<R> {
    fn refused(refusal: Refusal, id: Option<&RawValue>, modern: bool) -> Self {
        let reply = refusal.reply(id, modern);
        match refusal {
            Refusal::Below(error) => Self::Failed(reply, error),
            _ => Self::Own(reply),
        }
    }

    fn taken(taken: Result<Reply, Refusal>) -> Self {
        taken.map_or_else(|refusal| Self::refused(refusal, None, false), Self::Own)
    }
}

/// The world at the time of one request.
#[derive(Debug, Clone)]
pub struct Moment {
    /// The time.
    pub now: Millis,
    /// Fresh randomness.
    pub random: [u8; 32],
    /// What the request is known by while it runs.
    pub call: CallId,
}

/// One user's state and rules.
#[derive(Debug)]
pub struct User<D> {
    config: Rc<Config>,
    id: UserId,
    sessions: Sessions<Rc<D>>,
    notes: notes::Store<Rc<D>>,
    /// Whether there are shared notes; unknown until it is asked for.
    has_notes: Cell<Option<bool>>,
}

impl<D: Database> User<D> {
    /// A user over their database.
    pub fn new(config: Rc<Config>, id: UserId, database: Rc<D>) -> Self {
        Self {
            config,
            id,
            sessions: Sessions::new(Rc::clone(&database)),
            notes: notes::Store::new(database),
            has_notes: Cell::new(None),
        }
    }

    /// Serves one request at one scope.
    pub async fn serve<A: Agents>(
        &self,
        agents: &A,
        method: Method,
        scope: &Scope,
        incoming: &Incoming,
        moment: Moment,
    ) -> Outgoing<A::Response> {
        match method {
            Method::Post => self.post(agents, scope, incoming, moment).await,
            Method::Delete => Outgoing::taken(self.delete(scope, incoming, moment.now)),
            // No stream is offered yet (all revisions: 405 says so).
            Method::Get => Outgoing::Own(Refusal::MethodNotAllowed.reply(None, false)),
        }
    }

    async fn post<A: Agents>(
        &self,
        agents: &A,
        scope: &Scope,
        incoming: &Incoming,
        moment: Moment,
    ) -> Outgoing<A::Response> {
        if let Err(refusal) = incoming.check_message() {
            return Outgoing::Own(refusal.reply(None, false));
        }
        match Message::parse(&incoming.body) {
            Err(Unreadable { id, refusal }) => Outgoing::Own(refusal.reply(id, false)),
            Ok(Message::Request(request)) => {
                let era = protocol::era(incoming, &request.method, &request.params);
                let served = self.request(agents, scope, incoming, &request, era, moment).await;
                served.unwrap_or_else(|refusal| {
                    Outgoing::refused(refusal, Some(request.id), era == Era::Modern)
                })
            }
            Ok(Message::Notification { method, params }) => {
                let era = protocol::era(incoming, &method, &params);
                let taken = self.notification(scope, incoming, era, moment.now);
                Outgoing::taken(taken)
            }
            Ok(Message::Response) => {
                let taken = self.response(scope, incoming, moment.now);
                Outgoing::taken(taken)
            }
        }
    }

    /// Serves a request: rules, session, plan, and then what the plan says.
    async fn request<A: Agents>(
        &self,
        agents: &A,
        scope: &Scope,
        incoming: &Incoming,
        request: &Request<'_>,
        era: Era,
        moment: Moment,
    ) -> Result<Outgoing<A::Response>, Refusal> {
        let session = match era {
            Era::Modern => {
                protocol::check_modern(incoming, request)?;
                None
            }
            Era::Handshake => {
                protocol::check_handshake(incoming)?;
                let begins = request.method == "initialize" && incoming.session.is_none();
                if begins { None } else { Some(self.session(scope, incoming, moment.now)?) }
            }
        };
        let place = Place { config: &self.config, user: &self.id, scope, call: &moment.call };
        match plan(place, era, session.as_ref(), request) {
            Plan::Answer(reply) => Ok(Outgoing::Own(reply)),
            Plan::Reject(refusal) => Err(refusal),
            Plan::SetLevel(level, reply) => {
                let session = session.as_ref().ok_or(Refusal::SessionRequired)?;
                self.sessions.set_level(&session.id, &level)?;
                Ok(Outgoing::Own(reply))
            }
            Plan::Forward(key, peer) => {
                let hop = self.hop(&key, peer, &incoming.body)?;
                Ok(Outgoing::Piped(agents.forward(&key, hop).await?))
            }
            Plan::Begin(key, opening) => {
                self.begin(agents, &key, opening, &incoming.body, moment).await
            }
        }
    }

    /// Asks the Agent to agree, and begins a session if it does.
    async fn begin<A: Agents>(
        &self,
        agents: &A,
        key: &AgentKey,
        opening: Opening<'_>,
        body: &str,
        moment: Moment,
    ) -> Result<Outgoing<A::Response>, Refusal> {
        let peer = Peer::Handshake {
            call: moment.call.clone(),
            revision: Cow::Borrowed(opening.revision),
            client: Cow::Borrowed(opening.client),
            level: None,
        };
        let response = agents.forward(key, self.hop(key, peer, body)?).await?;
        if !A::is_ok(&response) {
            return Ok(Outgoing::Piped(response));
        }
        let session = Session {
            id: SessionId::from_random(moment.random),
            scope: key.scope.clone(),
            revision: opening.revision.to_owned(),
            client: opening.client.to_owned().into(),
            level: None,
            seen: moment.now,
        };
        let id = session.id.clone();
        self.sessions.begin(session, moment.now)?;
        Ok(Outgoing::Begun(response, id))
    }

    fn notification(
        &self,
        scope: &Scope,
        incoming: &Incoming,
        era: Era,
        now: Millis,
    ) -> Result<Reply, Refusal> {
        if era == Era::Handshake {
            protocol::check_handshake(incoming)?;
            self.session(scope, incoming, now)?;
        }
        Ok(Reply::empty(202))
    }

    /// An answer to a request of ours. There is none in the modern era.
    fn response(&self, scope: &Scope, incoming: &Incoming, now: Millis) -> Result<Reply, Refusal> {
        if incoming.revision.as_deref() == Some(shared::hop::MODERN_REVISION) {
            let text = "clients send no responses in this revision".to_owned();
            return Err(Refusal::InvalidRequest(text));
        }
        protocol::check_handshake(incoming)?;
        self.session(scope, incoming, now)?;
        Ok(Reply::empty(202))
    }

    fn delete(&self, scope: &Scope, incoming: &Incoming, now: Millis) -> Result<Reply, Refusal> {
        if incoming.revision.as_deref() == Some(shared::hop::MODERN_REVISION) {
            return Err(Refusal::MethodNotAllowed);
        }
        protocol::check_handshake(incoming)?;
        let session = self.session(scope, incoming, now)?;
        self.sessions.end(&session.id)?;
        Ok(Reply::empty(204))
    }

    /// The session that a request names. Unknown, ended, of another user and of another scope are
    /// all the same.
    fn session(&self, scope: &Scope, incoming: &Incoming, now: Millis) -> Result<Session, Refusal> {
        let text = incoming.session.as_deref().ok_or(Refusal::SessionRequired)?;
        let id = SessionId::parse(text).ok_or(Refusal::SessionUnknown)?;
        let session = self.sessions.find(&id, scope, now)?.ok_or(Refusal::SessionUnknown)?;
        self.sessions.touch(&id, now)?;
        Ok(session)
    }

    fn hop(&self, key: &AgentKey, peer: Peer<'_>, body: &str) -> Result<String, Error> {
        let internal = |error: serde_json::Error| Error::internal(format!("the hop: {error}"));
        let message: &RawValue = serde_json::from_str(body).map_err(internal)?;
        let shared_notes = self.has_shared_notes()?;
        let key = key.clone();
        let hop = Hop { key, peer, shared_notes, is_heard: false, mirrors: Vec::new(), message };
        serde_json::to_string(&hop).map_err(internal)
    }

    fn has_shared_notes(&self) -> Result<bool, Error> {
        if let Some(known) = self.has_notes.get() {
            return Ok(known);
        }
        let has = !self.notes.is_empty()?;
        self.has_notes.set(Some(has));
        Ok(has)
    }

    /// Answers an Agent that asks about this user's shared notes.
    ///
    /// # Errors
    /// [`Kind::Conflict`] for an Agent of another user, and what the notes themselves say.
    pub fn shared_notes(&self, hop: &NotesHop) -> NotesAnswer {
        if hop.user != self.id {
            let text = "this request reached another user and was refused";
            return Err(Error::new(Kind::Conflict, text));
        }
        let answer = self.notes.answer(&hop.request, hop.now);
        // A write changes whether there are any.
        if matches!(hop.request, notes::Request::Put(_) | notes::Request::Forget { .. }) {
            self.has_notes.set(None);
        }
        answer
    }

    /// Ends what has been idle for too long, and says when to look again.
    ///
    /// # Errors
    /// The database's own.
    pub fn expire(&self, now: Millis) -> Result<Option<Millis>, Error> {
        self.sessions.expire(now)
    }
}
