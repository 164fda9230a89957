//! Delivery, order, concurrency, progress, drain, takeover.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::{HANDLED, World};
use crate::middleware::Outcome;

#[tokio::test(start_paused = true)]
async fn every_message_is_handled_once_and_progress_is_committed() {
    let world = World::new(3).await;
    let keys: Vec<String> = (0..1_000).map(|n| format!("k{}", n % 50)).collect();
    world.publish(keys.iter().map(|key| Some(&**key))).await;
    let route = world.start(World::spec(), |_| async { HANDLED });
    route.stats.idle().await;
    assert_eq!(route.stats.handled(), 1_000);
    let total: u64 = world
        .records()
        .await
        .values()
        .map(|record| record.watermark())
        .sum();
    assert_eq!(total, 1_000);
    let report = route.drain().await;
    assert_eq!(report.abandoned, 0);
    assert!(world.records().await.values().all(|record| record.clean));
}

#[tokio::test(start_paused = true)]
async fn one_key_runs_in_order_while_others_run_beside_it() {
    let world = World::new(1).await;
    let keys = ["a", "b", "a", "c", "a", "b"];
    world.publish(keys.iter().map(|key| Some(*key))).await;
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let counters = (Arc::clone(&running), Arc::clone(&most));
    let started = tokio::time::Instant::now();
    let route = world.start(World::spec(), move |_| {
        let (running, most) = counters.clone();
        async move {
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            sleep(Duration::from_secs(1)).await;
            running.fetch_sub(1, Ordering::SeqCst);
            HANDLED
        }
    });
    route.stats.idle().await;
    assert_eq!(most.load(Ordering::SeqCst), 3, "three keys at once");
    assert_eq!(
        started.elapsed().as_secs(),
        3,
        "the key with three messages decides"
    );
    let seen = world.seen();
    let of_a: Vec<u64> = seen
        .iter()
        .filter(|(key, _)| key == "a")
        .map(|(_, offset)| *offset)
        .collect();
    assert_eq!(of_a, [0, 2, 4]);
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn never_more_than_the_limit_runs() {
    let world = World::new(2).await;
    let keys: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    world.publish(keys.iter().map(|key| Some(&**key))).await;
    let running = Arc::new(AtomicUsize::new(0));
    let mut spec = World::spec();
    spec.limits.concurrency = 7;
    let counter = Arc::clone(&running);
    let route = world.start(spec, move |_| {
        let running = Arc::clone(&counter);
        async move {
            assert!(running.fetch_add(1, Ordering::SeqCst) < 7);
            sleep(Duration::from_millis(10)).await;
            running.fetch_sub(1, Ordering::SeqCst);
            HANDLED
        }
    });
    route.stats.idle().await;
    assert_eq!(route.stats.handled(), 100);
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn several_workers_share_keys_and_limit() {
    let world = World::new(2).await;
    let keys: Vec<String> = (0..500).map(|n| format!("k{}", n % 20)).collect();
    world.publish(keys.iter().map(|key| Some(&**key))).await;
    let mut spec = World::spec();
    spec.limits.concurrency = 5;
    spec.limits.workers = 4;
    let running = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&running);
    let route = world.start(spec, move |_| {
        let running = Arc::clone(&counter);
        async move {
            assert!(running.fetch_add(1, Ordering::SeqCst) < 5);
            tokio::task::yield_now().await;
            running.fetch_sub(1, Ordering::SeqCst);
            HANDLED
        }
    });
    route.stats.idle().await;
    assert_eq!(route.stats.handled(), 500);
    let mut last = std::collections::BTreeMap::new();
    for (key, offset) in world.seen() {
        if let Some(before) = last.insert(key.clone(), offset) {
            assert!(before < offset, "{key}: {offset} after {before}");
        }
    }
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn an_unsettled_message_is_what_the_next_owner_gets_and_nothing_else() {
    let world = World::new(1).await;
    world.publish(["a", "b", "c", "d"].map(Some)).await;
    let mut spec = World::spec();
    spec.drain_timeout = Duration::from_secs(2);
    let route = world.start(spec, |delivery| async move {
        if delivery.key().is_some_and(|key| key[..] == *b"b") {
            std::future::pending::<()>().await;
        }
        HANDLED
    });
    sleep(Duration::from_secs(1)).await;
    let report = route.drain().await;
    assert_eq!(report.abandoned, 1);
    assert_eq!(world.seen().len(), 4);
    let record = &world.records().await[&0];
    assert_eq!(record.watermark(), 1);
    let route = world.start(World::spec(), |_| async { HANDLED });
    route.stats.idle().await;
    assert_eq!(world.seen(), [("b".to_owned(), 1)]);
    assert_eq!(world.records().await[&0].epoch, record.epoch + 1);
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn at_most_once_commits_before_it_dispatches() {
    let world = World::new(1).await;
    world.publish(["a", "b"].map(Some)).await;
    let mut spec = World::spec();
    spec.delivery = crate::router::DeliverySemantics::AtMostOnce;
    spec.drain_timeout = Duration::from_secs(1);
    let route = world.start(spec, |_| std::future::pending());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.seen().len(), 2);
    assert_eq!(world.records().await[&0].watermark(), 2);
    route.drain().await;
}

/// With several workers a layer may see the stop of its partition before the worker does.
#[tokio::test(start_paused = true)]
async fn after_an_interrupted_message_nothing_of_its_key_starts() {
    for workers in [1, 3] {
        let world = World::new(1).await;
        world.publish(["a", "b", "a", "b", "a"].map(Some)).await;
        let mut spec = World::spec();
        spec.limits.workers = workers;
        let route = world.start(spec, |delivery| async move {
            match delivery.position().offset {
                0 => Outcome::Interrupted,
                _ => HANDLED,
            }
        });
        sleep(Duration::from_secs(1)).await;
        let of_a = world.seen().iter().filter(|(key, _)| key == "a").count();
        assert_eq!(of_a, 1, "with {workers} workers");
        assert_eq!(world.records().await[&0].watermark(), 0);
        route.drain().await;
    }
}
