//! The story of one delivery, for whoever traces it: the spans of its calls, and of what is published on its behalf.
//!
//! These are the words in which core speaks of tracing. What a span is, where it goes and how contexts are sampled is known
//! by the tracer alone ([`trace`](crate::trace)).
//!
//! What must stay true: only what is sampled has a story, so everything here may allocate; a delivery without one is asked for it and
//! costs no more.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use super::Delivery;
use crate::message::{Message, TraceParent};

/// One delivery that is traced. It lives as long as a handle of the delivery.
pub trait Story: Any + fmt::Debug + Send + Sync {
    /// The span that retries and replays of this message go on from, so that all of them are in one trace.
    fn origin(&self) -> TraceParent;

    /// A call of the handler for this delivery begins.
    fn call(&self, delivery: &Delivery) -> Box<dyn Span>;

    /// A message is about to be published, to `topic` as the broker knows it, on behalf of the delivery. What a handler returned
    /// ([`Sent::Returned`]) gets the context of that span into its headers, unless it has one already.
    fn send(&self, topic: &str, message: &mut Message, why: Sent<'_>) -> Box<dyn Span>;
}

/// A piece of work that is traced. Dropped before it has [ended](Span::end) it was cut off: a partition was given up.
pub trait Span: fmt::Debug + Send + Sync {
    /// Calls `run` with this span as the current one, whatever that means to the tracer.
    fn within(&self, run: &mut dyn FnMut());

    /// It is over.
    fn end(self: Box<Self>, end: SpanEnd<'_>);
}

/// Why a message is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent<'a> {
    /// A handler returned it.
    Returned,
    /// The call failed, and this copy waits for the next.
    Retry {
        /// The kind of the failure, a short word.
        kind: &'a str,
        /// The tier's delay.
        delay: Duration,
    },
    /// The message was given up.
    DeadLetter {
        /// The kind of the failure, a short word.
        kind: &'a str,
    },
}

/// How a span ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanEnd<'a> {
    /// Well.
    Done,
    /// The call was not made, or does not count, because of others: the message runs again.
    PutBack,
    /// It failed.
    Failed {
        /// The kind of the failure, a short word.
        kind: &'a str,
        /// What it said; capped. It holds no payload unless an error of the application does.
        message: &'a str,
    },
}
