//! Personal keys of one user, as they are kept: what a key is for, and the digest of what was shown
//! once. A key says itself what it is good for (`identity::key`); that it is here says that it was
//! not revoked. It must not know requests.

use identity::account::{Key, NewKey};
use shared::{
    Error, Kind, Millis,
    database::{Database, Row, Tables},
    limits,
};
use std::{cell::RefCell, collections::BTreeMap};

/// The personal keys of one user.
#[derive(Debug)]
pub struct Keys<D> {
    database: D,
    /// Those that are there, and when each was last used as far as that is stored.
    known: RefCell<Option<BTreeMap<String, Option<Millis>>>>,
    tables: Tables,
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, digest TEXT NOT NULL, name TEXT NOT NULL, scope TEXT NOT NULL,
    access TEXT NOT NULL, made INTEGER NOT NULL, used INTEGER, expires INTEGER) WITHOUT ROWID";

impl<D: Database> Keys<D> {
    /// The keys in a database. Its table is made with the first.
    pub fn new(database: D) -> Self {
        Self { database, known: RefCell::default(), tables: Tables::new("keys", &[TABLE]) }
    }

    /// Keeps a key that was made. Those that are over make room.
    ///
    /// # Errors
    /// [`Kind::Limit`] for one too many, and the database's own.
    pub fn keep(&self, id: &str, digest: &str, key: &NewKey, now: Millis) -> Result<(), Error> {
        self.tables.make(&self.database)?;
        self.database.run("DELETE FROM keys WHERE expires <= ?", &[now.into()])?;
        *self.known.borrow_mut() = None;
        if self.list()?.len() >= limits::KEYS_PER_USER_MAX {
            let text = format!("you have {} keys; revoke one", limits::KEYS_PER_USER_MAX);
            return Err(Error::new(Kind::Limit, text));
        }
        let access = serde_json::to_string(&key.access);
        let access = access.map_err(|error| Error::internal(error.to_string()))?;
        self.database.run(
            "INSERT INTO keys (id, digest, name, scope, access, made, expires)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
            &[
                id.into(),
                digest.into(),
                key.name.as_str().into(),
                key.scope.as_str().into(),
                access.into(),
                now.into(),
                key.expires.map_or(shared::database::Value::Null, Into::into),
            ],
        )?;
        *self.known.borrow_mut() = None;
        Ok(())
    }

    /// Whether a key was not revoked. That it is used is noted now and then.
    ///
    /// # Errors
    /// The database's own.
    pub fn use_key(&self, id: &str, now: Millis) -> Result<bool, Error> {
        self.load()?;
        let mut known = self.known.borrow_mut();
        let Some(used) = known.as_mut().and_then(|known| known.get_mut(id)) else {
            return Ok(false);
        };
        if used.is_none_or(|used| now.since(used) >= limits::SESSION_SEEN_STEP_MS) {
            let statement = "UPDATE keys SET used = ? WHERE id = ?";
            self.database.run(statement, &[now.into(), id.into()])?;
            *used = Some(now);
        }
        Ok(true)
    }

    /// Whether a key was not revoked.
    ///
    /// # Errors
    /// The database's own.
    pub fn is_there(&self, id: &str) -> Result<bool, Error> {
        self.load()?;
        Ok(self.known.borrow().as_ref().is_some_and(|known| known.contains_key(id)))
    }

    fn load(&self) -> Result<(), Error> {
        if self.known.borrow().is_none() {
            let known = self.list()?.into_iter().map(|key| (key.id, key.used)).collect();
            *self.known.borrow_mut() = Some(known);
        }
        Ok(())
    }

    /// Revokes a key. One that is not there is revoked already.
    ///
    /// # Errors
    /// The database's own.
    pub fn revoke(&self, id: &str) -> Result<(), Error> {
        if self.tables.exist(&self.database)? {
            self.database.run("DELETE FROM keys WHERE id = ?", &[id.into()])?;
            *self.known.borrow_mut() = None;
        }
        Ok(())
    }

    /// Every key, the newest first.
    ///
    /// # Errors
    /// The database's own.
    pub fn list(&self) -> Result<Vec<Key>, Error> {
        if !self.tables.exist(&self.database)? {
            return Ok(Vec::new());
        }
        let rows = self.database.run(
            "SELECT id, name, scope, access, made, used, expires FROM keys ORDER BY made DESC, id",
            &[],
        )?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &Row) -> Result<Key, Error> {
    let time = |column| Ok::<_, Error>(row.optional_integer(column)?.map(Millis::from_i64));
    let access = serde_json::from_str(row.text(3)?);
    Ok(Key {
        id: row.text(0)?.to_owned(),
        name: row.text(1)?.to_owned(),
        scope: row.text(2)?.to_owned(),
        access: access.map_err(|error| Error::internal(format!("a key: {error}")))?,
        made: Millis::from_i64(row.integer(4)?),
        used: time(5)?,
        expires: time(6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use identity::caller::Access;
    use shared::database::native::Embedded;
    use std::rc::Rc;

    fn key(expires: Option<Millis>) -> NewKey {
        let (name, scope) = ("ci".to_owned(), "/mcp/acme".to_owned());
        NewKey { name, scope, access: Access::Read, expires }
    }

    #[test]
    fn a_key_is_good_until_it_is_revoked() {
        let database = Rc::new(Embedded::in_memory());
        let keys = Keys::new(Rc::clone(&database));
        assert!(!keys.use_key("k", Millis(1)).unwrap());
        keys.keep("k", "digest", &key(None), Millis(1)).unwrap();
        for keys in [&keys, &Keys::new(Rc::clone(&database))] {
            assert!(keys.use_key("k", Millis(5)).unwrap());
            assert!(!keys.use_key("other", Millis(5)).unwrap());
        }
        let listed = keys.list().unwrap();
        assert_eq!((listed[0].access, listed[0].used), (Access::Read, Some(Millis(5))));
        keys.revoke("k").unwrap();
        for keys in [&keys, &Keys::new(Rc::clone(&database))] {
            assert!(!keys.use_key("k", Millis(6)).unwrap());
        }
    }

    #[test]
    fn keys_that_are_over_make_room() {
        let keys = Keys::new(Embedded::in_memory());
        for n in 0..limits::KEYS_PER_USER_MAX {
            let expires = (n == 0).then_some(Millis(10));
            keys.keep(&n.to_string(), "d", &key(expires), Millis(1)).unwrap();
        }
        let error = keys.keep("more", "d", &key(None), Millis(9)).unwrap_err();
        assert_eq!(error.kind, Kind::Limit);
        keys.keep("more", "d", &key(None), Millis(10)).unwrap();
        assert!(!keys.use_key("0", Millis(10)).unwrap());
    }
}
