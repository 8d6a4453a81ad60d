//! Upstreams that are replaced by another of their kind or of the other era. They must not know
//! what is asked.

use super::world::{
    Piece, Plan, Seen, Stage, Task, call, error, handshake, modern, own, read, told, value,
};
use crate::{Failure, Fields, Met, listen::Ear};
use serde_json::json;
use shared::{config::Era, limits};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    rc::Rc,
};

fn answers(_: &Stage, seen: &Seen) -> Plan {
    Plan::result(seen, json!({ "content": [] }))
}

/// A server of the handshake era that may give sessions.
fn former(stage: &Stage, seen: &Seen, gives_sessions: bool) -> Plan {
    match seen.rpc() {
        "initialize" if !gives_sessions => {
            Plan::result(seen, json!({ "protocolVersion": "2025-11-25" }))
        }
        _ => handshake(stage, seen, answers),
    }
}

fn met(stage: &Stage) -> Met {
    stage.kept.borrow().clone().expect("it was met")
}

type Refusal = fn(&Seen) -> Plan;

#[test]
fn a_handshake_server_that_is_modern_now_is_met_again_at_its_first_refusal() {
    let refusals: [(&str, Refusal); 6] = [
        ("-32022", |seen| Plan::json(400, &error(seen, -32022, "Unsupported protocol version"))),
        ("-32022, 200", |seen| Plan::json(200, &error(seen, -32022, "Unsupported"))),
        ("-32020", |seen| Plan::json(400, &error(seen, -32020, "Mcp-Method is missing"))),
        ("400", |_| Plan::status(400)),
        ("404", |_| Plan::status(404)),
        ("405", |_| Plan::status(405)),
    ];
    for (name, refusal) in refusals {
        for gives_sessions in [true, false] {
            let is_modern = Rc::new(Cell::new(false));
            let now = Rc::clone(&is_modern);
            let stage = Stage::with(move |stage, seen| match now.get() {
                false => former(stage, seen, gives_sessions),
                true if seen.header("mcp-method").is_none() => refusal(seen),
                true => modern(stage, seen, answers),
            });
            let link = stage.link();
            value(stage.ask(&link, call()));
            is_modern.set(true);
            value(stage.ask(&link, call()));
            assert_eq!(met(&stage).era, Era::Modern, "{name}, {gives_sessions}");
            assert_eq!((stage.count("tools/call"), stage.now()), (3, 0), "{name}");
        }
    }
}

#[test]
fn a_modern_server_that_was_rolled_back_is_met_again_at_its_first_refusal() {
    let refusals: [(&str, Refusal); 6] = [
        ("-32000", |seen| Plan::json(400, &error(seen, -32000, "No valid session ID"))),
        ("-32600", |seen| Plan::json(400, &error(seen, -32600, "Missing session ID"))),
        ("400", |_| Plan::status(400)),
        ("404", |_| Plan::status(404)),
        ("405", |_| Plan::status(405)),
        ("422", |_| Plan::of(422, "text/plain", "expect initialize request")),
    ];
    for (name, refusal) in refusals {
        let is_modern = Rc::new(Cell::new(true));
        let now = Rc::clone(&is_modern);
        let stage = Stage::with(move |stage, seen| match (now.get(), seen.rpc()) {
            (true, _) => modern(stage, seen, answers),
            (false, "initialize") => handshake(stage, seen, answers),
            (false, _) if seen.header("mcp-session-id").is_none() => refusal(seen),
            (false, _) => handshake(stage, seen, answers),
        });
        let link = stage.link();
        value(stage.ask(&link, call()));
        is_modern.set(false);
        value(stage.ask(&link, call()));
        assert_eq!((met(&stage).era, stage.count("tools/call")), (Era::Handshake, 3), "{name}");
    }
}

#[test]
fn a_call_that_may_not_be_repeated_is_not_where_nothing_else_is_known() {
    for is_modern in [true, false] {
        let stage = Stage::with(move |stage, seen| match (seen.rpc(), is_modern) {
            ("tools/call", _) => Plan::status(400),
            (_, true) => modern(stage, seen, answers),
            (_, false) => handshake(stage, seen, answers),
        });
        let link = stage.link();
        assert!(told(stage.ask(&link, call())).contains("400"));
        assert_eq!((stage.count("server/discover"), stage.count("tools/call")), (2, 1));
        let sessions = usize::from(!is_modern);
        assert_eq!(stage.count("DELETE"), sessions, "nobody uses the first session any more");
        assert!(told(stage.ask(&link, read())).contains("400"));
        assert_eq!((stage.count("server/discover"), stage.count("tools/call")), (3, 3));
    }
}

#[test]
fn what_a_tool_says_is_no_word_on_how_the_server_was_met() {
    for (status, code) in [(400, -32602), (404, -32601), (400, -32021), (200, -32000)] {
        let stage = Stage::with(move |stage, seen| {
            modern(stage, seen, |_, seen| Plan::json(status, &error(seen, code, "no")))
        });
        assert_eq!(own(stage.ask(&stage.link(), read())).code, code);
        assert_eq!((stage.count("server/discover"), stage.count("tools/call")), (1, 1));
    }
}

#[test]
fn a_session_in_which_something_runs_is_kept_as_long_as_it_may_be_there() {
    let (mouth, plan) = Plan::spoken();
    let plan = RefCell::new(Some(plan));
    let stage = Stage::with(move |stage, seen| {
        handshake(stage, seen, |_, _| plan.take().unwrap_or(Plan::status(400)))
    });
    let link = stage.link();
    let running: Task<Result<Fields, Failure>> = stage.asking(&link, call(), &Rc::default());
    assert!(told(stage.ask(&link, call())).contains("400"));
    assert_eq!((stage.count("initialize"), stage.count("DELETE")), (1, 0));
    mouth.say(&super::world::reply(&stage.seen_of("tools/call")[0], json!({ "content": [] })));
    value(stage.finish(&running));
}

#[test]
fn what_no_session_vouches_for_is_looked_at_again_after_a_while() {
    for is_modern in [true, false] {
        let has_more = Rc::new(Cell::new(false));
        let more = Rc::clone(&has_more);
        let stage = Stage::with(move |stage, seen| {
            let can = match more.get() {
                true => json!({ "tools": {}, "prompts": {} }),
                false => json!({ "tools": {} }),
            };
            match (seen.rpc(), is_modern) {
                ("server/discover", true) => {
                    let versions = json!(["2026-07-28"]);
                    let result = json!({ "supportedVersions": versions, "capabilities": can });
                    Plan::result(seen, result).later(10)
                }
                ("initialize", false) => {
                    let revision = "2025-11-25";
                    let result = json!({ "protocolVersion": revision, "capabilities": can });
                    Plan::result(seen, result).later(10)
                }
                _ => handshake(stage, seen, answers),
            }
        });
        let link = stage.link();
        value(stage.ask(&link, call()));
        has_more.set(true);
        stage.pass(limits::UPSTREAM_MET_MS - 60_000);
        value(stage.ask(&link, call()));
        assert_eq!(stage.count("server/discover"), 1);
        // A restart makes it no younger.
        let link = stage.link();
        stage.pass(60_000);
        let running = stage.asking(&link, call(), &Rc::default());
        assert!(!running.is_over() && link.known().is_some(), "it is met, and known meanwhile");
        value(stage.finish(&running));
        assert!(met(&stage).can(&["prompts"]));
        value(stage.ask(&link, call()));
        assert_eq!(stage.count("server/discover"), 2);
    }
}

#[test]
fn a_session_vouches_for_itself() {
    let stage = Stage::with(|stage, seen| handshake(stage, seen, answers));
    let link = stage.link();
    value(stage.ask(&link, call()));
    stage.pass(2 * limits::UPSTREAM_MET_MS);
    value(stage.ask(&link, call()));
    assert_eq!(stage.count("initialize"), 1);
}

#[test]
fn one_that_has_no_stream_is_asked_for_it_again_after_a_while() {
    for is_modern in [true, false] {
        let is_deaf = Rc::new(Cell::new(true));
        let deaf = Rc::clone(&is_deaf);
        let stage = Stage::with(move |stage, seen| match seen.rpc() {
            "GET" | "subscriptions/listen" if deaf.get() => Plan::status(405),
            "GET" | "subscriptions/listen" => Plan::sse(stage, vec![Piece::Hang]),
            _ if is_modern => modern(stage, seen, answers),
            _ => handshake(stage, seen, answers),
        });
        let (link, ear) = (stage.link(), Rc::<Ear>::default());
        ear.want(true, BTreeSet::new());
        let streams = || stage.count("GET") + stage.count("subscriptions/listen");
        for _ in 0..3 {
            stage.hear(&link, &ear);
            stage.pass(60_000);
        }
        assert_eq!(streams(), 1);
        is_deaf.set(false);
        stage.pass(limits::UPSTREAM_MET_MS);
        let heard = stage.hear(&link, &ear);
        stage.pass(1_000);
        assert_eq!((streams(), heard.borrow().len()), (2, 1), "{is_modern}");
    }
}

#[test]
fn one_404_to_a_modern_stream_is_not_believed_at_once() {
    let left = Rc::new(Cell::new(1));
    let stage = Stage::with(move |stage, seen| {
        modern(stage, seen, |stage, _| match left.replace(0) {
            0 => Plan::sse(stage, vec![Piece::Hang]),
            _ => Plan::status(404),
        })
    });
    let (link, ear) = (stage.link(), Rc::<Ear>::default());
    ear.want(true, BTreeSet::new());
    let heard = stage.hear(&link, &ear);
    stage.pass(limits::RELISTEN_MS_MIN * 4);
    assert_eq!((stage.count("subscriptions/listen"), heard.borrow().len()), (2, 1));
    assert_eq!(met(&stage).mute_since, None);
}
