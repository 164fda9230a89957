//! The layer of [`ConcurrencyLimit`].

use std::sync::Arc;

use tower_layer::Layer;

use super::{CallPermits, ConcurrencyLimit};

/// Limits how many calls run at once. All services that it or a clone of it makes share the limit.
#[derive(Clone, Debug, Default)]
pub struct ConcurrencyLimitLayer {
    /// `None`: no limit.
    limits: Option<Arc<[CallPermits]>>,
}

impl ConcurrencyLimitLayer {
    /// This many.
    ///
    /// # Panics
    /// When it is zero.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self::all([CallPermits::new(limit)])
    }

    /// A call holds a permit of each of these, and takes them in this order: give them in one order everywhere, or two
    /// services wait for each other. Of none, there is no limit.
    #[must_use]
    pub fn all(limits: impl IntoIterator<Item = CallPermits>) -> Self {
        let limits: Arc<[CallPermits]> = limits.into_iter().collect();
        Self {
            limits: (!limits.is_empty()).then_some(limits),
        }
    }
}

impl<S> Layer<S> for ConcurrencyLimitLayer {
    type Service = ConcurrencyLimit<S>;

    fn layer(&self, inner: S) -> ConcurrencyLimit<S> {
        ConcurrencyLimit::new(inner, self.limits.clone())
    }
}
