//! The layer of [`CircuitBreaker`].

use std::sync::Arc;

use tower_layer::Layer;

use super::{Breaker, CircuitBreaker};

/// Lets the inner service be called only while a circuit is closed.
#[derive(Clone, Debug)]
pub struct CircuitBreakerLayer {
    breaker: Option<Arc<Breaker>>,
}

impl CircuitBreakerLayer {
    /// By this circuit; without one, always.
    #[must_use]
    pub const fn new(breaker: Option<Arc<Breaker>>) -> Self {
        Self { breaker }
    }
}

impl<S> Layer<S> for CircuitBreakerLayer {
    type Service = CircuitBreaker<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker::new(inner, self.breaker.clone())
    }
}
