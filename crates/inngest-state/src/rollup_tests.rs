//! Figures over time: they are those of the rows, to the last one, whoever adds them up and however often.

use std::time::Duration;

use inngest_core::{
    ids::{AppId, DEFAULT_ENV, EnvId, FunctionId},
    rollup::{Counter, Latency, Span, Width},
    run::{RunStatus, StepStatus},
    time::Timestamp,
};
use uuid::Uuid;

use crate::{
    Commit, GroupedBy, NewEvent, NewRun, RequestMade, Rolled, RollupGroup, RollupQuery, RunChange,
    Store,
    change_log_tests::settled,
    names_tests::assert_exact_name,
    samples::*,
    testing::{TestDatabase, on_each, on_each_database},
};

const DAY: i64 = 86_400_000;

/// Adds up all that there is; how many rows of the change log that were.
pub(crate) async fn roll(store: &Store) -> usize {
    settled(store).await;
    let mut rows = 0;
    loop {
        let rolled = store.roll_up().await.unwrap();
        rows += rolled.rows;
        if !rolled.has_more {
            return rows;
        }
    }
}

pub(crate) fn query(env: EnvId, width: Width) -> RollupQuery {
    let from = Width::Day.floor(NOW);
    RollupQuery {
        env,
        span: Span {
            width,
            from,
            until: from.plus(Duration::from_millis(DAY.unsigned_abs())),
        },
        functions: None,
        apps: None,
    }
}

/// How much was counted in all in the day of the tests, over buckets of this width.
pub(crate) async fn sum(store: &Store, query: &RollupQuery, counter: Counter) -> u64 {
    let found = store
        .rolled_counts(query, &RollupGroup::Together, &[counter])
        .await
        .unwrap();
    found.iter().map(|(_, _, counts)| counts[0]).sum()
}

/// Compares the buckets of every width with the rows.
async fn assert_exact(store: &Store) {
    let count = async |sql: &str| store.number(sql).await.unsigned_abs();
    let expected = [
        (Counter::RunsQueued, count("SELECT count(*) AS n FROM runs WHERE status <> 6").await),
        (Counter::RunsSkipped, count("SELECT count(*) AS n FROM runs WHERE status = 6").await),
        (Counter::RunsStarted, count("SELECT count(*) AS n FROM runs WHERE started_at IS NOT NULL").await),
        (Counter::RunsCompleted, count("SELECT count(*) AS n FROM runs WHERE status = 3").await),
        (Counter::RunsFailed, count("SELECT count(*) AS n FROM runs WHERE status = 4").await),
        (Counter::RunsCancelled, count("SELECT count(*) AS n FROM runs WHERE status = 5").await),
        (Counter::StepsCompleted, count("SELECT count(*) AS n FROM steps WHERE status IN (2, 4)").await),
        (Counter::StepsFailed, count("SELECT count(*) AS n FROM steps WHERE status = 3").await),
        (Counter::StepsCancelled, count("SELECT count(*) AS n FROM steps WHERE status = 5").await),
        (
            Counter::AttemptsRetried,
            count("SELECT count(*) AS n FROM failed_attempts WHERE step_id <> '' AND next_at IS NOT NULL").await,
        ),
        (Counter::Events, count("SELECT count(*) AS n FROM events WHERE NOT internal").await),
    ];
    for width in Width::ALL {
        let query = query(DEFAULT_ENV, width);
        for (counter, count) in expected {
            let rolled = sum(store, &query, counter).await;
            assert_eq!(rolled, count, "{counter:?} by {width:?}");
        }
    }
    assert_exact_name(store, "shop/order").await;
}

/// A run goes on, with a step that ended, an attempt that is repeated, and a request.
fn goes_on(number: u64) -> Commit {
    Commit {
        fence: Some(fence(number, "discover", 1)),
        run: Some(change(number, 1)),
        steps: vec![ended_step(number, "a", 0, "1"), open_step(number, "b")],
        failed_attempts: vec![
            failed_attempt(number, Some("b"), 0),
            failed_attempt(number, None, 0),
        ],
        request_made: Some(RequestMade {
            at: at(3),
            took: Duration::from_micros(1_500),
            is_ok: true,
        }),
        work: vec![work(number, "again")],
        ..Commit::default()
    }
}

fn ends(number: u64, status: RunStatus) -> Commit {
    let mut closed = open_step(number, "b");
    closed.status = StepStatus::Cancelled;
    closed.ended_at = Some(at(9));
    Commit {
        fence: Some(fence(number, "again", 1)),
        run: Some(RunChange {
            status,
            ..end(number, 2)
        }),
        steps: vec![closed],
        request_made: Some(RequestMade {
            at: at(9),
            took: Duration::from_micros(2_500),
            is_ok: status != RunStatus::Failed,
        }),
        events: vec![new_event(
            10_000 + number,
            "inngest/function.finished",
            "{}",
        )],
        ..Commit::default()
    }
}

/// Runs from their start to their end.
async fn live_through(store: &Store, numbers: std::ops::Range<u64>) {
    for number in numbers {
        store.must(start(number)).await;
        store.must(goes_on(number)).await;
        let status = match number % 3 {
            0 => RunStatus::Failed,
            1 => RunStatus::Completed,
            _ => RunStatus::Cancelled,
        };
        store.must(ends(number, status)).await;
    }
}

#[tokio::test]
async fn figures_are_those_of_the_rows_by_every_width_and_added_once() {
    on_each(async |store| {
        live_through(&store, 1..8).await;
        store
            .must(Commit {
                runs: vec![NewRun {
                    status: RunStatus::Skipped,
                    work: Vec::new(),
                    ..new_run(90)
                }],
                ..Commit::default()
            })
            .await;
        assert_eq!(roll(&store).await, 22);
        assert_exact(&store).await;
        assert_eq!(roll(&store).await, 0);
        assert_exact(&store).await;

        // What comes later is added to the same buckets.
        live_through(&store, 20..23).await;
        assert_eq!(roll(&store).await, 9);
        assert_exact(&store).await;
        let query = query(DEFAULT_ENV, Width::TenSeconds);
        assert_eq!(sum(&store, &query, Counter::RequestsFailed).await, 3);
        assert_eq!(sum(&store, &query, Counter::RequestsOk).await, 17);
    })
    .await;
}

#[tokio::test]
async fn refused_and_repeated_commits_are_not_counted() {
    on_each(async |store| {
        store.must(start(1)).await;
        let refused = Commit {
            run: Some(change(1, 9)),
            request_made: Some(RequestMade {
                at: NOW,
                took: Duration::ZERO,
                is_ok: true,
            }),
            ..Commit::default()
        };
        assert_eq!(verdict(&store.commit(refused).await), "RunChanged");
        let mut again = start(1);
        again.events[0].may_exist = true;
        store.must(again).await;
        roll(&store).await;
        assert_exact(&store).await;
        let query = query(DEFAULT_ENV, Width::Day);
        assert_eq!(sum(&store, &query, Counter::RequestsOk).await, 0);
    })
    .await;
}

#[tokio::test]
async fn two_who_write_and_add_up_at_the_same_time_count_everything_once() {
    on_each_database(async |database: &TestDatabase| {
        let one = database.open().await;
        // A file has one process.
        let two = match one.kind() {
            "postgres" => database.open().await,
            _ => one.clone(),
        };
        let rolling = async |store: &Store| {
            for _ in 0..40 {
                store.roll_up().await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(
            live_through(&one, 1..20),
            live_through(&two, 1_001..1_020),
            rolling(&one),
            rolling(&two),
            rolling(&one),
        );
        roll(&one).await;
        roll(&two).await;
        assert_exact(&two).await;
        assert_eq!(one.rows_of("runs").await, 38);
    })
    .await;
}

#[tokio::test]
async fn who_comes_second_adds_nothing_and_looks_again() {
    on_each(async |store| {
        live_through(&store, 1..3).await;
        settled(&store).await;
        // All read the same position; one of them moves it.
        let all = futures_util::future::join_all((0..4).map(|_| store.roll_up())).await;
        let rolled: Vec<Rolled> = all.into_iter().map(Result::unwrap).collect();
        let rows: usize = rolled.iter().map(|one| one.rows).sum();
        assert_eq!(rows, 6, "{rolled:?}");
        assert!(
            rolled
                .iter()
                .all(|one| one.rows > 0 || one.has_more || one.oldest.is_none()),
            "{rolled:?}"
        );
        assert_exact(&store).await;
    })
    .await;
}

#[tokio::test]
async fn looking_costs_one_statement_and_adding_up_does_not_grow_with_the_runs() {
    on_each(async |store| {
        live_through(&store, 1..3).await;
        let cost = async || {
            settled(&store).await;
            let before = store.statements();
            store.roll_up().await.unwrap();
            store.statements() - before
        };
        // Position and rows; position, the buckets as they are and as they become: ten of them, in 8 and 2; the names of the day, and
        // five buckets of one name, in 4 and 1.
        assert_eq!(cost().await, 1 + 1 + 1 + 2 + 1 + 2);
        assert_eq!(cost().await, 1);
        live_through(&store, 10..60).await;
        assert_eq!(cost().await, 1 + 1 + 1 + 2 + 1 + 2);
    })
    .await;
}

#[tokio::test]
async fn latencies_are_measured_and_added_up() {
    on_each(async |store| {
        for number in 1..=4 {
            store.must(start(number)).await;
            let queued = new_run(number).queued_at;
            let started = queued.plus(Duration::from_millis(100 * number));
            let ended = started.plus(Duration::from_millis(1_000));
            let run = RunChange {
                started_at: Some(started),
                ended: Some((ended, json("1"))),
                ..end(number, 1)
            };
            store
                .must(Commit {
                    run: Some(run),
                    ..Commit::default()
                })
                .await;
        }
        // Cancelled before it was started: it ended, and lasted no time.
        store.must(start(9)).await;
        let run = RunChange {
            status: RunStatus::Cancelled,
            started_at: None,
            ..end(9, 1)
        };
        store
            .must(Commit {
                run: Some(run),
                ..Commit::default()
            })
            .await;
        roll(&store).await;
        let sketch = async |latency| {
            let query = query(DEFAULT_ENV, Width::Day);
            let found = store
                .rolled_sketches(&query, &RollupGroup::Together, latency)
                .await
                .unwrap()
                .unwrap();
            found.into_values().next().unwrap_or_default()
        };
        let near = |said: Option<f64>, exact: f64| {
            let said = said.unwrap();
            assert!((said - exact).abs() <= exact * 0.02, "{said} for {exact}");
        };
        let delay = sketch(Latency::QueueDelay).await;
        assert_eq!((delay.count(), delay.max_ms()), (4, Some(400.0)));
        assert_eq!(delay.mean_ms(), Some(250.0));
        near(delay.quantile_ms(0.5), 200.0);
        near(delay.quantile_ms(1.0), 400.0);
        let duration = sketch(Latency::RunDuration).await;
        assert_eq!((duration.count(), duration.mean_ms()), (4, Some(1_000.0)));
        let whole = sketch(Latency::EndToEnd).await;
        assert_eq!((whole.count(), whole.max_ms()), (5, Some(1_400.0)));
        assert!(sketch(Latency::SdkRequest).await.is_empty());
    })
    .await;
}

pub(crate) fn function(number: u128) -> FunctionId {
    FunctionId::from_raw(Uuid::from_u128(number))
}

/// So many runs of a function.
pub(crate) async fn queue(
    store: &Store,
    env: EnvId,
    function: FunctionId,
    numbers: std::ops::Range<u64>,
) {
    let run = |number| NewRun {
        env,
        function,
        work: Vec::new(),
        ..new_run(number)
    };
    for number in numbers {
        let event = NewEvent {
            env,
            runs: vec![run(number)],
            ..new_event(number, "shop/order", "{}")
        };
        store.must(send(vec![event])).await;
    }
}

pub(crate) async fn insert_function(store: &Store, env: EnvId, id: FunctionId, app: AppId) {
    let literal = |id: Uuid| match store.kind() {
        "postgres" => format!("'{id}'"),
        _ => format!("X'{}'", id.simple()),
    };
    let bytes = match store.kind() {
        "postgres" => "''::bytea",
        _ => "X''",
    };
    let (id, env, app) = (literal(id.raw()), literal(env.raw()), literal(app.raw()));
    store
        .behind(&format!(
            "INSERT INTO functions (id, org_id, env_id, app_id, slug, name, version, config, created_at, updated_at) \
             SELECT {id}, {env}, {env}, {app}, 'f' || count(*), 'f', 1, {bytes}, 0, 0 FROM functions"
        ))
        .await;
}

#[tokio::test]
async fn figures_are_told_apart_by_function_and_app_and_narrowed_to_them() {
    on_each(async |store| {
        let (one, two) = (app_id(), AppId::derive(DEFAULT_ENV, "other"));
        for (number, app) in [(1, one), (2, one), (3, two)] {
            insert_function(&store, DEFAULT_ENV, function(number), app).await;
        }
        queue(&store, DEFAULT_ENV, function(1), 1..4).await;
        queue(&store, DEFAULT_ENV, function(2), 10..15).await;
        queue(&store, DEFAULT_ENV, function(3), 20..24).await;
        // Another tenant has a function of the same id.
        store
            .ensure_environment(OTHER_ORG, OTHER_ENV, "other", NOW)
            .await
            .unwrap();
        queue(&store, OTHER_ENV, function(1), 30..37).await;
        roll(&store).await;

        let all = query(DEFAULT_ENV, Width::Day);
        let counters = [Counter::RunsQueued];
        let top = async |query: &RollupQuery, by, most| {
            store.rolled_top(query, by, &counters, most).await.unwrap()
        };
        let [f1, f2, f3] = [1, 2, 3].map(|number| function(number).raw());
        assert_eq!(top(&all, GroupedBy::Function, 9).await, [f2, f3, f1]);
        assert_eq!(top(&all, GroupedBy::Function, 1).await, [f2]);
        assert_eq!(top(&all, GroupedBy::App, 9).await, [one.raw(), two.raw()]);
        let started = [Counter::RunsStarted];
        let none = store
            .rolled_top(&all, GroupedBy::Function, &started, 9)
            .await;
        assert_eq!(none.unwrap(), Vec::<Uuid>::new());

        let counts = async |query: &RollupQuery, group: RollupGroup| {
            let found = store.rolled_counts(query, &group, &counters).await.unwrap();
            let mut found: Vec<(Uuid, u64)> = found
                .into_iter()
                .map(|(id, _, counts)| (id, counts[0]))
                .collect();
            found.sort_unstable();
            found
        };
        let each = RollupGroup::Each(GroupedBy::Function, vec![f1, f3]);
        assert_eq!(counts(&all, each).await, [(f1, 3), (f3, 4)]);
        let mut apps = vec![(one.raw(), 8), (two.raw(), 4)];
        apps.sort_unstable();
        let each = RollupGroup::Each(GroupedBy::App, vec![one.raw(), two.raw()]);
        assert_eq!(counts(&all, each).await, apps);

        let narrow = |functions: Option<Vec<FunctionId>>, apps: Option<Vec<AppId>>| RollupQuery {
            functions,
            apps,
            ..all.clone()
        };
        for (query, expected) in [
            (narrow(None, None), vec![12]),
            (narrow(Some(vec![function(1), function(3)]), None), vec![7]),
            (narrow(None, Some(vec![one])), vec![8]),
            (
                narrow(Some(vec![function(1), function(3)]), Some(vec![one])),
                vec![3],
            ),
            (narrow(Some(Vec::new()), None), vec![]),
        ] {
            let found = counts(&query, RollupGroup::Together).await;
            let found: Vec<u64> = found.into_iter().map(|(_, count)| count).collect();
            assert_eq!(found, expected, "{query:?}");
        }
        let other = query_of_other(&store).await;
        assert_eq!(other, (7, 7));
    })
    .await;
}

/// What the other tenant is told: of all, and of its function.
async fn query_of_other(store: &Store) -> (u64, u64) {
    let all = query(OTHER_ENV, Width::Day);
    let one = RollupQuery {
        functions: Some(vec![function(1)]),
        ..all.clone()
    };
    (
        sum(store, &all, Counter::RunsQueued).await,
        sum(store, &one, Counter::RunsQueued).await,
    )
}

#[tokio::test]
async fn functions_that_fail_are_found_by_their_share() {
    on_each(async |store| {
        // One of three fails, then one of two of another function.
        live_through(&store, 1..4).await;
        for (number, status) in [(50, RunStatus::Failed), (51, RunStatus::Completed)] {
            let mut first = start(number);
            first.events[0].runs[0].function = function(5);
            store.must(first).await;
            let run = RunChange {
                status,
                ..end(number, 1)
            };
            store
                .must(Commit {
                    run: Some(run),
                    ..Commit::default()
                })
                .await;
        }
        roll(&store).await;
        let all = query(DEFAULT_ENV, Width::Hour);
        let found = store.rolled_failures(&all, 9).await.unwrap();
        assert_eq!(found, [(function(5), 2, 1), (function_id(), 3, 1)]);
        assert_eq!(store.rolled_failures(&all, 1).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn figures_that_cannot_be_read_are_left_out_and_hold_nothing_up() {
    on_each(async |store| {
        store.must(start(1)).await;
        let bad = match store.kind() {
            "postgres" => "'\\xff'::bytea",
            _ => "X'FF'",
        };
        store
            .behind(&format!("UPDATE change_log SET measures = {bad}"))
            .await;
        store.must(start(2)).await;
        assert_eq!(roll(&store).await, 2);
        let query = query(DEFAULT_ENV, Width::Day);
        assert_eq!(sum(&store, &query, Counter::RunsQueued).await, 1);
    })
    .await;
}

#[tokio::test]
async fn rows_that_are_gone_leave_a_gap_that_is_told_once() {
    on_each(async |store| {
        store.must(start(1)).await;
        store.must(start(2)).await;
        for sql in [
            "UPDATE change_log_state SET floor_txid = (SELECT min(txid) FROM change_log), floor_seq = (SELECT min(seq) FROM change_log)",
            "DELETE FROM change_log WHERE seq = (SELECT floor_seq FROM change_log_state)",
        ] {
            store.behind(sql).await;
        }
        settled(&store).await;
        assert!(store.roll_up().await.unwrap().has_gap);
        store.must(start(3)).await;
        settled(&store).await;
        let rolled = store.roll_up().await.unwrap();
        assert!(!rolled.has_gap);
        let query = query(DEFAULT_ENV, Width::Day);
        assert_eq!(sum(&store, &query, Counter::RunsQueued).await, 2);
    })
    .await;
}

#[tokio::test]
async fn position_of_another_history_is_given_up_and_nothing_is_added_twice() {
    on_each(async |store| {
        live_through(&store, 1..2).await;
        roll(&store).await;
        // As after a move to another server, whose numbers are smaller.
        store
            .behind("UPDATE rollup_position SET txid = 4000000000000000000, seq = 5")
            .await;
        settled(&store).await;
        assert!(store.roll_up().await.unwrap().has_gap);
        assert_exact(&store).await;
        live_through(&store, 5..6).await;
        assert_eq!(roll(&store).await, 3);
        assert_exact(&store).await;
    })
    .await;
}

#[tokio::test]
async fn buckets_go_when_nobody_can_ask_for_them_any_more() {
    on_each(async |store| {
        live_through(&store, 1..3).await;
        roll(&store).await;
        let left = async || {
            let mut left = Vec::new();
            for width in Width::ALL {
                let sql = format!(
                    "SELECT (SELECT count(*) FROM rollups WHERE width = {0}) + (SELECT count(*) FROM event_rollups WHERE width = {0}) AS n",
                    width.seconds()
                );
                left.push(store.number(&sql).await);
            }
            left
        };
        let expire = async |now: Timestamp| {
            for width in Width::ALL {
                let gone = store.delete_expired_rollups(DEFAULT_ENV, width, now).await;
                assert!(gone.unwrap() <= 3);
            }
        };
        assert_eq!(left().await, [3, 3, 3, 3, 3]);
        for (days, expected) in [
            (0, [3, 3, 3, 3, 3]),
            (1, [0, 3, 3, 3, 3]),
            (4, [0, 0, 3, 3, 3]),
            (15, [0, 0, 0, 3, 3]),
            (91, [0, 0, 0, 0, 3]),
            (732, [0, 0, 0, 0, 0]),
        ] {
            expire(at(days * DAY)).await;
            assert_eq!(left().await, expected, "after {days} days");
        }
        // Nothing is deleted of another tenant.
        live_through(&store, 5..6).await;
        roll(&store).await;
        let gone = store.delete_expired_rollups(OTHER_ENV, Width::Day, at(800 * DAY));
        assert_eq!(gone.await.unwrap(), 0);
    })
    .await;
}
