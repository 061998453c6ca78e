//! Runs that start on time. The next tick of a schedule is computed from its calendar, not from the success of the last.

use inngest_core::{
    cron::{Schedule, jitter_ms},
    function::config::{FunctionConfig, Trigger},
    ids::{EnvId, FunctionId, OrgId, WorkId},
    job::{JobKind, Work},
    time::Timestamp,
    wire::finish,
};
use inngest_queue::model::Verdict;
use inngest_state::{Commit, Fence, NewEvent, Refused, fail_point};

use crate::{
    Error,
    engine::{Engine, TRIES},
    route::{Cause, drafts_of},
};

/// The next ticks of a function's schedules after `after`.
pub(crate) fn ticks(
    org: OrgId,
    env: EnvId,
    function: FunctionId,
    config: &FunctionConfig,
    after: Timestamp,
) -> Vec<Work> {
    config
        .triggers
        .iter()
        .filter_map(|trigger| match trigger {
            Trigger::Cron { schedule, .. } => tick(org, env, function, trigger, schedule, after),
            Trigger::Event { .. } => None,
        })
        .collect()
}

fn tick(
    org: OrgId,
    env: EnvId,
    function: FunctionId,
    trigger: &Trigger,
    schedule: &str,
    after: Timestamp,
) -> Option<Work> {
    let next = Schedule::parse(schedule)
        .ok()?
        .next_after(after.as_millis())?;
    let id = WorkId::derive_for_function(function, &format!("cron:{schedule}:{next}"));
    let delay = match trigger {
        Trigger::Cron {
            jitter: Some(jitter),
            ..
        } => jitter_ms(&id.to_string(), *jitter),
        _ => 0,
    };
    Some(Work {
        id,
        org,
        env,
        kind: JobKind::Cron,
        function,
        run: None,
        step: None,
        due_at: Timestamp::from_millis(next.saturating_add(i64::try_from(delay).unwrap_or(0))),
        rank: next,
        attempt: 0,
        epoch: 1,
        payload: format!("{next}:{schedule}").into_bytes().into(),
    })
}

fn from_payload(work: &Work) -> Option<(Timestamp, &str)> {
    let text = std::str::from_utf8(&work.payload).ok()?;
    let (tick, schedule) = text.split_once(':')?;
    Some((Timestamp::from_millis(tick.parse().ok()?), schedule))
}

impl Engine {
    /// Starts the run of a tick and stores the next one, in one commit. Of ticks that were missed while nobody was there only the latest
    /// starts a run. A tick of a schedule that the function no longer has starts nothing, and has no successor.
    pub(crate) async fn fire(&self, work: &Work) -> Result<Verdict, Error> {
        let Some((tick, schedule)) = from_payload(work) else {
            return Err(Error::Internal {
                what: format!("work `{}` has an unreadable payload", work.id),
            });
        };
        for _ in 0..TRIES {
            let now = self.clock.now();
            let registry = self.registries.get(work.env).await?;
            let fence = Some(Fence {
                id: work.id,
                epoch: work.epoch,
                ends: true,
            });
            let mut commit = Commit {
                fence,
                functions_version: Some((work.env, registry.version)),
                ..Commit::default()
            };
            let loaded = registry.by_id(work.function);
            let trigger = loaded.and_then(|loaded| {
                loaded.config.triggers.iter().find(|trigger| matches!(trigger, Trigger::Cron { schedule: own, .. } if own == schedule))
            });
            if let (Some(loaded), Some(trigger)) = (loaded, trigger) {
                let parsed = Schedule::parse(schedule).ok();
                let latest = parsed
                    .as_ref()
                    .map_or(tick, |parsed| latest_missed(parsed, tick, now));
                let event = finish::timer(loaded.function.id, schedule, latest, now);
                let cause = Cause {
                    cron: Some(schedule.to_owned()),
                    ..Cause::default()
                };
                let run = self.draft_run(work.org, work.env, loaded, &event, cause, now);
                commit.events.push(NewEvent {
                    org: work.org,
                    env: work.env,
                    event,
                    may_exist: true,
                    runs: vec![run],
                });
                commit.work.extend(self::tick(
                    work.org,
                    work.env,
                    work.function,
                    trigger,
                    schedule,
                    latest.max(tick),
                ));
            }
            let drafts = drafts_of(&commit.events);
            match self.commit(commit).await {
                Ok(committed) => {
                    fail_point!("cron::slot_claimed");
                    self.announce(&committed, drafts).await;
                    return Ok(Verdict::Done {
                        next: committed.work,
                        remove: Vec::new(),
                        continue_with: None,
                    });
                }
                Err(Refused::FunctionsChanged) => drop(self.registries.reload(work.env).await?),
                Err(Refused::Store(error)) => {
                    self.note_failed_commit(&error);
                    return Err(error.into());
                }
                Err(_) => return Ok(Verdict::done()),
            }
        }
        Err(Error::Busy)
    }
}

/// The latest tick of the schedule that is not after `now`, from `tick` on. Looks at a bounded number of ticks.
fn latest_missed(schedule: &Schedule, tick: Timestamp, now: Timestamp) -> Timestamp {
    let mut latest = tick;
    // A day of minutes is searched tick by tick; a longer gap is jumped over.
    let start = tick.max(now.minus(std::time::Duration::from_secs(86_400)));
    if start > tick {
        latest = start;
    }
    for _ in 0..1_500 {
        match schedule
            .next_after(latest.as_millis())
            .map(Timestamp::from_millis)
        {
            Some(next) if next <= now => latest = next,
            _ => break,
        }
    }
    if latest == start && start > tick {
        tick
    } else {
        latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    #[test]
    fn only_the_latest_missed_tick_counts() {
        let every_minute = Schedule::parse("* * * * *").unwrap();
        let tick = Timestamp::from_millis(1_700_000_040_000);
        let later = |minutes: i64| Timestamp::from_millis(tick.as_millis() + minutes * MINUTE + 5);
        assert_eq!(latest_missed(&every_minute, tick, later(0)), tick);
        assert_eq!(
            latest_missed(&every_minute, tick, later(7)).as_millis(),
            tick.as_millis() + 7 * MINUTE
        );
        assert_eq!(
            latest_missed(&every_minute, tick, later(5_000)).as_millis(),
            tick.as_millis() + 5_000 * MINUTE
        );
    }
}
