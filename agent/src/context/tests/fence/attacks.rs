//! The table of attacks on the fence: what is put wherever a text can be. It must not know what is
//! attacked.

use serde_json::{Value, json};

/// Names of the levels in every toolset of the tests.
pub(super) const NAMES: [&[&str]; 2] = [
    &["organizationSlug", "organization_slug", "org", "owner"],
    &["projectSlug", "project_slug", "projectSlugOrId", "repo"],
];

/// Other ways to write a name that a server may read as the same.
pub(super) fn likenesses(name: &str) -> Vec<String> {
    let mut first = name.chars();
    let capital = first.next().map(|c| c.to_uppercase().to_string() + first.as_str());
    let mut likenesses = vec![name.to_uppercase(), name.to_lowercase(), capital.unwrap()];
    // What folds to the same letter in Unicode.
    likenesses.push(name.replacen('s', "\u{17f}", 1));
    likenesses.retain(|likeness| likeness != name);
    likenesses
}

/// What is no way to say `acme`, nor `web`.
pub(super) fn slugs() -> Vec<Value> {
    let texts = [
        "evil",
        "EVIL",
        "",
        " ",
        "..",
        "../evil",
        "..%2fevil",
        "%2e%2e/evil",
        "%2e%2e%2fevil",
        "..\\evil",
        "acme/../evil",
        "acme/..",
        "acme/",
        "/acme",
        "//evil",
        "@evil",
        "acme@evil",
        "acme:evil",
        "acme?x",
        "acme#x",
        "acme&owner=evil",
        "acme;owner=evil",
        "%61cme",
        "https://x.test/evil/web",
        "acme\u{0}",
        "acme\u{0}evil",
        "\u{0}acme",
        "acme\n",
        "acme\r\nx: y",
        " acme",
        "acme ",
        "acme\u{200b}",
        "\u{feff}acme",
        "\u{202e}emca",
        "\u{430}cme",
        "ａｃｍｅ",
        "acm\u{65}\u{301}",
        "web\u{0}",
        "w\u{435}b",
        "null",
        "__proto__",
        "{owner}",
        "*",
        "acme,evil",
    ];
    let mut all: Vec<Value> = texts.map(Value::from).into();
    all.push("x".repeat(100_000).into());
    all.extend([
        json!(0),
        json!(-1),
        json!(7),
        json!(1.5),
        json!(1e300),
        json!(true),
        json!(false),
        json!([]),
        json!({}),
        json!(["acme"]),
        json!(["web"]),
        json!(["evil"]),
        json!([null]),
        json!({ "slug": "evil" }),
        json!({ "acme": "web" }),
        json!({ "toString": "acme" }),
    ]);
    all
}

/// The same place outside in the words of many a parser. None of them may leave a context in any
/// argument.
pub(super) const OUTSIDE: &[&str] = &[
    "https://x.test/evil/web",
    "https://x.test/EVIL/web",
    "HTTPS://X.TEST/evil/web/issues/1",
    "https://x.test/acme/../evil/web",
    "https://x.test/acme/web/../../evil/web",
    "https://x.test/acme/..%2fevil",
    "https://x.test/acme/%2e%2e/evil/web",
    "https://x.test/acme/%2E./evil/web",
    "https://x.test/acme/web/.%2e/x",
    "https://x.test/acme\\..\\evil\\web",
    "https://x.test/%65vil/web",
    "https://x.test//evil/web",
    "https://x.test/evil@acme/web",
    "https://x.test/evil?x=/acme/web",
    "https://x.test/evil#/acme/web",
    "https://x.test/evil:443/web",
    "https://x.test\\evil\\web",
    "https:\\\\x.test\\evil",
    "https:/x.test/evil/web",
    "https:x.test/evil/web",
    "https:///x.test/evil/web",
    "http://x.test/evil/web",
    "https://x.test:443/evil/web",
    "https://x.test:/evil/web",
    "https://x.test./evil/web",
    "https://user@x.test/evil/web",
    "https://user:pass@x.test/evil/web",
    "https://acme@x.test/evil/web",
    "//x.test/evil/web",
    "\\\\x.test\\evil\\web",
    "https://%78.test/evil/web",
    "https://ｘ.test/evil/web",
    "https://x。test/evil/web",
    " https://x.test/evil/web",
    "\u{0}https://x.test/evil/web",
    "\u{1f}https://x.test/evil/web",
    "\u{feff}https://x.test/evil/web",
    "ht\ttps://x.test/evil/web",
    "https://x.t\nest/evil/web",
    "https://x.test/\revil/web",
    "https://x.test/acme\t/../evil/web",
    "https://x.test/acme\nevil/web",
    "https://x.test/acme /../evil/web",
    "repo://evil/web/readme",
    "REPO://evil/web/readme",
    "repo://evil",
    "repo://acme/../evil/x",
    "repo://acme%2f..%2fevil/x",
    "repo://acme\u{0}/web/x",
    "repo://\u{430}cme/web/x",
    "\u{0}repo://evil/web/readme",
    "re\npo://evil/web/readme",
];

/// Resources outside by the templates alone, of which the configuration says nothing.
pub(super) const BY_TEMPLATE: &[&str] = &[
    "host://h/evil/x",
    "host://h/EVIL/x",
    "host://h/acme/../evil",
    "host://h/%65vil/x",
    "HOST://h/evil/x",
    "host://h/evil/x/y",
    "find://x?owner=evil&text=y",
    "find://x?text=y&owner=evil",
    "find://x?owner=acme&owner=evil",
    "find://x?owner=%65vil",
    "find://x?%6fwner=evil",
    "find://x?Owner=evil",
    "find://x?text=y",
    "find://x",
    "list://x",
    "host://h/evil",
    "tree://evil/x",
    "tree://acme/../evil/x",
    "list://x/evil/web",
    "list://x/evil",
    "part://x#evil",
    "deep://h/./data/evil/y",
    "deep://h/x/../data/evil/y",
    "deep://h/data/acme/%2e%2e/evil/y",
    "deep://h/data/acme%2f..%2fevil/y",
    "file:/data/evil/y",
    "file:data/evil/y",
    "FILE:///data/evil/y",
    "file:\\\\localhost\\data\\evil\\y",
    "file://localhost/data/evil/y",
    "file:///x/../data/evil/y",
    "https://y.test:443/evil/y",
    "https:\\\\y.test\\evil\\y",
    "http:y.test/evil/y",
    "https://user@y.test./evil/y",
    "case://evil/x",
];

/// Texts that are no place, and that nobody must stumble over.
pub(super) fn strange() -> Vec<Value> {
    vec![
        json!("\u{0}\u{1}\u{7f}\u{85}\u{202e}\u{fffd}"),
        json!("x".repeat(200_000)),
        json!("é".repeat(5_000)),
        json!("https://"),
        json!("https:"),
        json!("://"),
        json!("//"),
        json!("repo:"),
        json!("repo://"),
        json!("{{}}"),
        json!("{"),
        json!("%"),
        json!("%e"),
        json!("%ff%fe"),
        json!("'; DROP TABLE notes; --"),
        json!("$ref"),
        json!({ "__proto__": { "isAdmin": true }, "constructor": { "prototype": {} } }),
        json!({ "": { "": [[[[]]]] } }),
        json!(null),
        json!(1e308),
        json!(-9_007_199_254_740_993_i64),
        json!(u64::MAX),
        (0..100).fold(json!("x"), |inner, _| json!([inner])),
        (0..100).fold(json!("x"), |inner, _| json!({ "a": inner })),
    ]
}
