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

#[test]
fn whether_a_context_may_be_entered_has_no_more_time_than_its_answer() {
    let home = Home::with_toolsets(
        r#"[{"kind":"memory"},{"kind":"mcp","name":"a","url":"https://a.test/",
            "verify":{"org":"https://a.test/{org}"}}]"#,
    );
    let (sender, checked) = oneshot::channel();
    sender.send(Ok(Access::Yes)).unwrap();
    home.world.checks.borrow_mut().push_back(checked);
    home.world.answer(&json!({}));
    modern(&home, "/mcp/acme", "tools/list", &json!({}));
    // Later it is checked again, and that takes its time.
    home.world.now.set(shared::limits::ACCESS_YES_MS);
    let (_never, checking) = oneshot::channel();
    home.world.checks.borrow_mut().push_back(checking);
    let address = Address::parse("http://host/mcp", &home.config.levels).unwrap();
    let across = json!({ "name": "recall", "arguments": { "query": "x", "across": true } });
    let incoming = modern_incoming("tools/call", &across);
    let moment = Moment::new(Millis(0), [1; 40]);
    let mut asked =
        Box::pin(home.user.serve(&home.world, Method::Post, &address, &incoming, &FIXED, moment));
    assert!((&mut asked).now_or_never().is_none());
    home.world.pass(shared::limits::SPREAD_MS);
    let answer = show((&mut asked).now_or_never().unwrap());
    assert!(answer.contains("this context does not answer"), "{answer}");
    assert!(answer.contains(r#""scope":"/mcp/acme""#), "{answer}");
}
