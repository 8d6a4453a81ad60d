//! The `rmcp` server of one context, as one request sees it: always under a scope, and the same
//! for every toolset. It must not know which toolsets there are, nor how a request came.

use crate::{
    background::Background,
    caller::SharedCaller,
    client::{Client, Rounds},
    platform::Platform,
    registry::{self, Found, Left, Placed, Registry, Seen, Shown},
    report::Reporter,
    skills::Bundle,
    tasks::{self, TaskCall, Tasks, Updated},
    toolset::{
        Answered, Call, Changed, Completion, Current, Listed, Need, Page, Subject, TaskRequest,
        TaskSupport, ToolError, Visit, object,
    },
    verbatim::{self, MISSING, Verbatim},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::{join, join_all};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams,
        ClientCapabilities, CompleteRequestParams, CompleteResult, CreateTaskResult, CustomRequest,
        CustomResult, DiscoverResult, ErrorCode, ExtensionCapabilities, GetPromptRequestParams,
        GetPromptResponse, GetPromptResult, GetSkillRequestParams, GetSkillResult, GetTaskParams,
        GetTaskResult, Implementation, InitializeRequestParams, InitializeResult, JsonObject,
        ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListSkillsResult,
        ListToolsResult, PaginatedRequestParams, ProtocolVersion,
        ReadResourceDirectoryRequestParams, ReadResourceDirectoryResult, ReadResourceRequestParams,
        ReadResourceResponse, ReadResourceResult, Reference, RequestMetaObject,
        SKILLS_EXTENSION_ID, ServerCapabilities, ServerConfig, TASKS_EXTENSION_ID,
        UpdateTaskParams,
    },
    service::RequestContext,
};
use serde_json::{Value, json};
use shared::{
    AgentKey, Error, Kind, Millis,
    error::shown,
    gathered,
    hop::{self, INSUFFICIENT_SCOPE, Options},
    limits,
};
use std::{
    borrow::Cow,
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    rc::Rc,
};

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
    /// What the URL's query leaves of the tools.
    pub options: Options,
    /// Whether the credential is good for tools only that say they only read.
    pub is_read_only: bool,
    /// The headers that mirror the call's arguments, as they came.
    pub mirrors: Vec<(String, String)>,
    /// How many levels the client's URL pins.
    pub depth: usize,
    /// Where a result goes that is no type of `rmcp`'s.
    pub verbatim: Verbatim,
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").field("key", &self.key).finish_non_exhaustive()
    }
}

/// The method of the operator's question what is served. No client can send it.
pub const EFFECTIVE: &str = "signalbox/effective";

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

    fn visit(&self, context: &RequestContext<RoleServer>) -> Visit {
        Visit {
            reporter: self.reporter(context),
            client: self.client(context),
            changed: Changed::default(),
            shared_notes: self.shared_notes,
            meta: for_others(&context.meta),
            is_shared: false,
            kind: OnceCell::new(),
        }
    }

    /// Answers with what somebody else said.
    fn relay(&self, fields: upstream::Fields, ttl: Option<u64>) -> Result<(), ErrorData> {
        let hints = ttl.map(|ttl| (ttl, "private"));
        let text = verbatim::relayed(fields, hints, self.is_modern());
        let text = text.map_err(|error| self.below(Error::internal(error.to_string())))?;
        self.verbatim.put(text);
        Ok(())
    }

    /// Answers with a page of a list whose items are written already.
    fn list<T>(
        &self,
        name: &str,
        list: &Whole<T>,
        request: Option<PaginatedRequestParams>,
    ) -> Result<(), ErrorData>
    where
        T: AsRef<str> + Clone,
    {
        let (items, next) = page(&list.items, request)?;
        let more = self.members(next, list.ttl, &list.missing);
        let items = items.iter().map(AsRef::as_ref);
        self.verbatim.put(verbatim::list(name, items, more, self.is_modern()));
        Ok(())
    }

    /// The members of a list besides its items.
    fn members(&self, next: Option<String>, ttl: u64, missing: &[Missing]) -> JsonObject {
        let mut members = JsonObject::new();
        if let Some(next) = next {
            members.insert("nextCursor".to_owned(), next.into());
        }
        if self.is_modern() {
            // What is missing may be there soon, and not every client hears of it.
            let ttl = if missing.is_empty() { ttl } else { ttl.min(limits::LACKING_TTL_MS) };
            members.insert("ttlMs".to_owned(), ttl.into());
            members.insert("cacheScope".to_owned(), "private".into());
        }
        if !missing.is_empty() {
            let missing: Vec<Value> = missing
                .iter()
                .map(|(toolset, reason)| json!({ "toolset": toolset, "reason": reason }))
                .collect();
            members.insert("_meta".to_owned(), json!({ MISSING: missing }));
        }
        members
    }

    /// What something of one toolset that cannot be had now is called in a list without it.
    fn lacks(&self, placed: &Placed, error: ToolError) -> Missing {
        let reason = self.failed(error).into_protocol().message.into_owned();
        (placed.config.name.clone(), reason)
    }

    /// How long a list may be treated as fresh that is until then.
    fn ttl(&self, until: Option<Millis>) -> u64 {
        let left = until.map(|until| until.since(self.platform.now()));
        left.unwrap_or(limits::TOOLS_TTL_MS).min(limits::TOOLS_TTL_MS)
    }

    /// Toolsets of which the URL's query leaves anything. The others are not even asked: what one
    /// of those calls by a name that several have is nothing here.
    fn toolsets(&self) -> Left<'_> {
        let all = self.registry.toolsets.iter();
        all.filter(|placed| self.options.leave_toolset(&placed.config.name)).collect()
    }

    /// The skills of our own of these toolsets.
    fn skills(&self) -> impl Iterator<Item = &Bundle> {
        self.toolsets().into_iter().flat_map(|placed| placed.toolset.skills())
    }

    /// Whether the client sees a tool.
    fn shows(&self, placed: &Placed, tool: &Shown) -> bool {
        self.leaves(placed, tool) && (tool.is_read_only || !self.is_read_only)
    }

    fn leaves(&self, placed: &Placed, tool: &Shown) -> bool {
        self.options.leave_tool(&tool.name, &placed.config.name, tool.is_read_only)
    }

    /// The tools that the client sees.
    async fn tools(&self, visit: &Visit) -> Whole<Text> {
        let mut whole = Whole::new();
        let seen = registry::views(self.toolsets(), visit, Need::Soon).await;
        let owners = owners(&seen);
        for (placed, seen) in seen {
            match seen {
                Err(error) => whole.missing.push(self.lacks(placed, error)),
                Ok((current, view)) => {
                    whole.ttl = whole.ttl.min(self.ttl(current.until));
                    whole.lack(placed, current.lack.as_ref());
                    for tool in view.tools.iter().filter(|tool| self.shows(placed, tool)) {
                        if owners.get(&tool.name) == Some(&placed.config.name) {
                            whole.items.push(Text::Tool(Rc::clone(tool)));
                        }
                    }
                }
            }
        }
        whole
    }

    /// What each toolset lists of another kind, with what it lacks.
    async fn listed<'a, F>(
        &'a self,
        ask: impl Fn(&'a Placed) -> F,
    ) -> (Vec<(&'a Placed, Rc<Listed>)>, Whole<Text>)
    where
        F: Future<Output = Result<Current<Listed>, ToolError>>,
    {
        let toolsets = self.toolsets();
        let asked = join_all(toolsets.iter().map(|placed| ask(placed))).await;
        let mut whole = Whole::new();
        let mut found = Vec::new();
        for (placed, listed) in toolsets.into_iter().zip(asked) {
            match listed {
                Err(error) => whole.missing.push(self.lacks(placed, error)),
                Ok(listed) => {
                    whole.ttl = whole.ttl.min(self.ttl(listed.until));
                    whole.lack(placed, listed.lack.as_ref());
                    found.push((placed, listed.it));
                }
            }
        }
        (found, whole)
    }

    /// A tool by the name that the client knows, and whose it is. Where that cannot be known before
    /// something is connected, whoever calls is asked to.
    async fn found(&self, name: &str, visit: &Visit) -> Result<Option<Found<'_>>, ToolError> {
        match registry::find(self.toolsets(), name, visit).await {
            Err(ToolError::Below(error))
                if error.kind == Kind::Unauthenticated
                    && registry::connect(self.toolsets(), name, visit).await =>
            {
                registry::find(self.toolsets(), name, visit).await
            }
            found => found,
        }
    }

    /// A prompt by the name that the client knows, and whose it is.
    async fn find_prompt(
        &self,
        name: &str,
        visit: &Visit,
    ) -> Result<Option<(&Placed, JsonObject)>, ToolError> {
        let may = |placed: &&Placed| placed.config.inner(name).is_some();
        let toolsets = [self.toolsets().into_iter().filter(may).collect()];
        registry::search(&toolsets, Need::Fresh, |placed, need| async move {
            let listed = placed.toolset.prompts(visit, need).await?;
            let inner = placed.config.inner(name);
            Ok(listed.it.iter().find(|prompt| text_of(prompt, "name") == inner).cloned())
        })
        .await
    }

    /// What a completion is for, and whose it is.
    async fn find_subject(
        &self,
        reference: &Reference,
        visit: &Visit,
    ) -> Result<Option<(&Placed, Owned)>, ToolError> {
        match reference {
            Reference::Prompt(prompt) => {
                let found = self.find_prompt(&prompt.name, visit).await?;
                Ok(found.map(|(placed, prompt)| (placed, Owned::Prompt(prompt))))
            }
            Reference::Resource(resource) => {
                let toolsets = [self.toolsets()];
                let found = registry::search(&toolsets, Need::Fresh, |placed, need| {
                    template_of(placed, &resource.uri, visit, need)
                });
                Ok(found.await?.map(|(placed, template)| (placed, Owned::Template(template))))
            }
            _ => {
                let error = ErrorData::invalid_params("this kind of reference is unknown", None);
                Err(ToolError::Protocol(error))
            }
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
        // Another request may have gone on with the call since it began.
        let holder = self.caller.borrow().holder.clone();
        let call = TaskCall { answers: self.rounds.accepted(), ..call };
        match self.tasks.create(call, holder).await {
            Ok(task) => Ok(CreateTaskResult::new(task).into()),
            Err(error) => self.failed(error.into()).into_result().map(Into::into),
        }
    }

    /// A failure on its way to the client: what it is not told goes to the log.
    fn failed(&self, error: ToolError) -> ToolError {
        // Where the client is told everything there is nothing to keep.
        if let ToolError::Below(below) = &error
            && (!below.detail.is_empty() || below.kind == Kind::Internal)
        {
            self.platform.log(below);
        }
        error
    }

    /// Our own failure, as a protocol error.
    fn below(&self, error: Error) -> ErrorData {
        self.failed(error.into()).into_protocol()
    }

    /// The extensions that there may be; `server/discover` says which there are. `rmcp` refuses the
    /// methods of those that are not among them.
    fn own_extensions(&self) -> Option<ExtensionCapabilities> {
        let left = self.toolsets();
        let may = |id| left.iter().any(|placed| placed.toolset.may_have().contains(&id));
        let tasks = self.is_modern() && may(TASKS_EXTENSION_ID);
        let skills = self.skills().next().is_some() || may(SKILLS_EXTENSION_ID);
        let all = [(TASKS_EXTENSION_ID, tasks), (SKILLS_EXTENSION_ID, skills)];
        let all = extensions(all.into_iter().filter(|(_, is)| *is).map(|(name, _)| name));
        (!all.is_empty()).then_some(all)
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
        capabilities.extensions = self.own_extensions();
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
        context: RequestContext<RoleServer>,
    ) -> Result<DiscoverResult, ErrorData> {
        let versions = self.supported_protocol_versions().into_owned();
        let mut info = self.get_info();
        let visit = self.visit(&context);
        let (mut all, is_whole) = registry::extensions(self.toolsets(), &visit).await;
        all.extend(self.skills().next().map(|_| SKILLS_EXTENSION_ID));
        info.capabilities.extensions = (!all.is_empty()).then(|| extensions(all.into_iter()));
        let mut result = DiscoverResult::from_server_info(versions, info);
        result.ttl_ms = if is_whole { limits::TOOLS_TTL_MS } else { limits::LACKING_TTL_MS };
        Ok(result)
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        if request.method != EFFECTIVE {
            return Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, request.method, None));
        }
        let effective = self.effective(&self.visit(&context)).await;
        self.verbatim.put(effective.to_string());
        Ok(CustomResult::new(Value::Null))
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.tools(&self.visit(&context)).await;
        self.list("tools", &tools, request)?;
        Ok(ListToolsResult::default())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let name = request.name.into_owned();
        let unknown =
            || ErrorData::invalid_params(format!("there is no tool {}", shown(&name)), None);
        let visit = self.visit(&context);
        let found = match self.found(&name, &visit).await {
            Ok(found) => found.ok_or_else(unknown)?,
            Err(error) => return self.failed(error).into_result().map(Into::into),
        };
        let Found { placed, tool } = found;
        if !self.leaves(placed, &tool) {
            return Err(unknown());
        }
        if !self.shows(placed, &tool) {
            // Not as unknown: a client that hears of it asks for the scope.
            let text = format!("{} changes things, and this credential only reads", shown(&name));
            return Err(ErrorData::new(ErrorCode(INSUFFICIENT_SCOPE), text, None));
        }
        // A task's headers were checked when it began.
        if self.is_modern() && !self.is_task {
            self.check_mirrors(placed, &tool, request.arguments.as_ref())?;
        }
        let is_possible = self.check_tasks(tool.tasks, &context)?;
        let arguments = request.arguments.unwrap_or_default();
        let task = is_possible.then(|| TaskCall {
            name: name.clone(),
            arguments: arguments.clone(),
            meta: context.meta.clone(),
            answers: BTreeMap::new(),
            toolset: placed.config.name.clone(),
        });
        let arguments = placed.fence.pin(&tool.schema, arguments)?;
        let (changed, background) = (visit.changed.clone(), Background::new(task.is_some()));
        let name = tool.inner.clone();
        self.caller.borrow_mut().toolset = Some(placed.config.name.clone());
        let call = Call { name, arguments, visit, background: background.clone() };
        let outcome = background.run(placed.toolset.call(call)).await;
        self.tell(&changed).await;
        match (outcome, task) {
            (Some(Ok(Answered::Made(result))), _) => Ok(result.into()),
            (Some(Ok(Answered::Relayed(fields))), _) => {
                self.relay(fields, None)?;
                Ok(CallToolResult::success(vec![]).into())
            }
            (Some(Err(error)), _) => self.failed(error).into_result().map(Into::into),
            (None, Some(task)) => self.begin_task(task).await,
            (None, None) => Err(ErrorData::internal_error("the call has no background", None)),
        }
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let visit = self.visit(&context);
        let cursor = Cursor::of(request)?;
        let (mut toolset, mut offset) = cursor.unwrap_or_default();
        let toolsets = self.toolsets();
        if cursor.is_some() && toolset >= toolsets.len() {
            return Err(Cursor::foreign());
        }
        let (mut items, mut missing, mut next) = (Vec::new(), Vec::new(), None);
        let mut ttl = limits::TOOLS_TTL_MS;
        // A page ends where one of them says that there is more, but one that is slow holds up the
        // others once, and not each of them.
        let left = toolsets.iter().enumerate().skip(toolset);
        let asked = left.map(|(n, placed)| {
            let from = if n == toolset { offset } else { 0 };
            self.resources_of(placed, from, &visit)
        });
        for (placed, listed) in toolsets.iter().skip(toolset).zip(join_all(asked).await) {
            let (page, templates) = match listed {
                Ok(listed) => listed,
                Err(error) => {
                    missing.push(self.lacks(placed, error));
                    (Page::default(), Vec::new())
                }
            };
            ttl = ttl.min(self.ttl(Some(page.until)));
            missing.extend(page.lack.map(|lack| (placed.config.name.clone(), lack)));
            let inside = |item: &JsonObject| {
                let uri = text_of(item, "uri").unwrap_or_default();
                placed.fence.check_resource(uri, &templates).is_ok()
            };
            items.extend(page.items.into_iter().filter(inside).map(text));
            if offset == 0 {
                let manifests = placed.toolset.skills().iter().map(Bundle::manifest);
                items.extend(manifests.map(|manifest| text(object(&manifest))));
            }
            if let Some(more) = page.next {
                next = Some(Cursor::write(toolset, more));
                break;
            }
            (toolset, offset) = (toolset.saturating_add(1), 0);
            if items.len() >= limits::PAGE_ITEMS_MAX && toolset < toolsets.len() {
                next = Some(Cursor::write(toolset, 0));
                break;
            }
        }
        let more = self.members(next, ttl, &missing);
        let items = items.iter().map(String::as_str);
        self.verbatim.put(verbatim::list("resources", items, more, self.is_modern()));
        Ok(ListResourcesResult::default())
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let visit = self.visit(&context);
        let (found, mut whole) =
            self.listed(|placed| placed.toolset.templates(&visit, Need::Soon)).await;
        for (placed, listed) in found {
            for mut template in listed.iter().cloned() {
                if let Some(uri) = text_of(&template, "uriTemplate") {
                    let uri = placed.fence.template(uri);
                    template.insert("uriTemplate".to_owned(), uri.into());
                }
                whole.items.push(Text::Other(text(template)));
            }
        }
        self.list("resourceTemplates", &whole, request)?;
        Ok(ListResourceTemplatesResult::default())
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let mut visit = self.visit(&context);
        visit.is_shared = self.registry.toolsets.len() > 1;
        let uri = &request.uri;
        let left = self.toolsets();
        left.iter().try_for_each(|placed| placed.fence.check_uri("uri", uri))?;
        if let Some(contents) = self.skills().find_map(|skill| skill.read(uri)) {
            return self.made(ReadResourceResult::new(vec![contents]));
        }
        let mut failed = None;
        for placed in registry::owners(left, uri, &visit).await {
            let found = match self.read_from(placed, uri, &visit).await {
                Ok(found) => found,
                // Another may have it.
                Err(error) => {
                    failed = failed.or(Some(error));
                    continue;
                }
            };
            match found {
                None => {}
                Some(Answered::Made(result)) => return self.made(result),
                Some(Answered::Relayed(fields)) => {
                    // As fresh as its server says, and its user's alone.
                    let said = upstream::wire::field(&fields, "ttlMs").and_then(|ttl| ttl.as_u64());
                    let ttl = said.unwrap_or(0).min(limits::UPSTREAM_TTL_MS_MAX);
                    self.relay(fields, Some(ttl))?;
                    return Ok(ReadResourceResult::new(vec![]).into());
                }
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let text = format!("there is no resource {}", shown(uri));
        Err(ErrorData::resource_not_found(text, Some(json!({ "uri": uri }))))
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let visit = self.visit(&context);
        let (found, mut whole) =
            self.listed(|placed| placed.toolset.prompts(&visit, Need::Soon)).await;
        let mut names = BTreeSet::new();
        for (placed, listed) in found {
            for prompt in listed.iter() {
                let name = placed.config.outer(text_of(prompt, "name").unwrap_or_default());
                if names.insert(name.clone()) {
                    let mut prompt = placed.fence.prompt(prompt.clone());
                    prompt.insert("name".to_owned(), name.into());
                    whole.items.push(Text::Other(text(prompt)));
                }
            }
        }
        self.list("prompts", &whole, request)?;
        Ok(ListPromptsResult::default())
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let visit = self.visit(&context);
        let found = self.find_prompt(&request.name, &visit).await;
        let found = found.map_err(|error| self.failed(error).into_protocol())?;
        let Some((placed, prompt)) = found else {
            let text = format!("there is no prompt {}", shown(&request.name));
            return Err(ErrorData::invalid_params(text, None));
        };
        let arguments = placed.fence.pin_prompt(&prompt, request.arguments.unwrap_or_default())?;
        if let Some(lacking) = lacking(&prompt, &arguments) {
            let text = format!("the prompt {} needs the argument {lacking}", request.name);
            return Err(ErrorData::invalid_params(text, None));
        }
        let inner = placed.config.inner(&request.name).unwrap_or_default();
        let answer = placed.toolset.prompt(inner, arguments, &visit).await;
        match answer.map_err(|error| self.failed(error).into_protocol())? {
            Answered::Made(prompt) => Ok(prompt.into()),
            Answered::Relayed(fields) => {
                self.relay(fields, None)?;
                Ok(GetPromptResult::new(vec![]).into())
            }
        }
    }

    async fn list_skills(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListSkillsResult, ErrorData> {
        let visit = self.visit(&context);
        let inside = |placed| inside_skills(placed, &visit);
        let (found, mut whole) = self.listed(inside).await;
        let own = self.skills().map(|skill| object(skill.entry()));
        whole.items.extend(own.map(|skill| Text::Other(text(skill))));
        for (_, listed) in found {
            let listed = listed.iter().cloned();
            whole.items.extend(listed.map(|skill| Text::Other(text(skill))));
        }
        self.list("skills", &whole, request)?;
        Ok(ListSkillsResult::default())
    }

    async fn get_skill(
        &self,
        request: GetSkillRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetSkillResult, ErrorData> {
        let own = self.skills().find(|skill| skill.entry().uri == request.uri);
        let Some(skill) = own else {
            let params = json!({ "uri": request.uri });
            self.remote_skill("skills/get", params, &context).await?;
            // Its own words take the place of this one, which must be one to `rmcp`.
            return Ok(GetSkillResult::new(Bundle::nothing(request.uri)));
        };
        let mut result = GetSkillResult::new(skill.entry().clone());
        (result.ttl_ms, result.cache_scope) = self.list_ttl();
        Ok(result)
    }

    async fn read_resource_directory(
        &self,
        request: ReadResourceDirectoryRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceDirectoryResult, ErrorData> {
        let found = self.skills().find_map(|skill| skill.directory(&request.uri));
        let Some(children) = found else {
            let mut params = json!({ "uri": request.uri });
            if let (Some(cursor), Some(params)) = (request.cursor, params.as_object_mut()) {
                params.insert("cursor".to_owned(), cursor.into());
            }
            self.remote_skill("resources/directory/read", params, &context).await?;
            return Ok(ReadResourceDirectoryResult::default());
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
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        let id = &request.task_id;
        match self.tasks.get(id).map_err(|error| self.below(error))? {
            Some(found) => Ok(found),
            None => {
                self.remote_task("tasks/get", id, JsonObject::new(), &context).await?;
                Ok(tasks::nothing())
            }
        }
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let id = &request.task_id;
        let answers = request.input_responses;
        let remote = json!({ "inputResponses": answers });
        let updated = self.tasks.update(id, answers).await;
        match updated.map_err(|error| self.below(error))? {
            Updated::Acknowledged => Ok(()),
            Updated::Unknown => {
                let params = remote.as_object().cloned().unwrap_or_default();
                self.remote_task("tasks/update", id, params, &context).await
            }
            Updated::TooLarge => {
                let text = "`inputResponses` are larger than a task may have";
                Err(ErrorData::invalid_params(text, None))
            }
        }
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let id = &request.task_id;
        match self.tasks.cancel(id).map_err(|error| self.below(error))? {
            true => Ok(()),
            false => self.remote_task("tasks/cancel", id, JsonObject::new(), &context).await,
        }
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let visit = self.visit(&context);
        let argument = &request.argument;
        let known = request.context.as_ref().and_then(|context| context.arguments.as_ref());
        let known = known.into_iter().flatten();
        let known: JsonObject =
            gathered(known.map(|(name, value)| (name.clone(), Value::String(value.clone()))));
        let nothing = || {
            let text = format!("nothing here has an argument {}", shown(&argument.name));
            ErrorData::invalid_params(text, None)
        };
        let found = self.find_subject(&request.r#ref, &visit).await;
        let found = found.map_err(|error| self.failed(error).into_protocol())?;
        let (placed, subject) = found.ok_or_else(nothing)?;
        // Only whose it is says what its arguments mean.
        let (text, argument) = (argument.value.as_str(), argument.name.as_str());
        let known = placed.fence.known(known, &subject.arguments(), argument, text)?;
        let question = Completion { subject: subject.borrow(), argument, text, known: &known };
        match placed.toolset.complete(question, &visit).await {
            Ok(Some(Answered::Made(result))) => Ok(result),
            Ok(Some(Answered::Relayed(fields))) => {
                self.relay(fields, None)?;
                Ok(CompleteResult::default())
            }
            Ok(None) => Err(nothing()),
            Err(error) => Err(self.failed(error).into_protocol()),
        }
    }
}

impl Handler {
    /// Everything that is served here, and what is not, and why.
    async fn effective(&self, visit: &Visit) -> Value {
        let (mut tools, mut hidden, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        let absent = self.registry.absent.iter();
        missing.extend(absent.map(|(name, why)| json!({ "toolset": name, "reason": why })));
        let seen = registry::views(self.toolsets(), visit, Need::Fresh).await;
        let owners = owners(&seen);
        for (placed, seen) in seen {
            let toolset = &placed.config.name;
            let (current, view) = match seen {
                Ok(seen) => seen,
                Err(error) => {
                    let (_, reason) = self.lacks(placed, error);
                    missing.push(json!({ "toolset": toolset, "reason": reason }));
                    continue;
                }
            };
            if let Some(reason) = current.lack {
                missing.push(json!({ "toolset": toolset, "reason": reason }));
            }
            for (name, reason) in &view.hidden {
                hidden.push(json!({ "name": name, "toolset": toolset, "reason": reason }));
            }
            for tool in &view.tools {
                if let Some(other) = owners.get(&tool.name).filter(|owner| *owner != toolset) {
                    let reason = format!("{other} has a tool of this name; give one a prefix");
                    hidden.push(json!({ "name": tool.name, "toolset": toolset, "reason": reason }));
                    continue;
                }
                let mut shown: Value = serde_json::from_str(&tool.text).unwrap_or_default();
                if let Some(shown) = shown.as_object_mut() {
                    shown.insert("toolset".to_owned(), toolset.clone().into());
                    shown.insert("fingerprint".to_owned(), json!(tool.fingerprint));
                    shown.insert("changed".to_owned(), tool.is_changed.into());
                }
                tools.push(shown);
            }
        }
        let scope = self.key.scope.to_string();
        json!({ "scope": scope, "tools": tools, "hidden": hidden, "missing": missing })
    }

    /// Does something with a task that somebody else runs.
    async fn remote_task(
        &self,
        method: &'static str,
        id: &str,
        params: JsonObject,
        context: &RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let visit = self.visit(context);
        for placed in self.toolsets() {
            let request = TaskRequest { method, id, params: params.clone() };
            let answer = placed.toolset.task(request, &visit).await;
            if let Some(fields) = answer.map_err(|error| self.failed(error).into_protocol())? {
                return self.relay(fields, None);
            }
        }
        Err(no_task(id))
    }

    /// Checks what headers repeat of a call: what the tool is advertised with, and what this scope
    /// fixes. What the client's URL fixes, too, it need not say.
    fn check_mirrors(
        &self,
        placed: &Placed,
        tool: &Shown,
        arguments: Option<&JsonObject>,
    ) -> Result<(), ErrorData> {
        crate::mirror::check(&tool.mirrored, arguments, &self.mirrors)?;
        if tool.fixed.is_empty() {
            return Ok(());
        }
        let mut all = arguments.cloned().unwrap_or_default();
        let mut fixed = Vec::new();
        for parameter in &tool.fixed {
            if let Some((level, value)) = placed.fence.level(parameter.name())
                && level < self.depth
            {
                if !parameter.is_in(&self.mirrors) {
                    continue;
                }
                all.entry(parameter.name()).or_insert_with(|| value.into());
            }
            fixed.push(parameter.clone());
        }
        crate::mirror::check(&fixed, Some(&all), &self.mirrors)
    }

    /// Asks for a skill, or a directory of one, that somebody else has.
    async fn remote_skill(
        &self,
        method: &'static str,
        params: Value,
        context: &RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let visit = self.visit(context);
        let params = params.as_object().cloned().unwrap_or_default();
        let mut refused = None;
        let uri = text_of(&params, "uri").unwrap_or_default();
        for placed in registry::owners(self.toolsets(), uri, &visit).await {
            let is_inside = match templates_of(placed, &visit, Need::Fresh).await {
                Ok(templates) => {
                    placed.fence.check_resource(uri, &templates).map_err(ToolError::Protocol)
                }
                Err(error) => Err(error),
            };
            if let Err(error) = is_inside {
                refused = refused.or(Some(error));
                continue;
            }
            match placed.toolset.remote_skill(method, params.clone(), &visit).await {
                Ok(None) => {}
                Ok(Some(fields)) => return self.relay(fields, Some(limits::TOOLS_TTL_MS)),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(match refused {
            Some(error) => self.failed(error).into_protocol(),
            None => ErrorData::invalid_params(
                format!("there is no skill, and no directory of one, at {}", shown(uri)),
                None,
            ),
        })
    }

    /// A resource that is ours.
    fn made(&self, mut result: ReadResourceResult) -> Result<ReadResourceResponse, ErrorData> {
        (result.ttl_ms, result.cache_scope) = self.hints(0);
        Ok(result.into())
    }

    /// A page of the resources of one toolset, and the templates by which they are told inside from
    /// outside: none where nothing is listed.
    async fn resources_of(
        &self,
        placed: &Placed,
        offset: u32,
        visit: &Visit,
    ) -> Result<(Page, Vec<String>), ToolError> {
        // Each may take nearly as long as a list may be silent: not one after the other.
        let listed = placed.toolset.resources(offset, visit);
        let (page, templates) = join(listed, templates_of(placed, visit, Need::Soon)).await;
        let page = page?;
        match page.items.is_empty() {
            true => Ok((page, Vec::new())),
            false => templates.map(|templates| (page, templates)),
        }
    }

    /// Reads a resource of one toolset, if it has it, and if it is inside.
    async fn read_from(
        &self,
        placed: &Placed,
        uri: &str,
        visit: &Visit,
    ) -> Result<Option<Answered<ReadResourceResult>>, ErrorData> {
        let templates = templates_of(placed, visit, Need::Fresh).await;
        let templates = templates.map_err(|error| self.failed(error).into_protocol())?;
        placed.fence.check_resource(uri, &templates)?;
        let found = placed.toolset.read(uri, visit).await;
        found.map_err(|error| self.failed(error).into_protocol())
    }
}

/// The templates by which resources of a toolset are told inside from outside: none where nothing
/// is fixed.
async fn templates_of(
    placed: &Placed,
    visit: &Visit,
    need: Need,
) -> Result<Vec<String>, ToolError> {
    if placed.fence.pins.is_empty() {
        return Ok(Vec::new());
    }
    let listed = placed.toolset.templates(visit, need).await?.it;
    let templates = listed.iter().filter_map(|item| text_of(item, "uriTemplate"));
    Ok(templates.map(ToOwned::to_owned).collect())
}

/// The skills that somebody else has, as far as they are inside.
async fn inside_skills(placed: &Placed, visit: &Visit) -> Result<Current<Listed>, ToolError> {
    let listed = placed.toolset.remote_skills(visit);
    let (current, templates) = join(listed, templates_of(placed, visit, Need::Soon)).await;
    let mut current = current?;
    if !current.it.is_empty() {
        let templates = templates?;
        let inside = |skill: &&JsonObject| {
            let uri = text_of(skill, "uri").unwrap_or_default();
            placed.fence.check_resource(uri, &templates).is_ok()
        };
        current.it = Rc::new(current.it.iter().filter(inside).cloned().collect());
    }
    Ok(current)
}

/// A template as its toolset knows it, by what the client sees of it.
async fn template_of(
    placed: &Placed,
    seen: &str,
    visit: &Visit,
    need: Need,
) -> Result<Option<String>, ToolError> {
    let listed = placed.toolset.templates(visit, need).await?.it;
    let mut templates = listed.iter().filter_map(|item| text_of(item, "uriTemplate"));
    let own = templates.find(|template| placed.fence.template(template) == seen);
    Ok(own.map(ToOwned::to_owned))
}

/// What a completion is for, as its toolset lists it.
enum Owned {
    Prompt(JsonObject),
    Template(String),
}

impl Owned {
    fn borrow(&self) -> Subject<'_> {
        match self {
            Self::Prompt(prompt) => Subject::Prompt(text_of(prompt, "name").unwrap_or_default()),
            Self::Template(template) => Subject::Template(template),
        }
    }

    /// The names of its arguments.
    fn arguments(&self) -> Vec<String> {
        let names = match self {
            Self::Template(template) => narrow::template::variables(template),
            Self::Prompt(prompt) => {
                let arguments = prompt.get("arguments").and_then(Value::as_array);
                let names = arguments.into_iter().flatten().filter_map(|one| one.get("name"));
                names.filter_map(Value::as_str).collect()
            }
        };
        names.into_iter().map(ToOwned::to_owned).collect()
    }
}

/// Extensions with what is said of each.
fn extensions(names: impl Iterator<Item = &'static str>) -> ExtensionCapabilities {
    let settings = |name: &str| match name {
        SKILLS_EXTENSION_ID => gathered([("directoryRead".to_owned(), true.into())]),
        _ => JsonObject::new(),
    };
    gathered(names.map(|name| (name.to_owned(), settings(name))))
}

/// Whose each tool is: of several toolsets that have one of its name, the one to which the
/// configuration gives names before any server does, and else the first.
fn owners(seen: &[(&Placed, Result<Seen, ToolError>)]) -> BTreeMap<String, String> {
    let mut owners = BTreeMap::new();
    for is_open in [false, true] {
        for (placed, seen) in seen.iter().filter(|(placed, _)| placed.config.is_open() == is_open) {
            for tool in seen.iter().flat_map(|(_, view)| &view.tools) {
                owners.entry(tool.name.clone()).or_insert_with(|| placed.config.name.clone());
            }
        }
    }
    owners
}

/// What is missing of a list: whose, and why.
type Missing = (String, String);

/// A list as a whole, before a page is taken of it.
struct Whole<T> {
    items: Vec<T>,
    ttl: u64,
    missing: Vec<Missing>,
}

impl<T> Whole<T> {
    const fn new() -> Self {
        Self { items: Vec::new(), ttl: limits::TOOLS_TTL_MS, missing: Vec::new() }
    }

    fn lack(&mut self, placed: &Placed, lack: Option<&String>) {
        self.missing.extend(lack.map(|lack| (placed.config.name.clone(), lack.clone())));
    }
}

/// An item of a list, written.
#[derive(Clone)]
enum Text {
    Tool(Rc<Shown>),
    Other(String),
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        match self {
            Self::Tool(tool) => &tool.text,
            Self::Other(text) => text,
        }
    }
}

fn text(item: JsonObject) -> String {
    Value::Object(item).to_string()
}

fn text_of<'a>(item: &'a JsonObject, member: &str) -> Option<&'a str> {
    item.get(member).and_then(Value::as_str)
}

/// What a client says beside a request that is not for this server: it goes on with the request.
fn for_others(meta: &RequestMetaObject) -> JsonObject {
    let own = |key: &str| key == "progressToken" || key.starts_with("io.modelcontextprotocol/");
    let others = meta.iter().filter(|(key, _)| !own(key));
    without_credentials(gathered(others.map(|(key, value)| (key.clone(), value.clone()))))
}

/// Members without those that are called like a header of ours or one with a credential, however
/// deep they are: whoever copies `_meta` into headers has none of them from here.
fn without_credentials(members: JsonObject) -> JsonObject {
    fn cleaned(value: Value) -> Value {
        match value {
            Value::Object(members) => without_credentials(members).into(),
            Value::Array(items) => items.into_iter().map(cleaned).collect(),
            value => value,
        }
    }
    let is_credential = |name: &str| {
        let name = name.rsplit(['/', '.']).next().unwrap_or(name).trim();
        let name = name.to_ascii_lowercase().replace('_', "-");
        let words = ["authorization", "cookie", "api-key", "apikey", "secret", "password"];
        let tokens = ["token", "access-token", "auth-token", "accesstoken", "authtoken"];
        name.starts_with("mcp-")
            || tokens.contains(&name.as_str())
            || words.iter().any(|word| name.ends_with(word))
    };
    let left = members.into_iter().filter(|(name, _)| !is_credential(name));
    gathered(left.map(|(name, value)| (name, cleaned(value))))
}

fn no_task(id: &str) -> ErrorData {
    ErrorData::invalid_params(format!("there is no task {}", shown(id)), None)
}

/// The first argument that a prompt needs and was not given.
fn lacking<'a>(prompt: &'a JsonObject, arguments: &JsonObject) -> Option<&'a str> {
    let listed = prompt.get("arguments").and_then(Value::as_array);
    let needed = listed.into_iter().flatten();
    let needed = needed.filter(|argument| argument.get("required") == Some(&Value::Bool(true)));
    let mut names = needed.filter_map(|argument| argument.get("name").and_then(Value::as_str));
    names.find(|name| !arguments.contains_key(*name))
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
