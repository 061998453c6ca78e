//! Everything that happens. What is above is a way in, what is below is a tool.
//!
//! Every function here takes an `Actor` first: who asks, and for which organization and environment. Every change is one commit of
//! the store: may they; now; read; decide; write; then tell the schedule and whoever watches. A run goes on because a job says so,
//! never because somebody calls back.

mod apply;
mod apps;
mod auth;
mod backlog;
mod budget;
mod bulk;
mod cells;
mod checkpoints;
mod checks;
mod cron;
mod dispatches;
mod engine;
mod epochs;
mod error;
mod events;
mod execute;
mod explain;
mod expressions;
mod fetch;
mod history;
mod jobs;
mod judge;
mod limits;
mod lists;
mod live;
mod metrics;
mod of_many;
mod outcome;
mod pauses;
mod programs;
mod quick;
mod record;
mod refill;
mod register;
mod registry;
mod requests;
mod rerun;
mod resume;
mod retention;
mod rollups;
mod route;
mod runs;
mod search;
mod second_look;
mod settings;
mod sift;
mod signals;
mod sorted;
mod suites;
mod syncs;
#[cfg(feature = "test-util")]
pub mod testing;
mod time;
mod trace_context;
mod traces;
mod views;
mod waits;

use std::sync::{Arc, atomic::Ordering};

use inngest_core::{
    ids::{DEFAULT_ENV, DEFAULT_ORG, IdSource},
    time::Clock,
};
use inngest_executor::AppClient;
use inngest_queue::{
    Queue,
    model::{Lease, RebuildProgress, ScheduleState},
    worker::{self, WorkerSettings},
};
use inngest_state::{Store, Writers};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

pub use apps::{Apps, Functions, SyncReport};
pub use auth::{
    Auth, SecretKey, SignInFailures, TokenIssuer, TokenKey, TokenKeys, UnusableKey, WeakSecret,
    issue_token,
};
pub use backlog::Backlog;
pub use budget::{Bucket, Budgets, Cost, Held, Kept};
pub use bulk::{Bulk, BulkRequest, BulkView, FunctionNames, Preview};
pub use checkpoints::Checkpoints;
pub use checks::AppCheck;
pub use dispatches::{Dispatch, DispatchOutcome};
pub use engine::Counters;
pub use error::{Error, Kind};
pub use events::Events;
pub use explain::{Activity, Reason};
pub use expressions::{Checked, ExpressionUse};
pub use inngest_state::{BulkFilter, EventFilter, FunctionHead, RunFilter, SyncFilter, TimeSpan};
pub use lists::{AppFilter, FunctionFilter, FunctionTrigger};
pub use live::{
    AppNews, EventFeedFilter, EventNews, FeedCursor, FunctionTick, LiveViews, PartNews, QueueTick,
    RunFeedFilter, RunNews, Standing, Update,
};
pub use pauses::PauseRequest;
pub use programs::Programs;
pub use quick::{QUICK_HITS, QuickHit};
pub use requests::RequestKey;
pub use rerun::{Beginning, Rerun, RerunVersion};
pub use retention::{EnvironmentReport, Retention, RetentionReport};
pub use rollups::{
    CountSeries, Counts, Flow, GroupBy, Latencies, LatencySeries, LevelSeries, Levels, MetricRange,
    MetricScope, Metrics, RunTotals, SeriesKey, Usage,
};
pub use runs::{RunJob, Runs};
pub use search::{Doing, Found, Scan};
pub use settings::{Mode, ServiceSettings};
pub use signals::Signals;
pub use sorted::{RunOrder, RunTime, SortedRuns};
pub use suites::{RunLimit, Suites};
pub use trace_context::continue_from;
pub use traces::Trace;
pub use views::{EventQuery, FunctionView, Invocation, RunQuery, RunView, Started};
pub use waits::WaitFilter;

/// All services. A cheap handle.
#[derive(Clone)]
pub struct Services(engine::Shared);

/// What the services are built from.
pub struct Parts {
    /// The database, opened with the matcher of `programs`.
    pub store: Store,
    /// The schedule.
    pub queue: Queue,
    /// How apps are called.
    pub client: AppClient,
    /// The time.
    pub clock: Clock,
    /// Where ids come from.
    pub ids: IdSource,
    /// Compiled expressions.
    pub programs: Programs,
    /// Where tasks are spawned.
    pub tracker: TaskTracker,
    /// What the services go by.
    pub settings: ServiceSettings,
}

/// Whether the server can do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// `sqlite` or `postgres`.
    pub database: &'static str,
    /// Whether it answers.
    pub database_connected: bool,
    /// `embedded`, `connected`, `rebuilding` or `disconnected`.
    pub schedule: &'static str,
    /// How far the rebuild is that some process carries out.
    pub rebuild: Option<RebuildProgress>,
    /// Whether the schedule has been filled since the start, or cannot be reached.
    pub ready: bool,
    /// Jobs in the schedule, as far as it answers.
    pub depth: usize,
    /// Version of the binary.
    pub version: &'static str,
}

impl Services {
    /// Puts the services together and makes sure that the first environment exists. Nothing runs until [`Services::work`].
    ///
    /// # Errors
    /// The store's.
    pub async fn start(parts: Parts) -> Result<Self, Error> {
        let now = parts.clock.now();
        parts
            .store
            .ensure_environment(DEFAULT_ORG, DEFAULT_ENV, "dev", now)
            .await?;
        if let Err(error) = parts.store.make_partitions(now).await {
            // Rows have a place without them.
            tracing::warn!(error = %error, "partitions of the coming weeks were not made");
        }
        let keys = match &parts.settings.token_issuer {
            Some(issuer) => TokenKeys::new(issuer).map_err(|error| Error::Invalid {
                code: "token_key_unusable",
                message: error.to_string(),
            })?,
            None => TokenKeys::default(),
        };
        let secret = auth::secrets::find_or_make(
            &parts.store,
            &parts.settings.secret_keys,
            auth::TOKENS,
            now,
        )
        .await?;
        let tokens = auth::Tokens::new(keys, secret.as_deref());
        let budget = parts.settings.api_rate.map(|rate| parts.queue.budget(rate));
        let registries = registry::Registries::new(
            parts.store.clone(),
            parts.programs.clone(),
            parts.clock.clone(),
        );
        Ok(Self(Arc::new(engine::Engine {
            registries,
            cells: cells::Cells::new(parts.settings.cache_bytes),
            store: parts.store,
            client: parts.client,
            live: parts.queue.live(),
            hubs: live::Hubs::default(),
            queue: parts.queue,
            clock: parts.clock,
            ids: parts.ids,
            settings: parts.settings,
            programs: parts.programs,
            limits: limits::Overrides::default(),
            tracker: parts.tracker,
            counters: Counters::default(),
            lag: metrics::Lag::default(),
            uncertainty: time::Uncertainty::default(),
            shown_functions: tokio::sync::Mutex::default(),
            sign_in_failures: SignInFailures::default(),
            tokens,
            budget,
            open: budget::Open::default(),
            environments: tokio::sync::RwLock::default(),
            failures: jobs::Failures::default(),
            second_look: second_look::SecondLook::default(),
            rolling: rollups::Rolling::default(),
            meters: live::Meters::default(),
            queues: live::Queues::default(),
            syncing: tokio::sync::Mutex::default(),
            left_out: Arc::default(),
            telling: Arc::new(tokio::sync::Semaphore::new(engine::TELLINGS)),
            epochs: epochs::Epochs::default(),
            ready: false.into(),
        })))
    }

    /// Keeps the schedule filled until `stop`, and samples how full it is. Any number of processes may do it; one at least has to.
    pub fn keep_filled(&self, stop: CancellationToken) {
        let (engine, sampling) = (self.0.clone(), stop.clone());
        self.0
            .tracker
            .spawn(async move { engine.keep_levels(sampling).await });
        let engine = self.0.clone();
        self.0
            .tracker
            .spawn(async move { engine.keep_filled(stop).await });
    }

    /// Deletes what is too old and makes partitions for what comes, now and every hour until `stop`. Any number of processes may do it.
    pub fn keep_tidy(&self, stop: CancellationToken) {
        let engine = self.0.clone();
        self.0
            .tracker
            .spawn(async move { engine.keep_tidy(stop).await });
    }

    /// Does until `stop` what every process has to do, whatever else it does.
    pub fn attend(&self, stop: &CancellationToken) {
        let (engine, measuring) = (self.0.clone(), stop.clone());
        self.0
            .tracker
            .spawn(async move { engine.lag.measure(measuring).await });
        self.look_twice(stop);
        let (engine, rolling) = (self.0.clone(), stop.clone());
        self.0
            .tracker
            .spawn(async move { engine.keep_rolled_up(rolling).await });
        let (engine, stop) = (self.0.clone(), stop.clone());
        self.0
            .tracker
            .spawn(async move { engine.keep_time(stop).await });
    }

    /// Works off the schedule until `stop`. Returns when the workers have wound down.
    pub async fn work(&self, settings: WorkerSettings, stop: CancellationToken) {
        let engine = self.0.clone();
        let handler = move |lease: Lease| {
            let engine = engine.clone();
            let span = jobs::span_of(&lease.work);
            async move { engine.handle(lease).await }.instrument(span)
        };
        worker::work(
            self.0.queue.clone(),
            settings,
            self.0.tracker.clone(),
            stop,
            handler,
        )
        .await;
    }

    /// Where others write to the same database, waits look again from now on until `stop`, and the latest events are matched once more.
    fn look_twice(&self, stop: &CancellationToken) {
        if self.0.store.writers() == Writers::One {
            return;
        }
        let (engine, looking) = (self.0.clone(), stop.clone());
        self.0
            .tracker
            .spawn(async move { engine.look_twice(looking).await });
        let (engine, stop) = (self.0.clone(), stop.clone());
        self.0
            .tracker
            .spawn(async move { engine.match_latest(stop).await });
    }

    /// The time.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Where ids come from.
    pub fn ids(&self) -> &IdSource {
        &self.0.ids
    }

    /// What the services go by.
    pub fn settings(&self) -> &ServiceSettings {
        &self.0.settings
    }

    /// What happened since the start.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// Credentials that were refused since the start.
    pub fn sign_in_failures(&self) -> &SignInFailures {
        &self.0.sign_in_failures
    }

    /// The client through which apps are called, for discovery.
    pub fn client(&self) -> &AppClient {
        &self.0.client
    }

    /// The schedule, for figures.
    pub fn queue(&self) -> &Queue {
        &self.0.queue
    }

    /// The database, for figures.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Sign-in.
    pub fn auth(&self) -> Auth<'_> {
        Auth(&self.0)
    }

    /// What callers may ask of the API.
    pub fn budgets(&self) -> Budgets<'_> {
        Budgets(&self.0)
    }

    /// Events.
    pub fn events(&self) -> Events<'_> {
        Events(&self.0)
    }

    /// Runs.
    pub fn runs(&self) -> Runs<'_> {
        Runs(&self.0)
    }

    /// Apps.
    pub fn apps(&self) -> Apps<'_> {
        Apps(&self.0)
    }

    /// Functions.
    pub fn functions(&self) -> Functions<'_> {
        Functions(&self.0)
    }

    /// Operations on many runs.
    pub fn bulk(&self) -> Bulk<'_> {
        Bulk(&self.0)
    }

    /// Signals.
    pub fn signals(&self) -> Signals<'_> {
        Signals(&self.0)
    }

    /// Reports of running apps.
    pub fn checkpoints(&self) -> Checkpoints<'_> {
        Checkpoints(&self.0)
    }

    /// What only test suites ask for.
    ///
    /// # Errors
    /// `Conflict` with `test_routes_off` unless the settings allow it.
    pub fn suites(&self) -> Result<Suites<'_>, Error> {
        Suites::new(&self.0)
    }

    /// Live views.
    pub fn live(&self) -> LiveViews<'_> {
        LiveViews(&self.0)
    }

    /// Figures over time.
    pub fn metrics(&self) -> Metrics<'_> {
        Metrics(&self.0)
    }

    /// Whether the server can do its work.
    pub async fn health(&self) -> Health {
        let engine = &self.0;
        let schedule = match (engine.queue.is_shared(), engine.queue.state()) {
            (false, _) => "embedded",
            (true, ScheduleState::Whole) => "connected",
            (true, ScheduleState::Filling | ScheduleState::Closed | ScheduleState::Lost) => {
                "rebuilding"
            }
            (true, ScheduleState::Unreachable) => "disconnected",
        };
        // Redis answers within a second, or counts as not answering.
        let stats = engine.queue.stats().await.ok();
        Health {
            database: engine.store.kind(),
            database_connected: engine.store.ping().await.is_ok(),
            schedule,
            rebuild: stats.and_then(|stats| stats.rebuild),
            ready: engine.ready.load(Ordering::Relaxed),
            depth: stats.map_or(0, |stats| stats.entries),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}
