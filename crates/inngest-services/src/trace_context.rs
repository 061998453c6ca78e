//! The trace that something belongs to: continued from whoever asked, and handed to whoever is asked.
//!
//! Spans are made with `tracing`; who sends them on is the binary's business. While nobody does, there are no spans and all of this costs
//! next to nothing.

use inngest_core::trace_context::TraceParent;
use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Makes `span`, in which nothing was traced yet, go on with a trace that was begun elsewhere.
pub fn continue_from(span: &Span, parent: TraceParent) {
    let flags = TraceFlags::default().with_sampled(parent.is_sampled);
    let parent = SpanContext::new(
        TraceId::from(parent.trace),
        SpanId::from(parent.span),
        flags,
        true,
        TraceState::NONE,
    );
    // It fails where traces are not sent, and where something in it was traced already.
    let _ = span.set_parent(Context::new().with_remote_span_context(parent));
}

/// What the span of a job is called.
pub(crate) const JOB: &str = "job";

/// Has the job that this task is about go on with the trace of its run. Whatever else is about the run, such as a request, has a trace of
/// its own already; and so has a job in which something was traced before.
pub(crate) fn join(run: Option<TraceParent>) {
    let Some(run) = run else { return };
    let span = Span::current();
    if span.metadata().is_some_and(|about| about.name() == JOB) {
        continue_from(&span, run);
    }
}

/// Where this task is in a trace; `None` where traces are not sent.
pub(crate) fn current() -> Option<TraceParent> {
    of(&Span::current())
}

/// See [`current`].
pub(crate) fn of(span: &Span) -> Option<TraceParent> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let span = context.span();
    let found = span.span_context();
    found.is_valid().then(|| TraceParent {
        trace: u128::from_be_bytes(found.trace_id().to_bytes()),
        span: u64::from_be_bytes(found.span_id().to_bytes()),
        is_sampled: found.is_sampled(),
    })
}
