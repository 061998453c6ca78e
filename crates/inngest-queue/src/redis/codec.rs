//! A row of work as bytes. What is in Redis may have been written by another version: the first byte tells the form.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use inngest_core::{
    ids::{EnvId, FunctionId, OrgId, RunId, StepId, WorkId},
    job::{JobKind, Work},
    time::Timestamp,
};
use uuid::Uuid;

const FORM: u8 = 1;
/// Form, id, organization, environment, function, kind, due, rank, attempt, epoch, has a run.
const FIXED: usize = 1 + 4 * 16 + 2 + 8 + 8 + 4 + 8 + 1;

/// The bytes of a row.
pub(super) fn encode(work: &Work) -> Bytes {
    let step = work.step.as_ref().map_or("", StepId::as_str);
    let mut out = BytesMut::with_capacity(FIXED + 24 + step.len() + work.payload.len());
    out.put_u8(FORM);
    for id in [
        work.id.raw(),
        work.org.raw(),
        work.env.raw(),
        work.function.raw(),
    ] {
        out.put_slice(id.as_bytes());
    }
    out.put_i16(work.kind.code());
    out.put_i64(work.due_at.as_millis());
    out.put_i64(work.rank);
    out.put_u32(work.attempt);
    out.put_i64(work.epoch);
    out.put_u8(u8::from(work.run.is_some()));
    if let Some(run) = work.run {
        out.put_u128(run.raw().0);
    }
    // An empty id is no step.
    out.put_u32(u32::try_from(step.len()).unwrap_or(0));
    out.put_slice(step.as_bytes());
    out.put_slice(&work.payload);
    out.freeze()
}

/// The row; none when it is not one that this version can read.
pub(super) fn decode(bytes: &[u8]) -> Option<Work> {
    let mut rest = bytes;
    if rest.len() < FIXED || rest.get_u8() != FORM {
        return None;
    }
    let mut id = || Uuid::from_u128(rest.get_u128());
    let (work, org, env, function) = (id(), id(), id(), id());
    let kind = JobKind::from_code(rest.get_i16())?;
    let due_at = Timestamp::from_millis(rest.get_i64());
    let rank = rest.get_i64();
    let attempt = rest.get_u32();
    let epoch = rest.get_i64();
    let run = match rest.get_u8() {
        0 => None,
        _ if rest.len() < 16 => return None,
        _ => Some(RunId::from_raw(ulid::Ulid(rest.get_u128()))),
    };
    if rest.len() < 4 {
        return None;
    }
    let length = rest.get_u32() as usize;
    if rest.len() < length {
        return None;
    }
    let (step, payload) = rest.split_at(length);
    let step = match step {
        [] => None,
        text => Some(StepId::parse(std::str::from_utf8(text).ok()?).ok()?),
    };
    Some(Work {
        id: WorkId::from_raw(work),
        org: OrgId::from_raw(org),
        env: EnvId::from_raw(env),
        kind,
        function: FunctionId::from_raw(function),
        run,
        step,
        due_at,
        rank,
        attempt,
        epoch,
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
            let bytes = encode(&work);
            assert_eq!(decode(&bytes), Some(work.clone()));
            for end in 0..bytes.len() - work.payload.len() {
                assert_eq!(decode(&bytes[..end]), None, "{end}");
            }
        }
        assert_eq!(decode(&[9; 200]), None);
    }
}
