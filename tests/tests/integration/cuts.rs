//! A thousand streams that are cut at random points, by clients that go and by a server that is
//! killed: what every client has in the end is held against what the server kept, event by event.

use rusqlite::Connection;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
use tests::{Bundle, Events, Server, Session};

const USERS: u64 = 8;
const THREADS: u64 = 16;
const STREAMS: u64 = 1_000;
const KILLS: u64 = 6;

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Where the server is, and how far the clients are: whoever waits for either is told.
#[derive(Default)]
struct Scene {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default, Clone)]
struct State {
    origin: String,
    /// How often the server was started.
    starts: u64,
    /// How many streams were begun.
    begun: u64,
}

impl Scene {
    fn now(&self) -> State {
        self.state.lock().expect("the scene").clone()
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> State {
        let mut state = self.state.lock().expect("the scene");
        change(&mut state);
        self.changed.notify_all();
        state.clone()
    }

    fn wait(&self, until: impl Fn(&State) -> bool) {
        let state = self.state.lock().expect("the scene");
        drop(self.changed.wait_while(state, |state| !until(state)).expect("the scene"));
    }
}

/// What all clients did.
#[derive(Default)]
struct Counts {
    cuts: AtomicU64,
    interrupted: AtomicU64,
    events: AtomicU64,
}

/// What one client has of one stream.
#[derive(Default)]
struct Had {
    ids: Vec<String>,
    words: Vec<String>,
}

impl Had {
    /// Reads so many messages at the most. True once the reply is there.
    fn read(&mut self, events: &mut Events, most: u64, last: &mut Option<String>) -> bool {
        let mut left = most;
        while left > 0 {
            let Some(event) = events.next() else { return false };
            if event.id.is_some() {
                last.clone_from(&event.id);
            }
            if event.data.is_empty() {
                continue;
            }
            left -= 1;
            let message = event.json();
            self.ids.push(event.id.expect("an id"));
            let progress = message["params"]["progress"].as_f64();
            let word = match (progress, message["error"].is_object()) {
                (Some(progress), _) => progress.to_string(),
                (None, true) => "interrupted".to_owned(),
                (None, false) => "reply".to_owned(),
            };
            self.words.push(word);
            if progress.is_none() {
                return true;
            }
        }
        false
    }
}

/// One stream, cut wherever chance will have it, until its reply is there. `None` where the client
/// never learned that it began.
fn one(
    session: &Session,
    scene: &Scene,
    random: &mut Random,
    id: u64,
    counts: &Counts,
) -> Option<Had> {
    let at_server = |state: &State| session.at(&format!("{}/mcp/acme", state.origin));
    let call = json!({ "name": "test_tool_with_progress", "_meta": { "progressToken": id } });
    let (mut had, mut last) = (Had::default(), None);
    let state = scene.now();
    let Some(mut events) = at_server(&state).try_stream(id, "tools/call", &call) else {
        scene.wait(|now| now.starts > state.starts);
        return None;
    };
    let mut done = had.read(&mut events, random.below(5), &mut last);
    drop(events);
    let mut at = last?;
    while !done {
        counts.cuts.fetch_add(1, Ordering::Relaxed);
        let state = scene.now();
        let Some(mut events) = at_server(&state).try_listen(&at) else {
            // The server is away.
            scene.wait(|now| now.starts > state.starts);
            continue;
        };
        let mut last = None;
        done = had.read(&mut events, random.below(5), &mut last);
        at = last.unwrap_or(at);
    }
    Some(had)
}

/// The numbers of the events that the routers kept, by stream, for each user's database.
fn kept(state: &Path) -> Vec<BTreeMap<i64, BTreeSet<String>>> {
    let mut folders = vec![state.to_owned()];
    let mut all = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = path.to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if text.contains("McpRouter/") && text.ends_with(".sqlite") {
                let database = Connection::open(&path).unwrap();
                let Ok(mut rows) = database.prepare("SELECT stream, number FROM events") else {
                    continue;
                };
                let mut streams: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
                let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
                for row in rows.query_map([], read).unwrap() {
                    let (stream, number): (i64, i64) = row.unwrap();
                    streams.entry(stream).or_default().insert(format!("{stream}-{number}"));
                }
                all.push(streams);
            }
        }
    }
    all
}

/// What must hold of one stream by itself: in order, each once, and the reply last.
fn check(had: &Had) {
    let whole = ["0", "50", "100", "reply"].map(str::to_owned);
    let (end, before) = had.words.split_last().expect("a reply");
    match end.as_str() {
        "reply" => assert_eq!(had.words, whole),
        // Killed in the middle: what came before the cut is there, in order, and it says so.
        "interrupted" => assert_eq!(before, &whole[..before.len()], "{:?}", had.words),
        other => panic!("{other}"),
    }
    let distinct: BTreeSet<_> = had.ids.iter().collect();
    assert_eq!(distinct.len(), had.ids.len(), "an event twice: {:?}", had.ids);
}

#[test]
fn a_thousand_cut_streams_lose_nothing_and_repeat_nothing() {
    let state = tempfile::tempdir().unwrap();
    let keys: Vec<String> = (0..USERS).map(|n| format!("user{n}=key-{n}")).collect();
    let keys = keys.join(",");
    let start = || Server::start(Bundle::Fixture, state.path(), &keys, None);
    let server = start();
    let sessions: Vec<Session> =
        (0..USERS).map(|n| Session::begin(&server.url("/mcp/acme"), &format!("key-{n}"))).collect();
    let (scene, counts) = (Scene::default(), Counts::default());
    scene.change(|state| state.origin.clone_from(&server.origin));
    let work = |n: u64| {
        let (session, mut random) = (&sessions[(n % USERS) as usize], Random(n));
        let mut all = Vec::new();
        let mut id = n * 1_000_000;
        while scene.change(|state| state.begun += 1).begun <= STREAMS {
            let had = loop {
                id += 1;
                if let Some(had) = one(session, &scene, &mut random, id, &counts) {
                    break had;
                }
            };
            check(&had);
            counts.events.fetch_add(had.ids.len() as u64, Ordering::Relaxed);
            let end = had.words.last().map(String::as_str);
            counts.interrupted.fetch_add(u64::from(end == Some("interrupted")), Ordering::Relaxed);
            all.push((n % USERS, had.ids));
        }
        all
    };
    let had: Vec<(u64, Vec<String>)> = thread::scope(|scope| {
        let clients: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || work(n))).collect();
        let killer = scope.spawn(|| {
            let mut server = server;
            for kill in 1..=KILLS {
                // Spread over the whole run, by how much of it is done.
                scene.wait(|state| state.begun >= STREAMS * kill / (KILLS + 1));
                server.kill();
                server = start();
                scene.change(|state| {
                    state.origin.clone_from(&server.origin);
                    state.starts += 1;
                });
            }
            server
        });
        let had = clients.into_iter().flat_map(|client| client.join().expect("a client")).collect();
        killer.join().expect("the killer").kill();
        had
    });
    compare(&had, &kept(state.path()));
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "{} streams, {} cuts, {KILLS} kills: {} events, {} calls interrupted, 0 lost, 0 twice",
        had.len(),
        count(&counts.cuts),
        count(&counts.events),
        count(&counts.interrupted)
    );
    assert!(had.len() as u64 >= STREAMS && count(&counts.cuts) > STREAMS / 2);
}

/// Every event that was kept of a stream has reached its client, and no other has.
fn compare(had: &[(u64, Vec<String>)], kept: &[BTreeMap<i64, BTreeSet<String>>]) {
    for (user, ids) in had {
        let ids: BTreeSet<String> = ids.iter().cloned().collect();
        let stream = ids.first().and_then(|id| id.split('-').next()).expect("a stream");
        let stream: i64 = stream.parse().expect("a number");
        let found = kept.iter().any(|streams| streams.get(&stream) == Some(&ids));
        assert!(found, "user {user}: {ids:?} is not what was kept of stream {stream}");
    }
}
