//! What others publish about themselves, kept for a while: metadata and keys of issuers. Says when it
//! is asked for again, so that no token makes us ask without end. It must not know how it is asked,
//! nor what it says.

use serde_json::Value;
use shared::{Millis, limits};
use std::{collections::BTreeMap, rc::Rc};

/// Documents by their addresses.
#[derive(Debug, Default)]
pub struct Documents(BTreeMap<String, Entry>);

#[derive(Debug, Default)]
struct Entry {
    /// What it said, and when.
    said: Option<(Rc<Value>, Millis)>,
    /// Since when somebody asks.
    asking: Option<Millis>,
    /// When it was last asked in vain.
    failed: Option<Millis>,
}

/// What to do about a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// This is it.
    Use(Rc<Value>),
    /// Ask for it, and tell [`Documents::put`].
    Ask,
    /// Somebody asks for it already: look again in a moment.
    Wait,
    /// It could not be had a moment ago.
    Failed,
}

impl Documents {
    /// What to do about the document at an address. `is_enough` says of a document that is kept
    /// whether it has what it is wanted for; if it has not, it may have changed.
    pub fn look(&mut self, address: &str, is_enough: impl Fn(&Value) -> bool, now: Millis) -> Next {
        let within = |since: &Option<Millis>, bound| since.is_some_and(|at| now.since(at) < bound);
        if !self.0.contains_key(address) {
            self.make_room();
        }
        let entry = self.0.entry(address.to_owned()).or_default();
        let said = entry.said.as_ref();
        let fresh = said.filter(|(_, at)| now.since(*at) < limits::DOCUMENT_MS_MAX);
        if let Some((document, at)) = fresh {
            let was_asked = now.since(*at) < limits::DOCUMENT_AGAIN_MS
                || within(&entry.failed, limits::DOCUMENT_AGAIN_MS);
            if was_asked || is_enough(document) {
                return Next::Use(document.clone());
            }
        }
        if within(&entry.asking, limits::DOCUMENT_FLIGHT_MS) {
            return Next::Wait;
        }
        if within(&entry.failed, limits::DOCUMENT_FAILED_MS) {
            return Next::Failed;
        }
        entry.asking = Some(now);
        Next::Ask
    }

    /// Keeps what an address said, or that it said nothing of use.
    pub fn put(&mut self, address: &str, document: Option<Value>, now: Millis) {
        let Some(entry) = self.0.get_mut(address) else {
            return;
        };
        entry.asking = None;
        match document {
            Some(document) => {
                entry.said = Some((Rc::new(document), now));
                entry.failed = None;
            }
            None => entry.failed = Some(now),
        }
    }

    /// Takes away what was said first, where there are too many.
    fn make_room(&mut self) {
        if self.0.len() < limits::DOCUMENTS_MAX {
            return;
        }
        let oldest = self.0.iter().min_by_key(|(_, entry)| entry.said.as_ref().map(|said| said.1));
        if let Some(address) = oldest.map(|(address, _)| address.clone()) {
            self.0.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn enough(document: &Value) -> bool {
        document == "new"
    }

    #[test]
    fn one_asks_and_the_others_wait() {
        let mut documents = Documents::default();
        assert_eq!(documents.look("a", enough, Millis(0)), Next::Ask);
        assert_eq!(documents.look("a", enough, Millis(1)), Next::Wait);
        assert_eq!(documents.look("b", enough, Millis(1)), Next::Ask);
        // Whoever asked may be gone.
        assert_eq!(documents.look("a", enough, Millis(limits::DOCUMENT_FLIGHT_MS)), Next::Ask);
        documents.put("a", Some(json!("new")), Millis(5000));
        let next = documents.look("a", enough, Millis(5001));
        assert_eq!(next, Next::Use(Rc::new(json!("new"))));
    }

    #[test]
    fn what_is_not_enough_is_asked_for_again_but_not_at_once() {
        let mut documents = Documents::default();
        let old = Next::Use(Rc::new(json!("old")));
        documents.look("a", enough, Millis(0));
        documents.put("a", Some(json!("old")), Millis(0));
        let again = limits::DOCUMENT_AGAIN_MS;
        assert_eq!(documents.look("a", enough, Millis(again - 1)), old);
        assert_eq!(documents.look("a", enough, Millis(again)), Next::Ask);
        documents.put("a", None, Millis(again));
        assert_eq!(documents.look("a", enough, Millis(2 * again - 1)), old);
        assert_eq!(documents.look("a", enough, Millis(2 * again)), Next::Ask);
        documents.put("a", Some(json!("new")), Millis(2 * again));
        let end = 2 * again + limits::DOCUMENT_MS_MAX;
        let new = Next::Use(Rc::new(json!("new")));
        assert_eq!(documents.look("a", enough, Millis(end - 1)), new);
        assert_eq!(documents.look("a", enough, Millis(end)), Next::Ask);
    }

    #[test]
    fn what_failed_is_left_alone_for_a_moment() {
        let mut documents = Documents::default();
        documents.look("a", enough, Millis(0));
        documents.put("a", None, Millis(0));
        let bound = limits::DOCUMENT_FAILED_MS;
        assert_eq!(documents.look("a", enough, Millis(bound - 1)), Next::Failed);
        assert_eq!(documents.look("a", enough, Millis(bound)), Next::Ask);
    }

    #[test]
    fn there_are_only_so_many() {
        let mut documents = Documents::default();
        for n in 0..3 * limits::DOCUMENTS_MAX {
            let address = n.to_string();
            let now = Millis(u64::try_from(n).unwrap());
            documents.look(&address, enough, now);
            documents.put(&address, Some(json!("new")), now);
            assert!(matches!(documents.look(&address, enough, now), Next::Use(_)));
        }
        assert_eq!(documents.0.len(), limits::DOCUMENTS_MAX);
    }
}
