//! Finding and reading the settings file.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::problem::Problem;

/// The names that are searched for, in this order in each directory.
const NAMES: [&str; 4] = [
    "inngest.json",
    "inngest.yaml",
    "inngest.yml",
    "inngest.toml",
];

/// The first file named `inngest.{json,yaml,yml,toml}` from `start` upwards, then in `~/.config/inngest`.
pub(crate) fn search(start: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let user = home.map(|home| home.join(".config").join("inngest"));
    start
        .ancestors()
        .chain(user.as_deref())
        .flat_map(|directory| NAMES.iter().map(move |name| directory.join(name)))
        .find(|candidate| candidate.is_file())
}

/// Reads the file as one flat map; the ending of its name says which language it is in, none means JSON.
pub(crate) fn read(path: &Path) -> Result<Map<String, Value>, Problem> {
    let problem = |message: String| Problem::new(path.display().to_string(), message);
    let text = std::fs::read_to_string(path)
        .map_err(|error| problem(format!("cannot be read: {error}")))?;
    let value =
        parse(path, &text).map_err(|message| problem(format!("is not valid: {message}")))?;
    match value {
        Value::Object(entries) => Ok(entries),
        Value::Null => Ok(Map::new()),
        _ => Err(problem("must be a list of `key: value` entries".to_owned())),
    }
}

fn parse(path: &Path, text: &str) -> Result<Value, String> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("yaml" | "yml") => serde_saphyr::from_str(text).map_err(|error| error.to_string()),
        Some("toml") => toml::from_str(text).map_err(|error| error.to_string()),
        Some("json") | None => serde_json::from_str(text).map_err(|error| error.to_string()),
        Some(other) => Err(format!("`.{other}` is none of .json, .yaml, .yml, .toml")),
    }
}
