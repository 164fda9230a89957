//! Tests of the concurrency limit: how many calls run, who is next, and whom a permit belongs to that is not used.

use std::convert::Infallible;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;

use super::*;

fn is_ready<S: Service<()>>(service: &mut S) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    service.poll_ready(&mut cx).is_ready()
}

fn idle(
    layer: &ConcurrencyLimitLayer,
) -> impl Service<(), Response = (), Error = Infallible> + Clone + use<> {
    layer.layer(service_fn(|()| std::future::pending()))
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_run_than_the_limit_and_nobody_starves() {
    let layer = ConcurrencyLimitLayer::new(3);
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    let begin = Instant::now();
    for route in 0..6 {
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        let order = Arc::clone(&order);
        let mut service = layer.layer(service_fn(move |()| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            order.lock().unwrap().push(route);
            async move {
                most.fetch_max(
                    running.fetch_add(1, Ordering::Relaxed) + 1,
                    Ordering::Relaxed,
                );
                sleep(Duration::from_millis(10)).await;
                running.fetch_sub(1, Ordering::Relaxed);
                Ok::<_, Infallible>(())
            }
        }));
        tasks.spawn(async move {
            for _ in 0..5 {
                service.ready().await.unwrap().call(()).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(most.load(Ordering::Relaxed), 3);
    assert_eq!(begin.elapsed(), Duration::from_millis(100));
    for round in order.lock().unwrap().chunks(6) {
        let mut round = round.to_vec();
        round.sort_unstable();
        assert_eq!(round, [0, 1, 2, 3, 4, 5], "each has its turn");
    }
}

#[tokio::test]
async fn a_permit_comes_back_when_the_future_is_dropped_and_when_it_panics() {
    let layer = ConcurrencyLimitLayer::new(1);
    let mut first = idle(&layer);
    assert!(is_ready(&mut first));
    let call = first.call(());
    assert!(!is_ready(&mut idle(&layer)));
    drop(call);
    assert!(is_ready(&mut idle(&layer)));
    let panics = layer.layer(service_fn(|fails: bool| async move {
        assert!(!fails, "boom");
        Ok::<_, Infallible>(())
    }));
    let panics = tokio::spawn(panics.oneshot(true));
    assert!(panics.await.unwrap_err().is_panic());
    assert!(is_ready(&mut idle(&layer)));
}

#[tokio::test]
async fn a_permit_comes_back_when_a_call_panics_before_it_has_a_future() {
    let layer = ConcurrencyLimitLayer::new(1);
    let mut panics = layer.layer(service_fn(
        |()| -> std::future::Ready<Result<(), Infallible>> { panic!("early") },
    ));
    let early = tokio::spawn(async move { panics.ready().await.unwrap().call(()).await });
    assert!(early.await.unwrap_err().is_panic());
    assert!(is_ready(&mut idle(&layer)));
}

/// The trap: whoever is ready, or was given a permit while it waited, keeps it until it is called or dropped.
#[tokio::test]
async fn a_service_that_was_asked_and_is_not_called_keeps_its_permit_until_it_is_dropped() {
    let layer = ConcurrencyLimitLayer::new(1);
    let mut ready = idle(&layer);
    let mut waits = idle(&layer);
    let mut other = idle(&layer);
    assert!(is_ready(&mut ready) && is_ready(&mut ready), "one permit");
    assert!(!is_ready(&mut waits) && !is_ready(&mut other));
    drop(ready.clone());
    assert!(!is_ready(&mut other), "a clone has none to give back");
    ready = ready.clone();
    assert!(!is_ready(&mut ready), "the permit is the other's who waits");
    assert!(!is_ready(&mut other), "though that one was not asked again");
    waits = waits.clone();
    assert!(is_ready(&mut other));
    drop((other, waits));
    assert!(is_ready(&mut ready), "the place in the queue was kept");
}

#[tokio::test]
async fn several_limits_are_all_held_and_all_come_back() {
    let (first, second) = (CallPermits::new(2), CallPermits::new(1));
    let both = ConcurrencyLimitLayer::all([first.clone(), second.clone()]);
    let free = || (first.free(), second.free());
    let mut one = idle(&both);
    assert!(is_ready(&mut one));
    let call = one.call(());
    assert_eq!(free(), (1, 0));
    let mut other = idle(&both);
    assert!(!is_ready(&mut other));
    assert_eq!(free(), (0, 0), "it waits for the second with the first");
    drop(other);
    assert_eq!(free(), (1, 0));
    drop(call);
    assert_eq!(free(), (2, 1));
}

/// Services with parts of the same limits, in one order: none waits for one that waits for it.
#[tokio::test(start_paused = true)]
async fn limits_in_one_order_do_not_lock_each_other() {
    let limits: Vec<_> = (0..3).map(|_| CallPermits::new(1)).collect();
    let mut tasks = JoinSet::new();
    for part in 1..8 {
        let of_part = |index: &usize| part & (1 << index) != 0;
        let named = (0..3).filter(of_part).map(|index| limits[index].clone());
        let mut service = ConcurrencyLimitLayer::all(named).layer(service_fn(|()| async {
            sleep(Duration::from_millis(1)).await;
            Ok::<_, Infallible>(())
        }));
        tasks.spawn(async move {
            for _ in 0..50 {
                service.ready().await.unwrap().call(()).await.unwrap();
            }
        });
    }
    let all = timeout(Duration::from_secs(10), tasks.join_all()).await;
    assert_eq!(all.expect("nobody waits for ever").len(), 7);
}

#[tokio::test]
async fn without_a_limit_nothing_is_held() {
    let mut service = idle(&ConcurrencyLimitLayer::default());
    let calls: Vec<_> = (0..1_000).map(|_| service.call(())).collect();
    assert!(is_ready(&mut service));
    drop(calls);
}

#[tokio::test]
#[should_panic(expected = "called without having been ready")]
async fn a_call_without_a_permit_is_a_mistake() {
    drop(idle(&ConcurrencyLimitLayer::new(1)).call(()));
}
