use std::sync::{Arc, Condvar, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value},
    trace::v1::Span,
};
use prost::Message;
use serde_json::{Value, json};

use crate::{
    app::{App, RESULT, serve},
    server::{PATIENCE, Server},
};

const SECRET: &str = "marker-of-the-collector";
const KEY: &str = "marker-of-the-key";
const DATA: &str = "marker-of-the-data";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

#[derive(Default)]
struct Received {
    spans: Mutex<Vec<Span>>,
    grown: Condvar,
    /// Service names and requests' headers.
    services: Mutex<Vec<(Value, HeaderMap)>>,
}

/// A collector of OTLP by HTTP.
struct Collector {
    received: Arc<Received>,
    url: String,
    _runtime: tokio::runtime::Runtime,
}

impl Collector {
    fn start() -> Self {
        let received: Arc<Received> = Arc::default();
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(received.clone());
        let (address, runtime) = serve(router);
        Self {
            received,
            url: format!("http://{address}"),
            _runtime: runtime,
        }
    }

    /// The first span that is meant; waits for it.
    fn span(&self, is_meant: impl Fn(&Span) -> bool) -> Span {
        let spans = self.received.spans.lock().unwrap();
        let lacks = |spans: &mut Vec<Span>| !spans.iter().any(&is_meant);
        let waited = self
            .received
            .grown
            .wait_timeout_while(spans, PATIENCE, lacks);
        let (spans, waited) = waited.unwrap();
        assert!(!waited.timed_out(), "no such span among {spans:#?}");
        spans.iter().find(|span| is_meant(span)).cloned().unwrap()
    }

    fn spans(&self) -> Vec<Span> {
        self.received.spans.lock().unwrap().clone()
    }
}

async fn take(
    State(received): State<Arc<Received>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return StatusCode::BAD_REQUEST;
    };
    for of_resource in request.resource_spans {
        let resource = of_resource.resource.unwrap();
        let name = of_name(&resource.attributes, "service.name");
        received
            .services
            .lock()
            .unwrap()
            .push((name, headers.clone()));
        let spans = of_resource
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans);
        received.spans.lock().unwrap().extend(spans);
    }
    received.grown.notify_all();
    StatusCode::OK
}

fn plain(value: any_value::Value) -> Value {
    match value {
        any_value::Value::StringValue(text) => json!(text),
        any_value::Value::IntValue(number) => json!(number),
        other => json!(format!("{other:?}")),
    }
}

fn attribute(span: &Span, name: &str) -> Value {
    of_name(&span.attributes, name)
}

/// Null where there is none.
fn of_name(attributes: &[KeyValue], name: &str) -> Value {
    let pair = attributes.iter().find(|pair| pair.key == name);
    let value = pair.and_then(|pair| pair.value.clone()?.value);
    value.map_or(Value::Null, plain)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn header(headers: &HeaderMap, name: &str) -> String {
    headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
        .to_owned()
}

#[test]
fn trace_of_a_sender_goes_on_through_the_server_to_each_call_of_the_app() {
    let (app, collector) = (App::start(), Collector::start());
    let server = Server::dev(
        &[],
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url),
            ("OTEL_EXPORTER_OTLP_HEADERS", &format!("x-api-key={SECRET}")),
            ("OTEL_SERVICE_NAME", "control-plane"),
            ("OTEL_BSP_SCHEDULE_DELAY", "20"),
        ],
    );
    server.post("/fn/register", &[], &app.registration());
    let event = json!({"name": "shop/paid", "data": {"steps": 1, "of": DATA}});
    let parent = format!("00-{TRACE}-{SPAN}-01");
    server.post(&format!("/e/{KEY}"), &[("traceparent", &parent)], &event);
    let completed = server.line(|line| line["message"] == "run completed");

    // Sent by the time that the process has ended, if not before.
    let lines = server.stop();
    let request = collector.span(|span| span.name == "POST /e/{key}");
    assert_eq!(
        (
            hex(&request.trace_id).as_str(),
            hex(&request.parent_span_id).as_str()
        ),
        (TRACE, SPAN)
    );
    assert_eq!(attribute(&request, "http.status"), 200);
    let spans = collector.spans();
    let of_trace: Vec<&Span> = spans
        .iter()
        .filter(|span| hex(&span.trace_id) == TRACE)
        .collect();
    let named =
        |name: &str| -> Vec<&&Span> { of_trace.iter().filter(|span| span.name == name).collect() };
    let parent_of = |span: &Span| {
        let parent = of_trace
            .iter()
            .find(|other| other.span_id == span.parent_span_id);
        parent.map_or("", |parent| parent.name.as_str())
    };
    for (name, parents) in [
        ("ingest", &["POST /e/{key}"][..]),
        ("job", &["ingest"]),
        ("call", &["job"]),
        ("decide", &["record"]),
        ("record", &["job"]),
        ("commit", &["ingest", "record"]),
    ] {
        let found = named(name);
        assert!(!found.is_empty(), "no span {name}: {of_trace:#?}");
        for span in found {
            assert!(
                parents.contains(&parent_of(span)),
                "{name} is under `{}`",
                parent_of(span)
            );
        }
    }
    // Discovery, the planned step, and discovery again.
    assert_eq!(named("job").len(), 3);
    for span in [named("job"), named("call")].concat() {
        assert_eq!(attribute(span, "run.id"), completed["run.id"]);
        assert_eq!(attribute(span, "env.id"), completed["env.id"]);
        assert_eq!(attribute(span, "attempt"), 0);
    }
    for span in named("call") {
        assert_eq!(attribute(span, "function.slug"), "shop-pay");
        assert_eq!(attribute(span, "outcome"), "ok");
    }
    // Each call carries the span that is about it.
    let mut carried: Vec<String> = app
        .calls()
        .iter()
        .map(|call| header(&call.headers, "traceparent"))
        .collect();
    let mut calls: Vec<String> = named("call")
        .iter()
        .map(|span| format!("00-{TRACE}-{}-01", hex(&span.span_id)))
        .collect();
    carried.sort();
    calls.sort();
    assert_eq!(carried, calls);

    for (service, headers) in collector.received.services.lock().unwrap().iter() {
        assert_eq!(
            (
                service.as_str().unwrap(),
                header(headers, "x-api-key").as_str()
            ),
            ("control-plane", SECRET)
        );
        assert_eq!(header(headers, "content-type"), "application/x-protobuf");
    }
    let seen = format!("{spans:?}");
    for marker in [KEY, DATA, RESULT, SECRET] {
        assert!(!seen.contains(marker), "spans hold {marker}");
        assert!(
            !lines.iter().any(|line| line.contains(marker)),
            "the log holds {marker}"
        );
    }
}

#[test]
fn collector_that_does_not_answer_holds_up_nobody() {
    // It takes connections, and nothing more.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (app, server) = (
        App::start(),
        Server::dev(
            &[],
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
                ("OTEL_BSP_SCHEDULE_DELAY", "1"),
                ("OTEL_BSP_MAX_QUEUE_SIZE", "4"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000"),
            ],
        ),
    );
    server.post("/fn/register", &[], &app.registration());
    let events: Vec<_> = (0..200)
        .map(|_| json!({"name": "shop/paid", "data": {}}))
        .collect();
    server.post("/e/k", &[], &json!(events));
    let is_completed = |line: &String| line.contains("run completed");
    server.until(|lines| lines.iter().filter(|line| is_completed(line)).count() == 200);
    // Nor does it hold up the end.
    let lines = server.stop();
    assert!(
        lines
            .iter()
            .any(|line| line.contains("the last spans could not be sent")),
        "{lines:#?}"
    );
}

#[test]
fn without_a_place_for_traces_calls_carry_none() {
    let (app, server) = (
        App::start(),
        Server::dev(&[], &[("OTEL_SERVICE_NAME", "x")]),
    );
    server.post("/fn/register", &[], &app.registration());
    server.post("/e/k", &[], &json!({"name": "shop/paid", "data": {}}));
    server.line(|line| line["message"] == "run completed");
    assert_eq!(header(&app.calls()[0].headers, "traceparent"), "");
}
