//! The conformance suite that every backend of dotmsg must pass, and the tools to break its connection on purpose.
//!
//! An adapter runs all of it from one file. It says how to reach a broker ([`Fixture`]) and calls [`conformance!`]:
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//! use dotmsg_core::backend::{Backend, Capability, History, KeyOrder, PositionStore};
//! use dotmsg_core::error::Result;
//! use dotmsg_core::log::{LogBroker, LogOptions};
//! use dotmsg_testkit::{Connection, Fixture, Purpose, conformance};
//!
//! struct Memory(Arc<dyn Backend>);
//!
//! impl Fixture for Memory {
//!     async fn start(_: Purpose) -> Self {
//!         let mut options = LogOptions::default();
//!         options.session_timeout = Duration::from_secs(2); // cases wait until a silent member is taken for dead
//!         Self(Arc::new(LogBroker::memory(options)))
//!     }
//!
//!     fn minimum(&self) -> Capability {
//!         let mut minimum = Capability::minimal();
//!         minimum.key_order = KeyOrder::Log;
//!         minimum.position = PositionStore::Record { max_bytes: 4_096 };
//!         minimum.history = History::Retained;
//!         minimum.max_record_bytes = 1 << 20; // `minimal` has no limit here, which is the most
//!         minimum
//!     }
//!
//!     async fn connect(&self) -> Result<Arc<dyn Backend>> {
//!         Ok(Arc::new(Connection::to(&self.0)))
//!     }
//! }
//!
//! conformance!(Memory);
//! # fn main() {}
//! ```
//!
//! Why a macro: each case becomes a `#[test]` of its own, `conformance::order::of_a_key`, so that the standard runner lists,
//! filters, captures and runs them side by side, and an editor can start one alone. A `harness = false` runner would have
//! to do all of that again, and bring an argument parser into every adapter's tree.
//!
//! What must stay true:
//! - A case selects itself by what the backend *declares* ([`Need`]), and before any case runs, the declaration is held
//!   against the minimum that the fixture pins: nobody drops a case by declaring less.
//! - A need is always "at least": a stronger guarantee never skips a case.
//! - What is denied is tested to be refused ([`cases`](CASES) of the theme `refusal`).
//! - A case that does not run says so on standard error, with the reason, past the capture of the test runner.
//! - No case sleeps for luck: it waits for a condition, with a deadline ([`DEADLINE`]).
//!
//! The files: `fixture`, `minimum`, `need`, `register`, `suite` are the frame; `trial` is what one case runs on; `member` and
//! `service` are the two levels on which cases speak to a backend (the contract, and whole apps on it); `calls`, `feed`,
//! `topic` say what happened; `interpose` stands between app and backend and stops the world at a named point; `cases` has a
//! file per theme; [`proxy`] is the TCP proxy.

mod calls;
mod cases;
mod feed;
mod fixture;
mod group;
mod interpose;
mod member;
mod minimum;
mod need;
mod positions;
pub mod proxy;
mod register;
mod service;
mod suite;
mod topic;
mod trial;
mod wait;

pub use dotmsg_core::backend::Connection;
pub use fixture::{Fixture, Purpose, Stays};
pub use minimum::shortfalls;
pub use need::{Guarantee, Need};
#[doc(hidden)]
pub use register::__are_themes;
pub use register::{CASES, Case};
pub use suite::Suite;
pub use wait::DEADLINE;
