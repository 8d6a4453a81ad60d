//! What an upstream says by itself: that a list or a resource has changed, and, in the handshake
//! era, things that belong to a running request. A stream is open as long as anybody wants to hear,
//! and a while after the last request. It must not know who hears.

use crate::{
    exchange::Messages,
    fault::Fault,
    link::{Link, Met, modern_headers},
    running::Lost,
    talk::doubt,
    wire::{ErrorObject, JsonObject, Message},
};
use futures_util::{
    FutureExt as _,
    future::{LocalBoxFuture, select},
};
use serde_json::{Value, json};
use shared::{Millis, config::Era, gathered, limits};
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
    /// Whether it is being told, and that there is a wish since.
    is_telling: Cell<bool>,
    untold: Notify,
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
            is_telling: Cell::new(false),
            untold: Notify::new(),
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
        // What cannot be asked today cannot be asked by this object at all.
        let can_be_asked = self.check_target().is_ok();
        if can_be_asked && !ear.is_open.replace(true) {
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
        let now = self.world.now();
        let is_spoken =
            self.known().is_some_and(|met| met.era == Era::Handshake && !met.is_mute(now));
        if is_spoken {
            ear.until.set(now.after(limits::LINGER_MS));
            self.hear(ear, hearing);
        }
    }

    async fn hear_on(self: &Rc<Self>, ear: &Rc<Ear>, hearing: &Hearing) {
        let mut failures = 0_u32;
        let mut is_renewed = false;
        let mut last = Last::default();
        while self.is_heard(ear) {
            if let Some(wait) = self.guard.left_ms() {
                self.pause(ear, wait).await;
                continue;
            }
            let Ok(met) = self.meet().await else {
                failures = failures.saturating_add(1);
                self.rest(ear, failures, None).await;
                continue;
            };
            if met.is_mute(self.world.now()) || (met.era == Era::Modern && !ear.is_wanted()) {
                return;
            }
            // What is wished for so far is what it is opened with.
            let _ = ear.changed.notified().now_or_never();
            let begun = self.world.now();
            let end = match self.open(&met, ear, last.of(&met)).await {
                Ok(messages) => {
                    is_renewed = false;
                    hearing(Heard::Open);
                    self.hear_stream(&met, messages, ear, hearing).await
                }
                Err(fault) => match self.unopened(&met, &fault, &mut is_renewed, &mut last) {
                    Some(end) => end,
                    None => continue,
                },
            };
            match end {
                End::Left => failures = 0,
                End::Ended(event, retry_ms) => {
                    last = Last { session: met.session.clone(), event };
                    let is_short =
                        self.world.now().since(begun) < u64::from(limits::LINGER_MS_STEP);
                    // A stream that ends as soon as it is open is no better than none.
                    failures = if is_short { failures.saturating_add(1) } else { 0 };
                    self.rest(ear, failures, retry_ms).await;
                }
            }
        }
    }

    /// What comes of it that a stream is not opened; `None` where that is known now.
    fn unopened(
        &self,
        met: &Rc<Met>,
        fault: &Fault,
        is_renewed: &mut bool,
        last: &mut Last,
    ) -> Option<End> {
        match refusal(met, fault, *is_renewed) {
            // It may be the event that is not known any more, and not the session.
            Refusal::Mute | Refusal::Forgotten if last.take(met) => None,
            Refusal::Mute => {
                let now = self.world.now();
                self.learn(|known| {
                    if (known.era, &known.session) == (met.era, &met.session) {
                        known.mute_since = Some(now);
                    }
                });
                None
            }
            Refusal::Forgotten => {
                self.forget(met);
                if self.running.is_empty() {
                    // It may be the stream that it does not know, and not the session.
                    self.end(met);
                }
                *is_renewed = true;
                Some(End::Ended(None, None))
            }
            Refusal::Passing => {
                // Nor is an event asked for again and again that is refused.
                let kept = last.of(met).filter(|_| fault.is_passing());
                Some(End::Ended(kept.map(ToOwned::to_owned), None))
            }
        }
    }

    /// Whether anybody wants to hear anything, or something may be said of a request that runs or
    /// has just ended.
    fn is_heard(&self, ear: &Ear) -> bool {
        let now = self.world.now();
        if !self.running.is_empty() {
            ear.until.set(ear.until.get().max(now.after(limits::LINGER_MS)));
        }
        ear.is_wanted() || now < ear.until.get()
    }

    /// Waits before the next try, unless the wishes change.
    async fn rest(&self, ear: &Ear, failures: u32, retry_ms: Option<u64>) {
        let step = limits::RELISTEN_MS_MIN.saturating_mul(1 << failures.min(8));
        // One that asks to be asked again at once, again and again, is not.
        let least = step.min(limits::LINGER_MS_STEP.into());
        self.pause(ear, retry_ms.map_or(step, |asked| asked.max(least))).await;
    }

    /// Waits, but not for long, and not once the wishes change.
    async fn pause(&self, ear: &Ear, wait: u64) {
        let wait = u32::try_from(wait.min(limits::RELISTEN_MS_MAX)).unwrap_or(u32::MAX);
        select(self.world.sleep(wait), Box::pin(ear.changed.notified())).await;
    }

    /// Opens the stream, in the era's own way; one of a session after the event `last`.
    async fn open(
        self: &Rc<Self>,
        met: &Rc<Met>,
        ear: &Rc<Ear>,
        last: Option<&str>,
    ) -> Result<Messages, Fault> {
        // What was wished up to here needs no word besides.
        ear.changed.notified().now_or_never();
        if met.era == Era::Handshake {
            let mut messages = self.listen(met, last).await?;
            messages.last_event = last.map(ToOwned::to_owned);
            self.tell(ear);
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

    /// Tells the session of what is wished for. Nobody waits for that: an upstream that is slow to
    /// subscribe is heard meanwhile.
    fn tell(self: &Rc<Self>, ear: &Rc<Ear>) {
        ear.untold.notify_one();
        if ear.is_telling.replace(true) {
            return;
        }
        let (link, ear) = (Rc::clone(self), Rc::clone(ear));
        self.world.spawn(Box::pin(async move {
            link.tell_on(&ear).await;
            ear.is_telling.set(false);
        }));
    }

    /// Tells the session of what is wished for, and again after a while for as long as it cannot be
    /// told and is listened to.
    async fn tell_on(&self, ear: &Ear) {
        let mut failures = 0_u32;
        while failures > 0 || ear.untold.notified().now_or_never().is_some() {
            let is_told = match (self.known(), self.guard.left_ms()) {
                (None, _) => true,
                (Some(_), Some(_)) => false,
                (Some(met), None) => self.subscribe(&met, ear).await,
            };
            // A session that is begun anew is told anew.
            failures = if is_told || !ear.is_open.get() { 0 } else { failures.saturating_add(1) };
            if failures > 0 {
                let step = limits::RELISTEN_MS_MIN.saturating_mul(1 << failures.min(8));
                let wait = u32::try_from(step.min(limits::RELISTEN_MS_MAX)).unwrap_or(u32::MAX);
                select(self.world.sleep(wait), Box::pin(ear.untold.notified())).await;
            }
        }
    }

    /// Makes the session's subscriptions what they are wished to be, as far as it agrees. False if
    /// it could not be told.
    async fn subscribe(&self, met: &Met, ear: &Ear) -> bool {
        if met.era == Era::Modern || !met.can(&["resources", "subscribe"]) {
            return true;
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
        for (method, uri) in ended.chain(begun) {
            let params = gathered([("uri".to_owned(), uri.clone().into())]);
            let outcome = self.simple(Some(met), method, params, &[]).await;
            let mut told = ear.told.borrow_mut();
            match (method, &outcome) {
                ("resources/subscribe", Ok((_, Ok(_)))) => told.1.insert(uri.clone()),
                // What it says of a resource that nobody wants to hear of is not heard.
                _ => told.1.remove(uri),
            };
            if outcome.is_err() {
                return false;
            }
        }
        true
    }

    /// Hears a stream to its end, or until nobody wants to any more. One on which nothing comes for
    /// long is at its end, too: its other end may be gone.
    async fn hear_stream(
        self: &Rc<Self>,
        met: &Rc<Met>,
        mut messages: Messages,
        ear: &Rc<Ear>,
        hearing: &Hearing,
    ) -> End {
        let (mut pieces, mut alive) = (messages.pieces(), self.world.now());
        loop {
            let now = self.world.now();
            if pieces != messages.pieces() {
                (pieces, alive) = (messages.pieces(), now);
            }
            if now.since(alive) >= limits::UPSTREAM_SILENCE_MS {
                return End::Ended(messages.last_event, messages.retry_ms);
            }
            let is_current = self
                .known()
                .is_some_and(|known| (known.era, &known.session) == (met.era, &met.session));
            if !is_current || !self.is_heard(ear) {
                return End::Left;
            }
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
                Step::Message(Ok(None) | Err(_)) => {
                    return End::Ended(messages.last_event, messages.retry_ms);
                }
                // In the modern era a wish is a part of the request.
                Step::Wish if met.era == Era::Modern => return End::Left,
                Step::Wish => self.tell(ear),
                // It is looked at whether anybody still wants it.
                Step::Silence => {}
            }
        }
    }

    async fn heard(&self, met: &Rc<Met>, message: Message, hearing: &Hearing) {
        if met.era == Era::Modern {
            // Nothing else belongs here, and nothing that belongs to a request.
            if let Message::Notification { method, params } = message {
                change(&method, &params).into_iter().for_each(|heard| hearing(heard));
            }
            return;
        }
        match message {
            Message::Notification { method, params } if method == "notifications/cancelled" => {
                self.running.withdraw(&params);
            }
            Message::Notification { method, params } => match change(&method, &params) {
                Some(heard) => hearing(heard),
                None => {
                    // What concerns nobody is lost, and so is what nobody takes in time.
                    let _ = self.running.hear(Message::Notification { method, params });
                }
            },
            Message::Request { id, method, .. } if method == "ping" => {
                self.respond(met, &id, Ok(json!({}))).await;
            }
            Message::Request { id, method, params } => {
                let copy = id.clone();
                if let Err(lost) = self.running.hear(Message::Request { id, method, params }) {
                    self.respond(met, &copy, Err(unasked(lost))).await;
                }
            }
            reply @ Message::Reply { .. } => {
                // One that nobody waits for is late.
                let _ = self.running.hear(reply);
            }
        }
    }
}

/// Why nobody is asked what an upstream wants to know.
fn unasked(lost: Lost) -> ErrorObject {
    let (code, message) = match lost {
        Lost::Nobody => (-32601, "nobody is here to be asked"),
        Lost::Anybody => (
            -32600,
            "several clients have calls running, and it cannot be told whose question this is; \
             ask on the stream of the call",
        ),
        Lost::Full => (-32603, "too much waits for the client already"),
    };
    ErrorObject { code, message: message.to_owned(), data: None }
}

enum Step {
    Message(Result<Option<Message>, Fault>),
    Wish,
    Silence,
}

/// How it ended that a stream was heard.
enum End {
    /// There is something else to do.
    Left,
    /// By the upstream, after this event; it may have said how long it wants to be left alone.
    Ended(Option<String>, Option<u64>),
}

/// The last event of a session's own stream. Of the modern era there is none to be asked for.
#[derive(Default)]
struct Last {
    session: Option<String>,
    event: Option<String>,
}

impl Last {
    /// The last event of this session.
    fn of(&self, met: &Met) -> Option<&str> {
        let is_same = met.era == Era::Handshake && self.session == met.session;
        self.event.as_deref().filter(|_| is_same)
    }

    /// Forgets it. False if there was none of this session.
    fn take(&mut self, met: &Met) -> bool {
        let is_there = self.of(met).is_some();
        self.event = None;
        is_there
    }
}

/// What it means that a stream is refused.
enum Refusal {
    /// There is none.
    Mute,
    /// The session is gone, or what was known of the upstream is not so any more.
    Forgotten,
    /// Nothing for long.
    Passing,
}

fn refusal(met: &Met, fault: &Fault, is_renewed: bool) -> Refusal {
    let Fault::Status { status, .. } = fault else {
        return Refusal::Passing;
    };
    match (met.era, *status) {
        // It may be of the other era by now, or in the middle of being replaced.
        (Era::Modern, 400 | 404) if !is_renewed && doubt(met, fault).is_some() => {
            Refusal::Forgotten
        }
        (_, 405 | 501) | (Era::Modern, 404) => Refusal::Mute,
        // A session that is as new as can be is known: it is the stream that is not.
        (Era::Handshake, 400 | 404) if met.session.is_none() || is_renewed => Refusal::Mute,
        (Era::Handshake, 400 | 404) => Refusal::Forgotten,
        _ => Refusal::Passing,
    }
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
