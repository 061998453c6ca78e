//! Many commits in one transaction: each is judged and answered on its own, and there are few transactions.

use futures_util::future::join_all;
use inngest_core::ids::DEFAULT_ENV;
use tokio_util::task::TaskTracker;

use crate::{
    Commit, Committed, Error, Refused, Store,
    samples::*,
    testing::{TestDatabase, matcher, on_each, on_each_database},
};

/// Commits all at once and answers in their order. The first one occupies the writer, so that the others share a transaction.
async fn together(store: &Store, commits: Vec<Commit>) -> Vec<Result<Committed, Refused>> {
    let first = store.commit(Commit::default());
    let rest = join_all(commits.into_iter().map(|commit| store.commit(commit)));
    let (first, rest) = tokio::join!(first, rest);
    assert_eq!(verdict(&first), "ok");
    rest
}

fn end_with(number: u64, expected: u64, epoch: i64) -> Commit {
    Commit {
        fence: Some(fence(number, "discover", epoch)),
        run: Some(end(number, expected)),
        ..Commit::default()
    }
}

#[tokio::test]
async fn refused_commits_do_not_disturb_their_neighbours() {
    on_each(async |store| {
        for number in 1..=40 {
            store.must(start(number)).await;
        }
        let commits = (1..=40)
            .map(|number| match number % 4 {
                0 => end_with(number, 1, 9),
                1 => end_with(number, 9, 1),
                2 => Commit {
                    claims: vec![event_wait(number, "x", None).id],
                    ..end_with(number, 1, 1)
                },
                _ => end_with(number, 1, 1),
            })
            .collect();
        let before = store.transactions();
        let outcomes = together(&store, commits).await;
        assert!(store.transactions() - before <= 3);
        let expected = ["RunChanged", "WaitGone", "ok", "FenceLost"]
            .into_iter()
            .cycle();
        for (number, (outcome, expected)) in (1..).zip(outcomes.iter().zip(expected)) {
            assert_eq!(verdict(outcome), expected, "{number}");
            let run = store
                .find_run(DEFAULT_ENV, run_id(number))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(run.ended.is_some(), expected == "ok", "{number}");
            let work = store
                .work_of_run(DEFAULT_ENV, run_id(number))
                .await
                .unwrap();
            assert_eq!(work.len(), usize::from(expected != "ok"), "{number}");
        }
    })
    .await;
}

#[tokio::test]
async fn commits_that_touch_the_same_rows_are_judged_one_after_the_other() {
    on_each(async |store| {
        store.must(start(1)).await;
        // One work, ten who finish it.
        let commits = (0..10).map(|_| end_with(1, 1, 1)).collect();
        let outcomes = together(&store, commits).await;
        let won: Vec<_> = outcomes.iter().map(verdict).collect();
        assert_eq!(won[0], "ok");
        assert!(
            won[1..].iter().all(|verdict| *verdict == "FenceLost"),
            "{won:?}"
        );

        // One run, ten changes in a row, each by the revision that the one before it leaves.
        store.must(start(2)).await;
        let commits = (1..=10)
            .map(|expected| Commit {
                run: Some(change(2, expected)),
                ..Commit::default()
            })
            .collect();
        let outcomes = together(&store, commits).await;
        assert!(outcomes.iter().all(Result::is_ok));
        let run = store
            .find_run(DEFAULT_ENV, run_id(2))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(run.revision, 11);

        // One wait, ten who claim it.
        store
            .must(wait_for(vec![event_wait(2, "shop/paid", None)]))
            .await;
        let commits = (0..10)
            .map(|_| Commit {
                claims: vec![event_wait(2, "x", None).id],
                ..Commit::default()
            })
            .collect();
        let outcomes = together(&store, commits).await;
        let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(won, 1);
    })
    .await;
}

#[tokio::test]
async fn poisoned_commit_fails_alone() {
    on_each(async |store| {
        store.must(start(1)).await;
        let poisoned = || Commit {
            // The run exists, and so its row breaks the primary key.
            runs: vec![new_run(1)],
            events: vec![new_event(50, "shop/lost", "{}")],
            ..Commit::default()
        };
        let outcomes = together(&store, vec![start(2), poisoned(), start(3), poisoned()]).await;
        let verdicts: Vec<_> = outcomes.iter().map(verdict).collect();
        assert_eq!(verdicts, ["ok", "Store", "ok", "Store"]);
        assert_eq!(
            (store.rows_of("runs").await, store.rows_of("events").await),
            (3, 3)
        );
        let Err(Refused::Store(error)) = &outcomes[1] else {
            panic!("not a failure of the database")
        };
        assert!(!error.is_unavailable(), "{error:?}");
        assert_eq!(verdict(&store.commit(poisoned()).await), "Store");
        store.must(start(4)).await;
    })
    .await;
}

#[tokio::test]
async fn end_of_a_run_wins_over_what_arrives_for_it_in_the_same_moment() {
    on_each(async |store| {
        store.must(start(1)).await;
        let waits = vec![
            event_wait(1, "shop/paid", None),
            signal_wait(1, "go", false),
        ];
        store.must(wait_for(waits)).await;
        let signal = Commit {
            claims: vec![signal_wait(1, "go", false).id],
            work: vec![work(1, "resume:signal")],
            ..Commit::default()
        };
        let paid = send(vec![new_event(10, "shop/paid", "{}")]);
        let outcomes = together(&store, vec![signal, end_with(1, 1, 1), paid]).await;
        assert!(outcomes.iter().all(Result::is_ok));
        assert_eq!(
            (store.rows_of("work").await, store.rows_of("waits").await),
            (0, 0)
        );
        assert!(
            outcomes
                .iter()
                .flatten()
                .all(|outcome| outcome.work.is_empty())
        );
    })
    .await;
}

#[tokio::test]
async fn two_hundred_commits_share_few_transactions() {
    on_each(async |store| {
        let before = store.transactions();
        let outcomes = join_all((1..=200).map(|number| store.commit(start(number)))).await;
        assert!(outcomes.iter().all(Result::is_ok));
        let transactions = store.transactions() - before;
        assert!(transactions <= 50, "{transactions}");
        assert_eq!(store.rows_of("work").await, 200);
    })
    .await;
}

#[tokio::test]
async fn caller_that_goes_away_harms_nobody() {
    on_each(async |store| {
        let mut kept = Vec::new();
        for number in 1..=60 {
            let mut commit = Box::pin({
                let store = store.clone();
                async move { store.commit(start(number)).await }
            });
            // Once polled, the commit is queued; every second caller then goes away.
            let is_done = futures_util::poll!(&mut commit).is_ready();
            assert!(!is_done);
            if number % 2 == 0 {
                kept.push(commit);
            }
        }
        assert!(join_all(kept).await.iter().all(Result::is_ok));
        assert_eq!(store.rows_of("runs").await, 60);
    })
    .await;
}

#[tokio::test]
async fn writes_that_are_given_up_halfway_leave_the_writer_usable() {
    on_each(async |store| {
        for polls in 0..40 {
            let writing = store.ensure_environment(OTHER_ORG, OTHER_ENV, "other", NOW);
            let mut writing = Box::pin(writing);
            for _ in 0..polls {
                if futures_util::poll!(&mut writing).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        store.must(start(1)).await;
        store
            .ensure_environment(OTHER_ORG, OTHER_ENV, "other", NOW)
            .await
            .unwrap();
        assert_eq!(store.rows_of("environments").await, 2);
    })
    .await;
}

#[tokio::test]
async fn writer_ends_with_the_last_handle_after_writing_what_waited() {
    on_each_database(async |database: &TestDatabase| {
        let tracker = TaskTracker::new();
        let store = Store::open(database.settings(), matcher(), &tracker)
            .await
            .unwrap();
        let mut commits: Vec<_> = (1..=5)
            .map(|number| {
                let store = store.clone();
                Box::pin(async move { store.commit(start(number)).await })
            })
            .collect();
        for commit in &mut commits {
            assert!(futures_util::poll!(commit).is_pending());
        }
        drop((commits, store));
        tracker.close();
        tokio::time::timeout(std::time::Duration::from_secs(5), tracker.wait())
            .await
            .expect("the writer ends");
        assert_eq!(database.open().await.rows_of("runs").await, 5);
    })
    .await;
}

#[tokio::test]
async fn panic_of_the_matcher_stops_nothing() {
    on_each_database(async |database: &TestDatabase| {
        let tracker = TaskTracker::new();
        let matcher: crate::Matcher = std::sync::Arc::new(|_, _, _| panic!("on purpose"));
        let store = Store::open(database.settings(), matcher, &tracker)
            .await
            .unwrap();
        store
            .must(wait_for(vec![event_wait(1, "shop/paid", None)]))
            .await;
        let outcome = store
            .must(send(vec![new_event(10, "shop/paid", "{}")]))
            .await;
        assert!(outcome.work.is_empty());
        assert_eq!(store.rows_of("waits").await, 1);
    })
    .await;
}

#[tokio::test]
async fn lost_connection_fails_at_most_what_was_under_way() {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    let store = database.open().await;
    store.must(start(1)).await;
    let other = database.open().await;
    let pid = {
        use sea_orm::{ConnectionTrait, Statement};
        let conn = store.writer();
        let statement =
            Statement::from_string(conn.get_database_backend(), "SELECT pg_backend_pid() AS n");
        let row = conn.query_one_raw(statement).await.unwrap().unwrap();
        row.try_get::<i32>("", "n").unwrap()
    };
    let cut = format!("SELECT pg_terminate_backend({pid})::int::bigint AS n");
    assert_eq!(other.number(&cut).await, 1);
    let outcomes = join_all([2, 3].map(|number| store.commit(start(number)))).await;
    for outcome in outcomes.iter().filter(|outcome| outcome.is_err()) {
        let Err(Refused::Store(error)) = outcome else {
            panic!("{outcome:?}")
        };
        assert!(error.is_unavailable(), "{error:?}");
    }
    store.must(start(4)).await;
}

#[tokio::test]
async fn commit_after_the_writer_has_gone_says_so() {
    let database = TestDatabase::sqlite().await;
    let store = {
        // The writer's task belongs to a runtime that ends before the store.
        let settings = database.settings().clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime
                .block_on(Store::open(&settings, matcher(), &TaskTracker::new()))
                .unwrap()
        })
        .join()
        .unwrap()
    };
    let outcome = store.commit(start(1)).await;
    assert!(
        matches!(outcome, Err(Refused::Store(Error::Stopped))),
        "{outcome:?}"
    );
}
