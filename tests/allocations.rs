//! Extraction, call and settlement of a handler allocate nothing: with the attribute, without it, and as a method. Nor do the layers
//! around it, with duplicates known and messages shed, nor shared limits that have room.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use dotmsg::backend::Backend;
use dotmsg::clock::{Clock, SystemClock, Timestamp};
use dotmsg::delivery::{Position, Role, Stream};
use dotmsg::handler::{
    Annotated, Answer, Attempt, Handler, HandlerMeta, HandlerResult, Handlers, Json, Key,
    MessageId, Needs, Origin, OwnedPosition, Routes, State,
};
use dotmsg::log::{LogBroker, LogOptions};
use dotmsg::message::Headers;
use dotmsg::middleware::{Ended, Outcome};
use dotmsg::router::{DedupSpec, Front, RouteSpec, ShedSpec, StackParts, Topology, full_stack};
use dotmsg::{Delivery, HandlerError, Message};
use tower::{Service as _, service_fn};

#[derive(Clone, Copy, serde::Deserialize)]
struct Numbers {
    id: u64,
    quantity: u32,
}

#[derive(serde::Deserialize)]
struct Borrowed<'d> {
    account: &'d str,
}

type Parts = (Attempt, Timestamp, Origin, OwnedPosition);

async fn bytes(payload: Bytes) {
    assert!(!payload.is_empty());
}

async fn json(State(limit): State<Arc<u64>>, Json(numbers): Json<Numbers>) {
    assert!(numbers.id < *limit && numbers.quantity > 0);
}

#[allow(clippy::too_many_arguments)]
async fn parts(
    attempt: Attempt,
    timestamp: Timestamp,
    origin: Origin,
    position: OwnedPosition,
    _: MessageId,
    _: Headers,
    Key(_): Key<Option<Bytes>>,
    Key(_): Key<u64>,
) {
    let all: Parts = (attempt, timestamp, origin, position);
    assert_eq!(all.2.0, all.3);
}

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn borrowed(
    key: Key<&str>,
    position: Position<'_>,
    headers: &Headers,
    Json(payload): Json<Borrowed<'_>>,
) {
    assert_eq!(key.0, "7");
    assert!(headers.len() == 1 && position.offset == 9);
    assert_eq!(payload.account, "a");
}

#[derive(Debug, dotmsg::Classify)]
#[classify(permanent)]
struct Failure;

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it failed")
    }
}

impl std::error::Error for Failure {}

#[dotmsg::handler(topic = "orders", group = "classified")]
async fn classified(payload: &[u8]) -> Result<(), Failure> {
    match payload {
        [] => Err(Failure),
        _ => Ok(()),
    }
}

#[derive(dotmsg::FromPayload)]
#[payload(field = "type")]
enum Event<'d> {
    Opened(Json<Borrowed<'d>>),
}

#[dotmsg::handler(topic = "orders", group = "events")]
async fn event(event: Event<'_>) {
    let Event::Opened(Json(opened)) = event;
    assert_eq!(opened.account, "a");
}

fn ready(future: impl Future<Output = HandlerResult>) {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => assert!(result.is_ok()),
        Poll::Pending => panic!("the handler is pending"),
    }
}

struct Service {
    limit: u64,
}

#[dotmsg::handlers]
impl Service {
    #[handler(topic = "orders", group = "billing")]
    async fn method(&self, key: Key<&str>, Json(numbers): Json<Numbers>) {
        assert!(key.0 == "7" && numbers.id < self.limit);
    }
}

/// Measures each handler that is added.
struct Measured(&'static str);

impl<S: Default> Routes<S> for Measured {
    fn add<F, Fut>(self, _: HandlerMeta, _: Needs, call: F) -> Self
    where
        F: Fn(Delivery, Arc<S>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        calls_allocate_nothing(call, S::default(), self.0);
        self
    }

    fn add_batch<F, Fut>(self, _: HandlerMeta, _: Needs, _: F) -> Self
    where
        F: Fn(Vec<Delivery>, Arc<S>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Answer, HandlerError>> + Send + 'static,
    {
        unreachable!("a batch is made of memory")
    }
}

fn allocates_nothing<T, S>(handler: impl Handler<T, S>, state: S, payload: &'static str) {
    calls_allocate_nothing(
        |delivery, state| handler.call(delivery, state),
        state,
        payload,
    );
}

fn calls_allocate_nothing<S, Fut>(
    call: impl Fn(Delivery, Arc<S>) -> Fut,
    state: S,
    payload: &'static str,
) where
    Fut: Future<Output = HandlerResult>,
{
    let stream = Arc::new(Stream::new("orders".into(), 0, 1, Role::Source));
    let message = Message::new(payload).with_key("7").with_id("42");
    let delivery = Delivery::new(stream, 9, Timestamp(0), message);
    let state = Arc::new(state);
    let counted = allocation_counter::measure(|| {
        for _ in 0..10 {
            ready(call(delivery.clone(), Arc::clone(&state)));
        }
    });
    assert_eq!(counted.count_total, 0, "{payload}");
}

#[test]
fn handlers_allocate_nothing() {
    let numbers = r#"{"id":1000000,"quantity":37}"#;
    allocates_nothing(bytes, (), "x");
    allocates_nothing(json, Arc::new(2_000_000), numbers);
    allocates_nothing(parts, (), "x");
    allocates_nothing(classified.into_handler(), (), "x");
    allocates_nothing(
        event.into_handler(),
        (),
        r#"{"type":"Opened","account":"a"}"#,
    );
    allocates_nothing(borrowed.into_handler(), (), r#"{"account":"a"}"#);
    let service = Arc::new(Service { limit: 2_000_000 });
    let Measured(_) = Handlers::<()>::add_to(service, Measured(numbers));
}

struct Echo;

impl tower_service::Service<u64> for Echo {
    type Response = u64;
    type Error = Infallible;
    type Future = std::future::Ready<Result<u64, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, number: u64) -> Self::Future {
        std::future::ready(Ok(number))
    }
}

#[test]
fn limits_with_room_allocate_nothing() {
    use tower_layer::Layer as _;
    use tower_service::Service as _;

    use dotmsg::middleware::concurrency_limit::ConcurrencyLimitLayer;
    use dotmsg::middleware::rate_limit::{Rate, RateLimitLayer};
    let rate = RateLimitLayer::new(Rate::new(1_000, std::time::Duration::from_secs(1)));
    let service = ConcurrencyLimitLayer::new(2).layer(Echo);
    let mut service = rate.layer(service);
    let mut cx = Context::from_waker(Waker::noop());
    let counted = allocation_counter::measure(|| {
        for number in 0..100 {
            assert!(service.poll_ready(&mut cx).is_ready());
            let mut call = pin!(service.call(number));
            assert_eq!(call.as_mut().poll(&mut cx), Poll::Ready(Ok(number)));
        }
    });
    assert_eq!(counted.count_total, 0);
}

/// Counts outcomes of deliveries with ids that this makes of their numbers.
fn through_the_layers(id: impl Fn(u64) -> Option<String>) -> [u64; 3] {
    let mut route = RouteSpec::new("bill", "orders", "billing");
    route.dedup = Some(DedupSpec {
        max_ids: 1_000,
        ..DedupSpec::default()
    });
    route.shed = ShedSpec {
        keep_ppm: 900_000,
        older_than: Some(std::time::Duration::from_secs(3600)),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let parts = StackParts {
        topology: Arc::new(Topology::of(&route, "")),
        publisher: LogBroker::memory(LogOptions::default()).publisher(),
        front: Front::of(&route, &clock),
        metrics: Arc::default(),
        measured: false,
        route: Arc::new(route),
        clock,
        classes: dotmsg::handler::ErrorClasses::default(),
        topic_prefix: String::new(),
        jitter_seed: 1,
        enlistment: None,
        breaker: None,
        limits: dotmsg::router::SharedLimits::default(),
        tracer: None,
    };
    let handler = service_fn(|_: Delivery| async { Ok(dotmsg::handler::Returned::default()) });
    let mut service = full_stack(dotmsg::handler::Erased::new(handler), parts);
    let stream = Arc::new(Stream::new("orders".into(), 0, 1, Role::Source));
    let now = SystemClock.now();
    let deliveries: Vec<Delivery> = (0..10_000)
        .map(|number| {
            let message = Message::new("x").with_timestamp(now);
            let message = match id(number) {
                Some(id) => message.with_id(id),
                None => message,
            };
            Delivery::new(Arc::clone(&stream), number, now, message)
        })
        .collect();
    let mut ended = [0; 3];
    let mut run = |deliveries: &[Delivery]| {
        let mut cx = Context::from_waker(Waker::noop());
        for delivery in deliveries {
            assert!(service.poll_ready(&mut cx).is_ready());
            let call = pin!(service.call(delivery.clone()));
            let Poll::Ready(Ok(Outcome::Settled(end))) = call.poll(&mut cx) else {
                panic!("it is not settled at once");
            };
            match end {
                Ended::Handled => ended[0] += 1,
                Ended::Duplicate => ended[1] += 1,
                Ended::Shed => ended[2] += 1,
                other => panic!("{other:?}"),
            }
        }
    };
    let (first, rest) = deliveries.split_at(5_000);
    run(first);
    let counted = allocation_counter::measure(|| run(rest));
    assert_eq!(counted.count_total, 0, "{:?}", id(0));
    ended
}

#[test]
fn layers_allocate_nothing_once_they_remember_as_much_as_they_may() {
    // Every tenth one comes again.
    let number = |number: u64| number - u64::from(number % 10 == 9);
    let short = through_the_layers(|n| Some(format!("order-{}", number(n))));
    let uuid = through_the_layers(|n| Some(format!("{:036}", number(n))));
    let long = through_the_layers(|n| Some(format!("{:0100}", number(n))));
    for [handled, duplicates, shed] in [short, uuid, long] {
        assert!((7_900..8_300).contains(&handled), "{handled}");
        assert!((800..1_000).contains(&duplicates), "{duplicates}");
        assert!((800..1_200).contains(&shed), "{shed}");
    }
    let [handled, duplicates, shed] = through_the_layers(|_| None);
    assert_eq!((handled + shed, duplicates), (10_000, 0));
}
