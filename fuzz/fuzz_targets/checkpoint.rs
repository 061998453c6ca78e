//! Steps that an app reports while it keeps running.
#![no_main]

use inngest_core::{
    ids::RunId, json::Json, limits, op::OpKind, wire::checkpoint::parse_checkpoint,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let run: RunId = "01K3ZC6WQ5M3J6V9Y1Z8T3B2XA"
        .parse()
        .expect("it is a run id");
    let Ok(checkpoint) = parse_checkpoint(data, run) else {
        return;
    };
    assert_eq!(checkpoint.run, run);
    assert!(checkpoint.ops.len() <= limits::OPS_PER_REPLY);
    for op in &checkpoint.ops {
        if let OpKind::StepRun { data } | OpKind::StepVerbatim { data } = &op.kind {
            assert_eq!(
                Json::parse(data.as_bytes()).as_ref(),
                Ok(data),
                "not canonical"
            );
            assert!(data.len() <= limits::STEP_BYTES);
        }
    }
});
