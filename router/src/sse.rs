//! Server-sent events, as text (HTML standard, 9.2). It must not know what a message says.

use crate::streams::EventId;

/// A message, with the id to ask for what follows it where it has one.
#[must_use]
pub fn message(id: Option<EventId>, message: &str) -> String {
    // JSON has no raw line break, so one `data` line holds it.
    match id {
        Some(id) => format!("id: {id}\nevent: message\ndata: {message}\n\n"),
        None => format!("event: message\ndata: {message}\n\n"),
    }
}

/// An event without data, which gives a client the id to come back with (2025-11-25).
#[must_use]
pub fn priming(id: EventId) -> String {
    format!("id: {id}\ndata: \n\n")
}

/// How long a client waits before it comes back.
#[must_use]
pub fn retry(milliseconds: u32) -> String {
    format!("retry: {milliseconds}\n\n")
}

/// An event of another name (2024-11-05: `endpoint`).
#[must_use]
pub fn named(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// Nothing, to show that somebody is there.
pub const COMMENT: &str = ":\n\n";
