//! What a reference means: a JSON pointer into this schema, and the schema or the definition that
//! it leads to. It must not know pins, nor who refers.

use super::{
    JsonObject,
    read::{DEFINITIONS, Schema, is_resource},
};
use serde_json::Value;
use shared::limits;

/// The steps of a JSON pointer that is the fragment of a reference.
fn steps(fragment: &str) -> Option<Vec<String>> {
    let mut bytes = fragment.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            decoded.push(u8::try_from(high << 4 | low).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    let decoded = String::from_utf8(decoded).ok()?;
    if decoded.is_empty() {
        return Some(Vec::new());
    }
    let steps = decoded.strip_prefix('/')?.split('/');
    // No pointer into a schema has more steps than the schema is deep.
    if steps.clone().count() > limits::SCHEMA_JSON_DEPTH_MAX {
        return None;
    }
    let plain = |step: &str| step.replace("~1", "/").replace("~0", "~");
    Some(steps.map(plain).collect())
}

/// The steps of a reference that is a JSON pointer into this schema.
pub(super) fn local(reference: &str) -> Option<Vec<String>> {
    if reference.is_empty() { Some(Vec::new()) } else { steps(reference.strip_prefix('#')?) }
}

/// The definition that a reference leads to, or into; that of a like name, if it is remote.
pub(super) fn definition(reference: &str) -> Option<(&'static str, String)> {
    let mut steps = steps(reference.split_once('#')?.1)?.into_iter();
    let container = steps.next()?;
    let container = DEFINITIONS.into_iter().find(|key| *key == container)?;
    Some((container, steps.next()?))
}

/// What a reference in this schema means, if it is a JSON pointer to a schema in it.
pub(super) fn resolve<'a>(root: &'a JsonObject, reference: &str) -> Option<Schema<'a>> {
    let mut steps = local(reference)?.into_iter();
    let Some(first) = steps.next() else {
        return Some(Schema::Object(root));
    };
    let own = |value: &&Value| !value.as_object().is_some_and(is_resource);
    let first = root.get(&first).filter(own)?;
    let target = steps.try_fold(first, |value, step| {
        let inner = match value {
            Value::Object(node) => node.get(&step),
            Value::Array(list) => list.get(step.parse::<usize>().ok()?),
            _ => None,
        };
        inner.filter(own)
    })?;
    Schema::of(target)
}
