//! RustStream 0.7.7 on its own memory broker: the same bodies, the same handlers, the same runtime.
//!
//! Used as its own benchmarks use it: its service started whole, the queue filled before the region, no layers, acknowledged by the
//! runtime after the handler. A delivery reaches the handler one at a time; the lines `batch` hand it slices of up to 512,
//! which is the peer's closest thing to a batched path, with one settlement for the slice.
//!
//! Its `by_key` reads the key from the header `partition-key` and hashes it to one of `n` lanes; its plain
//! `workers(n)` keeps no order. Both are measured, the latter because it is the cheaper one.

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Duration;

use ruststream::OutgoingMessage;
use ruststream::memory::prelude::*;
use ruststream::memory::{MemoryPublisher, PARTITION_KEY_HEADER};
use ruststream::runtime::{BrokerScope, Identity};
use serde::Deserialize;
use tokio::runtime::{Builder, Runtime};

use super::latch::Latch;
use super::{Outcome, Workload, timed};

/// The peer's own body: two integers, so that decoding allocates nothing.
const BODY: &[u8] = br#"{"id":1000000,"quantity":37}"#;
/// Distinct keys of the keyed workloads.
const KEYS: u64 = 100_000;

pub(super) const WORKLOADS: [Workload; 10] = [
    Workload {
        name: "peer.bytes",
        messages: 2_000_000,
        warm_up: 50_000,
        run: bytes,
    },
    Workload {
        name: "peer.bytes_batch",
        messages: 2_000_000,
        warm_up: 50_000,
        run: bytes_batch,
    },
    Workload {
        name: "peer.json",
        messages: 2_000_000,
        warm_up: 50_000,
        run: json,
    },
    Workload {
        name: "peer.json_batch",
        messages: 2_000_000,
        warm_up: 50_000,
        run: json_batch,
    },
    Workload {
        name: "peer.awaits_once",
        messages: 2_000_000,
        warm_up: 50_000,
        run: awaits_once,
    },
    Workload {
        name: "peer.json_workers",
        messages: 1_000_000,
        warm_up: 50_000,
        run: json_workers,
    },
    Workload {
        name: "peer.json_by_key",
        messages: 1_000_000,
        warm_up: 50_000,
        run: json_by_key,
    },
    Workload {
        name: "peer.zero_work_by_key",
        messages: 1_000_000,
        warm_up: 50_000,
        run: zero_work_by_key,
    },
    Workload {
        name: "peer.slow_workers",
        messages: 200_000,
        warm_up: 5_000,
        run: slow_workers,
    },
    Workload {
        name: "peer.slow_by_key",
        messages: 20_000,
        warm_up: 5_000,
        run: slow_by_key,
    },
];

#[derive(Debug, Deserialize)]
struct Order {
    id: u64,
    quantity: u32,
}

#[derive(Deserialized)]
struct Frame<'a>(&'a [u8]);

type Handled<'a, 'b> = &'a mut Context<'b, (), Latch>;

#[subscriber("orders")]
async fn take_bytes(frame: &Frame<'_>, ctx: &mut Context<'_, (), Latch>) -> HandlerOutcome {
    black_box(frame.0[0]);
    ctx.state().arrived();
    HandlerOutcome::ack()
}

#[subscriber("orders")]
async fn take_frames(frames: &[Frame<'_>], ctx: &mut Context<'_, (), Latch>) -> HandlerOutcome {
    for frame in frames {
        black_box(frame.0[0]);
        ctx.state().arrived();
    }
    HandlerOutcome::ack()
}

#[subscriber("orders")]
async fn take_json(order: &Order, ctx: &mut Context<'_, (), Latch>) -> HandlerOutcome {
    black_box((order.id, order.quantity));
    ctx.state().arrived();
    HandlerOutcome::ack()
}

#[subscriber("orders")]
async fn take_orders(orders: &[Order], ctx: &mut Context<'_, (), Latch>) -> HandlerOutcome {
    for order in orders {
        black_box((order.id, order.quantity));
        ctx.state().arrived();
    }
    HandlerOutcome::ack()
}

#[subscriber("orders")]
async fn take_and_yield(frame: &Frame<'_>, ctx: &mut Context<'_, (), Latch>) -> HandlerOutcome {
    black_box(frame.0[0]);
    tokio::task::yield_now().await;
    ctx.state().arrived();
    HandlerOutcome::ack()
}

#[subscriber("orders", workers(4))]
async fn take_json_pooled(order: &Order, ctx: &mut Context<'_, (), Latch>) -> HandlerOutcome {
    black_box((order.id, order.quantity));
    ctx.state().arrived();
    HandlerOutcome::ack()
}

#[subscriber("orders", workers(4, by_key))]
async fn take_json_keyed(order: &Order, ctx: &mut Context<'_, (), Latch>) -> HandlerOutcome {
    black_box((order.id, order.quantity));
    ctx.state().arrived();
    HandlerOutcome::ack()
}

#[subscriber("orders", workers(64, by_key))]
async fn take_gated(frame: &Frame<'_>, ctx: &mut Context<'_, (), Latch>) -> HandlerOutcome {
    black_box(frame.0[0]);
    ctx.state().opened().await;
    ctx.state().arrived();
    HandlerOutcome::ack()
}

#[subscriber("orders", workers(5000))]
async fn take_slowly(frame: &Frame<'_>, ctx: &mut Context<'_, (), Latch>) -> HandlerOutcome {
    work_100_ms(frame, ctx).await
}

#[subscriber("orders", workers(5000, by_key))]
async fn take_slowly_keyed(frame: &Frame<'_>, ctx: &mut Context<'_, (), Latch>) -> HandlerOutcome {
    work_100_ms(frame, ctx).await
}

async fn work_100_ms(frame: &Frame<'_>, ctx: Handled<'_, '_>) -> HandlerOutcome {
    black_box(frame.0[0]);
    ctx.state().enter();
    tokio::time::sleep(Duration::from_millis(100)).await;
    ctx.state().leave();
    HandlerOutcome::ack()
}

fn bytes(messages: u64) -> Result<Outcome, String> {
    drain(one_thread()?, messages, false, |scope| {
        scope.include(take_bytes);
    })
}

fn bytes_batch(messages: u64) -> Result<Outcome, String> {
    drain(one_thread()?, messages, false, |scope| {
        scope.include(take_frames.batch(nonzero!(512)));
    })
}

fn json(messages: u64) -> Result<Outcome, String> {
    drain(one_thread()?, messages, false, |scope| {
        scope.include(take_json);
    })
}

fn json_batch(messages: u64) -> Result<Outcome, String> {
    drain(one_thread()?, messages, false, |scope| {
        scope.include(take_orders.batch(nonzero!(512)));
    })
}

fn awaits_once(messages: u64) -> Result<Outcome, String> {
    drain(one_thread()?, messages, false, |scope| {
        scope.include(take_and_yield);
    })
}

fn json_workers(messages: u64) -> Result<Outcome, String> {
    drain(one_thread()?, messages, false, |scope| {
        scope.include(take_json_pooled);
    })
}

fn json_by_key(messages: u64) -> Result<Outcome, String> {
    drain(one_thread()?, messages, true, |scope| {
        scope.include(take_json_keyed);
    })
}

fn zero_work_by_key(messages: u64) -> Result<Outcome, String> {
    drain(two_threads()?, messages, true, |scope| {
        scope.include(take_gated);
    })
}

fn slow_workers(messages: u64) -> Result<Outcome, String> {
    drain(one_thread()?, messages, false, |scope| {
        scope.include(take_slowly);
    })
}

fn slow_by_key(messages: u64) -> Result<Outcome, String> {
    drain(one_thread()?, messages, true, |scope| {
        scope.include(take_slowly_keyed);
    })
}

fn one_thread() -> Result<Runtime, String> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))
}

fn two_threads() -> Result<Runtime, String> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))
}

/// Starts a service with one handler, fills its queue, and measures how it is drained.
fn drain(
    runtime: Runtime,
    messages: u64,
    keyed: bool,
    mount: impl FnOnce(&mut BrokerScope<MemoryBroker, Identity, (), Latch>),
) -> Result<Outcome, String> {
    let latch = Latch::new(messages);
    let broker = MemoryBroker::new();
    let state = latch.clone();
    let app = RustStream::new(AppInfo::new("bench", "0.0.0"))
        .on_startup(async move |()| Ok::<_, Infallible>(state))
        .with_broker(broker.clone(), mount);
    let running = runtime
        .block_on(app.start())
        .map_err(|error| format!("the peer does not start: {error}"))?;
    runtime.block_on(fill(&broker.publisher(), messages, keyed))?;
    if latch.remaining() != messages {
        return Err("the queue was worked on while it was being filled".to_owned());
    }
    let mut outcome = timed(messages, || {
        runtime.block_on(async {
            latch.open();
            latch.drained().await;
        });
    });
    outcome
        .figures
        .insert("most_running".to_owned(), latch.most_running() as f64);
    drop(running);
    Ok(outcome)
}

async fn fill(publisher: &MemoryPublisher, messages: u64, keyed: bool) -> Result<(), String> {
    for number in 0..messages {
        let message = OutgoingMessage::new("orders", BODY);
        let message = if keyed {
            let mut headers = HeaderMap::new();
            // Eight digits whatever the number: the price of a message must not depend on its place.
            headers.insert(PARTITION_KEY_HEADER, format!("key-{:08}", number % KEYS));
            message.with_headers(headers)
        } else {
            message
        };
        publisher
            .publish(message, None)
            .await
            .map_err(|error| format!("the peer does not publish: {error}"))?;
    }
    Ok(())
}
