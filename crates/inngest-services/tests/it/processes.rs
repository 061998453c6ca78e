//! Several processes on one Postgres, none of which knows of the others: each tries everything, and everything happens once.

use std::sync::atomic::Ordering;

use inngest_core::{access::Actor, run::RunStatus};
use inngest_services::{
    Services,
    testing::{App, Fixture},
};
use serde_json::json;

use crate::on;

/// Three processes and an app with a function that does a bit of everything; `None` without Postgres.
async fn three() -> Option<(Fixture, App, Vec<Services>)> {
    let fixture = Fixture::start().await;
    let mut processes = Vec::new();
    for _ in 0..3 {
        processes.push(fixture.another_process().await?);
    }
    let app = fixture.app("shop").await;
    app.function("order", on("order"), |script| {
        let one = script.step("one", |_| Ok(json!(1)))?;
        script.sleep("nap", "1ms")?;
        let child = script.invoke("child", "shop-child", json!({}), "1d")?;
        let paid = script.wait("paid", "paid", "1d", "async.data.order == event.data.order")?;
        Ok(json!([one, child, paid["data"]["order"]]))
    })
    .function("child", on("never"), |script| {
        script.step("two", |_| Ok(json!(2)))
    })
    .sync(&processes[0])
    .await;
    Some((fixture, app, processes))
}

async fn send(services: &Services, fixture: &Fixture, name: &str, order: usize) {
    let event = json!({"id": format!("{name}-{order}"), "name": name, "data": {"order": order}});
    fixture.send_by(services, event).await;
}

#[tokio::test]
async fn everything_happens_once_although_all_processes_try_it() {
    let Some((fixture, _app, processes)) = three().await else {
        return;
    };
    const ORDERS: usize = 12;
    // Each event is sent to all of them at once.
    for order in 0..ORDERS {
        let sending = processes
            .iter()
            .map(|services| send(services, &fixture, "order", order));
        futures_util::future::join_all(sending).await;
    }
    fixture.settle_together(&processes).await;
    fixture.advance(std::time::Duration::from_millis(5)).await;
    fixture.settle_together(&processes).await;
    for order in 0..ORDERS {
        let sending = processes
            .iter()
            .map(|services| send(services, &fixture, "paid", order));
        futures_util::future::join_all(sending).await;
    }
    fixture.settle_together(&processes).await;

    let runs = fixture.runs().await;
    let orders: Vec<_> = runs
        .iter()
        .filter(|run| run.event_name == "order")
        .collect();
    assert_eq!((orders.len(), runs.len()), (ORDERS, 2 * ORDERS));
    for run in &runs {
        assert_eq!(run.status, RunStatus::Completed);
    }
    let mut outputs: Vec<_> = orders
        .iter()
        .map(|run| run.ended.as_ref().unwrap().output.to_value())
        .collect();
    outputs.sort_by_key(|output| output[2].as_u64());
    let expected: Vec<_> = (0..ORDERS).map(|order| json!([1, 2, order])).collect();
    assert_eq!(outputs, expected);

    // Each end is told once.
    let store = fixture.store();
    let finished = "SELECT count(*) AS n FROM events WHERE name = 'inngest/function.finished'";
    assert_eq!(store.count(finished).await.unwrap(), 2 * ORDERS as i64);

    // And the processes were in each other's way, or this test shows nothing.
    let met: u64 = processes
        .iter()
        .map(|services| {
            let counters = services.counters();
            let of = [&counters.stale_entries, &counters.stale_writes];
            of.map(|count| count.load(Ordering::Relaxed))
                .iter()
                .sum::<u64>()
        })
        .sum();
    assert!(met > ORDERS as u64, "{met}");
}

#[tokio::test]
async fn function_that_was_registered_elsewhere_a_moment_ago_is_not_missed() {
    let Some((fixture, _app, processes)) = three().await else {
        return;
    };
    // The second process has read the functions.
    send(&processes[1], &fixture, "unrelated", 0).await;
    let late = fixture.app("late").await;
    late.function("job", on("late"), |_| Ok(json!("late")))
        .sync(&processes[0])
        .await;
    send(&processes[1], &fixture, "late", 1).await;
    fixture.settle_together(&processes).await;
    let runs = fixture.runs().await;
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].status, RunStatus::Completed);
}

#[tokio::test]
async fn cancel_by_one_process_ends_a_run_that_another_works_on() {
    let Some((fixture, _app, processes)) = three().await else {
        return;
    };
    send(&processes[0], &fixture, "order", 1).await;
    fixture.settle_together(&processes[..1]).await;
    let run = fixture.runs().await[0].id;
    processes[1]
        .runs()
        .cancel(&Actor::dev(), run)
        .await
        .unwrap();
    fixture.advance(std::time::Duration::from_millis(5)).await;
    fixture.settle_together(&processes).await;
    assert_eq!(fixture.run(run).await.status, RunStatus::Cancelled);
}

#[tokio::test]
async fn tick_of_a_schedule_starts_one_run_although_all_processes_fire_it() {
    let Some((fixture, _app, processes)) = three().await else {
        return;
    };
    let clock = fixture.app("clock").await;
    clock
        .function("tick", json!({"triggers": [{"cron": "* * * * *"}]}), |_| {
            Ok(json!("tick"))
        })
        .sync(&processes[0])
        .await;
    for _ in 0..5 {
        fixture.advance(std::time::Duration::from_secs(60)).await;
        fixture.settle_together(&processes).await;
    }
    let runs = fixture.runs().await;
    assert_eq!(runs.len(), 5, "{runs:#?}");
    assert!(runs.iter().all(|run| run.status == RunStatus::Completed));
}
