//! Signatures of others, checked by the platform's own cryptography: what is compiled to wasm takes
//! ten times as long and half a megabyte. It must not know what was signed.

use identity::jwt::{Key, Token};
use shared::{Error, config::people::Algorithm, limits};
use std::{cell::RefCell, collections::BTreeMap};
use worker::{
    js_sys::{Array, JSON, Promise, futures::JsFuture},
    wasm_bindgen::{JsValue, prelude::wasm_bindgen},
};

#[wasm_bindgen(wasm_bindgen = worker::wasm_bindgen)]
extern "C" {
    #[wasm_bindgen(catch, js_namespace = ["crypto", "subtle"], js_name = importKey)]
    fn import_key(
        format: &str,
        key: &JsValue,
        algorithm: &JsValue,
        is_extractable: bool,
        usages: &Array,
    ) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch, js_namespace = ["crypto", "subtle"], js_name = verify)]
    fn verify(
        algorithm: &JsValue,
        key: &JsValue,
        signature: &[u8],
        data: &[u8],
    ) -> Result<Promise, JsValue>;
}

thread_local! {
    /// Keys that are ready, by their texts.
    static READY: RefCell<BTreeMap<String, JsValue>> = const { RefCell::new(BTreeMap::new()) };
}

fn failed(error: impl std::fmt::Debug) -> Error {
    Error::internal(format!("checking a signature: {error:?}"))
}

fn json(text: &str) -> Result<JsValue, Error> {
    JSON::parse(text).map_err(failed)
}

/// What the platform calls an algorithm: where a key is made ready, and where it checks.
const fn names(algorithm: Algorithm) -> (&'static str, &'static str) {
    match algorithm {
        Algorithm::Rs256 => {
            (r#"{"name":"RSASSA-PKCS1-v1_5","hash":"SHA-256"}"#, r#"{"name":"RSASSA-PKCS1-v1_5"}"#)
        }
        Algorithm::Es256 => {
            (r#"{"name":"ECDSA","namedCurve":"P-256"}"#, r#"{"name":"ECDSA","hash":"SHA-256"}"#)
        }
    }
}

async fn ready(key: &Key) -> Result<JsValue, Error> {
    if let Some(ready) = READY.with_borrow(|keys| keys.get(&key.text).cloned()) {
        return Ok(ready);
    }
    let (making, _) = names(key.algorithm);
    let usages = Array::of1(&JsValue::from_str("verify"));
    let made = import_key("jwk", &json(&key.text)?, &json(making)?, false, &usages);
    let made = JsFuture::from(made.map_err(failed)?).await.map_err(failed)?;
    READY.with_borrow_mut(|keys| {
        // Whose keys change so often has none that is worth keeping.
        if keys.len() >= limits::KEYS_READY_MAX {
            keys.clear();
        }
        keys.insert(key.text.clone(), made.clone());
    });
    Ok(made)
}

/// Whether a key signed a token.
///
/// # Errors
/// The platform's own: it takes no such key.
pub(super) async fn is_signed(token: &Token, key: &Key) -> Result<bool, Error> {
    let ready = ready(key).await?;
    let (_, checking) = names(key.algorithm);
    let found = verify(&json(checking)?, &ready, &token.signature, token.signed.as_bytes());
    let found = JsFuture::from(found.map_err(failed)?).await.map_err(failed)?;
    Ok(found.is_truthy())
}
