//! Tells the Agents what anybody wants to hear of: one that has to listen to something itself does
//! so only while somebody listens to it. It must not know who wants what.

use super::User;
use crate::{
    interest::{Interest, Told, concerned, gather},
    world::World,
};
use futures_channel::oneshot;
use futures_util::{StreamExt as _, stream};
use shared::{AgentKey, Error, Scope, database::Database, hop::InterestHop, limits};
use std::{cell::RefCell, rc::Rc};

/// What the Agents have been told, and whose turn it is to tell them. What is told last is what
/// counts, so one at a time tells.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// Unknown until something changes.
    told: RefCell<Option<Told>>,
    /// Who waits for their turn; `None` while it is nobody's.
    waiting: RefCell<Option<Vec<oneshot::Sender<()>>>>,
}

/// It is somebody's turn as long as this lives.
struct Turn<'a>(&'a Telling);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        for waiting in self.0.waiting.take().unwrap_or_default() {
            // One that is gone by now has no turn.
            let _ = waiting.send(());
        }
    }
}

impl Telling {
    async fn turn(&self) -> Turn<'_> {
        loop {
            let wait = {
                let mut waiting = self.waiting.borrow_mut();
                let Some(waiting) = waiting.as_mut() else {
                    *waiting = Some(Vec::new());
                    return Turn(self);
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
        if self.interest_matters {
            let (user, near) = (Rc::clone(self), Rc::clone(world));
            world.spawn(Box::pin(async move { user.tell_interest(near.as_ref()).await }));
        }
    }

    /// Tells every Agent what has changed of what is wanted of it. One that cannot be told is told
    /// when something changes again.
    pub(super) async fn tell_interest<W: World>(&self, world: &W) {
        if !self.interest_matters {
            return;
        }
        let turn = self.telling.turn().await;
        match self.missing_interest(world) {
            Err(error) => world.log(&error),
            Ok(missing) => {
                let telling = missing.into_iter().map(|(scope, wanted)| async move {
                    if let Err(error) = self.tell_one(world, &scope, wanted).await {
                        world.log(&error);
                    }
                });
                let telling = stream::iter(telling).buffer_unordered(limits::INTERESTS_AT_ONCE);
                telling.collect::<()>().await;
            }
        }
        drop(turn);
    }

    fn missing_interest<W: World>(&self, world: &W) -> Result<Vec<(Scope, Interest)>, Error> {
        let (streams, subscriptions) = (self.streams.hearing()?, self.sessions.subscriptions()?);
        let is_connected = |stream: &crate::streams::Stream| world.is_connected(stream.id);
        let wanted = gather(&self.config, &streams, is_connected, &subscriptions);
        let told = self.telling.told.borrow();
        Ok(told.as_ref().map_or_else(|| Told::default().missing(&wanted), |t| t.missing(&wanted)))
    }

    async fn tell_one<W: World>(
        &self,
        world: &W,
        scope: &Scope,
        wanted: Interest,
    ) -> Result<(), Error> {
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
        let Interest { lists, uris } = interest.clone();
        let hop = serde_json::to_string(&InterestHop { key: key.clone(), lists, uris });
        let hop = hop.map_err(|error| Error::internal(format!("the interest: {error}")))?;
        world.interest(&key, hop).await?;
        self.keep_told(|told| told.told(scope, interest));
        Ok(())
    }

    fn keep_told(&self, note: impl FnOnce(&mut Told)) {
        note(self.telling.told.borrow_mut().get_or_insert_default());
    }
}
