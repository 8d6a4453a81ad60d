//! One HTTP exchange with an upstream: a request out, messages or a fault back. Every response is
//! bounded in bytes; a redirect is followed only where it stays. It must not know eras or methods.

use crate::{
    fault::{Fault, retry_after},
    wire::{self, ErrorObject, Message},
    world::{Body, Request, Response, World},
};
use futures_util::{
    StreamExt as _,
    future::{Either, select},
    stream::LocalBoxStream,
};
use shared::{config::Address, limits};
use sse_stream::{Sse, SseByteStream};
use std::{cell::Cell, collections::VecDeque, fmt, future::Future, io::Cursor, rc::Rc};

/// What an upstream answered a request with.
#[derive(Debug)]
pub struct Answer {
    /// The session that it names.
    pub session: Option<String>,
    /// What it says; nothing at all where it only accepted.
    pub messages: Messages,
}

/// Messages as they come.
pub struct Messages {
    ready: VecDeque<Message>,
    source: Source,
    /// What was last heard, where the upstream can be asked for the rest.
    pub last_event: Option<String>,
    /// How long it wants to be left alone before that.
    pub retry_ms: Option<u64>,
    /// How many pieces have come, whatever they say: a comment is a sign of life.
    pieces: Rc<Cell<u64>>,
}

/// Where messages come from.
enum Source {
    /// Nothing is said.
    Nothing,
    /// A body that is read to its end before it says anything.
    Whole(Whole),
    /// A stream of events.
    Events(LocalBoxStream<'static, Result<Sse, sse_stream::Error>>),
}

/// A body of this content type, and what of it has come.
struct Whole {
    kind: String,
    body: Body,
    bytes: Vec<u8>,
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("ready", &self.ready.len()).finish_non_exhaustive()
    }
}

impl Messages {
    fn of(source: Source) -> Self {
        let pieces = Rc::default();
        Self { ready: VecDeque::new(), source, last_event: None, retry_ms: None, pieces }
    }

    /// A stream of events.
    fn of_events(body: Body) -> Self {
        let pieces = Rc::<Cell<u64>>::default();
        let counted = Rc::clone(&pieces);
        let body = body.inspect(move |_| counted.set(counted.get().wrapping_add(1)));
        Self { pieces, ..Self::of(Source::Events(events(body.boxed_local()))) }
    }

    /// A number that is another whenever anything has come.
    #[must_use]
    pub fn pieces(&self) -> u64 {
        self.pieces.get()
    }

    /// Whether this is a stream of events.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        matches!(self.source, Source::Events(_))
    }

    /// The next message; `None` at the end. Nothing is lost if this is dropped meanwhile.
    ///
    /// # Errors
    /// [`Fault::Unreachable`] where the connection breaks, [`Fault::Garbage`] for what is no
    /// message, [`Fault::Large`].
    pub async fn next(&mut self) -> Result<Option<Message>, Fault> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(Some(message));
            }
            match &mut self.source {
                Source::Nothing => return Ok(None),
                Source::Whole(whole) => {
                    let messages = whole.read().await?;
                    self.source = Source::Nothing;
                    self.ready.extend(messages);
                }
                Source::Events(events) => match events.next().await {
                    None => return Ok(None),
                    Some(event) => self.take(event.map_err(unheard)?)?,
                },
            }
        }
    }

    /// Takes what an event says.
    fn take(&mut self, event: Sse) -> Result<(), Fault> {
        if let Some(id) = event.id.filter(|id| !id.is_empty()) {
            self.last_event = (id.len() <= limits::UPSTREAM_ID_BYTES_MAX).then_some(id);
        }
        self.retry_ms = event.retry.or(self.retry_ms);
        // Events of other names are no messages of MCP; one without data primes a stream.
        let is_message = event.event.is_none_or(|name| name.is_empty() || name == "message");
        if let Some(data) = event.data.filter(|data| is_message && !data.trim().is_empty()) {
            self.ready.extend(wire::read(&data).map_err(Fault::Garbage)?);
        }
        Ok(())
    }
}

impl Whole {
    async fn read(&mut self) -> Result<Vec<Message>, Fault> {
        read(&mut self.body, &mut self.bytes, limits::UPSTREAM_BYTES_MAX).await?;
        let text = text(std::mem::take(&mut self.bytes))?;
        match self.kind.as_str() {
            _ if text.trim().is_empty() => Ok(Vec::new()),
            "application/json" => wire::read(&text).map_err(Fault::Garbage),
            other => Err(Fault::Garbage(format!("a body of {other}"))),
        }
    }
}

/// Why a stream ended with an error.
fn unheard(error: sse_stream::Error) -> Fault {
    match error {
        sse_stream::Error::Body(error) if error.to_string() == LARGE => Fault::Large,
        sse_stream::Error::Body(error) => Fault::Unreachable(error.to_string()),
        error => Fault::Garbage(error.to_string()),
    }
}

const LARGE: &str = "more than is read";

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Broken(String);

/// Events of a body, each of a bounded size: bytes are counted from one to the next.
fn events(body: Body) -> LocalBoxStream<'static, Result<Sse, sse_stream::Error>> {
    let read = Rc::new(Cell::new(0_usize));
    let counted = Rc::clone(&read);
    let bounded = body.map(move |piece| {
        let piece = piece.map_err(Broken)?;
        let sum = counted.get().saturating_add(piece.len());
        counted.set(sum);
        match sum > limits::UPSTREAM_BYTES_MAX {
            true => Err(Broken(LARGE.to_owned())),
            false => Ok(Cursor::new(piece)),
        }
    });
    SseByteStream::new(bounded)
        .inspect(move |event| {
            if event.is_ok() {
                read.set(0);
            }
        })
        .boxed_local()
}

/// Waits for something, but not for long.
///
/// # Errors
/// [`Fault::Late`], with what is waited for.
pub async fn within<T>(
    world: &dyn World,
    milliseconds: u32,
    what: &'static str,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    match select(Box::pin(work), world.sleep(milliseconds)).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(_) => Err(Fault::Late(what)),
    }
}

/// Sends a request and reads what kind of answer comes back. `first_byte_ms` is for the head of the
/// response; who reads the messages bounds how long that takes.
///
/// # Errors
/// Every [`Fault`] but [`Fault::Ended`].
pub async fn exchange(
    world: &dyn World,
    address: &Address,
    request: Request,
    first_byte_ms: u32,
) -> Result<Answer, Fault> {
    let response = within(world, first_byte_ms, "its first byte", follow(world, address, request));
    answer(world, response.await?, first_byte_ms).await
}

/// The same, for whoever bounds it all. Only why it is refused is not waited for for longer than
/// `refusal_ms`.
pub(crate) async fn exchange_unbounded(
    world: &dyn World,
    address: &Address,
    request: Request,
    refusal_ms: u32,
) -> Result<Answer, Fault> {
    answer(world, follow(world, address, request).await?, refusal_ms).await
}

async fn answer(world: &dyn World, response: Response, refusal_ms: u32) -> Result<Answer, Fault> {
    let session = response.header("mcp-session-id").map(ToOwned::to_owned);
    let session = session.filter(|id| id.len() <= limits::UPSTREAM_ID_BYTES_MAX);
    let kind = response.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let messages = match (response.status, kind.as_str()) {
        (200..300, "text/event-stream") => Messages::of_events(response.body),
        // What is accepted has no body, or one that says nothing.
        (202, _) => Messages::of(Source::Nothing),
        (200..300, _) => {
            let (body, bytes) = (response.body, Vec::new());
            Messages::of(Source::Whole(Whole { kind, body, bytes }))
        }
        (status, _) => return Err(refused(world, status, response, refusal_ms).await),
    };
    Ok(Answer { session, messages })
}

/// Sends a request, and again to where a redirect leads, a few times, if that is the same origin.
async fn follow(world: &dyn World, address: &Address, request: Request) -> Result<Response, Fault> {
    let mut address = address.clone();
    for _ in 0..=limits::REDIRECTS_MAX {
        let request = Request { url: address.text(), ..request.clone() };
        let response = world.send(request).await?;
        match response.status {
            // These two keep the method and the body.
            307 | 308 => {
                let there = response.header("location").and_then(|to| address.redirected(to));
                address = there.ok_or(Fault::Redirect)?;
            }
            300..400 => return Err(Fault::Redirect),
            _ => return Ok(response),
        }
    }
    Err(Fault::Redirect)
}

/// A status that is none of success, with the JSON-RPC error that may be in its body.
async fn refused(world: &dyn World, status: u16, response: Response, bound_ms: u32) -> Fault {
    let wait = response.header("retry-after");
    let retry_after_ms = wait.and_then(|wait| retry_after(wait, world.now()));
    let (mut body, mut bytes) = (response.body, Vec::new());
    let reading = read(&mut body, &mut bytes, limits::UPSTREAM_ERROR_BYTES_MAX);
    // The status says enough where the body is not to be had.
    let said = match within(world, bound_ms, "why not", reading).await {
        Ok(()) => text(bytes).ok(),
        Err(_) => None,
    };
    let error = match said.and_then(|said| wire::read(&said).ok()?.pop()) {
        Some(Message::Reply { outcome: Err(error), .. }) => Some(error),
        _ => None,
    };
    Fault::Status { status, retry_after_ms, error: error.filter(is_own) }
}

/// Whether an error says something of the request, and not only that there is one.
const fn is_own(error: &ErrorObject) -> bool {
    error.code != 0
}

/// Reads a body to its end, into `bytes`.
async fn read(body: &mut Body, bytes: &mut Vec<u8>, most: usize) -> Result<(), Fault> {
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(Fault::Unreachable)?;
        if bytes.len().saturating_add(piece.len()) > most {
            return Err(Fault::Large);
        }
        bytes.extend(piece);
    }
    Ok(())
}

fn text(bytes: Vec<u8>) -> Result<String, Fault> {
    String::from_utf8(bytes).map_err(|_| Fault::Garbage("a body that is not UTF-8".to_owned()))
}
