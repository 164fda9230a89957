//! What a message costs: counted, on one thread. `bare` is the handler without any layer; everything else runs in the
//! stack that the router builds.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use dotmsg::Delivery;
use dotmsg::handler::{Annotated, ByAttribute, FromDelivery, Handler, Json};
use dotmsg::middleware::{Ended, Outcome as Became};
use dotmsg::router::{DedupSpec, RouteSpec};
use dotmsg::runtime::run;
use serde::Deserialize;

use super::{AnnotatedOf, Latch, Outcome, Workload, memory, one_thread, start};

pub(super) const fn workload(
    name: &'static str,
    run: fn(u64) -> Result<Outcome, String>,
) -> Workload {
    Workload {
        name,
        messages: 2_000_000,
        warm_up: 50_000,
        run,
    }
}

pub(super) const WORKLOADS: [Workload; 13] = [
    workload("own.bytes_bare", |n| bare(n, 512, take_bytes)),
    workload("own.bytes_bare_batch_1", |n| bare(n, 1, take_bytes)),
    workload("own.bytes", |n| layered(n, spec(512, 1), take_bytes)),
    workload("own.bytes_measured", |n| {
        measured(n, spec(512, 1), take_bytes)
    }),
    workload("own.awaits_once_measured", |n| {
        measured(n, wide(), take_and_yield)
    }),
    workload("own.bytes_full", |n| measured(n, full(), take_bytes)),
    workload("own.bytes_batch_1", |n| layered(n, spec(1, 1), take_bytes)),
    workload("own.json", |n| layered(n, spec(512, 1), take_json)),
    workload("own.json_batch_1", |n| layered(n, spec(1, 1), take_json)),
    workload("own.awaits_once", |n| layered(n, wide(), take_and_yield)),
    workload("own.awaits_once_default", |n| {
        layered(n, spec(512, 1), take_and_yield)
    }),
    workload("own.json_workers", |n| layered(n, spec(512, 4), take_json)),
    workload("own.json_workers_batch_1", |n| {
        layered(n, spec(1, 4), take_json)
    }),
];

#[derive(Debug, Deserialize)]
struct Order {
    id: u64,
    quantity: u32,
}

/// The latch, borrowed from the state as the peer's handlers borrow it.
pub(super) struct Counted<'d>(pub(super) &'d Latch);

impl<'d> FromDelivery<'d, Latch> for Counted<'d> {
    type Rejection = Infallible;

    fn from_delivery(_: &'d Delivery, latch: &'d Latch) -> Result<Self, Infallible> {
        Ok(Self(latch))
    }
}

#[dotmsg::handler(topic = "orders", group = "bench", state = Latch)]
pub(super) async fn take_bytes(Counted(latch): Counted<'_>, frame: &[u8]) {
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
pub(super) fn spec(batch: usize, workers: usize) -> RouteSpec {
    let mut spec = RouteSpec::new("bench", "orders", "bench");
    spec.limits.batch_messages = batch;
    spec.limits.workers = workers;
    // Callgrind is some fifty times slower than the machine: at the default, progress would be committed fifty times as
    // often per message as it is.
    spec.commit_interval = Duration::from_secs(10);
    spec
}

/// With layers that most routes do without: a time limit, duplicates known.
fn full() -> RouteSpec {
    let mut spec = spec(512, 1);
    spec.timeout = Some(Duration::from_secs(30));
    spec.dedup = Some(DedupSpec::default());
    spec
}

/// Concurrency above the batch: else half of the messages wait for a permit, which is another path.
fn wide() -> RouteSpec {
    let mut spec = spec(512, 1);
    spec.limits.concurrency = 1_024;
    spec
}

fn bare<T, H>(messages: u64, batch: usize, handler: H) -> Result<Outcome, String>
where
    H: Annotated<T>,
    AnnotatedOf<T, H>: Handler<ByAttribute, Latch>,
{
    let handler = handler.into_handler();
    memory(
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

fn layered<T, H>(messages: u64, spec: RouteSpec, handler: H) -> Result<Outcome, String>
where
    H: Annotated<T>,
    AnnotatedOf<T, H>: Handler<ByAttribute, Latch>,
{
    memory(one_thread()?, messages, spec, |context, parts, latch| {
        start(handler, context, parts, latch)
    })
}

/// With each call measured, as where somebody exports metrics.
fn measured<T, H>(messages: u64, spec: RouteSpec, handler: H) -> Result<Outcome, String>
where
    H: Annotated<T>,
    AnnotatedOf<T, H>: Handler<ByAttribute, Latch>,
{
    memory(
        one_thread()?,
        messages,
        spec,
        |context, mut parts, latch| {
            parts.measured = true;
            start(handler, context, parts, latch)
        },
    )
}
