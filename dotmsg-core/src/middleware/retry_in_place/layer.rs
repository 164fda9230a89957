//! The layer of [`RetryInPlace`].

use tower_layer::Layer;

use super::{RetryInPlace, RetryParts};

/// Calls the inner service again after a transient failure.
#[derive(Clone, Debug)]
pub struct RetryInPlaceLayer {
    parts: RetryParts,
}

impl RetryInPlaceLayer {
    /// With this policy.
    #[must_use]
    pub const fn new(parts: RetryParts) -> Self {
        Self { parts }
    }
}

impl<S> Layer<S> for RetryInPlaceLayer {
    type Service = RetryInPlace<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RetryInPlace::new(inner, self.parts.clone())
    }
}
