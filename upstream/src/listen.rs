//! What an upstream says by itself: that a list or a resource has changed, and, in the handshake
//! era, things that belong to a running request. A stream is open as long as anybody wants to hear,
//! and a while after the last request. It must not know who hears.

use crate::{
    exchange::Messages,
    fault::Fault,
    link::{Link, Met, modern_headers},
    wire::{ErrorObject, JsonObject, Message},
};
use futures_util::{
    FutureExt as _,
    future::{LocalBoxFuture, select},
};
use serde_json::{Value, json};
use shared::{Millis, config::Era, limits};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    fmt,
    rc::Rc,
};
use tokio::sync::Notify;

/// What is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The list of tools has changed.
    Tools,
    /// The list of prompts has.
    Prompts,
    /// The list of resources has.
    Resources,
    /// A resource has.
    Resource(String),
    /// The stream is open, after a time in which nothing was heard.
    Open,
}

/// What anybody wants to hear of an upstream, and whether it is listened to.
pub struct Ear {
    lists: Cell<bool>,
    uris: RefCell<BTreeSet<String>>,
    /// Whoever asks wants to hear what belongs to the request.
    until: Cell<Millis>,
    changed: Notify,
    is_open: Cell<bool>,
    /// The session that was told of resources, and of which.
    told: RefCell<(Option<String>, BTreeSet<String>)>,
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ear").field("is_open", &self.is_open).finish_non_exhaustive()
    }
}

impl Default for Ear {
    fn default() -> Self {
        Self {
            lists: Cell::new(false),
            uris: RefCell::default(),
            until: Cell::new(Millis(0)),
            changed: Notify::new(),
            is_open: Cell::new(false),
            told: RefCell::default(),
        }
    }
}

/// What is done with what is heard.
pub type Hearing = Rc<dyn Fn(Heard)>;

impl Ear {
    /// Says what anybody wants to hear from now on.
    pub fn want(&self, lists: bool, uris: BTreeSet<String>) {
        let same = self.lists.get() == lists && *self.uris.borrow() == uris;
        self.lists.set(lists);
        *self.uris.borrow_mut() = uris;
        if !same {
            self.changed.notify_one();
        }
    }

    /// Whether anybody wants to hear of changes.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.lists.get() || !self.uris.borrow().is_empty()
    }
}

impl Link {
    /// Listens, from now on and for as long as there is a wish to. Saying it again changes nothing.
    pub fn hear(self: &Rc<Self>, ear: &Rc<Ear>, hearing: &Hearing) {
        let is_new = !ear.is_open.replace(true);
        if is_new {
            let (link, ear, hearing) = (Rc::clone(self), Rc::clone(ear), Rc::clone(hearing));
            self.world.spawn(Box::pin(async move {
                link.hear_on(&ear, &hearing).await;
                ear.is_open.set(false);
            }));
        }
    }

    /// Keeps a session's stream open for a while: a request has begun in which something may be
    /// said there.
    pub fn hear_of_request(self: &Rc<Self>, ear: &Rc<Ear>, hearing: &Hearing) {
        let is_spoken = self.known().is_some_and(|met| met.era == Era::Handshake && !met.is_mute);
        if is_spoken {
            ear.until.set(self.world.now().after(limits::LINGER_MS));
            self.hear(ear, hearing);
        }
    }

    async fn hear_on(self: &Rc<Self>, ear: &Ear, hearing: &Hearing) {
        let mut failures = 0_u32;
        loop {
            let is_talking = self.world.now() < ear.until.get() || !self.running.is_empty();
            if !ear.is_wanted() && !is_talking {
                return;
            }
            let Ok(met) = self.meet().await else {
                failures = failures.saturating_add(1);
                self.rest(ear, failures, None).await;
                continue;
            };
            if met.era == Era::Modern && !ear.is_wanted() {
                return;
            }
            // What is wished for so far is what it is opened with.
            let _ = ear.changed.notified().now_or_never();
            match self.open(&met, ear).await {
                Ok(messages) => {
                    failures = 0;
                    hearing(Heard::Open);
                    let retry_ms = self.hear_stream(&met, messages, ear, hearing).await;
                    self.rest(ear, 0, retry_ms).await;
                }
                Err(Fault::Status { status: 404 | 400, .. }) if met.era == Era::Handshake => {
                    // The session is gone; the next request begins another.
                    self.forget(&met);
                    failures = failures.saturating_add(1);
                    self.rest(ear, failures, None).await;
                }
                Err(Fault::Status { status: 405 | 501, .. }) => {
                    self.learn(|met| met.is_mute = true);
                    return;
                }
                Err(_) => {
                    failures = failures.saturating_add(1);
                    self.rest(ear, failures, None).await;
                }
            }
        }
    }

    /// Waits before the next try, unless the wishes change.
    async fn rest(&self, ear: &Ear, failures: u32, retry_ms: Option<u64>) {
        let step = limits::RELISTEN_MS_MIN.saturating_mul(1 << failures.min(8));
        let wait = retry_ms.unwrap_or(step).min(limits::RELISTEN_MS_MAX);
        let pause = self.world.sleep(u32::try_from(wait).unwrap_or(u32::MAX));
        select(pause, Box::pin(ear.changed.notified())).await;
    }

    /// Opens the stream, in the era's own way.
    async fn open(&self, met: &Rc<Met>, ear: &Ear) -> Result<Messages, Fault> {
        if met.era == Era::Handshake {
            let messages = self.listen(met, None).await?;
            self.subscribe(met, ear).await;
            return Ok(messages);
        }
        let uris = ear.uris.borrow().clone();
        let lists = ear.lists.get();
        let params = json!({
            "_meta": self.meta(),
            "notifications": {
                "toolsListChanged": lists, "promptsListChanged": lists,
                "resourcesListChanged": lists, "resourceSubscriptions": uris,
            },
        });
        let method = "subscriptions/listen";
        let body = json!({ "jsonrpc": "2.0", "id": self.next_id(), "method": method,
            "params": params });
        let headers = modern_headers(method, None);
        let bound = self.guard.bounds().first_byte_ms;
        let messages = self.post(met, body.to_string(), &headers, bound).await?;
        match messages.is_stream() {
            true => Ok(messages),
            // It has no such thing.
            false => Err(Fault::Status { status: 405, retry_after_ms: None, error: None }),
        }
    }

    /// Makes the session's subscriptions what they are wished to be.
    async fn subscribe(&self, met: &Rc<Met>, ear: &Ear) {
        if met.era == Era::Modern || !met.can(&["resources", "subscribe"]) {
            return;
        }
        let wanted = ear.uris.borrow().clone();
        let had = {
            let mut told = ear.told.borrow_mut();
            if told.0 != met.session {
                *told = (met.session.clone(), BTreeSet::new());
            }
            told.1.clone()
        };
        let ended = had.difference(&wanted).map(|uri| ("resources/unsubscribe", uri));
        let begun = wanted.difference(&had).map(|uri| ("resources/subscribe", uri));
        let mut now = had.clone();
        for (method, uri) in ended.chain(begun) {
            let body = json!({ "jsonrpc": "2.0", "id": self.next_id(), "method": method,
                "params": { "uri": uri } });
            let bound = self.guard.bounds().connect_ms;
            let is_told = self.post(met, body.to_string(), &[], bound).await.is_ok();
            if method == "resources/subscribe" && is_told {
                now.insert(uri.clone());
            } else {
                now.remove(uri);
            }
        }
        ear.told.borrow_mut().1 = now;
    }

    /// Hears a stream to its end, or until nobody wants to any more. Returns how long the upstream
    /// wants to be left alone.
    async fn hear_stream(
        &self,
        met: &Rc<Met>,
        mut messages: Messages,
        ear: &Ear,
        hearing: &Hearing,
    ) -> Option<u64> {
        loop {
            let step = {
                let next = Box::pin(messages.next()).map(Step::Message);
                let changed: LocalBoxFuture<'_, Step> =
                    Box::pin(ear.changed.notified().map(|()| Step::Wish));
                let pause = self.world.sleep(limits::LINGER_MS_STEP).map(|()| Step::Silence);
                let first = select(next, select(changed, pause).map(|e| e.factor_first().0)).await;
                first.factor_first().0
            };
            match step {
                Step::Message(Ok(Some(message))) => self.heard(met, message, hearing).await,
                Step::Message(Ok(None) | Err(_)) => return messages.retry_ms,
                // In the modern era a wish is a part of the request.
                Step::Wish if met.era == Era::Modern => return Some(0),
                Step::Wish => self.subscribe(met, ear).await,
                Step::Silence => {
                    let is_talking = self.world.now() < ear.until.get() || !self.running.is_empty();
                    let is_current = self.known().is_some_and(|now| now.session == met.session);
                    if !is_current || (!ear.is_wanted() && !is_talking) {
                        return Some(0);
                    }
                }
            }
        }
    }

    async fn heard(&self, met: &Rc<Met>, message: Message, hearing: &Hearing) {
        match message {
            Message::Notification { method, params } => match change(&method, &params) {
                Some(heard) => hearing(heard),
                None => {
                    self.running.hear(Message::Notification { method, params });
                }
            },
            Message::Request { id, method, .. } if method == "ping" => {
                self.respond(met, &id, Ok(json!({}))).await;
            }
            Message::Request { id, method, params } => {
                let copy = id.clone();
                if !self.running.hear(Message::Request { id, method, params }) {
                    let message = "nobody is here to be asked".to_owned();
                    let error = ErrorObject { code: -32601, message, data: None };
                    self.respond(met, &copy, Err(error)).await;
                }
            }
            reply @ Message::Reply { .. } => {
                self.running.hear(reply);
            }
        }
    }
}

enum Step {
    Message(Result<Option<Message>, Fault>),
    Wish,
    Silence,
}

/// What a notification says has changed.
#[must_use]
pub fn change(method: &str, params: &JsonObject) -> Option<Heard> {
    match method {
        "notifications/tools/list_changed" => Some(Heard::Tools),
        "notifications/prompts/list_changed" => Some(Heard::Prompts),
        "notifications/resources/list_changed" => Some(Heard::Resources),
        "notifications/resources/updated" => {
            let uri = params.get("uri").and_then(Value::as_str)?;
            let fits = uri.len() <= limits::SUBSCRIPTION_URI_BYTES_MAX;
            fits.then(|| Heard::Resource(uri.to_owned()))
        }
        _ => None,
    }
}
