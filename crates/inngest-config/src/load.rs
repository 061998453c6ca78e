//! Flag over variable over file over default, and where each value came from.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    Loaded,
    check::{self, is_on},
    file,
    key::{Command, Effect, KEYS, Key, Shape, find_key, nearest},
    problem::{Problem, Problems},
    secret::{MASK, without_credentials},
};

/// Everything that settings are made from.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// What is to be started.
    pub command: Command,
    /// The flags that were given, by key; a switch holds `true`.
    pub flags: BTreeMap<&'static str, Vec<String>>,
    /// The file named by `--config`.
    pub config: Option<PathBuf>,
    /// The environment; see [`crate::process_environment`].
    pub environment: BTreeMap<String, String>,
    /// Where the search for a file starts, and what relative paths are relative to.
    pub working_dir: PathBuf,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The settings file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A file named by an environment variable that ends in `_FILE`.
    SecretFile(String),
    /// The command line.
    Flag,
}

impl Source {
    /// Whether somebody set the value.
    pub fn is_set(&self) -> bool {
        *self != Self::Default
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::SecretFile(name) => write!(f, "the file named by variable {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// One value as text, with its source. A list has any number of texts, everything else exactly one.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) texts: Vec<String>,
    pub(crate) source: Source,
}

impl Given {
    /// How messages name the place of this value.
    pub(crate) fn place(&self, key: &Key) -> String {
        match &self.source {
            Source::Default => key.name.to_owned(),
            Source::Flag => format!("--{}", key.name),
            Source::Variable(name) | Source::SecretFile(name) => name.clone(),
            Source::File(path) => format!("`{}` in {}", key.name, path.display()),
        }
    }
}

pub(crate) type Values = BTreeMap<&'static str, Given>;

/// The variables that SDKs and commands for a server read; setting them beside a server is no mistake.
const OTHER_VARIABLES: [&str; 19] = [
    "INNGEST_SERVER",
    "INNGEST_TOKEN",
    "INNGEST_TOKEN_FILE",
    "INNGEST_DEV",
    "INNGEST_ENV",
    "INNGEST_BASE_URL",
    "INNGEST_API_BASE_URL",
    "INNGEST_EVENT_API_BASE_URL",
    "INNGEST_API_ORIGIN",
    "INNGEST_EVENT_API_ORIGIN",
    "INNGEST_SIGNING_KEY_FALLBACK",
    "INNGEST_SERVE_ORIGIN",
    "INNGEST_SERVE_HOST",
    "INNGEST_SERVE_PATH",
    "INNGEST_STREAMING",
    "INNGEST_ALLOW_IN_BAND_SYNC",
    "INNGEST_FEATURE_FLAGS",
    "INNGEST_EXPERIMENTAL_PROM_METRICS",
    "INNGEST_CONFIG",
];

/// Reads every source, lays them over each other and checks the result.
///
/// Reads the settings file and the files named by `_FILE` variables; touches nothing else.
///
/// # Errors
/// All problems at once; nothing is started with settings that are partly understood.
pub fn load(inputs: &Inputs) -> Result<Loaded, Problems> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let mut values = Values::new();

    let path = file_path(inputs);
    if let Some(path) = &path {
        match file::read(path) {
            Ok(entries) => take_file(path, &entries, &mut values, &mut problems),
            Err(problem) => problems.push(problem),
        }
    }
    take_environment(inputs, &mut values, &mut problems, &mut warnings);
    for (name, texts) in &inputs.flags {
        values.insert(
            name,
            Given {
                texts: texts.clone(),
                source: Source::Flag,
            },
        );
    }

    for key in KEYS {
        if let (Effect::None(reason), Some(given)) = (key.effect, values.get(key.name)) {
            warnings.push(format!("{} has no effect: {reason}", given.place(key)));
        }
    }
    let settings = check::settings(inputs, &values, &mut problems, &mut warnings);
    match settings {
        Some(settings) if problems.is_empty() => Ok(Loaded {
            settings,
            sources: KEYS
                .iter()
                .map(|key| (key.name, source_of(&values, key)))
                .collect(),
            shown: KEYS
                .iter()
                .filter_map(|key| Some((key.name, shown(key, values.get(key.name)?))))
                .collect(),
            file: path,
            warnings,
        }),
        _ => Err(Problems(problems)),
    }
}

fn source_of(values: &Values, key: &Key) -> Source {
    values
        .get(key.name)
        .map_or(Source::Default, |given| given.source.clone())
}

/// A value as the file would hold it, with a mask in place of what is secret.
fn shown(key: &Key, given: &Given) -> Value {
    let one = |text: &String| match key.shape {
        _ if key.is_secret => Value::from(MASK),
        Shape::Text | Shape::List => Value::from(without_credentials(text)),
        Shape::Switch => Value::Bool(is_on(text.trim()).unwrap_or_default()),
        Shape::Number { .. } => text.trim().parse::<u64>().map_or(Value::Null, Value::from),
    };
    match (key.shape, given.texts.last()) {
        (Shape::List, _) => given.texts.iter().map(one).collect(),
        (_, Some(text)) => one(text),
        (_, None) => Value::Null,
    }
}

fn file_path(inputs: &Inputs) -> Option<PathBuf> {
    if let Some(path) = &inputs.config {
        return Some(inputs.working_dir.join(path));
    }
    if let Some(path) = inputs
        .environment
        .get("INNGEST_CONFIG")
        .filter(|path| !path.is_empty())
    {
        return Some(inputs.working_dir.join(path));
    }
    let home = inputs.environment.get("HOME").map(Path::new);
    file::search(&inputs.working_dir, home)
}

fn take_file(
    path: &Path,
    entries: &serde_json::Map<String, Value>,
    values: &mut Values,
    problems: &mut Vec<Problem>,
) {
    for (name, value) in entries {
        let place = format!("`{name}` in {}", path.display());
        let Some(key) = find_key(&name.replace('_', "-")) else {
            problems.push(Problem::new(place, unknown(name)));
            continue;
        };
        match texts_of(key, value) {
            Ok(texts) => {
                values.insert(
                    key.name,
                    Given {
                        texts,
                        source: Source::File(path.to_owned()),
                    },
                );
            }
            Err(message) => problems.push(Problem::new(place, message)),
        }
    }
}

fn unknown(name: &str) -> String {
    match nearest(name, KEYS.iter().map(|key| key.name)) {
        Some(meant) => format!("is not a setting; did you mean `{meant}`?"),
        None => "is not a setting; entries are named like the flags that `--help` lists".to_owned(),
    }
}

fn texts_of(key: &Key, value: &Value) -> Result<Vec<String>, &'static str> {
    match (key.shape, value) {
        (Shape::Text | Shape::List, Value::String(text)) => Ok(vec![text.clone()]),
        (Shape::List, Value::Array(items)) => items
            .iter()
            .map(|item| {
                item.as_str()
                    .map(str::to_owned)
                    .ok_or("must be a list of texts; put each in quotes")
            })
            .collect(),
        (Shape::Switch, Value::Bool(on)) => Ok(vec![on.to_string()]),
        (Shape::Number { .. }, Value::Number(number)) => Ok(vec![number.to_string()]),
        (Shape::Number { .. }, Value::String(text)) => Ok(vec![text.clone()]),
        (Shape::Text, _) => Err("must be a text; put it in quotes"),
        (Shape::List, _) => Err("must be a list of texts"),
        (Shape::Switch, _) => Err("must be true or false"),
        (Shape::Number { .. }, _) => Err("must be a whole number"),
    }
}

fn take_environment(
    inputs: &Inputs,
    values: &mut Values,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) {
    if let Some(level) = set(inputs, "LOG_LEVEL") {
        let source = Source::Variable("LOG_LEVEL".to_owned());
        values.insert(
            "log-level",
            Given {
                texts: vec![level.to_owned()],
                source,
            },
        );
    }
    // Suites set this one. Beside a server for production it may be there by accident.
    if inputs.command == Command::Dev
        && let Some(text) = set(inputs, "TEST_MODE").filter(|text| is_on(text) == Some(true))
    {
        let source = Source::Variable("TEST_MODE".to_owned());
        values.insert(
            "test-routes",
            Given {
                texts: vec![text.to_owned()],
                source,
            },
        );
    }
    for key in KEYS {
        let variable = key.variable();
        let secret_file = format!("{variable}_FILE");
        match (
            set(inputs, &variable),
            set(inputs, &secret_file).filter(|_| key.is_secret),
        ) {
            (Some(_), Some(_)) => {
                problems.push(Problem::new(
                    variable.as_str(),
                    format!("is set and {secret_file} as well; set only one of them"),
                ));
            }
            (Some(text), None) => {
                values.insert(
                    key.name,
                    Given {
                        texts: split(key, text),
                        source: Source::Variable(variable),
                    },
                );
            }
            (None, Some(path)) => match std::fs::read_to_string(inputs.working_dir.join(path)) {
                Ok(text) => {
                    let texts = split(key, text.trim());
                    values.insert(
                        key.name,
                        Given {
                            texts,
                            source: Source::SecretFile(secret_file),
                        },
                    );
                }
                Err(error) => {
                    problems.push(Problem::new(
                        secret_file,
                        format!("names the file {path}, which cannot be read: {error}"),
                    ));
                }
            },
            (None, None) => {}
        }
    }
    for name in inputs.environment.keys() {
        warnings.extend(misspelt_variable(name));
    }
}

fn misspelt_variable(name: &str) -> Option<String> {
    if !name.starts_with("INNGEST_") || OTHER_VARIABLES.contains(&name) {
        return None;
    }
    let known: Vec<String> = KEYS
        .iter()
        .flat_map(|key| {
            let variable = key.variable();
            let file = key.is_secret.then(|| format!("{variable}_FILE"));
            std::iter::once(variable).chain(file)
        })
        .collect();
    if known.iter().any(|known| known == name) {
        return None;
    }
    let suffix = name.strip_prefix("INNGEST_")?;
    let suffixes = known
        .iter()
        .filter_map(|known| known.strip_prefix("INNGEST_"));
    nearest(suffix, suffixes).map(|meant| {
        format!("variable {name} is not a setting and is ignored; did you mean INNGEST_{meant}?")
    })
}

/// An empty variable counts as not set: compose files and charts often pass one on.
fn set<'a>(inputs: &'a Inputs, name: &str) -> Option<&'a str> {
    inputs
        .environment
        .get(name)
        .map(|text| text.trim())
        .filter(|text| !text.is_empty())
}

fn split(key: &Key, text: &str) -> Vec<String> {
    match key.shape {
        Shape::List => text
            .split([',', '\n'])
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect(),
        Shape::Text | Shape::Switch | Shape::Number { .. } => vec![text.to_owned()],
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
