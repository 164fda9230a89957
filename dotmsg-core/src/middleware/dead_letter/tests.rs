//! Tests of dead letters.

use std::fmt;
use std::future::ready;

use tower::{ServiceExt, service_fn};
use tower_service::Service;

use super::*;
use crate::clock::Timestamp;
use crate::delivery::{Lineage, Settlement, control};
use crate::error::ErrorKind;
use crate::handler::HandlerError;
use crate::message::Message;
use crate::middleware::Ended;
use crate::middleware::testing::{
    Script, ScriptedPublisher, clock, delivery, delivery_of, handled, lineage, provenance, tier,
    transient,
};

fn service(
    publisher: &Arc<ScriptedPublisher>,
    result: impl Fn() -> Result<Settlement, HandlerError>,
) -> impl Service<Delivery, Response = Outcome, Error = Infallible> {
    let layer = DeadLetterLayer::new(DeadLetterParts {
        metrics: std::sync::Arc::default(),
        topic: "orders.billing.dlq".into(),
        provenance: provenance(),
        publisher: Arc::clone(publisher) as _,
        clock: clock(),
    });
    tower_layer::Layer::layer(&layer, service_fn(move |_: Delivery| ready(result())))
}

const DEAD: Outcome = Outcome::Settled(Ended::DeadLettered);

/// An error with a cause.
#[derive(Debug)]
struct Caused(std::num::ParseIntError);

impl fmt::Display for Caused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bad\nquantity")
    }
}

impl std::error::Error for Caused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn it_carries_the_message_its_origin_and_the_failure() {
    let publisher = ScriptedPublisher::new([]);
    let fails = || {
        let cause = "x".parse::<u8>().unwrap_err();
        Err(HandlerError::permanent(Caused(cause)).kind("bad_quantity"))
    };
    let mut carried = lineage();
    carried.timestamp = Timestamp(5);
    let mut message = Message::new("body")
        .with_key("k")
        .with_header("x", "1")
        .with_timestamp(Timestamp(5));
    carried.write(&mut message.headers);
    let outcome = service(&publisher, fails).oneshot(tier(5, message)).await;
    assert_eq!(outcome, Ok(DEAD));
    let record = &publisher.calls()[0][0];
    assert_eq!(
        (&*record.topic, record.partition),
        ("orders.billing.dlq", Some(3))
    );
    let message = &record.message;
    assert_eq!(
        (message.key.as_deref(), message.payload.as_deref()),
        (Some(&b"k"[..]), Some(&b"body"[..]))
    );
    assert_eq!(message.timestamp, Timestamp(5));
    let headers = &message.headers;
    assert_eq!(headers.get_str("x"), Some("1"));
    let read = Lineage::read(headers).unwrap();
    assert_eq!((read.offset, read.attempts), (carried.offset, 3));
    assert_eq!(read.first_failure, carried.first_failure);
    assert_eq!(
        headers.get_str(control::LAST_FAILURE),
        Some(&*clock().now().to_string())
    );
    assert_eq!(headers.get_str(control::FAILURE_KIND), Some("bad_quantity"));
    assert_eq!(
        headers.get_str(control::FAILURE_MESSAGE),
        Some("bad\nquantity")
    );
    assert_eq!(
        headers.get_str(control::FAILURE_CHAIN),
        Some("bad\\nquantity\ninvalid digit found in string")
    );
    assert_eq!(headers.get(control::BY_REFERENCE), None);
}

#[tokio::test(start_paused = true)]
async fn settlements_end_as_they_say() {
    let publisher = ScriptedPublisher::new([]);
    let settle = |settlement: Settlement| {
        service(&publisher, move || Ok(settlement.clone())).oneshot(delivery(1))
    };
    assert_eq!(settle(Settlement::Ack).await, Ok(handled()));
    assert_eq!(
        settle(Settlement::Discard).await,
        Ok(Outcome::Settled(Ended::Discarded))
    );
    assert!(publisher.calls().is_empty());
    let dead = Settlement::DeadLetter {
        kind: "never_departed".into(),
        reason: "NA".into(),
    };
    assert_eq!(settle(dead).await, Ok(DEAD));
    let headers = publisher.calls()[0][0].message.headers.clone();
    assert_eq!(
        headers.get_str(control::FAILURE_KIND),
        Some("never_departed")
    );
    assert_eq!(headers.get_str(control::FAILURE_MESSAGE), Some("NA"));
}

#[tokio::test(start_paused = true)]
async fn too_large_means_by_reference_and_smaller_until_it_fits() {
    let too_large = Script::Failed(ErrorKind::TooLarge);
    let message = Message::new("body")
        .with_key("k")
        .with_header("x", "1")
        .with_id("i");
    for refusals in 1..=6 {
        let publisher = ScriptedPublisher::new(vec![too_large; refusals]);
        let outcome = service(&publisher, || Err(transient("e")))
            .oneshot(delivery_of(message.clone()))
            .await;
        assert_eq!(outcome, Ok(DEAD));
        let call = publisher.calls().pop().unwrap();
        let headers = &call[0].message.headers;
        assert_eq!(call[0].message.payload, None);
        assert_eq!(headers.get_str(control::BY_REFERENCE), Some("true"));
        assert_eq!(headers.get_str(control::FAILURE_KIND), Some("handler"));
        assert_eq!(Lineage::read(headers).unwrap().offset, 0);
        assert_eq!(headers.get("x").is_some(), refusals < 2);
        assert_eq!(call[0].message.key.is_some(), refusals < 3);
        assert_eq!(call[0].message.id().is_some(), refusals < 4);
        assert_eq!(
            headers.get(control::FAILURE_MESSAGE).is_some(),
            refusals < 4
        );
    }
}

#[tokio::test(start_paused = true)]
async fn text_is_capped_and_an_unknown_publish_repeated() {
    let publisher = ScriptedPublisher::new([Script::Unknown, Script::Unknown]);
    let long = "é".repeat(5_000);
    let outcome = service(&publisher, move || Err(transient(&long)))
        .oneshot(delivery(1))
        .await;
    assert_eq!(outcome, Ok(DEAD));
    assert_eq!(publisher.calls().len(), 3);
    let headers = &publisher.calls()[2][0].message.headers;
    assert_eq!(headers.get(control::FAILURE_MESSAGE).unwrap().len(), 1024);
    assert_eq!(headers.get(control::FAILURE_CHAIN).unwrap().len(), 4096);
}

#[tokio::test(start_paused = true)]
async fn a_forged_origin_is_not_carried_on() {
    let publisher = ScriptedPublisher::new([]);
    let mut forged = lineage();
    forged.group = "other".into();
    let mut message = Message::new("1");
    forged.write(&mut message.headers);
    service(&publisher, || Err(transient("e")))
        .oneshot(tier(5, message))
        .await
        .unwrap();
    let read = Lineage::read(&publisher.calls()[0][0].message.headers).unwrap();
    assert_eq!(
        (&*read.topic, read.offset, &*read.group),
        ("orders.billing.retry.5s", 0, "billing")
    );
}
