//! What a wait keeps of the event that started its run, and the key under which an index finds the wait.
//!
//! Nothing is written into the expression: a wait stores the expression and the part of the event it reads, and both sides are
//! evaluated together when another event comes in.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

use super::check::Function;
use super::eval::{Evaluator, Rules, relates_events};
use super::parse::{Compare, Key, Node, Path, Root};
use super::value::Value;
use super::{Program, Vars};

/// An equality that an incoming event must fulfil before the whole expression can be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectiveKey {
    /// Where the incoming event holds the value: fields below `async`, joined by dots, such as `data.id`.
    pub path: String,
    pub value: KeyValue,
}

/// A value that an index can find. Numbers with a fraction are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyValue {
    Text(String),
    /// Also for `5.0`.
    Integer(i128),
    Bool(bool),
}

impl KeyValue {
    /// A number that stands for the value in an index: the same on every machine and in every release. Different values may share
    /// one, so what is found by it still has to be evaluated.
    pub fn hash(&self) -> i64 {
        let mut digest = Sha256::new();
        match self {
            Self::Text(text) => {
                digest.update(b"t");
                digest.update(text.as_bytes());
            }
            Self::Integer(number) => {
                digest.update(b"n");
                digest.update(number.to_be_bytes());
            }
            Self::Bool(value) => digest.update([b'b', u8::from(*value)]),
        }
        digest
            .finalize()
            .iter()
            .take(8)
            .fold(0_i64, |hash, byte| hash << 8 | i64::from(*byte))
    }

    fn from_value(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Text(text) => Some(Self::Text(text.to_string())),
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Number(number) => number.to_whole().map(Self::Integer),
            _ => None,
        }
    }
}

/// The hash of the value that `event` holds at `path` (fields joined by dots), equal to [`KeyValue::hash`] of an equal value. `None`
/// for missing and null, lists and maps, and numbers with a fraction: no wait is stored under those.
pub fn key_hash_at(event: &Json, path: &str) -> Option<i64> {
    let mut found = event;
    for field in path.split('.') {
        found = found.as_object()?.get(field)?;
    }
    KeyValue::from_value(&Value::from_json(found)).map(|value| value.hash())
}

/// The part of `event` that lies at `paths` (fields joined by dots), in the same shape. An expression that reads only these paths
/// has the same result on both.
pub fn prune(event: &Json, paths: &[String]) -> Json {
    let mut pruned = Json::Object(Map::new());
    let whole = paths.iter().any(String::is_empty);
    if whole {
        return event.clone();
    }
    // Shorter paths first, so that what lies below them is there already.
    let sorted: BTreeSet<&str> = paths.iter().map(String::as_str).collect();
    for path in sorted {
        copy_path(event, &mut pruned, path);
    }
    pruned
}

fn copy_path(from: &Json, to: &mut Json, path: &str) {
    let (Some(from), Some(to)) = (from.as_object(), to.as_object_mut()) else {
        return;
    };
    let (field, rest) = match path.split_once('.') {
        Some((field, rest)) => (field, Some(rest)),
        None => (path, None),
    };
    let Some(found) = from.get(field) else {
        return;
    };
    match rest {
        None => {
            to.insert(field.to_owned(), found.clone());
        }
        // Nothing lies below it, and without it the path is missing all the same.
        Some(_) if !found.is_object() => {}
        Some(rest) => {
            let below = to.entry(field).or_insert_with(|| Json::Object(Map::new()));
            copy_path(found, below, rest);
        }
    }
}

impl Program {
    /// Fields below `event` that the expression reads, such as `data.userId`; each with all that lies below it, none below another.
    /// `None` when it uses `event` as a whole, and all of it has to be kept.
    pub fn event_paths(&self) -> Option<Vec<String>> {
        let mut paths = BTreeSet::new();
        if !collect_paths(&self.0.node, &mut paths) {
            return None;
        }
        let is_covered = |path: &str| {
            path.match_indices('.')
                .any(|(end, _)| paths.contains(&path[..end]))
        };
        Some(
            paths
                .iter()
                .filter(|path| !is_covered(path))
                .cloned()
                .collect(),
        )
    }

    /// The first equality at the top level between a path below `async` and something that `event` alone gives: a text, a whole
    /// number or a boolean. `None` when there is none; then each incoming event has to be tried.
    pub fn selective_key(&self, event: &Json) -> Option<SelectiveKey> {
        let vars = Vars {
            event: Some(event),
            ..Vars::default()
        };
        let mut evaluator = Evaluator::new(vars, Rules::Wait);
        let mut parts = Vec::new();
        collect_conjuncts(&self.0.node, &mut parts);
        for part in parts {
            let Node::Compare(Compare::Equal, left, right) = part else {
                continue;
            };
            for (side, other) in [(left, right), (right, left)] {
                let Some(path) = incoming_path(side) else {
                    continue;
                };
                if !is_fixed_by_event(other) {
                    continue;
                }
                let value = evaluator.eval(other).ok();
                if let Some(value) = value.as_ref().and_then(KeyValue::from_value) {
                    return Some(SelectiveKey { path, value });
                }
            }
        }
        None
    }

    /// Whether no incoming event can fulfil the expression, whatever it holds, because `event` already decides against it. Such a
    /// wait needs only its timer. `false` means nothing: the expression may still never be true.
    pub fn never_matches(&self, event: &Json) -> bool {
        let vars = Vars {
            event: Some(event),
            ..Vars::default()
        };
        let mut evaluator = Evaluator::new(vars, Rules::Wait);
        let mut parts = Vec::new();
        collect_conjuncts(&self.0.node, &mut parts);
        parts.into_iter().any(|part| match part {
            Node::Compare(operator, left, right)
                if *operator != Compare::NotEqual && relates_events(left, right) =>
            {
                [left, right].into_iter().any(|side| {
                    is_fixed_by_event(side)
                        && evaluator.eval(side).is_ok_and(|value| value.is_missing())
                })
            }
            _ => {
                is_fixed_by_event(part)
                    && evaluator.eval(part).is_ok_and(|value| !value.is_truthy())
            }
        })
    }
}

/// Whether the event alone decides the value: nothing of `async` or of a macro around, and no clock.
fn is_fixed_by_event(node: &Node) -> bool {
    let is_open = match node {
        Node::Path(path) => path.root != Root::Event,
        Node::Call(Function::Now | Function::NowPlus | Function::NowMinus, _) => true,
        // Its variable is a path that is not `event`, so a macro counts as open anyway.
        _ => false,
    };
    let mut is_fixed = !is_open;
    node.for_each_part(&mut |part| is_fixed = is_fixed && is_fixed_by_event(part));
    is_fixed
}

fn collect_conjuncts<'n>(node: &'n Node, parts: &mut Vec<&'n Node>) {
    match node {
        Node::And(left, right) => {
            collect_conjuncts(left, parts);
            collect_conjuncts(right, parts);
        }
        other => parts.push(other),
    }
}

/// The fields below `async`, when they can be written as one path.
fn incoming_path(node: &Node) -> Option<String> {
    match node {
        Node::Path(path) if path.root == Root::Incoming && !path.keys.is_empty() => {
            let (fields, is_whole) = leading_fields(path);
            is_whole.then(|| fields.join("."))
        }
        _ => None,
    }
}

/// The fields of a path up to the first key that is no plain field, and whether that is all of them. A name with a dot in it is not
/// plain, since a joined path could not tell it from two.
fn leading_fields(path: &Path) -> (Vec<&str>, bool) {
    let fields: Vec<&str> = path
        .keys
        .iter()
        .map_while(|key| match key {
            Key::Field(name) if !name.contains('.') => Some(name.as_str()),
            Key::Field(_) | Key::Element(_) => None,
        })
        .collect();
    let is_whole = fields.len() == path.keys.len();
    (fields, is_whole)
}

/// Adds the paths that `node` reads below `event`. `false` when it uses `event` as a whole.
fn collect_paths(node: &Node, paths: &mut BTreeSet<String>) -> bool {
    if let Node::Path(path) = node
        && path.root == Root::Event
    {
        let (fields, _) = leading_fields(path);
        if fields.is_empty() || fields == [""] {
            return false;
        }
        paths.insert(fields.join("."));
    }
    let mut complete = true;
    node.for_each_part(&mut |part| complete = complete && collect_paths(part, paths));
    complete
}
