//! Statuses of runs and steps. Stored as numbers: never reuse one.

macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $code:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(i16)]
        pub enum $name { $($(#[$vdoc])* $variant = $code),+ }

        impl $name {
            /// Every variant.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stored number.
            pub fn code(self) -> i16 {
                self as i16
            }

            /// The variant with this number, if there is one in this version.
            pub fn from_code(code: i16) -> Option<Self> {
                Self::ALL.iter().copied().find(|variant| variant.code() == code)
            }
        }
    };
}

coded!(
    /// Where a run is in its life.
    RunStatus {
        /// Scheduled; its app was not called yet.
        Queued = 1,
        /// Its app was called; it may be sleeping or waiting now.
        Running = 2,
        /// The function returned.
        Completed = 3,
        /// The function failed for good, or a limit ended it.
        Failed = 4,
        /// Somebody or something ended it.
        Cancelled = 5,
        /// Recorded, but never executed.
        Skipped = 6,
    }
);

impl RunStatus {
    /// Whether nothing more can happen to the run.
    pub fn is_ended(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Completed | Self::Failed | Self::Cancelled | Self::Skipped => true,
        }
    }
}

coded!(
    /// Why a run was recorded but not executed.
    SkipReason {
        /// The function is paused.
        FunctionPaused = 1,
        /// Another run of the same singleton is active.
        Singleton = 2,
    }
);

coded!(
    /// What a step does.
    StepKind {
        /// Runs user code.
        Run = 1,
        /// Sleeps.
        Sleep = 2,
        /// Waits for an event.
        WaitForEvent = 3,
        /// Waits for the result of another function.
        Invoke = 4,
        /// Waits for a signal.
        WaitForSignal = 5,
        /// An HTTP request made by the server.
        Fetch = 6,
        /// An inference request made by the server.
        Infer = 7,
    }
);

impl StepKind {
    /// Whether a step of this kind has nothing to run and only waits.
    pub fn only_waits(self) -> bool {
        match self {
            Self::Run | Self::Fetch | Self::Infer => false,
            Self::Sleep | Self::WaitForEvent | Self::Invoke | Self::WaitForSignal => true,
        }
    }
}

coded!(
    /// Where a step is in its life.
    StepStatus {
        /// Reported, its work not finished.
        Open = 1,
        /// Has a result.
        Completed = 2,
        /// Has an error for a result.
        Failed = 3,
        /// What it waited for did not come in time.
        TimedOut = 4,
        /// Its run was cancelled first.
        Cancelled = 5,
    }
);

impl StepStatus {
    /// Whether the step has a memo.
    pub fn is_ended(self) -> bool {
        match self {
            Self::Open => false,
            Self::Completed | Self::Failed | Self::TimedOut | Self::Cancelled => true,
        }
    }
}
