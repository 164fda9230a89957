//! The layer of [`Spans`].

use std::sync::Arc;

use tower_layer::Layer;

use super::Spans;
use crate::trace::RouteTracer;

/// Runs each call of the inner service in a span.
#[derive(Clone, Debug, Default)]
pub struct SpansLayer {
    tracer: Option<Arc<dyn RouteTracer>>,
}

impl SpansLayer {
    /// Of this tracer; `None` (the default): of none.
    #[must_use]
    pub const fn new(tracer: Option<Arc<dyn RouteTracer>>) -> Self {
        Self { tracer }
    }
}

impl<S> Layer<S> for SpansLayer {
    type Service = Spans<S>;

    fn layer(&self, inner: S) -> Spans<S> {
        Spans {
            inner,
            tracer: self.tracer.clone(),
        }
    }
}
