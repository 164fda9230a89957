//! Tests of the tiers.

use std::future::ready;

use tower::{ServiceExt, service_fn};
use tower_service::Service;

use super::*;
use crate::clock::Timestamp;
use crate::delivery::{Lineage, Settlement, Stream, control};
use crate::error::ErrorKind;
use crate::handler::HandlerError;
use crate::message::Message;
use crate::middleware::testing::{
    Script, ScriptedPublisher, clock, delivery, handled, ladder, provenance, tier, transient,
};
use crate::middleware::{Away, Ended};

fn service(
    publisher: &Arc<ScriptedPublisher>,
    result: fn() -> Result<Settlement, HandlerError>,
) -> impl Service<Delivery, Response = Outcome, Error = Failed> {
    let layer = TiersLayer::new(TierParts {
        ladder: ladder(),
        provenance: provenance(),
        publisher: Arc::clone(publisher) as _,
        clock: clock(),
    });
    tower_layer::Layer::layer(&layer, service_fn(move |_: Delivery| ready(result())))
}

fn fails() -> Result<Settlement, HandlerError> {
    Err(transient("down"))
}

#[tokio::test(start_paused = true)]
async fn the_copy_carries_its_origin_to_the_same_partition() {
    let publisher = ScriptedPublisher::new([]);
    let message = Message::tombstone()
        .with_header("x", "1")
        .with_header(control::ATTEMPT, "99")
        .with_timestamp(Timestamp(-4));
    let first = crate::middleware::testing::delivery_of(message);
    let outcome = service(&publisher, fails).oneshot(first).await.unwrap();
    let delay = Duration::from_secs(5);
    let Outcome::Away(away) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((away.delay, away.partition, away.offset), (delay, 3, 1000));
    assert_eq!(away.appended_at, Timestamp(77_000));
    let record = &publisher.calls()[0][0];
    assert_eq!(&*record.topic, "orders.billing.retry.5s");
    assert_eq!(record.partition, Some(3));
    assert_eq!(record.message.payload, None);
    assert_eq!(record.message.timestamp, Timestamp(-4));
    assert_eq!(record.message.headers.get_str("x"), Some("1"));
    let lineage = Lineage::read(&record.message.headers).unwrap();
    assert_eq!(
        lineage,
        Lineage {
            topic: "orders".into(),
            partition: 3,
            offset: 0,
            timestamp: Timestamp(-4),
            attempts: 1,
            replay_offset: None,
            replays: 0,
            group: "billing".into(),
            handler: "bill".into(),
            epoch: 9,
            first_failure: Some(clock().now()),
            trace: None,
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_record_of_a_tier_goes_to_the_first_longer_one() {
    let carried = crate::middleware::testing::lineage();
    let mut message = Message::new("1");
    carried.write(&mut message.headers);
    // 10 s is no longer configured.
    for (from, to) in [(5, Some(60)), (10, Some(60)), (60, Some(300)), (300, None)] {
        let publisher = ScriptedPublisher::new([]);
        let result = service(&publisher, fails)
            .oneshot(tier(from, message.clone()))
            .await;
        match (result, to) {
            (Ok(Outcome::Away(Away { delay, .. })), Some(to)) => {
                assert_eq!(delay, Duration::from_secs(to));
                let record = &publisher.calls()[0][0];
                let lineage = Lineage::read(&record.message.headers).unwrap();
                assert_eq!(
                    (lineage.offset, lineage.attempts),
                    (carried.offset, carried.attempts + 1)
                );
                assert_eq!(lineage.first_failure, carried.first_failure);
            }
            (Err(failed), None) => assert_eq!(failed.attempts, carried.attempts + 1),
            (other, _) => panic!("{from}: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_replayed_head_notes_its_replay_offset() {
    let publisher = ScriptedPublisher::new([]);
    let mut carried = crate::middleware::testing::lineage();
    carried.attempts = 0;
    carried.replays = 1;
    let mut message = Message::new("1");
    carried.write(&mut message.headers);
    let stream = Stream::new("orders.billing.replay".into(), 3, 9, Role::Replay);
    let replayed = Delivery::new(Arc::new(stream), 55, Timestamp(0), message);
    service(&publisher, fails).oneshot(replayed).await.unwrap();
    let lineage = Lineage::read(&publisher.calls()[0][0].message.headers).unwrap();
    assert_eq!(
        (lineage.replay_offset, lineage.replays, lineage.attempts),
        (Some(55), 1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn an_unknown_or_failed_publish_is_repeated_until_confirmed() {
    let mut script = vec![Script::Unknown; 30];
    script[7] = Script::Failed(ErrorKind::NotFound);
    let publisher = ScriptedPublisher::new(script);
    let outcome = service(&publisher, fails).oneshot(delivery(4)).await;
    assert!(matches!(outcome, Ok(Outcome::Away(_))));
    assert_eq!(publisher.calls().len(), 31);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_for_a_tier_passes() {
    let publisher = ScriptedPublisher::new([]);
    let outcome = service(&publisher, || Ok(Settlement::Ack))
        .oneshot(delivery(4))
        .await;
    assert_eq!(outcome.unwrap(), handled());
    let outcome = service(&publisher, || Ok(Settlement::Discard))
        .oneshot(delivery(4))
        .await;
    assert_eq!(outcome.unwrap(), Outcome::Settled(Ended::Discarded));
    let failed = service(&publisher, || Err(HandlerError::permanent("no")))
        .oneshot(delivery(4))
        .await;
    assert_eq!(failed.unwrap_err().attempts, 1);
    assert!(publisher.calls().is_empty());

    let publisher = ScriptedPublisher::new([Script::Failed(ErrorKind::TooLarge)]);
    let failed = service(&publisher, fails).oneshot(delivery(4)).await;
    assert!(failed.is_err(), "too large for the tier");
}

#[tokio::test(start_paused = true)]
async fn a_partition_given_up_leaves_it_unsettled() {
    let publisher = ScriptedPublisher::new([Script::Unknown]);
    let delivery = delivery(4);
    delivery.stream().stop();
    let outcome = service(&publisher, fails).oneshot(delivery).await;
    assert_eq!(outcome.unwrap(), Outcome::Interrupted);
}
