//! The world of a McpRouter: the Agents as stubs, the sockets of the clients that listen, and what is
//! outside. It must not know messages or sessions.

use crate::{
    http::loopback_origin,
    streams::StreamId,
    world::{Form, World},
};
use futures_util::{StreamExt as _, future::LocalBoxFuture};
use identity::keyring::KeyRing;
use shared::{
    AgentKey, Error, Kind, Millis,
    cloudflare::{failure, fetch, log, now, outside, random, variable},
    hop::{AGENT_URL, Access, FAILED_HEADER, INTEREST_URL, LINES, STOP_URL, VERIFY_URL, WORD_URL},
    outside::{Answer, Request},
};
use std::{cell::RefCell, rc::Rc, time::Duration};
use worker::{
    Env, ObjectNamespace,
    wasm_bindgen::JsValue,
    wasm_bindgen_futures::spawn_local,
    web_sys::{Response, WebSocket},
    worker_sys::DurableObjectState,
};

/// Production's world.
#[derive(Debug)]
pub(super) struct Platform {
    pub(super) agents: ObjectNamespace,
    pub(super) state: DurableObjectState,
    env: Env,
    ring: Option<Rc<KeyRing>>,
    origin: RefCell<Option<String>>,
}

impl Platform {
    /// The world of an object.
    ///
    /// # Errors
    /// Keys that are none.
    pub(super) fn new(
        agents: ObjectNamespace,
        state: DurableObjectState,
        env: &Env,
    ) -> Result<Self, Error> {
        let ring = variable(env, "KEYRING").filter(|text| !text.is_empty());
        let ring = ring.map(|text| KeyRing::parse(&text).map(Rc::new)).transpose();
        let ring = ring.map_err(|error| Error::internal(error.to_string()))?;
        let origin = RefCell::new(variable(env, "ORIGIN").filter(|text| !text.is_empty()));
        Ok(Self { agents, state, env: env.clone(), ring, origin })
    }

    /// A client came by this URL. Where the operator says nothing, this machine's own address is
    /// the one that its browser knows, too.
    pub(super) fn learn_origin(&self, url: &str) {
        let mut origin = self.origin.borrow_mut();
        if origin.is_none() {
            *origin = loopback_origin(url).map(ToOwned::to_owned);
        }
    }

    /// The sockets of a stream. One that is closing is none.
    fn sockets(&self, stream: StreamId) -> Vec<WebSocket> {
        let mut sockets =
            self.state.get_websockets_with_tag(&stream.to_string()).unwrap_or_default();
        sockets.retain(|socket| socket.ready_state() == WebSocket::OPEN);
        sockets
    }

    /// Takes a socket for a stream. The object may sleep while it is open.
    ///
    /// # Errors
    /// The platform's own.
    pub(super) fn accept(&self, socket: &WebSocket, stream: StreamId) -> Result<(), Error> {
        let tags = vec![JsValue::from_str(&stream.to_string())];
        self.state
            .accept_websocket_with_tags(socket, tags)
            .map_err(|error| failure("taking a socket", &error.into()))
    }

    async fn post(&self, key: &AgentKey, url: &str, hop: &str) -> Result<Response, Error> {
        let failed = |error: worker::Error| {
            Error::new(Kind::Unavailable, "this context cannot be reached now; try again")
                .with_detail(error.to_string())
        };
        let agent = self.agents.get_by_name(&key.object_name()).map_err(failed)?.into_rpc();
        let response = fetch::post(&agent, url, hop).await.map_err(failed)?;
        // Only a failure is read here; everything else is the client's.
        if response.status() == 500 && response.headers().has(FAILED_HEADER).unwrap_or(false) {
            let text = fetch::text(response.text()).await.map_err(failed)?;
            let error = serde_json::from_str::<Error>(&text);
            return Err(error.unwrap_or_else(|error| Error::internal(error.to_string())));
        }
        Ok(response)
    }

    /// Tells an Agent what wants no answer.
    async fn tell(&self, key: &AgentKey, url: &str, hop: &str) -> Result<(), Error> {
        match self.post(key, url, hop).await?.status() {
            204 => Ok(()),
            status => Err(Error::internal(format!("an Agent answers with {status}"))),
        }
    }

    /// An Agent's answer, to its end.
    async fn answer(&self, key: &AgentKey, url: &str, hop: &str) -> Result<String, Error> {
        let response = self.post(key, url, hop).await?;
        let text = fetch::text(response.text()).await;
        text.map_err(|error| failure("the answer of an Agent", &error))
    }
}

impl World for Platform {
    type Response = Response;

    fn now(&self) -> Millis {
        now()
    }

    fn log(&self, error: &Error) {
        log("router", error);
    }

    async fn forward(&self, key: &AgentKey, hop: String) -> Result<Response, Error> {
        self.post(key, AGENT_URL, &hop).await
    }

    async fn part(&self, key: &AgentKey, hop: String) -> Result<String, Error> {
        self.answer(key, AGENT_URL, &hop).await
    }

    async fn word(&self, key: &AgentKey, word: String) -> Result<bool, Error> {
        Ok(self.post(key, WORD_URL, &word).await?.status() == 204)
    }

    async fn verify(&self, key: &AgentKey, hop: String) -> Result<Access, Error> {
        let text = self.answer(key, VERIFY_URL, &hop).await?;
        serde_json::from_str(&text).map_err(|error| Error::internal(format!("{text}: {error}")))
    }

    async fn interest(&self, key: &AgentKey, hop: String) -> Result<(), Error> {
        self.tell(key, INTEREST_URL, &hop).await
    }

    async fn stop(&self, key: &AgentKey, hop: String) -> Result<(), Error> {
        self.tell(key, STOP_URL, &hop).await
    }

    fn is_ok(response: &Response) -> bool {
        response.status() == 200
    }

    fn form(response: &Response) -> Form {
        match response.headers().get("content-type") {
            Ok(Some(kind)) if kind == LINES => Form::Lines,
            _ => Form::Whole,
        }
    }

    fn pieces(
        response: Response,
    ) -> Result<impl futures_util::Stream<Item = Result<Vec<u8>, Error>> + Unpin + 'static, Error>
    {
        let broken = |error: worker::Error| failure("the answer of an Agent", &error);
        let stream = worker::Response::from(response).stream().map_err(broken)?;
        Ok(stream.map(move |piece| piece.map_err(broken)))
    }

    fn sleep(&self, milliseconds: u64) -> LocalBoxFuture<'static, ()> {
        Box::pin(worker::Delay::from(Duration::from_millis(milliseconds)))
    }

    fn spawn(&self, work: LocalBoxFuture<'static, ()>) {
        spawn_local(work);
    }

    fn send(&self, stream: StreamId, events: &str) {
        for socket in self.sockets(stream) {
            // One that has gone in the meantime is missed by nobody.
            let _ = socket.send_with_str(events);
        }
    }

    fn hang_up(&self, stream: StreamId) {
        for socket in self.sockets(stream) {
            let _ = socket.close_with_code(1000);
        }
    }

    fn is_connected(&self, stream: StreamId) -> bool {
        !self.sockets(stream).is_empty()
    }

    async fn ask(&self, request: Request) -> Result<Answer, String> {
        outside::ask(request).await
    }

    fn random(&self) -> Result<[u8; 32], Error> {
        random()
    }

    fn ring(&self) -> Option<Rc<KeyRing>> {
        self.ring.clone()
    }

    fn origin(&self) -> Option<String> {
        self.origin.borrow().clone()
    }

    fn secret(&self, name: &str) -> Option<String> {
        variable(&self.env, name).filter(|secret| !secret.is_empty())
    }
}
