//! The `memory` toolset: durable notes of one context, with full-text search, as tools, resources
//! and a prompt. It must not know scopes: the parameters that name one are declared here and
//! pinned or routed elsewhere.

mod library;
mod schema;

use crate::{
    client::Client,
    platform::Platform,
    toolset::{Answer, Call, Changed, Page, Subject, ToolError, Toolset},
};
use library::{Library, Place, Shelved};
use rmcp::model::{
    CallToolResult, ErrorData, GetPromptResult, JsonObject, Prompt, PromptMessage,
    ReadResourceResult, Resource, ResourceContents, ResourceTemplate, Role, Tool,
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
    tools: Vec<Tool>,
    prompts: Vec<Prompt>,
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
            tools: schema::tools(levels),
            prompts: schema::prompts(),
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
            "remember" => self.remember(read(arguments)?, &call.changed).await?,
            "recall" => self.recall(read(arguments)?, call.shared_notes).await?,
            "list_memories" => self.list(read(arguments)?, call.shared_notes).await?,
            "forget" => self.forget(&read(arguments)?, &call.changed, call.shared_notes).await?,
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
        let (offset, limit) = window(arguments.limit, arguments.cursor.as_deref())?;
        let found = self.library.search(&arguments.query, offset, limit, shared).await?;
        Ok(page(&found.items, found.next))
    }

    async fn list(&self, arguments: List, shared: bool) -> Result<Value, ToolError> {
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
    fn tools(&self) -> &[Tool] {
        &self.tools
    }

    fn call(&self, call: Call) -> Answer<'_, CallToolResult> {
        Box::pin(self.dispatch(call))
    }

    fn resources(&self, offset: u32, shared_notes: bool) -> Answer<'_, Page<Resource>> {
        Box::pin(async move {
            let limit = u32::try_from(limits::PAGE_ITEMS_MAX).unwrap_or(u32::MAX);
            let found = self.library.list(None, offset, limit, shared_notes).await?;
            let items = found.items.iter().map(resource).collect();
            Ok(Page { items, next: found.next })
        })
    }

    fn templates(&self) -> Vec<ResourceTemplate> {
        schema::templates()
    }

    fn read<'a>(
        &'a self,
        uri: &'a str,
        _client: &'a Client,
    ) -> Answer<'a, Option<ReadResourceResult>> {
        Box::pin(async move {
            let Some((place, id)) = Place::parse(uri) else {
                return Ok(None);
            };
            let Some(note) = self.library.get_from(place, id).await? else {
                return Ok(None);
            };
            let contents = ResourceContents::text(note.text, uri).with_mime_type("text/markdown");
            Ok(Some(ReadResourceResult::new(vec![contents])))
        })
    }

    fn prompts(&self) -> &[Prompt] {
        &self.prompts
    }

    fn prompt<'a>(
        &'a self,
        _name: &'a str,
        arguments: &'a JsonObject,
        _client: &'a Client,
        shared_notes: bool,
    ) -> Answer<'a, GetPromptResult> {
        Box::pin(async move {
            let topic = match arguments.get("topic") {
                None | Some(Value::Null) => None,
                Some(Value::String(topic)) => Some(topic.trim()).filter(|topic| !topic.is_empty()),
                Some(_) => {
                    let error = ErrorData::invalid_params("`topic` must be a string", None);
                    return Err(ToolError::Protocol(error));
                }
            };
            let text = self.briefing(topic, shared_notes).await?;
            let message = PromptMessage::new_text(Role::User, text);
            Ok(GetPromptResult::new(vec![message]).with_description("What is remembered here"))
        })
    }

    fn complete<'a>(
        &'a self,
        subject: Subject<'a>,
        argument: &'a str,
        text: &'a str,
        shared_notes: bool,
    ) -> Answer<'a, Option<Vec<String>>> {
        Box::pin(async move {
            let place = match (subject, argument) {
                (Subject::Template(template), "id") => Place::of_template(template),
                (Subject::Prompt("briefing"), "topic") => {
                    return Ok(Some(self.library.tags(text, shared_notes).await?));
                }
                _ => None,
            };
            match place {
                Some(place) => Ok(Some(self.library.ids(place, text).await?)),
                None => Ok(None),
            }
        })
    }
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
