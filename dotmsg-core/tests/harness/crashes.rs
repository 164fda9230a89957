//! Crashes: panics and timeouts of the handler, deaths of the process, and a message that causes them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dotmsg_core::config::RouteDefaults;
use dotmsg_core::delivery::Delivery;
use dotmsg_core::testing::{Became, TestApp, TestBrokers, run};
use tokio::time::sleep;

use super::{Handled, app, bill, transient};

fn is_poison(delivery: &Delivery) -> bool {
    delivery
        .payload()
        .is_some_and(|payload| payload[..] == *b"\"poison\"")
}

/// Handles what is not poison; a killed process is a handler that never comes back, and then a crash.
async fn dies_of_poison(delivery: Delivery) -> Handled {
    if is_poison(&delivery) {
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// Route `bill`: after two unclean takeovers one message runs at a time, and two that find it noted condemn it.
fn quick_to_blame() -> RouteDefaults {
    bill()
        .with("crash_loop.takeovers", 2)
        .with("crash_loop.confirmations", 2)
}

#[test]
fn a_panic_is_an_error_of_its_message_alone() {
    run(async {
        let handler = |delivery: Delivery| async move {
            assert!(!is_poison(&delivery), "cannot bill this");
            Ok(()) as Handled
        };
        let mut test = TestApp::start(app(bill().with("retry.attempts", 2), handler)).await;
        test.publish("orders", "poison").key("k").id("bad").await;
        test.publish("orders", "ok").key("k").id("good").await;
        test.run_until_idle().await;
        test.assert_calls("bill", 3);
        let letters = test.assert_dead_letters("bill", &["panic"]);
        assert!(
            letters[0].reason.contains("cannot bill this"),
            "{}",
            letters[0]
        );
        test.assert_became("bill", "good", &[Became::Handled]);
        test.assert_settled("bill");
    });
}

#[test]
fn a_call_beyond_its_time_limit_is_dropped_and_tried_again() {
    run(async {
        let route = bill().with("timeout", "2s").with("retry.tiers", ["5s"]);
        let mut test = TestApp::start(app(route, dies_of_poison)).await;
        test.publish("orders", "poison").key("k").id("bad").await;
        test.publish("orders", "ok").key("k").id("good").await;
        test.run_until_idle().await;
        let away = Became::Away(Duration::from_secs(5));
        test.assert_became("bill", "bad", &[away]);
        test.advance(Duration::from_secs(7)).await;
        test.assert_became("bill", "bad", &[away, Became::DeadLettered]);
        test.assert_dead_letters("bill", &["timeout"]);
        test.assert_became("bill", "good", &[Became::Handled]);
    });
}

#[test]
fn what_was_in_flight_at_a_crash_comes_again_and_what_was_committed_does_not() {
    run(async {
        let brokers = TestBrokers::new().partitions(2);
        let stuck = |delivery: Delivery| async move {
            if is_poison(&delivery) {
                std::future::pending::<()>().await;
            }
            Ok(()) as Handled
        };
        let mut test = brokers.start(app(bill(), stuck)).await;
        test.publish("orders", "ok").key("a").id("a1").await;
        test.publish("orders", "poison").key("a").id("a2").await;
        test.publish("orders", "ok").key("a").id("a3").await;
        test.publish("orders", "ok").key("b").id("b1").await;
        sleep(Duration::from_secs(1)).await;
        test.assert_calls("bill", 3);
        test.crash().await;
        let well = |_: Delivery| async { Ok(()) as Handled };
        let mut test = brokers.start(app(bill(), well)).await;
        test.run_until_idle().await;
        test.assert_calls("bill", 2);
        test.assert_became("bill", "a2", &[Became::Handled]);
        test.assert_became("bill", "a3", &[Became::Handled]);
        test.assert_settled("bill");
    });
}

#[test]
fn at_most_once_never_repeats_what_a_crash_interrupted() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let route = || bill().with("delivery", "at_most_once");
        let stuck = |_: Delivery| std::future::pending::<Handled>();
        let mut test = brokers.start(app(route(), stuck)).await;
        test.publish("orders", "ok").key("a").id("lost").await;
        sleep(Duration::from_secs(1)).await;
        test.assert_calls("bill", 1);
        test.crash().await;
        let well = |_: Delivery| async { Ok(()) as Handled };
        let mut test = brokers.start(app(route(), well)).await;
        test.publish("orders", "ok").key("a").id("next").await;
        test.run_until_idle().await;
        test.assert_calls("bill", 1);
        test.assert_became("bill", "next", &[Became::Handled]);
        test.assert_settled("bill");
    });
}

#[test]
fn away_heads_and_who_waits_behind_them_survive_a_crash() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let fixed = Arc::new(AtomicBool::new(false));
        let handler = || {
            let switch = Arc::clone(&fixed);
            move |_: Delivery| {
                let fixed = switch.load(Ordering::Relaxed);
                async move {
                    if fixed {
                        Ok(())
                    } else {
                        Err(transient("later"))
                    }
                }
            }
        };
        let route = || bill().with("retry.tiers", ["5s", "1m"]);
        let mut test = brokers.start(app(route(), handler())).await;
        for id in ["1", "2", "3"] {
            test.publish("orders", "x").key("a").id(id).await;
        }
        test.run_until_idle().await;
        test.crash().await;
        let mut test = brokers.start(app(route(), handler())).await;
        test.run_until_idle().await;
        test.assert_calls("bill", 0);
        test.advance(Duration::from_secs(5)).await;
        test.assert_became("bill", "1", &[Became::Away(Duration::from_secs(60))]);
        test.crash().await;
        fixed.store(true, Ordering::Relaxed);
        let mut test = brokers.start(app(route(), handler())).await;
        test.advance(Duration::from_secs(61)).await;
        let order: Vec<String> = test
            .history("bill")
            .into_iter()
            .map(|entry| entry.id)
            .collect();
        assert_eq!(order, ["1", "1", "2", "2", "3", "3"]);
        test.assert_settled("bill");
        assert_eq!(test.route("bill").stats.void(), 0);
    });
}

#[test]
fn a_message_that_kills_the_process_becomes_a_dead_letter() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let route = || quick_to_blame();
        let mut deaths = 0;
        loop {
            let mut test = brokers.start(app(route(), dies_of_poison)).await;
            if deaths == 0 {
                test.publish("orders", "ok").key("a").id("a1").await;
                test.publish("orders", "poison").key("b").id("b1").await;
                test.publish("orders", "ok").key("b").id("b2").await;
                test.publish("orders", "ok").key("c").id("c1").await;
            }
            sleep(Duration::from_secs(2)).await;
            if !test.dead_letters("bill").is_empty() {
                test.run_until_idle().await;
                let letters = test.assert_dead_letters("bill", &["crash_loop"]);
                assert_eq!(*letters[0].id(), *b"b1");
                test.assert_became("bill", "b2", &[Became::Handled]);
                test.assert_settled("bill");
                break;
            }
            deaths += 1;
            assert!(deaths < 12, "the poison still kills");
            test.crash().await;
        }
        assert!(deaths >= 3, "given up after {deaths} deaths only");
    });
}

#[test]
fn one_message_at_a_time_still_lets_keys_wait_behind_away_heads() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let handler = |delivery: Delivery| async move {
            if is_poison(&delivery) {
                std::future::pending::<()>().await;
            }
            let fails = delivery
                .payload()
                .is_some_and(|text| text[..] == *b"\"fail\"");
            if fails && delivery.attempt() == 1 {
                return Err(transient("later"));
            }
            Ok(()) as Handled
        };
        let route = || quick_to_blame().with("retry.tiers", ["5s"]);
        for death in 0..12 {
            let mut test = brokers.start(app(route(), handler)).await;
            if death == 0 {
                test.publish("orders", "fail").key("a").id("a1").await;
                test.publish("orders", "ok").key("a").id("a2").await;
                test.publish("orders", "poison").key("b").id("b1").await;
                test.publish("orders", "ok").key("c").id("c1").await;
            }
            // Dies before the away head is due, so that it never gets past the first two.
            sleep(Duration::from_secs(1)).await;
            if !test.dead_letters("bill").is_empty() {
                test.advance(Duration::from_secs(10)).await;
                test.assert_dead_letters("bill", &["crash_loop"]);
                test.assert_became("bill", "a2", &[Became::Handled]);
                test.assert_settled("bill");
                return;
            }
            test.crash().await;
        }
        panic!("the poison still kills");
    });
}

#[test]
fn a_message_that_only_waited_while_the_process_was_killed_is_not_blamed() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let handler = |delivery: Delivery| async move {
            let fails = delivery
                .payload()
                .is_some_and(|text| text[..] == *b"\"fail\"");
            if fails && delivery.attempt() == 1 {
                return Err(transient("later"));
            }
            Ok(()) as Handled
        };
        let route = || quick_to_blame().with("retry.tiers", ["1m"]);
        for death in 0..8 {
            let mut test = brokers.start(app(route(), handler)).await;
            if death == 0 {
                test.publish("orders", "fail").key("a").id("a1").await;
                test.publish("orders", "ok").key("a").id("a2").await;
                test.publish("orders", "ok").key("a").id("a3").await;
            }
            // Somebody kills it, whatever it does.
            sleep(Duration::from_secs(1)).await;
            test.crash().await;
        }
        let mut test = brokers.start(app(route(), handler)).await;
        test.advance(Duration::from_secs(60)).await;
        test.assert_dead_letters("bill", &[]);
        test.assert_became("bill", "a1", &[Became::Handled]);
        let order: Vec<String> = test
            .history("bill")
            .into_iter()
            .map(|entry| entry.id)
            .collect();
        assert_eq!(order, ["a1", "a1", "a2", "a2", "a3", "a3"]);
        test.assert_settled("bill");
    });
}

#[test]
fn behind_the_message_that_kills_a_long_backlog_runs_as_ever() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let route = || quick_to_blame();
        for death in 0..12 {
            let mut test = brokers.start(app(route(), dies_of_poison)).await;
            if death == 0 {
                test.publish("orders", "ok").key("a").id("a1").await;
                test.publish("orders", "poison").key("b").id("b1").await;
                for n in 0..5_000 {
                    let key = (n % 50).to_string();
                    test.publish("orders", "ok")
                        .key(key)
                        .id(n.to_string())
                        .await;
                }
            }
            // Dies before what ended well is committed in normal running.
            sleep(Duration::from_millis(100)).await;
            if !test.dead_letters("bill").is_empty() {
                test.run_until_idle().await;
                let letters = test.assert_dead_letters("bill", &["crash_loop"]);
                assert_eq!(*letters[0].id(), *b"b1");
                let commits = test.route("bill").stats.commits();
                assert!(commits < 20, "{commits} commits for the backlog");
                // In order also where the mode ends: what it had in hand comes before what is read then.
                let mut last = BTreeMap::new();
                for entry in test.history("bill") {
                    if let Ok(id) = entry.id.parse::<u32>() {
                        let before = last.insert(id % 50, id);
                        assert!(before <= Some(id), "{id} after {before:?}");
                    }
                }
                assert_eq!(last.len(), 50);
                test.assert_settled("bill");
                return;
            }
            test.crash().await;
        }
        panic!("the poison still kills");
    });
}

#[test]
fn without_a_culprit_only_the_first_run_one_at_a_time() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let route = || {
            bill()
                .with("crash_loop.takeovers", 3)
                .with("concurrency", 16)
                .with("max_held_messages", 50)
                .with("park.max_held_messages", 25)
        };
        for death in 0..4 {
            let hangs = death < 3;
            let handler = move |_: Delivery| async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                Ok(()) as Handled
            };
            let mut test = brokers.start(app(route(), handler)).await;
            if death == 0 {
                for n in 0..2_000 {
                    test.publish("orders", "ok").key(n.to_string()).await;
                }
            }
            // Somebody kills it, whatever it does.
            sleep(Duration::from_secs(1)).await;
            if hangs {
                test.crash().await;
                continue;
            }
            test.run_until_idle().await;
            test.assert_calls("bill", 2_000);
            test.assert_dead_letters("bill", &[]);
            let commits = test.route("bill").stats.commits();
            assert!((16..40).contains(&commits), "{commits} commits");
            test.assert_settled("bill");
        }
    });
}

#[test]
fn two_messages_that_kill_the_process_are_found_one_after_the_other() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let route = || quick_to_blame();
        for death in 0..24 {
            let mut test = brokers.start(app(route(), dies_of_poison)).await;
            if death == 0 {
                test.publish("orders", "ok").key("a").id("a1").await;
                test.publish("orders", "poison").key("b").id("b1").await;
                test.publish("orders", "ok").key("a").id("a2").await;
                test.publish("orders", "poison").key("c").id("c1").await;
                test.publish("orders", "ok").key("c").id("c2").await;
                test.publish("orders", "ok").key("d").id("d1").await;
            }
            sleep(Duration::from_secs(2)).await;
            if test.dead_letters("bill").len() == 2 {
                test.run_until_idle().await;
                let letters = test.assert_dead_letters("bill", &["crash_loop", "crash_loop"]);
                let ids: Vec<_> = letters.iter().map(|letter| letter.id().to_vec()).collect();
                assert_eq!(ids, [*b"b1", *b"c1"]);
                test.assert_became("bill", "c2", &[Became::Handled]);
                test.assert_settled("bill");
                // The first one found ends its row, the second begins another.
                assert_eq!(death, 4 + 4);
                return;
            }
            test.crash().await;
        }
        panic!("they still kill");
    });
}

/// Fails at its first attempt; its retry never comes back, which a crash ends.
async fn retry_dies(delivery: Delivery) -> Handled {
    if is_poison(&delivery) {
        if delivery.attempt() == 1 {
            return Err(transient("later"));
        }
        std::future::pending::<()>().await;
    }
    Ok(())
}

#[test]
fn a_retry_that_kills_the_process_is_found_whatever_waits_behind_it() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let route = || quick_to_blame().with("retry.tiers", ["1s"]);
        for death in 0..16 {
            let mut test = brokers.start(app(route(), retry_dies)).await;
            if death == 0 {
                test.publish("orders", "poison").key("a").id("a1").await;
                test.publish("orders", "ok").key("a").id("a2").await;
                test.publish("orders", "ok").key("b").id("b1").await;
            }
            sleep(Duration::from_secs(3)).await;
            if !test.dead_letters("bill").is_empty() {
                test.run_until_idle().await;
                test.assert_dead_letters("bill", &["crash_loop"]);
                test.assert_became("bill", "a2", &[Became::Handled]);
                test.assert_settled("bill");
                return;
            }
            test.crash().await;
        }
        panic!("the poison still kills");
    });
}

/// The end of a message takes its note with it, also when nothing is there to be noted next.
#[test]
fn a_message_that_is_away_while_the_process_is_killed_is_not_blamed() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let handler = |delivery: Delivery| async move {
            if delivery.attempt() < 3 {
                return Err(transient("later"));
            }
            Ok(()) as Handled
        };
        let route = || quick_to_blame().with("retry.tiers", ["2s", "1h"]);
        for death in 0..6 {
            let mut test = brokers.start(app(route(), handler)).await;
            if death == 0 {
                test.publish("orders", "x").key("a").id("a1").await;
            }
            // Three deaths before its retry, the others after it.
            let lived = if death < 3 { 500 } else { 2_000 };
            sleep(Duration::from_millis(lived)).await;
            test.crash().await;
        }
        let mut test = brokers.start(app(route(), handler)).await;
        test.advance(Duration::from_secs(3_601)).await;
        test.assert_dead_letters("bill", &[]);
        test.assert_became("bill", "a1", &[Became::Handled]);
        test.assert_settled("bill");
    });
}

#[test]
fn at_most_once_calls_a_handler_that_fails_once() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let route = bill().with("delivery", "at_most_once");
        let fails = |_: Delivery| async { Err(transient("down")) as Handled };
        let mut test = brokers.start(app(route, fails)).await;
        test.publish("orders", "ok").key("a").id("a1").await;
        test.run_until_idle().await;
        test.assert_calls("bill", 1);
        let letters = test.assert_dead_letters("bill", &["handler"]);
        assert_eq!(letters.len(), 1);
    });
}
