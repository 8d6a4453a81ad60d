//! The fence around a tool's arguments: [`narrow`] takes the parameters that a URL pins out of a
//! tool's schema before a client sees it, and [`pin`] puts their values back before the call. It
//! must not know what a tool does, who pinned a value, or how a conflict is answered.
//!
//! Narrowing is partial evaluation. Of every pinned name it is known, before any call, whether
//! [`pin`] will insert it and with which value, so each keyword that speaks of the root instance
//! is replaced by what is left of it. Where that is exact, it is right in every polarity: below
//! `not`, in an `if`, in a branch of a `oneOf`.
//!
//! Arguments that hold no pinned name are valid under the narrowed schema exactly if they are
//! valid under the complete one once they are pinned. Four things are out of reach; each is taken
//! to accept a pinned value, so that a tool stays usable, and the complete schema has the last
//! word when the call is made:
//! - regular expressions: `pattern`, `patternProperties` (left as it is), and an
//!   `additionalProperties` beside it;
//! - `format`;
//! - references other than a JSON pointer into this schema (anchors, dynamic and remote ones),
//!   which are left as they are;
//! - everything that a part with an `$id` of its own refers to.
//!
//! And a schema below legacy `dependencies` counts for `unevaluatedProperties` once its property
//! is pinned, which validators do not agree on anyway.
//!
//! Schemas come from elsewhere and may be any JSON: work and depth are bounded, and a keyword
//! that is not of the form the standard (draft 2020-12) gives it is left as it is.
//!
//! # Layout, in reading order
//! - `known`: what the pins say of the root instance before any call
//! - `read`: one schema and its keywords
//! - `reference`: what a reference means
//! - `walk`: every schema in a place, or in a value
//! - `build`: the schemas that narrowing makes
//! - `narrower`: one run, keyword by keyword
//! - [`template`]: templates of resources, filled in and read backwards

mod build;
mod known;
mod narrower;
mod read;
mod reference;
pub mod template;
mod walk;

use known::{inserted, known};
use narrower::Narrower;
use serde_json::{Map, Value};
use shared::limits;

/// A JSON object: a schema, or the arguments of a call.
pub type JsonObject = Map<String, Value>;

/// One pinned level of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Every parameter that means this level. A name that two pins share belongs to the first.
    pub parameters: Vec<String>,
    /// The value that all of them have.
    pub value: String,
    /// Whether a caller must repeat the value in the same case.
    pub preserve_case: bool,
}

/// Why a schema cannot be narrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NarrowError {
    /// Schemas inside schemas, too many times.
    #[error("the schema is nested deeper than {} levels", limits::SCHEMA_DEPTH_MAX)]
    Deep,
    /// Too much to read, or to specialise.
    #[error("the schema is too large to be narrowed")]
    Large,
}

/// A caller gave a pinned parameter another value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{parameter}` is fixed to `{value}` by this URL; got `{got}`")]
pub struct Conflict {
    /// The parameter, as the caller named it.
    pub parameter: String,
    /// What it is pinned to.
    pub value: String,
    /// What the caller gave, cut to a length that fits a message.
    pub got: String,
}

/// The schema as a client under the pins sees it. No pinned parameter is mentioned in it where it
/// speaks of the arguments themselves; a nested property of the same name is somebody else's and
/// stays. A schema that no arguments can satisfy any more becomes an object that says so.
///
/// # Errors
/// [`NarrowError`], if the schema is past a bound.
pub fn narrow(schema: &JsonObject, pins: &[Pin]) -> Result<JsonObject, NarrowError> {
    let known = known(schema, pins);
    if known.is_empty() {
        return Ok(schema.clone());
    }
    let inserted: Vec<_> = inserted(&known).collect();
    Narrower::new(schema, &known, &inserted)?.finish()
}

/// The arguments as the tool behind the pins gets them: every pinned parameter that the complete
/// `schema` declares for its root instance has the pinned value, whether or not the caller gave
/// it, and no other parameter of a pinned level is there.
///
/// # Errors
/// [`Conflict`], if the caller gave a pinned parameter any other value, declared or not.
pub fn pin(
    schema: &JsonObject,
    mut arguments: JsonObject,
    pins: &[Pin],
) -> Result<JsonObject, Conflict> {
    for (name, got) in &arguments {
        if let Some(pin) = pins.iter().find(|pin| pin.parameters.contains(name)) {
            pin.check(name, got)?;
        }
    }
    let known = known(schema, pins);
    arguments.retain(|name, _| !known.contains_key(name.as_str()));
    for (name, value) in inserted(&known) {
        arguments.insert(name.to_owned(), Value::String(value.to_owned()));
    }
    Ok(arguments)
}

impl Pin {
    /// Checks a value that a caller gave to a parameter of this level.
    ///
    /// # Errors
    /// [`Conflict`], if it is another than the pinned one.
    pub fn check(&self, parameter: &str, got: &Value) -> Result<(), Conflict> {
        match self.admits(got) {
            true => Ok(()),
            false => Err(Conflict {
                parameter: shared::error::shown(parameter),
                value: self.value.clone(),
                got: shown(got),
            }),
        }
    }

    /// Whether a caller may send this value.
    fn admits(&self, got: &Value) -> bool {
        match got {
            Value::String(got) if self.preserve_case => *got == self.value,
            Value::String(got) => got.eq_ignore_ascii_case(&self.value),
            // An explicit null says nothing, as in routing: models fill in what is optional so.
            Value::Null => true,
            _ => false,
        }
    }
}

/// A value as a message shows it: a text without its quotes, anything else as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => shared::error::shown(text),
        other => shared::error::shown(&other.to_string()),
    }
}

#[cfg(test)]
mod tests;
