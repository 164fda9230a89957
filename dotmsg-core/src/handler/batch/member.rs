//! What is extracted from each message of a batch: what may stand last in a handler's arguments, or a tuple of parts and
//! that.

use std::marker::PhantomData;

use crate::delivery::Delivery;
use crate::handler::{FromDelivery, FromLast, HandlerError, Needs};

/// Marks one extractor, by the marker of [`FromLast`].
#[derive(Debug)]
pub struct ViaLast<Via>(PhantomData<Via>);

/// Marks a tuple of extractors, by the marker of its last one.
#[derive(Debug)]
pub struct ViaTuple<Via>(PhantomData<Via>);

/// What may be the `T` of a `Batch<T>`: an extractor, or a tuple of parts in any order with a payload or one more part last.
///
/// Implement [`FromDelivery`] or [`FromPayload`](crate::handler::FromPayload) instead.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be extracted from each message of a batch",
    label = "not an extractor",
    note = "a batch is of `Json<T>`, `Bytes`, an `Option` of one, of parts such as `Key<T>`, or of tuples such as `(Key<String>, Json<T>)`",
    note = "to decode JSON into `{Self}`, take `Batch<Json<{Self}>>`"
)]
pub trait FromMember<'d, S, Via>: Sized {
    /// What it asks of the route.
    const NEEDS: Needs;

    /// Extracts it.
    ///
    /// # Errors
    /// The rejection, as a handler's error.
    fn from_member(delivery: &'d Delivery, state: &'d S) -> Result<Self, HandlerError>;
}

#[diagnostic::do_not_recommend]
impl<'d, S, Via, T: FromLast<'d, S, Via>> FromMember<'d, S, ViaLast<Via>> for T {
    const NEEDS: Needs = T::NEEDS;

    fn from_member(delivery: &'d Delivery, state: &'d S) -> Result<Self, HandlerError> {
        T::from_last(delivery, state)
    }
}

macro_rules! impl_member {
    ($($part:ident)+, $last:ident) => {
        #[diagnostic::do_not_recommend]
        impl<'d, S, Via, $($part,)+ $last> FromMember<'d, S, ViaTuple<Via>> for ($($part,)+ $last)
        where
            $($part: FromDelivery<'d, S>,)+
            $last: FromLast<'d, S, Via>,
        {
            const NEEDS: Needs = $last::NEEDS$(.and($part::NEEDS))+;

            fn from_member(delivery: &'d Delivery, state: &'d S) -> Result<Self, HandlerError> {
                Ok((
                    $($part::from_delivery(delivery, state).map_err(Into::into)?,)+
                    $last::from_last(delivery, state)?,
                ))
            }
        }
    };
}

impl_member!(A1, L);
impl_member!(A1 A2, L);
impl_member!(A1 A2 A3, L);
impl_member!(A1 A2 A3 A4, L);
impl_member!(A1 A2 A3 A4 A5, L);
