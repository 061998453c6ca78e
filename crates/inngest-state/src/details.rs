//! The stored form of what a step asked for. Which members count follows from the kind of the step.

use inngest_core::{
    run::{StepDetails, StepKind},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Stored {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "if", skip_serializing_if = "Option::is_none")]
    expression: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
}

pub(crate) fn to_bytes(details: &StepDetails) -> Vec<u8> {
    let mut stored = Stored {
        until: details.until().map(Timestamp::as_millis),
        ..Stored::default()
    };
    match details {
        StepDetails::Code { sort } => stored.name = Some(sort.clone()),
        StepDetails::Sleep { .. } => {}
        StepDetails::Event {
            name, expression, ..
        } => {
            stored.name = Some(name.clone());
            stored.expression.clone_from(expression);
        }
        StepDetails::Signal { name, .. } => stored.name = Some(name.clone()),
        StepDetails::Invoke { function, .. } => stored.name = Some(function.clone()),
        StepDetails::Fetch { url, method } => {
            stored.url = Some(url.clone());
            stored.method = Some(method.clone());
        }
    }
    // A struct of texts and numbers always has a JSON form.
    serde_json::to_vec(&stored).unwrap_or_default()
}

/// None when a member is missing that a step of this kind has, as a later version may have it.
pub(crate) fn from_bytes(kind: StepKind, bytes: &[u8]) -> Option<StepDetails> {
    let stored: Stored = serde_json::from_slice(bytes).ok()?;
    let until = stored.until.map(Timestamp::from_millis);
    Some(match kind {
        StepKind::Run => StepDetails::Code { sort: stored.name? },
        StepKind::Sleep => StepDetails::Sleep { until: until? },
        StepKind::WaitForEvent => StepDetails::Event {
            name: stored.name?,
            expression: stored.expression,
            until: until?,
        },
        StepKind::WaitForSignal => StepDetails::Signal {
            name: stored.name?,
            until: until?,
        },
        StepKind::Invoke => StepDetails::Invoke {
            function: stored.name?,
            until: until?,
        },
        StepKind::Fetch | StepKind::Infer => StepDetails::Fetch {
            url: stored.url?,
            method: stored.method?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_step_asked_for_survives_being_stored() {
        let until = Timestamp::from_millis(7);
        let (name, function) = ("a".to_owned(), "b".to_owned());
        for (kind, details) in [
            (
                StepKind::Run,
                StepDetails::Code {
                    sort: "step.sendEvent".to_owned(),
                },
            ),
            (StepKind::Sleep, StepDetails::Sleep { until }),
            (
                StepKind::WaitForEvent,
                StepDetails::Event {
                    name: name.clone(),
                    expression: Some("true".to_owned()),
                    until,
                },
            ),
            (StepKind::WaitForSignal, StepDetails::Signal { name, until }),
            (StepKind::Invoke, StepDetails::Invoke { function, until }),
            (
                StepKind::Infer,
                StepDetails::Fetch {
                    url: "http://a/".to_owned(),
                    method: "GET".to_owned(),
                },
            ),
        ] {
            assert_eq!(from_bytes(kind, &to_bytes(&details)), Some(details));
        }
        assert_eq!(from_bytes(StepKind::Sleep, b"{}"), None);
        assert_eq!(from_bytes(StepKind::Sleep, b"?"), None);
    }
}
