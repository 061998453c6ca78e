use axum::{Json, Router, extract::State, routing::get};
use futures_util::FutureExt;
use inngest_executor::{ExecutorSettings, ServerKind};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::*;

/// An issuer that answers only when it is allowed to, once for each permit; its set has one key, named by the number of the answer.
struct Issuer {
    url: String,
    asked: Arc<Semaphore>,
    allowed: Arc<Semaphore>,
}

impl Issuer {
    async fn start(tracker: &TaskTracker) -> Self {
        let (asked, allowed) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let state = (asked.clone(), allowed.clone(), Arc::new(Mutex::new(0)));
        let router = Router::new().route("/keys", get(answer)).with_state(state);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        tracker.spawn(async move { axum::serve(listener, router).await });
        Self {
            url,
            asked,
            allowed,
        }
    }
}

type Shared = (Arc<Semaphore>, Arc<Semaphore>, Arc<Mutex<u32>>);

async fn answer(State((asked, allowed, number)): State<Shared>) -> Json<Value> {
    asked.add_permits(1);
    allowed.acquire().await.unwrap().forget();
    let mut number = number.lock().unwrap();
    *number += 1;
    Json(json!({"keys": [{
        "kty": "EC", "crv": "P-256", "use": "sig", "kid": format!("key-{number}"),
        "x": "WrvwqNULo6a8csDyWiJa2vQAxuycikL9FjGHK8spyVU", "y": "z0g4awNqVHg9QXz23KPUB0lv20RKLhlfdIQHGgcIUqc",
    }]}))
}

fn made_with(id: &str) -> Header {
    Header {
        kid: Some(id.to_owned()),
        ..Header::new(Algorithm::ES256)
    }
}

#[tokio::test]
async fn known_keys_are_good_while_the_set_is_read_and_unknown_ones_wait_for_that_reading_alone() {
    let tracker = TaskTracker::new();
    let issuer = Issuer::start(&tracker).await;
    let client = AppClient::new(ExecutorSettings::new(ServerKind::Cloud)).unwrap();
    let jwks = Jwks::at(&issuer.url).unwrap();
    let find = async |id: &str| jwks.find(&made_with(id), &client, &tracker).await.is_some();

    issuer.allowed.add_permits(1);
    assert!(find("key-1").await);
    issuer.asked.acquire().await.unwrap().forget();

    // The set is stale, and its issuer takes its time.
    tokio::time::pause();
    tokio::time::advance(FRESH).await;
    tokio::time::resume();
    for _ in 0..20 {
        assert_eq!(find("key-1").now_or_never(), Some(true));
    }
    issuer.asked.acquire().await.unwrap().forget();
    let (mut two, mut three) = (Box::pin(find("key-2")), Box::pin(find("key-3")));
    assert_eq!((&mut two).now_or_never(), None);
    assert_eq!((&mut three).now_or_never(), None);
    assert_eq!(find("key-1").now_or_never(), Some(true));

    issuer.allowed.add_permits(1);
    assert!(two.await && !three.await);
    // Who asks next is told at once, and the issuer is left alone.
    assert_eq!(find("key-3").now_or_never(), Some(false));
    assert_eq!(find("key-1").now_or_never(), Some(false));
    assert_eq!(find("key-2").now_or_never(), Some(true));
    assert_eq!(issuer.asked.available_permits(), 0);
}

#[tokio::test]
async fn keys_are_kept_when_the_set_cannot_be_read() {
    let tracker = TaskTracker::new();
    let issuer = Issuer::start(&tracker).await;
    let client = AppClient::new(ExecutorSettings::new(ServerKind::Cloud)).unwrap();
    let jwks = Jwks::at(&issuer.url).unwrap();
    issuer.allowed.add_permits(1);
    let header = made_with("key-1");
    assert!(jwks.find(&header, &client, &tracker).await.is_some());
    issuer.allowed.close();

    tokio::time::pause();
    tokio::time::advance(FRESH).await;
    tokio::time::resume();
    // Its connection breaks: the handler panics on the closed semaphore.
    let unknown = made_with("key-2");
    assert!(jwks.find(&unknown, &client, &tracker).await.is_none());
    assert!(
        jwks.find(&header, &client, &tracker)
            .now_or_never()
            .unwrap()
            .is_some()
    );
}
