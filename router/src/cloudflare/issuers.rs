//! What issuers publish, asked for and kept per isolate: their metadata and their keys. When it is
//! asked for is decided elsewhere. It must not know what a token is for.

use super::crypto;
use identity::{
    documents::{Documents, Next},
    issuer::{Metadata, MetadataError, addresses, openid_address},
    jwt::{Token, Wrong},
};
use serde_json::Value;
use shared::{
    Error, Kind,
    cloudflare::{now, outside::ask},
    config::people::Issuer,
    limits,
    outside::Request,
};
use std::{cell::RefCell, rc::Rc, time::Duration};

thread_local! {
    static DOCUMENTS: RefCell<Documents> = RefCell::default();
}

fn unavailable(address: &str, detail: &str) -> Error {
    let public = "who vouches for this user cannot be asked at the moment: try again soon";
    Error::new(Kind::Unavailable, public).with_detail(format!("{address}: {detail}"))
}

/// A document that is at the first of these addresses which has one.
async fn document(
    addresses: &[String],
    is_enough: impl Fn(&Value) -> bool,
) -> Result<Rc<Value>, Error> {
    let Some(first) = addresses.first() else {
        return Err(Error::internal("there is nowhere to ask"));
    };
    loop {
        match DOCUMENTS.with_borrow_mut(|documents| documents.look(first, &is_enough, now())) {
            Next::Use(document) => return Ok(document),
            Next::Failed => return Err(unavailable(first, "it could not be had a moment ago")),
            // What one request waits for cannot be waited for by another: the platform ends it with
            // its request.
            Next::Wait => {
                worker::Delay::from(Duration::from_millis(limits::DOCUMENT_LOOK_MS)).await;
            }
            Next::Ask => {
                let found = fetched(addresses).await;
                let kept = found.as_ref().ok().cloned();
                DOCUMENTS.with_borrow_mut(|documents| documents.put(first, kept, now()));
                return found.map(Rc::new);
            }
        }
    }
}

async fn fetched(addresses: &[String]) -> Result<Value, Error> {
    let mut wrong = Error::internal("there is nowhere to ask");
    for address in addresses {
        let headers = vec![("accept".to_owned(), "application/json".to_owned())];
        let request = Request { method: "GET", url: address.clone(), headers, body: None };
        let failure = match ask(request).await {
            Ok(answer) if answer.status == 200 => match serde_json::from_str(&answer.body) {
                Ok(document) => return Ok(document),
                Err(error) => error.to_string(),
            },
            Ok(answer) => format!("it answers {}", answer.status),
            Err(error) => error,
        };
        wrong = unavailable(address, &failure);
    }
    Err(wrong)
}

/// What an OpenID provider says of itself.
///
/// # Errors
/// It cannot be asked, or speaks of another.
pub(super) async fn openid(issuer: &str, is_development: bool) -> Result<Metadata, Error> {
    read(&[openid_address(issuer)], issuer, is_development).await
}

async fn read(addresses: &[String], issuer: &str, is_development: bool) -> Result<Metadata, Error> {
    let document = document(addresses, |_| true).await?;
    let read = Metadata::read(&document, issuer, is_development);
    read.map_err(|error| unavailable(issuer, &error.to_string()))
}

/// Where the keys of a configured authorization server are.
///
/// # Errors
/// As [`openid`].
pub(super) async fn keys_of(issuer: &Issuer, is_development: bool) -> Result<String, Error> {
    if let Some(address) = &issuer.jwks {
        return Ok(address.clone());
    }
    let metadata = read(&addresses(&issuer.issuer), &issuer.issuer, is_development).await?;
    metadata
        .keys
        .ok_or_else(|| unavailable(&issuer.issuer, &MetadataError::Address("jwks_uri").to_string()))
}

/// Whether a token is signed with a key of the set at this address. An unknown key may be a new
/// one, so the set is asked for again, but not for every token.
///
/// # Errors
/// The keys cannot be had.
pub(super) async fn check(token: &Token, keys: &str) -> Result<Result<(), Wrong>, Error> {
    let document = document(&[keys.to_owned()], |keys| token.key(keys).is_some()).await?;
    let Some(key) = token.key(&document) else {
        return Ok(Err(Wrong::Key));
    };
    Ok(match crypto::is_signed(token, &key).await? {
        true => Ok(()),
        false => Err(Wrong::Signature),
    })
}
