//! What honest people and clients do on the authorization surface, byte by byte, and every secret that
//! was seen meanwhile. It must not know any attack.

use crate::probes::wire::{Answer, Ask};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tests::{Bundle, Server};

/// The address that the deployment is known by, as it is written into what is sent.
pub(crate) const ORIGIN: &str = "http://{host}";

/// Where clients are sent back to.
pub(crate) const REDIRECT: &str = "https://client.test/callback";

/// What everybody must be able to prove who redeems a code.
pub(crate) const VERIFIER: &str = "a-verifier-of-these-tests-and-nobody-else-0123456789";

/// Keys of the configuration, which no answer, log or file may have.
pub(crate) const KEYS: &str = "alice=dev-key-of-alice-5d1c,bob=dev-key-of-bob-8e0f";

/// The challenge to the verifier.
pub(crate) fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

/// A text as it goes into a query or a form. What stands for the host is left for it.
pub(crate) fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"{}*-._".contains(&byte);
    let one = |byte: u8| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

/// Names and values as a query or a form.
pub(crate) fn pairs(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// A text without its last characters.
pub(crate) fn cut(text: &str, count: usize) -> &str {
    text.get(..text.len() - count).unwrap()
}

/// A text with another last character.
pub(crate) fn turned(text: &str) -> String {
    let last = if text.ends_with('A') { 'B' } else { 'A' };
    format!("{}{last}", cut(text, 1))
}

/// A form as a browser or a client sends it, with no cookie and no key.
pub(crate) fn form(path: &str, fields: &[(&str, &str)]) -> Ask {
    Ask::new("POST", path)
        .without("Authorization")
        .with("Content-Type", "application/x-www-form-urlencoded")
        .body(pairs(fields))
}

/// A page that is asked for, with no cookie and no key.
pub(crate) fn get(path: &str) -> Ask {
    Ask::new("GET", path).without("Authorization")
}

/// The value of a hidden field.
pub(crate) fn hidden(page: &str, name: &str) -> String {
    let marked = format!("name=\"{name}\" value=\"");
    let (_, rest) = page.split_once(&marked).unwrap_or_else(|| panic!("no {name}: {page}"));
    rest.split('"').next().unwrap().to_owned()
}

/// A parameter of an address.
pub(crate) fn parameter(address: &str, name: &str) -> Option<String> {
    let (_, query) = address.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    Some(decoded(value))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}

/// A deployment, and every secret that came out of it.
pub(crate) struct World {
    pub(crate) server: Server,
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
    pub(crate) secrets: Mutex<BTreeSet<String>>,
}

impl World {
    /// Serves a state folder, at a port of this machine or at any that is free. What it logs is added
    /// to a file.
    pub(crate) fn start(state: &Path, ring: &str, log: &Path, port: u16) -> Self {
        let hub = json!({ "kind": "github", "name": "hub", "client_id": "signalbox" });
        let other = json!({ "kind": "sentry", "name": "other", "client_id": "signalbox" });
        let settings = json!({ "logins": [hub, other] });
        let port = port.to_string();
        Self::start_with(
            &Bundle::Release.folder(),
            state,
            &settings,
            log,
            &[("KEYRING", ring), ("PORT", &port)],
        )
    }

    /// The same of any bundle, with settings of its own.
    pub(crate) fn start_with(
        bundle: &Path,
        state: &Path,
        settings: &Value,
        log: &Path,
        environment: &[(&str, &str)],
    ) -> Self {
        let file = state.join("settings.json");
        std::fs::write(&file, json!({ "vars": settings }).to_string()).unwrap();
        let own = [("SETTINGS", file.to_str().unwrap()), ("DEV_LOGIN", "1")];
        let all = [own.as_slice(), environment].concat();
        let log = File::options().create(true).append(true).open(log).unwrap();
        let server = Server::start_from(bundle, state, KEYS, &all, log.into());
        let host = server.origin.trim_start_matches("http://").to_owned();
        let world = Self { server, host, secrets: Mutex::default() };
        let rings = environment.iter().filter(|(name, _)| *name == "KEYRING").map(|(_, ring)| ring);
        let entries =
            [KEYS].into_iter().chain(rings.copied()).flat_map(|entries| entries.split(','));
        let secrets = entries.filter_map(|entry| entry.split_once('='));
        secrets.for_each(|(_, secret)| world.keep(secret));
        world.keep(VERIFIER);
        world
    }

    pub(crate) fn send(&self, ask: &Ask) -> Answer {
        ask.send(&self.host)
    }

    /// Remembers a secret, so that it can be looked for where it must not be.
    pub(crate) fn keep(&self, secret: &str) {
        self.secrets.lock().unwrap().insert(secret.to_owned());
    }

    /// Registers a client. With a method other than `none` it gets a secret.
    pub(crate) fn client(&self, name: &str, redirects: &[&str], method: &str) -> Client {
        let asked = json!({ "client_name": name, "redirect_uris": redirects,
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": method });
        let answer = self.send(&register(&asked.to_string()));
        assert_eq!(answer.status, Some(201), "{answer:?}");
        let json = answer.json();
        let text = |name: &str| json[name].as_str().map(ToOwned::to_owned);
        let secret = text("client_secret");
        secret.iter().for_each(|secret| self.keep(secret));
        Client { id: text("client_id").unwrap(), secret, redirect: redirects[0].to_owned() }
    }

    /// A tool is called, or a list asked for, with a credential.
    pub(crate) fn lists(&self, path: &str, credential: &str) -> Option<u16> {
        self.send(&message(path, credential, "tools/list", json!({}))).status
    }

    /// What a user has, as far as it could be changed: notes, and what their page has forms for.
    pub(crate) fn belongings(&self, browser: &Browser, key: &str) -> Vec<String> {
        let list = json!({ "name": "list_memories", "arguments": {} });
        let notes = self.send(&message("/mcp/acme", key, "tools/call", list));
        assert_eq!(notes.status, Some(200), "{notes:?}");
        let page = browser.page(self, "/account");
        let token = hidden(&page, "token");
        let forms = page.split("<input type=\"hidden\" ").skip(1);
        let forms = forms.filter_map(|rest| rest.split('>').next()).map(ToOwned::to_owned);
        let own = forms.filter(|form| !form.contains(&token));
        let notes = notes.json()["result"]["structuredContent"].to_string();
        let mut all: Vec<_> = own.chain([notes]).collect();
        // The page shows first what was used last.
        all.sort();
        all
    }
}

/// A registration.
pub(crate) fn register(body: &str) -> Ask {
    Ask::new("POST", "/oauth/register")
        .without("Authorization")
        .with("Content-Type", "application/json")
        .body(body)
}

/// A message of the modern era with a credential.
pub(crate) fn message(path: &str, credential: &str, method: &str, mut params: Value) -> Ask {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let ask = Ask::post(tests::message(method, &params))
        .to(path)
        .set("Authorization", format!("Bearer {credential}"))
        .with("MCP-Protocol-Version", "2026-07-28")
        .with("Mcp-Method", method);
    match params["name"].as_str() {
        Some(name) => ask.with("Mcp-Name", name),
        None => ask,
    }
}

/// A tool that writes is called.
pub(crate) fn writes(path: &str, credential: &str) -> Ask {
    let note = json!({ "name": "remember", "arguments": { "text": "an attack has written this" } });
    message(path, credential, "tools/call", note)
}

/// A registered client.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) secret: Option<String>,
    pub(crate) redirect: String,
}

/// What a client was given.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Client {
    /// The parameters of an authorization request.
    pub(crate) fn asks<'a>(&'a self, path: &str) -> Vec<(&'a str, String)> {
        vec![
            ("response_type", "code".to_owned()),
            ("client_id", self.id.clone()),
            ("redirect_uri", self.redirect.clone()),
            ("state", "state-of-the-client".to_owned()),
            ("code_challenge", challenge()),
            ("code_challenge_method", "S256".to_owned()),
            ("resource", format!("{ORIGIN}{path}")),
        ]
    }

    /// The same as a path, with some parameters changed: without a value, one is left out.
    pub(crate) fn address(&self, path: &str, changes: &[(&str, Option<&str>)]) -> String {
        let mut all = self.asks(path);
        for (name, value) in changes {
            all.retain(|(known, _)| known != name);
            all.extend(value.map(|value| (*name, value.to_owned())));
        }
        let all: Vec<_> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
        format!("/authorize?{}", pairs(&all))
    }

    /// Redeems a code, with some fields changed.
    pub(crate) fn redeems(&self, code: &str, changes: &[(&str, Option<&str>)]) -> Ask {
        let own = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", VERIFIER),
            ("redirect_uri", &self.redirect),
        ];
        self.token(&own, changes)
    }

    /// Refreshes, with some fields changed.
    pub(crate) fn refreshes(&self, token: &str, changes: &[(&str, Option<&str>)]) -> Ask {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token)], changes)
    }

    /// Revokes a token.
    pub(crate) fn revokes(&self, token: &str) -> Ask {
        self.token(&[("token", token)], &[])
    }

    fn token(&self, own: &[(&str, &str)], changes: &[(&str, Option<&str>)]) -> Ask {
        let mut all: Vec<(&str, &str)> = own.to_vec();
        all.push(("client_id", &self.id));
        all.extend(self.secret.iter().map(|secret| ("client_secret", secret.as_str())));
        for (name, value) in changes {
            all.retain(|(known, _)| known != name);
            all.extend(value.map(|value| (*name, value)));
        }
        form("/oauth/token", &all)
    }

    /// Redeems a code as it should be.
    pub(crate) fn tokens(&self, world: &World, code: &str) -> Tokens {
        Tokens::read(world, &world.send(&self.redeems(code, &[])))
    }

    /// Refreshes as it should be.
    pub(crate) fn refreshed(&self, world: &World, tokens: &Tokens) -> Tokens {
        Tokens::read(world, &world.send(&self.refreshes(&tokens.refresh, &[])))
    }
}

impl Tokens {
    pub(crate) fn read(world: &World, answer: &Answer) -> Self {
        assert_eq!(answer.status, Some(200), "{answer:?}");
        let json = answer.json();
        let token = |name: &str| {
            let text = json[name].as_str().unwrap_or_else(|| panic!("no {name}: {json}"));
            world.keep(text.rsplit(':').next().unwrap());
            text.to_owned()
        };
        Self { access: token("access_token"), refresh: token("refresh_token") }
    }
}

/// A browser: it keeps cookies, and follows nothing by itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Browser {
    pub(crate) cookies: BTreeMap<String, String>,
}

/// A question of the consent page.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) token: String,
    pub(crate) handle: String,
    pub(crate) scope: String,
}

impl Question {
    /// The form that says yes, with some fields changed.
    pub(crate) fn answer(&self, changes: &[(&str, &str)]) -> Ask {
        let mut fields = vec![
            ("token", self.token.as_str()),
            ("handle", &self.handle),
            ("scope", &self.scope),
            ("access", "write"),
            ("decision", "allow"),
        ];
        for (name, value) in changes {
            fields.retain(|(known, _)| known != name);
            fields.push((name, value));
        }
        form("/authorize", &fields).with("Origin", ORIGIN)
    }
}

impl Browser {
    /// A browser in which somebody signed in under a name.
    pub(crate) fn signed_in(world: &World, name: &str) -> Self {
        let mut browser = Self::default();
        let ask = form("/login", &[("name", name), ("then", "/account")]).with("Origin", ORIGIN);
        let answer = browser.send(world, &ask);
        assert_eq!((answer.status, answer.header("location")), (Some(303), Some("/account")));
        browser
    }

    /// A request with the cookies of this browser.
    pub(crate) fn with(&self, ask: Ask) -> Ask {
        let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        ask.with("Cookie", cookies.collect::<Vec<_>>().join("; "))
    }

    /// Sends with its cookies, and keeps those that come back.
    pub(crate) fn send(&mut self, world: &World, ask: &Ask) -> Answer {
        let answer = world.send(&self.with(ask.clone()));
        for cookie in answer.all("set-cookie") {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                // The library's own says which question is asked, by a hash: the form has what it is of.
                if name.starts_with("__Host-signalbox") {
                    world.keep(value);
                }
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    pub(crate) fn page(&self, world: &World, path: &str) -> String {
        let answer = world.send(&self.with(get(path)));
        assert_eq!(answer.status, Some(200), "{path}: {answer:?}");
        answer.body
    }

    /// Opens the consent page of a client.
    pub(crate) fn asked(&mut self, world: &World, client: &Client, path: &str) -> Question {
        let answer = self.send(world, &get(&client.address(path, &[])));
        assert_eq!(answer.status, Some(200), "{answer:?}");
        let [token, handle, scope] =
            ["token", "handle", "scope"].map(|name| hidden(&answer.body, name));
        world.keep(&handle);
        Question { token, handle, scope }
    }

    /// Lets a client in, with what the user chooses; a code comes of it.
    pub(crate) fn code_with(
        &mut self,
        world: &World,
        client: &Client,
        path: &str,
        choices: &[(&str, &str)],
    ) -> String {
        let question = self.asked(world, client, path);
        let answer = self.send(world, &question.answer(choices));
        let (location, _) = answer.leads().unwrap_or_else(|| panic!("{answer:?}"));
        assert_eq!(parameter(location, "iss"), Some(world.server.origin.clone()));
        let code = parameter(location, "code").unwrap_or_else(|| panic!("no code: {location}"));
        world.keep(code.rsplit(':').next().unwrap());
        code
    }

    /// Lets a client in, for everything that it asks for.
    pub(crate) fn code(&mut self, world: &World, client: &Client, path: &str) -> String {
        self.code_with(world, client, path, &[])
    }

    /// The same, and the code is redeemed.
    pub(crate) fn grants(&mut self, world: &World, client: &Client, path: &str) -> Tokens {
        let code = self.code(world, client, path);
        client.tokens(world, &code)
    }

    /// A form of the account page.
    pub(crate) fn account(&self, world: &World, fields: &[(&str, &str)]) -> Answer {
        let token = hidden(&self.page(world, "/account"), "token");
        let mut all = vec![("token", token.as_str())];
        all.extend_from_slice(fields);
        world.send(&self.with(form("/account", &all)).with("Origin", ORIGIN))
    }

    /// A personal key.
    pub(crate) fn mints(&self, world: &World, scope: &str, more: &[(&str, &str)]) -> String {
        static KEYS: AtomicUsize = AtomicUsize::new(0);
        let name = format!("key{}", KEYS.fetch_add(1, Ordering::Relaxed));
        let mut fields = vec![("action", "mint"), ("name", &name), ("scope", scope), ("days", "1")];
        fields.extend_from_slice(more);
        let answer = self.account(world, &fields);
        let (_, rest) = answer.body.split_once("sbx_").unwrap_or_else(|| panic!("{answer:?}"));
        let is_over = |c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c);
        let key = format!("sbx_{}", rest.split(is_over).next().unwrap());
        world.keep(key.split_once('.').unwrap().1);
        key
    }
}
