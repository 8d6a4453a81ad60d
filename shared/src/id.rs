//! Users, sessions, tasks, and the names of objects. Names are injective: two different keys never
//! share an object, whatever their parts contain. It must not know how a user proved who they are.

use crate::{Scope, config::Level, limits};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Who is calling. 1–200 characters, any but control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct UserId(String);

/// Why a text is no user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserIdError {
    /// Nothing there.
    #[error("a user's name must not be empty")]
    Empty,
    /// Too long.
    #[error("a user's name has at most {} characters", limits::USER_CHARS_MAX)]
    Long,
    /// A control character.
    #[error("a user's name must not contain control characters")]
    Control,
}

impl UserId {
    /// Reads a user's name.
    ///
    /// # Errors
    /// [`UserIdError`] names the rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, UserIdError> {
        if text.is_empty() {
            Err(UserIdError::Empty)
        } else if text.chars().count() > limits::USER_CHARS_MAX {
            Err(UserIdError::Long)
        } else if text.chars().any(char::is_control) {
            Err(UserIdError::Control)
        } else {
            Ok(Self(text.to_owned()))
        }
    }

    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of this user's McpRouter: the user's name with the separator and the escape sign
    /// percent-encoded. Injective, and reversed by [`Self::from_object_name`].
    #[must_use]
    pub fn object_name(&self) -> String {
        self.0.replace('%', "%25").replace(':', "%3A")
    }

    /// The user whose McpRouter has this name.
    #[must_use]
    pub fn from_object_name(name: &str) -> Option<Self> {
        Self::parse(&name.replace("%3A", ":").replace("%25", "%")).ok()
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which Agent: a user's context, that is one scope as one user sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AgentKey {
    /// Whose context.
    pub user: UserId,
    /// Which one.
    pub scope: Scope,
}

impl AgentKey {
    /// The name of the Agent: `user-123:sentry:javascript`. Injective: the user's own `:` is
    /// escaped and a slug cannot contain one.
    #[must_use]
    pub fn object_name(&self) -> String {
        self.scope.slugs().iter().fold(self.user.object_name(), |mut name, slug| {
            name.push(':');
            name.push_str(slug.as_str());
            name
        })
    }
}

/// A session of the handshake era: 256 random bits, as visible ASCII. It identifies a session and
/// proves nothing: the credential of every request is checked on its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(String);

/// No random id begins so: it has no dot.
const OLD_TRANSPORT: &str = "sse.";

impl SessionId {
    /// A fresh one from fresh randomness.
    #[must_use]
    pub fn from_random(random: [u8; 32]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(random))
    }

    /// The same id, marked as one of the 2024-11-05 transport: it is good there and nowhere else.
    #[must_use]
    pub fn of_old_transport(self) -> Self {
        Self(format!("{OLD_TRANSPORT}{}", self.0))
    }

    /// Whether it is so marked.
    #[must_use]
    pub fn is_of_old_transport(&self) -> bool {
        self.0.starts_with(OLD_TRANSPORT)
    }

    /// What a client sent as its session id; `None` if no session can have that id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let visible = text.bytes().all(|b| (0x21..=0x7e).contains(&b));
        let bounded = !text.is_empty() && text.len() <= limits::SESSION_ID_BYTES_MAX;
        (visible && bounded).then(|| Self(text.to_owned()))
    }

    /// The header's value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A task: 128 random bits in hexadecimal, and before them the context that it runs in, so that a
/// client of a wider one finds it: `acme:web:00112233445566778899aabbccddeeff`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskId {
    scope: Scope,
    random: String,
}

impl TaskId {
    /// A fresh one from fresh randomness.
    #[must_use]
    pub fn from_random(scope: Scope, random: [u8; 16]) -> Self {
        Self { scope, random: format!("{:032x}", u128::from_be_bytes(random)) }
    }

    /// What a client sent as the id of a task; `None` if no task can have that id.
    #[must_use]
    pub fn parse(text: &str, levels: &[Level]) -> Option<Self> {
        if text.len() > limits::TASK_ID_BYTES_MAX {
            return None;
        }
        let (slugs, random) = match text.rsplit_once(':') {
            Some((slugs, random)) => (slugs.split(':').collect(), random),
            None => (Vec::new(), text),
        };
        let plain = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        let is_random = random.len() == 32 && random.bytes().all(plain);
        let scope = Scope::parse_slugs(slugs, levels).ok()?;
        let id = Self { scope, random: random.to_owned() };
        // An id is one text and no other: also in the case of its slugs.
        (is_random && id.to_string() == text).then_some(id)
    }

    /// The context that it runs in.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for slug in self.scope.slugs() {
            write!(f, "{slug}:")?;
        }
        f.write_str(&self.random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::default_levels;
    use proptest::prelude::*;

    fn key(user: &str, path: &str) -> AgentKey {
        AgentKey {
            user: UserId::parse(user).unwrap(),
            scope: Scope::parse_path(path, &default_levels()).unwrap(),
        }
    }

    #[test]
    fn names_read_as_the_design_says() {
        let name = |user, path| key(user, path).object_name();
        assert_eq!(name("user-123", "/mcp/sentry/javascript"), "user-123:sentry:javascript");
        assert_eq!(name("user-123", "/mcp"), "user-123");
        assert_eq!(name("a:b", "/mcp/c"), "a%3Ab:c");
        assert_eq!(name("a", "/mcp/b"), "a:b");
        assert_eq!(name("a%3Ab", "/mcp"), "a%253Ab");
        assert_eq!(name("Zoë Ω", "/mcp"), "Zoë Ω");
    }

    #[test]
    fn users_have_bounds() {
        assert_eq!(UserId::parse(""), Err(UserIdError::Empty));
        assert_eq!(UserId::parse(&"ü".repeat(201)), Err(UserIdError::Long));
        assert_eq!(UserId::parse("a\nb"), Err(UserIdError::Control));
        assert!(UserId::parse(&"ü".repeat(200)).is_ok());
    }

    #[test]
    fn session_ids_are_visible_ascii() {
        let id = SessionId::from_random([255; 32]);
        assert_eq!(id.as_str().len(), 43);
        assert_eq!(SessionId::parse(id.as_str()), Some(id));
        assert_eq!(SessionId::parse(""), None);
        assert_eq!(SessionId::parse("a b"), None);
        assert_eq!(SessionId::parse(&"a".repeat(129)), None);
    }

    #[test]
    fn a_task_is_found_where_it_runs() {
        let levels = default_levels();
        let random = "00112233445566778899aabbccddeeff";
        for (path, text) in [
            ("/mcp", random.to_owned()),
            ("/mcp/acme", format!("acme:{random}")),
            ("/mcp/acme/web", format!("acme:web:{random}")),
        ] {
            let scope = Scope::parse_path(path, &levels).unwrap();
            let bytes = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128.to_be_bytes();
            let id = TaskId::from_random(scope.clone(), bytes);
            assert_eq!(id.to_string(), text);
            assert_eq!(TaskId::parse(&text, &levels), Some(id.clone()));
            assert_eq!(*id.scope(), scope);
        }
        for text in [
            "",
            ":",
            "tasks-conformance-nonexistent-12345",
            "00112233445566778899AABBCCDDEEFF",
            ":00112233445566778899aabbccddeeff",
            "a:b:c:00112233445566778899aabbccddeeff",
            "ACME:00112233445566778899aabbccddeeff",
            "a b:00112233445566778899aabbccddeeff",
            "acme:é",
        ] {
            assert_eq!(TaskId::parse(text, &levels), None, "{text}");
        }
    }

    fn any_key() -> impl Strategy<Value = AgentKey> {
        // Users made of the signs that matter, so that collisions would be found.
        let user = prop_oneof!["[ab:%3A ]{1,6}", "[^\\p{Cc}]{1,20}"];
        let path =
            prop_oneof![Just("/mcp".to_owned()), "/mcp/[ab3]{1,3}", "/mcp/[ab3]{1,3}/[ab3]{1,3}",];
        (user, path).prop_map(|(user, path)| key(&user, &path))
    }

    proptest! {
        #[test]
        fn object_names_are_injective(a in any_key(), b in any_key()) {
            prop_assert_eq!(a.object_name() == b.object_name(), a == b);
        }

        #[test]
        fn a_router_finds_its_user_again(a in any_key()) {
            prop_assert_eq!(UserId::from_object_name(&a.user.object_name()), Some(a.user));
        }
    }
}
