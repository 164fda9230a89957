//! Lag as an operator asks for it: numbers, and the one sentence about them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dotmsg_core::delivery::Delivery;
use dotmsg_core::error::ErrorKind;
use dotmsg_core::lag::{self, CatchUp, Diagnosis, Lag, Why};
use dotmsg_core::testing::{TestApp, TestBrokers, run};
use tokio::time::sleep;

use super::{Handled, app, bill, transient};

/// Longer than a lag is tolerated, and long enough for the looks in between.
const LONG: Duration = Duration::from_secs(75);

async fn lag_of(test: &TestApp) -> Lag {
    match test.handle().lag("bill").await {
        Ok(lag) => lag,
        Err(error) => panic!("{error}"),
    }
}

async fn outside(test: &TestApp) -> Lag {
    let backend = test.brokers().broker("main");
    match lag::of(&backend, "orders", "billing", test.now()).await {
        Ok(lag) => lag,
        Err(error) => panic!("{error}"),
    }
}

/// Fails messages of key `a`, and never ends those of key `s`.
async fn troubled(delivery: Delivery) -> Handled {
    match delivery.key().map(|key| &key[..]) {
        Some(b"a") => Err(transient("not yet")),
        Some(b"s") => std::future::pending().await,
        _ => Ok(()),
    }
}

#[test]
fn nothing_to_do_is_idle_and_all_is_known() {
    run(async {
        let brokers = TestBrokers::new().partitions(2);
        let mut test = brokers.start(app(bill(), troubled)).await;
        for number in 0..10 {
            test.publish("orders", "x").key(format!("k{number}")).await;
        }
        test.run_until_idle().await;
        sleep(Duration::from_secs(20)).await;
        let lag = lag_of(&test).await;
        assert_eq!((&*lag.topic, &*lag.group), ("orders", "billing"));
        assert_eq!((lag.records(), lag.partitions.len()), (0, 2));
        assert_eq!(lag.at, test.now());
        let ends: u64 = lag.partitions.iter().map(|one| one.end).sum();
        assert_eq!(ends, 10);
        for one in &lag.partitions {
            assert_eq!(one.watermark, one.end);
            assert_eq!(one.behind_for(lag.at), Some(Duration::ZERO));
            assert_eq!(one.catch_up(), Some(CatchUp::In(Duration::ZERO)));
            assert_eq!((one.uncommitted, one.rest.as_ref()), (None, None));
            assert!(one.committed.is_some() && one.consumed.is_some());
        }
        assert_eq!(lag.diagnosis(), Diagnosis::Idle);
        assert_eq!(outside(&test).await.records(), 0);
    });
}

#[test]
fn a_key_that_is_away_holds_its_followers_and_is_said_to() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let route = bill().with("retry.tiers", ["5m"]);
        let mut test = brokers.start(app(route, troubled)).await;
        let begin = test.now();
        test.publish("orders", "x").key("a").id("a1").await;
        test.run_until_idle().await;
        sleep(LONG).await;
        let lag = lag_of(&test).await;
        assert_eq!((lag.partitions[0].records, lag.partitions[0].away), (1, 1));
        assert_eq!(lag.diagnosis(), Diagnosis::Idle, "nobody waits for it");
        // Two followers, and another key that goes on.
        for key in ["a", "b", "a", "b"] {
            test.publish("orders", "x").key(key).await;
        }
        test.run_until_idle().await;
        sleep(LONG).await;
        let lag = lag_of(&test).await;
        let one = &lag.partitions[0];
        assert_eq!((one.end, one.watermark), (5, 1));
        assert_eq!((one.records, one.held, one.away), (3, 2, 1));
        // The oldest record behind is the head, which is settled in the source.
        assert_eq!(one.behind_for(lag.at), Some(lag.at.since(begin)));
        let said = lag.diagnosis().to_string();
        assert!(
            said.contains("one key is away in tier 5m, due in 2m"),
            "{said}"
        );
        let committed = outside(&test).await;
        assert_eq!(committed.partitions[0].records, 3);
        assert_eq!(committed.partitions[0].oldest, one.oldest);
        assert_eq!(committed.partitions[0].rest, None);
    });
}

#[test]
fn a_handler_that_does_not_end_is_said_to_whatever_goes_on_beside_it() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let route = bill().with("retry.tiers", ["10m"]);
        let test = brokers.start(app(route, troubled)).await;
        for key in ["s", "s", "a", "a", "b"] {
            test.publish("orders", "x").key(key).await;
        }
        sleep(LONG).await;
        let lag = lag_of(&test).await;
        let one = &lag.partitions[0];
        assert_eq!((one.watermark, one.records, one.held), (0, 4, 3));
        let stuck = lag.diagnosis();
        assert!(
            matches!(
                stuck,
                Diagnosis::Stuck {
                    watermark: 0,
                    why: Why::Handler,
                    ..
                }
            ),
            "{stuck}"
        );
    });
}

#[test]
fn what_is_not_fetched_for_a_limit_is_said_to() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let route = bill().with("retry.tiers", ["10m"]).with("park.max_keys", 1);
        let mut test = brokers.start(app(route, troubled)).await;
        test.publish("orders", "x").key("a").await;
        test.run_until_idle().await;
        test.publish("orders", "x").key("b").await;
        sleep(LONG).await;
        let lag = lag_of(&test).await;
        assert_eq!((lag.partitions[0].records, lag.partitions[0].held), (2, 0));
        let stuck = lag.diagnosis();
        assert!(
            matches!(
                stuck,
                Diagnosis::Stuck {
                    watermark: 1,
                    why: Why::Limits,
                    ..
                }
            ),
            "{stuck}"
        );
    });
}

/// A second for each message of key `hot`, nothing for the others.
async fn skewed(delivery: Delivery) -> Handled {
    if delivery.key().is_some_and(|key| key[..] == *b"hot") {
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

#[test]
fn one_key_with_most_of_the_work_makes_its_partition_hot() {
    run(async {
        let brokers = TestBrokers::new().partitions(4);
        let test = brokers.start(app(bill(), skewed)).await;
        for number in 0..200 {
            test.publish("orders", "x").key("hot").await;
            test.publish("orders", "x").key(format!("k{number}")).await;
        }
        sleep(LONG).await;
        let lag = lag_of(&test).await;
        let Diagnosis::Hot {
            partition,
            records,
            share,
            oldest,
        } = lag.diagnosis()
        else {
            panic!("{}\n{lag}", lag.diagnosis())
        };
        assert_eq!(Some(partition), lag.skew().map(|skew| skew.hottest));
        assert!((120..=130).contains(&records), "{lag}");
        assert!(share > 0.99 && oldest >= Duration::from_secs(60), "{lag}");
        let hot = &lag.partitions[partition as usize];
        // Another 125 at one a second, the pace of the last minute.
        let Some(CatchUp::In(time)) = hot.catch_up() else {
            panic!("{lag}")
        };
        assert!((60..=180).contains(&time.as_secs()), "{lag}");
    });
}

#[test]
fn a_route_that_gets_more_than_it_can_handle_is_slow() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let route = bill().with("concurrency", 1);
        let one_a_second = |_: Delivery| async {
            sleep(Duration::from_secs(1)).await;
            Ok(()) as Handled
        };
        let test = brokers.start(app(route, one_a_second)).await;
        for number in 0..400 {
            test.publish("orders", "x").key(format!("k{number}")).await;
            sleep(Duration::from_millis(500)).await;
        }
        let lag = lag_of(&test).await;
        let Diagnosis::Slow {
            records,
            consumed,
            produced,
            ..
        } = lag.diagnosis()
        else {
            panic!("{}\n{lag}", lag.diagnosis())
        };
        assert!((195..=205).contains(&records), "{lag}");
        assert!(
            (0.9..1.1).contains(&consumed) && (1.9..2.1).contains(&produced),
            "{lag}"
        );
        assert_eq!(lag.partitions[0].catch_up(), Some(CatchUp::Never));
        // The gauge is what was seen last.
        assert_eq!(test.route("bill").stats.lag(), lag);
    });
}

#[test]
fn a_stopped_group_is_told_from_outside() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let fails = Arc::new(AtomicBool::new(true));
        let switch = Arc::clone(&fails);
        let handler = move |delivery: Delivery| {
            let fails = switch.load(Ordering::Relaxed);
            async move {
                if fails {
                    troubled(delivery).await
                } else {
                    Ok(())
                }
            }
        };
        let route = bill()
            .with("retry.tiers", ["1h"])
            .with("drain_timeout", "1s");
        let mut test = brokers.start(app(route.clone(), handler.clone())).await;
        let begin = test.now();
        for key in ["a", "s", "b", "a", "b", "b"] {
            test.publish("orders", "x").key(key).await;
        }
        sleep(Duration::from_secs(5)).await;
        let running = lag_of(&test).await;
        test.shutdown().await;
        let ended = test.handle().lag("bill").await.unwrap_err();
        assert_eq!(ended.kind(), ErrorKind::Closed);
        assert_eq!(test.route("bill").stats.lag().partitions, []);
        sleep(Duration::from_secs(60)).await;
        let stopped = outside(&test).await;
        let one = &stopped.partitions[0];
        // The head of `a` and its follower, and the message of `s` that was given up.
        assert_eq!(
            (one.end, one.watermark, one.records, one.away),
            (6, 1, 3, 1)
        );
        assert_eq!(running.records(), 3);
        assert_eq!(one.behind_for(stopped.at), Some(stopped.at.since(begin)));
        assert_eq!(
            (one.consumed, one.catch_up(), one.committed),
            (None, None, None)
        );
        fails.store(false, Ordering::Relaxed);
        let mut test = brokers.start(app(route, handler)).await;
        test.advance(Duration::from_secs(3_600)).await;
        assert_eq!(outside(&test).await.records(), 0);
    });
}

#[test]
fn what_is_not_there_is_an_error() {
    run(async {
        let test = TestApp::start(app(bill(), troubled)).await;
        let error = test.handle().lag("bil").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let backend = &test.route("bill").backend;
        let error = lag::of(&**backend, "order", "billing", test.now()).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
        // A group that never was has everything before it.
        test.publish("orders", "x").await;
        let lag = lag::of(&**backend, "orders", "audit", test.now()).await;
        assert_eq!(lag.map(|lag| lag.records()).ok(), Some(1));
    });
}
