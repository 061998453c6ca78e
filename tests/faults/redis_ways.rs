//! Ways to a Redis: through sentinels, whose master dies, and over TLS; both as a user with a password.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpStream,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use inngest_tests::{
    databases::{PrivatePostgres, ask_redis, has_redis},
    http::SIGNING_KEY,
    process::{Process, Spec, free_port, own_directory},
    server::{Server, ServerOptions},
    wait::wait_until,
};

use crate::{
    app::StubApp,
    check::{self, Kill},
    field::DRAIN,
    load::Load,
};

/// A pause between two events.
const PACE: Duration = Duration::from_millis(15);
/// How long there is load before and after something happens.
const WHILE: Duration = Duration::from_secs(2);
/// How long a Redis may take to start, and sentinels to agree.
const PATIENCE: Duration = Duration::from_secs(30);
/// The only user who may do something.
const USER: [&str; 6] = ["inngest", "on", ">p:ss/w@rd", "~*", "&*", "+@all"];
/// User and password as they stand in a URI.
const CREDENTIALS: &str = "inngest:p%3Ass%2Fw%40rd";

/// Starts a Redis, or a sentinel where `more` says so.
fn redis(name: &str, more: &[&str]) -> Process {
    let mut command = vec!["redis-server".to_owned()];
    command.extend(more.iter().map(|part| (*part).to_owned()));
    Process::start(&Spec {
        name,
        command: &command,
        directory: &own_directory(name),
        env: BTreeMap::new(),
    })
}

fn node(name: &str, port: u16, more: &[&str]) -> Process {
    let port = port.to_string();
    let mut arguments = vec!["--bind", "127.0.0.1", "--port", &port, "--save", ""];
    arguments.push("--user");
    arguments.extend(USER);
    arguments.extend(["--user", "default", "off"]);
    arguments.extend(["--masteruser", "inngest", "--masterauth", "p:ss/w@rd"]);
    arguments.extend(more);
    redis(name, &arguments)
}

fn server(
    name: &str,
    postgres: &PrivatePostgres,
    uri: &str,
    env: BTreeMap<String, String>,
) -> Server {
    let postgres = postgres.uri();
    let arguments = [
        "--postgres-uri",
        &postgres,
        "--redis-uri",
        uri,
        "--signing-key",
        SIGNING_KEY,
        "--event-key",
        "test",
        "--retry-interval",
        "1",
    ];
    let options = ServerOptions {
        name: name.to_owned(),
        arguments: arguments.map(str::to_owned).to_vec(),
        port: None,
    };
    let mut server = Server::launch(None, env, &options);
    server.wait_until_healthy();
    server
}

/// Where the sentinel says that the master is.
fn master(sentinel: u16) -> Option<u16> {
    let words = ["SENTINEL", "get-master-addr-by-name", "main"];
    let answer = ask_redis(sentinel, &words)?;
    answer.split("\r\n").nth(4)?.parse().ok()
}

/// Whether the schedule can be reached.
fn is_ready(server: &Server) -> bool {
    let health = server.get("/health");
    health.status == 200 && health.body["redis"] == "connected"
}

#[test]
fn master_that_dies_is_followed_by_another_and_nothing_is_lost() {
    let Some(postgres) = PrivatePostgres::start("sentinel").filter(|_| has_redis()) else {
        return;
    };
    let (first, second, sentinel) = (free_port(), free_port(), free_port());
    let mut master_node = Some(node("sentinel-first", first, &[]));
    let first_text = first.to_string();
    let _replica = node(
        "sentinel-second",
        second,
        &["--replicaof", "127.0.0.1", &first_text],
    );
    let directory = own_directory("sentinel-watch");
    let config = directory.join("sentinel.conf");
    let text = format!(
        "port {sentinel}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {first} 1\nsentinel auth-user main inngest\n\
         sentinel auth-pass main p:ss/w@rd\nsentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n"
    );
    fs::write(&config, text).expect("the directory is ours");
    let _watch = redis("sentinel-watch", &[&shown(&config), "--sentinel"]);
    wait_until("the sentinel to know the replica", PATIENCE, || {
        let known = ask_redis(sentinel, &["SENTINEL", "replicas", "main"])?;
        (known.contains(&second.to_string()) && known.contains("master-link-status\r\n$2\r\nok"))
            .then_some(())
    });

    let uri = format!("redis-sentinel://{CREDENTIALS}@127.0.0.1:{sentinel}/main");
    let server = server("sentinel-server", &postgres, &uri, BTreeMap::new());
    let app = StubApp::start(server.base());
    app.register(&server);
    let load = Load::start(server.base(), PACE, None);
    thread::sleep(WHILE);
    let at = Instant::now();
    drop(master_node.take());
    wait_until("another master", PATIENCE, || {
        (master(sentinel) == Some(second)).then_some(())
    });
    wait_until("the server to follow it", PATIENCE, || {
        is_ready(&server).then_some(())
    });
    thread::sleep(WHILE);
    let accepted = load.stop();
    // What the replica had not heard of yet is leased again.
    let until = Instant::now() + DRAIN;
    let found = check::look(&server, &app, &accepted, &[Kill { at, until }], DRAIN);
    let wrong: Vec<_> = found.wrong.into_values().flatten().collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn redis_is_reached_over_tls_where_its_certificate_is_trusted() {
    let Some(postgres) = PrivatePostgres::start("tls").filter(|_| has_redis()) else {
        return;
    };
    let directory = own_directory("tls-keys");
    let [authority, certificate, key] = certificate(&directory);
    let port = free_port();
    let port_text = port.to_string();
    let tls = [
        "--tls-port",
        &port_text,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &authority,
        "--tls-auth-clients",
        "no",
    ];
    let _redis = node("tls-redis", 0, &tls);
    wait_until("Redis to listen", PATIENCE, || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    let uri = format!("rediss://{CREDENTIALS}@localhost:{port}");
    let trusting = BTreeMap::from([("SSL_CERT_FILE".to_owned(), authority)]);
    let server_one = server("tls-server", &postgres, &uri, trusting);
    wait_until("the server to reach Redis", PATIENCE, || {
        is_ready(&server_one).then_some(())
    });
    let app = StubApp::start(server_one.base());
    app.register(&server_one);
    let load = Load::start(server_one.base(), PACE, Some(45));
    let accepted = load.finish();
    let found = check::look(&server_one, &app, &accepted, &[], DRAIN);
    let wrong: Vec<_> = found.wrong.into_values().flatten().collect();
    assert!(wrong.is_empty(), "{wrong:#?}");

    // Somebody who does not know the authority does not talk to it.
    let stranger = server("tls-stranger", &postgres, &uri, BTreeMap::new());
    assert_ne!(stranger.get("/health").body["redis"], "connected");
}

/// An authority of our own, and a certificate for `localhost` with its key.
fn certificate(directory: &Path) -> [String; 3] {
    let file = |name: &str| shown(&directory.join(name));
    let [authority, authority_key] = ["ca.pem", "ca.key"].map(file);
    let [certificate, key, request] = ["redis.pem", "redis.key", "redis.csr"].map(file);
    let names = directory.join("names");
    fs::write(&names, "subjectAltName=DNS:localhost\n").expect("the directory is ours");
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output();
        let output = output.expect("openssl is installed");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let new_key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ];
    let own = ["req", "-x509", "-subj", "/CN=test authority", "-days", "2"];
    openssl(
        &[
            &own[..],
            &new_key,
            &["-keyout", &authority_key, "-out", &authority],
        ]
        .concat(),
    );
    let asked = [
        "req",
        "-subj",
        "/CN=localhost",
        "-keyout",
        &key,
        "-out",
        &request,
    ];
    openssl(&[&asked[..], &new_key].concat());
    openssl(&[
        "x509",
        "-req",
        "-in",
        &request,
        "-CA",
        &authority,
        "-CAkey",
        &authority_key,
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        &shown(&names),
        "-out",
        &certificate,
    ]);
    [authority, certificate, key]
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
