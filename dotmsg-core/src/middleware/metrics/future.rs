//! The future of [`Metrics`](super::Metrics).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::Answered;
use crate::handler::HandlerError;
use crate::metrics::RouteMetrics;

/// Counts what a call failed with.
pub(crate) fn count_failures<R: Answered>(
    metrics: &RouteMetrics,
    result: &Result<R, HandlerError>,
) {
    match result {
        Ok(answer) => answer.failures(&mut |kind| metrics.failures.count(kind)),
        Err(error) if error.is_put_back() => {}
        Err(error) => metrics.failures.count(error.kind_name()),
    }
}

pin_project! {
    /// Ends as the inner future.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        measuring: Option<(Arc<RouteMetrics>, Instant)>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, measuring: Option<(Arc<RouteMetrics>, Instant)>) -> Self {
        Self { inner, measuring }
    }
}

impl<F, R> Future for ResponseFuture<F>
where
    F: Future<Output = Result<R, HandlerError>>,
    R: Answered,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        if let Some((metrics, begun)) = this.measuring.take() {
            metrics.calls.record(begun.elapsed(), 1);
            count_failures(&metrics, &result);
        }
        Poll::Ready(result)
    }
}
