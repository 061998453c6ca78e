//! What the end-to-end tests stand on: a real server process, real SDK apps, and one client for both.
//!
//! The oracle is what a user can see: the REST API, GraphQL, and the journal that each test app keeps of what its
//! functions did. Nothing here looks inside the server. Everything listens on loopback, every process ends with the
//! test process, and every wait has a deadline.
//!
//! - [`process`] starts processes that cannot outlive the tests,
//! - [`wait`] waits for a condition,
//! - [`http`] is the client,
//! - [`server`] is the server under test,
//! - [`app`] is an SDK app,
//! - [`scenario`] is one test's view of the shared server and apps.

pub mod app;
pub mod balancer;
pub mod databases;
pub mod http;
pub mod process;
pub mod proxy;
pub mod scenario;
pub mod server;
pub mod wait;
