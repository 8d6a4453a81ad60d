//! Whatever goes wrong: what whoever asked is told, and what is tried again. They must not know
//! what is asked.

use super::world::{
    Piece, Plan, Seen, Stage, call, error, event, handshake, modern, note, own, raw, read, reply,
    told, value,
};
use crate::{Ask, Failure, Fields, guard::Pace};
use serde_json::json;
use shared::{Kind, config::Bounds, limits};
use std::rc::Rc;

type Answer = fn(&Stage, &Seen) -> Plan;

const LATE: &str = "github did not answer in time; try again";
const GARBAGE: &str = "github answered with what is no MCP";
const LARGE: &str = "github answered with more than 8388608 bytes";
const ELSEWHERE: &str = "github has moved to another address, which is not followed";
const AWAY: &str = "github cannot be reached now; try again";

/// Both eras, with this answer to every call.
fn stages(answer: Answer) -> [Rc<Stage>; 2] {
    [
        Stage::with(move |stage, seen| handshake(stage, seen, answer)),
        Stage::with(move |stage, seen| modern(stage, seen, answer)),
    ]
}

fn large(stage: &Stage, kind: &str, head: &str) -> Plan {
    let mut pieces = vec![raw(head)];
    let piece = "x".repeat(1024 * 1024);
    pieces.extend((0..9).map(|_| raw(&piece)));
    pieces.push(Piece::Hang);
    Plan::stream(stage, kind, pieces)
}

fn redirect(status: u16, to: &str) -> Plan {
    Plan::status(status).with("location", to)
}

#[test]
fn every_fault_has_a_text_without_a_detail_of_the_network() {
    let faults: [(&str, Answer, &str); 24] = [
        ("refused", |_, _| Plan::Refuse, AWAY),
        ("no head", |_, _| Plan::Never, LATE),
        ("no stream", |stage, _| Plan::sse(stage, vec![Piece::Hang]), LATE),
        ("half a body", |s, _| half(s, "application/json", Piece::Hang), LATE),
        ("half an event", |s, _| half(s, "text/event-stream", Piece::Hang), LATE),
        ("a broken body", |s, _| half(s, "application/json", Piece::Break), AWAY),
        ("a broken event", |s, _| half(s, "text/event-stream", Piece::Break), AWAY),
        ("no JSON", |_, _| Plan::of(200, "application/json", "{\"10.0.0.7\""), GARBAGE),
        ("no JSON in an event", |s, _| Plan::sse(s, vec![raw("data: 10.0.0.7\n\n")]), GARBAGE),
        ("no message", |_, _| Plan::json(200, &json!({ "a": 1 })), GARBAGE),
        ("HTML", |_, _| Plan::of(200, "text/html", "<html>10.0.0.7"), GARBAGE),
        ("no type", |_, _| Plan::of(200, "", "x"), GARBAGE),
        ("no UTF-8", |s, _| bytes(s, "application/json", b"\"\xff\""), GARBAGE),
        ("no UTF-8 in an event", |s, _| bytes(s, "text/event-stream", b"data: \xff\n\n"), GARBAGE),
        ("large", |s, _| large(s, "application/json", "\""), LARGE),
        ("a large event", |s, _| large(s, "text/event-stream", "data: "), LARGE),
        (
            "500",
            |_, _| Plan::of(500, "text/plain", "at 10.0.0.7"),
            "github failed with HTTP status 500",
        ),
        ("418", |_, _| Plan::status(418), "github failed with HTTP status 418"),
        ("401", |_, _| Plan::status(401), "github refuses the credential that it was given (401)"),
        (
            "429",
            |_, _| Plan::status(429).with("retry-after", "61"),
            "github is busy (429); try again in 61 s",
        ),
        ("302", |_, _| redirect(302, "/other"), ELSEWHERE),
        ("another origin", |_, _| redirect(307, "https://10.0.0.7/"), ELSEWHERE),
        ("nowhere", |_, _| Plan::status(308), ELSEWHERE),
        ("a circle", |_, _| redirect(307, "/mcp"), ELSEWHERE),
    ];
    for (name, answer, text) in faults {
        for stage in stages(answer) {
            match stage.ask(&stage.link(), call()) {
                Err(Failure::Below(error)) => {
                    assert_eq!(error.public, text, "{name}");
                    let kind = if name == "401" { Kind::Unauthenticated } else { Kind::Upstream };
                    assert_eq!(error.kind, kind, "{name}");
                }
                other => panic!("{name}: {other:?}"),
            }
            let url = |seen: &Seen| seen.url.starts_with("https://mcp.test/");
            assert!(stage.seen().iter().all(url), "{name}: nobody else is asked");
        }
    }
}

fn half(stage: &Stage, kind: &str, end: Piece) -> Plan {
    Plan::stream(stage, kind, vec![raw("data: {\"jso"), end])
}

fn bytes(stage: &Stage, kind: &str, bytes: &[u8]) -> Plan {
    Plan::stream(stage, kind, vec![Piece::Bytes(bytes.to_vec())])
}

#[test]
fn each_part_of_an_answer_has_its_time() {
    let bounds =
        Bounds { connect_ms: 1_000, first_byte_ms: 10_000, total_ms: 100_000, ..Bounds::default() };
    let answers: [(&str, Answer, u64, u64); 5] = [
        ("no head", |_, _| Plan::Never, 10_000, 1_000),
        ("no event", |s, _| Plan::sse(s, vec![Piece::Hang]), 10_000, 1_000),
        ("half a body", |s, _| half(s, "application/json", Piece::Hang), 10_000, 1_000),
        (
            "drops",
            |s, _| Plan::sse(s, (0..200).flat_map(|_| [Piece::Wait(900), raw(":\n\n")]).collect()),
            10_000,
            1_000,
        ),
        (
            "one message",
            |s, _| Plan::sse(s, vec![raw(":\n\n"), Piece::Wait(500), event(&said()), Piece::Hang]),
            100_000,
            1_000,
        ),
    ];
    for (name, answer, whole, list) in answers {
        for (pace, expected) in [(Pace::Call, whole), (Pace::Brief, list), (Pace::Urgent, list)] {
            for stage in stages(answer) {
                let link = stage.link_of(bounds, None);
                assert_eq!(told(stage.ask(&link, Ask { pace, ..call() })), LATE, "{name}");
                assert_eq!(stage.now(), expected, "{name}, {pace:?}");
            }
        }
    }
}

fn said() -> serde_json::Value {
    note("notifications/message", json!({ "level": "info", "data": "x" }))
}

#[test]
fn the_body_of_an_error_is_bounded_in_bytes_and_in_time() {
    let answers: [(Answer, u64); 3] = [
        (|stage, _| with_status(large(stage, "application/json", "{\"error\":{\"code\":1}}")), 0),
        (|stage, _| with_status(half(stage, "application/json", Piece::Hang)), 5_000),
        (|stage, _| with_status(half(stage, "application/json", Piece::Break)), 0),
    ];
    for (answer, expected) in answers {
        for stage in stages(answer) {
            let text = "github failed with HTTP status 500";
            assert_eq!(told(stage.ask(&stage.link(), call())), text);
            assert_eq!(stage.now(), expected);
        }
    }
}

fn with_status(plan: Plan) -> Plan {
    match plan {
        Plan::Answer { headers, body, after, .. } => {
            Plan::Answer { status: 500, headers, body, after }
        }
        other => other,
    }
}

#[test]
fn many_events_together_may_be_larger_than_one() {
    let stage = Stage::with(|stage, seen| {
        modern(stage, seen, |stage, seen| {
            let text = "x".repeat(1024 * 1024);
            let word = json!({ "method": "notifications/x", "params": { "a": text } });
            let mut pieces: Vec<_> = (0..12).map(|_| raw(&format!("data: {word}\n\n"))).collect();
            pieces.push(raw(&format!("data: {}\n\n", reply(seen, json!({})))));
            Plan::sse(stage, pieces)
        })
    });
    assert!(stage.ask(&stage.link(), call()).is_ok());
}

#[test]
fn a_redirect_within_the_origin_is_followed_with_everything() {
    for status in [307, 308] {
        let stage = Stage::with(move |stage, seen| {
            modern(stage, seen, |_, seen| match seen.url.as_str() {
                "https://mcp.test/mcp" => redirect(status, "/a"),
                "https://mcp.test/a" => redirect(status, "https://MCP.test/b"),
                "https://mcp.test/b" => redirect(status, "/c"),
                _ => Plan::result(seen, json!({ "at": seen.url })),
            })
        });
        let result = value(stage.ask(&stage.link(), call()));
        assert_eq!(result, json!({ "at": "https://mcp.test/c" }));
        let calls = stage.seen_of("tools/call");
        assert_eq!(calls.len(), limits::REDIRECTS_MAX + 1);
        for seen in &calls {
            assert_eq!(seen.body, calls[0].body);
            assert_eq!(seen.headers, calls[0].headers);
        }
    }
    for stage in stages(|_, seen| redirect(307, &format!("{}x", seen.url))) {
        assert_eq!(told(stage.ask(&stage.link(), call())), ELSEWHERE);
        assert_eq!(stage.count("tools/call"), limits::REDIRECTS_MAX + 1, "and no further");
    }
}

/// When a call is asked, and what came of it.
fn tries(ask: &Ask, bounds: Bounds, answer: Answer) -> (Vec<u64>, Result<Fields, Failure>) {
    let stage = Stage::with(move |stage, seen| handshake(stage, seen, answer));
    let outcome = stage.ask(&stage.link_of(bounds, None), ask.clone());
    (stage.seen_of("tools/call").iter().map(|seen| seen.at).collect(), outcome)
}

#[test]
fn what_may_be_repeated_is_after_a_fault_that_passes() {
    let all = Bounds::default();
    let answers: [(&str, Answer, bool); 12] = [
        ("refused", |_, _| Plan::Refuse, true),
        ("broken", |s, _| half(s, "application/json", Piece::Break), true),
        ("ended", |s, _| Plan::sse(s, vec![]), true),
        ("408", |_, _| Plan::status(408), true),
        ("502", |_, _| Plan::status(502), true),
        ("503", |_, seen| Plan::json(503, &error(seen, 1, "x")), true),
        ("504", |_, _| Plan::status(504), true),
        ("500", |_, _| Plan::status(500), false),
        ("401", |_, _| Plan::status(401), false),
        ("garbage", |_, _| Plan::of(200, "application/json", "{"), false),
        ("redirect", |_, _| Plan::status(301), false),
        ("an error", |_, seen| Plan::json(200, &error(seen, -32603, "x")), false),
    ];
    for (name, answer, is_repeated) in answers {
        let (times, outcome) = tries(&read(), all, answer);
        assert!(outcome.is_err());
        let expected = if is_repeated { vec![0, 200, 600] } else { vec![0] };
        assert_eq!(times, expected, "{name}");
        let (times, _) = tries(&call(), all, answer);
        assert_eq!(times, [0], "{name}: it may have been delivered");
    }
    let (times, _) = tries(&read(), Bounds { retries: 0, ..all }, |_, _| Plan::Refuse);
    assert_eq!(times, [0]);
    let few = Bounds { first_byte_ms: 1_000, ..all };
    let (times, outcome) = tries(&read(), few, |_, _| Plan::Never);
    assert_eq!((times, told(outcome)), (vec![0], LATE.to_owned()), "enough time was spent");
}

#[test]
fn those_who_failed_together_do_not_come_back_together() {
    for (random, expected) in [(0, [0, 200, 600]), (128, [0, 250, 750]), (255, [0, 299, 898])] {
        let stage = Stage::with(|stage, seen| handshake(stage, seen, |_, _| Plan::Refuse));
        stage.world.random.set(random);
        assert!(stage.ask(&stage.link(), read()).is_err());
        let times: Vec<_> = stage.seen_of("tools/call").iter().map(|seen| seen.at).collect();
        assert_eq!(times, expected, "{random}");
    }
}

#[test]
fn what_was_refused_for_now_is_repeated_whatever_it_is() {
    let all = Bounds::default();
    let (times, outcome) = tries(&call(), all, |_, _| Plan::status(429));
    assert_eq!(times, [0, 200, 600]);
    assert_eq!(told(outcome), "github failed with HTTP status 429");
    let (times, outcome) = tries(&call(), all, |_, _| Plan::status(429).with("retry-after", " 3 "));
    assert_eq!((times, told(outcome)), (vec![0, 3000, 6000], BUSY.to_owned()));
    let (times, outcome) = tries(&call(), all, |stage, seen| match stage.count("tools/call") {
        1 => Plan::status(429).with("retry-after", "1"),
        _ => Plan::result(seen, json!({ "a": 1 })),
    });
    assert_eq!((times, value(outcome)), (vec![0, 1000], json!({ "a": 1 })));
}

const BUSY: &str = "github is busy (429); try again in 3 s";

#[test]
fn nobody_waits_for_longer_than_the_bound() {
    for (status, wait, text) in [
        (429, "11", "github is busy (429); try again in 11 s"),
        (503, "86400", "github is busy (503); try again in 86400 s"),
        (503, "99999999999999999999", "github failed with HTTP status 503"),
    ] {
        let stage = Stage::with(move |stage, seen| {
            handshake(stage, seen, |_, _| Plan::status(status).with("retry-after", wait))
        });
        assert_eq!(told(stage.ask(&stage.link(), read())), text);
        let is_read = !text.contains("failed");
        assert_eq!(stage.count("tools/call"), if is_read { 1 } else { 3 }, "{wait}");
    }
    // The test begins at 1000 s.
    for (date, expected) in [
        ("Thu, 01 Jan 1970 00:16:50 GMT", vec![0, 10_000, 10_400]),
        ("Thu, 01 Jan 1970 00:16:51 GMT", vec![0]),
        ("Thu, 01 Jan 1970 00:16:51", vec![0, 200, 600]),
    ] {
        let stage = Stage::with(move |stage, seen| {
            handshake(stage, seen, |_, _| Plan::status(503).with("retry-after", date))
        });
        assert!(stage.ask(&stage.link(), read()).is_err());
        let times: Vec<_> = stage.seen_of("tools/call").iter().map(|seen| seen.at).collect();
        assert_eq!(times, expected, "{date}");
    }
    let (times, _) =
        tries(&read(), Bounds::default(), |_, _| Plan::status(503).with("retry-after", "10"));
    assert_eq!(times, [0, 10_000, 20_000]);
}

#[test]
fn an_error_without_a_code_says_nothing() {
    for stage in stages(|_, seen| Plan::json(400, &error(seen, 0, ""))) {
        let text = "github failed with HTTP status 400";
        assert_eq!(told(stage.ask(&stage.link(), call())), text);
    }
    for stage in stages(|_, seen| Plan::json(200, &error(seen, 0, "x"))) {
        assert_eq!(own(stage.ask(&stage.link(), call())).message, "x");
    }
}
