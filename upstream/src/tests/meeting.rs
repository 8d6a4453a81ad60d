//! How an upstream is met: which era it is of, and once for all who want to know. They must not
//! know what is asked of it then.

use super::world::{Plan, Seen, Stage, call, error, handshake, modern, read, reply, told, value};
use crate::{Ask, Failure, Met};
use serde_json::{Value, json};
use shared::{
    Error, Kind, Millis,
    config::{Bounds, Era},
};
use std::{cell::Cell, rc::Rc};

fn answers(_: &Stage, seen: &Seen) -> Plan {
    Plan::result(seen, json!({ "content": [] }))
}

fn met(stage: &Stage) -> Met {
    stage.kept.borrow().clone().expect("it was met")
}

#[test]
fn a_modern_server_is_known_by_its_discovery() {
    let stage = Stage::with(|stage, seen| modern(stage, seen, answers));
    let link = stage.link();
    value(stage.ask(&link, call()));
    assert_eq!(stage.methods(), ["server/discover", "tools/call"]);
    let met = met(&stage);
    assert_eq!((met.era, met.revision.as_str(), &met.session), (Era::Modern, "2026-07-28", &None));
    assert!(met.can(&["tools"]) && !met.can(&["prompts"]));
    let seen = &stage.seen()[0];
    assert_eq!(seen.header("mcp-method"), Some("server/discover"));
    assert_eq!(seen.header("mcp-protocol-version"), Some("2026-07-28"));
    let meta = &seen.body["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "signalbox");
    assert_eq!(
        meta["io.modelcontextprotocol/clientCapabilities"]["extensions"],
        json!({ "x": {} })
    );
}

#[test]
fn a_handshake_server_is_known_by_any_answer_that_is_no_discovery() {
    type Answer = fn(&Seen) -> Plan;
    let answers_of: [(&str, Answer); 11] = [
        ("400", |_| Plan::status(400)),
        ("400 with an error", |seen| Plan::json(400, &error(seen, -32600, "no session"))),
        ("404", |_| Plan::status(404)),
        ("405", |_| Plan::status(405)),
        ("406", |_| Plan::status(406)),
        ("500", |_| Plan::status(500)),
        ("unknown method", |seen| Plan::json(200, &error(seen, -32601, "unknown"))),
        ("garbage", |_| Plan::of(200, "application/json", "{\"a\":")),
        ("HTML", |_| Plan::of(200, "text/html", "<html>")),
        ("nothing", |_| Plan::status(202)),
        ("other versions", |seen| {
            Plan::result(seen, json!({ "supportedVersions": ["2099-01-01"], "capabilities": {} }))
        }),
    ];
    for (name, answer) in answers_of {
        let stage = Stage::with(move |stage, seen| match seen.rpc() {
            "server/discover" => answer(seen),
            _ => handshake(stage, seen, answers),
        });
        value(stage.ask(&stage.link(), call()));
        let expected = ["server/discover", "initialize", "notifications/initialized", "tools/call"];
        assert_eq!(stage.methods(), expected, "{name}");
        assert_eq!(met(&stage).era, Era::Handshake, "{name}");
    }
}

#[test]
fn a_server_that_does_not_say_is_of_no_era() {
    for (status, text) in [
        (401, "github refuses the credential that it was given (401)"),
        (403, "github refuses the credential that it was given (403)"),
        (429, "github failed with HTTP status 429"),
        (503, "github failed with HTTP status 503"),
        (302, "github has moved to another address, which is not followed"),
    ] {
        let stage = Stage::new(move |_| Plan::status(status));
        assert_eq!(told(stage.ask(&stage.link(), read())), text);
        assert_eq!(stage.count("initialize"), 0, "{status}");
        assert_eq!(*stage.kept.borrow(), None);
    }
    for (plan, expected) in [((|| Plan::Refuse) as Answer, 3), (|| Plan::Never, 1)] {
        let stage = Stage::new(move |_| plan());
        assert!(stage.ask(&stage.link(), read()).is_err());
        assert_eq!(stage.methods(), vec!["server/discover"; expected]);
    }
}

/// An answer to whatever is asked.
type Answer = fn() -> Plan;

/// When it was tried to meet a server that answers so for so many times, and what came of it.
fn tries(method: &'static str, fails: usize, answer: Answer) -> (Vec<u64>, Result<(), Failure>) {
    let stage = Stage::with(move |stage, seen| match seen.rpc() {
        rpc if rpc == method && stage.count(method) <= fails => answer(),
        _ => handshake(stage, seen, answers),
    });
    let link = stage.link();
    let outcome = stage.run(async move { link.meet().await.map(|_| ()) });
    (stage.seen_of(method).iter().map(|seen| seen.at).collect(), outcome)
}

#[test]
fn a_meeting_that_failed_in_passing_is_tried_again_like_a_call() {
    let passing: [(&str, Answer, [u64; 3]); 6] = [
        ("refused", || Plan::Refuse, [0, 200, 600]),
        ("502", || Plan::status(502), [0, 200, 600]),
        ("503", || Plan::status(503), [0, 200, 600]),
        ("504", || Plan::status(504), [0, 200, 600]),
        ("429", || Plan::status(429).with("retry-after", "2"), [0, 2_000, 4_000]),
        ("ended", || Plan::of(200, "text/event-stream", ""), [0, 200, 600]),
    ];
    for method in ["server/discover", "initialize", "notifications/initialized"] {
        for (name, answer, times) in passing {
            // To a discovery it is the answer of the other era, and a note needs none.
            if name == "ended" && method != "initialize" {
                continue;
            }
            for fails in [1, 2] {
                let (seen, outcome) = tries(method, fails, answer);
                assert_eq!((&seen[..], outcome), (&times[..=fails], Ok(())), "{method}, {name}");
            }
            let (seen, outcome) = tries(method, 9, answer);
            assert_eq!((&seen[..], outcome.is_err()), (&times[..], true), "{method}, {name}");
        }
    }
    let lasting: [Answer; 4] = [
        || Plan::status(401),
        || Plan::status(302),
        || Plan::status(429).with("retry-after", "60"),
        || Plan::Never,
    ];
    for answer in lasting {
        assert_eq!(tries("initialize", 9, answer).0, [0]);
    }
}

#[test]
fn an_era_that_is_configured_is_not_looked_for() {
    let stage = Stage::with(|stage, seen| handshake(stage, seen, answers));
    let link = stage.link_of(Bounds::default(), Some(Era::Handshake));
    value(stage.ask(&link, call()));
    assert_eq!(stage.methods()[0], "initialize");
    let stage = Stage::with(|stage, seen| handshake(stage, seen, answers));
    let link = stage.link_of(Bounds::default(), Some(Era::Modern));
    assert_eq!(told(stage.ask(&link, call())), "github answered with what is no MCP");
    assert_eq!(stage.methods(), ["server/discover"]);
}

#[test]
fn a_session_is_begun_with_what_the_client_can_do_and_in_a_revision_that_is_known() {
    for (revision, is_known) in [
        ("2024-11-05", true),
        ("2025-03-26", true),
        ("2025-06-18", true),
        ("2025-11-25", true),
        ("2026-07-28", false),
        ("1999-01-01", false),
    ] {
        let stage = Stage::with(move |stage, seen| match seen.rpc() {
            "initialize" => Plan::result(seen, json!({ "protocolVersion": revision })),
            _ => handshake(stage, seen, answers),
        });
        let outcome = stage.ask(&stage.link(), call());
        assert_eq!(outcome.is_ok(), is_known, "{revision}: {outcome:?}");
        let params = &stage.seen_of("initialize")[0].body["params"];
        assert_eq!(params["protocolVersion"], "2025-11-25");
        assert_eq!(params["capabilities"], json!({ "elicitation": {} }), "and no extensions");
        if is_known {
            let seen = &stage.seen_of("tools/call")[0];
            assert_eq!(seen.header("mcp-protocol-version"), Some(revision));
            assert_eq!(seen.header("mcp-session-id"), None);
        }
    }
}

#[test]
fn an_upstream_that_refuses_to_begin_says_why_itself() {
    for status in [200, 400] {
        let stage = Stage::with(move |stage, seen| match seen.rpc() {
            "initialize" => Plan::json(status, &error(seen, -32602, "go away")),
            _ => handshake(stage, seen, answers),
        });
        match stage.ask(&stage.link(), call()) {
            Err(Failure::Error(error)) => assert_eq!(error.message, "go away"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn capabilities_that_are_too_long_are_none() {
    let stage = Stage::with(|stage, seen| match seen.rpc() {
        "initialize" => {
            let capabilities = json!({ "tools": { "x": "y".repeat(70_000) } });
            let result = json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities });
            Plan::result(seen, result)
        }
        _ => handshake(stage, seen, answers),
    });
    value(stage.ask(&stage.link(), call()));
    assert!(met(&stage).capabilities.is_empty());
}

#[test]
fn what_can_be_done_is_what_is_neither_missing_nor_false() {
    let mut met = Met {
        era: Era::Modern,
        revision: String::new(),
        session: None,
        capabilities: Default::default(),
        level: None,
        mute_since: None,
        since: Millis(0),
    };
    let can = json!({ "a": {}, "b": { "c": true, "d": false, "e": null, "f": 1 }, "g": "x" });
    met.capabilities = can.as_object().unwrap().clone();
    for path in [&["a"][..], &["b"], &["b", "c"], &["b", "f"], &["g"]] {
        assert!(met.can(path), "{path:?}");
    }
    for path in [&[][..], &["x"], &["b", "d"], &["b", "e"], &["b", "x"], &["a", "b", "c"]] {
        assert!(!met.can(path), "{path:?}");
    }
}

#[test]
fn everybody_waits_for_the_same_meeting() {
    let stage = Stage::with(|stage, seen| match seen.rpc() {
        "initialize" => handshake(stage, seen, answers).later(100),
        _ => handshake(stage, seen, answers),
    });
    let link = stage.link();
    let all: Vec<_> = (0..4).map(|_| stage.asking(&link, call(), &Rc::default())).collect();
    all.iter().for_each(|one| assert!(stage.finish(one).is_ok()));
    assert_eq!((stage.count("initialize"), stage.count("tools/call")), (1, 4));
}

#[test]
fn a_meeting_goes_on_when_the_first_who_asked_goes_away() {
    let stage = Stage::with(|stage, seen| match seen.rpc() {
        "initialize" => handshake(stage, seen, answers).later(100),
        _ => handshake(stage, seen, answers),
    });
    let link = stage.link();
    let first = stage.asking(&link, call(), &Rc::default());
    let second = stage.asking(&link, call(), &Rc::default());
    stage.pass(50);
    first.stop();
    assert!(stage.finish(&second).is_ok());
    assert_eq!(stage.now(), 100, "nothing was begun again");
    assert_eq!((stage.count("initialize"), stage.count("tools/call")), (1, 1));
}

#[test]
fn a_meeting_that_everybody_gave_up_is_begun_again() {
    let is_silent = Rc::new(Cell::new(true));
    let silent = Rc::clone(&is_silent);
    let stage = Stage::with(move |stage, seen| match silent.get() {
        true => Plan::Never,
        false => handshake(stage, seen, answers),
    });
    let link = stage.link();
    let first = stage.asking(&link, call(), &Rc::default());
    first.stop();
    // Its time is over long before anybody comes again.
    stage.pass(60_000);
    is_silent.set(false);
    assert!(stage.ask(&link, call()).is_ok());
    assert_eq!(stage.count("server/discover"), 2);
}

#[test]
fn a_meeting_that_fails_fails_once_for_however_many_waited() {
    let stage = Stage::new(|_| Plan::status(503).later(100));
    let bounds = Bounds { concurrency: 16, ..Bounds::default() };
    let link = stage.link_of(bounds, None);
    let all: Vec<_> = (0..10)
        .map(|_| {
            let link = Rc::clone(&link);
            async move { link.meet().await }
        })
        .collect();
    let all = stage.run(futures_util::future::join_all(all));
    assert!(all.iter().all(Result::is_err));
    assert_eq!(stage.seen().len(), 3);
    stage.serve(|seen| Plan::json(200, &reply(seen, Value::Null)));
    let again = Rc::clone(&link);
    let text = match stage.run(async move { again.meet().await }) {
        Err(Failure::Below(error)) => error.public,
        other => panic!("{other:?}"),
    };
    assert!(!text.contains("left alone"), "{text}");
    assert!(stage.seen().len() > 1, "it is asked again");
}

#[test]
fn what_cannot_be_asked_is_told_as_such_and_nobody_is_asked() {
    let stage = Stage::new(|_| Plan::Refuse);
    let lack = Error::new(Kind::Unauthenticated, "github needs your credential");
    let link = stage.link_to(stage.guard(Bounds::default()), Err(lack.clone()));
    for _ in 0..10 {
        let link = Rc::clone(&link);
        let meeting = stage.run(async move { link.meet().await.map(|_| ()) });
        assert_eq!(meeting, Err(Failure::Below(lack.clone())));
    }
    assert_eq!(told(stage.ask(&link, Ask::default())), lack.public);
    assert_eq!(stage.seen().len(), 0);
}
