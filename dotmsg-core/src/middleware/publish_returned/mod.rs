//! Publishes the messages that a handler returned, and settles when all of them are confirmed.
//!
//! A returned message without an id gets `<parent id>:<handler>:<index>` (the index counts from 0 in the order returned).
//! It is a function of the parent alone, so a message that is published again (after an unknown outcome, after a crash,
//! by another member) is recognisable as the same. Handler names hold no colon, so the parts can be told apart from the
//! right, whatever the parent id holds.
//!
//! All messages of a call are handed over together, so those of one partition are appended in their order. What then failed or
//! is unknown is repeated alone: once right away, then at a pace up to [`REPEATS`] times. After that the failure is transient of kind
//! `publish`: the handler runs again, and returns messages with the same ids. A failure that no repeat can mend
//! (too large, unknown topic, unsupported) is permanent.
//!
//! A message goes on in the trace of the one it was returned for: if that is traced it has a span of its own, and else the trace
//! context of its parent as it stands there, unless the handler gave it one.
//!
//! With `delivery = "exactly_once"` they go into the open transaction instead, and the delivery is settled in the same one
//! ([`Enlistment`]).

mod enlist;
mod future;
mod layer;
mod passage;
mod records;
mod runs;
mod send;
mod traced;

pub use enlist::Enlistment;
pub(crate) use enlist::{Call, Enlisted, Place};
pub use future::ResponseFuture;
pub use layer::PublishReturnedLayer;
pub(crate) use passage::{Passage, Passed};
pub use send::REPEATS;
pub(crate) use send::cannot_pass;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use self::records::Names;
use self::runs::Runs;
use super::Outcome;
use crate::backend::{PublishRecord, Publisher};
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

/// What the calls of one worker publish with.
#[derive(Debug)]
pub(crate) struct Desk {
    parts: PublishParts,
    names: Names,
    way: Way,
}

/// How returned messages leave.
#[derive(Debug)]
enum Way {
    /// Published, and confirmed one by one.
    Runs(Runs),
    /// In the transaction of the route.
    Transaction(Arc<Enlistment>),
}

impl Desk {
    fn confirming(parts: PublishParts) -> Self {
        let way = Way::Runs(Runs::new(Arc::clone(&parts.publisher)));
        let names = Names::default();
        Self { parts, names, way }
    }

    fn in_transaction(parts: PublishParts, enlistment: Arc<Enlistment>) -> Self {
        let way = Way::Transaction(enlistment);
        let names = Names::default();
        Self { parts, names, way }
    }

    /// What was returned and is complete, as records.
    fn records(&self, returned: &Returned) -> impl ExactSizeIterator<Item = PublishRecord> {
        let record = |outgoing| records::record(&self.parts, &self.names, outgoing);
        returned.outgoing.iter().map(record)
    }
}

/// Publishes what its inner service returns, then settles.
#[derive(Clone)]
pub struct PublishReturned<S> {
    inner: S,
    desk: Arc<Desk>,
}

impl<S> PublishReturned<S> {
    const fn new(inner: S, desk: Arc<Desk>) -> Self {
        Self { inner, desk }
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
        ResponseFuture::new(self.inner.call(delivery), kept, Arc::clone(&self.desk))
    }
}

#[cfg(test)]
mod tests;
