//! A `tracing` span around each delivery, when somebody listens.
//!
//! The span `delivery` has level debug; without a subscriber that takes it, a message pays the check of one static. It
//! shows where the message is from, its key and its id (escaped and shortened), never its payload. What went wrong is
//! logged where it is decided, inside this span: a warning for each tier, an error for each dead letter. Of a delivery that is traced
//! ([`trace`](crate::trace)) it shows `trace_id`, which joins logs and traces.

mod future;
mod layer;

pub use future::ResponseFuture;
pub use layer::TraceLayer;

use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;
use tracing::Span;

use super::text;
use crate::delivery::Delivery;

/// Runs each call of its inner service in a span.
#[derive(Clone, Debug)]
pub struct Trace<S> {
    inner: S,
    handler: Arc<str>,
}

impl<S> Trace<S> {
    /// Around `inner`; `handler` is shown in the span.
    pub const fn new(inner: S, handler: Arc<str>) -> Self {
        Self { inner, handler }
    }

    #[cold]
    fn span(&self, delivery: &Delivery) -> Span {
        let position = delivery.position();
        let span = tracing::debug_span!(
            "delivery",
            handler = &*self.handler,
            topic = position.topic,
            partition = position.partition,
            offset = position.offset,
            attempt = delivery.attempt(),
            key = %text::shown_key(delivery.key()),
            id = %text::Shown(&delivery.id()),
            trace_id = tracing::field::Empty,
        );
        if let Some(story) = delivery.story() {
            span.record("trace_id", format_args!("{:032x}", story.origin().trace_id));
        }
        span
    }
}

impl<S: Service<Delivery>> Service<Delivery> for Trace<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, delivery: Delivery) -> Self::Future {
        let span = if tracing::enabled!(tracing::Level::DEBUG) {
            self.span(&delivery)
        } else {
            Span::none()
        };
        let call = span.in_scope(|| self.inner.call(delivery));
        ResponseFuture::new(call, span)
    }
}

#[cfg(test)]
mod tests;
