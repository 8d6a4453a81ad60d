//! What a family of tools is, to an Agent. Schemas are complete here; the handler narrows them to
//! the scope. It must not know scopes or which families there are.

use crate::{
    background::Background, client::Client, report::Reporter, skills::Bundle, value::to_value,
};
use futures_util::future::LocalBoxFuture;
use rmcp::model::{
    CallToolResult, CompleteResult, ErrorData, GetPromptResult, JsonObject, ReadResourceResult,
    Tool,
};
use serde::Serialize;
use serde_json::Value;
use shared::{
    Error, Kind, Millis,
    hop::{Access, Change, InterestHop, Stop},
    limits,
};
use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeSet,
    rc::Rc,
};
use upstream::Fields;

/// An answer that may take a while.
pub type Answer<'a, T> = LocalBoxFuture<'a, Result<T, ToolError>>;

/// What a toolset answers with: what it made itself, or what somebody else did, which a client gets
/// as it came.
#[derive(Debug)]
pub enum Answered<T> {
    /// Its own.
    Made(T),
    /// Somebody else's.
    Relayed(Fields),
}

impl<T> From<T> for Answered<T> {
    fn from(made: T) -> Self {
        Self::Made(made)
    }
}

/// One request, as far as a toolset talks to whoever sent it.
#[derive(Debug)]
pub struct Visit {
    /// The way to say something before the result.
    pub reporter: Reporter,
    /// Who can be asked before it acts.
    pub client: Client,
    /// Where it announces what it changed.
    pub changed: Changed,
    /// Whether the user has shared notes (see `shared::hop::Hop`).
    pub shared_notes: bool,
    /// What the client said beside its request, and not to this server.
    pub meta: JsonObject,
    /// Whether several toolsets may have their say in this one request: then nothing that one asks
    /// or keeps may be taken for another's.
    pub is_shared: bool,
    /// What kind of client it is to an upstream; found out once.
    pub kind: OnceCell<String>,
}

/// One call of one tool.
#[derive(Debug)]
pub struct Call {
    /// The tool's own name.
    pub name: String,
    /// Its arguments, with the pinned ones put back.
    pub arguments: JsonObject,
    /// Whoever calls.
    pub visit: Visit,
    /// The way to go on without its caller.
    pub background: Background,
}

/// A tool, as a toolset offers it.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Its own name.
    pub name: String,
    /// The whole of it as it is listed, with its complete schema.
    pub object: JsonObject,
    /// Whether its work may go on without its caller.
    pub tasks: TaskSupport,
    /// Whether it is one of those upstreams' of the handshake era that only run as tasks.
    pub is_task_there: bool,
    /// What it is known by, where somebody else made it.
    pub fingerprint: Option<String>,
    /// Whether it is not what it was when it was first seen.
    pub is_changed: bool,
}

/// The tools of a toolset.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Offers {
    /// The tools, always in the same order.
    pub tools: Vec<Offer>,
    /// What is left out, by name, and why.
    pub dropped: Vec<(String, String)>,
}

impl Offers {
    /// Tools that this program has.
    #[must_use]
    pub fn of(tools: &[Tool], tasks: impl Fn(&str) -> TaskSupport) -> Current<Self> {
        let offer = |tool: &Tool| Offer {
            name: tool.name.to_string(),
            object: object(tool),
            tasks: tasks(&tool.name),
            is_task_there: false,
            fingerprint: None,
            is_changed: false,
        };
        let tools = tools.iter().map(offer).collect();
        Current { it: Rc::new(Self { tools, dropped: Vec::new() }), until: None, lack: None }
    }
}

/// Things of another kind: prompts, resources, or their templates, each whole.
pub type Listed = Vec<JsonObject>;

/// Things that this program has.
#[must_use]
pub fn listed(items: &[impl Serialize]) -> Current<Listed> {
    Current { it: Rc::new(items.iter().map(object).collect()), until: None, lack: None }
}

/// Something that a toolset has at a time. The same allocation is the same version.
#[derive(Debug, Default)]
pub struct Current<T> {
    /// It.
    pub it: Rc<T>,
    /// Until when it is fresh; `None` where it changes with the configuration only.
    pub until: Option<Millis>,
    /// Why this is not all, or not as it is now.
    pub lack: Option<String>,
}

impl<T> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self { it: Rc::clone(&self.it), until: self.until, lack: self.lack.clone() }
    }
}

/// How new a list must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// As it is now, or as long as it is said to be fresh.
    Fresh,
    /// The same, for a list that is shown whole: whoever does not answer soon is gone on without. It
    /// is what it was before then, or an error where nothing is known.
    Soon,
    /// Whatever is known.
    Known,
    /// Whatever is known, however old, without asking anybody: an error where nothing is.
    Near,
}

/// How plainly a URI is one toolset's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// Nothing says so.
    #[default]
    Nothing,
    /// One of its templates reads like the URI, with so many bytes that are no variable.
    Template(usize),
    /// It lists the resource, or nobody else can have it.
    Listed,
}

/// One of `rmcp`'s types as the object that it is.
#[must_use]
pub fn object(of: &impl Serialize) -> JsonObject {
    match to_value(of) {
        Ok(Value::Object(object)) => object,
        // What is listed is an object.
        Ok(_) | Err(_) => JsonObject::new(),
    }
}

/// What a call changed of what clients keep copies of, each thing once. They hear of it before
/// the reply, even if the call fails in the end.
#[derive(Debug, Clone, Default)]
pub struct Changed(Rc<RefCell<BTreeSet<Change>>>);

impl Changed {
    /// Announces a change.
    pub fn announce(&self, change: Change) {
        let mut changes = self.0.borrow_mut();
        // Whoever cannot be told each of them is told of the list.
        let full = changes.len() >= limits::CHANGES_MAX;
        changes.insert(if full { Change::Resources } else { change });
    }

    /// What was announced.
    #[must_use]
    pub fn take(&self) -> Vec<Change> {
        std::mem::take(&mut *self.0.borrow_mut()).into_iter().collect()
    }
}

/// Why a toolset did not answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ToolError {
    /// The tool itself failed: a result that the model reads and acts on.
    #[error("{0}")]
    Failed(String),
    /// The request was wrong: a JSON-RPC error.
    #[error("{}", .0.message)]
    Protocol(ErrorData),
    /// Something below failed.
    #[error(transparent)]
    Below(#[from] Error),
}

impl ToolError {
    /// As the error of a request that is not a tool call.
    #[must_use]
    pub fn into_protocol(self) -> ErrorData {
        match self {
            Self::Failed(text) => ErrorData::internal_error(text, None),
            Self::Protocol(error) => error,
            Self::Below(error) => {
                let code = i32::try_from(error.kind.row().code).unwrap_or(-32603);
                ErrorData::new(rmcp::model::ErrorCode(code), error.public, None)
            }
        }
    }

    /// As the outcome of a tool call: what the model can act on is a result.
    ///
    /// # Errors
    /// The protocol error, where it is one.
    pub fn into_result(self) -> Result<CallToolResult, ErrorData> {
        use rmcp::model::ContentBlock;
        match self {
            Self::Failed(text) => Ok(CallToolResult::error(vec![ContentBlock::text(text)])),
            Self::Below(error) if error.kind != Kind::Internal => {
                Ok(CallToolResult::error(vec![ContentBlock::text(error.public)]))
            }
            other => Err(other.into_protocol()),
        }
    }
}

/// A page of a list: which items, and where the next page begins.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// The items, each whole.
    pub items: Vec<JsonObject>,
    /// The offset of the next page; `None` after the last item.
    pub next: Option<u32>,
    /// Until when it is fresh; the default is no time at all.
    pub until: Millis,
    /// Why this is not all, or not as it is now.
    pub lack: Option<String>,
}

/// Whether the work of a tool may go on without its caller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TaskSupport {
    /// It does not: [`Call::background`] leads nowhere.
    #[default]
    Never,
    /// It does where the client can come back for the result.
    May,
    /// It does, and a client that cannot come back cannot call it.
    Must,
}

/// A family of tools that an Agent serves, with whatever else it offers.
///
/// Calls, reads and prompts may ask the client, and the rule for them is: ask before you act. A
/// call may be stopped wherever it waits, and while it waits for an answer it may be lost and run
/// again from its start, with the answers it had (see [`Client`]). So may a call that goes on in
/// the background, at any time: it does there what it may do twice.
pub trait Toolset {
    /// Its tools.
    fn tools<'a>(&'a self, visit: &'a Visit, need: Need) -> Answer<'a, Current<Offers>>;

    /// Calls one of [`Self::tools`].
    fn call(&self, call: Call) -> Answer<'_, Answered<CallToolResult>>;

    /// Extensions of MCP that it may have, as far as that is known without asking.
    fn may_have(&self) -> &'static [&'static str] {
        &[]
    }

    /// Extensions of MCP that it has: `io.modelcontextprotocol/tasks` and its like; `None` where
    /// that is not known soon.
    fn extensions<'a>(
        &'a self,
        _visit: &'a Visit,
    ) -> LocalBoxFuture<'a, Option<Vec<&'static str>>> {
        Box::pin(std::future::ready(Some(Vec::new())))
    }

    /// Has whoever asks connect what it needs of theirs, where they can be asked for that; whether
    /// anything is connected now that was not.
    fn connect<'a>(&'a self, _visit: &'a Visit) -> LocalBoxFuture<'a, bool> {
        Box::pin(std::future::ready(false))
    }

    /// Does something with a task of its own keeping, by the id that clients know; `None` where it
    /// keeps none of that id.
    fn task<'a>(
        &'a self,
        _request: TaskRequest<'a>,
        _visit: &'a Visit,
    ) -> Answer<'a, Option<Fields>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Skills that somebody else has, as they are listed.
    fn remote_skills<'a>(&'a self, _visit: &'a Visit) -> Answer<'a, Current<Listed>> {
        Box::pin(std::future::ready(Ok(Current::default())))
    }

    /// Asks somebody else for a skill or for one of its directories; `None` where there is none.
    fn remote_skill<'a>(
        &'a self,
        _method: &'static str,
        _params: JsonObject,
        _visit: &'a Visit,
    ) -> Answer<'a, Option<Fields>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Its skills, always in the same order.
    fn skills(&self) -> &[Bundle] {
        &[]
    }

    /// Resources from an offset on.
    fn resources<'a>(&'a self, _offset: u32, _visit: &'a Visit) -> Answer<'a, Page> {
        Box::pin(std::future::ready(Ok(Page::default())))
    }

    /// Templates of resources.
    fn templates<'a>(&'a self, _visit: &'a Visit, _need: Need) -> Answer<'a, Current<Listed>> {
        Box::pin(std::future::ready(Ok(Current::default())))
    }

    /// Reads a resource; `None` where this toolset has none of that URI.
    fn read<'a>(
        &'a self,
        _uri: &'a str,
        _visit: &'a Visit,
    ) -> Answer<'a, Option<Answered<ReadResourceResult>>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Its prompts, always in the same order.
    fn prompts<'a>(&'a self, _visit: &'a Visit, _need: Need) -> Answer<'a, Current<Listed>> {
        Box::pin(std::future::ready(Ok(Current::default())))
    }

    /// Makes one of [`Self::prompts`].
    fn prompt<'a>(
        &'a self,
        name: &'a str,
        _arguments: JsonObject,
        _visit: &'a Visit,
    ) -> Answer<'a, Answered<GetPromptResult>> {
        let error = ErrorData::invalid_params(format!("there is no prompt {name}"), None);
        Box::pin(std::future::ready(Err(ToolError::Protocol(error))))
    }

    /// Values for an argument of one of its prompts or templates; `None` if it is not one of its.
    fn complete<'a>(
        &'a self,
        _question: Completion<'a>,
        _visit: &'a Visit,
    ) -> Answer<'a, Option<Answered<CompleteResult>>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Whether what it is asked is told to somebody else.
    fn is_remote(&self) -> bool {
        false
    }

    /// Whether a URI is one of its own.
    fn claim<'a>(&'a self, uri: &'a str, _visit: &'a Visit, _need: Need) -> Answer<'a, Claim> {
        let claim = self.claims(&[uri]).pop().unwrap_or_default();
        Box::pin(std::future::ready(Ok(claim)))
    }

    /// The templates of its resources, as far as they are known; `None` where they were never
    /// asked for.
    fn known_templates(&self) -> Option<Vec<String>> {
        Some(Vec::new())
    }

    /// Asks for the templates of its resources, so that they are known.
    fn learn_templates(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Whether these URIs are its own, each, by all that is known without asking anybody.
    fn claims(&self, uris: &[&str]) -> Vec<Claim> {
        vec![Claim::Nothing; uris.len()]
    }

    /// Whether the user may enter this context.
    fn verify(&self) -> Answer<'_, Access> {
        Box::pin(std::future::ready(Ok(Access::Yes)))
    }

    /// Ends tasks of its own keeping that are among what ends.
    ///
    /// # Errors
    /// Internal ones.
    fn stop(&self, _stop: &Stop) -> Result<(), Error> {
        Ok(())
    }

    /// Says what anybody wants to hear of.
    fn interest(&self, _interest: &InterestHop) {}
}

/// What is wanted of a task that somebody else runs.
#[derive(Debug, Clone)]
pub struct TaskRequest<'a> {
    /// `tasks/get`, `tasks/update` or `tasks/cancel`.
    pub method: &'static str,
    /// The id that clients know.
    pub id: &'a str,
    /// Its parameters but for the id.
    pub params: JsonObject,
}

/// What a completion is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Completion<'a> {
    /// What the argument belongs to.
    pub subject: Subject<'a>,
    /// The argument's name.
    pub argument: &'a str,
    /// How its value begins.
    pub text: &'a str,
    /// The arguments that are known already.
    pub known: &'a JsonObject,
}

/// What an argument belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A prompt, by name.
    Prompt(&'a str),
    /// A resource template, by its text.
    Template(&'a str),
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::platform::Platform;
    use futures_util::future::LocalBoxFuture;
    use shared::{
        Error, Kind, Millis, Scope,
        hop::{Change, NotesAnswer},
        notes,
    };
    use std::{
        cell::{Cell, RefCell},
        fmt,
        future::Future,
        pin::Pin,
        rc::Rc,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        task::{Context, Poll, Wake, Waker},
    };
    use upstream::{Request, Response};

    /// A platform where nothing moves but what a test moves, and what asks for randomness.
    #[cfg_attr(not(feature = "fixture"), allow(dead_code, reason = "moved by the fixture's tests"))]
    pub(crate) struct Still {
        random: Cell<u8>,
        pub(crate) now: Cell<u64>,
        timers: RefCell<Vec<Rc<Timer>>>,
        pub(crate) told: RefCell<Vec<(Scope, Vec<Change>)>>,
        pub(crate) alarm: Cell<Option<Millis>>,
        spawned: RefCell<Vec<LocalBoxFuture<'static, ()>>>,
    }

    impl fmt::Debug for Still {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Still").finish_non_exhaustive()
        }
    }

    /// Whether anything was woken.
    #[cfg_attr(not(feature = "fixture"), allow(dead_code, reason = "as above"))]
    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    impl Default for Still {
        fn default() -> Self {
            Self {
                random: Cell::default(),
                now: Cell::new(1),
                timers: RefCell::default(),
                told: RefCell::default(),
                alarm: Cell::default(),
                spawned: RefCell::default(),
            }
        }
    }

    #[cfg_attr(not(feature = "fixture"), allow(dead_code, reason = "moved by the fixture's tests"))]
    #[derive(Debug, Default)]
    struct Timer {
        milliseconds: u32,
        is_over: Cell<bool>,
        waker: RefCell<Option<Waker>>,
    }

    struct Sleep(Rc<Timer>);

    impl Future for Sleep {
        type Output = ();

        fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            *self.0.waker.borrow_mut() = Some(context.waker().clone());
            if self.0.is_over.get() { Poll::Ready(()) } else { Poll::Pending }
        }
    }

    #[cfg(feature = "fixture")]
    impl Still {
        /// Timers that somebody waits for, by their length.
        pub(crate) fn waiting(&self) -> Vec<u32> {
            let timers = self.timers.borrow();
            timers
                .iter()
                .filter(|timer| Rc::strong_count(timer) > 1 && !timer.is_over.get())
                .map(|timer| timer.milliseconds)
                .collect()
        }

        /// Lets what was spawned run until it can only wait, and says how much of it is left.
        pub(crate) fn turn(&self) -> usize {
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            loop {
                woken.0.store(false, Ordering::Relaxed);
                let mut spawned = self.spawned.take();
                spawned.retain_mut(|work| {
                    work.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
                });
                let fresh = self.spawned.take();
                let is_still = fresh.is_empty() && !woken.0.load(Ordering::Relaxed);
                spawned.extend(fresh);
                let left = spawned.len();
                self.spawned.replace(spawned);
                if is_still {
                    return left;
                }
            }
        }

        /// The object goes, and what was spawned with it.
        pub(crate) fn evict(&self) {
            let spawned = self.spawned.take();
            drop(spawned);
        }

        /// Timers that were ever made.
        pub(crate) fn made(&self) -> usize {
            self.timers.borrow().len()
        }

        /// Lets the pending timers of this length go off.
        pub(crate) fn pass(&self, milliseconds: u32) {
            for timer in self.timers.borrow().iter().filter(|t| t.milliseconds == milliseconds) {
                timer.is_over.set(true);
                if let Some(waker) = timer.waker.borrow_mut().take() {
                    waker.wake();
                }
            }
        }
    }

    impl Platform for Still {
        fn now(&self) -> Millis {
            Millis(self.now.get())
        }

        fn random(&self) -> [u8; 12] {
            self.random.set(self.random.get().wrapping_add(1));
            [self.random.get(); 12]
        }

        fn sleep(&self, milliseconds: u32) -> LocalBoxFuture<'static, ()> {
            let timer = Rc::new(Timer { milliseconds, ..Timer::default() });
            self.timers.borrow_mut().push(Rc::clone(&timer));
            Box::pin(Sleep(timer))
        }

        fn spawn(&self, work: LocalBoxFuture<'static, ()>) {
            self.spawned.borrow_mut().push(work);
        }

        fn wake(&self, at: Millis) -> LocalBoxFuture<'static, Result<(), Error>> {
            self.alarm.set(Some(at));
            Box::pin(std::future::ready(Ok(())))
        }

        fn send(&self, _request: Request) -> LocalBoxFuture<'static, Result<Response, String>> {
            Box::pin(std::future::ready(Err("nothing is outside".to_owned())))
        }

        fn secret(&self, _name: &str) -> Option<String> {
            None
        }

        fn log(&self, _error: &Error) {}

        fn shared_notes(&self, _request: notes::Request) -> LocalBoxFuture<'static, NotesAnswer> {
            Box::pin(std::future::ready(Err(Error::new(Kind::Unavailable, "not here"))))
        }

        fn credential(
            &self,
            _name: &str,
            _rejected: Option<String>,
        ) -> LocalBoxFuture<'static, shared::hop::CredentialAnswer> {
            Box::pin(std::future::ready(Err(Error::new(Kind::Unavailable, "not here"))))
        }

        fn changed(
            &self,
            scope: &Scope,
            changes: Vec<Change>,
        ) -> LocalBoxFuture<'static, Result<(), Error>> {
            self.told.borrow_mut().push((scope.clone(), changes));
            Box::pin(std::future::ready(Ok(())))
        }
    }
}
