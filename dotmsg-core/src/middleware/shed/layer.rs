//! The layer of [`Shed`].

use std::sync::Arc;

use tower_layer::Layer;

use super::{Shed, Shedding};

/// Settles what is to be shed without a call of the inner service.
#[derive(Clone, Debug)]
pub struct ShedLayer {
    shedding: Option<Arc<Shedding>>,
}

impl ShedLayer {
    /// By this rule; `None`: everything is kept.
    #[must_use]
    pub const fn new(shedding: Option<Arc<Shedding>>) -> Self {
        Self { shedding }
    }
}

impl<S> Layer<S> for ShedLayer {
    type Service = Shed<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Shed::new(inner, self.shedding.clone())
    }
}
