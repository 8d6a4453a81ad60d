//! What is said and asked while a request runs, in the handshake era. They must not know what the
//! request is answered with.

use super::world::{
    Asker, Mouth, Piece, Plan, Seen, Stage, Task, call, error, event, handshake, modern, note,
    reply, told, value,
};
use crate::{Ask, Failure, Fields, Relay as _, wire::ErrorObject};
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use shared::{config::Bounds, limits};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// A server that says these things of the request, and then answers.
fn saying(words: fn(&Seen) -> Vec<Value>) -> Rc<Stage> {
    Stage::with(move |stage, seen| {
        handshake(stage, seen, |stage, seen| match seen.rpc() {
            "tools/call" => {
                let mut pieces: Vec<_> = words(seen).iter().map(event).collect();
                pieces.push(event(&reply(seen, json!({ "done": true }))));
                Plan::sse(stage, pieces)
            }
            _ => Plan::result(seen, json!({})),
        })
    })
}

fn ask(stage: &Stage, ask: Ask) -> Rc<Asker> {
    let asker = Rc::<Asker>::default();
    let asking = stage.asking(&stage.link(), ask, &asker);
    stage.finish(&asking).unwrap();
    asker
}

#[test]
fn only_progress_of_the_request_is_passed_on_and_without_its_token() {
    let stage = saying(|seen| {
        let id = &seen.body["id"];
        assert_eq!(&seen.body["params"]["_meta"]["progressToken"], id);
        let number = id.as_u64().unwrap();
        let progress = |token: Value, n: u32| {
            note("notifications/progress", json!({ "progressToken": token, "progress": n }))
        };
        vec![
            progress(id.clone(), 1),
            progress(json!(number + 1), 2),
            progress(json!("abc"), 3),
            progress(json!(-1), 4),
            progress(json!(null), 5),
            progress(json!(number.to_string()), 6),
            note("notifications/progress", json!({ "progress": 7 })),
        ]
    });
    let asker = ask(&stage, Ask { wants_progress: true, ..call() });
    let expected = [1, 6, 7].map(|n| format!("notifications/progress {{\"progress\":{n}}}"));
    assert_eq!(asker.said(), expected);
}

#[test]
fn a_token_is_sent_where_progress_is_wanted_and_meta_besides() {
    let stage = saying(|_| Vec::new());
    ask(&stage, call());
    assert_eq!(stage.seen_of("tools/call")[0].body["params"].get("_meta"), None);
    let meta = json!({ "traceparent": "00-1" });
    let stage = saying(|_| Vec::new());
    ask(&stage, Ask { meta: meta.as_object().unwrap().clone(), ..call() });
    assert_eq!(stage.seen_of("tools/call")[0].body["params"]["_meta"], meta);
}

#[test]
fn logs_and_unknown_notifications_are_passed_on_as_they_came() {
    let stage = saying(|_| {
        vec![
            note("notifications/message", json!({ "level": "info", "data": [1] })),
            note("notifications/x-new", json!({ "a": null })),
            note("notifications/cancelled", json!({ "requestId": 7 })),
        ]
    });
    let said = ask(&stage, call()).said();
    let log = r#"notifications/message {"data":[1],"level":"info"}"#;
    assert_eq!(said, [log, r#"notifications/x-new {"a":null}"#], "a number means nothing outside");
}

#[test]
fn a_level_is_set_once_for_each_wish_for_more() {
    let stage = saying(|_| Vec::new());
    let link = stage.link();
    let wish = |level: Option<&str>| {
        value(stage.ask(&link, Ask { level: level.map(ToOwned::to_owned), ..call() }));
        let set = stage.seen_of("logging/setLevel");
        set.iter().map(|seen| seen.body["params"]["level"].clone()).collect::<Vec<_>>()
    };
    assert!(wish(None).is_empty());
    assert_eq!(wish(Some("warning")), ["warning"]);
    assert_eq!(wish(Some("error")), ["warning"], "whoever wants less hears less");
    assert_eq!(wish(Some("debug")), ["warning", "debug"]);
    assert_eq!(wish(Some("info")), ["warning", "debug"]);
    value(stage.ask(&stage.link(), Ask { level: Some("info".to_owned()), ..call() }));
    assert_eq!(stage.count("logging/setLevel"), 2, "it outlives a restart");
}

#[test]
fn a_level_that_is_refused_is_no_failure_and_a_server_without_logs_is_not_asked() {
    for can in [json!({}), json!({ "logging": {} })] {
        let copy = can.clone();
        let stage = Stage::with(move |stage, seen| match seen.rpc() {
            "initialize" => {
                Plan::result(seen, json!({ "protocolVersion": "2025-11-25", "capabilities": can }))
            }
            "logging/setLevel" => Plan::Never,
            _ => handshake(stage, seen, |_, seen| Plan::result(seen, json!({}))),
        });
        value(stage.ask(&stage.link(), Ask { level: Some("info".to_owned()), ..call() }));
        assert_eq!(stage.count("logging/setLevel"), usize::from(copy != json!({})));
    }
}

#[test]
fn a_level_that_was_refused_is_asked_for_again_unless_there_is_no_such_thing() {
    for (code, expected) in [(-32603, 2), (-32602, 2), (-32601, 1)] {
        let stage = Stage::with(move |stage, seen| match seen.rpc() {
            "logging/setLevel" => Plan::json(200, &error(seen, code, "no")),
            _ => handshake(stage, seen, |_, seen| Plan::result(seen, json!({}))),
        });
        let link = stage.link();
        for _ in 0..2 {
            value(stage.ask(&link, Ask { level: Some("info".to_owned()), ..call() }));
        }
        assert_eq!(stage.count("logging/setLevel"), expected, "{code}");
    }
}

/// A server that asks these things in its stream, and answers when all are answered.
fn asking(questions: Vec<Value>) -> Rc<Stage> {
    let count = questions.len();
    Stage::with(move |stage, seen| {
        let (mouth, spoken) = match seen.rpc() {
            "tools/call" => Plan::spoken(),
            _ => {
                let plan = handshake(stage, seen, |_, _| Plan::status(202));
                let id = stage.seen_of("tools/call").last().map(|call| call.body["id"].clone());
                if seen.rpc() == "reply" && stage.count("reply") == count {
                    let done = json!({ "jsonrpc": "2.0", "id": id, "result": { "done": true } });
                    MOUTHS.with_borrow(|mouths| mouths.last().unwrap().say(&done));
                }
                return plan;
            }
        };
        questions.iter().for_each(|question| mouth.say(question));
        MOUTHS.with_borrow_mut(|mouths| mouths.push(mouth));
        spoken
    })
}

thread_local! {
    static MOUTHS: RefCell<Vec<Mouth>> = const { RefCell::new(Vec::new()) };
}

fn question(id: &Value, method: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": { "of": id } })
}

fn elicit(id: Value) -> Value {
    question(&id, "elicitation/create")
}

fn begin(stage: &Stage, asker: &Rc<Asker>) -> Task<Result<Fields, Failure>> {
    stage.asking(&stage.link(), call(), asker)
}

#[test]
fn questions_are_answered_by_posts_in_the_session_several_at_once() {
    let stage = asking(vec![elicit(json!("q-1")), elicit(json!(1.0))]);
    let world = Rc::clone(&stage.world);
    let asker = Asker::answering(move |asked| {
        let question = asked.into_iter().next().unwrap();
        // The first takes longer than the second.
        let wait = if question.params["of"] == "q-1" { 100 } else { 10 };
        let sleep = crate::World::sleep(&*world, wait);
        sleep.map(move |()| Ok(vec![json!({ "to": question.params["of"] })]))
    });
    let asking = begin(&stage, &asker);
    assert_eq!(value(stage.finish(&asking)), json!({ "done": true }));
    let replies = stage.seen_of("reply");
    let told: Vec<_> = replies.iter().map(|seen| (&seen.body["id"], seen.at)).collect();
    assert_eq!(told, [(&json!(1.0), 10), (&json!("q-1"), 100)], "an id comes back as it came");
    for seen in &replies {
        assert_eq!(seen.body["result"]["to"], seen.body["id"]);
        assert_eq!(seen.header("mcp-session-id"), Some("s1"));
        assert_eq!(seen.header("mcp-protocol-version"), Some("2025-11-25"));
    }
    assert_eq!(asker.keys(), [["elicitation_create.1"], ["elicitation_create.2"]]);
}

#[test]
fn a_ping_is_answered_and_nobody_is_asked() {
    let stage = asking(vec![question(&json!(9), "ping")]);
    let asker = Rc::<Asker>::default();
    let asking = begin(&stage, &asker);
    assert!(stage.finish(&asking).is_ok());
    assert!(asker.questions.borrow().is_empty());
    assert_eq!(stage.seen_of("reply")[0].body, json!({ "jsonrpc": "2.0", "id": 9, "result": {} }));
}

#[test]
fn a_question_that_the_upstream_withdraws_is_not_answered_and_nobody_waits_for_it() {
    let cancelled = |id: Value| note("notifications/cancelled", json!({ "requestId": id }));
    let stage = asking(vec![elicit(json!("q")), elicit(json!(2)), cancelled(json!("q"))]);
    let (open, asked) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (now, count) = (Rc::clone(&open), Rc::clone(&asked));
    let asker = Asker::answering(move |_| {
        count.set(count.get() + 1);
        now.set(now.get() + 1);
        let now = Rc::clone(&now);
        async move {
            let _open = scopeguard(move || now.set(now.get() - 1));
            std::future::pending().await
        }
    });
    let bounds = Bounds { total_ms: 1_000, ..Bounds::default() };
    let task = stage.asking(&stage.link_of(bounds, None), call(), &asker);
    assert_eq!((asked.get(), open.get()), (2, 1), "the other is still asked");
    stage.pass(10_000);
    assert!(!task.is_over(), "and the clock stands still for it");
    MOUTHS.with_borrow(|mouths| mouths.last().unwrap().say(&cancelled(json!(7))));
    MOUTHS.with_borrow(|mouths| mouths.last().unwrap().say(&cancelled(json!(2))));
    stage.settle();
    assert_eq!((open.get(), stage.count("reply")), (0, 0));
    assert!(told(stage.finish(&task)).contains("in time"));
    assert_eq!(stage.now(), 11_000, "from then on it goes on");
}

/// Does something when it is dropped.
fn scopeguard(then: impl FnMut()) -> impl Drop {
    struct Guard<F: FnMut()>(F);
    impl<F: FnMut()> Drop for Guard<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    Guard(then)
}

#[test]
fn a_refusal_is_an_error_to_the_upstream() {
    let stage = asking(vec![elicit(json!(1))]);
    let asker = Asker::answering(|_| {
        let message = "the client cannot be asked".to_owned();
        std::future::ready(Err(ErrorObject { code: -32601, message, data: Some(json!(1)) }))
    });
    let asking = begin(&stage, &asker);
    assert!(stage.finish(&asking).is_ok());
    let error = json!({ "code": -32601, "message": "the client cannot be asked", "data": 1 });
    assert_eq!(stage.seen_of("reply")[0].body["error"], error);
}

#[test]
fn the_clock_stands_still_while_the_client_is_asked() {
    let bounds = Bounds { total_ms: 1_000, ..Bounds::default() };
    let stage = asking(vec![elicit(json!(1)), elicit(json!(2))]);
    let world = Rc::clone(&stage.world);
    let asker = Asker::answering(move |_| {
        crate::World::sleep(&*world, 50_000).map(|()| Ok(vec![json!({})]))
    });
    let asking = stage.asking(&stage.link_of(bounds, None), call(), &asker);
    assert!(stage.finish(&asking).is_ok());
    assert_eq!(stage.now(), 50_000);
}

#[test]
fn the_clock_goes_on_where_it_stood() {
    let bounds = Bounds { total_ms: 1_000, ..Bounds::default() };
    let stage = Stage::with(|stage, seen| {
        handshake(stage, seen, |stage, _| {
            let question = event(&elicit(json!(1)));
            Plan::sse(stage, vec![Piece::Wait(600), question, Piece::Hang])
        })
    });
    let world = Rc::clone(&stage.world);
    let asker = Asker::answering(move |_| {
        crate::World::sleep(&*world, 50_000).map(|()| Ok(vec![json!({})]))
    });
    let asking = stage.asking(&stage.link_of(bounds, None), call(), &asker);
    assert_eq!(told(stage.finish(&asking)), "github did not answer in time; try again");
    assert_eq!(stage.now(), 600 + 50_000 + 400);
}

#[test]
fn an_upstream_that_never_falls_silent_has_no_more_time() {
    let bounds = Bounds { total_ms: 1_000, ..Bounds::default() };
    let stage = Stage::with(|stage, seen| {
        handshake(stage, seen, |stage, _| {
            let word = event(&note("notifications/x", json!({})));
            let words = (0..1000).flat_map(|_| [Piece::Wait(10), word.clone()]).collect();
            Plan::sse(stage, words)
        })
    });
    let link = stage.link_of(bounds, None);
    assert!(told(stage.ask(&link, call())).contains("in time"));
    assert_eq!(stage.now(), 1_000);
}

#[test]
fn others_have_their_turn_while_the_client_is_asked() {
    let stage = asking(vec![elicit(json!(1))]);
    let bounds = Bounds { concurrency: 1, ..Bounds::default() };
    let link = stage.link_of(bounds, None);
    let first = stage.asking(&link, call(), &Rc::default());
    assert_eq!(stage.count("tools/call"), 1);
    let second = stage.asking(&link, call(), &Rc::default());
    assert_eq!(stage.count("tools/call"), 2, "the first waits for its client");
    let third = stage.asking(&link, call(), &Rc::default());
    assert_eq!(stage.count("tools/call"), 3);
    assert!(!first.is_over() && !second.is_over() && !third.is_over());
}

#[test]
fn so_many_questions_are_open_at_once_and_no_more() {
    let many = limits::UPSTREAM_QUESTIONS_MAX;
    let stage = asking((0..many * 2).map(|n| elicit(json!(n))).collect());
    let (open, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (world, peak) = (Rc::clone(&stage.world), Rc::clone(&most));
    let asker = Asker::answering(move |_| {
        open.set(open.get() + 1);
        peak.set(peak.get().max(open.get()));
        let open = Rc::clone(&open);
        crate::World::sleep(&*world, 100).map(move |()| {
            open.set(open.get() - 1);
            Ok(vec![json!({})])
        })
    });
    let asking = begin(&stage, &asker);
    assert!(stage.finish(&asking).is_ok());
    assert_eq!((most.get(), stage.count("reply")), (many, many * 2));
}

#[test]
fn a_call_in_which_there_is_no_end_of_questions_is_given_up() {
    let most = usize::try_from(limits::UPSTREAM_ASKED_MAX).unwrap();
    for (count, is_given_up) in [(most, false), (most + 1, true)] {
        let mut questions: Vec<_> = (0..count).map(|n| elicit(json!(n))).collect();
        // Pings count for none.
        questions.insert(0, question(&json!("p"), "ping"));
        let stage = asking(questions);
        let asker = Asker::answering(|_| std::future::ready(Ok(vec![json!({})])));
        let outcome = stage.finish(&begin(&stage, &asker));
        stage.settle();
        assert_eq!(asker.keys().len(), most);
        assert_eq!(stage.count("notifications/cancelled"), usize::from(is_given_up));
        match is_given_up {
            true => assert_eq!(told(outcome), "github asked too many questions in one call"),
            false => assert_eq!(value(outcome), json!({ "done": true })),
        }
    }
}

#[test]
fn an_upstream_that_does_not_take_an_answer_has_no_more_time() {
    let bounds = Bounds { total_ms: 1_000, ..Bounds::default() };
    for method in ["ping", "elicitation/create"] {
        let stage = Stage::with(move |stage, seen| match seen.rpc() {
            "reply" => Plan::Never,
            _ => handshake(stage, seen, |stage, _| {
                let word = event(&question(&json!(1), method));
                let pieces = (0..100).flat_map(|_| [word.clone(), Piece::Wait(100)]).collect();
                Plan::sse(stage, pieces)
            }),
        });
        let asker = Asker::answering(|_| std::future::ready(Ok(vec![json!({})])));
        let asking = stage.asking(&stage.link_of(bounds, None), call(), &asker);
        assert!(told(stage.finish(&asking)).contains("in time"));
        assert_eq!(stage.now(), 1_000, "{method}");
    }
}

#[test]
fn in_the_modern_era_nothing_is_asked_on_a_stream() {
    let stage = Stage::with(|stage, seen| {
        modern(stage, seen, |stage, seen| {
            let ping = event(&question(&json!(1), "ping"));
            let question = event(&elicit(json!(2)));
            Plan::sse(stage, vec![ping, question, event(&reply(seen, json!({})))])
        })
    });
    let asker = ask(&stage, call());
    assert!(asker.questions.borrow().is_empty());
    assert_eq!(stage.count("reply"), 0);
    assert_eq!(asker.kept(), None);
}

/// A call whose server may say what it likes.
fn flooding(ask: Ask) -> (Rc<Stage>, Mouth, Task<Result<Fields, Failure>>, Rc<Asker>) {
    let (mouth, plan) = Plan::spoken();
    let plan = Cell::new(Some(plan));
    let stage = Stage::with(move |stage, seen| {
        handshake(stage, seen, |_, seen| match seen.body["method"] == "tools/call" {
            true => plan.take().unwrap_or_else(|| Plan::status(500)),
            false => Plan::result(seen, json!({})),
        })
    });
    let asker = Rc::<Asker>::default();
    let asking = stage.asking(&stage.link(), ask, &asker);
    stage.settle();
    (stage, mouth, asking, asker)
}

#[test]
fn of_much_progress_the_newest_is_told_and_never_late() {
    let (stage, mouth, asking, asker) = flooding(Ask { wants_progress: true, ..call() });
    let id = stage.seen_of("tools/call")[0].body["id"].clone();
    let most = u64::from(limits::UPSTREAM_PROGRESS_MAX);
    let progress = |from: u64, to: u64| {
        for n in from..to {
            let params = json!({ "progressToken": id, "progress": n });
            mouth.say(&note("notifications/progress", params));
        }
        stage.settle();
    };
    let said = |n: u64| format!("notifications/progress {{\"progress\":{n}}}");
    progress(0, 500);
    assert_eq!(asker.said(), (0..most).map(said).collect::<Vec<_>>());
    stage.pass(999);
    assert_eq!(asker.said().len(), 20, "not yet");
    stage.pass(1);
    assert_eq!(asker.said().last(), Some(&said(499)), "without another word of the server's");
    assert_eq!(asker.said().len(), 21);
    progress(500, 600);
    // The last before the result is told before it.
    mouth.say(&reply(&stage.seen_of("tools/call")[0], json!({ "done": true })));
    assert!(stage.finish(&asking).is_ok());
    assert_eq!(asker.said().last(), Some(&said(599)));
    assert!(asker.said().len() <= 2 * 20 + 2, "{}", asker.said().len());
}

#[test]
fn of_many_logs_some_are_left_out_and_of_changes_none() {
    let (stage, mouth, _asking, asker) = flooding(call());
    for n in 0..500 {
        mouth.say(&note("notifications/message", json!({ "level": "info", "data": n })));
        mouth.say(&note("notifications/resources/updated", json!({ "uri": n.to_string() })));
    }
    stage.settle();
    let count = |what: &str| asker.said().iter().filter(|line| line.contains(what)).count();
    assert_eq!(count("/message"), usize::try_from(limits::UPSTREAM_NOTES_MAX).unwrap());
    assert_eq!(count("/updated"), 500);
    stage.pass(1_000);
    mouth.say(&note("notifications/message", json!({ "level": "info", "data": "later" })));
    stage.settle();
    assert_eq!(count("later"), 1);
}

#[test]
fn logs_that_nobody_wants_take_no_place_of_one_that_somebody_does() {
    let ask = Ask { level: Some("error".to_owned()), ..call() };
    let (stage, mouth, _asking, asker) = flooding(ask);
    for n in 0..limits::UPSTREAM_NOTES_MAX {
        for level in ["debug", "nonsense"] {
            mouth.say(&note("notifications/message", json!({ "level": level, "data": n })));
        }
    }
    mouth.say(&note("notifications/message", json!({ "level": "error", "data": "the one" })));
    stage.settle();
    let said = asker.said();
    assert!(said.len() == 1 && said[0].contains("the one"), "{said:?}");
}

#[test]
fn what_may_be_said_once_only_is_never_left_out_and_too_much_of_it_ends_the_call() {
    const OTHER: &str = "notifications/elicitation/complete";
    let (stage, mouth, asking, asker) = flooding(call());
    let most = u64::from(limits::UPSTREAM_OTHERS_MAX);
    let say = |from: u64, to: u64| {
        for n in from..to {
            mouth.say(&note(OTHER, json!({ "elicitationId": n })));
        }
        stage.settle();
    };
    // Logs have a bound of their own.
    for n in 0..2 * limits::UPSTREAM_NOTES_MAX {
        mouth.say(&note("notifications/message", json!({ "level": "info", "data": n })));
    }
    let count = || asker.said().iter().filter(|line| line.starts_with(OTHER)).count() as u64;
    say(0, most);
    assert_eq!(count(), most);
    stage.pass(1_000);
    say(most, 2 * most);
    assert!(!asking.is_over(), "so many in each second");
    say(0, 1);
    let Err(Failure::Below(error)) = stage.finish(&asking) else {
        panic!("nothing is left out in silence");
    };
    assert!(error.public.contains("more in one call than can be passed on"), "{error:?}");
    stage.settle();
    assert_eq!(count(), 2 * most);
    assert_eq!(stage.count("notifications/cancelled"), 1, "it need not go on");
}
