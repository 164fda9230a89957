//! dotmsg on its memory log: the bodies, the handlers and the runtimes of the peer's workloads.
//!
//! The topic is filled before the region and has one partition, so that a batch is 512 messages. Keys and payloads are slices of
//! shared buffers, as a directory log and a socket give them. A route begins inside the region (its fixed price cancels
//! between the runs with N and 2N messages) and is torn down after it.
//!
//! `bare` is the handler without any layer; everything else runs in the stack that the router builds.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use dotmsg::Delivery;
use dotmsg::backend::{Backend, PublishOutcome, PublishRecord, TopicSpec};
use dotmsg::clock::{Clock, SystemClock};
use dotmsg::handler::{
    Annotated, AnnotatedHandler, ByAttribute, ErrorClasses, FromDelivery, Handler, HandlerService,
    Json,
};
use dotmsg::log::{LogBroker, LogOptions};
use dotmsg::message::Message;
use dotmsg::middleware::{Ended, Outcome as Became};
use dotmsg::router::{RouteSpec, StackParts, Topology, stack};
use dotmsg::runtime::{RouteContext, RouteReport, RouteStats, Shutdown, run};
use serde::Deserialize;
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

const fn workload(name: &'static str, run: fn(u64) -> Result<Outcome, String>) -> Workload {
    Workload {
        name,
        messages: 2_000_000,
        warm_up: 50_000,
        run,
    }
}

pub(super) const WORKLOADS: [Workload; 9] = [
    workload("own.bytes_bare", |n| bare(n, 512, take_bytes)),
    workload("own.bytes_bare_batch_1", |n| bare(n, 1, take_bytes)),
    workload("own.bytes", |n| layered(n, 512, 1, take_bytes)),
    workload("own.bytes_batch_1", |n| layered(n, 1, 1, take_bytes)),
    workload("own.json", |n| layered(n, 512, 1, take_json)),
    workload("own.json_batch_1", |n| layered(n, 1, 1, take_json)),
    workload("own.awaits_once", |n| layered(n, 512, 1, take_and_yield)),
    workload("own.json_workers", |n| layered(n, 512, 4, take_json)),
    workload("own.json_workers_batch_1", |n| layered(n, 1, 4, take_json)),
];

#[derive(Debug, Deserialize)]
struct Order {
    id: u64,
    quantity: u32,
}

/// The latch, borrowed from the state as the peer's handlers borrow it.
struct Counted<'d>(&'d Latch);

impl<'d> FromDelivery<'d, Latch> for Counted<'d> {
    type Rejection = Infallible;

    fn from_delivery(_: &'d Delivery, latch: &'d Latch) -> Result<Self, Infallible> {
        Ok(Self(latch))
    }
}

#[dotmsg::handler(topic = "orders", group = "bench", state = Latch)]
async fn take_bytes(Counted(latch): Counted<'_>, frame: &[u8]) {
    black_box(frame[0]);
    latch.arrived();
}

#[dotmsg::handler(topic = "orders", group = "bench", state = Latch)]
async fn take_json(Counted(latch): Counted<'_>, Json(order): Json<Order>) {
    black_box((order.id, order.quantity));
    latch.arrived();
}

#[dotmsg::handler(topic = "orders", group = "bench", state = Latch)]
async fn take_and_yield(Counted(latch): Counted<'_>, frame: &[u8]) {
    black_box(frame[0]);
    tokio::task::yield_now().await;
    latch.arrived();
}

/// What a workload changes of a route's defaults.
fn spec(batch: usize, workers: usize) -> RouteSpec {
    let mut spec = RouteSpec::new("bench", "orders", "bench");
    spec.limits.batch_messages = batch;
    spec.limits.workers = workers;
    // Callgrind is some fifty times slower than the machine: at the default, progress would be committed fifty times as often
    // per message as it is.
    spec.commit_interval = Duration::from_secs(10);
    spec
}

fn bare<T, H>(messages: u64, batch: usize, handler: H) -> Result<Outcome, String>
where
    H: Annotated<T>,
    AnnotatedOf<T, H>: Handler<ByAttribute, Latch>,
{
    let handler = handler.into_handler();
    drain(
        one_thread()?,
        messages,
        spec(batch, 1),
        |context, _, latch| {
            let service = tower::service_fn(move |delivery| {
                let returned = handler.call(delivery, Arc::clone(&latch));
                async move {
                    let settled = returned.await.is_ok();
                    assert!(settled, "the handler fails never");
                    Ok(Became::Settled(Ended::Handled))
                }
            });
            tokio::spawn(run(context, service))
        },
    )
}

fn layered<T, H>(messages: u64, batch: usize, workers: usize, handler: H) -> Result<Outcome, String>
where
    H: Annotated<T>,
    AnnotatedOf<T, H>: Handler<ByAttribute, Latch>,
{
    let handler = handler.into_handler();
    drain(
        one_thread()?,
        messages,
        spec(batch, workers),
        |context, parts, latch| {
            let call = move |delivery| handler.call(delivery, Arc::clone(&latch));
            tokio::spawn(run(context, stack(HandlerService::new(call), parts)))
        },
    )
}

type AnnotatedOf<T, H> = AnnotatedHandler<<H as Annotated<T>>::Meta>;
type Route = JoinHandle<dotmsg::Result<RouteReport>>;

fn one_thread() -> Result<Runtime, String> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))
}

/// Fills a topic, starts a route on it, and measures how it is drained.
fn drain(
    runtime: Runtime,
    messages: u64,
    spec: RouteSpec,
    start: impl FnOnce(RouteContext, StackParts, Arc<Latch>) -> Route,
) -> Result<Outcome, String> {
    let latch = Arc::new(Latch::new(messages));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let broker = LogBroker::memory(LogOptions::new(Arc::clone(&clock)));
    runtime.block_on(fill(&broker, messages))?;
    let (stop, shutdown) = watch::channel(Shutdown::No);
    let (context, parts) = parts(&broker, &clock, spec, shutdown);
    let stats = Arc::clone(&context.stats);
    let mut route = None;
    let outcome = timed(messages, || {
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
            "{} of {messages} messages are settled",
            stats.handled()
        ));
    }
    Ok(outcome)
}

fn parts(
    broker: &LogBroker,
    clock: &Arc<dyn Clock>,
    spec: RouteSpec,
    shutdown: watch::Receiver<Shutdown>,
) -> (RouteContext, StackParts) {
    let topology = Arc::new(Topology::of(&spec, ""));
    let route = Arc::new(spec);
    let context = RouteContext {
        route: Arc::clone(&route),
        topology: Arc::clone(&topology),
        backend: Arc::new(broker.clone()),
        auto_create: None,
        clock: Arc::clone(clock),
        stats: Arc::new(RouteStats::default()),
        shutdown,
        seed: 7,
    };
    let parts = StackParts {
        route,
        topology,
        publisher: broker.publisher(),
        clock: Arc::clone(clock),
        classes: ErrorClasses::default(),
        topic_prefix: String::new(),
        jitter_seed: 7,
    };
    (context, parts)
}

async fn fill(broker: &LogBroker, messages: u64) -> Result<(), String> {
    let topic = TopicSpec {
        name: "orders".into(),
        partitions: 1,
        retention: None,
    };
    let created = broker.admin().create_topic(topic).await;
    created.map_err(|error| format!("no topic: {error}"))?;
    let publisher = broker.publisher();
    for first in (0..messages).step_by(FILL as usize) {
        let numbers = first..messages.min(first + FILL);
        for outcome in publisher.publish(records(numbers)).await {
            if !matches!(outcome, PublishOutcome::Ok(_)) {
                return Err(format!("the topic is not filled: {outcome:?}"));
            }
        }
    }
    Ok(())
}

/// Records whose keys and payloads share one buffer.
fn records(numbers: std::ops::Range<u64>) -> Vec<PublishRecord> {
    let topic: Arc<str> = "orders".into();
    let mut buffer = BytesMut::new();
    let mut slice = |bytes: &[u8]| {
        buffer.extend_from_slice(bytes);
        bytes.len()
    };
    // Twelve bytes whatever the number: the price of a message must not depend on its place.
    let lengths: Vec<(usize, usize)> = numbers
        .map(|number| {
            (
                slice(format!("key-{:08}", number % KEYS).as_bytes()),
                slice(BODY),
            )
        })
        .collect();
    let mut buffer = buffer.freeze();
    lengths
        .into_iter()
        .map(|(key, body)| PublishRecord {
            topic: Arc::clone(&topic),
            partition: None,
            message: Message {
                key: Some(buffer.split_to(key)),
                payload: Some(buffer.split_to(body)),
                ..Message::default()
            },
        })
        .collect()
}
