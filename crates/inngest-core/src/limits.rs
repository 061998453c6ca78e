//! Every size, count and duration limit of the product, one constant each. Values are those of sdk-protocol section 9.

use std::time::Duration;

/// Retries of a function that sets none (so five attempts).
pub const DEFAULT_RETRIES: u32 = 4;
/// Most retries a function may ask for; more are clamped.
pub const MAX_RETRIES: u32 = 20;
/// Shortest and longest delay that an app may ask for before a retry.
pub const RETRY_DELAY_MIN: Duration = Duration::from_secs(1);
/// See [`RETRY_DELAY_MIN`].
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Most steps in one run.
pub const STEPS_PER_RUN: usize = 1_000;
/// Most steps in one run that a test may ask for.
pub const STEPS_PER_RUN_MOST: usize = 10_000;
/// Most ops in one reply.
pub const OPS_PER_REPLY: usize = 1_000;
/// Largest output or input of one step, in bytes of JSON.
pub const STEP_BYTES: usize = 4 * 1024 * 1024;
/// Largest decoded body of an app's reply, in bytes.
pub const REPLY_BYTES: usize = 8 * 1024 * 1024;
/// Largest body of a call to an app; a larger state is fetched by the app (`use_api`).
pub const CALL_BYTES: usize = 4 * 1024 * 1024;
/// Trigger events and step outputs of one run together, in bytes.
pub const STATE_BYTES: usize = 32 * 1024 * 1024;
/// Longest call to an app.
pub const CALL_DURATION: Duration = Duration::from_secs(2 * 3_600);
/// Largest event, in bytes of JSON as sent.
pub const EVENT_BYTES: usize = 3 * 1024 * 1024;
/// Most events in one request.
pub const EVENTS_PER_REQUEST: usize = 5_000;
/// Largest body of a request that sends events, in bytes.
pub const INGEST_BODY_BYTES: usize = 64 * 1024 * 1024;
/// Largest body of any other request, in bytes.
pub const REQUEST_BODY_BYTES: usize = 16 * 1024 * 1024;
/// Bodies of all requests at once, in bytes, unless a setting says otherwise; never less than the largest one.
pub const BODIES_BYTES: usize = 2 * INGEST_BODY_BYTES;
/// Longest name of an event, in bytes.
pub const EVENT_NAME_BYTES: usize = 512;
/// Longest name in a trigger, in bytes.
pub const TRIGGER_NAME_BYTES: usize = 255;
/// Longest caller-given id of an event, in bytes.
pub const EVENT_KEY_BYTES: usize = 512;
/// Longest name of a step that is kept; the rest of a longer one is cut off.
pub const STEP_NAME_BYTES: usize = 1_024;
/// Longest name that an SDK has for the sort of a step that is kept, in bytes; a longer one is not.
pub const STEP_SORT_BYTES: usize = 128;
/// Longest text of what a step asked for (a condition, the name of a function, a URL) that is kept for people to see, in bytes.
pub const DETAIL_BYTES: usize = 8 * 1024;
/// Longest evaluated idempotency key that is kept for people to see, in bytes; the rest is cut off.
pub const SHOWN_KEY_BYTES: usize = 256;
/// Longest text of a header of an answer that is kept for people to see, in bytes; the rest is cut off. Fits into a byte.
pub const RESPONSE_HEADER_BYTES: usize = 80;
/// Most of the headers of one answer that is kept, in bytes.
pub const RESPONSE_HEADERS_BYTES: usize = 400;
/// Longest name of a signal that a step can wait for.
pub const SIGNAL_BYTES: usize = 1_024;
/// Longest sleep and longest wait for an event.
pub const SLEEP_MAX: Duration = Duration::from_secs(366 * 86_400);
/// How long an invoke or a wait for a signal lasts when it names no timeout, and how long a cancel rule lives.
pub const WAIT_DEFAULT: Duration = Duration::from_secs(365 * 86_400);
/// Most triggers of one function.
pub const TRIGGERS: usize = 10;
/// Most cancel rules of one function.
pub const CANCELS: usize = 5;
/// Most step concurrency limits of one function.
pub const CONCURRENCY_LIMITS: usize = 2;
/// Most functions of one app.
pub const FUNCTIONS_PER_APP: usize = 2_000;
/// Most versions of one function that are kept; older ones go with the sync that brings a newer one.
pub const VERSIONS_PER_FUNCTION: u32 = 100;
/// Most names of events that a list of them has.
pub const EVENT_NAMES_LISTED: u32 = 1_000;
/// Most names of events that one transaction counts apart in one environment.
pub const EVENT_NAMES_PER_COMMIT: usize = 100;
/// Most names of events that are counted apart in one environment on one day, UTC.
pub const EVENT_NAMES_PER_DAY: usize = 1_000;
/// How long the same event id starts no second run of a function.
pub const IDEMPOTENCY_WINDOW: Duration = Duration::from_secs(86_400);
/// Longest key by which a caller marks a request as the same, in bytes.
pub const REQUEST_KEY_BYTES: usize = 255;
/// What the outputs on one page of a list may have together before it ends early, in bytes; one entry is always there.
pub const PAGE_BYTES: u64 = 8 * 1024 * 1024;
/// Bytes of events, and of results, that one part of a question has read together: the events of the runs of a page, for example.
pub const TOGETHER_BYTES: u64 = 64 * 1024 * 1024;
/// Longest note on a pause, in bytes.
pub const PAUSE_REASON_BYTES: usize = 1_024;
/// Most functions that an operation on many runs can name.
pub const BULK_FUNCTIONS: usize = 100;
/// Longest name of an operation on many runs, in bytes.
pub const BULK_NAME_BYTES: usize = 256;
/// Most operations on many runs of one environment that have not ended.
pub const BULK_UNENDED: u64 = 100;
/// Most ended operations on many runs of one environment that are kept; older ones go with the next that is asked for.
pub const BULK_KEPT: u64 = 1_000;
/// Most runs that a replay can be asked to start in a second.
pub const REPLAY_RATE: u32 = 10_000;
/// How far ahead the window of an operation on many runs can reach.
pub const BULK_AHEAD: Duration = Duration::from_secs(366 * 86_400);
/// Earliest and latest `ts` of an event: 1980-01-01 and 2100-01-01, in ms.
pub const EVENT_TS_MIN: i64 = 315_532_800_000;
/// See [`EVENT_TS_MIN`].
pub const EVENT_TS_MAX: i64 = 4_102_444_800_000;
/// How much of a foreign reply is kept in an error, in bytes.
pub const ERROR_BODY_BYTES: usize = 8_192;
/// Most redirects that one call follows.
pub const REDIRECTS: usize = 10;
/// How long an app may take to answer a sync, and a probe of discovery.
pub const SYNC_TIMEOUT: Duration = Duration::from_secs(10);
/// See [`SYNC_TIMEOUT`].
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an app may take to answer when somebody has it checked. Shorter than a query may last.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(8);
/// Most events of a waited-for name that a new wait looks back over.
pub const LOOK_BACK_EVENTS: u64 = 5_000;
/// How often one worker goes on with the same run before it hands it back to the schedule.
pub const CONTINUATIONS: u32 = 50;
