//! The layer of [`CatchPanic`].

use tower_layer::Layer;

use super::CatchPanic;

/// Turns panics of the inner service into errors.
#[derive(Clone, Copy, Debug, Default)]
pub struct CatchPanicLayer;

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CatchPanic::new(inner)
    }
}
