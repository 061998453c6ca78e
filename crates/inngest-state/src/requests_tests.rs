//! What makes a second request the same request.

use futures_util::future::join_all;
use inngest_core::{ids::DEFAULT_ENV, json::Json};
use uuid::Uuid;

use crate::{Commit, NewRequest, Refused, samples::*, testing::on_each};

fn request(key: u128, input: u128, result: i64) -> NewRequest {
    NewRequest {
        env: DEFAULT_ENV,
        actor: "token:ann".to_owned(),
        key: Uuid::from_u128(key),
        input: Uuid::from_u128(input),
        result: Json::integer(result),
        at: at(0),
        until: at(100),
    }
}

/// A commit that starts the `number`-th run for this request.
fn starting(number: u64, request: NewRequest) -> Commit {
    Commit {
        runs: vec![new_run(number)],
        request: Some(request),
        ..Commit::default()
    }
}

#[tokio::test]
async fn second_request_with_a_key_gets_what_the_first_has_led_to_and_changes_nothing() {
    on_each(async |store| {
        store.must(starting(1, request(1, 1, 10))).await;
        let again = store.commit(starting(2, request(1, 1, 20))).await;
        assert!(
            matches!(&again, Err(Refused::Requested(Some(result))) if *result == Json::integer(10)),
            "{again:?}"
        );
        let other = store.commit(starting(2, request(1, 2, 20))).await;
        assert!(matches!(other, Err(Refused::Requested(None))), "{other:?}");
        assert_eq!(store.rows_of("runs").await, 1);
        // Another actor's key is another key.
        let foreign = NewRequest {
            actor: "token:bob".to_owned(),
            ..request(1, 2, 30)
        };
        store.must(starting(3, foreign)).await;
        let found = store
            .find_request(DEFAULT_ENV, "token:ann", Uuid::from_u128(1), at(99))
            .await
            .unwrap();
        assert_eq!(found, Some((Uuid::from_u128(1), Json::integer(10))));
        // After its time the key is free again.
        let later = NewRequest {
            at: at(100),
            until: at(200),
            ..request(1, 2, 40)
        };
        store.must(starting(4, later)).await;
        assert_eq!(store.delete_expired_requests(at(150), 10).await.unwrap(), 1);
        assert_eq!(store.rows_of("request_keys").await, 1);
    })
    .await;
}

#[tokio::test]
async fn of_many_requests_with_a_key_at_once_one_has_an_effect() {
    on_each(async |store| {
        let commits = (1..=8).map(|number| store.commit(starting(number, request(1, 1, 10))));
        let outcomes = join_all(commits).await;
        let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let repeated = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Err(Refused::Requested(Some(_)))))
            .count();
        assert_eq!((done, repeated), (1, 7), "{outcomes:?}");
        assert_eq!(store.rows_of("runs").await, 1);
    })
    .await;
}

#[tokio::test]
async fn request_that_is_refused_for_another_reason_is_not_remembered() {
    on_each(async |store| {
        let refused = Commit {
            functions_version: Some((DEFAULT_ENV, 99)),
            ..starting(1, request(1, 1, 10))
        };
        let refused = store.commit(refused).await;
        assert!(matches!(refused, Err(Refused::FunctionsChanged)));
        assert_eq!(store.rows_of("request_keys").await, 0);
        store.must(starting(1, request(1, 1, 10))).await;
    })
    .await;
}
