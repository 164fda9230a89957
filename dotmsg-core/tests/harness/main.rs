//! Whole apps on the memory broker in virtual time: what an application may rely on, as its author would test it.
//!
//! One file per promise. Handlers here are closures over the whole delivery, so that each test says itself what the
//! handler does; the extractors have tests of their own.

mod bad_input;
mod crashes;
mod exchange;
mod flaky;
mod ladder;
mod lag;
mod lifecycle;
mod order;
mod partitioner;
mod random;
mod replay;
mod reset;
mod sharing;

use dotmsg_core::app::{App, NoAdapters};
use dotmsg_core::config::{Config, RouteDefaults};
use dotmsg_core::handler::{Handler, HandlerError};

/// What the handlers here return.
type Handled = Result<(), HandlerError>;

/// Handler `bill` on topic `orders` in group `billing`.
fn bill() -> RouteDefaults {
    RouteDefaults::new("bill")
        .with("topic", "orders")
        .with("group", "billing")
}

/// An app of one handler, without state.
fn app<T: 'static>(route: RouteDefaults, handler: impl Handler<T, ()>) -> App {
    App::<(), NoAdapters>::with_config(Config::new()).route(route, handler)
}

fn transient(text: &'static str) -> HandlerError {
    HandlerError::transient(std::io::Error::other(text))
}

fn permanent(text: &'static str) -> HandlerError {
    HandlerError::permanent(std::io::Error::other(text))
}
