//! Lists of runs by what they do now.

use inngest_core::{
    access::Actor,
    ids::RunId,
    page::{Direction, PageRequest},
};
use inngest_services::{Activity, Doing, RunFilter, testing::Fixture};
use serde_json::json;

use crate::{HOUR, on};

async fn doing(fixture: &Fixture, activities: &[Activity], text: Option<&str>) -> Vec<RunId> {
    let services = fixture.services();
    let filter = RunFilter {
        now: fixture.now(),
        ..RunFilter::default()
    };
    let wanted = Doing { activities, text };
    let actor = Actor::dev();
    let request = PageRequest::new(50, None);
    let runs = services.runs();
    let found = runs.page_doing(&actor, &filter, &wanted, Direction::Ascending, &request);
    let found: Vec<RunId> = found
        .await
        .unwrap()
        .page
        .items
        .iter()
        .map(|run| run.id)
        .collect();
    let count = runs.count_doing(&actor, &filter, &wanted).await.unwrap();
    assert_eq!((count.value, count.is_exact), (found.len() as u64, true));
    found
}

#[tokio::test]
async fn runs_are_listed_by_the_busiest_of_their_branches() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("naps", on("nap"), |script| {
        script.sleep("nap", "1h")?;
        Ok(json!(null))
    })
    .function("waits", on("wait"), |script| {
        script.wait("paid", "paid", "2h", "")?;
        Ok(json!(null))
    })
    .sync(&fixture.services())
    .await;
    let (nap, wait) = (
        fixture.send("nap", json!({})).await,
        fixture.send("wait", json!({"n": 1})).await,
    );
    fixture.settle().await;
    let nap = fixture.run_of(nap).await.id;
    let wait = fixture.run_of(wait).await.id;
    assert_eq!(doing(&fixture, &[Activity::Sleeping], None).await, [nap]);
    assert_eq!(
        doing(&fixture, &[Activity::WaitingForEvent], None).await,
        [wait]
    );
    let mut both = [nap, wait];
    both.sort();
    let either = [Activity::WaitingForEvent, Activity::Sleeping];
    assert_eq!(doing(&fixture, &either, None).await, both);
    assert_eq!(
        doing(&fixture, &either, Some("event.data.n == 1")).await,
        [wait]
    );
    assert_eq!(
        doing(&fixture, &[Activity::Queued, Activity::Executing], None).await,
        []
    );
    fixture.advance(HOUR).await;
    fixture.settle().await;
    // It has ended, and does nothing.
    assert_eq!(doing(&fixture, &either, None).await, [wait]);
}
