//! Credentials at an authorization server that rotates refresh tokens and ends the whole grant if
//! a spent one comes back: connected, used by many at once, lost on the way, sealed anew. It must not
//! know the platform.

use super::*;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::{join_all, ready};
use identity::{
    account::{ConnectionState, Reply},
    upstream_login::{Returned, digest},
};
use shared::{
    hop::{CredentialHop, CredentialReply},
    limits,
    outside::{Answer, Request as Asked},
};
use std::collections::BTreeSet;

const HOUR: u64 = 60 * 60 * 1000;

/// What the server does with the next requests for tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// It does nothing and says that it is busy.
    Busy,
    /// It does nothing, and nobody hears of it.
    Unheard,
    /// It does what it is asked, and nobody hears of it.
    Lost,
    /// It does what it is asked, and the answer is on its way for as long as this test likes.
    Slow,
    /// It does not know who asks.
    Stranger,
}

/// A remote MCP server and its authorization server.
#[derive(Default)]
struct Server {
    /// Requests so far, by path.
    asked: RefCell<Vec<String>>,
    /// The challenge of the last authorization, by its code.
    codes: RefCell<BTreeMap<String, String>>,
    /// The refresh token that is good, if any grant is.
    good: RefCell<Option<String>>,
    spent: RefCell<BTreeSet<String>>,
    /// Grants used: refreshes that gave tokens.
    used: Cell<u32>,
    count: Cell<u32>,
    moods: RefCell<VecDeque<Mood>>,
    /// Whether it gives no refresh tokens, and says nothing of how long a token is good.
    is_plain: Cell<bool>,
    registered: Cell<u32>,
    /// Tokens that were given back: the forms.
    given_back: RefCell<Vec<String>>,
}

impl Server {
    fn tokens(&self) -> Value {
        let count = self.count.get().wrapping_add(1);
        self.count.set(count);
        if self.is_plain.get() {
            return json!({ "access_token": format!("ACCESS{count}"), "token_type": "bearer" });
        }
        let refresh = format!("REFRESH{count}");
        *self.good.borrow_mut() = Some(refresh.clone());
        json!({ "access_token": format!("ACCESS{count}"), "refresh_token": refresh,
            "token_type": "Bearer", "expires_in": HOUR / 1000 })
    }

    fn refresh(&self, token: &str) -> (u16, Value) {
        if self.good.borrow().as_deref() != Some(token) {
            if self.spent.borrow().contains(token) {
                self.good.borrow_mut().take();
            }
            return (400, json!({ "error": "invalid_grant" }));
        }
        self.spent.borrow_mut().insert(token.to_owned());
        self.used.set(self.used.get().wrapping_add(1));
        (200, self.tokens())
    }

    fn token(&self, form: &str) -> (u16, Value) {
        let fields: BTreeMap<String, String> =
            form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        assert_eq!(fields["resource"], "https://mcp.test/mcp");
        assert_eq!(fields["client_id"], "registered");
        match fields["grant_type"].as_str() {
            "refresh_token" => self.refresh(&fields["refresh_token"]),
            "authorization_code" => {
                let challenge = self.codes.borrow_mut().remove(&fields["code"]);
                assert_eq!(challenge, Some(digest(&fields["code_verifier"])));
                assert_eq!(fields["redirect_uri"], REDIRECT);
                (200, self.tokens())
            }
            other => panic!("{other}"),
        }
    }

    fn answer(&self, request: &Asked) -> (u16, Value) {
        let path = request.url.strip_prefix("https://").unwrap();
        match path {
            "mcp.test/mcp" => (401, Value::Null),
            "mcp.test/.well-known/oauth-protected-resource/mcp" => (
                200,
                json!({ "resource": "https://mcp.test/mcp",
                    "authorization_servers": ["https://as.test"], "scopes_supported": ["s"] }),
            ),
            "as.test/.well-known/oauth-authorization-server" => (404, Value::Null),
            "as.test/.well-known/openid-configuration" => (
                200,
                json!({ "issuer": "https://as.test",
                    "authorization_endpoint": "https://as.test/authorize",
                    "token_endpoint": "https://as.test/token",
                    "registration_endpoint": "https://as.test/register",
                    "revocation_endpoint": "https://as.test/revoke",
                    "code_challenge_methods_supported": ["S256"],
                    "token_endpoint_auth_methods_supported": ["none"],
                    "authorization_response_iss_parameter_supported": true }),
            ),
            "as.test/register" => {
                self.registered.set(self.registered.get().wrapping_add(1));
                (201, json!({ "client_id": "registered" }))
            }
            "as.test/revoke" => {
                self.given_back.borrow_mut().push(request.body.clone().unwrap());
                (200, Value::Null)
            }
            "as.test/token" => self.token(request.body.as_deref().unwrap()),
            other => panic!("{other}"),
        }
    }
}

/// The server in its mood.
struct Way {
    server: Rc<Server>,
    held_back: RefCell<VecDeque<oneshot::Receiver<()>>>,
}

impl Outside for Way {
    fn ask(&self, request: Asked) -> LocalBoxFuture<'static, Result<Answer, String>> {
        self.server.asked.borrow_mut().push(request.url.clone());
        let mood = match request.url.ends_with("/token") {
            true => self.server.moods.borrow_mut().pop_front(),
            false => None,
        };
        let say = |(status, body): (u16, Value)| {
            Ok(Answer { status, headers: Vec::new(), body: body.to_string() })
        };
        let lost = || Box::pin(ready(Err("broken off".to_owned())));
        match mood {
            None => Box::pin(ready(say(self.server.answer(&request)))),
            Some(Mood::Busy) => Box::pin(ready(say((503, Value::Null)))),
            Some(Mood::Stranger) => {
                Box::pin(ready(say((401, json!({ "error": "invalid_client" })))))
            }
            Some(Mood::Unheard) => lost(),
            Some(Mood::Lost) => {
                self.server.answer(&request);
                lost()
            }
            Some(Mood::Slow) => {
                let answer = say(self.server.answer(&request));
                let wait = self.held_back.borrow_mut().pop_front().expect("something to wait for");
                Box::pin(async move {
                    let _ = wait.await;
                    answer
                })
            }
        }
    }
}

const REDIRECT: &str = "https://here.test/connect/callback";

const TOOLSETS: &str = r#"[{"kind":"memory"},{"kind":"mcp","name":"far","prefix":"far",
    "url":"https://mcp.test/mcp","auth":{"credential":"far"}}]"#;

fn ring(keys: &[u8]) -> Option<Rc<KeyRing>> {
    let key = |byte: &u8| format!("k{byte}={}", STANDARD.encode([*byte; 32]));
    let text = keys.iter().map(key).collect::<Vec<_>>().join(",");
    Some(Rc::new(KeyRing::parse(&text).unwrap()))
}

fn home() -> (Home, Rc<Server>, Rc<Way>) {
    let home = Home::with_toolsets(TOOLSETS);
    let server = Rc::new(Server::default());
    let way = Rc::new(Way { server: Rc::clone(&server), held_back: RefCell::default() });
    *home.world.outside.borrow_mut() = Some(Rc::clone(&way) as Rc<dyn Outside>);
    *home.world.ring.borrow_mut() = ring(&[1]);
    home.world.now.set(1_000_000);
    (home, server, way)
}

/// Begins a connection; the state, after the server was asked to let this program in.
fn begin(home: &Home, server: &Server) -> String {
    let begun = now_of(home.user.connect(&*home.world, "far", REDIRECT)).unwrap();
    let (Reply::Go(address), until) = begun else { panic!("{begun:?}") };
    assert_eq!(until, home.world.now().after(limits::CONNECTION_MS_MAX));
    let query = address.strip_prefix("https://as.test/authorize?").unwrap();
    let pairs: BTreeMap<String, String> =
        form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    assert_eq!(pairs["scope"], "s");
    server.codes.borrow_mut().insert("CODE".to_owned(), pairs["code_challenge"].clone());
    pairs["state"].clone()
}

fn returned() -> Returned {
    let issuer = Some("https://as.test".to_owned());
    Returned { code: Some("CODE".to_owned()), issuer, error: None }
}

fn finish(home: &Home, state: &str, returned: &Returned) -> Result<Reply, Error> {
    now_of(home.user.connected(&*home.world, state, returned))
}

fn connect(home: &Home, server: &Server) {
    let state = begin(home, server);
    assert_eq!(finish(home, &state, &returned()), Ok(Reply::Done));
}

fn hop(rejected: Option<&str>) -> CredentialHop {
    CredentialHop {
        user: UserId::parse("u").unwrap(),
        credential: "far".to_owned(),
        rejected: rejected.map(ToOwned::to_owned),
    }
}

/// What an Agent is told, as soon as whatever goes on has gone on.
fn ask(home: &Home, rejected: Option<&str>) -> Result<CredentialReply, Error> {
    let hop = hop(rejected);
    let mut asked = Box::pin(home.user.credential(&home.world, &hop));
    for _ in 0..3 {
        if let Some(answer) = asked.as_mut().now_or_never() {
            return answer.map(|(reply, _)| reply);
        }
        home.world.run();
    }
    panic!("nobody answers");
}

fn token(home: &Home) -> String {
    match ask(home, None) {
        Ok(CredentialReply::Token { token, .. }) => token,
        other => panic!("{other:?}"),
    }
}

fn is_to_be_connected(home: &Home) -> Option<bool> {
    match ask(home, None) {
        Ok(CredentialReply::Connect { url, is_over }) => {
            assert_eq!(url.as_deref(), Some("https://here.test/connect/far"));
            Some(is_over)
        }
        _ => None,
    }
}

fn state(home: &Home) -> ConnectionState {
    let mut connections = home.user.connections(&*home.world).unwrap();
    assert_eq!(connections.len(), 1);
    let connection = connections.remove(0);
    assert_eq!((connection.credential.as_str(), connection.toolsets), ("far", vec!["far".into()]));
    connection.state
}

fn pass(home: &Home, milliseconds: u64) {
    home.world.now.set(home.world.now.get().wrapping_add(milliseconds));
}

#[test]
fn a_credential_is_connected_and_handed_out_and_ended() {
    let (mut home, server, _) = home();
    assert_eq!(is_to_be_connected(&home), Some(false));
    assert_eq!(state(&home), ConnectionState::Missing);
    connect(&home, &server);
    for _ in 0..2 {
        assert_eq!(token(&home), "ACCESS1");
        home.restart();
    }
    let (since, expires) = (Millis(1_000_000), Some(Millis(1_000_000 + HOUR)));
    assert_eq!(state(&home), ConnectionState::Connected { since, expires });
    assert_eq!(home.user.disconnect(&home.world, "far"), Ok(Reply::Done));
    assert_eq!(home.user.disconnect(&home.world, "far").unwrap_err().kind, Kind::NotFound);
    // Nobody waits for the authorization server to take it back.
    assert!(server.given_back.borrow().is_empty());
    home.world.run();
    let expected = "token=REFRESH1&token_type_hint=refresh_token&client_id=registered";
    assert_eq!(server.given_back.take(), [expected]);
    assert_eq!(is_to_be_connected(&home), Some(false));
    // This program is known there by now.
    connect(&home, &server);
    assert_eq!(server.registered.get(), 1);
    assert_eq!(token(&home), "ACCESS2");
}

#[test]
fn an_agent_of_another_user_gets_nothing() {
    let (home, server, _) = home();
    connect(&home, &server);
    let other = CredentialHop { user: UserId::parse("v").unwrap(), ..hop(None) };
    let refused = now_of(home.user.credential(&home.world, &other)).unwrap_err();
    assert_eq!(refused.kind, Kind::Conflict);
    let unknown = CredentialHop { credential: "other".to_owned(), ..hop(None) };
    let refused = now_of(home.user.credential(&home.world, &unknown)).unwrap_err();
    assert_eq!(refused.kind, Kind::NotFound);
}

#[test]
fn a_browser_that_comes_back_connects_once_and_only_what_was_begun() {
    let (home, server, _) = home();
    let one = begin(&home, &server);
    let kind = |state: &str, returned: &Returned| finish(&home, state, returned).unwrap_err().kind;
    assert_eq!(kind("", &returned()), Kind::Invalid);
    assert_eq!(kind(&digest(&one), &returned()), Kind::Invalid);
    let foreign = Returned { issuer: Some("https://evil.test".to_owned()), ..returned() };
    assert_eq!(kind(&one, &foreign), Kind::Forbidden);
    // That was its end.
    assert_eq!(kind(&one, &returned()), Kind::Invalid);
    let refused = begin(&home, &server);
    let error = Returned { error: Some("access_denied".to_owned()), ..returned() };
    assert_eq!(kind(&refused, &error), Kind::Forbidden);
    let late = begin(&home, &server);
    pass(&home, limits::CONNECTION_MS_MAX);
    assert_eq!(kind(&late, &returned()), Kind::Invalid);
    let first = begin(&home, &server);
    for _ in 0..limits::CONNECTIONS_MAX {
        pass(&home, 1);
        begin(&home, &server);
    }
    assert_eq!(kind(&first, &returned()), Kind::Invalid);
    let rows = home.database.run("SELECT COUNT(*) FROM connections", &[]).unwrap();
    assert_eq!(rows[0].integer(0), Ok(i64::try_from(limits::CONNECTIONS_MAX).unwrap()));
    // Another user's browser begins nothing here.
    let (stranger, ..) = self::home();
    let own = begin(&home, &server);
    assert_eq!(finish(&stranger, &own, &returned()).unwrap_err().kind, Kind::Invalid);
    assert_eq!(finish(&home, &own, &returned()), Ok(Reply::Done));
}

#[test]
fn a_thousand_calls_at_the_end_of_a_token_use_one_grant() {
    let (home, server, way) = home();
    connect(&home, &server);
    assert_eq!(token(&home), "ACCESS1");
    pass(&home, HOUR - 1);
    let (answer_now, wait) = oneshot::channel();
    way.held_back.borrow_mut().push_back(wait);
    server.moods.borrow_mut().push_back(Mood::Slow);
    let hop = hop(None);
    let mut all = Box::pin(join_all((0..1_000).map(|_| home.user.credential(&home.world, &hop))));
    assert!(all.as_mut().now_or_never().is_none());
    home.world.run();
    assert!(all.as_mut().now_or_never().is_none(), "nobody has a token that is not there");
    answer_now.send(()).unwrap();
    home.world.run();
    let answers = all.as_mut().now_or_never().expect("an answer for everybody");
    for answer in answers {
        let (CredentialReply::Token { token, .. }, _) = answer.unwrap() else { panic!() };
        assert_eq!(token, "ACCESS2");
    }
    assert_eq!(server.used.get(), 1);
    assert_eq!(token(&home), "ACCESS2");
    assert_eq!(server.used.get(), 1);
}

#[test]
fn a_refresh_goes_on_although_all_who_wait_are_gone() {
    let (home, server, way) = home();
    connect(&home, &server);
    pass(&home, HOUR);
    let (answer_now, wait) = oneshot::channel();
    way.held_back.borrow_mut().push_back(wait);
    server.moods.borrow_mut().push_back(Mood::Slow);
    {
        let hop = hop(None);
        let mut gone = Box::pin(home.user.credential(&home.world, &hop));
        assert!(gone.as_mut().now_or_never().is_none());
        home.world.run();
    }
    answer_now.send(()).unwrap();
    home.world.run();
    assert_eq!(token(&home), "ACCESS2");
    assert_eq!(server.used.get(), 1);
}

#[test]
fn a_refresh_that_was_lost_with_the_object_is_tried_again_and_then_it_is_said() {
    let (mut home, server, way) = home();
    connect(&home, &server);
    pass(&home, HOUR);
    let (_never, wait) = oneshot::channel();
    way.held_back.borrow_mut().push_back(wait);
    server.moods.borrow_mut().push_back(Mood::Slow);
    {
        let hop = hop(None);
        let mut lost = Box::pin(home.user.credential(&home.world, &hop));
        assert!(lost.as_mut().now_or_never().is_none());
        home.world.run();
    }
    home.restart();
    // The spent token comes back, once; this server ends the grant for that.
    assert_eq!(is_to_be_connected(&home), Some(true));
    assert_eq!(state(&home), ConnectionState::Expired);
    let asked = server.asked.borrow().len();
    assert_eq!(is_to_be_connected(&home), Some(true));
    assert_eq!(server.asked.borrow().len(), asked, "nobody asks in vain");
    connect(&home, &server);
    assert_eq!(token(&home), "ACCESS3");
}

#[test]
fn a_refresh_that_nobody_heard_of_is_tried_once_more() {
    let (home, server, _) = home();
    connect(&home, &server);
    pass(&home, HOUR);
    server.moods.borrow_mut().push_back(Mood::Unheard);
    assert_eq!(token(&home), "ACCESS2");
    pass(&home, HOUR);
    server.moods.borrow_mut().push_back(Mood::Lost);
    assert_eq!(is_to_be_connected(&home), Some(true), "this server forgives nothing");
}

#[test]
fn a_server_that_is_busy_costs_no_credential() {
    let (home, server, _) = home();
    connect(&home, &server);
    pass(&home, HOUR);
    let busy = [Mood::Busy, Mood::Unheard, Mood::Unheard];
    server.moods.borrow_mut().extend(busy);
    for _ in 0..2 {
        assert_eq!(ask(&home, None).unwrap_err().kind, Kind::Unavailable);
        let asked = server.asked.borrow().len();
        // Whoever comes at once hears the same.
        assert_eq!(ask(&home, None).unwrap_err().kind, Kind::Unavailable);
        assert_eq!(server.asked.borrow().len(), asked);
        pass(&home, limits::REFRESH_PAUSE_MS);
    }
    assert_eq!(token(&home), "ACCESS2");
    // While a token is good for a moment more, it is what there is.
    pass(&home, HOUR - 1);
    server.moods.borrow_mut().push_back(Mood::Busy);
    assert_eq!(token(&home), "ACCESS2");
    assert_eq!(server.used.get(), 1);
}

#[test]
fn a_token_that_is_refused_is_refreshed_once() {
    let (home, server, _) = home();
    connect(&home, &server);
    let id = digest("ACCESS1");
    let token_of = |rejected: &str| match ask(&home, Some(rejected)) {
        Ok(CredentialReply::Token { token, id }) => (token, id),
        other => panic!("{other:?}"),
    };
    assert_eq!(token_of(&id), ("ACCESS1".to_owned(), id.clone()), "it is new");
    pass(&home, limits::TOKEN_YOUNG_MS);
    for _ in 0..3 {
        assert_eq!(token_of(&id), ("ACCESS2".to_owned(), digest("ACCESS2")));
    }
    assert_eq!(server.used.get(), 1);
    assert_eq!(token_of(&digest("ACCESS2")).0, "ACCESS2", "a server that refuses all gets no more");
    assert_eq!(server.used.get(), 1);
}

#[test]
fn a_token_without_another_is_good_until_it_is_refused() {
    let (home, server, _) = home();
    server.is_plain.set(true);
    connect(&home, &server);
    pass(&home, 1_000 * HOUR);
    assert_eq!(token(&home), "ACCESS1");
    let refused = ask(&home, Some(&digest("ACCESS1")));
    assert!(matches!(refused, Ok(CredentialReply::Connect { is_over: true, .. })), "{refused:?}");
    assert_eq!(is_to_be_connected(&home), Some(true));
}

#[test]
fn a_program_that_is_known_no_more_registers_itself_again() {
    let (home, server, _) = home();
    connect(&home, &server);
    pass(&home, HOUR);
    server.moods.borrow_mut().push_back(Mood::Stranger);
    assert_eq!(is_to_be_connected(&home), Some(true));
    connect(&home, &server);
    assert_eq!(server.registered.get(), 2);
}

#[test]
fn what_is_in_use_is_refreshed_ahead() {
    let (home, server, _) = home();
    connect(&home, &server);
    // Nobody uses it: nobody refreshes it.
    home.user.expire(&home.world, home.world.now()).unwrap();
    let hop = hop(None);
    let (_, wake) = now_of(home.user.credential(&home.world, &hop)).unwrap();
    let due = wake.expect("it is to be woken");
    let (end, ahead) = (1_000_000 + HOUR, limits::TOKEN_AHEAD_MS);
    assert!((end - 2 * ahead..=end - ahead).contains(&due.0), "{due:?}");
    let (_, again) = now_of(home.user.credential(&home.world, &hop)).unwrap();
    assert_eq!(again, None, "nothing is written twice");
    assert_eq!(home.user.expire(&home.world, Millis(due.0 - 1)).unwrap(), Some(due));
    home.world.run();
    assert_eq!(server.used.get(), 0);
    home.world.now.set(due.0);
    home.user.expire(&home.world, due).unwrap();
    home.user.expire(&home.world, due).unwrap();
    home.world.run();
    assert_eq!(server.used.get(), 1);
    assert_eq!(token(&home), "ACCESS2");
}

#[test]
fn what_was_ended_does_not_come_back_by_a_refresh() {
    let (home, server, way) = home();
    connect(&home, &server);
    pass(&home, HOUR);
    let (answer_now, wait) = oneshot::channel();
    way.held_back.borrow_mut().push_back(wait);
    server.moods.borrow_mut().push_back(Mood::Slow);
    let hop = hop(None);
    let mut asked = Box::pin(home.user.credential(&home.world, &hop));
    assert!(asked.as_mut().now_or_never().is_none());
    home.world.run();
    home.user.disconnect(&home.world, "far").unwrap();
    answer_now.send(()).unwrap();
    home.world.run();
    let (reply, _) = asked.as_mut().now_or_never().unwrap().unwrap();
    assert!(matches!(reply, CredentialReply::Connect { is_over: false, .. }), "{reply:?}");
    assert_eq!(state(&home), ConnectionState::Missing);
}

#[test]
fn another_configuration_gets_no_token_of_this_one() {
    let (mut home, server, _) = home();
    connect(&home, &server);
    let elsewhere = TOOLSETS.replace("mcp.test/mcp", "evil.test/mcp");
    let written = Written { toolsets: Some(&elsewhere), ..Written::default() };
    home.config = Rc::new(Config::parse(written).unwrap());
    home.restart();
    assert_eq!(is_to_be_connected(&home), Some(false));
}

/// Everything that the database holds, as one text.
fn stored(home: &Home) -> String {
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table'";
    let tables = home.database.run(tables, &[]).unwrap();
    let rows = |table: &str| home.database.run(&format!("SELECT * FROM {table}"), &[]).unwrap();
    tables.iter().map(|table| format!("{:?}", rows(table.text(0).unwrap()))).collect()
}

#[test]
fn nothing_is_stored_in_clear_and_new_keys_take_over() {
    let (mut home, server, _) = home();
    let open = begin(&home, &server);
    connect(&home, &server);
    let text = stored(&home);
    assert!(text.contains("k1."), "{text}");
    let secrets = ["ACCESS", "REFRESH", "registered", "CODE", open.as_str()];
    assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
    *home.world.ring.borrow_mut() = ring(&[2, 1]);
    assert_eq!(token(&home), "ACCESS1");
    // What was used is sealed anew: the former key may go.
    *home.world.ring.borrow_mut() = ring(&[2]);
    home.restart();
    assert_eq!(token(&home), "ACCESS1");
    // What cannot be opened is not there, and can be connected again.
    *home.world.ring.borrow_mut() = ring(&[3]);
    assert_eq!(is_to_be_connected(&home), Some(false));
    connect(&home, &server);
    assert_eq!(token(&home), "ACCESS2");
    // A row is another user's for nobody.
    let (other, ..) = self::home();
    let id = UserId::parse("w").unwrap();
    let thief = Rc::new(User::new(Rc::clone(&home.config), id.clone(), Rc::clone(&home.database)));
    *other.world.ring.borrow_mut() = ring(&[3]);
    let hop = CredentialHop { user: id, ..hop(None) };
    let (reply, _) = now_of(thief.credential(&other.world, &hop)).unwrap();
    assert!(matches!(reply, CredentialReply::Connect { .. }), "{reply:?}");
}

#[test]
fn without_keys_nothing_is_kept() {
    let (home, server, _) = home();
    *home.world.ring.borrow_mut() = None;
    assert_eq!(ask(&home, None).unwrap_err().kind, Kind::Unavailable);
    let refused = now_of(home.user.connect(&*home.world, "far", REDIRECT)).unwrap_err();
    assert_eq!(refused.kind, Kind::Unavailable);
    assert_eq!(home.user.connections(&*home.world), Ok(Vec::new()));
    assert_eq!(server.asked.borrow().len(), 0);
}
