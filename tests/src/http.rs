//! A small blocking client for JSON over loopback.

use std::{sync::OnceLock, time::Duration};

use serde_json::Value;
use ureq::{Agent, RequestExt, http};

/// The signing key of servers that ask for one. It is sent with every request that brings no other credential.
pub const SIGNING_KEY: &str = "0123456789abcdef0123456789abcdef";

/// Status and body of an answer; the body is `null` when it is not JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Parsed body.
    pub body: Value,
}

/// Sends one request; `headers` are added as they are.
///
/// # Errors
/// The transport error in words. Any HTTP status is an answer, not an error.
pub fn try_request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Result<Answer, String> {
    let mut request = http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("authorization"))
    {
        // In `dev` nobody asks for it.
        request = request.header("authorization", format!("Bearer {SIGNING_KEY}"));
    }
    let text = body.map(Value::to_string).unwrap_or_default();
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let request = request.body(text).map_err(|error| error.to_string())?;
    let mut response = request
        .with_agent(agent())
        .configure()
        .allow_non_standard_methods(true)
        .run()
        .map_err(|error| error.to_string())?;
    let text = response
        .body_mut()
        .with_config()
        .limit(64 * 1024 * 1024)
        .read_to_string()
        .map_err(|error| error.to_string())?;
    Ok(Answer {
        status: response.status().as_u16(),
        body: serde_json::from_str(&text).unwrap_or(Value::Null),
    })
}

/// [`try_request`] for an address that must answer.
///
/// # Panics
/// On a transport error.
pub fn request(method: &str, url: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
    try_request(method, url, headers, body)
        .unwrap_or_else(|error| panic!("{method} {url}: {error}"))
}

/// The body of `GET url` as text.
///
/// # Panics
/// On a transport error, and on any status but 200.
pub fn text(url: &str) -> String {
    let answer = agent().get(url).call();
    let mut answer = answer.unwrap_or_else(|error| panic!("GET {url}: {error}"));
    assert_eq!(answer.status().as_u16(), 200, "GET {url}");
    let body = answer.body_mut().read_to_string();
    body.unwrap_or_else(|error| panic!("GET {url}: {error}"))
}

fn agent() -> &'static Agent {
    static AGENT: OnceLock<Agent> = OnceLock::new();
    AGENT.get_or_init(|| {
        Agent::config_builder()
            // Each request goes to whichever server is next, where there are several.
            .max_idle_connections(0)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .proxy(None)
            .build()
            .into()
    })
}
