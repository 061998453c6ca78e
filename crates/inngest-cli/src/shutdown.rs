//! Signals: the first one asks for an orderly stop, the second one ends the process at once.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::telemetry;

/// The exit code after a second signal, as shells give it for an interrupt.
const KILLED: i32 = 130;

/// Cancels `stop` at the first interrupt or termination signal; a second one exits.
///
/// # Errors
/// When the system refuses signal handlers.
pub(crate) fn on_signal(
    stop: CancellationToken,
    tracker: &TaskTracker,
    ended: CancellationToken,
) -> anyhow::Result<()> {
    let mut signals = Signals {
        interrupt: signal(SignalKind::interrupt()).context("could not listen for Ctrl-C")?,
        terminate: signal(SignalKind::terminate()).context("could not listen for SIGTERM")?,
    };
    tracker.spawn(async move {
        tokio::select! {
            () = signals.next() => {}
            () = ended.cancelled() => return,
        }
        info!("stopping: finishing what is being worked on; press Ctrl-C again to stop at once");
        stop.cancel();
        tokio::select! {
            () = signals.next() => {
                warn!("stopped at once; what was cut off goes on after the next start");
                telemetry::flush();
                std::process::exit(KILLED);
            }
            () = ended.cancelled() => {}
        }
    });
    Ok(())
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
