//! Whether Redis can hold the schedule.

use inngest_config::ScheduleSettings;
use inngest_queue::{RedisFacts, RedisSettings, inspect};

use crate::doctor::finding::{Finding, bad, doubtful, good};

/// The oldest version that is tested.
const OLDEST: u32 = 7;

/// Connects and asks for version and eviction policy.
pub(super) async fn look(settings: &ScheduleSettings) -> Vec<Finding> {
    let ScheduleSettings::Redis { uri, prefix } = settings else {
        return Vec::new();
    };
    let redis = RedisSettings {
        prefix: prefix.clone(),
        ..RedisSettings::at(uri.expose().clone())
    };
    match inspect(&redis).await {
        Ok(facts) => vec![version(&facts), policy(&facts)],
        Err(error) => vec![bad(
            "Redis",
            error.to_string(),
            "check that it runs, and host, port and password in --redis-uri",
        )],
    }
}

fn version(facts: &RedisFacts) -> Finding {
    let major = |version: &String| {
        version
            .split('.')
            .next()
            .and_then(|major| major.parse().ok())
    };
    let oldest = facts.versions.iter().min_by_key(|version| major(version));
    match oldest {
        Some(version) if major(version) >= Some(OLDEST) => {
            good("Redis", format!("is version {version}"))
        }
        Some(version) => doubtful(
            "Redis",
            format!("is version {version}"),
            "version 7 is the oldest that is tested; upgrade it",
        ),
        None => doubtful(
            "Redis",
            "answers, but does not tell its version",
            "make sure that it is 7 or newer",
        ),
    }
}

fn policy(facts: &RedisFacts) -> Finding {
    let is_harmful = |policy: &&String| policy.as_str() != "noeviction";
    match facts.policies.iter().find(is_harmful) {
        Some(policy) => doubtful(
            "Redis",
            format!(
                "throws keys away when its memory is full (maxmemory-policy {policy}), so work comes minutes late"
            ),
            "set its maxmemory-policy to noeviction",
        ),
        None if facts.policies.is_empty() => doubtful(
            "Redis",
            "does not tell its maxmemory-policy",
            "make sure that it is noeviction",
        ),
        None => good("Redis", "keeps its keys when its memory is full"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn oldest_version_and_worst_policy_count() {
        let facts = |versions: &[&str], policies: &[&str]| RedisFacts {
            versions: versions.iter().map(|text| (*text).to_owned()).collect(),
            policies: policies.iter().map(|text| (*text).to_owned()).collect(),
        };
        for (versions, policies, expected) in [
            (
                vec!["7.0.15"],
                vec!["noeviction"],
                (Level::Good, Level::Good),
            ),
            (
                vec!["10.1", "8.0"],
                vec!["noeviction"; 2],
                (Level::Good, Level::Good),
            ),
            (
                vec!["7.2", "6.2.1"],
                vec!["noeviction", "allkeys-lru"],
                (Level::Doubtful, Level::Doubtful),
            ),
            (vec![], vec![], (Level::Doubtful, Level::Doubtful)),
        ] {
            let facts = facts(&versions, &policies);
            let judged = (version(&facts).level, policy(&facts).level);
            assert_eq!(judged, expected, "{facts:?}");
        }
    }
}
