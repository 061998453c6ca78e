//! The parts of a row of work that scripts do not look at, as bytes. What is in Redis may have been written by another version: the first
//! byte tells the form.
//!
//! A hash whose fields are all at most 64 bytes long takes a third of the memory of another, so these parts are two fields.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use inngest_core::{
    ids::{EnvId, FunctionId, OrgId, RunId, StepId, WorkId},
    job::{JobKind, Work},
    time::Timestamp,
};
use uuid::Uuid;

const FORM: u8 = 1;
/// Form, organization, environment, kind, attempt, has a run, run.
const FIXED: usize = 1 + 2 * 16 + 2 + 4 + 1 + 16;

/// What a script knows of a row.
pub(super) struct Known {
    pub(super) id: WorkId,
    pub(super) epoch: i64,
    pub(super) function: FunctionId,
    pub(super) rank: i64,
    pub(super) due_at: Timestamp,
}

/// The fields of fixed length, and the others.
pub(super) fn encode(work: &Work) -> (Bytes, Bytes) {
    let mut fixed = BytesMut::with_capacity(FIXED);
    fixed.put_u8(FORM);
    fixed.put_slice(work.org.raw().as_bytes());
    fixed.put_slice(work.env.raw().as_bytes());
    fixed.put_i16(work.kind.code());
    fixed.put_u32(work.attempt);
    fixed.put_u8(u8::from(work.run.is_some()));
    fixed.put_u128(work.run.map_or(0, |run| run.raw().0));
    let step = work.step.as_ref().map_or("", StepId::as_str);
    let mut other = BytesMut::with_capacity(2 + step.len() + work.payload.len());
    // An empty id is no step.
    other.put_u16(u16::try_from(step.len()).unwrap_or(0));
    other.put_slice(step.as_bytes());
    other.put_slice(&work.payload);
    (fixed.freeze(), other.freeze())
}

/// The row; none when it is not one that this version can read.
pub(super) fn decode(known: Known, mut fixed: &[u8], mut other: &[u8]) -> Option<Work> {
    if fixed.len() != FIXED || fixed.get_u8() != FORM || other.len() < 2 {
        return None;
    }
    let org = OrgId::from_raw(Uuid::from_u128(fixed.get_u128()));
    let env = EnvId::from_raw(Uuid::from_u128(fixed.get_u128()));
    let kind = JobKind::from_code(fixed.get_i16())?;
    let attempt = fixed.get_u32();
    let has_run = fixed.get_u8() == 1;
    let run = RunId::from_raw(ulid::Ulid(fixed.get_u128()));
    let length = usize::from(other.get_u16());
    let (step, payload) = other.split_at_checked(length)?;
    let step = match step {
        [] => None,
        text => Some(StepId::parse(std::str::from_utf8(text).ok()?).ok()?),
    };
    Some(Work {
        id: known.id,
        org,
        env,
        kind,
        function: known.function,
        run: has_run.then_some(run),
        step,
        due_at: known.due_at,
        rank: known.rank,
        attempt,
        epoch: known.epoch,
        payload: Bytes::copy_from_slice(payload),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::item;

    #[test]
    fn rows_survive_their_bytes_and_torn_ones_are_refused() {
        let plain = item(7);
        let full = Work {
            run: Some(RunId::from_raw(ulid::Ulid(9))),
            step: Some(StepId::parse("a-step").unwrap()),
            kind: JobKind::Resume,
            rank: -5,
            attempt: 3,
            epoch: 8,
            payload: Bytes::from_static(b"m{}"),
            ..item(8)
        };
        for work in [plain, full] {
            let known = || Known {
                id: work.id,
                epoch: work.epoch,
                function: work.function,
                rank: work.rank,
                due_at: work.due_at,
            };
            let (fixed, other) = encode(&work);
            assert!(fixed.len() <= 64 && other.len() <= 64);
            assert_eq!(decode(known(), &fixed, &other), Some(work.clone()));
            for end in 0..fixed.len() {
                assert_eq!(decode(known(), &fixed[..end], &other), None, "{end}");
            }
            for end in 0..other.len() - work.payload.len() {
                assert_eq!(decode(known(), &fixed, &other[..end]), None, "{end}");
            }
            assert_eq!(decode(known(), &[9; FIXED], &other), None);
        }
    }
}
