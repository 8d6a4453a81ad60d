//! Tools of the handshake era that run only as tasks (2025-11-25, tasks): clients are served one as
//! a tool that takes its time. It must not know what the tool does.

use super::{
    Mcp, Peer, params,
    passing::{Nobody, failed},
};
use crate::toolset::{ToolError, Visit};
use serde_json::{Value, json};
use shared::{Millis, limits};
use std::rc::Rc;
use upstream::{
    Ask, Fault, Fields, World,
    guard::{Pace, Turn},
    wire,
};

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Working,
    /// It waits for somebody who asks for its result, and asks them something first.
    Asking,
    Over,
}

/// What a server says of a task.
#[derive(Debug, Clone, Copy)]
struct Look {
    state: State,
    /// When to look again.
    wait_ms: u32,
}

impl Look {
    fn of(status: Option<&str>, interval: Option<&Value>) -> Self {
        let state = match status {
            Some("completed" | "failed" | "cancelled") => State::Over,
            Some("input_required") => State::Asking,
            _ => State::Working,
        };
        let wait = interval.and_then(Value::as_u64).unwrap_or(limits::TASK_POLL_MS);
        let wait = wait.clamp(limits::UPSTREAM_POLL_MS_MIN, limits::UPSTREAM_POLL_MS_MAX);
        Self { state, wait_ms: u32::try_from(wait).unwrap_or(u32::MAX) }
    }
}

impl Mcp {
    /// Calls such a tool, and waits for the result.
    pub(super) async fn ask_as_task(
        &self,
        peer: &Rc<Peer>,
        visit: &Visit,
        mut ask: Ask,
    ) -> Result<Fields, ToolError> {
        ask.params.insert("task".to_owned(), json!({ "ttl": limits::TASK_TTL_MS }));
        ask.may_repeat = false;
        let created = self.ask(visit, ask).await.map_err(failed)?;
        let task = wire::field(&created, "task").unwrap_or_default();
        let Some(id) = task.get("taskId").and_then(Value::as_str) else {
            // It has a result already.
            return Ok(created);
        };
        let abandoned = self.abandoned(peer, id);
        let until = self.world.now().after(self.guard.bounds().total_ms.into());
        let look = Look::of(task.get("status").and_then(Value::as_str), task.get("pollInterval"));
        let (state, turn) = self.watch(peer, id, look, until).await?;
        // One that asks somebody gives its turn back meanwhile, and what is over takes no time.
        let turn = turn.filter(|_| state == State::Over);
        let pace = if state == State::Over { Pace::Urgent } else { Pace::Call };
        let ask = Ask {
            method: "tasks/result",
            params: params([("taskId", id.into())]),
            may_repeat: true,
            pace,
            left_ms: Some(self.left_ms(until)?),
            ..Ask::default()
        };
        let result = self.ask(visit, ask).await.map_err(failed);
        drop(turn);
        if result.is_ok() || state == State::Over {
            abandoned.call_off();
        }
        result
    }

    /// A task of the server's, until it is known that somebody will have its result.
    pub(super) fn abandoned(&self, peer: &Rc<Peer>, id: &str) -> Abandoned {
        let (peer, world) = (Rc::clone(peer), Rc::clone(&self.world));
        Abandoned { peer, world, id: Some(id.to_owned()) }
    }

    /// Looks at a task until it is over or asks something: an answer that is waited for in silence
    /// may be cut off on its way. Its turn is held all the time.
    async fn watch(
        &self,
        peer: &Peer,
        id: &str,
        mut look: Look,
        until: Millis,
    ) -> Result<(State, Option<Turn>), ToolError> {
        let turn = match look.state {
            State::Working => self.guard.turn(Pace::Call).await?,
            State::Asking | State::Over => None,
        };
        while look.state == State::Working {
            let left = self.left_ms(until)?;
            self.world.sleep(look.wait_ms.min(left)).await;
            let ask = Ask {
                method: "tasks/get",
                params: params([("taskId", id.into())]),
                may_repeat: true,
                pace: Pace::Brief,
                ..Ask::default()
            };
            match peer.link.ask(ask, &Nobody).await {
                Ok(fields) => {
                    let status = wire::text(&fields, "status");
                    let interval = wire::field(&fields, "pollInterval");
                    look = Look::of(status.as_deref(), interval.as_ref());
                }
                // One that cannot be looked at is waited for.
                Err(_) => break,
            }
        }
        Ok((look.state, turn))
    }

    /// How much of a call's time is left.
    fn left_ms(&self, until: Millis) -> Result<u32, ToolError> {
        match u32::try_from(until.since(self.world.now())) {
            Ok(left) if left > 0 => Ok(left),
            _ => Err(failed(Fault::Late("the end of the task").told(self.guard.name()))),
        }
    }
}

/// A task whose result nobody waits for any more, if this is dropped: the server is told.
pub(super) struct Abandoned {
    peer: Rc<Peer>,
    world: Rc<dyn World>,
    id: Option<String>,
}

impl Abandoned {
    pub(super) fn call_off(mut self) {
        self.id = None;
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else {
            return;
        };
        let peer = Rc::clone(&self.peer);
        self.world.spawn(Box::pin(async move {
            let ask = Ask {
                method: "tasks/cancel",
                params: params([("taskId", id.as_str().into())]),
                name: Some(id),
                pace: Pace::Urgent,
                ..Ask::default()
            };
            // One that cannot be told runs to its end.
            let _ = peer.link.ask(ask, &Nobody).await;
        }));
    }
}
