//! A stream that only waits costs nothing: its router is put to sleep by the platform while the
//! client listens, and still delivers. The bundle is served with a line in its log for every time
//! that a router is woken.

use serde_json::json;
use std::{fs, path::Path, process::Stdio};
use tests::{Bundle, Server, Session};

const WRAPPER: &str = r#"
import * as all from "worker.js";
export default all.default;
export const { Agent, OAuthStore } = all;
export class McpRouter extends all.McpRouter {
  constructor(...all) {
    super(...all);
    console.log("a router is woken");
  }
}
"#;

/// The fixture bundle, and a module before it that logs.
fn logging(folder: &Path) {
    for entry in fs::read_dir(Bundle::Fixture.folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
    }
    fs::write(folder.join("wrapper.js"), WRAPPER).unwrap();
    let config = fs::read_to_string(folder.join("workerd.capnp")).unwrap();
    let modules = "modules = [";
    let wrapper = "modules = [\n    (name = \"wrapper.js\", esModule = embed \"wrapper.js\"),";
    assert_eq!(config.matches(modules).count(), 1);
    fs::write(folder.join("workerd.capnp"), config.replace(modules, wrapper)).unwrap();
}

#[test]
fn a_router_sleeps_while_a_client_listens_and_still_delivers() {
    let (state, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    logging(folder.path());
    let log = folder.path().join("log");
    let to = Stdio::from(fs::File::create(&log).unwrap());
    let server = Server::start_from(folder.path(), state.path(), crate::KEYS, &[], to);
    let woken = || fs::read_to_string(&log).unwrap().matches("a router is woken").count();
    let url = server.url("/mcp/acme");
    let session = Session::begin(&url, "key-a");
    let mut events = session.listen(None);
    assert_eq!(events.next().expect("a priming event").data, "");
    assert_eq!(woken(), 1);
    let change = || {
        let params = json!({ "name": "test_trigger_tool_change" });
        assert_eq!(session.request("tools/call", &params).status, 200);
    };
    change();
    let (first, message) = events.message();
    assert_eq!(message["method"], "notifications/tools/list_changed");
    assert_eq!(woken(), 1);
    // The platform puts an object to sleep after ten seconds in which nothing happens to it. The
    // entry shows after fifteen that it still holds the stream.
    events.comment();
    change();
    let (second, message) = events.message();
    assert_eq!(message["method"], "notifications/tools/list_changed");
    assert_eq!(woken(), 2, "the router did not sleep");
    assert_ne!(first, second);
    // What it knew of the stream is there: the client can ask for the rest of it.
    drop(events);
    let (again, _) = session.listen(first.as_deref()).message();
    assert_eq!(again, second);
}
