//! Messages recorded from real SDKs. Each must be read, and read as what its file says it is.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use crate::{
    ids::IdSource,
    json::Json,
    op::OpKind,
    run::reply::{Failure, Reply},
    time::Timestamp,
    wire::{
        checkpoint::parse_checkpoint,
        event::parse_events,
        memo,
        reply::{RawReply, ReplyHeaders, parse_reply},
        sync::{self, SyncReply, parse_config, parse_register, parse_sync_reply},
    },
};

struct Message {
    name: String,
    value: Value,
}

impl Message {
    fn headers(&self) -> BTreeMap<String, String> {
        let headers = self.value["headers"].as_object().unwrap();
        headers
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect()
    }

    fn reply_headers(&self) -> ReplyHeaders {
        let mut headers = ReplyHeaders::default();
        for (name, value) in self.headers() {
            headers.set(&name, &value);
        }
        headers
    }

    fn body(&self) -> Vec<u8> {
        match &self.value["body"] {
            Value::Null if self.value.get("body").is_none() => Vec::new(),
            body => serde_json::to_vec(body).unwrap(),
        }
    }

    fn status(&self) -> u16 {
        u16::try_from(self.value["status"].as_u64().unwrap()).unwrap()
    }

    fn reply(&self) -> Reply {
        parse_reply(RawReply {
            status: self.status(),
            headers: &self.reply_headers(),
            body: &self.body(),
        })
    }

    fn is(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.name.contains(word))
    }
}

/// All messages whose names, behind the SDK's, begin like this.
fn messages(kind: &str) -> Vec<Message> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/wire/golden");
    let mut found: Vec<Message> = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
            && name
                .split_once('_')
                .is_some_and(|(_, rest)| rest.starts_with(kind))
        {
            found.push(Message {
                value: serde_json::from_slice(&fs::read(&path).unwrap()).unwrap(),
                name,
            });
        }
    }
    assert!(!found.is_empty(), "no messages of kind {kind}");
    found
}

#[test]
fn recorded_replies_are_what_their_names_say() {
    for message in messages("reply_") {
        let reply = message.reply();
        let (_, what) = message.name.split_once("_reply_").unwrap();
        match (what.strip_prefix("stream_").unwrap_or(what), &reply) {
            ("result" | "result_null", Reply::Returned { .. }) => {}
            (name, Reply::Returned { .. })
                if name.ends_with("_done")
                    || name.ends_with("_timeout")
                    || name.ends_with("_caught") => {}
            ("targeted_unknown", Reply::Returned { .. } | Reply::Failed(_)) => {}
            (name, Reply::Failed(failure)) => check_failure(&message, name, failure),
            (
                name,
                Reply::Ops {
                    ops,
                    version,
                    retry,
                },
            ) => {
                assert!(
                    matches!(version, Some(1 | 2)),
                    "{}: version {version:?}",
                    message.name
                );
                assert!(!ops.is_empty(), "{}", message.name);
                let kind = &ops[0].kind;
                let fits = match name {
                    "step_run" | "step_run_null" | "step_run_second" | "send_event"
                    | "send_signal" | "ai_wrap" | "parallel_targeted" => {
                        matches!(kind, OpKind::StepRun { .. })
                    }
                    "step_error" | "step_retry_after" | "checkpointed_error" => {
                        matches!(kind, OpKind::StepError { .. })
                    }
                    "step_failed" | "step_non_retriable" => {
                        matches!(kind, OpKind::StepFailed { .. })
                    }
                    "sleep" | "sleep_until" | "checkpointed_sleep" => {
                        matches!(kind, OpKind::Sleep { text } if !text.is_empty())
                    }
                    "wait_for_event" => {
                        matches!(kind, OpKind::WaitForEvent { event, timeout, .. } if event.starts_with("shop/") && !timeout.is_empty())
                    }
                    "wait_for_signal" => {
                        matches!(kind, OpKind::WaitForSignal { signal, .. } if signal == "shop-signal")
                    }
                    "invoke" | "invoke_reference" => {
                        matches!(kind, OpKind::Invoke { function, .. } if function == "shop-target")
                    }
                    "fetch" => matches!(kind, OpKind::Fetch(request) if !request.is_inference),
                    "ai_infer" => matches!(kind, OpKind::Fetch(request) if request.is_inference),
                    "single_planned" => matches!(kind, OpKind::StepPlanned) && ops.len() == 1,
                    "parallel" | "parallel_replan" | "parallel_race" | "checkpointed_parallel" => {
                        ops.len() >= 2
                            && ops.iter().all(|op| op.is_race == (name == "parallel_race"))
                    }
                    "run_complete" | "run_complete_null" | "checkpointed_result" => {
                        matches!(kind, OpKind::RunComplete { .. })
                    }
                    _ => false,
                };
                assert!(fits, "{}: {kind:?}", message.name);
                assert_eq!(
                    retry.after.is_some(),
                    name.contains("retry_after"),
                    "{}",
                    message.name
                );
            }
            (_, reply) => panic!("{}: {reply:?}", message.name),
        }
    }
}

fn check_failure(message: &Message, name: &str, failure: &Failure) {
    let expected = [
        "error",
        "error_last",
        "non_retriable",
        "step_non_retriable",
        "step_failed_uncaught",
        "unknown_function",
        "targeted_unknown",
    ];
    assert!(
        expected.contains(&name) || name.contains("retry_after"),
        "{}: {failure:?}",
        message.name
    );
    assert_ne!(
        failure.error.message, "Function execution error",
        "{}",
        message.name
    );
    let is_final = message.is(&["non_retriable", "step_failed_uncaught"])
        || message.name == "js4_reply_error_last";
    assert_eq!(failure.retry.no_retry, is_final, "{}", message.name);
    assert_eq!(
        failure.retry.after.is_some(),
        name.contains("retry_after"),
        "{}",
        message.name
    );
}

#[test]
fn recorded_step_errors_survive_as_memos() {
    for message in messages("reply_step_") {
        let Reply::Ops { ops, .. } = message.reply() else {
            continue;
        };
        for op in ops {
            let (OpKind::StepError { error } | OpKind::StepFailed { error }) = op.kind else {
                continue;
            };
            let memo = memo::error(&error);
            assert_eq!(
                memo::parse_error(&memo.member("error").unwrap()),
                error,
                "{}",
                message.name
            );
            // The Go SDK fails without this member.
            assert_eq!(
                message.name.starts_with("go_"),
                memo.member("error").unwrap().member("data").is_some(),
                "{}",
                message.name
            );
        }
    }
}

#[test]
fn recorded_registrations_are_accepted_and_read_back() {
    for message in messages("register") {
        let registration = parse_register(&message.body())
            .unwrap_or_else(|error| panic!("{}: {error:?}", message.name));
        assert_eq!(registration.app_name, "shop", "{}", message.name);
        assert!(!registration.url.contains("deployId"), "{}", message.name);
        let tells_deployment = message.is(&["deploy_id"]) && !message.name.starts_with("py_");
        assert_eq!(
            registration.deploy_id.as_deref(),
            tells_deployment.then_some("d1"),
            "{}",
            message.name
        );
        for function in &registration.functions {
            assert_eq!(
                parse_config(&function.raw).as_ref(),
                Ok(&function.config),
                "{}",
                message.name
            );
            assert!(
                !function.raw.as_str().contains("deployId"),
                "{}",
                message.name
            );
        }
        let all = registration
            .functions
            .iter()
            .find(|function| function.config.slug == "shop-all-fields")
            .unwrap();
        assert_eq!(all.config.retries, 7, "{}", message.name);
        assert!(!all.config.flow.concurrency.is_empty(), "{}", message.name);
    }
}

#[test]
fn deployment_does_not_change_a_recorded_function() {
    let all = messages("register");
    let first = |name: &str| {
        let message = all.iter().find(|message| message.name == name).unwrap();
        parse_register(&message.body()).unwrap().functions.remove(0)
    };
    for sdk in ["js3", "js4", "py"] {
        assert_eq!(
            first(&format!("{sdk}_register")),
            first(&format!("{sdk}_register_deploy_id")),
            "{sdk}"
        );
    }
}

#[test]
fn recorded_answers_to_a_put_are_understood() {
    for message in messages("put_") {
        let headers = message.headers();
        let sync_kind = headers.get("x-inngest-sync-kind").map(String::as_str);
        match parse_sync_reply(
            message.status(),
            &message.reply_headers(),
            sync_kind,
            &message.body(),
        ) {
            SyncReply::Registered => assert_ne!(sync_kind, Some("in_band")),
            SyncReply::InBand(registration) => {
                assert_eq!(
                    (
                        registration.app_name.as_str(),
                        registration.sdk_language.as_str()
                    ),
                    ("shop", "js")
                );
                assert!(registration.functions.len() > 1);
            }
            other => panic!("{}: {other:?}", message.name),
        }
    }
}

#[test]
fn recorded_events_are_taken() {
    for message in messages("event") {
        let headers = message.headers();
        let seed = headers.get("x-inngest-event-id-seed").map(String::as_str);
        let read = || {
            let content_type = headers.get("content-type").map(String::as_str);
            parse_events(
                &message.body(),
                content_type,
                seed,
                Timestamp::from_millis(1_785_570_000_000),
                &IdSource::random(),
            )
            .unwrap()
        };
        let events = read();
        assert!(!events.is_empty(), "{}", message.name);
        for event in &events {
            assert!(event.name.starts_with("shop/"), "{}", message.name);
            assert_eq!(
                Json::parse(event.body.as_bytes()).unwrap(),
                event.body,
                "{}",
                message.name
            );
        }
        if seed.is_some() {
            assert_eq!(read(), events, "{}", message.name);
        }
    }
}

#[test]
fn recorded_checkpoints_are_taken() {
    for message in messages("checkpoint_") {
        let run = "01K3ZC6WQ5M3J6V9Y1Z8T3B2XA".parse().unwrap();
        let checkpoint = parse_checkpoint(&message.body(), run).unwrap();
        assert_eq!(
            (checkpoint.qi_id.as_str(), checkpoint.generation),
            ("cWk6OmRlZmF1bHQ=", Some(1)),
            "{}",
            message.name
        );
        assert!(
            checkpoint.function.is_some() && checkpoint.ops.len() == 1,
            "{}",
            message.name
        );
    }
}

#[test]
fn every_recorded_body_is_the_same_value_in_canonical_form() {
    for message in messages("") {
        let body = message.body();
        let canonical = Json::parse(&body).unwrap();
        assert_eq!(
            canonical.to_value(),
            message.value["body"],
            "{}",
            message.name
        );
    }
    assert_eq!(sync::put_body("http://a").as_str(), r#"{"url":"http://a"}"#);
}
