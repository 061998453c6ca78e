//! Where apps usually are.

/// Ports of the usual web frameworks.
pub const PORTS: [u16; 27] = [
    80, 443, 3000, 3001, 3002, 3003, 3004, 3005, 3006, 3007, 3008, 3009, 3010, 4321, 5000, 5173,
    8000, 8080, 8081, 8888, 8910, 8911, 8912, 8913, 8914, 8915, 8787,
];

/// Paths under which the frameworks' adapters serve functions.
pub const PATHS: [&str; 4] = [
    "/api/inngest",
    "/x/inngest",
    "/.netlify/functions/inngest",
    "/.redwood/functions/inngest",
];
