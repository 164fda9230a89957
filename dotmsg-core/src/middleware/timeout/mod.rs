//! A time limit for one call of the handler: past it the future is dropped, and the failure is transient of kind
//! `timeout`.
//!
//! The timer is made when the future is first pending: a handler that is ready at once never touches it, and a route
//! without a limit pays a branch. The limit counts from that first poll.

mod future;
mod layer;

pub use future::ResponseFuture;
pub use layer::TimeoutLayer;

use std::fmt;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use crate::handler::HandlerError;

/// Bounds each call of its inner service.
#[derive(Clone, Copy, Debug)]
pub struct Timeout<S> {
    inner: S,
    limit_ns: u64,
}

/// A limit in nanoseconds that is none; what is longer than 584 years is none either.
const UNLIMITED: u64 = u64::MAX;

impl<S> Timeout<S> {
    /// Around `inner`; `None`: no limit.
    pub const fn new(inner: S, limit: Option<Duration>) -> Self {
        let limit_ns = match limit {
            Some(limit) if limit.as_nanos() < UNLIMITED as u128 => limit.as_nanos() as u64,
            Some(_) | None => UNLIMITED,
        };
        Self { inner, limit_ns }
    }
}

impl<S, C> Service<C> for Timeout<S>
where
    S: Service<C, Error = HandlerError>,
{
    type Response = S::Response;
    type Error = HandlerError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, call: C) -> Self::Future {
        ResponseFuture::new(self.inner.call(call), self.limit_ns)
    }
}

/// The call took longer than its limit.
#[derive(Debug)]
struct Elapsed(Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the handler took longer than {:?}", self.0)
    }
}

impl std::error::Error for Elapsed {}

fn error_of(limit: Duration) -> HandlerError {
    HandlerError::transient(Elapsed(limit)).kind("timeout")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Delivery;
    use crate::handler::Returned;
    use crate::middleware::testing::delivery;
    use std::sync::Arc;
    use tower::{ServiceExt, service_fn};

    #[tokio::test(start_paused = true)]
    async fn past_the_limit_the_future_is_dropped() {
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let slow = service_fn(move |_: Delivery| {
            let inside = Arc::clone(&inside);
            async move {
                tokio::time::sleep(Duration::from_secs(60)).await;
                drop(inside);
                Ok::<_, HandlerError>(Returned::default())
            }
        });
        let limit = Duration::from_secs(2);
        let mut service = Timeout::new(slow, Some(limit));
        let begin = tokio::time::Instant::now();
        let mut call = Box::pin(service.call(delivery(0)));
        let error = call.as_mut().await.unwrap_err();
        assert_eq!(begin.elapsed(), limit);
        assert_eq!((error.kind_name(), error.is_transient()), ("timeout", true));
        assert_eq!(error.to_string(), "the handler took longer than 2s");
        assert_eq!(
            Arc::strong_count(&held),
            2,
            "only the service's own and ours"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn within_the_limit_or_without_one_the_result_passes() {
        let service = service_fn(|_: Delivery| async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok::<_, HandlerError>(7)
        });
        for limit in [None, Some(Duration::from_secs(61))] {
            let result = Timeout::new(service, limit).oneshot(delivery(0)).await;
            assert_eq!(result.unwrap(), 7);
        }
    }
}
