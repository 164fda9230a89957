//! Measures each call of a handler: how long it takes, and the kinds of what fails.
//!
//! It stands around the time limit and inside of whatever repeats: a call that ran out of time is a call that failed, and the
//! pauses between repeats are no calls.
//!
//! To look at the clock twice costs as much as a third of the whole way of a small message. So what is ready when it is polled
//! first is looked at one time in [`SAMPLED_ONE_IN`], chosen by the number of the call, and then counts for all of these. A call
//! that has to wait is always measured: from its first poll on, or, if it is not among the chosen ones, from the end of that.
//! In the stack of a route the first call of a message is measured by whoever makes it, in the same way: a future of its own would
//! cost every message 50 instructions. The layer stands around repeats, and around the calls of batches.
//! Without an app that measures ([`App::measured`](crate::app::App::measured)) a call pays a branch.

mod future;
mod layer;
mod stopwatch;

pub use future::ResponseFuture;
pub(crate) use future::count_failures;
pub use layer::MetricsLayer;
pub use stopwatch::SAMPLED_ONE_IN;

pub(crate) use stopwatch::Stopwatch;

use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use self::future::Measuring;
use crate::delivery::Settlement;
use crate::handler::{Answer, HandlerError, Returned};
use crate::metrics::RouteMetrics;

/// Measures each call of its inner service.
#[derive(Debug)]
pub struct Metrics<S> {
    inner: S,
    // One for each clone: every call counts its references, and workers would pass them to and fro.
    stopwatch: Option<Arc<Stopwatch>>,
    calls: u32,
}

impl<S> Metrics<S> {
    /// Around `inner`; `None`: nothing is measured.
    pub fn new(inner: S, metrics: Option<Arc<RouteMetrics>>) -> Self {
        Self {
            inner,
            stopwatch: metrics.map(Stopwatch::new).map(Arc::new),
            calls: 0,
        }
    }
}

impl<S: Clone> Clone for Metrics<S> {
    fn clone(&self) -> Self {
        let metrics = self.stopwatch.as_ref().map(|one| one.metrics());
        Self::new(self.inner.clone(), metrics.cloned())
    }
}

impl<S, C> Service<C> for Metrics<S>
where
    S: Service<C, Error = HandlerError>,
    S::Response: Answered,
{
    type Response = S::Response;
    type Error = HandlerError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, call: C) -> Self::Future {
        let measuring = self.stopwatch.as_ref().map(|stopwatch| Measuring {
            stopwatch: Arc::clone(stopwatch),
            mark: Stopwatch::next(&mut self.calls),
        });
        ResponseFuture::new(self.inner.call(call), measuring)
    }
}

/// What a handler answers, as far as it tells of failures.
pub trait Answered {
    /// Calls `failed` with the kind of each failure that it holds.
    fn failures(&self, failed: &mut dyn FnMut(&str));
}

impl Answered for Settlement {
    fn failures(&self, failed: &mut dyn FnMut(&str)) {
        match self {
            Self::Ack | Self::Discard => {}
            Self::Retry { .. } => failed("retry"),
            Self::DeadLetter { kind, .. } => failed(kind),
        }
    }
}

impl Answered for Returned {
    fn failures(&self, failed: &mut dyn FnMut(&str)) {
        self.settlement.failures(failed);
    }
}

impl Answered for Answer {
    fn failures(&self, failed: &mut dyn FnMut(&str)) {
        for result in self.results() {
            match result {
                Ok(returned) => returned.failures(failed),
                Err(error) if error.is_put_back() => {}
                Err(error) => failed(error.kind_name()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
