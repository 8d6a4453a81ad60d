//! Sessions of the handshake era: who may use one, when it ends, and where it is kept. Memory is
//! only a cache: a session is what SQLite says. It must not know messages.

use serde_json::value::RawValue;
use shared::{
    Error, Kind, Millis, Scope, SessionId,
    database::{Database, Row, Value, has_table},
    hop::Options,
    limits,
};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

/// One session.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The scope it was begun at. It exists nowhere else.
    pub scope: Scope,
    /// The revision that was negotiated.
    pub revision: String,
    /// The parameters of its `initialize`.
    pub client: Rc<RawValue>,
    /// The least severe log level it asked for.
    pub level: Option<String>,
    /// What the URL it was begun at left of the tools. It never gets more.
    pub options: Options,
    /// When it was last used, as far as is stored (see `limits::SESSION_SEEN_STEP_MS`).
    pub seen: Millis,
}

impl Session {
    /// Whether it has been idle for too long.
    #[must_use]
    pub fn is_over(&self, now: Millis) -> bool {
        now.since(self.seen) > OVER_MS
    }
}

/// How long after what is stored of its last use a session is over. What is stored may be a step
/// old, and no session ends before it has been idle for the whole time.
const OVER_MS: u64 = limits::SESSION_IDLE_MS + limits::SESSION_SEEN_STEP_MS;

/// When a session that is used now may be over.
#[must_use]
pub fn over_after(now: Millis) -> Millis {
    // One millisecond later it is over, not just about to be.
    now.after(OVER_MS).after(1)
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY, scope TEXT NOT NULL, revision TEXT NOT NULL, client TEXT NOT NULL,
    level TEXT, created INTEGER NOT NULL, seen INTEGER NOT NULL, options TEXT
    ) WITHOUT ROWID";

/// For a table that was made before sessions had options.
const ADD_OPTIONS: &str = "ALTER TABLE sessions ADD COLUMN options TEXT";

const SUBSCRIPTIONS: &str = "CREATE TABLE IF NOT EXISTS subscriptions (
    session TEXT NOT NULL, uri TEXT NOT NULL, PRIMARY KEY (session, uri)) WITHOUT ROWID";

const COLUMNS: &str = "id, scope, revision, client, level, seen, options";

/// All sessions of one user.
#[derive(Debug)]
pub struct Sessions<D> {
    database: D,
    cache: RefCell<HashMap<SessionId, Session>>,
    /// Whether the table is there, and has every column.
    is_made: Cell<bool>,
}

impl<D: Database> Sessions<D> {
    /// The sessions in a database. Its table is made when the first session begins.
    pub fn new(database: D) -> Self {
        Self { database, cache: RefCell::default(), is_made: Cell::new(false) }
    }

    fn exists(&self) -> Result<bool, Error> {
        if !self.is_made.get() {
            let statement = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?";
            let rows = self.database.run(statement, &["sessions".into()])?;
            let Some(made) = rows.first() else {
                return Ok(false);
            };
            if !made.text(0)?.contains("options") {
                self.database.run(ADD_OPTIONS, &[])?;
            }
            self.is_made.set(true);
        }
        Ok(true)
    }

    /// Begins a session. Where there are too many, the one that was idle longest ends.
    ///
    /// # Errors
    /// The database's own.
    pub fn begin(&self, mut session: Session, now: Millis) -> Result<(), Error> {
        session.seen = now;
        if !self.exists()? {
            self.database.run(TABLE, &[])?;
        }
        self.expire(now)?;
        let keep = i64::try_from(limits::SESSIONS_MAX.saturating_sub(1)).unwrap_or(i64::MAX);
        let crowded = self.database.run(
            "DELETE FROM sessions WHERE id IN
                (SELECT id FROM sessions ORDER BY seen DESC, id LIMIT -1 OFFSET ?) RETURNING id",
            &[Value::Integer(keep)],
        )?;
        self.forget(&crowded)?;
        let json = |text: serde_json::Result<String>| {
            text.map_err(|error| Error::internal(error.to_string()))
        };
        let scope = json(serde_json::to_string(&session.scope))?;
        let options = match session.options.is_empty() {
            true => Value::Null,
            false => json(serde_json::to_string(&session.options))?.into(),
        };
        self.database.run(
            "INSERT INTO sessions (id, scope, revision, client, level, created, seen, options)
             VALUES (?, ?, ?, ?, NULL, ?, ?, ?)",
            &[
                session.id.as_str().into(),
                scope.into(),
                session.revision.as_str().into(),
                session.client.get().into(),
                now.into(),
                now.into(),
                options,
            ],
        )?;
        self.cache.borrow_mut().insert(session.id.clone(), session);
        Ok(())
    }

    /// The live session of this id at this scope; `None` for any other, for whatever reason.
    ///
    /// # Errors
    /// The database's own.
    pub fn find(
        &self,
        id: &SessionId,
        scope: &Scope,
        now: Millis,
    ) -> Result<Option<Session>, Error> {
        let cached = self.cache.borrow().get(id).cloned();
        let session = match cached {
            Some(session) => Some(session),
            None => self.load(id)?,
        };
        Ok(session.filter(|session| session.scope == *scope && !session.is_over(now)))
    }

    fn load(&self, id: &SessionId) -> Result<Option<Session>, Error> {
        if !self.exists()? {
            return Ok(None);
        }
        let statement = format!("SELECT {COLUMNS} FROM sessions WHERE id = ?");
        let rows = self.database.run(&statement, &[id.as_str().into()])?;
        let Some(session) = rows.first().map(read).transpose()? else {
            return Ok(None);
        };
        self.cache.borrow_mut().insert(id.clone(), session.clone());
        Ok(Some(session))
    }

    /// Notes that a session is in use. Writes only when what is stored has become stale.
    ///
    /// # Errors
    /// The database's own.
    pub fn touch(&self, id: &SessionId, now: Millis) -> Result<(), Error> {
        let mut cache = self.cache.borrow_mut();
        match cache.get_mut(id) {
            Some(session) if now.since(session.seen) >= limits::SESSION_SEEN_STEP_MS => {
                let statement = "UPDATE sessions SET seen = ? WHERE id = ?";
                self.database.run(statement, &[now.into(), id.as_str().into()])?;
                session.seen = now;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Sets the least severe log level that a session asks for.
    ///
    /// # Errors
    /// The database's own.
    pub fn set_level(&self, id: &SessionId, level: &str) -> Result<(), Error> {
        let statement = "UPDATE sessions SET level = ? WHERE id = ?";
        self.database.run(statement, &[level.into(), id.as_str().into()])?;
        if let Some(session) = self.cache.borrow_mut().get_mut(id) {
            session.level = Some(level.to_owned());
        }
        Ok(())
    }

    /// The revision of a session; `None` if there is none of this id.
    ///
    /// # Errors
    /// The database's own.
    pub fn revision(&self, id: &SessionId) -> Result<Option<String>, Error> {
        if let Some(session) = self.cache.borrow().get(id) {
            return Ok(Some(session.revision.clone()));
        }
        Ok(self.load(id)?.map(|session| session.revision))
    }

    /// Notes what a session agreed on that was begun before (2024-11-05 transport).
    ///
    /// # Errors
    /// The database's own.
    pub fn set_client(
        &self,
        id: &SessionId,
        revision: &str,
        client: &RawValue,
    ) -> Result<(), Error> {
        let statement = "UPDATE sessions SET revision = ?, client = ? WHERE id = ?";
        let arguments = [revision.into(), client.get().into(), id.as_str().into()];
        self.database.run(statement, &arguments)?;
        self.cache.borrow_mut().remove(id);
        Ok(())
    }

    /// Subscribes a session to a resource, or ends that.
    ///
    /// # Errors
    /// [`Kind::Limit`] for one too many, and the database's own.
    pub fn subscribe(&self, id: &SessionId, uri: &str, wanted: bool) -> Result<(), Error> {
        let place = [id.as_str().into(), uri.into()];
        self.database.run(SUBSCRIPTIONS, &[])?;
        if !wanted {
            let statement = "DELETE FROM subscriptions WHERE session = ? AND uri = ?";
            return self.database.run(statement, &place).map(drop);
        }
        let count = "SELECT count(*) FROM subscriptions WHERE session = ? AND uri != ?";
        let rows = self.database.run(count, &place)?;
        let others = rows.first().map_or(Ok(0), |row| row.integer(0))?;
        if others >= i64::try_from(limits::SUBSCRIPTIONS_MAX).unwrap_or(i64::MAX) {
            let text = format!("a session has at most {} subscriptions", limits::SUBSCRIPTIONS_MAX);
            return Err(Error::new(Kind::Limit, text));
        }
        let statement = "INSERT OR IGNORE INTO subscriptions (session, uri) VALUES (?, ?)";
        self.database.run(statement, &place).map(drop)
    }

    /// Whether a session is subscribed to a resource.
    ///
    /// # Errors
    /// The database's own.
    pub fn is_subscribed(&self, id: &SessionId, uri: &str) -> Result<bool, Error> {
        self.database.run(SUBSCRIPTIONS, &[])?;
        let statement = "SELECT 1 FROM subscriptions WHERE session = ? AND uri = ?";
        Ok(!self.database.run(statement, &[id.as_str().into(), uri.into()])?.is_empty())
    }

    /// Every subscription of every session: where the session is, and the resource.
    ///
    /// # Errors
    /// The database's own.
    pub fn subscriptions(&self) -> Result<Vec<(Scope, String)>, Error> {
        if !self.exists()? || !has_table(&self.database, "subscriptions")? {
            return Ok(Vec::new());
        }
        let statement = "SELECT DISTINCT sessions.scope, subscriptions.uri FROM subscriptions
            JOIN sessions ON sessions.id = subscriptions.session";
        let read = |row: &Row| {
            let scope = serde_json::from_str(row.text(0)?)
                .map_err(|_| Error::internal("a stored session has no valid scope"))?;
            Ok((scope, row.text(1)?.to_owned()))
        };
        self.database.run(statement, &[])?.iter().map(read).collect()
    }

    /// Forgets what the sessions that are no more were subscribed to.
    fn unsubscribe_ended(&self) -> Result<(), Error> {
        self.database.run(SUBSCRIPTIONS, &[])?;
        let statement = "DELETE FROM subscriptions WHERE session NOT IN (SELECT id FROM sessions)";
        self.database.run(statement, &[]).map(drop)
    }

    /// Ends a session.
    ///
    /// # Errors
    /// The database's own.
    pub fn end(&self, id: &SessionId) -> Result<(), Error> {
        self.cache.borrow_mut().remove(id);
        self.database.run("DELETE FROM sessions WHERE id = ?", &[id.as_str().into()])?;
        self.unsubscribe_ended()
    }

    /// Ends what has been idle for too long and says when to look again; `None` if nothing is
    /// left to end.
    ///
    /// # Errors
    /// The database's own.
    pub fn expire(&self, now: Millis) -> Result<Option<Millis>, Error> {
        if !self.exists()? {
            return Ok(None);
        }
        let oldest = Millis(now.0.saturating_sub(OVER_MS));
        let statement = "DELETE FROM sessions WHERE seen < ? RETURNING id";
        let over = self.database.run(statement, &[oldest.into()])?;
        self.forget(&over)?;
        if !over.is_empty() {
            self.unsubscribe_ended()?;
        }
        let rows = self.database.run("SELECT min(seen) FROM sessions", &[])?;
        let Some(Value::Integer(seen)) = rows.first().and_then(|row| row.0.first()) else {
            return Ok(None);
        };
        Ok(Some(over_after(Millis::from_i64(*seen))))
    }

    fn forget(&self, rows: &[Row]) -> Result<(), Error> {
        let mut cache = self.cache.borrow_mut();
        rows.iter().try_for_each(|row| {
            if let Some(id) = SessionId::parse(row.text(0)?) {
                cache.remove(&id);
            }
            Ok(())
        })
    }
}

fn read(row: &Row) -> Result<Session, Error> {
    let invalid = |what: &str| Error::internal(format!("a stored session has no valid {what}"));
    Ok(Session {
        id: SessionId::parse(row.text(0)?).ok_or_else(|| invalid("id"))?,
        scope: serde_json::from_str(row.text(1)?).map_err(|_| invalid("scope"))?,
        revision: row.text(2)?.to_owned(),
        client: RawValue::from_string(row.text(3)?.to_owned())
            .map_err(|_| invalid("client"))?
            .into(),
        level: row.text(4).ok().map(ToOwned::to_owned),
        seen: Millis::from_i64(row.integer(5)?),
        options: match row.0.get(6) {
            Some(Value::Text(options)) => {
                serde_json::from_str(options).map_err(|_| invalid("options"))?
            }
            _ => Options::default(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::{config::default_levels, database::native::Embedded};

    const DAY: u64 = OVER_MS;

    fn id(n: u8) -> SessionId {
        SessionId::from_random([n; 32])
    }

    fn scope(path: &str) -> Scope {
        Scope::parse_path(path, &default_levels()).unwrap()
    }

    fn session(n: u8, seen: u64) -> Session {
        Session {
            id: id(n),
            scope: scope("/mcp/acme"),
            revision: "2025-11-25".to_owned(),
            client: RawValue::from_string("{}".to_owned()).unwrap().into(),
            level: None,
            options: Options::default(),
            seen: Millis(seen),
        }
    }

    fn found(sessions: &Sessions<Rc<Embedded>>, n: u8, now: u64) -> bool {
        sessions.find(&id(n), &scope("/mcp/acme"), Millis(now)).unwrap().is_some()
    }

    #[test]
    fn a_session_is_found_again_after_a_restart_and_nowhere_else() {
        let database = Rc::new(Embedded::in_memory());
        let sessions = Sessions::new(Rc::clone(&database));
        assert!(!found(&sessions, 1, 5));
        sessions.begin(session(1, 5), Millis(5)).unwrap();
        sessions.set_level(&id(1), "debug").unwrap();
        let restarted = Sessions::new(database);
        let again = restarted.find(&id(1), &scope("/mcp/acme"), Millis(6)).unwrap().unwrap();
        assert_eq!(again.level.as_deref(), Some("debug"));
        assert!(restarted.find(&id(1), &scope("/mcp"), Millis(6)).unwrap().is_none());
        assert!(restarted.find(&id(1), &scope("/mcp/acme/web"), Millis(6)).unwrap().is_none());
        assert!(!found(&restarted, 2, 6));
        restarted.end(&id(1)).unwrap();
        assert!(!found(&restarted, 1, 6));
    }

    #[test]
    fn options_are_kept_in_a_database_that_did_not_know_them_too() {
        let database = Rc::new(Embedded::in_memory());
        let table = TABLE.replace(", options TEXT", "");
        database.run(&table, &[]).unwrap();
        let old = "INSERT INTO sessions VALUES (?, '[\"acme\"]', 'r', '{}', NULL, 0, 0)";
        database.run(old, &[id(1).as_str().into()]).unwrap();
        let sessions = Sessions::new(Rc::clone(&database));
        let options = |n: u8| {
            let again = Sessions::new(Rc::clone(&database));
            again.find(&id(n), &scope("/mcp/acme"), Millis(1)).unwrap().unwrap().options
        };
        assert!(options(1).is_empty());
        let narrow = Options { read_only: true, ..Options::default() };
        let session = Session { options: narrow.clone(), ..session(2, 0) };
        sessions.begin(session, Millis(0)).unwrap();
        assert_eq!((options(1), options(2)), (Options::default(), narrow));
    }

    #[test]
    fn an_idle_session_ends_and_a_used_one_does_not() {
        let sessions = Sessions::new(Rc::new(Embedded::in_memory()));
        assert_eq!(sessions.expire(Millis(0)).unwrap(), None);
        sessions.begin(session(1, 0), Millis(0)).unwrap();
        sessions.begin(session(2, 0), Millis(0)).unwrap();
        sessions.touch(&id(2), Millis(DAY / 2)).unwrap();
        assert_eq!(sessions.expire(Millis(DAY)).unwrap(), Some(Millis(DAY + 1)));
        assert!(found(&sessions, 1, DAY));
        // Over is over, whether or not the alarm has come.
        assert!(!found(&sessions, 1, DAY + 1));
        assert_eq!(sessions.expire(Millis(DAY + 1)).unwrap(), Some(Millis(DAY / 2 + DAY + 1)));
        assert!(found(&sessions, 2, DAY + 1));
        assert_eq!(sessions.expire(Millis(3 * DAY)).unwrap(), None);
    }

    #[test]
    fn a_subscription_is_of_one_session_and_ends_with_it() {
        let sessions = Sessions::new(Rc::new(Embedded::in_memory()));
        sessions.begin(session(1, 0), Millis(0)).unwrap();
        sessions.begin(session(2, 0), Millis(0)).unwrap();
        sessions.subscribe(&id(1), "a:b", true).unwrap();
        sessions.subscribe(&id(1), "a:b", true).unwrap();
        assert!(sessions.is_subscribed(&id(1), "a:b").unwrap());
        let all = [(scope("/mcp/acme"), "a:b".to_owned())];
        assert_eq!(sessions.subscriptions().unwrap(), all);
        assert!(!sessions.is_subscribed(&id(2), "a:b").unwrap());
        for n in 1..limits::SUBSCRIPTIONS_MAX {
            sessions.subscribe(&id(1), &format!("a:{n}"), true).unwrap();
        }
        assert_eq!(sessions.subscribe(&id(1), "a:c", true).unwrap_err().kind, Kind::Limit);
        sessions.subscribe(&id(1), "a:b", false).unwrap();
        assert!(!sessions.is_subscribed(&id(1), "a:b").unwrap());
        sessions.subscribe(&id(1), "a:c", true).unwrap();
        sessions.end(&id(1)).unwrap();
        assert!(!sessions.is_subscribed(&id(1), "a:c").unwrap());
        assert_eq!(sessions.subscriptions().unwrap(), []);
    }

    #[test]
    fn calls_in_a_row_write_nothing() {
        let database = Rc::new(Embedded::in_memory());
        let sessions = Sessions::new(Rc::clone(&database));
        sessions.begin(session(1, 0), Millis(0)).unwrap();
        let changes = || {
            let rows = database.run("SELECT total_changes()", &[]).unwrap();
            rows[0].integer(0).unwrap()
        };
        let before = changes();
        for now in 0..1000 {
            sessions.touch(&id(1), Millis(now)).unwrap();
            assert!(found(&sessions, 1, now));
        }
        assert_eq!(changes(), before);
        sessions.touch(&id(1), Millis(limits::SESSION_SEEN_STEP_MS)).unwrap();
        assert_eq!(changes(), before + 1);
    }

    #[test]
    fn the_oldest_idle_session_makes_room() {
        let sessions = Sessions::new(Rc::new(Embedded::in_memory()));
        for n in 0..limits::SESSIONS_MAX as u8 {
            sessions.begin(session(n, 0), Millis(u64::from(n))).unwrap();
        }
        sessions.touch(&id(0), Millis(limits::SESSION_SEEN_STEP_MS)).unwrap();
        let now = limits::SESSION_SEEN_STEP_MS + 1;
        sessions.begin(session(200, now), Millis(now)).unwrap();
        assert!(found(&sessions, 0, now));
        assert!(!found(&sessions, 1, now));
        assert!(found(&sessions, 2, now));
        assert!(found(&sessions, 200, now));
    }
}
