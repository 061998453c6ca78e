//! The OpenAPI document, made of the operations that the router is made of.

use std::sync::OnceLock;

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use inngest_core::{access::Scope, limits};

use crate::rest::{
    operation::{BodyKind, Mount, Needs, Operation},
    problem::{ErrorsBody, ProblemBody, Shape},
    query::ULID,
    reply::schema_of,
};

/// The document, made once.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| describe(&super::operations()))
}

/// Schemas of what is read and of what is written: a member that is left out when there is nothing is required of neither, one that is
/// null then is required of answers only.
struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = || {
            let mut settings = SchemaSettings::draft2020_12();
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
            settings
        };
        Self {
            read: settings().for_deserialize().into_generator(),
            written: settings().for_serialize().into_generator(),
        }
    }

    fn all(mut self) -> Map<String, Value> {
        let mut all = self.written.take_definitions(true);
        all.append(&mut self.read.take_definitions(true));
        all
    }
}

fn describe(operations: &[Operation]) -> Value {
    let mut schemas = Schemas::new();
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        for mount in operation.head.mounts {
            let path = format!("{}{}", mount.prefixes()[0], operation.head.path);
            let verb = operation.head.verb.as_str().to_lowercase();
            let described = describe_one(operation, *mount, &mut schemas);
            let at_path = paths.entry(path).or_insert_with(|| json!({}));
            at_path[verb] = described;
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Inngest",
            "version": "1",
            "description": "Events, runs, functions and apps of one environment. `/api/v1` is the API of this server; `/v1` and `/v2` (also \
                found at `/api/v2`) answer what users of the SDKs know by these paths.",
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {
                "type": "http",
                "scheme": "bearer",
                "description": "A signing key, or a token for one environment. A server in dev mode asks for nothing.",
            }},
            "schemas": schemas.all(),
        },
    })
}

fn describe_one(operation: &Operation, mount: Mount, schemas: &mut Schemas) -> Value {
    let head = &operation.head;
    let id = match (mount, head.mounts.len()) {
        (Mount::V1, 2..) => format!("{}V1", head.id),
        _ => head.id.to_owned(),
    };
    let mut described = json!({
        "operationId": id,
        "tags": [head.tag],
        "summary": head.summary,
        "responses": responses(operation, mount, schemas),
    });
    let parameters = parameters(operation, mount);
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    match head.needs {
        Needs::Nothing => described["security"] = json!([]),
        Needs::Caller => {}
        Needs::Scope(scope) => described["x-permission"] = permission(scope).into(),
    }
    if let Some(body) = &operation.body {
        described["requestBody"] = request_body(body, schemas);
    }
    described
}

/// What a scope is called elsewhere in the API.
fn permission(scope: Scope) -> &'static str {
    match scope {
        Scope::AppsRead => "APPS_READ",
        Scope::AppsWrite => "APPS_MANAGE",
        Scope::EventsRead => "EVENTS_READ",
        Scope::EventsSend => "EVENTS_SEND",
        Scope::RunsRead => "RUNS_READ",
        Scope::RunsWrite => "RUNS_MANAGE",
        Scope::FunctionsWrite => "FUNCTIONS_MANAGE",
        Scope::MetricsRead => "METRICS_READ",
        Scope::Execute => "EXECUTE",
    }
}

fn parameters(operation: &Operation, mount: Mount) -> Vec<Value> {
    let head = &operation.head;
    let mut all: Vec<Value> = head
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(path_parameter)
        .collect();
    all.extend(head.params.iter().map(|param| {
        json!({
            "name": param.name,
            "in": "query",
            "description": param.about,
            "schema": param.schema(mount.is_strict()),
        })
    }));
    if head.repeats {
        all.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Names the request, so that it can be made again: within 24 hours a second one with this key and the same \
                body does nothing and is answered with what the first has led to; with another body it is refused (409).",
            "schema": {"type": "string", "minLength": 1, "maxLength": limits::REQUEST_KEY_BYTES},
        }));
    }
    all
}

/// A part of a path; what it is called says what it is.
fn path_parameter(name: &str) -> Value {
    let (about, schema) = match name {
        "event" | "event_id" => ("Our id of the event.", json!({"pattern": ULID})),
        "run" | "run_id" => ("The id of the run.", json!({"pattern": ULID})),
        "app" | "app_id" => ("The app: its id in code, or its UUID.", json!({})),
        "replay" => ("The id of the replay.", json!({"pattern": ULID})),
        "cancellation" => ("The id of the bulk cancellation.", json!({"pattern": ULID})),
        "function" => ("The function: its slug, or its UUID.", json!({})),
        "function_id" => (
            "The function: its id in code, its slug, or its UUID.",
            json!({}),
        ),
        _ => ("", json!({})),
    };
    let mut schema = schema;
    schema["type"] = "string".into();
    schema["minLength"] = 1.into();
    json!({"name": name, "in": "path", "required": true, "description": about, "schema": schema})
}

fn request_body(body: &BodyKind, schemas: &mut Schemas) -> Value {
    json!({
        "required": !(body.is_optional)(),
        "content": {"application/json": {"schema": (body.schema)(&mut schemas.read)}},
    })
}

fn responses(operation: &Operation, mount: Mount, schemas: &mut Schemas) -> Value {
    let (head, answer) = (&operation.head, &operation.answer);
    let (mut all, mut repeats) = (Map::new(), Map::new());
    let mut success = json!({"description": answer.meaning});
    let schema = (answer.schema)(&mut schemas.written);
    if let Some(schema) = &schema {
        success["content"] = json!({"application/json": {"schema": schema}});
    }
    if answer.is_page {
        success["headers"] = json!({"Link": {
            "description": "The next page, with `rel=\"next\"`, where there is one.",
            "schema": {"type": "string"},
        }});
    }
    if head.repeats {
        success["headers"] = json!({"Idempotent-Replayed": {
            "description": "`true` where this is what an earlier request with the same key has led to.",
            "schema": {"type": "string", "enum": ["true"]},
        }});
    }
    all.insert(answer.status.as_str().to_owned(), success);
    if head.needs == Needs::Nothing {
        let unavailable = json!({
            "description": "The server cannot do its work.",
            "content": {"application/json": {"schema": schema}},
        });
        all.insert("503".to_owned(), unavailable);
        return all.into();
    }
    let (content_type, body) = match mount.shape() {
        Shape::Details => (
            "application/problem+json",
            schema_of::<ProblemBody<'_>>(&mut schemas.written),
        ),
        Shape::List => (
            "application/json",
            schema_of::<ErrorsBody<'_>>(&mut schemas.written),
        ),
    };
    let mut refused = |status: &str, about: &str| {
        let refusal = json!({
            "description": about,
            "content": {content_type: {"schema": body}},
        });
        all.insert(status.to_owned(), refusal);
    };
    let has_path = head.path.contains('{');
    if has_path || !head.params.is_empty() || operation.body.is_some() {
        refused("400", "The request cannot be read.");
    }
    refused("401", "There is no credential, or it is worth nothing.");
    if matches!(head.needs, Needs::Scope(_)) {
        refused("403", "The credential may not do this.");
    }
    if has_path {
        refused("404", "There is no such thing in this environment.");
    }
    if operation.body.is_some() {
        refused("413", "The body is too large.");
        refused("415", "The body is not JSON.");
        refused(
            "422",
            "The body or the key is well formed, but not acceptable.",
        );
    }
    if let Some(status) = answer.repeated {
        let about = "The key of the body was used before: with the same body, this is what that has led to.";
        let schema = json!({"anyOf": [schema, body]});
        let repeated =
            json!({"description": about, "content": {"application/json": {"schema": schema}}});
        repeats.insert(status.as_str().to_owned(), repeated);
    }
    refused(
        "429",
        "The caller has asked for more than its budget, or the server is busy; `Retry-After` says how long to wait.",
    );
    refused("default", "Any other error.");
    all.append(&mut repeats);
    all.into()
}

#[cfg(test)]
#[path = "openapi_tests.rs"]
mod tests;
