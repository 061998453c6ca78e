//! The server that is asked: where it is, who asks, and one question over HTTP.

use std::{
    collections::BTreeMap,
    io::{BufRead, stdin},
    path::Path,
    time::{Duration, Instant},
};

use reqwest::{Client, StatusCode, redirect};
use serde_json::{Value, json};
use url::{Host, Url};

use inngest_config::Secret;

use crate::client::{
    args::ServerArgs,
    documents::Document,
    failure::{Exit, Failure},
};

/// Where `inngest dev` listens.
const DEFAULT_SERVER: &str = "http://localhost:8288";
/// Longest time for a connection to be made.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Largest answer that is read, in bytes.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// A server and the right to ask it.
#[derive(Debug)]
pub(crate) struct Server {
    /// Its GraphQL endpoint.
    pub(crate) url: Url,
    /// What is sent as a bearer.
    pub(crate) token: Option<Secret<String>>,
    /// The environment that is asked for; the credential's own when absent.
    pub(crate) environment: Option<String>,
    /// Longest time for one answer, and for a broken watch to come back.
    pub(crate) timeout: Duration,
    http: Client,
}

impl Server {
    /// From flags, then variables, then defaults. Reads the token from its file or from standard input if asked to.
    ///
    /// # Errors
    /// `Usage` when one of them cannot be used.
    pub(crate) fn new(
        args: &ServerArgs,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        let variable = |name: &str| {
            let text = environment.get(name).map(|text| text.trim());
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let base = args.server.clone().or_else(|| variable("INNGEST_SERVER"));
        let url = endpoint(base.as_deref().unwrap_or(DEFAULT_SERVER))?;
        let token = token(args.token.as_deref(), &variable)?;
        let is_local = is_loopback(&url);
        if token.is_some() && url.scheme() == "http" && !is_local {
            tracing::warn!("the token goes to {url} unencrypted; use https");
        }
        let mut http = client();
        if is_local {
            http = http.no_proxy();
        }
        Ok(Self {
            url,
            token,
            environment: args.environment.clone().or_else(|| variable("INNGEST_ENV")),
            timeout: Duration::from_secs(args.timeout),
            http: http.build().map_err(|_| no_client())?,
        })
    }

    /// A connection of HTTP/1.1 for a websocket, which cannot share one with questions.
    ///
    /// # Errors
    /// `Failed` when the machine has no way to make TLS connections.
    pub(crate) fn http1(&self) -> Result<Client, Failure> {
        let mut http = client().http1_only();
        if is_loopback(&self.url) {
            http = http.no_proxy();
        }
        http.build().map_err(|_| no_client())
    }

    /// Asks one question and gives the `data` of its answer. A request is never sent twice: it may be a mutation.
    ///
    /// # Errors
    /// Why there is no such data, or only a part of it.
    pub(crate) async fn ask(&self, document: Document, variables: Value) -> Result<Value, Failure> {
        let started = Instant::now();
        let mut request = self
            .http
            .post(self.url.clone())
            .header(
                "accept",
                "application/graphql-response+json, application/json;q=0.9",
            )
            .timeout(self.timeout)
            .json(&json!({"query": document.text, "variables": variables}));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        if let Some(environment) = &self.environment {
            request = request.header("x-inngest-env", environment);
        }
        let answer = async {
            let mut response = request.send().await?;
            let status = response.status();
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                if body.len() + chunk.len() > ANSWER_BYTES {
                    return Ok((status, None));
                }
                body.extend_from_slice(&chunk);
            }
            Ok((status, Some(body)))
        };
        let (status, body) = answer.await.map_err(|error| self.unreachable(&error))?;
        let duration_ms = started.elapsed().as_millis();
        tracing::debug!(%status, duration_ms, "asked {}", document.name);
        let body = body.ok_or_else(|| {
            let message = "the answer is larger than 64 MiB; ask for less at once";
            Failure::new(Exit::Failed, message)
        })?;
        data(status, &body).unwrap_or_else(|| Err(self.foreign(status)))
    }

    /// A page of something that cannot be reached.
    pub(crate) fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let url = &self.url;
        let message = if error.is_connect() {
            format!(
                "nothing answers at {url}; `inngest dev` starts a server, --server or INNGEST_SERVER names another"
            )
        } else if error.is_timeout() {
            let seconds = self.timeout.as_secs();
            format!("{url} did not answer within {seconds} s; --timeout waits longer")
        } else {
            // The error names the URL, which holds no secret.
            format!("the connection to {url} broke: {error}")
        };
        Failure::new(Exit::Unreachable, message)
    }

    /// An answer that does not come from a server of ours.
    pub(crate) fn foreign(&self, status: StatusCode) -> Failure {
        let url = &self.url;
        let exit = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Refused,
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Exit::Unreachable,
            _ => Exit::Failed,
        };
        let message = format!("{url} answered {status} without GraphQL; is --server right?");
        Failure::new(exit, message)
    }
}

fn client() -> reqwest::ClientBuilder {
    Client::builder()
        .connect_timeout(CONNECT_TIME)
        // A redirect could carry the token elsewhere, and turns a POST into a GET.
        .redirect(redirect::Policy::none())
        .user_agent(concat!("inngest-cli/", env!("CARGO_PKG_VERSION")))
}

fn no_client() -> Failure {
    Failure::new(
        Exit::Failed,
        "could not set up TLS; does this machine have root certificates?",
    )
}

fn endpoint(base: &str) -> Result<Url, Failure> {
    let with_scheme = if base.contains("://") {
        base.to_owned()
    } else {
        format!("http://{base}")
    };
    let bad = || {
        let message = "--server is no URL such as https://inngest.example.com";
        Failure::usage(message)
    };
    let mut url = Url::parse(&with_scheme).map_err(|_| bad())?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(bad());
    }
    if !url.username().is_empty() || url.password().is_some() {
        let message = "--server must not hold a credential; give it with --token";
        return Err(Failure::usage(message));
    }
    url.set_query(None);
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/graphql").unwrap_or(path).to_owned();
    url.set_path(&format!("{path}/graphql"));
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// From the flag (`-` means a line of standard input), else `INNGEST_TOKEN`, else the file that `INNGEST_TOKEN_FILE` names.
fn token(
    flag: Option<&str>,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<Option<Secret<String>>, Failure> {
    let text = match (
        flag,
        variable("INNGEST_TOKEN"),
        variable("INNGEST_TOKEN_FILE"),
    ) {
        (Some("-"), _, _) => {
            let mut line = String::new();
            stdin()
                .lock()
                .read_line(&mut line)
                .map_err(|_| Failure::usage("the token cannot be read from standard input"))?;
            line
        }
        (Some(text), _, _) => text.to_owned(),
        (None, Some(_), Some(_)) => {
            let message = "INNGEST_TOKEN and INNGEST_TOKEN_FILE are both set; set only one of them";
            return Err(Failure::usage(message));
        }
        (None, Some(text), None) => text,
        (None, None, Some(path)) => std::fs::read_to_string(Path::new(&path)).map_err(|error| {
            Failure::usage(format!(
                "INNGEST_TOKEN_FILE names {path}, which cannot be read: {error}"
            ))
        })?,
        (None, None, None) => return Ok(None),
    };
    let text = text.trim();
    let is_sendable = !text.is_empty() && text.chars().all(|letter| letter.is_ascii_graphic());
    if !is_sendable {
        return Err(Failure::usage("the token is empty or is no single word"));
    }
    Ok(Some(Secret::new(text.to_owned())))
}

/// The data of a response, or its first error; none when the body is no GraphQL response.
fn data(status: StatusCode, body: &[u8]) -> Option<Result<Value, Failure>> {
    let mut answer: Value = serde_json::from_slice(body).ok()?;
    if answer["errors"]
        .as_array()
        .is_some_and(|errors| !errors.is_empty())
    {
        return Some(Err(Failure::of_response(&answer["errors"])));
    }
    let data = answer.get_mut("data").map(Value::take)?;
    (status.is_success() && data.is_object()).then_some(Ok(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_is_found_under_every_spelling() {
        for (given, expected) in [
            (
                "http://localhost:8288",
                Some("http://localhost:8288/graphql"),
            ),
            ("localhost:8288", Some("http://localhost:8288/graphql")),
            ("https://a.example/", Some("https://a.example/graphql")),
            (
                "https://a.example/base/graphql?x#y",
                Some("https://a.example/base/graphql"),
            ),
            ("ftp://a.example", None),
            ("https://me:secret@a.example", None),
            ("", None),
        ] {
            let found = endpoint(given).ok().map(String::from);
            assert_eq!(found.as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn token_comes_from_flag_then_variable_then_file_and_is_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "from-file\n").unwrap();
        let file = file.to_str().unwrap().to_owned();
        let find = |flag: Option<&str>, set: &[(&str, &str)]| {
            let variable = |name: &str| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let found = token(flag, &variable).map_err(|failure| failure.exit);
            found.map(|token| token.map(|token| token.expose().clone()))
        };
        let both = [("INNGEST_TOKEN", "a"), ("INNGEST_TOKEN_FILE", &*file)];
        assert_eq!(find(None, &[]), Ok(None));
        assert_eq!(find(Some("flag"), &both), Ok(Some("flag".to_owned())));
        assert_eq!(find(None, &both[..1]), Ok(Some("a".to_owned())));
        assert_eq!(find(None, &both[1..]), Ok(Some("from-file".to_owned())));
        assert_eq!(find(None, &both), Err(Exit::Usage));
        assert_eq!(find(Some("two words"), &[]), Err(Exit::Usage));
    }

    #[test]
    fn answer_that_is_no_graphql_is_told_apart() {
        let of = |body: &str| data(StatusCode::OK, body.as_bytes());
        assert!(of("<html>").is_none());
        assert!(of("{}").is_none());
        assert!(matches!(of(r#"{"data":{"a":1}}"#), Some(Ok(_))));
        let partial = r#"{"data":{"a":null},"errors":[{"message":"no"}]}"#;
        assert!(matches!(of(partial), Some(Err(_))));
    }
}
