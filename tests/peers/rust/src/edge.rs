//! The edge of both rivals: the product's own rules, applied in the Worker. It must not know how
//! a call is served.

use router::{
    auth::Keys,
    http::{Admission, Arrival, Incoming, Reply, admit, list},
    message::{Body, Message, Request},
    plan::{Place, Plan, plan},
    protocol::{self, Era},
    refusal::Refusal,
};
use shared::{
    AgentKey, Error, Scope, UserId,
    cloudflare::{config, fetch, queue_by_promise, variable},
    config::Config,
    hop::{CallId, Options, Peer},
};
use worker::{Env, web_sys};

/// What an isolate knows: read once, because nothing of it changes.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) config: Config,
    keys: Keys,
    admission: Admission,
}

/// An admitted call: who calls where, and what they sent.
#[derive(Debug)]
pub(crate) struct Call {
    user: UserId,
    scope: Scope,
    pub(crate) incoming: Incoming,
}

impl Edge {
    pub(crate) fn read(env: &Env) -> Result<Self, Error> {
        queue_by_promise();
        let text = |name| variable(env, name).unwrap_or_default();
        let keys = Keys::parse(&text("API_KEYS"), &text("DEV_KEYS"), &text("DEV_USER"))
            .map_err(|error| Error::internal(error.to_string()))?;
        let admission = Admission {
            hosts: list(&text("ALLOWED_HOSTS")),
            origins: list(&text("ALLOWED_ORIGINS")),
        };
        Ok(Self { config: config(env)?, keys, admission })
    }

    /// What the product's entry and then its router look at. `url` has lost the rival's prefix.
    pub(crate) async fn admit(
        &self,
        url: &str,
        request: &web_sys::Request,
    ) -> Result<Call, Refusal> {
        let failed = |error| Refusal::InvalidRequest(format!("the body broke off: {error}"));
        let headers = request.headers();
        let header = |name| headers.get(name).ok().flatten();
        let (origin, length) = (header("origin"), header("content-length"));
        let arrival = Arrival {
            url,
            method: &request.method(),
            origin: origin.as_deref(),
            content_length: length.as_deref(),
        };
        let admitted = admit(&arrival, &self.admission, &self.config.levels)?;
        let authorization = header("authorization");
        let identity = self.keys.identify(authorization.as_deref(), admitted.loopback)?;
        let incoming = Incoming {
            accept: header("accept"),
            content_type: header("content-type"),
            session: None,
            revision: header("mcp-protocol-version"),
            mcp_method: header("mcp-method"),
            mcp_name: header("mcp-name"),
            last_event: None,
            mirrors: Vec::new(),
            body: fetch::text(request.text()).await.map_err(failed)?,
        };
        incoming.check_message()?;
        Ok(Call { user: identity.user, scope: admitted.address.scope, incoming })
    }
}

impl Call {
    /// The request in the body.
    pub(crate) fn request(&self) -> Result<Request<'_>, Reply> {
        let raw = match Body::parse(&self.incoming.body) {
            Ok(Body::One(raw)) => raw,
            Ok(Body::Batch(_)) => return Err(Reply::empty(400)),
            Err(refusal) => return Err(refusal.reply(None, true)),
        };
        match Message::parse(raw) {
            Ok(Message::Request(request)) => Ok(request),
            Ok(_) => Err(Reply::empty(202)),
            Err(unreadable) => Err(unreadable.refusal.reply(unreadable.id, true)),
        }
    }

    /// Which Agent serves it, by the product's rules and plan.
    pub(crate) fn plan<'a>(
        &self,
        config: &Config,
        request: &'a Request<'a>,
    ) -> Result<(AgentKey, Peer<'a>), Reply> {
        let refuse = |refusal: Refusal| refusal.reply(Some(request.id), true);
        protocol::check_modern(&self.incoming, request).map_err(refuse)?;
        // Nothing is said to a call of this era while it runs.
        let call = CallId::from_random([0; 8]);
        let options = &Options::default();
        let place = Place { config, user: &self.user, scope: &self.scope, options, call: &call };
        match plan(place, Era::Modern, None, request) {
            Plan::Forward(key, peer) => Ok((key, peer)),
            Plan::Reject(refusal) => Err(refuse(refusal)),
            _ => Err(refuse(Refusal::MethodNotFound(request.method.to_string()))),
        }
    }
}
