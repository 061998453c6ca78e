//! Apps and functions under `/v2`.

use axum::response::Response;
use http::StatusCode;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use inngest_core::access::Scope;
use inngest_services::{AppFilter, FunctionFilter, Invocation, RequestKey};

use crate::rest::{
    input::{AnyJson, JsonBody},
    operation::{Ask, Asked, Head, Operation},
    problem::Refusal,
    reply::Reply,
    v2::{
        HERE, PAGE,
        body::{AppBody, FunctionBody},
        reply::{Data, List},
    },
};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Head::get("v2GetHealth", "/health")
            .at(HERE)
            .told("v2", "Tells that the server answers.")
            .read(health),
        Head::get("v2ListApps", "/apps")
            .at(HERE)
            .needs(Scope::AppsRead)
            .told("v2", "Lists apps by name.")
            .params(PAGE)
            .read(list),
        Head::get("v2GetApp", "/apps/{app_id}")
            .at(HERE)
            .needs(Scope::AppsRead)
            .told("v2", "Shows an app.")
            .read(get),
        Head::get("v2ListFunctions", "/apps/{app_id}/functions")
            .at(HERE)
            .needs(Scope::AppsRead)
            .told("v2", "Lists the functions of an app.")
            .params(PAGE)
            .read(functions),
        Head::get("v2GetFunction", "/apps/{app_id}/functions/{function_id}")
            .at(HERE)
            .needs(Scope::AppsRead)
            .told("v2", "Shows a function.")
            .read(function),
        Head::post(
            "v2InvokeFunction",
            "/apps/{app_id}/functions/{function_id}/invoke",
        )
        .at(HERE)
        .needs(Scope::EventsSend)
        .told(
            "v2",
            "Starts a run of one function and does not wait for it.",
        )
        .repeats()
        .write(invoke),
    ]
}

/// That the server answers.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "HealthV2")]
struct HealthBody {
    status: &'static str,
}

async fn health(_: Ask) -> Result<Data<HealthBody>, Refusal> {
    Ok(Data(HealthBody { status: "ok" }))
}

async fn list(ask: Ask) -> Result<List<AppBody>, Refusal> {
    let (page, apps) = (ask.params.page(), ask.services().apps());
    let found = apps.page(&ask.actor, &AppFilter::default(), &page).await?;
    Ok(List::of(&ask, found, AppBody::new))
}

async fn get(ask: Ask) -> Result<Data<AppBody>, Refusal> {
    let apps = ask.services().apps();
    let app = apps.find(&ask.actor, ask.part("app_id")).await?;
    Ok(Data(AppBody::new(&app)))
}

async fn functions(ask: Ask) -> Result<List<FunctionBody>, Refusal> {
    let (page, functions) = (ask.params.page(), ask.services().functions());
    let (app, filter) = (Some(ask.part("app_id")), FunctionFilter::default());
    let found = functions.views(&ask.actor, app, filter, &page).await?;
    Ok(List::of(&ask, found, FunctionBody::new))
}

async fn function(ask: Ask) -> Result<Data<FunctionBody>, Refusal> {
    let functions = ask.services().functions();
    let (app, function) = (ask.part("app_id"), ask.part("function_id"));
    let found = functions.view_of(&ask.actor, app, function).await?;
    Ok(Data(FunctionBody::new(&found)))
}

/// What to start a function with.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "InvokeInputV2")]
struct InvokeInput {
    /// Data of the event.
    #[schemars(with = "Map<String, Value>")]
    data: AnyJson,
    /// Within 24 hours a second request with this key and the same data starts nothing: it is 409 with the run of the first. In the
    /// header the same key is a 200 then; the one in the body counts where there are both.
    #[serde(alias = "idempotency_key")]
    #[schemars(length(min = 1, max = 255))]
    idempotency_key: Option<String>,
}

/// The run that was started.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RunIdV2")]
pub(super) struct RunIdBody {
    pub(super) run_id: String,
}

/// What an invocation has led to. Clients of that path know 409 for a key of the body that was used before.
struct Invoked {
    run: Data<RunIdBody>,
    is_repeated: bool,
}

impl Reply for Invoked {
    const MEANING: &'static str = "The run.";
    const REPEATED: Option<StatusCode> = Some(StatusCode::CONFLICT);

    fn schema(generator: &mut SchemaGenerator) -> Option<Value> {
        Data::<RunIdBody>::schema(generator)
    }

    fn answer(self, asked: &Asked) -> Response {
        let mut response = self.run.answer(asked);
        if self.is_repeated {
            *response.status_mut() = StatusCode::CONFLICT;
        }
        response
    }
}

async fn invoke(ask: Ask, body: JsonBody<InvokeInput>) -> Result<Invoked, Refusal> {
    let (data, own) = (body.value.data.0, body.value.idempotency_key);
    let key = match &own {
        Some(own) => Some(ask.named(own, &data)?),
        None => ask.request_key(&body.json)?,
    };
    let invocation = Invocation {
        function: ask.part("function_id").to_owned(),
        app: Some(ask.part("app_id").to_owned()),
        user: None,
        data: Some(data),
    };
    let events = ask.services().events();
    let started = events.start(&ask.actor, &invocation, key.clone()).await?;
    let run_id = started.run.map_or_else(String::new, |run| run.to_string());
    Ok(Invoked {
        run: Data(RunIdBody { run_id }),
        is_repeated: own.is_some() && key.as_ref().is_some_and(RequestKey::is_repeated),
    })
}
