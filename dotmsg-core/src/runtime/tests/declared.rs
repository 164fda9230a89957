//! The group's own topics and the retention of the backend: what waits for a retry or for a person stays.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::World;
use crate::backend::Backend;
use crate::clock::{Clock, Timestamp, TokioClock};
use crate::delivery::Delivery;
use crate::error::ErrorKind;
use crate::handler::{HandlerError, Returned};
use crate::log::{LogBroker, LogOptions};
use crate::router::{RetryOrder, RouteSpec};
use crate::runtime::{RouteContext, TopicPlan, TopicStep, prepare};

const KEPT: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(100 * 24 * 60 * 60);

/// A log that keeps a minute, one record a segment.
async fn world() -> World {
    let mut world = World::new(1).await;
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(Timestamp(1_000_000)));
    let mut options = LogOptions::new(Arc::clone(&clock));
    options.segment_bytes = 1;
    options.retention = Some(KEPT);
    options.retention_bytes = Some(1 << 20);
    options.auto_create = true;
    options.default_partitions = 1;
    (world.broker, world.clock) = (LogBroker::memory(options), clock);
    world
}

fn spec(tier: u64) -> RouteSpec {
    let mut spec = World::spec();
    spec.retry.in_place.attempts = 1;
    spec.retry.tiers = vec![Duration::from_secs(tier)];
    spec
}

fn context(world: &World, spec: RouteSpec) -> RouteContext {
    world.context(spec).1
}

#[tokio::test(start_paused = true)]
async fn retention_of_the_backend_spares_retries_and_dead_letters() {
    let world = world().await;
    world.publish([None; 3]).await;
    let mut relaxed = spec(2 * 60 * 60);
    relaxed.retry.order = RetryOrder::Relax;
    let fails = |_: Delivery| {
        let error = HandlerError::transient(std::io::Error::other("down"));
        std::future::ready(Err::<Returned, _>(error))
    };
    let route = world.start_stacked(relaxed, fails);
    timeout(LONG, route.stats.idle()).await.expect("idle");
    assert_eq!(route.stats.away(), 3);
    sleep(Duration::from_secs(60 * 60)).await;
    world.broker.apply_retention().unwrap();
    let admin = world.broker.admin();
    let range = async |topic: &str| admin.offsets(topic, 0).await.unwrap();
    assert_eq!(
        range("orders").await.start,
        2,
        "the source is the backend's"
    );
    assert_eq!(range("orders.billing.retry.2h").await.start, 0);
    sleep(Duration::from_secs(2 * 60 * 60)).await;
    timeout(LONG, route.stats.idle()).await.expect("idle");
    assert_eq!((route.stats.away(), route.stats.dead_lettered()), (0, 3));
    sleep(LONG).await;
    world.broker.apply_retention().unwrap();
    let letters = range("orders.billing.dlq").await;
    assert_eq!((letters.start, letters.end), (0, 3));
    assert!(
        range("orders.billing.retry.2h").await.start > 0,
        "a tier is kept as long as it may be needed, and a day"
    );
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_keeps_less_than_the_ladder_takes_is_refused_under_keep() {
    let world = world().await;
    world.publish([None]).await;
    let error = prepare(&context(&world, spec(60 * 60))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(
        text.contains("retention 60s") && text.contains("ladder 3600s"),
        "{text}"
    );
    prepare(&context(&world, spec(60))).await.unwrap();
    let mut relaxed = spec(60 * 60);
    relaxed.retry.order = RetryOrder::Relax;
    prepare(&context(&world, relaxed)).await.unwrap();
}

/// A longer ladder is declared with the next start.
#[tokio::test(start_paused = true)]
async fn topics_that_are_there_follow_the_ladder() {
    let world = world().await;
    world.publish([None]).await;
    let mut kept = Vec::new();
    let source = world.broker.admin().topic("orders").await.unwrap().unwrap();
    assert_eq!(source.retention_bytes, Some(1 << 20));
    for tier in [10, 50] {
        prepare(&context(&world, spec(tier))).await.unwrap();
        let replay = world.broker.admin().topic("orders.billing.replay").await;
        let replay = replay.unwrap().unwrap();
        assert_eq!(replay.retention_bytes, None);
        kept.push(replay.retention.unwrap());
    }
    assert_eq!(kept[1] - kept[0], Duration::from_secs(40));
}

/// The plan of a route, and what it would do to each topic.
async fn planned(context: &RouteContext) -> (TopicPlan, Vec<String>) {
    let plan = context.topics().plan().await.unwrap();
    let steps = plan.topics.iter().map(|one| {
        let step = match &one.step {
            TopicStep::Keep => "keep".to_owned(),
            TopicStep::Create {
                partitions,
                retention: None,
            } => format!("create {partitions} as its source"),
            TopicStep::Create { partitions, .. } => format!("create {partitions}"),
            TopicStep::KeepLonger(_) => "keep longer".to_owned(),
            TopicStep::Missing => "missing".to_owned(),
            TopicStep::CreateLater => "create later".to_owned(),
        };
        format!("{}: {step}", one.name)
    });
    let steps = steps.collect();
    (plan, steps)
}

#[tokio::test(start_paused = true)]
async fn a_plan_is_what_a_start_does_and_is_fulfilled_by_it() {
    let world = world().await;
    let mut context_of = context(&world, spec(10));
    context_of.auto_create = None;
    let (plan, steps) = planned(&context_of).await;
    assert!(!plan.is_fulfilled());
    let own = "orders.billing.retry.10s: create later orders.billing.replay: create later orders.billing.dlq: create later";
    assert_eq!(steps.join(" "), format!("orders: missing {own}"));
    context_of.auto_create = Some(3);
    let (_, steps) = planned(&context_of).await;
    // How long a source is kept that is to be created is not known; dead letters are kept for ever.
    let own = own.replace("later", "3 as its source");
    let own = own.replace("dlq: create 3 as its source", "dlq: create 3");
    assert_eq!(steps.join(" "), format!("orders: create 3 {own}"));
    prepare(&context_of).await.unwrap();
    let (plan, steps) = planned(&context_of).await;
    assert!(plan.is_fulfilled(), "{steps:?}");
    // A longer ladder wants what is there to be kept for longer, and one more topic.
    let longer = context(&world, spec(50));
    let (_, steps) = planned(&longer).await;
    let expected = "orders: keep orders.billing.retry.50s: create 3 orders.billing.replay: keep longer orders.billing.dlq: keep";
    assert_eq!(steps.join(" "), expected);
    // What a start refuses is in the plan.
    let (plan, _) = planned(&context(&world, spec(60 * 60))).await;
    assert!(!plan.is_fulfilled());
    assert!(plan.refused.unwrap().to_string().contains("ladder 3600s"));
}
