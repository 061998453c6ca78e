//! Which role each root field of GraphQL asks for, asked over HTTP with a token of each; and that a tenant sees nothing of another,
//! by no root field, no global id and no subscription.
//!
//! The tables are compared with the schema: a field or a type without a row fails.

use std::collections::BTreeSet;

use http::Method;
use inngest_core::{
    access::Actor,
    ids::{DEFAULT_ENV, DEFAULT_ORG, EnvId, FunctionId, OrgId, RunId, StepId, WorkId},
    job::{JobKind, Work},
    json::Json,
    run::{
        StepDetails, StepKind, StepStatus, StepTold,
        trace::{SpanId, TraceId},
    },
    time::Timestamp,
};
use inngest_services::BulkRequest;
use inngest_state::{Commit, StepChange};
use serde_json::{Value, json};

use crate::{
    harness::{EVENT_KEY, SIGNING_KEY, Server, registration},
    socket::Client,
    tokens::{token, with_secret},
};

/// The second tenant.
pub(crate) fn other() -> (OrgId, EnvId) {
    let id = |variant: char| format!("00000000-0000-4000-{variant}000-000000000007");
    (id('a').parse().unwrap(), id('b').parse().unwrap())
}

/// Roles from the least to the most.
pub(crate) const ROLES: [&str; 4] = ["viewer", "member", "admin", "owner"];

/// A root field: the permission and the least role that it asks for, an operation with the ids of the first tenant, and a text that
/// the answer has for the first tenant and must not have for another; none where there is nothing to see.
pub(crate) struct Row {
    pub(crate) field: &'static str,
    permission: &'static str,
    least: &'static str,
    operation: &'static str,
    shows: Option<&'static str>,
}

const fn row(
    field: &'static str,
    (permission, least): (&'static str, &'static str),
    operation: &'static str,
    shows: Option<&'static str>,
) -> Row {
    Row {
        field,
        permission,
        least,
        operation,
        shows,
    }
}

const NOTHING: (&str, &str) = ("", "viewer");
const APPS_READ: (&str, &str) = ("APPS_READ", "viewer");
const EVENTS_READ: (&str, &str) = ("EVENTS_READ", "viewer");
const RUNS_READ: (&str, &str) = ("RUNS_READ", "viewer");
const METRICS_READ: (&str, &str) = ("METRICS_READ", "viewer");
const EVENTS_SEND: (&str, &str) = ("EVENTS_SEND", "member");
const RUNS_MANAGE: (&str, &str) = ("RUNS_MANAGE", "member");
const FUNCTIONS_MANAGE: (&str, &str) = ("FUNCTIONS_MANAGE", "member");
const APPS_MANAGE: (&str, &str) = ("APPS_MANAGE", "admin");

/// Every root field. Those that destroy what the others need come last.
pub(crate) const ROOTS: &[Row] = &[
    row("Query.server", NOTHING, "{ server { mode } }", None),
    row("Query.viewer", NOTHING, "{ viewer { permissions organization { id } environment { id } } }", Some("000000000000\"")),
    row("Query.organization", NOTHING, "{ organization { id environments { nodes { id } } } }", Some("org_00000000-0000-4000-a000-000000000000")),
    row("Query.environment", NOTHING, "{ environment { id apps { nodes { externalId } } functions { nodes { slug } }
        metrics { runThroughput(range: {from: \"2026-01-01T00:00:00Z\"}, flow: QUEUED, groupBy: FUNCTION) { key label total node { ... on Function { slug } } } failingFunctions(range: {from: \"2026-01-01T00:00:00Z\"}) { function { slug } } }
        eventTypes { nodes { name functions { slug } } } queue { partitions { nodes { function { slug } } } } quickSearch(term: \"shop\") { ... on Function { slug } ... on App { externalId } ... on EventType { name } } hit: quickSearch(term: \"{run}\") { ... on Run { input } } waits { nodes { eventName } } ended: waits(filter: {statuses: [TIMED_OUT]}) { nodes { eventName } } cancellations { nodes { name } } replays { nodes { name } } runs(filter: {time: {from: \"2020-01-01T00:00:00Z\"}}) { nodes { input } }
        events(filter: {time: {from: \"2020-01-01T00:00:00Z\"}}) { nodes { data } }
        found: events(filter: {time: {from: \"2020-01-01T00:00:00Z\"}, search: \"event.data.of != 'x'\"}) { nodes { data } }
        foundRuns: runs(filter: {time: {from: \"2020-01-01T00:00:00Z\"}, search: \"event.data.of != 'x'\"}) { nodes { input } } } }", Some("tenant-one")),
    row("Query.app", APPS_READ, "{ app(id: \"{app}\") { externalId functions { nodes { slug } } } }", Some("shop-receipt")),
    row("Query.function", APPS_READ, "{ function(id: \"{function}\") { slug failureHandler { slug } versions { nodes { number } } version { number } } }", Some("shop-receipt")),
    row("Query.event", EVENTS_READ, "{ event(id: \"{event}\") { data runs { nodes { id } } } }", Some("tenant-one")),
    row("Query.run", RUNS_READ, "{ run(id: \"{run}\") { input functionVersion { number } trace { spans { nodes { name } } } waits { kind } } }", Some("tenant-one")),
    row("Query.node", NOTHING, "{ node(id: \"run_{run}\") { ... on Run { input } } }", Some("tenant-one")),
    row("Query.nodes", NOTHING, "{ nodes(ids: [\"run_{run}\", \"evt_{event}\"]) { ... on Run { input } ... on Event { data } } }", Some("tenant-one")),
    row("Query.checkExpression", RUNS_READ, "{ checkExpression(expression: \"1 == 1\", kind: KEY) { isValid } }", None),
    row("Mutation.sendEvents", EVENTS_SEND, "mutation { sendEvents(input: {environmentId: \"{env}\", events: [{name: \"unheard\"}]}) { eventIds errors { code } } }", Some("evt_")),
    row("Mutation.invokeFunction", EVENTS_SEND, "mutation { invokeFunction(input: {functionId: \"{function}\"}) { event { id } errors { code } } }", Some("evt_")),
    row("Mutation.sendSignal", RUNS_MANAGE, "mutation { sendSignal(input: {environmentId: \"{env}\", signal: \"unheard\"}) { delivered errors { code } } }", Some("false")),
    row("Mutation.rerunRun", RUNS_MANAGE, "mutation { rerunRun(input: {runId: \"{run}\"}) { run { input } errors { code } } }", Some("tenant-one")),
    row("Mutation.cancelRun", RUNS_MANAGE, "mutation { cancelRun(input: {runId: \"{run}\"}) { run { input } errors { code } } }", Some("tenant-one")),
    row("Mutation.cancelRuns", RUNS_MANAGE, "mutation { cancelRuns(input: {environmentId: \"{env}\", filter: {functionIds: [\"{function}\"], queued: {from: \"2020-01-01T00:00:00Z\"}}}) { cancellation { function { slug } } errors { code } } }", Some("shop-receipt")),
    row("Mutation.deleteCancellation", RUNS_MANAGE, "mutation { deleteCancellation(input: {cancellationId: \"{cancellation}\"}) { cancellation { name } errors { code } } }", Some("tenant-one")),
    row("Mutation.createReplay", RUNS_MANAGE, "mutation { createReplay(input: {environmentId: \"{env}\", filter: {functionIds: [\"{function}\"], queued: {from: \"2020-01-01T00:00:00Z\"}}}) { replay { function { slug } } errors { code } } }", Some("shop-receipt")),
    row("Mutation.stopReplay", RUNS_MANAGE, "mutation { stopReplay(input: {replayId: \"{replay}\"}) { replay { name } errors { code } } }", Some("tenant-one")),
    row("Mutation.pauseFunction", FUNCTIONS_MANAGE, "mutation { pauseFunction(input: {functionId: \"{function}\", newEvents: HOLD}) { function { slug isPaused } errors { code } } }", Some("shop-receipt")),
    row("Mutation.resumeFunction", FUNCTIONS_MANAGE, "mutation { resumeFunction(input: {functionId: \"{function}\"}) { function { slug isPaused } errors { code } } }", Some("shop-receipt")),
    row("Query.checkApp", APPS_MANAGE, "{ checkApp(environmentId: \"{env}\", url: \"http://127.0.0.1:9/\") { isReachable error } }", Some("isReachable")),
    row("Mutation.syncApp", APPS_MANAGE, "mutation { syncApp(input: {target: {appId: \"{app}\"}}) { app { externalId } errors { code } } }", None),
    row("Mutation.removeApp", APPS_MANAGE, "mutation { removeApp(input: {appId: \"{app}\"}) { app { externalId } errors { code } } }", Some("\"shop\"")),
    row("Mutation.restoreApp", APPS_MANAGE, "mutation { restoreApp(input: {appId: \"{app}\"}) { app { externalId } errors { code } } }", Some("\"shop\"")),
    row("Subscription.runUpdated", RUNS_READ, "subscription { runUpdated(runId: \"{run}\") { run { input } } }", Some("tenant-one")),
    row("Subscription.runFeed", RUNS_READ, "subscription { runFeed(environmentId: \"{env}\") { kind run { input } } }", Some("READY")),
    row("Subscription.runTraceFeed", RUNS_READ, "subscription { runTraceFeed(runId: \"{run}\") { kind } }", Some("READY")),
    row("Subscription.functionMetrics", METRICS_READ, "subscription { functionMetrics(functionId: \"{function}\") { intervalMs } }", Some("intervalMs")),
    row("Subscription.queueStats", APPS_READ, "subscription { queueStats(environmentId: \"{env}\") { stats { partitions { nodes { function { slug } } } } } }", Some("shop-receipt")),
    row("Subscription.bulkOperationUpdated", RUNS_READ, "subscription { bulkOperationUpdated(id: \"cxl_{cancellation}\") { operation { name } } }", Some("tenant-one")),
    row("Subscription.appFeed", APPS_READ, "subscription { appFeed(environmentId: \"{env}\") { kind } }", Some("READY")),
    row("Subscription.eventFeed", EVENTS_READ, "subscription { eventFeed(environmentId: \"{env}\") { kind } }", Some("READY")),
];

/// The ids of the first tenant.
pub(crate) struct Ids {
    app: String,
    function: String,
    event: String,
    run: String,
    cancellation: String,
    replay: String,
    sync: String,
}

impl Ids {
    /// A text with the ids in the places of their names.
    pub(crate) fn fill(&self, operation: &str) -> String {
        let env = format!("env_{DEFAULT_ENV}");
        let known = [
            ("{app}", &self.app),
            ("{function}", &self.function),
            ("{event}", &self.event),
            ("{run}", &self.run),
            ("{cancellation}", &self.cancellation),
            ("{replay}", &self.replay),
            ("{env}", &env),
        ];
        known.iter().fold(operation.to_owned(), |text, (name, id)| {
            text.replace(name, id)
        })
    }
}

/// A server with two tenants, of which the first has an app, an event and a run with a step and a wait.
pub(crate) async fn two_tenants() -> (Server, Ids) {
    let server = with_secret().await;
    let store = server.services.store();
    let (org, env) = other();
    store
        .ensure_environment(org, env, "other", Timestamp::default())
        .await
        .unwrap();
    let key = format!("Bearer {SIGNING_KEY}");
    let headers = [
        ("authorization", key.as_str()),
        ("content-type", "application/json"),
    ];
    let registered = server
        .send(Method::POST, "/fn/register", &registration(), &headers)
        .await;
    assert_eq!(registered.status.as_u16(), 200, "{}", registered.json());
    let event = json!({"name": "shop/order.placed", "data": {"of": "tenant-one"}});
    let sent = server.post(&format!("/e/{EVENT_KEY}"), &event).await.json();
    let event = sent["ids"][0].as_str().unwrap().to_owned();
    let read = "query ($id: ID!) { event(id: $id) { runs { nodes { runId function { functionId app { appId } } } } } }";
    let found = ask(&server, &own("owner"), read, json!({"id": event})).await;
    let run = &found["data"]["event"]["runs"]["nodes"][0];
    let text = |value: &Value| {
        value
            .as_str()
            .unwrap_or_else(|| panic!("{found}"))
            .to_owned()
    };
    let request = BulkRequest {
        functions: vec![text(&run["function"]["functionId"]).parse().unwrap()],
        name: Some("tenant-one".to_owned()),
        ..BulkRequest::default()
    };
    let bulk = server.services.bulk();
    let actor = Actor::dev();
    let cancellation = bulk.cancel(&actor, request.clone(), None).await;
    let cancellation = cancellation.unwrap();
    let replay = bulk.replay(&actor, request, None).await.unwrap();
    let ids = Ids {
        cancellation: cancellation.id.to_string(),
        replay: replay.id.to_string(),
        sync: text(&registered.json()["sync_id"]),
        app: text(&run["function"]["app"]["appId"]),
        function: text(&run["function"]["functionId"]),
        run: text(&run["runId"]),
        event,
    };
    let (id, step) = (
        ids.run.parse::<RunId>().unwrap(),
        StepId::parse("work").unwrap(),
    );
    let change = StepChange {
        run: id,
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        step,
        name: "work".to_owned(),
        kind: StepKind::Run,
        status: StepStatus::Completed,
        group: None,
        position: Some(0),
        memo: Some(Json::null()),
        details: None,
        told: StepTold::default(),
        ended_by: None,
        response: None,
        queued_at: Timestamp::default(),
        started_at: None,
        ended_at: None,
    };
    let wait = StepChange {
        step: StepId::parse("wait").unwrap(),
        kind: StepKind::WaitForEvent,
        status: StepStatus::Open,
        position: None,
        memo: None,
        details: Some(StepDetails::Event {
            name: "of/tenant-one".to_owned(),
            expression: None,
            until: Timestamp::MAX,
        }),
        ..change.clone()
    };
    let waited = StepChange {
        step: StepId::parse("waited").unwrap(),
        status: StepStatus::TimedOut,
        position: Some(1),
        memo: Some(Json::null()),
        ..wait.clone()
    };
    let timeout = Work {
        id: WorkId::derive(id, "timeout:wait"),
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        kind: JobKind::WaitTimeout,
        function: ids.function.parse::<FunctionId>().unwrap(),
        run: Some(id),
        step: Some(wait.step.clone()),
        due_at: Timestamp::MAX,
        rank: 0,
        attempt: 0,
        epoch: 1,
        payload: bytes::Bytes::new(),
    };
    let commit = Commit {
        steps: vec![change, wait, waited],
        work: vec![timeout],
        ..Commit::default()
    };
    store.commit(commit).await.unwrap();
    while store.roll_up().await.unwrap().has_more {}
    (server, ids)
}

pub(crate) fn own(role: &str) -> String {
    token(&json!({"role": role}))
}

pub(crate) fn of_other() -> String {
    token(&json!({"role": "owner", "org": other().0.raw(), "envs": ["other"]}))
}

pub(crate) async fn ask(server: &Server, token: &str, query: &str, variables: Value) -> Value {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let body = json!({"query": query, "variables": variables});
    server
        .send(Method::POST, "/graphql", &body, &headers)
        .await
        .json()
}

/// The first message of a subscription, or the answer of another operation.
async fn carry_out(server: &Server, token: &str, operation: &str) -> Value {
    if !operation.starts_with("subscription") {
        return ask(server, token, operation, json!({})).await;
    }
    let mut client = Client::open(server).await;
    let payload = json!({"authorization": format!("Bearer {token}")});
    client
        .say(json!({"type": "connection_init", "payload": payload}))
        .await;
    assert_eq!(client.hear().await["type"], "connection_ack");
    let payload = json!({"query": operation});
    client
        .say(json!({"type": "subscribe", "id": "1", "payload": payload}))
        .await;
    client.hear().await
}

fn is_forbidden(answer: &Value) -> bool {
    answer.to_string().contains("\"FORBIDDEN\"")
}

#[tokio::test]
async fn each_root_field_opens_for_its_role_and_for_none_below() {
    let (server, ids) = two_tenants().await;
    for row in ROOTS {
        let least = ROLES.iter().position(|role| *role == row.least).unwrap();
        let mut shown = false;
        for (place, role) in ROLES.iter().enumerate() {
            let answer = carry_out(&server, &own(role), &ids.fill(row.operation)).await;
            assert_eq!(
                is_forbidden(&answer),
                place < least,
                "{} as {role}: {answer}",
                row.field
            );
            shown |= row
                .shows
                .is_none_or(|text| answer.to_string().contains(text));
        }
        assert!(
            shown,
            "{}: the operation shows nothing, so the other test proves nothing",
            row.field
        );
    }
}

#[tokio::test]
async fn each_permission_named_in_the_table_is_what_its_least_role_has_more() {
    let (server, _) = two_tenants().await;
    for (place, role) in ROLES.iter().enumerate() {
        let answer = ask(
            &server,
            &own(role),
            "{ viewer { kind role permissions } }",
            json!({}),
        )
        .await;
        let has = answer["data"]["viewer"]["permissions"].to_string();
        assert_eq!(answer["data"]["viewer"]["kind"], "USER");
        assert_eq!(answer["data"]["viewer"]["role"], role.to_uppercase());
        for row in ROOTS.iter().filter(|row| !row.permission.is_empty()) {
            let least = ROLES.iter().position(|role| *role == row.least).unwrap();
            let quoted = format!("\"{}\"", row.permission);
            assert_eq!(
                has.contains(&quoted),
                place >= least,
                "{} as {role}: {has}",
                row.field
            );
        }
    }
}

#[tokio::test]
async fn no_root_field_shows_or_changes_anything_of_another_tenant() {
    let (server, ids) = two_tenants().await;
    for row in ROOTS {
        let answer = carry_out(&server, &of_other(), &ids.fill(row.operation)).await;
        for text in row.shows.into_iter().chain(["tenant-one", "shop-receipt"]) {
            assert!(
                !answer.to_string().contains(text),
                "{}: {answer}",
                row.field
            );
        }
    }
    let query = ids.fill("{ run(id: \"{run}\") { status } app(id: \"{app}\") { isArchived } function(id: \"{function}\") { isPaused } environment { events(filter: {time: {from: \"2020-01-01T00:00:00Z\"}}) { nodes { name } } } }");
    let after = ask(&server, &own("owner"), &query, json!({})).await;
    assert_eq!(
        after["data"],
        json!({"run": {"status": "QUEUED"}, "app": {"isArchived": false}, "function": {"isPaused": false}, "environment": {"events": {"nodes": [{"name": "shop/order.placed"}]}}})
    );
}

#[tokio::test]
async fn figures_are_those_of_the_tenant_alone() {
    let (server, ids) = two_tenants().await;
    let range = "range: {from: \"2026-01-01T00:00:00Z\"}";
    let query = ids.fill(&format!(
        "{{ environment {{ metrics {{ events({range}) {{ total }} runStatusCounts({range}) {{ queued }}
        one: runThroughput({range}, flow: QUEUED, scope: {{functionIds: [\"{{function}}\"]}}) {{ total }}
        app: runThroughput({range}, flow: QUEUED, scope: {{appIds: [\"{{app}}\"]}}) {{ total }}
        function: runThroughput({range}, flow: QUEUED, groupBy: FUNCTION) {{ total }} }} }} }}"
    ));
    for (token, count) in [(own("viewer"), 1), (of_other(), 0)] {
        let answer = ask(&server, &token, &query, json!({})).await;
        let metrics = &answer["data"]["environment"]["metrics"];
        assert_eq!(metrics["runStatusCounts"]["queued"], count, "{answer}");
        for name in ["events", "one", "app"] {
            assert_eq!(
                metrics[name][0]["total"],
                json!(f64::from(count)),
                "{answer}"
            );
        }
        let groups = metrics["function"].as_array().unwrap().len();
        assert_eq!(groups, usize::from(count == 1), "{answer}");
    }
}

#[tokio::test]
async fn every_node_is_found_by_its_tenant_and_by_no_other() {
    let (server, ids) = two_tenants().await;
    let run: RunId = ids.run.parse().unwrap();
    let env = DEFAULT_ENV;
    let nodes = [
        ("App", format!("app_{}", ids.app)),
        ("Cancellation", format!("cxl_{}", ids.cancellation)),
        ("Environment", format!("env_{env}")),
        ("Event", format!("evt_{}", ids.event)),
        // base64url of `shop/order.placed`
        ("EventType", format!("evty_{env}.c2hvcC9vcmRlci5wbGFjZWQ")),
        ("Function", format!("fn_{}", ids.function)),
        ("FunctionBacklog", format!("blg_{}", ids.function)),
        ("FunctionVersion", format!("fnv_{}.1", ids.function)),
        ("Organization", format!("org_{DEFAULT_ORG}")),
        ("Replay", format!("rpl_{}", ids.replay)),
        ("Run", format!("run_{run}")),
        ("Step", format!("step_{run}.work")),
        ("Sync", format!("sync_{}", ids.sync)),
        ("StepAttempt", format!("att_{run}.work.0")),
        (
            "TraceSpan",
            format!("span_{}.{}", TraceId::of(run), SpanId::root(run)),
        ),
        ("Wait", format!("wait_{run}.waited")),
    ];
    let schema = "{ __type(name: \"Node\") { possibleTypes { name } } }";
    let schema = Server::dev().await.query(schema, json!({})).await;
    let types = schema["__type"]["possibleTypes"].as_array().unwrap();
    let types: BTreeSet<&str> = types
        .iter()
        .map(|kind| kind["name"].as_str().unwrap())
        .collect();
    assert_eq!(types, nodes.iter().map(|(name, _)| *name).collect());
    for (name, id) in nodes {
        let query = "query ($id: ID!) { node(id: $id) { __typename id } }";
        let found = ask(&server, &own("viewer"), query, json!({"id": id})).await;
        assert_eq!(
            found["data"]["node"],
            json!({"__typename": name, "id": id}),
            "{found}"
        );
        let other = ask(&server, &of_other(), query, json!({"id": id})).await;
        let expected = (&json!({"node": null}), &Value::Null);
        assert_eq!((&other["data"], &other["errors"]), expected, "{name}");
    }
}
