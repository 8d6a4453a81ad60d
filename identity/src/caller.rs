//! What a request proved: the kind of credential, what it allows, and which client holds it. The
//! entry tells a McpRouter as one line. It must not know how anything was proven.

use serde::{Deserialize, Serialize};
use shared::Millis;

/// How much a credential allows, narrowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Tools that say they only read, and everything that is no tool (`mcp:read`).
    Read,
    /// Everything (`mcp:write`).
    Write,
}

/// What a request was let in by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// A key of the deployment's own configuration.
    Static,
    /// A personal key, by its id.
    Key(String),
    /// An access token of ours: the OAuth client that it was given to, and the grant behind it.
    Grant {
        /// The client's id, as registered, or the address of its metadata document.
        client: String,
        /// The grant's id.
        grant: String,
    },
    /// A token of an authorization server that the operator trusts.
    External {
        /// The client, where the token names one.
        client: Option<String>,
    },
}

/// Who holds the credential of a request, besides whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// What let it in.
    pub credential: Credential,
    /// How much that allows.
    pub access: Access,
    /// The path of the scope that whoever gave it narrowed it to, where that is narrower than what
    /// it is good for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub narrowed: Option<String>,
    /// Until when what it opens may stay open: a credential that is not renewed is nobody's later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Millis>,
}

impl Caller {
    /// Who has a key of the deployment's own configuration.
    #[must_use]
    pub const fn fixed() -> Self {
        let (narrowed, until) = (None, None);
        Self { credential: Credential::Static, access: Access::Write, narrowed, until }
    }

    /// The line that tells it. Nothing at all says what is said most: [`Self::fixed`].
    #[must_use]
    pub fn line(&self) -> String {
        match *self == Self::fixed() {
            true => String::new(),
            false => serde_json::to_string(self).unwrap_or_default(),
        }
    }

    /// Reads a line; `None` for what is none.
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        match line {
            "" => Some(Self::fixed()),
            line => serde_json::from_str(line).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn credential() -> impl Strategy<Value = Credential> {
        prop_oneof![
            Just(Credential::Static),
            any::<String>().prop_map(Credential::Key),
            (any::<String>(), any::<String>())
                .prop_map(|(client, grant)| Credential::Grant { client, grant }),
            any::<Option<String>>().prop_map(|client| Credential::External { client }),
        ]
    }

    proptest! {
        #[test]
        fn a_caller_is_told_in_one_line(
            credential in credential(),
            access in prop_oneof![Just(Access::Read), Just(Access::Write)],
            narrowed in any::<Option<String>>(),
            until in any::<Option<u64>>(),
        ) {
            let until = until.map(Millis);
            let caller = Caller { credential, access, narrowed, until };
            prop_assert!(!caller.line().contains('\n'));
            prop_assert_eq!(Caller::read(&caller.line()), Some(caller));
        }

        #[test]
        fn nothing_else_is_a_panic(line in any::<String>()) {
            let _ = Caller::read(&line);
        }
    }
}
