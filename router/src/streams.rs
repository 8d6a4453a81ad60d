//! Streams that outlive a request, and the log of what was said on them, in SQLite: a client that
//! lost its connection, or whose router did, asks for the rest by the id of the last event that it
//! has. It must not know what a message means, nor who is connected.
//!
//! An event's id is `stream-number`. Numbers grow over all streams of a user, so an id is unique
//! in every session and names its stream (all revisions since 2025-03-26 ask for that).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shared::{
    Error, Kind, Millis, Scope, SessionId,
    database::{Database, Row, Tables, Value},
    limits,
};
use std::{cell::Cell, collections::BTreeMap, fmt};

/// Which stream of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(i64);

impl StreamId {
    /// Reads one from a row of a database.
    ///
    /// # Errors
    /// An internal error if there is none.
    pub fn read(row: &Row, column: usize) -> Result<Self, Error> {
        row.integer(column).map(Self)
    }
}

impl From<StreamId> for Value {
    fn from(stream: StreamId) -> Self {
        Self::Integer(stream.0)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An event: its stream, and its number. Number zero is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId {
    /// The stream.
    pub stream: StreamId,
    /// The number.
    pub number: i64,
}

impl EventId {
    /// Before the first event of a stream.
    #[must_use]
    pub const fn start(stream: StreamId) -> Self {
        Self { stream, number: 0 }
    }

    /// Reads an id; `None` if it is none of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (stream, number) = text.split_once('-')?;
        let plain = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
        if !plain(stream) || !plain(number) {
            return None;
        }
        Some(Self { stream: StreamId(stream.parse().ok()?), number: number.parse().ok()? })
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.stream, self.number)
    }
}

/// What a stream of the modern era is for (2026-07-28, subscriptions).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Filter {
    /// Changes of the list of tools.
    #[serde(skip_serializing_if = "is_false")]
    pub tools_list_changed: bool,
    /// Changes of the list of prompts.
    #[serde(skip_serializing_if = "is_false")]
    pub prompts_list_changed: bool,
    /// Changes of the list of resources.
    #[serde(skip_serializing_if = "is_false")]
    pub resources_list_changed: bool,
    /// Changes of these resources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_subscriptions: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// What a stream carries.
#[derive(Debug, Clone)]
pub enum Purpose {
    /// The replies to these requests of a session, and what comes before them.
    Calls {
        /// The session.
        session: SessionId,
        /// The ids of the requests.
        ids: Vec<Box<RawValue>>,
    },
    /// What a session hears outside of its requests.
    Session(SessionId),
    /// Everything that a session of the 2024-11-05 transport is told. Nothing of it is kept.
    Old(SessionId),
    /// What a client of the modern era asked to hear. Nothing of it is kept.
    Listen {
        /// The id of the request that opened it.
        id: Box<RawValue>,
        /// What it asked for.
        filter: Filter,
    },
}

/// A stream that is open or can be resumed.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Which.
    pub id: StreamId,
    /// Where.
    pub scope: Scope,
    /// What for.
    pub purpose: Purpose,
}

/// What a client missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missed {
    /// These events.
    Events(Vec<(EventId, String)>),
    /// Some of it is kept no more.
    Gone,
}

/// When what is said now may be forgotten.
#[must_use]
pub fn forgotten_after(now: Millis) -> Millis {
    now.after(limits::EVENT_AGE_MS).after(1)
}

/// The streams of one user.
#[derive(Debug)]
pub struct Streams<D> {
    database: D,
    tables: Tables,
    /// Whether anybody would hear of a change; unknown until it is asked for.
    is_heard: Cell<Option<bool>>,
    /// Events kept, and their bytes; unknown until it is asked for.
    kept: Cell<Option<(usize, usize)>>,
}

const TABLES: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS streams (
        id INTEGER PRIMARY KEY AUTOINCREMENT, session TEXT, scope TEXT NOT NULL,
        requests TEXT, filter TEXT, opened INTEGER NOT NULL, gone INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS events (
        number INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, message TEXT,
        is_last INTEGER NOT NULL, at INTEGER NOT NULL)",
    "CREATE INDEX IF NOT EXISTS events_of_stream ON events (stream)",
];

/// Stands for a filter where a stream is of the 2024-11-05 transport.
const OLD: &str = "old";

/// Every stream but those of calls.
const HEARING: &str = "(requests IS NULL OR filter IS NOT NULL)";

const COLUMNS: &str = "id, session, scope, requests, filter";

fn internal(error: &serde_json::Error) -> Error {
    Error::internal(format!("a stored stream: {error}"))
}

impl<D: Database> Streams<D> {
    /// The streams in a database. Its tables are made when the first stream opens.
    pub const fn new(database: D) -> Self {
        let (is_heard, kept) = (Cell::new(None), Cell::new(None));
        Self { database, tables: Tables::new("events", &TABLES), is_heard, kept }
    }

    /// Opens a stream. Where there are too many, the oldest that nobody uses goes, those of calls
    /// first; it is named in the answer.
    ///
    /// # Errors
    /// [`Kind::Limit`] where all are in use, and the database's own.
    pub fn open(
        &self,
        scope: &Scope,
        purpose: &Purpose,
        is_used: impl Fn(StreamId) -> bool,
        now: Millis,
    ) -> Result<(StreamId, Option<StreamId>), Error> {
        self.tables.make(&self.database)?;
        let gone = self.make_room(is_used)?;
        let json = |value: serde_json::Result<String>| value.map_err(|error| internal(&error));
        let scope = json(serde_json::to_string(scope))?;
        let (session, requests, filter) = match purpose {
            Purpose::Calls { session, ids } => {
                (session.as_str().into(), json(serde_json::to_string(ids))?.into(), Value::Null)
            }
            Purpose::Session(session) => (session.as_str().into(), Value::Null, Value::Null),
            Purpose::Old(session) => (session.as_str().into(), Value::Null, OLD.into()),
            Purpose::Listen { id, filter } => {
                (Value::Null, id.get().into(), json(serde_json::to_string(filter))?.into())
            }
        };
        let rows = self.database.run(
            "INSERT INTO streams (session, scope, requests, filter, opened, gone)
             VALUES (?, ?, ?, ?, ?, 0) RETURNING id",
            &[session, scope.into(), requests, filter, now.into()],
        )?;
        let row = rows.first().ok_or_else(|| Error::internal("a stream without an id"))?;
        if !matches!(purpose, Purpose::Calls { .. }) {
            self.is_heard.set(Some(true));
        }
        Ok((StreamId(row.integer(0)?), gone))
    }

    /// Lets a stream go if there are as many as there may be.
    fn make_room(&self, is_used: impl Fn(StreamId) -> bool) -> Result<Option<StreamId>, Error> {
        let count = self.database.run("SELECT count(*) FROM streams", &[])?;
        let count = count.first().map_or(Ok(0), |row| row.integer(0))?;
        if usize::try_from(count).unwrap_or(0) < limits::STREAMS_MAX {
            return Ok(None);
        }
        let statement = "SELECT id FROM streams ORDER BY filter IS NOT NULL, requests IS NULL, id";
        for row in &self.database.run(statement, &[])? {
            let stream = StreamId(row.integer(0)?);
            if !is_used(stream) {
                self.close(stream)?;
                return Ok(Some(stream));
            }
        }
        let text = format!("{} streams are open already; close one", limits::STREAMS_MAX);
        Err(Error::new(Kind::Limit, text))
    }

    /// The stream of this id.
    ///
    /// # Errors
    /// The database's own.
    pub fn find(&self, id: StreamId) -> Result<Option<Stream>, Error> {
        if !self.tables.exist(&self.database)? {
            return Ok(None);
        }
        let statement = format!("SELECT {COLUMNS} FROM streams WHERE id = ?");
        let rows = self.database.run(&statement, &[Value::Integer(id.0)])?;
        rows.first().map(read).transpose()
    }

    /// The stream of a session of the 2024-11-05 transport.
    ///
    /// # Errors
    /// The database's own.
    pub fn of_old_transport(&self, session: &SessionId) -> Result<Option<StreamId>, Error> {
        if !self.tables.exist(&self.database)? {
            return Ok(None);
        }
        let statement = "SELECT id FROM streams WHERE session = ? AND filter = ?";
        let rows = self.database.run(statement, &[session.as_str().into(), OLD.into()])?;
        rows.first().map(|row| row.integer(0).map(StreamId)).transpose()
    }

    /// Every stream that hears of changes, the newest first.
    ///
    /// # Errors
    /// The database's own.
    pub fn hearing(&self) -> Result<Vec<Stream>, Error> {
        if !self.tables.exist(&self.database)? {
            return Ok(Vec::new());
        }
        let statement = format!("SELECT {COLUMNS} FROM streams WHERE {HEARING} ORDER BY id DESC");
        self.database.run(&statement, &[])?.iter().map(read).collect()
    }

    /// Whether [`Self::hearing`] names any.
    ///
    /// # Errors
    /// The database's own.
    pub fn is_heard(&self) -> Result<bool, Error> {
        if let Some(known) = self.is_heard.get() {
            return Ok(known);
        }
        let statement = format!("SELECT 1 FROM streams WHERE {HEARING} LIMIT 1");
        let heard =
            self.tables.exist(&self.database)? && !self.database.run(&statement, &[])?.is_empty();
        self.is_heard.set(Some(heard));
        Ok(heard)
    }

    /// Keeps a message and numbers it; `None` if its stream is no more. `is_last` says that nothing
    /// follows on its stream.
    ///
    /// # Errors
    /// The database's own.
    pub fn append(
        &self,
        stream: StreamId,
        message: &str,
        is_last: bool,
        now: Millis,
    ) -> Result<Option<EventId>, Error> {
        let (events, bytes) = self.kept()?;
        let kept = message.len() <= limits::EVENT_BYTES_MAX;
        let rows = self.database.run(
            "INSERT INTO events (stream, message, is_last, at)
             SELECT id, ?, ?, ? FROM streams WHERE id = ? RETURNING number",
            &[
                if kept { message.into() } else { Value::Null },
                Value::Integer(is_last.into()),
                now.into(),
                Value::Integer(stream.0),
            ],
        )?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let number = row.integer(0)?;
        let bytes = if kept { bytes.saturating_add(message.len()) } else { bytes };
        self.kept.set(Some((events.saturating_add(1), bytes)));
        self.trim()?;
        Ok(Some(EventId { stream, number }))
    }

    /// Events kept and their bytes.
    fn kept(&self) -> Result<(usize, usize), Error> {
        if let Some(kept) = self.kept.get() {
            return Ok(kept);
        }
        let statement = "SELECT count(*), sum(length(CAST(message AS BLOB))) FROM events";
        let rows = self.database.run(statement, &[])?;
        let row = rows.first().ok_or_else(|| Error::internal("no count of events"))?;
        let size = |column| row.integer(column).map(|n| usize::try_from(n).unwrap_or(0));
        Ok((size(0)?, size(1)?))
    }

    /// Lets the oldest events of whichever stream has the most go, until the rest is within bounds:
    /// what is said too much of is no loss to the others.
    fn trim(&self) -> Result<(), Error> {
        while let Some((events, bytes)) = self.kept.get() {
            let by = match (events > limits::STREAM_EVENTS_MAX, bytes > limits::STREAM_BYTES_MAX) {
                (true, _) => "count(*)",
                (_, true) => "sum(length(CAST(message AS BLOB)))",
                (false, false) => break,
            };
            let statement = format!(
                "SELECT stream, count(*) FROM events GROUP BY stream ORDER BY {by} DESC LIMIT 1"
            );
            let rows = self.database.run(&statement, &[])?;
            let Some(row) = rows.first() else {
                break;
            };
            // Not all of it at once, where it is a few large ones.
            let most = i64::from(limits::STREAM_TRIM_EVENTS);
            let most = Value::Integer((row.integer(1)? / 2).clamp(1, most));
            let dropped = self.drop_events(
                "number IN (SELECT number FROM events WHERE stream = ? ORDER BY number LIMIT ?)",
                &[Value::Integer(row.integer(0)?), most],
            )?;
            if dropped == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Counts events that are kept no more.
    fn uncount(&self, events: usize, bytes: usize) {
        let less = |(e, b): (usize, usize)| (e.saturating_sub(events), b.saturating_sub(bytes));
        self.kept.set(self.kept.get().map(less));
    }

    /// Deletes events and marks their streams as no longer whole; says how many.
    fn drop_events(&self, which: &str, arguments: &[Value]) -> Result<usize, Error> {
        let statement = format!(
            "DELETE FROM events WHERE {which}
             RETURNING stream, number, length(CAST(message AS BLOB))"
        );
        let rows = self.database.run(&statement, arguments)?;
        let mut bytes = 0_usize;
        let mut gone: BTreeMap<i64, i64> = BTreeMap::new();
        for row in &rows {
            bytes = bytes.saturating_add(usize::try_from(row.integer(2)?).unwrap_or(0));
            let latest = gone.entry(row.integer(0)?).or_default();
            *latest = (*latest).max(row.integer(1)?);
        }
        for (stream, latest) in gone {
            let arguments = [Value::Integer(latest), Value::Integer(stream)];
            self.database.run("UPDATE streams SET gone = max(gone, ?) WHERE id = ?", &arguments)?;
        }
        self.uncount(rows.len(), bytes);
        Ok(rows.len())
    }

    /// What was said on a stream after an event.
    ///
    /// # Errors
    /// The database's own.
    pub fn missed(&self, after: EventId) -> Result<Missed, Error> {
        let stream = Value::Integer(after.stream.0);
        let statement = "SELECT gone FROM streams WHERE id = ?";
        let gone = self.database.run(statement, std::slice::from_ref(&stream))?;
        if gone.first().map_or(Ok(0), |row| row.integer(0))? > after.number {
            return Ok(Missed::Gone);
        }
        let rows = self.database.run(
            "SELECT number, message FROM events WHERE stream = ? AND number > ? ORDER BY number",
            &[stream, Value::Integer(after.number)],
        )?;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            let id = EventId { stream: after.stream, number: row.integer(0)? };
            match row.0.get(1) {
                Some(Value::Text(message)) => events.push((id, message.clone())),
                _ => return Ok(Missed::Gone),
            }
        }
        Ok(Missed::Events(events))
    }

    /// What is still kept of a stream, from its beginning.
    ///
    /// # Errors
    /// The database's own.
    pub fn left(&self, stream: StreamId) -> Result<Vec<(EventId, String)>, Error> {
        let rows = self.database.run(
            "SELECT number, message FROM events WHERE stream = ? AND message IS NOT NULL
             ORDER BY number",
            &[Value::Integer(stream.0)],
        )?;
        let read =
            |row: &Row| Ok((EventId { stream, number: row.integer(0)? }, row.text(1)?.to_owned()));
        rows.iter().map(read).collect()
    }

    /// Notes that nothing follows on a stream. One on which nothing was said is forgotten.
    ///
    /// # Errors
    /// The database's own.
    pub fn finish(&self, stream: StreamId) -> Result<(), Error> {
        let rows = self.database.run(
            "UPDATE events SET is_last = 1
             WHERE number = (SELECT max(number) FROM events WHERE stream = ?) RETURNING number",
            &[Value::Integer(stream.0)],
        )?;
        if rows.is_empty() { self.close(stream) } else { Ok(()) }
    }

    /// Whether the last message of a stream has been said.
    ///
    /// # Errors
    /// The database's own.
    pub fn is_done(&self, stream: StreamId) -> Result<bool, Error> {
        let statement = "SELECT 1 FROM events WHERE stream = ? AND is_last = 1";
        Ok(!self.database.run(statement, &[Value::Integer(stream.0)])?.is_empty())
    }

    /// Forgets a stream.
    ///
    /// # Errors
    /// The database's own.
    pub fn close(&self, stream: StreamId) -> Result<(), Error> {
        let statement = "DELETE FROM streams WHERE id = ? RETURNING id";
        let rows = self.database.run(statement, &[Value::Integer(stream.0)])?;
        self.forget(&rows).map(drop)
    }

    /// Forgets the streams of sessions that are no more, and says which they were.
    ///
    /// # Errors
    /// The database's own.
    pub fn end_orphans(&self) -> Result<Vec<StreamId>, Error> {
        // Where a stream has a session there is a table of sessions.
        let of_sessions = "SELECT 1 FROM streams WHERE session IS NOT NULL LIMIT 1";
        if !self.tables.exist(&self.database)? || self.database.run(of_sessions, &[])?.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.database.run(
            "DELETE FROM streams WHERE session IS NOT NULL
                AND session NOT IN (SELECT id FROM sessions) RETURNING id",
            &[],
        )?;
        self.forget(&rows)
    }

    /// Lets go what is too old. A stream that is in use stays. Says when to look again; `None` if
    /// there is nothing left.
    ///
    /// # Errors
    /// The database's own.
    pub fn expire(
        &self,
        is_used: impl Fn(StreamId) -> bool,
        now: Millis,
    ) -> Result<Option<Millis>, Error> {
        if !self.tables.exist(&self.database)? {
            return Ok(None);
        }
        let oldest: Value = Millis(now.0.saturating_sub(limits::EVENT_AGE_MS)).into();
        self.drop_events("at < ?", std::slice::from_ref(&oldest))?;
        let old = self.database.run(
            // What a session hears outside of its requests goes with the session.
            "SELECT id FROM streams WHERE opened < ? AND NOT (requests IS NULL AND filter IS NULL)
                AND NOT EXISTS (SELECT 1 FROM events WHERE events.stream = streams.id)",
            &[oldest],
        )?;
        for row in &old {
            let id = StreamId(row.integer(0)?);
            if !is_used(id) {
                self.close(id)?;
            }
        }
        let left = !self.database.run("SELECT 1 FROM streams LIMIT 1", &[])?.is_empty();
        Ok(left.then(|| forgotten_after(now)))
    }

    /// Forgets what was kept of streams that are no more.
    fn forget(&self, rows: &[Row]) -> Result<Vec<StreamId>, Error> {
        self.is_heard.set(None);
        let ids = rows.iter().map(|row| row.integer(0).map(StreamId));
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        for id in &ids {
            let statement =
                "DELETE FROM events WHERE stream = ? RETURNING length(CAST(message AS BLOB))";
            let rows = self.database.run(statement, &[Value::Integer(id.0)])?;
            let bytes = rows.iter().map(|row| row.integer(0)).sum::<Result<i64, _>>()?;
            self.uncount(rows.len(), usize::try_from(bytes).unwrap_or(0));
        }
        Ok(ids)
    }
}

fn read(row: &Row) -> Result<Stream, Error> {
    let text = |column: usize| match row.0.get(column) {
        Some(Value::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let broken = || Error::internal("a stored stream is of no kind");
    let session = text(1).and_then(SessionId::parse);
    let purpose = match (session, text(3), text(4)) {
        (Some(session), Some(ids), None) => {
            let ids = serde_json::from_str(ids).map_err(|error| internal(&error))?;
            Purpose::Calls { session, ids }
        }
        (Some(session), None, None) => Purpose::Session(session),
        (Some(session), None, Some(OLD)) => Purpose::Old(session),
        (None, Some(id), Some(filter)) => Purpose::Listen {
            id: RawValue::from_string(id.to_owned()).map_err(|error| internal(&error))?,
            filter: serde_json::from_str(filter).map_err(|error| internal(&error))?,
        },
        _ => return Err(broken()),
    };
    let scope = serde_json::from_str(row.text(2)?).map_err(|error| internal(&error))?;
    Ok(Stream { id: StreamId(row.integer(0)?), scope, purpose })
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::database::native::Embedded;

    fn session(n: u8) -> SessionId {
        SessionId::from_random([n; 32])
    }

    fn calls(n: u8) -> Purpose {
        let id = RawValue::from_string("1".to_owned()).unwrap();
        Purpose::Calls { session: session(n), ids: vec![id] }
    }

    fn open(streams: &Streams<Embedded>, purpose: &Purpose) -> StreamId {
        streams.open(&Scope::default(), purpose, |_| false, Millis(0)).unwrap().0
    }

    fn count(streams: &Streams<Embedded>, statement: &str) -> i64 {
        streams.database.run(statement, &[]).unwrap()[0].integer(0).unwrap()
    }

    #[test]
    fn an_event_id_is_read_as_it_was_written() {
        let id = EventId { stream: StreamId(12), number: 34 };
        assert_eq!(EventId::parse(&id.to_string()), Some(id));
        for text in
            ["", "-", "1", "1-", "-1", "1--1", "+1-1", "1-1-1", "a-1", "1-99999999999999999999"]
        {
            assert_eq!(EventId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_log_is_bounded_in_events_and_says_what_is_gone() {
        let streams = Streams::new(Embedded::in_memory());
        let (old, new) = (open(&streams, &calls(1)), open(&streams, &calls(1)));
        streams.append(old, "{}", false, Millis(0)).unwrap();
        let mut middle = EventId::start(new);
        for n in 0..limits::STREAM_EVENTS_MAX {
            let id = streams.append(new, "{}", false, Millis(0)).unwrap().unwrap();
            if n == limits::STREAM_EVENTS_MAX / 2 {
                middle = id;
            }
        }
        let kept = usize::try_from(count(&streams, "SELECT count(*) FROM events")).unwrap();
        assert!(kept <= limits::STREAM_EVENTS_MAX && kept > limits::STREAM_EVENTS_MAX * 9 / 10);
        // One that says much costs the others nothing.
        let Missed::Events(events) = streams.missed(EventId::start(old)).unwrap() else { panic!() };
        assert_eq!(events.len(), 1);
        assert_eq!(streams.missed(EventId::start(new)).unwrap(), Missed::Gone);
        let Missed::Events(events) = streams.missed(middle).unwrap() else { panic!() };
        assert_eq!(events.len(), limits::STREAM_EVENTS_MAX / 2 - 1);
    }

    #[test]
    fn the_log_is_bounded_in_bytes() {
        let streams = Streams::new(Embedded::in_memory());
        let other = open(&streams, &calls(1));
        // More events, and fewer bytes.
        for _ in 0..limits::STREAM_TRIM_EVENTS {
            streams.append(other, "{}", false, Millis(0)).unwrap();
        }
        let stream = open(&streams, &calls(1));
        let message = "x".repeat(limits::EVENT_BYTES_MAX);
        let most = limits::STREAM_BYTES_MAX / limits::EVENT_BYTES_MAX;
        let last: Vec<EventId> = (0..most * 2)
            .map(|_| streams.append(stream, &message, false, Millis(0)).unwrap().unwrap())
            .collect();
        let bytes = count(&streams, "SELECT sum(length(message)) FROM events");
        assert!(usize::try_from(bytes).unwrap() <= limits::STREAM_BYTES_MAX, "{bytes}");
        assert_eq!(streams.missed(last[most * 2 - 1]).unwrap(), Missed::Events(vec![]));
        let Missed::Events(events) = streams.missed(EventId::start(other)).unwrap() else {
            panic!("one that says much costs the others nothing")
        };
        assert_eq!(events.len(), usize::try_from(limits::STREAM_TRIM_EVENTS).unwrap());
        // One that is too large for the log is missed by whoever is away, and they are told.
        let before = streams.append(stream, "{}", false, Millis(0)).unwrap().unwrap();
        let large = "x".repeat(limits::EVENT_BYTES_MAX + 1);
        let large = streams.append(stream, &large, true, Millis(0)).unwrap().unwrap();
        assert_eq!(streams.missed(before).unwrap(), Missed::Gone);
        assert_eq!(streams.missed(large).unwrap(), Missed::Events(vec![]));
        assert!(streams.is_done(stream).unwrap());
        // The counts are those of the database, also after a restart.
        let again = Streams::new(streams.database);
        let kept = count(&again, "SELECT count(*) FROM events");
        assert_eq!(again.kept().unwrap().0, usize::try_from(kept).unwrap());
    }

    #[test]
    fn the_oldest_stream_that_nobody_uses_makes_room() {
        let streams = Streams::new(Embedded::in_memory());
        let heard = open(&streams, &Purpose::Session(session(1)));
        let running = open(&streams, &calls(1));
        let finished = open(&streams, &calls(1));
        streams.append(finished, "{}", true, Millis(0)).unwrap();
        for _ in 3..limits::STREAMS_MAX {
            open(&streams, &calls(1));
        }
        let next = |is_used: &dyn Fn(StreamId) -> bool| {
            let opened = streams.open(&Scope::default(), &calls(2), is_used, Millis(0));
            opened.map(|(_, gone)| gone)
        };
        assert_eq!(next(&|stream| stream == running || stream == heard).unwrap(), Some(finished));
        assert_eq!(count(&streams, "SELECT count(*) FROM events"), 0);
        // What a session listens to goes after what its calls have said.
        assert_eq!(next(&|_| false).unwrap(), Some(running));
        assert_eq!(next(&|_| true).unwrap_err().kind, Kind::Limit);
        assert!(streams.find(heard).unwrap().is_some());
    }

    #[test]
    fn nothing_is_kept_of_a_stream_that_is_no_more() {
        let streams = Streams::new(Embedded::in_memory());
        let stream = open(&streams, &calls(1));
        streams.append(stream, "{}", false, Millis(0)).unwrap();
        streams.close(stream).unwrap();
        assert_eq!(streams.append(stream, "{}", false, Millis(0)).unwrap(), None);
        assert_eq!(streams.kept.get(), Some((0, 0)));
    }

    #[test]
    fn an_old_stream_that_is_in_use_stays() {
        let streams = Streams::new(Embedded::in_memory());
        let (used, unused) = (open(&streams, &calls(1)), open(&streams, &calls(1)));
        let later = Millis(limits::EVENT_AGE_MS + 1);
        let next = streams.expire(|stream| stream == used, later).unwrap();
        assert!(next.is_some());
        assert!(streams.find(used).unwrap().is_some());
        assert!(streams.find(unused).unwrap().is_none());
        assert_eq!(streams.expire(|_| false, later).unwrap(), None);
    }
}
