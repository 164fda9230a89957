//! The spans of what is published, and the publishers that make them.

use std::fmt;
use std::sync::Arc;

use dotmsg_core::delivery::Span;
use dotmsg_core::message::{Message, TraceParent};
use dotmsg_core::trace::{SendTracer, TracedPublisher};
use opentelemetry::trace::{Link, SpanBuilder, SpanKind, TraceContextExt};
use opentelemetry::{Context, Key, KeyValue, Value};

use crate::span::Entered;
use crate::traces::SpanTracer;
use crate::{context, names};

/// A span that is about to begin.
pub(crate) struct Send {
    name: String,
    attributes: Vec<KeyValue>,
    /// Contexts that messages had already.
    pub(crate) links: Vec<Link>,
}

impl Send {
    /// Of what is published to this topic.
    pub(crate) fn new(system: &'static str, topic: &str) -> Self {
        let attributes = vec![
            KeyValue::new(names::SYSTEM, system),
            KeyValue::new(names::OPERATION_TYPE, "send"),
            KeyValue::new(names::OPERATION_NAME, "send"),
            KeyValue::new(names::DESTINATION, topic.to_owned()),
        ];
        Self {
            name: format!("send {topic}"),
            attributes,
            links: Vec::new(),
        }
    }

    pub(crate) fn attribute(&mut self, key: impl Into<Key>, value: impl Into<Value>) {
        self.attributes.push(KeyValue::new(key, value));
    }

    /// The context of the span, which has begun.
    pub(crate) fn begin<T: SpanTracer>(self, tracer: &T, parent: &Context) -> Context {
        let builder = SpanBuilder::from_name(self.name)
            .with_kind(SpanKind::Producer)
            .with_attributes(self.attributes)
            .with_links(self.links);
        parent.with_span(tracer.build_with_context(builder, parent))
    }
}

/// A link to the context that the application gave a message itself.
pub(crate) fn custom(message: &Message) -> Option<Link> {
    let given = TraceParent::of(&message.headers)?;
    let state = context::trace_state(&message.headers);
    Some(Link::new(
        context::span_context(given, state),
        Vec::new(),
        0,
    ))
}

fn has_context(message: &Message) -> bool {
    TraceParent::of(&message.headers).is_some()
}

/// A publisher of an app.
pub(crate) struct Sending<T> {
    tracer: Arc<T>,
    system: &'static str,
    for_handlers: bool,
}

impl<T> Sending<T> {
    pub(crate) fn new(tracer: Arc<T>, publisher: &TracedPublisher<'_>) -> Self {
        Self {
            tracer,
            system: names::system(publisher.adapter),
            for_handlers: publisher.for_handlers,
        }
    }
}

impl<T: SpanTracer> SendTracer for Sending<T> {
    fn send(&self, topic: &str, messages: &mut [Message]) -> Option<Box<dyn Span>> {
        let parent = Context::current();
        // In a handler it was decided before the call whether the message is traced; and elsewhere what carries a context of its own
        // is of a trace already.
        let begins = !parent.has_active_span();
        if begins && (self.for_handlers || messages.iter().all(has_context)) {
            return None;
        }
        let mut send = Send::new(self.system, topic);
        match &*messages {
            [message] => {
                if let Some(id) = message.id() {
                    send.attribute(names::MESSAGE_ID, String::from_utf8_lossy(id).into_owned());
                }
            }
            several => {
                let count = i64::try_from(several.len()).unwrap_or(i64::MAX);
                send.attribute(names::BATCH_COUNT, count);
            }
        }
        send.links.extend(messages.iter().filter_map(custom));
        let begun = send.begin(&*self.tracer, &parent);
        for message in messages {
            context::inject(begun.span().span_context(), &mut message.headers);
        }
        let recording = begun.span().is_recording();
        recording.then(|| Entered::boxed(begun))
    }
}

impl<T> fmt::Debug for Sending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending")
            .field("system", &self.system)
            .finish_non_exhaustive()
    }
}
