//! Traces for OpenTelemetry: spans are sent in batches, from a queue that is bounded, by a thread of its own. Nobody waits for it; what does
//! not fit is dropped.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context, anyhow};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use metrics::counter;
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Compression, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, ShouldSample},
};
use tokio::runtime::Handle;
use tracing::{Level, Subscriber, info, warn};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, filter_fn},
    registry::LookupSpan,
};

use inngest_config::TraceSettings;
use inngest_executor::{AppClient, ExecutorSettings, ServerKind};

/// Longest wait for the last spans when the process ends.
const LAST: Duration = Duration::from_secs(3);
/// Longest answer of a collector that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Sends spans until [`Traces::stop`].
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// Starts the thread that sends. What is sent goes through tasks of `runtime`, which must outlive this.
    ///
    /// # Errors
    /// When the client cannot be set up.
    pub(crate) fn start(settings: &TraceSettings, runtime: Handle) -> anyhow::Result<Self> {
        let sender = Sender {
            client: AppClient::new(ExecutorSettings::new(ServerKind::Cloud))?,
            runtime,
            timeout: settings.timeout,
            fails: AtomicBool::new(false),
        };
        let headers = settings.headers.iter();
        let headers: HashMap<String, String> = headers
            .map(|(name, value)| (name.clone(), value.expose().clone()))
            .collect();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(sender)
            .with_endpoint(settings.endpoint.expose())
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(settings.timeout)
            .with_headers(headers);
        let exporter = if settings.compresses {
            exporter.with_compression(Compression::Gzip)
        } else {
            exporter
        };
        // Its message may hold the URL, and that a password.
        let exporter = exporter
            .build()
            .map_err(|_| anyhow!("the place for traces cannot be used"))
            .context("could not set up traces")?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(settings.queue)
            .with_max_export_batch_size(settings.batch)
            .with_scheduled_delay(settings.delay)
            .build();
        let processor = BatchSpanProcessor::builder(exporter)
            .with_batch_config(batches)
            .build();
        let attributes = settings.attributes.iter();
        let resource = Resource::builder_empty()
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attributes(
                attributes.map(|(name, value)| KeyValue::new(name.clone(), value.clone())),
            )
            .with_service_name(settings.service_name.clone())
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(sampler(settings.sampler))
            .with_resource(resource)
            .build();
        Ok(Self(provider))
    }

    /// Sends on the spans of the product. Its log lines are not for traces.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let is_meant = filter_fn(|metadata| {
            metadata.is_span()
                && *metadata.level() <= Level::DEBUG
                && metadata.target().starts_with("inngest")
                && metadata.name() != "probe"
        });
        let is_meant = is_meant.with_max_level_hint(LevelFilter::DEBUG);
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("inngest"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(is_meant)
    }

    /// Sends what is left, but does not wait long for it.
    pub(crate) fn stop(self) {
        if self.0.shutdown_with_timeout(LAST).is_err() {
            warn!("the last spans could not be sent in time");
        }
    }
}

fn sampler(settings: inngest_config::Sampler) -> Box<dyn ShouldSample> {
    let own = if settings.ratio >= 1.0 {
        Sampler::AlwaysOn
    } else {
        Sampler::TraceIdRatioBased(settings.ratio)
    };
    if settings.follows_parent {
        Box::new(Sampler::ParentBased(Box::new(own)))
    } else {
        Box::new(own)
    }
}

/// Posts what the thread has encoded. The thread knows nothing of the runtime that connections belong to, so it only waits.
#[derive(Debug)]
struct Sender {
    client: AppClient,
    runtime: Handle,
    timeout: Duration,
    /// The last one failed: each outage is one line in the log.
    fails: AtomicBool,
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let (client, timeout) = (self.client.clone(), self.timeout);
        let url = parts.uri.to_string();
        let sent = self.runtime.spawn(async move {
            let sent = client.post_document(&url, parts.headers, body, timeout, MAX_ANSWER);
            sent.await
        });
        let sent = sent.await?;
        let problem = match &sent {
            Ok((200..=299, _)) => None,
            Ok((status, _)) => Some(format!("answered with status {status}")),
            Err(error) => Some(error.to_string()),
        };
        let result = if problem.is_none() { "sent" } else { "failed" };
        counter!("inngest_trace_exports_total", "result" => result).increment(1);
        match (
            self.fails.swap(problem.is_some(), Ordering::Relaxed),
            problem,
        ) {
            (false, Some(problem)) => warn!(
                error = problem,
                "spans could not be sent and are dropped, until the collector takes them again"
            ),
            (true, None) => info!("spans are sent again"),
            (true, Some(_)) | (false, None) => {}
        }
        let (status, body) = sent?;
        Ok(Response::builder().status(status).body(body)?)
    }
}

#[cfg(test)]
mod tests {
    use tracing::{debug, debug_span, info_span, span::Span};
    use tracing_subscriber::{EnvFilter, layer::SubscriberExt};

    use super::*;
    use crate::log_line::{Form, LogLines};

    /// A subscriber as it is when the level of the log is `warn`, with and without traces.
    fn enabled(is_traced: bool, span: fn() -> Span) -> bool {
        let lines = LogLines::new(Form::Json, |line| panic!("{line}"));
        let logged = tracing_subscriber::registry()
            .with(lines.with_filter(EnvFilter::new("warn,inngest=warn")));
        let make = || {
            debug!("not for traces");
            !span().is_disabled()
        };
        if is_traced {
            let traces = Traces(SdkTracerProvider::builder().build());
            tracing::subscriber::with_default(logged.with(traces.layer()), make)
        } else {
            tracing::subscriber::with_default(logged, make)
        }
    }

    #[test]
    fn spans_are_made_only_where_they_are_sent() {
        for (is_traced, expected) in [(false, false), (true, true)] {
            assert_eq!(enabled(is_traced, || debug_span!("commit")), expected);
            assert_eq!(enabled(is_traced, || info_span!("request")), expected);
        }
        assert!(!enabled(true, || info_span!("probe")));
        assert!(!enabled(
            true,
            || debug_span!(target: "hyper", "connection")
        ));
        assert!(!enabled(true, || tracing::trace_span!("detail")));
    }
}
