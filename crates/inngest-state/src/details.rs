//! The stored form of what a step asked for, and of what else its app said of it. Which members count as what it asked for follows from
//! the kind of the step.

use inngest_core::{
    json::Json,
    run::{CodeId, StepDetails, StepKind, StepTold},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    code_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Box<RawValue>>,
}

/// None when there is nothing to keep.
pub(crate) fn to_bytes(details: Option<&StepDetails>, told: &StepTold) -> Option<Vec<u8>> {
    if details.is_none() && told.is_empty() {
        return None;
    }
    let code_id = told.code_id.as_ref();
    let mut stored = Stored {
        until: details
            .and_then(StepDetails::until)
            .map(Timestamp::as_millis),
        code_id: code_id.map(|it| it.id.clone()),
        index: code_id.and_then(|it| it.index),
        input: told.input.as_ref().map(|input| input.raw().to_owned()),
        ..Stored::default()
    };
    if let Some(details) = details {
        stored.ask(details);
    }
    // A struct of texts, numbers and JSON always has a JSON form.
    serde_json::to_vec(&stored).ok()
}

impl Stored {
    fn ask(&mut self, details: &StepDetails) {
        match details {
            StepDetails::Code { sort } => self.name = Some(sort.clone()),
            StepDetails::Sleep { .. } => {}
            StepDetails::Event {
                name, expression, ..
            } => {
                self.name = Some(name.clone());
                self.expression.clone_from(expression);
            }
            StepDetails::Signal { name, .. } => self.name = Some(name.clone()),
            StepDetails::Invoke { function, .. } => self.name = Some(function.clone()),
            StepDetails::Fetch { url, method } => {
                self.url = Some(url.clone());
                self.method = Some(method.clone());
            }
        }
    }
}

/// What the step asked for is none when a member is missing that a step of this kind has, as a later version may have it.
pub(crate) fn from_bytes(kind: StepKind, bytes: &[u8]) -> (Option<StepDetails>, StepTold) {
    let mut stored: Stored = serde_json::from_slice(bytes).unwrap_or_default();
    let index = stored.index;
    let told = StepTold {
        code_id: stored.code_id.take().map(|id| CodeId { id, index }),
        input: stored
            .input
            .take()
            .and_then(|input| Json::parse(input.get().as_bytes()).ok()),
    };
    (asked(kind, stored), told)
}

fn asked(kind: StepKind, stored: Stored) -> Option<StepDetails> {
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
            for told in [StepTold::default(), told()] {
                let stored = to_bytes(Some(&details), &told).unwrap();
                let read = from_bytes(kind, &stored);
                assert_eq!(read, (Some(details.clone()), told));
            }
        }
        let nothing = (None, StepTold::default());
        assert_eq!(from_bytes(StepKind::Sleep, b"{}"), nothing);
        assert_eq!(from_bytes(StepKind::Sleep, b"?"), nothing);
    }

    fn told() -> StepTold {
        StepTold {
            code_id: Some(CodeId {
                id: "charge".to_owned(),
                index: Some(2),
            }),
            input: Some(Json::parse(b"[12345678901234567890,1.50]").unwrap()),
        }
    }

    #[test]
    fn what_an_app_said_of_a_step_needs_nothing_that_the_step_asked_for() {
        let stored = to_bytes(None, &told()).unwrap();
        assert_eq!(from_bytes(StepKind::Run, &stored), (None, told()));
        assert_eq!(to_bytes(None, &StepTold::default()), None);
    }
}
