//! Attacks on the authorization surface, one row for each: the exact status, and the error where it is
//! one of OAuth or JSON-RPC. A real client is registered and real users are signed in before them. After
//! each of them a user's token is as good as it was, and after all of them that user has what they had.
//!
//! - `tokens`: the token endpoint
//! - `bearers`: tokens and keys where they are shown
//! - `authorize`: registration, and the consent page
//! - `pages`: signing in and out, the account, documents
//! - `races`: the same at the same time, and what strangers leave behind

mod authorize;
mod bearers;
mod pages;
mod races;
mod tokens;

use crate::honest::{Browser, Client, KEYS, ORIGIN, REDIRECT, Tokens, World, message, parameter};
use crate::probes::wire::{Answer, Ask};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, mem,
    net::TcpListener,
    path::{Path, PathBuf},
};

/// What an attack must get.
#[derive(Debug, Clone)]
enum Is {
    /// A status, and an error of OAuth (RFC 6749, 5.2; RFC 7591, 3.2.2).
    OAuth(u16, &'static str),
    /// A status, and a challenge with this error; without one where it is empty (RFC 6750, 3).
    Challenge(u16, &'static str),
    /// A status, and an error of JSON-RPC.
    Rpc(u16, i64),
    /// A status and a page, which signs nobody in and sends nobody anywhere.
    Page(u16),
    /// Back to the client, at its own address, with this error, its state and our name (RFC 9207).
    Back(&'static str),
    /// On to an address of this site, letter by letter.
    Site(String),
    /// A status and nothing else.
    Empty(u16),
    /// A document that says this of itself.
    Names(&'static str, &'static str),
    /// What it would be without any attack.
    Good,
}

/// An attack: its name, what is sent, what must come back.
type Row = (&'static str, Ask, Is);

/// The deployment's keys, and those of another one that calls itself the same.
pub(crate) const RING: &str = "k1=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const OTHER_RING: &str = "k1=ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";

/// What another deployment gave to a user of the same name.
struct Elsewhere {
    client: Client,
    code: String,
    tokens: Tokens,
    key: String,
    cookie: String,
}

/// What is older than it could be in a test.
struct Aged {
    /// A code after its time.
    code: String,
    /// An access token that the store has forgotten, and one that it knows and whose time is over.
    gone: String,
    past: String,
    /// Tokens that were spent longer ago than a client may try again, and those that came of them.
    spent: Tokens,
    next: Tokens,
}

/// Who is there before the attacks.
struct Scene {
    world: World,
    ring: &'static str,
    alice: Browser,
    bob: Browser,
    /// Somebody whose grants end in these attacks.
    carol: Browser,
    /// A public client, another, one with a secret, and one with a star in its redirect.
    client: Client,
    stranger: Client,
    secretive: Client,
    wild: Client,
    /// What alice gave the client before all of it.
    kept: Tokens,
    /// Keys of alice: one, one that only reads; and the ids of both.
    key: String,
    reads: String,
    known: BTreeSet<String>,
    /// What bob has.
    bobs: [String; 2],
    elsewhere: Elsewhere,
    aged: Aged,
}

fn elsewhere(folder: &Path, port: u16) -> (Elsewhere, BTreeSet<String>) {
    let state = folder.join("elsewhere");
    fs::create_dir(&state).unwrap();
    let world = World::start(&state, OTHER_RING, &folder.join("elsewhere.log"), port);
    let mut alice = Browser::signed_in(&world, "alice");
    let client = world.client("a client", &[REDIRECT], "none");
    let elsewhere = Elsewhere {
        code: alice.code(&world, &client, "/mcp/acme"),
        tokens: alice.grants(&world, &client, "/mcp/acme"),
        key: alice.mints(&world, "/mcp/acme", &[]),
        cookie: alice.cookies["__Host-signalbox"].clone(),
        client,
    };
    (elsewhere, mem::take(&mut *world.secrets.lock().unwrap()))
}

/// As the store names tokens and codes.
fn hash(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Changes what the stores of a state folder hold; each statement changes one row in all of them.
fn change(state: &Path, statements: &[(&str, String)]) {
    let mut changed = vec![0; statements.len()];
    for file in files(&state.join("signalbox-OAuthStore")) {
        if file.extension().is_none_or(|kind| kind != "sqlite") {
            continue;
        }
        let database = rusqlite::Connection::open(&file).unwrap();
        for ((statement, value), changed) in statements.iter().zip(&mut changed) {
            // A shard that nobody has written to has no tables.
            *changed += database.execute(statement, [value]).unwrap_or(0);
        }
    }
    assert_eq!(changed, vec![1; statements.len()], "{statements:?}");
}

/// Makes what is too old: as if it had been made long ago, by changing what is stored in between.
fn aged(folder: &Path, log: &Path, port: u16) -> (World, Aged, Client) {
    let state = folder.join("state");
    let world = World::start(&state, RING, log, port);
    let client = world.client("a client", &[REDIRECT], "none");
    let mut carol = Browser::signed_in(&world, "carol");
    let mut grants = || carol.grants(&world, &client, "/mcp/acme");
    let (gone, past, spent) = (grants(), grants(), grants());
    let next = client.refreshed(&world, &spent);
    let code = carol.code(&world, &client, "/mcp/acme");
    let [user, grant, _] = code.split(':').collect::<Vec<_>>().try_into().unwrap();
    let expired = format!("grant:{user}:{grant}");
    let World { server, secrets, .. } = world;
    server.kill();
    change(
        &state,
        &[
            ("UPDATE kv SET e = 1 WHERE k LIKE 'token:%:' || ?", hash(&gone.access)),
            (
                "UPDATE kv SET e = NULL, v = json_set(v, '$.expiresAt', 1) WHERE k LIKE 'token:%:' || ?",
                hash(&past.access),
            ),
            ("UPDATE kv SET e = 1 WHERE k = ?", expired),
            ("UPDATE spent SET at = at - 31000 WHERE h = ?", hash(&spent.refresh)),
        ],
    );
    let world = World::start(&state, RING, log, port);
    world.secrets.lock().unwrap().extend(secrets.into_inner().unwrap());
    let aged = Aged { code, gone: gone.access, past: past.access, spent, next };
    (world, aged, client)
}

impl Scene {
    fn begin(folder: &Path, log: &Path) -> Self {
        fs::create_dir(folder.join("state")).unwrap();
        // The same address after a restart, and of another deployment before it.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let (elsewhere, foreign) = elsewhere(folder, port);
        let (world, aged, client) = aged(folder, log, port);
        world.secrets.lock().unwrap().extend(foreign);
        let [mut alice, mut bob, carol] =
            ["alice", "bob", "carol"].map(|name| Browser::signed_in(&world, name));
        let kept = alice.grants(&world, &client, "/mcp/acme");
        let key = alice.mints(&world, "/mcp/acme", &[]);
        let reads = alice.mints(&world, "/mcp/acme", &[("read_only", "on")]);
        let bobs =
            [bob.mints(&world, "/mcp/acme", &[]), bob.grants(&world, &client, "/mcp/acme").access];
        // Every context and credential has been used, and there is something to lose.
        for credential in [&key, &reads, &kept.access] {
            assert_eq!(world.lists("/mcp/acme", credential), Some(200));
            assert_eq!(world.lists("/mcp/acme/web", credential), Some(200));
        }
        let note = json!({ "name": "remember", "arguments": { "text": "kept through all of it" } });
        let noted = world.send(&message("/mcp/acme", &kept.access, "tools/call", note));
        assert_eq!(noted.status, Some(200), "{noted:?}");
        let page = alice.page(&world, "/account");
        let ids = page.split("name=\"key\" value=\"").skip(1);
        let known = ids.filter_map(|rest| rest.split('"').next()).map(ToOwned::to_owned).collect();
        let stranger = world.client("another client", &["https://evil.test/callback"], "none");
        let secretive = world.client("a secretive client", &[REDIRECT], "client_secret_post");
        let wild = world.client("a wild client", &["https://*.evil.test/callback"], "none");
        Self {
            world,
            ring: RING,
            alice,
            bob,
            carol,
            client,
            stranger,
            secretive,
            wild,
            kept,
            key,
            reads,
            known,
            bobs,
            elsewhere,
            aged,
        }
    }

    fn rows(&mut self) -> Vec<Row> {
        let mut rows = tokens::rows(self);
        rows.extend(bearers::rows(self));
        rows.extend(authorize::rows(self));
        rows.extend(pages::rows(self));
        let names: BTreeSet<_> = rows.iter().map(|(name, ..)| name).collect();
        assert_eq!(names.len(), rows.len(), "two attacks of one name");
        rows
    }
}

/// Every page says that nothing frames it, nothing keeps it, and no script runs in it.
fn unguarded(answer: &Answer) -> Option<String> {
    let policy = answer.header("content-security-policy").unwrap_or_default();
    let parts = ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"];
    let headers = [
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cache-control", "no-store"),
    ];
    let part = parts.iter().find(|part| !policy.contains(*part)).map(|part| (*part).to_owned());
    let header = headers.iter().find(|(name, value)| answer.header(name) != Some(value));
    let script = policy.contains("script-src").then(|| "scripts".to_owned());
    part.or(header.map(|(name, _)| (*name).to_owned())).or(script)
}

/// Whether an answer signs somebody in.
fn signs_in(answer: &Answer) -> bool {
    answer.all("set-cookie").any(|cookie| {
        let value = cookie.strip_prefix("__Host-signalbox=").unwrap_or_default();
        !value.split(';').next().unwrap_or_default().is_empty()
    })
}

/// Whether an answer is what it must be.
fn fits(answer: &Answer, is: &Is, origin: &str) -> bool {
    let (status, json) = (answer.status, answer.json());
    let location = answer.header("location");
    let is_json =
        answer.header("content-type").is_some_and(|it| it.starts_with("application/json"));
    match is {
        Is::OAuth(expected, error) => {
            status == Some(*expected)
                && is_json
                && json["error"] == *error
                && json.get("access_token").is_none()
        }
        Is::Challenge(expected, error) => {
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            let said = challenge.split("error=\"").nth(1).and_then(|rest| rest.split('"').next());
            status == Some(*expected)
                && challenge.starts_with("Bearer ")
                && challenge.contains("resource_metadata=\"")
                && said.unwrap_or_default() == *error
        }
        Is::Rpc(expected, code) => {
            status == Some(*expected) && is_json && json["error"]["code"] == json!(code)
        }
        Is::Page(expected) => {
            let kind = answer.header("content-type");
            status == Some(*expected)
                && kind == Some("text/html; charset=utf-8")
                && location.is_none()
                && answer.header("refresh").is_none()
                && !signs_in(answer)
        }
        Is::Back(error) => {
            let (location, is_shown) = answer.leads().unwrap_or_default();
            let said = |name| parameter(location, name);
            matches!((status, is_shown), (Some(302 | 303), false) | (Some(200), true))
                && location.starts_with(&format!("{REDIRECT}?"))
                && said("error").as_deref() == Some(error)
                && said("state").as_deref() == Some("state-of-the-client")
                && said("iss").as_deref() == Some(origin)
                && said("code").is_none()
        }
        Is::Site(address) => status == Some(303) && location == Some(address),
        Is::Empty(expected) => status == Some(*expected) && answer.body.is_empty(),
        Is::Names(name, value) => {
            status == Some(200) && json[name] == value.replace(ORIGIN, origin)
        }
        Is::Good => status == Some(200),
    }
}

/// What is wrong with an answer.
fn wrong(answer: &Answer, is: &Is, scene: &Scene, secrets: &BTreeSet<String>) -> Option<String> {
    let is_page = answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
    if let Some(lacking) = unguarded(answer).filter(|_| is_page) {
        return Some(format!("a page without {lacking}"));
    }
    // What is given out, and what a page asks with, is for whoever asked.
    let is_error = !is_page && !matches!(is, Is::Good);
    if is_error && let Some(secret) = secrets.iter().find(|secret| answer.body.contains(*secret)) {
        return Some(format!("it tells {secret}: {}", answer.body));
    }
    let body: String = answer.body.chars().take(300).collect();
    let [location, challenge] = ["location", "www-authenticate"].map(|name| answer.header(name));
    let got = format!("expected {is:?}, got {:?} {location:?} {challenge:?} {body}", answer.status);
    (!fits(answer, is, &scene.world.server.origin)).then_some(got)
}

/// Every file in a folder and below.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Which of these texts are in these files. All are looked for at once: there are many of both.
fn found<'a>(texts: &'a BTreeSet<String>, files: &[PathBuf]) -> Vec<(&'a str, PathBuf)> {
    const BEGINNING: usize = 8;
    let mut by_beginning: BTreeMap<&[u8], Vec<&str>> = BTreeMap::new();
    for text in texts {
        by_beginning.entry(&text.as_bytes()[..BEGINNING]).or_default().push(text);
    }
    let first: BTreeSet<[u8; 2]> =
        texts.iter().map(|t| [t.as_bytes()[0], t.as_bytes()[1]]).collect();
    let mut is_first = vec![false; 1 << 16];
    first.iter().for_each(|pair| is_first[usize::from(u16::from_be_bytes(*pair))] = true);
    let mut found = Vec::new();
    for file in files {
        let bytes = fs::read(file).unwrap();
        for (at, pair) in bytes.windows(2).enumerate() {
            if !is_first[usize::from(u16::from_be_bytes([pair[0], pair[1]]))] {
                continue;
            }
            let Some(texts) = bytes.get(at..at + BEGINNING).and_then(|b| by_beginning.get(b))
            else {
                continue;
            };
            let here = texts.iter().filter(|text| bytes[at..].starts_with(text.as_bytes()));
            found.extend(here.map(|text| (*text, file.clone())));
        }
    }
    found
}

#[test]
fn no_attack_gets_anything() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("state.log");
    let mut scene = Scene::begin(folder.path(), &log);
    let rows = scene.rows();
    assert!(rows.len() >= 60, "only {} attacks", rows.len());
    let Scene { world, alice, bobs, .. } = &scene;
    let before = world.belongings(alice, &scene.key);
    let secrets = world.secrets.lock().unwrap().clone();
    let mut failures = Vec::new();
    for (name, ask, is) in &rows {
        if let Some(wrong) = wrong(&world.send(ask), is, &scene, &secrets) {
            failures.push(format!("{name}: {wrong}"));
        }
        if world.lists("/mcp/acme", &scene.kept.access) != Some(200) {
            failures.push(format!("after {name} a user's token is good no more"));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), rows.len(), failures.join("\n"));
    println!("{} attacks", rows.len());
    // What the user had is there, and nothing else.
    assert_eq!(world.belongings(alice, &scene.key), before);
    assert!(before.iter().any(|part| part.contains("kept through all of it")), "{before:?}");
    assert_eq!(world.lists("/mcp/acme", &scene.key), Some(200));
    bobs.iter().for_each(|credential| assert_eq!(world.lists("/mcp/acme", credential), Some(200)));
    let next = scene.client.refreshed(world, &scene.kept);
    assert_eq!(world.lists("/mcp/acme", &next.access), Some(200));
    is_told_to_nobody(scene, folder.path(), &log);
}

/// No secret that was seen is in the log or in a file.
fn is_told_to_nobody(scene: Scene, folder: &Path, log: &Path) {
    let Scene { world, client, .. } = scene;
    let secrets = mem::take(&mut *world.secrets.lock().unwrap());
    assert!(secrets.len() > 100, "only {} secrets", secrets.len());
    world.server.kill();
    let mut files = files(&folder.join("state"));
    // It would be found if it were there.
    let ids = [client.id].into();
    assert!(!found(&ids, &files).is_empty(), "the client is nowhere");
    assert!(fs::metadata(log).unwrap().len() > 0, "nothing is logged");
    files.push(log.to_owned());
    assert_eq!(found(&secrets, &files), [], "of {} secrets", secrets.len());
    assert!(KEYS.split(',').all(|entry| secrets.contains(entry.split_once('=').unwrap().1)));
}
