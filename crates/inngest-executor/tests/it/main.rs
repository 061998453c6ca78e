//! Calls against small real servers on this machine.

mod app;
mod calls;
mod fetches;
mod syncs;
