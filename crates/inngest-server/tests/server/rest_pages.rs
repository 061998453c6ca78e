//! Pages of what one thing has, over REST: runs of an event, steps of a run.

use inngest_core::{
    ids::{DEFAULT_ENV, DEFAULT_ORG, StepId},
    json::Json,
    run::{StepKind, StepStatus, StepTold},
    time::Timestamp,
};
use inngest_state::{Commit, StepChange};
use serde_json::{Value, json};

use crate::harness::Server;

/// Reads a list to its end by the links of its pages; the entries of each page.
async fn walk(server: &Server, path: &str, id: &str) -> Vec<Vec<String>> {
    let (mut path, mut pages) = (path.to_owned(), Vec::new());
    loop {
        let page = server.get(&path).await;
        let body = page.json();
        let data = body["data"].as_array();
        let data = data.unwrap_or_else(|| panic!("{path}: {body}"));
        let shown = |entry: &Value| entry[id].as_str().unwrap().to_owned();
        pages.push(data.iter().map(shown).collect());
        let link = page.header("link");
        assert_eq!(
            body["page"].get("has_more").or(body["page"].get("hasMore")),
            Some(&json!(!link.is_empty()))
        );
        match link.split(['<', '>']).nth(1) {
            Some(next) => next.clone_into(&mut path),
            None => return pages,
        }
    }
}

#[tokio::test]
async fn runs_of_an_event_are_paged_under_every_prefix() {
    let server = Server::dev().await;
    server.register().await;
    let (event, run) = server.start_run().await;
    for _ in 0..2 {
        let rerun = format!("/api/v1/runs/{run}/rerun");
        server.post(&rerun, &Value::Null).await;
    }
    for (prefix, id) in [("/api/v1", "run_id"), ("/v1", "run_id"), ("/v2", "id")] {
        let path = format!("{prefix}/events/{event}/runs");
        let whole = walk(&server, &path, id).await.concat();
        let mut sorted = whole.clone();
        sorted.sort();
        assert_eq!((whole.len(), &whole), (3, &sorted), "{prefix}");
        let pages = walk(&server, &format!("{path}?limit=2"), id).await;
        assert_eq!(pages, [&whole[..2], &whole[2..]], "{prefix}");
        let refused = server.get(&format!("{path}?cursor=x")).await;
        assert_eq!(refused.status.as_u16(), 400, "{prefix}");
    }
    let limit = async |path: &str| {
        let path = format!("{path}/events/{event}/runs");
        server.get(&path).await.json()["page"]["limit"].take()
    };
    // Clients of the older paths know no pages.
    assert_eq!(limit("/v1").await, json!(100));
    assert_eq!(limit("/api/v1").await, json!(20));
}

#[tokio::test]
async fn steps_of_a_run_are_paged_in_the_order_of_their_ends() {
    let server = Server::dev().await;
    server.register().await;
    let (_, run) = server.start_run().await;
    let step = |name: &str, position: Option<u32>| StepChange {
        run: run.parse().unwrap(),
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        step: StepId::parse(name).unwrap(),
        name: name.to_owned(),
        kind: StepKind::Run,
        status: match position {
            Some(_) => StepStatus::Completed,
            None => StepStatus::Open,
        },
        group: None,
        position,
        memo: position.map(|_| Json::null()),
        details: None,
        told: StepTold::default(),
        ended_by: None,
        response: None,
        queued_at: Timestamp::default(),
        started_at: None,
        ended_at: None,
    };
    let commit = Commit {
        steps: vec![step("open", None), step("b", Some(0)), step("a", Some(1))],
        ..Commit::default()
    };
    server.services.store().commit(commit).await.unwrap();
    let path = format!("/api/v1/runs/{run}/steps");
    let all = walk(&server, &path, "id").await;
    assert_eq!(all, [["b", "a", "open"]]);
    let pages = walk(&server, &format!("{path}?limit=2"), "id").await;
    assert_eq!(pages, [vec!["b", "a"], vec!["open"]]);
    let refused = server.get(&format!("{path}?cursor=x")).await;
    assert_eq!(refused.status.as_u16(), 400);
}
