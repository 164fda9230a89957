//! Who waits for whom: keys behind an away head, `relax`, `ordering = "none"` and `"partition"`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use dotmsg_core::delivery::Delivery;
use dotmsg_core::testing::{Became, TestApp, TestBrokers, What, run};

use super::{Handled, app, bill, transient};

const AWAY: Became = Became::Away(Duration::from_secs(5));

/// Fails messages whose payload is `"fail"` on their first attempt.
async fn fails_once(delivery: Delivery) -> Handled {
    let fails = delivery
        .payload()
        .is_some_and(|payload| payload[..] == *b"\"fail\"");
    if fails && delivery.attempt() == 1 {
        return Err(transient("later"));
    }
    Ok(())
}

/// Ids in the order in which they were handled.
fn handled(test: &TestApp) -> Vec<String> {
    let handled = What::Became(Became::Handled);
    let history = test.history("bill").into_iter();
    history
        .filter(|entry| entry.what == handled)
        .map(|entry| entry.id)
        .collect()
}

async fn three_of_one_key_and_one_of_another(test: &mut TestApp) {
    test.publish("orders", "fail").key("a").id("a1").await;
    test.publish("orders", "ok").key("a").id("a2").await;
    test.publish("orders", "ok").key("a").id("a3").await;
    test.publish("orders", "ok").key("b").id("b1").await;
    test.run_until_idle().await;
}

#[test]
fn a_key_waits_behind_its_away_head_and_other_keys_do_not() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let route = bill().with("retry.tiers", ["5s"]);
        let mut test = brokers.start(app(route, fails_once)).await;
        three_of_one_key_and_one_of_another(&mut test).await;
        assert_eq!(handled(&test), ["b1"]);
        assert_eq!(test.route("bill").stats.parked(), 2);
        test.publish("orders", "ok").key("a").id("a4").await;
        test.advance(Duration::from_secs(5)).await;
        assert_eq!(handled(&test), ["b1", "a1", "a2", "a3", "a4"]);
        test.assert_became("bill", "a1", &[AWAY, Became::Handled]);
        test.assert_settled("bill");
    });
}

#[test]
fn relax_retries_only_the_failing_message() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let route = bill()
            .with("retry.tiers", ["5s"])
            .with("retry.order", "relax");
        let mut test = brokers.start(app(route, fails_once)).await;
        three_of_one_key_and_one_of_another(&mut test).await;
        assert_eq!(handled(&test), ["a2", "a3", "b1"]);
        test.advance(Duration::from_secs(5)).await;
        assert_eq!(handled(&test), ["a2", "a3", "b1", "a1"]);
        test.assert_settled("bill");
    });
}

#[test]
fn without_ordering_nothing_waits_for_anything() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let route = bill().with("ordering", "none").with("retry.tiers", ["5s"]);
        let running = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let counters = (Arc::clone(&running), Arc::clone(&most));
        let handler = move |delivery: Delivery| {
            let (running, most) = counters.clone();
            async move {
                let now = running.fetch_add(1, Ordering::Relaxed) + 1;
                most.fetch_max(now, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(1)).await;
                running.fetch_sub(1, Ordering::Relaxed);
                fails_once(delivery).await
            }
        };
        let mut test = brokers.start(app(route, handler)).await;
        three_of_one_key_and_one_of_another(&mut test).await;
        assert_eq!(most.load(Ordering::Relaxed), 4);
        test.advance(Duration::from_secs(6)).await;
        assert_eq!(handled(&test).last().map(String::as_str), Some("a1"));
        test.assert_settled("bill");
    });
}

#[test]
fn under_partition_order_everything_waits_and_retries_are_in_place() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let route = bill().with("ordering", "partition");
        let mut test = brokers.start(app(route, fails_once)).await;
        three_of_one_key_and_one_of_another(&mut test).await;
        assert_eq!(handled(&test), ["a1", "a2", "a3", "b1"]);
        test.assert_calls("bill", 5);
        test.assert_settled("bill");
    });
}

#[test]
fn a_dead_letter_releases_its_key_and_its_replay_joins_behind_who_is_away() {
    run(async {
        let fixed = Arc::new(AtomicBool::new(false));
        let switch = Arc::clone(&fixed);
        let handler = move |delivery: Delivery| {
            let fixed = switch.load(Ordering::Relaxed);
            async move {
                let fails = delivery
                    .payload()
                    .is_some_and(|text| text[..] == *b"\"fail\"");
                if fails && !fixed {
                    Err(transient("later"))
                } else {
                    Ok(())
                }
            }
        };
        let brokers = TestBrokers::new().partitions(1);
        let route = bill().with("retry.tiers", ["5s"]);
        let mut test = brokers.start(app(route, handler)).await;
        test.publish("orders", "fail").key("a").id("a1").await;
        test.publish("orders", "fail").key("a").id("a2").await;
        test.publish("orders", "ok").key("a").id("a3").await;
        test.advance(Duration::from_secs(5)).await;
        test.assert_became("bill", "a1", &[AWAY, Became::DeadLettered]);
        // a2 is the head now and away; the replay of a1 is behind it, and behind a3.
        test.assert_became("bill", "a2", &[AWAY]);
        fixed.store(true, Ordering::Relaxed);
        assert_eq!(test.replay("bill").await.replayed, 1);
        assert_eq!(handled(&test), Vec::<String>::new());
        test.advance(Duration::from_secs(5)).await;
        assert_eq!(handled(&test), ["a2", "a3", "a1"]);
        test.assert_settled("bill");
    });
}

#[test]
fn at_the_cap_of_parked_messages_nothing_is_dropped_or_reordered() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let route = bill()
            .with("retry.tiers", ["5s"])
            .with("batch_messages", 2)
            .with("park.max_held_messages", 3);
        let mut test = brokers.start(app(route, fails_once)).await;
        test.publish("orders", "fail").key("a").id("0").await;
        let ids: Vec<String> = (0..20).map(|id| id.to_string()).collect();
        for id in &ids[1..] {
            test.publish("orders", "ok").key("a").id(id.clone()).await;
        }
        test.run_until_idle().await;
        let stats = &test.route("bill").stats;
        assert!(
            (3..=5).contains(&stats.parked()),
            "{} parked",
            stats.parked()
        );
        assert_eq!(stats.paused(), 1);
        test.advance(Duration::from_secs(5)).await;
        assert_eq!(handled(&test), ids);
        test.assert_settled("bill");
    });
}

#[test]
fn replays_parked_behind_an_away_head_do_not_keep_it_from_coming_back() {
    run(async {
        // More than the retries a partition may have in hand.
        const LETTERS: usize = 300;
        let fixed = Arc::new(AtomicBool::new(false));
        let switch = Arc::clone(&fixed);
        let handler = move |delivery: Delivery| {
            let fixed = switch.load(Ordering::Relaxed);
            async move {
                let fails = delivery
                    .payload()
                    .is_some_and(|text| text[..] == *b"\"fail\"");
                match (fixed, fails) {
                    (true, _) => Ok(()),
                    (false, true) => Err(transient("later")),
                    (false, false) => Err(super::permanent("never")),
                }
            }
        };
        let brokers = TestBrokers::new().partitions(1);
        let route = bill().with("retry.tiers", ["5s"]);
        let mut test = brokers.start(app(route, handler)).await;
        for _ in 0..LETTERS {
            test.publish("orders", "ok").key("a").await;
        }
        test.publish("orders", "fail").key("a").id("head").await;
        test.run_until_idle().await;
        fixed.store(true, Ordering::Relaxed);
        test.replay("bill").await;
        assert_eq!(
            handled(&test),
            Vec::<String>::new(),
            "all wait behind the head"
        );
        test.advance(Duration::from_secs(5)).await;
        let handled = handled(&test);
        assert_eq!(handled.first().map(String::as_str), Some("head"));
        assert_eq!(handled.len(), LETTERS + 1);
    });
}
