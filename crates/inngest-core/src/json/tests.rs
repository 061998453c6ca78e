use proptest::prelude::*;
use serde_json::json;

use super::*;

fn check(input: &str, expected: &str) {
    let got = Json::parse(input.as_bytes()).unwrap_or_else(|error| panic!("{input}: {error}"));
    assert_eq!(got.as_str(), expected, "input {input}");
    assert_eq!(
        Json::parse(got.as_bytes()).unwrap(),
        got,
        "canonical of canonical of {input}"
    );
}

#[test]
fn documents_take_their_canonical_form() {
    check(" null ", "null");
    check("[ 1 , 2 ]", "[1,2]");
    check(
        r#"{ "b" : 1, "a" : { "d" : [ ], "c" : { } } }"#,
        r#"{"a":{"c":{},"d":[]},"b":1}"#,
    );
    check(r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#);
    check(r#"{"a":1,"\u0061":2}"#, r#"{"a":2}"#);
    check(
        r#""\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/""#,
        r#""€$\u000f\nA'B\"\\\\\"/""#,
    );
    check(
        r#""\b\f\n\r\t\u007f\u2028""#,
        "\"\\b\\f\\n\\r\\t\u{7f}\u{2028}\"",
    );
    check(r#""\ud83d\ude00""#, "\"😀\"");
    check(
        r#""\ud83d\u0041\udc00\ud800""#,
        "\"\u{fffd}A\u{fffd}\u{fffd}\"",
    );
}

#[test]
fn keys_are_in_the_order_of_utf16_code_units() {
    check(
        r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji","\u0080":"Control","\u00f6":"Latin"}"#,
        "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"ö\":\"Latin\",\"€\":\"Euro Sign\",\"😀\":\"Emoji\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
    );
    check(
        "{\"\\\\\":1,\"\\n\":2,\"[\":3}",
        "{\"\\n\":2,\"[\":3,\"\\\\\":1}",
    );
}

#[test]
fn numbers_are_written_as_javascript_writes_them() {
    for (input, expected) in [
        ("0", "0"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("1.0", "1"),
        ("10e-1", "1"),
        ("333333333.33333329", "333333333.3333333"),
        ("1E30", "1e+30"),
        ("4.50", "4.5"),
        ("2e-3", "0.002"),
        ("0.000000000000000000000000001", "1e-27"),
        ("1e21", "1e+21"),
        ("123456789012345678", "123456789012345680"),
        ("9007199254740993", "9007199254740992"),
        ("18446744073709551616", "18446744073709552000"),
        ("5e-324", "5e-324"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("-1e-400", "0"),
    ] {
        check(input, expected);
    }
}

#[test]
fn what_is_not_json_is_refused() {
    for bad in [
        "",
        " ",
        "nul",
        "tru",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "1e400",
        "-1e400",
        "NaN",
        "\"a",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "[1,]",
        "[1 2]",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\" 1}",
        "{\"a\":}",
        "1 2",
        "{}{}",
        "[",
        "{",
        "\"\\",
        "\"\\u",
        "\u{feff}1",
    ] {
        assert!(Json::parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
    assert_eq!(Json::parse(b"\"\xff\"").unwrap_err().reason, "not UTF-8");
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(Json::parse(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert!(Json::parse(nested(MAX_DEPTH + 1).as_bytes()).is_err());
    assert!(Json::parse("[".repeat(1_000_000).as_bytes()).is_err());
}

#[test]
fn payloads_do_not_reach_debug_output() {
    assert_eq!(format!("{:?}", Json::string("secret")), "Json(8 bytes)");
}

#[test]
fn members_are_found_without_reading_the_rest() {
    let document = Json::parse(br#"{"a":"}\"{","b":{"b":[1,"]"]},"c":-1.5,"\"":null}"#).unwrap();
    for (key, expected) in [
        ("a", Some(r#""}\"{""#)),
        ("b", Some(r#"{"b":[1,"]"]}"#)),
        ("c", Some("-1.5")),
        ("\"", Some("null")),
        ("d", None),
    ] {
        assert_eq!(
            document.member(key).as_ref().map(Json::as_str),
            expected,
            "{key}"
        );
    }
    assert_eq!(Json::string("a").member("a"), None);
    assert_eq!(Json::empty_object().member("a"), None);
}

#[test]
fn arrays_and_objects_are_taken_apart() {
    let document = Json::parse(br#"[1,"a,]",{"b":[2],"\n":{}},[],[[3]]]"#).unwrap();
    let items: Vec<Json> = document.items().collect();
    assert_eq!(
        items.iter().map(Json::as_str).collect::<Vec<_>>(),
        ["1", r#""a,]""#, r#"{"\n":{},"b":[2]}"#, "[]", "[[3]]"]
    );
    let members: Vec<(String, Json)> = items[2]
        .members()
        .map(|(key, value)| (key.into_owned(), value))
        .collect();
    assert_eq!(
        members,
        [
            ("\n".to_owned(), Json::empty_object()),
            ("b".to_owned(), Json::array([&Json::integer(2)]))
        ]
    );
    assert_eq!(
        items[3].items().count() + items[0].items().count() + items[0].members().count(),
        0
    );
}

#[test]
fn objects_put_together_are_canonical() {
    let (one, two) = (
        Json::integer(1),
        Json::array([&Json::integer(2), &Json::null()]),
    );
    let object = Json::object([("b", &one), ("a", &two), ("b", &two)]);
    assert_eq!(object.as_str(), r#"{"a":[2,null],"b":[2,null]}"#);
    assert_eq!(
        serde_json::to_string(&json!({"x": object.raw()})).unwrap(),
        r#"{"x":{"a":[2,null],"b":[2,null]}}"#
    );
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(Value::from),
        "\\PC*".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..8)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// Numbers are doubles in canonical form, so they are compared as such.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            // The reader of the comparison is off by a bit in the last place now and then; ours is not.
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= a.abs() * 4.0 * f64::EPSILON
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        _ => a == b,
    }
}

proptest! {
    #[test]
    fn canonical_form_keeps_the_value(value in any_value()) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        let parsed = Json::parse(text.as_bytes()).unwrap();
        prop_assert!(same(&parsed.to_value(), &value));
        prop_assert_eq!(&Json::from_value(&value), &parsed);
        prop_assert_eq!(&Json::parse(parsed.as_bytes()).unwrap(), &parsed);
        if let Value::Object(members) = &value {
            for (key, member) in members {
                prop_assert_eq!(parsed.member(key), Some(Json::from_value(member)));
            }
        }
    }

    #[test]
    fn reading_agrees_with_serde_on_what_is_json(text in "[\\[\\]{}\",:0-9eE.\\-+ a-z\\\\]{0,24}") {
        let ours = Json::parse(text.as_bytes());
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            prop_assert!(same(&ours.unwrap().to_value(), &value));
        } else {
            prop_assert!(ours.is_err());
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = Json::parse(&bytes);
        let document = Json::from_canonical(Bytes::from(bytes));
        let _ = document.member("a");
        prop_assert!(document.members().count() + document.items().count() <= document.len());
    }
}
