//! Routes: subscription, handler and layers together, with every rule that config and attribute gave them.
//!
//! [`RouteSpec`] is the resolved, validated description of one route; [`Topology`] derives the names of its retry,
//! replay and dead-letter topics.

mod spec;
mod topology;

pub use spec::{
    CrashLoop, DeliverySemantics, Growth, InPlace, Limits, LogMismatch, MissingPosition, Ordering,
    Park, RetryOrder, RetrySpec, RouteSpec, Start,
};
pub use topology::{DefaultNames, TopicNames, Topology};
