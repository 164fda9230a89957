//! The layer of [`PublishReturned`].

use std::sync::Arc;

use tower_layer::Layer;

use super::{Desk, Enlistment, PublishParts, PublishReturned};

/// Publishes what the inner service returns, then settles.
#[derive(Clone, Debug)]
pub struct PublishReturnedLayer {
    pub(crate) desk: Arc<Desk>,
}

impl PublishReturnedLayer {
    /// Messages are confirmed before the delivery is settled.
    #[must_use]
    pub fn new(parts: PublishParts) -> Self {
        Self {
            desk: Arc::new(Desk::confirming(parts)),
        }
    }

    /// Messages go into the transaction in which the delivery is settled; whoever drives it takes them from `enlistment`.
    #[must_use]
    pub(crate) fn in_transaction(parts: PublishParts, enlistment: Arc<Enlistment>) -> Self {
        Self {
            desk: Arc::new(Desk::in_transaction(parts, enlistment)),
        }
    }
}

impl<S> Layer<S> for PublishReturnedLayer {
    type Service = PublishReturned<S>;

    fn layer(&self, inner: S) -> Self::Service {
        PublishReturned::new(inner, Arc::clone(&self.desk))
    }
}
