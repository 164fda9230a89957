//! Measures each call of a handler: how long it takes, and the kinds of what fails.
//!
//! It stands around the time limit and inside of whatever repeats: a call that ran out of time is a call that failed, and the
//! pauses between repeats are no calls.
//!
//! In the stack of a route it stands around repeats and around the calls of batches. The first call of a message is measured by
//! whoever makes it (`router/stack/stopwatch`), and not every one of them: that is the way of nearly every message, where two looks at
//! the clock and a future that is larger would show.

mod future;
mod layer;

pub use future::ResponseFuture;
pub(crate) use future::count_failures;
pub use layer::MetricsLayer;

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;
use tower_service::Service;

use crate::delivery::Settlement;
use crate::handler::{Answer, HandlerError, Returned};
use crate::metrics::RouteMetrics;

/// Measures each call of its inner service.
#[derive(Clone, Debug)]
pub struct Metrics<S> {
    inner: S,
    metrics: Option<Arc<RouteMetrics>>,
}

impl<S> Metrics<S> {
    /// Around `inner`; `None`: nothing is measured.
    pub const fn new(inner: S, metrics: Option<Arc<RouteMetrics>>) -> Self {
        Self { inner, metrics }
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
        let measuring = self.metrics.clone();
        let measuring = measuring.map(|metrics| (metrics, Instant::now()));
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
