//! Tells clients that their lists may be others, because the configuration is another one. It must
//! not know what is in it.

use super::{User, streaming::LISTS};
use crate::{configured::Found, world::World};
use shared::{Error, database::Database};
use std::collections::BTreeSet;

impl<D: Database + 'static> User<D> {
    /// Looks whether another configuration than the clients know is in force, if there is anybody
    /// to be told: who is connected is told at once, and every other session when it is.
    pub(super) fn look_at_config<W: World>(&self, world: &W) -> Result<(), Error> {
        if !self.streams.is_heard()? || self.configured.look(world.now())? != Found::Other {
            return Ok(());
        }
        let mut streams = self.streams.hearing()?;
        streams.retain(|stream| world.is_connected(stream.id));
        let told = self.tell_all(world, &streams, &LISTS, |_, _| true)?;
        self.configured.tell_later(&told)
    }

    /// The same where somebody comes who is to be told of the next one.
    pub(super) fn keep_config<W: World>(&self, world: &W) -> Result<(), Error> {
        match self.configured.look(world.now())? {
            Found::Nothing => self.configured.keep(world.now()),
            Found::Same { .. } => Ok(()),
            Found::Other => self.configured.tell_later(&BTreeSet::new()),
        }
    }
}
