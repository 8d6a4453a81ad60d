//! Credentials of a user at upstreams: connected, handed to Agents a request at a time, refreshed
//! by one for all who wait. It must not know how anything is sealed, nor what a page shows.

use super::{User, streaming::LISTS};
use crate::{
    vault::{Held, Kept, Safe},
    world::World,
};
use futures_channel::oneshot;
use identity::{
    account::{Connection, ConnectionState, Reply},
    upstream_login::{
        self, Attempt, Returned,
        discovery::{self, Server},
        registration::{self, Client},
        tokens::{self, Granted},
    },
};
use shared::{
    Error, Kind, Millis,
    config::{Address, Credential},
    database::Database,
    hop::{CredentialHop, CredentialReply},
    limits,
    outside::{Answer, Request},
};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// How a refresh ended, where it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// There are newer tokens, and they are kept.
    Renewed,
    /// There is no credential any more.
    Over,
}

type Refreshed = Result<Ended, Error>;

/// The refreshes that are on their way, and those that failed just now.
#[derive(Debug, Default)]
pub(super) struct Refreshes {
    waiting: RefCell<BTreeMap<String, Vec<oneshot::Sender<Refreshed>>>>,
    failed: RefCell<BTreeMap<String, (Millis, Error)>>,
}

impl Refreshes {
    /// What is said of a refresh that failed just now.
    fn failure(&self, name: &str, now: Millis) -> Option<Error> {
        let failed = self.failed.borrow();
        failed.get(name).filter(|(until, _)| now < *until).map(|(_, error)| error.clone())
    }

    /// Tells whoever waits.
    fn end(&self, name: &str, refreshed: &Refreshed, now: Millis) {
        match refreshed {
            Ok(_) => self.failed.borrow_mut().remove(name),
            Err(error) => {
                let until = now.after(limits::REFRESH_PAUSE_MS);
                self.failed.borrow_mut().insert(name.to_owned(), (until, error.clone()))
            }
        };
        let waiting = self.waiting.borrow_mut().remove(name).unwrap_or_default();
        for waiting in waiting {
            // One that is gone by now needs no answer.
            let _ = waiting.send(refreshed.clone());
        }
    }
}

/// What is known of where a credential is connected.
struct Found {
    server: Server,
    resource: String,
    scopes: Vec<String>,
}

impl<D: Database + 'static> User<D> {
    /// Answers an Agent that asks for a token. Says too when the object is to be woken.
    ///
    /// # Errors
    /// [`Kind::Conflict`] for an Agent of another user; why there is no token now, although there
    /// is a credential.
    pub async fn credential<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        hop: &CredentialHop,
    ) -> Result<(CredentialReply, Option<Millis>), Error> {
        self.check_own(&hop.user)?;
        let credential = self.configured_credential(&hop.credential)?;
        if self.is_barred(credential)? {
            let text =
                format!("{} is blocked; on your account's page you can end that", credential.name);
            return Err(Error::new(Kind::Forbidden, text));
        }
        let Some(held) = self.held(world.as_ref(), credential)? else {
            return Ok((connect(world.as_ref(), credential, false), None));
        };
        let now = world.now();
        let is_rejected = hop.rejected.as_ref().is_some_and(|id| *id == held.kept.id());
        if held.is_over {
            return Ok((connect(world.as_ref(), credential, true), None));
        }
        // One that is refused although it is new is all there is.
        if held.is_good(now) && (!is_rejected || held.is_young(now)) {
            return self.handed_out(&held);
        }
        if held.kept.refresh.is_none() {
            self.vault.end(&held)?;
            return Ok((connect(world.as_ref(), credential, true), None));
        }
        let refreshed = self.refreshed(world, &held.name).await;
        // What is kept is what counts, and it may be another by now.
        match (refreshed, self.held(world.as_ref(), credential)?) {
            (Ok(Ended::Renewed), Some(held)) if !held.is_over => self.handed_out(&held),
            (Ok(_), held) => Ok((connect(world.as_ref(), credential, held.is_some()), None)),
            (Err(_), Some(held)) if held.is_alive(world.now()) && !is_rejected => {
                self.handed_out(&held)
            }
            (Err(error), _) => Err(error),
        }
    }

    fn handed_out(&self, held: &Held) -> Result<(CredentialReply, Option<Millis>), Error> {
        let wake = self.vault.use_now(held)?;
        let (token, id) = (held.kept.access.clone(), held.kept.id());
        Ok((CredentialReply::Token { token, id }, wake))
    }

    fn configured_credential(&self, name: &str) -> Result<&Credential, Error> {
        let known = self.config.credential(name);
        known.ok_or_else(|| Error::new(Kind::NotFound, "there is no such credential"))
    }

    /// The credential as it is kept, if it is still what the configuration means by its name: a
    /// token is for one server, and no other gets it.
    fn held<W: World>(&self, world: &W, of: &Credential) -> Result<Option<Held>, Error> {
        let random = || world.random();
        let held = self.vault.find(&self.safe(world, &random)?, &of.name)?;
        Ok(held.filter(|held| held.kept.fingerprint == of.fingerprint()))
    }

    fn safe<'a, W: World>(
        &'a self,
        world: &W,
        random: &'a dyn Fn() -> Result<[u8; 32], Error>,
    ) -> Result<Safe<'a>, Error> {
        let ring = world.ring().ok_or_else(|| {
            let text = "no credentials are kept here: the operator has to set KEYRING";
            Error::new(Kind::Unavailable, text)
        })?;
        Ok(Safe { ring, user: &self.id, random })
    }

    /// Refreshes a credential, or waits for whoever does. The work is nobody's who waits: it is
    /// finished, and what comes of it kept, although all of them have gone.
    async fn refreshed<W: World>(self: &Rc<Self>, world: &Rc<W>, name: &str) -> Refreshed {
        if let Some(error) = self.refreshes.failure(name, world.now()) {
            return Err(error);
        }
        let (sender, receiver) = oneshot::channel();
        self.begin_refresh(world, name, Some(sender))?;
        let lost = || Error::new(Kind::Unavailable, "a refresh was broken off; try again");
        receiver.await.unwrap_or_else(|oneshot::Canceled| Err(lost()))
    }

    fn begin_refresh<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        name: &str,
        sender: Option<oneshot::Sender<Refreshed>>,
    ) -> Result<(), Error> {
        let mut waiting = self.refreshes.waiting.borrow_mut();
        if let Some(waiting) = waiting.get_mut(name) {
            if waiting.len() >= limits::REFRESH_WAITING_MAX {
                let text = "too many requests wait for the same credential; try again";
                return Err(Error::new(Kind::Limit, text));
            }
            waiting.extend(sender);
            return Ok(());
        }
        waiting.insert(name.to_owned(), Vec::from_iter(sender));
        drop(waiting);
        let (user, near, name) = (Rc::clone(self), Rc::clone(world), name.to_owned());
        world.spawn(Box::pin(async move {
            let refreshed = user.refresh(near.as_ref(), &name).await;
            if let Err(error) = &refreshed {
                near.log(error);
            }
            user.refreshes.end(&name, &refreshed, near.now());
        }));
        Ok(())
    }

    /// Asks for newer tokens, and keeps them before anybody has them.
    async fn refresh<W: World>(&self, world: &W, name: &str) -> Refreshed {
        let credential = self.configured_credential(name)?;
        let Some(held) = self.held(world, credential)?.filter(|held| !held.is_over) else {
            return Ok(Ended::Over);
        };
        let Some(refresh) = &held.kept.refresh else {
            return Ok(Ended::Over);
        };
        let Kept { token_endpoint, resource, .. } = &held.kept;
        let client = current(world, credential, &held.kept.client);
        let request = tokens::for_refresh(token_endpoint, &client, refresh, resource);
        let answer = match world.ask(request.clone()).await {
            Ok(answer) => Ok(answer),
            // Whether it was heard is not known. If it was, the token may be spent, and then a
            // second try is no worse than none.
            Err(_) => world.ask(request).await,
        };
        let granted = answer.map_or_else(Granted::Later, |answer| tokens::read(&answer));
        let failed = |kind, text: String, why: String| Err(Error::new(kind, text).with_detail(why));
        match granted {
            Granted::Tokens(tokens) => {
                let random = || world.random();
                let kept = held.kept.clone().renewed(tokens);
                // Where it was connected anew meanwhile, that counts, and this is not kept.
                self.vault.renew(&self.safe(world, &random)?, &held, &kept, world.now())?;
                Ok(Ended::Renewed)
            }
            Granted::Over => {
                self.vault.end(&held)?;
                Ok(Ended::Over)
            }
            // A refresh token is bound to the client that got it (RFC 6749, 10.4).
            Granted::Stranger if credential.client.is_none() => {
                let random = || world.random();
                self.vault.forget_client(&self.safe(world, &random)?, &client.id)?;
                self.vault.end(&held)?;
                Ok(Ended::Over)
            }
            Granted::Stranger => {
                let text = format!("the authorization server of `{name}` does not know this site");
                failed(Kind::Upstream, text, "client_id or client_secret".to_owned())
            }
            Granted::No(why) => {
                let text = format!("the authorization server of `{name}` does not renew it");
                failed(Kind::Upstream, text, why)
            }
            Granted::Later(why) => {
                let text =
                    format!("the authorization server of `{name}` does not answer now; try again");
                failed(Kind::Unavailable, text, why)
            }
        }
    }

    /// Refreshes what is in use and runs out soon, and says when to look again.
    ///
    /// # Errors
    /// The database's own.
    pub(super) fn refresh_due<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        now: Millis,
    ) -> Result<Option<Millis>, Error> {
        for name in self.vault.take_due(now)? {
            // What is blocked is refreshed when somebody may have it again.
            let configured = self.config.credential(&name);
            if configured.map_or(Ok(false), |credential| self.is_barred(credential))? {
                continue;
            }
            self.begin_refresh(world, &name, None)?;
        }
        self.vault.expire(now)
    }

    /// Begins to connect a credential: says where the browser goes, and until when it may come back.
    ///
    /// # Errors
    /// Why it cannot be connected.
    pub async fn connect<W: World>(
        &self,
        world: &W,
        name: &str,
        redirect: &str,
    ) -> Result<(Reply, Millis), Error> {
        let credential = self.configured_credential(name)?;
        let random = || world.random();
        let safe = self.safe(world, &random)?;
        let Found { server, resource, scopes } = self.discover(world, credential).await?;
        let client = self.client(world, &safe, credential, &server, redirect, &scopes).await?;
        let state = upstream_login::unguessable(world.random()?);
        let attempt = Attempt {
            credential: name.to_owned(),
            fingerprint: credential.fingerprint(),
            verifier: upstream_login::unguessable(world.random()?),
            redirect: redirect.to_owned(),
            resource,
            issuer: server.issuer.clone(),
            names_itself: server.names_itself,
            token_endpoint: server.token.clone(),
            revocation_endpoint: server.revocation.clone(),
            client,
        };
        let until = self.vault.begin(&safe, &state, &attempt, world.now())?;
        let address = upstream_login::authorization_address(&server, &attempt, &state, &scopes);
        Ok((Reply::Go(address), until))
    }

    /// Who this program is at the authorization server.
    async fn client<W: World>(
        &self,
        world: &W,
        safe: &Safe<'_>,
        credential: &Credential,
        server: &Server,
        redirect: &str,
        scopes: &[String],
    ) -> Result<Client, Error> {
        if let Some(client) = &credential.client {
            let secret = client.secret.as_ref().and_then(|name| world.secret(name));
            return Ok(Client::configured(server, &client.id, secret));
        }
        let endpoint = server.registration.as_deref().ok_or_else(|| {
            let text = "the authorization server does not let sites register themselves; the \
                        operator has to configure a client_id";
            Error::new(Kind::Upstream, text)
        })?;
        let place = format!("{endpoint} {redirect}");
        if let Some(client) = self.vault.client(safe, &place, world.now())? {
            return Ok(client);
        }
        let request = registration::request(server, endpoint, redirect, scopes);
        let client = registration::read(&asked(world, request).await?, server)?;
        self.vault.keep_client(safe, &place, &client, world.now())?;
        Ok(client)
    }

    /// Finds out where a credential is connected, as far as it is not written down.
    async fn discover<W: World>(&self, world: &W, credential: &Credential) -> Result<Found, Error> {
        let is_development = self.config.is_development;
        let resource = credential.resource.clone();
        if let Some(endpoints) = &credential.endpoints {
            let server = Server { issuer: credential.issuer.clone(), ..Server::from(endpoints) };
            return Ok(Found { server, resource, scopes: credential.scopes.clone() });
        }
        let challenge = match world.ask(discovery::probe(&resource)).await {
            Ok(answer) => discovery::challenge(&answer, is_development),
            // It may still be described at its well-known places.
            Err(_) => discovery::Challenge::default(),
        };
        let at = parsed(&resource, is_development)?;
        let addresses = discovery::resource_addresses(&at, &challenge);
        let described =
            first(world, addresses, |answer| discovery::resource(answer, &at, is_development));
        let described = match (&credential.issuer, described.await) {
            (_, Ok(described)) => Some(described),
            // One that says nothing of itself is its own authorization server (MCP 2025-03-26), or
            // has the one that is written down.
            (Some(_), Err(_)) => None,
            (None, Err(error)) if challenge.metadata.is_some() => return Err(error),
            (None, Err(_)) => None,
        };
        let named = described.as_ref().map(|described| described.issuer.clone());
        let issuer = credential.issuer.clone().or(named).unwrap_or_else(|| at.origin.clone());
        let addresses = discovery::server_addresses(&parsed(&issuer, is_development)?);
        let server =
            first(world, addresses, |answer| discovery::server(answer, &issuer, is_development));
        let server = server.await?;
        let offered = described.as_ref().map_or(&[][..], |described| &described.scopes);
        let asked = challenge.scope.as_deref();
        let scopes = upstream_login::scopes(&credential.scopes, asked, offered, &server);
        let resource = described.map_or(resource, |described| described.resource);
        Ok(Found { server, resource, scopes })
    }

    /// A browser comes back from an authorization server.
    ///
    /// # Errors
    /// Why nothing was connected.
    pub async fn connected<W: World>(
        &self,
        world: &W,
        state: &str,
        returned: &Returned,
    ) -> Result<Reply, Error> {
        let random = || world.random();
        let safe = self.safe(world, &random)?;
        let attempt = self.vault.take(&safe, state, world.now())?;
        let name = attempt.credential.clone();
        if self.configured_credential(&name)?.fingerprint() != attempt.fingerprint {
            let text = "this credential was configured anew meanwhile; connect it again";
            return Err(Error::new(Kind::Invalid, text));
        }
        let code = upstream_login::code(&attempt, returned)?;
        let answer = asked(world, tokens::for_code(&attempt, &code)).await?;
        match tokens::read(&answer) {
            Granted::Tokens(tokens) => {
                let kept = Kept::connected(attempt, tokens);
                self.vault.put(&safe, &name, &kept, world.now())?;
                self.lists_changed(world)?;
                Ok(Reply::Done)
            }
            refused => {
                if refused == Granted::Stranger {
                    self.vault.forget_client(&safe, &attempt.client.id)?;
                }
                let text = "the authorization server gave no token; connect it again";
                Err(Error::new(Kind::Upstream, text).with_detail(format!("{refused:?}")))
            }
        }
    }

    /// Ends a credential.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where there is none.
    pub fn disconnect<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        name: &str,
    ) -> Result<Reply, Error> {
        let random = || world.random();
        // What cannot be read is forgotten all the same.
        let safe = self.safe(world.as_ref(), &random).ok();
        let held = safe.map_or(Ok(None), |safe| self.vault.find(&safe, name))?;
        if !self.vault.forget(name)? {
            return Err(Error::new(Kind::NotFound, "this credential is not connected"));
        }
        if let Some(held) = held {
            self.give_back(world, held);
        }
        self.lists_changed(world.as_ref())?;
        Ok(Reply::Done)
    }

    /// Tells the authorization server, where it wants to know, that tokens are not wanted any more. Here
    /// they are gone already, so nobody waits for that.
    fn give_back<W: World>(self: &Rc<Self>, world: &Rc<W>, held: Held) {
        let Some(endpoint) = held.kept.revocation_endpoint else {
            return;
        };
        let client = match self.config.credential(&held.name) {
            Some(credential) => current(world.as_ref(), credential, &held.kept.client),
            None => held.kept.client,
        };
        let is_refresh = held.kept.refresh.is_some();
        let token = held.kept.refresh.unwrap_or(held.kept.access);
        let request = tokens::for_revocation(&endpoint, &client, &token, is_refresh);
        let (near, name) = (Rc::clone(world), held.name);
        world.spawn(Box::pin(async move {
            let why = match near.ask(request).await {
                Ok(answer) if answer.status < 400 => return,
                Ok(answer) => format!("HTTP status {}", answer.status),
                Err(why) => why,
            };
            let text = format!("the authorization server of `{name}` did not take its token back");
            near.log(&Error::new(Kind::Upstream, text).with_detail(why));
        }));
    }

    /// Every credential that toolsets ask for, and how it stands. Without keys there is none.
    ///
    /// # Errors
    /// The database's own.
    pub fn connections<W: World>(&self, world: &W) -> Result<Vec<Connection>, Error> {
        if world.ring().is_none() {
            return Ok(Vec::new());
        }
        let mut connections = Vec::new();
        for credential in &self.config.credentials {
            let toolsets = self.config.toolsets_with(&credential.name);
            if toolsets.is_empty() {
                continue;
            }
            let state = match self.held(world, credential)? {
                None => ConnectionState::Missing,
                Some(held) if held.is_over => ConnectionState::Expired,
                Some(held) => {
                    ConnectionState::Connected { since: held.since, expires: held.expires() }
                }
            };
            connections.push(Connection { credential: credential.name.clone(), toolsets, state });
        }
        Ok(connections)
    }

    /// What a toolset has may be another thing now: whoever listens asks again.
    fn lists_changed<W: World>(&self, world: &W) -> Result<(), Error> {
        if !self.streams.is_heard()? {
            return Ok(());
        }
        let streams = self.streams.hearing()?;
        self.tell_all(world, &streams, &LISTS, |_, _| true).map(drop)
    }
}

/// The client as it is configured now, where it is: its secret may have been changed.
fn current<W: World>(world: &W, credential: &Credential, kept: &Client) -> Client {
    let configured = credential.client.as_ref().filter(|client| client.id == kept.id);
    let secret = configured.and_then(|client| world.secret(client.secret.as_ref()?));
    match secret {
        Some(secret) => Client { secret: Some(secret), ..kept.clone() },
        None => kept.clone(),
    }
}

/// That a credential must be connected, and where.
fn connect<W: World>(world: &W, credential: &Credential, is_over: bool) -> CredentialReply {
    let url = world.origin().map(|origin| format!("{origin}/connect/{}", credential.name));
    CredentialReply::Connect { url, is_over }
}

fn parsed(address: &str, is_development: bool) -> Result<Address, Error> {
    Address::parse(address, is_development).map_err(|error| {
        let text = format!("the authorization server cannot be asked: {error}");
        Error::new(Kind::Upstream, text)
    })
}

async fn asked<W: World>(world: &W, request: Request) -> Result<Answer, Error> {
    world.ask(request).await.map_err(|why| {
        let text = "the authorization server cannot be reached now; try again";
        Error::new(Kind::Upstream, text).with_detail(why)
    })
}

/// The first of several documents that is what is looked for, or what is wrong with the last.
async fn first<W: World, T>(
    world: &W,
    addresses: Vec<String>,
    read: impl Fn(&Answer) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut failed = None;
    for address in addresses {
        let answer = asked(world, discovery::document(address)).await;
        match answer.and_then(|answer| read(&answer)) {
            Ok(found) => return Ok(found),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| Error::internal("no address to ask")))
}
