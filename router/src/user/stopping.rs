//! The end of what runs, when a user ends what it runs by: in the Agents, and on the streams that wait.
//! It must not know why it ends.

use super::User;
use crate::{
    barred::is_within,
    streams::{Stream, StreamId},
    world::{World, in_time},
};
use futures_util::{StreamExt as _, stream};
use identity::account::Target;
use shared::{
    AgentKey, Error, Kind, Scope,
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
    /// What ends at this scope, if anything.
    fn within(&self, scope: &Scope) -> Option<Stop> {
        match self {
            Self::Target(Target::Context(path)) if !is_within(scope, path) => None,
            _ => Some(self.stop()),
        }
    }

    /// What ends where it ends anything.
    fn stop(&self) -> Stop {
        match self {
            Self::Target(Target::User | Target::Context(_)) => Stop::Everything,
            Self::Target(Target::Client(client)) => Stop::Client(client.clone()),
            Self::Target(Target::Upstream(name)) => Stop::Toolset(name.clone()),
            Self::Credential(name) => Stop::Credential(name.clone()),
        }
    }
}

impl<D: Database + 'static> User<D> {
    /// Ends it, everywhere. What is refused from now on must be known before.
    pub(super) async fn stop<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        ending: &Ending,
    ) -> Result<(), Error> {
        // Streams first: nothing waits for them. What runs ends whether or not they do.
        if let Err(error) = self.hang_up_ending(world.as_ref(), ending) {
            world.log(&error);
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
                self.tell_stop(world.as_ref(), &hop, &limits::STOP_PAUSES_MS).await;
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
            // A client waits for it, and whoever ended it has told everybody, too.
            self.tell_stop(world, &StopHop { key: key.clone(), stop }, &[]).await;
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

    /// Tells a context; again after each of these pauses, where it could not be reached: a task there
    /// would go on. One that never can be keeps no other alive, and takes no answer away.
    async fn tell_stop<W: World>(&self, world: &W, hop: &StopHop, pauses: &[u32]) {
        let mut pauses = pauses.iter();
        loop {
            let told = async {
                let text = serde_json::to_string(hop);
                let text = text.map_err(|error| Error::internal(format!("the stop: {error}")))?;
                in_time(world, limits::STOP_MS, world.stop(&hop.key, text)).await
            };
            let Err(error) = told.await else {
                return;
            };
            world.log(&error);
            match pauses.next().filter(|_| error.kind == Kind::Unavailable) {
                Some(pause) => world.sleep(u64::from(*pause)).await,
                None => return,
            }
        }
    }

    fn hang_up_ending<W: World>(&self, world: &W, ending: &Ending) -> Result<(), Error> {
        let ended: Vec<StreamId> = match ending.stop() {
            Stop::Everything => {
                let all = self.streams.hearing()?.into_iter();
                let is_there = |stream: &Stream| ending.within(&stream.scope).is_some();
                all.filter(is_there).map(|stream| stream.id).collect()
            }
            // A stream is at no toolset.
            stop => {
                let all = self.holders.all()?.into_iter();
                all.filter(|(_, held)| stop.ends(&held.by, None)).map(|(id, _)| id).collect()
            }
        };
        ended.into_iter().for_each(|stream| self.hang_up(world, stream));
        Ok(())
    }
}
