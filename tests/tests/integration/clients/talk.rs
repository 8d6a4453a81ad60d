//! A conversation with the Rust SDK, against the tools of the test build: the server asks its
//! client in the middle of a call, says how far it is, ends its stream and goes on, stops when it
//! is told, and tells what has changed.

#![expect(deprecated, reason = "clients still sample, show roots and subscribe one by one")]

use super::{PATHS, modern};
use rmcp::{
    ClientHandler, ErrorData, RoleClient,
    model::{
        CallToolRequest, CallToolRequestParams, ClientCapabilities, ClientConfig, ClientRequest,
        CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams, ElicitResult,
        ElicitationAction, Implementation, ListRootsResult, ProgressNotificationParam,
        ResourceUpdatedNotificationParam, Root, SamplingMessage, ServerNotification,
        SubscribeRequestParams, SubscriptionFilter, UnsubscribeRequestParams,
    },
    service::{
        ClientLifecycleMode, ClientServiceExt as _, NotificationContext, PeerRequestOptions,
        RequestContext, RunningService, Subscription,
    },
    transport::{
        StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::{Value, json};
use std::{cell::RefCell, time::Duration};
use tests::{Bundle, Server};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const STEP: Duration = Duration::from_secs(30);

/// Who is asked, and what they do then.
struct User {
    action: RefCell<ElicitationAction>,
    asked: RefCell<Vec<String>>,
    told: UnboundedSender<String>,
}

impl User {
    fn tell(&self, what: impl Into<String>) {
        self.told.send(what.into()).unwrap();
    }
}

impl ClientHandler for User {
    fn get_info(&self) -> ClientConfig {
        let capabilities = ClientCapabilities::builder().enable_elicitation().enable_sampling();
        let capabilities = capabilities.enable_roots().build();
        ClientConfig::new(capabilities, Implementation::new("rust", "1"))
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let ElicitRequestParams::FormElicitationParams { message, .. } = request else {
            panic!("a form: {request:?}")
        };
        self.asked.borrow_mut().push(message);
        let action = self.action.borrow().clone();
        let form = json!({ "username": "alice", "email": "alice@example.com", "name": "Alice",
            "color": "teal" });
        let is_accepted = action == ElicitationAction::Accept;
        let result = ElicitResult::new(action);
        Ok(if is_accepted { result.with_content(form) } else { result })
    }

    async fn create_message(
        &self,
        _: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        self.asked.borrow_mut().push("sampling".to_owned());
        Ok(CreateMessageResult::new(SamplingMessage::assistant_text("Paris"), "none".to_owned()))
    }

    async fn list_roots(
        &self,
        _: RequestContext<RoleClient>,
    ) -> Result<ListRootsResult, ErrorData> {
        self.asked.borrow_mut().push("roots".to_owned());
        Ok(ListRootsResult::new(vec![Root::new("file:///home/alice/project")]))
    }

    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.tell(format!("progress {}", params.progress));
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.tell("tools");
    }

    async fn on_resource_updated(
        &self,
        params: ResourceUpdatedNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.tell(params.uri);
    }
}

struct Talk {
    client: RunningService<RoleClient, User>,
    told: UnboundedReceiver<String>,
    is_modern: bool,
    at: String,
}

impl Talk {
    async fn begin(url: &str, lifecycle: ClientLifecycleMode) -> Self {
        let is_modern = lifecycle != ClientLifecycleMode::Initialize;
        let config = StreamableHttpClientTransportConfig::with_uri(url).auth_header("key-a");
        let transport = StreamableHttpClientTransport::from_config(config);
        let (tell, told) = unbounded_channel();
        let action = RefCell::new(ElicitationAction::Accept);
        let user = User { action, asked: RefCell::default(), told: tell };
        let client = user.serve_with_lifecycle(transport, lifecycle).await.unwrap();
        Self { client, told, is_modern, at: format!("modern: {is_modern}, {url}") }
    }

    /// Does a part of the conversation, and names it where it does not end.
    async fn step<T>(&self, name: &str, work: impl Future<Output = T>) -> T {
        let done = tokio::time::timeout(STEP, work).await;
        done.unwrap_or_else(|_| panic!("step `{name}` at {} does not end", self.at))
    }

    async fn call(&self, tool: &'static str, arguments: Value) -> Value {
        let Value::Object(arguments) = arguments else { panic!("an object") };
        let params = CallToolRequestParams::new(tool).with_arguments(arguments);
        let result = self.step(tool, self.client.call_tool(params)).await;
        let result = result.unwrap_or_else(|error| panic!("{tool} at {}: {error}", self.at));
        assert_ne!(result.is_error, Some(true), "{tool} at {}: {result:?}", self.at);
        let text = || result.content[0].as_text().unwrap().text.clone().into();
        result.structured_content.clone().unwrap_or_else(text)
    }

    /// Calls a tool that says something with these parts.
    async fn says(&self, tool: &'static str, arguments: Value, parts: &[&str]) {
        let said = self.call(tool, arguments).await;
        let said = said.as_str().unwrap();
        assert!(parts.iter().all(|part| said.contains(part)), "{tool} at {}: {said}", self.at);
    }

    fn asked(&self, expected: &[&str]) {
        let mut asked = self.client.service().asked.take();
        asked.sort();
        assert_eq!(asked, expected, "{}", self.at);
    }

    /// Waits until this many calls of `test_wait` are at work.
    async fn waiting(&self, count: &str) {
        let polls = async { while self.call("test_waiting", json!({})).await != count {} };
        self.step("test_waiting", polls).await;
    }

    async fn questions(&self) {
        self.says("test_elicitation", json!({ "message": "who?" }), &["accept", "alice"]).await;
        self.says("test_sampling", json!({ "prompt": "capital?" }), &["Paris"]).await;
        self.says("test_input_required_result_list_roots", json!({}), &["project"]).await;
        self.asked(&["roots", "sampling", "who?"]);
        let rounds = "test_input_required_result_multi_round";
        self.says(rounds, json!({}), &["Alice likes teal"]).await;
        let (first, second) = ("What is your name?", "What is your favorite color?");
        self.asked(&[&format!("Step 1: {first}"), &format!("Step 2: {second}")]);
        let three = "test_input_required_result_multiple_inputs";
        self.says(three, json!({}), &["alice", "Paris", "project"]).await;
        self.asked(&[first, "roots", "sampling"]);
        for (action, name) in
            [(ElicitationAction::Decline, "decline"), (ElicitationAction::Cancel, "cancel")]
        {
            self.client.service().action.replace(action);
            let expected = format!("action: {name}, content: {{}}");
            self.says("test_elicitation", json!({ "message": "who?" }), &[&expected]).await;
        }
    }

    async fn progress(&mut self) {
        let _ = self.call("test_tool_with_progress", json!({})).await;
        for step in ["progress 0", "progress 50", "progress 100"] {
            assert_eq!(self.heard("progress", &mut None).await, step);
        }
        let _ = self.call("test_reconnection", json!({})).await;
    }

    async fn cancels(&self) {
        let params = CallToolRequestParams::new("test_wait");
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let options = PeerRequestOptions::no_options();
        let call = self.client.send_cancellable_request(request, options).await.unwrap();
        self.waiting("1").await;
        call.cancel(Some("enough".to_owned())).await.unwrap();
        self.waiting("0").await;
        // A call whose future is dropped is cancelled, too.
        let wait = self.client.call_tool(CallToolRequestParams::new("test_wait"));
        tokio::select! {
            result = wait => panic!("test_wait at {}: {result:?}", self.at),
            () = self.waiting("1") => {}
        }
        self.waiting("0").await;
    }

    async fn listen(&self, filter: SubscriptionFilter) -> Option<Subscription> {
        let listening = self.is_modern.then(|| self.client.listen(filter));
        match listening {
            Some(listening) => Some(self.step("listen", listening).await.unwrap()),
            None => None,
        }
    }

    /// The next thing that was told: by a subscription where there is one.
    async fn heard(&mut self, what: &str, subscription: &mut Option<Subscription>) -> String {
        let next = async {
            match subscription {
                None => self.told.recv().await.unwrap(),
                Some(subscription) => match subscription.next().await.unwrap() {
                    Some(ServerNotification::ToolListChangedNotification(_)) => "tools".to_owned(),
                    Some(ServerNotification::ResourceUpdatedNotification(update)) => {
                        update.params.uri
                    }
                    other => panic!("{what}: {other:?}, {:?}", subscription.end()),
                },
            }
        };
        let next = tokio::time::timeout(STEP, next).await;
        next.unwrap_or_else(|_| panic!("{} is not told of {what}", self.at))
    }

    async fn changes(&mut self) {
        let filter = SubscriptionFilter::builder().tools_list_changed().build();
        let mut subscription = self.listen(filter).await;
        let _ = self.call("test_trigger_tool_change", json!({})).await;
        assert_eq!(self.heard("tools", &mut subscription).await, "tools");
        let note = self.call("remember", json!({ "text": "the first text" })).await;
        let (id, uri) = (note["id"].as_str().unwrap(), note["uri"].as_str().unwrap());
        let filter = SubscriptionFilter::builder().resource_subscription(uri).build();
        let mut subscription = self.listen(filter.clone()).await;
        match &subscription {
            Some(subscription) => assert_eq!(*subscription.acknowledged(), filter),
            None => self.client.subscribe(SubscribeRequestParams::new(uri)).await.unwrap(),
        }
        let _ = self.call("remember", json!({ "id": id, "text": "the second text" })).await;
        assert_eq!(self.heard(uri, &mut subscription).await, uri);
        match &mut subscription {
            Some(subscription) => subscription.cancel().await.unwrap(),
            None => {
                let params = UnsubscribeRequestParams::new(uri);
                self.client.unsubscribe(params).await.unwrap();
            }
        }
        let _ = self.call("forget", json!({ "id": id })).await;
    }
}

fn talk(lifecycle: &ClientLifecycleMode) {
    let state = tempfile::tempdir().unwrap();
    let server = Server::start(Bundle::Fixture, state.path(), crate::KEYS, None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let talks = async {
        for path in PATHS {
            let mut talk = Talk::begin(&server.url(path), lifecycle.clone()).await;
            talk.questions().await;
            talk.progress().await;
            talk.cancels().await;
            talk.changes().await;
            talk.client.cancel().await.unwrap();
        }
    };
    tokio::task::LocalSet::new().block_on(&runtime, talks);
}

#[test]
fn rust_sdk_talks() {
    talk(&ClientLifecycleMode::Initialize);
    talk(&modern());
}
