//! The little of SQL that both tiers need: one statement with positional arguments, all its rows
//! at once. It must not know which database answers; a Durable Object's SQLite does in production,
//! an embedded one natively.

use crate::Error;
use std::cell::Cell;

/// A value in a row or an argument.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// At most 2^53 in size: the platform's integers are doubles.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// Text.
    Text(String),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(integer: i64) -> Self {
        Self::Integer(integer)
    }
}

impl From<u32> for Value {
    fn from(integer: u32) -> Self {
        Self::Integer(i64::from(integer))
    }
}

impl From<crate::Millis> for Value {
    fn from(millis: crate::Millis) -> Self {
        Self::Integer(millis.to_i64())
    }
}

/// One row, its columns by position.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(pub Vec<Value>);

impl Row {
    /// The text in a column.
    ///
    /// # Errors
    /// An internal error if there is no text there: the statement and its reader disagree.
    pub fn text(&self, column: usize) -> Result<&str, Error> {
        match self.0.get(column) {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(Error::internal(format!("column {column} is no text"))),
        }
    }

    /// The integer in a column. A sum over nothing (NULL) is zero.
    ///
    /// # Errors
    /// An internal error if there is no integer there.
    pub fn integer(&self, column: usize) -> Result<i64, Error> {
        match self.0.get(column) {
            Some(Value::Integer(integer)) => Ok(*integer),
            Some(Value::Null) => Ok(0),
            _ => Err(Error::internal(format!("column {column} is no integer"))),
        }
    }

    /// The integer in a column that may have none.
    ///
    /// # Errors
    /// An internal error if there is something else.
    pub fn optional_integer(&self, column: usize) -> Result<Option<i64>, Error> {
        match self.0.get(column) {
            Some(Value::Null) => Ok(None),
            _ => self.integer(column).map(Some),
        }
    }
}

/// One object's own database.
pub trait Database {
    /// Runs one statement and returns its rows. All statements run between two awaits of an
    /// object take effect together or not at all.
    ///
    /// # Errors
    /// An internal error whose detail is the database's message.
    fn run(&self, statement: &str, arguments: &[Value]) -> Result<Vec<Row>, Error>;
}

/// Whether a table has been made: an object's tables are, when they are first needed.
///
/// # Errors
/// The database's own.
pub fn has_table(database: &(impl Database + ?Sized), name: &str) -> Result<bool, Error> {
    let statement = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?";
    Ok(!database.run(statement, &[name.into()])?.is_empty())
}

/// The tables of one part of an object's state: made together, when there is first something to keep,
/// so that an object of which nothing is kept has no database.
#[derive(Debug)]
pub struct Tables {
    /// One of them, by which it is known whether they were made.
    name: &'static str,
    /// What makes them.
    statements: &'static [&'static str],
    /// Columns of that one which earlier versions did not have, as they are written in its statement.
    later: &'static [&'static str],
    are_made: Cell<bool>,
}

impl Tables {
    /// Those that these statements make. `name` is the one that is made last.
    #[must_use]
    pub const fn new(name: &'static str, statements: &'static [&'static str]) -> Self {
        Self { name, statements, later: &[], are_made: Cell::new(false) }
    }

    /// The same, where earlier versions made the one of that name without these columns: it gets them
    /// when it is first looked for. Each is what the statement that makes it says of the column.
    #[must_use]
    pub const fn with_later(self, later: &'static [&'static str]) -> Self {
        Self { later, ..self }
    }

    /// Whether they were made. That they were is asked of the database once.
    ///
    /// # Errors
    /// The database's own.
    pub fn exist(&self, database: &(impl Database + ?Sized)) -> Result<bool, Error> {
        if !self.are_made.get() && has_table(database, self.name)? {
            self.widen(database)?;
            self.are_made.set(true);
        }
        Ok(self.are_made.get())
    }

    fn widen(&self, database: &(impl Database + ?Sized)) -> Result<(), Error> {
        if self.later.is_empty() {
            return Ok(());
        }
        let statement = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?";
        let rows = database.run(statement, &[self.name.into()])?;
        let made = rows.first().map_or(Ok(""), |row| row.text(0))?;
        for column in self.later.iter().filter(|column| !made.contains(**column)) {
            database.run(&format!("ALTER TABLE {} ADD COLUMN {column}", self.name), &[])?;
        }
        Ok(())
    }

    /// Makes them, if they are not there.
    ///
    /// # Errors
    /// The database's own.
    pub fn make(&self, database: &(impl Database + ?Sized)) -> Result<(), Error> {
        if !self.exist(database)? {
            self.statements.iter().try_for_each(|text| database.run(text, &[]).map(drop))?;
            self.are_made.set(true);
        }
        Ok(())
    }
}

impl<D: Database + ?Sized> Database for std::rc::Rc<D> {
    fn run(&self, statement: &str, arguments: &[Value]) -> Result<Vec<Row>, Error> {
        (**self).run(statement, arguments)
    }
}

/// A database for native runs: tests and the simulation.
#[cfg(any(test, feature = "native"))]
pub mod native {
    use super::{Database, Error, Row, Value};
    use rusqlite::{Connection, types};

    /// An embedded SQLite in memory. It outlives the object that uses it, as an object's storage
    /// does.
    #[derive(Debug)]
    pub struct Embedded(Connection);

    impl Embedded {
        /// An empty one.
        ///
        /// # Panics
        /// If SQLite cannot open a database in memory. Native runs only.
        #[must_use]
        #[allow(clippy::expect_used, reason = "native runs only: tests and the simulation")]
        pub fn in_memory() -> Self {
            Self(Connection::open_in_memory().expect("a database in memory"))
        }
    }

    impl Database for Embedded {
        fn run(&self, statement: &str, arguments: &[Value]) -> Result<Vec<Row>, Error> {
            self.query(statement, arguments).map_err(|error| Error::internal(error.to_string()))
        }
    }

    impl Embedded {
        fn query(&self, statement: &str, arguments: &[Value]) -> rusqlite::Result<Vec<Row>> {
            let mut prepared = self.0.prepare_cached(statement)?;
            let columns = prepared.column_count();
            let arguments = arguments.iter().map(|value| match value {
                Value::Null => types::Value::Null,
                Value::Integer(integer) => types::Value::Integer(*integer),
                Value::Real(real) => types::Value::Real(*real),
                Value::Text(text) => types::Value::Text(text.clone()),
            });
            let mut rows = prepared.query(rusqlite::params_from_iter(arguments))?;
            let mut read = Vec::new();
            while let Some(row) = rows.next()? {
                let values = (0..columns).map(|column| {
                    Ok(match row.get::<_, types::Value>(column)? {
                        types::Value::Null | types::Value::Blob(_) => Value::Null,
                        types::Value::Integer(integer) => Value::Integer(integer),
                        types::Value::Real(real) => Value::Real(real),
                        types::Value::Text(text) => Value::Text(text),
                    })
                });
                read.push(Row(values.collect::<rusqlite::Result<_>>()?));
            }
            Ok(read)
        }
    }
}
