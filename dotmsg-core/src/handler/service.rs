//! A handler as a tower service, the innermost of a route's stack.

use std::future::Future;
use std::task::{Context, Poll};

use tower_service::Service;

use super::{HandlerError, HandlerResult, Returned};
use crate::delivery::Delivery;

/// A service around a call of a handler; always ready.
#[derive(Clone, Debug)]
pub struct HandlerService<F>(F);

impl<F> HandlerService<F> {
    /// A service that answers each delivery with `call`.
    pub fn new(call: F) -> Self {
        Self(call)
    }
}

impl<F, Fut> Service<Delivery> for HandlerService<F>
where
    F: Fn(Delivery) -> Fut,
    Fut: Future<Output = HandlerResult>,
{
    type Response = Returned;
    type Error = HandlerError;
    type Future = Fut;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, delivery: Delivery) -> Fut {
        (self.0)(delivery)
    }
}
