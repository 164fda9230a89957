//! Tests of what is measured.

use std::time::Duration;

use tower::{ServiceExt, service_fn};

use super::*;
use crate::delivery::Delivery;
use crate::middleware::testing::delivery;

type Answers = Result<Returned, HandlerError>;

#[tokio::test(start_paused = true)]
async fn calls_that_wait_are_measured_one_by_one() {
    let metrics = Arc::new(RouteMetrics::default());
    let slow = service_fn(|_: Delivery| async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        Answers::Ok(Returned::default())
    });
    let mut service = Metrics::new(slow, Some(Arc::clone(&metrics)));
    for offset in 0..40 {
        service.call(delivery(offset)).await.unwrap();
    }
    let calls = metrics.calls.snapshot();
    assert_eq!((calls.count(), calls.buckets[8]), (40, 40));
    assert!(
        (calls.sum_seconds - 1.2).abs() < 0.1,
        "{}",
        calls.sum_seconds
    );
    assert_eq!(metrics.failures.snapshot(), []);
}

#[tokio::test]
async fn calls_that_are_ready_at_once_are_measured_too() {
    let metrics = Arc::new(RouteMetrics::default());
    let quick = service_fn(|_: Delivery| std::future::ready(Answers::Ok(Returned::default())));
    let mut service = Metrics::new(quick, Some(Arc::clone(&metrics)));
    let calls = 1_000;
    for offset in 0..calls {
        service.call(delivery(offset)).await.unwrap();
    }
    assert_eq!(metrics.calls.snapshot().count(), calls);
}

#[tokio::test]
async fn every_failure_is_counted_by_its_kind() {
    let metrics = Arc::new(RouteMetrics::default());
    let failing = service_fn(|delivery: Delivery| async move {
        match delivery.position().offset {
            0 => Err(HandlerError::transient("busy").kind("busy")),
            1 => Err(HandlerError::put_back()),
            2 => Ok(Returned::default()),
            _ => {
                let settlement = Settlement::DeadLetter {
                    kind: "empty".into(),
                    reason: "nothing in it".into(),
                };
                Ok(Returned {
                    settlement,
                    ..Returned::default()
                })
            }
        }
    });
    let service = Metrics::new(failing, Some(Arc::clone(&metrics)));
    for offset in 0..5 {
        let _ = service.clone().oneshot(delivery(offset)).await;
    }
    let failures = metrics.failures.snapshot();
    assert_eq!(failures, [("busy".into(), 1), ("empty".into(), 2)]);
}

#[tokio::test]
async fn each_answer_of_a_batch_counts() {
    let metrics = Arc::new(RouteMetrics::default());
    let failed = || HandlerError::permanent("no").kind("no");
    let answer = move |()| {
        let results = vec![Ok(Returned::default()), Err(failed()), Err(failed())];
        std::future::ready(Ok::<_, HandlerError>(Answer::each(results)))
    };
    let service = Metrics::new(service_fn(answer), Some(Arc::clone(&metrics)));
    service.oneshot(()).await.unwrap();
    assert_eq!(metrics.failures.snapshot(), [("no".into(), 2)]);
}
