//! Handlers: what a service author writes, and what the runtime calls.
//!
//! A handler is an async function whose arguments are extractors ([`FromDelivery`] for parts, in any order;
//! [`FromPayload`] for the decoded payload, last) and whose return value says what is published and how the delivery is
//! settled ([`IntoReturned`]). The attribute `#[dotmsg::handler]` adds the subscription ([`HandlerMeta`]), borrowed
//! arguments and better compile errors; [`AnnotatedHandler`] brings it to the same trait [`Handler`]. Methods of a value
//! that holds their dependencies are handlers by `#[dotmsg::handlers]` ([`Handlers`]).

mod annotated;
mod batch;
mod call;
mod classify;
mod erased;
mod error;
pub mod extract;
mod function;
mod last;
mod layered;
mod meta;
mod methods;
mod needs;
mod outgoing;
mod returned;
mod service;

pub use annotated::{Annotated, AnnotatedHandler, ByAttribute, Described, Invoke, Meta};
pub use batch::{
    Batch, Each, Extracted, FromBatch, FromMember, IntoAnswer, ViaLast, ViaTuple, batch_of_one,
};
pub use call::{Answer, Call};
pub use classify::Classify;
#[doc(hidden)]
pub use classify::{ClassOf, Said, SaysNothing};
pub use erased::{Erased, ErasedCall};
pub use error::{ErrorClass, ErrorClasses, HandlerError};
#[doc(hidden)]
pub use extract::TypeName;
pub use extract::{
    Attempt, DecodeError, FromKey, FromRef, Json, JsonRejection, Key, KeyRejection, MessageId,
    NoPublisher, NullPayload, Origin, OwnedPosition, State,
};
pub use last::{FromLast, ViaPart, ViaPayload};
pub use layered::{CallService, FromFn, Layered, Layers, Next, from_fn};
pub use meta::{BatchMeta, HandlerMeta, RetryMeta};
pub use methods::{Handlers, Routes};
pub use needs::Needs;
pub use outgoing::Outgoing;
pub use returned::{IntoReturned, Returned};
pub(crate) use service::{AsCalls, OfCalls};
pub use service::{BatchHandlerService, HandlerService};

use std::future::Future;
use std::sync::Arc;

use crate::delivery::Delivery;

/// What a call of a handler comes to: messages to publish and a settlement, or a classified error.
pub type HandlerResult = Result<Returned, HandlerError>;

/// Something that handles deliveries. `T` is a marker that lets functions of every arity implement it (as in axum); `S`
/// is the app's shared state.
///
/// Async functions and closures whose arguments own what they hold implement it, with up to twelve arguments: parts in
/// any order, the payload last. Arguments that borrow from the delivery need the attribute `#[dotmsg::handler]`.
///
/// ```
/// use dotmsg_core::handler::{Handler, Json, Key, State};
/// use std::sync::Arc;
///
/// async fn bill(State(limit): State<u64>, Key(customer): Key<String>, Json(cents): Json<u64>) {
///     assert!(cents <= limit, "{customer} is over the limit");
/// }
///
/// fn is_handler<T, S>(_: impl Handler<T, S>) {}
/// is_handler::<_, u64>(bill);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a message handler for the state `{S}`",
    label = "not a message handler",
    note = "a handler is an `async fn` of extractors that own what they hold: parts in any order, the payload last",
    note = "put `#[dotmsg::handler(topic = \"…\")]` on the function: the error then names the argument at fault"
)]
pub trait Handler<T, S>: Clone + Send + Sync + 'static {
    /// What its arguments ask of the route.
    const NEEDS: Needs = Needs::NONE;

    /// Handles one delivery.
    fn call(
        &self,
        delivery: Delivery,
        state: Arc<S>,
    ) -> impl Future<Output = HandlerResult> + Send + 'static + use<Self, T, S>;
}

/// An extractor of a part of the delivery: key, headers, position, state…
///
/// `'d` lets a part borrow from the delivery (through the attribute macro).
///
/// ```
/// use dotmsg_core::delivery::Delivery;
/// use dotmsg_core::handler::{FromDelivery, HandlerError};
///
/// struct Tenant<'d>(&'d str);
///
/// impl<'d, S> FromDelivery<'d, S> for Tenant<'d> {
///     type Rejection = HandlerError;
///
///     fn from_delivery(delivery: &'d Delivery, _: &'d S) -> Result<Self, HandlerError> {
///         match delivery.headers().get_str("tenant") {
///             Some(tenant) => Ok(Self(tenant)),
///             None => Err(HandlerError::permanent("the header `tenant` is missing").kind("tenant")),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a part of a delivery",
    label = "not a part of a delivery",
    note = "parts are `State<T>`, `Key<T>`, `Headers`, `Position`, `Origin`, `Attempt`, `MessageId`, `Timestamp`, `Publisher` and `Delivery`, and what implements `FromDelivery`",
    note = "the payload (`Json<T>`, `Bytes` or an `Option` of one) is the last argument, and there is only one",
    note = "an extractor for one type of state only needs `state = ThatType` in the attribute"
)]
pub trait FromDelivery<'d, S>: Sized {
    /// What it asks of the route. One that extracts others says what they do ([`Needs::and`]).
    const NEEDS: Needs = Needs::NONE;

    /// Why it could not be extracted. Extraction errors are permanent unless they say otherwise.
    type Rejection: Into<HandlerError>;

    /// Extracts it.
    ///
    /// # Errors
    /// The rejection; the delivery goes the way of that error (by default the dead-letter topic).
    fn from_delivery(delivery: &'d Delivery, state: &'d S) -> Result<Self, Self::Rejection>;
}

/// An extractor of the payload; the last argument of a handler.
///
/// ```
/// use dotmsg_core::delivery::Delivery;
/// use dotmsg_core::handler::{FromPayload, HandlerError};
///
/// struct Text<'d>(&'d str);
///
/// impl<'d, S> FromPayload<'d, S> for Text<'d> {
///     type Rejection = HandlerError;
///
///     fn from_payload(delivery: &'d Delivery, _: &'d S) -> Result<Self, HandlerError> {
///         let bytes = delivery.payload().map_or(&[][..], |payload| payload);
///         std::str::from_utf8(bytes)
///             .map(Self)
///             .map_err(|error| HandlerError::permanent(error).kind("decode"))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a kind of payload",
    label = "not a kind of payload",
    note = "payloads are `Json<T>`, `Bytes`, an `Option` of one for tombstones, and what implements `FromPayload`"
)]
pub trait FromPayload<'d, S>: Sized {
    /// What it asks of the route. One that extracts others says what they do ([`Needs::and`]).
    const NEEDS: Needs = Needs::NONE;

    /// Why it could not be decoded.
    type Rejection: Into<HandlerError>;

    /// Decodes it.
    ///
    /// # Errors
    /// The rejection; the delivery goes the way of that error (by default the dead-letter topic).
    fn from_payload(delivery: &'d Delivery, state: &'d S) -> Result<Self, Self::Rejection>;
}
