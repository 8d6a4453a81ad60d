//! Tells the Agents what anybody wants to hear of: one that has to listen to something itself does
//! so only while somebody listens to it. It must not know who wants what.

use super::User;
use crate::{
    interest::{Interest, Told, concerned, gather},
    world::{World, in_time},
};
use futures_channel::oneshot;
use futures_util::{
    StreamExt as _,
    future::{Either, LocalBoxFuture, select},
    stream,
};
use shared::{
    AgentKey, Error, Scope,
    database::Database,
    gathered,
    hop::{Holder, InterestHop},
    limits,
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// What the Agents have been told, and which of them are being told. What is told last is what
/// counts, so each is told by one at a time.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// Unknown until something changes.
    told: RefCell<Option<Told>>,
    /// The contexts that are being told, and who waits for that to end.
    busy: RefCell<BTreeMap<Scope, Vec<oneshot::Sender<()>>>>,
}

/// It is somebody's turn to tell a context as long as this lives.
struct Turn<'a> {
    telling: &'a Telling,
    scope: &'a Scope,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        for waiting in self.telling.busy.borrow_mut().remove(self.scope).unwrap_or_default() {
            // One that is gone by now has no turn.
            let _ = waiting.send(());
        }
    }
}

impl Telling {
    async fn turn<'a>(&'a self, scope: &'a Scope) -> Turn<'a> {
        loop {
            let wait = {
                let mut busy = self.busy.borrow_mut();
                let Some(waiting) = busy.get_mut(scope) else {
                    busy.insert(scope.clone(), Vec::new());
                    return Turn { telling: self, scope };
                };
                let (sender, receiver) = oneshot::channel();
                waiting.push(sender);
                receiver
            };
            // Woken or not, whoever comes first is next.
            let _ = wait.await;
        }
    }
}

impl<D: Database + 'static> User<D> {
    /// Something that is wanted is about to change. What was wanted before a restart is looked up
    /// now: afterwards it might be gone, and its Agent would never know.
    pub(super) fn before_interest_changes(&self) -> Result<(), Error> {
        if !self.interest_matters || self.telling.told.borrow().is_some() {
            return Ok(());
        }
        let (streams, subscriptions) = (self.streams.hearing()?, self.sessions.subscriptions()?);
        let concerned = concerned(&self.config, &streams, &subscriptions);
        *self.telling.told.borrow_mut() = Some(Told::unknown(concerned));
        Ok(())
    }

    /// Something that is wanted has changed: whom that concerns hears of it soon.
    pub(super) fn interest_changed<W: World>(self: &Rc<Self>, world: &Rc<W>) {
        self.tell_others(world, BTreeSet::new());
    }

    fn tell_others<W: World>(self: &Rc<Self>, world: &Rc<W>, told: BTreeSet<Scope>) {
        if !self.interest_matters {
            return;
        }
        let (user, near) = (Rc::clone(self), Rc::clone(world));
        world.spawn(Box::pin(async move {
            let missing = user.missing_interest(near.as_ref()).unwrap_or_else(|error| {
                near.log(&error);
                Vec::new()
            });
            let scopes = missing.into_iter().map(|(scope, _)| scope);
            let others = gathered(scopes.filter(|scope| !told.contains(scope)));
            user.tell_agents(near.as_ref(), others).await;
        }));
    }

    /// As [`Self::interest_changed`], but that these contexts have heard of it when this ends: all
    /// that did not take too long.
    pub(super) async fn tell_interest<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        scopes: BTreeSet<Scope>,
    ) {
        if !self.interest_matters {
            return;
        }
        let (user, near) = (Rc::clone(self), Rc::clone(world));
        let told = scopes.clone();
        let telling: LocalBoxFuture<'static, ()> =
            Box::pin(async move { user.tell_agents(near.as_ref(), scopes).await });
        let pause = world.sleep(limits::INTEREST_WAIT_MS);
        if let Either::Right((_, rest)) = select(telling, pause).await {
            world.spawn(rest);
        }
        self.tell_others(world, told);
    }

    /// One that cannot be told is told when something changes again.
    async fn tell_agents<W: World>(&self, world: &W, scopes: BTreeSet<Scope>) {
        let telling = scopes.iter().map(|scope| async move {
            if let Err(error) = self.tell_one(world, scope).await {
                world.log(&error);
            }
        });
        let telling = stream::iter(telling).buffer_unordered(limits::INTERESTS_AT_ONCE);
        telling.collect::<()>().await;
    }

    fn missing_interest<W: World>(&self, world: &W) -> Result<Vec<(Scope, Interest)>, Error> {
        let (streams, subscriptions) = (self.streams.hearing()?, self.sessions.subscriptions()?);
        let is_connected = |stream: &crate::streams::Stream| world.is_connected(stream.id);
        let mut wanted = gather(&self.config, &streams, is_connected, &subscriptions);
        let bars = self.barred.all()?;
        wanted.retain(|scope, _| bars.bar(scope, &Holder::default()).is_none());
        if !bars.is_empty() {
            wanted.values_mut().for_each(|interest| interest.blocked = bars.toolsets());
        }
        let told = self.telling.told.borrow();
        Ok(told.as_ref().map_or_else(|| Told::default().missing(&wanted), |t| t.missing(&wanted)))
    }

    async fn tell_one<W: World>(&self, world: &W, scope: &Scope) -> Result<(), Error> {
        let _turn = self.telling.turn(scope).await;
        // It may have been told by now, or something else may be wanted.
        let missing = self.missing_interest(world)?;
        let Some((_, wanted)) = missing.into_iter().find(|(missing, _)| missing == scope) else {
            return Ok(());
        };
        let mut knows_something = true;
        self.keep_told(|told| knows_something = told.telling(scope));
        // Whoever may not enter hears nothing either.
        let may_hear = wanted == Interest::default() || self.may_enter(world, scope).await?;
        let interest = if may_hear { wanted } else { Interest::default() };
        if !may_hear && !knows_something {
            self.keep_told(|told| told.told(scope, interest));
            return Ok(());
        }
        if interest != Interest::default() {
            self.contexts.enter(scope, world.now())?;
        }
        let key = AgentKey { user: self.id.clone(), scope: scope.clone() };
        let Interest { lists, uris, blocked } = interest.clone();
        let hop = serde_json::to_string(&InterestHop { key: key.clone(), lists, uris, blocked });
        let hop = hop.map_err(|error| Error::internal(format!("the interest: {error}")))?;
        in_time(world, limits::INTEREST_MS, world.interest(&key, hop)).await?;
        self.keep_told(|told| told.told(scope, interest));
        Ok(())
    }

    fn keep_told(&self, note: impl FnOnce(&mut Told)) {
        note(self.telling.told.borrow_mut().get_or_insert_default());
    }
}
