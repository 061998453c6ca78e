//! Where Redis is: one server, a master that sentinels name, or a cluster.

use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    cluster::ClusterClient,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use url::Url;

use crate::redis::conn::Timeouts;

/// What a URI names. `redis://` and `rediss://` (TLS) name one server; `redis-cluster://a,b` and `rediss-cluster://` nodes of a cluster;
/// `redis-sentinel://a,b/master` and `rediss-sentinel://` sentinels and the name of their master (then `?db=`). User and password stand
/// before the first host and hold for the data servers; `redis+cluster` and `redis+sentinel` are understood as well.
pub(super) enum Address {
    /// One server.
    Single(Box<Client>),
    /// Sentinels, and the client that asks them.
    Sentinel(Box<tokio::sync::Mutex<SentinelClient>>),
    /// A cluster, and its nodes one by one, for channels.
    Cluster(Box<ClusterClient>, Vec<Client>),
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Clients know passwords.
        f.write_str(match self {
            Self::Single(_) => "Single",
            Self::Sentinel(_) => "Sentinel",
            Self::Cluster(..) => "Cluster",
        })
    }
}

/// Why a URI cannot be used. Does not quote it, because it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("redis-uri cannot be used: {0}")]
pub struct BadAddress(String);

struct Parts {
    is_tls: bool,
    user: Option<String>,
    password: Option<String>,
    hosts: Vec<(String, u16)>,
    path: String,
    query: Vec<(String, String)>,
}

impl Address {
    pub(super) fn parse(uri: &str, timeouts: Timeouts) -> Result<Self, BadAddress> {
        let (scheme, rest) = uri
            .split_once("://")
            .ok_or_else(|| bad("it has no scheme, for example redis://"))?;
        match scheme {
            "redis" | "rediss" | "unix" | "redis+unix" | "valkey" | "valkeys" => Client::open(uri)
                .map(|client| Self::Single(Box::new(client)))
                .map_err(bad_redis),
            "redis-cluster" | "rediss-cluster" | "redis+cluster" | "rediss+cluster" => {
                cluster(&Parts::parse(scheme, rest, 6379)?, timeouts)
            }
            "redis-sentinel" | "rediss-sentinel" | "redis+sentinel" | "rediss+sentinel" => {
                sentinel(&Parts::parse(scheme, rest, 26379)?)
            }
            _ => Err(bad(
                "its scheme is none of redis, rediss, redis-cluster, rediss-cluster, redis-sentinel, rediss-sentinel",
            )),
        }
    }
}

impl Parts {
    fn parse(scheme: &str, rest: &str, port: u16) -> Result<Self, BadAddress> {
        // The first host decides what else the URI holds; the others are cut out, because no URI has several.
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (format!("{credentials}@"), hosts),
            None => (String::new(), authority),
        };
        let mut found = Vec::new();
        let mut first: Option<Url> = None;
        for host in hosts.split(',') {
            let url = Url::parse(&format!("redis://{credentials}{host}{tail}"))
                .map_err(|_| bad("it is not a valid URI"))?;
            let name = url.host_str().ok_or_else(|| bad("a host is missing"))?;
            let name = name.trim_start_matches('[').trim_end_matches(']');
            found.push((name.to_owned(), url.port().unwrap_or(port)));
            first.get_or_insert(url);
        }
        let url = first.ok_or_else(|| bad("it names no host"))?;
        let decoded = |text: &str| {
            // Form decoding, in which a plus sign stands for itself.
            url::form_urlencoded::parse(format!("x={}", text.replace('+', "%2B")).as_bytes())
                .next()
                .map(|(_, value)| value.into_owned())
                .filter(|value| !value.is_empty())
        };
        Ok(Self {
            is_tls: scheme.starts_with("rediss"),
            user: decoded(url.username()),
            password: url.password().and_then(decoded),
            hosts: found,
            path: url.path().trim_matches('/').to_owned(),
            query: url.query_pairs().into_owned().collect(),
        })
    }

    fn node(&self, host: &str, port: u16) -> Result<ConnectionInfo, BadAddress> {
        let scheme = if self.is_tls { "rediss" } else { "redis" };
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let mut url =
            Url::parse(&format!("{scheme}://{host}:{port}")).map_err(|_| bad("a host is wrong"))?;
        let set = url.set_username(self.user.as_deref().unwrap_or_default());
        if set
            .and_then(|()| url.set_password(self.password.as_deref()))
            .is_err()
        {
            return Err(bad("user or password cannot be used"));
        }
        url.into_connection_info().map_err(bad_redis)
    }
}

fn cluster(parts: &Parts, timeouts: Timeouts) -> Result<Address, BadAddress> {
    let mut infos = Vec::new();
    let mut nodes = Vec::new();
    for (host, port) in &parts.hosts {
        let info = parts.node(host, *port)?;
        infos.push(info.clone());
        nodes.push(Client::open(info).map_err(bad_redis)?);
    }
    let client = ClusterClient::builder(infos)
        .connection_timeout(timeouts.connect)
        .response_timeout(timeouts.response)
        // How often a command follows the cluster while a slot moves or a master changes.
        .retries(4)
        .min_retry_wait(20)
        .max_retry_wait(500)
        .build()
        .map_err(bad_redis)?;
    Ok(Address::Cluster(Box::new(client), nodes))
}

fn sentinel(parts: &Parts) -> Result<Address, BadAddress> {
    if parts.path.is_empty() {
        return Err(bad("the name of the master is missing after the hosts"));
    }
    let addresses = parts
        .hosts
        .iter()
        .map(|(host, port)| ConnectionAddr::Tcp(host.clone(), *port));
    let mut builder =
        SentinelClientBuilder::new(addresses, parts.path.clone(), SentinelServerType::Master)
            .map_err(bad_redis)?;
    if let Some(user) = &parts.user {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = &parts.password {
        builder = builder.set_client_to_redis_password(password);
    }
    if parts.is_tls {
        builder = builder.set_client_to_redis_tls_mode(redis::TlsMode::Secure);
    }
    for (name, value) in &parts.query {
        match name.as_str() {
            "db" => {
                let number = value.parse().map_err(|_| bad("`db` is not a number"))?;
                builder = builder.set_client_to_redis_db(number);
            }
            "sentinel_user" => builder = builder.set_client_to_sentinel_username(value),
            "sentinel_password" => builder = builder.set_client_to_sentinel_password(value),
            _ => {
                return Err(bad(
                    "a parameter is none of db, sentinel_user, sentinel_password",
                ));
            }
        }
    }
    let client = builder.build().map_err(bad_redis)?;
    Ok(Address::Sentinel(Box::new(tokio::sync::Mutex::new(client))))
}

fn bad(reason: &str) -> BadAddress {
    BadAddress(reason.to_owned())
}

fn bad_redis(error: redis::RedisError) -> BadAddress {
    // The kind only: the text of the library may quote what it was given.
    BadAddress(format!("{:?}", error.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str) -> String {
        match Address::parse(uri, Timeouts::default()) {
            Ok(address) => format!("{address:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_usual_form_is_understood() {
        for (uri, expected) in [
            ("redis://localhost", "Single"),
            ("rediss://user:pass@host:6380/2", "Single"),
            ("redis-cluster://a:7000,b:7001,c", "Cluster"),
            ("rediss-cluster://u:p@a:7000,b", "Cluster"),
            ("redis+sentinel://a,b:26380/mymaster?db=1", "Sentinel"),
            (
                "redis-sentinel://:p%40ss@a/mymaster?sentinel_password=x",
                "Sentinel",
            ),
        ] {
            assert_eq!(check(uri), expected, "{uri}");
        }
    }

    #[test]
    fn wrong_ones_are_refused_without_quoting_the_password() {
        for uri in [
            "localhost:6379",
            "http://u:hunter2@host",
            "redis-sentinel://u:hunter2@a",
            "redis-sentinel://a/m?x=hunter2",
            "redis-sentinel://a/m?db=hunter2",
            "redis-cluster://u:hunter2@",
            "redis://u:hunter2@host:port",
        ] {
            let told = check(uri);
            assert!(told.contains("redis-uri"), "{uri}: {told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
