//! Middleware: tower layers around a service of deliveries, one folder each, usable alone.
//!
//! The router fixes their order, outermost first:
//! trace → dead letter → tiers → limits → in-place retry → publish returned → timeout → catch panic → handler.
//! A layer that can end a delivery elsewhere (tiers, dead letter) sits outside the ones that only repeat or bound a call,
//! so that a message is never in a tier while an attempt of it is still running.
//!
//! Inside of *tiers* a service answers `Result<Settlement, HandlerError>`; outside of *dead letter* it answers
//! [`Outcome`] and never fails.

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
}

/// How a settled delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Handled.
    Handled,
    /// Discarded on purpose.
    Discarded,
    /// In the dead-letter topic, confirmed.
    DeadLettered,
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
