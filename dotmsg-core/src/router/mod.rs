//! Routes: subscription, handler and layers together, with every rule that config and attribute gave them.
//!
//! [`stack()`] puts the layers around a route's handler, [`full_stack()`] those that few routes have as well,
//! [`batch_stack()`] all of them around one that takes batches. [`RouteSpec`] is the resolved, validated description of one route; [`Topology`] derives the names of its retry,
//! replay and dead-letter topics.

mod spec;
mod stack;
mod topology;
mod units;

pub use crate::middleware::rate_limit::Rate;
pub use spec::{
    BatchSpec, BreakerSpec, CrashLoop, DedupSpec, DeliverySemantics, Growth, InPlace, LimitSpec,
    Limits, LogMismatch, MissingPosition, Ordering, Park, RetryOrder, RetrySpec, RouteSpec,
    ShedSpec, Start,
};
pub use stack::{
    Front, ListedLayer, SharedLimits, StackParts, batch_stack, full_stack, layers, stack,
};
pub use topology::{DefaultNames, TopicNames, Topology};
pub(crate) use units::{duration, size};
