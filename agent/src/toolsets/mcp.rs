//! The `mcp` toolset: a remote MCP server behind the fence. Its tools, resources and prompts are
//! this toolset's, everything it says on the way reaches whoever asked, and what it answers stays
//! as it came. It must not know scopes: what is pinned, is pinned elsewhere.
//!
//! # Layout, in reading order
//! - this file: the toolset
//! - [`outside`]: the platform, as a client of upstreams wants it; addresses and secrets
//! - [`credential`]: the user's own credentials
//! - [`shelf`]: what is kept of an upstream
//! - [`lists`]: its lists, fresh or not
//! - [`passing`]: what is passed on between it and a client
//! - [`asking`]: what a task of its asks
//! - [`awaiting`]: tools that run only as tasks

mod asking;
mod awaiting;
mod credential;
mod lists;
mod outside;
mod passing;
mod shelf;

#[cfg(test)]
#[cfg(feature = "fixture")]
mod tests;

use crate::{
    fence::Fence,
    mirror,
    platform::Platform,
    tasks,
    toolset::{
        Answer, Answered, Call, Changed, Claim, Completion, Current, Listed, Need, Offers, Page,
        Subject, TaskRequest, ToolError, Toolset, Visit,
    },
};
use credential::Needs;
use futures_util::{
    FutureExt as _,
    future::{Either, LocalBoxFuture, select},
};
use lists::{Kind, Lists};
use outside::Outside;
use passing::{Passing, failed, failed_if_there, object_of};
use rmcp::model::{
    CallToolResult, CompleteResult, GetPromptResult, JsonObject, ReadResourceResult,
    SKILLS_EXTENSION_ID, TASKS_EXTENSION_ID,
};
use serde_json::{Value, json};
use shared::{
    AgentKey, Error,
    config::{self, Source},
    database::Database,
    gathered,
    hop::{Access, Change, InterestHop, Stop},
    limits,
};
use shelf::Shelf;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    fmt,
    rc::Rc,
};
use upstream::{
    Ask, Failure, Fields, Link, World,
    guard::{Guard, Pace},
    link::Target,
    listen::{Ear, Heard, Hearing},
    wire,
};

/// A remote MCP server.
pub struct Mcp {
    key: Rc<AgentKey>,
    fence: Fence,
    platform: Rc<dyn Platform>,
    world: Rc<dyn World>,
    guard: Rc<Guard>,
    target: Result<Target, Error>,
    needs: Needs,
    verify: Option<String>,
    approved: BTreeMap<String, String>,
    /// What stands before the check, which is somebody else's than the tools, and may fail by
    /// itself.
    door: Guard,
    shelf: Rc<Shelf>,
    peers: Rc<Peers>,
    interest: RefCell<Option<InterestHop>>,
    announce: Rc<dyn Fn(Change)>,
}

/// The server, as each kind of client has it.
#[derive(Default)]
struct Peers {
    /// By what the clients can be asked for; latest used last.
    all: RefCell<Vec<(String, Rc<Peer>)>>,
    /// Who of them listens for everybody: a change is heard, and told, once.
    listener: RefCell<Option<String>>,
}

/// The server, as one kind of client has it.
struct Peer {
    kind: String,
    link: Rc<Link>,
    ear: Rc<Ear>,
    lists: Rc<Lists>,
    hearing: Hearing,
}

impl fmt::Debug for Mcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mcp").field("name", &self.guard.name()).finish_non_exhaustive()
    }
}

/// What an `mcp` toolset is made of.
#[allow(missing_debug_implementations, reason = "it holds what cannot be shown")]
pub struct Parts<'a> {
    /// What the configuration says of it.
    pub toolset: &'a config::Toolset,
    /// The same, of the server.
    pub remote: &'a config::Upstream,
    /// Where the server is, at this scope.
    pub address: &'a str,
    /// Whether it may be somewhere private.
    pub is_development: bool,
    /// What the scope fixes of it.
    pub fence: Fence,
    /// The context.
    pub key: &'a Rc<AgentKey>,
    /// Its database.
    pub database: &'a Rc<dyn Database>,
    /// Its world.
    pub platform: &'a Rc<dyn Platform>,
}

impl Mcp {
    /// A server that may have been met before.
    #[must_use]
    pub fn new(parts: Parts<'_>) -> Self {
        let Parts { toolset, remote, address, is_development, fence, key, database, platform } =
            parts;
        let name = toolset.name.clone();
        let needs = Needs::of(&name, remote);
        let world: Rc<dyn World> = Rc::new(Outside(Rc::clone(platform), needs.clone()));
        let guard = Rc::new(Guard::new(name.clone(), Rc::clone(&world), remote.bounds));
        let target = outside::target(&**platform, &name, remote, address, is_development);
        let door = Guard::new(name.clone(), Rc::clone(&world), remote.bounds);
        let depth = key.scope.depth();
        let verify = remote.verify.range(..depth).next_back();
        let verify = verify.and_then(|(_, template)| template.fill(&key.scope));
        let shelf = Rc::new(Shelf::new(Rc::clone(database), format!("{name} {address}")));
        Self {
            announce: announcer(key, platform),
            fence,
            key: Rc::clone(key),
            platform: Rc::clone(platform),
            world,
            guard,
            target,
            needs,
            verify,
            approved: toolset.approved.clone(),
            door,
            shelf,
            peers: Rc::default(),
            interest: RefCell::default(),
        }
    }

    /// The server, as this kind of clients has it: what they can be asked for, as JSON.
    fn peer(&self, kind: &str) -> Rc<Peer> {
        let mut peers = self.peers.all.borrow_mut();
        if let Some(index) = peers.iter().position(|(known, _)| *known == kind) {
            let found = peers.remove(index);
            let peer = Rc::clone(&found.1);
            peers.push(found);
            return peer;
        }
        if peers.len() >= limits::UPSTREAM_LINKS_MAX {
            // The one that listens stays.
            let listens = |kind: &String| Some(kind) == self.peers.listener.borrow().as_ref();
            let oldest = peers.iter().position(|(kind, _)| !listens(kind)).unwrap_or(0);
            let (_, gone) = peers.remove(oldest);
            gone.ear.want(false, BTreeSet::new());
            gone.link.retire();
        }
        let link = Rc::new(Link::new(
            Rc::clone(&self.world),
            Rc::clone(&self.guard),
            self.target.clone(),
            serde_json::from_str(kind).unwrap_or_default(),
            Box::new(self.shelf.keeper(kind)),
        ));
        let lists = Lists::new(&lists::Parts {
            link: &link,
            shelf: &self.shelf,
            kind,
            announce: &self.announce,
            platform: &self.platform,
            connect_ms: self.guard.bounds().connect_ms,
            approved: &self.approved,
        });
        let kind = kind.to_owned();
        let hearing = self.hearing(&kind);
        let peer = Rc::new(Peer { kind: kind.clone(), link, ear: Rc::default(), lists, hearing });
        peers.push((kind, Rc::clone(&peer)));
        peer
    }

    /// What is done with what a server says by itself on the stream of one kind of clients: all
    /// kinds have the same lists to lose, and whoever listens for everybody tells it.
    fn hearing(&self, kind: &str) -> Hearing {
        let (kind, announce) = (kind.to_owned(), Rc::clone(&self.announce));
        let peers = Rc::downgrade(&self.peers);
        Rc::new(move |heard| {
            let Some(peers) = peers.upgrade() else {
                return;
            };
            let all: Vec<Rc<Lists>> =
                peers.all.borrow().iter().map(|(_, peer)| Rc::clone(&peer.lists)).collect();
            let (spoiled, change): (&[Kind], Change) = match heard {
                Heard::Tools => (&[Kind::Tools], Change::Tools),
                Heard::Prompts => (&[Kind::Prompts], Change::Prompts),
                Heard::Resources => (&[Kind::Resources, Kind::Templates], Change::Resources),
                Heard::Resource(uri) => (&[], Change::Resource(uri)),
                // Whatever changed meanwhile was not heard of.
                Heard::Open => return all.iter().for_each(Lists::look_again),
            };
            for lists in &all {
                spoiled.iter().for_each(|spoiled| lists.spoil(*spoiled));
            }
            if peers.listener.borrow().as_ref().is_none_or(|listener| *listener == kind) {
                announce(change);
            }
        })
    }

    /// The kind of clients whose stream is listened to for all.
    fn listener(&self) -> String {
        let known = self.peers.listener.borrow().clone();
        let latest = || self.peers.all.borrow().last().map(|(kind, _)| kind.clone());
        known.or_else(latest).unwrap_or_else(|| kind(&JsonObject::new()))
    }

    /// The server, as whoever asks has it.
    fn of(&self, visit: &Visit) -> Rc<Peer> {
        self.peer(visit.kind.get_or_init(|| kind(&visit.client.capabilities())))
    }

    fn passing<'a>(&'a self, visit: &'a Visit, peer: &'a Peer) -> Passing<'a> {
        let (toolset, hearing) = (self.guard.name(), &peer.hearing);
        Passing { toolset, visit, hearing, fence: &self.fence }
    }

    /// Asks the server for something on behalf of a client, who may have to connect it first: where
    /// something is lacking that it has to be told, it was told nothing yet.
    async fn ask(&self, visit: &Visit, ask: Ask) -> Result<Fields, Failure> {
        let beside = self.fence.check_beside(&visit.meta);
        beside.map_err(|error| Failure::Error(object_of(error)))?;
        match self.ask_once(visit, ask.clone()).await {
            Err(Failure::Below(error))
                if error.kind == shared::Kind::Unauthenticated
                    && self.needs.connect(&*self.platform, visit).await =>
            {
                self.ask_once(visit, ask).await
            }
            outcome => outcome,
        }
    }

    async fn ask_once(&self, visit: &Visit, ask: Ask) -> Result<Fields, Failure> {
        let peer = self.of(visit);
        let ask = Ask {
            wants_progress: visit.reporter.wants_progress(),
            level: visit.reporter.level(),
            meta: visit.meta.clone(),
            ..ask
        };
        peer.link.hear_of_request(&peer.ear, &peer.hearing);
        peer.link.ask(ask, &self.passing(visit, &peer)).await
    }

    /// A call's result: a task of the server's is one of this context's from here on.
    fn result(
        &self,
        peer: &Rc<Peer>,
        visit: &Visit,
        mut fields: Fields,
    ) -> Result<Fields, ToolError> {
        if wire::text(&fields, "resultType").as_deref() != Some("task") {
            return Ok(fields);
        }
        let remote =
            wire::text(&fields, "taskId").filter(|id| id.len() <= limits::UPSTREAM_ID_BYTES_MAX);
        let Some(remote) = remote else {
            let text = format!("{} answered with a task that has no id", self.guard.name());
            return Err(Error::new(shared::Kind::Upstream, text).into());
        };
        // Nobody could ever ask for the result of one that is not kept.
        let abandoned = self.abandoned(peer, &remote);
        let id = tasks::fresh_id(&self.key, &*self.platform)?;
        let holder = visit.client.holder();
        self.shelf.keep_task(&id, &peer.kind, &remote, &holder, self.platform.now())?;
        abandoned.call_off();
        rename(&mut fields, &id);
        self.narrow_questions(&mut fields)?;
        Ok(fields)
    }

    /// Whether the server says that it can do something at all. One that cannot be met says so
    /// itself when it is asked.
    async fn can(&self, visit: &Visit, path: &[&str]) -> Result<bool, ToolError> {
        let peer = self.of(visit);
        peer.link.meet().await.map(|met| met.can(path)).map_err(failed)
    }
}

impl Peer {
    fn want(&self, interest: &InterestHop) {
        self.ear.want(interest.lists, interest.uris.clone());
        if self.ear.is_wanted() {
            self.link.hear(&self.ear, &self.hearing);
        }
    }
}

/// What a client can do for servers, and nothing that is between it and this one, as JSON.
fn kind(capabilities: &JsonObject) -> String {
    let mut kept = JsonObject::new();
    for name in ["elicitation", "roots", "sampling"] {
        if let Some(value) = capabilities.get(name) {
            kept.insert(name.to_owned(), value.clone());
        }
    }
    let extensions = capabilities.get("extensions");
    if let Some(tasks) = extensions.and_then(|all| all.get(TASKS_EXTENSION_ID)) {
        kept.insert("extensions".to_owned(), json!({ TASKS_EXTENSION_ID: tasks }));
    }
    let text = Value::Object(kept.clone()).to_string();
    if text.len() <= limits::UPSTREAM_KIND_BYTES_MAX {
        return text;
    }
    // It names rows, and clients write it.
    for (name, value) in &mut kept {
        *value = match name.as_str() {
            "extensions" => json!({ TASKS_EXTENSION_ID: {} }),
            _ => json!({}),
        };
    }
    Value::Object(kept).to_string()
}

/// The way to tell whoever listens that something has changed. The first is told at once. However
/// fast a server says more, one telling is on its way at a time, the next waits for a while after
/// it, and what is said meanwhile goes with that.
fn announcer(key: &Rc<AgentKey>, platform: &Rc<dyn Platform>) -> Rc<dyn Fn(Change)> {
    let (key, platform) = (Rc::clone(key), Rc::clone(platform));
    let (changed, is_telling) = (Changed::default(), Rc::new(Cell::new(false)));
    Rc::new(move |change| {
        changed.announce(change);
        if is_telling.replace(true) {
            return;
        }
        let (key, near) = (Rc::clone(&key), Rc::clone(&platform));
        let (changed, is_telling) = (changed.clone(), Rc::clone(&is_telling));
        platform.spawn(Box::pin(async move {
            loop {
                let changes = changed.take();
                if changes.is_empty() {
                    break;
                }
                if let Err(error) = near.changed(&key.scope, changes).await {
                    near.log(&error);
                }
                near.sleep(limits::UPSTREAM_TELL_MS).await;
            }
            is_telling.set(false);
        }));
    })
}

impl Toolset for Mcp {
    fn tools<'a>(&'a self, visit: &'a Visit, need: Need) -> Answer<'a, Current<Offers>> {
        Box::pin(async move { self.of(visit).lists.offers(need).await })
    }

    fn call(&self, call: Call) -> Answer<'_, Answered<CallToolResult>> {
        Box::pin(async move {
            let Call { name, arguments, visit, .. } = call;
            let offers = self.tools(&visit, Need::Known).await?.it;
            let offer = offers.tools.iter().find(|offer| offer.name == name);
            let object = offer.map(|offer| &offer.object);
            let hint = |hint: &str| {
                let annotations = object.and_then(|object| object.get("annotations"));
                annotations.and_then(|all| all.get(hint)) == Some(&Value::Bool(true))
            };
            let may_repeat = hint("readOnlyHint") || hint("idempotentHint");
            let schema = object.and_then(|object| object.get("inputSchema")?.as_object());
            let mirrors = schema.map(|schema| mirror::headers(schema, &arguments));
            let ask = Ask {
                method: "tools/call",
                params: params([("name", name.clone().into()), ("arguments", arguments.into())]),
                name: Some(name),
                mirrors: mirrors.unwrap_or_default(),
                may_repeat,
                ..Ask::default()
            };
            let is_task = offer.is_some_and(|offer| offer.is_task_there);
            let peer = self.of(&visit);
            let fields = match is_task {
                true => self.ask_as_task(&peer, &visit, ask).await?,
                false => self.ask(&visit, ask).await.map_err(failed)?,
            };
            self.result(&peer, &visit, fields).map(Answered::Relayed)
        })
    }

    fn may_have(&self) -> &'static [&'static str] {
        &[TASKS_EXTENSION_ID, SKILLS_EXTENSION_ID]
    }

    fn extensions<'a>(&'a self, visit: &'a Visit) -> LocalBoxFuture<'a, Option<Vec<&'static str>>> {
        Box::pin(async move {
            let link = Rc::clone(&self.of(visit).link);
            let meeting = async move { link.meet().await.ok() }.boxed_local().shared();
            let soon = u32::try_from(limits::UPSTREAM_SOON_MS).unwrap_or(u32::MAX);
            let met = match select(meeting.clone(), self.platform.sleep(soon)).await {
                Either::Left((met, _)) => met?,
                Either::Right(_) => {
                    self.platform.spawn(meeting.map(drop).boxed_local());
                    return None;
                }
            };
            let all = [TASKS_EXTENSION_ID, SKILLS_EXTENSION_ID].into_iter();
            Some(all.filter(|extension| met.can(&["extensions", extension])).collect())
        })
    }

    fn task<'a>(
        &'a self,
        request: TaskRequest<'a>,
        visit: &'a Visit,
    ) -> Answer<'a, Option<Fields>> {
        Box::pin(async move {
            let TaskRequest { method, id, mut params } = request;
            let Some((kind, remote)) = self.shelf.task(id, self.platform.now())? else {
                return Ok(None);
            };
            let peer = self.peer(&kind);
            if let Some(Value::Object(answers)) = params.get_mut("inputResponses") {
                self.answered(&peer, &remote, answers).await?;
            }
            params.insert("taskId".to_owned(), remote.clone().into());
            let may_repeat = method == "tasks/get";
            // A look at a task waits for no call, and its end for nothing.
            let pace = if method == "tasks/cancel" { Pace::Urgent } else { Pace::Brief };
            let name = Some(remote);
            let ask = Ask { method, params, name, may_repeat, pace, ..Ask::default() };
            let passing = self.passing(visit, &peer);
            let mut fields = peer.link.ask(ask, &passing).await.map_err(failed)?;
            if fields.contains_key("taskId") {
                rename(&mut fields, id);
            }
            self.narrow_questions(&mut fields)?;
            Ok(Some(fields))
        })
    }

    fn stop(&self, stop: &Stop) -> Result<(), Error> {
        for (kind, remote) in self.shelf.end_tasks(stop, self.guard.name())? {
            // The server is told, where it still can be.
            drop(self.abandoned(&self.peer(&kind), &remote));
        }
        Ok(())
    }

    fn remote_skills<'a>(&'a self, visit: &'a Visit) -> Answer<'a, Current<Listed>> {
        Box::pin(async move { self.of(visit).lists.listed(Kind::Skills, Need::Soon).await })
    }

    fn remote_skill<'a>(
        &'a self,
        method: &'static str,
        params: JsonObject,
        visit: &'a Visit,
    ) -> Answer<'a, Option<Fields>> {
        Box::pin(async move {
            if !self.can(visit, &["extensions", SKILLS_EXTENSION_ID]).await? {
                return Ok(None);
            }
            let name = params.get("uri").and_then(Value::as_str).map(ToOwned::to_owned);
            let ask = Ask { method, params, name, may_repeat: true, ..Ask::default() };
            self.ask(visit, ask).await.map(Some).map_err(failed)
        })
    }

    fn resources<'a>(&'a self, offset: u32, visit: &'a Visit) -> Answer<'a, Page> {
        Box::pin(async move {
            let Current { it, lack, until } =
                self.of(visit).lists.listed(Kind::Resources, Need::Soon).await?;
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let items: Vec<JsonObject> =
                it.iter().skip(start).take(limits::PAGE_ITEMS_MAX).cloned().collect();
            let end = start.saturating_add(items.len());
            let next = (end < it.len()).then(|| u32::try_from(end).unwrap_or(u32::MAX));
            Ok(Page { items, next, until: until.unwrap_or_default(), lack })
        })
    }

    fn templates<'a>(&'a self, visit: &'a Visit, need: Need) -> Answer<'a, Current<Listed>> {
        Box::pin(async move { self.of(visit).lists.listed(Kind::Templates, need).await })
    }

    fn read<'a>(
        &'a self,
        uri: &'a str,
        visit: &'a Visit,
    ) -> Answer<'a, Option<Answered<ReadResourceResult>>> {
        Box::pin(async move {
            if !self.can(visit, &["resources"]).await? {
                return Ok(None);
            }
            let ask = Ask {
                method: "resources/read",
                params: params([("uri", uri.into())]),
                name: Some(uri.to_owned()),
                may_repeat: true,
                ..Ask::default()
            };
            match self.ask(visit, ask).await {
                Ok(fields) => Ok(Some(Answered::Relayed(fields))),
                // It has none of this name; another toolset may.
                Err(Failure::Error(error)) if is_not_found(error.code, error.data.as_ref()) => {
                    Ok(None)
                }
                Err(failure) => Err(failed(failure)),
            }
        })
    }

    fn prompts<'a>(&'a self, visit: &'a Visit, need: Need) -> Answer<'a, Current<Listed>> {
        Box::pin(async move { self.of(visit).lists.listed(Kind::Prompts, need).await })
    }

    fn prompt<'a>(
        &'a self,
        name: &'a str,
        arguments: JsonObject,
        visit: &'a Visit,
    ) -> Answer<'a, Answered<GetPromptResult>> {
        Box::pin(async move {
            let ask = Ask {
                method: "prompts/get",
                params: params([("name", name.into()), ("arguments", arguments.into())]),
                name: Some(name.to_owned()),
                may_repeat: true,
                ..Ask::default()
            };
            self.ask(visit, ask).await.map(Answered::Relayed).map_err(failed)
        })
    }

    fn complete<'a>(
        &'a self,
        question: Completion<'a>,
        visit: &'a Visit,
    ) -> Answer<'a, Option<Answered<CompleteResult>>> {
        Box::pin(async move {
            let Completion { subject, argument, text, known } = question;
            let lists = &self.of(visit).lists;
            let (kind, member, value) = match subject {
                Subject::Prompt(name) => (Kind::Prompts, "name", name),
                Subject::Template(template) => (Kind::Templates, "uriTemplate", template),
            };
            let listed = lists.listed(kind, Need::Known).await?.it;
            let is_own =
                listed.iter().any(|item| item.get(member).and_then(Value::as_str) == Some(value));
            if !is_own || !self.can(visit, &["completions"]).await? {
                return Ok(None);
            }
            let subject = match subject {
                Subject::Prompt(name) => json!({ "type": "ref/prompt", "name": name }),
                Subject::Template(uri) => json!({ "type": "ref/resource", "uri": uri }),
            };
            let argument = json!({ "name": argument, "value": text });
            let mut params = params([("ref", subject), ("argument", argument)]);
            if !known.is_empty() {
                params.insert("context".to_owned(), json!({ "arguments": known }));
            }
            let ask =
                Ask { method: "completion/complete", params, may_repeat: true, ..Ask::default() };
            let answer = self.ask(visit, ask).await;
            answer.map(|fields| Some(Answered::Relayed(fields))).map_err(failed_if_there)
        })
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn connect<'a>(&'a self, visit: &'a Visit) -> LocalBoxFuture<'a, bool> {
        Box::pin(self.needs.connect(&*self.platform, visit))
    }

    fn claim<'a>(&'a self, uri: &'a str, visit: &'a Visit, need: Need) -> Answer<'a, Claim> {
        Box::pin(async move { self.of(visit).lists.claim(uri, need).await })
    }

    fn known_templates(&self) -> Option<Vec<String>> {
        let (part, member) = (Kind::Templates.words().0, Kind::Templates.name());
        let kept = self.shelf.load_all(part).unwrap_or_default();
        let mut templates = (!kept.is_empty()).then(Vec::new);
        for text in kept {
            // One that cannot be read is as good as none.
            let listed: Listed = serde_json::from_str(&text).ok()?;
            let names = listed.iter().filter_map(|item| item.get(member)?.as_str());
            templates.get_or_insert_default().extend(names.map(ToOwned::to_owned));
        }
        templates
    }

    fn learn_templates(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let peer = self.peer(&self.listener());
            peer.lists.listed(Kind::Templates, Need::Known).await.map(drop)
        })
    }

    fn claims(&self, uris: &[&str]) -> Vec<Claim> {
        let mut claims = vec![Claim::Nothing; uris.len()];
        for kind in Kind::OF_URIS {
            // What cannot be read says nothing.
            for text in self.shelf.load_all(kind.words().0).unwrap_or_default() {
                let listed: Listed = serde_json::from_str(&text).unwrap_or_default();
                for (claim, uri) in claims.iter_mut().zip(uris) {
                    *claim = kind.claim(&listed, uri).max(*claim);
                }
            }
        }
        claims
    }

    fn verify(&self) -> Answer<'_, Access> {
        Box::pin(async move {
            match &self.verify {
                None => Ok(Access::Yes),
                Some(address) => outside::verify(&*self.world, &self.door, &self.target, address)
                    .await
                    .map_err(ToolError::Below),
            }
        })
    }

    fn interest(&self, interest: &InterestHop) {
        // Without a client's word on what it can do: it is only listened to.
        let is_wanted = !interest.is_none();
        *self.interest.borrow_mut() = is_wanted.then(|| interest.clone());
        let listener = match is_wanted {
            true => Some(self.listener()),
            false => self.peers.listener.borrow().clone(),
        };
        if let Some(listener) = &listener {
            self.peers.listener.replace(is_wanted.then(|| listener.clone()));
            self.peer(listener).want(interest);
        }
    }
}

/// A task by the id that clients know.
fn rename(task: &mut Fields, id: &str) {
    if let Ok(id) = serde_json::value::to_raw_value(id) {
        task.insert("taskId".to_owned(), id);
    }
}

fn params<const N: usize>(members: [(&str, Value); N]) -> JsonObject {
    gathered(members.into_iter().map(|(name, value)| (name.to_owned(), value)))
}

/// Whether an error says that there is no such resource, in the words of any revision.
fn is_not_found(code: i64, data: Option<&Value>) -> bool {
    code == -32002 || (code == -32602 && data.is_some_and(|data| data.get("uri").is_some()))
}

/// What every request to an upstream carries.
fn source(platform: &dyn Platform, name: &str, source: &Source) -> Result<String, Error> {
    match source {
        Source::Text(text) => Ok(text.clone()),
        Source::Secret(secret) => platform.secret(secret).ok_or_else(|| {
            Error::internal(format!("the secret {secret}, which {name} needs, is not set"))
        }),
        Source::Credential(credential) => {
            Err(Error::internal(format!("{credential} of {name} is found for each request")))
        }
    }
}
