//! A message's story over a real broker: its headers carry the trace through retry tier, dead letter and replay, and from one
//! handler to the next. On the broker that `DOTMSG_TEST_KAFKA_URL` names; skipped with a line where it is not set.

use std::time::Duration;

use dotmsg::clock::{Clock, SystemClock};
use dotmsg::otel::Traces;
use dotmsg::{App, Config, HandlerError, Message, Outgoing};
use opentelemetry::trace::{SpanId, TraceContextExt, Tracer, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tokio::time::{Instant, sleep};

/// How long the broker may take for all of it; it forms two groups.
const DEADLINE: Duration = Duration::from_secs(60);

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(order: &[u8]) -> Outgoing {
    Outgoing::new("bills", order.to_vec()).key("k")
}

#[dotmsg::handler(topic = "bills", group = "printing", retry(tiers = ["200ms"], attempts = 1))]
async fn print(_: &[u8]) -> Result<(), HandlerError> {
    Err(HandlerError::transient("no paper").kind("no_paper"))
}

#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn url() -> Option<String> {
    let url = std::env::var("DOTMSG_TEST_KAFKA_URL").ok();
    if url.is_none() {
        println!("skipped: DOTMSG_TEST_KAFKA_URL is not set (`cargo xtask services up kafka`)");
    }
    url
}

/// So many spans, once they have ended, without the prefix in their names.
async fn spans(exporter: &InMemorySpanExporter, prefix: &str, count: usize) -> Vec<SpanData> {
    let until = Instant::now() + DEADLINE;
    loop {
        let mut spans = exporter.get_finished_spans().unwrap();
        if spans.len() >= count {
            for span in &mut spans {
                span.name = span.name.replace(prefix, "").into();
            }
            return spans;
        }
        let names: Vec<_> = spans.iter().map(|span| &span.name).collect();
        assert!(Instant::now() < until, "{count} spans: {names:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_of_a_message_is_one_trace() {
    let Some(url) = url() else { return };
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let prefix = format!("traces-{}-{}.", std::process::id(), SystemClock.now());
    let config = Config::new()
        .set("backend.main.url", url)
        .set("backend.main.topic_prefix", prefix.clone())
        .set("backend.main.auto_create", true);
    let app = App::with_config(config)
        .tracer(Traces::new(&provider))
        .handler(bill)
        .handler(print);
    let running = app.start().await.unwrap();
    let handle = running.handle().clone();

    let request = provider.tracer("test").start("request");
    let context = opentelemetry::Context::new().with_span(request);
    let sent = handle
        .publisher("main")
        .unwrap()
        .publish("orders", Message::new("1").with_key("k"));
    opentelemetry::trace::FutureExt::with_context(sent, context.clone())
        .await
        .unwrap();
    context.span().end();
    let story = spans(&exporter, &prefix, 8).await;
    let names: Vec<_> = story.iter().map(|span| &*span.name).collect();
    let letter = story
        .iter()
        .position(|span| span.name == "send bills.printing.dlq");
    assert!(letter.is_some(), "{names:?}");

    handle.route("print").unwrap().replay().run().await.unwrap();
    let story = spans(&exporter, &prefix, 10).await;
    drop(handle);
    running.handle().drain();
    running.wait().await.unwrap();

    let trace = story[0].span_context.trace_id();
    let strangers = story
        .iter()
        .filter(|span| span.span_context.trace_id() != trace);
    assert_eq!(strangers.count(), 0, "{story:#?}");
    let the = |name: &str| {
        let of_name = |span: &&SpanData| span.name == name;
        let span = story.iter().find(of_name);
        span.unwrap_or_else(|| panic!("no `{name}`: {story:#?}"))
    };
    let id = |name: &str| the(name).span_context.span_id();
    // Each consumer is below its producer's span, and links to it.
    for (below, above) in [
        ("send orders", "request"),
        ("process orders", "send orders"),
        ("send bills", "process orders"),
        ("process bills", "send bills"),
        ("process bills.printing.retry.200ms", "send bills"),
        ("process bills.printing.replay", "send bills"),
    ] {
        assert_eq!(the(below).parent_span_id, id(above), "{below}");
    }
    let links: Vec<SpanId> = the("process bills")
        .links
        .iter()
        .map(|link| link.span_context.span_id())
        .collect();
    assert_eq!(links, [id("send bills")]);
}
