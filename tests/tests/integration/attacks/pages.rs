//! Attacks at the pages: signing in and out, the account, connections, and what says where all of it is.

use super::{Is, Row, Scene};
use crate::honest::{Browser, ORIGIN, form, get, hidden, parameter, turned};

pub(super) fn rows(scene: &mut Scene) -> Vec<Row> {
    let mut rows = signing_in(scene);
    rows.extend(coming_back(scene));
    rows.extend(account(scene));
    rows.extend(elsewhere(scene));
    rows
}

/// Somebody is to be signed in as somebody else, or sent elsewhere after it.
fn signing_in(scene: &Scene) -> Vec<Row> {
    let Scene { alice, .. } = scene;
    let login = || form("/login", &[("name", "mallory"), ("then", "/account")]);
    let then = |name, then: &str| {
        let ask = form("/login", &[("name", "dave"), ("then", then)]).with("Origin", ORIGIN);
        (name, ask, Is::Site("/account".to_owned()))
    };
    vec![
        ("a login from another site", login().with("Origin", "https://evil.test"), Is::Page(400)),
        ("a login from nowhere", login().with("Origin", "null"), Is::Page(400)),
        ("a login from nobody knows where", login(), Is::Page(400)),
        (
            "a login from another site that says it is ours",
            login().with("Origin", ORIGIN).with("Sec-Fetch-Site", "cross-site"),
            Is::Page(400),
        ),
        (
            "a login with no name",
            form("/login", &[("name", "")]).with("Origin", ORIGIN),
            Is::Page(400),
        ),
        then("a way on to another site", "https://evil.test/"),
        then("a way on without a scheme", "//evil.test/"),
        then("a way on behind a backslash", "/\\evil.test/"),
        then("a way on by a script", "javascript:alert(1)"),
        then("a way on with a line break", "/account\r\nSet-Cookie: x=y"),
        then("a way on with a tab", "/\t/evil.test/"),
        then("a way on that is too long", &format!("/{}", "a".repeat(4096))),
        (
            "a way out from another site",
            alice.with(form("/logout", &[])).with("Origin", "https://evil.test"),
            Is::Page(403),
        ),
        (
            "a way out without a token",
            alice.with(form("/logout", &[])).with("Origin", ORIGIN),
            Is::Page(403),
        ),
        ("a way out by GET", alice.with(get("/logout")), Is::Page(200)),
    ]
}

/// A browser comes back from a provider with what it was never sent there for.
fn coming_back(scene: &mut Scene) -> Vec<Row> {
    let Scene { world, alice, bob, .. } = scene;
    let begun = |browser: &mut Browser, name: &str| {
        let answer = browser.send(world, &get(&format!("/login/{name}?then=/account")));
        let state = parameter(answer.header("location").unwrap(), "state").unwrap();
        world.keep(&state);
        state
    };
    let (own, foreign) = (begun(alice, "hub"), begun(bob, "hub"));
    let forged = turned(&own);
    let back = |name, path: String, is| (name, alice.with(get(&path)), is);
    let at = |login: &str, state: &str, more: &str| {
        format!("/login/callback/{login}?code=x&state={state}{more}")
    };
    vec![
        back("a login that nobody began", at("hub", "AAAAAAAAAAAAAAAAAAAAAAAA", ""), Is::Page(400)),
        back("a login without a state", "/login/callback/hub?code=x".to_owned(), Is::Page(400)),
        back("a login with an empty state", at("hub", "", ""), Is::Page(400)),
        back("a login with a state that is changed", at("hub", &forged, ""), Is::Page(400)),
        back("a login that was begun in another browser", at("hub", &foreign, ""), Is::Page(400)),
        back("a login that comes back from another provider", at("other", &own, ""), Is::Page(400)),
        back("a login at a provider that is none", at("evil", &own, ""), Is::Rpc(404, -32001)),
        back("a login of another issuer", at("hub", &own, "&iss=https://evil.test"), Is::Page(400)),
        (
            "a login that is posted back",
            alice.with(form(&at("hub", &own, ""), &[])),
            Is::Rpc(404, -32001),
        ),
        (
            "a connection that nobody began",
            alice.with(get("/connect/callback?code=x&state=AAAAAAAAAAAAAAAAAAAAAAAA")),
            Is::Page(400),
        ),
        ("a connection of what is none", alice.with(get("/connect/evil")), Is::Rpc(404, -32001)),
    ]
}

/// A form of the account page that its user never sent.
fn account(scene: &Scene) -> Vec<Row> {
    let Scene { world, alice, bob, .. } = scene;
    let token = hidden(&alice.page(world, "/account"), "token");
    let page = bob.page(world, "/account");
    let (foreign, key) = (hidden(&page, "token"), hidden(&page, "key"));
    let grant = hidden(&page, "grant");
    let block = |token: &str| {
        alice.with(form("/account", &[("token", token), ("action", "block"), ("kind", "user")]))
    };
    let own = |fields: &[(&str, &str)]| {
        let fields = [[("token", token.as_str())].as_slice(), fields].concat();
        alice.with(form("/account", &fields)).with("Origin", ORIGIN)
    };
    vec![
        (
            "a block from another site",
            block(&token).with("Origin", "https://evil.test"),
            Is::Page(403),
        ),
        ("a block from nowhere", block(&token).with("Origin", "null"), Is::Page(403)),
        ("a block from nobody knows where", block(&token), Is::Page(403)),
        (
            "a block from another site that says it is ours",
            block(&token).with("Origin", ORIGIN).with("Sec-Fetch-Site", "same-site"),
            Is::Page(403),
        ),
        ("a block without a token", block("").with("Origin", ORIGIN), Is::Page(403)),
        (
            "a block with another user's token",
            block(&foreign).with("Origin", ORIGIN),
            Is::Page(403),
        ),
        ("a block by GET", alice.with(get("/account?action=block&kind=user")), Is::Page(200)),
        (
            "a key for another site's address",
            own(&[
                ("action", "mint"),
                ("name", "x"),
                ("scope", "https://evil.test/mcp"),
                ("days", "1"),
            ]),
            Is::Page(400),
        ),
        (
            "a key for ever",
            own(&[("action", "mint"), ("name", "x"), ("scope", "/mcp"), ("days", "100000")]),
            Is::Page(400),
        ),
        ("an action that is none", own(&[("action", "become"), ("value", "bob")]), Is::Page(400)),
        (
            "another user's key is revoked",
            own(&[("action", "revoke"), ("key", &key)]),
            Is::Site("/account#keys".to_owned()),
        ),
        (
            "another user's client is ended",
            own(&[("action", "end"), ("grant", &grant)]),
            Is::Site("/account#clients".to_owned()),
        ),
        ("the account by PUT", alice.with(get("/account")).by("PUT"), Is::Rpc(405, -32600)),
    ]
}

/// Pages for whoever is not signed in, and documents under another name.
fn elsewhere(scene: &Scene) -> Vec<Row> {
    let other = Browser {
        cookies: [("__Host-signalbox".to_owned(), scene.elsewhere.cookie.clone())].into(),
    };
    let changed = turned(&scene.alice.cookies["__Host-signalbox"]);
    let changed = Browser { cookies: [("__Host-signalbox".to_owned(), changed)].into() };
    let to_login = || Is::Site("/login?then=%2Faccount".to_owned());
    vec![
        ("an account without a cookie", get("/account"), to_login()),
        ("an account with a cookie of another deployment", other.with(get("/account")), to_login()),
        ("an account with a cookie that is changed", changed.with(get("/account")), to_login()),
        (
            "an account with a key as cookie",
            get("/account").with(
                "Cookie",
                format!("__Host-signalbox={}", scene.key.strip_prefix("sbx_").unwrap()),
            ),
            to_login(),
        ),
        ("a page by an alien host", get("/login").set("Host", "evil.test"), Is::Rpc(403, -32001)),
        (
            "metadata by an alien host",
            get("/.well-known/oauth-protected-resource/mcp").set("Host", "evil.test"),
            Is::Rpc(403, -32001),
        ),
        (
            "metadata by a host that a proxy names",
            get("/.well-known/oauth-authorization-server")
                .with("X-Forwarded-Host", "evil.test")
                .with("Forwarded", "host=evil.test"),
            Is::Names("issuer", ORIGIN),
        ),
    ]
}
