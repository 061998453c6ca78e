//! `/fn/step-limit`, `/fn/state-size-limit` and `/test/…`: what test suites that were written for the reference server ask for. Every
//! route exists always, and is refused where the settings do not allow it.

use std::str::FromStr;

use axum::{
    Json,
    extract::{Query, Request, State},
};
use http::{StatusCode, Uri};
use serde_json::{Value, json};

use inngest_core::{
    access::Actor,
    ids::{FunctionId, RunId},
};
use inngest_services::RunLimit;

use crate::{auth::Caller, sdk::error::SdkError, state::AppState};

/// Longest form.
const FORM_BYTES: usize = 4_096;

/// `POST /fn/step-limit`
pub(crate) async fn limit_steps(
    State(state): State<AppState>,
    Caller(actor): Caller,
    request: Request,
) -> Result<StatusCode, SdkError> {
    set(&state, &actor?, request, RunLimit::Steps).await
}

/// `DELETE /fn/step-limit`
pub(crate) async fn restore_steps(
    State(state): State<AppState>,
    Caller(actor): Caller,
    uri: Uri,
) -> Result<StatusCode, SdkError> {
    restore(&state, &actor?, &uri, RunLimit::Steps).await
}

/// `POST /fn/state-size-limit`
pub(crate) async fn limit_state(
    State(state): State<AppState>,
    Caller(actor): Caller,
    request: Request,
) -> Result<StatusCode, SdkError> {
    set(&state, &actor?, request, RunLimit::StateBytes).await
}

/// `DELETE /fn/state-size-limit`
pub(crate) async fn restore_state(
    State(state): State<AppState>,
    Caller(actor): Caller,
    uri: Uri,
) -> Result<StatusCode, SdkError> {
    restore(&state, &actor?, &uri, RunLimit::StateBytes).await
}

async fn set(
    state: &AppState,
    actor: &Actor,
    request: Request,
    limit: RunLimit,
) -> Result<StatusCode, SdkError> {
    let suites = state.services.suites()?;
    let form = Form::read(state, request).await?;
    let (function, most) = (form.value("functionId")?, form.value("limit")?);
    suites.limit(actor, function, limit, Some(most)).await?;
    Ok(StatusCode::OK)
}

async fn restore(
    state: &AppState,
    actor: &Actor,
    uri: &Uri,
    limit: RunLimit,
) -> Result<StatusCode, SdkError> {
    let suites = state.services.suites()?;
    let function = Form::of(uri)?.value("functionId")?;
    suites.limit(actor, function, limit, None).await?;
    Ok(StatusCode::OK)
}

/// `GET /test/`: whether the routes below may be used.
pub(crate) async fn greet(
    State(state): State<AppState>,
    Caller(actor): Caller,
) -> Result<&'static str, SdkError> {
    let actor = actor?;
    state.services.suites()?.greet(&actor)?;
    Ok("OK")
}

/// `POST /test/reset`: ends all runs of the environment.
pub(crate) async fn reset(
    State(state): State<AppState>,
    Caller(actor): Caller,
) -> Result<&'static str, SdkError> {
    let actor = actor?;
    state.services.suites()?.reset(&actor).await?;
    Ok("ok")
}

/// `POST /test/function/runs/cancel`: ends the run `runId` of the function `fnId`. The credential says whose it is, and not `accountId`.
pub(crate) async fn cancel_run(
    State(state): State<AppState>,
    Caller(actor): Caller,
    uri: Uri,
) -> Result<&'static str, SdkError> {
    let actor = actor?;
    let (suites, form) = (state.services.suites()?, Form::of(&uri)?);
    let (function, run) = (
        form.value::<FunctionId>("fnId")?,
        form.value::<RunId>("runId")?,
    );
    suites.cancel(&actor, function, run).await?;
    Ok("OK")
}

/// `POST /test/function/pause`: pauses the function `fnId`.
pub(crate) async fn pause(
    State(state): State<AppState>,
    Caller(actor): Caller,
    uri: Uri,
) -> Result<&'static str, SdkError> {
    let actor = actor?;
    let (suites, form) = (state.services.suites()?, Form::of(&uri)?);
    suites.pause(&actor, form.value("fnId")?).await?;
    Ok("OK")
}

/// `GET /test/queue/function-queue-size`: how much the runs of the function `fnId` have left to do.
pub(crate) async fn queue_size(
    State(state): State<AppState>,
    Caller(actor): Caller,
    uri: Uri,
) -> Result<Json<Value>, SdkError> {
    let actor = actor?;
    let (suites, form) = (state.services.suites()?, Form::of(&uri)?);
    let count = suites.work_left(&actor, form.value("fnId")?).await?;
    Ok(Json(json!({"count": count})))
}

/// The fields of a request: of its query, and of its body, which may be a form.
struct Form(Vec<(String, String)>);

impl Form {
    fn of(uri: &Uri) -> Result<Self, SdkError> {
        let Query(fields) = Query::try_from_uri(uri).map_err(|_| unreadable("query"))?;
        Ok(Self(fields))
    }

    async fn read(state: &AppState, request: Request) -> Result<Self, SdkError> {
        let (parts, body) = request.into_parts();
        let Self(mut fields) = Self::of(&parts.uri)?;
        let body = state.bodies.read(&parts.headers, body, FORM_BYTES).await?;
        let of_body = std::str::from_utf8(&body)
            .ok()
            .and_then(|text| format!("/?{text}").parse::<Uri>().ok())
            .and_then(|uri| Query::<Vec<(String, String)>>::try_from_uri(&uri).ok())
            .ok_or_else(|| unreadable("body"))?;
        fields.extend(of_body.0);
        Ok(Self(fields))
    }

    /// The value of a field, read.
    fn value<T: FromStr>(&self, name: &str) -> Result<T, SdkError> {
        let found = self.0.iter().find(|(field, _)| field == name);
        let value = found.and_then(|(_, value)| value.parse().ok());
        value.ok_or_else(|| {
            let message = format!("the form needs a field `{name}` with an id or a number");
            SdkError::new(StatusCode::BAD_REQUEST, "invalid_form", message)
        })
    }
}

fn unreadable(what: &str) -> SdkError {
    let message = format!("the {what} is not a form");
    SdkError::new(StatusCode::BAD_REQUEST, "invalid_form", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_what_they_must_be() {
        let form = Form::of(&"/x?limit=7&a=1%202&limit=8".parse().unwrap()).unwrap();
        assert_eq!(form.value::<usize>("limit").unwrap(), 7);
        assert_eq!(form.value::<String>("a").unwrap(), "1 2");
        for (name, message) in [("a", "`a`"), ("none", "`none`")] {
            let refused = form.value::<usize>(name).unwrap_err();
            assert_eq!(
                (refused.status, refused.code),
                (StatusCode::BAD_REQUEST, "invalid_form")
            );
            assert!(refused.message.contains(message));
        }
        assert!(Form::of(&"/x".parse().unwrap()).unwrap().0.is_empty());
    }
}
