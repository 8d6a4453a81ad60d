//! What clients may be told: which notes and sessions must, may and must not exist, given what has
//! been asked and answered so far. It must not know how anything is served.

use shared::{Scope, UserId};
use std::collections::BTreeMap;

/// What the schedules met, added up.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) answered: u64,
    pub(crate) lost: u64,
    pub(crate) killed: u64,
    pub(crate) restarts: u64,
    pub(crate) evictions: u64,
    pub(crate) overlaps: u64,
    pub(crate) refused_sessions: u64,
    pub(crate) kept_sessions: u64,
    pub(crate) lists: u64,
    pub(crate) routed: u64,
    pub(crate) shared: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.lost += other.lost;
        self.killed += other.killed;
        self.restarts += other.restarts;
        self.evictions += other.evictions;
        self.overlaps += other.overlaps;
        self.refused_sessions += other.refused_sessions;
        self.kept_sessions += other.kept_sessions;
        self.lists += other.lists;
        self.routed += other.routed;
        self.shared += other.shared;
    }
}

/// Where a note is: in one context, or with the user.
pub(crate) type Shelf = Option<Scope>;

/// Something asked for, by the steps in which it was asked and answered. What was never answered
/// may have happened at any time since it was asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) from: u64,
    pub(crate) done: Option<u64>,
}

/// A note, known by its text, which no other note has.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) user: UserId,
    pub(crate) shelf: Shelf,
    pub(crate) put: Asked,
    /// Known once the put was answered.
    pub(crate) id: Option<String>,
    pub(crate) forget: Option<Asked>,
}

impl Note {
    /// Whether everything that looks at its shelf from one step to another must see it.
    fn must_be_seen(&self, from: u64, to: u64) -> bool {
        self.put.done.is_some_and(|done| done < from)
            && self.forget.is_none_or(|forget| forget.from > to)
    }

    /// Whether nothing that looks at its shelf in that time can see it.
    fn cannot_be_seen(&self, from: u64, to: u64) -> bool {
        self.put.from > to || self.forget.is_some_and(|f| f.done.is_some_and(|done| done < from))
    }
}

/// A session that a client was given.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) user: UserId,
    pub(crate) scope: Scope,
    pub(crate) id: String,
    /// When its end was asked for.
    pub(crate) end: Option<Asked>,
}

/// All notes and sessions there have ever been.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) notes: BTreeMap<String, Note>,
    pub(crate) sessions: Vec<Session>,
}

impl Model {
    /// Holds what a list or search showed against what it may show.
    pub(crate) fn check_seen(
        &self,
        user: &UserId,
        context: &Scope,
        seen: &[(String, bool)],
        (from, to): (u64, u64),
    ) {
        for (text, shared) in seen {
            let note = self.notes.get(text).expect("a note that nobody wrote");
            assert_eq!(&note.user, user, "another user's note: {text}");
            assert_eq!(note.shelf.is_none(), *shared, "a note on the wrong shelf: {text}");
            if let Some(scope) = &note.shelf {
                assert_eq!(scope, context, "another context's note: {text}");
            }
            assert!(!note.cannot_be_seen(from, to), "a note that cannot be there: {text}");
        }
        let mut texts: Vec<&String> = seen.iter().map(|(text, _)| text).collect();
        texts.sort();
        assert!(texts.windows(2).all(|pair| pair[0] != pair[1]), "a note twice: {texts:?}");
        for (text, note) in &self.notes {
            let here = note.shelf.as_ref().is_none_or(|scope| scope == context);
            if note.user == *user && here && note.must_be_seen(from, to) {
                assert!(seen.iter().any(|(seen, _)| seen == text), "a note is missing: {text}");
            }
        }
    }
}
