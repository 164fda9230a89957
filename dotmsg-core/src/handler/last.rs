//! The last argument of a handler: the payload, or one more part.
//!
//! One trait covers both, told apart by a marker that inference fills in, so that functions with and without a payload
//! need one implementation per arity and the attribute macro needs no knowledge of types. A type must not be both a part
//! and a payload: the marker would be ambiguous.

use super::{FromDelivery, FromPayload, HandlerError, Needs};
use crate::delivery::Delivery;

/// Marks a last argument that is a part ([`FromDelivery`]).
#[derive(Debug)]
pub enum ViaPart {}

/// Marks a last argument that is the payload ([`FromPayload`]).
#[derive(Debug)]
pub enum ViaPayload {}

/// What may stand last in a handler's arguments: every [`FromPayload`] and every [`FromDelivery`].
///
/// Implement one of these two instead.
///
/// ```
/// use dotmsg_core::handler::{Attempt, FromLast, Json};
///
/// fn may_be_last<T, Via>() where T: for<'d> FromLast<'d, (), Via> {}
/// may_be_last::<Json<u64>, _>();
/// may_be_last::<Attempt, _>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a payload nor a part of a delivery",
    label = "not an extractor",
    note = "a payload is `Json<T>`, `Bytes` or an `Option` of one; to decode JSON into `{Self}`, take `Json<{Self}>`",
    note = "parts are `State<T>`, `Key<T>`, `Headers`, `Position`, `Origin`, `Attempt`, `MessageId`, `Timestamp`, `Publisher` and `Delivery`",
    note = "an extractor for one type of state only needs `state = ThatType` in the attribute"
)]
pub trait FromLast<'d, S, Via>: Sized {
    /// What it asks of the route.
    const NEEDS: Needs = Needs::NONE;

    /// Extracts it.
    ///
    /// # Errors
    /// The rejection, as a handler's error.
    fn from_last(delivery: &'d Delivery, state: &'d S) -> Result<Self, HandlerError>;
}

#[diagnostic::do_not_recommend]
impl<'d, S, T: FromDelivery<'d, S>> FromLast<'d, S, ViaPart> for T {
    const NEEDS: Needs = T::NEEDS;

    fn from_last(delivery: &'d Delivery, state: &'d S) -> Result<Self, HandlerError> {
        T::from_delivery(delivery, state).map_err(Into::into)
    }
}

#[diagnostic::do_not_recommend]
impl<'d, S, T: FromPayload<'d, S>> FromLast<'d, S, ViaPayload> for T {
    const NEEDS: Needs = T::NEEDS;

    fn from_last(delivery: &'d Delivery, state: &'d S) -> Result<Self, HandlerError> {
        T::from_payload(delivery, state).map_err(Into::into)
    }
}
