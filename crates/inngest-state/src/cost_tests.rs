//! What things cost in statements, as exact numbers, so that nobody adds to them by accident. Begin and commit are not counted.

use crate::{Commit, Store, samples::*, testing::on_each};

async fn cost(store: &Store, commit: Commit) -> (u64, u64) {
    let before = (store.statements(), store.transactions());
    store.must(commit).await;
    (
        store.statements() - before.0,
        store.transactions() - before.1,
    )
}

#[tokio::test]
async fn each_kind_of_commit_takes_its_known_number_of_statements() {
    on_each(async |store| {
        let versioned = Some((inngest_core::ids::DEFAULT_ENV, 0));
        let cases = [
            ("nothing", 0, Commit::default()),
            // Version, event, paths of waits, change.
            (
                "an event without functions",
                4,
                Commit {
                    functions_version: versioned,
                    ..send(vec![new_event(50, "shop/seen", "{}")])
                },
            ),
            // Event (whether it is new is its answer), paths of waits, change.
            ("an event that may exist", 3, {
                let mut commit = send(vec![new_event(51, "shop/seen", "{}")]);
                commit.events[0].may_exist = true;
                commit
            }),
            // Version, event, paths of waits, run, work, change.
            (
                "an event that starts a run",
                6,
                Commit {
                    functions_version: versioned,
                    ..start(1)
                },
            ),
            // Work, run; run, its old work; step, new work, change.
            (
                "a step",
                7,
                Commit {
                    fence: Some(fence(1, "discover", 1)),
                    run: Some(change(1, 1)),
                    steps: vec![ended_step(1, "a", 0, "1")],
                    work: vec![work(1, "again")],
                    ..Commit::default()
                },
            ),
            // Work, run; run, its work twice (by id and by run), its waits, change.
            (
                "the end of a run",
                7,
                Commit {
                    fence: Some(fence(1, "again", 1)),
                    run: Some(end(1, 2)),
                    ..Commit::default()
                },
            ),
            // Wait, path, look back.
            (
                "a wait",
                3,
                wait_for(vec![event_wait(2, "shop/paid", None)]),
            ),
            // Event, paths, waits, used-up wait, work, change.
            (
                "an event that wakes a wait",
                6,
                send(vec![new_event(60, "shop/paid", "{}")]),
            ),
        ];
        for (name, expected, commit) in cases {
            assert_eq!(cost(&store, commit).await, (expected, 1), "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn many_commits_cost_little_more_than_one() {
    on_each(async |store| {
        let one = cost(&store, start(1)).await.0;
        let before = store.statements();
        let occupy = store.commit(Commit::default());
        let rest =
            futures_util::future::join_all((2..66).map(|number| store.commit(start(number))));
        let (_, outcomes) = tokio::join!(occupy, rest);
        assert!(outcomes.iter().all(Result::is_ok));
        let many = store.statements() - before;
        assert!(
            many <= one * 3,
            "{many} statements for 64 runs, {one} for one"
        );
    })
    .await;
}

#[tokio::test]
async fn reading_a_run_whole_takes_four_statements() {
    on_each(async |store| {
        store.must(start(1)).await;
        let before = store.statements();
        let env = inngest_core::ids::DEFAULT_ENV;
        store.load_run(env, run_id(1)).await.unwrap().unwrap();
        assert_eq!(store.statements() - before, 4);
    })
    .await;
}

#[tokio::test]
async fn idle_store_asks_nothing() {
    on_each(async |store| {
        store.must(start(1)).await;
        let before = (store.statements(), store.transactions());
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!((store.statements(), store.transactions()), before);
    })
    .await;
}
