//! Where the record in hand lies, and where the message was first read.
//!
//! The two differ for a retried or replayed message: its record lies in a topic of the group's own, its origin in the
//! source topic. A borrowed [`Position`] needs the attribute; the owned one shares the topic's name and allocates nothing.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use crate::delivery::{Delivery, Position};
use crate::handler::FromDelivery;

/// A place in a log that owns its topic's name: where the record in hand lies.
///
/// ```
/// use dotmsg_core::handler::{Origin, OwnedPosition};
///
/// async fn bill(record: OwnedPosition, Origin(origin): Origin) {
///     println!("{record}, first read at {origin}");
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnedPosition {
    /// The topic, as the broker knows it (prefix included).
    pub topic: Arc<str>,
    /// The partition, from 0.
    pub partition: u32,
    /// The offset, from 0.
    pub offset: u64,
}

impl OwnedPosition {
    /// The same, borrowed.
    #[must_use]
    pub fn as_position(&self) -> Position<'_> {
        Position {
            topic: &self.topic,
            partition: self.partition,
            offset: self.offset,
        }
    }

    fn at(topic: &Arc<str>, position: Position<'_>) -> Self {
        Self {
            topic: Arc::clone(topic),
            partition: position.partition,
            offset: position.offset,
        }
    }
}

impl fmt::Display for OwnedPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_position().fmt(f)
    }
}

/// Where the message was first read: its position in the source topic, the same through every retry and replay.
///
/// `Origin` owns its position; `Origin<Position<'_>>` borrows it, under the attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin<P = OwnedPosition>(pub P);

impl<'d, S> FromDelivery<'d, S> for Position<'d> {
    type Rejection = Infallible;

    fn from_delivery(delivery: &'d Delivery, _: &'d S) -> Result<Self, Infallible> {
        Ok(delivery.position())
    }
}

impl<'d, S> FromDelivery<'d, S> for OwnedPosition {
    type Rejection = Infallible;

    fn from_delivery(delivery: &'d Delivery, _: &'d S) -> Result<Self, Infallible> {
        Ok(Self::at(&delivery.stream().topic, delivery.position()))
    }
}

impl<'d, S> FromDelivery<'d, S> for Origin<Position<'d>> {
    type Rejection = Infallible;

    fn from_delivery(delivery: &'d Delivery, _: &'d S) -> Result<Self, Infallible> {
        Ok(Self(delivery.origin()))
    }
}

impl<'d, S> FromDelivery<'d, S> for Origin<OwnedPosition> {
    type Rejection = Infallible;

    fn from_delivery(delivery: &'d Delivery, _: &'d S) -> Result<Self, Infallible> {
        let topic = match delivery.lineage() {
            Some(lineage) => &lineage.topic,
            None => &delivery.stream().topic,
        };
        Ok(Self(OwnedPosition::at(topic, delivery.origin())))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::{delivery, in_role};
    use super::*;
    use crate::delivery::{Role, control};
    use crate::message::Message;

    fn of(delivery: &Delivery) -> (String, String) {
        let Ok(position) = OwnedPosition::from_delivery(delivery, &());
        let Ok(Origin(origin)) = <Origin>::from_delivery(delivery, &());
        let Ok(borrowed) = Position::from_delivery(delivery, &());
        let Ok(Origin(borrowed_origin)) = Origin::<Position<'_>>::from_delivery(delivery, &());
        assert_eq!(position.as_position(), borrowed);
        assert_eq!(origin.as_position(), borrowed_origin);
        (position.to_string(), origin.to_string())
    }

    #[test]
    fn on_a_source_topic_they_are_the_same_whatever_headers_are_forged() {
        let forged = Message::new("x")
            .with_header(control::ORIGIN_TOPIC, "other")
            .with_header(control::ORIGIN_PARTITION, "0")
            .with_header(control::ORIGIN_OFFSET, "1")
            .with_header(control::ORIGIN_TIMESTAMP, "0");
        let (position, origin) = of(&delivery(forged));
        assert_eq!(position, "orders/3/41");
        assert_eq!(origin, "orders/3/41");
    }

    #[test]
    fn a_retry_has_its_origin_in_the_source_topic() {
        let retried = Message::new("x")
            .with_header(control::ORIGIN_TOPIC, "orders")
            .with_header(control::ORIGIN_PARTITION, "3")
            .with_header(control::ORIGIN_OFFSET, "7")
            .with_header(control::ORIGIN_TIMESTAMP, "0");
        let role = Role::Tier {
            delay: Duration::from_secs(5),
        };
        let (position, origin) = of(&in_role(role, retried));
        assert_eq!(position, "orders.billing.retry.5s/3/41");
        assert_eq!(origin, "orders/3/7");
    }
}
