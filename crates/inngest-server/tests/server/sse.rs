//! GraphQL by a stream of events over HTTP.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::{Duration, timeout},
};

use crate::{harness::Server, socket::RUN_FEED};

struct Answer {
    stream: BufReader<TcpStream>,
    status: String,
    content_type: String,
}

impl Answer {
    async fn to(address: std::net::SocketAddr, query: &str, accept: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let body = json!({"query": query}).to_string();
        let request = format!(
            "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\naccept: {accept}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Self {
            stream: BufReader::new(stream),
            status: String::new(),
            content_type: String::new(),
        };
        answer.status = answer.line().await;
        loop {
            let line = answer.line().await;
            match line.to_ascii_lowercase().strip_prefix("content-type: ") {
                Some(media) => answer.content_type = media.to_owned(),
                None if line.is_empty() => return answer,
                None => {}
            }
        }
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(Duration::from_secs(20), self.stream.read_line(&mut line))
            .await
            .expect("a line within 20 s")
            .unwrap();
        line.trim_end().to_owned()
    }

    /// The next event; what stands between the chunks of the body is skipped.
    async fn event(&mut self) -> (String, Value) {
        let name = loop {
            if let Some(name) = self.line().await.strip_prefix("event: ") {
                break name.to_owned();
            }
        };
        let line = self.line().await;
        let data = line.strip_prefix("data:").unwrap_or_default().trim();
        let data = serde_json::from_str(data).unwrap_or_default();
        (name, data)
    }
}

#[tokio::test]
async fn stream_carries_one_operation_to_its_end() {
    let server = Server::dev().await;
    server.register().await;
    let address = server.listen().await;
    let mut feed = Answer::to(address, RUN_FEED, "text/event-stream").await;
    assert_eq!(feed.content_type, "text/event-stream");
    let (name, data) = feed.event().await;
    assert_eq!(
        (name.as_str(), &data["data"]["runFeed"]["kind"]),
        ("next", &json!("READY"))
    );
    let (_, run) = server.start_run().await;
    let (_, data) = feed.event().await;
    assert_eq!(data["data"]["runFeed"]["run"]["runId"], run);
    for (query, path) in [
        ("{ server { mode } }", "/data/server/mode"),
        ("{ nothing }", "/errors/0/extensions/code"),
        ("{", "/errors/0/extensions/code"),
    ] {
        let mut stream = Answer::to(address, query, "text/event-stream").await;
        let (name, data) = stream.event().await;
        assert_eq!(name, "next");
        assert!(data.pointer(path).is_some(), "{query}: {data}");
        assert_eq!(stream.event().await.0, "complete");
    }
    server.stop.cancel();
    assert_eq!(feed.event().await.0, "complete");
}

#[tokio::test]
async fn who_takes_json_too_gets_streams_of_subscriptions_only() {
    let server = Server::dev().await;
    let address = server.listen().await;
    let both = "application/json, text/event-stream";
    let answer = Answer::to(address, "{ server { mode } }", both).await;
    assert!(answer.content_type.starts_with("application/json"));
    let feed = Answer::to(address, RUN_FEED, both).await;
    assert_eq!(feed.content_type, "text/event-stream");
    let refused = Answer::to(address, RUN_FEED, "application/json").await;
    assert!(refused.status.contains("422"), "{}", refused.status);
}

#[tokio::test]
async fn stream_needs_a_credential() {
    let server = Server::start().await;
    let address = server.listen().await;
    let refused = Answer::to(address, RUN_FEED, "text/event-stream").await;
    assert!(refused.status.contains("401"), "{}", refused.status);
}
