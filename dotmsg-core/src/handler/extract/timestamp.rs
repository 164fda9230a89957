//! When the producer made the message. The broker's own time of append is [`Delivery::appended_at`].

use std::convert::Infallible;

use crate::clock::Timestamp;
use crate::delivery::Delivery;
use crate::handler::FromDelivery;

impl<'d, S> FromDelivery<'d, S> for Timestamp {
    type Rejection = Infallible;

    fn from_delivery(delivery: &'d Delivery, _: &'d S) -> Result<Self, Infallible> {
        Ok(delivery.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::delivery;
    use super::*;
    use crate::message::Message;

    #[test]
    fn it_is_the_producers() {
        let mut message = Message::new("x");
        message.timestamp = Timestamp(12);
        let given = delivery(message);
        assert_eq!(Timestamp::from_delivery(&given, &()), Ok(Timestamp(12)));
    }
}
