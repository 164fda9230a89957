//! The layer of [`Metrics`].

use std::sync::Arc;

use tower_layer::Layer;

use super::Metrics;
use crate::metrics::RouteMetrics;

/// Measures each call of the inner service.
#[derive(Clone, Debug)]
pub struct MetricsLayer {
    metrics: Option<Arc<RouteMetrics>>,
}

impl MetricsLayer {
    /// `None`: nothing is measured.
    #[must_use]
    pub const fn new(metrics: Option<Arc<RouteMetrics>>) -> Self {
        Self { metrics }
    }
}

impl<S> Layer<S> for MetricsLayer {
    type Service = Metrics<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Metrics::new(inner, self.metrics.clone())
    }
}
