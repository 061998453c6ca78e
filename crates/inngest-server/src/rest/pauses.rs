//! Pausing functions and resuming them over REST.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use inngest_core::{
    access::{ActorKind, Author, Scope},
    limits,
    pause::{Pause, PauseInFlight, PauseNewEvents},
    time::Timestamp,
};
use inngest_services::PauseRequest;

use crate::rest::{
    body::FunctionBody,
    input::{JsonBody, TimeInput},
    operation::{Ask, Head, Operation},
    problem::Refusal,
    reply::Data,
};

/// Operations on pauses.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Head::post("pauseFunction", "/functions/{function}/pause")
            .needs(Scope::FunctionsWrite)
            .told(
                "functions",
                "Pauses a function, or changes how it is paused; it starts no run meanwhile.",
            )
            .write(pause),
        Head::post("resumeFunction", "/functions/{function}/resume")
            .needs(Scope::FunctionsWrite)
            .told(
                "functions",
                "Ends the pause of a function; again is fine. What was held back goes on.",
            )
            .read(resume),
    ]
}

/// How to pause a function.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PauseInput")]
struct PauseInput {
    /// What becomes of runs that have started: they go on, their next step waits, or they are cancelled with those that have not
    /// started. `continue` when omitted.
    in_flight: Option<InFlightWord>,
    /// What becomes of new triggers: they are recorded as skipped runs, or their runs wait. `skip` when omitted.
    new_events: Option<NewEventsWord>,
    /// A note for people.
    #[schemars(length(max = limits::PAUSE_REASON_BYTES))]
    reason: Option<String>,
    /// When it ends by itself; never when omitted.
    resumes_at: Option<TimeInput>,
}

#[derive(Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "PauseInFlight", inline)]
enum InFlightWord {
    Continue,
    Hold,
    Cancel,
}

#[derive(Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "PauseNewEvents", inline)]
enum NewEventsWord {
    Skip,
    Hold,
}

async fn pause(ask: Ask, body: JsonBody<PauseInput>) -> Result<Data<FunctionBody>, Refusal> {
    let input = body.value;
    let request = PauseRequest {
        in_flight: match input.in_flight {
            None | Some(InFlightWord::Continue) => PauseInFlight::Continue,
            Some(InFlightWord::Hold) => PauseInFlight::Hold,
            Some(InFlightWord::Cancel) => PauseInFlight::Cancel,
        },
        new_events: match input.new_events {
            None | Some(NewEventsWord::Skip) => PauseNewEvents::Skip,
            Some(NewEventsWord::Hold) => PauseNewEvents::Hold,
        },
        reason: input.reason,
        resumes_at: input.resumes_at.map(|at| at.0),
    };
    let functions = ask.services().functions();
    let paused = functions.pause_named(&ask.actor, ask.part("function"), request);
    Ok(Data(FunctionBody::new(&ask.actor, &paused.await?)))
}

async fn resume(ask: Ask) -> Result<Data<FunctionBody>, Refusal> {
    let functions = ask.services().functions();
    let resumed = functions.resume_named(&ask.actor, ask.part("function"));
    Ok(Data(FunctionBody::new(&ask.actor, &resumed.await?)))
}

/// Why and how a function is paused.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Pause")]
pub(crate) struct PauseBody {
    #[schemars(extend("format" = "date-time"))]
    paused_at: String,
    paused_by: ByBody,
    /// A note for people.
    reason: Option<String>,
    /// What becomes of runs that have started.
    in_flight: InFlightWord,
    /// What becomes of new triggers.
    new_events: NewEventsWord,
    /// When it ends by itself; null for never.
    #[schemars(extend("format" = "date-time"))]
    resumes_at: Option<String>,
}

impl PauseBody {
    pub(crate) fn new(pause: &Pause) -> Self {
        Self {
            paused_at: pause.at.to_rfc3339(),
            paused_by: ByBody::new(&pause.by),
            reason: pause.reason.clone(),
            in_flight: match pause.in_flight {
                PauseInFlight::Continue => InFlightWord::Continue,
                PauseInFlight::Hold => InFlightWord::Hold,
                PauseInFlight::Cancel => InFlightWord::Cancel,
            },
            new_events: match pause.new_events {
                PauseNewEvents::Skip => NewEventsWord::Skip,
                PauseNewEvents::Hold => NewEventsWord::Hold,
            },
            resumes_at: pause.resumes_at.map(Timestamp::to_rfc3339),
        }
    }
}

/// Who did something.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Actor")]
pub(crate) struct ByBody {
    /// What sort of caller it was; `Anonymous` where nobody is asked.
    #[schemars(extend("enum" = ["User", "Key", "Anonymous", "System"]))]
    kind: &'static str,
    /// Who that is in the words of the issuer of its token; null without a token.
    subject: Option<String>,
}

impl ByBody {
    pub(crate) fn new(author: &Author) -> Self {
        Self {
            kind: match author.kind {
                ActorKind::Token => "User",
                ActorKind::SigningKey | ActorKind::EventKey => "Key",
                ActorKind::Dev => "Anonymous",
                ActorKind::System => "System",
            },
            subject: author.subject.as_deref().map(str::to_owned),
        }
    }
}
