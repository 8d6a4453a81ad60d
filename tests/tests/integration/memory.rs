//! The memory toolset through two tiers, and the fence around it.

use crate::fresh;
use serde_json::{Value, json};
use tests::{Bundle, Session, modern};

#[test]
fn a_call_through_a_wide_url_reaches_the_same_object() {
    let (server, _state) = fresh(Bundle::Release);
    let wide = Session::begin(&server.url("/mcp"), "key-a");
    let org = Session::begin(&server.url("/mcp/acme"), "key-a");
    let narrow = Session::begin(&server.url("/mcp/acme/web"), "key-a");
    let place = json!({ "organizationSlug": "acme", "projectSlug": "web" });
    let with = |mut arguments: Value, place: &Value| {
        for (name, value) in place.as_object().unwrap() {
            arguments[name] = value.clone();
        }
        arguments
    };
    let note = json!({ "text": "the blue key", "title": "Keys", "tags": ["ops"] });
    let _ = wide.call("remember", &with(note, &place));
    let query = json!({ "query": "key" });
    let params = |arguments: &Value| json!({ "name": "recall", "arguments": arguments });
    let expected = narrow.request("tools/call", &params(&query)).body;
    assert!(expected.contains("the blue key"));
    // Wide, half wide, and with the pinned values said again: the same bytes.
    let everywhere = with(query.clone(), &place);
    assert_eq!(wide.request("tools/call", &params(&everywhere)).body, expected);
    let project = with(query.clone(), &json!({ "projectSlug": "web" }));
    assert_eq!(org.request("tools/call", &params(&project)).body, expected);
    assert_eq!(narrow.request("tools/call", &params(&everywhere)).body, expected);
    let aliases = with(query.clone(), &json!({ "org": "ACME", "project_slug": "web" }));
    assert_eq!(wide.request("tools/call", &params(&aliases)).body, expected);
    // And nowhere else.
    for session in [&wide, &org] {
        assert_eq!(session.call("recall", &query)["notes"], json!([]));
    }
    // The same in the modern era.
    let url = server.url("/mcp");
    let call = modern(&url, "key-a", "tools/call", params(&everywhere)).json();
    assert_eq!(call["result"]["structuredContent"], narrow.call("recall", &query));
}

#[test]
fn a_conflict_names_both_values() {
    let (server, _state) = fresh(Bundle::Release);
    let session = Session::begin(&server.url("/mcp/acme/web"), "key-a");
    let error = |arguments: Value| {
        let params = json!({ "name": "recall", "arguments": arguments });
        session.request("tools/call", &params).json()["error"].clone()
    };
    assert_eq!(
        error(json!({ "query": "x", "organizationSlug": "other" })),
        json!({ "code": -32602,
            "message": "`organizationSlug` is fixed to `acme` by this URL; got `other`" })
    );
    assert_eq!(
        error(json!({ "query": "x", "projectSlugOrId": 5 })),
        json!({ "code": -32602,
            "message": "`projectSlugOrId` is fixed to `web` by this URL; got `5`" })
    );
    let wide = Session::begin(&server.url("/mcp"), "key-a");
    let params = json!({ "name": "recall", "arguments": { "query": "x", "projectSlug": "web" } });
    let message = wide.request("tools/call", &params).json()["error"]["message"].clone();
    assert_eq!(message, "`projectSlug` needs organizationSlug too: which org is it in?");
}

#[test]
fn shared_notes_are_seen_in_every_context_of_their_user() {
    let (server, _state) = fresh(Bundle::Release);
    let (a, b) = (server.url("/mcp/acme"), server.url("/mcp/other/web"));
    let (here, there) = (Session::begin(&a, "key-a"), Session::begin(&b, "key-a"));
    let stranger = Session::begin(&a, "key-b");
    let own = here.call("remember", &json!({ "text": "only here" }));
    let note = here.call("remember", &json!({ "text": "tea, no milk", "shared": true }));
    let (id, uri) = (&note["id"], &note["uri"]);
    assert_eq!(uri, &json!(format!("memory://shared/{}", id.as_str().unwrap())));
    let list = |session: &Session| session.call("list_memories", &json!({}))["notes"].clone();
    assert_eq!(list(&there).as_array().unwrap().len(), 1);
    assert_eq!(list(&there)[0]["text"], "tea, no milk");
    assert_eq!(list(&here).as_array().unwrap().len(), 2);
    assert_eq!(list(&stranger), json!([]));
    assert_eq!(there.call("recall", &json!({ "query": "milk" }))["notes"][0]["id"], *id);
    let read = |session: &Session| {
        session
            .request("resources/read", &json!({ "uri": uri }))
            .json()["result"]["contents"][0]["text"]
            .clone()
    };
    assert_eq!(read(&there), "tea, no milk");
    assert_eq!(read(&stranger), Value::Null);
    // It is replaced where it is, and gone for everybody once forgotten.
    let _ = there.call("remember", &json!({ "id": id, "text": "coffee" }));
    assert_eq!(read(&here), "coffee");
    let _ = there.call("forget", &json!({ "id": id }));
    assert_eq!(list(&here)[0]["id"], own["id"]);
    assert_eq!(list(&there), json!([]));
}

#[test]
fn lists_are_paged_and_bounds_are_told() {
    let (server, _state) = fresh(Bundle::Release);
    let session = Session::begin(&server.url("/mcp/acme"), "key-a");
    for n in 0..105 {
        let _ = session.call("remember", &json!({ "text": format!("note {n}"), "tags": ["t"] }));
    }
    let mut seen = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let mut arguments = json!({ "limit": 50, "tag": "t" });
        if !cursor.is_null() {
            arguments["cursor"] = cursor;
        }
        let page = session.call("list_memories", &arguments);
        seen.extend(page["notes"].as_array().unwrap().iter().map(|n| n["id"].to_string()));
        cursor = page["nextCursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 105);
    let resources =
        |params: &Value| session.request("resources/list", params).json()["result"].clone();
    let first = resources(&json!({}));
    assert_eq!(first["resources"].as_array().unwrap().len(), 100);
    let second = resources(&json!({ "cursor": first["nextCursor"] }));
    assert_eq!(second["resources"].as_array().unwrap().len(), 5);
    assert_eq!(second["nextCursor"], Value::Null);
    // However long a note is, a page of notes holds a part of it.
    let long = format!("needle {} tail", "x".repeat(30_000));
    let _ = session.call("remember", &json!({ "text": long }));
    let found = session.call("recall", &json!({ "query": "needle" }))["notes"][0].clone();
    assert_eq!(found["truncated"], true);
    assert!(found["text"].as_str().unwrap().chars().count() <= 2_000);
    let told = |tool: &str, arguments: Value| {
        let params = json!({ "name": tool, "arguments": arguments });
        let result = session.request("tools/call", &params).json()["result"].clone();
        assert_eq!(result["isError"], true, "{result}");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    };
    let large = "x".repeat(32 * 1024 + 1);
    assert!(told("remember", json!({ "text": large })).contains("at most 32768"));
    assert!(told("remember", json!({ "text": "" })).contains("must not be empty"));
    assert!(told("remember", json!({ "tekst": "x" })).contains("unknown field `tekst`"));
    assert!(told("recall", json!({})).contains("missing field `query`"));
    assert!(told("recall", json!({ "query": "?!" })).contains("no word"));
    assert!(told("recall", json!({ "query": "x", "limit": 51 })).contains("1 to 50"));
    assert!(told("list_memories", json!({ "cursor": "x" })).contains("nextCursor"));
    assert!(told("forget", json!({ "id": "nope" })).contains("there is no note nope"));
    assert!(told("remember", json!({ "id": "nope", "text": "x" })).contains("no note nope"));
}
