//! Waiting for Postgres, which is often started at the same moment as the server.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tracing::warn;
use url::{Host, Url};

/// How long a database that does not answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const ONE_TRY: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(500);

/// Waits until something listens where the URI says, because a pool of connections would only say that it got none in time. A URI
/// without a host (a local socket) is left to the pool.
///
/// # Errors
/// When nothing listens there for 30 s; the message names the address, never the password.
pub(crate) async fn wait(uri: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut was_told = false;
    while let Some(silence) = silence(uri).await? {
        if Instant::now() >= deadline {
            bail!("{silence}; check that it runs and that postgres-uri is right");
        }
        if !was_told {
            was_told = true;
            warn!("{silence}; trying for {} s", PATIENCE.as_secs());
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Tries once, for five seconds at most, to connect to where the URI says. `None` when something listens there, or nothing can be said;
/// otherwise a sentence that names the address.
///
/// # Errors
/// When the URI is not valid.
pub(crate) async fn silence(uri: &str) -> anyhow::Result<Option<String>> {
    let Some((host, port)) = address(uri)? else {
        return Ok(None);
    };
    let error = match timeout(ONE_TRY, TcpStream::connect((host.as_str(), port))).await {
        Ok(Ok(_)) => return Ok(None),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer".to_owned(),
    };
    Ok(Some(format!(
        "Postgres does not answer at {host}:{port} ({error})"
    )))
}

fn address(uri: &str) -> anyhow::Result<Option<(String, u16)>> {
    // The text of the error does not quote the URI, which holds a password.
    let url = Url::parse(uri).context("postgres-uri is not a valid URI")?;
    if url
        .query_pairs()
        .any(|(name, _)| name == "host" || name == "hostaddr")
    {
        return Ok(None);
    }
    let host = match url.host() {
        Some(Host::Domain(name))
            if name.starts_with('/') || name.contains('%') || name.is_empty() =>
        {
            None
        }
        Some(Host::Domain(name)) => Some(name.to_owned()),
        Some(Host::Ipv4(address)) => Some(address.to_string()),
        Some(Host::Ipv6(address)) => Some(address.to_string()),
        None => None,
    };
    Ok(host.map(|host| (host, url.port().unwrap_or(5432))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_read_where_there_is_one() {
        let check = |uri: &str, expected: Option<(&str, u16)>| {
            let found = address(uri).unwrap();
            assert_eq!(
                found,
                expected.map(|(host, port)| (host.to_owned(), port)),
                "{uri}"
            );
        };
        check("postgres://u:p@db/inngest", Some(("db", 5432)));
        check(
            "postgresql://127.0.0.1:6000/x?sslmode=disable",
            Some(("127.0.0.1", 6000)),
        );
        check("postgres://[::1]/x", Some(("::1", 5432)));
        check("postgres:///x", None);
        check("postgres:///x?host=/run/postgresql", None);
        check("postgres://%2Frun%2Fpostgresql/x", None);
    }

    #[test]
    fn message_about_a_wrong_uri_does_not_quote_it() {
        let error = address("postgres://u:hunter2@h:port/x").unwrap_err();
        assert!(!format!("{error:#}").contains("hunter2"), "{error:#}");
    }
}
