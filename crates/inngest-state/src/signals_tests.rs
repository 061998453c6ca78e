//! Waits for signals: one waiter each.

use inngest_core::ids::DEFAULT_ENV;

use crate::{Commit, samples::*, testing::on_each};

#[tokio::test]
async fn second_waiter_is_refused_unless_it_replaces_the_first() {
    on_each(async |store| {
        store
            .must(wait_for(vec![signal_wait(1, "go", false)]))
            .await;
        let before = store.census().await;
        let refused = store
            .commit(wait_for(vec![signal_wait(2, "go", false)]))
            .await;
        assert_eq!(verdict(&refused), "SignalTaken");
        assert_eq!(store.census().await, before);
        let found = store
            .find_signal_wait(DEFAULT_ENV, "go")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.run, run_id(1));

        store.must(wait_for(vec![signal_wait(3, "go", true)])).await;
        let found = store
            .find_signal_wait(DEFAULT_ENV, "go")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.run, run_id(3));
        // The first one still waits, for its time to run out.
        let first = store.stored_waits(DEFAULT_ENV, run_id(1)).await;
        assert_eq!((first.len(), &first[0].signal), (1, &None));
        assert!(
            store
                .find_signal_wait(OTHER_ENV, "go")
                .await
                .unwrap()
                .is_none()
        );
    })
    .await;
}

#[tokio::test]
async fn refused_commit_replaces_no_waiter() {
    on_each(async |store| {
        store
            .must(wait_for(vec![signal_wait(1, "one", false)]))
            .await;
        store
            .must(wait_for(vec![signal_wait(2, "two", false)]))
            .await;
        let mut second = signal_wait(3, "two", false);
        second.id = inngest_core::ids::WaitId::derive(run_id(3), "second");
        let both = wait_for(vec![signal_wait(3, "one", true), second]);
        assert_eq!(verdict(&store.commit(both).await), "SignalTaken");
        let holder = store.find_signal_wait(DEFAULT_ENV, "one").await.unwrap();
        assert_eq!(holder.map(|wait| wait.run), Some(run_id(1)));
    })
    .await;
}

#[tokio::test]
async fn of_two_waiters_in_one_transaction_the_second_decides_again() {
    on_each(async |store| {
        let occupy = store.commit(Commit::default());
        let one = store.commit(wait_for(vec![signal_wait(1, "go", false)]));
        let two = store.commit(wait_for(vec![signal_wait(2, "go", true)]));
        let (_, one, two) = tokio::join!(occupy, one, two);
        assert_eq!((verdict(&one), verdict(&two)), ("ok", "RunChanged"));
        store.must(wait_for(vec![signal_wait(2, "go", true)])).await;
    })
    .await;
}

#[tokio::test]
async fn wait_that_a_commit_uses_up_is_not_in_its_own_way() {
    on_each(async |store| {
        for is_claim in [true, false] {
            let signal = if is_claim { "claimed" } else { "dropped" };
            let first = signal_wait(1, signal, false);
            store.must(wait_for(vec![first.clone()])).await;
            let mut next = signal_wait(1, signal, false);
            next.id = inngest_core::ids::WaitId::derive(run_id(1), signal);
            let commit = Commit {
                claims: if is_claim { vec![first.id] } else { vec![] },
                drop_waits: if is_claim { vec![] } else { vec![first.id] },
                waits: vec![next.clone()],
                ..Commit::default()
            };
            store.must(commit).await;
            let found = store.find_signal_wait(DEFAULT_ENV, signal).await.unwrap();
            assert_eq!(found, Some(next));
        }
    })
    .await;
}

#[tokio::test]
async fn signals_never_match_events() {
    on_each(async |store| {
        store
            .must(wait_for(vec![signal_wait(1, "shop/paid", false)]))
            .await;
        let outcome = store
            .must(send(vec![new_event(10, "shop/paid", "{}")]))
            .await;
        assert!(outcome.work.is_empty());
        assert_eq!(store.rows_of("waits").await, 1);
    })
    .await;
}
