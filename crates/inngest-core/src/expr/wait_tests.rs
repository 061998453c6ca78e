//! What waits mean, keep and are found by, a row each. The event of the run is always [`event`].

use serde_json::{Value as Json, json};

use super::table_tests::event;
use super::*;

/// Waits: `event` as ever, `async` as given.
fn check_wait(text: &str, incoming: Json, expected: bool) {
    let event = event();
    let vars = Vars {
        event: Some(&event),
        incoming: Some(&incoming),
        now: Some(0),
        ..Vars::default()
    };
    let program = Program::parse(text).unwrap();
    let found = program.matches_wait(&vars).unwrap_or(false);
    assert_eq!(found, expected, "`{text}` on {incoming}");
    // What a wait stores is enough.
    let paths = program.event_paths();
    let stored = paths.map_or(event.clone(), |paths| prune(&event, &paths));
    let vars = Vars {
        event: Some(&stored),
        ..vars
    };
    assert_eq!(
        program.matches_wait(&vars).unwrap_or(false),
        expected,
        "`{text}` on {incoming}, pruned"
    );
    let key = program.selective_key(&event);
    if expected {
        assert!(
            !program.never_matches(&event),
            "`{text}` matches {incoming}"
        );
        if let Some(key) = key {
            assert_eq!(key_hash_at(&incoming, &key.path), Some(key.value.hash()));
        }
    }
}

#[test]
fn waits_compare_both_events() {
    let with = |key: &str, value: Json| json!({"data": {key: value}});
    check_wait(
        "async.data.s == event.data.s",
        with("s", json!("hello")),
        true,
    );
    check_wait(
        "async.data.s == event.data.s",
        with("s", json!("other")),
        false,
    );
    check_wait("event.data.n == async.data.n", with("n", json!(5.0)), true);
    check_wait("event.data.n == async.data.n", with("n", json!("5")), false);
    check_wait(
        "event.data.s == 'hello' && async.data.v == 1",
        with("v", json!(1)),
        true,
    );
    check_wait(
        "event.data.s == 'nope' && async.data.v == 1",
        with("v", json!(1)),
        false,
    );
    check_wait(
        "event.data.s == 'hello' || async.data.v == 1",
        with("w", json!(1)),
        true,
    );
    // An absent trigger value matches nothing, whichever side it stands on.
    for absent in [
        json!({"data": {}}),
        json!({"data": {"y": null}}),
        json!({"data": {"y": "a"}}),
    ] {
        check_wait("event.data.missing == async.data.y", absent.clone(), false);
        check_wait("async.data.y == event.data.missing", absent.clone(), false);
        check_wait("async.data.y >= event.data.missing", absent, false);
    }
    // Nor does an absent incoming value.
    check_wait("event.data.s == async.data.y", json!({"data": {}}), false);
    check_wait(
        "event.data.null_field == async.data.y",
        json!({"data": {}}),
        false,
    );
    check_wait(
        "event.data.null_field == async.data.y",
        with("y", json!(null)),
        true,
    );
    check_wait(
        "event.data.missing != async.data.y",
        with("y", json!("a")),
        true,
    );
    // One side alone is as in triggers.
    check_wait("async.data.y == null", json!({"data": {}}), true);
    check_wait(
        "event.data.missing == null && async.data.y == 1",
        with("y", json!(1)),
        true,
    );
    check_wait(
        "event.data.list == async.data.l",
        with("l", json!(["a", "b"])),
        true,
    );
    check_wait("event.data.t == async.data.t", with("t", json!(true)), true);
    // A value with a quote compares like any other.
    check_wait(
        "event.data.quoted == async.data.q",
        with("q", json!("a\"b")),
        true,
    );
    check_wait(
        "async.data.q == event.data.s + 'x'",
        with("q", json!("hellox")),
        true,
    );
    check_wait(
        "async.data.q.contains(event.data.s)",
        with("q", json!("oh hello")),
        true,
    );
    check_wait(
        "async.data.n > event.data.n && async.data.n < 10",
        with("n", json!(7)),
        true,
    );
    check_wait(
        "async.data.v == 'a' && async.data.n > 'a'",
        json!({"data": {"v": "a", "n": 1}}),
        false,
    );
    check_wait(
        "event.data.map[event.data.list[0]] == async.data.q || true",
        with("q", json!(1)),
        true,
    );
}

#[test]
fn the_paths_a_wait_needs_are_known() {
    let check = |text: &str, expected: Option<&[&str]>| {
        let found = Program::parse(text).unwrap().event_paths();
        let expected = expected.map(|paths| {
            paths
                .iter()
                .map(|path| (*path).to_owned())
                .collect::<Vec<_>>()
        });
        assert_eq!(found, expected, "`{text}`");
    };
    check("async.data.id == event.data.id", Some(&["data.id"]));
    check("async.data.id == 1", Some(&[]));
    check(
        "event.data.b == 1 && event.data.a == 1 && event.data.b == 2",
        Some(&["data.a", "data.b"]),
    );
    check(
        "event.data.a.b == 1 && has(event.data.a)",
        Some(&["data.a"]),
    );
    check("event.data.list[0].x == 1", Some(&["data.list"]));
    check("event.data[async.data.k] == 1", Some(&["data"]));
    check("event.data['a.b'] == 1", Some(&["data"]));
    check("event['data']['a'] == 1", Some(&["data.a"]));
    check(
        "event.data.list.exists(v, v == async.data.v)",
        Some(&["data.list"]),
    );
    check("event == async", None);
    check("event[async.data.k] == 1", None);
    check("event.exists(k, k == 'a')", None);
    check("event['a.b'] == 1", None);
}

#[test]
fn a_wait_is_found_by_its_first_equality() {
    let check = |text: &str, expected: Option<(&str, KeyValue)>| {
        let found = Program::parse(text).unwrap().selective_key(&event());
        let expected = expected.map(|(path, value)| SelectiveKey {
            path: path.to_owned(),
            value,
        });
        assert_eq!(found, expected, "`{text}`");
    };
    let text = |text: &str| KeyValue::Text(text.to_owned());
    check("async.data.id == 'a'", Some(("data.id", text("a"))));
    check("'a' == async.data.id", Some(("data.id", text("a"))));
    check(
        "event.data.s == async.data.id",
        Some(("data.id", text("hello"))),
    );
    check(
        "async.data.id == event.data.s + '-' + event.data.n",
        Some(("data.id", text("hello-5"))),
    );
    check(
        "async.data.n == event.data.n",
        Some(("data.n", KeyValue::Integer(5))),
    );
    check(
        "async.data.n == 5.0",
        Some(("data.n", KeyValue::Integer(5))),
    );
    check(
        "async.data.t == true",
        Some(("data.t", KeyValue::Bool(true))),
    );
    check(
        "async.user.id == 'u' && async.data.id == 'a'",
        Some(("user.id", text("u"))),
    );
    check(
        "async.data.n > 1 && (async.data.id == 'a' && true)",
        Some(("data.id", text("a"))),
    );
    check("async.data['id'] == 'a'", Some(("data.id", text("a"))));
    check("async.data['a.b'] == 'a'", None);
    check("async.data.list[0] == 'a'", None);
    check("async.data.n == 5.5", None);
    check("async.data.id == null", None);
    check("async.data.id == event.data.x", None);
    check("async.data.id == event.data.null_field", None);
    check("async.data.id == event.data.list", None);
    check("async.data.id != 'a'", None);
    check("async.data.id == 'a' || async.data.id == 'b'", None);
    check("async.data.id == async.data.other", None);
    check("async.data.id == string(now())", None);
    check("async == 'a'", None);
    check("!(async.data.id == 'a')", None);
    check("event.data.s == 'hello'", None);
}

#[test]
fn hopeless_waits_are_recognised() {
    let check = |text: &str, expected: bool| {
        assert_eq!(
            Program::parse(text).unwrap().never_matches(&event()),
            expected,
            "`{text}`"
        );
    };
    check("event.data.s == 'nope' && async.data.v == 1", true);
    check("event.data.s == 'hello' && async.data.v == 1", false);
    check("event.data.missing == async.data.y", true);
    check("async.data.y == event.data.missing && true", true);
    check("event.data.missing != async.data.y", false);
    check(
        "event.data.missing == async.data.y || async.data.z == 1",
        false,
    );
    check("event.data.missing == null && async.data.v == 1", false);
    check("false", true);
    check("async.data.v == 1", false);
    check("now() < date('2000-01-01')", false);
}

#[test]
fn hashes_never_change() {
    let check = |value: Json, expected: Option<i64>| {
        assert_eq!(
            key_hash_at(&json!({"data": {"v": value.clone()}}), "data.v"),
            expected,
            "{value}"
        );
    };
    let integer = KeyValue::Integer(5).hash();
    let text = KeyValue::Text("5".to_owned()).hash();
    assert_eq!((text, integer, KeyValue::Bool(true).hash()), HASHES);
    check(json!(5), Some(integer));
    check(json!(5.0), Some(integer));
    check(json!("5"), Some(text));
    check(json!(-0.0), Some(KeyValue::Integer(0).hash()));
    check(json!(5.5), None);
    check(json!(null), None);
    check(json!([]), None);
    check(json!({}), None);
    assert_eq!(key_hash_at(&json!({"data": 1}), "data.v.w"), None);
    assert_eq!(key_hash_at(&json!([1]), "0"), None);
}

/// Stored with waits: of the text `5`, the number 5 and true.
const HASHES: (i64, i64, i64) = (
    -859_092_151_291_078_777,
    2_497_939_601_620_676_112,
    1_151_421_812_079_010_336,
);

#[test]
fn pruning_keeps_what_lies_at_the_paths() {
    let check = |paths: &[&str], expected: Json| {
        let event = json!({"name": "a", "data": {"a": {"b": 1, "c": null}, "l": [1, 2], "s": "x"}});
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        assert_eq!(prune(&event, &paths), expected, "{paths:?}");
    };
    check(&[], json!({}));
    check(&["data.a.b"], json!({"data": {"a": {"b": 1}}}));
    check(
        &["data.a.b", "data.a.c", "name"],
        json!({"name": "a", "data": {"a": {"b": 1, "c": null}}}),
    );
    check(
        &["data.a", "data.a.b"],
        json!({"data": {"a": {"b": 1, "c": null}}}),
    );
    check(&["data.l"], json!({"data": {"l": [1, 2]}}));
    check(
        &["data.gone.deep", "data.s.deep", "gone"],
        json!({"data": {}}),
    );
}
