//! Keeping apps in sync with their code: `dev` finds apps on this machine and asks them again and again which functions they hold.
//!
//! What a sync is and does is the business of `services`; here is only when to ask whom, and what to tell the person at the
//! terminal: one line for each change of an app's state, none for a round in which nothing changed. `start` uses the same loop
//! without the search, for the apps that its settings name.

pub mod defaults;

mod discovery;
mod notice;

pub use discovery::{Scan, WatchSettings, watch_apps};
