//! Handlers: what a service author writes, and what the runtime calls.
//!
//! A handler is an async function whose arguments are extractors ([`FromDelivery`] for parts, in any order;
//! [`FromPayload`] for the decoded payload, last) and whose return value says what is published and how the delivery is
//! settled ([`IntoReturned`]). The attribute `#[dotmsg::handler]` adds the subscription and better compile errors to the
//! same trait [`Handler`].

mod error;
mod outgoing;
mod returned;
mod service;

pub use error::{ErrorClass, ErrorClasses, HandlerError};
pub use outgoing::Outgoing;
pub use returned::{IntoReturned, Returned};
pub use service::HandlerService;

use std::future::Future;
use std::sync::Arc;

use crate::delivery::Delivery;

/// What a call of a handler comes to: messages to publish and a settlement, or a classified error.
pub type HandlerResult = Result<Returned, HandlerError>;

/// Something that handles deliveries. `T` is a marker that lets functions of every arity implement it (as in axum); `S`
/// is the app's shared state.
pub trait Handler<T, S>: Clone + Send + Sync + 'static {
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
pub trait FromDelivery<'d, S>: Sized {
    /// Why it could not be extracted. Extraction errors are permanent unless they say otherwise.
    type Rejection: Into<HandlerError>;

    /// Extracts it.
    ///
    /// # Errors
    /// The rejection; the delivery goes the way of that error (by default the dead-letter topic).
    fn from_delivery(delivery: &'d Delivery, state: &'d S) -> Result<Self, Self::Rejection>;
}

/// An extractor of the payload; the last argument of a handler.
pub trait FromPayload<'d, S>: Sized {
    /// Why it could not be decoded.
    type Rejection: Into<HandlerError>;

    /// Decodes it.
    ///
    /// # Errors
    /// The rejection; the delivery goes the way of that error (by default the dead-letter topic).
    fn from_payload(delivery: &'d Delivery, state: &'d S) -> Result<Self, Self::Rejection>;
}
