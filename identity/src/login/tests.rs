//! Signing in, without a browser and without a provider. It must not know either.

use super::{provider::*, *};
use crate::issuer::Metadata;
use serde_json::json;
use shared::{
    config::people::{LoginKind, WrittenPeople},
    outside::Answer,
};

const ORIGIN: &str = "https://x.test";

fn people(dev_login: Option<&str>, logins: &str) -> People {
    let written = WrittenPeople { dev_login, logins: Some(logins), ..WrittenPeople::default() };
    People::parse(written, false, |_| false).unwrap()
}

const OIDC: &str =
    r#"{"kind":"oidc","issuer":"https://i.test","client_id":"c 1","client_secret":{"secret":"S"}}"#;
const GITHUB: &str = r#"{"kind":"github","client_id":"g"}"#;
const SENTRY: &str = r#"{"kind":"sentry","client_id":"s"}"#;

fn login(text: &str) -> Login {
    people(None, &format!("[{text}]")).logins.remove(0)
}

fn visit(address: &str) -> Visit {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    Visit {
        origin: ORIGIN.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        ..Visit::default()
    }
}

fn ring() -> KeyRing {
    let key = base64::engine::general_purpose::STANDARD.encode([1; 32]);
    KeyRing::parse(&format!("a={key}")).unwrap()
}

fn begun(login: &Login) -> Pending {
    Pending::begin(login, "/account".to_owned(), &[[1; 32], [2; 32], [3; 32]], Millis(1000))
}

fn metadata(more: serde_json::Value) -> Metadata {
    let mut document = json!({ "issuer": "https://i.test",
        "authorization_endpoint": "https://i.test/auth?x=1", "token_endpoint": "https://i.test/t",
        "userinfo_endpoint": "https://i.test/me", "jwks_uri": "https://i.test/keys" });
    for (name, value) in more.as_object().unwrap() {
        document[name] = value.clone();
    }
    Metadata::read(&document, "https://i.test", false).unwrap()
}

fn endpoints(more: serde_json::Value) -> Endpoints {
    Endpoints::openid("https://i.test", metadata(more)).unwrap()
}

fn answer(status: u16, body: serde_json::Value) -> Answer {
    Answer { status, headers: Vec::new(), body: body.to_string() }
}

#[test]
fn an_address_leads_to_a_step() {
    let both = people(None, &format!("[{OIDC},{GITHUB}]"));
    let one = people(None, &format!("[{GITHUB}]"));
    let nobody = people(None, "[]");
    let dev = people(Some("1"), &format!("[{GITHUB}]"));
    let github = &both.logins[1];
    assert_eq!(step(&visit("/login"), &both), Step::Choose);
    assert_eq!(step(&visit("/login/"), &both), Step::Choose);
    assert_eq!(step(&visit("/login"), &nobody), Step::Choose);
    assert_eq!(step(&visit("/login"), &one), Step::Begin(github));
    assert_eq!(step(&visit("/login/github"), &both), Step::Begin(github));
    assert_eq!(step(&visit("/login/callback/github"), &both), Step::Return(github));
    assert_eq!(step(&visit("/logout"), &both), Step::AskOut);
    for nothing in
        ["/login/sentry", "/login/callback/sentry", "/login/callback", "/loginx", "/login/github/x"]
    {
        assert_eq!(step(&visit(nothing), &both), Step::Nothing, "{nothing}");
    }
    let form = |path: &str| Visit { is_form: true, ..visit(path) };
    assert_eq!(step(&form("/logout"), &both), Step::Out);
    assert_eq!(step(&form("/login/github"), &both), Step::Nothing);
    // A name of one's own choice is good on one's own machine only.
    let here = |visit: Visit| Visit { origin: "http://127.0.0.1:8787".to_owned(), ..visit };
    assert_eq!(step(&here(form("/login")), &dev), Step::Named);
    assert_eq!(step(&here(visit("/login")), &dev), Step::Choose);
    assert_eq!(step(&form("/login"), &dev), Step::Nothing);
    assert_eq!(step(&visit("/login"), &dev), Step::Begin(github));
    assert_eq!(step(&here(form("/login")), &one), Step::Nothing);
}

#[test]
fn it_leads_to_a_path_of_ours_and_nowhere_else() {
    for ours in ["/", "/account", "/authorize?a=https://x.test/&b=%0d%0a", "/a//b"] {
        assert!(is_ours(ours), "{ours}");
    }
    let long = format!("/{}", "x".repeat(limits::LOGIN_THEN_BYTES_MAX));
    for other in [
        "",
        "account",
        "//evil.test",
        "/\\evil.test",
        "/a\\b",
        "\\/evil.test",
        "https://evil.test",
        "/a b",
        "/a\tb",
        "/\n/evil.test",
        " /a",
        "/ü",
        "/\u{7f}",
        "javascript:x",
        &long,
    ] {
        assert!(!is_ours(other), "{other:?}");
    }
    assert_eq!(then(&visit("/login?then=%2Faccount%23keys")), "/account#keys");
    assert_eq!(then(&visit("/login?then=%2F%2Fevil.test")), "/account");
    assert_eq!(then(&visit("/login")), "/account");
    let form = Visit { form: "then=%2Fa".to_owned(), ..visit("/login?then=/b") };
    assert_eq!(then(&form), "/a");
}

/// A visit with the cookies that a page set, all of them.
fn with_cookies(page: &Page, address: &str) -> Visit {
    let set = page.headers.iter().filter(|(name, _)| *name == "set-cookie");
    let pairs = set.map(|(_, cookie)| cookie.split(';').next().unwrap()).collect::<Vec<_>>();
    Visit { cookie: pairs.join("; "), ..visit(address) }
}

#[test]
fn a_login_comes_back_to_the_browser_that_began_it() {
    let (login, other) = (login(OIDC), login(GITHUB));
    let pending = begun(&login);
    let page = pending.keep(&ring(), &visit("/login"), Page::go("/"), [7; 12]);
    let cookie = &page.headers.last().unwrap().1;
    assert!(cookie.starts_with("__Host-signalbox-login-AQEBAQEBAQEB=a."), "{cookie}");
    assert!(!cookie.contains(&pending.verifier), "{cookie}");
    let back = format!("/login/callback/oidc?code=x&state={}", pending.state);
    let visit = with_cookies(&page, &back);
    let read =
        |visit: &Visit, login: &Login, now| Pending::read(&ring(), visit, login, Millis(now));
    assert_eq!(read(&visit, &login, 1000), Some(pending.clone()));
    let end = 1000 + limits::LOGIN_S_MAX * 1000;
    assert!(read(&visit, &login, end - 1).is_some() && read(&visit, &login, end).is_none());
    assert_eq!(read(&visit, &other, 1000), None, "another provider");
    let query = |query: String| Visit { query, ..visit.clone() };
    // The part that names the cookie is not enough.
    let forged = format!("code=x&state={}{}", pending.state.get(..12).unwrap(), "A".repeat(31));
    for query in [query(String::new()), query("state=x".to_owned()), query(forged)] {
        assert_eq!(read(&query, &login, 1000), None, "{}", query.query);
    }
    let stranger = Visit { cookie: String::new(), ..visit.clone() };
    assert_eq!(read(&stranger, &login, 1000), None);
    let forgotten = pending.forget(Page::go("/"));
    assert!(forgotten.headers.last().unwrap().1.contains("login-AQEBAQEBAQEB=; Path=/; Max-Age=0"));
}

#[test]
fn a_browser_has_only_so_many_logins_at_once() {
    let pending = begun(&login(OIDC));
    let cookies = |count: usize| {
        let cookie: String = (0..count).map(|n| format!("{COOKIE}{n}=x; ")).collect();
        let visit = Visit { cookie: format!("{cookie}other=1"), ..visit("/login") };
        let page = pending.keep(&ring(), &visit, Page::go("/"), [7; 12]);
        page.headers.iter().filter(|(name, _)| *name == "set-cookie").count()
    };
    assert_eq!(cookies(limits::LOGINS_MAX - 1), 1);
    assert_eq!(cookies(limits::LOGINS_MAX), limits::LOGINS_MAX + 1);
}

#[test]
fn the_longest_login_fits_a_cookie() {
    let text = format!(r#"{{"kind":"github","name":"{}","client_id":"c"}}"#, "n".repeat(64));
    let then = format!("/{}", "\"".repeat(40) + &"x".repeat(limits::LOGIN_THEN_BYTES_MAX - 41));
    assert!(is_ours(&then));
    let now = Millis(9_999_999_999_999);
    let pending = Pending::begin(&login(&text), then, &[[255; 32]; 3], now);
    let page = pending.keep(&ring(), &visit("/login"), Page::go("/"), [7; 12]);
    let cookie = page.headers.last().unwrap().1.split(';').next().unwrap();
    assert!(cookie.len() < 4000, "{}", cookie.len());
}

#[test]
fn the_browser_is_sent_with_state_nonce_and_challenge() {
    let login = login(OIDC);
    let pending = begun(&login);
    let address = endpoints(json!({})).authorize(&login, &pending, ORIGIN);
    let (base, query) = address.split_once('?').unwrap();
    assert_eq!(base, "https://i.test/auth");
    let sent = visit(&format!("/?{query}"));
    let asked = |name: &str| sent.asked(name).unwrap();
    assert_eq!(asked("x"), "1");
    assert_eq!(asked("client_id"), "c 1");
    assert_eq!(asked("redirect_uri"), "https://x.test/login/callback/oidc");
    assert_eq!(asked("scope"), "openid profile");
    assert_eq!((asked("state"), asked("nonce")), (pending.state.clone(), pending.nonce.clone()));
    // The SHA-256 of the verifier, not the verifier.
    assert_eq!(
        (asked("code_challenge"), asked("code_challenge_method")),
        (pending.challenge(), "S256".to_owned())
    );
    assert!(!address.contains(&pending.verifier));
    let github = self::login(GITHUB);
    let address =
        Endpoints::known(&github.kind).unwrap().authorize(&github, &begun(&github), ORIGIN);
    assert!(address.starts_with("https://github.com/login/oauth/authorize?response_type=code&"));
    assert!(!address.contains("nonce=") && !address.contains("scope="), "{address}");
}

#[test]
fn the_challenge_is_that_of_rfc_7636() {
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned();
    let pending = Pending { verifier, ..begun(&login(OIDC)) };
    assert_eq!(pending.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

#[test]
fn an_answer_is_of_the_provider_that_was_asked() {
    let code = |endpoints: &Endpoints, query: &str| endpoints.code(&visit(&format!("/x?{query}")));
    let plain = endpoints(json!({}));
    let naming = endpoints(json!({ "authorization_response_iss_parameter_supported": true }));
    assert_eq!(code(&plain, "code=c"), Ok("c".to_owned()));
    assert_eq!(code(&plain, "code=c&iss=https://i.test"), Ok("c".to_owned()));
    assert_eq!(code(&plain, "code=c&iss=https://evil.test"), Err(Failed::Mixed));
    assert_eq!(code(&plain, "error=access_denied&iss=https://evil.test"), Err(Failed::Mixed));
    assert_eq!(code(&naming, "code=c&iss=https://i.test"), Ok("c".to_owned()));
    assert_eq!(code(&naming, "code=c"), Err(Failed::Mixed));
    assert_eq!(code(&naming, "code=c&iss="), Err(Failed::Mixed));
    assert_eq!(code(&plain, "error=access_denied"), Err(Failed::Declined));
    // Who wrote the address chose the text.
    let odd = Failed::Provider("it answers a_bscript".to_owned());
    assert_eq!(code(&plain, "error=a_b%0a%3Cscript&code=c"), Err(odd));
    assert!(matches!(code(&plain, ""), Err(Failed::Provider(_))));
    let github = Endpoints::known(&login(GITHUB).kind).unwrap();
    assert_eq!(code(&github, "code=c"), Ok("c".to_owned()));
    assert_eq!(code(&github, "code=c&iss=https://i.test"), Err(Failed::Mixed));
}

#[test]
fn a_code_is_redeemed_as_the_provider_wants_it() {
    let login = login(OIDC);
    let redeem = |endpoints: Endpoints, secret: Option<&str>| {
        let request = endpoints.exchange(&login, secret, "c&d", &begun(&login), ORIGIN);
        let body = request.body.clone().unwrap();
        let header =
            |name: &str| request.headers.iter().find(|(n, _)| n == name).map(|h| h.1.clone());
        (header("authorization"), Visit { form: body, ..Visit::default() })
    };
    let (basic, form) = redeem(endpoints(json!({})), Some("s:1"));
    let expected = base64::engine::general_purpose::STANDARD.encode("c+1:s%3A1");
    assert_eq!(basic, Some(format!("Basic {expected}")));
    assert_eq!(form.field("code").as_deref(), Some("c&d"));
    assert_eq!(form.field("code_verifier"), Some(begun(&login).verifier));
    assert_eq!(form.field("redirect_uri").as_deref(), Some("https://x.test/login/callback/oidc"));
    assert_eq!((form.field("client_id"), form.field("client_secret")), (None, None));
    let post =
        endpoints(json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] }));
    let (basic, form) = redeem(post, Some("s:1"));
    assert_eq!((basic, form.field("client_secret").as_deref()), (None, Some("s:1")));
    let (basic, form) = redeem(endpoints(json!({})), None);
    assert_eq!((basic, form.field("client_id").as_deref()), (None, Some("c 1")));
}

#[test]
fn who_it_is_comes_from_the_provider_and_never_from_an_address() {
    let github = login(GITHUB);
    let said = json!({ "id": 42, "login": "octo", "name": null, "email": "a@b.test" });
    let person = of_answer(&github, &answer(200, said)).unwrap();
    assert_eq!((person.user.as_str(), person.name.as_str()), ("https://github.com#42", "octo"));
    for (status, said) in [
        (401, json!({ "id": 42 })),
        (200, json!({ "login": "octo", "email": "a@b.test" })),
        (200, json!({ "id": -1 })),
        (200, json!({ "id": "4#2" })),
        (200, json!([])),
    ] {
        assert!(of_answer(&github, &answer(status, said.clone())).is_err(), "{said}");
    }
    let sentry = login(SENTRY);
    let given = Given::read(&answer(200, json!({ "user": { "id": "7", "name": "Ann" } }))).unwrap();
    let person = given.person(&sentry).unwrap();
    assert_eq!((person.user.as_str(), person.name.as_str()), ("https://sentry.io#7", "Ann"));
    let given = Given::read(&answer(200, json!({ "user": { "id": "", "name": "Ann" } }))).unwrap();
    assert!(given.person(&sentry).is_err());
    // GitHub refuses a code with status 200.
    let refused = Given::read(&answer(200, json!({ "error": "bad_verification_code" })));
    let text = "it redeems no code: bad_verification_code (200)".to_owned();
    assert_eq!(refused, Err(Failed::Provider(text)));
    assert!(Given::read(&answer(500, json!({ "access_token": "x" }))).is_err());
    assert!(Given::read(&answer(200, json!("x"))).is_err());
}

#[test]
fn an_id_token_says_who_it_is() {
    let login = login(OIDC);
    let pending = begun(&login);
    let token = |claims: serde_json::Value| {
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}.c2ln", part(json!({ "alg": "RS256" })), part(claims));
        let given = Given::read(&answer(200, json!({ "id_token": text, "access_token": "at" })));
        given?.id_token(&login, &pending, Millis(1_000_000))
    };
    let claims = json!({ "iss": "https://i.test", "aud": "c 1", "nonce": pending.nonce, "sub": "ü 1",
        "exp": 1100, "iat": 1000, "email": "a@b.test" });
    let right = token(claims.clone()).unwrap();
    let person = of_token(&login, &right).unwrap();
    assert_eq!((person.user.as_str(), person.name.as_str()), ("https://i.test#ü 1", ""));
    let more = |sub: &str| answer(200, json!({ "sub": sub, "preferred_username": "ann" }));
    assert_eq!(with_userinfo(person.clone(), &right, &more("ü 1")).name, "ann");
    assert_eq!(with_userinfo(person.clone(), &right, &more("2")), person);
    assert_eq!(
        with_userinfo(person.clone(), &right, &answer(401, json!({ "sub": "ü 1" }))),
        person
    );
    let changed = |name: &str, value: serde_json::Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        token(claims)
    };
    assert!(changed("nonce", json!("other")).is_err());
    assert!(changed("aud", json!("other")).is_err());
    let unnamed = changed("sub", json!(1)).unwrap();
    assert!(of_token(&login, &unnamed).is_err());
    let given = Given::read(&answer(200, json!({ "access_token": "at" }))).unwrap();
    assert!(given.id_token(&login, &pending, Millis(1_000_000)).is_err());
    let who = endpoints(json!({})).who(&given).unwrap();
    assert_eq!((who.method, who.url.as_str()), ("GET", "https://i.test/me"));
    assert!(who.headers.contains(&("authorization".to_owned(), "Bearer at".to_owned())));
}

#[test]
fn pages_say_what_to_do_and_escape_what_others_wrote() {
    let mut odd = login(OIDC);
    odd.title = "<b>Acme".to_owned();
    let page = pages::choose(&[odd.clone()], "/a?b=\"&c", true, Some("too <long>"));
    assert_eq!(page.status, 400);
    for part in [
        "Sign in with &lt;b&gt;Acme",
        "/login/oidc?then=%2Fa%3Fb%3D%22%26c",
        "value=\"/a?b=&quot;&amp;c\"",
        "too &lt;long&gt;",
    ] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    assert!(!pages::choose(&[], "/", false, None).body.contains("<form"));
    let failed = pages::failed(&odd, "/a", &Failed::Provider("secret detail".to_owned()));
    assert_eq!(failed.status, 502);
    assert!(!failed.body.contains("secret detail"), "{}", failed.body);
    assert!(failed.body.contains("/login?then=%2Fa"), "{}", failed.body);
    assert_eq!(pages::failed(&odd, "/", &Failed::Declined).status, 403);
    assert!(matches!(&odd.kind, LoginKind::Oidc { .. }));
}
