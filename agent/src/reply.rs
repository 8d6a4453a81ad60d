//! What a call says, as an answer over HTTP: one JSON body where the reply comes first and soon, a
//! stream where something precedes it or it takes its time. It must not know who sends it or
//! through how many tiers.

use crate::{
    calls::{Said, Talk},
    platform::Platform,
};
use futures_util::{Stream, StreamExt as _, future::LocalBoxFuture, stream};
use shared::{
    Error, Kind, Millis,
    hop::{self, Line},
    limits,
};
use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

/// A streamed body, in whole events or lines.
pub type Body = Pin<Box<dyn Stream<Item = String>>>;

/// An Agent's answer to one hop.
pub enum Reply {
    /// A body of JSON.
    Json {
        /// HTTP status.
        status: u16,
        /// One JSON-RPC message.
        body: String,
    },
    /// Server-sent events for the client, the last of which is the reply (modern era, and wherever
    /// the reply is all there is). Dropping them cancels the call.
    Events(Body),
    /// [`Line`]s for the router, the last of which is the reply (handshake era). None at all where
    /// the client cancelled the call before it said anything.
    Lines(Body),
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json { status, body } => {
                f.debug_struct("Json").field("status", status).field("body", body).finish()
            }
            Self::Events(_) => f.write_str("Events"),
            Self::Lines(_) => f.write_str("Lines"),
        }
    }
}

/// Waits for the first thing that a call says and lets it decide the form of the answer; but not
/// for long. A client that prefers a stream has one, but for an error that has an HTTP status.
///
/// # Errors
/// An internal error if the call ends without a word.
pub async fn reply(
    mut talk: Talk,
    platform: &Rc<dyn Platform>,
    prefers_stream: bool,
) -> Result<Reply, Error> {
    let first = match first(&mut talk, platform.as_ref()).await {
        First::Said(Said::Reply { text, error }) => {
            let status = match error {
                Some(code) if code == i64::from(hop::INSUFFICIENT_SCOPE) => 403,
                Some(code) if talk.is_modern() => hop::modern_status(code),
                _ => 200,
            };
            if status != 200 || !prefers_stream {
                return Ok(Reply::Json { status, body: text });
            }
            // All of it at once: there is nothing to come back for in any era.
            let whole = event(Some(&Said::Reply { text, error }));
            return Ok(Reply::Events(Box::pin(stream::once(std::future::ready(whole)))));
        }
        First::Said(said) => Some(said),
        First::Silence => None,
        First::End if talk.is_cancelled() => return Ok(Reply::Lines(Box::pin(stream::empty()))),
        First::End => return Err(Error::internal("the serve loop ended without a reply")),
        First::Failed(error) => return Err(error),
    };
    let is_modern = talk.is_modern();
    let until = platform.now().after(limits::CALL_MS_MAX);
    let streamed = Streamed { talk, first, timer: None, until, platform: Rc::clone(platform) };
    Ok(match is_modern {
        true => Reply::Events(Box::pin(streamed.map(|said| event(said.as_ref())))),
        false => Reply::Lines(Box::pin(streamed.map(|said| line(said.as_ref())))),
    })
}

/// Waits for the reply, however long it takes; whoever asked bounds that. What is said before it is
/// for nobody.
///
/// # Errors
/// An internal error if the call ends without one.
pub async fn whole(mut talk: Talk) -> Result<Reply, Error> {
    while let Some(said) = talk.next().await {
        if let Said::Reply { text, .. } = said? {
            return Ok(Reply::Json { status: 200, body: text });
        }
    }
    Err(Error::internal("the serve loop ended without a reply"))
}

/// What came of waiting for the first word.
enum First {
    Said(Said),
    Silence,
    End,
    Failed(Error),
}

async fn first(talk: &mut Talk, platform: &dyn Platform) -> First {
    // Made only once the call has to wait for something: most never do.
    let mut timer: Option<LocalBoxFuture<'static, ()>> = None;
    poll_fn(|context| match talk.poll_next_unpin(context) {
        Poll::Ready(Some(Ok(said))) => Poll::Ready(First::Said(said)),
        Poll::Ready(Some(Err(error))) => Poll::Ready(First::Failed(error)),
        Poll::Ready(None) => Poll::Ready(First::End),
        Poll::Pending => {
            let timer = timer.get_or_insert_with(|| platform.sleep(limits::SILENCE_MS));
            timer.as_mut().poll(context).map(|()| First::Silence)
        }
    })
    .await
}

/// A call's words, and a sign of life (`None`) wherever it is silent for too long.
struct Streamed {
    talk: Talk,
    first: Option<Said>,
    timer: Option<LocalBoxFuture<'static, ()>>,
    /// When the call has had its time.
    until: Millis,
    platform: Rc<dyn Platform>,
}

impl Stream for Streamed {
    type Item = Option<Said>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Some(first)));
        }
        if let Poll::Ready(said) = this.talk.poll_next_unpin(context) {
            this.timer = None;
            return Poll::Ready(said.map(|said| {
                // The client has its stream already, so it hears of a failure there.
                Some(said.unwrap_or_else(|error| {
                    this.platform.log(&error);
                    this.talk.failed(&error)
                }))
            }));
        }
        let platform = &this.platform;
        let timer = this.timer.get_or_insert_with(|| platform.sleep(limits::KEEP_ALIVE_MS));
        match timer.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) if this.platform.now() >= this.until => {
                let text = "the call took longer than a call may; it was stopped";
                let late = this.talk.failed(&Error::new(Kind::Limit, text));
                this.talk.stop();
                Poll::Ready(Some(Some(late)))
            }
            Poll::Ready(()) => {
                this.timer = None;
                Poll::Ready(Some(None))
            }
        }
    }
}

/// One server-sent event. JSON has no raw line break, so one `data` line holds it.
fn event(said: Option<&Said>) -> String {
    match said {
        Some(Said::Message(text) | Said::Reply { text, .. }) => {
            format!("event: message\ndata: {text}\n\n")
        }
        Some(Said::Pause) | None => ":\n\n".to_owned(),
    }
}

/// One [`Line`] and its break.
fn line(said: Option<&Said>) -> String {
    let line = match said {
        Some(Said::Message(text) | Said::Reply { text, .. }) => Line::Message(text),
        Some(Said::Pause) => Line::Pause,
        None => Line::Alive,
    };
    format!("{}\n", line.text())
}
