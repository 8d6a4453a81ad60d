//! The lists of an upstream, as one kind of clients gets them: asked for once, kept, and asked for
//! again when they are no longer fresh or the upstream says that they have changed. It must not
//! know who reads them.

use super::{
    passing::{Nobody, failed},
    shelf::{Kept, Mark, Shelf},
};
use crate::{
    mirror,
    platform::Platform,
    toolset::{Claim, Current, Listed, Need, Offer, Offers, TaskSupport, ToolError},
};
use futures_util::{
    FutureExt as _,
    future::{Either, LocalBoxFuture, Shared, WeakShared, join_all, select},
};
use rmcp::model::{JsonObject, SKILLS_EXTENSION_ID};
use serde_json::Value;
use shared::{Error, Kind as ErrorKind, Millis, hop::Change, limits};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};
use upstream::{Ask, Fault, Link, clean, guard::Pace, wire};

/// Which list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Tools,
    Prompts,
    Resources,
    Templates,
    Skills,
}

impl Kind {
    const ALL: [Self; 5] =
        [Self::Tools, Self::Prompts, Self::Resources, Self::Templates, Self::Skills];

    /// Those that say whose a URI is.
    pub(super) const OF_URIS: [Self; 3] = [Self::Resources, Self::Skills, Self::Templates];

    /// Whether a list says that a URI is its upstream's.
    pub(super) fn claim(self, listed: &[JsonObject], uri: &str) -> Claim {
        // No URI of a list is longer, and reading it along each template takes its time.
        if uri.len() > limits::SUBSCRIPTION_URI_BYTES_MAX {
            return Claim::Nothing;
        }
        let names = listed.iter().filter_map(|item| item.get(self.name())?.as_str());
        // A skill names its files.
        let files = listed.iter().filter_map(|item| item.get("resources")?.as_array());
        let files = files.flatten().filter_map(|file| file.get("uri")?.as_str());
        match self {
            Self::Templates => {
                let likeness =
                    names.filter_map(|template| narrow::template::likeness(template, uri)).max();
                likeness.map_or(Claim::Nothing, Claim::Template)
            }
            _ if names.chain(files).any(|name| name == uri) => Claim::Listed,
            _ => Claim::Nothing,
        }
    }

    /// Its method, and its member of the result.
    pub(super) const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Tools => ("tools/list", "tools"),
            Self::Prompts => ("prompts/list", "prompts"),
            Self::Resources => ("resources/list", "resources"),
            Self::Templates => ("resources/templates/list", "resourceTemplates"),
            Self::Skills => ("skills/list", "skills"),
        }
    }

    /// What a server that has such a list says that it can do.
    const fn capability(self) -> &'static [&'static str] {
        match self {
            Self::Tools => &["tools"],
            Self::Prompts => &["prompts"],
            Self::Resources | Self::Templates => &["resources"],
            Self::Skills => &["extensions", SKILLS_EXTENSION_ID],
        }
    }

    /// What items of it are known by.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources | Self::Skills => "uri",
            Self::Templates => "uriTemplate",
        }
    }

    /// Why an item of this name is left out: what is sent back must be as people see it.
    fn flaw(self, name: &str, item: &JsonObject) -> Option<&'static str> {
        let is_name = match self {
            Self::Tools | Self::Prompts => clean::is_name(name),
            Self::Resources | Self::Templates | Self::Skills => {
                let is_short = name.len() <= limits::SUBSCRIPTION_URI_BYTES_MAX;
                !name.is_empty() && is_short && clean::is_seen(name)
            }
        };
        if !is_name {
            return Some("its name is none that MCP allows");
        }
        let member = |name: &str| item.get(name);
        match self {
            Self::Tools if !member("inputSchema").is_some_and(Value::is_object) => {
                Some("it has no schema")
            }
            Self::Tools if !member("inputSchema").is_none_or(clean::are_members_seen) => {
                Some("one of its parameters has a name with characters that people do not see")
            }
            Self::Tools => member("inputSchema").and_then(Value::as_object).and_then(mirror::flaw),
            Self::Prompts => {
                let arguments = member("arguments").and_then(Value::as_array).into_iter().flatten();
                let mut names = arguments.filter_map(|argument| argument.get("name")?.as_str());
                let is_hidden = names.any(|name| !clean::is_seen(name));
                is_hidden.then_some("an argument has a name with characters that people do not see")
            }
            _ => None,
        }
    }

    const fn change(self) -> Change {
        match self {
            Self::Tools => Change::Tools,
            Self::Prompts => Change::Prompts,
            Self::Resources | Self::Templates | Self::Skills => Change::Resources,
        }
    }
}

/// A list as it is known.
#[derive(Debug, Clone)]
struct Known {
    items: Rc<Listed>,
    fetched: Millis,
    until: Millis,
    /// What the row says of when it was read.
    kept: Millis,
    /// What was left out when it was read.
    dropped: Rc<Vec<(String, String)>>,
    /// Whether whoever listens knows that it is another now.
    is_announced: bool,
}

/// What somebody was answered with while a list could not be had; the greater is the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Missed {
    /// With what it was before.
    Old,
    /// Without it.
    Without,
}

type Asking = LocalBoxFuture<'static, Result<Known, ToolError>>;

/// A list that is asked for as long as anybody waits for it.
type WeakAsking = WeakShared<Asking>;

/// The lists of an upstream.
pub(super) struct Lists {
    link: Rc<Link>,
    shelf: Rc<Shelf>,
    kind: String,
    announce: Rc<dyn Fn(Change)>,
    platform: Rc<dyn Platform>,
    /// How long one of them may take.
    bound_ms: u32,
    /// Tools that somebody has looked at, and what they were like.
    approved: BTreeMap<String, String>,
    known: RefCell<BTreeMap<Kind, Known>>,
    /// What is asked for, and since when.
    asking: RefCell<BTreeMap<Kind, (Millis, WeakAsking)>>,
    /// Lists that somebody did not get as they are.
    missed: RefCell<BTreeMap<Kind, Missed>>,
    offers: RefCell<Option<(Rc<Listed>, Rc<Offers>)>>,
    was_heard: Cell<bool>,
    /// How often each was heard to have changed.
    changes: RefCell<BTreeMap<Kind, u64>>,
}

/// What the lists of an upstream are made of.
pub(super) struct Parts<'a> {
    pub(super) link: &'a Rc<Link>,
    pub(super) shelf: &'a Rc<Shelf>,
    pub(super) kind: &'a str,
    pub(super) announce: &'a Rc<dyn Fn(Change)>,
    pub(super) platform: &'a Rc<dyn Platform>,
    pub(super) connect_ms: u32,
    pub(super) approved: &'a BTreeMap<String, String>,
}

impl Lists {
    pub(super) fn new(parts: &Parts<'_>) -> Rc<Self> {
        Rc::new(Self {
            link: Rc::clone(parts.link),
            shelf: Rc::clone(parts.shelf),
            kind: parts.kind.to_owned(),
            announce: Rc::clone(parts.announce),
            platform: Rc::clone(parts.platform),
            bound_ms: parts.connect_ms.max(limits::UPSTREAM_LIST_MS),
            approved: parts.approved.clone(),
            known: RefCell::default(),
            asking: RefCell::default(),
            missed: RefCell::default(),
            offers: RefCell::default(),
            was_heard: Cell::new(false),
            changes: RefCell::default(),
        })
    }

    /// The tools.
    ///
    /// # Errors
    /// Why they are not known.
    pub(super) async fn offers(self: &Rc<Self>, need: Need) -> Result<Current<Offers>, ToolError> {
        let (known, lack) = self.get(Kind::Tools, need).await?;
        let made = self.offers.borrow().clone();
        let it = match made {
            Some((of, offers)) if Rc::ptr_eq(&of, &known.items) => offers,
            _ => {
                let offers = Rc::new(self.offered(&known)?);
                *self.offers.borrow_mut() = Some((known.items, Rc::clone(&offers)));
                offers
            }
        };
        Ok(Current { it, until: Some(known.until), lack })
    }

    /// Another list.
    ///
    /// # Errors
    /// Why it is not known.
    pub(super) async fn listed(
        self: &Rc<Self>,
        kind: Kind,
        need: Need,
    ) -> Result<Current<Listed>, ToolError> {
        let (known, lack) = self.get(kind, need).await?;
        Ok(Current { it: known.items, until: Some(known.until), lack })
    }

    /// Whether a URI is the upstream's, as its lists say.
    ///
    /// # Errors
    /// Why that is not known.
    pub(super) async fn claim(self: &Rc<Self>, uri: &str, need: Need) -> Result<Claim, ToolError> {
        let listed = join_all(Kind::OF_URIS.map(|kind| self.listed(kind, need))).await;
        let (mut claim, mut failed) = (Claim::Nothing, None);
        for (kind, listed) in Kind::OF_URIS.into_iter().zip(listed) {
            match listed {
                Ok(listed) => {
                    claim = claim.max(kind.claim(&listed.it, uri));
                    // What it was before says nothing of what it has now.
                    let lack = listed.lack.map(|lack| Error::new(ErrorKind::Unavailable, lack));
                    failed = failed.or(lack.map(Into::into));
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        // One list may say enough.
        failed.filter(|_| claim == Claim::Nothing).map_or(Ok(claim), Err)
    }

    /// The list is not fresh any more, and whoever listens is told so.
    pub(super) fn spoil(&self, kind: Kind) {
        let changes = self.changes_of(kind).wrapping_add(1);
        self.changes.borrow_mut().insert(kind, changes);
        // What an earlier life of this object has kept is no fresher.
        let _ = self.recall(kind);
        if let Some(known) = self.known.borrow_mut().get_mut(&kind) {
            known.until = Millis(0);
            known.is_announced = true;
        }
        // Nor is it to a later life. What cannot be kept is old news in a while.
        let _ = self.shelf.spoil(&self.kind, kind.words().0);
    }

    fn changes_of(&self, kind: Kind) -> u64 {
        self.changes.borrow().get(&kind).copied().unwrap_or(0)
    }

    /// After a time in which nothing was heard: what is known is asked for again, and what somebody
    /// did not get as it is, and whoever listens hears of what is other than it was.
    pub(super) fn look_again(self: &Rc<Self>) {
        let was_heard = self.was_heard.replace(true);
        for kind in Kind::ALL {
            let is_known = match self.known.borrow_mut().get_mut(&kind).filter(|_| was_heard) {
                Some(known) => {
                    known.until = Millis(0);
                    true
                }
                None => false,
            };
            if is_known || self.missed.borrow().contains_key(&kind) {
                let this = Rc::clone(self);
                self.platform.spawn(Box::pin(async move {
                    if let Err(ToolError::Below(error)) = this.get(kind, Need::Fresh).await {
                        this.platform.log(&error);
                    }
                }));
            }
        }
    }

    /// A list, and why it may not be as it is now.
    async fn get(
        self: &Rc<Self>,
        kind: Kind,
        need: Need,
    ) -> Result<(Known, Option<String>), ToolError> {
        let now = self.platform.now();
        let known = self.recall(kind)?;
        if need == Need::Near {
            return known.map(|known| (known, None)).ok_or_else(|| {
                let text = format!("{} was not asked yet what it has", self.link.name());
                Error::new(ErrorKind::Unavailable, text).into()
            });
        }
        if let Some(known) = &known {
            let is_young = now.since(known.fetched) < limits::UPSTREAM_STALE_MS;
            if now < known.until || (need == Need::Known && is_young) {
                return Ok((known.clone(), None));
            }
        }
        let answer = match need {
            Need::Soon => self.ask_soon(kind).await,
            _ => self.ask(kind).1.await,
        };
        match answer {
            Ok(fresh) => Ok((fresh, None)),
            Err(error) => match known {
                Some(known) if now.since(known.fetched) < limits::UPSTREAM_STALE_MS => {
                    // Only what is shown is held against what comes later.
                    if need == Need::Soon {
                        self.miss(kind, Missed::Old);
                    }
                    let text = error.clone().into_protocol().message;
                    Ok((known, Some(format!("{text} (this is what it was before)"))))
                }
                _ => {
                    self.miss(kind, Missed::Without);
                    Err(error)
                }
            },
        }
    }

    /// Remembers the worst that anybody was answered with.
    fn miss(&self, kind: Kind, missed: Missed) {
        let mut all = self.missed.borrow_mut();
        let worst = all.get(&kind).copied().map_or(missed, |known| known.max(missed));
        all.insert(kind, worst);
    }

    /// Asks for a list, and goes on without it if it does not come soon. It is waited for all the
    /// same, and told when it is there.
    async fn ask_soon(self: &Rc<Self>, kind: Kind) -> Result<Known, ToolError> {
        let (since, asking) = self.ask(kind);
        let spent = self.platform.now().since(since);
        // One that others wait for has had some of its time already.
        let answer = match limits::UPSTREAM_SOON_MS.saturating_sub(spent) {
            0 => asking.clone().now_or_never(),
            left => {
                let late = self.platform.sleep(u32::try_from(left).unwrap_or(0));
                match select(asking.clone(), late).await {
                    Either::Left((answer, _)) => Some(answer),
                    Either::Right(_) => None,
                }
            }
        };
        answer.unwrap_or_else(|| {
            self.platform.spawn(asking.map(drop).boxed_local());
            let text = format!("{} has not answered yet; ask again", self.link.name());
            Err(Error::new(ErrorKind::Unavailable, text).into())
        })
    }

    /// What is known of a list.
    fn recall(&self, kind: Kind) -> Result<Option<Known>, ToolError> {
        if let Some(known) = self.known.borrow().get(&kind) {
            return Ok(Some(known.clone()));
        }
        let Some(kept) = self.shelf.load(&self.kind, kind.words().0)? else {
            return Ok(None);
        };
        let Ok(items) = serde_json::from_str::<Listed>(&kept.text) else {
            return Ok(None);
        };
        let known = Known {
            items: Rc::new(items),
            fetched: kept.fetched,
            until: kept.until,
            kept: kept.fetched,
            dropped: Rc::default(),
            is_announced: false,
        };
        self.known.borrow_mut().insert(kind, known.clone());
        Ok(Some(known))
    }

    /// Asks for a list, once for all who want it at a time; with when that began.
    fn ask(self: &Rc<Self>, kind: Kind) -> (Millis, Shared<Asking>) {
        let mut all = self.asking.borrow_mut();
        let going = all.get(&kind).and_then(|(since, weak)| Some((*since, weak.upgrade()?)));
        if let Some(going) = going.filter(|(_, asking)| asking.peek().is_none()) {
            return going;
        }
        let (this, now) = (Rc::clone(self), self.platform.now());
        let asking = async move { this.fetch(kind).await }.boxed_local().shared();
        if let Some(weak) = asking.downgrade() {
            all.insert(kind, (now, weak));
        }
        (now, asking)
    }

    async fn fetch(self: Rc<Self>, kind: Kind) -> Result<Known, ToolError> {
        let changes = self.changes_of(kind);
        // Pages are bounded each, and so is their number: together that may be minutes.
        let late = self.platform.sleep(self.bound_ms);
        let (Read { items, dropped, .. }, ttl) = match select(Box::pin(self.read(kind)), late).await
        {
            Either::Left((read, _)) => read?,
            Either::Right(_) => {
                return Err(failed(Fault::Late("a whole list").told(self.link.name())));
            }
        };
        let now = self.platform.now();
        let before = self.recall(kind)?;
        let is_same = before.as_ref().is_some_and(|before| *before.items == items);
        let items = match &before {
            Some(before) if is_same => Rc::clone(&before.items),
            _ => Rc::new(items),
        };
        // What changed meanwhile may not be in it.
        let is_announced = self.changes_of(kind) != changes;
        let until = match is_announced {
            true => Millis(0),
            false => now.after(ttl.min(limits::UPSTREAM_TTL_MS_MAX)),
        };
        if before.as_ref().map_or(&[][..], |before| before.dropped.as_slice()) != dropped {
            self.warn_of(kind, &dropped);
        }
        // Of one that is as it was only the time is news, and that is written in steps.
        let kept = before.as_ref().filter(|_| is_same).map(|before| before.kept);
        let kept = kept.filter(|kept| now.since(*kept) < limits::UPSTREAM_KEPT_STEP_MS);
        let known = Known {
            items,
            fetched: now,
            until,
            kept: kept.unwrap_or(now),
            dropped: Rc::new(dropped),
            is_announced,
        };
        self.known.borrow_mut().insert(kind, known.clone());
        if kept.is_none() {
            self.keep(kind, &known)?;
        }
        let is_news = match self.missed.borrow_mut().remove(&kind) {
            // Whoever goes without wants it whatever it is.
            Some(Missed::Without) => true,
            // They were told of a change, asked, and got what was before it.
            Some(Missed::Old) => !is_same,
            None => !is_same && before.is_some_and(|before| !before.is_announced),
        };
        if is_news {
            (self.announce)(kind.change());
        }
        Ok(known)
    }

    fn keep(&self, kind: Kind, known: &Known) -> Result<(), Error> {
        let text = serde_json::to_string(&*known.items)
            .map_err(|error| Error::internal(error.to_string()))?;
        let kept = Kept { text, fetched: known.fetched, until: known.until };
        self.shelf.keep(&self.kind, kind.words().0, &kept)
    }

    /// Reads a list, and how long it is fresh.
    async fn read(&self, kind: Kind) -> Result<(Read, u64), ToolError> {
        let met = self.link.meet().await.map_err(failed)?;
        let mut read = Read::default();
        let mut ttl = limits::UPSTREAM_TTL_MS;
        if met.can(kind.capability()) {
            ttl = self.pages(kind, &mut read).await?;
        }
        Ok((read, ttl))
    }

    /// Reads a list page by page. Returns how long it is fresh.
    async fn pages(&self, kind: Kind, read: &mut Read) -> Result<u64, ToolError> {
        let (method, member) = kind.words();
        let (mut cursor, mut ttl) = (None::<String>, None::<u64>);
        for _ in 0..limits::UPSTREAM_PAGES_MAX {
            let mut params = JsonObject::new();
            if let Some(cursor) = cursor {
                params.insert("cursor".to_owned(), cursor.into());
            }
            let pace = Pace::Brief;
            let ask = Ask { method, params, may_repeat: true, pace, ..Ask::default() };
            let fields = self.link.ask(ask, &Nobody).await.map_err(failed)?;
            let Some(Value::Array(items)) = wire::field(&fields, member) else {
                let text = format!("{} answered {method} without a list", self.link.name());
                return Err(Error::new(ErrorKind::Upstream, text).into());
            };
            items.into_iter().for_each(|item| read.take(kind, item));
            let said = wire::field(&fields, "ttlMs").and_then(|ttl| ttl.as_u64());
            ttl = said.map(|said| ttl.map_or(said, |ttl| ttl.min(said))).or(ttl);
            cursor = wire::text(&fields, "nextCursor");
            if cursor.is_none() || read.is_full() {
                break;
            }
        }
        Ok(ttl.unwrap_or(limits::UPSTREAM_TTL_MS))
    }

    /// The tools of a list, with what they were like when they were first seen.
    fn offered(&self, known: &Known) -> Result<Offers, ToolError> {
        let mut marks = self.shelf.marks()?;
        let is_new = marks.is_empty();
        let mut tools = Vec::new();
        for object in known.items.iter() {
            let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
            let fingerprint = clean::fingerprint(object);
            let is_changed = match self.approved.get(name) {
                // What was first seen is nothing to what somebody has looked at.
                Some(approved) => {
                    let is_other = *approved != fingerprint;
                    if is_other {
                        self.warn(name, "approved", approved, &fingerprint);
                    }
                    is_other
                }
                None => self.is_other_than_first(&mut marks, name, &fingerprint)?,
            };
            let mut object = object.clone();
            // Whether it runs as a task is between this program and the upstream.
            let execution = object.remove("execution");
            let support = execution.as_ref().and_then(|execution| execution.get("taskSupport"));
            tools.push(Offer {
                name: name.to_owned(),
                is_task_there: support.and_then(Value::as_str) == Some("required"),
                is_changed,
                fingerprint: Some(fingerprint),
                tasks: TaskSupport::Never,
                object,
            });
        }
        if is_new && !tools.is_empty() {
            self.shelf.trim_marks()?;
        }
        Ok(Offers { tools, dropped: known.dropped.to_vec() })
    }

    /// Whether a tool is not what it was when it was first seen.
    fn is_other_than_first(
        &self,
        marks: &mut BTreeMap<String, Mark>,
        name: &str,
        fingerprint: &str,
    ) -> Result<bool, ToolError> {
        let is_full = marks.len() >= limits::UPSTREAM_MARKS_MAX;
        match marks.get_mut(name) {
            Some(mark) => {
                if mark.see(fingerprint) {
                    self.shelf.mark(name, mark)?;
                    self.warn(name, "first seen", &mark.first, fingerprint);
                }
                Ok(!mark.is_first(fingerprint))
            }
            None if is_full => Ok(false),
            None => {
                let mark = Mark::new(fingerprint);
                self.shelf.mark(name, &mark)?;
                marks.insert(name.to_owned(), mark);
                Ok(false)
            }
        }
    }

    /// Says once what is left out.
    fn warn_of(&self, kind: Kind, dropped: &[(String, String)]) {
        let (name, (_, list)) = (self.link.name(), kind.words());
        let told = dropped.iter().take(limits::UPSTREAM_DROPPED_LOGGED_MAX);
        let told: Vec<String> = told.map(|(name, why)| format!("{name}: {why}")).collect();
        if !told.is_empty() {
            let text = format!("{} of the {list} of {name} are left out", dropped.len());
            let error = Error::new(ErrorKind::Upstream, text).with_detail(told.join("; "));
            self.platform.log(&error);
        }
    }

    fn warn(&self, name: &str, how: &str, before: &str, now: &str) {
        let text = format!("the tool {name} of {} is not what it was", self.link.name());
        let detail = format!("{how} as {before}, now {now}");
        self.platform.log(&Error::new(ErrorKind::Upstream, text).with_detail(detail));
    }
}

/// Cleans a name that is only shown.
fn clean_name(item: &mut JsonObject) {
    clean::clean_text(item.get_mut("name"), limits::UPSTREAM_TITLE_CHARS_MAX);
}

/// A list while it is read: cleaned, and bounded.
#[derive(Default)]
struct Read {
    items: Listed,
    names: BTreeSet<String>,
    bytes: usize,
    dropped: Vec<(String, String)>,
}

impl Read {
    fn is_full(&self) -> bool {
        self.items.len() >= limits::UPSTREAM_ITEMS_MAX
            || self.bytes >= limits::UPSTREAM_LIST_BYTES_MAX
    }

    fn take(&mut self, kind: Kind, item: Value) {
        let Value::Object(mut item) = item else {
            return self.drop_item("", "it is no object");
        };
        let name = item.get(kind.name()).and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(flaw) = kind.flaw(&name, &item) {
            return self.drop_item(&name, flaw);
        }
        clean::clean(&mut item);
        match kind {
            // These names are sent back.
            Kind::Tools | Kind::Prompts => {}
            Kind::Resources | Kind::Templates => clean_name(&mut item),
            Kind::Skills => {
                let said = item.get_mut("frontmatter").and_then(Value::as_object_mut);
                said.into_iter().for_each(clean_name);
            }
        }
        let bytes = self.bytes.saturating_add(Value::Object(item.clone()).to_string().len());
        if self.items.len() >= limits::UPSTREAM_ITEMS_MAX || bytes > limits::UPSTREAM_LIST_BYTES_MAX
        {
            return self.drop_item(&name, "the list is longer than is read");
        }
        if !self.names.insert(name.clone()) {
            return self.drop_item(&name, "another has this name");
        }
        self.bytes = bytes;
        self.items.push(item);
    }

    fn drop_item(&mut self, name: &str, reason: &str) {
        if self.dropped.len() < limits::UPSTREAM_ITEMS_MAX {
            let name = clean::text(name, limits::UPSTREAM_NAME_CHARS_MAX);
            self.dropped.push((name, reason.to_owned()));
        }
    }
}
