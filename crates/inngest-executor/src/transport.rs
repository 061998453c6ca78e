//! What went wrong between us and an app, in the words that its people read (sdk-protocol 4.6).

use std::{error::Error, io};

use inngest_core::{
    run::reply::{Failure, FailureClass, RetryHint},
    wire::reply::{code, failure, too_large},
};

use crate::egress::Refused;

/// Why there is no whole reply.
#[derive(Debug)]
pub(crate) enum TransportError {
    /// The policy forbids the request, or the URL is unusable.
    Refused(Refused),
    /// It lasted longer than allowed.
    TooSlow,
    /// The body is over its limit.
    TooLarge,
    /// More redirects than are followed.
    TooManyRedirects,
    /// Before or while the request was sent, or before the head of the reply was there.
    Sending(reqwest::Error),
    /// While the body of the reply was read.
    Reading(reqwest::Error),
}

impl TransportError {
    /// The failure of a call to an app.
    pub(crate) fn into_failure(self) -> Failure {
        if let Self::Sending(error) = &self
            && let Some(refused) = refused_in(error)
        {
            return Self::Refused(refused).into_failure();
        }
        let (class, code, reason) = match &self {
            Self::Refused(refused) => {
                let retry = RetryHint {
                    no_retry: true,
                    after: None,
                };
                return failure(
                    FailureClass::Config,
                    code::REFUSED_URL,
                    &refused.to_string(),
                    retry,
                );
            }
            Self::TooLarge => return too_large(),
            Self::TooSlow => (
                FailureClass::Limit,
                code::TOO_SLOW,
                "The call lasted longer than allowed".to_owned(),
            ),
            Self::TooManyRedirects => (
                FailureClass::App,
                code::NOT_OK,
                "The call was redirected too many times".to_owned(),
            ),
            Self::Sending(error) => (
                FailureClass::Network,
                code::UNREACHABLE,
                sending_text(error).to_owned(),
            ),
            Self::Reading(error) if error.is_decode() && !is_of_connection(error) => (
                FailureClass::App,
                code::BAD_REPLY,
                "The reply could not be decompressed".to_owned(),
            ),
            Self::Reading(_) => {
                let text = "Your server reset the connection while we were reading the reply: Unexpected ending response";
                (FailureClass::Network, code::UNREACHABLE, text.to_owned())
            }
        };
        failure(class, code, &reason, RetryHint::default())
    }
}

fn sending_text(error: &reqwest::Error) -> &'static str {
    if error.is_connect() {
        "Unable to reach SDK URL"
    } else if io_kind(error).is_some_and(is_reset) {
        "Your server reset the connection while we were sending the request."
    } else if is_incomplete(error) {
        "Your server closed the request before finishing."
    } else {
        "Error performing request to SDK URL"
    }
}

fn refused_in(error: &reqwest::Error) -> Option<Refused> {
    chain(error)
        .find_map(|error| error.downcast_ref::<Refused>())
        .cloned()
}

fn is_incomplete(error: &reqwest::Error) -> bool {
    chain(error)
        .filter_map(|error| error.downcast_ref::<hyper::Error>())
        .any(|error| error.is_incomplete_message() || error.is_closed())
}

/// Errors of reading come wrapped as errors of decoding, whatever they are.
fn is_of_connection(error: &reqwest::Error) -> bool {
    chain(error).any(|error| error.is::<hyper::Error>())
}

fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    chain(error)
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .map(io::Error::kind)
        .last()
}

fn is_reset(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
    )
}

fn chain(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(
        Some(error as &(dyn Error + 'static)),
        |error: &&(dyn Error + 'static)| (*error).source(),
    )
}
