//! Sheds messages of a stream of low value before they cost anything: all but a fraction, and those that are too old.
//!
//! - *A fraction* is kept by the id of the message, so that every delivery of it, at any time and in any process, is decided the
//!   same: what is kept once is kept again after a crash, and two members agree. Copies with one id are kept or shed together.
//! - *Too old* is what its producer made longer ago than that when its turn comes: after an outage the newest messages are worth
//!   something, and the rest would only keep them waiting.
//!
//! A shed message is settled without a call. Only what comes from the source is shed: a retry or a replay was chosen before. Beginning to
//! shed by age is told in the log, once and not for each message.
//!
//! What must stay true: it stands outside of everything, and a message costs a hash of its id, or a look at the clock, and nothing
//! else. The hash is of our own and part of what is promised: another one would choose other messages while members of two versions
//! share a group.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use dotmsg_core::clock::{Clock as _, SystemClock};
//! use dotmsg_core::delivery::Delivery;
//! use dotmsg_core::middleware::shed::{ShedLayer, ShedParts, Shedding};
//! use dotmsg_core::middleware::{Ended, Outcome};
//! use tower::{Layer, ServiceExt};
//! # use dotmsg_core::{delivery::{Role, Stream}, message::Message};
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! # let stream = Arc::new(Stream::new("clicks".into(), 0, 1, Role::Source));
//! # let old = SystemClock.now().0 - 3_600_000;
//! # let message = Message::new("x").with_timestamp(dotmsg_core::clock::Timestamp(old));
//! # let an_hour_old = Delivery::new(stream, 0, SystemClock.now(), message);
//!
//! let count = tower::service_fn(|_: Delivery| async {
//!     Ok::<_, std::convert::Infallible>(Outcome::Settled(Ended::Handled))
//! });
//! let shedding = Shedding::new(ShedParts {
//!     handler: "count".into(),
//!     keep_ppm: 100_000, // a tenth
//!     older_than: Some(Duration::from_secs(300)),
//!     clock: Arc::new(SystemClock),
//! });
//! let service = ShedLayer::new(Some(Arc::new(shedding))).layer(count);
//! assert_eq!(service.oneshot(an_hour_old).await?, Outcome::Settled(Ended::Shed));
//! # Ok::<_, std::convert::Infallible>(()) }).unwrap();
//! ```

mod future;
mod layer;
mod shedding;
#[cfg(test)]
mod tests;

pub use future::ResponseFuture;
pub use layer::ShedLayer;
pub use shedding::{ShedParts, Shedding};

use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use super::Outcome;
use crate::delivery::Delivery;

/// Settles what is to be shed without a call of its inner service.
#[derive(Clone, Debug)]
pub struct Shed<S> {
    inner: S,
    shedding: Option<Arc<Shedding>>,
}

impl<S> Shed<S> {
    const fn new(inner: S, shedding: Option<Arc<Shedding>>) -> Self {
        Self { inner, shedding }
    }
}

impl<S> Service<Delivery> for Shed<S>
where
    S: Service<Delivery, Response = Outcome>,
{
    type Response = Outcome;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, delivery: Delivery) -> Self::Future {
        match &self.shedding {
            Some(shedding) if shedding.sheds(&delivery) => ResponseFuture::shed(),
            _ => ResponseFuture::calling(self.inner.call(delivery)),
        }
    }
}
