//! Who holds the streams that only wait: what a user ends must find them, also after the router has
//! slept. It must not know what a stream is for.

use crate::streams::StreamId;
use shared::{
    Error,
    database::{Database, Tables},
    hop::Holder,
};

/// The holders of one user's streams.
#[derive(Debug)]
pub struct Holders<D> {
    database: D,
    tables: Tables,
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS holders (
    stream INTEGER PRIMARY KEY, client TEXT NOT NULL, credential TEXT NOT NULL)";

impl<D: Database> Holders<D> {
    /// The holders in a database. Its table is made with the first.
    pub fn new(database: D) -> Self {
        Self { database, tables: Tables::new("holders", &[TABLE]) }
    }

    /// Notes who holds a stream. Those of streams that are no more are forgotten.
    ///
    /// # Errors
    /// The database's own.
    pub fn keep(&self, stream: StreamId, holder: &Holder) -> Result<(), Error> {
        self.tables.make(&self.database)?;
        self.database
            .run("DELETE FROM holders WHERE stream NOT IN (SELECT id FROM streams)", &[])?;
        self.database.run(
            "INSERT OR REPLACE INTO holders (stream, client, credential) VALUES (?, ?, ?)",
            &[stream.into(), holder.client.as_str().into(), holder.credential.as_str().into()],
        )?;
        Ok(())
    }

    /// Who holds a stream, if that is known.
    ///
    /// # Errors
    /// The database's own.
    pub fn of(&self, stream: StreamId) -> Result<Holder, Error> {
        if !self.tables.exist(&self.database)? {
            return Ok(Holder::default());
        }
        let statement = "SELECT client, credential FROM holders WHERE stream = ?";
        let rows = self.database.run(statement, &[stream.into()])?;
        let Some(row) = rows.first() else {
            return Ok(Holder::default());
        };
        Ok(Holder { client: row.text(0)?.to_owned(), credential: row.text(1)?.to_owned() })
    }
}
