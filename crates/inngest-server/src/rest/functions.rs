//! Functions over REST.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use inngest_core::{access::Scope, ids::AppId, limits, wire::sync::OneFunction};
use inngest_services::{Error, FunctionFilter, FunctionTrigger, Invocation};

use crate::rest::{
    body::{FunctionBody, InvokedBody},
    input::{AnyJson, JsonBody},
    operation::{Ask, Head, Mount, Operation},
    problem::Refusal,
    query::{Kind, Param},
    reply::{Bare, Data, List},
};

const LIMIT: Param = Param::one("limit", Kind::Limit, "Entries of the page.");
const CURSOR: Param = Param::one(
    "cursor",
    Kind::Text,
    "Where to go on: the cursor of the page before.",
);
const ARCHIVED: Param = Param::one(
    "include_archived",
    Kind::Flag,
    "Whether archived functions are listed too.",
);
const NAME: Param = Param::one(
    "name_contains",
    Kind::Text,
    "Only with this in their name or slug, in any letter case.",
);
const EVENT: Param = Param::one(
    "trigger_event",
    Kind::Text,
    "Only those that an event of this name starts, perhaps by a wildcard.",
);
const TRIGGER: Param = Param::many(
    "trigger",
    Kind::Word(&["event", "cron", "invoke"]),
    "Only with such a trigger; `invoke` means with none.",
);

const LIST: &[Param] = &[
    LIMIT,
    CURSOR,
    Param::many("app", Kind::Uuid, "Only of this app."),
    EVENT,
    TRIGGER,
    NAME,
    ARCHIVED,
];

const LIST_OF_APP: &[Param] = &[LIMIT, CURSOR, EVENT, TRIGGER, NAME, ARCHIVED];

/// Operations on functions.
pub(crate) fn operations() -> Vec<Operation> {
    let of_app = Head::get("listFunctionsOfApp", "/apps/{app}/functions").needs(Scope::AppsRead);
    vec![
        Head::get("listFunctions", "/functions")
            .needs(Scope::AppsRead)
            .told("functions", "Lists functions by slug.")
            .params(LIST)
            .read(list),
        of_app
            .told("functions", "Lists the functions of an app by slug.")
            .params(LIST_OF_APP)
            .read(of_app_paged),
        Head {
            id: "listFunctionsOfAppV1",
            ..of_app
        }
        .at(&[Mount::V1])
        .told(
            "functions",
            "Lists the functions of an app by slug; none when there is no such app.",
        )
        .read(of_app_bare),
        Head::post("putFunction", "/functions")
            .needs(Scope::AppsWrite)
            .told(
                "functions",
                "Stores one function of an app that no SDK registers; the other functions of the app stay. Again is fine.",
            )
            .write(put),
        Head::get("getFunction", "/functions/{function}")
            .needs(Scope::AppsRead)
            .told("functions", "Shows a function.")
            .read(get),
        Head::post("invokeFunction", "/functions/{function}/invoke")
            .needs(Scope::EventsSend)
            .told(
                "functions",
                "Starts a run of one function and does not wait for it.",
            )
            .repeats()
            .write(invoke),
    ]
}

fn filter(ask: &Ask) -> Result<FunctionFilter, Refusal> {
    let params = &ask.params;
    let trigger = |word: &str| match word.to_ascii_lowercase().as_str() {
        "cron" => FunctionTrigger::Cron,
        "invoke" => FunctionTrigger::Invoke,
        _ => FunctionTrigger::Event,
    };
    let triggers: Vec<FunctionTrigger> = params.all("trigger").map(trigger).collect();
    Ok(FunctionFilter {
        apps: params.ids::<AppId>("app")?,
        trigger_event: params.get("trigger_event").map(str::to_owned),
        triggers: (!triggers.is_empty()).then_some(triggers),
        is_paused: None,
        with_archived: params.flag("include_archived").unwrap_or(false),
        name_contains: params.get("name_contains").map(str::to_owned),
    })
}

async fn list(ask: Ask) -> Result<List<FunctionBody>, Refusal> {
    page(&ask, None).await
}

async fn of_app_paged(ask: Ask) -> Result<List<FunctionBody>, Refusal> {
    page(&ask, Some(ask.part("app"))).await
}

async fn page(ask: &Ask, app: Option<&str>) -> Result<List<FunctionBody>, Refusal> {
    let (filter, page) = (filter(ask)?, ask.params.page());
    let functions = ask.services().functions();
    let found = functions.views(&ask.actor, app, filter, &page).await?;
    Ok(List::of(ask, found, |function| {
        FunctionBody::new(&ask.actor, function)
    }))
}

/// Clients of that path know no pages, and take an unknown app for one without functions.
async fn of_app_bare(ask: Ask) -> Result<Bare<Vec<FunctionBody>>, Refusal> {
    let functions = ask.services().functions();
    let found = functions.all_views_of(&ask.actor, ask.part("app")).await;
    let found = match found {
        Err(Error::NotFound { .. }) => Vec::new(),
        found => found?,
    };
    let show = |view| FunctionBody::new(&ask.actor, view).with_year_one();
    Ok(Bare(found.iter().map(show).collect()))
}

async fn get(ask: Ask) -> Result<Data<FunctionBody>, Refusal> {
    let functions = ask.services().functions();
    let found = functions.view(&ask.actor, ask.part("function")).await?;
    Ok(Data(FunctionBody::new(&ask.actor, &found)))
}

/// A function to store.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "FunctionInput")]
struct FunctionInput {
    /// The id of its app, which is made with its first function.
    app: String,
    /// Its id within the app.
    id: String,
    /// Its display name; its id when omitted.
    name: Option<String>,
    /// Where the app is called, for example `https://billing.internal/api/inngest`.
    url: String,
    /// What starts it.
    #[schemars(length(min = 1, max = limits::TRIGGERS))]
    triggers: Vec<TriggerInput>,
    /// Attempts after the first one; 3 when omitted.
    #[schemars(range(max = limits::MAX_RETRIES))]
    retries: Option<u32>,
    /// Limits of how many of its steps run at once.
    #[serde(default)]
    concurrency: Vec<ConcurrencyInput>,
    /// An expression over `event`: a second start with an equal value within 24 hours is none.
    idempotency: Option<String>,
}

/// What starts a function: either an event or a schedule.
#[derive(Deserialize, Serialize, JsonSchema)]
#[schemars(rename = "TriggerInput")]
struct TriggerInput {
    /// The name of an event, or a beginning of it and `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    /// A condition over `event`.
    #[serde(skip_serializing_if = "Option::is_none")]
    expression: Option<String>,
    /// A schedule of five fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<String>,
}

/// A limit of how many steps run at once.
#[derive(Deserialize, Serialize, JsonSchema)]
#[schemars(rename = "ConcurrencyInput")]
struct ConcurrencyInput {
    limit: u32,
    /// An expression over `event`: each of its values has a limit of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Among what is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["fn", "env", "account"]))]
    scope: Option<String>,
}

async fn put(ask: Ask, body: JsonBody<FunctionInput>) -> Result<Data<FunctionBody>, Refusal> {
    let input = body.value;
    let one = OneFunction {
        app: input.app,
        id: input.id,
        name: input.name,
        url: input.url,
        triggers: values(&input.triggers),
        retries: input.retries,
        concurrency: values(&input.concurrency),
        idempotency: input.idempotency,
    };
    let stored = ask.services().apps().put_function(&ask.actor, &one).await?;
    Ok(Data(FunctionBody::new(&ask.actor, &stored)))
}

fn values(list: &[impl Serialize]) -> Vec<Value> {
    let value = |one| serde_json::to_value(one).unwrap_or_default();
    list.iter().map(value).collect()
}

/// What to start a function with.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "InvokeInput")]
pub(crate) struct InvokeInput {
    /// Data of the event; empty when omitted.
    #[schemars(with = "Option<Map<String, Value>>")]
    data: Option<AnyJson>,
    /// User of the event.
    #[schemars(with = "Option<Map<String, Value>>")]
    user: Option<AnyJson>,
}

async fn invoke(ask: Ask, body: JsonBody<InvokeInput>) -> Result<Data<InvokedBody>, Refusal> {
    let key = ask.request_key(&body.json)?;
    let invocation = Invocation {
        function: ask.part("function").to_owned(),
        app: None,
        data: body.value.data.map(|data| data.0),
        user: body.value.user.map(|user| user.0),
    };
    let events = ask.services().events();
    let started = events.start(&ask.actor, &invocation, key).await?;
    Ok(Data(InvokedBody::new(started)))
}
