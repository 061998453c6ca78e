//! What keeps an expression from taking too much: of its text, of work, of memory, of stack.

use serde_json::json;

use super::*;

#[test]
fn sizes_and_costs_are_bounded() {
    let refused = |text: &str, error: ExprError| {
        assert_eq!(
            Program::parse(text).unwrap_err(),
            error,
            "{}",
            &text[..text.len().min(40)]
        );
    };
    refused(
        &format!("event.data.a == '{}'", "a".repeat(MAX_SOURCE_BYTES)),
        ExprError::TooLong,
    );
    refused(
        &format!("{}1{}", "(-".repeat(500), ")".repeat(500)),
        ExprError::TooComplex,
    );
    refused(
        &format!("{}1{}", "[".repeat(500), "]".repeat(500)),
        ExprError::TooComplex,
    );
    refused(&format!("1{}", " + 1".repeat(500)), ExprError::TooComplex);
    refused(
        &format!("[{}1]", "1, ".repeat(1_200)),
        ExprError::TooComplex,
    );
    refused(&format!("event{}", ".a".repeat(900)), ExprError::TooComplex);
    assert!(Program::parse(&format!("event{}", ".a".repeat(50))).is_ok());
    assert!(Program::parse(&format!("event.a in [{}'z']", "'abcdefgh', ".repeat(300))).is_ok());
    assert!(Program::parse("'a'.matches('(a{1000}){1000}')").is_err());

    let list: Vec<u32> = (0..20_000).collect();
    let long = "a".repeat(3_000_000);
    let event = json!({"data": {"list": list, "long": long}});
    let vars = Vars {
        event: Some(&event),
        ..Vars::default()
    };
    let costly = |text: &str| {
        assert_eq!(
            Program::parse(text).unwrap().matches(&vars),
            Err(ExprError::TooCostly),
            "`{text}`"
        );
    };
    costly("event.data.list.all(a, event.data.list.exists(b, a == b))");
    costly("event.data.list.exists(a, event.data.list.map(b, b) == 1) || true");
    costly("event.data.list.map(a, event.data.long + 'x') == 1");
    costly("event.data.list.exists(a, event.data.long.contains('b'))");
    costly(
        "event.data.list.map(a, event.data.list) == 1 || event.data.list.map(a, event.data.list) == event.data.list.map(a, event.data.list)",
    );
    costly("event.data.long.matches('(a|b){400}$')");
    let texts = Program::parse(&format!(
        "[event.data.long + 'x'].map(v, [{}v])",
        "v, ".repeat(500)
    ))
    .unwrap();
    assert_eq!(texts.evaluate(&vars), Err(ExprError::TooCostly));
    let copies = Program::parse("event.data.list.map(a, event.data.list)").unwrap();
    assert_eq!(copies.evaluate(&vars), Err(ExprError::TooCostly));
    assert_eq!(
        Program::parse("size(event.data.list) == 20000")
            .unwrap()
            .matches(&vars),
        Ok(true)
    );
    assert_eq!(
        Program::parse("19999 in event.data.list")
            .unwrap()
            .matches(&vars),
        Ok(true)
    );
}

#[test]
fn a_small_stack_is_enough() {
    let run = || {
        for part in [
            "!",
            "- ",
            "(",
            "(-",
            "[",
            "{1:",
            "f(",
            "int(",
            "a.",
            "1+",
            "true?1:",
            "1?",
            "event.exists(a,",
            "[1].map(a,",
            "a[",
            "-(",
        ] {
            let _ = Program::parse(&part.repeat(MAX_SOURCE_BYTES / part.len()));
        }
        let nested = format!(
            "{}1{}",
            "int(".repeat(MAX_DEPTH - 2),
            ")".repeat(MAX_DEPTH - 2)
        );
        let program = Program::parse(&nested).unwrap();
        assert_eq!(program.number(&Vars::default()), Ok(1.0));
        let _ = (
            program.event_paths(),
            program.selective_key(&json!({})),
            program.check_restrictive(),
        );
    };
    let thread = std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(run)
        .unwrap();
    thread.join().unwrap();
}

#[test]
fn programs_are_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    let program = Program::parse("event.data.s == 'a'").unwrap();
    shared(&program);
    assert_eq!(program.clone().text(), "event.data.s == 'a'");
}

#[test]
fn usual_patterns_are_cheap() {
    let text = "a".repeat(100_000);
    let event = json!({"data": {"text": text}});
    let vars = Vars {
        event: Some(&event),
        ..Vars::default()
    };
    for pattern in [
        r"^\w+$",
        r"^[^@]+@example\.(com|org)$|a",
        r"^a{1,}$",
        r"(?i)A",
    ] {
        let program = Program::parse(&format!("event.data.text.matches(r'{pattern}')")).unwrap();
        assert_eq!(program.matches(&vars), Ok(true), "{pattern}");
    }
}
