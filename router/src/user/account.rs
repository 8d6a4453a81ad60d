//! A user's own account: what the user's page shows and ends, and which requests are let in by what it
//! says. It must not know pages, nor how anybody proved to be this user.

use super::{User, Visit};
use crate::{clients::Info, refusal::Refusal, user::stopping::Ending, world::World};
use identity::{
    account::{Hop, NewKey, Overview, Reply, Request, Target},
    caller::{Caller, Credential},
    key,
    upstream_login::Returned,
};
use shared::{
    Error, Kind, Millis, Scope,
    config::{self, Level},
    database::{Database, has_table},
    error::shown,
    hop::Holder,
    limits,
};
use std::rc::Rc;

const PROFILE: &str = "CREATE TABLE IF NOT EXISTS profile (
    one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL)";

/// How a credential is named where what it runs is ended.
fn name(credential: &Credential) -> String {
    match credential {
        Credential::Key(id) => named_key(id),
        Credential::Grant { grant, .. } => named_grant(grant),
        Credential::Static | Credential::External { .. } => String::new(),
    }
}

const KEY: &str = "key ";
const GRANT: &str = "grant ";

fn named_key(id: &str) -> String {
    format!("{KEY}{id}")
}

fn named_grant(grant: &str) -> String {
    format!("{GRANT}{grant}")
}

impl<D: Database + 'static> User<D> {
    /// Whether a credential is good still. One that was revoked or ended is as good as unknown.
    pub(super) fn check_credential(&self, caller: &Caller, now: Millis) -> Result<(), Refusal> {
        let is_good = match &caller.credential {
            Credential::Key(id) => self.keys.use_key(id, now)?,
            Credential::Grant { .. } => !self.barred.is_ended(&caller.credential)?,
            Credential::Static | Credential::External { .. } => true,
        };
        if is_good { Ok(()) } else { Err(Refusal::Unauthenticated) }
    }

    /// Whether the credential that let somebody in was revoked or ended since.
    pub(super) fn is_over(&self, holder: &Holder) -> Result<bool, Error> {
        if let Some(id) = holder.credential.strip_prefix(KEY) {
            return self.keys.is_there(id).map(|is_there| !is_there);
        }
        match holder.credential.strip_prefix(GRANT) {
            Some(grant) => Ok(self.barred.all()?.grants.contains(grant)),
            None => Ok(false),
        }
    }

    /// Whether anything has ended what this holder may do in a scope.
    pub(super) fn is_ended(&self, scope: &Scope, holder: &Holder) -> Result<bool, Error> {
        Ok(self.is_over(holder)? || self.barred.all()?.bar(scope, holder).is_some())
    }

    /// Whether what let a request in is good still, where something was waited for since.
    pub(super) fn check_still(&self, visit: Visit<'_>, scope: &Scope) -> Result<(), Refusal> {
        self.check_bars(scope, visit.holder)?;
        match self.is_over(visit.holder)? {
            true => Err(Refusal::Unauthenticated),
            false => Ok(()),
        }
    }

    /// Whether a scope is blocked, or the user is.
    pub(super) fn check_scope(&self, scope: &Scope) -> Result<(), Refusal> {
        self.check_bars(scope, &Holder::default())
    }

    fn check_bars(&self, scope: &Scope, holder: &Holder) -> Result<(), Refusal> {
        let bars = self.barred.all()?;
        match bars.bar(scope, holder) {
            None => Ok(()),
            Some(target) => Err(Refusal::Blocked(describe(target))),
        }
    }

    /// Who asks.
    pub(super) fn holder(info: &Info<'_>, caller: &Caller) -> Holder {
        let credential = &caller.credential;
        Holder { client: info.id(credential), credential: name(credential) }
    }

    /// Lets a client's request in, or not, and counts it.
    pub(super) fn admit<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        visit: Visit<'_>,
        info: &Info<'_>,
        revision: &str,
    ) -> Result<Holder, Refusal> {
        let credential = &visit.caller.credential;
        let holder = Self::holder(info, visit.caller);
        self.check_bars(visit.scope, &holder)?;
        // Who says nothing of itself cannot be told from others who do not.
        let now = visit.moment.now;
        self.counted.set(now);
        if !holder.client.is_empty()
            && self.clients.count(&holder.client, info, revision, credential, now)?
        {
            self.write_clients_soon(world);
        }
        Ok(holder)
    }

    /// Writes what was counted once nothing more comes for a moment, or after a while.
    fn write_clients_soon<W: World>(self: &Rc<Self>, world: &Rc<W>) {
        let (this, waiting) = (Rc::clone(self), Rc::clone(world));
        world.spawn(Box::pin(async move {
            let began = waiting.now();
            loop {
                let before = this.counted.get();
                waiting.sleep(limits::COUNTED_QUIET_MS).await;
                let is_long = waiting.now().since(began) >= limits::COUNTED_MS_MAX;
                if is_long || this.counted.get() == before {
                    break;
                }
            }
            if let Err(error) = this.clients.write() {
                waiting.log(&error);
            }
        }));
    }

    /// Does what a signed-in user wants. Says too when the object is to be woken.
    ///
    /// # Errors
    /// [`Kind::Conflict`] for another user, [`Kind::Invalid`] for what cannot be, and what fails.
    pub async fn account<W: World>(
        self: &Rc<Self>,
        world: &Rc<W>,
        hop: Hop,
    ) -> Result<(Reply, Option<Millis>), Error> {
        self.check_own(&hop.user)?;
        let now = world.now();
        let said = |reply| Ok((reply, None));
        match hop.request {
            Request::Overview => return said(Reply::Overview(self.overview(world.as_ref())?)),
            Request::SignedIn { name } => self.keep_name(&name)?,
            Request::Mint(key) => return said(Reply::Key(self.mint(world.as_ref(), &key)?)),
            Request::Revoke { key } => {
                self.keys.revoke(&key)?;
                self.stop(world, &Ending::Credential(named_key(&key))).await?;
            }
            Request::Block(target) => {
                let target = self.readable(target)?;
                self.before_interest_changes()?;
                self.barred.block(&target, now)?;
                // Nobody listens to servers for what is blocked.
                self.interest_changed(world);
                self.stop(world, &Ending::Target(target)).await?;
            }
            Request::Unblock(target) => {
                self.before_interest_changes()?;
                self.barred.unblock(&target)?;
                self.interest_changed(world);
            }
            // Whoever tells it tells it until that was taken.
            Request::EndGrant { grant } if self.barred.all()?.grants.contains(&grant) => {}
            Request::EndGrant { grant } => {
                self.barred.end(&grant, now)?;
                self.clients.forget_grant(&grant)?;
                self.stop(world, &Ending::Credential(named_grant(&grant))).await?;
            }
            Request::Connect { credential, redirect } => {
                let begun = self.connect(world.as_ref(), &credential, &redirect).await;
                return begun.map(|(reply, until)| (reply, Some(until)));
            }
            Request::Connected { state, code, issuer, error } => {
                let returned = Returned { code, issuer, error };
                return said(self.connected(world.as_ref(), &state, &returned).await?);
            }
            Request::Disconnect { credential } => {
                return said(self.disconnect(world, &credential)?);
            }
        }
        said(Reply::Done)
    }

    /// Whether nobody is told a credential any more: its user is blocked, or every toolset that it is
    /// for.
    pub(super) fn is_barred(&self, credential: &config::Credential) -> Result<bool, Error> {
        let bars = self.barred.all()?;
        let blocked = bars.toolsets();
        let needing = self.config.toolsets_with(&credential.name);
        let is_all = !needing.is_empty() && needing.iter().all(|name| blocked.contains(name));
        Ok(bars.targets.contains(&Target::User) || is_all)
    }

    /// A target as it is compared.
    fn readable(&self, target: Target) -> Result<Target, Error> {
        match target {
            Target::Context(path) => Ok(Target::Context(scope(&path, &self.config.levels)?)),
            other => Ok(other),
        }
    }

    fn overview<W: World>(&self, world: &W) -> Result<Overview, Error> {
        let root = Scope::default();
        let contexts = self.contexts.within(&root, &self.config.levels)?;
        Ok(Overview {
            name: self.name()?,
            clients: self.clients.list()?,
            keys: self.keys.list()?,
            contexts: contexts.iter().map(ToString::to_string).collect(),
            connections: self.connections(world)?,
            blocks: self.barred.all()?.targets.iter().cloned().collect(),
        })
    }

    fn name(&self) -> Result<String, Error> {
        if !has_table(&*self.database, "profile")? {
            return Ok(String::new());
        }
        let rows = self.database.run("SELECT name FROM profile", &[])?;
        rows.first().map_or(Ok(String::new()), |row| row.text(0).map(ToOwned::to_owned))
    }

    fn keep_name(&self, name: &str) -> Result<(), Error> {
        self.database.run(PROFILE, &[])?;
        let statement = "INSERT OR REPLACE INTO profile (one, name) VALUES (1, ?)";
        self.database.run(statement, &[shown(name).into()]).map(drop)
    }

    /// Makes a personal key.
    fn mint<W: World>(&self, world: &W, new: &NewKey) -> Result<String, Error> {
        let invalid = |text: &str| Error::new(Kind::Invalid, text);
        let ring = world.ring().ok_or_else(|| invalid("this deployment makes no keys"))?;
        let now = world.now();
        let new = NewKey {
            name: shown(new.name.trim()),
            scope: scope(&new.scope, &self.config.levels)?,
            ..new.clone()
        };
        if new.name.is_empty() {
            return Err(invalid("a key has a name, so that you know it again"));
        }
        if new.expires.is_some_and(|expires| expires <= now) {
            return Err(invalid("a key expires in the future, or never"));
        }
        let (id, nonce) = halves(world.random()?);
        let grant = key::Grant {
            id: id.clone(),
            user: self.id.clone(),
            scope: new.scope.clone(),
            access: new.access,
            expires: new.expires,
        };
        let made = key::mint(&ring, &grant, nonce);
        let made = made.ok_or_else(|| Error::internal("a key cannot be sealed"))?;
        self.keys.keep(&id, &key::digest(&made), &new, now)?;
        Ok(made)
    }
}

/// The path of a scope, as it is compared.
fn scope(path: &str, levels: &[Level]) -> Result<String, Error> {
    let scope = Scope::parse_path(path, levels);
    scope
        .map(|scope| scope.to_string())
        .map_err(|error| Error::new(Kind::Invalid, format!("{}: {error}", shown(path))))
}

/// An id, and what seals.
fn halves(fresh: [u8; 32]) -> (String, [u8; 12]) {
    let (mut id, mut nonce) = ([0; 8], [0; 12]);
    id.iter_mut().chain(&mut nonce).zip(fresh).for_each(|(part, fresh)| *part = fresh);
    (format!("{:016x}", u64::from_be_bytes(id)), nonce)
}

fn describe(target: &Target) -> String {
    match target {
        Target::User => "everything of yours is blocked".to_owned(),
        Target::Context(path) => format!("you have blocked {path}"),
        Target::Client(client) => format!("you have blocked the client {}", shown(client)),
        Target::Upstream(name) => format!("you have blocked {name}"),
    }
}
