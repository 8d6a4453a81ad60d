//! Who is told of another configuration, when, and what that costs. It must not know what is in
//! one.

use super::*;
use shared::limits::TOOLS_TTL_MS;

const LISTS: [&str; 3] = ["tools/list_changed", "prompts/list_changed", "resources/list_changed"];

impl Home {
    /// The router is restarted, and everybody who is connected stays, if they can.
    fn reconfigure(&mut self, toolsets: &str, is_connected: bool) {
        let written = Written { toolsets: Some(toolsets), ..Written::default() };
        self.config = Rc::new(Config::parse(written).unwrap());
        let sockets = self.world.sockets.take();
        self.restart();
        if is_connected {
            *self.world.sockets.borrow_mut() = sockets;
        }
    }

    fn ping(&self, session: &str) {
        assert!(show(self.post(session, &request(9, "ping", &json!({})))).starts_with("200 "));
    }
}

const ANOTHER: &str = r#"[{"kind":"memory","hide":{"org":["forget"]}}]"#;

/// How often each list is said to be another one.
fn counts(text: &str) -> [usize; 3] {
    LISTS.map(|list| text.matches(list).count())
}

#[test]
fn a_session_is_told_once_when_its_stream_is_there_again() {
    let mut home = Home::new();
    let (one, other) = (home.begin("2025-11-25"), home.begin("2025-11-25"));
    let event = listening(home.get(&one, None));
    assert_eq!(counts(&home.attach(event).events), [0; 3]);
    home.reconfigure(ANOTHER, false);
    // Whether it comes back to its stream or opens one, and however often.
    let last = EventId::start(event.stream).to_string();
    let again = home.attach(listening(home.get(&one, Some(&last)))).events;
    assert_eq!(counts(&again), [1; 3], "{again}");
    let told = last_id(&again);
    let event = listening(home.get(&one, Some(&told)));
    assert_eq!(counts(&home.attach(event).events), [0; 3]);
    home.restart();
    let fresh = listening(home.get(&other, None));
    assert_eq!(counts(&home.attach(fresh).events), [1; 3]);
    let fresh = listening(home.get(&other, None));
    assert_eq!(counts(&home.attach(fresh).events), [0; 3]);
    // One that begins now has the lists of now.
    let new = home.begin("2025-11-25");
    let event = listening(home.get(&new, None));
    assert_eq!(counts(&home.attach(event).events), [0; 3]);
}

#[test]
fn whoever_is_connected_is_told_at_once() {
    let mut home = Home::new();
    let session = home.begin("2025-11-25");
    let event = listening(home.get(&session, None));
    home.attach(event);
    let modern = home.hear(&json!({ "toolsListChanged": true }));
    home.attach(modern);
    home.reconfigure(ANOTHER, true);
    home.ping(&session);
    home.ping(&session);
    assert_eq!(counts(&home.world.heard(event)), [1; 3]);
    assert_eq!(counts(&home.world.heard(modern)), [1, 0, 0]);
    let event = listening(home.get(&session, None));
    assert_eq!(counts(&home.attach(event).events), [0; 3]);
}

#[test]
fn a_stream_of_the_modern_era_is_told_if_it_opens_soon_after() {
    let mut home = Home::new();
    let filter = json!({ "promptsListChanged": true, "resourcesListChanged": true });
    assert_eq!(counts(&home.attach(home.hear(&filter)).events), [0; 3]);
    home.world.now.set(1_000);
    home.reconfigure(ANOTHER, false);
    for (now, expected) in
        [(1_000, [0, 1, 1]), (999 + TOOLS_TTL_MS, [0, 1, 1]), (1_000 + TOOLS_TTL_MS, [0; 3])]
    {
        home.world.now.set(now);
        let events = home.attach(home.hear(&filter)).events;
        assert_eq!(counts(&events), expected, "{events}");
        assert!(events.find("acknowledged") < events.find("list_changed").or(Some(usize::MAX)));
        home.restart();
    }
}

#[test]
fn a_session_that_begins_notices_for_those_that_are_there() {
    let mut home = Home::new();
    let old = home.begin("2025-11-25");
    home.reconfigure(ANOTHER, false);
    let new = home.begin("2025-11-25");
    for (session, expected) in [(old, [1; 3]), (new, [0; 3])] {
        let event = listening(home.get(&session, None));
        assert_eq!(counts(&home.attach(event).events), expected);
    }
}

#[test]
fn calls_write_nothing_of_it() {
    let mut home = Home::new();
    let changes = |home: &Home| {
        let rows = home.database.run("SELECT total_changes()", &[]).unwrap();
        rows[0].integer(0).unwrap()
    };
    let call = |home: &Home| {
        home.world.answer(&json!({}));
        home.send(Method::Post, "/mcp/acme", modern_incoming("tools/list", &json!({})));
    };
    call(&home);
    assert!(!has_table(&home.database, "configured").unwrap());
    let session = home.begin("2025-11-25");
    home.attach(listening(home.get(&session, None)));
    home.restart();
    let before = changes(&home);
    call(&home);
    home.ping(&session);
    assert_eq!(changes(&home), before);
    // It is another one: that is written once.
    home.reconfigure(ANOTHER, false);
    call(&home);
    let after = changes(&home);
    assert!(after > before);
    home.restart();
    call(&home);
    home.ping(&session);
    assert_eq!(changes(&home), after);
}
