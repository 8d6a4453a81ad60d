//! Attacks at registration and at the consent page: where codes are sent, and who says yes.

use super::{Is, Row, Scene};
use crate::honest::{Browser, ORIGIN, challenge, encoded, form, get, pairs, register};
use serde_json::json;

pub(super) fn rows(scene: &mut Scene) -> Vec<Row> {
    let mut rows = registering();
    rows.extend(redirecting(scene));
    rows.extend(asking(scene));
    rows.extend(asking_oddly(scene));
    rows.extend(strangers(scene));
    rows.extend(forging(scene));
    rows.extend(answering(scene));
    rows
}

const NO_CLIENT: Is = Is::OAuth(400, "invalid_client_metadata");

fn registering() -> Vec<Row> {
    let with = |name, redirects: &[&str]| {
        let asked = json!({ "client_name": "x", "redirect_uris": redirects,
            "token_endpoint_auth_method": "none" });
        (name, register(&asked.to_string()), NO_CLIENT)
    };
    let long =
        json!({ "client_name": "x".repeat(20 * 1024), "redirect_uris": ["https://a.test/"] });
    vec![
        with("a script as redirect", &["javascript:alert(1)//https://client.test/"]),
        with("a script in capitals as redirect", &["JavaScript:alert(1)"]),
        with("a script behind a space as redirect", &[" javascript:alert(1)"]),
        with("a script with a line break as redirect", &["java\nscript:alert(1)"]),
        with("data as redirect", &["data:text/html,<script>1</script>"]),
        with("an old script as redirect", &["vbscript:x"]),
        with("a file as redirect", &["file:///etc/passwd"]),
        with("a blob as redirect", &["blob:https://client.test/1"]),
        with("a fragment in a redirect", &["https://client.test/callback#x"]),
        with("an empty fragment in a redirect", &["https://client.test/callback#"]),
        with("a user in a redirect", &["https://client.test@evil.test/callback"]),
        with("a user and a password in a redirect", &["https://a:b@client.test/"]),
        with("a redirect without TLS", &["http://client.test/callback"]),
        with("a redirect that begins like loopback", &["http://localhost.evil.test/"]),
        with("a redirect that begins like an address", &["http://127.0.0.1.evil.test/"]),
        with("a redirect of a program", &["evil-app://callback"]),
        with("a path as redirect", &["/callback"]),
        with("a redirect without a scheme", &["//evil.test/callback"]),
        with("a good redirect and a script", &["https://client.test/", "javascript:alert(1)"]),
        with("no redirect", &[]),
        ("a registration that is no JSON", register("{"), Is::OAuth(400, "invalid_request")),
        ("a registration that is a list", register("[]"), NO_CLIENT),
        (
            "a registration that is too long",
            register(&long.to_string()),
            Is::OAuth(413, "invalid_request"),
        ),
        ("a registration by GET", get("/oauth/register"), Is::OAuth(405, "invalid_request")),
        (
            "a registration for passwords",
            register(
                &json!({ "redirect_uris": ["https://a.test/"],
            "grant_types": ["password"] })
                .to_string(),
            ),
            NO_CLIENT,
        ),
        (
            "a registration for tokens in addresses",
            register(
                &json!({ "redirect_uris":
            ["https://a.test/"], "response_types": ["token"] })
                .to_string(),
            ),
            NO_CLIENT,
        ),
    ]
}

/// A redirect that is not, letter by letter, one that the client has registered: its user hears of it,
/// and nobody is sent anywhere (RFC 6749, 4.1.2.1).
fn redirecting(scene: &Scene) -> Vec<Row> {
    let Scene { alice, client, wild, .. } = scene;
    let with = |name, redirect: &str| {
        let address = client.address("/mcp/acme", &[("redirect_uri", Some(redirect))]);
        (name, alice.with(get(&address)), Is::Page(400))
    };
    let wildly = |name, redirect: &str| {
        let address = wild.address("/mcp/acme", &[("redirect_uri", Some(redirect))]);
        (name, alice.with(get(&address)), Is::Page(400))
    };
    let none = client.address("/mcp/acme", &[("redirect_uri", None)]);
    let two = format!("{}&redirect_uri={}", none, encoded("https://evil.test/"));
    let own = encoded(&client.redirect);
    vec![
        with("a code to a script", "javascript:alert(1)"),
        with("a code to data", "data:text/html,x"),
        with("a code to another host", "https://evil.test/callback"),
        with("a code to a host that ends like it", "https://evilclient.test/callback"),
        with("a code to a host that begins like it", "https://client.test.evil.test/callback"),
        with("a code to a user before another host", "https://client.test@evil.test/callback"),
        with("a code to another path", "https://client.test/other"),
        with("a code to a path below", "https://client.test/callback/x"),
        with("a code up by dots", "https://client.test/callback/../other"),
        with("a code to another port", "https://client.test:8443/callback"),
        with("a code without TLS", "http://client.test/callback"),
        with("a code to a fragment", "https://client.test/callback#x"),
        with("a code to an address with a query", "https://client.test/callback?next=//evil.test"),
        with("a code to a path in capitals", "https://client.test/CALLBACK"),
        with("a code to a space", "https://client.test/callback "),
        with("a code to loopback that nobody registered", "http://localhost:1/callback"),
        wildly("a code to what a star could mean", "https://a.evil.test/callback"),
        ("a code to nowhere", alice.with(get(&none)), Is::Page(400)),
        (
            "a code to two addresses, the other first",
            alice.with(get(&format!("{two}&redirect_uri={own}"))),
            Is::Page(400),
        ),
    ]
}

/// A request that the client is told of, at its own address, with its state and our name (RFC 9207).
fn asking(scene: &Scene) -> Vec<Row> {
    let Scene { alice, client, .. } = scene;
    let with = |name, changes: &[(&str, Option<&str>)], is| {
        (name, alice.with(get(&client.address("/mcp/acme", changes))), is)
    };
    let more = |name, more: &str, is| {
        let address = format!("{}{more}", client.address("/mcp/acme", &[]));
        (name, alice.with(get(&address)), is)
    };
    let at = |name, resource: &str| {
        with(name, &[("resource", Some(resource))], Is::Back("invalid_target"))
    };
    let no_target = Is::Back("invalid_target");
    vec![
        with(
            "no challenge",
            &[("code_challenge", None), ("code_challenge_method", None)],
            Is::Back("invalid_request"),
        ),
        with(
            "a method without a challenge",
            &[("code_challenge", None)],
            Is::Back("invalid_request"),
        ),
        with(
            "a plain challenge",
            &[("code_challenge_method", Some("plain"))],
            Is::Back("invalid_request"),
        ),
        with(
            "a challenge with no method",
            &[("code_challenge_method", None)],
            Is::Back("invalid_request"),
        ),
        with(
            "a challenge by another method",
            &[("code_challenge_method", Some("S512"))],
            Is::Back("invalid_request"),
        ),
        with(
            "a token in the address",
            &[("response_type", Some("token"))],
            Is::Back("unsupported_response_type"),
        ),
        with(
            "a code and a token",
            &[("response_type", Some("code token"))],
            Is::Back("unsupported_response_type"),
        ),
        with("no response type", &[("response_type", None)], Is::Back("invalid_request")),
        at("a foreign resource", "https://evil.test/mcp"),
        at("a resource that begins like ours", &format!("{ORIGIN}.evil.test/mcp")),
        at("a resource that is no scope", &format!("{ORIGIN}/mcp/a/b/c")),
        at("a resource up by dots", &format!("{ORIGIN}/mcp/acme/../other")),
        at("a resource with a fragment", &format!("{ORIGIN}/mcp#x")),
        more(
            "two resources",
            &format!("&resource={}", encoded(&format!("{ORIGIN}/mcp"))),
            no_target,
        ),
    ]
}

/// A request of nobody who is known, or one that says a thing twice.
fn asking_oddly(scene: &Scene) -> Vec<Row> {
    let Scene { alice, client, .. } = scene;
    let with = |name, changes: &[(&str, Option<&str>)], is| {
        (name, alice.with(get(&client.address("/mcp/acme", changes))), is)
    };
    let more = |name, more: &str, is| {
        let address = format!("{}{more}", client.address("/mcp/acme", &[]));
        (name, alice.with(get(&address)), is)
    };
    let challenge = challenge();
    vec![
        with("a client that is none", &[("client_id", Some("nobody"))], Is::Page(400)),
        with("no client", &[("client_id", None)], Is::Page(400)),
        with(
            "a client that describes itself on this machine",
            &[("client_id", Some("https://127.0.0.1/client.json"))],
            Is::Page(400),
        ),
        with(
            "a client that describes itself without TLS",
            &[("client_id", Some("http://client.test/client.json"))],
            Is::Page(400),
        ),
        more("two clients", "&client_id=nobody", Is::Page(400)),
        more(
            "two challenges",
            &format!("&code_challenge={challenge}"),
            Is::Back("invalid_request"),
        ),
        more("two states", "&state=another", Is::Back("invalid_request")),
        more("two scopes", "&scope=mcp:read&scope=mcp:write", Is::Back("invalid_request")),
        more("two response types", "&response_type=token", Is::Back("invalid_request")),
        (
            "an authorization by PUT",
            alice.with(get(&client.address("/mcp", &[])).by("PUT")),
            Is::Rpc(405, -32600),
        ),
        (
            "a yes by GET",
            alice.with(get(&client
                .address("/mcp/acme", &[("decision", Some("allow")), ("access", Some("write"))]))),
            Is::Page(200),
        ),
    ]
}

/// Nobody is signed in: what was asked is not looked at, and nobody is sent to a client.
fn strangers(scene: &Scene) -> Vec<Row> {
    let Scene { world, client, elsewhere, .. } = scene;
    let evil = client.address("/mcp/acme", &[("redirect_uri", Some("https://evil.test/"))]);
    let to_login = |address: &str| {
        let address = address.replace("{host}", &world.host);
        Is::Site(format!("/login?{}", pairs(&[("then", &address)])))
    };
    let cookies = [("__Host-signalbox".to_owned(), elsewhere.cookie.clone())];
    let browser = Browser { cookies: cookies.into() };
    vec![
        ("a stranger with another's redirect", get(&evil), to_login(&evil)),
        (
            "a stranger with a cookie of another deployment",
            browser.with(get(&evil)),
            to_login(&evil),
        ),
    ]
}

/// A yes that its user never said.
fn forging(scene: &mut Scene) -> Vec<Row> {
    let Scene { world, alice, bob, client, .. } = scene;
    let question = alice.asked(world, client, "/mcp/acme");
    let foreign = bob.asked(world, client, "/mcp/acme");
    let bare = || {
        let Question { token, handle, scope } = &question;
        let fields = [
            ("token", token.as_str()),
            ("handle", handle),
            ("scope", scope),
            ("access", "write"),
            ("decision", "allow"),
        ];
        alice.with(form("/authorize", &fields))
    };
    let from = |name, origin: &str| (name, bare().with("Origin", origin), Is::Page(403));
    let with =
        |name, changes: &[(&str, &str)], is| (name, alice.with(question.answer(changes)), is);
    vec![
        from("a yes from another site", "https://evil.test"),
        from("a yes from nowhere", "null"),
        from("a yes from another port", "http://127.0.0.1:9"),
        from("a yes from a site that begins like ours", &format!("{ORIGIN}.evil.test")),
        ("a yes from nobody knows where", bare(), Is::Page(403)),
        (
            "a yes from another site that says it is ours",
            bare().with("Origin", ORIGIN).with("Sec-Fetch-Site", "cross-site"),
            Is::Page(403),
        ),
        with("a yes without a token", &[("token", "")], Is::Page(403)),
        with("a yes with a guessed token", &[("token", &challenge())], Is::Page(403)),
        with("a yes with another user's token", &[("token", &foreign.token)], Is::Page(403)),
        with("a yes to another user's question", &[("handle", &foreign.handle)], Is::Page(400)),
        with("a yes to no question", &[("handle", "")], Is::Page(400)),
        with("a yes to a guessed question", &[("handle", &challenge())], Is::Page(400)),
        (
            "another user's yes to this user's question",
            bob.with(question.answer(&[])),
            Is::Page(403),
        ),
        ("a stranger's yes", question.answer(&[]), Is::Page(403)),
    ]
}

use crate::honest::Question;

/// A yes to something else than was shown, or once more.
fn answering(scene: &mut Scene) -> Vec<Row> {
    let Scene { world, alice, carol, client, .. } = scene;
    let mut with = |name, changes: &[(&str, &str)], is| {
        let question = alice.asked(world, client, "/mcp/acme");
        (name, alice.with(question.answer(changes)), is)
    };
    let mut rows = vec![
        with("a yes to a wider scope than was shown", &[("scope", "/mcp")], Is::Page(400)),
        with("a yes to a sibling of what was shown", &[("scope", "/mcp/other")], Is::Page(400)),
        with("a yes to no scope", &[("scope", "https://evil.test")], Is::Page(400)),
        with("a yes to what leads out", &[("level-project", "../other")], Is::Page(400)),
        with("a yes to more than there is", &[("access", "admin")], Is::Page(400)),
        with("neither yes nor no", &[("decision", "perhaps")], Is::Page(400)),
        with("a yes of far too many words", &[("x", &"y".repeat(70 * 1024))], Is::Rpc(413, -32600)),
    ];
    let question = carol.asked(world, client, "/mcp/acme");
    // Without the library's own cookie for that question nobody has seen it.
    let only = carol.cookies.iter().filter(|(name, _)| *name == "__Host-signalbox");
    let other = Browser { cookies: only.map(|(k, v)| (k.clone(), v.clone())).collect() };
    rows.push(("a yes in another browser", other.with(question.answer(&[])), Is::Page(400)));
    let before = carol.clone();
    let said = carol.send(world, &question.answer(&[]));
    assert_eq!((said.status, said.leads().is_some()), (Some(200), true), "{said:?}");
    rows.push(("a yes once more", before.with(question.answer(&[])), Is::Page(400)));
    let twice = pairs(&[("decision", "deny")]);
    let question = alice.asked(world, client, "/mcp/acme");
    let no = alice.with(question.answer(&[("decision", "deny")]).more(&format!("&{twice}")));
    rows.push(("a no", no, Is::Back("access_denied")));
    rows
}
