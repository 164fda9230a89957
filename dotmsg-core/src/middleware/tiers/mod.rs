//! Sends a message that failed to wait in a retry topic.
//!
//! The copy goes to the tier partition with the number of the source partition, never re-hashed, so that the owner of
//! the one owns the other. It carries the origin, the calls so far and the time of the first failure. Publishing is
//! repeated until it is confirmed; only the confirmed copy is named by the owner, so an extra one is void.
//!
//! The next tier is the first one longer than the one the message comes from: a ladder that was edited (5s → 10s) lets
//! records of the removed tier go on to the next longer one. Permanent failures, and transient ones after the last tier,
//! pass on; so does one whose copy the broker takes for too large, as waiting cannot make it smaller.

mod send;

use std::sync::Arc;
use std::time::Duration;

use super::on_failure::{Action, OnFailure, OnFailureLayer};
use super::{Failed, Outcome, Provenance};
use crate::backend::{BoxFuture, Publisher};
use crate::clock::Clock;
use crate::delivery::{Delivery, Role};

/// Sends to a tier what its inner service fails at for now.
pub type Tiers<S> = OnFailure<S, TierParts>;

/// The layer of [`Tiers`].
pub type TiersLayer = OnFailureLayer<TierParts>;

/// Where failed messages wait.
#[derive(Clone, Debug)]
pub struct TierParts {
    /// Delays, strictly ascending, and the topic of each; empty: no tiers.
    pub ladder: Vec<(Duration, Arc<str>)>,
    /// What the records say about themselves.
    pub provenance: Provenance,
    /// Where they are published.
    pub publisher: Arc<dyn Publisher>,
    /// Stamps the first failure.
    pub clock: Arc<dyn Clock>,
}

impl TierParts {
    /// The tier after the one that `delivery` comes from.
    fn next(&self, delivery: &Delivery) -> Option<&(Duration, Arc<str>)> {
        match delivery.stream().role {
            Role::Source | Role::Replay => self.ladder.first(),
            Role::Tier { delay } => self.ladder.iter().find(|(longer, _)| *longer > delay),
        }
    }
}

impl Action for TierParts {
    type Error = Failed;

    fn act(
        self: Arc<Self>,
        delivery: Delivery,
        failed: Failed,
    ) -> BoxFuture<'static, Result<Outcome, Failed>> {
        Box::pin(send::send(self, delivery, failed))
    }
}

#[cfg(test)]
mod tests;
