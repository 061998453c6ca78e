//! What runs cost in statements and transactions, counted so that nobody adds to it by accident.

use std::{num::NonZeroUsize, time::Duration};

use inngest_core::run::RunStatus;
use inngest_queue::worker::WorkerSettings;
use inngest_services::testing::{App, Fixture, Options};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::on;

async fn with_steps(count: usize, at_once: usize) -> (Fixture, App) {
    let fixture = Fixture::with(Options {
        at_once,
        ..Options::default()
    })
    .await;
    let app = fixture.app("shop").await;
    app.function("job", on("go"), move |script| {
        for number in 0..count {
            script.step(&format!("step-{number}"), |_| Ok(json!(1)))?;
        }
        Ok(json!("done"))
    })
    .sync(&fixture.services())
    .await;
    // The first run fills the caches of functions and statements.
    fixture.send("go", json!({})).await;
    fixture.settle().await;
    (fixture, app)
}

/// Statements and transactions of `runs` runs, from their events to their ends.
async fn cost(steps: usize, runs: usize, at_once: usize) -> (u64, u64) {
    let (fixture, _app) = with_steps(steps, at_once).await;
    let store = fixture.store();
    let before = (store.statements(), store.transactions());
    let event = json!({"name": "go", "data": {}});
    fixture.send_events(vec![event; runs]).await;
    fixture.settle().await;
    let after = (store.statements(), store.transactions());
    let ended = fixture
        .store()
        .count("SELECT count(*) AS n FROM runs WHERE status = 3")
        .await
        .unwrap();
    assert_eq!(ended, runs as i64 + 1);
    (after.0 - before.0, after.1 - before.1)
}

#[tokio::test]
async fn lonely_run_costs_two_transactions_and_each_step_one_more() {
    for (steps, statements, transactions) in [(0, 16, 2), (1, 23, 3), (2, 30, 4), (5, 51, 7)] {
        assert_eq!(
            cost(steps, 1, 1).await,
            (statements, transactions),
            "{steps} steps"
        );
    }
}

#[tokio::test]
async fn crowd_of_runs_shares_its_transactions() {
    for (steps, statements, transactions) in [(0, 100, 10), (5, 400, 40)] {
        let (counted, shared) = cost(steps, 200, 200).await;
        assert!(
            counted <= statements,
            "{steps} steps: {counted} statements for 200 runs"
        );
        assert!(
            shared <= transactions,
            "{steps} steps: {shared} transactions for 200 runs"
        );
    }
}

#[tokio::test]
async fn run_that_was_forgotten_costs_its_reads_once_and_not_per_step() {
    let mut extra = Vec::new();
    for steps in [2, 8] {
        let (fixture, app) = with_steps(steps, 1).await;
        let event = fixture.send("go", json!({})).await;
        let store = fixture.store();
        let before = store.statements();
        fixture.settle().await;
        let known = store.statements() - before;

        let event_again = fixture.send("go", json!({})).await;
        fixture.forget().await;
        app.sync(&fixture.services()).await;
        fixture.send("unrelated", json!({})).await;
        let before = store.statements();
        fixture.settle().await;
        extra.push(store.statements() - before - known);
        for event in [event, event_again] {
            assert_eq!(fixture.run_of(event).await.status, RunStatus::Completed);
        }
    }
    assert_eq!(extra[0], extra[1], "reads do not grow with the steps");
    assert!(extra[0] <= 5, "{extra:?}");
}

#[tokio::test]
async fn idle_server_asks_nothing_and_wakes_nobody() {
    let (fixture, _app) = with_steps(1, 1).await;
    let services = fixture.services();
    let stop = CancellationToken::new();
    let settings = WorkerSettings::new(NonZeroUsize::new(4).unwrap());
    services.keep_filled(stop.clone());
    let work = services.work(settings, stop.clone());
    let look = async {
        while !services.health().await.ready {
            tokio::task::yield_now().await;
        }
        let store = fixture.store();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let before = (
            store.statements(),
            services.queue().stats().await.unwrap().wakeups,
        );
        // Nothing can be waited for when nothing is to happen.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let after = (
            store.statements(),
            services.queue().stats().await.unwrap().wakeups,
        );
        stop.cancel();
        assert_eq!(after.0 - before.0, 0, "statements");
        assert!(after.1 - before.1 <= 1, "wake-ups: {}", after.1 - before.1);
    };
    tokio::join!(work, look);
}
