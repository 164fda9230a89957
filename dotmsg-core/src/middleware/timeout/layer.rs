//! The layer of [`Timeout`].

use std::time::Duration;

use tower_layer::Layer;

use super::Timeout;

/// Bounds each call of the inner service.
#[derive(Clone, Copy, Debug)]
pub struct TimeoutLayer {
    limit: Option<Duration>,
}

impl TimeoutLayer {
    /// `None`: no limit.
    #[must_use]
    pub const fn new(limit: Option<Duration>) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Timeout::new(inner, self.limit)
    }
}
