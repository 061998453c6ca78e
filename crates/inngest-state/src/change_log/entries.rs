//! How the changes of one row are stored: a version byte, then each change as a byte for its kind and its ids.

use inngest_core::{
    ids::{AppId, EventId, FunctionId, RunId, StepId},
    run::RunStatus,
};
use ulid::Ulid;
use uuid::Uuid;

use super::Change;

const VERSION: u8 = 1;
const RUN: u8 = 1;
const NEW_RUN: u8 = 2;
const STEP: u8 = 3;
const EVENT: u8 = 4;
const INTERNAL_EVENT: u8 = 5;
const APP: u8 = 6;
const NEW_APP: u8 = 7;
const FUNCTION: u8 = 8;
const NEW_FUNCTION: u8 = 9;

pub(super) fn encode(changes: &[Change]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + changes.len() * 34);
    bytes.push(VERSION);
    for change in changes {
        match change {
            Change::Run {
                id,
                function,
                status,
                is_new,
            } => {
                bytes.push(if *is_new { NEW_RUN } else { RUN });
                bytes.extend_from_slice(&id.raw().0.to_be_bytes());
                bytes.extend_from_slice(function.raw().as_bytes());
                // Codes are small; one that is not would be read as no status.
                bytes.push(u8::try_from(status.code()).unwrap_or(0));
            }
            Change::Step { run, step } => {
                let step = step.as_ref().map_or("", StepId::as_str);
                bytes.push(STEP);
                bytes.extend_from_slice(&run.raw().0.to_be_bytes());
                // Ids of steps have at most 128 bytes.
                bytes.push(u8::try_from(step.len()).unwrap_or(0));
                bytes.extend_from_slice(step.as_bytes());
            }
            Change::Event { id, is_internal } => {
                bytes.push(if *is_internal { INTERNAL_EVENT } else { EVENT });
                bytes.extend_from_slice(&id.raw().0.to_be_bytes());
            }
            Change::App { id, is_new } => {
                bytes.push(if *is_new { NEW_APP } else { APP });
                bytes.extend_from_slice(id.raw().as_bytes());
            }
            Change::Function { id, is_new } => {
                bytes.push(if *is_new { NEW_FUNCTION } else { FUNCTION });
                bytes.extend_from_slice(id.raw().as_bytes());
            }
        }
    }
    bytes
}

/// None when this is not what [`encode`] makes.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<Change>> {
    let mut reader = Reader(bytes);
    if reader.byte()? != VERSION {
        return None;
    }
    let mut changes = Vec::with_capacity(bytes.len() / 34);
    while !reader.0.is_empty() {
        changes.push(reader.change()?);
    }
    Some(changes)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn ulid(&mut self) -> Option<Ulid> {
        let bytes = self.take(16)?.try_into().ok()?;
        Some(Ulid(u128::from_be_bytes(bytes)))
    }

    fn change(&mut self) -> Option<Change> {
        let kind = self.byte()?;
        let id = self.ulid()?;
        Some(match kind {
            RUN | NEW_RUN => Change::Run {
                id: RunId::from_raw(id),
                function: FunctionId::from_raw(Uuid::from_slice(self.take(16)?).ok()?),
                status: RunStatus::from_code(i16::from(self.byte()?))?,
                is_new: kind == NEW_RUN,
            },
            STEP => {
                let length = usize::from(self.byte()?);
                let step = match length {
                    0 => None,
                    _ => {
                        let text = std::str::from_utf8(self.take(length)?).ok()?;
                        Some(StepId::parse(text).ok()?)
                    }
                };
                Change::Step {
                    run: RunId::from_raw(id),
                    step,
                }
            }
            EVENT | INTERNAL_EVENT => Change::Event {
                id: EventId::from_raw(id),
                is_internal: kind == INTERNAL_EVENT,
            },
            APP | NEW_APP => Change::App {
                id: AppId::from_raw(Uuid::from_u128(id.0)),
                is_new: kind == NEW_APP,
            },
            FUNCTION | NEW_FUNCTION => Change::Function {
                id: FunctionId::from_raw(Uuid::from_u128(id.0)),
                is_new: kind == NEW_FUNCTION,
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::*;

    #[test]
    fn changes_survive_their_bytes_and_nothing_else_is_read() {
        let run = |status, is_new| Change::Run {
            id: run_id(1),
            function: function_id(),
            status,
            is_new,
        };
        let mut changes: Vec<Change> = [
            RunStatus::Queued,
            RunStatus::Running,
            RunStatus::Completed,
            RunStatus::Failed,
            RunStatus::Cancelled,
            RunStatus::Skipped,
        ]
        .into_iter()
        .flat_map(|status| [run(status, true), run(status, false)])
        .collect();
        let longest = StepId::parse(&"x".repeat(StepId::MAX_LEN)).unwrap();
        for step in [None, Some(step_id("a")), Some(longest)] {
            let run = run_id(2);
            changes.push(Change::Step { run, step });
        }
        for is_internal in [true, false] {
            let id = event_id(3);
            changes.push(Change::Event { id, is_internal });
        }
        for is_new in [true, false] {
            let id = app_id();
            changes.push(Change::App { id, is_new });
            let id = function_id();
            changes.push(Change::Function { id, is_new });
        }
        let bytes = encode(&changes);
        assert_eq!(decode(&bytes), Some(changes));
        assert_eq!(decode(&[VERSION]), Some(Vec::new()));
        for bad in [&[][..], &[2], &bytes[..bytes.len() - 1], &[VERSION, 99]] {
            assert_eq!(decode(bad), None);
        }
    }
}
