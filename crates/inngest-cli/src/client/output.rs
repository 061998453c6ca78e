//! Results on standard output: columns for people, JSON for programs. Nothing else is ever written there.

use std::io::{ErrorKind, Write, stdout};

use comfy_table::{Table, presets};
use serde_json::Value;

use inngest_core::duration;

use crate::client::{
    args::{Format, OutputArgs},
    failure::{Exit, Failure},
};

/// A column: its title, and where its value is in an entry. The last member of the path says how it is written: `…Ms` are durations.
pub(crate) type Column = (&'static str, &'static str);

/// Where results go.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) format: Format,
}

impl Output {
    /// `json` says whether the flag of that name was given, which `dev` and `start` take for their logs.
    ///
    /// # Errors
    /// `Usage` when two forms are asked for.
    pub(crate) fn new(args: &OutputArgs, json: bool) -> Result<Self, Failure> {
        let format = match (args.output, args.jsonl, json) {
            (None, false, false) => Format::Table,
            (Some(format), false, false) => format,
            (None | Some(Format::Jsonl), true, false) => Format::Jsonl,
            (None | Some(Format::Json), false, true) => Format::Json,
            _ => return Err(Failure::usage("choose one of --output, --json and --jsonl")),
        };
        Ok(Self { format })
    }

    /// Prints a list.
    ///
    /// # Errors
    /// When standard output takes nothing.
    pub(crate) fn list(&self, entries: &[Value], columns: &[Column]) -> Result<(), Failure> {
        match self.format {
            Format::Table => write(&table(entries, columns)),
            Format::Json => write(&pretty(&Value::Array(entries.to_vec()))),
            Format::Jsonl => write(&lines(entries)),
        }
    }

    /// Prints one thing: for people its facts, one per line, then lists of its parts.
    ///
    /// # Errors
    /// When standard output takes nothing.
    pub(crate) fn one(
        &self,
        entry: &Value,
        facts: &[Column],
        parts: &[(&str, &str, &[Column])],
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => return write(&pretty(entry)),
            Format::Jsonl => return write(&lines(std::slice::from_ref(entry))),
            Format::Table => {}
        }
        let mut facts_table = empty_table();
        for (title, path) in facts {
            let text = cell(entry, path);
            if text != ABSENT {
                facts_table.add_row([format!("{title}:"), text]);
            }
        }
        let mut text = finished(&facts_table);
        for (title, path, columns) in parts {
            let entries = entry.pointer(path).and_then(Value::as_array);
            if let Some(entries) = entries.filter(|entries| !entries.is_empty()) {
                text.push_str(&format!("\n{title}\n{}", table(entries, columns)));
            }
        }
        write(&text)
    }

    /// Prints one change at once. `json` is what programs get.
    ///
    /// # Errors
    /// When standard output takes nothing.
    pub(crate) fn change(
        &self,
        message: &Value,
        entry: &Value,
        columns: &[Column],
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table => {
                let cells = columns.iter().map(|(_, path)| cell(entry, path));
                let cells: Vec<_> = cells.filter(|text| text != ABSENT).collect();
                write(&format!("{}\n", cells.join("  ")))
            }
            Format::Jsonl => write(&lines(std::slice::from_ref(message))),
            // One value: the last state, printed at the end.
            Format::Json => Ok(()),
        }
    }
}

/// What stands for a value that is not there.
const ABSENT: &str = "-";
/// Longest cell, in characters.
const CELL: usize = 200;

fn empty_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

fn table(entries: &[Value], columns: &[Column]) -> String {
    let mut table = empty_table();
    table.set_header(columns.iter().map(|(title, _)| *title));
    for entry in entries {
        table.add_row(columns.iter().map(|(_, path)| cell(entry, path)));
    }
    finished(&table)
}

fn finished(table: &Table) -> String {
    table
        .lines()
        .map(|line| format!("{}\n", line.trim()))
        .collect()
}

fn cell(entry: &Value, path: &str) -> String {
    let text = match entry.pointer(path) {
        None | Some(Value::Null) => return ABSENT.to_owned(),
        Some(Value::Number(ms)) if path.ends_with("Ms") => {
            duration::format(ms.as_u64().unwrap_or_default())
        }
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items.iter().map(member).collect::<Vec<_>>().join(", "),
        Some(other) => other.to_string(),
    };
    harmless(&text)
}

/// A trigger in a few words, or whatever else is in a list.
fn member(item: &Value) -> String {
    let word = |name: &str| item[name].as_str();
    match word("eventName")
        .or(word("schedule"))
        .or(word("__typename"))
    {
        Some(text) => text.to_owned(),
        None => item.to_string(),
    }
}

/// Names and messages come from apps: what would move the cursor or colour a terminal is left out, and length is bounded.
fn harmless(text: &str) -> String {
    let mut letters = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter });
    let mut cut: String = letters.by_ref().take(CELL).collect();
    if letters.next().is_some() {
        cut.push('…');
    }
    cut
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn lines(entries: &[Value]) -> String {
    entries.iter().map(|entry| format!("{entry}\n")).collect()
}

fn write(text: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        // The reader has seen enough, as `head` has.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::new(
            Exit::Failed,
            format!("could not write to standard output: {error}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn table_aligns_and_shows_nothing_that_acts_on_a_terminal() {
        let entries = [
            json!({"a": "short", "tookMs": 1_500, "b": null}),
            json!({"a": "longer \u{1b}[31mred", "tookMs": null, "b": [{"eventName": "x"}, {"schedule": "@daily"}]}),
        ];
        let columns = [("A", "/a"), ("TOOK", "/tookMs"), ("B", "/b")];
        let expected = "\
A                TOOK     B
short            1s500ms  -
longer  [31mred  -        x, @daily
";
        assert_eq!(table(&entries, &columns), expected);
    }

    #[test]
    fn one_form_of_output_is_chosen() {
        let of = |output, jsonl, json| {
            let made = Output::new(&OutputArgs { output, jsonl }, json);
            made.ok().map(|output| output.format)
        };
        assert_eq!(of(None, false, false), Some(Format::Table));
        assert_eq!(of(Some(Format::Jsonl), false, false), Some(Format::Jsonl));
        assert_eq!(of(None, true, false), Some(Format::Jsonl));
        assert_eq!(of(None, false, true), Some(Format::Json));
        assert_eq!(of(None, true, true), None);
        assert_eq!(of(Some(Format::Table), false, true), None);
    }
}
