//! The future of [`Metrics`](super::Metrics).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::{Answered, Stopwatch};
use crate::delivery::Mark;
use crate::handler::HandlerError;
use crate::metrics::RouteMetrics;

/// A call that is measured.
#[derive(Debug)]
pub(super) struct Measuring {
    pub(super) stopwatch: Arc<Stopwatch>,
    pub(super) mark: Mark,
}

impl Measuring {
    /// Polls the call.
    fn poll<F, R>(&mut self, inner: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output>
    where
        F: Future<Output = Result<R, HandlerError>>,
        R: Answered,
    {
        let start = self.mark.before_poll();
        let Poll::Ready(result) = inner.poll(cx) else {
            if self.mark.minds_pending() {
                self.stopwatch.pending(&mut self.mark, start);
            }
            return Poll::Pending;
        };
        if self.mark.minds_end() {
            self.stopwatch.ended(self.mark, start);
        }
        count_failures(self.stopwatch.metrics(), &result);
        Poll::Ready(result)
    }
}

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
        measuring: Option<Measuring>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, measuring: Option<Measuring>) -> Self {
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
        match this.measuring {
            // Passed on as it is: a result that is looked at is a result that is copied.
            None => this.inner.poll(cx),
            Some(measuring) => measuring.poll(this.inner, cx),
        }
    }
}
