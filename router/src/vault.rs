//! The credentials of one user at upstreams: what is kept of them, sealed under the deployment's
//! keys for this user and this credential, and never in clear. It must not know how one is
//! connected or refreshed, nor who asks for it.

use identity::{
    keyring::{Fresh, KeyRing},
    upstream_login::{Attempt, digest, registration::Client, tokens::Tokens},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shared::{
    Error, Kind, Millis, UserId,
    database::{Database, Row, Tables, Value},
    limits,
};
use std::{fmt, rc::Rc};

/// What is sealed of a credential.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The access token.
    pub access: String,
    /// The refresh token.
    pub refresh: Option<String>,
    /// How long the access token was good from the beginning, where that is known.
    pub lifetime_ms: Option<u64>,
    /// Where it is refreshed.
    pub token_endpoint: String,
    /// Where its tokens are given back, where that is known.
    #[serde(default)]
    pub revocation_endpoint: Option<String>,
    /// Who this program is there.
    pub client: Client,
    /// What it is good for (RFC 8707).
    pub resource: String,
    /// What the credential was in the configuration when it was connected.
    pub fingerprint: String,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("resource", &self.resource).finish_non_exhaustive()
    }
}

impl Kept {
    /// What is kept once a connection has its tokens.
    #[must_use]
    pub fn connected(attempt: Attempt, tokens: Tokens) -> Self {
        Self {
            access: tokens.access,
            refresh: tokens.refresh,
            lifetime_ms: tokens.lifetime_ms,
            token_endpoint: attempt.token_endpoint,
            revocation_endpoint: attempt.revocation_endpoint,
            client: attempt.client,
            resource: attempt.resource,
            fingerprint: attempt.fingerprint,
        }
    }

    /// The same with newer tokens. A refresh token that is not replaced stays (RFC 6749, 6).
    #[must_use]
    pub fn renewed(self, tokens: Tokens) -> Self {
        Self {
            access: tokens.access,
            refresh: tokens.refresh.or(self.refresh),
            lifetime_ms: tokens.lifetime_ms,
            ..self
        }
    }

    /// What its token is known by.
    #[must_use]
    pub fn id(&self) -> String {
        digest(&self.access)
    }
}

/// A credential that is there, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its name.
    pub name: String,
    /// What is sealed of it.
    pub kept: Kept,
    /// The same as it is stored: what says whether it is still the same.
    sealed: String,
    /// Since when it is connected.
    pub since: Millis,
    /// When its token was got.
    pub got: Millis,
    /// When it is to be refreshed without being asked for.
    due: Option<Millis>,
    /// Whether its token was handed out.
    is_used: bool,
    /// Whether it is good no more, and must be connected again.
    pub is_over: bool,
}

impl Held {
    /// Until when the token is good, where that is known.
    #[must_use]
    pub fn expires(&self) -> Option<Millis> {
        self.kept.lifetime_ms.map(|lifetime| self.got.after(lifetime))
    }

    /// Whether the token is good at this time, and for as long as a request takes to get there.
    #[must_use]
    pub fn is_good(&self, now: Millis) -> bool {
        self.kept.lifetime_ms.is_none_or(|lifetime| {
            let margin = (lifetime / 10).min(limits::TOKEN_MARGIN_MS);
            now < self.got.after(lifetime.saturating_sub(margin))
        })
    }

    /// Whether the token is good at this very time.
    #[must_use]
    pub fn is_alive(&self, now: Millis) -> bool {
        self.expires().is_none_or(|expires| now < expires)
    }

    /// Whether its token was got just now.
    #[must_use]
    pub fn is_young(&self, now: Millis) -> bool {
        now.since(self.got) < limits::TOKEN_YOUNG_MS
    }
}

/// When a token is to be refreshed that is got now: ahead of its end, and not all users at once.
fn due(kept: &Kept, now: Millis, jitter: u8) -> Option<Millis> {
    let lifetime = kept.lifetime_ms.filter(|_| kept.refresh.is_some())?;
    let ahead = (lifetime / 5).min(limits::TOKEN_AHEAD_MS);
    let jitter = ahead.saturating_mul(u64::from(jitter)) / 256;
    Some(now.after(lifetime.saturating_sub(ahead).saturating_sub(jitter)))
}

/// What seals and opens: the deployment's keys, for one user.
pub struct Safe<'a> {
    /// The keys.
    pub ring: Rc<KeyRing>,
    /// Whose credentials.
    pub user: &'a UserId,
    /// Fresh randomness.
    pub random: &'a dyn Fn() -> Result<[u8; 32], Error>,
}

impl fmt::Debug for Safe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Safe").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Safe<'_> {
    /// What is sealed for one user and one thing is opened for no other.
    fn purpose(&self, kind: &str, name: &str) -> String {
        format!("{kind} {} {name}", self.user.object_name())
    }

    fn seal(&self, kind: &str, name: &str, it: &impl Serialize) -> Result<String, Error> {
        let plain = serde_json::to_vec(it).map_err(|e| Error::internal(e.to_string()))?;
        let (fresh, _) = split((self.random)()?);
        let sealed = self.ring.seal(&self.purpose(kind, name), &plain, fresh);
        sealed.ok_or_else(|| Error::internal("a credential that cannot be sealed"))
    }

    fn open<T: DeserializeOwned>(&self, kind: &str, name: &str, sealed: &str) -> Option<T> {
        let plain = self.ring.open(&self.purpose(kind, name), sealed)?;
        serde_json::from_slice(&plain).ok()
    }

    fn jitter(&self) -> Result<u8, Error> {
        Ok(split((self.random)()?).1)
    }
}

/// A nonce and one byte more.
fn split(random: [u8; 32]) -> (Fresh, u8) {
    let mut fresh = Fresh::default();
    fresh.iter_mut().zip(random).for_each(|(part, byte)| *part = byte);
    (fresh, random.last().copied().unwrap_or(0))
}

/// The credentials of one user, the connections that were begun, and who this program is at
/// authorization servers.
#[derive(Debug)]
pub struct Vault<D> {
    database: D,
    tables: Tables,
}

const TABLES: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS credentials (
        name TEXT PRIMARY KEY, sealed TEXT NOT NULL, since INTEGER NOT NULL, got INTEGER NOT NULL,
        due INTEGER, is_used INTEGER NOT NULL, is_over INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS connections (
        state TEXT PRIMARY KEY, sealed TEXT NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS registrations (
        place TEXT PRIMARY KEY, sealed TEXT NOT NULL, made INTEGER NOT NULL) WITHOUT ROWID",
];

const COLUMNS: &str = "name, sealed, since, got, due, is_used, is_over";

const CREDENTIAL: &str = "credential";
const CONNECTION: &str = "connection";
const REGISTRATION: &str = "registration";

impl<D: Database> Vault<D> {
    /// The credentials in a database. Its tables are made when the first connection begins.
    pub fn new(database: D) -> Self {
        Self { database, tables: Tables::new("registrations", &TABLES) }
    }

    /// A credential by its name. One that cannot be opened any more is none.
    ///
    /// # Errors
    /// The database's own.
    pub fn find(&self, safe: &Safe<'_>, name: &str) -> Result<Option<Held>, Error> {
        if !self.tables.exist(&self.database)? {
            return Ok(None);
        }
        let statement = format!("SELECT {COLUMNS} FROM credentials WHERE name = ?");
        let rows = self.database.run(&statement, &[name.into()])?;
        let Some(mut held) = rows.first().map(|row| read(safe, row)).transpose()?.flatten() else {
            return Ok(None);
        };
        if !safe.ring.is_current(&held.sealed) {
            let sealed = safe.seal(CREDENTIAL, name, &held.kept)?;
            self.set(&held, "sealed = ?", sealed.as_str().into())?;
            held.sealed = sealed;
        }
        Ok(Some(held))
    }

    /// Keeps a credential that was connected now, in the place of any other.
    ///
    /// # Errors
    /// The database's own.
    pub fn put(&self, safe: &Safe<'_>, name: &str, kept: &Kept, now: Millis) -> Result<(), Error> {
        self.tables.make(&self.database)?;
        let sealed = safe.seal(CREDENTIAL, name, kept)?;
        let due = due(kept, now, safe.jitter()?).map_or(Value::Null, Value::from);
        let statement = "INSERT OR REPLACE INTO credentials
            (name, sealed, since, got, due, is_used, is_over) VALUES (?, ?, ?, ?, ?, 0, 0)";
        let arguments = [name.into(), sealed.into(), now.into(), now.into(), due];
        self.database.run(statement, &arguments).map(drop)
    }

    /// Keeps newer tokens of a credential; not if it is another one or gone by now, and then that
    /// is said.
    ///
    /// # Errors
    /// The database's own.
    pub fn renew(
        &self,
        safe: &Safe<'_>,
        held: &Held,
        kept: &Kept,
        now: Millis,
    ) -> Result<bool, Error> {
        let sealed = safe.seal(CREDENTIAL, &held.name, kept)?;
        let due = due(kept, now, safe.jitter()?).map_or(Value::Null, Value::from);
        let rows = self.database.run(
            "UPDATE credentials SET sealed = ?, got = ?, due = ?, is_used = 0, is_over = 0
             WHERE name = ? AND sealed = ? RETURNING name",
            &[
                sealed.into(),
                now.into(),
                due,
                held.name.as_str().into(),
                held.sealed.as_str().into(),
            ],
        )?;
        Ok(!rows.is_empty())
    }

    fn set(&self, held: &Held, what: &str, value: Value) -> Result<(), Error> {
        let statement = format!("UPDATE credentials SET {what} WHERE name = ? AND sealed = ?");
        let arguments = [value, held.name.as_str().into(), held.sealed.as_str().into()];
        self.database.run(&statement, &arguments).map(drop)
    }

    /// The token is handed out. When the object is to be woken for it, if that is news: what nobody
    /// uses is not refreshed ahead.
    ///
    /// # Errors
    /// The database's own.
    pub fn use_now(&self, held: &Held) -> Result<Option<Millis>, Error> {
        match (held.due, held.is_used) {
            (Some(due), false) => {
                self.set(held, "is_used = ?", 1_i64.into())?;
                Ok(Some(due))
            }
            _ => Ok(None),
        }
    }

    /// The credential is good no more.
    ///
    /// # Errors
    /// The database's own.
    pub fn end(&self, held: &Held) -> Result<(), Error> {
        self.set(held, "due = NULL, is_over = ?", 1_i64.into())
    }

    /// Forgets a credential; whether there was one.
    ///
    /// # Errors
    /// The database's own.
    pub fn forget(&self, name: &str) -> Result<bool, Error> {
        if !self.tables.exist(&self.database)? {
            return Ok(false);
        }
        let statement = "DELETE FROM credentials WHERE name = ? RETURNING name";
        Ok(!self.database.run(statement, &[name.into()])?.is_empty())
    }

    /// The names of those that are to be refreshed now, each once.
    ///
    /// # Errors
    /// The database's own.
    pub fn take_due(&self, now: Millis) -> Result<Vec<String>, Error> {
        if !self.tables.exist(&self.database)? {
            return Ok(Vec::new());
        }
        let statement = "UPDATE credentials SET due = NULL
            WHERE due <= ? AND is_used = 1 AND is_over = 0 RETURNING name";
        let rows = self.database.run(statement, &[now.into()])?;
        rows.iter().map(|row| row.text(0).map(ToOwned::to_owned)).collect()
    }

    /// Ends connections that took too long, and says when to look again at anything.
    ///
    /// # Errors
    /// The database's own.
    pub fn expire(&self, now: Millis) -> Result<Option<Millis>, Error> {
        if !self.tables.exist(&self.database)? {
            return Ok(None);
        }
        self.database.run("DELETE FROM connections WHERE until <= ?", &[now.into()])?;
        let rows = self.database.run(
            "SELECT due FROM credentials WHERE due IS NOT NULL AND is_used = 1 AND is_over = 0
             UNION ALL SELECT until FROM connections ORDER BY 1 LIMIT 1",
            &[],
        )?;
        rows.first().map(|row| row.integer(0).map(Millis::from_i64)).transpose()
    }

    /// Keeps a connection that begins now, under its state; says when it ends. Where there are too
    /// many, the oldest goes.
    ///
    /// # Errors
    /// The database's own.
    pub fn begin(
        &self,
        safe: &Safe<'_>,
        state: &str,
        attempt: &Attempt,
        now: Millis,
    ) -> Result<Millis, Error> {
        self.tables.make(&self.database)?;
        self.expire(now)?;
        let (state, until) = (digest(state), now.after(limits::CONNECTION_MS_MAX));
        let keep = i64::try_from(limits::CONNECTIONS_MAX.saturating_sub(1)).unwrap_or(i64::MAX);
        self.database.run(
            "DELETE FROM connections WHERE state IN
                (SELECT state FROM connections ORDER BY until DESC, state LIMIT -1 OFFSET ?)",
            &[keep.into()],
        )?;
        let sealed = safe.seal(CONNECTION, &state, attempt)?;
        let statement =
            "INSERT OR REPLACE INTO connections (state, sealed, until) VALUES (?, ?, ?)";
        self.database.run(statement, &[state.into(), sealed.into(), until.into()])?;
        Ok(until)
    }

    /// The connection of this state, which is none from here on.
    ///
    /// # Errors
    /// [`Kind::Invalid`] where there is none, and the database's own.
    pub fn take(&self, safe: &Safe<'_>, state: &str, now: Millis) -> Result<Attempt, Error> {
        let unknown = || {
            let text = "this connection was not begun here by you, or too long ago; begin it again";
            Error::new(Kind::Invalid, text)
        };
        if !self.tables.exist(&self.database)? {
            return Err(unknown());
        }
        self.expire(now)?;
        let state = digest(state);
        let statement = "DELETE FROM connections WHERE state = ? RETURNING sealed";
        let rows = self.database.run(statement, &[state.as_str().into()])?;
        let sealed = rows.first().ok_or_else(unknown)?.text(0)?;
        safe.open(CONNECTION, &state, sealed).ok_or_else(unknown)
    }

    /// Who this program is at a place, if it is still known there.
    ///
    /// # Errors
    /// The database's own.
    pub fn client(
        &self,
        safe: &Safe<'_>,
        place: &str,
        now: Millis,
    ) -> Result<Option<Client>, Error> {
        if !self.tables.exist(&self.database)? {
            return Ok(None);
        }
        let statement = "SELECT sealed FROM registrations WHERE place = ?";
        let rows = self.database.run(statement, &[place.into()])?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let client: Option<Client> = safe.open(REGISTRATION, place, row.text(0)?);
        Ok(client.filter(|client| client.is_good(now)))
    }

    /// Keeps who this program is at a place. Where there are too many, the oldest goes.
    ///
    /// # Errors
    /// The database's own.
    pub fn keep_client(
        &self,
        safe: &Safe<'_>,
        place: &str,
        client: &Client,
        now: Millis,
    ) -> Result<(), Error> {
        self.tables.make(&self.database)?;
        let sealed = safe.seal(REGISTRATION, place, client)?;
        let statement =
            "INSERT OR REPLACE INTO registrations (place, sealed, made) VALUES (?, ?, ?)";
        self.database.run(statement, &[place.into(), sealed.into(), now.into()])?;
        self.database.run(
            "DELETE FROM registrations WHERE place IN
                (SELECT place FROM registrations ORDER BY made DESC, place LIMIT -1 OFFSET ?)",
            &[limits::REGISTRATIONS_MAX.into()],
        )?;
        Ok(())
    }

    /// Forgets every registration of one client: it is not known any more.
    ///
    /// # Errors
    /// The database's own.
    pub fn forget_client(&self, safe: &Safe<'_>, id: &str) -> Result<(), Error> {
        let rows = self.database.run("SELECT place, sealed FROM registrations", &[])?;
        for row in &rows {
            let place = row.text(0)?;
            let client: Option<Client> = safe.open(REGISTRATION, place, row.text(1)?);
            if client.is_none_or(|client| client.id == id) {
                let statement = "DELETE FROM registrations WHERE place = ?";
                self.database.run(statement, &[place.into()])?;
            }
        }
        Ok(())
    }
}

fn read(safe: &Safe<'_>, row: &Row) -> Result<Option<Held>, Error> {
    let (name, sealed) = (row.text(0)?.to_owned(), row.text(1)?.to_owned());
    let Some(kept) = safe.open(CREDENTIAL, &name, &sealed) else {
        return Ok(None);
    };
    let due = match row.0.get(4) {
        Some(Value::Integer(due)) => Some(Millis::from_i64(*due)),
        _ => None,
    };
    Ok(Some(Held {
        name,
        kept,
        sealed,
        since: Millis::from_i64(row.integer(2)?),
        got: Millis::from_i64(row.integer(3)?),
        due,
        is_used: row.integer(5)? != 0,
        is_over: row.integer(6)? != 0,
    }))
}
