//! All headers. A clone shares the list.

use std::convert::Infallible;

use crate::delivery::Delivery;
use crate::handler::FromDelivery;
use crate::message::Headers;

impl<'d, S> FromDelivery<'d, S> for Headers {
    type Rejection = Infallible;

    fn from_delivery(delivery: &'d Delivery, _: &'d S) -> Result<Self, Infallible> {
        Ok(delivery.headers().clone())
    }
}

impl<'d, S> FromDelivery<'d, S> for &'d Headers {
    type Rejection = Infallible;

    fn from_delivery(delivery: &'d Delivery, _: &'d S) -> Result<Self, Infallible> {
        Ok(delivery.headers())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::delivery;
    use super::*;
    use crate::message::Message;

    #[test]
    fn owned_and_borrowed_are_the_same_headers() {
        let given = delivery(Message::new("x").with_header("trace", "a"));
        let Ok(owned) = Headers::from_delivery(&given, &());
        let Ok(borrowed) = <&Headers>::from_delivery(&given, &());
        assert_eq!(owned.get_str("trace"), Some("a"));
        assert_eq!(&owned, borrowed);
    }
}
