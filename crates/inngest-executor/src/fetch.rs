//! HTTP requests that the server makes for an app, as durable steps (sdk-protocol 5.4).

use std::{fmt::Display, time::Duration};

use bytes::Bytes;
use inngest_core::{
    json::Json,
    limits,
    op::{FetchRequest, StepError},
    run::reply::{Failure, FailureClass, RetryHint},
    wire::{headers, memo, reply::code},
};
use reqwest::{
    Method,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use url::Url;

use crate::{
    AppClient,
    egress::Refused,
    http::{Bounds, Incoming, Outgoing},
    transport::TransportError,
};

/// Headers that belong to a connection, which apps cannot set.
const OF_CONNECTION: [&str; 7] = [
    "host",
    "content-length",
    "connection",
    "transfer-encoding",
    "upgrade",
    "te",
    "trailer",
];

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum FetchOutcome {
    /// The value of the step, to be wrapped as `{"data": …}`.
    Done {
        /// For a plain request the reply with its status, whatever it is; for inference the reply's JSON.
        data: Json,
    },
    /// The attempt failed. Its error has the name that SDKs expect of a step that failed so for good.
    Failed(Box<Failure>),
}

/// Why a document could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// The address is not one that may be called, or nothing answered there in time, or with more than was asked for.
    #[error("nothing usable answered there")]
    Unreachable,
    /// The answer was another status than 200.
    #[error("it was answered with status {0}")]
    Status(u16),
}

impl AppClient {
    /// Reads a document of the server's own configuration, within `patience` and `max_bytes`. Follows no redirect.
    ///
    /// # Errors
    /// In words that hold nothing of the address.
    pub async fn read_document(
        &self,
        url: &str,
        patience: Duration,
        max_bytes: usize,
    ) -> Result<Bytes, DocumentError> {
        let url = Url::parse(url).map_err(|_| DocumentError::Unreachable)?;
        let outgoing = Outgoing {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            secret_headers: Vec::new(),
            keeps_query: false,
        };
        let bounds = Bounds {
            timeout: patience,
            body_bytes: max_bytes,
            redirects: 0,
        };
        let incoming = self
            .send(outgoing, bounds)
            .await
            .map_err(|_| DocumentError::Unreachable)?;
        match incoming.status {
            200 => Ok(incoming.body),
            status => Err(DocumentError::Status(status)),
        }
    }

    /// Posts a document to a place of the server's own configuration, and reads the status and what is answered, within `patience` and
    /// `max_bytes`. Follows no redirect.
    ///
    /// # Errors
    /// In words that hold nothing of the address.
    pub async fn post_document(
        &self,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
        patience: Duration,
        max_bytes: usize,
    ) -> Result<(u16, Bytes), DocumentError> {
        let url = Url::parse(url).map_err(|_| DocumentError::Unreachable)?;
        let outgoing = Outgoing {
            method: Method::POST,
            url,
            headers,
            body,
            secret_headers: Vec::new(),
            keeps_query: false,
        };
        let bounds = Bounds {
            timeout: patience,
            body_bytes: max_bytes,
            redirects: 0,
        };
        let sent = self.send(outgoing, bounds).await;
        let incoming = sent.map_err(|_| DocumentError::Unreachable)?;
        Ok((incoming.status, incoming.body))
    }

    /// Makes the request and waits for its end. Nothing of it is logged: its headers hold secrets.
    pub async fn fetch(&self, request: &FetchRequest) -> FetchOutcome {
        let name = if request.is_inference {
            "AIGatewayError"
        } else {
            "GatewayError"
        };
        let outgoing = match self.outgoing(request) {
            Ok(outgoing) => outgoing,
            Err(refused) => {
                let mut failure = TransportError::Refused(refused).into_failure();
                failure.error.name = name.to_owned();
                return FetchOutcome::Failed(Box::new(failure));
            }
        };
        let url = text(&request.opts, "url").unwrap_or_default();
        let bounds = Bounds {
            timeout: self.0.settings.fetch_timeout,
            body_bytes: limits::STEP_BYTES,
            redirects: limits::REDIRECTS,
        };
        match self.send(outgoing, bounds).await {
            Ok(incoming) if request.is_inference => inferred(&incoming),
            Ok(incoming) => fetched(&url, &incoming),
            Err(error) => {
                let mut failure = error.into_failure();
                failure.reason = explain(&failure);
                failure.error = StepError::new(name, failure.reason.as_str());
                FetchOutcome::Failed(Box::new(failure))
            }
        }
    }

    fn outgoing(&self, request: &FetchRequest) -> Result<Outgoing, Refused> {
        let opts = &request.opts;
        let mut url = self
            .0
            .settings
            .egress
            .check_url(&text(opts, "url").unwrap_or_default())?;
        let method = text(opts, "method").unwrap_or_else(|| "POST".to_owned());
        let method = if request.is_inference {
            Ok(Method::POST)
        } else {
            Method::from_bytes(method.to_uppercase().as_bytes())
        };
        let method = method.map_err(|_| Refused::Malformed("the method is not one".to_owned()))?;
        let mut headers = HeaderMap::new();
        if request.is_inference {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            if let Some(key) = text(opts, "auth_key") {
                let format = text(opts, "format").unwrap_or_default();
                place_key(&format, &key, &mut url, &mut headers).map_err(Refused::Malformed)?;
            }
        }
        let mut secret_headers: Vec<HeaderName> = headers
            .keys()
            .filter(|name| **name != CONTENT_TYPE)
            .cloned()
            .collect();
        if let Some(own) = opts.member("headers") {
            for (key, value) in own.members() {
                let (name, values) = read_header(&key, &value).map_err(Refused::Malformed)?;
                if OF_CONNECTION.contains(&name.as_str()) {
                    continue;
                }
                headers.remove(&name);
                for value in values {
                    headers.append(name.clone(), value);
                }
                // What an app set for one server is not meant for another.
                if name != CONTENT_TYPE {
                    secret_headers.push(name);
                }
            }
        }
        let body = match opts.member("body") {
            None => Bytes::new(),
            Some(body) if body.is_null() => Bytes::new(),
            Some(body) => match body.to_text() {
                Some(text) if !request.is_inference => Bytes::from(text),
                _ => body.bytes(),
            },
        };
        Ok(Outgoing {
            method,
            url,
            headers,
            body,
            secret_headers,
            keeps_query: false,
        })
    }
}

/// Puts the key where the provider of this format looks for it.
fn place_key(
    format: &str,
    key: &str,
    url: &mut Url,
    headers: &mut HeaderMap,
) -> Result<(), String> {
    let secret = |text: &str| {
        let mut value = HeaderValue::from_str(text)
            .map_err(|_| "the key cannot stand in a header".to_owned())?;
        value.set_sensitive(true);
        Ok::<_, String>(value)
    };
    match format {
        "gemini" => {
            url.query_pairs_mut().append_pair("key", key);
        }
        "anthropic" => {
            headers.insert(HeaderName::from_static("x-api-key"), secret(key)?);
        }
        "bedrock" => {
            headers.insert(AUTHORIZATION, secret(key)?);
        }
        _ => {
            headers.insert(AUTHORIZATION, secret(&format!("Bearer {key}"))?);
        }
    }
    Ok(())
}

fn read_header(key: &str, value: &Json) -> Result<(HeaderName, Vec<HeaderValue>), String> {
    let bad = |error: &dyn Display| {
        format!(
            "header `{}`: {error}",
            key.chars().take(64).collect::<String>()
        )
    };
    let name = HeaderName::from_bytes(key.as_bytes()).map_err(|error| bad(&error))?;
    let items: Vec<Json> = if value.is_array() {
        value.items().collect()
    } else {
        vec![value.clone()]
    };
    let mut values = Vec::with_capacity(items.len());
    for item in items.iter().filter(|item| !item.is_null()) {
        let text = item.to_text().unwrap_or_else(|| item.as_str().to_owned());
        values.push(HeaderValue::from_str(&text).map_err(|error| bad(&error))?);
    }
    Ok((name, values))
}

fn fetched(url: &str, incoming: &Incoming) -> FetchOutcome {
    let mut headers: Vec<(String, String)> = Vec::with_capacity(incoming.headers.len());
    for (name, value) in &incoming.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        match headers.iter_mut().find(|(known, _)| known == name.as_str()) {
            Some((_, values)) => {
                values.push_str(", ");
                values.push_str(&value);
            }
            None => headers.push((name.as_str().to_owned(), value.into_owned())),
        }
    }
    let data = memo::fetched(
        url,
        incoming.status,
        &headers,
        &String::from_utf8_lossy(&incoming.body),
    );
    if data.len() > limits::STEP_BYTES {
        return FetchOutcome::Failed(Box::new(too_large("GatewayError")));
    }
    FetchOutcome::Done { data }
}

fn inferred(incoming: &Incoming) -> FetchOutcome {
    let json = Json::parse(&incoming.body)
        .unwrap_or_else(|_| Json::string(&String::from_utf8_lossy(&incoming.body)));
    if json.len() > limits::STEP_BYTES {
        return FetchOutcome::Failed(Box::new(too_large("AIGatewayError")));
    }
    if (200..300).contains(&incoming.status) {
        return FetchOutcome::Done { data: json };
    }
    let reason = format!("invalid status code: {}", incoming.status);
    let mut error = StepError::new(
        "AIGatewayError",
        format!("The provider answered with status {}", incoming.status),
    );
    error.data = Some(json);
    let after = incoming
        .headers
        .get(headers::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let class = if incoming.status == 401 || incoming.status == 403 {
        FailureClass::Auth
    } else {
        FailureClass::App
    };
    FetchOutcome::Failed(Box::new(Failure {
        class,
        code: code::NOT_OK,
        reason,
        error,
        retry: RetryHint {
            no_retry: false,
            after,
        },
    }))
}

fn too_large(name: &str) -> Failure {
    let mut failure = TransportError::TooLarge.into_failure();
    failure.reason = format!(
        "The response is over the limit of {} bytes",
        limits::STEP_BYTES
    );
    failure.error = StepError::new(name, failure.reason.as_str());
    failure
}

/// The texts about calls speak of the user's server, which this is not.
fn explain(failure: &Failure) -> String {
    match failure.code {
        code::UNREACHABLE => "Unable to reach the URL, or the connection broke".to_owned(),
        code::OUTPUT_TOO_LARGE => format!(
            "The response is over the limit of {} bytes",
            limits::STEP_BYTES
        ),
        _ => failure.reason.clone(),
    }
}

fn text(opts: &Json, key: &str) -> Option<String> {
    opts.member(key)?.to_text().filter(|text| !text.is_empty())
}
