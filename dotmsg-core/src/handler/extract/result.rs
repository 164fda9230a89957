//! An extractor whose rejection goes to the handler.
//!
//! A message that cannot be extracted is a dead letter before the handler runs. A handler that wants it otherwise (to
//! discard it, to count it, to publish it elsewhere) takes the extractor as a `Result`. Both traits are implemented, and
//! which of them is meant is decided by the extractor inside: a type is a part or a payload, never both.

use std::convert::Infallible;

use crate::delivery::Delivery;
use crate::handler::{FromDelivery, FromPayload, Needs};

impl<'d, S, T: FromDelivery<'d, S>> FromDelivery<'d, S> for Result<T, T::Rejection> {
    type Rejection = Infallible;

    const NEEDS: Needs = T::NEEDS;

    fn from_delivery(delivery: &'d Delivery, state: &'d S) -> Result<Self, Infallible> {
        Ok(T::from_delivery(delivery, state))
    }
}

impl<'d, S, T: FromPayload<'d, S>> FromPayload<'d, S> for Result<T, T::Rejection> {
    type Rejection = Infallible;

    const NEEDS: Needs = T::NEEDS;

    fn from_payload(delivery: &'d Delivery, state: &'d S) -> Result<Self, Infallible> {
        Ok(T::from_payload(delivery, state))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testing::{delivery, now};
    use super::super::{Attempt, Json, JsonRejection, Key, KeyRejection};
    use crate::delivery::Settlement;
    use crate::handler::{FromLast, Handler, HandlerError};
    use crate::message::Message;

    type Number = Result<Json<u64>, JsonRejection>;
    type MaybeNumber = Result<Option<Json<u64>>, JsonRejection>;
    type Customer = Result<Key<u64>, KeyRejection>;

    /// The last argument of a handler, by inference alone.
    fn last<T, Via>(message: Message) -> T
    where
        T: for<'d> FromLast<'d, (), Via>,
    {
        match T::from_last(&delivery(message), &()) {
            Ok(extracted) => extracted,
            Err(error) => panic!("a result is always extracted, but: {error}"),
        }
    }

    #[test]
    fn whether_it_is_the_payload_is_inferred() {
        assert_eq!(last::<Number, _>(Message::new("7")), Ok(Json(7)));
        assert!(matches!(
            last::<Number, _>(Message::new("x")),
            Err(JsonRejection::Decode(_))
        ));
        let keyed = Message::new("x").with_key("7");
        assert_eq!(last::<Customer, _>(keyed), Ok(Key(7)));
        let null = last::<Customer, _>(Message::new("x"));
        assert_eq!(null, Err(KeyRejection::Null));
    }

    #[test]
    fn around_an_option_and_in_one() {
        assert_eq!(last::<MaybeNumber, _>(Message::tombstone()), Ok(None));
        assert!(last::<MaybeNumber, _>(Message::new("x")).is_err());
        assert_eq!(last::<Option<Number>, _>(Message::tombstone()), None);
        assert!(matches!(
            last::<Option<Number>, _>(Message::new("x")),
            Some(Err(_))
        ));
    }

    #[test]
    fn a_plain_function_gets_the_rejection() {
        async fn bill(
            key: Customer,
            _: Attempt,
            order: Number,
        ) -> Result<Settlement, HandlerError> {
            match (key, order) {
                (Ok(_), Ok(_)) => Ok(Settlement::Ack),
                (Err(_), Ok(_)) => Ok(Settlement::Discard),
                (_, Err(rejection)) => Err(rejection.into()),
            }
        }
        let run = |message| now(Handler::call(&bill, delivery(message), Arc::new(())));
        let settled = |message| run(message).unwrap().settlement;
        assert_eq!(settled(Message::new("1").with_key("7")), Settlement::Ack);
        assert_eq!(settled(Message::new("1")), Settlement::Discard);
        let error = run(Message::new("x")).unwrap_err();
        assert_eq!(error.kind_name(), "decode");
        assert!(!error.is_transient());
    }
}
