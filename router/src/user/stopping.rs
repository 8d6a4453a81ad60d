//! The end of what runs, when a user ends what it runs by: in the Agents, and on the streams that wait.
//! It must not know why it ends.

use super::User;
use crate::{
    barred::is_within,
    streams::Stream,
    world::{World, in_time},
};
use futures_util::{StreamExt as _, stream};
use identity::account::Target;
use shared::{
    AgentKey, Error, Scope,
    database::Database,
    hop::{Holder, Options, Stop, StopHop},
    limits,
};
use std::rc::Rc;

/// What ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// What was blocked.
    Target(Target),
    /// What a key or a grant let in, by its name in a `Holder`.
    Credential(String),
}

impl Ending {
    /// What ends in an Agent of this scope, if anything.
    fn within(&self, scope: &Scope) -> Option<Stop> {
        Some(match self {
            Self::Target(Target::User) => Stop::Everything,
            Self::Target(Target::Context(path)) if !is_within(scope, path) => return None,
            Self::Target(Target::Context(_)) => Stop::Everything,
            Self::Target(Target::Client(client)) => Stop::Client(client.clone()),
            Self::Target(Target::Upstream(name)) => Stop::Toolset(name.clone()),
            Self::Credential(name) => Stop::Credential(name.clone()),
        })
    }
}

impl<D: Database + 'static> User<D> {
    /// Ends it, everywhere. What is refused from now on must be known before.
    pub(super) async fn stop<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        ending: &Ending,
    ) -> Result<(), Error> {
        // Streams first: nothing waits for them.
        for stream in self.streams.hearing()? {
            if self.is_ending(ending, &stream)? {
                world.hang_up(stream.id);
            }
        }
        // Calls run only in contexts that were entered, the last ones most likely.
        let contexts = self.contexts.latest_first(&self.config.levels)?;
        let hops = contexts.into_iter().filter_map(|scope| {
            let stop = ending.within(&scope)?;
            Some(StopHop { key: AgentKey { user: self.id.clone(), scope }, stop })
        });
        // One that is slow takes one place, and keeps none waiting that has another.
        stream::iter(hops)
            .for_each_concurrent(limits::STOPS_AT_ONCE, |hop| async move {
                self.tell_stop(world.as_ref(), &hop).await;
            })
            .await;
        Ok(())
    }

    /// Stops what was ended while a request was on its way to its Agent: the word may have overtaken
    /// it. `options` is what was left of the tools when it set out.
    pub(super) async fn stop_overtaken<W: World>(
        &self,
        world: &W,
        key: &AgentKey,
        holder: &Holder,
        options: &Options,
    ) -> Result<(), Error> {
        for stop in self.overtaken(&key.scope, holder, options)? {
            self.tell_stop(world, &StopHop { key: key.clone(), stop }).await;
        }
        Ok(())
    }

    fn overtaken(
        &self,
        scope: &Scope,
        holder: &Holder,
        options: &Options,
    ) -> Result<Vec<Stop>, Error> {
        let bars = self.barred.all()?;
        let mut stops = Vec::new();
        if let Some(target) = bars.bar(scope, holder) {
            stops.extend(Ending::Target(target.clone()).within(scope));
        }
        if self.is_over(holder)? {
            stops.push(Stop::Credential(holder.credential.clone()));
        }
        if !bars.is_empty() {
            let toolsets = bars.toolsets();
            stops.extend(toolsets.difference(&options.blocked).cloned().map(Stop::Toolset));
        }
        Ok(stops)
    }

    /// Tells a context, again if that fails: a task there would go on. One that cannot be reached keeps
    /// no other alive, and takes no answer away.
    async fn tell_stop<W: World>(&self, world: &W, hop: &StopHop) {
        for _ in 0..limits::STOP_TRIES {
            let told = async {
                let text = serde_json::to_string(hop);
                let text = text.map_err(|error| Error::internal(format!("the stop: {error}")))?;
                in_time(world, limits::STOP_MS, world.stop(&hop.key, text)).await
            };
            match told.await {
                Ok(()) => return,
                Err(error) => world.log(&error),
            }
        }
    }

    fn is_ending(&self, ending: &Ending, stream: &Stream) -> Result<bool, Error> {
        Ok(match ending {
            Ending::Target(Target::User) => true,
            Ending::Target(Target::Context(path)) => is_within(&stream.scope, path),
            Ending::Target(Target::Upstream(_)) => false,
            Ending::Target(Target::Client(client)) => {
                self.holders.of(stream.id)?.by.client == *client
            }
            Ending::Credential(name) => self.holders.of(stream.id)?.by.credential == *name,
        })
    }
}
