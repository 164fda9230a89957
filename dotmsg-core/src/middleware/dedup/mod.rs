//! Duplicates: a message whose id was handled before is settled without a call.
//!
//! Producers send a message twice when they miss the answer, and applications that restart publish again. Who gives such
//! messages an id (`dotmsg-id`) has them handled once, as long as the first is remembered.
//!
//! - Only a *success* is remembered: the handler succeeded and what it returned is confirmed. So this layer stands outside of
//!   everything that publishes and settles.
//! - A message whose id is being handled waits for that: it is a duplicate if it succeeds, and runs itself if not.
//! - Whatever else a message comes to (a tier, a dead letter, a discard, an interruption, a drop) gives the id up. A dead letter
//!   that is replayed was not handled, and runs.
//! - What a message returned into a transaction ([`Ended::Returned`]) is not remembered either: the transaction may be aborted,
//!   and the message that is handled again must not be taken for a duplicate then.
//!
//! The stack of a route does the same without this layer, where it makes the first call (`router/stack/claimed.rs`).
//!
//! What it is not: [`MemoryStore`] forgets with the process, and when a partition moves to another one; effects exactly once
//! take a store that commits with the effect.
//!
//! **Batches.** Nothing may wait between the call of a delivery and that of its batch. A duplicate that waits does not join
//! afterwards: it is put back ([`Outcome::PutBack`]). And nothing joins in its place: the batch that it was meant for is closed, so
//! that those behind it in its key wait in their lane until it has ended. Without that they would be handled before it when the first
//! one fails for good.
//!
//! What must stay true: a claim is given up *after* the call that it is for has been dropped, and in every way that a future can
//! end; a message that is no duplicate costs two short locks and no allocation.
//!
//! ```
//! use std::sync::Arc;
//! use dotmsg_core::delivery::Delivery;
//! use dotmsg_core::middleware::dedup::{DedupLayer, DedupLimits, MemoryStore};
//! use dotmsg_core::middleware::{Ended, Outcome};
//! use tower::{Layer, Service, ServiceExt};
//! # use dotmsg_core::{clock::Timestamp, delivery::{Role, Stream}, message::Message};
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! # let stream = Arc::new(Stream::new("orders".into(), 0, 1, Role::Source));
//! # let delivery = |offset| Delivery::new(Arc::clone(&stream), offset, Timestamp(0), Message::new("x").with_id("order-7"));
//!
//! let handle = tower::service_fn(|_: Delivery| async {
//!     Ok::<_, std::convert::Infallible>(Outcome::Settled(Ended::Handled))
//! });
//! let store = Arc::new(MemoryStore::new(DedupLimits::default()));
//! let mut service = DedupLayer::new(Some(store)).layer(handle);
//! // Two records with one id.
//! assert_eq!(service.ready().await?.call(delivery(0)).await?, Outcome::Settled(Ended::Handled));
//! assert_eq!(service.ready().await?.call(delivery(1)).await?, Outcome::Settled(Ended::Duplicate));
//! # Ok::<_, std::convert::Infallible>(()) }).unwrap();
//! ```

mod future;
mod layer;
mod memory;
mod store;
#[cfg(test)]
mod tests;
pub(crate) mod waiting;

pub(crate) use future::Held;
pub use future::ResponseFuture;
pub use layer::DedupLayer;
pub use memory::{DedupLimits, MemoryStore};
pub use store::{Claim, DedupStore, Reply};

use std::borrow::Cow;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use super::identity::{self, Identity, Origin};
use super::{Ended, Outcome};
use crate::backend::BoxFuture;
use crate::delivery::Delivery;

pub(crate) const DUPLICATE: Outcome = Outcome::Settled(Ended::Duplicate);

/// What tells a message from another, for stores outside of the process: its id, or its position and the producer's timestamp
/// (`orders/3/41@1790000000000`) if it has none.
#[must_use]
pub fn identity(delivery: &Delivery) -> Cow<'_, [u8]> {
    match identity::of(delivery) {
        Identity::Id(id) => Cow::Borrowed(id),
        Identity::Origin(Origin { position, made_at }) => {
            Cow::Owned(format!("{position}@{made_at}").into_bytes())
        }
    }
}

/// Settles duplicates without a call of its inner service.
#[derive(Debug)]
pub struct Dedup<S, D: ?Sized = MemoryStore> {
    inner: S,
    store: Option<Arc<D>>,
    /// What is inside forms batches: what has waited is put back.
    batches: bool,
}

impl<S, D: ?Sized> Dedup<S, D> {
    fn new(inner: S, store: Option<Arc<D>>, batches: bool) -> Self {
        Self {
            inner,
            store,
            batches,
        }
    }
}

impl<S: Clone, D: ?Sized> Clone for Dedup<S, D> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.store.clone(), self.batches)
    }
}

impl<S, D> Service<Delivery> for Dedup<S, D>
where
    S: Service<Delivery, Response = Outcome> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    D: DedupStore + ?Sized,
{
    type Response = Outcome;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, S::Error, D>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, delivery: Delivery) -> Self::Future {
        let Some(store) = &self.store else {
            return ResponseFuture::calling(self.inner.call(delivery), None);
        };
        match store.claim(&delivery) {
            Reply::Now(Claim::Granted(token)) => {
                let held = Held::new(Arc::clone(store), delivery.clone(), token);
                ResponseFuture::calling(self.inner.call(delivery), Some(held))
            }
            Reply::Now(Claim::Handled) => ResponseFuture::ended(DUPLICATE),
            reply => ResponseFuture::waiting(self.wait(Arc::clone(store), delivery, reply)),
        }
    }
}

impl<S, D> Dedup<S, D>
where
    S: Service<Delivery, Response = Outcome> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    D: DedupStore + ?Sized,
{
    /// For a claim that has no answer yet. The readiness of the inner service may hold something, which is not to be held while
    /// this delivery waits, nor for one that may never come: it goes, and a clone has none.
    #[cold]
    fn wait(
        &mut self,
        store: Arc<D>,
        delivery: Delivery,
        reply: Reply<Claim>,
    ) -> BoxFuture<'static, Result<Outcome, S::Error>> {
        self.inner = self.inner.clone();
        match self.batches {
            true => waiting::put_back(store, delivery, reply),
            false => waiting::run(store, delivery, reply, self.inner.clone()),
        }
    }
}
