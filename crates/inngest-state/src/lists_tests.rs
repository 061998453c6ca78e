//! Lists: pages without gaps or repeats, bounds, filters, and nothing of another tenant.

use inngest_core::{
    event::Event,
    ids::{AppId, DEFAULT_ENV, EventId, FunctionId},
    page::{Direction, PageRequest},
    run::{Run, RunStatus},
    time::Timestamp,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::runtime::Runtime;

use crate::{
    Commit, EventFilter, NewEvent, NewRun, RunFilter, Store,
    samples::*,
    testing::{TestDatabase, on_each},
};

pub(crate) const NEWEST: Direction = Direction::Descending;

pub(crate) fn rows(limit: u32) -> PageRequest {
    PageRequest::new(limit, None)
}

pub(crate) fn all_runs() -> RunFilter {
    RunFilter::default()
}

pub(crate) fn all_events() -> EventFilter {
    EventFilter {
        with_internal: true,
        ..EventFilter::default()
    }
}

fn function(choice: u8) -> FunctionId {
    FunctionId::derive(app_id(), &format!("f{choice}"))
}

fn app(choice: u8) -> AppId {
    AppId::derive(DEFAULT_ENV, &format!("a{choice}"))
}

/// Reads all pages, inserting newer rows between them.
async fn page_through_runs(
    store: &Store,
    filter: &RunFilter,
    limit: u32,
    newer: &mut u64,
) -> Vec<Run> {
    let (mut seen, mut request) = (Vec::new(), rows(limit));
    loop {
        let page = store
            .list_runs(DEFAULT_ENV, filter, NEWEST, &request)
            .await
            .unwrap();
        assert!(page.items.len() <= limit as usize);
        seen.extend(page.items);
        if !page.has_next {
            return seen;
        }
        request.from = page.cursors.last().cloned();
        *newer += 1;
        let run = NewRun {
            work: Vec::new(),
            ..new_run(*newer)
        };
        store
            .must(Commit {
                runs: vec![run],
                ..Commit::default()
            })
            .await;
    }
}

async fn page_through_events(
    store: &Store,
    filter: &EventFilter,
    limit: u32,
    newer: &mut u64,
) -> Vec<Event> {
    let (mut seen, mut request) = (Vec::new(), rows(limit));
    loop {
        let page = store
            .list_events(DEFAULT_ENV, filter, NEWEST, &request)
            .await
            .unwrap();
        seen.extend(page.items);
        if !page.has_next {
            return seen;
        }
        request.from = page.cursors.last().cloned();
        *newer += 1;
        store.must(send(vec![new_event(*newer, "a", "{}")])).await;
    }
}

#[derive(Clone, Debug)]
struct Filter {
    limit: u32,
    statuses: Vec<RunStatus>,
    functions: Vec<u8>,
    apps: Vec<u8>,
    names: Vec<String>,
    with_internal: bool,
    from: Option<i64>,
    until: Option<i64>,
}

fn filters() -> impl Strategy<Value = Filter> {
    let statuses = prop::sample::subsequence(
        vec![RunStatus::Queued, RunStatus::Skipped, RunStatus::Failed],
        0..=2,
    );
    let choices = || prop::sample::subsequence(vec![0u8, 1, 2], 0..=2);
    let names = prop::sample::subsequence(
        vec!["a".to_owned(), "inngest/b".to_owned(), "c".to_owned()],
        0..=2,
    );
    let bound = || prop::option::of(-5i64..70);
    (
        4u32..30,
        statuses,
        choices(),
        choices(),
        names,
        any::<bool>(),
        bound(),
        bound(),
    )
        .prop_map(
            |(limit, statuses, functions, apps, names, with_internal, from, until)| Filter {
                limit,
                statuses,
                functions,
                apps,
                names,
                with_internal,
                from,
                until,
            },
        )
}

const ROWS: u64 = 60;

/// Sixty runs and events, a few of them at the same ms.
pub(crate) async fn fill(store: &Store) -> (Vec<NewRun>, Vec<NewEvent>) {
    let choice = |number: u64, of: u64| u8::try_from(number % of).unwrap();
    let runs: Vec<NewRun> = (1..=ROWS)
        .map(|number| NewRun {
            status: if number % 4 == 0 {
                RunStatus::Skipped
            } else {
                RunStatus::Queued
            },
            skip_reason: (number % 4 == 0).then_some(inngest_core::run::SkipReason::FunctionPaused),
            function: function(choice(number, 3)),
            app: app(choice(number / 3, 3)),
            work: Vec::new(),
            ..new_run(number)
        })
        .collect();
    let events: Vec<NewEvent> = (1..=ROWS)
        .map(|number| {
            new_event(
                number,
                ["a", "inngest/b", "c"][usize::from(choice(number, 3))],
                "{}",
            )
        })
        .collect();
    let foreign_run = NewRun {
        env: OTHER_ENV,
        org: OTHER_ORG,
        ..new_run(500)
    };
    let foreign_event = NewEvent {
        env: OTHER_ENV,
        org: OTHER_ORG,
        ..new_event(500, "a", "{}")
    };
    let commit = Commit {
        events: events.iter().cloned().chain([foreign_event]).collect(),
        runs: runs.iter().cloned().chain([foreign_run]).collect(),
        ..Commit::default()
    };
    store.must(commit).await;
    (runs, events)
}

fn in_bounds(filter: &Filter, time: Timestamp) -> bool {
    filter.from.is_none_or(|from| time >= at(from))
        && filter.until.is_none_or(|until| time < at(until))
}

async fn compare(store: &Store, runs: &[NewRun], events: &[NewEvent], filter: &Filter) {
    let newer = &mut 1_000;
    let fits = |list: &[u8], make: &dyn Fn(u8) -> bool| {
        list.is_empty() || list.iter().any(|choice| make(*choice))
    };
    let mut expected: Vec<_> = runs
        .iter()
        .filter(|run| in_bounds(filter, run.queued_at))
        .filter(|run| filter.statuses.is_empty() || filter.statuses.contains(&run.status))
        .filter(|run| {
            fits(&filter.functions, &|choice| {
                function(choice) == run.function
            })
        })
        .filter(|run| fits(&filter.apps, &|choice| app(choice) == run.app))
        .map(|run| run.id)
        .collect();
    expected.reverse();
    fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
        (!list.is_empty()).then_some(list)
    }
    let request = RunFilter {
        statuses: some(filter.statuses.clone()),
        functions: some(filter.functions.iter().copied().map(function).collect()),
        apps: some(filter.apps.iter().copied().map(app).collect()),
        from: filter.from.map(at),
        until: filter.until.map(at),
        ..all_runs()
    };
    // What was inserted meanwhile is newer than everything, and belongs to no page of this reading.
    let mut seen: Vec<_> = page_through_runs(store, &request, filter.limit, newer)
        .await
        .iter()
        .map(|run| run.id)
        .collect();
    seen.retain(|id| *id <= run_id(ROWS));
    assert_eq!(seen, expected, "{filter:?}");
    if filter.until.is_some() {
        let count = store.count_runs(DEFAULT_ENV, &request).await.unwrap();
        assert_eq!(
            (count.value, count.is_exact),
            (expected.len() as u64, true),
            "{filter:?}"
        );
    }

    let mut expected: Vec<_> = events
        .iter()
        .map(|new| &new.event)
        .filter(|event| in_bounds(filter, event.received_at))
        .filter(|event| filter.with_internal || !event.is_internal())
        .filter(|event| filter.names.is_empty() || filter.names.contains(&event.name))
        .map(|event| event.id)
        .collect();
    expected.reverse();
    let request = EventFilter {
        names: some(filter.names.clone()),
        with_internal: filter.with_internal,
        from: filter.from.map(at),
        until: filter.until.map(at),
        ..all_events()
    };
    let mut seen: Vec<EventId> = page_through_events(store, &request, filter.limit, newer)
        .await
        .iter()
        .map(|event| event.id)
        .collect();
    seen.retain(|id| *id <= event_id(ROWS));
    assert_eq!(seen, expected, "{filter:?}");
}

fn pages_agree_with_a_plain_filter(database: Option<TestDatabase>, runtime: &Runtime, cases: u32) {
    let Some(database) = database else { return };
    let store = runtime.block_on(database.open());
    let (runs, events) = runtime.block_on(fill(&store));
    let mut runner = TestRunner::new_with_rng(
        Config {
            cases,
            failure_persistence: None,
            ..Config::default()
        },
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    runner
        .run(&filters(), |filter| {
            runtime.block_on(async {
                compare(&store, &runs, &events, &filter).await;
                let later = at(1_000).as_millis();
                store
                    .behind(&format!("DELETE FROM runs WHERE queued_at >= {later}"))
                    .await;
                store
                    .behind(&format!("DELETE FROM events WHERE received_at >= {later}"))
                    .await;
            });
            Ok(())
        })
        .unwrap();
    drop(store);
    drop(database);
}

#[test]
fn pages_hold_every_row_once_while_rows_are_inserted() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    pages_agree_with_a_plain_filter(Some(runtime.block_on(TestDatabase::sqlite())), &runtime, 16);
    pages_agree_with_a_plain_filter(runtime.block_on(TestDatabase::postgres()), &runtime, 16);
}

#[tokio::test]
async fn bounds_take_any_time() {
    on_each(async |store| {
        fill(&store).await;
        let (first, last) = (Timestamp::from_millis(i64::MIN), Timestamp::MAX);
        for (from, until, expected) in [
            (Some(first), Some(last), 60),
            (None, Some(Timestamp::from_millis((1 << 48) + 5)), 60),
            (Some(last), None, 0),
            (None, Some(first), 0),
            (Some(at(1)), Some(at(1)), 0),
            (Some(at(1)), Some(at(2)), 1),
        ] {
            let filter = RunFilter {
                from,
                until,
                ..all_runs()
            };
            let page = store
                .list_runs(DEFAULT_ENV, &filter, NEWEST, &rows(100))
                .await
                .unwrap();
            assert_eq!(page.items.len(), expected, "{from:?} {until:?}");
            let filter = EventFilter {
                from,
                until,
                ..all_events()
            };
            let page = store
                .list_events(DEFAULT_ENV, &filter, NEWEST, &rows(100))
                .await
                .unwrap();
            assert_eq!(page.items.len(), expected, "{from:?} {until:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn last_page_says_that_it_is_the_last() {
    on_each(async |store| {
        fill(&store).await;
        for (limit, has_more) in [(59, true), (60, false), (61, false)] {
            let page = store
                .list_runs(DEFAULT_ENV, &all_runs(), NEWEST, &rows(limit))
                .await
                .unwrap();
            assert_eq!(page.has_next, has_more, "{limit}");
            let page = store
                .list_events(DEFAULT_ENV, &all_events(), NEWEST, &rows(limit))
                .await
                .unwrap();
            assert_eq!(page.has_next, has_more, "{limit}");
        }
    })
    .await;
}
