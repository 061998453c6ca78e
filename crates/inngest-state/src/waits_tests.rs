//! Which waits events satisfy: by key, by trying, by looking back, and each once.

use futures_util::future::join_all;
use inngest_core::{
    ids::{DEFAULT_ENV, WaitId},
    job::{Arrival, JobKind},
    wait::{Wait, WaitKind},
};
use sea_orm::{ConnectionTrait, Statement};

use crate::{Commit, NewEvent, NewRun, Store, samples::*, testing::on_each};

/// The runs that were resumed, each with the event that did it.
fn resumed(work: &[inngest_core::job::Work]) -> Vec<(inngest_core::ids::RunId, Arrival)> {
    let mut found: Vec<_> = work
        .iter()
        .filter(|work| work.kind == JobKind::Resume)
        .filter_map(|work| Some((work.run?, Arrival::from_payload(&work.payload)?)))
        .collect();
    found.sort_by_key(|(run, _)| *run);
    found
}

const SAME_USER: &str = "event.data.user == async.data.user";

#[tokio::test]
async fn event_wakes_exactly_the_waits_that_it_satisfies() {
    on_each(async |store| {
        let waits = vec![
            event_wait(1, "shop/paid", Some(SAME_USER)),
            event_wait(2, "shop/paid", Some("async.data.user == 8")),
            event_wait(3, "shop/paid", None),
            event_wait(4, "shop/paid", Some("async.data.amount > 10")),
            event_wait(5, "shop/paid", Some("async.data.amount > 99")),
            event_wait(6, "shop/other", Some(SAME_USER)),
            event_wait(
                7,
                "shop/paid",
                Some("async.data.user == 7 && async.data.amount > 99"),
            ),
            event_wait(8, "shop/paid", Some("async.data.missing.deep == 1")),
            Wait {
                env: OTHER_ENV,
                org: OTHER_ORG,
                ..event_wait(9, "shop/paid", None)
            },
        ];
        assert_ne!(waits[0].key_path, "", "this wait is found by its key");
        assert_eq!(waits[3].key_path, "", "this wait has to be tried");
        store.must(wait_for(waits)).await;
        let paid = new_event(100, "shop/paid", r#"{"user":7,"amount":20}"#);
        let outcome = store.must(send(vec![paid])).await;
        let arrival = || Arrival::Event(event_id(100));
        assert_eq!(
            resumed(&outcome.work),
            [1, 3, 4].map(|number| (run_id(number), arrival()))
        );
        assert_eq!(store.rows_of("waits").await, 6);
        assert_eq!(store.rows_of("work").await, 3);
        let row = store.work_of_run(DEFAULT_ENV, run_id(1)).await.unwrap();
        assert_eq!(
            (row[0].step.clone(), row[0].due_at),
            (Some(step_id("waiting")), at(100))
        );
        // What is used up stays used up.
        let paid = new_event(101, "shop/paid", r#"{"user":7,"amount":20}"#);
        assert!(store.must(send(vec![paid])).await.work.is_empty());
    })
    .await;
}

#[tokio::test]
async fn event_counts_only_in_the_time_of_the_wait_and_never_for_the_run_that_it_started() {
    on_each(async |store| {
        let cases = [
            ("in time", event_wait(100, "a", None), 1),
            (
                "at its end",
                Wait {
                    expires_at: at(500),
                    ..event_wait(101, "a", None)
                },
                1,
            ),
            (
                "too late",
                Wait {
                    expires_at: at(499),
                    ..event_wait(102, "a", None)
                },
                0,
            ),
            (
                "at its beginning",
                Wait {
                    since: at(500),
                    ..event_wait(103, "a", None)
                },
                1,
            ),
            (
                "too early",
                Wait {
                    since: at(501),
                    ..event_wait(104, "a", None)
                },
                0,
            ),
            (
                "its own trigger",
                Wait {
                    trigger: event_id(500),
                    ..event_wait(105, "a", None)
                },
                0,
            ),
        ];
        let waits = cases.iter().map(|(_, wait, _)| wait.clone()).collect();
        store.must(wait_for(waits)).await;
        let work = store.must(send(vec![new_event(500, "a", "{}")])).await.work;
        for (name, wait, expected) in &cases {
            let count = work
                .iter()
                .filter(|work| work.run == Some(wait.run))
                .count();
            // A wait that is there was stored before the event, whatever two clocks say.
            let expected = if *name == "too early" { 1 } else { *expected };
            assert_eq!(count, expected, "{name}");
        }
        // The same judgement when the wait comes after the event.
        for (name, wait, expected) in cases {
            let late = Wait {
                id: WaitId::derive(wait.run, "late"),
                ..wait
            };
            let work = store.must(wait_for(vec![late])).await.work;
            assert_eq!(work.len(), expected, "{name}, looking back");
        }
    })
    .await;
}

#[tokio::test]
async fn wait_looks_back_at_events_of_earlier_commits_and_of_its_own_transaction() {
    on_each(async |store| {
        store
            .must(send(vec![new_event(10, "shop/paid", r#"{"user":7}"#)]))
            .await;
        store
            .must(send(vec![new_event(11, "shop/paid", r#"{"user":7}"#)]))
            .await;
        let outcome = store
            .must(wait_for(vec![event_wait(1, "shop/paid", Some(SAME_USER))]))
            .await;
        assert_eq!(
            resumed(&outcome.work),
            [(run_id(1), Arrival::Event(event_id(10)))]
        );
        assert_eq!(store.rows_of("waits").await, 0);

        let both = Commit {
            events: vec![new_event(20, "shop/sent", "{}")],
            waits: vec![event_wait(2, "shop/sent", None)],
            ..Commit::default()
        };
        let outcome = store.must(both).await;
        assert_eq!(
            resumed(&outcome.work),
            [(run_id(2), Arrival::Event(event_id(20)))]
        );

        // In one transaction, in either order.
        for (number, wait_is_first) in [(3, true), (4, false)] {
            let name = format!("shop/race{number}");
            let wait = store.commit(wait_for(vec![event_wait(number, &name, None)]));
            let event = store.commit(send(vec![new_event(30 + number, &name, "{}")]));
            let occupy = store.commit(Commit::default());
            let (wait, event) = if wait_is_first {
                let (_, wait, event) = tokio::join!(occupy, wait, event);
                (wait, event)
            } else {
                let (_, event, wait) = tokio::join!(occupy, event, wait);
                (wait, event)
            };
            let work = [wait.unwrap().work, event.unwrap().work].concat();
            assert_eq!(
                resumed(&work),
                [(run_id(number), Arrival::Event(event_id(30 + number)))]
            );
        }
        assert_eq!(store.rows_of("waits").await, 0);
    })
    .await;
}

#[tokio::test]
async fn wait_of_a_new_run_is_stored_with_it() {
    on_each(async |store| {
        let cancel = Wait {
            id: WaitId::derive(run_id(1), "cancel:0"),
            kind: WaitKind::Cancel,
            step: None,
            ..event_wait(1, "shop/cancelled", Some(SAME_USER))
        };
        let commit = send(vec![NewEvent {
            runs: vec![NewRun {
                waits: vec![cancel],
                ..new_run(1)
            }],
            ..new_event(1, "shop/order", "{}")
        }]);
        store.must(commit).await;
        let other = new_event(50, "shop/cancelled", r#"{"user":8}"#);
        assert!(store.must(send(vec![other])).await.work.is_empty());
        let cancelled = new_event(51, "shop/cancelled", r#"{"user":7}"#);
        let work = store.must(send(vec![cancelled])).await.work;
        assert_eq!(work.len(), 1);
        assert_eq!(
            (work[0].kind, work[0].run, &work[0].step),
            (JobKind::Cancel, Some(run_id(1)), &None)
        );
    })
    .await;
}

#[tokio::test]
async fn two_events_wake_one_wait_once_and_the_first_one_counts() {
    on_each(async |store| {
        for same_commit in [true, false] {
            store
                .must(wait_for(vec![event_wait(1, "shop/paid", Some(SAME_USER))]))
                .await;
            let base = if same_commit { 100 } else { 200 };
            let events: Vec<_> = (0..3)
                .map(|offset| new_event(base + offset, "shop/paid", r#"{"user":7}"#))
                .collect();
            let work = if same_commit {
                store.must(send(events)).await.work
            } else {
                let occupy = store.commit(Commit::default());
                let rest = join_all(
                    events
                        .into_iter()
                        .map(|event| store.commit(send(vec![event]))),
                );
                let (_, outcomes) = tokio::join!(occupy, rest);
                outcomes
                    .into_iter()
                    .flat_map(|outcome| outcome.unwrap().work)
                    .collect()
            };
            assert_eq!(
                resumed(&work),
                [(run_id(1), Arrival::Event(event_id(base)))]
            );
            assert_eq!(store.rows_of("waits").await, 0);
            store.behind("DELETE FROM work").await;
            store.behind("DELETE FROM events").await;
        }
    })
    .await;
}

#[tokio::test]
async fn end_of_an_invoked_run_wakes_its_caller_only() {
    on_each(async |store| {
        let waits = [1, 2].map(|number| {
            let step = step_id("call");
            let correlation = inngest_core::wait::correlation(run_id(number), &step);
            let key = inngest_core::wait::Condition::of_correlation(&correlation);
            Wait {
                kind: WaitKind::Invoke,
                step: Some(step),
                key_path: key.key_path,
                key_hash: key.key_hash,
                ..event_wait(number, inngest_core::event::FUNCTION_FINISHED, None)
            }
        });
        store.must(wait_for(waits.to_vec())).await;
        let data = format!(r#"{{"correlation_id":"{}.call"}}"#, run_id(2));
        let finished = new_event(50, inngest_core::event::FUNCTION_FINISHED, &data);
        let outcome = store.must(send(vec![finished])).await;
        assert_eq!(
            resumed(&outcome.work),
            [(run_id(2), Arrival::Event(event_id(50)))]
        );
    })
    .await;
}

#[tokio::test]
async fn names_and_values_are_never_read_as_sql() {
    on_each(async |store| {
        let name = "x'); DROP TABLE runs; -- \" $1 ? % _";
        store.must(wait_for(vec![event_wait(1, name, None)])).await;
        let outcome = store
            .must(send(vec![new_event(50, "shop/paid", "{}")]))
            .await;
        assert!(outcome.work.is_empty());
        let mut event = new_event(51, "placeholder", "{}");
        event.event.name = name.to_owned();
        event.event.key = name.to_owned();
        assert_eq!(store.must(send(vec![event])).await.work.len(), 1);
        store
            .must(wait_for(vec![signal_wait(2, name, false)]))
            .await;
        assert!(
            store
                .find_signal_wait(DEFAULT_ENV, name)
                .await
                .unwrap()
                .is_some()
        );
        assert!(
            store
                .find_signal_wait(DEFAULT_ENV, "%")
                .await
                .unwrap()
                .is_none()
        );
        assert_eq!(store.rows_of("runs").await, 0);
    })
    .await;
}

/// Ten thousand runs of one event name, each waiting for a user of its own.
async fn crowd(store: &Store) {
    let model = event_wait(1, "shop/paid", Some("async.data.user == 1"));
    for chunk in 0..10 {
        let waits = (0..1_000)
            .map(|position| {
                let number = 10_000 + chunk * 1_000 + position;
                Wait {
                    id: WaitId::derive(run_id(number), "waiting"),
                    run: run_id(number),
                    key_hash: i64::try_from(number).unwrap(),
                    ..model.clone()
                }
            })
            .collect();
        store.must(wait_for(waits)).await;
    }
    if store.kind() == "postgres" {
        store.behind("ANALYZE waits").await;
    }
}

#[tokio::test]
async fn cost_of_an_event_does_not_depend_on_waits_that_it_does_not_satisfy() {
    on_each(async |store| {
        store.must(wait_for(vec![event_wait(1, "shop/paid", Some("async.data.user == 1"))])).await;
        let count = async |number| {
            let before = store.statements();
            let data = format!("{{\"user\":{number}}}");
            store.must(send(vec![new_event(number, "shop/paid", &data)])).await;
            store.statements() - before
        };
        let few = count(5).await;
        crowd(&store).await;
        assert_eq!(count(6).await, few);

        let hash = event_wait(1, "x", Some("async.data.user == 1")).key_hash;
        let sql = format!(
            "SELECT * FROM waits WHERE (env_id, event_name, key_path, key_hash) IN \
             (VALUES ({{env}}, 'shop/paid', 'data.user', {hash}), ({{env}}, 'shop/paid', '', 0)) ORDER BY run_id, id"
        );
        let plan = plan_of(&store, &sql).await;
        assert!(plan.contains("waits_by_key"), "{plan}");
    })
    .await;
}

#[tokio::test]
async fn wait_looks_back_at_the_oldest_event_that_fits_among_many() {
    on_each(async |store| {
        let events: Vec<NewEvent> = (1..=300)
            .map(|number| {
                new_event(
                    number,
                    "shop/paid",
                    &format!(r#"{{"user":{}}}"#, number % 100),
                )
            })
            .collect();
        store.must(send(events)).await;
        let commits = (0..20).map(|offset| {
            let wanted = Wait {
                since: at(100),
                ..event_wait(
                    1_000 + offset,
                    "shop/paid",
                    Some(&format!("async.data.user == {offset}")),
                )
            };
            store.commit(wait_for(vec![wanted]))
        });
        for (offset, outcome) in (0..).zip(join_all(commits).await) {
            let work = outcome.unwrap().work;
            assert_eq!(
                resumed(&work),
                [(
                    run_id(1_000 + offset),
                    Arrival::Event(event_id(100 + offset))
                )]
            );
        }
    })
    .await;
}

#[tokio::test]
async fn event_of_another_name_or_case_does_not_match() {
    on_each(async |store| {
        store
            .must(wait_for(vec![event_wait(1, "shop/paid", None)]))
            .await;
        let events = ["shop/Paid", "shop/paid ", "shop/pai", "shop/paid/x"];
        let events = (10..)
            .zip(events)
            .map(|(number, name)| new_event(number, name, "{}"));
        assert!(store.must(send(events.collect())).await.work.is_empty());
    })
    .await;
}

/// How the database would carry out a statement, in which `{env}` stands for the default environment.
pub(crate) async fn plan_of(store: &Store, sql: &str) -> String {
    let (explain, env, column) = match store.kind() {
        "postgres" => ("EXPLAIN", format!("'{DEFAULT_ENV}'::uuid"), "QUERY PLAN"),
        _ => (
            "EXPLAIN QUERY PLAN",
            format!("x'{}'", DEFAULT_ENV.raw().simple()),
            "detail",
        ),
    };
    let sql = format!("{explain} {}", sql.replace("{env}", &env));
    let conn = store.reader();
    let rows = conn
        .query_all_raw(Statement::from_string(conn.get_database_backend(), sql))
        .await
        .unwrap();
    let lines = rows
        .iter()
        .map(|row| row.try_get::<String>("", column).unwrap());
    lines.collect::<Vec<_>>().join("\n")
}
