//! Puts a message that was given up into the dead-letter topic, with everything that is known of its failure.
//!
//! A permanent failure, an exhausted ladder and [`Settlement::DeadLetter`](crate::delivery::Settlement::DeadLetter) end
//! here; nothing leaves this layer as an error. The record goes to the partition with the number of the source
//! partition, and the source is settled only when it is confirmed: publishing is repeated until it is.
//!
//! A record that the broker takes for too large is written *by reference* (header
//! [`BY_REFERENCE`](crate::delivery::control::BY_REFERENCE)): without its payload, then, if that does not do, without the
//! producer's headers, without its key, and without the text of the failure. The origin is always there to read it from.

mod bury;

use std::convert::Infallible;
use std::sync::Arc;

use super::on_failure::{Action, OnFailure, OnFailureLayer};
use super::{Failed, Outcome, Provenance};
use crate::backend::{BoxFuture, Publisher};
use crate::clock::Clock;
use crate::delivery::Delivery;
use crate::metrics::RouteMetrics;

/// Puts what its inner service gives up into the dead-letter topic.
pub type DeadLetter<S> = OnFailure<S, DeadLetterParts>;

/// The layer of [`DeadLetter`].
pub type DeadLetterLayer = OnFailureLayer<DeadLetterParts>;

/// Where dead letters go.
#[derive(Clone, Debug)]
pub struct DeadLetterParts {
    /// The dead-letter topic, as the broker knows it.
    pub topic: Arc<str>,
    /// What the records say about themselves.
    pub provenance: Provenance,
    /// Where they are published.
    pub publisher: Arc<dyn Publisher>,
    /// Stamps failures.
    pub clock: Arc<dyn Clock>,
    /// Counts them by kind.
    pub metrics: Arc<RouteMetrics>,
}

impl Action for DeadLetterParts {
    type Error = Infallible;

    fn act(
        self: Arc<Self>,
        delivery: Delivery,
        failed: Failed,
    ) -> BoxFuture<'static, Result<Outcome, Infallible>> {
        Box::pin(async move { Ok(bury::bury(self, delivery, failed).await) })
    }
}

#[cfg(test)]
mod tests;
