//! The handler runs in the context of its span.

use dotmsg::handler::State;
use opentelemetry::trace::{TraceContextExt, Tracer};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::Instrument;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;

use super::*;

#[dotmsg::handler(topic = "orders", group = "billing", state = SdkTracer)]
async fn bill(State(tracer): State<SdkTracer>, number: &[u8]) {
    let before = Context::current().span().span_context().span_id();
    for _ in 0..3 {
        tokio::task::yield_now().await;
        let now = Context::current().span().span_context().span_id();
        assert_eq!(now, before, "in each poll, beside others");
    }
    let name = format!("inside {}", String::from_utf8_lossy(number));
    drop(tracer.start(name));
}

#[test]
fn spans_of_a_handler_lie_below_its_call() {
    dotmsg::testing::run(async {
        let collector = Collector::new();
        let app = collector.app().state(collector.tracer()).handler(bill);
        let mut test = TestApp::start(app).await;
        for number in 0..5 {
            test.publish("orders", &number)
                .key(number.to_string())
                .id(number.to_string())
                .await;
        }
        test.run_until_idle().await;
        assert!(!Context::current().has_active_span());
        let spans = collector.spans();
        for number in 0..5 {
            let inside = collector.span(&format!("inside {number}"));
            let is_its_call = |span: &&SpanData| {
                span.name == "process orders"
                    && shows(span, "messaging.message.id") == number.to_string()
            };
            let call = spans.iter().find(is_its_call).unwrap();
            assert_eq!(inside.parent_span_id, id(call));
        }
    });
}

#[dotmsg::handler(topic = "orders", group = "instrumented")]
async fn instrumented() {
    tokio::task::yield_now()
        .instrument(tracing::info_span!("of tracing"))
        .await;
}

#[test]
fn spans_of_tracing_lie_below_it_where_the_layer_leaves_ours_out() {
    let collector = Collector::new();
    let ours = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("dotmsg_core", LevelFilter::OFF);
    let layer = tracing_opentelemetry::layer()
        .with_tracer(collector.tracer())
        .with_filter(ours);
    let _default = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    dotmsg::testing::run(async {
        let mut test = TestApp::start(collector.app().handler(instrumented)).await;
        test.publish("orders", &1).await;
        test.run_until_idle().await;
        let inside = collector.span("of tracing");
        assert_eq!(inside.parent_span_id, id(&collector.span("process orders")));
        one_trace(&collector.spans());
    });
}
