//! Several messages at once (2025-03-26, basic: servers must take them): split, served at the same
//! time, answered together. An error is one of its item. It must not know what a message does.

use super::{Outgoing, Planned, User, Visit};
use crate::{
    calls::Running,
    http::Reply,
    lines::lines,
    message::{Message, Unreadable},
    plan::note,
    protocol::Era,
    refusal::Refusal,
    session::Session,
    world::World,
};
use futures_util::{TryStreamExt as _, future::join_all, stream};
use serde_json::value::RawValue;
use shared::{Error, database::Database, limits};
use std::{pin::Pin, rc::Rc};

/// What an Agent says, line by line.
type Saying = Pin<Box<dyn futures_util::Stream<Item = Result<String, Error>>>>;

/// What became of one message of a batch.
enum Item {
    /// There is nothing to say.
    Silent,
    /// Its answer.
    Answer(String),
    /// An Agent is talking.
    Saying(Running, Saying),
}

impl<D: Database + 'static> User<D> {
    /// Serves a batch.
    ///
    /// # Errors
    /// What is wrong with it as a whole.
    pub(super) async fn batch<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        visit: Visit<'_>,
        raws: &[&RawValue],
    ) -> Result<Outgoing<W::Response>, Refusal> {
        crate::protocol::check_handshake(visit.incoming)?;
        let single = || {
            let text = "send one message per request; only 2025-03-26 has batches";
            Err(Refusal::InvalidRequest(text.to_owned()))
        };
        if visit.incoming.is_modern() || visit.incoming.session.is_none() {
            return single();
        }
        let session = self.session(visit)?;
        if session.revision != "2025-03-26" {
            return single();
        }
        let holder = self.admit_session(world, visit, &session)?;
        let visit = Visit { holder: &holder, ..visit };
        let items = raws.iter().enumerate();
        let items = items.map(|(n, raw)| self.item(world, visit, &session, n, raw));
        let mut answers = Vec::new();
        let (mut running, mut saying) = (Vec::new(), Vec::new());
        for item in join_all(items).await {
            match item {
                Item::Silent => {}
                Item::Answer(answer) => answers.push(answer),
                Item::Saying(call, said) => {
                    running.push(call);
                    saying.push(said);
                }
            }
        }
        if !running.is_empty() {
            let said = stream::select_all(saying);
            return Ok(Outgoing::Stream(self.stream(world, &session, &answers, running, said)?));
        }
        Ok(Outgoing::Own(match answers.is_empty() {
            true => Reply::empty(202),
            false => Reply::json(200, format!("[{}]", answers.join(","))),
        }))
    }

    async fn item<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        visit: Visit<'_>,
        session: &Session,
        n: usize,
        raw: &RawValue,
    ) -> Item {
        let refused = |refusal: &Refusal, id: Option<&RawValue>| {
            Item::Answer(refusal.reply(id, false).body.unwrap_or_default())
        };
        match Message::parse(raw) {
            Err(Unreadable { id, refusal }) => refused(&refusal, id),
            Ok(Message::Request(request)) => {
                let call = visit.moment.call(n);
                let planned = self
                    .planned(world, visit, Some(session), &request, Era::Handshake, &call)
                    .await;
                let item = match planned {
                    Err(refusal) => Err(refusal),
                    Ok(planned) => item(planned).await,
                };
                item.unwrap_or_else(|refusal| refused(&refusal, Some(request.id)))
            }
            Ok(Message::Notification { method, params }) => {
                silent(&**world, self.note(world, session, note(&method, &params)).await)
            }
            Ok(Message::Response { id, raw }) => {
                silent(&**world, self.answered(world, session, id, raw).await)
            }
        }
    }
}

/// A message that wants no answer has none, even where it failed.
fn silent<W: World>(world: &W, taken: Result<(), Error>) -> Item {
    if let Err(error) = taken {
        world.log(&error);
    }
    Item::Silent
}

/// One answer of several, whatever form it has.
async fn item<W: World>(planned: Planned<'_, W>) -> Result<Item, Refusal> {
    match planned {
        Planned::Done(outgoing) => body::<W>(outgoing).await.map(Item::Answer),
        Planned::Said { response, running, .. } => {
            Ok(Item::Saying(running, Box::pin(lines(W::pieces(response)?))))
        }
    }
}

/// The body of an answer, where it cannot go to the client as it is.
///
/// # Errors
/// [`Refusal::InvalidRequest`] for an answer that is a stream.
pub(super) async fn body<W: World>(outgoing: Outgoing<W::Response>) -> Result<String, Refusal> {
    let response = match outgoing {
        Outgoing::Own(reply) | Outgoing::Failed(reply, _) => {
            return Ok(reply.body.unwrap_or_default());
        }
        Outgoing::Piped(response) => response,
        Outgoing::Begun(..) | Outgoing::Stream(_) | Outgoing::Listen(_) => {
            let text = "this request is answered with a stream of its own; send it alone";
            return Err(Refusal::InvalidRequest(text.to_owned()));
        }
    };
    let body = W::pieces(response)?.try_fold(Vec::new(), async |mut body, piece| {
        body.extend(piece);
        match body.len() > limits::LINE_BYTES_MAX {
            true => Err(Error::internal("an answer of an Agent is too long")),
            false => Ok(body),
        }
    });
    String::from_utf8(body.await?)
        .map_err(|_| Error::internal("an answer of an Agent is not UTF-8").into())
}
