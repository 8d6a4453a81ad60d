//! JSON-RPC messages of an upstream, read only as far as it must be known what they are: what a
//! result holds stays as it came. It must not know methods.

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, SeqAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};
use shared::limits;
use std::{borrow::Cow, collections::BTreeMap, fmt};

/// A JSON object.
pub type JsonObject = Map<String, Value>;

/// The members of a result, each as it came.
pub type Fields = BTreeMap<String, Box<RawValue>>;

/// A message of an upstream.
#[derive(Debug)]
pub enum Message {
    /// The end of a request.
    Reply {
        /// Which.
        of: Of,
        /// A result, or a JSON-RPC error.
        outcome: Result<Fields, ErrorObject>,
    },
    /// A question.
    Request {
        /// What it is answered by, as it came.
        id: Box<RawValue>,
        /// Its method.
        method: String,
        /// Its parameters.
        params: JsonObject,
    },
    /// Neither.
    Notification {
        /// Its method.
        method: String,
        /// Its parameters.
        params: JsonObject,
    },
}

/// The request that a reply is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Our number.
    Number(u64),
    /// None: an error of what could not be read may be so.
    Nobody,
    /// Somebody else's: it is no number of ours.
    Stranger,
}

impl Of {
    /// Whether it may be the reply to the request of this number.
    #[must_use]
    pub fn may_be(self, id: u64) -> bool {
        match self {
            Self::Number(number) => number == id,
            Self::Nobody => true,
            Self::Stranger => false,
        }
    }
}

/// A JSON-RPC error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorObject {
    /// Its code.
    pub code: i64,
    /// What it says.
    #[serde(default)]
    pub message: String,
    /// Whatever it adds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    params: Option<JsonObject>,
    result: Option<Fields>,
    error: Option<ErrorObject>,
}

/// Reads one message, or the several of a batch.
///
/// # Errors
/// Why it is none, for the log.
pub fn read(text: &str) -> Result<Vec<Message>, String> {
    if text.trim_start().starts_with('[') {
        let Batch(all) = serde_json::from_str(text).map_err(|error| error.to_string())?;
        return all.into_iter().map(|one| read_one(one.get())).collect();
    }
    Ok(vec![read_one(text)?])
}

/// The messages of a batch: so many, and no more are even looked at.
struct Batch<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Batch<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(BatchVisitor)
    }
}

struct BatchVisitor;

impl<'de> Visitor<'de> for BatchVisitor {
    type Value = Batch<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a batch")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Batch<'de>, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = seq.next_element()? {
            if all.len() >= limits::UPSTREAM_BATCH_MAX {
                return Err(A::Error::custom("a batch of too many messages"));
            }
            all.push(one);
        }
        Ok(Batch(all))
    }
}

fn read_one(text: &str) -> Result<Message, String> {
    let Written { id, method, params, result, error } =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    let id = id.filter(|id| id.get() != "null");
    let params = params.unwrap_or_default();
    match (method, id, result, error) {
        (Some(method), Some(id), ..) => {
            Ok(Message::Request { id: id.to_owned(), method: method.into_owned(), params })
        }
        (Some(method), None, ..) => {
            Ok(Message::Notification { method: method.into_owned(), params })
        }
        (None, id, _, Some(error)) => Ok(Message::Reply { of: of(id), outcome: Err(error) }),
        (None, id, Some(result), None) => Ok(Message::Reply { of: of(id), outcome: Ok(result) }),
        (None, _, None, None) => Err("a message without a method, a result or an error".to_owned()),
    }
}

/// Whose reply it is. Some servers give a number back as a text.
fn of(id: Option<&RawValue>) -> Of {
    let Some(id) = id else {
        return Of::Nobody;
    };
    id.get().trim_matches('"').parse().map_or(Of::Stranger, Of::Number)
}

/// A member of a result, as a value.
#[must_use]
pub fn field(fields: &Fields, name: &str) -> Option<Value> {
    serde_json::from_str(fields.get(name)?.get()).ok()
}

/// A member of a result that is a text.
#[must_use]
pub fn text(fields: &Fields, name: &str) -> Option<String> {
    serde_json::from_str(fields.get(name)?.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_keeps_every_byte() {
        let result =
            r#"{"content":[{"type":"x-new","n":1.50,"big":123456789012345678901234567890}],"z":1}"#;
        let text = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{result}}}"#);
        let messages = read(&text);
        let Ok([Message::Reply { of: Of::Number(7), outcome: Ok(fields) }]) = messages.as_deref()
        else {
            panic!("{text}");
        };
        let content = r#"[{"type":"x-new","n":1.50,"big":123456789012345678901234567890}]"#;
        assert_eq!(fields["content"].get(), content);
        assert_eq!(field(fields, "z"), Some(1.into()));
    }

    #[test]
    fn a_batch_is_bounded() {
        let batch = |count: usize| format!("[{}]", vec![r#"{"method":"a"}"#; count].join(","));
        let most = limits::UPSTREAM_BATCH_MAX;
        assert_eq!(read(&batch(most)).map(|all| all.len()), Ok(most));
        assert!(read(&batch(most + 1)).is_err());
    }

    #[test]
    fn every_message_is_known_for_what_it_is() {
        let kind = |text: &str| {
            read(text).map(|all| {
                all.iter()
                    .map(|message| match message {
                        Message::Reply { outcome: Ok(_), .. } => 'r',
                        Message::Reply { outcome: Err(_), .. } => 'e',
                        Message::Request { .. } => 'q',
                        Message::Notification { .. } => 'n',
                    })
                    .collect::<String>()
            })
        };
        for (text, expected) in [
            (r#"{"id":1,"result":{}}"#, "r"),
            (r#"{"id":"1","error":{"code":-1}}"#, "e"),
            (r#"{"id":null,"error":{"code":-1,"message":"x"}}"#, "e"),
            (r#"{"id":1,"method":"ping"}"#, "q"),
            (r#"{"method":"notifications/x","params":{"a":1}}"#, "n"),
            (r#" [{"method":"a"},{"id":2,"result":{}}]"#, "nr"),
            ("[]", ""),
        ] {
            assert_eq!(kind(text).as_deref(), Ok(expected), "{text}");
        }
        for text in [
            "",
            "{}",
            "1",
            "<html>",
            r#"{"id":1}"#,
            r#"{"id":1,"result":[]}"#,
            r#"{"id":1,"error":"x"}"#,
            r#"{"method":"a","params":[]}"#,
        ] {
            assert!(kind(text).is_err(), "{text}");
        }
    }
}
