//! GraphQL by websocket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

use crate::harness::{SIGNING_KEY, Server};

pub(crate) struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

async fn connect(server: &Server, protocol: &str, origin: Option<&str>) -> Result<Client, Error> {
    let address = server.listen().await;
    let mut request = format!("ws://{address}/graphql").into_client_request()?;
    request.headers_mut().insert(
        "sec-websocket-protocol",
        HeaderValue::from_str(protocol).unwrap(),
    );
    if let Some(origin) = origin {
        request
            .headers_mut()
            .insert("origin", HeaderValue::from_str(origin).unwrap());
    }
    tokio_tungstenite::connect_async(request)
        .await
        .map(|(stream, _)| Client(stream))
}

impl Client {
    pub(crate) async fn open(server: &Server) -> Self {
        connect(server, "graphql-transport-ws", None).await.unwrap()
    }

    async fn ready(server: &Server) -> Self {
        let mut client = Self::open(server).await;
        client.say(json!({"type": "connection_init"})).await;
        let ack = client.hear().await;
        assert_eq!(
            (&ack["type"], &ack["payload"]["maxOperations"]),
            (&json!("connection_ack"), &json!(50))
        );
        client
    }

    pub(crate) async fn say(&mut self, message: Value) {
        self.0
            .send(Message::text(message.to_string()))
            .await
            .unwrap();
    }

    pub(crate) async fn subscribe(&mut self, id: &str, query: &str) {
        self.say(json!({"type": "subscribe", "id": id, "payload": {"query": query}}))
            .await;
    }

    async fn next(&mut self) -> Message {
        tokio::time::timeout(Duration::from_secs(20), self.0.next())
            .await
            .expect("a message within 20 s")
            .expect("the socket is open")
            .unwrap()
    }

    pub(crate) async fn hear(&mut self) -> Value {
        match self.next().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("not a message: {other:?}"),
        }
    }

    /// The next message of one operation.
    pub(crate) async fn hear_of(&mut self, id: &str) -> Value {
        loop {
            let message = self.hear().await;
            if message["id"] == id {
                return message;
            }
        }
    }

    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            match self.next().await {
                Message::Close(Some(frame)) => return frame.code.into(),
                Message::Close(None) => panic!("closed without a code"),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn breaches_of_the_protocol_close_with_their_code() {
    let init = || json!({"type": "connection_init"});
    let query =
        |id: &str, query: &str| json!({"type": "subscribe", "id": id, "payload": {"query": query}});
    let watch = "subscription { runFeed(environmentId: \"00000000-0000-4000-b000-000000000000\") { kind } }";
    for (messages, code) in [
        (vec![query("1", "{ server { mode } }")], 4401),
        (vec![init(), init()], 4429),
        (vec![json!({"type": "start"})], 4400),
        (vec![json!("text")], 4400),
        (vec![init(), query("1", watch), query("1", watch)], 4409),
        (
            vec![
                init(),
                json!({"type": "ping"}),
                json!({"type": "pong"}),
                json!({"type": "complete", "id": "9"}),
                json!({"type": "x"}),
            ],
            4400,
        ),
    ] {
        let server = Server::dev().await;
        let mut client = Client::open(&server).await;
        for message in &messages {
            client.say(message.clone()).await;
        }
        assert_eq!(client.closed().await, code, "{messages:?}");
    }
}

#[tokio::test]
async fn socket_needs_its_protocol_an_own_origin_and_a_credential() {
    let server = Server::dev().await;
    for (protocol, origin, status) in [
        ("graphql-ws", None, StatusCode::BAD_REQUEST),
        (
            "graphql-transport-ws",
            Some("https://evil.example"),
            StatusCode::FORBIDDEN,
        ),
    ] {
        match connect(&server, protocol, origin).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), status),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("{protocol} {origin:?} was let in"),
        }
    }
    let start = Server::start().await;
    let mut stranger = Client::open(&start).await;
    stranger
        .say(json!({"type": "connection_init", "payload": {"authorization": "Bearer wrong"}}))
        .await;
    assert_eq!(stranger.closed().await, 4403);
    let mut known = Client::open(&start).await;
    known.say(json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {SIGNING_KEY}")}})).await;
    assert_eq!(known.hear().await["type"], "connection_ack");
}

#[tokio::test]
async fn silent_client_is_closed_after_ten_seconds() {
    let server = Server::dev().await;
    let mut client = Client::open(&server).await;
    assert_eq!(client.closed().await, 4408);
}

#[tokio::test]
async fn queries_and_mistakes_end_as_the_protocol_says() {
    let server = Server::dev().await;
    let mut client = Client::ready(&server).await;
    client.subscribe("q", "{ server { mode } }").await;
    let next = client.hear().await;
    assert_eq!(
        (&next["type"], &next["id"], &next["payload"]["data"]),
        (
            &json!("next"),
            &json!("q"),
            &json!({"server": {"mode": "DEV"}})
        )
    );
    assert_eq!(client.hear().await, json!({"type": "complete", "id": "q"}));
    for (query, code) in [
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("{", "GRAPHQL_PARSE_FAILED"),
        (
            "subscription { a: runUpdated(runId: \"x\") { kind } b: runUpdated(runId: \"x\") { kind } }",
            "GRAPHQL_VALIDATION_FAILED",
        ),
    ] {
        client.subscribe("q", query).await;
        let error = client.hear().await;
        assert_eq!(
            (&error["type"], &error["payload"][0]["extensions"]["code"]),
            (&json!("error"), &json!(code)),
            "{query}: {error}"
        );
    }
    client.say(json!({"type": "ping"})).await;
    assert_eq!(client.hear().await, json!({"type": "pong"}));
}

#[tokio::test]
async fn watched_run_is_shown_until_it_has_ended() {
    let server = Server::dev().await;
    server.register().await;
    let (_, run) = server.start_run().await;
    let mut client = Client::ready(&server).await;
    client.subscribe("w", &format!("subscription {{ runUpdated(runId: \"{run}\") {{ kind cursor run {{ status function {{ slug }} }} }} }}")).await;
    let first = client.hear().await["payload"]["data"]["runUpdated"].clone();
    assert_eq!(
        (&first["kind"], &first["run"]["status"]),
        (&json!("UPDATED"), &json!("QUEUED"))
    );
    assert_eq!(first["run"]["function"]["slug"], "shop-receipt");
    let cancelled = server
        .send(
            http::Method::DELETE,
            &format!("/v1/runs/{run}"),
            &Value::Null,
            &[],
        )
        .await;
    assert_eq!(cancelled.status, StatusCode::OK);
    let mut kinds = Vec::new();
    let last = loop {
        let message = client.hear().await;
        if message["type"] != "next" {
            break message;
        }
        let update = &message["payload"]["data"]["runUpdated"];
        kinds.push((update["kind"].clone(), update["run"]["status"].clone()));
    };
    assert_eq!(last, json!({"type": "complete", "id": "w"}));
    assert_eq!(
        kinds[kinds.len() - 2..],
        [
            (json!("UPDATED"), json!("CANCELLED")),
            (json!("ENDED"), json!("CANCELLED"))
        ]
    );
    client
        .subscribe(
            "x",
            "subscription { runUpdated(runId: \"01HZZZZZZZZZZZZZZZZZZZZZZZ\") { kind } }",
        )
        .await;
    assert_eq!(
        client.hear().await["payload"]["errors"][0]["extensions"]["reason"],
        "run_not_found"
    );
}

pub(crate) const RUN_FEED: &str = "subscription ($after: String) { runFeed(environmentId: \"env_00000000-0000-4000-b000-000000000000\", after: $after) { kind cursor run { runId status } } }";

#[tokio::test]
async fn feed_is_ready_first_tells_of_new_runs_and_goes_on_from_its_cursor() {
    let server = Server::dev().await;
    server.register().await;
    let mut client = Client::ready(&server).await;
    client.subscribe("f", RUN_FEED).await;
    let ready = client.hear().await["payload"]["data"]["runFeed"].clone();
    assert_eq!(ready["kind"], "READY");
    let (_, run) = server.start_run().await;
    let created = client.hear().await["payload"]["data"]["runFeed"].clone();
    assert_eq!(
        (&created["kind"], &created["run"]["runId"]),
        (&json!("CREATED"), &json!(run))
    );
    client.say(json!({"type": "complete", "id": "f"})).await;
    for (id, after, kind) in [("g", &ready, "CREATED"), ("h", &created, "READY")] {
        client.say(json!({"type": "subscribe", "id": id, "payload": {"query": RUN_FEED, "variables": {"after": after["cursor"]}}})).await;
        let message = client.hear_of(id).await;
        assert_eq!(message["payload"]["data"]["runFeed"]["kind"], kind, "{id}");
    }
    client.say(json!({"type": "subscribe", "id": "i", "payload": {"query": RUN_FEED, "variables": {"after": "x"}}})).await;
    let message = client.hear_of("i").await;
    assert_eq!(
        message["payload"]["errors"][0]["extensions"]["code"],
        "INVALID_CURSOR"
    );
}

#[tokio::test]
async fn nothing_is_lost_between_a_list_and_its_feed() {
    let server = Server::dev().await;
    server.register().await;
    let list = "{ environment { runs(filter: {time: {from: \"2020-01-01T00:00:00Z\"}}) { feedCursor nodes { runId } } events(filter: {time: {from: \"2020-01-01T00:00:00Z\"}}) { feedCursor } } }";
    let lists = server.query(list, json!({})).await["environment"].take();
    let (event, run) = server.start_run().await;
    let mut client = Client::ready(&server).await;
    client.say(json!({"type": "subscribe", "id": "r", "payload": {"query": RUN_FEED, "variables": {"after": lists["runs"]["feedCursor"]}}})).await;
    let told = client.hear_of("r").await["payload"]["data"]["runFeed"].clone();
    assert_eq!(told["run"]["runId"], run);
    let feed = "subscription ($after: String) { eventFeed(environmentId: \"env_00000000-0000-4000-b000-000000000000\", after: $after) { kind event { eventId name } } }";
    client.say(json!({"type": "subscribe", "id": "e", "payload": {"query": feed, "variables": {"after": lists["events"]["feedCursor"]}}})).await;
    let told = client.hear_of("e").await["payload"]["data"]["eventFeed"].clone();
    assert_eq!(
        told,
        json!({"kind": "CREATED", "event": {"eventId": event, "name": "shop/order.placed"}})
    );
}

#[tokio::test]
async fn busy_operation_starves_no_other() {
    let server = Server::dev().await;
    server.register().await;
    let mut client = Client::ready(&server).await;
    client.subscribe("busy", RUN_FEED).await;
    assert_eq!(client.hear_of("busy").await["type"], "next");
    let events: Vec<Value> = (0..300)
        .map(|_| json!({"name": "shop/order.placed", "data": {}}))
        .collect();
    server.post("/e/key", &json!(events)).await;
    client.subscribe("small", "{ server { mode } }").await;
    let mut before = 0;
    loop {
        let message = client.hear().await;
        if message["id"] == "small" {
            break;
        }
        before += 1;
    }
    assert!(before < 300, "{before} messages of the busy one came first");
}

#[tokio::test]
async fn one_caller_has_a_bounded_number_of_sockets() {
    let server = Server::dev().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Client::ready(&server).await);
    }
    let mut one_more = Client::open(&server).await;
    one_more.say(json!({"type": "connection_init"})).await;
    assert_eq!(one_more.closed().await, 4429);
    drop(clients.pop());
    // The server learns of it in its own time.
    loop {
        let mut client = Client::open(&server).await;
        client.say(json!({"type": "connection_init"})).await;
        match client.next().await {
            Message::Text(_) => break,
            Message::Close(_) => tokio::task::yield_now().await,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn stopping_server_says_so_and_waits_for_its_sockets() {
    let server = Server::dev().await;
    let mut client = Client::ready(&server).await;
    server.stop.cancel();
    assert_eq!(client.closed().await, 1001);
}

#[tokio::test]
async fn one_socket_too_many_is_refused() {
    let server = Server::with(inngest_services::Mode::Dev, |settings| {
        settings.max_sockets = 1
    })
    .await;
    let first = Client::ready(&server).await;
    match connect(&server, "graphql-transport-ws", None).await {
        Err(Error::Http(response)) => {
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE)
        }
        _ => panic!("the second socket was let in"),
    }
    drop(first);
}

#[tokio::test]
async fn too_many_operations_close_the_socket() {
    let server = Server::dev().await;
    let mut client = Client::ready(&server).await;
    let feed = "subscription { runFeed(environmentId: \"env_00000000-0000-4000-b000-000000000000\") { kind } }";
    for number in 0..51 {
        client.subscribe(&number.to_string(), feed).await;
    }
    assert_eq!(client.closed().await, 4429);
}
