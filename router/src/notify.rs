//! Changes, as notifications of either era (2025-11-25 and earlier: schema; 2026-07-28:
//! subscriptions). It must not know who is told.

use crate::streams::Filter;
use serde_json::{Value, json, value::RawValue};
use shared::hop::Change;

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// Whether every context of the user has changed.
#[must_use]
pub const fn is_everywhere(change: &Change) -> bool {
    matches!(change, Change::ResourcesEverywhere | Change::ResourceEverywhere(_))
}

/// The resource whose contents have changed, if that is what has.
#[must_use]
pub fn resource(change: &Change) -> Option<&str> {
    match change {
        Change::Resource(uri) | Change::ResourceEverywhere(uri) => Some(uri),
        _ => None,
    }
}

const fn method(change: &Change) -> &'static str {
    match change {
        Change::Tools => "notifications/tools/list_changed",
        Change::Prompts => "notifications/prompts/list_changed",
        Change::Resources | Change::ResourcesEverywhere => "notifications/resources/list_changed",
        Change::Resource(_) | Change::ResourceEverywhere(_) => "notifications/resources/updated",
    }
}

/// A change, to a session.
#[must_use]
pub fn message(change: &Change) -> String {
    let mut message = json!({ "jsonrpc": "2.0", "method": method(change) });
    if let (Some(uri), Some(message)) = (resource(change), message.as_object_mut()) {
        message.insert("params".to_owned(), json!({ "uri": uri }));
    }
    message.to_string()
}

/// A change, to a stream of the modern era; `None` if it did not ask to hear of it.
#[must_use]
pub fn heard(id: &RawValue, filter: &Filter, change: &Change) -> Option<String> {
    let wanted = match change {
        Change::Tools => filter.tools_list_changed,
        Change::Prompts => filter.prompts_list_changed,
        Change::Resources | Change::ResourcesEverywhere => filter.resources_list_changed,
        Change::Resource(uri) | Change::ResourceEverywhere(uri) => {
            filter.resource_subscriptions.contains(uri)
        }
    };
    let mut params = json!({ "_meta": { SUBSCRIPTION: id_value(id) } });
    if let (Some(uri), Some(params)) = (resource(change), params.as_object_mut()) {
        params.insert("uri".to_owned(), uri.into());
    }
    let message = json!({ "jsonrpc": "2.0", "method": method(change), "params": params });
    wanted.then(|| message.to_string())
}

/// The first thing that a stream of the modern era says: what it will speak of.
#[must_use]
pub fn acknowledged(id: &RawValue, filter: &Filter) -> String {
    json!({
        "jsonrpc": "2.0",
        "method": "notifications/subscriptions/acknowledged",
        "params": { "_meta": { SUBSCRIPTION: id_value(id) }, "notifications": filter },
    })
    .to_string()
}

fn id_value(id: &RawValue) -> Value {
    serde_json::from_str(id.get()).unwrap_or_default()
}
