//! Steps that an app reports while it keeps running (sdk-protocol 7.2).

use crate::{
    ids::{FunctionId, RunId},
    json::Json,
    limits,
    op::{Op, OpKind},
    wire::ops::{self, InvalidOp, parse_op},
};

/// One report.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The run.
    pub run: RunId,
    /// Its function, where the app says so.
    pub function: Option<FunctionId>,
    /// The work that the app is carrying out, as the call named it; empty when it does not say.
    pub qi_id: String,
    /// The call, as it named itself.
    pub request_id: Option<String>,
    /// The epoch under which the call was made.
    pub generation: Option<i64>,
    /// Finished steps, in order. Only `Step`, `StepRun`, `StepPlanned`, `DeferAdd` and `DeferAbort` occur.
    pub ops: Vec<Op>,
}

/// Why a report was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCheckpoint {
    /// Not what an SDK sends. Status 400.
    #[error("invalid checkpoint: {0}")]
    Malformed(String),
    /// A step is over its limit. Status 413.
    #[error("{0}")]
    TooLarge(String),
}

/// Reads a report. `run` is the one that the path names.
///
/// # Errors
/// See [`InvalidCheckpoint`]. A body that names another run than the path is malformed.
pub fn parse_checkpoint(body: &[u8], run: RunId) -> Result<Checkpoint, InvalidCheckpoint> {
    let json =
        Json::parse(body).map_err(|error| InvalidCheckpoint::Malformed(error.to_string()))?;
    if !json.is_object() {
        return Err(InvalidCheckpoint::Malformed("not an object".to_owned()));
    }
    let mut checkpoint = Checkpoint {
        run,
        function: None,
        qi_id: String::new(),
        request_id: None,
        generation: None,
        ops: Vec::new(),
    };
    for (key, value) in json.members() {
        let text = value.to_text().filter(|text| !text.is_empty());
        match key.as_ref() {
            "run_id" if text.as_ref().is_some_and(|text| text.parse() != Ok(run)) => {
                return Err(InvalidCheckpoint::Malformed(
                    "`run_id` differs from the path".to_owned(),
                ));
            }
            "fn_id" => checkpoint.function = text.and_then(|text| text.parse().ok()),
            "qi_id" => checkpoint.qi_id = text.unwrap_or_default(),
            "request_id" => checkpoint.request_id = text,
            "generation_id" => {
                checkpoint.generation =
                    ops::whole(&value).and_then(|number| i64::try_from(number).ok())
            }
            "steps" => checkpoint.ops = read_steps(&value)?,
            _ => {}
        }
    }
    Ok(checkpoint)
}

fn read_steps(steps: &Json) -> Result<Vec<Op>, InvalidCheckpoint> {
    let mut ops = Vec::new();
    for step in steps.items() {
        let op = parse_op(&step).map_err(|error| match error {
            InvalidOp::TooLarge { .. } => InvalidCheckpoint::TooLarge(error.to_string()),
            other => InvalidCheckpoint::Malformed(other.to_string()),
        })?;
        let may_be_reported = matches!(
            op.kind,
            OpKind::StepRun { .. }
                | OpKind::StepVerbatim { .. }
                | OpKind::StepPlanned
                | OpKind::DeferAdd { .. }
                | OpKind::DeferAbort { .. }
        );
        if !may_be_reported {
            return Err(InvalidCheckpoint::Malformed(format!(
                "the op of step `{}` cannot be reported this way",
                op.step
            )));
        }
        if ops.len() == limits::OPS_PER_REPLY {
            return Err(InvalidCheckpoint::TooLarge(format!(
                "more than {} steps",
                limits::OPS_PER_REPLY
            )));
        }
        ops.push(op);
    }
    Ok(ops)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "01K3ZC6WQ5M3J6V9Y1Z8T3B2XA";

    fn read(body: &str) -> Result<Checkpoint, InvalidCheckpoint> {
        parse_checkpoint(body.as_bytes(), RUN.parse().unwrap())
    }

    #[test]
    fn finished_steps_are_read_and_all_else_is_ignored() {
        let got = read(
            r#"{"run_id":"01K3ZC6WQ5M3J6V9Y1Z8T3B2XA","fn_id":"5ad06df4-6f2c-4c41-9e7b-0d0f8f1a2b3c","qi_id":"q","request_id":"r","generation_id":3,
                "steps":[{"op":"StepRun","id":"a","data":1,"rawArgs":[null],"promise":{}},{"op":"StepPlanned","id":"b"}]}"#,
        )
        .unwrap();
        assert_eq!(
            (
                got.qi_id.as_str(),
                got.request_id.as_deref(),
                got.generation
            ),
            ("q", Some("r"), Some(3))
        );
        assert!(got.function.is_some());
        assert_eq!(got.ops.len(), 2);
    }

    #[test]
    fn what_cannot_be_reported_is_refused() {
        let large = format!(
            r#"{{"steps":[{{"op":"StepRun","id":"a","data":"{}"}}]}}"#,
            "x".repeat(limits::STEP_BYTES)
        );
        assert!(matches!(read(&large), Err(InvalidCheckpoint::TooLarge(_))));
        for bad in [
            "",
            "[]",
            r#"{"run_id":"01K3ZC6WQ5M3J6V9Y1Z8T3B2XB"}"#,
            r#"{"steps":[{"op":"Sleep","id":"a"}]}"#,
            r#"{"steps":[{"op":"StepError","id":"a"}]}"#,
            r#"{"steps":[{"op":"Unheard","id":"a"}]}"#,
            r#"{"steps":[1]}"#,
        ] {
            assert!(
                matches!(read(bad), Err(InvalidCheckpoint::Malformed(_))),
                "{bad}"
            );
        }
        assert_eq!(read("{}").unwrap().ops, []);
    }
}
