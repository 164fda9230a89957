//! Replaying dead letters: which, how fast, how often, and from where.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use dotmsg_core::app::App;
use dotmsg_core::backend::{Backend, PositionStore};
use dotmsg_core::delivery::Delivery;
use dotmsg_core::error::ErrorKind;
use dotmsg_core::handler::HandlerError;
use dotmsg_core::replay::{Done, Replay, ReplayReport};
use dotmsg_core::testing::{Became, TestApp, TestBrokers, run};

use tokio::time::timeout;

use super::flaky::Flaky;
use super::{Handled, app, bill};

/// Refuses everything, with the payload as the kind.
async fn refuses(delivery: Delivery) -> Handled {
    let payload = delivery.payload().cloned().unwrap_or_default();
    let kind = String::from_utf8_lossy(&payload).replace('"', "");
    Err(HandlerError::permanent(std::io::Error::other("refused")).kind(kind))
}

async fn with_letters(partitions: u32, kinds: &[&str]) -> TestApp {
    let brokers = TestBrokers::new().partitions(partitions);
    let mut test = brokers.start(app(bill(), refuses)).await;
    for (index, kind) in kinds.iter().enumerate() {
        let id = index.to_string();
        test.publish("orders", kind)
            .key(format!("k{index}"))
            .id(id)
            .await;
    }
    test.run_until_idle().await;
    test.assert_dead_letters("bill", kinds);
    test
}

#[test]
fn filters_choose_and_a_dry_run_only_counts() {
    run(async {
        let mut test = with_letters(3, &["rate", "rate", "schema", "rate"]).await;
        let dry = test
            .replay_with("bill", |replay| replay.kind("rate").dry_run(true))
            .await;
        assert_eq!((dry.replayed, dry.filtered), (3, 1));
        test.assert_calls("bill", 4);
        let report = test
            .replay_with("bill", |replay| replay.kind("rate").key("k1"))
            .await;
        assert_eq!((report.replayed, report.filtered), (1, 3));
        test.assert_became("bill", "1", &[Became::DeadLettered; 2]);
        let report = test.replay_with("bill", |replay| replay.id("2")).await;
        assert_eq!(report.replayed, 1);
        let report = test
            .replay_with("bill", |replay| {
                replay.filter(|letter| letter.replays() == 1)
            })
            .await;
        assert_eq!(report.replayed, 2);
        test.assert_calls("bill", 8);
    });
}

#[test]
fn the_loop_guard_leaves_out_what_was_replayed_often_enough() {
    run(async {
        let mut test = with_letters(1, &["rate"]).await;
        for round in 1..=3 {
            // The earlier dead letters stay in the topic; only the newest is replayed.
            let newest = round - 1;
            let report = test
                .replay_with("bill", |replay| {
                    replay.filter(move |letter| letter.replays() == newest)
                })
                .await;
            assert_eq!(report.replayed, 1);
        }
        let letters = test.dead_letters("bill");
        let counts: Vec<u32> = letters.iter().map(|letter| letter.replays()).collect();
        assert_eq!(counts, [0, 1, 2, 3]);
        assert!(letters.iter().all(|letter| letter.attempts() == 1));
        assert!(
            letters
                .iter()
                .all(|letter| letter.origin().to_string() == "orders/0/0")
        );
        let report = test
            .replay_with("bill", |replay| {
                replay.filter(|letter| letter.replays() == 3)
            })
            .await;
        assert_eq!((report.replayed, report.exhausted), (0, 1));
        let report = test
            .replay_with("bill", |replay| {
                replay.filter(|letter| letter.replays() == 3).max_replays(4)
            })
            .await;
        assert_eq!(report.replayed, 1);
    });
}

#[test]
fn a_paced_replay_takes_its_time() {
    run(async {
        let mut test = with_letters(2, &["rate"; 21]).await;
        let before = test.now();
        let report = test
            .replay_with("bill", |replay| replay.per_second(10))
            .await;
        assert_eq!(report.replayed, 21);
        assert_eq!(test.now().since(before), Duration::from_secs(2));
    });
}

/// Refuses until it is told otherwise.
fn bills_once(fixed: &Arc<AtomicBool>) -> App {
    let fixed = Arc::clone(fixed);
    let handler = move |_: Delivery| {
        let fixed = fixed.load(Relaxed);
        async move {
            if fixed {
                return Ok(());
            }
            Err(HandlerError::permanent(std::io::Error::other("refused"))) as Handled
        }
    };
    app(bill(), handler)
}

#[test]
fn run_five_times_it_is_handled_once() {
    run(async {
        let fixed = Arc::new(AtomicBool::new(false));
        let mut test = TestBrokers::new()
            .partitions(3)
            .start(bills_once(&fixed))
            .await;
        for index in 0..20 {
            let key = format!("k{index}");
            test.publish("orders", "x").key(key).await;
        }
        test.run_until_idle().await;
        test.assert_calls("bill", 20);
        fixed.store(true, Relaxed);
        for (replayed, before) in [(20, 0), (0, 20), (0, 20), (0, 20), (0, 20)] {
            let report = test.replay("bill").await;
            assert_eq!(
                (report.replayed, report.replayed_before),
                (replayed, before)
            );
        }
        test.assert_calls("bill", 40);
        let report = test.replay_with("bill", Replay::again).await;
        assert_eq!((report.replayed, report.replayed_before), (20, 0));
        test.assert_calls("bill", 60);
        assert_eq!(test.replay("bill").await.replayed, 0);
        // To the origin is a replay too.
        let to_origin = |replay: Replay| replay.to_origin(true);
        assert_eq!(test.replay_with("bill", to_origin).await.replayed, 0);
        test.assert_calls("bill", 60);
    });
}

#[test]
fn what_one_condition_leaves_out_is_there_for_the_next() {
    run(async {
        let mut test = with_letters(2, &["a", "b", "a", "c", "b", "a", "c"]).await;
        // A dry run notes nothing.
        test.replay_with("bill", |replay| replay.dry_run(true))
            .await;
        let first = |replay: Replay| replay.filter(|letter| letter.replays() == 0);
        let mut total = 0;
        for (kind, replayed) in [("a", 3), ("b", 2), ("a", 0), ("b", 0)] {
            let report = test
                .replay_with("bill", |replay| first(replay).kind(kind))
                .await;
            assert_eq!((kind, report.replayed), (kind, replayed));
            assert_eq!(report.replayed_before, total);
            total += replayed;
        }
        assert_eq!(test.replay_with("bill", first).await.replayed, 2);
        assert_eq!(test.replay_with("bill", first).await.replayed, 0);
        test.assert_calls("bill", 14);
    });
}

#[test]
fn what_fails_again_is_a_new_dead_letter_until_the_loop_guard() {
    run(async {
        let mut test = with_letters(1, &["rate", "rate"]).await;
        for replayed in [2, 2, 2] {
            assert_eq!(test.replay("bill").await.replayed, replayed);
        }
        let report = test.replay("bill").await;
        assert_eq!((report.replayed, report.exhausted), (0, 2));
        test.assert_calls("bill", 8);
    });
}

fn replay_of(test: &TestApp) -> Replay {
    let route = test.route("bill");
    Replay::new(Arc::clone(&route.backend), Arc::clone(&route.topology))
}

#[test]
fn a_paced_run_that_is_given_up_goes_on_where_it_was() {
    run(async {
        let mut test = with_letters(1, &["rate"; 5]).await;
        let patience = Duration::from_millis(2_500);
        let given_up = timeout(patience, replay_of(&test).per_second(1).run()).await;
        assert!(given_up.is_err());
        let report = replay_of(&test)
            .filter(|letter| letter.replays() == 0)
            .run()
            .await
            .unwrap();
        assert_eq!((report.replayed_before, report.replayed), (3, 2));
        test.run_until_idle().await;
        test.assert_calls("bill", 10);
    });
}

fn flaky_replay_of(test: &TestApp, flaky: Flaky) -> Replay {
    let topology = Arc::clone(&test.route("bill").topology);
    Replay::new(Arc::new(flaky), topology).filter(|letter| letter.replays() == 0)
}

#[test]
fn a_crash_between_publish_and_commit_repeats_one_page_and_no_more() {
    const LETTERS: u64 = 600;
    run(async {
        let fixed = Arc::new(AtomicBool::new(false));
        let mut test = TestBrokers::new()
            .partitions(1)
            .start(bills_once(&fixed))
            .await;
        for index in 0..LETTERS {
            test.publish("orders", "x").key(format!("k{index}")).await;
        }
        test.run_until_idle().await;
        fixed.store(true, Relaxed);
        let flaky = Flaky::new(&test.route("bill").backend);
        // One page is noted; of the second the commit is never heard of again.
        flaky.commits.store(1, Relaxed);
        let killed = timeout(
            Duration::from_secs(5),
            flaky_replay_of(&test, flaky.clone()).run(),
        );
        assert!(killed.await.is_err());
        assert_eq!(flaky.published.load(Relaxed), 512);
        let report = test.replay("bill").await;
        assert_eq!(
            (report.replayed_before, report.replayed),
            (256, LETTERS - 256)
        );
        // The page in between twice, everything else once.
        let calls = LETTERS + LETTERS + 256;
        test.assert_calls("bill", calls as usize);
        assert_eq!(test.replay("bill").await.replayed, 0);
    });
}

#[test]
fn what_was_not_answered_is_published_again_and_the_rest_of_its_page_is_not() {
    run(async {
        let mut test = with_letters(1, &["rate"; 5]).await;
        let mut flaky = Flaky::new(&test.route("bill").backend);
        flaky.unknown = Some(2);
        let error = flaky_replay_of(&test, flaky.clone())
            .run()
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        let report = flaky_replay_of(&test, flaky).run().await.unwrap();
        assert_eq!((report.replayed_before, report.replayed), (4, 1));
        test.run_until_idle().await;
        // It was appended after all.
        test.assert_calls("bill", 5 + 6);
    });
}

#[test]
fn without_a_position_store_only_an_explicit_repeat_is_possible() {
    run(async {
        let test = with_letters(1, &["rate"; 2]).await;
        let mut flaky = Flaky::new(&test.route("bill").backend);
        flaky.position = Some(PositionStore::None);
        for dry_run in [true, false] {
            let replay = || flaky_replay_of(&test, flaky.clone()).dry_run(dry_run);
            let error = replay().run().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("Replay::again"), "{error}");
            assert_eq!(replay().again().run().await.unwrap().replayed, 2);
        }
    });
}

#[test]
fn what_the_record_has_no_room_for_is_told_and_repeated() {
    run(async {
        // Every other one, so that the map grows with each.
        let kinds: Vec<&str> = (0..200)
            .map(|at| if at % 2 == 0 { "a" } else { "b" })
            .collect();
        let test = with_letters(1, &kinds).await;
        let mut flaky = Flaky::new(&test.route("bill").backend);
        flaky.position = Some(PositionStore::Record { max_bytes: 150 });
        let of_kind_b = || flaky_replay_of(&test, flaky.clone()).kind("b");
        let report = of_kind_b().run().await.unwrap();
        assert_eq!(report.replayed, 100);
        assert!((1..100).contains(&report.unrecorded), "{report:?}");
        let again = of_kind_b().run().await.unwrap();
        assert_eq!(again.replayed, report.unrecorded);
    });
}

#[test]
fn two_runs_at_once_are_one_too_many() {
    run(async {
        let mut test = with_letters(1, &["rate"; 3]).await;
        let slow = tokio::spawn(replay_of(&test).per_second(1).run());
        tokio::time::sleep(Duration::from_millis(500)).await;
        let error = replay_of(&test).run().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced);
        assert!(error.to_string().contains("Another replay"), "{error}");
        // To look is allowed meanwhile.
        let looked: ReplayReport = replay_of(&test).dry_run(true).run().await.unwrap();
        assert_eq!((looked.replayed_before, looked.replayed > 0), (1, true));
        assert_eq!(slow.await.unwrap().unwrap().replayed, 3);
        test.run_until_idle().await;
        test.assert_calls("bill", 6);
    });
}

#[test]
fn what_is_noted_outlives_the_process() {
    run(async {
        let brokers = TestBrokers::new().partitions(2);
        let fixed = Arc::new(AtomicBool::new(false));
        let mut test = brokers.start(bills_once(&fixed)).await;
        test.publish("orders", "x").key("k").await;
        test.run_until_idle().await;
        fixed.store(true, Relaxed);
        test.replay("bill").await;
        test.shutdown().await;
        let mut test = brokers.start(bills_once(&fixed)).await;
        assert_eq!(test.replay("bill").await.replayed, 0);
        test.assert_calls("bill", 0);
        let groups = brokers.broker("main").admin().groups().await.unwrap();
        let groups: Vec<&str> = groups.iter().map(|group| &*group.name).collect();
        assert_eq!(groups, ["billing", "billing.replay"]);
    });
}

#[test]
fn a_letter_by_reference_whose_origin_holds_another_message_is_gone() {
    run(async {
        let mut test = with_letters(1, &["rate", "rate"]).await;
        let letters = test.dead_letters("bill");
        let letter = |of: usize, key: usize, time: i64| {
            let mut lineage = letters[of].lineage.clone();
            lineage.timestamp.0 += time;
            let mut message = letters[key].message.clone();
            message.payload = None;
            lineage.write(&mut message.headers);
            message.with_header("dotmsg-by-reference", "true")
        };
        // Of the other's key; of another time; the true one.
        for message in [letter(0, 1, 0), letter(0, 0, 1), letter(0, 0, 0)] {
            test.publish_raw("orders.billing.dlq", message).await;
        }
        let report = test
            .replay_with("bill", |replay| replay.filter(|letter| letter.by_reference))
            .await;
        assert_eq!((report.gone, report.replayed), (2, 1));
    });
}

#[test]
fn only_the_group_itself_gets_a_replay_and_all_get_one_to_the_origin() {
    use dotmsg_core::app::NoAdapters;
    use dotmsg_core::config::{Config, RouteDefaults};
    run(async {
        let audit = RouteDefaults::new("audit")
            .with("topic", "orders")
            .with("group", "audit");
        let app = App::<(), NoAdapters>::with_config(Config::new())
            .route(bill(), refuses)
            .route(audit, |_: Delivery| async { Ok(()) as Handled });
        let mut test = TestApp::start(app).await;
        let at = test.publish("orders", "rate").key("k").await;
        test.run_until_idle().await;
        assert_eq!((test.calls("bill"), test.calls("audit")), (1, 1));
        test.replay("bill").await;
        assert_eq!((test.calls("bill"), test.calls("audit")), (2, 1));
        let first = |replay: Replay| replay.filter(|letter| letter.replays() == 0);
        test.replay_with("bill", |replay| first(replay).again().to_origin(true))
            .await;
        assert_eq!((test.calls("bill"), test.calls("audit")), (3, 2));
        // It had no id: its identity is where it first lay, and stays that.
        let identity = format!("orders/{}/{}", at.partition, at.offset);
        let again = &test.published("orders")[1];
        assert_eq!(again.id().map(|id| &id[..]), Some(identity.as_bytes()));
        let controls = again
            .headers
            .iter()
            .filter(|(name, _)| *name != "dotmsg-id");
        assert_eq!(controls.count(), 0);
        test.assert_became("audit", &identity, &[Became::Handled; 2]);
    });
}

#[test]
fn a_route_that_never_ran_has_no_dead_letters_to_replay() {
    run(async {
        let test = with_letters(1, &[]).await;
        let route = test.route("bill");
        let mut spec = (*route.spec).clone();
        spec.group = "nobody".into();
        let topology = Arc::new(dotmsg_core::router::Topology::of(&spec, ""));
        let error = Replay::new(Arc::clone(&route.backend), topology)
            .run()
            .await
            .unwrap_err();
        assert!(error.to_string().contains("orders.nobody.dlq"), "{error}");
    });
}

#[test]
fn a_replay_whose_record_has_expired_says_so_and_begins_anew_when_told_to() {
    run(async {
        let brokers = TestBrokers::new().partitions(3);
        let brokers = brokers.position_retention(Duration::from_secs(60));
        let mut test = brokers.start(app(bill(), refuses)).await;
        test.publish("orders", "rate").key("k").id("0").await;
        test.run_until_idle().await;
        assert_eq!(test.replay("bill").await.replayed, 1);
        test.advance(Duration::from_secs(61)).await;
        let route = test.route("bill");
        let error = route.replay().run().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PositionLost);
        assert!(error.to_string().contains("Replay::again"), "{error}");
        let report = test.replay_with("bill", Replay::again).await;
        assert_eq!(report.replayed, 2);
        // What is noted from now on counts again, in partitions without dead letters too.
        let report = test.replay("bill").await;
        assert_eq!(report.replayed_before, 2);
    });
}

#[test]
fn a_limit_takes_the_first_and_leaves_the_others_for_later() {
    run(async {
        let mut test = with_letters(1, &["rate", "schema", "rate", "rate"]).await;
        let first = |replay: Replay| replay.kind("rate").limit(2);
        let dry = test
            .replay_with("bill", |replay| first(replay).dry_run(true))
            .await;
        assert_eq!((dry.replayed, dry.filtered, dry.beyond_limit), (2, 1, 1));
        // What failed again is behind: a limit takes what has waited longest.
        let report = test.replay_with("bill", first).await;
        assert_eq!((report.replayed, report.beyond_limit), (2, 1));
        test.assert_became("bill", "3", &[Became::DeadLettered]);
        let report = test.replay_with("bill", |replay| replay.limit(0)).await;
        assert_eq!((report.replayed, report.beyond_limit), (0, 4));
    });
}

#[test]
fn what_is_discarded_is_done_with_and_never_published() {
    run(async {
        let mut test = with_letters(2, &["rate", "schema", "rate"]).await;
        let dry = test
            .replay_with("bill", |replay| replay.kind("rate").discard().dry_run(true))
            .await;
        assert_eq!((dry.replayed, dry.discarded, dry.filtered), (0, 2, 1));
        let report = test
            .replay_with("bill", |replay| replay.kind("rate").discard())
            .await;
        assert_eq!((report.replayed, report.discarded), (0, 2));
        test.assert_calls("bill", 3);
        let done = done(&test).await;
        let letters = test.dead_letters("bill");
        let left = letters.iter().filter(|letter| !done.has(letter));
        let left: Vec<&str> = left.map(|letter| &*letter.kind).collect();
        assert_eq!(left, ["schema"]);
        let (mut left, route) = (0, test.handle().route("bill").unwrap());
        let admin = route.backend.admin();
        for partition in 0..2 {
            let holds = admin.offsets(&route.topology.dead_letter, partition);
            left += done.left(partition, holds.await.unwrap());
        }
        assert_eq!(left, 1);
        // Only the one that is left; and all of them when it is asked for.
        let report = test.replay_with("bill", |replay| replay).await;
        assert_eq!((report.replayed, report.replayed_before), (1, 2));
        let again = |replay: Replay| replay.again().kind("rate");
        assert_eq!(test.replay_with("bill", again).await.replayed, 2);
    });
}

/// What the runs so far are through with.
async fn done(test: &TestApp) -> Done {
    let route = test.handle().route("bill").unwrap();
    Done::read(&*route.backend, &route.topology).await.unwrap()
}
