//! Which call of the handler this is for this message.

use std::convert::Infallible;

use crate::delivery::Delivery;
use crate::handler::FromDelivery;

/// The number of this call for this message: 1 for the first; repeats in place and tiers are counted, a replay starts
/// over.
///
/// ```
/// use dotmsg_core::handler::Attempt;
///
/// async fn bill(Attempt(attempt): Attempt) {
///     if attempt > 1 {
///         println!("again");
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(pub u32);

impl<'d, S> FromDelivery<'d, S> for Attempt {
    type Rejection = Infallible;

    fn from_delivery(delivery: &'d Delivery, _: &'d S) -> Result<Self, Infallible> {
        Ok(Self(delivery.attempt()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::delivery;
    use super::*;
    use crate::message::Message;

    #[test]
    fn it_is_the_deliverys() {
        let given = delivery(Message::new("x"));
        assert_eq!(Attempt::from_delivery(&given, &()), Ok(Attempt(1)));
        let again = given.with_attempt(3);
        assert_eq!(Attempt::from_delivery(&again, &()), Ok(Attempt(3)));
    }
}
