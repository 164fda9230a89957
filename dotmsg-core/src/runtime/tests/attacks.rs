//! Interleavings that once went wrong: late answers of the broker, partitions that come and go meanwhile, workers in
//! tasks of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::gated::{Answer, Gated, Valve};
use super::retries::kill;
use super::{HANDLED, World};
use crate::delivery::Delivery;
use crate::handler::{HandlerError, Returned};
use crate::router::{InPlace, RetryOrder, RouteSpec};

const LONG: Duration = Duration::from_secs(600);

fn gated(world: &mut World) -> Arc<Valve> {
    let gated = Gated::new(&world.broker);
    let valve = Arc::clone(&gated.valve);
    world.face = Some(Arc::new(gated));
    valve
}

fn spec(tiers: &[u64]) -> RouteSpec {
    let mut spec = World::spec();
    spec.retry.tiers = tiers.iter().map(|s| Duration::from_secs(*s)).collect();
    spec.retry.in_place = InPlace {
        attempts: 1,
        ..InPlace::default()
    };
    spec
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_leaves_the_group() {
    let mut world = World::new(2).await;
    let valve = gated(&mut world);
    let route = world.start(World::spec(), |_| async { HANDLED });
    timeout(LONG, route.stats.idle()).await.expect("idle");
    route.drain().await;
    assert_eq!(valve.closed.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_ends_while_another_is_released_is_released_too() {
    let mut world = World::new(2).await;
    let valve = gated(&mut world);
    let route = world.start(World::spec(), |_| async { HANDLED });
    timeout(LONG, route.stats.idle()).await.expect("idle");
    valve.releases(false);
    let within = Duration::from_secs(60);
    world.broker.revoke("billing", "orders", &[0], within);
    sleep(Duration::from_millis(100)).await;
    world.broker.revoke("billing", "orders", &[1], within);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(*valve.released.lock().unwrap(), [0]);
    valve.releases(true);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(*valve.released.lock().unwrap(), [0, 1]);
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_revoked_during_its_takeover_is_released() {
    let mut world = World::new(1).await;
    world.publish([Some("a")]).await;
    let valve = gated(&mut world);
    valve.commits(false);
    let route = world.start(World::spec(), |_| async { HANDLED });
    while valve.arrived() == 0 {
        tokio::task::yield_now().await;
    }
    let within = Duration::from_secs(60);
    world.broker.revoke("billing", "orders", &[0], within);
    sleep(Duration::from_millis(100)).await;
    valve.commits(true);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(*valve.released.lock().unwrap(), [0]);
    assert_eq!(world.seen(), [], "nothing is started for it");
    assert!(world.broker.reassign("billing", "orders", &[0]));
    timeout(LONG, route.stats.idle()).await.expect("idle");
    assert_eq!(world.seen().len(), 1);
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_lost_during_its_takeover_does_not_end_the_route() {
    let mut world = World::new(2).await;
    world.publish(["a", "b", "c", "d"].map(Some)).await;
    let valve = gated(&mut world);
    let route = world.start(World::spec(), |_| async { HANDLED });
    timeout(LONG, route.stats.idle()).await.expect("idle");
    route.drain().await;
    valve.commits(false);
    let before = valve.arrived();
    let route = world.start(World::spec(), |_| async { HANDLED });
    while valve.arrived() == before {
        tokio::task::yield_now().await;
    }
    world.publish(["a", "b", "c", "d"].map(Some)).await;
    world.broker.lose("billing", "orders", &[0]);
    sleep(Duration::from_millis(100)).await;
    world.broker.reassign("billing", "orders", &[0]);
    sleep(Duration::from_millis(100)).await;
    valve.commits(true);
    sleep(Duration::from_secs(1)).await;
    assert!(!route.stats.has_ended(), "{:?}", route.task.await);
    timeout(LONG, route.stats.idle()).await.expect("idle");
    assert_eq!(route.stats.handled(), 4);
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_during_a_takeover_gives_up_what_it_took() {
    let mut world = World::new(2).await;
    let valve = gated(&mut world);
    let route = world.start(World::spec(), |_| async { HANDLED });
    timeout(LONG, route.stats.idle()).await.expect("idle");
    world.broker.lose("billing", "orders", &[0]);
    valve.commits(false);
    let before = valve.arrived();
    world.broker.reassign("billing", "orders", &[0]);
    while valve.arrived() == before {
        sleep(Duration::from_millis(1)).await;
    }
    let draining = tokio::spawn(route.drain());
    // Long enough for the other partition to be given up without a last commit.
    sleep(Duration::from_secs(20)).await;
    assert!(!draining.is_finished(), "a takeover is under way");
    valve.commits(true);
    draining.await.unwrap();
    assert_eq!(valve.closed.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_worker_of_its_own_still_runs_is_dropped_before_the_release() {
    struct Runs(Arc<AtomicBool>);
    impl Drop for Runs {
        fn drop(&mut self) {
            self.0.store(false, Ordering::SeqCst);
        }
    }
    let mut world = World::new(1).await;
    let valve = gated(&mut world);
    world.publish([Some("a")]).await;
    let mut spec = World::spec();
    spec.limits.workers = 2;
    spec.drain_timeout = Duration::from_secs(1);
    let flag = Arc::clone(&valve.runs);
    let route = world.start(spec, move |_| {
        flag.store(true, Ordering::SeqCst);
        let guard = Runs(Arc::clone(&flag));
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    });
    while !valve.runs.load(Ordering::SeqCst) {
        sleep(Duration::from_millis(1)).await;
    }
    let report = route.drain().await;
    assert_eq!(report.abandoned, 1);
    assert_eq!(*valve.released.lock().unwrap(), [0]);
    assert!(
        !valve.overlapped.load(Ordering::SeqCst),
        "it ran when its partition was released"
    );
    assert!(world.records().await[&0].clean);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_panics_ends_its_route() {
    let world = World::new(1).await;
    world.publish([Some("a")]).await;
    let mut spec = World::spec();
    spec.limits.workers = 2;
    // A bare service: nothing catches the panic.
    let route = world.start(spec, |_| async { panic!("a bug in a layer") });
    let ended = timeout(LONG, route.task).await;
    let error = ended.expect("it ends").unwrap().unwrap_err();
    assert!(error.to_string().contains("worker"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_route_that_panicked_is_answered() {
    let world = World::new(1).await;
    let route = world.start(World::spec(), |_| async { panic!("a bug in a layer") });
    timeout(LONG, route.stats.idle()).await.expect("idle");
    world.publish([Some("a")]).await;
    assert!(route.task.await.unwrap_err().is_panic());
    timeout(LONG, route.stats.idle()).await.expect("answered");
    assert!(route.stats.has_ended());
}

#[tokio::test(start_paused = true)]
async fn heads_away_since_order_was_relaxed_run_one_at_a_time() {
    let world = World::new(1).await;
    world.publish(["a", "a", "a"].map(Some)).await;
    let mut relaxed = spec(&[5]);
    relaxed.retry.order = RetryOrder::Relax;
    let fails = |delivery: Delivery| {
        let first = delivery.attempt() == 1;
        async move {
            if first {
                return Err(HandlerError::transient(std::io::Error::other("not yet")));
            }
            sleep(Duration::from_secs(1)).await;
            Ok(Returned::default())
        }
    };
    let route = world.start_stacked(relaxed, fails);
    timeout(LONG, route.stats.idle()).await.expect("idle");
    assert_eq!(route.stats.away(), 3);
    route.drain().await;
    let running = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&running);
    let route = world.start_stacked(spec(&[5]), move |delivery| {
        let flag = Arc::clone(&flag);
        async move {
            assert!(!flag.swap(true, Ordering::SeqCst), "one at a time");
            let result = fails(delivery).await;
            flag.store(false, Ordering::SeqCst);
            result
        }
    });
    sleep(Duration::from_secs(60)).await;
    timeout(LONG, route.stats.idle()).await.expect("idle");
    assert_eq!(route.stats.away(), 0);
    assert_eq!(route.stats.dead_lettered(), 0);
    route.drain().await;
    assert!(world.records().await[&0].settled(3));
}

/// What ends the process next must not find the note of a message that has ended well.
#[tokio::test(start_paused = true)]
async fn the_end_of_single_message_mode_is_confirmed_before_anything_else_starts() {
    let mut world = World::new(1).await;
    world.publish(["a", "b"].map(Some)).await;
    let valve = gated(&mut world);
    let mut spec = World::spec();
    spec.crash_loop.takeovers = 1;
    // The mode ends behind the first message, and the second is not fetched before.
    spec.limits.concurrency = 1;
    spec.limits.max_held_messages = 1;
    let route = world.start(spec.clone(), |_| std::future::pending());
    sleep(Duration::from_secs(1)).await;
    kill(&world, route).await;
    assert_eq!(world.seen(), [("a".to_owned(), 0)]);
    let go = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = Arc::clone(&go);
    let route = world.start(spec, move |_| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            HANDLED
        }
    });
    sleep(Duration::from_secs(1)).await;
    assert!(world.records().await[&0].crash.noted.is_some());
    valve.commits(false);
    go.add_permits(2);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.seen(), [("a".to_owned(), 0)]);
    valve.commits(true);
    timeout(LONG, route.stats.idle()).await.expect("idle");
    assert_eq!(world.seen(), [("b".to_owned(), 1)]);
    assert_eq!(world.records().await[&0].crash.noted, None);
    route.drain().await;
}

/// What arrives while the noted message runs, or while the end of the mode is on its way, waits.
#[tokio::test(start_paused = true)]
async fn in_single_message_mode_nothing_starts_beside_the_noted_message() {
    let mut world = World::new(1).await;
    world.publish([Some("a")]).await;
    let valve = gated(&mut world);
    let mut spec = World::spec();
    spec.crash_loop.takeovers = 1;
    let route = world.start(spec.clone(), |_| std::future::pending());
    sleep(Duration::from_secs(1)).await;
    kill(&world, route).await;
    world.seen();
    let go = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = Arc::clone(&go);
    let route = world.start(spec, move |_| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            HANDLED
        }
    });
    sleep(Duration::from_secs(1)).await;
    world.publish([Some("b")]).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.seen(), [("a".to_owned(), 0)]);
    assert!(world.records().await[&0].crash.noted.is_some());
    go.add_permits(2);
    timeout(LONG, route.stats.idle()).await.expect("idle");
    assert_eq!(world.seen(), [("b".to_owned(), 1)]);
    kill(&world, route).await;

    // The same for the commit that ends the mode, with nothing staged when it begins.
    world.publish([Some("a")]).await;
    let mut spec = World::spec();
    spec.crash_loop.takeovers = 1;
    let gate = Arc::clone(&go);
    let route = world.start(spec, move |_| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            HANDLED
        }
    });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.seen(), [("a".to_owned(), 2)]);
    valve.commits(false);
    go.add_permits(2);
    sleep(Duration::from_secs(1)).await;
    world.publish([Some("b")]).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.seen(), [], "the end is not confirmed");
    valve.commits(true);
    timeout(LONG, route.stats.idle()).await.expect("idle");
    assert_eq!(world.seen(), [("b".to_owned(), 3)]);
    route.drain().await;
}

/// What is owed for an ownership ends with it: the next one is not given away for it.
#[tokio::test(start_paused = true)]
async fn a_partition_that_was_revoked_then_lost_and_granted_again_stays() {
    let mut world = World::new(1).await;
    let valve = gated(&mut world);
    let route = world.start(World::spec(), |_| async { HANDLED });
    timeout(LONG, route.stats.idle()).await.expect("idle");
    let within = Duration::from_secs(60);
    world.broker.lose("billing", "orders", &[0]);
    world.broker.reassign("billing", "orders", &[0]);
    world.broker.revoke("billing", "orders", &[0], within);
    world.broker.lose("billing", "orders", &[0]);
    world.broker.reassign("billing", "orders", &[0]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(*valve.released.lock().unwrap(), [0; 0]);
    world.publish([Some("a")]).await;
    timeout(LONG, route.stats.idle()).await.expect("idle");
    assert_eq!(world.seen().len(), 1);
    route.drain().await;
}

/// An outcome that is missing is one that is not known.
#[tokio::test(start_paused = true)]
async fn a_takeover_that_gets_too_few_outcomes_is_not_confirmed() {
    let mut world = World::new(1).await;
    let valve = gated(&mut world);
    valve.answer(Answer::Short);
    world.publish([Some("a")]).await;
    let route = world.start(World::spec(), |_| async { HANDLED });
    sleep(Duration::from_millis(500)).await;
    assert_eq!(world.seen(), [], "its record is not written back");
    valve.answer(Answer::Stored);
    timeout(LONG, route.stats.idle()).await.expect("idle");
    assert_eq!(world.seen().len(), 1);
    valve.answer(Answer::Short);
    world.publish([Some("a")]).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.records().await[&0].watermark(), 1);
    valve.answer(Answer::Stored);
    timeout(LONG, route.stats.idle()).await.expect("idle");
    assert_eq!(world.records().await[&0].watermark(), 2);
    route.drain().await;
}

/// The takeover that is under way belongs to an ownership that was lost: nobody else gives the newer one back.
#[tokio::test(start_paused = true)]
async fn a_grant_that_is_revoked_behind_a_lost_takeover_is_released() {
    let mut world = World::new(1).await;
    let valve = gated(&mut world);
    valve.commits(false);
    let route = world.start(World::spec(), |_| async { HANDLED });
    while valve.arrived() == 0 {
        tokio::task::yield_now().await;
    }
    world.broker.lose("billing", "orders", &[0]);
    world.broker.reassign("billing", "orders", &[0]);
    let within = Duration::from_secs(60);
    world.broker.revoke("billing", "orders", &[0], within);
    sleep(Duration::from_millis(100)).await;
    valve.commits(true);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(*valve.released.lock().unwrap(), [0]);
    route.drain().await;
}

/// What was handed over to a worker before the stop, and was not begun, is not begun after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_of_its_own_stops_in_the_middle_of_what_it_was_handed() {
    let world = World::new(1).await;
    let mut spec = World::spec();
    spec.limits.workers = 2;
    spec.drain_timeout = Duration::from_millis(200);
    let route = world.start(spec, |_| {
        let (_never, pause) = std::sync::mpsc::channel::<()>();
        let _ = pause.recv_timeout(Duration::from_millis(2));
        drop(_never);
        std::future::ready(HANDLED)
    });
    timeout(LONG, route.stats.idle()).await.expect("idle");
    let keys: Vec<String> = (0..4_000).map(|n| n.to_string()).collect();
    world.publish(keys.iter().map(|key| Some(&**key))).await;
    let began = async {
        while world.seen.lock().unwrap().len() < 10 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, began).await.expect("handlers begin");
    route.drain().await;
    let begun = world.seen().len();
    assert!(begun > 0);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(world.seen(), [], "begun after the release, behind {begun}");
}

/// What is asked back within ten seconds is given back within ten, its last commit included.
#[tokio::test(start_paused = true)]
async fn a_revocation_keeps_time_for_the_last_commit() {
    let mut world = World::new(1).await;
    let valve = gated(&mut world);
    let mut spec = World::spec();
    spec.drain_timeout = Duration::from_secs(60);
    let route = world.start(spec, |_| std::future::pending());
    world.publish([Some("a")]).await;
    while world.seen().is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    let within = Duration::from_secs(10);
    let before = valve.arrived();
    world.broker.revoke("billing", "orders", &[0], within);
    sleep(within * 8 / 10 + Duration::from_millis(100)).await;
    assert!(
        valve.arrived() > before,
        "the last commit is on its way with a fifth of the time left"
    );
    assert_eq!(*valve.released.lock().unwrap(), [0]);
    route.drain().await;
}
