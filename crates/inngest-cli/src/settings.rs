//! `inngest config`: whether the settings can be used, what they are, and where each comes from.

use std::fmt::Write as _;

use serde_json::{Value, json};

use inngest_config::{
    Loaded, Problems,
    key::{Effect, KEYS, Key},
};

use crate::tools::print;

/// Says whether the settings can be used. For people, that they cannot is left to the caller.
///
/// # Errors
/// The problems, or that standard output takes nothing.
pub(crate) fn check(loaded: Result<Loaded, Problems>, json: bool) -> anyhow::Result<bool> {
    let (problems, warnings) = match &loaded {
        Ok(loaded) => ([].as_slice(), loaded.warnings.as_slice()),
        Err(problems) => (problems.0.as_slice(), [].as_slice()),
    };
    let is_usable = problems.is_empty();
    if json {
        let problems: Vec<Value> = problems
            .iter()
            .map(|problem| json!({"place": problem.place, "message": problem.message}))
            .collect();
        let report = json!({"ok": is_usable, "problems": problems, "warnings": warnings});
        print(&format!("{report:#}\n"))?;
        return Ok(is_usable);
    }
    let loaded = loaded?;
    let mut text = String::new();
    for warning in &loaded.warnings {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "warning: {warning}");
    }
    text.push_str("The settings can be used.\n");
    print(&text)?;
    Ok(true)
}

/// Prints every setting that was made, as an entry of a TOML file; with `sources` also where it comes from, and what was left to its default.
/// Secrets are masked.
///
/// # Errors
/// When standard output takes nothing.
pub(crate) fn show(loaded: &Loaded, sources: bool, json: bool) -> anyhow::Result<()> {
    let keys = KEYS.iter().filter(|key| is_shown(loaded, key, sources));
    if json {
        let of = |key: &Key| {
            let mut entry = json!({"key": key.name, "value": loaded.shown.get(key.name)});
            if sources {
                entry["source"] = source(loaded, key).into();
            }
            entry
        };
        let entries: Vec<Value> = keys.map(of).collect();
        return print(&format!("{:#}\n", Value::from(entries)));
    }
    let mut text = String::new();
    for key in keys {
        // What JSON writes for texts, numbers and lists is TOML as well.
        // Writing to a String cannot fail.
        let _ = match (loaded.shown.get(key.name), sources) {
            (Some(value), false) => writeln!(text, "{} = {value}", key.name),
            (Some(value), true) => {
                writeln!(text, "{} = {value} # {}", key.name, source(loaded, key))
            }
            (None, _) => writeln!(text, "# {} # {}", key.name, source(loaded, key)),
        };
    }
    print(&text)
}

/// Whether there is something to say about a key.
fn is_shown(loaded: &Loaded, key: &Key, with_defaults: bool) -> bool {
    let is_of_command = key.is_flag_of(loaded.settings.command) && key.effect == Effect::Used;
    loaded.shown.contains_key(key.name) || (with_defaults && is_of_command)
}

fn source(loaded: &Loaded, key: &Key) -> String {
    let source = loaded.sources.get(key.name);
    source.map(ToString::to_string).unwrap_or_default()
}
