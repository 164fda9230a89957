//! Tests of the rate limit: how many calls begin when, whose token is whose, and what becomes of those that are not used.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Mutex;
use std::time::Duration;

use tokio::task::JoinSet;
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;

use super::*;

/// The name of the service and the milliseconds after the begin, for each call.
type Calls = Arc<Mutex<Vec<(&'static str, u128)>>>;

/// Calls `count` times in a row.
async fn call(
    layer: RateLimitLayer,
    name: &'static str,
    count: usize,
    begin: Instant,
    calls: Calls,
) {
    let mut service = layer.layer(service_fn(move |()| {
        let at = begin.elapsed().as_millis();
        calls.lock().unwrap().push((name, at));
        std::future::ready(Ok::<_, Infallible>(()))
    }));
    for _ in 0..count {
        service.ready().await.unwrap().call(()).await.unwrap();
    }
}

fn layer(rate: &str) -> RateLimitLayer {
    RateLimitLayer::new(rate.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_full_bucket_at_once_then_one_at_a_time() {
    let calls = Calls::default();
    call(layer("5/s"), "a", 15, Instant::now(), Arc::clone(&calls)).await;
    let at: Vec<u128> = calls.lock().unwrap().iter().map(|call| call.1).collect();
    let wanted: Vec<u128> = [0; 5]
        .into_iter()
        .chain((1..=10).map(|n| n * 200))
        .collect();
    assert_eq!(at, wanted);
}

#[tokio::test(start_paused = true)]
async fn a_rate_finer_than_the_timer_is_kept_over_time() {
    let calls = Calls::default();
    let begin = Instant::now();
    call(layer("10000/s"), "a", 30_000, begin, calls).await;
    assert_eq!(begin.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn services_share_it_and_take_turns() {
    let (calls, begin) = (Calls::default(), Instant::now());
    let layer = layer("2/s");
    let mut both = JoinSet::new();
    both.spawn(call(layer.clone(), "a", 6, begin, Arc::clone(&calls)));
    both.spawn(call(layer.clone(), "b", 6, begin, Arc::clone(&calls)));
    both.join_all().await;
    let calls = calls.lock().unwrap();
    let at: Vec<u128> = calls.iter().map(|call| call.1).collect();
    let wanted: Vec<u128> = [0, 0]
        .into_iter()
        .chain((1..=10).map(|n| n * 500))
        .collect();
    assert_eq!(at, wanted, "no more than the rate, whoever calls");
    let of_a = calls[..8].iter().filter(|call| call.0 == "a").count();
    assert!((3..=5).contains(&of_a), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn several_rates_are_all_kept() {
    let buckets = ["10/s", "3/m"].map(|rate| TokenBucket::new(rate.parse().unwrap()));
    let calls = Calls::default();
    let layer = RateLimitLayer::all(buckets);
    call(layer, "a", 5, Instant::now(), Arc::clone(&calls)).await;
    let at: Vec<u128> = calls.lock().unwrap().iter().map(|call| call.1).collect();
    assert_eq!(at, [0, 0, 0, 20_000, 40_000]);
}

/// Whoever waits for the same instant as another is woken, and each of them once: there is no loop.
#[tokio::test(start_paused = true)]
async fn who_waits_is_polled_twice_and_no_wake_is_lost() {
    let inner = service_fn(|()| std::future::ready(Ok::<_, Infallible>(())));
    let begin = Instant::now();
    let mut waiting = JoinSet::new();
    for layer in [layer("1/s"), layer("1/s")] {
        layer.layer(inner).oneshot(()).await.unwrap();
        let mut service = layer.layer(inner);
        waiting.spawn(async move {
            let mut polls = 0;
            let ready = poll_fn(|cx| {
                polls += 1;
                service.poll_ready(cx)
            });
            ready.await.unwrap();
            (polls, begin.elapsed())
        });
    }
    let second = Duration::from_secs(1);
    assert_eq!(waiting.join_all().await, [(2, second), (2, second)]);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_not_used_goes_back_and_is_one() {
    let layer = layer("1/m");
    let inner = service_fn(|()| std::future::ready(Ok::<_, Infallible>(())));
    let mut ready = layer.layer(inner);
    ready.ready().await.unwrap();
    ready.ready().await.unwrap();
    let begin = Instant::now();
    drop(ready.clone());
    drop(ready);
    layer.layer(inner).oneshot(()).await.unwrap();
    assert_eq!(begin.elapsed(), Duration::ZERO, "it was given back");
    // One that waits and gives up leaves its place to the next.
    let mut gives_up = layer.layer(inner);
    let second = Duration::from_secs(1);
    let waited = tokio::time::timeout(second, gives_up.ready()).await;
    assert!(waited.is_err());
    drop(gives_up);
    layer.layer(inner).oneshot(()).await.unwrap();
    assert_eq!(begin.elapsed(), Duration::from_secs(60));
    layer.layer(inner).oneshot(()).await.unwrap();
    assert_eq!(
        begin.elapsed(),
        Duration::from_secs(120),
        "no more than one"
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_rate_nothing_waits() {
    let begin = Instant::now();
    let calls = Calls::default();
    call(RateLimitLayer::default(), "a", 10_000, begin, calls).await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "called without having been ready")]
async fn a_call_without_a_token_is_a_mistake() {
    let inner = service_fn(|()| std::future::ready(Ok::<_, Infallible>(())));
    drop(layer("1/s").layer(inner).call(()));
}
