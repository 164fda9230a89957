//! Adding handlers to an app, of every kind, and layers around them.

use std::future::Future;
use std::sync::Arc;

use tower_layer::Layer;
use tower_service::Service;

use super::starting::Start;
use super::{Adapters, App, Route, annotated};
use crate::backend::BoxFuture;
use crate::config::RouteDefaults;
use crate::delivery::Delivery;
use crate::error::Result;
use crate::handler::{
    Annotated, Answer, BatchHandlerService, Call, CallService, Handler, HandlerError, HandlerMeta,
    HandlerResult, HandlerService, Handlers, Invoke, Layers, Meta, Needs, Routes,
};
use crate::runtime::RouteReport;

/// What is known of a route before the configuration.
pub(super) struct Defined {
    pub(super) defaults: RouteDefaults,
    pub(super) needs: Needs,
    pub(super) layers: Layers,
}

impl Defined {
    fn new(defaults: RouteDefaults, needs: Needs, layers: Layers) -> Self {
        Self {
            defaults,
            needs,
            layers,
        }
    }
}

impl<S, R> App<S, R>
where
    S: Send + Sync + 'static,
    R: Adapters,
{
    /// Adds a handler: a function under `#[dotmsg::handler]`.
    #[must_use]
    pub fn handler<T, H>(self, handler: H) -> Self
    where
        H: Annotated<T>,
        H::Meta: Invoke<S>,
    {
        let (meta, needs) = (H::Meta::META, H::Meta::NEEDS);
        let route = Defined::new(annotated::defaults(&meta), needs, handler.layers());
        match meta.batch {
            None => self.called(route, H::Meta::invoke),
            Some(_) => self.called_with_batches(route, H::Meta::invoke_batch),
        }
    }

    /// Adds the handlers of a value: its methods with `#[handler]` in the impl block under `#[dotmsg::handlers]`, which share
    /// it. One that is in an [`Arc`] already stays in that.
    #[must_use]
    pub fn handlers<H: Handlers<S>>(self, handlers: H) -> Self {
        H::add_to(Arc::new(handlers), self)
    }

    /// Adds a handler without the attribute macro; `route` says its name, topic and group
    /// (`RouteDefaults::new("bill").with("topic", "orders").with("group", "billing")`).
    #[must_use]
    pub fn route<T: 'static, H: Handler<T, S>>(self, route: RouteDefaults, handler: H) -> Self {
        let call = move |delivery, state| handler.call(delivery, state);
        self.called(Defined::new(route, H::NEEDS, Layers::default()), call)
    }

    fn called<F, Fut>(self, route: Defined, call: F) -> Self
    where
        F: Fn(Delivery, Arc<S>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.push(route, move |start| {
            let state = Arc::clone(&start.state);
            let call = move |delivery| call(delivery, Arc::clone(&state));
            start.handler(HandlerService::new(call))
        })
    }

    fn called_with_batches<F, Fut>(self, route: Defined, call: F) -> Self
    where
        F: Fn(Vec<Delivery>, Arc<S>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Answer, HandlerError>> + Send + 'static,
    {
        self.push(route, move |start| {
            let state = Arc::clone(&start.state);
            let call = move |deliveries| call(deliveries, Arc::clone(&state));
            start.batch_handler(BatchHandlerService::new(call))
        })
    }

    fn push(
        mut self,
        defined: Defined,
        start: impl FnOnce(Start<S>) -> BoxFuture<'static, Result<RouteReport>> + Send + Sync + 'static,
    ) -> Self {
        let start = Box::new(start);
        self.routes.push(Route { defined, start });
        self
    }

    /// Puts a layer around every handler of the app, whenever it is added, batch handlers too; the last one is the
    /// outermost. It runs within the time limit of a call, a panic in it is a failure of the call, and it sees every attempt.
    /// One handler alone: [`Annotated::layer`].
    ///
    /// ```
    /// use dotmsg_core::app::{App, NoAdapters};
    /// use dotmsg_core::config::Config;
    /// use dotmsg_core::handler::{Call, Next, from_fn};
    ///
    /// let app: App<(), NoAdapters> = App::with_config(Config::new())
    ///     .layer(from_fn(async |call: Call, next: Next| {
    ///         tracing::debug!(messages = call.deliveries().len(), "called");
    ///         next.run(call).await
    ///     }));
    /// ```
    #[must_use]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<CallService> + Send + Sync + 'static,
        L::Service: Service<Call, Response = Answer, Error = HandlerError> + Clone + Send + 'static,
        <L::Service as Service<Call>>::Future: Send + 'static,
    {
        self.layers.push(layer);
        self
    }
}

impl<S, R> Routes<S> for App<S, R>
where
    S: Send + Sync + 'static,
    R: Adapters,
{
    fn add<F, Fut>(self, meta: HandlerMeta, needs: Needs, call: F) -> Self
    where
        F: Fn(Delivery, Arc<S>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        let route = Defined::new(annotated::defaults(&meta), needs, Layers::default());
        self.called(route, call)
    }

    fn add_batch<F, Fut>(self, meta: HandlerMeta, needs: Needs, call: F) -> Self
    where
        F: Fn(Vec<Delivery>, Arc<S>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Answer, HandlerError>> + Send + 'static,
    {
        let route = Defined::new(annotated::defaults(&meta), needs, Layers::default());
        self.called_with_batches(route, call)
    }
}
