//! Traces: an app under the harness, with the SDK of OpenTelemetry and an exporter that keeps spans in this process.

mod batches;
mod nesting;
mod passing;
mod story;
mod unsampled;

use dotmsg::backend::{PublishOutcome, PublishRecord};
use dotmsg::testing::TestApp;
use dotmsg::{App, Config, Message};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, Sampler, SdkTracerProvider, ShouldSample, SpanData,
};

/// The context of a producer that traces and samples.
const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// The same of one that does not sample.
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// Where spans arrive.
struct Collector {
    provider: SdkTracerProvider,
    exporter: InMemorySpanExporter,
}

impl Collector {
    fn new() -> Self {
        Self::sampling(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
    }

    fn sampling(sampler: impl ShouldSample + 'static) -> Self {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .with_sampler(sampler)
            .build();
        Self { provider, exporter }
    }

    fn tracer(&self) -> opentelemetry_sdk::trace::SdkTracer {
        self.provider.tracer("test")
    }

    fn traces(&self) -> dotmsg::otel::Traces<opentelemetry_sdk::trace::SdkTracer> {
        dotmsg::otel::Traces::new(&self.provider)
    }

    /// An app that is traced.
    fn app(&self) -> App {
        App::with_config(Config::new()).tracer(self.traces())
    }

    /// What has ended, in that order.
    fn spans(&self) -> Vec<SpanData> {
        self.exporter.get_finished_spans().unwrap()
    }

    /// The only span of this name.
    #[track_caller]
    fn span(&self, name: &str) -> SpanData {
        let mut spans = self.spans();
        spans.retain(|span| span.name == name);
        match <[SpanData; 1]>::try_from(spans) {
            Ok([span]) => span,
            Err(spans) => panic!("{} spans `{name}` of {:?}", spans.len(), self.names()),
        }
    }

    fn names(&self) -> Vec<String> {
        self.spans()
            .iter()
            .map(|span| span.name.to_string())
            .collect()
    }
}

/// The value of an attribute as text; "" when it is not there.
fn attribute(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes
        .iter()
        .find(|attribute| attribute.key.as_str() == key);
    found.map_or_else(String::new, |attribute| attribute.value.to_string())
}

fn shows(span: &SpanData, key: &str) -> String {
    attribute(&span.attributes, key)
}

/// A message that arrives from elsewhere: nothing of it is traced here.
async fn arrive(test: &TestApp, topic: &str, message: Message) {
    let record = PublishRecord {
        topic: topic.into(),
        partition: None,
        message: message.with_timestamp(test.now()),
    };
    let publisher = test.handle().backend("main").unwrap().publisher();
    let outcomes = publisher.publish(vec![record]).await;
    assert!(matches!(outcomes[..], [PublishOutcome::Ok(_)]));
}

/// What a span links to.
fn links(span: &SpanData) -> Vec<SpanId> {
    span.links
        .iter()
        .map(|link| link.span_context.span_id())
        .collect()
}

fn id(span: &SpanData) -> SpanId {
    span.span_context.span_id()
}

/// All are of one trace.
#[track_caller]
fn one_trace(spans: &[SpanData]) {
    let names: Vec<_> = spans.iter().map(|span| &span.name).collect();
    let first = spans[0].span_context.trace_id();
    let of_first = |span: &SpanData| span.span_context.trace_id() == first;
    assert!(spans.iter().all(of_first), "{names:?}: {spans:#?}");
}

fn failed(span: &SpanData) -> bool {
    matches!(span.status, Status::Error { .. })
}
