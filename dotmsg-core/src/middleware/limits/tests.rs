//! Tests of the limits.

use std::future::ready;

use tower::{ServiceExt, service_fn};

use super::*;
use crate::message::Message;
use crate::middleware::Outcome;
use crate::middleware::testing::{delivery, delivery_of, handled, lineage, provenance, tier};

async fn check(limits: SizeLimits, delivery: Delivery) -> Result<Outcome, Failed> {
    let parts = LimitParts {
        limits,
        provenance: provenance(),
    };
    let inner = service_fn(|_: Delivery| ready(Ok::<_, Failed>(handled())));
    tower_layer::Layer::layer(&CheckLimitsLayer::new(parts), inner)
        .oneshot(delivery)
        .await
}

fn small() -> SizeLimits {
    SizeLimits {
        payload_bytes: 4,
        key_bytes: 2,
        header_bytes: 6,
    }
}

#[tokio::test]
async fn each_size_is_checked_and_named() {
    let fits = Message::new("1234")
        .with_key("ab")
        .with_header("abc", "def");
    assert_eq!(check(small(), delivery_of(fits)).await.unwrap(), handled());
    let beyond = [
        (Message::new("12345"), "payload of 5 bytes"),
        (Message::new("1").with_key("abc"), "key of 3 bytes"),
        (
            Message::tombstone().with_header("abc", "defg"),
            "headers of 7 bytes",
        ),
    ];
    for (message, text) in beyond {
        let failed = check(small(), delivery_of(message)).await.unwrap_err();
        assert_eq!(failed.error.kind_name(), "too_large");
        assert!(!failed.error.is_transient());
        assert!(failed.error.to_string().starts_with(text), "{failed:?}");
        assert_eq!(failed.attempts, 0, "the handler was not called");
    }
}

#[tokio::test]
async fn only_the_groups_own_records_are_taken_from_its_topics() {
    let ours = lineage();
    let carries = |lineage: &crate::delivery::Lineage| {
        let mut message = Message::new("1");
        lineage.write(&mut message.headers);
        tier(5, message)
    };
    // The control headers are longer than the limit on the producer's own.
    assert_eq!(check(small(), carries(&ours)).await.unwrap(), handled());
    let mut group = ours.clone();
    group.group = "other".into();
    let mut topic = ours.clone();
    topic.topic = "payments".into();
    let mut partition = ours.clone();
    partition.partition += 1;
    let mut absurd = group.clone();
    absurd.attempts = u32::MAX;
    let foreign = [
        carries(&absurd),
        carries(&group),
        carries(&topic),
        carries(&partition),
        tier(5, Message::new("1")),
    ];
    for delivery in foreign {
        let failed = check(small(), delivery).await.unwrap_err();
        assert_eq!(failed.error.kind_name(), "foreign_record");
        assert!(!failed.error.is_transient());
    }
}

#[tokio::test]
async fn what_is_condemned_is_not_tried() {
    let mut condemned = delivery(0);
    condemned.condemn("crash_loop");
    let failed = check(small(), condemned).await.unwrap_err();
    assert_eq!(failed.error.kind_name(), "crash_loop");
    assert!(!failed.error.is_transient());
}
