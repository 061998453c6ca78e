//! The command line of everything that asks a server.

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Where the server is and who asks. May stand before or after the verb.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServerArgs {
    /// URL of the server [env: INNGEST_SERVER] [default: http://localhost:8288]
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) server: Option<String>,
    /// Token or signing key; `-` reads it from standard input. Others on this machine can see flags: prefer the variables [env: INNGEST_TOKEN, INNGEST_TOKEN_FILE]
    #[arg(long, value_name = "TOKEN", global = true, hide_default_value = true)]
    pub(crate) token: Option<String>,
    /// Environment, by its slug; the one of the credential when omitted [env: INNGEST_ENV]
    #[arg(long = "env", value_name = "SLUG", global = true)]
    pub(crate) environment: Option<String>,
    /// Longest wait for an answer, and for a watch that broke to come back
    #[arg(long, value_name = "SECONDS", global = true, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) timeout: u64,
}

/// What the output looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people.
    Table,
    /// One JSON value.
    Json,
    /// One JSON value per line and entry.
    Jsonl,
}

/// How results are printed. May stand before or after the verb.
#[derive(Args, Clone, Debug)]
pub(crate) struct OutputArgs {
    /// How to print; --json and --jsonl are short for it [default: table]
    #[arg(long, short, value_name = "FORMAT", global = true)]
    pub(crate) output: Option<Format>,
    /// Print one JSON object per line
    #[arg(long, global = true, conflicts_with = "output")]
    pub(crate) jsonl: bool,
}

/// Which part of a list.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// Most entries
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) limit: u64,
}

/// Which interval of time.
#[derive(Args, Clone, Debug)]
pub(crate) struct TimeArgs {
    /// From when on: a duration back from now (`90m`, `7d`) or an RFC 3339 time
    #[arg(long, value_name = "WHEN", default_value = "24h")]
    pub(crate) since: String,
    /// Until when, likewise; now when omitted
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<String>,
}

/// Which runs.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunFilterArgs {
    /// Only these states; may be given several times
    #[arg(long, value_name = "STATUS", value_delimiter = ',', ignore_case = true)]
    pub(crate) status: Vec<Status>,
    /// Only of these functions, by slug; may be given several times
    #[arg(long = "function", value_name = "SLUG", value_delimiter = ',')]
    pub(crate) functions: Vec<String>,
    /// Only of these apps, by the id given in code; may be given several times
    #[arg(long = "app", value_name = "APP", value_delimiter = ',')]
    pub(crate) apps: Vec<String>,
}

/// Which runs an operation on many is about.
#[derive(Args, Clone, Debug)]
pub(crate) struct BulkArgs {
    /// All runs of these functions, by slug or id; may be given several times
    #[arg(long = "function", value_name = "FUNCTION", value_delimiter = ',')]
    pub(crate) functions: Vec<String>,
    /// Only these states; may be given several times
    #[arg(
        long,
        value_name = "STATUS",
        value_delimiter = ',',
        ignore_case = true,
        requires = "functions"
    )]
    pub(crate) status: Vec<Status>,
    /// Only runs for which this expression over event, output, error and run holds
    #[arg(long = "where", value_name = "CEL", requires = "functions")]
    pub(crate) condition: Option<String>,
    #[command(flatten)]
    pub(crate) time: TimeArgs,
    /// What to call it
    #[arg(long, value_name = "TEXT", requires = "functions")]
    pub(crate) name: Option<String>,
    /// Print how far it is until its end
    #[arg(long, requires = "functions")]
    pub(crate) wait: bool,
}

/// State of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Status {
    Queued,
    Running,
    Completed,
    Failed,
    Cancelled,
    Skipped,
}

impl Status {
    /// The word of the API.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Skipped => "SKIPPED",
        }
    }
}

/// Runs: list, get, watch, cancel, rerun, replay, signal
#[derive(Debug, Parser)]
#[command(name = "runs")]
pub(crate) struct RunsArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(subcommand)]
    pub(crate) verb: RunsVerb,
}

/// What to do with runs.
#[derive(Debug, Subcommand)]
pub(crate) enum RunsVerb {
    /// Print runs, newest first
    List {
        #[command(flatten)]
        filter: RunFilterArgs,
        #[command(flatten)]
        time: TimeArgs,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Print one run with its steps
    Get {
        /// Id of the run
        id: String,
    },
    /// Print changes as they happen: of one run until its end, or of all that match
    Watch {
        /// Id of the run; all runs when omitted
        #[arg(conflicts_with_all = ["status", "functions", "apps"])]
        id: Option<String>,
        #[command(flatten)]
        filter: RunFilterArgs,
    },
    /// End runs that have not ended: these, or with --function all that match
    Cancel {
        /// Ids of the runs
        #[arg(required_unless_present = "functions", conflicts_with = "functions")]
        ids: Vec<String>,
        #[command(flatten)]
        bulk: BulkArgs,
    },
    /// Start ended runs again, all that match; failed ones when no state is given
    Replay {
        #[command(flatten)]
        bulk: BulkArgs,
        /// Most runs to start in a second
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
        rate: Option<u64>,
    },
    /// Start a run again: from its events, from other data, or from one of its steps
    Rerun {
        /// Id of the run
        id: String,
        #[command(flatten)]
        from: RerunArgs,
        /// Print the changes of the new run until its end
        #[arg(long)]
        wait: bool,
    },
    /// Resume the run that waits for a signal
    Signal {
        /// Name of the signal
        signal: String,
        /// Data of the signal, as JSON; `@FILE` reads it from a file, `-` from standard input
        #[arg(long, value_name = "JSON")]
        data: Option<String>,
        /// Print the changes of the run until its end
        #[arg(long)]
        wait: bool,
    },
}

/// Where a rerun begins, and by which version.
#[derive(Debug, Parser)]
pub(crate) struct RerunArgs {
    /// Begin at this step, by its name or its hashed id; results of the steps before it are kept
    #[arg(long, value_name = "STEP")]
    pub(crate) from_step: Option<String>,
    /// Other arguments of that step, as a JSON list; `@FILE` reads it from a file, `-` from standard input
    #[arg(long, value_name = "JSON", requires = "from_step")]
    pub(crate) input: Option<String>,
    /// Other data of the event, as JSON; `@FILE` reads it from a file, `-` from standard input
    #[arg(long, value_name = "JSON", conflicts_with = "from_step")]
    pub(crate) data: Option<String>,
    /// By the settings that were in force for the run, instead of those of now
    #[arg(long)]
    pub(crate) original_version: bool,
}

/// Events: list, get, send
#[derive(Debug, Parser)]
#[command(name = "events")]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(subcommand)]
    pub(crate) verb: EventsVerb,
}

/// What to do with events.
#[derive(Debug, Subcommand)]
pub(crate) enum EventsVerb {
    /// Print events, newest first
    List {
        /// Only these names; may be given several times
        #[arg(long = "name", value_name = "NAME", value_delimiter = ',')]
        names: Vec<String>,
        /// Also events that the server itself made
        #[arg(long)]
        internal: bool,
        #[command(flatten)]
        time: TimeArgs,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Print one event with the runs it started
    Get {
        /// Id of the event
        id: String,
    },
    /// Send one event
    Send {
        /// Name of the event, for example shop/order.placed
        name: String,
        #[command(flatten)]
        data: DataArgs,
        /// Id that suppresses duplicates for 24 hours
        #[arg(long, value_name = "ID")]
        id: Option<String>,
        /// When it happened (RFC 3339); a later time delays the runs
        #[arg(long, value_name = "TIME")]
        ts: Option<String>,
    },
}

/// The body of an event.
#[derive(Args, Clone, Debug)]
pub(crate) struct DataArgs {
    /// Event data as a JSON object; `@FILE` reads it from a file, `-` from standard input
    #[arg(long, value_name = "JSON")]
    pub(crate) data: Option<String>,
    /// User object, likewise
    #[arg(long, value_name = "JSON")]
    pub(crate) user: Option<String>,
}

/// Functions: list, get, invoke, pause, resume
#[derive(Debug, Parser)]
#[command(name = "functions")]
pub(crate) struct FunctionsArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(subcommand)]
    pub(crate) verb: FunctionsVerb,
}

/// What to do with functions.
#[derive(Debug, Subcommand)]
pub(crate) enum FunctionsVerb {
    /// Print functions by slug
    List {
        /// Only of these apps, by the id given in code; may be given several times
        #[arg(long = "app", value_name = "APP", value_delimiter = ',')]
        apps: Vec<String>,
        /// Only those with this in their name or slug
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// Only those that this event starts
        #[arg(long, value_name = "EVENT")]
        event: Option<String>,
        /// Also those that are gone from code
        #[arg(long)]
        archived: bool,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Print one function with its settings
    Get {
        /// Slug (`app-function`) or id
        function: String,
    },
    /// Start a run of a function
    Invoke {
        /// Slug (`app-function`) or id
        function: String,
        #[command(flatten)]
        data: DataArgs,
        /// Print the changes of the run until its end
        #[arg(long)]
        wait: bool,
    },
    /// Keep a function from starting runs, until it is resumed
    Pause {
        /// Slug (`app-function`) or id
        function: String,
        /// What becomes of runs that have started
        #[arg(long, value_name = "WHAT", default_value = "continue")]
        in_flight: InFlight,
        /// What becomes of new events: recorded as skipped, or held until it is resumed
        #[arg(long, value_name = "WHAT", default_value = "skip")]
        new_events: NewEvents,
        /// A note for others
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// When it ends by itself: a duration from now (`90m`, `7d`) or an RFC 3339 time
        #[arg(long, value_name = "WHEN")]
        until: Option<String>,
    },
    /// End the pause of a function; what was held goes on
    Resume {
        /// Slug (`app-function`) or id
        function: String,
    },
}

/// What becomes of started runs of a paused function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InFlight {
    Continue,
    Hold,
    Cancel,
}

/// What becomes of new events of a paused function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NewEvents {
    Skip,
    Hold,
}

/// Apps: list, get, sync, remove
#[derive(Debug, Parser)]
#[command(name = "apps")]
pub(crate) struct AppsArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(subcommand)]
    pub(crate) verb: AppsVerb,
}

/// What to do with apps.
#[derive(Debug, Subcommand)]
pub(crate) enum AppsVerb {
    /// Print apps by name
    List {
        /// Only those with this in their name or in the id given in code
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// Also those that were removed
        #[arg(long)]
        archived: bool,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Print one app with its functions
    Get {
        /// The id given in code, or its id
        app: String,
    },
    /// Ask an app for its functions
    Sync {
        /// URL of the app, or of a known one the id given in code or its id
        app: String,
    },
    /// Archive an app and its functions: they start no more runs
    Remove {
        /// The id given in code, or its id
        app: String,
    },
}
