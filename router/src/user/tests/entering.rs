//! Who gets into which scope, and what that costs. It must not know what anybody does inside.

use super::*;

pub(super) const VERIFIED: &str = r#"[{"kind":"memory"},{"kind":"mcp","name":"a","url":"https://a.test/",
    "verify":{"org":"https://a.test/{org}","project":"https://a.test/{org}/{project}"}}]"#;

impl Fake {
    /// The next check says this.
    fn check(&self, checked: Result<Access, Error>) {
        self.check_later().send(checked).unwrap();
    }

    /// The next check says what is said by this.
    fn check_later(&self) -> oneshot::Sender<Result<Access, Error>> {
        let (sender, receiver) = oneshot::channel();
        self.checks.borrow_mut().push_back(receiver);
        sender
    }
}

fn failed() -> Result<Access, Error> {
    Err(Error::new(Kind::Upstream, "it is down"))
}

fn list(home: &Home, url: &str) -> (u16, String) {
    modern(home, url, "tools/list", &json!({}))
}

#[test]
fn a_scope_is_asked_for_once_and_then_no_more_while_it_is_good() {
    let mut home = Home::with_toolsets(VERIFIED);
    home.world.check(Ok(Access::Yes));
    for _ in 0..2 {
        for _ in 0..3 {
            home.world.answer(&json!({}));
            assert_eq!(list(&home, "/mcp/acme").0, 200);
        }
        home.restart();
    }
    assert_eq!(*home.world.checked.borrow(), ["u:acme"]);
    // Where no level is pinned nothing is asked.
    home.world.answer(&json!({}));
    assert_eq!(list(&home, "/mcp").0, 200);
    // A yes is affected by no failure while it is good, and lets nobody in when it is not.
    home.world.now.set(shared::limits::ACCESS_YES_MS - 1);
    home.world.answer(&json!({}));
    assert_eq!(list(&home, "/mcp/acme").0, 200);
    home.world.now.set(shared::limits::ACCESS_YES_MS);
    home.world.check(failed());
    let back = home.send(Method::Post, "/mcp/acme", modern_incoming("tools/list", &json!({})));
    let Outgoing::Failed(reply, _) = back else { panic!("{}", show(back)) };
    assert_eq!(reply.status, 503);
    assert!(reply.headers.iter().any(|(name, _)| *name == "retry-after"), "{reply:?}");
}

#[test]
fn a_scope_that_is_not_for_this_user_is_a_path_where_nothing_is() {
    let home = Home::with_toolsets(VERIFIED);
    let nothing = Address::parse("http://host/mcp/a/b/c", &home.config.levels).unwrap_err();
    let nothing = nothing.reply(None, false);
    let expected = (nothing.status, nothing.body.unwrap());
    home.world.check(Ok(Access::No));
    for method in [Method::Post, Method::Get, Method::Delete] {
        assert_eq!(answered(home.send(method, "/mcp/evil", incoming())), expected);
    }
    assert_eq!(answered(home.send(Method::Get, "/sse/evil", incoming())), expected);
    assert_eq!(answered(home.send(Method::Post, "/messages/evil", incoming())), expected);
    assert_eq!(list(&home, "/mcp/evil"), expected);
    assert_eq!(home.world.checked.borrow().len(), 1);
    // It is asked again soon: what is granted is there.
    home.world.now.set(shared::limits::ACCESS_NO_MS);
    home.world.check(Ok(Access::Yes));
    home.world.answer(&json!({}));
    assert_eq!(list(&home, "/mcp/evil").0, 200);
}

#[test]
fn a_scope_that_arguments_name_is_asked_for_too() {
    let home = Home::with_toolsets(VERIFIED);
    let params = json!({ "name": "recall", "arguments": { "org": "acme", "project_slug": "web" } });
    for (checked, status) in [(Ok(Access::No), 404), (failed(), 503), (Ok(Access::Yes), 200)] {
        home.world.check(checked);
        home.world.answer(&json!({}));
        let (got, body) = modern(&home, "/mcp", "tools/call", &params);
        assert_eq!(got, status, "{body}");
        home.world.now.set(home.world.now.get() + shared::limits::ACCESS_NO_MS);
        home.world.answers.borrow_mut().clear();
    }
    assert_eq!(*home.world.checked.borrow(), ["u:acme:web"; 3]);
    // A session goes on: only a context of that name does not.
    home.world.answer(&json!({ "result": {} }));
    let client = json!({ "name": "c", "version": "1" });
    let begin =
        json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
    let body = request(0, "initialize", &begin).to_string();
    let back = home.send(Method::Post, "/mcp", Incoming { body, ..incoming() });
    let Outgoing::Begun(_, id) = back else { panic!("{}", show(back)) };
    home.world.check(Ok(Access::No));
    let params = json!({ "name": "recall", "arguments": { "org": "evil" } });
    let body = request(1, "tools/call", &params).to_string();
    let session = Some(id.as_str().to_owned());
    let (status, body) =
        answered(home.send(Method::Post, "/mcp", Incoming { session, body, ..incoming() }));
    assert_eq!(status, 200);
    assert!(body.contains(r#""id":1,"error":{"code":-32001,"#), "{body}");
    assert!(body.contains("there is nothing at this path"), "{body}");
}

#[test]
fn a_session_at_a_scope_that_is_no_longer_the_users_is_nowhere() {
    let home = Home::with_toolsets(VERIFIED);
    home.world.check(Ok(Access::Yes));
    let session = home.begin("2025-11-25");
    home.world.now.set(shared::limits::ACCESS_YES_MS);
    home.world.check(Ok(Access::No));
    let ping = request(1, "ping", &json!({}));
    assert!(show(home.post(&session, &ping)).starts_with("404 "));
    assert!(show(home.get(&session, None)).starts_with("404 "));
}

#[test]
fn requests_at_once_share_one_check() {
    let home = Home::with_toolsets(VERIFIED);
    let address = Address::parse("http://host/mcp/acme", &home.config.levels).unwrap();
    let incoming = modern_incoming("tools/list", &json!({}));
    let moment = Moment::new(Millis(0), [1; 40]);
    let serve = || {
        let (user, world) = (&home.user, &home.world);
        Box::pin(user.serve(world, Method::Post, &address, &incoming, &FIXED, moment.clone()))
    };
    let said = home.world.check_later();
    let (mut first, mut second, mut third) = (serve(), serve(), serve());
    assert!((&mut first).now_or_never().is_none());
    assert!((&mut second).now_or_never().is_none());
    assert!((&mut third).now_or_never().is_none());
    assert_eq!(home.world.checked.borrow().len(), 1);
    // Whoever asked is gone: somebody else asks.
    let again = home.world.check_later();
    drop((first, said));
    assert!((&mut second).now_or_never().is_none());
    assert!((&mut third).now_or_never().is_none());
    assert_eq!(home.world.checked.borrow().len(), 2);
    again.send(Ok(Access::No)).unwrap();
    for request in [second, third] {
        assert_eq!(answered(now_of(request)).0, 404);
    }
    assert_eq!(home.world.checked.borrow().len(), 2);
}

#[test]
fn a_check_that_fails_is_kept_for_nobody() {
    let home = Home::with_toolsets(VERIFIED);
    home.world.check(failed());
    assert_eq!(list(&home, "/mcp/acme").0, 503);
    home.world.check(Ok(Access::Yes));
    home.world.answer(&json!({}));
    assert_eq!(list(&home, "/mcp/acme").0, 200);
}

#[test]
fn where_nothing_is_verified_nothing_is_asked() {
    let home = Home::with_toolsets(r#"[{"kind":"mcp","name":"a","url":"https://a.test/"}]"#);
    home.world.answer(&json!({}));
    assert_eq!(list(&home, "/mcp/acme/web").0, 200);
    assert!(!has_table(&home.database, "access").unwrap());
}
