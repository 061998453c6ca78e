//! Functions over REST.

use axum::{
    Json,
    extract::{Path, State},
};
use http::Extensions;

use inngest_core::access::Actor;
use inngest_services::Error;

use crate::{
    auth::Caller,
    middleware::RequestId,
    rest::{
        body::{Envelope, FunctionBody},
        problem::Problem,
    },
    state::AppState,
};

/// `GET /v1/apps/{name}/functions`: a bare list; an unknown app has none.
pub(crate) async fn of_app_bare(
    State(state): State<AppState>,
    Caller(actor): Caller,
    Path(name): Path<String>,
    extensions: Extensions,
) -> Result<Json<Vec<FunctionBody>>, Problem> {
    let found = of_app(&state, actor, &name)
        .await
        .map_err(|error| Problem::of(&error, &RequestId::of(&extensions)))?;
    Ok(Json(
        found
            .unwrap_or_default()
            .into_iter()
            .map(FunctionBody::with_year_one)
            .collect(),
    ))
}

/// `GET /api/v1/apps/{name}/functions`: in an envelope; an unknown app is 404.
pub(crate) async fn of_app_enveloped(
    State(state): State<AppState>,
    Caller(actor): Caller,
    Path(name): Path<String>,
    extensions: Extensions,
) -> Result<Json<Envelope<Vec<FunctionBody>>>, Problem> {
    let found = of_app(&state, actor, &name).await.and_then(|found| {
        found.ok_or(Error::NotFound {
            what: "app",
            id: name,
        })
    });
    let data = found.map_err(|error| Problem::of(&error, &RequestId::of(&extensions)))?;
    Ok(Json(Envelope::of(data, state.services.clock().now())))
}

async fn of_app(
    state: &AppState,
    actor: Result<Actor, Error>,
    name: &str,
) -> Result<Option<Vec<FunctionBody>>, Error> {
    let actor = actor?;
    let apps = state.services.apps().list(&actor).await?;
    let Some(app) = apps.into_iter().find(|app| app.name == name) else {
        return Ok(None);
    };
    let functions = state
        .services
        .functions()
        .list(&actor, Some(app.id), false)
        .await?;
    Ok(Some(
        functions
            .iter()
            .map(|function| FunctionBody::new(&actor, &app, function))
            .collect(),
    ))
}
