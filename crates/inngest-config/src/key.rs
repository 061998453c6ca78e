//! The table of keys: one row for each setting, from which flags, variables and file entries alike are made.

/// Which command the settings are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// A server on this machine for whoever writes functions: nothing is stored and nobody is asked for a key.
    Dev,
    /// A server for production.
    Start,
    /// Something that is done to the database of such a server and serves nobody.
    Tool,
}

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One text.
    Text,
    /// Several texts; a variable holds them with commas between.
    List,
    /// On or off; as a flag it takes no value.
    Switch,
    /// A whole number.
    Number {
        /// The least value that is accepted.
        min: u64,
        /// The greatest value that is accepted.
        max: u64,
    },
}

/// What setting a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// What its help says.
    Used,
    /// Accepted, because scripts for the reference server set it, but nothing happens; the text says why.
    None(&'static str),
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name as a flag (after `--`) and as an entry of the file.
    pub name: &'static str,
    /// The short flag.
    pub short: Option<char>,
    /// What its value looks like.
    pub shape: Shape,
    /// What the value is called in the help, for example `SECONDS`.
    pub value_name: &'static str,
    /// The commands that take it as a flag. A file serves both commands, so there it is never out of place.
    pub commands: &'static [Command],
    /// Whether the value is a secret: it is never printed, and a `_FILE` variable may name a file that holds it.
    pub is_secret: bool,
    /// Whether the help leaves it out.
    pub is_hidden: bool,
    /// What setting it does.
    pub effect: Effect,
    /// One sentence for the help.
    pub help: &'static str,
}

impl Key {
    /// The environment variable: `INNGEST_` and the name in capitals.
    pub fn variable(&self) -> String {
        format!("INNGEST_{}", self.name.to_uppercase().replace('-', "_"))
    }

    /// Whether `command` takes this key as a flag.
    pub fn is_flag_of(&self, command: Command) -> bool {
        self.commands.contains(&command)
    }
}

const BOTH: &[Command] = &[Command::Dev, Command::Start];
const DEV: &[Command] = &[Command::Dev];
const START: &[Command] = &[Command::Start];
const ALL: &[Command] = &[Command::Dev, Command::Start, Command::Tool];
const NO_COMMAND: &[Command] = &[];
const PORT: Shape = Shape::Number {
    min: 0,
    max: 65_535,
};
const MINUTES: Shape = Shape::Number {
    min: 1,
    max: 525_600,
};
const DAYS: Shape = Shape::Number {
    min: 0,
    max: 36_500,
};
const CONNECTIONS: Shape = Shape::Number {
    min: 2,
    max: 10_000,
};
const POOL: &str = "the pool keeps connections by its own rules; postgres-max-open-conns bounds it";
const NO_CONNECT: &str = "workers that connect over a websocket are not supported by this version";

const fn key(
    name: &'static str,
    shape: Shape,
    commands: &'static [Command],
    help: &'static str,
) -> Key {
    Key {
        name,
        short: None,
        shape,
        value_name: "VALUE",
        commands,
        is_secret: false,
        is_hidden: false,
        effect: Effect::Used,
        help,
    }
}

const fn without_effect(
    name: &'static str,
    shape: Shape,
    commands: &'static [Command],
    reason: &'static str,
) -> Key {
    Key {
        is_hidden: true,
        effect: Effect::None(reason),
        ..key(
            name,
            shape,
            commands,
            "Accepted for compatibility; it has no effect",
        )
    }
}

/// Every key, in the order of the help.
pub const KEYS: &[Key] = &[
    Key {
        value_name: "HOST",
        ..key(
            "host",
            Shape::Text,
            BOTH,
            "Address or host name to listen on (dev: only this machine by default; start: 0.0.0.0)",
        )
    },
    Key {
        short: Some('p'),
        value_name: "PORT",
        ..key(
            "port",
            PORT,
            BOTH,
            "Port to listen on (default 8288); 0 takes a free one",
        )
    },
    Key {
        short: Some('u'),
        value_name: "URL",
        ..key(
            "sdk-url",
            Shape::List,
            BOTH,
            "URL of an app that serves functions; may be given several times",
        )
    },
    key(
        "no-discovery",
        Shape::Switch,
        DEV,
        "Do not look for apps on the usual local ports",
    ),
    key(
        "no-poll",
        Shape::Switch,
        DEV,
        "Do not ask apps that work again and again whether their functions have changed",
    ),
    Key {
        value_name: "SECONDS",
        ..key(
            "poll-interval",
            Shape::Number {
                min: 0,
                max: 86_400,
            },
            BOTH,
            "How often apps are asked for their functions (start: only apps whose sync failed; default 5)",
        )
    },
    Key {
        value_name: "SECONDS",
        ..key(
            "retry-interval",
            Shape::Number {
                min: 0,
                max: 86_400,
            },
            BOTH,
            "Pause between attempts grows by this many seconds each time (default 0: the built-in table of growing pauses)",
        )
    },
    Key {
        value_name: "COUNT",
        ..key(
            "queue-workers",
            Shape::Number {
                min: 1,
                max: 100_000,
            },
            BOTH,
            "Steps that run at once (default 100)",
        )
    },
    Key {
        value_name: "MIB",
        ..key(
            "request-memory",
            Shape::Number {
                min: 64,
                max: 1_048_576,
            },
            BOTH,
            "Bodies of all requests at once, in MiB; requests beyond it are answered with 429 (default 128)",
        )
    },
    key(
        "persist",
        Shape::Switch,
        DEV,
        "Keep everything in a file (see --sqlite-dir), so that a restart forgets nothing",
    ),
    Key {
        value_name: "DIR",
        ..key(
            "sqlite-dir",
            Shape::Text,
            ALL,
            "Directory of the SQLite file (default .inngest); with dev it implies --persist",
        )
    },
    Key {
        is_secret: true,
        value_name: "URI",
        ..key(
            "postgres-uri",
            Shape::Text,
            ALL,
            "Store in this Postgres database instead of an SQLite file",
        )
    },
    Key {
        value_name: "COUNT",
        ..key(
            "postgres-max-open-conns",
            CONNECTIONS,
            BOTH,
            "Most connections to Postgres at once (default 16)",
        )
    },
    key(
        "no-migrate",
        Shape::Switch,
        BOTH,
        "Do not bring the database schema up to date at start; refuse to start when it is behind (see `inngest migrate`)",
    ),
    Key {
        value_name: "DAYS",
        ..key(
            "retention-days",
            DAYS,
            ALL,
            "Days for which runs are kept after their end, and events (default 30; 0 keeps them for ever)",
        )
    },
    Key {
        value_name: "POINTS",
        ..key(
            "api-points-per-second",
            Shape::Number {
                min: 0,
                max: 1_000_000,
            },
            START,
            "Points that one caller of GraphQL gets back in a second, of at most 50 times as many (default 2000; 0 counts nobody's)",
        )
    },
    without_effect("postgres-max-idle-conns", CONNECTIONS, BOTH, POOL),
    without_effect("postgres-conn-max-idle-time", MINUTES, BOTH, POOL),
    without_effect("postgres-conn-max-lifetime", MINUTES, BOTH, POOL),
    Key {
        is_secret: true,
        value_name: "URI",
        ..key(
            "redis-uri",
            Shape::Text,
            START,
            "Schedule in this Redis, so that several servers share the work: redis://, rediss:// (TLS), redis-cluster://a,b or redis-sentinel://a,b/master; needs --postgres-uri",
        )
    },
    Key {
        value_name: "NAME",
        ..key(
            "redis-prefix",
            Shape::Text,
            START,
            "Begins the names of all keys in Redis (default inngest); two installations on one Redis need different ones",
        )
    },
    Key {
        value_name: "ROLE",
        ..key(
            "role",
            Shape::List,
            START,
            "What this server does: api (answers requests), worker (calls apps), scheduler (keeps the schedule filled); may be given several times (default: all)",
        )
    },
    Key {
        is_secret: true,
        value_name: "KEY",
        ..key(
            "signing-key",
            Shape::Text,
            START,
            "Secret shared with the apps: hexadecimal, with or without a `signkey-…-` prefix",
        )
    },
    Key {
        is_secret: true,
        value_name: "KEY",
        ..key(
            "signing-key-fallback",
            Shape::List,
            START,
            "Signing key that apps may still use while keys are being changed; may be given several times",
        )
    },
    Key {
        is_secret: true,
        value_name: "SECRET",
        ..key(
            "secret-key",
            Shape::Text,
            START,
            "Secret with which secrets in the database are sealed, at least 16 bytes (default: the signing key takes its place)",
        )
    },
    Key {
        is_secret: true,
        value_name: "SECRET",
        ..key(
            "secret-key-fallback",
            Shape::Text,
            START,
            "The secret key that was used before, while it is being changed",
        )
    },
    Key {
        value_name: "ISSUER",
        ..key(
            "token-issuer",
            Shape::Text,
            START,
            "What `iss` of tokens has to be; needs --token-audience and a key",
        )
    },
    Key {
        value_name: "AUDIENCE",
        ..key(
            "token-audience",
            Shape::Text,
            START,
            "What `aud` of tokens has to be",
        )
    },
    Key {
        is_secret: true,
        value_name: "SECRET",
        ..key(
            "token-secret",
            Shape::Text,
            START,
            "Secret shared with the issuer of tokens (HS256), at least 32 bytes",
        )
    },
    Key {
        is_secret: true,
        value_name: "PEM",
        ..key(
            "token-public-key",
            Shape::Text,
            START,
            "Public key of the issuer of tokens in PEM (RS256, ES256 or EdDSA)",
        )
    },
    Key {
        value_name: "URL",
        ..key(
            "token-jwks-url",
            Shape::Text,
            START,
            "Where the issuer of tokens publishes its keys",
        )
    },
    Key {
        is_secret: true,
        value_name: "KEY",
        ..key(
            "event-key",
            Shape::List,
            START,
            "Key with which events may be sent; may be given several times",
        )
    },
    Key {
        value_name: "MODE",
        ..key(
            "graphql-documents",
            Shape::Text,
            BOTH,
            "Who may send GraphQL documents that are not known: open (everybody), known-for-browsers (programs), known-only (nobody) (default: open)",
        )
    },
    Key {
        value_name: "FILE",
        ..key(
            "graphql-manifest",
            Shape::Text,
            BOTH,
            "JSON file of known GraphQL documents, from the SHA-256 of each to its text; those of this command line are always known",
        )
    },
    Key {
        value_name: "ADDRESS",
        ..key(
            "metrics-listen",
            Shape::Text,
            BOTH,
            "Where metrics for Prometheus are served, for example 0.0.0.0:9464; `off` for nowhere (default: start 127.0.0.1:9464, dev off)",
        )
    },
    key(
        "v0-gql",
        Shape::Switch,
        START,
        "Serve the older GraphQL API at /v0/gql, which test suites of SDKs ask (dev: always)",
    ),
    key(
        "test-routes",
        Shape::Switch,
        BOTH,
        "Let test suites lower limits and end all runs (/fn/step-limit, /fn/state-size-limit, /test/...); never for production",
    ),
    Key {
        value_name: "SECONDS",
        ..key(
            "drain-timeout",
            Shape::Number { min: 0, max: 3_600 },
            BOTH,
            "How long a stopping server waits for calls in flight (default: dev 3, start 25)",
        )
    },
    key(
        "json",
        Shape::Switch,
        ALL,
        "Write logs as JSON, also on a terminal",
    ),
    key("verbose", Shape::Switch, ALL, "Write debug logs"),
    Key {
        short: Some('l'),
        value_name: "LEVEL",
        ..key(
            "log-level",
            Shape::Text,
            ALL,
            "trace, debug, info, warn or error (default info)",
        )
    },
    without_effect(
        "no-ui",
        Shape::Switch,
        START,
        "this version has no dashboard in `start`",
    ),
    without_effect(
        "tick",
        Shape::Number {
            min: 0,
            max: u64::MAX,
        },
        BOTH,
        "the schedule wakes workers when something is due and never polls",
    ),
    without_effect("connect-gateway-port", PORT, BOTH, NO_CONNECT),
    without_effect("connect-gateway-grpc-port", PORT, BOTH, NO_CONNECT),
    without_effect("connect-executor-grpc-port", PORT, BOTH, NO_CONNECT),
    without_effect("connect-gateway-grpc-ip", Shape::Text, BOTH, NO_CONNECT),
    without_effect("connect-executor-grpc-ip", Shape::Text, BOTH, NO_CONNECT),
    without_effect(
        "debug-api-port",
        PORT,
        DEV,
        "there is no debug API; use GraphQL",
    ),
    without_effect(
        "system-trace-endpoint",
        Shape::Text,
        BOTH,
        "the server does not send traces to itself",
    ),
    without_effect(
        "system-trace-url-path",
        Shape::Text,
        BOTH,
        "the server does not send traces to itself",
    ),
    without_effect("api-host", Shape::Text, NO_COMMAND, "use `host`"),
    without_effect("api-port", PORT, NO_COMMAND, "use `port`"),
    without_effect(
        "prod",
        Shape::Switch,
        NO_COMMAND,
        "the command decides: `inngest dev` or `inngest start`",
    ),
];

/// The key of this name, if there is one.
pub fn find_key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The name among `candidates` that `name` was probably meant to be: few letters differ, and nothing is nearer.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's edit distance over bytes.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(l != r);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_there_once_and_gives_its_variable() {
        let mut names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        assert_eq!(find_key("sdk-url").unwrap().variable(), "INNGEST_SDK_URL");
    }

    #[test]
    fn misspelt_name_finds_the_one_meant() {
        let find = |name| nearest(name, KEYS.iter().map(|key| key.name));
        assert_eq!(find("sdk-urls"), Some("sdk-url"));
        assert_eq!(find("postgres-url"), Some("postgres-uri"));
        assert_eq!(find("pol-intervall"), Some("poll-interval"));
        assert_eq!(find("colour"), None);
    }
}
