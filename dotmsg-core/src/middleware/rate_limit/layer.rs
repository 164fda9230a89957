//! The layer of [`RateLimit`].

use std::sync::Arc;

use tower_layer::Layer;

use super::{Rate, RateLimit, TokenBucket};

/// Lets calls of the inner service begin at a rate. All services that it or a clone of it makes share the rate.
#[derive(Clone, Debug, Default)]
pub struct RateLimitLayer {
    /// `None`: no limit.
    buckets: Option<Arc<[TokenBucket]>>,
}

impl RateLimitLayer {
    /// One rate.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self::all([TokenBucket::new(rate)])
    }

    /// A call takes a token of each of these; of none, there is no limit.
    #[must_use]
    pub fn all(buckets: impl IntoIterator<Item = TokenBucket>) -> Self {
        let buckets: Arc<[TokenBucket]> = buckets.into_iter().collect();
        Self {
            buckets: (!buckets.is_empty()).then_some(buckets),
        }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit::new(inner, self.buckets.clone())
    }
}
