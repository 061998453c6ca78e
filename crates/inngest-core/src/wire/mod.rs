//! The SDK protocol, byte for byte, and conversions to and from domain types.
//!
//! Nothing else in this crate imports from here, so the protocol can change without touching a rule, and a rule without touching the
//! protocol. Reading is lenient (unknown members are ignored, null is absent); what we write is canonical JSON.

pub mod call;
pub mod checkpoint;
pub mod event;
pub mod finish;
pub mod headers;
pub mod introspection;
pub mod memo;
mod ops;
pub mod reply;
pub mod signature;
pub mod sync;
pub mod v0;

#[cfg(test)]
mod golden;
