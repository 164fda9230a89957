//! So many calls at once, shared by any number of services: `poll_ready` takes a permit, the call holds it until it ends.
//!
//! ```
//! use dotmsg_core::middleware::concurrency_limit::{CallPermits, ConcurrencyLimitLayer};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let database = CallPermits::new(20);
//! let layer = ConcurrencyLimitLayer::all([database.clone()]);
//! let reads = layer.layer(service_fn(async |id: u64| Ok::<_, std::io::Error>(id)));
//! let writes = layer.layer(service_fn(async |text: String| Ok::<_, std::io::Error>(text.len())));
//! assert_eq!(reads.oneshot(7).await?, 7);
//! assert_eq!(writes.oneshot("row".to_owned()).await?, 3);
//! # Ok::<(), std::io::Error>(())
//! # }).unwrap();
//! ```
//!
//! **A permit is held from readiness on, not from the call on.** A service that is ready and never called keeps its permit
//! until it is dropped, and so does one that was waiting and was given a permit meanwhile: with a limit of one, an idle
//! service would stop all others for ever. So ask only with a message in hand, call when it is ready, and drop the service
//! (a clone starts without a permit) when the message is gone. The workers of a route do all three.
//!
//! What must stay true: several limits are taken in one order everywhere. Whoever holds the first and waits for the second
//! then waits for calls that run, or for those that need only what comes behind.

mod future;
mod layer;
mod permits;
#[cfg(test)]
mod tests;

pub use future::ResponseFuture;
pub use layer::ConcurrencyLimitLayer;
pub use permits::CallPermits;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tower_service::Service;

use self::permits::Taking;

/// Limits how many calls of its inner service run at once.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimit<S> {
    inner: S,
    permits: Option<Permits>,
}

impl<S> ConcurrencyLimit<S> {
    fn new(inner: S, limits: Option<Arc<[CallPermits]>>) -> Self {
        Self {
            inner,
            permits: limits.map(Permits::new),
        }
    }
}

impl<S, C> Service<C> for ConcurrencyLimit<S>
where
    S: Service<C>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if let Some(permits) = &mut self.permits {
            ready!(permits.poll(cx));
        }
        self.inner.poll_ready(cx)
    }

    /// # Panics
    /// When it was not asked whether it is ready, or was not.
    #[inline]
    fn call(&mut self, call: C) -> Self::Future {
        let held = self.permits.as_mut().map(Permits::hand_over);
        ResponseFuture::new(self.inner.call(call), held)
    }
}

/// The permits for the next call of one service.
struct Permits {
    limits: Arc<[CallPermits]>,
    /// It has one of each of the first so many.
    taken: usize,
    /// It waits for one of the next.
    taking: Option<Taking>,
}

impl Permits {
    fn new(limits: Arc<[CallPermits]>) -> Self {
        Self {
            limits,
            taken: 0,
            taking: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(limit) = self.limits.get(self.taken) {
            if self.taking.is_some() || !limit.try_take() {
                let taking = self.taking.get_or_insert_with(|| limit.taking());
                ready!(taking.as_mut().poll(cx));
                self.taking = None;
            }
            self.taken += 1;
        }
        Poll::Ready(())
    }

    fn hand_over(&mut self) -> Held {
        assert!(
            self.taken == self.limits.len(),
            "called without having been ready"
        );
        self.taken = 0;
        Held(Arc::clone(&self.limits))
    }
}

impl Clone for Permits {
    fn clone(&self) -> Self {
        // Readiness belongs to the one that was asked.
        Self::new(Arc::clone(&self.limits))
    }
}

impl Drop for Permits {
    fn drop(&mut self) {
        for limit in &self.limits[..self.taken] {
            limit.give_back();
        }
    }
}

impl fmt::Debug for Permits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permits")
            .field("limits", &self.limits)
            .field("taken", &self.taken)
            .field("waits", &self.taking.is_some())
            .finish()
    }
}

/// A permit of each limit, of a call that runs.
#[derive(Debug)]
struct Held(Arc<[CallPermits]>);

impl Drop for Held {
    fn drop(&mut self) {
        for limit in &*self.0 {
            limit.give_back();
        }
    }
}
