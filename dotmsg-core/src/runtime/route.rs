//! Starting one route: check, declare its topics, join the group, pump.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::watch;
use tower_service::Service;
use tracing::Instrument;

use super::declare::{RouteTopics, advise_concurrency, declare_topics};
use super::pump::{
    ABANDON_WITHIN, LEAVE_WITHIN, Pump, PumpParts, RouteReport, Shutdown, Transacting,
};
use super::stats::RouteStats;
use super::takeover::TakeoverContext;
use super::worker::LanePolicy;
use super::workers::Workers;
use crate::backend::{
    Backend, Capability, Control, KeyOrder, PositionStore, Reader, Source, Subscription,
    TopicDescription, Transactional,
};
use crate::clock::Clock;
use crate::delivery::{Delivery, Provided};
use crate::error::{Error, ErrorKind, Result};
use crate::middleware::Outcome;
use crate::middleware::circuit_breaker::Breaker;
use crate::middleware::publish_returned::Enlistment;
use crate::router::{DeliverySemantics as Semantics, Ordering, RouteSpec, Topology};

/// What a route runs on.
#[derive(Clone, Debug)]
pub struct RouteContext {
    /// The route.
    pub route: Arc<RouteSpec>,
    /// Its topics.
    pub topology: Arc<Topology>,
    /// Its backend.
    pub backend: Arc<dyn Backend>,
    /// Create the source topic with this many partitions when it is missing; `None`: a missing one is an error.
    pub auto_create: Option<u32>,
    /// The lasting name of this process among the members of its groups; `None`: it has none.
    pub instance: Option<String>,
    /// The clock that due times are compared with.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub stats: Arc<RouteStats>,
    /// When to stop.
    pub shutdown: watch::Receiver<Shutdown>,
    /// Seed of owner token and lane hash.
    pub seed: u64,
    /// Where the route's handlers put down what they return (`exactly_once`); the same as in its layers.
    pub enlistment: Option<Arc<Enlistment>>,
    /// Its circuit breaker, if it has one; the same as in its layers.
    pub breaker: Option<Arc<Breaker>>,
    /// What its deliveries have for their extractors.
    pub provided: Option<Arc<Provided>>,
}

impl RouteContext {
    /// As far as its topics depend on it.
    #[must_use]
    pub fn topics(&self) -> RouteTopics {
        RouteTopics {
            route: Arc::clone(&self.route),
            topology: Arc::clone(&self.topology),
            backend: Arc::clone(&self.backend),
            auto_create: self.auto_create,
        }
    }
}

/// Refuses what the backend cannot keep, with the reason.
///
/// # Errors
/// [`ErrorKind::Unsupported`].
pub(super) fn check_capability(route: &RouteSpec, capability: &Capability) -> Result<()> {
    let refuse = |message: &'static str, remedy: &'static str| {
        Err(Error::new(ErrorKind::Unsupported, "start route", message)
            .with("route", &route.handler)
            .with("backend", &route.backend)
            .remedy(remedy))
    };
    if route.delivery == Semantics::ExactlyOnce && capability.transactions == Transactional::No {
        return refuse(
            "delivery = \"exactly_once\" needs a dedup store or a backend with transactions",
            "Use delivery = \"at_least_once\" and make the effect idempotent by the message's id",
        );
    }
    if route.ordering != Ordering::None && capability.key_order == KeyOrder::None {
        return refuse(
            "the backend keeps no order",
            "Set ordering = \"none\" for this route",
        );
    }
    if capability.position == PositionStore::None {
        return refuse(
            "the backend stores no position record",
            "Choose a backend that does",
        );
    }
    Ok(())
}

/// Checks a route against its backend and creates the topics of its group; [`run`] does it too.
///
/// An app prepares all its routes before it runs the first, so that one may read what another writes.
///
/// # Errors
/// What the backend cannot keep, a missing source topic, topics that do not fit.
pub async fn prepare(context: &RouteContext) -> Result<()> {
    prepare_topics(&context.topics()).await
}

/// The same, and the source topic.
async fn prepared(of: &RouteTopics) -> Result<TopicDescription> {
    check_capability(&of.route, &of.backend.capability())?;
    declare_topics(of).await
}

/// [`prepare`], for whoever does not run the route.
///
/// # Errors
/// The same.
pub async fn prepare_topics(of: &RouteTopics) -> Result<()> {
    prepared(of).await.map(drop)
}

/// Runs a route until its shutdown is complete.
///
/// # Errors
/// What the backend cannot keep, missing topics, a lost position, and whatever ends the source for good.
pub async fn run<S>(context: RouteContext, service: S) -> Result<RouteReport>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    // Dropped by an end of any kind: a panic, or an aborted task, answers too.
    let _answer = AnswerForEver(Arc::clone(&context.stats));
    // Whatever is logged on behalf of the route, by its handlers too, says whose it is.
    let route = &context.route;
    let span = tracing::error_span!("route", route = %route.handler, group = %route.group);
    async {
        start(context, service).await.inspect_err(|error| {
            tracing::error!(%error, "a route failed");
        })
    }
    .instrument(span)
    .await
}

struct AnswerForEver(Arc<RouteStats>);

impl Drop for AnswerForEver {
    fn drop(&mut self) {
        self.0.answer_for_ever();
    }
}

async fn start<S>(context: RouteContext, service: S) -> Result<RouteReport>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let route = &context.route;
    let (source, control, reader) = tokio::select! {
        biased;
        joined = join(&context) => joined?,
        () = out_of_time(context.shutdown.clone()) => {
            tracing::error!(topic = %context.topology.source, "the shutdown ended before the broker let the route join");
            return Ok(RouteReport {
                handler: route.handler.clone(),
                unanswered: vec!["start"],
                ..RouteReport::default()
            });
        }
    };
    let mut random = fastrand::Rng::with_seed(context.seed);
    let policy = LanePolicy {
        ordering: route.ordering,
        keep: route.keeps_order(),
        hash_seed: random.u64(..),
        batch: route.batch.map(|batch| batch.size),
    };
    let transactions = transactions(&context, &*control)?;
    let limits = &route.limits;
    let workers = Workers::new(service, policy, route.in_hand(), limits.workers);
    let membership = Arc::clone(&control);
    let parts = PumpParts {
        takeover: TakeoverContext {
            route: Arc::clone(route),
            topology: Arc::clone(&context.topology),
            backend: Arc::clone(&context.backend),
            control,
            owner: random.u128(..),
        },
        source,
        reader,
        workers,
        clock: Arc::clone(&context.clock),
        stats: Arc::clone(&context.stats),
        shutdown: context.shutdown.clone(),
        transactions,
        provided: context.provided.clone(),
        breaker: context.breaker.clone(),
    };
    context.stats.set_pumps(true);
    let ended = Pump::new(parts).run().await;
    context.stats.set_pumps(false);
    if ended.is_err() {
        leave(&*membership, &context).await;
    }
    ended
}

/// Leaves the group of a route that failed: else whoever is started next waits until the group has noticed.
async fn leave(membership: &dyn Control, context: &RouteContext) {
    let mut shutdown = context.shutdown.clone();
    tokio::select! {
        biased;
        left = membership.close(LEAVE_WITHIN) => {
            if let Err(error) = left {
                tracing::warn!(topic = %context.topology.source, %error, "leaving the group failed");
            }
        }
        // An error means that nobody is left to ask for it.
        Ok(_) = shutdown.wait_for(|stage| *stage == Shutdown::Abandon) => {}
    }
}

/// What a route with `exactly_once` commits with.
fn transactions(context: &RouteContext, control: &dyn Control) -> Result<Option<Transacting>> {
    if context.route.delivery != Semantics::ExactlyOnce {
        return Ok(None);
    }
    let missing = |what: &'static str| {
        Error::new(ErrorKind::Unexpected, "start route", what).with("route", &context.route.handler)
    };
    let transactions = control
        .transactions()
        .ok_or_else(|| missing("the backend declares transactions and gives its member none"))?;
    let enlistment = context
        .enlistment
        .clone()
        .ok_or_else(|| missing("its layers were made without an enlistment"))?;
    Ok(Some(Transacting {
        transactions,
        enlistment,
    }))
}

/// Everything that is asked of the broker before the first event.
async fn join(
    context: &RouteContext,
) -> Result<(Box<dyn Source>, Arc<dyn Control>, Box<dyn Reader>)> {
    let source = prepared(&context.topics()).await?;
    advise_concurrency(&context.route, &source);
    let topic = Arc::clone(&context.topology.source);
    let mut subscription = Subscription::new(topic, context.route.group.as_str());
    subscription.instance = context.instance.as_deref().map(Into::into);
    if context.route.delivery == Semantics::ExactlyOnce {
        subscription = subscription.transactions(context.route.commit_interval);
    }
    // What may fail is asked for before there is a membership, which would have to be given up again.
    let reader = context.backend.reader().await?;
    let (source, control) = context.backend.subscribe(subscription).await?;
    Ok((source, control, reader))
}

/// Resolves when a route that has nothing in hand yet must end: it has nothing to drain either.
async fn out_of_time(mut shutdown: watch::Receiver<Shutdown>) {
    // An error means that nobody is left to ask for it.
    if shutdown
        .wait_for(|stage| *stage != Shutdown::No)
        .await
        .is_err()
    {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(ABANDON_WITHIN).await;
}
