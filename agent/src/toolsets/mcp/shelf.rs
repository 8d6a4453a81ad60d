//! What an Agent keeps of one upstream: how it was met, its lists, and what its tools were like
//! when they were first seen. A row is written only when something is other than it was. It must
//! not know what any of it says.

use shared::{
    Error, Kind, Millis,
    database::{Database, Tables},
    hop::{Holder, Stop},
    limits,
};
use std::{collections::BTreeMap, rc::Rc};
use upstream::{Met, clean::is_fingerprint, link::Keeper};

// `last` of a tool is every way in which it was seen.
const TABLES: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS upstream (
        place TEXT NOT NULL, kind TEXT NOT NULL, part TEXT NOT NULL,
        text TEXT NOT NULL, fetched INTEGER NOT NULL, until INTEGER NOT NULL,
        PRIMARY KEY (place, kind, part))",
    "CREATE TABLE IF NOT EXISTS upstream_tool (
        place TEXT NOT NULL, name TEXT NOT NULL, first TEXT NOT NULL, last TEXT NOT NULL,
        PRIMARY KEY (place, name))",
    "CREATE TABLE IF NOT EXISTS upstream_task (
        id TEXT PRIMARY KEY, place TEXT NOT NULL, kind TEXT NOT NULL, remote TEXT NOT NULL,
        created INTEGER NOT NULL, client TEXT NOT NULL DEFAULT '',
        credential TEXT NOT NULL DEFAULT '')",
];

// The first versions did not know whose a task is.
const WHOSE: [&str; 2] = ["client TEXT NOT NULL DEFAULT ''", "credential TEXT NOT NULL DEFAULT ''"];

/// What is kept of one upstream.
pub(super) struct Shelf {
    database: Rc<dyn Database>,
    /// Which upstream: another address is another.
    place: String,
    tables: Tables,
}

/// Something that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    /// What it says.
    pub(super) text: String,
    /// When it was learned.
    pub(super) fetched: Millis,
    /// Until when it is fresh.
    pub(super) until: Millis,
}

/// What a tool was like when it was first seen, and in which ways it was seen since, by any kind of
/// clients; latest last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) first: String,
    pub(super) seen: Vec<String>,
}

impl Mark {
    /// A tool that was never seen before.
    pub(super) fn new(fingerprint: &str) -> Self {
        Self { first: fingerprint.to_owned(), seen: vec![fingerprint.to_owned()] }
    }

    /// Whether the tool is as it was at first.
    pub(super) fn is_first(&self, fingerprint: &str) -> bool {
        is_fingerprint(&self.first, fingerprint)
    }

    /// Sees the tool again. False if it was seen in this way before: it may have been away
    /// meanwhile, or another kind of clients may see it in another way.
    pub(super) fn see(&mut self, fingerprint: &str) -> bool {
        if self.is_first(fingerprint)
            || self.seen.iter().any(|seen| is_fingerprint(seen, fingerprint))
        {
            return false;
        }
        if self.seen.len() >= limits::UPSTREAM_SEEN_MAX {
            self.seen.remove(0);
        }
        self.seen.push(fingerprint.to_owned());
        true
    }
}

impl Shelf {
    pub(super) fn new(database: Rc<dyn Database>, place: String) -> Self {
        let tables = Tables::new("upstream_task", &TABLES).with_later(&WHOSE);
        Self { database, place, tables }
    }

    /// What is kept of one part for one kind of clients.
    pub(super) fn load(&self, kind: &str, part: &str) -> Result<Option<Kept>, Error> {
        if !self.tables.exist(&*self.database)? {
            return Ok(None);
        }
        let statement = "SELECT text, fetched, until FROM upstream
            WHERE place = ? AND kind = ? AND part = ?";
        let rows =
            self.database.run(statement, &[self.place.clone().into(), kind.into(), part.into()])?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(Kept {
            text: row.text(0)?.to_owned(),
            fetched: Millis::from_i64(row.integer(1)?),
            until: Millis::from_i64(row.integer(2)?),
        }))
    }

    /// What is kept of one part for every kind of clients.
    pub(super) fn load_all(&self, part: &str) -> Result<Vec<String>, Error> {
        if !self.tables.exist(&*self.database)? {
            return Ok(Vec::new());
        }
        let statement = "SELECT text FROM upstream WHERE place = ? AND part = ?";
        let rows = self.database.run(statement, &[self.place.clone().into(), part.into()])?;
        rows.iter().map(|row| Ok(row.text(0)?.to_owned())).collect()
    }

    /// Keeps a part.
    pub(super) fn keep(&self, kind: &str, part: &str, kept: &Kept) -> Result<(), Error> {
        self.tables.make(&*self.database)?;
        let statement = "INSERT OR REPLACE INTO upstream (place, kind, part, text, fetched, until)
            VALUES (?, ?, ?, ?, ?, ?)";
        let values = [
            self.place.clone().into(),
            kind.into(),
            part.into(),
            kept.text.clone().into(),
            kept.fetched.to_i64().into(),
            kept.until.to_i64().into(),
        ];
        self.database.run(statement, &values)?;
        self.trim(part)
    }

    /// A part is not fresh any more.
    pub(super) fn spoil(&self, kind: &str, part: &str) -> Result<(), Error> {
        if self.tables.exist(&*self.database)? {
            let statement = "UPDATE upstream SET until = 0
                WHERE place = ? AND kind = ? AND part = ? AND until > 0";
            let values = [self.place.clone().into(), kind.into(), part.into()];
            self.database.run(statement, &values)?;
        }
        Ok(())
    }

    /// Forgets a part.
    fn forget(&self, kind: &str, part: &str) -> Result<(), Error> {
        if self.tables.exist(&*self.database)? {
            let statement = "DELETE FROM upstream WHERE place = ? AND kind = ? AND part = ?";
            let values = [self.place.clone().into(), kind.into(), part.into()];
            self.database.run(statement, &values)?;
        }
        Ok(())
    }

    /// Kinds of clients that have not been here for long make room, and places that were. Meetings,
    /// whose rows do not age, take no room of the lists.
    fn trim(&self, part: &str) -> Result<(), Error> {
        let (comparison, most) = match part {
            MEETING => ("=", limits::UPSTREAM_MEETINGS_MAX),
            _ => ("<>", limits::UPSTREAM_ROWS_MAX),
        };
        let statement = format!(
            "DELETE FROM upstream WHERE part {comparison} ?1 AND rowid NOT IN
            (SELECT rowid FROM upstream WHERE part {comparison} ?1
            ORDER BY fetched DESC, rowid DESC LIMIT ?2)"
        );
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.database.run(&statement, &[MEETING.into(), most.into()]).map(|_| ())
    }

    /// What the tools were like.
    pub(super) fn marks(&self) -> Result<BTreeMap<String, Mark>, Error> {
        if !self.tables.exist(&*self.database)? {
            return Ok(BTreeMap::new());
        }
        let statement = "SELECT name, first, last FROM upstream_tool WHERE place = ?";
        let rows = self.database.run(statement, &[self.place.clone().into()])?;
        rows.iter()
            .map(|row| {
                let seen = row.text(2)?.split(' ').map(ToOwned::to_owned).collect();
                let mark = Mark { first: row.text(1)?.to_owned(), seen };
                Ok((row.text(0)?.to_owned(), mark))
            })
            .collect()
    }

    /// Remembers what a tool is like.
    pub(super) fn mark(&self, name: &str, mark: &Mark) -> Result<(), Error> {
        self.tables.make(&*self.database)?;
        let statement =
            "INSERT OR REPLACE INTO upstream_tool (place, name, first, last) VALUES (?, ?, ?, ?)";
        let values = [
            self.place.clone().into(),
            name.into(),
            mark.first.clone().into(),
            mark.seen.join(" ").into(),
        ];
        self.database.run(statement, &values).map(|_| ())
    }

    /// Forgets what the tools were like in places where nothing new has been seen for the longest.
    pub(super) fn trim_marks(&self) -> Result<(), Error> {
        let statement = "DELETE FROM upstream_tool WHERE place NOT IN (SELECT place
            FROM upstream_tool GROUP BY place ORDER BY MAX(rowid) DESC LIMIT ?)";
        let most = i64::try_from(limits::UPSTREAM_PLACES_MAX).unwrap_or(i64::MAX);
        self.database.run(statement, &[most.into()]).map(|_| ())
    }

    /// Remembers a task that the upstream runs for one kind of clients, by the id that they know.
    pub(super) fn keep_task(
        &self,
        id: &str,
        kind: &str,
        remote: &str,
        holder: &Holder,
        now: Millis,
    ) -> Result<(), Error> {
        self.tables.make(&*self.database)?;
        let old = Millis(now.0.saturating_sub(limits::TASK_TTL_MS));
        self.database.run("DELETE FROM upstream_task WHERE created < ?", &[old.to_i64().into()])?;
        let count = self.database.run("SELECT COUNT(*) FROM upstream_task", &[])?;
        if count.first().map_or(Ok(0), |row| row.integer(0))? >= limits::TASKS_MAX {
            let text = "too many tasks are kept here; try again when older ones have expired";
            return Err(Error::new(Kind::Limit, text));
        }
        let statement = "INSERT INTO upstream_task
            (id, place, kind, remote, created, client, credential) VALUES (?, ?, ?, ?, ?, ?, ?)";
        let values = [
            id.into(),
            self.place.clone().into(),
            kind.into(),
            remote.into(),
            now.to_i64().into(),
            holder.client.as_str().into(),
            holder.credential.as_str().into(),
        ];
        self.database.run(statement, &values).map(|_| ())
    }

    /// Forgets the tasks that end: the kind of clients of each, and the id that the upstream knows.
    /// `toolset` is what this upstream is called.
    pub(super) fn end_tasks(
        &self,
        stop: &Stop,
        toolset: &str,
    ) -> Result<Vec<(String, String)>, Error> {
        if !self.tables.exist(&*self.database)? {
            return Ok(Vec::new());
        }
        let statement =
            "SELECT id, kind, remote, client, credential FROM upstream_task WHERE place = ?";
        let mut ended = Vec::new();
        for row in &self.database.run(statement, &[self.place.clone().into()])? {
            let (client, credential) = (row.text(3)?.to_owned(), row.text(4)?.to_owned());
            if stop.ends(&Holder { client, credential }, Some(toolset)) {
                let statement = "DELETE FROM upstream_task WHERE id = ?";
                self.database.run(statement, &[row.text(0)?.into()])?;
                ended.push((row.text(1)?.to_owned(), row.text(2)?.to_owned()));
            }
        }
        Ok(ended)
    }

    /// Such a task: the kind of clients, and the id that the upstream knows.
    pub(super) fn task(&self, id: &str, now: Millis) -> Result<Option<(String, String)>, Error> {
        if !self.tables.exist(&*self.database)? {
            return Ok(None);
        }
        let statement = "SELECT kind, remote FROM upstream_task
            WHERE id = ? AND place = ? AND created >= ?";
        let old = Millis(now.0.saturating_sub(limits::TASK_TTL_MS));
        let values = [id.into(), self.place.clone().into(), old.to_i64().into()];
        let rows = self.database.run(statement, &values)?;
        rows.first().map(|row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned()))).transpose()
    }

    /// Where it is kept how this kind of clients met the upstream.
    pub(super) fn keeper(self: &Rc<Self>, kind: &str) -> Meeting {
        Meeting { shelf: Rc::clone(self), kind: kind.to_owned() }
    }
}

const MEETING: &str = "met";

const NEVER: Millis = Millis(limits::NEVER_MS);

/// How one kind of clients met the upstream.
pub(super) struct Meeting {
    shelf: Rc<Shelf>,
    kind: String,
}

impl Keeper for Meeting {
    fn load(&self) -> Option<Met> {
        // What cannot be read is met anew.
        let kept = self.shelf.load(&self.kind, MEETING).ok().flatten()?;
        serde_json::from_str(&kept.text).ok()
    }

    fn keep(&self, met: Option<&Met>) {
        let text = met.and_then(|met| serde_json::to_string(met).ok());
        let kept = match text {
            // The row does not age: the upstream says when it has forgotten, and what is met
            // without a session says itself how old it is.
            Some(text) => {
                let kept = Kept { text, fetched: NEVER, until: NEVER };
                self.shelf.keep(&self.kind, MEETING, &kept)
            }
            None => self.shelf.forget(&self.kind, MEETING),
        };
        // What is not kept is met anew after the next eviction.
        let _ = kept;
    }
}
