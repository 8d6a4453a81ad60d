//! What malformed and hostile requests get, one row for each: the exact status, and the JSON-RPC
//! code where the answer is ours. Before them there is a session, a note, a stream that listens
//! and a call that waits for its client; after them all of it goes on, in the same process.
//!
//! - `wire`: how a request is sent byte by byte
//! - `http`: methods, paths, hosts, origins, credentials, media types, framing
//! - `sessions`: session ids, event ids, revisions, lifecycle, the oldest transport
//! - `bodies`: what is no JSON, no message, or too much of either; batches
//! - `params`: names, URIs, cursors, references, arguments
//! - `modern`: `_meta`, mirrored headers, rounds, tasks, subscriptions

mod bodies;
mod http;
mod modern;
mod params;
mod sessions;
pub(crate) mod wire;

use crate::fresh;
use serde_json::{Value, json};
use tests::{Bundle, Event, Events, Server, Session, open};
use wire::{Answer, Ask};

/// What a probe must get.
#[derive(Debug, Clone)]
enum Is {
    /// A status, and an error of JSON-RPC.
    Error(u16, i64),
    /// A result.
    Result,
    /// A result of a tool that says that the call failed.
    Failed,
    /// A status and nothing else.
    Empty(u16),
    /// A stream.
    Stream,
    /// The codes of a batch's answers, zero for a result.
    Batch(&'static [i64]),
    /// A status by the platform, which answers what is no HTTP before any of our code runs.
    Platform(u16),
    /// The platform says nothing to it and closes the connection.
    Closed,
}

/// A probe: its name, what is sent, what must come back.
type Row = (&'static str, Ask, Is);

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

/// A request's text around parameters that may be no JSON.
fn request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

/// So many arrays inside each other.
fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

/// What the probes know of the server.
#[derive(Debug)]
struct Place {
    /// `127.0.0.1:PORT`.
    host: String,
    /// A session of alice at the root.
    session: String,
    /// One at a scope.
    narrow: String,
    /// One of the revision that has batches.
    batch: String,
    /// One that has ended.
    ended: String,
    /// One of bob.
    foreign: String,
    /// An event of the stream of `narrow`.
    event: String,
    /// An event of a stream of bob.
    foreign_event: String,
    /// A session of the oldest transport.
    old: String,
    /// A task of bob, and one of alice at a scope, where a tool goes on as one.
    tasks: Option<[String; 2]>,
    /// What alice is to bring back to a tool that asked her, and what a running call asks.
    state: Option<String>,
    question: Option<String>,
}

impl Place {
    /// A message in the session.
    fn post(&self, body: impl AsRef<[u8]>) -> Ask {
        Ask::post(body)
            .with("Mcp-Session-Id", &self.session)
            .with("MCP-Protocol-Version", "2025-11-25")
    }

    /// A request in the session.
    fn ask(&self, method: &str, params: &str) -> Ask {
        self.post(request(method, params))
    }
}

/// What is there before the probes and has to be there after them.
struct Witness {
    place: Place,
    session: Session,
    note: String,
    listening: Events,
    /// A running call and the id of what it asks, where a tool asks.
    call: Option<(Events, Value)>,
    narrow: Events,
    foreign: Events,
    old: Events,
}

fn event(events: &mut Events) -> Event {
    events.next().expect("an event")
}

impl Witness {
    fn begin(server: &Server, bundle: Bundle) -> Self {
        let (url, narrow) = (server.url("/mcp"), server.url("/mcp/acme/web"));
        let elicits = json!({ "elicitation": {} });
        let session = Session::begin_as(&url, "key-a", "2025-11-25", &elicits);
        let kept = session.call("remember", &json!({ "text": "kept" }));
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let uri = json!({ "uri": kept["uri"] });
        assert_eq!(session.request("resources/subscribe", &uri).status, 200);
        let mut listening = session.listen(None);
        let _ = event(&mut listening);
        let call = (bundle == Bundle::Fixture).then(|| {
            let asks = json!({ "name": "test_elicitation", "arguments": { "message": "who?" } });
            let mut events = session.stream(777, "tools/call", &asks);
            let question = events.message().1["id"].clone();
            (events, question)
        });
        let other = Session::begin(&narrow, "key-a");
        let mut narrow = other.listen(None);
        let bob = Session::begin(&url, "key-b");
        // Far more streams than alice has: an id of theirs is not one of hers too.
        (0..50).for_each(|_| drop(bob.listen(None)));
        let mut foreign = bob.listen(None);
        let ended = Session::begin(&url, "key-a");
        assert_eq!(ended.end().status, 204);
        let headers = [("authorization", "Bearer key-a"), ("accept", "text/event-stream")];
        let mut old = open("GET", &server.url("/sse"), &headers, None);
        let place = Place {
            host: server.origin.trim_start_matches("http://").to_owned(),
            session: session.id.clone(),
            narrow: other.id,
            batch: Session::begin_as(&url, "key-a", "2025-03-26", &json!({})).id,
            ended: ended.id,
            foreign: bob.id,
            event: event(&mut narrow).id.expect("an id"),
            foreign_event: event(&mut foreign).id.expect("an id"),
            tasks: (bundle == Bundle::Fixture).then(|| {
                [("key-b", "/mcp"), ("key-a", "/mcp/acme")]
                    .map(|(key, path)| modern::begin_task(&server.origin, key, path))
            }),
            state: (bundle == Bundle::Fixture).then(|| modern::begin_round(&server.origin)),
            question: call.as_ref().map(|(_, question)| text(question)),
            old: event(&mut old).data.trim_start_matches("/messages?sessionId=").to_owned(),
        };
        Self { place, session, note: text(&kept["id"]), listening, call, narrow, foreign, old }
    }

    /// Shows that nothing of it was lost.
    fn end(mut self, server: &mut Server) {
        assert!(server.is_running(), "the process that began has ended");
        assert_eq!(self.session.request("ping", &json!({})).json()["result"], json!({}));
        let uri = format!("memory://notes/{}", self.note);
        let read = self.session.request("resources/read", &json!({ "uri": uri })).json();
        assert_eq!(read["result"]["contents"][0]["text"], "kept", "{read}");
        let change = json!({ "text": "changed", "id": self.note });
        let _ = self.session.call("remember", &change);
        // The stream that listened through all of it. Other changes may come before.
        let heard = self.listening.find(|event| {
            !event.data.is_empty()
                && event.json()["method"] == "notifications/resources/updated"
                && event.json()["params"]["uri"] == json!(uri)
        });
        assert!(heard.is_some(), "the stream hears nothing any more");
        if let Some((mut events, question)) = self.call {
            let content = json!({ "username": "alice", "email": "a@b.example" });
            let answer = json!({ "jsonrpc": "2.0", "id": question,
                "result": { "action": "accept", "content": content } });
            assert_eq!(self.session.post(&answer.to_string()).status, 202);
            let (_, reply) = events.message();
            assert_eq!(reply["id"], 777);
            assert!(reply["result"].to_string().contains("alice"), "{reply}");
        }
        // The oldest transport's session lives as long as its stream does.
        let ping = Ask::post(PING).to(&format!("/messages?sessionId={}", self.place.old));
        assert_eq!(ping.send(&self.place.host).status, Some(202));
        while self.old.message().1["id"] != 1 {}
        drop((self.narrow, self.foreign));
        assert!(server.is_running());
    }
}

/// What no answer may tell: how it is made, and what others keep secret.
const SECRETS: [&str; 8] =
    ["panicked", "JsValue", "wasm", "worker.js", "SQLITE", "key-a", "key-b", "bob:"];

/// Whether an answer is to what was asked: where it has an id, it is the one that was sent.
fn is_to(ask: &Ask, answer: &Value) -> bool {
    match (answer.get("id"), ask.id()) {
        (None, _) => true,
        // Zero is zero, with a sign or without.
        (Some(Value::Number(id)), Some(Value::Number(sent))) => {
            *id == sent || (id.as_f64() == Some(0.0) && sent.as_f64() == Some(0.0))
        }
        // What only the server can read asks with one.
        (Some(id), sent) => *id == sent.unwrap_or_else(|| json!(1)),
    }
}

/// What is wrong with an answer.
fn wrong(ask: &Ask, answer: &Answer, is: &Is) -> Option<String> {
    let json = answer.json();
    if let Some(secret) = SECRETS.iter().find(|secret| answer.body.contains(**secret)) {
        return Some(format!("it tells {secret}: {}", answer.body));
    }
    if !is_to(ask, &json) {
        return Some(format!("an answer to something else: {}", answer.body));
    }
    let error = &json["error"];
    let is_error = json["jsonrpc"] == "2.0"
        && error["message"].as_str().is_some_and(|text| !text.is_empty())
        && json.get("id").is_none_or(|id| !id.is_null())
        && answer.header("content-type") == Some("application/json");
    let is_result = |json: &Value| json["jsonrpc"] == "2.0" && json["result"].is_object();
    let status = answer.status;
    let fits = match is {
        Is::Error(expected, code) => {
            status == Some(*expected) && is_error && error["code"] == json!(code)
        }
        Is::Result => status == Some(200) && is_result(&json) && json["result"]["isError"] != true,
        Is::Failed => status == Some(200) && json["result"]["isError"] == true,
        Is::Empty(expected) => status == Some(*expected) && answer.body.is_empty(),
        Is::Stream => {
            status == Some(200) && answer.header("content-type") == Some("text/event-stream")
        }
        Is::Batch(codes) => {
            let code = |json: &Value| match is_result(json) {
                true => Some(0),
                false => json["error"]["code"].as_i64(),
            };
            let found = json.as_array().map(|all| all.iter().map(code).collect::<Vec<_>>());
            let codes: Vec<_> = codes.iter().copied().map(Some).collect();
            status == Some(200) && found == Some(codes)
        }
        Is::Platform(expected) => status == Some(*expected) && json.is_null(),
        Is::Closed => status.is_none(),
    };
    (!fits).then(|| {
        let body: String = answer.body.chars().take(300).collect();
        format!("expected {is:?}, got {status:?} {body}")
    })
}

/// Sends every row, and says of all that fail what they got.
fn probe(place: &Place, rows: &[Row]) {
    let mut failures = Vec::new();
    for (name, ask, is) in rows {
        if let Some(wrong) = wrong(ask, &ask.send(&place.host), is) {
            failures.push(format!("{name}: {wrong}"));
        }
        let ping = place.post(PING);
        if let Some(wrong) = wrong(&ping, &ping.send(&place.host), &Is::Result) {
            failures.push(format!("after {name} the session does not answer: {wrong}"));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), rows.len(), failures.join("\n"));
}

/// All the rows for a server, each with a name of its own.
fn rows(place: &Place) -> Vec<Row> {
    let mut rows = [http::rows(place), sessions::rows(place), bodies::rows(place)].concat();
    rows.extend(params::rows(place));
    rows.extend(modern::rows(place));
    let names: std::collections::BTreeSet<_> = rows.iter().map(|(name, ..)| name).collect();
    assert_eq!(names.len(), rows.len(), "two probes of one name");
    rows
}

fn run(bundle: Bundle) {
    let (mut server, _state) = fresh(bundle);
    let witness = Witness::begin(&server, bundle);
    let rows = rows(&witness.place);
    assert!(rows.len() >= 180, "only {} probes", rows.len());
    probe(&witness.place, &rows);
    witness.end(&mut server);
}

#[test]
fn what_is_deployed_survives_every_probe() {
    run(Bundle::Release);
}

#[test]
fn a_running_call_survives_every_probe() {
    run(Bundle::Fixture);
}
