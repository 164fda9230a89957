//! The attempts of one message, its dead letter and its replay are one trace.

use std::time::Duration;

use dotmsg::handler::Attempt;
use dotmsg::message::TraceParent;
use dotmsg::{HandlerError, Settlement};

use super::*;

#[dotmsg::handler(topic = "orders", group = "billing", retry(tiers = ["5s", "1m"], attempts = 1))]
async fn bill() -> Result<(), HandlerError> {
    tokio::task::yield_now().await;
    Err(HandlerError::transient("no rate yet").kind("no_rate"))
}

/// The names, parents and links of what becomes of a message that fails over two tiers.
async fn fails(collector: &Collector, app: App, header: Option<&str>) -> (Vec<SpanData>, TestApp) {
    let mut test = TestApp::start(app).await;
    let order = Message::new("1").with_key("k").with_id("order-1");
    match header {
        Some(header) => {
            arrive(
                &test,
                "orders",
                order.with_header("traceparent", header.to_owned()),
            )
            .await
        }
        None => arrive(&test, "orders", order).await,
    };
    test.run_until_idle().await;
    test.advance(Duration::from_secs(5)).await;
    test.advance(Duration::from_secs(60)).await;
    let spans = collector.spans();
    let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
    assert_eq!(
        names,
        [
            "process orders",
            "send orders.billing.retry.5s",
            "process orders.billing.retry.5s",
            "send orders.billing.retry.1m",
            "process orders.billing.retry.1m",
            "send orders.billing.dlq",
        ]
    );
    one_trace(&spans);
    (spans, test)
}

#[test]
fn three_attempts_over_two_tiers_and_the_dead_letter_are_in_the_trace_of_the_producer() {
    dotmsg::testing::run(async {
        let collector = Collector::new();
        let app = collector.app().handler(bill);
        let (spans, mut test) = fails(&collector, app, Some(SAMPLED)).await;
        let producer = TraceParent::parse(SAMPLED.as_bytes()).unwrap();
        assert_eq!(spans[0].span_context.trace_id(), producer.trace_id.into());
        let span = SpanId::from(producer.span_id);
        let attempts: Vec<_> = spans.iter().step_by(2).collect();
        for (number, attempt) in (1..).zip(&attempts) {
            assert_eq!(attempt.parent_span_id, span);
            assert_eq!(links(attempt), [span]);
            assert_eq!(shows(attempt, "dotmsg.attempt"), number.to_string());
            assert_eq!(shows(attempt, "error.type"), "no_rate");
            assert_eq!(attempt.status, Status::error("no rate yet"));
        }
        let tiers = attempts.iter().map(|attempt| shows(attempt, "dotmsg.tier"));
        assert_eq!(tiers.collect::<Vec<_>>(), ["", "5s", "60s"]);
        assert!(shows(attempts[2], "dotmsg.origin").starts_with("orders/"));
        for (send, attempt) in spans.iter().skip(1).step_by(2).zip(attempts) {
            assert_eq!(send.parent_span_id, id(attempt));
            assert_eq!(shows(send, "error.type"), "no_rate");
            assert!(!failed(send), "it arrived");
        }
        let letter = &test.dead_letters("bill")[0];
        assert_eq!(letter.message.headers.get_str("traceparent"), Some(SAMPLED));

        test.replay("bill").await;
        let replayed = collector.span("process orders.billing.replay");
        assert_eq!(replayed.parent_span_id, span);
        assert_eq!(shows(&replayed, "dotmsg.replays"), "1");
        assert_eq!(shows(&replayed, "dotmsg.attempt"), "1");
    });
}

#[test]
fn a_message_without_a_context_is_one_trace_too() {
    dotmsg::testing::run(async {
        let collector = Collector::new();
        let app = collector.app().handler(bill);
        let (spans, mut test) = fails(&collector, app, None).await;
        let first = id(&spans[0]);
        assert_eq!(spans[0].parent_span_id, SpanId::INVALID);
        assert_eq!(spans[2].parent_span_id, first);
        assert_eq!(spans[4].parent_span_id, first);
        let letter = &test.dead_letters("bill")[0];
        assert!(
            letter.message.headers.get("traceparent").is_none(),
            "the producer's headers stay"
        );
        test.replay("bill").await;
        let replayed = collector.span("process orders.billing.replay");
        assert_eq!(replayed.parent_span_id, first);
    });
}

#[test]
fn traces_of_their_own_link_to_the_producer() {
    dotmsg::testing::run(async {
        let collector = Collector::new();
        let traces = collector.traces().own_traces();
        let app = App::with_config(Config::new()).tracer(traces).handler(bill);
        let (spans, _) = fails(&collector, app, Some(SAMPLED)).await;
        let producer = TraceParent::parse(SAMPLED.as_bytes()).unwrap();
        assert_ne!(spans[0].span_context.trace_id(), producer.trace_id.into());
        assert_eq!(spans[0].parent_span_id, SpanId::INVALID);
        for attempt in spans.iter().step_by(2) {
            assert_eq!(links(attempt), [SpanId::from(producer.span_id)]);
        }
        assert_eq!(spans[4].parent_span_id, id(&spans[0]));
    });
}

#[dotmsg::handler(topic = "orders", group = "in-place", retry(attempts = 3))]
async fn in_place(attempt: Attempt) -> Result<Settlement, HandlerError> {
    match attempt.0 {
        1 => Err(HandlerError::transient("not yet")),
        2 => panic!("not now"),
        _ => Ok(Settlement::DeadLetter {
            kind: "no_air_time".into(),
            reason: "NA".into(),
        }),
    }
}

#[test]
fn attempts_in_place_are_spans_and_end_as_they_ended() {
    dotmsg::testing::run(async {
        let collector = Collector::new();
        let mut test = TestApp::start(collector.app().handler(in_place)).await;
        arrive(&test, "orders", Message::new("1")).await;
        test.run_until_idle().await;
        let spans = collector.spans();
        one_trace(&spans);
        let seen: Vec<_> = spans
            .iter()
            .map(|span| (&*span.name, shows(span, "error.type"), failed(span)))
            .collect();
        let process = "process orders";
        assert_eq!(
            seen,
            [
                (process, "handler".to_owned(), true),
                (process, "panic".to_owned(), true),
                (process, "no_air_time".to_owned(), true),
                ("send orders.in-place.dlq", "no_air_time".to_owned(), false),
            ]
        );
    });
}

#[dotmsg::handler(topic = "orders", group = "slow", timeout = "1s", retry(attempts = 1))]
async fn never() {
    std::future::pending().await
}

#[test]
fn a_call_that_takes_too_long_and_one_that_is_cut_off_end_their_spans() {
    dotmsg::testing::run(async {
        let collector = Collector::new();
        let mut test = TestApp::start(collector.app().handler(never)).await;
        test.publish("orders", &1).key("k").await;
        test.run_until_idle().await;
        assert_eq!(
            shows(&collector.span("process orders"), "error.type"),
            "timeout"
        );
        collector.exporter.reset();
        test.publish("orders", &2).key("k").await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        test.crash().await;
        let cut_off = collector.span("process orders");
        assert_eq!(shows(&cut_off, "dotmsg.outcome"), "interrupted");
    });
}
