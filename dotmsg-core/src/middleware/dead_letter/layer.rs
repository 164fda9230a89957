//! The layer of [`DeadLetter`].

use std::sync::Arc;

use tower_layer::Layer;

use super::{DeadLetter, DeadLetterParts};

/// Puts what the inner service gives up into the dead-letter topic.
#[derive(Clone, Debug)]
pub struct DeadLetterLayer {
    parts: Arc<DeadLetterParts>,
}

impl DeadLetterLayer {
    /// With these parts.
    #[must_use]
    pub fn new(parts: DeadLetterParts) -> Self {
        Self {
            parts: Arc::new(parts),
        }
    }
}

impl<S> Layer<S> for DeadLetterLayer {
    type Service = DeadLetter<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DeadLetter::new(inner, Arc::clone(&self.parts))
    }
}
