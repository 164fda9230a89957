//! The layer of [`Tiers`].

use std::sync::Arc;

use tower_layer::Layer;

use super::{TierParts, Tiers};

/// Sends to a tier what the inner service fails at for now.
#[derive(Clone, Debug)]
pub struct TiersLayer {
    parts: Arc<TierParts>,
}

impl TiersLayer {
    /// With this ladder.
    #[must_use]
    pub fn new(parts: TierParts) -> Self {
        Self {
            parts: Arc::new(parts),
        }
    }
}

impl<S> Layer<S> for TiersLayer {
    type Service = Tiers<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Tiers::new(inner, Arc::clone(&self.parts))
    }
}
