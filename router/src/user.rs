//! One user: a request in, a reply out, by the plan. Owns the user's state; everything in memory
//! can be made again from the database, but for the calls that are running. It must not know the
//! platform: whoever holds it brings the world.
//!
//! # Layout, in reading order
//! - this file: messages, sessions, and what the plan says
//! - [`streaming`]: what is said on streams, and who is connected to them
//! - [`entering`]: who may enter a scope
//! - [`listening`]: who listens, told to the Agents
//! - [`account`]: what a user's own page shows and ends, and who is let in by it
//! - [`stopping`]: the end of what runs, when a user ends it
//! - [`reconfigured`]: another configuration, told to clients
//! - [`vaulting`]: credentials at upstreams, connected, handed out, refreshed
//! - [`batch`]: several messages at once (2025-03-26)
//! - [`old`]: the transport of 2024-11-05

mod account;

mod batch;

mod entering;

mod listening;

mod old;

mod reconfigured;

mod spreading;

mod stopping;

mod streaming;

mod vaulting;

pub use streaming::{Attached, Events};

use crate::{
    access::{Accesses, least_depth},
    barred::Barred,
    calls::{Call, Calls, Running},
    clients::{Clients, Info},
    configured::Configured,
    contexts::Contexts,
    holders::{Held, Holders},
    http::{Address, Door, Incoming, Method, Reply},
    interest::of_filter,
    keys::Keys,
    lines::lines,
    message::{Body, Message, Request, Unreadable},
    plan::{Note, Opening, Place, Plan, note, plan},
    protocol::{self, Era},
    query,
    refusal::Refusal,
    session::{Session, Sessions},
    streams::{EventId, Streams},
    target::of_uri,
    vault::Vault,
    world::{Form, World},
};
use entering::Checks;
use identity::caller::{Access, Caller};
use listening::Telling;
use serde_json::value::RawValue;
use shared::{
    AgentKey, Error, Kind, Millis, Scope, SessionId, UserId,
    config::Config,
    database::{Database, has_table},
    hop::{
        CallId, Holder, Hop, MODERN_REVISION, NotesAnswer, NotesHop, Options, Peer, Word, WordHop,
    },
    notes,
};
use std::{borrow::Cow, cell::Cell, rc::Rc};
use streaming::Live;
use vaulting::Refreshes;

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
    /// A stream that goes on while the call runs.
    Stream(Events),
    /// A stream that the entry holds: it connects to hear what follows this event.
    Listen(EventId),
}

impl<R> Outgoing<R> {
    fn refused(refusal: Refusal, id: Option<&RawValue>, modern: bool) -> Self {
        let reply = refusal.reply(id, modern);
        match refusal {
            Refusal::Below(error) => Self::Failed(reply, error),
            _ => Self::Own(reply),
        }
    }

    fn taken(taken: Result<Self, Refusal>) -> Self {
        taken.unwrap_or_else(|refusal| Self::refused(refusal, None, false))
    }
}

/// The world at the time of one message.
#[derive(Debug, Clone)]
pub struct Moment {
    /// The time.
    pub now: Millis,
    /// Fresh randomness, for a session that may begin.
    pub random: [u8; 32],
    /// Fresh randomness, for what a call is known by while it runs.
    pub call: u64,
}

impl Moment {
    /// The world at a time, from fresh randomness.
    #[must_use]
    pub fn new(now: Millis, random: [u8; 40]) -> Self {
        let (mut session, mut call) = ([0; 32], [0; 8]);
        let parts = session.iter_mut().chain(&mut call);
        parts.zip(random).for_each(|(part, fresh)| *part = fresh);
        Self { now, random: session, call: u64::from_be_bytes(call) }
    }

    /// What the `n`th message of this moment is known by.
    fn call(&self, n: usize) -> CallId {
        let n = u64::try_from(n).unwrap_or(u64::MAX);
        CallId::from_random(self.call.wrapping_add(n).to_be_bytes())
    }
}

/// One user's state and rules.
#[derive(Debug)]
pub struct User<D> {
    config: Rc<Config>,
    id: UserId,
    database: Rc<D>,
    sessions: Sessions<Rc<D>>,
    streams: Streams<Rc<D>>,
    calls: Rc<Calls>,
    live: Live,
    /// How many levels must be pinned for it to be asked who may enter; `None` if it never is.
    verified_depth: Option<usize>,
    accesses: Accesses<Rc<D>>,
    checks: Checks,
    /// Whether any Agent has to know who listens.
    interest_matters: bool,
    telling: Telling,
    configured: Configured<Rc<D>>,
    contexts: Contexts<Rc<D>>,
    barred: Barred<Rc<D>>,
    keys: Keys<Rc<D>>,
    clients: Clients<Rc<D>>,
    holders: Holders<Rc<D>>,
    /// When the last request was counted.
    counted: Cell<Millis>,
    notes: notes::Store<Rc<D>>,
    vault: Vault<Rc<D>>,
    refreshes: Refreshes,
    /// Whether there are shared notes; unknown until it is asked for.
    has_notes: Cell<Option<bool>>,
}

const OWNER: &str = "CREATE TABLE IF NOT EXISTS owner (
    one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL)";

/// Whose database this is, if anything in it has to happen by itself: the platform does not tell
/// an object its name whenever it wakes it.
///
/// # Errors
/// The database's own.
pub fn owner(database: &impl Database) -> Result<Option<UserId>, Error> {
    if !has_table(database, "owner")? {
        return Ok(None);
    }
    let rows = database.run("SELECT name FROM owner", &[])?;
    rows.first().map_or(Ok(None), |row| row.text(0).map(|name| UserId::parse(name).ok()))
}

/// What a request came with.
#[derive(Debug, Clone, Copy)]
struct Visit<'a> {
    scope: &'a Scope,
    options: &'a Options,
    incoming: &'a Incoming,
    caller: &'a Caller,
    /// Who asks, as far as that is known by now.
    holder: &'a Holder,
    moment: &'a Moment,
}

impl<D: Database + 'static> User<D> {
    /// A user over their database.
    pub fn new(config: Rc<Config>, id: UserId, database: Rc<D>) -> Self {
        Self {
            verified_depth: least_depth(&config),
            accesses: Accesses::new(Rc::clone(&database)),
            checks: Checks::default(),
            interest_matters: crate::interest::matters(&config),
            telling: Telling::default(),
            contexts: Contexts::new(Rc::clone(&database)),
            barred: Barred::new(Rc::clone(&database)),
            keys: Keys::new(Rc::clone(&database)),
            clients: Clients::new(Rc::clone(&database)),
            holders: Holders::new(Rc::clone(&database)),
            counted: Cell::default(),
            configured: Configured::new(Rc::clone(&database), Rc::clone(&config)),
            config,
            id,
            sessions: Sessions::new(Rc::clone(&database)),
            streams: Streams::new(Rc::clone(&database)),
            calls: Rc::default(),
            live: Live::default(),
            notes: notes::Store::new(Rc::clone(&database)),
            vault: Vault::new(Rc::clone(&database)),
            refreshes: Refreshes::default(),
            database,
            has_notes: Cell::new(None),
        }
    }

    /// Serves one request at one scope.
    pub async fn serve<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        method: Method,
        address: &Address,
        incoming: &Incoming,
        caller: &Caller,
        moment: Moment,
    ) -> Outgoing<W::Response> {
        let Address { scope, options, .. } = address;
        let good = self.check_credential(caller, moment.now);
        if let Err(refusal) = good.and_then(|()| self.check_scope(scope)) {
            return Outgoing::taken(Err(refusal));
        }
        let entered = self.enter(world.as_ref(), scope).await;
        if let Err(refusal) = entered.and_then(|()| query::check(options, &self.config)) {
            return Outgoing::taken(Err(refusal));
        }
        if let Err(error) = self.look_at_config(world.as_ref()) {
            world.log(&error);
        }
        let holder = &Holder::default();
        let visit = Visit { scope, options, incoming, caller, holder, moment: &moment };
        match (&address.door, method) {
            (Door::Mcp, Method::Post) => self.post(world, visit).await,
            (Door::Mcp, Method::Delete) => {
                Outgoing::taken(self.delete(world, visit).await.map(Outgoing::Own))
            }
            (Door::Mcp, Method::Get) => {
                Outgoing::taken(self.listen(world, visit).map(Outgoing::Listen))
            }
            (Door::Sse, Method::Get) => {
                Outgoing::taken(self.open_old(world, visit).map(Outgoing::Listen))
            }
            (Door::Messages { session }, Method::Post) => {
                let posted = self.post_old(world, visit, session.as_deref()).await;
                Outgoing::taken(posted.map(Outgoing::Own))
            }
            (door @ (Door::Sse | Door::Messages { .. }), _) => {
                Outgoing::taken(Err(Refusal::MethodNotAllowed(door.methods())))
            }
        }
    }

    async fn post<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        visit: Visit<'_>,
    ) -> Outgoing<W::Response> {
        if let Err(refusal) = visit.incoming.check_message() {
            return Outgoing::Own(refusal.reply(None, false));
        }
        match Body::parse(&visit.incoming.body) {
            Ok(Body::One(raw)) => self.message(world, visit, raw).await,
            Ok(Body::Batch(raws)) => Outgoing::taken(self.batch(world, visit, &raws).await),
            Err(refusal) => Outgoing::Own(refusal.reply(None, false)),
        }
    }

    /// Lets a request of a session in: who asks was said when it began.
    fn admit_session<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        visit: Visit<'_>,
        session: &Session,
    ) -> Result<Holder, Refusal> {
        let info = Info::of_initialize(&session.client);
        self.admit(world, visit, &info, &session.revision)
    }

    /// Notes who holds a stream that waits: whoever asked for it last.
    fn keep_holder(&self, event: EventId, visit: Visit<'_>) -> Result<(), Error> {
        let held = Held { by: visit.holder.clone(), until: visit.caller.until };
        self.holders.keep(event.stream, &held)
    }

    async fn message<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        visit: Visit<'_>,
        raw: &RawValue,
    ) -> Outgoing<W::Response> {
        match Message::parse(raw) {
            Err(Unreadable { id, refusal }) => Outgoing::Own(refusal.reply(id, false)),
            Ok(Message::Request(request)) => {
                let era = protocol::era(visit.incoming, &request.method, &request.params);
                self.request(world, visit, &request, era).await.unwrap_or_else(|refusal| {
                    Outgoing::refused(refusal, Some(request.id), era == Era::Modern)
                })
            }
            Ok(Message::Notification { method, params }) => {
                let era = protocol::era(visit.incoming, &method, &params);
                let note = note(&method, &params);
                Outgoing::taken(self.notification(world, visit, era, note).await.map(Outgoing::Own))
            }
            Ok(Message::Response { id, raw }) => {
                Outgoing::taken(self.response(world, visit, id, raw).await.map(Outgoing::Own))
            }
        }
    }

    /// Serves a request: rules, session, plan, and then what the plan says.
    async fn request<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        visit: Visit<'_>,
        request: &Request<'_>,
        era: Era,
    ) -> Result<Outgoing<W::Response>, Refusal> {
        let (session, holder) = match era {
            Era::Modern => {
                let info = Info::read(protocol::check_modern(visit.incoming, request)?);
                (None, self.admit(world, visit, &info, MODERN_REVISION)?)
            }
            Era::Handshake => {
                protocol::check_handshake(visit.incoming)?;
                let begins = request.method == "initialize" && visit.incoming.session.is_none();
                if begins {
                    let info = request.raw_params.map(Info::of_initialize).unwrap_or_default();
                    (None, self.admit(world, visit, &info, "")?)
                } else {
                    let session = self.session(visit)?;
                    let holder = self.admit_session(world, visit, &session)?;
                    (Some(session), holder)
                }
            }
        };
        let visit = Visit { holder: &holder, ..visit };
        let call = visit.moment.call(0);
        match self.planned(world, visit, session.as_ref(), request, era, &call).await? {
            Planned::Done(outgoing) => Ok(outgoing),
            Planned::Said { response, running, session } => {
                let said = Box::pin(lines(W::pieces(response)?));
                Ok(Outgoing::Stream(self.stream(world, session, &[], vec![running], said)?))
            }
        }
    }

    /// Does what the plan of one request says, up to where an Agent begins to talk.
    async fn planned<'a, W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        visit: Visit<'_>,
        session: Option<&'a Session>,
        request: &Request<'_>,
        era: Era,
        call: &CallId,
    ) -> Result<Planned<'a, W>, Refusal> {
        let (scope, options) = (visit.scope, &self.left(visit, session)?);
        let place = Place { config: &self.config, user: &self.id, scope, options, call };
        let done = |reply| Ok(Planned::Done(Outgoing::Own(reply)));
        match plan(place, era, session, request) {
            Plan::Answer(reply) => done(reply),
            Plan::Reject(refusal) => Err(refusal),
            Plan::SetLevel(level, reply) => {
                let session = session.ok_or(Refusal::SessionRequired)?;
                self.sessions.set_level(&session.id, &level)?;
                done(reply)
            }
            Plan::Subscribe { uri, wanted, reply } => {
                let session = session.ok_or(Refusal::SessionRequired)?;
                self.subscribe(world, session, &uri, wanted).await?;
                done(reply)
            }
            Plan::Hear(filter) => {
                self.keep_config(world.as_ref())?;
                self.before_interest_changes()?;
                let scopes = of_filter(&self.config, visit.scope, &filter);
                let event = self.hear(world, visit.scope, request.id, filter)?;
                self.keep_holder(event, visit)?;
                // Once it is acknowledged nothing is missed.
                self.tell_interest(world, scopes).await;
                Ok(Planned::Done(Outgoing::Listen(event)))
            }
            Plan::Forward(key, peer) => {
                if key.scope != *visit.scope {
                    self.check_scope(&key.scope)?;
                    self.enter_named(world.as_ref(), &key.scope).await?;
                }
                self.check_still(visit, &key.scope)?;
                self.contexts.enter(&key.scope, visit.moment.now)?;
                let hop = self.hop(&key, peer, visit, options, request.raw, false)?;
                let Some(session) = session else {
                    let response = world.forward(&key, hop).await?;
                    self.stop_overtaken(world.as_ref(), &key, visit.holder, options).await?;
                    return Ok(Planned::Done(Outgoing::Piped(response)));
                };
                let running = self.calls.begin(call, &session.id, request.id, &key)?;
                let response = world.forward(&key, hop).await?;
                self.stop_overtaken(world.as_ref(), &key, visit.holder, options).await?;
                if running.call.is_cancelled.get() {
                    // The word may have overtaken the call.
                    self.cancel(world.as_ref(), &running.call).await?;
                }
                Ok(match W::form(&response) {
                    Form::Whole => Planned::Done(Outgoing::Piped(response)),
                    Form::Lines => Planned::Said { response, running, session },
                })
            }
            Plan::Spread(key, peer, spread) => {
                let visit = Visit { options, ..visit };
                self.spread(world.as_ref(), (visit, request), key, peer, spread).await
            }
            Plan::Begin(key, opening) => {
                self.begin(world, &key, opening, visit, request.raw, call).await.map(Planned::Done)
            }
        }
    }

    /// Subscribes a session to a resource, which may be in a narrower scope, or ends that. Whoever
    /// has the answer misses nothing.
    async fn subscribe<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        session: &Session,
        uri: &str,
        wanted: bool,
    ) -> Result<(), Refusal> {
        let target = wanted.then(|| of_uri(&self.config, &session.scope, uri)).transpose()?;
        if let Some(target) = target.as_ref().filter(|target| **target != session.scope) {
            self.enter_named(world.as_ref(), target).await?;
        }
        self.before_interest_changes()?;
        self.sessions.subscribe(&session.id, uri, wanted)?;
        match target {
            Some(target) => self.tell_interest(world, [target].into()).await,
            None => self.interest_changed(world),
        }
        Ok(())
    }

    /// Asks the Agent to agree, and begins a session if it does.
    async fn begin<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        key: &AgentKey,
        opening: Opening<'_>,
        visit: Visit<'_>,
        raw: &RawValue,
        call: &CallId,
    ) -> Result<Outgoing<W::Response>, Refusal> {
        let response = self.agree(world, key, &opening, visit, raw, call).await?;
        if !W::is_ok(&response) || W::form(&response) == Form::Lines {
            return Ok(Outgoing::Piped(response));
        }
        let session = Session {
            id: SessionId::from_random(visit.moment.random),
            scope: key.scope.clone(),
            revision: opening.revision.to_owned(),
            client: opening.client.to_owned().into(),
            level: None,
            options: visit.options.clone(),
            seen: visit.moment.now,
        };
        let id = session.id.clone();
        self.keep_config(world.as_ref())?;
        self.before_interest_changes()?;
        self.sessions.begin(session, visit.moment.now)?;
        // The oldest may have made room for it.
        self.hang_up_orphans(world)?;
        Ok(Outgoing::Begun(response, id))
    }

    /// Asks the Agent to agree to a session.
    async fn agree<W: World>(
        &self,
        world: &Rc<W>,
        key: &AgentKey,
        opening: &Opening<'_>,
        visit: Visit<'_>,
        raw: &RawValue,
        call: &CallId,
    ) -> Result<W::Response, Error> {
        let peer = Peer::Handshake {
            call: call.clone(),
            session: None,
            revision: Cow::Borrowed(opening.revision),
            client: Cow::Borrowed(opening.client),
            level: None,
        };
        // What begins a session has one form.
        self.contexts.enter(&key.scope, visit.moment.now)?;
        let plain = Incoming::default();
        let visit = Visit { incoming: &plain, ..visit };
        let hop = self.hop(key, peer, visit, &self.left(visit, None)?, raw, false)?;
        world.forward(key, hop).await
    }

    async fn notification<W: World>(
        &self,
        world: &Rc<W>,
        visit: Visit<'_>,
        era: Era,
        note: Note<'_>,
    ) -> Result<Reply, Refusal> {
        // In the modern era whoever wants no answer ends the stream (2026-07-28, cancellation).
        if era == Era::Handshake {
            protocol::check_handshake(visit.incoming)?;
            let session = self.session(visit)?;
            self.note(world, &session, note).await?;
        }
        Ok(Reply::empty(202))
    }

    /// Does what a notification asks for.
    async fn note<W: World>(
        &self,
        world: &Rc<W>,
        session: &Session,
        note: Note<'_>,
    ) -> Result<(), Error> {
        match note {
            Note::Cancel(request) => match self.calls.by_request(&session.id, request) {
                Some(call) => self.cancel(world.as_ref(), &call).await,
                None => Ok(()),
            },
            Note::Nothing => Ok(()),
        }
    }

    /// An answer to a request of ours. There is none in the modern era.
    async fn response<W: World>(
        &self,
        world: &Rc<W>,
        visit: Visit<'_>,
        id: &RawValue,
        raw: &RawValue,
    ) -> Result<Reply, Refusal> {
        if visit.incoming.is_modern() {
            let text = "clients send no responses in this revision".to_owned();
            return Err(Refusal::InvalidRequest(text));
        }
        protocol::check_handshake(visit.incoming)?;
        let session = self.session(visit)?;
        self.answered(world, &session, id, raw).await?;
        Ok(Reply::empty(202))
    }

    /// Brings a client's answer to the call that asked. One that comes too late is no mistake of
    /// the client's.
    async fn answered<W: World>(
        &self,
        world: &Rc<W>,
        session: &Session,
        id: &RawValue,
        raw: &RawValue,
    ) -> Result<(), Error> {
        let named = crate::message::text(Some(id)).and_then(|id| CallId::parse_request_id(&id));
        let found = named.and_then(|(call, n)| Some((self.calls.by_id(&session.id, &call)?, n)));
        match found {
            Some((call, n)) => {
                self.tell(world.as_ref(), &call, Word::Answer { n, response: raw }).await
            }
            None => Ok(()),
        }
    }

    async fn delete<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        visit: Visit<'_>,
    ) -> Result<Reply, Refusal> {
        if visit.incoming.is_modern() {
            return Err(Refusal::MethodNotAllowed(Door::Mcp.methods()));
        }
        protocol::check_handshake(visit.incoming)?;
        let session = self.session(visit)?;
        self.end(world, &session.id).await?;
        Ok(Reply::empty(204))
    }

    /// Ends a session, with its streams and calls.
    async fn end<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        session: &SessionId,
    ) -> Result<(), Error> {
        self.before_interest_changes()?;
        self.sessions.end(session)?;
        self.hang_up_orphans(world)?;
        for call in self.calls.of(session) {
            // One context that cannot be reached keeps no other call alive.
            if let Err(error) = self.cancel(world.as_ref(), &call).await {
                world.log(&error);
            }
        }
        Ok(())
    }

    /// Stops a call: the work, not only its answer.
    async fn cancel<W: World>(&self, world: &W, call: &Call) -> Result<(), Error> {
        call.is_cancelled.set(true);
        self.tell(world, call, Word::Cancel).await
    }

    /// Says something to a running call. One that has ended by now hears nothing.
    async fn tell<W: World>(&self, world: &W, call: &Call, word: Word<'_>) -> Result<(), Error> {
        let hop = WordHop { key: call.key.clone(), call: call.id.clone(), word };
        let hop = serde_json::to_string(&hop);
        let hop = hop.map_err(|error| Error::internal(format!("the word: {error}")))?;
        world.word(&call.key, hop).await.map(drop)
    }

    /// The session that a request names. Unknown, ended, of another user and of another scope are
    /// all the same.
    fn session(&self, visit: Visit<'_>) -> Result<Session, Refusal> {
        let now = visit.moment.now;
        let text = visit.incoming.session.as_deref().ok_or(Refusal::SessionRequired)?;
        let id = SessionId::parse(text).filter(|id| !id.is_of_old_transport());
        let id = id.ok_or(Refusal::SessionUnknown)?;
        let found = self.sessions.find(&id, visit.scope, now)?;
        let session = found.ok_or(Refusal::SessionUnknown)?;
        self.sessions.touch(&id, now)?;
        Ok(session)
    }

    fn hop(
        &self,
        key: &AgentKey,
        peer: Peer<'_>,
        visit: Visit<'_>,
        options: &Options,
        message: &RawValue,
        is_part: bool,
    ) -> Result<String, Error> {
        let Visit { scope, incoming, caller, holder, .. } = visit;
        let hop = Hop {
            key: key.clone(),
            peer,
            shared_notes: self.has_shared_notes()?,
            is_heard: self.streams.is_heard()?,
            prefers_stream: incoming.prefers_stream(),
            is_part,
            options: Cow::Borrowed(options),
            is_read_only: caller.access < Access::Write,
            holder: holder.clone(),
            mirrors: incoming.mirrors.clone(),
            depth: scope.depth(),
            message,
        };
        serde_json::to_string(&hop).map_err(|error| Error::internal(format!("the hop: {error}")))
    }

    /// What is left of the tools: a session that began with less never gets more, and nothing of a
    /// toolset that is blocked is there.
    fn left(&self, visit: Visit<'_>, session: Option<&Session>) -> Result<Options, Error> {
        let own = visit.options;
        let mut left = session.map_or_else(|| own.clone(), |session| session.options.and(own));
        left.blocked = self.barred.all()?.toolsets();
        Ok(left)
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
        self.check_own(&hop.user)?;
        let answer = self.notes.answer(&hop.request, hop.now);
        // A write changes whether there are any.
        if matches!(hop.request, notes::Request::Put(_) | notes::Request::Forget { .. }) {
            self.has_notes.set(None);
        }
        answer
    }

    /// The contexts that this user has entered inside of a scope, itself included.
    ///
    /// # Errors
    /// The database's own.
    pub fn contexts_within(&self, scope: &Scope) -> Result<Vec<Scope>, Error> {
        self.contexts.within(scope, &self.config.levels)
    }

    fn check_own(&self, user: &UserId) -> Result<(), Error> {
        if *user == self.id {
            return Ok(());
        }
        Err(Error::new(Kind::Conflict, "this request reached another user and was refused"))
    }

    /// Notes whose database this is (see [`owner`]).
    ///
    /// # Errors
    /// The database's own.
    pub fn keep_owner(&self) -> Result<(), Error> {
        self.database.run(OWNER, &[])?;
        let statement = "INSERT OR IGNORE INTO owner (one, name) VALUES (1, ?)";
        self.database.run(statement, &[self.id.as_str().into()]).map(drop)
    }

    /// Ends what has been idle for too long, and says when to look again.
    ///
    /// # Errors
    /// The database's own.
    pub fn expire<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        now: Millis,
    ) -> Result<Option<Millis>, Error> {
        self.look_at_config(world.as_ref())?;
        self.before_interest_changes()?;
        let sessions = self.sessions.expire(now)?;
        self.hang_up_orphans(world)?;
        let streams = self.expire_streams(world.as_ref(), now)?;
        let holders = self.expire_holders(world.as_ref(), now)?;
        let credentials = self.refresh_due(world, now)?;
        Ok([sessions, streams, holders, credentials].into_iter().flatten().min())
    }
}

/// What became of a planned request.
enum Planned<'a, W: World> {
    /// It is answered.
    Done(Outgoing<W::Response>),
    /// An Agent has begun to talk.
    Said {
        /// What it says.
        response: W::Response,
        /// The call, running as long as this lives.
        running: Running,
        /// The session it is in.
        session: &'a Session,
    },
}

#[cfg(test)]
mod tests;
