//! Calls begin at a rate, shared by any number of services: `poll_ready` waits for a token, a call uses it up.
//!
//! ```
//! use dotmsg_core::middleware::rate_limit::{RateLimitLayer, TokenBucket};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let database = TokenBucket::new("100/s".parse()?);
//! let layer = RateLimitLayer::all([database.clone()]);
//! let reads = layer.layer(service_fn(async |id: u64| Ok::<_, std::io::Error>(id)));
//! let writes = layer.layer(service_fn(async |text: String| Ok::<_, std::io::Error>(text.len())));
//! assert_eq!(reads.oneshot(7).await?, 7);
//! assert_eq!(writes.oneshot("row".to_owned()).await?, 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! What must stay true: a service asks for a token once, and has it or waits for it until it is called. One that is dropped
//! instead gives it back, and so does a service that was ready and is never called, as soon as it is dropped and no sooner:
//! ask only with a message in hand. A clone starts without a token.
//!
//! A token that is there while the *inner* service is not ready yet is kept. So as many calls as services wait there may come
//! later than their tokens.

mod bucket;
mod layer;
mod rate;
#[cfg(test)]
mod tests;

pub use bucket::TokenBucket;
pub use layer::RateLimitLayer;
pub use rate::{NotARate, Rate};

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

/// Lets calls of its inner service begin at a rate.
#[derive(Clone, Debug)]
pub struct RateLimit<S> {
    inner: S,
    tokens: Option<Tokens>,
}

impl<S> RateLimit<S> {
    fn new(inner: S, buckets: Option<Arc<[TokenBucket]>>) -> Self {
        Self {
            inner,
            tokens: buckets.map(Tokens::new),
        }
    }
}

impl<S, C> Service<C> for RateLimit<S>
where
    S: Service<C>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if let Some(tokens) = &mut self.tokens {
            ready!(tokens.poll(cx));
        }
        self.inner.poll_ready(cx)
    }

    /// # Panics
    /// When it was not asked whether it is ready, or was not.
    #[inline]
    fn call(&mut self, call: C) -> S::Future {
        if let Some(tokens) = &mut self.tokens {
            tokens.spend();
        }
        self.inner.call(call)
    }
}

/// The tokens for the next call of one service: one of each bucket.
struct Tokens {
    buckets: Arc<[TokenBucket]>,
    stand: Stand,
    /// Made when it first has to wait, and used again.
    sleep: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// None is taken.
    None,
    /// They are taken, and are there when `sleep` ends.
    Awaited,
    /// They are there.
    There,
}

impl Tokens {
    fn new(buckets: Arc<[TokenBucket]>) -> Self {
        Self {
            buckets,
            stand: Stand::None,
            sleep: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.stand == Stand::None {
            self.take();
        }
        if self.stand == Stand::Awaited {
            let sleep = self
                .sleep
                .as_mut()
                .expect("it was set when they were taken");
            ready!(sleep.as_mut().poll(cx));
            self.stand = Stand::There;
        }
        Poll::Ready(())
    }

    fn take(&mut self) {
        let now = Instant::now();
        let there = self.buckets.iter().map(|bucket| bucket.take(now)).max();
        let there = there.unwrap_or(now);
        if there <= now {
            self.stand = Stand::There;
            return;
        }
        self.stand = Stand::Awaited;
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(there),
            None => self.sleep = Some(Box::pin(sleep_until(there))),
        }
    }

    fn spend(&mut self) {
        assert!(
            self.stand == Stand::There,
            "called without having been ready"
        );
        self.stand = Stand::None;
    }
}

impl Clone for Tokens {
    fn clone(&self) -> Self {
        // Readiness belongs to the one that was asked.
        Self::new(Arc::clone(&self.buckets))
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        if self.stand != Stand::None {
            for bucket in &*self.buckets {
                bucket.give_back();
            }
        }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("buckets", &self.buckets)
            .field("stand", &self.stand)
            .finish_non_exhaustive()
    }
}
