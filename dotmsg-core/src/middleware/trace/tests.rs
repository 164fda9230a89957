//! Tests of the span.

use std::future::ready;
use std::sync::Mutex;

use tower::{ServiceExt, service_fn};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, field};

use super::*;
use crate::delivery::{self, Sent, Story};
use crate::message::{Message, TraceParent};
use crate::middleware::testing::delivery_of;

/// Fields as text.
struct Text(String);

impl field::Visit for Text {
    fn record_debug(&mut self, field: &field::Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!("{}={value:?};", field.name());
    }
}

/// Notes the fields of every span.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

impl Subscriber for Spans {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut text = Text(String::new());
        span.record(&mut text);
        self.0.lock().unwrap().push(text.0);
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, record: &Record<'_>) {
        let mut text = Text(String::new());
        record.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn the_span_shows_where_from_key_and_id_but_no_payload() {
    let spans = Spans::default();
    std::sync::LazyLock::force(&crate::seen::ANOTHER);
    let _default = tracing::subscriber::set_default(spans.clone());
    let message = Message::new("secret").with_key("k\n").with_id("i-7");
    let service = TraceLayer::new("bill");
    let service = tower_layer::Layer::layer(
        &service,
        service_fn(|_: Delivery| ready(Ok::<_, std::convert::Infallible>(()))),
    );
    service.oneshot(delivery_of(message)).await.unwrap();
    let spans = spans.0.lock().unwrap();
    let [span] = &spans[..] else {
        panic!("{spans:?}")
    };
    for part in [
        "handler=\"bill\"",
        "topic=\"orders\"",
        "partition=3",
        "attempt=1",
        "i-7",
    ] {
        assert!(span.contains(part), "{span}");
    }
    assert!(!span.contains("secret") && !span.contains('\n'), "{span}");
}

#[derive(Debug)]
struct Traced;

impl Story for Traced {
    fn origin(&self) -> TraceParent {
        TraceParent {
            trace_id: 0xabc,
            span_id: 1,
            sampled: true,
        }
    }
    fn call(&self, _: &Delivery) -> Box<dyn delivery::Span> {
        unreachable!("this layer makes no calls")
    }
    fn send(&self, _: &str, _: &mut Message, _: Sent<'_>) -> Box<dyn delivery::Span> {
        unreachable!("this layer publishes nothing")
    }
}

#[tokio::test]
async fn the_span_of_a_delivery_that_is_traced_shows_its_trace() {
    let spans = Spans::default();
    std::sync::LazyLock::force(&crate::seen::ANOTHER);
    let _default = tracing::subscriber::set_default(spans.clone());
    let service = tower_layer::Layer::layer(
        &TraceLayer::new("bill"),
        service_fn(|_: Delivery| ready(Ok::<_, std::convert::Infallible>(()))),
    );
    let traced = delivery_of(Message::new("x")).traced(Arc::new(Traced));
    service.oneshot(traced).await.unwrap();
    let spans = spans.0.lock().unwrap();
    let shown = "trace_id=00000000000000000000000000000abc;";
    assert!(spans.iter().any(|span| span == shown), "{spans:?}");
}
