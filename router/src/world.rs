//! What a user's state needs of the world: the way to the Agents, the connections of clients that
//! listen, authorization servers, the deployment's keys, the time. It must not know which world it
//! is: production's is a Durable Object, tests and the simulation bring their own.

use crate::streams::StreamId;
use futures_util::{
    Stream,
    future::{Either, LocalBoxFuture, select},
};
use identity::keyring::KeyRing;
use shared::{
    AgentKey, Error, Kind, Millis,
    hop::Access,
    outside::{Answer, Request},
};
use std::{future::Future, pin::pin, rc::Rc};

/// What form an Agent's response has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The client's, as it is.
    Whole,
    /// A sequence of `shared::hop::Line`s.
    Lines,
}

/// The world, as one user's state sees it.
pub trait World: 'static {
    /// An Agent's response, which is piped back without being read unless it is lines.
    type Response: 'static;

    /// The time.
    fn now(&self) -> Millis;

    /// Keeps what no client is told of a failure.
    fn log(&self, error: &Error);

    /// Sends a hop.
    fn forward(
        &self,
        key: &AgentKey,
        hop: String,
    ) -> impl Future<Output = Result<Self::Response, Error>>;

    /// Sends a hop that is a part of something and waits for the whole answer.
    fn part(&self, key: &AgentKey, hop: String) -> impl Future<Output = Result<String, Error>>;

    /// Sends a word to a running call; whether the call was there to take it.
    fn word(&self, key: &AgentKey, word: String) -> impl Future<Output = Result<bool, Error>>;

    /// Asks whether the user may enter a context.
    fn verify(&self, key: &AgentKey, hop: String) -> impl Future<Output = Result<Access, Error>>;

    /// Tells an Agent what anybody wants to hear of.
    fn interest(&self, key: &AgentKey, hop: String) -> impl Future<Output = Result<(), Error>>;

    /// Has an Agent end what a user has ended.
    fn stop(&self, key: &AgentKey, hop: String) -> impl Future<Output = Result<(), Error>>;

    /// Whether a response has HTTP status 200.
    fn is_ok(response: &Self::Response) -> bool;

    /// What form a response has.
    fn form(response: &Self::Response) -> Form;

    /// The body, in pieces.
    ///
    /// # Errors
    /// An internal error if there is none.
    fn pieces(
        response: Self::Response,
    ) -> Result<impl Stream<Item = Result<Vec<u8>, Error>> + Unpin + 'static, Error>;

    /// Ends after this long.
    fn sleep(&self, milliseconds: u64) -> LocalBoxFuture<'static, ()>;

    /// Goes on with something after the request is answered.
    fn spawn(&self, work: LocalBoxFuture<'static, ()>);

    /// Sends events to whoever is connected to a stream.
    fn send(&self, stream: StreamId, events: &str);

    /// Ends the connections to a stream.
    fn hang_up(&self, stream: StreamId);

    /// Whether anybody is connected to a stream.
    fn is_connected(&self, stream: StreamId) -> bool;

    /// Asks an authorization server and waits for the whole answer. The error is for the log.
    fn ask(&self, request: Request) -> impl Future<Output = Result<Answer, String>>;

    /// Fresh randomness.
    ///
    /// # Errors
    /// An internal error where there is none.
    fn random(&self) -> Result<[u8; 32], Error>;

    /// The deployment's own keys, where it has any.
    fn ring(&self) -> Option<Rc<KeyRing>>;

    /// Scheme and authority that browsers know this deployment by, where that is known.
    fn origin(&self) -> Option<String>;

    /// A secret that the operator set, by its name.
    fn secret(&self, name: &str) -> Option<String>;
}

/// A context's answer, if it comes in time.
///
/// # Errors
/// The answer's own, and [`Kind::Unavailable`] where it does not.
pub async fn in_time<W: World, T>(
    world: &W,
    milliseconds: u64,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match select(pin!(answer), world.sleep(milliseconds)).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => Err(Error::new(Kind::Unavailable, "this context does not answer")),
    }
}
