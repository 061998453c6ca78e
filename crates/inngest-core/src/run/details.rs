//! What a step asked for. The waits and the work of a step go when it ends; this stays for people to see.

use crate::time::Timestamp;

/// What a step asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepDetails {
    /// To run code of this sort, as the SDK calls it; code that it has no name for has no details.
    Code {
        /// For example `step.sendEvent`.
        sort: String,
    },
    /// To sleep.
    Sleep {
        /// When it ends.
        until: Timestamp,
    },
    /// To wait for an event.
    Event {
        /// Its name.
        name: String,
        /// The condition; none when there is none, or it is longer than [`crate::limits::DETAIL_BYTES`].
        expression: Option<String>,
        /// When it gives up.
        until: Timestamp,
    },
    /// To wait for a signal.
    Signal {
        /// Its name.
        name: String,
        /// When it gives up.
        until: Timestamp,
    },
    /// To run another function.
    Invoke {
        /// Its slug, as the app gave it, cut to [`crate::limits::DETAIL_BYTES`].
        function: String,
        /// When it gives up.
        until: Timestamp,
    },
    /// To make an HTTP request for it.
    Fetch {
        /// The target without credentials, query and fragment, which may hold secrets.
        url: String,
        /// The method, in capitals.
        method: String,
    },
}

impl StepDetails {
    /// When the step moves at the latest, if it has such a time.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Sleep { until }
            | Self::Event { until, .. }
            | Self::Signal { until, .. }
            | Self::Invoke { until, .. } => Some(*until),
            Self::Code { .. } | Self::Fetch { .. } => None,
        }
    }
}
