//! Requests that nobody waits for any more. They must not know why.

use super::world::{
    Piece, Plan, Stage, Task, call, event, handshake, modern, note, reply, told, value,
};
use crate::{Failure, Fields};
use serde_json::json;
use shared::config::{Bounds, Era};
use std::rc::Rc;

const CANCELLED: &str = "notifications/cancelled";

/// A server of an era that answers a call so.
fn of(era: Era, plan: impl Fn(&Stage) -> Plan + 'static) -> Rc<Stage> {
    Stage::with(move |stage, seen| match era {
        Era::Handshake => handshake(stage, seen, |stage, _| plan(stage)),
        Era::Modern => modern(stage, seen, |stage, _| plan(stage)),
    })
}

fn begin(stage: &Stage) -> Task<Result<Fields, Failure>> {
    let asking = stage.asking(&stage.link(), call(), &Rc::default());
    stage.pass(100);
    asking
}

fn check_cancelled(stage: &Stage, name: &str) {
    let call = &stage.seen_of("tools/call")[0];
    let cancelled = stage.seen_of(CANCELLED);
    assert_eq!(cancelled.len(), 1, "{name}");
    assert_eq!(cancelled[0].body["params"]["requestId"], call.body["id"], "{name}");
    assert_eq!(cancelled[0].body.get("id"), None, "{name}");
    assert_eq!(cancelled[0].header("mcp-session-id"), Some("s1"), "{name}");
}

type Place = (&'static str, fn(&Stage) -> Plan);

const PLACES: [Place; 4] = [
    ("before the head", |_| Plan::Never),
    ("in a stream", |stage| Plan::sse(stage, vec![Piece::Hang])),
    ("in a body", |stage| Plan::stream(stage, "application/json", vec![Piece::Hang])),
    ("after a word", |stage| {
        Plan::sse(stage, vec![event(&note("notifications/x", json!({}))), Piece::Hang])
    }),
];

#[test]
fn a_request_that_is_dropped_is_withdrawn_wherever_it_was() {
    for (name, plan) in PLACES {
        let stage = of(Era::Handshake, plan);
        let asking = begin(&stage);
        assert_eq!(stage.count(CANCELLED), 0, "{name}");
        asking.stop();
        stage.settle();
        check_cancelled(&stage, name);
    }
}

#[test]
fn in_the_modern_era_the_end_of_the_connection_says_so() {
    for (name, plan) in PLACES {
        let stage = of(Era::Modern, plan);
        begin(&stage).stop();
        stage.settle();
        assert_eq!(stage.methods(), ["server/discover", "tools/call"], "{name}");
    }
    let stage = Stage::with(|stage, seen| {
        modern(stage, seen, |_, _| {
            let (mouth, plan) = Plan::spoken();
            MOUTH.with_borrow_mut(|kept| *kept = Some(mouth));
            plan
        })
    });
    let asking = begin(&stage);
    MOUTH.with_borrow(|mouth| assert!(!mouth.as_ref().unwrap().is_left()));
    asking.stop();
    stage.settle();
    MOUTH.with_borrow(|mouth| assert!(mouth.as_ref().unwrap().is_left()));
}

thread_local! {
    static MOUTH: std::cell::RefCell<Option<super::world::Mouth>> = const {
        std::cell::RefCell::new(None)
    };
}

#[test]
fn a_request_that_has_its_reply_is_not_withdrawn() {
    let stage = Stage::with(|stage, seen| {
        handshake(stage, seen, |stage, seen| {
            Plan::sse(stage, vec![event(&reply(seen, json!({}))), Piece::Hang])
        })
    });
    value(stage.finish(&begin(&stage)));
    for plan in [|| Plan::status(500), || Plan::Refuse] {
        let stage = of(Era::Handshake, move |_| plan());
        assert!(stage.finish(&begin(&stage)).is_err());
        assert_eq!(stage.count(CANCELLED), 0);
    }
    assert_eq!(stage.count(CANCELLED), 0);
}

#[test]
fn a_request_that_is_late_is_withdrawn() {
    for (name, plan) in PLACES {
        let stage = of(Era::Handshake, plan);
        let text = "github did not answer in time; try again";
        assert_eq!(told(stage.finish(&begin(&stage))), text, "{name}");
        stage.settle();
        check_cancelled(&stage, name);
    }
}

#[test]
fn a_request_that_was_not_sent_is_not_withdrawn() {
    let stage = of(Era::Handshake, |_| Plan::Never);
    let link = stage.link_of(Bounds { concurrency: 1, ..Bounds::default() }, None);
    let _first = stage.asking(&link, call(), &Rc::default());
    let second = stage.asking(&link, call(), &Rc::default());
    second.stop();
    stage.settle();
    assert_eq!((stage.count("tools/call"), stage.count(CANCELLED)), (1, 0));
}

#[test]
fn an_upstream_that_does_not_hear_of_a_withdrawal_holds_nothing_up() {
    let stage = Stage::with(|stage, seen| match seen.rpc() {
        CANCELLED => Plan::Never,
        _ => handshake(stage, seen, |_, _| Plan::Never),
    });
    begin(&stage).stop();
    stage.pass(60_000);
    check_cancelled(&stage, "and it is not told again");
}
