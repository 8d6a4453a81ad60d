//! Who is let in by what a user's account says, and what the account shows. It must not know the
//! platform.

use super::*;
use identity::{
    account::{self, NewKey, Overview, Target},
    caller::{Access as Allowed, Credential},
    key,
    keyring::KeyRing,
};
use shared::{hop::StopHop, limits};

fn ring() -> KeyRing {
    KeyRing::parse("a=AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap()
}

/// A user of a deployment that has keys of its own.
fn home() -> Home {
    let home = Home::new();
    *home.world.ring.borrow_mut() = Some(Rc::new(ring()));
    home
}

impl Home {
    fn account(&self, request: account::Request) -> Result<account::Reply, Error> {
        let user = UserId::parse("u").unwrap();
        let hop = account::Hop { user, request };
        now_of(self.user.account(&self.world, hop)).map(|(reply, _)| reply)
    }

    fn done(&self, request: account::Request) {
        assert_eq!(self.account(request).unwrap(), account::Reply::Done);
    }

    fn overview(&self) -> Overview {
        match self.account(account::Request::Overview).unwrap() {
            account::Reply::Overview(overview) => overview,
            other => panic!("{other:?}"),
        }
    }

    fn mint(&self, new: NewKey) -> Result<key::Grant, Error> {
        match self.account(account::Request::Mint(new))? {
            account::Reply::Key(text) => Ok(key::read(&ring(), &text).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    /// Sends a request of 2026-07-28 as a client that says its name.
    fn asks(&self, caller: &Caller, url: &str, client: &str) -> u16 {
        let params = json!({ "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": { "name": client, "version": "3" } } });
        let incoming = modern_incoming("tools/list", &params);
        let address = Address::parse(&format!("http://host{url}"), &self.config.levels).unwrap();
        let moment = Moment::new(self.world.now(), [3; 40]);
        self.world.answer(&json!({ "result": {} }));
        let back = self.user.serve(&self.world, Method::Post, &address, &incoming, caller, moment);
        let status = match now_of(back) {
            Outgoing::Own(reply) | Outgoing::Failed(reply, _) => reply.status,
            _ => 200,
        };
        self.world.answers.borrow_mut().clear();
        status
    }

    /// What Agents were told to stop since this was asked last: context and what.
    fn stopped(&self) -> Vec<(String, String)> {
        let stops = self.world.stops.take();
        let read = |text: &String| {
            let hop: StopHop = serde_json::from_str(text).unwrap();
            (hop.key.object_name(), serde_json::to_value(&hop.stop).unwrap().to_string())
        };
        stops.iter().map(read).collect()
    }
}

fn new_key(name: &str, scope: &str) -> NewKey {
    NewKey { name: name.to_owned(), scope: scope.to_owned(), access: Allowed::Read, expires: None }
}

fn holding(credential: Credential) -> Caller {
    Caller { credential, ..Caller::fixed() }
}

fn grant(id: &str) -> Caller {
    holding(Credential::Grant { client: "client-1".to_owned(), grant: id.to_owned() })
}

#[test]
fn a_key_is_good_until_its_user_revokes_it() {
    let mut home = home();
    let made = home.mint(new_key(" ci ", "/mcp/ACME/")).unwrap();
    assert_eq!((made.scope.as_str(), made.access), ("/mcp/acme", Allowed::Read));
    let caller = holding(Credential::Key(made.id.clone()));
    assert_eq!(home.asks(&caller, "/mcp/acme", "c"), 200);
    let listed = home.overview().keys;
    assert_eq!((listed[0].name.as_str(), listed[0].used), ("ci", Some(Millis(0))));
    home.done(account::Request::Revoke { key: made.id.clone() });
    assert_eq!(home.asks(&caller, "/mcp/acme", "c"), 401);
    let stop = format!(r#"{{"credential":"key {}"}}"#, made.id);
    assert_eq!(home.stopped(), [("u:acme".to_owned(), stop)]);
    home.restart();
    assert_eq!(home.asks(&caller, "/mcp/acme", "c"), 401);
}

#[test]
fn a_key_that_cannot_be_is_refused_with_a_reason() {
    let home = home();
    for (new, expected) in [
        (new_key("", "/mcp"), "a key has a name, so that you know it again"),
        (new_key("x", "/mcp/a/b/c"), "/mcp/a/b/c: "),
        (new_key("x", "nonsense"), "nonsense: "),
        (NewKey { expires: Some(Millis(0)), ..new_key("x", "/mcp") }, "a key expires in the "),
    ] {
        let error = home.mint(new).unwrap_err();
        assert_eq!(error.kind, Kind::Invalid);
        assert!(error.public.starts_with(expected), "{error}");
    }
    // A deployment without keys of its own seals none.
    let error = Home::new().mint(new_key("x", "/mcp")).unwrap_err();
    assert_eq!(error.public, "this deployment makes no keys");
}

#[test]
fn what_is_blocked_is_refused_and_what_runs_there_ends() {
    let mut home = home();
    let caller = Caller::fixed();
    for path in ["/mcp", "/mcp/acme", "/mcp/acme/web", "/mcp/other"] {
        assert_eq!(home.asks(&caller, path, "cursor"), 200, "{path}");
    }
    let block = |home: &Home, target: &Target| {
        home.done(account::Request::Block(target.clone()));
        home.stopped()
    };
    let acme = Target::Context("/mcp/Acme".to_owned());
    let everything = |key: &str| (key.to_owned(), "\"everything\"".to_owned());
    assert_eq!(block(&home, &acme), [everything("u:acme"), everything("u:acme:web")]);
    home.restart();
    let seen = |path| home.asks(&caller, path, "cursor");
    let all = || ["/mcp", "/mcp/acme", "/mcp/acme/web", "/mcp/other"].map(seen);
    assert_eq!(all(), [200, 403, 403, 200]);
    home.done(account::Request::Unblock(Target::Context("/mcp/acme".to_owned())));
    let client = Target::Client("cursor".to_owned());
    assert_eq!(block(&home, &client).len(), 4);
    assert_eq!(all(), [403; 4]);
    assert_eq!(home.asks(&caller, "/mcp", "another"), 200);
    home.done(account::Request::Unblock(client));
    assert_eq!(block(&home, &Target::User).len(), 4);
    assert_eq!(home.asks(&caller, "/mcp", "another"), 403);
    home.done(account::Request::Unblock(Target::User));
    // An upstream is left out of every hop, and what runs at it ends.
    let far = block(&home, &Target::Upstream("far".to_owned()));
    assert_eq!(far[0].1, r#"{"toolset":"far"}"#);
    assert_eq!(all(), [200; 4]);
    assert_eq!(home.world.last_hop()["options"]["blocked"], json!(["far"]));
    assert_eq!(home.overview().blocks, [Target::Upstream("far".to_owned())]);
}

#[test]
fn a_call_that_names_a_blocked_context_from_a_wider_one_is_refused() {
    let home = home();
    home.done(account::Request::Block(Target::Context("/mcp/acme".to_owned())));
    let arguments = json!({ "text": "x", "organizationSlug": "acme" });
    let params = json!({ "name": "remember", "arguments": arguments });
    let (status, body) = modern(&home, "/mcp", "tools/call", &params);
    assert_eq!(status, 403, "{body}");
}

#[test]
fn a_grant_that_was_ended_is_good_no_more() {
    let mut home = home();
    assert_eq!(home.asks(&grant("g1"), "/mcp", "cursor"), 200);
    assert_eq!(home.asks(&grant("g2"), "/mcp", "cursor"), 200);
    let client = &home.overview().clients[0];
    assert_eq!((client.id.as_str(), client.name.as_str()), ("client-1", "cursor"));
    assert_eq!(client.grants, ["g2", "g1"]);
    home.done(account::Request::EndGrant { grant: "g1".to_owned() });
    assert_eq!(home.stopped()[0].1, r#"{"credential":"grant g1"}"#);
    home.restart();
    assert_eq!(home.asks(&grant("g1"), "/mcp", "cursor"), 401);
    assert_eq!(home.asks(&grant("g2"), "/mcp", "cursor"), 200);
    assert_eq!(home.overview().clients[0].grants, ["g2"]);
}

#[test]
fn streams_that_wait_end_with_what_let_them_in() {
    let home = home();
    let filter = json!({ "toolsListChanged": true });
    let event = home.hear(&filter);
    home.attach(event);
    assert_eq!(home.world.sockets.borrow().len(), 1);
    home.done(account::Request::Block(Target::Client("somebody else".to_owned())));
    assert_eq!(home.world.sockets.borrow().len(), 1);
    home.done(account::Request::Block(Target::Context("/mcp/acme".to_owned())));
    assert_eq!(home.world.sockets.borrow().len(), 0);
    // That of a session ends with its client.
    home.done(account::Request::Unblock(Target::Context("/mcp/acme".to_owned())));
    let session = home.begin("2025-11-25");
    home.attach(listening(home.get(&session, None)));
    home.done(account::Request::Block(Target::Client("c".to_owned())));
    assert_eq!(home.world.sockets.borrow().len(), 0);
}

#[test]
fn streams_end_when_the_time_of_what_let_them_in_is_over() {
    let mut home = home();
    let opens = |home: &Home, until: Option<u64>| {
        let credential = Credential::External { client: None };
        let caller = Caller { until: until.map(Millis), ..holding(credential) };
        let params = json!({ "notifications": { "toolsListChanged": true } });
        let incoming = modern_incoming("subscriptions/listen", &params);
        let address = Address::parse("http://host/mcp/acme", &home.config.levels).unwrap();
        let moment = Moment::new(home.world.now(), [3; 40]);
        let (user, world) = (&home.user, &home.world);
        listening(now_of(user.serve(world, Method::Post, &address, &incoming, &caller, moment)))
    };
    let ends = [None, Some(50), Some(70)].map(|until| opens(&home, until));
    let late = opens(&home, Some(60));
    ends.iter().for_each(|event| drop(home.attach(*event)));
    let left =
        |home: &Home| ends.map(|event| home.world.sockets.borrow().contains_key(&event.stream));
    home.world.now.set(49);
    assert_eq!(home.user.expire(&home.world, home.world.now()).unwrap(), Some(Millis(50)));
    assert_eq!(left(&home), [true; 3]);
    // The object may have slept, which its sockets do not notice.
    let sockets = home.world.sockets.take();
    home.restart();
    *home.world.sockets.borrow_mut() = sockets;
    home.world.now.set(50);
    assert_eq!(home.user.expire(&home.world, home.world.now()).unwrap(), Some(Millis(60)));
    assert_eq!(left(&home), [true, false, true]);
    // Whoever has not connected by then does not.
    home.world.now.set(60);
    assert_eq!(home.user.attach(&home.world, late).unwrap_err().kind, Kind::NotFound);
    home.world.now.set(70);
    let next = home.user.expire(&home.world, home.world.now()).unwrap();
    assert!(next.is_some_and(|next| next > Millis(70)));
    assert_eq!(left(&home), [true, false, false]);
}

#[test]
fn a_context_that_does_not_take_it_is_told_again() {
    for (lost, tries) in [(0, 1), (1, 2), (2, 3), (9, 3)] {
        let home = home();
        assert_eq!(home.asks(&grant("g1"), "/mcp/acme", "cursor"), 200);
        home.world.lost_stops.set(lost);
        let request = account::Request::EndGrant { grant: "g1".to_owned() };
        let hop = account::Hop { user: UserId::parse("u").unwrap(), request };
        let mut ended = Box::pin(home.user.account(&home.world, hop));
        for pause in &limits::STOP_PAUSES_MS[..tries - 1] {
            assert!((&mut ended).now_or_never().is_none(), "{lost}");
            home.world.pass(u64::from(*pause));
        }
        let (reply, _) = now_of(ended).unwrap();
        assert_eq!((reply, home.stopped().len()), (account::Reply::Done, tries), "{lost}");
        // Whoever tells it again wakes nobody.
        home.done(account::Request::EndGrant { grant: "g1".to_owned() });
        assert_eq!(home.stopped(), []);
    }
}

#[test]
fn a_stream_of_the_oldest_transport_is_whose_it_was_opened_by() {
    let home = home();
    let sends = |method, url: &str, credential, until: Option<u64>, body: &Value| {
        let caller = Caller { until: until.map(Millis), ..holding(credential) };
        let address = Address::parse(&format!("http://host{url}"), &home.config.levels).unwrap();
        let moment = Moment::new(home.world.now(), [3; 40]);
        let incoming = Incoming { body: body.to_string(), ..incoming() };
        now_of(home.user.serve(&home.world, method, &address, &incoming, &caller, moment))
    };
    let external = || Credential::External { client: None };
    let event = listening(sends(Method::Get, "/sse/acme", external(), Some(50), &json!({})));
    let first = home.attach(event).events;
    let at = first.strip_prefix("event: endpoint\ndata: ").unwrap().trim_end();
    let params = json!({ "protocolVersion": "2024-11-05", "capabilities": {},
        "clientInfo": { "name": "c", "version": "1" } });
    home.world.answer(&json!({ "id": 0 }));
    let begins = request(0, "initialize", &params);
    let posted = sends(Method::Post, at, Credential::Static, None, &begins);
    assert_eq!(show(posted), "202 ");
    home.world.run();
    let held = home.user.holders.of(event.stream).unwrap();
    assert_eq!((held.by.client.as_str(), held.until), ("c", Some(Millis(50))));
    home.world.now.set(50);
    home.user.expire(&home.world, Millis(50)).unwrap();
    assert!(!home.world.sockets.borrow().contains_key(&event.stream));
}

#[test]
fn what_ends_while_a_call_is_on_its_way_is_told_to_its_agent_again() {
    use account::Request::{Block, EndGrant};
    let far = Target::Upstream("far".to_owned());
    let acme = Target::Context("/mcp/acme".to_owned());
    for (ending, expected) in [
        (Block(acme), "\"everything\""),
        (Block(Target::Client("client-1".to_owned())), r#"{"client":"client-1"}"#),
        (Block(far), r#"{"toolset":"far"}"#),
        (EndGrant { grant: "g1".to_owned() }, r#"{"credential":"grant g1"}"#),
    ] {
        let home = home();
        let user = Rc::clone(&home.user);
        *home.world.meanwhile.borrow_mut() = Some(Box::new({
            let world = Rc::clone(&home.world);
            move || {
                let hop = account::Hop { user: UserId::parse("u").unwrap(), request: ending };
                now_of(user.account(&world, hop)).unwrap();
                // The first word, which came too early.
                assert_eq!(world.stops.take().len(), 1);
            }
        }));
        assert_eq!(home.asks(&grant("g1"), "/mcp/acme", "cursor"), 200);
        assert_eq!(home.stopped(), [("u:acme".to_owned(), expected.to_owned())]);
        home.asks(&grant("g2"), "/mcp/other", "cursor");
        assert_eq!(home.stopped(), []);
    }
    let home = home();
    let made = home.mint(new_key("ci", "/mcp")).unwrap();
    *home.world.meanwhile.borrow_mut() = Some(Box::new({
        let (user, id) = (Rc::clone(&home.user), made.id.clone());
        move || user.keys.revoke(&id).unwrap()
    }));
    let caller = holding(Credential::Key(made.id.clone()));
    assert_eq!(home.asks(&caller, "/mcp/acme", "c"), 200);
    assert_eq!(home.stopped()[0].1, format!(r#"{{"credential":"key {}"}}"#, made.id));
}

#[test]
fn nobody_listens_to_servers_for_what_is_blocked() {
    let home = Home::with_toolsets(listening::UPSTREAM);
    let session = home.begin("2025-11-25");
    home.subscribe(&session, "resources/subscribe", "repo://acme/web/1");
    let wanted = ["u:acme:web false repo://acme/web/1"];
    assert_eq!(home.told(), wanted);
    let acme = || Target::Context("/mcp/acme".to_owned());
    home.done(account::Request::Block(acme()));
    assert_eq!(home.told(), ["u:acme:web false "]);
    home.done(account::Request::Unblock(acme()));
    assert_eq!(home.told(), wanted);
    // That one server of several is blocked its Agents learn, too.
    home.done(account::Request::Block(Target::Upstream("a".to_owned())));
    assert_eq!(home.told(), wanted);
    home.done(account::Request::Block(Target::User));
    assert_eq!(home.told(), ["u:acme:web false "]);
}

#[test]
fn what_ends_while_it_is_asked_who_may_enter_lets_nothing_through() {
    let home = Home::with_toolsets(entering::VERIFIED);
    let (say, check) = oneshot::channel();
    home.world.checks.borrow_mut().push_back(check);
    let address = Address::parse("http://host/mcp/acme", &home.config.levels).unwrap();
    let incoming = modern_incoming("tools/list", &json!({}));
    let (caller, moment) = (grant("g1"), Moment::new(Millis(0), [3; 40]));
    let mut asking =
        Box::pin(home.user.serve(&home.world, Method::Post, &address, &incoming, &caller, moment));
    assert!((&mut asking).now_or_never().is_none());
    home.done(account::Request::EndGrant { grant: "g1".to_owned() });
    say.send(Ok(Access::Yes)).unwrap();
    let answered = (&mut asking).now_or_never().expect("an answer");
    assert!(show(answered).starts_with("401 "));
    assert!(home.world.hops.borrow().is_empty());
}

#[test]
fn a_stream_that_was_resumed_is_of_whoever_resumed_it() {
    let home = home();
    let session = home.begin("2025-11-25");
    let resumes = |caller: &Caller, last: Option<EventId>| {
        let last_event = last.map(|last| last.to_string());
        let incoming = Incoming { session: Some(session.clone()), last_event, ..incoming() };
        let address = Address::parse("http://host/mcp/acme", &home.config.levels).unwrap();
        let moment = Moment::new(Millis(0), [3; 40]);
        listening(now_of(home.user.serve(
            &home.world,
            Method::Get,
            &address,
            &incoming,
            caller,
            moment,
        )))
    };
    let event = resumes(&grant("g1"), None);
    home.attach(event);
    let again = resumes(&grant("g2"), Some(event));
    home.attach(again);
    home.done(account::Request::EndGrant { grant: "g1".to_owned() });
    assert_eq!(home.world.sockets.borrow().len(), 1);
    home.done(account::Request::EndGrant { grant: "g2".to_owned() });
    assert_eq!(home.world.sockets.borrow().len(), 0);
}

#[test]
fn a_stream_that_was_ended_before_anybody_was_connected_to_it_stays_so() {
    let home = home();
    let event = home.hear(&json!({ "toolsListChanged": true }));
    home.done(account::Request::Block(Target::Context("/mcp/acme".to_owned())));
    let attached = home.user.attach(&home.world, event);
    assert_eq!(attached.unwrap_err().kind, Kind::NotFound);
    home.done(account::Request::Unblock(Target::Context("/mcp/acme".to_owned())));
    home.user.attach(&home.world, event).unwrap();
}

#[test]
fn clients_are_written_once_they_are_quiet() {
    let mut home = home();
    for _ in 0..3 {
        assert_eq!(home.asks(&Caller::fixed(), "/mcp", "cursor"), 200);
    }
    assert!(!has_table(&*home.database, "clients").unwrap());
    home.world.run();
    home.world.pass(limits::COUNTED_QUIET_MS);
    home.world.run();
    assert!(has_table(&*home.database, "clients").unwrap());
    home.restart();
    let client = &home.overview().clients[0];
    assert_eq!((client.name.as_str(), client.version.as_str()), ("cursor", "3"));
    assert_eq!((client.revision.as_str(), client.calls), ("2026-07-28", 3));
}

#[test]
fn a_credential_that_only_reads_says_so_in_the_hop() {
    let home = home();
    let reads = Caller { access: Allowed::Read, ..grant("g1") };
    assert_eq!(home.asks(&reads, "/mcp", "cursor"), 200);
    let hop = home.world.last_hop();
    assert_eq!(hop["is_read_only"], true);
    assert_eq!(hop["holder"], json!({ "client": "client-1", "credential": "grant g1" }));
}

#[test]
fn an_account_is_its_users_alone() {
    let hop =
        account::Hop { user: UserId::parse("v").unwrap(), request: account::Request::Overview };
    let home = home();
    let error = now_of(home.user.account(&home.world, hop)).unwrap_err();
    assert_eq!(error.kind, Kind::Conflict);
}
