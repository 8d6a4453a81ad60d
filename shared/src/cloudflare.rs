//! The adapters to the platform that both tiers need: an object's SQLite, the environment, the
//! clock and randomness, requests and responses. It must not know either tier.

pub mod fetch;

pub mod outside;

use crate::{
    Error, Millis,
    config::{Config, ConfigError, Written, people::WrittenPeople},
    database::{Database, Row, Value},
};
use std::time::Duration;
use worker::{
    Env, SqlStorage, SqlStorageValue, Storage, js_sys,
    wasm_bindgen::{JsValue, prelude::wasm_bindgen},
};

#[wasm_bindgen(wasm_bindgen = worker::wasm_bindgen, module = "/src/cloudflare/microtask.js")]
extern "C" {
    /// Makes waiting cheap. Whatever the platform calls first in an isolate says so, the entry and
    /// each object; saying it again changes nothing.
    #[wasm_bindgen(js_name = queueByPromise)]
    pub fn queue_by_promise();
}

/// The time. It stands still between two awaits.
#[must_use]
pub fn now() -> Millis {
    // A number: an object of the platform's would be made for nothing.
    Millis::from_i64(js_sys::Date::now() as i64)
}

/// Fresh randomness.
///
/// # Errors
/// An internal error if the platform has none.
pub fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Error::internal(error.to_string()))?;
    Ok(bytes)
}

/// Sets an object's alarm, in the place of any other.
///
/// # Errors
/// The platform's own.
pub async fn set_alarm(storage: &Storage, at: Millis) -> worker::Result<()> {
    // A distance from now: that is how the crate takes a number, too.
    storage.set_alarm(Duration::from_millis(at.since(now()))).await
}

/// Logs what a client is not told, as one line of JSON.
pub fn log(place: &str, error: &Error) {
    let line = serde_json::json!({
        "level": "error", "place": place, "kind": error.kind, "public": error.public,
        "detail": error.detail,
    });
    worker::console_error!("{line}");
}

/// A variable or secret as text: a string as it is, anything structured as JSON. `None` where it
/// is not set; a binding from an unset environment variable is null.
#[must_use]
pub fn variable(env: &Env, name: &str) -> Option<String> {
    let value = js_sys::Reflect::get(env.as_ref(), &JsValue::from_str(name)).ok()?;
    if value.is_null() || value.is_undefined() {
        return None;
    }
    value.as_string().or_else(|| js_sys::JSON::stringify(&value).ok()?.as_string())
}

/// The configuration.
///
/// # Errors
/// An internal error whose detail names the key and the rule.
pub fn config(env: &Env) -> Result<Config, Error> {
    let [scope, toolsets, credentials, development] =
        ["scope", "toolsets", "credentials", "DEVELOPMENT"].map(|name| variable(env, name));
    let [logins, issuers, dev_login, origin] =
        ["logins", "issuers", "DEV_LOGIN", "ORIGIN"].map(|name| variable(env, name));
    let written = Written {
        scope: scope.as_deref(),
        toolsets: toolsets.as_deref(),
        credentials: credentials.as_deref(),
        development: development.as_deref(),
        people: WrittenPeople {
            logins: logins.as_deref(),
            issuers: issuers.as_deref(),
            dev_login: dev_login.as_deref(),
            origin: origin.as_deref(),
        },
    };
    let config = Config::parse(written).map_err(|error| Error::internal(error.to_string()))?;
    for (key, name) in config.secrets() {
        if variable(env, &name).is_none_or(|secret| secret.is_empty()) {
            let rule = format!("the secret {name} is not set");
            return Err(Error::internal(ConfigError { key, rule }.to_string()));
        }
    }
    Ok(config)
}

/// The platform's failure, as ours.
#[must_use]
pub fn failure(what: &str, error: &worker::Error) -> Error {
    Error::internal(format!("{what}: {error}"))
}

/// An object's own SQLite.
#[derive(Debug)]
pub struct Sqlite(pub SqlStorage);

impl Database for Sqlite {
    fn run(&self, statement: &str, arguments: &[Value]) -> Result<Vec<Row>, Error> {
        let failed = |error: worker::Error| failure(statement, &error);
        let arguments: Vec<SqlStorageValue> = arguments.iter().map(argument).collect();
        let cursor = self.0.exec(statement, arguments).map_err(failed)?;
        cursor
            .raw()
            .map(|row| Ok(Row(row.map_err(failed)?.into_iter().map(value).collect())))
            .collect()
    }
}

fn argument(value: &Value) -> SqlStorageValue {
    match value {
        Value::Null => SqlStorageValue::Null,
        Value::Integer(integer) => SqlStorageValue::Integer(*integer),
        Value::Real(real) => SqlStorageValue::Float(*real),
        Value::Text(text) => SqlStorageValue::String(text.clone()),
    }
}

fn value(value: SqlStorageValue) -> Value {
    match value {
        SqlStorageValue::Boolean(boolean) => Value::Integer(i64::from(boolean)),
        SqlStorageValue::Integer(integer) => Value::Integer(integer),
        SqlStorageValue::Float(real) => Value::Real(real),
        SqlStorageValue::String(text) => Value::Text(text),
        // Nothing here stores bytes.
        SqlStorageValue::Null | SqlStorageValue::Blob(_) => Value::Null,
    }
}
