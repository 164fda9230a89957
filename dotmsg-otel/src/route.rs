//! Which deliveries of a route are traced.

use std::fmt;
use std::sync::Arc;

use dotmsg_core::delivery::{Delivery, Role, Span, Story};
use dotmsg_core::message::{TRACEPARENT, TraceParent};
use dotmsg_core::trace::{RouteTracer, TracedRoute};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceState};

use crate::call::Calls;
use crate::context;
use crate::settings::Settings;
use crate::span::Entered;
use crate::story::Traced;
use crate::traces::SpanTracer;

/// One route. A clone is the same.
pub(crate) struct Route<T>(Arc<Parts<T>>);

struct Parts<T> {
    calls: Calls<T>,
    settings: Settings,
    batches: bool,
}

impl<T> Route<T> {
    pub(crate) fn new(tracer: Arc<T>, settings: Settings, route: &TracedRoute<'_>) -> Self {
        Self(Arc::new(Parts {
            calls: Calls::new(tracer, route),
            settings,
            batches: route.batches,
        }))
    }

    /// The spans of its calls.
    pub(crate) fn calls(&self) -> &Calls<T> {
        &self.0.calls
    }
}

impl<T: SpanTracer> Route<T> {
    fn decide(&self, delivery: &Delivery) -> Option<Traced<T>> {
        let header = delivery.headers().get(TRACEPARENT);
        if delivery.stream().role != Role::Source {
            return self.go_on(delivery, header.and_then(|value| TraceParent::parse(value)));
        }
        // Most messages are one of these two: without a context, or not sampled.
        let Some(value) = header else {
            return self.without_context(delivery);
        };
        if is_unsampled(value) {
            return None;
        }
        match TraceParent::parse(value) {
            Some(producer) if producer.sampled => self.with_context(delivery, producer),
            Some(_) => None,
            None => self.without_context(delivery),
        }
    }

    /// One without a context begins a trace, if the sampler says so. A batch of such is asked about when it is called.
    fn without_context(&self, delivery: &Delivery) -> Option<Traced<T>> {
        if self.0.batches || !self.0.settings.asks_for_root() {
            return None;
        }
        self.root(delivery, None)
    }

    fn root(&self, delivery: &Delivery, producer: Option<SpanContext>) -> Option<Traced<T>> {
        let context = self
            .calls()
            .begin(delivery, &Context::new(), producer.as_ref());
        let sampled = context.span().span_context().is_sampled();
        sampled.then(|| Traced::begun(self.clone(), context, producer))
    }

    fn with_context(&self, delivery: &Delivery, producer: TraceParent) -> Option<Traced<T>> {
        let state = context::trace_state(delivery.headers());
        let producer = context::span_context(producer, state);
        match (self.0.settings.own_traces, self.0.batches) {
            (false, _) => {
                let parent = context::remote(producer.clone());
                Some(Traced::below(self.clone(), parent, Some(producer)))
            }
            (true, false) => self.root(delivery, Some(producer)),
            // Its trace begins with the call of its batch.
            (true, true) => Some(Traced::not_begun(self.clone(), producer)),
        }
    }

    /// A retry or a replay goes on where its first call began; without that, by its producer's context. No trace begins here: it
    /// was decided before the first call that none does.
    fn go_on(&self, delivery: &Delivery, producer: Option<TraceParent>) -> Option<Traced<T>> {
        let noted = delivery.lineage().and_then(|lineage| lineage.trace);
        let fallback = producer.filter(|_| !self.0.settings.own_traces);
        let origin = noted.or(fallback).filter(|origin| origin.sampled)?;
        let state = context::trace_state(delivery.headers());
        let is_producers = producer.is_some_and(|producer| producer.trace_id == origin.trace_id);
        let parent_state = match is_producers {
            true => state.clone(),
            false => TraceState::default(),
        };
        let parent = context::remote(context::span_context(origin, parent_state));
        let producer = producer.map(|producer| context::span_context(producer, state));
        Some(Traced::below(self.clone(), parent, producer))
    }

    /// Whether a batch of messages that are not traced may begin a trace: one of them has no context of its own.
    fn may_begin(&self, deliveries: &[Delivery]) -> bool {
        let has_none = |delivery: &Delivery| {
            delivery.stream().role == Role::Source && TraceParent::of(delivery.headers()).is_none()
        };
        deliveries.iter().any(has_none) && self.0.settings.asks_for_root()
    }
}

/// Whether a `traceparent` says that it is not sampled. It says so at a fixed place, whatever stands before that.
fn is_unsampled(value: &[u8]) -> bool {
    value.len() == 55 && value.starts_with(b"00-") && value.ends_with(b"-00")
}

impl<T: SpanTracer> RouteTracer for Route<T> {
    fn follow(&self, delivery: &Delivery) -> Option<Arc<dyn Story>> {
        let traced = self.decide(delivery)?;
        Some(Arc::new(traced))
    }

    fn batch(&self, deliveries: &[Delivery]) -> Option<Box<dyn Span>> {
        let parent = deliveries.iter().find_map(Traced::<T>::of);
        let parent = match parent {
            Some(first) => first.parent(),
            None if self.may_begin(deliveries) => Context::new(),
            None => return None,
        };
        Some(Entered::boxed(
            self.calls().begin_batch(deliveries, &parent),
        ))
    }
}

impl<T> Clone for Route<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Route<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("calls", &self.0.calls)
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}
