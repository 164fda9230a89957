//! The layer of [`Batcher`].

use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;
use tower_layer::Layer;

use super::{BatchParts, Batcher, Shared};

/// Hands deliveries to the inner service in batches. All services that one layer made share its limit of calls at once.
#[derive(Clone)]
pub struct BatchLayer {
    shared: Arc<Shared>,
}

impl BatchLayer {
    /// Batches formed in this way.
    #[must_use]
    pub fn new(parts: BatchParts) -> Self {
        let calls = Semaphore::new(parts.concurrency.min(Semaphore::MAX_PERMITS));
        let shared = Shared {
            parts,
            calls,
            open: Mutex::new(None),
        };
        Self {
            shared: Arc::new(shared),
        }
    }
}

impl fmt::Debug for BatchLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BatchLayer")
            .field(&self.shared.parts)
            .finish()
    }
}

impl<C> Layer<C> for BatchLayer {
    type Service = Batcher<C>;

    fn layer(&self, inner: C) -> Batcher<C> {
        Batcher::new(inner, Arc::clone(&self.shared))
    }
}
