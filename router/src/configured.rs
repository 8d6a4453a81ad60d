//! Which configuration a user's clients know: lists come from it, and a client keeps its copy of
//! them until it is told. Kept in SQLite, where it is written when it is another one and else only
//! where something is written anyway. It must not know how a client is told.

use sha2::{Digest as _, Sha256};
use shared::{
    Error, Millis, SessionId,
    config::Config,
    database::{Database, has_table},
    limits,
};
use std::{cell::Cell, collections::BTreeSet, fmt::Write as _, rc::Rc};

/// A configuration in a few letters: another one has others.
#[must_use]
pub fn fingerprint(config: &Config) -> String {
    // Everything in it is in order, so it is always the same text.
    let text = format!("{config:?}");
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// What is stored, against what is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing is stored.
    Nothing,
    /// The same, since then.
    Same {
        /// When it became another one; the epoch if it never did.
        since: Millis,
    },
    /// Another one was stored. Now this one is, and every session has to be told.
    Other,
}

/// What one user's clients know.
#[derive(Debug)]
pub struct Configured<D> {
    database: D,
    config: Rc<Config>,
    /// What was found; `None` until it is looked for.
    found: Cell<Option<Found>>,
}

const TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS configured (
        one INTEGER PRIMARY KEY CHECK (one = 1), fingerprint TEXT NOT NULL, since INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS untold (session TEXT PRIMARY KEY) WITHOUT ROWID",
];

impl<D: Database> Configured<D> {
    /// What is known in a database. Its tables are made when it is kept first.
    pub const fn new(database: D, config: Rc<Config>) -> Self {
        Self { database, config, found: Cell::new(None) }
    }

    /// Looks what is stored, once; [`Found::Other`] is said once, and stored at once.
    ///
    /// # Errors
    /// The database's own.
    pub fn look(&self, now: Millis) -> Result<Found, Error> {
        if let Some(found) = self.found.get() {
            return Ok(found);
        }
        let found = self.stored(now)?;
        self.found.set(Some(match found {
            Found::Other => Found::Same { since: now },
            found => found,
        }));
        Ok(found)
    }

    fn stored(&self, now: Millis) -> Result<Found, Error> {
        if !has_table(&self.database, "configured")? {
            return Ok(Found::Nothing);
        }
        let rows = self.database.run("SELECT fingerprint, since FROM configured", &[])?;
        let Some(row) = rows.first() else {
            return Ok(Found::Nothing);
        };
        let current = fingerprint(&self.config);
        if row.text(0)? == current {
            return Ok(Found::Same { since: Millis::from_i64(row.integer(1)?) });
        }
        let statement = "UPDATE configured SET fingerprint = ?, since = ?";
        self.database.run(statement, &[current.into(), now.into()])?;
        Ok(Found::Other)
    }

    /// Keeps what is configured, where nothing was stored.
    ///
    /// # Errors
    /// The database's own.
    pub fn keep(&self, now: Millis) -> Result<(), Error> {
        if self.look(now)? != Found::Nothing {
            return Ok(());
        }
        TABLES.iter().try_for_each(|table| self.database.run(table, &[]).map(drop))?;
        let statement = "INSERT INTO configured (one, fingerprint, since) VALUES (1, ?, 0)";
        self.database.run(statement, &[fingerprint(&self.config).into()])?;
        self.found.set(Some(Found::Same { since: Millis(0) }));
        Ok(())
    }

    /// Notes that every session has to be told, but for these.
    ///
    /// # Errors
    /// The database's own.
    pub fn tell_later(&self, told: &BTreeSet<SessionId>) -> Result<(), Error> {
        if !has_table(&self.database, "sessions")? {
            return Ok(());
        }
        // Those that have ended in the meantime go.
        self.database.run("DELETE FROM untold", &[])?;
        self.database.run("INSERT INTO untold (session) SELECT id FROM sessions", &[])?;
        told.iter().try_for_each(|session| self.told(session).map(drop))
    }

    /// Notes that a session is told now; whether it had to be.
    ///
    /// # Errors
    /// The database's own.
    pub fn told(&self, session: &SessionId) -> Result<bool, Error> {
        if !matches!(self.found.get(), Some(Found::Same { .. })) {
            return Ok(false);
        }
        let statement = "DELETE FROM untold WHERE session = ? RETURNING session";
        Ok(!self.database.run(statement, &[session.as_str().into()])?.is_empty())
    }

    /// Whether it has become another one so recently that whoever has no session may have lists of
    /// the one before.
    #[must_use]
    pub fn is_fresh(&self, now: Millis) -> bool {
        match self.found.get() {
            Some(Found::Same { since }) => {
                since != Millis(0) && now.since(since) < limits::TOOLS_TTL_MS
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::{config::Written, database::native::Embedded};

    fn config(toolsets: &str) -> Rc<Config> {
        let written = Written { toolsets: Some(toolsets), ..Written::default() };
        Rc::new(Config::parse(written).unwrap())
    }

    const ONE: &str = r#"[{"kind":"memory"}]"#;
    const OTHER: &str = r#"[{"kind":"memory","hide":{"org":["forget"]}}]"#;

    #[test]
    fn another_configuration_has_another_fingerprint() {
        assert_eq!(fingerprint(&config(ONE)), fingerprint(&Config::default()));
        assert_eq!(fingerprint(&config(ONE)).len(), 64);
        let mcp = r#"[{"kind":"memory"},{"kind":"mcp","url":"https://a.test/"}]"#;
        let moved = r#"[{"kind":"memory"},{"kind":"mcp","url":"https://b.test/"}]"#;
        let all: BTreeSet<_> = [ONE, OTHER, mcp, moved].map(|t| fingerprint(&config(t))).into();
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn it_is_found_once_that_it_is_another_one() {
        let database = Rc::new(Embedded::in_memory());
        let open = |toolsets| Configured::new(Rc::clone(&database), config(toolsets));
        let first = open(ONE);
        assert_eq!(first.look(Millis(5)).unwrap(), Found::Nothing);
        first.keep(Millis(5)).unwrap();
        first.keep(Millis(6)).unwrap();
        let same = Found::Same { since: Millis(0) };
        assert_eq!(first.look(Millis(6)).unwrap(), same);
        let again = open(ONE);
        assert_eq!(again.look(Millis(7)).unwrap(), same);
        assert!(!again.is_fresh(Millis(7)));
        let other = open(OTHER);
        assert_eq!(other.look(Millis(10)).unwrap(), Found::Other);
        for configured in [other, open(OTHER)] {
            let since = Found::Same { since: Millis(10) };
            assert_eq!(configured.look(Millis(11)).unwrap(), since);
            assert!(configured.is_fresh(Millis(9 + limits::TOOLS_TTL_MS)));
            assert!(!configured.is_fresh(Millis(10 + limits::TOOLS_TTL_MS)));
        }
    }
}
