//! Lists of what runs wait for and have waited for.

use inngest_core::{
    ids::{DEFAULT_ENV, RunId},
    page::{Page, PageRequest},
    run::{StepDetails, StepKind, StepStatus, StepWait, WaitStatus},
};

use crate::{
    Commit, StepChange, Store, WaitSource, samples::*, testing::on_each, waits_tests::plan_of,
};

fn event() -> StepDetails {
    StepDetails::Event {
        name: "shop/paid".to_owned(),
        expression: None,
        until: at(60_000),
    }
}

fn sleep() -> StepDetails {
    StepDetails::Sleep { until: at(60_000) }
}

/// Three runs that wait, of which the second has waited before and the third does two things at once; besides
/// them a step that does not tell what it asked for, one of another tenant, and runs that wait for nothing.
async fn store_waits(store: &Store) {
    let ended = |number, details, status| StepChange {
        status,
        position: Some(0),
        ended_by: Some(event_id(9)),
        ended_at: Some(at(7)),
        ..waiting_step(number, "before", details).0
    };
    let signal = StepDetails::Signal {
        name: "go".to_owned(),
        until: at(60_000),
    };
    let (first, first_work) = waiting_step(1, "nap", sleep());
    let (second, second_work) = waiting_step(2, "signal", signal);
    let (third, third_work) = waiting_step(3, "paid", event());
    let (fourth, fourth_work) = waiting_step(3, "nap", sleep());
    let (mut foreign, mut foreign_work) = waiting_step(5, "paid", event());
    (foreign.org, foreign.env) = (OTHER_ORG, OTHER_ENV);
    (foreign_work.org, foreign_work.env) = (OTHER_ORG, OTHER_ENV);
    let untold = StepChange {
        details: None,
        ..waiting_step(6, "untold", event()).0
    };
    let commit = Commit {
        steps: vec![
            first,
            second,
            third,
            fourth,
            foreign,
            untold,
            ended(2, event(), StepStatus::Completed),
            ended(4, event(), StepStatus::TimedOut),
            ended_step(4, "code", 1, "1"),
            open_step(4, "more"),
        ],
        waits: vec![signal_wait(2, "go", false)],
        work: vec![
            first_work,
            second_work,
            third_work,
            fourth_work,
            foreign_work,
            work(4, "discover"),
        ],
        ..Commit::default()
    };
    store.must(commit).await;
}

fn places(page: &Page<StepWait>) -> Vec<(RunId, &str)> {
    let waits = page.items.iter();
    waits.map(|wait| (wait.run, wait.step.as_str())).collect()
}

#[tokio::test]
async fn waits_are_listed_by_run_and_open_ones_without_those_that_have_ended() {
    on_each(async |store| {
        store_waits(&store).await;
        let go = WaitSource::OfSignal("go".to_owned());
        let none = WaitSource::OfSignal("stop".to_owned());
        let open = [(3, "paid"), (3, "nap"), (2, "signal"), (1, "nap")];
        let all = [
            (4, "before"),
            (3, "paid"),
            (3, "nap"),
            (2, "signal"),
            (2, "before"),
            (1, "nap"),
        ];
        for (source, expected) in [
            (WaitSource::Open, &open[..]),
            (WaitSource::All, &all[..]),
            (go, &open[2..3]),
            (none, &[]),
        ] {
            let expected: Vec<_> = expected
                .iter()
                .map(|(n, step)| (run_id(*n), *step))
                .collect();
            let list = async |request| {
                store
                    .list_waits(DEFAULT_ENV, &source, &request)
                    .await
                    .unwrap()
            };
            let page = list(PageRequest::new(9, None)).await;
            assert_eq!(places(&page), expected, "{source:?}");
            let count = store.count_waits(DEFAULT_ENV, &source).await.unwrap();
            assert_eq!(count.value, expected.len() as u64, "{source:?}");
            if expected.len() < 4 {
                continue;
            }
            let first = list(PageRequest::new(2, None)).await;
            let cursor = first.cursors.last().cloned();
            let rest = list(PageRequest::new(9, cursor)).await;
            assert_eq!(places(&first), expected[..2]);
            assert_eq!(places(&rest), expected[2..]);
            let last = PageRequest::of_arguments(None, None, Some(1), None).unwrap();
            assert_eq!(places(&list(last).await), expected[expected.len() - 1..]);
        }
    })
    .await;
}

#[tokio::test]
async fn place_in_one_list_is_a_place_in_the_other() {
    on_each(async |store| {
        store_waits(&store).await;
        let two = PageRequest::new(2, None);
        let open = store.list_waits(DEFAULT_ENV, &WaitSource::Open, &two);
        let cursor = open.await.unwrap().cursors.pop();
        let rest = PageRequest::new(9, cursor);
        let rest = store
            .list_waits(DEFAULT_ENV, &WaitSource::All, &rest)
            .await
            .unwrap();
        assert_eq!(
            places(&rest),
            [(2, "signal"), (2, "before"), (1, "nap")].map(|(n, step)| (run_id(n), step))
        );
    })
    .await;
}

#[tokio::test]
async fn wait_tells_how_it_ended_without_reading_with_what() {
    on_each(async |store| {
        store_waits(&store).await;
        let nine = PageRequest::new(9, None);
        let page = store.list_waits(DEFAULT_ENV, &WaitSource::All, &nine);
        let waits = page.await.unwrap().items;
        let ended: Vec<_> = waits
            .into_iter()
            .filter(|wait| wait.step.as_str() == "before")
            .map(|wait| (wait.kind, wait.status, wait.ended_at, wait.ended_by))
            .collect();
        let kind = StepKind::WaitForEvent;
        assert_eq!(
            ended,
            [
                (kind, WaitStatus::TimedOut, Some(at(7)), None),
                (kind, WaitStatus::Resolved, Some(at(7)), Some(event_id(9))),
            ]
        );
        let runs: Vec<RunId> = (1..7).map(run_id).collect();
        let open = store.waits_of_runs(DEFAULT_ENV, &runs).await.unwrap();
        assert_eq!(open.len(), 4);
        assert!(open.iter().all(|wait| wait.status == WaitStatus::Open));
    })
    .await;
}

#[tokio::test]
async fn lists_of_waits_are_read_in_the_order_of_indexes_that_hold_nothing_else() {
    on_each(async |store| {
        for chunk in 0..10 {
            let numbers = (0..200).map(|position| 10_000 + chunk * 200 + position);
            let numbers: Vec<u64> = numbers.collect();
            let code = numbers.iter().map(|n| ended_step(*n, "code", 0, "1"));
            store
                .must(Commit {
                    steps: code.collect(),
                    work: numbers.iter().map(|n| work(*n, "discover")).collect(),
                    ..Commit::default()
                })
                .await;
        }
        store_waits(&store).await;
        if store.kind() == "postgres" {
            store.behind("ANALYZE steps; ANALYZE work").await;
        }
        for (table, waiting, index) in [
            ("steps", "kind IN (2, 3, 4, 5) AND details IS NOT NULL", "steps_waiting"),
            ("work", "kind IN (3, 4)", "work_waiting"),
        ] {
            let sql = format!(
                "SELECT * FROM {table} WHERE env_id = {{env}} AND {waiting} ORDER BY run_id DESC, step_id DESC LIMIT 51"
            );
            let plan = plan_of(&store, &sql).await;
            // The partitions of a table have indexes of their own.
            let own = "env_id_run_id_step_id_idx";
            assert!(plan.contains(index) || plan.contains(own), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
    })
    .await;
}
