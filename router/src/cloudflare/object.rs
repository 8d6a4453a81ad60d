//! The McpRouter as a Durable Object: reads a request, lets the user's state serve it, writes what
//! goes back. Thin: nothing is decided here.

use super::{world::Platform, write};
use crate::{
    handover::Handover,
    http::{Address, Method},
    refusal::Refusal,
    session::over_after,
    streams::{EventId, forgotten_after},
    user::{Moment, Outgoing, User, owner},
};
use identity::account::{self, ACCOUNT_URL};
use serde::{Serialize, de::DeserializeOwned};
use shared::{
    Error, Kind, Millis, UserId,
    cloudflare::{Sqlite, config, failure, fetch, log, now, queue_by_promise, random, set_alarm},
    config::Config,
    hop::{CHANGES_URL, CREDENTIAL_URL, LISTEN_HEADER, LISTEN_URL, NOTES_URL, REQUEST_URL},
};
use std::{cell::Cell, rc::Rc};
use worker::{
    Env, State, WebSocketPair,
    wasm_bindgen::{self, JsCast as _, JsValue, prelude::wasm_bindgen},
    web_sys::{Request, Response, ResponseInit, WebSocket},
    worker_sys::{DurableObjectState, ext::ResponseInitExt as _},
};

/// One user.
#[wasm_bindgen(wasm_bindgen = worker::wasm_bindgen)]
#[derive(Debug)]
pub struct McpRouter {
    state: State,
    opened: Result<Opened, Error>,
    /// The earliest time for which this object has asked since it was last woken.
    wanted: Cell<Option<Millis>>,
}

#[derive(Debug)]
struct Opened {
    config: Rc<Config>,
    user: Rc<User<Sqlite>>,
    world: Rc<Platform>,
}

// What `#[durable_object]` would write, but for its wrappers: see `shared::cloudflare::fetch`.
#[wasm_bindgen(
    wasm_bindgen = worker::wasm_bindgen,
    wasm_bindgen_futures = worker::wasm_bindgen_futures,
    js_sys = worker::js_sys
)]
impl McpRouter {
    /// The platform wakes the object.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new(state: DurableObjectState, env: Env) -> Self {
        queue_by_promise();
        let state = State::from(state);
        let opened = open(&state, &env);
        Self { state, opened, wanted: Cell::new(None) }
    }

    /// The platform brings a request.
    ///
    /// # Errors
    /// Only what the platform does not let be written.
    pub async fn fetch(&self, request: Request) -> Result<Response, JsValue> {
        let url = request.url();
        let answer = match &self.opened {
            Ok(opened) => self.answer(opened, &url, &request).await,
            Err(error) => Err(Refusal::Below(error.clone())),
        };
        answer.or_else(|refusal| {
            if let Refusal::Below(error) = &refusal {
                log("router", error);
            }
            Ok(write(&refusal.reply(None, false))?)
        })
    }

    /// The platform says that it is time, and again after an error.
    ///
    /// # Errors
    /// What failed.
    pub async fn alarm(&self) -> Result<(), JsValue> {
        self.wanted.set(None);
        let expired = self.opened().and_then(|opened| opened.user.expire(&opened.world, now()));
        match expired {
            Ok(Some(next)) => Ok(set_alarm(&self.state.storage(), next).await?),
            Ok(None) => Ok(()),
            Err(error) => Err(worker::Error::RustError(error.to_string()).into()),
        }
    }

    /// The platform brings what a socket says. The entry's say nothing.
    #[wasm_bindgen(js_name = webSocketMessage)]
    pub fn web_socket_message(&self, _socket: WebSocket, _message: JsValue) {}

    /// The platform says that a socket is closed.
    #[wasm_bindgen(js_name = webSocketClose)]
    pub async fn web_socket_close(&self, socket: WebSocket) {
        self.detach(&socket).await;
    }

    /// The platform says that a socket has failed.
    #[wasm_bindgen(js_name = webSocketError)]
    pub async fn web_socket_error(&self, socket: WebSocket, _error: JsValue) {
        self.detach(&socket).await;
    }
}

impl McpRouter {
    fn opened(&self) -> Result<&Opened, Error> {
        self.opened.as_ref().map_err(Clone::clone)
    }

    /// Whatever comes here comes from the project's own objects, or from the entry for a client.
    async fn answer(
        &self,
        opened: &Opened,
        url: &str,
        request: &Request,
    ) -> Result<Response, Refusal> {
        match url {
            REQUEST_URL => self.serve(opened, request).await,
            NOTES_URL => say(&opened.user.shared_notes(&read_hop(request).await?)),
            CREDENTIAL_URL => {
                let hop = read_hop(request).await?;
                let answer = opened.user.credential(&opened.world, &hop).await;
                say(&self.awake(opened, answer).await?)
            }
            ACCOUNT_URL => {
                let hop = account::Hop::read(&text(request).await?)?;
                let answer = opened.user.account(&opened.world, hop).await;
                if let Err(error) = &answer {
                    log("router", error);
                }
                let answer = self.awake(opened, answer).await?;
                written(&account::write_answer(&answer)?)
            }
            CHANGES_URL => {
                opened.user.changed(&*opened.world, &read_hop(request).await?)?;
                fetch::respond(204, &[], None)
                    .map_err(|error| failure("writing a reply", &error).into())
            }
            LISTEN_URL => {
                let response = self.connect(opened, request).await;
                response.map_err(Refusal::Below)
            }
            _ => Err(Refusal::Below(Error::internal(format!("nothing is at {url}")))),
        }
    }

    async fn serve(&self, opened: &Opened, request: &Request) -> Result<Response, Refusal> {
        let bytes = fetch::bytes(request.array_buffer()).await.map_err(unread)?;
        // What comes before the body is.
        let text =
            String::from_utf8(bytes).map_err(|_| Refusal::Parse("it is not UTF-8".to_owned()))?;
        let Handover { method, url, caller, incoming } = Handover::read(&text)
            .ok_or_else(|| Error::internal("the entry handed over what is no request"))?;
        opened.world.learn_origin(url);
        let levels = &opened.config.levels;
        let address = Address::parse(url, levels)?.narrowed(&caller, levels)?;
        let method = Method::parse(method)?;
        let moment = Moment::new(now(), random()?);
        let served =
            opened.user.serve(&opened.world, method, &address, &incoming, &caller, moment).await;
        let written = match served {
            Outgoing::Own(reply) => write(&reply),
            Outgoing::Failed(reply, error) => {
                log("router", &error);
                write(&reply)
            }
            Outgoing::Piped(response) => Ok(response),
            Outgoing::Begun(response, id) => {
                self.wake_at(opened, over_after(now())).await?;
                fetch::with_headers(&response, &[("mcp-session-id", id.as_str())])
            }
            Outgoing::Stream(events) => {
                self.wake_at(opened, forgotten_after(now())).await?;
                fetch::stream(&fetch::EVENT_STREAM, events)
            }
            Outgoing::Listen(event) => {
                let forgotten = forgotten_after(now());
                let wake = caller.until.map_or(forgotten, |until| until.min(forgotten));
                self.wake_at(opened, wake).await?;
                fetch::respond(204, &[(LISTEN_HEADER, &event.to_string())], None)
            }
        };
        written.map_err(|error| Refusal::Below(failure("writing a reply", &error)))
    }

    /// The entry connects to hear of a stream that it holds for a client.
    async fn connect(&self, opened: &Opened, request: &Request) -> Result<Response, Error> {
        let failed = |error: worker::Error| failure("a socket", &error);
        let text = request.headers().get(LISTEN_HEADER).ok().flatten().unwrap_or_default();
        let event = EventId::parse(&text)
            .ok_or_else(|| Error::new(Kind::Invalid, "this is no event to begin after"))?;
        let pair = WebSocketPair::new().map_err(failed)?;
        let server: &WebSocket = pair.server.as_ref();
        // From here to the end nothing waits: nothing is said in between.
        let attached = opened.user.attach(&opened.world, event)?;
        opened.world.accept(server, event.stream)?;
        let sent = server.send_with_str(&attached.events);
        sent.map_err(|error| failed(error.into()))?;
        if attached.is_done {
            server.close_with_code(1000).map_err(|error| failed(error.into()))?;
        }
        let mut init = ResponseInit::new();
        init.set_status(101);
        init.websocket(pair.client.as_ref()).map_err(|error| failed(error.into()))?;
        Response::new_with_opt_str_and_init(None, &init).map_err(|error| failed(error.into()))
    }

    async fn detach(&self, socket: &WebSocket) {
        let tags = self.state.as_raw().get_tags(socket).unwrap_or_default();
        // The platform wants its own half closed too.
        let _ = socket.close_with_code(1000);
        let stream = tags.first().and_then(|tag| EventId::parse(&format!("{tag}-0")));
        let detached = match (self.opened(), stream) {
            (Ok(opened), Some(event)) => opened.user.detach(&opened.world, event.stream).await,
            (Ok(_), None) => Ok(()),
            (Err(error), _) => Err(error),
        };
        if let Err(error) = detached {
            log("router", &error);
        }
    }

    /// What is answered, once the object is sure to be woken when it has to be.
    async fn awake<T>(
        &self,
        opened: &Opened,
        answer: Result<(T, Option<Millis>), Error>,
    ) -> Result<Result<T, Error>, Error> {
        Ok(match answer {
            Ok((reply, None)) => Ok(reply),
            Ok((reply, Some(wake))) => {
                self.wake_at(opened, wake).await?;
                Ok(reply)
            }
            Err(error) => {
                log("router", &error);
                Err(error)
            }
        })
    }

    /// Makes sure that what is idle ends although nobody calls any more.
    async fn wake_at(&self, opened: &Opened, at: Millis) -> Result<(), Error> {
        let failed = |error: worker::Error| failure("the alarm", &error);
        let storage = self.state.storage();
        // Two requests that ask at once see the same alarm, and the later one sets it.
        self.wanted.set(Some(self.wanted.get().map_or(at, |wanted| wanted.min(at))));
        let set = storage.get_alarm().await.map_err(failed)?;
        let at = self.wanted.get().map_or(at, |wanted| wanted.min(at));
        if set.is_none_or(|set| Millis::from_i64(set) > at) {
            opened.user.keep_owner()?;
            set_alarm(&storage, at).await.map_err(failed)?;
        }
        Ok(())
    }
}

fn open(state: &State, env: &Env) -> Result<Opened, Error> {
    let database = Rc::new(Sqlite(state.storage().sql()));
    let named = state.id().name().and_then(|name| UserId::from_object_name(&name));
    let user = match named {
        Some(user) => Some(user),
        None => owner(&*database)?,
    };
    let user = user.ok_or_else(|| Error::internal("this McpRouter has no user's name"))?;
    let agents =
        env.durable_object("AGENT").map_err(|error| failure("the binding AGENT", &error))?;
    let config = Rc::new(config(env)?);
    let user = Rc::new(User::new(Rc::clone(&config), user, database));
    let state: &JsValue = state.as_raw().as_ref();
    let state = state.clone().unchecked_into();
    let world = Rc::new(Platform::new(agents, state, env)?);
    Ok(Opened { config, user, world })
}

/// Says something to another object of ours, or to the entry.
fn say(answer: &impl Serialize) -> Result<Response, Refusal> {
    let body = serde_json::to_string(answer);
    let body = body.map_err(|error| Error::internal(error.to_string()))?;
    written(&body)
}

fn written(body: &str) -> Result<Response, Refusal> {
    fetch::json(body).map_err(|error| failure("writing an answer", &error).into())
}

fn unread(error: worker::Error) -> Error {
    failure("reading a request", &error)
}

async fn text(request: &Request) -> Result<String, Refusal> {
    Ok(fetch::text(request.text()).await.map_err(unread)?)
}

/// What an Agent says.
async fn read_hop<T: DeserializeOwned>(request: &Request) -> Result<T, Refusal> {
    let text = text(request).await?;
    serde_json::from_str(&text).map_err(|error| Refusal::Below(Error::internal(error.to_string())))
}
