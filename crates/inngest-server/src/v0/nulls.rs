//! Makes unset variables what their senders mean by them.
//!
//! Clients of this API send null for every variable that they leave open, and pass variables that may be null to arguments that may not
//! be, but have a default. GraphQL reads the first as an explicit null, and the library refuses the second. So before validation each
//! variable is settled: one that has a value is declared as never null, and one without is taken out wherever it is used, so that the
//! default of the argument holds.

use async_graphql::{
    Name, Request, Value as ConstValue,
    parser::types::{
        DocumentOperations, ExecutableDocument, OperationDefinition, Selection, SelectionSet,
    },
};
use async_graphql_value::Value;
use http::StatusCode;

use crate::graphql::document::Refusal;

/// Settles the variables of a request that has been parsed.
pub(crate) fn settle(request: &mut Request) -> Result<(), Refusal> {
    let mut document = match request.parsed_query() {
        Ok(document) => document.clone(),
        Err(error) => {
            return Err(Refusal {
                status: StatusCode::BAD_REQUEST,
                code: "GRAPHQL_PARSE_FAILED",
                error: Box::new(error),
            });
        }
    };
    request
        .variables
        .retain(|_, value| !matches!(value, ConstValue::Null));
    for value in request.variables.values_mut() {
        drop_null_members(value);
    }
    let name = request.operation_name.as_deref();
    if let DocumentOperations::Multiple(operations) = &mut document.operations {
        // What is taken out of fragments would make variables of other operations unused.
        operations.retain(|key, _| name.is_none_or(|name| key.as_str() == name));
    }
    let mut unset = Vec::new();
    for operation in operations_of(&mut document) {
        operation.variable_definitions.retain_mut(|definition| {
            let definition = &mut definition.node;
            let name = &definition.name.node;
            if let Some(default) = definition.default_value.take()
                && !request.variables.contains_key(name)
                && default.node != ConstValue::Null
            {
                request.variables.insert(name.clone(), default.node);
            }
            let is_set = request.variables.contains_key(name);
            if is_set {
                definition.var_type.node.nullable = false;
            } else {
                unset.push(name.clone());
            }
            is_set
        });
    }
    if !unset.is_empty() {
        for operation in operations_of(&mut document) {
            prune(&mut operation.selection_set.node, &unset);
        }
        for fragment in document.fragments.values_mut() {
            prune(&mut fragment.node.selection_set.node, &unset);
        }
    }
    request.set_parsed_query(document);
    Ok(())
}

fn operations_of(
    document: &mut ExecutableDocument,
) -> Box<dyn Iterator<Item = &mut OperationDefinition> + '_> {
    match &mut document.operations {
        DocumentOperations::Single(operation) => Box::new(std::iter::once(&mut operation.node)),
        DocumentOperations::Multiple(operations) => {
            Box::new(operations.values_mut().map(|operation| &mut operation.node))
        }
    }
}

/// Objects of inputs are meant in the same way: a member that is null is not set.
fn drop_null_members(value: &mut ConstValue) {
    match value {
        ConstValue::Object(members) => {
            members.retain(|_, member| !matches!(member, ConstValue::Null));
            members.values_mut().for_each(drop_null_members);
        }
        ConstValue::List(items) => items.iter_mut().for_each(drop_null_members),
        _ => {}
    }
}

/// Takes the arguments out that are nothing but an unset variable.
fn prune(selection: &mut SelectionSet, unset: &[Name]) {
    for item in &mut selection.items {
        match &mut item.node {
            Selection::Field(field) => {
                field
                    .node
                    .arguments
                    .retain_mut(|(_, value)| is_set(&mut value.node, unset));
                prune(&mut field.node.selection_set.node, unset);
            }
            Selection::InlineFragment(fragment) => {
                prune(&mut fragment.node.selection_set.node, unset);
            }
            Selection::FragmentSpread(_) => {}
        }
    }
}

/// Whether a value is anything but an unset variable. Members that are not are taken out of it; in a list, whose places count, they
/// become null.
fn is_set(value: &mut Value, unset: &[Name]) -> bool {
    match value {
        Value::Variable(name) => !unset.contains(name),
        Value::Object(members) => {
            members.retain(|_, member| is_set(member, unset));
            true
        }
        Value::List(items) => {
            for item in items {
                if !is_set(item, unset) {
                    *item = Value::Null;
                }
            }
            true
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{EmptyMutation, EmptySubscription, InputObject, Object, Schema};
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::graphql::document;

    struct Echo;

    #[derive(InputObject)]
    struct Filter {
        #[graphql(default = 7)]
        size: i32,
        names: Option<Vec<String>>,
    }

    #[Object]
    impl Echo {
        async fn first(&self, #[graphql(default = 40)] n: i32) -> i32 {
            n
        }

        async fn filtered(&self, filter: Filter) -> String {
            format!("{} {:?}", filter.size, filter.names)
        }
    }

    async fn ask(query: &str, name: Option<&str>, variables: Json) -> Json {
        let schema = Schema::new(Echo, EmptyMutation, EmptySubscription);
        let body = json!({"query": query, "operationName": name, "variables": variables});
        let parameters = document::read(body.to_string().as_bytes()).unwrap();
        let mut prepared = document::prepare(parameters).unwrap();
        settle(&mut prepared.request).unwrap();
        let response = schema.execute(prepared.request).await;
        assert!(response.errors.is_empty(), "{query}: {:?}", response.errors);
        response.data.into_json().unwrap()
    }

    #[tokio::test]
    async fn unset_variables_leave_the_default_and_set_ones_fit() {
        let first = "query ($n: Int) { first(n: $n) }";
        for (variables, expected) in [
            (json!({"n": null}), 40),
            (json!({}), 40),
            (json!({"n": 3}), 3),
        ] {
            assert_eq!(
                ask(first, None, variables).await,
                json!({"first": expected})
            );
        }
        let defaulted = "query ($n: Int = 5) { ...F } fragment F on Echo { first(n: $n) }";
        assert_eq!(
            ask(defaulted, None, json!({"n": null})).await,
            json!({"first": 5})
        );

        let filtered = "query ($s: Int) { filtered(filter: {size: $s, names: [\"a\"]}) }";
        assert_eq!(
            ask(filtered, None, json!({"s": null})).await["filtered"],
            json!("7 Some([\"a\"])")
        );
        let whole = "query ($f: Filter!) { filtered(filter: $f) }";
        assert_eq!(
            ask(whole, None, json!({"f": {"size": null, "names": null}})).await["filtered"],
            json!("7 None")
        );
        let two = "query A($n: Int) { ...F } query B($n: Int) { ...F } fragment F on Echo { first(n: $n) }";
        assert_eq!(ask(two, Some("B"), json!({})).await, json!({"first": 40}));
    }
}
