//! Middleware: tower layers around a service of deliveries, one folder each, usable alone.
//!
//! The router's `stack` fixes their order, outermost first:
//!
//! | Layer | Why there |
//! |---|---|
//! | [`shed`] | what it drops is to cost nothing |
//! | [`dedup`] | outside of all that publishes and settles: a message counts as handled only when what it returned is confirmed |
//! | [`trace`] | all that happens is in its span |
//! | [`dead_letter`], [`tiers`] | they end a delivery elsewhere, so they sit outside of all that repeats or bounds a call: a message is never in a tier while an attempt of it still runs. Both are one service, [`on_failure`], with two actions |
//! | [`limits`] | what is too large or not ours is not even tried |
//! | [`retry_in_place`] | a repeat passes everything inside of it again |
//! | [`publish_returned`] | a failed publish is a failed attempt |
//! | [`spans`] | one for each attempt, and its end shows what the attempt came to |
//! | [`rate_limit`] | counts messages, repeats included, since these call the same downstream; a message waits before it is in a batch |
//! | [`circuit_breaker`] | inside of whatever repeats, so that repeats wait as well; outside of the batch, so that it sees each message |
//! | [`batch`] | (handlers of batches) outward single deliveries, inward calls |
//! | [`concurrency_limit`] | counts calls, of which a batch is one. Outside of the timeout, which is of the call and not of the wait; inside of whatever pauses or publishes, which holds no permit |
//! | [`metrics`] | measures each call, one that runs out of time included, and no wait or pause |
//! | [`timeout`] | what takes too long is dropped, and ends like any call |
//! | [`catch_panic`] | whatever the handler does, what is outside goes on |
//!
//! A service in between answers `Result<Outcome, Failed>`: what a delivery came to, or why it is to go elsewhere.
//! Every layer also takes a plain handler's `Result<Settlement, HandlerError>` (see [`Conclude`]), which is what makes it
//! usable alone. Outside of *dead letter* a service answers [`Outcome`] and never fails.
//!
//! ```
//! use std::time::Duration;
//! use dotmsg_core::delivery::Delivery;
//! use dotmsg_core::handler::{HandlerError, Returned};
//! use dotmsg_core::middleware::{catch_panic::CatchPanicLayer, timeout::TimeoutLayer};
//! use tower_layer::Layer;
//!
//! let handler = tower::service_fn(|delivery: Delivery| async move {
//!     println!("{}", delivery.origin());
//!     Ok::<_, HandlerError>(Returned::default())
//! });
//! let bounded = TimeoutLayer::new(Some(Duration::from_secs(2))).layer(CatchPanicLayer.layer(handler));
//! # fn is_service<S: tower_service::Service<Delivery>>(_: &S) {}
//! # is_service(&bounded);
//! ```
//!
//! What must stay true: no layer allocates for a message that succeeds; a layer keeps a clone of the delivery only when
//! it may need it after a failure; everything that sleeps before a repeat looks at
//! [`Stream::is_stopping`](crate::delivery::Stream::is_stopping) when it is polled.

pub mod batch;
pub mod catch_panic;
pub mod circuit_breaker;
pub mod concurrency_limit;
pub mod dead_letter;
pub mod dedup;
pub mod limits;
pub mod metrics;
pub mod observe;
pub mod on_failure;
pub mod publish_returned;
pub mod rate_limit;
pub mod retry_in_place;
pub mod shed;
pub mod spans;
pub mod tiers;
pub mod timeout;
pub mod trace;

mod confirm;
mod failed;
mod identity;
mod pace;
mod provenance;
#[cfg(test)]
pub(crate) mod testing;
mod text;

pub(crate) use confirm::no_outcome;
pub use failed::{Conclude, Failed};
pub use observe::{Observer, Watch};
pub use provenance::Provenance;

use crate::clock::Timestamp;
use std::time::Duration;

/// What has become of a delivery when every layer is through with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is settled: progress may pass it.
    Settled(Ended),
    /// A copy of it waits in a tier, confirmed: its source is settled and the copy is named.
    Away(Away),
    /// It was given up because its partition is being given up ([`Stream::stop`](crate::delivery::Stream::stop)): it
    /// stays unsettled and the next owner gets it.
    Interrupted,
    /// It was not handled, and not because of itself (a batch that it was in, an outage): it is to run again as if it never
    /// had.
    PutBack,
}

impl Outcome {
    /// Nearly every one.
    pub(crate) const HANDLED: Self = Self::Settled(Ended::Handled);
}

/// How a settled delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Handled.
    Handled,
    /// (`exactly_once`) Handled or discarded, and what it returned is in the transaction that settles it.
    Returned {
        /// Discarded on purpose.
        discarded: bool,
    },
    /// Discarded on purpose.
    Discarded,
    /// In the dead-letter topic, confirmed.
    DeadLettered,
    /// Not called: a message with its id was handled before.
    Duplicate,
    /// Not called: it was dropped before it cost anything, as the route says.
    Shed,
}

impl Ended {
    /// Whether it ended in front of all other layers: what these were ready for was not used.
    #[must_use]
    pub(crate) const fn is_without_call(self) -> bool {
        matches!(self, Self::Duplicate | Self::Shed)
    }
}

/// The copy of a delivery in a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Away {
    /// The tier's delay.
    pub delay: Duration,
    /// The partition of the tier topic: the number of the source partition.
    pub partition: u32,
    /// The offset of the copy.
    pub offset: u64,
    /// When it was appended, by the broker's clock.
    pub appended_at: Timestamp,
}
