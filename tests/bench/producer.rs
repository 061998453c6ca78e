use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{Args, Failure, Work, app::App};

/// The event that ends a wait.
pub(crate) const REPLY: &str = "bench/reply";

/// Registers the app and sends the events.
pub(crate) struct Producer {
    client: Client,
    app: Arc<App>,
    work: Work,
    server: String,
    event_key: String,
    signing_key: Option<String>,
    runs: u64,
    senders: u64,
    batch: u64,
}

impl Producer {
    pub(crate) fn new(args: &Args, app: Arc<App>) -> Result<Self, Failure> {
        let timeout = Duration::from_secs(args.patience.max(1));
        Ok(Self {
            client: Client::builder().no_proxy().timeout(timeout).build()?,
            app,
            work: args.work,
            server: args.server.clone(),
            event_key: args.event_key.clone(),
            signing_key: args.signing_key.clone(),
            runs: args.runs,
            senders: args.senders,
            batch: args.batch,
        })
    }

    /// Tells the server of the app on `port` and of its one function. The signing key goes as it is: a server takes
    /// the key itself as well as its hash.
    pub(crate) async fn register(&self, port: u16) -> Result<(), Failure> {
        let url = format!("http://127.0.0.1:{port}/api/inngest");
        let name = self.work.name();
        let id = format!("bench-{name}");
        let trigger = match self.work {
            Work::Ingest => "bench/never".to_owned(),
            _ => format!("bench/{name}"),
        };
        let body = json!({
            "url": url, "deployType": "ping", "framework": "bench", "appName": "bench", "sdk": "js:v4.24.0", "v": "0.1",
            "functions": [{
                "id": id, "name": name, "triggers": [{"event": trigger}],
                "steps": {"step": {
                    "id": "step", "name": "step", "retries": {"attempts": 3},
                    "runtime": {"type": "http", "url": format!("{url}?fnId={id}&stepId=step")},
                }},
            }],
        });
        let mut request = self
            .client
            .post(format!("{}/fn/register", self.server))
            .json(&body);
        if let Some(key) = &self.signing_key {
            request = request.bearer_auth(key);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("registration answered {status}: {text}").into())
        }
    }

    /// Sends one event of this name for each run, by all senders at once; returns when all are answered.
    pub(crate) async fn send_all(self: &Arc<Self>, event: &str) {
        let next = Arc::new(AtomicU64::new(0));
        let mut senders = JoinSet::new();
        for _ in 0..self.senders {
            let (producer, next, event) = (Arc::clone(self), Arc::clone(&next), event.to_owned());
            senders.spawn(async move {
                loop {
                    let from = next.fetch_add(producer.batch, Ordering::Relaxed);
                    if from >= producer.runs {
                        break;
                    }
                    let to = (from + producer.batch).min(producer.runs);
                    producer.send(&event, from..to).await;
                }
            });
        }
        senders.join_all().await;
    }

    /// Sends the events of these runs in one request. A refusal is counted and not repeated.
    pub(crate) async fn send(&self, event: &str, runs: Range<u64>) {
        let events: Vec<Value> = runs
            .clone()
            .map(|n| json!({"name": event, "data": self.app.data(n)}))
            .collect();
        let body = match <[Value; 1]>::try_from(events) {
            Ok([one]) => one,
            Err(many) => Value::Array(many),
        };
        let sent = self.app.sent(&runs);
        match self.post(&body, runs.end - runs.start).await {
            Ok(()) => self.app.accepted(sent, &runs),
            Err(failure) => self.app.refused(&runs, failure.to_string()),
        }
    }

    async fn post(&self, body: &Value, count: u64) -> Result<(), Failure> {
        let url = format!("{}/e/{}", self.server, self.event_key);
        let answer = self.client.post(url).json(body).send().await?;
        let status = answer.status();
        let body: Value = answer.json().await?;
        let ids = body["ids"].as_array().map_or(0, Vec::len) as u64;
        if status.is_success() && ids == count {
            return Ok(());
        }
        Err(format!("{status} with {ids} of {count} ids: {}", body["error"]).into())
    }
}
