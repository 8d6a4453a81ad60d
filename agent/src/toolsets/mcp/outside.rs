//! The platform, as a client of upstreams wants it, and what every request to one carries. It must
//! not know what is asked.

use super::{credential::Needs, source};
use crate::platform::Platform;
use futures_util::future::LocalBoxFuture;
use shared::{
    Error, Kind, Millis,
    config::{self, Address, Source},
    hop::Access,
};
use std::rc::Rc;
use upstream::{Fault, Request, Response, World, exchange::within, guard::Guard, link::Target};

/// The world outside, through an Agent's platform, and what every request needs of its user's.
pub(super) struct Outside(pub(super) Rc<dyn Platform>, pub(super) Needs);

impl World for Outside {
    fn now(&self) -> Millis {
        self.0.now()
    }

    fn random(&self) -> [u8; 12] {
        self.0.random()
    }

    fn sleep(&self, milliseconds: u32) -> LocalBoxFuture<'static, ()> {
        self.0.sleep(milliseconds)
    }

    fn spawn(&self, work: LocalBoxFuture<'static, ()>) {
        self.0.spawn(work);
    }

    fn send(&self, request: Request) -> LocalBoxFuture<'static, Result<Response, Fault>> {
        self.1.send(&self.0, request)
    }

    fn log(&self, error: &Error) {
        self.0.log(error);
    }
}

/// Where a server is, and what every request to it carries. Nothing of what its clients sent.
///
/// # Errors
/// What cannot be asked: it is every answer then.
pub(super) fn target(
    platform: &dyn Platform,
    name: &str,
    remote: &config::Upstream,
    address: &str,
    is_development: bool,
) -> Result<Target, Error> {
    let address = Address::parse(address, is_development)
        .map_err(|error| Error::internal(format!("the address of {name}: {error}")))?;
    let mut headers = Vec::new();
    // The user's own are found for each request.
    let is_fixed = |from: &&Source| !matches!(from, Source::Credential(_));
    for (header, from) in remote.headers.iter().filter(|(_, from)| is_fixed(&from)) {
        headers.push((header.clone(), source(platform, name, from)?));
    }
    if let Some(auth) = remote.auth.as_ref().filter(is_fixed) {
        let token = source(platform, name, auth)?;
        headers.push(("authorization".to_owned(), format!("Bearer {token}")));
    }
    Ok(Target { address, era: remote.era, headers })
}

/// Asks whether a user may enter: any success is a yes, and what says that there is nothing, or
/// nothing for them, is a no.
///
/// # Errors
/// [`Kind::Unavailable`] for everything else: then it is not known.
pub(super) async fn verify(
    world: &dyn World,
    guard: &Guard,
    target: &Result<Target, Error>,
    address: &str,
) -> Result<Access, Error> {
    let headers = target.as_ref().map_err(Clone::clone)?.headers.clone();
    let unknown = |detail: String| {
        let text = "it cannot be checked now whether you may enter here; try again";
        Error::new(Kind::Unavailable, text).with_detail(detail)
    };
    let request = Request { method: "GET", url: address.to_owned(), headers, body: None };
    let attempt = guard.attempt().map_err(|error| unknown(error.public))?;
    match within(world, guard.bounds().connect_ms, "the check", world.send(request)).await {
        Ok(response) => {
            let status = response.status;
            match status {
                500.. => attempt.fail(),
                _ => attempt.succeed(),
            }
            match status {
                200..300 => Ok(Access::Yes),
                // A 401 says of our own credentials that they are none, and nothing of the user.
                403 | 404 | 410 => Ok(Access::No),
                _ => Err(unknown(format!("the check ended with HTTP status {status}"))),
            }
        }
        // What to do about it is said.
        Err(Fault::Credential(error)) => Err(error),
        Err(fault) => {
            attempt.fail();
            Err(unknown(format!("{fault:?}")))
        }
    }
}
