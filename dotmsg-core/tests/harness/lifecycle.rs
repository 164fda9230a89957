//! Starting, stopping, losing and gaining partitions while work is in flight.

use std::time::Duration;

use dotmsg_core::delivery::Delivery;
use dotmsg_core::testing::{Became, TestApp, TestBrokers, run};
use tokio::time::sleep;

use super::{Handled, app, bill};

async fn takes_five_seconds(_: Delivery) -> Handled {
    sleep(Duration::from_secs(5)).await;
    Ok(())
}

#[test]
fn shutdown_lets_running_handlers_end_and_starts_nothing_more() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let mut test = brokers.start(app(bill(), takes_five_seconds)).await;
        test.publish("orders", "x").key("a").id("a1").await;
        test.publish("orders", "x").key("a").id("a2").await;
        test.publish("orders", "x").key("b").id("b1").await;
        sleep(Duration::from_secs(1)).await;
        let report = test.shutdown().await;
        assert_eq!(report.routes[0].abandoned, 0);
        let mut test = brokers.start(app(bill(), takes_five_seconds)).await;
        test.run_until_idle().await;
        test.assert_calls("bill", 1);
        test.assert_became("bill", "a2", &[Became::Handled]);
        test.assert_settled("bill");
    });
}

#[test]
fn what_does_not_end_by_the_deadline_is_reported_and_comes_again() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let route = bill().with("drain_timeout", "1s");
        let mut test = brokers.start(app(route, takes_five_seconds)).await;
        test.publish("orders", "x").key("a").id("a1").await;
        sleep(Duration::from_secs(1)).await;
        let before = test.now();
        let brokers = test.brokers().clone();
        let report = test.shutdown().await;
        assert_eq!(report.routes[0].abandoned, 1);
        assert!(brokers.clock().now().since(before) < Duration::from_secs(2));
        let mut test = brokers.start(app(bill(), takes_five_seconds)).await;
        test.run_until_idle().await;
        test.assert_became("bill", "a1", &[Became::Handled]);
    });
}

#[test]
fn a_partition_taken_away_and_given_back_goes_on_where_it_was() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let mut test = brokers.start(app(bill(), takes_five_seconds)).await;
        for id in ["1", "2", "3"] {
            test.publish("orders", "x").key("a").id(id).await;
        }
        sleep(Duration::from_secs(6)).await;
        let broker = brokers.broker("main");
        assert!(broker.lose("billing", "orders", &[0]));
        sleep(Duration::from_secs(1)).await;
        assert!(broker.reassign("billing", "orders", &[0]));
        test.run_until_idle().await;
        test.assert_became("bill", "1", &[Became::Handled]);
        test.assert_became("bill", "2", &[Became::Handled]);
        test.assert_became("bill", "3", &[Became::Handled]);
        test.assert_calls("bill", 4);
        test.assert_settled("bill");
    });
}

#[test]
fn positions_that_expired_stop_the_route_unless_it_may_begin_again() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let brokers = brokers.position_retention(Duration::from_secs(60));
        let instant = |_: Delivery| async { Ok(()) as Handled };
        let mut test = brokers.start(app(bill(), instant)).await;
        test.publish("orders", "x").key("a").id("a1").await;
        test.run_until_idle().await;
        test.shutdown().await;
        sleep(Duration::from_secs(61)).await;
        let mut test = brokers.start(app(bill(), instant)).await;
        let error = test.failure().await.to_string();
        assert!(error.contains("on_missing_position"), "{error}");
        assert!(error.contains("longer than position_retention"), "{error}");
        let again = bill().with("on_missing_position", "earliest");
        let mut test = brokers.start(app(again, instant)).await;
        test.run_until_idle().await;
        test.assert_became("bill", "a1", &[Became::Handled]);
        test.shutdown().await;
        // It has a position again, and needs no permission.
        let mut test = brokers.start(app(bill(), instant)).await;
        test.run_until_idle().await;
        test.assert_calls("bill", 0);
    });
}

#[test]
fn a_new_group_that_starts_at_the_end_skips_what_was_there() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let instant = |_: Delivery| async { Ok(()) as Handled };
        let mut first = brokers.start(app(bill(), instant)).await;
        first.publish("orders", "x").id("old").await;
        first.run_until_idle().await;
        first.shutdown().await;
        let route = bill().with("start", "latest");
        let route = route_of_another_group(route);
        let mut test = brokers.start(app(route, instant)).await;
        test.run_until_idle().await;
        test.publish("orders", "x").id("new").await;
        test.run_until_idle().await;
        test.assert_calls("bill", 1);
        test.assert_became("bill", "new", &[Became::Handled]);
    });
}

fn route_of_another_group(
    mut route: dotmsg_core::config::RouteDefaults,
) -> dotmsg_core::config::RouteDefaults {
    route.entries.retain(|(key, _)| *key != "group");
    route.with("group", "audit")
}

#[test]
#[should_panic(expected = "what happened:")]
fn a_failed_assertion_says_what_did_happen() {
    run(async {
        let instant = |_: Delivery| async { Ok(()) as Handled };
        let mut test = TestApp::start(app(bill(), instant)).await;
        test.publish("orders", "x").id("o-1").await;
        test.run_until_idle().await;
        test.assert_became("bill", "o-1", &[Became::DeadLettered]);
    });
}

#[test]
#[should_panic(expected = "never idle")]
fn a_handler_that_never_ends_fails_the_test_instead_of_hanging_it() {
    run(async {
        let stuck = |_: Delivery| std::future::pending::<Handled>();
        let mut test = TestApp::start(app(bill(), stuck)).await;
        test.publish("orders", "x").await;
        test.run_until_idle().await;
    });
}

#[tokio::test]
async fn the_harness_pauses_the_time_of_a_plain_tokio_test() {
    let mut test = TestApp::start(app(bill(), takes_five_seconds)).await;
    test.publish("orders", "x").await;
    test.run_until_idle().await;
    test.assert_calls("bill", 1);
}
