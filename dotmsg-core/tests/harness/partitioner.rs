//! A partitioner of the app's own: what goes by it, what never does, and what is refused.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dotmsg_core::app::App;
use dotmsg_core::backend::{
    Admin, Backend, BoxFuture, Capability, Membership, Partitioner, Publisher, Reader, Subscription,
};
use dotmsg_core::delivery::Delivery;
use dotmsg_core::error::{ErrorKind, Result};
use dotmsg_core::handler::{HandlerError, Outgoing};
use dotmsg_core::log::{LogBroker, LogOptions};
use dotmsg_core::testing::{Became, TestApp, TestBrokers, run};

use super::{app, bill, permanent, transient};

/// A key `p3` goes to partition 3; it notes by which topics it is asked.
#[derive(Clone, Debug, Default)]
struct ByNumber(Arc<Mutex<Vec<String>>>);

impl ByNumber {
    fn asked(&self) -> Vec<String> {
        let mut asked = self.0.lock().unwrap().clone();
        asked.sort();
        asked.dedup();
        asked
    }
}

impl Partitioner for ByNumber {
    fn partition(&self, topic: &str, key: &[u8], _: u32) -> u32 {
        self.0.lock().unwrap().push(topic.to_owned());
        match key {
            [b'p', digit] => u32::from(digit - b'0'),
            _ => panic!("no number"),
        }
    }
}

async fn returns_a_bill(delivery: Delivery) -> Result<Outgoing, HandlerError> {
    let key = delivery.key().cloned().unwrap_or_default();
    Ok(Outgoing::json("bills", "paid")?.key(key))
}

/// The partitions in which a topic has records, by the broker's name for it.
fn partitions(test: &TestApp, topic: &str) -> Vec<u32> {
    let records = test.brokers().records("main", topic);
    records
        .into_iter()
        .map(|(partition, _)| partition)
        .collect()
}

#[test]
fn what_an_app_publishes_and_what_its_handlers_return_goes_by_it() {
    run(async {
        let by_number = ByNumber::default();
        let app = app(bill(), returns_a_bill)
            .partitioner("main", by_number.clone())
            .configure(|config| config.set("backend.main.topic_prefix", "test."));
        let mut test = TestApp::start(app).await;
        test.publish("orders", "a").key("p7").await;
        test.publish("orders", "b").key("p2").await;
        test.run_until_idle().await;
        assert_eq!(partitions(&test, "test.orders"), [2, 7]);
        assert_eq!(partitions(&test, "test.bills"), [2, 7]);
        assert_eq!(
            by_number.asked(),
            ["bills", "orders"],
            "by the names that handlers use"
        );
    });
}

/// Rule R2: a retry, a dead letter and a replay have the number of their source partition.
#[test]
fn a_groups_own_topics_are_never_partitioned_by_key() {
    run(async {
        let by_number = ByNumber::default();
        let brokers = TestBrokers::new();
        let route = bill().with("retry.tiers", ["5s"]);
        let fails = |delivery: Delivery| async move {
            match (
                delivery.attempt(),
                delivery.lineage().map_or(0, |lineage| lineage.replays),
            ) {
                (1, 0) => Err(transient("later")),
                (_, 0) => Err(permanent("never")),
                _ => Ok(()),
            }
        };
        let app = app(route, fails).partitioner("main", by_number.clone());
        let mut test = brokers.start(app).await;
        test.publish("orders", "a").key("p7").id("a").await;
        test.run_until_idle().await;
        test.advance(Duration::from_secs(5)).await;
        let replayed = test.route("bill").replay().run().await;
        assert_eq!(replayed.expect("a replay").replayed, 1);
        test.run_until_idle().await;
        test.assert_settled("bill");
        assert_eq!(test.became("bill", "a").last(), Some(&Became::Handled));
        for own in ["retry.5s", "dlq", "replay"] {
            assert_eq!(
                partitions(&test, &format!("orders.billing.{own}")),
                [7],
                "{own}"
            );
        }
        assert_eq!(by_number.asked(), ["orders"]);
    });
}

#[test]
fn a_returned_message_without_an_answer_is_a_dead_letter_of_its_parent() {
    run(async {
        let wrong = |_: Delivery| async {
            Ok::<_, HandlerError>(Outgoing::json("bills", "x")?.key("none"))
        };
        let app = app(bill(), wrong).partitioner("main", ByNumber::default());
        let mut test = TestApp::start(app).await;
        test.publish("orders", "a").key("p7").id("a").await;
        test.run_until_idle().await;
        let letters = test.dead_letters("bill");
        assert_eq!(letters.len(), 1);
        assert!(
            letters[0].reason.contains("partitioner panicked"),
            "{:?}",
            letters[0]
        );
        assert!(partitions(&test, "bills").is_empty());
        test.assert_settled("bill");
    });
}

#[test]
fn a_partitioner_of_a_backend_that_there_is_not_is_refused() {
    run(async {
        let app = app(bill(), returns_a_bill).partitioner("mian", ByNumber::default());
        let error = TestBrokers::new().try_start(app).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(
            text.contains("mian") && text.contains("names main"),
            "{text}"
        );
    });
}

/// The log, and nothing that came after the first backends.
#[derive(Debug)]
struct Plain(LogBroker);

impl Backend for Plain {
    fn capability(&self) -> Capability {
        self.0.capability()
    }
    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        self.0.subscribe(subscription)
    }
    fn publisher(&self) -> Arc<dyn Publisher> {
        self.0.publisher()
    }
    fn reader(&self) -> BoxFuture<'_, Result<Box<dyn Reader>>> {
        self.0.reader()
    }
    fn admin(&self) -> Arc<dyn Admin> {
        self.0.admin()
    }
    fn close(&self) -> BoxFuture<'_, Result<()>> {
        self.0.close()
    }
}

#[tokio::test]
async fn a_backend_that_honours_none_is_refused_at_the_start() {
    let plain = Arc::new(Plain(LogBroker::memory(LogOptions::default())));
    let app: App = app(bill(), returns_a_bill)
        .backend("main", plain)
        .partitioner("main", ByNumber::default());
    let error = app.start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let text = error.to_string();
    assert!(
        text.contains("backend main") && text.contains("App::partitioner"),
        "{text}"
    );
}
