//! The layer of [`Dedup`].

use std::sync::Arc;

use tower_layer::Layer;

use super::{Dedup, MemoryStore};

/// Settles duplicates without a call of the inner service. All services that layers of one store made know what each of them
/// handled.
#[derive(Debug)]
pub struct DedupLayer<D: ?Sized = MemoryStore> {
    store: Option<Arc<D>>,
    batches: bool,
}

impl<D: ?Sized> DedupLayer<D> {
    /// With what this store remembers; `None`: nothing is a duplicate.
    #[must_use]
    pub const fn new(store: Option<Arc<D>>) -> Self {
        Self {
            store,
            batches: false,
        }
    }
}

impl DedupLayer {
    /// In front of a service that forms batches ([`batch`](crate::middleware::batch)): what has waited for another message with
    /// its id is put back. Only with the store in memory, since one that answers later would have messages of a key overtake each
    /// other on their way to the batch.
    #[must_use]
    pub const fn before_batches(mut self) -> Self {
        self.batches = true;
        self
    }
}

impl<D: ?Sized> Clone for DedupLayer<D> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            batches: self.batches,
        }
    }
}

impl<S, D: ?Sized> Layer<S> for DedupLayer<D> {
    type Service = Dedup<S, D>;

    fn layer(&self, inner: S) -> Self::Service {
        Dedup::new(inner, self.store.clone(), self.batches)
    }
}
