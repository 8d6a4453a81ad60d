//! The clients of one schedule: what they ask, in which order, and what they make of the answers.
//! It must not look into any object.

use crate::{
    model::{Asked, Model, Note, Session, Totals},
    world::{Response, Ways, World},
};
use futures_util::{StreamExt as _, task::noop_waker_ref};
use identity::caller::Caller;
use router::{
    http::{Address, Door, Incoming, Method},
    user::{Moment, Outgoing},
};
use serde_json::{Value, json};
use shared::{Millis, Scope, UserId, hop::Options};
use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
    task,
};

/// Whoever asks has a key of the configuration.
static FIXED: Caller = Caller::fixed();

/// Requests of one schedule.
const REQUESTS: usize = 24;
/// Requests under way at once.
const AT_ONCE: usize = 4;
/// Polls after which a request that is not answered hangs.
const POLLS_MAX: u64 = 20_000;

/// Users whose names would be one if names were not kept apart.
const USERS: [&str; 3] = ["a", "a:b", "ü %3A"];
const PATHS: [&str; 4] = ["/mcp", "/mcp/b", "/mcp/b/c", "/mcp/d"];

/// An answer, read.
struct Answer {
    status: u16,
    body: Value,
    session: Option<String>,
}

/// What a request is for.
#[derive(Clone)]
enum Purpose {
    Initialize,
    /// Write the note of this text.
    Remember(String),
    /// See everything; each way of looking sees the same.
    Look,
    /// Remove the note of this text.
    Forget(String),
    /// End the session of this index.
    End(usize),
    /// Use the session of this index where it is none.
    Intrude,
}

/// A request on its way.
struct Request {
    user: UserId,
    /// The context that it is for, after routing.
    context: Scope,
    url: Scope,
    purpose: Purpose,
    session: Option<usize>,
    from: u64,
    future: Pin<Box<dyn Future<Output = Answer>>>,
}

/// One schedule.
pub(crate) struct Client {
    world: Rc<World>,
    model: Model,
    totals: Totals,
    under_way: Vec<Request>,
    step: u64,
    serial: u64,
}

impl Client {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            world: World::new(seed),
            model: Model::default(),
            totals: Totals::default(),
            under_way: Vec::new(),
            step: 0,
            serial: 0,
        }
    }

    /// Runs the schedule to its end and looks at everything once more after a restart.
    pub(crate) fn run(mut self) -> Totals {
        let mut left = REQUESTS;
        while left > 0 || !self.under_way.is_empty() {
            let what = self.world.random.below(100);
            if what < 2 {
                self.restart();
            } else if what < 8 {
                self.totals.evictions += u64::from(self.world.evict_one());
            } else if left > 0 && self.under_way.len() < AT_ONCE && what < 30 {
                left -= 1;
                self.begin();
            } else {
                self.poll_one();
            }
            self.world.clock.set(self.world.clock.get() + 1);
        }
        self.restart();
        self.look_everywhere();
        // The objects know the world and it knows them; none may outlive the schedule.
        self.world.restart();
        self.totals.lost = self.world.lost.get();
        self.totals
    }

    fn restart(&mut self) {
        self.totals.restarts += 1;
        // Whoever was waiting hears nothing: what they asked for may have happened.
        self.totals.killed += self.under_way.len() as u64;
        self.under_way.clear();
        self.world.restart();
    }

    fn poll_one(&mut self) {
        self.world.poll_tasks();
        if self.under_way.is_empty() {
            return;
        }
        self.step += 1;
        let index = self.world.random.below(self.under_way.len());
        let mut context = task::Context::from_waker(noop_waker_ref());
        let request = &mut self.under_way[index];
        assert!(self.step - request.from < POLLS_MAX, "a request is never answered");
        if let task::Poll::Ready(answer) = request.future.as_mut().poll(&mut context) {
            let request = self.under_way.swap_remove(index);
            self.step += 1;
            self.totals.answered += 1;
            self.totals.overlaps += u64::from(!self.under_way.is_empty());
            self.take(request, &answer);
        }
    }

    // ---- asking

    fn pick<T: Copy>(&self, from: &[T]) -> T {
        from[self.world.random.below(from.len())]
    }

    fn scope(&self, path: &str) -> Scope {
        Scope::parse_path(path, &self.world.config().levels).unwrap()
    }

    fn begin(&mut self) {
        let user = UserId::parse(self.pick(&USERS)).unwrap();
        let context = self.scope(self.pick(&PATHS));
        let live = |s: &&(usize, Session)| s.1.user == user && s.1.end.is_none();
        let sessions: Vec<(usize, Session)> =
            self.model.sessions.iter().cloned().enumerate().collect();
        let own: Vec<&(usize, Session)> = sessions.iter().filter(live).collect();
        match self.world.random.below(12) {
            0 | 1 => self.initialize(user, context),
            2 if !own.is_empty() => {
                let (index, session) = own[self.world.random.below(own.len())].clone();
                self.end(index, &session);
            }
            3 if !sessions.is_empty() => {
                let (_, session) = &sessions[self.world.random.below(sessions.len())];
                if session.end.is_some_and(|end| end.done.is_some()) {
                    self.intrude(&session.user, &session.scope, session);
                } else if session.user != user || session.scope != context {
                    self.intrude(&user, &context, session);
                }
            }
            4..=7 => self.remember(user, context),
            8 => self.forget(user, context),
            _ => self.look(user, context),
        }
    }

    fn initialize(&mut self, user: UserId, url: Scope) {
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "c", "version": "1" } });
        let incoming = post("initialize", &params);
        self.send(user, url.clone(), url, Purpose::Initialize, None, Method::Post, incoming);
    }

    fn end(&mut self, index: usize, session: &Session) {
        self.model.sessions[index].end = Some(Asked { from: self.step, done: None });
        let incoming = Incoming { session: Some(session.id.clone()), ..Incoming::default() };
        let (user, url) = (session.user.clone(), session.scope.clone());
        let purpose = Purpose::End(index);
        self.send(user, url.clone(), url, purpose, Some(index), Method::Delete, incoming);
    }

    /// Uses a session where it is none: as another user, at another scope, after its end.
    fn intrude(&mut self, user: &UserId, url: &Scope, session: &Session) {
        let incoming =
            Incoming { session: Some(session.id.clone()), ..post("tools/list", &json!({})) };
        let (user, url) = (user.clone(), url.clone());
        self.send(user, url.clone(), url, Purpose::Intrude, None, Method::Post, incoming);
    }

    fn remember(&mut self, user: UserId, context: Scope) {
        self.serial += 1;
        let shared = self.world.random.percent(25);
        let text = format!("note {} {user} {context}", self.serial);
        let note = Note {
            user: user.clone(),
            shelf: (!shared).then(|| context.clone()),
            put: Asked { from: self.step, done: None },
            id: None,
            forget: None,
        };
        self.model.notes.insert(text.clone(), note);
        let arguments = json!({ "text": text, "shared": shared });
        self.call(user, context, Purpose::Remember(text), "remember", arguments);
    }

    fn forget(&mut self, user: UserId, context: Scope) {
        let here = |note: &Note| {
            let shelf = note.shelf.as_ref().is_some_and(|scope| *scope == context);
            note.user == user && shelf && note.id.is_some() && note.forget.is_none()
        };
        let step = self.step;
        let notes = self.model.notes.iter_mut();
        let Some((text, note)) = notes.into_iter().find(|(_, note)| here(note)) else {
            return;
        };
        note.forget = Some(Asked { from: step, done: None });
        let (text, id) = (text.clone(), note.id.clone());
        self.call(user, context, Purpose::Forget(text), "forget", json!({ "id": id }));
    }

    fn look(&mut self, user: UserId, context: Scope) {
        if self.world.random.percent(50) {
            let arguments = json!({ "query": "note", "limit": 50 });
            self.call(user, context, Purpose::Look, "recall", arguments);
        } else {
            self.call(user, context, Purpose::Look, "list_memories", json!({ "limit": 50 }));
        }
    }

    /// Calls a tool of a context: through its own URL or a wider one, in a session or without.
    fn call(
        &mut self,
        user: UserId,
        context: Scope,
        purpose: Purpose,
        tool: &str,
        mut arguments: Value,
    ) {
        let depth = self.world.random.below(context.depth() + 1);
        let slugs = context.slugs().iter().map(shared::scope::Slug::as_str);
        let levels = &self.world.config().levels;
        let url = Scope::parse_slugs(slugs.clone().take(depth), levels).unwrap();
        for (level, slug) in levels.iter().zip(slugs).skip(depth) {
            arguments[self.pick(&[&level.parameters[0], &level.parameters[1]])] = json!(slug);
        }
        self.totals.routed += u64::from(depth < context.depth());
        let live =
            |s: &(usize, &Session)| s.1.user == user && s.1.scope == url && s.1.end.is_none();
        let session = self.model.sessions.iter().enumerate().find(live).map(|(i, _)| i);
        let params = json!({ "name": tool, "arguments": arguments });
        let incoming = match session {
            Some(index) => Incoming {
                session: Some(self.model.sessions[index].id.clone()),
                ..post("tools/call", &params)
            },
            None => modern(tool, params),
        };
        self.send(user, context, url, purpose, session, Method::Post, incoming);
    }

    #[allow(clippy::too_many_arguments, reason = "everything that a request is made of")]
    fn send(
        &mut self,
        user: UserId,
        context: Scope,
        url: Scope,
        purpose: Purpose,
        session: Option<usize>,
        method: Method,
        incoming: Incoming,
    ) {
        let world = Rc::clone(&self.world);
        let moment = Moment {
            now: Millis(world.clock.get()),
            random: world.random.bytes(),
            call: world.random.next(),
        };
        let id = user.clone();
        let address = Address { door: Door::Mcp, scope: url.clone(), options: Options::default() };
        let future = Box::pin(async move {
            let user = world.user(&id);
            let ways = Rc::new(Ways(world));
            read(user.serve(&ways, method, &address, &incoming, &FIXED, moment).await).await
        });
        let from = self.step;
        self.under_way.push(Request { user, context, url, purpose, session, from, future });
    }

    // ---- being answered

    fn take(&mut self, request: Request, answer: &Answer) {
        let done = Some(self.step);
        if let Purpose::Intrude = request.purpose {
            assert_eq!(answer.status, 404, "a session works where it is none");
            self.totals.refused_sessions += 1;
            return;
        }
        if let Some(index) = request.session {
            self.check_session(index, &request, answer);
        }
        // Lost on the way: what was asked for may have happened.
        let failed = answer.status != 200 && answer.status != 204;
        if failed || answer.body["result"]["isError"] == json!(true) {
            return;
        }
        let result = &answer.body["result"]["structuredContent"];
        match request.purpose {
            Purpose::Intrude => {}
            Purpose::Initialize => {
                let id = answer.session.clone().expect("a session id");
                let Request { user, url: scope, .. } = request;
                assert!(self.model.sessions.iter().all(|s| s.id != id), "a session id twice");
                self.model.sessions.push(Session { user, scope, id, end: None });
            }
            Purpose::End(index) => {
                self.model.sessions[index].end = Some(Asked { from: request.from, done });
            }
            Purpose::Remember(text) => {
                let note = self.model.notes.get_mut(&text).unwrap();
                note.put.done = done;
                note.id = Some(result["id"].as_str().expect("an id").to_owned());
                self.totals.shared += u64::from(note.shelf.is_none());
            }
            Purpose::Forget(text) => {
                let note = self.model.notes.get_mut(&text).unwrap();
                note.forget = Some(Asked { from: request.from, done });
            }
            Purpose::Look => {
                self.totals.lists += 1;
                let seen = notes(result);
                let time = (request.from, self.step);
                self.model.check_seen(&request.user, &request.context, &seen, time);
            }
        }
    }

    /// A session lives from its beginning to its end, whatever is restarted in between.
    fn check_session(&mut self, index: usize, request: &Request, answer: &Answer) {
        let end = self.model.sessions[index].end;
        let refused = answer.status == 404;
        match request.purpose {
            // Its own end is asked for once, so it must be there.
            Purpose::End(_) => assert!(!refused, "a session was gone before its end"),
            _ if end.is_none() => {
                assert!(!refused, "a live session was refused: {}", answer.body);
                self.totals.kept_sessions += 1;
            }
            _ if end.is_some_and(|e| e.done.is_some_and(|done| done < request.from)) => {
                assert!(refused, "a session lives on after its end");
            }
            _ => {}
        }
    }

    /// After everything: what was answered is there, what was removed is not.
    fn look_everywhere(&mut self) {
        for session in self.model.sessions.clone() {
            if session.end.is_some_and(|end| end.done.is_some()) {
                self.intrude(&session.user, &session.scope, &session);
                self.finish();
            }
        }
        for user in USERS {
            for path in PATHS {
                let (user, context) = (UserId::parse(user).unwrap(), self.scope(path));
                self.look(user, context);
                self.finish();
            }
        }
    }

    fn finish(&mut self) {
        while !self.under_way.is_empty() {
            self.poll_one();
        }
    }
}

fn post(method: &str, params: &Value) -> Incoming {
    // No two requests of a session have the same id.
    static IDS: AtomicU64 = AtomicU64::new(0);
    let id = IDS.fetch_add(1, Ordering::Relaxed);
    let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    Incoming {
        accept: Some("application/json, text/event-stream".to_owned()),
        content_type: Some("application/json".to_owned()),
        body: body.to_string(),
        ..Incoming::default()
    }
}

fn modern(tool: &str, mut params: Value) -> Incoming {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    Incoming {
        revision: Some("2026-07-28".to_owned()),
        mcp_method: Some("tools/call".to_owned()),
        mcp_name: Some(tool.to_owned()),
        ..post("tools/call", &params)
    }
}

async fn read(outgoing: Outgoing<Response>) -> Answer {
    let (status, body, session) = match outgoing {
        Outgoing::Own(reply) | Outgoing::Failed(reply, _) => {
            (reply.status, reply.body.unwrap_or_default(), None)
        }
        Outgoing::Piped(response) => (response.status, response.body().await, None),
        Outgoing::Begun(response, id) => {
            (response.status, response.body().await, Some(id.as_str().to_owned()))
        }
        Outgoing::Stream(events) => (200, events.collect::<Vec<_>>().await.concat(), None),
        Outgoing::Listen(_) => panic!("nobody listens here"),
    };
    // A call that takes its time is answered with a stream, and its last event is the reply.
    let last = body.lines().filter_map(|line| line.strip_prefix("data: {")).next_back();
    let body = last.map_or(body.clone(), |rest| format!("{{{rest}"));
    let body = serde_json::from_str(&body).unwrap_or(Value::Null);
    Answer { status, body, session }
}

/// The notes in an answer: their texts, and whether they are shared.
fn notes(result: &Value) -> Vec<(String, bool)> {
    let notes = result["notes"].as_array().expect("notes");
    let read = |note: &Value| {
        let text = note["text"].as_str().expect("a text").to_owned();
        (text, note["shared"].as_bool().expect("shared"))
    };
    notes.iter().map(read).collect()
}
