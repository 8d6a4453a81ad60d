//! The authorization server, which is the library in router/oauth, as Rust asks it. Every call may
//! throw there, and is declared to: what throws otherwise hangs the request. It must not know what
//! anybody is shown.

use identity::grant::{self, Grant, Token};
use serde_json::Value;
use shared::{Error, UserId, cloudflare::failure};
use worker::{
    Env,
    js_sys::{Function, JSON, Promise, Reflect, futures::JsFuture},
    wasm_bindgen::{JsCast as _, JsValue, prelude::wasm_bindgen},
    web_sys::{Headers, Request},
};

/// What a call gives, or what was thrown.
pub(super) type Thrown<T> = Result<T, JsValue>;

#[wasm_bindgen(wasm_bindgen = worker::wasm_bindgen)]
extern "C" {
    /// The library's helpers for one resource (`OAuthHelpers`).
    #[derive(Debug)]
    pub(super) type Library;

    #[wasm_bindgen(method, catch, js_name = parseAuthRequest)]
    fn parse_auth_request(this: &Library, request: &Request) -> Thrown<Promise>;
    #[wasm_bindgen(method, catch, js_name = describeConsent)]
    fn describe_consent(this: &Library, request: &JsValue) -> Thrown<Promise>;
    #[wasm_bindgen(method, catch, js_name = beginConsent)]
    fn begin_consent(this: &Library, request: &JsValue) -> Thrown<Promise>;
    #[wasm_bindgen(method, catch, js_name = approveConsent)]
    fn approve_consent(this: &Library, request: &Request, handle: &str) -> Thrown<Promise>;
    #[wasm_bindgen(method, catch, js_name = denyConsent)]
    fn deny_consent(this: &Library, request: &Request, handle: &str) -> Thrown<Promise>;
    #[wasm_bindgen(method, catch, js_name = completeAuthorization)]
    fn complete_authorization(this: &Library, options: &JsValue) -> Thrown<Promise>;
    #[wasm_bindgen(method, catch, js_name = unwrapToken)]
    fn unwrap_token(this: &Library, token: &str) -> Thrown<Promise>;
    #[wasm_bindgen(method, catch, js_name = revokeGrant)]
    fn revoke_grant(this: &Library, grant: &str, user: &str) -> Thrown<Promise>;
    #[wasm_bindgen(method, catch, js_name = listUserGrants)]
    fn list_user_grants(this: &Library, user: &str) -> Thrown<Promise>;
}

/// What a step of the consent gives.
#[derive(Debug)]
pub(super) struct Step {
    /// What the form brings back.
    pub(super) handle: String,
    /// The request that the library kept: its own value.
    pub(super) request: JsValue,
    /// Where the browser goes.
    pub(super) redirect: String,
    /// A cookie that ties the question to the browser, or ends that.
    pub(super) cookie: String,
}

impl Step {
    async fn of(promise: Thrown<Promise>) -> Thrown<Self> {
        let value = JsFuture::from(promise?).await?;
        let member = |name: &str| Reflect::get(&value, &JsValue::from_str(name));
        let text = |name: &str| member(name).map(|text| text.as_string().unwrap_or_default());
        let headers = member("headers")?;
        let cookie = match headers.dyn_ref::<Headers>() {
            Some(headers) => headers.get("set-cookie")?.unwrap_or_default(),
            None => String::new(),
        };
        let (handle, redirect) = (text("handle")?, text("redirectTo")?);
        Ok(Self { handle, request: member("request")?, redirect, cookie })
    }
}

/// A value as JSON; what is undefined is null.
pub(super) fn read(value: &JsValue) -> Thrown<Value> {
    let text = match value.is_undefined() {
        true => None,
        false => JSON::stringify(value)?.as_string(),
    };
    let parsed = serde_json::from_str(text.as_deref().unwrap_or("null"));
    parsed.map_err(|error| JsValue::from_str(&error.to_string()))
}

async fn value(promise: Thrown<Promise>) -> Thrown<Value> {
    read(&JsFuture::from(promise?).await?)
}

impl Library {
    /// The library for one resource of this deployment: `https://host/mcp/acme`.
    ///
    /// # Errors
    /// An internal error where nothing stands in front of Rust.
    pub(super) fn of(env: &Env, origin: &str, resource: &str) -> Result<Self, Error> {
        let failed = |error: JsValue| failure("the authorization server", &error.into());
        let made = Reflect::get(env.as_ref(), &JsValue::from_str("OAUTH_FOR")).map_err(failed)?;
        let made: Function = made.dyn_into().map_err(failed)?;
        let (origin, resource) = (JsValue::from_str(origin), JsValue::from_str(resource));
        let library = made.call2(&JsValue::UNDEFINED, &origin, &resource).map_err(failed)?;
        Ok(library.unchecked_into())
    }

    /// An authorization request, valid: the library's own value.
    pub(super) async fn asked(&self, request: &Request) -> Thrown<JsValue> {
        JsFuture::from(self.parse_auth_request(request)?).await
    }

    /// What a page must show of it.
    pub(super) async fn described(&self, asked: &JsValue) -> Thrown<Value> {
        value(self.describe_consent(asked)).await
    }

    /// The question begins.
    pub(super) async fn begin(&self, asked: &JsValue) -> Thrown<Step> {
        Step::of(self.begin_consent(asked)).await
    }

    /// It was answered with yes.
    pub(super) async fn approve(&self, form: &Request, handle: &str) -> Thrown<Step> {
        Step::of(self.approve_consent(form, handle)).await
    }

    /// It was answered with no.
    pub(super) async fn deny(&self, form: &Request, handle: &str) -> Thrown<Step> {
        Step::of(self.deny_consent(form, handle)).await
    }

    /// A grant is given, and its code on the way.
    pub(super) async fn complete(&self, grant: &Value) -> Thrown<Step> {
        Step::of(self.complete_authorization(&JSON::parse(&grant.to_string())?)).await
    }
}

fn thrown(what: &str) -> impl Fn(JsValue) -> Error {
    move |error| failure(what, &error.into())
}

fn any(env: &Env, origin: &str) -> Result<Library, Error> {
    Library::of(env, origin, &format!("{origin}{}", shared::scope::ROOT))
}

/// What an access token is good for; nothing if it is none, or no more. Its audience is for the
/// caller to hold against what is asked for.
///
/// # Errors
/// What kept it from being looked up.
pub(super) async fn token(env: &Env, origin: &str, token: &str) -> Result<Option<Token>, Error> {
    let Some(user) = grant::holder(token) else {
        return Ok(None);
    };
    let found = value(any(env, origin)?.unwrap_token(token)).await;
    let found = Token::read(&found.map_err(thrown("looking up a token"))?);
    Ok(found.filter(|token| token.user == user))
}

/// Ends a grant: its tokens are good no more. One that is not there is ended already.
///
/// # Errors
/// What kept it from being ended.
pub(super) async fn revoke(
    env: &Env,
    origin: &str,
    user: &UserId,
    grant: &str,
) -> Result<(), Error> {
    let ended = value(any(env, origin)?.revoke_grant(grant, &grant::name(user))).await;
    ended.map(|_| ()).map_err(thrown("ending a grant"))
}

/// The grants of a user.
///
/// # Errors
/// What kept them from being listed.
pub(super) async fn grants(env: &Env, origin: &str, user: &UserId) -> Result<Vec<Grant>, Error> {
    let listed = value(any(env, origin)?.list_user_grants(&grant::name(user))).await;
    Ok(Grant::read_all(&listed.map_err(thrown("listing grants"))?))
}
