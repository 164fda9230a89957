//! Sends a message that failed to wait in a retry topic.
//!
//! The copy goes to the tier partition with the number of the source partition, never re-hashed, so that the owner of
//! the one owns the other. It carries the origin, the calls so far and the time of the first failure. Publishing is
//! repeated until it is confirmed; only the confirmed copy is named by the owner, so an extra one is void.
//!
//! The next tier is the first one longer than the one the message comes from: a ladder that was edited (5s → 10s) lets
//! records of the removed tier go on to the next longer one. Permanent failures, and transient ones after the last tier,
//! pass on; so does one whose copy the broker takes for too large, as waiting cannot make it smaller.

mod future;
mod layer;
mod send;

pub use future::ResponseFuture;
pub use layer::TiersLayer;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use super::failed::poll_ready;
use super::{Conclude, Failed, Outcome, Provenance};
use crate::backend::Publisher;
use crate::clock::Clock;
use crate::delivery::{Delivery, Role};

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

/// Sends to a tier what its inner service fails at for now.
pub struct Tiers<S> {
    inner: S,
    // `None`: no tiers.
    parts: Option<Arc<TierParts>>,
    // Why the inner service was not ready; the failure of the next delivery.
    not_ready: Option<Failed>,
}

impl<S> Tiers<S> {
    /// Around `inner`.
    #[must_use]
    pub fn new(inner: S, parts: Arc<TierParts>) -> Self {
        Self {
            inner,
            parts: (!parts.ladder.is_empty()).then_some(parts),
            not_ready: None,
        }
    }
}

impl<S: Clone> Clone for Tiers<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            parts: self.parts.clone(),
            // Readiness belongs to the one that was asked.
            not_ready: None,
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Tiers<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tiers").field(&self.inner).finish()
    }
}

impl<S> Service<Delivery> for Tiers<S>
where
    S: Service<Delivery>,
    Result<S::Response, S::Error>: Conclude,
{
    type Response = Outcome;
    type Error = Failed;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        match poll_ready(&mut self.inner, cx) {
            Poll::Ready(Err(failed)) if self.parts.is_some() => {
                self.not_ready = Some(failed);
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }

    #[inline]
    fn call(&mut self, delivery: Delivery) -> Self::Future {
        let attempt = delivery.attempt();
        let Some(parts) = &self.parts else {
            return ResponseFuture::calling(self.inner.call(delivery), attempt, None);
        };
        if let Some(mut failed) = self.not_ready.take() {
            failed.attempts = attempt.saturating_sub(1);
            return ResponseFuture::failed(failed, delivery, Arc::clone(parts));
        }
        let kept = Some((delivery.clone(), Arc::clone(parts)));
        ResponseFuture::calling(self.inner.call(delivery), attempt, kept)
    }
}

#[cfg(test)]
mod tests;
