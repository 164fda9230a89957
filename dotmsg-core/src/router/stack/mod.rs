//! The layers of one route, composed in their order.
//!
//! trace → dead letter → tiers → limits → in-place retry → publish returned → timeout → catch panic → handler.
//!
//! A clone of the stack is built anew from its parts. Every message touches the reference counts of the layers' parts;
//! shared by the workers, they would travel between the cores with each message.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::{Ordering, RouteSpec, Topology};
use crate::backend::Publisher;
use crate::clock::Clock;
use crate::delivery::Delivery;
use crate::handler::{ErrorClasses, HandlerError, Returned};
use crate::middleware::catch_panic::CatchPanicLayer;
use crate::middleware::dead_letter::{DeadLetterLayer, DeadLetterParts};
use crate::middleware::limits::{CheckLimitsLayer, LimitParts, SizeLimits};
use crate::middleware::publish_returned::{PublishParts, PublishReturnedLayer};
use crate::middleware::retry_in_place::{RepeatPolicy, RetryInPlaceLayer, RetryParts};
use crate::middleware::tiers::{TierParts, TiersLayer};
use crate::middleware::timeout::TimeoutLayer;
use crate::middleware::trace::TraceLayer;
use crate::middleware::{Outcome, Provenance};

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
}

/// All layers around `handler`.
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
    Stack {
        service: layers(handler.clone(), &parts),
        build: layers::<H>,
        handler,
        parts,
    }
}

/// The layers, and what a clone is built from.
struct Stack<H, S> {
    service: S,
    build: fn(H, &StackParts) -> S,
    handler: H,
    parts: StackParts,
}

impl<H: Clone, S> Clone for Stack<H, S> {
    fn clone(&self) -> Self {
        Self {
            service: (self.build)(self.handler.clone(), &self.parts),
            build: self.build,
            handler: self.handler.clone(),
            parts: self.parts.clone(),
        }
    }
}

impl<H, S> fmt::Debug for Stack<H, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("route", &self.parts.route)
            .finish_non_exhaustive()
    }
}

impl<H, S: Service<Delivery>> Service<Delivery> for Stack<H, S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, delivery: Delivery) -> S::Future {
        self.service.call(delivery)
    }
}

fn layers<H>(
    handler: H,
    parts: &StackParts,
) -> impl Service<Delivery, Response = Outcome, Error = Infallible, Future: Send + 'static> + Send + use<H>
where
    H: Service<Delivery, Response = Returned, Error = HandlerError> + Clone + Send + 'static,
    H::Future: Send + 'static,
{
    let service = CatchPanicLayer.layer(handler);
    let service = TimeoutLayer::new(parts.route.timeout).layer(service);
    let service = publish_layer(parts).layer(service);
    let service = retry_layer(parts).layer(service);
    let service = limits_layer(parts).layer(service);
    let service = tiers_layer(parts).layer(service);
    let service = dead_letter_layer(parts).layer(service);
    TraceLayer::new(parts.route.handler.as_str()).layer(service)
}

fn publish_layer(parts: &StackParts) -> PublishReturnedLayer {
    PublishReturnedLayer::new(PublishParts {
        publisher: Arc::clone(&parts.publisher),
        clock: Arc::clone(&parts.clock),
        topic_prefix: parts.topic_prefix.clone(),
        handler: parts.route.handler.as_str().into(),
    })
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

fn limits_layer(parts: &StackParts) -> CheckLimitsLayer {
    let limits = &parts.route.limits;
    CheckLimitsLayer::new(LimitParts {
        limits: SizeLimits {
            payload_bytes: limits.max_payload_bytes,
            key_bytes: limits.max_key_bytes,
            header_bytes: limits.max_header_bytes,
        },
        provenance: provenance(parts),
    })
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
