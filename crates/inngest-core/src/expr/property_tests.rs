//! What holds for every expression and every event.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;

fn json_value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (-3_i64..4).prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        prop::sample::select(vec![0.5, -0.0, 2.0, 1e300]).prop_map(Json::from),
        "[ab]{0,2}".prop_map(Json::from),
        ".{0,5}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
            prop::collection::btree_map("[a-c]", inner, 0..3)
                .prop_map(|fields| Json::Object(fields.into_iter().collect())),
        ]
    })
}

fn event() -> impl Strategy<Value = Json> {
    json_value().prop_map(|data| json!({"name": "a", "data": data}))
}

/// Expressions that parse, built from parts.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "event.data",
            "event.data.a",
            "event.data.a.b",
            "event.data.b[0]",
            "event.data['c']",
            "event"
        ])
        .prop_map(str::to_owned),
        prop::sample::select(vec![
            "async.data",
            "async.data.a",
            "async.data.a.b",
            "async.data.b",
            "async.data[1]",
            "vars.a"
        ])
        .prop_map(str::to_owned),
        prop::sample::select(vec![
            "null", "true", "false", "0", "1", "-2", "3u", "0.5", "2.0", "1e300", "'a'", "''",
            "'1'", "b'a'", "[]", "{}", "'1h'", "int"
        ])
        .prop_map(str::to_owned),
        Just("now()".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let operator = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">=", "&&", "+", "-", "*", "/", "%", "in"]);
        let function = prop::sample::select(vec![
            "size", "lowercase", "uppercase", "b64decode", "json_parse", "date", "now_plus", "now_minus", "int", "uint", "double", "string", "bool", "bytes",
            "timestamp", "duration", "type", "dyn", "!", "-",
        ]);
        let method = prop::sample::select(vec!["contains", "startsWith", "endsWith", "getHours"]);
        let run = prop::sample::select(vec!["exists", "all", "exists_one", "map", "filter"]);
        prop_oneof![
            4 => (inner.clone(), operator, inner.clone()).prop_map(|(left, operator, right)| format!("({left} {operator} {right})")),
            2 => (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} == {right} && {right} == {left})")),
            1 => (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("(dyn({left}) || dyn({right}))")),
            2 => (function, inner.clone()).prop_map(|(function, operand)| format!("{function}({operand})")),
            1 => (inner.clone(), method, inner.clone()).prop_map(|(target, method, arg)| format!("{target}.{method}({arg})")),
            1 => (inner.clone(), run, inner.clone()).prop_map(|(list, run, body)| format!("[{list}, event.data].{run}(v, v == {body})")),
            1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}][{b}]")),
            1 => (inner.clone(), inner).prop_map(|(a, b)| format!("{{'a': {a}, {b}: 1}}")),
        ]
    })
}

/// Expressions of the kind that waits have.
fn wait_expression() -> impl Strategy<Value = String> {
    let part = (
        prop::sample::select(vec![
            "async.data.a",
            "async.data.b",
            "async.data.a.b",
            "async.data",
        ]),
        prop::sample::select(vec!["==", "==", "==", "!=", "<"]),
        prop::sample::select(vec![
            "event.data.a",
            "event.data.b",
            "event.data.a.b",
            "'a'",
            "1",
            "2.0",
            "true",
            "null",
            "event.data.a + event.data.b",
            "async.data.b",
        ]),
        any::<bool>(),
    )
        .prop_map(|(left, operator, right, swapped)| {
            if swapped {
                format!("{right} {operator} {left}")
            } else {
                format!("{left} {operator} {right}")
            }
        });
    prop_oneof![
        prop::collection::vec(part, 1..4).prop_map(|parts| parts.join(" && ")),
        expression(),
    ]
}

fn use_all(text: &str, event: &Json, incoming: &Json) {
    let Ok(program) = Program::parse(text) else {
        return;
    };
    let vars = Vars {
        event: Some(event),
        incoming: Some(incoming),
        now: Some(1_785_574_800_000),
        ..Vars::default()
    };
    let _ = program.check_restrictive();
    let _ = program.matches(&vars);
    let _ = program.matches_wait(&vars);
    let _ = program.evaluate(&vars);
    let _ = program.key(&vars);
    let _ = program.number(&vars);
    let _ = program.number(&Vars::default());
    let _ = program.never_matches(event);
    let _ = program.selective_key(event);
    let _ = program.event_paths().map(|paths| prune(event, &paths));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_text_is_survived(text in ".*", event in event(), incoming in json_value()) {
        use_all(&text, &event, &incoming);
    }

    #[test]
    fn any_tokens_are_survived(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "event", "async", ".", "data", "a", "(", ")", "[", "]", "{", "}", ",", ":", "?", "&&", "||", "!", "-", "+", "*", "/", "%", "==", "!=", "<",
            "<=", " in ", "1", "2u", "0.5", "1e9", "0x1F", "'a'", "\"", "'", "'''", "r'", "b'", "\\", "\\u", "has(", "size(", ".exists(v, ", ".map(v,", "null",
            "true", "//", "\n", "é", "`", "@", ";", "'\\xff'", "b'\\xff'", "9223372036854775808", "matches('a', ", "now()", "\u{0}", "$", "..", "1.", ".5",
        ]), 0..24),
        event in event(), incoming in json_value(),
    ) {
        use_all(&tokens.concat(), &event, &incoming);
    }

    #[test]
    fn any_expression_on_any_event_is_survived(text in expression(), event in event(), incoming in event()) {
        use_all(&text, &event, &incoming);
    }

    #[test]
    fn an_event_that_lacks_the_key_never_matches(text in wait_expression(), event in event(), incoming in event()) {
        let Ok(program) = Program::parse(&text) else { return Ok(()); };
        let vars = Vars { event: Some(&event), incoming: Some(&incoming), now: None, ..Vars::default() };
        let matches = program.matches_wait(&vars).unwrap_or(false);
        if let Some(key) = program.selective_key(&event)
            && key_hash_at(&incoming, &key.path) != Some(key.value.hash())
        {
            prop_assert!(!matches, "{} on {} and {}", text, event, incoming);
        }
        if program.never_matches(&event) {
            prop_assert!(!matches, "{} on {} and {}", text, event, incoming);
        }
    }

    #[test]
    fn a_pruned_event_gives_the_same_result(text in wait_expression(), event in event(), incoming in event()) {
        let Ok(program) = Program::parse(&text) else { return Ok(()); };
        let Some(paths) = program.event_paths() else { return Ok(()); };
        let pruned = prune(&event, &paths);
        let whole = Vars { event: Some(&event), incoming: Some(&incoming), now: Some(0), ..Vars::default() };
        let part = Vars { event: Some(&pruned), ..whole };
        prop_assert_eq!(program.matches_wait(&whole), program.matches_wait(&part), "{}", text);
        prop_assert_eq!(program.evaluate(&whole), program.evaluate(&part), "{}", text);
        prop_assert_eq!(program.selective_key(&event), program.selective_key(&pruned), "{}", text);
    }

    #[test]
    fn chains_of_any_length_are_survived(part in prop::sample::select(vec!["!", "-", "- ", "(", "[", "a.", "1+", "true&&", "true||", "1<", "true?1:", "{1:", "f(", "[0]", ".b", "(-", "!!(", "dyn("]), count in 0_usize..4_100) {
        let text = part.repeat(count);
        use_all(&text, &json!({}), &json!({}));
        use_all(&format!("{text}true"), &json!({}), &json!({}));
        use_all(&format!("event{text}"), &json!({}), &json!({}));
    }
}
