//! A list takes as many statements with a hundred entries as with five, whatever is asked of each entry.
//!
//! The documents are made from the schema: for each type one that asks for all that its objects know of themselves, and one for each field
//! that leads to other objects. So a field that is added is in one of them; a type that is added has to say here where a list of it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    breadth_rows::{app_name, event_name, fill, slug},
    harness::Server,
};

/// Where many objects of a type are found: a document with `$N` for how many, and `$X` for what is asked of each.
const LISTS: &[(&str, &str)] = &[
    (
        "App",
        "{ environment { apps(first: $N) { nodes { $X } } } }",
    ),
    (
        "Sync",
        "{ environment { syncs(first: $N) { nodes { $X } } } }",
    ),
    (
        "Function",
        "{ environment { functions(first: $N) { nodes { $X } } } }",
    ),
    (
        "FunctionVersion",
        "{ environment { functions(first: $N) { nodes { versions(first: 2) { nodes { $X } } } } } }",
    ),
    (
        "FunctionBacklog",
        "{ environment { queue { partitions(first: $N) { nodes { $X } } } } }",
    ),
    (
        "EventType",
        "{ environment { eventTypes(first: $N, nameContains: \"shop\") { nodes { $X } } } }",
    ),
    (
        "Event",
        "{ environment { events(first: $N, filter: $T) { nodes { $X } } } }",
    ),
    (
        "EventDispatch",
        "{ environment { events(first: $N, filter: $T) { nodes { dispatches { $X } } } } }",
    ),
    (
        "Run",
        "{ environment { runs(first: $N, filter: $T) { nodes { $X } } } }",
    ),
    (
        "RunCancel",
        "{ environment { runs(first: $N, filter: $T) { nodes { cancel { $X } } } } }",
    ),
    (
        "Step",
        "{ environment { runs(first: $N, filter: $T) { nodes { steps(first: 3) { nodes { $X } } } } } }",
    ),
    (
        "StepAttempt",
        "{ environment { runs(first: $N, filter: $T) { nodes { steps(first: 3) { nodes { attempts { $X } } } } } } }",
    ),
    (
        "InvokeStepDetails",
        "{ environment { runs(first: $N, filter: $T) { nodes { steps(first: 3) { nodes { details { ... on InvokeStepDetails { $X } } } } } } } }",
    ),
    (
        "WaitForEventStepDetails",
        "{ environment { runs(first: $N, filter: $T) { nodes { steps(first: 3) { nodes { details { ... on WaitForEventStepDetails { $X } } } } } } } }",
    ),
    (
        "Trace",
        "{ environment { runs(first: $N, filter: $T) { nodes { trace { $X } } } } }",
    ),
    (
        "TraceSpan",
        "{ environment { runs(first: $N, filter: $T) { nodes { trace { spans(first: 4) { nodes { $X } } } } } } }",
    ),
    (
        "SpanLink",
        "{ environment { runs(first: $N, filter: $T) { nodes { trace { spans(first: 4) { nodes { links { $X } } } } } } } }",
    ),
    (
        "Wait",
        "{ environment { waits(first: $N, filter: {statuses: [OPEN, RESOLVED]}) { nodes { $X } } } }",
    ),
    (
        "Cancellation",
        "{ environment { cancellations(first: $N) { nodes { $X } } } }",
    ),
    (
        "Replay",
        "{ environment { replays(first: $N) { nodes { $X } } } }",
    ),
    (
        "BulkSelection",
        "{ environment { replays(first: $N) { nodes { selection { $X } } } } }",
    ),
    (
        "Environment",
        "{ environment { runs(first: $N, filter: $T) { nodes { environment { $X } } } } }",
    ),
    (
        "QueueStats",
        "{ environment { runs(first: $N, filter: $T) { nodes { environment { queue { $X } } } } } }",
    ),
    (
        "Organization",
        "{ environment { runs(first: $N, filter: $T) { nodes { environment { organization { $X } } } } } }",
    ),
];

/// Types that are in no list, and why.
const SINGLE: &[(&str, &str)] = &[
    ("Query", "the root; its lists are looked at below"),
    (
        "Mutation",
        "the root of changes, of which each stands for itself",
    ),
    ("Subscription", "the root of streams"),
    ("Viewer", "there is one caller"),
    ("ServerInfo", "there is one server"),
    ("CancelRunPayload", "of one mutation"),
    ("CancelRunsPayload", "of one mutation"),
    ("CreateReplayPayload", "of one mutation"),
    ("DeleteCancellationPayload", "of one mutation"),
    ("PauseFunctionPayload", "of one mutation"),
    ("RestoreAppPayload", "of one mutation"),
    ("ResumeFunctionPayload", "of one mutation"),
    ("StopReplayPayload", "of one mutation"),
    (
        "BulkPreview",
        "counts what an operation would touch, and is paid for by its points",
    ),
    ("BulkOperationUpdate", "one message of a stream"),
    ("InvokeFunctionPayload", "of one mutation"),
    ("RemoveAppPayload", "of one mutation"),
    ("RerunRunPayload", "of one mutation"),
    (
        "SendEventsPayload",
        "of one mutation; its events are a list like others",
    ),
    ("SendSignalPayload", "of one mutation"),
    ("SyncAppPayload", "of one mutation"),
    ("ConflictError", "of one mutation"),
    ("LimitExceededError", "of one mutation"),
    ("NotFoundError", "of one mutation"),
    ("ValidationError", "of one mutation"),
    (
        "EnvironmentMetrics",
        "each figure is a read of its own, and paid for by its points",
    ),
    (
        "FunctionMetrics",
        "each figure is a read of its own, and paid for by its points",
    ),
    ("FunctionFailureRate", "part of a figure"),
    ("LatencySeries", "part of a figure"),
    ("TimeSeries", "part of a figure"),
    ("FunctionMetricsTick", "one message of a stream"),
    ("QueueStatsTick", "one message of a stream"),
    ("RunUpdate", "one message of a stream"),
    ("RunFeedUpdate", "one message of a stream"),
    (
        "RunTraceUpdate",
        "one message of a stream; its steps are a list like others",
    ),
    ("AppFeedUpdate", "one message of a stream"),
    ("EventFeedUpdate", "one message of a stream"),
];

fn is_single(name: &str) -> bool {
    SINGLE.iter().any(|(single, _)| *single == name)
}

/// Arguments without which a field cannot be asked for.
fn argument(field: &str, argument: &str, kind: &str) -> Option<String> {
    Some(match (field, argument) {
        ("Environment.app", "externalId") => json!(app_name(1)).to_string(),
        ("Environment.function", "slug") => json!(slug(1)).to_string(),
        ("Environment.quickSearch", "term") => "\"app00\"".to_owned(),
        ("Environment.eventType", "name") => json!(event_name(1)).to_string(),
        ("Organization.environment", "slug") => "\"dev\"".to_owned(),
        ("Organization.usage", "range") => "{from: \"2026-06-01T00:00:00Z\"}".to_owned(),
        ("Run.step", "stepId") => "\"s0\"".to_owned(),
        ("Trace.span", "spanId") => "\"0000000000000001\"".to_owned(),
        _ if kind == "RunFilter" || kind == "EventFilter" => TIME.to_owned(),
        _ => return None,
    })
}

const TIME: &str = "{time: {from: \"2020-01-01T00:00:00Z\"}}";

/// Lists with arguments that change how they are read.
const VARIANTS: &[&str] = &[
    "{ environment { waits(first: $N) { totalCount { value } pageInfo { hasPreviousPage } nodes { id status resolvedAt run { id } step { name } matchedEvent { id } } } } }",
    "{ environment { waits(last: $N, filter: {statuses: [RESOLVED], kinds: [EVENT, INVOKE]}) { totalCount { value } nodes { id step { name } invokedRun { id } matchedEvent { data } } } } }",
    "{ environment { apps(first: $N) { nodes { functions(first: 2, filter: {nameContains: \"work\", triggerKinds: [EVENT]}) { totalCount { value } nodes { name } } } } } }",
    "{ environment { functions(first: $N) { nodes { runs(last: 2, filter: {time: {from: \"2020-01-01T00:00:00Z\"}, functionSlugs: [\"app001-work\"], statuses: [QUEUED, CANCELLED], durationMs: {min: 0}}) {
        totalCount { value } feedCursor nodes { id activity } } } } } }",
    "{ environment { runs(first: $N, filter: $T) { nodes { environment { runs(first: 2, filter: {time: {from: \"2020-01-01T00:00:00Z\"}, activities: [QUEUED]}) { totalCount { value } nodes { id } } } } } } }",
    "{ environment { eventTypes(first: $N, nameContains: \"shop\") { nodes { volume(range: {from: \"2026-06-01T00:00:00Z\"}) { key label bucket total node { id } points { at value } } } } } }",
    "{ environment { functions(first: $N) { nodes { versions(last: 1) { totalCount { value } nodes { number } } } } } }",
    "{ environment { runs(first: $N, filter: $T) { nodes { environment { runs(first: 2, filter: {time: {from: \"2020-01-01T00:00:00Z\"}, search: \"run.status == 'QUEUED'\"}) { totalCount { value } feedCursor nodes { id } } } } } } }",
    "{ environment { runs(first: $N, filter: $T) { nodes { function { app { functions(first: 2) { nodes { runs(first: 1, filter: $T) { nodes { waits { run { id } step { name } } rerunOf { id } } } } } } } } } } }",
    "{ environment { events(first: $N, filter: $T) { nodes { runs(first: 1) { pageInfo { hasPreviousPage } nodes { steps(first: 1) { nodes { attempts { number } } } } } } } } }",
];

/// The schema, by type.
struct Schema(BTreeMap<String, Value>);

struct Field<'a> {
    name: &'a str,
    arguments: &'a [Value],
    /// The type below all lists and bangs.
    kind: &'a str,
    of: &'a str,
}

impl<'a> Field<'a> {
    fn of(field: &'a Value) -> Self {
        let (kind, of) = innermost(&field["type"]);
        Self {
            name: field["name"].as_str().unwrap(),
            arguments: array(&field["args"]),
            kind,
            of,
        }
    }
}

fn innermost(mut kind: &Value) -> (&str, &str) {
    while !kind["ofType"].is_null() {
        kind = &kind["ofType"];
    }
    (
        kind["kind"].as_str().unwrap(),
        kind["name"].as_str().unwrap(),
    )
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

impl Schema {
    async fn of(server: &Server) -> Self {
        let kind = "kind name ofType { kind name ofType { kind name ofType { kind name } } }";
        let query = format!(
            "{{ __schema {{ types {{ kind name interfaces {{ name }} possibleTypes {{ name }} fields {{ name args {{ name defaultValue type {{ {kind} }} }} type {{ {kind} }} }} }} }} }}"
        );
        let mut data = server.query(&query, json!({})).await;
        let types = data["__schema"]["types"].take();
        let by_name = |kind: &Value| (kind["name"].as_str().unwrap().to_owned(), kind.clone());
        Self(array(&types).iter().map(by_name).collect())
    }

    fn fields(&self, name: &str) -> Vec<Field<'_>> {
        let fields = array(&self.0[name]["fields"]).iter();
        fields.map(Field::of).collect()
    }

    /// Whether objects of this type are no more than a part of another: they lead nowhere.
    fn is_part(&self, name: &str) -> bool {
        self.0[name]["kind"] == "OBJECT"
            && !is_single(name)
            && !name.ends_with("Connection")
            && !name.ends_with("Edge")
            && array(&self.0[name]["interfaces"]).is_empty()
            && self.fields(name).iter().all(|field| match field.kind {
                "OBJECT" => field.of != name && self.is_part(field.of),
                "UNION" => self.possible(field.of).iter().all(|of| self.is_part(of)),
                kind => kind != "INTERFACE",
            })
    }

    fn possible(&self, name: &str) -> Vec<&str> {
        let kinds = array(&self.0[name]["possibleTypes"]).iter();
        kinds.map(|kind| kind["name"].as_str().unwrap()).collect()
    }

    /// Whether a field says something of its object, and does not lead to another one.
    fn is_own(&self, field: &Field<'_>) -> bool {
        match field.kind {
            "OBJECT" => self.is_part(field.of),
            "UNION" => self.possible(field.of).iter().all(|of| self.is_part(of)),
            kind => kind != "INTERFACE",
        }
    }

    /// A field with the arguments that it needs, and what is asked of what it leads to.
    fn asked(&self, of: &str, field: &Field<'_>) -> String {
        let path = format!("{of}.{}", field.name);
        let mut given = Vec::new();
        for one in field.arguments {
            let name = one["name"].as_str().unwrap();
            let is_needed = one["type"]["kind"] == "NON_NULL" && one["defaultValue"].is_null();
            if is_needed {
                let (_, kind) = innermost(&one["type"]);
                let value = argument(&path, name, kind);
                let value = value.unwrap_or_else(|| panic!("{path} needs `{name}`: say which"));
                given.push(format!("{name}: {value}"));
            } else if name == "first" {
                given.push("first: 2".to_owned());
            }
        }
        let arguments = match given.is_empty() {
            true => String::new(),
            false => format!("({})", given.join(", ")),
        };
        format!("{}{arguments}{}", field.name, self.all_of(field))
    }

    /// What is asked of what a field leads to: everything that leads no further.
    fn all_of(&self, field: &Field<'_>) -> String {
        match field.kind {
            "OBJECT" if field.of.ends_with("Connection") => {
                let mut parts = Vec::new();
                for part in self.fields(field.of) {
                    parts.push(match part.name {
                        "edges" => "edges { cursor }".to_owned(),
                        "nodes" => format!("nodes {{ {} }}", self.own(part.of)),
                        _ => self.asked(field.of, &part),
                    });
                }
                format!(" {{ {} }}", parts.join(" "))
            }
            "OBJECT" => format!(" {{ {} }}", self.own(field.of)),
            "UNION" | "INTERFACE" => {
                let possible = self.possible(field.of);
                let part = |of: &&str| format!("... on {of} {{ {} }}", self.own_as(of, &possible));
                let parts: Vec<String> = possible.iter().map(part).collect();
                format!(" {{ __typename {} }}", parts.join(" "))
            }
            _ => String::new(),
        }
    }

    /// Everything that objects of a type say of themselves.
    fn own(&self, name: &str) -> String {
        let fields = self.fields(name);
        let own = fields.iter().filter(|field| self.is_own(field));
        let own: Vec<String> = own.map(|field| self.asked(name, field)).collect();
        match own.is_empty() {
            true => "__typename".to_owned(),
            false => own.join(" "),
        }
    }

    /// The same inside of a union, where fields of one name may differ in type.
    fn own_as(&self, name: &str, union: &[&str]) -> String {
        let has = |other: &str, name: &str| self.fields(other).iter().any(|it| it.name == name);
        let is_shared = |field: &str| {
            union
                .iter()
                .any(|other| *other != name && has(other, field))
        };
        let fields = self.fields(name);
        let own = fields.iter().filter(|field| self.is_own(field));
        let own: Vec<String> = own
            .map(|field| match is_shared(field.name) {
                true => format!("{name}_{}: {}", field.name, self.asked(name, field)),
                false => self.asked(name, field),
            })
            .collect();
        match own.is_empty() {
            true => "__typename".to_owned(),
            false => own.join(" "),
        }
    }

    /// Types of objects that lead to others.
    fn leading(&self) -> BTreeSet<&str> {
        let own = self.0.iter().filter(|(name, kind)| {
            kind["kind"] == "OBJECT"
                && !name.starts_with("__")
                && !name.ends_with("Connection")
                && !name.ends_with("Edge")
                && !self.is_part(name)
        });
        own.map(|(name, _)| name.as_str()).collect()
    }
}

/// How many statements a document takes; none when it is too complex.
async fn cost(server: &Server, document: &str) -> Option<u64> {
    let store = server.services.store();
    let before = store.statements();
    let body = json!({"query": document});
    let answer = server.post("/graphql", &body).await.json();
    match answer["errors"][0]["extensions"]["code"].as_str() {
        Some("OPERATION_TOO_COMPLEX") => None,
        _ => {
            assert!(answer.get("errors").is_none(), "{document}\n{answer:#}");
            Some(store.statements() - before)
        }
    }
}

/// Compares a page of five with the largest that may be asked for; says what differs.
async fn compare(server: &Server, document: &str) -> Option<String> {
    let document = document.replace("$T", TIME);
    let of = |rows: u32| document.replace("$N", &rows.to_string());
    cost(server, &of(5)).await;
    let few = cost(server, &of(5)).await;
    let few = few.unwrap_or_else(|| panic!("five are too complex already: {document}"));
    for rows in [100, 50, 25, 12] {
        if let Some(many) = cost(server, &of(rows)).await {
            let differs = many != few;
            return differs
                .then(|| format!("{few} statements for 5, {many} for {rows}: {document}"));
        }
    }
    panic!("nothing but five can be asked for: {document}");
}

#[tokio::test]
async fn lists_take_as_many_statements_with_a_hundred_entries_as_with_five() {
    let server = Server::dev().await;
    fill(&server).await;
    let schema = Schema::of(&server).await;

    let known: BTreeSet<&str> = LISTS.iter().chain(SINGLE).map(|(name, _)| *name).collect();
    let leading = schema.leading();
    let unknown: Vec<&&str> = leading.difference(&known).collect();
    assert!(
        unknown.is_empty(),
        "say where lists of these are: {unknown:?}"
    );
    let gone = known.iter().filter(|name| !schema.0.contains_key(**name));
    assert_eq!(
        gone.collect::<Vec<_>>(),
        Vec::<&&str>::new(),
        "no types of ours"
    );

    let mut documents: Vec<String> = VARIANTS.iter().map(|text| (*text).to_owned()).collect();
    for (name, list) in LISTS {
        documents.push(list.replace("$X", &schema.own(name)));
        for field in schema.fields(name) {
            if !schema.is_own(&field) && !is_single(field.of) {
                documents.push(list.replace("$X", &schema.asked(name, &field)));
            }
        }
    }
    let mut differing = Vec::new();
    for document in &documents {
        differing.extend(compare(&server, document).await);
    }
    assert!(differing.is_empty(), "{differing:#?}");
    assert!(documents.len() > 80, "{} documents", documents.len());
}

#[tokio::test]
async fn nodes_take_as_many_statements_for_a_hundred_ids_as_for_five() {
    let server = Server::dev().await;
    fill(&server).await;
    let query = format!(
        "{{ environment {{ apps(first: 100) {{ nodes {{ id }} }} functions(first: 100) {{ nodes {{ id version {{ id }} backlog {{ id }} }} }}
           events(first: 100, filter: {TIME}) {{ nodes {{ id }} }} eventTypes(first: 100) {{ nodes {{ id }} }} waits(first: 100) {{ nodes {{ id }} }}
           runs(first: 100, filter: {TIME}) {{ nodes {{ id steps(first: 3) {{ nodes {{ id attempts {{ id }} }} }} trace {{ spans(first: 1) {{ nodes {{ id }} }} }} }} }} }} }}"
    );
    let found = server.query(&query, json!({})).await;
    let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
    collect_ids(&found, &mut ids);
    assert_eq!(ids.len(), 11, "{:?}", ids.keys());
    for (prefix, ids) in ids {
        let store = server.services.store();
        let mut costs = Vec::new();
        for count in [5, 5, 100] {
            let some: Vec<&String> = ids.iter().take(count).collect();
            let before = store.statements();
            let query = "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }";
            let nodes = server.query(query, json!({"ids": some})).await;
            assert!(
                array(&nodes["nodes"]).iter().all(Value::is_object),
                "{prefix}"
            );
            costs.push(store.statements() - before);
        }
        assert!(ids.len() >= 50, "{prefix}: {}", ids.len());
        assert_eq!(costs[1], costs[2], "{prefix}");
    }
}

/// What `reads` of the tests package measures; here it is only answered.
#[tokio::test]
async fn documents_of_the_read_benchmark_are_answered_in_few_statements() {
    const MEASURED: [(&str, &str); 6] = [
        ("runs", include_str!("../../../../tests/reads/runs.graphql")),
        (
            "failed",
            include_str!("../../../../tests/reads/failed.graphql"),
        ),
        ("open", include_str!("../../../../tests/reads/open.graphql")),
        (
            "search",
            include_str!("../../../../tests/reads/search.graphql"),
        ),
        (
            "events",
            include_str!("../../../../tests/reads/events.graphql"),
        ),
        ("run", include_str!("../../../../tests/reads/run.graphql")),
    ];
    let server = Server::dev().await;
    fill(&server).await;
    let begin = include_str!("../../../../tests/reads/begin.graphql");
    let begin = begin.replace("fill0-big", &slug(1));
    let found = server.query(&begin, json!({})).await;
    let run = &found["environment"]["function"]["runs"]["nodes"][0]["runId"];
    let variables = json!({"from": "2020-01-01T00:00:00Z", "run": run});
    for (name, document) in MEASURED {
        let store = server.services.store();
        let before = store.statements();
        server.query(document, variables.clone()).await;
        let statements = store.statements() - before;
        assert!(statements <= 10, "{name}: {statements} statements");
    }
}

/// All values of `id`, by prefix.
fn collect_ids(value: &Value, ids: &mut BTreeMap<String, Vec<String>>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str().filter(|_| name == "id") {
                    Some(id) => {
                        let prefix = id.split('_').next().unwrap().to_owned();
                        ids.entry(prefix).or_default().push(id.to_owned());
                    }
                    None => collect_ids(member, ids),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_ids(item, ids)),
        _ => {}
    }
}
