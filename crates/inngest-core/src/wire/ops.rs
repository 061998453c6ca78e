//! Ops as apps report them (sdk-protocol 4.8).

use crate::{
    ids::StepId,
    json::Json,
    limits,
    op::{FetchRequest, Op, OpKind, OpTiming},
    run::{CodeId, StepTold},
    wire::memo,
};

/// Why an op could not be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidOp {
    #[error("an op is not an object")]
    NotObject,
    #[error("an op has no name in `op`")]
    Unnamed,
    #[error("op `{0}` is not known to this server")]
    Unknown(String),
    #[error("op `{op}` has no usable step id: {reason}")]
    BadId { op: String, reason: String },
    #[error("op `{op}` of step `{step}` has no {member}")]
    Missing {
        op: String,
        step: String,
        member: &'static str,
    },
    #[error("op `{op}` of step `{step}` has a {member} of more than {limit} bytes")]
    TooLong {
        op: String,
        step: String,
        member: &'static str,
        limit: usize,
    },
    #[error("step {what} size is greater than the limit: `{step}` has {size} bytes, the limit is {limit}", limit = limits::STEP_BYTES)]
    TooLarge {
        step: String,
        what: &'static str,
        size: usize,
    },
}

/// Stands in for the id of an op that is not about a step and names none: SHA-1 of `complete`.
const COMPLETE_ID: &str = "0737c22d3bfae812339732d14d8c7dbd6dc4e09c";

#[derive(Default)]
struct Raw {
    op: String,
    id: String,
    name: Option<String>,
    display_name: Option<String>,
    opts: Option<Json>,
    data: Option<Json>,
    error: Option<Json>,
    timing: Option<Json>,
    userland: Option<Json>,
}

/// Reads one op. Members that are null count as absent; unknown ones are ignored.
pub(super) fn parse_op(value: &Json) -> Result<Op, InvalidOp> {
    if !value.is_object() {
        return Err(InvalidOp::NotObject);
    }
    let mut raw = Raw::default();
    for (key, value) in value.members() {
        match key.as_ref() {
            "op" => raw.op = value.to_text().unwrap_or_default(),
            "id" => raw.id = value.to_text().unwrap_or_default(),
            "name" => raw.name = text(&value),
            "displayName" => raw.display_name = text(&value),
            "opts" => raw.opts = Some(value),
            "data" => raw.data = Some(value),
            "error" => raw.error = Some(value),
            "timing" => raw.timing = Some(value),
            "userland" => raw.userland = Some(value),
            _ => {}
        }
    }
    let word = raw.op.to_ascii_lowercase();
    let names_no_step = matches!(
        word.as_str(),
        "none" | "runcomplete" | "syncruncomplete" | "discoveryrequest"
    );
    let id = if raw.id.is_empty() && names_no_step {
        COMPLETE_ID
    } else {
        &raw.id
    };
    if raw.op.is_empty() {
        return Err(InvalidOp::Unnamed);
    }
    let step = StepId::parse(id).map_err(|error| InvalidOp::BadId {
        op: cut(&raw.op),
        reason: error.to_string(),
    })?;
    check_size(&step, "output", raw.data.as_ref())?;
    check_size(&step, "error", raw.error.as_ref())?;
    check_size(&step, "input", raw.opts.as_ref())?;
    let is_race = raw.opt_text("parallelMode").as_deref() == Some("race");
    let sort = raw
        .opt_text("type")
        .filter(|sort| sort.len() <= limits::STEP_SORT_BYTES);
    let timing = raw.timing.as_ref().and_then(timing_of);
    let input = raw
        .opt("input")
        .filter(|input| input.len() <= limits::DETAIL_BYTES);
    let mut name = raw
        .display_name
        .clone()
        .or_else(|| raw.name.clone())
        .unwrap_or_else(|| step.as_str().to_owned());
    name.truncate(name.floor_char_boundary(limits::STEP_NAME_BYTES));
    let code_id = raw
        .userland
        .as_ref()
        .and_then(|told| code_id_of(told, &step))
        .filter(|told| CodeId::of_name(&name, &step).as_ref() != Some(told));
    let told = StepTold { code_id, input };
    let kind = raw.kind(&word, &step)?;
    Ok(Op {
        step,
        name,
        kind,
        timing,
        sort,
        told,
        is_race,
    })
}

impl Raw {
    fn kind(&mut self, word: &str, step: &StepId) -> Result<OpKind, InvalidOp> {
        Ok(match word {
            "none" => OpKind::None,
            "step" => OpKind::StepVerbatim {
                data: self.take_data(),
            },
            "steprun" => OpKind::StepRun {
                data: self.take_data(),
            },
            "steperror" => OpKind::StepError {
                error: memo::parse_error(&self.error.take().unwrap_or_default()),
            },
            "stepfailed" => OpKind::StepFailed {
                error: memo::parse_error(&self.error.take().unwrap_or_default()),
            },
            "stepplanned" => OpKind::StepPlanned,
            "sleep" => OpKind::Sleep {
                text: self
                    .opt_text("duration")
                    .or_else(|| self.name.take())
                    .unwrap_or_default(),
            },
            "waitforevent" => OpKind::WaitForEvent {
                event: self
                    .opt_text("event")
                    .or_else(|| self.name.take())
                    .ok_or_else(|| self.missing(step, "event name"))
                    .and_then(|event| {
                        self.bounded(step, "event name", event, limits::EVENT_NAME_BYTES)
                    })?,
                expression: self.opt_text("if"),
                timeout: self.opt_text("timeout").unwrap_or_default(),
            },
            "invokefunction" => OpKind::Invoke {
                function: self
                    .opt_text("function_id")
                    .ok_or_else(|| self.missing(step, "`function_id`"))?,
                payload: self
                    .opt("payload")
                    .filter(Json::is_object)
                    .unwrap_or_default(),
                timeout: self.opt_text("timeout"),
            },
            "waitforsignal" => OpKind::WaitForSignal {
                signal: self
                    .opt_text("signal")
                    .or_else(|| self.name.take())
                    .ok_or_else(|| self.missing(step, "signal"))
                    .and_then(|signal| {
                        self.bounded(step, "signal", signal, limits::SIGNAL_BYTES)
                    })?,
                timeout: self.opt_text("timeout"),
                replace: self.opt_text("conflict").as_deref() == Some("replace"),
            },
            "gateway" | "aigateway" => {
                if self.opt_text("url").is_none() {
                    return Err(self.missing(step, "`url`"));
                }
                OpKind::Fetch(FetchRequest {
                    is_inference: word == "aigateway",
                    opts: self.opts.take().unwrap_or_default(),
                })
            }
            "runcomplete" | "syncruncomplete" => OpKind::RunComplete {
                data: self.take_data(),
            },
            "discoveryrequest" => OpKind::Discover,
            "deferadd" => OpKind::DeferAdd {
                function: self
                    .opt_text("fn_slug")
                    .ok_or_else(|| self.missing(step, "`fn_slug`"))?,
                input: self.opt("input").unwrap_or_else(Json::empty_object),
            },
            "deferabort" => {
                let target = self.opt_text("target_hashed_id").unwrap_or_default();
                OpKind::DeferAbort {
                    target: StepId::parse(&target)
                        .map_err(|_| self.missing(step, "`target_hashed_id`"))?,
                }
            }
            _ => return Err(InvalidOp::Unknown(cut(&self.op))),
        })
    }

    fn take_data(&mut self) -> Json {
        self.data.take().unwrap_or_default()
    }

    fn opt(&self, key: &str) -> Option<Json> {
        self.opts
            .as_ref()?
            .member(key)
            .filter(|value| !value.is_null())
    }

    fn opt_text(&self, key: &str) -> Option<String> {
        self.opt(key).as_ref().and_then(text)
    }

    fn bounded(
        &self,
        step: &StepId,
        member: &'static str,
        text: String,
        limit: usize,
    ) -> Result<String, InvalidOp> {
        if text.len() <= limit {
            return Ok(text);
        }
        Err(InvalidOp::TooLong {
            op: cut(&self.op),
            step: step.to_string(),
            member,
            limit,
        })
    }

    fn missing(&self, step: &StepId, member: &'static str) -> InvalidOp {
        InvalidOp::Missing {
            op: cut(&self.op),
            step: step.to_string(),
            member,
        }
    }
}

/// Text that is there and not empty, without NUL, which not every database can store in a text.
fn text(value: &Json) -> Option<String> {
    let text = value.to_text().filter(|text| !text.is_empty())?;
    if text.contains('\0') {
        return Some(text.replace('\0', "\u{fffd}"));
    }
    Some(text)
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

fn check_size(step: &StepId, what: &'static str, value: Option<&Json>) -> Result<(), InvalidOp> {
    match value {
        Some(value) if value.len() > limits::STEP_BYTES => Err(InvalidOp::TooLarge {
            step: step.to_string(),
            what,
            size: value.len(),
        }),
        _ => Ok(()),
    }
}

/// An id of its code that is no longer than a name can be.
fn code_id_of(value: &Json, step: &StepId) -> Option<CodeId> {
    let id = value.member("id").as_ref().and_then(text);
    let id = id.filter(|id| id.len() <= limits::STEP_NAME_BYTES)?;
    let index = value.member("index").and_then(|index| whole(&index));
    match index.and_then(|index| index.try_into().ok()) {
        Some(index) => Some(CodeId {
            id,
            index: Some(index),
        }),
        None => CodeId::of_name(&id, step).or(Some(CodeId { id, index: None })),
    }
}

fn timing_of(value: &Json) -> Option<OpTiming> {
    let number = |key| value.member(key).and_then(|number| whole(&number));
    let started_ns = number("a").filter(|start| *start > 0)?;
    Some(OpTiming {
        started_ns,
        duration_ns: number("b").unwrap_or(0),
    })
}

/// A whole number from 0 that fits 64 bits.
pub(super) fn whole(value: &Json) -> Option<u64> {
    value.as_str().parse().ok()
}

#[cfg(test)]
#[path = "ops_tests.rs"]
mod tests;
