//! One call of a function.

use bytes::Bytes;
use inngest_core::{
    ids::{RunId, StepId},
    limits,
    run::{
        SdkResponse,
        reply::{Failure, FailureClass, Reply, RetryHint},
    },
    time::Timestamp,
    wire::{
        call::call_url,
        headers,
        reply::{RawReply, code, failure, parse_reply},
        signature::SigningKey,
    },
};
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue},
};
use tokio::time::Instant;

use crate::{
    AppClient,
    http::{Bounds, Outgoing, reply_headers},
    transport::TransportError,
};

/// One call. The body is canonical JSON, made by `wire::call`.
#[derive(Clone, Debug)]
pub struct CallRequest<'a> {
    /// The URL of the function as registered; the step is added here.
    pub url: &'a str,
    /// The run.
    pub run: RunId,
    /// The one step to run; none for a discovery.
    pub target: Option<&'a StepId>,
    /// The dialect, as in the body.
    pub version: i32,
    /// The work, as in the body.
    pub job_id: &'a str,
    /// This call, as in the body.
    pub request_id: &'a str,
    /// The epoch of the work, as in the body.
    pub generation: i64,
    /// Signs the call, if there is one.
    pub signing_key: Option<&'a SigningKey>,
    /// W3C trace context, if there is one.
    pub traceparent: Option<&'a str>,
    /// The time that the signature states.
    pub now: Timestamp,
    /// What is sent and signed.
    pub body: Bytes,
}

/// What came of one call.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// What the app says.
    pub reply: Reply,
    /// Facts about its answer; none when there was no whole one.
    pub response: Option<SdkResponse>,
}

impl Answered {
    fn unanswered(failure: Failure) -> Self {
        Self {
            reply: Reply::Failed(failure),
            response: None,
        }
    }
}

impl AppClient {
    /// Makes one call and waits for its end. Whatever goes wrong is a [`Reply::Failed`].
    pub async fn call(&self, request: CallRequest<'_>) -> Answered {
        let url = match self
            .0
            .settings
            .egress
            .check_url(&call_url(request.url, request.target))
        {
            Ok(url) => url,
            Err(refused) => {
                return Answered::unanswered(TransportError::Refused(refused).into_failure());
            }
        };
        let headers = match self.call_headers(&request) {
            Ok(headers) => headers,
            Err(_) => return Answered::unanswered(unsendable()),
        };
        let outgoing = Outgoing {
            method: Method::POST,
            url,
            headers,
            body: request.body,
            secret_headers: Vec::new(),
            keeps_query: true,
        };
        let bounds = Bounds {
            timeout: self.0.settings.call_timeout,
            body_bytes: limits::REPLY_BYTES,
            redirects: limits::REDIRECTS,
        };
        let begun = Instant::now();
        let incoming = match self.send(outgoing, bounds).await {
            Ok(incoming) => incoming,
            Err(error) => return Answered::unanswered(error.into_failure()),
        };
        let took = begun.elapsed();
        let header = |name: &str| incoming.headers.get(name)?.to_str().ok();
        let response = SdkResponse::new(incoming.status, took, incoming.body.len(), header);
        let reply = parse_reply(RawReply {
            status: incoming.status,
            headers: &reply_headers(&incoming.headers),
            body: &incoming.body,
        });
        Answered {
            reply,
            response: Some(response),
        }
    }

    fn call_headers(&self, request: &CallRequest<'_>) -> Result<HeaderMap, InvalidHeaderValue> {
        let mut map = HeaderMap::with_capacity(16);
        map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut set = |name: &'static str, value: &str| -> Result<(), InvalidHeaderValue> {
            map.insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
            Ok(())
        };
        set(headers::SERVER_KIND, self.0.settings.server_kind.as_str())?;
        set(headers::RUN_ID, &request.run.to_string())?;
        set(
            headers::STEP_ID,
            request.target.map_or("step", StepId::as_str),
        )?;
        set(headers::REQUEST_VERSION, &request.version.to_string())?;
        set(headers::JOB_ID, request.job_id)?;
        set(headers::REQUEST_ID, request.request_id)?;
        if request.generation > 0 {
            set(headers::GENERATION_ID, &request.generation.to_string())?;
        }
        if let Some(traceparent) = request.traceparent {
            set("traceparent", traceparent)?;
        }
        if let Some(key) = request.signing_key {
            set(
                headers::SIGNATURE,
                &key.sign(&request.body, request.now.as_millis().div_euclid(1_000)),
            )?;
        }
        Ok(map)
    }
}

fn unsendable() -> Failure {
    failure(
        FailureClass::Engine,
        code::BAD_REPLY,
        "an id of the call cannot stand in a header",
        RetryHint::default(),
    )
}
