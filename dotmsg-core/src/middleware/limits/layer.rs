//! The layer of [`CheckLimits`].

use std::sync::Arc;

use tower_layer::Layer;

use super::{CheckLimits, LimitParts};

/// Refuses what is beyond the limits, without a call of the inner service.
#[derive(Clone, Debug)]
pub struct CheckLimitsLayer {
    parts: Arc<LimitParts>,
}

impl CheckLimitsLayer {
    /// With these limits.
    #[must_use]
    pub fn new(parts: LimitParts) -> Self {
        Self {
            parts: Arc::new(parts),
        }
    }

    /// With parts that somebody else asks, too.
    pub(crate) const fn shared(parts: Arc<LimitParts>) -> Self {
        Self { parts }
    }
}

impl<S> Layer<S> for CheckLimitsLayer {
    type Service = CheckLimits<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CheckLimits::new(inner, Arc::clone(&self.parts))
    }
}
