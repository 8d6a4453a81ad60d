//! Requests of the modern era: their headers and `_meta`, and the rounds in which an upstream asks
//! back. They must not know sessions.

use super::world::{Asker, Plan, Seen, Stage, call, error, modern, own, told, value};
use crate::{Ask, wire::ErrorObject};
use serde_json::{Value, json};
use shared::{config::Bounds, limits};
use std::{cell::Cell, future::ready, rc::Rc};

/// A modern server that answers so.
fn answering(answer: impl Fn(&Seen) -> Plan + 'static) -> Rc<Stage> {
    Stage::with(move |stage, seen| modern(stage, seen, |_, seen| answer(seen)))
}

fn input_required(seen: &Seen, requests: Value, state: Value) -> Plan {
    let result = json!({ "resultType": "input_required", "inputRequests": requests,
        "requestState": state });
    Plan::result(seen, result)
}

fn elicit(message: &str) -> Value {
    json!({ "method": "elicitation/create", "params": { "message": message } })
}

/// One who answers every question with its own key.
fn keen() -> Rc<Asker> {
    Asker::answering(|asked| {
        ready(Ok(asked.into_iter().map(|question| json!({ "to": question.key })).collect()))
    })
}

#[test]
fn a_request_says_everything_itself() {
    for (name, written) in [
        (Some("get_issue"), Some("get_issue")),
        (Some("file:///ü"), Some("=?base64?ZmlsZTovLy/DvA==?=")),
        (Some(" a"), Some("=?base64?IGE=?=")),
        (None, None),
    ] {
        let stage = answering(|seen| Plan::result(seen, json!({})));
        let ask = Ask {
            name: name.map(ToOwned::to_owned),
            mirrors: vec![("mcp-param-region".to_owned(), "eu".to_owned())],
            wants_progress: true,
            level: Some("info".to_owned()),
            meta: json!({ "traceparent": "00-1", "io.modelcontextprotocol/clientInfo": "no" })
                .as_object()
                .unwrap()
                .clone(),
            ..call()
        };
        value(stage.ask(&stage.link(), ask));
        assert_eq!(stage.methods(), ["server/discover", "tools/call"], "no level is set");
        let seen = &stage.seen_of("tools/call")[0];
        assert_eq!(seen.header("mcp-method"), Some("tools/call"));
        assert_eq!(seen.header("mcp-name"), written);
        assert_eq!(seen.header("mcp-param-region"), Some("eu"));
        assert_eq!(seen.header("mcp-protocol-version"), Some("2026-07-28"));
        assert_eq!(seen.header("mcp-session-id"), None);
        let params = &seen.body["params"];
        assert_eq!(params["name"], "t");
        let meta = params["_meta"].as_object().unwrap();
        let said = |name: &str| &meta[&format!("io.modelcontextprotocol/{name}")];
        assert_eq!(said("protocolVersion"), "2026-07-28");
        assert_eq!(said("clientInfo")["name"], "signalbox", "it is we who ask");
        assert_eq!(said("clientCapabilities")["elicitation"], json!({}));
        assert_eq!(said("logLevel"), "info");
        assert_eq!(meta["progressToken"], seen.body["id"]);
        assert_eq!(meta["traceparent"], "00-1");
        assert_eq!(meta.len(), 6);
    }
}

#[test]
fn a_session_that_a_modern_server_names_is_not_used() {
    let stage = Stage::with(|stage, seen| {
        let answer = modern(stage, seen, |_, seen| Plan::result(seen, json!({})));
        answer.with("mcp-session-id", "s1")
    });
    let link = stage.link();
    (0..2).for_each(|_| drop(value(stage.ask(&link, call()))));
    assert!(stage.seen().iter().all(|seen| seen.header("mcp-session-id").is_none()));
}

#[test]
fn questions_are_answered_in_the_next_round_with_the_state() {
    let stage = answering(|seen| match &seen.body["params"]["requestState"] {
        Value::Null => {
            assert_eq!(seen.body["params"].get("inputResponses"), None);
            let requests = json!({ "a": elicit("A"), "b": { "method": "roots/list" } });
            input_required(seen, requests, json!("one"))
        }
        state if *state == "one" => {
            let expected = json!({ "a": { "to": "a" }, "b": { "to": "b" } });
            assert_eq!(seen.body["params"]["inputResponses"], expected);
            input_required(seen, json!({ "a": elicit("again") }), json!({ "two": 2 }))
        }
        state => {
            assert_eq!(*state, json!({ "two": 2 }));
            let responses = &seen.body["params"]["inputResponses"];
            assert_eq!(*responses, json!({ "a": { "to": "a.2" } }));
            Plan::result(seen, json!({ "resultType": "complete", "a": 1 }))
        }
    });
    let asker = keen();
    let asking = stage.asking(&stage.link(), call(), &asker);
    let result = value(stage.finish(&asking));
    assert_eq!(result, json!({ "resultType": "complete", "a": 1 }));
    assert_eq!(asker.keys(), [vec!["a", "b"], vec!["a.2"]], "what is asked later is another");
    let questions = asker.questions.borrow();
    assert_eq!(questions[0][0].params["message"], "A");
    assert_eq!((questions[0][1].method.as_str(), questions[0][1].params.len()), ("roots/list", 0));
    let ids: Vec<_> = stage.seen().iter().map(|seen| seen.body["id"].clone()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "each round has a number of its own");
}

#[test]
fn a_question_is_one_even_if_the_upstream_was_forgotten_meanwhile() {
    let stage = answering(|seen| match &seen.body["params"]["requestState"] {
        Value::Null => input_required(seen, json!({ "a": elicit("A") }), json!("s")).later(100),
        _ => Plan::result(seen, json!({ "a": 1 })),
    });
    let (link, asker) = (stage.link(), keen());
    let asking = stage.asking(&link, call(), &asker);
    link.forget(&link.known().unwrap());
    assert_eq!(value(stage.finish(&asking)), json!({ "a": 1 }));
    assert_eq!(stage.count("server/discover"), 2);
}

#[test]
fn a_later_run_goes_on_in_the_round_in_which_the_earlier_one_asked() {
    let server = |seen: &Seen| {
        let params = &seen.body["params"];
        match &params["requestState"] {
            Value::Null => input_required(seen, json!({ "a": elicit("A") }), json!("one")),
            state if *state == "one" => {
                assert_eq!(params["inputResponses"]["a"], json!({ "to": "a" }));
                input_required(seen, json!({ "b": elicit("B") }), json!("two"))
            }
            _ => Plan::result(seen, json!({ "to": params["inputResponses"]["b"] })),
        }
    };
    let stage = answering(server);
    let asker = Asker::answering(|asked| {
        let answers = asked.iter().map(|question| json!({ "to": question.key })).collect();
        let is_second = asked[0].key != "a";
        async move {
            if is_second {
                // The client has gone, and with it the run.
                std::future::pending::<()>().await;
            }
            Ok(answers)
        }
    });
    let first = stage.asking(&stage.link(), call(), &asker);
    first.stop();
    stage.settle();
    assert_eq!(asker.keys(), [["a"], ["b.2"]]);
    let kept = asker.state.borrow().clone();
    let before = stage.seen().len();
    let later = keen();
    *later.state.borrow_mut() = kept;
    let second = stage.asking(&stage.link(), call(), &later);
    let to = json!({ "to": { "to": "b.2" } });
    assert_eq!(value(stage.finish(&second)), to, "by the same name");
    assert_eq!(later.keys(), [["b.2"]], "nothing is asked that was answered");
    assert_eq!(stage.seen().len() - before, 2);
}

#[test]
fn state_that_is_no_state_is_none() {
    for kept in [json!(1), json!({}), json!({ "round": "x", "state": null, "answers": [1] })] {
        let stage = answering(|seen| {
            let params = &seen.body["params"];
            assert_eq!((params.get("requestState"), params.get("inputResponses")), (None, None));
            Plan::result(seen, json!({}))
        });
        let asker = keen();
        *asker.state.borrow_mut() = Some(kept);
        let asking = stage.asking(&stage.link(), call(), &asker);
        assert!(stage.finish(&asking).is_ok());
    }
}

#[test]
fn questions_without_end_are_an_end() {
    let stage = answering(|seen| input_required(seen, json!({ "a": elicit("A") }), json!("s")));
    let asker = keen();
    let asking = stage.asking(&stage.link(), call(), &asker);
    assert_eq!(told(stage.finish(&asking)), "github asked too many questions in one call");
    let rounds = usize::try_from(limits::UPSTREAM_ROUNDS_MAX).unwrap();
    assert_eq!(stage.count("tools/call"), rounds + 1);
    assert_eq!(asker.questions.borrow().len(), rounds);
}

#[test]
fn questions_that_are_none_are_no_mcp() {
    for (requests, is_good) in [
        (json!([1]), false),
        (json!("x"), false),
        (json!({ "a": 1 }), false),
        (json!({ "a": null }), false),
        (json!(null), true),
        (json!({}), true),
        (json!({ "a": { "params": 1 } }), true),
    ] {
        let copy = requests.clone();
        let stage = answering(move |seen| match seen.body["params"].get("requestState") {
            None => input_required(seen, requests.clone(), json!("s")),
            Some(_) => Plan::result(seen, json!({})),
        });
        let asker = keen();
        let asking = stage.asking(&stage.link(), call(), &asker);
        let outcome = stage.finish(&asking);
        assert_eq!(outcome.is_ok(), is_good, "{copy}");
        if !is_good {
            assert_eq!(told(outcome), "github answered with what is no MCP");
            assert!(asker.questions.borrow().is_empty(), "{copy}");
        }
    }
}

#[test]
fn a_refusal_of_the_client_ends_the_request() {
    let stage = answering(|seen| input_required(seen, json!({ "a": elicit("A") }), json!("s")));
    let asker = Asker::answering(|_| {
        ready(Err(ErrorObject { code: -32042, message: "no".to_owned(), data: None }))
    });
    let asking = stage.asking(&stage.link(), call(), &asker);
    assert_eq!(own(stage.finish(&asking)).code, -32042);
}

#[test]
fn others_have_their_turn_while_the_client_is_asked() {
    let stage = answering(|seen| input_required(seen, json!({ "a": elicit("A") }), json!("s")));
    let link = stage.link_of(Bounds { concurrency: 1, ..Bounds::default() }, None);
    let all: Vec<_> = (0..3).map(|_| stage.asking(&link, call(), &Rc::default())).collect();
    assert_eq!(stage.count("tools/call"), 3);
    assert!(all.iter().all(|one| !one.is_over()));
}

#[test]
fn a_revision_that_is_refused_is_looked_for_again_once() {
    for (refusals, is_good) in [(1, true), (2, false)] {
        let left = Rc::new(Cell::new(refusals));
        let stage = answering(move |seen| match left.get() {
            0 => Plan::result(seen, json!({})),
            n => {
                left.set(n - 1);
                Plan::json(400, &error(seen, -32022, "unsupported"))
            }
        });
        let outcome = stage.ask(&stage.link(), call());
        assert_eq!((stage.count("server/discover"), stage.count("tools/call")), (2, 2));
        assert_eq!(outcome.is_ok(), is_good);
        if !is_good {
            assert_eq!(own(outcome).code, -32022);
        }
    }
}
