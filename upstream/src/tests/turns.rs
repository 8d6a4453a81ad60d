//! How much an upstream gets at once, and when it is left alone. They must not know what is asked.

use super::world::{
    Asker, Mouth, Plan, Seen, Stage, Task, call, error, handshake, note, read, reply, told,
};
use crate::{Ask, Failure, Fields, Link, World as _, guard::Pace};
use futures_util::FutureExt as _;
use serde_json::json;
use shared::{config::Bounds, limits};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// A server of the handshake era that answers as long as it is well, and refuses otherwise.
fn moody(is_well: &Rc<Cell<bool>>, refusal: fn(&Seen) -> Plan) -> Rc<Stage> {
    let is_well = Rc::clone(is_well);
    Stage::with(move |stage, seen| {
        handshake(stage, seen, |_, seen| match is_well.get() {
            true => Plan::result(seen, json!({})),
            false => refusal(seen),
        })
    })
}

/// An upstream that was met and then failed as often as it takes to be left alone.
fn broken(is_well: &Rc<Cell<bool>>) -> (Rc<Stage>, Rc<Link>) {
    let stage = moody(is_well, |_| Plan::status(500));
    let link = stage.link();
    assert!(stage.ask(&link, call()).is_ok());
    is_well.set(false);
    for _ in 0..limits::BREAKER_FAILURES {
        assert!(told(stage.ask(&link, call())).contains("HTTP status 500"));
    }
    (stage, link)
}

fn is_left_alone(outcome: Result<Fields, Failure>, seconds: u64) -> bool {
    let left =
        format!("github has failed several times and is left alone; try again in {seconds} s");
    told(outcome) == left
}

#[test]
fn an_upstream_that_fails_again_and_again_is_left_alone_without_any_request() {
    let is_well = Rc::new(Cell::new(true));
    let (stage, link) = broken(&is_well);
    let before = stage.seen().len();
    assert!(is_left_alone(stage.ask(&link, read()), 5));
    stage.pass(limits::BREAKER_MS_MIN - 1);
    assert!(is_left_alone(stage.ask(&link, read()), 1));
    assert_eq!(stage.seen().len(), before);
}

#[test]
fn after_a_while_it_is_tried_once_and_left_alone_for_longer() {
    let is_well = Rc::new(Cell::new(true));
    let (stage, link) = broken(&is_well);
    let mut wait = limits::BREAKER_MS_MIN;
    for _ in 0..8 {
        stage.pass(wait);
        let before = stage.seen().len();
        assert!(told(stage.ask(&link, call())).contains("HTTP status 500"));
        wait = (wait * 2).min(limits::BREAKER_MS_MAX);
        assert!(is_left_alone(stage.ask(&link, call()), wait / 1000));
        assert_eq!(stage.seen().len(), before + 1);
    }
    assert_eq!(wait, limits::BREAKER_MS_MAX);
    stage.pass(wait);
    is_well.set(true);
    assert!(stage.ask(&link, call()).is_ok());
    is_well.set(false);
    for _ in 0..limits::BREAKER_FAILURES {
        assert!(told(stage.ask(&link, call())).contains("HTTP status 500"), "it closed");
    }
    assert!(is_left_alone(stage.ask(&link, call()), 5));
}

#[test]
fn while_one_tries_nobody_else_does_until_it_is_answered() {
    let is_well = Rc::new(Cell::new(true));
    let (stage, link) = broken(&is_well);
    stage.pass(limits::BREAKER_MS_MIN);
    let (mouth, plan) = Plan::spoken();
    let plan = Cell::new(Some(plan.later(1_000)));
    stage.serve(move |seen| match plan.take() {
        Some(plan) => plan,
        None => Plan::result(seen, json!({})),
    });
    let one = stage.asking(&link, call(), &Rc::default());
    assert!(is_left_alone(stage.ask(&link, call()), 5));
    stage.pass(1_000);
    assert!(!one.is_over());
    mouth.raw(":\n\n");
    stage.settle();
    assert!(is_left_alone(stage.ask(&link, call()), 5), "the head of an answer is none");
    mouth.say(&note("notifications/message", json!({ "level": "info", "data": "x" })));
    stage.settle();
    assert!(stage.ask(&link, call()).is_ok(), "it answers: who waits for its result is no matter");
    mouth.end();
    assert!(stage.finish(&one).is_err());
}

#[test]
fn a_try_that_was_given_up_says_nothing() {
    let is_well = Rc::new(Cell::new(true));
    let (stage, link) = broken(&is_well);
    stage.pass(limits::BREAKER_MS_MIN);
    stage.serve(|_| Plan::Never);
    let one = stage.asking(&link, call(), &Rc::default());
    assert!(is_left_alone(stage.ask(&link, call()), 5));
    one.stop();
    stage.settle();
    stage.serve(|seen| Plan::result(seen, json!({})));
    assert!(stage.ask(&link, call()).is_ok());
}

#[test]
fn those_that_were_under_way_when_it_failed_say_nothing_new() {
    let is_well = Rc::new(Cell::new(true));
    let stage = moody(&is_well, |_| Plan::status(500).later(100));
    let bounds = Bounds { concurrency: 16, ..Bounds::default() };
    let link = stage.link_of(bounds, None);
    assert!(stage.ask(&link, call()).is_ok());
    is_well.set(false);
    let all: Vec<_> = (0..16).map(|_| stage.asking(&link, call(), &Rc::default())).collect();
    all.iter().for_each(|one| assert!(told(stage.finish(one)).contains("500")));
    assert!(is_left_alone(stage.ask(&link, call()), 5), "as if they had been five");
}

#[test]
fn what_an_upstream_answers_with_reason_is_no_failure_of_it() {
    let refusals: [(&str, fn(&Seen) -> Plan); 6] = [
        ("400", |_| Plan::status(400)),
        ("401", |_| Plan::status(401)),
        ("429", |_| Plan::status(429).with("retry-after", "60")),
        ("an error", |seen| Plan::json(200, &error(seen, -32603, "x"))),
        ("302", |_| Plan::status(302)),
        ("an error with 404", |seen| Plan::json(404, &error(seen, -32601, "x"))),
    ];
    for (name, refusal) in refusals {
        let is_well = Rc::new(Cell::new(false));
        let stage = moody(&is_well, refusal);
        let link = stage.link();
        for _ in 0..20 {
            let before = stage.count("tools/call");
            assert!(stage.ask(&link, call()).is_err());
            assert!(stage.count("tools/call") > before, "{name}");
        }
    }
}

#[test]
fn a_success_between_failures_counts_them_anew() {
    let is_well = Rc::new(Cell::new(false));
    let stage = moody(&is_well, |_| Plan::status(500));
    let link = stage.link();
    for _ in 0..3 {
        is_well.set(false);
        for _ in 1..limits::BREAKER_FAILURES {
            assert!(told(stage.ask(&link, call())).contains("500"));
        }
        is_well.set(true);
        assert!(stage.ask(&link, call()).is_ok());
    }
}

#[test]
fn an_upstream_that_cannot_be_met_is_left_alone_too() {
    let stage = Stage::new(|_| Plan::Refuse);
    let link = stage.link();
    for _ in 0..2 {
        assert!(told(stage.ask(&link, call())).contains("cannot be reached"));
    }
    assert!(is_left_alone(stage.ask(&link, call()), 5));
    assert_eq!(stage.seen().len(), 5, "tries anew count, and end with it");
}

#[test]
fn links_share_what_stands_before_one_upstream_and_nothing_of_another() {
    let is_well = Rc::new(Cell::new(true));
    let (stage, link) = broken(&is_well);
    let sister = stage.link_behind(Rc::clone(&link.guard), None);
    assert!(is_left_alone(stage.ask(&sister, call()), 5));
    is_well.set(true);
    assert!(stage.ask(&stage.link(), call()).is_ok(), "another is another");
}

fn begin(stage: &Stage, link: &Rc<Link>, count: usize) -> Vec<Task<Result<Fields, Failure>>> {
    (0..count).map(|_| stage.asking(link, call(), &Rc::default())).collect()
}

/// A server that takes a second for each call, and a client of so many at once.
fn slow(concurrency: u32) -> (Rc<Stage>, Rc<Link>) {
    let stage = Stage::with(|stage, seen| {
        handshake(stage, seen, |_, seen| Plan::result(seen, json!({})).later(1_000))
    });
    let link = stage.link_of(Bounds { concurrency, ..Bounds::default() }, None);
    let met = Rc::clone(&link);
    assert!(stage.run(async move { met.meet().await }).is_ok());
    (stage, link)
}

#[test]
fn so_many_run_at_once_and_the_others_wait_in_order() {
    let (stage, link) = slow(2);
    let all = begin(&stage, &link, 5);
    for (seconds, (over, asked)) in [(0, 2), (2, 4), (4, 5), (5, 5)].into_iter().enumerate() {
        assert_eq!(all.iter().filter(|one| one.is_over()).count(), over, "after {seconds} s");
        assert!(all[..over].iter().all(Task::is_over), "whoever came first is first");
        assert_eq!(stage.count("tools/call"), asked, "after {seconds} s");
        stage.pass(1_000);
    }
}

#[test]
fn a_bounded_number_waits() {
    let (stage, link) = slow(1);
    let all = begin(&stage, &link, 1 + limits::UPSTREAM_QUEUE_MAX);
    let text = "too many calls of github are running here; try again";
    let beyond = stage.asking(&link, call(), &Rc::default());
    assert_eq!(told(beyond.outcome()), text, "at once");
    all[7].stop();
    stage.settle();
    let fits = stage.asking(&link, call(), &Rc::default());
    assert!(!fits.is_over(), "whoever goes away makes room");
    stage.pass(3_000);
    assert_eq!(all.iter().filter(|one| one.is_over()).count(), 3);
}

#[test]
fn nobody_waits_for_a_turn_for_ever() {
    let stage = Stage::with(|stage, seen| handshake(stage, seen, |_, _| Plan::spoken().1));
    let (mouth, plan) = Plan::spoken();
    let plan = Cell::new(Some(plan));
    stage.serve({
        let stage = Rc::downgrade(&stage);
        move |seen| handshake(&stage.upgrade().unwrap(), seen, |_, _| plan.take().unwrap())
    });
    let link = stage.link_of(Bounds { concurrency: 1, ..Bounds::default() }, None);
    let first = stage.asking(&link, call(), &Rc::default());
    mouth.say(&note("notifications/message", json!({ "level": "info", "data": "x" })));
    stage.settle();
    let second = stage.asking(&link, call(), &Rc::default());
    assert!(told(stage.finish(&second)).starts_with("too many calls"));
    assert_eq!(stage.now(), u64::from(Bounds::default().first_byte_ms));
    assert!(!first.is_over() && !mouth.is_left());
}

#[test]
fn what_takes_no_time_does_not_wait_for_calls_and_a_cancel_waits_for_nothing() {
    let (stage, link) = slow(1);
    let _calls = begin(&stage, &link, 2);
    let most = limits::UPSTREAM_BRIEF_MAX;
    let ask = |method, pace| {
        let ask = Ask { method, pace, ..Ask::default() };
        stage.asking(&link, ask, &Rc::default())
    };
    let lists: Vec<_> = (0..=most).map(|_| ask("tools/list", Pace::Brief)).collect();
    assert_eq!(stage.count("tools/call"), 1);
    assert_eq!(stage.count("tools/list"), most, "they have a bound of their own");
    let cancel = ask("tasks/cancel", Pace::Urgent);
    assert_eq!(stage.count("tasks/cancel"), 1);
    stage.pass(1_000);
    assert!(cancel.is_over() && lists[..most].iter().all(Task::is_over));
    assert_eq!((stage.count("tools/call"), stage.count("tools/list")), (2, most + 1));
}

#[test]
fn a_turn_ends_with_its_request_however_it_ends() {
    let (stage, link) = slow(1);
    let all = begin(&stage, &link, 3);
    all[0].stop();
    stage.settle();
    assert_eq!(stage.count("tools/call"), 2, "given up");
    stage.serve(|_| Plan::status(500));
    stage.pass(1_000);
    assert!(all[1].is_over() && all[2].is_over(), "done, and failed");
    assert!(told(stage.ask(&link, call())).contains("500"));
}

/// A call that has asked its client while another has begun, and was answered since, where one may
/// run at a time. What the upstream says of each call is up to the test.
fn answered(ask: Ask) -> (Rc<Stage>, Rc<Link>, Rc<RefCell<Vec<Mouth>>>, [Outcome; 2]) {
    let mouths = Rc::<RefCell<Vec<Mouth>>>::default();
    let kept = Rc::clone(&mouths);
    let stage = Stage::with(move |stage, seen| {
        handshake(stage, seen, |_, _| {
            let (mouth, plan) = Plan::spoken();
            kept.borrow_mut().push(mouth);
            plan
        })
    });
    let link = stage.link_of(Bounds { concurrency: 1, ..Bounds::default() }, None);
    let world = Rc::clone(&stage.world);
    let asker = Asker::answering(move |_| world.sleep(100).map(|()| Ok(vec![json!({})])));
    let first = stage.asking(&link, ask, &asker);
    let question = json!({ "jsonrpc": "2.0", "id": 1, "method": "elicitation/create" });
    mouths.borrow()[0].say(&question);
    stage.settle();
    let second = stage.asking(&link, call(), &Rc::default());
    assert_eq!(stage.count("tools/call"), 2, "others have their turn meanwhile");
    stage.pass(100);
    assert_eq!(stage.count("reply"), 1, "an answer waits for no turn");
    (stage, link, mouths, [first, second])
}

type Outcome = Task<Result<Fields, Failure>>;

/// The upstream answers a call.
fn end(stage: &Stage, mouths: &RefCell<Vec<Mouth>>, call: usize) {
    mouths.borrow()[call].say(&reply(&stage.seen_of("tools/call")[call], json!({})));
    stage.settle();
}

#[test]
fn a_call_that_goes_on_after_a_question_has_a_turn_again() {
    let (stage, link, mouths, [first, second]) = answered(call());
    let third = stage.asking(&link, call(), &Rc::default());
    end(&stage, &mouths, 1);
    assert!(second.is_over() && !first.is_over());
    assert_eq!(stage.count("tools/call"), 2, "it is the first one's turn");
    end(&stage, &mouths, 0);
    assert_eq!((first.is_over(), stage.count("tools/call")), (true, 3));
    end(&stage, &mouths, 2);
    assert!(third.is_over());
}

#[test]
fn a_call_that_is_tried_again_after_a_question_waits_for_its_turn() {
    let (stage, _link, mouths, [first, second]) = answered(read());
    mouths.borrow()[0].fail();
    stage.pass(10_000);
    assert!(!first.is_over());
    assert_eq!(stage.count("tools/call"), 2);
    end(&stage, &mouths, 1);
    assert_eq!((second.is_over(), stage.count("tools/call")), (true, 3));
    end(&stage, &mouths, 2);
    assert!(first.is_over());
}
