//! What steps ask for, by kind.

use async_graphql::{ComplexObject, Context, Error, ID, SimpleObject, Union};

use inngest_core::{
    ids::EventId,
    json::Json,
    run::{StepDetails, StepRecord},
    wire::finish,
};

use crate::graphql::{
    ids::GlobalId,
    loaders::load,
    objects::{event::EventObject, function::FunctionObject, run::RunObject, step::SEND_EVENT},
    related::{BySlug, FirstRunOf},
    scalars::{CelExpression, DateTime, UrlText},
};

/// Facts that depend on the kind of step.
#[derive(Union)]
#[graphql(name = "StepDetails")]
pub(crate) enum StepDetailsUnion {
    Run(RunStepDetails),
    SendEvent(SendEventStepDetails),
    Sleep(SleepStepDetails),
    Event(WaitForEventStepDetails),
    Signal(WaitForSignalStepDetails),
    Invoke(InvokeStepDetails),
    Gateway(GatewayStepDetails),
}

/// Facts about a step that runs code.
#[derive(SimpleObject)]
pub(crate) struct RunStepDetails {
    /// Subtype given by the SDK, for example step.ai.wrap.
    subtype: String,
}

/// Facts about a step that sends events.
#[derive(SimpleObject)]
pub(crate) struct SendEventStepDetails {
    /// Events that were sent; empty before the end and on failure.
    event_ids: Vec<ID>,
}

/// Facts about a sleep.
#[derive(SimpleObject)]
pub(crate) struct SleepStepDetails {
    /// When it ends.
    until: DateTime,
}

/// Facts about a wait for an event.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct WaitForEventStepDetails {
    /// Event name.
    event_name: String,
    /// Condition; null when there is none, or it is longer than 8 KiB.
    expression: Option<CelExpression>,
    /// When it gives up.
    timeout_at: DateTime,
    /// Null while waiting, and when the run was cancelled first.
    timed_out: Option<bool>,
    #[graphql(skip)]
    matched: Option<EventId>,
}

/// Facts about a wait for a signal.
#[derive(SimpleObject)]
pub(crate) struct WaitForSignalStepDetails {
    /// Signal name.
    signal: String,
    /// When it gives up.
    timeout_at: DateTime,
    /// Null while waiting, and when the run was cancelled first.
    timed_out: Option<bool>,
}

/// Facts about an invoke step.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct InvokeStepDetails {
    /// Target, as the app named it.
    function_slug: String,
    /// When it gives up.
    timeout_at: DateTime,
    /// Null while waiting, and when the run was cancelled first.
    timed_out: Option<bool>,
    #[graphql(skip)]
    triggering: EventId,
    #[graphql(skip)]
    returned: Option<EventId>,
}

/// Facts about a request made by the server.
#[derive(SimpleObject)]
pub(crate) struct GatewayStepDetails {
    /// Target without credentials, query and fragment.
    url: UrlText,
    /// HTTP method.
    method: String,
    /// HTTP status of the answer.
    status_code: Option<i32>,
}

impl StepDetailsUnion {
    /// None for code that the SDK has no name for, and for steps stored before this was kept.
    pub(crate) fn of(step: &StepRecord) -> Option<Self> {
        let wait = step.wait();
        let timed_out = wait.as_ref().and_then(|wait| wait.status.timed_out());
        let ended_by = wait.and_then(|wait| wait.ended_by);
        Some(match step.details.clone()? {
            StepDetails::Code { sort } if sort == SEND_EVENT => {
                Self::SendEvent(SendEventStepDetails {
                    event_ids: step.output().as_ref().map(sent).unwrap_or_default(),
                })
            }
            StepDetails::Code { sort } => Self::Run(RunStepDetails { subtype: sort }),
            StepDetails::Sleep { until } => Self::Sleep(SleepStepDetails {
                until: DateTime(until),
            }),
            StepDetails::Event {
                name,
                expression,
                until,
            } => Self::Event(WaitForEventStepDetails {
                event_name: name,
                expression: expression.map(CelExpression),
                timeout_at: DateTime(until),
                timed_out,
                matched: ended_by,
            }),
            StepDetails::Signal { name, until } => Self::Signal(WaitForSignalStepDetails {
                signal: name,
                timeout_at: DateTime(until),
                timed_out,
            }),
            StepDetails::Invoke { function, until } => Self::Invoke(InvokeStepDetails {
                function_slug: function,
                timeout_at: DateTime(until),
                timed_out,
                triggering: finish::invocation_id(step.run, &step.step),
                returned: ended_by,
            }),
            StepDetails::Fetch { url, method } => Self::Gateway(GatewayStepDetails {
                url: UrlText(url),
                method,
                status_code: step.memo.as_ref().and_then(status_code),
            }),
        })
    }
}

/// The ids of events, from the result of a step that sent them: a list, or an object that has it as `ids`.
fn sent(result: &Json) -> Vec<ID> {
    let list = result.member("ids").unwrap_or_else(|| result.clone());
    let ids = list.items().filter_map(|id| id.to_text()?.parse().ok());
    ids.map(|id: EventId| id.global()).collect()
}

/// The status of the answer, from the memo of a request.
fn status_code(memo: &Json) -> Option<i32> {
    memo.member("data")?
        .member("status_code")?
        .as_str()
        .parse()
        .ok()
}

#[ComplexObject]
impl WaitForEventStepDetails {
    /// The event that arrived.
    async fn matched_event(&self, ctx: &Context<'_>) -> Option<Result<EventObject, Error>> {
        event(ctx, self.matched?).await
    }
}

#[ComplexObject]
impl InvokeStepDetails {
    /// Target, when it exists here.
    async fn function(&self, ctx: &Context<'_>) -> Option<Result<FunctionObject, Error>> {
        let slug = BySlug(self.function_slug.clone());
        let found = load(ctx, slug).await.transpose();
        found.map(|found| found.map(FunctionObject))
    }

    /// Event that started the other run.
    async fn triggering_event(&self, ctx: &Context<'_>) -> Option<Result<EventObject, Error>> {
        event(ctx, self.triggering).await
    }

    /// The other run, known as soon as it is queued.
    #[graphql(complexity = "10 + child_complexity")]
    async fn run(&self, ctx: &Context<'_>) -> Option<Result<RunObject, Error>> {
        let found = load(ctx, FirstRunOf(self.triggering)).await.transpose();
        found.map(|found| found.map(RunObject))
    }

    /// Event that brought the result.
    async fn return_event(&self, ctx: &Context<'_>) -> Option<Result<EventObject, Error>> {
        event(ctx, self.returned?).await
    }
}

async fn event(ctx: &Context<'_>, id: EventId) -> Option<Result<EventObject, Error>> {
    let found = load(ctx, id).await.transpose();
    found.map(|found| found.map(EventObject))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sent_events_are_read_from_either_form_of_the_result() {
        let id = "01J5Z3Q8Y6M4T2B0C9D7E5F3G1";
        for (result, expected) in [
            (
                format!(r#"{{"ids":["{id}","?"]}}"#),
                vec![format!("evt_{id}")],
            ),
            (format!(r#"["{id}"]"#), vec![format!("evt_{id}")]),
            ("null".to_owned(), Vec::new()),
            (r#"{"ids":7}"#.to_owned(), Vec::new()),
        ] {
            let result = Json::parse(result.as_bytes()).unwrap();
            let expected: Vec<ID> = expected.into_iter().map(ID::from).collect();
            assert_eq!(sent(&result), expected, "{result:?}");
        }
    }
}
