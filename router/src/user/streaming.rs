//! What is said on streams: kept where it can be asked for again, and sent to whoever is
//! connected. A message goes to one stream, and a stream to one connection. It must not know what
//! a call does.

use super::{User, Visit};
use crate::{
    calls::{RequestId, Running},
    http::Door,
    notify,
    refusal::Refusal,
    session::Session,
    sse,
    streams::{EventId, Filter, Missed, Purpose, Stream, StreamId},
    target::of_uri,
    world::World,
};
use futures_channel::mpsc;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::{
    Error, Kind, Millis, Scope, SessionId,
    database::Database,
    hop::{Change, Changes, Line},
    limits,
};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

/// Server-sent events for one client, each whole.
#[derive(Debug)]
pub struct Events {
    events: mpsc::Receiver<String>,
    /// Bytes that wait.
    backlog: Rc<Cell<usize>>,
}

impl futures_util::Stream for Events {
    type Item = String;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<String>> {
        let next = self.events.poll_next_unpin(context);
        if let Poll::Ready(Some(event)) = &next {
            self.backlog.set(self.backlog.get().saturating_sub(event.len()));
        }
        next
    }
}

/// The other end of [`Events`].
#[derive(Debug)]
struct Response {
    events: mpsc::Sender<String>,
    backlog: Rc<Cell<usize>>,
}

impl Response {
    fn open() -> (Self, Events) {
        let (sender, receiver) = mpsc::channel(limits::STREAM_BACKLOG_MAX);
        let backlog = Rc::new(Cell::new(0));
        let events = Events { events: receiver, backlog: Rc::clone(&backlog) };
        (Self { events: sender, backlog }, events)
    }

    /// Sends events, if there is a client, and room.
    fn send(&mut self, events: &str) -> bool {
        let waiting = self.backlog.get().saturating_add(events.len());
        let sent = waiting <= limits::STREAM_BACKLOG_BYTES_MAX
            && self.events.try_send(events.to_owned()).is_ok();
        if sent {
            self.backlog.set(waiting);
        }
        sent
    }
}

/// What is going on now, in memory only.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// The responses that requests are being answered with.
    responses: RefCell<BTreeMap<StreamId, Response>>,
    /// The streams that somebody is still talking on.
    talking: RefCell<BTreeSet<StreamId>>,
}

/// What a client gets that connects to a stream, before what comes later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Events, as text.
    pub events: String,
    /// Whether nothing comes later.
    pub is_done: bool,
}

/// How something is said on a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outlet {
    /// Where.
    stream: StreamId,
    /// Whether it can be asked for again.
    is_kept: bool,
    /// Whether its client comes back to a stream that was ended before the reply.
    comes_back: bool,
}

impl Outlet {
    /// A stream of which nothing is kept.
    pub(super) const fn passing(stream: StreamId) -> Self {
        Self { stream, is_kept: false, comes_back: false }
    }
}

/// Every list that may have changed.
pub(super) const LISTS: [Change; 3] = [Change::Tools, Change::Prompts, Change::Resources];

/// As much of a message as says whether it is a reply, and to which request.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
}

/// The request that a message replies to.
fn replies_to(message: &str) -> Option<RequestId> {
    let said: Said<'_> = serde_json::from_str(message).ok()?;
    said.id.filter(|_| said.method.is_none()).map(RequestId::read)
}

/// The reply to a request that nobody works on any more.
fn interrupted(id: &RawValue) -> String {
    let text = "the call was interrupted and its result is lost; it may have taken effect";
    let refusal = Refusal::Below(Error::new(Kind::Unavailable, text));
    refusal.reply(Some(id), false).body.unwrap_or_default()
}

/// Whether clients of a revision come back to a stream that was ended before its reply.
fn comes_back(revision: &str) -> bool {
    revision == "2025-11-25"
}

impl<D: Database + 'static> User<D> {
    /// Answers requests of a session with a stream, and keeps what is said on it: first what has
    /// been answered already, then what the calls say. They go on whether or not the client stays:
    /// a disconnect is no cancellation.
    ///
    /// # Errors
    /// The database's own.
    pub(super) fn stream<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        session: &Session,
        answered: &[String],
        running: Vec<Running>,
        said: impl futures_util::Stream<Item = Result<String, Error>> + Unpin + 'static,
    ) -> Result<Events, Error> {
        let ids = running.iter().map(|running| running.call.raw.clone()).collect();
        let purpose = Purpose::Calls { session: session.id.clone(), ids };
        let stream = self.open(world.as_ref(), &session.scope, &purpose)?;
        let (response, events) = Response::open();
        self.live.responses.borrow_mut().insert(stream, response);
        self.live.talking.borrow_mut().insert(stream);
        let comes_back = comes_back(&session.revision);
        let outlet = Outlet { stream, is_kept: true, comes_back };
        if comes_back {
            self.send(world.as_ref(), stream, &sse::priming(EventId::start(stream)));
        }
        answered.iter().for_each(|answer| self.say(world.as_ref(), outlet, answer, false));
        let (user, near) = (Rc::clone(self), Rc::clone(world));
        world.spawn(Box::pin(async move {
            user.relay(near.as_ref(), outlet, &running, said).await;
            user.live.talking.borrow_mut().remove(&stream);
            user.hang_up(near.as_ref(), stream);
        }));
        Ok(events)
    }

    pub(super) fn open<W: World>(
        &self,
        world: &W,
        scope: &Scope,
        purpose: &Purpose,
    ) -> Result<StreamId, Error> {
        let is_used = |stream| self.is_used(world, stream);
        let (stream, gone) = self.streams.open(scope, purpose, is_used, world.now())?;
        if let Some(gone) = gone {
            self.hang_up(world, gone);
        }
        Ok(stream)
    }

    /// Passes on what is said until every request has its reply.
    pub(super) async fn relay<W: World>(
        &self,
        world: &W,
        outlet: Outlet,
        running: &[Running],
        mut said: impl futures_util::Stream<Item = Result<String, Error>> + Unpin,
    ) {
        let stream = outlet.stream;
        // As many as a batch may have.
        let mut open: Vec<&Running> = running.iter().collect();
        while !open.is_empty() {
            let line = match said.next().await {
                None => break,
                Some(Ok(line)) => line,
                Some(Err(error)) => {
                    world.log(&error);
                    break;
                }
            };
            match Line::read(&line) {
                Line::Message(message) => {
                    if let Some(id) = replies_to(message) {
                        open.retain(|running| running.call.request != id);
                    }
                    self.say(world, outlet, message, open.is_empty());
                }
                Line::Pause if outlet.comes_back => {
                    self.send(world, stream, &sse::retry(limits::RETRY_MS));
                    self.hang_up(world, stream);
                }
                Line::Pause => {}
                Line::Alive => self.send(world, stream, sse::COMMENT),
            }
        }
        // Whoever cancelled waits for nothing; anybody else is told.
        let (cancelled, lost): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|running| running.call.is_cancelled.get());
        for running in lost {
            self.say(world, outlet, &interrupted(&running.call.raw), true);
        }
        if outlet.is_kept
            && !cancelled.is_empty()
            && let Err(error) = self.streams.finish(stream)
        {
            world.log(&error);
        }
    }

    /// Says a message on a stream: where it is kept, that comes first, so that whoever connects in
    /// between has it once.
    pub(super) fn say<W: World>(&self, world: &W, outlet: Outlet, message: &str, is_last: bool) {
        let kept = match outlet.is_kept {
            true => self.streams.append(outlet.stream, message, is_last, world.now()),
            false => Ok(None),
        };
        let id = kept.unwrap_or_else(|error| {
            world.log(&error);
            None
        });
        self.send(world, outlet.stream, &sse::message(id, message));
    }

    /// Sends events to the client of a stream, if it is there. One that is too slow has to resume.
    fn send<W: World>(&self, world: &W, stream: StreamId, events: &str) {
        let mut responses = self.live.responses.borrow_mut();
        let Some(response) = responses.get_mut(&stream) else {
            return world.send(stream, events);
        };
        if !response.send(events) {
            responses.remove(&stream);
        }
    }

    /// Ends whatever connection a stream has. What was sent arrives.
    pub(super) fn hang_up<W: World>(&self, world: &W, stream: StreamId) {
        self.live.responses.borrow_mut().remove(&stream);
        world.hang_up(stream);
    }

    /// Whether a stream may not be forgotten.
    fn is_used<W: World>(&self, world: &W, stream: StreamId) -> bool {
        self.live.talking.borrow().contains(&stream) || world.is_connected(stream)
    }

    /// Ends what streams have of sessions that are no more.
    pub(super) fn hang_up_orphans<W: World>(self: &Rc<Self>, world: &Rc<W>) -> Result<(), Error> {
        let orphans = self.streams.end_orphans()?;
        orphans.into_iter().for_each(|stream| self.hang_up(world.as_ref(), stream));
        self.interest_changed(world);
        Ok(())
    }

    pub(super) fn expire_streams<W: World>(
        &self,
        world: &W,
        now: Millis,
    ) -> Result<Option<Millis>, Error> {
        // A session that somebody listens to is in use.
        for stream in self.streams.hearing()? {
            if let Purpose::Session(session) | Purpose::Old(session) = &stream.purpose
                && world.is_connected(stream.id)
            {
                self.sessions.find(session, &stream.scope, now)?;
                self.sessions.touch(session, now)?;
            }
        }
        self.streams.expire(|stream| self.is_used(world, stream), now)
    }

    /// Ends streams whose holder's time is over. Says when that of the next is.
    pub(super) fn expire_holders<W: World>(
        &self,
        world: &W,
        now: Millis,
    ) -> Result<Option<Millis>, Error> {
        for (stream, held) in self.holders.all()? {
            if held.is_over(now) {
                self.hang_up(world, stream);
            }
        }
        self.holders.next_over(now)
    }

    /// A client asks for the stream of its session, or for the rest of one.
    pub(super) fn listen<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        visit: Visit<'_>,
    ) -> Result<EventId, Refusal> {
        if visit.incoming.is_modern() {
            return Err(Refusal::MethodNotAllowed(Door::Mcp.methods()));
        }
        visit.incoming.check_stream()?;
        crate::protocol::check_handshake(visit.incoming)?;
        let session = self.session(visit)?;
        let holder = &self.admit_session(world, visit, &session)?;
        let visit = Visit { holder, ..visit };
        let Some(last) = visit.incoming.last_event.as_deref() else {
            self.keep_config(world.as_ref())?;
            let purpose = Purpose::Session(session.id);
            let event = EventId::start(self.open(world.as_ref(), &session.scope, &purpose)?);
            self.keep_holder(event, visit)?;
            return Ok(event);
        };
        let last = EventId::parse(last).ok_or(Refusal::StreamGone)?;
        match self.streams.find(last.stream)?.map(|stream| stream.purpose) {
            Some(Purpose::Session(own)) if own == session.id => {
                // Whoever holds it from now on.
                self.keep_holder(last, visit)?;
                Ok(last)
            }
            Some(Purpose::Calls { session: own, .. }) if own == session.id => {
                // The call goes on for whoever began it; what it says is for whoever asks for it.
                self.keep_holder(last, visit)?;
                self.rest(last)
            }
            _ => Err(Refusal::StreamGone),
        }
    }

    /// Whether there is more to be had of the stream of a call.
    fn rest(&self, last: EventId) -> Result<EventId, Refusal> {
        match self.streams.missed(last)? {
            Missed::Gone => Err(Refusal::StreamGone),
            // Everything has been said and heard: there is no stream to be had, as the revisions
            // word it. Clients that come back after each end of a stream come back no more.
            Missed::Events(missed) if missed.is_empty() && self.streams.is_done(last.stream)? => {
                Err(Refusal::MethodNotAllowed(Door::Mcp.methods()))
            }
            Missed::Events(_) => Ok(last),
        }
    }

    /// A client of the modern era asks to hear of changes. Its stream is not kept.
    pub(super) fn hear<W: World>(
        &self,
        world: &Rc<W>,
        scope: &Scope,
        id: &RawValue,
        filter: Filter,
    ) -> Result<EventId, Error> {
        let purpose = Purpose::Listen { id: id.to_owned(), filter };
        Ok(EventId::start(self.open(world.as_ref(), scope, &purpose)?))
    }

    /// A client's connection is there: what it gets first. Whoever was connected to this stream
    /// before is not any more. Nothing may happen between this and sending what it says.
    ///
    /// # Errors
    /// The database's own, and [`Kind::NotFound`] for a stream that is no more.
    pub fn attach<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        after: EventId,
    ) -> Result<Attached, Error> {
        self.hang_up(world.as_ref(), after.stream);
        self.look_at_config(world.as_ref())?;
        let gone = || Error::new(Kind::NotFound, "this stream is no more");
        let stream = self.streams.find(after.stream)?.ok_or_else(gone)?;
        // It may have been ended before anybody was connected to it.
        let held = self.holders.of(stream.id)?;
        if held.is_over(world.now()) || self.is_ended(&stream.scope, &held.by)? {
            return Err(gone());
        }
        if let Purpose::Session(_) | Purpose::Old(_) = &stream.purpose {
            self.before_interest_changes()?;
            self.interest_changed(world);
        }
        if let Purpose::Listen { id, filter } = &stream.purpose {
            let mut events = sse::message(None, &notify::acknowledged(id, filter));
            if self.configured.is_fresh(world.now()) {
                let heard = LISTS.iter().filter_map(|list| notify::heard(id, filter, list));
                events.extend(heard.map(|message| sse::message(None, &message)));
            }
            return Ok(Attached { events, is_done: false });
        }
        if let Purpose::Old(session) = &stream.purpose {
            let events = self.endpoint(&stream.scope, session, world.now())?;
            return Ok(Attached { events, is_done: false });
        }
        self.end_if_interrupted(&stream, world.now())?;
        if let Purpose::Session(session) = &stream.purpose
            && self.configured.told(session)?
        {
            for list in &LISTS {
                self.streams.append(stream.id, &notify::message(list), false, world.now())?;
            }
        }
        let mut events = self.beginning(&stream, after)?;
        let missed = match (self.streams.missed(after)?, &stream.purpose) {
            (Missed::Events(missed), _) => missed,
            // What is kept no more were changes: the client looks at everything once.
            (Missed::Gone, Purpose::Session(_)) => {
                events.extend(LISTS.iter().map(|c| sse::message(None, &notify::message(c))));
                self.streams.left(after.stream)?
            }
            (Missed::Gone, _) => return Err(gone()),
        };
        events.extend(missed.iter().map(|(id, message)| sse::message(Some(*id), message)));
        Ok(Attached { events, is_done: self.streams.is_done(after.stream)? })
    }

    /// What a client gets before anything is said: the id to come back with, in the revision whose
    /// clients know an event without data.
    fn beginning(&self, stream: &Stream, after: EventId) -> Result<String, Error> {
        let session = match &stream.purpose {
            Purpose::Calls { session, .. } | Purpose::Session(session) => session,
            Purpose::Old(_) | Purpose::Listen { .. } => return Ok(sse::COMMENT.to_owned()),
        };
        let revision = self.sessions.revision(session)?;
        let is_primed = after.number == 0 && revision.is_some_and(|revision| comes_back(&revision));
        Ok(if is_primed { sse::priming(after) } else { sse::COMMENT.to_owned() })
    }

    /// A call does not outlive its router. A client that comes back for it is told so.
    fn end_if_interrupted(&self, stream: &Stream, now: Millis) -> Result<(), Error> {
        let Purpose::Calls { ids, .. } = &stream.purpose else {
            return Ok(());
        };
        if self.live.talking.borrow().contains(&stream.id) || self.streams.is_done(stream.id)? {
            return Ok(());
        }
        let said = self.streams.left(stream.id)?;
        let mut replied = BTreeSet::new();
        replied.extend(said.iter().filter_map(|(_, message)| replies_to(message)));
        let lost = ids.iter().filter(|id| !replied.contains(&RequestId::read(id)));
        for id in lost {
            self.streams.append(stream.id, &interrupted(id), true, now)?;
        }
        Ok(())
    }

    /// A client's connection is gone. A stream that nobody can come back to goes with it.
    ///
    /// # Errors
    /// The database's own.
    pub async fn detach<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        stream: StreamId,
    ) -> Result<(), Error> {
        let found = self.streams.find(stream)?.filter(|_| !world.is_connected(stream));
        let Some(found) = found else {
            return Ok(());
        };
        self.before_interest_changes()?;
        match found.purpose {
            Purpose::Listen { .. } => self.streams.close(stream)?,
            Purpose::Old(session) => return self.end(world, &session).await,
            Purpose::Session(_) => {}
            Purpose::Calls { .. } => return Ok(()),
        }
        self.interest_changed(world);
        Ok(())
    }

    /// Tells every client that may see it what has changed.
    ///
    /// # Errors
    /// [`Kind::Conflict`] for an Agent of another user, and the database's own.
    pub fn changed<W: World>(&self, world: &W, changes: &Changes) -> Result<(), Error> {
        self.check_own(&changes.user)?;
        let (mut streams, others): (Vec<Stream>, Vec<Stream>) =
            self.streams.hearing()?.into_iter().partition(|s| world.is_connected(s.id));
        streams.extend(others);
        let sees = |stream: &Stream, change: &Change| {
            notify::is_everywhere(change)
                || stream.scope == changes.scope
                || self.is_inside(&stream.scope, &changes.scope, change)
        };
        self.tell_all(world, &streams, &changes.changes, sees).map(drop)
    }

    /// Tells of changes on streams, as far as whoever has them sees them. A session is told on the
    /// first of its streams; says which sessions were.
    pub(super) fn tell_all<W: World>(
        &self,
        world: &W,
        streams: &[Stream],
        changes: &[Change],
        sees: impl Fn(&Stream, &Change) -> bool,
    ) -> Result<BTreeSet<SessionId>, Error> {
        let mut told: BTreeSet<SessionId> = BTreeSet::new();
        for stream in streams {
            let seen = changes.iter().filter(|change| sees(stream, change));
            match &stream.purpose {
                // One of the streams of a session: the newest that somebody listens to.
                Purpose::Session(session) | Purpose::Old(session) => {
                    if told.insert(session.clone()) {
                        let is_kept = matches!(stream.purpose, Purpose::Session(_));
                        let outlet = Outlet { is_kept, ..Outlet::passing(stream.id) };
                        for change in seen {
                            if self.wants(session, change)? {
                                self.say(world, outlet, &notify::message(change), false);
                            }
                        }
                    }
                }
                Purpose::Listen { id, filter } => {
                    for message in seen.filter_map(|change| notify::heard(id, filter, change)) {
                        self.say(world, Outlet::passing(stream.id), &message, false);
                    }
                }
                Purpose::Calls { .. } => {}
            }
        }
        Ok(told)
    }

    /// Whether what has changed in a narrower scope is a resource that is found there from here.
    fn is_inside(&self, scope: &Scope, changed: &Scope, change: &Change) -> bool {
        notify::resource(change).is_some_and(|uri| {
            changed.is_within(scope)
                && of_uri(&self.config, scope, uri).is_ok_and(|target| target == *changed)
        })
    }

    /// Whether a session is to hear of a change.
    fn wants(&self, session: &SessionId, change: &Change) -> Result<bool, Error> {
        match notify::resource(change) {
            Some(uri) => self.sessions.is_subscribed(session, uri),
            None => Ok(true),
        }
    }
}
