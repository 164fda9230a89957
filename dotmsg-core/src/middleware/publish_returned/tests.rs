//! Tests of publishing what a handler returned.

use std::future::ready;

use tower::{ServiceExt, service_fn};

use super::*;
use crate::clock::Timestamp;
use crate::delivery::Settlement;
use crate::error::ErrorKind;
use crate::handler::Outgoing;
use crate::middleware::Ended;
use crate::middleware::testing::{Script, ScriptedPublisher, clock, delivery};

fn layer(publisher: &Arc<ScriptedPublisher>) -> PublishReturnedLayer {
    PublishReturnedLayer::new(PublishParts {
        publisher: Arc::clone(publisher) as _,
        clock: clock(),
        topic_prefix: "t.".into(),
        handler: "bill".into(),
    })
}

async fn returning(
    publisher: &Arc<ScriptedPublisher>,
    returned: Returned,
) -> Result<Outcome, HandlerError> {
    let inner = service_fn(move |_: Delivery| ready(Ok::<_, HandlerError>(returned.clone())));
    tower_layer::Layer::layer(&layer(publisher), inner)
        .oneshot(delivery(41))
        .await
}

fn two() -> Vec<Outgoing> {
    vec![
        Outgoing::new("a", "1").key("k"),
        Outgoing::new("b", "2").id("own"),
    ]
}

#[tokio::test(start_paused = true)]
async fn nothing_returned_publishes_nothing() {
    let publisher = ScriptedPublisher::new([]);
    let outcome = returning(&publisher, Settlement::Discard.into()).await;
    assert_eq!(outcome.unwrap(), Outcome::Settled(Ended::Discarded));
    assert!(publisher.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn messages_get_ids_stamps_and_the_prefix() {
    let publisher = ScriptedPublisher::new([]);
    let outcome = returning(&publisher, two().into()).await;
    assert_eq!(outcome.unwrap(), Outcome::Settled(Ended::Handled));
    let calls = publisher.calls();
    let [call] = &calls[..] else {
        panic!("one call: {calls:?}")
    };
    assert_eq!((&*call[0].topic, &*call[1].topic), ("t.a", "t.b"));
    assert_eq!(call[0].message.id().unwrap(), "orders/3/41:bill:0");
    assert_eq!(call[1].message.id().unwrap(), "own");
    assert_eq!(call[0].message.timestamp, clock().now());
    assert_ne!(call[0].message.timestamp, Timestamp(0));
    assert_eq!(call[0].partition, None);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_not_confirmed_is_repeated() {
    let publisher = ScriptedPublisher::new([Script::Ok, Script::Unknown, Script::Unknown]);
    let outcome = returning(&publisher, two().into()).await;
    assert_eq!(outcome.unwrap(), Outcome::Settled(Ended::Handled));
    let ids: Vec<Vec<_>> = publisher
        .calls()
        .iter()
        .map(|call| call.iter().map(|r| r.message.id().cloned()).collect())
        .collect();
    let own = Some("own".into());
    assert_eq!(
        ids[1..],
        [vec![own.clone()], vec![own]],
        "the second alone, twice"
    );
}

#[tokio::test(start_paused = true)]
async fn repeats_end_in_a_transient_failure_and_the_hopeless_in_a_permanent_one() {
    let publisher = ScriptedPublisher::new(vec![Script::Unknown; 20]);
    let error = returning(&publisher, vec![Outgoing::new("a", "1")].into())
        .await
        .unwrap_err();
    assert_eq!((error.kind_name(), error.is_transient()), ("publish", true));
    assert_eq!(publisher.calls().len(), 1 + REPEATS);

    let publisher = ScriptedPublisher::new([Script::Failed(ErrorKind::TooLarge)]);
    let error = returning(&publisher, two().into()).await.unwrap_err();
    assert_eq!(
        (error.kind_name(), error.is_transient()),
        ("publish", false)
    );
    assert_eq!(publisher.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_partition_given_up_ends_the_repeats_unsettled() {
    let publisher = ScriptedPublisher::new(vec![Script::Unknown; 20]);
    let delivery = delivery(1);
    let stream = Arc::clone(delivery.stream());
    stream.stop();
    let inner = service_fn(|_: Delivery| ready(Ok::<_, HandlerError>(two().into())));
    let outcome = tower_layer::Layer::layer(&layer(&publisher), inner)
        .oneshot(delivery)
        .await;
    assert_eq!(outcome.unwrap(), Outcome::Interrupted);
}
