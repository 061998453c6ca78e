//! What must hold for the document as a whole.

use std::collections::HashSet;

use super::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

#[test]
fn document_is_current() {
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        let text = serde_json::to_string_pretty(document()).unwrap() + "\n";
        std::fs::write(FILE, text).unwrap();
    }
    let stored = std::fs::read_to_string(FILE).unwrap_or_default();
    let stored: Value = serde_json::from_str(&stored).unwrap_or_default();
    assert!(
        stored == *document(),
        "docs/openapi.json is stale: run this test with UPDATE_OPENAPI=1, and read what has changed"
    );
}

fn each_operation(mut look: impl FnMut(&str, &str, &Value)) {
    for (path, methods) in document()["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            look(path, method, operation);
        }
    }
}

#[test]
fn every_operation_is_named_once_and_told() {
    let mut names = HashSet::new();
    each_operation(|path, method, operation| {
        let name = operation["operationId"].as_str().unwrap().to_owned();
        assert!(names.insert(name.clone()), "{name} is there twice");
        assert_ne!(operation["summary"], "", "{method} {path}");
        assert_ne!(operation["tags"][0], "", "{method} {path}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert_ne!(parameter["description"], "", "{method} {path}: {parameter}");
        }
    });
    let described: usize = super::super::operations()
        .iter()
        .map(|operation| operation.head.mounts.len())
        .sum();
    assert_eq!(names.len(), described);
}

#[test]
fn what_changes_something_needs_more_than_a_caller() {
    each_operation(|path, method, operation| {
        if method != "get" {
            let permission = operation["x-permission"].as_str().unwrap_or_default();
            let is_enough = permission.ends_with("_MANAGE")
                || permission == "EVENTS_SEND"
                // Asked with a body, and changes nothing.
                || path.ends_with("/preview");
            assert!(is_enough, "{method} {path}: {permission:?}");
        }
    });
}

#[test]
fn every_reference_leads_somewhere() {
    fn look(value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document().pointer(pointer).is_some(), "{reference}");
                }
                members.values().for_each(look);
            }
            Value::Array(items) => items.iter().for_each(look),
            _ => {}
        }
    }
    look(document());
}
