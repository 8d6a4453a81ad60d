//! What an upstream says by itself, and how it is listened to in both eras. They must not know who
//! wants to hear.

use super::world::{
    Asker, Mouth, Piece, Plan, Seen, Stage, call, event, handshake, modern, note, raw, reply, value,
};
use crate::{
    Ask,
    guard::Pace,
    listen::{Ear, Heard},
};
use serde_json::{Value, json};
use shared::{Millis, limits};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    rc::Rc,
};

const TOOLS: &str = "notifications/tools/list_changed";
const LISTEN: &str = "subscriptions/listen";

/// A server that can be spoken through: each stream that is opened by itself, latest last.
struct Speaker {
    stage: Rc<Stage>,
    mouths: Rc<RefCell<Vec<Mouth>>>,
}

impl Speaker {
    fn of(is_modern: bool) -> Self {
        let mouths = Rc::<RefCell<Vec<Mouth>>>::default();
        let kept = Rc::clone(&mouths);
        let open = move |stage: &Stage, seen: &Seen| match seen.rpc() {
            "GET" | LISTEN => {
                let (mouth, plan) = Plan::spoken();
                kept.borrow_mut().push(mouth);
                plan
            }
            "tools/call" => Plan::sse(stage, vec![Piece::Hang]),
            _ => Plan::result(seen, json!({})),
        };
        let stage = Stage::with(move |stage, seen| match is_modern {
            true => modern(stage, seen, &open),
            false => handshake(stage, seen, &open),
        });
        Self { stage, mouths }
    }

    fn both() -> [(Self, &'static str); 2] {
        [(Self::of(false), "GET"), (Self::of(true), LISTEN)]
    }

    fn say(&self, message: &Value) {
        self.mouths.borrow().last().unwrap().say(message);
        self.stage.settle();
    }

    fn is_left(&self) -> bool {
        self.mouths.borrow().last().unwrap().is_left()
    }

    fn opened(&self) -> usize {
        self.mouths.borrow().len()
    }
}

fn wanting(lists: bool, uris: &[&str]) -> Rc<Ear> {
    let ear = Rc::<Ear>::default();
    want(&ear, lists, uris);
    ear
}

fn want(ear: &Ear, lists: bool, uris: &[&str]) {
    ear.want(lists, uris.iter().map(|&uri| uri.to_owned()).collect::<BTreeSet<_>>());
}

#[test]
fn what_has_changed_is_heard() {
    for (speaker, method) in Speaker::both() {
        let link = speaker.stage.link();
        let heard = speaker.stage.hear(&link, &wanting(true, &[]));
        assert_eq!(*heard.borrow(), [Heard::Open], "{method}");
        let long = "x".repeat(limits::SUBSCRIPTION_URI_BYTES_MAX + 1);
        for (method, params) in [
            (TOOLS, json!({})),
            ("notifications/prompts/list_changed", json!({ "_meta": {} })),
            ("notifications/resources/list_changed", json!({})),
            ("notifications/resources/updated", json!({ "uri": "a:1" })),
            ("notifications/resources/updated", json!({ "uri": 1 })),
            ("notifications/resources/updated", json!({ "uri": long })),
            ("notifications/x-new", json!({})),
        ] {
            speaker.say(&note(method, params));
        }
        let expected =
            [Heard::Open, Heard::Tools, Heard::Prompts, Heard::Resources, resource("a:1")];
        assert_eq!(*heard.borrow(), expected, "{method}");
        assert_eq!(speaker.stage.count(method), 1, "{method}");
    }
}

fn resource(uri: &str) -> Heard {
    Heard::Resource(uri.to_owned())
}

#[test]
fn a_session_is_listened_to_by_get_and_the_modern_era_by_a_request() {
    let [(old, _), (new, _)] = Speaker::both();
    old.stage.hear(&old.stage.link(), &wanting(true, &["a:1"]));
    let get = &old.stage.seen_of("GET")[0];
    assert_eq!(get.header("mcp-session-id"), Some("s1"));
    assert_eq!(get.header("accept"), Some("text/event-stream"));
    assert_eq!(get.body, Value::Null);
    new.stage.hear(&new.stage.link(), &wanting(true, &["b:1", "a:1"]));
    let listen = &new.stage.seen_of(LISTEN)[0];
    assert_eq!(listen.header("mcp-method"), Some(LISTEN));
    let params = &listen.body["params"];
    let wishes = json!({ "toolsListChanged": true, "promptsListChanged": true,
        "resourcesListChanged": true, "resourceSubscriptions": ["a:1", "b:1"] });
    assert_eq!(params["notifications"], wishes);
    let revision = &params["_meta"]["io.modelcontextprotocol/protocolVersion"];
    assert_eq!(revision, "2026-07-28");
    assert_eq!(new.stage.seen().len(), 2, "and nothing is asked twice");
}

fn told(stage: &Stage) -> Vec<(String, String)> {
    let seen = stage.seen();
    let told = seen.iter().filter(|seen| seen.rpc().starts_with("resources/"));
    told.map(|seen| {
        let uri = seen.body["params"]["uri"].as_str().unwrap().to_owned();
        (seen.rpc().trim_start_matches("resources/").to_owned(), uri)
    })
    .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[test]
fn a_session_is_told_of_the_difference_between_wishes() {
    let speaker = Speaker::of(false);
    let stage = &speaker.stage;
    let ear = wanting(false, &["a", "b"]);
    stage.hear(&stage.link(), &ear);
    let mut expected = pairs(&[("subscribe", "a"), ("subscribe", "b")]);
    assert_eq!(told(stage), expected);
    want(&ear, false, &["b", "c"]);
    stage.settle();
    expected.extend(pairs(&[("unsubscribe", "a"), ("subscribe", "c")]));
    assert_eq!(told(stage), expected);
    want(&ear, true, &["b", "c"]);
    stage.settle();
    assert_eq!(told(stage), expected);
    assert_eq!(speaker.opened(), 1, "the stream stays");
    // A stream that ends is opened again in the same session, which remembers.
    speaker.mouths.borrow()[0].end();
    stage.pass(2_000);
    assert_eq!((speaker.opened(), told(stage)), (2, expected.clone()));
    want(&ear, false, &[]);
    stage.settle();
    expected.extend(pairs(&[("unsubscribe", "b"), ("unsubscribe", "c")]));
    assert_eq!((told(stage), speaker.is_left()), (expected, true));
}

#[test]
fn a_wish_is_a_new_request_in_the_modern_era() {
    let speaker = Speaker::of(true);
    let stage = &speaker.stage;
    let ear = wanting(false, &["a"]);
    stage.hear(&stage.link(), &ear);
    want(&ear, true, &["a", "b"]);
    stage.settle();
    let listens = stage.seen_of(LISTEN);
    assert_eq!(listens.len(), 2, "at once");
    let wishes = &listens[1].body["params"]["notifications"];
    assert_eq!(wishes["resourceSubscriptions"], json!(["a", "b"]));
    assert_eq!(wishes["toolsListChanged"], true);
    assert!(speaker.mouths.borrow()[0].is_left() && !speaker.is_left());
    want(&ear, true, &["a", "b"]);
    stage.settle();
    assert_eq!(stage.count(LISTEN), 2, "the same wish is none");
    want(&ear, false, &[]);
    stage.settle();
    assert!(speaker.is_left());
    stage.pass(600_000);
    assert_eq!(stage.count(LISTEN), 2);
}

#[test]
fn a_subscription_that_failed_is_tried_with_the_next_wish() {
    let failures: [fn(&Seen) -> Plan; 2] =
        [|_| Plan::Refuse, |seen| Plan::json(200, &super::world::error(seen, -32603, "not now"))];
    for failure in failures {
        let is_well = Rc::new(Cell::new(false));
        let well = Rc::clone(&is_well);
        let stage = Stage::with(move |stage, seen| {
            handshake(stage, seen, |stage, seen| match seen.rpc() {
                "GET" => Plan::sse(stage, vec![Piece::Hang]),
                _ if well.get() => Plan::result(seen, json!({})),
                _ => failure(seen),
            })
        });
        let ear = wanting(false, &["a"]);
        stage.hear(&stage.link(), &ear);
        is_well.set(true);
        want(&ear, false, &["a", "b"]);
        stage.settle();
        want(&ear, true, &["a", "b"]);
        stage.settle();
        let expected = pairs(&[("subscribe", "a"), ("subscribe", "a"), ("subscribe", "b")]);
        assert_eq!(told(&stage), expected);
    }
}

#[test]
fn an_upstream_that_is_slow_to_subscribe_is_heard_meanwhile() {
    let speaker = Speaker::of(false);
    let stage = &speaker.stage;
    stage.serve_before(|seen| {
        let plan = || Plan::result(seen, json!({})).later(1_000);
        seen.rpc().starts_with("resources/").then(plan)
    });
    let ear = wanting(true, &["a"]);
    let heard = stage.hear(&stage.link(), &ear);
    assert_eq!((heard.borrow().len(), told(stage).len()), (1, 1));
    // What is wished meanwhile is told after it, as it is wished last.
    want(&ear, true, &["a", "b"]);
    want(&ear, true, &["b", "c"]);
    speaker.say(&note(TOOLS, json!({})));
    assert_eq!(*heard.borrow(), [Heard::Open, Heard::Tools], "at once");
    stage.pass(10_000);
    let expected =
        [("subscribe", "a"), ("unsubscribe", "a"), ("subscribe", "b"), ("subscribe", "c")];
    assert_eq!(told(stage), pairs(&expected));
}

#[test]
fn an_upstream_that_does_not_answer_is_not_told_of_the_rest() {
    let speaker = Speaker::of(false);
    let stage = &speaker.stage;
    stage.serve_before(|seen| seen.rpc().starts_with("resources/").then_some(Plan::Never));
    stage.hear(&stage.link(), &wanting(true, &["a", "b", "c"]));
    stage.pass(5_000);
    assert_eq!(told(stage), pairs(&[("subscribe", "a")]));
    stage.pass(60_000);
    assert!(told(stage).iter().all(|one| *one == pairs(&[("subscribe", "a")])[0]));
}

#[test]
fn a_subscription_that_could_not_be_made_is_tried_again_after_pauses_that_grow() {
    for is_wanted in [true, false] {
        let is_well = Rc::new(Cell::new(false));
        let well = Rc::clone(&is_well);
        let stage = Stage::with(move |stage, seen| {
            handshake(stage, seen, |stage, seen| match seen.rpc() {
                "GET" => Plan::sse(stage, vec![Piece::Hang]),
                _ if well.get() => Plan::result(seen, json!({})),
                _ => Plan::Refuse,
            })
        });
        let ear = wanting(false, &["a"]);
        stage.hear(&stage.link(), &ear);
        stage.pass(190_000);
        let tries = || -> Vec<u64> {
            stage.seen_of("resources/subscribe").iter().map(|seen| seen.at / 1_000).collect()
        };
        assert_eq!(tries(), [0, 1, 3, 7, 15, 31, 63, 123, 183]);
        if is_wanted {
            is_well.set(true);
        } else {
            want(&ear, false, &[]);
        }
        stage.pass(600_000);
        let expected = if is_wanted { 10 } else { 9 };
        assert_eq!((tries().len(), stage.is_waiting()), (expected, is_wanted));
    }
}

#[test]
fn a_server_without_subscriptions_is_told_of_none() {
    let stage = Stage::with(|stage, seen| match seen.rpc() {
        "initialize" => {
            let can = json!({ "resources": { "subscribe": false } });
            let result = json!({ "protocolVersion": "2025-11-25", "capabilities": can });
            Plan::result(seen, result)
        }
        _ => handshake(stage, seen, |stage, _| Plan::sse(stage, vec![Piece::Hang])),
    });
    let heard = stage.hear(&stage.link(), &wanting(true, &["a"]));
    assert_eq!((told(&stage).len(), heard.borrow().len()), (0, 1));
}

#[test]
fn a_new_session_is_told_of_everything_anew() {
    let is_lost = Rc::new(Cell::new(false));
    let lost = Rc::clone(&is_lost);
    let stage = Stage::with(move |stage, seen| {
        let is_old = seen.header("mcp-session-id") == Some("s1");
        handshake(stage, seen, |stage, seen| match seen.rpc() {
            _ if lost.get() && is_old => Plan::status(404),
            "GET" => Plan::sse(stage, vec![Piece::Wait(30_000)]),
            _ => Plan::result(seen, json!({})),
        })
    });
    let heard = stage.hear(&stage.link(), &wanting(true, &["a"]));
    is_lost.set(true);
    stage.pass(40_000);
    assert_eq!(told(&stage), pairs(&[("subscribe", "a"), ("subscribe", "a")]));
    let sessions: Vec<_> = stage.seen_of("GET").iter().map(|seen| seen.headers.clone()).collect();
    let sessions: Vec<_> =
        sessions.iter().map(|headers| headers["mcp-session-id"].clone()).collect();
    assert_eq!(sessions, ["s1", "s1", "s2"]);
    assert_eq!(*heard.borrow(), [Heard::Open, Heard::Open]);
}

#[test]
fn the_stream_follows_a_session_that_was_begun_again() {
    let speaker = Speaker::of(false);
    let stage = &speaker.stage;
    let link = stage.link();
    stage.hear(&link, &wanting(true, &["a"]));
    let met = link.known().unwrap();
    link.forget(&met);
    let again = Rc::clone(&link);
    assert!(stage.run(async move { again.meet().await }).is_ok());
    stage.pass(u64::from(limits::LINGER_MS_STEP));
    let gets = stage.seen_of("GET");
    assert_eq!(gets.last().unwrap().header("mcp-session-id"), Some("s2"));
    assert_eq!((gets.len(), told(stage).len()), (2, 2));
    assert!(speaker.mouths.borrow()[0].is_left());
}

#[test]
fn an_upstream_without_a_stream_is_not_asked_again() {
    type Refusal = fn(&Seen) -> Plan;
    let refusals: [(&str, bool, Refusal); 6] = [
        ("405", false, |_| Plan::status(405)),
        ("501", false, |_| Plan::status(501)),
        ("405", true, |_| Plan::status(405)),
        ("404", true, |seen| Plan::json(404, &super::world::error(seen, -32601, "x"))),
        ("an error", true, |seen| Plan::json(200, &super::world::error(seen, -32601, "x"))),
        ("nothing", true, |_| Plan::status(202)),
    ];
    for (name, is_modern, refusal) in refusals {
        let stage = Stage::with(move |stage, seen| {
            let rest = |_: &Stage, seen: &Seen| match seen.rpc() {
                "GET" | LISTEN => refusal(seen),
                _ => Plan::result(seen, json!({})),
            };
            if is_modern { modern(stage, seen, rest) } else { handshake(stage, seen, rest) }
        });
        let (link, ear) = (stage.link(), wanting(true, &[]));
        let heard = stage.hear(&link, &ear);
        assert!(stage.kept.borrow().as_ref().unwrap().mute_since.is_some(), "{name}");
        stage.pass(600_000);
        want(&ear, true, &["a"]);
        stage.hear(&link, &ear);
        stage.hear(&stage.link(), &wanting(true, &[]));
        assert_eq!(stage.count("GET") + stage.count(LISTEN), 1, "{name}, {is_modern}");
        assert!(heard.borrow().is_empty());
    }
}

#[test]
fn a_stream_that_is_refused_like_a_lost_session_costs_one_new_session() {
    for (status, has_session) in [(404, true), (400, true), (404, false), (400, false)] {
        let stage = Stage::with(move |stage, seen| match seen.rpc() {
            "GET" => Plan::status(status),
            "initialize" if !has_session => {
                Plan::result(seen, json!({ "protocolVersion": "2025-11-25" }))
            }
            _ => handshake(stage, seen, |_, seen| Plan::result(seen, json!({}))),
        });
        stage.hear(&stage.link(), &wanting(true, &[]));
        stage.pass(600_000);
        let expected = if has_session { 2 } else { 1 };
        assert_eq!(stage.count("GET"), expected, "{status}");
        assert_eq!(stage.count("initialize"), expected, "{status}");
    }
}

/// When a stream was asked for.
fn times(stage: &Stage) -> Vec<u64> {
    let seen = stage.seen();
    let streams = seen.iter().filter(|seen| ["GET", LISTEN].contains(&seen.rpc()));
    streams.map(|seen| seen.at).collect()
}

#[test]
fn a_stream_that_ends_at_once_or_fails_is_asked_for_less_and_less() {
    let ends: [(&str, fn(&Stage) -> Plan); 4] = [
        ("ends", |stage| Plan::sse(stage, vec![])),
        ("breaks", |stage| Plan::sse(stage, vec![Piece::Break])),
        ("fails", |_| Plan::status(500)),
        ("refused", |_| Plan::Refuse),
    ];
    for (name, end) in ends {
        for is_modern in [false, true] {
            let stage = Stage::with(move |stage, seen| match is_modern {
                true => modern(stage, seen, |stage, _| end(stage)),
                false => handshake(stage, seen, |stage, _| end(stage)),
            });
            stage.hear(&stage.link(), &wanting(true, &[]));
            stage.pass(10 * 60_000);
            let times = times(&stage);
            assert_eq!(times[..4], [0, 1_000, 3_000, 7_000], "{name}");
            let waits: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert_eq!(waits.iter().max(), Some(&limits::RELISTEN_MS_MAX), "{name}");
        }
    }
}

#[test]
fn an_upstream_that_is_left_alone_is_not_asked_for_a_stream() {
    for is_modern in [false, true] {
        let stage = Stage::with(move |stage, seen| {
            let fails = |_: &Stage, seen: &Seen| match seen.rpc() {
                "tools/call" => Plan::status(500),
                _ => Plan::Refuse,
            };
            if is_modern { modern(stage, seen, fails) } else { handshake(stage, seen, fails) }
        });
        let (link, ear) = (stage.link(), wanting(true, &[]));
        stage.hear(&link, &ear);
        for _ in 0..limits::BREAKER_FAILURES {
            assert!(stage.ask(&link, call()).is_err());
        }
        stage.pass(limits::BREAKER_MS_MIN - 1);
        want(&ear, true, &["a"]);
        stage.settle();
        assert_eq!(times(&stage), [0], "not even for a new wish");
        stage.pass(1);
        assert_eq!(times(&stage), [0, limits::BREAKER_MS_MIN]);
        stage.pass(60_000);
        let more = times(&stage).len();
        assert!((4..10).contains(&more), "its failures are not those of calls: {more}");
    }
}

#[test]
fn a_stream_is_opened_again_after_its_last_event() {
    let get = |stage: &Stage, seen: &Seen| match stage.count("GET") {
        1 => Plan::sse(stage, vec![raw("id: e-1\ndata:\n\n")]),
        2 => Plan::sse(stage, vec![raw(": nothing new\n\n")]),
        3 => Plan::Refuse,
        4 => Plan::sse(stage, vec![raw("id: e-2\ndata:\n\n"), Piece::Break]),
        // It has forgotten events, and says so in a way of its own.
        _ if seen.header("last-event-id").is_some() => Plan::status(400),
        _ => Plan::sse(stage, vec![Piece::Hang]),
    };
    let stage = Stage::with(move |stage, seen| handshake(stage, seen, get));
    stage.hear(&stage.link(), &wanting(true, &[]));
    stage.pass(60_000);
    let gets = stage.seen_of("GET");
    let events: Vec<_> = gets.iter().map(|seen| seen.header("last-event-id")).collect();
    let expected = [None, Some("e-1"), Some("e-1"), Some("e-1"), Some("e-2"), None];
    assert_eq!(events, expected);
    assert_eq!(gets[4].at, gets[5].at, "at once");
    assert_eq!(stage.count("initialize"), 1, "the session is not given up for it");
}

#[test]
fn no_event_of_one_session_is_asked_for_in_another() {
    let stage = Stage::with(|stage, seen| {
        handshake(stage, seen, |stage, seen| match stage.count("GET") {
            1 => Plan::sse(stage, vec![raw("id: e-1\ndata:\n\n")]),
            _ if seen.header("mcp-session-id") == Some("s1") => Plan::status(404),
            _ => Plan::sse(stage, vec![Piece::Hang]),
        })
    });
    stage.hear(&stage.link(), &wanting(true, &[]));
    stage.pass(60_000);
    let gets = stage.seen_of("GET");
    let asked: Vec<_> = gets
        .iter()
        .map(|seen| (seen.header("mcp-session-id").unwrap(), seen.header("last-event-id")))
        .collect();
    assert_eq!(asked, [("s1", None), ("s1", Some("e-1")), ("s1", None), ("s2", None)]);
}

#[test]
fn a_stream_on_which_nothing_comes_for_long_is_opened_anew() {
    for (speaker, _) in Speaker::both() {
        let stage = &speaker.stage;
        let heard = stage.hear(&stage.link(), &wanting(true, &[]));
        for _ in 0..10 {
            stage.pass(limits::UPSTREAM_SILENCE_MS - u64::from(limits::LINGER_MS_STEP) - 1);
            speaker.mouths.borrow()[0].raw(": still here\n\n");
            stage.settle();
        }
        assert_eq!(speaker.opened(), 1, "a comment is a sign of life");
        stage.pass(limits::UPSTREAM_SILENCE_MS + u64::from(limits::LINGER_MS_STEP));
        assert_eq!(speaker.opened(), 2);
        assert!(speaker.mouths.borrow()[0].is_left() && !speaker.is_left());
        assert_eq!(*heard.borrow(), [Heard::Open, Heard::Open]);
        stage.pass(10 * limits::UPSTREAM_SILENCE_MS);
        assert!((10..=12).contains(&speaker.opened()), "{}", speaker.opened());
    }
}

#[test]
fn a_new_wish_is_not_kept_waiting() {
    let stage = Stage::with(|stage, seen| {
        modern(stage, seen, |stage, _| Plan::sse(stage, vec![Piece::Break]))
    });
    let ear = wanting(true, &[]);
    stage.hear(&stage.link(), &ear);
    stage.pass(7_500);
    assert_eq!(times(&stage), [0, 1_000, 3_000, 7_000]);
    want(&ear, true, &["a"]);
    stage.settle();
    assert_eq!(times(&stage).last(), Some(&7_500));
}

#[test]
fn a_stream_that_was_open_for_a_while_is_soon_opened_again() {
    for is_modern in [false, true] {
        let stage = Stage::with(move |stage, seen| {
            let open = |stage: &Stage, _: &Seen| {
                Plan::sse(stage, vec![Piece::Wait(limits::LINGER_MS_STEP)])
            };
            if is_modern { modern(stage, seen, open) } else { handshake(stage, seen, open) }
        });
        let heard = stage.hear(&stage.link(), &wanting(true, &[]));
        stage.pass(15_000);
        assert_eq!(times(&stage), [0, 5_500, 11_000]);
        assert_eq!(heard.borrow().len(), 3, "each time there was a time without");
    }
}

#[test]
fn an_upstream_says_how_long_it_wants_to_be_left_alone() {
    for (retry, expected) in [
        (7_000, [0, 7_000, 14_000, 21_000, 28_000, 35_000]),
        (0, [0, 1_000, 3_000, 7_000, 12_000, 17_000]),
        (u64::MAX, [0, 60_000, 120_000, 180_000, 240_000, 300_000]),
    ] {
        let stage = Stage::with(move |stage, seen| {
            handshake(stage, seen, |stage, _| {
                Plan::sse(stage, vec![raw(&format!("id: 1\nretry: {retry}\ndata:\n\n"))])
            })
        });
        stage.hear(&stage.link(), &wanting(true, &[]));
        stage.pass(301_000);
        assert_eq!(times(&stage)[..6], expected, "{retry}");
    }
}

#[test]
fn nobody_is_listened_to_whom_nobody_wants_to_hear() {
    for (speaker, _) in Speaker::both() {
        let stage = &speaker.stage;
        let (link, ear) = (stage.link(), wanting(true, &[]));
        stage.hear(&link, &ear);
        want(&ear, false, &[]);
        stage.pass(u64::from(limits::LINGER_MS_STEP));
        assert!(speaker.is_left());
        stage.pass(600_000);
        assert_eq!(speaker.opened(), 1);
        want(&ear, true, &[]);
        stage.hear(&link, &ear);
        assert_eq!(speaker.opened(), 2, "until somebody does");
        stage.hear(&link, &ear);
        stage.pass(limits::UPSTREAM_SILENCE_MS - 1);
        assert_eq!(speaker.opened(), 2, "once");
    }
}

#[test]
fn a_stream_on_which_much_is_said_is_left_all_the_same() {
    let speaker = Speaker::of(false);
    let stage = &speaker.stage;
    let ear = wanting(true, &[]);
    stage.hear(&stage.link(), &ear);
    want(&ear, false, &[]);
    for _ in 0..10 {
        stage.pass(1_000);
        speaker.say(&note(TOOLS, json!({})));
    }
    assert!(speaker.is_left());
}

/// Asks while the session's stream is listened to for the sake of the request.
fn ask(
    speaker: &Speaker,
    link: &Rc<crate::Link>,
    ask: Ask,
    asker: &Rc<Asker>,
) -> (super::world::Task<Result<crate::Fields, crate::Failure>>, Rc<Ear>) {
    let ear = Rc::<Ear>::default();
    let hearing: crate::listen::Hearing = Rc::new(|_| {});
    link.hear_of_request(&ear, &hearing);
    (speaker.stage.asking(link, ask, asker), ear)
}

fn met(speaker: &Speaker) -> Rc<crate::Link> {
    let link = speaker.stage.link();
    let copy = Rc::clone(&link);
    assert!(speaker.stage.run(async move { copy.meet().await }).is_ok());
    link
}

#[test]
fn a_sessions_stream_stays_open_for_a_request_and_a_while_after_it() {
    let speaker = Speaker::of(false);
    let stage = &speaker.stage;
    let link = met(&speaker);
    let (asking, _) = ask(&speaker, &link, call(), &Rc::default());
    stage.pass(50_000);
    assert!(!speaker.is_left(), "as long as it runs");
    asking.stop();
    stage.pass(limits::LINGER_MS - u64::from(limits::LINGER_MS_STEP) - 1);
    assert!(!speaker.is_left(), "and what comes after it");
    stage.pass(2 * u64::from(limits::LINGER_MS_STEP));
    assert!(speaker.is_left());
    assert_eq!(speaker.opened(), 1);
}

#[test]
fn no_stream_is_opened_for_a_request_in_the_modern_era_or_of_a_mute_upstream() {
    let speaker = Speaker::of(true);
    let link = met(&speaker);
    let _asking = ask(&speaker, &link, call(), &Rc::default());
    assert_eq!(speaker.opened(), 0);
    let speaker = Speaker::of(false);
    let link = met(&speaker);
    link.learn(|met| met.mute_since = Some(Millis(super::world::BEGIN)));
    let _asking = ask(&speaker, &link, call(), &Rc::default());
    assert_eq!(speaker.opened(), 0);
    let speaker = Speaker::of(false);
    let _asking = ask(&speaker, &speaker.stage.link(), call(), &Rc::default());
    assert_eq!(speaker.opened(), 0, "nor before it was met");
}

#[test]
fn what_is_said_on_a_sessions_stream_finds_its_request() {
    let speaker = Speaker::of(false);
    let link = met(&speaker);
    let askers = [Asker::of("a"), Asker::of("a")];
    let wish = || Ask { wants_progress: true, ..call() };
    let (first, _ear) = ask(&speaker, &link, wish(), &askers[0]);
    let (second, _ear2) = ask(&speaker, &link, wish(), &askers[1]);
    let calls = speaker.stage.seen_of("tools/call");
    let progress = |token: &Value, n: u32| {
        note("notifications/progress", json!({ "progressToken": token, "progress": n }))
    };
    speaker.say(&progress(&calls[0].body["id"], 1));
    speaker.say(&progress(&calls[1].body["id"], 2));
    speaker.say(&progress(&json!(7), 3));
    speaker.say(&progress(&json!("x"), 4));
    speaker.say(&note("notifications/message", json!({ "level": "info" })));
    speaker.say(&json!({ "id": 5, "method": "elicitation/create", "params": {} }));
    let one = r#"notifications/progress {"progress":1}"#;
    let two = r#"notifications/progress {"progress":2}"#;
    assert_eq!(askers[0].said(), [one]);
    assert_eq!(askers[1].said(), [two, r#"notifications/message {"level":"info"}"#], "the latest");
    assert_eq!((askers[0].keys().len(), askers[1].keys().len()), (0, 1));
    assert!(!first.is_over() && !second.is_over());
    speaker.say(&json!({ "id": null, "error": { "code": -32700, "message": "of nobody" } }));
    speaker.say(&json!({ "id": 7, "result": {} }));
    assert!(!first.is_over() && !second.is_over(), "that was nobody's");
    speaker.say(&reply(&calls[0], json!({ "a": 1 })));
    assert_eq!(value(first.outcome()), json!({ "a": 1 }), "even its reply");
    assert!(!second.is_over());
}

#[test]
fn a_call_whose_stream_ends_when_its_reply_is_there_has_that_reply() {
    let ends: [(&str, fn(&Mouth)); 2] = [
        ("ends", Mouth::end),
        ("breaks", |mouth| {
            mouth.fail();
            mouth.end();
        }),
    ];
    for (name, end) in ends {
        let speaker = Speaker::of(false);
        let stage = &speaker.stage;
        let link = met(&speaker);
        let (mouth, plan) = Plan::spoken();
        let plan = Cell::new(Some(plan));
        stage.serve_before(move |seen| (seen.rpc() == "tools/call").then(|| plan.take().unwrap()));
        let (asking, _ear) = ask(&speaker, &link, call(), &Rc::default());
        let call = &stage.seen_of("tools/call")[0];
        speaker.mouths.borrow()[0].say(&reply(call, json!({ "a": 1 })));
        // The ear is the first that is asked what there is.
        end(&mouth);
        stage.settle();
        assert_eq!(value(asking.outcome()), json!({ "a": 1 }), "{name}");
        assert_eq!(stage.count("notifications/cancelled"), 0, "{name}");
    }
}

#[test]
fn a_question_that_may_be_of_several_clients_is_asked_of_none() {
    let speaker = Speaker::of(false);
    let stage = &speaker.stage;
    let link = met(&speaker);
    let askers = [Asker::of("a"), Asker::of("b")];
    let (_first, _ear) = ask(&speaker, &link, call(), &askers[0]);
    let (second, _ear2) = ask(&speaker, &link, call(), &askers[1]);
    let question = json!({ "id": 5, "method": "elicitation/create", "params": {} });
    speaker.say(&question);
    let error = &stage.seen_of("reply")[0].body["error"];
    assert_eq!(error["code"], -32600);
    assert!(error["message"].as_str().unwrap().contains("whose question"), "{error}");
    assert!(askers.iter().all(|asker| asker.keys().is_empty()));
    let list = Ask { method: "tools/call", pace: Pace::Brief, ..Ask::default() };
    let (_list, _ear3) = ask(&speaker, &link, list, &Rc::default());
    second.stop();
    stage.settle();
    speaker.say(&question);
    assert_eq!(askers[0].keys().len(), 1, "once there is one, it is asked");
}

#[test]
fn an_upstream_that_answers_with_no_stream_asks_on_the_sessions_own() {
    let speaker = Speaker::of(false);
    let stage = &speaker.stage;
    let link = met(&speaker);
    stage.serve_before(|seen| (seen.rpc() == "tools/call").then_some(Plan::Never));
    let world = Rc::clone(&stage.world);
    let asker = Asker::answering(move |_| {
        let sleep = crate::World::sleep(&*world, 500_000);
        async move {
            sleep.await;
            Ok(vec![json!({ "a": 1 })])
        }
    });
    let (asking, _ear) = ask(&speaker, &link, call(), &asker);
    stage.pass(10_000);
    speaker.say(&json!({ "id": 5, "method": "elicitation/create", "params": {} }));
    stage.pass(500_000);
    assert_eq!(stage.seen_of("reply")[0].body["result"], json!({ "a": 1 }));
    assert!(!asking.is_over(), "its time stood still");
    let bounds = shared::config::Bounds::default();
    stage.pass(u64::from(bounds.total_ms) - 10_001);
    assert!(!asking.is_over(), "it has said something of the call");
    stage.pass(1);
    assert!(asking.outcome().is_err(), "and goes on");
}

#[test]
fn a_question_is_withdrawn_on_the_sessions_own_stream() {
    let speaker = Speaker::of(false);
    let stage = &speaker.stage;
    let link = met(&speaker);
    let asker = Asker::answering(|_| std::future::pending());
    let bounds = shared::config::Bounds::default();
    let (asking, _ear) = ask(&speaker, &link, call(), &asker);
    speaker.say(&json!({ "id": 5, "method": "elicitation/create", "params": {} }));
    stage.pass(u64::from(bounds.total_ms));
    assert!(!asking.is_over());
    speaker.say(&note("notifications/cancelled", json!({ "requestId": 5 })));
    stage.pass(u64::from(bounds.total_ms));
    assert!(asking.is_over(), "nobody is waited for");
    assert_eq!((stage.count("reply"), asker.said().len()), (0, 0));
}

#[test]
fn a_question_for_nobody_is_refused_and_a_ping_is_answered() {
    let speaker = Speaker::of(false);
    let stage = &speaker.stage;
    let heard = stage.hear(&stage.link(), &wanting(true, &[]));
    speaker.say(&json!({ "id": "q", "method": "elicitation/create", "params": {} }));
    speaker.say(&json!({ "id": 2, "method": "ping" }));
    let replies = stage.seen_of("reply");
    assert_eq!(replies[0].body["id"], "q");
    assert_eq!(replies[0].body["error"]["code"], -32601);
    assert_eq!(replies[1].body, json!({ "jsonrpc": "2.0", "id": 2, "result": {} }));
    assert!(replies.iter().all(|seen| seen.header("mcp-session-id") == Some("s1")));
    assert_eq!(heard.borrow().len(), 1);
}

#[test]
fn what_is_said_in_the_modern_era_is_of_no_request() {
    let speaker = Speaker::of(true);
    let stage = &speaker.stage;
    let (link, asker) = (stage.link(), Rc::<Asker>::default());
    let _heard = stage.hear(&link, &wanting(true, &[]));
    let asking = stage.asking(&link, call(), &asker);
    speaker.say(&note("notifications/subscriptions/acknowledged", json!({})));
    speaker.say(&note("notifications/message", json!({ "level": "info" })));
    speaker.say(&json!({ "id": 1, "method": "elicitation/create", "params": {} }));
    speaker.say(&json!({ "id": 2, "method": "ping" }));
    let call = &stage.seen_of("tools/call")[0];
    speaker.say(&reply(call, json!({})));
    assert!(asker.said().is_empty() && asker.keys().is_empty() && !asking.is_over());
    assert_eq!(stage.count("reply"), 0);
}

#[test]
fn a_request_that_does_not_read_loses_what_is_beyond_the_bound_and_nobody_else_waits() {
    let speaker = Speaker::of(false);
    let stage = &speaker.stage;
    let link = met(&speaker);
    let asker = Rc::<Asker>::default();
    let (asking, _ear) = ask(&speaker, &link, call(), &asker);
    let many = limits::UPSTREAM_INBOX_MAX * 4;
    let words: String = (0..many)
        .map(|n| format!("data: {}\n\n", note("notifications/x", json!({ "n": n }))))
        .collect();
    speaker.mouths.borrow()[0].raw(&words);
    stage.settle();
    speaker.say(&json!({ "id": 2, "method": "ping" }));
    assert_eq!(stage.count("reply"), 1);
    assert!(!asking.is_over());
    let most = limits::UPSTREAM_INBOX_MAX;
    assert_eq!(asker.said().len(), most, "so many wait");
    stage.pass(1_000);
    speaker.say(&note("notifications/x", json!({ "n": many })));
    assert_eq!(asker.said().len(), most + 1, "and what was beyond is lost");
}

#[test]
fn what_is_no_mcp_on_a_stream_ends_it_and_it_is_opened_again() {
    let stage = Stage::with(|stage, seen| {
        handshake(stage, seen, |stage, _| match stage.count("GET") {
            1 => Plan::sse(stage, vec![raw("data: {\n\n"), Piece::Hang]),
            _ => Plan::sse(stage, vec![event(&note(TOOLS, json!({}))), Piece::Hang]),
        })
    });
    let heard = stage.hear(&stage.link(), &wanting(true, &[]));
    stage.pass(5_000);
    assert_eq!(*heard.borrow(), [Heard::Open, Heard::Open, Heard::Tools]);
}

#[test]
fn what_cannot_be_asked_is_not_listened_to() {
    let stage = Stage::new(|_| Plan::Refuse);
    let lack = shared::Error::internal("the secret is not set");
    let link = stage.link_to(stage.guard(shared::config::Bounds::default()), Err(lack));
    stage.hear(&link, &wanting(true, &[]));
    assert!(!stage.is_waiting(), "and nothing keeps anybody awake");
}

#[test]
fn an_upstream_that_is_away_is_listened_to_when_it_is_back() {
    let is_away = Rc::new(Cell::new(true));
    let away = Rc::clone(&is_away);
    let stage = Stage::with(move |stage, seen| match away.get() {
        true => Plan::Refuse,
        false => handshake(stage, seen, |stage, _| Plan::sse(stage, vec![Piece::Hang])),
    });
    let heard = stage.hear(&stage.link(), &wanting(true, &[]));
    stage.pass(10 * 60_000);
    let tried = stage.seen().len();
    assert!((5..25).contains(&tried), "{tried}");
    is_away.set(false);
    stage.pass(5 * 60_000);
    assert_eq!(*heard.borrow(), [Heard::Open]);
}
