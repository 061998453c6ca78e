//! Asking apps what they have, and finding them (sdk-protocol 1.7, 1.8, 2.3).

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use inngest_core::{
    json::Json,
    limits,
    run::reply::FailureClass,
    sync::{SyncFailure, SyncKind},
    time::Timestamp,
    wire::{
        headers,
        introspection::Introspection,
        signature::SigningKey,
        sync::{SyncReply, parse_sync_reply, put_body},
    },
};
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use tokio::net::TcpStream;

use crate::{
    AppClient,
    egress::Refused,
    http::{Bounds, Outgoing, brief, reply_headers},
    transport::TransportError,
};

/// How long one dial of discovery may last. Local, so it is answered at once or not at all.
const DIAL_TIMEOUT: Duration = Duration::from_millis(250);

/// A request to register.
#[derive(Clone, Copy, Debug)]
pub struct SyncRequest<'a> {
    /// The URL of the app.
    pub url: &'a str,
    /// How it is asked.
    pub kind: SyncKind,
    /// Signs the request, if there is one.
    pub signing_key: Option<&'a SigningKey>,
    /// The time that the signature states.
    pub now: Timestamp,
}

/// What answers at a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Nothing.
    Unreachable,
    /// Something that is not an SDK.
    Foreign,
    /// An app, with the name and version of its SDK where it tells them.
    App {
        /// For example `inngest-js:v4.24.0`.
        sdk: Option<String>,
    },
}

/// What an answer to a look at a URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The HTTP status.
    pub status: u16,
    /// Whether an SDK answered.
    pub is_sdk: bool,
    /// What it tells of itself.
    pub told: Introspection,
}

impl AppClient {
    /// Makes an app register and waits for its answer, at most [`limits::SYNC_TIMEOUT`]. The app calls our registration endpoint before
    /// it answers, so the caller must hold no lock and no transaction that the endpoint needs.
    pub async fn sync(&self, request: SyncRequest<'_>) -> SyncReply {
        let url = match self.0.settings.egress.check_url(request.url) {
            Ok(url) => url,
            Err(refused) => return sync_failure(TransportError::Refused(refused)),
        };
        let body: Json = put_body(request.url);
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            HeaderName::from_static(headers::SERVER_KIND),
            HeaderValue::from_static(self.0.settings.server_kind.as_str()),
        );
        if request.kind == SyncKind::InBand {
            headers.insert(
                HeaderName::from_static(headers::SYNC_KIND),
                HeaderValue::from_static("in_band"),
            );
        }
        if let Some(key) = request.signing_key
            && let Ok(signature) = HeaderValue::from_str(
                &key.sign(body.as_bytes(), request.now.as_millis().div_euclid(1_000)),
            )
        {
            headers.insert(HeaderName::from_static(headers::SIGNATURE), signature);
        }
        let outgoing = Outgoing {
            method: Method::PUT,
            url,
            headers,
            body: body.bytes(),
            secret_headers: Vec::new(),
            keeps_query: true,
        };
        match self.send(outgoing, brief(limits::SYNC_TIMEOUT)).await {
            Ok(incoming) => {
                let sync_kind = incoming
                    .headers
                    .get(headers::SYNC_KIND)
                    .and_then(|value| value.to_str().ok());
                parse_sync_reply(
                    incoming.status,
                    &reply_headers(&incoming.headers),
                    sync_kind,
                    &incoming.body,
                )
            }
            Err(error) => sync_failure(error),
        }
    }

    /// Asks what answers at a URL for all that it tells, for at most [`limits::CHECK_TIMEOUT`]. The request is signed, if there is a key.
    /// Nothing is changed by it.
    ///
    /// # Errors
    /// Why nothing answered, with the codes of [`AppClient::sync`].
    pub async fn inspect(
        &self,
        url: &str,
        signing_key: Option<&SigningKey>,
        now: Timestamp,
    ) -> Result<Inspection, SyncFailure> {
        let url = self.0.settings.egress.check_url(url);
        let url = url.map_err(|refused| failure_of(TransportError::Refused(refused)))?;
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(
            HeaderName::from_static(headers::SERVER_KIND),
            HeaderValue::from_static(self.0.settings.server_kind.as_str()),
        );
        if let Some(key) = signing_key
            && let Ok(signature) =
                HeaderValue::from_str(&key.sign(b"", now.as_millis().div_euclid(1_000)))
        {
            headers.insert(HeaderName::from_static(headers::SIGNATURE), signature);
        }
        let outgoing = Outgoing {
            method: Method::GET,
            url,
            headers,
            body: Bytes::new(),
            secret_headers: Vec::new(),
            keeps_query: true,
        };
        let incoming = self.send(outgoing, brief(limits::CHECK_TIMEOUT)).await;
        let incoming = incoming.map_err(failure_of)?;
        let framework = incoming.headers.get(headers::FRAMEWORK);
        let framework = framework.and_then(|value| value.to_str().ok());
        let known = reply_headers(&incoming.headers);
        Ok(Inspection {
            status: incoming.status,
            is_sdk: known.is_sdk(),
            told: Introspection::parse(incoming.status, &known, framework, &incoming.body),
        })
    }

    /// Looks whether an app answers at a URL, for at most [`limits::PROBE_TIMEOUT`]. Redirects are not followed.
    pub async fn probe(&self, url: &str) -> Probe {
        let Ok(url) = self.0.settings.egress.check_url(url) else {
            return Probe::Unreachable;
        };
        let outgoing = Outgoing {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            secret_headers: Vec::new(),
            keeps_query: false,
        };
        let bounds = Bounds {
            redirects: 0,
            ..brief(limits::PROBE_TIMEOUT)
        };
        match self.send(outgoing, bounds).await {
            Ok(incoming) => {
                let headers = reply_headers(&incoming.headers);
                if headers.is_sdk() {
                    Probe::App { sdk: headers.sdk }
                } else {
                    Probe::Foreign
                }
            }
            Err(TransportError::TooManyRedirects | TransportError::TooLarge) => Probe::Foreign,
            Err(_) => Probe::Unreachable,
        }
    }

    /// Whether something on this machine listens on a port, for discovery in development.
    pub async fn dial(&self, port: u16) -> bool {
        for address in [
            SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
        ] {
            if let Ok(Ok(_)) = tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect(address)).await
            {
                return true;
            }
        }
        false
    }
}

fn sync_failure(error: TransportError) -> SyncReply {
    let SyncFailure { code, message } = failure_of(error);
    SyncReply::Failed { code, message }
}

fn failure_of(error: TransportError) -> SyncFailure {
    let is_protocol = matches!(&error, TransportError::Refused(Refused::Scheme(_)));
    let is_late = matches!(&error, TransportError::TooSlow);
    let failure = error.into_failure();
    let code = if is_protocol {
        "unsupported_protocol"
    } else if is_late || failure.class == FailureClass::Network {
        "unreachable"
    } else {
        failure.code
    };
    SyncFailure::new(code, &failure.reason)
}
