//! The reserve of tier and replay records: bounded in bytes, and one that is larger than it still passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{HANDLED, World};
use crate::backend::{Backend, BoxFuture, PublishOutcome, PublishRecord};
use crate::delivery::Delivery;
use crate::handler::{HandlerError, HandlerResult, Returned};
use crate::message::Message;
use crate::router::{InPlace, RetryOrder, RouteSpec};

const LONG: Duration = Duration::from_secs(600);
/// A quarter of it is the reserve of tiers, a quarter that of replays.
const HELD_BYTES: usize = 40_000;

fn spec() -> RouteSpec {
    let mut spec = World::spec();
    spec.retry.tiers = vec![Duration::from_secs(5)];
    spec.retry.in_place = InPlace {
        attempts: 1,
        ..InPlace::default()
    };
    spec.limits.max_held_bytes = HELD_BYTES;
    spec.limits.park.max_held_bytes = HELD_BYTES / 2;
    spec
}

async fn put(world: &World, topic: &str, partition: u32, key: String, bytes: usize) {
    let record = PublishRecord {
        topic: topic.into(),
        partition: Some(partition),
        message: Message::new(vec![0; bytes]).with_key(key),
    };
    let outcome = world.broker.publisher().publish(vec![record]).await;
    assert!(matches!(outcome[0], PublishOutcome::Ok(_)), "{outcome:?}");
}

/// Calls that run, and the most that ran at once; they wait until the gate is open.
struct Gate {
    open: watch::Sender<bool>,
    running: Arc<(AtomicUsize, AtomicUsize)>,
}

impl Gate {
    fn new() -> Self {
        Self {
            open: watch::Sender::new(false),
            running: Arc::default(),
        }
    }

    fn most(&self) -> usize {
        self.running.1.load(Ordering::SeqCst)
    }

    /// A handler that fails the first attempt of keys in k at once; everything else goes through the gate.
    fn handler(&self) -> impl Fn(Delivery) -> BoxFuture<'static, HandlerResult> + Clone + use<> {
        let (open, running) = (self.open.subscribe(), Arc::clone(&self.running));
        move |delivery: Delivery| {
            let (mut open, running) = (open.clone(), Arc::clone(&running));
            Box::pin(async move {
                let fails = delivery.key().is_some_and(|key| key[0] == b'k');
                if fails && delivery.attempt() == 1 {
                    return Err(HandlerError::transient(std::io::Error::other("not yet")));
                }
                let now = running.0.fetch_add(1, Ordering::SeqCst) + 1;
                running.1.fetch_max(now, Ordering::SeqCst);
                let _ = open.wait_for(|open| *open).await;
                running.0.fetch_sub(1, Ordering::SeqCst);
                Ok(Returned::default())
            }) as BoxFuture<'static, _>
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_named_stays_counted_when_its_partition_goes() {
    let world = World::new(1).await;
    let gate = Gate::new();
    gate.open.send_replace(true);
    let route = world.start_stacked(spec(), gate.handler());
    timeout(LONG, route.stats.idle()).await.expect("idle");
    // Between two heads, so that it is read.
    for (topic, key) in [
        ("orders", "k1"),
        ("orders.billing.retry.5s", "nobody's"),
        ("orders", "k2"),
    ] {
        put(&world, topic, 0, key.to_owned(), 10).await;
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_secs(60)).await;
    let stats = Arc::clone(&route.stats);
    assert_eq!((stats.handled(), stats.void()), (2, 1));
    route.drain().await;
    assert_eq!(stats.void(), 1, "a counter never falls");
}

#[tokio::test(start_paused = true)]
async fn retries_that_come_back_together_are_taken_in_as_far_as_there_is_room() {
    let world = World::new(4).await;
    let gate = Gate::new();
    let route = world.start_stacked(spec(), gate.handler());
    timeout(LONG, route.stats.idle()).await.expect("idle");
    for n in 0..200 {
        put(&world, "orders", n % 4, format!("k{n}"), 1_000).await;
    }
    sleep(Duration::from_secs(20)).await;
    assert_eq!(route.stats.away(), 200, "those that run are named, too");
    // Each partition may have one more than there is room for.
    assert!((5..=10 + 4).contains(&gate.most()), "{}", gate.most());
    gate.open.send_replace(true);
    sleep(Duration::from_secs(60)).await;
    timeout(LONG, route.stats.idle()).await.expect("idle");
    assert_eq!((route.stats.handled(), route.stats.away()), (200, 0));
    assert_eq!(route.stats.void(), 0);
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_larger_than_the_reserve_passes_alone() {
    let world = World::new(2).await;
    let gate = Gate::new();
    let route = world.start_stacked(spec(), gate.handler());
    timeout(LONG, route.stats.idle()).await.expect("idle");
    for n in 0..20 {
        put(&world, "orders", n % 2, format!("k{n}"), 12_000).await;
    }
    sleep(Duration::from_secs(20)).await;
    assert_eq!(gate.most(), 2, "one of each partition");
    gate.open.send_replace(true);
    sleep(Duration::from_secs(60)).await;
    timeout(LONG, route.stats.idle()).await.expect("idle");
    assert_eq!(route.stats.handled(), 20);
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn replays_are_taken_in_as_far_as_there_is_room() {
    for (bytes, most) in [(1_000, 11), (12_000, 2)] {
        let world = World::new(2).await;
        let gate = Gate::new();
        let handler = gate.handler();
        // Without layers, which know a replay by its headers.
        let route = world.start(spec(), move |delivery| {
            let call = handler(delivery);
            async move {
                call.await.unwrap();
                HANDLED
            }
        });
        timeout(LONG, route.stats.idle()).await.expect("idle");
        for n in 0..100 {
            let key = format!("r{n}");
            put(&world, "orders.billing.replay", n % 2, key, bytes).await;
        }
        sleep(Duration::from_secs(1)).await;
        assert!((1..=most).contains(&gate.most()), "{}", gate.most());
        gate.open.send_replace(true);
        sleep(Duration::from_secs(1)).await;
        timeout(LONG, route.stats.idle()).await.expect("idle");
        assert_eq!(route.stats.delivered(), 100);
        route.drain().await;
    }
}

/// A message: its partition, key, bytes, and how many of its attempts fail.
type Plan = (u32, u8, usize, u8);

/// An owner: whether it relaxes the order, how long it runs, and whether it ends in order.
type Owner = (bool, u64, bool);

async fn all_are_settled(messages: Vec<Plan>, owners: Vec<Owner>, workers: usize) {
    let world = World::new(2).await;
    let start = |relaxed: bool| {
        let mut spec = spec();
        spec.retry.tiers = vec![Duration::from_secs(1), Duration::from_secs(2)];
        spec.limits.workers = workers;
        spec.limits.concurrency = 4;
        spec.crash_loop.takeovers = 0;
        if relaxed {
            spec.retry.order = RetryOrder::Relax;
        }
        world.start_stacked(spec, |delivery: Delivery| async move {
            let failing = delivery.payload().map_or(0, |payload| payload[0]);
            sleep(Duration::from_millis(10)).await;
            if delivery.attempt() <= u32::from(failing) {
                return Err(HandlerError::transient(std::io::Error::other("not yet")));
            }
            Ok(Returned::default())
        })
    };
    let mut messages = messages.into_iter();
    for (relaxed, ms, clean) in owners.into_iter().chain([(false, 0, true)]) {
        let route = start(relaxed);
        timeout(LONG, route.stats.idle()).await.expect("idle");
        for (partition, key, bytes, failing) in messages.by_ref().take(20) {
            let record = PublishRecord {
                topic: "orders".into(),
                partition: Some(partition),
                message: Message::new(vec![failing; bytes]).with_key(vec![b'k', key]),
            };
            world.broker.publisher().publish(vec![record]).await;
        }
        sleep(Duration::from_millis(ms)).await;
        if clean {
            route.drain().await;
        } else {
            route.task.abort();
            let _ = route.task.await;
            world.broker.lose("billing", "orders", &[0, 1]);
        }
    }
    let route = start(false);
    let through = async {
        loop {
            sleep(Duration::from_secs(1)).await;
            route.stats.idle().await;
            if route.stats.away() == 0 {
                return;
            }
        }
    };
    timeout(LONG, through).await.expect("nothing is stuck");
    assert_eq!(route.stats.dead_lettered(), 0);
    route.drain().await;
    let admin = world.broker.admin();
    for (partition, record) in world.records().await {
        let range = admin.offsets("orders", partition).await.unwrap();
        assert!(record.settled(range.end), "{record:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Sizes around the reserve, orders that are relaxed and kept in turn, owners that end in order or not.
    #[test]
    fn nothing_is_stuck_at_the_reserve(
        messages in prop::collection::vec((0u32..2, 0u8..3, 1usize..15_000, 0u8..3), 1..60),
        owners in prop::collection::vec((any::<bool>(), 0u64..4_000, any::<bool>()), 0..4),
        workers in 1usize..3,
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(all_are_settled(messages, owners, workers));
    }
}
