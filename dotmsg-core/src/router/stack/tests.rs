//! Tests of the composed stack: the ladder from the first failure to the dead letter.

mod duplicates;

use std::sync::Mutex;
use std::time::Duration;

use tower::{ServiceExt, service_fn};

use super::*;
use crate::clock::Timestamp;
use crate::delivery::{Lineage, Role, Stream, control};
use crate::error::ErrorKind;
use crate::handler::Outgoing;
use crate::message::Message;
use crate::middleware::testing::{
    Script, ScriptedPublisher, UnreadyOnce, clock, delivery, delivery_of, handled, transient,
};
use crate::middleware::{Away, Ended};

const DEAD: Outcome = Outcome::Settled(Ended::DeadLettered);

fn route() -> RouteSpec {
    let mut route = RouteSpec::new("bill", "orders", "billing");
    route.retry.tiers = [5, 60, 300].map(Duration::from_secs).to_vec();
    route.retry.in_place.attempts = 1;
    route
}

fn parts(route: RouteSpec, publisher: &Arc<ScriptedPublisher>) -> StackParts {
    StackParts {
        topology: Arc::new(Topology::of(&route, "")),
        route: Arc::new(route),
        publisher: Arc::clone(publisher) as _,
        clock: clock(),
        classes: ErrorClasses::default(),
        topic_prefix: String::new(),
        jitter_seed: 1,
        enlistment: None,
        breaker: None,
        limits: SharedLimits::default(),
        front: Front::default(),
        metrics: Arc::default(),
        measured: false,
        tracer: None,
    }
}

async fn run<F>(
    route: RouteSpec,
    publisher: &Arc<ScriptedPublisher>,
    delivery: Delivery,
    handler: impl Fn(Delivery) -> F + Clone + Send + 'static,
) -> Outcome
where
    F: Future<Output = Result<Returned, HandlerError>> + Send + 'static,
{
    let service = stack(service_fn(handler), parts(route, publisher));
    service.oneshot(delivery).await.unwrap()
}

/// The record of the last call, read back from where it was published.
fn read_back(publisher: &ScriptedPublisher, topology: &Topology) -> Delivery {
    let record = publisher.calls().pop().unwrap().remove(0);
    let delay = topology.tier_delay(&record.topic).expect("a retry topic");
    let stream = Stream::new(record.topic, 3, 9, Role::Tier { delay });
    Delivery::new(Arc::new(stream), 1000, Timestamp(77_000), record.message)
}

#[tokio::test(start_paused = true)]
async fn the_ladder_ends_in_the_dead_letter_and_attempts_count_over_all_of_it() {
    let mut route = route();
    route.retry.in_place.attempts = 2;
    let topology = Topology::of(&route, "");
    let publisher = ScriptedPublisher::new([]);
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&attempts);
    let handler = move |delivery: Delivery| {
        noted.lock().unwrap().push(delivery.attempt());
        async { Err(transient("down")) }
    };
    let mut delivery = delivery(41);
    for seconds in [5, 60, 300] {
        let outcome = run(route.clone(), &publisher, delivery, handler.clone()).await;
        let Outcome::Away(Away { delay, .. }) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(delay, Duration::from_secs(seconds));
        delivery = read_back(&publisher, &topology);
        assert_eq!(delivery.origin().to_string(), "orders/3/41");
    }
    assert_eq!(run(route, &publisher, delivery, handler).await, DEAD);
    assert_eq!(*attempts.lock().unwrap(), (1..=8).collect::<Vec<_>>());
    let letter = publisher.calls().pop().unwrap().remove(0);
    assert_eq!(
        (&*letter.topic, letter.partition),
        ("orders.billing.dlq", Some(3))
    );
    let lineage = Lineage::read(&letter.message.headers).unwrap();
    assert_eq!((lineage.attempts, lineage.offset), (8, 41));
    let mut producers = letter.message.headers.clone();
    producers.remove_where(crate::delivery::is_control_header);
    assert!(
        producers.is_empty(),
        "no header is left over: {producers:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_tier_publish_of_unknown_outcome_is_repeated() {
    let publisher = ScriptedPublisher::new([Script::Unknown, Script::Unknown]);
    let outcome = run(route(), &publisher, delivery(1), |_| async {
        Err(transient("down"))
    })
    .await;
    let Outcome::Away(away) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(away.offset, 1002, "the one that was confirmed");
}

#[tokio::test(start_paused = true)]
async fn panic_and_timeout_go_to_a_tier_and_the_future_is_dropped() {
    let publisher = ScriptedPublisher::new([]);
    let outcome = run(route(), &publisher, delivery(1), |_| async {
        tokio::task::yield_now().await;
        panic!("boom")
    })
    .await;
    assert!(matches!(outcome, Outcome::Away(_)));

    let mut limited = route();
    limited.timeout = Some(Duration::from_secs(1));
    let held = Arc::new(());
    let inside = Arc::clone(&held);
    let outcome = run(limited, &publisher, delivery(1), move |_| {
        let inside = Arc::clone(&inside);
        async move {
            std::future::pending::<()>().await;
            drop(inside);
            Ok(Returned::default())
        }
    })
    .await;
    assert!(matches!(outcome, Outcome::Away(_)));
    assert_eq!(Arc::strong_count(&held), 1, "nothing is held any more");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_readiness_is_a_failed_call_and_repeated_like_one() {
    for (attempts, want) in [(2, handled()), (1, DEAD)] {
        let publisher = ScriptedPublisher::new([]);
        let mut route = route();
        route.retry.tiers.clear();
        route.retry.in_place.attempts = attempts;
        let service = stack(UnreadyOnce::default(), parts(route, &publisher));
        assert_eq!(service.oneshot(delivery(1)).await, Ok(want));
        for call in publisher.calls() {
            let lineage = Lineage::read(&call[0].message.headers).unwrap();
            assert_eq!(lineage.attempts, 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_goes_straight_to_the_dead_letter() {
    let publisher = ScriptedPublisher::new([]);
    let outcome = run(route(), &publisher, delivery(1), |_| async {
        Err(HandlerError::permanent("NA").kind("no_air_time"))
    })
    .await;
    assert_eq!(outcome, DEAD);
    let calls = publisher.calls();
    assert_eq!(calls.len(), 1);
    let headers = &calls[0][0].message.headers;
    assert_eq!(headers.get_str(control::FAILURE_KIND), Some("no_air_time"));
    assert_eq!(headers.get_str(control::ATTEMPT), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limits_the_handler_is_not_called() {
    let publisher = ScriptedPublisher::new([Script::Failed(ErrorKind::TooLarge)]);
    let mut small = route();
    small.limits.max_payload_bytes = 3;
    let message = Message::new("1234").with_key("k");
    let outcome = run(small, &publisher, delivery_of(message), |_| async {
        panic!("not called")
    })
    .await;
    assert_eq!(outcome, DEAD);
    let letter = publisher.calls().pop().unwrap().remove(0).message;
    assert_eq!(
        letter.headers.get_str(control::FAILURE_KIND),
        Some("too_large")
    );
    assert_eq!(letter.headers.get_str(control::ATTEMPT), Some("0"));
    assert_eq!(letter.headers.get_str(control::BY_REFERENCE), Some("true"));
    assert_eq!((letter.payload, letter.key), (None, Some("k".into())));
}

#[tokio::test(start_paused = true)]
async fn returned_messages_are_confirmed_before_the_end() {
    let returns = |_| async { Ok(vec![Outgoing::new("miles", "1")].into()) };
    let publisher = ScriptedPublisher::new([Script::Unknown]);
    let outcome = run(route(), &publisher, delivery(41), returns).await;
    assert_eq!(outcome, handled());
    let ids: Vec<_> = publisher
        .calls()
        .iter()
        .map(|call| call[0].message.id().cloned())
        .collect();
    let id = Some("orders/3/41:bill:0".into());
    assert_eq!(ids, [id.clone(), id]);

    // What cannot be published makes the message wait.
    let publisher = ScriptedPublisher::new(vec![Script::Unknown; 7]);
    let outcome = run(route(), &publisher, delivery(41), returns).await;
    assert!(matches!(outcome, Outcome::Away(_)), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn partition_order_retries_in_place_only() {
    let publisher = ScriptedPublisher::new([]);
    let mut ordered = route();
    ordered.ordering = Ordering::Partition;
    let outcome = run(ordered, &publisher, delivery(1), |_| async {
        Err(transient("down"))
    })
    .await;
    assert_eq!(outcome, DEAD);
}

#[tokio::test(start_paused = true)]
async fn a_clone_is_a_stack_of_its_own_and_the_layers_add_little_to_the_future() {
    let publisher = ScriptedPublisher::new([]);
    let handler = service_fn(|_: Delivery| async { Ok(Returned::default()) });
    let mut first = stack(handler, parts(route(), &publisher));
    let counted = Arc::strong_count(&publisher);
    let second = first.clone();
    assert!(
        Arc::strong_count(&publisher) > counted,
        "it holds parts of its own"
    );
    assert_eq!(second.oneshot(delivery(1)).await, Ok(handled()));
    // One such future lies in every slot; what failures need is boxed so that it stays this small.
    let call = first.call(delivery(2));
    assert!(size_of_val(&call) <= 640, "{} bytes", size_of_val(&call));
    assert_eq!(call.await, Ok(handled()));
}

/// A route `bill` with the limit `database`, of one call at a time, and a service of another route with the same limit.
fn limited(
    publisher: &Arc<ScriptedPublisher>,
    mut route: RouteSpec,
) -> (
    StackParts,
    impl Service<Delivery, Response = Outcome, Error = Infallible>,
) {
    let mut limit = crate::router::LimitSpec::new("database");
    limit.concurrency = Some(1);
    route.shared_limits = vec!["database".into()];
    let mut parts = parts(route, publisher);
    parts.limits = SharedLimits::new(&[limit]);
    let handler = service_fn(|_: Delivery| async { Ok(Returned::default()) });
    let other = full_stack(Erased::new(handler), parts.clone());
    (parts, other)
}

fn is_ready<S: Service<Delivery>>(service: &mut S) -> bool {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    service.poll_ready(&mut cx).is_ready()
}

#[tokio::test(start_paused = true)]
async fn while_a_failure_is_dealt_with_nothing_shared_is_held() {
    let mut small = route();
    small.limits.max_payload_bytes = 3;
    // One that is refused without a call, and one that fails.
    for (route, attempts) in [(small, 1), (route(), 1), (route(), 2)] {
        let publisher = ScriptedPublisher::new([]);
        let mut route = route;
        route.retry.in_place.attempts = attempts;
        let (parts, mut other) = limited(&publisher, route);
        let failing = service_fn(|_: Delivery| async { Err(transient("down")) });
        let mut service = full_stack(Erased::new(failing), parts);
        assert!(is_ready(&mut service) && !is_ready(&mut other));
        let message = Message::new("1234").with_key("k");
        let mut call = Box::pin(service.call(delivery_of(message)));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(
            call.as_mut().poll(&mut cx).is_pending(),
            "it publishes or pauses"
        );
        assert!(is_ready(&mut other));
        drop(other);
        assert!(!matches!(call.await.unwrap(), Outcome::Interrupted));
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_to_be_ready_takes_nothing_with_it() {
    let publisher = ScriptedPublisher::new([]);
    let (parts, mut other) = limited(&publisher, route());
    let mut service = full_stack(Erased::new(UnreadyOnce::default()), parts);
    assert!(is_ready(&mut service) && !is_ready(&mut other));
    let outcome = service.call(delivery(1)).await.unwrap();
    assert!(matches!(outcome, Outcome::Away(_)), "{outcome:?}");
    assert!(is_ready(&mut other));
}

#[tokio::test(start_paused = true)]
async fn the_call_that_is_traced_is_made_with_the_permit_that_there_was() {
    let _seen = crate::seen::Seen::new();
    assert!(tracing::enabled!(tracing::Level::DEBUG));
    let publisher = ScriptedPublisher::new([]);
    let (parts, other) = limited(&publisher, route());
    let handler = service_fn(|_: Delivery| async { Ok(Returned::default()) });
    let service = full_stack(Erased::new(handler), parts);
    assert_eq!(service.oneshot(delivery(1)).await, Ok(handled()));
    assert_eq!(other.oneshot(delivery(2)).await, Ok(handled()));
}

#[tokio::test(start_paused = true)]
async fn first_calls_are_sampled_and_count_for_all_and_repeats_are_measured_one_by_one() {
    let measured = |attempts| {
        let mut route = route();
        route.retry.in_place.attempts = attempts;
        let mut parts = parts(route, &ScriptedPublisher::new([]));
        parts.measured = true;
        (Arc::clone(&parts.metrics), parts)
    };
    let (metrics, of_first) = measured(1);
    let quick = |_: Delivery| async { Ok(Returned::default()) };
    let mut service = stack(service_fn(quick), of_first);
    let calls = 16_000_u64;
    for offset in 0..calls {
        service.call(delivery(offset)).await.unwrap();
    }
    let count = metrics.calls.snapshot().count();
    assert!(count.abs_diff(calls) <= calls / 50, "{count} of {calls}");

    let (metrics, of_repeats) = measured(4);
    let fails = |_: Delivery| async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        Err(transient("down").kind("down"))
    };
    let mut service = stack(service_fn(fails), of_repeats);
    service.call(delivery(1)).await.unwrap();
    assert_eq!(
        metrics.calls.snapshot().count(),
        4,
        "the first and three repeats"
    );
    assert_eq!(metrics.failures.snapshot(), [("down".into(), 4)]);
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_is_cloned_again_and_again_measures_as_many_calls() {
    let mut parts = parts(route(), &ScriptedPublisher::new([]));
    parts.measured = true;
    let metrics = Arc::clone(&parts.metrics);
    let quick = |_: Delivery| async { Ok(Returned::default()) };
    let mut service = stack(service_fn(quick), parts);
    let calls = 16_000_u64;
    for offset in 0..calls {
        service.call(delivery(offset)).await.unwrap();
        if offset % 5 == 0 {
            service = service.clone();
        }
    }
    let count = metrics.calls.snapshot().count();
    assert!(count.abs_diff(calls) <= calls / 50, "{count} of {calls}");
}
