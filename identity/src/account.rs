//! What a user sees and ends on their own page: the contract between the entry, which knows who is
//! signed in, and that user's McpRouter, which owns all of it. It must not know pages, nor where anything is
//! kept.

use crate::caller::Access;
use serde::{Deserialize, Serialize};
use shared::{Error, Millis, UserId};

/// Path of a [`Hop`], on a McpRouter: 200 with a [`Reply`], or a failure.
pub const ACCOUNT_URL: &str = "https://router/hop/account";

/// Entry → Router: something that a signed-in user wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// Whose account. A router of another user refuses it.
    pub user: UserId,
    /// What is wanted.
    pub request: Request,
}

/// What a router answers a [`Hop`] with.
pub type Answer = Result<Reply, Error>;

// Read and written here and nowhere else: the code for it is long, and this crate is built for size.
impl Hop {
    /// Reads one.
    ///
    /// # Errors
    /// An internal error for a text that is none.
    pub fn read(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(|error| Error::internal(format!("a hop: {error}")))
    }

    /// Writes it.
    ///
    /// # Errors
    /// An internal error where that cannot be.
    pub fn written(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(|error| Error::internal(error.to_string()))
    }
}

/// Reads an answer.
///
/// # Errors
/// The one in it, and an internal one for a text that is none.
pub fn read_answer(text: &str) -> Answer {
    let answer: Result<Answer, _> = serde_json::from_str(text);
    answer.map_err(|error| Error::internal(format!("the router's answer: {error}")))?
}

/// Writes an answer.
///
/// # Errors
/// An internal error where that cannot be.
pub fn write_answer(answer: &Answer) -> Result<String, Error> {
    serde_json::to_string(answer).map_err(|error| Error::internal(error.to_string()))
}

impl Target {
    /// Reads one.
    ///
    /// # Errors
    /// An internal error for a text that is none.
    pub fn read(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(|error| Error::internal(format!("a block: {error}")))
    }

    /// Writes it.
    ///
    /// # Errors
    /// An internal error where that cannot be.
    pub fn written(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(|error| Error::internal(error.to_string()))
    }
}

/// What may be wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Everything that there is. Answered with [`Reply::Overview`].
    Overview,
    /// The user has signed in, and is called so by whoever let them in.
    SignedIn {
        /// A name for people, or nothing.
        name: String,
    },
    /// A new personal key. Answered with [`Reply::Key`].
    Mint(NewKey),
    /// The end of a personal key, by its id.
    Revoke {
        /// Which.
        key: String,
    },
    /// Nothing of this is answered any more, from now on and in what is running.
    Block(Target),
    /// The end of a block.
    Unblock(Target),
    /// The end of a grant: its tokens are good no more, and what runs by it ends.
    EndGrant {
        /// The grant's id.
        grant: String,
    },
    /// The beginning of connecting a credential. Answered with [`Reply::Go`].
    Connect {
        /// Its name in the configuration.
        credential: String,
        /// Where the authorization server sends the browser back to: the same for all of them.
        redirect: String,
    },
    /// What an authorization server sent the browser back with.
    Connected {
        /// `state`.
        state: String,
        /// `code`, or nothing where it was refused.
        code: Option<String>,
        /// `iss` (RFC 9207).
        issuer: Option<String>,
        /// `error`, where it was refused.
        error: Option<String>,
    },
    /// The end of a connected credential.
    Disconnect {
        /// Its name in the configuration.
        credential: String,
    },
}

/// A personal key, before it is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKey {
    /// What its user calls it.
    pub name: String,
    /// The path of the scope at and below which it is good.
    pub scope: String,
    /// How much it allows.
    pub access: Access,
    /// From when on it is good no more.
    pub expires: Option<Millis>,
}

/// What can be blocked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Everything of this user.
    User,
    /// A context, by the path of its scope, and every narrower one.
    Context(String),
    /// A client, by its id in [`Client::id`].
    Client(String),
    /// An upstream, by the name of its toolset.
    Upstream(String),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is done.
    Done,
    /// Everything that there is.
    Overview(Overview),
    /// The key, which nobody is shown again.
    Key(String),
    /// Where the browser goes next.
    Go(String),
}

/// Everything that a user's page shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// What the user is called, where that is known.
    pub name: String,
    /// Clients that were here, the last one first.
    pub clients: Vec<Client>,
    /// Personal keys, the newest first.
    pub keys: Vec<Key>,
    /// Contexts that were entered, by their paths, in order.
    pub contexts: Vec<String>,
    /// Credentials that toolsets ask for, by the configuration's order.
    pub connections: Vec<Connection>,
    /// What is blocked, in order.
    pub blocks: Vec<Target>,
}

/// A client program of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// What it is blocked by: its OAuth client id where it has one, else its name.
    pub id: String,
    /// What it calls itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The protocol revision that it spoke last.
    pub revision: String,
    /// When it was first here.
    pub first: Millis,
    /// When it was last here.
    pub last: Millis,
    /// Requests that it made.
    pub calls: u64,
    /// Its grants that are not ended.
    pub grants: Vec<String>,
}

/// A personal key, as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its id.
    pub id: String,
    /// What its user calls it.
    pub name: String,
    /// The path of the scope at and below which it is good.
    pub scope: String,
    /// How much it allows.
    pub access: Access,
    /// When it was made.
    pub made: Millis,
    /// When it was last used, if it was.
    pub used: Option<Millis>,
    /// From when on it is good no more.
    pub expires: Option<Millis>,
}

/// A credential that toolsets ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Its name in the configuration.
    pub credential: String,
    /// Toolsets that need it, by name.
    pub toolsets: Vec<String>,
    /// How it stands.
    pub state: ConnectionState,
}

/// How a credential stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// There is none.
    Missing,
    /// There is one.
    Connected {
        /// Since when.
        since: Millis,
        /// Until when the token that is there now is good.
        expires: Option<Millis>,
    },
    /// There was one, and it is good no more: it must be connected again.
    Expired,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_grant_is_told_as_router_oauth_writes_it() {
        let text = r#"{"user":"alice","request":{"end_grant":{"grant":"g"}}}"#;
        let hop = Hop::read(text).unwrap();
        assert_eq!(hop.written().unwrap(), text);
        assert_eq!(hop.request, Request::EndGrant { grant: "g".to_owned() });
        assert_eq!(write_answer(&Ok(Reply::Done)).unwrap(), r#"{"Ok":"done"}"#);
        assert_eq!(read_answer(r#"{"Ok":"done"}"#), Ok(Reply::Done));
        assert!(read_answer("").is_err() && Hop::read("{}").is_err());
    }
}
