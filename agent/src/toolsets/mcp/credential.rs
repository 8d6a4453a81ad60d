//! The user's own credentials, as requests to a server carry them: pulled from the user's router for
//! each request, and held no longer. Where one is not there, its user is asked to connect it. It
//! must not know how a credential is kept or refreshed.

use crate::{platform::Platform, toolset::Visit};
use futures_util::future::LocalBoxFuture;
use rmcp::model::JsonObject;
use serde_json::{Value, json};
use shared::{
    Error, Kind,
    config::{self, Source},
    gathered,
    hop::CredentialReply,
    limits,
};
use std::{fmt::Write as _, rc::Rc};
use upstream::{Fault, Request, Response};

/// A credential that every request to a server carries.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Need {
    /// Its name in the configuration.
    credential: String,
    /// The header that carries it.
    header: String,
    /// What comes before it there.
    scheme: &'static str,
}

/// The credentials that a toolset's requests carry.
#[derive(Debug, Clone)]
pub(super) struct Needs {
    toolset: Rc<str>,
    /// The one that says who asks comes first.
    all: Rc<[Need]>,
}

/// That a credential must be connected.
struct Lack {
    credential: String,
    url: Option<String>,
    is_over: bool,
}

impl Lack {
    fn error(&self, toolset: &str) -> Error {
        let Self { credential, url, is_over } = self;
        let what = match is_over {
            true => format!(
                "{toolset} needs re-authentication: your credential `{credential}` is no \
                             longer good; connect it again"
            ),
            false => format!(
                "{toolset} needs your credential `{credential}`, and you have not \
                              connected it; connect it"
            ),
        };
        let place = match url {
            Some(url) => format!("at {url}"),
            None => "on your account page".to_owned(),
        };
        Error::new(Kind::Unauthenticated, format!("{what} {place} and try again"))
    }
}

impl Needs {
    /// What the requests of a toolset carry.
    pub(super) fn of(toolset: &str, remote: &config::Upstream) -> Self {
        let need = |source: &Source, header: &str, scheme| match source {
            Source::Credential(name) => {
                Some(Need { credential: name.clone(), header: header.to_owned(), scheme })
            }
            Source::Text(_) | Source::Secret(_) => None,
        };
        let auth = remote.auth.as_ref().and_then(|auth| need(auth, "authorization", "Bearer "));
        let headers = remote.headers.iter().filter_map(|(name, from)| need(from, name, ""));
        Self { toolset: toolset.into(), all: auth.into_iter().chain(headers).collect() }
    }

    /// Sends a request with whatever it needs. A 401 says that nothing was done: then the same is
    /// sent once more with another token, if there is one.
    pub(super) fn send(
        &self,
        platform: &Rc<dyn Platform>,
        request: Request,
    ) -> LocalBoxFuture<'static, Result<Response, Fault>> {
        let (needs, platform) = (self.clone(), Rc::clone(platform));
        Box::pin(async move {
            let send = |request| async { platform.send(request).await.map_err(Fault::Unreachable) };
            if needs.all.is_empty() {
                return send(request).await;
            }
            let (armed, sent) = needs.armed(&*platform, request.clone(), None).await?;
            let response = send(armed).await?;
            if response.status != 401 {
                return Ok(response);
            }
            match needs.armed(&*platform, request, sent.clone()).await {
                Ok((armed, newer)) if newer != sent => {
                    drop(response);
                    send(armed).await
                }
                // There is no other: the server's word stands.
                Ok(_) => Ok(response),
                Err(fault) => Err(fault),
            }
        })
    }

    /// The request with its credentials, and what the first of them is known by. `rejected` is what
    /// the server refused it as.
    async fn armed(
        &self,
        platform: &dyn Platform,
        mut request: Request,
        rejected: Option<String>,
    ) -> Result<(Request, Option<String>), Fault> {
        let mut rejected = rejected;
        let mut first = None;
        for need in &*self.all {
            // Which of several it was that a server refused it does not say.
            let reply = platform.credential(&need.credential, rejected.take()).await;
            match reply.map_err(Fault::Credential)? {
                CredentialReply::Token { token, id } => {
                    request.headers.push((need.header.clone(), format!("{}{token}", need.scheme)));
                    first.get_or_insert(id);
                }
                CredentialReply::Connect { url, is_over } => {
                    let lack = Lack { credential: need.credential.clone(), url, is_over };
                    return Err(Fault::Credential(lack.error(&self.toolset)));
                }
            }
        }
        Ok((request, first))
    }

    /// The first credential that has to be connected.
    async fn lack(&self, platform: &dyn Platform) -> Option<Lack> {
        for Need { credential, .. } in &*self.all {
            if let Ok(CredentialReply::Connect { url, is_over }) =
                platform.credential(credential, None).await
            {
                return Some(Lack { credential: credential.clone(), url, is_over });
            }
        }
        None
    }

    /// Has whoever asks connect what is lacking, where their client can be asked for that, and waits
    /// until they have; whether they have.
    pub(super) async fn connect(&self, platform: &dyn Platform, visit: &Visit) -> bool {
        let mut has_connected = false;
        while let Some(lack) = self.lack(platform).await {
            let Some(url) = &lack.url else {
                return false;
            };
            let mut id = String::new();
            for byte in platform.random() {
                let _ = write!(id, "{byte:02x}");
            }
            if !self.agreed(visit, &lack, url, &id).await
                || !is_there(platform, &lack.credential).await
            {
                return false;
            }
            has_connected = true;
            // The client need not ask any more (2025-11-25, elicitation: completion). In 2026-07-28 it
            // knows no such id.
            if visit.client.session().is_some() {
                let params = gathered([("elicitationId".to_owned(), Value::from(id))]);
                visit.reporter.relay("notifications/elicitation/complete", params).await;
            }
        }
        has_connected
    }

    /// Whether the user agrees to open a page (2025-11-25 and 2026-07-28, elicitation: URL mode).
    async fn agreed(&self, visit: &Visit, lack: &Lack, url: &str, id: &str) -> bool {
        use crate::client::Question;
        let message = format!(
            "{} needs your credential `{}`. Open this page to connect it.",
            self.toolset, lack.credential
        );
        let params: JsonObject = gathered(
            [("mode", "url"), ("message", &message), ("url", url), ("elicitationId", id)]
                .map(|(name, value)| (name.to_owned(), json!(value))),
        );
        let question = Question::of("elicitation/create", params);
        if !visit.client.can(&question) {
            return false;
        }
        let key = format!("connect.{}", lack.credential);
        // A client that cannot be asked now is told in the result.
        let answers = visit.client.ask_all(vec![(key, question)]).await.unwrap_or_default();
        answers.first().and_then(|answer| answer.get("action")?.as_str()) == Some("accept")
    }
}

/// Waits for a credential, as long as a user may take to connect it.
async fn is_there(platform: &dyn Platform, credential: &str) -> bool {
    let began = platform.now();
    loop {
        match platform.credential(credential, None).await {
            Ok(CredentialReply::Token { .. }) => return true,
            Ok(CredentialReply::Connect { .. }) | Err(_) => {}
        }
        if platform.now().since(began) >= limits::CONNECT_WAIT_MS {
            return false;
        }
        platform.sleep(limits::CONNECT_POLL_MS).await;
    }
}
