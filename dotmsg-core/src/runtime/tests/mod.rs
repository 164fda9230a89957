//! Routes on the memory log, with a bare service: what the runtime itself must keep, layers apart.

mod at_most_once;
mod attacks;
mod basics;
mod beginning;
mod crash_loop;
mod declared;
mod exactly_once;
mod failing;
mod gated;
mod idle;
mod lag;
mod late_release;
mod overtaken;
mod partly;
mod reserve;
mod retries;
mod stuck;
mod tight_store;
mod transactional;
mod waiting;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{RouteContext, RouteReport, RouteStats, Shutdown, run};
use crate::backend::{Backend, PublishOutcome, PublishRecord, Retention, TopicSpec};
use crate::clock::{Clock, Timestamp, TokioClock};
use crate::delivery::Delivery;
use crate::error::Result;
use crate::handler::{ErrorClasses, HandlerResult, HandlerService};
use crate::log::{LogBroker, LogOptions};
use crate::message::Message;
use crate::middleware::{Ended, Outcome};
use crate::progress::PositionRecord;
use crate::router::{
    DeliverySemantics, Front, RouteSpec, SharedLimits, StackParts, Topology, stack,
};

/// A memory log with one topic.
pub(super) struct World {
    pub(super) broker: LogBroker,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) seen: Arc<Mutex<Vec<(String, u64)>>>,
    /// The backend that routes see, where it is not the broker itself.
    pub(super) face: Option<Arc<dyn Backend>>,
    /// Each start has a seed of its own: it is another owner.
    starts: AtomicU64,
}

/// A running route.
pub(super) struct Route {
    pub(super) stats: Arc<RouteStats>,
    shutdown: watch::Sender<Shutdown>,
    pub(super) task: JoinHandle<Result<RouteReport>>,
}

impl Route {
    pub(super) async fn drain(self) -> RouteReport {
        self.shutdown.send_replace(Shutdown::Drain);
        self.task.await.unwrap().unwrap()
    }

    pub(super) fn signal(&self, stage: Shutdown) {
        self.shutdown.send_replace(stage);
    }
}

impl World {
    pub(super) async fn new(partitions: u32) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(Timestamp(1_000_000)));
        let broker = LogBroker::memory(LogOptions::new(Arc::clone(&clock)));
        let spec = TopicSpec {
            name: "orders".into(),
            partitions,
            retention: Retention::AsBackend,
        };
        broker.admin().create_topic(spec).await.unwrap();
        Self {
            broker,
            clock,
            seen: Arc::default(),
            face: None,
            starts: AtomicU64::new(7),
        }
    }

    pub(super) fn spec() -> RouteSpec {
        RouteSpec::new("bill", "orders", "billing")
    }

    pub(super) async fn publish(&self, keys: impl IntoIterator<Item = Option<&str>>) {
        let records = keys
            .into_iter()
            .map(|key| {
                let mut message = Message::new("payload");
                message.key = key.map(|key| key.to_owned().into());
                PublishRecord {
                    topic: "orders".into(),
                    partition: None,
                    message,
                }
            })
            .collect();
        for outcome in self.broker.publisher().publish(records).await {
            assert!(matches!(outcome, PublishOutcome::Ok(_)), "{outcome:?}");
        }
    }

    /// Starts a route whose service is `handler`; what it was called with is noted in `seen`.
    pub(super) fn start<H, F>(&self, spec: RouteSpec, handler: H) -> Route
    where
        H: Fn(Delivery) -> F + Clone + Send + 'static,
        F: Future<Output = Outcome> + Send + 'static,
    {
        let (sender, context) = self.context(spec);
        let stats = Arc::clone(&context.stats);
        let seen = Arc::clone(&self.seen);
        let service = tower::service_fn(move |delivery: Delivery| {
            let key = delivery
                .key()
                .map(|key| String::from_utf8_lossy(key).into_owned());
            seen.lock()
                .unwrap()
                .push((key.unwrap_or_default(), delivery.position().offset));
            let handled = handler(delivery);
            async move { Ok(handled.await) }
        });
        Route {
            stats,
            shutdown: sender,
            task: tokio::spawn(run(context, service)),
        }
    }

    /// Starts a route with all layers around `handler`.
    pub(super) fn start_stacked<H, F>(&self, spec: RouteSpec, handler: H) -> Route
    where
        H: Fn(Delivery) -> F + Clone + Send + 'static,
        F: Future<Output = HandlerResult> + Send + 'static,
    {
        let seen = Arc::clone(&self.seen);
        let call = move |delivery: Delivery| {
            let key = delivery
                .key()
                .map(|key| String::from_utf8_lossy(key).into_owned());
            seen.lock()
                .unwrap()
                .push((key.unwrap_or_default(), delivery.origin().offset));
            handler(delivery)
        };
        let (sender, context) = self.context(spec);
        let parts = StackParts {
            route: Arc::clone(&context.route),
            topology: Arc::clone(&context.topology),
            publisher: self.broker.publisher(),
            clock: Arc::clone(&self.clock),
            classes: ErrorClasses::default(),
            topic_prefix: String::new(),
            jitter_seed: 1,
            enlistment: context.enlistment.clone(),
            breaker: None,
            limits: SharedLimits::default(),
            front: Front::of(&context.route, &self.clock),
            metrics: Arc::default(),
            measured: false,
            tracer: None,
        };
        Route {
            stats: Arc::clone(&context.stats),
            shutdown: sender,
            task: tokio::spawn(run(context, stack(HandlerService::new(call), parts))),
        }
    }

    fn context(&self, spec: RouteSpec) -> (watch::Sender<Shutdown>, RouteContext) {
        let (sender, shutdown) = watch::channel(Shutdown::No);
        let once = spec.delivery == DeliverySemantics::ExactlyOnce;
        let enlistment = once.then(Arc::default);
        let context = RouteContext {
            topology: Arc::new(Topology::of(&spec, "")),
            route: Arc::new(spec),
            backend: match &self.face {
                Some(face) => Arc::clone(face),
                None => Arc::new(self.broker.clone()),
            },
            auto_create: None,
            instance: None,
            clock: Arc::clone(&self.clock),
            stats: Arc::default(),
            shutdown,
            seed: self.starts.fetch_add(1, Ordering::Relaxed),
            enlistment,
            breaker: None,
            provided: None,
        };
        (sender, context)
    }

    pub(super) async fn records(&self) -> BTreeMap<u32, PositionRecord> {
        let positions = self.broker.admin().positions("billing", "orders").await;
        let decode = |(partition, bytes): (u32, bytes::Bytes)| {
            (partition, PositionRecord::decode(&bytes).unwrap())
        };
        positions.unwrap().into_iter().map(decode).collect()
    }

    pub(super) fn seen(&self) -> Vec<(String, u64)> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

pub(super) const HANDLED: Outcome = Outcome::Settled(Ended::Handled);
