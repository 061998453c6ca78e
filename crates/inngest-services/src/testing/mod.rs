//! The services in process, on a scratch database, with a clock that only moves when told, and an app beside them.
//!
//! [`Fixture::settle`] carries out every job that is due and returns when none is; time moves by [`Fixture::advance`] alone. Jobs are
//! carried out by the code that the worker pool calls. A fixture can be told to be unkind: to deliver each job twice, or to forget
//! after each job everything that is not in the database. When it is dropped it checks the house: no lease, no stuck run, nothing left
//! behind (see `Store::complaints`).

mod app;
mod http;
mod processes;
mod script;

use std::{
    path::PathBuf,
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use inngest_core::{
    access::Actor,
    ids::{EventId, IdSource, RunId},
    job::Work,
    page::{Direction, MAX_PAGE, PageRequest},
    run::{FailedAttempt, Run, StepRecord},
    time::{Clock, Timestamp},
    wire::event::parse_events,
};
use inngest_executor::{AppClient, ExecutorSettings, ServerKind};
use inngest_queue::{
    Queue,
    model::{Lease, QueueSettings, Verdict},
};
use inngest_state::{Place, RunFilter, Store, StoreSettings, testing::TestDatabase};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::{Mode, Parts, Programs, ServiceSettings, Services, rollups::Sampler};

pub use app::{Answer, App, Call, Gate};
pub use script::{Flow, Script, step_run};

/// When tests begin: 2026-08-22T10:15:30.123Z.
pub const START: Timestamp = Timestamp::from_millis(1_787_393_730_123);

/// Most jobs that one [`Fixture::settle`] carries out; more are taken for an endless loop.
const MOST_JOBS: usize = 50_000;

/// How unkind a fixture is, and where it keeps its data.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Each job is handed out twice, the second time after the first.
    pub twice: bool,
    /// After each job, all that is not in the database is forgotten.
    pub forgetful: bool,
    /// Jobs carried out at once; 0 means 1.
    pub at_once: usize,
    /// Keep the database in this directory, so that [`Fixture::restart`] finds it again.
    pub directory: Option<PathBuf>,
    /// How long a call runs before its run is shown as running. Never, unless said.
    pub mark_started_after: Option<Duration>,
    /// Longest call; two hours unless said.
    pub call_timeout: Option<Duration>,
    /// Whether what only test suites ask for is done.
    pub test_routes: bool,
}

/// What [`Fixture::settle`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Jobs carried out, those gone on with in place included.
    pub jobs: usize,
    /// Of these, jobs that a worker went on with in place.
    pub continued: usize,
}

/// The services, ready for one test.
pub struct Fixture {
    options: Options,
    services: RwLock<Services>,
    clock: Clock,
    ids: IdSource,
    programs: Programs,
    client: AppClient,
    tracker: TaskTracker,
    unchecked: AtomicBool,
    stale_before: Mutex<u64>,
    place: Place,
    /// Goes last: with it goes the schema that the stores are in.
    _postgres: Option<TestDatabase>,
}

impl Fixture {
    /// With the defaults.
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// With these options.
    ///
    /// # Panics
    /// When the database cannot be opened.
    pub async fn with(options: Options) -> Self {
        let tracker = TaskTracker::new();
        let (clock, programs) = (Clock::manual(START), Programs::default());
        let mut executor = ExecutorSettings::new(ServerKind::Dev);
        if let Some(timeout) = options.call_timeout {
            executor.call_timeout = timeout;
        }
        let client = AppClient::new(executor).expect("a client without TLS can be made");
        let ids = IdSource::counting();
        // Where `TEST_POSTGRES_URL` names a server, everything but what has a directory of its own runs there.
        let postgres = match options.directory {
            Some(_) => None,
            None => TestDatabase::postgres().await,
        };
        let place = match (&options.directory, &postgres) {
            (Some(directory), _) => Place::Directory(directory.clone()),
            (None, Some(database)) => database.settings().place.clone(),
            (None, None) => Place::Scratch,
        };
        let store = open(&place, &programs, &tracker).await;
        let parts = Parts {
            store,
            queue: Queue::memory(clock.clone(), QueueSettings::default()),
            client: client.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
            programs: programs.clone(),
            tracker: tracker.clone(),
            settings: settings(&options),
        };
        let services = Services::start(parts)
            .await
            .expect("services start on a fresh database");
        Self {
            options,
            services: RwLock::new(services),
            clock,
            ids,
            programs,
            client,
            tracker,
            unchecked: AtomicBool::new(false),
            stale_before: Mutex::new(0),
            place,
            _postgres: postgres,
        }
    }

    /// The services as they are now; after [`Fixture::forget`] they are others.
    pub fn services(&self) -> Services {
        self.services
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The database.
    pub fn store(&self) -> Store {
        self.services().0.store.clone()
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A new app, without functions yet.
    pub async fn app(&self, name: &str) -> App {
        App::start(name, &self.tracker).await
    }

    /// Sends one event with this data.
    pub async fn send(&self, name: &str, data: Value) -> EventId {
        self.send_event(json!({"name": name, "data": data})).await
    }

    /// Sends one event as it stands.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn send_event(&self, event: Value) -> EventId {
        self.send_events(vec![event]).await[0]
    }

    /// Sends events in one request.
    ///
    /// # Panics
    /// When they are refused.
    pub async fn send_events(&self, events: Vec<Value>) -> Vec<EventId> {
        let body = Value::Array(events).to_string();
        let events = parse_events(body.as_bytes(), None, None, self.now(), &self.ids)
            .expect("tests send events that are well-formed");
        self.services()
            .events()
            .ingest(&Actor::dev(), events)
            .await
            .expect("events are taken")
    }

    /// The runs that an event started, oldest first.
    pub async fn runs_of(&self, event: EventId) -> Vec<Run> {
        let services = self.services();
        let mut runs = services
            .runs()
            .of_events(&Actor::dev(), &[event])
            .await
            .expect("runs can be read");
        runs.remove(&event).unwrap_or_default()
    }

    /// The one run that an event started.
    ///
    /// # Panics
    /// When there is none, or more than one.
    pub async fn run_of(&self, event: EventId) -> Run {
        let mut runs = self.runs_of(event).await;
        assert_eq!(runs.len(), 1, "runs of {event}: {runs:#?}");
        runs.remove(0)
    }

    /// A run by id.
    ///
    /// # Panics
    /// When there is none.
    pub async fn run(&self, id: RunId) -> Run {
        self.services()
            .runs()
            .get(&Actor::dev(), id)
            .await
            .expect("the run exists")
    }

    /// All runs, oldest first, up to the length of one page.
    pub async fn runs(&self) -> Vec<Run> {
        let services = self.services();
        let page = services
            .runs()
            .list(
                &Actor::dev(),
                &RunFilter::default(),
                Direction::Ascending,
                &PageRequest::new(MAX_PAGE, None),
            )
            .await
            .expect("runs can be listed");
        page.items
    }

    /// The steps of a run.
    pub async fn steps(&self, run: RunId) -> Vec<StepRecord> {
        let services = self.services();
        let mut steps = services
            .runs()
            .steps_of(&Actor::dev(), &[run])
            .await
            .expect("steps can be read");
        steps.remove(&run).unwrap_or_default()
    }

    /// The attempts of a run that failed.
    pub async fn failed_attempts(&self, run: RunId) -> Vec<FailedAttempt> {
        let services = self.services();
        let mut attempts = services
            .runs()
            .attempts_of(&Actor::dev(), &[run])
            .await
            .expect("attempts can be read");
        attempts.remove(&run).unwrap_or_default()
    }

    /// The durable work of a run.
    pub async fn work(&self, run: RunId) -> Vec<Work> {
        self.store()
            .work_of_run(Actor::dev().env, run)
            .await
            .expect("work can be read")
    }

    /// Carries out all jobs that are due, and those that follow, until none is due.
    ///
    /// # Panics
    /// When it does not come to an end.
    pub async fn settle(&self) -> Settled {
        let mut settled = Settled::default();
        let mut running = FuturesUnordered::new();
        let at_once = self.options.at_once.max(1);
        loop {
            let services = self.services();
            let free = at_once - running.len();
            if free > 0 {
                for lease in self.look(&services, free).await {
                    running.push(self.carry_out(services.clone(), lease));
                }
            }
            if running.is_empty() {
                return settled;
            }
            let queue = services.0.queue.clone();
            let free = at_once - running.len();
            tokio::select! {
                biased;
                Some(done) = running.next() => {
                    settled.jobs += 1 + done;
                    settled.continued += done;
                    if self.options.forgetful {
                        self.forget().await;
                    }
                }
                // One job of many may take long; what becomes due meanwhile is not kept waiting by it.
                leases = queue.lease(free), if free > 0 => {
                    for lease in leases.expect("the schedule in memory always answers") {
                        running.push(self.carry_out(services.clone(), lease));
                    }
                }
            }
            assert!(
                settled.jobs < MOST_JOBS,
                "the jobs do not come to an end: {settled:?}"
            );
        }
    }

    async fn look(&self, services: &Services, max: usize) -> Vec<Lease> {
        let look = services.0.queue.try_lease(max).await;
        look.expect("the schedule in memory always answers").leases
    }

    async fn carry_out(&self, services: Services, mut lease: Lease) -> usize {
        let mut continued = 0;
        loop {
            let verdict = services.0.handle(lease.clone()).await;
            if self.options.twice {
                // Whatever the second one says, the first was there before it.
                drop(services.0.handle(lease.clone()).await);
            }
            let verdict = if self.options.forgetful {
                without_continuing(verdict)
            } else {
                verdict
            };
            let settled = services.0.queue.settle(lease, verdict).await;
            match settled
                .expect("the schedule in memory always answers")
                .continued
            {
                Some(next) => lease = next,
                None => return continued,
            }
            continued += 1;
            assert!(continued < MOST_JOBS, "a run goes on without end");
        }
    }

    /// Takes up to `max` leases of what is due without doing anything about it.
    pub async fn lease(&self, max: usize) -> Vec<Lease> {
        self.look(&self.services(), max).await
    }

    /// Does what a lease is for, as a worker would, without telling the schedule.
    pub async fn handle(&self, lease: Lease) -> Verdict {
        self.services().0.handle(lease).await
    }

    /// Tells the schedule what became of a lease.
    pub async fn settle_lease(&self, lease: Lease, verdict: Verdict) {
        let verdict = without_continuing(verdict);
        let settled = self.services().0.queue.settle(lease, verdict).await;
        settled.expect("the schedule in memory always answers");
    }

    /// Moves the clock, and fills the schedule with what is due within its horizon. Nothing is carried out yet.
    pub async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        let services = self.services();
        services.0.queue.kick();
        self.refill(&services).await;
    }

    /// Moves the clock to the next time at which something is due, and settles. `false` when nothing is due, ever.
    pub async fn advance_to_next(&self) -> bool {
        let now = self.now();
        let next = self.store().next_due(now).await;
        let Some(at) = next.expect("the database answers") else {
            return false;
        };
        self.advance(at.since(now)).await;
        self.settle().await;
        true
    }

    async fn refill(&self, services: &Services) {
        services
            .0
            .refill_once()
            .await
            .expect("the schedule can be filled");
    }

    /// Samples how full the schedule is, as the server does every ten seconds.
    ///
    /// # Panics
    /// When the database does not answer.
    pub async fn sample(&self) {
        let sampled = self.services().0.sample(&mut Sampler::new()).await;
        sampled.expect("the database answers");
    }

    /// Forgets everything that is not in the database, as a restart does: cached runs and functions, the whole schedule, all leases.
    pub async fn forget(&self) {
        self.note_stale_writes();
        let store = self.store();
        self.build(store).await;
    }

    /// Closes the database and opens it again. Needs [`Options::directory`].
    ///
    /// # Panics
    /// Without a directory.
    pub async fn restart(&self) {
        assert!(
            self.options.directory.is_some(),
            "a scratch database does not survive"
        );
        self.note_stale_writes();
        let store = open(&self.place, &self.programs, &self.tracker).await;
        self.build(store).await;
    }

    fn parts(&self, store: Store) -> Parts {
        Parts {
            store,
            queue: Queue::memory(self.clock.clone(), QueueSettings::default()),
            client: self.client.clone(),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
            programs: self.programs.clone(),
            tracker: self.tracker.clone(),
            settings: settings(&self.options),
        }
    }

    async fn build(&self, store: Store) {
        let services = Services::start(self.parts(store))
            .await
            .expect("services start on a database of theirs");
        self.refill(&services).await;
        *self
            .services
            .write()
            .unwrap_or_else(PoisonError::into_inner) = services;
    }

    fn note_stale_writes(&self) {
        let services = self.services();
        let count = services.counters().stale_writes.load(Ordering::Relaxed);
        *self
            .stale_before
            .lock()
            .unwrap_or_else(PoisonError::into_inner) += count;
    }

    /// Outcomes that were refused because the work belonged to somebody else, since the beginning.
    pub fn stale_writes(&self) -> u64 {
        let services = self.services();
        let now = services.counters().stale_writes.load(Ordering::Relaxed);
        now + *self
            .stale_before
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Does not check the house at the end, because the test leaves it in disorder on purpose.
    pub fn leave_unchecked(&self) {
        self.unchecked.store(true, Ordering::Relaxed);
    }

    /// What is wrong with the house; see `Store::complaints`.
    pub async fn complaints(&self) -> Vec<String> {
        self.complaints_of(&self.store()).await
    }

    async fn complaints_of(&self, store: &Store) -> Vec<String> {
        let mut complaints = store
            .complaints(Some(self.now()))
            .await
            .expect("the database answers");
        let stats = self.services().0.queue.stats().await;
        let stats = stats.expect("the schedule in memory always answers");
        if stats.leased > 0 {
            complaints.push(format!("{} leases that nobody gave back", stats.leased));
        }
        complaints
    }
}

impl Drop for Fixture {
    /// Checks the house, on a thread of its own because this one may not wait.
    fn drop(&mut self) {
        if std::thread::panicking() || self.unchecked.load(Ordering::Relaxed) {
            return;
        }
        let this: &Self = self;
        let complaints = std::thread::scope(|scope| {
            let checking = scope.spawn(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime can be made")
                    .block_on(async {
                        // Connections to Postgres belong to the runtime that made them, and that one stands still.
                        let store = match this.place {
                            Place::Postgres(_) => {
                                open(&this.place, &this.programs, &TaskTracker::new()).await
                            }
                            Place::Scratch | Place::Directory(_) => this.store(),
                        };
                        this.complaints_of(&store).await
                    })
            });
            checking.join().expect("the check does not panic")
        });
        assert!(
            complaints.is_empty(),
            "the house is not in order: {complaints:#?}"
        );
    }
}

async fn open(place: &Place, programs: &Programs, tracker: &TaskTracker) -> Store {
    // More than the server's: the check of the house cannot wait until connections have come back.
    let settings = StoreSettings {
        readers: match place {
            Place::Postgres(_) => 2,
            Place::Scratch | Place::Directory(_) => 32,
        },
        ..StoreSettings::at(place.clone())
    };
    Store::open(&settings, programs.matcher(), tracker)
        .await
        .expect("a database can be opened")
}

fn settings(options: &Options) -> ServiceSettings {
    ServiceSettings {
        mark_started_after: options
            .mark_started_after
            .unwrap_or(Duration::from_secs(3_600)),
        test_routes: options.test_routes,
        ..ServiceSettings::new(Mode::Dev)
    }
}

fn without_continuing(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Done {
            mut next,
            remove,
            continue_with,
        } => {
            next.extend(continue_with);
            Verdict::Done {
                next,
                remove,
                continue_with: None,
            }
        }
        other => other,
    }
}
