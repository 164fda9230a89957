//! Methods as handlers: `#[dotmsg::handlers]` on an impl block, and how its handlers reach an app.
//!
//! A value holds what its handlers depend on, and is shared by all of them. The attribute leaves the block as it is and
//! implements [`Handlers`] beside it; the app gives itself as the [`Routes`] that the handlers are added to. Each is added as
//! a closure that holds the value, so a call costs what a call of a function does, and one more reference count.

use std::future::Future;
use std::sync::Arc;

use super::{Answer, HandlerError, HandlerMeta, HandlerResult, Needs};
use crate::delivery::Delivery;

/// A value whose methods are handlers, for apps whose state is an `S`.
///
/// The attribute `#[dotmsg::handlers]` implements it, for every state that has the sub-states the methods take. An `Arc` of
/// such a value is one too: a test keeps the other half.
///
/// ```
/// use std::future::ready;
/// use std::sync::Arc;
/// use dotmsg_core::handler::{HandlerMeta, Handlers, IntoReturned, Needs, Routes};
///
/// struct Billing;
///
/// // What the attribute makes of a method `bill` without arguments.
/// impl<S: Send + Sync + 'static> Handlers<S> for Billing {
///     fn add_to<R: Routes<S>>(this: Arc<Self>, routes: R) -> R {
///         routes.add(HandlerMeta::new("bill", "orders"), Needs::NONE, move |_, _| {
///             let _billing = Arc::clone(&this);
///             ready(().into_returned())
///         })
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no handlers for the state `{S}`",
    label = "no methods of this are handlers",
    note = "put `#[dotmsg::handlers]` on its `impl` block, and `#[handler(topic = \"…\", group = \"…\")]` on methods in there"
)]
pub trait Handlers<S>: Send + Sync + Sized + 'static {
    /// Adds each handler to `routes`, in the order of the methods.
    fn add_to<R: Routes<S>>(this: Arc<Self>, routes: R) -> R;
}

#[diagnostic::do_not_recommend]
impl<S, T: Handlers<S>> Handlers<S> for Arc<T> {
    fn add_to<R: Routes<S>>(this: Arc<Self>, routes: R) -> R {
        T::add_to(Arc::clone(&this), routes)
    }
}

/// What handlers are added to: an app.
pub trait Routes<S>: Sized {
    /// Adds the handler of this meta, whose arguments have these needs; `call` handles one delivery.
    #[must_use]
    fn add<F, Fut>(self, meta: HandlerMeta, needs: Needs, call: F) -> Self
    where
        F: Fn(Delivery, Arc<S>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static;

    /// The same for a handler of batches ([`HandlerMeta::batch`] is set); `call` handles the deliveries of one.
    #[must_use]
    fn add_batch<F, Fut>(self, meta: HandlerMeta, needs: Needs, call: F) -> Self
    where
        F: Fn(Vec<Delivery>, Arc<S>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Answer, HandlerError>> + Send + 'static;
}
