//! Versions of functions, and the names of events.

use inngest_core::{ids::DEFAULT_ENV, limits, page::PageRequest};

use crate::{
    Commit,
    apps_tests::{function, sync},
    samples::*,
    testing::on_each,
};

#[tokio::test]
async fn versions_are_kept_newest_first_up_to_their_number() {
    on_each(async |store| {
        let most = limits::VERSIONS_PER_FUNCTION;
        for version in 1..=most + 2 {
            let config = format!("{{\"v\":{version}}}");
            let functions = vec![function("shop-hello", version, &config)];
            let change = sync(u128::from(version), i64::from(version) - 1, functions);
            assert!(store.save_sync(&change).await.unwrap());
        }
        let id = function_id();
        let request = PageRequest::new(200, None);
        let versions = async |env| {
            let ids = [id];
            let pages = store.page_versions_of_functions(env, &ids, &request);
            let page = pages.await.unwrap().remove(&id);
            page.map_or_else(Vec::new, |page| page.items)
        };
        assert!(versions(OTHER_ENV).await.is_empty());
        let versions = versions(DEFAULT_ENV).await;
        assert_eq!(versions.len(), most as usize);
        assert_eq!(
            (versions[0].number, versions.last().unwrap().number),
            (most + 2, 3)
        );
        assert_eq!(versions[0].config, json(&format!("{{\"v\":{}}}", most + 2)));
        let found = store
            .find_function_versions(DEFAULT_ENV, &[(id, 2), (id, 3)])
            .await
            .unwrap();
        assert_eq!(found, versions[versions.len() - 1..]);
        assert!(
            store
                .find_function_versions(OTHER_ENV, &[(id, 3)])
                .await
                .unwrap()
                .is_empty()
        );
    })
    .await;
}

#[tokio::test]
async fn each_name_of_an_event_is_listed_once_and_only_to_its_tenant() {
    on_each(async |store| {
        assert!(store.event_names(DEFAULT_ENV, 9).await.unwrap().is_empty());
        let names = ["b", "a", "b", "c", "a"];
        let events = names
            .iter()
            .zip(1..)
            .map(|(name, number)| new_event(number, name, "1"));
        let mut foreign = new_event(9, "d", "1");
        (foreign.org, foreign.env) = (OTHER_ORG, OTHER_ENV);
        let commit = Commit {
            events: events.chain([foreign]).collect(),
            ..Commit::default()
        };
        store.must(commit).await;
        assert_eq!(
            store.event_names(DEFAULT_ENV, 9).await.unwrap(),
            ["a", "b", "c"]
        );
        assert_eq!(store.event_names(DEFAULT_ENV, 2).await.unwrap(), ["a", "b"]);
        assert_eq!(store.event_names(OTHER_ENV, 9).await.unwrap(), ["d"]);
        let asked = ["a", "d", "c"].map(str::to_owned);
        let seen = store.first_and_last_events(DEFAULT_ENV, &asked);
        assert_eq!(
            seen.await.unwrap(),
            [
                ("a".to_owned(), event_id(2), event_id(5)),
                ("c".to_owned(), event_id(4), event_id(4))
            ]
        );
    })
    .await;
}
