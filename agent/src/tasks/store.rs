//! Tasks as rows. Each function is one statement, so that what it does is done or not. It must not
//! know what a task does, or whether it runs.

use rmcp::model::TaskStatus;
use shared::{
    Error, Millis,
    database::{Database, Row, Tables, Value},
    hop::{Holder, Stop},
    limits,
};
use std::rc::Rc;

/// The tasks of one context.
pub(super) struct Store {
    database: Rc<dyn Database>,
    tables: Tables,
}

// What is looked at in every row comes before what is large.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS task (
    id TEXT PRIMARY KEY, status TEXT NOT NULL, created INTEGER NOT NULL,
    updated INTEGER NOT NULL, runs INTEGER NOT NULL, asked TEXT NOT NULL,
    answers TEXT NOT NULL, call TEXT, outcome TEXT,
    client TEXT NOT NULL DEFAULT '', credential TEXT NOT NULL DEFAULT '',
    toolset TEXT NOT NULL DEFAULT '') WITHOUT ROWID";

// The first versions did not know whose a task is.
const WHOSE: [&str; 3] = [
    "client TEXT NOT NULL DEFAULT ''",
    "credential TEXT NOT NULL DEFAULT ''",
    "toolset TEXT NOT NULL DEFAULT ''",
];

/// A task as its client may see it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) status: TaskStatus,
    pub(super) created: Millis,
    pub(super) updated: Millis,
    /// What it asks and has no answer to, as JSON: an object, empty unless it waits for input.
    pub(super) asked: String,
    /// The result or the error that it ended with, as JSON.
    pub(super) outcome: Option<String>,
}

/// What a task is run from.
#[derive(Debug)]
pub(super) struct Begun {
    /// The call's parameters, as JSON.
    pub(super) call: String,
    /// What its client answered so far, as JSON: an object.
    pub(super) answers: String,
    /// How often it was run since the last answer.
    pub(super) runs: u32,
    /// Who asked for it.
    pub(super) holder: Holder,
    /// Where it runs, by the toolset's name.
    pub(super) toolset: String,
}

/// What there is of tasks.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Sum {
    pub(super) all: i64,
    /// Working, or waiting for input.
    pub(super) open: i64,
    pub(super) working: i64,
    /// When the oldest began.
    pub(super) oldest: Millis,
}

/// The statuses, as they are stored. A task with one of the first two is open.
const WORDS: [(TaskStatus, &str); 5] = [
    (TaskStatus::Working, "working"),
    (TaskStatus::InputRequired, "input_required"),
    (TaskStatus::Completed, "completed"),
    (TaskStatus::Failed, "failed"),
    (TaskStatus::Cancelled, "cancelled"),
];

fn word(status: TaskStatus) -> &'static str {
    let known = WORDS.iter().find(|(one, _)| *one == status);
    known.map_or("failed", |(_, word)| word)
}

fn read(word: &str) -> Result<TaskStatus, Error> {
    let known = WORDS.iter().find(|(_, one)| *one == word);
    known.map(|(status, _)| *status).ok_or_else(|| Error::internal(format!("a task is {word}")))
}

fn optional(row: &Row, column: usize) -> Option<String> {
    row.text(column).ok().map(ToOwned::to_owned)
}

impl Store {
    pub(super) const fn new(database: Rc<dyn Database>) -> Self {
        Self { database, tables: Tables::new("task", &[TABLE]).with_later(&WHOSE) }
    }

    /// Runs a statement. Where nothing was ever kept there is no row that it could be about.
    fn run(&self, statement: &str, arguments: &[Value]) -> Result<Vec<Row>, Error> {
        match self.tables.exist(&*self.database)? {
            true => self.database.run(statement, arguments),
            false => Ok(Vec::new()),
        }
    }

    /// Keeps a fresh task that works.
    pub(super) fn insert(&self, id: &str, begun: &Begun, now: Millis) -> Result<(), Error> {
        self.tables.make(&*self.database)?;
        let Begun { call, answers, runs, holder, toolset } = begun;
        let statement = "INSERT INTO task
            (id, status, created, updated, runs, asked, answers, call, client, credential, toolset)
            VALUES (?1, 'working', ?2, ?2, ?3, '{}', ?4, ?5, ?6, ?7, ?8)";
        let texts = [answers, call, &holder.client, &holder.credential, toolset];
        let texts = texts.into_iter().map(|text| text.as_str().into());
        let fixed = [id.into(), now.into(), Value::Integer((*runs).into())];
        let values: Vec<Value> = fixed.into_iter().chain(texts).collect();
        self.run(statement, &values).map(|_| ())
    }

    /// A task that is not expired.
    pub(super) fn see(&self, id: &str, now: Millis) -> Result<Option<Seen>, Error> {
        let statement = "SELECT status, created, updated, asked, outcome FROM task
            WHERE id = ? AND created > ?";
        let rows = self.run(statement, &[id.into(), horizon(now)])?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(Seen {
            status: read(row.text(0)?)?,
            created: Millis::from_i64(row.integer(1)?),
            updated: Millis::from_i64(row.integer(2)?),
            asked: row.text(3)?.to_owned(),
            outcome: optional(row, 4),
        }))
    }

    /// What an open task is run from.
    pub(super) fn begun(&self, id: &str) -> Result<Option<Begun>, Error> {
        let statement = "SELECT call, answers, runs, client, credential, toolset FROM task
            WHERE id = ? AND status IN ('working', 'input_required')";
        let rows = self.run(statement, &[id.into()])?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let runs = u32::try_from(row.integer(2)?).unwrap_or(u32::MAX);
        let (call, answers) = (row.text(0)?.to_owned(), row.text(1)?.to_owned());
        let (holder, toolset) = (holder_at(row, 3)?, row.text(5)?.to_owned());
        Ok(Some(Begun { call, answers, runs, holder, toolset }))
    }

    /// A task's work begins once more.
    pub(super) fn run_again(&self, id: &str) -> Result<(), Error> {
        self.run("UPDATE task SET runs = runs + 1 WHERE id = ?", &[id.into()]).map(|_| ())
    }

    /// An open task asks something, or nothing any more.
    pub(super) fn ask(&self, id: &str, asked: String, now: Millis) -> Result<(), Error> {
        let statement = "UPDATE task SET asked = ?2, updated = ?3,
            status = CASE ?2 WHEN '{}' THEN 'working' ELSE 'input_required' END
            WHERE id = ?1 AND status IN ('working', 'input_required')";
        self.run(statement, &[id.into(), asked.into(), now.into()]).map(|_| ())
    }

    /// An open task has answers, and asks what is left. Work that was lost before was none of
    /// theirs.
    pub(super) fn answer(
        &self,
        id: &str,
        asked: String,
        answers: String,
        now: Millis,
    ) -> Result<(), Error> {
        let statement = "UPDATE task SET asked = ?2, answers = ?3, updated = ?4, runs = 1,
            status = CASE ?2 WHEN '{}' THEN 'working' ELSE 'input_required' END
            WHERE id = ?1 AND status IN ('working', 'input_required')";
        self.run(statement, &[id.into(), asked.into(), answers.into(), now.into()]).map(|_| ())
    }

    /// An open task is over. One that is over already stays as it is.
    pub(super) fn finish(
        &self,
        id: &str,
        status: TaskStatus,
        outcome: Option<String>,
        now: Millis,
    ) -> Result<(), Error> {
        let statement = "UPDATE task SET status = ?, outcome = ?, updated = ?,
            asked = '{}', answers = '{}', call = NULL
            WHERE id = ? AND status IN ('working', 'input_required')";
        let outcome = outcome.map_or(Value::Null, Value::Text);
        let arguments = [word(status).into(), outcome, now.into(), id.into()];
        self.run(statement, &arguments).map(|_| ())
    }

    /// The tasks that are not over and that this ends.
    pub(super) fn open(&self, stop: &Stop) -> Result<Vec<String>, Error> {
        let statement = "SELECT id, client, credential, toolset FROM task
            WHERE status IN ('working', 'input_required')";
        let mut open = Vec::new();
        for row in &self.run(statement, &[])? {
            if stop.ends(&holder_at(row, 1)?, Some(row.text(3)?)) {
                open.push(row.text(0)?.to_owned());
            }
        }
        Ok(open)
    }

    /// The tasks that should be at work.
    pub(super) fn working(&self) -> Result<Vec<String>, Error> {
        let rows = self.run("SELECT id FROM task WHERE status = 'working'", &[])?;
        rows.iter().map(|row| row.text(0).map(ToOwned::to_owned)).collect()
    }

    /// Deletes what is expired and says what it was.
    pub(super) fn sweep(&self, now: Millis) -> Result<Vec<String>, Error> {
        let rows = self.run("DELETE FROM task WHERE created <= ? RETURNING id", &[horizon(now)])?;
        rows.iter().map(|row| row.text(0).map(ToOwned::to_owned)).collect()
    }

    /// What there is.
    pub(super) fn sum(&self) -> Result<Sum, Error> {
        let statement = "SELECT count(*), sum(status IN ('working', 'input_required')),
            sum(status = 'working'), min(created) FROM task";
        let rows = self.run(statement, &[])?;
        let Some(row) = rows.first() else {
            return Ok(Sum::default());
        };
        Ok(Sum {
            all: row.integer(0)?,
            open: row.integer(1)?,
            working: row.integer(2)?,
            oldest: Millis::from_i64(row.integer(3)?),
        })
    }
}

/// Who asked, from this column and the next.
fn holder_at(row: &Row, column: usize) -> Result<Holder, Error> {
    let (client, credential) = (row.text(column)?, row.text(column.saturating_add(1))?);
    Ok(Holder { client: client.to_owned(), credential: credential.to_owned() })
}

/// What began at this time or before is expired. Nothing began before the epoch.
fn horizon(now: Millis) -> Value {
    Value::Integer(now.to_i64().saturating_sub(Millis(limits::TASK_TTL_MS).to_i64()))
}
