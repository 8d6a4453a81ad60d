//! Attacks at the token endpoint: codes, refresh tokens, revocation, and how a request is written.

use super::{Is, Row, Scene};
use crate::honest::{ORIGIN, VERIFIER, challenge, cut, encoded, form, get, message, pairs, turned};
use serde_json::json;

const NO_GRANT: Is = Is::OAuth(400, "invalid_grant");
const NO_REQUEST: Is = Is::OAuth(400, "invalid_request");
const NO_TARGET: Is = Is::OAuth(400, "invalid_target");

pub(super) fn rows(scene: &mut Scene) -> Vec<Row> {
    let mut rows = redeeming(scene);
    rows.extend(replaying(scene));
    rows.extend(refreshing(scene));
    rows.extend(stealing(scene));
    rows.extend(revoking(scene));
    rows.extend(clients(scene));
    rows.extend(written(scene));
    rows
}

/// Each with a code that is good: all that is wrong is what the row says.
fn redeeming(scene: &mut Scene) -> Vec<Row> {
    let Scene { world, alice, client, stranger, .. } = scene;
    let (client, stranger) = (client.clone(), stranger.clone());
    let challenge = challenge();
    let wider = format!("{ORIGIN}/mcp");
    let sibling = format!("{ORIGIN}/mcp/other");
    let mut with = |name, changes: &[(&str, Option<&str>)], is| {
        let code = alice.code(world, &client, "/mcp/acme");
        (name, client.redeems(&code, changes), is)
    };
    let other = "another-verifier-that-is-as-long-as-the-right-one-is";
    let mut rows = vec![
        with("a code with another verifier", &[("code_verifier", Some(other))], NO_GRANT),
        with("a code without a verifier", &[("code_verifier", None)], NO_REQUEST),
        with("a code with an empty verifier", &[("code_verifier", Some(""))], NO_REQUEST),
        with("the challenge as verifier", &[("code_verifier", Some(&challenge))], NO_GRANT),
        with(
            "a code for a foreign resource",
            &[("resource", Some("https://evil.test"))],
            NO_TARGET,
        ),
        with("a code for a wider resource", &[("resource", Some(&wider))], NO_TARGET),
        with("a code for a sibling", &[("resource", Some(&sibling))], NO_TARGET),
        with(
            "a code by a client that is none",
            &[("client_id", Some("nobody"))],
            Is::OAuth(401, "invalid_client"),
        ),
        with("a code without a client", &[("client_id", None)], Is::OAuth(401, "invalid_client")),
        with(
            "a code for another redirect",
            &[("redirect_uri", Some("https://client.test/other"))],
            NO_GRANT,
        ),
        with(
            "a code by another grant type",
            &[("grant_type", Some("password"))],
            Is::OAuth(400, "unsupported_grant_type"),
        ),
    ];
    let mut code = || alice.code(world, &client, "/mcp/acme");
    rows.push(("a code by a foreign client", stranger.redeems(&code(), &[]), NO_GRANT));
    let own = format!("{ORIGIN}/mcp/acme");
    let two = client.redeems(&code(), &[("resource", Some(&own))]);
    rows.push((
        "a code for two resources",
        two.more(&format!("&resource={}", encoded(&wider))),
        NO_TARGET,
    ));
    let text = code();
    let mut parts: Vec<&str> = text.split(':').collect();
    let bob = "Ym9i";
    parts[0] = bob;
    rows.push(("a code of another user", client.redeems(&parts.join(":"), &[]), NO_GRANT));
    parts[2] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    rows.push(("a guessed code", client.redeems(&parts.join(":"), &[]), NO_GRANT));
    rows.push(("half a code", client.redeems(cut(&text, 8), &[]), NO_GRANT));
    let foreign = scene.elsewhere.code.clone();
    rows.push(("a code of another deployment", client.redeems(&foreign, &[]), NO_GRANT));
    rows.push(("a code after its time", client.redeems(&scene.aged.code, &[]), NO_GRANT));
    rows
}

/// A code that comes twice was stolen, or the first one was.
fn replaying(scene: &mut Scene) -> Vec<Row> {
    let Scene { world, carol, client, stranger, .. } = scene;
    let code = carol.code(world, client, "/mcp/acme");
    let tokens = client.tokens(world, &code);
    let other = carol.code(world, client, "/mcp/acme");
    let kept = client.tokens(world, &other);
    vec![
        ("a code again", client.redeems(&code, &[]), NO_GRANT),
        (
            "the access token of a code that came again",
            message("/mcp/acme", &tokens.access, "tools/list", json!({})),
            Is::Challenge(401, "invalid_token"),
        ),
        (
            "the refresh token of a code that came again",
            client.refreshes(&tokens.refresh, &[]),
            NO_GRANT,
        ),
        ("a code again, by a foreign client", stranger.redeems(&other, &[]), NO_GRANT),
        (
            "what a foreign client cannot end by a code",
            client.refreshes(&kept.refresh, &[]),
            Is::Good,
        ),
    ]
}

fn refreshing(scene: &mut Scene) -> Vec<Row> {
    let Scene { world, alice, client, stranger, .. } = scene;
    let tokens = alice.grants(world, client, "/mcp/acme");
    let (refresh, client) = (tokens.refresh.as_str(), client.clone());
    let with =
        |name, changes: &[(&str, Option<&str>)], is| (name, client.refreshes(refresh, changes), is);
    let (wider, own) = (format!("{ORIGIN}/mcp"), format!("{ORIGIN}/mcp/acme"));
    let two = client.refreshes(refresh, &[("resource", Some(&own))]);
    let flipped = turned(refresh);
    vec![
        with(
            "a refresh for a foreign resource",
            &[("resource", Some("https://evil.test/mcp"))],
            NO_TARGET,
        ),
        with("a refresh for a wider resource", &[("resource", Some(&wider))], NO_TARGET),
        (
            "a refresh for two resources",
            two.more(&format!("&resource={}", encoded(&wider))),
            NO_TARGET,
        ),
        with(
            "a refresh by a client that is none",
            &[("client_id", Some("nobody"))],
            Is::OAuth(401, "invalid_client"),
        ),
        ("a refresh by a foreign client", stranger.refreshes(refresh, &[]), NO_GRANT),
        ("a refresh with an access token", client.refreshes(&tokens.access, &[]), NO_GRANT),
        ("a refresh token that is changed", client.refreshes(&flipped, &[]), NO_GRANT),
        with("a refresh with no token", &[("refresh_token", None)], NO_REQUEST),
        ("a refresh token as a code", client.redeems(refresh, &[]), NO_GRANT),
        (
            "a refresh token of another deployment",
            client.refreshes(&scene.elsewhere.tokens.refresh, &[]),
            NO_GRANT,
        ),
        ("what all of these cannot end", client.refreshes(refresh, &[]), Is::Good),
    ]
}

/// A spent refresh token that comes back outside of the time in which a client may try again.
fn stealing(scene: &mut Scene) -> Vec<Row> {
    let Scene { world, carol, client, aged, .. } = scene;
    let first = carol.grants(world, client, "/mcp/acme");
    let second = client.refreshed(world, &first);
    let third = client.refreshed(world, &second);
    // Only what is read was let in: more is not had by asking for it.
    let code = carol.code_with(world, client, "/mcp/acme", &[("access", "read")]);
    let reads = client.tokens(world, &code);
    let wants = [("scope", Some("mcp:write"))];
    let tries = client.refreshes(&reads.refresh, &[("scope", Some("mcp:read mcp:write"))]);
    let answer = world.send(&tries);
    let escalated = crate::honest::Tokens::read(world, &answer);
    assert_eq!(answer.json()["scope"], "mcp:read", "{answer:?}");
    let refused = |token: &str| message("/mcp/acme", token, "tools/list", json!({}));
    vec![
        (
            "a spent refresh token after the next was used",
            client.refreshes(&first.refresh, &[]),
            NO_GRANT,
        ),
        ("the newest refresh token after that", client.refreshes(&third.refresh, &[]), NO_GRANT),
        (
            "the newest access token after that",
            refused(&third.access),
            Is::Challenge(401, "invalid_token"),
        ),
        (
            "a spent refresh token after its time",
            client.refreshes(&aged.spent.refresh, &[]),
            NO_GRANT,
        ),
        ("the next refresh token after that", client.refreshes(&aged.next.refresh, &[]), NO_GRANT),
        (
            "the next access token after that",
            refused(&aged.next.access),
            Is::Challenge(401, "invalid_token"),
        ),
        (
            "a refresh for only what was not let in",
            client.refreshes(&escalated.refresh, &wants),
            Is::OAuth(400, "invalid_scope"),
        ),
        (
            "a token that asked for more at a refresh",
            crate::honest::writes("/mcp/acme", &escalated.access),
            Is::Challenge(403, "insufficient_scope"),
        ),
    ]
}

fn revoking(scene: &mut Scene) -> Vec<Row> {
    let Scene { stranger, kept, elsewhere, .. } = scene;
    let lists =
        |name| (name, message("/mcp/acme", &kept.access, "tools/list", json!({})), Is::Good);
    let anonymous = form("/oauth/token", &[("token", &kept.refresh)]);
    vec![
        // RFC 7009, 2.2: whatever the token is, the answer is the same.
        (
            "a revocation of an access token by a foreign client",
            stranger.revokes(&kept.access),
            Is::Empty(200),
        ),
        lists("what that cannot end"),
        (
            "a revocation of a refresh token by a foreign client",
            stranger.revokes(&kept.refresh),
            Is::Empty(200),
        ),
        lists("what that cannot end either"),
        ("a revocation by nobody", anonymous, Is::OAuth(401, "invalid_client")),
        (
            "a revocation by a client of another deployment",
            elsewhere.client.revokes(&kept.refresh),
            Is::OAuth(401, "invalid_client"),
        ),
        lists("what those cannot end"),
    ]
}

/// A client that has a secret must prove that it has it.
fn clients(scene: &mut Scene) -> Vec<Row> {
    let Scene { world, alice, secretive, client, .. } = scene;
    let no_client = Is::OAuth(401, "invalid_client");
    let mut with = |name, changes: &[(&str, Option<&str>)]| {
        let code = alice.code(world, secretive, "/mcp/acme");
        (name, secretive.redeems(&code, changes), no_client.clone())
    };
    let mut rows = vec![
        with("a client with another secret", &[("client_secret", Some("another"))]),
        with("a client without its secret", &[("client_secret", None)]),
        with("a client with an empty secret", &[("client_secret", Some(""))]),
        with("a client with its id as secret", &[("client_secret", Some(&secretive.id.clone()))]),
    ];
    let code = alice.code(world, secretive, "/mcp/acme");
    let basic = secretive
        .redeems(&code, &[("client_secret", None)])
        .with("Authorization", "Basic bm9ib2R5OmFub3RoZXI=");
    rows.push(("a client that is another in its header", basic, NO_REQUEST));
    let body = client.redeems(&code, &[]).with("Authorization", "Basic bm9ib2R5Og==");
    rows.push(("a client with two names", body, NO_REQUEST));
    rows
}

/// How a request is written.
fn written(scene: &mut Scene) -> Vec<Row> {
    let Scene { world, carol, client, .. } = scene;
    let code = carol.code(world, client, "/mcp/acme");
    let whole = || client.redeems(&code, &[]);
    let twice = |name, field: &str, value: &str| {
        (name, whole().more(&format!("&{field}={}", encoded(value))), NO_REQUEST)
    };
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("code_verifier", VERIFIER),
        ("client_id", &client.id),
    ];
    let query = format!("/oauth/token?{}", pairs(&fields));
    let json = json!({ "grant_type": "authorization_code", "code": code,
        "code_verifier": VERIFIER, "client_id": client.id });
    let wrong = Is::OAuth(405, "invalid_request");
    vec![
        twice("two codes", "code", "x"),
        twice("the same code twice", "code", &code),
        twice("two verifiers", "code_verifier", VERIFIER),
        twice("two clients at once", "client_id", "nobody"),
        twice("two grant types", "grant_type", "refresh_token"),
        twice("two redirects at once", "redirect_uri", "https://evil.test/"),
        ("a code in the query", form(&query, &[]), Is::OAuth(401, "invalid_client")),
        ("a code by GET", get(&query), wrong.clone()),
        ("a code by PUT", whole().by("PUT"), wrong.clone()),
        ("a code by DELETE", whole().by("DELETE"), wrong),
        (
            "a code in JSON",
            whole().set("Content-Type", "application/json").body(json.to_string()),
            NO_REQUEST,
        ),
        ("a code with no media type", whole().without("Content-Type"), NO_REQUEST),
        (
            "more than a form may have",
            whole().more(&format!("&x={}", "y".repeat(16 * 1024))),
            Is::OAuth(413, "invalid_request"),
        ),
        (
            "a form of unknown length",
            whole().body("5\r\nabcde\r\n0\r\n\r\n").framed("Transfer-Encoding", "chunked"),
            Is::OAuth(413, "invalid_request"),
        ),
        (
            "a form that is no text",
            whole().body(b"grant_type=\xff\xfe&code=%FF%00"),
            Is::OAuth(401, "invalid_client"),
        ),
        ("what all of these cannot spoil", whole(), Is::Good),
    ]
}
