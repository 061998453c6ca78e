//! Runs over REST.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use inngest_core::{
    access::Scope,
    ids::{AppId, EventId, FunctionId, RunId, StepId},
    json::Json,
    run::RerunFrom,
};
use inngest_services::{Beginning, Error, Rerun, RerunVersion, RunFilter, RunQuery, TimeSpan};

use crate::rest::{
    body::{self, RunBody, StepBody, TraceBody},
    input::{AnyJson, JsonBody},
    operation::{Ask, Head, Mount, Operation},
    problem::Refusal,
    query::{Kind, Param, Params},
    reply::{Data, EmptyOk, List, NoContent},
};

const LIMIT: Param = Param::one("limit", Kind::Limit, "Entries of the page.");
const CURSOR: Param = Param::one(
    "cursor",
    Kind::Text,
    "Where to go on: the cursor of the page before.",
);

/// The words of a status that are understood.
const STATUSES: &[&str] = &[
    "Scheduled",
    "Queued",
    "Running",
    "Completed",
    "Failed",
    "Cancelled",
    "Skipped",
];

const LIST: &[Param] = &[
    LIMIT,
    CURSOR,
    Param::one(
        "order",
        Kind::Word(&["asc", "desc"]),
        "Oldest or newest first; newest when omitted.",
    ),
    Param::one("from", Kind::Time, "Only queued at or after this time."),
    Param::one("until", Kind::Time, "Only queued before this time."),
    Param::many(
        "status",
        Kind::Word(STATUSES),
        "Only in this state, in any letter case; `Queued` means `Scheduled`.",
    ),
    Param::many("app", Kind::Uuid, "Only of this app."),
    Param::many("function", Kind::Uuid, "Only of this function."),
    Param::many(
        "function_slug",
        Kind::Text,
        "Only of the function of this slug.",
    ),
    Param::one(
        "function_version",
        Kind::Count,
        "Only of this version; needs exactly one function.",
    ),
    Param::many("run", Kind::Ulid, "Only this run."),
    Param::many("event", Kind::Ulid, "Only started by this event."),
    Param::many(
        "event_name",
        Kind::Text,
        "Only started by an event of this name.",
    ),
    Param::many(
        "trigger",
        Kind::Word(body::TRIGGERS),
        "Only started in this way.",
    ),
    Param::one(
        "has_error",
        Kind::Flag,
        "Only with, or only without, an error.",
    ),
    Param::one(
        "min_duration_ms",
        Kind::Count,
        "Only that took at least so long.",
    ),
    Param::one(
        "max_duration_ms",
        Kind::Count,
        "Only that took at most so long.",
    ),
    Param::one(
        "search",
        Kind::Text,
        "Only those for which this expression over `event`, `output`, `error` and `run` holds.",
    ),
];

/// Operations on runs.
pub(crate) fn operations() -> Vec<Operation> {
    let get_run = Head::get("getRun", "/runs/{run}")
        .at(&[Mount::Api, Mount::V1])
        .needs(Scope::RunsRead)
        .told("runs", "Shows a run.");
    let cancel_run = Head::delete("deleteRun", "/runs/{run}").needs(Scope::RunsWrite);
    vec![
        Head::get("listRuns", "/runs")
            .needs(Scope::RunsRead)
            .told("runs", "Lists runs, newest first.")
            .params(LIST)
            .read(list),
        get_run.read(get),
        cancel_run
            .told(
                "runs",
                "Cancels a run; again is fine. 409 when it ended otherwise.",
            )
            .read(delete),
        Head {
            id: "deleteRunV1",
            ..cancel_run
        }
        .at(&[Mount::V1])
        .told("runs", "Cancels a run, if it has not ended.")
        .read(delete_v1),
        Head::post("cancelRun", "/runs/{run}/cancel")
            .needs(Scope::RunsWrite)
            .told(
                "runs",
                "Cancels a run and shows it; again is fine. 409 when it ended otherwise.",
            )
            .read(cancel),
        Head::post("rerunRun", "/runs/{run}/rerun")
            .needs(Scope::RunsWrite)
            .told(
                "runs",
                "Starts a run again: as a whole, from one of its steps, or with other data.",
            )
            .repeats()
            .write(rerun),
        Head::get("listSteps", "/runs/{run}/steps")
            .needs(Scope::RunsRead)
            .told(
                "runs",
                "Lists the steps of a run: those that have ended in that order, then the others.",
            )
            .params(&[LIMIT, CURSOR])
            .read(steps),
        Head::get("getTrace", "/runs/{run}/trace")
            .needs(Scope::RunsRead)
            .told("runs", "Shows the spans of a run.")
            .read(trace),
    ]
}

/// The runs that these parameters ask for.
fn query(ask: &Ask) -> Result<RunQuery, Refusal> {
    let params: &Params = &ask.params;
    let statuses = words(params, "status", body::parse_status);
    let millis = |name| {
        let count = params.count(name);
        count.map(|count| Duration::from_millis(count.into()))
    };
    Ok(RunQuery {
        filter: RunFilter {
            from: params.time("from"),
            until: params.time("until"),
            started: TimeSpan::default(),
            ended: TimeSpan::default(),
            statuses,
            functions: params.ids::<FunctionId>("function")?,
            apps: params.ids::<AppId>("app")?,
            runs: params.ids::<RunId>("run")?,
            events: params.ids::<EventId>("event")?,
            event_names: params.texts("event_name"),
            triggers: words(params, "trigger", body::parse_trigger),
            function_version: params.count("function_version"),
            replay: None,
            has_error: params.flag("has_error"),
            min_duration: millis("min_duration_ms"),
            max_duration: millis("max_duration_ms"),
            now: ask.services().clock().now(),
        },
        slugs: params.texts("function_slug"),
        search: params.get("search").map(str::to_owned),
        ..RunQuery::default()
    })
}

/// What the words of a parameter mean, each of which is known; none when there is none, which says nothing.
fn words<T>(params: &Params, name: &str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let meant: Vec<T> = params.all(name).filter_map(read).collect();
    (!meant.is_empty()).then_some(meant)
}

async fn list(ask: Ask) -> Result<List<RunBody>, Refusal> {
    let direction = ask.params.direction();
    let page = ask.params.page_of(RunFilter::order(direction));
    let (query, runs) = (query(&ask)?, ask.services().runs());
    let found = runs.find(&ask.actor, query, direction, &page).await?;
    Ok(List::found(&ask, found, |run| {
        RunBody::new(&ask.actor, run)
    }))
}

async fn get(ask: Ask) -> Result<Data<RunBody>, Refusal> {
    let id: RunId = ask.id("run")?;
    let run = ask.services().runs().view(&ask.actor, id).await?;
    Ok(Data(RunBody::new(&ask.actor, &run)))
}

async fn delete(ask: Ask) -> Result<NoContent, Refusal> {
    let id: RunId = ask.id("run")?;
    ask.services().runs().cancel(&ask.actor, id).await?;
    Ok(NoContent)
}

/// Clients of that path expect success for a run that has ended by itself.
async fn delete_v1(ask: Ask) -> Result<EmptyOk, Refusal> {
    let id: RunId = ask.id("run")?;
    match ask.services().runs().cancel(&ask.actor, id).await {
        Ok(_) | Err(Error::RunEnded { .. }) => Ok(EmptyOk),
        Err(error) => Err(error.into()),
    }
}

async fn cancel(ask: Ask) -> Result<Data<RunBody>, Refusal> {
    let id: RunId = ask.id("run")?;
    let run = ask.services().runs().cancel_view(&ask.actor, id).await?;
    Ok(Data(RunBody::new(&ask.actor, &run)))
}

/// How to start a run again.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "RerunInput")]
pub(crate) struct RerunInput {
    /// The step where it begins; the results before it are kept.
    from_step: Option<FromStepInput>,
    /// Data for its first event in place of the old; not together with `from_step`.
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    data: Option<AnyJson>,
    /// Which version of the function decides how it is scheduled; `latest` when omitted.
    function_version: Option<VersionWord>,
}

/// Where a rerun begins.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "FromStepInput")]
struct FromStepInput {
    /// The id of the step.
    step_id: String,
    /// Its arguments in place of those that the code gives it.
    #[schemars(with = "Option<Vec<serde_json::Value>>")]
    input: Option<AnyJson>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "RerunVersion")]
enum VersionWord {
    Latest,
    Original,
}

impl RerunInput {
    fn into_rerun(self) -> Result<Rerun, Refusal> {
        let from = match (self.from_step, self.data) {
            (None, None) => Beginning::Start,
            (None, Some(data)) => Beginning::Data(data.0),
            (Some(from), None) => Beginning::Step(RerunFrom {
                step: StepId::parse(&from.step_id)?,
                input: from.input.map(|input| input.0).filter(is_given),
            }),
            (Some(_), Some(_)) => {
                let message = "a rerun begins at a step or with other data, not with both";
                return Err(Refusal::Service(Error::Invalid {
                    code: "rerun_ambiguous",
                    message: message.to_owned(),
                }));
            }
        };
        let version = match self.function_version {
            None | Some(VersionWord::Latest) => RerunVersion::Latest,
            Some(VersionWord::Original) => RerunVersion::Original,
        };
        Ok(Rerun { from, version })
    }
}

/// Null says nothing.
fn is_given(json: &Json) -> bool {
    !json.is_null()
}

async fn rerun(ask: Ask, body: JsonBody<RerunInput>) -> Result<Data<RunBody>, Refusal> {
    let id: RunId = ask.id("run")?;
    let key = ask.request_key(&body.json)?;
    let (rerun, runs) = (body.value.into_rerun()?, ask.services().runs());
    let run = runs.rerun_view(&ask.actor, id, rerun, key).await?;
    Ok(Data(RunBody::new(&ask.actor, &run)))
}

async fn steps(ask: Ask) -> Result<List<StepBody>, Refusal> {
    let id: RunId = ask.id("run")?;
    let (page, runs) = (ask.params.page(), ask.services().runs());
    let found = runs.page_steps(&ask.actor, id, &page).await?;
    Ok(List::of(&ask, found, StepBody::new))
}

async fn trace(ask: Ask) -> Result<Data<TraceBody>, Refusal> {
    let id: RunId = ask.id("run")?;
    let trace = ask.services().runs().trace(&ask.actor, id).await?;
    Ok(Data(TraceBody::new(&trace)))
}
