//! Calls that work in several contexts at once: which calls those are, and how what the contexts
//! answer becomes one answer, that says what is missing of it. Pure. It must not know how a context
//! is reached.

use crate::message::{Request, text};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};
use shared::{
    Error, Scope,
    config::{Config, ToolsetKind},
    hop::Options,
    limits,
};
use std::collections::{BTreeSet, VecDeque};

/// The parameter that spreads a call over the contexts inside of its own.
pub const ACROSS: &str = "across";

/// A call that is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// How many notes are wanted.
    pub limit: usize,
}

#[derive(Default, Deserialize)]
struct Arguments {
    #[serde(default)]
    across: Option<bool>,
    #[serde(default)]
    limit: Option<f64>,
}

/// Whether a request is spread: a search over notes that asks for it.
#[must_use]
pub fn spread(config: &Config, options: &Options, request: &Request<'_>) -> Option<Spread> {
    let arguments = request.params.arguments.filter(|_| request.method == "tools/call")?;
    // Most calls do not say the word at all.
    if !arguments.get().contains(ACROSS) {
        return None;
    }
    let name = text(request.params.name)?;
    let owner = config.owner(&name, options)?;
    let is_search = matches!(name.as_ref(), "recall" | "list_memories");
    if owner.kind != ToolsetKind::Memory || !is_search {
        return None;
    }
    // What does not fit is told so by the Agent.
    let arguments: Arguments = serde_json::from_str(arguments.get()).ok()?;
    let default = limits::NOTES_PAGE_DEFAULT;
    let limit = (1..=limits::NOTES_PAGE_MAX).find(|n| arguments.limit == Some(f64::from(*n)));
    let limit = usize::try_from(limit.unwrap_or(default)).unwrap_or(usize::MAX);
    arguments.across.filter(|across| *across).map(|_| Spread { limit })
}

/// What one context answered: its body, or why there is none.
pub type Part = (Scope, Result<String, Error>);

/// As much of an answer as is merged.
#[derive(Deserialize)]
struct Answer {
    result: Option<Map<String, Value>>,
    error: Option<Failed>,
}

#[derive(Deserialize)]
struct Failed {
    message: String,
}

/// What one context found.
struct Found {
    notes: VecDeque<Value>,
    has_more: bool,
}

/// Merges what contexts answered, the widest first, into the answer to the request `id`. Where none
/// has an answer, what the widest says is all that is said; `None` if that is nothing.
#[must_use]
pub fn merge(id: &RawValue, spread: Spread, parts: &[Part], left_out: usize) -> Option<String> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    let mut template: Option<Map<String, Value>> = None;
    for (scope, answer) in parts {
        match read(scope, answer) {
            Ok((notes, result)) => {
                found.push(notes);
                template = template.or(Some(result));
            }
            Err(reason) => missing.push(json!({ "scope": scope.to_string(), "reason": reason })),
        }
    }
    let Some(mut result) = template else {
        return parts.iter().find_map(|(_, answer)| answer.as_ref().ok().cloned());
    };
    if left_out > 0 {
        let reason = format!("{left_out} more contexts; name one of them, or use a narrower URL");
        missing.push(json!({ "scope": "", "reason": reason }));
    }
    let mut has_more = found.iter().any(|one| one.has_more);
    let notes = interleaved(found, spread.limit, &mut has_more);
    let mut structured = json!({ "notes": notes });
    if let Some(structured) = structured.as_object_mut() {
        if !missing.is_empty() {
            structured.insert("missing".to_owned(), missing.into());
        }
        if has_more {
            structured.insert("more".to_owned(), true.into());
        }
    }
    let text = structured.to_string();
    result.insert("content".to_owned(), json!([{ "type": "text", "text": text }]));
    result.insert("structuredContent".to_owned(), structured);
    Some(json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string())
}

/// What a context found, with the result that it is in; or why it found nothing.
fn read(
    scope: &Scope,
    answer: &Result<String, Error>,
) -> Result<(Found, Map<String, Value>), String> {
    let body = answer.as_ref().map_err(|error| error.public.clone())?;
    let answer: Answer =
        serde_json::from_str(body).map_err(|_| "it answered with no message".to_owned())?;
    if let Some(error) = answer.error {
        return Err(error.message);
    }
    let result = answer.result.unwrap_or_default();
    if result.get("isError") == Some(&Value::Bool(true)) {
        let content =
            result.get("content").and_then(|content| content.get(0)?.get("text")?.as_str());
        return Err(content.unwrap_or("it failed").to_owned());
    }
    let structured = result.get("structuredContent");
    let notes = structured.and_then(|structured| structured.get("notes")?.as_array());
    let mut notes: VecDeque<Value> = notes.cloned().unwrap_or_default().into();
    for note in &mut notes {
        let is_shared = note.get("shared") == Some(&Value::Bool(true));
        if let Some(note) = note.as_object_mut().filter(|_| !is_shared) {
            note.insert("scope".to_owned(), scope.to_string().into());
        }
    }
    let has_more = structured.is_some_and(|structured| structured.get("nextCursor").is_some());
    Ok((Found { notes, has_more }, result))
}

/// The best of each, then the next best: ranks of different contexts cannot be compared. What all
/// contexts share is there once.
fn interleaved(mut found: Vec<Found>, limit: usize, has_more: &mut bool) -> Vec<Value> {
    let mut notes = Vec::new();
    let mut shared = BTreeSet::new();
    while found.iter().any(|one| !one.notes.is_empty()) {
        for one in &mut found {
            let Some(note) = one.notes.pop_front() else {
                continue;
            };
            let is_shared = note.get("shared") == Some(&Value::Bool(true));
            let id = note.get("id").and_then(Value::as_str).unwrap_or_default();
            if is_shared && !shared.insert(id.to_owned()) {
                continue;
            }
            if notes.len() >= limit {
                *has_more = true;
                return notes;
            }
            notes.push(note);
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;
    use shared::{Kind, config::default_levels};

    fn is_spread(params: &str) -> Option<usize> {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        let body = RawValue::from_string(body).unwrap();
        let Ok(Message::Request(request)) = Message::parse(&body) else { panic!("{body}") };
        spread(&Config::default(), &Options::default(), &request).map(|spread| spread.limit)
    }

    #[test]
    fn a_search_is_spread_where_it_asks_for_it() {
        for (params, expected) in [
            (r#"{"name":"recall","arguments":{"query":"x","across":true}}"#, Some(10)),
            (r#"{"name":"list_memories","arguments":{"across":true,"limit":3}}"#, Some(3)),
            (r#"{"name":"recall","arguments":{"query":"across"}}"#, None),
            (r#"{"name":"recall","arguments":{"query":"x","across":false}}"#, None),
            (r#"{"name":"recall","arguments":{"query":"x","across":null}}"#, None),
            (r#"{"name":"recall","arguments":{"query":"x","across":"yes"}}"#, None),
            (r#"{"name":"forget","arguments":{"id":"x","across":true}}"#, None),
            (r#"{"name":"recall"}"#, None),
        ] {
            assert_eq!(is_spread(params), expected, "{params}");
        }
    }

    fn scope(path: &str) -> Scope {
        Scope::parse_path(path, &default_levels()).unwrap()
    }

    fn answer(notes: &Value, more: bool) -> Result<String, Error> {
        let mut structured = json!({ "notes": notes });
        if more {
            structured["nextCursor"] = "after-1".into();
        }
        let result =
            json!({ "content": [], "structuredContent": structured, "resultType": "complete" });
        Ok(json!({ "jsonrpc": "2.0", "id": 9, "result": result }).to_string())
    }

    fn merged(parts: &[Part], limit: usize, left_out: usize) -> Value {
        let id = RawValue::from_string("7".to_owned()).unwrap();
        let text = merge(&id, Spread { limit }, parts, left_out).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_is_missing_is_said() {
        let note = |id: &str, shared: bool| json!({ "id": id, "shared": shared });
        let failed =
            || Err(Error::new(Kind::Unavailable, "it does not answer").with_detail("secret"));
        let tool = r#"{"id":1,"result":{"isError":true,"content":[{"type":"text","text":"no"}]}}"#;
        let parts = [
            (scope("/mcp"), answer(&json!([note("a", false), note("s", true)]), false)),
            (scope("/mcp/acme"), answer(&json!([note("b", false), note("s", true)]), false)),
            (scope("/mcp/acme/web"), failed()),
            (scope("/mcp/x"), Ok(tool.to_owned())),
        ];
        let all = merged(&parts, 10, 2);
        assert_eq!((&all["id"], &all["result"]["resultType"]), (&json!(7), &json!("complete")));
        let structured = &all["result"]["structuredContent"];
        let ids: Vec<_> =
            structured["notes"].as_array().unwrap().iter().map(|note| &note["id"]).collect();
        assert_eq!(ids, ["a", "b", "s"]);
        assert_eq!(structured["notes"][1]["scope"], "/mcp/acme");
        assert_eq!(structured["notes"][2].get("scope"), None, "it is everywhere");
        let missing = structured["missing"].as_array().unwrap();
        let reasons: Vec<_> = missing.iter().map(|one| one["reason"].as_str().unwrap()).collect();
        assert_eq!(reasons[..2], ["it does not answer", "no"]);
        assert!(reasons[2].starts_with("2 more contexts"));
        let text = all["result"]["content"][0]["text"].as_str().unwrap();
        assert_eq!(&serde_json::from_str::<Value>(text).unwrap(), structured);
        assert!(structured.get("more").is_none());
        let few = merged(&parts[..2], 1, 0);
        assert_eq!(few["result"]["structuredContent"]["more"], true);
        assert!(few["result"]["structuredContent"].get("missing").is_none());
        let id = RawValue::from_string("7".to_owned()).unwrap();
        let spread = Spread { limit: 1 };
        assert_eq!(merge(&id, spread, &parts[2..], 0).as_deref(), Some(tool));
        assert_eq!(merge(&id, spread, &parts[2..3], 0), None);
    }
}
