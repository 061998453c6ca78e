//! What several nouns ask in the same way: pages, times, ids by name, payloads of mutations.

use std::io::{Read, stdin};

use serde_json::{Map, Value, json};

use inngest_core::{duration, time::Timestamp};

use crate::client::{
    args::{DataArgs, TimeArgs},
    connection::Server,
    documents::{self, Document},
    failure::{Exit, Failure},
};

/// Most entries of one page; the server's own limit.
const PAGE: u64 = 200;
/// Largest file or input that is sent as event data, in bytes.
const DATA_BYTES: u64 = 10 * 1024 * 1024;

/// Up to `limit` entries of the connection at `path`, asked for in pages. `variables` are those besides `first` and `after`.
///
/// # Errors
/// Those of the questions.
pub(crate) async fn list(
    server: &Server,
    document: Document,
    path: &str,
    mut variables: Value,
    limit: u64,
) -> Result<Vec<Value>, Failure> {
    let mut entries = Vec::new();
    loop {
        let missing = limit - entries.len() as u64;
        variables["first"] = missing.min(PAGE).into();
        let mut data = server.ask(document, variables.clone()).await?;
        let Some(connection) = data.pointer_mut(path) else {
            let message = "there is no such environment for this credential";
            return Err(Failure::new(Exit::NotFound, message));
        };
        if let Value::Array(nodes) = connection["nodes"].take() {
            entries.extend(nodes);
        }
        let info = &connection["pageInfo"];
        let is_over = info["hasNextPage"] != true || entries.len() as u64 >= limit;
        if is_over || info["endCursor"].is_null() {
            return Ok(entries);
        }
        variables["after"] = info["endCursor"].clone();
    }
}

/// The id of the environment, and the time by the server's clock.
///
/// # Errors
/// Those of the question.
pub(crate) async fn environment(server: &Server) -> Result<(String, Timestamp), Failure> {
    let data = server.ask(documents::ENVIRONMENT, json!({})).await?;
    let id = data["environment"]["id"].as_str();
    let id = id.ok_or_else(|| {
        let name = server.environment.as_deref().unwrap_or("default");
        Failure::not_found("environment", name)
    })?;
    let now = data["server"]["time"].as_str().unwrap_or_default();
    let now = duration::parse_when(now, 0)
        .map_err(|_| Failure::new(Exit::Failed, "the server's time cannot be read"))?;
    Ok((id.to_owned(), Timestamp::from_millis(now)))
}

/// Adds `from` and `until` to the variables; durations count back from the server's time.
///
/// # Errors
/// `Usage` for a text that is neither a duration nor a time, or those of the question.
pub(crate) async fn add_times(
    server: &Server,
    times: &TimeArgs,
    variables: &mut Value,
) -> Result<(), Failure> {
    let is_relative = |text: &str| duration::parse(text).is_ok();
    let asks = is_relative(&times.since) || times.until.as_deref().is_some_and(is_relative);
    let now = if asks {
        environment(server).await?.1
    } else {
        Timestamp::from_millis(0)
    };
    variables["from"] = when(&times.since, now)?.into();
    if let Some(until) = &times.until {
        variables["until"] = when(until, now)?.into();
    }
    Ok(())
}

/// A duration back from `now`, or a time.
pub(crate) fn when(text: &str, now: Timestamp) -> Result<String, Failure> {
    if let Ok(length) = duration::parse(text) {
        return Ok(now.minus(length).to_rfc3339());
    }
    // Not before 1970, which is no loss.
    match duration::parse_when(text, 0) {
        Ok(millis) if text.len() >= 10 => Ok(Timestamp::from_millis(millis).to_rfc3339()),
        _ => Err(Failure::usage(format!(
            "`{text}` is neither a duration such as 24h nor a time such as 2026-08-22T10:15:30Z"
        ))),
    }
}

/// The global id of an app, from an id or from the name given in code.
///
/// # Errors
/// `NotFound`, or those of the question.
pub(crate) async fn app_id(server: &Server, app: &str) -> Result<String, Failure> {
    if is_id("app_", app) {
        return Ok(app.to_owned());
    }
    let data = server
        .ask(documents::FIND_APP, json!({"externalId": app}))
        .await?;
    let id = data.pointer("/environment/app/id").and_then(Value::as_str);
    id.map(str::to_owned)
        .ok_or_else(|| Failure::not_found("app", app))
}

/// The same for several.
///
/// # Errors
/// As for one.
pub(crate) async fn app_ids(server: &Server, apps: &[String]) -> Result<Vec<String>, Failure> {
    let mut ids = Vec::with_capacity(apps.len());
    for app in apps {
        ids.push(app_id(server, app).await?);
    }
    Ok(ids)
}

/// The global id of a function, from an id or its slug.
///
/// # Errors
/// `NotFound`, or those of the question.
pub(crate) async fn function_id(server: &Server, function: &str) -> Result<String, Failure> {
    if is_id("fn_", function) {
        return Ok(function.to_owned());
    }
    let variables = json!({"slug": function});
    let data = server.ask(documents::FIND_FUNCTION, variables).await?;
    let id = data
        .pointer("/environment/function/id")
        .and_then(Value::as_str);
    id.map(str::to_owned)
        .ok_or_else(|| Failure::not_found("function", function))
}

/// Whether a text is a global id with this prefix, or a bare UUID, rather than a name given in code.
fn is_id(prefix: &str, text: &str) -> bool {
    let native = text.strip_prefix(prefix).unwrap_or(text);
    let groups: Vec<_> = native.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && native.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

/// What a mutation returned: its payload, unless that holds expected failures.
///
/// # Errors
/// The first of them, or those of the question.
pub(crate) async fn change(
    server: &Server,
    document: Document,
    input: Value,
) -> Result<Value, Failure> {
    let mut data = server.ask(document, json!({"input": input})).await?;
    let payload = data
        .as_object_mut()
        .and_then(|data| data.values_mut().next());
    let payload = payload.map(Value::take).unwrap_or_default();
    match payload["errors"].as_array() {
        Some(errors) if errors.is_empty() => Ok(payload),
        _ => Err(Failure::of_payload(&payload["errors"])),
    }
}

/// `data` and `user` of an event, as members of an input.
///
/// # Errors
/// `Usage` for what is no JSON object or cannot be read.
pub(crate) fn data(args: &DataArgs) -> Result<Map<String, Value>, Failure> {
    let mut members = Map::new();
    for (name, given) in [("data", &args.data), ("user", &args.user)] {
        if let Some(given) = given {
            members.insert(name.to_owned(), object(name, given)?);
        }
    }
    Ok(members)
}

fn object(name: &str, given: &str) -> Result<Value, Failure> {
    match value(name, given)? {
        value @ Value::Object(_) => Ok(value),
        _ => Err(Failure::usage(format!("--{name} must be a JSON object"))),
    }
}

/// The JSON of a flag: its text, a file, or standard input.
///
/// # Errors
/// `Usage` for what is no JSON or cannot be read.
pub(crate) fn value(name: &str, given: &str) -> Result<Value, Failure> {
    let unreadable =
        |error: std::io::Error| Failure::usage(format!("--{name} cannot be read: {error}"));
    let mut text = String::new();
    if given == "-" {
        let mut input = stdin().lock().take(DATA_BYTES);
        input.read_to_string(&mut text).map_err(unreadable)?;
    } else if let Some(path) = given.strip_prefix('@') {
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(DATA_BYTES)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
    } else {
        given.clone_into(&mut text);
    }
    serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("--{name} is no JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_durations_back_or_dates() {
        let now = Timestamp::from_millis(1_790_000_000_000);
        let of = |text: &str| when(text, now).map_err(|failure| failure.exit);
        assert_eq!(of("1h"), Ok("2026-09-21T13:13:20.000Z".to_owned()));
        assert_eq!(
            of("2026-08-22T10:15:30+02:00"),
            Ok("2026-08-22T08:15:30.000Z".to_owned())
        );
        for text in ["", "yesterday", "-1h", "1", "2026"] {
            assert_eq!(of(text), Err(Exit::Usage), "{text}");
        }
    }

    #[test]
    fn names_given_in_code_are_told_from_ids() {
        for (text, expected) in [
            ("app_0199b2c4-91a0-7c3e-8f00-000000000001", true),
            ("0199b2c4-91a0-7c3e-8f00-000000000001", true),
            ("app_shop", false),
            ("shop", false),
            ("shop-with-four-more-dashes", false),
        ] {
            assert_eq!(is_id("app_", text), expected, "{text}");
        }
    }

    #[test]
    fn event_data_is_an_object_from_text_or_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("data.json");
        std::fs::write(&file, r#"{"a":1}"#).unwrap();
        let of = |text: &str| object("data", text).map_err(|failure| failure.exit);
        assert_eq!(of(r#"{"a":1}"#), Ok(json!({"a": 1})));
        assert_eq!(of(&format!("@{}", file.display())), Ok(json!({"a": 1})));
        for text in ["[1]", "{", "@/no/such/file"] {
            assert_eq!(of(text), Err(Exit::Usage), "{text}");
        }
    }
}
