//! The ways in: HTTP for SDKs, REST, GraphQL by POST and by websocket, health.
//!
//! Handlers find the credential, read the request, make one service call and present its answer; what an operation means is decided in
//! `inngest-services`. Every answer carries the kind of server and a request id, every error a stable code. Connections, headers, bodies,
//! sockets and operations are all bounded in number, size or time. Deliberately absent: TLS (a proxy's business), cookies, and shortcuts
//! of `dev` beyond what [`ServerSettings::dev`] says.

mod auth;
mod body;
mod error;
mod graphql;
mod health;
mod middleware;
mod origin;
mod rest;
mod router;
mod sdk;
mod serve;
mod state;
mod v0;

pub use graphql::{
    sdl,
    trusted::{BadManifest, DocumentMode, Documents},
};
pub use router::{metrics_router, probes, router};
pub use serve::{ConnectionLimits, serve, serve_with};
pub use state::ServerSettings;
