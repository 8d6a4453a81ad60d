//! The transport of 2024-11-05: one stream for everything that a server says, and a second address
//! for what a client says. A session lives as long as its stream, and nothing of it can be asked
//! for again. It must not know what a message does.

use super::{Outgoing, Planned, User, Visit, streaming::Outlet};
use crate::{
    clients::Info,
    http::{Incoming, Reply},
    lines::lines,
    message::{Body, Message, Request, Unreadable},
    plan::{Place, Plan, note, plan},
    protocol::Era,
    query,
    refusal::Refusal,
    session::Session,
    sse,
    streams::{EventId, Purpose, StreamId},
    world::World,
};
use identity::caller::Caller;
use serde_json::value::RawValue;
use shared::{
    Error, Millis, Scope, SessionId,
    database::Database,
    hop::{Holder, OLDEST_REVISION, Options},
};
use std::rc::Rc;

/// A message on its way after its post is answered.
struct Taken {
    scope: Scope,
    options: Options,
    incoming: Incoming,
    caller: Caller,
    holder: Holder,
    moment: super::Moment,
    session: Session,
    stream: StreamId,
}

impl<D: Database + 'static> User<D> {
    /// Opens a stream, and with it a session.
    pub(super) fn open_old<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        visit: Visit<'_>,
    ) -> Result<EventId, Refusal> {
        visit.incoming.check_stream()?;
        let nothing: &RawValue =
            serde_json::from_str("null").map_err(|e| Error::internal(format!("null: {e}")))?;
        let session = Session {
            id: SessionId::from_random(visit.moment.random).of_old_transport(),
            scope: visit.scope.clone(),
            revision: OLDEST_REVISION.to_owned(),
            client: nothing.to_owned().into(),
            level: None,
            options: visit.options.clone(),
            seen: visit.moment.now,
        };
        let purpose = Purpose::Old(session.id.clone());
        self.keep_config(world.as_ref())?;
        self.before_interest_changes()?;
        self.sessions.begin(session, visit.moment.now)?;
        self.hang_up_orphans(world)?;
        let event = EventId::start(self.open(world.as_ref(), visit.scope, &purpose)?);
        // Which client it is, its first message says.
        let holder = &Self::holder(&Info::default(), visit.caller);
        self.keep_holder(event, Visit { holder, ..visit })?;
        Ok(event)
    }

    /// The first thing that a stream says: where to post to.
    ///
    /// # Errors
    /// The database's own.
    pub(super) fn endpoint(
        &self,
        scope: &Scope,
        session: &SessionId,
        now: Millis,
    ) -> Result<String, Error> {
        let path = scope.to_string();
        let tail = path.strip_prefix("/mcp").unwrap_or_default();
        let found = self.sessions.find(session, scope, now)?;
        let options = found.map(|found| query::tail(&found.options)).unwrap_or_default();
        let at = format!("/messages{tail}?sessionId={}{options}", session.as_str());
        Ok(sse::named("endpoint", &at))
    }

    /// Takes a message. Its answer goes to the stream of its session.
    pub(super) async fn post_old<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        visit: Visit<'_>,
        session: Option<&str>,
    ) -> Result<Reply, Refusal> {
        visit.incoming.check_content()?;
        let id = session.and_then(SessionId::parse).filter(SessionId::is_of_old_transport);
        let id = id.ok_or(Refusal::SessionUnknown)?;
        let found = self.sessions.find(&id, visit.scope, visit.moment.now)?;
        let session = found.ok_or(Refusal::SessionUnknown)?;
        self.sessions.touch(&id, visit.moment.now)?;
        let stream = self.streams.of_old_transport(&id)?;
        // Without a stream nobody would hear the answer.
        let stream = stream.filter(|stream| world.is_connected(*stream));
        let stream = stream.ok_or(Refusal::SessionUnknown)?;
        let Body::One(raw) = Body::parse(&visit.incoming.body)? else {
            return Err(Refusal::InvalidRequest("send one message at a time".to_owned()));
        };
        match Message::parse(raw) {
            Err(Unreadable { refusal, .. }) => return Err(refusal),
            Ok(Message::Notification { method, params }) => {
                self.note(world, &session, note(&method, &params)).await?;
            }
            Ok(Message::Response { id, raw }) => self.answered(world, &session, id, raw).await?,
            Ok(Message::Request(request)) => {
                let begins = session.client.get() == "null";
                let info = match request.raw_params {
                    Some(params) if begins => Info::of_initialize(params),
                    _ => Info::of_initialize(&session.client),
                };
                let holder = self.admit(world, visit, &info, OLDEST_REVISION)?;
                if begins {
                    // The stream is whoever's who opened it: only what program that is is new.
                    let mut held = self.holders.of(stream)?;
                    held.by.client.clone_from(&holder.client);
                    self.holders.keep(stream, &held)?;
                }
                let (user, near) = (Rc::clone(self), Rc::clone(world));
                let taken = Taken {
                    scope: visit.scope.clone(),
                    options: visit.options.clone(),
                    incoming: visit.incoming.clone(),
                    caller: visit.caller.clone(),
                    holder,
                    moment: visit.moment.clone(),
                    session,
                    stream,
                };
                world.spawn(Box::pin(async move { user.serve_old(&near, &taken).await }));
            }
        }
        Ok(Reply::empty(202))
    }

    async fn serve_old<W: World>(self: &Rc<Self>, world: &Rc<W>, taken: &Taken) {
        let Ok(Body::One(raw)) = Body::parse(&taken.incoming.body) else { return };
        let Ok(Message::Request(request)) = Message::parse(raw) else { return };
        if let Err(refusal) = self.reply_old(world, taken, &request).await {
            if let Refusal::Below(error) = &refusal {
                world.log(error);
            }
            let body = refusal.reply(Some(request.id), false).body.unwrap_or_default();
            self.say(world.as_ref(), Outlet::passing(taken.stream), &body, true);
        }
    }

    /// Serves a request and sends its answer, and what comes before it.
    async fn reply_old<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        taken: &Taken,
        request: &Request<'_>,
    ) -> Result<(), Refusal> {
        let Taken { scope, options, incoming, caller, holder, moment, session, stream } = taken;
        let options = &session.options.and(options);
        let visit = Visit { scope, options, incoming, caller, holder, moment };
        let begins = request.method == "initialize" && session.client.get() == "null";
        let outgoing = if begins {
            Outgoing::Piped(self.begin_old(world, visit, session, request).await?)
        } else {
            let call = moment.call(0);
            let planned = self.planned(world, visit, Some(session), request, Era::Handshake, &call);
            match planned.await? {
                Planned::Done(outgoing) => outgoing,
                Planned::Said { response, running, .. } => {
                    let said = Box::pin(lines(W::pieces(response)?));
                    self.relay(world.as_ref(), Outlet::passing(*stream), &[running], said).await;
                    return Ok(());
                }
            }
        };
        let body = super::batch::body::<W>(outgoing).await?;
        self.say(world.as_ref(), Outlet::passing(*stream), &body, true);
        Ok(())
    }

    /// Asks the Agent to agree, and notes what was agreed on.
    async fn begin_old<W: World>(
        &self,
        world: &Rc<W>,
        visit: Visit<'_>,
        session: &Session,
        request: &Request<'_>,
    ) -> Result<W::Response, Refusal> {
        let call = visit.moment.call(0);
        let Visit { scope, options, .. } = visit;
        let place = Place { config: &self.config, user: &self.id, scope, options, call: &call };
        let (key, opening) = match plan(place, Era::Handshake, None, request) {
            Plan::Begin(key, opening) => (key, opening),
            Plan::Reject(refusal) => return Err(refusal),
            _ => return Err(Refusal::InvalidRequest("this is no `initialize`".to_owned())),
        };
        let response = self.agree(world, &key, &opening, visit, request.raw, &call).await?;
        if W::is_ok(&response) {
            self.sessions.set_client(&session.id, opening.revision, opening.client)?;
        }
        Ok(response)
    }
}
