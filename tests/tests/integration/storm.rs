//! A thousand calls of one user are on their way at the moment when the credential expires that all of
//! them need: one refresh, and every call is answered. The authorization server here rotates refresh
//! tokens and counts; a second use of one would be a theft to it.
//!
//! A context lets 64 calls at once through to a server and 64 wait, so the calls come in eight contexts,
//! 125 in each: as many as the bounds allow to be in flight without one being refused.

use crate::{
    attacks::RING,
    honest::{Browser, ORIGIN, World, form, hidden, message, parameter},
};
use serde_json::json;
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};
use tests::scripted::{Era, Scripted};

/// Calls in flight, in so many contexts.
const CALLS: usize = 1_000;
const CONTEXTS: usize = 8;

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What an authorization server has seen.
#[derive(Debug, Default)]
struct Granted {
    /// Grants of each kind that were used.
    codes: usize,
    refreshes: usize,
    /// Refresh tokens that came twice.
    thefts: usize,
    /// How long the tokens of the next code are good, in seconds.
    lifetime: u64,
    /// Whether a refresh is answered only once this is over, and how many wait for that.
    is_held: bool,
    holding: usize,
}

/// An authorization server whose refresh tokens are good once. It runs as long as this process does.
#[derive(Debug, Clone)]
struct Granting {
    state: Arc<(Mutex<Granted>, Condvar)>,
    origin: String,
}

impl Granting {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { state: Arc::default(), origin };
        let kept = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = kept.clone();
                thread::spawn(move || server.answer(stream));
            }
        });
        server
    }

    fn change<T>(&self, change: impl FnOnce(&mut Granted) -> T) -> T {
        let (state, changed) = &*self.state;
        let outcome = change(&mut state.lock().unwrap());
        changed.notify_all();
        outcome
    }

    /// Waits until it is as it should be.
    fn wait_until(&self, is_so: impl Fn(&Granted) -> bool) {
        let (state, changed) = &*self.state;
        let state = state.lock().unwrap();
        let (state, waited) =
            changed.wait_timeout_while(state, PATIENCE, |state| !is_so(state)).unwrap();
        assert!(!waited.timed_out(), "{state:?}");
    }

    fn answer(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            match line.trim_end().to_ascii_lowercase().split_once(": ") {
                Some(("content-length", value)) => length = value.parse().unwrap(),
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut form = vec![0; length];
        reader.read_exact(&mut form).unwrap();
        let form = format!("?{}", String::from_utf8(form).unwrap());
        let said = |name| parameter(&form, name).unwrap_or_default();
        let (status, body) = match said("grant_type").as_str() {
            "authorization_code" => (200, self.redeemed()),
            _ => self.refreshed(&said("refresh_token")),
        };
        let body = body.to_string();
        let head = format!("HTTP/1.1 {status} -\r\nconnection: close\r\n");
        let kind = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        // Whoever has gone does not hear it.
        let _ = reader.get_mut().write_all(format!("{head}{kind}\r\n{body}").as_bytes());
    }

    fn redeemed(&self) -> serde_json::Value {
        self.change(|state| {
            state.codes += 1;
            json!({ "token_type": "Bearer", "expires_in": state.lifetime,
                "access_token": format!("first-{}", state.codes),
                "refresh_token": format!("refresh-{}-0", state.codes) })
        })
    }

    fn refreshed(&self, token: &str) -> (u16, serde_json::Value) {
        self.change(|state| state.holding += 1);
        let (state, changed) = &*self.state;
        let state = state.lock().unwrap();
        let mut state = changed.wait_while(state, |state| state.is_held).unwrap();
        if token != format!("refresh-{}-{}", state.codes, state.refreshes) {
            state.thefts += 1;
            return (400, json!({ "error": "invalid_grant" }));
        }
        state.refreshes += 1;
        let next = format!("refresh-{}-{}", state.codes, state.refreshes);
        let access = format!("fresh-{}", state.refreshes);
        let body = json!({ "token_type": "Bearer", "expires_in": 3600, "access_token": access,
            "refresh_token": next });
        (200, body)
    }
}

/// A user connects the credential, in a browser.
fn connects(world: &World, browser: &Browser) {
    let token = hidden(&browser.page(world, "/connect/far"), "token");
    let ask = form("/connect/far", &[("token", &token)]).with("Origin", ORIGIN);
    let away = world.send(&browser.with(ask));
    let address = away.header("refresh").unwrap_or_else(|| panic!("{away:?}"));
    let state = parameter(address, "state").unwrap();
    browser.page(world, &format!("/connect/callback?code=x&state={state}"));
}

#[test]
fn a_thousand_calls_at_the_moment_of_expiry_cost_one_refresh() {
    let (far, granting) = (Scripted::start(Era::Modern), Granting::start());
    let (state, url) = (tempfile::tempdir().unwrap(), far.url("/mcp"));
    let toolset = json!({ "kind": "mcp", "name": "far", "url": url,
        "auth": { "credential": "far" }, "bounds": { "concurrency": 64 } });
    let credential = json!({ "name": "far", "resource": url, "client_id": "signalbox",
        "authorization_endpoint": format!("{}/authorize", granting.origin),
        "token_endpoint": format!("{}/token", granting.origin) });
    let settings = json!({ "toolsets": [toolset], "credentials": [credential] });
    let log = state.path().join("log");
    let bundle = tests::Bundle::Release.folder();
    let environment = [("KEYRING", RING), ("DEVELOPMENT", "1")];
    let world = World::start_with(&bundle, state.path(), &settings, &log, &environment);
    let alice = Browser::signed_in(&world, "alice");
    let key = alice.mints(&world, "/mcp", &[]);
    let call = |number: usize| {
        let echo = json!({ "name": "echo", "arguments": { "number": number } });
        message(&format!("/mcp/org{}", number % CONTEXTS), &key, "tools/call", echo)
    };
    // Every context has met the server, with a token that is good for long.
    granting.change(|state| state.lifetime = 3600);
    connects(&world, &alice);
    for number in 0..CONTEXTS {
        let answer = world.send(&call(number));
        assert_eq!(answer.status, Some(200), "{answer:?}");
    }
    // Connected once more, with one that is over as soon as it is there. Its refresh is held until all
    // the calls are sent, whoever asked for it first.
    far.forget_requests();
    granting.change(|state| (state.lifetime, state.is_held) = (0, true));
    connects(&world, &alice);
    let sent: Vec<_> = (0..CALLS).map(|number| call(number).begin(&world.host)).collect();
    granting.wait_until(|state| state.holding == 1);
    granting.change(|state| state.is_held = false);
    for (number, sent) in sent.into_iter().enumerate() {
        let answer = sent.whole();
        let text = format!("{{\\\"number\\\":{number}}}");
        let is_good = answer.status == Some(200) && answer.body.contains(&text);
        assert!(is_good, "{number}: {answer:?}");
    }
    granting.change(|state| {
        assert_eq!((state.codes, state.refreshes, state.thefts), (2, 1, 0), "{state:?}");
        assert_eq!(state.holding, 1, "the token endpoint was asked again");
    });
    let calls = far.all("tools/call");
    assert_eq!(calls.len(), CALLS);
    let fresh = Some("Bearer fresh-1");
    assert!(
        calls.iter().all(|call| call.header("authorization") == fresh),
        "an old token went out"
    );
}
