//! Signals over REST. `/v1/signals`, whose errors SDKs read, is in `sdk/signal.rs`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use inngest_core::{access::Scope, json::Json};

use crate::rest::{
    input::{AnyJson, JsonBody},
    operation::{Ask, Head, Operation},
    problem::Refusal,
    reply::Data,
};

/// Operations on signals.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Head::post("sendSignal", "/signals")
            .needs(Scope::RunsWrite)
            .told(
                "signals",
                "Resumes the run that waits for a signal. 404 when nobody waits: a signal is not kept.",
            )
            .repeats()
            .write(send),
    ]
}

/// A signal.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "SignalInput")]
pub(crate) struct SignalInput {
    /// Its name.
    signal: String,
    /// What the wait gives its function; null when omitted.
    #[schemars(with = "Option<Value>")]
    data: Option<AnyJson>,
}

/// Who got it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Signalled")]
pub(crate) struct SignalledBody {
    /// The run that was resumed.
    run_id: String,
}

async fn send(ask: Ask, body: JsonBody<SignalInput>) -> Result<Data<SignalledBody>, Refusal> {
    let key = ask.request_key(&body.json)?;
    let SignalInput { signal, data } = body.value;
    let data = data.map_or_else(Json::null, |data| data.0);
    let signals = ask.services().signals();
    let run = signals.send(&ask.actor, &signal, data, key).await?;
    Ok(Data(SignalledBody {
        run_id: run.to_string(),
    }))
}
