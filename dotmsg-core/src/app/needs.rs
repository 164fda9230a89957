//! Whether the routes are what their handlers' arguments need.

use crate::error::{Error, ErrorKind, Result};
use crate::handler::Needs;
use crate::router::{DeliverySemantics, RouteSpec};

/// Refuses routes whose handlers would get round what their configuration promises; `needs` are in the order of the routes.
pub(super) fn check(needs: impl Iterator<Item = Needs>, routes: &[RouteSpec]) -> Result<()> {
    let refused: Vec<&str> = routes
        .iter()
        .zip(needs)
        .filter(|(route, needs)| {
            needs.publisher && route.delivery == DeliverySemantics::ExactlyOnce
        })
        .map(|(route, _)| &*route.handler)
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Config,
        "start app",
        "an argument `Publisher` publishes at once, outside of the transaction of delivery = \"exactly_once\": what is aborted would stay published",
    )
    .with("route", refused.join(", "))
    .with("extractor", "Publisher")
    .remedy("Return the messages from the handler instead, or set delivery = \"at_least_once\""))
}
