//! Partitions without a position record: groups that begin bit by bit, topics that grow, records that are lost.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::partly::Partly;
use super::{HANDLED, Route, World};
use crate::backend::{Backend, PublishOutcome, PublishRecord, Retention, TopicSpec};
use crate::error::{Error, ErrorKind};
use crate::message::Message;
use crate::router::{Growth, MissingPosition, RouteSpec, Start};

const LONG: Duration = Duration::from_secs(600);

/// A topic of four partitions of which so many are granted and shown.
async fn world(granted: u32, partitions: u32) -> (World, Partly) {
    let mut world = World::new(4).await;
    let face = Partly::new(&world.broker, granted, partitions);
    for name in ["orders.billing.replay", "orders.billing.dlq"] {
        let spec = TopicSpec {
            name: name.into(),
            partitions: 4,
            retention: Retention::AsBackend,
        };
        world.broker.admin().create_topic(spec).await.unwrap();
    }
    world.face = Some(std::sync::Arc::new(face.clone()));
    (world, face)
}

fn latest() -> RouteSpec {
    RouteSpec {
        start: Start::Latest,
        on_partition_growth: Growth::Accept,
        ..World::spec()
    }
}

/// One message in each partition, with the partition's number as its key.
async fn publish_everywhere(world: &World) {
    let record = |partition: u32| PublishRecord {
        topic: "orders".into(),
        partition: Some(partition),
        message: Message {
            key: Some(partition.to_string().into()),
            ..Message::new("payload")
        },
    };
    let publisher = world.broker.publisher();
    let outcomes = publisher.publish((0..4).map(record).collect());
    for outcome in outcomes.await {
        assert!(matches!(outcome, PublishOutcome::Ok(_)), "{outcome:?}");
    }
}

fn start(world: &World, spec: RouteSpec) -> Route {
    world.start(spec, |_| async { HANDLED })
}

async fn idle(route: &Route) {
    timeout(LONG, route.stats.idle()).await.expect("idle");
    assert!(!route.stats.has_ended());
}

async fn failure(route: Route) -> Error {
    let ended = timeout(LONG, route.task).await.expect("it ends");
    ended.unwrap().unwrap_err()
}

fn seen(world: &World) -> Vec<String> {
    let mut seen: Vec<String> = world.seen().into_iter().map(|(key, _)| key).collect();
    seen.sort();
    seen
}

async fn known(world: &World) -> Vec<(u32, u32)> {
    let records = world.records().await;
    let said = |record: &crate::progress::PositionRecord| record.founding;
    records
        .values()
        .map(said)
        .map(|said| (said.partitions, said.known))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_group_that_begins_at_once_knows_all_its_partitions_before_it_dispatches() {
    let (world, _) = world(4, 4).await;
    publish_everywhere(&world).await;
    let route = world.start(World::spec(), |_| std::future::pending());
    while world.seen.lock().unwrap().is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(known(&world).await, [(4, 4); 4]);
    route.task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_group_that_begins_bit_by_bit_starts_where_the_route_says() {
    let (world, face) = world(1, 4).await;
    publish_everywhere(&world).await;
    let route = start(
        &world,
        RouteSpec {
            on_partition_growth: Growth::Stop,
            ..latest()
        },
    );
    idle(&route).await;
    assert_eq!(known(&world).await, [(4, 1)]);
    for granted in [3, 4] {
        face.grant(granted);
        idle(&route).await;
    }
    assert_eq!(seen(&world), [""; 0], "latest");
    publish_everywhere(&world).await;
    idle(&route).await;
    assert_eq!(seen(&world), ["0", "1", "2", "3"]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(
        known(&world).await,
        [(4, 4); 4],
        "all of them have learned it"
    );
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_group_that_still_begins_is_no_topic_that_grew() {
    let (world, face) = world(2, 4).await;
    let route = start(&world, World::spec());
    idle(&route).await;
    route.drain().await;
    face.grant(4);
    publish_everywhere(&world).await;
    let route = start(&world, World::spec());
    idle(&route).await;
    assert_eq!(seen(&world), ["0", "1", "2", "3"]);
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn partitions_that_the_topic_gains_start_at_their_first_record() {
    let (world, face) = world(2, 2).await;
    publish_everywhere(&world).await;
    let route = start(&world, latest());
    idle(&route).await;
    assert_eq!(known(&world).await, [(2, 2); 2]);
    face.grow(4);
    publish_everywhere(&world).await;
    // One after the other: that the first one has a record by then makes the second no older.
    for granted in [3, 4] {
        face.grant(granted);
        idle(&route).await;
    }
    assert_eq!(
        seen(&world),
        ["0", "1", "2", "2", "3", "3"],
        "what was published before they were found"
    );
    sleep(Duration::from_secs(60)).await;
    assert_eq!(known(&world).await, [(2, 4); 4]);
    route.drain().await;
    // Accepted once.
    let route = start(&world, World::spec());
    idle(&route).await;
    assert_eq!(seen(&world), [""; 0]);
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn growth_under_key_order_ends_the_route_at_the_start_and_while_it_runs() {
    let (world, face) = world(2, 2).await;
    let route = start(&world, World::spec());
    idle(&route).await;
    face.grow(4);
    face.grant(4);
    let running = failure(route).await;
    let starting = failure(start(&world, World::spec())).await;
    for error in [running, starting] {
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("on_partition_growth"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_single_lost_record_is_lost_also_where_the_route_starts_at_the_end() {
    let (world, face) = world(4, 4).await;
    publish_everywhere(&world).await;
    let route = start(&world, World::spec());
    idle(&route).await;
    route.drain().await;
    assert_eq!(seen(&world).len(), 4);
    for partition in [0, 3] {
        face.lose(partition);
        let error = failure(start(&world, latest())).await;
        assert_eq!(error.kind(), ErrorKind::PositionLost, "{error}");
        assert!(error.to_string().contains("on_missing_position"), "{error}");
    }
    let route = start(
        &world,
        RouteSpec {
            on_missing_position: MissingPosition::Earliest,
            ..latest()
        },
    );
    idle(&route).await;
    assert_eq!(seen(&world), ["3"]);
    assert_eq!(known(&world).await, [(4, 4); 4]);
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_may_have_known_of_others() {
    let (world, face) = world(1, 4).await;
    let route = start(&world, World::spec());
    idle(&route).await;
    face.damage(0);
    face.grant(2);
    let error = failure(route).await;
    assert_eq!(error.kind(), ErrorKind::PositionLost, "{error}");
    assert!(error.to_string().contains("cannot be read"), "{error}");
}
