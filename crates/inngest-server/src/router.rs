//! Every route of the server in one place.

use axum::{
    Router,
    http::{Extensions, Method, StatusCode, Uri, header},
    middleware::from_fn_with_state,
    response::{IntoResponse, Redirect, Response},
    routing::{delete, get, post},
};

use inngest_services::Services;

use crate::{
    graphql, health, middleware,
    middleware::RequestId,
    rest,
    rest::problem::{Problem, Shape},
    sdk,
    state::{AppState, ServerSettings},
    v0,
};

/// The whole surface of the server. Unknown paths and wrong methods are answered with problem details.
pub fn router(services: Services, settings: ServerSettings) -> Router {
    let state = AppState::new(services, settings);
    let mut router = Router::new()
        .route("/health", get(health::health))
        .route("/live", get(health::live))
        .route("/ready", get(health::ready))
        .merge(sdk_routes())
        .merge(suite_routes())
        .merge(rest::routes())
        .route(
            "/graphql",
            post(graphql::http::post).get(graphql::http::get),
        )
        .route("/graphql/schema.graphql", get(graphql::http::schema_text));
    if state.settings.v0_gql {
        router = router.route("/v0/gql", post(v0::http::post));
    }
    if state.settings.dev {
        router = router
            .route("/dev", get(sdk::dev::info))
            .route("/", get(|| async { Redirect::to("/graphql") }));
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(state.clone(), middleware::around))
        .with_state(state)
}

/// What a server answers that does other things than answering: whether it is up.
pub fn probes(services: Services, settings: ServerSettings) -> Router {
    let state = AppState::new(services, settings);
    Router::new()
        .route("/health", get(health::health))
        .route("/live", get(health::live))
        .route("/ready", get(health::ready))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(state.clone(), middleware::around))
        .with_state(state)
}

/// `GET /metrics`, for a listener of its own: it asks for no credential. `render` gives the text once the figures are up to date.
pub fn metrics_router(
    services: Services,
    render: impl Fn() -> String + Clone + Send + Sync + 'static,
) -> Router {
    let show = move || {
        let (services, render) = (services.clone(), render.clone());
        async move {
            services.collect_metrics().await;
            (
                [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
                render(),
            )
        }
    };
    Router::new().route("/metrics", get(show))
}

fn sdk_routes() -> Router<AppState> {
    Router::new()
        .route("/e", post(sdk::ingest::without_key))
        .route("/e/", post(sdk::ingest::without_key))
        .route("/e/{key}", post(sdk::ingest::ingest))
        .route("/invoke/{slug}", post(sdk::invoke::invoke))
        .route("/fn/register", post(sdk::register::register))
        .route("/fn/remove", delete(sdk::register::remove))
        .route("/v0/runs/{id}/actions", get(sdk::run_data::actions))
        .route("/v0/runs/{id}/batch", get(sdk::run_data::batch))
        .route("/v0/runs/{id}", delete(sdk::run_data::cancel))
        .route("/v0/telemetry", post(sdk::telemetry))
        .route("/v1/checkpoint/{id}/async", post(sdk::checkpoint::report))
        .route("/v1/http/runs/{id}/async", post(sdk::checkpoint::report))
        .route("/v1/signals", post(sdk::signal::send))
}

fn suite_routes() -> Router<AppState> {
    Router::new()
        .route(
            "/fn/step-limit",
            post(sdk::suites::limit_steps).delete(sdk::suites::restore_steps),
        )
        .route(
            "/fn/state-size-limit",
            post(sdk::suites::limit_state).delete(sdk::suites::restore_state),
        )
        .route("/test/", get(sdk::suites::greet))
        .route("/test/reset", post(sdk::suites::reset))
        .route("/test/function/pause", post(sdk::suites::pause))
        .route("/test/function/runs/cancel", post(sdk::suites::cancel_run))
        .route(
            "/test/queue/function-queue-size",
            get(sdk::suites::queue_size),
        )
}

async fn not_found(uri: Uri, extensions: Extensions) -> Response {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing at this path",
        &RequestId::of(&extensions),
    )
    .shaped(Shape::at(uri.path()))
    .into_response()
}

async fn wrong_method(method: Method, uri: Uri, extensions: Extensions) -> Response {
    let message = format!("this path does not answer to {method}");
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        message,
        &RequestId::of(&extensions),
    )
    .shaped(Shape::at(uri.path()))
    .into_response()
}
