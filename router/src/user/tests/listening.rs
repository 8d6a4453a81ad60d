//! What Agents are told of who listens. It must not know what an Agent does with it.

use super::*;

pub(super) const UPSTREAM: &str = r#"[{"kind":"memory"},{"kind":"mcp","name":"a","url":"https://a.test/",
    "uris":["repo://{org}/{project}/"]}]"#;

impl Home {
    /// What was told since the last time.
    pub(super) fn told(&self) -> Vec<String> {
        self.world.run();
        self.world.interests.take()
    }

    pub(super) fn subscribe(&self, session: &str, method: &str, uri: &str) -> String {
        show(self.post(session, &request(9, method, &json!({ "uri": uri }))))
    }

    /// A subscription that takes its time.
    fn subscribing(&self, session: &str, uri: &str) -> LocalBoxFuture<'static, ()> {
        let body = request(9, "resources/subscribe", &json!({ "uri": uri })).to_string();
        let incoming = Incoming { session: Some(session.to_owned()), body, ..incoming() };
        let address = Address::parse("http://host/mcp/acme", &self.config.levels).unwrap();
        let (user, world) = (Rc::clone(&self.user), Rc::clone(&self.world));
        Box::pin(async move {
            let moment = Moment::new(Millis(0), [1; 40]);
            user.serve(&world, Method::Post, &address, &incoming, &FIXED, moment).await;
        })
    }

    fn leave(&self, event: EventId) {
        self.world.hang_up(event.stream);
        now_of(self.user.detach(&self.world, event.stream)).unwrap();
    }
}

#[test]
fn a_stream_of_a_session_is_told_as_long_as_it_is_there() {
    let home = Home::with_toolsets(UPSTREAM);
    let session = home.begin("2025-11-25");
    let event = listening(home.get(&session, None));
    assert_eq!(home.told(), Vec::<String>::new());
    home.attach(event);
    assert_eq!(home.told(), ["u:acme true "]);
    // Another changes nothing, and neither does the first that leaves.
    let other = listening(home.get(&session, None));
    home.attach(other);
    home.leave(event);
    assert_eq!(home.told(), Vec::<String>::new());
    home.leave(other);
    assert_eq!(home.told(), ["u:acme false "]);
    home.attach(event);
    assert_eq!(home.told(), ["u:acme true "]);
    home.send(Method::Delete, "/mcp/acme", Incoming { session: Some(session), ..incoming() });
    assert_eq!(home.told(), ["u:acme false "]);
    let old = listening(home.send(Method::Get, "/sse/acme", incoming()));
    home.attach(old);
    assert_eq!(home.told(), ["u:acme true "]);
    home.leave(old);
    assert_eq!(home.told(), ["u:acme false "]);
}

#[test]
fn a_subscription_is_told_before_its_answer_and_where_the_resource_is() {
    let home = Home::with_toolsets(UPSTREAM);
    let session = home.begin("2025-11-25");
    let other = home.begin("2025-11-25");
    let interests = || home.world.interests.take();
    home.world.run();
    for (method, uri, expected) in [
        ("resources/subscribe", "a:b", vec!["u:acme false a:b"]),
        ("resources/subscribe", "a:b", vec![]),
        ("resources/subscribe", "repo://acme/web/1", vec!["u:acme:web false repo://acme/web/1"]),
    ] {
        assert!(home.subscribe(&session, method, uri).starts_with("200 "));
        assert_eq!(interests(), expected);
    }
    assert!(home.subscribe(&other, "resources/subscribe", "a:b").starts_with("200 "));
    assert_eq!(interests(), Vec::<String>::new());
    let outside = home.subscribe(&session, "resources/subscribe", "repo://other/web/1");
    assert!(outside.contains("`uri` is fixed to `acme` by this URL; got `other`"), "{outside}");
    // A change over there is heard here.
    let event = listening(home.get(&session, None));
    home.attach(event);
    home.told();
    let change = |uri: &str| Change::Resource(uri.to_owned());
    home.changed("/mcp/acme/web", &[change("repo://acme/web/1"), change("a:b"), Change::Tools]);
    home.changed("/mcp/acme/other", &[change("repo://acme/web/1")]);
    let heard = home.world.heard(event);
    assert_eq!(heard.matches("data: {").count(), 1, "{heard}");
    assert!(heard.contains("repo://acme/web/1"), "{heard}");
    home.subscribe(&session, "resources/unsubscribe", "a:b");
    assert_eq!(home.told(), Vec::<String>::new());
    home.subscribe(&other, "resources/unsubscribe", "a:b");
    assert_eq!(home.told(), ["u:acme true "]);
    home.send(Method::Delete, "/mcp/acme", Incoming { session: Some(session), ..incoming() });
    assert_eq!(home.told(), ["u:acme false ", "u:acme:web false "]);
}

#[test]
fn a_stream_of_the_modern_era_is_told_before_it_is_acknowledged() {
    let home = Home::with_toolsets(UPSTREAM);
    let filter =
        json!({ "toolsListChanged": true, "resourceSubscriptions": ["repo://acme/web/1"] });
    let event = home.hear(&filter);
    let told = ["u:acme true ", "u:acme:web false repo://acme/web/1"];
    assert_eq!(*home.world.interests.borrow(), told);
    home.attach(event);
    let quiet = home.hear(&json!({}));
    home.attach(quiet);
    assert_eq!(home.told(), told);
    home.leave(event);
    assert_eq!(home.told(), ["u:acme false ", "u:acme:web false "]);
}

#[test]
fn what_was_told_before_a_restart_is_told_again_at_the_first_change() {
    let mut home = Home::with_toolsets(UPSTREAM);
    let session = home.begin("2025-11-25");
    home.subscribe(&session, "resources/subscribe", "repo://acme/web/1");
    let event = listening(home.get(&session, None));
    home.attach(event);
    home.told();
    home.restart();
    assert_eq!(home.told(), Vec::<String>::new());
    // What is wanted no more is told too.
    now_of(home.user.detach(&home.world, event.stream)).unwrap();
    assert_eq!(home.told(), ["u:acme false ", "u:acme:web false repo://acme/web/1"]);
    home.restart();
    home.user.expire(&home.world, Millis(shared::limits::SESSION_IDLE_MS * 2)).unwrap();
    assert_eq!(home.told(), ["u:acme false ", "u:acme:web false "]);
}

#[test]
fn what_an_agent_did_not_take_is_told_at_the_next_change() {
    let home = Home::with_toolsets(UPSTREAM);
    let session = home.begin("2025-11-25");
    home.world.run();
    home.world.is_deaf.set(true);
    assert!(home.subscribe(&session, "resources/subscribe", "a:b").starts_with("200 "));
    assert_eq!(home.told(), ["u:acme false a:b"]);
    home.world.is_deaf.set(false);
    let event = listening(home.get(&session, None));
    home.attach(event);
    assert_eq!(home.told(), ["u:acme true a:b"]);
}

#[test]
fn what_is_told_last_is_what_counts() {
    let home = Home::with_toolsets(UPSTREAM);
    let session = home.begin("2025-11-25");
    let event = listening(home.get(&session, None));
    home.world.run();
    let (go_on, slow) = oneshot::channel();
    home.world.slow.borrow_mut().push_back(slow);
    home.attach(event);
    assert_eq!(home.told(), ["u:acme true "]);
    // While that is on its way nothing overtakes it.
    home.leave(event);
    let mut subscribed = home.subscribing(&session, "a:b");
    assert!((&mut subscribed).now_or_never().is_none());
    assert_eq!(home.told(), Vec::<String>::new());
    go_on.send(()).unwrap();
    home.world.run();
    assert!((&mut subscribed).now_or_never().is_some());
    assert_eq!(home.told(), ["u:acme false a:b"]);
}

#[test]
fn whoever_does_not_hear_it_keeps_nobody_waiting() {
    let home = Home::with_toolsets(UPSTREAM);
    let session = home.begin("2025-11-25");
    home.world.run();
    let (go_on, slow) = oneshot::channel();
    home.world.slow.borrow_mut().push_back(slow);
    let mut subscribing = home.subscribing(&session, "repo://acme/slow/1");
    assert!((&mut subscribing).now_or_never().is_none());
    // Another context is told meanwhile.
    assert!(home.subscribe(&session, "resources/subscribe", "repo://acme/web/1").starts_with("2"));
    home.world.pass(shared::limits::INTEREST_WAIT_MS);
    assert!((&mut subscribing).now_or_never().is_some());
    let told = ["u:acme:slow false repo://acme/slow/1", "u:acme:web false repo://acme/web/1"];
    assert_eq!(home.told(), told);
    // It is told in the end, and only once.
    go_on.send(()).unwrap();
    home.world.run();
    home.subscribe(&session, "resources/unsubscribe", "repo://acme/web/1");
    assert_eq!(home.told(), ["u:acme:web false "]);
}

#[test]
fn whoever_may_not_enter_hears_nothing() {
    let home =
        Home::with_toolsets(&UPSTREAM.replace(
            r#""uris""#,
            r#""verify":{"project":"https://a.test/{org}/{project}"},"uris""#,
        ));
    let session = home.begin("2025-11-25");
    let check = |access| {
        let (sender, receiver) = oneshot::channel();
        sender.send(Ok(access)).unwrap();
        home.world.checks.borrow_mut().push_back(receiver);
    };
    check(Access::No);
    let refused = home.subscribe(&session, "resources/subscribe", "repo://acme/web/1");
    assert!(refused.contains("-32001"), "{refused}");
    home.hear(&json!({ "resourceSubscriptions": ["repo://acme/web/1"] }));
    assert_eq!(home.told(), Vec::<String>::new());
    check(Access::Yes);
    let allowed = home.subscribe(&session, "resources/subscribe", "repo://acme/shop/1");
    assert!(allowed.starts_with("200 "), "{allowed}");
    assert_eq!(home.told(), ["u:acme:shop false repo://acme/shop/1"]);
    // What is refused changes nothing.
    home.world.now.set(shared::limits::ACCESS_YES_MS);
    check(Access::No);
    check(Access::No);
    home.subscribe(&session, "resources/subscribe", "repo://acme/shop/2");
    home.subscribe(&session, "resources/subscribe", "a:b");
    assert_eq!(home.told(), ["u:acme false a:b"]);
}

#[test]
fn where_no_agent_listens_to_anything_none_is_told() {
    let home = Home::new();
    let session = home.begin("2025-11-25");
    home.subscribe(&session, "resources/subscribe", "a:b");
    let event = listening(home.get(&session, None));
    home.attach(event);
    home.world.run();
    assert_eq!(home.told(), Vec::<String>::new());
}
