//! The same at the same time: a code is redeemed once, nobody is stranded by a refresh; and strangers
//! leave nothing behind. What a
//! user ends bites at once. It must not know the store.

use super::{RING, files};
use crate::honest::{Browser, KEYS, ORIGIN, REDIRECT, Tokens, World, form, get, hidden, message};
use crate::probes::wire::{Answer, Ask};
use serde_json::json;
use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Barrier},
    thread,
};

/// Rounds of each race, and how many run it.
const ROUNDS: usize = 20;
const RUNNERS: usize = 8;

fn served() -> (World, tempfile::TempDir) {
    let state = tempfile::tempdir().unwrap();
    let log = state.path().join("log");
    (World::start(state.path(), RING, &log, 0), state)
}

/// Sends the same from many threads at the same time.
fn at_once(host: &str, ask: &Ask) -> Vec<Answer> {
    let barrier = Arc::new(Barrier::new(RUNNERS));
    let run = |_| {
        let (barrier, ask, host) = (Arc::clone(&barrier), ask.clone(), host.to_owned());
        thread::spawn(move || {
            barrier.wait();
            ask.send(&host)
        })
    };
    let runners: Vec<_> = (0..RUNNERS).map(run).collect();
    runners.into_iter().map(|runner| runner.join().unwrap()).collect()
}

#[test]
fn a_code_is_redeemed_once_whoever_else_tries() {
    let (world, _state) = served();
    let mut alice = Browser::signed_in(&world, "alice");
    let client = world.client("a client", &[REDIRECT], "none");
    for round in 0..ROUNDS {
        let code = alice.code(&world, &client, "/mcp/acme");
        let answers = at_once(&world.host, &client.redeems(&code, &[]));
        let (won, lost): (Vec<_>, Vec<_>) =
            answers.iter().partition(|answer| answer.status == Some(200));
        assert_eq!(won.len(), 1, "round {round}: {answers:?}");
        for answer in lost {
            let said = (answer.status, answer.json()["error"].clone());
            assert_eq!(said, (Some(400), json!("invalid_grant")), "round {round}");
        }
        // One of them was a thief, and nobody knows which.
        let tokens = Tokens::read(&world, won[0]);
        assert_eq!(world.lists("/mcp/acme", &tokens.access), Some(401), "round {round}");
        let refused = world.send(&client.refreshes(&tokens.refresh, &[]));
        assert_eq!(refused.status, Some(400), "round {round}: {refused:?}");
    }
}

#[test]
fn nobody_is_stranded_who_refreshes_at_the_same_time() {
    let (world, _state) = served();
    let mut alice = Browser::signed_in(&world, "alice");
    let client = world.client("a client", &[REDIRECT], "none");
    let mut tokens = alice.grants(&world, &client, "/mcp/acme");
    for round in 0..ROUNDS {
        let answers = at_once(&world.host, &client.refreshes(&tokens.refresh, &[]));
        let bodies: BTreeSet<&str> = answers.iter().map(|answer| answer.body.as_str()).collect();
        assert_eq!(bodies.len(), 1, "round {round}: {answers:?}");
        let next = Tokens::read(&world, &answers[0]);
        assert_ne!(next.refresh, tokens.refresh);
        assert_eq!(world.lists("/mcp/acme", &next.access), Some(200), "round {round}");
        tokens = next;
    }
}

/// What somebody sends who has nothing.
fn by_a_stranger(number: usize) -> Vec<Ask> {
    let user = ["YWxpY2U", "Ym9i", "bWFsbG9yeQ"][number % 3];
    let token = format!("{user}:{number:016}:{number:032}");
    let cookie = format!("__Host-signalbox=k1.{number:064}");
    let redirect = format!("{ORIGIN}/authorize");
    let fields = [("client_id", token.as_str()), ("redirect_uri", &redirect), ("token", &token)];
    let code = [("grant_type", "authorization_code"), ("code", &token), ("client_id", "nobody")];
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", &token), ("client_id", "x")];
    let with_cookie = |ask: Ask| ask.with("Cookie", &cookie);
    vec![
        message("/mcp", &token, "tools/list", json!({})),
        message(&format!("/mcp/org{number}"), &format!("sbx_k1.{number:080}"), "ping", json!({})),
        message("/mcp", &format!("e30.e30.{number}"), "tools/list", json!({})),
        message("/mcp/acme/web", &format!("guess-{number}"), "initialize", json!({})),
        get(&format!("/authorize?client_id={number}&response_type=code")),
        with_cookie(get(&format!("/authorize?client_id=https://evil.test/{number}"))),
        with_cookie(get("/account")),
        with_cookie(get(&format!("/connect/callback?state={number}&code=x"))),
        get(&format!("/login/callback/hub?state={number:043}&code=x")),
        get(&format!("/login/hub?then=/{number}")),
        get(&format!("/.well-known/oauth-protected-resource/mcp/org{number}")),
        form("/login", &[("name", "mallory")]).with("Origin", "https://evil.test"),
        form("/authorize", &fields).with("Origin", ORIGIN),
        form("/account", &fields).with("Origin", ORIGIN),
        form("/oauth/token", &code),
        form("/oauth/token", &refresh),
        form("/oauth/token", &fields),
    ]
}

#[test]
fn strangers_leave_nothing_behind() {
    let (world, state) = served();
    let asks: Vec<Ask> = (0..30).flat_map(by_a_stranger).collect();
    assert!(asks.len() >= 500);
    for ask in &asks {
        let status = world.send(ask).status;
        let is_refused = matches!(status, Some(303 | 400..500)) || status == Some(200);
        assert!(is_refused, "{status:?}: {ask:?}");
    }
    let World { server, .. } = world;
    server.kill();
    // Each class has a file of the platform's own, too.
    let is_own = |file: &PathBuf| file.file_stem().is_some_and(|name| name != "metadata");
    let all: Vec<_> = files(state.path()).into_iter().filter(is_own).collect();
    let is_of = |class: &str| {
        let class = format!("signalbox-{class}");
        all.iter().filter(|file| file.iter().any(|part| part == class.as_str())).count()
    };
    assert_eq!((is_of("McpRouter"), is_of("Agent")), (0, 0), "{all:?}");
    // The shards are as many as they are; none has a row, nor a table to have one in.
    let shards = all.iter().filter(|file| file.extension().is_some_and(|kind| kind == "sqlite"));
    let tables = |file: &PathBuf| -> i64 {
        let database = rusqlite::Connection::open(file).unwrap();
        let count = "SELECT count(*) FROM sqlite_master WHERE name IN ('kv', 'spent')";
        database.query_row(count, [], |row| row.get(0)).unwrap()
    };
    let shards: Vec<_> = shards.map(tables).collect();
    assert!(shards.len() <= 16 && shards.iter().all(|tables| *tables == 0), "{all:?}");
    // A user makes both.
    let world = World::start(state.path(), RING, &state.path().join("log"), 0);
    let key = KEYS.split(['=', ',']).nth(1).unwrap();
    assert_eq!(world.lists("/mcp/acme", key), Some(200));
    let made = files(&state.path().join("signalbox-McpRouter"));
    assert!(made.iter().any(is_own), "{made:?}");
}

#[test]
fn what_a_client_gives_back_is_refused_at_the_next_request() {
    let (world, _state) = served();
    let mut alice = Browser::signed_in(&world, "alice");
    let client = world.client("a client", &[REDIRECT], "none");
    for is_refresh in [false, true] {
        let tokens = alice.grants(&world, &client, "/mcp/acme");
        // Known from now on, for some seconds.
        assert_eq!(world.lists("/mcp/acme", &tokens.access), Some(200));
        let token = if is_refresh { &tokens.refresh } else { &tokens.access };
        let revoked = world.send(&client.revokes(token));
        assert_eq!(revoked.status, Some(200), "{revoked:?}");
        assert_eq!(world.lists("/mcp/acme", &tokens.access), Some(401));
    }
}

#[test]
fn what_a_user_ends_is_refused_at_the_next_request() {
    let (world, _state) = served();
    let mut alice = Browser::signed_in(&world, "alice");
    let client = world.client("a client", &[REDIRECT], "none");
    let tokens = alice.grants(&world, &client, "/mcp/acme");
    // Known from now on, for some seconds.
    assert_eq!(world.lists("/mcp/acme", &tokens.access), Some(200));
    let grant = hidden(&alice.page(&world, "/account"), "grant");
    let ended = alice.account(&world, &[("action", "end"), ("grant", &grant)]);
    assert_eq!(ended.status, Some(303), "{ended:?}");
    assert_eq!(world.lists("/mcp/acme", &tokens.access), Some(401));
}
