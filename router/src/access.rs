//! Whether a user may enter a scope, as far as it is known: what a check said, and how long that
//! is good for. Memory is a cache of SQLite, so that whoever is inside already costs nothing. It
//! must not know how a check is made, nor what a client is told.

use shared::{
    Error, Millis, Scope,
    config::{Config, ToolsetKind},
    database::{Database, Tables, Value},
    hop::Access,
    limits,
};
use std::{cell::RefCell, collections::HashMap};

/// How many levels must be pinned for anything to be asked at all; `None` if nothing ever is.
#[must_use]
pub fn least_depth(config: &Config) -> Option<usize> {
    let verified = config.toolsets.iter().filter_map(|toolset| match &toolset.kind {
        ToolsetKind::Mcp(upstream) => upstream.verify.keys().next(),
        ToolsetKind::Memory | ToolsetKind::Fixture => None,
    });
    verified.min().map(|level| level.saturating_add(1))
}

/// Until when an answer is good that is given now.
#[must_use]
pub fn good_until(access: Access, now: Millis) -> Millis {
    now.after(match access {
        Access::Yes => limits::ACCESS_YES_MS,
        Access::No => limits::ACCESS_NO_MS,
    })
}

/// An answer, and until when it is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answer {
    access: Access,
    until: Millis,
}

impl Answer {
    fn at(self, now: Millis) -> Option<Access> {
        (now < self.until).then_some(self.access)
    }
}

/// The answers that one user's scopes got.
#[derive(Debug)]
pub struct Accesses<D> {
    database: D,
    cache: RefCell<HashMap<Scope, Answer>>,
    /// Whether the table is there.
    tables: Tables,
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS access (
    scope TEXT PRIMARY KEY, access TEXT NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID";

const YES: &str = "yes";

impl<D: Database> Accesses<D> {
    /// The answers in a database. Its table is made when the first is kept.
    pub fn new(database: D) -> Self {
        Self { database, cache: RefCell::default(), tables: Tables::new("access", &[TABLE]) }
    }

    /// What is known of a scope; `None` if it has to be asked for.
    ///
    /// # Errors
    /// The database's own.
    pub fn known(&self, scope: &Scope, now: Millis) -> Result<Option<Access>, Error> {
        if let Some(answer) = self.cache.borrow().get(scope) {
            return Ok(answer.at(now));
        }
        if !self.tables.exist(&self.database)? {
            return Ok(None);
        }
        let statement = "SELECT access, until FROM access WHERE scope = ?";
        let rows = self.database.run(statement, &[scope.to_string().into()])?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let access = if row.text(0)? == YES { Access::Yes } else { Access::No };
        let answer = Answer { access, until: Millis::from_i64(row.integer(1)?) };
        self.remember(scope, answer, now);
        Ok(answer.at(now))
    }

    /// Keeps what a check said now. Where there are too many, those go first that are good for the
    /// shortest time.
    ///
    /// # Errors
    /// The database's own.
    pub fn keep(&self, scope: &Scope, access: Access, now: Millis) -> Result<(), Error> {
        self.tables.make(&self.database)?;
        let answer = Answer { access, until: good_until(access, now) };
        let said = if access == Access::Yes { YES } else { "no" };
        self.database.run(
            "INSERT OR REPLACE INTO access (scope, access, until) VALUES (?, ?, ?)",
            &[scope.to_string().into(), said.into(), answer.until.into()],
        )?;
        self.database.run("DELETE FROM access WHERE until <= ?", &[now.into()])?;
        let keep = i64::try_from(limits::ACCESSES_MAX).unwrap_or(i64::MAX);
        self.database.run(
            "DELETE FROM access WHERE scope IN
                (SELECT scope FROM access ORDER BY until DESC, scope LIMIT -1 OFFSET ?)",
            &[Value::Integer(keep)],
        )?;
        self.remember(scope, answer, now);
        Ok(())
    }

    fn remember(&self, scope: &Scope, answer: Answer, now: Millis) {
        let mut cache = self.cache.borrow_mut();
        if cache.len() >= limits::ACCESSES_CACHED_MAX {
            cache.retain(|_, answer| answer.at(now).is_some());
        }
        if cache.len() >= limits::ACCESSES_CACHED_MAX {
            cache.clear();
        }
        cache.insert(scope.clone(), answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::{
        config::{Written, default_levels},
        database::native::Embedded,
    };
    use std::{cell::Cell, rc::Rc};

    fn scope(path: &str) -> Scope {
        Scope::parse_path(path, &default_levels()).unwrap()
    }

    #[test]
    fn only_what_is_verified_is_asked_for() {
        let least = |toolsets: &str| {
            let written = Written { toolsets: Some(toolsets), ..Written::default() };
            least_depth(&Config::parse(written).unwrap())
        };
        let mcp = |name: &str, verify: &str| {
            format!(
                r#"{{"kind":"mcp","name":"{name}","url":"https://a.test/","verify":{{{verify}}}}}"#
            )
        };
        let project = mcp("a", r#""project":"https://a.test/{org}/{project}""#);
        let org = mcp("b", r#""org":"https://a.test/{org}""#);
        assert_eq!(least(r#"[{"kind":"memory"}]"#), None);
        assert_eq!(least(&format!("[{}]", mcp("a", ""))), None);
        assert_eq!(least(&format!("[{project}]")), Some(2));
        assert_eq!(least(&format!("[{project},{org}]")), Some(1));
    }

    #[test]
    fn an_answer_is_good_for_its_time_and_survives_a_restart() {
        let database = Rc::new(Embedded::in_memory());
        let accesses = Accesses::new(Rc::clone(&database));
        let (yes, no) = (scope("/mcp/yes"), scope("/mcp/no"));
        assert_eq!(accesses.known(&yes, Millis(0)).unwrap(), None);
        accesses.keep(&yes, Access::Yes, Millis(0)).unwrap();
        accesses.keep(&no, Access::No, Millis(0)).unwrap();
        let restarted = Accesses::new(Rc::clone(&database));
        for accesses in [&accesses, &restarted] {
            for (scope, access, good) in
                [(&yes, Access::Yes, 15 * 60 * 1000), (&no, Access::No, 30 * 1000)]
            {
                assert_eq!(accesses.known(scope, Millis(good - 1)).unwrap(), Some(access));
                assert_eq!(accesses.known(scope, Millis(good)).unwrap(), None);
            }
            assert_eq!(accesses.known(&scope("/mcp/yes/web"), Millis(0)).unwrap(), None);
        }
        accesses.keep(&yes, Access::No, Millis(1)).unwrap();
        assert_eq!(accesses.known(&yes, Millis(2)).unwrap(), Some(Access::No));
    }

    #[test]
    fn there_are_only_so_many_and_the_shortest_go_first() {
        let database = Rc::new(Embedded::in_memory());
        let accesses = Accesses::new(Rc::clone(&database));
        for n in 0..limits::ACCESSES_MAX + 5 {
            let access = if n < 5 { Access::No } else { Access::Yes };
            accesses.keep(&scope(&format!("/mcp/{n}")), access, Millis(1)).unwrap();
        }
        let rows = database.run("SELECT count(*) FROM access", &[]).unwrap();
        assert_eq!(rows[0].integer(0).unwrap(), limits::ACCESSES_MAX as i64);
        let restarted = Accesses::new(Rc::clone(&database));
        assert_eq!(restarted.known(&scope("/mcp/4"), Millis(2)).unwrap(), None);
        assert_eq!(restarted.known(&scope("/mcp/5"), Millis(2)).unwrap(), Some(Access::Yes));
        assert!(accesses.cache.borrow().len() <= limits::ACCESSES_CACHED_MAX);
        // What is no longer good is not kept.
        let later = Millis(1).after(limits::ACCESS_YES_MS);
        accesses.keep(&scope("/mcp/x"), Access::Yes, later).unwrap();
        let rows = database.run("SELECT count(*) FROM access", &[]).unwrap();
        assert_eq!(rows[0].integer(0).unwrap(), 1);
    }

    #[test]
    fn a_warm_answer_needs_no_database() {
        struct Counting(Embedded, Cell<usize>);
        impl Database for Counting {
            fn run(
                &self,
                statement: &str,
                arguments: &[Value],
            ) -> Result<Vec<shared::database::Row>, Error> {
                self.1.set(self.1.get() + 1);
                self.0.run(statement, arguments)
            }
        }
        let database = Rc::new(Counting(Embedded::in_memory(), Cell::new(0)));
        let accesses = Accesses::new(Rc::clone(&database));
        accesses.keep(&scope("/mcp/a"), Access::Yes, Millis(0)).unwrap();
        let before = database.1.get();
        assert_eq!(accesses.known(&scope("/mcp/a"), Millis(1)).unwrap(), Some(Access::Yes));
        assert_eq!(database.1.get(), before);
    }
}
