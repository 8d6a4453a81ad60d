//! What the tests of narrowing share, the tests of [`narrow`] and [`pin`] themselves, and the pair
//! against a validator. It must not know how narrowing goes about it.

use super::{
    JsonObject, Pin, narrow, pin,
    read::{entries, items, texts},
    reference::resolve,
    walk::{Position, each_schema},
};
use proptest::{
    prelude::*,
    test_runner::{TestError, TestRunner},
};
use serde_json::{Value, json};
use std::{cell::Cell, collections::BTreeSet};

pub(super) fn pins() -> Vec<Pin> {
    let pin = |parameters: &[&str], value: &str| Pin {
        parameters: parameters.iter().map(|&name| name.to_owned()).collect(),
        value: value.to_owned(),
        preserve_case: false,
    };
    vec![
        pin(&["organizationSlug", "organization_slug", "org"], "acme"),
        pin(&["projectSlug", "project_slug"], "web"),
    ]
}

pub(super) fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

pub(super) fn check(input: Value, expected: Value) {
    let got = narrow(&object(input.clone()), &pins()).map(Value::Object);
    assert_eq!(got, Ok(expected), "{input}");
}

/// As [`check`], below a root that declares `org`.
pub(super) fn check_below(node: Value, expected: Value) {
    let org = json!({"org": {"type": "string"}});
    let expected = json!({"properties": {}, "allOf": [expected]});
    check(json!({"properties": org, "allOf": [node]}), expected);
}

pub(super) fn check_pin(schema: Value, arguments: Value, expected: Result<Value, &str>) {
    let got = pin(&object(schema), object(arguments), &pins()).map(Value::Object);
    assert_eq!(got.map_err(|conflict| conflict.to_string()), expected.map_err(str::to_owned));
}

#[test]
fn nothing_pinned_is_the_identity() {
    let schema = object(json!({
        "properties": {"org": {}}, "required": ["org"], "$defs": {"x": {"$ref": "#"}},
        "default": {"org": 1},
    }));
    assert_eq!(narrow(&schema, &[]), Ok(schema.clone()));
    let nameless = Pin { parameters: vec![], value: "x".to_owned(), preserve_case: false };
    assert_eq!(narrow(&schema, &[nameless]), Ok(schema));
}

#[test]
fn a_caller_never_wins_over_a_pin() {
    let refused = |arguments: Value, message: &str| {
        check_pin(json!({}), arguments.clone(), Err(message));
        check_pin(json!({"properties": {"org": {}}}), arguments, Err(message));
    };
    refused(json!({"org": "other"}), "`org` is fixed to `acme` by this URL; got `other`");
    check_pin(json!({}), json!({"organizationSlug": null, "a": 1}), Ok(json!({"a": 1})));
    refused(json!({"org": ["acme"]}), r#"`org` is fixed to `acme` by this URL; got `["acme"]`"#);
    let long = format!("`project_slug` is fixed to `web` by this URL; got `{}`", "ä".repeat(100));
    refused(json!({"project_slug": "ä".repeat(5000)}), &long);
    check_pin(json!({}), json!({"org": "ACME", "a": 1}), Ok(json!({"a": 1})));
    check_pin(json!({"required": ["org"]}), json!({"org": "ACME"}), Ok(json!({"org": "acme"})));
    let mut pins = pins();
    pins[0].preserve_case = true;
    let pinned = |org: &str| pin(&JsonObject::new(), object(json!({"org": org})), &pins);
    assert_eq!(pinned("acme"), Ok(JsonObject::new()));
    assert_eq!(pinned("Acme").unwrap_err().got, "Acme");
}

// --- The pair, against a validator ---

const FREE: [&str; 3] = ["a", "b", "c"];
const PINNED: [&str; 5] =
    ["organizationSlug", "organization_slug", "org", "projectSlug", "project_slug"];

fn name() -> impl Strategy<Value = &'static str> {
    let pinned = prop::sample::select(&["org", "organizationSlug", "projectSlug"][..]);
    prop_oneof![3 => prop::sample::select(&FREE[..]), 2 => pinned]
}

fn names() -> impl Strategy<Value = Value> {
    prop::collection::btree_set(name(), 1..3).prop_map(|names| json!(names))
}

/// What a free property of an instance may be.
fn values() -> [Value; 3] {
    [json!("x"), json!(7), json!({"org": "acme", "a": "x"})]
}

/// All arguments of a small world: every free property absent or one of the values.
fn all_arguments() -> Vec<JsonObject> {
    FREE.iter().fold(vec![JsonObject::new()], |all, name| {
        let with = |arguments: &JsonObject, value: &Value| {
            let mut arguments = arguments.clone();
            arguments.insert((*name).to_owned(), value.clone());
            arguments
        };
        let more = all.iter().flat_map(|a| values().map(|value| with(a, &value)));
        all.iter().cloned().chain(more).collect()
    })
}

/// A schema of a value. It may refer to what applies to the root, since every such step goes
/// into the instance and so ends.
fn value_schema() -> BoxedStrategy<Value> {
    let text = || prop::sample::select(&["acme", "web", "x", "other"][..]);
    let leaf = prop_oneof![
        4 => Just(json!({})),
        1 => Just(json!(false)),
        3 => Just(json!({"type": "string"})),
        1 => Just(json!({"type": ["object", "integer"]})),
        1 => text().prop_map(|text| json!({"const": text})),
        2 => text().prop_map(|text| json!({"enum": [text, "acme", "web", 7]})),
        1 => (0..6).prop_map(|n| json!({"minLength": n})),
        1 => (0..6).prop_map(|n| json!({"maxLength": n, "title": "t"})),
        1 => Just(json!({"properties": {"org": {"const": "other"}}, "required": ["org"]})),
        2 => prop::sample::select(&["#", "#/$defs/V", "#/$defs/D1"][..])
            .prop_map(|to| json!({"$ref": to})),
    ]
    .boxed();
    let some = || leaf.clone();
    prop_oneof![
        6 => some(),
        1 => some().prop_map(|x| json!({"not": x})),
        1 => (some(), some()).prop_map(|(x, y)| json!({"allOf": [x, y]})),
        1 => (some(), some()).prop_map(|(x, y)| json!({"anyOf": [x, y]})),
        1 => (some(), some()).prop_map(|(x, y)| json!({"oneOf": [x, y]})),
        1 => (some(), some(), some())
            .prop_map(|(x, y, z)| json!({"if": x, "then": y, "else": z})),
    ]
    .boxed()
}

fn properties() -> impl Strategy<Value = Value> {
    // Only one property may point anywhere: two could point at each other.
    let pointer = prop::sample::select(
        &[
            "#/properties/a",
            "#/properties/org",
            "#/allOf/0",
            "#/anyOf/1",
            "#/$defs/D0/properties/a",
        ][..],
    );
    let map = prop::collection::btree_map(name(), value_schema(), 1..4);
    (map, prop::option::weighted(0.2, pointer)).prop_map(|(map, pointer)| {
        let mut map: JsonObject = map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        if let Some(pointer) = pointer {
            map.insert("c".to_owned(), json!({"$ref": pointer}));
        }
        Value::Object(map)
    })
}

/// An instance with its pinned properties, more often than not with the pinned values.
fn instance() -> impl Strategy<Value = Value> {
    let free = prop::sample::subsequence(FREE.to_vec(), 0..=3);
    let pinned = prop::sample::subsequence(vec!["org", "organizationSlug", "projectSlug"], 0..=3);
    (free, pinned, prop::sample::select(values().to_vec()), prop::bool::weighted(0.2)).prop_map(
        |(free, pinned, value, wrong)| {
            let mut instance = JsonObject::new();
            for name in free {
                instance.insert(name.to_owned(), value.clone());
            }
            for name in pinned {
                let right = if name == "projectSlug" { "web" } else { "acme" };
                instance.insert(name.to_owned(), json!(if wrong { "x" } else { right }));
            }
            Value::Object(instance)
        },
    )
}

type Keyword = BoxedStrategy<Vec<(&'static str, Value)>>;

fn plain_keyword(definitions: &'static [&'static str]) -> Keyword {
    let one = |key: &'static str, value: BoxedStrategy<Value>| {
        value.prop_map(move |value| vec![(key, value)]).boxed()
    };
    let lists = prop::collection::btree_map(name(), names(), 1..3).prop_map(|m| json!(m)).boxed();
    let instances = prop::collection::vec(instance(), 1..5).prop_map(Value::from);
    let listed = prop::sample::select(vec![
        json!({"maxLength": 15}),
        json!({"maxLength": 3}),
        json!({"enum": ["a", "b", "org", "projectSlug"]}),
        json!({"not": {"const": "org"}}),
    ]);
    let plain = prop_oneof![
        8 => one("properties", properties().boxed()),
        4 => one("required", names().boxed()),
        1 => one("additionalProperties", value_schema()),
        1 => one("unevaluatedProperties", prop_oneof![2 => Just(json!(false)), 1 => value_schema()].boxed()),
        1 => one("minProperties", (0..4).prop_map(Value::from).boxed()),
        1 => one("maxProperties", (1..6).prop_map(Value::from).boxed()),
        1 => one("propertyNames", listed.boxed()),
        2 => one("dependentRequired", lists.clone()),
        1 => one("dependencies", lists),
        1 => one("enum", instances.boxed()),
        1 => one("const", instance().boxed()),
        1 => one("default", instance().boxed()),
    ];
    if definitions.is_empty() {
        return plain.boxed();
    }
    let reference = prop::sample::select(definitions)
        .prop_map(|to| vec![("$ref", json!(format!("#/$defs/{to}")))]);
    prop_oneof![5 => plain, 1 => reference].boxed()
}

/// A schema for the root instance. It refers in place to these definitions only, so that none
/// refers to itself.
fn node(definitions: &'static [&'static str], depth: u32) -> BoxedStrategy<Value> {
    let keyword = match depth.checked_sub(1) {
        None => plain_keyword(definitions),
        Some(depth) => {
            let inner = node(definitions, depth);
            let list = |key: &'static str, inner: &BoxedStrategy<Value>| {
                let list = prop::collection::vec(inner.clone(), 1..4);
                list.prop_map(move |list| vec![(key, Value::Array(list))])
            };
            let by_name = prop::collection::btree_map(name(), inner.clone(), 1..3);
            prop_oneof![
                12 => plain_keyword(definitions),
                2 => list("allOf", &inner),
                3 => list("anyOf", &inner),
                3 => list("oneOf", &inner),
                2 => inner.clone().prop_map(|not| vec![("not", not)]),
                2 => (inner.clone(), inner.clone(), inner)
                    .prop_map(|(x, y, z)| vec![("if", x), ("then", y), ("else", z)]),
                2 => (by_name, prop::bool::weighted(0.8)).prop_map(|(map, modern)| {
                    vec![(if modern { "dependentSchemas" } else { "dependencies" }, json!(map))]
                }),
            ]
            .boxed()
        }
    };
    let keywords = prop::collection::vec(keyword, 1..4).prop_map(|keywords| {
        keywords.into_iter().flatten().map(|(key, value)| (key.to_owned(), value)).collect()
    });
    prop_oneof![20 => keywords, 1 => any::<bool>().prop_map(Value::Bool)].boxed()
}

/// A whole schema in which every reference leads somewhere.
fn complete_schema() -> impl Strategy<Value = JsonObject> {
    let simple = prop::sample::select(vec![json!({"minLength": 4}), json!({}), json!(false)]);
    let definitions = (node(&["D1", "D2"], 1), node(&["D2"], 1), node(&[], 1), simple);
    let root = node(&["D0", "D1", "D2"], 2).prop_filter_map("an object", |root| match root {
        Value::Object(root) => Some(root),
        _ => None,
    });
    (root, definitions, prop::bool::weighted(0.8)).prop_map(|(mut root, definitions, typed)| {
        let (d0, d1, d2, v) = definitions;
        if typed {
            root.insert("type".to_owned(), json!("object"));
        }
        root.insert("$defs".to_owned(), json!({"D0": d0, "D1": d1, "D2": d2, "V": v}));
        let complete = root.clone();
        // Validators do not count what legacy `dependencies` evaluate; a specialised one
        // does. The two do not meet in one schema.
        let modern = Value::Object(root.clone()).to_string().contains("unevaluated");
        let mut mended = Value::Object(root);
        each_schema(&mut mended, Position::Schema, &mut |node| {
            let dangles = |to: &Value| resolve(&complete, to.as_str().unwrap()).is_none();
            node.retain(|key, value| {
                !(key == "$ref" && dangles(value) || key == "dependencies" && modern)
            });
        });
        object(mended)
    })
}

/// Whether anything that applies to the root instance mentions a pinned name. Written without
/// the code under test.
fn mentions_a_pin(schema: &Value) -> bool {
    let pinned = |name: &str| PINNED.contains(&name);
    let list = |value: &Value| texts(value).any(pinned);
    let mut open = vec![schema];
    let mut seen = BTreeSet::new();
    while let Some(Value::Object(node)) = open.pop() {
        let named = |key: &str| node.get(key).and_then(Value::as_object);
        for key in ["properties", "dependentRequired", "dependentSchemas", "dependencies"] {
            let entries = || named(key).into_iter().flatten();
            if entries().any(|(name, _)| pinned(name))
                || (key != "properties" && entries().any(|(_, value)| list(value)))
            {
                return true;
            }
            if key != "properties" {
                open.extend(entries().map(|(_, value)| value).filter(|v| v.is_object()));
            }
        }
        if node.get("required").is_some_and(list) {
            return true;
        }
        let inner = ["allOf", "anyOf", "oneOf"].iter().filter_map(|key| node.get(*key));
        open.extend(inner.flat_map(|list| list.as_array().unwrap()).filter(|v| v.is_object()));
        let inner = ["not", "if", "then", "else"].iter().filter_map(|key| node.get(*key));
        open.extend(inner.filter(|v| v.is_object()));
        if let Some(reference) = node.get("$ref").and_then(Value::as_str)
            && seen.insert(reference)
        {
            let target = schema.pointer(reference.strip_prefix('#').unwrap()).unwrap();
            open.extend(Some(target).filter(|v| v.is_object()));
        }
    }
    false
}

#[derive(Debug, Default)]
struct Shares {
    schemas: Cell<u32>,
    inserting: Cell<u32>,
    selective: Cell<u32>,
    copying: Cell<u32>,
    arguments: Cell<u32>,
    valid: Cell<u32>,
}

fn add(to: &Cell<u32>, count: u32) {
    to.set(to.get().saturating_add(count));
}

fn check_pair(
    schema: &JsonObject,
    all: &[JsonObject],
    shares: &Shares,
) -> Result<(), TestCaseError> {
    let narrowed = Value::Object(narrow(schema, &pins()).unwrap());
    let complete = Value::Object(schema.clone());
    prop_assert!(!mentions_a_pin(&narrowed), "{narrowed}");
    let client = jsonschema::draft202012::new(&narrowed).unwrap();
    let tool = jsonschema::draft202012::new(&complete).unwrap();
    let mut valid: u32 = 0;
    for arguments in all {
        let free = Value::Object(arguments.clone());
        let pinned = Value::Object(pin(schema, arguments.clone(), &pins()).unwrap());
        let accepted = client.is_valid(&free);
        let what = || format!("{free}, pinned {pinned}, under {narrowed}");
        prop_assert_eq!(accepted, tool.is_valid(&pinned), "{}", what());
        valid = valid.saturating_add(accepted.into());
    }
    let count = u32::try_from(all.len()).unwrap();
    let pinned = pin(schema, JsonObject::new(), &pins()).unwrap();
    add(&shares.schemas, 1);
    add(&shares.inserting, u32::from(!pinned.is_empty()));
    add(&shares.selective, u32::from(!pinned.is_empty() && valid > 0 && valid < count));
    let text = narrowed.to_string();
    add(&shares.copying, u32::from(text.contains(".pinned") || text.contains(".whole")));
    add(&shares.arguments, count);
    add(&shares.valid, valid);
    Ok(())
}

/// The default number of cases is too small for so many keywords; `PROPTEST_CASES` raises it.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.max(10_000), failure_persistence: None, ..config }
}

#[test]
fn valid_for_a_client_is_valid_for_the_tool_once_pinned() {
    let shares = Shares::default();
    let some = prop::sample::subsequence(all_arguments(), 20);
    let run = TestRunner::new(config())
        .run(&(complete_schema(), some), |(schema, some)| check_pair(&schema, &some, &shares));
    if let Err(TestError::Fail(why, (schema, _))) = run {
        panic!("{why}\n{}", Value::Object(schema));
    }
    run.unwrap();
    println!("{shares:?}");
    // Where nearly nothing is valid, or everything is, the pair would hold by itself.
    let share = |of: &Cell<u32>, all: &Cell<u32>| f64::from(of.get()) / f64::from(all.get());
    assert!(share(&shares.valid, &shares.arguments) > 0.2, "{shares:?}");
    assert!(share(&shares.inserting, &shares.schemas) > 0.5, "{shares:?}");
    assert!(share(&shares.selective, &shares.schemas) > 0.2, "{shares:?}");
    assert!(share(&shares.copying, &shares.schemas) > 0.1, "{shares:?}");
}

/// Any JSON object, made of the words that schemas are made of.
fn any_object() -> impl Strategy<Value = JsonObject> {
    let words = "properties required additionalProperties unevaluatedProperties \
        patternProperties propertyNames minProperties maxProperties dependentRequired \
        dependentSchemas dependencies allOf anyOf oneOf not if then else const enum type \
        minLength maxLength pattern format $ref $dynamicRef $id $anchor $defs definitions \
        default examples items org project_slug a string object acme # #/ #/$defs/a \
        #/$defs/org #/definitions/a #/allOf/0 #/not #/properties/org #/%zz #/%C3 #/~2";
    let words: Vec<_> = words.split_whitespace().chain([""]).collect();
    let word = prop::sample::select(words);
    let leaf = prop_oneof![
        6 => word.clone().prop_map(Value::from),
        1 => Just(Value::Null),
        2 => any::<bool>().prop_map(Value::from),
        1 => (-2_i64..4).prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => "\\PC{0,4}".prop_map(Value::from),
    ];
    let key = word.prop_map(str::to_owned);
    let inner_key = key.clone();
    let value = leaf.prop_recursive(6, 64, 5, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            4 => prop::collection::btree_map(inner_key.clone(), inner, 0..6).prop_map(|map| json!(map)),
        ]
    });
    prop::collection::btree_map(key, value, 0..8).prop_map(|map| object(json!(map)))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn never_panics_and_no_caller_wins(schema in any_object(), arguments in any_object()) {
        if let Ok(narrowed) = narrow(&schema, &pins()) {
            let mut properties = entries(&narrowed, "properties");
            prop_assert!(!properties.any(|(name, _)| PINNED.contains(&name.as_str())));
            let required = items(&narrowed, "required").filter_map(Value::as_str);
            prop_assert!(!required.into_iter().any(|name| PINNED.contains(&name)));
        }
        if let Ok(pinned) = pin(&schema, arguments, &pins()) {
            for (name, value) in &pinned {
                let right = if name.starts_with("org") { "acme" } else { "web" };
                prop_assert!(!PINNED.contains(&name.as_str()) || value == right);
            }
        }
    }
}
