//! Layers that an app puts around its handlers: around all of them, or around one.
//!
//! They see calls ([`Call`], [`Answer`]), so that one layer fits handlers of single messages and of batches. Each call of a
//! handler with layers is boxed, once for each layer; a handler without any is not.

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll};

use tower::util::BoxCloneService;
use tower_layer::{Layer, layer_fn};
use tower_service::Service;

use super::{Answer, Call, HandlerError};

/// What layers are put around, and what they come to: a service of calls.
pub type CallService = BoxCloneService<Call, Answer, HandlerError>;

/// Layers around a handler, the innermost first.
#[derive(Clone, Default)]
pub struct Layers(Vec<Arc<dyn Fn(CallService) -> CallService + Send + Sync>>);

impl Layers {
    /// Adds a layer around those there are.
    pub fn push<L>(&mut self, layer: L)
    where
        L: Layer<CallService> + Send + Sync + 'static,
        L::Service: Service<Call, Response = Answer, Error = HandlerError> + Clone + Send + 'static,
        <L::Service as Service<Call>>::Future: Send + 'static,
    {
        self.0
            .push(Arc::new(move |inner| CallService::new(layer.layer(inner))));
    }

    /// These, with others around them.
    #[must_use]
    pub fn within(mut self, outer: &Self) -> Self {
        self.0.extend(outer.0.iter().cloned());
        self
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them around a service.
    #[must_use]
    pub fn around(&self, service: CallService) -> CallService {
        self.0.iter().fold(service, |service, layer| layer(service))
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} layers", self.0.len())
    }
}

/// A handler with layers of its own: made by [`Annotated::layer`](super::Annotated::layer).
#[derive(Clone, Debug)]
pub struct Layered<H> {
    pub(super) handler: H,
    pub(super) layers: Layers,
}

/// What is inside of a layer made by [`from_fn`].
#[derive(Clone, Debug)]
pub struct Next(CallService);

impl Next {
    /// Makes the call: the layers further in, then the handler.
    ///
    /// # Errors
    /// The error of the call as a whole.
    pub async fn run(mut self, call: Call) -> Result<Answer, HandlerError> {
        poll_fn(|cx| self.0.poll_ready(cx)).await?;
        self.0.call(call).await
    }
}

/// A layer from an async function of a call and what is inside.
///
/// ```
/// use dotmsg_core::handler::{Answer, Call, HandlerError, Next, from_fn};
///
/// async fn log(call: Call, next: Next) -> Result<Answer, HandlerError> {
///     let messages = call.deliveries().len();
///     let answer = next.run(call).await;
///     tracing::debug!(messages, failed = answer.as_ref().map_or(messages, Answer::failures), "called");
///     answer
/// }
///
/// let layer = from_fn(log);
/// # fn is_layer<L: tower_layer::Layer<dotmsg_core::handler::CallService>>(_: L) {}
/// # is_layer(layer);
/// ```
pub fn from_fn<F, Fut>(
    function: F,
) -> impl Layer<CallService, Service = FromFn<F>> + Clone + Send + Sync + 'static
where
    F: Fn(Call, Next) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Answer, HandlerError>> + Send + 'static,
{
    layer_fn(move |inner| FromFn {
        function: function.clone(),
        inner,
    })
}

/// The service of a layer made by [`from_fn`].
#[derive(Clone)]
pub struct FromFn<F> {
    function: F,
    inner: CallService,
}

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFn")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<F, Fut> Service<Call> for FromFn<F>
where
    F: Fn(Call, Next) -> Fut,
    Fut: Future<Output = Result<Answer, HandlerError>>,
{
    type Response = Answer;
    type Error = HandlerError;
    type Future = Fut;

    /// Always: what is inside is asked by [`Next::run`].
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Fut {
        (self.function)(call, Next(self.inner.clone()))
    }
}
