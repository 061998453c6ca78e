//! Several processes on one database, all in this one.

use inngest_core::{access::Actor, wire::event::parse_events};
use inngest_state::{Place, Store, StoreSettings, Writers};
use serde_json::Value;

use crate::Services;

use super::{Fixture, MOST_JOBS};

impl Fixture {
    /// Sends one event to this process.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn send_by(&self, services: &Services, event: Value) {
        let body = event.to_string();
        let events = parse_events(body.as_bytes(), None, None, self.now(), &self.ids)
            .expect("tests send events that are well-formed");
        let taken = services.events().ingest(&Actor::dev(), events).await;
        taken.expect("events are taken");
    }

    /// Another process on the same database, with a schedule, caches and connections of its own. `None` where the database is a file,
    /// which one process has for itself.
    pub async fn another_process(&self) -> Option<Services> {
        let Place::Postgres(_) = self.place else {
            return None;
        };
        let settings = StoreSettings {
            readers: 2,
            writers: Writers::Several,
            ..StoreSettings::at(self.place.clone())
        };
        let store = Store::open(&settings, self.programs.matcher(), &self.tracker).await;
        let parts = self.parts(store.expect("a database can be opened once more"));
        let services = Services::start(parts).await;
        Some(services.expect("services start on a database that others use"))
    }

    /// Lets all processes carry out whatever is due, each as if it were alone: all of them read the table and all of them try
    /// everything at once. Returns the number of jobs.
    ///
    /// # Panics
    /// When it does not come to an end.
    pub async fn settle_together(&self, processes: &[Services]) -> usize {
        let mut jobs = 0;
        loop {
            let mut leased = Vec::new();
            for services in processes {
                self.refill(services).await;
                for lease in self.look(services, 1_000).await {
                    leased.push(self.carry_out(services.clone(), lease));
                }
            }
            if leased.is_empty() {
                return jobs;
            }
            jobs += futures_util::future::join_all(leased).await.len();
            for services in processes {
                let looked = services.0.look_twice_once().await;
                looked.expect("the database answers");
            }
            assert!(jobs < MOST_JOBS, "the jobs do not come to an end: {jobs}");
        }
    }
}
