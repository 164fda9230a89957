//! `delivery = "exactly_once"`: what handlers return is there once, whatever becomes of a transaction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::transactional::{CLOSED_TOPIC, Fate, POISON, TransactionalLog};
use super::{Route, World};
use crate::backend::{Backend, BatchLimits, ReadBatch, Retention, TopicSpec};
use crate::delivery::{Delivery, Settlement};
use crate::handler::{HandlerError, Outgoing, Returned};
use crate::router::{DeliverySemantics, RouteSpec};

const LONG: Duration = Duration::from_secs(600);
const OUT: &str = "out";

async fn world(partitions: u32) -> (World, TransactionalLog) {
    let mut world = World::new(partitions).await;
    for name in [OUT, "orders.billing.dlq", "orders.billing.retry.5s"] {
        let spec = TopicSpec {
            name: name.into(),
            partitions,
            retention: Retention::AsBackend,
        };
        world.broker.admin().create_topic(spec).await.unwrap();
    }
    let log = TransactionalLog::new(&world.broker);
    world.face = Some(Arc::new(log.clone()));
    (world, log)
}

fn spec() -> RouteSpec {
    let mut spec = World::spec();
    spec.delivery = DeliverySemantics::ExactlyOnce;
    spec.commit_interval = Duration::from_millis(50);
    spec
}

/// Publishes `count` messages over so many keys.
async fn fill(world: &World, keys: usize, count: usize) {
    let names: Vec<String> = (0..count)
        .map(|number| format!("k{}", number % keys))
        .collect();
    world.publish(names.iter().map(|name| Some(&**name))).await;
}

/// Returns its origin, after a while that differs from message to message.
async fn passes_on(delivery: Delivery) -> Result<Returned, HandlerError> {
    sleep(Duration::from_millis(delivery.position().offset * 7 % 23)).await;
    Ok(vec![out(&delivery)].into())
}

fn out(delivery: &Delivery) -> Outgoing {
    let origin = delivery.origin();
    let place = format!("{}/{}", origin.partition, origin.offset);
    Outgoing::new(OUT, place).key(delivery.key().cloned().unwrap_or_default())
}

async fn idle(route: &Route) {
    timeout(LONG, route.stats.idle()).await.expect("idle");
}

/// The payloads of a topic, by key, in the order of the log.
async fn read(world: &World, topic: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let admin = world.broker.admin();
    let partitions = admin.topic(topic).await.unwrap().unwrap().partitions;
    let mut left = 0;
    let mut reader = world.broker.reader().await.unwrap();
    for partition in 0..partitions {
        left += admin.offsets(topic, partition).await.unwrap().end;
        reader.assign(&topic.into(), partition, 0).unwrap();
    }
    let limits = BatchLimits {
        messages: 1_000,
        bytes: 1 << 20,
    };
    let mut batch = ReadBatch::default();
    while left > 0 {
        std::future::poll_fn(|cx| reader.poll_batch(cx, limits, &mut batch))
            .await
            .unwrap();
        for record in batch.records.drain(..) {
            left -= 1;
            let text = |bytes: Option<bytes::Bytes>| {
                String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap()
            };
            let key = text(record.message.key);
            found
                .entry(key)
                .or_default()
                .push(text(record.message.payload));
        }
    }
    found
}

/// Each message of the topic was passed on once, and each key's in its order.
async fn is_exact(world: &World, count: usize) {
    let found = read(world, OUT).await;
    for (key, places) in &found {
        let offset = |place: &String| place.split_once('/').unwrap().1.parse::<u64>().unwrap();
        let offsets: Vec<u64> = places.iter().map(offset).collect();
        assert!(offsets.is_sorted_by(|a, b| a < b), "{key}: {offsets:?}");
    }
    assert_eq!(found.values().map(Vec::len).sum::<usize>(), count);
}

#[tokio::test(start_paused = true)]
async fn messages_appear_with_the_progress_past_them() {
    let (world, log) = world(2).await;
    log.one_each.store(true, Ordering::Relaxed);
    fill(&world, 7, 200).await;
    let route = world.start_stacked(spec(), passes_on);
    idle(&route).await;
    is_exact(&world, 200).await;
    assert_eq!(world.seen().len(), 200);
    let committed = log.committed.lock().unwrap().clone();
    assert!(
        committed.len() > 2,
        "more than one commit interval: {committed:?}"
    );
    assert!(committed.iter().all(|count| *count < 200), "{committed:?}");
    let records = world.records().await;
    let settled: u64 = records
        .values()
        .map(|record| record.source.watermark())
        .sum();
    assert_eq!(settled, 200);
    route.drain().await;
}

/// Not one message is there that the position record does not know of, at any commit.
#[tokio::test(start_paused = true)]
async fn a_drain_leaves_as_many_messages_as_are_settled() {
    let (world, log) = world(1).await;
    log.one_each.store(true, Ordering::Relaxed);
    fill(&world, 50, 400).await;
    let mut spec = spec();
    spec.limits.concurrency = 8;
    let route = world.start_stacked(spec, passes_on);
    sleep(Duration::from_millis(170)).await;
    route.drain().await;
    let settled = {
        let record = &world.records().await[&0];
        (0..400)
            .filter(|offset| record.source.is_settled(*offset))
            .count()
    };
    assert!((1..400).contains(&settled), "{settled}");
    is_exact(&world, settled).await;
}

#[tokio::test(start_paused = true)]
async fn an_aborted_transaction_is_handled_again() {
    for fate in [Fate::Aborted, Fate::UnknownAborted, Fate::UnknownCommitted] {
        let (world, log) = world(2).await;
        log.one_each.store(true, Ordering::Relaxed);
        log.fates
            .lock()
            .unwrap()
            .extend([Fate::Committed, fate, fate, Fate::Committed, fate]);
        fill(&world, 7, 300).await;
        let route = world.start_stacked(spec(), passes_on);
        idle(&route).await;
        is_exact(&world, 300).await;
        assert!(log.fates.lock().unwrap().is_empty(), "{fate:?}: all came");
        assert!(world.seen().len() >= 300, "{fate:?}");
        route.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_leaves_nothing_half_done() {
    let (world, _) = world(2).await;
    fill(&world, 7, 300).await;
    for round in 0..5 {
        let route = world.start_stacked(spec(), passes_on);
        sleep(Duration::from_millis(40 + round * 37)).await;
        route.task.abort();
        let _ = route.task.await;
    }
    let route = world.start_stacked(spec(), passes_on);
    idle(&route).await;
    is_exact(&world, 300).await;
    route.drain().await;
}

/// What the broker refuses ends the transaction that it is in; then its own message becomes a dead letter, and no other.
#[tokio::test(start_paused = true)]
async fn a_refused_message_is_a_dead_letter() {
    let (world, _) = world(1).await;
    fill(&world, 5, 100).await;
    let route = world.start_stacked(spec(), |delivery: Delivery| async move {
        if delivery.origin().offset == 37 {
            let refused = Outgoing::new(CLOSED_TOPIC, "x");
            return Ok(vec![out(&delivery), refused].into());
        }
        passes_on(delivery).await
    });
    idle(&route).await;
    is_exact(&world, 99).await;
    let dead = read(&world, "orders.billing.dlq").await;
    assert_eq!(dead.values().flatten().count(), 1, "{dead:?}");
    assert_eq!(route.stats.dead_lettered(), 1);
    route.drain().await;
}

/// A retry that is away in the tier is named by the transaction that settles its source.
#[tokio::test(start_paused = true)]
async fn retries_keep_their_order_and_their_messages_are_there_once() {
    let (world, log) = world(1).await;
    log.fates.lock().unwrap().extend([
        Fate::Committed,
        Fate::Aborted,
        Fate::Committed,
        Fate::UnknownAborted,
    ]);
    fill(&world, 5, 100).await;
    let mut spec = spec();
    spec.retry.tiers = vec![Duration::from_secs(5)];
    spec.retry.in_place.attempts = 1;
    let failures = Arc::new(AtomicU32::new(0));
    let failed = Arc::clone(&failures);
    let route = world.start_stacked(spec, move |delivery: Delivery| {
        let failed = Arc::clone(&failed);
        async move {
            if delivery.origin().offset % 10 == 3 && delivery.attempt() == 1 {
                failed.fetch_add(1, Ordering::Relaxed);
                let error = std::io::Error::other("not yet");
                return Err(HandlerError::transient(error));
            }
            passes_on(delivery).await
        }
    });
    idle(&route).await;
    // All ten have the same key: one after the other.
    sleep(Duration::from_secs(120)).await;
    idle(&route).await;
    is_exact(&world, 100).await;
    assert!(failures.load(Ordering::Relaxed) >= 10);
    route.drain().await;
}

/// A message that is to run again leaves nothing behind of what it returned.
#[tokio::test(start_paused = true)]
async fn messages_of_what_is_not_settled_are_refused() {
    let (world, _) = world(1).await;
    fill(&world, 1, 1).await;
    let route = world.start_stacked(spec(), |delivery: Delivery| async move {
        Ok(Returned {
            outgoing: vec![out(&delivery)],
            settlement: Settlement::Retry {
                reason: "later".into(),
            },
        })
    });
    idle(&route).await;
    assert_eq!(route.stats.dead_lettered(), 1);
    is_exact(&world, 0).await;
    route.drain().await;
}

/// A second member takes half of the partitions in the middle of it, and gives them back.
#[tokio::test(start_paused = true)]
async fn partitions_change_hands_between_transactions() {
    let (world, log) = world(4).await;
    log.one_each.store(true, Ordering::Relaxed);
    fill(&world, 40, 600).await;
    let mut spec = spec();
    spec.limits.concurrency = 8;
    let first = world.start_stacked(spec.clone(), passes_on);
    sleep(Duration::from_millis(130)).await;
    let second = world.start_stacked(spec, passes_on);
    sleep(Duration::from_millis(400)).await;
    second.drain().await;
    idle(&first).await;
    is_exact(&world, 600).await;
    first.drain().await;
}

/// Workers in tasks of their own report later than they put down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_in_tasks_of_their_own_are_waited_for() {
    let (world, log) = world(2).await;
    log.fates.lock().unwrap().extend(
        [Fate::Committed, Fate::Aborted, Fate::UnknownCommitted]
            .into_iter()
            .cycle()
            .take(9),
    );
    fill(&world, 100, 20_000).await;
    let mut spec = spec();
    spec.commit_interval = Duration::from_millis(5);
    spec.limits.workers = 2;
    let route = world.start_stacked(spec, |delivery: Delivery| async move {
        if delivery.position().offset.is_multiple_of(5) {
            tokio::task::yield_now().await;
        }
        Ok(vec![out(&delivery)].into())
    });
    idle(&route).await;
    is_exact(&world, 20_000).await;
    assert!(log.fates.lock().unwrap().is_empty(), "all came");
    route.drain().await;
}

/// A broker refuses what came together; then each of those is alone, and only the one that is to blame is a dead letter.
#[tokio::test(start_paused = true)]
async fn the_neighbours_of_a_refused_message_are_not_to_blame() {
    let (world, _) = world(1).await;
    fill(&world, 50, 50).await;
    let mut spec = spec();
    spec.retry.in_place.attempts = 1;
    let route = world.start_stacked(spec, |delivery: Delivery| async move {
        if delivery.origin().offset == 20 {
            return Ok(vec![Outgoing::new(OUT, POISON)].into());
        }
        Ok(vec![out(&delivery)].into())
    });
    idle(&route).await;
    is_exact(&world, 49).await;
    let dead = read(&world, "orders.billing.dlq").await;
    assert_eq!(dead.values().flatten().count(), 1, "{dead:?}");
    route.drain().await;
}

/// A record that has to be cut to be stored would say that what was returned is to be returned again.
#[tokio::test(start_paused = true)]
async fn no_record_is_cut() {
    let (mut world, mut log) = world(1).await;
    // Room for some sixty runs; every second of four hundred messages waits.
    log.max_record_bytes = Some(64 + 200);
    log.one_each.store(true, Ordering::Relaxed);
    world.face = Some(Arc::new(log.clone()));
    fill(&world, 400, 400).await;
    let mut spec = spec();
    spec.limits.concurrency = 400;
    let handler = |delivery: Delivery| async move {
        if delivery.position().offset % 2 == 1 {
            sleep(Duration::from_secs(1)).await;
        }
        Ok(vec![out(&delivery)].into())
    };
    let route = world.start_stacked(spec.clone(), handler);
    sleep(Duration::from_millis(500)).await;
    route.task.abort();
    let _ = route.task.await;
    let route = world.start_stacked(spec, handler);
    idle(&route).await;
    is_exact(&world, 400).await;
    route.drain().await;
}
