//! Whatever bytes a server may send: nothing panics, nothing hangs, and nothing depends on where
//! they are cut. They must not know what they say.

use super::world::{Piece, Plan, Seen, Stage, call, handshake, modern, read};
use crate::{
    clean,
    exchange::exchange,
    listen::Ear,
    wire::{self, Message},
    world::Request,
};
use proptest::{collection::vec, option, prelude::*};
use serde_json::json;
use shared::{config::Address, limits};
use std::rc::Rc;

/// Messages that a body says, as texts, and how it ended.
fn heard(kind: &'static str, pieces: Vec<Vec<u8>>) -> Vec<String> {
    let stage = Stage::with(move |stage, _| {
        let pieces = pieces.iter().cloned().map(Piece::Bytes).collect();
        Plan::stream(stage, kind, pieces)
    });
    let world = Rc::clone(&stage.world);
    stage.run(async move {
        let address = Address::parse("https://mcp.test/", false).unwrap();
        let request =
            Request { method: "GET", url: address.text(), headers: Vec::new(), body: None };
        let mut messages = exchange(&*world, &address, request, 1_000).await.unwrap().messages;
        let mut heard = Vec::new();
        loop {
            let next = messages.next().await;
            let is_end = !matches!(next, Ok(Some(_)));
            let event = (&messages.last_event, messages.retry_ms);
            heard.push(format!("{next:?} {event:?}"));
            if is_end {
                return heard;
            }
        }
    })
}

/// The same bytes, cut at these places.
fn cut(bytes: &[u8], places: &[usize]) -> Vec<Vec<u8>> {
    let mut places: Vec<usize> = places.iter().map(|place| place % (bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect()
}

/// Lines of which events are made, and what looks like them.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just(": é".to_owned()),
        Just("data".to_owned()),
        Just("data:".to_owned()),
        Just("event: message".to_owned()),
        Just("event: other".to_owned()),
        Just("retry: 100".to_owned()),
        Just("retry: x".to_owned()),
        Just("id".to_owned()),
        "id: ?[a-z0-9é]{0,3}",
        (0..9_u32).prop_map(|n| format!("data: {{\"id\":{n},\"result\":{{\"a\":\"é\"}}}}")),
        (0..9_u32).prop_map(|n| format!("data:{{\"method\":\"m{n}\"}}")),
        (0..9_u32).prop_map(|n| format!("data: {{\"id\":{n},\"method\":\"m\"}}")),
        "[a-z: ]{0,6}",
    ]
}

fn events() -> impl Strategy<Value = Vec<u8>> {
    let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\r"), Just("\n\n"), Just("\r\n\r\n")];
    vec((line(), end), 0..24).prop_map(|lines| {
        lines.into_iter().map(|(line, end)| format!("{line}{end}")).collect::<String>().into()
    })
}

/// Texts that are JSON, or were once.
fn message() -> impl Strategy<Value = String> {
    let member = prop_oneof![
        Just("null".to_owned()),
        Just("{}".to_owned()),
        Just("[]".to_owned()),
        Just("\"x\"".to_owned()),
        Just("{\"code\":-32601,\"message\":\"session\"}".to_owned()),
        Just("{\"code\":1.5}".to_owned()),
        Just("{\"resultType\":\"input_required\",\"inputRequests\":{\"a\":{}}}".to_owned()),
        Just("{\"protocolVersion\":\"2025-11-25\"}".to_owned()),
        Just("{\"supportedVersions\":[\"2026-07-28\"]}".to_owned()),
        any::<u64>().prop_map(|n| n.to_string()),
        Just("\"notifications/progress\"".to_owned()),
        Just("\"elicitation/create\"".to_owned()),
        Just("\"ID\"".to_owned()),
        ".{0,8}",
    ];
    let name = prop_oneof![
        Just("jsonrpc"),
        Just("id"),
        Just("method"),
        Just("params"),
        Just("result"),
        Just("error"),
        Just("x")
    ];
    let object = vec((name, member), 0..5).prop_map(|members| {
        let members: Vec<_> =
            members.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    });
    prop_oneof![
        4 => object.clone(),
        1 => vec(object, 0..3).prop_map(|all| format!("[{}]", all.join(","))),
        1 => ".{0,20}",
    ]
}

/// An answer of any kind.
#[derive(Debug, Clone)]
struct Any {
    status: u16,
    kind: &'static str,
    body: Vec<u8>,
    location: Option<String>,
    retry: Option<String>,
}

fn any_answer() -> impl Strategy<Value = Any> {
    let status = prop_oneof![
        6 => Just(200_u16),
        1 => Just(202),
        1 => prop_oneof![Just(307), Just(302), Just(400), Just(404), Just(429), Just(503)],
        1 => 200..600_u16,
    ];
    let kind = prop_oneof![
        3 => Just("application/json"),
        3 => Just("text/event-stream"),
        1 => Just("text/html"),
    ];
    let body = prop_oneof![
        vec(any::<u8>(), 0..64),
        events(),
        message().prop_map(String::into_bytes),
        vec(message(), 0..4).prop_map(|all| all
            .iter()
            .map(|m| format!("data: {m}\n\n"))
            .collect::<String>()
            .into()),
    ];
    let location = option::of(prop_oneof![".{0,12}", Just("/x".to_owned())]);
    let retry = option::of(prop_oneof!["[0-9]{0,3}", ".{0,5}"]);
    (status, kind, body, location, retry).prop_map(|(status, kind, body, location, retry)| Any {
        status,
        kind,
        body,
        location,
        retry,
    })
}

/// The answer as a plan; where it says `"ID"` it is of the request.
fn plan(stage: &Stage, seen: &Seen, answer: &Any) -> Plan {
    let body = match String::from_utf8(answer.body.clone()) {
        Ok(text) => text.replace("\"ID\"", &seen.body["id"].to_string()).into_bytes(),
        Err(error) => error.into_bytes(),
    };
    let plan = Plan::stream(stage, answer.kind, vec![Piece::Bytes(body)]);
    let Plan::Answer { mut headers, body, after, .. } = plan else { panic!() };
    headers.extend(answer.location.clone().map(|to| ("location".to_owned(), to)));
    headers.extend(answer.retry.clone().map(|wait| ("retry-after".to_owned(), wait)));
    Plan::Answer { status: answer.status, headers, body, after }
}

proptest! {
    // A failure names its input, in bounded time.
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_a_server_answers_every_request_ends(
        answers in vec(any_answer(), 1..6), era in 0..3_u8, may_repeat: bool
    ) {
        let stage = Stage::with(move |stage, seen| {
            let any = |stage: &Stage, seen: &Seen| {
                let index = stage.seen_count() % answers.len();
                plan(stage, seen, &answers[index])
            };
            match era {
                0 => handshake(stage, seen, any),
                1 => modern(stage, seen, any),
                _ => any(stage, seen),
            }
        });
        let link = stage.link();
        let asker = super::world::Asker::answering(|asked| {
            std::future::ready(Ok(asked.iter().map(|_| json!({})).collect()))
        });
        for _ in 0..3 {
            let ask = if may_repeat { read() } else { call() };
            let asking = stage.asking(&link, ask, &asker);
            let _ = stage.finish(&asking);
        }
        prop_assert!(stage.now() < 3 * 20 * 60_000, "{}", stage.now());
        // Who wants to be asked for the rest again and again is, for as long as a call may take.
        let most = stage.now() / limits::RETRY_MS_MIN * 2 + 400;
        prop_assert!((stage.seen_count() as u64) < most, "{}", stage.seen_count());
    }

    #[test]
    fn whatever_a_server_answers_it_is_not_listened_to_without_rest(
        answers in vec(any_answer(), 1..6), era in 0..3_u8
    ) {
        let stage = Stage::with(move |stage, seen| {
            let any = |stage: &Stage, seen: &Seen| {
                let index = stage.seen_count() % answers.len();
                plan(stage, seen, &answers[index])
            };
            match era {
                0 => handshake(stage, seen, any),
                1 => modern(stage, seen, any),
                _ => any(stage, seen),
            }
        });
        let ear = Rc::<Ear>::default();
        ear.want(true, ["a:1".to_owned()].into());
        stage.hear(&stage.link(), &ear);
        stage.pass(60_000);
        prop_assert!(stage.seen().len() < 400, "{}", stage.seen().len());
        ear.want(false, [].into());
        stage.pass(60_000);
        prop_assert!(!stage.is_waiting(), "it ends when nobody wants it");
    }

    #[test]
    fn wherever_a_stream_is_cut_it_says_the_same(
        bytes in events(), places in vec(any::<usize>(), 0..12)
    ) {
        let whole = heard("text/event-stream", vec![bytes.clone()]);
        let single = bytes.iter().map(|byte| vec![*byte]).collect();
        prop_assert_eq!(&heard("text/event-stream", cut(&bytes, &places)), &whole);
        prop_assert_eq!(&heard("text/event-stream", single), &whole);
    }

    #[test]
    fn wherever_a_body_is_cut_it_says_the_same(
        text in message(), places in vec(any::<usize>(), 0..12)
    ) {
        let whole = heard("application/json", vec![text.clone().into_bytes()]);
        prop_assert_eq!(heard("application/json", cut(text.as_bytes(), &places)), whole);
    }

    #[test]
    fn a_result_keeps_every_byte_of_whatever_it_holds(text in "\\PC{0,40}", n: f64, id: u64) {
        let inner = json!({ "a": [text, n, { "b": null }] }).to_string().replace(':', " :  ");
        let written = format!("{{\"id\":{id},\"result\":{{\"x\":{inner}}}}}");
        let Ok(messages) = wire::read(&written) else { panic!("{written}") };
        let [Message::Reply { of, outcome: Ok(fields) }] = &messages[..] else { panic!() };
        prop_assert_eq!(*of, wire::Of::Number(id));
        prop_assert_eq!(fields["x"].get(), inner);
    }

    #[test]
    fn a_clean_text_is_clean_and_bounded(text in any::<String>(), most in 0..40_usize) {
        let cleaned = clean::text(&text, most);
        prop_assert!(cleaned.chars().count() <= most);
        prop_assert_eq!(clean::text(&cleaned, most), cleaned);
    }

    #[test]
    fn a_clean_offer_is_clean(said in any::<String>(), depth in 0..200_usize) {
        let mut value = json!({ "description": said, "title": said });
        for _ in 0..depth {
            value = json!({ "properties": value, "title": { "title": "x".repeat(300) } });
        }
        let mut offer = value.as_object().unwrap().clone();
        clean::clean(&mut offer);
        let once = offer.clone();
        clean::clean(&mut offer);
        prop_assert_eq!(offer, once);
    }
}

#[test]
fn nothing_that_is_deep_is_too_deep() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for text in [
        deep.clone(),
        format!("{{\"id\":1,\"result\":{{\"a\":{deep}}}}}"),
        format!("{{\"method\":\"m\",\"params\":{{\"a\":{deep}}}}}"),
        format!("{{\"id\":1,\"error\":{{\"code\":1,\"data\":{deep}}}}}"),
    ] {
        if let Ok(messages) = wire::read(&text) {
            for message in messages {
                if let Message::Reply { outcome: Ok(fields), .. } = message {
                    assert_eq!(wire::field(&fields, "a"), None);
                }
            }
        }
    }
}
