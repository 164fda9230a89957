//! One message that is traced: where its calls belong, and what follows from them.

use std::any::Any;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dotmsg_core::delivery::{Delivery, Sent, Span, Story};
use dotmsg_core::message::{Message, TraceParent};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt};

use crate::route::Route;
use crate::sending::{self, Send};
use crate::span::Entered;
use crate::traces::SpanTracer;
use crate::{context, names};

/// A delivery that is traced.
pub(crate) struct Traced<T> {
    route: Route<T>,
    /// The producer's span, which each call links to.
    producer: Option<SpanContext>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What calls are below; `None` until the first, when that begins the trace.
    parent: Option<Context>,
    /// The first call's span, which had to begin for the sampler to be asked.
    begun: Option<Context>,
    /// The last call's.
    last: Option<Context>,
}

impl<T> Traced<T> {
    /// Its calls are below this one.
    pub(crate) fn below(route: Route<T>, parent: Context, producer: Option<SpanContext>) -> Self {
        let state = State {
            parent: Some(parent),
            ..State::default()
        };
        Self::new(route, producer, state)
    }

    /// Its trace begins with the span of its first call, which has begun.
    pub(crate) fn begun(route: Route<T>, first: Context, producer: Option<SpanContext>) -> Self {
        let state = State {
            parent: Some(first.clone()),
            begun: Some(first),
            last: None,
        };
        Self::new(route, producer, state)
    }

    /// Its trace begins with its first call.
    pub(crate) fn not_begun(route: Route<T>, producer: SpanContext) -> Self {
        Self::new(route, Some(producer), State::default())
    }

    fn new(route: Route<T>, producer: Option<SpanContext>, state: State) -> Self {
        Self {
            route,
            producer,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a call with it is below.
    pub(crate) fn parent(&self) -> Context {
        self.state().parent.clone().unwrap_or_default()
    }

    /// What a call with a batch links to for it.
    pub(crate) fn linked(&self) -> Option<SpanContext> {
        let parent = || Some(self.state().parent.as_ref()?.span().span_context().clone());
        self.producer.clone().or_else(parent)
    }

    /// A call with it has begun, in this context.
    pub(crate) fn called(&self, context: &Context) {
        let mut state = self.state();
        state.parent.get_or_insert_with(|| context.clone());
        state.last = Some(context.clone());
    }
}

impl<T: SpanTracer> Traced<T> {
    /// That of a delivery.
    pub(crate) fn of(delivery: &Delivery) -> Option<&Self> {
        let story: &dyn Any = &**delivery.story()?;
        story.downcast_ref()
    }
}

impl<T: SpanTracer> Story for Traced<T> {
    fn origin(&self) -> TraceParent {
        let parent = self.parent();
        let span = parent.span();
        let begun = Some(span.span_context()).filter(|context| context.is_valid());
        let origin = begun.or(self.producer.as_ref());
        context::trace_parent(origin.unwrap_or(&SpanContext::NONE))
    }

    fn call(&self, delivery: &Delivery) -> Box<dyn Span> {
        let begun = self.state().begun.take();
        let context = begun.unwrap_or_else(|| {
            let calls = self.route.calls();
            calls.begin(delivery, &self.parent(), self.producer.as_ref())
        });
        self.called(&context);
        Entered::boxed(context)
    }

    fn send(&self, topic: &str, message: &mut Message, why: Sent<'_>) -> Box<dyn Span> {
        let calls = self.route.calls();
        let mut send = Send::new(calls.system, topic);
        if let Some(id) = message.id() {
            send.attribute(names::MESSAGE_ID, String::from_utf8_lossy(id).into_owned());
        }
        match why {
            Sent::Returned => send.links.extend(sending::custom(message)),
            Sent::Retry { kind, delay } => {
                send.attribute(names::ERROR_TYPE, kind.to_owned());
                send.attribute(names::TIER, format!("{delay:?}"));
            }
            Sent::DeadLetter { kind } => send.attribute(names::ERROR_TYPE, kind.to_owned()),
        }
        let last = self.state().last.clone();
        let parent = last.unwrap_or_else(|| self.parent());
        let context = send.begin(&*calls.tracer, &parent);
        if why == Sent::Returned {
            context::inject(context.span().span_context(), &mut message.headers);
        }
        Entered::boxed(context)
    }
}

impl<T> fmt::Debug for Traced<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traced")
            .field("producer", &self.producer)
            .finish_non_exhaustive()
    }
}
