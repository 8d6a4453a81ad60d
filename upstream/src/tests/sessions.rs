//! Sessions of the handshake era: carried along, kept, and begun again without anybody's notice.
//! They must not know what is asked in them.

use super::world::{Plan, Seen, Stage, call, error, handshake, modern, own, read, told, value};
use crate::listen::Ear;
use serde_json::json;
use shared::config::{Bounds, Era};
use std::{cell::Cell, collections::BTreeSet, rc::Rc};

fn answers(_: &Stage, seen: &Seen) -> Plan {
    Plan::result(seen, json!({ "content": [] }))
}

/// A server whose sessions up to this one are forgotten, each request in them with this answer.
fn forgetting(last: Rc<Cell<usize>>, refusal: fn(&Seen) -> Plan) -> Rc<Stage> {
    Stage::with(move |stage, seen| {
        handshake(stage, seen, |stage, seen| {
            let session = seen.header("mcp-session-id").expect("a session");
            let number: usize = session.trim_start_matches('s').parse().unwrap();
            if number <= last.get() { refusal(seen) } else { answers(stage, seen) }
        })
    })
}

#[test]
fn the_session_and_the_revision_go_with_every_later_request() {
    let stage = Stage::with(|stage, seen| handshake(stage, seen, answers));
    let link = stage.link();
    value(stage.ask(&link, call()));
    value(stage.ask(&link, call()));
    for seen in stage.seen() {
        assert_eq!(seen.header("authorization"), Some("Bearer secret"));
        assert_eq!(seen.header("accept"), Some("application/json, text/event-stream"));
        assert_eq!(seen.header("content-type"), Some("application/json"));
        let is_later = !["server/discover", "initialize"].contains(&seen.rpc());
        assert_eq!(seen.header("mcp-session-id"), is_later.then_some("s1"), "{}", seen.rpc());
        let revision = seen.header("mcp-protocol-version");
        match seen.rpc() {
            "initialize" => assert_eq!(revision, None),
            "server/discover" => assert_eq!(revision, Some("2026-07-28")),
            _ => assert_eq!(revision, Some("2025-11-25")),
        }
    }
    let ids: Vec<_> = stage.seen().iter().filter_map(|seen| seen.body["id"].as_u64()).collect();
    let mut unique = ids.clone();
    unique.dedup();
    assert_eq!(ids, unique, "no number is used twice");
}

#[test]
fn a_session_outlives_a_restart() {
    let stage = Stage::with(|stage, seen| handshake(stage, seen, answers));
    value(stage.ask(&stage.link(), call()));
    let before = stage.seen().len();
    stage.pass(1);
    let link = stage.link();
    (0..5).for_each(|_| drop(value(stage.ask(&link, call()))));
    let seen = &stage.seen()[before..];
    assert_eq!(seen.len(), 5, "nothing is begun again");
    assert!(seen.iter().all(|seen| seen.header("mcp-session-id") == Some("s1")));
    let calls = stage.seen_of("tools/call");
    let ids: BTreeSet<_> = calls.iter().map(|seen| seen.body["id"].as_u64()).collect();
    assert_eq!(ids.len(), 6, "no number of an earlier life is used in the same session");
}

#[test]
fn a_session_that_was_forgotten_is_begun_again_and_nobody_notices() {
    let refusals: [(&str, fn(&Seen) -> Plan); 3] = [
        ("404", |_| Plan::status(404)),
        ("404 with an error", |seen| Plan::json(404, &error(seen, -32001, "Session not found"))),
        ("400 that names it", |seen| Plan::json(400, &error(seen, -32000, "Bad SESSION id"))),
    ];
    for (name, refusal) in refusals {
        let last = Rc::new(Cell::new(0));
        let stage = forgetting(Rc::clone(&last), refusal);
        let link = stage.link();
        value(stage.ask(&link, call()));
        last.set(1);
        value(stage.ask(&link, call()));
        assert_eq!((stage.count("initialize"), stage.count("tools/call")), (2, 3), "{name}");
        let kept = stage.kept.borrow().clone().unwrap();
        assert_eq!(kept.session.as_deref(), Some("s2"), "{name}");
        assert_eq!(stage.now(), 0, "{name}: at once");
    }
}

#[test]
fn a_400_about_anything_else_is_an_error() {
    let stage = Stage::with(|stage, seen| {
        handshake(stage, seen, |_, seen| Plan::json(400, &error(seen, -32602, "bad argument")))
    });
    assert_eq!(own(stage.ask(&stage.link(), call())).message, "bad argument");
    assert_eq!(stage.count("initialize"), 1);
}

#[test]
fn a_session_is_begun_again_once() {
    let stage = forgetting(Rc::new(Cell::new(usize::MAX)), |_| Plan::status(404));
    assert_eq!(told(stage.ask(&stage.link(), read())), "github failed with HTTP status 404");
    assert_eq!((stage.count("initialize"), stage.count("tools/call")), (2, 2));
}

#[test]
fn those_who_lost_the_same_session_share_the_next() {
    let last = Rc::new(Cell::new(0));
    let stage = forgetting(Rc::clone(&last), |_| Plan::status(404).later(10));
    let link = stage.link();
    value(stage.ask(&link, call()));
    last.set(1);
    let all: Vec<_> = (0..3).map(|_| stage.asking(&link, call(), &Rc::default())).collect();
    all.iter().for_each(|one| assert!(stage.finish(one).is_ok()));
    assert_eq!((stage.count("initialize"), stage.count("tools/call")), (2, 7));
}

#[test]
fn a_404_without_a_session_is_an_error_of_its_own() {
    let stage = Stage::with(|stage, seen| match seen.rpc() {
        "initialize" => Plan::result(seen, json!({ "protocolVersion": "2025-06-18" })),
        _ => handshake(stage, seen, |_, seen| Plan::json(404, &error(seen, -32601, "no tool"))),
    });
    assert_eq!(own(stage.ask(&stage.link(), call())).message, "no tool");
    assert_eq!((stage.count("initialize"), stage.count("tools/call")), (1, 1));
}

#[test]
fn the_id_of_a_session_is_bounded() {
    let stage = Stage::with(|stage, seen| match seen.rpc() {
        "initialize" => Plan::result(seen, json!({ "protocolVersion": "2025-06-18" }))
            .with("mcp-session-id", &"x".repeat(5000)),
        _ => handshake(stage, seen, answers),
    });
    value(stage.ask(&stage.link(), call()));
    assert_eq!(stage.kept.borrow().clone().unwrap().session, None);
}

/// The sessions that were ended.
fn ended(stage: &Stage) -> Vec<String> {
    stage.settle();
    let seen = stage.seen_of("DELETE");
    for seen in &seen {
        assert_eq!(seen.header("mcp-protocol-version"), Some("2025-11-25"));
        assert_eq!(seen.header("authorization"), Some("Bearer secret"));
        assert_eq!((seen.header("content-type"), &seen.body), (None, &json!(null)));
    }
    seen.iter().map(|seen| seen.header("mcp-session-id").unwrap().to_owned()).collect()
}

#[test]
fn a_session_that_nobody_will_use_again_is_ended_once_whatever_comes_of_it() {
    let answers_to: [fn() -> Plan; 4] =
        [|| Plan::status(204), || Plan::status(405), || Plan::Refuse, || Plan::Never];
    for answer in answers_to {
        let stage = Stage::with(move |stage, seen| match seen.rpc() {
            "DELETE" => answer(),
            _ => handshake(stage, seen, answers),
        });
        let link = stage.link();
        link.retire();
        assert!(ended(&stage).is_empty(), "there is none");
        value(stage.ask(&link, call()));
        link.retire();
        link.retire();
        stage.pass(60_000);
        assert_eq!((ended(&stage), stage.kept.borrow().is_none()), (vec!["s1".to_owned()], true));
        value(stage.ask(&link, call()));
        assert_eq!(stage.count("initialize"), 2, "whoever comes back after all begins another");
    }
}

#[test]
fn a_session_in_which_something_runs_is_not_ended_and_what_is_none_neither() {
    let stage = Stage::with(|stage, seen| handshake(stage, seen, |_, _| Plan::Never));
    let link = stage.link();
    let asking = stage.asking(&link, call(), &Rc::default());
    link.retire();
    assert!(ended(&stage).is_empty() && !asking.is_over() && stage.kept.borrow().is_some());
    let stage = Stage::with(|stage, seen| modern(stage, seen, answers));
    let link = stage.link();
    value(stage.ask(&link, call()));
    link.retire();
    assert!(ended(&stage).is_empty() && stage.kept.borrow().is_some());
}

#[test]
fn an_upstream_that_was_met_in_another_era_than_is_configured_is_met_anew() {
    let stage = Stage::with(|stage, seen| handshake(stage, seen, answers));
    value(stage.ask(&stage.link(), call()));
    let again = stage.link_of(Bounds::default(), Some(Era::Handshake));
    assert!(ended(&stage).is_empty() && again.known().is_some(), "it is the same");
    stage.serve_before(|seen| match seen.rpc() {
        "server/discover" => {
            let versions = json!({ "supportedVersions": ["2026-07-28"], "capabilities": {} });
            Some(Plan::result(seen, versions))
        }
        _ => None,
    });
    let link = stage.link_of(Bounds::default(), Some(Era::Modern));
    assert_eq!((ended(&stage), link.known()), (vec!["s1".to_owned()], None));
    value(stage.ask(&link, call()));
    assert_eq!(stage.kept.borrow().as_ref().unwrap().era, Era::Modern);
}

#[test]
fn a_session_that_was_begun_in_vain_is_ended() {
    let stage = Stage::with(|stage, seen| match seen.rpc() {
        "notifications/initialized" => Plan::status(500),
        _ => handshake(stage, seen, answers),
    });
    assert!(stage.ask(&stage.link(), call()).is_err());
    assert_eq!(ended(&stage), ["s1"]);
    let stage = Stage::with(|stage, seen| match seen.rpc() {
        "initialize" => {
            Plan::result(seen, json!({ "protocolVersion": "1\n" })).with("mcp-session-id", "s9")
        }
        _ => handshake(stage, seen, answers),
    });
    assert!(stage.ask(&stage.link(), call()).is_err());
    assert_eq!(ended(&stage), ["s9"]);
}

#[test]
fn a_session_whose_stream_is_not_known_is_ended_for_the_next_unless_something_runs() {
    for is_running in [false, true] {
        let stage = Stage::with(|stage, seen| {
            handshake(stage, seen, |_, seen| match seen.rpc() {
                "tools/call" => Plan::Never,
                _ => Plan::status(404),
            })
        });
        let link = stage.link();
        let asking = is_running.then(|| stage.asking(&link, call(), &Rc::default()));
        let ear = Rc::<Ear>::default();
        ear.want(true, BTreeSet::new());
        stage.hear(&link, &ear);
        stage.pass(10_000);
        assert_eq!(stage.count("initialize"), 2);
        assert_eq!(ended(&stage).len(), usize::from(!is_running));
        drop(asking);
    }
}
