//! The layer of [`PublishReturned`].

use std::sync::Arc;

use tower_layer::Layer;

use super::{PublishParts, PublishReturned};

/// Publishes what the inner service returns, then settles.
#[derive(Clone, Debug)]
pub struct PublishReturnedLayer {
    parts: Arc<PublishParts>,
}

impl PublishReturnedLayer {
    /// With these parts.
    #[must_use]
    pub fn new(parts: PublishParts) -> Self {
        Self {
            parts: Arc::new(parts),
        }
    }
}

impl<S> Layer<S> for PublishReturnedLayer {
    type Service = PublishReturned<S>;

    fn layer(&self, inner: S) -> Self::Service {
        PublishReturned::new(inner, Arc::clone(&self.parts))
    }
}
