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
mod future;
mod layer;

pub use future::ResponseFuture;
pub use layer::DeadLetterLayer;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use super::failed::poll_ready;
use super::{Conclude, Failed, Outcome, Provenance};
use crate::backend::Publisher;
use crate::clock::Clock;
use crate::delivery::Delivery;

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
}

/// Puts what its inner service gives up into the dead-letter topic.
pub struct DeadLetter<S> {
    inner: S,
    parts: Arc<DeadLetterParts>,
    // Why the inner service was not ready; the failure of the next delivery.
    not_ready: Option<Failed>,
}

impl<S> DeadLetter<S> {
    /// Around `inner`.
    pub const fn new(inner: S, parts: Arc<DeadLetterParts>) -> Self {
        Self {
            inner,
            parts,
            not_ready: None,
        }
    }
}

impl<S: Clone> Clone for DeadLetter<S> {
    fn clone(&self) -> Self {
        // Readiness belongs to the one that was asked.
        Self::new(self.inner.clone(), Arc::clone(&self.parts))
    }
}

impl<S: fmt::Debug> fmt::Debug for DeadLetter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeadLetter").field(&self.inner).finish()
    }
}

impl<S> Service<Delivery> for DeadLetter<S>
where
    S: Service<Delivery>,
    Result<S::Response, S::Error>: Conclude,
{
    type Response = Outcome;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        poll_ready(&mut self.inner, cx).map(|ready| {
            self.not_ready = ready.err();
            Ok(())
        })
    }

    #[inline]
    fn call(&mut self, delivery: Delivery) -> Self::Future {
        let attempt = delivery.attempt();
        let parts = Arc::clone(&self.parts);
        if let Some(mut failed) = self.not_ready.take() {
            failed.attempts = attempt.saturating_sub(1);
            return ResponseFuture::failed(failed, delivery, parts);
        }
        let kept = delivery.clone();
        ResponseFuture::calling(self.inner.call(delivery), attempt, kept, parts)
    }
}

#[cfg(test)]
mod tests;
