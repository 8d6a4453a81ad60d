//! One JSON-RPC message, as far as a router reads it: its kind, its id as it was written, its
//! method, and the few parameters that rules and routing look at. Everything else stays the text
//! it came as. It must not know what a method means.

use crate::refusal::Refusal;
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::limits;
use std::borrow::Cow;

/// What a client posts.
#[derive(Debug)]
pub enum Message<'a> {
    /// Wants an answer.
    Request(Request<'a>),
    /// Wants none.
    Notification {
        /// Its method.
        method: Cow<'a, str>,
        /// The parts of its parameters that matter here.
        params: Params<'a>,
    },
    /// Answers a request of ours.
    Response {
        /// The id of that request.
        id: &'a RawValue,
        /// The response, whole.
        raw: &'a RawValue,
    },
}

/// A request.
#[derive(Debug)]
pub struct Request<'a> {
    /// The id, as it was written.
    pub id: &'a RawValue,
    /// The method.
    pub method: Cow<'a, str>,
    /// The parts of its parameters that matter here.
    pub params: Params<'a>,
    /// The parameters, whole.
    pub raw_params: Option<&'a RawValue>,
    /// The request, whole.
    pub raw: &'a RawValue,
}

/// The parameters that rules and routing look at. Each is whatever the client wrote: only its
/// reader says whether it fits.
#[derive(Debug, Default, Deserialize)]
pub struct Params<'a> {
    /// `_meta`.
    #[serde(rename = "_meta", borrow)]
    pub meta: Option<&'a RawValue>,
    /// `name` of a tool or prompt.
    #[serde(borrow)]
    pub name: Option<&'a RawValue>,
    /// `uri` of a resource.
    #[serde(borrow)]
    pub uri: Option<&'a RawValue>,
    /// `taskId` of a task.
    #[serde(rename = "taskId", borrow)]
    pub task: Option<&'a RawValue>,
    /// `arguments` of a tool or prompt.
    #[serde(borrow)]
    pub arguments: Option<&'a RawValue>,
    /// `ref` of a completion.
    #[serde(rename = "ref", borrow)]
    pub reference: Option<&'a RawValue>,
    /// `context` of a completion.
    #[serde(borrow)]
    pub context: Option<&'a RawValue>,
    /// `level` of logging/setLevel.
    #[serde(borrow)]
    pub level: Option<&'a RawValue>,
    /// `requestId` of a cancellation.
    #[serde(rename = "requestId", borrow)]
    pub request: Option<&'a RawValue>,
    /// `notifications` of subscriptions/listen.
    #[serde(borrow)]
    pub notifications: Option<&'a RawValue>,
}

/// A message as it is written. A member that appears twice is refused by the deserializer.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// Keeps an explicit `null` apart from an absent member.
fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// A body that is no message, and the id it would be answered with, where there is one.
#[derive(Debug)]
pub struct Unreadable<'a> {
    /// The id, as it was written.
    pub id: Option<&'a RawValue>,
    /// What is wrong.
    pub refusal: Refusal,
}

/// What a client posts: one message, or several at once (2025-03-26).
#[derive(Debug)]
pub enum Body<'a> {
    /// One.
    One(&'a RawValue),
    /// Several.
    Batch(Vec<&'a RawValue>),
}

impl<'a> Body<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Refusal::Parse`] for what is not JSON, [`Refusal::InvalidRequest`] for a batch of nothing
    /// or of too much.
    pub fn parse(body: &'a str) -> Result<Self, Refusal> {
        let raw: &RawValue =
            serde_json::from_str(body).map_err(|error| Refusal::Parse(error.to_string()))?;
        if !raw.get().starts_with('[') {
            return Ok(Self::One(raw));
        }
        let batch: Vec<&RawValue> =
            serde_json::from_str(body).map_err(|error| Refusal::Parse(error.to_string()))?;
        if batch.is_empty() || batch.len() > limits::BATCH_MESSAGES_MAX {
            let most = limits::BATCH_MESSAGES_MAX;
            let text = format!("a batch has at least one message and at most {most}");
            return Err(Refusal::InvalidRequest(text));
        }
        Ok(Self::Batch(batch))
    }
}

impl<'a> Message<'a> {
    /// Reads one message.
    ///
    /// # Errors
    /// [`Unreadable`]: -32600 for JSON that is no message.
    pub fn parse(raw: &'a RawValue) -> Result<Self, Unreadable<'a>> {
        let refuse = |id, refusal| Err(Unreadable { id, refusal });
        let invalid = |text: &str| Refusal::InvalidRequest(text.to_owned());
        // An array would be read as the members in order.
        if !is_object(raw) {
            return refuse(None, invalid("a message is an object"));
        }
        let written: Written<'a> = match serde_json::from_str(raw.get()) {
            Ok(written) => written,
            Err(error) => {
                return refuse(lone_id(raw.get()), Refusal::InvalidRequest(error.to_string()));
            }
        };
        let id = written.id.filter(|id| is_id(id));
        if text(written.jsonrpc).as_deref() != Some("2.0") {
            return refuse(id, invalid("`jsonrpc` must be \"2.0\""));
        }
        if written.id.is_some() && id.is_none() {
            return refuse(None, invalid("`id` must be a string or an integer"));
        }
        let Some(method) = written.method else {
            let answers = written.result.is_some() != written.error.is_some();
            return match (id, answers) {
                (Some(id), true) => Ok(Self::Response { id, raw }),
                _ => refuse(id, invalid("there is no `method`, and it is no response")),
            };
        };
        if written.result.is_some() || written.error.is_some() {
            return refuse(id, invalid("a request has neither `result` nor `error`"));
        }
        if written.params.is_some_and(|params| !is_object(params)) {
            return refuse(id, invalid("`params` must be an object"));
        }
        let params = match written.params.map(|raw| serde_json::from_str(raw.get())) {
            None => Params::default(),
            Some(Ok(params)) => params,
            Some(Err(error)) => {
                let text = format!("`params`: {error}");
                return refuse(id, Refusal::InvalidRequest(text));
            }
        };
        Ok(match id {
            Some(id) => {
                Self::Request(Request { id, method, params, raw_params: written.params, raw })
            }
            None => Self::Notification { method, params },
        })
    }
}

/// A member's text, if it is a string.
#[must_use]
pub fn text(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    // Most ids are numbers, and the error that one is no text would be written each time.
    let raw = raw.filter(|raw| raw.get().starts_with('"'))?;
    serde_json::from_str(raw.get()).ok().map(|Text(text)| text)
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

/// MCP narrows JSON-RPC: an id is a string or an integer, never null.
fn is_id(raw: &RawValue) -> bool {
    text(Some(raw)).is_some() || raw.get().parse::<i64>().is_ok()
}

/// The id of a body whose other members are not those of a message.
fn lone_id(body: &str) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct Lone<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
    }
    let lone: Lone<'_> = serde_json::from_str(body).ok()?;
    is_id(lone.id).then_some(lone.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(body: &str) -> Result<Message<'_>, Unreadable<'_>> {
        match Body::parse(body) {
            Ok(Body::One(raw)) => Message::parse(raw),
            Ok(Body::Batch(raws)) => Message::parse(raws[0]),
            Err(refusal) => Err(Unreadable { id: None, refusal }),
        }
    }

    fn check(body: &str, code: i64, id: Option<&str>) {
        let unreadable = parse(body).unwrap_err();
        assert_eq!(unreadable.refusal.row(false), (400, code), "{body}: {unreadable:?}");
        assert_eq!(unreadable.id.map(RawValue::get), id, "{body}");
    }

    #[test]
    fn what_is_no_message_is_told_why_with_its_id() {
        check("", -32700, None);
        check("{", -32700, None);
        check(r#"{"jsonrpc":"2.0","id":1,"method":"ping"} x"#, -32700, None);
        check("[]", -32600, None);
        check("[[]]", -32600, None);
        check(r#"[["2.0",1,"ping"]]"#, -32600, None);
        check(&format!("[{}1]", "1,".repeat(limits::BATCH_MESSAGES_MAX)), -32600, None);
        check("5", -32600, None);
        check("null", -32600, None);
        check(r#"{"id":1,"method":"ping"}"#, -32600, Some("1"));
        check(r#"{"jsonrpc":"1.0","id":"a","method":"ping"}"#, -32600, Some("\"a\""));
        check(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600, None);
        check(r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, -32600, None);
        check(r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, -32600, None);
        check(r#"{"jsonrpc":"2.0","id":"\ud800","method":"ping"}"#, -32600, None);
        check(r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, -32600, None);
        check(r#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#, -32600, Some("1"));
        check(r#"{"jsonrpc":"2.0","id":1,"method":5}"#, -32600, Some("1"));
        check(r#"{"jsonrpc":"2.0","id":1}"#, -32600, Some("1"));
        check(r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, -32600, Some("1"));
        check(r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":7}"#, -32600, Some("1"));
        check(r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, -32600, Some("1"));
        check(r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#, -32600, Some("1"));
    }

    #[test]
    fn what_must_be_an_object_is_told_so() {
        for (body, what) in [
            ("5", "a message"),
            (r#"["2.0",1]"#, "a message"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}"#, "`params`"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}"#, "`params`"),
        ] {
            let raw = RawValue::from_string(body.to_owned()).unwrap();
            let text = Message::parse(&raw).unwrap_err().refusal.to_string();
            assert!(text.contains(what) && text.ends_with("an object"), "{text}");
        }
    }

    #[test]
    fn reads_what_matters() {
        let body = r#" {"jsonrpc":"2.0","id":"\u0061","method":"tools/call",
            "params":{"name":"x","arguments":{"a":1},"other":[]},"extra":1}"#;
        let Ok(Message::Request(request)) = parse(body) else { panic!() };
        assert_eq!(request.id.get(), "\"\\u0061\"");
        assert_eq!(request.method, "tools/call");
        assert_eq!(text(request.params.name).as_deref(), Some("x"));
        assert_eq!(request.params.arguments.unwrap().get(), "{\"a\":1}");
        let notification = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert!(matches!(parse(notification), Ok(Message::Notification { .. })));
        let escaped = r#"{"jsonrpc":"\u0032.0","id":1,"method":"p\u0069ng"}"#;
        assert!(matches!(parse(escaped), Ok(Message::Request(r)) if r.method == "ping"));
        let response = r#"{"jsonrpc":"2.0","id":0,"result":null}"#;
        assert!(matches!(parse(response), Ok(Message::Response { id, .. }) if id.get() == "0"));
    }

    #[test]
    fn depth_is_no_danger() {
        let deep = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"name":{}{}}}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        let _ = parse(&deep);
    }

    proptest! {
        #[test]
        fn never_panics(body in "\\PC*", part in "[\\[\\]{}:,\"a0.\\\\ ]{0,40}") {
            let _ = parse(&body);
            let _ = parse(&part);
            let with_part = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{part}}}"#);
            let _ = parse(&with_part);
        }
    }
}
