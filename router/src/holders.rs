//! Who holds the streams that only wait, and until when: what a user ends must find them, also after
//! the router has slept. It must not know what a stream is for.

use crate::streams::StreamId;
use shared::{
    Error, Millis,
    database::{Database, Row, Tables, Value},
    hop::Holder,
};

/// The holders of one user's streams.
#[derive(Debug)]
pub struct Holders<D> {
    database: D,
    tables: Tables,
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS holders (
    stream INTEGER PRIMARY KEY, client TEXT NOT NULL, credential TEXT NOT NULL, until INTEGER)";

/// The first versions did not know until when.
const UNTIL: [&str; 1] = ["until INTEGER"];

/// Who holds a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// By what.
    pub by: Holder,
    /// Until when, where that is not for ever.
    pub until: Option<Millis>,
}

impl Held {
    /// Whether its time is over.
    #[must_use]
    pub fn is_over(&self, now: Millis) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    fn is_nobody(&self) -> bool {
        *self == Self::default()
    }
}

impl<D: Database> Holders<D> {
    /// The holders in a database. Its table is made with the first.
    pub fn new(database: D) -> Self {
        let tables = Tables::new("holders", &[TABLE]).with_later(&UNTIL);
        Self { database, tables }
    }

    /// Notes who holds a stream. Those of streams that are no more are forgotten.
    ///
    /// # Errors
    /// The database's own.
    pub fn keep(&self, stream: StreamId, held: &Held) -> Result<(), Error> {
        let id: Value = stream.into();
        if held.is_nobody() {
            if self.tables.exist(&self.database)? {
                self.database.run("DELETE FROM holders WHERE stream = ?", &[id])?;
            }
            return Ok(());
        }
        self.tables.make(&self.database)?;
        self.database
            .run("DELETE FROM holders WHERE stream NOT IN (SELECT id FROM streams)", &[])?;
        let until = held.until.map_or(Value::Null, Into::into);
        self.database.run(
            "INSERT OR REPLACE INTO holders (stream, client, credential, until) VALUES (?, ?, ?, ?)",
            &[id, held.by.client.as_str().into(), held.by.credential.as_str().into(), until],
        )?;
        Ok(())
    }

    /// Every stream of which it is known, and who holds it.
    ///
    /// # Errors
    /// The database's own.
    pub fn all(&self) -> Result<Vec<(StreamId, Held)>, Error> {
        if !self.tables.exist(&self.database)? {
            return Ok(Vec::new());
        }
        let statement = "SELECT client, credential, until, stream FROM holders";
        let rows = self.database.run(statement, &[])?;
        rows.iter().map(|row| Ok((StreamId::read(row, 3)?, read(row)?))).collect()
    }

    /// Who holds a stream, if that is known.
    ///
    /// # Errors
    /// The database's own.
    pub fn of(&self, stream: StreamId) -> Result<Held, Error> {
        if !self.tables.exist(&self.database)? {
            return Ok(Held::default());
        }
        let statement = "SELECT client, credential, until FROM holders WHERE stream = ?";
        let rows = self.database.run(statement, &[stream.into()])?;
        rows.first().map_or_else(|| Ok(Held::default()), read)
    }

    /// When the time of the next stream is over, if that of any will be.
    ///
    /// # Errors
    /// The database's own.
    pub fn next_over(&self, now: Millis) -> Result<Option<Millis>, Error> {
        if !self.tables.exist(&self.database)? {
            return Ok(None);
        }
        let rows =
            self.database.run("SELECT min(until) FROM holders WHERE until > ?", &[now.into()])?;
        let next = rows.first().map_or(Ok(None), |row| row.optional_integer(0))?;
        Ok(next.map(Millis::from_i64))
    }
}

fn read(row: &Row) -> Result<Held, Error> {
    let by = Holder { client: row.text(0)?.to_owned(), credential: row.text(1)?.to_owned() };
    Ok(Held { by, until: row.optional_integer(2)?.map(Millis::from_i64) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::EventId;
    use shared::database::native::Embedded;
    use std::rc::Rc;

    #[test]
    fn a_table_of_an_earlier_version_learns_until_when() {
        let database = Rc::new(Embedded::in_memory());
        database.run("CREATE TABLE streams (id INTEGER PRIMARY KEY)", &[]).unwrap();
        database.run("INSERT INTO streams VALUES (1), (2)", &[]).unwrap();
        database.run(&TABLE.replace(", until INTEGER", ""), &[]).unwrap();
        database.run("INSERT INTO holders VALUES (1, 'c', 'key k')", &[]).unwrap();
        let by = Holder { client: "c".to_owned(), credential: "key k".to_owned() };
        let [one, two] = ["1-0", "2-0"].map(|id| EventId::parse(id).unwrap().stream);
        let holders = Holders::new(Rc::clone(&database));
        assert_eq!(holders.next_over(Millis(0)).unwrap(), None);
        let before = Held { by, until: None };
        assert_eq!(holders.of(one).unwrap(), before);
        let held = Held { until: Some(Millis(7)), ..before };
        holders.keep(two, &held).unwrap();
        for holders in [&holders, &Holders::new(Rc::clone(&database))] {
            assert_eq!(holders.of(two).unwrap(), held);
            assert_eq!(holders.next_over(Millis(6)).unwrap(), Some(Millis(7)));
            assert_eq!(holders.next_over(Millis(7)).unwrap(), None);
        }
        // Whoever goes on with it holds it, also who can be told from nobody.
        holders.keep(two, &Held::default()).unwrap();
        assert_eq!(holders.of(two).unwrap(), Held::default());
    }
}
