//! Tests of the span.

use std::future::ready;
use std::sync::Mutex;

use tower::{ServiceExt, service_fn};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, field};

use super::*;
use crate::message::Message;
use crate::middleware::testing::delivery_of;

/// Notes the fields of every span.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

impl Subscriber for Spans {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        struct Text(String);
        impl field::Visit for Text {
            fn record_debug(&mut self, field: &field::Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{}={value:?};", field.name());
            }
        }
        let mut text = Text(String::new());
        span.record(&mut text);
        self.0.lock().unwrap().push(text.0);
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
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
