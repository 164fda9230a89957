//! dotmsg itself: on its memory log with the bodies, the handlers and the runtimes of the peer's workloads, and on its
//! directory log.
//!
//! A topic is filled before the region and has one partition, so that a batch is 512 messages. Keys and payloads are
//! slices of shared buffers, as a directory log and a socket give them. A route begins inside the region (its fixed
//! price cancels between the runs with N and 2N messages) and is torn down after it.

mod clocked;
mod counted;
mod directory;
mod traced;

use std::sync::Arc;

use bytes::BytesMut;
use dotmsg::backend::{Backend, PublishOutcome, PublishRecord, Retention, TopicSpec};
use dotmsg::clock::{Clock, SystemClock};
use dotmsg::handler::{
    Annotated, AnnotatedHandler, ByAttribute, Erased, ErrorClasses, Handler, HandlerService,
};
use dotmsg::log::{LogBroker, LogOptions};
use dotmsg::message::{Headers, Message};
use dotmsg::middleware::circuit_breaker::{Breaker, BreakerPolicy};
use dotmsg::router::{
    BreakerSpec, Front, RouteSpec, SharedLimits, StackParts, Topology, full_stack, stack,
};
use dotmsg::runtime::{RouteContext, RouteReport, RouteStats, Shutdown, run};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::latch::Latch;
use super::{Outcome, Workload, timed};

/// The peer's own body: two integers, so that decoding allocates nothing.
const BODY: &[u8] = br#"{"id":1000000,"quantity":37}"#;
/// Distinct keys.
const KEYS: u64 = 100_000;
/// Messages of one call of the publisher, when a topic is filled.
const FILL: u64 = 4_096;

/// Every workload here.
pub(super) fn workloads() -> impl Iterator<Item = Workload> {
    counted::WORKLOADS
        .into_iter()
        .chain(clocked::WORKLOADS)
        .chain(directory::WORKLOADS)
        .chain(traced::WORKLOADS)
}

type AnnotatedOf<T, H> = AnnotatedHandler<<H as Annotated<T>>::Meta>;
type Route = JoinHandle<dotmsg::Result<RouteReport>>;

fn two_threads() -> Result<Runtime, String> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))
}

fn one_thread() -> Result<Runtime, String> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))
}

/// Fills a topic of a memory log, starts a route on it, and measures how it is drained.
fn memory(
    runtime: Runtime,
    messages: u64,
    spec: RouteSpec,
    start: impl FnOnce(RouteContext, StackParts, Arc<Latch>) -> Route,
) -> Result<Outcome, String> {
    memory_with(runtime, messages, &Headers::new(), spec, start)
}

/// The same, of messages with these headers.
fn memory_with(
    runtime: Runtime,
    messages: u64,
    headers: &Headers,
    spec: RouteSpec,
    start: impl FnOnce(RouteContext, StackParts, Arc<Latch>) -> Route,
) -> Result<Outcome, String> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let broker = LogBroker::memory(LogOptions::new(Arc::clone(&clock)));
    let body = |number| (number, BODY.into());
    runtime.block_on(fill_with(&broker, messages, headers, body))?;
    drain(&runtime, &broker, messages, spec, start)
}

/// Runs a route until a filled topic is drained.
fn drain(
    runtime: &Runtime,
    broker: &LogBroker,
    messages: u64,
    spec: RouteSpec,
    start: impl FnOnce(RouteContext, StackParts, Arc<Latch>) -> Route,
) -> Result<Outcome, String> {
    let latch = Arc::new(Latch::new(messages));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (stop, shutdown) = watch::channel(Shutdown::No);
    let (context, parts) = parts(broker, &clock, spec, shutdown);
    let stats = Arc::clone(&context.stats);
    let mut route = None;
    let mut outcome = timed(messages, || {
        runtime.block_on(async {
            route = Some(start(context, parts, Arc::clone(&latch)));
            latch.drained().await;
        });
    });
    stop.send_replace(Shutdown::Drain);
    if let Some(route) = route {
        let ended = runtime.block_on(route);
        ended
            .map_err(|error| format!("the route ended badly: {error}"))?
            .map_err(|error| format!("the route failed: {error}"))?;
    }
    if stats.handled() != messages {
        return Err(format!(
            "{} of {messages} messages are handled",
            stats.handled()
        ));
    }
    let mut figure = |name: &str, value: u64| outcome.figures.insert(name.to_owned(), value as f64);
    figure("most_running", latch.most_running());
    figure("retried", stats.retried());
    Ok(outcome)
}

/// A route of an annotated handler in the router's stack.
fn start<T, H>(handler: H, context: RouteContext, parts: StackParts, latch: Arc<Latch>) -> Route
where
    H: Annotated<T>,
    AnnotatedOf<T, H>: Handler<ByAttribute, Latch>,
{
    let handler = handler.into_handler();
    let call = move |delivery| handler.call(delivery, Arc::clone(&latch));
    let handler = HandlerService::new(call);
    match parts.has_more() {
        true => tokio::spawn(run(context, full_stack(Erased::new(handler), parts))),
        false => tokio::spawn(run(context, stack(handler, parts))),
    }
}

fn parts(
    broker: &LogBroker,
    clock: &Arc<dyn Clock>,
    spec: RouteSpec,
    shutdown: watch::Receiver<Shutdown>,
) -> (RouteContext, StackParts) {
    let topology = Arc::new(Topology::of(&spec, ""));
    let route = Arc::new(spec);
    let stats = Arc::new(RouteStats::default());
    let context = RouteContext {
        route: Arc::clone(&route),
        topology: Arc::clone(&topology),
        backend: Arc::new(broker.clone()),
        auto_create: None,
        instance: None,
        clock: Arc::clone(clock),
        stats: Arc::clone(&stats),
        shutdown,
        seed: 7,
        enlistment: None,
        breaker: None,
        provided: None,
    };
    let front = Front::of(&route, clock);
    let breaker = route.breaker.map(|BreakerSpec { failures, pause }| {
        let policy = BreakerPolicy {
            failures,
            pause,
            puts_back: true,
        };
        Arc::new(Breaker::new(policy, ErrorClasses::default()))
    });
    let parts = StackParts {
        route,
        topology,
        publisher: broker.publisher(),
        clock: Arc::clone(clock),
        classes: ErrorClasses::default(),
        topic_prefix: String::new(),
        jitter_seed: 7,
        enlistment: None,
        breaker,
        limits: SharedLimits::default(),
        front,
        metrics: Arc::clone(stats.metrics()),
        measured: false,
        tracer: None,
    };
    (context, parts)
}

/// Publishes `messages` messages: `content` gives key number and payload of each.
async fn fill(
    broker: &LogBroker,
    messages: u64,
    content: impl FnMut(u64) -> (u64, Vec<u8>),
) -> Result<(), String> {
    fill_with(broker, messages, &Headers::new(), content).await
}

/// The same, each with these headers.
async fn fill_with(
    broker: &LogBroker,
    messages: u64,
    headers: &Headers,
    mut content: impl FnMut(u64) -> (u64, Vec<u8>),
) -> Result<(), String> {
    let topic = TopicSpec {
        name: "orders".into(),
        partitions: 1,
        retention: Retention::AsBackend,
    };
    let created = broker.admin().create_topic(topic).await;
    created.map_err(|error| format!("no topic: {error}"))?;
    let publisher = broker.publisher();
    for first in (0..messages).step_by(FILL as usize) {
        let numbers = first..messages.min(first + FILL);
        for outcome in publisher
            .publish(records(numbers, headers, &mut content))
            .await
        {
            if !matches!(outcome, PublishOutcome::Ok(_)) {
                return Err(format!("the topic is not filled: {outcome:?}"));
            }
        }
    }
    Ok(())
}

/// Records whose keys and payloads share one buffer.
fn records(
    numbers: std::ops::Range<u64>,
    headers: &Headers,
    mut content: impl FnMut(u64) -> (u64, Vec<u8>),
) -> Vec<PublishRecord> {
    let topic: Arc<str> = "orders".into();
    let mut buffer = BytesMut::new();
    let mut slice = |bytes: &[u8]| {
        buffer.extend_from_slice(bytes);
        bytes.len()
    };
    let lengths: Vec<(usize, usize)> = numbers
        .map(|number| {
            let (key, payload) = content(number);
            (slice(key_of(key).as_bytes()), slice(&payload))
        })
        .collect();
    let mut buffer = buffer.freeze();
    lengths
        .into_iter()
        .map(|(key, payload)| PublishRecord {
            topic: Arc::clone(&topic),
            partition: None,
            message: Message {
                key: Some(buffer.split_to(key)),
                payload: Some(buffer.split_to(payload)),
                headers: headers.clone(),
                ..Message::default()
            },
        })
        .collect()
}

/// Twelve bytes whatever the number: the price of a message must not depend on its place.
fn key_of(number: u64) -> String {
    format!("key-{:08}", number % KEYS)
}
