//! What a scope leaves of an upstream: where it is, which of its tools there are, which of their
//! parameters, and what may be in the others.

use super::{Asks, Front, Modern, far, got};
use serde_json::{Value, json};
use tests::{
    Session, message, post,
    scripted::{Era, Scripted, tool_of},
};

const ERAS: [Era; 2] = [Era::Handshake, Era::Modern];

/// An upstream that has issues of repositories.
fn issues(era: Era) -> Scripted {
    let upstream = Scripted::start(era);
    let properties = json!({ "owner": { "type": "string" }, "repo": { "type": "string" },
        "links": { "type": "array" }, "text": { "type": "string" } });
    upstream.set(|script| {
        let mut find = tool_of("find_issue", &properties);
        find["inputSchema"]["required"] = json!(["owner", "repo", "text"]);
        find["annotations"] = json!({ "readOnlyHint": true });
        script.tools = vec![find, tool_of("add_issue", &properties), tool_of("orgs", &json!({}))];
        let argument = |name: &str| json!({ "name": name, "required": true });
        script.prompts = vec![json!({ "name": "triage",
            "arguments": [argument("owner"), argument("repo"), argument("style")] })];
        script.resources = ["acme/web", "acme/api", "other/web"]
            .map(|at| json!({ "uri": format!("repo://{at}/readme"), "name": at }))
            .to_vec();
        script.templates =
            vec![json!({ "uriTemplate": "repo://{owner}/{repo}/{path}", "name": "file" })];
    });
    upstream
}

fn fenced() -> Value {
    json!({ "prefix": "git", "pins": { "org": ["owner"], "project": ["repo"] },
        "uris": ["repo://{org}/{project}", "https://git.test/{org}/{project}"],
        "hide": { "org": ["orgs"] } })
}

#[test]
fn an_upstream_is_where_its_levels_are_pinned() {
    for era in ERAS {
        let upstream = Scripted::start(era);
        let toolset = |name: &str, path: &str| json!({ "kind": "mcp", "name": name, "prefix": name, "url": upstream.url(path) });
        let front = Front::start(&json!([
            toolset("wide", "/up"),
            toolset("org", "/up/{org}/mcp"),
            toolset("project", "/up/{org}/mcp/{project}?p={project}"),
        ]));
        let expected: [(&str, &[&str]); 3] = [
            ("/mcp", &["wide_echo"]),
            ("/mcp/acme", &["wide_echo", "org_echo"]),
            ("/mcp/acme/web", &["wide_echo", "org_echo", "project_echo"]),
        ];
        for (path, tools) in expected {
            let modern = front.modern(path);
            let session = Session::begin(&front.url(path), "key-a");
            assert_eq!(modern.tools(), tools);
            assert_eq!(session.tools(), tools);
            for tool in ["wide_echo", "org_echo", "project_echo"] {
                if tools.contains(&tool) {
                    let _ = modern.calls(tool, &json!({}));
                } else {
                    assert_eq!(modern.refused(tool, &json!({}))["code"], -32602);
                }
            }
        }
        // Whoever names a level gets what is there.
        let named = json!({ "organizationSlug": "acme", "projectSlug": "web" });
        let _ = front.modern("/mcp").calls("project_echo", &named);
        let calls = upstream.all("tools/call");
        let paths: Vec<_> = calls.iter().map(|asked| asked.path.as_str()).collect();
        let (wide, org, project) = ("/up", "/up/acme/mcp", "/up/acme/mcp/web?p=web");
        assert_eq!(paths, [wide, wide, org, wide, org, project, project], "{era:?}");
        assert!(upstream.asked().iter().all(|a| [wide, org, project].contains(&a.path.as_str())));
    }
}

fn properties_of(modern: &Modern, name: &str) -> Vec<String> {
    let listed = modern.result("tools/list", &json!({}));
    let tool = listed["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == name);
    let schema = &tool.unwrap()["inputSchema"];
    let names: Vec<String> = schema["properties"].as_object().unwrap().keys().cloned().collect();
    for required in schema["required"].as_array().into_iter().flatten() {
        assert!(names.iter().any(|name| name == required), "{schema}");
    }
    names
}

#[test]
fn what_the_url_pins_is_in_no_schema_and_in_every_call() {
    for era in ERAS {
        let upstream = issues(era);
        let front = Front::start(&json!([far(&upstream.url("/mcp"), &fenced())]));
        let (wide, org, project) =
            (front.modern("/mcp"), front.modern("/mcp/acme"), front.modern("/mcp/acme/web"));
        assert_eq!(properties_of(&wide, "git_find_issue"), ["links", "owner", "repo", "text"]);
        assert_eq!(properties_of(&org, "git_find_issue"), ["links", "repo", "text"]);
        assert_eq!(properties_of(&project, "git_find_issue"), ["links", "text"]);
        let expected = json!({ "owner": "acme", "repo": "web", "text": "t" });
        let without = json!({ "text": "t" });
        assert_eq!(got(&project.calls("git_find_issue", &without)), expected);
        // To say it again is no contradiction.
        assert_eq!(got(&project.calls("git_find_issue", &expected)), expected);
        let call = upstream.all("tools/call").pop().unwrap();
        assert_eq!(call.body["params"]["name"], "find_issue");
        for (client, arguments, text) in [
            (&project, json!({ "owner": "other", "text": "t" }), "`owner` is fixed to `acme`"),
            (&project, json!({ "repo": "other", "text": "t" }), "`repo` is fixed to `web`"),
            (&org, json!({ "owner": "other", "text": "t" }), "`owner` is fixed to `acme`"),
        ] {
            let error = client.refused("git_find_issue", &arguments);
            assert_eq!(error["code"], -32602);
            assert_eq!(error["message"], format!("{text} by this URL; got `other`"));
        }
        // Prompts take arguments, too.
        let listed = project.result("prompts/list", &json!({}));
        let prompt = json!({ "name": "git_triage",
            "arguments": [{ "name": "style", "required": true }] });
        assert_eq!(listed["prompts"], json!([prompt]));
        let got = |client: &Modern, arguments: &Value| {
            let params = json!({ "name": "git_triage", "arguments": arguments });
            client.answer("prompts/get", &params)
        };
        let said = got(&project, &json!({ "style": "terse" }));
        let said = said["result"]["messages"][0]["content"]["text"].as_str().unwrap();
        let said: Value = serde_json::from_str(said).unwrap();
        assert_eq!(said, json!({ "owner": "acme", "repo": "web", "style": "terse" }));
        let refused = got(&project, &json!({ "style": "terse", "repo": "other" }));
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
        assert_eq!(upstream.count("tools/call"), 2);
        assert_eq!(upstream.count("prompts/get"), 1);
    }
}

#[test]
fn what_the_url_pins_is_mirrored_for_an_upstream_that_wants_it() {
    let upstream = Scripted::start(Era::Modern);
    let properties = json!({ "owner": { "type": "string", "x-mcp-header": "Owner" },
        "region": { "type": "string", "x-mcp-header": "Region" } });
    upstream.set(|script| script.tools = vec![tool_of("find_issue", &properties)]);
    let more = json!({ "pins": { "org": ["owner"] } });
    let front = Front::start(&json!([far(&upstream.url("/mcp"), &more)]));
    let modern = front.modern("/mcp/acme");
    assert_eq!(properties_of(&modern, "find_issue"), ["region"]);
    let session = Session::begin(&front.url("/mcp/acme"), "key-a");
    // A session knows of no such headers.
    let _ = session.calls("find_issue", &json!({ "region": "eu" }));
    let call = upstream.all("tools/call").pop().unwrap();
    assert_eq!(call.header("mcp-param-owner"), Some("acme"));
    assert_eq!(call.header("mcp-param-region"), Some("eu"));
    assert_eq!(call.body["params"]["arguments"], json!({ "owner": "acme", "region": "eu" }));
}

#[test]
fn what_names_another_context_is_refused_wherever_it_stands() {
    let upstream = issues(Era::Modern);
    let front = Front::start(&json!([far(&upstream.url("/mcp"), &fenced())]));
    let project = front.modern("/mcp/acme/web");
    let link = |url: &str| json!({ "text": "t", "links": [{ "deep": [{ "url": url }] }] });
    let inside =
        ["https://git.test/acme/web/issues/1", "repo://acme/web/x", "https://elsewhere.test/"];
    for url in inside {
        let arguments = got(&project.calls("git_add_issue", &link(url)));
        assert_eq!(arguments["links"][0]["deep"][0]["url"], url);
    }
    let outside = [
        "https://git.test/other/web/issues/1",
        "https://git.test/acme/api",
        "HTTPS://GIT.test/other/web",
        "https://git.test/acme/web/../../other/web",
        "https://git.test/acme/%2e%2e/other/web",
        "repo://other/web/x",
    ];
    for url in outside {
        let error = project.refused("git_add_issue", &link(url));
        assert_eq!(error["code"], -32602, "{url}: {error}");
    }
    assert_eq!(upstream.count("tools/call"), inside.len());
    // Resources lie inside, or are none of this context's.
    let listed = project.names("resources/list", "resources", "uri");
    assert_eq!(listed, ["repo://acme/web/readme"]);
    let read = |uri: &str| project.answer("resources/read", &json!({ "uri": uri }));
    assert_eq!(read("repo://acme/web/other")["result"]["contents"][0]["text"], "it is read");
    for uri in ["repo://other/web/readme", "repo://acme/api/readme", "repo://acme/web/../api/x"] {
        assert_eq!(read(uri)["error"]["code"], -32602, "{uri}");
    }
    assert_eq!(upstream.count("resources/read"), 1);
}

#[test]
fn a_call_through_any_url_has_the_same_bytes() {
    for era in ERAS {
        let upstream = issues(era);
        let front = Front::start(&json!([far(&upstream.url("/mcp"), &fenced())]));
        let named = json!({ "owner": "acme", "repo": "web", "text": "t" });
        let prompt = json!({ "owner": "acme", "repo": "web", "style": "terse" });
        let complete = json!({ "ref": { "type": "ref/prompt", "name": "git_triage" },
            "argument": { "name": "style", "value": "te" },
            "context": { "arguments": { "owner": "acme", "repo": "web" } } });
        let asks = [
            ("tools/call", json!({ "name": "git_find_issue", "arguments": named })),
            ("prompts/get", json!({ "name": "git_triage", "arguments": prompt })),
            ("resources/read", json!({ "uri": "repo://acme/web/readme" })),
            ("resources/read", json!({ "uri": "repo://ACME/Web/readme" })),
            ("completion/complete", complete),
        ];
        for (method, params) in asks {
            let paths = ["/mcp", "/mcp/acme", "/mcp/acme/web"];
            let modern = paths.map(|path| front.modern(path).request(method, &params).body);
            assert!(modern[0].contains("\"result\""), "{modern:?}");
            assert!(modern.iter().all(|body| *body == modern[0]), "{method}: {modern:?}");
            let sessions = paths.map(|path| Session::begin(&front.url(path), "key-a"));
            let bodies = sessions.map(|session| session.request(method, &params).body);
            assert!(bodies.iter().all(|body| *body == bodies[0]), "{method}: {bodies:?}");
        }
        // It was one context that asked.
        let meetings = upstream.count("server/discover");
        assert_eq!(meetings, 1, "{era:?}");
    }
}

#[test]
fn what_is_not_allowed_or_hidden_is_as_unknown_as_what_is_not_there() {
    let upstream = issues(Era::Modern);
    let mut more = fenced();
    more["allow"] = json!(["find_issue", "orgs"]);
    let front = Front::start(&json!([far(&upstream.url("/mcp"), &more)]));
    let (wide, narrow) = (front.modern("/mcp"), front.modern("/mcp/acme"));
    assert_eq!(wide.tools(), ["git_find_issue", "git_orgs"]);
    assert_eq!(narrow.tools(), ["git_find_issue"]);
    let _ = wide.calls("git_orgs", &json!({}));
    let unknown = |client: &Modern, name: &str| {
        client.refused(name, &json!({})).to_string().replace(name, "NAME")
    };
    let none = unknown(&narrow, "git_none");
    for name in ["git_orgs", "git_add_issue", "orgs", "add_issue", "find_issue", "far_find_issue"] {
        assert_eq!(unknown(&narrow, name), none);
    }
    assert_eq!(unknown(&wide, "git_add_issue"), none);
    assert_eq!(upstream.count("tools/call"), 1);
}

#[test]
fn two_upstreams_may_have_tools_of_the_same_name() {
    let (one, two) = (Scripted::start(Era::Modern), Scripted::start(Era::Handshake));
    let toolset = |name: &str, prefix: &str, url: String| json!({ "kind": "mcp", "name": name, "prefix": prefix, "url": url });
    let front = Front::start(&json!([
        { "kind": "memory" },
        toolset("one", "a", one.url("/mcp")),
        toolset("two", "b-c", two.url("/mcp")),
    ]));
    let modern = front.modern("/mcp/acme");
    let tools = modern.tools();
    assert_eq!(tools[4..], ["a_echo", "b-c_echo"]);
    let _ = modern.calls("a_echo", &json!({}));
    assert_eq!((one.count("tools/call"), two.count("tools/call")), (1, 0));
    let _ = modern.calls("b-c_echo", &json!({}));
    assert_eq!((one.count("tools/call"), two.count("tools/call")), (1, 1));
    // Whose a tool is, is in its name: the other is not even asked.
    one.set(|script| {
        script.wrong.insert("*", tests::scripted::Wrong::Hangs);
    });
    let _ = front.modern("/mcp/fresh").calls("b-c_echo", &json!({}));
    assert_eq!(two.count("tools/call"), 2);
}

#[test]
fn a_query_leaves_less() {
    let upstream = issues(Era::Modern);
    let toolset = far(&upstream.url("/mcp"), &json!({ "prefix": "git" }));
    let front = Front::start(&json!([{ "kind": "memory" }, toolset]));
    let expected: [(&str, &[&str]); 5] = [
        ("?tools=git_orgs,recall", &["recall", "git_orgs"]),
        ("?toolsets=far", &["git_find_issue", "git_add_issue", "git_orgs"]),
        ("?toolsets=far&read_only=true", &["git_find_issue"]),
        ("?read_only=true", &["recall", "list_memories", "git_find_issue"]),
        ("?toolsets=memory", &["remember", "recall", "list_memories", "forget"]),
    ];
    for (query, tools) in expected {
        let path = format!("/mcp/acme{query}");
        let modern = front.modern(&path);
        let session = Session::begin(&front.url(&path), "key-a");
        assert_eq!(modern.tools(), tools, "{query}");
        assert_eq!(session.tools(), tools, "{query}");
        for (client, name) in [(&session as &dyn Asks, "git_add_issue"), (&modern, "git_orgs")] {
            if !tools.contains(&name) {
                assert_eq!(client.refused(name, &json!({}))["code"], -32602, "{query}");
            }
        }
        let prompts = modern.names("prompts/list", "prompts", "name");
        let has_far = !query.contains("toolsets=memory");
        assert_eq!(prompts.contains(&"git_triage".to_owned()), has_far, "{query}");
    }
    assert_eq!(upstream.count("tools/call"), 0);
    // A session keeps what it began with: a wider URL gives it nothing back.
    let session = Session::begin(&front.url("/mcp/acme?tools=recall"), "key-a");
    assert_eq!(session.at(&front.url("/mcp/acme")).tools(), ["recall"]);
    let wrong = front.url("/mcp/acme?read_only=perhaps");
    assert_eq!(post(&wrong, "key-a", &[], &message("ping", &json!({}))).status, 400);
}
