//! JSON values of `rmcp`'s types. It must not know which types there are.

use serde::Serialize;
use serde_json::Value;

/// What a type is in JSON. It is written and read: a second way to write every type there is would
/// be a large part of the release.
///
/// # Errors
/// Those of writing it.
pub fn to_value(of: &impl Serialize) -> Result<Value, serde_json::Error> {
    serde_json::from_str(&serde_json::to_string(of)?)
}
