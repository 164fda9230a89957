//! Several apps of one group on one broker: partitions are shared, change hands while work is in flight, and nothing is lost,
//! doubled without need, or out of order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dotmsg_core::app::App;
use dotmsg_core::delivery::Delivery;
use dotmsg_core::log::Assignor;
use dotmsg_core::testing::{Became, Entry, TestApp, TestBrokers, What, run};
use tokio::time::sleep;

use super::{Handled, app, bill, transient};

const PARTITIONS: u32 = 4;
const KEYS: usize = 20;

async fn takes_a_while(_: Delivery) -> Handled {
    sleep(Duration::from_millis(300)).await;
    Ok(())
}

async fn publish(test: &TestApp, ids: std::ops::Range<usize>) {
    for id in ids {
        let key = format!("k{}", id % KEYS);
        test.publish("orders", "x")
            .key(key)
            .id(id.to_string())
            .await;
    }
}

/// What all members did, by time.
fn all(members: &[&TestApp]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = members
        .iter()
        .flat_map(|test| test.history("bill"))
        .collect();
    entries.sort_by_key(|entry| entry.at);
    entries
}

fn handled(entries: &[Entry]) -> impl Iterator<Item = &Entry> {
    let is = |entry: &&Entry| entry.what == What::Became(Became::Handled);
    entries.iter().filter(is)
}

/// Each id was handled once, those of a key in ascending order.
fn assert_once_in_order(entries: &[Entry], ids: usize) {
    let mut by_key: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for entry in handled(entries) {
        let key = entry.key.as_deref().unwrap();
        by_key
            .entry(key)
            .or_default()
            .push(entry.id.parse().unwrap());
    }
    for (key, ids) in &by_key {
        assert!(
            ids.windows(2).all(|pair| pair[0] < pair[1]),
            "{key}: {ids:?}"
        );
    }
    assert_eq!(by_key.values().map(Vec::len).sum::<usize>(), ids);
}

fn partition(entry: &Entry) -> &str {
    entry.origin.split('/').nth(1).unwrap()
}

/// The partitions that a member has handled messages of.
fn partitions(test: &TestApp) -> BTreeSet<String> {
    let history = test.history("bill");
    handled(&history)
        .map(|entry| partition(entry).to_owned())
        .collect()
}

#[test]
fn members_share_the_partitions_and_hand_over_in_order_when_one_joins_and_leaves() {
    for assignor in [
        Assignor::CooperativeSticky,
        Assignor::Sticky,
        Assignor::Range,
        Assignor::RoundRobin,
    ] {
        run(async move {
            let brokers = TestBrokers::new().partitions(PARTITIONS).assignor(assignor);
            let mut one = brokers.start(app(bill(), takes_a_while)).await;
            publish(&one, 0..100).await;
            sleep(Duration::from_millis(700)).await;
            let mut two = brokers.start(app(bill(), takes_a_while)).await;
            sleep(Duration::from_millis(100)).await;
            publish(&one, 100..200).await;
            one.run_until_idle().await;
            two.run_until_idle().await;
            assert_eq!(partitions(&two).len(), 2, "{assignor:?}");
            publish(&one, 200..300).await;
            sleep(Duration::from_millis(400)).await;
            let report = two.shutdown().await;
            assert_eq!(report.routes[0].abandoned, 0);
            one.run_until_idle().await;
            assert_once_in_order(&all(&[&one, &two]), 300);
            one.assert_settled("bill");
        });
    }
}

#[test]
fn what_stays_runs_on_while_a_neighbour_drains() {
    run(async {
        let brokers = TestBrokers::new().partitions(PARTITIONS);
        let slow = |delivery: Delivery| async move {
            if delivery.attempt() == 1 && &*delivery.id() == b"0" {
                sleep(Duration::from_secs(20)).await;
            }
            sleep(Duration::from_millis(10)).await;
            Ok(()) as Handled
        };
        let mut one = brokers.start(app(bill(), slow)).await;
        publish(&one, 0..1).await;
        sleep(Duration::from_secs(1)).await;
        let blocked = partition(&one.history("bill")[0]).to_owned();
        let mut two = brokers.start(app(bill(), slow)).await;
        sleep(Duration::from_secs(1)).await;
        publish(&one, 1..100).await;
        sleep(Duration::from_secs(5)).await;
        // Message 0 still runs: whoever has its partition or waits for it, the other partitions are not held up.
        let before = all(&[&one, &two]);
        let elsewhere = handled(&before).filter(|entry| partition(entry) != blocked);
        let done = elsewhere.count();
        one.run_until_idle().await;
        two.run_until_idle().await;
        let entries = all(&[&one, &two]);
        assert_once_in_order(&entries, 100);
        let elsewhere = handled(&entries).filter(|entry| partition(entry) != blocked);
        assert_eq!(done, elsewhere.count());
    });
}

#[test]
fn what_waits_in_a_tier_is_handed_over_too() {
    run(async {
        let brokers = TestBrokers::new().partitions(PARTITIONS);
        let fails_once = |delivery: Delivery| async move {
            if delivery.attempt() == 1 {
                return Err(transient("later"));
            }
            Ok(()) as Handled
        };
        let route = || bill().with("retry.tiers", ["10s"]);
        let mut one = brokers.start(app(route(), fails_once)).await;
        publish(&one, 0..60).await;
        sleep(Duration::from_secs(5)).await;
        let mut two = brokers.start(app(route(), fails_once)).await;
        sleep(Duration::from_secs(3)).await;
        one.shutdown().await;
        two.advance(Duration::from_secs(120)).await;
        let entries = all(&[&one, &two]);
        assert_once_in_order(&entries, 60);
        two.assert_settled("bill");
        // A handed-over head is not tried again from the start.
        let mut attempts: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for entry in &entries {
            if let What::Called(attempt) = entry.what {
                attempts.entry(&entry.id).or_default().push(attempt);
            }
        }
        assert!(attempts.values().all(|attempts| *attempts == [1, 2]));
    });
}

#[test]
fn a_member_that_dies_leaves_its_work_to_the_others() {
    run(async {
        let brokers = TestBrokers::new().partitions(PARTITIONS);
        let mut one = brokers.start(app(bill(), takes_a_while)).await;
        let mut two = brokers.start(app(bill(), takes_a_while)).await;
        sleep(Duration::from_millis(100)).await;
        publish(&one, 0..200).await;
        sleep(Duration::from_millis(700)).await;
        two.crash().await;
        one.run_until_idle().await;
        one.assert_settled("bill");
        let entries = all(&[&one, &two]);
        let ids: BTreeSet<&str> = handled(&entries).map(|entry| &*entry.id).collect();
        assert_eq!(ids.len(), 200);
    });
}

fn node(name: &str) -> App {
    let instance = name.to_owned();
    app(bill(), takes_a_while)
        .configure(move |config| config.set("backend.main.instance_id", instance.as_str()))
}

#[test]
fn a_rolling_restart_of_static_members_moves_nothing() {
    run(async {
        let brokers = TestBrokers::new().partitions(PARTITIONS);
        let mut members = BTreeMap::new();
        for name in ["a", "b"] {
            members.insert(name, brokers.start(node(name)).await);
            sleep(Duration::from_secs(1)).await;
        }
        publish(&members["a"], 0..100).await;
        for test in members.values_mut() {
            test.run_until_idle().await;
        }
        let shares: Vec<_> = members.values().map(partitions).collect();
        let generation = brokers.broker("main").generation("billing", "orders");
        for name in ["a", "b"] {
            let before = members.get_mut(name).unwrap();
            before.shutdown().await;
            sleep(Duration::from_secs(10)).await;
            members.insert(name, brokers.start(node(name)).await);
            sleep(Duration::from_secs(1)).await;
        }
        publish(&members["a"], 100..200).await;
        for test in members.values_mut() {
            test.run_until_idle().await;
        }
        let after: Vec<_> = members.values().map(partitions).collect();
        assert_eq!(after, shares);
        assert_eq!(
            brokers.broker("main").generation("billing", "orders"),
            generation
        );
        let members: Vec<&TestApp> = members.values().collect();
        assert_once_in_order(&all(&members), 100);
    });
}

#[test]
fn a_second_process_with_the_same_instance_id_takes_over_and_the_first_fails() {
    run(async {
        let brokers = TestBrokers::new().partitions(PARTITIONS);
        let mut first = brokers.start(node("a")).await;
        publish(&first, 0..40).await;
        sleep(Duration::from_millis(450)).await;
        let mut second = brokers.start(node("a")).await;
        let error = first.failure().await.to_string();
        assert!(error.contains("instance id"), "{error}");
        second.run_until_idle().await;
        second.assert_settled("bill");
        let entries = all(&[&first, &second]);
        let ids: BTreeSet<&str> = handled(&entries).map(|entry| &*entry.id).collect();
        assert_eq!(ids.len(), 40);
    });
}

#[test]
fn a_member_that_gets_no_partition_is_idle() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let mut one = brokers.start(app(bill(), takes_a_while)).await;
        let mut two = brokers.start(app(bill(), takes_a_while)).await;
        publish(&one, 0..10).await;
        one.run_until_idle().await;
        two.run_until_idle().await;
        two.assert_calls("bill", 0);
        one.shutdown().await;
        publish(&two, 10..20).await;
        two.run_until_idle().await;
        two.assert_calls("bill", 10);
    });
}
