//! What is outstanding for a run, over REST.

use schemars::JsonSchema;
use serde::Serialize;

use inngest_core::{access::Scope, ids::RunId, job::JobKind};
use inngest_services::RunJob;

use crate::rest::{
    operation::{Ask, Head, Mount, Operation},
    problem::Refusal,
    reply::Data,
};

/// Operations on jobs.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Head::get("listJobs", "/runs/{run}/jobs")
            .at(&[Mount::Api, Mount::V1])
            .needs(Scope::RunsRead)
            .told(
                "runs",
                "Lists what is outstanding for a run, soonest first, at most 10; nothing once it has ended.",
            )
            .read(list),
    ]
}

/// Something that is outstanding for a run.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Job")]
struct JobBody {
    #[serde(rename = "JobID")]
    id: String,
    /// Not before.
    #[schemars(extend("format" = "date-time"))]
    at: String,
    /// Always 0: jobs have no place in a queue until they are due.
    position: u32,
    #[schemars(extend("enum" = KINDS))]
    kind: &'static str,
    /// Attempts made before this one.
    attempt: u32,
    /// The step that it is for.
    step_id: Option<String>,
    /// Whether the pause of its function holds it back, whatever the time.
    is_held: bool,
}

/// Every word of [`kind_word`].
const KINDS: &[&str] = &[
    "start", "edge", "sleep", "pause", "resume", "fetch", "cancel", "timeout", "system",
];

/// The words of the older API for what it knows: calls of the app, sleeps, and waits for something.
fn kind_word(job: &RunJob) -> &'static str {
    match job.kind {
        JobKind::Discover if job.is_first => "start",
        JobKind::Discover | JobKind::RunStep => "edge",
        JobKind::Wake => "sleep",
        JobKind::WaitTimeout => "pause",
        JobKind::Resume => "resume",
        JobKind::Fetch => "fetch",
        JobKind::Cancel => "cancel",
        JobKind::StartTimeout | JobKind::FinishTimeout => "timeout",
        JobKind::Cron | JobKind::Release | JobKind::EndPause | JobKind::Bulk => "system",
    }
}

impl JobBody {
    fn new(job: &RunJob) -> Self {
        Self {
            id: job.id.to_string(),
            at: job.due_at.to_rfc3339(),
            position: 0,
            kind: kind_word(job),
            attempt: job.attempt,
            step_id: job.step.as_ref().map(ToString::to_string),
            is_held: job.is_held,
        }
    }
}

async fn list(ask: Ask) -> Result<Data<Vec<JobBody>>, Refusal> {
    let id: RunId = ask.id("run")?;
    let jobs = ask.services().runs().jobs(&ask.actor, id).await?;
    Ok(Data(jobs.iter().map(JobBody::new).collect()))
}
