//! What runs wait for and have waited for, over HTTP.

use inngest_core::{
    ids::{DEFAULT_ENV, DEFAULT_ORG, EnvId, FunctionId, OrgId, RunId, StepId, WaitId, WorkId},
    job::{JobKind, Work},
    json::Json,
    run::{StepDetails, StepKind, StepStatus, StepTold},
    time::Timestamp,
    wait::{Wait, WaitKind},
};
use inngest_state::{Commit, StepChange};
use serde_json::{Value, json};
use ulid::Ulid;

use crate::{
    harness::{NOW, Server},
    permissions::{ask, of_other, other, own},
    tokens::with_secret,
};

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(NOW + ms)
}

/// Where a step is, and what the rows around it need.
#[derive(Clone, Copy)]
struct Place {
    org: OrgId,
    env: EnvId,
    function: FunctionId,
    run: RunId,
}

impl Place {
    /// A step that waits, of which the `place`-th was reported in the `place`-th millisecond.
    fn step(self, place: i64, details: StepDetails) -> StepChange {
        StepChange {
            response: None,
            run: self.run,
            org: self.org,
            env: self.env,
            step: StepId::parse(&format!("s{place}")).unwrap(),
            name: format!("step {place}"),
            kind: match &details {
                StepDetails::Sleep { .. } => StepKind::Sleep,
                StepDetails::Signal { .. } => StepKind::WaitForSignal,
                StepDetails::Invoke { .. } => StepKind::Invoke,
                _ => StepKind::WaitForEvent,
            },
            status: StepStatus::Open,
            group: None,
            position: None,
            memo: None,
            details: Some(details),
            told: StepTold::default(),
            ended_by: None,
            queued_at: at(place),
            started_at: None,
            ended_at: None,
        }
    }

    /// The work that ends an open step in time.
    fn work(self, step: &StepChange) -> Work {
        Work {
            id: WorkId::derive(self.run, &format!("end:{}", step.step)),
            org: self.org,
            env: self.env,
            kind: match step.kind {
                StepKind::Sleep => JobKind::Wake,
                _ => JobKind::WaitTimeout,
            },
            function: self.function,
            run: Some(self.run),
            step: Some(step.step.clone()),
            due_at: at(60_000),
            rank: 0,
            attempt: 0,
            epoch: 1,
            payload: bytes::Bytes::new(),
        }
    }

    /// Stores steps, and work for those that are open.
    async fn store(self, server: &Server, steps: Vec<StepChange>, waits: Vec<Wait>) {
        let open = steps.iter().filter(|step| !step.status.is_ended());
        let commit = Commit {
            work: open.map(|step| self.work(step)).collect(),
            steps,
            waits,
            ..Commit::default()
        };
        server.services.store().commit(commit).await.unwrap();
    }
}

fn event(name: &str) -> StepDetails {
    StepDetails::Event {
        name: name.to_owned(),
        expression: Some("async.data.n == event.data.n".to_owned()),
        until: at(60_000),
    }
}

fn ended(step: StepChange, status: StepStatus) -> StepChange {
    StepChange {
        status,
        position: Some(0),
        memo: Some(Json::null()),
        ended_at: Some(at(500)),
        ..step
    }
}

/// A run that waits for four things and has waited for three.
async fn run_with_waits(server: &Server) -> (Place, String) {
    server.register().await;
    let (sent, run) = server.start_run().await;
    let query = "query ($id: ID!) { run(id: $id) { function { functionId } } }";
    let found = server.query(query, json!({"id": run})).await;
    let function = found["run"]["function"]["functionId"].as_str().unwrap();
    let place = Place {
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        function: function.parse().unwrap(),
        run: run.parse().unwrap(),
    };
    let until = at(60_000);
    let signal = || StepDetails::Signal {
        name: "go".to_owned(),
        until,
    };
    let invoke = StepDetails::Invoke {
        function: "shop-other".to_owned(),
        until,
    };
    let steps = vec![
        place.step(1, event("shop/paid")),
        place.step(2, signal()),
        place.step(3, invoke),
        place.step(4, StepDetails::Sleep { until }),
        StepChange {
            ended_by: Some(sent.parse().unwrap()),
            ..ended(place.step(5, event("shop/paid")), StepStatus::Completed)
        },
        ended(place.step(6, event("shop/late")), StepStatus::TimedOut),
        ended(place.step(7, signal()), StepStatus::Cancelled),
    ];
    let go = Wait {
        id: WaitId::derive(place.run, "s2"),
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        kind: WaitKind::Signal,
        run: place.run,
        function: place.function,
        step: Some(StepId::parse("s2").unwrap()),
        rank: 0,
        event_name: None,
        key_path: String::new(),
        key_hash: 0,
        expression: None,
        bindings: Json::empty_object(),
        trigger: sent.parse().unwrap(),
        signal: Some("go".to_owned()),
        replaces: false,
        since: at(2),
        expires_at: until,
    };
    place.store(server, steps, vec![go]).await;
    (place, sent)
}

fn kinds(page: &Value) -> Vec<String> {
    let nodes = page["nodes"].as_array().unwrap().iter();
    let told = |node: &Value| {
        let word = |name: &str| node[name].as_str().unwrap().to_owned();
        format!("{} {}", word("kind"), word("status"))
    };
    nodes.map(told).collect()
}

#[tokio::test]
async fn waits_of_an_environment_are_filtered_and_paged_both_ways() {
    let server = Server::dev().await;
    let (place, _) = run_with_waits(&server).await;
    let query = "query ($first: Int, $last: Int, $filter: WaitFilter) { environment { waits(first: $first, last: $last, filter: $filter) {
        totalCount { value isExact } pageInfo { hasNextPage hasPreviousPage } nodes { kind status } } } }";
    let list = async |given: Value| {
        let mut variables = json!({"first": null, "last": null, "filter": null});
        let given = given.as_object().unwrap().clone();
        variables.as_object_mut().unwrap().extend(given);
        server.query(query, variables).await["environment"]["waits"].clone()
    };
    let open = ["SLEEP OPEN", "INVOKE OPEN", "SIGNAL OPEN", "EVENT OPEN"];
    let all = list(json!({})).await;
    assert_eq!(kinds(&all), open);
    assert_eq!(all["totalCount"], json!({"value": 4, "isExact": true}));
    let first = list(json!({"first": 1})).await;
    assert_eq!(kinds(&first), open[..1]);
    assert_eq!(first["pageInfo"]["hasNextPage"], true);
    let last = list(json!({"last": 1})).await;
    assert_eq!(kinds(&last), open[3..]);
    assert_eq!(last["pageInfo"]["hasPreviousPage"], true);
    let ended = ["SIGNAL CANCELLED", "EVENT TIMED_OUT", "EVENT RESOLVED"];
    let function = format!("fn_{}", place.function);
    for (filter, expected) in [
        (
            json!({"kinds": ["SIGNAL", "SLEEP"]}),
            vec![open[0], open[2]],
        ),
        (json!({"eventName": "shop/paid"}), vec![open[3]]),
        (json!({"signal": "go"}), vec![open[2]]),
        (json!({"signal": "stop"}), vec![]),
        (json!({"functionIds": [function]}), open.to_vec()),
        (json!({"functionIds": []}), vec![]),
        (json!({"statuses": []}), vec![]),
        (json!({"statuses": ["OPEN"]}), open.to_vec()),
        (
            json!({"statuses": ["RESOLVED", "TIMED_OUT", "CANCELLED"]}),
            ended.to_vec(),
        ),
        (
            json!({"statuses": ["OPEN", "RESOLVED", "TIMED_OUT", "CANCELLED"]}),
            [&ended[..], &open[..]].concat(),
        ),
        (
            json!({"statuses": ["RESOLVED", "OPEN"], "eventName": "shop/paid"}),
            vec![ended[2], open[3]],
        ),
        (
            json!({"statuses": ["CANCELLED", "OPEN"], "signal": "go"}),
            vec![ended[0], open[2]],
        ),
        (
            json!({"statuses": ["TIMED_OUT"], "functionIds": [function], "kinds": ["EVENT"]}),
            vec![ended[1]],
        ),
    ] {
        let page = list(json!({"filter": filter})).await;
        assert_eq!(kinds(&page), expected, "{filter}");
        assert_eq!(page["totalCount"]["value"], expected.len(), "{filter}");
        let last = list(json!({"filter": filter, "last": 1})).await;
        let rest = expected.len().saturating_sub(1);
        assert_eq!(kinds(&last), expected[rest..], "{filter}");
    }
}

#[tokio::test]
async fn wait_tells_what_ended_it_and_is_found_again_by_its_id() {
    let server = Server::dev().await;
    let (place, sent) = run_with_waits(&server).await;
    let parts = "id kind status eventName expression signal createdAt expiresAt resolvedAt matchedEvent { id } step { stepId } run { runId }";
    let query = format!(
        "{{ environment {{ waits(filter: {{statuses: [OPEN, RESOLVED, TIMED_OUT, CANCELLED]}}) {{ nodes {{ {parts} }} }} }} }}"
    );
    let found = server.query(&query, json!({})).await;
    let nodes = &found["environment"]["waits"]["nodes"];
    let run = place.run.to_string();
    let wait = |number: i64| {
        json!({
            "id": format!("wait_{run}.s{number}"), "kind": "EVENT", "status": "OPEN", "eventName": "shop/paid",
            "expression": "async.data.n == event.data.n", "signal": null, "createdAt": at(number).to_rfc3339(),
            "expiresAt": at(60_000).to_rfc3339(), "resolvedAt": null, "matchedEvent": null, "step": {"stepId": format!("s{number}")},
            "run": {"runId": run},
        })
    };
    let changed = |number: i64, change: Value| {
        let mut wait = wait(number);
        let change = change.as_object().unwrap().clone();
        wait.as_object_mut().unwrap().extend(change);
        wait
    };
    let no_event = json!({"eventName": null, "expression": null});
    let but = |mut change: Value| {
        let more = no_event.as_object().unwrap().clone();
        change.as_object_mut().unwrap().extend(more);
        change
    };
    let end = at(500).to_rfc3339();
    let expected = json!([
        changed(
            7,
            but(
                json!({"kind": "SIGNAL", "status": "CANCELLED", "signal": "go", "resolvedAt": end})
            )
        ),
        changed(
            6,
            json!({"status": "TIMED_OUT", "eventName": "shop/late", "resolvedAt": end})
        ),
        changed(
            5,
            json!({"status": "RESOLVED", "resolvedAt": end, "matchedEvent": {"id": format!("evt_{sent}")}})
        ),
        changed(4, but(json!({"kind": "SLEEP"}))),
        changed(3, but(json!({"kind": "INVOKE"}))),
        changed(2, but(json!({"kind": "SIGNAL", "signal": "go"}))),
        wait(1),
    ]);
    assert_eq!(*nodes, expected);

    let ids: Vec<&Value> = nodes
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["id"])
        .collect();
    let again =
        format!("query ($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on Wait {{ {parts} }} }} }}");
    let again = server.query(&again, json!({"ids": ids})).await;
    assert_eq!(again["nodes"], expected);

    // The steps say the same.
    let query = "query ($id: ID!) { run(id: $id) { waits { kind status } steps { nodes { stepId details {
        ... on WaitForEventStepDetails { timedOut matchedEvent { id } } ... on WaitForSignalStepDetails { timedOut } } } } } }";
    let found = server.query(query, json!({"id": run})).await;
    let open: Vec<_> = found["run"]["waits"].as_array().unwrap().iter().collect();
    assert_eq!(open.len(), 4);
    assert_eq!(open[0], &json!({"kind": "EVENT", "status": "OPEN"}));
    assert_eq!(open[3], &json!({"kind": "SLEEP", "status": "OPEN"}));
    let steps = found["run"]["steps"]["nodes"].as_array().unwrap();
    let details = |id: &str| {
        let step = steps.iter().find(|step| step["stepId"] == id).unwrap();
        step["details"].clone()
    };
    let matched = json!({"id": format!("evt_{sent}")});
    for (id, expected) in [
        ("s1", json!({"timedOut": null, "matchedEvent": null})),
        ("s2", json!({"timedOut": null})),
        ("s5", json!({"timedOut": false, "matchedEvent": matched})),
        ("s6", json!({"timedOut": true, "matchedEvent": null})),
        ("s7", json!({"timedOut": null})),
    ] {
        assert_eq!(details(id), expected, "{id}");
    }
}

#[tokio::test]
async fn ids_of_other_steps_and_those_of_older_servers_name_no_wait() {
    let server = Server::dev().await;
    let (place, _) = run_with_waits(&server).await;
    let code = StepChange {
        kind: StepKind::Run,
        details: None,
        ..ended(place.step(8, event("none")), StepStatus::Completed)
    };
    place.store(&server, vec![code], Vec::new()).await;
    let old = WaitId::derive(place.run, "s1");
    let query = "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }";
    let ids = [
        format!("wait_{}.s8", place.run),
        format!("wait_{}.s9", place.run),
        format!("wait_{old}"),
    ];
    let found = server.query(query, json!({"ids": ids})).await;
    assert_eq!(found["nodes"], json!([null, null, null]));
}

#[tokio::test]
async fn tenant_finds_its_own_waits_alone() {
    let server = with_secret().await;
    let (other_org, other_env) = other();
    let store = server.services.store();
    let begin = Timestamp::default();
    store
        .ensure_environment(other_org, other_env, "other", begin)
        .await
        .unwrap();
    for (org, env, number) in [(DEFAULT_ORG, DEFAULT_ENV, 1), (other_org, other_env, 2)] {
        let place = Place {
            org,
            env,
            function: FunctionId::from_raw(env.raw()),
            run: RunId::from_raw(Ulid::from_parts(NOW.unsigned_abs(), number)),
        };
        let name = format!("of/{number}");
        let steps = vec![
            place.step(1, event(&name)),
            ended(place.step(2, event(&name)), StepStatus::Completed),
        ];
        place.store(&server, steps, Vec::new()).await;
    }
    for (token, expected) in [(own("viewer"), "of/1"), (of_other(), "of/2")] {
        for (status, filter) in [
            ("OPEN", json!({})),
            ("RESOLVED", json!({"statuses": ["RESOLVED"]})),
            ("OPEN", json!({"eventName": expected})),
        ] {
            let query = "query ($filter: WaitFilter) { environment { waits(filter: $filter) { totalCount { value } nodes { eventName status } } } }";
            let found = ask(&server, &token, query, json!({"filter": filter})).await;
            assert_eq!(
                found["data"]["environment"]["waits"],
                json!({"totalCount": {"value": 1}, "nodes": [{"eventName": expected, "status": status}]}),
                "{found}"
            );
        }
    }
}
