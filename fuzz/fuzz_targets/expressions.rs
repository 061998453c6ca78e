//! Expressions and what they look at: one line each for the text, the run's event and the incoming one.
#![no_main]

use inngest_core::expr::{Program, Vars, key_hash_at, prune};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let Some(Ok(text)) = lines.next().map(std::str::from_utf8) else {
        return;
    };
    let mut value = || -> Value {
        let line = lines.next().unwrap_or_default();
        serde_json::from_slice(line).unwrap_or_else(|_| json!({"data": {"a": 1}}))
    };
    let (event, incoming) = (value(), value());
    let Ok(program) = Program::parse(text) else {
        return;
    };
    assert!(Program::parse(program.text()).is_ok());
    let _ = program.check_restrictive();
    for now in [None, Some(1_785_570_000_000)] {
        let vars = Vars {
            event: Some(&event),
            incoming: Some(&incoming),
            now,
            ..Vars::default()
        };
        let _ = program.matches(&vars);
        let _ = program.key(&vars);
        if let Ok(number) = program.number(&vars) {
            assert!(number.is_finite());
        }
        let result = program.evaluate(&vars);
        let matches = program.matches_wait(&vars);
        assert_eq!(matches, program.matches_wait(&vars), "asked twice");
        let matches = matches.unwrap_or(false);
        if let Some(key) = program.selective_key(&event) {
            let is_found = key_hash_at(&incoming, &key.path) == Some(key.value.hash());
            assert!(is_found || !matches, "the key misses an event");
        }
        assert!(
            !(matches && program.never_matches(&event)),
            "it matches after all"
        );
        if let Some(paths) = program.event_paths() {
            let pruned = prune(&event, &paths);
            let vars = Vars {
                event: Some(&pruned),
                ..vars
            };
            assert_eq!(
                result,
                program.evaluate(&vars),
                "pruning changes the result"
            );
            assert_eq!(matches, program.matches_wait(&vars).unwrap_or(false));
        }
    }
});
