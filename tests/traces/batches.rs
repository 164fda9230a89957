//! A call with a batch is one span, with links to its messages.

use std::time::Duration;

use dotmsg::{Batch, Each, HandlerError, Json, Outgoing};

use super::*;

#[dotmsg::handler(topic = "orders", group = "billing", batch(size = 3, linger = "1s"), retry(tiers = ["5s"], attempts = 1))]
async fn bill(Batch(orders): Batch<Json<u32>>) -> Each<Result<Outgoing, HandlerError>> {
    tokio::task::yield_now().await;
    let one = |Json(order)| match order {
        0 => Err(HandlerError::transient("no rate").kind("no_rate")),
        order => Ok(Outgoing::new("bills", format!("{order}"))),
    };
    Each(orders.into_iter().map(one).collect())
}

/// A context of another producer for each number.
fn context(number: u64) -> String {
    format!("00-{:032x}-{:016x}-01", 0xa0 + number, 0xb0 + number)
}

#[test]
fn a_batch_is_a_span_that_links_to_its_messages() {
    dotmsg::testing::run(async {
        let collector = Collector::new();
        let mut test = TestApp::start(collector.app().handler(bill)).await;
        for number in 0..3 {
            let order = test.publish("orders", &number).key(number.to_string());
            let order = order.id(format!("order-{number}"));
            order.header("traceparent", context(number)).await;
        }
        test.run_until_idle().await;
        let call = collector.span("process orders");
        assert_eq!(shows(&call, "messaging.batch.message_count"), "3");
        let mut linked = links(&call);
        linked.sort_by_key(SpanId::to_string);
        assert_eq!(linked, [0xb0, 0xb1, 0xb2].map(SpanId::from));
        let first = &call.links[0].span_context;
        assert_eq!(
            call.parent_span_id,
            first.span_id(),
            "below the first of them"
        );
        assert_eq!(call.span_context.trace_id(), first.trace_id());
        assert_eq!(
            shows(&call, "error.type"),
            "no_rate",
            "of the one that failed"
        );
        let mut sends = collector.spans();
        sends.retain(|span| span.name.starts_with("send "));
        assert_eq!(sends.len(), 3, "two bills and a retry");
        assert!(sends.iter().all(|send| send.parent_span_id == id(&call)));

        // The one that failed goes on in its own trace.
        test.advance(Duration::from_secs(5)).await;
        test.advance(Duration::from_secs(5)).await;
        let again = collector.span("process orders.billing.retry.5s");
        assert_eq!(again.parent_span_id, SpanId::from(0xb0));
        assert_eq!(again.span_context.trace_id(), 0xa0.into());
        let ids = again
            .links
            .iter()
            .map(|link| attribute(&link.attributes, "messaging.message.id"));
        assert_eq!(ids.collect::<Vec<_>>(), ["order-0"]);
    });
}

#[test]
fn a_batch_without_contexts_begins_a_trace_and_one_that_is_not_sampled_does_not() {
    dotmsg::testing::run(async {
        let collector = Collector::new();
        let mut test = TestApp::start(collector.app().handler(bill)).await;
        test.publish("orders", &1)
            .header("traceparent", UNSAMPLED)
            .await;
        test.advance(Duration::from_secs(2)).await;
        assert_eq!(collector.names(), [""; 0]);
        for number in 1..3 {
            arrive(&test, "orders", Message::new(number.to_string())).await;
        }
        test.advance(Duration::from_secs(2)).await;
        let call = collector.span("process orders");
        assert_eq!(call.parent_span_id, SpanId::INVALID);
        assert_eq!(links(&call), []);
    });
}

#[test]
fn traces_of_their_own_begin_with_the_call_of_the_batch() {
    dotmsg::testing::run(async {
        let collector = Collector::new();
        let traces = collector.traces().own_traces();
        let app = App::<()>::with_config(Config::new())
            .tracer(traces)
            .handler(bill);
        let mut test = TestApp::start(app).await;
        for number in 0..2 {
            let order = test.publish("orders", &number).key(number.to_string());
            order.header("traceparent", context(number)).await;
        }
        test.advance(Duration::from_secs(2)).await;
        let call = collector.span("process orders");
        assert_eq!(
            (call.parent_span_id, links(&call).len()),
            (SpanId::INVALID, 2)
        );
        test.advance(Duration::from_secs(10)).await;
        let again = collector.span("process orders.billing.retry.5s");
        assert_eq!(again.parent_span_id, id(&call));
    });
}
