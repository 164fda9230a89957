//! Each call of a handler in a span of whoever traces it ([`trace`](crate::trace)).
//!
//! It is as far in as it can be and still see all that a call may come to, a panic and the end of its time among them. So each
//! attempt is a span, in place and over tiers, and a batch is one span. The handler runs *within* it, each time it is polled: what
//! the application traces itself lies below.
//!
//! - Single deliveries: those that have a [`Story`](crate::delivery::Story). Whoever gave it to them has asked the tracer.
//! - Calls with a batch: the tracer is asked here, and finds the stories of the members.
//!
//! What must stay true: without a tracer, and for what is not traced, it passes on.

mod future;
mod layer;
mod verdict;

pub use future::ResponseFuture;
pub use layer::SpansLayer;

use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use crate::delivery::{Delivery, Span};
use crate::handler::{Answer, Call, HandlerError, Returned};
use crate::trace::RouteTracer;

/// Runs each call of its inner service in a span.
#[derive(Clone, Debug)]
pub struct Spans<S> {
    inner: S,
    tracer: Option<Arc<dyn RouteTracer>>,
}

impl<S: Service<Delivery, Response = Returned, Error = HandlerError>> Service<Delivery>
    for Spans<S>
{
    type Response = Returned;
    type Error = HandlerError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, delivery: Delivery) -> Self::Future {
        let story = match &self.tracer {
            Some(_) => delivery.story(),
            None => None,
        };
        let span = story.map(|story| story.call(&delivery));
        calling(&mut self.inner, delivery, span)
    }
}

impl<S: Service<Call, Response = Answer, Error = HandlerError>> Service<Call> for Spans<S> {
    type Response = Answer;
    type Error = HandlerError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, call: Call) -> Self::Future {
        let tracer = self.tracer.as_ref();
        let span = tracer.and_then(|tracer| tracer.batch(call.deliveries()));
        calling(&mut self.inner, call, span)
    }
}

fn calling<T, S: Service<T>>(
    inner: &mut S,
    called_with: T,
    span: Option<Box<dyn Span>>,
) -> ResponseFuture<S::Future> {
    let call = future::within(span.as_deref(), || inner.call(called_with));
    ResponseFuture::new(call, span)
}

#[cfg(test)]
mod tests;
