//! Routes: subscription, handler and layers together, with every rule that config and attribute gave them.
//!
//! [`stack()`] puts the layers around a route's handler, [`batch_stack()`] around one that takes batches. [`RouteSpec`] is the resolved, validated description of one route; [`Topology`] derives the names of its retry,
//! replay and dead-letter topics.

mod spec;
mod stack;
mod topology;

pub use spec::{
    BatchSpec, CrashLoop, DedupSpec, DeliverySemantics, Growth, InPlace, Limits, LogMismatch,
    MissingPosition, Ordering, Park, RetryOrder, RetrySpec, RouteSpec, ShedSpec, Start,
};
pub use stack::{Front, StackParts, batch_stack, stack};
pub use topology::{DefaultNames, TopicNames, Topology};
