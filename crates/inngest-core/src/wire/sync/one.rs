//! Registering one function by itself, by somebody who runs a service without one of the SDKs that register for it.

use serde_json::{Map, Value, json};

use super::{InvalidRegistration, Registration, parse_register};
use crate::{app::App, json::Json};

/// A function as it is given by itself. What it says is checked as if an SDK had sent it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OneFunction {
    /// The id of its app.
    pub app: String,
    /// Its id within the app.
    pub id: String,
    /// Its display name; its id where there is none.
    pub name: Option<String>,
    /// Where the app is served.
    pub url: String,
    /// What starts it, each as an SDK says it: `{"event", "expression"}` or `{"cron"}`.
    pub triggers: Vec<Value>,
    /// Attempts after the first one.
    pub retries: Option<u32>,
    /// Concurrency limits, each as an SDK says it: `{"limit", "key", "scope"}`.
    pub concurrency: Vec<Value>,
    /// The expression whose equal values make a second start the same start.
    pub idempotency: Option<String>,
}

impl OneFunction {
    /// The id by which SDKs name it.
    pub fn slug(&self) -> String {
        format!("{}-{}", self.app, self.id)
    }

    fn to_value(&self) -> Value {
        let slug = self.slug();
        let mark = if self.url.contains('?') { '&' } else { '?' };
        let step = json!({
            "id": "step",
            "name": "step",
            "runtime": {"type": "http", "url": format!("{}{mark}fnId={}&stepId=step", self.url, escaped(&slug))},
        });
        let mut function = json!({
            "id": slug,
            "name": self.name.as_deref().unwrap_or(&self.id),
            "triggers": self.triggers,
            "steps": {"step": step},
        });
        if let Some(retries) = self.retries {
            function["steps"]["step"]["retries"] = json!({ "attempts": retries });
        }
        if !self.concurrency.is_empty() {
            function["concurrency"] = self.concurrency.clone().into();
        }
        if let Some(expression) = &self.idempotency {
            function["idempotency"] = expression.as_str().into();
        }
        function
    }
}

/// What an app says that has this function beside `others`, which are stored as they were sent. An app that is known stays what it is but for
/// its URL.
///
/// # Errors
/// As [`parse_register`].
pub fn with_function(
    app: Option<&App>,
    others: &[&Json],
    one: &OneFunction,
) -> Result<Registration, InvalidRegistration> {
    let mut functions: Vec<Value> = others.iter().map(|raw| raw.to_value()).collect();
    functions.push(one.to_value());
    let mut body = Map::new();
    let mut say = |member: &str, value: Value| body.insert(member.to_owned(), value);
    say("appName", one.app.as_str().into());
    say("url", one.url.as_str().into());
    say("functions", functions.into());
    if let Some(app) = app {
        say(
            "sdk",
            format!("{}:v{}", app.sdk_language, app.sdk_version).into(),
        );
        for (member, value) in [
            ("appVersion", &app.version),
            ("framework", &app.framework),
            ("platform", &app.platform),
        ] {
            if let Some(value) = value {
                say(member, value.as_str().into());
            }
        }
    }
    parse_register(Json::from_value(&body.into()).as_bytes())
}

/// A text as it can stand in the query of a URL.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::config::Trigger;

    fn one() -> OneFunction {
        OneFunction {
            app: "billing".to_owned(),
            id: "send invoice".to_owned(),
            url: "https://billing.internal/api/inngest".to_owned(),
            triggers: vec![json!({"event": "order/paid", "expression": "event.data.total > 0"})],
            retries: Some(3),
            concurrency: vec![json!({"limit": 5, "key": "event.data.customer"})],
            ..OneFunction::default()
        }
    }

    #[test]
    fn function_is_read_as_if_an_sdk_had_sent_it_beside_the_others() {
        let first = with_function(None, &[], &one()).unwrap();
        assert_eq!(first.app_name, "billing");
        let [registered] = first.functions.as_slice() else {
            panic!("{first:?}");
        };
        let config = &registered.config;
        assert_eq!(
            (config.slug.as_str(), config.name.as_str(), config.retries),
            ("billing-send invoice", "send invoice", 3)
        );
        assert_eq!(
            config.url,
            "https://billing.internal/api/inngest?fnId=billing-send%20invoice&stepId=step"
        );
        let [Trigger::Event { pattern, .. }] = config.triggers.as_slice() else {
            panic!("{config:?}");
        };
        assert_eq!(pattern, "order/paid");

        let other = OneFunction {
            id: "other".to_owned(),
            name: Some("Other".to_owned()),
            triggers: vec![json!({"cron": "0 6 * * 1"})],
            ..one()
        };
        let both = with_function(None, &[&registered.raw], &other).unwrap();
        let slugs = both.functions.iter().map(|it| it.config.slug.as_str());
        assert_eq!(
            slugs.collect::<Vec<_>>(),
            ["billing-send invoice", "billing-other"]
        );
        assert_eq!(both.functions[0].raw, registered.raw);
    }

    #[test]
    fn what_is_wrong_is_told_as_of_any_registration() {
        for (change, part) in [
            (
                (|it: &mut OneFunction| it.url = "nowhere".to_owned()) as fn(&mut OneFunction),
                "url",
            ),
            (|it| it.app.clear(), "App ID"),
            (|it| it.triggers = vec![json!({"cron": "never"})], "cron"),
            (|it| it.triggers = vec![json!({})], "a trigger has either"),
        ] {
            let mut wrong = one();
            change(&mut wrong);
            let refused = with_function(None, &[], &wrong).unwrap_err();
            let told = refused.in_full();
            assert!(told.contains(part), "{told}");
        }
    }
}
