//! Who may enter a scope: asked of its Agent once, however many requests wait for the answer. It
//! must not know how long an answer is good for, nor how an Agent finds it.

use super::User;
use crate::{
    refusal::Refusal,
    world::{World, in_time},
};
use futures_channel::oneshot;
use shared::{
    AgentKey, Error, Kind, Scope,
    database::Database,
    hop::{Access, VerifyHop},
    limits,
    scope::ScopeError,
};
use std::{cell::RefCell, collections::BTreeMap};

/// What a check said.
type Checked = Result<Access, Error>;

/// The checks that are on their way, and who waits for each.
#[derive(Debug, Default)]
pub(super) struct Checks(RefCell<BTreeMap<Scope, Vec<oneshot::Sender<Checked>>>>);

/// A check that is on its way as long as this lives. Where it ends without an answer, because
/// whoever made it is gone, one of those who wait makes it again.
struct Checking<'a> {
    checks: &'a Checks,
    scope: &'a Scope,
}

impl Checks {
    /// Begins a check, or waits for the one that is on its way.
    fn begin<'a>(&'a self, scope: &'a Scope) -> Result<Checking<'a>, oneshot::Receiver<Checked>> {
        let mut checks = self.0.borrow_mut();
        if let Some(waiting) = checks.get_mut(scope) {
            let (sender, receiver) = oneshot::channel();
            waiting.push(sender);
            return Err(receiver);
        }
        checks.insert(scope.clone(), Vec::new());
        Ok(Checking { checks: self, scope })
    }
}

impl Checking<'_> {
    /// Tells whoever waits.
    fn end(self, checked: &Checked) {
        let waiting = self.checks.0.borrow_mut().remove(self.scope).unwrap_or_default();
        for waiting in waiting {
            // One that is gone by now needs no answer.
            let _ = waiting.send(checked.clone());
        }
    }
}

impl Drop for Checking<'_> {
    fn drop(&mut self) {
        self.checks.0.borrow_mut().remove(self.scope);
    }
}

impl<D: Database + 'static> User<D> {
    /// Lets a request into the scope of its URL.
    ///
    /// # Errors
    /// What a path is answered with that nothing is at, where the user may not know that anything
    /// is; [`Kind::Unavailable`] where that cannot be found out now.
    pub(super) async fn enter<W: World>(&self, world: &W, scope: &Scope) -> Result<(), Refusal> {
        match self.may_enter(world, scope).await? {
            true => Ok(()),
            false => Err(Refusal::NoSuchPath(self.nothing_there())),
        }
    }

    /// Lets a request into a narrower scope that it names.
    ///
    /// # Errors
    /// As [`Self::enter`], but that the session is not where nothing is.
    pub(super) async fn enter_named<W: World>(
        &self,
        world: &W,
        scope: &Scope,
    ) -> Result<(), Refusal> {
        match self.may_enter(world, scope).await? {
            true => Ok(()),
            false => Err(Refusal::NoSuchContext(self.nothing_there())),
        }
    }

    fn nothing_there(&self) -> String {
        let levels = self.config.levels.iter().map(|level| level.name.clone()).collect();
        ScopeError::Unknown { levels }.to_string()
    }

    /// Whether the user may enter a scope.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where that cannot be found out now.
    pub(super) async fn may_enter<W: World>(
        &self,
        world: &W,
        scope: &Scope,
    ) -> Result<bool, Error> {
        if self.verified_depth.is_none_or(|least| scope.depth() < least) {
            return Ok(true);
        }
        loop {
            if let Some(known) = self.accesses.known(scope, world.now())? {
                return Ok(known == Access::Yes);
            }
            let checked = match self.checks.begin(scope) {
                Ok(checking) => {
                    let checked = self.check(world, scope).await;
                    checking.end(&checked);
                    checked
                }
                Err(waiting) => match waiting.await {
                    Ok(checked) => checked,
                    Err(oneshot::Canceled) => continue,
                },
            };
            return Ok(checked? == Access::Yes);
        }
    }

    /// Asks the Agent, and keeps what it says.
    async fn check<W: World>(&self, world: &W, scope: &Scope) -> Checked {
        let key = AgentKey { user: self.id.clone(), scope: scope.clone() };
        let hop = serde_json::to_string(&VerifyHop { key: key.clone() });
        let hop = hop.map_err(|error| Error::internal(format!("the check: {error}")))?;
        let asked = in_time(world, limits::ACCESS_CHECK_MS, world.verify(&key, hop));
        let access = asked.await.map_err(|error| {
            let text = "it cannot be found out now whether you may enter this context; try again";
            Error::new(Kind::Unavailable, text).with_detail(error.to_string())
        })?;
        self.accesses.keep(scope, access, world.now())?;
        Ok(access)
    }
}
