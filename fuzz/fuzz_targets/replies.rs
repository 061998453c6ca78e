//! Replies of apps, and what they make of a run: the first byte chooses the status, the second the headers.
#![no_main]

use std::collections::HashMap;

use inngest_core::{
    ids::{AppId, DEFAULT_ENV, DEFAULT_ORG, FunctionId, RunId, StepId, WorkId},
    job::JobKind,
    json::Json,
    limits,
    op::OpKind,
    run::{
        RunLimits, RunStatus,
        decide::{CallInfo, Fate, decide},
        progress::Progress,
        reply::Reply,
        retry::RetryPolicy,
    },
    time::Timestamp,
    wire::{
        memo,
        reply::{RawReply, ReplyHeaders, parse_reply},
    },
};
use libfuzzer_sys::fuzz_target;

const NOW: Timestamp = Timestamp::from_millis(1_785_570_000_000);
const RUN: &str = "01K3ZC6WQ5M3J6V9Y1Z8T3B2XA";
const STEP: &str = "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8";

fuzz_target!(|data: &[u8]| {
    let [status, flags, body @ ..] = data else {
        return;
    };
    let status = [200, 201, 206, 400, 500][usize::from(*status) % 5];
    let mut headers = ReplyHeaders::default();
    for (bit, name, value) in [
        (1, "X-Inngest-SDK", "inngest-js:v4.24.0"),
        (2, "x-inngest-req-version", "2"),
        (4, "x-inngest-no-retry", "true"),
        (8, "Retry-After", "30"),
        (16, "content-type", "application/json"),
    ] {
        if flags & bit != 0 {
            headers.set(name, value);
        }
    }
    let reply = parse_reply(RawReply {
        status,
        headers: &headers,
        body,
    });
    check(&reply);
    let run = run();
    for target in [None, StepId::parse(STEP).ok()] {
        let call = CallInfo {
            work: WorkId::derive(run.run, "discover"),
            target,
            attempt: u32::from(*flags >> 5),
            sent_len: 0,
            stack_len: 0,
            policy: RetryPolicy {
                max_attempts: 5,
                interval: None,
                jitter: 0.5,
            },
            limits: RunLimits::default(),
        };
        let decision = decide(&run, &call, reply.clone(), NOW);
        assert!(
            decision.fate != Fate::Done || !decision.effects.is_empty(),
            "the run is stuck"
        );
    }
});

fn check(reply: &Reply) {
    let is_canonical = |json: &Json| Json::parse(json.as_bytes()).as_ref() == Ok(json);
    match reply {
        Reply::Ops { ops, .. } => {
            for op in ops {
                match &op.kind {
                    OpKind::StepRun { data }
                    | OpKind::StepVerbatim { data }
                    | OpKind::RunComplete { data } => {
                        assert!(is_canonical(data) && data.len() <= limits::STEP_BYTES);
                    }
                    OpKind::StepError { error } | OpKind::StepFailed { error } => {
                        assert!(is_canonical(&memo::error(error)));
                    }
                    OpKind::Invoke { payload, .. } => assert!(is_canonical(payload)),
                    OpKind::Fetch(request) => assert!(is_canonical(&request.opts)),
                    _ => {}
                }
            }
        }
        Reply::Returned { output } => assert!(is_canonical(output)),
        Reply::Failed(failure) => {
            assert!(is_canonical(&memo::run_error_object(
                &failure.error,
                &failure.reason
            )));
        }
    }
}

fn run() -> Progress {
    let run: RunId = RUN.parse().expect("it is a run id");
    let app = AppId::derive(DEFAULT_ENV, "app");
    Progress {
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        app,
        function: FunctionId::derive(app, "app-f"),
        run,
        revision: 0,
        status: RunStatus::Running,
        started_at: None,
        request_version: -1,
        force_plan: false,
        stack: Vec::new(),
        steps: HashMap::new(),
        work: HashMap::from([(WorkId::derive(run, "discover"), (JobKind::Discover, None))]),
        event_name: "e".to_owned(),
        queued_at: NOW,
        events: Vec::new(),
        rank: 0,
        correlation: None,
        rerun: None,
        trace: None,
    }
}
