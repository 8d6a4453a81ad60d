//! Tokens of an authorization server that the operator trusts, on the bundle that is deployed: what they
//! are good for, everything that makes one none, and keys that change. Its clock is put ahead where time
//! has to pass.

use crate::honest::{KEYS, encoded, message, writes};
use crate::probes::wire::Ask;
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tests::{Bundle, Server, Session, root, setting};

/// The authorization server. It ends with this value.
struct Issuer {
    process: Child,
    url: String,
    _output: BufReader<ChildStdout>,
}

impl Issuer {
    fn start() -> Self {
        let mut command = Command::new(setting("SIGNALBOX_NODE"));
        command.arg(root().join("tests/clients/issuer.mjs")).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("ready ").expect("the issuer is ready").to_owned();
        Self { process, url, _output: output }
    }

    fn tell(&self, path: &str, what: &Value) -> String {
        let url = format!("{}{path}", self.url);
        tests::send("POST", &url, &[], Some(what.to_string().into_bytes())).body
    }

    /// How often its keys were asked for.
    fn asked(&self) -> Value {
        tests::send("GET", &format!("{}/asked", self.url), &[], None).json()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The whole bundle with a clock that a request puts ahead, by so many milliseconds.
const CLOCK: &str = r#"
const Real = Date;
let ahead = 0;
globalThis.Date = class extends Real {
  constructor(...all) {
    super(...(all.length === 0 ? [Real.now() + ahead] : all));
  }
  static now() {
    return Real.now() + ahead;
  }
};
export default class extends ENTRY {
  fetch(request) {
    const later = request.headers.get("x-later");
    if (later === null) return super.fetch(request);
    ahead += Number(later);
    return new Response(null, { status: 204 });
  }
}
"#;

/// Copies the release with such a clock into a folder.
fn with_a_clock(folder: &Path) {
    for entry in fs::read_dir(Bundle::Release.folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
    }
    let file = folder.join("worker.js");
    let module = fs::read_to_string(&file).unwrap();
    let (before, after) = module.rsplit_once(" as default").expect("a default export");
    let (_, entry) =
        before.rsplit_once(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').unwrap();
    let clock = CLOCK.replace("ENTRY", entry);
    fs::write(&file, format!("{before} as Entry{after}\n{clock}")).unwrap();
}

/// Since the epoch.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

struct World {
    issuer: Issuer,
    server: Server,
    host: String,
    _folders: [tempfile::TempDir; 2],
}

impl World {
    fn start() -> Self {
        let issuer = Issuer::start();
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [bundle, state] = &folders;
        with_a_clock(bundle.path());
        let file = state.path().join("settings.json");
        let settings = json!({ "vars": { "issuers": [{ "issuer": issuer.url }] } });
        fs::write(&file, settings.to_string()).unwrap();
        let settings = [("SETTINGS", file.to_str().unwrap()), ("DEVELOPMENT", "1")];
        let server =
            Server::start_from(bundle.path(), state.path(), KEYS, &settings, Stdio::inherit());
        let host = server.origin.trim_start_matches("http://").to_owned();
        Self { issuer, server, host, _folders: folders }
    }

    /// A token for `/mcp/acme`, with some members of its header and its claims changed: null leaves
    /// one out.
    fn token(&self, key: &str, header: &Value, claims: &Value, alter: &str) -> String {
        let now = now().as_secs();
        let algorithm = if key == "ec" { "ES256" } else { "RS256" };
        let mut parts = [
            json!({ "alg": algorithm, "typ": "at+jwt", "kid": key }),
            json!({ "iss": self.issuer.url, "aud": self.server.url("/mcp/acme"), "sub": "alice",
                "iat": now, "exp": now + 300 }),
        ];
        for (part, changes) in parts.iter_mut().zip([header, claims]) {
            for (name, value) in changes.as_object().unwrap() {
                part[name] = match value.as_str() {
                    // Seconds from now.
                    Some(text) => match text.strip_prefix("now") {
                        Some(seconds) => json!(now.saturating_add_signed(seconds.parse().unwrap())),
                        None => value.clone(),
                    },
                    None => value.clone(),
                };
            }
            part.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        }
        let [header, claims] = parts;
        let what = json!({ "key": key, "header": header, "claims": claims, "alter": alter });
        self.issuer.tell("/sign", &what)
    }

    fn status(&self, ask: &Ask) -> Option<u16> {
        ask.send(&self.host).status
    }

    fn lists(&self, path: &str, token: &str) -> Option<u16> {
        self.status(&message(path, token, "tools/list", json!({})))
    }

    /// Lets so much time pass.
    fn later(&self, milliseconds: u64) {
        let ask = Ask::new("GET", "/").with("X-Later", milliseconds.to_string());
        assert_eq!(self.status(&ask), Some(204));
    }
}

/// A token: what is wrong with it, its key, header, claims, and what is changed once it is signed.
type Wrong = (&'static str, &'static str, Value, Value, &'static str);

fn signed_wrongly() -> Vec<Wrong> {
    let none = || json!({});
    vec![
        ("no signature", "none", json!({ "alg": "none", "kid": "rsa" }), none(), ""),
        ("no signature, in capitals", "none", json!({ "alg": "NONE", "kid": "rsa" }), none(), ""),
        (
            "no signature under a good name",
            "none",
            json!({ "alg": "RS256", "kid": "rsa" }),
            none(),
            "",
        ),
        ("the public key as a secret", "hmac", json!({ "alg": "HS256", "kid": "rsa" }), none(), ""),
        ("an algorithm that is not accepted", "rsa", json!({ "alg": "RS384" }), none(), ""),
        ("another padding", "rsa", json!({ "alg": "PS256" }), none(), ""),
        ("another algorithm's name", "rsa", json!({ "alg": "ES256" }), none(), ""),
        ("another algorithm's key", "rsa", json!({ "kid": "ec" }), none(), ""),
        ("a key that is not published", "secret", none(), none(), ""),
        ("a key under another's name", "secret", json!({ "kid": "rsa" }), none(), ""),
        ("a key in its own header", "secret", json!({ "kid": "rsa", "jwk": true }), none(), ""),
        ("an address of keys", "secret", json!({ "jku": "https://evil.test/keys" }), none(), ""),
        ("a demand that nobody understands", "rsa", json!({ "crit": ["x"], "x": 1 }), none(), ""),
        ("claims that are changed", "rsa", none(), none(), "claims"),
        ("a header that is changed", "rsa", none(), none(), "header"),
        ("a signature that is changed", "rsa", none(), none(), "signature"),
        ("a signature of another form", "ec", none(), none(), "der"),
    ]
}

fn said_wrongly(origin: &str) -> Vec<Wrong> {
    let claim = |name, claims| (name, "rsa", json!({}), claims, "");
    let kind = |name, kind| (name, "rsa", json!({ "typ": kind }), json!({}), "");
    vec![
        claim("another issuer", json!({ "iss": "https://evil.test" })),
        claim("no issuer", json!({ "iss": null })),
        claim("this deployment as issuer", json!({ "iss": origin })),
        claim("another audience", json!({ "aud": "https://evil.test/mcp/acme" })),
        claim("a sibling as audience", json!({ "aud": format!("{origin}/mcp/other") })),
        claim("a narrower audience", json!({ "aud": format!("{origin}/mcp/acme/web") })),
        claim("an audience that begins alike", json!({ "aud": format!("{origin}/mcp/acm") })),
        claim("no audience", json!({ "aud": null })),
        claim("a token that is over", json!({ "exp": "now-61" })),
        claim("a token without an end", json!({ "exp": null })),
        claim("a token with a text as end", json!({ "exp": "tomorrow" })),
        claim("a token that begins later", json!({ "nbf": "now+120" })),
        claim("a token of nobody", json!({ "sub": null })),
        claim("a token of an empty name", json!({ "sub": "" })),
        kind("a token of another kind", "dpop+jwt"),
        kind("a logout", "logout+jwt"),
    ]
}

#[test]
fn a_token_is_good_where_it_is_for_and_any_other_is_none() {
    let world = World::start();
    let (none, also) =
        (json!({}), json!({ "aud": ["https://a.test", world.server.url("/mcp/acme")] }));
    for (key, header, claims) in [
        ("rsa", &none, &none),
        ("ec", &none, &none),
        ("rsa", &json!({ "typ": "JWT" }), &none),
        ("ec", &json!({ "kid": null }), &also),
    ] {
        let token = world.token(key, header, claims, "");
        for (path, status) in
            [("/mcp/acme", 200), ("/mcp/acme/web", 200), ("/mcp", 401), ("/mcp/other", 401)]
        {
            assert_eq!(world.lists(path, &token), Some(status), "{key} {header} {claims} {path}");
        }
    }
    let whole = world.token("ec", &none, &none, "");
    assert_eq!(world.status(&writes("/mcp/acme", &whole)), Some(200));
    let reads = world.token("ec", &none, &json!({ "scope": "openid mcp:read" }), "");
    assert_eq!(world.lists("/mcp/acme", &reads), Some(200));
    assert_eq!(world.status(&writes("/mcp/acme", &reads)), Some(403));
    // It is not good in a query, and another subject is another user.
    let bare = message("/mcp/acme", "", "tools/list", none.clone()).without("Authorization");
    let query = format!("/mcp/acme?access_token={}", encoded(&whole));
    assert_eq!(world.status(&bare.to(&query)), Some(401));
    let other = world.token("rsa", &none, &json!({ "sub": "bob" }), "");
    let list = json!({ "name": "list_memories", "arguments": {} });
    let notes = |token: &str| {
        message("/mcp/acme", token, "tools/call", list.clone()).send(&world.host).body
    };
    assert!(notes(&whole).contains("an attack has written this"));
    assert!(!notes(&other).contains("an attack has written this"));
    let mut failures = Vec::new();
    let wrong = [signed_wrongly(), said_wrongly(&world.server.origin)].concat();
    for (name, key, header, claims, alter) in &wrong {
        let token = world.token(key, header, claims, alter);
        let answer = message("/mcp/acme", &token, "tools/list", json!({})).send(&world.host);
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        if answer.status != Some(401) || !challenge.contains("error=\"invalid_token\"") {
            failures.push(format!("{name}: {answer:?}"));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), wrong.len(), failures.join("\n"));
    assert_eq!(world.lists("/mcp/acme", &whole), Some(200));
    // All of that asked for keys once: what could not be let in by any key asks for none, and an
    // unknown key not so soon.
    assert_eq!(world.issuer.asked(), json!(1));
}

#[test]
fn keys_that_change_are_found_and_not_asked_for_without_end() {
    let world = World::start();
    let none = json!({});
    let (old, new) = (world.token("rsa", &none, &none, ""), world.token("new", &none, &none, ""));
    assert_eq!(world.lists("/mcp/acme", &old), Some(200));
    assert_eq!(world.issuer.asked(), json!(1));
    // A key that nobody has heard of, again and again, in half a minute: the issuer hears nothing.
    world.issuer.tell("/publish", &json!(["new"]));
    for number in 0..50 {
        let unknown = world.token("secret", &json!({ "kid": format!("k{number}") }), &none, "");
        assert_eq!(world.lists("/mcp/acme", &unknown), Some(401));
    }
    assert_eq!(world.lists("/mcp/acme", &new), Some(401));
    assert_eq!(world.issuer.asked(), json!(1));
    // After it the new key is found by whoever brings it, and the old one is none any more.
    world.later(30_000);
    assert_eq!(world.lists("/mcp/acme", &new), Some(200));
    assert_eq!(world.issuer.asked(), json!(2));
    assert_eq!(world.lists("/mcp/acme", &old), Some(401));
    for number in 0..50 {
        let unknown = world.token("secret", &json!({ "kid": format!("k{number}") }), &none, "");
        assert_eq!(world.lists("/mcp/acme", &unknown), Some(401));
    }
    assert_eq!(world.issuer.asked(), json!(2));
}

#[test]
fn a_stream_ends_when_the_token_that_opened_it_does() {
    let world = World::start();
    let skew = shared::limits::CLOCK_SKEW_MS / 1000;
    // It is good for three seconds more, as clocks may differ.
    let exp = now().as_secs() + 3 - skew;
    let token = world.token("rsa", &json!({}), &json!({ "exp": exp }), "");
    let session = Session::begin(&world.server.url("/mcp/acme"), &token);
    let mut waiting = session.listen(None);
    assert_eq!(waiting.find(|event| !event.data.is_empty()), None);
    assert!(now() >= Duration::from_secs(exp + skew), "it has ended before its time");
    assert_eq!(world.lists("/mcp/acme", &token), Some(401));
    let fresh = world.token("rsa", &json!({}), &json!({}), "");
    assert_eq!(session.with_key(&fresh).request("tools/list", &json!({})).status, 200);
}
