//! The identity of the message: what recognises a redelivered or repeated one.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;

use bytes::Bytes;

use crate::delivery::Delivery;
use crate::handler::FromDelivery;

/// The identity: the header `dotmsg-id`, else `topic/partition/offset` of the origin. The same on every attempt.
///
/// It is whatever bytes the producer chose, so it displays with everything but printable ASCII escaped.
///
/// ```
/// use dotmsg_core::handler::MessageId;
///
/// let id = MessageId(bytes::Bytes::from("a\n\u{1b}[1m"));
/// assert_eq!(id.to_string(), r"a\n\x1b[1m");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub Bytes);

impl<'d, S> FromDelivery<'d, S> for MessageId {
    type Rejection = Infallible;

    fn from_delivery(delivery: &'d Delivery, _: &'d S) -> Result<Self, Infallible> {
        Ok(Self(match delivery.message().id() {
            Some(id) => id.clone(),
            None => Bytes::from(Cow::into_owned(delivery.id())),
        }))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::delivery;
    use super::*;
    use crate::message::Message;

    fn id(message: Message) -> String {
        let Ok(id) = MessageId::from_delivery(&delivery(message), &());
        id.to_string()
    }

    #[test]
    fn the_header_or_the_origin() {
        assert_eq!(id(Message::new("x").with_id("7")), "7");
        assert_eq!(id(Message::new("x")), "orders/3/41");
    }
}
