//! What is not answered any more: what a user has blocked, and grants that were ended. Whoever asks is
//! told from memory. It must not know what runs, nor how anything ends.

use identity::{account::Target, caller::Credential};
use shared::{
    Error, Kind, Millis, Scope,
    database::{Database, Tables},
    gathered,
    hop::Holder,
    limits,
};
use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

/// What is barred, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bars {
    /// What the user has blocked.
    pub targets: BTreeSet<Target>,
    /// Grants that were ended, by their ids.
    pub grants: BTreeSet<String>,
}

impl Bars {
    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.grants.is_empty()
    }

    /// Toolsets that are blocked.
    #[must_use]
    pub fn toolsets(&self) -> BTreeSet<String> {
        gathered(self.targets.iter().filter_map(|target| match target {
            Target::Upstream(name) => Some(name.clone()),
            _ => None,
        }))
    }

    /// What bars a request, if anything does.
    #[must_use]
    pub fn bar(&self, scope: &Scope, holder: &Holder) -> Option<&Target> {
        self.targets.iter().find(|target| match target {
            Target::User => true,
            Target::Context(path) => is_within(scope, path),
            Target::Client(client) => *client == holder.client,
            Target::Upstream(_) => false,
        })
    }
}

/// Whether a scope is at this path, or below.
#[must_use]
pub fn is_within(scope: &Scope, path: &str) -> bool {
    let own = scope.to_string();
    own.strip_prefix(path).is_some_and(|tail| tail.is_empty() || tail.starts_with('/'))
}

/// What is barred of one user.
#[derive(Debug)]
pub struct Barred<D> {
    database: D,
    known: RefCell<Option<Rc<Bars>>>,
    tables: Tables,
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS barred (
    kind TEXT NOT NULL, what TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (kind, what))
    WITHOUT ROWID";

const BLOCK: &str = "block";
const GRANT: &str = "grant";

impl<D: Database> Barred<D> {
    /// What a database says. Its table is made with the first.
    pub fn new(database: D) -> Self {
        Self { database, known: RefCell::default(), tables: Tables::new("barred", &[TABLE]) }
    }

    /// Everything that is barred.
    ///
    /// # Errors
    /// The database's own.
    pub fn all(&self) -> Result<Rc<Bars>, Error> {
        if let Some(known) = self.known.borrow().as_ref() {
            return Ok(Rc::clone(known));
        }
        let mut bars = Bars::default();
        if self.tables.exist(&self.database)? {
            for row in self.database.run("SELECT kind, what FROM barred", &[])? {
                match (row.text(0)?, row.text(1)?) {
                    (GRANT, grant) => {
                        bars.grants.insert(grant.to_owned());
                    }
                    (_, target) => {
                        bars.targets.insert(Target::read(target)?);
                    }
                }
            }
        }
        let bars = Rc::new(bars);
        *self.known.borrow_mut() = Some(Rc::clone(&bars));
        Ok(bars)
    }

    /// Whether a credential was ended.
    ///
    /// # Errors
    /// The database's own.
    pub fn is_ended(&self, credential: &Credential) -> Result<bool, Error> {
        let bars = self.all()?;
        Ok(matches!(credential, Credential::Grant { grant, .. } if bars.grants.contains(grant)))
    }

    /// Blocks something.
    ///
    /// # Errors
    /// [`Kind::Limit`] for one too many, and the database's own.
    pub fn block(&self, target: &Target, now: Millis) -> Result<(), Error> {
        let targets = self.all()?;
        if targets.targets.len() >= limits::BLOCKS_MAX && !targets.targets.contains(target) {
            let text = format!("there are {} blocks already; end one", limits::BLOCKS_MAX);
            return Err(Error::new(Kind::Limit, text));
        }
        self.keep(BLOCK, &target.written()?, now)
    }

    /// Ends a block.
    ///
    /// # Errors
    /// The database's own.
    pub fn unblock(&self, target: &Target) -> Result<(), Error> {
        if self.tables.exist(&self.database)? {
            let statement = "DELETE FROM barred WHERE kind = ? AND what = ?";
            self.database.run(statement, &[BLOCK.into(), target.written()?.into()])?;
        }
        *self.known.borrow_mut() = None;
        Ok(())
    }

    /// Ends a grant. It is kept until no token of it can be good any more.
    ///
    /// # Errors
    /// The database's own.
    pub fn end(&self, grant: &str, now: Millis) -> Result<(), Error> {
        self.keep(GRANT, grant, now)?;
        let over = now.0.saturating_sub(limits::GRANT_ENDED_MS);
        let statement = "DELETE FROM barred WHERE kind = ? AND at < ?";
        self.database.run(statement, &[GRANT.into(), Millis(over).into()])?;
        Ok(())
    }

    fn keep(&self, kind: &str, what: &str, now: Millis) -> Result<(), Error> {
        self.tables.make(&self.database)?;
        let statement = "INSERT OR REPLACE INTO barred (kind, what, at) VALUES (?, ?, ?)";
        self.database.run(statement, &[kind.into(), what.into(), now.into()])?;
        *self.known.borrow_mut() = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::{config::default_levels, database::native::Embedded};

    fn scope(path: &str) -> Scope {
        Scope::parse_path(path, &default_levels()).unwrap()
    }

    fn holder(client: &str) -> Holder {
        Holder { client: client.to_owned(), credential: String::new() }
    }

    #[test]
    fn what_is_blocked_bars_what_is_within_it() {
        let database = Rc::new(Embedded::in_memory());
        let barred = Barred::new(Rc::clone(&database));
        assert!(barred.all().unwrap().is_empty());
        let acme = Target::Context("/mcp/acme".to_owned());
        let client = Target::Client("cursor".to_owned());
        for target in [&acme, &client, &Target::Upstream("far".to_owned())] {
            barred.block(target, Millis(1)).unwrap();
        }
        for barred in [&barred, &Barred::new(Rc::clone(&database))] {
            let bars = barred.all().unwrap();
            let bar = |path: &str, client: &str| bars.bar(&scope(path), &holder(client)).cloned();
            assert_eq!(bar("/mcp/acme/web", ""), Some(acme.clone()));
            assert_eq!(bar("/mcp/acme", "cursor"), Some(acme.clone()));
            assert_eq!(bar("/mcp/acme-2", ""), None);
            assert_eq!(bar("/mcp", "cursor"), Some(client.clone()));
            assert_eq!(bar("/mcp", ""), None);
            assert_eq!(bars.toolsets(), ["far".to_owned()].into());
        }
        barred.unblock(&acme).unwrap();
        assert_eq!(barred.all().unwrap().bar(&scope("/mcp/acme"), &holder("")), None);
        barred.block(&Target::User, Millis(2)).unwrap();
        let bars = Barred::new(database).all().unwrap();
        assert_eq!(bars.bar(&scope("/mcp"), &holder("")), Some(&Target::User));
    }

    #[test]
    fn a_grant_stays_ended_until_its_tokens_are_too_old() {
        let database = Rc::new(Embedded::in_memory());
        let barred = Barred::new(Rc::clone(&database));
        let grant =
            |name: &str| Credential::Grant { client: "c".to_owned(), grant: name.to_owned() };
        barred.end("one", Millis(1)).unwrap();
        assert!(barred.is_ended(&grant("one")).unwrap());
        assert!(!barred.is_ended(&grant("two")).unwrap());
        let later = Millis(2 + limits::GRANT_ENDED_MS);
        barred.end("two", later).unwrap();
        let again = Barred::new(database);
        assert!(again.is_ended(&grant("two")).unwrap());
        assert!(!again.is_ended(&grant("one")).unwrap());
    }

    #[test]
    fn there_are_only_so_many_blocks() {
        let barred = Barred::new(Embedded::in_memory());
        for n in 0..limits::BLOCKS_MAX {
            barred.block(&Target::Client(n.to_string()), Millis(0)).unwrap();
        }
        let one_more = barred.block(&Target::User, Millis(0));
        assert_eq!(one_more.unwrap_err().kind, Kind::Limit);
        barred.block(&Target::Client("0".to_owned()), Millis(1)).unwrap();
    }
}
