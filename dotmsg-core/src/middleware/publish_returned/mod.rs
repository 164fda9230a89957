//! Publishes the messages that a handler returned, and settles when all of them are confirmed.
//!
//! A returned message without an id gets `<parent id>:<handler>:<index>` (the index counts from 0 in the order returned).
//! It is a function of the parent alone, so a message that is published again (after an unknown outcome, after a crash,
//! by another member) is recognisable as the same. Handler names hold no colon, so the parts can be told apart from the
//! right, whatever the parent id holds.
//!
//! All messages are handed over in one call, so those of one partition are appended in their order. What then failed or
//! is unknown is repeated alone, at a pace, up to [`REPEATS`] times. After that the failure is transient of kind
//! `publish`: the handler runs again, and returns messages with the same ids. A failure that no repeat can mend
//! (too large, unknown topic, unsupported) is permanent.

mod future;
mod layer;
mod send;

pub use future::ResponseFuture;
pub use layer::PublishReturnedLayer;
pub use send::REPEATS;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use super::Outcome;
use crate::backend::Publisher;
use crate::clock::Clock;
use crate::delivery::Delivery;
use crate::handler::{HandlerError, Returned};

/// How returned messages are published.
#[derive(Clone, Debug)]
pub struct PublishParts {
    /// Where to.
    pub publisher: Arc<dyn Publisher>,
    /// Stamps messages whose timestamp is zero.
    pub clock: Arc<dyn Clock>,
    /// What stands before every topic name on this backend; may be empty.
    pub topic_prefix: String,
    /// The handler's name, a part of the derived ids.
    pub handler: Arc<str>,
}

/// Publishes what its inner service returns, then settles.
#[derive(Clone)]
pub struct PublishReturned<S> {
    inner: S,
    parts: Arc<PublishParts>,
}

impl<S> PublishReturned<S> {
    /// Around `inner`.
    pub const fn new(inner: S, parts: Arc<PublishParts>) -> Self {
        Self { inner, parts }
    }
}

impl<S: fmt::Debug> fmt::Debug for PublishReturned<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublishReturned").field(&self.inner).finish()
    }
}

impl<S> Service<Delivery> for PublishReturned<S>
where
    S: Service<Delivery, Response = Returned, Error = HandlerError>,
{
    type Response = Outcome;
    type Error = HandlerError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, delivery: Delivery) -> Self::Future {
        let kept = delivery.clone();
        ResponseFuture::new(self.inner.call(delivery), kept, Arc::clone(&self.parts))
    }
}

#[cfg(test)]
mod tests;
