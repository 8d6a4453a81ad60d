//! What clients read of tools at each scope, as files: a change of the contract is a visible diff.
//! `UPDATE=1` writes them anew.

use crate::fresh;
use serde_json::{Value, json};
use std::{env, fs};
use tests::{Bundle, Session, root};

#[test]
fn what_clients_read_at_each_scope() {
    let (server, _state) = fresh(Bundle::Release);
    for (name, path) in [("root", "/mcp"), ("org", "/mcp/acme"), ("project", "/mcp/acme/web")] {
        let session = Session::begin(&server.url(path), "key-a");
        let ask = |method: &str| session.request(method, &json!({})).json()["result"].clone();
        let read = json!({
            "tools": ask("tools/list")["tools"],
            "prompts": ask("prompts/list")["prompts"],
            "templates": ask("resources/templates/list")["resourceTemplates"],
        });
        let text = serde_json::to_string_pretty(&read).unwrap() + "\n";
        let file = root().join(format!("tests/golden/{name}.json"));
        if env::var_os("UPDATE").is_some() {
            fs::write(&file, &text).unwrap();
        }
        let golden = fs::read_to_string(&file).unwrap_or_default();
        let golden: Value = serde_json::from_str(&golden).unwrap_or_default();
        assert_eq!(read, golden, "{name}: UPDATE=1 writes what is new");
    }
}
