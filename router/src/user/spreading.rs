//! A call in several contexts at once: all are asked at the same time, each for so long, and what
//! they answer becomes one answer. It must not know what is asked, nor how answers are merged.

use super::{Outgoing, Planned, User, Visit};
use crate::{
    http::Reply,
    message::Request,
    refusal::Refusal,
    spread::{Part, Spread, merge},
    world::{World, in_time},
};
use futures_util::future::join_all;
use shared::{
    AgentKey, Error, Kind,
    database::Database,
    hop::{Holder, Peer},
    limits,
};

impl<D: Database + 'static> User<D> {
    /// Asks a context and those inside of it.
    ///
    /// # Errors
    /// Why the context itself cannot be asked, and if no other can either, why not.
    pub(super) async fn spread<'a, W: World>(
        &self,
        world: &W,
        visited: (Visit<'_>, &Request<'_>),
        key: AgentKey,
        peer: Peer<'_>,
        spread: Spread,
    ) -> Result<Planned<'a, W>, Refusal> {
        let (visit, request) = visited;
        if key.scope != *visit.scope {
            self.check_scope(&key.scope)?;
            self.enter_named(world, &key.scope).await?;
        }
        self.contexts.enter(&key.scope, visit.moment.now)?;
        let mut scopes = self.contexts_within(&key.scope)?;
        let bars = self.barred.all()?;
        scopes.retain(|scope| bars.bar(scope, visit.holder).is_none());
        let left_out = scopes.len().saturating_sub(limits::SPREAD_MAX);
        let user = &key.user;
        let asked = scopes.into_iter().take(limits::SPREAD_MAX).map(|scope| {
            let key = AgentKey { user: user.clone(), scope };
            let hop = self.hop(&key, again(&peer), visit, visit.options, request.raw, true);
            async move {
                let answer = self.ask_part(world, &key, visit.holder, hop).await;
                (key.scope, answer)
            }
        });
        let mut parts: Vec<Part> = join_all(asked).await;
        // What a user may not know of is not missing either.
        parts.retain(|(_, answer)| !matches!(answer, Err(error) if error.kind == Kind::NotFound));
        for (scope, answer) in &parts {
            if let Err(error) = answer {
                let detail = format!("{scope}: {}", error.detail);
                world.log(&Error { detail, ..error.clone() });
            }
        }
        match merge(request.id, spread, &parts, left_out) {
            Some(body) => Ok(Planned::Done(Outgoing::Own(Reply::json(200, body)))),
            None => Err(parts.into_iter().find_map(|(_, answer)| answer.err()).map_or_else(
                || Refusal::Below(Error::internal("no context was asked")),
                Refusal::Below,
            )),
        }
    }

    async fn ask_part<W: World>(
        &self,
        world: &W,
        key: &AgentKey,
        holder: &Holder,
        hop: Result<String, Error>,
    ) -> Result<String, Error> {
        let answer = async {
            match self.may_enter(world, &key.scope).await? {
                // While it was asked who may enter.
                true if self.is_ended(&key.scope, holder)? => {
                    Err(Error::new(Kind::Forbidden, "this was ended meanwhile"))
                }
                true => world.part(key, hop?).await,
                false => Err(Error::new(Kind::NotFound, "there is no such context")),
            }
        };
        in_time(world, limits::SPREAD_MS, answer).await
    }
}

/// The same peer, for another hop.
fn again<'a>(peer: &Peer<'a>) -> Peer<'a> {
    match peer {
        Peer::Modern => Peer::Modern,
        Peer::Handshake { call, session, revision, client, level } => Peer::Handshake {
            call: call.clone(),
            session: session.clone(),
            revision: revision.clone(),
            client: client.clone(),
            level: level.clone(),
        },
    }
}
