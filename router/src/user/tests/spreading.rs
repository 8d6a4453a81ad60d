//! Calls in several contexts at once. It must not know what anybody finds.

use super::*;

fn recall(home: &Home, url: &str, arguments: &Value) -> Value {
    let params = json!({ "name": "recall", "arguments": arguments });
    let (status, body) = modern(home, url, "tools/call", &params);
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn a_search_across_asks_every_context_that_was_entered_and_says_which_did_not_answer() {
    let home = Home::with_toolsets(r#"[{"kind":"memory"}]"#);
    for url in ["/mcp/acme", "/mcp/acme/web", "/mcp/other", "/mcp/acme2"] {
        home.world.answer(&json!({}));
        modern(&home, url, "tools/list", &json!({}));
    }
    let across = json!({ "query": "x", "across": true });
    let ids = |answer: &Value| -> Vec<String> {
        let notes = answer["result"]["structuredContent"]["notes"].as_array().unwrap();
        notes.iter().map(|note| note["id"].as_str().unwrap().to_owned()).collect()
    };
    let found = recall(&home, "/mcp", &across);
    assert_eq!(ids(&found), ["u", "u:acme", "u:acme2", "u:other"]);
    let missing = &found["result"]["structuredContent"]["missing"];
    assert_eq!(missing[0]["scope"], "/mcp/acme/web");
    assert_eq!(missing[0]["reason"], "this context does not answer");
    // No context outside of the scope is asked, however it is named.
    assert_eq!(ids(&recall(&home, "/mcp/acme", &across)), ["u:acme"]);
    let named = json!({ "query": "x", "across": true, "org": "acme" });
    assert_eq!(ids(&recall(&home, "/mcp", &named)), ["u:acme"]);
}
