//! The spans of calls: their names, their attributes, what they are below and what they link to.

use std::fmt;
use std::sync::Arc;

use dotmsg_core::delivery::{Delivery, Role};
use dotmsg_core::trace::TracedRoute;
use opentelemetry::trace::{Link, SpanBuilder, SpanContext, SpanKind, TraceContextExt};
use opentelemetry::{Context, KeyValue, Value};

use crate::names;
use crate::story::Traced;
use crate::traces::SpanTracer;

/// Room for the attributes of a call, so that they are made in one step.
const ATTRIBUTES: usize = 16;

/// The calls of one route.
pub(crate) struct Calls<T> {
    pub(crate) tracer: Arc<T>,
    /// What `messaging.system` says.
    pub(crate) system: &'static str,
    group: Arc<str>,
    handler: Arc<str>,
}

impl<T> Calls<T> {
    pub(crate) fn new(tracer: Arc<T>, route: &TracedRoute<'_>) -> Self {
        Self {
            tracer,
            system: names::system(route.adapter),
            group: route.group.into(),
            handler: route.handler.into(),
        }
    }

    /// What the span of each call shows.
    fn attributes(&self, topic: &str) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(ATTRIBUTES);
        attributes.extend([
            KeyValue::new(names::SYSTEM, self.system),
            KeyValue::new(names::OPERATION_TYPE, "process"),
            KeyValue::new(names::OPERATION_NAME, "process"),
            KeyValue::new(names::DESTINATION, topic.to_owned()),
            KeyValue::new(names::CONSUMER_GROUP, Arc::clone(&self.group)),
            KeyValue::new(names::HANDLER, Arc::clone(&self.handler)),
        ]);
        attributes
    }

    /// What that of a call with one delivery shows.
    fn attributes_of(&self, delivery: &Delivery) -> Vec<KeyValue> {
        let is_kafka = self.system == "kafka";
        let position = delivery.position();
        let mut attributes = self.attributes(position.topic);
        let mut put = |key: &'static str, value: Value| attributes.push(KeyValue::new(key, value));
        put(names::PARTITION, position.partition.to_string().into());
        let offset = match is_kafka {
            true => names::KAFKA_OFFSET,
            false => names::OFFSET,
        };
        put(offset, number(position.offset));
        put(names::MESSAGE_ID, id(delivery));
        put(names::ATTEMPT, i64::from(delivery.attempt()).into());
        if is_kafka && delivery.payload().is_none() {
            put(names::KAFKA_TOMBSTONE, true.into());
        }
        if let Role::Tier { delay } = delivery.stream().role {
            put(names::TIER, format!("{delay:?}").into());
        }
        if let Some(lineage) = delivery.lineage() {
            put(names::ORIGIN, delivery.origin().to_string().into());
            if lineage.replays > 0 {
                put(names::REPLAYS, i64::from(lineage.replays).into());
            }
        }
        attributes
    }
}

impl<T: SpanTracer> Calls<T> {
    /// A call with this delivery begins: the context of its span.
    pub(crate) fn begin(
        &self,
        delivery: &Delivery,
        parent: &Context,
        producer: Option<&SpanContext>,
    ) -> Context {
        let link = producer.map(|producer| Link::new(producer.clone(), Vec::new(), 0));
        let topic = delivery.position().topic;
        self.start(
            topic,
            self.attributes_of(delivery),
            link.into_iter().collect(),
            parent,
        )
    }

    /// A call with a batch begins. Its messages that are traced go on from it.
    pub(crate) fn begin_batch(&self, deliveries: &[Delivery], parent: &Context) -> Context {
        let topic = deliveries
            .first()
            .map_or("", |first| first.position().topic);
        let mut attributes = self.attributes(topic);
        attributes.push(KeyValue::new(
            names::BATCH_COUNT,
            number(deliveries.len() as u64),
        ));
        let link = |delivery: &Delivery| {
            let linked = Traced::<T>::of(delivery)?.linked()?;
            let message = KeyValue::new(names::MESSAGE_ID, id(delivery));
            let attempt = KeyValue::new(names::ATTEMPT, i64::from(delivery.attempt()));
            Some(Link::new(linked, vec![message, attempt], 0))
        };
        let links = deliveries.iter().filter_map(link).collect();
        let context = self.start(topic, attributes, links, parent);
        for traced in deliveries.iter().filter_map(Traced::<T>::of) {
            traced.called(&context);
        }
        context
    }

    fn start(
        &self,
        topic: &str,
        attributes: Vec<KeyValue>,
        links: Vec<Link>,
        parent: &Context,
    ) -> Context {
        let builder = SpanBuilder::from_name(format!("process {topic}"))
            .with_kind(SpanKind::Consumer)
            .with_attributes(attributes)
            .with_links(links);
        parent.with_span(self.tracer.build_with_context(builder, parent))
    }
}

/// The identity of a message as text.
fn id(delivery: &Delivery) -> Value {
    let id = delivery.id();
    String::from_utf8_lossy(&id).into_owned().into()
}

fn number(number: u64) -> Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

impl<T> fmt::Debug for Calls<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls")
            .field("system", &self.system)
            .field("group", &self.group)
            .field("handler", &self.handler)
            .finish_non_exhaustive()
    }
}
