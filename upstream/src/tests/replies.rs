//! What a request is answered with, in all the forms that an answer has. They must not know what is
//! said before it.

use super::world::{
    Piece, Plan, Seen, Stage, call, error, event, handshake, modern, note, own, raw, reply, value,
};
use serde_json::{Value, json};
use std::rc::Rc;

/// A server of the handshake era that answers so.
fn answering(plan: impl Fn(&Stage, &Seen) -> Plan + 'static) -> Rc<Stage> {
    Stage::with(move |stage, seen| handshake(stage, seen, &plan))
}

const RESULT: &str = concat!(
    r#"{"content":[{"type":"x-new","n":1.50,"big":123456789012345678901234567890,"#,
    r#""t":"é\u00e9"}], "_meta":{"b":1,"a":2},"resultType":"input_required"}"#
);

#[test]
fn a_result_keeps_every_byte() {
    for is_stream in [false, true] {
        let stage = answering(move |stage, seen| {
            let id = &seen.body["id"];
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{RESULT}}}"#);
            match is_stream {
                false => Plan::of(200, "application/json", &text),
                true => Plan::sse(stage, vec![raw(&format!("data: {text}\n\n"))]),
            }
        });
        let fields = stage.ask(&stage.link(), call()).unwrap();
        let content = RESULT.split_once("\"content\":").unwrap().1.split_once(", \"_meta").unwrap();
        assert_eq!(fields["content"].get(), content.0);
        assert_eq!(fields["_meta"].get(), r#"{"b":1,"a":2}"#);
        assert_eq!(fields.len(), 2, "and in this era it is no word of a question");
        assert_eq!(stage.count("tools/call"), 1);
    }
}

#[test]
fn an_error_comes_with_its_code_and_its_data() {
    for status in [200, 400, 404, 422, 500] {
        let stage = Stage::with(move |stage, seen| {
            modern(stage, seen, |_, seen| {
                let mut said = error(seen, -32099, "no such thing");
                said["error"]["data"] = json!({ "uri": "x:1" });
                Plan::json(status, &said)
            })
        });
        let said = own(stage.ask(&stage.link(), call()));
        assert_eq!((said.code, said.message.as_str()), (-32099, "no such thing"), "{status}");
        assert_eq!(said.data, Some(json!({ "uri": "x:1" })));
    }
}

#[test]
fn an_error_may_come_without_an_id() {
    for status in [200, 400] {
        let stage = answering(move |_, _| {
            Plan::json(status, &json!({ "id": null, "error": { "code": -32700, "message": "m" } }))
        });
        assert_eq!(own(stage.ask(&stage.link(), call())).code, -32700);
    }
}

#[test]
fn replies_to_others_are_ignored() {
    let strangers = [json!(1), json!("1"), json!("abc"), json!(-1), json!(1.5), json!({ "a": 1 })];
    let stage = answering(move |stage, seen| {
        let mut pieces = Vec::new();
        for id in &strangers {
            pieces.push(event(&json!({ "jsonrpc": "2.0", "id": id, "result": { "wrong": true } })));
            let error = json!({ "code": 1, "message": "wrong" });
            pieces.push(event(&json!({ "jsonrpc": "2.0", "id": id, "error": error })));
        }
        pieces.push(event(&reply(seen, json!({ "right": true }))));
        Plan::sse(stage, pieces)
    });
    assert_eq!(value(stage.ask(&stage.link(), call())), json!({ "right": true }));
}

#[test]
fn a_number_may_come_back_as_a_text() {
    let stage = answering(|_, seen| {
        let id = seen.body["id"].to_string();
        Plan::json(200, &json!({ "jsonrpc": "2.0", "id": id, "result": { "a": 1 } }))
    });
    assert_eq!(value(stage.ask(&stage.link(), call())), json!({ "a": 1 }));
}

#[test]
fn a_batch_is_several_messages() {
    let stage = answering(|_, seen| {
        let all: Value =
            json!([note("notifications/x", json!({})), reply(seen, json!({ "a": 1 }))]);
        Plan::json(200, &all)
    });
    assert_eq!(value(stage.ask(&stage.link(), call())), json!({ "a": 1 }));
}

#[test]
fn a_stream_of_events_is_read_in_all_its_forms() {
    type Written = fn(&str) -> String;
    let forms: [(&str, Written); 9] = [
        ("plain", |m| format!("data: {m}\n\n")),
        ("CRLF", |m| format!("event: message\r\ndata: {m}\r\n\r\n")),
        ("CR", |m| format!("data: {m}\r\r")),
        ("no space", |m| format!("data:{m}\n\n")),
        ("comments", |m| format!(": hello\n\n:\n\ndata: {m}\n: within\n\n")),
        ("a priming event", |m| format!("id: 1\ndata:\n\nid: 2\ndata: {m}\n\n")),
        ("other names", |m| {
            format!("event: endpoint\ndata: /x\n\nevent: ping\ndata: {{\n\ndata: {m}\n\n")
        }),
        ("an empty name", |m| format!("event:\ndata: {m}\n\n")),
        ("several lines", |m| {
            let (head, rest) = m.split_once(',').unwrap();
            format!("\u{feff}retry: 10\ndata: {head},\ndata: {rest}\n\n")
        }),
    ];
    for (name, form) in forms {
        for step in [1, 7, usize::MAX] {
            let stage = answering(move |stage, seen| {
                let text = form(&reply(seen, json!({ "a": "é" })).to_string());
                let bytes = text.as_bytes().chunks(step.min(text.len()));
                let pieces = bytes.map(|piece| Piece::Bytes(piece.to_vec())).collect();
                Plan::sse(stage, pieces)
            });
            let result = value(stage.ask(&stage.link(), call()));
            assert_eq!(result, json!({ "a": "é" }), "{name}, {step}");
        }
    }
}

#[test]
fn what_comes_after_the_reply_is_not_waited_for() {
    let stage = answering(|stage, seen| {
        Plan::sse(stage, vec![event(&reply(seen, json!({}))), Piece::Hang])
    });
    assert!(stage.ask(&stage.link(), call()).is_ok());
    assert_eq!(stage.now(), 0);
}
