//! From producer to consumer, through a pipeline.

use dotmsg::message::Headers;
use dotmsg::{Outgoing, Publisher};
use opentelemetry::trace::{FutureExt, TraceContextExt, Tracer};

use super::*;

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(order: &[u8]) -> Outgoing {
    Outgoing::new("bills", order.to_vec()).key("k")
}

#[dotmsg::handler(topic = "bills", group = "printing")]
async fn print(publisher: Publisher, _: &[u8]) -> Result<(), dotmsg::Error> {
    publisher.publish("pages", Message::new("p")).await?;
    let more = vec![Message::new("p"), Message::new("q")];
    publisher.publish_all("pages", more).await;
    Ok(())
}

#[dotmsg::handler(topic = "pages", group = "archive")]
async fn keep(_: &[u8]) {}

#[test]
fn a_pipeline_is_one_trace_from_the_producer_on() {
    dotmsg::testing::run(async {
        let collector = Collector::new();
        let app = collector.app().handler(bill).handler(print).handler(keep);
        let mut test = TestApp::start(app).await;
        let request = collector.tracer().start("request");
        let current = Context::new().with_span(request);
        let publisher = test.handle().publisher("main").unwrap().clone();
        let order = Message::new("1").with_key("k").with_id("order-1");
        let sent = publisher
            .publish("orders", order)
            .with_context(current.clone());
        sent.await.unwrap();
        current.span().end();
        test.run_until_idle().await;

        let spans = collector.spans();
        one_trace(&spans);
        let [request, send, process] =
            ["request", "send orders", "process orders"].map(|name| collector.span(name));
        assert_eq!(send.parent_span_id, id(&request));
        assert_eq!(process.parent_span_id, id(&send));
        assert!(process.parent_span_is_remote);
        assert_eq!(links(&process), [id(&send)]);
        assert_eq!(
            (send.span_kind, process.span_kind.clone()),
            (SpanKind::Producer, SpanKind::Consumer)
        );
        let [send, print] = ["send bills", "process bills"].map(|name| collector.span(name));
        assert_eq!(send.parent_span_id, id(&process));
        assert_eq!(print.parent_span_id, id(&send));
        let pages: Vec<_> = spans
            .iter()
            .filter(|span| span.name == "send pages")
            .collect();
        assert_eq!(pages.len(), 2, "one for each call");
        assert!(pages.iter().all(|send| send.parent_span_id == id(&print)));
        assert_eq!(shows(pages[1], "messaging.batch.message_count"), "2");
        let kept: Vec<_> = spans
            .iter()
            .filter(|span| span.name == "process pages")
            .collect();
        let parents: Vec<_> = kept.iter().map(|span| span.parent_span_id).collect();
        assert_eq!(parents.len(), 3);
        assert!(pages.iter().all(|send| parents.contains(&id(send))));
    });
}

#[test]
fn attributes_are_those_of_the_conventions() {
    dotmsg::testing::run(async {
        let collector = Collector::new();
        let mut test = TestApp::start(collector.app().handler(bill)).await;
        test.publish("orders", &1)
            .key("k")
            .id("order-1")
            .header("traceparent", SAMPLED)
            .await;
        test.run_until_idle().await;
        let process = collector.span("process orders");
        for (key, value) in [
            ("messaging.system", "dotmsg"),
            ("messaging.operation.type", "process"),
            ("messaging.operation.name", "process"),
            ("messaging.destination.name", "orders"),
            ("messaging.consumer.group.name", "billing"),
            ("messaging.message.id", "order-1"),
            ("dotmsg.offset", "0"),
            ("dotmsg.handler", "bill"),
            ("dotmsg.attempt", "1"),
            ("error.type", ""),
        ] {
            assert_eq!(shows(&process, key), value, "{key}");
        }
        let partition = shows(&process, "messaging.destination.partition.id");
        assert!(partition.parse::<u32>().is_ok(), "{partition}");
        let send = collector.span("send bills");
        for (key, value) in [
            ("messaging.operation.type", "send"),
            ("messaging.destination.name", "bills"),
            ("messaging.message.id", "order-1:bill:0"),
        ] {
            assert_eq!(shows(&send, key), value, "{key}");
        }
        let scope = &process.instrumentation_scope;
        assert_eq!(scope.name(), "dotmsg");
        assert!(scope.schema_url().unwrap().ends_with("/1.42.0"));
    });
}

#[dotmsg::handler(topic = "own", group = "billing")]
async fn with_its_own() -> Outgoing {
    let own = "00-11111111111111111111111111111111-2222222222222222-01";
    Outgoing::new("bills", "1").header("traceparent", own)
}

#[test]
fn a_context_that_a_handler_gives_its_message_stays_and_is_linked_to() {
    dotmsg::testing::run(async {
        let collector = Collector::new();
        let app = collector.app().handler(with_its_own).handler(print);
        let mut test = TestApp::start(app).await;
        test.publish("own", &1).header("traceparent", SAMPLED).await;
        test.run_until_idle().await;
        let own = SpanId::from(0x2222_2222_2222_2222);
        assert_eq!(links(&collector.span("send bills")), [own]);
        assert_eq!(collector.span("process bills").parent_span_id, own);
        let bills = test.published("bills");
        let contexts = bills[0]
            .headers
            .iter()
            .filter(|(name, _)| *name == "traceparent");
        assert_eq!(contexts.count(), 1);
    });
}

#[dotmsg::handler(topic = "orders", group = "reading")]
async fn read(headers: &Headers) -> [Outgoing; 2] {
    assert!(headers.get_str("traceparent").is_some());
    let own = Outgoing::new("bills", "2").header("traceparent", "whatever it likes");
    [Outgoing::new("bills", "1"), own]
}

#[test]
fn without_a_tracer_a_context_is_passed_on() {
    dotmsg::testing::run(async {
        let app = App::<()>::with_config(Config::new()).handler(read);
        let mut test = TestApp::start(app).await;
        let order = test.publish("orders", &1).header("traceparent", SAMPLED);
        order.header("tracestate", "vendor=opaque").await;
        test.run_until_idle().await;
        let bills = test.published("bills");
        let context = |message: &Message| {
            ["traceparent", "tracestate"]
                .map(|name| message.headers.get_str(name).map(str::to_owned))
        };
        let contexts: Vec<_> = bills.iter().map(context).collect();
        let passed_on = [SAMPLED, "vendor=opaque"].map(|text| Some(text.to_owned()));
        assert!(contexts.contains(&passed_on), "{contexts:?}");
        assert!(
            contexts.contains(&[Some("whatever it likes".to_owned()), None]),
            "{contexts:?}"
        );
    });
}

#[test]
fn what_tracing_systems_add_travels_with_the_trace() {
    dotmsg::testing::run(async {
        let collector = Collector::new();
        let mut test = TestApp::start(collector.app().handler(bill)).await;
        let order = test.publish("orders", &1).header("traceparent", SAMPLED);
        order.header("tracestate", "vendor=opaque").await;
        test.run_until_idle().await;
        let state = |context: &SpanContext| context.trace_state().header();
        assert_eq!(
            state(&collector.span("process orders").span_context),
            "vendor=opaque"
        );
        let bills = test.published("bills");
        assert_eq!(
            bills[0].headers.get_str("tracestate"),
            Some("vendor=opaque")
        );
    });
}
