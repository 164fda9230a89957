//! A payload that may be null.
//!
//! `None` stands for a tombstone and for nothing else: a payload that is there and does not decode is rejected as ever,
//! or a broken producer would delete what it meant to update.

use crate::delivery::Delivery;
use crate::handler::{FromPayload, Needs};

impl<'d, S, T: FromPayload<'d, S>> FromPayload<'d, S> for Option<T> {
    const NEEDS: Needs = T::NEEDS;

    type Rejection = T::Rejection;

    fn from_payload(delivery: &'d Delivery, state: &'d S) -> Result<Self, T::Rejection> {
        match delivery.payload() {
            Some(_) => T::from_payload(delivery, state).map(Some),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::delivery;
    use super::super::{Json, JsonRejection};
    use super::*;
    use crate::message::Message;

    fn number(message: Message) -> Result<Option<Json<u64>>, JsonRejection> {
        FromPayload::from_payload(&delivery(message), &())
    }

    #[test]
    fn none_is_a_tombstone_only() {
        assert_eq!(number(Message::tombstone()), Ok(None));
        assert_eq!(number(Message::new("7")), Ok(Some(Json(7))));
        for present in ["", "null", "x"] {
            let rejection = number(Message::new(present)).unwrap_err();
            assert!(matches!(rejection, JsonRejection::Decode(_)), "{present}");
        }
    }
}
