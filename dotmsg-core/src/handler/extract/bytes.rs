//! The payload as it is.
//!
//! An owned [`Bytes`] shares the record's memory, so taking it copies nothing.

use bytes::Bytes;

use super::NullPayload;
use crate::delivery::Delivery;
use crate::handler::FromPayload;

impl<'d, S> FromPayload<'d, S> for Bytes {
    type Rejection = NullPayload;

    fn from_payload(delivery: &'d Delivery, _: &'d S) -> Result<Self, NullPayload> {
        delivery
            .payload()
            .cloned()
            .ok_or_else(|| NullPayload::of("Bytes"))
    }
}

impl<'d, S> FromPayload<'d, S> for &'d [u8] {
    type Rejection = NullPayload;

    fn from_payload(delivery: &'d Delivery, _: &'d S) -> Result<Self, NullPayload> {
        delivery
            .payload()
            .map(|payload| &payload[..])
            .ok_or_else(|| NullPayload::of("&[u8]"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::delivery;
    use super::*;
    use crate::handler::HandlerError;
    use crate::message::Message;

    #[test]
    fn empty_is_a_payload_and_null_is_none() {
        let empty = delivery(Message::new(""));
        assert_eq!(Bytes::from_payload(&empty, &()), Ok(Bytes::new()));
        assert_eq!(<&[u8]>::from_payload(&empty, &()), Ok(&[][..]));
        let null = delivery(Message::tombstone());
        let error = HandlerError::from(Bytes::from_payload(&null, &()).unwrap_err());
        assert_eq!(error.kind_name(), "null_payload");
        assert!(error.to_string().contains("`Option<Bytes>`"));
        assert!(!error.is_transient());
        assert!(<&[u8]>::from_payload(&null, &()).is_err());
    }
}
