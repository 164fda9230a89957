//! The test harness: your app, unchanged, on memory brokers under virtual time.
//!
//! [`TestApp::start`] takes the app that `main` would run and replaces its backends by memory brokers of the same names
//! and its clock by tokio's, which is paused: a ladder of hours passes in milliseconds, and nothing a test sees depends
//! on how fast the machine is. Publish, let it run until it is idle, move the time on, look at what happened.
//!
//! ```
//! use std::time::Duration;
//! use dotmsg_core::app::{App, NoAdapters};
//! use dotmsg_core::config::{Config, RouteDefaults};
//! use dotmsg_core::handler::{HandlerError, Json};
//! use dotmsg_core::testing::{self, Became, TestApp};
//!
//! async fn bill(Json(cents): Json<u32>) -> Result<(), HandlerError> {
//!     if cents == 0 {
//!         return Err(HandlerError::transient(std::io::Error::other("no rate yet")));
//!     }
//!     Ok(())
//! }
//!
//! testing::run(async {
//!     let route = RouteDefaults::new("bill")
//!         .with("topic", "orders")
//!         .with("group", "billing")
//!         .with("retry.tiers", ["5s"]);
//!     let app = App::<(), NoAdapters>::with_config(Config::new()).route(route, bill);
//!     let mut test = TestApp::start(app).await;
//!     test.publish("orders", &0).key("customer-1").id("order-1").await;
//!     test.run_until_idle().await;
//!     test.assert_became("bill", "order-1", &[Became::Away(Duration::from_secs(5))]);
//!     test.advance(Duration::from_secs(5)).await;
//!     assert_eq!(test.calls("bill"), 2);
//!     assert_eq!(test.dead_letters("bill")[0].reason, "no rate yet");
//!     test.shutdown().await;
//! });
//! ```
//!
//! - `test_app`: the app under test; `publishing`: what it is fed; `asserts`: what fails a test, and says what did happen;
//! - `brokers`: the memory brokers, which outlive apps, so that a test can restart one or crash it;
//! - `journal`: every call and every outcome, in order;
//! - `time`: virtual time.

mod asserts;
mod brokers;
mod journal;
mod publishing;
mod test_app;
mod time;

pub use brokers::TestBrokers;
#[cfg(feature = "sim")]
pub(crate) use brokers::read_all;
pub use journal::{Became, Entry, What};
pub use publishing::Publishing;
pub use test_app::TestApp;
pub use time::run;
#[cfg(feature = "sim")]
pub(crate) use time::{START, now};
