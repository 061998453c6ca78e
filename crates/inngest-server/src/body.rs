//! Reading a request's body within a size and a time.

use std::time::Duration;

use axum::{body::Body, http::header::CONTENT_LENGTH};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// Longest time between the first and the last byte of a body.
const READ_TIME: Duration = Duration::from_secs(60);

/// Why a body could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    TooLarge { limit: usize },
    TooSlow,
    Cut,
}

impl Unreadable {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Cut => StatusCode::BAD_REQUEST,
        }
    }

    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "body_too_large",
            Self::TooSlow => "body_too_slow",
            Self::Cut => "body_cut_off",
        }
    }

    pub(crate) fn message(&self) -> String {
        match self {
            Self::TooLarge { limit } => {
                format!("the body of this request may have at most {limit} bytes")
            }
            Self::TooSlow => "the body of this request did not arrive in time".to_owned(),
            Self::Cut => "the body of this request ended early".to_owned(),
        }
    }
}

/// The whole body, held in memory; a declared length beyond `limit` is refused before anything is read.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<Bytes, Unreadable> {
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(Unreadable::TooLarge { limit });
    }
    match tokio::time::timeout(READ_TIME, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Unreadable::TooLarge { limit }),
        Ok(Err(_)) => Err(Unreadable::Cut),
        Err(_) => Err(Unreadable::TooSlow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn body_beyond_its_limit_is_refused_whether_declared_or_not() {
        let undeclared = read(&HeaderMap::new(), Body::from("12345"), 4).await;
        assert_eq!(undeclared, Err(Unreadable::TooLarge { limit: 4 }));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, "5".parse().unwrap());
        assert_eq!(
            read(&headers, Body::empty(), 4).await,
            Err(Unreadable::TooLarge { limit: 4 })
        );
        assert_eq!(
            read(&HeaderMap::new(), Body::from("1234"), 4).await,
            Ok(Bytes::from("1234"))
        );
    }
}
