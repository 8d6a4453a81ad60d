//! Runs one client request through `rmcp`'s own serve loop and yields what it says, in order.
//! Works wherever a future is polled: on the platform's event loop and natively. It must not know
//! tools, scopes or HTTP.
//!
//! The loop needs tokio, which needs a runtime; the platform has none. So every driver brings a
//! current-thread runtime and a `LocalSet` of its own and pumps them whenever it is polled:
//! - The runtime is never shared between drivers: a task of one object polled by another is an
//!   error on the platform.
//! - [`Outlet::send`] is ready at once. A task of the runtime that waited for the platform would
//!   never be woken.
//! - [`Outlet::receive`] never ends and the service is never closed while its tasks are still
//!   polled: what `rmcp` does then needs a clock that panics here. Dropping the driver drops the
//!   tasks first, which also stops a handler that would not stop by itself.
//! - A poll goes on while the tasks wake each other, so that a driver which is pending waits for
//!   the world outside, and everybody can tell (see [`Driver::is_idle`]).

use crate::decode::Request;
use futures_util::Stream;
use rmcp::{
    RoleServer, ServerHandler,
    model::{InitializeRequestParams, JsonRpcMessage},
    service::{RunningService, RxJsonRpcMessage, TxJsonRpcMessage, serve_directly},
    transport::Transport,
};
use shared::{Error, limits};
use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};
use tokio::{
    runtime::Runtime,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::LocalSet,
};

/// What the loop says: notifications, then the reply.
pub type Message = TxJsonRpcMessage<RoleServer>;

/// A handler's notification that found no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client has not read what was said yet")]
pub struct OutboxFull;

type Outbox = Arc<Mutex<Waiting>>;

/// What waits for the client, and its bytes. A reply counts for none: there is one.
#[derive(Default)]
struct Waiting {
    messages: VecDeque<(Message, usize)>,
    bytes: usize,
}

impl Waiting {
    /// Takes a message in, if there is room.
    fn push(&mut self, message: Message) -> Result<(), OutboxFull> {
        if is_reply(&message) {
            self.messages.push_back((message, 0));
            return Ok(());
        }
        let bytes = serde_json::to_string(&message).map_or(0, |text| text.len());
        let sum = self.bytes.saturating_add(bytes);
        if self.messages.len() >= limits::OUTBOX_MESSAGES_MAX || sum > limits::OUTBOX_BYTES_MAX {
            return Err(OutboxFull);
        }
        self.bytes = sum;
        self.messages.push_back((message, bytes));
        Ok(())
    }

    fn pop(&mut self) -> Option<Message> {
        let (message, bytes) = self.messages.pop_front()?;
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(message)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds the lock, so a poisoned one is as good.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The way in for what the client says while its request runs. Whoever sends here bounds how much.
#[derive(Debug, Clone)]
pub struct Inbox(UnboundedSender<RxJsonRpcMessage<RoleServer>>);

impl Inbox {
    /// Brings a message to the loop and wakes it. A loop that is gone misses nothing.
    pub fn send(&self, message: RxJsonRpcMessage<RoleServer>) {
        let _ = self.0.send(message);
    }
}

/// What the tasks wake: while they are polled a note that they want to be polled again, and
/// otherwise whoever polls the driver.
#[derive(Debug, Default)]
struct Signal {
    woken: AtomicBool,
    is_polled: AtomicBool,
    outer: Mutex<Option<Waker>>,
}

impl Signal {
    fn begin(&self, outer: &Waker) {
        let mut kept = lock(&self.outer);
        let is_new = !kept.as_ref().is_some_and(|kept| kept.will_wake(outer));
        let former = is_new.then(|| kept.replace(outer.clone()));
        // A waker may own what uses this lock.
        drop(kept);
        drop(former);
        self.is_polled.store(true, Ordering::Relaxed);
    }

    fn end(&self) {
        self.is_polled.store(false, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.woken.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Relaxed);
        if !self.is_polled.load(Ordering::Relaxed) {
            let outer = lock(&self.outer).clone();
            if let Some(outer) = outer {
                outer.wake();
            }
        }
    }
}

/// The loop's side of the conversation.
struct Outlet {
    first: Option<RxJsonRpcMessage<RoleServer>>,
    inbox: UnboundedReceiver<RxJsonRpcMessage<RoleServer>>,
    outbox: Outbox,
}

impl Transport<RoleServer> for Outlet {
    type Error = OutboxFull;

    fn send(
        &mut self,
        message: Message,
    ) -> impl Future<Output = Result<(), OutboxFull>> + Send + 'static {
        std::future::ready(lock(&self.outbox).push(message))
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        if let Some(message) = self.first.take() {
            return Some(message);
        }
        match self.inbox.recv().await {
            Some(message) => Some(message),
            None => std::future::pending().await,
        }
    }

    async fn close(&mut self) -> Result<(), OutboxFull> {
        Ok(())
    }
}

/// Whether a message ends the conversation.
#[must_use]
pub const fn is_reply(message: &Message) -> bool {
    matches!(message, JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_))
}

/// One request on its way through the loop: a stream of messages that ends after the reply.
pub struct Driver<H: ServerHandler> {
    // Dropped in this order: the tasks, then the service whose drop would wake them.
    tasks: LocalSet,
    _service: RunningService<RoleServer, H>,
    runtime: Runtime,
    outbox: Outbox,
    inbox: Inbox,
    signal: Arc<Signal>,
    waker: Waker,
    done: bool,
    idle: bool,
}

impl<H: ServerHandler> std::fmt::Debug for Driver<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("done", &self.done).finish_non_exhaustive()
    }
}

impl<H: ServerHandler> Driver<H> {
    /// Starts a request of a client that described itself as `peer`.
    ///
    /// # Errors
    /// An internal error if no runtime can be made.
    pub fn start(
        handler: H,
        peer: Option<InitializeRequestParams>,
        request: Request,
    ) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(|error| Error::internal(format!("no runtime: {error}")))?;
        let tasks = LocalSet::new();
        let outbox = Outbox::default();
        let (inbox, received) = unbounded_channel();
        let outlet = Outlet {
            first: Some(JsonRpcMessage::request(request.request, request.id)),
            inbox: received,
            outbox: Arc::clone(&outbox),
        };
        let service = {
            let _runtime = runtime.enter();
            let _tasks = tasks.enter();
            serve_directly(handler, outlet, peer)
        };
        let signal = Arc::new(Signal::default());
        Ok(Self {
            tasks,
            _service: service,
            runtime,
            outbox,
            inbox: Inbox(inbox),
            waker: Waker::from(Arc::clone(&signal)),
            signal,
            done: false,
            idle: false,
        })
    }

    /// The way in for what the client says while this request runs.
    #[must_use]
    pub fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }

    /// Whether the last poll left nothing to do but to wait for the world outside.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.idle
    }

    fn take(&mut self) -> Option<Message> {
        let message = lock(&self.outbox).pop()?;
        self.done = is_reply(&message);
        Some(message)
    }

    /// Lets the loop run as far as it gets in one go.
    fn pump(&mut self) {
        {
            let _runtime = self.runtime.enter();
            // The set never finishes while the service lives, so its readiness says nothing.
            let _ = Pin::new(&mut self.tasks).poll(&mut Context::from_waker(&self.waker));
        }
        // Tasks of the runtime itself (the sending of messages) run only while it is driven.
        self.runtime.block_on(async {
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        });
        if self.runtime.metrics().global_queue_depth() > 0 {
            self.waker.wake_by_ref();
        }
    }

    /// Pumps until there is a message, or until nothing moves any more.
    fn run(&mut self) -> Option<Message> {
        self.idle = false;
        for _ in 0..limits::PUMPS_MAX {
            if let Some(message) = self.take() {
                return Some(message);
            }
            self.signal.take();
            self.pump();
            if !self.signal.take() {
                let message = self.take();
                self.idle = message.is_none();
                return message;
            }
        }
        self.take()
    }
}

impl<H: ServerHandler> Stream for Driver<H> {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        if self.done {
            return Poll::Ready(None);
        }
        self.signal.begin(context.waker());
        let message = self.run();
        self.signal.end();
        if message.is_some() {
            return Poll::Ready(message);
        }
        if !self.idle {
            // Others have their turn, then it goes on.
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<H: ServerHandler> Unpin for Driver<H> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::decode;
    use futures_executor::block_on;
    use futures_util::{FutureExt as _, StreamExt as _};
    use rmcp::{
        ErrorData,
        model::{
            CallToolRequestParams, CallToolResponse, CallToolResult, ProgressNotificationParam,
        },
        service::RequestContext,
    };
    use std::{cell::Cell, rc::Rc};

    /// Reports progress so many times, then answers or waits for ever.
    struct Talker {
        reports: u32,
        answers: bool,
        alive: Rc<Cell<bool>>,
    }

    impl Drop for Talker {
        fn drop(&mut self) {
            self.alive.set(false);
        }
    }

    impl ServerHandler for Talker {
        async fn call_tool(
            &self,
            _request: CallToolRequestParams,
            context: RequestContext<RoleServer>,
        ) -> Result<CallToolResponse, ErrorData> {
            let token = context.meta.get_progress_token().unwrap();
            for report in 0..self.reports {
                let param = ProgressNotificationParam::new(token.clone(), f64::from(report));
                context.peer.notify_progress(param).await.unwrap();
            }
            if !self.answers {
                std::future::pending::<()>().await;
            }
            Ok(CallToolResult::success(vec![]).into())
        }
    }

    fn start(reports: u32, answers: bool) -> (Driver<Talker>, Rc<Cell<bool>>) {
        let alive = Rc::new(Cell::new(true));
        let message = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call",
            "params":{"name":"t","_meta":{"progressToken":1}}}"#;
        let talker = Talker { reports, answers, alive: Rc::clone(&alive) };
        (Driver::start(talker, None, decode(message, false).unwrap()).unwrap(), alive)
    }

    #[test]
    fn everything_arrives_in_order_and_the_reply_is_last() {
        // More than the outbox holds: it is read while the handler talks.
        let (driver, alive) = start(3000, true);
        let messages: Vec<Message> = block_on(driver.collect());
        assert_eq!(messages.len(), 3001);
        for (index, message) in messages.iter().enumerate().take(3000) {
            let json = serde_json::to_value(message).unwrap();
            assert_eq!(json["params"]["progress"].as_f64(), Some(index as f64));
        }
        assert!(is_reply(&messages[3000]));
        assert!(!alive.get());
    }

    #[test]
    fn dropping_the_driver_stops_the_handler() {
        let (mut driver, alive) = start(1, false);
        assert!(!is_reply(&block_on(driver.next()).unwrap()));
        assert!(driver.next().now_or_never().is_none());
        assert!(alive.get());
        drop(driver);
        assert!(!alive.get());
    }

    #[test]
    fn many_drivers_one_after_another() {
        for _ in 0..1000 {
            let (driver, _) = start(2, true);
            assert_eq!(block_on(driver.count()), 3);
        }
    }
}
