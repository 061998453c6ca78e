//! The configuration of one function: shape, bounds, and what does not go together (execution-semantics 2.1).

use std::time::Duration;

use serde_json::Value;

use super::{
    Cause, RegisteredFunction,
    reader::{Node, Notes},
    url::normalize_url,
};
use crate::{
    cron::Schedule,
    function::{
        config::{
            Batch, CancelRule, Concurrency, ConcurrencyScope, Debounce, FlowControl,
            FunctionConfig, RateLimit, Singleton, SingletonMode, Throttle, Timeouts, Trigger,
        },
        trigger::is_useful_pattern,
    },
    json::Json,
    limits,
};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const MILLISECOND: Duration = Duration::from_millis(1);
const INVALID: &str = "config_invalid";

/// Longest cron expression, in bytes.
const CRON_BYTES: usize = 255;
/// Longest id and name of a function, in bytes.
const NAME_BYTES: usize = 255;
/// Largest group of a batch that does not say, and how long it collects.
const BATCH_SIZE: u32 = 100;
/// See [`BATCH_SIZE`].
const BATCH_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads a configuration as sent or as stored, or lists everything that is wrong with it.
pub(super) fn read(raw: &Json) -> Result<RegisteredFunction, Vec<Cause>> {
    let mut value = raw.to_value();
    let mut notes = Notes::default();
    let config = read_value(&value, &mut notes);
    match config {
        Some(config) if notes.causes.is_empty() => {
            strip_deployment(&mut value);
            Ok(RegisteredFunction {
                config,
                raw: Json::from_value(&value),
                warnings: notes.warnings,
            })
        }
        _ => Err(notes.causes),
    }
}

/// Takes the parameters of a deployment out of the URL, or each deployment would be a new version of the function.
fn strip_deployment(value: &mut Value) {
    let steps = value.get_mut("steps").and_then(Value::as_object_mut);
    for step in steps.into_iter().flat_map(|steps| steps.values_mut()) {
        if let Some(Value::String(url)) = step.pointer_mut("/runtime/url")
            && let Some(normal) = normalize_url(url)
        {
            *url = normal;
        }
    }
}

/// `None` only together with a cause.
fn read_value(value: &Value, notes: &mut Notes) -> Option<FunctionConfig> {
    let root = Node::root(value);
    if !value.is_object() {
        notes.fail(&root, INVALID, "a function must be an object");
        return None;
    }
    let name = bounded_text(&root, "name", notes);
    let slug = match root.member("id") {
        Some(_) => bounded_text(&root, "id", notes),
        None => name.as_deref().map(slugify).filter(|slug| !slug.is_empty()),
    };
    notes.function = slug.clone().or_else(|| name.clone()).unwrap_or_default();
    if name.is_none() && notes.causes.is_empty() {
        notes.fail(&root, INVALID, "`name` is required");
    }
    if slug.is_none() && notes.causes.is_empty() {
        notes.fail(&root, INVALID, "`id` is required");
    }
    for cause in &mut notes.causes {
        cause.function.clone_from(&notes.function);
    }
    let triggers = read_triggers(&root, notes);
    let step = read_step(&root, notes);
    let cancels = read_cancels(&root, notes);
    let any = MILLISECOND..=limits::WAIT_DEFAULT;
    let timeouts = root
        .member("timeouts")
        .map_or_else(Timeouts::default, |node| Timeouts {
            start: notes.duration(&node, "start", any.clone()),
            finish: notes.duration(&node, "finish", any),
        });
    let idempotency = notes.expression(&root, "idempotency", INVALID);
    let mut flow = read_flow(&root, notes);
    if idempotency.is_some() && flow.rate_limit.take().is_some() {
        notes
            .warnings
            .push("`idempotency` replaces `rateLimit`, which has no effect".to_owned());
    }
    check_combinations(&root, &flow, &cancels, notes);
    let (url, retries) = step?;
    Some(FunctionConfig {
        slug: slug?,
        name: name?,
        triggers,
        url,
        retries,
        cancels,
        timeouts,
        idempotency,
        flow,
    })
}

fn bounded_text(root: &Node<'_>, key: &str, notes: &mut Notes) -> Option<String> {
    let text = notes.text(root, key)?;
    if text.len() > NAME_BYTES {
        let node = root.member(key)?;
        notes.fail(
            &node,
            INVALID,
            format!("`{key}` is longer than {NAME_BYTES} bytes"),
        );
        return None;
    }
    Some(text)
}

fn slugify(name: &str) -> String {
    let dashed: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    dashed
        .split('-')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

fn read_triggers(root: &Node<'_>, notes: &mut Notes) -> Vec<Trigger> {
    let items = root
        .member("triggers")
        .map(|node| node.items())
        .unwrap_or_default();
    if items.is_empty() || items.len() > limits::TRIGGERS {
        notes.fail(
            root,
            INVALID,
            format!(
                "a function has 1 to {} triggers, this one {}",
                limits::TRIGGERS,
                items.len()
            ),
        );
        return Vec::new();
    }
    let mut triggers: Vec<Trigger> = Vec::new();
    for item in items {
        let Some(trigger) = read_trigger(&item, notes) else {
            continue;
        };
        let is_twin = |other: &Trigger| match (other, &trigger) {
            (Trigger::Cron { schedule: a, .. }, Trigger::Cron { schedule: b, .. }) => a == b,
            (other, trigger) => other == trigger,
        };
        if triggers.iter().any(is_twin) {
            notes.fail(&item, INVALID, "the same trigger twice");
        }
        triggers.push(trigger);
    }
    triggers
}

fn read_trigger(item: &Node<'_>, notes: &mut Notes) -> Option<Trigger> {
    let (event, cron) = (notes.text(item, "event"), notes.text(item, "cron"));
    match (event, cron) {
        (Some(pattern), None) => {
            if pattern.len() > limits::TRIGGER_NAME_BYTES {
                notes.fail(
                    item,
                    "event_name_invalid",
                    format!(
                        "the event name is longer than {} bytes",
                        limits::TRIGGER_NAME_BYTES
                    ),
                );
                return None;
            }
            if !is_useful_pattern(&pattern) {
                notes.warnings.push(format!("trigger `{pattern}`: a star counts as a wildcard only at the end, behind `/` or `.`"));
            }
            Some(Trigger::Event {
                pattern,
                expression: notes.expression(item, "expression", INVALID),
            })
        }
        (None, Some(schedule)) => {
            let problem = if schedule.len() > CRON_BYTES {
                Some(format!("a schedule has at most {CRON_BYTES} bytes"))
            } else {
                Schedule::parse(&schedule)
                    .err()
                    .map(|error| error.to_string())
            };
            if let Some(problem) = problem {
                notes.fail(item, "schedule_invalid", problem);
                return None;
            }
            Some(Trigger::Cron {
                schedule,
                jitter: notes.duration(item, "jitter", SECOND..=Duration::from_secs(300)),
            })
        }
        _ => {
            notes.fail(item, INVALID, "a trigger has either `event` or `cron`");
            None
        }
    }
}

/// The URL and the number of retries.
fn read_step(root: &Node<'_>, notes: &mut Notes) -> Option<(String, u32)> {
    let steps = root
        .member("steps")
        .map(|node| node.members())
        .unwrap_or_default();
    let [step] = steps.as_slice() else {
        notes.fail(
            root,
            INVALID,
            format!(
                "a function has exactly one entry in `steps`, this one {}",
                steps.len()
            ),
        );
        return None;
    };
    let url = step
        .member("runtime")
        .and_then(|runtime| notes.text(&runtime, "url"));
    let url = url.as_deref().and_then(normalize_url);
    if url.is_none() {
        notes.fail(
            step,
            INVALID,
            "`runtime.url` must be an http, https, ws or wss URL",
        );
    }
    let of_step = step
        .member("retries")
        .and_then(|node| read_retries(&node, notes));
    let of_function = root
        .member("retries")
        .and_then(|node| read_retries(&node, notes));
    let retries = of_step.or(of_function).unwrap_or(limits::DEFAULT_RETRIES);
    if retries > limits::MAX_RETRIES {
        notes.warnings.push(format!(
            "{retries} retries are more than {}, which is what it gets",
            limits::MAX_RETRIES
        ));
    }
    Some((url?, retries.min(limits::MAX_RETRIES)))
}

fn read_retries(node: &Node<'_>, notes: &mut Notes) -> Option<u32> {
    if node.value.is_object() {
        return notes.number(node, "attempts", INVALID);
    }
    let number = node.whole();
    if number.is_none() {
        notes.fail(node, INVALID, "`retries` must be a whole number from 0");
    }
    number
}

fn read_cancels(root: &Node<'_>, notes: &mut Notes) -> Vec<CancelRule> {
    let Some(node) = root.member("cancel") else {
        return Vec::new();
    };
    let items = node.items();
    if items.len() > limits::CANCELS {
        notes.fail(
            &node,
            INVALID,
            format!("a function has at most {} cancel rules", limits::CANCELS),
        );
    }
    let mut rules = Vec::new();
    for item in items {
        let Some(event) = notes.text(&item, "event") else {
            notes.fail(&item, INVALID, "a cancel rule needs an `event`");
            continue;
        };
        if event.len() > limits::EVENT_NAME_BYTES {
            notes.fail(
                &item,
                "event_name_invalid",
                format!(
                    "the event name is longer than {} bytes",
                    limits::EVENT_NAME_BYTES
                ),
            );
        }
        let expression = notes.restrictive_expression(&item, "if");
        let timeout = notes.duration(
            &item,
            "timeout",
            MILLISECOND..=limits::WAIT_DEFAULT.saturating_add(DAY),
        );
        rules.push(CancelRule {
            event,
            expression,
            timeout,
        });
    }
    rules
}

fn read_flow(root: &Node<'_>, notes: &mut Notes) -> FlowControl {
    let (concurrency, run_concurrency) = read_concurrency(root, notes);
    FlowControl {
        concurrency,
        run_concurrency,
        throttle: root
            .member("throttle")
            .and_then(|node| read_throttle(&node, notes)),
        rate_limit: root
            .member("rateLimit")
            .and_then(|node| read_rate_limit(&node, notes)),
        debounce: root
            .member("debounce")
            .and_then(|node| read_debounce(&node, notes)),
        batch: root
            .member("batchEvents")
            .and_then(|node| read_batch(&node, notes)),
        singleton: root
            .member("singleton")
            .and_then(|node| read_singleton(&node, notes)),
        priority: root
            .member("priority")
            .and_then(|node| notes.expression(&node, "run", INVALID)),
    }
}

fn read_concurrency(root: &Node<'_>, notes: &mut Notes) -> (Vec<Concurrency>, Option<Concurrency>) {
    let Some(node) = root.member("concurrency") else {
        return (Vec::new(), None);
    };
    let (of_runs, of_steps) = (node.member("fn"), node.member("step"));
    if of_runs.is_none()
        && of_steps.is_none()
        && node
            .value
            .as_object()
            .is_none_or(|object| !object.contains_key("fn"))
    {
        return (read_limits(&node, notes), None);
    }
    let steps = of_steps
        .map(|node| read_limits(&node, notes))
        .unwrap_or_default();
    let Some(node) = of_runs else {
        return (steps, None);
    };
    let mut runs = read_limits(&node, notes);
    let is_valid = runs.len() <= 1
        && runs
            .iter()
            .all(|run| run.limit > 0 && run.scope == ConcurrencyScope::Function);
    if !is_valid {
        let message = "`fn` takes one limit above 0 with scope `fn`";
        notes.fail(&node, "concurrency_limit_invalid", message);
    }
    (steps, runs.pop())
}

fn read_limits(node: &Node<'_>, notes: &mut Notes) -> Vec<Concurrency> {
    let items = node.items();
    if items.len() > limits::CONCURRENCY_LIMITS {
        notes.fail(
            node,
            "concurrency_limit_invalid",
            format!(
                "a function has at most {} concurrency limits",
                limits::CONCURRENCY_LIMITS
            ),
        );
    }
    let mut found: Vec<Concurrency> = items
        .iter()
        .filter_map(|item| read_limit(item, notes))
        .collect();
    found.sort_by_key(|limit| limit.limit);
    found
}

fn read_limit(item: &Node<'_>, notes: &mut Notes) -> Option<Concurrency> {
    const CODE: &str = "concurrency_limit_invalid";
    if item.value.is_number() {
        let limit = item.whole();
        if limit.is_none() {
            notes.fail(item, CODE, "the limit must be a whole number from 0");
        }
        return Some(Concurrency {
            limit: limit?,
            key: None,
            scope: ConcurrencyScope::Function,
        });
    }
    if !item.value.is_object() {
        notes.fail(item, CODE, "a concurrency limit is a number or an object");
        return None;
    }
    let limit = notes.number(item, "limit", CODE).unwrap_or(0);
    let key = notes.expression(item, "key", CODE);
    let scope = match notes
        .text(item, "scope")
        .map(|scope| scope.to_ascii_lowercase())
        .as_deref()
    {
        None | Some("fn") => ConcurrencyScope::Function,
        Some("env") => ConcurrencyScope::Environment,
        Some("account") => ConcurrencyScope::Organization,
        Some(other) => {
            notes.fail(
                item,
                CODE,
                format!("scope `{other}` is none of `fn`, `env` and `account`"),
            );
            return None;
        }
    };
    let has_key = item.member("key").is_some_and(|key| key.value != "");
    if scope != ConcurrencyScope::Function && !has_key {
        notes.fail(item, CODE, "scopes `env` and `account` need a `key`");
    }
    if has_key && limit == 0 {
        notes.fail(
            item,
            CODE,
            "a limit of 0 means no limit, so a `key` has no effect",
        );
    }
    Some(Concurrency { limit, key, scope })
}

fn read_throttle(node: &Node<'_>, notes: &mut Notes) -> Option<Throttle> {
    let limit = notes.number(node, "limit", INVALID).unwrap_or(1).max(1);
    let period = required_duration(node, "period", MILLISECOND..=limits::SLEEP_MAX, notes);
    let burst = notes.number(node, "burst", INVALID).unwrap_or(0);
    let key = notes.expression(node, "key", INVALID);
    Some(Throttle {
        limit,
        period: period?,
        burst,
        key,
    })
}

fn read_rate_limit(node: &Node<'_>, notes: &mut Notes) -> Option<RateLimit> {
    let limit = notes.number(node, "limit", INVALID).unwrap_or(0);
    if limit == 0 {
        notes.fail(node, INVALID, "`limit` must be at least 1");
    }
    let period = required_duration(node, "period", MILLISECOND..=DAY, notes);
    let key = notes.expression(node, "key", INVALID);
    Some(RateLimit {
        limit,
        period: period?,
        key,
    })
}

fn read_debounce(node: &Node<'_>, notes: &mut Notes) -> Option<Debounce> {
    let period = required_duration(node, "period", SECOND..=DAY * 7, notes);
    let timeout = notes.duration(node, "timeout", MILLISECOND..=limits::SLEEP_MAX);
    let key = notes.expression(node, "key", INVALID);
    Some(Debounce {
        period: period?,
        timeout,
        key,
    })
}

fn read_batch(node: &Node<'_>, notes: &mut Notes) -> Option<Batch> {
    let max_size = notes
        .number(node, "maxSize", "batch_size_invalid")
        .unwrap_or(BATCH_SIZE);
    if max_size < 2 {
        notes.fail(node, "batch_size_invalid", "`maxSize` must be at least 2");
    }
    let timeout = notes
        .go_duration(
            node,
            "timeout",
            "batch_timeout_invalid",
            SECOND..=limits::SLEEP_MAX,
        )
        .unwrap_or(BATCH_TIMEOUT);
    let key = notes.expression(node, "key", "batch_key_expression_invalid");
    let condition = notes.expression(node, "if", "batch_if_expression_invalid");
    Some(Batch {
        max_size,
        timeout,
        key,
        condition,
    })
}

fn read_singleton(node: &Node<'_>, notes: &mut Notes) -> Option<Singleton> {
    let key = notes.expression(node, "key", INVALID);
    let mode = match notes.text(node, "mode").as_deref() {
        None | Some("skip") => SingletonMode::Skip,
        Some("cancel") => SingletonMode::Cancel,
        Some(other) => {
            notes.fail(
                node,
                INVALID,
                format!("mode `{other}` is neither `skip` nor `cancel`"),
            );
            return None;
        }
    };
    Some(Singleton { key, mode })
}

fn required_duration(
    node: &Node<'_>,
    key: &str,
    bounds: std::ops::RangeInclusive<Duration>,
    notes: &mut Notes,
) -> Option<Duration> {
    if node.member(key).is_none_or(|node| node.value == "") {
        notes.fail(node, INVALID, format!("`{key}` is required"));
        return None;
    }
    notes.duration(node, key, bounds)
}

fn check_combinations(
    root: &Node<'_>,
    flow: &FlowControl,
    cancels: &[CancelRule],
    notes: &mut Notes,
) {
    if flow.batch.is_none() {
        return;
    }
    let present = [
        ("cancel", !cancels.is_empty()),
        ("debounce", flow.debounce.is_some()),
        ("singleton", flow.singleton.is_some()),
        ("priority.run", flow.priority.is_some()),
    ];
    for (name, is_present) in present {
        if is_present {
            notes.fail(
                root,
                "combo_unsupported",
                format!("`batchEvents` and `{name}` do not go together"),
            );
        }
    }
}
