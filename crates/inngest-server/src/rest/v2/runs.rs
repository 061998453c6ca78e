//! Runs under `/v2`.

use schemars::JsonSchema;
use serde::Deserialize;

use inngest_core::{access::Scope, ids::RunId, run::RunStatus};
use inngest_services::{Rerun, RunFilter, RunQuery};

use crate::rest::{
    input::{AnyJson, JsonBody},
    operation::{Ask, Head, Operation},
    problem::Refusal,
    query::{Kind, Param},
    v2::{
        HERE,
        apps::RunIdBody,
        body::{self, RunBody, SpanBody},
        reply::{Data, List},
    },
};

const LIMIT: Param = Param::one("limit", Kind::Limit, "Entries of the page.");
const CURSOR: Param = Param::one(
    "cursor",
    Kind::Text,
    "Where to go on: the cursor of the page before.",
);
const FROM: Param = Param::one("from", Kind::Time, "Only queued at or after this time.");
const UNTIL: Param = Param::one("until", Kind::Time, "Only queued before this time.");
const STATUS: Param = Param::many(
    "status",
    Kind::Word(body::RUN_STATUSES),
    "Only in this state, in any letter case.",
);
const TIME_FIELD: Param = Param::one(
    "timeField",
    Kind::Word(&["queuedAt"]),
    "Which time `from`, `until` and the order are about.",
);
const ORDER: Param = Param::one(
    "order",
    Kind::Word(&["ASC", "DESC"]),
    "Oldest or newest first; newest when omitted.",
);
const OUTPUT: Param = Param::one(
    "includeOutput",
    Kind::Flag,
    "Whether what the runs returned is told.",
);

const LIST: &[Param] = &[
    LIMIT,
    CURSOR,
    FROM,
    UNTIL,
    TIME_FIELD,
    STATUS,
    Param::many(
        "appId",
        Kind::Text,
        "Only of this app, by its id in code or its UUID.",
    ),
    Param::many(
        "functionId",
        Kind::Text,
        "Only of this function of the named apps.",
    ),
    ORDER,
    OUTPUT,
];

const LIST_OF_FUNCTION: &[Param] = &[
    LIMIT, CURSOR, FROM, UNTIL, TIME_FIELD, STATUS, ORDER, OUTPUT,
];

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Head::get("v2ListRuns", "/runs")
            .at(HERE)
            .needs(Scope::RunsRead)
            .told("v2", "Lists runs, newest first.")
            .params(LIST)
            .read(list),
        Head::get(
            "v2ListRunsOfFunction",
            "/apps/{app_id}/functions/{function_id}/runs",
        )
        .at(HERE)
        .needs(Scope::RunsRead)
        .told("v2", "Lists the runs of a function, newest first.")
        .params(LIST_OF_FUNCTION)
        .read(list_of_function),
        Head::get("v2GetRun", "/runs/{run_id}")
            .at(HERE)
            .needs(Scope::RunsRead)
            .told("v2", "Shows a run.")
            .params(&[OUTPUT])
            .read(get),
        Head::get("v2GetTrace", "/runs/{run_id}/trace")
            .at(HERE)
            .needs(Scope::RunsRead)
            .told("v2", "Shows the spans of a run as a tree.")
            .read(trace),
        Head::post("v2CancelRun", "/runs/{run_id}/cancel")
            .at(HERE)
            .needs(Scope::RunsWrite)
            .told(
                "v2",
                "Cancels a run; again is fine. 409 when it ended otherwise.",
            )
            .read(cancel),
        Head::post("v2RerunRun", "/runs/{run_id}/rerun")
            .at(HERE)
            .needs(Scope::RunsWrite)
            .told(
                "v2",
                "Starts a run again, as a whole or from one of its steps.",
            )
            .repeats()
            .write(rerun),
    ]
}

fn query(ask: &Ask) -> RunQuery {
    let params = &ask.params;
    let statuses: Vec<RunStatus> = params
        .all("status")
        .filter_map(body::parse_status)
        .collect();
    RunQuery {
        filter: RunFilter {
            from: params.time("from"),
            until: params.time("until"),
            statuses: (!statuses.is_empty()).then_some(statuses),
            ..RunFilter::default()
        },
        apps: params.texts("appId"),
        functions: params.texts("functionId"),
        ..RunQuery::default()
    }
}

async fn list(ask: Ask) -> Result<List<RunBody>, Refusal> {
    page(&ask, query(&ask)).await
}

async fn list_of_function(ask: Ask) -> Result<List<RunBody>, Refusal> {
    let (app, function) = (ask.part("app_id"), ask.part("function_id"));
    let query = RunQuery {
        of: Some((app.to_owned(), function.to_owned())),
        ..query(&ask)
    };
    page(&ask, query).await
}

async fn page(ask: &Ask, query: RunQuery) -> Result<List<RunBody>, Refusal> {
    let direction = ask.params.direction();
    let page = ask.params.page_of(RunFilter::order(direction));
    let runs = ask.services().runs();
    let found = runs.find(&ask.actor, query, direction, &page).await?;
    let with_output = ask.params.flag("includeOutput").unwrap_or(false);
    Ok(List::found(ask, found, |run| {
        RunBody::new(run, with_output)
    }))
}

async fn get(ask: Ask) -> Result<Data<RunBody>, Refusal> {
    let id: RunId = ask.id("run_id")?;
    let run = ask.services().runs().view(&ask.actor, id).await?;
    let with_output = ask.params.flag("includeOutput").unwrap_or(true);
    Ok(Data(RunBody::new(&run, with_output)))
}

async fn trace(ask: Ask) -> Result<Data<Option<SpanBody>>, Refusal> {
    let id: RunId = ask.id("run_id")?;
    let trace = ask.services().runs().trace(&ask.actor, id).await?;
    Ok(Data(SpanBody::of(&trace)))
}

async fn cancel(ask: Ask) -> Result<Data<RunIdBody>, Refusal> {
    let id: RunId = ask.id("run_id")?;
    let run = ask.services().runs().cancel(&ask.actor, id).await?;
    let run_id = run.id.to_string();
    Ok(Data(RunIdBody { run_id }))
}

/// How to start a run again.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "RerunInputV2")]
struct RerunInput {
    /// The step where it begins; the results before it are kept.
    #[serde(alias = "from_step")]
    from_step: Option<FromStepInput>,
}

/// Where a rerun begins.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "FromStepInputV2")]
struct FromStepInput {
    /// The id of the step in code, or the one that its SDK made of it.
    #[serde(alias = "step_id")]
    step_id: String,
    /// Its arguments in place of those that the code gives it.
    #[schemars(with = "Option<Vec<serde_json::Value>>")]
    input: Option<AnyJson>,
}

async fn rerun(ask: Ask, body: JsonBody<RerunInput>) -> Result<Data<RunIdBody>, Refusal> {
    let id: RunId = ask.id("run_id")?;
    let key = ask.request_key(&body.json)?;
    let runs = ask.services().runs();
    let run = match body.value.from_step {
        None => runs.rerun(&ask.actor, id, Rerun::default(), key).await?,
        Some(FromStepInput { step_id, input }) => {
            let input = input.map(|input| input.0);
            runs.rerun_from(&ask.actor, id, &step_id, input, key)
                .await?
        }
    };
    let run_id = run.id.to_string();
    Ok(Data(RunIdBody { run_id }))
}
