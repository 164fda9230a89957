//! A route's start: its handler in its layers, with whoever watches it.

use std::sync::Arc;

use tower_service::Service;

use crate::backend::BoxFuture;
use crate::delivery::Delivery;
use crate::error::Result;
use crate::handler::{
    Answer, AsCalls, Call, CallService, Erased, HandlerError, Layers, OfCalls, Returned,
};
use crate::middleware::Outcome;
#[cfg(feature = "testing")]
use crate::middleware::Watch;
use crate::router::{StackParts, batch_stack, full_stack, stack};
use crate::runtime::{RouteContext, RouteReport, run};

/// What a route is started with.
pub(super) struct Start<S> {
    pub(super) context: RouteContext,
    pub(super) parts: StackParts,
    pub(super) state: Arc<S>,
    /// The app's layers and, in them, the handler's own.
    pub(super) layers: Layers,
    #[cfg(feature = "testing")]
    pub(super) watch: Watch,
}

/// `Sync`, because routes are borrowed while the app starts, and its future is to be `Send`.
pub(super) type StartRoute<S> =
    Box<dyn FnOnce(Start<S>) -> BoxFuture<'static, Result<RouteReport>> + Send + Sync>;

impl<S> Start<S> {
    /// Runs a handler of single messages.
    pub(super) fn handler<H>(self, handler: H) -> BoxFuture<'static, Result<RouteReport>>
    where
        H: Service<Delivery, Response = Returned, Error = HandlerError> + Clone + Send + 'static,
        H::Future: Send + 'static,
    {
        #[cfg(feature = "testing")]
        let handler = self.watch.calls(handler);
        if !self.layers.is_empty() {
            let calls = CallService::new(AsCalls(handler));
            let layered = Erased::new(OfCalls(self.layers.around(calls)));
            return self.run(|parts| full_stack(layered, parts));
        }
        if self.parts.has_more() {
            let handler = Erased::new(handler);
            return self.run(|parts| full_stack(handler, parts));
        }
        self.run(|parts| stack(handler, parts))
    }

    /// Runs a handler of batches.
    pub(super) fn batch_handler<C>(self, handler: C) -> BoxFuture<'static, Result<RouteReport>>
    where
        C: Service<Call, Response = Answer, Error = HandlerError> + Clone + Send + 'static,
        C::Future: Send + 'static,
    {
        #[cfg(feature = "testing")]
        let handler = self.watch.calls(handler);
        let calls = self.layers.around(CallService::new(handler));
        self.run(|parts| batch_stack(calls, parts))
    }

    fn run<T>(self, stack: impl FnOnce(StackParts) -> T) -> BoxFuture<'static, Result<RouteReport>>
    where
        T: Service<Delivery, Response = Outcome, Error = std::convert::Infallible>
            + Clone
            + Send
            + 'static,
        T::Future: Send + 'static,
    {
        let stack = stack(self.parts);
        #[cfg(not(feature = "testing"))]
        return Box::pin(run(self.context, stack));
        #[cfg(feature = "testing")]
        {
            let gate = self.watch.clone();
            Box::pin(gate.gate(run(self.context, self.watch.outcomes(stack))))
        }
    }
}
