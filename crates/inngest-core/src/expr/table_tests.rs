//! What expressions mean, a row each. The event is always [`event`].

use serde_json::{Value as Json, json};

use super::*;

pub(super) fn event() -> Json {
    json!({
        "name": "shop/order.placed",
        "id": "evt-1",
        "ts": 1_785_574_800_000_i64,
        "data": {
            "s": "hello", "empty": "", "quoted": "a\"b", "b64": "aGVsbG8=", "json": "{\"a\": {\"b\": [1, 2]}}", "word": "Hello_World1",
            "date": "2026-08-01T09:00:00Z", "day": "2026-08-01",
            "n": 5, "half": 2.5, "big": 9_007_199_254_740_993_i64, "huge": 18_446_744_073_709_551_615_u64, "zero": 0,
            "t": true, "f": false, "null_field": null,
            "list": ["a", "b"], "numbers": [1, 2, 3], "none": [], "people": [{"name": "Ann", "age": 30}, {"name": "Bob", "age": 17}],
            "map": {"k": "v", "a.b": 1}, "no_map": {}
        }
    })
}

/// What a row says the result is.
#[derive(Debug)]
enum Expected {
    Is(Json),
    /// Evaluation fails.
    Error,
    /// Parsing fails.
    Refused,
}

use Expected::{Error, Is, Refused};

impl From<bool> for Expected {
    fn from(value: bool) -> Self {
        Is(json!(value))
    }
}

impl From<&str> for Expected {
    fn from(value: &str) -> Self {
        Is(json!(value))
    }
}

/// Rows write `d.` for `event.data.`, and `x` and `y` for two missing paths.
fn expand(text: &str) -> String {
    let pattern = regex::Regex::new(r"(^|[^\w.'])(d\.|[xy]\b)").unwrap();
    let replace = |found: &regex::Captures<'_>| {
        let name = match &found[2] {
            "d." => "event.data.",
            "x" => "event.data.x",
            _ => "event.gone.y.z",
        };
        format!("{}{name}", &found[1])
    };
    pattern.replace_all(text, replace).into_owned()
}

fn check(text: &str, expected: impl Into<Expected>) {
    let text = expand(text);
    let expected = expected.into();
    let event = event();
    let vars = Vars {
        event: Some(&event),
        incoming: None,
        now: Some(1_785_574_800_000),
        ..Vars::default()
    };
    let program = match (Program::parse(&text), &expected) {
        (Err(_), Refused) => return,
        (Err(error), _) => panic!("`{text}` is refused: {error}"),
        (Ok(_), Refused) => panic!("`{text}` is not refused"),
        (Ok(program), _) => program,
    };
    match (program.evaluate(&vars), &expected) {
        (Ok(found), Is(value)) => assert_eq!(found, *value, "`{text}`"),
        (Err(_), Error) => {}
        (found, _) => panic!("`{text}` gives {found:?}, expected {expected:?}"),
    }
}

fn check_all(rows: &[(&str, bool)]) {
    for (text, expected) in rows {
        check(text, *expected);
    }
}

#[test]
fn missing_paths_and_null_read_as_documented() {
    check_all(&[
        ("x == null", true),
        ("x != null", false),
        ("x == 'a'", false),
        ("x != 'a'", true),
        ("x == y", false),
        ("x != y", true),
        ("x < 5", true),
        ("x > 5", false),
        ("x", false),
        ("!x", false),
        ("has(event.data.x)", false),
        ("has(event.gone.y.z)", false),
        ("has(event.data.s)", true),
        ("has(event.data.null_field)", true),
        ("d.null_field == null", true),
        ("d.null_field != null", false),
        ("d.null_field < 5", true),
        ("d.null_field > 5", false),
        ("size(d.null_field) == 0", false),
        ("size(x) == 0", true),
        ("x in ['a']", false),
        ("'a' in x", false),
        ("x.startsWith('a')", false),
        ("x.contains('a')", false),
        ("x.contains('a') == false", true),
        ("lowercase(x) == ''", false),
        ("d.list[9] == 'a'", false),
        ("d.list[-1] == 'a'", false),
        // Missing below null, below a text, below a number and below a list.
        ("d.null_field.deep.er == null", true),
        ("d.s.deep == null", true),
        ("d.n.deep == null", true),
        ("d.list.deep == null", true),
        ("vars.anything == null", true),
        ("async.data.x == null", true),
        ("d.map['gone'] == null", true),
        ("d.map['a.b'] == 1", true),
    ]);
    check("'a' + x", "a");
    check("x + 'a'", "a");
    check("x ? 'y' : 'n'", "n");
    check("d.s ? 'yes' : 'n'", "yes");
    check("d.none ? 'yes' : 'n'", "yes");
    check("d.no_map ? 'yes' : 'n'", "yes");
    check("d.empty ? 'yes' : 'n'", "n");
    check("d.zero ? 'yes' : 'n'", "n");
    check("d.null_field", Is(json!(null)));
    check("!d.null_field", false);
    check("!d.s", Error);
}

#[test]
fn logic_returns_an_operand() {
    check("d.s && true", true);
    check("true && d.s", "hello");
    check("x || d.s", "hello");
    check("x || 'd'", Refused);
    check("'d' || x", Refused);
    check("x || 5", Refused);
    check("x || null", Refused);
    check("x || true", true);
    check("d.s == 'hello' && d.n == 5", true);
    check("d.s == 'nope' || d.n == 5", true);
    check("d.s == 'nope' || d.n == 6", false);
    // An error on one side gives way to what the other side decides.
    check("d.n > 'a' && false", false);
    check("false && d.n > 'a'", false);
    check("d.n > 'a' || true", true);
    check("d.n > 'a' && true", Error);
    check("d.n > 'a' || false", Error);
    check("true ? 1 : d.n > 'a'", Is(json!(1)));
}

#[test]
fn numbers_read_as_documented() {
    check_all(&[
        ("d.n == 5", true),
        ("d.n == 5.0", true),
        ("d.n in [5, 6]", true),
        ("d.n >= 5 && d.n <= 5", true),
        ("event.ts > 1600000000000", true),
        ("d.n == '5'", false),
        ("d.n != '5'", true),
        // Numbers, where the reference engine gave text or false.
        ("d.n + 1 == 6", true),
        ("d.n - 1 == 4", true),
        ("d.n * 2 == 10", true),
        ("d.n / 2 == 2.5", true),
        ("d.n % 2 == 1", true),
        ("d.n + 1.5 == 6.5", true),
        ("d.n * 2.0 == 10.0", true),
        ("int(d.n) % 2 == 1", true),
        ("int(d.n) / 2 == 2", true),
        ("date(int(event.ts)) == date(d.date)", true),
        ("1 == 1.0", true),
        ("5u == 5", true),
        ("-d.n == -5", true),
        ("d.half == 2.5", true),
        ("d.half > 2 && d.half < 3", true),
        // Exact, also above 2^53.
        ("d.big == 9007199254740993", true),
        ("d.big == 9007199254740992", false),
        ("d.huge == 18446744073709551615u", true),
        ("d.huge > d.big", true),
        ("d.numbers == [1, 2.0, 3u]", true),
        ("x + 1 == 1", true),
        ("x * 2 == 0", false),
        ("-x == 0", false),
    ]);
    check("d.n > '1'", Error);
    check("d.s > 1", Error);
    check("d.t > 1", Error);
    check("d.list > 1", Error);
    check("'a-' + d.n", "a-5");
    check("d.n + '-a'", "5-a");
    check("'a-' + d.half", "a-2.5");
    check("'a-' + d.big", "a-9007199254740993");
    check("'a' + d.null_field", "a");
    check("'a-' + d.t", "a-true");
    check("'a' + d.list", Error);
    check("string(d.n)", "5");
    check("string(d.half)", "2.5");
    check("date(event.ts) == now()", Error);
    check("d.n / 0", Error);
    check("d.n % 0", Error);
    check("1 / 0", Error);
    check("9223372036854775807 + 1", Error);
    check("-9223372036854775807 - 2", Error);
    check("-(-9223372036854775807 - 1)", Error);
    check("(-9223372036854775807 - 1) / -1", Error);
    check("(-9223372036854775807 - 1) % -1", Error);
    check("9223372036854775808", Refused);
    check("d.s * 2", Error);
    check("d.s - 1", Error);
}

#[test]
fn text_literals_follow_cel() {
    check(r#"d.quoted == 'a"b'"#, true);
    check(r#"d.quoted == "a\"b""#, true);
    check(r"'a\b' == '\x61\u0008'", true);
    check(r"'a\\b'", r"a\b");
    check(r"'a\nb'", "a\nb");
    check(r"'\u00e9'", "é");
    check(r"r'a\b'", r"a\b");
    check(r"string(b'abc')", "abc");
    check(r#"'''a"b'c'''"#, r#"a"b'c"#);
    check(r#""""a"b'c""""#, r#"a"b'c"#);
    check(r"d.word.matches('\\w+')", true);
    check(r"d.word.matches(r'^\w+$')", true);
    check(r"d.word.matches('^[a-z]+$')", false);
    check(r"d.word.matches('\w+')", Refused);
    check(r"matches(d.word, 'World')", true);
    check(r"x.matches('.*')", false);
    check("d.s == 'hello' // a comment\n && true", true);
    check("'http://x' == 'http://x'", true);
    let many: Vec<String> = (0..40).map(|index| format!("d.s != 'v{index}'")).collect();
    check(&many.join(" && "), true);
}

#[test]
fn functions_do_what_they_are_called() {
    check("lowercase(d.word)", "hello_world1");
    check("uppercase(d.s)", "HELLO");
    check("b64decode(d.b64)", "hello");
    check("b64decode(d.s + '!')", Error);
    check("json_parse(d.json).a.b[1]", Is(json!(2)));
    check("json_parse(d.s)", Is(json!({})));
    check("json_parse('[1]')", Is(json!({})));
    check("json_parse(x)", Is(json!({})));
    check("json_parse(d.json) == {'a': {'b': [1, 2]}}", true);
    check("date('2026-08-01') == date('2026-08-01T00:00:00Z')", true);
    check("date(d.day) < now()", true);
    check("date('soon')", Error);
    check("now() == date(1785574800000)", true);
    check("now_plus('1h') - now() == duration('1h')", true);
    check("now_minus('1h') < now()", true);
    check("now_plus(duration('-1h')) < now()", true);
    check("now_plus('292y')", Error);
    check(
        "string(date(d.date) + duration('90m'))",
        "2026-08-01T10:30:00Z",
    );
    check("string(duration('90m'))", "5400s");
    check("string(duration('-250ms'))", "-0.25s");
    check(
        "timestamp('2026-08-01T09:00:00Z') == timestamp(1785574800)",
        true,
    );
    check("timestamp(d.date).getHours()", Is(json!(9)));
    check(
        "timestamp(d.date).getHours('America/New_York')",
        Is(json!(5)),
    );
    check("timestamp(d.date).getHours('+02:00')", Is(json!(11)));
    check("timestamp(d.date).getHours('Nowhere')", Error);
    check("timestamp(d.date).getDayOfWeek()", Is(json!(6)));
    check("timestamp(d.date).getMonth()", Is(json!(7)));
    check("timestamp(d.date).getDate()", Is(json!(1)));
    check("timestamp(d.date).getDayOfMonth()", Is(json!(0)));
    check("timestamp(d.date).getDayOfYear()", Is(json!(212)));
    check("timestamp(d.date).getFullYear()", Is(json!(2026)));
    check("duration('90m').getMinutes()", Is(json!(90)));
    check("size(d.s)", Is(json!(5)));
    check("d.list.size()", Is(json!(2)));
    check("size(d.n)", Error);
    check(
        "d.s.startsWith('he') && d.s.endsWith('lo') && d.s.contains('ell')",
        true,
    );
    check("d.n.contains('a')", Error);
    check("int('42')", Is(json!(42)));
    check("int(2.9)", Is(json!(2)));
    check("int(-2.9)", Is(json!(-2)));
    check("int('x')", Error);
    check("int(1e300)", Error);
    check("uint(-1)", Error);
    check("double('2.5')", Is(json!(2.5)));
    check("bool('true')", true);
    check("bool('maybe')", Error);
    check(
        "type(1) == int && type(1u) == uint && type(d.n) == double",
        true,
    );
    check(
        "type(d.s) == string && type(d.list) == list && type(x) == null_type",
        true,
    );
    check("dyn(d.s)", "hello");
}

#[test]
fn macros_walk_lists_and_maps() {
    check_all(&[
        ("d.people.exists(p, p.age < 18)", true),
        ("d.people.all(p, p.age < 18)", false),
        ("d.people.exists_one(p, p.age < 18)", true),
        ("d.none.exists(p, true)", false),
        ("d.none.all(p, false)", true),
        ("d.map.exists(k, k == 'a.b')", true),
        ("'k' in d.map", true),
        ("'v' in d.map", false),
        ("'a' in d.list", true),
        ("d.numbers.exists(n, d.numbers.exists(m, m == n + 2))", true),
        ("x.exists(p, true)", false),
        ("x.all(p, true)", false),
        ("x.exists_one(p, true)", false),
        ("x.map(p, p) == null", true),
        // A name of a macro hides what it means outside.
        ("d.list.exists(event, event == 'a')", true),
        ("[1, 'a'].exists(v, v > 0)", true),
        ("d.people[0] == {'name': 'Ann', 'age': 30}", true),
        ("d.people[0] == {'name': 'Ann', 'old': 30}", false),
        ("{'a': null} == {'b': null}", false),
        ("{1: 'a'}[1] == 'a'", true),
        ("[[1], [2]] == [[1], [2]]", true),
        ("d.list + ['c'] == ['a', 'b', 'c']", true),
    ]);
    check("d.people.map(p, p.name)", Is(json!(["Ann", "Bob"])));
    check("d.people.map(p, p.age > 18, p.name)", Is(json!(["Ann"])));
    check("d.numbers.filter(n, n > 1)", Is(json!([2, 3])));
    check("d.s.exists(p, true)", Error);
    check("[1, 'a'].all(v, v > 0)", Error);
    check("[1].map(a, [1].map(b, [1].map(c, c)))", Refused);
    check("d.people.exists(1, true)", Refused);
    check("'a' in d.s", Error);
}

#[test]
fn unknown_names_and_functions_are_refused() {
    for text in [
        "foo",
        "foo.bar == 1",
        "evnt.data == 1",
        "foo(1)",
        "d.s.split(',')",
        "d.s.lowerAscii()",
        "d.s.lowercase()",
        "math.greatest(1, 2)",
        "event.?data",
        "cel.bind(a, 1, a)",
        "Foo{a: 1}",
        "has(event)",
        "has(1)",
        "size()",
        "size(1, 2)",
        "now(1)",
        "lowercase()",
        "d.s.contains()",
        "matches('a')",
        "'a'.matches(d.s)",
        "'a'.matches('(')",
        "",
        " ",
        "1 +",
        "event.",
        "(1",
        "1)",
        "'a",
        "event data",
        "d.s = 'a'",
        "&&",
        "d.s == 'a' and true",
        "`x`",
        "@in",
        "_&&_(true, true)",
        "getHours(now())",
        "d.list.map(a)",
        "a.exists(b, c)",
    ] {
        check(text, Refused);
    }
    let message = |text: &str| Program::parse(text).unwrap_err().to_string();
    assert_eq!(
        message("foo.bar == 1"),
        "`foo` is unknown, this expression can use `event`, `async` and `vars`"
    );
    assert_eq!(
        message("event.data.s.split(',')"),
        "there is no function `split`, or it is not called that way"
    );
    assert_eq!(message("size()"), "`size` does not take 0 arguments");
    assert!(matches!(
        Program::parse("true &&\n  && false"),
        Err(ExprError::Syntax {
            line: 2,
            column: 3,
            ..
        })
    ));
}

#[test]
fn only_true_is_a_match() {
    let check = |text: &str, expected: Result<bool, ExprError>| {
        let event = event();
        let vars = Vars {
            event: Some(&event),
            ..Vars::default()
        };
        assert_eq!(
            Program::parse(text).unwrap().matches(&vars),
            expected,
            "`{text}`"
        );
    };
    check("event.data.t", Ok(true));
    check("event.data.f", Ok(false));
    check("event.data.x", Ok(false));
    check(
        "event.data.s",
        Err(ExprError::NotBoolean { found: "a text" }),
    );
    check(
        "true && event.data.s",
        Err(ExprError::NotBoolean { found: "a text" }),
    );
    check(
        "event.data.n",
        Err(ExprError::NotBoolean { found: "a number" }),
    );
    check(
        "event.data.null_field",
        Err(ExprError::NotBoolean { found: "null" }),
    );
}

#[test]
fn keys_are_text_without_type() {
    let check = |text: &str, expected: Option<&str>| {
        let event = event();
        let vars = Vars {
            event: Some(&event),
            ..Vars::default()
        };
        let found = Program::parse(text).unwrap().key(&vars).unwrap();
        assert_eq!(found.as_deref(), expected, "`{text}`");
    };
    check("event.data.s", Some("hello"));
    check("event.data.n", Some("5"));
    check("5.0", Some("5"));
    check("'5'", Some("5"));
    check("event.data.half", Some("2.5"));
    check("event.data.big", Some("9007199254740993"));
    check("event.data.huge", Some("18446744073709551615"));
    check("event.data.t", Some("true"));
    check("event.data.f", None);
    check("event.data.x", None);
    check("event.data.null_field", None);
    check("event.data.empty", Some(""));
    check("event.data.s + '-' + event.data.x", Some("hello-"));
    check("event.data.s + '-' + event.data.n", Some("hello-5"));
    check("event.data.list", Some(r#"["a","b"]"#));
    check("event.data.no_map", Some("{}"));
    check("[event.data.n, event.data.s]", Some(r#"[5,"hello"]"#));
    check("event.data.s == 'hello' ? event.data.n : 0", Some("5"));
}

#[test]
fn priorities_are_any_number() {
    let check = |text: &str, expected: Option<f64>| {
        let event = event();
        let vars = Vars {
            event: Some(&event),
            ..Vars::default()
        };
        assert_eq!(
            Program::parse(text).unwrap().number(&vars).ok(),
            expected,
            "`{text}`"
        );
    };
    check("event.data.n", Some(5.0));
    check("event.data.n + 10", Some(15.0));
    check("event.data.half", Some(2.5));
    check("int(event.data.n)", Some(5.0));
    check("event.data.s == 'hello' ? 120 : 0", Some(120.0));
    check("event.data.x", Some(0.0));
    check("event.data.null_field", Some(0.0));
    check("event.data.s", None);
    check("1e308 * 10.0", None);
}

#[test]
fn restrictive_rules_leave_comparisons_and_logic() {
    let allowed = |text: &str| {
        assert_eq!(
            Program::parse(text).unwrap().check_restrictive(),
            Ok(()),
            "`{text}`"
        );
    };
    let refused = |text: &str| {
        assert!(
            Program::parse(text).unwrap().check_restrictive().is_err(),
            "`{text}`"
        );
    };
    allowed("event.data.id == async.data.id && !(async.data.n >= 5 || async.data.list[0] != 'a')");
    allowed("async.data.n in [1, 2, -3]");
    allowed("async.data[event.data.s] == 1");
    allowed("async.data.t ? event.data.t : false");
    allowed("int(async.data.n) == 5 && uint(async.data.n) == 5u && double(async.data.n) == 5.0");
    refused("has(async.data.x)");
    refused("async.data.list.exists(v, v == 1)");
    refused("async.data.s.contains('a')");
    refused("lowercase(async.data.s) == 'a'");
    refused("async.data.n + 1 == 2");
    refused("-async.data.n == 2");
    refused("string(async.data.n) == '5'");
    refused("async.data.s.matches('a')");
    refused("true && (false || (async.data.n - 1 == 0))");
}
