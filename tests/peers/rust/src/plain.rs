//! The rival without objects: the `rmcp` server right in the Worker. It keeps nothing between two
//! requests but the tools of the context that was last called. It must not know HTTP.

use agent::{
    alarm::Alarm,
    caller::Caller,
    calls::{Talk, Work},
    client::Rounds,
    decode,
    driver::Driver,
    handler::Handler,
    platform::Platform,
    registry::Registry,
    reply::{Reply, reply},
    tasks::Tasks,
    toolsets,
    verbatim::Verbatim,
};
use futures_util::future::LocalBoxFuture;
use rmcp::model::{GetMeta as _, InitializeRequestParams, ProtocolVersion};
use shared::{
    AgentKey, Error, Kind, Millis, Scope,
    cloudflare::{log, now, random},
    config::Config,
    database::{Database, Row, Value},
    hop::{Change, Holder, NotesAnswer, Options},
    notes,
};
use std::{cell::RefCell, rc::Rc, time::Duration};
use upstream::{Request, Response};

thread_local! {
    static LAST: RefCell<Option<(Rc<AgentKey>, Rc<Registry>)>> = const { RefCell::new(None) };
}

/// Serves one message of the modern era in one context.
pub(crate) async fn serve(config: &Config, key: AgentKey, message: &str) -> Result<Reply, Error> {
    let platform: Rc<dyn Platform> = Rc::new(Nothing);
    let (key, registry) = place(config, key, &platform)?;
    let request = decode::decode(message, true)
        .map_err(|undecodable| Error::new(Kind::Invalid, undecodable.error.message))?;
    let revision = ProtocolVersion::V_2026_07_28;
    let mut client = InitializeRequestParams::default();
    client.protocol_version = revision.clone();
    let (id, rounds) = (request.id.clone(), Rc::new(Rounds::default()));
    let caller = Caller::of_meta(request.request.get_meta(), false, Holder::default()).shared();
    let verbatim = Verbatim::default();
    let (nothing, near) = (Rc::new(Nothing), Rc::clone(&platform));
    let alarm = Rc::new(Alarm::new(Rc::clone(&near)));
    let tasks = Rc::new(Tasks::new(Rc::clone(&key), Rc::clone(&registry), nothing, near, alarm));
    let handler = Handler {
        tasks,
        is_task: false,
        began: Millis(0),
        key,
        registry,
        revision,
        caller: caller.clone(),
        rounds: Rc::clone(&rounds),
        shared_notes: false,
        platform: Rc::clone(&platform),
        options: Options::default(),
        is_read_only: false,
        mirrors: Vec::new(),
        depth: 0,
        verbatim: verbatim.clone(),
    };
    let driver = Driver::start(handler, Some(client), request)?;
    let work = Work { driver, rounds, caller, verbatim };
    reply(Talk::modern(work, id, None), &platform, false).await
}

/// The context's tools.
fn place(
    config: &Config,
    key: AgentKey,
    platform: &Rc<dyn Platform>,
) -> Result<(Rc<AgentKey>, Rc<Registry>), Error> {
    let last = LAST.with_borrow(Clone::clone);
    if let Some(last) = last.filter(|(last, _)| **last == key) {
        return Ok(last);
    }
    let key = Rc::new(key);
    let database: Rc<dyn Database> = Rc::new(Nothing);
    let registry = toolsets::place(config, &key, &database, platform)?;
    let last = (key, Rc::new(registry));
    LAST.set(Some(last.clone()));
    Ok(last)
}

/// What a Worker alone has: no storage and no user.
struct Nothing;

impl Nothing {
    fn refuse<T>() -> Result<T, Error> {
        Err(Error::internal("there is no object behind this Worker"))
    }
}

impl Database for Nothing {
    fn run(&self, _statement: &str, _arguments: &[Value]) -> Result<Vec<Row>, Error> {
        Self::refuse()
    }
}

impl Platform for Nothing {
    fn now(&self) -> Millis {
        now()
    }

    fn random(&self) -> [u8; 12] {
        random().unwrap_or_default()
    }

    fn sleep(&self, milliseconds: u32) -> LocalBoxFuture<'static, ()> {
        Box::pin(worker::Delay::from(Duration::from_millis(milliseconds.into())))
    }

    fn spawn(&self, work: LocalBoxFuture<'static, ()>) {
        worker::wasm_bindgen_futures::spawn_local(work);
    }

    fn wake(&self, _at: Millis) -> LocalBoxFuture<'static, Result<(), Error>> {
        Box::pin(std::future::ready(Self::refuse()))
    }

    fn send(&self, _request: Request) -> LocalBoxFuture<'static, Result<Response, String>> {
        Box::pin(std::future::ready(Err("nothing is asked".to_owned())))
    }

    fn secret(&self, _name: &str) -> Option<String> {
        None
    }

    fn log(&self, error: &Error) {
        log("plain", error);
    }

    fn shared_notes(&self, _request: notes::Request) -> LocalBoxFuture<'static, NotesAnswer> {
        Box::pin(std::future::ready(Self::refuse()))
    }

    fn credential(
        &self,
        _name: &str,
        _rejected: Option<String>,
    ) -> LocalBoxFuture<'static, shared::hop::CredentialAnswer> {
        Box::pin(std::future::ready(Self::refuse()))
    }

    fn changed(
        &self,
        _scope: &Scope,
        _changes: Vec<Change>,
    ) -> LocalBoxFuture<'static, Result<(), Error>> {
        Box::pin(std::future::ready(Self::refuse()))
    }
}
