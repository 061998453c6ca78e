//! `inngest runs`.

use serde_json::{Value, json};

use crate::client::{
    args::{Format, RerunArgs, RunFilterArgs, RunsVerb},
    ask, bulk,
    connection::Server,
    documents,
    failure::{Exit, Failure},
    live::Feed,
    output::{Column, Output},
};

/// A run in a list.
pub(super) const LIST: &[Column] = &[
    ("RUN", "/runId"),
    ("STATUS", "/status"),
    ("DOING", "/activity"),
    ("FUNCTION", "/function/slug"),
    ("QUEUED", "/queuedAt"),
    ("TOOK", "/durationMs"),
    ("ERROR", "/error/message"),
];
/// A run that something was done to.
pub(super) const CHANGED: &[Column] = &[
    ("RUN", "/runId"),
    ("STATUS", "/status"),
    ("FUNCTION", "/function/slug"),
    ("QUEUED", "/queuedAt"),
    ("ENDED", "/endedAt"),
];
/// A run as it changes.
pub(super) const WATCHED: &[Column] = &[
    ("AT", "/at"),
    ("RUN", "/run/runId"),
    ("FUNCTION", "/run/function/slug"),
    ("STATUS", "/run/status"),
    ("DOING", "/run/activity"),
    ("NEXT", "/run/nextActivityAt"),
    ("ERROR", "/run/error/message"),
    ("REMOVED", "/removedId"),
];
/// One run.
pub(super) const FACTS: &[Column] = &[
    ("Run", "/runId"),
    ("Function", "/function/slug"),
    ("App", "/app/externalId"),
    ("Status", "/status"),
    ("Doing", "/activity"),
    ("Next", "/nextActivityAt"),
    ("Attempt", "/attempt"),
    ("Started by", "/trigger/kind"),
    ("Event", "/trigger/eventName"),
    ("Cron", "/trigger/cron"),
    ("Rerun of", "/rerunOf/runId"),
    ("Queued", "/queuedAt"),
    ("Started", "/startedAt"),
    ("Ended", "/endedAt"),
    ("Waited", "/queueDelayMs"),
    ("Took", "/durationMs"),
    ("Cancelled by", "/cancel/reason"),
    ("Skipped for", "/skip/reason"),
    ("Error", "/error/message"),
    ("Input", "/input"),
    ("Output", "/output"),
];
/// A step of it.
pub(super) const STEPS: &[Column] = &[
    ("STEP", "/name"),
    ("ID", "/stepId"),
    ("KIND", "/kind"),
    ("STATUS", "/status"),
    ("ATTEMPTS", "/attemptCount"),
    ("STARTED", "/startedAt"),
    ("TOOK", "/durationMs"),
    ("ERROR", "/error/message"),
];
/// What it waits for.
pub(super) const WAITS: &[Column] = &[
    ("KIND", "/kind"),
    ("EVENT", "/eventName"),
    ("SIGNAL", "/signal"),
    ("IF", "/expression"),
    ("UNTIL", "/expiresAt"),
];

pub(super) async fn run(server: &Server, output: &Output, verb: &RunsVerb) -> Result<(), Failure> {
    match verb {
        RunsVerb::List { filter, time, list } => {
            let mut variables = json!({});
            ask::add_times(server, time, &mut variables).await?;
            if !filter.functions.is_empty() {
                variables["functionSlugs"] = json!(filter.functions);
            }
            add_filter(server, filter, &mut variables).await?;
            let path = "/environment/runs";
            let runs = ask::list(server, documents::LIST_RUNS, path, variables, list.limit).await?;
            output.list(&runs, LIST)
        }
        RunsVerb::Get { id } => {
            let run = get(server, id).await?;
            let parts = [("Steps", "/steps/nodes", STEPS), ("Waits", "/waits", WAITS)];
            output.one(&run, FACTS, &parts)
        }
        RunsVerb::Watch { id: Some(id), .. } => watch(server, output, id).await,
        RunsVerb::Watch { id: None, filter } => watch_all(server, output, filter).await,
        RunsVerb::Cancel { ids, bulk } if ids.is_empty() => {
            bulk::begin(server, output, documents::CANCEL_RUNS, bulk, None).await
        }
        RunsVerb::Replay { bulk, rate } => {
            bulk::begin(server, output, documents::CREATE_REPLAY, bulk, *rate).await
        }
        RunsVerb::Cancel { ids, .. } => {
            let mut runs = Vec::new();
            for id in ids {
                let input = json!({"runId": id});
                let payload = ask::change(server, documents::CANCEL_RUN, input).await;
                let mut payload = payload.map_err(|failure| {
                    Failure::new(failure.exit, format!("run {id}: {failure}"))
                })?;
                runs.push(payload["run"].take());
            }
            output.list(&runs, CHANGED)
        }
        RunsVerb::Rerun { id, from, wait } => {
            let input = rerun_of(server, id, from).await?;
            let payload = ask::change(server, documents::RERUN_RUN, input).await?;
            started(server, output, &payload["run"], *wait).await
        }
        RunsVerb::Signal { signal, data, wait } => {
            let data = data.as_deref().map(|data| ask::value("data", data));
            let data = data.transpose()?.unwrap_or_default();
            let (environment, _) = ask::environment(server).await?;
            let input = json!({"environmentId": environment, "signal": signal, "data": data});
            let payload = ask::change(server, documents::SEND_SIGNAL, input).await?;
            if payload["delivered"] != true {
                let message = format!("no run waits for the signal `{signal}`");
                return Err(Failure::new(Exit::NotFound, message));
            }
            started(server, output, &payload["run"], *wait).await
        }
    }
}

/// Prints a run that has just been started, or its changes until its end.
pub(super) async fn started(
    server: &Server,
    output: &Output,
    run: &Value,
    wait: bool,
) -> Result<(), Failure> {
    match run["id"].as_str() {
        Some(id) if wait => watch(server, output, id).await,
        _ => output.list(std::slice::from_ref(run), CHANGED),
    }
}

/// What to ask for to start a run again.
async fn rerun_of(server: &Server, id: &str, args: &RerunArgs) -> Result<Value, Failure> {
    let mut input = json!({"runId": id});
    if let Some(wanted) = &args.from_step {
        let run = get(server, id).await?;
        let mut step = json!({"stepId": step_of(&run, wanted)?});
        if let Some(given) = &args.input {
            step["input"] = ask::value("input", given)?;
        }
        input["from"] = json!({"step": step});
    }
    if let Some(given) = &args.data {
        input["from"] = json!({"event": {"data": ask::value("data", given)?}});
    }
    if args.original_version {
        input["functionVersion"] = json!("ORIGINAL");
    }
    Ok(input)
}

/// The hashed id of the step of a run that is called like that, by its id or by its name.
fn step_of<'a>(run: &'a Value, wanted: &str) -> Result<&'a str, Failure> {
    let steps = run["steps"]["nodes"].as_array().into_iter().flatten();
    let text = |step: &'a Value, name: &str| step[name].as_str().unwrap_or_default();
    let found = steps.filter(|step| [text(step, "stepId"), text(step, "name")].contains(&wanted));
    let found: Vec<&str> = found.map(|step| text(step, "stepId")).collect();
    match found.as_slice() {
        [step] => Ok(step),
        [] => Err(Failure::not_found("step", wanted)),
        several => Err(Failure::usage(format!(
            "{} steps are called `{wanted}`; give the id of one of them: {}",
            several.len(),
            several.join(", ")
        ))),
    }
}

/// The run with all its steps.
async fn get(server: &Server, id: &str) -> Result<Value, Failure> {
    let mut variables = json!({"id": id});
    let mut whole: Option<Value> = None;
    loop {
        let mut data = server.ask(documents::GET_RUN, variables.clone()).await?;
        let mut run = data["run"].take();
        if run.is_null() {
            return Err(Failure::not_found("run", id));
        }
        let info = run["steps"]["pageInfo"].take();
        let page = run["steps"]["nodes"].take();
        let run = whole.get_or_insert(run);
        match (&mut run["steps"]["nodes"], page) {
            (Value::Array(steps), Value::Array(more)) => steps.extend(more),
            (steps, page) => *steps = page,
        }
        if info["hasNextPage"] != true {
            if let Some(steps) = run["steps"].as_object_mut() {
                steps.remove("pageInfo");
            }
            return Ok(run.take());
        }
        variables["afterStep"] = info["endCursor"].clone();
    }
}

/// Prints the changes of one run until its end.
///
/// # Errors
/// `EndedBadly` when it failed or was cancelled.
pub(super) async fn watch(server: &Server, output: &Output, id: &str) -> Result<(), Failure> {
    let variables = json!({"runId": id, "after": null});
    let mut feed = Feed::open(server, documents::WATCH_RUN, variables).await?;
    let mut last = Value::Null;
    while let Some(message) = feed.next().await? {
        if message["run"].is_null() {
            continue;
        }
        // `ENDED` repeats the state that was just told.
        if message["run"] != last {
            output.change(&message, &message, WATCHED)?;
            last = message["run"].clone();
        }
    }
    if last.is_null() {
        return Err(Failure::not_found("run", id));
    }
    if output.format == Format::Json {
        output.one(&last, &[], &[])?;
    }
    match last["status"].as_str() {
        Some("FAILED" | "CANCELLED") => {
            let status = last["status"].as_str().unwrap_or_default().to_lowercase();
            let reason = last["error"]["message"]
                .as_str()
                .unwrap_or("no reason given");
            let message = format!("the run is {status}: {reason}");
            Err(Failure::new(Exit::EndedBadly, message))
        }
        _ => Ok(()),
    }
}

/// Prints the changes of all runs that match, until it is stopped.
async fn watch_all(
    server: &Server,
    output: &Output,
    filter: &RunFilterArgs,
) -> Result<(), Failure> {
    if output.format == Format::Json {
        return Err(Failure::usage(
            "a watch without end has no one JSON value; use --jsonl",
        ));
    }
    let (environment, _) = ask::environment(server).await?;
    let mut wanted = json!({});
    add_filter(server, filter, &mut wanted).await?;
    if !filter.functions.is_empty() {
        let mut ids = Vec::new();
        for function in &filter.functions {
            ids.push(ask::function_id(server, function).await?);
        }
        wanted["functionIds"] = json!(ids);
    }
    let variables = json!({"environmentId": environment, "filter": wanted, "after": null});
    let mut feed = Feed::open(server, documents::WATCH_RUNS, variables).await?;
    while let Some(message) = feed.next().await? {
        match message["kind"].as_str() {
            Some("READY") => tracing::info!("watching"),
            Some("RESET") => {
                tracing::warn!(
                    "some changes were missed; `inngest runs list` shows the present state"
                );
            }
            _ => output.change(&message, &message, WATCHED)?,
        }
    }
    Ok(())
}

async fn add_filter(
    server: &Server,
    filter: &RunFilterArgs,
    variables: &mut Value,
) -> Result<(), Failure> {
    if !filter.status.is_empty() {
        let words: Vec<_> = filter.status.iter().map(|status| status.word()).collect();
        variables["statuses"] = json!(words);
    }
    if !filter.apps.is_empty() {
        variables["appIds"] = json!(ask::app_ids(server, &filter.apps).await?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_is_found_by_its_id_or_by_a_name_that_only_it_has() {
        let step = |id: &str, name: &str| json!({"stepId": id, "name": name});
        let run = json!({"steps": {"nodes": [step("a1", "pay"), step("b2", "ship"), step("c3", "ship")]}});
        let told = |wanted: &str| step_of(&run, wanted).map_err(|failure| failure.exit);
        assert_eq!(told("pay"), Ok("a1"));
        assert_eq!(told("c3"), Ok("c3"));
        assert_eq!(told("ship"), Err(Exit::Usage));
        assert_eq!(told("none"), Err(Exit::NotFound));
    }
}
