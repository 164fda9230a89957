//! A publisher to the backend of the route.
//!
//! The app puts it on the streams that it makes, so that a delivery of none has none.

use std::fmt;

use crate::delivery::Delivery;
use crate::handler::{FromDelivery, HandlerError, Needs};
use crate::publisher::Publisher;

/// The delivery has no publisher: no app made it. Kind `publisher`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoPublisher;

impl<'d, S> FromDelivery<'d, S> for Publisher {
    const NEEDS: Needs = Needs::PUBLISHER;

    type Rejection = NoPublisher;

    fn from_delivery(delivery: &'d Delivery, state: &'d S) -> Result<Self, NoPublisher> {
        <&Self>::from_delivery(delivery, state).cloned()
    }
}

impl<'d, S> FromDelivery<'d, S> for &'d Publisher {
    const NEEDS: Needs = Needs::PUBLISHER;

    type Rejection = NoPublisher;

    fn from_delivery(delivery: &'d Delivery, _: &'d S) -> Result<Self, NoPublisher> {
        delivery.stream().provided().ok_or(NoPublisher)
    }
}

impl fmt::Display for NoPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this delivery has no publisher, because no app made it, or one with delivery = \"exactly_once\"; in a test, call the \
             function with `Publisher::new(…)`, give the stream one with `Stream::providing`, or run the app",
        )
    }
}

impl From<NoPublisher> for HandlerError {
    fn from(rejection: NoPublisher) -> Self {
        Self::permanent(rejection.to_string()).kind("publisher")
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::sync::Arc;

    use super::super::testing::{delivery, now};
    use super::*;
    use crate::backend::Backend;
    use crate::clock::Timestamp;
    use crate::delivery::{Provided, Role, Stream};
    use crate::handler::{Attempt, FromLast, FromPayload, Handler, Json};
    use crate::log::{LogBroker, LogOptions};
    use crate::message::Message;

    #[test]
    fn a_delivery_of_no_app_is_rejected_for_good_and_told_what_to_do() {
        let given = delivery(Message::new("x"));
        let error = HandlerError::from(Publisher::from_delivery(&given, &()).unwrap_err());
        assert_eq!(error.kind_name(), "publisher");
        assert!(!error.is_transient());
        assert!(error.to_string().contains("`Publisher::new(…)`"), "{error}");
    }

    #[test]
    fn it_is_the_streams_and_publishes_under_its_prefix() {
        let mut options = LogOptions::default();
        options.auto_create = true;
        let log = LogBroker::memory(options);
        let publisher = Publisher::new(log.publisher()).topic_prefix("live.");
        let stream = Stream::new("live.orders".into(), 0, 1, Role::Source);
        let stream = stream.providing(Some(Arc::new(Provided::new().with(publisher))));
        let given = Delivery::new(Arc::new(stream), 7, Timestamp(0), Message::new("x"));
        let Ok(publisher) = <&Publisher>::from_delivery(&given, &()) else {
            panic!("it has one")
        };
        let published = now(publisher.publish("bills", Message::new("y"))).unwrap();
        assert_eq!(published.offset, 0);
        assert!(now(log.admin().topic("live.bills")).unwrap().is_some());
    }

    #[test]
    fn a_handler_needs_what_any_of_its_arguments_does() {
        fn needs<T, H: Handler<T, ()>>(_: H) -> Needs {
            H::NEEDS
        }
        async fn part(_: Publisher, _: Json<u64>) {}
        async fn alone(_: Publisher) {}
        async fn none(_: Attempt, _: Option<Json<u64>>) {}
        assert_eq!(needs(part), Needs::PUBLISHER);
        assert_eq!(needs(alone), Needs::PUBLISHER);
        assert_eq!(needs(none), Needs::NONE);
        assert_eq!(needs(|| ready(())), Needs::NONE);
    }

    /// A payload of the user's that publishes what it cannot read.
    struct Checked;

    impl<'d, S> FromPayload<'d, S> for Checked {
        const NEEDS: Needs = <&Publisher as FromDelivery<'d, S>>::NEEDS;

        type Rejection = HandlerError;

        fn from_payload(delivery: &'d Delivery, state: &'d S) -> Result<Self, HandlerError> {
            let _publisher = <&Publisher>::from_delivery(delivery, state)?;
            Ok(Self)
        }
    }

    #[test]
    fn needs_are_forwarded() {
        fn last<T: for<'d> FromLast<'d, (), Via>, Via>() -> Needs {
            <T as FromLast<'_, (), Via>>::NEEDS
        }
        assert_eq!(last::<Publisher, _>(), Needs::PUBLISHER);
        assert_eq!(last::<Checked, _>(), Needs::PUBLISHER);
        assert_eq!(last::<Option<Checked>, _>(), Needs::PUBLISHER);
        assert_eq!(last::<Attempt, _>(), Needs::NONE);
        let given = delivery(Message::new("x"));
        assert!(Checked::from_payload(&given, &()).is_err());
    }
}
