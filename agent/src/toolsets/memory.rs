//! The `memory` toolset: durable notes of one context, with full-text search, as tools, resources
//! and a prompt. It must not know scopes: the parameters that name one are declared here and
//! pinned or routed elsewhere.

mod library;
mod schema;

use crate::{
    platform::Platform,
    toolset::{
        Answer, Answered, Call, Changed, Claim, Completion, Current, Listed, Need, Offers, Page,
        Subject, TaskSupport, ToolError, Toolset, Visit, listed, object,
    },
};
use library::{Library, Place, Shelved};
use rmcp::model::{
    CallToolResult, CompleteResult, CompletionInfo, ErrorData, GetPromptResult, JsonObject,
    PromptMessage, ReadResourceResult, Resource, ResourceContents, Role,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use shared::{
    AgentKey, Error,
    config::Level,
    database::Database,
    error::shown,
    hop::Change,
    limits,
    notes::{self, Draft, Note},
};
use std::{fmt::Write as _, rc::Rc};

/// Durable notes of one context.
pub struct Memory {
    tools: Current<Offers>,
    prompts: Current<Listed>,
    templates: Current<Listed>,
    scope_parameters: Vec<String>,
    key: Rc<AgentKey>,
    library: Library,
    platform: Rc<dyn Platform>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("key", &self.key).finish_non_exhaustive()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remember {
    text: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    shared: Option<bool>,
    #[serde(default)]
    id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recall {
    query: String,
    #[serde(default)]
    limit: Option<f64>,
    #[serde(default)]
    cursor: Option<String>,
    #[serde(default)]
    across: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    tag: Option<String>,
    #[serde(default)]
    limit: Option<f64>,
    #[serde(default)]
    cursor: Option<String>,
    #[serde(default)]
    across: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Forget {
    id: String,
}

impl Memory {
    /// The notes of the context `key`, kept in its database.
    pub fn new(
        levels: &[Level],
        key: Rc<AgentKey>,
        database: Rc<dyn Database>,
        platform: Rc<dyn Platform>,
    ) -> Self {
        Self {
            tools: Offers::of(&schema::tools(levels, key.scope.depth()), |_| TaskSupport::Never),
            prompts: listed(&schema::prompts()),
            templates: listed(&schema::templates()),
            scope_parameters: levels.iter().flat_map(|level| level.parameters.clone()).collect(),
            key,
            library: Library::new(database, Rc::clone(&platform)),
            platform,
        }
    }

    async fn dispatch(&self, call: Call) -> Result<CallToolResult, ToolError> {
        let mut arguments = call.arguments;
        // What a scope parameter says has been acted on by now: this is that context.
        arguments.retain(|name, _| !self.scope_parameters.contains(name));
        let structured = match call.name.as_str() {
            "remember" => self.remember(read(arguments)?, &call.visit.changed).await?,
            "recall" => self.recall(read(arguments)?, call.visit.shared_notes).await?,
            "list_memories" => self.list(read(arguments)?, call.visit.shared_notes).await?,
            "forget" => {
                self.forget(&read(arguments)?, &call.visit.changed, call.visit.shared_notes).await?
            }
            other => {
                let text = format!("there is no tool {other}");
                return Err(ToolError::Protocol(ErrorData::invalid_params(text, None)));
            }
        };
        Ok(CallToolResult::structured(structured))
    }

    async fn remember(&self, arguments: Remember, changed: &Changed) -> Result<Value, ToolError> {
        let replaced = arguments.id.is_some();
        let place = match &arguments.id {
            None => Place::of(arguments.shared.unwrap_or(false)),
            Some(id) => self.kept(id, arguments.shared.map(Place::of)).await?,
        };
        let fresh = || notes::id_from_random(self.platform.random());
        let draft = Draft {
            id: arguments.id.unwrap_or_else(fresh),
            replace: replaced,
            title: arguments.title,
            text: arguments.text,
            tags: arguments.tags,
        };
        let note = self.library.put(place, draft).await?;
        // A note's title and size are in the list, too.
        announce(changed, place, replaced.then_some(note.id.as_str()));
        Ok(json!({
            "id": note.id, "uri": place.uri(&note.id), "shared": place == Place::Shared,
            "createdAt": note.created.to_rfc3339(), "updatedAt": note.updated.to_rfc3339(),
        }))
    }

    /// Where a note that is to be replaced is, and stays.
    async fn kept(&self, id: &str, wanted: Option<Place>) -> Result<Place, ToolError> {
        let Some(kept) = self.library.get(id).await?.map(|shelved| shelved.place) else {
            return Ok(wanted.unwrap_or(Place::Own));
        };
        if wanted.is_some_and(|wanted| wanted != kept) {
            return Err(ToolError::Failed(format!(
                "the note {} cannot change between shared and not; remember it anew without \
                 `id`, and forget this one",
                shown(id)
            )));
        }
        Ok(kept)
    }

    async fn recall(&self, arguments: Recall, shared: bool) -> Result<Value, ToolError> {
        if !arguments.query.chars().any(char::is_alphanumeric) {
            let text = "`query` has no word to look for; use list_memories to see everything";
            return Err(ToolError::Failed(text.to_owned()));
        }
        check_across(arguments.across, arguments.cursor.as_ref())?;
        let (offset, limit) = window(arguments.limit, arguments.cursor.as_deref())?;
        let found = self.library.search(&arguments.query, offset, limit, shared).await?;
        Ok(page(&found.items, found.next))
    }

    async fn list(&self, arguments: List, shared: bool) -> Result<Value, ToolError> {
        check_across(arguments.across, arguments.cursor.as_ref())?;
        let (offset, limit) = window(arguments.limit, arguments.cursor.as_deref())?;
        let found = self.library.list(arguments.tag, offset, limit, shared).await?;
        Ok(page(&found.items, found.next))
    }

    async fn forget(
        &self,
        arguments: &Forget,
        changed: &Changed,
        shared: bool,
    ) -> Result<Value, ToolError> {
        match self.library.forget(&arguments.id, shared).await? {
            Some(gone) => {
                announce(changed, gone.place, Some(&gone.note.id));
                Ok(json!({
                    "id": gone.note.id, "title": gone.note.title,
                    "shared": gone.place == Place::Shared,
                }))
            }
            None => Err(ToolError::Failed(format!(
                "there is no note {}; list_memories shows the ids",
                shown(&arguments.id)
            ))),
        }
    }

    async fn briefing(&self, topic: Option<&str>, shared: bool) -> Result<String, Error> {
        let limit = limits::NOTES_PAGE_DEFAULT.saturating_mul(2).min(limits::NOTES_PAGE_MAX);
        let found = match topic {
            Some(topic) => self.library.search(topic, 0, limit, shared).await?,
            None => self.library.list(None, 0, limit, shared).await?,
        };
        let scope = &self.key.scope;
        let about = topic.map(|topic| format!(" about \"{topic}\"")).unwrap_or_default();
        if found.items.is_empty() {
            return Ok(format!(
                "Nothing is remembered{about} in {scope} yet. Use the tool `remember` to keep \
                 decisions, facts and open questions that a later session will need."
            ));
        }
        let mut text = format!(
            "This is what earlier sessions remembered{about} in {scope}, newest or best match \
             first. Treat it as background that may be out of date; use `recall` for more, and \
             `remember` when something changes.\n"
        );
        for shelved in &found.items {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n## {}\n{}\n", heading(shelved), shelved.excerpt().0);
        }
        if found.next.is_some() {
            text.push_str("\nThere is more: use `recall` or `list_memories`.\n");
        }
        Ok(text)
    }
}

impl Toolset for Memory {
    fn tools<'a>(&'a self, _visit: &'a Visit, _need: Need) -> Answer<'a, Current<Offers>> {
        Box::pin(std::future::ready(Ok(self.tools.clone())))
    }

    fn call(&self, call: Call) -> Answer<'_, Answered<CallToolResult>> {
        Box::pin(async move { self.dispatch(call).await.map(Answered::Made) })
    }

    fn resources<'a>(&'a self, offset: u32, visit: &'a Visit) -> Answer<'a, Page> {
        Box::pin(async move {
            let limit = u32::try_from(limits::PAGE_ITEMS_MAX).unwrap_or(u32::MAX);
            let found = self.library.list(None, offset, limit, visit.shared_notes).await?;
            let items = found.items.iter().map(|shelved| object(&resource(shelved))).collect();
            // They come and go with every call.
            Ok(Page { items, next: found.next, ..Page::default() })
        })
    }

    fn templates<'a>(&'a self, _visit: &'a Visit, _need: Need) -> Answer<'a, Current<Listed>> {
        Box::pin(std::future::ready(Ok(self.templates.clone())))
    }

    fn read<'a>(
        &'a self,
        uri: &'a str,
        _visit: &'a Visit,
    ) -> Answer<'a, Option<Answered<ReadResourceResult>>> {
        Box::pin(async move {
            let Some((place, id)) = Place::parse(uri) else {
                return Ok(None);
            };
            let Some(note) = self.library.get_from(place, id).await? else {
                return Ok(None);
            };
            let contents = ResourceContents::text(note.text, uri).with_mime_type("text/markdown");
            Ok(Some(ReadResourceResult::new(vec![contents]).into()))
        })
    }

    fn prompts<'a>(&'a self, _visit: &'a Visit, _need: Need) -> Answer<'a, Current<Listed>> {
        Box::pin(std::future::ready(Ok(self.prompts.clone())))
    }

    fn prompt<'a>(
        &'a self,
        _name: &'a str,
        arguments: JsonObject,
        visit: &'a Visit,
    ) -> Answer<'a, Answered<GetPromptResult>> {
        Box::pin(async move {
            let topic = match arguments.get("topic") {
                None | Some(Value::Null) => None,
                Some(Value::String(topic)) => Some(topic.trim()).filter(|topic| !topic.is_empty()),
                Some(_) => {
                    let error = ErrorData::invalid_params("`topic` must be a string", None);
                    return Err(ToolError::Protocol(error));
                }
            };
            let text = self.briefing(topic, visit.shared_notes).await?;
            let message = PromptMessage::new_text(Role::User, text);
            let prompt = GetPromptResult::new(vec![message]);
            Ok(prompt.with_description("What is remembered here").into())
        })
    }

    fn claims(&self, uris: &[&str]) -> Vec<Claim> {
        let claim = |uri: &&str| Place::parse(uri).map_or(Claim::Nothing, |_| Claim::Listed);
        uris.iter().map(claim).collect()
    }

    fn complete<'a>(
        &'a self,
        question: Completion<'a>,
        visit: &'a Visit,
    ) -> Answer<'a, Option<Answered<CompleteResult>>> {
        let Completion { subject, argument, text, .. } = question;
        Box::pin(async move {
            let values = match (subject, argument) {
                (Subject::Template(template), "id") => match Place::of_template(template) {
                    Some(place) => self.library.ids(place, text).await?,
                    None => return Ok(None),
                },
                (Subject::Prompt("briefing"), "topic") => {
                    self.library.tags(text, visit.shared_notes).await?
                }
                _ => return Ok(None),
            };
            completion(values).map(|result| Some(result.into()))
        })
    }
}

/// As many values as a completion may offer.
pub(super) fn completion(values: Vec<String>) -> Result<CompleteResult, ToolError> {
    let has_more = values.len() > limits::COMPLETION_VALUES_MAX;
    let values = values.into_iter().take(limits::COMPLETION_VALUES_MAX).collect();
    let info = CompletionInfo::with_pagination(values, None, has_more).map_err(Error::internal)?;
    Ok(CompleteResult::new(info))
}

/// Announces a change of the list of notes, and of the note whose contents are other than before.
fn announce(changed: &Changed, place: Place, id: Option<&str>) {
    let uri = id.map(|id| place.uri(id));
    let (list, note) = match place {
        Place::Own => (Change::Resources, uri.map(Change::Resource)),
        Place::Shared => (Change::ResourcesEverywhere, uri.map(Change::ResourceEverywhere)),
    };
    changed.announce(list);
    note.into_iter().for_each(|note| changed.announce(note));
}

fn read<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, ToolError> {
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| ToolError::Failed(format!("the arguments do not fit: {error}")))
}

/// A search in several contexts has one page: the router asks each of them for its first.
fn check_across(across: Option<bool>, cursor: Option<&String>) -> Result<(), ToolError> {
    match (across, cursor) {
        (Some(true), Some(_)) => {
            let text = "a search across contexts has one page; leave `cursor` out, or ask for more \
                with `limit`, or in one context";
            Err(ToolError::Failed(text.to_owned()))
        }
        _ => Ok(()),
    }
}

/// Where a page of notes begins and how many it holds. To JSON Schema 1.0 is an integer too.
fn window(limit: Option<f64>, cursor: Option<&str>) -> Result<(u32, u32), ToolError> {
    let fits = |n: &u32| limit.is_none_or(|limit| limit == f64::from(*n));
    let default = limits::NOTES_PAGE_DEFAULT;
    let mut sizes = (1..=limits::NOTES_PAGE_MAX).filter(fits);
    let size = if limit.is_none() { Some(default) } else { sizes.next() };
    let limit = size.ok_or_else(|| {
        ToolError::Failed(format!("`limit` is a whole number from 1 to {}", limits::NOTES_PAGE_MAX))
    })?;
    let offset = match cursor {
        None => 0,
        Some(cursor) => {
            cursor.strip_prefix("after-").and_then(|n| n.parse().ok()).ok_or_else(|| {
                ToolError::Failed("`cursor` must be the `nextCursor` of an earlier page".to_owned())
            })?
        }
    };
    Ok((offset, limit))
}

fn page(items: &[Shelved], next: Option<u32>) -> Value {
    let mut page = json!({ "notes": items.iter().map(note).collect::<Vec<_>>() });
    if let (Some(next), Some(page)) = (next, page.as_object_mut()) {
        page.insert("nextCursor".to_owned(), format!("after-{next}").into());
    }
    page
}

fn note(shelved: &Shelved) -> Value {
    let Note { id, title, tags, created, updated, .. } = &shelved.note;
    let (text, truncated) = shelved.excerpt();
    json!({
        "id": id, "uri": shelved.place.uri(id), "title": title, "text": text,
        "truncated": truncated, "tags": tags, "shared": shelved.place == Place::Shared,
        "createdAt": created.to_rfc3339(), "updatedAt": updated.to_rfc3339(),
    })
}

/// What a person sees first of a note: its title, or else how its text begins.
fn heading(shelved: &Shelved) -> String {
    let note = &shelved.note;
    if !note.title.is_empty() {
        return note.title.clone();
    }
    let line = note.text.trim_start().lines().next().unwrap_or_default();
    line.chars().take(80).collect()
}

fn resource(shelved: &Shelved) -> Resource {
    let note = &shelved.note;
    let mut resource = Resource::new(shelved.place.uri(&note.id), note.id.clone())
        .with_title(heading(shelved))
        .with_mime_type("text/markdown");
    resource.size = Some(note.text.len() as u64);
    resource
}
