//! The command line, made from the table of keys, so that flags, variables and file entries cannot drift apart.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command as Clap, CommandFactory, FromArgMatches};
use clap_complete::Shell;

use inngest_config::{
    Command, Inputs,
    key::{KEYS, Key, Shape},
    process_environment,
};

use crate::{
    client::{
        self,
        args::{AppsArgs, EventsArgs, FunctionsArgs, RunsArgs},
        failure::EXIT_CODES,
    },
    doctor,
};

/// What was asked for.
pub(crate) enum Asked {
    /// Run a server with these inputs of its settings.
    Serve(Inputs),
    /// Bring the schema up to date, or only say what is pending.
    Migrate { inputs: Inputs, is_dry: bool },
    /// Delete what is too old, or only say what that is.
    Retention { inputs: Inputs, is_dry: bool },
    /// Make a token.
    Token {
        inputs: Inputs,
        subject: String,
        role: String,
        valid_for_hours: u64,
    },
    /// Ask a server for something.
    Ask {
        request: client::Request,
        /// Whether `--json` was given.
        json: bool,
        /// What is logged; nothing but warnings unless a flag says so.
        level: &'static str,
        environment: BTreeMap<String, String>,
    },
    /// Look at settings, and at what they name, without running anything.
    Examine {
        inputs: Inputs,
        examination: Examination,
        /// Whether `--json` was given.
        json: bool,
        /// As for `Ask`.
        level: &'static str,
    },
    /// Print what completes commands in a shell.
    Completions(Shell),
    /// Write the manual into a directory.
    Manual(PathBuf),
    /// Print the version.
    Version,
}

/// How settings are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Examination {
    /// Whether a server with them could start and work.
    Doctor,
    /// Whether they can be used.
    Check,
    /// What they are, and maybe where they come from.
    Print { sources: bool },
}

/// Keys that may stand before the subcommand as well.
const GLOBAL: [&str; 3] = ["json", "verbose", "log-level"];

/// Reads the command line. Prints help or a usage error and exits (0 or 2) by itself.
pub(crate) fn parse(working_dir: PathBuf) -> Asked {
    let matches = command().get_matches();
    match matches.subcommand() {
        Some(("dev", matches)) => Asked::Serve(inputs(Command::Dev, matches, working_dir)),
        Some(("start", matches)) => Asked::Serve(inputs(Command::Start, matches, working_dir)),
        Some(("migrate", matches)) => Asked::Migrate {
            inputs: inputs(Command::Tool, matches, working_dir),
            is_dry: matches.get_flag(DRY_RUN),
        },
        Some(("retention", matches)) => Asked::Retention {
            inputs: inputs(Command::Tool, matches, working_dir),
            is_dry: matches.get_flag(DRY_RUN),
        },
        Some(("token", matches)) => match matches.subcommand() {
            Some((_, matches)) => Asked::Token {
                inputs: inputs(Command::Start, matches, working_dir),
                subject: text(matches, "subject"),
                role: text(matches, "role-of-token"),
                valid_for_hours: matches.get_one("expires-in").copied().unwrap_or(24),
            },
            None => Asked::Version,
        },
        Some(("doctor", matches)) => examine(matches, |_| Examination::Doctor, working_dir),
        Some(("config", matches)) => match matches.subcommand() {
            Some(("print", matches)) => {
                let print = |matches: &ArgMatches| Examination::Print {
                    sources: matches.get_flag(SOURCES),
                };
                examine(matches, print, working_dir)
            }
            Some((_, matches)) => examine(matches, |_| Examination::Check, working_dir),
            None => Asked::Version,
        },
        Some(("completions", matches)) => match matches.get_one::<Shell>("shell") {
            Some(shell) => Asked::Completions(*shell),
            None => Asked::Version,
        },
        Some(("man", matches)) => Asked::Manual(text(matches, "directory").into()),
        Some((name, matches)) => match request(name, matches) {
            Some(request) => Asked::Ask {
                request,
                json: is_on(matches, "json"),
                level: level(matches),
                environment: process_environment(),
            },
            None => Asked::Version,
        },
        None => Asked::Version,
    }
}

/// What [`examined`] has accepted.
fn examine(
    matches: &ArgMatches,
    examination: impl FnOnce(&ArgMatches) -> Examination,
    working_dir: PathBuf,
) -> Asked {
    let (of, matches) = match matches.subcommand() {
        Some(("dev", matches)) => (Command::Dev, matches),
        Some((_, matches)) => (Command::Start, matches),
        None => (Command::Start, matches),
    };
    Asked::Examine {
        inputs: inputs(of, matches, working_dir),
        examination: examination(matches),
        json: is_on(matches, "json"),
        level: level(matches),
    }
}

/// The command for a server, if `name` is one. What clap has accepted always fits.
fn request(name: &str, matches: &ArgMatches) -> Option<client::Request> {
    use client::Request;
    match name {
        "runs" => RunsArgs::from_arg_matches(matches).ok().map(Request::Runs),
        "events" => EventsArgs::from_arg_matches(matches)
            .ok()
            .map(Request::Events),
        "functions" => FunctionsArgs::from_arg_matches(matches)
            .ok()
            .map(Request::Functions),
        "apps" => AppsArgs::from_arg_matches(matches).ok().map(Request::Apps),
        _ => None,
    }
}

fn is_on(matches: &ArgMatches, switch: &str) -> bool {
    let given = matches.try_get_one::<String>(switch).ok().flatten();
    given.is_some_and(|text| text == "true")
}

/// How much a command for a server tells on standard error, from the flags that stand for logs elsewhere.
fn level(matches: &ArgMatches) -> &'static str {
    const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];
    let given = matches.try_get_one::<String>("log-level").ok().flatten();
    let known = given.and_then(|given| {
        let given = given.to_ascii_lowercase();
        LEVELS.into_iter().find(|level| *level == given)
    });
    match known {
        Some(level) => level,
        None if is_on(matches, "verbose") => "debug",
        None => "warn",
    }
}

fn text(matches: &ArgMatches, name: &str) -> String {
    matches.get_one(name).cloned().unwrap_or_default()
}

/// The whole command line.
pub(crate) fn command() -> Clap {
    Clap::new("inngest")
        .about("Durable functions: takes events in, runs the functions they trigger, remembers every step")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args(KEYS.iter().filter(|key| GLOBAL.contains(&key.name)).map(|key| flag(key).global(true)))
        .subcommand(serving(
            Command::Dev,
            Clap::new("dev").about("Run a server for development on this machine").after_help(AFTER_DEV),
        ))
        .subcommand(serving(
            Command::Start,
            Clap::new("start").about("Run a server for production").after_help(AFTER_START),
        ))
        .subcommand(tool(
            Clap::new("migrate").about("Bring the database schema up to date; a server that starts does so too, unless --no-migrate"),
            "Only print the names of the migrations that are pending",
        ))
        .subcommand(tool(
            Clap::new("retention").about("Delete runs and events that are too old; a server does so too, every hour"),
            "Only print how much would be deleted, per environment",
        ))
        .subcommand(
            Clap::new("token")
                .about("Tokens for GraphQL and /api/v1")
                .subcommand_required(true)
                .arg_required_else_help(true)
                .subcommand(token_create()),
        )
        .subcommands([
            asking(RunsArgs::command()),
            asking(EventsArgs::command()),
            asking(FunctionsArgs::command()),
            asking(AppsArgs::command()),
        ])
        .subcommand(examined(
            Clap::new("doctor")
                .about("Look whether a server could start and work with these settings, and say what to do"),
            &|clap| clap.after_help(doctor::EXIT_CODES),
        ))
        .subcommand(config())
        .subcommand(
            Clap::new("completions")
                .about("Print the script that completes commands and flags in a shell")
                .arg(
                    Arg::new("shell")
                        .required(true)
                        .value_parser(clap::value_parser!(Shell)),
                ),
        )
        .subcommand(
            Clap::new("man")
                .about("Write the manual, a page for each command")
                .arg(
                    Arg::new("directory")
                        .required(true)
                        .value_name("DIR")
                        .help("Where to; made if need be"),
                ),
        )
        .subcommand(Clap::new("version").about("Print the version"))
}

fn config() -> Clap {
    let sources = |clap: Clap| {
        let sources = Arg::new(SOURCES)
            .long(SOURCES)
            .action(ArgAction::SetTrue)
            .help("Also print where each comes from, and what was left to its default");
        clap.arg(sources).after_help(AFTER_CONFIG)
    };
    Clap::new("config")
        .about("Settings: check, print")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(examined(
            Clap::new("check").about("Look whether the settings can be used"),
            &|clap| clap.after_help(AFTER_CONFIG),
        ))
        .subcommand(examined(
            Clap::new("print").about("Print the settings as a TOML file; secrets are masked"),
            &sources,
        ))
}

/// A command that looks at settings: those of `start`, which is meant when nothing is said, or those of `dev`.
fn examined(clap: Clap, finish: &dyn Fn(Clap) -> Clap) -> Clap {
    let of_start =
        Clap::new("start").about("The settings of `inngest start`, as without this word");
    let of_dev = Clap::new("dev").about("The settings of `inngest dev`");
    finish(serving(Command::Start, clap))
        .args_conflicts_with_subcommands(true)
        .subcommand(finish(serving(Command::Dev, of_dev)))
        .subcommand(finish(serving(Command::Start, of_start)))
}

/// Takes the settings of the server whose tokens it makes, because its secret is in the database.
fn token_create() -> Clap {
    let create = Clap::new("create")
        .about("Print a token that the server with the same settings accepts")
        .after_help(AFTER_START);
    serving(Command::Start, create)
        .arg(
            Arg::new("subject")
                .long("subject")
                .value_name("NAME")
                .default_value("command-line")
                .help("Whom the token is for"),
        )
        .arg(
            // `--role` is taken by what a server does.
            Arg::new("role-of-token")
                .id("role-of-token")
                .long("as")
                .value_name("ROLE")
                .value_parser(["viewer", "member", "admin", "owner"])
                .default_value("viewer")
                .help("What the bearer may do"),
        )
        .arg(
            Arg::new("expires-in")
                .long("expires-in")
                .value_name("HOURS")
                .value_parser(clap::value_parser!(u64).range(1..=8_760))
                .default_value("24")
                .help("How long the token is good"),
        )
}

/// A command for a server, each of whose verbs explains the exit codes.
fn asking(clap: Clap) -> Clap {
    clap.after_help(EXIT_CODES)
        .mut_subcommands(|verb| verb.after_help(EXIT_CODES))
}

const DRY_RUN: &str = "dry-run";
const SOURCES: &str = "sources";

const AFTER_CONFIG: &str = "\
Takes the flags, variables and file of `inngest start`, or of `inngest dev` after that word. Opens nothing else; see `inngest doctor`.
Exit codes: 0 the settings can be used, 1 they cannot, 2 wrong usage. With --json it prints JSON.";

fn tool(clap: Clap, about_dry_run: &'static str) -> Clap {
    let dry_run = Arg::new(DRY_RUN)
        .long(DRY_RUN)
        .action(ArgAction::SetTrue)
        .help(about_dry_run);
    serving(Command::Tool, clap).arg(dry_run)
}

const AFTER_DEV: &str = "\
Nothing is stored unless --persist, --sqlite-dir or --postgres-uri says so, and nobody is asked for a key.
Flags win over variables, variables over the file inngest.{json,yaml,yml,toml} (searched here, above and in ~/.config/inngest).";

const AFTER_START: &str = "\
Each variable that holds a secret also exists with _FILE at its end and then names a file that holds it.
Flags win over variables, variables over the file inngest.{json,yaml,yml,toml} (searched here, above and in ~/.config/inngest).
Exit codes: 0 stopped as asked, 1 failed, 2 wrong usage, 130 stopped by a second signal.";

fn serving(of: Command, clap: Clap) -> Clap {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("Settings file [env: INNGEST_CONFIG]");
    let keys = KEYS
        .iter()
        .filter(|key| key.is_flag_of(of) && !GLOBAL.contains(&key.name));
    clap.arg(config).args(keys.map(flag))
}

fn flag(key: &Key) -> Arg {
    let help = format!("{} [env: {}]", key.help, key.variable());
    let arg = Arg::new(key.name)
        .long(key.name)
        .help(help)
        .hide(key.is_hidden)
        .value_name(key.value_name);
    let arg = match key.short {
        Some(short) => arg.short(short),
        None => arg,
    };
    match key.shape {
        Shape::Switch => arg
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .hide_possible_values(true),
        Shape::List => arg.action(ArgAction::Append),
        Shape::Text | Shape::Number { .. } => arg.action(ArgAction::Set),
    }
}

fn inputs(command: Command, matches: &ArgMatches, working_dir: PathBuf) -> Inputs {
    let mut flags = BTreeMap::new();
    for key in KEYS.iter().filter(|key| key.is_flag_of(command)) {
        if let Ok(Some(texts)) = matches.try_get_many::<String>(key.name) {
            flags.insert(key.name, texts.cloned().collect());
        }
    }
    let config = matches.get_one::<String>("config").map(PathBuf::from);
    Inputs {
        command,
        flags,
        config,
        environment: process_environment(),
        working_dir,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(line: &[&str]) -> Option<Inputs> {
        let matches = command().try_get_matches_from(line).ok()?;
        let (name, matches) = matches.subcommand()?;
        let of = if name == "dev" {
            Command::Dev
        } else {
            Command::Start
        };
        Some(inputs(of, matches, PathBuf::new()))
    }

    fn flags(line: &[&str]) -> Vec<(&'static str, Vec<String>)> {
        given(line)
            .expect("the line is accepted")
            .flags
            .into_iter()
            .collect()
    }

    #[test]
    fn table_of_keys_makes_a_valid_command() {
        command().debug_assert();
    }

    #[test]
    fn flags_arrive_under_their_keys() {
        let all = flags(&[
            "inngest",
            "dev",
            "-u",
            "a",
            "--sdk-url",
            "b",
            "-p",
            "1",
            "--persist",
            "--no-poll=false",
        ]);
        let text = |text: &str| text.to_owned();
        assert_eq!(
            all,
            vec![
                ("no-poll", vec![text("false")]),
                ("persist", vec![text("true")]),
                ("port", vec![text("1")]),
                ("sdk-url", vec![text("a"), text("b")]),
            ]
        );
    }

    #[test]
    fn log_flags_stand_on_either_side_of_the_command() {
        assert_eq!(
            flags(&["inngest", "--json", "dev"]),
            flags(&["inngest", "dev", "--json"])
        );
        assert_eq!(
            flags(&["inngest", "-l", "debug", "start"]),
            flags(&["inngest", "start", "--log-level", "debug"])
        );
    }

    #[test]
    fn commands_for_a_server_take_their_flags_on_either_side_of_the_verb() {
        let of = |line: &[&str]| {
            let matches = command().try_get_matches_from(line).ok()?;
            let (name, matches) = matches.subcommand()?;
            let request = request(name, matches)?;
            Some((
                format!("{request:?}"),
                is_on(matches, "json"),
                level(matches),
            ))
        };
        let after = of(&[
            "inngest", "runs", "get", "x", "--server", "a", "--json", "-l", "debug",
        ]);
        let before = of(&[
            "inngest",
            "--json",
            "runs",
            "--log-level",
            "DEBUG",
            "--server",
            "a",
            "get",
            "x",
        ]);
        assert_eq!(after, before);
        let (text, json, level) = after.expect("the line is accepted");
        assert!(
            text.contains("server: Some(\"a\")") && json && level == "debug",
            "{text}"
        );
        assert!(of(&["inngest", "runs", "watch", "x", "--status", "failed"]).is_none());
        assert!(of(&["inngest", "runs", "list", "--timeout", "0"]).is_none());
    }

    #[test]
    fn commands_refuse_each_others_flags() {
        for line in [
            ["inngest", "dev", "--signing-key", "12"],
            ["inngest", "dev", "--redis-uri", "x"],
            ["inngest", "start", "--persist", "--json"],
            ["inngest", "start", "--no-discovery", "--json"],
        ] {
            assert!(given(&line).is_none(), "{line:?}");
        }
    }
    #[test]
    fn settings_of_start_are_looked_at_unless_dev_is_said() {
        let of = |line: &[&str]| {
            let matches = command().try_get_matches_from(line).ok()?;
            let (_, matches) = matches.subcommand()?;
            let Asked::Examine { inputs, json, .. } =
                examine(matches, |_| Examination::Doctor, PathBuf::new())
            else {
                return None;
            };
            Some((inputs.command, inputs.flags.len(), json))
        };
        for (line, expected) in [
            (vec!["inngest", "doctor"], Some((Command::Start, 0, false))),
            (
                vec!["inngest", "doctor", "--redis-uri", "x", "--json"],
                Some((Command::Start, 2, true)),
            ),
            (
                vec!["inngest", "doctor", "start", "--redis-uri", "x"],
                Some((Command::Start, 1, false)),
            ),
            (
                vec!["inngest", "--json", "doctor", "dev", "--persist"],
                Some((Command::Dev, 2, true)),
            ),
            (vec!["inngest", "doctor", "--persist"], None),
            (vec!["inngest", "doctor", "dev", "--redis-uri", "x"], None),
            (vec!["inngest", "doctor", "--port", "1", "dev"], None),
        ] {
            assert_eq!(of(&line), expected, "{line:?}");
        }
    }
}
