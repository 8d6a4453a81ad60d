//! The notes a context can see: its own, and those its user shares between contexts, as one
//! shelf. It must not know tools or how the shared ones are reached.

use crate::platform::Platform;
use shared::{
    Error,
    database::Database,
    limits,
    notes::{Draft, Note, Reply, Request, Store},
};
use std::rc::Rc;

/// Where a note is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In this context.
    Own,
    /// With the user.
    Shared,
}

impl Place {
    pub(super) const OWN_TEMPLATE: &'static str = "memory://notes/{id}";
    pub(super) const SHARED_TEMPLATE: &'static str = "memory://shared/{id}";

    pub(super) const fn of(shared: bool) -> Self {
        if shared { Self::Shared } else { Self::Own }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Own => "memory://notes/",
            Self::Shared => "memory://shared/",
        }
    }

    pub(super) fn uri(self, id: &str) -> String {
        format!("{}{id}", self.prefix())
    }

    /// The place and the id that a URI names.
    pub(super) fn parse(uri: &str) -> Option<(Self, &str)> {
        [Self::Own, Self::Shared]
            .into_iter()
            .find_map(|place| uri.strip_prefix(place.prefix()).map(|id| (place, id)))
    }

    pub(super) fn of_template(template: &str) -> Option<Self> {
        match template {
            Self::OWN_TEMPLATE => Some(Self::Own),
            Self::SHARED_TEMPLATE => Some(Self::Shared),
            _ => None,
        }
    }
}

/// A note and where it was found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shelved {
    pub(super) note: Note,
    pub(super) place: Place,
    /// The part around a match, for a note that was searched for.
    around: Option<String>,
}

impl Shelved {
    /// As much of the text as a page of notes holds, and whether that is not all.
    pub(super) fn excerpt(&self) -> (String, bool) {
        let text = &self.note.text;
        match text.char_indices().nth(limits::NOTE_EXCERPT_CHARS_MAX) {
            None => (text.clone(), false),
            Some((end, _)) => {
                let beginning = text.get(..end).unwrap_or(text);
                let part = self.around.as_deref().unwrap_or(beginning);
                (part.chars().take(limits::NOTE_EXCERPT_CHARS_MAX).collect(), true)
            }
        }
    }
}

/// Own and shared notes.
pub(super) struct Library {
    own: Store<Rc<dyn Database>>,
    platform: Rc<dyn Platform>,
}

impl Library {
    pub(super) fn new(database: Rc<dyn Database>, platform: Rc<dyn Platform>) -> Self {
        Self { own: Store::new(database), platform }
    }

    async fn ask(&self, place: Place, request: Request) -> Result<Reply, Error> {
        match place {
            Place::Own => self.own.answer(&request, self.platform.now()),
            Place::Shared => self.platform.shared_notes(request).await,
        }
    }

    async fn ask_note(&self, place: Place, request: Request) -> Result<Option<Note>, Error> {
        match self.ask(place, request).await? {
            Reply::Note(note) => Ok(note),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn put(&self, place: Place, draft: Draft) -> Result<Note, Error> {
        let note = self.ask_note(place, Request::Put(draft)).await?;
        note.ok_or_else(|| Error::internal("a note that was written is not there"))
    }

    pub(super) async fn get_from(&self, place: Place, id: &str) -> Result<Option<Note>, Error> {
        self.ask_note(place, Request::Get { id: id.to_owned() }).await
    }

    /// A note by its id, wherever it is.
    pub(super) async fn get(&self, id: &str) -> Result<Option<Shelved>, Error> {
        for place in [Place::Own, Place::Shared] {
            if let Some(note) = self.get_from(place, id).await? {
                return Ok(Some(Shelved { note, place, around: None }));
            }
        }
        Ok(None)
    }

    /// Removes a note, wherever it is.
    pub(super) async fn forget(&self, id: &str, shared: bool) -> Result<Option<Shelved>, Error> {
        for place in places(shared) {
            let request = Request::Forget { id: id.to_owned() };
            if let Some(note) = self.ask_note(place, request).await? {
                return Ok(Some(Shelved { note, place, around: None }));
            }
        }
        Ok(None)
    }

    /// The best matches, best first, from an offset on.
    pub(super) async fn search(
        &self,
        query: &str,
        offset: u32,
        limit: u32,
        shared: bool,
    ) -> Result<Found, Error> {
        let mut found = Vec::new();
        for place in places(shared) {
            let request = Request::Search { query: query.to_owned(), limit: reach(offset, limit) };
            match self.ask(place, request).await? {
                Reply::Hits(hits) => found.extend((0..).zip(hits).map(|(rank, hit)| {
                    let around = Some(hit.excerpt);
                    (rank, Shelved { note: hit.note, place, around })
                })),
                other => return Err(unexpected(&other)),
            }
        }
        // Scores of two stores cannot be compared, ranks can: the best of each, then the second
        // of each. A stable sort keeps the context's own before the shared one.
        Ok(window(ranked(found), offset, limit))
    }

    /// The most recently changed, newest first, from an offset on.
    pub(super) async fn list(
        &self,
        tag: Option<String>,
        offset: u32,
        limit: u32,
        shared: bool,
    ) -> Result<Found, Error> {
        let mut found = Vec::new();
        for place in places(shared) {
            let request = Request::List { tag: tag.clone(), limit: reach(offset, limit) };
            match self.ask(place, request).await? {
                Reply::Notes(notes) => found.extend(notes.into_iter().map(|note| Shelved {
                    note,
                    place,
                    around: None,
                })),
                other => return Err(unexpected(&other)),
            }
        }
        let found = found.into_iter().map(|shelved: Shelved| {
            let newest_first = u64::MAX.saturating_sub(shelved.note.updated.0);
            (newest_first, shelved)
        });
        Ok(window(ranked(found.collect()), offset, limit))
    }

    /// Ids in one place that complete a text.
    pub(super) async fn ids(&self, place: Place, text: &str) -> Result<Vec<String>, Error> {
        match self.ask(place, Request::Complete { text: text.to_owned() }).await? {
            Reply::Ids(ids) => Ok(ids),
            other => Err(unexpected(&other)),
        }
    }

    /// Tags that begin with a text, most recently used first.
    pub(super) async fn tags(&self, text: &str, shared: bool) -> Result<Vec<String>, Error> {
        let recent = self.list(None, 0, limits::NOTES_PAGE_MAX, shared).await?;
        let text = text.to_lowercase();
        let mut tags: Vec<String> = Vec::new();
        for tag in recent.items.into_iter().flat_map(|shelved| shelved.note.tags) {
            if tag.to_lowercase().starts_with(&text) && !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        Ok(tags)
    }
}

/// Where to look. A context whose user shares nothing need not ask.
fn places(shared: bool) -> impl Iterator<Item = Place> {
    [Place::Own, Place::Shared].into_iter().take(if shared { 2 } else { 1 })
}

/// How many of each place must be known to fill a page: one more tells whether there is another.
const fn reach(offset: u32, limit: u32) -> u32 {
    offset.saturating_add(limit).saturating_add(1)
}

/// Notes that were found, and where the next begin.
pub(super) struct Found {
    pub(super) items: Vec<Shelved>,
    pub(super) next: Option<u32>,
}

/// Notes by their ranks, those of one rank as they come.
fn ranked(mut notes: Vec<(u64, Shelved)>) -> Vec<Shelved> {
    notes.sort_by_key(|(rank, _)| *rank);
    notes.into_iter().map(|(_, shelved)| shelved).collect()
}

fn window(found: Vec<Shelved>, offset: u32, limit: u32) -> Found {
    let end = offset.saturating_add(limit);
    let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    let next = (found.len() > size(end)).then_some(end);
    Found { items: found.into_iter().skip(size(offset)).take(size(limit)).collect(), next }
}

fn unexpected(_reply: &Reply) -> Error {
    Error::internal("the notes answered another question")
}
