//! The future of [`Metrics`](super::Metrics).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::{Answered, SAMPLED_ONE_IN};
use crate::handler::HandlerError;
use crate::metrics::RouteMetrics;

/// A call that is measured.
#[derive(Debug)]
pub(super) struct Measuring {
    metrics: Arc<Arc<RouteMetrics>>,
    since: Since,
}

#[derive(Clone, Copy, Debug)]
enum Since {
    /// It was not polled yet, and is not measured if it is ready then.
    FirstPollUnseen,
    /// It was not polled yet.
    FirstPoll,
    /// It waits.
    Waiting(Instant),
}

impl Measuring {
    pub(super) fn new(metrics: Arc<Arc<RouteMetrics>>, sampled: bool) -> Self {
        let since = match sampled {
            true => Since::FirstPoll,
            false => Since::FirstPollUnseen,
        };
        Self { metrics, since }
    }

    /// Polls the call.
    fn poll<F, R>(&mut self, inner: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output>
    where
        F: Future<Output = Result<R, HandlerError>>,
        R: Answered,
    {
        let start = match self.since {
            Since::FirstPollUnseen => None,
            Since::FirstPoll => Some(Instant::now()),
            Since::Waiting(start) => Some(start),
        };
        let poll = inner.poll(cx);
        match &poll {
            Poll::Pending => {
                self.since = Since::Waiting(start.unwrap_or_else(Instant::now));
            }
            Poll::Ready(result) => {
                if let Some(start) = start {
                    self.took(start);
                }
                self.failed(result);
            }
        }
        poll
    }

    fn took(&self, start: Instant) {
        let times = match self.since {
            Since::Waiting(_) => 1,
            Since::FirstPoll | Since::FirstPollUnseen => SAMPLED_ONE_IN,
        };
        self.metrics.calls.record(start.elapsed(), times.into());
    }

    fn failed<R: Answered>(&self, result: &Result<R, HandlerError>) {
        let failures = &self.metrics.failures;
        match result {
            Ok(answer) => answer.failures(&mut |kind| failures.count(kind)),
            Err(error) if error.is_put_back() => {}
            Err(error) => failures.count(error.kind_name()),
        }
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
