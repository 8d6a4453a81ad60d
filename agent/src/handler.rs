//! The `rmcp` server of one context, as one request sees it: always under a scope, and the same
//! for every toolset. It must not know which toolsets there are, nor how a request came.

use crate::{
    background::Background,
    caller::SharedCaller,
    client::{Client, Rounds},
    platform::Platform,
    registry::{Placed, Registry},
    report::Reporter,
    skills::Bundle,
    tasks::{TaskCall, Tasks, Updated},
    toolset::{Call, Changed, Page, Subject, TaskSupport, ToolError},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CancelTaskParams, ClientCapabilities,
        CompleteRequestParams, CompleteResult, CompletionInfo, CreateTaskResult, DiscoverResult,
        ExtensionCapabilities, GetPromptRequestParams, GetPromptResponse, GetSkillRequestParams,
        GetSkillResult, GetTaskParams, GetTaskResult, Implementation, InitializeRequestParams,
        InitializeResult, JsonObject, ListPromptsResult, ListResourceTemplatesResult,
        ListResourcesResult, ListSkillsResult, ListToolsResult, PaginatedRequestParams, Prompt,
        ProtocolVersion, ReadResourceDirectoryRequestParams, ReadResourceDirectoryResult,
        ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Reference, Resource,
        SKILLS_EXTENSION_ID, ServerCapabilities, ServerConfig, Skill, TASKS_EXTENSION_ID, Tool,
        UpdateTaskParams,
    },
    service::RequestContext,
};
use serde_json::json;
use shared::{AgentKey, Error, Millis, error::shown, hop, limits};
use std::{borrow::Cow, collections::BTreeMap, fmt, rc::Rc};

/// One request's view of a context.
#[derive(Clone)]
pub struct Handler {
    /// Which context.
    pub key: Rc<AgentKey>,
    /// What it serves.
    pub registry: Rc<Registry>,
    /// The revision of the session, or of the request where there is no session.
    pub revision: ProtocolVersion,
    /// Who listens.
    pub caller: SharedCaller,
    /// What was asked and answered, in the modern era.
    pub rounds: Rc<Rounds>,
    /// Whether the user has shared notes.
    pub shared_notes: bool,
    /// Where failures are logged and changes told.
    pub platform: Rc<dyn Platform>,
    /// The calls that go on without their caller.
    pub tasks: Rc<Tasks>,
    /// Whether this is the work of one of them.
    pub is_task: bool,
    /// When its work began.
    pub began: Millis,
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Name and version, as clients see them.
#[must_use]
pub fn implementation() -> Implementation {
    Implementation::new("signalbox", env!("CARGO_PKG_VERSION")).with_title("Signalbox")
}

impl Handler {
    fn is_modern(&self) -> bool {
        !self.revision.has_initialize()
    }

    /// Freshness of a list that changes with the configuration only. Older revisions know none.
    fn list_ttl(&self) -> (Option<u64>, Option<CacheScope>) {
        self.hints(limits::TOOLS_TTL_MS)
    }

    fn hints(&self, ttl: u64) -> (Option<u64>, Option<CacheScope>) {
        if self.is_modern() { (Some(ttl), Some(CacheScope::Private)) } else { (None, None) }
    }

    fn reporter(&self, context: &RequestContext<RoleServer>) -> Reporter {
        Reporter::new(context.peer.clone(), Rc::clone(&self.caller))
    }

    fn client(&self, context: &RequestContext<RoleServer>) -> Client {
        let (caller, platform) = (Rc::clone(&self.caller), Rc::clone(&self.platform));
        if self.is_modern() {
            Client::of_rounds(Rc::clone(&self.rounds), caller, platform)
        } else {
            Client::of_session(context.peer.clone(), caller, platform)
        }
    }

    /// Tells what a call changed, where somebody would hear of it. A call has done its work
    /// whether or not that can be told.
    async fn tell(&self, changed: &Changed) {
        let changes = changed.take();
        // Somebody may have begun to listen while a call took its time.
        let is_heard = self.caller.borrow().is_heard
            || self.platform.now().since(self.began) > u64::from(limits::SILENCE_MS);
        if is_heard
            && !changes.is_empty()
            && let Err(error) = self.platform.changed(&self.key.scope, changes).await
        {
            self.platform.log(&error);
        }
    }

    /// Whether a call may go on without its caller, who must be able to come back for the result.
    ///
    /// # Errors
    /// -32021 for a caller that cannot, where the tool does not work without.
    fn check_tasks(
        &self,
        support: TaskSupport,
        context: &RequestContext<RoleServer>,
    ) -> Result<bool, ErrorData> {
        if self.is_task || support == TaskSupport::Never {
            return Ok(false);
        }
        // `rmcp` looks at the request that began the call, the answer goes to its latest.
        let knows = |capabilities: &ClientCapabilities| capabilities.supports_tasks();
        let is_possible = self.is_modern()
            && context.client_capabilities().as_ref().is_some_and(knows)
            && knows(&self.caller.borrow().capabilities);
        if support == TaskSupport::Must && !is_possible {
            let needed = ClientCapabilities::builder().enable_tasks().build();
            return Err(ErrorData::missing_required_client_capability(needed));
        }
        Ok(is_possible)
    }

    /// Lets a call go on in the background.
    async fn begin_task(&self, call: TaskCall) -> Result<CallToolResponse, ErrorData> {
        let call = TaskCall { answers: self.rounds.accepted(), ..call };
        match self.tasks.create(call).await {
            Ok(task) => Ok(CreateTaskResult::new(task).into()),
            Err(error) => self.failed(error.into()).into_result().map(Into::into),
        }
    }

    /// A failure on its way to the client: what it is not told goes to the log.
    fn failed(&self, error: ToolError) -> ToolError {
        if let ToolError::Below(below) = &error {
            self.platform.log(below);
        }
        error
    }

    /// Our own failure, as a protocol error.
    fn below(&self, error: Error) -> ErrorData {
        self.failed(error.into()).into_protocol()
    }

    /// A call that names a narrower context belongs there. The router sent it here, so it read
    /// the arguments in another way than `pin` does: better no answer than one from elsewhere.
    fn check_routed(&self, arguments: &JsonObject) -> Result<(), ErrorData> {
        let named = |parameter: &&String| arguments.get(*parameter).is_some_and(|v| !v.is_null());
        match self.registry.unpinned.iter().find(named) {
            None => Ok(()),
            Some(parameter) => {
                let text = format!("`{parameter}` names a context that this call did not reach");
                Err(ErrorData::invalid_params(text, None))
            }
        }
    }

    fn instructions(&self) -> String {
        let scope = &self.key.scope;
        let place = if scope.depth() == 0 {
            "Nothing is pinned: tools that take an organization or a project work in that \
             context when you name it, and in your own root context when you do not."
                .to_owned()
        } else {
            format!("This connection is pinned to {scope}; parameters that it fixes are not shown.")
        };
        format!("Signalbox serves the context {scope}. {place}")
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let mut capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_resources()
            .enable_resources_list_changed()
            .enable_resources_subscribe()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_completions()
            .enable_logging()
            .build();
        let mut extensions = ExtensionCapabilities::new();
        if self.is_modern() && self.registry.has_tasks() {
            extensions.insert(TASKS_EXTENSION_ID.to_owned(), JsonObject::new());
        }
        if self.registry.skills().next().is_some() {
            let settings = [("directoryRead".to_owned(), true.into())];
            extensions.insert(SKILLS_EXTENSION_ID.to_owned(), settings.into_iter().collect());
        }
        capabilities.extensions = (!extensions.is_empty()).then_some(extensions);
        ServerConfig::new(capabilities)
            .with_server_info(implementation())
            .with_protocol_version(self.revision.clone())
            .with_instructions(self.instructions())
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        let known = ProtocolVersion::KNOWN_VERSIONS.iter().filter(|version| {
            hop::HANDSHAKE_REVISIONS.contains(&version.as_str())
                || version.as_str() == hop::MODERN_REVISION
        });
        Cow::Owned(known.cloned().collect())
    }

    async fn initialize(
        &self,
        _request: InitializeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        // The router negotiated: the session it keeps and this answer must name one revision.
        Ok(self.get_info())
    }

    async fn discover(
        &self,
        _context: RequestContext<RoleServer>,
    ) -> Result<DiscoverResult, ErrorData> {
        let versions = self.supported_protocol_versions().into_owned();
        let mut result = DiscoverResult::from_server_info(versions, self.get_info());
        result.ttl_ms = limits::TOOLS_TTL_MS;
        Ok(result)
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let (tools, next) = page(&self.registry.tools, request)?;
        let mut result = ListToolsResult::with_all_items(tools);
        (result.next_cursor, (result.ttl_ms, result.cache_scope)) = (next, self.list_ttl());
        Ok(result)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.registry.tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let name = request.name.into_owned();
        let unknown =
            || ErrorData::invalid_params(format!("there is no tool {}", shown(&name)), None);
        let entry = self.registry.entry(&name).ok_or_else(unknown)?;
        let placed = self.registry.toolsets.get(entry.toolset).ok_or_else(unknown)?;
        let is_possible = self.check_tasks(entry.tasks, &context)?;
        let arguments = request.arguments.unwrap_or_default();
        let task = is_possible.then(|| TaskCall {
            name: name.clone(),
            arguments: arguments.clone(),
            meta: context.meta.clone(),
            answers: BTreeMap::new(),
        });
        let arguments = narrow::pin(&entry.schema, arguments, &self.registry.pins)
            .map_err(|conflict| ErrorData::invalid_params(conflict.to_string(), None))?;
        self.check_routed(&arguments)?;
        let (changed, background) = (Changed::default(), Background::new(task.is_some()));
        let call = Call {
            name: name.clone(),
            arguments,
            reporter: self.reporter(&context),
            client: self.client(&context),
            changed: changed.clone(),
            background: background.clone(),
            shared_notes: self.shared_notes,
        };
        let outcome = background.run(placed.toolset.call(call)).await;
        self.tell(&changed).await;
        match (outcome, task) {
            (Some(Ok(result)), _) => Ok(result.into()),
            (Some(Err(error)), _) => self.failed(error).into_result().map(Into::into),
            (None, Some(task)) => self.begin_task(task).await,
            (None, None) => Err(ErrorData::internal_error("the call has no background", None)),
        }
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let cursor = Cursor::of(request)?;
        let (mut toolset, mut offset) = cursor.unwrap_or_default();
        if cursor.is_some() && toolset >= self.registry.toolsets.len() {
            return Err(Cursor::foreign());
        }
        let mut resources: Vec<Resource> = Vec::new();
        let mut next = None;
        // Toolset after toolset; a page ends where one of them says that there is more.
        while let Some(placed) = self.registry.toolsets.get(toolset) {
            let answer = placed.toolset.resources(offset, self.shared_notes).await;
            let Page { items, next: more } =
                answer.map_err(|error| self.failed(error).into_protocol())?;
            resources.extend(items);
            if offset == 0 {
                resources.extend(placed.toolset.skills().iter().map(Bundle::manifest));
            }
            if let Some(more) = more {
                next = Some(Cursor::write(toolset, more));
                break;
            }
            (toolset, offset) = (toolset.saturating_add(1), 0);
            if resources.len() >= limits::PAGE_ITEMS_MAX && toolset < self.registry.toolsets.len() {
                next = Some(Cursor::write(toolset, 0));
                break;
            }
        }
        let mut result = ListResourcesResult::with_all_items(resources);
        // Resources come and go with every call.
        (result.next_cursor, (result.ttl_ms, result.cache_scope)) = (next, self.hints(0));
        Ok(result)
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let all: Vec<_> =
            self.registry.toolsets.iter().flat_map(|placed| placed.toolset.templates()).collect();
        let (templates, next) = page(&all, request)?;
        let mut result = ListResourceTemplatesResult::with_all_items(templates);
        (result.next_cursor, (result.ttl_ms, result.cache_scope)) = (next, self.list_ttl());
        Ok(result)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let client = self.client(&context);
        for placed in &self.registry.toolsets {
            let found = placed.toolset.read(&request.uri, &client).await;
            let found = found.map_err(|error| self.failed(error).into_protocol())?;
            let of_skill = || {
                let contents = placed.toolset.skills().iter().find_map(|s| s.read(&request.uri));
                contents.map(|contents| ReadResourceResult::new(vec![contents]))
            };
            if let Some(mut result) = found.or_else(of_skill) {
                (result.ttl_ms, result.cache_scope) = self.hints(0);
                return Ok(result.into());
            }
        }
        let text = format!("there is no resource {}", shown(&request.uri));
        Err(ErrorData::resource_not_found(text, Some(json!({ "uri": request.uri }))))
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let toolsets = self.registry.toolsets.iter();
        let all: Vec<_> = toolsets.flat_map(|placed| placed.toolset.prompts().to_vec()).collect();
        let (prompts, next) = page(&all, request)?;
        let mut result = ListPromptsResult::with_all_items(prompts);
        (result.next_cursor, (result.ttl_ms, result.cache_scope)) = (next, self.list_ttl());
        Ok(result)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let offers = |placed: &&Placed| {
            placed.toolset.prompts().iter().any(|prompt| prompt.name == request.name)
        };
        let Some(placed) = self.registry.toolsets.iter().find(offers) else {
            let text = format!("there is no prompt {}", shown(&request.name));
            return Err(ErrorData::invalid_params(text, None));
        };
        let offered = placed.toolset.prompts().iter().find(|prompt| prompt.name == request.name);
        if let Some(lacking) = offered.and_then(|prompt| lacking(prompt, &arguments)) {
            let text = format!("the prompt {} needs the argument {lacking}", request.name);
            return Err(ErrorData::invalid_params(text, None));
        }
        let (toolset, client) = (&placed.toolset, self.client(&context));
        let prompt = toolset.prompt(&request.name, &arguments, &client, self.shared_notes).await;
        prompt.map(Into::into).map_err(|error| self.failed(error).into_protocol())
    }

    async fn list_skills(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListSkillsResult, ErrorData> {
        let all: Vec<Skill> = self.registry.skills().map(|skill| skill.entry().clone()).collect();
        let (skills, next) = page(&all, request)?;
        let mut result = ListSkillsResult::with_all_items(skills);
        (result.next_cursor, (result.ttl_ms, result.cache_scope)) = (next, self.list_ttl());
        Ok(result)
    }

    async fn get_skill(
        &self,
        request: GetSkillRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetSkillResult, ErrorData> {
        let mut skills = self.registry.skills();
        let Some(skill) = skills.find(|skill| skill.entry().uri == request.uri) else {
            let text = format!("there is no skill {}", shown(&request.uri));
            return Err(ErrorData::invalid_params(text, None));
        };
        let mut result = GetSkillResult::new(skill.entry().clone());
        (result.ttl_ms, result.cache_scope) = self.list_ttl();
        Ok(result)
    }

    async fn read_resource_directory(
        &self,
        request: ReadResourceDirectoryRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceDirectoryResult, ErrorData> {
        let found = self.registry.skills().find_map(|skill| skill.directory(&request.uri));
        let Some(children) = found else {
            let text = format!("there is no directory {}", shown(&request.uri));
            return Err(ErrorData::invalid_params(text, None));
        };
        let asked = request.cursor.map(|c| PaginatedRequestParams::default().with_cursor(Some(c)));
        let (children, next) = page(&children, asked)?;
        let mut result = ReadResourceDirectoryResult::with_all_items(children);
        (result.next_cursor, (result.ttl_ms, result.cache_scope)) = (next, self.list_ttl());
        Ok(result)
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        let found = self.tasks.get(&request.task_id).map_err(|error| self.below(error))?;
        found.ok_or_else(|| no_task(&request.task_id))
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let updated = self.tasks.update(&request.task_id, request.input_responses).await;
        match updated.map_err(|error| self.below(error))? {
            Updated::Acknowledged => Ok(()),
            Updated::Unknown => Err(no_task(&request.task_id)),
            Updated::TooLarge => {
                let text = "`inputResponses` are larger than a task may have";
                Err(ErrorData::invalid_params(text, None))
            }
        }
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let found = self.tasks.cancel(&request.task_id).map_err(|error| self.below(error))?;
        if found { Ok(()) } else { Err(no_task(&request.task_id)) }
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let subject = match &request.r#ref {
            Reference::Prompt(prompt) => Subject::Prompt(&prompt.name),
            Reference::Resource(template) => Subject::Template(&template.uri),
            _ => {
                return Err(ErrorData::invalid_params("this kind of reference is unknown", None));
            }
        };
        let argument = &request.argument;
        for placed in &self.registry.toolsets {
            let toolset = &placed.toolset;
            let answer =
                toolset.complete(subject, &argument.name, &argument.value, self.shared_notes).await;
            if let Some(values) = answer.map_err(|error| self.failed(error).into_protocol())? {
                let has_more = values.len() > limits::COMPLETION_VALUES_MAX;
                let values = values.into_iter().take(limits::COMPLETION_VALUES_MAX).collect();
                let info = CompletionInfo::with_pagination(values, None, has_more)
                    .map_err(|error| ErrorData::internal_error(error, None))?;
                return Ok(CompleteResult::new(info));
            }
        }
        let text = format!("nothing here has an argument {}", shown(&argument.name));
        Err(ErrorData::invalid_params(text, None))
    }
}

fn no_task(id: &str) -> ErrorData {
    ErrorData::invalid_params(format!("there is no task {}", shown(id)), None)
}

/// The first argument that a prompt needs and was not given.
fn lacking<'a>(prompt: &'a Prompt, arguments: &JsonObject) -> Option<&'a str> {
    let needed = prompt.arguments.iter().flatten().filter(|a| a.required == Some(true));
    needed.map(|argument| argument.name.as_str()).find(|name| !arguments.contains_key(*name))
}

/// Where a page begins: a toolset and an offset in it. Opaque to clients.
struct Cursor;

impl Cursor {
    fn write(toolset: usize, offset: u32) -> String {
        URL_SAFE_NO_PAD.encode(format!("{toolset}.{offset}"))
    }

    /// What the client sent: `None` for the first page.
    fn of(request: Option<PaginatedRequestParams>) -> Result<Option<(usize, u32)>, ErrorData> {
        let Some(text) = request.and_then(|request| request.cursor) else {
            return Ok(None);
        };
        let read = || {
            let bytes = URL_SAFE_NO_PAD.decode(&text).ok()?;
            let text = String::from_utf8(bytes).ok()?;
            let (toolset, offset) = text.split_once('.')?;
            Some((toolset.parse().ok()?, offset.parse().ok()?))
        };
        read().map(Some).ok_or_else(Self::foreign)
    }

    fn foreign() -> ErrorData {
        let text = "this cursor is none of ours; leave it out to begin at the first page";
        ErrorData::invalid_params(text, None)
    }
}

/// One page of a list that is in memory as a whole, and the cursor of the next.
fn page<T: Clone>(
    all: &[T],
    request: Option<PaginatedRequestParams>,
) -> Result<(Vec<T>, Option<String>), ErrorData> {
    let (list, offset) = Cursor::of(request)?.unwrap_or_default();
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    // This list has one part. One that became shorter ends with an empty page.
    if list != 0 {
        return Err(Cursor::foreign());
    }
    let items: Vec<T> = all.iter().skip(offset).take(limits::PAGE_ITEMS_MAX).cloned().collect();
    let end = offset.saturating_add(items.len());
    let next = (end < all.len()).then(|| Cursor::write(0, u32::try_from(end).unwrap_or(u32::MAX)));
    Ok((items, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_begins_where_the_last_one_said_and_nowhere_else() {
        let all: Vec<usize> = (0..250).collect();
        let at = |cursor: String| {
            page(&all, Some(PaginatedRequestParams::default().with_cursor(Some(cursor))))
        };
        let (mut items, mut next) = page(&all, None).unwrap();
        while let Some(cursor) = next {
            let more = at(cursor).unwrap();
            items.extend(more.0);
            next = more.1;
        }
        assert_eq!(items, all);
        let foreign = ["", "x", "../..", "MC4w=", "LTEuLTE"].map(ToOwned::to_owned);
        for cursor in foreign.into_iter().chain([Cursor::write(1, 0)]) {
            assert_eq!(at(cursor.clone()).unwrap_err().code.0, -32602, "{cursor}");
        }
        assert_eq!(at(Cursor::write(0, u32::MAX)).unwrap(), (Vec::new(), None));
        assert_eq!(page::<usize>(&[], None).unwrap(), (Vec::new(), None));
    }
}
