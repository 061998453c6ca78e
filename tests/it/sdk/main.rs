//! Scenarios over unmodified SDKs: every step kind and every rule a user can see, with npm `inngest` 4 and 3 and
//! PyPI `inngest`.
//!
//! All tests share one server and one app per SDK and differ by marker, so they run side by side. Most of their time
//! is waiting: `cargo test -p inngest-tests --test sdk -- --test-threads 12` is several times faster than the default
//! of one thread per core. Node 20, Python 3.10 and the binary at `target/debug/inngest` (or `INNGEST_BIN`) must be there.

/// Turns scenario functions into one test per SDK: `module::claim::ts4`, `…::ts3`, `…::py`.
macro_rules! scenarios {
    ($($sdks:ident: $($claim:ident)+;)+) => { $($(scenarios!(@one $sdks $claim);)+)+ };
    (@one all $claim:ident) => { scenarios!(@tests $claim ts4 Ts4, ts3 Ts3, py Py); };
    (@one js $claim:ident) => { scenarios!(@tests $claim ts4 Ts4, ts3 Ts3); };
    (@one ts4 $claim:ident) => { scenarios!(@tests $claim ts4 Ts4); };
    (@one ts3 $claim:ident) => { scenarios!(@tests $claim ts3 Ts3); };
    (@one py $claim:ident) => { scenarios!(@tests $claim py Py); };
    (@tests $claim:ident $($name:ident $sdk:ident),+) => {
        mod $claim {
            $(
                #[test]
                fn $name() {
                    super::$claim(&inngest_tests::scenario::Scenario::new(
                        inngest_tests::app::Sdk::$sdk,
                        stringify!($claim),
                    ));
                }
            )+
        }
    };
}

mod cancellation;
mod events;
mod examples;
mod flow_control;
mod functions;
mod graphql;
mod invocation;
mod limits;
mod parallel;
mod requests;
mod signing;
mod starts;
mod steps;
mod sync;
mod time;
mod v0;
