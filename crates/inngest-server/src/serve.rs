//! Accepting connections, within bounds, until told to stop.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, extract::ConnectInfo};
use futures_util::future::join_all;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

/// How long a stopping server goes on accepting when nobody connects.
const SILENCE: Duration = Duration::from_millis(10);
/// How long it goes on accepting at most.
const CLOSING: Duration = Duration::from_millis(500);
/// How long a connection of a stopping server waits for its first request.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// What is read ahead from a connection at most, in bytes: there are many of them.
const READ_AHEAD: usize = 64 * 1024;

/// Bounds of the listening side.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Connections open at once. At the bound nothing more is accepted; callers wait in the system's queue.
    pub max_connections: usize,
    /// Longest time for the head of a request to arrive; also how long an idle connection is kept.
    pub head_time: Duration,
    /// Requests in flight on one HTTP/2 connection.
    pub max_streams: u32,
    /// Longest time that requests in flight get once the server stops.
    pub drain_time: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            head_time: Duration::from_secs(60),
            max_streams: 250,
            drain_time: Duration::from_secs(30),
        }
    }
}

/// Serves `router` on all `listeners` with the default limits until `stop` is cancelled; see [`serve_with`].
pub async fn serve(
    listeners: Vec<TcpListener>,
    router: Router,
    stop: CancellationToken,
    tracker: TaskTracker,
) {
    serve_with(
        listeners,
        router,
        ConnectionLimits::default(),
        stop,
        tracker,
    )
    .await
}

/// Serves `router` on all `listeners` until `stop` is cancelled; then accepts nothing more, lets requests in flight finish within
/// [`ConnectionLimits::drain_time`], and returns. Connections are tasks of `tracker`; websockets are not waited for here.
pub async fn serve_with(
    listeners: Vec<TcpListener>,
    router: Router,
    limits: ConnectionLimits,
    stop: CancellationToken,
    tracker: TaskTracker,
) {
    let slots = Arc::new(Semaphore::new(limits.max_connections));
    let server = Server {
        router,
        limits: Arc::new(limits),
        slots: Arc::clone(&slots),
        stop,
        tracker,
    };
    join_all(
        listeners
            .into_iter()
            .map(|listener| server.accept(listener)),
    )
    .await;
    // Every connection holds one slot, so holding all of them means that the last one has closed.
    let all = u32::try_from(server.limits.max_connections).unwrap_or(u32::MAX);
    let drained = tokio::time::timeout(server.limits.drain_time, slots.acquire_many(all)).await;
    if drained.is_err() {
        tracing::warn!("some requests did not finish in time and were cut off");
    }
}

struct Server {
    router: Router,
    limits: Arc<ConnectionLimits>,
    slots: Arc<Semaphore>,
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Server {
    async fn accept(&self, listener: TcpListener) {
        let mut closing: Option<Instant> = None;
        loop {
            let slot = tokio::select! {
                biased;
                slot = Arc::clone(&self.slots).acquire_owned() => slot.expect("the semaphore is never closed"),
                () = self.stop.cancelled() => return,
            };
            // Who has connected already is served: the system has told them so. The port closes when nobody comes any more for a moment.
            if closing.is_some_and(|at| at.elapsed() >= CLOSING) {
                return;
            }
            let accepted = tokio::select! {
                biased;
                accepted = listener.accept() => accepted,
                () = self.stop.cancelled(), if closing.is_none() => {
                    closing = Some(Instant::now());
                    continue;
                }
                () = tokio::time::sleep(SILENCE), if closing.is_some() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection = connection(
                        stream,
                        peer,
                        self.router.clone(),
                        Arc::clone(&self.limits),
                        self.stop.clone(),
                    );
                    self.tracker.spawn(async move {
                        connection.await;
                        drop(slot);
                    });
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Out of file handles, most likely: accepting at once again would only spin.
                    tracing::warn!(error = %error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Arc<ConnectionLimits>,
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let begun = CancellationToken::new();
    let begin = begun.clone();
    let service =
        hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
            begin.cancel();
            request.extensions_mut().insert(ConnectInfo(peer));
            let router = router.clone();
            async move {
                Ok::<_, Infallible>(
                    router
                        .oneshot(request.map(axum::body::Body::new))
                        .await
                        .unwrap_or_else(|never| match never {}),
                )
            }
        });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .max_buf_size(READ_AHEAD)
        .header_read_timeout(limits.head_time);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .keep_alive_interval(Some(limits.head_time))
        .keep_alive_timeout(Duration::from_secs(20));
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stop.cancelled() => {
            // A first request that is on its way would find its connection closed.
            tokio::select! {
                outcome = connection.as_mut() => return note_end(outcome),
                () = begun.cancelled() => {}
                () = tokio::time::sleep(FIRST_REQUEST) => {}
            }
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(limits.drain_time, connection).await {
                Ok(outcome) => outcome,
                Err(_) => return,
            }
        }
    };
    note_end(outcome);
}

fn note_end<E: std::fmt::Display>(outcome: Result<(), E>) {
    if let Err(error) = outcome {
        tracing::debug!(error = %error, "a connection ended early");
    }
}
