//! Where a credential is. What it is worth is the services' business.

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderMap, header::AUTHORIZATION, request::Parts},
};

use inngest_core::access::Actor;
use inngest_services::Error;

use crate::state::AppState;

/// The text of the `Authorization` header. One that is not text counts as one that is worthless, not as none.
pub(crate) fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(AUTHORIZATION)
        .map(|value| value.to_str().unwrap_or("?"))
}

/// The environment that the bearer of a token asks for.
pub(crate) const ENVIRONMENT: &str = "x-inngest-env";

/// Who asks, proved by the `Authorization` header.
pub(crate) async fn actor(state: &AppState, headers: &HeaderMap) -> Result<Actor, Error> {
    let environment = headers
        .get(ENVIRONMENT)
        .and_then(|value| value.to_str().ok());
    let auth = state.services.auth();
    auth.bearer(authorization(headers), environment).await
}

/// The actor of a request, as an extractor. Turned into each surface's own error shape by its handlers.
pub(crate) struct Caller(pub(crate) Result<Actor, Error>);

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    AppState: FromRef<S>,
{
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(
            actor(&AppState::from_ref(state), &parts.headers).await,
        ))
    }
}
