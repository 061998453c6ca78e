use std::num::NonZeroUsize;

use super::*;
use crate::{DatabaseSettings, DocumentMode, Host, LogLevel, Settings};

const KEY: &str = "signkey-prod-12345678";

struct Case {
    inputs: Inputs,
    _dir: tempfile::TempDir,
}

fn case(
    command: Command,
    files: &[(&str, &str)],
    environment: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Case {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let mut given: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for (name, text) in flags {
        given.entry(name).or_default().push((*text).to_owned());
    }
    let inputs = Inputs {
        command,
        flags: given,
        config: None,
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        working_dir: dir.path().to_owned(),
    };
    Case { inputs, _dir: dir }
}

fn dev(
    files: &[(&str, &str)],
    environment: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Loaded {
    load(&case(Command::Dev, files, environment, flags).inputs).unwrap()
}

fn problems(
    command: Command,
    files: &[(&str, &str)],
    environment: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> String {
    let case = case(command, files, environment, flags);
    let text = load(&case.inputs).unwrap_err().to_string();
    text.replace(&case.inputs.working_dir.display().to_string(), "DIR")
}

fn start(flags: &[(&'static str, &str)]) -> Settings {
    load(
        &case(
            Command::Start,
            &[],
            &[("INNGEST_SIGNING_KEY", KEY), ("INNGEST_EVENT_KEY", "a, b")],
            flags,
        )
        .inputs,
    )
    .unwrap()
    .settings
}

#[test]
fn flag_beats_variable_beats_file_beats_default() {
    let file = ("inngest.yml", "port: 1001");
    let variable = ("INNGEST_PORT", "1002");
    let port = |loaded: Loaded| (loaded.settings.listen.port, loaded.sources["port"].is_set());
    assert_eq!(port(dev(&[], &[], &[])), (8288, false));
    assert_eq!(port(dev(&[file], &[], &[])), (1001, true));
    assert_eq!(port(dev(&[file], &[variable], &[])), (1002, true));
    assert_eq!(
        port(dev(&[file], &[variable], &[("port", "1003")])),
        (1003, true)
    );
    assert_eq!(
        dev(&[file], &[variable], &[]).sources["port"],
        Source::Variable("INNGEST_PORT".into())
    );
}

#[test]
fn each_language_of_file_says_the_same() {
    for (name, text) in [
        (
            "inngest.json",
            r#"{"sdk-url":["localhost:3000"],"no-discovery":true,"poll-interval":9}"#,
        ),
        (
            "inngest.yaml",
            "sdk-url:\n  - localhost:3000\nno-discovery: true\npoll-interval: 9\n",
        ),
        (
            "inngest.yml",
            "sdk_url: localhost:3000\nno_discovery: true\npoll_interval: \"9\"\n",
        ),
        (
            "inngest.toml",
            "sdk-url = [\"localhost:3000\"]\nno-discovery = true\npoll-interval = 9\n",
        ),
    ] {
        let apps = dev(&[(name, text)], &[], &[]).settings.apps;
        assert_eq!(apps.urls, ["http://localhost:3000"], "{name}");
        assert!(!apps.discover && apps.poll_healthy, "{name}");
        assert_eq!(apps.poll_interval.as_secs(), 9, "{name}");
    }
}

#[test]
fn file_is_searched_upwards_json_first_then_in_the_home() {
    let files = [
        ("inngest.json", r#"{"port":1}"#),
        ("inngest.yml", "port: 2"),
        ("home/.config/inngest/inngest.toml", "port = 3"),
        ("a/b/x", ""),
    ];
    let mut case = case(Command::Dev, &files, &[], &[]);
    let root = case.inputs.working_dir.clone();
    case.inputs.working_dir = root.join("a/b");
    assert_eq!(load(&case.inputs).unwrap().settings.listen.port, 1);

    std::fs::remove_file(root.join("inngest.json")).unwrap();
    assert_eq!(load(&case.inputs).unwrap().settings.listen.port, 2);

    std::fs::remove_file(root.join("inngest.yml")).unwrap();
    case.inputs
        .environment
        .insert("HOME".into(), root.join("home").display().to_string());
    assert_eq!(load(&case.inputs).unwrap().settings.listen.port, 3);
}

#[test]
fn named_file_is_taken_instead_of_a_found_one() {
    let files = [
        ("inngest.json", r#"{"port":1}"#),
        ("other.toml", "port = 2"),
        ("third.yaml", "port: 3"),
    ];
    let mut case = case(
        Command::Dev,
        &files,
        &[("INNGEST_CONFIG", "other.toml")],
        &[],
    );
    assert_eq!(load(&case.inputs).unwrap().settings.listen.port, 2);
    case.inputs.config = Some("third.yaml".into());
    assert_eq!(load(&case.inputs).unwrap().settings.listen.port, 3);
    case.inputs.config = Some("missing.yaml".into());
    assert!(
        load(&case.inputs)
            .unwrap_err()
            .to_string()
            .contains("missing.yaml cannot be read")
    );
}

#[test]
fn all_problems_are_told_at_once_with_their_places() {
    let text = problems(
        Command::Start,
        &[(
            "inngest.yml",
            "postgres-url: x\nqueue-workers: many\nsigning-key: 1234\n",
        )],
        &[("INNGEST_LOG_LEVEL", "loud")],
        &[
            ("port", "70000"),
            ("sdk-url", "ftp://x"),
            ("redis-uri", "redis://secret@host"),
        ],
    );
    for part in [
        "`postgres-url` in DIR/inngest.yml is not a setting; did you mean `postgres-uri`?",
        "`queue-workers` in DIR/inngest.yml is `many`, but must be a whole number from 1 to 100000",
        "`signing-key` in DIR/inngest.yml must be a text; put it in quotes",
        "INNGEST_LOG_LEVEL is `loud`",
        "--port is `70000`, but must be a whole number from 0 to 65535",
        "--sdk-url `ftp://x` must begin with http:// or https://",
        "--redis-uri needs postgres-uri as well",
        "at least one event-key is required",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    assert!(!text.contains("secret@host"), "a secret was quoted");
}

#[test]
fn start_needs_both_keys() {
    let text = problems(Command::Start, &[], &[], &[]);
    assert!(text.contains("signing-key is required"), "{text}");
    assert!(
        text.contains("at least one event-key is required"),
        "{text}"
    );
}

#[test]
fn signing_key_is_accepted_with_any_prefix_or_none() {
    for (key, accepted) in [
        ("12345678", true),
        ("abCDef", true),
        ("signkey-test-12345678", true),
        ("signkey-prod-12345678", true),
        ("signkey-branch1-1234", true),
        ("1234567", false),
        ("hello", false),
        ("signkey-12345678", false),
        ("signkey-test-", false),
    ] {
        let case = case(
            Command::Start,
            &[],
            &[("INNGEST_EVENT_KEY", "e")],
            &[("signing-key", key)],
        );
        assert_eq!(load(&case.inputs).is_ok(), accepted, "{key}");
    }
}

#[test]
fn secrets_may_be_in_files_but_not_in_both_places() {
    let case = case(
        Command::Start,
        &[("key", "12345678\n"), ("events", "one\ntwo,three\n")],
        &[
            ("INNGEST_SIGNING_KEY_FILE", "key"),
            ("INNGEST_EVENT_KEY_FILE", "events"),
        ],
        &[],
    );
    let loaded = load(&case.inputs).unwrap();
    assert_eq!(
        loaded.settings.keys.signing_key.as_ref().unwrap().expose(),
        "12345678"
    );
    assert_eq!(loaded.settings.keys.event_keys.len(), 3);
    assert!(!format!("{loaded:?}").contains("12345678"));

    let mut both = case.inputs.clone();
    both.environment
        .insert("INNGEST_SIGNING_KEY".into(), "12".into());
    assert!(
        load(&both)
            .unwrap_err()
            .to_string()
            .contains("set only one")
    );
}

#[test]
fn dev_keeps_nothing_and_listens_on_this_machine_only() {
    let settings = dev(&[], &[], &[]).settings;
    assert_eq!(settings.database, DatabaseSettings::Memory);
    assert_eq!(settings.listen.host, Host::Loopback);
    assert_eq!(settings.listen.host.addresses().len(), 2);
    assert_eq!(settings.engine.workers, NonZeroUsize::new(100).unwrap());
    assert_eq!(settings.log.level, LogLevel::Info);
}

#[test]
fn database_follows_from_the_command_and_its_flags() {
    let directory = |settings: Settings| match settings.database {
        DatabaseSettings::Sqlite { directory } => directory
            .file_name()
            .map(|name| name.to_string_lossy().into_owned()),
        DatabaseSettings::Memory | DatabaseSettings::Postgres(_) => None,
    };
    assert_eq!(directory(start(&[])).as_deref(), Some(".inngest"));
    let dev = |flag| directory(dev(&[], &[], &[flag]).settings);
    assert_eq!(dev(("persist", "true")).as_deref(), Some(".inngest"));
    assert_eq!(dev(("sqlite-dir", "x")).as_deref(), Some("x"));
    assert_eq!(dev(("persist", "false")), None);
    let DatabaseSettings::Postgres(postgres) =
        start(&[("postgres-uri", "postgres://u:p@h/d")]).database
    else {
        panic!("not Postgres")
    };
    assert_eq!(postgres.max_open, 16);
}

#[test]
fn zero_intervals_mean_the_defaults() {
    let settings = start(&[("poll-interval", "0"), ("retry-interval", "0")]);
    assert_eq!(settings.apps.poll_interval.as_secs(), 5);
    assert_eq!(settings.engine.retry_interval, None);
}

#[test]
fn warnings_name_what_has_no_effect_and_what_is_open() {
    let loaded = dev(
        &[("inngest.yml", "connect-gateway-port: 8289")],
        &[("INNGEST_PORTS", "1")],
        &[("tick", "150"), ("host", "0.0.0.0")],
    );
    let text = loaded.warnings.join("\n");
    for part in [
        "--tick has no effect",
        "`connect-gateway-port` in",
        "listening beyond this machine",
        "INNGEST_PORTS is not a setting and is ignored; did you mean INNGEST_PORT?",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    assert!(
        dev(
            &[],
            &[("INNGEST_DEV", "1"), ("INNGEST_BASE_URL", "x")],
            &[("host", "localhost")]
        )
        .warnings
        .is_empty()
    );
}

#[test]
fn dev_ignores_keys_and_empty_variables() {
    let settings = dev(
        &[],
        &[
            ("INNGEST_SIGNING_KEY", "nonsense"),
            ("INNGEST_EVENT_KEY", "e"),
            ("INNGEST_PORT", ""),
        ],
        &[],
    )
    .settings;
    assert!(settings.keys.signing_key.is_none() && settings.keys.event_keys.is_empty());
    assert_eq!(settings.listen.port, 8288);
}

#[test]
fn older_api_is_served_in_dev_and_where_start_is_told_to() {
    assert!(dev(&[], &[], &[]).settings.suites.v0_gql);
    assert!(!start(&[]).suites.v0_gql);
    assert!(start(&[("v0-gql", "true")]).suites.v0_gql);
}

#[test]
fn test_routes_are_served_only_where_they_are_asked_for() {
    type Pairs = &'static [(&'static str, &'static str)];
    let cases: [(Pairs, Pairs, bool, bool); 7] = [
        (&[], &[], false, false),
        (&[("test-routes", "true")], &[], true, true),
        (&[], &[("INNGEST_TEST_ROUTES", "true")], true, true),
        // What suites set counts in `dev` alone, and other programs may mean something else by it.
        (&[], &[("TEST_MODE", "true")], true, false),
        (&[], &[("TEST_MODE", "1")], true, false),
        (&[], &[("TEST_MODE", "unit")], false, false),
        (
            &[],
            &[("TEST_MODE", "true"), ("INNGEST_TEST_ROUTES", "false")],
            false,
            false,
        ),
    ];
    for (flags, variables, in_dev, in_start) in cases {
        let found = dev(&[], variables, flags).settings.suites.test_routes;
        assert_eq!(found, in_dev, "dev {flags:?} {variables:?}");
        let keys = [("INNGEST_SIGNING_KEY", KEY), ("INNGEST_EVENT_KEY", "a")];
        let variables = [variables, keys.as_slice()].concat();
        let found = load(&case(Command::Start, &[], &variables, flags).inputs).unwrap();
        assert_eq!(
            found.settings.suites.test_routes, in_start,
            "start {flags:?} {variables:?}"
        );
    }
}

#[test]
fn hostile_yaml_is_refused_and_does_not_hang() {
    let bomb = format!(
        "a: &a [x, x, x, x, x, x, x, x, x]\n{}",
        (b'b'..=b'k')
            .map(|letter| {
                let (name, before) = (char::from(letter), char::from(letter - 1));
                format!(
                    "{name}: &{name} [{}]\n",
                    vec![format!("*{before}"); 9].join(", ")
                )
            })
            .collect::<String>()
    );
    assert!(problems(Command::Dev, &[("inngest.yml", &bomb)], &[], &[]).contains("inngest.yml"));
    assert!(problems(Command::Dev, &[("inngest.yml", "a: [")], &[], &[]).contains("is not valid"));
}

#[test]
fn servers_divide_the_work_where_they_share_a_schedule() {
    let keys = [("signing-key", "1234"), ("event-key", "e")];
    let postgres = ("postgres-uri", "postgres://h/x");
    let redis = ("redis-uri", "redis://h");
    let text = problems(
        Command::Start,
        &[],
        &[],
        &[&keys[..], &[postgres, ("role", "api")]].concat(),
    );
    assert!(text.contains("--role needs redis-uri"), "{text}");
    let text = problems(
        Command::Start,
        &[],
        &[("INNGEST_ROLE", "api,boss")],
        &[&keys[..], &[postgres, redis, ("redis-prefix", "a b")]].concat(),
    );
    assert!(
        text.contains("`boss`, which is none of api, worker, scheduler"),
        "{text}"
    );
    assert!(text.contains("--redis-prefix must be"), "{text}");
}

#[test]
fn known_documents_are_named_by_mode_and_file() {
    let settings = dev(&[], &[], &[]).settings;
    assert_eq!(settings.graphql.documents, DocumentMode::Open);
    assert_eq!(settings.graphql.manifest, None);
    let given = [
        ("graphql-documents", "Known-Only"),
        ("graphql-manifest", "m.json"),
    ];
    let settings = start(&given);
    assert_eq!(settings.graphql.documents, DocumentMode::KnownOnly);
    let manifest = settings.graphql.manifest.unwrap();
    assert!(manifest.is_absolute() && manifest.ends_with("m.json"));
    let wrong = problems(Command::Dev, &[], &[], &[("graphql-documents", "closed")]);
    assert!(
        wrong.contains("none of open, known-for-browsers, known-only"),
        "{wrong}"
    );
}

#[test]
fn values_are_shown_as_the_file_would_hold_them_and_secrets_masked() {
    let case = case(
        Command::Start,
        &[(
            "inngest.toml",
            "sdk_url = [\"http://me:hunter2@a/x\", \"b\"]\nport = 9000",
        )],
        &[
            ("INNGEST_EVENT_KEY", "hunter2,hunter3"),
            ("INNGEST_NO_MIGRATE", "yes"),
        ],
        &[
            ("signing-key", KEY),
            ("postgres-uri", "postgres://me:hunter2@h/d"),
            ("token-issuer", "https://issuer"),
            ("token-audience", "a \"b\""),
            ("token-secret", "hunter2hunter2hunter2hunter2hunter2"),
        ],
    );
    let loaded = load(&case.inputs).unwrap();
    assert_eq!(
        serde_json::to_value(&loaded.shown).unwrap(),
        serde_json::json!({
            "sdk-url": ["http://***@a/x", "b"],
            "port": 9000,
            "event-key": ["***", "***"],
            "no-migrate": true,
            "signing-key": "***",
            "postgres-uri": "***",
            "token-issuer": "https://issuer",
            "token-audience": "a \"b\"",
            "token-secret": "***",
        })
    );
}
