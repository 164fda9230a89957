//! Batches: deliveries that arrive one by one are handed to a service of calls together.
//!
//! Inward it is a service of [`Call`]s, outward one of single deliveries. So whatever stands around it (attempts, tiers,
//! dead letters, returned messages) sees each message alone and knows nothing of batches.
//!
//! A batch is called when it is full or when its first message has waited for `linger`; and not before one of `concurrency`
//! calls is free and the inner service ready, until when it takes more. It is polled by one of its members, the first that
//! is left. A member that is in no call when its partition is given up is put back at once. When a member is dropped while
//! its call runs, the call is dropped: its partition is no longer ours, and a call cannot be dropped in part. The other
//! members are put back.
//!
//! **A call that fails as a whole** is made again in halves, so that one bad message does not fail the others; the halves
//! of a batch are called one after the other. A message that failed is called alone from then on: in place, and when it comes
//! from a tier.
//!
//! **Order.** The members of one key are in the order in which they joined. When one of them fails and is to be tried
//! again, those behind it are put back, whatever was answered for them: they run again after it. What they return is
//! published one after the other (`sending`).
//!
//! What must stay true: nothing outside of this layer waits between the call of a delivery and the call of this service,
//! since messages of one key that overtook each other before they joined would be in a batch in the wrong order. Who has to wait
//! there closes the batch that was made for it and is put back afterwards, as [`dedup`](super::dedup) does.

mod bisection;
mod drive;
mod gathering;
mod layer;
mod member;
mod sending;
#[cfg(test)]
mod tests;

pub(crate) use gathering::Gathering;
pub use layer::BatchLayer;
pub use member::ResponseFuture;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Semaphore;
use tower_service::Service;

use crate::delivery::Delivery;
use crate::handler::{Answer, Call, ErrorClasses, HandlerError, Returned};

/// Closes the batch that was made for a delivery, which is not going to join it: nothing that comes after it may join in its place.
pub(crate) fn close_for(delivery: &Delivery) {
    if let Some(gathering) = gathering_for(delivery) {
        gathering.close_to_others();
    }
}

fn gathering_for(delivery: &Delivery) -> Option<Arc<Gathering>> {
    delivery.companion()?.downcast().ok()
}

/// Which messages are in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchOrder {
    /// Those of one key.
    Key,
    /// Those of one partition.
    Partition,
    /// None.
    None,
}

/// How batches are formed.
#[derive(Clone, Debug)]
pub struct BatchParts {
    /// Messages in a batch at most, at least 1.
    pub size: usize,
    /// How long the first message of a batch waits for more.
    pub linger: Duration,
    /// Calls at once, at least 1.
    pub concurrency: usize,
    /// Which messages are in order.
    pub order: BatchOrder,
    /// Whether what is behind a failed one waits for it.
    pub keep: bool,
    /// Classes of errors by type: one that is permanent holds up nobody.
    pub classes: ErrorClasses,
}

/// What all clones of a service share.
struct Shared {
    parts: BatchParts,
    calls: Semaphore,
    /// Where deliveries gather for which nobody made a batch.
    open: Mutex<Option<Arc<Gathering>>>,
}

/// Hands deliveries to its inner service in batches.
pub struct Batcher<C> {
    inner: C,
    shared: Arc<Shared>,
}

impl<C> Batcher<C> {
    fn new(inner: C, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<C: Clone> Clone for Batcher<C> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.shared))
    }
}

impl<C: fmt::Debug> fmt::Debug for Batcher<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher")
            .field("inner", &self.inner)
            .field("parts", &self.shared.parts)
            .finish_non_exhaustive()
    }
}

impl<C> Service<Delivery> for Batcher<C>
where
    C: Service<Call, Response = Answer, Error = HandlerError> + Clone + Send + 'static,
    C::Future: Send,
{
    type Response = Returned;
    type Error = HandlerError;
    type Future = ResponseFuture;

    /// Always: the inner service is asked when a batch is about to be called.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, delivery: Delivery) -> ResponseFuture {
        let drive =
            |gathering| drive::drive(gathering, self.inner.clone(), Arc::clone(&self.shared));
        let gathering = match delivery.attempt() {
            1 => self.gathering_of(&delivery),
            _ => {
                self.repeats(&delivery);
                Arc::new(Gathering::new(1))
            }
        };
        match gathering.join(delivery, drive) {
            Ok(joined) => joined,
            Err(late) => match Arc::new(Gathering::new(1)).join(late, drive) {
                Ok(joined) => joined,
                Err(_) => unreachable!("a new gathering takes one"),
            },
        }
    }
}

impl<C> Batcher<C> {
    /// The batch that was made for a delivery, or the one for those that none was made for.
    fn gathering_of(&self, delivery: &Delivery) -> Arc<Gathering> {
        gathering_for(delivery).unwrap_or_else(|| self.shared_gathering())
    }

    /// A call that ended well may be repeated too, when what it returned could not be published.
    fn repeats(&self, delivery: &Delivery) {
        if let Some(gathering) = delivery.companion_ref::<Gathering>() {
            gathering.ended(delivery, !self.shared.parts.keep);
        }
    }

    fn shared_gathering(&self) -> Arc<Gathering> {
        let mut open = self
            .shared
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &*open {
            Some(gathering) if gathering.is_open() => Arc::clone(gathering),
            _ => Arc::clone(open.insert(Arc::new(Gathering::new(self.shared.parts.size)))),
        }
    }
}
