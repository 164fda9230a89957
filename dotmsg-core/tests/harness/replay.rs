//! Replaying dead letters: which, how fast, how often, and from where.

use std::sync::Arc;
use std::time::Duration;

use dotmsg_core::delivery::Delivery;
use dotmsg_core::handler::HandlerError;
use dotmsg_core::replay::{Replay, ReplayCursor, ReplayVerdict};
use dotmsg_core::testing::{Became, TestApp, TestBrokers, run};

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

#[test]
fn a_replay_that_was_interrupted_goes_on_at_its_cursor() {
    run(async {
        let mut test = with_letters(3, &["rate"; 12]).await;
        let route = test.route("bill");
        let replay = || Replay::new(Arc::clone(&route.backend), Arc::clone(&route.topology));
        let mut first = replay().start().await.unwrap();
        let mut stored = String::new();
        for _ in 0..5 {
            let step = first.next().await.unwrap().unwrap();
            assert_eq!(step.verdict, ReplayVerdict::Replayed);
            stored = serde_json::to_string(&step.cursor).unwrap();
        }
        drop(first);
        let cursor = serde_json::from_str(&stored).unwrap();
        // What was replayed and failed again is not there yet: the app has not run in between.
        let report = replay().resume_from(cursor).run().await.unwrap();
        assert_eq!(report.replayed, 7);
        test.run_until_idle().await;
        test.assert_calls("bill", 24);
        let end = test
            .replay_with("bill", |r| r.resume_from(report.cursor))
            .await;
        assert_eq!(end.replayed, 12);
    });
}

#[test]
fn a_step_that_is_given_up_is_taken_again_by_the_next_call() {
    run(async {
        let mut test = with_letters(2, &["rate"; 5]).await;
        let route = test.route("bill");
        let replay = Replay::new(Arc::clone(&route.backend), Arc::clone(&route.topology));
        let mut replay = replay.per_second(1).start().await.unwrap();
        loop {
            // It waits for its pace; the caller loses patience a few times.
            match tokio::time::timeout(Duration::from_millis(300), replay.next()).await {
                Err(_) => {}
                Ok(step) => {
                    if step.unwrap().is_none() {
                        break;
                    }
                }
            }
        }
        assert_eq!(replay.report().replayed, 5);
        test.run_until_idle().await;
        test.assert_calls("bill", 10);
    });
}

#[test]
fn a_cursor_of_another_topic_is_refused_and_not_taken_for_the_end() {
    run(async {
        let test = with_letters(1, &["rate"; 3]).await;
        let route = test.route("bill");
        let replay = || Replay::new(Arc::clone(&route.backend), Arc::clone(&route.topology));
        let at = |next| replay().resume_from(ReplayCursor::start().with(0, next));
        assert_eq!(at(3).run().await.unwrap().replayed, 0);
        let error = at(4).run().await.unwrap_err();
        assert!(error.to_string().contains("beyond the end"), "{error}");
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
    use dotmsg_core::app::{App, NoAdapters};
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
        test.replay_with("bill", |replay| first(replay).to_origin(true))
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
