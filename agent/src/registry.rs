//! The tools of all toolsets, narrowed to one scope: made once per version of a toolset's offers,
//! and only read after that. It must not know what any tool does.

use crate::{
    fence::Fence,
    mirror::{self, Mirrored},
    toolset::{Claim, Current, Need, Offer, Offers, TaskSupport, ToolError, Toolset, Visit},
};
use futures_util::{
    StreamExt as _,
    future::join_all,
    stream::{self, FuturesOrdered},
};
use narrow::narrow;
use rmcp::model::JsonObject;
use serde_json::Value;
use shared::{Scope, config, limits};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// A toolset as the configuration places it here.
pub struct Placed {
    /// What the configuration says of it.
    pub config: config::Toolset,
    /// The toolset.
    pub toolset: Box<dyn Toolset>,
    /// What of it the scope fixes.
    pub fence: Fence,
    views: RefCell<Vec<(Rc<Offers>, Rc<View>)>>,
}

impl std::fmt::Debug for Placed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Placed").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A tool as clients see it here.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The name that clients know.
    pub name: String,
    /// The name that its toolset knows.
    pub inner: String,
    /// The whole of it, narrowed, as JSON.
    pub text: String,
    /// The complete schema, before narrowing.
    pub schema: JsonObject,
    /// Whether its work may go on without its caller.
    pub tasks: TaskSupport,
    /// The parameters that its caller mirrors into headers, as the tool is advertised.
    pub mirrored: Vec<Mirrored>,
    /// Those that are not advertised here, because the scope fixes them.
    pub fixed: Vec<Mirrored>,
    /// Whether it says that it only reads.
    pub is_read_only: bool,
    /// See [`Offer::fingerprint`].
    pub fingerprint: Option<String>,
    /// See [`Offer::is_changed`].
    pub is_changed: bool,
}

/// The tools of one toolset as clients see them here.
#[derive(Debug, Default)]
pub struct View {
    /// The tools, in the toolset's order.
    pub tools: Vec<Rc<Shown>>,
    /// What is not shown, by the names that clients would know, and why.
    pub hidden: Vec<(String, String)>,
    by_name: BTreeMap<String, usize>,
}

impl View {
    /// The tool of this name, if it is shown.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Rc<Shown>> {
        self.by_name.get(name).and_then(|index| self.tools.get(*index))
    }
}

impl Placed {
    /// Whether it may have a tool that clients see under this name.
    fn may_have(&self, name: &str) -> bool {
        self.config.inner(name).is_some_and(|inner| self.config.allows(inner))
    }

    /// A toolset at a scope.
    #[must_use]
    pub fn new(
        config: config::Toolset,
        toolset: Box<dyn Toolset>,
        scope: &Scope,
        levels: &[config::Level],
    ) -> Self {
        let fence = Fence::new(&config, scope, levels);
        Self { config, toolset, fence, views: RefCell::default() }
    }

    /// Its tools as clients see them here, and the version of its offers that they are.
    ///
    /// # Errors
    /// The toolset's own.
    pub async fn view(&self, visit: &Visit, need: Need) -> Result<Seen, ToolError> {
        let current = self.toolset.tools(visit, need).await?;
        let offers = &current.it;
        let mut views = self.views.borrow_mut();
        if let Some((_, view)) = views.iter().find(|(known, _)| Rc::ptr_eq(known, offers)) {
            let view = Rc::clone(view);
            return Ok((current, view));
        }
        let view = Rc::new(self.narrowed(offers));
        // Different kinds of clients may be offered different tools.
        if views.len() >= limits::VIEWS_MAX {
            views.remove(0);
        }
        views.push((Rc::clone(offers), Rc::clone(&view)));
        drop(views);
        Ok((current, view))
    }

    fn narrowed(&self, offers: &Offers) -> View {
        let mut view = View::default();
        for (name, reason) in &offers.dropped {
            view.hidden.push((name.clone(), reason.clone()));
        }
        for offer in &offers.tools {
            let name = self.config.outer(&offer.name);
            match self.shown(offer, &name) {
                Err(reason) => view.hidden.push((name, reason)),
                Ok(_) if view.by_name.contains_key(&name) => {
                    view.hidden.push((name, "another tool has this name".to_owned()));
                }
                Ok(shown) => {
                    view.by_name.insert(name, view.tools.len());
                    view.tools.push(Rc::new(shown));
                }
            }
        }
        view
    }

    /// A tool as clients see it, or why they do not.
    fn shown(&self, offer: &Offer, name: &str) -> Result<Shown, String> {
        if !self.config.allows(&offer.name) {
            return Err("it is not among those that the configuration allows".to_owned());
        }
        if self.config.hides(&offer.name, self.fence.depth()) {
            return Err("the configuration hides it at this scope".to_owned());
        }
        let schema = offer.object.get("inputSchema").and_then(Value::as_object);
        let schema = schema.cloned().unwrap_or_default();
        let narrowed = match self.fence.pins.is_empty() {
            true => schema.clone(),
            false => narrow(&schema, &self.fence.pins)
                .map_err(|error| format!("its schema cannot be narrowed: {error}"))?,
        };
        let mirrored = mirror::mirrored(&narrowed);
        let mut fixed = mirror::mirrored(&schema);
        fixed.retain(|parameter| !mirrored.contains(parameter));
        let mut object = offer.object.clone();
        object.insert("name".to_owned(), name.into());
        object.insert("inputSchema".to_owned(), Value::Object(narrowed));
        let hint = |name: &str| {
            let annotations = offer.object.get("annotations");
            annotations.and_then(|annotations| annotations.get(name)) == Some(&Value::Bool(true))
        };
        Ok(Shown {
            name: name.to_owned(),
            inner: offer.name.clone(),
            text: Value::Object(object).to_string(),
            schema,
            tasks: offer.tasks,
            mirrored,
            fixed,
            is_read_only: hint("readOnlyHint"),
            fingerprint: offer.fingerprint.clone(),
            is_changed: offer.is_changed,
        })
    }
}

/// The toolsets of which a request's options leave anything: what they exclude is not asked.
pub type Left<'a> = Vec<&'a Placed>;

/// Everything that one context serves.
#[derive(Debug)]
pub struct Registry {
    /// The toolsets, in the order of the configuration.
    pub toolsets: Vec<Placed>,
    /// Toolsets that are configured and not here, and why.
    pub absent: Vec<(String, String)>,
}

/// The tools of one toolset, as it offers them and as clients see them.
pub type Seen = (Current<Offers>, Rc<View>);

/// A tool and whose it is.
#[derive(Debug)]
pub struct Found<'a> {
    /// The toolset.
    pub placed: &'a Placed,
    /// The tool.
    pub tool: Rc<Shown>,
}

/// The tools of toolsets. They are asked at the same time.
pub async fn views<'a>(
    left: Left<'a>,
    visit: &Visit,
    need: Need,
) -> Vec<(&'a Placed, Result<Seen, ToolError>)> {
    let all = left.into_iter();
    join_all(all.map(|placed| async move { (placed, placed.view(visit, need).await) })).await
}

/// The tool of this name, if it is shown here. A hidden one is as unknown as any other. Only those
/// toolsets are asked whose it may be.
///
/// # Errors
/// Why it is not known whether there is one.
pub async fn find<'a>(
    left: Left<'a>,
    name: &str,
    visit: &Visit,
) -> Result<Option<Found<'a>>, ToolError> {
    let may = |placed: &&Placed| placed.may_have(name);
    // A prefix says whose it is.
    let prefixed = |placed: &&Placed| placed.config.prefix.is_some() && may(placed);
    let owner = left.iter().copied().find(prefixed);
    let groups: [Vec<&Placed>; 2] = match owner {
        Some(owner) => [vec![owner], Vec::new()],
        // To some the configuration gives names before any server does.
        None => [false, true].map(|is_open| {
            let all = left.iter().copied().filter(may);
            all.filter(|placed| placed.config.is_open() == is_open).collect()
        }),
    };
    // Whoever calls a tool has seen it: an older copy of the list will do, if it is in there.
    let found = search(&groups, Need::Known, |placed, need| async move {
        let (_, view) = placed.view(visit, need).await?;
        Ok(view.find(name).map(Rc::clone))
    });
    Ok(found.await?.map(|(placed, tool)| Found { placed, tool }))
}

/// Has whoever calls a tool of this name connect what those toolsets need whose it may be; whether
/// there may be more to find now.
pub async fn connect(left: Left<'_>, name: &str, visit: &Visit) -> bool {
    let mut has_connected = false;
    for placed in left.into_iter().filter(|placed| placed.may_have(name)) {
        has_connected |= placed.toolset.connect(visit).await;
    }
    has_connected
}

/// Extensions of MCP that toolsets have, and whether all have said so. They are asked at the same
/// time.
pub async fn extensions(left: Left<'_>, visit: &Visit) -> (BTreeSet<&'static str>, bool) {
    let asked = left.into_iter().map(|placed| placed.toolset.extensions(visit));
    let said = join_all(asked).await;
    let is_whole = said.iter().all(Option::is_some);
    (said.into_iter().flatten().flatten().collect(), is_whole)
}

/// What some toolset has, and which: looked for in one group after another, and of several in a
/// group the first has it. It is looked for first where nobody must be asked, so that a slow server
/// holds up only what may be its own. `need` is how new it must be where it is.
///
/// # Errors
/// Why it is not known whether there is any.
pub async fn search<'a, T, F>(
    groups: &[Vec<&'a Placed>],
    need: Need,
    look: impl Fn(&'a Placed, Need) -> F,
) -> Result<Option<(&'a Placed, T)>, ToolError>
where
    F: Future<Output = Result<Option<T>, ToolError>>,
{
    let (mut failed, mut lacking) = (None, Vec::new());
    for group in groups {
        let mut asked = Vec::new();
        for placed in group {
            match look(placed, Need::Near).await {
                Ok(Some(_)) => match look(placed, need).await {
                    Ok(Some(found)) => return Ok(Some((*placed, found))),
                    Ok(None) => {}
                    Err(error) => failed = failed.or(Some(error)),
                },
                Ok(None) => lacking.push(*placed),
                Err(_) => asked.push(*placed),
            }
        }
        match first(&asked, need, &look).await {
            Ok(Some(found)) => return Ok(Some(found)),
            Ok(None) => {}
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    // It may be newer than what is known.
    match first(&lacking, Need::Fresh, &look).await {
        Ok(None) => failed.map_or(Ok(None), Err),
        outcome => outcome,
    }
}

/// What the first of some toolsets has that has it. They are asked at the same time.
async fn first<'a, T, F>(
    asked: &[&'a Placed],
    need: Need,
    look: &impl Fn(&'a Placed, Need) -> F,
) -> Result<Option<(&'a Placed, T)>, ToolError>
where
    F: Future<Output = Result<Option<T>, ToolError>>,
{
    let mut failed = None;
    let answers: FuturesOrdered<_> = asked.iter().map(|placed| look(placed, need)).collect();
    // Who comes after the first that has it is not waited for.
    let mut answers = answers.zip(stream::iter(asked));
    while let Some((answer, placed)) = answers.next().await {
        match answer {
            Ok(Some(found)) => return Ok(Some((*placed, found))),
            Ok(None) => {}
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(None), Err)
}

/// The toolsets that are asked for a resource, in turn: whose it plainly is, or if it is plainly
/// nobody's then all of them, our own first.
pub async fn owners<'a>(toolsets: Vec<&'a Placed>, uri: &str, visit: &Visit) -> Vec<&'a Placed> {
    let mut unknown = vec![false; toolsets.len()];
    for need in [Need::Near, Need::Soon] {
        let claims = toolsets.iter().map(|placed| placed.toolset.claim(uri, visit, need));
        let claims = join_all(claims).await;
        unknown = claims.iter().map(Result::is_err).collect();
        // What is not known is no claim.
        let claims = claims.into_iter().map(Result::unwrap_or_default);
        let owners = plainest(toolsets.iter().copied().zip(claims).collect());
        if !owners.is_empty() {
            return owners;
        }
        // A server that is alone is told anyway.
        if toolsets.iter().filter(|placed| placed.toolset.is_remote()).count() <= 1 {
            break;
        }
    }
    // Whoever does not answer holds up nobody who does.
    let mut all: Vec<_> = toolsets.into_iter().zip(unknown).collect();
    all.sort_by_key(|(placed, is_unknown)| (placed.toolset.is_remote(), *is_unknown));
    all.into_iter().map(|(placed, _)| placed).collect()
}

/// Those with a claim, the plainest first. What somebody lists is nobody's who only has a template.
fn plainest<T>(mut claims: Vec<(T, Claim)>) -> Vec<T> {
    let is_listed = claims.iter().any(|(_, claim)| *claim == Claim::Listed);
    claims.retain(|(_, claim)| *claim > Claim::Nothing && (*claim == Claim::Listed || !is_listed));
    let mut plainest = Vec::new();
    loop {
        // The first of those that are as plain.
        let left = claims.iter().enumerate().rev();
        let Some((index, _)) = left.max_by_key(|(_, (_, claim))| *claim) else {
            return plainest;
        };
        plainest.push(claims.remove(index).0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_whose_it_plainly_is() {
        let (nothing, some, more) = (Claim::Nothing, Claim::Template(3), Claim::Template(9));
        for (claims, expected) in [
            (vec![nothing, nothing], vec![]),
            (vec![nothing, some, more], vec![2, 1]),
            (vec![some, nothing, some], vec![0, 2]),
            (vec![more, Claim::Listed, some, Claim::Listed], vec![1, 3]),
        ] {
            let found = plainest(claims.iter().copied().enumerate().collect());
            assert_eq!(found, expected, "{claims:?}");
        }
    }
}
