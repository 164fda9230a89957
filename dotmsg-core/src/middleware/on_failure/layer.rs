//! The layer of [`OnFailure`].

use std::sync::Arc;

use tower_layer::Layer;

use super::OnFailure;

/// Takes the action `A` when the inner service fails.
#[derive(Debug)]
pub struct OnFailureLayer<A> {
    action: Arc<A>,
}

impl<A> OnFailureLayer<A> {
    /// With this action.
    #[must_use]
    pub fn new(action: A) -> Self {
        Self {
            action: Arc::new(action),
        }
    }
}

impl<A> Clone for OnFailureLayer<A> {
    fn clone(&self) -> Self {
        Self {
            action: Arc::clone(&self.action),
        }
    }
}

impl<S, A> Layer<S> for OnFailureLayer<A> {
    type Service = OnFailure<S, A>;

    fn layer(&self, inner: S) -> Self::Service {
        OnFailure::new(inner, Arc::clone(&self.action))
    }
}
