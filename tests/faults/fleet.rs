//! Three servers on one Postgres and one Redis, all of which die, stand still or forget while an app and a sender are at work.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use inngest_tests::{
    balancer::Balancer,
    databases::{PrivatePostgres, PrivateRedis},
    http::{self, SIGNING_KEY},
    process::free_port,
    server::{Server, ServerOptions},
    wait::wait_until,
};

use crate::{
    Dice,
    app::StubApp,
    check::{self, Kill},
    load::Load,
    number, seed,
};

/// How long everything that was accepted may take to end: the time after which a dead server's work is taken over, and to work it off.
const DRAIN: Duration = Duration::from_secs(120);
/// Servers of a fleet.
const SERVERS: usize = 3;
/// A pause between two events.
const PACE: Duration = Duration::from_millis(12);

struct Fleet {
    name: &'static str,
    postgres: PrivatePostgres,
    redis: PrivateRedis,
    servers: Vec<Server>,
    ports: Vec<u16>,
    balancer: Balancer,
    app: StubApp,
}

impl Fleet {
    /// Starts everything; `None` where a database is not installed.
    fn start(name: &'static str) -> Option<Self> {
        let postgres = PrivatePostgres::start(name)?;
        let redis = PrivateRedis::start(name)?;
        let ports: Vec<u16> = (0..SERVERS).map(|_| free_port()).collect();
        let balancer = Balancer::start(&ports);
        let app = StubApp::start(balancer.base());
        let mut fleet = Self {
            name,
            postgres,
            redis,
            servers: Vec::new(),
            ports,
            balancer,
            app,
        };
        for number in 0..SERVERS {
            let server = fleet.launch(number);
            fleet.servers.push(server);
        }
        for server in &mut fleet.servers {
            server.wait_until_healthy();
        }
        fleet.app.register(&fleet.servers[0]);
        Some(fleet)
    }

    fn launch(&self, number: usize) -> Server {
        let (postgres, redis) = (self.postgres.uri(), self.redis.uri());
        let arguments = [
            "--postgres-uri",
            &postgres,
            "--redis-uri",
            &redis,
            "--signing-key",
            SIGNING_KEY,
            "--event-key",
            "test",
            "--retry-interval",
            "1",
            "--drain-timeout",
            "10",
        ];
        let options = ServerOptions {
            name: format!("{}-{number}", self.name),
            arguments: arguments.map(str::to_owned).to_vec(),
            port: Some(self.ports[number]),
        };
        Server::launch(None, BTreeMap::new(), &options)
    }

    /// Starts a server anew, once it has ended.
    fn restart(&mut self, number: usize) {
        let mut server = self.launch(number);
        server.wait_until_healthy();
        self.servers[number] = server;
    }

    fn load(&self) -> Load {
        Load::start(self.balancer.base(), PACE, None)
    }

    /// Ends the load, and checks that what was accepted has happened, once.
    fn check(self, load: Load, kills: &[Kill]) {
        let accepted = load.stop();
        eprintln!("{}: {} events accepted", self.name, accepted.len());
        let server = Server::behind(self.balancer.base());
        check::drained(&server, &self.app, &accepted, kills, DRAIN);
    }
}

#[test]
fn one_of_three_servers_is_killed_again_and_again() {
    let Some(mut fleet) = Fleet::start("fleet-killed") else {
        return;
    };
    let mut dice = Dice::new(seed());
    let load = fleet.load();
    let mut kills = Vec::new();
    for _ in 0..number("FAULT_FLEET_KILLS", 8) {
        thread::sleep(Duration::from_millis(300 + dice.roll(1_500)));
        let victim = usize::try_from(dice.roll(SERVERS as u64)).expect("small");
        let at = Instant::now();
        fleet.servers[victim].kill();
        thread::sleep(Duration::from_millis(dice.roll(1_000)));
        fleet.restart(victim);
        kills.push(Kill {
            at,
            until: Instant::now(),
        });
    }
    fleet.check(load, &kills);
}

#[test]
fn server_that_dies_and_stays_dead_is_replaced_by_the_others() {
    let Some(mut fleet) = Fleet::start("fleet-dead") else {
        return;
    };
    let load = fleet.load();
    thread::sleep(Duration::from_secs(2));
    let at = Instant::now();
    fleet.servers[0].kill();
    thread::sleep(Duration::from_secs(1));
    let until = Instant::now() + DRAIN;
    fleet.check(load, &[Kill { at, until }]);
}

#[test]
fn all_servers_are_killed_at_once() {
    let Some(mut fleet) = Fleet::start("fleet-all-killed") else {
        return;
    };
    let load = fleet.load();
    let mut kills = Vec::new();
    for _ in 0..2 {
        thread::sleep(Duration::from_secs(2));
        let at = Instant::now();
        fleet.servers.iter_mut().for_each(Server::kill);
        thread::sleep(Duration::from_secs(1));
        (0..SERVERS).for_each(|number| fleet.restart(number));
        kills.push(Kill {
            at,
            until: Instant::now(),
        });
    }
    fleet.check(load, &kills);
}

#[test]
fn redis_forgets_everything_again_and_again_and_nothing_is_done_twice() {
    let Some(fleet) = Fleet::start("fleet-wiped") else {
        return;
    };
    let load = fleet.load();
    for _ in 0..number("FAULT_WIPES", 10) {
        thread::sleep(Duration::from_millis(900));
        assert!(fleet.redis.command(&["FLUSHALL"]).starts_with("+OK"));
    }
    thread::sleep(Duration::from_millis(500));
    fleet.check(load, &[]);
}

#[test]
fn events_are_accepted_without_redis_and_happen_when_it_is_back_empty() {
    let Some(mut fleet) = Fleet::start("fleet-without-redis") else {
        return;
    };
    let load = fleet.load();
    thread::sleep(Duration::from_secs(2));
    let at = Instant::now();
    fleet.redis.kill();
    // Each is accepted by a server that has no schedule.
    let url = format!("{}/e/test", fleet.balancer.base());
    let mut slowest = Duration::ZERO;
    for number in 0..50 {
        let begun = Instant::now();
        let event = serde_json::json!({"name": "fault/unheard", "data": {"n": number}});
        let answer = http::request("POST", &url, &[], Some(&event));
        assert_eq!(answer.status, 200, "{}", answer.body);
        slowest = slowest.max(begun.elapsed());
        thread::sleep(Duration::from_millis(50));
    }
    eprintln!("slowest answer without Redis: {slowest:?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let server = &fleet.servers[0];
    assert_eq!(server.get("/ready").body["status"], "degraded");
    assert_eq!(server.get("/health").status, 200);
    fleet.redis.start_again();
    let until = Instant::now();
    wait_until("the schedule to be whole", DRAIN, || {
        let health = fleet.servers[0].get("/health");
        (health.body["redis"] == "connected").then_some(())
    });
    fleet.check(load, &[Kill { at, until }]);
}

#[test]
fn redis_stands_still_and_goes_on() {
    let Some(fleet) = Fleet::start("fleet-still-redis") else {
        return;
    };
    let load = fleet.load();
    let mut pauses = Vec::new();
    for pause in [1, 4] {
        thread::sleep(Duration::from_secs(1));
        let at = Instant::now();
        fleet.redis.signal("STOP");
        thread::sleep(Duration::from_secs(pause));
        fleet.redis.signal("CONT");
        pauses.push(Kill {
            at,
            until: Instant::now(),
        });
    }
    fleet.check(load, &pauses);
}

#[test]
fn redis_that_refuses_to_write_and_forgets_scripts_costs_nothing() {
    let Some(fleet) = Fleet::start("fleet-refusing-redis") else {
        return;
    };
    let load = fleet.load();
    thread::sleep(Duration::from_secs(1));
    let at = Instant::now();
    fleet.redis.command(&["SCRIPT", "FLUSH"]);
    // Out of memory: whatever it is asked to add is refused.
    fleet.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    thread::sleep(Duration::from_secs(2));
    fleet.redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    // A replica of nobody: read-only.
    let nobody = free_port().to_string();
    fleet.redis.command(&["REPLICAOF", "127.0.0.1", &nobody]);
    thread::sleep(Duration::from_secs(2));
    fleet.redis.command(&["REPLICAOF", "NO", "ONE"]);
    fleet.redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    let until = Instant::now();
    thread::sleep(Duration::from_secs(1));
    fleet.check(load, &[Kill { at, until }]);
}

#[test]
fn postgres_is_restarted_again_and_again_and_nothing_false_is_acknowledged() {
    let Some(mut fleet) = Fleet::start("fleet-postgres") else {
        return;
    };
    let load = fleet.load();
    let mut outages = Vec::new();
    for outage in 0..3 {
        thread::sleep(Duration::from_secs(1));
        let at = Instant::now();
        fleet.postgres.stop_at_once();
        if outage == 0 {
            let event = serde_json::json!({"name": "fault/unheard", "data": {}});
            let begun = Instant::now();
            let url = format!("{}/e/test", fleet.servers[0].base());
            let answer = http::request("POST", &url, &[], Some(&event));
            eprintln!(
                "without Postgres: {} after {:?}",
                answer.status,
                begun.elapsed()
            );
            assert_eq!(answer.status, 503, "{}", answer.body);
            assert!(begun.elapsed() < Duration::from_secs(4));
            assert_eq!(fleet.servers[0].get("/health").status, 503);
            assert_eq!(fleet.servers[0].get("/live").status, 200);
        }
        thread::sleep(Duration::from_millis(700));
        fleet.postgres.start_again();
        outages.push(Kill {
            at,
            until: Instant::now(),
        });
    }
    fleet.check(load, &outages);
}

#[test]
fn servers_are_replaced_one_after_the_other_without_a_failed_request() {
    let Some(mut fleet) = Fleet::start("fleet-rolling") else {
        return;
    };
    let load = fleet.load();
    for number in 0..SERVERS {
        thread::sleep(Duration::from_secs(1));
        fleet.servers[number].signal("TERM");
        fleet.servers[number].wait();
        fleet.restart(number);
    }
    assert_eq!(load.failures(), 0, "requests that were refused or cut off");
    // Nothing was cut off: no step has an excuse for being run again.
    fleet.check(load, &[]);
}
