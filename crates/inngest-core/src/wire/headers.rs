//! Names of headers, in lower case.

/// `t=<unix seconds>&s=<hex>`, see [`super::signature`].
pub const SIGNATURE: &str = "x-inngest-signature";
/// `dev` or `cloud`: what kind of server answers or calls.
pub const SERVER_KIND: &str = "x-inngest-server-kind";
/// The kind that an app saw when it was asked to register.
pub const EXPECTED_SERVER_KIND: &str = "x-inngest-expected-server-kind";
/// Name and version of the SDK, for example `inngest-js:v4.24.0`.
pub const SDK: &str = "x-inngest-sdk";
/// Present when an SDK answered, even where it hides [`SDK`].
pub const SDK_HANDLED: &str = "x-inngest-sdk-handled";
/// The web framework of an app.
pub const FRAMEWORK: &str = "x-inngest-framework";
/// Where an app is hosted.
pub const PLATFORM: &str = "x-inngest-platform";
/// The environment that an app or sender names.
pub const ENV: &str = "x-inngest-env";
/// `in_band` or `out_of_band`.
pub const SYNC_KIND: &str = "x-inngest-sync-kind";
/// The dialect of a call or reply.
pub const REQUEST_VERSION: &str = "x-inngest-req-version";
/// `true` forbids another attempt.
pub const NO_RETRY: &str = "x-inngest-no-retry";
/// When to try again.
pub const RETRY_AFTER: &str = "retry-after";
/// The run that a call is for.
pub const RUN_ID: &str = "x-run-id";
/// `step`, or the one step that a call is for.
pub const STEP_ID: &str = "x-inngest-step-id";
/// The work that a call carries out; the same for all its attempts.
pub const JOB_ID: &str = "x-inngest-job-id";
/// This one call.
pub const REQUEST_ID: &str = "x-request-id";
/// The epoch of the work, if above 0.
pub const GENERATION_ID: &str = "x-inngest-generation-id";
/// Makes event ids repeat when a sender tries again.
pub const EVENT_ID_SEED: &str = "x-inngest-event-id-seed";
/// `Bearer <hashed signing key>`.
pub const AUTHORIZATION: &str = "authorization";
