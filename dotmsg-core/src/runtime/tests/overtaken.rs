//! Retention that overtakes a running route, by both policies, and what it must leave alone.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{HANDLED, World};
use crate::backend::{
    AssignmentEvent, Backend, BoxFuture, Face, Membership, PublishOutcome, PublishRecord, Source,
    SourceFace, Subscription,
};
use crate::clock::{Clock, Timestamp, TokioClock};
use crate::delivery::Delivery;
use crate::error::{ErrorKind, Result};
use crate::log::{LogBroker, LogOptions};
use crate::message::Message;
use crate::router::{LogMismatch, RouteSpec};

const LONG: Duration = Duration::from_secs(600);
/// How long the topic keeps its records, one a segment.
const KEPT: Duration = Duration::from_secs(60);

async fn world() -> World {
    let mut world = World::new(1).await;
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(Timestamp(1_000_000)));
    let mut options = LogOptions::new(Arc::clone(&clock));
    options.segment_bytes = 1;
    options.retention = Some(KEPT);
    options.auto_create = true;
    options.default_partitions = 1;
    (world.broker, world.clock) = (LogBroker::memory(options), clock);
    world
}

/// Holds one message at a time, so that the source stops behind the first.
fn spec(policy: LogMismatch) -> RouteSpec {
    let mut spec = World::spec();
    spec.on_log_mismatch = policy;
    spec.limits.max_held_messages = 1;
    spec
}

/// A handler that waits until it is let go, and how it is.
fn gate() -> (
    watch::Sender<bool>,
    impl Fn(Delivery) -> BoxFuture<'static, crate::middleware::Outcome> + Clone,
) {
    let (sender, receiver) = watch::channel(false);
    let handler = move |_: Delivery| {
        let mut receiver = receiver.clone();
        Box::pin(async move {
            let _ = receiver.wait_for(|open| *open).await;
            HANDLED
        }) as BoxFuture<'static, _>
    };
    (sender, handler)
}

async fn put(world: &World, topic: &str, payload: &'static str) {
    let record = PublishRecord {
        topic: topic.into(),
        partition: Some(0),
        message: Message::new(payload),
    };
    let outcome = world.broker.publisher().publish(vec![record]).await;
    assert!(matches!(outcome[0], PublishOutcome::Ok(_)), "{outcome:?}");
}

/// Removes all but the newest record.
async fn retain(world: &World) {
    sleep(KEPT * 2).await;
    world.broker.apply_retention().unwrap();
}

#[tokio::test(start_paused = true)]
async fn by_default_the_route_stops_with_the_remedy() {
    let world = world().await;
    world.publish([None; 5]).await;
    let (open, handler) = gate();
    let route = world.start(spec(LogMismatch::Error), handler);
    while world.seen().is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    retain(&world).await;
    open.send_replace(true);
    let ended = timeout(LONG, route.task).await.expect("it stops");
    let error = ended.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PositionLost);
    let text = error.to_string();
    assert!(
        text.contains("position 1, log starts at 4") && text.contains("on_log_mismatch"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn with_earliest_it_counts_what_is_gone_and_goes_on() {
    let world = world().await;
    world.publish([None; 5]).await;
    let (open, handler) = gate();
    let route = world.start(spec(LogMismatch::Earliest), handler);
    while world.seen().is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    retain(&world).await;
    open.send_replace(true);
    timeout(LONG, route.stats.idle()).await.expect("idle");
    assert_eq!(world.seen(), [(String::new(), 4)]);
    assert_eq!((route.stats.removed(), route.stats.handled()), (3, 2));
    assert!(world.records().await[&0].settled(5));
    put(&world, "orders", "x").await;
    timeout(LONG, route.stats.idle()).await.expect("idle");
    assert_eq!(world.seen(), [(String::new(), 5)]);
    route.drain().await;
}

/// The earlier owner left only offset 0 unsettled: what was removed behind it is no loss.
#[tokio::test(start_paused = true)]
async fn what_an_earlier_owner_settled_is_not_missed() {
    let world = world().await;
    world.publish([None; 5]).await;
    let mut first = World::spec();
    first.drain_timeout = Duration::from_secs(1);
    let route = world.start(first, |delivery| async move {
        match delivery.position().offset {
            0 => std::future::pending().await,
            _ => HANDLED,
        }
    });
    sleep(Duration::from_secs(1)).await;
    route.drain().await;
    world.seen();
    let (open, handler) = gate();
    let mut second = spec(LogMismatch::Error);
    second.limits.batch_messages = 1;
    let route = world.start(second, handler);
    while world.seen().is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    retain(&world).await;
    open.send_replace(true);
    put(&world, "orders", "x").await;
    timeout(LONG, route.stats.idle()).await.expect("idle");
    assert_eq!(world.seen(), [(String::new(), 5)]);
    assert_eq!(route.stats.removed(), 0);
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn replays_that_are_gone_are_counted_and_the_next_ones_run() {
    let world = world().await;
    world.publish([None]).await;
    let (open, handler) = gate();
    let route = world.start(spec(LogMismatch::Error), handler);
    while world.seen().is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    route.drain().await;
    for _ in 0..4 {
        put(&world, "orders.billing.replay", "x").await;
    }
    // Replays are kept a day longer than the source.
    sleep(Duration::from_secs(2 * 24 * 60 * 60)).await;
    world.broker.apply_retention().unwrap();
    open.send_replace(true);
    let route = world.start(spec(LogMismatch::Error), |_| async { HANDLED });
    timeout(LONG, route.stats.idle()).await.expect("idle");
    assert_eq!(route.stats.removed(), 3);
    assert_eq!(
        route.stats.handled(),
        2,
        "the source's one and the last replay"
    );
    route.drain().await;
    let route = world.start(spec(LogMismatch::Error), |_| async { HANDLED });
    timeout(LONG, route.stats.idle()).await.expect("idle");
    assert_eq!(route.stats.removed(), 0, "it is told once");
    route.drain().await;
}

/// A log whose source tells events of the test's own first.
#[derive(Debug)]
struct Telling(LogBroker, Arc<Told>);

/// What is to be told, and the grant that was.
#[derive(Debug, Default)]
struct Told {
    events: Mutex<Vec<AssignmentEvent>>,
    grant: Mutex<u64>,
}

struct TellingSource(Box<dyn Source>, Arc<Told>);

impl SourceFace for TellingSource {
    fn inner(&mut self) -> &mut dyn Source {
        &mut *self.0
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<AssignmentEvent>> {
        if let Some(event) = self.1.events.lock().unwrap().pop() {
            return Poll::Ready(Ok(event));
        }
        let event = self.0.poll_event(cx);
        if let Poll::Ready(Ok(AssignmentEvent::Assigned(granted))) = &event {
            *self.1.grant.lock().unwrap() = granted[0].grant;
        }
        event
    }
}

impl Face for Telling {
    fn broker(&self) -> &LogBroker {
        &self.0
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        Box::pin(async move {
            let (source, control) = self.0.subscribe(subscription).await?;
            let source = TellingSource(source, Arc::clone(&self.1));
            Ok((Box::new(source) as Box<dyn Source>, control))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_of_an_older_grant_is_dropped_and_a_log_that_was_cut_ends_the_route() {
    let mut world = World::new(1).await;
    let tells = Arc::<Told>::default();
    world.face = Some(Arc::new(Telling(world.broker.clone(), Arc::clone(&tells))));
    let route = world.start(spec(LogMismatch::Earliest), |_| async { HANDLED });
    timeout(LONG, route.stats.idle()).await.expect("idle");
    let told = |grant, position, start| {
        let partition = 0;
        tells
            .events
            .lock()
            .unwrap()
            .push(AssignmentEvent::OutOfRange {
                partition,
                grant,
                position,
                start,
            });
    };
    told(0, 0, 100);
    world.publish([None; 3]).await;
    timeout(LONG, route.stats.idle()).await.expect("idle");
    assert_eq!((route.stats.handled(), route.stats.removed()), (3, 0));
    assert_eq!(world.records().await[&0].watermark(), 3);
    let grant = *tells.grant.lock().unwrap();
    told(grant, 3, 0);
    world.publish([None]).await;
    let ended = timeout(LONG, route.task).await.expect("it stops");
    let error = ended.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PositionLost);
    let text = error.to_string();
    assert!(
        text.contains("truncated") && text.contains("Start the route again"),
        "{text}"
    );
}
