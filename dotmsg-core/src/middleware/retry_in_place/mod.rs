//! Calls the handler again, after a short pause, while its key waits.
//!
//! It also applies the classes of errors by type, and turns a settlement that is not an end into a failure: what leaves
//! it is an [`Outcome`], or [`Failed`] with the number of calls that were made. Pauses double and carry jitter seeded by
//! the record's position, so that records which failed together do not come back together.
//!
//! A partition that is being given up ends a pause, and the wait until the service is ready again, and no further call is
//! made: [`Outcome::Interrupted`].

mod future;
mod layer;

pub use future::ResponseFuture;
pub use layer::RetryInPlaceLayer;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use super::failed::poll_ready;
use super::{Conclude, Failed, Outcome};
use crate::clock::Clock;
use crate::delivery::Delivery;
use crate::handler::ErrorClasses;

/// How many calls, and the pauses between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepeatPolicy {
    /// Calls in a row, the first included; 0 counts as 1.
    pub attempts: u32,
    /// Pause before the second call; every later one is twice as long. Jitter takes up to half of a pause away.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

/// How calls are repeated.
#[derive(Clone, Debug)]
pub struct RetryParts {
    /// How many calls, and the pauses between them.
    pub policy: RepeatPolicy,
    /// Classes of errors by type.
    pub classes: ErrorClasses,
    /// Notes the first failure.
    pub clock: Arc<dyn Clock>,
    /// Seed of the jitter.
    pub jitter_seed: u64,
}

/// Calls its inner service again after a transient failure.
#[derive(Clone)]
pub struct RetryInPlace<S> {
    inner: S,
    // `None`: one call, no classes; then a call keeps neither the service nor the delivery.
    parts: Option<Arc<RetryParts>>,
}

impl<S> RetryInPlace<S> {
    /// Around `inner`.
    #[must_use]
    pub fn new(inner: S, parts: RetryParts) -> Self {
        let idle = parts.policy.attempts <= 1 && parts.classes.is_empty();
        Self {
            inner,
            parts: (!idle).then(|| Arc::new(parts)),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for RetryInPlace<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RetryInPlace").field(&self.inner).finish()
    }
}

impl<S> Service<Delivery> for RetryInPlace<S>
where
    S: Service<Delivery> + Clone,
    Result<S::Response, S::Error>: Conclude,
{
    type Response = Outcome;
    type Error = Failed;
    type Future = ResponseFuture<S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        poll_ready(&mut self.inner, cx)
    }

    #[inline]
    fn call(&mut self, delivery: Delivery) -> Self::Future {
        let attempt = delivery.attempt();
        let repeat = self.parts.as_ref().map(|parts| future::Repeat {
            // A clone: readiness belongs to the one that is called now.
            service: self.inner.clone(),
            delivery: delivery.clone(),
            parts: Arc::clone(parts),
            first_failure: None,
            delays: None,
            calls: 1,
        });
        ResponseFuture::new(self.inner.call(delivery), attempt, repeat)
    }
}

#[cfg(test)]
mod tests;
