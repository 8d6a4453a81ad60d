//! Each step of logging in at an upstream, by what servers say. It must not know who takes them.

use super::{
    discovery::{
        Challenge, Resource, challenge, resource, resource_addresses, server, server_addresses,
    },
    registration::Method,
    tokens::{Granted, Tokens},
    *,
};
use proptest::prelude::*;
use serde_json::json;
use shared::{Millis, limits};

fn answer(status: u16, body: &Value) -> Answer {
    Answer { status, headers: Vec::new(), body: body.to_string() }
}

fn challenged(header: &str) -> Challenge {
    let headers = vec![("www-authenticate".to_owned(), header.to_owned())];
    challenge(&Answer { status: 401, headers, body: String::new() }, false)
}

fn at(text: &str) -> Address {
    Address::parse(text, true).unwrap()
}

#[test]
fn a_challenge_says_where_to_look_and_what_to_ask_for() {
    let place = "https://x.test/.well-known/oauth-protected-resource/mcp";
    for header in [
        format!(r#"Bearer resource_metadata="{place}", scope="a b""#),
        format!(
            r#"Bearer realm="x, resource_metadata=y", SCOPE="a b",Resource_Metadata="{place}""#
        ),
        format!(r#"Basic realm="x", Bearer scope="a b", resource_metadata={place}"#),
        format!(r#"Bearer error="\"", scope="a b",   resource_metadata="{place}" "#),
    ] {
        let expected =
            Challenge { metadata: Some(place.to_owned()), scope: Some("a b".to_owned()) };
        assert_eq!(challenged(&header), expected, "{header}");
    }
    for nothing in ["", "Bearer", "Bearer realm=\"", "=", "Bearer =,=", "Bearer scope=\" \""] {
        assert_eq!(challenged(nothing), Challenge::default(), "{nothing}");
    }
    // No server leads into a private network.
    let private = challenged(r#"Bearer resource_metadata="https://169.254.169.254/x""#);
    assert_eq!(private, Challenge::default());
    let headers = vec![("www-authenticate".to_owned(), "Bearer scope=a".to_owned())];
    let fine = Answer { status: 200, headers, body: String::new() };
    assert_eq!(challenge(&fine, false), Challenge::default());
}

#[test]
fn a_resource_is_described_where_it_says_or_at_well_known_places() {
    let none = Challenge::default();
    let place = "https://x.test/.well-known/oauth-protected-resource";
    let expected = [format!("{place}/a/mcp"), place.to_owned()];
    assert_eq!(resource_addresses(&at("https://x.test/a/mcp/?q=1"), &none), expected);
    assert_eq!(resource_addresses(&at("https://x.test"), &none), [place]);
    let said = Challenge { metadata: Some("https://y.test/z".to_owned()), scope: None };
    assert_eq!(resource_addresses(&at("https://x.test"), &said), ["https://y.test/z"]);
}

#[test]
fn a_resource_describes_itself_and_nobody_else() {
    let here = at("https://x.test/a/mcp");
    let read = |of: &str, servers: Value| {
        let said = json!({ "resource": of, "authorization_servers": servers,
            "scopes_supported": ["s"] });
        resource(&answer(200, &said), &here, false)
    };
    let issuer = json!(["https://10.0.0.1/", 7, "https://as.test/t"]);
    for of in
        ["https://x.test/a/mcp", "https://x.test/a/mcp/", "https://x.test", "https://x.test/a"]
    {
        let expected = Resource {
            resource: of.to_owned(),
            issuer: "https://as.test/t".to_owned(),
            scopes: vec!["s".to_owned()],
        };
        assert_eq!(read(of, issuer.clone()), Ok(expected));
    }
    for of in
        ["https://y.test/a/mcp", "https://x.test/b", "https://x.test/a/mc", "x", "http://x.test/"]
    {
        assert!(read(of, issuer.clone()).is_err(), "{of}");
    }
    assert!(read("https://x.test/a/mcp", json!([])).is_err());
    assert!(read("https://x.test/a/mcp", json!(["http://as.test"])).is_err());
    assert!(resource(&answer(404, &json!({})), &here, false).is_err());
}

#[test]
fn an_authorization_server_is_looked_for_in_order() {
    let oauth = "https://as.test/.well-known/oauth-authorization-server";
    let openid = "https://as.test/.well-known/openid-configuration";
    assert_eq!(server_addresses(&at("https://as.test/")), [oauth, openid]);
    let own = "https://as.test/t/1/.well-known/openid-configuration";
    let expected = [format!("{oauth}/t/1"), format!("{openid}/t/1"), own.to_owned()];
    assert_eq!(server_addresses(&at("https://as.test/t/1")), expected);
}

fn metadata() -> Value {
    json!({
        "issuer": "https://as.test/",
        "authorization_endpoint": "https://as.test/authorize?x=1",
        "token_endpoint": "https://as.test/token",
        "registration_endpoint": "https://as.test/register",
        "revocation_endpoint": "https://as.test/revoke",
        "code_challenge_methods_supported": ["plain", "S256"],
        "authorization_response_iss_parameter_supported": true,
        "token_endpoint_auth_methods_supported": ["none", "client_secret_post"],
        "scopes_supported": ["s", "offline_access"],
    })
}

fn the_server() -> Server {
    server(&answer(200, &metadata()), "https://as.test", false).unwrap()
}

#[test]
fn an_authorization_server_is_who_it_says_and_knows_pkce() {
    let known = the_server();
    assert_eq!(known.issuer.as_deref(), Some("https://as.test/"));
    assert!(known.names_itself);
    assert_eq!(known.registration.as_deref(), Some("https://as.test/register"));
    assert_eq!(known.revocation.as_deref(), Some("https://as.test/revoke"));
    let near = json!("https://127.0.0.1/revoke");
    let wrong = answer(200, &{
        let mut said = metadata();
        said["revocation_endpoint"] = near;
        said
    });
    assert_eq!(server(&wrong, "https://as.test", false).unwrap().revocation, None);
    for (member, value) in [
        ("issuer", json!("https://evil.test")),
        ("issuer", Value::Null),
        ("token_endpoint", json!("http://as.test/token")),
        ("token_endpoint", json!("https://192.168.0.1/token")),
        ("authorization_endpoint", json!("javascript:alert(1)")),
        ("code_challenge_methods_supported", json!(["plain"])),
        ("code_challenge_methods_supported", Value::Null),
    ] {
        let mut wrong = metadata();
        wrong[member] = value;
        assert!(server(&answer(200, &wrong), "https://as.test", false).is_err(), "{member}");
    }
}

fn attempt() -> Attempt {
    Attempt {
        credential: "c".to_owned(),
        fingerprint: "f".to_owned(),
        verifier: unguessable([7; 32]),
        redirect: "https://x.test/connect/callback".to_owned(),
        resource: "https://mcp.test/mcp".to_owned(),
        issuer: Some("https://as.test/".to_owned()),
        names_itself: true,
        token_endpoint: "https://as.test/token".to_owned(),
        revocation_endpoint: None,
        client: Client {
            id: "i d".to_owned(),
            secret: Some("s:ü".to_owned()),
            method: Method::Basic,
            expires: None,
        },
    }
}

#[test]
fn a_browser_is_sent_with_all_that_binds_its_return() {
    let scopes = ["s".to_owned(), "offline_access".to_owned()];
    let address = authorization_address(&the_server(), &attempt(), "st", &scopes);
    let query = address.strip_prefix("https://as.test/authorize?x=1&").unwrap();
    let pairs: Vec<(String, String)> =
        form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let expected = [
        ("response_type", "code"),
        ("client_id", "i d"),
        ("redirect_uri", "https://x.test/connect/callback"),
        ("state", "st"),
        ("code_challenge", &digest(&attempt().verifier)),
        ("code_challenge_method", "S256"),
        ("resource", "https://mcp.test/mcp"),
        ("scope", "s offline_access"),
        ("prompt", "consent"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(pairs, expected);
    // RFC 7636, appendix B.
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    assert_eq!(digest(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

#[test]
fn what_is_asked_for_is_what_somebody_says() {
    let list = |text: &str| text.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>();
    let server = the_server();
    assert_eq!(scopes(&list("a"), Some("b"), &list("c"), &server), ["a"]);
    assert_eq!(scopes(&[], Some("b"), &list("c"), &server), ["b", "offline_access"]);
    assert_eq!(scopes(&[], None, &list("c"), &server), ["c", "offline_access"]);
    assert_eq!(scopes(&[], None, &list("c"), &Server::default()), ["c"]);
    assert_eq!(scopes(&[], None, &[], &server), [""; 0]);
}

#[test]
fn a_browser_comes_back_from_where_it_was_sent() {
    let returned = |issuer: Option<&str>, error: Option<&str>| Returned {
        code: Some("k".to_owned()),
        issuer: issuer.map(ToOwned::to_owned),
        error: error.map(ToOwned::to_owned),
    };
    let kind = |attempt: &Attempt, returned: &Returned| code(attempt, returned).map_err(|e| e.kind);
    let own = Some("https://as.test");
    assert_eq!(kind(&attempt(), &returned(own, None)), Ok("k".to_owned()));
    assert_eq!(kind(&attempt(), &returned(None, None)), Err(Kind::Forbidden));
    assert_eq!(kind(&attempt(), &returned(Some("https://evil.test"), None)), Err(Kind::Forbidden));
    let quiet = Attempt { names_itself: false, ..attempt() };
    assert_eq!(kind(&quiet, &returned(None, None)), Ok("k".to_owned()));
    assert_eq!(kind(&quiet, &returned(Some("https://evil.test"), None)), Err(Kind::Forbidden));
    let error = code(&attempt(), &returned(own, Some("access_denied<script>"))).unwrap_err();
    assert!(error.public.ends_with("(access_deniedscript)"), "{error}");
    let nothing = Returned { code: Some(String::new()), ..returned(own, None) };
    assert_eq!(kind(&attempt(), &nothing), Err(Kind::Invalid));
}

#[test]
fn this_program_registers_itself_as_the_server_likes_it() {
    let server = the_server();
    let asked =
        registration::request(&server, "https://as.test/register", "https://x.test/cb", &[]);
    let body: Value = serde_json::from_str(asked.body.as_deref().unwrap()).unwrap();
    assert_eq!(body["token_endpoint_auth_method"], "client_secret_post");
    assert_eq!(body["redirect_uris"], json!(["https://x.test/cb"]));
    let read = |said: Value| registration::read(&answer(201, &said), &server).unwrap();
    let public = read(json!({ "client_id": "i" }));
    assert_eq!((public.method, public.expires), (Method::None, None));
    let secret = read(json!({ "client_id": "i", "client_secret": "s",
        "client_secret_expires_at": 7 }));
    assert_eq!((secret.method, secret.expires), (Method::Post, Some(Millis(7000))));
    assert!(secret.is_good(Millis(6999)) && !secret.is_good(Millis(7000)));
    let never = read(json!({ "client_id": "i", "client_secret": "s",
        "token_endpoint_auth_method": "client_secret_basic", "client_secret_expires_at": 0 }));
    assert_eq!((never.method, never.expires), (Method::Basic, None));
    assert!(registration::read(&answer(400, &json!({ "client_id": "i" })), &server).is_err());
    assert!(registration::read(&answer(201, &json!({})), &server).is_err());
}

#[test]
fn who_asks_for_tokens_says_who_it_is() {
    let field = |request: &shared::outside::Request, name: &str| {
        let body = request.body.clone().unwrap();
        let mut pairs = form_urlencoded::parse(body.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    let asked = tokens::for_code(&attempt(), "k");
    let basic = ("authorization".to_owned(), "Basic aStkOnMlM0ElQzMlQkM=".to_owned());
    assert!(asked.headers.contains(&basic), "{:?}", asked.headers);
    assert_eq!(field(&asked, "code_verifier"), Some(attempt().verifier));
    assert_eq!(field(&asked, "resource").as_deref(), Some("https://mcp.test/mcp"));
    assert_eq!(field(&asked, "client_id"), None);
    let post = Client { method: Method::Post, ..attempt().client };
    let asked = tokens::for_refresh("https://as.test/token", &post, "r", "https://mcp.test/mcp");
    assert_eq!(field(&asked, "client_secret").as_deref(), Some("s:ü"));
    assert_eq!(field(&asked, "refresh_token").as_deref(), Some("r"));
    let public = Client::configured(&the_server(), "i", None);
    let asked = tokens::for_refresh("https://as.test/token", &public, "r", "https://mcp.test/mcp");
    assert_eq!(field(&asked, "client_id").as_deref(), Some("i"));
    assert_eq!(field(&asked, "client_secret"), None);
}

#[test]
fn an_answer_is_tokens_or_the_end_or_another_try() {
    let read = |status, said: Value| tokens::read(&answer(status, &said));
    let tokens = |refresh: Option<&str>, lifetime_ms| {
        let refresh = refresh.map(ToOwned::to_owned);
        Granted::Tokens(Tokens { access: "a".to_owned(), refresh, lifetime_ms, scope: None })
    };
    let said = json!({ "access_token": "a", "token_type": "Bearer", "expires_in": 60,
        "refresh_token": "r" });
    assert_eq!(read(200, said), tokens(Some("r"), Some(60_000)));
    assert_eq!(
        read(200, json!({ "access_token": "a", "expires_in": "60" })),
        tokens(None, Some(60_000))
    );
    assert_eq!(read(200, json!({ "access_token": "a" })), tokens(None, None));
    let long = json!({ "access_token": "a", "expires_in": 1e300 });
    assert_eq!(read(200, long), tokens(None, Some(limits::TOKEN_MS_MAX)));
    assert_eq!(read(400, json!({ "error": "invalid_grant" })), Granted::Over);
    assert_eq!(read(200, json!({ "error": "bad_refresh_token" })), Granted::Over);
    assert_eq!(read(401, json!({ "error": "invalid_client" })), Granted::Stranger);
    for (status, said) in [
        (500, json!({ "error": "invalid_grant" })),
        (503, json!({})),
        (429, json!({})),
        (400, json!({ "error": "temporarily_unavailable" })),
        (200, json!(7)),
    ] {
        assert!(matches!(read(status, said.clone()), Granted::Later(_)), "{status} {said}");
    }
    for (status, said) in [
        (400, json!({ "error": "invalid_target" })),
        (404, json!({})),
        (200, json!({})),
        (200, json!({ "access_token": "a\nb" })),
        (200, json!({ "access_token": "a", "token_type": "mac" })),
        (200, json!({ "access_token": "a".repeat(limits::GRANTED_BYTES_MAX + 1) })),
    ] {
        assert!(matches!(read(status, said.clone()), Granted::No(_)), "{status}");
    }
}

#[test]
fn nothing_secret_is_shown() {
    let shown = format!("{:?} {:?}", attempt(), attempt().client);
    assert!(!shown.contains("s:ü") && !shown.contains(&attempt().verifier), "{shown}");
    let granted =
        tokens::read(&answer(200, &json!({ "access_token": "TOP", "refresh_token": "R7" })));
    let shown = format!("{granted:?}");
    assert!(!shown.contains("TOP") && !shown.contains("R7"), "{shown}");
}

proptest! {
    #[test]
    fn nothing_that_a_server_says_is_a_panic(
        header in any::<String>(), body in any::<String>(), status in any::<u16>(),
        name in "[a-z_]{1,20}", value in any::<String>(),
    ) {
        challenged(&header);
        let said = json!({ (name): value }).to_string();
        for body in [body, said] {
            let answer = Answer { status, headers: Vec::new(), body };
            let here = at("https://x.test/mcp");
            let _ = resource(&answer, &here, false);
            let _ = server(&answer, "https://as.test", false);
            let _ = registration::read(&answer, &the_server());
            let _ = tokens::read(&answer);
        }
    }
}
