//! Away lanes: order behind a failing head, caps, takeover, removed tiers.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Route, World};
use crate::backend::{Backend, PublishRecord, Retention, TopicSpec};
use crate::delivery::Delivery;
use crate::error::ErrorKind;
use crate::handler::{HandlerError, HandlerResult, Returned};
use crate::message::Message;
use crate::router::{InPlace, RetryOrder, RouteSpec};

fn spec(tiers_ms: &[u64]) -> RouteSpec {
    let mut spec = World::spec();
    spec.retry.tiers = tiers_ms
        .iter()
        .map(|ms| Duration::from_millis(*ms))
        .collect();
    spec.retry.in_place = InPlace {
        attempts: 1,
        ..InPlace::default()
    };
    spec
}

/// Fails the first `failures` calls of the message at origin 0.
fn failing_first(failures: u32) -> impl Fn(Delivery) -> std::future::Ready<HandlerResult> + Clone {
    move |delivery| {
        let fails = delivery.origin().offset == 0 && delivery.attempt() <= failures;
        std::future::ready(if fails {
            Err(HandlerError::transient(std::io::Error::other("not yet")))
        } else {
            Ok(Returned::default())
        })
    }
}

/// Ends a route as a crash would: no drain, no last commit.
pub(super) async fn kill(world: &World, route: Route) {
    route.task.abort();
    let _ = route.task.await;
    world.broker.lose("billing", "orders", &[0]);
}

#[tokio::test(start_paused = true)]
async fn followers_wait_behind_their_away_head_and_others_do_not() {
    let world = World::new(1).await;
    world.publish(["a", "b", "a", "a"].map(Some)).await;
    let started = Instant::now();
    let route = world.start_stacked(spec(&[5_000, 60_000]), failing_first(2));
    route.stats.idle().await;
    assert_eq!(world.seen(), [("a".into(), 0), ("b".into(), 1)]);
    assert_eq!((route.stats.parked(), route.stats.away()), (2, 1));
    let record = world.records().await.remove(&0).unwrap();
    assert_eq!(
        record.watermark(),
        2,
        "the head is named, its followers are unsettled"
    );
    assert_eq!(record.names.len(), 1);
    sleep(Duration::from_secs(66)).await;
    route.stats.idle().await;
    assert!(started.elapsed() >= Duration::from_secs(65));
    let order = [
        ("a".into(), 0),
        ("a".into(), 0),
        ("a".into(), 2),
        ("a".into(), 3),
    ];
    assert_eq!(world.seen(), order);
    let record = world.records().await.remove(&0).unwrap();
    assert!(record.settled(4), "{record:?}");
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn relax_retries_only_the_failing_message() {
    let world = World::new(1).await;
    world.publish(["a", "a"].map(Some)).await;
    let mut spec = spec(&[5_000]);
    spec.retry.order = RetryOrder::Relax;
    let route = world.start_stacked(spec, failing_first(1));
    route.stats.idle().await;
    assert_eq!(world.seen(), [("a".into(), 0), ("a".into(), 1)]);
    sleep(Duration::from_secs(6)).await;
    route.stats.idle().await;
    assert_eq!(world.seen(), [("a".into(), 0)]);
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_owner_finds_the_away_head_and_keeps_its_followers_behind_it() {
    let world = World::new(1).await;
    world.publish(["a", "a", "b"].map(Some)).await;
    let route = world.start_stacked(spec(&[5_000]), failing_first(1));
    route.stats.idle().await;
    world.seen();
    kill(&world, route).await;
    let route = world.start_stacked(spec(&[5_000]), failing_first(1));
    route.stats.idle().await;
    assert_eq!(
        world.seen(),
        [],
        "the head is away, its follower waits, b is settled"
    );
    assert_eq!(route.stats.away(), 1);
    sleep(Duration::from_secs(6)).await;
    route.stats.idle().await;
    assert_eq!(world.seen(), [("a".into(), 0), ("a".into(), 1)]);
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_appended_after_the_last_commit_is_void() {
    let world = World::new(1).await;
    let route = world.start_stacked(spec(&[5_000]), failing_first(1));
    route.stats.idle().await;
    world.publish(["a", "a"].map(Some)).await;
    // The append is confirmed at once; the commit that names it comes later.
    while route.stats.retried() == 0 {
        tokio::task::yield_now().await;
    }
    kill(&world, route).await;
    world.seen();
    let route = world.start_stacked(spec(&[5_000]), failing_first(1));
    route.stats.idle().await;
    assert_eq!(
        world.seen(),
        [("a".into(), 0)],
        "its predecessor was unsettled"
    );
    sleep(Duration::from_secs(6)).await;
    route.stats.idle().await;
    assert_eq!(world.seen(), [("a".into(), 0), ("a".into(), 1)]);
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn at_the_cap_the_partition_pauses_and_nothing_is_lost() {
    let world = World::new(1).await;
    world
        .publish((0..50).map(|n| Some(if n % 2 == 0 { "a" } else { "b" })))
        .await;
    let mut spec = spec(&[5_000]);
    spec.limits.park.max_held_messages = 3;
    spec.limits.batch_messages = 4;
    let route = world.start_stacked(spec, failing_first(1));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(route.stats.paused(), 1);
    assert!(route.stats.parked() <= 3 + 4, "{}", route.stats.parked());
    sleep(Duration::from_secs(6)).await;
    route.stats.idle().await;
    assert_eq!((route.stats.paused(), route.stats.handled()), (0, 50));
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_ladder_ends_in_the_dead_letter_topic_and_releases_the_key() {
    let world = World::new(1).await;
    world.publish(["a", "a"].map(Some)).await;
    let route = world.start_stacked(spec(&[100, 200]), failing_first(9));
    sleep(Duration::from_secs(1)).await;
    route.stats.idle().await;
    assert_eq!(route.stats.dead_lettered(), 1);
    assert_eq!(world.seen().last(), Some(&("a".into(), 1)));
    let dlq = world
        .broker
        .admin()
        .offsets("orders.billing.dlq", 0)
        .await
        .unwrap();
    assert_eq!(dlq.end, 1);
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_was_removed_is_drained() {
    let world = World::new(1).await;
    world.publish(["a", "a"].map(Some)).await;
    let route = world.start_stacked(spec(&[5_000]), failing_first(1));
    route.stats.idle().await;
    route.drain().await;
    world.seen();
    let route = world.start_stacked(spec(&[10_000]), failing_first(1));
    sleep(Duration::from_secs(6)).await;
    route.stats.idle().await;
    assert_eq!(world.seen(), [("a".into(), 0), ("a".into(), 1)]);
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_sleeping_repeat_ends_at_once_when_the_route_drains() {
    let world = World::new(1).await;
    world.publish([Some("a")]).await;
    let mut spec = World::spec();
    spec.retry.in_place = InPlace {
        attempts: 2,
        backoff: Duration::from_secs(3_600),
        max_backoff: Duration::from_secs(3_600),
    };
    let route = world.start_stacked(spec, failing_first(1));
    sleep(Duration::from_secs(1)).await;
    let started = Instant::now();
    let report = route.drain().await;
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(report.abandoned, 0);
    assert_eq!(
        world.records().await[&0].watermark(),
        0,
        "it stays unsettled"
    );
}

/// A head that is away since order was relaxed comes back while another one of its key is away in order.
#[tokio::test(start_paused = true)]
async fn an_old_head_of_a_key_does_not_let_its_followers_overtake_a_new_one() {
    let world = World::new(1).await;
    let mut relaxed = spec(&[5_000]);
    relaxed.retry.order = RetryOrder::Relax;
    let fails_once = |delivery: Delivery| {
        std::future::ready(match delivery.attempt() {
            1 if delivery.origin().offset < 3 => {
                Err(HandlerError::transient(std::io::Error::other("not yet")))
            }
            _ => Ok(Returned::default()),
        })
    };
    let route = world.start_stacked(relaxed, fails_once);
    world.publish([Some("a")]).await;
    sleep(Duration::from_secs(3)).await;
    world.publish([Some("a")]).await;
    route.stats.idle().await;
    route.drain().await;
    assert_eq!(world.seen(), [("a".into(), 0), ("a".into(), 1)]);
    let route = world.start_stacked(spec(&[5_000]), fails_once);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(world.seen(), [("a".into(), 0)]);
    world.publish(["a", "a"].map(Some)).await;
    sleep(Duration::from_secs(20)).await;
    let order = [2, 1, 2, 3].map(|offset| ("a".into(), offset));
    assert_eq!(world.seen(), order);
    route.drain().await;
}

/// A retry topic that was deleted and made anew: what lies at the named offset now is not the message that waits.
#[tokio::test(start_paused = true)]
async fn another_record_at_a_named_offset_is_not_taken_for_the_head() {
    let world = World::new(1).await;
    world.publish([Some("a")]).await;
    let fails = |_: Delivery| {
        let error = HandlerError::transient(std::io::Error::other("not yet"));
        std::future::ready(Err::<Returned, _>(error))
    };
    let route = world.start_stacked(spec(&[5_000]), fails);
    route.stats.idle().await;
    assert_eq!(route.stats.away(), 1);
    route.drain().await;
    let tier = "orders.billing.retry.5s";
    world.broker.delete_topic(tier).await.unwrap();
    let again = TopicSpec {
        name: tier.into(),
        partitions: 1,
        retention: Retention::Forever,
    };
    world.broker.admin().create_topic(again).await.unwrap();
    let other = PublishRecord {
        topic: tier.into(),
        partition: Some(0),
        message: Message::new("another").with_key("a"),
    };
    world.broker.publisher().publish(vec![other]).await;
    let route = world.start_stacked(spec(&[5_000]), fails);
    let error = route.task.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PositionLost);
    assert!(error.to_string().contains(tier), "{error}");
}
