//! One context: a hop in, a reply out. It stores which context it is when it is created and
//! refuses a hop meant for another. It must not know which toolsets there are beyond their kinds,
//! nor the object it lives in.

use crate::{
    alarm::Alarm,
    caller::Caller,
    calls::{Asking, Calls, Live, Talk, Work},
    client::Rounds,
    decode::{self, Request, Undecodable},
    driver::{Driver, is_reply},
    handler::{EFFECTIVE, Handler},
    listening::{self, Listening},
    parking::{Parking, State},
    platform::Platform,
    registry::Registry,
    reply::{self, Reply},
    tasks::{self, Tasks},
    toolset::ToolError,
    toolsets,
    verbatim::Verbatim,
};
use futures_util::{
    StreamExt as _,
    future::{Either, LocalBoxFuture, join_all, select},
};
use rmcp::model::{
    ClientRequest, ErrorData, GetMeta as _, InitializeRequestParams, InputResponses,
    JsonRpcMessage, LoggingLevel, ProtocolVersion, RequestId,
};
use serde_json::{Value, json, value::RawValue};
use shared::{
    AgentKey, Error, Kind, Millis,
    config::Config,
    database::{Database, has_table},
    hop::{self, Access, CallId, Hop, InterestHop, Peer, StopHop, VerifyHop, WordHop},
    limits,
};
use std::{borrow::Cow, cell::RefCell, collections::BTreeMap, fmt, rc::Rc};

/// One Agent's state. Everything in memory can be made again from its database.
pub struct Context {
    config: Rc<Config>,
    database: Rc<dyn Database>,
    platform: Rc<dyn Platform>,
    opened: RefCell<Option<Opened>>,
    /// The calls that can be reached while they run.
    calls: Calls,
    /// Every call that runs.
    live: Live,
    /// The calls that wait for another request.
    parking: Rc<Parking>,
    listening: Listening,
    alarm: Rc<Alarm>,
}

/// What is made when the context learns which one it is.
#[derive(Debug, Clone)]
struct Opened {
    key: Rc<AgentKey>,
    registry: Rc<Registry>,
    tasks: Rc<Tasks>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("opened", &self.opened).finish_non_exhaustive()
    }
}

impl Context {
    /// A context over its database.
    pub fn new(config: Rc<Config>, database: Rc<dyn Database>, platform: Rc<dyn Platform>) -> Self {
        let parking = Rc::new(Parking::new(Rc::clone(&database), Rc::clone(&platform)));
        let (opened, calls) = (RefCell::default(), Calls::default());
        let listening = Listening::new(Rc::clone(&database));
        let alarm = Rc::new(Alarm::new(Rc::clone(&platform)));
        let live = Live::default();
        Self { config, database, platform, opened, calls, live, parking, listening, alarm }
    }

    /// Serves one hop.
    ///
    /// # Errors
    /// [`Kind::Conflict`] for a hop that is meant for another context, [`Kind::Invalid`] for what
    /// is no hop, [`Kind::Internal`] for what fails here. What a client did wrong is a [`Reply`].
    pub async fn serve(&self, hop: &str) -> Result<Reply, Error> {
        let hop: Hop<'_> = serde_json::from_str(hop)
            .map_err(|e| Error::new(Kind::Invalid, "not a hop").with_detail(e.to_string()))?;
        let opened = self.open(&hop.key)?;
        let modern = matches!(hop.peer, Peer::Modern);
        let request = match decode::decode(hop.message.get(), modern) {
            Ok(request) => request,
            Err(undecodable) => return refuse(undecodable, modern),
        };
        let talk = match &hop.peer {
            Peer::Handshake { call, session: id, revision, client, level } => {
                let mut session = Session::read(revision, client.get(), level.as_deref())?;
                session.caller.session = id.clone();
                self.handshake(&hop, opened, session, call.clone(), request)?
            }
            Peer::Modern => {
                let id = request.id.clone();
                match self.modern(&hop, opened, request) {
                    Ok(talk) => talk,
                    Err(Refusal::Ours(error)) => return Err(error),
                    Err(Refusal::Client(error)) => {
                        let method = String::new();
                        return refuse(Undecodable { id: Some(id), method, error }, true);
                    }
                }
            }
        };
        self.live.add(&talk);
        match hop.is_part {
            true => reply::whole(talk).await,
            false => reply::reply(talk, &self.platform, hop.prefers_stream).await,
        }
    }

    /// Brings a word to a running call. False if there is none that could take it.
    ///
    /// # Errors
    /// As for [`Self::serve`].
    pub fn word(&self, hop: &str) -> Result<bool, Error> {
        let hop: WordHop<'_> = serde_json::from_str(hop)
            .map_err(|e| Error::new(Kind::Invalid, "not a word").with_detail(e.to_string()))?;
        // Calls run only where something was served.
        let Some(opened) = self.opened.borrow().clone() else {
            return Ok(false);
        };
        check(&opened, &hop.key)?;
        let running = self.calls.borrow().get(&hop.call).map(Rc::clone);
        Ok(running.is_some_and(|running| running.hear(hop.word)))
    }

    /// Ends what a user has ended, wherever it runs or waits.
    ///
    /// # Errors
    /// As for [`Self::serve`].
    pub fn stop(&self, hop: &str) -> Result<(), Error> {
        let hop: StopHop = serde_json::from_str(hop)
            .map_err(|e| Error::new(Kind::Invalid, "nothing to stop").with_detail(e.to_string()))?;
        let Some(key) = stored(&*self.database)? else {
            // Nothing was ever served here.
            return Ok(());
        };
        if key != hop.key {
            return Err(foreign(&key, &hop.key));
        }
        let error = Error::new(Kind::Cancelled, "this call was ended by its user");
        self.live.stop(&hop.stop, &error);
        self.parking.stop(&hop.stop);
        let opened = self.opened.borrow().clone();
        let registry = match opened {
            Some(Opened { tasks, registry, .. }) => {
                tasks.end(&hop.stop)?;
                registry
            }
            // Tasks are there whether or not this object has been asked for anything yet; nobody is
            // at work on them, and nobody listens to anything for that.
            None => {
                tasks::end_kept(&self.database, &hop.stop, self.platform.now())?;
                Rc::new(self.place(&Rc::new(key))?)
            }
        };
        registry.toolsets.iter().try_for_each(|placed| placed.toolset.stop(&hop.stop))
    }

    /// Whether the user may enter this context, as JSON of an [`Access`]: every toolset must agree.
    ///
    /// # Errors
    /// As for [`Self::serve`], and [`Kind::Unavailable`] where it is not known.
    pub async fn verify(&self, hop: &str) -> Result<String, Error> {
        let hop: VerifyHop = serde_json::from_str(hop)
            .map_err(|e| Error::new(Kind::Invalid, "not a check").with_detail(e.to_string()))?;
        // Nothing is stored for a scope that may not be.
        let registry = match stored(&*self.database)? {
            Some(_) => self.open(&hop.key)?.registry,
            None => Rc::new(self.place(&Rc::new(hop.key))?),
        };
        let mut access = Access::Yes;
        let checks = registry.toolsets.iter().map(|placed| placed.toolset.verify());
        for checked in join_all(checks).await {
            match checked {
                Ok(Access::Yes) => {}
                Ok(Access::No) => access = Access::No,
                Err(ToolError::Below(error)) => return Err(error),
                Err(error) => return Err(Error::internal(error.to_string())),
            }
        }
        serde_json::to_string(&access).map_err(|error| Error::internal(error.to_string()))
    }

    /// Hears what anybody wants to hear of, of this context.
    ///
    /// # Errors
    /// As for [`Self::serve`].
    pub async fn interest(&self, hop: &str) -> Result<(), Error> {
        let hop: InterestHop = serde_json::from_str(hop)
            .map_err(|e| Error::new(Kind::Invalid, "no interest").with_detail(e.to_string()))?;
        let opened = self.open(&hop.key)?;
        self.listening.keep(&hop)?;
        let (registry, platform) = (Rc::clone(&opened.registry), Rc::clone(&self.platform));
        let learning: LocalBoxFuture<'static, ()> =
            Box::pin(listening::learn(registry, hop.clone(), platform));
        let pause = self.platform.sleep(limits::LEARN_MS);
        let late = match select(learning, pause).await {
            Either::Left(_) => None,
            Either::Right((_, learning)) => Some(learning),
        };
        listening::tell(&opened.registry, &hop);
        if let Some(learning) = late {
            // What is learnt later is told then, if it is wanted still.
            let (listening, registry) = (self.listening.clone(), Rc::clone(&opened.registry));
            self.platform.spawn(Box::pin(async move {
                learning.await;
                if let Ok(Some(hop)) = listening.kept() {
                    listening::tell(&registry, &hop);
                }
            }));
        }
        if !hop.is_none() {
            self.alarm.within(limits::LISTEN_CHECK_MS).await?;
        }
        Ok(())
    }

    /// Everything that is served here and everything that is not, and why, as JSON: for the
    /// operator.
    ///
    /// # Errors
    /// As for [`Self::serve`].
    pub async fn effective(&self, key: &str) -> Result<String, Error> {
        let key: AgentKey = serde_json::from_str(key)
            .map_err(|e| Error::new(Kind::Invalid, "no context").with_detail(e.to_string()))?;
        let opened = self.open(&key)?;
        // As a client sees it that can be asked for everything.
        let capabilities = json!({ "elicitation": { "form": {}, "url": {} },
            "sampling": { "tools": {}, "context": {} }, "roots": {} });
        let capabilities = serde_json::from_value(capabilities)
            .map_err(|error| Error::internal(error.to_string()))?;
        let caller = Caller { capabilities, ..Caller::default() };
        let hop = Hop {
            key,
            peer: Peer::Modern,
            shared_notes: false,
            is_heard: false,
            prefers_stream: false,
            is_part: false,
            options: Cow::default(),
            is_read_only: false,
            holder: hop::Holder::default(),
            mirrors: Vec::new(),
            depth: 0,
            message: RawValue::NULL,
        };
        let (client, request) = (modern_client(), decode::own(EFFECTIVE));
        let mut work = self.start(&hop, opened, client, caller, Rounds::default(), request)?;
        while let Some(message) = work.driver.next().await {
            if is_reply(&message)
                && let Some(text) = work.verbatim.take()
            {
                return Ok(text);
            }
        }
        Err(Error::internal("nothing was said of what is served"))
    }

    /// Does what is due at this time, and says when it wants to be called again.
    ///
    /// # Errors
    /// As for [`Self::serve`].
    pub fn alarm(&self) -> Result<Option<Millis>, Error> {
        let opened = self.opened.borrow().clone();
        let opened = match opened {
            Some(opened) => opened,
            None => match stored(&*self.database)? {
                Some(key) => self.open(&key)?,
                // Nothing was ever served here.
                None => return Ok(None),
            },
        };
        self.alarm.set(None);
        let listening = self.listening.due(self.platform.now())?;
        let next = [opened.tasks.alarm()?, listening].into_iter().flatten().min();
        self.alarm.set(next);
        Ok(next)
    }

    /// Starts a call of the handshake era.
    fn handshake(
        &self,
        hop: &Hop<'_>,
        opened: Opened,
        session: Session,
        call: CallId,
        mut request: Request,
    ) -> Result<Talk, Error> {
        if self.calls.borrow().contains_key(&call) {
            return Err(Error::new(Kind::Conflict, "a call of this name is running"));
        }
        let meta = request.request.get_meta_mut();
        // A session says once what it is; a request that says otherwise does not change that.
        meta.retain(|key, _| !key.starts_with("io.modelcontextprotocol/"));
        let (token, is_heard) = (meta.get_progress_token(), hop.is_heard);
        let holder = hop.holder.clone();
        let caller = Caller { token, is_heard, holder, ..session.caller };
        let id = request.id.clone();
        let work = self.start(hop, opened, session.client, caller, Rounds::default(), request)?;
        Ok(Talk::handshake(work, id, call, Rc::clone(&self.calls)))
    }

    /// Starts a request of the modern era, or goes on with the call that it continues.
    fn modern(&self, hop: &Hop<'_>, opened: Opened, mut request: Request) -> Result<Talk, Refusal> {
        self.parking.sweep();
        let meta = request.request.get_meta();
        let caller = Caller::of_meta(meta, hop.is_heard, hop.holder.clone());
        let id = request.id.clone();
        let mut asking = None;
        let mut known = Answers::new();
        if let Some((answers, state)) = round(&mut request.request) {
            known = answers.unwrap_or_default();
            // What we keep among the answers comes from nobody else.
            known.retain(|key, _| !key.starts_with(OWN_KEYS));
            let this = asking.insert(Asking {
                key: Rc::clone(&opened.key),
                message: hop.message.to_owned(),
                is_read_only: hop.is_read_only,
                parking: Rc::clone(&self.parking),
            });
            if let Some(state) = state {
                let state = self.open_state(this, &state)?;
                if let Some(work) = self.parking.take(&state.handle) {
                    // It is where it was, whoever goes on with it.
                    let toolset = work.caller.take().toolset;
                    *work.caller.borrow_mut() = Caller { toolset, ..caller };
                    work.rounds.give(known);
                    return Ok(Talk::modern(work, id, asking));
                }
                // It runs again. What was answered first is what it acted on.
                known.extend(state.answers);
            }
        }
        let rounds = Rounds::with(known);
        let work = self.start(hop, opened, modern_client(), caller, rounds, request)?;
        Ok(Talk::modern(work, id, asking))
    }

    /// The state that a client brought back. One that is not good is the client's error.
    fn open_state(&self, asking: &Asking, sealed: &str) -> Result<State, Refusal> {
        let opened = self.parking.open(sealed, &asking.bound()?)?;
        opened.ok_or_else(|| {
            let text = "this `requestState` is not one of this request's, or it is too old; \
                send the request again without it and without `inputResponses`";
            ErrorData::invalid_params(text, None).into()
        })
    }

    fn start(
        &self,
        hop: &Hop<'_>,
        opened: Opened,
        client: InitializeRequestParams,
        caller: Caller,
        rounds: Rounds,
        request: Request,
    ) -> Result<Work, Error> {
        let (caller, rounds) = (caller.shared(), Rc::new(rounds));
        let verbatim = Verbatim::default();
        let handler = Handler {
            key: opened.key,
            registry: opened.registry,
            revision: client.protocol_version.clone(),
            caller: Rc::clone(&caller),
            rounds: Rc::clone(&rounds),
            shared_notes: hop.shared_notes,
            platform: Rc::clone(&self.platform),
            tasks: opened.tasks,
            is_task: false,
            began: self.platform.now(),
            options: hop.options.clone().into_owned(),
            is_read_only: hop.is_read_only,
            mirrors: hop.mirrors.clone(),
            depth: hop.depth,
            verbatim: verbatim.clone(),
        };
        let driver = Driver::start(handler, Some(client), request)?;
        Ok(Work { driver, rounds, caller, verbatim })
    }

    /// This context's registry, made when it is first asked for anything.
    fn open(&self, key: &AgentKey) -> Result<Opened, Error> {
        if let Some(opened) = self.opened.borrow().as_ref() {
            return check(opened, key);
        }
        let stored = match stored(&*self.database)? {
            Some(stored) => stored,
            None => {
                self.store(key)?;
                key.clone()
            }
        };
        let key_stored = Rc::new(stored);
        let registry = Rc::new(self.place(&key_stored)?);
        let tasks = Rc::new(Tasks::new(
            Rc::clone(&key_stored),
            Rc::clone(&registry),
            Rc::clone(&self.database),
            Rc::clone(&self.platform),
            Rc::clone(&self.alarm),
        ));
        // What was wanted before this object was made is wanted still.
        match self.listening.kept() {
            Ok(Some(hop)) => listening::tell(&registry, &hop),
            Ok(None) => {}
            // Whoever listens says so again at the next change.
            Err(error) => self.platform.log(&error),
        }
        let opened = Opened { key: key_stored, registry, tasks };
        *self.opened.borrow_mut() = Some(opened.clone());
        check(&opened, key)
    }

    fn place(&self, key: &Rc<AgentKey>) -> Result<Registry, Error> {
        toolsets::place(&self.config, key, &self.database, &self.platform)
    }

    fn store(&self, key: &AgentKey) -> Result<(), Error> {
        let text =
            serde_json::to_string(key).map_err(|error| Error::internal(error.to_string()))?;
        let table = "CREATE TABLE IF NOT EXISTS context (
            one INTEGER PRIMARY KEY CHECK (one = 1), key TEXT NOT NULL)";
        self.database.run(table, &[])?;
        self.database.run("INSERT INTO context (one, key) VALUES (1, ?)", &[text.into()])?;
        Ok(())
    }
}

/// Which context a database belongs to; `None` where it has served none yet. An object that was
/// woken by its alarm may not know its own name.
///
/// # Errors
/// Internal ones.
pub fn stored(database: &dyn Database) -> Result<Option<AgentKey>, Error> {
    if !has_table(database, "context")? {
        return Ok(None);
    }
    let rows = database.run("SELECT key FROM context", &[])?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    serde_json::from_str(row.text(0)?)
        .map(Some)
        .map_err(|error| Error::internal(format!("the stored key: {error}")))
}

fn check(opened: &Opened, key: &AgentKey) -> Result<Opened, Error> {
    if *opened.key == *key { Ok(opened.clone()) } else { Err(foreign(&opened.key, key)) }
}

/// The router names objects injectively, so this is a mistake of ours; the caller learns nothing of
/// either context.
fn foreign(own: &AgentKey, key: &AgentKey) -> Error {
    Error::new(Kind::Conflict, "this request reached another context and was refused")
        .with_detail(format!("{} got a hop for {}", own.scope, key.scope))
}

/// Why a request is not even begun.
enum Refusal {
    /// The client did something wrong.
    Client(ErrorData),
    /// We did.
    Ours(Error),
}

impl From<ErrorData> for Refusal {
    fn from(error: ErrorData) -> Self {
        Self::Client(error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

/// How the keys begin of what is kept among a client's answers.
pub const OWN_KEYS: &str = "signalbox.";

/// What the client answered, by key.
type Answers = BTreeMap<String, Value>;

/// A session, as a hop describes it.
struct Session {
    client: InitializeRequestParams,
    caller: Caller,
}

impl Session {
    fn read(revision: &str, client: &str, level: Option<&str>) -> Result<Self, Error> {
        let invalid = |e: serde_json::Error| Error::internal(format!("the hop's peer: {e}"));
        let is_resumable = revision == RESUMABLE_REVISION;
        let revision: ProtocolVersion = serde_json::from_value(revision.into()).map_err(invalid)?;
        let level = match level {
            // A session that never set a level gets what matters to most.
            None => LoggingLevel::Info,
            Some(level) => serde_json::from_value(level.into()).map_err(invalid)?,
        };
        // What does not fit is told to the client by its own `initialize`, which carries it.
        // It is read as a request's parameters are (see `decode`), so that there is one reader.
        let client: Value = serde_json::from_str(client).map_err(invalid)?;
        let mut client: InitializeRequestParams =
            serde_json::from_value(client).unwrap_or_default();
        client.protocol_version = revision;
        let capabilities = client.capabilities.clone();
        let level = Some(level);
        let caller = Caller { level, capabilities, is_resumable, ..Caller::default() };
        Ok(Self { client, caller })
    }
}

/// The revision whose streams may be interrupted by the server (SEP-1699).
const RESUMABLE_REVISION: &str = "2025-11-25";

fn modern_client() -> InitializeRequestParams {
    let mut client = InitializeRequestParams::default();
    client.protocol_version = ProtocolVersion::V_2026_07_28;
    client
}

/// Takes the client's answers and its state out of a request that may have them: only these three
/// methods may ask.
fn round(request: &mut ClientRequest) -> Option<(Option<InputResponses>, Option<String>)> {
    match request {
        ClientRequest::CallToolRequest(request) => {
            let params = &mut request.params;
            Some((params.input_responses.take(), params.request_state.take()))
        }
        ClientRequest::GetPromptRequest(request) => {
            let params = &mut request.params;
            Some((params.input_responses.take(), params.request_state.take()))
        }
        ClientRequest::ReadResourceRequest(request) => {
            let params = &mut request.params;
            Some((params.input_responses.take(), params.request_state.take()))
        }
        _ => None,
    }
}

fn refuse(undecodable: Undecodable, modern: bool) -> Result<Reply, Error> {
    let Undecodable { id, method, error } = undecodable;
    let status = match modern {
        true => hop::modern_status(error.code.0.into()),
        // No session begins with an error.
        false if method == "initialize" => 400,
        false => 200,
    };
    let message: crate::driver::Message = JsonRpcMessage::error(error, id as Option<RequestId>);
    let body =
        serde_json::to_string(&message).map_err(|error| Error::internal(error.to_string()))?;
    Ok(Reply::Json { status, body })
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "fixture")]
    mod conversation;
    #[cfg(feature = "fixture")]
    mod fence;

    use super::*;
    use crate::toolset::tests::Still;
    use futures_executor::block_on;
    use shared::{
        Scope, UserId,
        config::{Toolset, ToolsetKind, Written},
        database::native::Embedded,
    };
    use std::collections::BTreeSet;

    fn context(database: &Rc<Embedded>, config: &Config) -> Context {
        let database = Rc::clone(database) as Rc<dyn Database>;
        Context::new(Rc::new(config.clone()), database, Rc::new(Still::default()))
    }

    fn hop(user: &str, path: &str, modern: bool, message: &Value) -> String {
        let client = RawValue::from_string("{}".to_owned()).unwrap();
        let message = serde_json::value::to_raw_value(message).unwrap();
        let peer = match modern {
            true => Peer::Modern,
            false => Peer::Handshake {
                call: CallId::from_random([1; 8]),
                session: None,
                revision: "2025-06-18".into(),
                client: Cow::Borrowed(&client),
                level: None,
            },
        };
        let scope = Scope::parse_path(path, &Config::default().levels).unwrap();
        let key = AgentKey { user: UserId::parse(user).unwrap(), scope };
        serde_json::to_string(&Hop {
            key,
            peer,
            shared_notes: false,
            is_heard: false,
            prefers_stream: false,
            is_part: false,
            options: Cow::default(),
            is_read_only: false,
            holder: hop::Holder::default(),
            mirrors: vec![],
            depth: 0,
            message: &message,
        })
        .unwrap()
    }

    fn ask(method: &str, mut params: Value, modern: bool) -> Value {
        if modern {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params })
    }

    /// Status and body of the answer to one request.
    fn answer(context: &Context, path: &str, message: &Value, modern: bool) -> (u16, Value) {
        match block_on(context.serve(&hop("u", path, modern, message))).unwrap() {
            Reply::Json { status, body } => (status, serde_json::from_str(&body).unwrap()),
            Reply::Events(body) | Reply::Lines(body) => {
                (200, block_on(body.collect::<Vec<_>>()).concat().into())
            }
        }
    }

    #[test]
    fn it_serves_the_context_it_was_created_for_and_no_other() {
        let database = Rc::new(Embedded::in_memory());
        let first = context(&database, &Config::default());
        let ask = ask("tools/list", json!({}), false);
        assert_eq!(answer(&first, "/mcp/acme", &ask, false).0, 200);
        // Again after a restart: what it is, it knows from its storage.
        let restarted = context(&database, &Config::default());
        for context in [&first, &restarted] {
            for (user, path) in [("u", "/mcp"), ("u", "/mcp/acme/web"), ("v", "/mcp/acme")] {
                let refused = block_on(context.serve(&hop(user, path, false, &ask)));
                assert_eq!(refused.unwrap_err().kind, Kind::Conflict, "{user} {path}");
            }
        }
        assert_eq!(answer(&restarted, "/mcp/acme", &ask, false).0, 200);
    }

    #[test]
    fn the_eras_differ_in_what_they_wrap_around_a_result() {
        let context = context(&Rc::new(Embedded::in_memory()), &Config::default());
        let list = |modern| {
            answer(&context, "/mcp", &ask("tools/list", json!({}), modern), modern).1["result"]
                .take()
        };
        let (old, new) = (list(false), list(true));
        assert_eq!(old["tools"], new["tools"]);
        for key in ["resultType", "ttlMs", "cacheScope", "_meta"] {
            assert!(old.get(key).is_none(), "{key} in a handshake result");
            assert!(new.get(key).is_some(), "no {key} in a modern result");
        }
        let unknown = ask("resources/read", json!({ "uri": "no:such" }), false);
        assert_eq!(answer(&context, "/mcp", &unknown, false).1["error"]["code"], -32002);
        let unknown = ask("resources/read", json!({ "uri": "no:such" }), true);
        let (status, body) = answer(&context, "/mcp", &unknown, true);
        assert_eq!((status, &body["error"]["code"]), (200, &json!(-32602)));
    }

    #[test]
    fn a_hidden_tool_answers_exactly_as_an_unknown_one() {
        let mut toolset = Toolset::new(ToolsetKind::Memory);
        toolset.hide.insert(0, ["forget".to_owned()].into());
        let config = Config { toolsets: vec![toolset], ..Config::default() };
        let call = |path: &str, name: &str| {
            let context = context(&Rc::new(Embedded::in_memory()), &config);
            let message = ask("tools/call", json!({ "name": name, "arguments": {} }), false);
            answer(&context, path, &message, false).1["error"].to_string()
        };
        assert_eq!(
            call("/mcp/acme", "forget"),
            call("/mcp/acme", "nothing").replace("nothing", "forget")
        );
        assert_eq!(call("/mcp", "forget"), "null");
        let context = context(&Rc::new(Embedded::in_memory()), &config);
        let list = answer(&context, "/mcp/acme", &ask("tools/list", json!({}), false), false).1;
        let names: Vec<_> =
            list["result"]["tools"].as_array().unwrap().iter().map(|t| &t["name"]).collect();
        assert_eq!(names, ["remember", "recall", "list_memories"]);
    }

    #[test]
    fn what_does_not_fit_is_the_clients_error() {
        let context = context(&Rc::new(Embedded::in_memory()), &Config::default());
        let wrong = ask("tools/call", json!({ "name": 5 }), false);
        let (status, body) = answer(&context, "/mcp", &wrong, false);
        assert_eq!((status, &body["error"]["code"], &body["id"]), (200, &json!(-32602), &json!(7)));
        // An `initialize` that fails is an HTTP error, so that no session begins with it.
        let wrong = ask("initialize", json!({ "protocolVersion": 5 }), false);
        assert_eq!(answer(&context, "/mcp", &wrong, false).0, 400);
        assert_eq!(block_on(context.serve("nonsense")).unwrap_err().kind, Kind::Invalid);
    }

    #[test]
    fn a_scope_parameter_that_was_not_routed_is_refused() {
        let context = context(&Rc::new(Embedded::in_memory()), &Config::default());
        let arguments = json!({ "query": "x", "projectSlug": "web" });
        let message = ask("tools/call", json!({ "name": "recall", "arguments": arguments }), false);
        let body = answer(&context, "/mcp/acme", &message, false).1;
        assert_eq!(body["error"]["code"], -32602, "{body}");
    }

    #[test]
    #[cfg(feature = "fixture")]
    fn a_context_that_is_made_again_listens_again() {
        let toolsets = r#"[{"kind":"mcp","url":"https://a.test/mcp"}]"#;
        let written = Written { toolsets: Some(toolsets), ..Written::default() };
        let config = Rc::new(Config::parse(written).unwrap());
        let (database, still) = (Rc::new(Embedded::in_memory()), Rc::new(Still::default()));
        let made = || {
            still.evict();
            let platform = Rc::clone(&still) as Rc<dyn Platform>;
            Context::new(Rc::clone(&config), Rc::clone(&database) as Rc<dyn Database>, platform)
        };
        let key = AgentKey { user: UserId::parse("u").unwrap(), scope: Scope::default() };
        let wish = |lists| InterestHop {
            key: key.clone(),
            lists,
            uris: BTreeSet::new(),
            blocked: BTreeSet::new(),
        };
        let wish = |lists| serde_json::to_string(&wish(lists)).unwrap();
        let due = Millis(still.now.get()).after(limits::LISTEN_CHECK_MS);
        let first = made();
        block_on(first.interest(&wish(true))).unwrap();
        assert_eq!((still.turn(), still.alarm.get()), (1, Some(due)));
        let second = made();
        assert_eq!(still.turn(), 0);
        assert_eq!(second.alarm().unwrap(), Some(due));
        assert_eq!(still.turn(), 1);
        // Nobody wants to hear any more.
        block_on(second.interest(&wish(false))).unwrap();
        let third = made();
        assert_eq!((third.alarm().unwrap(), still.turn()), (None, 0));
    }
}
