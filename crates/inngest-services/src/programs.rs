//! Compiled expressions by their text, because parsing is the dear part of evaluating.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use inngest_core::{
    event::Event,
    expr::Program,
    wait::{self, Wait},
};
use inngest_state::Matcher;

/// Most programs kept; beyond it all are forgotten and compiled again as needed.
const CAPACITY: usize = 4_096;

/// A bounded cache of compiled expressions. Clones share it.
#[derive(Clone, Default)]
pub struct Programs(Arc<Mutex<HashMap<String, Option<Program>>>>);

impl Programs {
    /// The program of a text; none when it does not compile.
    pub fn get(&self, text: &str) -> Option<Program> {
        if let Some(known) = self.lock().get(text) {
            return known.clone();
        }
        let program = Program::parse(text).ok();
        let mut programs = self.lock();
        if programs.len() >= CAPACITY {
            programs.clear();
        }
        programs.insert(text.to_owned(), program.clone());
        program
    }

    /// The judgement that the store needs when events meet waits.
    pub fn matcher(&self) -> Matcher {
        let programs = self.clone();
        Arc::new(
            move |wait: &Wait, event: &Event, body: &serde_json::Value| {
                let program = wait
                    .expression
                    .as_deref()
                    .and_then(|text| programs.get(text));
                wait::is_satisfied(wait, program.as_ref(), event, body, event.received_at)
            },
        )
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Option<Program>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
