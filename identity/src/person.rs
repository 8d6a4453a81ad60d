//! A person, as whoever vouches for them says: who they are here, and what they are called. Two are
//! one if the same authority says so of the same subject, and never by an e-mail address. It must
//! not know how anything was proven.

use shared::{UserId, limits};

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who they are here.
    pub user: UserId,
    /// What they are called, for people; perhaps nothing.
    pub name: String,
}

/// Who a subject of an authority is: `https://idp.example#1234`. Where another claim than `sub`
/// says so, it is part of the name, so that no subject is taken for it. `None` where that is no
/// name of a user.
#[must_use]
pub fn user(authority: &str, claim: &str, subject: &str) -> Option<UserId> {
    // An authority has neither `?` nor `#`, so one name is one subject.
    let text = match claim {
        "sub" => format!("{authority}#{subject}"),
        claim => format!("{authority}?{claim}#{subject}"),
    };
    UserId::parse(&text).ok().filter(|_| !subject.is_empty())
}

/// A name for people as it may be shown: bounded, on one line, and written in one direction.
#[must_use]
pub fn shown(name: &str) -> String {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let plain: String = name.chars().filter(|c| !is_hidden(*c)).collect();
    plain.trim().chars().take(limits::PERSON_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_person_is_a_subject_of_an_authority() {
        let text = |claim, subject| user("https://i.test/a", claim, subject).map(|u| u.to_string());
        assert_eq!(text("sub", "1").as_deref(), Some("https://i.test/a#1"));
        assert_eq!(text("uid", "1").as_deref(), Some("https://i.test/a?uid#1"));
        assert_eq!(text("sub", ""), None);
        assert_eq!(text("sub", "a\nb"), None);
        assert_eq!(text("sub", &"x".repeat(limits::USER_CHARS_MAX)), None);
    }

    #[test]
    fn a_name_is_shown_on_one_line() {
        assert_eq!(shown(" Al\u{202e}ice\n\u{0} Ü "), "Alice Ü");
        assert_eq!(shown(&"x".repeat(1000)).len(), limits::PERSON_CHARS_MAX);
    }

    proptest! {
        #[test]
        fn two_subjects_are_two_people(
            a in "https://[a-z]{1,3}(/[a-z]{0,2})?", b in "https://[a-z]{1,3}(/[a-z]{0,2})?",
            claims in ("sub|uid|email", "sub|uid|email"), subjects in ("[a-z#?]{1,4}", "[a-z#?]{1,4}"),
        ) {
            let one = (&a, &claims.0, &subjects.0);
            let other = (&b, &claims.1, &subjects.1);
            let same = user(one.0, one.1, one.2) == user(other.0, other.1, other.2);
            prop_assert_eq!(same, one == other);
        }
    }
}
