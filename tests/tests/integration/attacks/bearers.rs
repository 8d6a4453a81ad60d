//! Attacks at the protected resources: tokens and keys where they are not good, not any more, or never
//! were, and ways of showing them that are none.

use super::{Is, Row, Scene};
use crate::honest::{Browser, ORIGIN, cut, message, pairs, turned, writes};
use crate::probes::wire::Ask;
use identity::{caller::Access, key, keyring::KeyRing};
use serde_json::json;
use shared::{Millis, UserId};

const NOT_GOOD: Is = Is::Challenge(401, "invalid_token");
const NONE: Is = Is::Challenge(401, "");

pub(super) fn rows(scene: &mut Scene) -> Vec<Row> {
    let mut rows = places(scene);
    rows.extend(tampered(scene));
    rows.extend(shown(scene));
    rows.extend(keys(scene));
    rows
}

fn lists(path: &str, credential: &str) -> Ask {
    message(path, credential, "tools/list", json!({}))
}

/// A token at addresses that it is not for.
fn places(scene: &mut Scene) -> Vec<Row> {
    let Scene { world, alice, client, kept, aged, elsewhere, .. } = scene;
    let acme = kept.access.as_str();
    let code = alice.code_with(world, client, "/mcp/acme", &[("access", "read")]);
    let reads = client.tokens(world, &code).access;
    let code = alice.code_with(world, client, "/mcp/acme", &[("level-project", "web")]);
    let narrowed = client.tokens(world, &code).access;
    let note = json!({ "name": "remember", "arguments":
        { "text": "an attack has written this", "projectSlug": "other" } });
    let code = alice.code(world, client, "/mcp/acme");
    vec![
        ("a token of an organization at the root", lists("/mcp", acme), NOT_GOOD),
        ("a token of an organization at another", lists("/mcp/other", acme), NOT_GOOD),
        ("a token at a name that begins like its own", lists("/mcp/acme-2", acme), NOT_GOOD),
        ("a token up by dots", lists("/mcp/acme/../other", acme), Is::Rpc(400, -32600)),
        ("a token up by encoded dots", lists("/mcp/acme/%2e%2e/other", acme), Is::Rpc(400, -32600)),
        ("a token at the oldest transport", lists("/sse", acme).by("GET").body(""), NOT_GOOD),
        ("a token at a project inside", lists("/mcp/acme/web", acme), Is::Good),
        (
            "a token that reads at a tool that writes",
            writes("/mcp/acme", &reads),
            Is::Challenge(403, "insufficient_scope"),
        ),
        (
            "a narrowed token at a sibling in the address",
            writes("/mcp/acme/other", &narrowed),
            NOT_GOOD,
        ),
        (
            "a narrowed token at a sibling by argument",
            message("/mcp/acme", &narrowed, "tools/call", note),
            Is::Rpc(200, -32602),
        ),
        ("a token that its store has forgotten", lists("/mcp/acme", &aged.gone), NOT_GOOD),
        ("a token after its time", lists("/mcp/acme", &aged.past), NOT_GOOD),
        ("a token of another deployment", lists("/mcp/acme", &elsewhere.tokens.access), NOT_GOOD),
        ("a refresh token as a token", lists("/mcp/acme", &kept.refresh), NOT_GOOD),
        ("a code as a token", lists("/mcp/acme", &code), NOT_GOOD),
        ("a client's id as a token", lists("/mcp/acme", &client.id), NOT_GOOD),
        ("a cookie as a token", lists("/mcp/acme", &alice.cookies["__Host-signalbox"]), NOT_GOOD),
    ]
}

/// A token that is changed in one place.
fn tampered(scene: &mut Scene) -> Vec<Row> {
    let token = scene.kept.access.as_str();
    let parts: Vec<&str> = token.split(':').collect();
    let [user, grant, secret] = parts.try_into().unwrap();
    let row = |name, token: String| (name, lists("/mcp/acme", &token), NOT_GOOD);
    vec![
        row("a token of another user", format!("Ym9i:{grant}:{secret}")),
        row("a token of a user in other letters", format!("{user}=:{grant}:{secret}")),
        row("a token of no user", format!(":{grant}:{secret}")),
        row("a token of another grant", format!("{user}:{}:{secret}", turned(grant))),
        row("a token with another secret", format!("{user}:{grant}:{}", turned(secret))),
        row("a token without its secret", format!("{user}:{grant}:")),
        row("a token that is cut", cut(token, 1).to_owned()),
        row("a token with more", format!("{token}A")),
        row("a token with a fourth part", format!("{token}:x")),
        row("a token in capitals", token.to_uppercase()),
        row("a token that is far too long", format!("{token}{}", "A".repeat(20 * 1024))),
    ]
}

/// Ways of showing a token that are none.
fn shown(scene: &Scene) -> Vec<Row> {
    let token = scene.kept.access.as_str();
    let bare = || lists("/mcp/acme", token).without("Authorization");
    let query = format!("/mcp/acme?{}", pairs(&[("access_token", token)]));
    let header = |value: &str| bare().with("Authorization", value);
    let browser = Browser { cookies: scene.alice.cookies.clone() };
    vec![
        ("a token in the query", bare().to(&query), NONE),
        (
            "a token in a form",
            bare()
                .set("Content-Type", "application/x-www-form-urlencoded")
                .body(pairs(&[("access_token", token)])),
            NONE,
        ),
        ("a token as a cookie", bare().with("Cookie", format!("access_token={token}")), NONE),
        ("a user's cookie instead of a token", browser.with(bare()), NONE),
        (
            "two tokens",
            lists("/mcp/acme", token).with("Authorization", format!("Bearer {token}")),
            NOT_GOOD,
        ),
        (
            "a token and something else",
            lists("/mcp/acme", token).with("Authorization", "Basic YTpi"),
            NOT_GOOD,
        ),
        ("a token of another scheme", header(&format!("Basic {token}")), NOT_GOOD),
        ("a token without a scheme", header(token), NOT_GOOD),
        ("a scheme without a token", header("Bearer"), NOT_GOOD),
        (
            "a user's name in a header of ours",
            bare().with("X-Hop-Caller", "alice").with("X-Hop-User", "alice"),
            NONE,
        ),
        (
            "a token by an alien host",
            lists("/mcp/acme", token).set("Host", "evil.test"),
            Is::Rpc(403, -32001),
        ),
        (
            "a token from a page of elsewhere",
            lists("/mcp/acme", token).with("Origin", "https://evil.test"),
            Is::Rpc(403, -32001),
        ),
    ]
}

/// Personal keys.
fn keys(scene: &Scene) -> Vec<Row> {
    let Scene { world, alice, key, elsewhere, ring, .. } = scene;
    let (name, _) = key.strip_prefix("sbx_").unwrap().split_once('.').unwrap();
    let ring = KeyRing::parse(ring).unwrap();
    // What only somebody with the deployment's own keys can make.
    let made = |user: &str, expires: Option<u64>, fresh: u8| {
        let grant = key::Grant {
            id: "made".to_owned(),
            user: UserId::parse(user).unwrap(),
            scope: "/mcp/acme".to_owned(),
            access: Access::Write,
            expires: expires.map(Millis),
        };
        key::mint(&ring, &grant, [fresh; 12]).unwrap()
    };
    let revoked = alice.mints(world, "/mcp/acme", &[]);
    let page = alice.page(world, "/account");
    // The newest of the page's keys is the one that was just made.
    let ids: Vec<&str> = page.split("name=\"key\" value=\"").skip(1).collect();
    let ids: Vec<&str> = ids.iter().filter_map(|rest| rest.split('"').next()).collect();
    let new: Vec<&&str> = ids.iter().filter(|id| !scene.known.contains(**id)).collect();
    let [id] = new.as_slice() else { panic!("which key? {ids:?}") };
    let reads = scene.reads.as_str();
    let answer = alice.account(world, &[("action", "revoke"), ("key", id)]);
    assert_eq!(answer.status, Some(303), "{answer:?}");
    let row = |name, key: &str| (name, lists("/mcp/acme", key), NOT_GOOD);
    vec![
        row("a key of another ring's name", &key.replacen(&format!("sbx_{name}."), "sbx_k9.", 1)),
        row("a key that is changed", &turned(key)),
        row("a key that is cut", cut(key, 4)),
        row("a key without its seal", &format!("sbx_{name}.")),
        row("a key without its prefix", key.strip_prefix("sbx_").unwrap()),
        row("a cookie as a key", &format!("sbx_{}", alice.cookies["__Host-signalbox"])),
        row("a key of another deployment", &elsewhere.key),
        row("a key after its time", &made("alice", Some(1), 1)),
        row("a key that nobody was given", &made("alice", None, 2)),
        row("a key that was revoked", &revoked),
        ("a key of an organization at the root", lists("/mcp", key), NOT_GOOD),
        ("a key of an organization at another", lists("/mcp/other", key), NOT_GOOD),
        (
            "a key that reads at a tool that writes",
            writes("/mcp/acme", reads),
            Is::Challenge(403, "insufficient_scope"),
        ),
        (
            "a key as a refresh token",
            scene.client.refreshes(key, &[]),
            Is::OAuth(400, "invalid_grant"),
        ),
        (
            "a key by another host's name",
            lists("/mcp/acme", key).set("X-Forwarded-Host", ORIGIN).without("Authorization"),
            NONE,
        ),
    ]
}
