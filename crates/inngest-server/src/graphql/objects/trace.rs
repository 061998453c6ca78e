//! Traces of runs.

use async_graphql::{Context, Enum, Error, ID, InputObject, Object};

use inngest_core::{
    ids::{RunId, StepId},
    run::{
        FailedAttempt, Run, StepRecord,
        trace::{Span, SpanId, SpanKind, SpanLink, SpanStatus, TraceId},
    },
};
use inngest_services::Trace;

use crate::graphql::{
    connection::{self, Counted, Page},
    error::bad_input,
    ids,
    loaders::{AttemptsOf, StepsOf, load},
    objects::{
        environment::feed_cursor,
        failure::ExecutionError,
        run::{self, RunObject, millis},
        sdk_response::SdkResponseObject,
        step::StepObject,
    },
    related::TraceOf,
    scalars::{DateTime, Milliseconds},
};

/// Spans of one run as a flat list; parentSpanId gives the tree.
pub(crate) struct TraceObject {
    run: RunId,
    spans: Vec<TraceSpanObject>,
    /// Where feeds were before the spans were read, if it was asked for.
    feed_cursor: Option<String>,
}

/// The trace of a run; null when the run is missing or not the caller's to see.
pub(crate) async fn find(ctx: &Context<'_>, run: RunId) -> Option<Result<TraceObject, Error>> {
    read(ctx, run).await.transpose()
}

async fn read(ctx: &Context<'_>, run: RunId) -> Result<Option<TraceObject>, Error> {
    // Before the spans, so that the feed tells of whatever they miss.
    let feed_cursor = feed_cursor(ctx).await?;
    let found = load(ctx, TraceOf(run)).await?;
    Ok(found.map(|trace| TraceObject {
        run,
        spans: spans(&trace),
        feed_cursor,
    }))
}

/// The spans of a trace, each with its run.
pub(crate) fn spans(trace: &Trace) -> Vec<TraceSpanObject> {
    let Trace { run, spans } = trace;
    let with_run = |span: &Span| TraceSpanObject {
        run: run.clone(),
        span: span.clone(),
    };
    spans.iter().map(with_run).collect()
}

impl TraceObject {
    /// One span.
    pub(crate) fn into_span(self, id: SpanId) -> Option<TraceSpanObject> {
        self.spans.into_iter().find(|span| span.span.id == id)
    }
}

/// Spans of one run as a flat list; parentSpanId gives the tree.
#[Object(name = "Trace")]
impl TraceObject {
    /// 32 hex digits.
    async fn trace_id(&self) -> String {
        TraceId::of(self.run).to_string()
    }

    /// 16 hex digits.
    async fn root_span_id(&self) -> String {
        SpanId::root(self.run).to_string()
    }

    /// Spans by start, the root first, each step followed by its own spans.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn spans(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
        #[graphql(desc = "Only these spans.")] filter: Option<TraceSpanFilter>,
    ) -> Result<Page<TraceSpanObject, Counted>, Error> {
        let request = connection::request(ctx, first, after, last, before)?;
        let filter = filter.unwrap_or_default();
        if filter.attempt.is_some() && filter.step_id.is_none() {
            return Err(bad_input("`attempt` needs `stepId`"));
        }
        let matching = self
            .spans
            .iter()
            .filter(|span| filter.is_met_by(&span.span));
        connection::cut_counted(
            matching.cloned().collect(),
            "trace.spans",
            &request,
            |span| span.span.id.to_string(),
            |span| span,
        )
    }

    /// One span.
    async fn span(
        &self,
        #[graphql(desc = "16 hex digits.")] span_id: String,
    ) -> Option<TraceSpanObject> {
        let wanted = SpanId::parse(&span_id)?;
        self.spans
            .iter()
            .find(|span| span.span.id == wanted)
            .cloned()
    }

    /// Position for runTraceFeed(after:), taken before the spans were read.
    async fn feed_cursor(&self) -> Option<&str> {
        self.feed_cursor.as_deref()
    }
}

/// Filter for spans; all given parts must hold.
#[derive(InputObject, Default)]
pub(crate) struct TraceSpanFilter {
    /// Only these kinds.
    kinds: Option<Vec<SpanKindEnum>>,
    /// Only of this step, by its hashed id.
    step_id: Option<String>,
    /// Only of this attempt, counted from 0; needs stepId.
    attempt: Option<u32>,
}

impl TraceSpanFilter {
    fn is_met_by(&self, span: &Span) -> bool {
        let kind = SpanKindEnum::from(span.kind);
        let step = span.step.as_ref().map(StepId::as_str);
        self.kinds
            .as_ref()
            .is_none_or(|kinds| kinds.contains(&kind))
            && self.step_id.as_ref().is_none_or(|id| step == Some(id))
            && self
                .attempt
                .is_none_or(|number| span.attempt == Some(number))
    }
}

/// One span of a trace.
#[derive(Clone)]
pub(crate) struct TraceSpanObject {
    run: Run,
    span: Span,
}

/// One span of a trace.
#[Object(name = "TraceSpan")]
impl TraceSpanObject {
    /// Global id, prefix span.
    pub(crate) async fn id(&self) -> ID {
        ids::span(TraceId::of(self.run.id), self.span.id)
    }

    /// 16 hex digits.
    async fn span_id(&self) -> String {
        self.span.id.to_string()
    }

    /// Span above, null for the root.
    async fn parent_span_id(&self) -> Option<String> {
        self.span.parent.map(|parent| parent.to_string())
    }

    /// Display name.
    async fn name(&self) -> &str {
        &self.span.name
    }

    /// What it stands for.
    async fn kind(&self) -> SpanKindEnum {
        self.span.kind.into()
    }

    /// Present state.
    async fn status(&self) -> SpanStatusEnum {
        self.span.status.into()
    }

    /// When the work became due; null where that is not known.
    async fn queued_at(&self) -> Option<DateTime> {
        self.span.queued_at.map(DateTime)
    }

    /// Start; null before it, and for attempts that failed and were followed by another one, whose start is not kept.
    async fn started_at(&self) -> Option<DateTime> {
        self.span.started_at.map(DateTime)
    }

    /// End, null while open.
    async fn ended_at(&self) -> Option<DateTime> {
        self.span.ended_at.map(DateTime)
    }

    /// Time from start to end.
    async fn duration_ms(&self) -> Option<Milliseconds> {
        let (ended, started) = (self.span.ended_at?, self.span.started_at?);
        Some(millis(ended.since(started)))
    }

    /// The run.
    async fn run(&self) -> RunObject {
        RunObject(self.run.clone())
    }

    /// The step; null for spans of the run itself, and while nothing but a failure of the step is stored.
    async fn step(&self, ctx: &Context<'_>) -> Option<Result<StepObject, Error>> {
        let wanted = self.span.step.as_ref()?;
        match load(ctx, StepsOf(self.run.id)).await {
            Ok(steps) => steps?
                .into_iter()
                .find(|step| step.step == *wanted)
                .map(|step| Ok(StepObject(step))),
            Err(error) => Some(Err(error)),
        }
    }

    /// Attempt number, counted from 0.
    async fn attempt(&self) -> Option<u32> {
        self.span.attempt
    }

    /// How it failed.
    async fn error(&self, ctx: &Context<'_>) -> Option<Result<ExecutionError, Error>> {
        let failure = self.span.failure.as_ref()?;
        let own = match self.failed_attempt(ctx).await {
            Ok(own) => own,
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(match own {
            Some(attempt) => ExecutionError::of_attempt(&attempt),
            None => ExecutionError::of_last(failure, self.run.id, self.span.step.clone()),
        }))
    }

    /// Facts about the answer of the app that ended an attempt or a request; null where there was none, as for StepAttempt.response, and
    /// for other spans.
    async fn response(&self, ctx: &Context<'_>) -> Result<Option<SdkResponseObject>, Error> {
        let response = match (self.span.kind, self.span.status) {
            (SpanKind::Attempt | SpanKind::Request, SpanStatus::Failed) => {
                let own = self.failed_attempt(ctx).await?;
                own.and_then(|attempt| attempt.response)
            }
            (SpanKind::Attempt, SpanStatus::Completed) => {
                let steps = load(ctx, StepsOf(self.run.id)).await?.unwrap_or_default();
                let is_own = |step: &StepRecord| Some(&step.step) == self.span.step.as_ref();
                let own = steps.into_iter().find(is_own);
                own.and_then(|step| step.response)
            }
            _ => None,
        };
        Ok(response.map(SdkResponseObject))
    }

    /// Links to other traces: the run that a step has invoked, the step that invoked this run, the run that it repeats.
    #[graphql(complexity = "2 * child_complexity")]
    async fn links(&self) -> Vec<SpanLinkObject> {
        self.span
            .links
            .iter()
            .copied()
            .map(SpanLinkObject)
            .collect()
    }
}

impl TraceSpanObject {
    /// The failed attempt that this stands for.
    async fn failed_attempt(&self, ctx: &Context<'_>) -> Result<Option<FailedAttempt>, Error> {
        let Some(number) = self.span.attempt else {
            return Ok(None);
        };
        let failed = load(ctx, AttemptsOf(self.run.id)).await?;
        let own = failed.unwrap_or_default().into_iter();
        let own = own.filter(|attempt| attempt.step == self.span.step && attempt.attempt == number);
        // Attempts of the function are counted anew after each success.
        Ok(own.max_by_key(|attempt| Some(attempt.at) == self.span.ended_at))
    }
}

/// Link from a span to another trace.
pub(crate) struct SpanLinkObject(SpanLink);

/// Link from a span to another trace.
#[Object(name = "SpanLink")]
impl SpanLinkObject {
    /// Other trace.
    async fn trace_id(&self) -> String {
        TraceId::of(self.0.run).to_string()
    }

    /// Other span.
    async fn span_id(&self) -> String {
        self.0.span.to_string()
    }

    /// The run, when it is still stored.
    #[graphql(complexity = "10 + child_complexity")]
    async fn run(&self, ctx: &Context<'_>) -> Option<Result<RunObject, Error>> {
        run::find(ctx, self.0.run).await
    }
}

/// What a span stands for.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "SpanKind", remote = "SpanKind")]
pub(crate) enum SpanKindEnum {
    /// A whole run.
    Run,
    /// A step with all its attempts.
    Step,
    /// One attempt.
    Attempt,
    /// A request to the app that was to plan steps or to end the run, and failed; successful ones are not kept.
    Request,
    /// Time in the queue.
    Queue,
}

/// State of a span.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "SpanStatus", remote = "SpanStatus")]
pub(crate) enum SpanStatusEnum {
    /// Not started.
    Queued,
    /// Open.
    Running,
    /// Asleep or waiting.
    Waiting,
    /// Closed without an error.
    Completed,
    /// Closed with an error.
    Failed,
    /// Closed by a cancellation.
    Cancelled,
    /// The run was skipped.
    Skipped,
}
