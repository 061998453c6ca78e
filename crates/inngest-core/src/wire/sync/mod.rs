//! Registration: an app tells which functions it has (sdk-protocol section 1).
//!
//! Everything that is wrong with a registration is told at once, each cause with its function and a pointer into the body.

mod config;
mod one;
mod reader;
mod reply;
mod url;

use sha2::{Digest, Sha256};

use crate::{
    function::config::FunctionConfig,
    ids::{AppId, SyncId},
    json::Json,
    limits,
    sync::About,
};

pub use one::{OneFunction, with_function};
pub use reply::{SyncReply, parse_sync_reply};
pub use url::{identity_url, normalize_url, public_url};

/// What an app says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// The name that the SDK's client was given.
    pub app_name: String,
    /// Where the app is served, without parameters of a deployment; see [`normalize_url`].
    pub url: String,
    /// Version of the user's code.
    pub app_version: Option<String>,
    /// For example `js`.
    pub sdk_language: String,
    /// For example `4.24.0`.
    pub sdk_version: String,
    /// For example `express`.
    pub framework: Option<String>,
    /// Where the app is hosted, if the body says so.
    pub platform: Option<String>,
    /// The functions, in the order sent; no two share a slug.
    pub functions: Vec<RegisteredFunction>,
    /// The same for two registrations that say the same. 64 hex digits.
    pub checksum: String,
    /// The deployment that made the app register, if the body says so (the query of the request may too).
    pub deploy_id: Option<String>,
}

impl Registration {
    /// The same from an app that says in a header where it is hosted. What the body says counts first.
    pub fn hosted_on(self, platform: Option<&str>) -> Self {
        let platform = platform.filter(|_| self.platform.is_none());
        let Some(platform) = platform else {
            return self;
        };
        let registration = Self {
            platform: Some(platform.to_owned()),
            ..self
        };
        Self {
            checksum: checksum(&registration),
            ..registration
        }
    }

    /// What the app says about itself.
    pub fn about(&self) -> About {
        About {
            app_name: Some(self.app_name.clone()),
            url: Some(self.url.clone()),
            app_version: self.app_version.clone(),
            sdk_language: Some(self.sdk_language.clone()),
            sdk_version: Some(self.sdk_version.clone()),
            framework: self.framework.clone(),
            platform: self.platform.clone(),
        }
    }
}

/// One function of a registration.
#[derive(Clone, Debug, PartialEq)]
pub struct RegisteredFunction {
    /// What it says, read.
    pub config: FunctionConfig,
    /// What it says, to be stored; [`parse_config`] reads it. Parameters of a deployment are taken out of its URL.
    pub raw: Json,
    /// What its author probably did not mean.
    pub warnings: Vec<String>,
}

/// One thing that is wrong with a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The slug of the function, or empty where it has none.
    pub function: String,
    /// JSON pointer into the function's configuration, or into the body for what concerns no function.
    pub pointer: String,
    /// Stable word, for example `schedule_invalid`.
    pub code: &'static str,
    /// What is wrong, for people.
    pub message: String,
}

/// A registration that was refused. Status 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidRegistration {
    /// Stable word: `invalid_request`, `sdk_version_denied` or `config_invalid`.
    pub code: &'static str,
    /// The first thing to tell.
    pub message: String,
    /// Everything that is wrong with functions.
    pub causes: Vec<Cause>,
    /// What the app said about itself, as far as it could be read.
    pub about: Box<About>,
}

impl InvalidRegistration {
    fn request(message: impl Into<String>) -> Self {
        Self {
            code: "invalid_request",
            message: message.into(),
            causes: Vec::new(),
            about: Box::default(),
        }
    }

    /// The message with the first causes, for whoever sees nothing but a text.
    pub fn in_full(&self) -> String {
        const TOLD: usize = 3;
        let mut text = self.message.clone();
        for (index, cause) in self.causes.iter().take(TOLD).enumerate() {
            let before = if index == 0 { ": " } else { "; " };
            let whose = match cause.function.as_str() {
                "" => String::new(),
                slug => format!("{slug}: "),
            };
            text.push_str(&format!("{before}{whose}{}", cause.message));
        }
        let more = self.causes.len().saturating_sub(TOLD);
        if more > 0 {
            text.push_str(&format!("; and {more} more"));
        }
        text
    }
}

/// Reads the body of a registration.
///
/// # Errors
/// `InvalidRegistration` when it is not one, comes from an SDK version that is refused, or has an invalid function.
pub fn parse_register(body: &[u8]) -> Result<Registration, InvalidRegistration> {
    let json = Json::parse(body)
        .map_err(|error| InvalidRegistration::request(format!("Invalid request: {error}")))?;
    let (language, version) = sdk_of(&json);
    read(&json, "appName", (&language, &version))
}

/// Language and version from `js:v4.24.0`.
fn sdk_of(json: &Json) -> (String, String) {
    let sdk = member_text(json, "sdk").unwrap_or_default();
    let sdk = sdk.strip_prefix("inngest-").unwrap_or(&sdk);
    let (language, version) = sdk.split_once(':').unwrap_or((sdk, ""));
    (
        language.to_owned(),
        version.strip_prefix('v').unwrap_or(version).to_owned(),
    )
}

/// Reads the reply of an app that was asked for its functions.
///
/// # Errors
/// As [`parse_register`].
pub fn parse_in_band(body: &[u8]) -> Result<Registration, InvalidRegistration> {
    let json = Json::parse(body)
        .map_err(|error| InvalidRegistration::request(format!("Invalid reply: {error}")))?;
    // JS 3 leaves the two members empty.
    let (language, version) = match (
        member_text(&json, "sdk_language"),
        member_text(&json, "sdk_version"),
    ) {
        (Some(language), Some(version)) => (
            language,
            version.strip_prefix('v').unwrap_or(&version).to_owned(),
        ),
        _ => sdk_of(&json),
    };
    read(&json, "app_id", (&language, &version))
}

/// Reads the configuration of a function as it was stored from [`RegisteredFunction::raw`].
///
/// # Errors
/// `InvalidRegistration` with all causes. What was accepted once may be refused by a later version of the server.
pub fn parse_config(raw: &Json) -> Result<FunctionConfig, InvalidRegistration> {
    config::read(raw)
        .map(|function| function.config)
        .map_err(refused)
}

fn refused(causes: Vec<Cause>) -> InvalidRegistration {
    InvalidRegistration {
        code: "config_invalid",
        message: "At least one function is invalid".to_owned(),
        causes,
        about: Box::default(),
    }
}

fn read(
    json: &Json,
    name_key: &str,
    sdk: (&str, &str),
) -> Result<Registration, InvalidRegistration> {
    read_whole(json, name_key, sdk).map_err(|invalid| InvalidRegistration {
        about: Box::new(about(json, name_key, sdk)),
        ..invalid
    })
}

/// What an invalid registration says nevertheless.
fn about(json: &Json, name_key: &str, (language, version): (&str, &str)) -> About {
    let url = member_text(json, "url");
    About {
        app_name: member_text(json, name_key),
        url: url.and_then(|url| normalize_url(&url)),
        app_version: member_text(json, "appVersion"),
        sdk_language: Some(language.to_owned()),
        sdk_version: Some(version.to_owned()),
        framework: member_text(json, "framework"),
        platform: platform(json),
    }
}

fn platform(json: &Json) -> Option<String> {
    let headers = || member(json, "headers").and_then(|it| member_text(&it, "platform"));
    member_text(json, "platform").or_else(headers)
}

fn read_whole(
    json: &Json,
    name_key: &str,
    (language, version): (&str, &str),
) -> Result<Registration, InvalidRegistration> {
    if !json.is_object() {
        return Err(InvalidRegistration::request(
            "Invalid request: not an object",
        ));
    }
    if is_denied(language, version) {
        let message = format!(
            "Version {version} of the JavaScript SDK has a known vulnerability (CVE-2026-42047); update it to 3.54.0 or later"
        );
        return Err(InvalidRegistration {
            code: "sdk_version_denied",
            message,
            causes: Vec::new(),
            about: Box::default(),
        });
    }
    let Some(app_name) = member_text(json, name_key) else {
        return Err(InvalidRegistration::request("App ID required"));
    };
    let sent_url = member_text(json, "url").unwrap_or_default();
    let Some(url) = normalize_url(&sent_url) else {
        return Err(InvalidRegistration::request(
            "Invalid request: `url` is not an http or https URL",
        ));
    };
    let sent = member(json, "functions").unwrap_or_else(Json::empty_array);
    if !sent.is_array() {
        return Err(InvalidRegistration::request(
            "Invalid request: `functions` is not an array",
        ));
    }
    let functions = read_functions(&sent)?;
    let registration = Registration {
        app_version: member_text(json, "appVersion"),
        sdk_language: language.to_owned(),
        sdk_version: version.to_owned(),
        framework: member_text(json, "framework"),
        platform: platform(json),
        deploy_id: member_text(json, "deployId")
            .or_else(|| url::query_value(&sent_url, "deployId")),
        checksum: String::new(),
        app_name,
        url,
        functions,
    };
    Ok(Registration {
        checksum: checksum(&registration),
        ..registration
    })
}

fn read_functions(sent: &Json) -> Result<Vec<RegisteredFunction>, InvalidRegistration> {
    let mut functions: Vec<RegisteredFunction> = Vec::new();
    let mut causes: Vec<Cause> = Vec::new();
    let mut slugs = std::collections::HashSet::new();
    for (index, raw) in sent.items().enumerate() {
        if index == limits::FUNCTIONS_PER_APP {
            let message = format!("an app has at most {} functions", limits::FUNCTIONS_PER_APP);
            causes.push(Cause {
                function: String::new(),
                pointer: "/functions".to_owned(),
                code: "config_invalid",
                message,
            });
            break;
        }
        match config::read(&raw) {
            Ok(function) if !slugs.insert(function.config.slug.clone()) => causes.push(Cause {
                function: function.config.slug,
                pointer: "/id".to_owned(),
                code: "config_invalid",
                message: "another function of the app has the same id".to_owned(),
            }),
            Ok(function) => functions.push(function),
            Err(found) => causes.extend(found),
        }
    }
    if causes.is_empty() {
        Ok(functions)
    } else {
        Err(refused(causes))
    }
}

/// Covers what was read rather than what was sent, so that observations and deployments do not count as changes.
fn checksum(registration: &Registration) -> String {
    let text = |text: &str| Json::string(text);
    let optional = |value: &Option<String>| value.as_deref().map_or_else(Json::null, Json::string);
    let parts = [
        text(&registration.app_name),
        text(&registration.url),
        optional(&registration.app_version),
        text(&registration.sdk_language),
        text(&registration.sdk_version),
        optional(&registration.framework),
        optional(&registration.platform),
        Json::array(registration.functions.iter().map(|function| &function.raw)),
    ];
    hex::encode(Sha256::digest(Json::array(&parts).as_bytes()))
}

/// Whether apps on this SDK version are refused: JavaScript 3.22.0 to 3.53.1.
pub fn is_denied(language: &str, version: &str) -> bool {
    let mut parts = version
        .split(['.', '-', '+'])
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (
        parts.next().unwrap_or(0),
        parts.next().unwrap_or(0),
        parts.next().unwrap_or(0),
    );
    language == "js" && ((3, 22, 0)..=(3, 53, 1)).contains(&version)
}

/// The member of an object by a key in any case; null counts as absent.
fn member(json: &Json, key: &str) -> Option<Json> {
    let exact = json.member(key);
    let found = exact.or_else(|| {
        json.members()
            .find(|(name, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, value)| value)
    });
    found.filter(|value| !value.is_null())
}

fn member_text(json: &Json, key: &str) -> Option<String> {
    member(json, key)?.to_text().filter(|text| !text.is_empty())
}

/// What an app is told when its registration was taken.
pub fn registered_body(app: AppId, sync: SyncId, is_modified: bool) -> Json {
    let yes = Json::from_value(&true.into());
    let (modified, app, sync) = (
        Json::from_value(&is_modified.into()),
        Json::string(&app.to_string()),
        Json::string(&sync.to_string()),
    );
    Json::object([
        ("ok", &yes),
        ("modified", &modified),
        ("sync_id", &sync),
        ("app_id", &app),
    ])
}

/// What an app is told when it was not. The status stands in the body too, because the JS SDK reads it there.
pub fn error_body(status: u16, code: Option<&str>, message: &str, causes: &[Cause]) -> Json {
    let causes: Vec<Json> = causes.iter().map(cause_body).collect();
    let data = if causes.is_empty() {
        Json::null()
    } else {
        Json::array(&causes)
    };
    let (message, status, code) = (
        Json::string(message),
        Json::integer(status.into()),
        code.map(Json::string),
    );
    let mut members = vec![("error", &message), ("status", &status), ("data", &data)];
    members.extend(code.as_ref().map(|code| ("code", code)));
    Json::object(members)
}

fn cause_body(cause: &Cause) -> Json {
    let parts = [
        ("function", &cause.function),
        ("pointer", &cause.pointer),
        ("message", &cause.message),
    ];
    let mut members: Vec<(&str, Json)> = parts
        .into_iter()
        .map(|(key, text)| (key, Json::string(text)))
        .collect();
    members.push(("code", Json::string(cause.code)));
    Json::object(members.iter().map(|(key, value)| (*key, value)))
}

/// The body of the request that makes an app register.
pub fn put_body(url: &str) -> Json {
    Json::object([("url", &Json::string(url))])
}

#[cfg(test)]
mod tests;
