//! The lists of an upstream, as one kind of clients gets them: asked for once, kept, and asked for
//! again when they are no longer fresh or the upstream says that they have changed. It must not
//! know who reads them.

use super::{
    passing::{Nobody, failed},
    shelf::{Kept, Mark, Shelf},
};
use crate::{
    platform::Platform,
    toolset::{Current, Listed, Need, Offer, Offers, TaskSupport, ToolError},
};
use futures_util::{
    FutureExt as _,
    future::{LocalBoxFuture, WeakShared},
};
use rmcp::model::{JsonObject, SKILLS_EXTENSION_ID};
use serde_json::Value;
use shared::{Error, Kind as ErrorKind, Millis, hop::Change, limits};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};
use upstream::{Ask, Link, clean, guard::Pace, wire};

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

    /// Its method, and its member of the result.
    const fn words(self) -> (&'static str, &'static str) {
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
    const fn name(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources | Self::Skills => "uri",
            Self::Templates => "uriTemplate",
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
    /// What was left out when it was read.
    dropped: Rc<Vec<(String, String)>>,
    /// Whether whoever listens knows that it is another now.
    is_announced: bool,
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
    known: RefCell<BTreeMap<Kind, Known>>,
    asking: RefCell<BTreeMap<Kind, WeakAsking>>,
    offers: RefCell<Option<(Rc<Listed>, Rc<Offers>)>>,
    was_heard: Cell<bool>,
    /// How often each was heard to have changed.
    changes: RefCell<BTreeMap<Kind, u64>>,
}

impl Lists {
    pub(super) fn new(
        link: Rc<Link>,
        shelf: Rc<Shelf>,
        kind: String,
        announce: Rc<dyn Fn(Change)>,
        platform: Rc<dyn Platform>,
    ) -> Rc<Self> {
        Rc::new(Self {
            link,
            shelf,
            kind,
            announce,
            platform,
            known: RefCell::default(),
            asking: RefCell::default(),
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
    pub(super) async fn listed(self: &Rc<Self>, kind: Kind) -> Result<Current<Listed>, ToolError> {
        let (known, lack) = self.get(kind, Need::Fresh).await?;
        Ok(Current { it: known.items, until: Some(known.until), lack })
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

    /// After a time in which nothing was heard: what is known is asked for again, and whoever
    /// listens hears of what is other than it was.
    pub(super) fn look_again(self: &Rc<Self>) {
        if !self.was_heard.replace(true) {
            return;
        }
        for kind in Kind::ALL {
            let is_known = match self.known.borrow_mut().get_mut(&kind) {
                Some(known) => {
                    known.until = Millis(0);
                    true
                }
                None => false,
            };
            if is_known {
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
        if let Some(known) = &known {
            let is_young = now.since(known.fetched) < limits::UPSTREAM_STALE_MS;
            if now < known.until || (need == Need::Known && is_young) {
                return Ok((known.clone(), None));
            }
        }
        match self.ask(kind).await {
            Ok(fresh) => Ok((fresh, None)),
            Err(error) => match known {
                Some(known) if now.since(known.fetched) < limits::UPSTREAM_STALE_MS => {
                    let text = error.clone().into_protocol().message;
                    Ok((known, Some(format!("{text} (this is what it was before)"))))
                }
                _ => Err(error),
            },
        }
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
            dropped: Rc::default(),
            is_announced: false,
        };
        self.known.borrow_mut().insert(kind, known.clone());
        Ok(Some(known))
    }

    /// Asks for a list, once for all who want it at a time.
    async fn ask(self: &Rc<Self>, kind: Kind) -> Result<Known, ToolError> {
        let going = self.asking.borrow().get(&kind).and_then(WeakShared::upgrade);
        let asking = match going.filter(|asking| asking.peek().is_none()) {
            Some(going) => going,
            None => {
                let this = Rc::clone(self);
                let asking = async move { this.fetch(kind).await }.boxed_local().shared();
                if let Some(weak) = asking.downgrade() {
                    self.asking.borrow_mut().insert(kind, weak);
                }
                asking
            }
        };
        asking.await
    }

    async fn fetch(self: Rc<Self>, kind: Kind) -> Result<Known, ToolError> {
        let changes = self.changes_of(kind);
        let met = self.link.meet().await.map_err(failed)?;
        let mut read = Read::default();
        let mut ttl = limits::UPSTREAM_TTL_MS;
        if met.can(kind.capability()) {
            ttl = self.pages(kind, &mut read).await?;
        }
        let Read { items, dropped, .. } = read;
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
        let known = Known { items, fetched: now, until, dropped: Rc::new(dropped), is_announced };
        self.known.borrow_mut().insert(kind, known.clone());
        if !is_same {
            let text = serde_json::to_string(&*known.items)
                .map_err(|error| Error::internal(error.to_string()))?;
            self.shelf.keep(&self.kind, kind.words().0, &Kept { text, fetched: now, until })?;
            if before.is_some_and(|before| !before.is_announced) {
                (self.announce)(kind.change());
            }
        }
        Ok(known)
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
        let marks = self.shelf.marks()?;
        let mut tools = Vec::new();
        for object in known.items.iter() {
            let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
            let fingerprint = clean::fingerprint(object);
            let before = marks.get(name);
            let first = before.map_or(&fingerprint, |mark| &mark.first);
            let mark = Mark { first: first.clone(), last: fingerprint.clone() };
            if before != Some(&mark)
                && (before.is_some() || marks.len() < limits::UPSTREAM_MARKS_MAX)
            {
                self.shelf.mark(name, &mark)?;
                if before.is_some() {
                    self.warn(name, &mark);
                }
            }
            let mut object = object.clone();
            // Whether it runs as a task is between this program and the upstream.
            let execution = object.remove("execution");
            let support = execution.as_ref().and_then(|execution| execution.get("taskSupport"));
            tools.push(Offer {
                name: name.to_owned(),
                is_task_there: support.and_then(Value::as_str) == Some("required"),
                is_changed: mark.first != fingerprint,
                fingerprint: Some(fingerprint),
                tasks: TaskSupport::Never,
                object,
            });
        }
        Ok(Offers { tools, dropped: known.dropped.to_vec() })
    }

    fn warn(&self, name: &str, mark: &Mark) {
        let text = format!("the tool {name} of {} is not what it was", self.link.name());
        let detail = format!("first seen as {}, now {}", mark.first, mark.last);
        self.platform.log(&Error::new(ErrorKind::Upstream, text).with_detail(detail));
    }
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
        let is_name = match kind {
            Kind::Tools | Kind::Prompts => clean::is_name(&name),
            Kind::Resources | Kind::Templates | Kind::Skills => {
                !name.is_empty() && name.len() <= limits::SUBSCRIPTION_URI_BYTES_MAX
            }
        };
        if !is_name {
            return self.drop_item(&name, "its name is none that MCP allows");
        }
        if kind == Kind::Tools && !item.get("inputSchema").is_some_and(Value::is_object) {
            return self.drop_item(&name, "it has no schema");
        }
        clean::clean(&mut item);
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
