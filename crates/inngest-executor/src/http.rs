//! One request: sent, redirected within bounds, and its reply read within bounds.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use inngest_core::{
    limits,
    wire::{headers, reply::ReplyHeaders},
};
use reqwest::{
    Method, Request, Response, StatusCode,
    header::{
        AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, LOCATION, PROXY_AUTHORIZATION,
    },
};
use url::Url;

use crate::{AppClient, egress::Refused, transport::TransportError};

/// What is sent.
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// What a redirect to somebody else must not carry besides credentials.
    pub(crate) secret_headers: Vec<HeaderName>,
    /// Whether parameters that a redirect to the same server leaves out are added again.
    pub(crate) keeps_query: bool,
}

/// How long and how much.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) timeout: Duration,
    pub(crate) body_bytes: usize,
    pub(crate) redirects: usize,
}

/// A reply, read to its end and decompressed.
pub(crate) struct Incoming {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl AppClient {
    /// The address policy is asked at each hop.
    pub(crate) async fn send(
        &self,
        outgoing: Outgoing,
        bounds: Bounds,
    ) -> Result<Incoming, TransportError> {
        match tokio::time::timeout(bounds.timeout, self.follow(outgoing, bounds)).await {
            Ok(result) => result,
            Err(_) => Err(TransportError::TooSlow),
        }
    }

    async fn follow(
        &self,
        mut outgoing: Outgoing,
        bounds: Bounds,
    ) -> Result<Incoming, TransportError> {
        for _ in 0..=bounds.redirects {
            self.0
                .settings
                .egress
                .check(&outgoing.url)
                .map_err(TransportError::Refused)?;
            let mut request = Request::new(outgoing.method.clone(), outgoing.url.clone());
            *request.headers_mut() = outgoing.headers.clone();
            if !outgoing.body.is_empty() {
                *request.body_mut() = Some(outgoing.body.clone().into());
            }
            let response = self
                .0
                .http
                .execute(request)
                .await
                .map_err(TransportError::Sending)?;
            match target_of(&response, &outgoing.url)? {
                Some(target) => redirect(&mut outgoing, response.status(), target),
                None => return read(response, bounds.body_bytes).await,
            }
        }
        Err(TransportError::TooManyRedirects)
    }
}

/// Where a reply sends us; `None` when it is no redirect that can be followed.
fn target_of(response: &Response, from: &Url) -> Result<Option<Url>, TransportError> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = response
        .headers()
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
    else {
        return Ok(None);
    };
    let target = from
        .join(location)
        .map_err(|error| TransportError::Refused(Refused::Malformed(error.to_string())))?;
    Ok(Some(target))
}

/// Prepares the next hop: the same request to another URL, except that 303 asks for the outcome instead.
fn redirect(outgoing: &mut Outgoing, status: StatusCode, mut target: Url) {
    if status == StatusCode::SEE_OTHER {
        outgoing.method = Method::GET;
        outgoing.body = Bytes::new();
        outgoing.headers.remove(CONTENT_TYPE);
    }
    if is_same_server(&outgoing.url, &target) {
        if outgoing.keeps_query {
            add_missing_query(&outgoing.url, &mut target);
        }
    } else {
        for name in [
            AUTHORIZATION,
            COOKIE,
            PROXY_AUTHORIZATION,
            HeaderName::from_static(headers::SIGNATURE),
        ] {
            outgoing.headers.remove(name);
        }
        for name in &outgoing.secret_headers {
            outgoing.headers.remove(name);
        }
    }
    target.set_fragment(None);
    outgoing.url = target;
}

/// Whether what was meant for one URL may be told to the other: the same origin, or the same host with encryption added.
fn is_same_server(from: &Url, to: &Url) -> bool {
    let is_upgrade = from.scheme() == "http" && to.scheme() == "https";
    from.host() == to.host() && (from.origin() == to.origin() || is_upgrade)
}

fn add_missing_query(from: &Url, to: &mut Url) {
    let present: Vec<String> = to.query_pairs().map(|(key, _)| key.into_owned()).collect();
    let missing: Vec<(String, String)> = from
        .query_pairs()
        .filter(|(key, _)| !present.iter().any(|known| known == key))
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    if !missing.is_empty() {
        to.query_pairs_mut().extend_pairs(missing);
    }
}

/// Reads up to `limit` decompressed bytes. What lies beyond is left unread and its connection dropped.
async fn read(mut response: Response, limit: usize) -> Result<Incoming, TransportError> {
    let status = response.status().as_u16();
    let headers = std::mem::take(response.headers_mut());
    if response
        .content_length()
        .is_some_and(|length| length > limit as u64)
    {
        return Err(TransportError::TooLarge);
    }
    let first = response
        .chunk()
        .await
        .map_err(TransportError::Reading)?
        .unwrap_or_default();
    let mut read = first.len();
    let mut rest = BytesMut::new();
    while read <= limit {
        let Some(chunk) = response.chunk().await.map_err(TransportError::Reading)? else {
            break;
        };
        if rest.is_empty() {
            rest.extend_from_slice(&first);
        }
        read += chunk.len();
        if read <= limit {
            rest.extend_from_slice(&chunk);
        }
    }
    if read > limit {
        return Err(TransportError::TooLarge);
    }
    // Most replies come in one piece and are not copied.
    let body = if rest.is_empty() {
        first
    } else {
        rest.freeze()
    };
    Ok(Incoming {
        status,
        headers,
        body,
    })
}

/// The headers of a reply that mean something.
pub(crate) fn reply_headers(map: &HeaderMap) -> ReplyHeaders {
    let mut found = ReplyHeaders::default();
    for name in [
        headers::SDK,
        headers::SDK_HANDLED,
        headers::REQUEST_VERSION,
        headers::NO_RETRY,
        headers::RETRY_AFTER,
        "content-type",
    ] {
        if let Some(value) = map.get(name).and_then(|value| value.to_str().ok()) {
            found.set(name, value);
        }
    }
    found
}

/// Bounds of anything that is answered at once.
pub(crate) fn brief(timeout: Duration) -> Bounds {
    Bounds {
        timeout,
        body_bytes: limits::REPLY_BYTES,
        redirects: limits::REDIRECTS,
    }
}
