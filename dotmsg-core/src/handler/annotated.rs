//! Functions under `#[dotmsg::handler]`, and how they reach the runtime.
//!
//! The attribute keeps the function callable and lets its return type name a *meta* type: `bill(…)` returns
//! [`Described`]`<impl Future, bill>`, and the type `bill` implements [`Meta`] and [`Invoke`]. Registration finds the meta
//! type from the function's return type ([`Annotated`]) and from then on calls that, not the function value; this is what
//! lets a handler borrow from its delivery: the borrow lives inside one future, [`Invoke::invoke`].
//!
//! The state type stays out of [`Annotated`]: a missing sub-state is then reported as that, and not as "is not annotated".

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Answer, Call, CallService, Handler, HandlerError, HandlerMeta, HandlerResult, Layered, Layers,
    Needs,
};
use crate::delivery::Delivery;

pin_project! {
    /// The future of an annotated function, with the function's meta type `M`. Awaiting it gives the function's own
    /// return value.
    ///
    /// Only the attribute makes these.
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Described<F, M> {
        #[pin]
        future: F,
        meta: PhantomData<fn() -> M>,
    }
}

impl<F, M> Described<F, M> {
    /// The future of a function whose meta type is `M`.
    #[doc(hidden)]
    pub fn new(future: F) -> Self {
        Self {
            future,
            meta: PhantomData,
        }
    }
}

impl<F, M: Meta> fmt::Debug for Described<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Described").field(&M::META.name).finish()
    }
}

impl<F: Future, M> Future for Described<F, M> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(context)
    }
}

/// The meta type of an annotated function: what its attribute says.
///
/// The attribute implements it; see [`Annotated`] for its use.
pub trait Meta: 'static {
    /// What the attribute says.
    const META: HandlerMeta;
}

/// Calls an annotated function: extracts its arguments, runs it, and turns its return value into a result.
///
/// The attribute implements it for every state `S` that has the sub-states the function takes.
#[diagnostic::on_unimplemented(
    message = "the handler `{Self}` cannot run with the state `{S}`",
    label = "cannot run with the app's state"
)]
pub trait Invoke<S>: Meta {
    /// What its arguments ask of the route.
    const NEEDS: Needs = Needs::NONE;

    /// Handles one delivery. Of a batch handler, a batch of one.
    fn invoke(
        delivery: Delivery,
        state: Arc<S>,
    ) -> impl Future<Output = HandlerResult> + Send + 'static;

    /// Handles the deliveries of a batch, at least one, in the order of their arrival. Only a handler whose
    /// [`HandlerMeta::batch`] is set is called so; the others fail.
    fn invoke_batch(
        deliveries: Vec<Delivery>,
        state: Arc<S>,
    ) -> impl Future<Output = Result<Answer, HandlerError>> + Send + 'static {
        drop((deliveries, state));
        std::future::ready(Err(HandlerError::permanent(
            "the handler takes one message at a time",
        )))
    }
}

/// A function under `#[dotmsg::handler]`. `T` is a marker that inference fills in.
///
/// ```
/// use dotmsg_core::handler::{Annotated, HandlerMeta, Invoke, Meta};
///
/// /// What an app does with a handler it is given.
/// fn register<S, T, H>(_: H) -> HandlerMeta
/// where
///     H: Annotated<T>,
///     H::Meta: Invoke<S>,
/// {
///     H::Meta::META
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no `#[dotmsg::handler]` attribute",
    label = "not an annotated handler",
    note = "put `#[dotmsg::handler(topic = \"…\", group = \"…\")]` on the async function"
)]
pub trait Annotated<T> {
    /// The function's meta type.
    type Meta: Meta;

    /// This handler with a layer around it; the last one added is the outermost. Layers of the app
    /// ([`App::layer`](crate::app::App::layer)) are around those of a handler.
    ///
    /// ```
    /// use dotmsg_core::handler::{Annotated, Call, CallService, HandlerError, Layered, Next, from_fn};
    ///
    /// /// What an app is given when a handler has a layer.
    /// fn slow<T>(handler: impl Annotated<T>) -> Layered<impl Annotated<T>> {
    ///     handler.layer(from_fn(async |call: Call, next: Next| {
    ///         tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    ///         next.run(call).await
    ///     }))
    /// }
    /// ```
    fn layer<L>(self, layer: L) -> Layered<Self>
    where
        Self: Sized,
        L: Layer<CallService> + Send + Sync + 'static,
        L::Service: Service<Call, Response = Answer, Error = HandlerError> + Clone + Send + 'static,
        <L::Service as Service<Call>>::Future: Send + 'static,
    {
        let mut layers = Layers::default();
        layers.push(layer);
        Layered {
            handler: self,
            layers,
        }
    }

    /// The layers around it, the innermost first.
    #[doc(hidden)]
    fn layers(&self) -> Layers {
        Layers::default()
    }

    /// The function as a [`Handler`], without its layers.
    fn into_handler(self) -> AnnotatedHandler<Self::Meta>
    where
        Self: Sized,
    {
        AnnotatedHandler::default()
    }
}

#[diagnostic::do_not_recommend]
impl<T, H: Annotated<T>> Annotated<T> for Layered<H> {
    type Meta = H::Meta;

    fn layers(&self) -> Layers {
        self.handler.layers().within(&self.layers)
    }
}

macro_rules! impl_annotated {
    ($($argument:ident)*) => {
        #[diagnostic::do_not_recommend]
        impl<F, Fut, M: Meta, $($argument,)*> Annotated<($($argument,)*)> for F
        where
            F: Fn($($argument,)*) -> Described<Fut, M>,
        {
            type Meta = M;
        }
    };
}

impl_annotated!();
impl_annotated!(A1);
impl_annotated!(A1 A2);
impl_annotated!(A1 A2 A3);
impl_annotated!(A1 A2 A3 A4);
impl_annotated!(A1 A2 A3 A4 A5);
impl_annotated!(A1 A2 A3 A4 A5 A6);
impl_annotated!(A1 A2 A3 A4 A5 A6 A7);
impl_annotated!(A1 A2 A3 A4 A5 A6 A7 A8);
impl_annotated!(A1 A2 A3 A4 A5 A6 A7 A8 A9);
impl_annotated!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10);
impl_annotated!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11);
impl_annotated!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12);

/// The marker under which an [`AnnotatedHandler`] is a [`Handler`].
#[derive(Debug)]
pub enum ByAttribute {}

/// An annotated function as a [`Handler`]: made by [`Annotated::into_handler`].
pub struct AnnotatedHandler<M>(PhantomData<fn() -> M>);

impl<M: Meta> AnnotatedHandler<M> {
    /// What the attribute says.
    #[must_use]
    pub fn meta(&self) -> HandlerMeta {
        M::META
    }
}

#[diagnostic::do_not_recommend]
impl<M, S> Handler<ByAttribute, S> for AnnotatedHandler<M>
where
    M: Invoke<S>,
{
    const NEEDS: Needs = M::NEEDS;

    fn call(
        &self,
        delivery: Delivery,
        state: Arc<S>,
    ) -> impl Future<Output = HandlerResult> + Send + 'static + use<M, S> {
        M::invoke(delivery, state)
    }
}

impl<M> Default for AnnotatedHandler<M> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<M> Clone for AnnotatedHandler<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for AnnotatedHandler<M> {}

impl<M: Meta> fmt::Debug for AnnotatedHandler<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnnotatedHandler")
            .field(&M::META.name)
            .finish()
    }
}
