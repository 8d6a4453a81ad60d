//! Durable notes with full-text search: one store per database. An Agent keeps the notes of its
//! context in one, a McpRouter the notes its user shares between contexts in another. It must not
//! know which of the two it is, nor MCP.

use crate::{
    Error, Kind, Millis,
    database::{Database, Row, Value, has_table},
    error::shown,
    limits,
};
use serde::{Deserialize, Serialize};

/// One note, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// `n` and twelve characters of randomness.
    pub id: String,
    /// One line that says what it is about. May be empty.
    pub title: String,
    /// The note.
    pub text: String,
    /// In the order they were given.
    pub tags: Vec<String>,
    /// When it was first remembered.
    pub created: Millis,
    /// When it last changed.
    pub updated: Millis,
}

/// A note that matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// The note.
    pub note: Note,
    /// The part of its text around the match.
    pub excerpt: String,
}

/// What a note is written from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// The id of the note to replace, or a fresh one.
    pub id: String,
    /// Whether the id names a note that must exist.
    pub replace: bool,
    /// See [`Note::title`]. Absent, a note that is replaced keeps its own.
    pub title: Option<String>,
    /// See [`Note::text`].
    pub text: String,
    /// See [`Note::tags`]. Absent, a note that is replaced keeps its own.
    pub tags: Option<Vec<String>>,
}

/// What can be asked of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Write one.
    Put(Draft),
    /// Read one.
    Get {
        /// Its id.
        id: String,
    },
    /// The best matches of a text, best first.
    Search {
        /// Words to look for.
        query: String,
        /// How many at the most.
        limit: u32,
    },
    /// The most recently changed, newest first.
    List {
        /// Only those with this tag.
        tag: Option<String>,
        /// How many at the most.
        limit: u32,
    },
    /// Ids that begin with a text, or whose title contains it.
    Complete {
        /// The text.
        text: String,
    },
    /// Remove one.
    Forget {
        /// Its id.
        id: String,
    },
}

/// What a store answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The note as it is now; `None` where there is none.
    Note(Option<Note>),
    /// Matches, best first.
    Hits(Vec<Hit>),
    /// Notes, newest first.
    Notes(Vec<Note>),
    /// Ids.
    Ids(Vec<String>),
}

/// Makes the id of a note from fresh randomness: short enough for a model to repeat, long enough
/// that no two collide.
#[must_use]
pub fn id_from_random(random: [u8; 12]) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let sign = |byte: u8| ALPHABET.get(usize::from(byte & 31)).copied().unwrap_or(b'0');
    std::iter::once('n').chain(random.iter().map(|&byte| char::from(sign(byte)))).collect()
}

const SCHEMA: [&str; 6] = [
    "CREATE TABLE IF NOT EXISTS notes (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, title TEXT NOT NULL, text TEXT NOT NULL,
        tags TEXT NOT NULL, bytes INTEGER NOT NULL, created INTEGER NOT NULL,
        updated INTEGER NOT NULL)",
    "CREATE INDEX IF NOT EXISTS notes_by_update ON notes (updated DESC, seq DESC)",
    "CREATE VIRTUAL TABLE IF NOT EXISTS notes_words USING fts5(
        title, text, tags, content='notes', content_rowid='seq',
        tokenize='porter unicode61 remove_diacritics 2')",
    "CREATE TRIGGER IF NOT EXISTS notes_inserted AFTER INSERT ON notes BEGIN
        INSERT INTO notes_words(rowid, title, text, tags)
        VALUES (new.seq, new.title, new.text, new.tags); END",
    "CREATE TRIGGER IF NOT EXISTS notes_deleted AFTER DELETE ON notes BEGIN
        INSERT INTO notes_words(notes_words, rowid, title, text, tags)
        VALUES ('delete', old.seq, old.title, old.text, old.tags); END",
    "CREATE TRIGGER IF NOT EXISTS notes_updated AFTER UPDATE ON notes BEGIN
        INSERT INTO notes_words(notes_words, rowid, title, text, tags)
        VALUES ('delete', old.seq, old.title, old.text, old.tags);
        INSERT INTO notes_words(rowid, title, text, tags)
        VALUES (new.seq, new.title, new.text, new.tags); END",
];

const COLUMNS: &str = "notes.id, notes.title, notes.text, notes.tags, notes.created, notes.updated";

/// The notes in one database.
#[derive(Debug)]
pub struct Store<D> {
    database: D,
}

impl<D: Database> Store<D> {
    /// The notes in a database. Its tables are made when the first note is written, so that a
    /// context that remembers nothing stores nothing.
    pub const fn new(database: D) -> Self {
        Self { database }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a draft out of bounds, [`Kind::Limit`] for a full store,
    /// [`Kind::NotFound`] for a note to replace that is not there; each says what to do.
    pub fn answer(&self, request: &Request, now: Millis) -> Result<Reply, Error> {
        if let Request::Put(draft) = request {
            return self.put(draft, now).map(|note| Reply::Note(Some(note)));
        }
        if !self.exists()? {
            return Ok(match request {
                Request::Put(_) | Request::Get { .. } | Request::Forget { .. } => Reply::Note(None),
                Request::Search { .. } => Reply::Hits(Vec::new()),
                Request::List { .. } => Reply::Notes(Vec::new()),
                Request::Complete { .. } => Reply::Ids(Vec::new()),
            });
        }
        match request {
            Request::Put(draft) => self.put(draft, now).map(|note| Reply::Note(Some(note))),
            Request::Get { id } => self.get(id).map(Reply::Note),
            Request::Search { query, limit } => self.search(query, *limit).map(Reply::Hits),
            Request::List { tag, limit } => self.list(tag.as_deref(), *limit).map(Reply::Notes),
            Request::Complete { text } => self.complete(text).map(Reply::Ids),
            Request::Forget { id } => self.forget(id).map(Reply::Note),
        }
    }

    /// Whether there is any note.
    ///
    /// # Errors
    /// The database's own.
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(!self.exists()? || self.database.run("SELECT 1 FROM notes LIMIT 1", &[])?.is_empty())
    }

    fn exists(&self) -> Result<bool, Error> {
        has_table(&self.database, "notes")
    }

    fn put(&self, draft: &Draft, now: Millis) -> Result<Note, Error> {
        check(draft)?;
        SCHEMA.iter().try_for_each(|statement| self.database.run(statement, &[]).map(drop))?;
        let old = self.get(&draft.id)?;
        if draft.replace && old.is_none() {
            return Err(Error::new(
                Kind::NotFound,
                format!("there is no note {}; leave `id` out to write a new one", shown(&draft.id)),
            ));
        }
        if !draft.replace && old.is_some() {
            return Err(Error::new(Kind::Conflict, "a fresh id is taken already; try again"));
        }
        let (replaces, old_bytes) = (old.is_some(), old.as_ref().map_or(0, bytes));
        let kept = old.unwrap_or_else(|| Note {
            id: draft.id.clone(),
            title: String::new(),
            text: String::new(),
            tags: Vec::new(),
            created: now,
            updated: now,
        });
        let note = Note {
            title: draft.title.clone().unwrap_or(kept.title),
            text: draft.text.clone(),
            tags: draft.tags.clone().unwrap_or(kept.tags),
            updated: now,
            ..kept
        };
        self.check_room(replaces, old_bytes, bytes(&note))?;
        self.write(&note)?;
        Ok(note)
    }

    fn check_room(&self, replaces: bool, old_bytes: u64, new_bytes: u64) -> Result<(), Error> {
        let totals = self.database.run("SELECT count(*), sum(bytes) FROM notes", &[])?;
        let total = |column| {
            let integer = totals.first().map_or(Ok(0), |row| row.integer(column))?;
            Ok::<_, Error>(u64::try_from(integer).unwrap_or(0))
        };
        if !replaces && total(0)? >= limits::NOTES_MAX {
            return Err(Error::new(
                Kind::Limit,
                format!("there are {} notes already; forget some first", limits::NOTES_MAX),
            ));
        }
        let after = total(1)?.saturating_sub(old_bytes).saturating_add(new_bytes);
        if after > limits::NOTES_BYTES_MAX {
            let rule = format!(
                "all notes together have at most {} bytes and this one would make it {after}; \
                 forget some first",
                limits::NOTES_BYTES_MAX
            );
            return Err(Error::new(Kind::Limit, rule));
        }
        Ok(())
    }

    fn write(&self, note: &Note) -> Result<(), Error> {
        let statement = "INSERT INTO notes (id, title, text, tags, bytes, created, updated)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (id) DO UPDATE SET title = excluded.title, text = excluded.text,
                tags = excluded.tags, bytes = excluded.bytes, updated = excluded.updated";
        let arguments = [
            note.id.as_str().into(),
            note.title.as_str().into(),
            note.text.as_str().into(),
            join_tags(&note.tags).into(),
            Value::Integer(i64::try_from(bytes(note)).unwrap_or(i64::MAX)),
            note.created.into(),
            note.updated.into(),
        ];
        self.database.run(statement, &arguments).map(drop)
    }

    fn get(&self, id: &str) -> Result<Option<Note>, Error> {
        let statement = format!("SELECT {COLUMNS} FROM notes WHERE id = ?");
        self.database.run(&statement, &[id.into()])?.first().map(read).transpose()
    }

    fn search(&self, query: &str, limit: u32) -> Result<Vec<Hit>, Error> {
        let Some(expression) = expression(query) else {
            return Ok(Vec::new());
        };
        // A match in the title counts most, in the tags more than in the text.
        let statement = format!(
            "SELECT {COLUMNS}, snippet(notes_words, 1, '', '', '…', 64)
             FROM notes_words JOIN notes ON notes.seq = notes_words.rowid
             WHERE notes_words MATCH ? ORDER BY bm25(notes_words, 4.0, 1.0, 2.0), notes.updated DESC, notes.id LIMIT ?"
        );
        let rows = self.database.run(&statement, &[expression.into(), limit.into()])?;
        let hit = |row: &Row| Ok(Hit { note: read(row)?, excerpt: row.text(6)?.to_owned() });
        rows.iter().map(hit).collect()
    }

    fn list(&self, tag: Option<&str>, limit: u32) -> Result<Vec<Note>, Error> {
        tag.map_or(Ok(()), check_tag)?;
        let order = "ORDER BY updated DESC, seq DESC LIMIT ?";
        let rows = match tag {
            None => self
                .database
                .run(&format!("SELECT {COLUMNS} FROM notes {order}"), &[limit.into()])?,
            Some(tag) => self.database.run(
                &format!("SELECT {COLUMNS} FROM notes WHERE instr(tags, ?) > 0 {order}"),
                &[join_tags(&[tag.to_owned()]).into(), limit.into()],
            )?,
        };
        rows.iter().map(read).collect()
    }

    fn complete(&self, text: &str) -> Result<Vec<String>, Error> {
        let statement = "SELECT id FROM notes
            WHERE substr(id, 1, length(?1)) = ?1 OR instr(lower(title), lower(?1)) > 0
            ORDER BY updated DESC, seq DESC LIMIT ?2";
        // One more than fits tells that there are more.
        let limit = limits::COMPLETION_VALUES_MAX.saturating_add(1);
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let rows = self.database.run(statement, &[text.into(), limit.into()])?;
        rows.iter().map(|row| row.text(0).map(ToOwned::to_owned)).collect()
    }

    fn forget(&self, id: &str) -> Result<Option<Note>, Error> {
        let note = self.get(id)?;
        if note.is_some() {
            self.database.run("DELETE FROM notes WHERE id = ?", &[id.into()])?;
        }
        Ok(note)
    }
}

fn check(draft: &Draft) -> Result<(), Error> {
    let invalid = |text: String| Err(Error::new(Kind::Invalid, text));
    if draft.text.trim().is_empty() {
        return invalid("`text` must not be empty".to_owned());
    }
    if draft.text.len() > limits::NOTE_TEXT_BYTES_MAX {
        return invalid(format!(
            "`text` has {} bytes, a note has at most {}; split it into several",
            draft.text.len(),
            limits::NOTE_TEXT_BYTES_MAX
        ));
    }
    let title = draft.title.as_deref().unwrap_or_default();
    if title.chars().count() > limits::NOTE_TITLE_CHARS_MAX || title.chars().any(char::is_control) {
        return invalid(format!(
            "`title` is one line of at most {} characters",
            limits::NOTE_TITLE_CHARS_MAX
        ));
    }
    let tags = draft.tags.as_deref().unwrap_or_default();
    if tags.len() > limits::NOTE_TAGS_MAX {
        return invalid(format!("a note has at most {} `tags`", limits::NOTE_TAGS_MAX));
    }
    tags.iter().try_for_each(|tag| check_tag(tag))
}

fn check_tag(tag: &str) -> Result<(), Error> {
    let plain = !tag.is_empty()
        && tag.chars().count() <= limits::NOTE_TAG_CHARS_MAX
        && !tag.chars().any(|c| c.is_whitespace() || c.is_control());
    if plain {
        return Ok(());
    }
    let rule = format!("a tag has 1 to {} characters and no spaces", limits::NOTE_TAG_CHARS_MAX);
    Err(Error::new(Kind::Invalid, rule))
}

/// Tags are stored between spaces, so that one is found whole and the words index sees each.
fn join_tags(tags: &[String]) -> String {
    if tags.is_empty() { String::new() } else { format!(" {} ", tags.join(" ")) }
}

fn read(row: &Row) -> Result<Note, Error> {
    Ok(Note {
        id: row.text(0)?.to_owned(),
        title: row.text(1)?.to_owned(),
        text: row.text(2)?.to_owned(),
        tags: row.text(3)?.split_whitespace().map(ToOwned::to_owned).collect(),
        created: Millis::from_i64(row.integer(4)?),
        updated: Millis::from_i64(row.integer(5)?),
    })
}

fn bytes(note: &Note) -> u64 {
    let tags = note.tags.iter().fold(0_usize, |sum, tag| sum.saturating_add(tag.len()));
    note.title.len().saturating_add(note.text.len()).saturating_add(tags) as u64
}

/// The search expression for a person's words: any of them may match, in any inflection, and none
/// of them is syntax. The star adds what begins with a word's stem. `None` if there is no word.
fn expression(query: &str) -> Option<String> {
    let bounded: String = query.chars().take(limits::QUERY_CHARS_MAX).collect();
    let words: Vec<String> = bounded
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .take(limits::QUERY_WORDS_MAX)
        .map(|word| format!("\"{word}\"*"))
        .collect();
    (!words.is_empty()).then(|| words.join(" OR "))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::database::native::Embedded;

    fn store() -> Store<Embedded> {
        Store::new(Embedded::in_memory())
    }

    fn draft(id: &str, text: &str) -> Draft {
        Draft { id: id.to_owned(), replace: false, title: None, text: text.to_owned(), tags: None }
    }

    fn put(store: &Store<Embedded>, draft: Draft, now: u64) -> Result<Reply, Error> {
        store.answer(&Request::Put(draft), Millis(now))
    }

    fn search(store: &Store<Embedded>, query: &str) -> Vec<String> {
        let request = Request::Search { query: query.to_owned(), limit: 10 };
        match store.answer(&request, Millis(0)).unwrap() {
            Reply::Hits(hits) => hits.into_iter().map(|hit| hit.note.id).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_empty_store_answers_without_writing() {
        let store = store();
        for request in [
            Request::Get { id: "x".to_owned() },
            Request::Search { query: "x".to_owned(), limit: 1 },
            Request::List { tag: None, limit: 1 },
            Request::Complete { text: String::new() },
            Request::Forget { id: "x".to_owned() },
        ] {
            store.answer(&request, Millis(0)).unwrap();
        }
        assert!(store.is_empty().unwrap());
        assert!(!store.exists().unwrap());
    }

    #[test]
    fn finds_by_stem_prefix_and_diacritics_and_ranks() {
        let store = store();
        put(&store, draft("a", "It was deployed with the blue key"), 1).unwrap();
        put(&store, Draft { title: Some("Deploying".to_owned()), ..draft("b", "See the wiki") }, 2)
            .unwrap();
        put(&store, draft("c", "Käse und Brot"), 3).unwrap();
        assert_eq!(search(&store, "deploy"), ["b", "a"]);
        assert_eq!(search(&store, "kase"), ["c"]);
        assert_eq!(search(&store, "wik"), ["b"]);
        assert_eq!(search(&store, "\"' OR (NEAR* - ^:"), Vec::<String>::new());
        assert_eq!(search(&store, "!?"), Vec::<String>::new());
    }

    #[test]
    fn replaces_and_forgets_with_its_words() {
        let store = store();
        let tags = Some(vec!["fruit".to_owned()]);
        put(&store, Draft { tags, ..draft("a", "apples") }, 1).unwrap();
        let replaced = put(&store, Draft { replace: true, ..draft("a", "pears") }, 5).unwrap();
        let Reply::Note(Some(note)) = replaced else { panic!("{replaced:?}") };
        assert_eq!((note.created, note.updated), (Millis(1), Millis(5)));
        assert_eq!(note.tags, ["fruit"], "what a draft does not say stays");
        assert!(search(&store, "apples").is_empty());
        assert_eq!(search(&store, "pears"), ["a"]);
        assert_eq!(put(&store, draft("a", "x"), 6).unwrap_err().kind, Kind::Conflict);
        let error = put(&store, Draft { replace: true, ..draft("b", "x") }, 6).unwrap_err();
        assert_eq!(error.kind, Kind::NotFound);
        store.answer(&Request::Forget { id: "a".to_owned() }, Millis(7)).unwrap();
        assert!(search(&store, "pears").is_empty());
        assert!(store.is_empty().unwrap());
    }

    #[test]
    fn lists_newest_first_and_by_whole_tag() {
        let store = store();
        let tagged =
            |id: &str, tag: &str| Draft { tags: Some(vec![tag.to_owned()]), ..draft(id, "x") };
        put(&store, tagged("a", "todo"), 1).unwrap();
        put(&store, tagged("b", "todo-later"), 2).unwrap();
        put(&store, tagged("c", "todo"), 3).unwrap();
        let list = |tag: Option<&str>| {
            let request = Request::List { tag: tag.map(ToOwned::to_owned), limit: 10 };
            match store.answer(&request, Millis(0)).unwrap() {
                Reply::Notes(notes) => notes.into_iter().map(|n| n.id).collect::<Vec<_>>(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(list(None), ["c", "b", "a"]);
        assert_eq!(list(Some("todo")), ["c", "a"]);
        let spaced = Request::List { tag: Some("todo x".to_owned()), limit: 1 };
        assert_eq!(store.answer(&spaced, Millis(0)).unwrap_err().kind, Kind::Invalid);
    }

    #[test]
    fn every_bound_has_a_clear_error() {
        let store = store();
        let check = |draft: Draft, kind: Kind, part: &str| {
            let error = put(&store, draft, 1).unwrap_err();
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.public.contains(part), "{error}");
        };
        check(draft("a", " \n"), Kind::Invalid, "`text` must not be empty");
        check(draft("a", &"x".repeat(32 * 1024 + 1)), Kind::Invalid, "32769 bytes");
        let titled = Draft { title: Some("ü".repeat(201)), ..draft("a", "x") };
        check(titled, Kind::Invalid, "200 characters");
        let lines = Draft { title: Some("a\n## b".to_owned()), ..draft("a", "x") };
        check(lines, Kind::Invalid, "one line");
        let tagged = Draft { tags: Some(vec!["t".to_owned(); 17]), ..draft("a", "x") };
        check(tagged, Kind::Invalid, "at most 16 `tags`");
        let spaced = Draft { tags: Some(vec!["a b".to_owned()]), ..draft("a", "x") };
        check(spaced, Kind::Invalid, "no spaces");
        for i in 0..128 {
            put(&store, draft(&format!("big{i}"), &"x".repeat(32 * 1024)), 1).unwrap();
        }
        check(draft("a", "one more"), Kind::Limit, "would make it 4194312");
        for i in 0..128 {
            put(&store, Draft { replace: true, ..draft(&format!("big{i}"), "small") }, 2).unwrap();
        }
        for i in 128..1000 {
            put(&store, draft(&format!("big{i}"), "small"), 3).unwrap();
        }
        check(draft("a", "x"), Kind::Limit, "1000 notes already");
    }

    #[test]
    fn ids_are_plain() {
        assert_eq!(id_from_random([0; 12]), "n000000000000");
        assert_eq!(id_from_random([255; 12]), "nzzzzzzzzzzzz");
    }
}
