//! What a client of upstreams needs of the world: HTTP, the time, work that goes on, and a place to
//! keep what it learned. It must not know which world it is.

pub use shared::outside::{Body, HEADERS, Request, Response};

use crate::fault::Fault;
use futures_util::future::LocalBoxFuture;
use shared::{Error, Millis};

/// The world, as a client of upstreams sees it.
pub trait World {
    /// The time.
    fn now(&self) -> Millis;

    /// Fresh randomness.
    fn random(&self) -> [u8; 12];

    /// Resolves after a while.
    fn sleep(&self, milliseconds: u32) -> LocalBoxFuture<'static, ()>;

    /// Goes on with something whether or not anybody waits for it.
    fn spawn(&self, work: LocalBoxFuture<'static, ()>);

    /// Sends a request and waits for the head of the response. A redirect is a response like any
    /// other. Dropping the future ends the connection. The fault is that it cannot be reached, or
    /// that the request cannot be sent as it has to be.
    fn send(&self, request: Request) -> LocalBoxFuture<'static, Result<Response, Fault>>;

    /// Keeps what nobody is told.
    fn log(&self, error: &Error);
}
