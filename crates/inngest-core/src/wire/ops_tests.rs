use super::*;

fn told(op: &str) -> StepTold {
    parse_op(&Json::parse(op.as_bytes()).unwrap()).unwrap().told
}

fn code_id(id: &str, index: Option<u32>) -> Option<CodeId> {
    let id = id.to_owned();
    Some(CodeId { id, index })
}

/// SHA-1 of `a`.
const A: &str = "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8";
/// SHA-1 of `a:1`.
const SECOND: &str = "de89bfaf06245091a7873290a793604612302247";

#[test]
fn id_in_code_is_told_where_it_does_not_follow_from_the_name() {
    for (id, name, userland, expected) in [
        (A, "a", r#"{"id":"a"}"#, None),
        (A, "a", r#"{"id":"a","index":0}"#, None),
        (A, "Charge it", r#"{"id":"a"}"#, code_id("a", Some(0))),
        (
            SECOND,
            "a",
            r#"{"id":"a","index":1}"#,
            code_id("a", Some(1)),
        ),
        (
            SECOND,
            "a",
            r#"{"id":"a","index":null}"#,
            code_id("a", None),
        ),
        (A, "a", "{}", None),
        (A, "a", "null", None),
        (A, "a", r#"{"id":7}"#, None),
    ] {
        let op = format!(
            r#"{{"op":"StepPlanned","id":"{id}","displayName":"{name}","userland":{userland}}}"#
        );
        assert_eq!(told(&op).code_id, expected, "{op}");
    }
    let long = "x".repeat(limits::STEP_NAME_BYTES + 1);
    let op = format!(r#"{{"op":"StepPlanned","id":"{A}","userland":{{"id":"{long}"}}}}"#);
    assert_eq!(told(&op).code_id, None);
}

#[test]
fn arguments_are_told_unless_they_are_long() {
    let op = |input: &str| {
        told(&format!(
            r#"{{"op":"StepRun","id":"a","opts":{{"input":{input}}}}}"#
        ))
        .input
    };
    assert_eq!(op("[1,2]"), Some(Json::parse(b"[1,2]").unwrap()));
    assert_eq!(op("null"), None);
    let long = format!("[\"{}\"]", "x".repeat(limits::DETAIL_BYTES));
    assert_eq!(op(&long), None);
}
