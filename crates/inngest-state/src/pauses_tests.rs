//! Pauses, and work that is held back and given free.

use inngest_core::{
    access::Author,
    ids::{DEFAULT_ENV, DEFAULT_ORG, EnvId, FunctionId},
    job::{HELD_MS, Work},
    pause::{Pause, PauseInFlight, PauseNewEvents},
    time::Clock,
};
use uuid::Uuid;

use crate::{
    Commit, Fence, FunctionFilter, NewBulk, PauseChange, Store,
    apps_tests::{function, sync, sync_one},
    samples::*,
    testing::on_each,
};

fn pause(number: i64) -> Pause {
    Pause {
        at: at(number),
        by: Author::system(),
        reason: Some("why".to_owned()),
        in_flight: PauseInFlight::Hold,
        new_events: PauseNewEvents::Hold,
        resumes_at: Some(at(number + 1_000)),
    }
}

fn to(pause: Option<Pause>) -> PauseChange {
    PauseChange {
        env: DEFAULT_ENV,
        function: function_id(),
        pause,
        only_if: None,
        bulk: None,
        work: Vec::new(),
    }
}

async fn save(store: &Store, change: &PauseChange) -> bool {
    let clock = Clock::manual(at(500));
    store.save_pause(change, &clock).await.unwrap()
}

async fn version(store: &Store) -> i64 {
    store.functions_version(DEFAULT_ENV).await.unwrap()
}

/// Holds back the work of a run, as decided under this version of the functions.
fn hold(number: u64, epoch: i64, version: i64) -> Commit {
    Commit {
        fence: Some(Fence {
            ends: false,
            ..fence(number, "discover", epoch)
        }),
        functions_version: Some((DEFAULT_ENV, version)),
        hold: true,
        ..Commit::default()
    }
}

async fn work_of(store: &Store, number: u64) -> Vec<Work> {
    let found = store.work_of_run(DEFAULT_ENV, run_id(number)).await;
    found.unwrap()
}

async fn release(store: &Store, limit: u64) -> Vec<Work> {
    let mut all = Vec::new();
    loop {
        let last = all.last().map(|work: &Work| work.id);
        let portion = store.release_work(DEFAULT_ENV, function_id(), last, limit);
        let portion = portion.await.unwrap();
        assert!(portion.len() as u64 <= limit);
        if portion.is_empty() {
            return all;
        }
        all.extend(portion);
    }
}

#[tokio::test]
async fn pause_is_read_as_it_was_written_and_survives_a_sync() {
    on_each(async |store| {
        sync_one(&store).await;
        let before = version(&store).await;
        assert!(save(&store, &to(Some(pause(1)))).await);
        assert_eq!(version(&store).await, before + 1);
        let changed = sync(2, before + 1, vec![function("shop-hello", 2, "{\"a\":1}")]);
        assert!(store.save_sync(&changed).await.unwrap());
        let (_, functions) = store.load_functions(DEFAULT_ENV).await.unwrap();
        assert_eq!(functions[0].version, 2);
        assert_eq!(functions[0].pause, Some(pause(1)));
        let listed = async |is_paused| {
            let filter = FunctionFilter {
                is_paused,
                ..FunctionFilter::default()
            };
            store
                .count_functions(DEFAULT_ENV, &filter)
                .await
                .unwrap()
                .value
        };
        assert_eq!(
            (listed(Some(true)).await, listed(Some(false)).await),
            (1, 0)
        );

        // Neither another pause nor another tenant is changed.
        let ended = PauseChange {
            only_if: Some(pause(2)),
            ..to(None)
        };
        assert!(!save(&store, &ended).await);
        let foreign = PauseChange {
            env: EnvId::from_raw(Uuid::from_u128(7)),
            ..to(None)
        };
        assert!(!save(&store, &foreign).await);
        assert_eq!(version(&store).await, before + 2);
        let ended = PauseChange {
            only_if: Some(pause(1)),
            ..to(None)
        };
        assert!(save(&store, &ended).await);
        let found = store.find_functions(DEFAULT_ENV, &[function_id()]).await;
        assert_eq!(found.unwrap()[0].pause, None);
        assert_eq!((listed(Some(true)).await, listed(None).await), (0, 1));
    })
    .await;
}

#[tokio::test]
async fn held_work_is_never_due_and_comes_back_as_it_was_under_a_higher_epoch() {
    on_each(async |store| {
        sync_one(&store).await;
        for number in 1..=5 {
            store.must(start(number)).await;
            store.must(hold(number, 1, 1)).await;
        }
        store.must(start(6)).await;
        let held = work_of(&store, 1).await;
        assert_eq!((held[0].epoch, held[0].is_held()), (2, true));
        let due = store.list_due_work(None, at(HELD_MS / 2), 99).await;
        assert_eq!(due.unwrap(), work_of(&store, 6).await);
        assert_eq!(verdict(&store.commit(hold(1, 1, 1)).await), "FenceLost");

        let released = release(&store, 2).await;
        assert_eq!(released.len(), 5);
        for number in 1..=5 {
            let expected = Work {
                epoch: 3,
                ..work(number, "discover")
            };
            assert_eq!(work_of(&store, number).await, vec![expected.clone()]);
            assert!(released.contains(&expected));
        }
        assert!(release(&store, 2).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn work_is_not_held_by_a_pause_that_was_changed_since() {
    on_each(async |store| {
        sync_one(&store).await;
        store.must(start(1)).await;
        save(&store, &to(Some(pause(1)))).await;
        let held_under = version(&store).await;
        save(&store, &to(None)).await;
        let late = store.commit(hold(1, 1, held_under)).await;
        assert_eq!(verdict(&late), "FunctionsChanged");
        assert_eq!(work_of(&store, 1).await, vec![work(1, "discover")]);
    })
    .await;
}

#[tokio::test]
async fn only_the_function_that_is_resumed_gets_its_work_back() {
    on_each(async |store| {
        sync_one(&store).await;
        store.must(start(1)).await;
        store.must(hold(1, 1, 1)).await;
        let other = FunctionId::from_raw(Uuid::from_u128(7));
        let foreign = EnvId::from_raw(Uuid::from_u128(7));
        for (env, function) in [(DEFAULT_ENV, other), (foreign, function_id())] {
            let released = store.release_work(env, function, None, 9).await.unwrap();
            assert!(released.is_empty());
        }
        assert!(work_of(&store, 1).await[0].is_held());
    })
    .await;
}

#[tokio::test]
async fn held_work_goes_with_its_run() {
    on_each(async |store| {
        sync_one(&store).await;
        store.must(start(1)).await;
        store.must(hold(1, 1, 1)).await;
        let ending = Commit {
            run: Some(end(1, 1)),
            ..Commit::default()
        };
        store.must(ending).await;
        assert!(work_of(&store, 1).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn window_of_what_a_pause_cancels_is_open_until_it_is_stored() {
    on_each(async |store| {
        sync_one(&store).await;
        let operation = crate::bulk_tests::operation(1);
        let mut change = to(Some(pause(1)));
        change.bulk = Some(NewBulk {
            org: DEFAULT_ORG,
            env: DEFAULT_ENV,
            operation: operation.clone(),
        });
        assert_eq!(operation.selection.until, at(99));
        assert!(save(&store, &change).await);
        let found = store.find_any_bulk(DEFAULT_ENV, operation.id).await;
        assert_eq!(found.unwrap().unwrap().selection.until, at(502));
    })
    .await;
}
