//! What is not sampled is not traced, and costs no allocation; what cannot be read does no harm.

use std::sync::Arc;

use dotmsg::clock::Timestamp;
use dotmsg::delivery::{Role, Stream};
use dotmsg::message::TraceParent;
use dotmsg::trace::{TracedRoute, Tracer as _};
use dotmsg::{Delivery, Outgoing, Publisher};

use super::*;

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(publisher: &Publisher, order: &[u8]) -> Result<Outgoing, dotmsg::Error> {
    publisher.publish("notes", Message::new("n")).await?;
    Ok(Outgoing::new("bills", order.to_vec()))
}

#[test]
fn a_message_that_is_not_sampled_has_no_spans_and_says_so_to_those_behind_it() {
    dotmsg::testing::run(async {
        let collector = Collector::new();
        let mut test = TestApp::start(collector.app().handler(bill)).await;
        test.publish("orders", &1)
            .header("traceparent", UNSAMPLED)
            .await;
        test.run_until_idle().await;
        assert_eq!(collector.names(), [""; 0]);
        let bills = test.published("bills");
        assert_eq!(bills[0].headers.get_str("traceparent"), Some(UNSAMPLED));
    });
}

#[test]
fn the_sampler_decides_on_messages_without_a_context() {
    dotmsg::testing::run(async {
        let collector = Collector::sampling(Sampler::AlwaysOff);
        let mut test = TestApp::start(collector.app().handler(bill)).await;
        arrive(&test, "orders", Message::new("1")).await;
        test.run_until_idle().await;
        assert_eq!((collector.names(), test.calls("bill")), (vec![], 1));

        let collector = Collector::new();
        let traces = collector.traces().roots(0.0);
        let app = App::<()>::with_config(Config::new())
            .tracer(traces)
            .handler(bill);
        let mut test = TestApp::start(app).await;
        arrive(&test, "orders", Message::new("1")).await;
        test.run_until_idle().await;
        assert_eq!(collector.names(), [""; 0]);
        test.publish("orders", &1)
            .header("traceparent", SAMPLED)
            .await;
        test.run_until_idle().await;
        assert_eq!(
            collector.names(),
            ["send notes", "process orders", "send bills"]
        );
    });
}

#[test]
fn hostile_contexts_are_ignored() {
    dotmsg::testing::run(async {
        let collector = Collector::new();
        let mut test = TestApp::start(collector.app().handler(bill)).await;
        let long = "a=".to_owned() + &"b".repeat(50_000);
        let hostile: [(&[u8], &[u8]); 5] = [
            (b"", b""),
            (b"\xff\xfe\0", b"\xff"),
            (&[b'0'; 60_000], b"a=b"),
            (
                b"00-00000000000000000000000000000000-b7ad6b7169203331-01",
                b"a=b",
            ),
            (SAMPLED.as_bytes(), long.as_bytes()),
        ];
        for (parent, state) in hostile {
            let order = Message::new("1");
            let order = order.with_header("traceparent", parent.to_vec());
            let order = order.with_header("tracestate", state.to_vec());
            arrive(&test, "orders", order).await;
        }
        test.run_until_idle().await;
        assert_eq!(test.calls("bill"), 5);
        assert!(test.dead_letters("bill").is_empty());
        for bill in test.published("bills") {
            let parent = bill.headers.get("traceparent").unwrap();
            assert!(TraceParent::parse(parent).is_some(), "{parent:?}");
            assert!(bill.headers.get("tracestate").is_none());
        }
    });
}

#[test]
fn to_ask_about_what_is_not_sampled_allocates_nothing() {
    let collector = Collector::new();
    let traces = collector.traces().roots(0.5);
    let route = traces.route(&TracedRoute::new("bill", "billing", "orders"));
    let none = collector.traces().roots(0.0);
    let none = none.route(&TracedRoute::new("bill", "billing", "orders"));
    let stream = Arc::new(Stream::new("orders".into(), 0, 1, Role::Source));
    let delivery = |message| Delivery::new(Arc::clone(&stream), 7, Timestamp(0), message);
    let unsampled = delivery(Message::new("1").with_header("traceparent", UNSAMPLED));
    let without = delivery(Message::new("1"));
    let counted = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            assert!(route.follow(&unsampled).is_none());
            assert!(none.follow(&without).is_none());
        }
    });
    assert_eq!(counted.count_total, 0);
    let sampled = delivery(Message::new("1").with_header("traceparent", SAMPLED));
    assert!(route.follow(&sampled).is_some());
}
