//! Streams of the handshake era that end before the reply. They must not know what is asked.

use super::world::{
    Asker, Piece, Plan, Seen, Stage, call, error, event, handshake, modern, note, own, raw, read,
    reply, told, value,
};
use crate::{Failure, Fields};
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use shared::{config::Bounds, limits};
use std::rc::Rc;

const ENDED: &str = "github ended the call without a result; it may have taken effect";

/// An event with an id.
fn marked(id: &str, message: &Value) -> Piece {
    raw(&format!("id: {id}\ndata: {message}\n\n"))
}

/// The reply to the last call.
fn last_reply(stage: &Stage) -> Value {
    reply(stage.seen_of("tools/call").last().unwrap(), json!({ "done": true }))
}

/// A server that answers a call with these pieces, and a `GET` as the test says, by its number.
fn breaking(pieces: Vec<Piece>, get: impl Fn(&Stage, &Seen, usize) -> Plan + 'static) -> Rc<Stage> {
    Stage::with(move |stage, seen| {
        handshake(stage, seen, |stage, seen| match seen.rpc() {
            "GET" => get(stage, seen, stage.count("GET")),
            _ => Plan::sse(stage, pieces.clone()),
        })
    })
}

fn ask(stage: &Stage) -> (Result<Fields, Failure>, Rc<Asker>) {
    let asker = Rc::<Asker>::default();
    let asking = stage.asking(&stage.link(), call(), &asker);
    (stage.finish(&asking), asker)
}

#[test]
fn a_stream_that_ends_or_breaks_is_resumed_after_its_last_event() {
    let word = note("notifications/x", json!({}));
    for (name, end) in [("ends", None), ("breaks", Some(Piece::Break))] {
        let mut pieces = vec![raw("id: p\ndata:\n\n"), marked("e-1", &word)];
        pieces.extend(end);
        let copy = word.clone();
        let stage = breaking(pieces, move |stage, seen, _| {
            assert_eq!(seen.header("last-event-id"), Some("e-1"));
            assert_eq!(seen.header("accept"), Some("text/event-stream"));
            assert_eq!(seen.header("mcp-session-id"), Some("s1"));
            assert_eq!(seen.header("content-type"), None);
            Plan::sse(stage, vec![event(&copy), event(&last_reply(stage))])
        });
        let (outcome, asker) = ask(&stage);
        assert_eq!(value(outcome), json!({ "done": true }), "{name}");
        assert_eq!(asker.said().len(), 2, "{name}");
        assert_eq!(asker.pauses.get(), 0, "{name}: nobody was told to come back");
        assert_eq!(stage.count("tools/call"), 1, "{name}");
        assert_eq!(stage.now(), limits::RETRY_MS_MIN, "{name}");
    }
}

#[test]
fn an_upstream_that_asks_to_be_left_alone_is_and_whoever_asked_is_told() {
    let pieces = vec![raw("retry: 3000\nid: e-1\ndata:\n\n")];
    let stage = breaking(pieces, |stage, _, count| match count {
        1 => Plan::sse(stage, vec![raw("id: e-2\ndata:\n\n")]),
        _ => Plan::sse(stage, vec![event(&last_reply(stage))]),
    });
    let (outcome, asker) = ask(&stage);
    assert!(outcome.is_ok());
    assert_eq!(asker.pauses.get(), 2);
    let times: Vec<_> = stage.seen_of("GET").iter().map(|seen| seen.at).collect();
    assert_eq!(times, [3000, 6000], "what it asked for once holds");
}

#[test]
fn the_wait_before_a_resume_is_bounded_both_ways() {
    for (retry, expected) in [(0, limits::RETRY_MS_MIN), (u64::MAX, limits::RETRY_MS_MAX)] {
        let pieces = vec![raw(&format!("retry: {retry}\nid: e\ndata:\n\n"))];
        let stage =
            breaking(pieces, |stage, _, _| Plan::sse(stage, vec![event(&last_reply(stage))]));
        assert!(ask(&stage).0.is_ok());
        assert_eq!(stage.now(), expected, "{retry}");
    }
}

#[test]
fn a_stream_that_comes_no_further_is_not_resumed_for_ever() {
    let stage = breaking(vec![raw("id: e\ndata:\n\n")], |stage, _, _| Plan::sse(stage, vec![]));
    assert_eq!(told(ask(&stage).0), ENDED);
    assert_eq!(stage.count("GET"), usize::try_from(limits::UPSTREAM_RESUMES_MAX).unwrap());
}

#[test]
fn a_stream_that_comes_further_is_resumed_as_long_as_there_is_time() {
    let stage =
        breaking(vec![raw("id: e\nretry: 1000\ndata:\n\n")], |stage, _, count| match count {
            ..100 => Plan::sse(stage, vec![raw(&format!("id: e-{count}\ndata:\n\n"))]),
            _ => Plan::sse(stage, vec![event(&last_reply(stage))]),
        });
    assert!(ask(&stage).0.is_ok());
    assert_eq!(stage.now(), 100_000);
    let stage = breaking(vec![raw("id: e\nretry: 1000\ndata:\n\n")], |stage, _, count| {
        Plan::sse(stage, vec![raw(&format!("id: e-{count}\ndata:\n\n"))])
    });
    let link = stage.link_of(Bounds { total_ms: 30_500, ..Bounds::default() }, None);
    assert!(told(stage.ask(&link, call())).contains("in time"));
    assert_eq!((stage.now(), stage.count("GET")), (30_500, 30));
}

#[test]
fn a_resume_that_fails_is_tried_again_unless_it_is_refused() {
    type Get = fn(&Stage, &Seen, usize) -> Plan;
    let gets: [(&str, Get, usize); 5] = [
        ("refused connection", |_, _, _| Plan::Refuse, 8),
        ("503", |_, _, _| Plan::status(503), 8),
        ("405", |_, _, _| Plan::status(405), 1),
        ("404", |_, _, _| Plan::status(404), 1),
        ("no stream", |_, _, _| Plan::json(200, &json!({})), 1),
    ];
    for (name, get, count) in gets {
        let stage = breaking(vec![raw("id: e\ndata:\n\n"), Piece::Break], get);
        assert_eq!(told(ask(&stage).0), ENDED, "{name}");
        assert_eq!(stage.count("GET"), count, "{name}");
    }
    let stage =
        breaking(vec![raw("id: e\ndata:\n\n"), Piece::Break], |stage, _, count| match count {
            ..3 => Plan::Refuse,
            _ => Plan::sse(stage, vec![event(&last_reply(stage))]),
        });
    assert!(ask(&stage).0.is_ok());
    let times: Vec<_> = stage.seen_of("GET").iter().map(|seen| seen.at).collect();
    assert_eq!(times, [200, 600, 1400], "each waits longer");
}

#[test]
fn the_clock_goes_on_while_a_stream_is_resumed() {
    let stage = breaking(vec![raw("id: e\ndata:\n\n")], |_, _, _| Plan::Never);
    let link = stage.link_of(Bounds { total_ms: 1_000, ..Bounds::default() }, None);
    assert!(told(stage.ask(&link, call())).contains("in time"));
    assert_eq!(stage.now(), 1_000);
    assert_eq!(stage.count("notifications/cancelled"), 1);
}

#[test]
fn an_answer_of_the_client_is_sent_while_a_stream_is_resumed() {
    let question = json!({ "id": 1, "method": "elicitation/create", "params": {} });
    let pieces = vec![raw("id: e\nretry: 1000\ndata:\n\n"), event(&question)];
    let stage = breaking(pieces, |stage, _, _| {
        // Its head comes with its first event, and that after the answer.
        Plan::sse(stage, vec![event(&last_reply(stage))]).later(50_000)
    });
    let world = Rc::clone(&stage.world);
    let asker = Asker::answering(move |_| {
        crate::World::sleep(&*world, 5_000).map(|()| Ok(vec![json!({})]))
    });
    let asking = stage.asking(&stage.link(), call(), &asker);
    assert!(stage.finish(&asking).is_ok());
    assert_eq!(stage.seen_of("reply")[0].at, 5_000);
}

#[test]
fn a_stream_without_an_id_is_not_resumed() {
    for (pieces, text) in [
        (vec![event(&note("notifications/x", json!({})))], ENDED),
        (vec![raw("id:\ndata:\n\n")], ENDED),
        (vec![Piece::Break], "github cannot be reached now; try again"),
        (vec![], ENDED),
    ] {
        let stage = breaking(pieces, |_, _, _| Plan::Never);
        assert_eq!(told(ask(&stage).0), text);
        assert_eq!(stage.count("GET"), 0);
    }
    let long = format!("id: {}\ndata:\n\n", "x".repeat(5_000));
    let stage = breaking(vec![raw(&long)], |_, _, _| Plan::Never);
    assert_eq!(told(ask(&stage).0), ENDED, "an id is bounded");
}

#[test]
fn in_the_modern_era_no_stream_is_resumed() {
    let stage = Stage::with(|stage, seen| {
        modern(stage, seen, |stage, _| Plan::sse(stage, vec![raw("id: e\nretry: 1\ndata:\n\n")]))
    });
    let (outcome, asker) = ask(&stage);
    assert_eq!(told(outcome), ENDED);
    assert_eq!((stage.count("GET"), asker.pauses.get()), (0, 0));
}

#[test]
fn what_may_be_repeated_is_where_it_cannot_be_resumed() {
    let stage = Stage::with(|stage, seen| {
        handshake(stage, seen, |stage, seen| match stage.count("tools/call") {
            1 => Plan::sse(stage, vec![]),
            2 => Plan::sse(stage, vec![Piece::Break]),
            _ => Plan::json(200, &error(seen, 1, "here")),
        })
    });
    assert_eq!(own(stage.ask(&stage.link(), read())).message, "here");
    assert_eq!(stage.count("tools/call"), 3);
}
