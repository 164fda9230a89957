//! The layer of [`Trace`].

use std::sync::Arc;

use tower_layer::Layer;

use super::Trace;

/// Runs each call of the inner service in a span.
#[derive(Clone, Debug)]
pub struct TraceLayer {
    handler: Arc<str>,
}

impl TraceLayer {
    /// `handler` is shown in the span.
    #[must_use]
    pub fn new(handler: impl Into<Arc<str>>) -> Self {
        Self {
            handler: handler.into(),
        }
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Trace::new(inner, Arc::clone(&self.handler))
    }
}
