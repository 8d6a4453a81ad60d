//! What is sealed under the deployment's own keys: cookies, personal keys, credentials of users. The
//! first key of the ring seals and every one opens, so that keys are changed without anybody being
//! signed out. It must not know what is sealed, nor where the secret came from.

use aes_gcm::{
    Aes256Gcm, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use std::fmt;

/// Keys a ring may have.
const KEYS_MAX: usize = 8;

/// Bytes of a nonce (NIST SP 800-38D, 5.2.1.1).
const NONCE_BYTES: usize = 12;

/// Fresh randomness for one sealing. It must never be used twice.
pub type Fresh = [u8; NONCE_BYTES];

/// The deployment's keys, newest first.
#[derive(Clone)]
pub struct KeyRing(Vec<(String, Aes256Gcm)>);

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// A mistake in the secret `KEYRING`. Says which entry, never what it holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("KEYRING: entry {entry}: {rule}")]
pub struct KeyRingError {
    /// Which entry, from 1.
    pub entry: usize,
    /// The rule it breaks.
    pub rule: &'static str,
}

impl KeyRing {
    /// Reads `name=<base64 of 32 bytes>`, by comma or line, the newest first.
    ///
    /// # Errors
    /// [`KeyRingError`] for the first entry that is none; an empty text has none.
    pub fn parse(text: &str) -> Result<Self, KeyRingError> {
        let mut keys: Vec<(String, Aes256Gcm)> = Vec::new();
        let entries = text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
        for (entry, text) in (1_usize..).zip(entries) {
            let mistake = |rule| KeyRingError { entry, rule };
            if entry > KEYS_MAX {
                return Err(mistake("there are at most 8 keys"));
            }
            let (name, key) =
                text.split_once('=').ok_or_else(|| mistake("it must be name=<base64>"))?;
            let is_plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
            if name.is_empty() || name.len() > 16 || !name.bytes().all(is_plain) {
                return Err(mistake("a name has 1 to 16 of a-z and 0-9"));
            }
            if keys.iter().any(|(other, _)| other == name) {
                return Err(mistake("the same name is given twice"));
            }
            let bytes = STANDARD.decode(key).ok();
            let cipher = bytes.and_then(|bytes| Aes256Gcm::new_from_slice(&bytes).ok());
            let cipher = cipher.ok_or_else(|| mistake("a key is the base64 of 32 bytes"))?;
            keys.push((name.to_owned(), cipher));
        }
        match keys.is_empty() {
            true => Err(KeyRingError { entry: 1, rule: "there is none" }),
            false => Ok(Self(keys)),
        }
    }

    /// Seals something for one purpose: it is opened for no other. The text is of letters, digits,
    /// `-`, `_` and one `.`. `None` where it is too long for the cipher, which nothing here is.
    #[must_use]
    pub fn seal(&self, purpose: &str, plain: &[u8], fresh: Fresh) -> Option<String> {
        let (name, cipher) = self.0.first()?;
        let payload = Payload { msg: plain, aad: purpose.as_bytes() };
        let sealed = cipher.encrypt(&Nonce::from(fresh), payload).ok()?;
        Some(format!("{name}.{}", URL_SAFE_NO_PAD.encode([&fresh[..], &sealed].concat())))
    }

    /// Opens what was sealed for this purpose, under any key of the ring.
    #[must_use]
    pub fn open(&self, purpose: &str, text: &str) -> Option<Vec<u8>> {
        let (name, sealed) = text.split_once('.')?;
        let (_, cipher) = self.0.iter().find(|(known, _)| known == name)?;
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>()?;
        cipher.decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad: purpose.as_bytes() }).ok()
    }

    /// Whether something is sealed under the newest key. What is not is to be sealed again.
    #[must_use]
    pub fn is_current(&self, text: &str) -> bool {
        let newest = self.0.first().map(|(name, _)| name.as_str());
        newest == text.split_once('.').map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(byte: u8) -> String {
        STANDARD.encode([byte; 32])
    }

    fn ring(text: &str) -> KeyRing {
        KeyRing::parse(text).unwrap()
    }

    #[test]
    fn mistakes_name_the_entry_and_never_the_key() {
        let check = |text: &str, expected: &str| {
            let error = KeyRing::parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("KEYRING: entry {expected}"));
        };
        check("", "1: there is none");
        check("a", "1: it must be name=<base64>");
        check("A=x", "1: a name has 1 to 16 of a-z and 0-9");
        check("a=x", "1: a key is the base64 of 32 bytes");
        check(&format!("a={0},\n a={0}", key(1)), "2: the same name is given twice");
        let many: Vec<_> = (0..9).map(|n| format!("k{n}={}", key(n))).collect();
        check(&many.join(","), "9: there are at most 8 keys");
        assert!(!format!("{:?}", ring(&format!("a={}", key(7)))).contains("07"));
    }

    #[test]
    fn keys_are_changed_without_losing_what_is_sealed() {
        let old = ring(&format!("a={}", key(1)));
        let both = ring(&format!("b={},a={}", key(2), key(1)));
        let new = ring(&format!("b={}", key(2)));
        let sealed = old.seal("p", b"x", [0; 12]).unwrap();
        assert!(old.is_current(&sealed) && !both.is_current(&sealed));
        assert_eq!(both.open("p", &sealed).unwrap(), b"x");
        assert_eq!(new.open("p", &sealed), None);
        let again = both.seal("p", b"x", [1; 12]).unwrap();
        assert_eq!(new.open("p", &again).unwrap(), b"x");
        assert_eq!(old.open("p", &again), None);
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened_for_its_purpose_only(
            plain in any::<Vec<u8>>(), purpose in ".{0,9}", other in ".{0,9}", fresh in any::<[u8; 12]>(),
        ) {
            let ring = ring(&format!("a={}", key(1)));
            let sealed = ring.seal(&purpose, &plain, fresh).unwrap();
            prop_assert_eq!(ring.open(&purpose, &sealed), Some(plain));
            if other != purpose {
                prop_assert_eq!(ring.open(&other, &sealed), None);
            }
        }

        #[test]
        fn what_was_changed_is_not_opened(at in any::<prop::sample::Index>(), by in 1_u8..) {
            let ring = ring(&format!("a={}", key(1)));
            let sealed = ring.seal("p", b"some text", [3; 12]).unwrap();
            let mut bytes = URL_SAFE_NO_PAD.decode(sealed.split_once('.').unwrap().1).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            let text = format!("a.{}", URL_SAFE_NO_PAD.encode(bytes));
            prop_assert_eq!(ring.open("p", &text), None);
        }

        #[test]
        fn nothing_else_is_a_panic(text in any::<String>(), tail in "[A-Za-z0-9_-]{0,40}") {
            let ring = ring(&format!("a={}", key(1)));
            prop_assert_eq!(ring.open("p", &text), None);
            prop_assert_eq!(ring.open("p", &format!("a.{tail}")), None);
        }
    }
}
