//! The circuit: what opens it, who may call then, and what a failure is to its message.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};

use tower_layer::Layer;

use super::*;
use crate::delivery::Settlement;
use crate::handler::{ErrorClass, HandlerResult};
use crate::middleware::testing::delivery;

const PAUSE: Duration = Duration::from_secs(10);

fn breaker(failures: usize) -> Arc<Breaker> {
    let policy = BreakerPolicy {
        failures,
        pause: PAUSE,
        puts_back: true,
    };
    Arc::new(Breaker::new(policy, ErrorClasses::default()))
}

/// Answers call by call what its script says, then well.
fn handler(
    script: impl IntoIterator<Item = HandlerResult>,
) -> impl Service<Delivery, Response = Returned, Error = HandlerError, Future: Send> + Clone {
    let script: Arc<Mutex<VecDeque<_>>> = Arc::new(Mutex::new(script.into_iter().collect()));
    tower::service_fn(move |_: Delivery| {
        let result = script.lock().unwrap().pop_front();
        async move {
            tokio::task::yield_now().await;
            result.unwrap_or(Ok(Returned::default()))
        }
    })
}

fn away() -> HandlerResult {
    Err(HandlerError::transient("the database is away"))
}

async fn call<S>(service: &mut S, offset: u64) -> HandlerResult
where
    S: Service<Delivery, Response = Returned, Error = HandlerError>,
{
    poll_fn(|cx| service.poll_ready(cx)).await?;
    service.call(delivery(offset)).await
}

fn is_put_back(result: &HandlerResult) -> bool {
    result.as_ref().is_err_and(HandlerError::is_put_back)
}

#[tokio::test(start_paused = true)]
async fn it_opens_after_different_failures_in_a_row_and_closes_with_a_probe() {
    let breaker = breaker(3);
    let script = [away(), away(), away(), away()];
    let mut service = CircuitBreakerLayer::new(Some(Arc::clone(&breaker))).layer(handler(script));
    let begin = Instant::now();
    for offset in 0..3 {
        let error = call(&mut service, offset).await.unwrap_err();
        assert!(
            !error.is_put_back(),
            "what opens it are failures like any other"
        );
    }
    assert_eq!(
        (breaker.state(), begin.elapsed()),
        (CircuitState::Open, Duration::ZERO)
    );
    // The first probe fails: not by a fault of its message.
    assert!(is_put_back(&call(&mut service, 3).await));
    assert_eq!(
        (breaker.state(), begin.elapsed()),
        (CircuitState::Open, PAUSE)
    );
    // The second one goes well, and all is as before.
    assert!(call(&mut service, 3).await.is_ok());
    assert_eq!(
        (breaker.state(), begin.elapsed()),
        (CircuitState::Closed, 2 * PAUSE)
    );
    assert!(call(&mut service, 4).await.is_ok());
    assert_eq!(begin.elapsed(), 2 * PAUSE);
}

#[tokio::test(start_paused = true)]
async fn one_message_again_and_again_does_not_open_it_nor_do_failures_for_good() {
    let breaker = breaker(2);
    let for_good = || Err(HandlerError::permanent("poisoned"));
    let script = [
        away(),
        away(),
        away(),
        Ok(Returned::default()),
        away(),
        for_good(),
        away(),
    ];
    let mut service = CircuitBreakerLayer::new(Some(Arc::clone(&breaker))).layer(handler(script));
    for offset in [1, 1, 1, 2, 3, 4, 5] {
        let _ = call(&mut service, offset).await;
        assert_eq!(breaker.state(), CircuitState::Closed, "after {offset}");
    }
    let retry = Settlement::Retry {
        reason: "later".into(),
    };
    let mut service = CircuitBreakerLayer::new(Some(Arc::clone(&breaker)))
        .layer(handler([Ok(retry.into()), Ok(Returned::default())]));
    assert!(call(&mut service, 6).await.is_ok());
    assert_eq!(
        breaker.state(),
        CircuitState::Open,
        "to ask for another try is to fail"
    );
}

#[tokio::test(start_paused = true)]
async fn classes_of_errors_count() {
    let mut classes = ErrorClasses::default();
    classes.add::<std::num::ParseIntError>(ErrorClass::Permanent);
    let policy = BreakerPolicy {
        failures: 1,
        pause: PAUSE,
        puts_back: true,
    };
    let breaker = Arc::new(Breaker::new(policy, classes));
    let parse = || Err(HandlerError::from("x".parse::<u8>().unwrap_err()));
    let mut service =
        CircuitBreakerLayer::new(Some(Arc::clone(&breaker))).layer(handler([parse(), away()]));
    assert!(!call(&mut service, 0).await.unwrap_err().is_transient());
    assert_eq!(breaker.state(), CircuitState::Closed);
    assert!(call(&mut service, 1).await.is_err());
    assert_eq!(breaker.state(), CircuitState::Open);
}

/// However many wait, one probes; the others are woken by its end.
#[tokio::test(start_paused = true)]
async fn one_probes_and_the_others_wait_for_it() {
    let breaker = breaker(1);
    let running = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&running);
    let first = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let handler = tower::service_fn(move |_: Delivery| {
        let (count, failing) = (Arc::clone(&count), first.swap(false, Ordering::SeqCst));
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
            if failing {
                away()
            } else {
                Ok(Returned::default())
            }
        }
    });
    let service = CircuitBreakerLayer::new(Some(Arc::clone(&breaker))).layer(handler);
    assert!(call(&mut service.clone(), 0).await.is_err());
    let waiting: Vec<_> = (1..6)
        .map(|offset| {
            let mut service = service.clone();
            tokio::spawn(async move { call(&mut service, offset).await })
        })
        .collect();
    tokio::time::sleep(PAUSE + Duration::from_millis(500)).await;
    assert_eq!(
        (breaker.state(), running.load(Ordering::SeqCst)),
        (CircuitState::Probing, 2)
    );
    let begin = Instant::now();
    for waiting in waiting {
        assert!(waiting.await.unwrap().is_ok());
    }
    assert_eq!(
        begin.elapsed(),
        Duration::from_millis(1_500),
        "they began when the probe ended"
    );
}

/// A probe that is dropped, or was granted and never called, leaves its place to the next.
#[tokio::test(start_paused = true)]
async fn a_probe_that_comes_to_nothing_is_another_ones() {
    let breaker = breaker(1);
    let service = CircuitBreakerLayer::new(Some(Arc::clone(&breaker))).layer(handler([away()]));
    assert!(call(&mut service.clone(), 0).await.is_err());
    tokio::time::sleep(PAUSE).await;
    let mut granted = service.clone();
    poll_fn(|cx| granted.poll_ready(cx)).await.unwrap();
    assert_eq!(breaker.state(), CircuitState::Probing);
    let mut next = service.clone();
    let next = tokio::spawn(async move { call(&mut next, 1).await });
    tokio::task::yield_now().await;
    drop(granted);
    assert!(next.await.unwrap().is_ok());
    assert_eq!(breaker.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_failed_beside_those_that_opened_it_is_put_back_unless_that_is_forbidden() {
    for puts_back in [true, false] {
        let policy = BreakerPolicy {
            failures: 1,
            pause: PAUSE,
            puts_back,
        };
        let breaker = Arc::new(Breaker::new(policy, ErrorClasses::default()));
        let service = CircuitBreakerLayer::new(Some(breaker)).layer(handler([away(), away()]));
        let (mut one, mut other) = (service.clone(), service.clone());
        let (one, other) = tokio::join!(call(&mut one, 0), call(&mut other, 1));
        let put_back = [one, other]
            .iter()
            .filter(|result| is_put_back(result))
            .count();
        assert_eq!(put_back, usize::from(puts_back));
    }
}
