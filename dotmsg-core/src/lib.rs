//! Contracts, runtime, middleware and reference log of dotmsg.
//!
//! Applications use the facade crate `dotmsg`; adapters depend on this one. Data flows one way: source → lanes → handler
//! → settlement → progress. State machines decide and hold no clock, no randomness and no IO.

/// Shared byte slices: keys, payloads, header values.
pub use bytes::Bytes;

pub mod app;
pub mod backend;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod error;
pub mod handler;
pub mod lag;
pub mod log;
pub mod message;
pub mod metrics;
pub mod middleware;
pub mod progress;
pub mod publisher;
pub mod replay;
pub mod reset;
pub mod router;
pub mod runtime;
#[cfg(test)]
mod seen;
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(feature = "testing")]
pub mod testing;
pub mod trace;
