//! The results of steps in the forms that SDKs read (sdk-protocol 3.4). A second key beside `data` or `error` would break them.

use crate::{json::Json, op::StepError};

/// `{"data": …}`, the result of a step.
pub fn data(data: &Json) -> Json {
    Json::object([("data", data)])
}

/// `{"error": …}`, a step that failed for good.
pub fn error(error: &StepError) -> Json {
    Json::object([("error", &error_object(error))])
}

/// The result of a wait for a signal that came.
pub fn signal(signal: &str, payload: &Json) -> Json {
    data(&Json::object([
        ("signal", &Json::string(signal)),
        ("data", payload),
    ]))
}

/// `{"input": […]}`, which makes an app run a step again with these arguments.
pub fn input(arguments: &Json) -> Json {
    Json::object([("input", arguments)])
}

/// The result of an invoke that lasted too long.
pub fn invoke_timeout() -> Json {
    const NAME: &str = "InngestInvokeTimeoutError";
    const MESSAGE: &str = "Timed out waiting for invoked function to complete";
    let (name, message) = (Json::string(NAME), Json::string(MESSAGE));
    let error = Json::string(&format!("{NAME}: {MESSAGE}"));
    Json::object([(
        "error",
        &Json::object([("name", &name), ("message", &message), ("error", &error)]),
    )])
}

/// What came back from an HTTP request that the server made for an app.
pub fn fetched(url: &str, status: u16, headers: &[(String, String)], body: &str) -> Json {
    let headers: Vec<(&str, Json)> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), Json::string(value)))
        .collect();
    let headers = Json::object(headers.iter().map(|(name, value)| (*name, value)));
    let (url, body, status) = (
        Json::string(url),
        Json::string(body),
        Json::integer(i64::from(status)),
    );
    Json::object([
        ("url", &url),
        ("status_code", &status),
        ("headers", &headers),
        ("body", &body),
    ])
}

/// An error as SDKs read it: `name` and `message`, and of the rest what there is. `data` is kept even when it is null.
pub fn error_object(error: &StepError) -> Json {
    error_with(error, &[])
}

/// The same for a run that failed, with what the server saw in member `error`.
pub fn run_error_object(error: &StepError, reason: &str) -> Json {
    error_with(error, &[("error", &Json::string(reason))])
}

fn error_with(error: &StepError, more: &[(&str, &Json)]) -> Json {
    let (name, message) = (Json::string(&error.name), Json::string(&error.message));
    let stack = error.stack.as_deref().map(Json::string);
    let no_retry = error.no_retry.then(|| Json::from_value(&true.into()));
    let mut members = vec![("name", &name), ("message", &message)];
    let optional = [
        ("stack", &stack),
        ("data", &error.data),
        ("cause", &error.cause),
        ("noRetry", &no_retry),
    ];
    members.extend(
        optional
            .into_iter()
            .filter_map(|(key, value)| value.as_ref().map(|value| (key, value))),
    );
    members.extend_from_slice(more);
    Json::object(members)
}

/// Reads an error object that an app sent, or one of ours that was stored. Text alone is taken for the message.
pub fn parse_error(value: &Json) -> StepError {
    let mut error = StepError::new("", "");
    if let Some(text) = value.to_text() {
        error.message = text;
    }
    for (key, value) in value.members() {
        match key.as_ref() {
            "name" => error.name = value.to_text().unwrap_or_default(),
            "message" => error.message = value.to_text().unwrap_or_default(),
            "stack" => error.stack = value.to_text().filter(|text| !text.is_empty()),
            "data" => error.data = Some(value),
            "cause" => error.cause = Some(value).filter(|value| !value.is_null()),
            "noRetry" => error.no_retry = value.as_bytes() == b"true",
            "retryAfter" => {
                error.retry_after = value
                    .to_text()
                    .or_else(|| Some(value.as_str().to_owned()))
                    .filter(|text| text != "null")
            }
            _ => {}
        }
    }
    if error.name.is_empty() {
        error.name = "Error".to_owned();
    }
    if error.message.is_empty() {
        error.message = "Function execution error".to_owned();
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memos_have_the_forms_that_sdks_unwrap() {
        let one = Json::integer(1);
        let mut full = StepError::new("TypeError", "boom");
        full.stack = Some("at".to_owned());
        full.data = Some(Json::null());
        full.cause = Some(Json::string("root"));
        full.no_retry = true;
        for (memo, expected) in [
            (data(&Json::null()), r#"{"data":null}"#),
            (
                error(&StepError::new("E", "m")),
                r#"{"error":{"message":"m","name":"E"}}"#,
            ),
            (
                error(&full),
                r#"{"error":{"cause":"root","data":null,"message":"boom","name":"TypeError","noRetry":true,"stack":"at"}}"#,
            ),
            (
                run_error_object(&StepError::new("E", "m"), "invalid status code: 500"),
                r#"{"error":"invalid status code: 500","message":"m","name":"E"}"#,
            ),
            (signal("s", &one), r#"{"data":{"data":1,"signal":"s"}}"#),
            (input(&Json::array([&one])), r#"{"input":[1]}"#),
            (
                data(&fetched("http://a", 200, &[("b".into(), "c".into())], "d")),
                r#"{"data":{"body":"d","headers":{"b":"c"},"status_code":200,"url":"http://a"}}"#,
            ),
            (
                invoke_timeout(),
                r#"{"error":{"error":"InngestInvokeTimeoutError: Timed out waiting for invoked function to complete","message":"Timed out waiting for invoked function to complete","name":"InngestInvokeTimeoutError"}}"#,
            ),
        ] {
            assert_eq!(memo.as_str(), expected);
            assert_eq!(Json::parse(memo.as_bytes()).unwrap(), memo);
        }
        assert_eq!(parse_error(&error_object(&full)), full);
    }

    #[test]
    fn errors_are_read_from_whatever_apps_send() {
        let read = |text: &str| parse_error(&Json::parse(text.as_bytes()).unwrap());
        assert_eq!(
            read("null"),
            StepError::new("Error", "Function execution error")
        );
        assert_eq!(read(r#""text""#), StepError::new("Error", "text"));
        assert_eq!(
            read(r#"{"name":5,"message":null,"stack":"","cause":null}"#),
            StepError::new("Error", "Function execution error")
        );
        assert_eq!(read(r#"{"data":null}"#).data, Some(Json::null()));
        assert_eq!(
            read(r#"{"retryAfter":30}"#).retry_after.as_deref(),
            Some("30")
        );
        assert_eq!(
            read(r#"{"retryAfter":"30"}"#).retry_after.as_deref(),
            Some("30")
        );
    }
}
