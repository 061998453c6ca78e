//! What runs wait for, and what became of it.

use inngest_core::{
    access::Actor,
    ids::{EnvId, EventId, OrgId, RunId},
    json::Json,
    page::PageRequest,
    run::{StepKind, StepWait, WaitStatus},
    time::Timestamp,
};
use inngest_services::{WaitFilter, testing::Fixture};
use serde_json::json;

use crate::{HOUR, id_of, on, on_with};

type Told = (
    RunId,
    StepKind,
    WaitStatus,
    Option<Timestamp>,
    Option<EventId>,
);

/// A page of waits, as the actor sees them.
async fn list(fixture: &Fixture, actor: &Actor, filter: &WaitFilter) -> Vec<StepWait> {
    let services = fixture.services();
    let page = PageRequest::new(20, None);
    let found = services.runs().list_waits(actor, filter, &page).await;
    let waits = found.unwrap().page.items;
    let count = services.runs().count_waits(actor, filter).await.unwrap();
    assert_eq!(
        (count.value, count.is_exact),
        (waits.len() as u64, true),
        "{filter:?}"
    );
    waits
}

fn told(wait: &StepWait) -> Told {
    let StepWait {
        run,
        kind,
        status,
        ended_at,
        ended_by,
        ..
    } = wait;
    (*run, *kind, *status, *ended_at, *ended_by)
}

async fn of(fixture: &Fixture, filter: &WaitFilter) -> Vec<Told> {
    let waits = list(fixture, &Actor::dev(), filter).await;
    waits.iter().map(told).collect()
}

fn with(statuses: &[WaitStatus]) -> WaitFilter {
    WaitFilter {
        statuses: Some(statuses.to_vec()),
        ..WaitFilter::default()
    }
}

#[tokio::test]
async fn waits_stay_with_what_ended_them() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("matched", on("first"), |script| {
        script.wait("paid", "order.paid", "1h", "async.data.n == event.data.n")
    })
    .function("late", on("second"), |script| {
        script.wait("paid", "order.paid", "1h", "async.data.n == event.data.n")
    })
    .function("cancelled", on("third"), |script| {
        script.signal("sign", "go-on", "9h")
    })
    .function("asleep", on("fourth"), |script| {
        script.sleep("nap", "1h")?;
        script.sleep("again", "1h")?;
        Ok(json!(1))
    })
    .function("parent", on("fifth"), |script| {
        script.invoke("child", "shop-child", json!({}), "9h")
    })
    .function("child", json!({"triggers": [{"event": "never"}]}), |_| {
        Ok(json!(1))
    })
    .sync(&fixture.services())
    .await;
    let (services, actor) = (fixture.services(), Actor::dev());
    let mut runs = Vec::new();
    for (n, name) in ["first", "second", "third", "fourth"].iter().enumerate() {
        let event = fixture.send(name, json!({"n": n})).await;
        fixture.settle().await;
        runs.push(fixture.run_of(event).await.id);
    }
    let began = fixture.now();
    let open = |run, kind| (run, kind, WaitStatus::Open, None, None);
    let (wait, sleep) = (StepKind::WaitForEvent, StepKind::Sleep);
    let mut expected = vec![
        open(runs[0], wait),
        open(runs[1], wait),
        open(runs[2], StepKind::WaitForSignal),
        open(runs[3], sleep),
    ];
    expected.sort_by_key(|wait| std::cmp::Reverse(wait.0));
    assert_eq!(of(&fixture, &WaitFilter::default()).await, expected);
    assert_eq!(of(&fixture, &with(&WaitStatus::ALL)).await, expected);
    let asleep = services.runs().waits_of(&actor, runs[3]).await.unwrap();
    assert_eq!(asleep.iter().map(told).collect::<Vec<_>>(), expected[..1]);
    assert_eq!(asleep[0].until, began.plus(HOUR));

    let paid = fixture.send("order.paid", json!({"n": 0})).await;
    fixture.settle().await;
    services.runs().cancel(&actor, runs[2]).await.unwrap();
    let event = fixture.send("fifth", json!({})).await;
    fixture.settle().await;
    let parent = fixture.run_of(event).await.id;
    fixture.advance(HOUR).await;
    fixture.settle().await;

    let ended_at = Some(began.plus(HOUR));
    let resolved = WaitStatus::Resolved;
    let matched = (runs[0], wait, resolved, Some(began), Some(paid));
    let late = (runs[1], wait, WaitStatus::TimedOut, ended_at, None);
    let signal = StepKind::WaitForSignal;
    let cancelled = (runs[2], signal, WaitStatus::Cancelled, Some(began), None);
    let slept = (runs[3], sleep, resolved, ended_at, None);
    let found = of(&fixture, &with(&[resolved])).await;
    assert_eq!(found.len(), 3);
    assert!(found.contains(&matched) && found.contains(&slept));
    let invoked = found.iter().find(|wait| wait.0 == parent).unwrap();
    assert_eq!((invoked.1, invoked.4.is_some()), (StepKind::Invoke, true));
    for (status, expected) in [
        (WaitStatus::TimedOut, late),
        (WaitStatus::Cancelled, cancelled),
        // The run has slept once and sleeps again.
        (WaitStatus::Open, open(runs[3], sleep)),
    ] {
        assert_eq!(of(&fixture, &with(&[status])).await, [expected]);
    }
    let ended = services.runs().waits_of(&actor, runs[1]).await.unwrap();
    assert_eq!(ended, []);

    let function = id_of(&services, "shop-asleep").await;
    for (filter, expected) in [
        (
            WaitFilter {
                functions: Some(vec![function]),
                ..with(&[resolved])
            },
            vec![slept],
        ),
        (
            WaitFilter {
                event_name: Some("order.paid".to_owned()),
                ..with(&[WaitStatus::TimedOut, WaitStatus::Open])
            },
            vec![late],
        ),
        (
            WaitFilter {
                signal: Some("go-on".to_owned()),
                ..with(&WaitStatus::ALL)
            },
            vec![cancelled],
        ),
        (
            WaitFilter {
                signal: Some("go-on".to_owned()),
                ..WaitFilter::default()
            },
            vec![],
        ),
    ] {
        assert_eq!(of(&fixture, &filter).await, expected, "{filter:?}");
    }

    let other = Actor::system(
        OrgId::from_raw(uuid::Uuid::from_u128(7)),
        EnvId::from_raw(uuid::Uuid::from_u128(8)),
    );
    for filter in [WaitFilter::default(), with(&WaitStatus::ALL)] {
        assert_eq!(list(&fixture, &other, &filter).await, []);
    }
}

#[tokio::test]
async fn signal_is_found_among_open_waits_until_it_comes() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("sign", on("go"), |script| {
        script.signal("sign", "go-on", "1h")
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let run = fixture.run_of(event).await.id;
    let filter = WaitFilter {
        signal: Some("go-on".to_owned()),
        ..WaitFilter::default()
    };
    let open = of(&fixture, &filter).await;
    assert_eq!(open.iter().map(|wait| wait.0).collect::<Vec<_>>(), [run]);
    let services = fixture.services();
    let signals = services.signals();
    let sent = signals
        .send(&Actor::dev(), "go-on", Json::null(), None)
        .await;
    assert_eq!(sent.unwrap(), run);
    fixture.settle().await;
    assert_eq!(of(&fixture, &filter).await, []);
    let resolved = of(&fixture, &with(&[WaitStatus::Resolved])).await;
    let expected = (
        run,
        StepKind::WaitForSignal,
        WaitStatus::Resolved,
        Some(fixture.now()),
        None,
    );
    assert_eq!(resolved, [expected]);
}

#[tokio::test]
async fn event_that_cancels_a_run_cancels_its_wait() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    let config = on_with("go", json!({"cancel": [{"event": "stop"}]}));
    app.function("wait", config, |script| {
        script.wait("never", "order.never", "9h", "")
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let run = fixture.run_of(event).await.id;
    // The rule that cancels the run is no wait.
    assert_eq!(of(&fixture, &WaitFilter::default()).await.len(), 1);
    fixture.send("stop", json!({})).await;
    fixture.settle().await;
    assert_eq!(of(&fixture, &WaitFilter::default()).await, []);
    let cancelled = of(&fixture, &with(&[WaitStatus::Cancelled])).await;
    let expected = (
        run,
        StepKind::WaitForEvent,
        WaitStatus::Cancelled,
        Some(fixture.now()),
        None,
    );
    assert_eq!(cancelled, [expected]);
}
