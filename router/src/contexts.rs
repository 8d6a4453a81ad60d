//! Which contexts a user has entered: each is an object that keeps something, so there are only so
//! many, and whoever works over several has to know them. Memory is a cache of SQLite. It must not
//! know what happens in one.

use shared::{
    Error, Kind, Millis, Scope,
    config::Level,
    database::{Database, has_table},
    limits,
};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
};

/// The contexts of one user.
#[derive(Debug)]
pub struct Contexts<D> {
    database: D,
    /// Those that are known to be there, and when each was entered last.
    known: RefCell<HashMap<Scope, Millis>>,
    /// How many there are; unknown until one is new, or while there is no table.
    count: Cell<Option<usize>>,
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS contexts (
    scope TEXT PRIMARY KEY, first INTEGER NOT NULL) WITHOUT ROWID";

impl<D: Database> Contexts<D> {
    /// The contexts in a database. The table is made with the first.
    pub fn new(database: D) -> Self {
        Self { database, known: RefCell::default(), count: Cell::new(None) }
    }

    /// Notes that a context is entered. Only the first time is written.
    ///
    /// # Errors
    /// [`Kind::Limit`] for one too many, and the database's own.
    pub fn enter(&self, scope: &Scope, now: Millis) -> Result<(), Error> {
        if let Some(last) = self.known.borrow_mut().get_mut(scope) {
            *last = now;
            return Ok(());
        }
        if !self.is_stored(scope)? {
            self.store(scope, now)?;
        }
        self.known.borrow_mut().insert(scope.clone(), now);
        Ok(())
    }

    fn exists(&self) -> Result<bool, Error> {
        Ok(self.count.get().is_some() || has_table(&self.database, "contexts")?)
    }

    fn is_stored(&self, scope: &Scope) -> Result<bool, Error> {
        let statement = "SELECT 1 FROM contexts WHERE scope = ?";
        Ok(self.exists()? && !self.database.run(statement, &[scope.to_string().into()])?.is_empty())
    }

    fn store(&self, scope: &Scope, now: Millis) -> Result<(), Error> {
        let count = match self.count.get() {
            Some(count) => count,
            None => {
                self.database.run(TABLE, &[])?;
                let rows = self.database.run("SELECT count(*) FROM contexts", &[])?;
                let count = rows.first().map_or(Ok(0), |row| row.integer(0))?;
                usize::try_from(count).unwrap_or(usize::MAX)
            }
        };
        self.count.set(Some(count));
        if count >= limits::CONTEXTS_MAX {
            let text = format!(
                "you have worked in {} contexts already, and there are no more: use one of them, \
                 or a wider URL",
                limits::CONTEXTS_MAX
            );
            return Err(Error::new(Kind::Limit, text));
        }
        self.database.run(
            "INSERT INTO contexts (scope, first) VALUES (?, ?)",
            &[scope.to_string().into(), now.into()],
        )?;
        self.count.set(Some(count.saturating_add(1)));
        Ok(())
    }

    /// The contexts that were entered inside of a scope, itself included, in order. One that the
    /// levels do not have any more is none.
    ///
    /// # Errors
    /// The database's own.
    pub fn within(&self, scope: &Scope, levels: &[Level]) -> Result<Vec<Scope>, Error> {
        if !self.exists()? {
            return Ok(Vec::new());
        }
        let path = scope.to_string();
        // What comes after a '/' is below; '0' is the next sign after it.
        let rows = self.database.run(
            "SELECT scope FROM contexts WHERE scope = ? OR (scope > ? AND scope < ?) ORDER BY scope",
            &[path.as_str().into(), format!("{path}/").into(), format!("{path}0").into()],
        )?;
        let read = |row: &shared::database::Row| {
            row.text(0).map(|path| Scope::parse_path(path, levels).ok()).transpose()
        };
        rows.iter().filter_map(read).collect()
    }

    /// Every context that was entered, the last one first as far as memory goes.
    ///
    /// # Errors
    /// The database's own.
    pub fn latest_first(&self, levels: &[Level]) -> Result<Vec<Scope>, Error> {
        let mut all = self.within(&Scope::default(), levels)?;
        let known = self.known.borrow();
        all.sort_by_key(|scope| std::cmp::Reverse(known.get(scope).copied()));
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::{
        config::default_levels,
        database::{Row, Value, native::Embedded},
    };
    use std::rc::Rc;

    fn scope(path: &str) -> Scope {
        Scope::parse_path(path, &default_levels()).unwrap()
    }

    fn within(contexts: &Contexts<impl Database>, path: &str, levels: &[Level]) -> Vec<String> {
        let within = contexts.within(&scope(path), levels).unwrap();
        within.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn contexts_are_known_by_what_they_are_in() {
        let database = Rc::new(Embedded::in_memory());
        let contexts = Contexts::new(Rc::clone(&database));
        let levels = default_levels();
        assert_eq!(within(&contexts, "/mcp", &levels), Vec::<String>::new());
        for path in ["/mcp/acme/web", "/mcp", "/mcp/acme", "/mcp/acme-2/x", "/mcp/acme/a_b"] {
            contexts.enter(&scope(path), Millis(1)).unwrap();
            contexts.enter(&scope(path), Millis(2)).unwrap();
        }
        for contexts in [&contexts, &Contexts::new(Rc::clone(&database))] {
            contexts.enter(&scope("/mcp/acme"), Millis(3)).unwrap();
            let acme = ["/mcp/acme", "/mcp/acme/a_b", "/mcp/acme/web"];
            assert_eq!(within(contexts, "/mcp/acme", &levels), acme);
            assert_eq!(within(contexts, "/mcp/acme/web", &levels), ["/mcp/acme/web"]);
            assert_eq!(within(contexts, "/mcp/other", &levels), Vec::<String>::new());
            assert_eq!(within(contexts, "/mcp", &levels).len(), 5);
            assert_eq!(within(contexts, "/mcp", &levels[..1]), ["/mcp", "/mcp/acme"]);
        }
        let first = database.run("SELECT max(first) FROM contexts", &[]).unwrap();
        assert_eq!(first[0].integer(0).unwrap(), 1);
    }

    #[test]
    fn there_are_only_so_many_and_those_stay_open() {
        let database = Rc::new(Embedded::in_memory());
        let contexts = Contexts::new(Rc::clone(&database));
        for n in 0..limits::CONTEXTS_MAX {
            contexts.enter(&scope(&format!("/mcp/{n}")), Millis(0)).unwrap();
        }
        for contexts in [contexts, Contexts::new(Rc::clone(&database))] {
            let error = contexts.enter(&scope("/mcp/one-more"), Millis(0)).unwrap_err();
            assert_eq!(error.kind, Kind::Limit);
            contexts.enter(&scope("/mcp/0"), Millis(0)).unwrap();
        }
    }

    #[test]
    fn a_warm_context_needs_no_database() {
        struct Counting(Embedded, Cell<usize>);
        impl Database for Counting {
            fn run(&self, statement: &str, arguments: &[Value]) -> Result<Vec<Row>, Error> {
                self.1.set(self.1.get() + 1);
                self.0.run(statement, arguments)
            }
        }
        let database = Rc::new(Counting(Embedded::in_memory(), Cell::new(0)));
        let contexts = Contexts::new(Rc::clone(&database));
        contexts.enter(&scope("/mcp/a"), Millis(0)).unwrap();
        let before = database.1.get();
        contexts.enter(&scope("/mcp/a"), Millis(0)).unwrap();
        assert_eq!(database.1.get(), before);
    }
}
