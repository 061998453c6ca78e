//! The connections: how many, how they are set up, and how busy they are.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use sea_orm::{ConnectOptions, DatabaseConnection, DbBackend, sqlx::Connection as _};

/// How long somebody waits for a connection to Postgres. Short, so that two such waits one after the other (a commit that waits for the
/// one before it) still end within the 2 s after which a caller shall know that nothing was stored.
const ACQUIRE: Duration = Duration::from_millis(900);

// Two waits one after the other, and a little for the rest.
const _: () = assert!(ACQUIRE.as_millis() * 2 + 200 <= 2_000);

/// How long a statement waits for a lock. Longer than any transaction of ours takes, shorter than a lease.
const LOCK: Duration = Duration::from_secs(10);

/// How long a transaction may do nothing. A process that was stopped in the middle of one holds locks on runs, which others take over as
/// soon as its leases are lost; then its transaction must be gone.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);

/// After how long without use a connection is asked for a sign of life before it is used.
const TRUSTED: Duration = Duration::from_secs(1);

/// How a pool has been used. For metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUse {
    /// Connections that are open.
    pub open: u32,
    /// Of these, those that nobody uses.
    pub idle: u32,
    /// Most that may be open.
    pub max: u32,
    /// How often somebody asked when all of them were in use, and had to wait.
    pub waits: u64,
}

/// How the connections have been used. For metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolStats {
    /// Connections for commits, hand-overs and housekeeping.
    pub writer: PoolUse,
    /// Connections for everything else.
    pub reader: PoolUse,
}

/// How often somebody had to wait for a connection.
#[derive(Debug, Default)]
pub(crate) struct Waits(AtomicU64);

impl Waits {
    /// Counts a wait, if there is going to be one.
    pub(crate) fn ask(&self, conn: &DatabaseConnection) {
        let pool = self.look(conn);
        if pool.idle == 0 && pool.open >= pool.max {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn look(&self, conn: &DatabaseConnection) -> PoolUse {
        let (open, idle, max) = match conn.get_database_backend() {
            DbBackend::Postgres => {
                let pool = conn.get_postgres_connection_pool();
                let max = pool.options().get_max_connections();
                (pool.size(), pool.num_idle(), max)
            }
            _ => {
                let pool = conn.get_sqlite_connection_pool();
                let max = pool.options().get_max_connections();
                (pool.size(), pool.num_idle(), max)
            }
        };
        PoolUse {
            open,
            idle: u32::try_from(idle).unwrap_or(u32::MAX),
            max,
            waits: self.0.load(Ordering::Relaxed),
        }
    }
}

/// What a pool is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Everything that people and services ask for.
    Reading,
    /// Statements that find a bounded number of rows by their keys. They do so by index, whatever the statistics say: plans are kept, and one
    /// that was made while a table was empty would read all of it for as long as nobody has analyzed it.
    ByKey,
}

/// A pool of at most `connections`, whose statements run for at most `timeout`.
pub(crate) fn postgres(
    url: &str,
    connections: u32,
    timeout: Duration,
    purpose: Use,
) -> ConnectOptions {
    let mut options = session(url, timeout, timeout.min(LOCK), purpose);
    options
        .max_connections(connections)
        .acquire_timeout(timeout.min(ACQUIRE))
        .map_sqlx_postgres_pool_opts(|options| {
            options.before_acquire(|conn, meta| {
                Box::pin(async move {
                    // After a restart of the server all connections are dead; they are replaced here and not by failing.
                    if meta.idle_for >= TRUSTED {
                        conn.ping().await?;
                    }
                    Ok(true)
                })
            })
        });
    options
}

/// One connection on which a statement may take as long as it needs, but waits for locks no longer than `lock`: what waits for a lock on a
/// table holds up everybody who comes after it.
pub(crate) fn postgres_patient(url: &str, timeout: Duration, lock: Duration) -> ConnectOptions {
    let mut options = session(url, Duration::ZERO, lock, Use::Reading);
    options.max_connections(1).acquire_timeout(timeout);
    options
}

fn session(url: &str, statement: Duration, lock: Duration, purpose: Use) -> ConnectOptions {
    let mut options = ConnectOptions::new(url.to_owned());
    options
        .min_connections(1)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .map_sqlx_postgres_opts(move |options| {
            let ms = |limit: Duration| format!("{}ms", limit.as_millis());
            let options = match purpose {
                Use::Reading => options,
                Use::ByKey => options.options([
                    ("enable_seqscan", "off"),
                    ("enable_hashjoin", "off"),
                    ("enable_mergejoin", "off"),
                ]),
            };
            options
                .application_name("inngest")
                .options([
                    ("statement_timeout", ms(statement)),
                    ("lock_timeout", ms(lock)),
                    (
                        "idle_in_transaction_session_timeout",
                        ms(IDLE_IN_TRANSACTION),
                    ),
                ])
                .statement_cache_capacity(256)
        });
    options
}
