//! Signing in, as the platform brings and takes it: asks the provider what is decided elsewhere. It
//! must not know any provider.

use super::Visited;
use crate::{cloudflare::issuers, refusal::Refusal};
use identity::{
    account::Request,
    html,
    login::{
        self, Pending, Step, pages,
        provider::{Endpoints, Failed, Given, of_answer, of_token, with_userinfo},
    },
    page::Page,
    person::Person,
    signed::{SignedIn, is_genuine},
};
use shared::{
    Error, Kind, UserId,
    cloudflare::{log, outside::ask, random, variable},
    config::people::{Login, LoginKind},
    outside::{self, Answer},
};

/// Why nobody is signed in now.
enum Trouble {
    /// The provider's answer.
    Failed(Failed),
    /// Our own mistake, or one of the way there.
    Error(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Failed> for Trouble {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

/// Answers a visit.
///
/// # Errors
/// What failed.
pub(super) async fn serve(visited: &Visited<'_>) -> Result<Page, Refusal> {
    let visit = &visited.visit;
    let people = &visited.deployment.config.people;
    let then = login::then(visit);
    match login::step(visit, people) {
        Step::Choose => {
            let is_dev_login = login::is_dev_login(visit, people);
            Ok(pages::choose(&people.logins, &then, is_dev_login, None))
        }
        Step::Named => named(visited, &then).await,
        Step::Begin(login) => Ok(match begin(visited, login, then.clone()).await {
            Ok(page) => page,
            Err(trouble) => shown(login, &then, trouble),
        }),
        Step::Return(login) => {
            let Some(pending) = Pending::read(visited.ring, visit, login, visited.now) else {
                return Ok(pages::unknown(&then));
            };
            Ok(pending.forget(match returned(visited, login, &pending).await {
                Ok(page) => page,
                Err(trouble) => shown(login, pending.then(), trouble),
            }))
        }
        Step::AskOut => Ok(pages::out(visit, visited.signed_in().as_ref())),
        Step::Out if is_genuine(visit) => Ok(SignedIn::forget(Page::go(login::LOGOUT))),
        Step::Out => {
            let text = "This form is not from this site, or too old. Go back, reload the page and \
                        try again.";
            Ok(html::trouble(403, "Nothing was done", text))
        }
        Step::Nothing => Err(Refusal::NoSuchPath("there is nothing at this address".to_owned())),
    }
}

/// What is shown where a login failed, and said in the log.
fn shown(login: &Login, then: &str, trouble: Trouble) -> Page {
    let (failed, error) = match trouble {
        // Whoever said no need not be told of by a log.
        Trouble::Failed(Failed::Declined) => return pages::failed(login, then, &Failed::Declined),
        Trouble::Failed(failed) => {
            let detail = format!("{}: {failed:?}", login.name);
            let error = Error::new(Kind::Upstream, "a login failed").with_detail(detail);
            (failed, error)
        }
        Trouble::Error(error) => (Failed::Provider(String::new()), error),
    };
    log("login", &error);
    pages::failed(login, then, &failed)
}

/// A user of this machine, by the name that they give themselves.
async fn named(visited: &Visited<'_>, then: &str) -> Result<Page, Refusal> {
    let people = &visited.deployment.config.people;
    let again = |mistake: &str| Ok(pages::choose(&people.logins, then, true, Some(mistake)));
    if !visited.visit.is_own_form() {
        return again("This form is not from this page: try again.");
    }
    let name = visited.visit.field("name").unwrap_or_default();
    match UserId::parse(name.trim()) {
        Ok(user) => {
            let name = user.as_str().to_owned();
            Ok(enter(visited, Person { user, name }, then).await?)
        }
        Err(error) => again(&format!("{error}.")),
    }
}

/// Lets somebody in.
async fn enter(visited: &Visited<'_>, person: Person, then: &str) -> Result<Page, Error> {
    let Person { user, name } = person;
    visited.account(&user, Request::SignedIn { name: name.clone() }).await?;
    let signed = SignedIn { user, name, since: visited.now };
    Ok(signed.keep(visited.ring, Page::go(then), Visited::fresh()?))
}

async fn endpoints(visited: &Visited<'_>, login: &Login) -> Result<Endpoints, Trouble> {
    if let Some(known) = Endpoints::known(&login.kind) {
        return Ok(known);
    }
    let issuer = login.authority();
    let metadata = issuers::openid(issuer, visited.deployment.config.is_development).await?;
    Ok(Endpoints::openid(issuer, metadata)?)
}

async fn begin(visited: &Visited<'_>, login: &Login, then: String) -> Result<Page, Trouble> {
    let endpoints = endpoints(visited, login).await?;
    let random = [random()?, random()?, random()?];
    let pending = Pending::begin(login, then, &random, visited.now);
    let address = endpoints.authorize(login, &pending, &visited.visit.origin);
    Ok(pending.keep(visited.ring, &visited.visit, Page::go(&address), Visited::fresh()?))
}

async fn returned(
    visited: &Visited<'_>,
    login: &Login,
    pending: &Pending,
) -> Result<Page, Trouble> {
    let endpoints = endpoints(visited, login).await?;
    let code = endpoints.code(&visited.visit)?;
    let secret = login.client_secret.as_ref().and_then(|name| variable(visited.env, name));
    let origin = &visited.visit.origin;
    let exchange = endpoints.exchange(login, secret.as_deref(), &code, pending, origin);
    let given = Given::read(&asked(exchange).await?)?;
    let person = match &login.kind {
        LoginKind::Oidc { .. } => openid(visited, login, pending, &endpoints, &given).await?,
        LoginKind::Github { .. } => {
            let request = endpoints.who(&given);
            let request =
                request.ok_or_else(|| Failed::Provider("it gives no token".to_owned()))?;
            of_answer(login, &asked(request).await?)?
        }
        LoginKind::Sentry { .. } => given.person(login)?,
    };
    Ok(enter(visited, person, pending.then()).await?)
}

/// Who an OpenID provider says it is.
async fn openid(
    visited: &Visited<'_>,
    login: &Login,
    pending: &Pending,
    endpoints: &Endpoints,
    given: &Given,
) -> Result<Person, Trouble> {
    let token = given.id_token(login, pending, visited.now)?;
    let keys = endpoints.keys.as_deref().unwrap_or_default();
    issuers::check(&token, keys).await?.map_err(Failed::from)?;
    let person = of_token(login, &token)?;
    // Many say a name only where they are asked for it. Without one it works as well.
    match endpoints.who(given).filter(|_| person.name.is_empty()) {
        None => Ok(person),
        Some(request) => Ok(match asked(request).await {
            Ok(answer) => with_userinfo(person, &token, &answer),
            Err(_) => person,
        }),
    }
}

async fn asked(request: outside::Request) -> Result<Answer, Error> {
    let url = request.url.clone();
    ask(request).await.map_err(|error| {
        Error::new(Kind::Upstream, "the provider cannot be asked")
            .with_detail(format!("{url}: {error}"))
    })
}
