//! What an Agent needs from the world besides its database: the time, randomness, waiting, work
//! without a client, being woken, and the user's router. It must not know which world it is.

use futures_util::future::LocalBoxFuture;
use shared::{
    Error, Millis, Scope,
    hop::{Change, CredentialAnswer, NotesAnswer},
    notes,
};
use upstream::{Request, Response};

/// The world, as an Agent sees it. Production's is a Durable Object; tests and the simulation
/// bring their own.
pub trait Platform {
    /// The time.
    fn now(&self) -> Millis;

    /// Fresh randomness.
    fn random(&self) -> [u8; 12];

    /// Resolves after a while.
    fn sleep(&self, milliseconds: u32) -> LocalBoxFuture<'static, ()>;

    /// Lets a future run, for as long as the object is in memory, whether or not anybody is there.
    /// It is polled later, never at once.
    fn spawn(&self, work: LocalBoxFuture<'static, ()>);

    /// Has `Context::alarm` called at this time, and at none that was set before.
    fn wake(&self, at: Millis) -> LocalBoxFuture<'static, Result<(), Error>>;

    /// Sends a request to an upstream, outside of everything that is ours. Dropping the future, or
    /// the body, ends the connection. The error is for the log.
    fn send(&self, request: Request) -> LocalBoxFuture<'static, Result<Response, String>>;

    /// A secret that the operator set, by its name.
    fn secret(&self, name: &str) -> Option<String>;

    /// Keeps what the client is not told of a failure.
    fn log(&self, error: &Error);

    /// Asks the user's McpRouter about the user's shared notes.
    fn shared_notes(&self, request: notes::Request) -> LocalBoxFuture<'static, NotesAnswer>;

    /// Asks the user's McpRouter for a token of one of the user's credentials: a good one, and
    /// another than the one that an upstream refused just now, by its id.
    fn credential(
        &self,
        name: &str,
        rejected: Option<String>,
    ) -> LocalBoxFuture<'static, CredentialAnswer>;

    /// Tells the user's McpRouter what changed in a context, each thing once. It is told before
    /// the call's reply, so that a client which has the reply can rely on it.
    fn changed(
        &self,
        scope: &Scope,
        changes: Vec<Change>,
    ) -> LocalBoxFuture<'static, Result<(), Error>>;
}
