//! The heart: (user, scope, session, message) → what to do. Pure: no clock, no storage, no
//! platform. It must not do anything.

use crate::{
    http::Reply,
    message::{Params, Request, text},
    protocol::{self, Class, Era},
    refusal::Refusal,
    session::Session,
    spread::{Spread, spread},
    streams::Filter,
    target::target,
};
use serde_json::value::RawValue;
use shared::{
    AgentKey, Scope, UserId,
    config::Config,
    hop::{CallId, Options, Peer},
    limits,
};
use std::borrow::Cow;

/// What to do with a request.
#[derive(Debug)]
pub enum Plan<'a> {
    /// The router knows the answer.
    Answer(Reply),
    /// One agent; its response is piped back.
    Forward(AgentKey, Peer<'a>),
    /// The agents of this context and of those inside of it; their answers become one.
    Spread(AgentKey, Peer<'a>, Spread),
    /// One agent, and a session begins when it agrees.
    Begin(AgentKey, Opening<'a>),
    /// The session asks for logs from this level on, and then this is the answer.
    SetLevel(String, Reply),
    /// The session wants to hear of changes of a resource, or does not any more.
    Subscribe {
        /// The resource.
        uri: String,
        /// Whether it wants to.
        wanted: bool,
        /// And then this is the answer.
        reply: Reply,
    },
    /// The client wants to hear of changes on the stream that answers this request.
    Hear(Filter),
    /// It is refused.
    Reject(Refusal),
}

/// What a notification asks for.
#[derive(Debug, Clone, Copy)]
pub enum Note<'a> {
    /// That the request of this id stops.
    Cancel(&'a RawValue),
    /// Nothing.
    Nothing,
}

/// What a notification asks for.
#[must_use]
pub fn note<'a>(method: &str, params: &Params<'a>) -> Note<'a> {
    match (method, params.request) {
        ("notifications/cancelled", Some(request)) => Note::Cancel(request),
        _ => Note::Nothing,
    }
}

/// A session that may begin.
#[derive(Debug)]
pub struct Opening<'a> {
    /// The negotiated revision.
    pub revision: &'static str,
    /// The parameters of `initialize`.
    pub client: &'a RawValue,
}

/// Whose request it is, and where it arrived.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The user.
    pub user: &'a UserId,
    /// The scope of the URL.
    pub scope: &'a Scope,
    /// What is left of the tools there.
    pub options: &'a Options,
    /// What the request is known by while it runs.
    pub call: &'a CallId,
}

impl Place<'_> {
    fn agent(&self, scope: Scope) -> AgentKey {
        AgentKey { user: self.user.clone(), scope }
    }
}

/// Plans a request. `session` is the one it named, found and alive; a request of the modern era
/// has none.
#[must_use]
pub fn plan<'a>(
    place: Place<'_>,
    era: Era,
    session: Option<&'a Session>,
    request: &'a Request<'a>,
) -> Plan<'a> {
    match protocol::class(&request.method, era) {
        Class::Unknown => Plan::Reject(Refusal::MethodNotFound(request.method.to_string())),
        Class::Ping => Plan::Answer(result(request.id)),
        Class::SetLevel => set_level(request),
        Class::Initialize => initialize(place, session, request),
        Class::Subscribe => subscribe(request, true),
        Class::Unsubscribe => subscribe(request, false),
        Class::Hear => hear(request),
        Class::Serve => match target(place.config, place.options, place.scope, request) {
            Ok(scope) => {
                let (key, peer) = (place.agent(scope), peer(place.call, session));
                match spread(place.config, place.options, request) {
                    Some(spread) => Plan::Spread(key, peer, spread),
                    None => Plan::Forward(key, peer),
                }
            }
            Err(refusal) => Plan::Reject(refusal),
        },
    }
}

fn peer<'a>(call: &CallId, session: Option<&'a Session>) -> Peer<'a> {
    match session {
        None => Peer::Modern,
        Some(session) => Peer::Handshake {
            call: call.clone(),
            session: Some(session.id.clone()),
            revision: Cow::Borrowed(&session.revision),
            client: Cow::Borrowed(&session.client),
            level: session.level.as_deref().map(Cow::Borrowed),
        },
    }
}

fn initialize<'a>(
    place: Place<'_>,
    session: Option<&Session>,
    request: &'a Request<'a>,
) -> Plan<'a> {
    if session.is_some() {
        return Plan::Reject(Refusal::SessionExists);
    }
    match (protocol::negotiate(request.raw_params), request.raw_params) {
        (Ok(revision), Some(client)) if client.get().len() <= limits::CLIENT_BYTES_MAX => {
            Plan::Begin(place.agent(place.scope.clone()), Opening { revision, client })
        }
        (Ok(_), _) => Plan::Reject(Refusal::InvalidMeta(format!(
            "the params of initialize have at most {} bytes",
            limits::CLIENT_BYTES_MAX
        ))),
        (Err(refusal), _) => Plan::Reject(refusal),
    }
}

fn set_level<'a>(request: &Request<'_>) -> Plan<'a> {
    match text(request.params.level) {
        Some(level) if protocol::is_log_level(&level) => {
            Plan::SetLevel(level.into_owned(), result(request.id))
        }
        _ => {
            let text = format!("`level` {}", protocol::one_of_log_levels());
            Plan::Reject(Refusal::InvalidParams(text))
        }
    }
}

fn subscribe<'a>(request: &Request<'_>, wanted: bool) -> Plan<'a> {
    match text(request.params.uri) {
        Some(uri) if uri.len() <= limits::SUBSCRIPTION_URI_BYTES_MAX => {
            Plan::Subscribe { uri: uri.into_owned(), wanted, reply: result(request.id) }
        }
        _ => Plan::Reject(Refusal::InvalidParams(format!(
            "`uri` must be a string of at most {} bytes",
            limits::SUBSCRIPTION_URI_BYTES_MAX
        ))),
    }
}

fn hear<'a>(request: &Request<'_>) -> Plan<'a> {
    // An array would be read as the members in order.
    let object = request.params.notifications.filter(|raw| raw.get().starts_with('{'));
    let Some(object) = object else {
        return Plan::Reject(Refusal::InvalidParams(
            "`notifications` must be an object".to_owned(),
        ));
    };
    match serde_json::from_str::<Filter>(object.get()) {
        Err(error) => Plan::Reject(Refusal::InvalidParams(format!("`notifications`: {error}"))),
        Ok(filter)
            if filter.resource_subscriptions.len() > limits::SUBSCRIPTIONS_MAX
                || filter
                    .resource_subscriptions
                    .iter()
                    .any(|uri| uri.len() > limits::SUBSCRIPTION_URI_BYTES_MAX) =>
        {
            Plan::Reject(Refusal::InvalidParams(format!(
                "`resourceSubscriptions` has at most {} items of at most {} bytes",
                limits::SUBSCRIPTIONS_MAX,
                limits::SUBSCRIPTION_URI_BYTES_MAX
            )))
        }
        Ok(filter) => Plan::Hear(filter),
    }
}

/// An empty result.
fn result(id: &RawValue) -> Reply {
    Reply::json(200, format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, id.get()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn session() -> Session {
        Session {
            id: shared::SessionId::from_random([1; 32]),
            scope: Scope::default(),
            revision: "2025-06-18".to_owned(),
            client: RawValue::from_string("{}".to_owned()).unwrap().into(),
            level: Some("error".to_owned()),
            options: Options::default(),
            seen: shared::Millis(0),
        }
    }

    /// What is planned for a request, in one word and its argument.
    fn planned(path: &str, era: Era, with_session: bool, method: &str, params: &str) -> String {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let body = RawValue::from_string(body).unwrap();
        let Ok(Message::Request(request)) = Message::parse(&body) else { panic!("{body}") };
        let (config, session) = (Config::default(), session());
        let user = UserId::parse("u").unwrap();
        let scope = Scope::parse_path(path, &config.levels).unwrap();
        let call = CallId::from_random([7; 8]);
        let options = Options::default();
        let (config, user, scope) = (&config, &user, &scope);
        let place = Place { config, user, scope, options: &options, call: &call };
        match plan(place, era, with_session.then_some(&session), &request) {
            Plan::Answer(reply) => format!("answer {}", reply.body.unwrap_or_default()),
            Plan::Forward(key, Peer::Modern) => format!("forward {}", key.object_name()),
            Plan::Forward(key, peer) => {
                assert!(
                    matches!(peer, Peer::Handshake { session: Some(id), revision, level: Some(level), .. }
                    if id == session.id && revision == "2025-06-18" && level == "error")
                );
                format!("forward {}", key.object_name())
            }
            Plan::Spread(key, _, spread) => {
                format!("spread {} {}", key.object_name(), spread.limit)
            }
            Plan::Begin(key, opening) => {
                format!("begin {} {}", key.object_name(), opening.revision)
            }
            Plan::SetLevel(level, _) => format!("level {level}"),
            Plan::Subscribe { uri, wanted, .. } => format!("subscribe {uri} {wanted}"),
            Plan::Hear(filter) => format!("hear {filter:?}"),
            Plan::Reject(refusal) => format!("reject {} {refusal}", refusal.row(true).1),
        }
    }

    fn check(path: &str, method: &str, params: &str, expected: &str) {
        assert_eq!(planned(path, Era::Handshake, true, method, params), expected, "{params}");
    }

    #[test]
    fn a_filter_is_an_object() {
        let hear = |filter: &str| {
            let params = format!(r#"{{"notifications":{filter}}}"#);
            planned("/mcp", Era::Modern, false, "subscriptions/listen", &params)
        };
        assert!(hear(r#"{"toolsListChanged":true}"#).starts_with("hear"));
        assert!(hear("{}").starts_with("hear"));
        for filter in ["null", "[]", "[true]", "[true,true,true,[]]", "\"all\"", "1"] {
            assert_eq!(hear(filter), "reject -32602 `notifications` must be an object");
        }
        let none = planned("/mcp", Era::Modern, false, "subscriptions/listen", "{}");
        assert_eq!(none, "reject -32602 `notifications` must be an object");
    }

    #[test]
    fn every_class_has_its_plan() {
        check("/mcp", "ping", "{}", r#"answer {"jsonrpc":"2.0","id":1,"result":{}}"#);
        check("/mcp/acme", "tools/list", "{}", "forward u:acme");
        check("/mcp", "logging/setLevel", r#"{"level":"debug"}"#, "level debug");
        let levels = "`level` must be one of debug, info, notice, warning, error, critical, \
                      alert, emergency";
        let bad_level = format!("reject -32602 {levels}");
        check("/mcp", "logging/setLevel", r#"{"level":"loud"}"#, &bad_level);
        check("/mcp", "logging/setLevel", "{}", &bad_level);
        check("/mcp", "no/such", "{}", "reject -32601 there is no method no/such");
    }

    #[test]
    fn a_session_begins_outside_of_one_only() {
        let params = r#"{"protocolVersion":"2025-06-18","capabilities":{},
            "clientInfo":{"name":"c","version":"1"}}"#;
        let begin = |with| planned("/mcp/acme", Era::Handshake, with, "initialize", params);
        assert_eq!(begin(false), "begin u:acme 2025-06-18");
        assert!(begin(true).starts_with("reject -32600 this session is initialized already"));
        let bad = planned("/mcp", Era::Handshake, false, "initialize", "{}");
        assert!(bad.starts_with("reject -32602 the params of initialize do not fit"), "{bad}");
    }
}
