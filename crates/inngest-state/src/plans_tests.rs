//! What lists read on Postgres, as its own plans tell: no more than a few pages, of a tenant with nearly all rows and of one with few alike.
//!
//! The statements are those that the lists carry out; each is carried out again under `EXPLAIN ANALYZE`. Rows are counted where they are
//! taken from a table or an index, those that a filter throws away included, so what is sorted is bounded by the same number.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use inngest_core::{
    event::SourceKind,
    ids::{AppId, BulkId, DEFAULT_ENV, EnvId, FunctionId, RunId},
    page::{Direction, PageRequest},
    run::{RunStatus, TriggerKind},
    sync::SyncStatus,
    time::Timestamp,
};
use sea_orm::{ConnectionTrait, Database, DbBackend, Statement};
use tokio_util::task::TaskTracker;

use crate::{
    AppFilter, EventFilter, FunctionFilter, Hints, Place, RunFilter, Store, StoreSettings,
    SyncFilter, TimeSpan, WaitSource,
    fill::{Filling, OTHER_ENV},
    lists_tests::rows,
    pool::{self, Use},
    testing::{TestDatabase, matcher},
};

/// Rows of a page.
const PAGE: u32 = 50;
/// Most rows that one statement may take: for each of up to sixteen places of an index a page, or all that the small tenant has. A statement
/// that goes through the large one takes five times as many.
const MOST: u64 = 4_000;
/// Tables with a row for each run or more, of which nothing may be read from end to end.
const LARGE: [&str; 7] = [
    "events",
    "runs",
    "steps",
    "failed_attempts",
    "waits",
    "work",
    "syncs",
];

pub(crate) type Log = Arc<Mutex<Vec<Statement>>>;

/// A filled database, read through a connection that notes its statements.
async fn filled(database: &TestDatabase) -> (Store, Log) {
    let settings = StoreSettings {
        timeout: Duration::from_secs(300),
        ..database.settings().clone()
    };
    let store = Store::open(&settings, matcher(), &TaskTracker::new()).await;
    let store = store.unwrap();
    let filling = Filling {
        runs: 20_000,
        steps_per_run: 2,
        days: 28,
        share: 99,
    };
    store.fill(filling, |_| {}).await.unwrap();
    fill_syncs(&store).await;
    noted(database, store).await
}

/// The store, read through a connection that notes its statements.
pub(crate) async fn noted(database: &TestDatabase, store: Store) -> (Store, Log) {
    let settings = database.settings();
    let Place::Postgres(url) = &settings.place else {
        panic!("only Postgres tells its plans");
    };
    // Tables of this size are read from end to end because that is quicker. What counts is how they are read when it is not.
    let options = pool::postgres(url, 1, settings.timeout, Use::ByKey);
    let mut reader = Database::connect(options).await.unwrap();
    let log = Log::default();
    let noted = log.clone();
    reader.set_metric_callback(move |info| noted.lock().unwrap().push(info.statement.clone()));
    (Store { reader, ..store }, log)
}

/// What is wrong with the plans of the statements since the last look.
pub(crate) async fn complaints(store: &Store, log: &Log, what: &str, most: u64) -> Vec<String> {
    let statements = std::mem::take(&mut *log.lock().unwrap());
    assert!(!statements.is_empty(), "{what} asks nothing");
    let mut complaints = Vec::new();
    for statement in statements {
        let sql = format!(
            "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {}",
            statement.sql
        );
        let values = statement.values.map(|values| values.0).unwrap_or_default();
        let explained = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        let plan = store.reader.query_all_raw(explained).await.unwrap();
        let plan: Vec<String> = plan
            .iter()
            .map(|row| row.try_get("", "QUERY PLAN").unwrap())
            .collect();
        let (read, scanned) = taken(&plan);
        if read > most || scanned.is_some() {
            complaints.push(format!(
                "{what}: {read} rows, {scanned:?} from end to end\n{}\n{}",
                statement.sql,
                plan.join("\n")
            ));
        }
    }
    log.lock().unwrap().clear();
    complaints
}

/// How many rows a plan has taken from tables and indexes, and the first large table that it has read from end to end.
fn taken(plan: &[String]) -> (u64, Option<String>) {
    let number = |text: &str, key: &str| -> Option<f64> {
        let rest = text.split(key).nth(1)?;
        let digits: String = rest
            .chars()
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        digits.parse().ok()
    };
    let (mut read, mut loops, mut scanned) = (0.0, 1.0, None);
    let mut table = String::new();
    for line in plan {
        let is_scan = line.contains("Scan") && line.contains("(actual");
        let of_rows = [
            "CTE Scan",
            "Subquery Scan",
            "Values Scan",
            "Function Scan",
            "WorkTable Scan",
        ];
        if is_scan && !of_rows.iter().any(|kind| line.contains(kind)) {
            loops = number(line, "loops=").unwrap_or(1.0);
            let rows = number(line, "rows=").unwrap_or(0.0) * loops;
            read += rows;
            table = match line.split("Seq Scan on ").nth(1) {
                Some(rest) => rest.split(' ').next().unwrap_or_default().to_owned(),
                None => String::new(),
            };
            if rows > 0.0 && is_large(&table) {
                scanned.get_or_insert(table.clone());
            }
        }
        if let Some(removed) = number(line, "Rows Removed by Filter: ") {
            read += removed * loops;
            if is_large(&table) {
                scanned.get_or_insert(table.clone());
            }
        }
    }
    (read as u64, scanned)
}

fn is_large(table: &str) -> bool {
    LARGE.iter().any(|large| {
        table == *large
            || table
                .strip_prefix(large)
                .is_some_and(|rest| rest.starts_with('_'))
    })
}

/// Every shape of filter that the API has, by name.
fn run_filters(env: EnvId) -> Vec<(&'static str, RunFilter)> {
    let from = Some(Timestamp::from_millis(1_000));
    let function = |number: usize| {
        let app = AppId::derive(env, &format!("fill{}", number / 10));
        FunctionId::derive(app, &format!("fill{}-f{number}", number / 10))
    };
    let all = || RunFilter {
        from,
        now: Timestamp::from_millis(i64::MAX / 2),
        ..RunFilter::default()
    };
    let but_skipped: Vec<RunStatus> = RunStatus::ALL[..5].to_vec();
    let to_come = TimeSpan {
        from: Some(Timestamp::from_millis(i64::MAX / 2)),
        until: None,
    };
    let with = |change: &dyn Fn(&mut RunFilter)| {
        let mut filter = all();
        change(&mut filter);
        filter
    };
    let mut filters = vec![
        ("all", all()),
        (
            "all but skipped",
            with(&|it| it.statuses = Some(but_skipped.clone())),
        ),
        (
            "failed",
            with(&|it| it.statuses = Some(vec![RunStatus::Failed])),
        ),
        (
            "skipped",
            with(&|it| it.statuses = Some(vec![RunStatus::Skipped])),
        ),
        (
            "failed and cancelled",
            with(&|it| it.statuses = Some(vec![RunStatus::Failed, RunStatus::Cancelled])),
        ),
        (
            "not ended",
            with(&|it| it.statuses = Some(vec![RunStatus::Queued, RunStatus::Running])),
        ),
        (
            "failed or running",
            with(&|it| it.statuses = Some(vec![RunStatus::Failed, RunStatus::Running])),
        ),
        ("with an error", with(&|it| it.has_error = Some(true))),
        (
            "of a busy function",
            with(&|it| it.functions = Some(vec![function(0)])),
        ),
        (
            "of an idle function",
            with(&|it| it.functions = Some(vec![function(49)])),
        ),
        (
            "of ten functions",
            with(&|it| it.functions = Some((40..50).map(function).collect())),
        ),
        (
            "failed of a function",
            with(&|it| {
                it.functions = Some(vec![function(20)]);
                it.statuses = Some(vec![RunStatus::Failed]);
            }),
        ),
        (
            "not ended of a function",
            with(&|it| {
                it.functions = Some(vec![function(20)]);
                it.statuses = Some(vec![RunStatus::Running]);
            }),
        ),
        (
            "of an app",
            with(&|it| it.apps = Some(vec![AppId::derive(env, "fill4")])),
        ),
        (
            "of an event name",
            with(&|it| it.event_names = Some(vec!["fill/e49".to_owned()])),
        ),
        (
            "reruns",
            with(&|it| it.triggers = Some(vec![TriggerKind::Rerun])),
        ),
        (
            "of a version",
            with(&|it| {
                it.functions = Some(vec![function(20)]);
                it.function_version = Some(9);
            }),
        ),
        (
            "that took long",
            with(&|it| it.min_duration = Some(Duration::from_secs(3_600))),
        ),
        ("started at no time yet", with(&|it| it.started = to_come)),
        ("ended at no time yet", with(&|it| it.ended = to_come)),
        (
            "failed at no time yet",
            with(&|it| {
                it.ended = to_come;
                it.statuses = Some(vec![RunStatus::Failed]);
            }),
        ),
    ];
    filters.push(("nothing", with(&|it| it.statuses = Some(Vec::new()))));
    filters
}

#[tokio::test]
async fn lists_read_a_few_pages_whoever_asks() {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    let (store, log) = filled(&database).await;
    let mut wrong = lists_of_runs(&store, &log).await;
    wrong.extend(other_lists(&store, &log).await);
    wrong.extend(counts(&store, &log).await);
    wrong.extend(repetitions(&store, &log).await);
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

async fn lists_of_runs(store: &Store, log: &Log) -> Vec<String> {
    let mut wrong = Vec::new();
    for env in [DEFAULT_ENV, OTHER_ENV] {
        for (name, filter) in run_filters(env) {
            for direction in [Direction::Descending, Direction::Ascending] {
                let hints = Hints::default();
                let page = rows(PAGE);
                let list = store.slice_runs(env, &filter, &hints, direction, &page);
                let slice = list.await.unwrap();
                if name == "nothing" {
                    assert!(slice.page.items.is_empty());
                    continue;
                }
                let what = format!("runs, {name}, {direction:?}");
                wrong.extend(complaints(store, log, &what, MOST).await);
                let Some(end) = slice.end else { continue };
                let next = PageRequest::new(PAGE, Some(end));
                store
                    .slice_runs(env, &filter, &hints, direction, &next)
                    .await
                    .unwrap();
                wrong.extend(complaints(store, log, &format!("{what}, next page"), MOST).await);
            }
        }
        let functions: Vec<FunctionId> = (0..10)
            .map(|number| {
                FunctionId::derive(AppId::derive(env, "fill0"), &format!("fill0-f{number}"))
            })
            .collect();
        let filter = RunFilter::default();
        let newest = Direction::Descending;
        let page = rows(PAGE);
        let pages = store.list_runs_of_functions(env, &filter, &functions, newest, &page);
        pages.await.unwrap();
        wrong.extend(complaints(store, log, "runs of functions", MOST).await);
    }
    wrong
}

async fn other_lists(store: &Store, log: &Log) -> Vec<String> {
    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    let mut wrong = Vec::new();
    for env in [DEFAULT_ENV, OTHER_ENV] {
        for (name, filter) in [
            ("sent", EventFilter::default()),
            (
                "all",
                EventFilter {
                    with_internal: true,
                    ..EventFilter::default()
                },
            ),
            (
                "of one name",
                EventFilter {
                    names: names(&["fill/e49"]),
                    ..EventFilter::default()
                },
            ),
            (
                "of three names",
                EventFilter {
                    names: names(&["fill/e1", "fill/e2", "none"]),
                    ..EventFilter::default()
                },
            ),
            (
                "with a key",
                EventFilter {
                    keys: names(&["order-7"]),
                    ..EventFilter::default()
                },
            ),
            (
                "from an API",
                EventFilter {
                    sources: Some(vec![SourceKind::Api, SourceKind::System]),
                    ..EventFilter::default()
                },
            ),
            (
                "without runs",
                EventFilter {
                    has_runs: Some(false),
                    ..EventFilter::default()
                },
            ),
        ] {
            for direction in [Direction::Descending, Direction::Ascending] {
                let hints = Hints::default();
                store
                    .slice_events(env, &filter, &hints, direction, &rows(PAGE))
                    .await
                    .unwrap();
                let what = format!("events, {name}, {direction:?}");
                wrong.extend(complaints(store, log, &what, MOST).await);
            }
        }
        let page = rows(PAGE);
        store.event_names(env, 100).await.unwrap();
        wrong.extend(complaints(store, log, "event names", MOST).await);
        let asked: Vec<String> = (0..50).map(|number| format!("fill/e{number}")).collect();
        store.first_and_last_events(env, &asked).await.unwrap();
        wrong.extend(complaints(store, log, "first and last events", MOST).await);
        for source in [WaitSource::Open, WaitSource::All] {
            let what = format!("waits, {source:?}");
            let found = store.list_waits(env, &source, &page).await.unwrap();
            assert!(found.items.len() >= 2, "{what}");
            wrong.extend(complaints(store, log, &what, MOST).await);
            let next = PageRequest::new(PAGE, found.cursors.last().cloned());
            store.list_waits(env, &source, &next).await.unwrap();
            wrong.extend(complaints(store, log, &format!("{what}, next page"), MOST).await);
            store.count_waits(env, &source).await.unwrap();
            wrong.extend(complaints(store, log, &format!("{what}, length"), 45_000).await);
        }
        store
            .page_functions(env, &FunctionFilter::default(), &page)
            .await
            .unwrap();
        wrong.extend(complaints(store, log, "functions", MOST).await);
        store
            .page_apps(env, &AppFilter::default(), &page)
            .await
            .unwrap();
        wrong.extend(complaints(store, log, "apps", MOST).await);
        wrong.extend(syncs(store, log, env).await);
        let apps: Vec<AppId> = (0..5)
            .map(|n| AppId::derive(env, &format!("fill{n}")))
            .collect();
        let all = FunctionFilter::default();
        let functions = store
            .page_functions_of_apps(env, &all, &apps, &page)
            .await
            .unwrap();
        wrong.extend(complaints(store, log, "functions of apps", MOST).await);
        let functions: Vec<FunctionId> = functions
            .values()
            .flat_map(|page| page.items.iter().map(|function| function.id))
            .collect();
        store
            .page_versions_of_functions(env, &functions, &page)
            .await
            .unwrap();
        wrong.extend(complaints(store, log, "versions", MOST).await);

        let (all, hints) = (RunFilter::default(), Hints::default());
        let newest = Direction::Descending;
        let runs = store
            .slice_runs(env, &all, &hints, newest, &page)
            .await
            .unwrap();
        let events: Vec<_> = runs.page.items.iter().map(|run| run.events[0]).collect();
        let runs: Vec<_> = runs.page.items.iter().map(|run| run.id).collect();
        log.lock().unwrap().clear();
        store
            .list_runs_of_events(env, &events, &page)
            .await
            .unwrap();
        wrong.extend(complaints(store, log, "runs of events", MOST).await);
        store.count_statuses_of_events(env, &events).await.unwrap();
        wrong.extend(complaints(store, log, "statuses of events", MOST).await);
        store.steps_of_runs(env, &runs).await.unwrap();
        wrong.extend(complaints(store, log, "steps", MOST).await);
        store.step_heads_of_runs(env, &runs).await.unwrap();
        wrong.extend(complaints(store, log, "names of steps", MOST).await);
        store.failed_attempts_of_runs(env, &runs).await.unwrap();
        wrong.extend(complaints(store, log, "failed attempts", MOST).await);
        store.work_of_runs(env, &runs).await.unwrap();
        wrong.extend(complaints(store, log, "work", MOST).await);
        store.waits_of_runs(env, &runs).await.unwrap();
        wrong.extend(complaints(store, log, "waits of runs", MOST).await);
        store.functions_of_runs(env, &runs).await.unwrap();
        wrong.extend(complaints(store, log, "functions of runs", MOST).await);
        store.work_heads_of_run(env, runs[0], 10).await.unwrap();
        wrong.extend(complaints(store, log, "work of one run", MOST).await);
        store
            .page_runs_of_event(env, events[0], &page, u64::MAX)
            .await
            .unwrap();
        wrong.extend(complaints(store, log, "runs of one event", MOST).await);
        let steps = store.page_steps_of_run(env, runs[0], &page, u64::MAX);
        let steps = steps.await.unwrap().items;
        wrong.extend(complaints(store, log, "steps of one run", MOST).await);
        let steps: Vec<_> = steps.into_iter().map(|step| step.step).collect();
        store
            .count_failed_attempts(env, runs[0], &steps)
            .await
            .unwrap();
        wrong.extend(complaints(store, log, "failures of steps", MOST).await);
        store.function_heads(env, &functions).await.unwrap();
        wrong.extend(complaints(store, log, "names of functions", MOST).await);
    }
    wrong
}

/// Of a run that many repeat, and of a replay that started many, a page is read.
async fn repetitions(store: &Store, log: &Log) -> Vec<String> {
    let (run, replay) = (ulid::Ulid(7), ulid::Ulid(8));
    let many = "UPDATE runs SET original_id = '00000000-0000-0000-0000-000000000007', replay_id = '00000000-0000-0000-0000-000000000008' \
                WHERE status = 3";
    store.writer().execute_unprepared(many).await.unwrap();
    let analyze = "ANALYZE runs";
    store.writer().execute_unprepared(analyze).await.unwrap();
    let (run, replay) = (RunId::from_raw(run), BulkId::from_raw(replay));
    let page = rows(PAGE);
    let mut wrong = Vec::new();
    let found = store.list_repetitions(DEFAULT_ENV, &[run], &page).await;
    assert_eq!(found.unwrap()[&run].items.len(), PAGE as usize);
    wrong.extend(complaints(store, log, "repetitions", MOST).await);
    let found = store
        .list_runs_of_replays(DEFAULT_ENV, &[replay], &page)
        .await;
    assert_eq!(found.unwrap()[&replay].items.len(), PAGE as usize);
    wrong.extend(complaints(store, log, "runs of replays", MOST).await);
    let counts = store.count_repetitions(DEFAULT_ENV, &[run]).await.unwrap();
    assert_eq!(counts[&run].value, 10_000);
    wrong.extend(complaints(store, log, "length of repetitions", 45_000).await);
    wrong
}

/// Lists of attempts to register apps.
async fn syncs(store: &Store, log: &Log, env: EnvId) -> Vec<String> {
    let mut wrong = Vec::new();
    let of = |statuses: &[SyncStatus], without_app| SyncFilter {
        statuses: (!statuses.is_empty()).then(|| statuses.to_vec()),
        without_app,
        ..SyncFilter::default()
    };
    let noon = Timestamp::from_millis(5_000);
    for (name, filter) in [
        ("all", of(&[], false)),
        ("those that failed", of(&[SyncStatus::Failed], false)),
        ("without an app", of(&[], true)),
        (
            "of a time",
            SyncFilter {
                until: Some(noon),
                ..of(&[], false)
            },
        ),
    ] {
        store.list_syncs(env, &filter, &rows(PAGE)).await.unwrap();
        let what = format!("syncs, {name}");
        wrong.extend(complaints(store, log, &what, MOST).await);
    }
    let apps: Vec<AppId> = (0..5)
        .map(|n| AppId::derive(env, &format!("fill{n}")))
        .collect();
    let pages = store.list_syncs_of_apps(env, &apps, &rows(PAGE)).await;
    assert!(pages.unwrap().values().all(|page| page.items.len() == 50));
    wrong.extend(complaints(store, log, "syncs of apps", MOST).await);
    store.last_sync_without_app(env, None).await.unwrap();
    wrong.extend(complaints(store, log, "the last sync without an app", MOST).await);
    wrong
}

/// Some hundred apps that were registered a hundred times each, of which one attempt in a thousand failed or had no app.
async fn fill_syncs(store: &Store) {
    for (env, apps) in [(DEFAULT_ENV, 200), (OTHER_ENV, 5)] {
        for number in 0..apps {
            let app = AppId::derive(env, &format!("fill{number}"));
            let (app, env) = (app.raw(), env.raw());
            let sql = format!(
                "INSERT INTO syncs (id, org_id, env_id, app_id, url, sdk, function_count, created_at, status) \
                 SELECT gen_random_uuid(), '{env}', '{env}', CASE WHEN n = 7 THEN NULL ELSE '{app}'::uuid END, 'http://x', 'js:4', 1, n * 100, \
                 CASE WHEN n IN (7, 8) THEN 3 ELSE 1 END FROM generate_series(1, 100) n"
            );
            store.writer().execute_unprepared(&sql).await.unwrap();
        }
    }
    store
        .writer()
        .execute_unprepared("ANALYZE syncs")
        .await
        .unwrap();
}

/// How long a list is, is found out from no more rows than it says.
async fn counts(store: &Store, log: &Log) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, filter) in run_filters(DEFAULT_ENV) {
        if name == "nothing" {
            continue;
        }
        let count = store.count_runs(DEFAULT_ENV, &filter).await.unwrap();
        assert!(count.value <= 10_000, "{name}: {count:?}");
        // Candidates, and each of them again where an index named it.
        let what = format!("length of runs, {name}");
        wrong.extend(complaints(store, log, &what, 45_000).await);
    }
    wrong
}
