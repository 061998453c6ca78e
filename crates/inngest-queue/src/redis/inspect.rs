//! What a Redis says about itself, for people who look for a mistake before they start a server.

use std::time::Duration;

use redis::Value;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::redis::{
    BadAddress, RedisSettings,
    conn::{Commands, Connection, reason_of},
};

/// How long connecting and asking may take together.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was found out. Providers do not permit every question. Of a cluster, each node that answers adds to the lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisFacts {
    /// For example `7.0.15`.
    pub versions: Vec<String>,
    /// Each `maxmemory-policy`; anything but `noeviction` throws parts of the schedule away when the memory is full.
    pub policies: Vec<String>,
}

/// Why nothing was found out. Quotes neither the URI nor what Redis said.
#[derive(Debug, thiserror::Error)]
pub enum NotInspected {
    /// The URI cannot be used.
    #[error(transparent)]
    Address(#[from] BadAddress),
    /// There is no connection, or no answer.
    #[error("Redis cannot be used: {0}")]
    Unusable(&'static str),
}

/// Connects, asks and disconnects. Changes nothing. Takes five seconds at most.
///
/// # Errors
/// When there is no connection, or no answer to `PING`.
pub async fn inspect(settings: &RedisSettings) -> Result<RedisFacts, NotInspected> {
    let connection = Connection::new(&settings.uri, settings.timeouts, &TaskTracker::new())?;
    let asking = async {
        let mut commands = connection.connect().await?;
        commands.query(&redis::cmd("PING")).await?;
        Ok(ask(&mut commands).await)
    };
    match timeout(PATIENCE, asking).await {
        Ok(outcome) => {
            outcome.map_err(|error: redis::RedisError| NotInspected::Unusable(reason_of(&error)))
        }
        Err(_) => Err(NotInspected::Unusable("no answer")),
    }
}

async fn ask(commands: &mut Commands) -> RedisFacts {
    let mut facts = RedisFacts::default();
    let mut info = redis::cmd("INFO");
    info.arg("server");
    if let Ok(value) = commands.query(&info).await {
        facts.versions = versions(&texts(value));
    }
    let mut config = redis::cmd("CONFIG");
    config.arg("GET").arg("maxmemory-policy");
    if let Ok(value) = commands.query(&config).await {
        facts.policies = policies(&texts(value));
    }
    facts
}

/// All texts of an answer, in order; that of a cluster holds one answer for each node.
fn texts(value: Value) -> Vec<String> {
    match value {
        Value::BulkString(bytes) => vec![String::from_utf8_lossy(&bytes).into_owned()],
        Value::VerbatimString { text, .. } | Value::SimpleString(text) => vec![text],
        Value::Array(values) => values.into_iter().flat_map(texts).collect(),
        Value::Map(pairs) => pairs
            .into_iter()
            .flat_map(|(key, value)| [key, value])
            .flat_map(texts)
            .collect(),
        _ => Vec::new(),
    }
}

fn versions(texts: &[String]) -> Vec<String> {
    let lines = texts.iter().flat_map(|text| text.lines());
    lines
        .filter_map(|line| line.strip_prefix("redis_version:"))
        .map(|version| version.trim().to_owned())
        .collect()
}

fn policies(texts: &[String]) -> Vec<String> {
    let pairs = texts.windows(2);
    pairs
        .filter(|pair| pair[0] == "maxmemory-policy")
        .map(|pair| pair[1].clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::redis_tests::{URL, place, url};

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn facts_are_found_in_the_answer_of_one_server_or_of_many() {
        let info = bulk("# Server\r\nredis_version:7.0.15\r\nos:x\r\n");
        let policy = Value::Array(vec![bulk("maxmemory-policy"), bulk("allkeys-lru")]);
        let cluster = |one: &Value, other: &Value| {
            let node = |name: &str| Value::SimpleString(name.to_owned());
            Value::Map(vec![
                (node("127.0.0.1:1"), one.clone()),
                (node("127.0.0.1:2"), other.clone()),
            ])
        };
        let newer = Value::Map(vec![(bulk("maxmemory-policy"), bulk("noeviction"))]);
        assert_eq!(versions(&texts(info.clone())), ["7.0.15"]);
        assert_eq!(
            versions(&texts(cluster(&info, &info))),
            ["7.0.15", "7.0.15"]
        );
        assert_eq!(policies(&texts(policy.clone())), ["allkeys-lru"]);
        assert_eq!(
            policies(&texts(cluster(&policy, &newer))),
            ["allkeys-lru", "noeviction"]
        );
        assert!(versions(&texts(Value::Nil)).is_empty());
        assert!(policies(&texts(bulk("maxmemory-policy"))).is_empty());
    }

    #[tokio::test]
    async fn redis_tells_what_it_is() {
        let Some(uri) = url(URL) else { return };
        let facts = inspect(&place(&uri)).await.unwrap();
        assert_eq!(
            (facts.versions.len(), facts.policies.len()),
            (1, 1),
            "{facts:?}"
        );
    }

    #[tokio::test]
    async fn reason_is_told_without_the_password() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        for uri in [
            format!("redis://:hunter2@{address}"),
            "redis://:hunter2@h:port".to_owned(),
        ] {
            let error = inspect(&place(&uri)).await.unwrap_err();
            assert!(
                !format!("{error} {error:?}").contains("hunter2"),
                "{error:?}"
            );
        }
    }
}
