//! Tokens: what each defect is worth, what each role may do, and when a connection ends with its token.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{Json, Router, routing::get};
use http::{Method, StatusCode};
use inngest_core::ids::{DEFAULT_ENV, DEFAULT_ORG};
use inngest_services::{SecretKey, TokenIssuer, TokenKey};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::{
    harness::{NOW, Server},
    socket::{Client, RUN_FEED},
};

const SECRET: &str = "a secret of more than thirty-two bytes";
const ISSUER: &str = "https://issuer.example";
const P256: &[u8] = include_bytes!("keys/p256.pem");
const P256_PUBLIC: &str = include_str!("keys/p256.pub.pem");
const RSA: &[u8] = include_bytes!("keys/rsa.pem");
const RSA_PUBLIC: &str = include_str!("keys/rsa.pub.pem");

async fn server(keys: Vec<TokenKey>) -> Server {
    Server::with_services(|settings| {
        settings.token_issuer = Some(TokenIssuer {
            issuer: ISSUER.to_owned(),
            audience: "control-plane".to_owned(),
            keys,
        });
        settings.secret_keys = vec![SecretKey::derive("the secret key of a test").unwrap()];
    })
    .await
}

pub(crate) async fn with_secret() -> Server {
    server(vec![TokenKey::Secret(SECRET.to_owned())]).await
}

/// Good claims, changed by `change`; what becomes null is left out.
fn claims(change: &Value) -> Value {
    let seconds = NOW / 1_000;
    let mut claims = json!({
        "iss": ISSUER, "aud": ["others", "control-plane"], "sub": "ann", "exp": seconds + 600, "nbf": seconds - 5,
        "org": DEFAULT_ORG.raw(), "envs": ["dev"], "role": "viewer",
    });
    let object = claims.as_object_mut().unwrap();
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            object.remove(name);
        } else {
            object.insert(name.clone(), value.clone());
        }
    }
    claims
}

fn signed(algorithm: Algorithm, key: &EncodingKey, change: &Value) -> String {
    encode(&Header::new(algorithm), &claims(change), key).unwrap()
}

pub(crate) fn token(change: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    signed(Algorithm::HS256, &key, change)
}

async fn status(server: &Server, method: Method, path: &str, token: &str) -> StatusCode {
    let body = if method == Method::POST {
        json!([{"name": "a", "data": {}}])
    } else {
        Value::Null
    };
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    server.send(method, path, &body, &headers).await.status
}

async fn read(server: &Server, token: &str) -> StatusCode {
    status(server, Method::GET, "/api/v1/runs", token).await
}

#[tokio::test]
async fn each_defect_of_a_token_makes_it_worthless() {
    let server = with_secret().await;
    let seconds = NOW / 1_000;
    for good in [
        json!({}),
        json!({"nbf": null}),
        json!({"aud": "control-plane"}),
        json!({"envs": [DEFAULT_ENV.raw(), "other"]}),
        // Within what clocks may differ.
        json!({"exp": seconds - 20}),
        json!({"nbf": seconds + 20}),
    ] {
        assert_eq!(read(&server, &token(&good)).await, StatusCode::OK, "{good}");
    }
    for defect in [
        json!({"iss": null}),
        json!({"iss": "https://issuer.example/"}),
        json!({"aud": null}),
        json!({"aud": "others"}),
        json!({"exp": null}),
        json!({"exp": "soon"}),
        json!({"exp": seconds - 31}),
        json!({"exp": -1e300}),
        json!({"nbf": seconds + 60}),
        json!({"org": null}),
        json!({"org": "dev"}),
        json!({"org": "00000000-0000-4000-a000-000000000009"}),
        json!({"envs": null}),
        json!({"envs": []}),
        json!({"envs": ["production"]}),
        json!({"envs": "dev"}),
        json!({"role": null}),
        json!({"role": "root"}),
        json!({"role": ["owner"]}),
        json!({"pad": "x".repeat(9_000)}),
    ] {
        let status = read(&server, &token(&defect)).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{defect}");
    }
    let foreign = EncodingKey::from_secret(b"another secret of thirty-two bytes");
    let own = EncodingKey::from_secret(SECRET.as_bytes());
    let none = {
        let good = token(&json!({}));
        let parts: Vec<&str> = good.split('.').collect();
        // {"alg":"none","typ":"JWT"}
        format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1])
    };
    for worthless in [
        signed(Algorithm::HS256, &foreign, &json!({})),
        signed(Algorithm::HS512, &own, &json!({})),
        none,
        "a.b.c".to_owned(),
        String::new(),
    ] {
        let status = read(&server, &worthless).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{worthless}");
    }
    // The answer does not say what was wrong.
    let bearer = format!("Bearer {}", token(&json!({"aud": "others"})));
    let headers = [("authorization", bearer.as_str())];
    let answer = server
        .send(Method::GET, "/api/v1/runs", &Value::Null, &headers)
        .await;
    assert!(!String::from_utf8_lossy(&answer.body).contains("aud"));
}

#[tokio::test]
async fn public_key_is_no_secret() {
    for (algorithm, private, public) in [
        (
            Algorithm::ES256,
            EncodingKey::from_ec_pem(P256),
            P256_PUBLIC,
        ),
        (Algorithm::RS256, EncodingKey::from_rsa_pem(RSA), RSA_PUBLIC),
    ] {
        let server = server(vec![TokenKey::PublicKey(public.to_owned())]).await;
        let good = signed(algorithm, &private.unwrap(), &json!({}));
        assert_eq!(read(&server, &good).await, StatusCode::OK);
        let confused = EncodingKey::from_secret(public.as_bytes());
        let confused = signed(Algorithm::HS256, &confused, &json!({}));
        assert_eq!(read(&server, &confused).await, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn each_role_opens_its_doors_and_none_an_apps() {
    let server = with_secret().await;
    let run = "01HZZZZZZZZZZZZZZZZZZZZZZZ";
    for (role, sends, cancels, removes) in [
        ("viewer", 403, 403, false),
        ("member", 200, 404, false),
        ("admin", 200, 404, true),
        ("owner", 200, 404, true),
    ] {
        let token = token(&json!({"role": role}));
        let ask = async |method, path: &str| status(&server, method, path, &token).await.as_u16();
        assert_eq!(ask(Method::GET, "/api/v1/runs").await, 200, "{role}");
        let sent = ask(Method::POST, "/api/v1/events").await;
        assert_eq!(sent == 403, sends == 403, "{role}: {sent}");
        let path = format!("/api/v1/runs/{run}");
        assert_eq!(ask(Method::DELETE, &path).await, cancels, "{role}");
        let removed = ask(Method::DELETE, "/fn/remove?url=http%3A%2F%2Fx").await;
        assert_eq!(removed != 403, removes, "{role}: {removed}");
        let path = format!("/v0/runs/{run}/actions");
        assert_eq!(ask(Method::GET, &path).await, 403, "{role}");
    }
}

#[tokio::test]
async fn published_keys_are_read_once_and_unknown_ones_do_not_make_us_ask_again() {
    let asked = Arc::new(AtomicU64::new(0));
    let counted = asked.clone();
    let set = json!({"keys": [
        {"kty": "EC", "crv": "P-256", "use": "sig", "kid": "one", "x": "WrvwqNULo6a8csDyWiJa2vQAxuycikL9FjGHK8spyVU", "y": "z0g4awNqVHg9QXz23KPUB0lv20RKLhlfdIQHGgcIUqc"},
        {"kty": "oct", "kid": "secret", "k": "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA"},
    ]});
    let issuer = Router::new().route(
        "/keys",
        get(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            let set = set.clone();
            async move { Json(set) }
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let server = server(vec![TokenKey::Jwks(url)]).await;
    server
        .tracker
        .spawn(async move { axum::serve(listener, issuer).await });
    let key = EncodingKey::from_ec_pem(P256).unwrap();
    let with_id = |id: Option<&str>, algorithm, key: &EncodingKey| {
        let header = Header {
            kid: id.map(str::to_owned),
            ..Header::new(algorithm)
        };
        encode(&header, &claims(&json!({})), key).unwrap()
    };
    for id in [Some("one"), None] {
        let token = with_id(id, Algorithm::ES256, &key);
        assert_eq!(read(&server, &token).await, StatusCode::OK, "{id:?}");
    }
    for number in 0..20 {
        let token = with_id(Some(&format!("unknown-{number}")), Algorithm::ES256, &key);
        assert_eq!(read(&server, &token).await, StatusCode::UNAUTHORIZED);
    }
    // A secret in a published set is nobody's.
    let secret = EncodingKey::from_secret(b"secret secret secret secret secret");
    let token = with_id(Some("secret"), Algorithm::HS256, &secret);
    assert_eq!(read(&server, &token).await, StatusCode::UNAUTHORIZED);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn connection_and_what_runs_on_it_end_with_the_last_token() {
    let server = with_secret().await;
    let mut client = Client::open(&server).await;
    let until = |seconds: i64| {
        let token = token(&json!({"exp": NOW / 1_000 + seconds}));
        json!({"authorization": format!("Bearer {token}")})
    };
    client
        .say(json!({"type": "connection_init", "payload": until(600)}))
        .await;
    let ack = client.hear().await;
    assert_eq!(ack["type"], "connection_ack");
    assert!(ack["payload"]["expiresAt"].is_string(), "{ack}");
    client.subscribe("f", RUN_FEED).await;
    let ready = client.hear().await;
    assert_eq!(ready["payload"]["data"]["runFeed"]["kind"], "READY");
    client
        .say(json!({"type": "ping", "payload": until(1)}))
        .await;
    assert_eq!(client.hear().await["type"], "pong");
    let end = client.hear().await;
    assert_eq!(
        (&end["type"], &end["id"]),
        (&json!("error"), &json!("f")),
        "{end}"
    );
    assert_eq!(end["payload"][0]["extensions"]["code"], "UNAUTHENTICATED");
    assert_eq!(client.closed().await, 4403);
}

#[tokio::test]
async fn feed_of_another_environment_is_refused() {
    let server = with_secret().await;
    let mut client = Client::open(&server).await;
    let authorization = format!("Bearer {}", token(&json!({})));
    client
        .say(json!({"type": "connection_init", "payload": {"authorization": authorization}}))
        .await;
    assert_eq!(client.hear().await["type"], "connection_ack");
    let foreign = RUN_FEED.replace(
        "env_00000000-0000-4000-b000-000000000000",
        "env_00000000-0000-4000-b000-000000000001",
    );
    client.subscribe("f", &foreign).await;
    let refused = client.hear().await;
    assert_eq!(
        refused["payload"]["errors"][0]["extensions"]["code"],
        "BAD_USER_INPUT"
    );
}
