//! From the bytes of a request to a document that may be executed. Everything that can be refused before execution is refused here or by
//! validation, so that such an answer has no `data`.

use async_graphql::{
    Request, ServerError, Variables,
    parser::types::{
        DocumentOperations, ExecutableDocument, OperationDefinition, OperationType, Selection,
    },
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::graphql::limits;

/// Brackets inside brackets: the parser recurses, so deeper text is refused before it is parsed.
const BRACKETS: usize = 100;

/// The body of a request, or the payload of a `subscribe` message. Unknown members are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Parameters {
    #[serde(default)]
    pub(super) query: Option<String>,
    #[serde(default)]
    operation_name: Option<String>,
    #[serde(default)]
    variables: Option<Map<String, Value>>,
    #[serde(default)]
    pub(super) document_id: Option<String>,
}

/// Why a request is not executed.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) error: Box<ServerError>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            error: Box::new(ServerError::new(message, None)),
        }
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "BAD_USER_INPUT", message)
    }
}

/// A parsed request and the kind of its operation.
pub(crate) struct Prepared {
    pub(crate) request: Request,
    pub(crate) kind: OperationType,
}

/// Reads the body of a POST.
pub(crate) fn read(body: &[u8]) -> Result<Parameters, Refusal> {
    let malformed = |_| {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "BAD_USER_INPUT",
            "the body is not JSON",
        )
    };
    let value: Value = serde_json::from_slice(body).map_err(malformed)?;
    parameters(value)
}

/// Reads the payload of a `subscribe` message.
pub(crate) fn parameters(value: Value) -> Result<Parameters, Refusal> {
    match &value {
        Value::Array(_) => Err(Refusal::bad(
            "several operations in one request are not supported",
        )),
        Value::Object(_) => serde_json::from_value(value)
            .map_err(|error| Refusal::bad(format!("the request has the wrong shape: {error}"))),
        _ => Err(Refusal::bad("the request must be a JSON object")),
    }
}

/// Parses the document and finds the operation. Ids of documents have been resolved before.
pub(crate) fn prepare(parameters: Parameters) -> Result<Prepared, Refusal> {
    let query = parameters
        .query
        .filter(|query| !query.trim().is_empty())
        .ok_or_else(|| Refusal::bad("`query` is missing"))?;
    if query.len() > limits::DOCUMENT_BYTES {
        let message = format!(
            "the document has {} bytes; at most {} are allowed",
            query.len(),
            limits::DOCUMENT_BYTES
        );
        return Err(Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "OPERATION_TOO_LARGE",
            message,
        ));
    }
    if nesting(&query) > BRACKETS {
        return Err(Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "OPERATION_TOO_DEEP",
            "the document is nested too deep",
        ));
    }
    let mut variables = parameters.variables.unwrap_or_default();
    let mut request = Request::new(query);
    let document = match request.parsed_query() {
        Ok(document) => document,
        Err(error) => {
            return Err(Refusal {
                status: StatusCode::BAD_REQUEST,
                code: "GRAPHQL_PARSE_FAILED",
                error: Box::new(error),
            });
        }
    };
    let name = parameters.operation_name.filter(|name| !name.is_empty());
    let kind = check(document, name.as_deref(), &variables)?;
    // The library prices a field by the variables of its page, and refuses one that was left out. No argument here has a default, so
    // null says the same.
    let operation = selected(document, name.as_deref())?;
    for definition in &operation.variable_definitions {
        if definition.node.default_value.is_none() {
            let name = definition.node.name.node.as_str();
            variables.entry(name).or_insert(Value::Null);
        }
    }
    if let Some(name) = name {
        request = request.operation_name(name);
    }
    Ok(Prepared {
        request: request.variables(Variables::from_json(Value::Object(variables))),
        kind,
    })
}

fn check(
    document: &ExecutableDocument,
    name: Option<&str>,
    variables: &Map<String, Value>,
) -> Result<OperationType, Refusal> {
    let operation = selected(document, name)?;
    // The library would notice a missing variable only in the field that uses it.
    for definition in &operation.variable_definitions {
        let (name, wanted) = (definition.node.name.node.as_str(), &definition.node);
        let is_given = variables.get(name).is_some_and(|value| !value.is_null());
        if !is_given && !wanted.var_type.node.nullable && wanted.default_value.is_none() {
            return Err(Refusal::bad(format!(
                "the variable `${name}` needs a value"
            )));
        }
    }
    let fields = root_fields(
        document,
        &operation.selection_set.node.items,
        &mut Vec::new(),
    );
    match operation.ty {
        OperationType::Subscription if fields != 1 => Err(Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "GRAPHQL_VALIDATION_FAILED",
            "a subscription has exactly one root field",
        )),
        OperationType::Mutation if fields > limits::MUTATION_FIELDS => {
            let message = format!(
                "a mutation may have at most {} root fields",
                limits::MUTATION_FIELDS
            );
            Err(Refusal::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "OPERATION_TOO_LARGE",
                message,
            ))
        }
        kind => Ok(kind),
    }
}

fn selected<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Result<&'a OperationDefinition, Refusal> {
    match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => Ok(&operation.node),
        (DocumentOperations::Multiple(operations), None) if operations.len() == 1 => operations
            .values()
            .next()
            .map(|operation| &operation.node)
            .ok_or_else(|| Refusal::bad("the document has no operation")),
        (_, None) => Err(Refusal::bad(
            "the document has several operations; `operationName` must name one",
        )),
        (DocumentOperations::Multiple(operations), Some(name)) => operations
            .get(name)
            .map(|operation| &operation.node)
            .ok_or_else(|| Refusal::bad(format!("there is no operation `{name}`"))),
        (DocumentOperations::Single(_), Some(name)) => {
            Err(Refusal::bad(format!("there is no operation `{name}`")))
        }
    }
}

/// Fields at the root, also those behind fragments. A fragment inside itself is left to validation.
fn root_fields<'a>(
    document: &'a ExecutableDocument,
    items: &'a [async_graphql::Positioned<Selection>],
    entered: &mut Vec<&'a str>,
) -> usize {
    let mut count = 0;
    for item in items {
        count += match &item.node {
            Selection::Field(_) => 1,
            Selection::InlineFragment(fragment) => {
                root_fields(document, &fragment.node.selection_set.node.items, entered)
            }
            Selection::FragmentSpread(spread) => {
                let name = spread.node.fragment_name.node.as_str();
                match document.fragments.get(name) {
                    Some(fragment) if !entered.contains(&name) => {
                        entered.push(name);
                        let inside =
                            root_fields(document, &fragment.node.selection_set.node.items, entered);
                        entered.pop();
                        inside
                    }
                    _ => 0,
                }
            }
        };
        // Fragments that name fragments can multiply; past any limit the exact number says nothing.
        if count > limits::MUTATION_FIELDS {
            return count;
        }
    }
    count
}

/// Deepest nesting of brackets outside of strings and comments.
fn nesting(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut deepest) = (0, 0usize, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'(' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            b'#' => {
                at += bytes[at..]
                    .iter()
                    .position(|byte| matches!(byte, b'\n' | b'\r'))
                    .unwrap_or(bytes.len() - at)
            }
            b'"' => {
                at = end_of_string(bytes, at);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    deepest
}

/// The position after the string that begins at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let is_block = bytes[start..].starts_with(b"\"\"\"");
    let quote: &[u8] = if is_block { b"\"\"\"" } else { b"\"" };
    let mut at = start + quote.len();
    while at < bytes.len() {
        if bytes[at] == b'\\' {
            at += if is_block && bytes[at..].starts_with(b"\\\"\"\"") {
                4
            } else if is_block {
                1
            } else {
                2
            };
        } else if bytes[at..].starts_with(quote) {
            return at + quote.len();
        } else if !is_block && matches!(bytes[at], b'\n' | b'\r') {
            return at;
        } else {
            at += 1;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(body: &str) -> Result<OperationType, (u16, &'static str)> {
        read(body.as_bytes())
            .and_then(prepare)
            .map(|prepared| prepared.kind)
            .map_err(|refusal| (refusal.status.as_u16(), refusal.code))
    }

    #[test]
    fn requests_that_cannot_be_executed_are_refused_with_their_status() {
        let query = |text: &str| serde_json::json!({ "query": text }).to_string();
        for (body, expected) in [
            ("{".to_owned(), (400, "BAD_USER_INPUT")),
            ("[]".to_owned(), (422, "BAD_USER_INPUT")),
            ("{}".to_owned(), (422, "BAD_USER_INPUT")),
            (r#"{"query":1}"#.to_owned(), (422, "BAD_USER_INPUT")),
            (query("{ a"), (400, "GRAPHQL_PARSE_FAILED")),
            (
                query(&format!("{{ a }} #{}", "x".repeat(70_000))),
                (422, "OPERATION_TOO_LARGE"),
            ),
            (query(&"{a".repeat(30_000)), (422, "OPERATION_TOO_DEEP")),
            (
                query("query A { a } query B { b }"),
                (422, "BAD_USER_INPUT"),
            ),
            (
                r#"{"query":"query A { a }","operationName":"B"}"#.to_owned(),
                (422, "BAD_USER_INPUT"),
            ),
            (
                query("query ($id: ID!) { a(id: $id) }"),
                (422, "BAD_USER_INPUT"),
            ),
            (
                query("subscription { a b }"),
                (422, "GRAPHQL_VALIDATION_FAILED"),
            ),
            (
                query("subscription { ...F } fragment F on Subscription { a b }"),
                (422, "GRAPHQL_VALIDATION_FAILED"),
            ),
            (
                query("subscription { ...F } fragment F on Subscription { ...F }"),
                (422, "GRAPHQL_VALIDATION_FAILED"),
            ),
            (
                query(&format!(
                    "mutation {{ {} }}",
                    (0..21).map(|n| format!("a{n}: a ")).collect::<String>()
                )),
                (422, "OPERATION_TOO_LARGE"),
            ),
        ] {
            assert_eq!(
                outcome(&body),
                Err(expected),
                "{}",
                &body[..body.len().min(80)]
            );
        }
        assert_eq!(outcome(&query("{ a }")), Ok(OperationType::Query));
        assert_eq!(
            outcome(r#"{"query":"query A { a } mutation B { b }","operationName":"B"}"#),
            Ok(OperationType::Mutation)
        );
    }

    #[test]
    fn brackets_in_strings_and_comments_do_not_nest() {
        for (text, depth) in [
            ("{ a(b: \"{{{{\") }", 2),
            ("{ a(b: \"\"\" {{ \\\"\"\" { \"\"\") }", 2),
            ("# {{{{\n{ a }", 1),
            ("\"{{{{", 0),
            ("{ a(b: \"\\\"{{\") { c } }", 2),
        ] {
            assert_eq!(nesting(text), depth, "{text}");
        }
    }
}
