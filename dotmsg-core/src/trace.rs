//! Tracing, as far as core knows of it: whom to ask whether a message is traced, and what is traced.
//!
//! Core depends on no tracing system. An app is given a [`Tracer`] (`App::tracer`; that of OpenTelemetry is in the crate
//! `dotmsg-otel`), which is asked once for each delivery whether it is traced. If it is, the delivery carries its
//! [`Story`], and the layers begin and end spans through that.
//!
//! What must stay true: a message that is not traced costs one question, and without a tracer not even that; its way through
//! the layers is the same as ever.

use std::fmt;
use std::sync::Arc;

use crate::delivery::{Delivery, Span, Story};
use crate::message::Message;

/// Traces an app.
pub trait Tracer: fmt::Debug + Send + Sync + 'static {
    /// Traces the deliveries of a route; asked once for each route.
    fn route(&self, route: &TracedRoute<'_>) -> Arc<dyn RouteTracer>;

    /// Traces what is published at once to one backend; asked twice for each backend: for handlers, and for the rest of the
    /// app.
    fn publisher(&self, publisher: &TracedPublisher<'_>) -> Arc<dyn SendTracer>;
}

/// What a tracer is told of a route.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TracedRoute<'a> {
    /// The handler's name.
    pub handler: &'a str,
    /// The consumer group.
    pub group: &'a str,
    /// The topic that the route subscribes to, as the broker knows it.
    pub topic: &'a str,
    /// The adapter of its backend: the scheme of the URL, such as `kafka`, `log` or `memory`.
    pub adapter: &'a str,
    /// Whether it handles batches.
    pub batches: bool,
}

impl<'a> TracedRoute<'a> {
    /// A route of single messages on a log in memory.
    #[must_use]
    pub const fn new(handler: &'a str, group: &'a str, topic: &'a str) -> Self {
        Self {
            handler,
            group,
            topic,
            adapter: "memory",
            batches: false,
        }
    }

    /// The same on another adapter.
    #[must_use]
    pub const fn adapter(mut self, adapter: &'a str) -> Self {
        self.adapter = adapter;
        self
    }

    /// The same, of batches.
    #[must_use]
    pub const fn batches(mut self, batches: bool) -> Self {
        self.batches = batches;
        self
    }
}

/// What a tracer is told of a [`Publisher`](crate::publisher::Publisher).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TracedPublisher<'a> {
    /// The adapter of its backend: the scheme of the URL.
    pub adapter: &'a str,
    /// It is for handlers: whether a message is traced is decided before they run, so nothing that they publish begins a trace.
    pub for_handlers: bool,
}

impl<'a> TracedPublisher<'a> {
    /// A publisher to a backend of this adapter.
    #[must_use]
    pub const fn new(adapter: &'a str, for_handlers: bool) -> Self {
        Self {
            adapter,
            for_handlers,
        }
    }
}

/// Traces the deliveries of one route.
pub trait RouteTracer: fmt::Debug + Send + Sync {
    /// Whether this delivery is traced. Called for each one, in the poll that starts it: `None` must cost next to nothing.
    fn follow(&self, delivery: &Delivery) -> Option<Arc<dyn Story>>;

    /// A call with a batch begins. Those of its deliveries that are traced have their [`Story`](Delivery::story).
    fn batch(&self, deliveries: &[Delivery]) -> Option<Box<dyn Span>>;
}

/// Traces what is published at once.
pub trait SendTracer: fmt::Debug + Send + Sync {
    /// Messages are about to be published to `topic`, as the broker knows it; each gets the context of the span into its headers,
    /// unless it has one already. `None`: nothing is traced.
    fn send(&self, topic: &str, messages: &mut [Message]) -> Option<Box<dyn Span>>;
}
