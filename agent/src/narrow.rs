//! The fence around a tool's arguments: [`narrow`] takes the parameters that a URL pins out of a
//! tool's schema before a client sees it, and [`pin`] puts their values back before the call. It
//! must not know what a tool does, who pinned a value, or how a conflict is answered.
//!
//! Narrowing is partial evaluation. Of every pinned name it is known, before any call, whether
//! [`pin`] will insert it and with which value, so each keyword that speaks of the root instance
//! is replaced by what is left of it. Where that is exact, it is right in every polarity: below
//! `not`, in an `if`, in a branch of a `oneOf`.
//!
//! Arguments that hold no pinned name are valid under the narrowed schema exactly if they are
//! valid under the complete one once they are pinned. Four things are out of reach; each is taken
//! to accept a pinned value, so that a tool stays usable, and the complete schema has the last
//! word when the call is made:
//! - regular expressions: `pattern`, `patternProperties` (left as it is), and an
//!   `additionalProperties` beside it;
//! - `format`;
//! - references other than a JSON pointer into this schema (anchors, dynamic and remote ones),
//!   which are left as they are;
//! - everything that a part with an `$id` of its own refers to.
//!
//! And a schema below legacy `dependencies` counts for `unevaluatedProperties` once its property
//! is pinned, which validators do not agree on anyway.
//!
//! Schemas come from elsewhere and may be any JSON: work and depth are bounded, and a keyword
//! that is not of the form the standard (draft 2020-12) gives it is left as it is.

use serde_json::{Map, Value};
use shared::limits;
use std::{
    collections::{BTreeMap, BTreeSet},
    ptr,
};

/// A JSON object: a schema, or the arguments of a call.
pub type JsonObject = Map<String, Value>;

/// One pinned level of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Every parameter that means this level. A name that two pins share belongs to the first.
    pub parameters: Vec<String>,
    /// The value that all of them have.
    pub value: String,
    /// Whether a caller must repeat the value in the same case.
    pub preserve_case: bool,
}

/// Why a schema cannot be narrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NarrowError {
    /// Schemas inside schemas, too many times.
    #[error("the schema is nested deeper than {} levels", limits::SCHEMA_DEPTH_MAX)]
    Deep,
    /// Too much to read, or to specialise.
    #[error("the schema is too large to be narrowed")]
    Large,
}

/// A caller gave a pinned parameter another value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{parameter}` is fixed to `{value}` by this URL; got `{got}`")]
pub struct Conflict {
    /// The parameter, as the caller named it.
    pub parameter: String,
    /// What it is pinned to.
    pub value: String,
    /// What the caller gave, cut to a length that fits a message.
    pub got: String,
}

/// Keywords whose schemas, in a list, apply to the same instance as the schema that holds them.
const LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords whose schema applies to the same instance; `not` is apart, for it only forbids.
const BRANCHES: [&str; 3] = ["if", "then", "else"];
/// Keywords that hold, by the name of a property, what its presence asks of the same instance.
const DEPENDENTS: [&str; 3] = ["dependentRequired", "dependentSchemas", "dependencies"];
/// Keywords that hold schemas for others to refer to.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// The schema as a client under the pins sees it. No pinned parameter is mentioned in it where it
/// speaks of the arguments themselves; a nested property of the same name is somebody else's and
/// stays. A schema that no arguments can satisfy any more becomes an object that says so.
///
/// # Errors
/// [`NarrowError`], if the schema is past a bound.
pub fn narrow(schema: &JsonObject, pins: &[Pin]) -> Result<JsonObject, NarrowError> {
    let known = known(schema, pins);
    if known.is_empty() {
        return Ok(schema.clone());
    }
    let inserted: Vec<_> = inserted(&known).collect();
    Narrower::new(schema, &known, &inserted)?.finish()
}

/// The arguments as the tool behind the pins gets them: every pinned parameter that the complete
/// `schema` declares for its root instance has the pinned value, whether or not the caller gave
/// it, and no other parameter of a pinned level is there.
///
/// # Errors
/// [`Conflict`], if the caller gave a pinned parameter any other value, declared or not.
pub fn pin(
    schema: &JsonObject,
    mut arguments: JsonObject,
    pins: &[Pin],
) -> Result<JsonObject, Conflict> {
    for (name, got) in &arguments {
        let pin = pins.iter().find(|pin| pin.parameters.contains(name));
        if let Some(pin) = pin.filter(|pin| !pin.admits(got)) {
            return Err(Conflict {
                parameter: name.clone(),
                value: pin.value.clone(),
                got: shown(got),
            });
        }
    }
    let known = known(schema, pins);
    arguments.retain(|name, _| !known.contains_key(name.as_str()));
    for (name, value) in inserted(&known) {
        arguments.insert(name.to_owned(), Value::String(value.to_owned()));
    }
    Ok(arguments)
}

impl Pin {
    /// Whether a caller may send this value.
    fn admits(&self, got: &Value) -> bool {
        match got {
            Value::String(got) if self.preserve_case => *got == self.value,
            Value::String(got) => got.eq_ignore_ascii_case(&self.value),
            // An explicit null says nothing, as in routing: models fill in what is optional so.
            Value::Null => true,
            _ => false,
        }
    }
}

/// A value as a message shows it: a text without its quotes, anything else as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => shared::error::shown(text),
        other => shared::error::shown(&other.to_string()),
    }
}

/// What is known of a property of the root instance before any call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known<'a> {
    /// [`pin`] inserts it with this value.
    Inserted(&'a str),
    /// The complete schema does not declare it, so [`pin`] leaves it out.
    Absent,
}

/// Every name that is pinned, declared or not.
type Names<'a> = BTreeMap<&'a str, Known<'a>>;

fn inserted<'a>(known: &Names<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    known.iter().filter_map(|(&name, known)| match known {
        Known::Inserted(value) => Some((name, *value)),
        Known::Absent => None,
    })
}

/// Both halves of the pair ask this one function what gets inserted: this is why they agree.
fn known<'a>(schema: &JsonObject, pins: &'a [Pin]) -> Names<'a> {
    let mut known = Names::new();
    let mut values = BTreeMap::new();
    for pin in pins {
        for name in &pin.parameters {
            known.insert(name.as_str(), Known::Absent);
            values.entry(name.as_str()).or_insert(pin.value.as_str());
        }
    }
    if known.is_empty() {
        return known;
    }
    // What stands below `not` forbids; it declares nothing.
    for node in in_place(schema, schema, Below::Asserted) {
        let properties = entries(node, "properties").filter(|&(_, schema)| *schema != false);
        let dependent = DEPENDENTS.iter().flat_map(|key| entries(node, key));
        let lists = dependent.map(|(_, list)| list).chain(node.get("required"));
        for name in properties.map(|(name, _)| name.as_str()).chain(lists.flat_map(texts)) {
            if let Some((&name, &value)) = values.get_key_value(name) {
                known.insert(name, Known::Inserted(value));
            }
        }
    }
    known
}

/// A schema: the value of a keyword that holds one, or the target of a reference.
#[derive(Debug, Clone, Copy)]
enum Schema<'a> {
    Boolean(bool),
    Object(&'a JsonObject),
}

impl<'a> Schema<'a> {
    /// Nothing else is a schema.
    fn of(value: &'a Value) -> Option<Self> {
        match value {
            Value::Bool(all) => Some(Self::Boolean(*all)),
            Value::Object(node) => Some(Self::Object(node)),
            _ => None,
        }
    }
}

/// The entries of a keyword that holds a map; none, if it does not.
fn entries<'a>(node: &'a JsonObject, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    node.get(key).and_then(Value::as_object).into_iter().flatten()
}

/// The items of a keyword that holds a list; none, if it does not.
fn items<'a>(node: &'a JsonObject, key: &str) -> impl Iterator<Item = &'a Value> {
    node.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// The texts in a list; none, if it is no list.
fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// A number of things, however it is written.
fn count(value: &Value) -> Option<u64> {
    let whole = |n: &f64| n.fract() == 0.0 && (0.0..9e15).contains(n);
    value.as_u64().or_else(|| value.as_f64().filter(whole).map(|n| n as u64))
}

/// What it costs to look at the keywords of a schema, though not into them.
fn breadth(node: &JsonObject) -> usize {
    let within = node.values().map(|value| match value {
        Value::Array(list) => list.len(),
        Value::Object(map) => map.len(),
        _ => 0,
    });
    within.fold(1, usize::saturating_add)
}

/// Whether a schema is a resource of its own, so that references in it do not mean this one.
fn is_resource(node: &JsonObject) -> bool {
    node.get("$id").is_some_and(Value::is_string)
}

/// The steps of a JSON pointer that is the fragment of a reference.
fn steps(fragment: &str) -> Option<Vec<String>> {
    let mut bytes = fragment.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            decoded.push(u8::try_from(high << 4 | low).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    let decoded = String::from_utf8(decoded).ok()?;
    if decoded.is_empty() {
        return Some(Vec::new());
    }
    let steps = decoded.strip_prefix('/')?.split('/');
    // No pointer into a schema has more steps than the schema is deep.
    if steps.clone().count() > limits::SCHEMA_JSON_DEPTH_MAX {
        return None;
    }
    let plain = |step: &str| step.replace("~1", "/").replace("~0", "~");
    Some(steps.map(plain).collect())
}

/// The steps of a reference that is a JSON pointer into this schema.
fn local(reference: &str) -> Option<Vec<String>> {
    if reference.is_empty() { Some(Vec::new()) } else { steps(reference.strip_prefix('#')?) }
}

/// The definition that a reference leads to, or into; that of a like name, if it is remote.
fn definition(reference: &str) -> Option<(&'static str, String)> {
    let mut steps = steps(reference.split_once('#')?.1)?.into_iter();
    let container = steps.next()?;
    let container = DEFINITIONS.into_iter().find(|key| *key == container)?;
    Some((container, steps.next()?))
}

/// What a reference in this schema means, if it is a JSON pointer to a schema in it.
fn resolve<'a>(root: &'a JsonObject, reference: &str) -> Option<Schema<'a>> {
    let mut steps = local(reference)?.into_iter();
    let Some(first) = steps.next() else {
        return Some(Schema::Object(root));
    };
    let own = |value: &&Value| !value.as_object().is_some_and(is_resource);
    let first = root.get(&first).filter(own)?;
    let target = steps.try_fold(first, |value, step| {
        let inner = match value {
            Value::Object(node) => node.get(&step),
            Value::Array(list) => list.get(step.parse::<usize>().ok()?),
            _ => None,
        };
        inner.filter(own)
    })?;
    Schema::of(target)
}

/// Which schemas below another are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Below {
    /// All but what only `not` applies.
    Asserted,
    /// All.
    All,
}

/// Every schema that applies to the very instance that `start` applies to, itself first. Linear
/// in the size of the schema, whatever refers to what: each is visited once.
fn in_place<'a>(
    root: &'a JsonObject,
    start: &'a JsonObject,
    below: Below,
) -> impl Iterator<Item = &'a JsonObject> {
    let mut seen = BTreeSet::new();
    let mut open = vec![(start, false)];
    std::iter::from_fn(move || {
        loop {
            let (node, foreign) = open.pop()?;
            if !seen.insert(ptr::from_ref(node)) {
                continue;
            }
            let foreign = foreign || (is_resource(node) && !ptr::eq(node, root));
            let lists = LISTS.iter().flat_map(|key| items(node, key));
            let branches = BRANCHES.iter().filter_map(|key| node.get(*key));
            let dependent = DEPENDENTS.iter().flat_map(|key| entries(node, key).map(|(_, v)| v));
            let not = node.get("not").filter(|_| below == Below::All);
            let inner = lists.chain(branches).chain(dependent).chain(not);
            open.extend(inner.filter_map(Value::as_object).map(|inner| (inner, foreign)));
            let reference = node.get("$ref").and_then(Value::as_str).filter(|_| !foreign);
            if let Some(Schema::Object(target)) = reference.and_then(|r| resolve(root, r)) {
                open.push((target, false));
            }
            return Some(node);
        }
    })
}

/// Whether a node's own keywords mean something else once the pinned names are known.
fn is_touched(node: &JsonObject, known: &Names<'_>) -> bool {
    const BY_ANY_INSERTED: [&str; 5] =
        ["unevaluatedProperties", "propertyNames", "minProperties", "maxProperties", "const"];
    let is_known = |name: &str| known.contains_key(name);
    let mentions = |value: &Value| value.as_object().is_some_and(|o| o.keys().any(|k| is_known(k)));
    let mut dependent = DEPENDENTS.iter().flat_map(|key| entries(node, key));
    let inserts = inserted(known).next().is_some();
    let counts = BY_ANY_INSERTED.iter().any(|key| node.contains_key(*key))
        || node.contains_key("enum")
        || node.get("additionalProperties").is_some_and(|rest| *rest != true);
    node.get("properties").is_some_and(mentions)
        || node.get("required").is_some_and(|list| texts(list).any(is_known))
        || dependent.any(|(name, list)| is_known(name) || texts(list).any(is_known))
        || node.get("const").is_some_and(mentions)
        || items(node, "enum").any(mentions)
        || (inserts && counts)
}

/// What stands somewhere in a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// A schema, or a list of them.
    Schema,
    /// A map whose values are schemas: its keys are names, not keywords.
    Map,
    /// Somebody's values, in which nothing is a keyword.
    Data,
}

impl Position {
    /// What a keyword holds. An unknown one may hold schemas: references can point into it.
    fn under(keyword: &str) -> Self {
        match keyword {
            "properties" | "patternProperties" | "dependentSchemas" | "dependencies" | "$defs"
            | "definitions" => Self::Map,
            "const" | "enum" | "default" | "examples" => Self::Data,
            _ => Self::Schema,
        }
    }
}

/// Calls `visit` with every schema object in a value, outer ones first, except in a resource of
/// its own. Returns how many JSON values it walked over.
fn each_schema(
    value: &mut Value,
    position: Position,
    visit: &mut dyn FnMut(&mut JsonObject),
) -> usize {
    let mut open = vec![(value, position)];
    let mut walked: usize = 0;
    while let Some((value, position)) = open.pop() {
        walked = walked.saturating_add(1);
        match value {
            Value::Array(list) => {
                let inner = if position == Position::Map { Position::Data } else { position };
                open.extend(list.iter_mut().map(|value| (value, inner)));
            }
            Value::Object(node) => {
                let schema = position == Position::Schema && !is_resource(node);
                if schema {
                    visit(node);
                }
                open.extend(node.iter_mut().map(|(key, value)| match position {
                    Position::Map => (value, Position::Schema),
                    _ if schema => (value, Position::under(key)),
                    _ => (value, Position::Data),
                }));
            }
            _ => {}
        }
    }
    walked
}

/// Finds the definitions that anything in here refers to, and tells whether a part of it has a name
/// of its own. What is no schema is read as one too: it keeps a definition, at worst.
fn gather<'a>(
    entries: impl IntoIterator<Item = (&'a String, &'a Value)>,
    found: &mut Vec<(&'static str, String)>,
) -> bool {
    let mut open: Vec<(&str, &Value)> = Vec::new();
    open.extend(entries.into_iter().map(|(key, value)| (key.as_str(), value)));
    let mut named = false;
    while let Some((key, value)) = open.pop() {
        match (key, value) {
            ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(reference)) => {
                found.extend(definition(reference));
            }
            ("$id" | "$anchor" | "$dynamicAnchor", Value::String(_)) => named = true,
            (_, Value::Array(list)) => open.extend(list.iter().map(|value| ("", value))),
            (_, Value::Object(node)) => {
                open.extend(node.iter().map(|(key, value)| (key.as_str(), value)));
            }
            _ => {}
        }
    }
    named
}

/// Refuses what is too deep to recurse into, here or in what clones and drops it, or too large.
fn measure(schema: &JsonObject) -> Result<(), NarrowError> {
    let mut open: Vec<_> = schema.values().map(|value| (value, 2_usize)).collect();
    let mut walked: usize = 0;
    while let Some((value, depth)) = open.pop() {
        walked = walked.saturating_add(1);
        if walked > limits::SCHEMA_VISITS_MAX {
            return Err(NarrowError::Large);
        }
        let inner = depth.saturating_add(1);
        match value {
            Value::Array(_) | Value::Object(_) if depth > limits::SCHEMA_JSON_DEPTH_MAX => {
                return Err(NarrowError::Deep);
            }
            Value::Array(list) => open.extend(list.iter().map(|value| (value, inner))),
            Value::Object(node) => open.extend(node.values().map(|value| (value, inner))),
            _ => {}
        }
    }
    Ok(())
}

/// Where the narrower stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// How many schemas are around this one.
    depth: usize,
    /// Whether one of them is a resource of its own.
    foreign: bool,
}

impl Place {
    const TOP: Self = Self { depth: 0, foreign: false };

    /// The same place for schemas of a value, which are around nothing yet.
    const fn fresh(self) -> Self {
        Self { depth: 0, foreign: self.foreign }
    }

    /// The place of what a reference from here means.
    const fn referred(self) -> Self {
        Self { depth: self.depth, foreign: false }
    }
}

/// What other keywords of the same schema turn into.
#[derive(Debug, Default)]
struct Extra {
    /// More that is required.
    required: Vec<String>,
    /// More that applies.
    all_of: Vec<Value>,
    /// Properties that must not be there.
    never: Vec<String>,
}

impl Extra {
    fn join(self, node: &mut JsonObject) {
        if !self.required.is_empty() {
            // The standard wants every name once.
            let listed = node.get("required").into_iter().flat_map(texts);
            let mut seen: BTreeSet<_> = listed.map(str::to_owned).collect();
            let more = self.required.into_iter();
            let more = more.filter(|name| seen.insert(name.clone()));
            let more = more.map(Value::String);
            match node.get_mut("required") {
                Some(Value::Array(list)) => list.extend(more),
                _ => drop(node.insert("required".to_owned(), more.collect())),
            }
        }
        if !self.all_of.is_empty() {
            match node.get_mut("allOf") {
                Some(Value::Array(list)) => list.extend(self.all_of),
                _ => drop(node.insert("allOf".to_owned(), Value::Array(self.all_of))),
            }
        }
        if !self.never.is_empty() {
            let never = self.never.into_iter().map(|name| (name, Value::Bool(false)));
            match node.get_mut("dependentSchemas") {
                Some(Value::Object(map)) => map.extend(never),
                _ => drop(node.insert("dependentSchemas".to_owned(), never.collect())),
            }
        }
    }
}

/// One of the few schemas that [`Narrower::evaluated`] makes of others.
fn single(keyword: &str, value: Value) -> Value {
    Value::Object(JsonObject::from_iter([(keyword.to_owned(), value)]))
}

/// The schema that asks for all of these, or for any of them.
fn joined(keyword: &str, mut members: Vec<Value>) -> Value {
    let neutral = Value::Bool(keyword == "allOf");
    let absorbing = Value::Bool(keyword != "allOf");
    if members.contains(&absorbing) {
        return absorbing;
    }
    members.retain(|member| *member != neutral);
    match members.pop() {
        None => neutral,
        Some(only) if members.is_empty() => only,
        Some(last) => {
            members.push(last);
            single(keyword, Value::Array(members))
        }
    }
}

/// The schema that asks for the opposite.
fn negated(schema: Value) -> Value {
    match schema {
        Value::Bool(all) => Value::Bool(!all),
        other => single("not", other),
    }
}

/// What `allOf`, `anyOf` or `oneOf` makes of the verdicts of its members.
fn tally(keyword: &str, verdicts: &[Option<bool>]) -> Option<bool> {
    let accepting = verdicts.iter().filter(|verdict| **verdict == Some(true)).count();
    let refusing = verdicts.iter().filter(|verdict| **verdict == Some(false)).count();
    let all = verdicts.len();
    match keyword {
        "allOf" if refusing > 0 => Some(false),
        "allOf" => (accepting == all).then_some(true),
        "anyOf" if accepting > 0 => Some(true),
        "oneOf" if accepting > 1 => Some(false),
        "oneOf" if accepting == 1 => (refusing.saturating_add(1) == all).then_some(true),
        _ => (refusing == all).then_some(false),
    }
}

/// What a schema becomes that no arguments can satisfy: clients expect an object even then.
fn nothing(schema: &JsonObject) -> JsonObject {
    let kept = ["$schema", "title", "description"].iter().filter_map(|&key| {
        let value = schema.get(key)?;
        Some((key.to_owned(), value.clone()))
    });
    let never = [
        ("type".to_owned(), Value::String("object".to_owned())),
        ("not".to_owned(), Value::Object(JsonObject::new())),
    ];
    kept.chain(never).collect()
}

/// Which version of a schema a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    /// Specialised, for the root instance.
    Pinned,
    /// As it was, for a nested instance, where narrowing changed the original.
    Whole,
}

/// A copy of a schema that is yet to be made.
#[derive(Debug)]
struct Job<'a> {
    name: String,
    schema: Schema<'a>,
    version: Version,
}

/// Definitions by the keyword that holds them.
type Definitions = BTreeMap<&'static str, JsonObject>;

/// One run of [`narrow`].
#[derive(Debug)]
struct Narrower<'a> {
    root: &'a JsonObject,
    known: &'a Names<'a>,
    inserted: &'a [(&'a str, &'a str)],
    /// Schemas for the root instance whose own keywords change.
    touched: BTreeSet<*const JsonObject>,
    /// JSON values looked at so far.
    visits: usize,
    /// Names of the copies, by the reference that asked for one.
    copies: BTreeMap<(String, Version), String>,
    /// Names that a definition has.
    taken: BTreeSet<String>,
    /// The last number given to a copy whose name was taken. It never goes back, so that many
    /// names that are taken do not make many tries for each.
    number: u64,
    /// Copies to make. A queue rather than recursion: definitions refer to each other in circles.
    queue: Vec<Job<'a>>,
    /// The keyword that holds the copies.
    container: &'static str,
}

impl<'a> Narrower<'a> {
    fn new(
        root: &'a JsonObject,
        known: &'a Names<'a>,
        inserted: &'a [(&'a str, &'a str)],
    ) -> Result<Self, NarrowError> {
        measure(root)?;
        let nodes = in_place(root, root, Below::All).filter(|node| is_touched(node, known));
        let [modern, legacy] = DEFINITIONS;
        let has = |key| root.get(key).is_some_and(Value::is_object);
        let names = DEFINITIONS.iter().flat_map(|key| entries(root, key));
        Ok(Self {
            root,
            known,
            inserted,
            touched: nodes.map(ptr::from_ref).collect(),
            visits: 0,
            copies: BTreeMap::new(),
            taken: names.map(|(name, _)| name.clone()).collect(),
            number: 1,
            queue: Vec::new(),
            container: if has(legacy) && !has(modern) { legacy } else { modern },
        })
    }

    /// The narrowed root with its definitions.
    fn finish(mut self) -> Result<JsonObject, NarrowError> {
        if self.touched.is_empty() {
            let keep = |(key, value): (&String, &Value)| (key.clone(), self.sample(key, value));
            return Ok(self.root.iter().map(keep).collect());
        }
        let Some(mut out) = self.node(self.root, Place::TOP)? else {
            return Ok(nothing(self.root));
        };
        let mut definitions = Definitions::new();
        for container in DEFINITIONS {
            for (name, schema) in entries(self.root, container) {
                let schema = self.nested(schema.clone(), Position::Schema, Place::TOP)?;
                definitions.entry(container).or_default().insert(name.clone(), schema);
            }
        }
        while let Some(job) = self.queue.pop() {
            let schema = self.copied(&job)?;
            definitions.entry(self.container).or_default().insert(job.name, schema);
        }
        self.sweep(&out, &mut definitions);
        for (container, held) in definitions {
            if held.is_empty() {
                out.retain(|key, _| key != container);
            } else {
                out.insert(container.to_owned(), Value::Object(held));
            }
        }
        Ok(out)
    }

    fn spend(&mut self, visits: usize) -> Result<(), NarrowError> {
        self.visits = self.visits.saturating_add(visits);
        if self.visits > limits::SCHEMA_VISITS_MAX { Err(NarrowError::Large) } else { Ok(()) }
    }

    fn enter(&mut self, node: &JsonObject, at: Place) -> Result<Place, NarrowError> {
        self.spend(breadth(node))?;
        let depth = at.depth.saturating_add(1);
        if depth > limits::SCHEMA_DEPTH_MAX {
            return Err(NarrowError::Deep);
        }
        Ok(Place { depth, foreign: at.foreign || self.is_foreign(node) })
    }

    fn is_foreign(&self, node: &JsonObject) -> bool {
        is_resource(node) && !ptr::eq(node, self.root)
    }

    fn is_known(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    fn is_absent(&self, name: &str) -> bool {
        self.known.get(name) == Some(&Known::Absent)
    }

    fn resolve(&self, reference: &str, at: Place) -> Option<Schema<'a>> {
        if at.foreign { None } else { resolve(self.root, reference) }
    }

    // --- Schemas of the root instance ---

    fn schema(&mut self, schema: &'a Value, at: Place) -> Result<Value, NarrowError> {
        match schema {
            Value::Object(node) => {
                Ok(self.node(node, at)?.map_or(Value::Bool(false), Value::Object))
            }
            other => self.nested(other.clone(), Position::Data, at),
        }
    }

    /// A schema of the root instance, specialised; nothing, if it accepts nothing any more.
    fn node(&mut self, node: &'a JsonObject, at: Place) -> Result<Option<JsonObject>, NarrowError> {
        let at = self.enter(node, at)?;
        let mut extra = Extra::default();
        if self.refuses(node, at)? || self.leaves_unevaluated(node, at, &mut extra)? {
            return Ok(None);
        }
        let mut out = JsonObject::new();
        for (key, value) in node {
            if let Some(value) = self.keyword(node, key, value, at, &mut extra)? {
                out.insert(key.clone(), value);
            }
        }
        extra.join(&mut out);
        Ok(Some(out))
    }

    /// What is left of one keyword.
    fn keyword(
        &mut self,
        node: &'a JsonObject,
        key: &str,
        value: &'a Value,
        at: Place,
        extra: &mut Extra,
    ) -> Result<Option<Value>, NarrowError> {
        let is_root = ptr::eq(node, self.root);
        let nested = || (value.clone(), Position::under(key));
        let (left, position) = match (key, value) {
            ("properties", Value::Object(map)) => {
                let free = map.iter().filter(|(name, _)| !self.is_known(name));
                let free = free.map(|(name, schema)| (name.clone(), schema.clone()));
                (free.collect(), Position::Map)
            }
            ("required", Value::Array(list)) => match self.unknown(list) {
                Some(list) => (Value::Array(list), Position::Data),
                None => return Ok(None),
            },
            ("const", _) => match self.remainder(value) {
                Some(rest) => (rest, Position::Data),
                None => nested(),
            },
            ("enum", Value::Array(list)) => {
                let rest = list.iter().filter_map(|candidate| self.remainder(candidate));
                (rest.collect(), Position::Data)
            }
            ("minProperties" | "maxProperties", _) => return Ok(self.remaining(key, value)),
            ("default" | "examples", _) if is_root => (self.sample(key, value), Position::Data),
            // The definitions are put together last, when it is known which are needed. What is
            // here keeps their place.
            ("$defs" | "definitions", Value::Object(_)) if is_root => {
                (Value::Object(JsonObject::new()), Position::Data)
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(list)) => {
                let list = list.iter().map(|member| self.schema(member, at));
                return list.collect::<Result<_, _>>().map(Value::Array).map(Some);
            }
            ("not" | "if" | "then" | "else", _) => return self.schema(value, at).map(Some),
            ("dependentRequired" | "dependentSchemas" | "dependencies", Value::Object(map)) => {
                return self.dependent(map, at, extra);
            }
            ("$ref", Value::String(reference)) => {
                return self.reference(reference, at).map(Value::String).map(Some);
            }
            _ => nested(),
        };
        self.nested(left, position, at).map(Some)
    }

    /// The names in a list that are not known; nothing, if none is left of some.
    fn unknown(&self, list: &[Value]) -> Option<Vec<Value>> {
        let is_known = |name: &Value| name.as_str().is_some_and(|name| self.is_known(name));
        let left: Vec<_> = list.iter().filter(|name| !is_known(name)).cloned().collect();
        if left.is_empty() && !list.is_empty() { None } else { Some(left) }
    }

    /// What the other properties must be for the whole instance to be this candidate; nothing, if
    /// the known ones make that impossible.
    fn remainder(&self, candidate: &Value) -> Option<Value> {
        let candidate = candidate.as_object()?;
        let agrees = self.known.iter().all(|(name, known)| match known {
            Known::Inserted(value) => candidate.get(*name).is_some_and(|got| got == value),
            Known::Absent => !candidate.contains_key(*name),
        });
        let rest = candidate.iter().filter(|(name, _)| !self.is_known(name));
        agrees.then(|| rest.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// A bound on the number of properties, less those that are inserted.
    fn remaining(&self, key: &str, value: &Value) -> Option<Value> {
        let inserted = self.inserted.len() as u64;
        let Some(bound) = count(value).filter(|_| inserted > 0) else {
            return Some(value.clone());
        };
        let left = bound.saturating_sub(inserted);
        (left > 0 || key == "maxProperties").then(|| Value::from(left))
    }

    /// Sample arguments of the root, without what a client cannot give.
    fn sample(&self, key: &str, value: &Value) -> Value {
        let strip = |value: &Value| match value {
            Value::Object(sample) => {
                let free = sample.iter().filter(|(name, _)| !self.is_known(name));
                free.map(|(name, value)| (name.clone(), value.clone())).collect()
            }
            other => other.clone(),
        };
        match (key, value) {
            ("default", sample) => strip(sample),
            ("examples", Value::Array(samples)) => samples.iter().map(strip).collect(),
            _ => value.clone(),
        }
    }

    /// What the presence of a property asks, be it names or a schema.
    fn dependent(
        &mut self,
        map: &'a JsonObject,
        at: Place,
        extra: &mut Extra,
    ) -> Result<Option<Value>, NarrowError> {
        let mut left = JsonObject::new();
        for (name, asked) in map {
            self.spend(asked.as_array().map_or(1, Vec::len))?;
            match (self.known.get(name.as_str()), asked) {
                (Some(Known::Absent), _) => {}
                (Some(Known::Inserted(_)), Value::Array(list)) => {
                    let list = self.unknown(list).unwrap_or_default();
                    extra.required.extend(list.iter().filter_map(Value::as_str).map(str::to_owned));
                }
                (Some(Known::Inserted(_)), schema) => extra.all_of.push(self.schema(schema, at)?),
                (None, Value::Array(_)) if texts(asked).any(|name| self.is_absent(name)) => {
                    extra.never.push(name.clone());
                }
                (None, Value::Array(list)) => {
                    if let Some(list) = self.unknown(list) {
                        left.insert(name.clone(), Value::Array(list));
                    }
                }
                (None, schema) => {
                    left.insert(name.clone(), self.schema(schema, at)?);
                }
            }
        }
        Ok((!left.is_empty() || map.is_empty()).then_some(Value::Object(left)))
    }

    /// Whether the known properties alone make this schema refuse every instance.
    fn refuses(&mut self, node: &'a JsonObject, at: Place) -> Result<bool, NarrowError> {
        let mut asked: Vec<_> = node.get("required").into_iter().collect();
        for (name, list) in DEPENDENTS.iter().flat_map(|key| entries(node, key)) {
            if matches!(self.known.get(name.as_str()), Some(Known::Inserted(_))) {
                self.spend(list.as_array().map_or(0, Vec::len))?;
                asked.push(list);
            }
        }
        if asked.into_iter().flat_map(texts).any(|name| self.is_absent(name)) {
            return Ok(true);
        }
        let most = node.get("maxProperties").and_then(count);
        if most.is_some_and(|most| most < self.inserted.len() as u64)
            || node.get("const").is_some_and(|only| self.remainder(only).is_none())
            || node.get("enum").is_some_and(|of| {
                of.as_array().is_some_and(|of| !of.iter().any(|c| self.remainder(c).is_some()))
            })
        {
            return Ok(true);
        }
        let patterned = entries(node, "patternProperties").next().is_some();
        for (name, value) in self.inserted {
            let listed = node.get("properties").and_then(|properties| properties.get(name));
            let rest = node.get("additionalProperties").filter(|_| !patterned);
            if let Some(schema) = listed.or(rest)
                && self.verdict(schema, value, at.fresh())? == Some(false)
            {
                return Ok(true);
            }
            if let Some(schema) = node.get("propertyNames")
                && self.verdict(schema, name, at.fresh())? == Some(false)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    // --- Properties that nothing else evaluates ---

    /// Whether `unevaluatedProperties` refuses an inserted property, and, where that depends on
    /// the others, what they must be for it not to.
    fn leaves_unevaluated(
        &mut self,
        node: &'a JsonObject,
        at: Place,
        extra: &mut Extra,
    ) -> Result<bool, NarrowError> {
        let Some(rest) = node.get("unevaluatedProperties") else {
            return Ok(false);
        };
        for (name, value) in self.inserted {
            if self.verdict(rest, value, at.fresh())? != Some(false) {
                continue;
            }
            match self.evaluated(node, name, at, true)? {
                Value::Bool(true) => {}
                Value::Bool(false) => return Ok(true),
                depends => extra.all_of.push(depends),
            }
        }
        Ok(false)
    }

    /// The condition on the other properties under which a schema that holds has evaluated this
    /// one; `outer` for the schema whose `unevaluatedProperties` asks.
    fn evaluated(
        &mut self,
        node: &'a JsonObject,
        name: &str,
        at: Place,
        outer: bool,
    ) -> Result<Value, NarrowError> {
        const OPEN: [&str; 3] = ["additionalProperties", "$dynamicRef", "$recursiveRef"];
        let at = self.enter(node, at)?;
        if entries(node, "properties").any(|(listed, _)| listed == name)
            || entries(node, "patternProperties").next().is_some()
            || OPEN.iter().any(|key| node.contains_key(*key))
            || (!outer && node.contains_key("unevaluatedProperties"))
        {
            return Ok(Value::Bool(true));
        }
        let mut ways = Vec::new();
        if let Some(reference) = node.get("$ref").and_then(Value::as_str) {
            ways.push(match self.resolve(reference, at) {
                Some(Schema::Object(target)) => {
                    self.evaluated(target, name, at.referred(), false)?
                }
                Some(Schema::Boolean(_)) => Value::Bool(false),
                None => Value::Bool(true),
            });
        }
        for member in items(node, "allOf") {
            ways.push(self.evaluated_by(member, name, at)?);
        }
        for member in items(node, "anyOf").chain(items(node, "oneOf")) {
            ways.push(self.evaluated_if(member, member, name, at)?);
        }
        if let Some(condition) = node.get("if") {
            ways.push(self.evaluated_if(condition, condition, name, at)?);
            if let Some(then) = node.get("then") {
                ways.push(self.evaluated_if(condition, then, name, at)?);
            }
            if let Some(otherwise) = node.get("else") {
                let fails = negated(self.schema(condition, at)?);
                let inner = self.evaluated_by(otherwise, name, at)?;
                ways.push(joined("allOf", vec![fails, inner]));
            }
        }
        for (key, schema) in entries(node, "dependentSchemas") {
            let present = match self.known.get(key.as_str()) {
                Some(Known::Absent) => Value::Bool(false),
                Some(Known::Inserted(_)) => Value::Bool(true),
                None => single("required", Value::Array(vec![Value::String(key.clone())])),
            };
            let inner = self.evaluated_by(schema, name, at)?;
            ways.push(joined("allOf", vec![present, inner]));
        }
        Ok(joined("anyOf", ways))
    }

    /// [`Narrower::evaluated`] by a schema that always holds.
    fn evaluated_by(
        &mut self,
        schema: &'a Value,
        name: &str,
        at: Place,
    ) -> Result<Value, NarrowError> {
        match schema {
            Value::Object(node) => self.evaluated(node, name, at, false),
            _ => Ok(Value::Bool(false)),
        }
    }

    /// [`Narrower::evaluated`] by a schema that counts only where the condition holds.
    fn evaluated_if(
        &mut self,
        condition: &'a Value,
        schema: &'a Value,
        name: &str,
        at: Place,
    ) -> Result<Value, NarrowError> {
        let inner = self.evaluated_by(schema, name, at)?;
        if inner == false {
            return Ok(inner);
        }
        let condition = self.schema(condition, at)?;
        Ok(joined("allOf", vec![condition, inner]))
    }

    // --- Schemas of a text that is known ---

    /// Whether a schema accepts a text; nothing, if it cannot be told.
    fn verdict(
        &mut self,
        schema: &'a Value,
        text: &str,
        at: Place,
    ) -> Result<Option<bool>, NarrowError> {
        match Schema::of(schema) {
            Some(schema) => self.judge(schema, text, at),
            None => Ok(None),
        }
    }

    fn judge(
        &mut self,
        schema: Schema<'a>,
        text: &str,
        at: Place,
    ) -> Result<Option<bool>, NarrowError> {
        let node = match schema {
            Schema::Boolean(all) => return Ok(Some(all)),
            Schema::Object(node) => node,
        };
        // References may go in circles here, which ends as what cannot be told.
        if at.depth >= limits::SCHEMA_DEPTH_MAX {
            return Ok(None);
        }
        let at = self.enter(node, at)?;
        let mut all = Some(true);
        for (key, value) in node {
            let one = self.assertion(node, key, value, text, at)?;
            all = match (all, one) {
                (_, Some(false)) => return Ok(Some(false)),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            };
        }
        Ok(all)
    }

    /// Whether one keyword accepts a text.
    fn assertion(
        &mut self,
        node: &'a JsonObject,
        key: &str,
        value: &'a Value,
        text: &str,
        at: Place,
    ) -> Result<Option<bool>, NarrowError> {
        let length = text.chars().count() as u64;
        Ok(match (key, value) {
            ("type", Value::String(only)) => Some(only == "string"),
            ("type", Value::Array(_)) => Some(texts(value).any(|of| of == "string")),
            ("const", _) => Some(value == text),
            ("enum", Value::Array(_)) => Some(items(node, "enum").any(|value| value == text)),
            ("minLength", _) => count(value).map(|least| length >= least),
            ("maxLength", _) => count(value).map(|most| length <= most),
            ("allOf" | "anyOf" | "oneOf", Value::Array(members)) => {
                let verdicts = members.iter().map(|member| self.verdict(member, text, at));
                tally(key, &verdicts.collect::<Result<Vec<_>, _>>()?)
            }
            ("not", _) => self.verdict(value, text, at)?.map(|accepts| !accepts),
            ("if", _) => {
                let mut branch = |key| match node.get(key) {
                    Some(branch) => self.verdict(branch, text, at),
                    None => Ok(Some(true)),
                };
                let (then, otherwise) = (branch("then")?, branch("else")?);
                match self.verdict(value, text, at)? {
                    Some(true) => then,
                    Some(false) => otherwise,
                    None => then.filter(|_| then == otherwise),
                }
            }
            ("$ref", Value::String(reference)) => match self.resolve(reference, at) {
                Some(target) => self.judge(target, text, at.referred())?,
                None => None,
            },
            ("type" | "enum" | "allOf" | "anyOf" | "oneOf" | "$ref" | "pattern" | "format", _)
            | ("$dynamicRef" | "$recursiveRef", _) => None,
            _ => Some(true),
        })
    }

    // --- References and copies ---

    /// A reference from a schema of the root instance.
    fn reference(&mut self, reference: &str, at: Place) -> Result<String, NarrowError> {
        // The root specialised is the root itself.
        if matches!(reference, "" | "#") {
            return Ok(reference.to_owned());
        }
        let Some(target) = self.resolve(reference, at) else {
            return Ok(reference.to_owned());
        };
        if !self.is_shifting(reference) && !self.is_concerned(target)? {
            return Ok(reference.to_owned());
        }
        Ok(self.copy(reference, target, Version::Pinned))
    }

    /// Whether narrowing changes a schema of the root instance, or what it refers to.
    fn is_concerned(&mut self, schema: Schema<'a>) -> Result<bool, NarrowError> {
        if let Schema::Object(schema) = schema {
            for node in in_place(self.root, schema, Below::All) {
                self.spend(breadth(node))?;
                if self.touched.contains(&ptr::from_ref(node)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Whether a pointer leads to the root or through what narrowing may change or remove.
    fn is_shifting(&self, reference: &str) -> bool {
        let Some(steps) = local(reference) else {
            return false;
        };
        match steps.first().map(String::as_str) {
            None => true,
            Some("properties") => steps.get(1).is_some_and(|name| self.is_known(name)),
            Some("not") => true,
            Some(first) => [LISTS, BRANCHES, DEPENDENTS].iter().flatten().any(|key| *key == first),
        }
    }

    /// The reference to a copy of a schema, which is made later.
    fn copy(&mut self, reference: &str, schema: Schema<'a>, version: Version) -> String {
        let key = (reference.to_owned(), version);
        if let Some(name) = self.copies.get(&key) {
            return format!("#/{}/{name}", self.container);
        }
        let last = local(reference).and_then(|mut steps| steps.pop());
        let last = last.unwrap_or_else(|| "root".to_owned());
        // Of this alphabet a name needs no escapes, neither of a pointer nor of a URL.
        let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let last: String = last.chars().filter(plain).collect();
        let suffix = if version == Version::Pinned { "pinned" } else { "whole" };
        let mut name = format!("{last}.{suffix}");
        while !self.taken.insert(name.clone()) {
            self.number = self.number.saturating_add(1);
            name = format!("{last}.{suffix}{}", self.number);
        }
        let reference = format!("#/{}/{name}", self.container);
        self.copies.insert(key, name.clone());
        self.queue.push(Job { name, schema, version });
        reference
    }

    /// Makes a copy.
    fn copied(&mut self, job: &Job<'a>) -> Result<Value, NarrowError> {
        let node = match job.schema {
            Schema::Boolean(all) => return Ok(Value::Bool(all)),
            Schema::Object(node) => node,
        };
        let mut out = match job.version {
            Version::Pinned => {
                self.node(node, Place::TOP)?.map_or(Value::Bool(false), Value::Object)
            }
            Version::Whole => {
                let mut whole = node.clone();
                if ptr::eq(node, self.root) {
                    let own = ["$schema", "$id", "$vocabulary", "$defs", "definitions"];
                    whole.retain(|key, _| !own.contains(&key.as_str()));
                }
                self.nested(Value::Object(whole), Position::Schema, Place::TOP)?
            }
        };
        // What an anchor names must be one place: the original.
        let walked = each_schema(&mut out, Position::Schema, &mut |node| {
            let anchor = |key: &str| matches!(key, "$anchor" | "$dynamicAnchor");
            node.retain(|key, value| !(anchor(key) && value.is_string()));
        });
        self.spend(walked)?;
        Ok(out)
    }

    /// Something that does not speak of the root instance. It is kept as it is, except that a
    /// reference to what narrowing changes goes to a copy of what was there.
    fn nested(
        &mut self,
        mut value: Value,
        position: Position,
        at: Place,
    ) -> Result<Value, NarrowError> {
        let position = if at.foreign { Position::Data } else { position };
        let walked = each_schema(&mut value, position, &mut |node| {
            if let Some(Value::String(reference)) = node.get_mut("$ref")
                && self.is_shifting(reference)
                && let Some(target) = resolve(self.root, reference)
            {
                *reference = self.copy(reference, target, Version::Whole);
            }
        });
        self.spend(walked)?;
        Ok(value)
    }

    /// Removes the copies that turned out not to be needed, and the originals that nothing refers
    /// to now that a specialised copy is referred to instead.
    fn sweep(&self, out: &JsonObject, definitions: &mut Definitions) {
        let copies = self.copies.values().map(|name| (self.container, name.clone()));
        let pinned = self.copies.keys().filter(|(_, version)| *version == Version::Pinned);
        let originals = pinned.filter_map(|(reference, _)| definition(reference));
        let mut spare: BTreeSet<_> = copies.chain(originals).collect();
        let mut found = Vec::new();
        gather(out.iter(), &mut found);
        for (container, held) in definitions.iter() {
            for (name, schema) in held {
                let key = (*container, name.clone());
                let mut inner = Vec::new();
                // A name of its own may be referred to from anywhere.
                if gather([(name, schema)], &mut inner) {
                    spare.remove(&key);
                }
                if !spare.contains(&key) {
                    found.append(&mut inner);
                }
            }
        }
        while let Some(key) = found.pop() {
            if spare.remove(&key)
                && let Some(schema) = definitions.get(key.0).and_then(|held| held.get(&key.1))
            {
                gather([(&key.1, schema)], &mut found);
            }
        }
        for (container, held) in definitions {
            held.retain(|name, _| !spare.contains(&(*container, name.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{
        prelude::*,
        test_runner::{TestError, TestRunner},
    };
    use serde_json::json;
    use std::cell::Cell;

    fn pins() -> Vec<Pin> {
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

    fn object(value: Value) -> JsonObject {
        match value {
            Value::Object(object) => object,
            other => panic!("{other} is no object"),
        }
    }

    fn check(input: Value, expected: Value) {
        let got = narrow(&object(input.clone()), &pins()).map(Value::Object);
        assert_eq!(got, Ok(expected), "{input}");
    }

    /// As [`check`], below a root that declares `org`.
    fn check_below(node: Value, expected: Value) {
        let org = json!({"org": {"type": "string"}});
        let expected = json!({"properties": {}, "allOf": [expected]});
        check(json!({"properties": org, "allOf": [node]}), expected);
    }

    fn check_pin(schema: Value, arguments: Value, expected: Result<Value, &str>) {
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
    fn what_has_nothing_to_do_with_the_pins_stays() {
        let schema = json!({
            "type": "object",
            "description": "Finds things of an org.",
            "properties": {
                "where": {"properties": {"org": {"$ref": "#"}}, "required": ["org"]},
                "page": {"$ref": "#/$defs/page"},
                "same": {"$ref": "#/anyOf/0"},
            },
            "allOf": [{"$ref": "#/$defs/page"}, true, 7],
            "anyOf": [{"minProperties": 1}, {"enum": [{"where": "org"}, 1]}],
            "additionalProperties": false,
            "required": [],
            "$defs": {"page": {"properties": {"cursor": {"type": "string"}}}},
        });
        check(schema.clone(), schema);
        check(json!({}), json!({}));
    }

    #[test]
    fn properties_and_required() {
        check(
            json!({
                "type": "object",
                "properties": {"org": {"type": "string"}, "query": {"type": "string"}},
                "required": ["query", "org"],
            }),
            json!({
                "type": "object",
                "properties": {"query": {"type": "string"}},
                "required": ["query"],
            }),
        );
        check(
            json!({"properties": {"projectSlug": true}, "required": ["projectSlug"]}),
            json!({"properties": {}}),
        );
        check(json!({"required": ["org", "org", 7]}), json!({"required": [7]}));
        check_below(json!({"not": {"required": ["org"]}}), json!({"not": {}}));
        // Nobody inserts a parameter that nobody declares.
        check(json!({"not": {"required": ["org"]}}), json!({"not": false}));
        check(json!({"not": {"properties": {"org": false}}}), json!({"not": {"properties": {}}}));
    }

    #[test]
    fn a_value_that_does_not_fit_leaves_nothing() {
        let nothing = |org: Value| {
            let none = json!({"type": "object", "description": "d", "not": {}});
            check(json!({"description": "d", "properties": {"org": org}, "required": ["a"]}), none);
        };
        let fine =
            |org: Value| check(json!({"properties": {"org": org}}), json!({"properties": {}}));
        nothing(json!({"type": "integer"}));
        nothing(json!({"type": ["integer", "null"]}));
        nothing(json!({"const": "ACME"}));
        nothing(json!({"enum": ["other", 7]}));
        nothing(json!({"minLength": 5}));
        nothing(json!({"maxLength": 3.0}));
        nothing(json!({"allOf": [{"type": "string"}, {"const": "x"}]}));
        nothing(json!({"anyOf": [{"type": "null"}, false]}));
        nothing(json!({"oneOf": [{"type": "string"}, {"minLength": 1}]}));
        nothing(json!({"oneOf": [{"pattern": "x"}, {"minLength": 1}, true]}));
        nothing(json!({"not": {"const": "acme"}}));
        nothing(json!({"if": {"minLength": 1}, "then": {"const": "x"}}));
        nothing(json!({"if": {"minLength": 9}, "else": {"const": "x"}}));
        nothing(json!({"if": {"pattern": "x"}, "then": false, "else": false}));
        nothing(json!({"pattern": "x", "type": "null"}));
        fine(json!({"type": "string", "minLength": 4, "maxLength": 4, "enum": ["acme"]}));
        fine(json!({"type": ["string", "null"], "minimum": 7, "required": ["x"], "title": "t"}));
        fine(json!({"anyOf": [{"type": "null"}, {"const": "acme"}]}));
        fine(json!({"oneOf": [{"type": "null"}, {"type": "string"}]}));
        // What cannot be told accepts, also where it is turned around.
        fine(json!({"pattern": "^x"}));
        fine(json!({"not": {"pattern": "^a"}}));
        fine(json!({"oneOf": [{"format": "uuid"}, {"minLength": 1}]}));
        fine(json!({"$ref": "https://example.com/slug"}));
        fine(json!({"$id": "https://example.com/slug", "$ref": "#/x"}));
        fine(json!({"$ref": "#/properties/org"}));
        fine(json!({"$ref": "#"}));
        fine(json!({"type": 7, "enum": 7, "minLength": "x", "anyOf": 7, "not": 7}));
    }

    #[test]
    fn a_value_is_judged_through_references() {
        let schema = |slug: Value| {
            json!({
                "properties": {"org": {"$ref": "#/$defs/a%20slug"}, "n": {"$ref": "#/$defs/a slug"}},
                "$defs": {"a slug": slug},
            })
        };
        let fine = json!({
            "properties": {"n": {"$ref": "#/$defs/a slug"}},
            "$defs": {"a slug": {"type": "string"}},
        });
        check(schema(json!({"type": "string"})), fine);
        check(schema(json!({"type": "integer"})), json!({"type": "object", "not": {}}));
        check(schema(json!(false)), json!({"type": "object", "not": {}}));
    }

    #[test]
    fn other_properties() {
        let declared = json!({"properties": {"org": {}}});
        check_below(json!({"additionalProperties": false}), json!(false));
        check_below(json!({"additionalProperties": {"type": "null"}}), json!(false));
        let fits = json!({"additionalProperties": {"type": "string"}});
        check_below(fits.clone(), fits);
        check_below(
            json!({"properties": {"org": {}}, "additionalProperties": false}),
            json!({"properties": {}, "additionalProperties": false}),
        );
        let patterned = json!({"patternProperties": {"^o": {}}, "additionalProperties": false});
        check_below(patterned.clone(), patterned);
        check_below(json!({"propertyNames": {"maxLength": 2}}), json!(false));
        let names = json!({"propertyNames": {"maxLength": 3, "pattern": "x"}});
        check_below(names.clone(), names);
        check_below(json!({"unevaluatedProperties": false}), json!(false));
        check_below(json!({"unevaluatedProperties": {"type": "null"}}), json!(false));
        let strings = json!({"unevaluatedProperties": {"type": "string"}});
        check_below(strings.clone(), strings);
        for evaluating in ["additionalProperties", "unevaluatedProperties"] {
            let inner = json!({"allOf": [{(evaluating): true}], "unevaluatedProperties": false});
            check_below(inner.clone(), inner);
        }
        check_below(
            json!({"allOf": [declared], "unevaluatedProperties": false}),
            json!({"allOf": [{"properties": {}}], "unevaluatedProperties": false}),
        );
    }

    #[test]
    fn a_property_that_only_some_branch_evaluates_asks_for_that_branch() {
        let declared = json!({"properties": {"org": {}}, "required": ["a"]});
        let left = json!({"properties": {}, "required": ["a"]});
        let closed = |mut node: Value| {
            node["unevaluatedProperties"] = json!(false);
            node
        };
        check_below(
            closed(json!({"anyOf": [declared, {"required": ["b"]}]})),
            closed(json!({"anyOf": [left, {"required": ["b"]}], "allOf": [left]})),
        );
        check_below(
            closed(json!({"if": {"required": ["b"]}, "else": declared})),
            closed(json!({
                "if": {"required": ["b"]}, "else": left, "allOf": [{"not": {"required": ["b"]}}],
            })),
        );
        check_below(
            closed(json!({"dependentSchemas": {"b": declared}})),
            closed(json!({"dependentSchemas": {"b": left}, "allOf": [{"required": ["b"]}]})),
        );
        check_below(closed(json!({"not": declared})), json!(false));
        let open = closed(json!({"anyOf": [{"patternProperties": {"x": {}}}, true]}));
        let mut left = open.clone();
        left["allOf"] = json!([{"patternProperties": {"x": {}}}]);
        check_below(open, left);
    }

    #[test]
    fn numbers_of_properties() {
        check_below(json!({"minProperties": 3, "maxProperties": 3.0}), {
            json!({"minProperties": 2, "maxProperties": 2})
        });
        check_below(json!({"minProperties": 1, "maxProperties": 1}), json!({"maxProperties": 0}));
        check_below(json!({"maxProperties": 0}), json!(false));
        check_below(json!({"minProperties": "x", "maxProperties": -1}), {
            json!({"minProperties": "x", "maxProperties": -1})
        });
    }

    #[test]
    fn dependents() {
        check_below(
            json!({"dependentRequired": {"org": ["a", "org"], "a": ["org"], "b": ["org", "c"]}}),
            json!({"dependentRequired": {"b": ["c"]}, "required": ["a"]}),
        );
        check_below(
            json!({"required": ["a"], "dependentRequired": {"org": ["a", "b"]}}),
            json!({"required": ["a", "b"]}),
        );
        check_below(
            json!({"allOf": [{}], "dependentSchemas": {"org": {"required": ["org", "a"]}}}),
            json!({"allOf": [{}, {"required": ["a"]}]}),
        );
        check_below(
            json!({"dependentSchemas": {"a": {"required": ["org"]}, "project_slug": false}}),
            json!({"dependentSchemas": {"a": {}}}),
        );
        check_below(
            json!({"dependencies": {"a": ["org", "b"], "org": {"minProperties": 2}, "b": true}}),
            json!({"dependencies": {"a": ["b"], "b": true}, "allOf": [{"minProperties": 1}]}),
        );
        check(
            json!({"not": {"dependentRequired": {"a": ["org"]}, "dependentSchemas": {"b": {}}}}),
            json!({"not": {"dependentSchemas": {"a": false, "b": {}}}}),
        );
        check(
            json!({"properties": {"org": {}}, "not": {"dependentRequired": {"org": ["project_slug"]}}}),
            json!({"properties": {}, "not": false}),
        );
    }

    #[test]
    fn applicators() {
        let node = json!({"properties": {"org": {"const": "acme"}}, "required": ["org"]});
        let left = json!({"properties": {}});
        check(
            json!({
                "allOf": [node, true], "anyOf": [node, {"properties": {"org": {"const": "x"}}}],
                "oneOf": [node, 7], "not": node, "if": node, "then": node, "else": node,
            }),
            json!({
                "allOf": [left, true], "anyOf": [left, false],
                "oneOf": [left, 7], "not": left, "if": left, "then": left, "else": left,
            }),
        );
    }

    #[test]
    fn whole_instances() {
        check_below(json!({"const": {"org": "acme", "a": 1}}), json!({"const": {"a": 1}}));
        check_below(json!({"const": {"org": "other", "a": 1}}), json!(false));
        check_below(json!({"const": {"a": 1}}), json!(false));
        check_below(
            json!({"enum": [{"org": "acme"}, {"org": "x"}, 7, {"org": "acme", "project_slug": "web"}]}),
            json!({"enum": [{}]}),
        );
        check_below(json!({"enum": [{"org": "x"}]}), json!(false));
    }

    #[test]
    fn samples() {
        check(
            json!({
                "default": {"org": "x", "a": {"org": 1}},
                "examples": [{"org": "x"}, 7],
                "properties": {"a": {"default": {"org": 1}, "examples": [{"org": 1}]}},
            }),
            json!({
                "default": {"a": {"org": 1}},
                "examples": [{}, 7],
                "properties": {"a": {"default": {"org": 1}, "examples": [{"org": 1}]}},
            }),
        );
    }

    #[test]
    fn a_definition_for_the_root_is_specialised_once() {
        check(
            json!({
                "allOf": [{"$ref": "#/$defs/where"}, {"$ref": "#/$defs/where"}],
                "$defs": {"where": {"properties": {"org": {}}}, "where.pinned": {}, "other": {}},
            }),
            json!({
                "allOf": [{"$ref": "#/$defs/where.pinned2"}, {"$ref": "#/$defs/where.pinned2"}],
                "$defs": {"where.pinned2": {"properties": {}}, "where.pinned": {}, "other": {}},
            }),
        );
        // What mentions no pinned name may still count it; a pointer may lead into a definition.
        check(
            json!({
                "properties": {"org": {}},
                "allOf": [{"$ref": "#/$defs/two"}, {"$ref": "#/$defs/more/anyOf/0"}],
                "$defs": {"two": {"minProperties": 2}, "more": {"anyOf": [{"required": ["org"]}]}},
            }),
            json!({
                "properties": {},
                "allOf": [{"$ref": "#/$defs/two.pinned"}, {"$ref": "#/$defs/0.pinned"}],
                "$defs": {"two.pinned": {"minProperties": 1}, "0.pinned": {}},
            }),
        );
        // Also for nested values: the original stays, and so does what has an anchor.
        check(
            json!({
                "$ref": "#/definitions/a~1b",
                "definitions": {
                    "a/b": {"properties": {"org": {}, "child": {"$ref": "#/definitions/a~1b"}}},
                    "c": {"$anchor": "c", "$ref": "#/definitions/a~1b"},
                },
                "anyOf": [{"$ref": "#/definitions/c"}],
            }),
            json!({
                "$ref": "#/definitions/ab.pinned",
                "definitions": {
                    "a/b": {"properties": {"org": {}, "child": {"$ref": "#/definitions/a~1b"}}},
                    "ab.pinned": {"properties": {"child": {"$ref": "#/definitions/a~1b"}}},
                    "c": {"$anchor": "c", "$ref": "#/definitions/a~1b"},
                    "c.pinned": {"$ref": "#/definitions/ab.pinned"},
                },
                "anyOf": [{"$ref": "#/definitions/c.pinned"}],
            }),
        );
    }

    #[test]
    fn definitions_in_circles() {
        check(
            json!({
                "$ref": "#/$defs/a",
                "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a", "required": ["org"]}},
            }),
            json!({
                "$ref": "#/$defs/a.pinned",
                "$defs": {"a.pinned": {"$ref": "#/$defs/b.pinned"}, "b.pinned": {"$ref": "#/$defs/a.pinned"}},
            }),
        );
        check(
            json!({"$ref": "#", "properties": {"org": {"$ref": "#"}}}),
            json!({"$ref": "#", "properties": {}}),
        );
    }

    #[test]
    fn a_nested_reference_to_the_root_means_what_it_meant() {
        check(
            json!({
                "$id": "https://example.com/tool",
                "properties": {"org": {}, "child": {"$ref": "#"}, "data": {"const": {"$ref": "#"}}},
                "$defs": {"tree": {"items": {"$ref": "#"}}},
            }),
            json!({
                "$id": "https://example.com/tool",
                "properties": {"child": {"$ref": "#/$defs/root.whole"}, "data": {"const": {"$ref": "#"}}},
                "$defs": {
                    "tree": {"items": {"$ref": "#/$defs/root.whole"}},
                    "root.whole": {"properties": {
                        "org": {}, "child": {"$ref": "#/$defs/root.whole"},
                        "data": {"const": {"$ref": "#"}},
                    }},
                },
            }),
        );
    }

    #[test]
    fn a_nested_reference_to_what_is_removed_finds_a_copy() {
        check(
            json!({"properties": {
                "org": {"type": "string", "$anchor": "slug"},
                "team": {"$ref": "#/properties/org"},
                "more": {"items": {"$ref": "#/properties/team"}},
                "rest": {"$ref": "#/anyOf/0"},
            }, "anyOf": [{"required": ["org"]}]}),
            json!({
                "anyOf": [{}],
                "properties": {
                    "team": {"$ref": "#/$defs/org.whole"},
                    "more": {"items": {"$ref": "#/properties/team"}},
                    "rest": {"$ref": "#/$defs/0.whole"},
                },
                "$defs": {"org.whole": {"type": "string"}, "0.whole": {"required": ["org"]}},
            }),
        );
    }

    #[test]
    fn other_references_stay() {
        let schema = json!({
            "properties": {"org": {}, "a": {"$id": "https://example.com/a", "$ref": "#"}},
            "allOf": [
                {"$ref": "#where"}, {"$ref": "https://example.com/#/$defs/x"}, {"$ref": "#/%zz"},
                {"$ref": "#/$defs/none"}, {"$dynamicRef": "#meta"}, {"$ref": 7},
                {"$id": "https://example.com/b", "$ref": "#/$defs/c", "required": ["org"]},
                {"$ref": "#/$defs/b"}, {"$ref": "#/$defs/b/not"},
            ],
            "$defs": {
                "b": {"$id": "https://example.com/c", "required": ["org"], "not": {"maxProperties": 0}},
                "c": {"required": ["org"]},
            },
            "anyOf": [{"$ref": "#/$defs/c"}],
        });
        let mut left = schema.clone();
        left["properties"] = json!({"a": {"$id": "https://example.com/a", "$ref": "#"}});
        left["allOf"][6] = json!({"$id": "https://example.com/b", "$ref": "#/$defs/c"});
        left["$defs"]["c.pinned"] = json!({});
        left["anyOf"] = json!([{"$ref": "#/$defs/c.pinned"}]);
        check(schema, left);
        // What such a part refers to is not ours to read.
        check_pin(
            json!({
                "$ref": "#/$defs/b", "allOf": [{"$id": "https://example.com/b", "$ref": "#/$defs/c"}],
                "$defs": {"b": {"$id": "https://example.com/c", "required": ["org"]}, "c": {"required": ["org"]}},
            }),
            json!({}),
            Ok(json!({})),
        );
    }

    #[test]
    fn pins_what_is_declared_anywhere_for_the_root() {
        let given =
            |schema: Value| check_pin(schema, json!({"a": 1}), Ok(json!({"a": 1, "org": "acme"})));
        let declared = json!({"properties": {"org": {}}});
        given(declared.clone());
        given(json!({"required": ["org"]}));
        given(json!({"dependentRequired": {"a": ["org"]}}));
        given(json!({"dependencies": {"a": ["org"]}}));
        for key in ["allOf", "anyOf", "oneOf"] {
            given(json!({(key): [true, {"if": declared}]}));
        }
        for key in ["if", "then", "else"] {
            given(json!({(key): declared}));
        }
        given(json!({"dependentSchemas": {"a": declared}}));
        given(json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/definitions/b"}},
            "definitions": {"b": declared}}));
        let none = |schema: Value| check_pin(schema, json!({"a": 1}), Ok(json!({"a": 1})));
        none(json!({"properties": {"a": declared}, "$defs": {"org": declared}}));
        none(json!({"not": declared, "dependentRequired": {"org": ["a"]}}));
        none(json!({"properties": {"org": false}}));
        none(json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}));
        check_pin(
            json!({"properties": {"org": {}, "organizationSlug": {}, "project_slug": {}}}),
            json!({"organization_slug": "acme", "a": {"org": "x"}}),
            Ok(json!({
                "org": "acme", "organizationSlug": "acme", "project_slug": "web", "a": {"org": "x"},
            })),
        );
    }

    #[test]
    fn a_caller_never_wins_over_a_pin() {
        let refused = |arguments: Value, message: &str| {
            check_pin(json!({}), arguments.clone(), Err(message));
            check_pin(json!({"properties": {"org": {}}}), arguments, Err(message));
        };
        refused(json!({"org": "other"}), "`org` is fixed to `acme` by this URL; got `other`");
        check_pin(json!({}), json!({"organizationSlug": null, "a": 1}), Ok(json!({"a": 1})));
        refused(
            json!({"org": ["acme"]}),
            r#"`org` is fixed to `acme` by this URL; got `["acme"]`"#,
        );
        let long =
            format!("`project_slug` is fixed to `web` by this URL; got `{}`", "ä".repeat(100));
        refused(json!({"project_slug": "ä".repeat(5000)}), &long);
        check_pin(json!({}), json!({"org": "ACME", "a": 1}), Ok(json!({"a": 1})));
        check_pin(json!({"required": ["org"]}), json!({"org": "ACME"}), Ok(json!({"org": "acme"})));
        let mut pins = pins();
        pins[0].preserve_case = true;
        let pinned = |org: &str| pin(&JsonObject::new(), object(json!({"org": org})), &pins);
        assert_eq!(pinned("acme"), Ok(JsonObject::new()));
        assert_eq!(pinned("Acme").unwrap_err().got, "Acme");
    }

    #[test]
    fn bounds() {
        let nested = |depth: usize, inside: fn(Value) -> Value| {
            let schema = (1..depth).fold(json!({"required": ["org"]}), |inner, _| inside(inner));
            narrow(&object(schema), &pins()).map(|_| ())
        };
        let all_of = |inner| json!({"allOf": [inner]});
        assert_eq!(nested(limits::SCHEMA_DEPTH_MAX, all_of), Ok(()));
        assert_eq!(nested(limits::SCHEMA_DEPTH_MAX + 1, all_of), Err(NarrowError::Deep));
        assert_eq!(
            nested(limits::SCHEMA_DEPTH_MAX + 1, |i| json!({"not": i})),
            Err(NarrowError::Deep)
        );
        assert_eq!(nested(100, |i| json!({"items": [i]})), Err(NarrowError::Deep));
        let wide = |n: usize| object(json!({"required": ["org"], "enum": vec![1; n]}));
        assert!(narrow(&wide(limits::SCHEMA_VISITS_MAX / 2), &pins()).is_ok());
        assert_eq!(narrow(&wide(limits::SCHEMA_VISITS_MAX), &pins()), Err(NarrowError::Large));
        // A value is judged in the innermost schema as in the outermost.
        let around =
            |inner| (1..limits::SCHEMA_DEPTH_MAX).fold(inner, |inner, _| json!({"then": inner}));
        let deep = around(json!({"properties": {"org": {"const": "x"}}}));
        let left = around(json!(false));
        check(deep, left);
        // Twice as much with every definition.
        let mut definitions = JsonObject::new();
        for n in 0..60 {
            let next = json!({"$ref": format!("#/$defs/{}", n + 1)});
            definitions.insert(n.to_string(), json!({"anyOf": [next, next]}));
        }
        definitions.insert("60".to_owned(), json!({"pattern": "x"}));
        let org = json!({"$ref": "#/$defs/0"});
        let schema = json!({"properties": {"org": org}, "$defs": definitions});
        assert_eq!(narrow(&object(schema), &pins()), Err(NarrowError::Large));
        // A chain of definitions is no depth.
        let mut definitions = JsonObject::new();
        for n in 0..5000 {
            definitions.insert(n.to_string(), json!({"$ref": format!("#/$defs/{}", n + 1)}));
        }
        let schema = object(json!({"$ref": "#/$defs/0", "$defs": definitions}));
        assert_eq!(narrow(&schema, &pins()), Ok(schema.clone()));
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
        let pinned =
            prop::sample::subsequence(vec!["org", "organizationSlug", "projectSlug"], 0..=3);
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
        let lists =
            prop::collection::btree_map(name(), names(), 1..3).prop_map(|m| json!(m)).boxed();
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
        ProptestConfig { cases: config.cases.max(2_500), failure_persistence: None, ..config }
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
}
