//! Servers that nobody here wrote, through Signalbox: what clients of either era get is what the
//! server says to a client of its own.

use super::{Asks, Front, Modern, far, plain};
use serde_json::{Value, json};
use tests::{Session, remote::Upstream};

/// Asks the upstream itself and both kinds of clients of Signalbox, and compares.
#[track_caller]
fn compare(upstream: &str, front: &Front, asks: &[(&str, Value)]) {
    let direct = Session::begin(upstream, "none");
    let session = Session::begin(&front.url("/mcp"), "key-a");
    let modern = front.modern("/mcp");
    for (method, params) in asks {
        let expected = plain(direct.result(method, params));
        for client in [&session as &dyn Asks, &modern] {
            assert_eq!(plain(whole(client, method, params)), expected, "{method} {params}");
        }
    }
}

/// What a client gets, of a list once the server has had its say.
fn whole(client: &dyn Asks, method: &str, params: &Value) -> Value {
    match method.ends_with("/list") {
        true => client.listed(method),
        false => client.result(method, params),
    }
}

fn call(tool: &str, arguments: &Value) -> (&'static str, Value) {
    ("tools/call", json!({ "name": tool, "arguments": arguments }))
}

#[test]
fn everything() {
    let upstream = Upstream::everything();
    let front = Front::start(&json!([far(&upstream.url, &json!({}))]));
    let read = |uri: &str| ("resources/read", json!({ "uri": uri }));
    let complete = |subject: Value, name: &str, value: &str| {
        let argument = json!({ "name": name, "value": value });
        ("completion/complete", json!({ "ref": subject, "argument": argument }))
    };
    let asks = [
        ("tools/list", json!({})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("prompts/list", json!({})),
        call("echo", &json!({ "message": "hi" })),
        call("get-sum", &json!({ "a": 1, "b": 2.5 })),
        // A mistake that the server finds is a result.
        call("get-sum", &json!({ "a": "one" })),
        call("get-tiny-image", &json!({})),
        call("get-structured-content", &json!({ "location": "Chicago" })),
        call("get-annotated-message", &json!({ "messageType": "error", "includeImage": true })),
        call("get-resource-links", &json!({ "count": 3 })),
        ("prompts/get", json!({ "name": "simple-prompt" })),
        ("prompts/get", json!({ "name": "args-prompt", "arguments": { "city": "Bern" } })),
        read("demo://resource/static/document/architecture.md"),
        complete(json!({ "type": "ref/prompt", "name": "completable-prompt" }), "department", "E"),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/prompt", "name": "completable-prompt" },
                "argument": { "name": "name", "value": "" },
                "context": { "arguments": { "department": "Sales" } } }),
        ),
        complete(
            json!({ "type": "ref/resource", "uri": "demo://resource/dynamic/text/{resourceId}" }),
            "resourceId",
            "7",
        ),
    ];
    compare(&upstream.url, &front, &asks);
    let session = Session::begin(&front.url("/mcp"), "key-a");
    assert_eq!(session.refused("no-such-tool", &json!({}))["code"], -32602);
    let gone = session.answer("prompts/get", &json!({ "name": "no-such-prompt" }));
    assert_eq!(gone["error"]["code"], -32602, "{gone}");
    // Read at other times it says another time.
    let uri = "demo://resource/dynamic/text/7";
    let text = session.result("resources/read", &json!({ "uri": uri }));
    assert!(text["contents"][0]["text"].as_str().unwrap().contains("Resource 7"), "{text}");
}

#[test]
fn memory() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let upstreams =
        [Upstream::memory(folders[0].path()), Upstream::memory_without_sessions(folders[1].path())];
    for upstream in &upstreams {
        let front = Front::start(&json!([far(&upstream.url, &json!({}))]));
        let entities =
            json!([{ "name": "Ada", "entityType": "person", "observations": ["wrote"] }]);
        let session = Session::begin(&front.url("/mcp"), "key-a");
        let created = session.calls("create_entities", &json!({ "entities": entities }));
        assert_eq!(created["structuredContent"]["entities"], entities, "{created}");
        let asks = [
            ("tools/list", json!({})),
            call("read_graph", &json!({})),
            call("search_nodes", &json!({ "query": "Ada" })),
            call("search_nodes", &json!({ "query": 7 })),
        ];
        let direct = Direct { url: upstream.url.clone() };
        let modern = front.modern("/mcp");
        for (method, params) in asks {
            let expected = plain(direct.result(method, &params));
            for client in [&session as &dyn Asks, &modern] {
                assert_eq!(plain(whole(client, method, &params)), expected, "{method} {params}");
            }
        }
    }
}

/// A client that begins a session for every request, where there are sessions.
struct Direct {
    url: String,
}

impl Asks for Direct {
    fn asks(&self, method: &str, params: &Value) -> tests::Response {
        let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "plain", "version": "1" } });
        let begun = tests::post(&self.url, "none", &[], &tests::message("initialize", &hello));
        let mut headers = vec![("mcp-protocol-version", "2025-11-25")];
        headers.extend(begun.header("mcp-session-id").map(|id| ("mcp-session-id", id)));
        let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(tests::post(&self.url, "none", &headers, &note.to_string()).status, 202);
        tests::post(&self.url, "none", &headers, &tests::message(method, params))
    }
}

#[test]
fn time() {
    let upstream = Upstream::time();
    let front = Front::start(&json!([far(&upstream.url, &json!({}))]));
    check_time(&upstream, &front);
}

#[test]
fn time_in_the_modern_era() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::modern_time(folder.path());
    let front = Front::start(&json!([far(&upstream.url, &json!({ "era": "modern" }))]));
    check_time(&upstream, &front);
}

fn check_time(upstream: &Upstream, front: &Front) {
    let asks = [
        ("tools/list", json!({})),
        // Where it is no summer anywhere the answer does not depend on the day.
        call(
            "convert_time",
            &json!({ "source_timezone": "UTC", "target_timezone": "Asia/Tokyo", "time": "12:30" }),
        ),
        call("get_current_time", &json!({ "timezone": "Nowhere/None" })),
    ];
    compare(&upstream.url, front, &asks);
    let session = Session::begin(&front.url("/mcp"), "key-a");
    let wrong = session.calls("get_current_time", &json!({ "timezone": "Nowhere/None" }));
    assert_eq!(wrong["isError"], true);
}

#[test]
fn what_a_server_says_before_its_result_comes_before_it() {
    let upstream = Upstream::everything();
    let front = Front::start(&json!([far(&upstream.url, &json!({}))]));
    let call = json!({ "name": "trigger-long-running-operation",
        "arguments": { "duration": 0.4, "steps": 4 } });
    let mut with_token = call.clone();
    with_token["_meta"] = json!({ "progressToken": "mine" });
    let session = Session::begin(&front.url("/mcp"), "key-a");
    let mut modern = front.modern("/mcp");
    modern.meta = json!({ "progressToken": "mine" });
    let streams =
        [session.stream(7, "tools/call", &with_token), modern.stream("tools/call", &call)];
    for events in streams {
        let said: Vec<Value> =
            events.filter(|event| !event.data.is_empty()).map(|event| event.json()).collect();
        let progress: Vec<_> = said.iter().map(|m| m["params"]["progress"].as_f64()).collect();
        assert_eq!(progress, [Some(1.0), Some(2.0), Some(3.0), Some(4.0), None], "{said:?}");
        assert!(said[..4].iter().all(|m| m["params"]["progressToken"] == "mine"), "{said:?}");
        assert_eq!(said[4]["result"]["content"][0]["type"], "text");
    }
}

/// What a client that can be asked answers.
fn answers(question: &Value) -> Value {
    let result = match question["method"].as_str().unwrap() {
        "sampling/createMessage" => json!({ "role": "assistant", "model": "none",
            "content": { "type": "text", "text": "sampled" } }),
        "elicitation/create" => json!({ "action": "accept", "content": { "name": "Ada" } }),
        "roots/list" => json!({ "roots": [{ "uri": "file:///here", "name": "here" }] }),
        other => panic!("{other}"),
    };
    json!({ "jsonrpc": "2.0", "id": question["id"], "result": result })
}

const CAPABLE: &str = r#"{ "sampling": {}, "elicitation": {}, "roots": {} }"#;

#[test]
fn a_server_asks_the_client_in_the_middle_of_a_call() {
    let upstream = Upstream::everything();
    let front = Front::start(&json!([far(&upstream.url, &json!({}))]));
    let capable: Value = serde_json::from_str(CAPABLE).unwrap();
    let session = Session::begin_as(&front.url("/mcp"), "key-a", "2025-11-25", &capable);
    let prompt = json!({ "prompt": "say" });
    let asks = [
        ("trigger-sampling-request", prompt.clone(), "sampling/createMessage", "sampled"),
        ("trigger-elicitation-request", json!({}), "elicitation/create", "Ada"),
        // Roots are asked for on the stream of the session, and not on the call's.
        ("get-roots-list", json!({}), "roots/list", "file:///here"),
    ];
    for (id, (tool, arguments, method, said)) in (10..).zip(asks) {
        let params = json!({ "name": tool, "arguments": arguments });
        let mut events = session.stream(id, "tools/call", &params);
        let (_, question) = events.message();
        assert_eq!(question["method"], method);
        assert_eq!(session.post(&answers(&question).to_string()).status, 202);
        let reply = loop {
            let (_, message) = events.message();
            if message["id"] == id && message["method"].is_null() {
                break message;
            }
        };
        assert!(reply["result"].to_string().contains(said), "{reply}");
    }
    // In 2026-07-28 the same is asked in rounds.
    let modern = Modern { capabilities: capable, ..front.modern("/mcp") };
    let mut params = json!({ "name": "trigger-sampling-request", "arguments": prompt });
    let asked = modern.result("tools/call", &params);
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let questions = asked["inputRequests"].as_object().unwrap();
    let responses = questions.iter().map(|(key, question)| {
        let answer = answers(question)["result"].clone();
        (key.clone(), answer)
    });
    params["inputResponses"] = Value::Object(responses.collect());
    params["requestState"] = asked["requestState"].clone();
    let done = modern.result("tools/call", &params);
    assert!(done["content"].to_string().contains("sampled"), "{done}");
}

#[test]
fn the_list_of_tools_depends_on_what_the_client_can_do() {
    let upstream = Upstream::everything();
    let front = Front::start(&json!([far(&upstream.url, &json!({}))]));
    let capable: Value = serde_json::from_str(CAPABLE).unwrap();
    let mut more = capable.clone();
    more["elicitation"] = json!({ "form": {}, "url": {} });
    for (capabilities, count) in
        [(json!({}), 13), (capable, 16), (json!({ "sampling": {} }), 14), (more, 17)]
    {
        let revision = "2025-11-25";
        let direct = Session::begin_as(&upstream.url, "none", revision, &capabilities);
        let session = Session::begin_as(&front.url("/mcp"), "key-a", revision, &capabilities);
        let modern = Modern { capabilities: capabilities.clone(), ..front.modern("/mcp") };
        let expected = direct.tools();
        assert_eq!(expected.len(), count, "{expected:?}");
        assert_eq!(session.tools(), expected, "{capabilities}");
        assert_eq!(modern.tools(), expected, "{capabilities}");
    }
}
