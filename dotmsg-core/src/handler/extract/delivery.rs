//! The whole delivery.
//!
//! It is a part and not a payload, so that it may stand beside a decoded payload.

use std::convert::Infallible;

use crate::delivery::Delivery;
use crate::handler::FromDelivery;

impl<'d, S> FromDelivery<'d, S> for Delivery {
    type Rejection = Infallible;

    fn from_delivery(delivery: &'d Delivery, _: &'d S) -> Result<Self, Infallible> {
        Ok(delivery.clone())
    }
}

impl<'d, S> FromDelivery<'d, S> for &'d Delivery {
    type Rejection = Infallible;

    fn from_delivery(delivery: &'d Delivery, _: &'d S) -> Result<Self, Infallible> {
        Ok(delivery)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::delivery;
    use super::*;
    use crate::message::Message;

    #[test]
    fn owned_and_borrowed_are_the_same_delivery() {
        let given = delivery(Message::new("x"));
        let Ok(owned) = Delivery::from_delivery(&given, &());
        let Ok(borrowed) = <&Delivery>::from_delivery(&given, &());
        assert!(std::ptr::eq(owned.message(), borrowed.message()));
    }
}
