//! What must hold for the schema as a whole.

use serde_json::Value;

use super::*;

fn introspected() -> Value {
    let query = "{ __schema { queryType { name } mutationType { name } subscriptionType { name } types { kind name description
        fields(includeDeprecated: true) { name description args { name description type { kind ofType { name } } } type { kind name ofType { kind name ofType { kind name ofType { kind name } } } } }
        possibleTypes { name } inputFields { name description } enumValues(includeDeprecated: true) { name description } } } }";
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let response = runtime.block_on(builder().finish().execute(query));
    assert!(response.errors.is_empty(), "{:?}", response.errors);
    response.data.into_json().unwrap()["__schema"].take()
}

fn own_types(schema: &Value) -> impl Iterator<Item = &Value> {
    let builtin = ["Boolean", "Float", "Int", "String", "ID"];
    schema["types"]
        .as_array()
        .unwrap()
        .iter()
        .filter(move |kind| {
            let name = kind["name"].as_str().unwrap();
            !name.starts_with("__") && !builtin.contains(&name)
        })
}

fn members<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of[key].as_array().map_or(&[], Vec::as_slice)
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a developer asks a test to rewrite its file by a variable"
)]
fn schema_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schema.graphql");
    let now = sdl();
    if std::env::var("UPDATE_SCHEMA").is_ok() {
        std::fs::write(path, &now).unwrap();
        return;
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == now,
        "schema.graphql is stale: run the test schema_is_current with UPDATE_SCHEMA=1 and review the difference"
    );
}

#[test]
fn every_element_has_a_description() {
    let schema = introspected();
    let mut bare = Vec::new();
    let mut check = |path: String, element: &Value| {
        if element["description"].as_str().is_none_or(str::is_empty) {
            bare.push(path);
        }
    };
    for kind in own_types(&schema) {
        let name = kind["name"].as_str().unwrap();
        check(name.to_owned(), kind);
        for key in ["fields", "inputFields", "enumValues"] {
            for member in members(kind, key) {
                let path = format!("{name}.{}", member["name"].as_str().unwrap());
                for argument in members(member, "args") {
                    check(
                        format!("{path}({})", argument["name"].as_str().unwrap()),
                        argument,
                    );
                }
                check(path, member);
            }
        }
    }
    assert!(bare.is_empty(), "without description: {bare:#?}");
}

#[test]
fn mutations_take_one_input_and_return_one_payload() {
    let schema = introspected();
    let mutation = own_types(&schema)
        .find(|kind| kind["name"] == "Mutation")
        .unwrap();
    for field in members(mutation, "fields") {
        let name = field["name"].as_str().unwrap();
        let capital = name[..1].to_uppercase() + &name[1..];
        let arguments: Vec<&str> = members(field, "args")
            .iter()
            .map(|argument| argument["name"].as_str().unwrap())
            .collect();
        assert_eq!(arguments, ["input"], "{name}");
        assert_eq!(
            field["args"][0]["type"]["ofType"]["name"],
            format!("{capital}Input"),
            "{name}"
        );
        assert_eq!(
            field["type"]["ofType"]["name"],
            format!("{capital}Payload"),
            "{name}"
        );
        let payload = own_types(&schema)
            .find(|kind| kind["name"] == format!("{capital}Payload"))
            .unwrap();
        let errors = members(payload, "fields")
            .iter()
            .find(|field| field["name"] == "errors")
            .unwrap();
        let user_error = serde_json::json!({"kind": "INTERFACE", "name": "UserError"});
        let each = serde_json::json!({"kind": "NON_NULL", "name": null, "ofType": user_error});
        let list = serde_json::json!({"kind": "LIST", "name": null, "ofType": each});
        assert_eq!(errors["type"]["kind"], "NON_NULL", "{name}");
        assert_eq!(errors["type"]["ofType"], list, "{name}");
    }
    let user_error = own_types(&schema)
        .find(|kind| kind["name"] == "UserError")
        .unwrap();
    let mut kinds: Vec<&str> = members(user_error, "possibleTypes")
        .iter()
        .map(|kind| kind["name"].as_str().unwrap())
        .collect();
    kinds.sort_unstable();
    let known = [
        "ConflictError",
        "LimitExceededError",
        "NotFoundError",
        "ValidationError",
    ];
    assert_eq!(kinds, known);
}

#[test]
fn connections_are_paged_both_ways() {
    let schema = introspected();
    for kind in own_types(&schema) {
        for field in members(kind, "fields") {
            let returned = field["type"]["ofType"]["name"].as_str().unwrap_or_default();
            if returned.ends_with("Connection") {
                let arguments: Vec<&str> = members(field, "args")
                    .iter()
                    .map(|argument| argument["name"].as_str().unwrap())
                    .collect();
                let path = format!("{}.{}", kind["name"], field["name"]);
                for wanted in ["first", "after", "last", "before"] {
                    assert!(arguments.contains(&wanted), "{path}: {arguments:?}");
                }
            }
        }
    }
}

#[test]
fn documents_of_tools_are_within_the_limits() {
    let nested = "{ environment { runs(first: 50, filter: {time: {from: \"2026-01-01T00:00:00Z\"}}) { nodes { id status function { name } steps(first: 20) { nodes { name status attempts { number } } } } } } }";
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let outcome = runtime.block_on(async {
        let stage = stage::Stage::default();
        // Without a caller the operation fails in its first resolver, but only after validation has accepted it.
        let request =
            async_graphql::Request::new(format!("query A {nested} query B {{ __typename }}"))
                .operation_name("B")
                .data(stage.clone());
        builder().finish().execute(request).await;
        stage.is_executed()
    });
    assert!(outcome);
}
