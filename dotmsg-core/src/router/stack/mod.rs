//! The layers of one route, composed in their order.
//!
//! shed → dedup → trace → dead letter → tiers → limits → in-place retry → publish returned → spans → metrics → rate limit → circuit
//! breaker → concurrency limit → timeout → catch panic → handler.
//!
//! What most routes do without (shed, the limits that they share, the circuit breaker) is in a stack of its own ([`full_stack`], around a
//! handler whose type is not told): a layer that is off still enlarges the future of every message, and the code of
//! every handler.
//!
//! For batches: … → circuit breaker → batch → concurrency limit → spans → metrics → timeout → catch panic → handler. So a rate counts messages
//! and a concurrency calls, of which a batch is one.
//!
//! The two limits are those that a route shares with others ([`SharedLimits`]). They stand where repeats pass them too, since
//! these call the same downstream, and where nothing else waits while it holds a permit: neither a pause nor a publish.
//!
//! Nested futures of eight layers cost more than the handler of a small message, and nearly every message succeeds with
//! nothing to publish. So the first call is made through the innermost layers only (`first`), and everything else
//! stands behind it: when that call does not end in a plain success, the full stack takes over, around a handler whose
//! first answer is already there. It answers as the full stack alone would, and nothing but speed depends on the difference.
//!
//! *Shed* and *dedup* stand in front of all that (`front`): what they end costs no call at all, and what is remembered as handled has
//! come through everything. Whether a message is a duplicate is asked where the first call is made, and what was granted is
//! kept beside it (`claimed`).
//!
//! Whether a message is traced is asked before the first call (`first`): one that is goes through the full stack, where its spans are,
//! and all others as if there were no tracer.
//!
//! A clone of the stack is built anew from its parts. Every message touches the reference counts of the layers' parts;
//! shared by the workers, they would travel between the cores with each message.

mod claimed;
mod first;
mod front;
mod listed;
mod shared;
mod stopwatch;

pub use front::Front;
pub use listed::{ListedLayer, layers};
pub use shared::SharedLimits;

use std::convert::Infallible;
use std::sync::Arc;

use tower_layer::Layer;
use tower_service::Service;

use self::first::FirstCall;
use super::{BatchSpec, Ordering, RouteSpec, Topology};
use crate::backend::Publisher;
use crate::clock::Clock;
use crate::delivery::Delivery;
use crate::handler::{Answer, Call, Erased, ErrorClasses, HandlerError, Returned};
use crate::metrics::RouteMetrics;
use crate::middleware::batch::{BatchLayer, BatchOrder, BatchParts};
use crate::middleware::catch_panic::{CatchPanic, CatchPanicLayer};
use crate::middleware::circuit_breaker::{Breaker, CircuitBreakerLayer};
use crate::middleware::concurrency_limit::ConcurrencyLimit;
use crate::middleware::dead_letter::{DeadLetterLayer, DeadLetterParts};
use crate::middleware::limits::{CheckLimitsLayer, LimitParts, SizeLimits};
use crate::middleware::metrics::MetricsLayer;
use crate::middleware::publish_returned::{Desk, Enlistment, PublishParts, PublishReturnedLayer};
use crate::middleware::retry_in_place::{RepeatPolicy, RetryInPlaceLayer, RetryParts};
use crate::middleware::spans::SpansLayer;
use crate::middleware::tiers::{TierParts, TiersLayer};
use crate::middleware::timeout::{Timeout, TimeoutLayer};
use crate::middleware::trace::TraceLayer;
use crate::middleware::{Outcome, Provenance};
use crate::trace::RouteTracer;

/// What the layers of a route need.
#[derive(Clone, Debug)]
pub struct StackParts {
    /// The route.
    pub route: Arc<RouteSpec>,
    /// The names of its topics.
    pub topology: Arc<Topology>,
    /// Publishes tier records, dead letters and returned messages.
    pub publisher: Arc<dyn Publisher>,
    /// Stamps them.
    pub clock: Arc<dyn Clock>,
    /// Classes of errors by type.
    pub classes: ErrorClasses,
    /// What stands before every topic name on this backend; may be empty.
    pub topic_prefix: String,
    /// Seed of the jitter of in-place retries.
    pub jitter_seed: u64,
    /// Where returned messages join the route's transaction (`exactly_once`); `None`: they are published and confirmed.
    pub enlistment: Option<Arc<Enlistment>>,
    /// The circuit of the route, if it has one.
    pub breaker: Option<Arc<Breaker>>,
    /// The limits that routes share; those that this one names are in it.
    pub limits: SharedLimits,
    /// What stands in front of all other layers, shared by the workers of the route.
    pub front: Front,
    /// Where dead letters are counted, and calls if they are measured.
    pub metrics: Arc<RouteMetrics>,
    /// Whether first calls of the handler are measured, and repeats.
    pub measured: bool,
    /// Who traces the route; `None`: nobody.
    pub tracer: Option<Arc<dyn RouteTracer>>,
}

impl StackParts {
    /// Whether the route has layers that most routes do without: then it runs in [`full_stack`].
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.breaker.is_some() || !self.route.shared_limits.is_empty() || self.front.sheds()
    }
}

/// The layers that every route has, around a handler of single messages.
pub fn stack<H>(
    handler: H,
    parts: StackParts,
) -> impl Service<Delivery, Response = Outcome, Error = Infallible, Future: Send + 'static>
+ Clone
+ Send
+ 'static
where
    H: Service<Delivery, Response = Returned, Error = HandlerError> + Clone + Send + 'static,
    H::Future: Send + 'static,
{
    debug_assert!(!parts.has_more(), "these layers are in `full_stack`");
    FirstCall::new(timed(handler, &parts), parts)
}

/// All layers, around a handler of single messages.
pub fn full_stack(
    handler: Erased,
    parts: StackParts,
) -> impl Service<Delivery, Response = Outcome, Error = Infallible, Future: Send + 'static>
+ Clone
+ Send
+ 'static {
    let bounded = bounded(handler, &parts);
    guarded(bounded, parts)
}

/// All layers around a handler of batches, which are formed as the route's [`BatchSpec`] says.
///
/// # Panics
/// When the route has none.
pub fn batch_stack<C>(
    handler: C,
    mut parts: StackParts,
) -> impl Service<Delivery, Response = Outcome, Error = Infallible, Future: Send + 'static>
+ Clone
+ Send
+ 'static
where
    C: Service<Call, Response = Answer, Error = HandlerError> + Clone + Send + 'static,
    C::Future: Send + 'static,
{
    let concurrency = parts.limits.concurrency(&parts.route);
    let measured = metrics_layer(&parts).layer(timed(handler, &parts));
    let spans = SpansLayer::new(parts.tracer.clone()).layer(measured);
    let bounded = batch_layer(&parts).layer(concurrency.layer(spans));
    // What is measured is calls, and a message is none.
    parts.measured = false;
    guarded(bounded, parts)
}

/// All layers outside of the bounded handler, with those that most routes do without.
fn guarded<B>(
    bounded: B,
    parts: StackParts,
) -> impl Service<Delivery, Response = Outcome, Error = Infallible, Future: Send + 'static>
+ Clone
+ Send
+ 'static
where
    B: Service<Delivery, Response = Returned, Error = HandlerError> + Clone + Send + 'static,
    B::Future: Send + 'static,
{
    let service = breaker_layer(&parts).layer(bounded);
    let service = parts.limits.rate(&parts.route).layer(service);
    let front = parts.front.clone();
    front.around(FirstCall::new(service, parts))
}

/// A handler whose panics and time are bounded.
type Timed<H> = Timeout<CatchPanic<H>>;

fn timed<H>(handler: H, parts: &StackParts) -> Timed<H> {
    TimeoutLayer::new(parts.route.timeout).layer(CatchPanicLayer.layer(handler))
}

/// The same, and its calls at once.
fn bounded<H>(handler: H, parts: &StackParts) -> ConcurrencyLimit<Timed<H>> {
    let concurrency = parts.limits.concurrency(&parts.route);
    concurrency.layer(timed(handler, parts))
}

fn breaker_layer(parts: &StackParts) -> CircuitBreakerLayer {
    CircuitBreakerLayer::new(parts.breaker.clone())
}

fn metrics_layer(parts: &StackParts) -> MetricsLayer {
    MetricsLayer::new(parts.measured.then(|| Arc::clone(&parts.metrics)))
}

fn batch_layer(parts: &StackParts) -> BatchLayer {
    let route = &*parts.route;
    let BatchSpec { size, linger } = route.batch.expect("the route of a batch handler says how");
    let order = match route.ordering {
        Ordering::Key => BatchOrder::Key,
        Ordering::Partition => BatchOrder::Partition,
        Ordering::None => BatchOrder::None,
    };
    BatchLayer::new(BatchParts {
        size,
        linger,
        concurrency: route.limits.concurrency,
        order,
        keep: route.keeps_order() || route.ordering == Ordering::Partition,
        classes: parts.classes.clone(),
    })
}

/// The layers outside of the bounded handler.
#[derive(Debug)]
struct Layers {
    spans: SpansLayer,
    publish: PublishReturnedLayer,
    retry: RetryInPlaceLayer,
    limits: CheckLimitsLayer,
    tiers: TiersLayer,
    dead_letter: DeadLetterLayer,
    trace: TraceLayer,
}

impl Layers {
    fn new(parts: &StackParts, limits: &Arc<LimitParts>) -> Self {
        Self {
            spans: spans_layer(parts),
            publish: publish_layer(parts),
            retry: retry_layer(parts),
            limits: CheckLimitsLayer::shared(Arc::clone(limits)),
            tiers: tiers_layer(parts),
            dead_letter: dead_letter_layer(parts),
            trace: TraceLayer::new(parts.route.handler.as_str()),
        }
    }

    /// What returned messages leave by.
    fn desk(&self) -> &Desk {
        &self.publish.desk
    }

    fn around<B>(
        &self,
        bounded: B,
    ) -> impl Service<Delivery, Response = Outcome, Error = Infallible, Future: Send + 'static>
    + Send
    + use<B>
    where
        B: Service<Delivery, Response = Returned, Error = HandlerError> + Clone + Send + 'static,
        B::Future: Send + 'static,
    {
        let service = self.publish.layer(self.spans.layer(bounded));
        let service = self.retry.layer(service);
        let service = self.limits.layer(service);
        let service = self.tiers.layer(service);
        let service = self.dead_letter.layer(service);
        self.trace.layer(service)
    }
}

/// Calls of a batch have their spans further in.
fn spans_layer(parts: &StackParts) -> SpansLayer {
    let single = parts.route.batch.is_none();
    SpansLayer::new(parts.tracer.clone().filter(|_| single))
}

fn publish_layer(parts: &StackParts) -> PublishReturnedLayer {
    let publish = PublishParts {
        publisher: Arc::clone(&parts.publisher),
        clock: Arc::clone(&parts.clock),
        topic_prefix: parts.topic_prefix.clone(),
        handler: parts.route.handler.as_str().into(),
    };
    match &parts.enlistment {
        Some(enlistment) => PublishReturnedLayer::in_transaction(publish, Arc::clone(enlistment)),
        None => PublishReturnedLayer::new(publish),
    }
}

fn retry_layer(parts: &StackParts) -> RetryInPlaceLayer {
    let in_place = &parts.route.retry.in_place;
    RetryInPlaceLayer::new(RetryParts {
        policy: RepeatPolicy {
            attempts: in_place.attempts,
            first_pause: in_place.backoff,
            longest_pause: in_place.max_backoff,
        },
        classes: parts.classes.clone(),
        clock: Arc::clone(&parts.clock),
        jitter_seed: parts.jitter_seed,
    })
}

fn limit_parts(parts: &StackParts) -> LimitParts {
    let limits = &parts.route.limits;
    LimitParts {
        limits: SizeLimits {
            payload_bytes: limits.max_payload_bytes,
            key_bytes: limits.max_key_bytes,
            header_bytes: limits.max_header_bytes,
        },
        provenance: provenance(parts),
    }
}

fn tiers_layer(parts: &StackParts) -> TiersLayer {
    // Under partition order a message away would stop its whole partition: it is retried in place only.
    let ladder = match parts.route.ordering {
        Ordering::Partition => Vec::new(),
        Ordering::Key | Ordering::None => parts.topology.tiers.clone(),
    };
    TiersLayer::new(TierParts {
        ladder,
        provenance: provenance(parts),
        publisher: Arc::clone(&parts.publisher),
        clock: Arc::clone(&parts.clock),
    })
}

fn dead_letter_layer(parts: &StackParts) -> DeadLetterLayer {
    DeadLetterLayer::new(DeadLetterParts {
        topic: Arc::clone(&parts.topology.dead_letter),
        provenance: provenance(parts),
        publisher: Arc::clone(&parts.publisher),
        clock: Arc::clone(&parts.clock),
        metrics: Arc::clone(&parts.metrics),
    })
}

fn provenance(parts: &StackParts) -> Provenance {
    Provenance {
        handler: parts.route.handler.as_str().into(),
        group: parts.route.group.as_str().into(),
        source: Arc::clone(&parts.topology.source),
    }
}

#[cfg(test)]
mod tests;
