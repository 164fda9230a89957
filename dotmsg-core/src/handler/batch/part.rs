//! Parts of a whole call of a batch handler: what does not belong to one message.

use std::convert::Infallible;

use crate::delivery::Delivery;
use crate::handler::{FromDelivery, FromRef, HandlerError, Needs, NoPublisher, State};
use crate::publisher::Publisher;

/// An argument of a batch handler before the batch: what the call as a whole has.
///
/// What belongs to a message (its key, its headers) is extracted with each message:
/// `Batch<(Key<String>, Json<Order>)>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a part of a batch",
    label = "not a part of a batch",
    note = "what belongs to a message is taken with each message: `Batch<({Self}, Json<…>)>`",
    note = "parts of a batch are `State<T>`, `Publisher` and what implements `FromBatch`"
)]
pub trait FromBatch<'d, S>: Sized {
    /// Why it could not be extracted.
    type Rejection: Into<HandlerError>;

    /// What it asks of the route.
    const NEEDS: Needs = Needs::NONE;

    /// Extracts it from the deliveries of a call, at least one.
    ///
    /// # Errors
    /// The rejection, which is the failure of the whole call.
    fn from_batch(deliveries: &'d [Delivery], state: &'d S) -> Result<Self, Self::Rejection>;
}

impl<'d, S, T: FromRef<S>> FromBatch<'d, S> for State<T> {
    type Rejection = Infallible;

    fn from_batch(_: &'d [Delivery], state: &'d S) -> Result<Self, Infallible> {
        Ok(Self(T::from_ref(state)))
    }
}

impl<'d, S> FromBatch<'d, S> for Publisher {
    type Rejection = NoPublisher;

    const NEEDS: Needs = Needs::PUBLISHER;

    fn from_batch(deliveries: &'d [Delivery], state: &'d S) -> Result<Self, NoPublisher> {
        let first = deliveries.first().expect("a batch is of at least one");
        Self::from_delivery(first, state)
    }
}
