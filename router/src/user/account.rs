//! What a user wants on their own page, done by whatever owns it. It must not know what a page
//! shows.

use super::User;
use crate::world::World;
use identity::{
    account::{Hop, Overview, Reply, Request},
    upstream_login::Returned,
};
use shared::{Error, Kind, Millis, database::Database};
use std::rc::Rc;

impl<D: Database + 'static> User<D> {
    /// Does what a user wants. Says too when the object is to be woken.
    ///
    /// # Errors
    /// [`Kind::Conflict`] for another user, and why it is not done.
    pub async fn account<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        hop: Hop,
    ) -> Result<(Reply, Option<Millis>), Error> {
        self.check_own(&hop.user)?;
        match hop.request {
            Request::Overview => {
                let connections = self.connections(world.as_ref())?;
                Ok((Reply::Overview(Overview { connections, ..Overview::default() }), None))
            }
            Request::Connect { credential, redirect } => {
                let begun = self.connect(world.as_ref(), &credential, &redirect).await;
                begun.map(|(reply, until)| (reply, Some(until)))
            }
            Request::Connected { state, code, issuer, error } => {
                let returned = Returned { code, issuer, error };
                let connected = self.connected(world.as_ref(), &state, &returned).await;
                connected.map(|reply| (reply, None))
            }
            Request::Disconnect { credential } => {
                self.disconnect(world.as_ref(), &credential).map(|reply| (reply, None))
            }
            _ => Err(Error::new(Kind::NotFound, "this cannot be done here yet")),
        }
    }
}
