//! Calls that go on without their caller (`io.modelcontextprotocol/tasks`, 2026-07-28). A task is a
//! row before its client hears of it, and its work is a run of the call in the background. Work
//! that is lost with the object runs again from its start, with the answers it has; the alarm sees
//! to that, a bounded number of times. It must not know what any tool does.

mod run;
mod store;

use crate::{
    alarm::Alarm, caller::Caller, client::Rounds, handler::Handler, platform::Platform,
    registry::Registry, verbatim::Verbatim,
};
use rmcp::model::{
    DetailedTask, GetTaskResult, InputRequests, InputResponses, JsonObject, MetaObject,
    ProtocolVersion, RequestMetaObject, Task, TaskPayload, TaskStatus,
};
use run::{Outcome, Running};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use shared::{
    AgentKey, Error, Kind, Millis, TaskId,
    database::Database,
    gathered,
    hop::{Holder, Options, Stop},
    limits,
};
use std::{cell::RefCell, collections::BTreeMap, fmt, rc::Rc};
use store::{Begun, Seen, Store};

/// Where in the `_meta` of a task's result its questions are, until the result is written.
pub const QUESTIONS: &str = "signalbox/questions";

/// The tasks of one context.
pub struct Tasks {
    key: Rc<AgentKey>,
    registry: Rc<Registry>,
    platform: Rc<dyn Platform>,
    store: Store,
    /// The work that is in memory, by the task's id.
    running: RefCell<BTreeMap<String, Rc<Running>>>,
    alarm: Rc<Alarm>,
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks")
            .field("running", &self.running.borrow().len())
            .finish_non_exhaustive()
    }
}

/// A call that goes on as a task.
#[derive(Debug)]
pub struct TaskCall {
    /// The tool.
    pub name: String,
    /// Its arguments.
    pub arguments: JsonObject,
    /// What its request said of the client.
    pub meta: RequestMetaObject,
    /// What the client answered so far.
    pub answers: BTreeMap<String, Value>,
    /// Where it runs, by the toolset's name.
    pub toolset: String,
}

/// What came of a client's answers to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Updated {
    /// They are kept, or were not asked for.
    Acknowledged,
    /// There is no such task.
    Unknown,
    /// They are larger than a task may have.
    TooLarge,
}

impl Tasks {
    /// The tasks that the database has, none of them running.
    pub fn new(
        key: Rc<AgentKey>,
        registry: Rc<Registry>,
        database: Rc<dyn Database>,
        platform: Rc<dyn Platform>,
        alarm: Rc<Alarm>,
    ) -> Self {
        let running = RefCell::default();
        Self { key, registry, platform, store: Store::new(database), running, alarm }
    }

    /// Makes a task of a call of this holder and begins its work. Once this returns, any request finds it.
    ///
    /// # Errors
    /// [`Kind::Limit`] where a bound is reached, internal ones.
    pub async fn create(self: &Rc<Self>, call: TaskCall, holder: Holder) -> Result<Task, Error> {
        let TaskCall { name, arguments, meta, answers, toolset } = call;
        let mut meta = meta;
        // Nobody hears of its progress.
        meta.remove("progressToken");
        let text = write(&json!({ "name": name, "arguments": arguments, "_meta": meta }))?;
        let kept = write(&answers)?;
        if text.len() > limits::TASK_CALL_BYTES_MAX || kept.len() > limits::TASK_ANSWERS_BYTES_MAX {
            let text = "this call is too large to go on as a task; send less with it";
            return Err(Error::new(Kind::Limit, text));
        }
        let id = fresh_id(&self.key, &*self.platform)?;
        self.alarm.within(limits::TASK_CHECK_MS).await?;
        // From here on nothing waits: the row and all that counts rows belong together.
        self.check_room()?;
        let now = self.platform.now();
        let begun = Begun { call: text, answers: kept, runs: 1, holder, toolset };
        self.store.insert(&id, &begun, now)?;
        self.start(id.clone(), begun, answers);
        Ok(task(id, TaskStatus::Working, now, now))
    }

    fn check_room(&self) -> Result<(), Error> {
        let sum = self.store.sum()?;
        if sum.open >= limits::TASKS_OPEN_MAX {
            let text = "too many tasks are under way here; wait for some of them, or cancel them";
            return Err(Error::new(Kind::Limit, text));
        }
        if sum.all >= limits::TASKS_MAX {
            let text = "too many tasks are kept here; try again when older ones have expired";
            return Err(Error::new(Kind::Limit, text));
        }
        Ok(())
    }

    /// A task as it is now; `None` where there is none of this id. What it asks is in the result's
    /// `_meta`, under [`QUESTIONS`].
    ///
    /// # Errors
    /// Internal ones.
    pub fn get(&self, id: &str) -> Result<Option<GetTaskResult>, Error> {
        self.store.see(id, self.platform.now())?.map(|seen| detailed(id, &seen)).transpose()
    }

    /// Brings a client's answers to what a task asks. Whatever it does not ask is ignored.
    ///
    /// # Errors
    /// Internal ones.
    pub async fn update(
        self: &Rc<Self>,
        id: &str,
        responses: InputResponses,
    ) -> Result<Updated, Error> {
        match self.store.see(id, self.platform.now())? {
            None => return Ok(Updated::Unknown),
            Some(seen) if seen.status.is_terminal() => return Ok(Updated::Acknowledged),
            Some(_) => self.alarm.within(limits::TASK_CHECK_MS).await?,
        }
        // From here on nothing waits: the row and the work hear of the same answers.
        self.answer(id, responses)
    }

    fn answer(self: &Rc<Self>, id: &str, mut responses: InputResponses) -> Result<Updated, Error> {
        let now = self.platform.now();
        let (Some(seen), Some(begun)) = (self.store.see(id, now)?, self.store.begun(id)?) else {
            return Ok(Updated::Acknowledged);
        };
        let asked: Map<String, Value> = read(&seen.asked)?;
        responses.retain(|key, _| asked.contains_key(key));
        let mut answers: BTreeMap<String, Value> = read(&begun.answers)?;
        let running = self.running.borrow().get(id).map(Rc::clone);
        if let Some(running) = &running {
            responses.retain(|key, value| running.rounds.admits(key, value));
        }
        if responses.is_empty() {
            return Ok(Updated::Acknowledged);
        }
        answers.extend(responses.clone());
        let text = write(&answers)?;
        if text.len() > limits::TASK_ANSWERS_BYTES_MAX {
            return Ok(Updated::TooLarge);
        }
        let asked: Map<String, Value> =
            gathered(asked.into_iter().filter(|(key, _)| !responses.contains_key(key)));
        self.store.answer(id, write(&asked)?, text, now)?;
        match running {
            Some(running) => {
                *running.asked.borrow_mut() = asked;
                running.rounds.give(responses);
            }
            // Its work is gone. It begins again once it needs nothing more.
            None if asked.is_empty() => self.start(id.to_owned(), begun, answers),
            None => {}
        }
        Ok(Updated::Acknowledged)
    }

    /// Stops a task that is not over. False where there is none of this id.
    ///
    /// # Errors
    /// Internal ones.
    pub fn cancel(&self, id: &str) -> Result<bool, Error> {
        let now = self.platform.now();
        if self.store.see(id, now)?.is_none() {
            return Ok(false);
        }
        self.store.finish(id, TaskStatus::Cancelled, None, now)?;
        self.stop(id);
        Ok(true)
    }

    /// Stops every task that is not over and is among what ends, whether or not anybody is at work.
    ///
    /// # Errors
    /// Internal ones.
    pub fn end(&self, stop: &Stop) -> Result<(), Error> {
        for id in end_rows(&self.store, stop, self.platform.now())? {
            self.stop(&id);
        }
        Ok(())
    }

    /// Does what is due, and says when it wants to be woken next.
    ///
    /// # Errors
    /// Internal ones.
    pub fn alarm(self: &Rc<Self>) -> Result<Option<Millis>, Error> {
        let now = self.platform.now();
        for id in self.store.sweep(now)? {
            self.stop(&id);
        }
        for id in self.store.working()? {
            if !self.running.borrow().contains_key(&id) {
                self.run_again(id, now)?;
            }
        }
        let sum = self.store.sum()?;
        let expiry = (sum.all > 0).then(|| sum.oldest.after(limits::TASK_TTL_MS));
        let check = (sum.working > 0).then(|| now.after(limits::TASK_CHECK_MS));
        Ok([expiry, check].into_iter().flatten().min())
    }

    /// Begins lost work once more, unless that was tried often enough.
    fn run_again(self: &Rc<Self>, id: String, now: Millis) -> Result<(), Error> {
        let Some(begun) = self.store.begun(&id)? else {
            return Ok(());
        };
        if begun.runs >= limits::TASK_RUNS_MAX {
            let text = format!(
                "the work of this task was lost {} times and is not tried again",
                begun.runs
            );
            return self.finish(&id, Outcome::failed(&text), now);
        }
        self.store.run_again(&id)?;
        match read(&begun.answers) {
            Ok(answers) => self.start(id, begun, answers),
            // The others have their turn all the same.
            Err(error) => {
                self.platform.log(&error);
                self.finish(&id, Outcome::failed(&error.public), now)?;
            }
        }
        Ok(())
    }

    /// Begins a task's work in the background.
    fn start(self: &Rc<Self>, id: String, begun: Begun, answers: BTreeMap<String, Value>) {
        let running = Rc::new(Running::new(Rounds::with(answers)));
        self.running.borrow_mut().insert(id.clone(), Rc::clone(&running));
        let this = Rc::clone(self);
        self.platform.spawn(Box::pin(async move {
            let waits = |running: &Running| this.waits(&id, running);
            let outcome = match run::start(this.handler(&running), &begun.call, begun.holder) {
                Ok(work) => run::run(work, &running, waits).await,
                Err(error) => {
                    this.platform.log(&error);
                    Some(Outcome::failed(&error.public))
                }
            };
            this.ends(&id, &running, outcome);
        }));
    }

    /// The server that a task's call is served by.
    fn handler(self: &Rc<Self>, running: &Running) -> Handler {
        Handler {
            key: Rc::clone(&self.key),
            registry: Rc::clone(&self.registry),
            revision: ProtocolVersion::V_2026_07_28,
            caller: Caller::default().shared(),
            rounds: Rc::clone(&running.rounds),
            // They may have come since; the router knows.
            shared_notes: true,
            platform: Rc::clone(&self.platform),
            tasks: Rc::clone(self),
            is_task: true,
            began: self.platform.now(),
            // Whoever began it could see the tool, and its headers were checked then.
            options: Options::default(),
            is_read_only: false,
            mirrors: Vec::new(),
            depth: self.key.scope.depth(),
            verbatim: Verbatim::default(),
        }
    }

    /// Work can only wait: if for its client, the client may know.
    fn waits(&self, id: &str, running: &Running) {
        let inputs = running.rounds.inputs();
        if *running.asked.borrow() == inputs {
            return;
        }
        let now = self.platform.now();
        let written = write(&inputs).and_then(|text| match text.len() {
            0..=limits::TASK_ASKED_BYTES_MAX => self.store.ask(id, text, now),
            _ => {
                running.stop();
                self.finish(id, Outcome::failed("the task asks more than a client is asked"), now)
            }
        });
        match written {
            Ok(()) => *running.asked.borrow_mut() = inputs,
            // It is written the next time that it waits.
            Err(error) => self.platform.log(&error),
        }
    }

    /// Work is over, or was stopped.
    fn ends(&self, id: &str, running: &Rc<Running>, outcome: Option<Outcome>) {
        {
            let mut all = self.running.borrow_mut();
            // Later work of the same task is none of this.
            if all.get(id).is_some_and(|one| Rc::ptr_eq(one, running)) {
                all.remove(id);
            }
        }
        if let Some(outcome) = outcome
            && let Err(error) = self.finish(id, outcome, self.platform.now())
        {
            // The alarm finds it working, and nobody at work.
            self.platform.log(&error);
        }
    }

    fn finish(&self, id: &str, outcome: Outcome, now: Millis) -> Result<(), Error> {
        let (status, text) = match outcome {
            Outcome::Result(text) => (TaskStatus::Completed, text),
            Outcome::Error(text) => (TaskStatus::Failed, text),
        };
        self.store.finish(id, status, Some(text), now)
    }

    fn stop(&self, id: &str) {
        let running = self.running.borrow_mut().remove(id);
        if let Some(running) = running {
            running.stop();
        }
    }
}

/// Ends tasks as [`Tasks::end`] does, where nobody is at work on any.
///
/// # Errors
/// Internal ones.
pub fn end_kept(database: &Rc<dyn Database>, stop: &Stop, now: Millis) -> Result<(), Error> {
    end_rows(&Store::new(Rc::clone(database)), stop, now).map(drop)
}

fn end_rows(store: &Store, stop: &Stop, now: Millis) -> Result<Vec<String>, Error> {
    let ended = store.open(stop)?;
    for id in &ended {
        store.finish(id, TaskStatus::Cancelled, None, now)?;
    }
    Ok(ended)
}

fn write(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::internal(error.to_string()))
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::internal(format!("a stored task: {error}")))
}

fn task(id: String, status: TaskStatus, created: Millis, updated: Millis) -> Task {
    Task::new(id, status, created.to_rfc3339(), updated.to_rfc3339())
        .with_ttl_ms(limits::TASK_TTL_MS)
        .with_poll_interval_ms(limits::TASK_POLL_MS)
}

/// An id for a task of a context.
///
/// # Errors
/// An internal error where there is no randomness.
pub fn fresh_id(key: &AgentKey, platform: &dyn Platform) -> Result<String, Error> {
    let (one, two) = (platform.random(), platform.random());
    if one == [0; 12] || two == [0; 12] {
        return Err(Error::internal("no randomness for a task's id"));
    }
    let mut random = [0; 16];
    for (byte, fresh) in random.iter_mut().zip(one.iter().chain(&two)) {
        *byte = *fresh;
    }
    Ok(TaskId::from_random(key.scope.clone(), random).to_string())
}

/// No task: what stands for one that somebody else keeps, until its own words take its place.
#[must_use]
pub fn nothing() -> GetTaskResult {
    let base = task(String::new(), TaskStatus::Working, Millis(0), Millis(0));
    GetTaskResult::new(DetailedTask::new(base, TaskPayload::Working))
}

/// A task as its client sees it.
fn detailed(id: &str, seen: &Seen) -> Result<GetTaskResult, Error> {
    let outcome = || read(seen.outcome.as_deref().unwrap_or("{}"));
    let mut meta = None;
    let payload = match seen.status {
        TaskStatus::InputRequired => {
            let asked: Value = read(&seen.asked)?;
            meta.get_or_insert_with(MetaObject::new).insert(QUESTIONS.to_owned(), asked);
            TaskPayload::InputRequired { input_requests: InputRequests::new() }
        }
        TaskStatus::Completed => TaskPayload::Completed { result: outcome()? },
        TaskStatus::Failed => TaskPayload::Failed { error: outcome()? },
        TaskStatus::Cancelled => TaskPayload::Cancelled,
        _ => TaskPayload::Working,
    };
    let base = task(id.to_owned(), seen.status, seen.created, seen.updated);
    let mut result = GetTaskResult::new(DetailedTask::new(base, payload));
    result.meta = meta;
    Ok(result)
}
