//! Tests of in-place retry.

use std::sync::Mutex;

use tokio::time::Instant;
use tower::{ServiceExt, service_fn};

use super::*;
use crate::delivery::Settlement;
use crate::handler::{ErrorClass, HandlerError};
use crate::middleware::testing::{clock, delivery, handled, transient};

fn parts(attempts: u32) -> RetryParts {
    RetryParts {
        policy: RepeatPolicy {
            attempts,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_millis(150),
        },
        classes: ErrorClasses::default(),
        clock: clock(),
        jitter_seed: 7,
    }
}

/// Answers `results` in turn; notes the attempt and the time of each call.
struct Calls {
    results: Vec<Result<Settlement, HandlerError>>,
    seen: Vec<(u32, Instant)>,
}

async fn run(
    parts: RetryParts,
    results: Vec<Result<Settlement, HandlerError>>,
) -> (Result<Outcome, Failed>, Vec<(u32, Instant)>) {
    let calls = Arc::new(Mutex::new(Calls {
        results,
        seen: Vec::new(),
    }));
    let noted = Arc::clone(&calls);
    let inner = service_fn(move |delivery: Delivery| {
        let noted = Arc::clone(&noted);
        async move {
            tokio::task::yield_now().await;
            let mut calls = noted.lock().unwrap();
            calls.seen.push((delivery.attempt(), Instant::now()));
            calls.results.remove(0)
        }
    });
    let result = RetryInPlace::new(inner, parts).oneshot(delivery(3)).await;
    let seen = calls.lock().unwrap().seen.clone();
    (result, seen)
}

#[tokio::test(start_paused = true)]
async fn attempts_count_up_and_pauses_double_to_their_cap() {
    let retry = Ok(Settlement::Retry { reason: "r".into() });
    let results = vec![
        Err(transient("a")),
        retry,
        Err(transient("c")),
        Ok(Settlement::Ack),
    ];
    let (result, seen) = run(parts(4), results).await;
    assert_eq!(result.unwrap(), handled());
    let attempts: Vec<_> = seen.iter().map(|call| call.0).collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
    for (pair, step) in seen.windows(2).zip([100, 150, 150]) {
        let pause = pair[1].1 - pair[0].1;
        // tokio's timer rounds up to a millisecond.
        let step = Duration::from_millis(step);
        assert!(
            step / 2 <= pause && pause <= step + Duration::from_millis(1),
            "{pause:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_failure_leaves_with_the_count_and_the_time_of_the_first() {
    let begin = parts(2).clock.now();
    let results = vec![Err(transient("a")), Err(transient("b"))];
    let (result, _) = run(parts(2), results).await;
    let failed = result.unwrap_err();
    assert_eq!((failed.attempts, failed.error.to_string()), (2, "b".into()));
    assert_eq!(failed.first_failure, Some(begin));
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_is_not_repeated() {
    let permanent = || HandlerError::permanent("no").kind("k");
    let (result, seen) = run(parts(3), vec![Err(permanent())]).await;
    assert_eq!((seen.len(), result.unwrap_err().attempts), (1, 1));
    let (result, _) = run(parts(1), vec![Err(permanent())]).await;
    assert_eq!(result.unwrap_err().error.kind_name(), "k");
}

#[tokio::test(start_paused = true)]
async fn a_class_by_type_decides_even_for_a_single_call() {
    for attempts in [1, 3] {
        let mut parts = parts(attempts);
        parts
            .classes
            .add::<std::num::ParseIntError>(ErrorClass::Permanent);
        let error = HandlerError::from("x".parse::<u8>().unwrap_err());
        let (result, seen) = run(parts, vec![Err(error)]).await;
        assert_eq!(seen.len(), 1);
        assert!(!result.unwrap_err().error.is_transient());
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_given_up_ends_a_pause_without_another_call() {
    let delivery = delivery(3);
    let stream = Arc::clone(delivery.stream());
    let inner =
        service_fn(|_: Delivery| std::future::ready(Err::<Settlement, _>(transient("down"))));
    let mut service = RetryInPlace::new(inner, parts(3));
    let mut call = Box::pin(service.call(delivery));
    let waker = std::task::Waker::noop();
    let mut cx = Context::from_waker(waker);
    assert!(call.as_mut().poll(&mut cx).is_pending(), "it pauses");
    stream.stop();
    let Poll::Ready(result) = call.as_mut().poll(&mut cx) else {
        panic!("it ends at once")
    };
    assert_eq!(result.unwrap(), Outcome::Interrupted);
}

#[tokio::test(start_paused = true)]
async fn each_repeat_is_a_debug_line_and_the_last_failure_is_none() {
    let seen = crate::seen::Seen::new();
    let results = vec![
        Err(transient("a")),
        Err(transient("b")),
        Err(transient("c")),
    ];
    let (result, _) = run(parts(3), results).await;
    result.unwrap_err();
    let lines = seen.lines();
    let said: Vec<_> = lines
        .iter()
        .map(|line| (line.level, line.field("call"), line.field("error")))
        .collect();
    let debug = tracing::Level::DEBUG;
    assert_eq!(
        said,
        [(debug, Some("1"), Some("a")), (debug, Some("2"), Some("b"))]
    );
    assert!(lines[0].message.contains("called again in place"));
}
