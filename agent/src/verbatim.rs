//! Results that go to a client as text, past `rmcp`'s types: what somebody else said, which keeps
//! every byte, and lists, whose items are written once. It must not know what a result is of.

use crate::handler::implementation;
use rmcp::model::JsonObject;
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};
use std::{cell::RefCell, rc::Rc};
use upstream::Fields;

/// Where the result of a running call is put, if it is one of these.
#[derive(Debug, Clone, Default)]
pub struct Verbatim(Rc<RefCell<Option<String>>>);

impl Verbatim {
    /// Puts the call's result, as JSON.
    pub fn put(&self, result: String) {
        *self.0.borrow_mut() = Some(result);
    }

    /// Takes it, if there is one.
    #[must_use]
    pub fn take(&self) -> Option<String> {
        self.0.borrow_mut().take()
    }
}

/// Where in a result's `_meta` a server says which it is.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// Where in a list's `_meta` it says what is missing of it.
pub const MISSING: &str = "signalbox/missing";

/// This server as results name it. Every one does, and it never changes: it is written once.
#[must_use]
pub fn server() -> Value {
    thread_local! {
        static SERVER: Value = crate::value::to_value(&implementation()).unwrap_or_default();
    }
    SERVER.with(Clone::clone)
}

/// A list as a result: `items` are JSON, `more` its other members.
#[must_use]
pub fn list<'a>(
    name: &str,
    items: impl Iterator<Item = &'a str>,
    mut more: JsonObject,
    is_modern: bool,
) -> String {
    if is_modern {
        more.insert("resultType".to_owned(), "complete".into());
        stamp(&mut more);
    }
    let mut text = format!("{{\"{name}\":[");
    for (n, item) in items.enumerate() {
        if n > 0 {
            text.push(',');
        }
        text.push_str(item);
    }
    text.push(']');
    let more = Value::Object(more).to_string();
    // An object in its braces is one more list of members.
    match more.strip_prefix('{') {
        Some("}") | None => text.push('}'),
        Some(members) => {
            text.push(',');
            text.push_str(members);
        }
    }
    text
}

fn stamp(result: &mut Map<String, Value>) {
    let meta = result.entry("_meta").or_insert_with(|| Value::Object(Map::new()));
    if let Some(meta) = meta.as_object_mut() {
        meta.insert(SERVER_INFO.to_owned(), server());
    }
}

/// What somebody else answered, as this server's answer in an era. The members that the eras differ
/// in are set right; the others stay as they came.
///
/// # Errors
/// Those of writing JSON.
pub fn relayed(
    mut fields: Fields,
    hints: Option<(u64, &str)>,
    is_modern: bool,
) -> Result<String, serde_json::Error> {
    let raw = |value: &Value| RawValue::from_string(value.to_string());
    if hints.is_some() || !is_modern {
        // Whoever is between two servers answers for how fresh a copy is.
        fields.remove("ttlMs");
        fields.remove("cacheScope");
    }
    let kind = fields.remove("resultType");
    if is_modern {
        let is_task = kind.as_ref().is_some_and(|kind| kind.get() == r#""task""#);
        let kind = if is_task { "task" } else { "complete" };
        fields.insert("resultType".to_owned(), raw(&kind.into())?);
        if let Some((ttl, scope)) = hints {
            fields.insert("ttlMs".to_owned(), raw(&ttl.into())?);
            fields.insert("cacheScope".to_owned(), raw(&scope.into())?);
        }
        let meta = fields.get("_meta").and_then(|meta| serde_json::from_str(meta.get()).ok());
        let mut meta: Fields = meta.unwrap_or_default();
        meta.insert(SERVER_INFO.to_owned(), raw(&server())?);
        fields.insert("_meta".to_owned(), to_raw_value(&meta)?);
    }
    serde_json::to_string(&fields).map(one_line)
}

/// JSON without raw line breaks: between its parts they are blanks, and inside of a text there are
/// none. What is sent as a line, or as an event, must be one.
fn one_line(json: String) -> String {
    match json.contains(['\n', '\r']) {
        true => json.replace(['\n', '\r'], " "),
        false => json,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_is_json() {
        let read = |text: String| serde_json::from_str::<Value>(&text).unwrap();
        let none = || [].into_iter();
        assert_eq!(read(list("tools", none(), JsonObject::new(), false)), json!({ "tools": [] }));
        let more = json!({ "nextCursor": "x" }).as_object().unwrap().clone();
        let items = [r#"{"a":1}"#, r#"{"b":2}"#];
        assert_eq!(
            read(list("tools", items.into_iter(), more.clone(), false)),
            json!({ "tools": [{ "a": 1 }, { "b": 2 }], "nextCursor": "x" })
        );
        let modern = read(list("tools", none(), more, true));
        assert_eq!(modern["resultType"], "complete");
        assert_eq!(modern["_meta"][SERVER_INFO]["name"], "signalbox");
    }

    #[test]
    fn what_is_relayed_is_one_line() {
        let forged = "{\"content\":[\r\n{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}\n]}";
        for is_modern in [false, true] {
            let fields: Fields = serde_json::from_str(forged).unwrap();
            let text = relayed(fields, None, is_modern).unwrap();
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_said_beside_a_result_keeps_its_bytes_too() {
        let beside = r#"{"n":1.50,"big":123456789012345678901234567890,"e":[1E2, {"b":1,"a":2}]}"#;
        let text = format!(r#"{{"content":[],"_meta":{{"x.test/a":{beside}}}}}"#);
        for is_modern in [false, true] {
            let fields: Fields = serde_json::from_str(&text).unwrap();
            let said = relayed(fields, None, is_modern).unwrap();
            assert!(said.contains(&format!(r#""x.test/a":{beside}"#)), "{said}");
            let said: Value = serde_json::from_str(&said).unwrap();
            assert_eq!(said["_meta"].get(SERVER_INFO).is_some(), is_modern);
        }
        // What is no object says nothing.
        let fields: Fields = serde_json::from_str(r#"{"_meta":[1]}"#).unwrap();
        let said: Value = serde_json::from_str(&relayed(fields, None, true).unwrap()).unwrap();
        assert_eq!(said["_meta"][SERVER_INFO]["name"], "signalbox");
    }

    #[test]
    fn what_is_relayed_keeps_its_bytes() {
        let text = r#"{"content":[{"type":"x-new","n":1.50}],"ttlMs":1,"_meta":{"a":1}}"#;
        let fields = || serde_json::from_str::<Fields>(text).unwrap();
        let old = relayed(fields(), Some((5, "private")), false).unwrap();
        assert_eq!(old, r#"{"_meta":{"a":1},"content":[{"type":"x-new","n":1.50}]}"#);
        let modern = relayed(fields(), Some((5, "private")), true).unwrap();
        assert!(modern.contains(r#""content":[{"type":"x-new","n":1.50}]"#), "{modern}");
        let modern: Value = serde_json::from_str(&modern).unwrap();
        assert_eq!((&modern["ttlMs"], &modern["resultType"]), (&json!(5), &json!("complete")));
        assert_eq!(modern["_meta"]["a"], 1);
    }
}
