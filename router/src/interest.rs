//! What anybody wants to hear of, context by context: whoever listens, put together, and what of
//! it an Agent has not been told. Pure. It must not know how an Agent is told.

use crate::{
    streams::{Filter, Purpose, Stream},
    target::of_uri,
};
use shared::{
    Scope,
    config::{Config, ToolsetKind},
    gathered,
};
use std::collections::{BTreeMap, BTreeSet};

/// What is wanted of one context.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interest {
    /// Changes of its lists.
    pub lists: bool,
    /// Changes of these resources.
    pub uris: BTreeSet<String>,
    /// Of these toolsets nothing, by name: their user has blocked them.
    pub blocked: BTreeSet<String>,
}

/// Whether there is anything that an Agent would have to listen to itself.
#[must_use]
pub fn matters(config: &Config) -> bool {
    config.toolsets.iter().any(|toolset| matches!(toolset.kind, ToolsetKind::Mcp(_)))
}

/// What is wanted of every context of which anything is: by streams that somebody listens to, and
/// by the subscriptions of sessions, each a scope and a resource.
#[must_use]
pub fn gather(
    config: &Config,
    streams: &[Stream],
    is_connected: impl Fn(&Stream) -> bool,
    subscriptions: &[(Scope, String)],
) -> BTreeMap<Scope, Interest> {
    let mut gathered: BTreeMap<Scope, Interest> = BTreeMap::new();
    let mut add = |scope: &Scope, uri: &str| {
        // One that is in no one context is heard of by nobody.
        if let Ok(target) = of_uri(config, scope, uri) {
            gathered.entry(target).or_default().uris.insert(uri.to_owned());
        }
    };
    subscriptions.iter().for_each(|(scope, uri)| add(scope, uri));
    for stream in streams {
        if let Purpose::Listen { filter, .. } = &stream.purpose {
            filter.resource_subscriptions.iter().for_each(|uri| add(&stream.scope, uri));
        }
    }
    for stream in streams {
        let lists = match &stream.purpose {
            Purpose::Session(_) | Purpose::Old(_) => is_connected(stream),
            Purpose::Listen { filter, .. } => wants_lists(filter),
            Purpose::Calls { .. } => false,
        };
        if lists {
            gathered.entry(stream.scope.clone()).or_default().lists = true;
        }
    }
    gathered
}

fn wants_lists(filter: &Filter) -> bool {
    filter.tools_list_changed || filter.prompts_list_changed || filter.resources_list_changed
}

/// The contexts of which a stream at a scope hears.
#[must_use]
pub fn of_filter(config: &Config, scope: &Scope, filter: &Filter) -> BTreeSet<Scope> {
    let uris = filter.resource_subscriptions.iter();
    let targets = uris.filter_map(|uri| of_uri(config, scope, uri).ok());
    gathered(targets.chain(wants_lists(filter).then(|| scope.clone())))
}

/// Every context of which anything may have been wanted before: a router that was restarted does
/// not know what it told.
#[must_use]
pub fn concerned(
    config: &Config,
    streams: &[Stream],
    subscriptions: &[(Scope, String)],
) -> BTreeSet<Scope> {
    gathered(gather(config, streams, |_| true, subscriptions).into_keys())
}

/// What the Agents have been told. An Agent of a context that is not here has been told nothing.
#[derive(Debug, Default)]
pub struct Told(BTreeMap<Scope, Option<Interest>>);

impl Told {
    /// Nothing is known of what these were told.
    #[must_use]
    pub fn unknown(scopes: BTreeSet<Scope>) -> Self {
        Self(gathered(scopes.into_iter().map(|scope| (scope, None))))
    }

    /// What has to be told.
    #[must_use]
    pub fn missing(&self, wanted: &BTreeMap<Scope, Interest>) -> Vec<(Scope, Interest)> {
        let scopes: BTreeSet<&Scope> = gathered(self.0.keys().chain(wanted.keys()));
        let nothing = Interest::default();
        let missing = scopes.into_iter().filter_map(|scope| {
            let wanted = wanted.get(scope).unwrap_or(&nothing);
            let told = match self.0.get(scope) {
                None => Some(&nothing),
                Some(told) => told.as_ref(),
            };
            (told != Some(wanted)).then(|| (scope.clone(), wanted.clone()))
        });
        missing.collect()
    }

    /// Notes that an Agent is being told something, and nobody knows yet whether it hears it. Says
    /// whether it may have been told anything before.
    pub fn telling(&mut self, scope: &Scope) -> bool {
        self.0.insert(scope.clone(), None).is_some()
    }

    /// Notes that an Agent has been told this.
    pub fn told(&mut self, scope: &Scope, interest: Interest) {
        if interest == Interest::default() {
            self.0.remove(scope);
        } else {
            self.0.insert(scope.clone(), Some(interest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::EventId;
    use serde_json::value::RawValue;
    use shared::{SessionId, config::Written};

    fn config() -> Config {
        let toolsets = r#"[{"kind":"memory"},
            {"kind":"mcp","url":"https://a.test/","uris":["repo://{org}/{project}/"]}]"#;
        Config::parse(Written { toolsets: Some(toolsets), ..Written::default() }).unwrap()
    }

    fn scope(path: &str) -> Scope {
        Scope::parse_path(path, &config().levels).unwrap()
    }

    fn stream(path: &str, purpose: Purpose) -> Stream {
        Stream { id: EventId::parse("1-0").unwrap().stream, scope: scope(path), purpose }
    }

    fn listen(path: &str, lists: bool, uris: &[&str]) -> Stream {
        let filter = Filter {
            prompts_list_changed: lists,
            resource_subscriptions: uris.iter().map(|&uri| uri.to_owned()).collect(),
            ..Filter::default()
        };
        let id = RawValue::from_string("1".to_owned()).unwrap();
        stream(path, Purpose::Listen { id, filter })
    }

    fn session(path: &str) -> Stream {
        stream(path, Purpose::Session(SessionId::from_random([1; 32])))
    }

    fn interest(lists: bool, uris: &[&str]) -> Interest {
        let uris = uris.iter().map(|&uri| uri.to_owned()).collect();
        Interest { lists, uris, ..Interest::default() }
    }

    #[test]
    fn what_everybody_wants_is_put_together_where_it_is() {
        let streams = [
            session("/mcp"),
            listen("/mcp/acme", false, &["repo://acme/web/1", "memory://x"]),
            listen("/mcp/acme/web", true, &[]),
            listen("/mcp/quiet", false, &[]),
        ];
        let subscriptions = [
            (scope("/mcp"), "repo://acme/web/2".to_owned()),
            (scope("/mcp"), "repo://acme".to_owned()),
            (scope("/mcp/acme"), "repo://other/web/1".to_owned()),
            (scope("/mcp"), "repo://../x/1".to_owned()),
        ];
        let expected = |is_connected: bool| {
            let mut expected = vec![
                (scope("/mcp/acme"), interest(false, &["memory://x", "repo://acme"])),
                (
                    scope("/mcp/acme/web"),
                    interest(true, &["repo://acme/web/1", "repo://acme/web/2"]),
                ),
            ];
            if is_connected {
                expected.insert(0, (scope("/mcp"), interest(true, &[])));
            }
            expected
        };
        for is_connected in [false, true] {
            let gathered = gather(&config(), &streams, |_| is_connected, &subscriptions);
            assert_eq!(gathered.into_iter().collect::<Vec<_>>(), expected(is_connected));
        }
        let all = concerned(&config(), &streams, &subscriptions);
        assert_eq!(all, expected(true).into_iter().map(|(scope, _)| scope).collect());
    }

    #[test]
    fn an_agent_is_told_what_it_does_not_know() {
        let one = |path: &str, wanted: Interest| BTreeMap::from([(scope(path), wanted)]);
        let wanted = one("/mcp/a", interest(true, &[]));
        let mut told = Told::default();
        assert_eq!(told.missing(&BTreeMap::new()), []);
        assert_eq!(told.missing(&wanted), [(scope("/mcp/a"), interest(true, &[]))]);
        told.told(&scope("/mcp/a"), interest(true, &[]));
        assert_eq!(told.missing(&wanted), []);
        let more = one("/mcp/a", interest(true, &["a:b"]));
        assert_eq!(told.missing(&more), [(scope("/mcp/a"), interest(true, &["a:b"]))]);
        let nothing = [(scope("/mcp/a"), interest(false, &[]))];
        assert_eq!(told.missing(&BTreeMap::new()), nothing);
        assert!(told.telling(&scope("/mcp/a")) && !told.telling(&scope("/mcp/b")));
        told.told(&scope("/mcp/b"), interest(false, &[]));
        assert_eq!(told.missing(&BTreeMap::new()), nothing);
        told.told(&scope("/mcp/a"), interest(false, &[]));
        assert_eq!(told.missing(&BTreeMap::new()), []);
        let restarted = Told::unknown([scope("/mcp/a")].into());
        assert_eq!(restarted.missing(&wanted), [(scope("/mcp/a"), interest(true, &[]))]);
        assert_eq!(restarted.missing(&BTreeMap::new()), nothing);
    }
}
