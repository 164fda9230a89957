//! Lag where the broker is at fault, and what is logged of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::gated::{Answer, Gated};
use super::{HANDLED, Route, World};
use crate::backend::{
    Admin, Backend, Batch, BatchLimits, BoxFuture, Face, GroupDescription, Membership, OffsetRange,
    Source, SourceFace, Subscription, TopicDescription, TopicSpec,
};
use crate::error::{Error, ErrorKind, Result};
use crate::lag::{Diagnosis, Lag, Why};
use crate::log::LogBroker;
use crate::router::{DeliverySemantics, Limits};
use crate::seen::Seen;

const LONG: Duration = Duration::from_secs(75);

/// A broker that hands nothing over and does not tell where partitions end, while it is told not to.
#[derive(Debug)]
struct Silent {
    broker: LogBroker,
    dry: Arc<AtomicBool>,
    mute: Arc<AtomicBool>,
}

impl Face for Silent {
    fn broker(&self) -> &LogBroker {
        &self.broker
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        Box::pin(async move {
            let (inner, control) = self.broker.subscribe(subscription).await?;
            let dry = Arc::clone(&self.dry);
            let source: Box<dyn Source> = Box::new(Dry { inner, dry });
            Ok((source, control))
        })
    }

    fn admin(&self) -> Arc<dyn Admin> {
        let mute = Arc::clone(&self.mute);
        let inner = self.broker.admin();
        Arc::new(Mute { inner, mute })
    }
}

struct Dry {
    inner: Box<dyn Source>,
    dry: Arc<AtomicBool>,
}

impl SourceFace for Dry {
    fn inner(&mut self) -> &mut dyn Source {
        &mut *self.inner
    }

    fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        limits: BatchLimits,
        batch: &mut Batch,
    ) -> Poll<Result<()>> {
        match self.dry.load(Ordering::SeqCst) {
            true => Poll::Pending,
            false => self.inner.poll_batch(cx, limits, batch),
        }
    }
}

#[derive(Debug)]
struct Mute {
    inner: Arc<dyn Admin>,
    mute: Arc<AtomicBool>,
}

impl Admin for Mute {
    fn cluster(&self) -> BoxFuture<'_, Result<String>> {
        self.inner.cluster()
    }

    fn topics<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<TopicDescription>>> {
        self.inner.topics(prefix)
    }

    fn topic<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<TopicDescription>>> {
        self.inner.topic(name)
    }

    fn create_topic(&self, spec: TopicSpec) -> BoxFuture<'_, Result<()>> {
        self.inner.create_topic(spec)
    }

    fn offsets<'a>(&'a self, topic: &'a str, partition: u32) -> BoxFuture<'a, Result<OffsetRange>> {
        match self.mute.load(Ordering::SeqCst) {
            true => Box::pin(std::future::pending()),
            false => self.inner.offsets(topic, partition),
        }
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<GroupDescription>>> {
        self.inner.groups()
    }

    fn positions<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(u32, bytes::Bytes)>>> {
        self.inner.positions(group, topic)
    }
}

async fn silent() -> (World, Arc<AtomicBool>, Arc<AtomicBool>) {
    let mut world = World::new(1).await;
    let (dry, mute) = (Arc::default(), Arc::default());
    world.face = Some(Arc::new(Silent {
        broker: world.broker.clone(),
        dry: Arc::clone(&dry),
        mute: Arc::clone(&mute),
    }));
    (world, dry, mute)
}

async fn idle(route: &Route) {
    timeout(LONG, route.stats.idle()).await.expect("idle");
}

async fn look(route: &Route) -> Lag {
    route.stats.look_at_lag().await.unwrap()
}

fn stuck(lag: &Lag) -> Option<Why> {
    match lag.diagnosis() {
        Diagnosis::Stuck { why, .. } => Some(why),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_fetched_is_logged_once_and_so_is_its_end() {
    let seen = Seen::new();
    let (world, dry, _) = silent().await;
    let route = world.start(World::spec(), |_| async { HANDLED });
    world.publish([Some("a")]).await;
    idle(&route).await;
    dry.store(true, Ordering::SeqCst);
    world.publish([Some("a"), Some("b")]).await;
    // Nobody asks: its own looks notice, however seldom they have become.
    sleep(Duration::from_secs(900)).await;
    let lines = seen.of("falling behind: ");
    let [line] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(line.level, tracing::Level::WARN);
    assert!(line.message.contains("nothing was fetched"), "{line:?}");
    assert_eq!(line.field("group"), Some("billing"));
    assert_eq!(stuck(&look(&route).await), Some(Why::NotFetched));
    dry.store(false, Ordering::SeqCst);
    world.publish([Some("a")]).await;
    idle(&route).await;
    sleep(Duration::from_secs(900)).await;
    assert_eq!(seen.of("falling behind: ").len(), 1);
    let lines = seen.of("not falling behind any more: idle");
    assert_eq!(lines.len(), 1, "{lines:?}");
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn what_may_not_run_before_a_commit_waits_for_it() {
    let mut world = World::new(1).await;
    let gated = Gated::new(&world.broker);
    let valve = Arc::clone(&gated.valve);
    world.face = Some(Arc::new(gated));
    let mut spec = World::spec();
    spec.delivery = DeliverySemantics::AtMostOnce;
    let route = world.start(spec, |_| async { HANDLED });
    world.publish([Some("a")]).await;
    idle(&route).await;
    valve.commits(false);
    world.publish([Some("a"), Some("b")]).await;
    sleep(LONG).await;
    assert_eq!(stuck(&look(&route).await), Some(Why::Commit));
    valve.commits(true);
    idle(&route).await;
    assert_eq!(look(&route).await.records(), 0);
    route.drain().await;
}

#[tokio::test(start_paused = true)]
async fn commits_are_as_old_as_the_last_that_was_confirmed() {
    let mut world = World::new(1).await;
    let gated = Gated::new(&world.broker);
    let valve = Arc::clone(&gated.valve);
    world.face = Some(Arc::new(gated));
    let route = world.start(World::spec(), |_| async { HANDLED });
    world.publish([Some("a")]).await;
    idle(&route).await;
    valve.answer(Answer::Failed);
    world.publish([Some("a")]).await;
    sleep(Duration::from_secs(30)).await;
    let lag = look(&route).await;
    let one = &lag.partitions[0];
    let ages = [one.committed, one.uncommitted].map(|at| lag.at.since(at.unwrap()).as_secs());
    assert_eq!(ages, [30, 29], "{lag}");
    assert_eq!(one.records, 0, "it is settled, if not for the next owner");
    valve.answer(Answer::Stored);
    sleep(Duration::from_secs(1)).await;
    let lag = look(&route).await;
    assert_eq!(lag.partitions[0].uncommitted, None);
    assert!(lag.at.since(lag.partitions[0].committed.unwrap()) <= Duration::from_secs(1));
    route.drain().await;
}

/// Each of two partitions has one message; the one handler that may run does not end.
#[tokio::test(start_paused = true)]
async fn a_partition_that_gets_no_turn_is_held_back_by_a_limit() {
    let world = World::new(2).await;
    let mut spec = World::spec();
    spec.limits.concurrency = 1;
    let route = world.start(spec, |_| async {
        std::future::pending::<()>().await;
        HANDLED
    });
    world.publish((0..8).map(|_| None)).await;
    sleep(LONG).await;
    let lag = look(&route).await;
    let mut why: Vec<Option<Why>> = lag
        .partitions
        .into_iter()
        .map(|one| one.rest.map(|rest| rest.why))
        .collect();
    why.sort_by_key(|why| *why == Some(Why::Limits));
    assert_eq!(why, [Some(Why::Handler), Some(Why::Limits)]);
}

/// Workers in tasks of their own do not say what runs: what is not parked is taken to.
#[tokio::test(start_paused = true)]
async fn several_workers_are_looked_at_too() {
    let world = World::new(1).await;
    let mut spec = World::spec();
    spec.limits = Limits {
        workers: 2,
        ..Limits::default()
    };
    let route = world.start(spec, |_| async {
        std::future::pending::<()>().await;
        HANDLED
    });
    world.publish([Some("a")]).await;
    sleep(LONG).await;
    assert_eq!(stuck(&look(&route).await), Some(Why::Handler));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_answer_is_an_error_for_whoever_asks_and_for_nobody_else() {
    let (world, _, mute) = silent().await;
    let route = world.start(World::spec(), |_| async { HANDLED });
    world.publish([Some("a")]).await;
    idle(&route).await;
    let before = look(&route).await;
    mute.store(true, Ordering::SeqCst);
    let error = route.stats.look_at_lag().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert_eq!(route.stats.lag(), before);
    world.publish([Some("a")]).await;
    idle(&route).await;
    assert_eq!(route.stats.handled(), 2);
    mute.store(false, Ordering::SeqCst);
    assert_eq!(look(&route).await.partitions[0].watermark, 2);
    let report = route.drain().await;
    assert_eq!(report.unanswered, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_while_the_route_ends_is_answered() {
    let world = World::new(1).await;
    let route = world.start(World::spec(), |_| async {
        sleep(Duration::from_secs(5)).await;
        HANDLED
    });
    world.publish([Some("a")]).await;
    sleep(Duration::from_secs(1)).await;
    route.signal(crate::runtime::Shutdown::Drain);
    sleep(Duration::from_secs(1)).await;
    look(&route).await;
    let stats = Arc::clone(&route.stats);
    route.drain().await;
    let ended: Error = stats.look_at_lag().await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::Closed);
}
